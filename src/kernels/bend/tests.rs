use candle_core::Device;

use super::*;
use crate::kernels::testing::contexts;

const SIZE: (usize, usize) = (5, 7);

fn even(values: &[f32]) -> Tensor {
    let (h, w) = SIZE;
    Tensor::from_vec(values.repeat(h * w), (h, w, values.len()), &Device::Cpu).unwrap()
}

/// The bend at a phase, of a motion (1, 0) with an acceleration before, if it is known, and a way to the picture after, if that is.
fn bent(before: Option<Vector>, after: Option<Vector>, t: f32) -> Vector {
    let (plain, _) = contexts();
    let (h, w) = SIZE;
    let [ax, ay] = before.unwrap_or_default();
    let known = f32::from(before.is_some());
    let cues = even(&[0.1, 0.2, 0.3, 0.0, 0.0, ax, ay, known]);
    let found = even(&after.map_or([0.0; 4], |[x, y]| [x, y, -x, -y]));
    let future = Tensor::zeros((h, w, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
    foresee(&plain, &found, after.map(|_| 1.0), &future).unwrap();
    let out = Tensor::zeros((h, w, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
    let cells = Cells {
        flow: &even(&[-t, 0.0, 1.0 - t, 0.0]),
        phase: &even(&[t]),
        cues: &cues,
        change: &even(&[0.0; CHANGE + 1]),
        future: &future,
    };
    bend(&plain, &Field::cubic(), &cells, &out).unwrap();
    let values: Vec<f32> = out.flatten_all().unwrap().to_vec1().unwrap();
    let first = [values[0], values[1]];
    assert!(values.chunks(2).all(|v| v == first), "the same everywhere");
    first
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
