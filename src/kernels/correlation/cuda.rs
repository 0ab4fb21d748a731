//! The launches of `cuda.cu`.

use candle_core::bail;

use super::{DISPLACEMENTS, MAX_CHANNELS};
use crate::kernels::cuda::{DeviceRaster, Features, Launch};

/// As [`super::correlate`], and with a `displacement`, `[h, w, 2]`, as [`super::expected`] of it at that sharpness. The sides are
/// both of 32 bits or both of 16.
///
/// # Errors
/// Sizes that do not fit.
pub fn correlate(
    [left, right]: [Features; 2],
    phase: &DeviceRaster,
    scores: &DeviceRaster,
    displacement: Option<(f32, &DeviceRaster)>,
) -> candle_core::Result<Launch> {
    let (size, channels) = (left.size(), left.channels);
    if channels > MAX_CHANNELS {
        bail!("{channels} channels to correlate, expected at most {MAX_CHANNELS}");
    }
    right.expect("the right side", size, channels)?;
    phase.expect("the phase", size, 1)?;
    scores.expect("the scores", size, DISPLACEMENTS)?;
    if let Some((_, out)) = displacement {
        out.expect("the expected displacement", size, 2)?;
    }
    let function = left.function(&[right], ["correlate_f32", "correlate_f16"])?;
    let launch = Launch::new("correlation", function);
    let launch = launch.tiles(size, [8, 8], [256, 1]);
    let launch = launch.reading(left.raw()).reading(right.raw()).reads(phase);
    let sharpness = displacement.map_or(0.0, |(sharpness, _)| sharpness);
    let launch = launch.with(sharpness).raster(scores);
    Ok(launch.optional(displacement.map(|(_, out)| out)))
}

/// As [`super::expected`].
///
/// # Errors
/// Sizes that do not fit.
pub fn expected(
    scores: &DeviceRaster,
    sharpness: f32,
    out: &DeviceRaster,
) -> candle_core::Result<Launch> {
    scores.expect("the scores", scores.size(), DISPLACEMENTS)?;
    out.expect("the expected displacement", scores.size(), 2)?;
    let launch = Launch::new("correlation", "expected");
    let launch = launch.tiles(scores.size(), [64, 1], [256, 1]);
    Ok(launch.reads(scores).with(sharpness).raster(out))
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::super as door;
    use super::*;
    use crate::kernels::cuda::emulation::{halves, input, output, run};
    use crate::kernels::testing::{Out, Random, SIZES, close, contexts};

    /// Sums of up to 40 products of values below 1.
    const SCORE_TOLERANCE: f32 = 5e-6;
    /// A mean of offsets up to 2 whose weights are exact to a few units in the last place; a score's
    /// rounding counts `sharpness` times.
    const EXPECTED_TOLERANCE: f32 = 2e-5;

    const SHARPNESS: f32 = 8.0;

    fn check(name: &str, sides: [&Tensor; 2], phase: &Tensor) {
        let (h, w, _) = sides[0].dims3().unwrap();
        let (plain, _) = contexts();
        let [want, got] = [0, 1].map(|_| Out::new((h, w), DISPLACEMENTS));
        let [mean, mean_got] = [0, 1].map(|_| Out::new((h, w), 2));
        door::correlate(&plain, sides[0], sides[1], phase, &want.tensor()).unwrap();
        door::expected(&plain, &want.tensor(), SHARPNESS, &mean.tensor()).unwrap();
        let [left, right] = sides.map(input);
        let (scores, displacement) = (output(&got.tensor()), output(&mean_got.tensor()));
        let sides = [left, right].map(Features::F32);
        let displacement = Some((SHARPNESS, &displacement));
        run([correlate(sides, &input(phase), &scores, displacement).unwrap()]);
        close(name, &got.values(), &want.values(), SCORE_TOLERANCE);
        close(name, &mean_got.values(), &mean.values(), EXPECTED_TOLERANCE);
    }

    #[test]
    fn scores_and_what_they_expect_agree() {
        let mut random = Random(1);
        for channels in [1, 8, 16, 24, 13, 29, 40] {
            for size in [&SIZES[..], &[(3, 67)]].concat() {
                let sides = [0; 2].map(|_| random.tensor(size, channels, 1.0));
                let phases = (0..size.0 * size.1).map(|_| random.value().abs());
                let phases = phases.collect::<Vec<_>>();
                let phase = Tensor::from_vec(phases, (size.0, size.1, 1), &Device::Cpu).unwrap();
                let name = format!("{channels} channels, {size:?}");
                check(&name, sides.each_ref(), &phase);
            }
        }
    }

    #[test]
    fn phases_that_are_none_stay_inside() {
        let mut random = Random(2);
        let sides = [0; 2].map(|_| random.tensor((8, 9), 16, 1.0));
        for wild in [f32::NAN, f32::INFINITY, -3.0, 7.0] {
            let phase = Tensor::full(wild, (8, 9, 1), &Device::Cpu).unwrap();
            check("wild phase", sides.each_ref(), &phase);
        }
    }

    #[test]
    fn expectations_agree_sharp_and_flat() {
        let mut random = Random(3);
        let (plain, _) = contexts();
        for size in SIZES {
            for sharpness in [0.0, 12.0, 300.0, -12.0] {
                let scores = random.tensor(size, DISPLACEMENTS, 1.0);
                let [want, got] = [0, 1].map(|_| Out::new(size, 2));
                door::expected(&plain, &scores, sharpness, &want.tensor()).unwrap();
                run([expected(&input(&scores), sharpness, &output(&got.tensor())).unwrap()]);
                let name = format!("{size:?}, sharpness {sharpness}");
                close(&name, &got.values(), &want.values(), EXPECTED_TOLERANCE);
            }
        }
    }

    #[test]
    fn features_of_sixteen_bits_are_read_as_they_are() {
        let mut random = Random(4);
        let size = (9, 24);
        let (plain, _) = contexts();
        let [a, b] = [0; 2].map(|_| halves(&random.dense(&[size.0, size.1, 24], 1.0)));
        let phase = Tensor::full(0.3f32, (size.0, size.1, 1), &Device::Cpu).unwrap();
        let [want, got] = [0, 1].map(|_| Out::new(size, DISPLACEMENTS));
        door::correlate(&plain, &a[1], &b[1], &phase, &want.tensor()).unwrap();
        let sides = [&a[0], &b[0]].map(|side| Features::F16(input(side)));
        run([correlate(sides, &input(&phase), &output(&got.tensor()), None).unwrap()]);
        close("f16", &got.values(), &want.values(), SCORE_TOLERANCE);
    }
}
