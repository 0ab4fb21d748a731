//! Which flow at a phase the motion found between two pictures suggests.
//!
//! Motion is found from picture to picture ([`super::search`]). What lies at x at phase t was at x - t v
//! in the left picture, if v is the left one's motion at that place, and is at x + (1 - t) v in the
//! right one; `ROUNDS` rounds of this fixed point, beginning from the motion at x itself, give one hypothesis. The
//! motion from right to left gives a second one in the same way, and a third is that nothing moves, as logos and
//! subtitles do. A cell takes the one under which the luma of both sides differs least; that nothing moves has to be clearly better
//! where no edge stands still, since textures are alike by chance. What arrives at a cell though none of these leads to it takes
//! its place (`arrivals`).
//!
//! A cell also gets [`CUES`] values that tell of the choice:
//! - the difference of luma (0 to 1) under each hypothesis, times `super::agreement::CONTRAST`;
//! - for the left side and the right one, how far the motion found where the chosen flow leads to is from that flow,
//!   e / (1 + e) with e in cells: large where that side shows something else;
//! - acceleration (x, y): how much further the thing goes from left to right than it came from the picture before, in
//!   cells, at most `MOST_ACCELERATION` of its motion and `LEAST_ACCELERATION` more;
//! - 1 where a picture before is known, else 0.

use candle_core::{DType, Device, Tensor};

use super::Context;
use super::change::{self, Pair};
use super::luma::{self, SAMPLES, Warped};
use super::raster::{Raster, Source, write, write_of};
use super::resample;
use super::still::Edge;

mod arrivals;
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

pub(super) use reference::{limited, sample};

/// Values that tell of a cell's choice.
pub const CUES: usize = ACCELERATION + 3;
/// The first of the two that tell of acceleration.
pub const ACCELERATION: usize = HYPOTHESES + 2;
/// From the left picture, from the right one, nothing moves.
pub(super) const HYPOTHESES: usize = 3;
/// Rounds of the fixed point.
const ROUNDS: usize = 3;
/// Standing still has to explain a cell this much better (luma, 0 to 1) than the motion found.
const STILL_MARGIN: f32 = 0.5 / 255.0;
/// Where no edge stands still, by this much of what it leaves unexplained, too, which is little where a ground rests, and so much at most.
const STILL_SHARE: f32 = 2.0;
const STILL_MOST: f32 = 12.0 / 255.0;
/// An edge that stands still, and how many of them in 3x3 cells show that something does.
const STANDING: Edge = Edge { step: 20, alike: 6 };
const LEAST_STANDING: usize = 2;
/// An acceleration counts up to this share of the motion, plus so many cells: what is more is an error.
const MOST_ACCELERATION: f32 = 0.5;
const LEAST_ACCELERATION: f32 = 0.25;
/// Keeps the root of nothing smooth in training.
const ROOT_EPSILON: f32 = 1e-6;

/// What lies between the steps; for one size of cells.
#[derive(Debug)]
pub struct Space {
    /// The first two hypotheses' flows, `[h, w, 8]`.
    flows: Tensor,
    /// Difference under each hypothesis in each cell by itself, `[h, w, 1]`.
    costs: [Tensor; HYPOTHESES],
    /// The flow of the best one, `[h, w, 4]`.
    chosen: Tensor,
    /// What arrives in each cell, `[h, w, 1]` of `u32`.
    arrivals: Tensor,
}

impl Space {
    /// For `height` x `width` cells.
    ///
    /// # Errors
    /// Those of the allocation.
    pub fn new((height, width): (usize, usize), device: &Device) -> candle_core::Result<Self> {
        let zeros = |channels| Tensor::zeros((height, width, channels), DType::F32, device);
        Ok(Self {
            flows: zeros(8)?,
            costs: [zeros(1)?, zeros(1)?, zeros(1)?],
            chosen: zeros(4)?,
            arrivals: Tensor::zeros((height, width, 1), DType::U32, device)?,
        })
    }
}

/// Sees how far the `luma` of two pictures, in bytes, is apart where nothing moves; once a pair, before [`choose`]. Sizes
/// are those of `change::of_cells`.
///
/// # Errors
/// Sizes that do not fit.
pub fn rest(context: &Context, luma: [&Tensor; 2], space: &Space) -> candle_core::Result<()> {
    change::of_cells(context, luma, &space.costs[HYPOTHESES - 1])
}

