//! How far the motion of each cell is from an even one, from the frames before and after: see [`crate::trajectory`].
//!
//! That is found in the middle, and carried to other phases as a parabola ([`super::carry`]), which is as far ahead at 1/4 as at 3/4. What a way is
//! ahead of that is its lean: of a cubic with the accelerations a and b at its ends t (1 - t) (1 - 2 t) (b - a) / 12 at phase t, and of any
//! other way taken as so much as it is at 1/4.

use std::array::from_fn;

use candle_core::Tensor;

use super::hypotheses::{self, ACCELERATION, CUES, HYPOTHESES, limited, sample};
use super::motion::{CHANGE, FLOW, STATE, sigmoid, with_phases};
use super::raster::{Raster, Source, write};
use super::{Context, PhaseMap};
use crate::trajectory::{Clues, Field, Vector};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod cpu;
#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
pub(crate) mod cuda;
#[cfg(test)]
mod tests;

/// Accelerations below this, in cells, are not worth solving an equation: they bend by less than a 60th of a pixel.
const LEAST: f32 = 0.015;
/// Cells that are asked for together.
const GROUP: usize = 8;

/// What tells of the motion of a picture's cells.
pub struct Cells<'a> {
    /// The flow chosen, `[h, w, 4]` in cells, of even motion.
    pub flow: &'a Tensor,
    /// Of each cell, `[h, w, 1]`.
    pub phase: &'a Tensor,
    /// What the decoder was told, `[h, w, CUES]`.
    pub cues: &'a Tensor,
    /// What it answered, `[h, w, CHANGE + 1]`.
    pub change: &'a Tensor,
    /// From the right picture to the one after it x, y, in cells, as if that were as far away in time as the left one; and 1, or all
    /// 0 where that is not known: `[h, w, 3]`.
    pub future: &'a Tensor,
}

/// Fills `future` from the motion `found` between the right picture and the one after it, `[h, w, 4]` in cells, `pace` being the time of the
/// pair before over that of this one; all is 0 without.
///
/// # Errors
/// Sizes that do not fit.
pub fn foresee(
    context: &Context,
    found: &Tensor,
    pace: Option<f32>,
    future: &Tensor,
) -> candle_core::Result<()> {
    hypotheses::scaled(context, &found.narrow(2, 0, 2)?, pace, future)
}

/// Fills `bend`, `[h, w, 2]` in cells: how far a thing is ahead of even motion.
///
/// # Errors
/// Sizes that do not fit.
pub fn bend(
    context: &Context,
    field: &Field,
    cells: &Cells,
    bend: &Tensor,
) -> candle_core::Result<()> {
    each(context, cells, ("bend", bend), |clues, phases| {
        bends(context, field, clues, phases)
    })
}

/// Fills `lean`, `[h, w, 2]` in cells: half of what a thing is further ahead of even motion at 1/4 than at 3/4.
///
/// # Errors
/// Sizes that do not fit.
pub fn lean(
    context: &Context,
    field: &Field,
    cells: &Cells,
    lean: &Tensor,
) -> candle_core::Result<()> {
    each(context, cells, ("lean", lean), |clues, _| {
        let [early, late] = [0.25, 0.75].map(|t| bends(context, field, clues, &[t; GROUP]));
        from_fn(|i| [0, 1].map(|c| 0.5 * (early[i][c] - late[i][c])))
    })
}

/// [`Field::bend`] of some cells, each at a phase of its own.
fn bends(
    context: &Context,
    field: &Field,
    clues: &[Clues; GROUP],
    phases: &[f32; GROUP],
) -> [Vector; GROUP] {
    match context.level() {
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        // SAFETY: a context has this level only where the machine has its instructions.
        super::CpuLevel::VECTORS => unsafe { cpu::bends(field, clues, phases) },
        _ => from_fn(|i| field.bend(&clues[i], phases[i])),
    }
}

