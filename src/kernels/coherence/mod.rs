//! How coherent a motion is: large regions move less wildly than small ones, and where the motion found contradicts this it is
//! turbulent.
//!
//! Three things tell of a cell, each in cells, and [`measure`] adds them up to e:
//! - the forward-backward error, |f(x) + b(x + f(x))|, mean of both ways: what is found from left to right has to lead back;
//! - the root of the energy of divergence and curl, (∂u/∂x + ∂v/∂y)² + (∂v/∂x − ∂u/∂y)², mean of both ways: neighbours tear or whirl;
//! - the spread of motion among 3x3 cells, times the ratio of that spread to the one among 9x9: motion that belongs to things
//!   spreads with the size of the region, from edge to edge of them, noise spreads as much in the smallest.
//!
//! The incoherence is e / (e + [`HALF`]): 0 where all is of one piece, towards 1 where nothing fits. Which of it matters is a
//! question of texture: where there is none, wrong motion shows nothing.

use std::array::from_fn;

use candle_core::Tensor;

use super::Context;
use super::change::mean_around;
use super::confidence::{confidence_of, predicted_error};
use super::hypotheses::sample;
use super::raster::{Raster, Source, write};

#[cfg(test)]
mod tests;

/// Values that [`measure`] finds of a cell: incoherence, length of the motion in cells.
pub const MEASURED: usize = 2;
/// Values of a small region that lie between the steps: mean motion of both ways, mean of its squares.
pub const REGION: usize = 5;
/// Cells of contradiction at which a cell is incoherent by a half.
const HALF: f32 = 0.5;
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
    let found = Source::lock(found);
    let found = found.raster()?;
    found.expect("the motion found", found.size(), 4)?;
    let size = found.size();
    each(context, ("regions", regions, size, REGION), |at, cell| {
        cell.copy_from_slice(&region(&found, at));
    })?;
    let regions = Source::lock(regions);
    let regions = regions.raster()?;
    each(context, ("coherence", out, size, MEASURED), |at, cell| {
        let e = returning(&found, at) + whirling(&found, at) + spreading(&regions, at);
        cell.copy_from_slice(&[incoherence(e), length(&found, at)]);
    })
}

