//! How far off a made picture is likely to be, cell by cell at a quarter of its size, and what to do
//! where that is far: turn the blend towards the nearer picture, so that there is no ghost.
//!
//! The predicted error is the mean absolute error of a cell's luma, in codes of 8 bits: a share of
//! how far both warped sides are apart, and a share of how far both pictures are. The first sees
//! motion that does not fit. The second is for what the sides agree on and is wrong all the same:
//! the more there is to make, the more is made wrongly.
//!
//! A confidence is `1 / (1 + error / 8)`: 1 predicts no error, one half an error of 8 codes.

use candle_core::Tensor;

use super::raster::{self, Raster, Source};
use super::{Context, PhaseMap};
use crate::error::Result;

#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) mod cuda;
#[cfg(test)]
mod tests;

/// Codes of 8 bits that luma of range 1 has.
const CODES: f32 = 255.0;
/// Predicted error, codes, at which confidence is one half: between what passes for noise and what
/// is seen as wrong.
const HALF: f32 = 8.0;
/// Predicted codes of error for a code that the warped sides are apart. Both constants are fitted
/// to 39 clips of the training set and predict, on 18 others, the mean error of what they take for
/// 1 to 32 codes to a factor of 1.4.
const OF_DIFFERENCE: f32 = 0.4;
/// The same for a code that the pictures are apart where nothing is moved.
const OF_CHANGE: f32 = 0.17;
/// Predicted error up to which the mask is left alone: fewer than one cell in a hundred of ordinary
/// clips has more. Where motion is merely imprecise, the mean of both sides is nearer to the truth
/// than either.
const TRUSTED: f32 = 32.0;
/// Predicted error from which one side has all. A ghost of two halves still errs less in the mean
/// than a clean picture, but it looks like no picture of the film.
const LOST: f32 = 64.0;
/// Pixels by which the flows of a cell may differ whatever their length.
const FLOW_NOISE: f32 = 4.0;
/// Pixels of the picture that a cell is wide and high.
const CELL: f32 = 4.0;

/// The mean absolute error of luma, codes of 8 bits, that a confidence (0 to 1) predicts: 0 for 1,
/// infinite for 0.
pub fn predicted_error(confidence: f32) -> f32 {
    HALF * (1.0 / confidence - 1.0)
}

/// The confidence that predicts an error; 0 where that is no number.
pub(super) fn confidence_of(error: f32) -> f32 {
    let confidence = HALF / (HALF + error);
    if confidence > 0.0 {
        confidence.min(1.0)
    } else {
        0.0
    }
}

/// A phase a cell.
struct Phases<'a> {
    uniform: f32,
    plane: Option<Raster<'a>>,
}

impl Phases<'_> {
    /// The phase of the quarter-size cell (`x`, `y`).
    fn at(&self, x: usize, y: usize) -> f32 {
        match &self.plane {
            Some(plane) => plane.at((y / 2).min(plane.height - 1), (x / 2).min(plane.width - 1))[0],
            None => self.uniform,
        }
    }

    /// The left side's weight in a cell if the nearer side has all.
    fn nearer(&self, x: usize, y: usize) -> f32 {
        if self.at(x, y) <= 0.5 { 1.0 } else { 0.0 }
    }
}

/// Calls `f` with the phases as cells.
fn with_phases<T>(phase: &PhaseMap, f: impl FnOnce(Phases) -> Result<T>) -> Result<T> {
    match phase {
        PhaseMap::Uniform(uniform) => f(Phases {
            uniform: *uniform,
            plane: None,
        }),
        PhaseMap::Plane(plane) => {
            let plane = plane.unsqueeze(2)?;
            let source = Source::lock(&plane);
            f(Phases {
                uniform: 0.5,
                plane: Some(source.raster()?),
            })
        }
    }
}

/// What tells how well two pictures fit together along a flow.
pub struct Evidence<'a> {
    /// `[h, w, 4]`: to the left and to the right picture (x, y), in pixels.
    pub flow: &'a Tensor,
    /// `[h, w, 1]` each: mean luma of 4x4 pixels, of range 1.
    pub luma: [&'a Tensor; 2],
    /// How much brighter the left picture is than the right one: a fade is no disagreement.
    pub brightness: f32,
}

