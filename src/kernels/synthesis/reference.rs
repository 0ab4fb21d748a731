//! The definition: sample by sample, with the same roundings as the fast versions, which give the
//! same bits.

use std::ops::Range;

use super::cells::{Cells, FLOW_BITS, WHOLE, between, place};
use super::{Row, SEGMENT, STATIC_FLOW};
use crate::picture::{Component, Plane};

/// Binary digits of a place between two samples.
const PLACE_BITS: u32 = 7;
/// The distance of two samples in such steps.
const STEPS: i32 = 1 << PLACE_BITS;

/// Where one sample comes from: x and y to the left, x and y to the right, the left one's weight.
type Source = [i16; 5];

/// The samples of a tile; they begin with a segment.
pub fn samples(row: &Row, cells: &Cells, samples: Range<usize>, out: &mut [u8]) {
    let length = row.group.segment();
    for x in samples.clone().step_by(length) {
        segment(row, cells, x..samples.end.min(x + length), out);
    }
}

/// A segment, or what there is of it.
pub fn segment(row: &Row, cells: &Cells, samples: Range<usize>, out: &mut [u8]) {
    let mut sources = [Source::default(); SEGMENT];
    let sources = &mut sources[..samples.len()];
    for (i, source) in sources.iter_mut().enumerate() {
        *source = source_of(cells, samples.start, i);
    }
    let still = cells.base == [0; 4] && sources.iter().all(is_static);
    if still && same_bytes(row, &samples) {
        copy(row, samples, out);
        return;
    }
    for (x, source) in samples.zip(sources) {
        let places = [0, 1].map(|side| Place::new(row, cells, x, source, side));
        for c in &row.group.components {
            let left = places[0].codes(&row.left, c);
            let right = places[1].codes(&row.right, c);
            let tx = places.each_ref().map(|p| p.tx);
            let ty = places.each_ref().map(|p| p.ty);
            let code = match c.size() {
                1 => of_eight_bits([left, right], tx, ty, source[4]),
                _ => of_more_bits([left, right], tx, ty, source[4]),
            };
            c.store(out, x, code.min(c.max()));
        }
    }
}

/// The source of sample `i` of the segment that begins at `x`.
fn source_of(cells: &Cells, x: usize, i: usize) -> Source {
    let (cell, eighths) = place(i, cells.scale);
    let cell = cells.first(x) + cell;
    let at = |values: &[i16]| between(values[cell], values[cell + 1], eighths);
    cells.values.each_ref().map(|values| at(values))
}

/// Whether the samples are the same in both pictures, other components between them included.
fn same_bytes(row: &Row, samples: &Range<usize>) -> bool {
    let step = row.group.first().step;
    let bytes = samples.start * step..samples.end * step;
    row.left.row(row.y)[bytes.clone()] == row.right.row(row.y)[bytes]
}

fn is_static(source: &Source) -> bool {
    source[..4]
        .iter()
        .all(|flow| flow.unsigned_abs() < STATIC_FLOW)
}

/// The left picture's samples, with the bits that no code uses.
fn copy(row: &Row, samples: Range<usize>, out: &mut [u8]) {
    let left = row.left.row(row.y);
    for c in &row.group.components {
        for x in samples.clone() {
            let at = x * c.step + c.offset;
            out[at..at + c.size()].copy_from_slice(&left[at..at + c.size()]);
        }
    }
}

/// Four neighbours in a plane, and the place between them in 128ths.
struct Place {
    columns: [usize; 2],
    rows: [usize; 2],
    tx: i32,
    ty: i32,
}

impl Place {
    /// Where sample `x` of the row comes from on the left (0) or on the right (1) side.
    fn new(row: &Row, cells: &Cells, x: usize, source: &Source, side: usize) -> Self {
        let axis = |at: usize, size: usize, i: usize, sub: u32| {
            let bits = FLOW_BITS + sub;
            let flow = (cells.base[i] << FLOW_BITS) + i32::from(source[i]);
            let last = (size - 1) as i32;
            let at = (((at as i32) << bits) + flow).clamp(0, last << bits);
            let whole = at >> bits;
            let between = (at - (whole << bits)) >> (bits - PLACE_BITS);
            ([whole as usize, (whole + 1).min(last) as usize], between)
        };
        let (columns, tx) = axis(x, row.width, 2 * side, cells.sub.0);
        let (rows, ty) = axis(row.y, row.height, 2 * side + 1, cells.sub.1);
        Place {
            columns,
            rows,
            tx,
            ty,
        }
    }

    /// The codes of the neighbours above and below.
    fn codes(&self, plane: &Plane, c: &Component) -> [[i32; 2]; 2] {
        let code = |y: usize, x: usize| c.load(plane.row(y), x) as i32;
        self.rows.map(|y| self.columns.map(|x| code(y, x)))
    }
}

/// In whole numbers: a side's value in 128ths of a code.
fn of_eight_bits(codes: [[[i32; 2]; 2]; 2], tx: [i32; 2], ty: [i32; 2], weight: i16) -> u32 {
    let [left, right] = [0, 1].map(|side| {
        let [above, below] = codes[side].map(|[a, b]| STEPS * a + tx[side] * (b - a));
        above + ((ty[side] * (below - above) + STEPS / 2) >> PLACE_BITS)
    });
    // Less than the whole by so little that it makes no difference after rounding.
    let weight = (2 * i32::from(weight)).min(i32::from(i16::MAX));
    let value = right + ((weight * (left - right) + (1 << 14)) >> 15);
    // To the nearest, the even one of two: a half upwards would make what stands still brighter.
    let even = (value >> PLACE_BITS) & 1;
    ((value + STEPS / 2 - 1 + even) >> PLACE_BITS) as u32
}

/// With a row's values in whole 128ths of a code, from the middle of sixteen bits on; then in floats.
fn of_more_bits(codes: [[[i32; 2]; 2]; 2], tx: [i32; 2], ty: [i32; 2], weight: i16) -> u32 {
    const MIDDLE: i32 = 1 << 15;
    let lerp = |a: f32, b: f32, t: f32| a + t * (b - a);
    let [left, right] = [0, 1].map(|side| {
        let [above, below] =
            codes[side].map(|[a, b]| (STEPS * (a - MIDDLE) + tx[side] * (b - a)) as f32);
        lerp(above, below, ty[side] as f32 / STEPS as f32)
    });
    let value = lerp(right, left, f32::from(weight) / f32::from(WHOLE));
    let code = (value / STEPS as f32).round_ties_even() as i32 + MIDDLE;
    code as u32
}
