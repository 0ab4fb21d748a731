//! What a network of windowed attention has between its convolutions of 1x1: plain loops.
//!
//! The linear layers themselves are such convolutions, of features that lie in windows: `[windows,
//! window², channels]`.

use candle_core::cpu::erf::erf_f32;
use candle_core::{Tensor, bail};

use super::Context;
#[cfg(feature = "cuda")]
use super::conv::OnCard;
#[cfg(feature = "cuda")]
use super::device::Gpu;
use super::raster::{Geometry, Raster, Source, write};

#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
#[cfg_attr(not(feature = "cuda"), allow(dead_code))]
mod cuda;
#[cfg(test)]
mod tests;

/// Added to the product of a query and a key that must not see each other.
const UNSEEN: f32 = -100.0;

/// Weight and bias of each channel, after a pixel's channels have been brought to mean 0 and variance 1.
#[derive(Debug)]
pub struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f32,
    #[cfg(feature = "cuda")]
    on_card: OnCard,
}

impl Norm {
    /// From as many weights as biases; `epsilon` is added to the variance.
    pub fn new(weight: Vec<f32>, bias: Vec<f32>, epsilon: f32) -> Self {
        debug_assert_eq!(weight.len(), bias.len());
        Self {
            weight,
            bias,
            epsilon,
            #[cfg(feature = "cuda")]
            on_card: OnCard::default(),
        }
    }

    /// Weights and biases, one after the other.
    #[cfg(any(
        feature = "cuda",
        all(test, target_arch = "x86_64", target_os = "linux")
    ))]
    fn for_cards(&self) -> Vec<f32> {
        [&self.weight[..], &self.bias].concat()
    }

    /// The same on a card, `[1, 2, c]`.
    #[cfg(feature = "cuda")]
    fn on(&self, gpu: &Gpu) -> candle_core::Result<Tensor> {
        let all = self.on_card.keep(gpu, || self.for_cards())?;
        all.reshape((1, 2, self.weight.len()))
    }

    /// Fills `out` with the norm of `input`, both `[h, w, c]`.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn apply(
        &self,
        context: &Context,
        input: &Tensor,
        out: &Tensor,
    ) -> candle_core::Result<()> {
        #[cfg(feature = "cuda")]
        if let Some(gpu) = context.gpu() {
            let own = self.on(gpu)?;
            let norm = (&gpu.raster(&own)?, self.epsilon);
            let launch = cuda::norm(&gpu.raster(input)?, norm, &gpu.raster(out)?)?;
            // SAFETY: these are the arguments of the kernel, made of tensors on this card.
            return unsafe { gpu.run(launch) };
        }
        let input = Source::lock(input);
        let input = input.raster()?;
        write("norm", out, |mut out| {
            out.expect("a norm", input.size(), self.weight.len())?;
            input.expect("what is normalised", input.size(), self.weight.len())?;
            let (pixel, channels) = (out.pixel, out.channels);
            out.for_each_row(context, |y, row| {
                for (x, values) in row.chunks_mut(pixel).enumerate() {
                    self.pixel(Some(input.at(y, x)), &mut values[..channels]);
                }
            });
            Ok(())
        })
    }

    /// Of one pixel; of zeros where there is none.
    fn pixel(&self, input: Option<&[f32]>, out: &mut [f32]) {
        let Some(input) = input else {
            out.copy_from_slice(&self.bias);
            return;
        };
        let count = input.len() as f32;
        let mean = input.iter().sum::<f32>() / count;
        let variance = input.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / count;
        let scale = 1.0 / (variance + self.epsilon).sqrt();
        let own = self.weight.iter().zip(&self.bias);
        for ((out, v), (weight, bias)) in out.iter_mut().zip(input).zip(own) {
            *out = (v - mean) * scale * weight + bias;
        }
    }
}

/// How a grid falls into square windows: zeros around it make it whole ones, and it may be shifted,
/// what leaves it above and on the left coming back below and on the right.
#[derive(Debug, Clone, Copy)]
pub struct Windows {
    pub height: usize,
    pub width: usize,
    /// Cells of a window's side.
    pub side: usize,
    pub shift: usize,
}

impl Windows {
    /// Height and width in whole windows.
    fn padded(&self) -> (usize, usize) {
        let whole = |n: usize| n.next_multiple_of(self.side);
        (whole(self.height), whole(self.width))
    }

