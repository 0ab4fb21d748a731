use super::*;
use crate::kernels::testing::{Random, SIZES, close, compare, contexts, zeros};

/// Four products of values below 1.
const TOLERANCE: f32 = 1e-6;

#[test]
fn fast_and_plain_agree() {
    let mut random = Random(1);
    for channels in [1, 2, 4, 6, 8, 16, 19] {
        for (h, w) in SIZES {
            let input = random.tensor((h, w), channels, 1.0);
            let size = (h.div_ceil(2), w.div_ceil(2));
            compare("half", size, channels, TOLERANCE, |context, out| {
                half(context, &input, out).unwrap();
            });
            let input = random.tensor(size, channels, 1.0);
            compare("double", (h, w), channels, TOLERANCE, |context, out| {
                double(context, &input, out).unwrap();
            });
            let detail = random.tensor((h, w), channels, 1.0);
            compare(
                "double and add",
                (h, w),
                channels,
                2.0 * TOLERANCE,
                |context, out| {
                    double_and_add(context, &input, -2.0, Some(&detail), out).unwrap();
                },
            );
        }
    }
}

#[test]
fn halving_without_gaps_gives_the_same() {
    let (plain, fast) = contexts();
    let mut random = Random(2);
    for channels in [1, 6, 8, 9] {
        for (h, w) in SIZES {
            let input = random.dense(&[h, w, channels], 1.0);
            let [want, got] = [&plain, &fast].map(|context| {
                let out = zeros(&[h.div_ceil(2), w.div_ceil(2), channels]);
                half(context, &input, &out).unwrap();
                out.flatten_all().unwrap().to_vec1::<f32>().unwrap()
            });
            close("half", &got, &want, TOLERANCE);
        }
    }
}

#[test]
fn an_odd_side_repeats_its_edge_when_halved() {
    let (context, _) = contexts();
    let input = Tensor::new(&[[[1f32], [3.0], [5.0]]], &candle_core::Device::Cpu).unwrap();
    let out = zeros(&[1, 2, 1]);
    half(&context, &input, &out).unwrap();
    let out: Vec<f32> = out.flatten_all().unwrap().to_vec1().unwrap();
    assert_eq!(out, [2.0, 5.0]);
}

#[test]
fn a_smooth_halving_lets_no_fine_pattern_come_back() {
    let (context, _) = contexts();
    let device = candle_core::Device::Cpu;
    // three pixels a period: what the means of two would make of it has half the range
    let wave = |x: usize| (x as f32 * std::f32::consts::TAU / 3.0).cos();
    let values: Vec<f32> = (0..6 * 24).map(|i| 7.0 + wave(i % 24)).collect();
    let input = Tensor::from_vec(values, (6, 24, 1), &device).unwrap();
    let out = zeros(&[3, 12, 1]);
    half_smooth(&context, &input, &out).unwrap();
    let out: Vec<f32> = out.flatten_all().unwrap().to_vec1().unwrap();
    for (i, value) in out
        .iter()
        .enumerate()
        .filter(|(i, _)| (1..11).contains(&(i % 12)))
    {
        assert!((value - 7.0).abs() < 0.126, "value {i} is {value}");
    }
    let input = Tensor::from_vec(vec![1f32, 2.0, 4.0], (1, 3, 1), &device).unwrap();
    let out = zeros(&[1, 2, 1]);
    half_smooth(&context, &input, &out).unwrap();
    let out: Vec<f32> = out.flatten_all().unwrap().to_vec1().unwrap();
    close(
        "half",
        &out,
        &[0.125 + 0.375 + 0.75 + 0.5, 0.25 + 1.5 + 1.5 + 0.5],
        1e-6,
    );
}

#[test]
fn means_and_smooth_halvings_have_the_same_bits() {
    let mut random = Random(4);
    let values = |out: Tensor| out.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (h, w) in [&SIZES[..], &[(5, 64), (4, 65), (3, 66)]].concat() {
        let size = (h.div_ceil(2), w.div_ceil(2));
        let pixels = [random.tensor((h, w), 4, 1.0), random.dense(&[h, w, 4], 1.0)];
        let lumas = [random.tensor((h, w), 1, 1.0), random.dense(&[h, w, 1], 1.0)];
        for (pixels, luma) in pixels.iter().zip(&lumas) {
            let [want, got] = <[Context; 2]>::from(contexts()).map(|context| {
                let (means, halved) = (zeros(&[h, w, 1]), zeros(&[size.0, size.1, 1]));
                mean(&context, pixels, &means).unwrap();
                half_smooth(&context, luma, &halved).unwrap();
                [values(means), values(halved)].map(|all| all.into_iter().map(f32::to_bits))
            });
            for (want, got) in want.into_iter().zip(got) {
                assert!(want.eq(got), "{h}x{w}");
            }
        }
    }
}

#[test]
fn doubling_has_half_pixel_centres() {
    let (context, _) = contexts();
    let input = Tensor::new(&[[[0f32], [4.0]]], &candle_core::Device::Cpu).unwrap();
    let out = zeros(&[1, 4, 1]);
    double(&context, &input, &out).unwrap();
    let out: Vec<f32> = out.flatten_all().unwrap().to_vec1().unwrap();
    close("double", &out, &[0.0, 1.0, 3.0, 4.0], 0.0);
}

#[test]
fn what_is_added_to_is_doubled_as_ever() {
    let (context, _) = contexts();
    let mut random = Random(3);
    let (coarser, detail) = (random.tensor((3, 4), 4, 1.0), random.tensor((6, 8), 4, 1.0));
    let (doubled, out) = (zeros(&[6, 8, 4]), zeros(&[6, 8, 4]));
    double(&context, &coarser, &doubled).unwrap();
    double_and_add(&context, &coarser, 2.0, Some(&detail), &out).unwrap();
    let want = ((doubled * 2.0).unwrap() + detail).unwrap();
    let [out, want] = [out, want].map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap());
    close("double and add", &out, &want, TOLERANCE);
}

#[test]
fn a_mean_is_over_the_channels() {
    let (context, _) = contexts();
    let input = Tensor::new(&[[[1f32, 2.0, 3.0, 6.0]]], &candle_core::Device::Cpu).unwrap();
    let out = zeros(&[1, 1, 1]);
    mean(&context, &input, &out).unwrap();
    assert_eq!(out.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [3.0]);
}

#[test]
fn wrong_sizes_are_refused() {
    let (context, _) = contexts();
    let input = zeros(&[3, 5, 2]);
    assert!(half(&context, &input, &zeros(&[1, 3, 2])).is_err());
    assert!(half(&context, &input, &zeros(&[2, 3, 1])).is_err());
    assert!(double(&context, &input, &zeros(&[6, 11, 2])).is_err());
    assert!(double(&context, &input, &zeros(&[5, 9, 2])).is_ok());
}
