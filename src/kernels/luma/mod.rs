//! Luma in bytes: what two pictures are compared by, sample for sample.
//!
//! Eight bits tell enough of what belongs together, and sixteen of them are moved at a time. Codes are 0 to 255 whatever
//! the depth of the picture. A picture is seen in cells of [`SAMPLES`] samples each way, and moved by a flow of the cells.

use candle_core::{DType, Device, Tensor};

use super::Context;
use super::raster::{Raster, Source, write, write_of};

#[cfg(target_arch = "x86_64")]
mod cpu;
#[cfg(target_arch = "x86_64")]
pub(super) use cpu::{CELLS, cells_of_bytes, cells_of_words, compare, samples};
#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) mod cuda;
mod reference;
pub(super) use reference::difference;
#[cfg(test)]
mod tests;

/// Samples of luma that a cell is wide and high.
pub const SAMPLES: usize = 4;
/// Samples by which warped luma repeats its edge on all sides.
pub const BORDER: usize = 2;
/// Samples that vectors may read and write beyond a warped row and its border.
const SLACK: usize = 64;
/// Steps of warped luma to a code.
pub const STEPS: f32 = 16.0;
/// The largest code.
pub const MAX: f32 = 255.0;
/// Shares of the right one of two neighbouring samples, and of the lower one, are whole numbers of these.
const ACROSS: f32 = 128.0;
const DOWN: f32 = 32768.0;

/// Room for the luma of `height` x `width` samples: `[height, width, 1]` of bytes.
///
/// # Errors
/// Those of the allocation.
pub fn room((height, width): (usize, usize)) -> candle_core::Result<Tensor> {
    Tensor::zeros((height, width, 1), DType::U8, &Device::Cpu)
}

/// Room for the warped luma of `height` x `width` cells, see [`warp`].
///
/// # Errors
/// Those of the allocation.
pub fn warped_room((height, width): (usize, usize)) -> candle_core::Result<Tensor> {
    let (height, width) = padded(height, width);
    Tensor::zeros((height, width, 1), DType::I16, &Device::Cpu)
}

/// Height and width of the warped samples of `h` x `w` cells.
pub fn padded(h: usize, w: usize) -> (usize, usize) {
    let samples = |cells: usize| SAMPLES * cells + 2 * BORDER;
    (samples(h), samples(w) + SLACK)
}

/// Fills `whole`, `[2 h, 2 w, 1]` of bytes, with the luma of a picture, and `half`, `[h, w, 1]` of bytes, with its means of
/// 2x2, both rounded, halves upwards, from `[h, w, 4]`: the 2x2 pixels, row by row, -0.5 to 0.5.
///
/// # Errors
/// Sizes that do not fit.
pub fn gather(
    context: &Context,
    luma: &Tensor,
    whole: &Tensor,
    half: &Tensor,
) -> candle_core::Result<()> {
    let luma = Source::lock(luma);
    let luma = luma.raster()?;
    luma.expect("the luma of pixels", luma.size(), 4)?;
    write_of::<u8>("luma", whole, |mut out| {
        out.expect("luma", (2 * luma.height, 2 * luma.width), 1)?;
        match context.level() {
            #[cfg(target_arch = "x86_64")]
            super::CpuLevel::Avx2 if out.pixel == 1 => cpu::spread(&luma, context, &mut out),
            _ => reference::spread(&luma, context, &mut out),
        }
        Ok(())
    })?;
    let whole = Source::lock(whole);
    let whole = whole.raster_of::<u8>()?;
    write_of::<u8>("half luma", half, |mut out| {
        out.expect("half luma", luma.size(), 1)?;
        let pixel = out.pixel;
        out.for_each_row(context, |y, row| {
            let (upper, lower) = (whole.row(2 * y), whole.row(2 * y + 1));
            let fours = upper
                .as_chunks::<2>()
                .0
                .iter()
                .zip(lower.as_chunks::<2>().0);
            for (value, ([a, b], [c, d])) in row.iter_mut().step_by(pixel).zip(fours) {
                let sum = u16::from(*a) + u16::from(*b) + u16::from(*c) + u16::from(*d);
                *value = ((sum + 2) / 4) as u8;
            }
        });
        Ok(())
    })
}

/// Fills `out`, the [`warped_room`] of h x w cells, with `luma`, bytes of at most 4h x 4w samples and more than
/// 4(h - 1) x 4(w - 1), moved by `flow`, `[h, w, 2]` (x, y), `scale` times of which are samples, enlarged bilinearly.
///
/// A value has [`STEPS`] steps to a code, and 0 is code 128. Where samples come from is rounded to 1/128 of a sample
/// across.
///
/// # Errors
/// Sizes that do not fit.
pub fn warp(
    context: &Context,
    luma: &Tensor,
    flow: &Tensor,
    scale: f32,
    out: &Tensor,
) -> candle_core::Result<()> {
    let (luma, flow) = (Source::lock(luma), Source::lock(flow));
    let job = Warp {
        luma: luma.raster_of()?,
        flow: flow.raster()?,
        scale,
    };
    write_of::<i16>("warp luma", out, |mut out| {
        let (h, w) = job.flow.size();
        let luma = job.luma.size();
        let cells = (luma.0.div_ceil(SAMPLES), luma.1.div_ceil(SAMPLES));
        job.luma.expect("luma", luma, 1)?;
        job.flow.expect("the flow of luma", cells, 2)?;
        out.expect("warped luma", padded(h, w), 1)?;
        match context.level() {
            #[cfg(target_arch = "x86_64")]
            super::CpuLevel::Avx2 if cpu::can(&job) => cpu::warp(&job, context, &mut out),
            _ => reference::warp(&job, context, &mut out),
        }
        Ok(())
    })
}

struct Warp<'a> {
    luma: Raster<'a, u8>,
    flow: Raster<'a>,
    scale: f32,
}

/// Fills `out`, `[h, w, 1]`, with the mean absolute difference in each cell of two sides that [`warp`] has made, of luma of
/// range 1.
///
/// # Errors
/// Sizes that do not fit.
pub fn differences(
    context: &Context,
    sides: [&Tensor; 2],
    out: &Tensor,
) -> candle_core::Result<()> {
    let [left, right] = sides.map(Source::lock);
    let sides = Sides {
        left: left.raster_of()?,
        right: right.raster_of()?,
    };
    write("difference of cells", out, |mut out| {
        let (h, w) = out.size();
        out.expect("the difference of cells", (h, w), 1)?;
        sides.expect(h, w)?;
        match context.level() {
            #[cfg(target_arch = "x86_64")]
            super::CpuLevel::Avx2 => cpu::differences(&sides, context, &mut out),
            _ => reference::differences(&sides, context, &mut out),
        }
        Ok(())
    })
}

/// What [`warp`] has made of both pictures.
pub struct Sides<'a> {
    pub left: Raster<'a, i16>,
    pub right: Raster<'a, i16>,
}

impl Sides<'_> {
    /// An error unless both are of `h` x `w` cells.
    pub fn expect(&self, h: usize, w: usize) -> candle_core::Result<()> {
        self.left.expect("the warped left side", padded(h, w), 1)?;
        self.right.expect("the warped right side", padded(h, w), 1)
    }
}

/// A sum of the steps of a cell's samples as a mean of luma of range 1.
#[inline]
pub fn mean_of_cell(sum: u32) -> f32 {
    sum as f32 * (1.0 / ((SAMPLES * SAMPLES) as f32 * STEPS * MAX))
}
