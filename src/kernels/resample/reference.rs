//! The definitions.

use super::{Doubling, four, neighbours, weighted};
use crate::kernels::Context;
use crate::kernels::raster::{Raster, RasterMut};

pub fn half(input: Raster, context: &Context, out: &mut RasterMut) {
    let (pixel, channels) = (out.pixel, out.channels);
    out.for_each_row(context, |y, row| {
        let below = (2 * y + 1).min(input.height - 1);
        for (x, values) in row.chunks_mut(pixel).enumerate() {
            let beside = (2 * x + 1).min(input.width - 1);
            for (c, value) in values[..channels].iter_mut().enumerate() {
                let at = |y, x| input.at(y, x)[c];
                let upper = at(2 * y, 2 * x) + at(2 * y, beside);
                *value = (upper + at(below, 2 * x) + at(below, beside)) * 0.25;
            }
        }
    });
}

pub fn half_smooth(input: Raster, context: &Context, out: &mut RasterMut) {
    let (pixel, step) = (out.pixel, input.pixel);
    out.for_each_row(context, |y, row| {
        let [a, b, c, d] = four(y, input.height).map(|y| input.row(y));
        let down = |x: usize| weighted(a[x], b[x], c[x], d[x]);
        for (x, value) in row.iter_mut().step_by(pixel).enumerate() {
            let [e, f, g, h] = four(x, input.width).map(|x| x * step);
            *value = weighted(down(e), down(f), down(g), down(h));
        }
    });
}

pub fn mean(input: Raster, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        for (x, value) in row.iter_mut().step_by(pixel).enumerate() {
            *value = mean_of(input.at(y, x));
        }
    });
}

pub fn mean_of(channels: &[f32]) -> f32 {
    channels.iter().sum::<f32>() * (1.0 / channels.len() as f32)
}

/// Row `y` of a doubling.
pub fn double(job: &Doubling, y: usize, row: &mut [f32]) {
    let coarser = job.coarser;
    let ys = neighbours(y, coarser.height);
    for (x, values) in row.chunks_mut(job.pixel).enumerate() {
        let xs = neighbours(x, coarser.width);
        let [a, b] = [xs.0, xs.1].map(|x| (coarser.at(ys.0, x), coarser.at(ys.1, x)));
        let detail = job.detail.map(|d| d.at(y, x));
        for (c, value) in values[..job.channels].iter_mut().enumerate() {
            let column = |(near, far): (&[f32], &[f32])| 0.75 * near[c] + 0.25 * far[c];
            let added = detail.map_or(0.0, |d| d[c]);
            *value = added + job.factor * (0.75 * column(a) + 0.25 * column(b));
        }
    }
}
