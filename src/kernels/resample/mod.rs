//! Halving and doubling.

use candle_core::Tensor;

#[cfg(feature = "cuda")]
use super::cuda::Card;
#[cfg(feature = "cuda")]
use super::device::Queue;
use super::raster::{Raster, RasterMut, Source, write};
use super::{Context, CpuLevel};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod cpu;
#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) mod cuda;
mod reference;
mod rolling;
#[cfg(test)]
mod tests;

/// Fills `out`, `[ceil(h / 2), ceil(w / 2), c]`, with the means of 2x2 pixels of `input`,
/// `[h, w, c]`; an odd side repeats its edge. On a card both may be of `f16`.
///
/// # Errors
/// Sizes that do not fit.
pub fn half(context: &Context, input: &Tensor, out: &Tensor) -> candle_core::Result<()> {
    on_card!(context, |gpu| {
        let card = Queue::new(gpu);
        cuda::half(card.features(input)?, card.features(out)?)
    });
    let input = Source::lock(input);
    let input = input.raster()?;
    write("half", out, |mut out| {
        let size = (input.height.div_ceil(2), input.width.div_ceil(2));
        out.expect("the output of a halving", size, input.channels)?;
        match context.level() {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            super::CpuLevel::VECTORS => cpu::half(input, context, &mut out),
            _ => reference::half(input, context, &mut out),
        }
        Ok(())
    })
}

/// Fills `out`, `[ceil(h / 2), ceil(w / 2), 1]`, with means of 4x4 pixels of `input`, `[h, w, 1]`, the middle ones weighing three
/// times as much each way: a mean of 2x2 would let fine patterns come back as coarse ones. Beyond the edge the edge
/// repeats.
///
/// # Errors
/// Sizes that do not fit.
pub fn half_smooth(context: &Context, input: &Tensor, out: &Tensor) -> candle_core::Result<()> {
    let input = Source::lock(input);
    let input = input.raster()?;
    write("smooth half", out, |mut out| {
        let size = (input.height.div_ceil(2), input.width.div_ceil(2));
        input.expect("the input of a halving", input.size(), 1)?;
        out.expect("the output of a halving", size, 1)?;
        match context.level() {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            CpuLevel::VECTORS if input.pixel == 1 && out.pixel == 1 => {
                cpu::half_smooth(input, context, &mut out);
            }
            _ => reference::half_smooth(input, context, &mut out),
        }
        Ok(())
    })
}

/// The four inputs around output `i` of a halving, the edge repeated.
#[inline]
fn four(i: usize, size: usize) -> [usize; 4] {
    let (first, last) = (2 * i, size - 1);
    let at = |i: usize| i.min(last);
    [
        first.saturating_sub(1),
        at(first),
        at(first + 1),
        at(first + 2),
    ]
}

#[inline]
fn weighted(a: f32, b: f32, c: f32, d: f32) -> f32 {
    0.125 * (a + d) + 0.375 * (b + c)
}

/// Fills `out`, `[h, w, c]`, with `input`, `[ceil(h / 2), ceil(w / 2), c]`, enlarged bilinearly
/// with half-pixel centres; beyond the edge the edge repeats.
///
/// # Errors
/// Sizes that do not fit.
pub fn double(context: &Context, input: &Tensor, out: &Tensor) -> candle_core::Result<()> {
    double_and_add(context, input, 1.0, None, out)
}

/// Fills `out`, `[h, w, c]`, with `factor` times `coarser`, `[ceil(h / 2), ceil(w / 2), c]`, enlarged as by
/// [`double`], plus `detail`, of the same shape as `out`, if there is one.
///
/// # Errors
/// Sizes that do not fit.
pub fn double_and_add(
    context: &Context,
    coarser: &Tensor,
    factor: f32,
    detail: Option<&Tensor>,
    out: &Tensor,
) -> candle_core::Result<()> {
    on_card!(context, |gpu| {
        let detail = detail.map(|d| gpu.raster(d)).transpose()?;
        let (coarser, out) = (gpu.raster(coarser)?, gpu.raster(out)?);
        cuda::double(&coarser, factor, detail.as_ref(), &out)
    });
    let (coarser, detail) = (Source::lock(coarser), detail.map(Source::lock));
    let coarser = coarser.raster()?;
    let detail = detail.as_ref().map(Source::raster).transpose()?;
    write("double and add", out, |mut out| {
        check_double(&coarser, &out)?;
        if let Some(detail) = &detail {
            detail.expect("what is added", out.size(), out.channels)?;
        }
        let job = Doubling {
            coarser,
            factor,
            detail,
            pixel: out.pixel,
            channels: out.channels,
        };
        let row = match (context.level(), job.channels) {
            (CpuLevel::Reference, _) => reference::double,
            (_, 1) => rolling::double::<1>,
            (_, 2) => rolling::double::<2>,
            (_, 4) => rolling::double::<4>,
            _ => reference::double,
        };
        out.for_each_row(context, |y, values| row(&job, y, values));
        Ok(())
    })
}

/// What is doubled and added to.
struct Doubling<'a> {
    coarser: Raster<'a>,
    factor: f32,
    detail: Option<Raster<'a>>,
    /// From a pixel of the output to the next.
    pixel: usize,
    channels: usize,
}

/// Fills `out`, `[h, w, 1]`, with the mean over the channels of `input`, `[h, w, c]`.
///
/// # Errors
/// Sizes that do not fit.
pub fn mean(context: &Context, input: &Tensor, out: &Tensor) -> candle_core::Result<()> {
    on_card!(context, |gpu| cuda::mean(
        &gpu.raster(input)?,
        &gpu.raster(out)?
    ));
    let input = Source::lock(input);
    let input = input.raster()?;
    write("mean", out, |mut out| {
        out.expect("a mean over channels", input.size(), 1)?;
        match context.level() {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            CpuLevel::VECTORS if input.channels == 4 && out.pixel == 1 => {
                cpu::mean_of_four(input, context, &mut out);
            }
            _ => reference::mean(input, context, &mut out),
        }
        Ok(())
    })
}

/// Sizes of a doubling: `out` is `input` twice, or one less where that is odd.
fn check_double(input: &Raster, out: &RasterMut) -> candle_core::Result<()> {
    let size = (out.height.div_ceil(2), out.width.div_ceil(2));
    input.expect("the input of a doubling", size, out.channels)
}

/// The two inputs of an output at `i` of a doubling to at most `2 * size`; the first one weighs
/// 3/4, the second one 1/4.
#[inline]
pub(super) fn neighbours(i: usize, size: usize) -> (usize, usize) {
    let near = i / 2;
    let far = if i.is_multiple_of(2) {
        near.saturating_sub(1)
    } else {
        (near + 1).min(size - 1)
    };
    (near, far)
}

/// The cells along an axis that sample `i` lies between, and the share of the second, where a cell
/// has `scale` samples and both are centred ("half-pixel"); beyond the outermost centres the edge.
#[inline]
pub(super) fn between(i: usize, scale: usize, cells: usize) -> (usize, usize, f32) {
    let at = ((i as f32 + 0.5) / scale as f32 - 0.5).max(0.0);
    let first = (at as usize).min(cells - 1);
    (first, (first + 1).min(cells - 1), at - first as f32)
}