/// Fills `flow`, `[h, w, 4]` in cells, and `cues`, `[h, w, CUES]`, from the `luma` of both sides (bytes, as for
/// [`Warped::warp`], and `warped` is used for work), the motion `found`, `[h, w, 4]` in cells (left to right
/// x, y, right to left x, y), what [`remember`] made of the motion before, and the phase of each cell, `[h, w, 1]`.
///
/// # Errors
/// Sizes that do not fit.
pub fn choose(
    context: &Context,
    luma: [&Tensor; 2],
    (found, past): (&Tensor, &Tensor),
    phase: &Tensor,
    (space, warped): (&Space, &Warped),
    (flow, cues): (&Tensor, &Tensor),
) -> candle_core::Result<()> {
    project(context, found, phase, &space.flows)?;
    for hypothesis in 0..2 {
        let flow = space.flows.narrow(2, 4 * hypothesis, 4)?;
        let sides = warped.warp(context, luma, &flow, SAMPLES as f32)?;
        luma::differences(context, sides, &space.costs[hypothesis])?;
    }
    select(context, space, luma)?;
    // the phase may lie in the memory of the flow, which is locked where it is written
    let settled = space.flows.narrow(2, 0, 4)?;
    arrive(context, luma, (found, phase), space, &settled)?;
    take_over(context, &settled, flow)?;
    tell(context, &space.costs, (found, past), flow, cues)
}

/// Fills `past`, `[h, w, 3]`, from the motion `found` between the pair before, as for [`choose`]: from the picture that is
/// the left one now to the one before it, times `pace`, the time of this pair over that of the one before; and 1. All
/// is 0 where there is no pair before.
///
/// # Errors
/// Sizes that do not fit.
pub fn remember(
    context: &Context,
    found: &Tensor,
    pace: Option<f32>,
    past: &Tensor,
) -> candle_core::Result<()> {
    scaled(context, &found.narrow(2, 2, 2)?, pace, past)
}

/// Fills `out`, `[ceil(h / 2), ceil(w / 2), 3]`, with what [`remember`] made, `[h, w, 3]`, in cells twice as large; what is known there
/// is known of all of them or of none.
///
/// # Errors
/// Sizes that do not fit.
pub fn halve_past(context: &Context, past: &Tensor, out: &Tensor) -> candle_core::Result<()> {
    resample::half(context, past, out)?;
    write("half the motion before", out, |mut out| {
        let pixel = out.pixel;
        out.for_each_row(context, |_, row| {
            for cell in row.chunks_mut(pixel) {
                cell[..2].iter_mut().for_each(|v| *v *= 0.5);
            }
        });
        Ok(())
    })
}

/// Fills `out`, `[h, w, 3]`, with `motion`, `[h, w, 2]`, times `pace`, and 1; with 0 without a pace.
pub(super) fn scaled(
    context: &Context,
    motion: &Tensor,
    pace: Option<f32>,
    out: &Tensor,
) -> candle_core::Result<()> {
    let motion = Source::lock(motion);
    let motion = motion.raster()?;
    motion.expect("the motion found", motion.size(), 2)?;
    write("scaled", out, |mut out| {
        out.expect("the motion beside", motion.size(), 3)?;
        let pixel = out.pixel;
        out.for_each_row(context, |y, row| {
            for (x, cell) in row.chunks_mut(pixel).enumerate() {
                let [by_x, by_y] = [0, 1].map(|c| motion.at(y, x)[c]);
                let known = pace.map_or([0.0; 3], |pace| [pace * by_x, pace * by_y, 1.0]);
                cell[..3].copy_from_slice(&known);
            }
        });
        Ok(())
    })
}

/// Fills `found`, `[h, w, 4]` in cells, from the motion of each direction in pixels of the level searched, `[H, W, 2]`,
/// `factor` of which are a cell: the mean of a cell's pixels. H and W are `factor` times h and w, or up to that less.
///
/// # Errors
/// Sizes that do not fit.
pub fn gather(
    context: &Context,
    ways: [&Tensor; 2],
    factor: usize,
    found: &Tensor,
) -> candle_core::Result<()> {
    for (way, flow) in ways.into_iter().enumerate() {
        let flow = Source::lock(flow);
        let flow = flow.raster()?;
        write("gather", &found.narrow(2, 2 * way, 2)?, |mut out| {
            let cells = (flow.height.div_ceil(factor), flow.width.div_ceil(factor));
            out.expect("the motion found", cells, 2)?;
            let pixel = out.pixel;
            out.for_each_row(context, |y, row| {
                for (x, cell) in row.chunks_mut(pixel).enumerate() {
                    cell[..2].copy_from_slice(&pooled(&flow, (y, x), factor));
                }
            });
            Ok(())
        })?;
    }
    Ok(())
}

/// Mean of the `factor` x `factor` pixels of a cell, as many as are there, in cells.
fn pooled(flow: &Raster, (y, x): (usize, usize), factor: usize) -> [f32; 2] {
    let span = |at: usize, size: usize| factor * at..size.min(factor * (at + 1));
    let (rows, columns) = (span(y, flow.height), span(x, flow.width));
    let share = 1.0 / (rows.len() * columns.len() * factor) as f32;
    let mut sum = [0.0; 2];
    for y in rows {
        for x in columns.clone() {
            let motion = flow.at(y, x);
            sum[0] += motion[0];
            sum[1] += motion[1];
        }
    }
    sum.map(|v| v * share)
}

