//! The definition, cell by cell.

use super::{CHANNELS, Colors};
use crate::picture::{Component, Picture};

/// Luma weights of BT.709.
const KR: f32 = 0.2126;
const KB: f32 = 0.0722;

/// The cell at (`x`, `y`) of the view; inside the picture's half size.
pub fn cell(picture: &Picture, colors: &Colors, x: usize, y: usize) -> [f32; CHANNELS] {
    match colors {
        Colors::Gray(c) => gray(pixels(picture, &[*c], x, y), scale(c)),
        Colors::Yuv(c) => yuv(pixels(picture, c, x, y), scale(&c[0])),
        Colors::Rgb(c) => rgb(pixels(picture, c, x, y), scale(&c[0])),
    }
}

/// What makes a code a value of 0 to 1.
pub fn scale(c: &Component) -> f32 {
    1.0 / c.max() as f32
}

fn gray(pixels: [[f32; 1]; 4], scale: f32) -> [f32; CHANNELS] {
    let [a, b, c, d] = pixels.map(|[code]| code * scale - 0.5);
    [a, b, c, d, 0.0, 0.0]
}

/// The mean code of a component of four pixels.
#[inline(always)]
fn mean(pixels: &[[f32; 3]; 4], i: usize) -> f32 {
    (pixels[0][i] + pixels[1][i] + pixels[2][i] + pixels[3][i]) * 0.25
}

/// The cell of four pixels' Y, U, V codes.
#[inline(always)]
pub fn yuv(pixels: [[f32; 3]; 4], scale: f32) -> [f32; CHANNELS] {
    let value = |code: f32| code * scale - 0.5;
    [
        value(pixels[0][0]),
        value(pixels[1][0]),
        value(pixels[2][0]),
        value(pixels[3][0]),
        value(mean(&pixels, 1)),
        value(mean(&pixels, 2)),
    ]
}

/// The cell of four pixels' R, G, B codes.
#[inline(always)]
pub fn rgb(pixels: [[f32; 3]; 4], scale: f32) -> [f32; CHANNELS] {
    let luma = |p: [f32; 3]| (KR * p[0] + (1.0 - KR - KB) * p[1] + KB * p[2]) * scale;
    let [a, b, c, d] = pixels;
    let [r, g, b_mean] = [mean(&pixels, 0), mean(&pixels, 1), mean(&pixels, 2)];
    let y = luma([r, g, b_mean]);
    let u = (b_mean * scale - y) * (1.0 / (2.0 - 2.0 * KB));
    let v = (r * scale - y) * (1.0 / (2.0 - 2.0 * KR));
    [
        luma(a) - 0.5,
        luma(b) - 0.5,
        luma(c) - 0.5,
        luma(d) - 0.5,
        u,
        v,
    ]
}

/// The codes of the 2x2 pixels of a cell; those outside the picture are the edge's.
fn pixels<const N: usize>(
    picture: &Picture,
    components: &[Component; N],
    x: usize,
    y: usize,
) -> [[f32; N]; 4] {
    [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(dx, dy)| {
        let px = (2 * x + dx).min(picture.width() - 1);
        let py = (2 * y + dy).min(picture.height() - 1);
        components
            .each_ref()
            .map(|c| c.load(picture.plane(c.plane).row(py >> c.sub_y), px >> c.sub_x) as f32)
    })
}
