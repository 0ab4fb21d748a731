//! The launches of `cuda.cu`.

use super::{CELL, CONCLUSION, Change, check_edge};
use crate::kernels::cuda::{DeviceRaster, Features, Launch};

/// With a thread for each value of `out`.
fn values(function: &'static str, out: &DeviceRaster) -> Launch {
    Launch::new("picture", function).pixels((out.height, out.width * out.channels))
}

/// As [`super::copy`].
///
/// # Errors
/// The shapes differ.
pub fn copy(picture: &DeviceRaster, out: Features) -> candle_core::Result<Launch> {
    out.expect("a picture", picture.size(), picture.channels)?;
    let function = out.function(&[], ["picture_copy", "picture_copy_half"])?;
    let launch = Launch::new("picture", function);
    let launch = launch.pixels((out.height, out.width * out.channels));
    Ok(launch.raster(picture).with(out.raw()))
}

/// As [`super::fill`].
///
/// # Errors
/// None.
pub fn fill(value: f32, out: &DeviceRaster) -> candle_core::Result<Launch> {
    Ok(values("picture_fill", out).with(value).raster(out))
}

/// A change of each value by itself.
///
/// # Errors
/// The shapes differ.
pub fn map(from: &DeviceRaster, change: Change, out: &DeviceRaster) -> candle_core::Result<Launch> {
    out.expect("a result", from.size(), from.channels)?;
    let (change, by) = match change {
        Change::Lower(by) => (0i32, by),
        Change::Scale(by) => (1, by),
        Change::Sigmoid => (2, 0.0),
    };
    let launch = values("picture_map", out).raster(from);
    Ok(launch.with(change).with(by).raster(out))
}

/// As [`super::Mean::take`], by way of the sums of `rows`, `[1, h, 1]` each.
///
/// # Errors
/// The sizes do not fit.
pub fn mean(
    sides: [&DeviceRaster; 2],
    rows: [&DeviceRaster; 2],
    out: &DeviceRaster,
) -> candle_core::Result<[Launch; 3]> {
    let [left, right] = sides;
    right.expect("the right side", left.size(), left.channels)?;
    rows[0].expect("the sums of rows", (1, left.height), 1)?;
    rows[1].expect("the sums of rows", (1, left.height), 1)?;
    out.expect("a mean", (1, 1), 1)?;
    let sums = |side: usize| {
        let mut launch = Launch::new("picture", "picture_row_sums");
        (launch.grid, launch.block) = ([left.height as u32, 1, 1], [32, 1, 1]);
        launch.raster(sides[side]).raster(rows[side])
    };
    let mut whole = Launch::new("picture", "picture_mean");
    whole.block = [32, 1, 1];
    let whole = whole.raster(rows[0]).raster(rows[1]);
    let count = (left.width * left.channels) as i32;
    Ok([sums(0), sums(1), whole.with(count).raster(out)])
}

/// As [`super::Mean::lower`].
///
/// # Errors
/// The shapes differ.
pub fn lower(
    from: &DeviceRaster,
    mean: &DeviceRaster,
    out: &DeviceRaster,
) -> candle_core::Result<Launch> {
    mean.expect("a mean", (1, 1), 1)?;
    out.expect("a result", from.size(), from.channels)?;
    let launch = values("picture_lower", out).raster(from);
    Ok(launch.raster(mean).raster(out))
}

/// As [`super::add_scaled`], or with weights of rows and columns as [`super::add_faded`].
///
/// # Errors
/// The shapes differ.
pub fn add_weighted(
    factor: f32,
    weights: Option<[&DeviceRaster; 2]>,
    from: &DeviceRaster,
    out: &DeviceRaster,
) -> candle_core::Result<Launch> {
    from.expect("what is added", out.size(), out.channels)?;
    if let Some([rows, columns]) = weights {
        rows.expect("weights of rows", (1, out.height), 1)?;
        columns.expect("weights of columns", (1, out.width), 1)?;
    }
    let launch = values("picture_add_weighted", out).with(factor);
    let launch = launch.optional(weights.map(|w| w[0]));
    let launch = launch.optional(weights.map(|w| w[1]));
    Ok(launch.raster(from).raster(out))
}

