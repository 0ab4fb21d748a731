//! How well the luma of both sides agrees around a flow, at steps of a quarter of a cell.
//!
//! Features tell by cells; what is finer, texture above all, is lost in them. So both sides' luma,
//! of [`SAMPLES`] samples a cell each way, is warped by the flow ([`super::luma`]), and for every displacement d of at
//! most [`correlation::RADIUS`] samples (row-major, y, then x; split between the sides as in [`super::correlation`])
//! the absolute differences are averaged over 3x3 cells; beyond the edge the edge repeats.
//!
//! A cell's answer has [`CHANNELS`] values: for each displacement one minus its difference relative
//! to the mean over all displacements; the mean displacement (x, y) under the softmax of
//! these, in cells; and that mean difference, times `CONTRAST`.

use candle_core::Tensor;

use super::Context;
use super::correlation::{self, DISPLACEMENTS};
pub use super::luma::SAMPLES;
use super::luma::{BORDER, Sides, Warped};
use super::raster::{Raster, Source, write};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod cpu;
#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
pub(crate) mod cuda;
mod reference;
#[cfg(test)]
mod tests;

const _: () = assert!(correlation::RADIUS <= BORDER);
/// Displacements that are compared.
pub const SCORES: usize = DISPLACEMENTS;
/// Values of a cell's summary: the displacement, and the contrast.
pub const SUMMARY: usize = 3;
/// Values of a cell's answer.
pub const CHANNELS: usize = SCORES + SUMMARY;
/// Mean difference of luma (of range 1) below which there is more noise than texture.
const NOISE: f32 = 0.01;
/// Brings the mean difference to the range of the network's other inputs.
pub(super) const CONTRAST: f32 = 8.0;

/// Fills `out`, `[h, w, CHANNELS]`, from the `luma` of both sides, bytes of at most 4h x 4w samples
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
    warped: &Warped,
    out: &Tensor,
) -> candle_core::Result<()> {
    let [left, right] = warped
        .warp(context, luma, flow, SAMPLES as f32)?
        .map(Source::lock);
    let phase = Source::lock(phase);
    let job = Job {
        sides: Sides {
            left: left.raster()?.words()?,
            right: right.raster()?.words()?,
        },
        phase: phase.raster()?,
        sharpness,
    };
    write("agreement", out, |mut out| {
        let (h, w) = job.phase.size();
        job.phase.expect("the phase", (h, w), 1)?;
        job.sides.expect(h, w)?;
        out.expect("the agreement", (h, w), CHANNELS)?;
        match context.level() {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            super::CpuLevel::VECTORS => cpu::run(&job, context, &mut out),
            _ => reference::run(&job, context, &mut out),
        }
        Ok(())
    })
}

struct Job<'a> {
    sides: Sides<'a>,
    phase: Raster<'a>,
    sharpness: f32,
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

/// A place and its two neighbours along an axis, the edge repeated.
#[inline]
fn around(i: usize, size: usize) -> [usize; 3] {
    [i.saturating_sub(1), i, (i + 1).min(size - 1)]
}
