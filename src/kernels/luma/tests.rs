use super::*;
use crate::kernels::testing::{Random, SIZES, bytes, contexts, fetching};

fn values<T: candle_core::WithDType>(tensor: &Tensor) -> Vec<T> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// What [`Warped`] has of a side.
pub(super) fn steps(side: &Tensor) -> Vec<i16> {
    let floats = values::<f32>(side).into_iter().map(f32::to_bits);
    floats
        .flat_map(|two| [two as i16, (two >> 16) as i16])
        .collect()
}

/// Both sides of warped luma by the plain kernels and by the best ones, with which all other fast ones must agree.
fn both(luma: [&Tensor; 2], flow: &Tensor, scale: f32) -> [Vec<i16>; 2] {
    let (h, w, _) = flow.dims3().unwrap();
    let made = |context: &Context| {
        let warped = Warped::new((h, w)).unwrap();
        let sides = warped.warp(context, luma, flow, scale).unwrap();
        sides.map(steps).concat()
    };
    let mut others = fetching();
    let best = made(&others.pop().unwrap());
    for context in others {
        let level = context.widest();
        assert!(made(&context) == best, "{level:?} has other bits");
    }
    [made(&contexts().0), best]
}

pub(super) fn random_luma(random: &mut Random, (h, w): (usize, usize), less: usize) -> Tensor {
    bytes(&random.dense(&[SAMPLES * h - less, SAMPLES * w - less, 1], 0.5))
}

/// Of cells; more than a band of rows, and than a tile of columns, among them.
pub(super) fn sizes() -> Vec<(usize, usize)> {
    [&SIZES[..], &[(2, 66), (3, 131), (9, 517)]].concat()
}

/// How far a flow goes, in cells, and samples by which luma ends before its last cell.
pub(super) const REACHES: [(f32, usize); 7] = [
    (0.0, 0),
    (0.4, 0),
    (3.0, 1),
    (100.0, 0),
    (1e6, 3),
    (f32::INFINITY, 2),
    (f32::NAN, 0),
];

#[test]
fn fast_and_plain_warps_are_the_same_near_and_far_outside() {
    let mut random = Random(1);
    for size in sizes() {
        for (reach, less) in REACHES {
            let luma = [0; 2].map(|_| random_luma(&mut random, size, less));
            let flow = random.tensor(size, 4, reach);
            let [plain, fast] = both(luma.each_ref(), &flow, 4.0);
            assert!(plain == fast, "{size:?}, reach {reach}, {less} less");
        }
    }
}

#[test]
fn fast_and_plain_warps_are_the_same_where_flow_is_smooth() {
    let mut random = Random(2);
    let (h, w) = (7, 37);
    let luma = [0; 2].map(|_| random_luma(&mut random, (h, w), 1));
    for (dx, dy) in [
        (0.0, 0.0),
        (0.3, -0.7),
        (-2.4, 1.6),
        (100.0, -100.0),
        (-9.0, 3.0),
    ] {
        for (across, down) in [(0.0, 0.0), (0.01, 0.002), (0.2, -0.1), (-0.4, 0.3)] {
            // neighbours a little apart, as under a zoom or a turn
            let flow = |i: usize| match i % 4 {
                0 => dx + across * (i / 4 % w) as f32,
                1 => dy + down * (i / 4 % w) as f32 + 0.5 * across * (i / 4 / w) as f32,
                2 => -dx,
                _ => -dy,
            };
            let flow: Vec<f32> = (0..h * w * 4).map(flow).collect();
            let flow = Tensor::from_vec(flow, (h, w, 4), &Device::Cpu).unwrap();
            let [plain, fast] = both(luma.each_ref(), &flow, 4.0);
            assert!(plain == fast, "{dx} {dy} {across} {down}");
        }
    }
}

#[test]
fn flow_that_is_no_number_reads_inside() {
    let luma = random_luma(&mut Random(3), (4, 9), 2);
    for wild in [f32::NAN, f32::NEG_INFINITY, f32::MAX] {
        let flow = Tensor::full(wild, (4, 9, 4), &Device::Cpu).unwrap();
        let [plain, fast] = both([&luma, &luma], &flow, 4.0);
        assert!(plain == fast, "{wild}");
    }
}

#[test]
fn even_flow_moves_by_samples_and_by_parts_of_them() {
    let (h, w) = (3, 6);
    // a slope of four codes a sample across, and one down
    let slope = |y: usize, x: usize| (4 * x + y) as u8;
    let (rows, columns) = (SAMPLES * h, SAMPLES * w);
    let luma: Vec<u8> = (0..rows * columns)
        .map(|i| slope(i / columns, i % columns))
        .collect();
    let luma = Tensor::from_vec(luma, (rows, columns, 1), &Device::Cpu).unwrap();
    for (dx, dy) in [(0.0f32, 0.0f32), (2.0, -1.0), (0.5, 0.25), (-1.75, 0.5)] {
        let flow = [dx, dy, -dx, -dy].repeat(h * w);
        let flow = Tensor::from_vec(flow, (h, w, 4), &Device::Cpu).unwrap();
        for warped in both([&luma, &luma], &flow, 1.0) {
            let (rows, row) = padded(h, w);
            for (side, sign) in [(0, 1.0), (1, -1.0)] {
                for (y, x) in [(4, 4), (5, 9), (7, 17)] {
                    let found = warped[(side * rows + y + BORDER) * row + x + BORDER];
                    let want = 4.0 * (x as f32 + sign * dx) + y as f32 + sign * dy - 128.0;
                    assert_eq!(f32::from(found), STEPS * want, "({y}, {x}) by {dx}, {dy}");
                }
            }
        }
    }
}

