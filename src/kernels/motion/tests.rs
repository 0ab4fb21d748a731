use candle_core::Device;

use super::*;
use crate::kernels::testing::{Random, SIZES, close, compare, contexts, zeros};

pub fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn a_level_begins_with_its_phase_alone() {
    let (context, _) = contexts();
    let state = Random(1).dense(&[2, 3, STATE], 1.0);
    begin(&context, &PhaseMap::Uniform(0.25), &state).unwrap();
    let mut want = [0.0; STATE];
    want[PHASE] = 0.25;
    assert_eq!(values(&state), want.repeat(6));
}

#[test]
fn distances_double_with_the_size_and_the_mask_does_not() {
    let (context, _) = contexts();
    let coarser = Tensor::new(
        &[[[1f32, -2.0, 3.0, 4.0, 9.0, 9.0, 5.0, 9.0]]],
        &candle_core::Device::Cpu,
    )
    .unwrap();
    let detail = Tensor::full(0.5f32, (2, 2, 16), coarser.device()).unwrap();
    let state = zeros(&[2, 2, STATE]);
    let phase = PhaseMap::Uniform(0.5);
    advance(&context, &coarser, Some(&detail), &phase, &state).unwrap();
    let want = [2.5, -3.5, 6.5, 8.5, 0.0, 0.0, 5.5, 0.5];
    close("state", &values(&state), &want.repeat(4), 1e-6);
}

#[test]
fn the_displacement_is_divided_by_the_phase() {
    let (context, _) = contexts();
    let device = candle_core::Device::Cpu;
    let state = Tensor::new(&[[[0f32, 0.0, 0.0, 0.0, 4.0, -8.0, 1.0, 0.25]]], &device).unwrap();
    let change = Tensor::new(&[[[0.5f32, 0.0, 0.0, 0.0, -3.0, 100.0, 0.0]]], &device).unwrap();
    let luma = Tensor::new(&[[[8f32, 0.0]]], &device).unwrap();
    update(&context, &change, &luma, None, &state).unwrap();
    // All of (4, -8) and half of (8, 0) over the interval.
    let want = [-1.5, 2.0, 6.0, -6.0, 4.0, -8.0, -2.0, 0.25];
    close("state", &values(&state), &want, 1e-6);
}

#[test]
fn acceleration_bends_both_ways_to_the_same_side() {
    let (context, _) = contexts();
    let device = candle_core::Device::Cpu;
    let state = Tensor::new(&[[[0f32, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.25]]], &device).unwrap();
    // gates shut but that of the acceleration, which is half open
    let change = Tensor::new(&[[[0f32, 0.0, 0.0, 0.0, 0.0, -99.0, -99.0, 0.0]]], &device).unwrap();
    let luma = Tensor::new(&[[[8f32, 8.0]]], &device).unwrap();
    let acceleration = Tensor::new(&[[[32f32, -64.0]]], &device).unwrap();
    update(&context, &change, &luma, Some(&acceleration), &state).unwrap();
    let want = [1.5, -3.0, 1.5, -3.0, 0.0, 0.0, 0.0, 0.25];
    close("state", &values(&state), &want, 1e-6);
}

#[test]
fn an_empty_mask_weighs_by_time_and_a_full_one_decides() {
    let (context, _) = contexts();
    let device = candle_core::Device::Cpu;
    let cell = |mask: f32| [0f32, 0.0, 0.0, 0.0, 0.0, 0.0, mask, 0.2];
    let state = Tensor::new(&[[cell(0.0), cell(1e4), cell(-1e4)]], &device).unwrap();
    let weight = zeros(&[1, 3, 1]);
    weight_of_left(&context, &state, &weight).unwrap();
    close("weight", &values(&weight), &[0.8, 1.0, 0.0], 1e-6);
}

