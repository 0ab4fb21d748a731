use candle_core::{DType, Device};

use super::*;
use crate::kernels::testing::{Out, Random, SIZES, bytes, close, contexts};

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn room((h, w): (usize, usize), channels: usize) -> Tensor {
    Tensor::zeros((h, w, channels), DType::F32, &Device::Cpu).unwrap()
}

/// A motion, both ways, as a function of the cell.
fn motion((h, w): (usize, usize), f: impl Fn(f32, f32) -> [f32; 4]) -> Tensor {
    let cells = (0..h * w).flat_map(|i| f((i % w) as f32, (i / w) as f32));
    Tensor::from_vec(cells.collect::<Vec<_>>(), (h, w, 4), &Device::Cpu).unwrap()
}

/// Incoherence of each cell.
fn incoherences(found: &Tensor) -> Vec<f32> {
    let (h, w, _) = found.dims3().unwrap();
    let (context, _) = contexts();
    let out = room((h, w), MEASURED);
    measure(&context, found, &room((h, w), REGION), &out).unwrap();
    values(&out.narrow(2, 0, 1).unwrap())
}

fn mean(of: &[f32]) -> f32 {
    of.iter().sum::<f32>() / of.len() as f32
}

/// The definition in other words, in double precision: all that is squared and averaged is looked up anew.
fn defined(found: &[f32], (h, w): (usize, usize), (y, x): (usize, usize)) -> f64 {
    let at = |y: isize, x: isize, c: usize| {
        let inside = |i: isize, size: usize| i.clamp(0, size as isize - 1) as usize;
        f64::from(found[(inside(y, h) * w + inside(x, w)) * 4 + c])
    };
    let (iy, ix) = (y as isize, x as isize);
    let bilinear = |y: f64, x: f64, c: usize| {
        let (y, x) = (y.clamp(0.0, (h - 1) as f64), x.clamp(0.0, (w - 1) as f64));
        let (fy, fx) = (y.floor(), x.floor());
        let row = |y: isize| {
            let x0 = fx as isize;
            at(y, x0, c) + (x - fx) * (at(y, x0 + 1, c) - at(y, x0, c))
        };
        row(fy as isize) + (y - fy) * (row(fy as isize + 1) - row(fy as isize))
    };
    let mut e = 0.0;
    let mut energy = 0.0;
    for (a, b) in [(0, 2), (2, 0)] {
        let there = [at(iy, ix, a), at(iy, ix, a + 1)];
        let place = (y as f64 + there[1], x as f64 + there[0]);
        let back = [0, 1].map(|c| bilinear(place.0, place.1, b + c));
        e += 0.5 * (there[0] + back[0]).hypot(there[1] + back[1]);
        let slope = |c: usize, dy: isize, dx: isize| {
            0.5 * (at(iy + dy, ix + dx, a + c) - at(iy - dy, ix - dx, a + c))
        };
        let (divergence, curl) = (
            slope(0, 0, 1) + slope(1, 1, 0),
            slope(1, 0, 1) - slope(0, 1, 0),
        );
        energy += 0.5 * (divergence * divergence + curl * curl);
    }
    let clamped = |i: usize, by: isize, size: usize| (i as isize + by).clamp(0, size as isize - 1);
    let near =
        |i: usize, by: usize, size: usize| [-1, 0, 1].map(|s| clamped(i, s * by as isize, size));
    let variance = |centres: &[(isize, isize)]| {
        let mut places = Vec::new();
        for &(cy, cx) in centres {
            for y in near(cy as usize, 1, h) {
                places.extend(near(cx as usize, 1, w).map(|x| (y, x)));
            }
        }
        let n = places.len() as f64;
        let of = |c: usize| {
            let all = places.iter().map(|&(y, x)| at(y, x, c));
            let mean = all.clone().sum::<f64>() / n;
            all.map(|v| (v - mean).powi(2)).sum::<f64>() / n
        };
        0.5 * (0..4).map(of).sum::<f64>()
    };
    let small = variance(&[(iy, ix)]);
    let columns = near(x, APART, w);
    let centres: Vec<_> = near(y, APART, h)
        .into_iter()
        .flat_map(|y| columns.map(|x| (y, x)))
        .collect();
    let large = variance(&centres);
    let still = f64::from(STILL);
    e += energy.sqrt() + (small * (small + still) / (large + still)).sqrt();
    e / (e + f64::from(HALF))
}

