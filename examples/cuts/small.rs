//! Pictures reduced to what cuts are found from, and what may be done to them.

use crate::common::frame::Frame;
use gstvideointerpolate::scene::Thumbnail;

/// Longer side of a small picture, at most.
const LONGER_SIDE: usize = 320;

/// Luma, U and V of each cell, -0.5 to 0.5.
#[derive(Clone)]
pub struct Small {
    pub width: usize,
    pub height: usize,
    pub cells: Vec<[f32; 3]>,
}

impl Small {
    /// Means over squares of a frame.
    pub fn of(frame: &Frame) -> Self {
        let side = frame.width.max(frame.height).div_ceil(LONGER_SIDE).max(2);
        let (width, height) = (frame.width.div_ceil(side), frame.height.div_ceil(side));
        let mut sums = vec![[0.0f32; 3]; width * height];
        let mut counts = sums.clone();
        for (plane, samples) in frame.planes().into_iter().enumerate() {
            let subsampling = usize::from(plane > 0);
            let row = frame.plane_size(plane).0;
            for (y, samples) in samples.chunks(row).enumerate() {
                let cells = (y << subsampling) / side * width;
                for (x, &code) in samples.iter().enumerate() {
                    let cell = cells + (x << subsampling) / side;
                    sums[cell][plane] += f32::from(code) / 255.0 - 0.5;
                    counts[cell][plane] += 1.0;
                }
            }
        }
        for (sum, count) in sums.iter_mut().zip(&counts) {
            (0..3).for_each(|i| sum[i] /= count[i].max(1.0));
        }
        Self {
            width,
            height,
            cells: sums,
        }
    }

    /// What the engine would compare.
    pub fn thumbnail(&self) -> Thumbnail {
        let view = |&[l, u, v]: &[f32; 3]| [l, l, l, l, u, v];
        let view: Vec<f32> = self.cells.iter().flat_map(view).collect();
        let mut thumbnail = Thumbnail::new(self.width, self.height);
        thumbnail.fill(view.chunks(6 * self.width));
        thumbnail
    }

    /// The same picture as a frame of 4:2:0.
    pub fn frame(&self) -> Frame {
        let mut frame = Frame::new(self.width, self.height);
        let rows = [0, 1, 2].map(|plane| frame.plane_size(plane).0);
        for (plane, samples) in frame.planes_mut().into_iter().enumerate() {
            let subsampling = usize::from(plane > 0);
            for (i, sample) in samples.iter_mut().enumerate() {
                let (x, y) = (i % rows[plane], i / rows[plane]);
                let cell = (y << subsampling) * self.width + (x << subsampling);
                *sample = ((self.cells[cell][plane] + 0.5) * 255.0).round() as u8;
            }
        }
        frame
    }

    /// The same picture in another size, bilinear.
    pub fn resized(&self, width: usize, height: usize) -> Self {
        let at =
            |i: usize, from: usize, to: usize| (i as f32 + 0.5) * from as f32 / to as f32 - 0.5;
        let cells = (0..width * height).map(|i| {
            let x = at(i % width, self.width, width);
            let y = at(i / width, self.height, height);
            self.sample(x, y)
        });
        Self {
            width,
            height,
            cells: cells.collect(),
        }
    }

    /// Between the cells, the edge repeated.
    pub fn sample(&self, x: f32, y: f32) -> [f32; 3] {
        let x = x.clamp(0.0, (self.width - 1) as f32);
        let y = y.clamp(0.0, (self.height - 1) as f32);
        let (left, top) = (x as usize, y as usize);
        let (right, bottom) = (
            (left + 1).min(self.width - 1),
            (top + 1).min(self.height - 1),
        );
        let at = |x: usize, y: usize| &self.cells[y * self.width + x];
        let (tx, ty) = (x - left as f32, y - top as f32);
        let upper = mix(at(left, top), at(right, top), tx);
        mix(&upper, &mix(at(left, bottom), at(right, bottom), tx), ty)
    }

    /// Each cell changed by `change`, which is told where it is.
    pub fn map(&self, change: impl Fn(f32, f32, &[f32; 3]) -> [f32; 3]) -> Self {
        let width = self.width;
        let cells = self.cells.iter().enumerate();
        Self {
            cells: cells
                .map(|(i, cell)| change((i % width) as f32, (i / width) as f32, cell))
                .collect(),
            ..*self
        }
    }

    /// Dissolved into another picture of the same size.
    pub fn mixed(&self, other: &Self, weight: f32) -> Self {
        let cells = self.cells.iter().zip(&other.cells);
        Self {
            cells: cells.map(|(a, b)| mix(a, b, weight)).collect(),
            ..*self
        }
    }
}

/// `a` at weight 0, `b` at weight 1.
pub fn mix(a: &[f32; 3], b: &[f32; 3], weight: f32) -> [f32; 3] {
    std::array::from_fn(|i| a[i] + weight * (b[i] - a[i]))
}
