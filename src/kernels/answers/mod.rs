//! From what the blocks of a coarse-to-fine network have answered: the input of the next block, and
//! in the end the motion.
//!
//! Each block answers on a lattice of its own, one cell for `scale` pixels, and answers add up after
//! they have been enlarged. No full-size flow is kept: where one is needed, it is the sum of the
//! cells around, and a coarse block needs few of them.
//!
//! Enlarging and shrinking are bilinear with half-pixel centres, the edge repeated: a cell of an
//! even number of pixels is the mean of the four in its middle.

use candle_core::{Tensor, bail};

use super::raster::{Geometry, Raster, RasterMut, Source, write};
use super::warp::Taps;
use super::{Context, PhaseMap};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod cpu;
#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
mod cuda;
mod reference;
#[cfg(test)]
mod tests;

/// Channels of an answer: flow to the left (x, y) and to the right (x, y) in cells, the mask's
/// logit, nothing.
pub const MOTION: usize = 8;
/// Features, if there are any, that follow them and are for the next block alone.
pub const FEATURES: usize = 8;
/// Channel of the mask's logit, and behind it, in the input of a block, that of the phase.
pub const MASK: usize = 4;
pub const PHASE: usize = 5;
/// Channels of the motion that [`conclude`] answers: flow in pixels, and the mask.
pub const CONCLUSION: usize = 5;
/// Most blocks.
pub const MOST: usize = 5;
/// Channels of a side are a multiple of this, and no more than [`WIDEST`].
pub const LANES: usize = 8;
pub const WIDEST: usize = 4 * LANES;

/// Pixels of a cell of a plane of phases.
const PHASE_CELL: f32 = 8.0;

/// What a block has answered.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// `[h, w, 8]`, or `[h, w, 16]` with features.
    pub values: &'a Tensor,
    /// Pixels of a cell along a side.
    pub scale: f32,
}

/// How masks of several answers become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Masks {
    /// Their sum.
    Added,
    /// The last one.
    Replaced,
}

/// Fills `out`, `[h, w, 2 c + 8]` (with features 8 more), with the input of a block whose cells are
/// `scale` pixels wide, from `sides`, `[scale h, scale w, c]` each: both of them warped by the flow
/// so far, that flow in cells, mask, phase, zeros; and the features of the last answer. On a card sides and `out` may be of `f16`.
///
/// # Errors
/// Sizes that do not fit.
pub fn assemble(
    context: &Context,
    sides: [&Tensor; 2],
    answers: (&[Answer], Masks),
    phase: &PhaseMap,
    scale: f32,
    out: &Tensor,
) -> candle_core::Result<()> {
    #[cfg(feature = "cuda")]
    if let Some(gpu) = context.gpu() {
        return cuda::assemble_on(gpu, sides, answers, phase, scale, out);
    }
    let [left, right] = sides.map(Source::lock);
    let sides = [left.raster()?, right.raster()?];
    with_phases(phase, |phase| {
        with_sum(answers, |sum| {
            let job = Assemble {
                sides,
                sum,
                phase,
                scale,
            };
            write("assemble", out, |out| job.run(context, out))
        })
    })
}

/// Fills `out`, `[h, w, 5]`, with the sum of the answers: flow in pixels, and the weight of the left
/// side, 0 to 1.
///
/// # Errors
/// Sizes that do not fit.
pub fn conclude(
    context: &Context,
    answers: (&[Answer], Masks),
    out: &Tensor,
) -> candle_core::Result<()> {
    #[cfg(feature = "cuda")]
    if let Some(gpu) = context.gpu() {
        return cuda::conclude_on(gpu, answers, out);
    }
    with_sum(answers, |sum| {
        write("conclude", out, |mut out| {
            check_conclusion(sum.geometries(), &out)?;
            match context.level() {
                #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
                super::CpuLevel::VECTORS => cpu::conclude(sum, context, &mut out),
                _ => reference::conclude(sum, context, &mut out),
            }
            Ok(())
        })
    })
}

/// Fills `out`, `[h, w, 1]`, with the phase in the middle of each cell of `cell` pixels.
///
/// # Errors
/// Sizes that do not fit.
pub fn phases(
    context: &Context,
    phase: &PhaseMap,
    cell: usize,
    out: &Tensor,
) -> candle_core::Result<()> {
    #[cfg(feature = "cuda")]
    if let Some(gpu) = context.gpu() {
        return cuda::phases_on(gpu, phase, cell, out);
    }
    with_phases(phase, |phases| {
        write("phases", out, |mut out| {
            let pixel = out.pixel;
            out.for_each_row(context, |y, row| {
                for (x, value) in row.iter_mut().step_by(pixel).enumerate() {
                    *value = phases.in_cell(y, x, cell as f32);
                }
            });
            Ok(())
        })
    })
}

fn with_phases(
    phase: &PhaseMap,
    run: impl FnOnce(&Phases) -> candle_core::Result<()>,
) -> candle_core::Result<()> {
    match phase {
        PhaseMap::Uniform(uniform) => run(&Phases {
            uniform: *uniform,
            plane: None,
        }),
        PhaseMap::Plane(plane) => {
            let plane = plane.unsqueeze(2)?;
            let plane = Source::lock(&plane);
            run(&Phases {
                uniform: 0.5,
                plane: Some(plane.raster()?),
            })
        }
    }
}

/// The phase of each pixel.
struct Phases<'a> {
    uniform: f32,
    plane: Option<Raster<'a>>,
}

