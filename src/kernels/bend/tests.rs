use candle_core::Device;

use super::*;
use crate::kernels::testing::{Out, Random, contexts, zeros};

const SIZE: (usize, usize) = (5, 7);

fn even(values: &[f32]) -> Tensor {
    let (h, w) = SIZE;
    Tensor::from_vec(values.repeat(h * w), (h, w, values.len()), &Device::Cpu).unwrap()
}

/// The bend and the lean at a phase, of a motion (1, 0) with an acceleration before, if it is known, and a way to the picture after,
/// if that is.
fn found(before: Option<Vector>, after: Option<Vector>, t: f32) -> [Vector; 2] {
    let (plain, _) = contexts();
    let (h, w) = SIZE;
    let [ax, ay] = before.unwrap_or_default();
    let known = f32::from(before.is_some());
    let cues = even(&[0.1, 0.2, 0.3, 0.0, 0.0, ax, ay, known]);
    let found = even(&after.map_or([0.0; 4], |[x, y]| [x, y, -x, -y]));
    let future = zeros(&[h, w, 3]);
    foresee(&plain, &found, after.map(|_| 1.0), &future).unwrap();
    let cells = Cells {
        flow: &even(&[-t, 0.0, 1.0 - t, 0.0]),
        phase: &even(&[t]),
        cues: &cues,
        change: &even(&[0.0; CHANGE + 1]),
        future: &future,
    };
    [bend, lean].map(|fill| {
        let out = zeros(&[h, w, 2]);
        fill(&plain, &Field::cubic(), &cells, &out).unwrap();
        let values: Vec<f32> = out.flatten_all().unwrap().to_vec1().unwrap();
        let first = [values[0], values[1]];
        assert!(values.chunks(2).all(|v| v == first), "the same everywhere");
        first
    })
}

fn bent(before: Option<Vector>, after: Option<Vector>, t: f32) -> Vector {
    found(before, after, t)[0]
}

fn near(found: Vector, wanted: Vector) {
    let far = (0..2).any(|c| (found[c] - wanted[c]).abs() > 1e-4);
    assert!(!far, "{found:?}, expected {wanted:?}");
}

/// A field of random weights, up to `scale`.
fn wild(random: &mut Random, scale: f32) -> Field {
    let weights: Vec<f32> = (0..512).map(|_| scale * random.value()).collect();
    Field::of(
        |hidden, input| weights[16 * input + hidden],
        |hidden| weights[300 + hidden],
        |output, hidden| weights[320 + 16 * output + hidden],
        |output| weights[500 + output],
    )
}

/// Clues of motion and accelerations up to `scale` cells, one or both known.
fn clues(random: &mut Random, scale: f32) -> Clues {
    let vector = |random: &mut Random| [0; 2].map(|_| scale * random.value());
    let known = |random: &mut Random| (random.value() > -0.5).then(|| vector(random));
    let (motion, before, after) = (vector(random), vector(random), known(random));
    let mut accelerations = [Some(before), after];
    if random.value() > 0.0 {
        accelerations.reverse();
    }
    Clues {
        motion,
        accelerations,
        inconsistency: [random.value().abs(), random.value().abs()],
        difference: random.value().abs(),
        gate: random.value().abs(),
    }
}

#[test]
fn eight_ways_at_once_are_the_same_to_the_bit() {
    let (plain, fast) = contexts();
    let mut random = Random(7);
    let (mut told, mut untold) = (0, 0);
    for scale in [0.1, 1.0, 8.0, 60.0, 2e3] {
        let mut fields = vec![*Field::embedded().unwrap(), Field::cubic()];
        fields.extend([1.0, 4.0, 30.0].map(|most| wild(&mut random, most)));
        for field in &fields {
            for round in 0..20 {
                let clues = from_fn(|_| clues(&mut random, scale));
                let mut phases = from_fn(|_| 0.5 + 0.5 * random.value());
                if round == 0 {
                    phases[..3].copy_from_slice(&[0.0, 1.0, 0.5]);
                }
                let [want, got] = [&plain, &fast].map(|on| bends(on, field, &clues, &phases));
                let bits = |bends: &[Vector]| {
                    bends
                        .as_flattened()
                        .iter()
                        .map(|v| v.to_bits())
                        .collect::<Vec<_>>()
                };
                assert_eq!(bits(&want), bits(&got), "{scale}, {clues:?}, {phases:?}");
                for bend in want {
                    *(if bend == [0.0; 2] {
                        &mut untold
                    } else {
                        &mut told
                    }) += 1;
                }
            }
        }
    }
    // ways that can be told, and equations that explode or are stiff
    assert!(told > 500 && untold > 100, "{told}, {untold}");
}

