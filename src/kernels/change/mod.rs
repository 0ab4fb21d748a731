//! How far two pictures are apart where nothing is moved.

use candle_core::Tensor;

use super::Context;
use super::agreement::SAMPLES;
use super::raster::{self, Raster, Source};
use crate::error::Result;

#[cfg(test)]
mod tests;

/// Fills `out`, `[h, w, 1]`, with the mean absolute difference of two pictures' `luma`, nothing moved,
/// in cells of 4x4 samples and averaged over 3x3 of them, the edge repeated: the same measure as
/// [`super::agreement::difference`]. A single cell may be alike by chance. Each luma has at most
/// 4h x 4w samples and more than 4(h - 1) x 4(w - 1); `cells`, as large as `out`, is room for work.
///
/// # Errors
/// Sizes that do not fit.
pub fn change(context: &Context, luma: [&Tensor; 2], cells: &Tensor, out: &Tensor) -> Result<()> {
    change_of_cells(context, luma, cells)?;
    let cells = Source::lock(cells);
    let cells = cells.raster()?;
    raster::write("change", out, |mut out| {
        out.expect("the change", cells.size(), 1)?;
        let step = out.pixel;
        out.for_each_row(context, |y, row| {
            for (x, value) in row.iter_mut().step_by(step).enumerate() {
                *value = mean_around(&cells, x, y);
            }
        });
        Ok(())
    })?;
    Ok(())
}

/// The mean absolute difference in each cell.
fn change_of_cells(context: &Context, luma: [&Tensor; 2], out: &Tensor) -> Result<()> {
    let [left, right] = luma.map(Source::lock);
    let (left, right) = (left.raster()?, right.raster()?);
    left.expect("luma", right.size(), 1)?;
    let cells = (left.height.div_ceil(SAMPLES), left.width.div_ceil(SAMPLES));
    raster::write("change of cells", out, |mut out| {
        out.expect("the change", cells, 1)?;
        let step = out.pixel;
        out.for_each_row(context, |y, row| {
            let rows = SAMPLES * y..left.height.min(SAMPLES * (y + 1));
            row.iter_mut().step_by(step).for_each(|value| *value = 0.0);
            for y in rows.clone() {
                let samples = left.row(y).chunks(SAMPLES * left.pixel);
                let samples = samples.zip(right.row(y).chunks(SAMPLES * right.pixel));
                for (value, (l, r)) in row.iter_mut().step_by(step).zip(samples) {
                    let pairs = l.iter().step_by(left.pixel);
                    let pairs = pairs.zip(r.iter().step_by(right.pixel));
                    *value += pairs.map(|(l, r)| (l - r).abs()).sum::<f32>();
                }
            }
            for (x, value) in row.iter_mut().step_by(step).enumerate() {
                let columns = SAMPLES.min(left.width - SAMPLES * x);
                *value /= (rows.len() * columns) as f32;
            }
        });
        Ok(())
    })?;
    Ok(())
}

/// Mean of the 3x3 values around a place, the edge repeated.
fn mean_around(values: &Raster, x: usize, y: usize) -> f32 {
    let near = |at: usize, last: usize| [at.saturating_sub(1), at, (at + 1).min(last)];
    let mut sum = 0.0;
    for y in near(y, values.height - 1) {
        for x in near(x, values.width - 1) {
            sum += values.at(y, x)[0];
        }
    }
    sum / 9.0
}
