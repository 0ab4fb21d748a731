//! What some networks do value by value between their layers; plain loops.

use candle_core::{Tensor, bail};

use super::Context;
use super::raster::{Geometry, Source, write};

#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
#[cfg_attr(not(feature = "cuda"), allow(dead_code))]
mod cuda;
#[cfg(test)]
mod tests;

/// Fills `out` with the sum of `a` and `b`, all of the same shape; negative values become 0.
///
/// # Errors
/// The shapes differ.
pub fn add_rectified(
    context: &Context,
    a: &Tensor,
    b: &Tensor,
    out: &Tensor,
) -> candle_core::Result<()> {
    on_card!(context, |gpu| cuda::add_rectified(
        [&gpu.raster(a)?, &gpu.raster(b)?],
        &gpu.raster(out)?
    ));
    let (a, b) = (Source::lock(a), Source::lock(b));
    let (a, b) = (a.raster()?, b.raster()?);
    write("add rectified", out, |mut out| {
        a.expect("a summand", out.size(), out.channels)?;
        b.expect("a summand", out.size(), out.channels)?;
        let (pixel, channels) = (out.pixel, out.channels);
        out.for_each_row(context, |y, row| {
            for (x, values) in row.chunks_mut(pixel).enumerate() {
                let sums = a.at(y, x).iter().zip(b.at(y, x)).map(|(a, b)| a + b);
                for (value, sum) in values[..channels].iter_mut().zip(sums) {
                    *value = sum.max(0.0);
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
    on_card!(context, |gpu| cuda::surround(
        &gpu.raster(picture)?,
        origin,
        &gpu.raster(out)?
    ));
    let picture = Source::lock(picture);
    let picture = picture.raster()?;
    write("surround", out, |mut out| {
        check_surrounded(&picture, origin, &out)?;
        let (h, w) = picture.size();
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

fn check_surrounded(
    picture: &Geometry,
    origin: (usize, usize),
    out: &Geometry,
) -> candle_core::Result<()> {
    let (h, w) = picture.size();
    if origin.0 + h > out.height || origin.1 + w > out.width {
        bail!("a picture of {h}x{w} at {origin:?} of {:?}", out.size());
    }
    out.expect("what surrounds a picture", out.size(), picture.channels)
}
