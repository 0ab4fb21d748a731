//! The definition.

use super::{Pair, SAMPLES, mean};
use crate::kernels::Context;
use crate::kernels::raster::RasterMut;

pub fn run(pair: &Pair, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        for (x, value) in row.iter_mut().step_by(pixel).enumerate() {
            *value = one(pair, y, x);
        }
    });
}

/// Mean difference in a cell, of the samples that are there.
pub fn one(pair: &Pair, y: usize, x: usize) -> f32 {
    let (left, right) = (&pair.left, &pair.right);
    let rows = SAMPLES * y..left.height.min(SAMPLES * (y + 1));
    let columns = SAMPLES * x..left.width.min(SAMPLES * (x + 1));
    let mut sum = 0;
    for y in rows.clone() {
        for x in columns.clone() {
            sum += u32::from(left.at(y, x)[0].abs_diff(right.at(y, x)[0]));
        }
    }
    mean(sum, rows.len() * columns.len())
}
