//! The definition: sample by sample, with the same roundings as the fast versions, which give the
//! same bits.

use std::ops::Range;

use super::{Row, SEGMENT, STATIC_FLOW};
use crate::kernels::moved::reference::{Place, STEPS, Source, source_of};
use crate::kernels::moved::{Cells, PLACE_BITS, WHOLE};
use crate::picture::Plane;

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
        let (size, at) = ((row.height, row.width), (row.y, x));
        let places = [0, 1].map(|side| Place::new(size, at, cells, source, side));
        for c in &row.group.components {
            let codes =
                |plane: &Plane, place: &Place| place.codes(|y, x| c.load(plane.row(y), x) as i32);
            let codes = [codes(&row.left, &places[0]), codes(&row.right, &places[1])];
            let code = match c.size() {
                1 => of_eight_bits(codes, &places, source[4]),
                _ => of_more_bits(codes, &places, source[4]),
            };
            c.store(out, x, code.min(c.max()));
        }
    }
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

/// In whole numbers.
fn of_eight_bits(codes: [[[i32; 2]; 2]; 2], places: &[Place; 2], weight: i16) -> u32 {
    let [left, right] = [0, 1].map(|side| places[side].of_eight_bits(codes[side]));
    // Less than the whole by so little that it makes no difference after rounding.
    let weight = (2 * i32::from(weight)).min(i32::from(i16::MAX));
    let value = right + ((weight * (left - right) + (1 << 14)) >> 15);
    // To the nearest, the even one of two: a half upwards would make what stands still brighter.
    let even = (value >> PLACE_BITS) & 1;
    ((value + STEPS / 2 - 1 + even) >> PLACE_BITS) as u32
}

/// With a row's values in whole 128ths of a code, from the middle of sixteen bits on; then in floats.
fn of_more_bits(codes: [[[i32; 2]; 2]; 2], places: &[Place; 2], weight: i16) -> u32 {
    const MIDDLE: i32 = 1 << 15;
    let lerp = |a: f32, b: f32, t: f32| a + t * (b - a);
    let [left, right] = [0, 1].map(|side| {
        let Place { tx, ty, .. } = &places[side];
        let [above, below] = codes[side].map(|[a, b]| (STEPS * (a - MIDDLE) + tx * (b - a)) as f32);
        lerp(above, below, *ty as f32 / STEPS as f32)
    });
    let value = lerp(right, left, f32::from(weight) / f32::from(WHOLE));
    let code = (value / STEPS as f32).round_ties_even() as i32 + MIDDLE;
    code as u32
}
