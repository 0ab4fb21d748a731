//! How well the luma of both sides agrees around a flow, at steps of a quarter of a cell.
//!
//! Features tell by cells; what is finer, texture above all, is lost in them. So both sides' luma,
//! of [`SAMPLES`] samples a cell each way, is warped by the flow, and for every displacement d of at
//! most [`RADIUS`] samples (row-major, y, then x; split between the sides as in [`super::correlation`])
//! the absolute differences are averaged over 3x3 cells; beyond the edge the edge repeats.
//!
//! A cell's answer has [`CHANNELS`] values: for each displacement one minus its difference relative
//! to the mean over all displacements; the mean displacement (x, y) under the softmax of
//! these, in cells; and that mean difference, times [`CONTRAST`].

use candle_core::{DType, Device, Tensor};

use super::Context;
use super::correlation::displacements;
use super::raster::{Raster, RasterMut, Source, write};

#[cfg(target_arch = "x86_64")]
mod cpu;
mod reference;
#[cfg(test)]
mod tests;

/// Samples of luma that a cell is wide and high.
pub const SAMPLES: usize = 4;
/// Largest displacement that is compared, in samples.
pub const RADIUS: usize = 2;
/// Displacements that are compared.
pub const SCORES: usize = displacements(RADIUS);
/// Values of a cell's summary: the displacement, and the contrast.
pub const SUMMARY: usize = 3;
/// Values of a cell's answer.
pub const CHANNELS: usize = SCORES + SUMMARY;
/// Mean difference of luma (of range 1) below which there is more noise than texture.
const NOISE: f32 = 0.01;
/// Brings the mean difference to the range of the network's other inputs.
pub(super) const CONTRAST: f32 = 8.0;
/// Floats that vectors may read beyond a row of warped samples.
const SLACK: usize = 8;

/// What lies between the steps; for one size of cells.
#[derive(Debug)]
pub struct Space {
    /// Both sides' luma, warped, with a border of [`RADIUS`] samples.
    warped: [Tensor; 2],
    /// Mean difference in each cell, `[h, w, SCORES]`.
    differences: Tensor,
}

impl Space {
    /// For `height` x `width` cells.
    ///
    /// # Errors
    /// Those of the allocation.
    pub fn new((height, width): (usize, usize)) -> candle_core::Result<Self> {
        let zeros = |shape| Tensor::zeros(shape, DType::F32, &Device::Cpu);
        let samples = |cells: usize| SAMPLES * cells + 2 * RADIUS;
        let warped = || zeros((samples(height), samples(width) + SLACK, 1));
        Ok(Self {
            warped: [warped()?, warped()?],
            differences: zeros((height, width, SCORES))?,
        })
    }
}

/// Fills `out`, `[h, w, CHANNELS]`, from the `luma` of both sides, each of at most 4h x 4w samples
/// and more than 4(h - 1) x 4(w - 1), the `flow` in cells, `[h, w, 4]`, and the phase of each cell,
/// `[h, w, 1]`.
///
/// # Errors
/// Sizes that do not fit.
pub fn agree(
    context: &Context,
    luma: [&Tensor; 2],
    flow: &Tensor,
    phase: &Tensor,
    sharpness: f32,
    space: &Space,
    out: &Tensor,
) -> candle_core::Result<()> {
    warp_both(context, luma, flow, space)?;
    differ(context, space, phase)?;
    conclude(context, &space.differences, sharpness, out)
}

/// Fills `out`, `[h, w, 1]`, from what [`agree`] answered, `[h, w, CHANNELS]`: the mean absolute
/// difference of both sides along the flow itself, of luma of range 1, in 3x3 cells.
///
/// # Errors
/// Sizes that do not fit.
pub fn difference(context: &Context, answer: &Tensor, out: &Tensor) -> candle_core::Result<()> {
    let answer = Source::lock(answer);
    let answer = answer.raster()?;
    answer.expect("the agreement", answer.size(), CHANNELS)?;
    write("difference", out, |mut out| {
        out.expect("the difference", answer.size(), 1)?;
        let pixel = out.pixel;
        out.for_each_row(context, |y, row| {
            for (x, value) in row.iter_mut().step_by(pixel).enumerate() {
                let cell = answer.at(y, x);
                let mean = cell[CHANNELS - 1] / CONTRAST;
                // no displacement lies in the middle of the scores
                *value = (1.0 - cell[SCORES / 2]) * (mean + NOISE);
            }
        });
        Ok(())
    })
}