/// Fills `out`, `[h, w, 1]`, with the confidence of each cell, from how far the luma of both warped
/// sides is apart there and how far that of both pictures is ([`super::change::change`]); both
/// `[h, w, 1]`, of luma of range 1.
///
/// # Errors
/// The sizes differ.
pub fn estimate(
    context: &Context,
    difference: &Tensor,
    change: &Tensor,
    out: &Tensor,
) -> Result<()> {
    let (difference, change) = (Source::lock(difference), Source::lock(change));
    let (difference, change) = (difference.raster()?, change.raster()?);
    difference.expect("the difference", change.size(), 1)?;
    raster::write("confidence", out, |mut out| {
        out.expect("confidence", change.size(), 1)?;
        let step = out.pixel;
        out.for_each_row(context, |y, row| {
            let confidence = |difference: f32, change: f32| {
                confidence_of(CODES * (OF_DIFFERENCE * difference + OF_CHANGE * change))
            };
            if [step, difference.pixel, change.pixel] == [1; 3] {
                // Without gaps the compiler makes vectors of it.
                let values = difference.row(y).iter().zip(change.row(y));
                for (value, (difference, change)) in row.iter_mut().zip(values) {
                    *value = confidence(*difference, *change);
                }
                return;
            }
            for (x, value) in row.iter_mut().step_by(step).enumerate() {
                *value = confidence(difference.at(y, x)[0], change.at(y, x)[0]);
            }
        });
        Ok(())
    })?;
    Ok(())
}

/// Fills `out`, `[h, w, 1]`, with the disagreement of the two sides: difference of the luma of cells,
/// up to doubled where the flows do not continue each other. A measure for whole pictures, to which
/// a fade is no disagreement; in a cell, neither is proof.
///
/// # Errors
/// The sizes differ.
pub fn disagree(
    context: &Context,
    evidence: &Evidence,
    phase: &PhaseMap,
    out: &Tensor,
) -> Result<()> {
    let flow = Source::lock(evidence.flow);
    let flow = flow.raster()?;
    let luma = evidence.luma.map(Source::lock);
    let (left, right) = (luma[0].raster()?, luma[1].raster()?);
    flow.expect("flow", left.size(), 4)?;
    right.expect("luma", left.size(), 1)?;
    with_phases(phase, |phases| {
        raster::write("disagreement", out, |mut out| {
            out.expect("disagreement", left.size(), 1)?;
            let step = out.pixel;
            out.for_each_row(context, |y, row| {
                for (x, value) in row.iter_mut().step_by(step).enumerate() {
                    let f = flow.at(y, x);
                    let difference =
                        sample(&left, x, y, f[0], f[1]) - sample(&right, x, y, f[2], f[3]);
                    let difference = difference
                        .abs()
                        .min((difference - evidence.brightness).abs());
                    *value = difference * (1.0 + inconsistency(f, phases.at(x, y)));
                }
            });
            Ok(())
        })?;
        Ok(())
    })
}

/// 0 where the flows continue each other, 1 where they have nothing to do with each other.
fn inconsistency(flow: &[f32], phase: f32) -> f32 {
    let from_left = [flow[0] / phase, flow[1] / phase];
    let to_right = [flow[2] / (1.0 - phase), flow[3] / (1.0 - phase)];
    let length = |v: [f32; 2]| (v[0] * v[0] + v[1] * v[1]).sqrt();
    let difference = length([from_left[0] + to_right[0], from_left[1] + to_right[1]]);
    (difference / (length(from_left) + length(to_right) + FLOW_NOISE)).min(1.0)
}

