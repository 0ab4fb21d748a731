//! What a network's own picture has beyond what both sides give, brought into the stream's planes.
//!
//! It is a difference of colours, so that only the matrix matters, and is added to codes that are
//! there already: nothing is converted there and back. Two rules keep brightness and colour calm:
//! where eight neighbouring samples are the same bytes in both pictures and in the one between,
//! nothing is added; and of every difference, [`NOISE`] is taken away, so that a bias that a
//! network has all over its picture does not beat at the rhythm of the made frames.

use candle_core::Tensor;
use rayon::prelude::*;

use super::{Colors, Span};
use crate::error::Result;
use crate::kernels::Context;
use crate::kernels::raster::{Raster, Source};
use crate::picture::{Color, Component, Format, Picture, PictureMut};

/// Codes of 8 bits by which all differences are made smaller.
pub const NOISE: f32 = 1.0;
/// Samples that are looked at together.
const SEGMENT: usize = 8;

/// A component, its share of red, green and blue, and the codes of a whole unit of each.
pub(super) type Part = (Component, [f32; 3]);

/// Adds `residual`, `[h, w, 3]` or larger, of red, green and blue, to `out`, which was made from
/// `sides`.
///
/// # Errors
/// The pictures differ in kind, or the residual is smaller.
pub fn add(
    context: &Context,
    residual: &Tensor,
    sides: [&Picture; 2],
    out: &mut PictureMut,
) -> Result<()> {
    let [left, right] = sides;
    let (width, height) = (left.width() as u32, left.height() as u32);
    right.expect(left.format(), width, height)?;
    out.expect(left.format(), width, height)?;
    let residual = residual.narrow(0, 0, left.height())?;
    let residual = residual.narrow(1, 0, left.width())?;
    let residual = Source::lock(&residual);
    let residual = residual.raster()?;
    residual.expect("a residual", residual.size(), 3)?;
    let parts = parts(left.format(), left.color());
    for (i, plane) in out.planes_mut().iter_mut().enumerate() {
        let own: Vec<_> = parts.iter().filter(|(c, _)| c.plane == i).collect();
        let Some((first, _)) = own.first() else {
            continue;
        };
        let rows = first.height(left.height());
        context.pool().install(|| {
            let all = plane.data.par_chunks_mut(plane.stride).take(rows);
            all.enumerate().for_each(|(y, row)| {
                let rows = [left.row(i, y), right.row(i, y)];
                let bytes = rows[0].len();
                for part in &own {
                    add_row(&residual, part, y, rows, &mut row[..bytes]);
                }
            });
        });
    }
    Ok(())
}

/// Which components take what of red, green and blue.
pub(super) fn parts(format: Format, color: Color) -> Vec<Part> {
    let (kr, kb) = (color.kr, color.kb);
    let luma = [kr, 1.0 - kr - kb, kb];
    let codes = |span: &Span, shares: [f32; 3]| shares.map(|s| s / span.step);
    let chroma = |of: usize, k: f32| {
        let mut shares = luma.map(|l| -l / (2.0 * (1.0 - k)));
        shares[of] = 0.5;
        shares
    };
    match Colors::of(format, color) {
        Colors::Gray(c, span) => vec![(c, codes(&span, luma))],
        Colors::Rgb(all) => {
            let part = |(i, c): (usize, Component)| {
                let mut shares = [0.0; 3];
                shares[i] = c.max() as f32;
                (c, shares)
            };
            all.into_iter().enumerate().map(part).collect()
        }
        Colors::Yuv([y, u, v]) => vec![
            (y.0, codes(&y.1, luma)),
            (u.0, codes(&u.1, chroma(2, kb))),
            (v.0, codes(&v.1, chroma(0, kr))),
        ],
    }
}

/// [`NOISE`] in a component's own codes.
pub(super) fn noise(c: &Component) -> f32 {
    NOISE * (1u32 << (c.depth - 8)) as f32
}

fn add_row(residual: &Raster, (c, shares): &Part, y: usize, rows: [&[u8]; 2], out: &mut [u8]) {
    let noise = noise(c);
    let width = c.width(residual.width);
    for first in (0..width).step_by(SEGMENT) {
        let end = width.min(first + SEGMENT);
        let bytes = first * c.step..(end * c.step).min(out.len());
        let [left, right] = rows.map(|row| &row[bytes.clone()]);
        if left == right && out[bytes] == *left {
            continue;
        }
        for x in first..end {
            let difference = mean(residual, c, shares, y, x);
            let strong = (difference.abs() - noise).max(0.0).copysign(difference);
            if strong != 0.0 {
                let code = (c.load(out, x) as f32 + strong).round_ties_even();
                c.store(out, x, code.clamp(0.0, c.max() as f32) as u32);
            }
        }
    }
}

/// The mean difference, in codes, of the pixels that a sample covers.
fn mean(residual: &Raster, c: &Component, shares: &[f32; 3], y: usize, x: usize) -> f32 {
    let mut sum = 0.0;
    for y in y << c.sub_y..(y + 1) << c.sub_y {
        for x in x << c.sub_x..(x + 1) << c.sub_x {
            let rgb = residual.at(y.min(residual.height - 1), x.min(residual.width - 1));
            sum += rgb.iter().zip(shares).map(|(v, s)| v * s).sum::<f32>();
        }
    }
    sum / (1u32 << (c.sub_x + c.sub_y)) as f32
}
