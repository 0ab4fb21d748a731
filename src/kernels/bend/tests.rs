use candle_core::Device;

use super::*;
use crate::kernels::testing::{contexts, zeros};

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
