//! How coherent a motion is: large regions move less wildly than small ones, and where the motion found contradicts this it is
//! turbulent.
//!
//! Three things tell of a cell, each in cells, and [`measure`] adds them up to e:
//! - the forward-backward error, |f(x) + b(x + f(x))|, mean of both ways: what is found from left to right has to lead back;
//! - the root of the energy of divergence and curl, (∂u/∂x + ∂v/∂y)² + (∂v/∂x − ∂u/∂y)², mean of both ways: neighbours tear or whirl;
//! - the spread of motion among 3x3 cells, times the ratio of that spread to the one among 9x9: motion that belongs to things
//!   spreads with the size of the region, from edge to edge of them, noise spreads as much in the smallest.
//!
//! The incoherence is e / (e + `HALF`): 0 where all is of one piece, towards 1 where nothing fits. Which of it matters is a
//! question of texture: where there is none, wrong motion shows nothing.

use std::ops::Range;

use candle_core::Tensor;

use super::change::mean_around;
use super::confidence::{confidence_of, predicted_error};
use super::raster::{Raster, Source, write};
use super::{Context, CpuLevel};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod cpu;
mod reference;
#[cfg(test)]
mod tests;

/// Values that [`measure`] finds of a cell: incoherence, length of the motion in cells.
pub const MEASURED: usize = 2;
/// Values of a small region that lie between the steps: mean motion, x and y of both ways, and the means of their squares.
pub const REGION: usize = 8;
/// Cells of contradiction at which a cell is incoherent by a half.
const HALF: f32 = 0.5;
/// What a mean of 3x3 is multiplied with.
const NINTH: f32 = 1.0 / 9.0;
/// Cells from a small region to the next, of which a large one has 3x3.
const APART: usize = 3;
/// Spread, squares of cells, below which regions are alike.
const STILL: f32 = 1e-3;
/// What keeps a logarithm finite.
const LEAST: f32 = 0.05;
/// Of the weight of another estimate (a logistic function): a constant, and what multiplies the logarithms of the
/// incoherence of this one, of the other one, and of the motion's length. The less coherent one loses, and of large motion a
/// picture of half the size knows more. Fitted to twelve clips kept back from training.
const WEIGHT: [f32; 4] = [-2.51, 1.17, -2.08, 1.08];
/// What remains of a predicted error where the motion of a turbulent picture is coherent, and what an incoherent cell adds of
/// the texture that it moves. Fitted to the mean error of the same clips.
const REMAINS: f32 = 0.57;
const AT_STAKE: f32 = 0.33;

/// Fills `out`, `[h, w, MEASURED]`, from the motion `found` between two pictures, `[h, w, 4]` in cells: left to right x, y, right to
/// left x, y. `regions`, `[h, w, REGION]`, is room for work.
///
/// # Errors
/// Sizes that do not fit.
pub fn measure(
    context: &Context,
    found: &Tensor,
    regions: &Tensor,
    out: &Tensor,
) -> candle_core::Result<()> {
    measure_rows(context, found, (regions, out), 1)
}

/// As [`measure`], of the first row and every third one after it alone, the others left as they are. Answers the mean incoherence of the
/// first `cells` (rows, columns) in these: a third of the work tells it nearly as well.
///
/// # Errors
/// Sizes that do not fit.
pub fn glance(
    context: &Context,
    found: &Tensor,
    (regions, out): (&Tensor, &Tensor),
    cells: (usize, usize),
) -> candle_core::Result<f32> {
    // what lies so far apart shares the small regions
    measure_rows(context, found, (regions, out), APART)?;
    let seen = out.narrow(0, 0, cells.0)?.narrow(1, 0, cells.1)?;
    let out = Source::lock(&seen);
    let out = out.raster()?;
    let rows = (0..cells.0).step_by(APART);
    let count = rows.len() * cells.1;
    let sum = |y: usize| out.row(y).iter().step_by(out.pixel).sum::<f32>();
    let sum: f64 = rows.map(|y| f64::from(sum(y))).sum();
    Ok((sum / count as f64) as f32)
}