/// Luma at cell (`x`, `y`) moved by (`fx`, `fy`) pixels, bilinear, clamped to the picture.
fn sample(luma: &Raster, x: usize, y: usize, fx: f32, fy: f32) -> f32 {
    let place = |at: usize, flow: f32, last: usize| {
        let moved = at as f32 + flow / CELL;
        // Not `clamp`: what is no number counts as 0.
        let moved = if moved > 0.0 {
            moved.min(last as f32)
        } else {
            0.0
        };
        let whole = moved as usize;
        (whole, (whole + 1).min(last), moved - whole as f32)
    };
    let (x0, x1, tx) = place(x, fx, luma.width - 1);
    let (y0, y1, ty) = place(y, fy, luma.height - 1);
    let lerp = |a: f32, b: f32, t: f32| a + t * (b - a);
    let row = |y: usize| lerp(luma.at(y, x0)[0], luma.at(y, x1)[0], tx);
    lerp(row(y0), row(y1), ty)
}

/// 0 up to 0, 1 from 1, smooth between.
fn smooth_step(t: f32) -> f32 {
    let t = t.clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Mean of the first `height` x `width` cells of a `[h, w, 1]` tensor.
///
/// # Errors
/// The tensor is smaller.
pub fn mean(values: &Tensor, height: usize, width: usize) -> Result<f32> {
    let values = values.narrow(0, 0, height)?.narrow(1, 0, width)?;
    let source = Source::lock(&values);
    let raster = source.raster()?;
    let sum: f64 = (0..height)
        .map(|y| f64::from(raster.row(y).iter().step_by(raster.pixel).sum::<f32>()))
        .sum();
    Ok((sum / (height * width) as f64) as f32)
}

/// A weight after [`toward_nearer`], which would be `nearer` where all is in doubt.
#[inline(always)]
fn turned(weight: f32, confidence: f32, nearer: f32) -> f32 {
    // A mask that has decided has seen an occlusion.
    let undecided = 4.0 * weight * (1.0 - weight);
    let error = predicted_error(confidence);
    let doubt = undecided * smooth_step((error - TRUSTED) / (LOST - TRUSTED));
    weight + doubt * (nearer - weight)
}

/// Fills `out` from `mask`, the left side's weight: where the predicted error is large and the mask
/// undecided, the nearer side has all of it; at one half that is the left one. Both may be some
/// whole number of times as large as `confidence`.
///
/// # Errors
/// The sizes differ.
pub fn toward_nearer(
    context: &Context,
    mask: &Tensor,
    confidence: &Tensor,
    phase: &PhaseMap,
    out: &Tensor,
) -> Result<()> {
    let (mask, confidence) = (Source::lock(mask), Source::lock(confidence));
    let (mask, confidence) = (mask.raster()?, confidence.raster()?);
    with_phases(phase, |phases| {
        raster::write("toward the nearer", out, |mut out| {
            out.expect("mask", mask.size(), 1)?;
            let finer = (mask.height / confidence.height).max(1);
            let size = (mask.height / finer, mask.width / finer);
            confidence.expect("confidence", size, 1)?;
            let step = out.pixel;
            let same = [step, mask.pixel, confidence.pixel, finer] == [1; 4];
            out.for_each_row(context, |y, row| {
                if same && phases.plane.is_none() {
                    // Without gaps the compiler makes vectors of it.
                    let nearer = phases.nearer(0, 0);
                    let values = mask.row(y).iter().zip(confidence.row(y));
                    for (value, (weight, confidence)) in row.iter_mut().zip(values) {
                        *value = turned(*weight, *confidence, nearer);
                    }
                    return;
                }
                for (x, value) in row.iter_mut().step_by(step).enumerate() {
                    let weight = mask.at(y, x)[0];
                    let (x, y) = (x / finer, y / finer);
                    *value = turned(weight, confidence.at(y, x)[0], phases.nearer(x, y));
                }
            });
            Ok(())
        })?;
        Ok(())
    })
}

/// Fills `out`, `[h, w, 1]`, with the left side's weight that time alone gives.
///
/// # Errors
/// `out` has another shape.
pub fn weight_of_time(context: &Context, phase: &PhaseMap, out: &Tensor) -> Result<()> {
    with_phases(phase, |phases| {
        raster::write("weight of time", out, |mut out| {
            let step = out.pixel;
            out.for_each_row(context, |y, row| {
                for (x, value) in row.iter_mut().step_by(step).enumerate() {
                    *value = 1.0 - phases.at(x, y);
                }
            });
            Ok(())
        })?;
        Ok(())
    })
}
