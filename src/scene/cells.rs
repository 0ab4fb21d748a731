//! Small pictures, and how well a block of one fits another.

use std::ops::Range;

use super::LONGER_SIDE;

/// Contrast (standard deviation, of 0 to 1) below which there is more noise than picture.
const NOISE: f32 = 0.01;
/// Weight of the variances of luma, U and V: chroma varies a quarter as much.
const WEIGHTS: [f32; 3] = [1.0, 16.0, 16.0];

/// A small picture: planes of luma, U and V, behind each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Cells {
    pub width: usize,
    pub height: usize,
    pub values: Vec<f32>,
}

/// A place in a picture, or by how much it differs from another: x, y.
pub type Offset = (isize, isize);

/// Columns and rows.
#[derive(Clone)]
pub struct Block {
    columns: Range<usize>,
    rows: Range<usize>,
}

/// How well two blocks fit.
#[derive(Debug, Clone, Copy)]
pub struct Match {
    /// -1 to 1.
    pub correlation: f32,
    /// Cells that were compared.
    pub area: f32,
    /// As many, fewer where one of the two is flat.
    pub evidence: f32,
}

impl Cells {
    pub fn new(width: usize, height: usize) -> Self {
        Cells {
            width,
            height,
            values: vec![0.0; 3 * width * height],
        }
    }

    fn row(&self, plane: usize, y: usize) -> &[f32] {
        &self.values[(plane * self.height + y) * self.width..][..self.width]
    }

    /// Fills it with the means of 2x2 cells of `larger`.
    pub fn halve(&mut self, larger: &Cells) {
        for plane in 0..3 {
            for y in 0..self.height {
                let upper = larger.row(plane, 2 * y);
                let lower = larger.row(plane, (2 * y + 1).min(larger.height - 1));
                for x in 0..self.width {
                    let next = (2 * x + 1).min(larger.width - 1);
                    let sum = upper[2 * x] + upper[next] + lower[2 * x] + lower[next];
                    self.values[(plane * self.height + y) * self.width + x] = sum / 4.0;
                }
            }
        }
    }

    /// `sixty_fourths` of a thumbnail's longer side, rounded.
    pub fn length(&self, sixty_fourths: usize) -> usize {
        (self.width.max(self.height) * sixty_fourths + LONGER_SIDE / 2) / LONGER_SIDE
    }

    /// The picture in blocks of this side; a last one of less than half of it is left out.
    pub fn blocks(&self, side: usize) -> impl Iterator<Item = Block> {
        let ranges = move |length: usize| {
            (0..length)
                .step_by(side)
                .filter(move |&at| at == 0 || at + side / 2 < length)
                .map(move |at| at..length.min(at + side))
        };
        let width = self.width;
        ranges(self.height).flat_map(move |rows| {
            ranges(width).map(move |columns| Block {
                columns,
                rows: rows.clone(),
            })
        })
    }

    /// The part of a block that is inside the picture after a shift; `None` if less than half is.
    fn inside(&self, block: &Block, (dx, dy): Offset) -> Option<Block> {
        let part = |range: &Range<usize>, by: isize, length: usize| {
            let start = range.start.max(0usize.saturating_add_signed(-by));
            start..range.end.min(length.saturating_add_signed(-by)).max(start)
        };
        let kept = Block {
            columns: part(&block.columns, dx, self.width),
            rows: part(&block.rows, dy, self.height),
        };
        let area = |b: &Block| b.columns.len() * b.rows.len();
        (2 * area(&kept) >= area(block)).then_some(kept)
    }

    /// How well a block of this picture fits `other`, as large, at a shifted place; `None` if
    /// that is outside.
    pub fn compare(&self, other: &Cells, block: &Block, shift: Offset) -> Option<Match> {
        let kept = self.inside(block, shift)?;
        let area = (kept.columns.len() * kept.rows.len()) as f32;
        let (mut shared, mut possible, mut contrast) = (0.0, 0.0, 0.0);
        for (plane, weight) in WEIGHTS.into_iter().enumerate() {
            let moments = self.moments(other, plane, &kept, shift);
            let [left, right, both] = moments.map(|v| weight * v / area);
            shared += both;
            possible += noisy(left) * noisy(right);
            contrast += left.min(right).max(0.0);
        }
        let contrast = contrast.sqrt();
        Some(Match {
            correlation: shared / possible,
            area,
            evidence: area * contrast / (contrast + NOISE),
        })
    }

    /// Variances of both and their covariance, times the number of cells.
    fn moments(&self, other: &Cells, plane: usize, block: &Block, (dx, dy): Offset) -> [f32; 3] {
        let mut sums = Sums::default();
        let columns =
            block.columns.start.wrapping_add_signed(dx)..block.columns.end.wrapping_add_signed(dx);
        for y in block.rows.clone() {
            let here = &self.row(plane, y)[block.columns.clone()];
            let there = &other.row(plane, y.wrapping_add_signed(dy))[columns.clone()];
            sums.add(here, there);
        }
        let [a, b, aa, bb, ab] = sums.0.map(|lanes| lanes.iter().sum::<f32>());
        let count = (block.columns.len() * block.rows.len()) as f32;
        [aa - a * a / count, bb - b * b / count, ab - a * b / count]
    }
}

/// Standard deviation, never 0.
fn noisy(variance: f32) -> f32 {
    (variance.max(0.0) + NOISE * NOISE).sqrt()
}

/// Values that are added side by side, so that vector registers can be used.
const LANES: usize = 4;

/// Sums of two series, of their squares and of their products, each in parts.
#[derive(Default, Clone, Copy)]
struct Sums([[f32; LANES]; 5]);

impl Sums {
    fn add(&mut self, a: &[f32], b: &[f32]) {
        let mut sums = *self;
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        for (a, b) in a.iter().zip(b) {
            for lane in 0..LANES {
                sums.add_one(lane, a[lane], b[lane]);
            }
        }
        for (lane, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
            sums.add_one(lane, *a, *b);
        }
        *self = sums;
    }

    #[inline(always)]
    fn add_one(&mut self, lane: usize, a: f32, b: f32) {
        let [left, right, squares_left, squares_right, products] = &mut self.0;
        left[lane] += a;
        right[lane] += b;
        squares_left[lane] += a * a;
        squares_right[lane] += b * b;
        products[lane] += a * b;
    }
}
