use super::*;
use crate::kernels::testing::{Random, SIZES, close, compare, contexts, zeros};

/// Sums of up to 40 products of values below 1.
const SCORE_TOLERANCE: f32 = 5e-6;
/// A mean of offsets up to 2 whose weights are exact to a few units in the last place; a score's
/// rounding counts `sharpness` times.
const EXPECTED_TOLERANCE: f32 = 2e-5;

fn phases(random: &mut Random, (h, w): (usize, usize)) -> Tensor {
    let phases: Vec<f32> = (0..h * w).map(|_| random.value().abs()).collect();
    Tensor::from_vec(phases, (h, w, 1), &candle_core::Device::Cpu).unwrap()
}

#[test]
fn fast_and_plain_scores_agree() {
    let mut random = Random(1);
    for channels in [1, 8, 16, 24, 13, 29, 40] {
        for size in [&SIZES[..], &[(3, 67), (37, 130)]].concat() {
            let left = random.tensor(size, channels, 1.0);
            let right = random.tensor(size, channels, 1.0);
            let even = Tensor::full(random.value().abs(), (size.0, size.1, 1), left.device());
            for phase in [phases(&mut random, size), even.unwrap()] {
                let name = format!("{channels} channels, {size:?}");
                compare(
                    &name,
                    size,
                    DISPLACEMENTS,
                    SCORE_TOLERANCE,
                    |context, out| {
                        correlate(context, &left, &right, &phase, out).unwrap();
                    },
                );
            }
        }
    }
}

#[test]
fn scores_in_the_middle_without_gaps_are_the_same() {
    let mut random = Random(5);
    let (_, fast) = contexts();
    for channels in [8, 16, 24, 32] {
        for (h, w) in [&SIZES[..], &[(3, 67), (37, 130)]].concat() {
            let sides = [0, 1].map(|_| random.dense(&[h, w, channels], 1.0));
            // the same with gaps between pixels, of which nothing is known beforehand
            let gaps = sides.each_ref().map(|side| {
                let wide = Tensor::cat(&[side, side], 2).unwrap();
                wide.narrow(2, 0, channels).unwrap()
            });
            let phase = Tensor::full(0.5f32, (h, w, 1), sides[0].device()).unwrap();
            let [got, apart] = [&sides, &gaps].map(|[left, right]| {
                let out = zeros(&[h, w, DISPLACEMENTS]);
                correlate(&fast, left, right, &phase, &out).unwrap();
                out.flatten_all().unwrap().to_vec1::<f32>().unwrap()
            });
            assert_eq!(got, apart, "{channels} channels, {h}x{w}");
            let name = format!("{channels} channels, {h}x{w}");
            let [left, right] = &sides;
            compare(
                &name,
                (h, w),
                DISPLACEMENTS,
                SCORE_TOLERANCE,
                |context, out| {
                    correlate(context, left, right, &phase, out).unwrap();
                },
            );
        }
    }
}

#[test]
fn phases_that_are_none_stay_inside() {
    let mut random = Random(2);
    let size = (8, 9);
    let left = random.tensor(size, 16, 1.0);
    let right = random.tensor(size, 16, 1.0);
    for wild in [f32::NAN, f32::INFINITY, -3.0, 7.0] {
        let phase = Tensor::full(wild, (8, 9, 1), left.device()).unwrap();
        compare("wild phase", size, 25, SCORE_TOLERANCE, |context, out| {
            correlate(context, &left, &right, &phase, out).unwrap();
        });
    }
}

#[test]
fn fast_and_plain_expectations_agree_sharp_and_flat() {
    let mut random = Random(3);
    for size in SIZES {
        for sharpness in [0.0, 12.0, 300.0, -12.0] {
            let scores = random.tensor(size, DISPLACEMENTS, 1.0);
            let name = format!("{size:?}, sharpness {sharpness}");
            compare(&name, size, 2, EXPECTED_TOLERANCE, |context, out| {
                expected(context, &scores, sharpness, out).unwrap();
            });
        }
    }
}

#[test]
fn a_shifted_side_scores_highest_at_its_shift() {
    let (context, fast) = contexts();
    let mut random = Random(4);
    let (h, w, c) = (12, 14, 16);
    let still = random.dense(&[h, w + 2, c], 1.0);
    // The content moves by (-2, 0) from left to right.
    let left = still.narrow(1, 0, w).unwrap();
    let right = still.narrow(1, 2, w).unwrap();
    for context in [context, fast] {
        for phase in [0.2f32, 0.5, 0.9] {
            let phase = Tensor::full(phase, (h, w, 1), left.device()).unwrap();
            let (scores, d) = (zeros(&[h, w, 25]), zeros(&[h, w, 2]));
            correlate(&context, &left, &right, &phase, &scores).unwrap();
            expected(&context, &scores, 1000.0, &d).unwrap();
            let d: Vec<f32> = d.get(6).unwrap().get(7).unwrap().to_vec1().unwrap();
            close("displacement", &d, &[-2.0, 0.0], 1e-6);
        }
    }
}

#[test]
fn halves_round_upwards() {
    let halves: Vec<isize> = (-3..=3).map(|d| split(d, 0.5)).collect();
    assert_eq!(halves, [-1, -1, 0, 0, 1, 1, 2]);
}