#[test]
fn incoherence_is_as_defined_on_any_number_of_threads() {
    let mut random = Random(5);
    for size in SIZES {
        for scale in [0.01, 1.0, 30.0] {
            let found = random.tensor(size, 4, scale);
            let dense = values(&found);
            let places = (0..size.0 * size.1).map(|i| (i / size.1, i % size.1));
            let want: Vec<f32> = places.map(|at| defined(&dense, size, at) as f32).collect();
            let mut all = Vec::new();
            for context in <[Context; 2]>::from(contexts()) {
                let out = Out::new(size, MEASURED);
                measure(&context, &found, &room(size, REGION), &out.tensor()).unwrap();
                let got: Vec<f32> = out.values().chunks(MEASURED).map(|v| v[0]).collect();
                // squares of 30 lose thousandths of what is left between them
                close("incoherence", &got, &want, 2e-3);
                all.push(out.values());
            }
            assert_eq!(all[0], all[1], "{size:?}");
        }
    }
}

#[test]
fn fast_and_plain_are_the_same_bits() {
    let mut random = Random(8);
    let (plain, fast) = contexts();
    let wide = [(1, 14), (4, 15), (5, 22), (9, 33), (3, 64)];
    for size in SIZES.into_iter().chain(wide) {
        for scale in [1e-3, 1.0, 20.0, 1e20] {
            let mut values = values(&random.dense(&[size.0, size.1, 4], scale));
            for hard in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e30] {
                let at = ((random.value() + 1.0) / 2.0 * values.len() as f32) as usize;
                // the others as they are, too
                if scale == 20.0 {
                    values[at] = hard;
                }
            }
            let found = Tensor::from_vec(values, (size.0, size.1, 4), &Device::Cpu).unwrap();
            let [want, got] = [&plain, &fast].map(|context| {
                let (regions, out) = (room(size, REGION), Out::new(size, MEASURED));
                measure(context, &found, &regions, &out.tensor()).unwrap();
                let all = [self::values(&regions), out.values()].concat();
                // what is no number may have any sign
                let bits = all
                    .into_iter()
                    .map(|v| if v.is_nan() { 0 } else { v.to_bits() });
                bits.collect::<Vec<_>>()
            });
            assert_eq!(got, want, "{size:?}, motion of {scale}");
        }
    }
}

#[test]
fn a_glance_measures_every_third_row_and_leaves_the_others() {
    let mut random = Random(7);
    for size in SIZES.into_iter().chain([(7, 22), (8, 33), (9, 14)]) {
        let found = random.tensor(size, 4, 1.0);
        for context in <[Context; 2]>::from(contexts()) {
            let (whole, some) = (Out::new(size, MEASURED), room(size, MEASURED));
            measure(&context, &found, &room(size, REGION), &whole.tensor()).unwrap();
            let whole = whole.values();
            for cells in [size, (size.0.div_ceil(2), size.1.div_ceil(2))] {
                let rooms = (&room(size, REGION), &some);
                let mean = glance(&context, &found, rooms, cells).unwrap();
                let of_row = |y: usize| {
                    let row = &whole[MEASURED * size.1 * y..][..MEASURED * cells.1];
                    row.chunks(MEASURED).map(|v| v[0]).sum::<f32>()
                };
                let rows = (0..cells.0).step_by(3);
                let count = rows.len() * cells.1;
                let wanted = rows.map(of_row).sum::<f32>() / count as f32;
                close("the mean", &[mean], &[wanted], 1e-5);
            }
            for (i, (found, whole)) in values(&some).iter().zip(&whole).enumerate() {
                let looked_at = (i / (MEASURED * size.1)).is_multiple_of(3);
                let wanted = if looked_at { *whole } else { 0.0 };
                assert_eq!(*found, wanted, "{size:?}, value {i}");
            }
            let rooms = (&room(size, REGION), &some);
            assert!(glance(&context, &found, rooms, (size.0 + 1, size.1)).is_err());
        }
    }
}

