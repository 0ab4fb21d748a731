use candle_core::{DType, Device};

use super::*;
use crate::kernels::CpuLevel;
use crate::kernels::testing::{Out, Random, SIZES};

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

fn disagreement(flow: &Tensor, luma: [&Tensor; 2], brightness: f32, phase: f32) -> Vec<f32> {
    let evidence = Evidence {
        flow,
        luma,
        brightness,
    };
    let (out, phase) = (zeros(), PhaseMap::Uniform(phase));
    disagree(&context(), &evidence, &phase, &out).unwrap();
    out.flatten_all().unwrap().to_vec1().unwrap()
}

/// Without the border, where there is nothing to compare with.
fn inner(values: &[f32]) -> Vec<f32> {
    let (h, w) = SIZE;
    (3..h - 3)
        .flat_map(|y| (5..w - 5).map(move |x| values[y * w + x]))
        .collect()
}

fn mean_of(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len() as f32
}

#[test]
fn along_the_right_motion_the_sides_agree() {
    // Two cells in all, a quarter of it behind us.
    let flow = tensor(4, |_, _, c| [-2.0, 0.0, 6.0, 0.0][c]);
    let right = inner(&disagreement(&flow, [&luma(0.0), &luma(2.0)], 0.0, 0.25));
    assert!(mean_of(&right) < 0.05, "{right:?}");
    // Half a period off.
    let still = tensor(4, |_, _, _| 0.0);
    let wrong = inner(&disagreement(&still, [&luma(0.0), &luma(3.5)], 0.0, 0.5));
    assert!(mean_of(&wrong) > 0.2, "{wrong:?}");
}

#[test]
fn a_fade_is_no_disagreement() {
    let still = tensor(4, |_, _, _| 0.0);
    let brighter = (luma(0.0) + 0.4).unwrap();
    let apart = disagreement(&still, [&brighter, &luma(0.0)], 0.0, 0.5);
    assert!(apart.iter().all(|d| (d - 0.4).abs() < 1e-6));
    let faded = disagreement(&still, [&brighter, &luma(0.0)], 0.4, 0.5);
    assert!(faded.iter().all(|d| *d < 1e-6));
}

#[test]
fn flows_that_do_not_continue_each_other_raise_it() {
    // Luma is flat, so that it disagrees in the same way whatever the flow.
    let flat = [&tensor(1, |_, _, _| 0.12), &tensor(1, |_, _, _| 0.0)];
    let found = |up: f32, down: f32| {
        let flow = tensor(4, |_, _, c| [0.0, up, 0.0, down][c]);
        disagreement(&flow, flat, 0.0, 0.5)[0]
    };
    assert!((found(-40.0, 40.0) - 0.12).abs() < 1e-6);
    assert!(found(40.0, 40.0) > 0.2);
}

#[test]
fn senseless_flow_is_no_panic() {
    let flow = tensor(4, |x, y, c| {
        [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30][(x + 2 * y + c) % 5]
    });
    disagreement(&flow, [&luma(0.0), &luma(1.0)], 0.0, 0.5);
}

fn confidence(difference: &Tensor, change: &Tensor) -> Vec<f32> {
    let out = zeros();
    estimate(&context(), difference, change, &out).unwrap();
    out.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn confidence_is_that_of_the_predicted_error() {
    // Sides ten codes apart on the left, pictures ten codes apart above.
    let difference = tensor(1, |x, _, _| if x < 10 { 10.0 / 255.0 } else { 0.0 });
    let change = tensor(1, |_, y, _| if y < 6 { 10.0 / 255.0 } else { 0.0 });
    let found = confidence(&difference, &change);
    for (i, confidence) in found.iter().enumerate() {
        let (x, y) = (i % SIZE.1, i / SIZE.1);
        let mut error = if x < 10 { 4.0 } else { 0.0 };
        if y < 6 {
            error += 1.7;
        }
        let expected = 1.0 / (1.0 + error / 8.0);
        assert!(
            (confidence - expected).abs() < 1e-5,
            "{x}, {y}: {confidence}"
        );
        assert!((predicted_error(*confidence) - error).abs() < 1e-3);
    }
    let other = Tensor::zeros((2, 2, 1), DType::F32, &Device::Cpu).unwrap();
    assert!(estimate(&context(), &difference, &other, &zeros()).is_err());
    assert!(estimate(&context(), &difference, &change, &other).is_err());
}

#[test]
fn what_is_no_number_is_not_trusted() {
    for wild in [f32::NAN, f32::INFINITY] {
        let found = confidence(&tensor(1, |_, _, _| wild), &zeros());
        assert!(found.iter().all(|c| *c == 0.0), "{wild}");
    }
    assert_eq!(confidence(&zeros(), &zeros())[0], 1.0);
    assert_eq!(predicted_error(0.5), 8.0);
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
fn the_lean_begins_at_32_codes_and_is_whole_at_64() {
    let at = |error: f32| turned(0.5, confidence_of(error), &PhaseMap::Uniform(0.5))[7];
    assert_eq!((at(31.9), at(64.1)), (0.5, 1.0));
    assert!((at(48.0) - 0.75).abs() < 1e-3);
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

#[test]
fn values_with_gaps_between_them_give_the_same() {
    let mut random = Random(5);
    for size in SIZES {
        // Odd values among them.
        let one = random.tensor(size, 1, 2.0);
        let other = (random.tensor(size, 1, 0.1) + 0.05).unwrap();
        let [one_dense, other_dense] =
            [&one, &other].map(|t| t.contiguous().unwrap().copy().unwrap());
        let values = |t: Tensor| -> Vec<f32> { t.flatten_all().unwrap().to_vec1().unwrap() };
        let shape = (size.0, size.1, 1);
        let dense = || Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let (gaps, none) = (Out::new(size, 1), dense());
        estimate(&context(), &other, &one, &gaps.tensor()).unwrap();
        estimate(&context(), &other_dense, &one_dense, &none).unwrap();
        assert_eq!(gaps.values(), values(none), "{size:?}");
        for phase in [0.3, 0.5, 0.7].map(PhaseMap::Uniform) {
            let (gaps, none) = (Out::new(size, 1), dense());
            toward_nearer(&context(), &one, &other, &phase, &gaps.tensor()).unwrap();
            toward_nearer(&context(), &one_dense, &other_dense, &phase, &none).unwrap();
            assert_eq!(gaps.values(), values(none), "{size:?}");
        }
    }
}
