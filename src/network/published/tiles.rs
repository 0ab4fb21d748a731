//! Pictures too large for a network's memory, seen in parts that overlap: what is found in them is blended there.
//!
//! A part sees nothing beyond its edge, where neighbours share [`OVERLAP`] pixels and each counts the less the nearer its edge is. So
//! wherever two meet, the one that counts more sees [`OVERLAP`] / 2 pixels further at least, which is how far what moves by
//! `OVERLAP` between two pictures is from its middle; of faster motion across a seam less is found. Nor do the coarse levels of
//! a network see more than their part, and what it takes of a whole picture (a mean, whether motion is fast) is that of the part.
//!
//! Parts are cut across the longer side first: nearly square ones share least.

use std::ops::Range;

use candle_core::{Device, Tensor};

use super::{Encoded, Options, Published, RGB, Workspace, blend, layers};
use crate::error::Result;
use crate::kernels::picture::{self, Weights};
use crate::kernels::{Context, PhaseMap};

/// Pixels by which neighbouring parts overlap at least, but for up to [`CELL`].
const OVERLAP: usize = 128;
/// Sides of parts are multiples of this, as networks pad what they see.
const MULTIPLE: usize = 64;
/// Pixels of a cell of a plane of phases: parts begin at multiples of it.
const CELL: usize = 8;
/// Longest side of the smallest parts that are worth it: a third of it no other part sees.
const LEAST: usize = 3 * OVERLAP;

/// The longest side of parts of about half the size of those of this one; none where these would be too small.
pub fn shorter(longest: usize) -> Option<usize> {
    let half = (longest + OVERLAP).div_ceil(2).next_multiple_of(MULTIPLE);
    (half >= LEAST && half < longest).then_some(half)
}

/// A part of an axis.
#[derive(Debug, Clone, PartialEq)]
struct Span {
    range: Range<usize>,
    /// Of each pixel; with the parts beside it 1.
    weights: Vec<f32>,
}

/// Parts of an axis of `size` pixels, a multiple of [`CELL`], that are no longer than `longest` and all of one length.
fn spans(size: usize, longest: usize) -> Vec<Span> {
    let longest = (longest / MULTIPLE * MULTIPLE).max(2 * OVERLAP);
    let count = match size <= longest {
        true => 1,
        false => (size - OVERLAP).div_ceil(longest - OVERLAP),
    };
    let length = (size + (count - 1) * OVERLAP).div_ceil(count);
    let length = length.next_multiple_of(MULTIPLE).min(size);
    let start = |i: usize| i * (size - length) / (count - 1).max(1) / CELL * CELL;
    let ranges: Vec<_> = (0..count).map(|i| start(i)..start(i) + length).collect();
    let weight = |i: usize, at: usize| {
        let before = i.checked_sub(1).map(|i| &ranges[i]);
        rising(before, &ranges[i], at) * falling(&ranges[i], ranges.get(i + 1), at)
    };
    // where parts are short three may meet
    let mut sums = vec![0.0; size];
    for (i, range) in ranges.iter().enumerate() {
        range.clone().for_each(|at| sums[at] += weight(i, at));
    }
    let weights = |i: usize| {
        ranges[i]
            .clone()
            .map(|at| weight(i, at) / sums[at])
            .collect()
    };
    let span = |i: usize| Span {
        range: ranges[i].clone(),
        weights: weights(i),
    };
    (0..count).map(span).collect()
}

/// What a pixel of a part weighs by what it shares with the one before.
fn rising(before: Option<&Range<usize>>, own: &Range<usize>, at: usize) -> f32 {
    let shared = before.map_or(0, |before| before.end - own.start);
    ramp(at - own.start, shared)
}

/// The same of the one behind.
fn falling(own: &Range<usize>, behind: Option<&Range<usize>>, at: usize) -> f32 {
    let shared = behind.map_or(0, |behind| own.end - behind.start);
    ramp(own.end - 1 - at, shared)
}

/// From 0 to 1 over so many pixels.
fn ramp(i: usize, pixels: usize) -> f32 {
    match i < pixels {
        true => (i as f32 + 0.5) / pixels as f32,
        false => 1.0,
    }
}