type Fill = fn(&Context, &Field, &Cells, &Tensor) -> candle_core::Result<()>;

#[test]
fn groups_of_cells_are_told_as_cells_by_themselves() {
    let (h, w) = (9, 37);
    let mut random = Random(11);
    let (plain, fast) = contexts();
    let tensor = |c, random: &mut Random| random.tensor((h, w), c, 2.0);
    let flow = tensor(4, &mut random);
    let (phase, change) = (
        random.tensor((h, w), 1, 0.5),
        tensor(CHANGE + 1, &mut random),
    );
    let phase = phase.affine(1.0, 0.5).unwrap();
    // about half of the cells move evenly
    let sparse = |c, random: &mut Random| {
        let cell = |random: &mut Random| {
            let by = if random.value() > 0.0 { 1.0 } else { 0.0 };
            (0..c).map(|_| by * random.value()).collect::<Vec<_>>()
        };
        let values: Vec<f32> = (0..h * w).flat_map(|_| cell(random)).collect();
        Tensor::from_vec(values, (h, w, c), &Device::Cpu).unwrap()
    };
    let (cues, future) = (sparse(CUES, &mut random), sparse(3, &mut random));
    let field = Field::embedded().unwrap();
    let cells = Cells {
        flow: &flow,
        phase: &phase,
        cues: &cues,
        change: &change,
        future: &future,
    };
    let locks = [&flow, &phase, &cues, &change, &future].map(Source::lock);
    let [flow, phase, cues, change, future] = locks.each_ref().map(|lock| lock.raster().unwrap());
    let job = Job {
        flow,
        phase,
        cues,
        change,
        future,
    };
    let bent = |clues: &Clues, t: f32| {
        let known = clues.accelerations.into_iter().flatten().flatten();
        match known.clone().any(|a| a.abs() >= LEAST) {
            true => field.bend(clues, t),
            false => [0.0; 2],
        }
    };
    let leans = |clues: &Clues, _: f32| {
        let [early, late] = [bent(clues, 0.25), bent(clues, 0.75)];
        [0, 1].map(|c| 0.5 * (early[c] - late[c]))
    };
    let of_cells = |tell: &dyn Fn(&Clues, f32) -> Vector| {
        let cells = (0..h * w).map(|i| (i / w, i % w));
        let told = cells.map(|(y, x)| tell(&job.clues(y, x), job.phase.at(y, x)[0]));
        told.flatten().collect::<Vec<f32>>()
    };
    for (fill, want) in [(bend as Fill, of_cells(&bent)), (lean, of_cells(&leans))] {
        for context in [&plain, &fast] {
            let out = Out::new((h, w), 2);
            fill(context, &field, &cells, &out.tensor()).unwrap();
            assert_eq!(want, out.values());
        }
        assert!(want.iter().any(|v| *v != 0.0) && want.contains(&0.0));
    }
}

#[test]
fn both_sides_bend_as_the_cubic() {
    for t in [0.25, 0.5, 0.875] {
        // from 1 a step to 1.3: 0.3 at the right picture
        let share = t * (t - 1.0) / 6.0;
        let x = share * ((2.0 - t) * 0.2 + (1.0 + t) * 0.3);
        let y = share * (2.0 - t) * -0.1;
        near(bent(Some([0.2, -0.1]), Some([1.3, 0.0]), t), [x, y]);
    }
}

