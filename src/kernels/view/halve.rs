//! The view of a picture at half its size, from that of the picture.

use candle_core::{Result, Tensor};

use super::{CHANNELS, LUMA};
use crate::kernels::raster::{Source, write};
use crate::kernels::{Context, resample};

/// Values of the two cells, side by side, that make a row of pixels of a smaller one.
const PAIR: usize = 2 * CHANNELS;

/// Fills `out`, `[h, w, 6]`, from `view`, `[2 h, 2 w, 6]`, without gaps: the mean of 2x2 pixels is a pixel.
///
/// # Errors
/// Sizes that do not fit, or gaps.
pub fn halve(context: &Context, view: &Tensor, out: &Tensor) -> Result<()> {
    if context.gpu().is_some() {
        return by_planes(context, view, out);
    }
    let source = Source::lock(view);
    let view = source.raster()?;
    write("half view", out, |mut out| {
        view.expect("a view", (2 * out.height, 2 * out.width), CHANNELS)?;
        if (view.pixel, out.pixel) != (CHANNELS, CHANNELS) {
            candle_core::bail!("a view with gaps between its cells");
        }
        out.for_each_row(context, |y, row| {
            halve_rows([view.row(2 * y), view.row(2 * y + 1)], row);
        });
        Ok(())
    })
}

/// Makes a row of cells of two rows of them.
pub(super) fn halve_rows([upper, lower]: [&[f32]; 2], out: &mut [f32]) {
    let (upper, lower) = (upper.as_chunks::<PAIR>().0, lower.as_chunks().0);
    let pairs = upper.iter().zip(lower);
    for (cell, (upper, lower)) in out.as_chunks_mut().0.iter_mut().zip(pairs) {
        *cell = smaller(upper, lower);
    }
}

/// The cell of four.
#[inline]
fn smaller(upper: &[f32; PAIR], lower: &[f32; PAIR]) -> [f32; CHANNELS] {
    let luma = |pair: &[f32; PAIR], at: usize| {
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| pair[at + i]);
        0.25 * ((a + b) + (c + d))
    };
    let chroma =
        |c: usize| 0.25 * ((upper[c] + upper[CHANNELS + c]) + (lower[c] + lower[CHANNELS + c]));
    [
        luma(upper, 0),
        luma(upper, CHANNELS),
        luma(lower, 0),
        luma(lower, CHANNELS),
        chroma(LUMA),
        chroma(LUMA + 1),
    ]
}

/// The same in passes over planes, which cards have kernels for.
fn by_planes(context: &Context, view: &Tensor, out: &Tensor) -> Result<()> {
    let (h, w, _) = out.dims3()?;
    let blocks = view.reshape((h, 2, w, PAIR))?;
    for (y, x) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let row = blocks.narrow(1, y, 1)?.squeeze(1)?;
        let luma = row.narrow(2, x * CHANNELS, LUMA)?;
        resample::mean(context, &luma, &out.narrow(2, 2 * y + x, 1)?)?;
    }
    let chroma = |t: &Tensor| t.narrow(2, LUMA, CHANNELS - LUMA);
    resample::half(context, &chroma(view)?, &chroma(out)?)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn one_pass_and_passes_over_planes_are_means_of_2x2_pixels() {
        for (threads, (h, w)) in [
            (1, (2, 2)),
            (3, (6, 10)),
            (1, (1, 1)),
            (2, (18, 52)),
            (2, (128, 260)),
        ] {
            let context = Context::new(threads).unwrap();
            let view = Tensor::rand(-0.5f32, 0.5, (2 * h, 2 * w, CHANNELS), &Device::Cpu).unwrap();
            let room = || Tensor::zeros((h, w, CHANNELS), DType::F32, &Device::Cpu).unwrap();
            let (out, planes) = (room(), room());
            halve(&context, &view, &out).unwrap();
            by_planes(&context, &view, &planes).unwrap();
            let view = values(&view);
            let at = |y: usize, x: usize, c: usize| view[(y * 2 * w + x) * CHANNELS + c];
            for (i, (found, by_planes)) in values(&out).iter().zip(values(&planes)).enumerate() {
                let (y, x) = (i / CHANNELS / w, i / CHANNELS % w);
                let wanted: f32 = match i % CHANNELS {
                    c @ 0..LUMA => (0..4).map(|k| at(2 * y + c / 2, 2 * x + c % 2, k)).sum(),
                    c => (0..4).map(|k| at(2 * y + k / 2, 2 * x + k % 2, c)).sum(),
                };
                assert!((found - wanted / 4.0).abs() < 1e-6, "{h}x{w}, value {i}");
                assert!((found - by_planes).abs() < 1e-6, "{h}x{w}, value {i}");
            }
        }
    }

    #[test]
    fn views_that_do_not_fit_are_refused() {
        let context = Context::new(1).unwrap();
        let zeros = |shape| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let out = zeros((2, 3, CHANNELS));
        assert!(halve(&context, &zeros((4, 5, CHANNELS)), &out).is_err());
        let gaps = zeros((4, 6, CHANNELS + 1)).narrow(2, 0, CHANNELS).unwrap();
        assert!(halve(&context, &gaps, &out).is_err());
    }
}