#[test]
fn fast_and_plain_tell_the_same_texture() {
    let mut random = Random(6);
    let (plain, fast) = contexts();
    for (rows, columns) in [(8, 8), (16, 32), (24, 33), (13, 64), (40, 100), (64, 136)] {
        for hard in [false, true] {
            let luma = [0; 2].map(|_| {
                let noise = random.dense(&[rows, columns, 1], 0.5);
                // only the largest differences
                let largest = || (noise.sign().unwrap() * 0.5).unwrap();
                bytes(&if hard { largest() } else { noise.clone() })
            });
            let [want, got] = [&plain, &fast].map(|context| {
                let out = Out::new((rows.div_ceil(8), columns.div_ceil(8)), 1);
                texture(context, [&luma[0], &luma[1]], &out.tensor()).unwrap();
                out.values()
            });
            assert_eq!(got, want, "{rows}x{columns}");
        }
    }
}

#[test]
fn motion_of_one_piece_is_coherent_however_large() {
    for size in SIZES {
        for [x, y] in [[0.0, 0.0], [2.5, -1.0], [-40.0, 3.0]] {
            let found = motion(size, |_, _| [x, y, -x, -y]);
            assert!(incoherences(&found).iter().all(|u| *u < 0.02), "{size:?}");
        }
    }
}

#[test]
fn a_turn_and_a_thing_before_its_background_are_more_coherent_than_noise() {
    let size = (24, 32);
    let turn = motion(size, |x, y| {
        let v = [0.03 * (12.0 - y), 0.03 * (x - 16.0)];
        [v[0], v[1], -v[0], -v[1]]
    });
    let thing = motion(size, |x, y| {
        let inside = (8.0..24.0).contains(&x) && (6.0..18.0).contains(&y);
        if inside {
            [1.5, 0.0, -1.5, 0.0]
        } else {
            [0.0; 4]
        }
    });
    let noise = Random(3).dense(&[size.0, size.1, 4], 1.5);
    let [turn, thing, noise] = [turn, thing, noise].map(|found| mean(&incoherences(&found)));
    assert!(
        turn < 0.25 && thing < 0.25 && noise > 0.7,
        "{turn}, {thing}, {noise}"
    );
}

#[test]
fn the_wilder_a_small_region_beside_a_large_one_the_less_coherent() {
    let size = (24, 32);
    let mut before = 0.0;
    for wild in [0.01, 0.1, 0.5, 2.0] {
        let noise = values(&Random(9).dense(&[size.0, size.1, 4], wild));
        let found = motion(size, |x, y| {
            let n = &noise[4 * (y as usize * size.1 + x as usize)..];
            [1.0 + n[0], n[1], -1.0 + n[2], n[3]]
        });
        let now = mean(&incoherences(&found));
        assert!(now > before, "{wild}: {now} after {before}");
        before = now;
    }
}

#[test]
fn what_is_no_number_is_incoherent() {
    let found = motion((5, 6), |_, _| [f32::NAN, 0.0, f32::INFINITY, 0.0]);
    assert!(incoherences(&found).iter().all(|u| *u == 1.0));
}

#[test]
fn texture_is_what_luma_changes_from_sample_to_sample() {
    let mut random = Random(2);
    for (h, w) in SIZES {
        for cell in [8, 16] {
            let (rows, columns) = (cell * h - cell / 2, cell * w);
            let luma = [0; 2].map(|_| bytes(&random.dense(&[rows, columns, 1], 0.5)));
            let of = luma
                .each_ref()
                .map(|l| values(&l.to_dtype(DType::F32).unwrap()));
            let change = |l: &[f32], y: usize, x: usize| {
                let here = l[y * columns + x];
                let right = l[y * columns + (x + 1).min(columns - 1)];
                let below = l[(y + 1).min(rows - 1) * columns + x];
                (here - right).abs() + (here - below).abs()
            };
            let want = (0..h * w).map(|i| {
                let (top, left) = (i / w * cell, i % w * cell);
                let mut all = Vec::new();
                for y in top..(top + cell).min(rows) {
                    for x in left..left + cell {
                        all.extend(of.each_ref().map(|l| change(l, y, x)));
                    }
                }
                mean(&all)
            });
            let want: Vec<f32> = want.collect();
            for context in <[Context; 2]>::from(contexts()) {
                let out = Out::new((h, w), 1);
                // a single row or column is split otherwise
                if rows.div_ceil(h) == cell {
                    texture(&context, [&luma[0], &luma[1]], &out.tensor()).unwrap();
                    close("texture", &out.values(), &want, 1e-4);
                }
            }
        }
    }
}

