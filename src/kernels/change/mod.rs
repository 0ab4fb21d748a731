//! How far two pictures are apart where nothing is moved.

use candle_core::Tensor;

use super::Context;
use super::luma::{self, SAMPLES};
use super::raster::{self, Raster, RasterMut, Source};
use crate::error::Result;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod cpu;
mod reference;
#[cfg(test)]
mod tests;

/// Fills `out`, `[h, w, 1]`, with the mean absolute difference of two pictures' `luma` (bytes; the answer is of range 1), nothing moved,
/// in cells of 4x4 samples and averaged over 3x3 of them, the edge repeated: the same measure as
/// [`super::agreement::difference`]. A single cell may be alike by chance. Each luma has at most
/// 4h x 4w samples and more than 4(h - 1) x 4(w - 1); `cells`, as large as `out`, is room for work.
///
/// # Errors
/// Sizes that do not fit.
pub fn change(context: &Context, luma: [&Tensor; 2], cells: &Tensor, out: &Tensor) -> Result<()> {
    of_cells(context, luma, cells)?;
    around(context, cells, out)
}

/// Fills `out` with the means of 3x3 `cells`, both `[h, w, 1]`, the edge repeated.
///
/// # Errors
/// Sizes that do not fit.
pub fn around(context: &Context, cells: &Tensor, out: &Tensor) -> Result<()> {
    let cells = Source::lock(cells);
    let cells = cells.raster()?;
    raster::write("change", out, |mut out| {
        out.expect("the change", cells.size(), 1)?;
        let step = out.pixel;
        out.for_each_row(context, |y, row| {
            if step == 1 && cells.pixel == 1 {
                return means_around(&cells, y, row);
            }
            for (x, value) in row.iter_mut().step_by(step).enumerate() {
                *value = mean_around(&cells, (y, x), 0);
            }
        });
        Ok(())
    })?;
    Ok(())
}

/// Fills `out`, `[h, w, 1]`, with the mean absolute difference of two pictures' `luma` in each cell of 4x4 samples by
/// itself; sizes as for [`change`].
///
/// # Errors
/// Sizes that do not fit.
pub fn of_cells(context: &Context, luma: [&Tensor; 2], out: &Tensor) -> candle_core::Result<()> {
    for_cells("change of cells", luma, out, |pair, out| {
        match context.level() {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            super::CpuLevel::VECTORS if pair.is_dense() => cpu::run(pair, context, out),
            _ => reference::run(pair, context, out),
        }
    })
}

/// Luma of two pictures, alike in size.
pub struct Pair<'a> {
    pub left: Raster<'a, u8>,
    pub right: Raster<'a, u8>,
}

impl<'a> Pair<'a> {
    /// # Errors
    /// Other than two rasters of bytes, alike in size.
    pub fn new([left, right]: [&'a Source; 2]) -> candle_core::Result<Self> {
        let pair = Self {
            left: left.raster_of()?,
            right: right.raster_of()?,
        };
        pair.left.expect("luma", pair.right.size(), 1)?;
        Ok(pair)
    }

    /// Height and width in cells.
    pub fn cells(&self) -> (usize, usize) {
        let (height, width) = self.left.size();
        (height.div_ceil(SAMPLES), width.div_ceil(SAMPLES))
    }

    /// Whether the samples of a row lie side by side, as vectors need them.
    pub fn is_dense(&self) -> bool {
        self.left.pixel == 1 && self.right.pixel == 1
    }
}

/// Has `fill` write a value for each cell of 4x4 samples of two pictures' `luma` to `out`, `[h, w, 1]`.
///
/// # Errors
/// Sizes that do not fit.
pub fn for_cells(
    name: &'static str,
    luma: [&Tensor; 2],
    out: &Tensor,
    fill: impl Fn(&Pair, &mut RasterMut),
) -> candle_core::Result<()> {
    let luma = luma.map(Source::lock);
    let pair = Pair::new(luma.each_ref())?;
    raster::write(name, out, |mut out| {
        out.expect(name, pair.cells(), 1)?;
        fill(&pair, &mut out);
        Ok(())
    })
}

/// Of a sum of differences of `count` samples, of luma of range 1.
#[inline]
fn mean(sum: u32, count: usize) -> f32 {
    sum as f32 / (count as f32 * luma::MAX)
}

fn near(at: usize, size: usize) -> [usize; 3] {
    [at.saturating_sub(1), at, (at + 1).min(size - 1)]
}

/// [`mean_around`] for a whole row of values that lie side by side: a loop that compilers make
/// vectors of. It adds in the same order.
fn means_around(values: &Raster, y: usize, out: &mut [f32]) {
    let [above, here, below] = near(y, values.height).map(|y| values.row(y).windows(3));
    let around = above.zip(here).zip(below);
    for (value, ((a, b), c)) in out.iter_mut().skip(1).zip(around) {
        let sum = a[0] + a[1] + a[2] + b[0] + b[1] + b[2] + c[0] + c[1] + c[2];
        *value = sum / 9.0;
    }
    for x in [0, values.width - 1] {
        out[x] = mean_around(values, (y, x), 0);
    }
}

/// Mean of a channel of the 3x3 values around a place, the edge repeated.
pub fn mean_around(values: &Raster, (y, x): (usize, usize), channel: usize) -> f32 {
    let mut sum = 0.0;
    for y in near(y, values.height) {
        for x in near(x, values.width) {
            sum += values.at(y, x)[channel];
        }
    }
    sum / 9.0
}
