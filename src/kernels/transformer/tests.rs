use candle_core::{DType, Device};

use super::*;
use crate::kernels::testing::{Random, close, zeros};

/// Rounding of sums of some dozens of products.
const ROUNDING: f32 = 2e-5;

fn context() -> Context {
    Context::new(2).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// `[h, w, c]` as `[1, c, h, w]`.
fn planes(tensor: &Tensor) -> Tensor {
    let planes = tensor.permute((2, 0, 1)).unwrap().contiguous().unwrap();
    planes.unsqueeze(0).unwrap()
}

/// `[1, c, h, w]` as `[h, w, c]`.
fn pixels(tensor: &Tensor) -> Tensor {
    let tensor = tensor.squeeze(0).unwrap();
    tensor.permute((1, 2, 0)).unwrap().contiguous().unwrap()
}

fn windows((height, width): (usize, usize), side: usize, shift: usize) -> Windows {
    Windows {
        height,
        width,
        side,
        shift,
    }
}

/// Whole windows and others, one alone and several, with and without shift.
fn grids() -> Vec<Windows> {
    let sizes = [(3, 6), (4, 7), (2, 3), (1, 1), (9, 5)];
    let both = sizes.map(|size| [0, 1].map(|shift| windows(size, 3, shift)));
    both.concat()
}

#[test]
fn a_norm_has_mean_and_deviation_as_wanted() {
    let input = Random(1).tensor((5, 7), 6, 3.0);
    let norm = Norm::new(vec![2.0; 6], vec![0.5; 6], 1e-6);
    let out = zeros(&[5, 7, 6]);
    norm.apply(&context(), &input, &out).unwrap();
    for pixel in values(&out).chunks(6) {
        let mean = pixel.iter().sum::<f32>() / 6.0;
        let variance = pixel.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / 6.0;
        assert!(
            (mean - 0.5).abs() < 1e-5 && (variance - 4.0).abs() < 1e-3,
            "{pixel:?}"
        );
    }
    assert!(norm.apply(&context(), &input, &zeros(&[5, 7, 5])).is_err());
}

#[test]
fn what_is_gathered_in_windows_comes_back() {
    for windows in grids() {
        let grid = Random(2).tensor((windows.height, windows.width), 2, 1.0);
        let gathered = zeros(&[windows.count(), windows.area(), 2]);
        windows.gather(&context(), &grid, None, &gathered).unwrap();
        let sum = |t: &Tensor| values(t).iter().map(|v| f64::from(*v)).sum::<f64>();
        assert!((sum(&grid) - sum(&gathered)).abs() < 1e-4, "{windows:?}");
        let back = zeros(&[windows.height, windows.width, 2]);
        windows.scatter(&context(), &gathered, &back).unwrap();
        assert_eq!(values(&back), values(&grid), "{windows:?}");
    }
}

#[test]
fn a_norm_of_what_lies_beyond_is_its_bias() {
    let windows = windows((1, 1), 3, 0);
    let norm = Norm::new(vec![1.0; 2], vec![3.0, 4.0], 1e-6);
    let out = zeros(&[1, 9, 2]);
    let grid = Random(3).tensor((1, 1), 2, 1.0);
    windows
        .gather(&context(), &grid, Some(&norm), &out)
        .unwrap();
    let out = values(&out);
    assert_eq!(out[..2], [3.0, 4.0]);
    assert_ne!(out[8..10], [3.0, 4.0]);
}

/// A number for each cell of the padded grid that differs between the parts of it that `starts` begin.
fn painted((h, w): (usize, usize), rows: [usize; 2], columns: [usize; 2]) -> Vec<usize> {
    let part = |n: usize, starts: [usize; 2]| match n {
        n if n < starts[0] => 0,
        n if n < starts[1] => 1,
        _ => 2,
    };
    let cells = (0..h).flat_map(|y| (0..w).map(move |x| (y, x)));
    cells
        .map(|(y, x)| 3 * part(y, rows) + part(x, columns))
        .collect()
}

/// What query `i` of a window makes of values and places, by the definition, in f64.
fn attended(
    windows: &Windows,
    window: usize,
    i: usize,
    [q, kv, p]: [&[f32]; 3],
    (c, m, heads): (usize, usize, usize),
) -> Vec<f32> {
    let ((h, w), side) = (windows.padded(), windows.side);
    let (top, left) = windows.origin();
    let padding = painted(
        (h, w),
        [top, top + windows.height],
        [left, left + windows.width],
    );
    let shifted = match windows.shift {
        0 => vec![0; h * w],
        s => painted((h, w), [h - side, h - s], [w - side, w - s]),
    };
    let cell = |i: usize| {
        let (y, x) = (
            window / (w / side) * side + i / side,
            window % (w / side) * side + i % side,
        );
        y * w + x
    };
    let at = |values: &[f32], j: usize, n: usize, c: usize| {
        f64::from(values[(window * windows.area() + j) * n + c])
    };
    let mut out = vec![0.0; c + m];
    for head in 0..heads {
        let (own, own_place) = (c / heads, m / heads);
        let product = |j: usize| {
            let range = head * own..(head + 1) * own;
            let sum: f64 = range.map(|d| at(q, i, c, d) * at(kv, j, 2 * c, d)).sum();
            let (a, b) = (cell(i), cell(j));
            let is_seen = padding[a] == padding[b] && shifted[a] == shifted[b];
            sum / (own as f64).sqrt() - if is_seen { 0.0 } else { 100.0 }
        };
        let shares: Vec<f64> = (0..windows.area()).map(|j| product(j).exp()).collect();
        let sum: f64 = shares.iter().sum();
        let all = |f: &dyn Fn(usize) -> f64| -> f64 {
            let all = shares.iter().enumerate();
            all.map(|(j, share)| share / sum * f(j)).sum()
        };
        let (values, moved) = out.split_at_mut(c);
        let values = values.iter_mut().enumerate().skip(head * own);
        for (d, value) in values.take(own) {
            *value = all(&|j| at(kv, j, 2 * c, c + d)) as f32;
        }
        let moved = moved.iter_mut().enumerate().skip(head * own_place);
        for (d, value) in moved.take(own_place) {
            *value = (all(&|j| at(p, j, m, d)) - at(p, i, m, d)) as f32;
        }
    }
    out
}

#[test]
fn attention_is_what_its_definition_says() {
    let (c, m, heads) = (8, 4, 2);
    for windows in grids() {
        let mut random = Random(4);
        let size = (windows.count(), windows.area());
        let [q, kv, p] = [c, 2 * c, m].map(|n| random.tensor(size, n, 2.0));
        let out = zeros(&[size.0, size.1, c + m]);
        windows
            .attend(&context(), heads, (&q, &kv, &p), &out)
            .unwrap();
        let [q, kv, p] = [q, kv, p].map(|t| values(&t));
        let inputs = [&q[..], &kv, &p];
        let cells = (0..size.0).flat_map(|n| (0..size.1).map(move |i| (n, i)));
        let want = cells.flat_map(|(n, i)| attended(&windows, n, i, inputs, (c, m, heads)));
        let want: Vec<_> = want.collect();
        close(&format!("{windows:?}"), &values(&out), &want, ROUNDING);
        let [q, kv, p] = [c, 2 * c, m].map(|n| random.tensor(size, n, 2.0));
        assert!(windows.attend(&context(), 3, (&q, &kv, &p), &out).is_err());
    }
}

#[test]
fn each_channel_is_convolved_by_itself() {
    let mut random = Random(5);
    for size in [(1, 1), (2, 5), (7, 6)] {
        let input = random.tensor(size, 3, 2.0);
        let weight = random.dense(&[3, 1, 3, 3], 1.0);
        let bias = random.dense(&[3], 1.0);
        let own = Depthwise::new(
            values(&weight.permute((1, 2, 3, 0)).unwrap()),
            values(&bias),
        );
        let out = zeros(&[size.0, size.1, 3]);
        own.apply_gelu(&context(), &input, &out).unwrap();
        let want = planes(&input).conv2d(&weight, 1, 1, 1, 3).unwrap();
        let want = want
            .broadcast_add(&bias.reshape((1, 3, 1, 1)).unwrap())
            .unwrap();
        let want = pixels(&want.gelu_erf().unwrap());
        close(
            &format!("{size:?}"),
            &values(&out),
            &values(&want),
            ROUNDING,
        );
    }
}

#[test]
fn patches_make_a_convolution_one_of_a_pixel() {
    let mut random = Random(6);
    for (stride, dilation) in [(2, 1), (4, 1), (4, 2), (8, 4)] {
        let input = random.tensor((8, 16), 2, 1.0);
        let weight = random.dense(&[3, 2, 3, 3], 1.0);
        let (h, w) = (8 / stride, 16 / stride);
        let out = zeros(&[h, w, 18]);
        patches(&context(), &input, (stride, dilation), &out).unwrap();
        let want = planes(&input)
            .conv2d(&weight, dilation, stride, dilation, 1)
            .unwrap();
        let flat = weight.permute((2, 3, 1, 0)).unwrap().contiguous().unwrap();
        let flat = flat.reshape((18, 3)).unwrap();
        let got = out.reshape((h * w, 18)).unwrap().matmul(&flat).unwrap();
        let name = format!("by {stride}, {dilation} apart");
        close(&name, &values(&got), &values(&pixels(&want)), ROUNDING);
    }
}

/// Four channels over 2x2 pixels, row by row.
fn spread_once(planes: &Tensor) -> Tensor {
    let (_, c, h, w) = planes.dims4().unwrap();
    let parts = planes.reshape((c / 4, 2, 2, h, w)).unwrap();
    let parts = parts
        .permute((0, 3, 1, 4, 2))
        .unwrap()
        .contiguous()
        .unwrap();
    parts.reshape((1, c / 4, 2 * h, 2 * w)).unwrap()
}

#[test]
fn spreading_twice_is_spreading_and_spreading_again() {
    let input = Random(7).tensor((2, 3), 32, 1.0);
    let out = zeros(&[8, 12, 2]);
    spread_twice(&context(), &input, &out).unwrap();
    let want = pixels(&spread_once(&spread_once(&planes(&input))));
    assert_eq!(values(&out), values(&want));
    let odd = Tensor::zeros((8, 13, 2), DType::F32, &Device::Cpu).unwrap();
    assert!(spread_twice(&context(), &input, &odd).is_err());
}

#[test]
fn both_sides_weigh_one_together() {
    let mut random = Random(8);
    let (input, share) = (random.tensor((3, 4), 5, 1.0), random.tensor((3, 4), 1, 1.0));
    let outs = [false, true].map(|is_other| {
        let out = zeros(&[3, 4, 5]);
        weigh(&context(), &input, (&share, is_other), &out).unwrap();
        out
    });
    let sum = (&outs[0] + &outs[1]).unwrap();
    close("sum", &values(&sum), &values(&input), 1e-6);
    let first = values(&outs[0])[7];
    assert!((first - values(&input)[7] * values(&share)[1]).abs() < 1e-6);
}
