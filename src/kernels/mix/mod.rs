//! Two pictures of one format into one, each place with a weight of its own.

use candle_core::Tensor;
use rayon::prelude::*;

use super::raster::{Raster, Source};
use super::{Context, CpuLevel};
use crate::error::Result;
use crate::picture::{Component, Picture, PictureMut};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod cpu;
mod reference;
#[cfg(test)]
mod tests;

/// Moves `out` towards `other`, by the share that `weights`, `[h, w, 1]` of 0 to 1, one for `cell` x `cell` pixels, have at each
/// place: bilinear between the centres of cells, beyond the outermost ones those.
///
/// # Errors
/// The pictures differ in kind, or there are too few weights.
pub fn mix(
    context: &Context,
    weights: &Tensor,
    cell: usize,
    other: &Picture,
    out: &mut PictureMut,
) -> Result<()> {
    let (format, width, height) = (other.format(), other.width(), other.height());
    out.expect(format, width as u32, height as u32)?;
    let weights = Source::lock(weights);
    let weights = weights.raster()?;
    let most = (height.div_ceil(cell), width.div_ceil(cell));
    if weights.height < most.0 || weights.width < most.1 {
        weights.expect("the weights", most, 1)?;
    }
    for c in format.components() {
        let plane = &mut out.planes_mut()[c.plane];
        let columns = (0..c.width(width)).map(|x| between(x, c.sub_x, cell, weights.width));
        let columns = Columns {
            component: c,
            between: columns.map(|(cell, across)| (cell as i32, across)).unzip(),
        };
        context.pool().install(|| {
            let rows = plane.data.par_chunks_mut(plane.stride);
            let rows = rows.take(c.height(height)).enumerate();
            rows.for_each_init(Vec::new, |down, (y, row)| {
                row_of_cells(&weights, between(y, c.sub_y, cell, weights.height), down);
                mix_row(context.level(), &columns, down, other.row(c.plane, y), row);
            });
        });
    }
    Ok(())
}

/// The samples of a row of a component.
struct Columns<'a> {
    component: &'a Component,
    /// The cell whose centre each follows, and how far it is from there to the next one's, 0 to 1.
    between: (Vec<i32>, Vec<f32>),
}

/// Moves a row of a component towards the `other` one, by the weights of the `cells` in it, one more than the samples lie in.
fn mix_row(level: CpuLevel, columns: &Columns, cells: &[f32], other: &[u8], row: &mut [u8]) {
    let made = match level {
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        // SAFETY: a context has this level only where the machine has its instructions.
        CpuLevel::VECTORS => unsafe { cpu::mix(columns, cells, other, row) },
        _ => 0,
    };
    reference::mix(columns, made, cells, other, row);
}

/// The cell whose centre a sample follows, and how far it is from there to the next one's, 0 to 1.
fn between(at: usize, sub: u32, cell: usize, cells: usize) -> (usize, f32) {
    let pixel = (at as f32 + 0.5) * (1u32 << sub) as f32;
    let place = (pixel / cell as f32 - 0.5).clamp(0.0, (cells - 1) as f32);
    (place as usize, place.fract())
}

/// Fills `out` with the weights of the cells at a place between two rows of them, the last one twice.
fn row_of_cells(weights: &Raster, (row, down): (usize, f32), out: &mut Vec<f32>) {
    let next = (row + 1).min(weights.height - 1);
    let pairs = weights.row(row).iter().zip(weights.row(next));
    let pairs = pairs.step_by(weights.pixel).take(weights.width);
    out.clear();
    out.extend(pairs.map(|(above, below)| above + down * (below - above)));
    out.extend(out.last().copied());
}
