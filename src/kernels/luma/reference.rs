//! The definition.

use super::{ACROSS, BORDER, DOWN, MAX, SAMPLES, Sides, Warp, mean_of_cell};
use crate::kernels::Context;
use crate::kernels::raster::{Raster, RasterMut};
use crate::kernels::resample::between;

pub fn spread(luma: &Raster, context: &Context, out: &mut RasterMut<u8>) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        for (x, value) in row.iter_mut().step_by(pixel).enumerate() {
            *value = code(luma.at(y / 2, x / 2)[2 * (y % 2) + x % 2]);
        }
    });
}

/// Of -0.5 to 0.5, rounded; what is outside, or no number, becomes an end of the range.
pub fn code(value: f32) -> u8 {
    // The conversion cuts off what is behind the point, and saturates.
    (value * MAX + (0.5 * MAX + 0.5)) as u8
}

pub fn warp(job: &Warp, context: &Context, out: &mut RasterMut<i16>) {
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
    i.saturating_sub(BORDER).min(samples - 1)
}

/// Warped luma at sample (`y`, `x`).
pub fn sample(job: &Warp, y: usize, x: usize) -> i16 {
    let lerp = |a: f32, b: f32, t: f32| a + t * (b - a);
    let (y0, y1, ty) = between(y, SAMPLES, job.flow.height);
    let (x0, x1, tx) = between(x, SAMPLES, job.flow.width);
    let moved = |c: usize| {
        let column = |x: usize| job.scale * lerp(job.flow.at(y0, x)[c], job.flow.at(y1, x)[c], ty);
        lerp(column(x0), column(x1), tx)
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
    let share = (tx * ACROSS).round_ties_even() as i32;
    let signed = |y: usize, x: usize| i32::from(job.luma.at(y, x)[0]) - 128;
    let row = |y: usize| signed(y, x0) * (128 - share) + signed(y, x1) * share;
    let (above, below) = (row(y0), row(y1));
    let share = ((ty * DOWN).round_ties_even() as i32).min(i32::from(i16::MAX));
    let mixed = above + (((below - above) * share + (1 << 14)) >> 15);
    // seven bits below the code become four
    ((mixed + 4) >> 3) as i16
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
