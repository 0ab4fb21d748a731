//! Flow and mask in fixed point: the cells of the lattice around a tile, and those of one row of it,
//! ready to be interpolated between its columns.
//!
//! A flow counts 1/128 luma pixels and lies within 256 of them around the tile's base, which is zero
//! unless the tile moves far. All interpolation rounds to these steps, halves up.

use super::{BAND, SUBSAMPLING, Tile};
use crate::kernels::CpuLevel;
use crate::kernels::raster::Raster;

/// Pixels a cell of the lattice is wide and high.
const CELL: usize = 4;
/// Luma samples of a row that are worked on together.
pub const TILE: usize = 2048;
/// Binary digits of a flow behind the point.
pub const FLOW_BITS: u32 = 7;
/// The weight 1.
pub const WHOLE: i16 = 1 << 14;
/// Luma pixels that a tile has to move for its flows to be counted from another base.
const NEAR: f32 = 128.0;
/// Values of a cell: x and y to the left, x and y to the right, the left one's weight.
const VALUES: usize = 5;
/// Rows of the lattice that a band lies between.
const ROWS: usize = BAND / CELL + 2;
/// Columns of it that a tile lies between, and what vectors reach beyond.
const COLUMNS: usize = TILE / CELL + 16;
/// Cells of a row where they are densest (one a sample), and what vectors reach beyond.
const CELLS: usize = TILE + 32;

/// Where sample `i`, counted from the start of a cell, lies if there are `scale` (4, 2 or 1) a cell:
/// between cell `.0` and the next, counted from the cell before, and the share of the next in eighths.
pub const fn place(i: usize, scale: usize) -> (usize, i16) {
    // From the centre of the cell before, which is half a cell before the start.
    let eighths = (2 * i + 1) * (CELL / scale) + 4;
    (eighths / 8, (eighths % 8) as i16)
}

/// Between `a` and `b`, exactly `a` where they are the same or `eighths` (0 to 7) is none.
#[inline]
pub fn between(a: i16, b: i16, eighths: i16) -> i16 {
    let difference = i32::from(b.saturating_sub(a));
    a + ((difference * i32::from(eighths) + 4) >> 3) as i16
}

/// A number of luma pixels in steps, counted from `base`; what is no number is 0 pixels.
#[inline(always)]
fn steps(value: f32, base: i32) -> i16 {
    // beyond all pictures, so that nothing overflows
    const FAR: f32 = 1e6;
    let value = match value.is_nan() {
        true => 0.0,
        false => value.clamp(-FAR, FAR),
    };
    rounded((value - base as f32) * (1 << FLOW_BITS) as f32)
}

/// A weight, brought into 0 to 1, as a share of [`WHOLE`]; 0 for what is no number.
#[inline(always)]
fn weight(value: f32) -> i16 {
    let value = if value > 0.0 { value.min(1.0) } else { 0.0 };
    rounded(value * f32::from(WHOLE))
}

/// The nearest whole number, the even one of two; the nearest that there is if it is too large.
#[inline(always)]
fn rounded(value: f32) -> i16 {
    // The unit of this number's last place is 1, and its low bits are zero.
    const UNITS: f32 = 12_582_912.0;
    let value = value.clamp(f32::from(i16::MIN), f32::from(i16::MAX));
    (value + UNITS).to_bits() as i16
}

/// The base of a tile whose middle has this flow: what all subsamplings divide.
fn base(flow: &[f32]) -> [i32; 4] {
    std::array::from_fn(|i| {
        let far = flow[i].abs() > NEAR && flow[i].abs() < 1e6;
        if far {
            flow[i] as i32 >> SUBSAMPLING << SUBSAMPLING
        } else {
            0
        }
    })
}

/// Flow on the lattice.
pub struct Flow<'a> {
    /// Four channels: x and y to the left, x and y to the right.
    pub cells: Raster<'a>,
    /// Luma pixels that a unit of it is.
    pub scale: f32,
}

