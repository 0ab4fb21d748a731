//! The definition.

use super::{Activation, Filter, Job, SLOPE};
use crate::kernels::Context;
use crate::kernels::raster::RasterMut;

pub fn run(job: &Job, context: &Context, out: &mut RasterMut) {
    let (pixel, outputs) = (out.pixel, job.filter.outputs);
    out.for_each_row(context, |y, row| {
        for (x, values) in row.chunks_mut(pixel).enumerate() {
            for (o, value) in values[..outputs].iter_mut().enumerate() {
                *value = one(job, y, x, o);
            }
        }
    });
}

/// Channel `o` of the output at (`y`, `x`).
fn one(job: &Job, y: usize, x: usize, o: usize) -> f32 {
    let filter = job.filter;
    let taps = filter.kernel * filter.kernel;
    let weight = &filter.weight[o * filter.inputs * taps..][..filter.inputs * taps];
    let pad = filter.pad;
    let mut sum = filter.bias[o];
    for (tap, (ky, kx)) in (0..filter.kernel)
        .flat_map(|ky| (0..filter.kernel).map(move |kx| (ky, kx)))
        .enumerate()
    {
        let sy = (y * filter.stride + ky) as isize - pad.0 as isize;
        let sx = (x * filter.stride + kx) as isize - pad.1 as isize;
        let mut channel = 0;
        for part in job.input.parts() {
            for (c, v) in part.get(sy, sx).into_iter().flatten().enumerate() {
                sum += read(filter, *v) * weight[(channel + c) * taps + tap];
            }
            channel += part.channels;
        }
    }
    if let Some(residual) = &job.residual {
        sum += residual.at(y, x)[o];
    }
    match job.activation {
        Activation::Leaky if sum < 0.0 => sum * filter.slopes[o],
        _ => sum,
    }
}

/// A value of the input as the filter reads it.
fn read(filter: &Filter, value: f32) -> f32 {
    match filter.reading {
        Activation::Leaky if value < 0.0 => value * SLOPE,
        _ => value,
    }
}
