use super::*;
use crate::kernels::testing::{Random, SIZES, close, compare, contexts, zeros};

const EPSILON: f32 = 1e-2;
/// A blend of four values below 1, divided by a norm of at least 0.1.
const TOLERANCE: f32 = 1e-5;

#[test]
fn fast_and_plain_agree_near_and_far_outside() {
    let mut random = Random(1);
    for channels in [1, 8, 16, 24, 13, 29] {
        for size in SIZES {
            for reach in [0.7, 5.0, 1e6] {
                let features = random.tensor(size, channels, 1.0);
                let flow = random.tensor(size, 2, reach);
                compare("warp", size, channels, TOLERANCE, |context, out| {
                    warp_normalised(context, &features, &flow, EPSILON, out).unwrap();
                });
                compare("plain warp", size, channels, TOLERANCE, |context, out| {
                    warp(context, &features, &flow, out).unwrap();
                });
            }
        }
    }
}

#[test]
fn what_is_not_a_number_reads_inside() {
    let mut random = Random(2);
    let features = random.tensor((4, 5), 8, 1.0);
    for wild in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
        let flow = Tensor::full(wild, (4, 5, 2), features.device()).unwrap();
        compare("wild flow", (4, 5), 8, TOLERANCE, |context, out| {
            warp_normalised(context, &features, &flow, EPSILON, out).unwrap();
        });
    }
}

#[test]
fn whole_steps_fetch_neighbours_at_unit_length() {
    let (context, _) = contexts();
    let device = candle_core::Device::Cpu;
    let features = Tensor::from_vec(vec![3f32, 4.0, 6.0, 8.0, 0.0, 0.0], (1, 3, 2), &device);
    let flow = Tensor::from_vec(vec![1f32, 0.0, -1.0, 9.0, 0.5, 0.0], (1, 3, 2), &device);
    let out = zeros(&[1, 3, 2]);
    warp_normalised(&context, &features.unwrap(), &flow.unwrap(), 0.0, &out).unwrap();
    let out: Vec<f32> = out.flatten_all().unwrap().to_vec1().unwrap();
    close("warp", &out[..4], &[0.6, 0.8, 0.6, 0.8], 1e-6);
}
