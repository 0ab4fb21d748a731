//! Which flow at a phase the motion found between two pictures suggests.
//!
//! Motion is found from picture to picture ([`super::search`]). What lies at x at phase t was at x - t v
//! in the left picture, if v is the left one's motion at that place, and is at x + (1 - t) v in the
//! right one; [`ROUNDS`] rounds of this fixed point, beginning from the motion at x itself, give one hypothesis. The
//! motion from right to left gives a second one in the same way, and a third is that nothing moves, as logos and
//! subtitles do. A cell takes the one under which the luma of both sides differs least.
//!
//! A cell also gets [`CUES`] values that tell of the choice:
//! - the difference of luma (0 to 1) under each hypothesis, times [`CONTRAST`];
//! - for the left side and the right one, how far the motion found where the chosen flow leads to is from that flow,
//!   e / (1 + e) with e in cells: large where that side shows something else;
//! - acceleration (x, y): how much further the thing goes from left to right than it came from the picture before, in
//!   cells, at most [`MOST_ACCELERATION`] of its motion and [`LEAST_ACCELERATION`] more;
//! - 1 where a picture before is known, else 0.

use candle_core::{DType, Device, Tensor};

use super::Context;
use super::agreement::{self, CONTRAST};
use super::change;
use super::raster::{Raster, Source, write};
use super::warp::Taps;

#[cfg(test)]
mod tests;

/// Values that tell of a cell's choice.
pub const CUES: usize = ACCELERATION + 3;
/// The first of the two that tell of acceleration.
pub const ACCELERATION: usize = HYPOTHESES + 2;
/// From the left picture, from the right one, nothing moves.
const HYPOTHESES: usize = 3;
/// Rounds of the fixed point.
const ROUNDS: usize = 3;
/// Standing still has to explain a cell this much better (luma, 0 to 1) than the motion found.
const STILL_MARGIN: f32 = 0.5 / 255.0;
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
    /// Difference under each hypothesis in each cell by itself, `[h, w, HYPOTHESES]`.
    costs: Tensor,
}

impl Space {
    /// For `height` x `width` cells.
    ///
    /// # Errors
    /// Those of the allocation.
    pub fn new((height, width): (usize, usize)) -> candle_core::Result<Self> {
        let zeros = |channels| Tensor::zeros((height, width, channels), DType::F32, &Device::Cpu);
        Ok(Self {
            flows: zeros(8)?,
            costs: zeros(HYPOTHESES)?,
        })
    }
}

/// Fills `flow`, `[h, w, 4]` in cells, and `cues`, `[h, w, CUES]`, from the `luma` of both sides (as for
/// [`agreement::agree`], whose `warped` space is used for work), the motion `found`, `[h, w, 4]` in cells (left to right
/// x, y, right to left x, y), what [`remember`] made of the motion before, and the phase of each cell, `[h, w, 1]`.
///
/// # Errors
/// Sizes that do not fit.
pub fn choose(
    context: &Context,
    luma: [&Tensor; 2],
    (found, past): (&Tensor, &Tensor),
    phase: &Tensor,
    (space, warped): (&Space, &agreement::Space),
    (flow, cues): (&Tensor, &Tensor),
) -> candle_core::Result<()> {
    project(context, found, phase, &space.flows)?;
    for hypothesis in 0..2 {
        let flow = space.flows.narrow(2, 4 * hypothesis, 4)?;
        let sides = agreement::warped(context, luma, &flow, warped)?;
        let cost = space.costs.narrow(2, hypothesis, 1)?;
        change::of_cells(context, sides.each_ref(), &cost)?;
    }
    change::of_cells(context, luma, &space.costs.narrow(2, 2, 1)?)?;
    select(context, space, flow, cues)?;
    check(context, found, flow, &cues.narrow(2, HYPOTHESES, 2)?)?;
    accelerate(context, past, flow, &cues.narrow(2, ACCELERATION, 3)?)
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
    let found = Source::lock(found);
    let found = found.raster()?;
    found.expect("the motion found", found.size(), 4)?;
    write("past", past, |mut out| {
        out.expect("the past", found.size(), 3)?;
        let pixel = out.pixel;
        out.for_each_row(context, |y, row| {
            for (x, cell) in row.chunks_mut(pixel).enumerate() {
                let back = &found.at(y, x)[2..];
                let known = pace.map_or([0.0; 3], |pace| [pace * back[0], pace * back[1], 1.0]);
                cell[..3].copy_from_slice(&known);
            }
        });
        Ok(())
    })
}