/// As [`measure`], of every `step`th row.
fn measure_rows(
    context: &Context,
    found: &Tensor,
    (regions, out): (&Tensor, &Tensor),
    step: usize,
) -> candle_core::Result<()> {
    let found = Source::lock(found);
    let found = found.raster()?;
    found.expect("the motion found", found.size(), 4)?;
    let size = found.size();
    let room = ("regions", regions, size, REGION);
    each_row(context, room, |y, row| {
        // the edge repeated, the last row is below all near it
        if y % step != 0 && y + 1 != size.0 {
            return;
        }
        let made = match context.level() {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            // SAFETY: a context has this level only where the machine has its instructions.
            CpuLevel::VECTORS => unsafe { cpu::regions(&found, y, row) },
            _ => 0..0,
        };
        for x in outside(made, size.1) {
            row.cell(x)
                .copy_from_slice(&reference::region(&found, (y, x)));
        }
    })?;
    let regions = Source::lock(regions);
    let regions = regions.raster()?;
    each_row(context, ("coherence", out, size, MEASURED), |y, row| {
        if y % step != 0 {
            return;
        }
        let made = match context.level() {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            // SAFETY: as above.
            CpuLevel::VECTORS => unsafe { cpu::cells((&found, &regions), y, row) },
            _ => 0..0,
        };
        for x in outside(made, size.1) {
            row.cell(x)
                .copy_from_slice(&reference::cell((&found, &regions), (y, x)));
        }
    })
}

/// The columns of so many that are not in a range.
fn outside(made: Range<usize>, columns: usize) -> impl Iterator<Item = usize> {
    (0..made.start).chain(made.end..columns)
}

/// The cells of a row, to be written.
struct Row<'a> {
    values: &'a mut [f32],
    /// Values from a cell to the next.
    pixel: usize,
    channels: usize,
}

impl Row<'_> {
    fn cell(&mut self, x: usize) -> &mut [f32] {
        &mut self.values[x * self.pixel..][..self.channels]
    }
}

