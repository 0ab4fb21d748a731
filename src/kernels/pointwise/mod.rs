//! What some networks do value by value between their layers; plain loops.

use candle_core::{Tensor, bail};

use super::Context;
use super::raster::{Source, write};

#[cfg(test)]
mod tests;

/// Multiplies the negative values of channel `c` of `out`, `[h, w, channels]`, by `slopes[c]`.
///
/// # Errors
/// More or fewer slopes than channels.
pub fn slope(context: &Context, slopes: &[f32], out: &Tensor) -> candle_core::Result<()> {
    write("slope", out, |mut out| {
        let (pixel, channels) = (out.pixel, out.channels);
        if channels != slopes.len() {
            bail!("{} slopes for {channels} channels", slopes.len());
        }
        out.for_each_row(context, |_, row| {
            for values in row.chunks_mut(pixel) {
                for (value, slope) in values[..channels].iter_mut().zip(slopes) {
                    *value = value.max(0.0) + slope * value.min(0.0);
                }
            }
        });
        Ok(())
    })
}

/// Fills `out` with `picture`, its first pixel at row and column `origin`, its edge repeated all around.
///
/// # Errors
/// It reaches beyond `out`, or has other channels.
pub fn surround(
    context: &Context,
    picture: &Tensor,
    origin: (usize, usize),
    out: &Tensor,
) -> candle_core::Result<()> {
    let picture = Source::lock(picture);
    let picture = picture.raster()?;
    write("surround", out, |mut out| {
        let (h, w) = picture.size();
        if origin.0 + h > out.height || origin.1 + w > out.width {
            bail!("a picture of {h}x{w} at {origin:?} of {:?}", out.size());
        }
        out.expect("what surrounds a picture", out.size(), picture.channels)?;
        let (pixel, channels) = (out.pixel, out.channels);
        let within = |i: usize, origin: usize, size: usize| i.saturating_sub(origin).min(size - 1);
        out.for_each_row(context, |y, row| {
            for (x, values) in row.chunks_mut(pixel).enumerate() {
                let from = picture.at(within(y, origin.0, h), within(x, origin.1, w));
                values[..channels].copy_from_slice(from);
            }
        });
        Ok(())
    })
}
