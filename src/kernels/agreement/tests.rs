use super::*;
use candle_core::{DType, Device};

use crate::kernels::testing::{Random, SIZES, bytes, close, compare, contexts};

/// Sums of 36 x 16 differences below 1 over a mean that may be small; a softmax of up to 15 times
/// their rounding.
const TOLERANCE: f32 = 5e-5;

/// Luma of some samples less than the cells have room for, where there are enough.
fn luma(random: &mut Random, (h, w): (usize, usize), less: usize) -> Tensor {
    bytes(&random.dense(&[SAMPLES * h - less, SAMPLES * w - less, 1], 0.5))
}

fn run(context: &Context, luma: [&Tensor; 2], flow: &Tensor, phase: &Tensor, out: &Tensor) {
    let (h, w, _) = flow.dims3().unwrap();
    let space = Warped::new((h, w)).unwrap();
    agree(context, luma, flow, phase, 15.0, &space, out).unwrap();
}

#[test]
fn fast_and_plain_agree_near_and_far_outside() {
    let mut random = Random(1);
    for size in [&SIZES[..], &[(2, 66), (3, 131)]].concat() {
        for (reach, less) in [(0.4, 0), (3.0, 1), (1e6, 3)] {
            let (left, right) = (luma(&mut random, size, less), luma(&mut random, size, less));
            let flow = random.tensor(size, 4, reach);
            for phase in [0.5f32, 0.2] {
                let phase = Tensor::full(phase, (size.0, size.1, 1), &Device::Cpu).unwrap();
                let name = format!("agreement of {size:?}, reach {reach}");
                compare(&name, size, CHANNELS, TOLERANCE, |context, out| {
                    run(context, [&left, &right], &flow, &phase, out);
                });
            }
        }
    }
}

#[test]
fn fast_and_plain_agree_where_flow_is_smooth() {
    let mut random = Random(5);
    let size = (7, 21);
    let (left, right) = (luma(&mut random, size, 1), luma(&mut random, size, 1));
    let phase = Tensor::full(0.5f32, (7, 21, 1), &Device::Cpu).unwrap();
    for (dx, dy) in [(0.0, 0.0), (0.3, -0.7), (-2.4, 1.6), (100.0, -100.0)] {
        // A slow change, so that some neighbours lie side by side and others do not.
        let flow = |i: usize| match i % 4 {
            0 | 2 => dx + 0.01 * (i / 4 % 21) as f32,
            _ => dy + 0.002 * (i / 4 / 21) as f32,
        };
        let flow: Vec<f32> = (0..7 * 21 * 4).map(flow).collect();
        let flow = Tensor::from_vec(flow, (7, 21, 4), &Device::Cpu).unwrap();
        compare("smooth flow", size, CHANNELS, TOLERANCE, |context, out| {
            run(context, [&left, &right], &flow, &phase, out);
        });
    }
}

#[test]
fn each_cell_has_its_own_phase() {
    let mut random = Random(2);
    let size = (5, 9);
    let (left, right) = (luma(&mut random, size, 0), luma(&mut random, size, 0));
    let flow = random.tensor(size, 4, 1.0);
    let phases: Vec<f32> = (0..45).map(|i| [0.1, 0.5, 0.5, 0.9][i % 4]).collect();
    let phase = Tensor::from_vec(phases, (5, 9, 1), &Device::Cpu).unwrap();
    compare("phases", size, CHANNELS, TOLERANCE, |context, out| {
        run(context, [&left, &right], &flow, &phase, out);
    });
}

#[test]
fn flow_that_is_no_number_reads_inside() {
    let mut random = Random(3);
    let size = (4, 5);
    let (left, right) = (luma(&mut random, size, 2), luma(&mut random, size, 2));
    let phase = Tensor::full(0.5f32, (4, 5, 1), &Device::Cpu).unwrap();
    for wild in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
        let flow = Tensor::full(wild, (4, 5, 4), &Device::Cpu).unwrap();
        compare("wild flow", size, CHANNELS, TOLERANCE, |context, out| {
            run(context, [&left, &right], &flow, &phase, out);
        });
    }
}

