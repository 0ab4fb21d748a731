//! A picture's red, green and blue, 0 to 1, by the stream's own matrix and range.
//!
//! Luma is `Y = kr R + kg G + kb B`, `U = (B - Y) / (2 (1 - kb))`, `V = (R - Y) / (2 (1 - kr))` (ITU-R
//! BT.601, BT.709 and BT.2020 differ in kr and kb alone). Of 8 bits in limited range, luma has the
//! codes 16 to 235 and chroma 16 to 240; of more bits these are shifted up. Subsampled chroma is
//! centred on the pixels that it covers, and enlarged bilinearly.

use candle_core::Tensor;

use super::Context;
use super::raster::write;
use super::resample::between;
use crate::error::Result;
use crate::picture::{Color, Component, Format, Picture};

#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) mod cuda;
pub mod residual;
#[cfg(test)]
mod tests;

/// How a component's codes become values: luma, red, green and blue 0 to 1, chroma -0.5 to 0.5.
#[derive(Debug, Clone, Copy)]
struct Span {
    /// The code of 0.
    zero: f32,
    /// Values a code.
    step: f32,
}

impl Span {
    fn new(c: &Component, color: Color, is_chroma: bool) -> Self {
        let unit = (1u32 << (c.depth - 8)) as f32;
        let middle = 128.0 * unit;
        let (zero, codes) = match (color.full_range, is_chroma) {
            (true, false) => (0.0, c.max() as f32),
            (true, true) => (middle, c.max() as f32),
            (false, false) => (16.0 * unit, 219.0 * unit),
            (false, true) => (middle, 224.0 * unit),
        };
        Self {
            zero,
            step: 1.0 / codes,
        }
    }

    fn value(&self, code: f32) -> f32 {
        (code - self.zero) * self.step
    }
}

/// The components that carry colour, and how.
enum Colors {
    Gray(Component, Span),
    Rgb([Component; 3]),
    Yuv([(Component, Span); 3]),
}

impl Colors {
    fn of(format: Format, color: Color) -> Self {
        let luma = |c: Component| (c, Span::new(&c, color, false));
        let chroma = |c: Component| (c, Span::new(&c, color, true));
        match *format.components() {
            [r, g, b, ..] if format.is_rgb() => Colors::Rgb([r, g, b]),
            [y, u, v, ..] => Colors::Yuv([luma(y), chroma(u), chroma(v)]),
            // No format has two components; its first would be luma.
            [y, ..] => Colors::Gray(y, Span::new(&y, color, false)),
            [] => unreachable!("every format has components"),
        }
    }
}

/// Fills the part of `out`, `[h, w, 3]` or more, that the picture covers with its red, green and
/// blue, brought into 0 to 1.
///
/// # Errors
/// `out` is smaller than the picture, or has not three channels.
pub fn to_rgb(context: &Context, picture: &Picture, out: &Tensor) -> Result<()> {
    let colors = Colors::of(picture.format(), picture.color());
    let matrix = Matrix::new(picture.color());
    let out = out.narrow(0, 0, picture.height())?;
    let out = out.narrow(1, 0, picture.width())?;
    write("rgb", &out, |mut out| {
        out.expect("colours", (picture.height(), picture.width()), 3)?;
        let pixel = out.pixel;
        out.for_each_row(context, |y, row| {
            let rows = Rows::new(picture, &colors, y);
            for (x, values) in row.chunks_mut(pixel).enumerate() {
                let rgb = rows.rgb(&matrix, x);
                for (value, v) in values[..3].iter_mut().zip(rgb) {
                    *value = v.clamp(0.0, 1.0);
                }
            }
        });
        Ok(())
    })?;
    Ok(())
}

/// From luma and chroma to red, green and blue.
struct Matrix {
    red_of_v: f32,
    green_of_u: f32,
    green_of_v: f32,
    blue_of_u: f32,
}

impl Matrix {
    fn new(color: Color) -> Self {
        let kg = 1.0 - color.kr - color.kb;
        let (red, blue) = (2.0 * (1.0 - color.kr), 2.0 * (1.0 - color.kb));
        Self {
            red_of_v: red,
            green_of_u: -blue * color.kb / kg,
            green_of_v: -red * color.kr / kg,
            blue_of_u: blue,
        }
    }

    fn rgb(&self, y: f32, u: f32, v: f32) -> [f32; 3] {
        [
            y + self.red_of_v * v,
            y + self.green_of_u * u + self.green_of_v * v,
            y + self.blue_of_u * u,
        ]
    }
}

/// What one row of pixels reads.
enum Rows<'a> {
    Gray(&'a [u8], &'a Component, &'a Span),
    Rgb([(&'a [u8], &'a Component); 3]),
    Yuv(&'a [u8], &'a (Component, Span), [Chroma<'a>; 2]),
}

/// Two rows of a chroma component that a row of pixels lies between.
struct Chroma<'a> {
    component: &'a Component,
    span: &'a Span,
    rows: [&'a [u8]; 2],
    /// Of the second row.
    share: f32,
    /// Samples of a row.
    width: usize,
}

impl Chroma<'_> {
    fn at(&self, x: usize) -> f32 {
        let (a, b, t) = match self.component.sub_x {
            0 => (x, x, 0.0),
            sub => between(x, 1 << sub, self.width),
        };
        let mix = |a: f32, b: f32, t: f32| a + t * (b - a);
        let row = |row: &[u8]| {
            let code = |x| self.component.load(row, x) as f32;
            mix(code(a), code(b), t)
        };
        self.span
            .value(mix(row(self.rows[0]), row(self.rows[1]), self.share))
    }
}

impl<'a> Rows<'a> {
    fn new(picture: &Picture<'a>, colors: &'a Colors, y: usize) -> Self {
        match colors {
            Colors::Gray(c, span) => Rows::Gray(picture.row(c.plane, y), c, span),
            Colors::Rgb(all) => Rows::Rgb(all.each_ref().map(|c| (picture.row(c.plane, y), c))),
            Colors::Yuv([luma, u, v]) => {
                let chroma = |(component, span): &'a (Component, Span)| {
                    let height = component.height(picture.height());
                    let (a, b, share) = match component.sub_y {
                        0 => (y, y, 0.0),
                        sub => between(y, 1 << sub, height),
                    };
                    Chroma {
                        component,
                        span,
                        rows: [a, b].map(|y| picture.row(component.plane, y)),
                        share,
                        width: component.width(picture.width()),
                    }
                };
                Rows::Yuv(picture.row(luma.0.plane, y), luma, [chroma(u), chroma(v)])
            }
        }
    }

    fn rgb(&self, matrix: &Matrix, x: usize) -> [f32; 3] {
        match self {
            Rows::Gray(row, c, span) => [span.value(c.load(row, x) as f32); 3],
            Rows::Rgb(all) => all.map(|(row, c)| c.load(row, x) as f32 / c.max() as f32),
            Rows::Yuv(row, (c, span), [u, v]) => {
                let y = span.value(c.load(row, x) as f32);
                matrix.rgb(y, u.at(x), v.at(x))
            }
        }
    }
}