/// Lets `fill` write each cell of `out`, which is to have this size and so many `channels`.
fn each(
    context: &Context,
    (what, out, size, channels): (&'static str, &Tensor, (usize, usize), usize),
    fill: impl Fn((usize, usize), &mut [f32]) + Sync,
) -> candle_core::Result<()> {
    write(what, out, |mut out| {
        out.expect(what, size, channels)?;
        let pixel = out.pixel;
        out.for_each_row(context, |y, row| {
            for (x, cell) in row.chunks_mut(pixel).enumerate() {
                fill((y, x), &mut cell[..channels]);
            }
        });
        Ok(())
    })
}

/// 1 for what is no number.
fn incoherence(e: f32) -> f32 {
    let of = e / (e + HALF);
    if of < 1.0 { of } else { 1.0 }
}

fn norm([x, y]: [f32; 2]) -> f32 {
    (x * x + y * y).sqrt()
}

/// How far from its start the motion there and back ends, mean of both ways.
fn returning(found: &Raster, at: (usize, usize)) -> f32 {
    let own = motion(found, at);
    let way = |first: usize| {
        let there = [own[first], own[first + 1]];
        let back = sample(found, at, 2 - first, there);
        norm([there[0] + back[0], there[1] + back[1]])
    };
    0.5 * (way(0) + way(2))
}

/// Root of the energy of divergence and curl.
fn whirling(found: &Raster, (y, x): (usize, usize)) -> f32 {
    let [top, _, bottom] = around(y, 1, found.height);
    let [first, _, last] = around(x, 1, found.width);
    let [left, right] = [first, last].map(|x| motion(found, (y, x)));
    let [above, below] = [top, bottom].map(|y| motion(found, (y, x)));
    let way = |first: usize| {
        let along_x = |c: usize| 0.5 * (right[first + c] - left[first + c]);
        let along_y = |c: usize| 0.5 * (below[first + c] - above[first + c]);
        let (divergence, curl) = (along_x(0) + along_y(1), along_x(1) - along_y(0));
        divergence * divergence + curl * curl
    };
    (0.5 * (way(0) + way(2))).sqrt()
}

/// Mean motion of the 3x3 cells around one, the edge repeated, and the mean of its squares.
fn region(found: &Raster, at: (usize, usize)) -> [f32; REGION] {
    // four at a time are a vector
    let (mut sums, mut squares) = ([0.0; 4], [0.0; 4]);
    let columns = around(at.1, 1, found.width);
    for y in around(at.0, 1, found.height) {
        for x in columns {
            let motion = motion(found, (y, x));
            sums = from_fn(|c| sums[c] + motion[c]);
            squares = from_fn(|c| squares[c] + motion[c] * motion[c]);
        }
    }
    let [a, b, c, d] = sums;
    [a, b, c, d, squares.iter().sum()].map(|sum| sum / 9.0)
}

/// The motion of a cell, both ways.
fn motion(found: &Raster, (y, x): (usize, usize)) -> [f32; 4] {
    let cell = found.at(y, x);
    [cell[0], cell[1], cell[2], cell[3]]
}

/// Spread of motion among 3x3 cells, times the ratio to that among 9x9.
fn spreading(regions: &Raster, (y, x): (usize, usize)) -> f32 {
    let (mut sums, mut squares) = ([0.0; 4], 0.0);
    let columns = around(x, APART, regions.width);
    for y in around(y, APART, regions.height) {
        for x in columns {
            let region = regions.at(y, x);
            sums = from_fn(|c| sums[c] + region[c]);
            squares += region[4];
        }
    }
    let large = variance(sums.map(|sum| sum / 9.0), squares / 9.0);
    let small = variance(motion(regions, (y, x)), regions.at(y, x)[4]);
    (small * (small + STILL) / (large + STILL)).sqrt()
}

/// Of the motion in a region, mean of both ways.
fn variance(means: [f32; 4], of_squares: f32) -> f32 {
    (0.5 * (of_squares - means.map(|v| v * v).iter().sum::<f32>())).max(0.0)
}

/// A place and those so far to both sides, inside.
fn around(at: usize, by: usize, size: usize) -> [usize; 3] {
    [at.saturating_sub(by), at, (at + by).min(size - 1)]
}

/// Mean of both ways.
fn length(found: &Raster, (y, x): (usize, usize)) -> f32 {
    let m = motion(found, (y, x));
    0.5 * (norm([m[0], m[1]]) + norm([m[2], m[3]]))
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
    each(context, ("texture", out, (h, w), 1), |(y, x), value| {
        let of = |luma| roughness(luma, (y * cell.0, x * cell.1), cell);
        value[0] = 0.5 * (of(&left) + of(&right));
    })
}

/// Mean of what luma changes to the right and downwards, of the samples of a cell that begins at (`y`, `x`); 0 where that is outside.
fn roughness(luma: &Raster<u8>, (y, x): (usize, usize), cell: (usize, usize)) -> f32 {
    let [bottom, end] = [luma.height.min(y + cell.0), luma.width.min(x + cell.1)];
    let (top, x) = (y.min(bottom), x.min(end));
    let differ = |a: &[u8], b: &[u8]| -> u32 {
        let pairs = a.iter().zip(b);
        pairs.map(|(a, b)| u32::from(a.abs_diff(*b))).sum()
    };
    let mut sum = 0;
    for y in top..bottom {
        let (here, below) = (luma.row(y), luma.row((y + 1).min(luma.height - 1)));
        // the last sample of a row has no next one, and differs by nothing
        sum += differ(&here[x..end], &below[x..end]);
        sum += differ(
            &here[x..end],
            &here[(x + 1).min(end)..luma.width.min(end + 1)],
        );
    }
    sum as f32 / ((bottom - top) * (end - x)).max(1) as f32
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
    each(context, ("incoherence", out, size, 1), |at, value| {
        let (y, x) = placed(at, size, weights.size());
        let own = own.at(at.0, at.1)[0];
        value[0] = own + weights.at(y, x)[0] * (other.at(y, x)[0] - own);
    })
}

/// The cell of a lattice of one size that a cell of a lattice of another size over the same picture lies in.
fn placed(at: (usize, usize), size: (usize, usize), of: (usize, usize)) -> (usize, usize) {
    // cells are larger by a whole number
    let along = |at: usize, size: usize, of: usize| (at / size.div_ceil(of)).min(of - 1);
    (along(at.0, size.0, of.0), along(at.1, size.1, of.1))
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
    each(
        context,
        ("confidence", confidence, (h, w), 1),
        |at, value| {
            let (y, x) = placed(at, (h, w), texture.size());
            let stake = incoherence.at(y, x)[0] * texture.at(y, x)[0];
            value[0] = confidence_of(REMAINS * predicted_error(value[0]) + AT_STAKE * stake);
        },
    )
}
