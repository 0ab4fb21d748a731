//! Formats without a kernel of their own: codes are first spread into lines of floats, a component
//! at a time, then the cells are made from those.

use super::reference::{rgb, scale, yuv};
use super::{CHANNELS, Colors};
use crate::picture::{Component, Picture};

/// Cells at a time; their codes stay in the first cache.
const TILE: usize = 128;

/// The codes of a component at the 2x2 pixels of each cell.
type Codes = [[f32; TILE]; 4];

/// Makes the first cells of row `y` of the view, and says how many.
pub fn cells(picture: &Picture, colors: &Colors, y: usize, row: &mut [f32]) -> usize {
    let (components, scale) = match colors {
        Colors::Gray(_) => return 0,
        Colors::Yuv(c) | Colors::Rgb(c) => (c, scale(&c[0])),
    };
    let cells = picture.width() / 2;
    let mut codes = [[[0.0; TILE]; 4]; 3];
    for start in (0..cells).step_by(TILE) {
        let count = TILE.min(cells - start);
        for (c, codes) in components.iter().zip(&mut codes) {
            spread(picture, c, start, y, count, codes);
        }
        let row = &mut row[start * CHANNELS..][..count * CHANNELS];
        for (i, cell) in row.as_chunks_mut::<CHANNELS>().0.iter_mut().enumerate() {
            let pixel = |p: usize| [codes[0][p][i], codes[1][p][i], codes[2][p][i]];
            let pixels = [pixel(0), pixel(1), pixel(2), pixel(3)];
            *cell = match colors {
                Colors::Rgb(_) => rgb(pixels, scale),
                _ => yuv(pixels, scale),
            };
        }
    }
    cells
}

/// Codes of `count` cells from `start` on, in row `y` of the view; all pixels inside the picture
/// but perhaps the lower ones, which are then the edge's.
fn spread(
    picture: &Picture,
    c: &Component,
    start: usize,
    y: usize,
    count: usize,
    codes: &mut Codes,
) {
    let [a, b, c0, d] = codes;
    for (dy, [even, odd]) in [[a, b], [c0, d]].into_iter().enumerate() {
        let py = (2 * y + dy).min(picture.height() - 1);
        let row = picture.row(c.plane, py >> c.sub_y);
        let (even, odd) = (&mut even[..count], &mut odd[..count]);
        if c.size() == 1 {
            line(row, c, start, even, odd, |row, at| f32::from(row[at]));
        } else {
            line(row, c, start, even, odd, |row, at| {
                f32::from(u16::from_le_bytes([row[at], row[at + 1]]) >> c.shift)
            });
        }
    }
}

#[inline(always)]
fn line(
    row: &[u8],
    c: &Component,
    start: usize,
    even: &mut [f32],
    odd: &mut [f32],
    code: impl Fn(&[u8], usize) -> f32,
) {
    if c.sub_x == 1 {
        for (i, (even, odd)) in even.iter_mut().zip(odd).enumerate() {
            *even = code(row, c.offset + (start + i) * c.step);
            *odd = *even;
        }
    } else {
        for (i, (even, odd)) in even.iter_mut().zip(odd).enumerate() {
            let at = c.offset + 2 * (start + i) * c.step;
            *even = code(row, at);
            *odd = code(row, at + c.step);
        }
    }
}
