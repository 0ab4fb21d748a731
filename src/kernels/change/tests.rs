use candle_core::{DType, Device};

use super::*;
use crate::kernels::testing::{Out, Random, SIZES, bytes, close, contexts};

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn full(size: (usize, usize), value: f32) -> Tensor {
    Tensor::full(value, (size.0, size.1, 1), &Device::Cpu).unwrap()
}

#[test]
fn change_is_the_mean_difference_around_each_cell() {
    let mut random = Random(1);
    for (h, w) in SIZES {
        for less in [0, 3] {
            let (rows, columns) = (SAMPLES * h - less, SAMPLES * w - less);
            let luma = [0; 2].map(|_| bytes(&random.dense(&[rows, columns, 1], 0.5)));
            let [left, right] = luma
                .each_ref()
                .map(|luma| values(&(luma.to_dtype(DType::F32).unwrap() / 255.0).unwrap()));
            let cell = |y: usize, x: usize| {
                let rows = SAMPLES * y..rows.min(SAMPLES * (y + 1));
                let places = rows.flat_map(|y| {
                    (SAMPLES * x..columns.min(SAMPLES * (x + 1))).map(move |x| y * columns + x)
                });
                let apart: Vec<f32> = places.map(|i| (left[i] - right[i]).abs()).collect();
                apart.iter().sum::<f32>() / apart.len() as f32
            };
            let near = |at: usize, last: usize| [at.saturating_sub(1), at, (at + 1).min(last)];
            let around = |y: usize, x: usize| {
                let rows = near(y, h - 1).into_iter();
                let cells = rows.flat_map(|y| near(x, w - 1).map(|x| cell(y, x)));
                cells.sum::<f32>() / 9.0
            };
            let want: Vec<f32> = (0..h * w).map(|i| around(i / w, i % w)).collect();
            for context in <[Context; 2]>::from(contexts()) {
                let out = Out::new((h, w), 1);
                let cells = full((h, w), 7.0);
                change(&context, [&luma[0], &luma[1]], &cells, &out.tensor()).unwrap();
                close("change", &out.values(), &want, 1e-6);
                // Without gaps it goes another way.
                let dense = full((h, w), 7.0);
                change(&context, [&luma[0], &luma[1]], &cells, &dense).unwrap();
                assert_eq!(values(&dense), out.values(), "{h}x{w}");
            }
        }
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let (context, _) = contexts();
    let (luma, wide) = (luma::room((8, 12)).unwrap(), luma::room((8, 13)).unwrap());
    let (fits, not) = (full((2, 3), 0.0), full((2, 4), 0.0));
    assert!(change(&context, [&luma, &luma], &fits, &full((2, 3), 0.0)).is_ok());
    assert!(change(&context, [&luma, &wide], &fits, &full((2, 3), 0.0)).is_err());
    assert!(change(&context, [&luma, &luma], &not, &fits).is_err());
    assert!(change(&context, [&luma, &luma], &fits, &not).is_err());
}
