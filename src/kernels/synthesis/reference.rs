//! The definition: sample by sample, in the same order of operations as the fast versions, which
//! give the same bits.

use std::ops::Range;

use super::cells::{Cells, lerp};
use super::{Row, SEGMENT, STATIC_FLOW};
use crate::picture::{Component, Plane};

/// Where one sample comes from.
#[derive(Clone, Copy, Default)]
struct Source {
    left: (f32, f32),
    right: (f32, f32),
    weight: f32,
}

/// The samples of a tile; they begin at a multiple of [`SEGMENT`].
pub fn samples(row: &Row, cells: &Cells, samples: Range<usize>, out: &mut [u8]) {
    for x in samples.clone().step_by(SEGMENT) {
        segment(row, cells, x..samples.end.min(x + SEGMENT), out);
    }
}

/// At most [`SEGMENT`] samples, the first at a multiple of it.
pub fn segment(row: &Row, cells: &Cells, samples: Range<usize>, out: &mut [u8]) {
    let mut sources = [Source::default(); SEGMENT];
    for (i, source) in sources.iter_mut().enumerate() {
        *source = flow_at(cells, samples.start, i);
    }
    let sources = &sources[..samples.len()];
    if same_bytes(row, &samples, out.len()) && sources.iter().all(|s| is_static(s, cells.scale)) {
        copy(row, samples, out);
        return;
    }
    for c in &row.group.components {
        for (x, s) in samples.clone().zip(sources) {
            let left = tap(row, &row.left, c, x, s.left);
            let right = tap(row, &row.right, c, x, s.right);
            let weight = bounded(s.weight, 1.0);
            let code = lerp(right, left, weight).round_ties_even() as u32;
            c.store(out, x, code.min(c.max()));
        }
    }
}

/// Flow and weight of sample `i` of the segment that begins at `x`.
fn flow_at(cells: &Cells, x: usize, i: usize) -> Source {
    let cell = cells.first(x) + cells.pattern.index[i] as usize;
    let at = |values: &[f32]| lerp(values[cell], values[cell + 1], cells.pattern.t[i]);
    Source {
        left: (at(&cells.left_x), at(&cells.left_y)),
        right: (at(&cells.right_x), at(&cells.right_y)),
        weight: at(&cells.weight),
    }
}

/// Whether the samples are the same in both pictures, other components between them included.
fn same_bytes(row: &Row, samples: &Range<usize>, row_bytes: usize) -> bool {
    let step = row.group.first().step;
    let bytes = samples.start * step..(samples.end * step).min(row_bytes);
    row.left.row(row.y)[bytes.clone()] == row.right.row(row.y)[bytes]
}

fn is_static(source: &Source, scale: (f32, f32)) -> bool {
    [source.left, source.right]
        .iter()
        .all(|f| f.0.abs() < STATIC_FLOW * scale.0 && f.1.abs() < STATIC_FLOW * scale.1)
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

/// The bilinear value of a plane at sample `x` of the row, moved by `flow`.
fn tap(row: &Row, plane: &Plane, c: &Component, x: usize, flow: (f32, f32)) -> f32 {
    let (right, bottom) = (row.width - 1, row.height - 1);
    let px = bounded(x as f32 + flow.0, right as f32);
    let py = bounded(row.y as f32 + flow.1, bottom as f32);
    let (x0, y0) = (px as usize, py as usize);
    let (tx, ty) = (px - x0 as f32, py - y0 as f32);
    let x1 = (x0 + 1).min(right);
    let (above, below) = (plane.row(y0), plane.row((y0 + 1).min(bottom)));
    let value = |row, x| c.load(row, x) as f32;
    lerp(
        lerp(value(above, x0), value(above, x1), tx),
        lerp(value(below, x0), value(below, x1), tx),
        ty,
    )
}

/// `value` brought into 0 to `max`; 0 for what is no number.
fn bounded(value: f32, max: f32) -> f32 {
    if value > 0.0 { value.min(max) } else { 0.0 }
}