/// Height and width of the parts, none longer than `longest` to either side, of a picture of this size, which are multiples of
/// [`CELL`]; those of the picture where it is not cut.
pub fn size((height, width): (usize, usize), longest: usize) -> (usize, usize) {
    let length = |size| spans(size, longest).first().map_or(size, |s| s.range.len());
    (length(height), length(width))
}

/// A part of a picture.
#[derive(Debug)]
struct Tile {
    rows: Range<usize>,
    columns: Range<usize>,
    weights: Weights,
}

/// The parts of a picture of this size, see [`size`].
fn of(device: &Device, (height, width): (usize, usize), longest: usize) -> Result<Vec<Tile>> {
    let columns = spans(width, longest);
    let rows = spans(height, longest).into_iter();
    let all = rows.flat_map(|y| columns.iter().map(move |x| (y.clone(), x)));
    let tile = |(rows, columns): (Span, &Span)| {
        Ok(Tile {
            rows: rows.range,
            columns: columns.range.clone(),
            weights: Weights::new(device, [rows.weights, columns.weights.clone()])?,
        })
    };
    all.map(tile).collect()
}

impl Tile {
    /// Height and width.
    fn size(&self) -> (usize, usize) {
        (self.rows.len(), self.columns.len())
    }

    /// The part of `[h, w, c]` that it is.
    fn part(&self, tensor: &Tensor) -> Result<Tensor> {
        let part = tensor.narrow(0, self.rows.start, self.rows.len())?;
        Ok(part.narrow(1, self.columns.start, self.columns.len())?)
    }

    /// Of a plane of phases those of its cells.
    fn phases(&self, phase: &PhaseMap) -> Result<PhaseMap> {
        let PhaseMap::Plane(plane) = phase else {
            return Ok(phase.clone());
        };
        let mut own = plane.clone();
        for (axis, range) in [&self.rows, &self.columns].into_iter().enumerate() {
            // what pictures are padded with may have none
            let most = own.dim(axis)?;
            let first = (range.start / CELL).min(most - 1);
            let count = range.len().div_ceil(CELL).min(most - first);
            own = own.narrow(axis, first, count)?;
        }
        Ok(PhaseMap::Plane(own.contiguous()?))
    }

    /// Adds what was made of it, weighted, to the whole, which was zeros before the first; what was made may be padded on the right
    /// and below.
    fn add(&self, context: &Context, made: &Tensor, whole: &Tensor) -> Result<()> {
        let (h, w) = self.size();
        let made = made.narrow(0, 0, h)?.narrow(1, 0, w)?;
        let part = self.part(whole)?;
        Ok(picture::add_faded(context, &self.weights, &made, &part)?)
    }
}

/// Memory for pictures seen in parts.
#[derive(Debug)]
pub struct Parts {
    tiles: Vec<Tile>,
    /// For one of them at a time.
    workspace: Box<Workspace>,
    sides: [Encoded; 2],
    /// Where there is a residual: a part's own picture, and the blend of the whole.
    pictures: Option<[Tensor; 2]>,
}

impl Parts {
    /// For pictures of a padded size.
    ///
    /// # Errors
    /// A card has too little memory.
    pub fn new(
        network: &Published,
        context: &Context,
        (whole, longest): ((usize, usize), usize),
        options: Options,
    ) -> Result<Self> {
        let device = &context.device();
        let workspace = network.workspace(context, size(whole, longest), options)?;
        let room = |(h, w): (usize, usize)| layers::zeros(device, [h, w, RGB]);
        let pictures = || Ok::<_, crate::error::Error>([room(workspace.padded)?, room(whole)?]);
        Ok(Self {
            tiles: of(device, whole, longest)?,
            sides: [network.encoded(&workspace)?, network.encoded(&workspace)?],
            pictures: workspace.residual().map(|_| pictures()).transpose()?,
            workspace: Box::new(workspace),
        })
    }

