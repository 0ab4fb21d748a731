//! Flow and mask for a stretch of one row: interpolated between the rows of the lattice, ready to
//! be interpolated between its columns.

use std::ops::Range;

use super::SEGMENT;
use crate::kernels::raster::Raster;
use crate::kernels::resample::between;
use crate::picture::Component;

/// Samples of a row whose cells fit on the stack.
pub const TILE: usize = 512;
/// Cells of a tile where they are densest (one a sample), and what eight lanes and the cell after
/// them read beyond.
const CELLS: usize = TILE + SEGMENT;

/// Which cells the eight samples of a segment lie between, and how far: sample `i` of a segment
/// is `lerp(cell[index[i]], cell[index[i] + 1], t[i])`, counted from the segment's first cell.
pub struct Pattern {
    pub index: [i32; SEGMENT],
    pub t: [f32; SEGMENT],
    /// Samples a cell.
    pub scale: usize,
}

/// Four samples a cell: full-size planes.
static FOUR: Pattern = Pattern {
    index: [0, 0, 1, 1, 1, 1, 2, 2],
    t: [0.625, 0.875, 0.125, 0.375, 0.625, 0.875, 0.125, 0.375],
    scale: 4,
};

/// Two samples a cell: planes of half the width.
static TWO: Pattern = Pattern {
    index: [0, 1, 1, 2, 2, 3, 3, 4],
    t: [0.75, 0.25, 0.75, 0.25, 0.75, 0.25, 0.75, 0.25],
    scale: 2,
};

/// One cell a sample: flow and mask on the pixels.
static ONE: Pattern = Pattern {
    index: [0, 1, 2, 3, 4, 5, 6, 7],
    t: [0.0; SEGMENT],
    scale: 1,
};

/// Cell `i` of each array is column `first_sample / scale - 1 + i` of the lattice, its edge
/// repeated outwards; with flow and mask on the pixels, it is that of sample
/// `first_sample + i`. Flow is in samples of the plane.
pub struct Cells {
    pub left_x: [f32; CELLS],
    pub left_y: [f32; CELLS],
    pub right_x: [f32; CELLS],
    pub right_y: [f32; CELLS],
    pub weight: [f32; CELLS],
    /// The first sample of the tile.
    pub start: usize,
    pub pattern: &'static Pattern,
    /// Samples that one luma pixel is wide and high.
    pub scale: (f32, f32),
}

impl Cells {
    pub fn new() -> Self {
        Cells {
            left_x: [0.0; CELLS],
            left_y: [0.0; CELLS],
            right_x: [0.0; CELLS],
            right_y: [0.0; CELLS],
            weight: [0.0; CELLS],
            start: 0,
            pattern: &FOUR,
            scale: (1.0, 1.0),
        }
    }

    /// The index of a segment's first cell.
    pub fn first(&self, x: usize) -> usize {
        (x - self.start) / self.pattern.scale
    }

    /// Makes the cells for `samples` of row `y` of a component's plane; `samples` begins at a
    /// multiple of [`TILE`]. Neither flow nor mask has gaps between its pixels.
    pub fn fill(
        &mut self,
        flow: &Raster,
        mask: &Raster,
        component: &Component,
        y: usize,
        samples: &Range<usize>,
    ) {
        let pattern = if component.sub_x == 0 { &FOUR } else { &TWO };
        self.begin(pattern, component, samples.start);
        let (above, below, t) = between(y, 4 >> component.sub_y, flow.height);
        let used = samples.len().div_ceil(self.pattern.scale) + 2;
        let column = samples.start / self.pattern.scale;
        let flow_rows = [flow.row(above), flow.row(below)].map(|row| row.as_chunks::<4>().0);
        let mask_rows = [mask.row(above), mask.row(below)];
        let last = flow.width - 1;
        // The cells that are columns of the lattice, and the edge on both sides of them.
        let first = usize::from(column == 0);
        let end = used.min(last + 2 - column);
        let columns = column + first - 1..column + end - 1;
        self.between(flow_rows, mask_rows, columns, first, t);
        if first == 1 {
            self.between(flow_rows, mask_rows, 0..1, 0, t);
        }
        for i in end..used {
            self.between(flow_rows, mask_rows, last..last + 1, i, t);
        }
    }

    fn begin(&mut self, pattern: &'static Pattern, component: &Component, start: usize) {
        let one = |sub| 1.0 / (1 << sub) as f32;
        self.pattern = pattern;
        self.start = start;
        self.scale = (one(component.sub_x), one(component.sub_y));
    }

    /// As [`Cells::fill`], from flow and mask on the pixels: the mean of those that a sample covers.
    pub fn fill_full(
        &mut self,
        flow: &Raster,
        mask: &Raster,
        component: &Component,
        y: usize,
        samples: &Range<usize>,
    ) {
        self.begin(&ONE, component, samples.start);
        let share = self.scale.0 * self.scale.1;
        let (sx, sy) = (self.scale.0 * share, self.scale.1 * share);
        let covered = |i: usize, sub: u32, size: usize| {
            let (first, end) = (i << sub, (i + 1) << sub);
            (first..end).map(move |at| at.min(size - 1))
        };
        for (i, x) in samples.clone().enumerate() {
            let (mut sum, mut weight) = ([0.0; 4], 0.0);
            for y in covered(y, component.sub_y, flow.height) {
                for x in covered(x, component.sub_x, flow.width) {
                    let flow = flow.at(y, x);
                    sum.iter_mut().zip(flow).for_each(|(sum, f)| *sum += f);
                    weight += mask.at(y, x)[0];
                }
            }
            (self.left_x[i], self.left_y[i]) = (finite(sum[0] * sx), finite(sum[1] * sy));
            (self.right_x[i], self.right_y[i]) = (finite(sum[2] * sx), finite(sum[3] * sy));
            self.weight[i] = finite(weight * share);
        }
    }

    /// Cells from `at` on, between two rows of the lattice, from its `columns`.
    #[inline(always)]
    fn between(
        &mut self,
        [flow_above, flow_below]: [&[[f32; 4]]; 2],
        [mask_above, mask_below]: [&[f32]; 2],
        columns: Range<usize>,
        at: usize,
        t: f32,
    ) {
        let cells = at..at + columns.len();
        let (sx, sy) = self.scale;
        let flow = flow_above[columns.clone()]
            .iter()
            .zip(&flow_below[columns.clone()]);
        let left = self.left_x[cells.clone()]
            .iter_mut()
            .zip(&mut self.left_y[cells.clone()]);
        let right = self.right_x[cells.clone()]
            .iter_mut()
            .zip(&mut self.right_y[cells.clone()]);
        for (((a, b), left), right) in flow.zip(left).zip(right) {
            *left.0 = lerp(a[0], b[0], t) * sx;
            *left.1 = lerp(a[1], b[1], t) * sy;
            *right.0 = lerp(a[2], b[2], t) * sx;
            *right.1 = lerp(a[3], b[3], t) * sy;
        }
        let mask = mask_above[columns.clone()].iter().zip(&mask_below[columns]);
        for ((a, b), weight) in mask.zip(&mut self.weight[cells]) {
            *weight = lerp(*a, *b, t);
        }
    }
}

/// The value, or one beyond all pictures on the same side, so that a share of 0 of it is 0; 0 for
/// what is no number.
#[inline(always)]
fn finite(value: f32) -> f32 {
    const FAR: f32 = 1e6;
    match value.is_nan() {
        true => 0.0,
        false => value.clamp(-FAR, FAR),
    }
}

/// Exactly `a` where `a == b`.
#[inline(always)]
pub fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + t * (b - a)
}
