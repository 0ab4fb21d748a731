//! Plain loops over full-size tensors, each pixel by itself or with its neighbours.

use candle_core::{DType, Device, Tensor, bail};

use super::Context;
use super::answers::{self, CONCLUSION, MASK};
#[cfg(feature = "cuda")]
use super::cuda::Card;
#[cfg(feature = "cuda")]
use super::device::Queue;
use super::raster::{Raster, Source, write};
use super::warp::Taps;

#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
pub mod cuda;
#[cfg(test)]
mod tests;

/// Pixels of a cell along a side.
const CELL: usize = 4;

/// Fills `out`, `[h, w, c]`, with both `sides`, `[h, w, c]` each, warped and weighted by `motion`,
/// `[h, w, 5]`: flow to the left (x, y) and to the right (x, y) in pixels, the left one's weight. On a card both sides may be of `f16`.
///
/// # Errors
/// Sizes that do not fit.
pub fn blend(
    context: &Context,
    sides: [&Tensor; 2],
    motion: &Tensor,
    out: &Tensor,
) -> candle_core::Result<()> {
    on_card!(context, |gpu| cuda::blend(
        [
            Queue::new(gpu).features(sides[0])?,
            Queue::new(gpu).features(sides[1])?
        ],
        &gpu.raster(motion)?,
        &gpu.raster(out)?
    ));
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
                let sample = |side: &Raster, flow: &[f32], c: usize| {
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

/// Fills `out` with `picture`, of the same shape; on a card it may be of `f16`.
///
/// # Errors
/// The shapes differ.
pub fn copy(context: &Context, picture: &Tensor, out: &Tensor) -> candle_core::Result<()> {
    on_card!(context, |gpu| cuda::copy(
        &gpu.raster(picture)?,
        Queue::new(gpu).features(out)?
    ));
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

/// The mean of all values of two pictures; it lies where they do.
#[derive(Debug)]
pub struct Mean {
    /// `[1, h, 1]` each: the sums of their rows, on a card.
    #[cfg_attr(
        not(any(
            feature = "cuda",
            all(test, target_arch = "x86_64", target_os = "linux")
        )),
        allow(dead_code)
    )]
    rows: [Tensor; 2],
    /// `[1, 1, 1]`.
    value: Tensor,
}

impl Mean {
    /// For pictures of this height.
    ///
    /// # Errors
    /// Those of the allocation.
    pub fn new(device: &Device, height: usize) -> candle_core::Result<Self> {
        let zeros = |width: usize| Tensor::zeros((1, width, 1), DType::F32, device);
        Ok(Self {
            rows: [zeros(height)?, zeros(height)?],
            value: zeros(1)?,
        })
    }

    /// Takes that of `sides`, each `[h, w, c]`.
    ///
    /// # Errors
    /// They are of another height.
    pub fn take(&self, context: &Context, sides: [&Tensor; 2]) -> candle_core::Result<()> {
        #[cfg(feature = "cuda")]
        if let Some(gpu) = context.gpu() {
            let sides = [&gpu.raster(sides[0])?, &gpu.raster(sides[1])?];
            let rows = [&gpu.raster(&self.rows[0])?, &gpu.raster(&self.rows[1])?];
            let launches = cuda::mean(sides, rows, &gpu.raster(&self.value)?)?;
            for launch in launches {
                // SAFETY: these are the arguments of the kernel, made of tensors on this card.
                unsafe { gpu.run(launch) }?;
            }
            return Ok(());
        }
        let [left, right] = sides.map(Source::lock);
        let [left, right] = [mean(&left.raster()?), mean(&right.raster()?)];
        fill(context, (left + right) / 2.0, &self.value)
    }

    /// Fills `out` with `values`, of the same shape, less the mean.
    ///
    /// # Errors
    /// The shapes differ.
    pub fn lower(
        &self,
        context: &Context,
        values: &Tensor,
        out: &Tensor,
    ) -> candle_core::Result<()> {
        on_card!(context, |gpu| cuda::lower(
            &gpu.raster(values)?,
            &gpu.raster(&self.value)?,
            &gpu.raster(out)?
        ));
        let mean = Source::lock(&self.value).raster()?.at(0, 0)[0];
        lower(context, values, mean, out)
    }
}

fn mean(raster: &Raster) -> f32 {
    let row = |y: usize| -> f64 {
        let pixels = raster.row(y).chunks(raster.pixel);
        let sums = pixels.map(|p| p[..raster.channels].iter().sum::<f32>());
        f64::from(sums.sum::<f32>())
    };
    let count = raster.height * raster.width * raster.channels;
    ((0..raster.height).map(row).sum::<f64>() / count as f64) as f32
}

/// What becomes of each value by itself.
#[derive(Debug, Clone, Copy)]
pub enum Change {
    /// It loses so much.
    Lower(f32),
    /// It is multiplied.
    Scale(f32),
    Sigmoid,
}

impl Change {
    fn of(self, value: f32) -> f32 {
        match self {
            Self::Lower(by) => value - by,
            Self::Scale(factor) => factor * value,
            Self::Sigmoid => answers::sigmoid(value),
        }
    }
}

/// Fills `out` with `values`, of the same shape, less `by`.
///
/// # Errors
/// The shapes differ.
pub fn lower(context: &Context, values: &Tensor, by: f32, out: &Tensor) -> candle_core::Result<()> {
    map(context, values, Change::Lower(by), out)
}

/// Fills `out` with the sigmoid of `values`, of the same shape.
///
/// # Errors
/// The shapes differ.
pub fn sigmoid(context: &Context, values: &Tensor, out: &Tensor) -> candle_core::Result<()> {
    map(context, values, Change::Sigmoid, out)
}

fn map(
    context: &Context,
    values: &Tensor,
    change: Change,
    out: &Tensor,
) -> candle_core::Result<()> {
    on_card!(context, |gpu| cuda::map(
        &gpu.raster(values)?,
        change,
        &gpu.raster(out)?
    ));
    let values = Source::lock(values);
    let values = values.raster()?;
    write("map", out, |mut out| {
        out.expect("a result", values.size(), values.channels)?;
        let (pixel, channels) = (out.pixel, out.channels);
        out.for_each_row(context, |y, row| {
            for (x, results) in row.chunks_mut(pixel).enumerate() {
                for (result, v) in results[..channels].iter_mut().zip(values.at(y, x)) {
                    *result = change.of(*v);
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
pub fn extend(
    context: &Context,
    image: &Tensor,
    (height, width): (usize, usize),
) -> candle_core::Result<()> {
    on_card!(context, |gpu| cuda::extend(
        &gpu.raster(image)?,
        (height, width)
    ));
    write("extend", image, |mut out| {
        let (rows, columns) = out.size();
        check_edge((height, width), (rows, columns))?;
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

fn check_edge(size: (usize, usize), whole: (usize, usize)) -> candle_core::Result<()> {
    if size.0 == 0 || size.1 == 0 || size.0 > whole.0 || size.1 > whole.1 {
        bail!("no edge at {size:?} of {whole:?}");
    }
    Ok(())
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
    on_card!(context, |gpu| cuda::add_clamped(
        [&gpu.raster(image)?, &gpu.raster(residual)?],
        &gpu.raster(out)?
    ));
    super::conv::add(context, image, residual, out)?;
    change(context, out, |_, _, values| {
        values.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
    })
}

/// Fills `out` with one value.
///
/// # Errors
/// None that a `[h, w, c]` tensor has.
pub fn fill(context: &Context, value: f32, out: &Tensor) -> candle_core::Result<()> {
    on_card!(context, |gpu| cuda::fill(value, &gpu.raster(out)?));
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
    map(context, values, Change::Scale(factor), out)
}

/// Adds `factor` times `values` to `out`, of the same shape.
///
/// # Errors
/// The shapes differ.
pub fn add_scaled(
    context: &Context,
    factor: f32,
    values: &Tensor,
    out: &Tensor,
) -> candle_core::Result<()> {
    on_card!(context, |gpu| cuda::add_weighted(
        factor,
        None,
        &gpu.raster(values)?,
        &gpu.raster(out)?
    ));
    add_weighted(context, values, |_, _| factor, out)
}

/// What the pixels of a part of a picture weigh.
#[derive(Debug)]
pub struct Weights {
    /// Of each row, `[1, h, 1]`, and of each column, `[1, w, 1]`: a pixel has the product.
    sides: [Tensor; 2],
}

impl Weights {
    /// Of rows and columns.
    ///
    /// # Errors
    /// Those of the allocation.
    pub fn new(device: &Device, sides: [Vec<f32>; 2]) -> candle_core::Result<Self> {
        let side = |values: Vec<f32>| Tensor::from_slice(&values, (1, values.len(), 1), device);
        let [rows, columns] = sides.map(side);
        Ok(Self {
            sides: [rows?, columns?],
        })
    }
}

/// Adds `values` to `out`, of the same shape, times the `weights` of the pixels.
///
/// # Errors
/// The shapes differ.
pub fn add_faded(
    context: &Context,
    weights: &Weights,
    values: &Tensor,
    out: &Tensor,
) -> candle_core::Result<()> {
    let [rows, columns] = &weights.sides;
    on_card!(context, |gpu| cuda::add_weighted(
        1.0,
        Some([&gpu.raster(rows)?, &gpu.raster(columns)?]),
        &gpu.raster(values)?,
        &gpu.raster(out)?
    ));
    let (rows, columns) = (Source::lock(rows), Source::lock(columns));
    let (rows, columns) = (rows.raster()?, columns.raster()?);
    if (rows.width, columns.width) != (out.dim(0)?, out.dim(1)?) {
        bail!("weights of another size than {out:?}");
    }
    let weight = |y: usize, x: usize| rows.at(0, y)[0] * columns.at(0, x)[0];
    add_weighted(context, values, weight, out)
}

fn add_weighted(
    context: &Context,
    values: &Tensor,
    weight: impl Fn(usize, usize) -> f32 + Sync,
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
