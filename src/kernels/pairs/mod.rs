//! What a network has that compares all places of one picture with all of the other: plain loops.

use candle_core::{DType, Device, Tensor, bail};

use super::Context;
use super::raster::{Raster, Source, write};
use super::warp::Taps;

#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
#[cfg_attr(not(feature = "cuda"), allow(dead_code))]
mod cuda;
#[cfg(test)]
mod tests;

/// Cells by which a lookup reaches to each side, and cells of its side.
const RADIUS: usize = 3;
const SIDE: usize = 2 * RADIUS + 1;
/// Values of a lookup at one level.
pub const LOOKED_UP: usize = SIDE * SIDE;
/// Most levels of what is looked up in.
pub const LEVELS: usize = 4;
/// Added to the variance of a channel.
const EPSILON: f64 = 1e-5;

/// Values that are summed side by side.
const LANES: usize = 8;

/// How alike a pixel's features and those of the other picture are around where it moves to: fills
/// `out`, `[h, w, 49 levels]`, from `features`, `[h, w, d]`, and those of the `other`, each level half the
/// size of the one before. The centre is the pixel's place plus `flow`, `[h, w, 2]` in cells of the
/// finest level, divided by the `share`, `[h, w, 1]`, or for the other side by what it lacks to 1. Values
/// are products over the root of d, bilinear between cells, 0 beyond the edge; those of a level are
/// column by column, as the authors' code orders them.
///
/// A product with a mean, or with what lies between cells, is the mean of the products: no table of all
/// pairs is needed.
///
/// # Errors
/// Sizes that do not fit.
pub fn look_up(
    context: &Context,
    (features, other): (&Tensor, &[Tensor]),
    flow: &Tensor,
    (share, is_other): (&Tensor, bool),
    out: &Tensor,
) -> candle_core::Result<()> {
    on_card!(context, |gpu| {
        let levels = other.iter().map(|level| gpu.raster(level));
        let levels = levels.collect::<candle_core::Result<Vec<_>>>()?;
        let (features, share) = (gpu.raster(features)?, gpu.raster(share)?);
        let (other, share) = ((&features, &levels[..]), (&share, is_other));
        cuda::look_up(other, &gpu.raster(flow)?, share, &gpu.raster(out)?)
    });
    if other.is_empty() || other.len() > LEVELS {
        bail!(
            "{} levels to look up in, expected 1 to {LEVELS}",
            other.len()
        );
    }
    let sources = [features, flow, share].map(Source::lock);
    let [features, flow, share] = sources.each_ref().map(Source::raster);
    let (features, flow, share) = (features?, flow?, share?);
    flow.expect("a flow", features.size(), 2)?;
    share.expect("shares", features.size(), 1)?;
    let other: Vec<_> = other.iter().map(Source::lock).collect();
    let levels: candle_core::Result<Vec<_>> = other.iter().map(Source::raster).collect();
    let levels = levels?;
    for level in &levels {
        level.expect("what is looked up in", level.size(), features.channels)?;
    }
    write("look up", out, |mut out| {
        out.expect(
            "what is looked up",
            features.size(),
            levels.len() * LOOKED_UP,
        )?;
        let pixel = out.pixel;
        out.for_each_row(context, |y, row| {
            for (x, values) in row.chunks_mut(pixel).enumerate() {
                let share = share.at(y, x)[0];
                let reach = 1.0 / if is_other { 1.0 - share } else { share };
                let flow = flow.at(y, x);
                let mut place = [x as f32 + flow[0] * reach, y as f32 + flow[1] * reach];
                let values = values.chunks_exact_mut(LOOKED_UP);
                for (level, values) in levels.iter().zip(values) {
                    around(features.at(y, x), level, place, values);
                    place = place.map(|p| p / 2.0);
                }
            }
        });
        Ok(())
    })
}

/// The products around one place (x, y) of a level.
fn around(features: &[f32], level: &Raster, place: [f32; 2], values: &mut [f32]) {
    let scale = 1.0 / (features.len() as f32).sqrt();
    let [(x, share_x), (y, share_y)] = place.map(|p| (p.floor() as isize, p - p.floor()));
    let mut products = [[0.0f32; SIDE + 1]; SIDE + 1];
    for (j, row) in products.iter_mut().enumerate() {
        for (i, product) in row.iter_mut().enumerate() {
            let at = |n: isize, i: usize| n.saturating_add(i as isize - RADIUS as isize);
            if let Some(other) = level.get(at(y, j), at(x, i)) {
                *product = dot(features, other) * scale;
            }
        }
    }
    for i in 0..SIDE {
        for j in 0..SIDE {
            let mix = |a: f32, b: f32, share: f32| a * (1.0 - share) + b * share;
            let row = |j: usize| mix(products[j][i], products[j][i + 1], share_x);
            values[i * SIDE + j] = mix(row(j), row(j + 1), share_y);
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a.remainder().iter().zip(b.remainder());
    let rest: f32 = rest.map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        (0..LANES).for_each(|i| sums[i] += a[i] * b[i]);
    }
    rest + sums.iter().sum::<f32>()
}

/// Room for the mean and the deviation of each channel on a card.
#[derive(Debug)]
pub struct Moments {
    /// The sums of rows, and what becomes of them.
    #[cfg_attr(
        not(any(
            feature = "cuda",
            all(test, target_arch = "x86_64", target_os = "linux")
        )),
        allow(dead_code)
    )]
    rooms: [Tensor; 2],
}

