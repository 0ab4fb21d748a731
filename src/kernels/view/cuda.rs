//! The launch of `cuda.cu`.

use super::{CHANNELS, size};
use crate::kernels::cuda::picture::DevicePicture;
use crate::kernels::cuda::{DeviceRaster, Launch};

/// What one pass over a picture fills; what is `None` is left out.
pub struct Views<'a> {
    /// As [`super::view`] does.
    pub view: &'a DeviceRaster,
    /// Both as [`crate::kernels::luma::gather`] does from the view's luma.
    pub bytes: Option<[&'a DeviceRaster<u8>; 2]>,
    /// `[height, width, 1]` of the view: the mean of each cell's luma.
    pub luma: Option<&'a DeviceRaster>,
}

/// Fills the views of a picture.
///
/// # Errors
/// Sizes that do not fit, samples of 16 bits at odd addresses.
pub fn view(picture: &DevicePicture, out: &Views) -> candle_core::Result<Launch> {
    let (h, w) = size(picture.height, picture.width);
    out.view.expect("view", (h, w), CHANNELS)?;
    let [whole, half] = out.bytes.map_or([None; 2], |bytes| bytes.map(Some));
    if let (Some(whole), Some(half)) = (whole, half) {
        whole.expect("luma", (2 * h, 2 * w), 1)?;
        half.expect("luma by fours", (h, w), 1)?;
    }
    if let Some(luma) = out.luma {
        luma.expect("the mean luma", (h, w), 1)?;
    }
    let kind = match picture.format {
        format if format.components().len() < 3 => 0,
        format if format.is_rgb() => 2,
        _ => 1,
    };
    Ok(Launch::new("view", "view")
        .pixels((h, w))
        .with(picture.raw()?)
        .with(kind)
        .raster(out.view)
        .optional(whole)
        .optional(half)
        .optional(out.luma))
}

/// Fills `out`, `[ceil(h / side), ceil(w / side), 3]`, with the mean luma, U and V of `side` x `side` cells, as many as are there,
/// of the part of a view that is the picture's, `[h, w, 6]`: what [`crate::scene::Thumbnail`] is made of.
///
/// # Errors
/// Sizes that do not fit.
pub fn thumbnail(
    view: &DeviceRaster,
    side: usize,
    out: &DeviceRaster,
) -> candle_core::Result<Launch> {
    view.expect("a view", view.size(), CHANNELS)?;
    let size = (view.height.div_ceil(side), view.width.div_ceil(side));
    out.expect("a thumbnail", size, 3)?;
    let launch = Launch::new("view", "view_thumbnail");
    let launch = launch.tiles((size.0, 32 * size.1), [32, 4], [32, 4]);
    Ok(launch.raster(view).with(side as i32).raster(out))
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::*;
    use crate::kernels::cuda::emulation::{input, output, run};
    use crate::kernels::cuda::picture::testing::Planes;
    use crate::kernels::testing::{Out, Random, SIZES, close, zeros};
    use crate::kernels::{Context, CpuLevel, luma, resample};
    use crate::picture::Format;
    use crate::picture::owned::{Noise, Owned};

    fn same(what: &str, got: &Tensor, want: &Tensor) {
        let values = |t: &Tensor| {
            let t = t.to_dtype(DType::F32).unwrap();
            t.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let (got, want) = (values(got), values(want));
        for (i, (got, want)) in got.iter().zip(&want).enumerate() {
            assert_eq!(got, want, "{what}: value {i}");
        }
    }

    #[test]
    fn one_pass_gives_the_bits_of_three() {
        let context = Context::with_level(1, CpuLevel::Reference).unwrap();
        for format in Format::ALL {
            for size in [(1, 1), (3, 2), (16, 8), (17, 3), (41, 9), (135, 31)] {
                let picture = Owned::new(format, size, 3).noise(&mut Noise::new(9));
                let planes = Planes::of(&picture.picture());
                let (h, w) = super::size(size.1 as usize, size.0 as usize);
                let rooms = || {
                    let (whole, half) = (luma::room((2 * h, 2 * w)), luma::room((h, w)));
                    let (view, mean) = (zeros(&[h, w, CHANNELS]), zeros(&[h, w, 1]));
                    (view, whole.unwrap(), half.unwrap(), mean)
                };
                let (want, got) = (rooms(), rooms());
                super::super::view(&context, &picture.picture(), &want.0).unwrap();
                let pixels = want.0.narrow(2, 0, 4).unwrap();
                luma::gather(&context, &pixels, &want.1, &want.2).unwrap();
                resample::mean(&context, &pixels, &want.3).unwrap();
                let out = Views {
                    view: &output(&got.0),
                    bytes: Some([&output(&got.1), &output(&got.2)]),
                    luma: Some(&output(&got.3)),
                };
                run([view(&planes.device(), &out).unwrap()]);
                let what = format!("{format:?} {size:?}");
                same(&what, &got.0, &want.0);
                same(&format!("{what} bytes"), &got.1, &want.1);
                same(&format!("{what} fours"), &got.2, &want.2);
                same(&format!("{what} mean"), &got.3, &want.3);
            }
        }
    }

    /// Sums of up to 49 values below 1.
    const TOLERANCE: f32 = 1e-6;

    #[test]
    fn thumbnails_are_means() {
        let mut random = Random(1);
        for (h, w) in SIZES {
            for side in [1, 3, 7] {
                let view = random.tensor((h, w), CHANNELS, 0.5);
                let size = (h.div_ceil(side), w.div_ceil(side));
                let out = Out::new(size, 3);
                run([thumbnail(&input(&view), side, &output(&out.tensor())).unwrap()]);
                let mut want = Vec::new();
                for (y, x) in (0..size.0).flat_map(|y| (0..size.1).map(move |x| (y, x))) {
                    let span = |at: usize, size: usize| (side * at, side.min(size - side * at));
                    let ((top, tall), (left, wide)) = (span(y, h), span(x, w));
                    let part = view.narrow(0, top, tall).unwrap();
                    let part = part.narrow(1, left, wide).unwrap();
                    let mean: Vec<f32> = part.mean((0, 1)).unwrap().to_vec1().unwrap();
                    want.extend([mean[..4].iter().sum::<f32>() / 4.0, mean[4], mean[5]]);
                }
                close("thumbnail", &out.values(), &want, TOLERANCE);
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let picture = Owned::new(Format::P010, (8, 8), 0);
        let planes = Planes::of(&picture.picture());
        let out = Tensor::zeros((4, 8, CHANNELS), DType::F32, &Device::Cpu).unwrap();
        let views = |view| Views {
            view,
            bytes: None,
            luma: None,
        };
        let wide = output(&out);
        assert!(view(&planes.device(), &views(&wide)).is_err());
        let fits = output(&out.narrow(1, 0, 4).unwrap());
        assert!(view(&planes.device(), &views(&fits)).is_ok());
        let mut odd = planes.device();
        odd.planes[1].0 += 1;
        assert!(view(&odd, &views(&fits)).is_err());
    }
}
