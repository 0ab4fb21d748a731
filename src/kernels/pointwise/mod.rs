//! What follows some layers value by value, in place; plain loops.

use candle_core::{Tensor, bail};

use super::Context;
use super::raster::write;

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
