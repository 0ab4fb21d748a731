//! The launches of `cuda.cu`.

use crate::kernels::cuda::{DeviceRaster, Features, Launch, RawRaster};
use crate::kernels::raster::Geometry;

/// Channels of 16 bits that a thread halves together.
const EIGHT: usize = 8;

fn halved(input: &Geometry) -> (usize, usize) {
    (input.height.div_ceil(2), input.width.div_ceil(2))
}

/// As [`super::half`]; both are of 32 bits or both of 16.
///
/// # Errors
/// Sizes that do not fit.
pub fn half(input: Features, out: Features) -> candle_core::Result<Launch> {
    out.expect("the output of a halving", halved(&input), input.channels)?;
    let function = input.function(&[out], ["resample_half", "resample_half_f16"])?;
    let columns = match out {
        Features::F32(_) => out.width * out.channels,
        Features::F16(_) => out.width * out.channels.div_ceil(EIGHT),
    };
    let launch = Launch::new("resample", function).pixels((out.height, columns));
    Ok(launch.reading(input.raw()).with(out.raw()))
}

/// As [`super::half_smooth`].
///
/// # Errors
/// Sizes that do not fit.
pub fn half_smooth(input: &DeviceRaster, out: &DeviceRaster) -> candle_core::Result<Launch> {
    input.expect("the input of a halving", input.size(), 1)?;
    out.expect("the output of a halving", halved(input), 1)?;
    let launch = Launch::new("resample", "resample_half_smooth").pixels(out.size());
    Ok(launch.reads(input).raster(out))
}

/// As [`super::double`] (a factor of 1, nothing added) and [`super::double_and_add`].
///
/// # Errors
/// Sizes that do not fit.
pub fn double(
    input: &DeviceRaster,
    factor: f32,
    detail: Option<&DeviceRaster>,
    out: &DeviceRaster,
) -> candle_core::Result<Launch> {
    let size = (out.height.div_ceil(2), out.width.div_ceil(2));
    input.expect("the input of a doubling", size, out.channels)?;
    if let Some(detail) = detail {
        detail.expect("what is added", out.size(), out.channels)?;
    }
    let launch = Launch::new("resample", "resample_double");
    let launch = launch.pixels((out.height, out.width * out.channels));
    Ok(launch
        .reads(input)
        .with(factor)
        .reading(RawRaster::from(detail))
        .raster(out))
}

/// As [`super::mean`].
///
/// # Errors
/// Sizes that do not fit.
pub fn mean(input: &DeviceRaster, out: &DeviceRaster) -> candle_core::Result<Launch> {
    out.expect("a mean over channels", input.size(), 1)?;
    let launch = Launch::new("resample", "resample_mean").pixels(input.size());
    Ok(launch.reads(input).raster(out))
}

