//! The definition.

use super::{Axis, Correlate, DISPLACEMENTS, Expected, RADIUS, SIDE};
use crate::kernels::Context;
use crate::kernels::raster::RasterMut;

pub fn correlate(job: &Correlate, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        for (x, values) in row.chunks_mut(pixel).enumerate() {
            for (d, value) in values[..DISPLACEMENTS].iter_mut().enumerate() {
                *value = score(job, (y, x), d);
            }
        }
    });
}

/// The score of displacement `d` at a pixel, at its phase.
pub fn score(job: &Correlate, (y, x): (usize, usize), d: usize) -> f32 {
    let axis = Axis::new(job.phase.at(y, x)[0]);
    let (dy, dx) = (d / SIDE, d % SIDE);
    let (y, x) = (y as isize, x as isize);
    let left = job.left.get(y - axis.left[dy], x - axis.left[dx]);
    let right = job.right.get(y + axis.right[dy], x + axis.right[dx]);
    match (left, right) {
        (Some(left), Some(right)) => left.iter().zip(right).map(|(a, b)| a * b).sum(),
        _ => 0.0,
    }
}

pub fn expected(job: &Expected, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        for (x, values) in row.chunks_mut(pixel).enumerate() {
            let d = softmax_mean(job.scores.at(y, x), job.sharpness);
            values[..2].copy_from_slice(&d);
        }
    });
}

/// The mean displacement (x, y) under the softmax of `sharpness * scores`.
pub fn softmax_mean(scores: &[f32], sharpness: f32) -> [f32; 2] {
    let scaled = scores.iter().map(|s| s * sharpness);
    let top = scaled.fold(f32::NEG_INFINITY, f32::max);
    let (mut total, mut dx, mut dy) = (0.0, 0.0, 0.0);
    for (i, score) in scores.iter().enumerate() {
        let p = (score * sharpness - top).exp();
        total += p;
        dx += p * ((i % SIDE) as f32 - RADIUS as f32);
        dy += p * ((i / SIDE) as f32 - RADIUS as f32);
    }
    [dx / total, dy / total]
}