    /// Fills `motion`, `[h, w, 5]`, with that of all parts, and `residual`, `[h, w, 3]`, with what their pictures together have beyond the
    /// blend along it.
    ///
    /// # Errors
    /// Pictures of another size.
    pub fn run(
        &mut self,
        network: &Published,
        sides: [&Encoded; 2],
        phase: &PhaseMap,
        (motion, residual): (&Tensor, Option<&Tensor>),
    ) -> Result<()> {
        let Self {
            tiles,
            workspace,
            sides: parts,
            pictures,
        } = self;
        let context = &workspace.context.clone();
        picture::fill(context, 0.0, motion)?;
        if let Some(residual) = residual {
            picture::fill(context, 0.0, residual)?;
        }
        for tile in tiles {
            for (side, part) in sides.iter().zip(parts.iter_mut()) {
                workspace.set_colors(part, &tile.part(&side.colors()?)?)?;
                network.encode(workspace, part)?;
            }
            let [left, right] = &*parts;
            network.estimate(workspace, left, right, &tile.phases(phase)?)?;
            tile.add(context, workspace.motion(), motion)?;
            if let Some(([made, _], residual)) = pictures.as_ref().zip(residual) {
                blend(context, [left, right], workspace.motion(), made)?;
                if let Some(own) = workspace.residual() {
                    picture::add_scaled(context, 1.0, own, made)?;
                }
                tile.add(context, made, residual)?;
            }
        }
        if let Some(([_, whole], residual)) = pictures.as_ref().zip(residual) {
            blend(context, sides, motion, whole)?;
            picture::add_scaled(context, -1.0, whole, residual)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_everything_and_weigh_one() {
        for longest in [256, 384, 700, 1984] {
            for size in [8, 256, 264, 392, 704, 712, 1080, 1920, 2160, 4320] {
                let (spans, what) = (spans(size, longest), format!("{size} by {longest}"));
                let mut weights = vec![0.0; size];
                for span in &spans {
                    assert_eq!(span.range.len(), spans[0].range.len(), "{what}");
                    assert_eq!(span.range.len(), span.weights.len(), "{what}");
                    assert!(span.range.len() <= longest, "{what}");
                    assert!(span.range.start.is_multiple_of(CELL), "{what}");
                    for (at, weight) in span.range.clone().zip(&span.weights) {
                        assert!(*weight > 0.0, "{what} at {at}");
                        weights[at] += weight;
                    }
                }
                let wrong = weights.iter().position(|w| (w - 1.0f32).abs() > 1e-6);
                assert_eq!(wrong, None, "{what}: {:?}", wrong.map(|i| weights[i]));
                let shares = spans.windows(2);
                let mut shares = shares.map(|pair| pair[0].range.end - pair[1].range.start);
                assert!(shares.all(|share| share + CELL > OVERLAP), "{what}");
            }
        }
    }

    // a pixel beyond the edge is unseen: there must be no step
    #[test]
    fn a_part_counts_little_at_its_edges() {
        for span in &spans(2160, 768)[1..2] {
            let weights = &span.weights;
            let first = weights.iter().take(OVERLAP / 2).zip(&weights[1..]);
            assert!(weights[0] < 0.01 && weights[weights.len() - 1] < 0.01);
            assert!(first.clone().all(|(a, b)| b > a && b - a < 0.02));
        }
    }

    #[test]
    fn what_fits_is_one_part() {
        let count = |size| of(&Device::Cpu, size, 704).unwrap().len();
        assert_eq!(count((704, 304)), 1);
        assert_eq!(size((704, 304), 704), (704, 304));
        assert_eq!(count((1080, 1920)), 2 * 4);
    }

    #[test]
    fn parts_become_smaller_down_to_what_is_worth_it() {
        let steps = |whole: (usize, usize)| {
            let longest = |(h, w): (usize, usize)| h.max(w);
            let mut part = whole;
            let steps = std::iter::from_fn(move || {
                part = size(whole, shorter(longest(part))?);
                Some(part)
            });
            steps.collect::<Vec<_>>()
        };
        assert_eq!(steps((1080, 1920)), [(640, 1024), (448, 576), (384, 384)]);
        let all = steps((2160, 3840));
        assert_eq!([all[0], all[all.len() - 1]], [(1152, 1984), (384, 384)]);
        assert_eq!(steps((48, 640)), [(48, 384)]);
        assert!(steps((480, 512)).is_empty());
    }
}