/// The `luma` of both sides, warped by a `flow` in cells, `[h, w, 4]`, as in [`agree`]: views of the space, 4h x 4w
/// samples each, until it is used again.
///
/// # Errors
/// Sizes that do not fit.
pub(super) fn warped(
    context: &Context,
    luma: [&Tensor; 2],
    flow: &Tensor,
    space: &Space,
) -> candle_core::Result<[Tensor; 2]> {
    warp_both(context, luma, flow, space)?;
    let (h, w, _) = flow.dims3()?;
    let inner = |side: &Tensor| {
        let rows = side.narrow(0, RADIUS, SAMPLES * h)?;
        rows.narrow(1, RADIUS, SAMPLES * w)
    };
    Ok([inner(&space.warped[0])?, inner(&space.warped[1])?])
}

fn warp_both(
    context: &Context,
    luma: [&Tensor; 2],
    flow: &Tensor,
    space: &Space,
) -> candle_core::Result<()> {
    for (side, (luma, warped)) in luma.into_iter().zip(&space.warped).enumerate() {
        warp(context, luma, &flow.narrow(2, 2 * side, 2)?, warped)?;
    }
    Ok(())
}

/// Warps one side's luma by `flow`, `[h, w, 2]`, enlarged bilinearly.
fn warp(context: &Context, luma: &Tensor, flow: &Tensor, out: &Tensor) -> candle_core::Result<()> {
    let (luma, flow) = (Source::lock(luma), Source::lock(flow));
    let job = Warp {
        luma: luma.raster()?,
        flow: flow.raster()?,
    };
    write("warp luma", out, |mut out| {
        let (h, w) = job.flow.size();
        let luma = job.luma.size();
        let cells = (luma.0.div_ceil(SAMPLES), luma.1.div_ceil(SAMPLES));
        job.luma.expect("luma", luma, 1)?;
        job.flow.expect("the flow of luma", cells, 2)?;
        out.expect("warped luma", padded(h, w), 1)?;
        match context.level() {
            #[cfg(target_arch = "x86_64")]
            super::CpuLevel::Avx2
                if job.luma.pixel == 1 && job.luma.height * job.luma.row < 1 << 31 =>
            {
                cpu::warp(&job, context, &mut out);
            }
            _ => reference::warp(&job, context, &mut out),
        }
        Ok(())
    })
}

/// Height and width of the warped samples of `h` x `w` cells.
fn padded(h: usize, w: usize) -> (usize, usize) {
    let samples = |cells: usize| SAMPLES * cells + 2 * RADIUS;
    (samples(h), samples(w) + SLACK)
}

struct Warp<'a> {
    luma: Raster<'a>,
    flow: Raster<'a>,
}

/// The mean difference of each displacement in each cell.
fn differ(context: &Context, space: &Space, phase: &Tensor) -> candle_core::Result<()> {
    let [left, right] = space.warped.each_ref().map(Source::lock);
    let phase = Source::lock(phase);
    let job = Differ {
        left: left.raster()?,
        right: right.raster()?,
        phase: phase.raster()?,
    };
    write("differ", &space.differences, |mut out| {
        let (h, w) = out.size();
        job.phase.expect("the phase", (h, w), 1)?;
        job.left.expect("the warped left side", padded(h, w), 1)?;
        job.right.expect("the warped right side", padded(h, w), 1)?;
        match context.level() {
            #[cfg(target_arch = "x86_64")]
            super::CpuLevel::Avx2 => cpu::differ(&job, context, &mut out),
            _ => reference::differ(&job, context, &mut out),
        }
        Ok(())
    })
}

struct Differ<'a> {
    left: Raster<'a>,
    right: Raster<'a>,
    phase: Raster<'a>,
}

/// Scores and summary from the differences.
fn conclude(
    context: &Context,
    differences: &Tensor,
    sharpness: f32,
    out: &Tensor,
) -> candle_core::Result<()> {
    let differences = Source::lock(differences);
    let differences = differences.raster()?;
    write("agreement", out, |mut out: RasterMut| {
        out.expect("the agreement", differences.size(), CHANNELS)?;
        match context.level() {
            #[cfg(target_arch = "x86_64")]
            super::CpuLevel::Avx2 => cpu::conclude(&differences, sharpness, context, &mut out),
            _ => reference::conclude(&differences, sharpness, context, &mut out),
        }
        Ok(())
    })
}

/// A place and its two neighbours along an axis, the edge repeated.
#[inline]
fn around(i: usize, size: usize) -> [usize; 3] {
    [i.saturating_sub(1), i, (i + 1).min(size - 1)]
}
