//! Plain loops over full-size tensors, each pixel by itself or with its neighbours.

use candle_core::Tensor;

use super::Context;
use super::answers::{self, CONCLUSION, MASK};
use super::raster::{Source, write};
use super::warp::Taps;

#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
mod cuda;
#[cfg(test)]
mod tests;

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
    #[cfg(feature = "cuda")]
    if let Some(gpu) = context.gpu() {
        let launch = cuda::copy(&gpu.raster(picture)?, &gpu.raster(out)?)?;
        // SAFETY: these are the arguments of the kernel, made of tensors on this card.
        return unsafe { gpu.run(launch) };
    }
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

/// Mean of all values of a `[h, w, c]` tensor.
///
/// # Errors
/// None that such a tensor has.
pub fn mean(values: &Tensor) -> candle_core::Result<f32> {
    let source = Source::lock(values);
    let raster = source.raster()?;
    let row = |y: usize| -> f64 {
        let pixels = raster.row(y).chunks(raster.pixel);
        let sums = pixels.map(|p| p[..raster.channels].iter().sum::<f32>());
        f64::from(sums.sum::<f32>())
    };
    let count = raster.height * raster.width * raster.channels;
    Ok(((0..raster.height).map(row).sum::<f64>() / count as f64) as f32)
}

/// Fills `out` with `values`, of the same shape, less `by`.
///
/// # Errors
/// The shapes differ.
pub fn lower(context: &Context, values: &Tensor, by: f32, out: &Tensor) -> candle_core::Result<()> {
    map(context, values, out, |v| v - by)
}

/// Fills `out` with the sigmoid of `values`, of the same shape.
///
/// # Errors
/// The shapes differ.
pub fn sigmoid(context: &Context, values: &Tensor, out: &Tensor) -> candle_core::Result<()> {
    map(context, values, out, answers::sigmoid)
}

fn map(
    context: &Context,
    values: &Tensor,
    out: &Tensor,
    f: impl Fn(f32) -> f32 + Sync,
) -> candle_core::Result<()> {
    let values = Source::lock(values);
    let values = values.raster()?;
    write("map", out, |mut out| {
        out.expect("a result", values.size(), values.channels)?;
        let (pixel, channels) = (out.pixel, out.channels);
        out.for_each_row(context, |y, row| {
            for (x, results) in row.chunks_mut(pixel).enumerate() {
                for (result, v) in results[..channels].iter_mut().zip(values.at(y, x)) {
                    *result = f(*v);
                }
            }
        });
        Ok(())
    })
}

/// Repeats the edge of the first `height` x `width` pixels of `image`, `[h, w, c]`, all over the rest.
///
/// # Errors
/// It is smaller than that.
pub fn extend(image: &Tensor, (height, width): (usize, usize)) -> candle_core::Result<()> {
    write("extend", image, |mut out| {
        let (rows, columns) = out.size();
        if height == 0 || width == 0 || height > rows || width > columns {
            candle_core::bail!("no edge at {height}x{width} of {rows}x{columns}");
        }
        let (pixel, channels) = (out.pixel, out.channels);
        for y in 0..height {
            let row = out.row_mut(y);
            let edge = (width - 1) * pixel..(width - 1) * pixel + channels;
            for x in width..columns {
                row.copy_within(edge.clone(), x * pixel);
            }
        }
        for y in height..rows {
            out.copy_row(height - 1, y);
        }
        Ok(())
    })
}

/// Fills `out` with `image` plus `residual`, all of one shape, brought into 0 to 1.
///
/// # Errors
/// The shapes differ.
pub fn add_clamped(
    context: &Context,
    image: &Tensor,
    residual: &Tensor,
    out: &Tensor,
) -> candle_core::Result<()> {
    super::conv::add(context, image, residual, out)?;
    write("clamp", out, |mut out| {
        out.for_each_row(context, |_, row| {
            row.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
        });
        Ok(())
    })
}

/// Fills `out` with one value.
///
/// # Errors
/// None that a `[h, w, c]` tensor has.
pub fn fill(context: &Context, value: f32, out: &Tensor) -> candle_core::Result<()> {
    change(context, out, |_, _, values| values.fill(value))
}

/// Fills `out` with `factor` times `values`, of the same shape.
///
/// # Errors
/// The shapes differ.
pub fn scale(
    context: &Context,
    factor: f32,
    values: &Tensor,
    out: &Tensor,
) -> candle_core::Result<()> {
    map(context, values, out, |v| factor * v)
}

/// Takes `values` away from `out`, of the same shape.
///
/// # Errors
/// The shapes differ.
pub fn subtract(context: &Context, values: &Tensor, out: &Tensor) -> candle_core::Result<()> {
    add_weighted(context, values, &|_, _| -1.0, out)
}

/// Adds `values` to `out`, of the same shape, times the `weight` of row and column.
///
/// # Errors
/// The shapes differ.
pub fn add_weighted(
    context: &Context,
    values: &Tensor,
    weight: &(impl Fn(usize, usize) -> f32 + Sync),
    out: &Tensor,
) -> candle_core::Result<()> {
    let values = Source::lock(values);
    let values = values.raster()?;
    let (height, width, channels) = out.dims3()?;
    values.expect("what is added", (height, width), channels)?;
    change(context, out, |y, x, sums| {
        let weight = weight(y, x);
        let added = sums.iter_mut().zip(values.at(y, x));
        added.for_each(|(sum, v)| *sum += weight * v);
    })
}

/// Lets `f` change each pixel; it is given row, column and channels.
fn change(
    context: &Context,
    out: &Tensor,
    f: impl Fn(usize, usize, &mut [f32]) + Sync,
) -> candle_core::Result<()> {
    write("change", out, |mut out| {
        let (pixel, channels) = (out.pixel, out.channels);
        out.for_each_row(context, |y, row| {
            for (x, values) in row.chunks_mut(pixel).enumerate() {
                f(y, x, &mut values[..channels]);
            }
        });
        Ok(())
    })
}