/// The first two hypotheses.
fn project(
    context: &Context,
    found: &Tensor,
    phase: &Tensor,
    out: &Tensor,
) -> candle_core::Result<()> {
    let (found, phase) = (Source::lock(found), Source::lock(phase));
    let job = Projection {
        found: found.raster()?,
        phase: phase.raster()?,
    };
    job.found.expect("the motion found", job.phase.size(), 4)?;
    job.phase.expect("the phase", job.phase.size(), 1)?;
    write("project", out, |mut out| {
        out.expect("the hypotheses", job.found.size(), 8)?;
        match context.level() {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            super::CpuLevel::VECTORS if cpu::can(&[job.found]) => {
                cpu::project(&job, context, &mut out);
            }
            _ => reference::project(&job, context, &mut out),
        }
        Ok(())
    })
}

struct Projection<'a> {
    found: Raster<'a>,
    phase: Raster<'a>,
}

/// The flow of least difference.
fn select(context: &Context, space: &Space, luma: [&Tensor; 2]) -> candle_core::Result<()> {
    let luma = luma.map(Source::lock);
    let (flows, costs) = (
        Source::lock(&space.flows),
        space.costs.each_ref().map(Source::lock),
    );
    let job = Selection {
        flows: flows.raster()?,
        costs: Costs::new(&costs)?,
        luma: Pair::new(luma.each_ref())?,
    };
    write("choice", &space.chosen, |mut out| {
        out.expect("the choice", job.flows.size(), 4)?;
        out.expect("the choice", job.luma.cells(), 4)?;
        job.costs.expect(out.size())?;
        match context.level() {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            super::CpuLevel::VECTORS => cpu::select(&job, context, &mut out),
            _ => reference::select(&job, context, &mut out),
        }
        Ok(())
    })
}

/// Fills `flow` with the one chosen, or with that of what arrives. The phase lies elsewhere.
fn arrive(
    context: &Context,
    luma: [&Tensor; 2],
    (found, phase): (&Tensor, &Tensor),
    space: &Space,
    flow: &Tensor,
) -> candle_core::Result<()> {
    let luma = luma.map(Source::lock);
    let [found, phase, chosen] = [found, phase, &space.chosen].map(Source::lock);
    let job = arrivals::Job {
        found: found.raster()?,
        phase: phase.raster()?,
        chosen: chosen.raster()?,
        luma: Pair::new(luma.each_ref())?,
    };
    arrivals::expect_few(job.found.size())?;
    write_of("arrivals", &space.arrivals, |mut out| {
        job.arrive(context, out.data_mut());
        Ok(())
    })?;
    let arrivals = Source::lock(&space.arrivals);
    let arrivals = arrivals.raster_of()?;
    write("settled", flow, |mut out| {
        job.settle(context, arrivals.data(), &mut out);
        Ok(())
    })
}

/// Makes one flow equal to another.
fn take_over(context: &Context, from: &Tensor, to: &Tensor) -> candle_core::Result<()> {
    let from = Source::lock(from);
    let from = from.raster()?;
    write("flow", to, |mut out| {
        out.expect("the flow", from.size(), 4)?;
        let pixel = out.pixel;
        out.for_each_row(context, |y, row| {
            for (x, cell) in row.chunks_mut(pixel).enumerate() {
                cell[..4].copy_from_slice(from.at(y, x));
            }
        });
        Ok(())
    })
}

struct Selection<'a> {
    flows: Raster<'a>,
    costs: Costs<'a>,
    luma: Pair<'a>,
}

/// Difference under each hypothesis.
struct Costs<'a>([Raster<'a>; HYPOTHESES]);

impl<'a> Costs<'a> {
    fn new([a, b, c]: &'a [Source; HYPOTHESES]) -> candle_core::Result<Self> {
        Ok(Self([a.raster()?, b.raster()?, c.raster()?]))
    }

    fn expect(&self, size: (usize, usize)) -> candle_core::Result<()> {
        self.0
            .iter()
            .try_for_each(|cost| cost.expect("the costs", size, 1))
    }
}

/// What tells of the choice.
fn tell(
    context: &Context,
    costs: &[Tensor; HYPOTHESES],
    (found, past): (&Tensor, &Tensor),
    flow: &Tensor,
    cues: &Tensor,
) -> candle_core::Result<()> {
    let costs = costs.each_ref().map(Source::lock);
    let (found, past, flow) = (Source::lock(found), Source::lock(past), Source::lock(flow));
    let job = Telling {
        costs: Costs::new(&costs)?,
        found: found.raster()?,
        past: past.raster()?,
        flow: flow.raster()?,
    };
    let size = job.found.size();
    job.costs.expect(size)?;
    job.flow.expect("the flow", size, 4)?;
    job.past.expect("the past", size, 3)?;
    write("cues", cues, |mut out| {
        out.expect("the cues", size, CUES)?;
        match context.level() {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            super::CpuLevel::VECTORS if cpu::can(&[job.found, job.past]) => {
                cpu::tell(&job, context, &mut out);
            }
            _ => reference::tell(&job, context, &mut out),
        }
        Ok(())
    })
}

struct Telling<'a> {
    costs: Costs<'a>,
    found: Raster<'a>,
    past: Raster<'a>,
    flow: Raster<'a>,
}