/// As [`super::add_clamped`].
///
/// # Errors
/// The shapes differ.
pub fn add_clamped(
    [image, residual]: [&DeviceRaster; 2],
    out: &DeviceRaster,
) -> candle_core::Result<Launch> {
    image.expect("a summand", out.size(), out.channels)?;
    residual.expect("a summand", out.size(), out.channels)?;
    let launch = values("picture_add_clamped", out);
    Ok(launch.raster(image).raster(residual).raster(out))
}

/// As [`super::extend`].
///
/// # Errors
/// It is smaller than that.
pub fn extend(out: &DeviceRaster, size: (usize, usize)) -> candle_core::Result<Launch> {
    check_edge(size, out.size())?;
    let launch = values("picture_extend", out);
    Ok(launch.with(size.0 as i32).with(size.1 as i32).raster(out))
}

/// As [`super::blend`].
///
/// # Errors
/// Sizes that do not fit.
pub fn blend(
    [left, right]: [Features; 2],
    motion: &DeviceRaster,
    out: &DeviceRaster,
) -> candle_core::Result<Launch> {
    let function = left.function(&[right], ["picture_blend", "picture_blend_half"])?;
    out.expect("a picture", left.size(), left.channels)?;
    right.expect("the right side", left.size(), left.channels)?;
    motion.expect("the motion", left.size(), CONCLUSION)?;
    let launch = values(function, out).with(left.raw()).with(right.raw());
    Ok(launch.raster(motion).raster(out))
}

/// As [`super::quarter`].
///
/// # Errors
/// Sizes that do not fit.
pub fn quarter(full: &DeviceRaster, out: &DeviceRaster) -> candle_core::Result<Launch> {
    let size = (CELL * out.height, CELL * out.width);
    full.expect("what is made smaller", size, out.channels)?;
    Ok(values("picture_quarter", out).raster(full).raster(out))
}

