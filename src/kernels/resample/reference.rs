//! The definition of a doubling.

use super::neighbours;
use crate::kernels::Context;
use crate::kernels::raster::{Raster, RasterMut};

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
