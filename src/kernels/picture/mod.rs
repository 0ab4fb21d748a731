//! Pictures of red, green and blue, 0 to 1: made of two by a motion.

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
pub fn copy(picture: &Tensor, out: &Tensor) -> candle_core::Result<()> {
    let picture = Source::lock(picture);
    let picture = picture.raster()?;
    let context = Context::new(1).map_err(candle_core::Error::wrap)?;
    write("copy", out, |mut out| {
        out.expect("a picture", picture.size(), picture.channels)?;
        let (pixel, channels) = (out.pixel, out.channels);
        out.for_each_row(&context, |y, row| {
            for (x, values) in row.chunks_mut(pixel).enumerate() {
                values[..channels].copy_from_slice(picture.at(y, x));
            }
        });
        Ok(())
    })
}
