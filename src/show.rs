//! Paints what the network thinks of a pair of pictures, in any format.
//!
//! A map is a small RGB picture of one value for 4x4 pixels, see [`Map::colours`]; [`Cells::paint`]
//! is the one place that knows how RGB is written into a format.

use candle_core::Tensor;

use crate::error::Result;
use crate::interpolator::Findings;
use crate::kernels::raster::Source;
use crate::picture::{Channel, Color, Component, Picture, PictureMut};

#[cfg(test)]
mod tests;

/// Side of a cell in pixels.
const CELL: usize = 4;
/// Motion from picture to picture has its full colour from this share of the longer side on.
const FULL_MOTION: f32 = 1.0 / 16.0;

/// R, G, B, each 0 to 1.
pub type Rgb = [f32; 3];

const BLACK: Rgb = [0.0; 3];
const GREY: Rgb = [0.5; 3];
const WHITE: Rgb = [1.0; 3];

/// What can be painted. Where there is a cut, every map is black.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Map {
    /// Where things go from the left picture to the right one, as a colour wheel: red to the
    /// right, chartreuse down, cyan to the left, violet up; white stands still. Saturation is the
    /// square root of the length, full at a sixteenth of the picture's longer side.
    Flow,
    /// How far the motion is trusted: white entirely, black not at all; middle grey predicts an
    /// error of 8 codes of 8 bits.
    Confidence,
    /// Which picture the new one is taken from: white the left one, black the right one.
    Mask,
    /// Whether motion is of one piece: white where nothing contradicts it, black where it is turbulent, middle grey where that was
    /// not looked at.
    Coherence,
}

/// A small picture, one colour for 4x4 pixels of a large one.
#[derive(Debug, Clone, PartialEq)]
pub struct Cells {
    width: usize,
    height: usize,
    colours: Vec<Rgb>,
}

impl Map {
    /// The map for a picture of this width and height, at least 1x1.
    ///
    /// # Errors
    /// The findings are those of a smaller picture.
    pub fn colours(self, findings: &Findings, width: usize, height: usize) -> Result<Cells> {
        let (width, height) = (width.div_ceil(CELL), height.div_ceil(CELL));
        let all = |colour| vec![colour; width * height];
        let size = (width, height);
        let reach = FULL_MOTION * (width.max(height) * CELL) as f32;
        let colours = match (findings, self) {
            (Findings::Cut, _) => all(BLACK),
            (Findings::Same, Map::Flow | Map::Confidence | Map::Coherence) => all(WHITE),
            (Findings::Same, Map::Mask) => all(GREY),
            (Findings::Motion { flow, .. }, Map::Flow) => colours_of(flow, size, |f| {
                wheel((f[2] - f[0]) / reach, (f[3] - f[1]) / reach)
            })?,
            (Findings::Motion { confidence, .. }, Map::Confidence) => {
                colours_of(confidence, size, |c| [c[0]; 3])?
            }
            (Findings::Motion { mask, .. }, Map::Mask) => colours_of(mask, size, |m| [m[0]; 3])?,
            (
                Findings::Motion {
                    incoherence,
                    confidence,
                    ..
                },
                Map::Coherence,
            ) => match incoherence {
                Some(values) => {
                    let cell = confidence.dim(0)?.div_ceil(values.dim(0)?);
                    let small = (size.0.div_ceil(cell), size.1.div_ceil(cell));
                    let colours = colours_of(values, small, |i| [1.0 - i[0]; 3])?;
                    enlarged(&colours, small.0, cell, size)
                }
                None => all(GREY),
            },
        };
        Ok(Cells {
            width,
            height,
            colours,
        })
    }
}

/// The colours of cells that are so many times as large, in rows of `small`, as those of cells.
fn enlarged(
    colours: &[Rgb],
    small: usize,
    cell: usize,
    (width, height): (usize, usize),
) -> Vec<Rgb> {
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
    let colour = |(y, x)| colours[y / cell * small + x / cell];
    places.map(colour).collect()
}

/// The colours of the first cells of a tensor, row after row.
fn colours_of(
    values: &Tensor,
    (width, height): (usize, usize),
    colour: impl Fn(&[f32]) -> Rgb,
) -> Result<Vec<Rgb>> {
    let values = values.narrow(0, 0, height)?.narrow(1, 0, width)?;
    let source = Source::lock(&values);
    let raster = source.raster()?;
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
    Ok(places.map(|(y, x)| colour(raster.at(y, x))).collect())
}

