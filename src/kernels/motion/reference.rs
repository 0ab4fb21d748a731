//! The definition of an advance.

use super::{Advance, DISPLACEMENT, FLOW, MASK, PHASE, SCALE, STATE};
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