/// Fills a tensor of `[h, w, 2]` with what `tell` says of cells' clues and phases, and 0 where motion is even.
fn each(
    context: &Context,
    cells: &Cells,
    (name, out): (&'static str, &Tensor),
    tell: impl Fn(&[Clues; GROUP], &[f32; GROUP]) -> [Vector; GROUP] + Sync,
) -> candle_core::Result<()> {
    let (flow, phase) = (Source::lock(cells.flow), Source::lock(cells.phase));
    let (cues, change) = (Source::lock(cells.cues), Source::lock(cells.change));
    let future = Source::lock(cells.future);
    let job = Job {
        flow: flow.raster()?,
        phase: phase.raster()?,
        cues: cues.raster()?,
        change: change.raster()?,
        future: future.raster()?,
    };
    let size = job.flow.size();
    job.flow.expect("the flow", size, 4)?;
    job.phase.expect("the phase", size, 1)?;
    job.cues.expect("the cues", size, CUES)?;
    job.change.expect("the change", size, CHANGE + 1)?;
    job.future.expect("the future", size, 3)?;
    write(name, out, |mut out| {
        out.expect(name, size, 2)?;
        let pixel = out.pixel;
        out.for_each_row(context, |y, row| {
            let mut group = Group::default();
            for x in 0..size.1 {
                let clues = job.clues(y, x);
                let known = clues.accelerations.into_iter().flatten();
                let is_even = known.flatten().all(|a| a.abs() < LEAST);
                row[x * pixel..][..2].fill(0.0);
                if !is_even {
                    group.push(x, clues, job.phase.at(y, x)[0]);
                }
                if group.count == GROUP {
                    group.put(&tell, row, pixel);
                }
            }
            group.put(&tell, row, pixel);
        });
        Ok(())
    })
}

/// Such cells of a row.
#[derive(Default)]
struct Group {
    count: usize,
    columns: [usize; GROUP],
    clues: [Clues; GROUP],
    phases: [f32; GROUP],
}

impl Group {
    fn push(&mut self, column: usize, clues: Clues, phase: f32) {
        let at = self.count;
        (self.columns[at], self.clues[at], self.phases[at]) = (column, clues, phase);
        self.count += 1;
    }

    /// Writes what is told of its cells, and begins anew.
    fn put(
        &mut self,
        tell: impl Fn(&[Clues; GROUP], &[f32; GROUP]) -> [Vector; GROUP],
        row: &mut [f32],
        pixel: usize,
    ) {
        if self.count == 0 {
            return;
        }
        // what lies beyond the count are cells from before
        let told = tell(&self.clues, &self.phases);
        for (x, told) in self.columns.iter().zip(&told).take(self.count) {
            row[x * pixel..][..2].copy_from_slice(told);
        }
        self.count = 0;
    }
}

/// Adds the `lean`, as [`lean`] found it in cells of twice the size, to the flows of a `state`, `[h, w, 8]`, that was carried as a
/// parabola to the `phase`, one or a plane of `[h, w, 1]`. It is taken from where a cell was in the middle if it moves evenly.
///
/// # Errors
/// Sizes that do not fit.
pub fn put_lean(
    context: &Context,
    lean: &Tensor,
    phase: &PhaseMap,
    state: &Tensor,
) -> candle_core::Result<()> {
    let lean = Source::lock(lean);
    let lean = lean.raster()?;
    with_phases(phase, |phases, size| {
        write("put_lean", state, |mut out| {
            let size = size.unwrap_or(out.size());
            out.expect("the state", size, STATE)?;
            lean.expect("the lean", (size.0.div_ceil(2), size.1.div_ceil(2)), 2)?;
            let pixel = out.pixel;
            out.for_each_row(context, |y, row| {
                for (x, cell) in row.chunks_mut(pixel).enumerate() {
                    lean_cell(&lean, (y, x), phases.at(y, x), cell);
                }
            });
            Ok(())
        })
    })
}

/// Moves the flows of the cell at (`y`, `x`) at phase `t`.
fn lean_cell(lean: &Raster, (y, x): (usize, usize), t: f32, cell: &mut [f32]) {
    let place = |at: usize, c: usize| {
        let gone = (t - 0.5) * (cell[FLOW + 2 + c] - cell[FLOW + c]);
        // centres of cells half as large, seen from those of the lean
        0.5 * (at as f32 - gone) - 0.25
    };
    let there = sample(lean, (0, 0), 0, [place(x, 0), place(y, 1)]);
    let share = share_of_lean(t);
    for c in 0..2 {
        let by = share * there[c];
        cell[FLOW + c] -= by;
        cell[FLOW + 2 + c] -= by;
    }
}

/// How much of the lean there is at phase `t`: all at 1/4, in cells half as large.
fn share_of_lean(t: f32) -> f32 {
    const AT_A_QUARTER: f32 = 3.0 / 32.0;
    2.0 / AT_A_QUARTER * t * (1.0 - t) * (1.0 - 2.0 * t)
}

struct Job<'a> {
    flow: Raster<'a>,
    phase: Raster<'a>,
    cues: Raster<'a>,
    change: Raster<'a>,
    future: Raster<'a>,
}

impl Job<'_> {
    fn clues(&self, y: usize, x: usize) -> Clues {
        let flow = self.flow.at(y, x);
        let motion = [flow[2] - flow[0], flow[3] - flow[1]];
        let cues = self.cues.at(y, x);
        let [ax, ay, known] = [0, 1, 2].map(|i| cues[ACCELERATION + i]);
        Clues {
            motion,
            accelerations: [
                (known > 0.0).then_some([ax, ay]),
                self.after((y, x), motion),
            ],
            inconsistency: [cues[HYPOTHESES], cues[HYPOTHESES + 1]],
            difference: cues[0].min(cues[1]).min(cues[2]),
            gate: sigmoid(self.change.at(y, x)[CHANGE]),
        }
    }

    /// Acceleration at the right picture.
    fn after(&self, (y, x): (usize, usize), motion: Vector) -> Option<Vector> {
        if self.future.at(y, x)[2] == 0.0 {
            return None;
        }
        let flow = self.flow.at(y, x);
        let ahead = sample(&self.future, (y, x), 0, [flow[2], flow[3]]);
        Some(limited(
            [ahead[0] - motion[0], ahead[1] - motion[1]],
            motion,
        ))
    }
}
