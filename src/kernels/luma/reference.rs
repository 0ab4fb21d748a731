//! The definition.

use std::ops::Range;

use super::{BORDER, MAX, SAMPLES, Sides, mean_of_cell};
use crate::kernels::Context;
use crate::kernels::moved::reference::{Place, source_of};
use crate::kernels::moved::{Cells, PLACE_BITS};
use crate::kernels::raster::{Raster, RasterMut};

pub fn spread(luma: &Raster, context: &Context, out: &mut RasterMut<u8>) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        for (x, value) in row.iter_mut().step_by(pixel).enumerate() {
            *value = code(luma.at(y / 2, x / 2)[2 * (y % 2) + x % 2]);
        }
    });
}

/// Means of 2x2 of two rows whose samples are `step` apart.
pub fn halve_row([upper, lower]: [&[u8]; 2], step: usize, row: &mut [u8], pixel: usize) {
    for (x, value) in row.iter_mut().step_by(pixel).enumerate() {
        let (left, right) = (2 * x * step, (2 * x + 1) * step);
        let four = [upper[left], upper[right], lower[left], lower[right]];
        let sum: u16 = four.map(u16::from).iter().sum();
        *value = ((sum + 2) / 4) as u8;
    }
}

/// Of -0.5 to 0.5, rounded; what is outside, or no number, becomes an end of the range.
pub fn code(value: f32) -> u8 {
    // The conversion cuts off what is behind the point, and saturates.
    (value * MAX + (0.5 * MAX + 0.5)) as u8
}

/// Those `samples` of row `y` of one side (0: left, 1: right) that [`super::Warped`] has.
pub fn samples(
    luma: &Raster<u8>,
    (y, cells): (usize, &Cells),
    side: usize,
    samples: Range<usize>,
    row: &mut [i16],
) {
    for x in samples {
        let (first, i) = (x - x % SAMPLES, x % SAMPLES);
        let place = Place::new(
            luma.size(),
            (y, x),
            cells,
            &source_of(cells, first, i),
            side,
        );
        let codes = place.codes(|y, x| i32::from(luma.at(y, x)[0]));
        // seven bits below the code, from code 128 on, become four
        let value = place.of_eight_bits(codes) - (128 << PLACE_BITS);
        row[x] = ((value + 4) >> 3) as i16;
    }
}

pub fn differences(sides: &Sides, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        for (x, value) in row.iter_mut().step_by(pixel).enumerate() {
            *value = mean_of_cell(difference(sides, (y, x), [0; 2], [0; 2]).into());
        }
    });
}

/// Sum of the absolute differences of the samples of a cell, each side's moved by (y, x), at most [`BORDER`]. Sixteen times 255
/// times sixteen steps are 65,280.
pub fn difference(
    sides: &Sides,
    (y, x): (usize, usize),
    left: [isize; 2],
    right: [isize; 2],
) -> u16 {
    let at =
        |cell: usize, i: usize, d: isize| ((SAMPLES * cell + BORDER + i) as isize + d) as usize;
    let mut sum = 0;
    for i in 0..SAMPLES {
        for j in 0..SAMPLES {
            let l = sides.left.at(at(y, i, left[0]), at(x, j, left[1]))[0];
            let r = sides.right.at(at(y, i, right[0]), at(x, j, right[1]))[0];
            sum += l.abs_diff(r);
        }
    }
    sum
}
