use candle_core::Device;

use super::*;
use crate::kernels::testing::{Random, contexts};
use crate::picture::Format;
use crate::picture::owned::{Noise, Owned};

const SIZES: [(u32, u32); 6] = [(1, 1), (2, 3), (5, 4), (17, 9), (33, 16), (50, 35)];
const CELL: usize = 8;

fn weights((width, height): (u32, u32), value: impl FnMut() -> f32) -> Tensor {
    let (h, w) = (
        (height as usize).div_ceil(CELL),
        (width as usize).div_ceil(CELL),
    );
    let values: Vec<f32> = std::iter::repeat_with(value).take(h * w).collect();
    Tensor::from_vec(values, (h, w, 1), &Device::Cpu).unwrap()
}

/// The weight at a place, in pixels, in double precision.
fn weight(values: &[Vec<f32>], y: f64, x: f64) -> f64 {
    let place = |at: f64, size: usize| (at / CELL as f64 - 0.5).clamp(0.0, (size - 1) as f64);
    let (y, x) = (place(y, values.len()), place(x, values[0].len()));
    let at =
        |y: usize, x: usize| f64::from(values[y.min(values.len() - 1)][x.min(values[0].len() - 1)]);
    let (r, c) = (y.floor() as usize, x.floor() as usize);
    let row = |r: usize| at(r, c) + (x - x.floor()) * (at(r, c + 1) - at(r, c));
    row(r) + (y - y.floor()) * (row(r + 1) - row(r))
}

#[test]
fn every_sample_of_every_format_moves_by_its_weight() {
    let mut random = Random(4);
    for format in Format::ALL {
        for size in SIZES {
            let what = format!("{format:?} {size:?}");
            let mut noise = Noise::new(3);
            let own = Owned::new(format, size, 1).noise(&mut noise);
            let other = Owned::new(format, size, 3).noise(&mut noise);
            let weights = weights(size, || 0.5 + 0.5 * random.value());
            let values = weights.squeeze(2).unwrap().to_vec2::<f32>().unwrap();
            for context in <[Context; 2]>::from(contexts()) {
                let mut out = Owned::new(format, size, 1);
                out.picture_mut().copy_from(&own.picture()).unwrap();
                mix(
                    &context,
                    &weights,
                    CELL,
                    &other.picture(),
                    &mut out.picture_mut(),
                )
                .unwrap();
                out.assert_guarded(&what);
                for c in format.components() {
                    for y in 0..c.height(size.1 as usize) {
                        for x in 0..c.width(size.0 as usize) {
                            let centre =
                                |at: usize, sub: u32| (at as f64 + 0.5) * f64::from(1 << sub);
                            let share = weight(&values, centre(y, c.sub_y), centre(x, c.sub_x));
                            let (a, b) = (own.code(c, x, y), other.code(c, x, y));
                            let want = f64::from(a) + share * (f64::from(b) - f64::from(a));
                            let off = (f64::from(out.code(c, x, y)) - want).abs();
                            // rounding, of weights and of the code
                            assert!(off <= 0.51, "{what} {c:?} at {x}, {y}: {off}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn fast_and_plain_are_the_same_bits() {
    let mut random = Random(7);
    let (plain, fast) = contexts();
    for format in Format::ALL {
        for size in SIZES {
            let mut noise = Noise::new(5);
            let own = Owned::new(format, size, 1).noise(&mut noise);
            let other = Owned::new(format, size, 2).noise(&mut noise);
            // also none and all
            let weights = weights(size, || (0.5 + random.value()).clamp(0.0, 1.0));
            let [want, got] = [&plain, &fast].map(|context| {
                let mut out = Owned::new(format, size, 1);
                out.picture_mut().copy_from(&own.picture()).unwrap();
                let (other, made) = (other.picture(), &mut out.picture_mut());
                mix(context, &weights, CELL, &other, made).unwrap();
                out
            });
            for c in format.components() {
                for y in 0..c.height(size.1 as usize) {
                    for x in 0..c.width(size.0 as usize) {
                        let codes = (got.code(c, x, y), want.code(c, x, y));
                        assert_eq!(codes.0, codes.1, "{format:?} {size:?} {c:?} at {x}, {y}");
                    }
                }
            }
        }
    }
}

#[test]
fn all_and_nothing_are_exact() {
    for format in Format::ALL {
        let size = (37, 21);
        let mut noise = Noise::new(8);
        let own = Owned::new(format, size, 1).noise(&mut noise);
        let other = Owned::new(format, size, 3).noise(&mut noise);
        for (share, wanted) in [(0.0, &own), (1.0, &other)] {
            let mut out = Owned::new(format, size, 1);
            out.picture_mut().copy_from(&own.picture()).unwrap();
            let weights = weights(size, || share);
            mix(
                &contexts().1,
                &weights,
                CELL,
                &other.picture(),
                &mut out.picture_mut(),
            )
            .unwrap();
            for c in format.components() {
                for y in 0..c.height(size.1 as usize) {
                    for x in 0..c.width(size.0 as usize) {
                        let (found, wanted) = (out.code(c, x, y), wanted.code(c, x, y));
                        assert_eq!(found, wanted, "{format:?} {share} {c:?} at {x}, {y}");
                    }
                }
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let [own, small] = [(20, 20), (20, 10)].map(|size| Owned::new(Format::I420, size, 0));
    let mut out = Owned::new(Format::I420, (20, 20), 0);
    let (context, _) = contexts();
    let (fits, few) = (weights((20, 20), || 0.5), weights((20, 10), || 0.5));
    assert!(
        mix(
            &context,
            &fits,
            CELL,
            &own.picture(),
            &mut out.picture_mut()
        )
        .is_ok()
    );
    assert!(mix(&context, &few, CELL, &own.picture(), &mut out.picture_mut()).is_err());
    assert!(
        mix(
            &context,
            &fits,
            CELL,
            &small.picture(),
            &mut out.picture_mut()
        )
        .is_err()
    );
}
