//! The definition.

use super::{CONTRAST, Differ, NOISE, RADIUS, SAMPLES, SCORES, Warp, around};
use crate::kernels::Context;
use crate::kernels::correlation::{Axis, plain_softmax_mean};
use crate::kernels::raster::{Raster, RasterMut};
use crate::kernels::resample::between;

pub fn warp(job: &Warp, context: &Context, out: &mut RasterMut) {
    let (height, width) = job.flow.size();
    out.for_each_row(context, |y, row| {
        let y = inside(y, SAMPLES * height);
        for (x, value) in row.iter_mut().enumerate() {
            *value = sample(job, y, inside(x, SAMPLES * width));
        }
    });
}

/// The sample that place `i` of the bordered row or column repeats.
pub fn inside(i: usize, samples: usize) -> usize {
    i.saturating_sub(RADIUS).min(samples - 1)
}

/// Warped luma at sample (`y`, `x`).
fn sample(job: &Warp, y: usize, x: usize) -> f32 {
    let lerp = |a: f32, b: f32, t: f32| a + t * (b - a);
    let (y0, y1, ty) = between(y, SAMPLES, job.flow.height);
    let (x0, x1, tx) = between(x, SAMPLES, job.flow.width);
    let moved = |c: usize| {
        let column = |x: usize| lerp(job.flow.at(y0, x)[c], job.flow.at(y1, x)[c], ty);
        SAMPLES as f32 * lerp(column(x0), column(x1), tx)
    };
    let place = |at: usize, flow: f32, size: usize| {
        let last = size - 1;
        // `max` answers 0 for what is no number.
        let at = (at as f32 + flow).max(0.0).min(last as f32);
        let first = at as usize;
        (first, (first + 1).min(last), at - first as f32)
    };
    let (x0, x1, tx) = place(x, moved(0), job.luma.width);
    let (y0, y1, ty) = place(y, moved(1), job.luma.height);
    let row = |y: usize| lerp(job.luma.at(y, x0)[0], job.luma.at(y, x1)[0], tx);
    lerp(row(y0), row(y1), ty)
}

pub fn differ(job: &Differ, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    let side = 2 * RADIUS + 1;
    out.for_each_row(context, |y, row| {
        for (x, values) in row.chunks_mut(pixel).enumerate() {
            let axis = Axis::new(RADIUS, job.phase.at(y, x)[0]);
            for (i, value) in values[..SCORES].iter_mut().enumerate() {
                *value = difference(job, (y, x), &axis, i / side, i % side);
            }
        }
    });
}

/// Mean difference in a cell for the displacement in row `dy` and column `dx` of the window.
fn difference(job: &Differ, (y, x): (usize, usize), axis: &Axis, dy: usize, dx: usize) -> f32 {
    let at =
        |cell: usize, i: usize, d: isize| ((SAMPLES * cell + RADIUS + i) as isize + d) as usize;
    let mut sum = 0.0;
    for i in 0..SAMPLES {
        for j in 0..SAMPLES {
            let left = job
                .left
                .at(at(y, i, -axis.left[dy]), at(x, j, -axis.left[dx]));
            let right = job
                .right
                .at(at(y, i, axis.right[dy]), at(x, j, axis.right[dx]));
            sum += (left[0] - right[0]).abs();
        }
    }
    sum / (SAMPLES * SAMPLES) as f32
}

pub fn conclude(differences: &Raster, sharpness: f32, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        for (x, values) in row.chunks_mut(pixel).enumerate() {
            let (scores, rest) = values.split_at_mut(SCORES);
            average(differences, y, x, scores);
            let mean = scores.iter().sum::<f32>() / SCORES as f32;
            for score in scores.iter_mut() {
                *score = 1.0 - *score / (mean + NOISE);
            }
            let d = plain_softmax_mean(scores, sharpness, RADIUS);
            let [dx, dy] = d.map(|samples| samples / SAMPLES as f32);
            rest[..3].copy_from_slice(&[dx, dy, CONTRAST * mean]);
        }
    });
}

/// Means over 3x3 cells.
fn average(differences: &Raster, y: usize, x: usize, out: &mut [f32]) {
    out.fill(0.0);
    for y in around(y, differences.height) {
        for x in around(x, differences.width) {
            for (sum, d) in out.iter_mut().zip(differences.at(y, x)) {
                *sum += d;
            }
        }
    }
    out.iter_mut().for_each(|sum| *sum /= 9.0);
}