impl Phases<'_> {
    fn at(&self, y: usize, x: usize) -> f32 {
        self.in_cell(y, x, 1.0)
    }

    /// In the middle of a cell of this many pixels.
    fn in_cell(&self, y: usize, x: usize, cell: f32) -> f32 {
        let Some(plane) = &self.plane else {
            return self.uniform;
        };
        let (ty, tx) = (
            Taps::of(y, PHASE_CELL / cell, plane.height),
            Taps::of(x, PHASE_CELL / cell, plane.width),
        );
        let row = |y| {
            mix(
                plane.at(y, tx.first)[0],
                plane.at(y, tx.second)[0],
                tx.share,
            )
        };
        mix(row(ty.first), row(ty.second), ty.share)
    }
}

/// An input about to be assembled.
struct Assemble<'a> {
    sides: [Raster<'a>; 2],
    sum: &'a Sum<'a>,
    phase: &'a Phases<'a>,
    scale: f32,
}

impl Assemble<'_> {
    fn run(&self, context: &Context, mut out: RasterMut) -> candle_core::Result<()> {
        let [left, right] = &self.sides;
        check_input([left, right], self.sum.geometries(), self.scale, &out)?;
        match context.level() {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            super::CpuLevel::VECTORS => cpu::assemble(self, context, &mut out),
            _ => reference::assemble(self, context, &mut out),
        }
        Ok(())
    }

    /// The rows (or columns) of pixels that cell `i` is the mean of, each with its weight.
    fn pixels(&self, i: usize, size: usize) -> impl Iterator<Item = (usize, f32)> + Clone {
        let taps = Taps::of(i, 1.0 / self.scale, size);
        [(taps.first, 1.0 - taps.share), (taps.second, taps.share)]
            .into_iter()
            .filter(|(_, weight)| *weight > 0.0)
    }
}

/// All answers so far.
struct Sum<'a> {
    answers: [Option<(Raster<'a>, f32)>; MOST],
    masks: Masks,
}

impl<'a> Sum<'a> {
    fn answers(&self) -> impl Iterator<Item = &(Raster<'a>, f32)> {
        self.answers.iter().flatten()
    }

    fn last(&self) -> Option<&(Raster<'a>, f32)> {
        self.answers().last()
    }

    /// What the mask of answer `i` counts for.
    fn mask_gain(&self, i: usize) -> f32 {
        let is_last = i + 1 == self.answers().count();
        match self.masks {
            Masks::Replaced if !is_last => 0.0,
            _ => 1.0,
        }
    }

    fn geometries(&self) -> impl Iterator<Item = (Geometry, f32)> {
        self.answers().map(|(raster, scale)| (**raster, *scale))
    }
}

/// Fails unless `out` is the input of a block whose cells are `scale` pixels wide, of these sides and answers.
fn check_input(
    [left, right]: [&Geometry; 2],
    answers: impl Iterator<Item = (Geometry, f32)>,
    scale: f32,
    out: &Geometry,
) -> candle_core::Result<()> {
    let cells = |n: usize| (n as f32 / scale) as usize;
    let channels = 2 * left.channels + MOTION;
    let features = out.channels.saturating_sub(channels);
    if ![0, FEATURES].contains(&features) || scale <= 0.0 {
        bail!("no input of a block: {} channels", out.channels);
    }
    if !left.channels.is_multiple_of(LANES) || left.channels > WIDEST {
        bail!("a side of {} channels", left.channels);
    }
    let size = (cells(left.height), cells(left.width));
    out.expect("the input of a block", size, channels + features)?;
    right.expect("the right side", left.size(), left.channels)?;
    check_answers(answers, left.size())
}

/// Fails unless `out` is the motion of these answers.
fn check_conclusion(
    answers: impl Iterator<Item = (Geometry, f32)>,
    out: &Geometry,
) -> candle_core::Result<()> {
    out.expect("a conclusion", out.size(), CONCLUSION)?;
    check_answers(answers, out.size())
}

/// Fails unless the answers are those for pictures of this size.
fn check_answers(
    answers: impl Iterator<Item = (Geometry, f32)>,
    size: (usize, usize),
) -> candle_core::Result<()> {
    for (answer, scale) in answers {
        let cells = |n: usize| (n as f32 / scale) as usize;
        let channels = match answer.channels {
            MOTION => MOTION,
            _ => MOTION + FEATURES,
        };
        answer.expect("an answer", (cells(size.0), cells(size.1)), channels)?;
    }
    Ok(())
}

fn with_sum(
    (answers, masks): (&[Answer], Masks),
    run: impl Fn(&Sum) -> candle_core::Result<()>,
) -> candle_core::Result<()> {
    if answers.len() > MOST {
        bail!("{} answers, at most {MOST}", answers.len());
    }
    let sources: [_; MOST] =
        std::array::from_fn(|i| answers.get(i).map(|a| Source::lock(a.values)));
    let mut sum = Sum {
        answers: [None; MOST],
        masks,
    };
    for ((slot, source), answer) in sum.answers.iter_mut().zip(&sources).zip(answers) {
        let raster = source.as_ref().map(Source::raster).transpose()?;
        *slot = raster.map(|raster| (raster, answer.scale));
    }
    run(&sum)
}

impl Taps {
    /// Around the middle of sample `i` on a lattice of `cells`, one for `scale` samples.
    #[inline]
    fn of(i: usize, scale: f32, cells: usize) -> Self {
        Self::new((i as f32 + 0.5) / scale - 0.5, cells)
    }
}

#[inline]
fn mix(a: f32, b: f32, share: f32) -> f32 {
    a * (1.0 - share) + b * share
}

pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}
