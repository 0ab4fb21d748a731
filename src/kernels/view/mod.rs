//! What the network sees of a picture: at half size, four values of luma (the 2x2 pixels, row by
//! row), U and V, each `code / max - 0.5`, so that zero is mid grey.
//!
//! YUV is taken as it is, without a matrix or a range; RGB becomes full-range BT.709 YUV; grey has
//! no colour. Chroma of more than half size is averaged. Beyond the picture its edge is repeated.

use candle_core::Tensor;

use super::{Context, CpuLevel, raster};
use crate::error::Result;
use crate::picture::{Component, Picture};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod cpu;
#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) mod cuda;
mod halve;
mod lines;
mod reference;
#[cfg(test)]
mod tests;

pub use halve::halve;

/// Values of a cell of the view.
pub const CHANNELS: usize = 6;
/// The first of them: luma.
pub const LUMA: usize = 4;
/// The view's sides are multiples of this.
const MULTIPLE: usize = 4;

/// Height and width of the view of a picture.
pub fn size(height: usize, width: usize) -> (usize, usize) {
    let side = |n: usize| n.div_ceil(2).next_multiple_of(MULTIPLE);
    (side(height), side(width))
}

/// The colour components of a picture, by what the view needs.
enum Colors {
    Yuv([Component; 3]),
    Rgb([Component; 3]),
    Gray(Component),
}

impl Colors {
    fn of(picture: &Picture) -> Self {
        match *picture.format().components() {
            [y] => Colors::Gray(y),
            [a, b, c, ..] if picture.format().is_rgb() => Colors::Rgb([a, b, c]),
            [a, b, c, ..] => Colors::Yuv([a, b, c]),
            // No format has two components; its first would be luma.
            [y, _] => Colors::Gray(y),
            [] => unreachable!("every format has components"),
        }
    }
}

/// Fills `out`, `[height, width, 6]` of the [`size`] of the picture's view.
///
/// # Errors
/// `out` has another shape.
pub fn view(context: &Context, picture: &Picture, out: &Tensor) -> Result<()> {
    let colors = Colors::of(picture);
    raster::write("view", out, |mut raster| {
        raster.expect("view", size(picture.height(), picture.width()), CHANNELS)?;
        raster.for_each_row(context, |y, row| {
            fill_row(context.level(), picture, &colors, y, row);
        });
        Ok(())
    })?;
    Ok(())
}

/// Fills `out`, half the [`size`] of the picture's view, as [`view`] and [`halve`] do, without a view between them.
///
/// # Errors
/// `out` has another shape.
pub fn half_view(context: &Context, picture: &Picture, out: &Tensor) -> Result<()> {
    let colors = Colors::of(picture);
    raster::write("half view", out, |mut raster| {
        let (height, width) = size(picture.height(), picture.width());
        raster.expect("half view", (height / 2, width / 2), CHANNELS)?;
        let two = || vec![0.0; 2 * width * CHANNELS];
        raster.for_each_band_with(context, 1, two, |rows, y, mut band| {
            let (upper, lower) = rows.split_at_mut(width * CHANNELS);
            fill_row(context.level(), picture, &colors, 2 * y, upper);
            fill_row(context.level(), picture, &colors, 2 * y + 1, lower);
            halve::halve_rows([upper, lower], band.row_mut(0));
        });
        Ok(())
    })?;
    Ok(())
}

/// Makes row `y` of the view.
fn fill_row(level: CpuLevel, picture: &Picture, colors: &Colors, y: usize, row: &mut [f32]) {
    let y = y.min(picture.height().div_ceil(2) - 1);
    let made = fast(level, picture, colors, y, row);
    let cells = picture.width().div_ceil(2);
    for x in made..cells {
        let cell = reference::cell(picture, colors, x, y);
        row[x * CHANNELS..][..CHANNELS].copy_from_slice(&cell);
    }
    repeat_edge(row, cells);
}

/// Makes the first cells of row `y` of the view, and says how many.
fn fast(level: CpuLevel, picture: &Picture, colors: &Colors, y: usize, row: &mut [f32]) -> usize {
    if level == CpuLevel::Reference {
        return 0;
    }
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    if level == CpuLevel::VECTORS && cpu::can(colors) {
        // SAFETY: a context has this level only where the machine has its instructions, and `can` said yes.
        return unsafe { cpu::cells(picture, colors, y, row) };
    }
    lines::cells(picture, colors, y, row)
}

/// The last of `cells` to the end of the row.
fn repeat_edge(row: &mut [f32], cells: usize) {
    let (made, rest) = row.split_at_mut(cells * CHANNELS);
    let edge = &made[(cells - 1) * CHANNELS..];
    for cell in rest.chunks_exact_mut(CHANNELS) {
        cell.copy_from_slice(edge);
    }
}