/// Writes 1 where any byte differs, else 0.
///
/// # Errors
/// The shapes differ, or it is more than one row.
pub fn differ(
    [left, right]: [&DeviceRaster<u8>; 2],
    out: &DeviceRaster,
) -> candle_core::Result<[Launch; 2]> {
    left.expect("the left side", (1, left.width), 1)?;
    right.expect("the right side", left.size(), 1)?;
    out.expect("an answer", (1, 1), 1)?;
    let mut launch = Launch::new("picture", "picture_differ");
    launch.block = [256, 1, 1];
    launch.grid = [(left.width as u32).div_ceil(launch.block[0]), 1, 1];
    let launch = launch.raster(left).raster(right).raster(out);
    Ok([fill(0.0, out)?, launch])
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::super as door;
    use super::*;
    use crate::kernels::cuda::Half;
    use crate::kernels::cuda::emulation::{halves, input, output, run};
    use crate::kernels::testing::{Out, Random, SIZES, close, contexts, zeros};

    /// Channels of the pictures.
    const CHANNELS: usize = 3;
    /// An exponential and a division, or a sum in another order.
    const TOLERANCE: f32 = 1e-6;

    /// Fails unless both write the same to what `room` makes.
    fn same(
        what: &str,
        room: impl Fn() -> Out,
        plain: impl Fn(&Tensor),
        launch: impl Fn(&DeviceRaster) -> candle_core::Result<Launch>,
        tolerance: f32,
    ) {
        let [want, got] = [room(), room()];
        plain(&want.tensor());
        run([launch(&output(&got.tensor())).unwrap()]);
        close(what, &got.values(), &want.values(), tolerance);
    }

    #[test]
    fn values_by_themselves_are_the_same() {
        let mut random = Random(1);
        let (plain, _) = contexts();
        for size in SIZES {
            let [a, b] = [0, 1].map(|_| random.tensor(size, CHANNELS, 3.0));
            let (from, other) = (input(&a), input(&b));
            let room = || Out::new(size, CHANNELS);
            let c = &plain;
            same(
                "copy",
                room,
                |o| door::copy(c, &a, o).unwrap(),
                |o| copy(&from, Features::F32(*o)),
                0.0,
            );
            same(
                "fill",
                room,
                |o| door::fill(c, 0.7, o).unwrap(),
                |o| fill(0.7, o),
                0.0,
            );
            let lower = Change::Lower(0.3);
            same(
                "lower",
                room,
                |o| door::lower(c, &a, 0.3, o).unwrap(),
                |o| map(&from, lower, o),
                0.0,
            );
            let scale = Change::Scale(0.3);
            same(
                "scale",
                room,
                |o| door::scale(c, 0.3, &a, o).unwrap(),
                |o| map(&from, scale, o),
                0.0,
            );
            let sigmoid = Change::Sigmoid;
            same(
                "sigmoid",
                room,
                |o| door::sigmoid(c, &a, o).unwrap(),
                |o| map(&from, sigmoid, o),
                TOLERANCE,
            );
            let both = [&from, &other];
            same(
                "clamped",
                room,
                |o| door::add_clamped(c, &a, &b, o).unwrap(),
                |o| add_clamped(both, o),
                0.0,
            );
        }
    }

    #[test]
    fn sums_are_the_same() {
        let mut random = Random(2);
        let (plain, _) = contexts();
        for size in SIZES {
            let [before, more] = [0, 1].map(|_| random.tensor(size, CHANNELS, 1.0));
            let from = input(&more);
            let room = || {
                let out = Out::new(size, CHANNELS);
                door::copy(&plain, &before, &out.tensor()).unwrap();
                out
            };
            let scaled = |o: &DeviceRaster| add_weighted(-0.3, None, &from, o);
            same(
                "scaled",
                room,
                |o| door::add_scaled(&plain, -0.3, &more, o).unwrap(),
                scaled,
                0.0,
            );
            let sides = [size.0, size.1].map(|n| (0..n).map(|_| random.value()).collect());
            let weights = door::Weights::new(&Device::Cpu, sides).unwrap();
            let [rows, columns] = weights.sides.each_ref().map(input);
            let faded = |o: &DeviceRaster| add_weighted(1.0, Some([&rows, &columns]), &from, o);
            same(
                "faded",
                room,
                |o| door::add_faded(&plain, &weights, &more, o).unwrap(),
                faded,
                0.0,
            );
        }
    }

    #[test]
    fn edges_and_blends_are_the_same() {
        let mut random = Random(3);
        let (plain, _) = contexts();
        for size in SIZES {
            let [left, right] = [0, 1].map(|_| random.tensor(size, CHANNELS, 1.0));
            let room = || {
                let out = Out::new(size, CHANNELS);
                door::copy(&plain, &left, &out.tensor()).unwrap();
                out
            };
            let own = (size.0.div_ceil(2), size.1.div_ceil(2));
            same(
                "extend",
                room,
                |o| door::extend(&plain, o, own).unwrap(),
                |o| extend(o, own),
                0.0,
            );
            for reach in [0.7, 5.0, 1e6] {
                let motion = random.tensor(size, CONCLUSION, reach);
                let sides = [&left, &right].map(|side| Features::F32(input(side)));
                let by = input(&motion);
                same(
                    "blend",
                    room,
                    |o| door::blend(&plain, [&left, &right], &motion, o).unwrap(),
                    |o| blend(sides, &by, o),
                    0.0,
                );
            }
        }
    }

    #[test]
    fn numbers_of_sixteen_bits_are_copied_and_blended_as_those_of_thirty_two() {
        let mut random = Random(4);
        let (plain, _) = contexts();
        for size in SIZES {
            let motion = random.tensor(size, CONCLUSION, 3.0);
            let sides = [0, 1].map(|_| random.dense(&[size.0, size.1, CHANNELS], 1.0));
            let [left, right] = sides.each_ref().map(halves);
            let [made, _] = halves(&zeros(&[size.0, size.1, CHANNELS]));
            run([copy(&input(&sides[0]), Features::F16(output(&made))).unwrap()]);
            let bits = |t: &Tensor| {
                let all = t.flatten_all().unwrap().to_vec1().unwrap();
                all.into_iter().map(Half::to_bits).collect::<Vec<_>>()
            };
            assert_eq!(bits(&made), bits(&left[0]), "{size:?}");
            let (on_card, by) = ([&left[0], &right[0]], input(&motion));
            let on_card = on_card.map(|side| Features::F16(input(side)));
            same(
                "blend",
                || Out::new(size, CHANNELS),
                |o| door::blend(&plain, [&left[1], &right[1]], &motion, o).unwrap(),
                |o| blend(on_card, &by, o),
                0.0,
            );
        }
    }

    #[test]
    fn quarters_are_the_same() {
        let mut random = Random(5);
        let (plain, _) = contexts();
        for size in SIZES {
            // channels beside those that are read
            let full = random.tensor((CELL * size.0, CELL * size.1), CONCLUSION, 9.0);
            for (first, channels) in [(0, 4), (4, 1)] {
                let part = full.narrow(2, first, channels).unwrap();
                let from = input(&part);
                same(
                    "quarter",
                    || Out::new(size, channels),
                    |o| door::quarter(&plain, &part, o).unwrap(),
                    |o| quarter(&from, o),
                    0.0,
                );
            }
        }
    }

    #[test]
    fn means_are_the_same() {
        let mut random = Random(4);
        let (plain, _) = contexts();
        for size in SIZES {
            let sides = [0, 1].map(|_| random.tensor(size, CHANNELS, 1.0));
            let [want, got] = [0, 1].map(|_| door::Mean::new(&Device::Cpu, size.0).unwrap());
            want.take(&plain, sides.each_ref()).unwrap();
            let rows = got.rows.each_ref().map(output);
            let from = sides.each_ref().map(input);
            run(mean(from.each_ref(), rows.each_ref(), &output(&got.value)).unwrap());
            let value = |mean: &door::Mean| mean.value.flatten_all().unwrap().to_vec1().unwrap();
            close("mean", &value(&got), &value(&want), TOLERANCE);
            let room = || Out::new(size, CHANNELS);
            let (from, by) = (input(&sides[0]), input(&want.value));
            same(
                "lower",
                room,
                |o| want.lower(&plain, &sides[0], o).unwrap(),
                |o| lower(&from, &by, o),
                0.0,
            );
        }
    }

    #[test]
    fn a_single_byte_makes_a_difference() {
        let answer = zeros(&[1, 1, 1]);
        for len in [1, 255, 256, 257, 1000] {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
            let tensor = |bytes: &[u8]| Tensor::from_slice(bytes, (1, len, 1), &Device::Cpu);
            let left = tensor(&bytes).unwrap();
            let differ = |right: &Tensor| {
                // what was there before does not count
                for launch in differ([&input(&left), &input(right)], &output(&answer)).unwrap() {
                    run([launch]);
                }
                answer.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0]
            };
            assert_eq!(differ(&tensor(&bytes).unwrap()), 0.0, "{len}");
            for at in [0, len / 2, len - 1] {
                let mut other = bytes.clone();
                other[at] ^= 0x80;
                assert_eq!(differ(&tensor(&other).unwrap()), 1.0, "{at} of {len}");
                assert_eq!(differ(&tensor(&bytes).unwrap()), 0.0, "{at} of {len}");
            }
        }
    }

    #[test]
    fn other_shapes_are_refused() {
        let [one, other] = [zeros(&[3, 4, 3]), zeros(&[3, 5, 3])];
        let [one, other] = [output(&one), output(&other)];
        assert!(copy(&one, Features::F32(other)).is_err());
        assert!(map(&one, Change::Sigmoid, &other).is_err());
        assert!(add_weighted(1.0, None, &one, &other).is_err());
        assert!(add_clamped([&one, &other], &one).is_err());
        assert!(quarter(&one, &other).is_err());
        assert!(extend(&one, (4, 4)).is_err() && extend(&one, (0, 4)).is_err());
        let room = |n: usize| Tensor::zeros((1, n, 1), candle_core::DType::U8, &Device::Cpu);
        let [few, many] = [room(3).unwrap(), room(4).unwrap()];
        let answer = output(&zeros(&[1, 1, 1]));
        assert!(differ([&input(&few), &input(&many)], &answer).is_err());
        assert!(differ([&input(&few), &input(&few)], &one).is_err());
    }
}