#[test]
fn the_edge_is_repeated_in_the_border() {
    let luma = random_luma(&mut Random(4), (2, 3), 0);
    let flow = Tensor::zeros((2, 3, 4), DType::F32, &Device::Cpu).unwrap();
    let codes: Vec<u8> = values(&luma);
    for warped in both([&luma, &luma], &flow, 4.0) {
        let (rows, row) = padded(2, 3);
        for (i, found) in warped.into_iter().enumerate() {
            let (y, x) = (i / row % rows, i % row);
            let inside = |i: usize, last: usize| i.saturating_sub(BORDER).min(last);
            let code = i16::from(codes[12 * inside(y, 7) + inside(x, 11)]);
            assert_eq!(found, 16 * (code - 128), "{y}, {x}");
        }
    }
}

#[test]
fn luma_is_gathered_as_it_is_and_by_fours() {
    let mut random = Random(5);
    for (h, w) in SIZES {
        let pixels = random.tensor((h, w), 4, 0.6);
        let all: Vec<f32> = values(&pixels);
        let code = |v: f32| ((v + 0.5) * 255.0).clamp(0.0, 255.0);
        for context in <[Context; 2]>::from(contexts()) {
            let (whole, half) = (room((2 * h, 2 * w)).unwrap(), room((h, w)).unwrap());
            gather(&context, &pixels, &whole, &half).unwrap();
            let (whole, half): (Vec<u8>, Vec<u8>) = (values(&whole), values(&half));
            for (i, pixel) in all.chunks(4).enumerate() {
                let (y, x) = (2 * (i / w), 2 * (i % w));
                let at = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(j, k)| (y + j) * 2 * w + x + k);
                let found = at.map(|at| whole[at]);
                for (found, v) in found.iter().zip(pixel) {
                    assert!((f32::from(*found) - code(*v)).abs() < 0.501, "{found}, {v}");
                }
                let sum: u32 = found.iter().copied().map(u32::from).sum();
                assert_eq!(u32::from(half[i]), (sum + 2) / 4);
            }
        }
    }
}

#[test]
fn no_number_and_what_is_outside_become_codes() {
    for context in <[Context; 2]>::from(contexts()) {
        let wild = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30].repeat(8);
        let wild = Tensor::from_vec(wild, (1, 8, 4), &Device::Cpu).unwrap();
        let (whole, half) = (room((2, 16)).unwrap(), room((1, 8)).unwrap());
        gather(&context, &wild, &whole, &half).unwrap();
        let want = [[0, 255].repeat(8), [0, 255].repeat(8)].concat();
        assert_eq!(values::<u8>(&whole), want);
    }
}

#[test]
fn differences_are_means_of_cells() {
    let mut random = Random(6);
    for (h, w) in SIZES {
        let sides = [0; 2].map(|_| random_luma(&mut random, (h, w), 0));
        let [left, right] = sides.each_ref().map(values::<u8>);
        let flow = Tensor::zeros((h, w, 4), DType::F32, &Device::Cpu).unwrap();
        for context in <[Context; 2]>::from(contexts()) {
            let warped = Warped::new((h, w)).unwrap();
            let sides = warped.warp(&context, sides.each_ref(), &flow, 1.0).unwrap();
            let out = Tensor::zeros((h, w, 1), DType::F32, &Device::Cpu).unwrap();
            differences(&context, sides, &out).unwrap();
            for (i, found) in values::<f32>(&out).into_iter().enumerate() {
                let (y, x) = (SAMPLES * (i / w), SAMPLES * (i % w));
                let places = (0..16).map(|k| (y + k / 4) * SAMPLES * w + x + k % 4);
                let apart: u32 = places.map(|i| u32::from(left[i].abs_diff(right[i]))).sum();
                let want = apart as f32 / (16.0 * 255.0);
                assert!((found - want).abs() < 1e-6, "{found}, {want}");
            }
        }
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let (context, _) = contexts();
    let flow = |h: usize, w: usize| Tensor::zeros((h, w, 4), DType::F32, &Device::Cpu).unwrap();
    let try_with = |luma: (usize, usize), flow: &Tensor, cells: (usize, usize)| {
        let (warped, luma) = (Warped::new(cells).unwrap(), room(luma).unwrap());
        warped.warp(&context, [&luma, &luma], flow, 1.0).map(drop)
    };
    assert!(try_with((12, 16), &flow(3, 4), (3, 4)).is_ok());
    assert!(try_with((12, 17), &flow(3, 4), (3, 4)).is_err());
    assert!(try_with((12, 16), &flow(3, 5), (3, 4)).is_err());
    assert!(try_with((12, 16), &flow(3, 4), (3, 5)).is_err());
    // floats are no bytes
    let (warped, wrong) = (Warped::new((3, 4)).unwrap(), flow(12, 16));
    assert!(
        warped
            .warp(&context, [&wrong, &wrong], &flow(3, 4), 1.0)
            .is_err()
    );
}