impl Flow<'_> {
    fn at(&self, y: usize, x: usize) -> [f32; 4] {
        let cell = self.cells.at(y, x);
        std::array::from_fn(|i| self.scale * cell[i])
    }
}

/// The cells of the lattice that a tile lies between, the edges of the lattice repeated outwards.
/// Column `i` is that of the lattice before the tile's first pixel, and `i` further; rows alike.
pub struct Block {
    rows: [[[i16; COLUMNS]; VALUES]; ROWS],
    /// The smallest and the largest of each row.
    ranges: [[(i16, i16); VALUES]; ROWS],
    base: [i32; 4],
    /// How many values of a cell there are: all, or no weight.
    values: usize,
}

impl Block {
    pub fn new() -> Self {
        Block {
            rows: [[[0; COLUMNS]; VALUES]; ROWS],
            ranges: [[(0, 0); VALUES]; ROWS],
            base: [0; 4],
            values: VALUES,
        }
    }

    /// Of the `flow`, and of the left one's weight if there is one, a value a cell without gaps between them.
    pub fn fill(&mut self, level: CpuLevel, flow: &Flow, weight: Option<&Raster>, tile: &Tile) {
        let (y, x) = (tile.rows.start / CELL, tile.columns.start / CELL);
        let (last_y, last_x) = (flow.cells.height - 1, flow.cells.width - 1);
        let middle = [&tile.rows, &tile.columns].map(|r| (r.start + r.end) / 2 / CELL);
        self.base = base(&flow.at(middle[0], middle[1]));
        self.values = if weight.is_some() { VALUES } else { VALUES - 1 };
        let used = tile.columns.len().div_ceil(CELL) + 2;
        // The cells that are columns of the lattice, and the edge on both sides of them.
        let inside = usize::from(x == 0)..used.min(last_x + 2 - x);
        let columns = x + inside.start - 1..x + inside.end - 1;
        let mut dense = [[0.0; 4]; COLUMNS];
        for (i, row) in self.rows.iter_mut().enumerate() {
            let y = (y + i).saturating_sub(1).min(last_y);
            let dense = &mut dense[..columns.len()];
            for (dense, x) in dense.iter_mut().zip(columns.clone()) {
                *dense = flow.at(y, x);
            }
            let weight = weight.map_or(&[][..], |weight| &weight.row(y)[columns.clone()]);
            match level {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: a context has this level only where the machine has AVX2.
                level if level.has_vectors() => unsafe {
                    fill_avx2(row, inside.start, (dense, weight), self.base);
                },
                _ => fill(row, inside.start, (dense, weight), self.base),
            }
            for (range, values) in self.ranges[i].iter_mut().zip(&mut *row).take(self.values) {
                if inside.start == 1 {
                    values[0] = values[1];
                }
                let last = values[inside.end - 1];
                values[inside.end..used.max(inside.end)].fill(last);
                *range = range_of(&values[..used]);
            }
        }
    }
}

fn range_of(values: &[i16]) -> (i16, i16) {
    let one = |value: &i16| (*value, *value);
    values.iter().map(one).fold((i16::MAX, i16::MIN), joined)
}

fn joined(a: (i16, i16), b: (i16, i16)) -> (i16, i16) {
    (a.0.min(b.0), a.1.max(b.1))
}

/// Cells from `at` on: of as many as there are flows, and as many as there are weights.
#[inline(always)]
fn fill(
    row: &mut [[i16; COLUMNS]; VALUES],
    at: usize,
    (flow, weights): (&[[f32; 4]], &[f32]),
    base: [i32; 4],
) {
    for (i, values) in row[..4].iter_mut().enumerate() {
        for (value, flow) in values[at..].iter_mut().zip(flow) {
            *value = steps(flow[i], base[i]);
        }
    }
    for (value, share) in row[4][at..].iter_mut().zip(weights) {
        *value = weight(*share);
    }
}

/// The same, for the compiler to use these instructions. (Those of aarch64 it uses anyway.)
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn fill_avx2(
    row: &mut [[i16; COLUMNS]; VALUES],
    at: usize,
    cells: (&[[f32; 4]], &[f32]),
    base: [i32; 4],
) {
    fill(row, at, cells, base);
}

