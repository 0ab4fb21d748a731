use super::*;
use crate::kernels::CpuLevel;
use crate::kernels::testing::{Out, Random, SIZES, close, contexts, zeros};

/// Sums of up to 9 * 52 products of values below 1 with weights below 1, in another order and
/// with fused rounding: each step loses at most half a unit in the last place of a partial sum.
const TOLERANCE: f32 = 2e-5;
/// Of Winograd's way, where sums of up to 100 times the size cancel out: ten times as much.
const WINOGRAD: f32 = 2e-4;

/// What may be expected of a filter of `k` taps a side.
fn tolerance(k: usize, stride: usize) -> f32 {
    match (k, stride) {
        (3, 1) => WINOGRAD,
        _ => TOLERANCE,
    }
}

/// Runs `run` with the plain kernels and with those of each level that this machine has, and
/// compares each value.
fn compare(
    name: &str,
    size: (usize, usize),
    channels: usize,
    tolerance: f32,
    run: impl Fn(&Context, &Tensor),
) {
    let values = |level: CpuLevel| {
        let out = Out::new(size, channels);
        run(&Context::with_level(2, level).unwrap(), &out.tensor());
        out.values()
    };
    let want = values(CpuLevel::Reference);
    let levels = CpuLevel::ALL.into_iter().filter(|l| l.is_supported());
    for level in levels {
        let name = format!("{name}, {}", level.name());
        close(&name, &values(level), &want, tolerance);
    }
}

/// Kernels and strides of the built-in network; inputs and outputs around the sizes of groups and vectors.
pub const KERNELS: [(usize, usize); 3] = [(1, 1), (3, 1), (3, 2)];
pub const CHANNELS: [(usize, usize); 8] = [
    (1, 1),
    (6, 16),
    (5, 22),
    (48, 32),
    (16, 6),
    (16, 7),
    (9, 40),
    (8, 24),
];

pub fn filter(
    random: &mut Random,
    outputs: usize,
    inputs: usize,
    k: usize,
    stride: usize,
) -> Filter {
    let weight = random.dense(&[outputs, inputs, k, k], 1.0);
    let bias = random.dense(&[outputs], 1.0);
    Filter::new(&weight, &bias, stride).unwrap()
}

#[test]
fn fast_and_plain_agree_for_every_shape() {
    let mut random = Random(1);
    for (k, stride) in KERNELS {
        for (inputs, outputs) in CHANNELS {
            let filter = filter(&mut random, outputs, inputs, k, stride);
            for (h, w) in SIZES {
                let input = random.tensor((h, w), inputs, 1.0);
                let size = (h.div_ceil(stride), w.div_ceil(stride));
                let name = format!("{k}x{k} by {stride}, {inputs} to {outputs}, {h}x{w}");
                let tolerance = tolerance(k, stride);
                compare(&name, size, outputs, tolerance, |context, out| {
                    filter
                        .apply(context, &[&input], None, Activation::Linear, out)
                        .unwrap();
                });
            }
        }
    }
}

