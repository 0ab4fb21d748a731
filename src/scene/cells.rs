//! Small pictures, and how well a block of one fits another.
//!
//! A block is compared with many places. What each side of a comparison adds alone, a block's deviations from its mean and sums over
//! windows, is made once a picture; a comparison multiplies the block by what lies at the place and adds up, and that is all.

use std::array::from_fn;
use std::ops::Range;

use super::{BLOCK, LONGER_SIDE};

/// Contrast (standard deviation, of 0 to 1) below which there is more noise than picture.
const NOISE: f32 = 0.01;
/// Luma, U and V.
const PLANES: usize = 3;
/// Weight of their variances: chroma varies a quarter as much.
const WEIGHTS: [f32; PLANES] = [1.0, 16.0, 16.0];
/// Side of the largest block.
const SIDE: usize = BLOCK;
/// Cells around a picture: half of a block may be outside of it, to one side.
const BORDER: usize = SIDE / 2;

/// A small picture: planes of luma, U and V, behind each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Cells {
    pub width: usize,
    pub height: usize,
    pub values: Vec<f32>,
    /// The values with a border of zeros around each plane, and a block's width of them at the end.
    bordered: Vec<f32>,
    /// Of all cells above and to the left of each one, and of each place behind the last.
    sums: Vec<Sums>,
    blocks: Vec<Block>,
}

/// A place in a picture, or by how much it differs from another: x, y.
pub type Offset = (isize, isize);

/// Columns and rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Area {
    pub columns: Range<usize>,
    pub rows: Range<usize>,
}

impl Area {
    pub fn cells(&self) -> usize {
        self.columns.len() * self.rows.len()
    }
}

/// A part of a picture that is sought in another.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    pub area: Area,
    /// Mean of each plane.
    means: [f64; PLANES],
    /// Differences from the mean, times the plane's weight; zero beside the block. Products with them are as small as the block's
    /// contrast is, so that single precision is enough for those.
    deviations: [[[f32; SIDE]; SIDE]; PLANES],
}

/// Of each plane of some cells, the sum of the values, and that of their squares.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Sums([f64; 2 * PLANES]);

impl Sums {
    fn of(values: [f32; PLANES]) -> Self {
        Sums(from_fn(|i| {
            let value = f64::from(values[i % PLANES]);
            if i < PLANES { value } else { value * value }
        }))
    }

    fn add(self, other: Self) -> Self {
        Sums(from_fn(|i| self.0[i] + other.0[i]))
    }

    fn subtract(self, other: Self) -> Self {
        Sums(from_fn(|i| self.0[i] - other.0[i]))
    }

    fn divided(self, by: f64) -> Self {
        Sums(self.0.map(|sum| sum / by))
    }

