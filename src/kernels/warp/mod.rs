//! Features fetched from where the flow points to, as they are or at unit length.
//!
//! `f` are the features at (position + flow), bilinear, the coordinates clamped to the picture; at
//! unit length `f / sqrt(|f|^2 + epsilon)`.

use candle_core::Tensor;

use super::Context;
#[cfg(feature = "cuda")]
use super::cuda::Card;
#[cfg(feature = "cuda")]
use super::device::Queue;
use super::raster::{Raster, RasterMut, Source, write};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod cpu;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) use cpu::{Corners, Taps as EightTaps, columns_from};
#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
pub(crate) mod cuda;
mod reference;
#[cfg(test)]
mod tests;

/// Fills `out`, `[h, w, c]`, from `features`, `[h, w, c]`, and `flow`, `[h, w, 2]`: x and y in
/// pixels of this size. On a card features, and then `out`, may be of `f16`, or `out` alone.
///
/// # Errors
/// Sizes that do not fit.
pub fn warp(
    context: &Context,
    features: &Tensor,
    flow: &Tensor,
    out: &Tensor,
) -> candle_core::Result<()> {
    on_card!(context, |gpu| {
        let card = Queue::new(gpu);
        cuda::warp_wide(
            card.features(features)?,
            &gpu.raster(flow)?,
            card.features(out)?,
        )
    });
    run(context, features, flow, None, out)
}

/// As [`warp`], at unit length.
///
/// # Errors
/// Sizes that do not fit.
pub fn warp_normalised(
    context: &Context,
    features: &Tensor,
    flow: &Tensor,
    epsilon: f32,
    out: &Tensor,
) -> candle_core::Result<()> {
    run(context, features, flow, Some(epsilon), out)
}

fn run(
    context: &Context,
    features: &Tensor,
    flow: &Tensor,
    epsilon: Option<f32>,
    out: &Tensor,
) -> candle_core::Result<()> {
    let (features, flow) = (Source::lock(features), Source::lock(flow));
    let job = Job {
        features: features.raster()?,
        flow: flow.raster()?,
        epsilon,
    };
    write("warp", out, |out| job.run(context, out))
}

struct Job<'a> {
    features: Raster<'a>,
    flow: Raster<'a>,
    /// What the result is brought to unit length with, if it is.
    epsilon: Option<f32>,
}

impl Job<'_> {
    fn run(&self, context: &Context, mut out: RasterMut) -> candle_core::Result<()> {
        let size = self.features.size();
        self.flow.expect("the flow of a warp", size, 2)?;
        out.expect("the output of a warp", size, self.features.channels)?;
        match context.level() {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            super::CpuLevel::VECTORS => cpu::run(self, context, &mut out),
            _ => reference::run(self, context, &mut out),
        }
        Ok(())
    }

    /// Where the pixel at (`y`, `x`) comes from.
    #[inline]
    fn taps(&self, y: usize, x: usize) -> (Taps, Taps) {
        let flow = self.flow.at(y, x);
        (
            Taps::new(y as f32 + flow[1], self.features.height),
            Taps::new(x as f32 + flow[0], self.features.width),
        )
    }
}

/// Two neighbours along one axis, and the share of the second one, 0 to 1.
#[derive(Clone, Copy)]
pub(crate) struct Taps {
    pub first: usize,
    pub second: usize,
    pub share: f32,
}

impl Taps {
    /// At `position`, clamped to 0 to `size - 1`; what is not a number counts as 0.
    #[inline]
    pub fn new(position: f32, size: usize) -> Self {
        let last = size - 1;
        let position = position.max(0.0).min(last as f32);
        // Not negative, so that truncation is the floor; by way of 32 bits, which is one instruction.
        let first = (position as i32 as usize).min(last);
        Self {
            first,
            second: (first + 1).min(last),
            share: position - first as f32,
        }
    }
}