#[test]
fn a_plane_of_one_phase_is_that_phase() {
    let (context, _) = contexts();
    let plane = Tensor::full(0.3f32, (3, 5, 1), &candle_core::Device::Cpu).unwrap();
    let coarser = Random(2).dense(&[2, 3, STATE], 1.0);
    let [a, b] = [PhaseMap::Uniform(0.3), PhaseMap::Plane(plane)].map(|phase| {
        let state = zeros(&[3, 5, STATE]);
        advance(&context, &coarser, None, &phase, &state).unwrap();
        values(&state)
    });
    assert_eq!(a, b);
}

#[test]
fn wrong_sizes_are_refused() {
    let (context, _) = contexts();
    let plane = PhaseMap::Plane(zeros(&[3, 4, 1]));
    assert!(begin(&context, &plane, &zeros(&[3, 5, STATE])).is_err());
    assert!(begin(&context, &plane, &zeros(&[3, 4, 7])).is_err());
    let state = zeros(&[3, 4, STATE]);
    let luma = zeros(&[3, 4, 2]);
    assert!(update(&context, &zeros(&[3, 4, 6]), &luma, None, &state).is_err());
    assert!(
        update(
            &context,
            &zeros(&[3, 4, 7]),
            &zeros(&[3, 4, 1]),
            None,
            &state
        )
        .is_err()
    );
    let (seven, eight) = (zeros(&[3, 4, 7]), zeros(&[3, 4, 8]));
    assert!(update(&context, &eight, &luma, Some(&luma), &state).is_ok());
    assert!(update(&context, &seven, &luma, Some(&luma), &state).is_err());
    let other = zeros(&[3, 4, 1]);
    assert!(update(&context, &eight, &luma, Some(&other), &state).is_err());
    let phase = PhaseMap::Uniform(0.5);
    let (coarser, state) = (zeros(&[2, 2, STATE]), zeros(&[3, 5, STATE]));
    assert!(advance(&context, &coarser, None, &phase, &state).is_err());
}

#[test]
fn fast_and_plain_advances_agree() {
    let mut random = Random(3);
    for (h, w) in SIZES {
        let coarser = random.tensor((h.div_ceil(2), w.div_ceil(2)), STATE, 100.0);
        let detail = random.tensor((h, w), 16, 1.0);
        let plane = PhaseMap::Plane(random.dense(&[h, w, 1], 1.0));
        for detail in [None, Some(&detail)] {
            // Four products and two sums of values below 200.
            compare("advance", (h, w), STATE, 1e-4, |context, out| {
                advance(context, &coarser, detail, &plane, out).unwrap();
            });
        }
    }
}

/// A state of random values whose phases lie inside 0 to 1.
pub fn random_state(random: &mut Random, (h, w): (usize, usize), scale: f32) -> Tensor {
    let state = random.dense(&[h, w, STATE], scale);
    let mut state = values(&state);
    for cell in state.chunks_mut(STATE) {
        cell[PHASE] = 0.5 + 0.49 * random.value();
    }
    Tensor::from_vec(state, (h, w, STATE), &Device::Cpu).unwrap()
}

#[test]
fn fast_and_plain_updates_agree() {
    let mut random = Random(3);
    for size in SIZES {
        for scale in [1.0, 30.0, 300.0] {
            let before = random_state(&mut random, size, 2.0);
            let change = random.tensor(size, CHANGE + 1, scale);
            let luma = random.tensor(size, 3, 2.0);
            let acceleration = random.tensor(size, 2, 2.0);
            for acceleration in [None, Some(&acceleration)] {
                let [want, got] = <[Context; 2]>::from(contexts()).map(|context| {
                    let state = before.copy().unwrap();
                    update(&context, &change, &luma, acceleration, &state).unwrap();
                    values(&state)
                });
                close("update", &got, &want, 1e-5);
            }
        }
    }
}

#[test]
fn fast_and_plain_weights_agree() {
    let mut random = Random(4);
    for size in SIZES {
        for scale in [1.0, 20.0, 200.0] {
            let state = random_state(&mut random, size, scale);
            compare("weight", size, 1, 1e-6, |context, out| {
                weight_of_left(context, &state, out).unwrap();
            });
        }
    }
}
