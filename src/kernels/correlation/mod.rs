//! Local correlation of the two warped sides, and the displacement it expects.
//!
//! For the displacements d in `-RADIUS..=RADIUS` squared, row-major (y, then x): a pixel at phase
//! t that moves by d over the whole interval came from `-t d` and goes to `(1 - t) d`. The split
//! is rounded, halves upwards, so that only whole pixels are read. Outside the picture a score
//! is 0.

use candle_core::Tensor;

use super::Context;
use super::raster::{Raster, RasterMut, Source, write};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod cpu;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) use cpu::softmax_means;
#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) mod cuda;
mod reference;
pub(super) use reference::softmax_mean as plain_softmax_mean;
#[cfg(test)]
mod tests;

/// Largest displacement along an axis, in pixels.
pub const RADIUS: usize = 2;
/// Displacements of an axis.
pub(super) const SIDE: usize = 2 * RADIUS + 1;
/// Most channels that the kernels have room for.
pub const MAX_CHANNELS: usize = 64;
/// Number of displacements.
pub const DISPLACEMENTS: usize = SIDE * SIDE;

/// Fills `out`, `[h, w, DISPLACEMENTS]`, with the products of the sides `left` and `right`,
/// `[h, w, c]`, at the phase of each pixel, `[h, w, 1]`.
///
/// # Errors
/// Sizes that do not fit.
pub fn correlate(
    context: &Context,
    left: &Tensor,
    right: &Tensor,
    phase: &Tensor,
    out: &Tensor,
) -> candle_core::Result<()> {
    let (left, right, phase) = (Source::lock(left), Source::lock(right), Source::lock(phase));
    let job = Correlate {
        left: left.raster()?,
        right: right.raster()?,
        phase: phase.raster()?,
    };
    write("correlate", out, |out| job.run(context, out))
}

struct Correlate<'a> {
    left: Raster<'a>,
    right: Raster<'a>,
    phase: Raster<'a>,
}

impl Correlate<'_> {
    fn run(&self, context: &Context, mut out: RasterMut) -> candle_core::Result<()> {
        let size = self.left.size();
        if self.left.channels > MAX_CHANNELS {
            let found = self.left.channels;
            candle_core::bail!("{found} channels to correlate, expected at most {MAX_CHANNELS}");
        }
        self.right
            .expect("the right side", size, self.left.channels)?;
        self.phase.expect("the phase", size, 1)?;
        out.expect("the scores", size, DISPLACEMENTS)?;
        match context.level() {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            super::CpuLevel::VECTORS => cpu::correlate(self, context, &mut out),
            _ => reference::correlate(self, context, &mut out),
        }
        Ok(())
    }
}

/// Fills `out`, `[h, w, 2]`, with the mean displacement (x, y) under the softmax of
/// `sharpness * scores`.
///
/// # Errors
/// Sizes that do not fit.
pub fn expected(
    context: &Context,
    scores: &Tensor,
    sharpness: f32,
    out: &Tensor,
) -> candle_core::Result<()> {
    let scores = Source::lock(scores);
    let job = Expected {
        scores: scores.raster()?,
        sharpness,
    };
    write("expected", out, |mut out| {
        let size = job.scores.size();
        job.scores.expect("the scores", size, DISPLACEMENTS)?;
        out.expect("the expected displacement", size, 2)?;
        match context.level() {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            super::CpuLevel::VECTORS => cpu::expected(&job, context, &mut out),
            _ => reference::expected(&job, context, &mut out),
        }
        Ok(())
    })
}

struct Expected<'a> {
    scores: Raster<'a>,
    sharpness: f32,
}

/// What of the displacement `d` lies between the left side and phase `t`.
#[inline]
fn split(d: isize, t: f32) -> isize {
    (t * d as f32 + 0.5).floor() as isize
}

/// The displacements of one axis at one phase: what to subtract from a position for the left
/// side and what to add for the right one.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    pub left: [isize; SIDE],
    pub right: [isize; SIDE],
}

impl Axis {
    pub fn new(t: f32) -> Self {
        // A phase is inside 0 to 1; whatever else comes must not lead out of the window.
        let t = if t > 0.0 { t.min(1.0) } else { 0.0 };
        let d = |i: usize| i as isize - RADIUS as isize;
        let left = std::array::from_fn(|i| split(d(i), t));
        Self {
            left,
            right: std::array::from_fn(|i| d(i) - left[i]),
        }
    }
}
