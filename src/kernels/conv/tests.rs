use super::*;
use crate::kernels::testing::{Random, SIZES, compare, contexts, zeros};

/// Sums of up to 9 * 52 products of values below 1 with weights below 1, in another order and
/// with fused rounding: each step loses at most half a unit in the last place of a partial sum.
const TOLERANCE: f32 = 2e-5;

fn filter(random: &mut Random, outputs: usize, inputs: usize, k: usize, stride: usize) -> Filter {
    let weight = random.dense(&[outputs, inputs, k, k], 1.0);
    let bias = random.dense(&[outputs], 1.0);
    Filter::new(&weight, &bias, stride).unwrap()
}

#[test]
fn fast_and_plain_agree_for_every_shape() {
    let mut random = Random(1);
    for (k, stride) in [(1, 1), (3, 1), (3, 2)] {
        for (inputs, outputs) in [
            (1, 1),
            (6, 16),
            (5, 22),
            (48, 32),
            (16, 6),
            (9, 40),
            (8, 24),
        ] {
            let filter = filter(&mut random, outputs, inputs, k, stride);
            for (h, w) in SIZES {
                let input = random.tensor((h, w), inputs, 1.0);
                let size = (h.div_ceil(stride), w.div_ceil(stride));
                let name = format!("{k}x{k} by {stride}, {inputs} to {outputs}, {h}x{w}");
                compare(&name, size, outputs, TOLERANCE, |context, out| {
                    filter
                        .apply(context, &[&input], None, Activation::Linear, out)
                        .unwrap();
                });
            }
        }
    }
}

#[test]
fn input_without_gaps_gives_the_same() {
    let mut random = Random(2);
    for stride in [1, 2] {
        let filter = filter(&mut random, 16, 6, 3, stride);
        for (h, w) in SIZES {
            let input = random.dense(&[h, w, 6], 1.0);
            let size = (h.div_ceil(stride), w.div_ceil(stride));
            compare("dense", size, 16, TOLERANCE, |context, out| {
                filter
                    .apply(context, &[&input], None, Activation::Leaky, out)
                    .unwrap();
            });
        }
    }
}

#[test]
fn residual_and_activation_agree_over_several_inputs() {
    let mut random = Random(3);
    for k in [1, 3] {
        let filter = filter(&mut random, 22, 24 + 16 + 7 + 5, k, 1);
        for size in SIZES {
            let parts = [24, 16, 7, 5].map(|c| random.tensor(size, c, 1.0));
            let residual = random.tensor(size, 22, 5.0);
            compare("concatenation", size, 22, TOLERANCE, |context, out| {
                let inputs = [&parts[0], &parts[1], &parts[2], &parts[3]];
                filter
                    .apply(context, &inputs, Some(&residual), Activation::Leaky, out)
                    .unwrap();
            });
        }
    }
}

#[test]
fn several_inputs_are_read_as_their_concatenation() {
    let mut random = Random(4);
    let (context, _) = contexts();
    let filter = filter(&mut random, 8, 7, 3, 1);
    let parts = [4, 3].map(|c| random.tensor((5, 6), c, 1.0));
    let whole = Tensor::cat(&[&parts[0], &parts[1]], 2).unwrap();
    let run = |inputs: &[&Tensor]| {
        let out = zeros(&[5, 6, 8]);
        filter
            .apply(&context, inputs, None, Activation::Linear, &out)
            .unwrap();
        out.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    assert_eq!(run(&[&parts[0], &parts[1]]), run(&[&whole]));
}

#[test]
fn plain_kernel_is_the_textbook_convolution() {
    let (context, _) = contexts();
    let device = candle_core::Device::Cpu;
    let weight: Vec<f32> = (1..=9).map(|v| v as f32).collect();
    let weight = Tensor::from_vec(weight, (1, 1, 3, 3), &device).unwrap();
    let bias = Tensor::new(&[0.5f32], &device).unwrap();
    let filter = Filter::new(&weight, &bias, 1).unwrap();
    let input = Tensor::from_vec(vec![1f32, 10.0, 100.0, -1000.0], (2, 2, 1), &device).unwrap();
    let out = zeros(&[2, 2, 1]);
    filter
        .apply(&context, &[&input], None, Activation::Leaky, &out)
        .unwrap();
    let out: Vec<f32> = out.flatten_all().unwrap().to_vec1().unwrap();
    // e.g. top left: 5 * 1 + 6 * 10 + 8 * 100 + 9 * -1000, plus the bias, times the slope.
    let want = [
        (865.0 - 9000.0 + 0.5) * SLOPE,
        (54.0 + 700.0 - 8000.0 + 0.5) * SLOPE,
        (32.0 + 500.0 - 6000.0 + 0.5) * SLOPE,
        (21.0 + 400.0 - 5000.0 + 0.5) * SLOPE,
    ];
    assert_eq!(out, want);
}

#[test]
fn wrong_sizes_are_refused() {
    let mut random = Random(5);
    let (context, _) = contexts();
    let filter = filter(&mut random, 8, 4, 3, 2);
    let input = random.tensor((6, 6), 4, 1.0);
    let run = |inputs: &[&Tensor], out: &Tensor| {
        filter.apply(&context, inputs, None, Activation::Linear, out)
    };
    assert!(run(&[&input], &zeros(&[3, 3, 8])).is_ok());
    assert!(run(&[&input], &zeros(&[3, 4, 8])).is_err());
    assert!(run(&[&input], &zeros(&[3, 3, 9])).is_err());
    assert!(run(&[&input, &input], &zeros(&[3, 3, 8])).is_err());
    assert!(run(&[], &zeros(&[3, 3, 8])).is_err());
}

#[test]
fn activation_alone_scales_what_is_negative() {
    let (context, _) = contexts();
    let input = Tensor::new(&[[[3f32, -3.0, 0.0, -0.5]]], &candle_core::Device::Cpu).unwrap();
    let out = zeros(&[1, 1, 4]);
    activate(&context, &input, &out).unwrap();
    let out: Vec<f32> = out.flatten_all().unwrap().to_vec1().unwrap();
    assert_eq!(out, [3.0, -3.0 * SLOPE, 0.0, -0.5 * SLOPE]);
}
