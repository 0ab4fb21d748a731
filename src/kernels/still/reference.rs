//! The definition of an edge that two pictures have in common.

use super::{EDGE, Job, NOISE, RANGE, SAMPLES};
use crate::kernels::Context;
use crate::kernels::raster::RasterMut;

pub fn run(job: &Job, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |cell, row| {
        for (x, count) in row.iter_mut().step_by(pixel).enumerate() {
            *count = in_cell(job, cell, x);
        }
    });
}

/// Edges in the samples of a cell.
fn in_cell(job: &Job, y: usize, x: usize) -> f32 {
    let span = |cell: usize, size: usize| SAMPLES * cell..size.min(SAMPLES * (cell + 1));
    let (rows, columns) = (span(y, job.left.height), span(x, job.left.width));
    let places = rows.flat_map(|y| columns.clone().map(move |x| (y, x)));
    places.filter(|&(y, x)| is_edge(job, y, x)).count() as f32
}

/// Whether a sample differs from the next one or the one below, and all of them are the same in both pictures. The
/// last row and column have no neighbour, and no edge.
pub fn is_edge(job: &Job, y: usize, x: usize) -> bool {
    let alike = |(y, x)| (job.left.at(y, x)[0] - job.right.at(y, x)[0]).abs() < NOISE / RANGE;
    let here = job.left.at(y, x)[0];
    let edge = |next: (usize, usize)| {
        let inside = next.0 < job.left.height && next.1 < job.left.width;
        inside && (job.left.at(next.0, next.1)[0] - here).abs() > EDGE / RANGE && alike(next)
    };
    (edge((y, x + 1)) || edge((y + 1, x))) && alike((y, x))
}