/// Acceleration along the flow, and whether it is known.
fn accelerate(
    context: &Context,
    past: &Tensor,
    flow: &Tensor,
    out: &Tensor,
) -> candle_core::Result<()> {
    let (past, flow) = (Source::lock(past), Source::lock(flow));
    let (past, flow) = (past.raster()?, flow.raster()?);
    past.expect("the past", flow.size(), 3)?;
    write("acceleration", out, |mut out| {
        out.expect("the acceleration", flow.size(), 3)?;
        let pixel = out.pixel;
        out.for_each_row(context, |y, row| {
            for (x, values) in row.chunks_mut(pixel).enumerate() {
                let f = flow.at(y, x);
                let motion = [f[2] - f[0], f[3] - f[1]];
                let back = sample(&past, (y, x), 0, [f[0], f[1]]);
                let known = past.at(y, x)[2];
                let [ax, ay] = [0, 1].map(|c| (motion[c] + back[c]) * known);
                let most = MOST_ACCELERATION * length(motion) + LEAST_ACCELERATION;
                let share = (most / length([ax, ay])).min(1.0);
                values[..3].copy_from_slice(&[ax * share, ay * share, known]);
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
    let (found, phase) = (found.raster()?, phase.raster()?);
    found.expect("the motion found", phase.size(), 4)?;
    write("project", out, |mut out| {
        out.expect("the hypotheses", found.size(), 8)?;
        let pixel = out.pixel;
        out.for_each_row(context, |y, row| {
            for (x, cell) in row.chunks_mut(pixel).enumerate() {
                let t = phase.at(y, x)[0];
                let ahead = carried(&found, (y, x), 0, t);
                let back = carried(&found, (y, x), 2, 1.0 - t);
                for c in 0..2 {
                    cell[c] = -t * ahead[c];
                    cell[2 + c] = (1.0 - t) * ahead[c];
                    cell[4 + c] = t * back[c];
                    cell[6 + c] = -(1.0 - t) * back[c];
                }
            }
        });
        Ok(())
    })
}

/// The motion (channels `first` and next) of what has gone the share `t` of it and is at a cell now.
fn carried(found: &Raster, (y, x): (usize, usize), first: usize, t: f32) -> [f32; 2] {
    let at = found.at(y, x);
    let mut motion = [at[first], at[first + 1]];
    for _ in 0..ROUNDS {
        motion = sample(found, (y, x), first, [-t * motion[0], -t * motion[1]]);
    }
    motion
}

/// Two channels, from `first` on, at a cell moved by (x, y).
#[inline]
fn sample(values: &Raster, (y, x): (usize, usize), first: usize, by: [f32; 2]) -> [f32; 2] {
    let ty = Taps::new(y as f32 + by[1], values.height);
    let tx = Taps::new(x as f32 + by[0], values.width);
    let mix = |a: f32, b: f32, share: f32| a + share * (b - a);
    let at = |y: usize, x: usize| {
        let cell = &values.at(y, x)[first..first + 2];
        (cell[0], cell[1])
    };
    let row = |y: usize| {
        let (left, right) = (at(y, tx.first), at(y, tx.second));
        (
            mix(left.0, right.0, tx.share),
            mix(left.1, right.1, tx.share),
        )
    };
    let (above, below) = (row(ty.first), row(ty.second));
    [
        mix(above.0, below.0, ty.share),
        mix(above.1, below.1, ty.share),
    ]
}

/// The flow of least difference, and the differences.
fn select(
    context: &Context,
    space: &Space,
    flow: &Tensor,
    cues: &Tensor,
) -> candle_core::Result<()> {
    let (flows, costs) = (Source::lock(&space.flows), Source::lock(&space.costs));
    let (flows, costs) = (flows.raster()?, costs.raster()?);
    write("cues", cues, |mut out| {
        out.expect("the cues", costs.size(), CUES)?;
        let pixel = out.pixel;
        out.for_each_row(context, |y, row| {
            for (x, values) in row.chunks_mut(pixel).enumerate() {
                for (c, value) in values[..HYPOTHESES].iter_mut().enumerate() {
                    *value = CONTRAST * change::mean_around(&costs, (y, x), c);
                }
            }
        });
        Ok(())
    })?;
    let cues = Source::lock(cues);
    let cues = cues.raster()?;
    write("choice", flow, |mut out| {
        out.expect("the flow", cues.size(), 4)?;
        let pixel = out.pixel;
        out.for_each_row(context, |y, row| {
            for (x, cell) in row.chunks_mut(pixel).enumerate() {
                let [left, right, still] = [0, 1, 2].map(|c| cues.at(y, x)[c]);
                let flows = flows.at(y, x);
                let least = left.min(right);
                let flow = if still + CONTRAST * STILL_MARGIN < least {
                    &[0.0; 4]
                } else {
                    let first = if right < left { 4 } else { 0 };
                    &flows[first..first + 4]
                };
                cell[..4].copy_from_slice(flow);
            }
        });
        Ok(())
    })
}

/// How far the motion found where the flow leads to is from the flow.
fn check(
    context: &Context,
    found: &Tensor,
    flow: &Tensor,
    out: &Tensor,
) -> candle_core::Result<()> {
    let (found, flow) = (Source::lock(found), Source::lock(flow));
    let (found, flow) = (found.raster()?, flow.raster()?);
    write("inconsistency", out, |mut out| {
        out.expect("the inconsistency", flow.size(), 2)?;
        let pixel = out.pixel;
        out.for_each_row(context, |y, row| {
            for (x, values) in row.chunks_mut(pixel).enumerate() {
                let f = flow.at(y, x);
                let motion = [f[2] - f[0], f[3] - f[1]];
                let ahead = sample(&found, (y, x), 0, [f[0], f[1]]);
                let back = sample(&found, (y, x), 2, [f[2], f[3]]);
                values[0] = apart([ahead[0] - motion[0], ahead[1] - motion[1]]);
                values[1] = apart([back[0] + motion[0], back[1] + motion[1]]);
            }
        });
        Ok(())
    })
}

fn apart(by: [f32; 2]) -> f32 {
    let e = length(by);
    e / (1.0 + e)
}

fn length([x, y]: [f32; 2]) -> f32 {
    (x * x + y * y + ROOT_EPSILON).sqrt()
}
