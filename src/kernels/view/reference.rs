//! The definition, cell by cell.

use super::{CHANNELS, Colors};
use crate::picture::{Component, Picture};

/// Luma weights of BT.709.
const KR: f32 = 0.2126;
const KB: f32 = 0.0722;

/// The cell at (`x`, `y`) of the view; inside the picture's half size.
pub fn cell(picture: &Picture, colors: &Colors, x: usize, y: usize) -> [f32; CHANNELS] {
    let [a, b, c, d] = match colors {
        Colors::Gray(luma) => return gray(picture, luma, x, y),
        Colors::Yuv(components) | Colors::Rgb(components) => pixels(picture, components, x, y),
    };
    let scale = match colors {
        Colors::Yuv([luma, ..]) | Colors::Rgb([luma, ..]) | Colors::Gray(luma) => {
            1.0 / luma.max() as f32
        }
    };
    let mean = |i: usize| (a[i] + b[i] + c[i] + d[i]) * 0.25;
    if let Colors::Yuv(_) = colors {
        let value = |code: f32| code * scale - 0.5;
        return [
            value(a[0]),
            value(b[0]),
            value(c[0]),
            value(d[0]),
            value(mean(1)),
            value(mean(2)),
        ];
    }
    let luma = |p: [f32; 3]| (KR * p[0] + (1.0 - KR - KB) * p[1] + KB * p[2]) * scale - 0.5;
    let y = luma([mean(0), mean(1), mean(2)]) + 0.5;
    let u = (mean(2) * scale - y) / (2.0 - 2.0 * KB);
    let v = (mean(0) * scale - y) / (2.0 - 2.0 * KR);
    [luma(a), luma(b), luma(c), luma(d), u, v]
}

fn gray(picture: &Picture, luma: &Component, x: usize, y: usize) -> [f32; CHANNELS] {
    let scale = 1.0 / luma.max() as f32;
    let [a, b, c, d] = pixels(picture, &[*luma], x, y).map(|[code]| code * scale - 0.5);
    [a, b, c, d, 0.0, 0.0]
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