#[test]
fn one_side_bends_as_the_parabola() {
    near(bent(Some([0.2, 0.1]), None, 0.5), [-0.025, -0.0125]);
    near(bent(None, Some([1.2, 0.1]), 0.5), [-0.025, -0.0125]);
}

#[test]
fn without_frames_beside_motion_is_even() {
    assert_eq!(bent(None, None, 0.5), [0.0; 2]);
    assert_eq!(bent(Some([0.01, 0.0]), Some([1.01, 0.0]), 0.5), [0.0; 2]);
}

#[test]
fn a_wild_acceleration_is_limited() {
    // at most half of the motion and a quarter of a cell
    near(bent(None, Some([9.0, 0.0]), 0.5), [-0.75 / 8.0, 0.0]);
}

#[test]
fn a_parabola_and_its_lean_are_the_cubic() {
    let (before, after) = (Some([0.2, -0.1]), Some([1.6, 0.3]));
    let [middle, lean] = found(before, after, 0.5);
    near(lean, [0.4 / 128.0, 0.4 / 128.0]);
    for t in [0.0, 0.1, 0.25, 0.6, 0.875, 1.0] {
        // in cells half as large
        let share = 0.5 * share_of_lean(t);
        let sum = [0, 1].map(|c| 4.0 * t * (1.0 - t) * middle[c] + share * lean[c]);
        near(sum, bent(before, after, t));
    }
    // what has one acceleration alone is a parabola
    near(found(before, None, 0.5)[1], [0.0; 2]);
    assert_eq!(found(None, None, 0.5)[1], [0.0; 2]);
}

#[test]
fn a_lean_is_taken_from_where_a_cell_was_in_the_middle() {
    let (h, w) = (6, 31);
    let (coarse_h, coarse_w) = (3, 16);
    let ramp =
        (0..coarse_h * coarse_w).flat_map(|i| [(i % coarse_w) as f32, (i / coarse_w) as f32]);
    let shape = (coarse_h, coarse_w, 2);
    let lean = Tensor::from_vec(ramp.collect::<Vec<_>>(), shape, &Device::Cpu).unwrap();
    let (context, _) = contexts();
    for t in [0.25, 0.5, 0.75] {
        // 8 cells to the right from picture to picture
        let cell = [-8.0 * t, 0.0, 8.0 - 8.0 * t, 0.0, 1.0, 2.0, 3.0, t];
        let state = Tensor::from_vec(cell.repeat(h * w), (h, w, STATE), &Device::Cpu).unwrap();
        put_lean(&context, &lean, &PhaseMap::Uniform(t), &state).unwrap();
        let state: Vec<f32> = state.flatten_all().unwrap().to_vec1().unwrap();
        for (i, got) in state.chunks(STATE).enumerate() {
            let (x, y) = ((i % w) as f32, (i / w) as f32);
            let middle = x - 8.0 * (t - 0.5);
            let place = [
                (0.5 * middle - 0.25).clamp(0.0, 15.0),
                (0.5 * y - 0.25).clamp(0.0, 2.0),
            ];
            let all = [2.0, 0.0, -2.0][(4.0 * t) as usize - 1];
            for c in 0..2 {
                for side in [0, 2] {
                    let by = cell[side + c] - got[side + c];
                    assert!((by - all * place[c]).abs() < 1e-4, "{t}, {x}, {y}: {by}");
                }
            }
            assert_eq!(got[4..], cell[4..]);
        }
    }
}

#[test]
fn leans_that_do_not_fit_are_refused() {
    let (context, _) = contexts();
    let put = |lean: [usize; 3], state: [usize; 3]| {
        let phase = PhaseMap::Uniform(0.3);
        put_lean(&context, &zeros(&lean), &phase, &zeros(&state)).is_ok()
    };
    assert!(put([2, 3, 2], [3, 5, 8]));
    assert!(!put([2, 2, 2], [3, 5, 8]));
    assert!(!put([2, 3, 3], [3, 5, 8]));
    assert!(!put([2, 3, 2], [3, 5, 7]));
}
