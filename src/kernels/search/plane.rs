//! Luma with its edge repeated all around, so that no patch has to ask where it ends.

use super::{Context, PATCH, Raster, for_each_row};

/// Samples repeated on each side. A patch may lie wholly outside, and interpolates one sample further;
/// a template hangs over by less, and differentiates one sample further.
const BORDER: usize = PATCH + 2;

/// Luma of one picture.
#[derive(Debug)]
pub struct Plane {
    pub size: (usize, usize),
    /// Floats of a row.
    pub row: usize,
    data: Vec<f32>,
}

/// A place between samples: the first of the four around it, and the shares of its right and lower
/// neighbours.
#[derive(Clone, Copy)]
pub struct Place {
    pub at: usize,
    pub x: f32,
    pub y: f32,
}

impl Plane {
    pub fn new(size: (usize, usize)) -> Self {
        let row = size.1 + 2 * BORDER;
        let data = vec![0.0; row * (size.0 + 2 * BORDER)];
        Self { size, row, data }
    }

    pub fn fill(&mut self, context: &Context, luma: &Raster) -> candle_core::Result<()> {
        luma.expect("luma to search", self.size, 1)?;
        let (height, width) = self.size;
        for_each_row(context, &mut self.data, self.row, |y, row| {
            let y = y.saturating_sub(BORDER).min(height - 1);
            let samples = luma.row(y).iter().step_by(luma.pixel);
            for (value, sample) in row[BORDER..].iter_mut().zip(samples) {
                *value = *sample;
            }
            let (first, last) = (row[BORDER], row[BORDER + width - 1]);
            row[..BORDER].fill(first);
            row[BORDER + width..].fill(last);
        });
        Ok(())
    }

    /// From the sample at (`y`, `x`) on; (-1, -1) is the sample before the first row and column.
    #[inline]
    pub fn at(&self, y: isize, x: isize) -> &[f32] {
        let inside = |i: isize| (i + BORDER as isize) as usize;
        &self.data[inside(y) * self.row + inside(x)..]
    }

    /// Where the patch at (`y`, `x`) lies, moved by `flow`: at most just outside.
    #[inline]
    pub fn place(&self, y: usize, x: usize, flow: [f32; 2]) -> Place {
        let axis = |at: usize, flow: f32, size: usize| {
            // `max` answers its argument for what is no number.
            let at = (at as f32 + flow).max(-(PATCH as f32)).min(size as f32);
            let at = at + BORDER as f32;
            (at as usize, at - at.trunc())
        };
        let (row, share_y) = axis(y, flow[1], self.size.0);
        let (column, share_x) = axis(x, flow[0], self.size.1);
        Place {
            at: row * self.row + column,
            x: share_x,
            y: share_y,
        }
    }

    /// From a place on.
    #[inline]
    pub fn at_place(&self, place: &Place) -> &[f32] {
        &self.data[place.at..]
    }
}