    /// Of means, the weighted variances of the planes.
    fn variances(&self) -> [f32; PLANES] {
        from_fn(|i| WEIGHTS[i] * (self.0[PLANES + i] - self.0[i] * self.0[i]) as f32)
    }
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
        let mut cells = Cells {
            width,
            height,
            values: vec![0.0; PLANES * width * height],
            bordered: Vec::new(),
            sums: vec![Sums::default(); (width + 1) * (height + 1)],
            blocks: Vec::new(),
        };
        let size = PLANES * cells.bordered_rows() * cells.stride() + SIDE;
        cells.bordered.resize(size, 0.0);
        cells.blocks = cells.areas().map(Block::new).collect();
        cells
    }

    fn row(&self, plane: usize, y: usize) -> &[f32] {
        &self.values[(plane * self.height + y) * self.width..][..self.width]
    }

    fn stride(&self) -> usize {
        self.width + 2 * BORDER
    }

    fn bordered_rows(&self) -> usize {
        self.height + 2 * BORDER
    }

    /// Fills it with the means of 2x2 cells of `larger`.
    pub fn halve(&mut self, larger: &Cells) {
        for plane in 0..PLANES {
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

    /// Makes what comparisons need of the values.
    pub fn prepare(&mut self) {
        let (stride, rows) = (self.stride(), self.bordered_rows());
        for (i, row) in self.values.chunks_exact(self.width).enumerate() {
            let at = (i / self.height * rows + i % self.height + BORDER) * stride + BORDER;
            self.bordered[at..at + self.width].copy_from_slice(row);
        }
        for y in 0..self.height {
            let mut left = Sums::default();
            for x in 0..self.width {
                let cell = from_fn(|plane| self.values[(plane * self.height + y) * self.width + x]);
                left = left.add(Sums::of(cell));
                let at = y * (self.width + 1) + x + 1;
                self.sums[at + self.width + 1] = self.sums[at].add(left);
            }
        }
        let mut blocks = std::mem::take(&mut self.blocks);
        blocks.iter_mut().for_each(|block| block.fill(self));
        self.blocks = blocks;
    }

    /// `sixty_fourths` of a thumbnail's longer side, rounded.
    pub fn length(&self, sixty_fourths: usize) -> usize {
        (self.width.max(self.height) * sixty_fourths + LONGER_SIDE / 2) / LONGER_SIDE
    }

    /// The picture in blocks; a last one of less than half a block's side is left out.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    fn areas(&self) -> impl Iterator<Item = Area> + use<> {
        let side = self.length(BLOCK).max(2);
        let ranges = move |length: usize| {
            (0..length)
                .step_by(side)
                .filter(move |&at| at == 0 || at + side / 2 < length)
                .map(move |at| at..length.min(at + side))
        };
        let width = self.width;
        ranges(self.height).flat_map(move |rows| {
            ranges(width).map(move |columns| Area {
                columns,
                rows: rows.clone(),
            })
        })
    }

    /// The part of an area that is inside the picture after a shift; `None` if less than half is.
    fn inside(&self, area: &Area, (dx, dy): Offset) -> Option<Area> {
        let part = |range: &Range<usize>, by: isize, length: usize| {
            let start = range.start.max(0usize.saturating_add_signed(-by));
            start..range.end.min(length.saturating_add_signed(-by)).max(start)
        };
        let kept = Area {
            columns: part(&area.columns, dx, self.width),
            rows: part(&area.rows, dy, self.height),
        };
        (2 * kept.cells() >= area.cells()).then_some(kept)
    }

    /// How well a block of this picture fits `other`, as large, at a shifted place; `None` if
    /// that is outside.
    pub fn compare(&self, other: &Cells, block: &Block, shift: Offset) -> Option<Match> {
        let kept = self.inside(&block.area, shift)?;
        let count = kept.cells() as f64;
        let here = self.sums_in(&kept, (0, 0)).divided(count);
        let there = other.sums_in(&kept, shift).divided(count);
        let products = f64::from(other.products(block, shift)) / count;
        // the deviations of a part of a block have a mean of their own
        let (mut shared, mut possible, mut contrast) = (products, 0.0, 0.0);
        let (left, right) = (here.variances(), there.variances());
        for (plane, weight) in WEIGHTS.into_iter().enumerate() {
            let deviation = f64::from(weight) * (here.0[plane] - block.means[plane]);
            shared -= deviation * there.0[plane];
            possible += noisy(left[plane], right[plane]);
            contrast += left[plane].min(right[plane]).max(0.0);
        }
        let (area, contrast) = (count as f32, contrast.sqrt());
        Some(Match {
            correlation: shared as f32 / possible,
            area,
            evidence: area * contrast / (contrast + NOISE),
        })
    }

    /// Of the cells of an area that is inside after the shift.
    fn sums_in(&self, area: &Area, (dx, dy): Offset) -> Sums {
        let at = |x: usize, y: usize| {
            let (x, y) = (x.wrapping_add_signed(dx), y.wrapping_add_signed(dy));
            self.sums[y * (self.width + 1) + x]
        };
        let Area { columns, rows } = area;
        let lower = at(columns.end, rows.end).subtract(at(columns.start, rows.end));
        let upper = at(columns.end, rows.start).subtract(at(columns.start, rows.start));
        lower.subtract(upper)
    }

    /// The sum of a block's deviations times the values at a shifted place, of which half the block is inside; others count as 0.
    fn products(&self, block: &Block, shift: Offset) -> f32 {
        match block.area.columns.len() <= SIDE / 2 {
            true => self.products_of::<{ SIDE / 2 }>(block, shift),
            false => self.products_of::<SIDE>(block, shift),
        }
    }

    /// The same for a block of at most so many columns; as many are read, so that vector registers can be used.
    fn products_of<const COLUMNS: usize>(&self, block: &Block, (dx, dy): Offset) -> f32 {
        let Area { columns, rows } = &block.area;
        let x = (columns.start + BORDER).wrapping_add_signed(dx);
        let y = (rows.start + BORDER).wrapping_add_signed(dy);
        let mut sums = [0.0f32; COLUMNS];
        for (plane, deviations) in block.deviations.iter().enumerate() {
            let at = (plane * self.bordered_rows() + y) * self.stride() + x;
            let there = self.bordered[at..].chunks(self.stride());
            for (here, there) in deviations[..rows.len()].iter().zip(there) {
                let (here, there) = (&here[..COLUMNS], &there[..COLUMNS]);
                for i in 0..COLUMNS {
                    sums[i] += here[i] * there[i];
                }
            }
        }
        sums.iter().sum()
    }
}

impl Block {
    fn new(area: Area) -> Self {
        Block {
            area,
            means: [0.0; PLANES],
            deviations: [[[0.0; SIDE]; SIDE]; PLANES],
        }
    }

    /// Takes what the picture, which has its sums, has there.
    fn fill(&mut self, of: &Cells) {
        let Area { columns, rows } = &self.area;
        let sums = of.sums_in(&self.area, (0, 0));
        let Sums(means) = sums.divided(self.area.cells() as f64);
        for (plane, weight) in WEIGHTS.into_iter().enumerate() {
            self.means[plane] = means[plane];
            for (y, out) in rows.clone().zip(&mut self.deviations[plane]) {
                let row = &of.row(plane, y)[columns.clone()];
                for (value, out) in row.iter().zip(out) {
                    let deviation = f64::from(*value) - means[plane];
                    *out = weight * deviation as f32;
                }
            }
        }
    }
}

/// Geometric mean of two variances that are never 0.
fn noisy(left: f32, right: f32) -> f32 {
    let with_noise = |variance: f32| variance.max(0.0) + NOISE * NOISE;
    (with_noise(left) * with_noise(right)).sqrt()
}
