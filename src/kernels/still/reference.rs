//! The definition of an edge that two pictures have in common.

use super::{EDGE, NOISE, SAMPLES};
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
    places.filter(|&(y, x)| is_edge(pair, y, x)).count() as f32
}

/// Whether a sample differs from the next one or the one below, and all of them are the same in both pictures. The
/// last row and column have no neighbour, and no edge.
fn is_edge(pair: &Pair, y: usize, x: usize) -> bool {
    let alike = |(y, x)| pair.left.at(y, x)[0].abs_diff(pair.right.at(y, x)[0]) < NOISE;
    let here = pair.left.at(y, x)[0];
    let edge = |next: (usize, usize)| {
        let inside = next.0 < pair.left.height && next.1 < pair.left.width;
        inside && pair.left.at(next.0, next.1)[0].abs_diff(here) > EDGE && alike(next)
    };
    (edge((y, x + 1)) || edge((y + 1, x))) && alike((y, x))
}
