//! Scene cuts and repeated pictures.
//!
//! A cut is told from small pictures of luma and chroma. Blocks of one are sought nearby in the
//! other, and compared by correlation: brightness and contrast do not count, so that fades and
//! flashes are no cuts, and where one side is flat (black, burnt out) nothing is known and nothing
//! is said. Pictures that differ are looked at once more as if the camera had been swung.
//!
//! Two pictures are all there is: whether a flash will end is not known.

use crate::kernels::view::CHANNELS;
use crate::picture::Picture;

mod cells;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

use cells::{Block, Cells, Match, Offset};

/// Cells of a thumbnail's longer side, at most.
const LONGER_SIDE: usize = 64;
/// Side of the blocks that are sought, in 64ths of the longer side.
const BLOCK: usize = 16;
/// How far a block may move to each side, in 64ths of the longer side: a twentieth of the picture.
const REACH: usize = 3;
/// The part of the picture's width and height that a swinging camera may move by.
const SWING: f32 = 1.0 / 3.0;
/// What a swing must explain of the score to be believed. Unrelated pictures, too, fit better
/// somewhere in a third of the picture than in a twentieth.
const DOUBT: f32 = 0.25;
/// Correlation above which a block that has not moved is not sought elsewhere.
const STILL: f32 = 0.95;
/// Share of the picture's cells that stands for nothing being known, in a search of a swing.
const LEAST: f32 = 0.05;

/// What is kept of a picture to find cuts.
#[derive(Debug, Clone, PartialEq)]
pub struct Thumbnail {
    cells: Cells,
    /// The same at half the size.
    half: Cells,
    /// Side of a cell in cells of the view it is made from.
    side: usize,
    /// Cells of a row of that view.
    view_width: usize,
}

impl Thumbnail {
    /// Room for the thumbnail of a view of this size, in cells, at least 1x1. A cell of a view is
    /// luma of 2x2 pixels, U and V, each -0.5 to 0.5.
    pub fn new(width: usize, height: usize) -> Self {
        let side = Self::side((width, height));
        let view_width = width;
        let (width, height) = Self::size((width, height));
        Thumbnail {
            cells: Cells::new(width, height),
            half: Cells::new(width.div_ceil(2), height.div_ceil(2)),
            side,
            view_width,
        }
    }

    /// Side of a cell of the thumbnail of a view of this width and height, in its cells.
    pub fn side((width, height): (usize, usize)) -> usize {
        width.max(height).div_ceil(LONGER_SIDE).max(1)
    }

    /// Width and height of that thumbnail, in cells.
    pub fn size(view: (usize, usize)) -> (usize, usize) {
        let side = Self::side(view);
        (view.0.div_ceil(side), view.1.div_ceil(side))
    }

    /// Makes it from the mean luma, U and V of each of its cells, row by row.
    pub fn fill_means(&mut self, means: impl Iterator<Item = f32>) {
        let cells = &mut self.cells;
        let plane = cells.width * cells.height;
        for (i, mean) in means.take(3 * plane).enumerate() {
            cells.values[i % 3 * plane + i / 3] = mean;
        }
        self.prepare();
    }

    /// Makes it from the rows of a view, as many as it was made for; they may be longer.
    pub fn fill<'a>(&mut self, rows: impl Iterator<Item = &'a [f32]>) {
        let (side, cells) = (self.side, &mut self.cells);
        let plane = cells.width * cells.height;
        let mut counts = [0.0f32; LONGER_SIDE];
        cells.values.fill(0.0);
        for (y, row) in rows.enumerate() {
            let row = &row.as_chunks::<CHANNELS>().0[..self.view_width];
            for (x, group) in row.chunks(side).enumerate() {
                let (mut sum, at) = ([0.0f32; CHANNELS], y / side * cells.width + x);
                for cell in group {
                    (0..CHANNELS).for_each(|c| sum[c] += cell[c]);
                }
                let [a, b, c, d, u, v] = sum.map(|s| s / group.len() as f32);
                cells.values[at] += (a + b + c + d) / 4.0;
                cells.values[plane + at] += u;
                cells.values[2 * plane + at] += v;
            }
            counts[y / side] += 1.0;
        }
        for (i, row) in cells.values.chunks_mut(cells.width).enumerate() {
            let count: f32 = counts[i % cells.height];
            row.iter_mut().for_each(|v| *v /= count.max(1.0));
        }
        self.prepare();
    }

    /// What comparisons need, once the cells are there.
    fn prepare(&mut self) {
        self.half.halve(&self.cells);
        self.half.prepare();
        self.cells.prepare();
    }

    /// Mean of the luma it was made from, -0.5 to 0.5.
    pub fn mean(&self) -> f32 {
        let luma = &self.cells.values[..self.cells.width * self.cells.height];
        luma.iter().sum::<f32>() / luma.len() as f32
    }
}

