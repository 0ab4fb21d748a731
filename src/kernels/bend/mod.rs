//! How far the motion of each cell is from an even one, from the frames before and after: see [`crate::trajectory`].

use candle_core::Tensor;

use super::Context;
use super::hypotheses::{self, ACCELERATION, CUES, HYPOTHESES, limited, sample};
use super::motion::{CHANGE, sigmoid};
use super::raster::{Raster, Source, write};
use crate::trajectory::{Clues, Field, Vector};

#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
pub(crate) mod cuda;
#[cfg(test)]
mod tests;

/// Accelerations below this, in cells, are not worth solving an equation: they bend by less than a 60th of a pixel.
const LEAST: f32 = 0.015;

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
    write("bend", bend, |mut out| {
        out.expect("the bend", size, 2)?;
        let pixel = out.pixel;
        out.for_each_row(context, |y, row| {
            for (x, cell) in row.chunks_mut(pixel).enumerate() {
                let clues = job.clues(y, x);
                let known = clues.accelerations.into_iter().flatten();
                let is_even = known.flatten().all(|a| a.abs() < LEAST);
                let bend = match is_even {
                    true => [0.0; 2],
                    false => field.bend(&clues, job.phase.at(y, x)[0]),
                };
                cell[..2].copy_from_slice(&bend);
            }
        });
        Ok(())
    })
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