#[test]
fn a_shift_of_a_sample_is_found() {
    let (plain, fast) = contexts();
    let (h, w) = (6, 7);
    let wide = bytes(&Random(4).dense(&[SAMPLES * h, SAMPLES * w + 2, 1], 0.5));
    // The content moves by (-2, 0) samples, half a cell, from left to right.
    let [left, right] = [0, 2].map(|x| wide.narrow(1, x, SAMPLES * w).unwrap().copy().unwrap());
    let flow = Tensor::zeros((h, w, 4), DType::F32, &Device::Cpu).unwrap();
    for context in [plain, fast] {
        for phase in [0.3f32, 0.5, 0.8] {
            let phase = Tensor::full(phase, (h, w, 1), &Device::Cpu).unwrap();
            let out = Tensor::zeros((h, w, CHANNELS), DType::F32, &Device::Cpu).unwrap();
            let space = Warped::new((h, w)).unwrap();
            agree(
                &context,
                [&left, &right],
                &flow,
                &phase,
                300.0,
                &space,
                &out,
            )
            .unwrap();
            let cell: Vec<f32> = out.get(3).unwrap().get(3).unwrap().to_vec1().unwrap();
            close(
                "displacement",
                &cell[SCORES..SCORES + 2],
                &[-0.5, 0.0],
                1e-4,
            );
        }
    }
}

#[test]
fn the_difference_is_that_of_the_flow_itself() {
    let size = (5, 6);
    // The sides differ by a checkerboard: a shift by a sample changes the difference, none but for
    // the flow's own.
    let checks = |light: f32| {
        let codes = (0..SAMPLES * size.0 * SAMPLES * size.1)
            .map(|i| -0.5 + light * ((i % (SAMPLES * size.1) + i / (SAMPLES * size.1)) % 2) as f32);
        let shape = (SAMPLES * size.0, SAMPLES * size.1, 1);
        bytes(&Tensor::from_vec(codes.collect(), shape, &Device::Cpu).unwrap())
    };
    let flow = Tensor::zeros((size.0, size.1, 4), DType::F32, &Device::Cpu).unwrap();
    let phase = Tensor::full(0.5f32, (size.0, size.1, 1), &Device::Cpu).unwrap();
    for context in <[Context; 2]>::from(contexts()) {
        let answer = Tensor::zeros((size.0, size.1, CHANNELS), DType::F32, &Device::Cpu).unwrap();
        run(
            &context,
            [&checks(0.6), &checks(0.2)],
            &flow,
            &phase,
            &answer,
        );
        let out = Tensor::zeros((size.0, size.1, 1), DType::F32, &Device::Cpu).unwrap();
        difference(&context, &answer, &out).unwrap();
        let found: Vec<f32> = out.flatten_all().unwrap().to_vec1().unwrap();
        close("difference", &found, &[0.2; 30], 1e-5);
        assert!(difference(&context, &flow, &out).is_err());
        assert!(difference(&context, &answer, &flow).is_err());
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let (context, _) = contexts();
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let space = Warped::new((3, 4)).unwrap();
    let try_with = |luma: &[usize], flow: &[usize], phase: &[usize], out: &[usize]| {
        let luma = bytes(&zeros(luma));
        let (flow, phase, out) = (zeros(flow), zeros(phase), zeros(out));
        agree(&context, [&luma, &luma], &flow, &phase, 1.0, &space, &out)
    };
    assert!(try_with(&[12, 16, 1], &[3, 4, 4], &[3, 4, 1], &[3, 4, CHANNELS]).is_ok());
    assert!(try_with(&[12, 17, 1], &[3, 4, 4], &[3, 4, 1], &[3, 4, CHANNELS]).is_err());
    assert!(try_with(&[12, 16, 1], &[3, 5, 4], &[3, 4, 1], &[3, 4, CHANNELS]).is_err());
    assert!(try_with(&[12, 16, 1], &[3, 4, 4], &[3, 3, 1], &[3, 4, CHANNELS]).is_err());
    assert!(try_with(&[12, 16, 1], &[3, 4, 4], &[3, 4, 1], &[3, 4, SCORES]).is_err());
}