/// How little two pictures have to do with each other: 0 for the same one, mostly under 0.3 for
/// neighbours in a scene, about 0.7 for strangers, 1 where all is texture and nothing fits; above
/// that is possible.
///
/// Both thumbnails are of pictures of the same size.
pub fn score(left: &Thumbnail, right: &Thumbnail) -> f64 {
    let near = strangeness(&left.cells, &right.cells, (0, 0));
    if near <= DOUBT {
        // The second look could not lower it.
        return f64::from(near);
    }
    let (dx, dy) = swing(&left.half, &right.half);
    let swung = strangeness(&left.cells, &right.cells, (2 * dx, 2 * dy));
    f64::from(near.min(swung + DOUBT))
}

/// How little blocks of each picture fit the other around a shift, 0 to 2, and 0 without evidence.
fn strangeness(left: &Cells, right: &Cells, (dx, dy): Offset) -> f32 {
    let (mut misfit, mut evidence, mut area) = (0.0, 0.0, f32::MIN_POSITIVE);
    for (of, other, shift) in [(left, right, (dx, dy)), (right, left, (-dx, -dy))] {
        for block in of.blocks() {
            if let Some(found) = best(of, other, block, shift) {
                misfit += found.evidence * (1.0 - found.correlation);
                evidence += found.evidence;
                area += found.area;
            }
        }
    }
    2.0 * misfit / (evidence + area)
}

/// The best place for a block around a shift.
fn best(of: &Cells, other: &Cells, block: &Block, (dx, dy): Offset) -> Option<Match> {
    let still = of.compare(other, block, (dx, dy));
    if still.is_some_and(|found| found.correlation > STILL) {
        return still;
    }
    let reach = of.length(REACH) as isize;
    let places =
        (dy - reach..=dy + reach).flat_map(|y| (dx - reach..=dx + reach).map(move |x| (x, y)));
    places
        .filter_map(|shift| of.compare(other, block, shift))
        .max_by(|a, b| a.correlation.total_cmp(&b.correlation))
}

/// The shift of the whole picture that fits best.
fn swing(left: &Cells, right: &Cells) -> Offset {
    let far = |length: usize| (length as f32 * SWING).round() as isize;
    let (x, y) = (far(left.width), far(left.height));
    let shifts = (-y..=y).flat_map(|dy| (-x..=x).map(move |dx| (dx, dy)));
    let fits = shifts.map(|shift| (fit(left, right, shift), shift));
    let best = fits.max_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or((0, 0), |(_, shift)| shift)
}

/// Mean correlation of the blocks that are still inside after a shift, by their evidence.
fn fit(left: &Cells, right: &Cells, shift: Offset) -> f32 {
    // Half as large as a thumbnail, and so are its blocks.
    let blocks = left.blocks().iter();
    let (mut sum, mut evidence) = (0.0, 0.0);
    for found in blocks.filter_map(|block| left.compare(right, block, shift)) {
        sum += found.correlation * found.evidence;
        evidence += found.evidence;
    }
    // Where hardly anything can be compared, little is said.
    sum / (evidence + LEAST * (left.width * left.height) as f32)
}

/// Whether the second picture only repeats the first, bit for bit; [`crate::repeats`] sees through
/// noise.
pub fn repeated(left: &Picture, right: &Picture) -> bool {
    left.same_samples(right)
}
