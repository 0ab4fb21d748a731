//! The launches of `cuda.cu`.

use candle_core::bail;

use crate::kernels::cuda::{DeviceRaster, Features, Launch};

/// Most channels that the kernel has room for.
pub const MAX_CHANNELS: usize = 64;

/// As [`super::warp_normalised`]; without an `epsilon` as [`super::warp`]. Features and `out` are both of 32 bits or both of 16.
///
/// # Errors
/// Sizes that do not fit.
pub fn warp(
    features: Features,
    flow: &DeviceRaster,
    epsilon: Option<f32>,
    out: Features,
) -> candle_core::Result<Launch> {
    let (size, channels) = (features.size(), features.channels);
    if channels > MAX_CHANNELS {
        bail!("{channels} channels to warp, expected at most {MAX_CHANNELS}");
    }
    flow.expect("the flow of a warp", size, 2)?;
    out.expect("the output of a warp", size, channels)?;
    let function = features.function(&[out], ["warp_f32", "warp_f16"])?;
    let launch = Launch::new("warp", function);
    let launch = launch.tiles((size.0, 8 * size.1), [128, 2], [128, 2]);
    let launch = launch.reading(features.raw()).reads(flow);
    Ok(launch.with(epsilon.unwrap_or(-1.0)).with(out.raw()))
}

/// Channels that a thread warps together.
const EIGHT: usize = 8;

/// As [`super::warp`], of any number of channels. Of features of 32 bits `out` may have 16.
///
/// # Errors
/// Sizes that do not fit.
pub fn warp_wide(
    features: Features,
    flow: &DeviceRaster,
    out: Features,
) -> candle_core::Result<Launch> {
    let (size, channels) = (features.size(), features.channels);
    flow.expect("the flow of a warp", size, 2)?;
    out.expect("the output of a warp", size, channels)?;
    let in_eights =
        channels.is_multiple_of(EIGHT) && [features, out].iter().all(|f| f.is_aligned(EIGHT));
    let (function, each) = match (&features, &out) {
        (Features::F32(_), Features::F16(_)) => ("warp_wide_rounded", 1),
        (Features::F16(_), Features::F16(_)) if in_eights => ("warp_eights", EIGHT),
        _ => (
            features.function(&[out], ["warp_wide", "warp_wide_half"])?,
            1,
        ),
    };
    let launch = Launch::new("warp", function).pixels((size.0, size.1 * channels / each));
    Ok(launch.reading(features.raw()).reads(flow).with(out.raw()))
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Tensor};

    use super::super as door;
    use super::*;
    use crate::kernels::cuda::emulation::{features, halves, input, on_device, output, run};
    use crate::kernels::testing::{Out, Random, SIZES, close, contexts, zeros};

    const EPSILON: f32 = 1e-2;
    /// A blend of four values below 1, divided by a norm of at least 0.1 that is summed in another order.
    const TOLERANCE: f32 = 1e-5;
    /// Half a unit in the last place of an output in f16.
    const HALF: f32 = 5e-4;

    fn values(tensor: &Tensor) -> Vec<f32> {
        let tensor = tensor.to_dtype(DType::F32).unwrap();
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn check(features: &Tensor, flow: &Tensor, epsilon: Option<f32>) {
        let (h, w, channels) = features.dims3().unwrap();
        let (plain, _) = contexts();
        let [want, got] = [0, 1].map(|_| Out::new((h, w), channels));
        match epsilon {
            Some(e) => door::warp_normalised(&plain, features, flow, e, &want.tensor()),
            None => door::warp(&plain, features, flow, &want.tensor()),
        }
        .unwrap();
        let (from, to) = (input(features), output(&got.tensor()));
        let (from, to) = (Features::F32(from), Features::F32(to));
        run([warp(from, &input(flow), epsilon, to).unwrap()]);
        close("warp", &got.values(), &want.values(), TOLERANCE);
        if epsilon.is_some() {
            return;
        }
        let got = Out::new((h, w), channels);
        let (from, to) = (input(features), output(&got.tensor()));
        let (from, to) = (Features::F32(from), Features::F32(to));
        run([warp_wide(from, &input(flow), to).unwrap()]);
        assert_eq!(got.values(), want.values());
    }

    #[test]
    fn warps_agree_near_and_far_outside() {
        let mut random = Random(1);
        for channels in [1, 8, 16, 24, 13, 29, 64] {
            for size in SIZES {
                for reach in [0.7, 5.0, 1e6] {
                    let features = random.tensor(size, channels, 1.0);
                    let flow = random.tensor(size, 2, reach);
                    check(&features, &flow, Some(EPSILON));
                    check(&features, &flow, None);
                }
            }
        }
    }

    /// Whole eights of channels and others, aligned and not, beside channels that stay as they are.
    #[test]
    fn what_has_sixteen_bits_behind_a_warp_is_rounded_once() {
        let mut random = Random(4);
        let (plain, _) = contexts();
        for (channels, gap, together) in [
            (8, 8, true),
            (24, 16, true),
            (16, 3, false),
            (13, 8, false),
            (3, 0, false),
        ] {
            for (size, reach) in SIZES.into_iter().zip([0.7, 5.0, 1e6].into_iter().cycle()) {
                let flow = random.tensor(size, 2, reach);
                let from = features(&mut random, size, channels, gap);
                let room = halves(&random.dense(&[size.0, size.1, gap + channels], 1.0));
                let want = room[1].narrow(2, gap, channels).unwrap();
                door::warp(&plain, &from[1], &flow, &want).unwrap();
                for from in &from {
                    let got = room[0].copy().unwrap();
                    let to = Features::F16(output(&got.narrow(2, gap, channels).unwrap()));
                    let launch = warp_wide(on_device(from), &input(&flow), to).unwrap();
                    let is_half = from.dtype() == DType::F16;
                    assert_eq!(launch.function == "warp_eights", together && is_half);
                    run([launch]);
                    close(
                        &format!("{channels} behind {gap}, {size:?}"),
                        &values(&got),
                        &values(&room[1]),
                        HALF,
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_not_a_number_reads_inside() {
        let features = Random(2).tensor((4, 5), 8, 1.0);
        for wild in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            let flow = Tensor::full(wild, (4, 5, 2), features.device()).unwrap();
            check(&features, &flow, Some(EPSILON));
        }
    }

    #[test]
    fn features_of_sixteen_bits_are_rounded_once() {
        let mut random = Random(3);
        let (plain, _) = contexts();
        let flow = random.tensor((9, 24), 2, 3.0);
        let [features, rounded] = halves(&random.dense(&[9, 24, 16], 1.0));
        let want = zeros(&[9, 24, 16]);
        door::warp_normalised(&plain, &rounded, &flow, EPSILON, &want).unwrap();
        let [out, _] = halves(&zeros(&[9, 24, 16]));
        let (from, to) = (Features::F16(input(&features)), Features::F16(output(&out)));
        run([warp(from, &input(&flow), Some(EPSILON), to).unwrap()]);
        close("f16", &values(&out), &values(&want), HALF);
        door::warp(&plain, &rounded, &flow, &want).unwrap();
        run([warp_wide(from, &input(&flow), to).unwrap()]);
        close("f16, wide", &values(&out), &values(&want), HALF);
        let whole = output(&zeros(&[9, 24, 16]));
        assert!(warp(from, &input(&flow), None, Features::F32(whole)).is_err());
        assert!(warp_wide(from, &input(&flow), Features::F32(whole)).is_err());
    }
}
