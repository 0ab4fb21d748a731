use candle_core::{DType, Device};

use super::*;
use crate::kernels::CpuLevel;

const SIZE: (usize, usize) = (12, 20);

fn context() -> Context {
    Context::with_level(1, CpuLevel::Reference).unwrap()
}

fn tensor(channels: usize, value: impl Fn(usize, usize, usize) -> f32) -> Tensor {
    let (h, w) = SIZE;
    let values: Vec<f32> = (0..h * w * channels)
        .map(|i| value(i / channels % w, i / channels / w, i % channels))
        .collect();
    Tensor::from_vec(values, (h, w, channels), &Device::Cpu).unwrap()
}

fn zeros() -> Tensor {
    Tensor::zeros((SIZE.0, SIZE.1, 1), DType::F32, &Device::Cpu).unwrap()
}

/// A pattern that moves to the right; cells of 4 pixels.
fn luma(moved: f32) -> Tensor {
    tensor(1, |x, y, _| {
        0.4 * ((x as f32 - moved) * 0.9).sin() * (y as f32 * 0.7).cos()
    })
}

fn confidence(flow: &Tensor, luma: [&Tensor; 2], brightness: f32, phase: f32) -> Vec<f32> {
    let evidence = Evidence {
        flow,
        luma,
        brightness,
    };
    let out = zeros();
    estimate(
        &context(),
        &evidence,
        &PhaseMap::Uniform(phase),
        &zeros(),
        &out,
    )
    .unwrap();
    out.flatten_all().unwrap().to_vec1().unwrap()
}

/// Without the border, where there is nothing to compare with.
fn inner(values: &[f32]) -> Vec<f32> {
    let (h, w) = SIZE;
    (3..h - 3)
        .flat_map(|y| (5..w - 5).map(move |x| values[y * w + x]))
        .collect()
}

#[test]
fn right_motion_is_trusted() {
    // Two cells in all, a quarter of it behind us.
    let flow = tensor(4, |_, _, c| [-2.0, 0.0, 6.0, 0.0][c]);
    let found = confidence(&flow, [&luma(0.0), &luma(2.0)], 0.0, 0.25);
    assert!(inner(&found).iter().all(|c| *c > 0.99), "{found:?}");
}

#[test]
fn wrong_motion_is_not_trusted() {
    // Half a period off.
    let still = tensor(4, |_, _, _| 0.0);
    let found = confidence(&still, [&luma(0.0), &luma(3.5)], 0.0, 0.5);
    let inner = inner(&found);
    let mean = inner.iter().sum::<f32>() / inner.len() as f32;
    assert!(mean < 0.4, "{mean}");
}

#[test]
fn a_fade_is_no_disagreement() {
    let still = tensor(4, |_, _, _| 0.0);
    let brighter = (luma(0.0) + 0.4).unwrap();
    let lost = confidence(&still, [&brighter, &luma(0.0)], 0.0, 0.5);
    assert!(lost.iter().all(|c| *c == 0.0));
    let trusted = confidence(&still, [&brighter, &luma(0.0)], 0.4, 0.5);
    assert!(trusted.iter().all(|c| *c > 0.99));
}

#[test]
fn flows_that_do_not_continue_each_other_lower_it() {
    // Luma is flat, so that it disagrees in the same way whatever the flow.
    let flat = [&tensor(1, |_, _, _| 0.12), &tensor(1, |_, _, _| 0.0)];
    let found = |up: f32, down: f32| {
        confidence(
            &tensor(4, |_, _, c| [0.0, up, 0.0, down][c]),
            flat,
            0.0,
            0.5,
        )[0]
    };
    assert!(found(-40.0, 40.0) > 0.9);
    assert!(found(40.0, 40.0) < 0.6);
}

#[test]
fn senseless_flow_is_no_panic() {
    let flow = tensor(4, |x, y, c| {
        [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30][(x + 2 * y + c) % 5]
    });
    confidence(&flow, [&luma(0.0), &luma(1.0)], 0.0, 0.5);
}

fn turned(mask: f32, confidence: f32, phase: &PhaseMap) -> Vec<f32> {
    let (mask, confidence) = (tensor(1, |_, _, _| mask), tensor(1, |_, _, _| confidence));
    let out = zeros();
    toward_nearer(&context(), &mask, &confidence, phase, &out).unwrap();
    out.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn without_confidence_the_nearer_side_has_all() {
    for (phase, expected) in [(0.2, 1.0), (0.5, 1.0), (0.51, 0.0), (0.9, 0.0)] {
        assert_eq!(
            turned(0.5, 0.0, &PhaseMap::Uniform(phase))[7],
            expected,
            "{phase}"
        );
    }
}

#[test]
fn with_confidence_or_a_decided_mask_nothing_changes() {
    assert_eq!(turned(0.3, 1.0, &PhaseMap::Uniform(0.4))[7], 0.3);
    assert_eq!(turned(0.0, 0.0, &PhaseMap::Uniform(0.4))[7], 0.0);
    assert_eq!(turned(1.0, 0.0, &PhaseMap::Uniform(0.6))[7], 1.0);
}

#[test]
fn the_phase_may_be_a_plane() {
    let (h, w) = (SIZE.0 / 2, SIZE.1 / 2);
    let phases = (0..h * w)
        .map(|i| if i % w < w / 2 { 0.2f32 } else { 0.9 })
        .collect();
    let plane = PhaseMap::Plane(Tensor::from_vec(phases, (h, w), &Device::Cpu).unwrap());
    let found = turned(0.5, 0.0, &plane);
    assert_eq!((found[0], found[SIZE.1 - 1]), (1.0, 0.0));
    let out = zeros();
    weight_of_time(&context(), &plane, &out).unwrap();
    let weights: Vec<f32> = out.flatten_all().unwrap().to_vec1().unwrap();
    assert_eq!((weights[0], weights[SIZE.1 - 1]), (0.8, 1.0 - 0.9));
}

#[test]
fn the_mean_leaves_the_padding_out() {
    let values = tensor(1, |x, y, _| if x < 10 && y < 6 { 1.0 } else { 0.0 });
    assert_eq!(mean(&values, 6, 10).unwrap(), 1.0);
    assert_eq!(mean(&values, 12, 20).unwrap(), 0.25);
}
