//! The definition of an edge that two pictures have in common.

use super::{EDGE, Edge, SAMPLES};
use crate::kernels::Context;
use crate::kernels::change::Pair;
use crate::kernels::raster::RasterMut;

pub fn run(pair: &Pair, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |cell, row| {
        for (x, count) in row.iter_mut().step_by(pixel).enumerate() {
            *count = in_cell(pair, cell, x);
        }
    });
}

/// Edges in the samples of a cell.
pub fn in_cell(pair: &Pair, y: usize, x: usize) -> f32 {
    let span = |cell: usize, size: usize| SAMPLES * cell..size.min(SAMPLES * (cell + 1));
    let (rows, columns) = (span(y, pair.left.height), span(x, pair.left.width));
    let places = rows.flat_map(|y| columns.clone().map(move |x| (y, x)));
    places.filter(|&at| is_edge(pair, at, EDGE)).count() as f32
}

/// Whether a sample differs from the next one or the one below, in both pictures the same way, and one of the two is alike in
/// both: what lies beside a thing that stands still moves. The last row and column have no neighbour, and no edge.
pub fn is_edge(pair: &Pair, (y, x): (usize, usize), wanted: Edge) -> bool {
    let values = |(y, x)| [pair.left.at(y, x)[0], pair.right.at(y, x)[0]];
    let alike = |[left, right]: [u8; 2]| left.abs_diff(right) < wanted.alike;
    let here = values((y, x));
    let edge = |next: (usize, usize)| {
        let inside = next.0 < pair.left.height && next.1 < pair.left.width;
        inside && {
            let next = values(next);
            let rise =
                |a: [u8; 2], b: [u8; 2]| a[0].saturating_sub(b[0]).min(a[1].saturating_sub(b[1]));
            let step = rise(next, here).max(rise(here, next));
            step > wanted.step && (alike(here) || alike(next))
        }
    };
    edge((y, x + 1)) || edge((y + 1, x))
}