/// As measured of cells that are all alike.
fn measured(size: (usize, usize), incoherence: f32, length: f32) -> Tensor {
    let cells = [incoherence, length].repeat(size.0 * size.1);
    Tensor::from_vec(cells, (size.0, size.1, MEASURED), &Device::Cpu).unwrap()
}

#[test]
fn the_more_coherent_estimate_weighs_more() {
    let size = (3, 4);
    let weight = |own: f32, other: f32, length: f32| {
        let out = Out::new(size, 1);
        let both = [measured(size, own, length), measured(size, other, length)];
        weigh(&contexts().1, both.each_ref(), &out.tensor()).unwrap();
        let found = out.values();
        assert!(
            found
                .iter()
                .all(|w| *w == found[0] && (0.0..=1.0).contains(w))
        );
        found[0]
    };
    for length in [0.0, 1.0, 8.0] {
        assert!(weight(0.9, 0.1, length) > weight(0.5, 0.5, length));
        assert!(weight(0.5, 0.5, length) > weight(0.1, 0.9, length));
    }
    assert!(weight(0.9, 0.05, 2.0) > 0.8 && weight(0.1, 0.9, 2.0) < 0.1);
    // of large motion a picture of half the size knows more
    assert!(weight(0.5, 0.5, 8.0) > weight(0.5, 0.5, 1.0));
}

#[test]
fn what_is_shown_is_as_incoherent_as_what_it_is_taken_from() {
    let (own, other) = (measured((5, 7), 0.8, 1.0), measured((3, 4), 0.2, 1.0));
    let context = contexts().1;
    let out = Out::new((5, 7), 1);
    for (weight, wanted) in [(0.0, 0.8), (0.5, 0.5), (1.0, 0.2)] {
        let weights = Tensor::full(weight as f32, (3, 4, 1), &Device::Cpu).unwrap();
        settle(&context, &own, (&other, &weights), &out.tensor()).unwrap();
        close("settled", &out.values(), &[wanted; 35], 1e-6);
    }
}

#[test]
fn turbulence_lowers_the_confidence_by_what_is_at_stake() {
    let context = contexts().1;
    let after = |before: f32, incoherence: f32, texture: f32| {
        let full = |v: f32, h, w| Tensor::full(v, (h, w, 1), &Device::Cpu).unwrap();
        let confidence = full(before, 6, 10);
        let (incoherence, texture) = (full(incoherence, 3, 5), full(texture, 3, 5));
        doubt(&context, &incoherence, &texture, &confidence).unwrap();
        values(&confidence)[37]
    };
    for (before, incoherence, texture) in [(0.9, 0.5, 10.0), (0.2, 1.0, 60.0), (1.0, 0.0, 5.0)] {
        let wanted = REMAINS * predicted_error(before) + AT_STAKE * incoherence * texture;
        let found = predicted_error(after(before, incoherence, texture));
        assert!((found - wanted).abs() < 1e-3);
    }
    // without texture nothing is at stake, and what is no number is not trusted
    assert_eq!(after(1.0, 1.0, 0.0), 1.0);
    assert_eq!(after(f32::NAN, 0.5, 1.0), 0.0);
    assert_eq!(after(0.0, 0.5, 1.0), 0.0);
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let (context, _) = contexts();
    let size = (4, 6);
    let [one, two, four, regions] = [1, 2, 4, REGION].map(|c| room(size, c));
    assert!(measure(&context, &four, &regions, &two).is_ok());
    assert!(measure(&context, &two, &regions, &room(size, 2)).is_err());
    assert!(measure(&context, &four, &regions, &room((4, 5), 2)).is_err());
    assert!(measure(&context, &four, &room((3, 6), REGION), &two).is_err());
    assert!(weigh(&context, [&two, &room((4, 5), 2)], &one).is_err());
    assert!(settle(&context, &one, (&two, &one), &room(size, 1)).is_err());
    assert!(settle(&context, &two, (&two, &room((2, 3), 1)), &one).is_err());
    assert!(settle(&context, &two, (&room((2, 3), 2), &room((2, 3), 1)), &one).is_ok());
    assert!(doubt(&context, &one, &room((4, 5), 1), &room((8, 12), 1)).is_err());
}