impl Moments {
    /// For tensors of up to so many rows and channels.
    ///
    /// # Errors
    /// Those of the allocation.
    pub fn new(device: &Device, [rows, channels]: [usize; 2]) -> candle_core::Result<Self> {
        let room = |count: usize| Tensor::zeros(count, DType::F32, device);
        Ok(Self {
            rooms: [room(rows * channels)?, room(2 * channels)?],
        })
    }

    /// `[1, h, c]` and `[1, 2, c]` for a tensor of so many rows and channels.
    #[cfg(any(
        feature = "cuda",
        all(test, target_arch = "x86_64", target_os = "linux")
    ))]
    fn rooms(&self, (rows, channels): (usize, usize)) -> candle_core::Result<[Tensor; 2]> {
        let room = |i: usize, height: usize| {
            let own = self.rooms[i].narrow(0, 0, height * channels)?;
            own.reshape((1, height, channels))
        };
        Ok([room(0, rows)?, room(1, 2)?])
    }
}

/// Fills `out` with `input`, both `[h, w, c]`, each channel brought to mean 0 and variance 1 over all
/// pixels; `rectified`, negative values become 0.
///
/// # Errors
/// Sizes that do not fit.
pub fn standardise(
    context: &Context,
    input: &Tensor,
    rectified: bool,
    room: &Moments,
    out: &Tensor,
) -> candle_core::Result<()> {
    #[cfg(feature = "cuda")]
    if let Some(gpu) = context.gpu() {
        let [rows, moments] = room.rooms((input.dim(0)?, input.dim(2)?))?;
        let rooms = [&gpu.raster(&rows)?, &gpu.raster(&moments)?];
        let (input, out) = (gpu.raster(input)?, gpu.raster(out)?);
        for launch in cuda::standardise(&input, rectified, rooms, &out)? {
            // SAFETY: these are the arguments of the kernel, made of tensors on this card.
            unsafe { gpu.run(launch) }?;
        }
        return Ok(());
    }
    #[cfg(not(feature = "cuda"))]
    let _ = room;
    let input = Source::lock(input);
    let input = input.raster()?;
    let moments = moments(&input);
    let least = if rectified { 0.0 } else { f32::NEG_INFINITY };
    write("standardise", out, |mut out| {
        out.expect("what is standardised", input.size(), input.channels)?;
        let (pixel, channels) = (out.pixel, out.channels);
        out.for_each_row(context, |y, row| {
            for (x, values) in row.chunks_mut(pixel).enumerate() {
                let values = values[..channels].iter_mut().zip(input.at(y, x));
                for ((value, v), (mean, scale)) in values.zip(&moments) {
                    *value = ((v - mean) * scale).max(least);
                }
            }
        });
        Ok(())
    })
}

/// Of each channel its mean and one over its deviation.
fn moments(input: &Raster) -> Vec<(f32, f32)> {
    let count = (input.height * input.width) as f64;
    let means = |f: &dyn Fn(usize, f32) -> f32| {
        let mut sums = vec![0f64; input.channels];
        for y in 0..input.height {
            let mut row = vec![0f32; input.channels];
            for x in 0..input.width {
                let values = row.iter_mut().zip(input.at(y, x)).enumerate();
                values.for_each(|(c, (sum, v))| *sum += f(c, *v));
            }
            sums.iter_mut()
                .zip(row)
                .for_each(|(sum, v)| *sum += f64::from(v));
        }
        sums.into_iter().map(|sum| sum / count).collect::<Vec<_>>()
    };
    let mean: Vec<_> = means(&|_, v| v).into_iter().map(|m| m as f32).collect();
    let variances = means(&|c, v| (v - mean[c]) * (v - mean[c]));
    let scales = variances
        .iter()
        .map(|v| (1.0 / (v + EPSILON).sqrt()) as f32);
    mean.iter().copied().zip(scales).collect()
}

/// Fills `out`, `[h', w', c]`, with `gain` times `input`, `[h, w, c]`, made larger or smaller bilinearly
/// with half-pixel centres; beyond the edge the edge repeats.
///
/// # Errors
/// Other channels.
pub fn resize(
    context: &Context,
    input: &Tensor,
    gain: f32,
    out: &Tensor,
) -> candle_core::Result<()> {
    on_card!(context, |gpu| cuda::resize(
        &gpu.raster(input)?,
        gain,
        &gpu.raster(out)?
    ));
    let input = Source::lock(input);
    let input = input.raster()?;
    write("resize", out, |mut out| {
        out.expect("what is resized", out.size(), input.channels)?;
        let (pixel, channels, (h, w)) = (out.pixel, out.channels, out.size());
        let taps = |i: usize, from: usize, to: usize| {
            let ratio = from as f32 / to as f32;
            Taps::new((i as f32 + 0.5) * ratio - 0.5, from)
        };
        out.for_each_row(context, |y, row| {
            let ty = taps(y, input.height, h);
            for (x, values) in row.chunks_mut(pixel).enumerate() {
                let tx = taps(x, input.width, w);
                let corner = |y, x| input.at(y, x);
                let [a, b] = [tx.first, tx.second].map(|x| corner(ty.first, x));
                let [c, d] = [tx.first, tx.second].map(|x| corner(ty.second, x));
                for (i, value) in values[..channels].iter_mut().enumerate() {
                    let upper = a[i] + tx.share * (b[i] - a[i]);
                    let lower = c[i] + tx.share * (d[i] - c[i]);
                    *value = gain * (upper + ty.share * (lower - upper));
                }
            }
        });
        Ok(())
    })
}
