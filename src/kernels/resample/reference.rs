//! The definitions.

use super::neighbours;
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

pub fn double(input: Raster, context: &Context, out: &mut RasterMut) {
    let (pixel, channels) = (out.pixel, out.channels);
    out.for_each_row(context, |y, row| {
        let ys = neighbours(y, input.height);
        for (x, values) in row.chunks_mut(pixel).enumerate() {
            let xs = neighbours(x, input.width);
            for (c, value) in values[..channels].iter_mut().enumerate() {
                let row = |y| 0.75 * input.at(y, xs.0)[c] + 0.25 * input.at(y, xs.1)[c];
                *value = 0.75 * row(ys.0) + 0.25 * row(ys.1);
            }
        }
    });
}
