//! The state of the estimate, from level to level: flow, mask and phase of every cell.
//!
//! A cell has eight channels, one vector: flow to the left (x, y) and to the right (x, y) in
//! cells of its level, the displacement that the correlation expects (x, y), the mask's logit,
//! and the phase. That is also the order in which the convolutions read them.

use candle_core::{Tensor, bail};

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

pub(super) use reference::sigmoid;

/// Channels of a cell.
pub const STATE: usize = 8;
/// First channel of the flow to the left side; the one to the right follows.
pub const FLOW: usize = 0;
/// First channel of the displacement.
pub const DISPLACEMENT: usize = 4;
/// Channel of the mask's logit.
pub const MASK: usize = 6;
/// Channel of the phase.
pub const PHASE: usize = 7;

/// Channels of a change: flow, mask, and the gates of the displacements of features and of luma. Where acceleration
/// is known, its gate follows.
pub const CHANGE: usize = 7;

/// The phases of one level: one, or `[h, w, 1]`.
pub(super) enum Phases<'a> {
    Uniform(f32),
    Plane(Raster<'a>),
}

impl Phases<'_> {
    pub(super) fn at(&self, y: usize, x: usize) -> f32 {
        match self {
            Self::Uniform(t) => *t,
            Self::Plane(plane) => plane.at(y, x)[0],
        }
    }
}

/// Fills `state`, `[h, w, 8]`, as the coarsest level begins: nothing but the phase, which is
/// uniform or a plane of `[h, w, 1]`.
///
/// # Errors
/// Sizes that do not fit.
pub fn begin(context: &Context, phase: &PhaseMap, state: &Tensor) -> candle_core::Result<()> {
    with_phases(phase, |phases, size| {
        write("begin", state, |mut out| {
            out.expect("the state", size.unwrap_or(out.size()), STATE)?;
            let pixel = out.pixel;
            out.for_each_row(context, |y, row| {
                for (x, cell) in row.chunks_mut(pixel).enumerate() {
                    cell[..PHASE].fill(0.0);
                    cell[PHASE] = phases.at(y, x);
                }
            });
            Ok(())
        })
    })
}

/// Fills `state`, `[h, w, 8]`, from the next coarser one: flow and mask enlarged to this level,
/// plus the first five channels of `detail`, `[h, w, 5 or more]`, if there is one.
///
/// # Errors
/// Sizes that do not fit.
pub fn advance(
    context: &Context,
    coarser: &Tensor,
    detail: Option<&Tensor>,
    phase: &PhaseMap,
    state: &Tensor,
) -> candle_core::Result<()> {
    let coarser = Source::lock(coarser);
    let coarser = coarser.raster()?;
    let detail = detail.map(Source::lock);
    let detail = detail.as_ref().map(Source::raster).transpose()?;
    with_phases(phase, |phases, size| {
        write("advance", state, |mut out| {
            out.expect("the state", size.unwrap_or(out.size()), STATE)?;
            let half = (out.height.div_ceil(2), out.width.div_ceil(2));
            coarser.expect("the coarser state", half, STATE)?;
            if let Some(detail) = &detail {
                detail.expect("the detail", out.size(), detail.channels.max(MASK - 1))?;
            }
            let job = Advance {
                coarser,
                detail,
                phases,
            };
            match context.level() {
                #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
                super::CpuLevel::VECTORS => cpu::advance(&job, context, &mut out),
                _ => reference::advance(&job, context, &mut out),
            }
            Ok(())
        })
    })
}

/// An advance about to run.
struct Advance<'a> {
    coarser: Raster<'a>,
    detail: Option<Raster<'a>>,
    phases: &'a Phases<'a>,
}

/// What an enlarged cell is multiplied with: distances double with the size, the displacement
/// and the phase are not taken over.
const SCALE: [f32; STATE] = [2.0, 2.0, 2.0, 2.0, 0.0, 0.0, 1.0, 0.0];

/// Calls `run` with the phases and, of a plane of them, `[h, w, 1]`, its size.
pub(super) fn with_phases(
    phase: &PhaseMap,
    run: impl Fn(&Phases, Option<(usize, usize)>) -> candle_core::Result<()>,
) -> candle_core::Result<()> {
    match phase {
        PhaseMap::Uniform(t) => run(&Phases::Uniform(*t), None),
        PhaseMap::Plane(plane) => {
            let plane = Source::lock(plane);
            let plane = plane.raster()?;
            if plane.channels != 1 {
                bail!(
                    "a plane of phases has {} channels, expected 1",
                    plane.channels
                );
            }
            run(&Phases::Plane(plane), Some(plane.size()))
        }
    }
}