// Below 1.2e-38 a float has fewer bits the smaller it is: of 1e-40 there are 71,000 steps.
#[test]
fn values_tiny_and_huge_agree() {
    let mut random = Random(14);
    for (k, stride) in KERNELS {
        let weight = random.dense(&[22, 9, k, k], 1.0);
        let filter = Filter::new(&weight, &zeros(&[22]), stride).unwrap();
        for (scale, tolerance) in [
            (1e-40, 1e-2),
            (1e-36, tolerance(k, stride)),
            (1e30, tolerance(k, stride)),
        ] {
            let (h, w) = (17, 31);
            let input = random.tensor((h, w), 9, scale);
            let values = |level: CpuLevel| {
                let out = Out::new((h.div_ceil(stride), w.div_ceil(stride)), 22);
                let context = Context::with_level(2, level).unwrap();
                let parts = [&input];
                filter
                    .apply(&context, &parts, None, Activation::Leaky, &out.tensor())
                    .unwrap();
                let values = out.values().into_iter();
                values.map(|v| v / scale).collect::<Vec<f32>>()
            };
            let want = values(CpuLevel::Reference);
            for level in CpuLevel::ALL.into_iter().filter(|l| l.is_supported()) {
                let name = format!("{k}x{k} by {stride}, {scale:e}, {}", level.name());
                close(&name, &values(level), &want, tolerance);
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
            compare("dense", size, 16, tolerance(3, stride), |context, out| {
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
            compare(
                "concatenation",
                size,
                22,
                tolerance(k, 1),
                |context, out| {
                    let inputs = [&parts[0], &parts[1], &parts[2], &parts[3]];
                    filter
                        .apply(context, &inputs, Some(&residual), Activation::Leaky, out)
                        .unwrap();
                },
            );
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
fn an_activated_input_is_its_leaky_relu() {
    let mut random = Random(12);
    for (k, stride) in [(1, 1), (3, 1), (3, 2)] {
        let filter = filter(&mut random, 24, 16 + 3, k, stride);
        let active = filter.reading(Activation::Leaky);
        for (h, w) in SIZES {
            let parts = [16, 3].map(|c| random.tensor((h, w), c, 1.0));
            let size = (h.div_ceil(stride), w.div_ceil(stride));
            compare(
                "activated input",
                size,
                24,
                tolerance(k, stride),
                |context, out| {
                    let inputs = [&parts[0], &parts[1]];
                    active
                        .apply(context, &inputs, None, Activation::Linear, out)
                        .unwrap();
                },
            );
        }
    }
    let (context, _) = contexts();
    let device = candle_core::Device::Cpu;
    let input = Tensor::new(&[[[3f32, -3.0]]], &device).unwrap();
    let weight = Tensor::new(&[1f32, 10.0], &device).unwrap();
    let weight = weight.reshape((1, 2, 1, 1)).unwrap();
    let filter = Filter::new(
        &weight,
        &Tensor::zeros(1, input.dtype(), &device).unwrap(),
        1,
    );
    let out = zeros(&[1, 1, 1]);
    let active = filter.unwrap().reading(Activation::Leaky);
    active
        .apply(&context, &[&input], None, Activation::Linear, &out)
        .unwrap();
    let out: Vec<f32> = out.flatten_all().unwrap().to_vec1().unwrap();
    assert_eq!(out, [3.0 - 30.0 * SLOPE]);
}

#[test]
fn other_kernels_agree_wherever_their_taps_lie() {
    let mut random = Random(6);
    for (k, stride, pad) in [
        (2, 1, (0, 0)),
        (2, 1, (1, 0)),
        (2, 1, (0, 1)),
        (7, 2, (3, 3)),
    ] {
        for (inputs, outputs) in [(3, 16), (5, 22), (4, 5)] {
            let filter = filter(&mut random, outputs, inputs, k, stride).with_pad(pad);
            for (h, w) in SIZES {
                let input = random.dense(&[h, w, inputs], 1.0);
                let size = (h.div_ceil(stride), w.div_ceil(stride));
                let name = format!("{k}x{k} by {stride} at {pad:?}, {h}x{w}");
                compare(&name, size, outputs, TOLERANCE, |context, out| {
                    let linear = Activation::Linear;
                    filter.apply(context, &[&input], None, linear, out).unwrap();
                });
            }
        }
    }
}

#[test]
fn slopes_may_be_anything() {
    let mut random = Random(7);
    let slopes: Vec<f32> = (0..22).map(|i| i as f32 / 5.0 - 1.5).collect();
    let filter = filter(&mut random, 22, 9, 3, 1)
        .with_slopes(slopes.clone())
        .unwrap();
    for size in SIZES {
        let input = random.tensor(size, 9, 1.0);
        compare("slopes", size, 22, WINOGRAD, |context, out| {
            filter
                .apply(context, &[&input], None, Activation::Leaky, out)
                .unwrap();
        });
    }
    let (context, _) = contexts();
    let input = random.tensor((2, 3), 9, 1.0);
    let run = |activation| {
        let out = zeros(&[2, 3, 22]);
        filter
            .apply(&context, &[&input], None, activation, &out)
            .unwrap();
        out.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let (linear, leaky) = (run(Activation::Linear), run(Activation::Leaky));
    for (i, (l, a)) in linear.iter().zip(&leaky).enumerate() {
        let want = if *l < 0.0 { l * slopes[i % 22] } else { *l };
        assert_eq!(*a, want);
    }
    let few = Filter::new(
        &random.dense(&[2, 1, 1, 1], 1.0),
        &random.dense(&[2], 1.0),
        1,
    );
    assert!(few.unwrap().with_slopes(vec![0.1]).is_err());
}

/// Each input spreads its kernel over 4x4 pixels of an output of twice the size, one outside.
fn spread_by_definition(input: &Tensor, weight: &Tensor, bias: &[f32]) -> Vec<f32> {
    let (h, w, inputs) = input.dims3().unwrap();
    let n = bias.len();
    let mut out: Vec<f32> = (0..4 * h * w * n).map(|i| bias[i % n]).collect();
    let input: Vec<f32> = input.flatten_all().unwrap().to_vec1().unwrap();
    let weight: Vec<f32> = weight.flatten_all().unwrap().to_vec1().unwrap();
    for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
        for (i, c, k) in
            (0..inputs).flat_map(|i| (0..n).flat_map(move |c| (0..16).map(move |k| (i, c, k))))
        {
            let (oy, ox) = (2 * y + k / 4, 2 * x + k % 4);
            if (1..=2 * h).contains(&oy) && (1..=2 * w).contains(&ox) {
                let product = input[(y * w + x) * inputs + i] * weight[(i * n + c) * 16 + k];
                out[((oy - 1) * 2 * w + ox - 1) * n + c] += product;
            }
        }
    }
    out
}

#[test]
fn a_transposed_convolution_is_the_textbook_one() {
    let mut random = Random(8);
    let contexts = contexts();
    for (h, w) in SIZES {
        let input = random.dense(&[h, w, 5], 1.0);
        let (weight, bias) = (random.dense(&[5, 8, 4, 4], 1.0), random.dense(&[8], 1.0));
        let want = spread_by_definition(&input, &weight, &bias.to_vec1().unwrap());
        for context in [&contexts.0, &contexts.1] {
            let all: Vec<_> = (0..8).map(Some).collect();
            let transposed = Transposed::new(&weight, &bias, 1, &all).unwrap();
            let out = zeros(&[2 * h, 2 * w, 8]);
            transposed.apply(context, &[&input], 0, &out).unwrap();
            let got: Vec<f32> = out.flatten_all().unwrap().to_vec1().unwrap();
            close("transposed", &got, &want, TOLERANCE);
            // two channels of four, in another order, one of zeros, and a gap behind them
            let transposed = Transposed::new(&weight, &bias, 2, &[Some(1), None, Some(0)]).unwrap();
            let out = zeros(&[4 * h, 4 * w, 4]);
            transposed.apply(context, &[&input], 0, &out).unwrap();
            let got: Vec<f32> = out.flatten_all().unwrap().to_vec1().unwrap();
            for (i, got) in got.chunks_exact(4).enumerate() {
                let (y, x) = (i / (4 * w), i % (4 * w));
                let within = y % 2 * 2 + x % 2;
                let want = &want[((y / 2) * 2 * w + x / 2) * 8..][..8];
                close(
                    "spread",
                    got,
                    &[want[4 + within], 0.0, want[within], 0.0],
                    TOLERANCE,
                );
            }
        }
    }
}

#[test]
fn many_channels_agree() {
    let mut random = Random(9);
    for (inputs, outputs, stride) in [
        (3, 32, 2),
        (32, 32, 1),
        (72, 96, 2),
        (97, 192, 1),
        (24, 24, 1),
        (160, 36, 1),
    ] {
        let slopes: Vec<f32> = (0..outputs).map(|_| random.value()).collect();
        let filter = filter(&mut random, outputs, inputs, 3, stride)
            .with_slopes(slopes)
            .unwrap();
        // The last one is wider than what Winograd's way or a line takes at once.
        for (h, w) in [(4, 6), (32, 48), (7, 35), (6, 211)] {
            let input = random.dense(&[h, w, inputs], 0.1);
            let gaps = random.tensor((h, w), inputs, 0.1);
            let size = (h.div_ceil(stride), w.div_ceil(stride));
            let residual = random.tensor(size, outputs, 1.0);
            for (what, input) in [("dense", &input), ("gaps", &gaps)] {
                let name = format!("{what} {inputs} to {outputs} at {h}x{w}");
                compare(
                    &name,
                    size,
                    outputs,
                    tolerance(3, stride),
                    |context, out| {
                        let leaky = Activation::Leaky;
                        filter
                            .apply(context, &[input], Some(&residual), leaky, out)
                            .unwrap();
                    },
                );
            }
        }
    }
}

#[test]
fn transposed_convolutions_of_many_channels_agree() {
    let mut random = Random(10);
    for (inputs, n) in [(192, 76), (96, 8), (216, 52)] {
        let (weight, bias) = (
            random.dense(&[inputs, n, 4, 4], 0.1),
            random.dense(&[n], 1.0),
        );
        let all: Vec<_> = (0..n).map(Some).collect();
        let transposed = Transposed::new(&weight, &bias, 1, &all).unwrap();
        let input = random.dense(&[4, 6, inputs], 1.0);
        let (plain, fast) = contexts();
        let [want, got] = [plain, fast].map(|context| {
            let out = zeros(&[8, 12, n]);
            transposed.apply(&context, &[&input], 0, &out).unwrap();
            out.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        });
        close("transposed", &got, &want, TOLERANCE);
    }
}

#[test]
fn pixels_may_be_repeated_before_a_convolution() {
    let mut random = Random(11);
    let (context, _) = contexts();
    let (weight, bias) = (random.dense(&[4, 5, 2, 2], 1.0), random.dense(&[4], 1.0));
    let plain = Filter::new(&weight, &bias, 1).unwrap();
    let repeating = Transposed::repeating(&weight, &bias).unwrap();
    for (h, w) in SIZES {
        let parts = [2, 3].map(|c| random.dense(&[h, w, c], 1.0));
        let input = Tensor::cat(&[&parts[0], &parts[1]], 2).unwrap();
        let twice = input.unsqueeze(1).unwrap().unsqueeze(3).unwrap();
        let twice = twice
            .broadcast_as((h, 2, w, 2, 5))
            .unwrap()
            .contiguous()
            .unwrap();
        let twice = twice.reshape((2 * h, 2 * w, 5)).unwrap();
        let (want, got) = (zeros(&[2 * h, 2 * w, 4]), zeros(&[2 * h, 2 * w, 4]));
        let linear = Activation::Linear;
        plain
            .apply(&context, &[&twice], None, linear, &want)
            .unwrap();
        repeating
            .apply(&context, &[&parts[0], &parts[1]], 0, &got)
            .unwrap();
        let [got, want] = [got, want].map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        close("repeated", &got, &want, TOLERANCE);
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn kernels_for_cards_convolve_as_the_plain_ones() {
    use crate::kernels::cuda::emulation;

    let (plain, _) = contexts();
    let mut random = Random(11);
    for (k, stride, pad) in [
        (1, 1, 0),
        (2, 1, 0),
        (2, 1, 1),
        (3, 1, 1),
        (3, 2, 1),
        (7, 2, 3),
    ] {
        for (inputs, outputs) in [
            (&[3][..], 5),
            (&[17, 1, 30], 33),
            (&[16, 8], 64),
            (&[20], 70),
        ] {
            let slopes: Vec<f32> = (0..outputs).map(|_| random.value()).collect();
            let filter = filter(&mut random, outputs, inputs.iter().sum(), k, stride);
            let filter = filter.with_slopes(slopes).unwrap().with_pad((pad, pad));
            let filter = match k {
                2 => filter.reading(Activation::Leaky),
                _ => filter,
            };
            for size in [(1, 1), (7, 8), (9, 33)] {
                let name = format!("{k}x{k} by {stride}, {inputs:?} to {outputs} at {size:?}");
                let parts: Vec<_> = inputs
                    .iter()
                    .map(|c| random.tensor(size, *c, 1.0))
                    .collect();
                let out = (size.0.div_ceil(stride), size.1.div_ceil(stride));
                let residual = random.tensor(out, outputs, 1.0);
                let rooms = [0, 1].map(|_| Out::new(out, outputs));
                let [want, made] = rooms.each_ref().map(Out::tensor);
                for (residual, activation) in [
                    (None, Activation::Linear),
                    (Some(&residual), Activation::Leaky),
                ] {
                    let borrowed: Vec<_> = parts.iter().collect();
                    filter
                        .apply(&plain, &borrowed, residual, activation, &want)
                        .unwrap();
                    let weights = filter.for_cards();
                    let inputs: Vec<_> = parts.iter().map(emulation::input).collect();
                    let residual = residual.map(emulation::input);
                    let launch = filter.launch(
                        weights.as_ptr() as u64,
                        &inputs,
                        residual.as_ref(),
                        activation,
                        &emulation::output(&made),
                    );
                    emulation::run(launch);
                    close(&name, &rooms[1].values(), &rooms[0].values(), TOLERANCE);
                }
            }
        }
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn kernels_for_cards_add() {
    use crate::kernels::cuda::Features::{F16, F32};
    use crate::kernels::cuda::emulation::{self, halves};

    let mut random = Random(12);
    let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for size in SIZES {
        let [a, b] = [0, 1].map(|_| random.tensor(size, 5, 1.0));
        let out = Out::new(size, 5);
        let [x, y] = [&a, &b].map(|t| F32(emulation::input(t)));
        let made = F32(emulation::output(&out.tensor()));
        emulation::run(super::cuda::add(x, y, made));
        assert_eq!(out.values(), values(&(&a + &b).unwrap()), "{size:?}");

        let ([a, whole_a], [b, whole_b]) = (halves(&a), halves(&b));
        let [out, _] = halves(&zeros(&[size.0, size.1, 5]));
        let [x, y] = [&a, &b].map(|t| F16(emulation::input(t)));
        emulation::run(super::cuda::add(x, y, F16(emulation::output(&out))));
        let [_, want] = halves(&(whole_a + whole_b).unwrap());
        let out = out.to_dtype(candle_core::DType::F32).unwrap();
        assert_eq!(values(&out), values(&want), "{size:?}");
    }
}