/// Fills `out`, `[1, h, 1]`, with the sum of each row of `input`, `[h, w, 1]`.
///
/// # Errors
/// Sizes that do not fit.
pub fn row_sums(input: &DeviceRaster, out: &DeviceRaster) -> candle_core::Result<Launch> {
    input.expect("what is added up", input.size(), 1)?;
    out.expect("the sums of rows", (1, input.height), 1)?;
    let mut launch = Launch::new("resample", "resample_row_sums");
    (launch.grid, launch.block) = ([input.height as u32, 1, 1], [32, 1, 1]);
    Ok(launch.reads(input).raster(out))
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Tensor};

    use super::super as door;
    use super::*;
    use crate::kernels::cuda::emulation::{features, halves, input, on_device, output, run};
    use crate::kernels::testing::{Out, Random, SIZES, close, contexts, zeros};

    /// Rooms in which the plain version and the device's write.
    fn both(size: (usize, usize), channels: usize) -> [Out; 2] {
        [Out::new(size, channels), Out::new(size, channels)]
    }

    #[test]
    fn halves_are_the_same() {
        let mut random = Random(1);
        let (plain, _) = contexts();
        for (h, w) in SIZES {
            let size = (h.div_ceil(2), w.div_ceil(2));
            for channels in [1, 2, 5] {
                let values = random.tensor((h, w), channels, 1.0);
                let [want, got] = both(size, channels);
                door::half(&plain, &values, &want.tensor()).unwrap();
                let (from, to) = (input(&values), output(&got.tensor()));
                run([half(Features::F32(from), Features::F32(to)).unwrap()]);
                assert_eq!(got.values(), want.values(), "{h}x{w}");
            }
            let values = random.tensor((h, w), 1, 1.0);
            let [want, got] = both(size, 1);
            door::half_smooth(&plain, &values, &want.tensor()).unwrap();
            run([half_smooth(&input(&values), &output(&got.tensor())).unwrap()]);
            assert_eq!(got.values(), want.values(), "{h}x{w} smooth");
        }
    }

    /// Half a unit in the last place of a number of 16 bits below 1.
    const HALF: f32 = 2.5e-4;

    /// Whole eights of channels and others, aligned and not, beside channels that stay as they are.
    #[test]
    fn halves_of_sixteen_bits_are_rounded_once() {
        let mut random = Random(4);
        let (plain, _) = contexts();
        for (h, w) in SIZES {
            let size = (h.div_ceil(2), w.div_ceil(2));
            for (channels, gap) in [(8, 8), (24, 3), (1, 0), (13, 8), (29, 5)] {
                let [from, exact] = features(&mut random, (h, w), channels, gap);
                let [got, want] = halves(&random.dense(&[size.0, size.1, gap + channels], 1.0));
                let part = |t: &Tensor| t.narrow(2, gap, channels).unwrap();
                door::half(&plain, &exact, &part(&want)).unwrap();
                let to = Features::F16(output(&part(&got)));
                run([half(on_device(&from), to).unwrap()]);
                let values = |t: &Tensor| {
                    let t = t.to_dtype(DType::F32).unwrap();
                    t.flatten_all().unwrap().to_vec1::<f32>().unwrap()
                };
                let name = format!("{channels} behind {gap}, {h}x{w}");
                close(&name, &values(&got), &values(&want), HALF);
                assert!(half(on_device(&exact), to).is_err());
            }
        }
    }

    #[test]
    fn doubles_are_the_same() {
        let mut random = Random(2);
        let (plain, _) = contexts();
        for (h, w) in SIZES {
            let coarser = random.tensor((h, w), 3, 1.0);
            let size = (2 * h - h % 2, 2 * w - w % 2);
            let [want, got] = both(size, 3);
            door::double(&plain, &coarser, &want.tensor()).unwrap();
            run([double(&input(&coarser), 1.0, None, &output(&got.tensor())).unwrap()]);
            // the reference goes along rows first
            close("double", &got.values(), &want.values(), 1e-6);
            let size = (2 * h, 2 * w);
            let detail = random.tensor(size, 3, 1.0);
            for detail in [None, Some(&detail)] {
                let [want, got] = both(size, 3);
                door::double_and_add(&plain, &coarser, 2.0, detail, &want.tensor()).unwrap();
                let detail = detail.map(input);
                let out = output(&got.tensor());
                run([double(&input(&coarser), 2.0, detail.as_ref(), &out).unwrap()]);
                assert_eq!(got.values(), want.values(), "{h}x{w}");
            }
        }
    }

    #[test]
    fn means_and_sums_are_the_same() {
        let mut random = Random(3);
        let (plain, _) = contexts();
        for size in SIZES {
            let values = random.tensor(size, 4, 1.0);
            let [want, got] = both(size, 1);
            door::mean(&plain, &values, &want.tensor()).unwrap();
            run([mean(&input(&values), &output(&got.tensor())).unwrap()]);
            assert_eq!(got.values(), want.values(), "{size:?}");
            let values = random.tensor(size, 1, 1.0);
            let sums = zeros(&[1, size.0, 1]);
            run([row_sums(&input(&values), &output(&sums)).unwrap()]);
            let want: Vec<f32> = values.sum((1, 2)).unwrap().to_vec1().unwrap();
            let got: Vec<f32> = sums.flatten_all().unwrap().to_vec1().unwrap();
            close("sums of rows", &got, &want, 1e-5);
        }
    }
}
