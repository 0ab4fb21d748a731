//! The definition.

use super::{CONTRAST, Job, NOISE, SAMPLES, SCORES, around};
use crate::kernels::Context;
use crate::kernels::correlation::{Axis, SIDE, plain_softmax_mean};
use crate::kernels::luma::{difference, mean_of_cell};
use crate::kernels::raster::RasterMut;

pub fn run(job: &Job, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        for (x, values) in row.chunks_mut(pixel).enumerate() {
            let (scores, rest) = values.split_at_mut(SCORES);
            for (d, score) in scores.iter_mut().enumerate() {
                *score = average(job, y, x, d);
            }
            let mean = scores.iter().sum::<f32>() / SCORES as f32;
            for score in scores.iter_mut() {
                *score = 1.0 - *score / (mean + NOISE);
            }
            let d = plain_softmax_mean(scores, job.sharpness);
            let [dx, dy] = d.map(|samples| samples / SAMPLES as f32);
            rest[..3].copy_from_slice(&[dx, dy, CONTRAST * mean]);
        }
    });
}

/// Mean difference over 3x3 cells for displacement `d`.
fn average(job: &Job, y: usize, x: usize, d: usize) -> f32 {
    let (h, w) = job.phase.size();
    let mut sum = 0;
    for y in around(y, h) {
        for x in around(x, w) {
            sum += u32::from(of_cell(job, (y, x), d));
        }
    }
    mean_of_cell(sum) / 9.0
}

/// Difference in a cell for displacement `d`, at the cell's phase.
pub fn of_cell(job: &Job, (y, x): (usize, usize), d: usize) -> u16 {
    let (dy, dx) = (d / SIDE, d % SIDE);
    let axis = Axis::new(job.phase.at(y, x)[0]);
    let left = [-axis.left[dy], -axis.left[dx]];
    difference(&job.sides, (y, x), left, [axis.right[dy], axis.right[dx]])
}
