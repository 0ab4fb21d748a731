//! Pictures too large for a network's memory, in parts that overlap and are blended there.

use std::ops::Range;

use candle_core::{Device, Tensor};

use crate::error::Result;
use crate::kernels::Context;
use crate::kernels::picture::{self, Weights};

/// Pixels by which neighbouring parts overlap.
const OVERLAP: usize = 128;

/// A part of an axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub range: Range<usize>,
    /// Pixels that it shares with the part before and with the one behind.
    shared: (usize, usize),
}

impl Span {
    /// What all its pixels weigh.
    fn weights(&self) -> Vec<f32> {
        (0..self.range.len()).map(|i| self.weight(i)).collect()
    }

    /// What the part's pixel `i`, counted from its start, weighs; with the parts beside it 1.
    fn weight(&self, i: usize) -> f32 {
        let (before, behind) = self.shared;
        let ramp = |i: usize, n: usize| ((i as f32 + 0.5) / n as f32).min(1.0);
        let rising = if i < before { ramp(i, before) } else { 1.0 };
        let left = self.range.len() - 1 - i;
        let falling = if left < behind {
            ramp(left, behind)
        } else {
            1.0
        };
        rising * falling
    }
}

/// Parts of `size` pixels that are no longer than `longest` and all of one length.
pub fn spans(size: usize, longest: usize) -> Vec<Span> {
    let longest = longest.max(2 * OVERLAP);
    let count = match size <= longest {
        true => 1,
        false => (size - OVERLAP).div_ceil(longest - OVERLAP),
    };
    let length = (size + (count - 1) * OVERLAP).div_ceil(count);
    let start = |i: usize| match count {
        1 => 0,
        _ => i * (size - length) / (count - 1),
    };
    let shared = |i: usize| start(i) + length - start(i + 1);
    let span = |i: usize| Span {
        range: start(i)..start(i) + length,
        shared: (
            if i == 0 { 0 } else { shared(i - 1) },
            if i + 1 == count { 0 } else { shared(i) },
        ),
    };
    (0..count).map(span).collect()
}

/// A part of a picture.
#[derive(Debug)]
pub struct Tile {
    rows: Range<usize>,
    columns: Range<usize>,
    weights: Weights,
}

/// The parts of a picture of this size, none longer than `longest` to either side.
///
/// # Errors
/// A card has too little memory, or fails.
pub fn of(device: &Device, (height, width): (usize, usize), longest: usize) -> Result<Vec<Tile>> {
    let columns = spans(width, longest);
    let rows = spans(height, longest).into_iter();
    let all = rows.flat_map(|y| columns.iter().map(move |x| (y.clone(), x)));
    let tile = |(rows, columns): (Span, &Span)| {
        let weights = [rows.weights(), columns.weights()];
        Ok(Tile {
            rows: rows.range,
            columns: columns.range.clone(),
            weights: Weights::new(device, weights)?,
        })
    };
    all.map(tile).collect()
}

impl Tile {
    /// Height and width.
    pub fn size(&self) -> (usize, usize) {
        (self.rows.len(), self.columns.len())
    }

    /// The part of `[h, w, c]` that it is.
    ///
    /// # Errors
    /// It is smaller.
    pub fn part(&self, tensor: &Tensor) -> Result<Tensor> {
        let part = tensor.narrow(0, self.rows.start, self.rows.len())?;
        Ok(part.narrow(1, self.columns.start, self.columns.len())?)
    }

    /// Adds what was made of it, weighted, to the whole, which was zeros before the first.
    ///
    /// # Errors
    /// The sizes differ.
    pub fn add(&self, context: &Context, made: &Tensor, whole: &Tensor) -> Result<()> {
        let part = self.part(whole)?;
        Ok(picture::add_faded(context, &self.weights, made, &part)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_everything_and_weigh_one() {
        for size in [1, 255, 256, 700, 701, 1080, 1920, 4321] {
            let spans = spans(size, 700);
            let mut weights = vec![0.0; size];
            for span in &spans {
                assert_eq!(span.range.len(), spans[0].range.len(), "{size}");
                assert!(span.range.len() <= 700, "{size}");
                for (i, at) in span.range.clone().enumerate() {
                    weights[at] += span.weight(i);
                }
            }
            let wrong = weights.iter().position(|w| (w - 1.0).abs() > 1e-5);
            assert_eq!(wrong, None, "{size}: {:?}", wrong.map(|i| weights[i]));
        }
    }

    #[test]
    fn what_fits_is_one_part() {
        let count = |size| of(&Device::Cpu, size, 700).unwrap().len();
        assert_eq!(count((700, 300)), 1);
        assert_eq!(count((1080, 1920)), 2 * 4);
    }
}