/// The colour of a motion, in shares of the one that has its full colour; y points down.
fn wheel(x: f32, y: f32) -> Rgb {
    let length = x.hypot(y);
    if length.is_nan() {
        return WHITE;
    }
    let sixths = y.atan2(x).to_degrees().rem_euclid(360.0) / 60.0;
    let hue = [0.0, 4.0, 2.0].map(|offset| {
        let away = (sixths + offset).rem_euclid(6.0);
        ((away - 3.0).abs() - 1.0).clamp(0.0, 1.0)
    });
    let saturation = length.sqrt().min(1.0);
    hue.map(|c| 1.0 - saturation * (1.0 - c))
}

impl Cells {
    /// The colour at a pixel of the large picture; beyond the last cell, that of the last one.
    pub fn at(&self, x: usize, y: usize) -> Rgb {
        let (x, y) = (x / CELL, y / CELL);
        self.colours[y.min(self.height - 1) * self.width + x.min(self.width - 1)]
    }

    /// Fills a picture; `color` says how its codes become colours. Alpha is opaque, and bytes that
    /// belong to no component are 255.
    pub fn paint(&self, color: Color, out: &mut PictureMut) {
        let (format, size) = (out.format(), (out.width(), out.height()));
        for plane in 0..format.planes() {
            for y in 0..format.rows(plane, size.1 as u32) {
                out.row_mut(plane, y).fill(0xff);
            }
        }
        for c in format.components() {
            let mut codes = Vec::with_capacity(self.width);
            for y in 0..c.height(size.1) {
                let pixel_row = y << c.sub_y;
                if pixel_row.is_multiple_of(CELL) {
                    let cells = (0..self.width).map(|x| self.at(x * CELL, pixel_row));
                    codes.clear();
                    codes.extend(cells.map(|rgb| code(c, color, rgb)));
                }
                let row = out.row_mut(c.plane, y);
                for x in 0..c.width(size.0) {
                    let cell = ((x << c.sub_x) / CELL).min(self.width - 1);
                    c.store(row, x, codes[cell]);
                }
            }
        }
    }
}

/// The code of a component that a colour has.
fn code(c: &Component, color: Color, [r, g, b]: Rgb) -> u32 {
    let luma = color.kr * r + (1.0 - color.kr - color.kb) * g + color.kb * b;
    // of 255 in 8 bits: where zero lies, and how far one reaches
    let (zero, reach) = match (c.channel, color.full_range) {
        (Channel::A, _) => return c.max(),
        (Channel::U | Channel::V, true) => (128.0, 255.0),
        (Channel::U | Channel::V, false) => (128.0, 224.0),
        (_, true) => (0.0, 255.0),
        (_, false) => (16.0, 219.0),
    };
    let value = match c.channel {
        Channel::R => r,
        Channel::G => g,
        Channel::B => b,
        Channel::U => (b - luma) / (2.0 - 2.0 * color.kb),
        Channel::V => (r - luma) / (2.0 - 2.0 * color.kr),
        Channel::Y | Channel::A => luma,
    };
    // more bits: zero and limited reach are shifted, a full reach ends at the largest code
    let shift = (1u32 << (c.depth - 8)) as f32;
    let reach = match color.full_range {
        true => c.max() as f32,
        false => reach * shift,
    };
    (zero * shift + value * reach + 0.5).clamp(0.0, c.max() as f32) as u32
}

/// Gives the left half of `out` the samples of `before`, the earlier picture: what was, beside
/// what was made. The border lies at an even column; a picture one column wide has no left half.
///
/// # Errors
/// Formats or sizes differ.
pub fn split(before: &Picture, out: &mut PictureMut) -> Result<()> {
    let (format, width, height) = (out.format(), out.width() as u32, out.height() as u32);
    before.expect(format, width, height)?;
    // even: no sample of chroma belongs to both halves
    let border = width / 4 * 2;
    for plane in 0..format.planes() {
        let bytes = format.row_bytes(plane, border);
        for y in 0..format.rows(plane, height) {
            out.row_mut(plane, y)[..bytes].copy_from_slice(&before.row(plane, y)[..bytes]);
        }
    }
    Ok(())
}
