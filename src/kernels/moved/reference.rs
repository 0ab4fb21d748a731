//! The definition of where a sample comes from, and what it is.

use super::PLACE_BITS;
use super::cells::{Cells, FLOW_BITS, between, place};

/// The distance of two samples in steps of a place between them.
pub const STEPS: i32 = 1 << PLACE_BITS;

/// Where one sample comes from: x and y to the left, x and y to the right, the left one's weight.
pub type Source = [i16; 5];

/// The source of sample `i` from sample `x` on, a multiple of the cells' scale.
pub fn source_of(cells: &Cells, x: usize, i: usize) -> Source {
    let (cell, eighths) = place(i, cells.scale);
    let cell = cells.first(x) + cell;
    let at = |values: &[i16]| between(values[cell], values[cell + 1], eighths);
    cells.values.each_ref().map(|values| at(values))
}

/// Four neighbours in a plane, and the place between them in 128ths.
pub struct Place {
    pub columns: [usize; 2],
    pub rows: [usize; 2],
    pub tx: i32,
    pub ty: i32,
}

impl Place {
    /// Where sample (`y`, `x`) of a plane so high and wide comes from on the left (0) or on the right (1) side.
    pub fn new(
        (height, width): (usize, usize),
        (y, x): (usize, usize),
        cells: &Cells,
        source: &Source,
        side: usize,
    ) -> Self {
        let axis = |at: usize, size: usize, i: usize, sub: u32| {
            let bits = FLOW_BITS + sub;
            let flow = (cells.base[i] << FLOW_BITS) + i32::from(source[i]);
            let last = (size - 1) as i32;
            let at = (((at as i32) << bits) + flow).clamp(0, last << bits);
            let whole = at >> bits;
            let between = (at - (whole << bits)) >> (bits - PLACE_BITS);
            ([whole as usize, (whole + 1).min(last) as usize], between)
        };
        let (columns, tx) = axis(x, width, 2 * side, cells.sub.0);
        let (rows, ty) = axis(y, height, 2 * side + 1, cells.sub.1);
        Place {
            columns,
            rows,
            tx,
            ty,
        }
    }

    /// What `code` tells of the neighbours above and below, each by its row and its column.
    pub fn codes(&self, code: impl Fn(usize, usize) -> i32) -> [[i32; 2]; 2] {
        self.rows.map(|y| self.columns.map(|x| code(y, x)))
    }

    /// Between codes of eight bits, in 128ths of a code.
    pub fn of_eight_bits(&self, codes: [[i32; 2]; 2]) -> i32 {
        let [above, below] = codes.map(|[a, b]| STEPS * a + self.tx * (b - a));
        above + ((self.ty * (below - above) + STEPS / 2) >> PLACE_BITS)
    }
}
