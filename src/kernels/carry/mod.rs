//! Motion that was found in the middle between two pictures, carried to another phase.
//!
//! What is at p in the middle comes from p + l in the left picture and goes to p + r in the right one. By its way through
//! all three, a parabola, it is at p + d at phase t, with m = r - l, c = -(l + r) / 2 (how far it is ahead of even motion in
//! the middle) and k = 4 t (1 - t):
//!
//! ```text
//! d = (t - 1/2) m + (k - 1) c      to the left: -t m - k c      to the right: (1 - t) m - k c
//! ```
//!
//! What is at q at the phase was at p = q - d(p): [`ROUNDS`] times that is taken as the next p, from q on. Where things
//! cover each other this finds one of them, where they part something between them.

use candle_core::Tensor;

use super::motion::{DISPLACEMENT, MASK, PHASE, Phases, STATE, with_phases};
use super::raster::{Raster, Source, write};
use super::{Context, PhaseMap};

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

/// How often a place in the middle is looked for.
const ROUNDS: usize = 3;
/// Channel of a state that holds the difference of both sides here: the displacement is not needed any more.
const DIFFERENCE: usize = DISPLACEMENT;

/// Puts the `difference` of both sides, `[h, w, 1]`, into the `state`, `[h, w, 8]`, that was found in the middle.
///
/// # Errors
/// Sizes that do not fit.
pub fn keep(context: &Context, difference: &Tensor, state: &Tensor) -> candle_core::Result<()> {
    let state = state.narrow(2, DIFFERENCE, 1)?;
    copy(context, difference, &state)
}

/// Takes the `difference` out of a `state` again, that of the middle or one [`carry`] has made.
///
/// # Errors
/// Sizes that do not fit.
pub fn difference(
    context: &Context,
    state: &Tensor,
    difference: &Tensor,
) -> candle_core::Result<()> {
    copy(context, &state.narrow(2, DIFFERENCE, 1)?, difference)
}

fn copy(context: &Context, from: &Tensor, to: &Tensor) -> candle_core::Result<()> {
    let from = Source::lock(from);
    let from = from.raster()?;
    write("copy", to, |mut out| {
        out.expect("the difference", from.size(), 1)?;
        let pixel = out.pixel;
        out.for_each_row(context, |y, row| {
            let from = from.row(y).iter().step_by(from.pixel);
            for (to, from) in row.iter_mut().step_by(pixel).zip(from) {
                *to = *from;
            }
        });
        Ok(())
    })
}

/// Fills `state`, `[h, w, 8]`, with that of the `middle`, as [`keep`] left it, carried to the `phase`, one or a plane of
/// `[h, w, 1]`.
///
/// # Errors
/// Sizes that do not fit.
pub fn carry(
    context: &Context,
    middle: &Tensor,
    phase: &PhaseMap,
    state: &Tensor,
) -> candle_core::Result<()> {
    let middle = Source::lock(middle);
    let middle = middle.raster()?;
    with_phases(phase, |phases, size| {
        write("carry", state, |mut out| {
            let size = size.unwrap_or(out.size());
            middle.expect("the middle", size, STATE)?;
            out.expect("the state", size, STATE)?;
            let job = Carry { middle, phases };
            match context.level() {
                #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
                super::CpuLevel::VECTORS => cpu::carry(&job, context, &mut out),
                _ => reference::carry(&job, context, &mut out),
            }
            Ok(())
        })
    })
}

struct Carry<'a> {
    middle: Raster<'a>,
    phases: &'a Phases<'a>,
}

/// What a cell goes on from the middle to phase `t`, as factors of its flow to the left and to the right.
fn gone(t: f32) -> [f32; 2] {
    let ahead = 0.5 * (bend(t) - 1.0);
    [0.5 - t - ahead, t - 0.5 - ahead]
}

/// The share of the middle's distance from even motion that there is at phase `t`.
fn bend(t: f32) -> f32 {
    4.0 * t * (1.0 - t)
}