    /// Rows and columns of zeros above and on the left.
    fn origin(&self) -> (usize, usize) {
        let (h, w) = self.padded();
        ((h - self.height) / 2, (w - self.width) / 2)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        let (h, w) = self.padded();
        h / self.side * (w / self.side)
    }

    /// Cells of one.
    pub fn area(&self) -> usize {
        self.side * self.side
    }

    /// Row and column of a window's cell, before the shift.
    fn cell(&self, window: usize, i: usize) -> (usize, usize) {
        let columns = self.padded().1 / self.side;
        let (y, x) = (window / columns * self.side, window % columns * self.side);
        (y + i / self.side, x + i % self.side)
    }

    /// Where in the grid a window's cell lies; nowhere where there are zeros.
    fn place(&self, window: usize, i: usize) -> Option<(usize, usize)> {
        let ((h, w), (top, left)) = (self.padded(), self.origin());
        let (y, x) = self.cell(window, i);
        let y = ((y + self.shift) % h).checked_sub(top)?;
        let x = ((x + self.shift) % w).checked_sub(left)?;
        (y < self.height && x < self.width).then_some((y, x))
    }

    /// The window and its cell that a place of the grid lies in.
    fn of(&self, y: usize, x: usize) -> (usize, usize) {
        let ((h, w), (top, left)) = (self.padded(), self.origin());
        let y = (y + top + h - self.shift % h) % h;
        let x = (x + left + w - self.shift % w) % w;
        let side = self.side;
        (y / side * (w / side) + x / side, y % side * side + x % side)
    }

    /// A number for each cell of a window; cells of different numbers must not see each other. As in
    /// the authors' code, the parts that zeros make are those of the grid before the shift.
    fn parts(&self, window: usize) -> Vec<usize> {
        let ((h, w), (top, left)) = (self.padded(), self.origin());
        let (side, shift) = (self.side, self.shift);
        let part = |n: usize, borders: [usize; 2]| borders.iter().filter(|b| n >= **b).count();
        let cell = |i: usize| {
            let (y, x) = self.cell(window, i);
            let padding =
                3 * part(y, [top, top + self.height]) + part(x, [left, left + self.width]);
            match shift {
                0 => padding,
                _ => {
                    let shifted = |n: usize, size: usize| part(n, [size - side, size - shift]);
                    9 * (3 * shifted(y, h) + shifted(x, w)) + padding
                }
            }
        };
        (0..self.area()).map(cell).collect()
    }

