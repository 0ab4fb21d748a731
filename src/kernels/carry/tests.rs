use candle_core::{Device, Tensor};

use super::*;
use crate::kernels::testing::{Random, SIZES, contexts, zeros};

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The middle carried by the plain kernels and by the best ones.
fn both(middle: &Tensor, phase: &PhaseMap) -> [Vec<f32>; 2] {
    <[Context; 2]>::from(contexts()).map(|context| {
        let state = zeros(middle.dims());
        carry(&context, middle, phase, &state).unwrap();
        values(&state)
    })
}

/// A state whose cells are what `of` says of their place (x, y).
fn state((h, w): (usize, usize), of: impl Fn(f32, f32) -> [f32; STATE]) -> Tensor {
    let cells = (0..h * w).flat_map(|i| of((i % w) as f32, (i / w) as f32));
    Tensor::from_vec(cells.collect(), (h, w, STATE), &Device::Cpu).unwrap()
}

#[test]
fn fast_and_plain_are_the_same() {
    let mut random = Random(1);
    for size in SIZES {
        for reach in [0.3, 2.0, 40.0, 1e6, f32::INFINITY, f32::NAN] {
            let middle = random.tensor(size, STATE, reach);
            let plane = Tensor::rand(0.01f32, 0.99, (size.0, size.1, 1), &Device::Cpu).unwrap();
            let even = [0.01, 0.25, 0.5, 0.7].map(PhaseMap::Uniform);
            for phase in even.into_iter().chain([PhaseMap::Plane(plane)]) {
                let bits = |v: Vec<f32>| -> Vec<u32> {
                    // what is no number is like any other that is none
                    let one = |v: f32| if v.is_nan() { f32::NAN } else { v };
                    v.into_iter().map(|v| one(v).to_bits()).collect()
                };
                let [plain, fast] = both(&middle, &phase).map(bits);
                assert!(plain == fast, "{size:?}, reach {reach}, {phase:?}");
            }
        }
    }
}

#[test]
fn in_the_middle_nothing_is_carried() {
    let middle = Random(2).tensor((5, 9), STATE, 3.0);
    for carried in both(&middle, &PhaseMap::Uniform(0.5)) {
        for (i, (found, want)) in carried.iter().zip(values(&middle)).enumerate() {
            match i % STATE {
                0..4 => assert!((found - want).abs() < 1e-5, "{i}: {found}, {want}"),
                PHASE => assert_eq!(*found, 0.5),
                DIFFERENCE | MASK => assert_eq!(*found, want),
                _ => (),
            }
        }
    }
}

// Two halves of a field that go apart by a parabola: at every phase each cell's flow must be that of the way through the
// places that it was at, and what it carries must have come along.
#[test]
fn what_moves_is_where_it_has_got_to() {
    let (size, motion, ahead) = ((8, 64), 6.0, 0.8);
    // even motion x to x + 6 that is ahead of itself by 0.8 in the middle
    let flow = [-motion / 2.0 - ahead, 0.0, motion / 2.0 - ahead, 0.0];
    let middle = state(size, |x, _| {
        let [a, b, c, d] = flow;
        [a, b, c, d, 0.01 * x, 0.0, 0.5 * x, 0.5]
    });
    for t in [0.125f32, 0.25, 0.6, 0.9] {
        let bend = 4.0 * t * (1.0 - t);
        // places at the phase and in the middle, from that in the left picture on
        let gone = (t * motion + bend * ahead) - (motion / 2.0 + ahead);
        for carried in both(&middle, &PhaseMap::Uniform(t)) {
            for (i, cell) in carried.chunks(STATE).enumerate() {
                let x = (i % size.1) as f32;
                if !(8.0..56.0).contains(&x) {
                    continue;
                }
                let left = -(t * motion + bend * ahead);
                let want = [left, 0.0, left + motion, 0.0, 0.01 * (x - gone)];
                for (found, want) in cell.iter().zip(want) {
                    assert!((found - want).abs() < 1e-4, "{t}, {x}: {found}, {want}");
                }
                assert!((cell[MASK] - 0.5 * (x - gone)).abs() < 1e-4);
                assert_eq!(cell[PHASE], t);
            }
        }
    }
}

#[test]
fn the_difference_is_kept_and_taken_out() {
    let mut random = Random(3);
    for size in SIZES {
        let (kept, found) = (random.tensor(size, STATE, 1.0), random.tensor(size, 1, 1.0));
        let before = values(&kept);
        for context in <[Context; 2]>::from(contexts()) {
            keep(&context, &found, &kept).unwrap();
            let out = zeros(&[size.0, size.1, 1]);
            difference(&context, &kept, &out).unwrap();
            assert_eq!(values(&out), values(&found));
        }
        let others = |v: &[f32]| -> Vec<f32> {
            let others = v
                .iter()
                .enumerate()
                .filter(|(i, _)| i % STATE != DIFFERENCE);
            others.map(|(_, v)| *v).collect()
        };
        assert_eq!(others(&values(&kept)), others(&before));
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let (context, _) = contexts();
    let (large, small) = (zeros(&[3, 4, 8]), zeros(&[3, 3, 8]));
    let (even, plane) = (PhaseMap::Uniform(0.3), PhaseMap::Plane(zeros(&[3, 3, 1])));
    assert!(carry(&context, &large, &even, &zeros(&[3, 4, 8])).is_ok());
    assert!(carry(&context, &large, &even, &small).is_err());
    assert!(carry(&context, &large, &plane, &zeros(&[3, 4, 8])).is_err());
    assert!(carry(&context, &large, &even, &zeros(&[3, 4, 7])).is_err());
    assert!(keep(&context, &zeros(&[3, 3, 1]), &large).is_err());
    assert!(difference(&context, &large, &zeros(&[3, 4, 2])).is_err());
}
