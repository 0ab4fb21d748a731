//! The definition.

use super::Job;
use crate::kernels::Context;
use crate::kernels::raster::RasterMut;

pub fn run(job: &Job, context: &Context, out: &mut RasterMut) {
    let (pixel, channels) = (out.pixel, out.channels);
    out.for_each_row(context, |y, row| {
        for (x, values) in row.chunks_mut(pixel).enumerate() {
            one(job, y, x, &mut values[..channels]);
        }
    });
}

fn one(job: &Job, y: usize, x: usize, values: &mut [f32]) {
    let (ty, tx) = job.taps(y, x);
    let mix = |a: f32, b: f32, share: f32| a * (1.0 - share) + b * share;
    for (c, value) in values.iter_mut().enumerate() {
        let row = |y| {
            let left = job.features.at(y, tx.first)[c];
            mix(left, job.features.at(y, tx.second)[c], tx.share)
        };
        *value = mix(row(ty.first), row(ty.second), ty.share);
    }
    let Some(epsilon) = job.epsilon else { return };
    let square: f32 = values.iter().map(|v| v * v).sum();
    let scale = 1.0 / (square + epsilon).sqrt();
    for value in values {
        *value *= scale;
    }
}