/// The cells of a row of samples.
pub struct Cells {
    /// x and y to the left, x and y to the right, from the base on; the left one's weight.
    pub values: [[i16; CELLS]; VALUES],
    /// Luma pixels from which the flows count.
    pub base: [i32; 4],
    /// The smallest and the largest of all of each value.
    pub range: [(i16, i16); VALUES],
    /// The tile's first sample.
    pub start: usize,
    /// Samples a cell: 4, 2, or 1 where flow and mask lie on the pixels.
    pub scale: usize,
    /// Luma pixels that a sample is wide and high, log2.
    pub sub: (u32, u32),
}

impl Cells {
    pub fn new() -> Self {
        Cells {
            values: [[0; CELLS]; VALUES],
            base: [0; 4],
            range: [(0, 0); VALUES],
            start: 0,
            scale: CELL,
            sub: (0, 0),
        }
    }

    /// The cell from which [`place`] counts for the samples from `x` on, a multiple of the scale.
    pub fn first(&self, x: usize) -> usize {
        (x - self.start) >> self.scale.trailing_zeros()
    }

    /// Makes the cells of row `y`, counted from the first one of the tile, of a plane that is so
    /// subsampled.
    pub fn fill(&mut self, level: CpuLevel, block: &Block, tile: &Tile, sub: (u32, u32), y: usize) {
        self.start = tile.columns.start >> sub.0;
        self.base = block.base;
        self.scale = CELL >> sub.0;
        self.sub = sub;
        let (row, eighths) = place(y, CELL >> sub.1);
        let used = tile.columns.len().div_ceil(CELL) + 2;
        for (i, values) in self.values.iter_mut().enumerate().take(block.values) {
            let (above, below) = (&block.rows[row][i], &block.rows[row + 1][i]);
            self.range[i] = joined(block.ranges[row][i], block.ranges[row + 1][i]);
            match level {
                #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
                // SAFETY: a context has this level only where the machine has its instructions.
                level if level.has_vectors() => unsafe {
                    super::cpu::between_rows(above, below, eighths, used, values);
                },
                _ => {
                    for ((value, a), b) in values[..used].iter_mut().zip(above).zip(below) {
                        *value = between(*a, *b, eighths);
                    }
                }
            }
        }
    }

    /// As [`Cells::fill`], for row `y` of the plane and from flow and mask on the pixels: the mean of
    /// those that a sample covers.
    pub fn fill_full(
        &mut self,
        flow: &Raster,
        mask: &Raster,
        tile: &Tile,
        sub: (u32, u32),
        y: usize,
    ) {
        let middle = [&tile.rows, &tile.columns].map(|r| (r.start + r.end) / 2);
        self.base = base(flow.at(middle[0], middle[1]));
        self.start = tile.columns.start >> sub.0;
        self.scale = 1;
        self.sub = sub;
        self.range = [(i16::MAX, i16::MIN); VALUES];
        let share = 1.0 / (1 << (sub.0 + sub.1)) as f32;
        let covered = |i: usize, sub: u32, size: usize| {
            let (first, end) = (i << sub, (i + 1) << sub);
            (first..end).map(move |at| at.min(size - 1))
        };
        for (i, x) in tile.samples(sub).enumerate() {
            let (mut sum, mut all) = ([0.0; 4], 0.0);
            for y in covered(y, sub.1, flow.height) {
                for x in covered(x, sub.0, flow.width) {
                    let flow = flow.at(y, x);
                    sum.iter_mut().zip(flow).for_each(|(sum, f)| *sum += f);
                    all += mask.at(y, x)[0];
                }
            }
            let mut cell = [weight(all * share); VALUES];
            for (c, sum) in sum.into_iter().enumerate() {
                cell[c] = steps(sum * share, self.base[c]);
            }
            for (c, value) in cell.into_iter().enumerate() {
                // The first is the one before.
                self.values[c][i + 1] = value;
                self.range[c] = joined(self.range[c], (value, value));
            }
        }
    }
}
