//! Flow and mask for a stretch of one row: interpolated between the rows of the lattice, ready to
//! be interpolated between its columns.

use std::ops::Range;

use super::SEGMENT;
use crate::kernels::raster::Raster;
use crate::picture::Component;

/// Samples of a row whose cells fit on the stack.
pub const TILE: usize = 512;
/// Cells of a tile where they are densest (two samples a cell), one more on each side, and what
/// eight lanes read beyond.
const CELLS: usize = TILE / 2 + 2 + 6;

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

/// Cell `i` of each array is column `first_sample / scale - 1 + i` of the lattice, its edge
/// repeated outwards. Flow is in samples of the plane.
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
    /// multiple of [`TILE`].
    pub fn fill(
        &mut self,
        flow: &Raster,
        mask: &Raster,
        component: &Component,
        y: usize,
        samples: &Range<usize>,
    ) {
        self.pattern = if component.sub_x == 0 { &FOUR } else { &TWO };
        self.start = samples.start;
        let one = |sub| 1.0 / (1 << sub) as f32;
        self.scale = (one(component.sub_x), one(component.sub_y));
        let (above, below, t) = rows(y, 4 >> component.sub_y, flow.height);
        let used = samples.len().div_ceil(self.pattern.scale) + 2;
        let column = samples.start / self.pattern.scale;
        let (flow_above, flow_below) = (flow.row(above), flow.row(below));
        let (mask_above, mask_below) = (mask.row(above), mask.row(below));
        for i in 0..used {
            let x = (column + i).saturating_sub(1).min(flow.width - 1);
            let (a, b) = (&flow_above[x * flow.pixel..], &flow_below[x * flow.pixel..]);
            self.left_x[i] = lerp(a[0], b[0], t) * self.scale.0;
            self.left_y[i] = lerp(a[1], b[1], t) * self.scale.1;
            self.right_x[i] = lerp(a[2], b[2], t) * self.scale.0;
            self.right_y[i] = lerp(a[3], b[3], t) * self.scale.1;
            self.weight[i] = lerp(mask_above[x * mask.pixel], mask_below[x * mask.pixel], t);
        }
    }
}

/// The rows of the lattice that row `y` lies between, and how far; `scale` samples a cell.
fn rows(y: usize, scale: usize, height: usize) -> (usize, usize, f32) {
    let at = ((y as f32 + 0.5) / scale as f32 - 0.5).max(0.0);
    let above = (at as usize).min(height - 1);
    (above, (above + 1).min(height - 1), at - above as f32)
}

/// Exactly `a` where `a == b`.
#[inline(always)]
pub fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + t * (b - a)
}