/// Lets `fill` write each row of `out`, which is to have this size and so many `channels`.
fn each_row(
    context: &Context,
    (what, out, size, channels): (&'static str, &Tensor, (usize, usize), usize),
    fill: impl Fn(usize, &mut Row) + Sync,
) -> candle_core::Result<()> {
    write(what, out, |mut out| {
        out.expect(what, size, channels)?;
        let pixel = out.pixel;
        out.for_each_row(context, |y, values| {
            let mut row = Row {
                values,
                pixel,
                channels,
            };
            fill(y, &mut row);
        });
        Ok(())
    })
}

/// Lets `fill` write each cell of `out`, which is to have this size and so many `channels`.
fn each(
    context: &Context,
    (what, out, size, channels): (&'static str, &Tensor, (usize, usize), usize),
    fill: impl Fn((usize, usize), &mut [f32]) + Sync,
) -> candle_core::Result<()> {
    each_row(context, (what, out, size, channels), |y, row| {
        for x in 0..size.1 {
            fill((y, x), row.cell(x));
        }
    })
}

/// Fills `out`, `[h, w, 1]`, with how much luma changes from a sample to the next in each cell, in codes of 8 bits, x and y added up,
/// mean of two pictures. Their luma, bytes, is split evenly into cells.
///
/// # Errors
/// Sizes that do not fit.
pub fn texture(context: &Context, luma: [&Tensor; 2], out: &Tensor) -> candle_core::Result<()> {
    let [left, right] = luma.map(Source::lock);
    let (left, right) = (left.raster_of::<u8>()?, right.raster_of::<u8>()?);
    left.expect("luma", left.size(), 1)?;
    right.expect("luma", left.size(), 1)?;
    let (h, w, _) = out.dims3()?;
    let cell = (left.height.div_ceil(h), left.width.div_ceil(w));
    each_row(context, ("texture", out, (h, w), 1), |y, row| {
        let made = match context.level() {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            // SAFETY: a context has this level only where the machine has its instructions.
            CpuLevel::VECTORS if cell == cpu::CELL => unsafe {
                cpu::texture([&left, &right], y, row)
            },
            _ => 0..0,
        };
        for x in outside(made, w) {
            let of = |luma| reference::roughness(luma, (y * cell.0, x * cell.1), cell);
            row.cell(x)[0] = 0.5 * (of(&left) + of(&right));
        }
    })
}

/// Fills `out`, `[h, w, 1]`, with the weight that another estimate deserves beside this one, 0 to 1, by what [`measure`] found of
/// `both`, this one and the other, `[h, w, MEASURED]` each, in 3x3 of their cells.
///
/// # Errors
/// Sizes that do not fit.
pub fn weigh(context: &Context, both: [&Tensor; 2], out: &Tensor) -> candle_core::Result<()> {
    let [own, other] = both.map(Source::lock);
    let (own, other) = (own.raster()?, other.raster()?);
    let size = own.size();
    own.expect("the coherence", size, MEASURED)?;
    other.expect("the other coherence", size, MEASURED)?;
    each(context, ("weights", out, size, 1), |at, value| {
        let mean = |of: &Raster, channel| (mean_around(of, at, channel) + LEAST).ln();
        let [constant, a, b, c] = WEIGHT;
        let z = constant + a * mean(&own, 0) + b * mean(&other, 0) + c * mean(&own, 1);
        value[0] = 1.0 / (1.0 + (-z).exp());
    })
}

/// Fills `out`, `[h, w, 1]`, with the incoherence of what is shown of two estimates: this one, `[h, w, MEASURED]`, and another one of
/// cells of any size, with its weight in each of them.
///
/// # Errors
/// Sizes that do not fit.
pub fn settle(
    context: &Context,
    own: &Tensor,
    (other, weights): (&Tensor, &Tensor),
    out: &Tensor,
) -> candle_core::Result<()> {
    let [own, other, weights] = [own, other, weights].map(Source::lock);
    let (own, other, weights) = (own.raster()?, other.raster()?, weights.raster()?);
    let size = own.size();
    own.expect("the coherence", size, MEASURED)?;
    other.expect("the other coherence", weights.size(), MEASURED)?;
    let larger = Larger::new(size, weights.size());
    each_row(context, ("incoherence", out, size, 1), |y, row| {
        let coarse = larger.row(y);
        for i in 0..weights.width {
            let (weight, other) = (weights.at(coarse, i)[0], other.at(coarse, i)[0]);
            for x in larger.columns(i) {
                let own = own.at(y, x)[0];
                row.cell(x)[0] = own + weight * (other - own);
            }
        }
    })
}

/// A lattice over the same picture as another one, with cells larger by a whole number.
struct Larger {
    ratio: (usize, usize),
    /// Rows and columns of the other one, and of this one.
    size: (usize, usize),
    of: (usize, usize),
}

impl Larger {
    /// A lattice of the size `of`, beside one of `size`.
    fn new(size: (usize, usize), of: (usize, usize)) -> Self {
        let ratio = (size.0.div_ceil(of.0), size.1.div_ceil(of.1));
        Self { ratio, size, of }
    }

    /// The row that one of the other lattice lies in.
    fn row(&self, y: usize) -> usize {
        (y / self.ratio.0).min(self.of.0 - 1)
    }

    /// The columns of the other lattice that lie in one.
    fn columns(&self, x: usize) -> Range<usize> {
        let from = |x: usize| (x * self.ratio.1).min(self.size.1);
        from(x)..from(x + 1)
    }
}

/// Changes `confidence`, `[H, W, 1]`, in a turbulent picture, by the incoherence of the motion and the `texture` that it moves,
/// `[h, w, 1]` each.
///
/// # Errors
/// Sizes that do not fit.
pub fn doubt(
    context: &Context,
    incoherence: &Tensor,
    texture: &Tensor,
    confidence: &Tensor,
) -> candle_core::Result<()> {
    let (incoherence, texture) = (Source::lock(incoherence), Source::lock(texture));
    let (incoherence, texture) = (incoherence.raster()?, texture.raster()?);
    incoherence.expect("the incoherence", texture.size(), 1)?;
    let (h, w, _) = confidence.dims3()?;
    let larger = Larger::new((h, w), texture.size());
    each_row(context, ("confidence", confidence, (h, w), 1), |y, row| {
        let coarse = larger.row(y);
        let stakes = incoherence.row(coarse).iter().step_by(incoherence.pixel);
        let textures = texture.row(coarse).iter().step_by(texture.pixel);
        for (i, (incoherence, texture)) in stakes.zip(textures).enumerate() {
            let stake = AT_STAKE * (incoherence * texture);
            for x in larger.columns(i) {
                let value = &mut row.cell(x)[0];
                *value = confidence_of(REMAINS * predicted_error(*value) + stake);
            }
        }
    })
}
