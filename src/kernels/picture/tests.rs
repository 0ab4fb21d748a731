use candle_core::Device;

use super::*;
use crate::kernels::testing::{Random, close, zeros};

fn context() -> Context {
    Context::new(2).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn an_edge_is_repeated_beyond_a_picture() {
    let image = Tensor::new(
        &[
            [[1f32], [2.0], [0.0]],
            [[3.0], [4.0], [0.0]],
            [[0.0], [0.0], [0.0]],
        ],
        &Device::Cpu,
    );
    let image = image.unwrap();
    extend(&context(), &image, (2, 2)).unwrap();
    assert_eq!(
        values(&image),
        [1.0, 2.0, 2.0, 3.0, 4.0, 4.0, 3.0, 4.0, 4.0]
    );
    assert!(extend(&context(), &image, (0, 2)).is_err());
    assert!(extend(&context(), &image, (4, 2)).is_err());
}

#[test]
fn a_quarter_is_the_mean_of_four_by_four() {
    let full: Vec<f32> = (0..4 * 8).map(|i| (i % 8 / 4) as f32).collect();
    let full = Tensor::from_vec(full, (4, 8, 1), &Device::Cpu).unwrap();
    let out = zeros(&[1, 2, 1]);
    quarter(&context(), &full, &out).unwrap();
    assert_eq!(values(&out), [0.0, 1.0]);
    assert!(quarter(&context(), &full, &zeros(&[1, 1, 1])).is_err());
}

#[test]
fn means_and_sums_leave_other_channels_alone() {
    let mut random = Random(1);
    let part = random.tensor((3, 5), 2, 1.0);
    let whole = values(&part);
    let want = whole.iter().sum::<f32>() / whole.len() as f32;
    let lowered = zeros(&[3, 5, 2]);
    let mean = Mean::new(&Device::Cpu, 3).unwrap();
    mean.take(&context(), [&part, &part]).unwrap();
    mean.lower(&context(), &part, &lowered).unwrap();
    let lower: Vec<f32> = whole.iter().map(|v| v - want).collect();
    close("less the mean", &values(&lowered), &lower, 1e-6);
    let out = random.tensor((3, 5), 2, 1.0);
    let before = values(&out);
    let sides = [3, 5].map(|n| (0..n).map(|i| i as f32).collect());
    let weights = Weights::new(&Device::Cpu, sides).unwrap();
    add_faded(&context(), &weights, &part, &out).unwrap();
    let want = before.iter().zip(&whole).enumerate();
    let want: Vec<f32> = want
        .map(|(i, (b, v))| b + (i / 10 * (i / 2 % 5)) as f32 * v)
        .collect();
    close("weighted", &values(&out), &want, 1e-6);
}

#[test]
fn a_blend_takes_each_side_where_its_flow_points() {
    let side = |first: f32| Tensor::new(&[[[first], [first + 1.0]]], &Device::Cpu).unwrap();
    let motion = Tensor::new(
        &[[[1f32, 0.0, 0.0, 0.0, 0.25], [9.0, 0.0, -0.5, 0.0, 1.0]]],
        &Device::Cpu,
    );
    let out = zeros(&[1, 2, 1]);
    blend(&context(), [&side(0.0), &side(4.0)], &motion.unwrap(), &out).unwrap();
    assert_eq!(values(&out), [0.25 + 0.75 * 4.0, 1.0]);
}