    /// Fills `out`, `[count, area, c]`, with `grid`, `[height, width, c]`, and `norm` of it if there is one.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn gather(
        &self,
        context: &Context,
        grid: &Tensor,
        norm: Option<&Norm>,
        out: &Tensor,
    ) -> candle_core::Result<()> {
        #[cfg(feature = "cuda")]
        if let Some(gpu) = context.gpu() {
            let own = norm.map(|norm| norm.on(gpu)).transpose()?;
            let own = own.as_ref().map(|own| gpu.raster(own)).transpose()?;
            let norm = own.as_ref().zip(norm.map(|norm| norm.epsilon));
            let launch = cuda::gather(self, &gpu.raster(grid)?, norm, &gpu.raster(out)?)?;
            // SAFETY: these are the arguments of the kernel, made of tensors on this card.
            return unsafe { gpu.run(launch) };
        }
        let grid = Source::lock(grid);
        let grid = grid.raster()?;
        grid.expect("a grid", (self.height, self.width), grid.channels)?;
        write("gather", out, |mut out| {
            out.expect("windows", (self.count(), self.area()), grid.channels)?;
            let (pixel, channels) = (out.pixel, out.channels);
            if norm.is_some_and(|n| n.weight.len() != channels) {
                bail!("a norm of other than {channels} channels");
            }
            out.for_each_row(context, |window, row| {
                for (i, values) in row.chunks_mut(pixel).enumerate() {
                    let values = &mut values[..channels];
                    let cell = self.place(window, i).map(|(y, x)| grid.at(y, x));
                    match (norm, cell) {
                        (Some(norm), cell) => norm.pixel(cell, values),
                        (None, Some(cell)) => values.copy_from_slice(cell),
                        (None, None) => values.fill(0.0),
                    }
                }
            });
            Ok(())
        })
    }

    /// Fills `grid`, `[height, width, c]`, from `windows`, `[count, area, c]`.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn scatter(
        &self,
        context: &Context,
        windows: &Tensor,
        grid: &Tensor,
    ) -> candle_core::Result<()> {
        on_card!(context, |gpu| cuda::scatter(
            self,
            &gpu.raster(windows)?,
            &gpu.raster(grid)?
        ));
        let windows = Source::lock(windows);
        let windows = windows.raster()?;
        windows.expect("windows", (self.count(), self.area()), windows.channels)?;
        write("scatter", grid, |mut out| {
            out.expect("a grid", (self.height, self.width), windows.channels)?;
            let (pixel, channels) = (out.pixel, out.channels);
            out.for_each_row(context, |y, row| {
                for (x, values) in row.chunks_mut(pixel).enumerate() {
                    let (window, i) = self.of(y, x);
                    values[..channels].copy_from_slice(windows.at(window, i));
                }
            });
            Ok(())
        })
    }

    /// Attention within each window, its channels in `heads` equal parts: the softmax of `queries` by the
    /// keys in the first half of the channels of `keys_values`. Fills the first channels of `out`,
    /// `[count, area, c + m]`, with what it makes of the values in the second half, and the rest with
    /// what it makes of `places`, `[count, area, m]`, less these.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn attend(
        &self,
        context: &Context,
        heads: usize,
        (queries, keys_values, places): (&Tensor, &Tensor, &Tensor),
        out: &Tensor,
    ) -> candle_core::Result<()> {
        on_card!(context, |gpu| {
            let (queries, keys_values) = (gpu.raster(queries)?, gpu.raster(keys_values)?);
            let inputs = [&queries, &keys_values, &gpu.raster(places)?];
            cuda::attend(self, heads, inputs, &gpu.raster(out)?)
        });
        let sources = [queries, keys_values, places].map(Source::lock);
        let [queries, keys_values, places] = sources.each_ref().map(Source::raster);
        let attention = Attention {
            windows: self,
            heads,
            queries: queries?,
            keys_values: keys_values?,
            places: places?,
        };
        write("attend", out, |mut out| {
            let inputs = [attention.queries, attention.keys_values, attention.places];
            self.check_attention(heads, inputs.map(|input| *input), &out)?;
            let pixel = out.pixel;
            out.for_each_row(context, |window, row| attention.run(window, row, pixel));
            Ok(())
        })
    }
}

impl Windows {
    /// Fails unless an attention of so many heads makes `out` of queries, keys and values, places.
    fn check_attention(
        &self,
        heads: usize,
        [queries, keys_values, places]: [Geometry; 3],
        out: &Geometry,
    ) -> candle_core::Result<()> {
        let size = (self.count(), self.area());
        let (c, m) = (queries.channels, places.channels);
        queries.expect("queries", size, c)?;
        keys_values.expect("keys and values", size, 2 * c)?;
        places.expect("places", size, m)?;
        if heads == 0 || !c.is_multiple_of(heads) || !m.is_multiple_of(heads) {
            bail!("{heads} heads of {c} and {m} channels");
        }
        out.expect("an attention", size, c + m)
    }
}

/// An attention about to run.
struct Attention<'a> {
    windows: &'a Windows,
    heads: usize,
    queries: Raster<'a>,
    keys_values: Raster<'a>,
    places: Raster<'a>,
}

