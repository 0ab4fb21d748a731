//! The definitions.

use super::{Doubling, neighbours};
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
