//! Full-size tensors: a picture from two by a motion, the mean of cells, a copy.

use candle_core::Tensor;

use super::Context;
use super::answers::{CONCLUSION, MASK};
use super::raster::{Source, write};
use super::warp::Taps;

/// Fills `out`, `[h, w, c]`, with both `sides`, `[h, w, c]` each, warped and weighted by `motion`,
/// `[h, w, 5]`: flow to the left (x, y) and to the right (x, y) in pixels, the left one's weight.
/// A plain loop: no frame is made with it but where a test wants a network's own picture.
///
/// # Errors
/// Sizes that do not fit.
pub fn blend(
    context: &Context,
    sides: [&Tensor; 2],
    motion: &Tensor,
    out: &Tensor,
) -> candle_core::Result<()> {
    let sides = sides.map(Source::lock);
    let [left, right] = sides.each_ref().map(Source::raster);
    let (left, right) = (left?, right?);
    let motion = Source::lock(motion);
    let motion = motion.raster()?;
    write("blend", out, |mut out| {
        out.expect("a picture", left.size(), left.channels)?;
        right.expect("the right side", left.size(), left.channels)?;
        motion.expect("the motion", left.size(), CONCLUSION)?;
        let (pixel, channels) = (out.pixel, out.channels);
        out.for_each_row(context, |y, row| {
            for (x, values) in row.chunks_mut(pixel).enumerate() {
                let m = motion.at(y, x);
                let sample = |side: &super::raster::Raster, flow: &[f32], c: usize| {
                    let ty = Taps::new(y as f32 + flow[1], side.height);
                    let tx = Taps::new(x as f32 + flow[0], side.width);
                    let mix = |a: f32, b: f32, t: f32| a + t * (b - a);
                    let at = |y| mix(side.at(y, tx.first)[c], side.at(y, tx.second)[c], tx.share);
                    mix(at(ty.first), at(ty.second), ty.share)
                };
                for (c, value) in values[..channels].iter_mut().enumerate() {
                    let (l, r) = (sample(&left, m, c), sample(&right, &m[2..], c));
                    *value = l * m[MASK] + r * (1.0 - m[MASK]);
                }
            }
        });
        Ok(())
    })
}

/// Fills `out` with `picture`, of the same shape.
///
/// # Errors
/// The shapes differ.
pub fn copy(context: &Context, picture: &Tensor, out: &Tensor) -> candle_core::Result<()> {
    let picture = Source::lock(picture);
    let picture = picture.raster()?;
    write("copy", out, |mut out| {
        out.expect("a picture", picture.size(), picture.channels)?;
        let (pixel, channels) = (out.pixel, out.channels);
        out.for_each_row(context, |y, row| {
            for (x, values) in row.chunks_mut(pixel).enumerate() {
                values[..channels].copy_from_slice(picture.at(y, x));
            }
        });
        Ok(())
    })
}

/// Fills `out`, `[h, w, c]`, with the means of 4x4 pixels of `full`, `[4 h, 4 w, c]`.
///
/// # Errors
/// Sizes that do not fit.
pub fn quarter(context: &Context, full: &Tensor, out: &Tensor) -> candle_core::Result<()> {
    const CELL: usize = 4;
    let full = Source::lock(full);
    let full = full.raster()?;
    write("quarter", out, |mut out| {
        let size = (CELL * out.height, CELL * out.width);
        full.expect("what is made smaller", size, out.channels)?;
        let (pixel, channels) = (out.pixel, out.channels);
        out.for_each_row(context, |y, row| {
            for (x, values) in row.chunks_mut(pixel).enumerate() {
                let values = &mut values[..channels];
                values.fill(0.0);
                for y in CELL * y..CELL * (y + 1) {
                    for x in CELL * x..CELL * (x + 1) {
                        let sums = values.iter_mut().zip(full.at(y, x));
                        sums.for_each(|(sum, v)| *sum += v / (CELL * CELL) as f32);
                    }
                }
            }
        });
        Ok(())
    })
}