impl Attention<'_> {
    fn run(&self, window: usize, out: &mut [f32], pixel: usize) {
        let area = self.windows.area();
        let (c, m) = (self.queries.channels, self.places.channels);
        let (own, own_place) = (c / self.heads, m / self.heads);
        let parts = self.windows.parts(window);
        let scale = 1.0 / (own as f32).sqrt();
        // Keys with the cells of a window side by side, so that all of them meet a query at once.
        let mut keys = vec![0.0; own * area];
        let mut shares = vec![0.0; area];
        for head in 0..self.heads {
            for j in 0..area {
                let key = &self.keys_values.at(window, j)[head * own..][..own];
                (0..own).for_each(|d| keys[d * area + j] = key[d]);
            }
            for i in 0..area {
                let query = &self.queries.at(window, i)[head * own..][..own];
                shares.fill(0.0);
                for (q, keys) in query.iter().zip(keys.chunks_exact(area)) {
                    let sums = shares.iter_mut().zip(keys);
                    sums.for_each(|(sum, key)| *sum += q * scale * key);
                }
                let unseen = parts.iter().map(|part| *part != parts[i]);
                let sums = shares.iter_mut().zip(unseen);
                sums.for_each(|(sum, is)| *sum += if is { UNSEEN } else { 0.0 });
                softmax(&mut shares);
                let (values, moved) = out[i * pixel..][..c + m].split_at_mut(c);
                let values = &mut values[head * own..][..own];
                let moved = &mut moved[head * own_place..][..own_place];
                let place = |j: usize| &self.places.at(window, j)[head * own_place..][..own_place];
                values.fill(0.0);
                moved.iter_mut().zip(place(i)).for_each(|(m, p)| *m = -p);
                for (j, share) in shares.iter().enumerate() {
                    let value = &self.keys_values.at(window, j)[c + head * own..][..own];
                    values
                        .iter_mut()
                        .zip(value)
                        .for_each(|(o, v)| *o += share * v);
                    moved
                        .iter_mut()
                        .zip(place(j))
                        .for_each(|(o, v)| *o += share * v);
                }
            }
        }
    }
}

fn softmax(values: &mut [f32]) {
    let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    values.iter_mut().for_each(|v| *v = (*v - most).exp());
    let sum = values.iter().sum::<f32>();
    values.iter_mut().for_each(|v| *v /= sum);
}

/// Weight and bias of a convolution of 3x3 of each channel by itself.
#[derive(Debug)]
pub struct Depthwise {
    /// `[ky][kx][channel]`.
    weight: Vec<f32>,
    bias: Vec<f32>,
    #[cfg(feature = "cuda")]
    on_card: OnCard,
}

impl Depthwise {
    /// From weights of `[ky][kx][channel]` and a bias of each channel.
    pub fn new(weight: Vec<f32>, bias: Vec<f32>) -> Self {
        debug_assert_eq!(weight.len(), 9 * bias.len());
        Self {
            weight,
            bias,
            #[cfg(feature = "cuda")]
            on_card: OnCard::default(),
        }
    }

    /// Weights and biases, one after the other.
    #[cfg(any(
        feature = "cuda",
        all(test, target_arch = "x86_64", target_os = "linux")
    ))]
    fn for_cards(&self) -> Vec<f32> {
        [&self.weight[..], &self.bias].concat()
    }

    /// Fills `out` with the Gaussian error linear unit of the convolution of `input`, both `[h, w, c]`;
    /// beyond the edge lie zeros.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn apply_gelu(
        &self,
        context: &Context,
        input: &Tensor,
        out: &Tensor,
    ) -> candle_core::Result<()> {
        let c = self.bias.len();
        #[cfg(feature = "cuda")]
        if let Some(gpu) = context.gpu() {
            let own = self.on_card.keep(gpu, || self.for_cards())?;
            let own = gpu.raster(&own.reshape((1, 10, c))?)?;
            let launch = cuda::depthwise(&gpu.raster(input)?, &own, &gpu.raster(out)?)?;
            // SAFETY: these are the arguments of the kernel, made of tensors on this card.
            return unsafe { gpu.run(launch) };
        }
        let input = Source::lock(input);
        let input = input.raster()?;
        write("depthwise", out, |mut out| {
            input.expect("the input of a convolution", input.size(), c)?;
            out.expect("the output of a convolution", input.size(), c)?;
            let pixel = out.pixel;
            out.for_each_row(context, |y, row| {
                for (x, values) in row.chunks_mut(pixel).enumerate() {
                    let values = &mut values[..c];
                    values.copy_from_slice(&self.bias);
                    for (tap, weight) in self.weight.chunks_exact(c).enumerate() {
                        let (ty, tx) = ((y + tap / 3) as isize - 1, (x + tap % 3) as isize - 1);
                        let Some(input) = input.get(ty, tx) else {
                            continue;
                        };
                        let sums = values.iter_mut().zip(input).zip(weight);
                        sums.for_each(|((sum, v), weight)| *sum += v * weight);
                    }
                    values.iter_mut().for_each(|v| *v = gelu(*v));
                }
            });
            Ok(())
        })
    }
}

fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf_f32(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// Fills `out`, `[h / stride, w / stride, 9 c]`, with the 3x3 pixels of `input`, `[h, w, c]`, that lie
/// `dilation` apart around every `stride`th one, row by row; beyond the edge lie zeros.
///
/// # Errors
/// Sizes that do not fit.
pub fn patches(
    context: &Context,
    input: &Tensor,
    (stride, dilation): (usize, usize),
    out: &Tensor,
) -> candle_core::Result<()> {
    on_card!(context, |gpu| cuda::patches(
        &gpu.raster(input)?,
        (stride, dilation),
        &gpu.raster(out)?
    ));
    let input = Source::lock(input);
    let input = input.raster()?;
    write("patches", out, |mut out| {
        let (pixel, c) = (out.pixel, input.channels);
        let size = (input.height / stride, input.width / stride);
        out.expect("patches", size, 9 * c)?;
        out.for_each_row(context, |y, row| {
            for (x, values) in row.chunks_mut(pixel).enumerate() {
                for (tap, values) in values[..9 * c].chunks_exact_mut(c).enumerate() {
                    let at = |i: usize, tap: usize| {
                        (i * stride + tap * dilation) as isize - dilation as isize
                    };
                    match input.get(at(y, tap / 3), at(x, tap % 3)) {
                        Some(input) => values.copy_from_slice(input),
                        None => values.fill(0.0),
                    }
                }
            }
        });
        Ok(())
    })
}

/// Fills `out`, `[h, w, c]`, with `values` times the `share` of each pixel, `[h, w, 1]`, or, of the other
/// side, times what it lacks to 1.
///
/// # Errors
/// Sizes that do not fit.
pub fn weigh(
    context: &Context,
    values: &Tensor,
    (share, is_other): (&Tensor, bool),
    out: &Tensor,
) -> candle_core::Result<()> {
    on_card!(context, |gpu| cuda::weigh(
        &gpu.raster(values)?,
        (&gpu.raster(share)?, is_other),
        &gpu.raster(out)?
    ));
    let sources = [values, share].map(Source::lock);
    let [values, share] = sources.each_ref().map(Source::raster);
    let (values, share) = (values?, share?);
    share.expect("shares", values.size(), 1)?;
    write("weigh", out, |mut out| {
        out.expect("what is weighed", values.size(), values.channels)?;
        let (pixel, channels) = (out.pixel, out.channels);
        out.for_each_row(context, |y, row| {
            for (x, results) in row.chunks_mut(pixel).enumerate() {
                let share = share.at(y, x)[0];
                let share = if is_other { 1.0 - share } else { share };
                let results = results[..channels].iter_mut().zip(values.at(y, x));
                results.for_each(|(result, v)| *result = share * v);
            }
        });
        Ok(())
    })
}

/// Fills `out`, `[4 h, 4 w, c]`, with the 16 channels of each pixel of `input`, `[h, w, 16 c]`, as the
/// 4x4 pixels that two steps of spreading four channels over 2x2 pixels, row by row, make of them.
///
/// # Errors
/// Sizes that do not fit.
pub fn spread_twice(context: &Context, input: &Tensor, out: &Tensor) -> candle_core::Result<()> {
    on_card!(context, |gpu| cuda::spread_twice(
        &gpu.raster(input)?,
        &gpu.raster(out)?
    ));
    let input = Source::lock(input);
    let input = input.raster()?;
    write("spread twice", out, |mut out| {
        let (pixel, channels) = (out.pixel, out.channels);
        input.expect(
            "what is spread",
            (out.height / 4, out.width / 4),
            16 * channels,
        )?;
        out.expect(
            "what is spread",
            (4 * input.height, 4 * input.width),
            channels,
        )?;
        out.for_each_row(context, |y, row| {
            for (x, values) in row.chunks_mut(pixel).enumerate() {
                let cell = input.at(y / 4, x / 4);
                // The first step places a pixel by its coarser digits.
                let (first, second) = (y % 4 / 2 * 2 + x % 4 / 2, y % 2 * 2 + x % 2);
                for (c, value) in values[..channels].iter_mut().enumerate() {
                    *value = cell[(4 * c + second) * 4 + first];
                }
            }
        });
        Ok(())
    })
}
