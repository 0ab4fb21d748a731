//! The definition.

use super::{Advance, CHANGE, DISPLACEMENT, FLOW, MASK, PHASE, SCALE, STATE, Update};
use crate::kernels::Context;
use crate::kernels::raster::{Raster, RasterMut};
use crate::kernels::resample::neighbours;

pub fn advance(job: &Advance, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        for (x, cell) in row.chunks_mut(pixel).enumerate() {
            enlarge(&job.coarser, y, x, &mut cell[..STATE]);
            if let Some(detail) = &job.detail {
                let detail = detail.at(y, x);
                for (value, change) in cell[FLOW..DISPLACEMENT].iter_mut().zip(detail) {
                    *value += change;
                }
                cell[MASK] += detail[4];
            }
            cell[PHASE] = job.phases.at(y, x);
        }
    });
}

/// A cell of the doubled state.
fn enlarge(coarser: &Raster, y: usize, x: usize, cell: &mut [f32]) {
    let (ys, xs) = (neighbours(y, coarser.height), neighbours(x, coarser.width));
    let taps = [(ys.0, xs.0), (ys.0, xs.1), (ys.1, xs.0), (ys.1, xs.1)];
    let [a, b, c, d] = taps.map(|(y, x)| coarser.at(y, x));
    for (i, value) in cell.iter_mut().enumerate() {
        let upper = 0.75 * a[i] + 0.25 * b[i];
        let lower = 0.75 * c[i] + 0.25 * d[i];
        *value = SCALE[i] * (0.75 * upper + 0.25 * lower);
    }
}

pub fn update(job: &Update, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        for (x, cell) in row.chunks_mut(pixel).enumerate() {
            update_cell(job, y, x, cell);
        }
    });
}

pub fn update_cell(job: &Update, y: usize, x: usize, cell: &mut [f32]) {
    let change = job.change.at(y, x);
    let gates = (sigmoid(change[5]), sigmoid(change[6]));
    let luma = job.luma.at(y, x);
    let dx = gates.0 * cell[DISPLACEMENT] + gates.1 * luma[0];
    let dy = gates.0 * cell[DISPLACEMENT + 1] + gates.1 * luma[1];
    let t = cell[PHASE];
    let (ax, ay) = job.acceleration.map_or((0.0, 0.0), |acceleration| {
        let ahead = sigmoid(change[CHANGE]) * t * (1.0 - t) / 2.0;
        let a = acceleration.at(y, x);
        (ahead * a[0], ahead * a[1])
    });
    cell[0] += change[0] - t * dx + ax;
    cell[1] += change[1] - t * dy + ay;
    cell[2] += change[2] + (1.0 - t) * dx + ax;
    cell[3] += change[3] + (1.0 - t) * dy + ay;
    cell[MASK] += change[4];
}

pub fn weight_of_left(state: &Raster, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        for (x, value) in row.iter_mut().step_by(pixel).enumerate() {
            *value = weight(state.at(y, x));
        }
    });
}

/// The weight of the left side in a cell.
pub fn weight(cell: &[f32]) -> f32 {
    let t = cell[PHASE];
    // sigmoid(mask + ln((1 - t) / t)), with the logarithm taken out.
    let right = t * (-cell[MASK]).exp();
    (1.0 - t) / (1.0 - t + right)
}

pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}