/// Adds `change`, `[h, w, 7 or more]` (flow, mask, gates), to `state`, `[h, w, 8]`, and the
/// displacements that the state's features and that `luma`, `[h, w, 2 or more]`, expect, as far as
/// the gates' sigmoids let them through, divided by the phase. With an `acceleration` a, `[h, w, 2]`, the flow is that of a
/// motion a / 2 * t * (t - 1) ahead of an even one, as far as the eighth channel of the change lets it.
///
/// # Errors
/// Sizes that do not fit.
pub fn update(
    context: &Context,
    change: &Tensor,
    luma: &Tensor,
    acceleration: Option<&Tensor>,
    state: &Tensor,
) -> candle_core::Result<()> {
    let (change, luma) = (Source::lock(change), Source::lock(luma));
    let (change, luma) = (change.raster()?, luma.raster()?);
    let acceleration = acceleration.map(Source::lock);
    let acceleration = acceleration.as_ref().map(Source::raster).transpose()?;
    if let Some(acceleration) = &acceleration {
        acceleration.expect("the acceleration", change.size(), 2)?;
    }
    luma.expect(
        "the displacement of luma",
        change.size(),
        luma.channels.max(2),
    )?;
    write("update", state, |mut out| {
        out.expect("the state", change.size(), STATE)?;
        let channels = CHANGE + usize::from(acceleration.is_some());
        if change.channels < channels {
            bail!(
                "a change of {} channels, expected {channels}",
                change.channels
            );
        }
        let job = Update {
            change,
            luma,
            acceleration,
        };
        match context.level() {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            super::CpuLevel::VECTORS => cpu::update(&job, context, &mut out),
            _ => reference::update(&job, context, &mut out),
        }
        Ok(())
    })
}

/// Moves both flows of `state` for a thing that is `ahead` of even motion, `[h, w, 2]` in cells: it was that much further back, seen from
/// where it is, in either picture.
///
/// # Errors
/// Sizes that do not fit.
pub fn put_ahead(context: &Context, ahead: &Tensor, state: &Tensor) -> candle_core::Result<()> {
    let ahead = Source::lock(ahead);
    let ahead = ahead.raster()?;
    ahead.expect("the bend", ahead.size(), 2)?;
    write("put_ahead", state, |mut out| {
        out.expect("the state", ahead.size(), STATE)?;
        let pixel = out.pixel;
        out.for_each_row(context, |y, row| {
            for (x, cell) in row.chunks_mut(pixel).enumerate() {
                let by = ahead.at(y, x);
                for (i, flow) in cell[FLOW..DISPLACEMENT].iter_mut().enumerate() {
                    *flow -= by[i % 2];
                }
            }
        });
        Ok(())
    })
}

/// An update about to run.
struct Update<'a> {
    change: Raster<'a>,
    luma: Raster<'a>,
    acceleration: Option<Raster<'a>>,
}

/// Fills `flow`, `[h, w, 4]`, with the state's flow times `scale`.
///
/// # Errors
/// Sizes that do not fit.
pub fn flow(
    context: &Context,
    state: &Tensor,
    scale: f32,
    flow: &Tensor,
) -> candle_core::Result<()> {
    let state = Source::lock(state);
    let state = state.raster()?;
    state.expect("the state", state.size(), STATE)?;
    write("flow", flow, |mut out| {
        out.expect("the flow", state.size(), 4)?;
        let pixel = out.pixel;
        out.for_each_row(context, |y, row| {
            for (x, values) in row.chunks_mut(pixel).enumerate() {
                for (value, flow) in values[..4].iter_mut().zip(state.at(y, x)) {
                    *value = flow * scale;
                }
            }
        });
        Ok(())
    })
}

/// Fills `weight`, `[h, w, 1]`, with the left side's weight, 0 to 1: the state's mask is relative
/// to the weight that time alone gives.
///
/// # Errors
/// Sizes that do not fit.
pub fn weight_of_left(
    context: &Context,
    state: &Tensor,
    weight: &Tensor,
) -> candle_core::Result<()> {
    let state = Source::lock(state);
    let state = state.raster()?;
    state.expect("the state", state.size(), STATE)?;
    write("weight_of_left", weight, |mut out| {
        out.expect("the mask", state.size(), 1)?;
        match context.level() {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            super::CpuLevel::VECTORS => cpu::weight_of_left(&state, context, &mut out),
            _ => reference::weight_of_left(&state, context, &mut out),
        }
        Ok(())
    })
}
