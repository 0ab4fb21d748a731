//! Direct convolution with AVX2 and FMA: a group of neighbouring pixels times a block of output
//! channels stays in registers while the taps and the input channels pass by.

use std::arch::x86_64::*;

use super::{Activation, Job, MAX_INPUTS};
use crate::kernels::Context;
use crate::kernels::raster::{Raster, RasterMut};
use crate::kernels::simd::{LANES, Lanes, load, store as store_vector};

/// Weights as `[block][ky][kx][input][channel of the block]`, bias and slopes as
/// `[block][channel of the block]`, the last block filled up with zeros.
#[derive(Debug)]
pub struct Packed {
    weight: Vec<Lanes>,
    bias: Vec<Lanes>,
    slopes: Vec<Lanes>,
    /// Vectors of output channels in a block: 1, 2 or 3.
    vectors: usize,
    blocks: usize,
    /// Read in place of a pixel outside the picture.
    zeros: Vec<f32>,
}

impl Packed {
    pub fn new(weight: &[f32], bias: &[f32], slopes: &[f32], inputs: usize, kernel: usize) -> Self {
        let (outputs, taps) = (bias.len(), kernel * kernel);
        let vectors = match outputs {
            0..=LANES => 1,
            17..=24 => 3,
            _ => 2,
        };
        let block = vectors * LANES;
        let blocks = outputs.div_ceil(block);
        let at = |o: usize, tap: usize, i: usize| match o < outputs {
            true => weight[(o * inputs + i) * taps + tap],
            false => 0.0,
        };
        let mut packed = Vec::with_capacity(blocks * taps * inputs * vectors);
        for b in 0..blocks {
            for tap in 0..taps {
                for i in 0..inputs {
                    for v in 0..vectors {
                        let first = b * block + v * LANES;
                        packed.push(Lanes(std::array::from_fn(|l| at(first + l, tap, i))));
                    }
                }
            }
        }
        let mut packed = Self {
            weight: packed,
            bias: in_lanes(bias, blocks * vectors),
            slopes: Vec::new(),
            vectors,
            blocks,
            zeros: vec![0.0; inputs],
        };
        packed.set_slopes(slopes);
        packed
    }

    /// As many as there are outputs.
    pub fn set_slopes(&mut self, slopes: &[f32]) {
        self.slopes = in_lanes(slopes, self.blocks * self.vectors);
    }
}

/// `count` vectors of values, filled up with zeros.
fn in_lanes(values: &[f32], count: usize) -> Vec<Lanes> {
    (0..count)
        .map(|v| std::array::from_fn(|l| values.get(v * LANES + l).copied().unwrap_or(0.0)))
        .map(Lanes)
        .collect()
}

pub fn run(job: &Job, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    let width = out.width;
    out.for_each_row(context, |y, row| {
        let target = Target { row, pixel, width };
        // SAFETY: this module runs only where AVX2 and FMA were found (`Context` sees to it), and
        // `Job::check` has compared all sizes.
        unsafe {
            match job.filter.packed.vectors {
                1 => convolve::<8, 1>(job, y, target),
                3 => convolve::<3, 3>(job, y, target),
                _ => convolve::<6, 2>(job, y, target),
            }
        }
    });
}

/// The row of the output to fill.
struct Target<'a> {
    row: &'a mut [f32],
    pixel: usize,
    width: usize,
}

/// Fills a row, `P` pixels by `V` vectors of channels at a time.
///
/// # Safety
/// AVX2 and FMA are there, the job's sizes fit each other, and its filter has blocks of `V`.
#[target_feature(enable = "avx2,fma")]
unsafe fn convolve<const P: usize, const V: usize>(job: &Job, y: usize, mut target: Target) {
    let rows = InputRows::new(job, y);
    let filter = job.filter;
    let packed = &filter.packed;
    for block in 0..packed.blocks {
        let weight = &packed.weight[block * filter.kernel * filter.kernel * filter.inputs * V..];
        let bias = &packed.bias[block * V..][..V];
        for x in (0..target.width).step_by(P) {
            // All loops over `P` and `V` have constant bounds, so that the sums stay in registers.
            let mut start = [_mm256_setzero_ps(); V];
            for (start, bias) in start.iter_mut().zip(&bias[..V]) {
                *start = bias.load();
            }
            let weight = weight.as_ptr().cast();
            // SAFETY: as this function's.
            let sums = unsafe { rows.accumulate([start; P], x, target.width, weight) };
            store(job, y, &mut target, x, block, &sums);
        }
    }
}

/// What one row of the output reads.
struct InputRows<'a> {
    job: &'a Job<'a>,
    parts: [Option<Raster<'a>>; MAX_INPUTS],
    /// First tap row inside the picture, and the input row it reads.
    first: usize,
    top: usize,
    /// Tap rows inside the picture.
    count: usize,
    width: usize,
    /// Taps of a row read neighbouring floats: there is one input, without gaps.
    dense: bool,
}

impl<'a> InputRows<'a> {
    fn new(job: &'a Job<'a>, y: usize) -> Self {
        let filter = job.filter;
        let (height, width) = job.input.parts[0].map_or((1, 1), |p| p.size());
        let (pad, _) = filter.pad;
        let top = y * filter.stride;
        let first = pad.saturating_sub(top);
        let last = filter.kernel.min(height + pad - top);
        let mut parts = job.input.parts();
        let dense = parts.next().is_some_and(|p| p.pixel == p.channels) && parts.next().is_none();
        Self {
            job,
            parts: job.input.parts,
            first,
            top: top + first - pad,
            count: last - first,
            width,
            dense,
        }
    }

    /// Adds to `sums` the products of the `P` pixels from `x` on. Pixels beyond the last one of
    /// the output's `width` repeat it.
    ///
    /// # Safety
    /// AVX2 and FMA are there; `weight` points to a block of the job's filter.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn accumulate<const P: usize, const V: usize>(
        &self,
        mut sums: [[__m256; V]; P],
        x: usize,
        width: usize,
        weight: *const f32,
    ) -> [[__m256; V]; P] {
        let filter = self.job.filter;
        let (stride, (_, pad)) = (filter.stride, filter.pad);
        let inside = x * stride >= pad
            && x + P <= width
            && (x + P - 1) * stride + filter.kernel - pad <= self.width;
        let row_floats = filter.kernel * filter.inputs * V * LANES;
        for ky in 0..self.count {
            let weight = weight.wrapping_add((self.first + ky) * row_floats);
            // SAFETY: as this function's; `inside` is what the first one asks for.
            unsafe {
                sums = match inside {
                    true => self.tap_row_inside(sums, x, self.top + ky, weight),
                    false => self.tap_row(sums, x, width, self.top + ky, weight),
                };
            }
        }
        sums
    }

    /// One row of taps, none of which lies outside.
    ///
    /// # Safety
    /// AVX2 and FMA are there; all taps of the `P` pixels lie inside the input; `weight` points to
    /// a row of taps of a block.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn tap_row_inside<const P: usize, const V: usize>(
        &self,
        mut sums: [[__m256; V]; P],
        x: usize,
        y: usize,
        mut weight: *const f32,
    ) -> [[__m256; V]; P] {
        let filter = self.job.filter;
        let (stride, left) = (filter.stride, x * filter.stride - filter.pad.1);
        let (taps, length) = match self.dense {
            true => (1, filter.kernel),
            false => (filter.kernel, 1),
        };
        for kx in 0..taps {
            for part in self.parts.iter().flatten() {
                let first = part.at(y, left + kx).as_ptr();
                let step = stride * part.pixel;
                let sources = std::array::from_fn(|p| first.wrapping_add(p * step));
                let count = length * part.channels;
                // SAFETY: the caller vouches for the pixels; where the taps are joined they are
                // adjacent, as their weights are.
                sums = unsafe { multiply(sums, sources, count, weight) };
                weight = weight.wrapping_add(count * V * LANES);
            }
        }
        sums
    }

    /// One row of taps, zeros for those outside.
    ///
    /// # Safety
    /// AVX2 and FMA are there; `weight` points to a row of taps of a block.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn tap_row<const P: usize, const V: usize>(
        &self,
        mut sums: [[__m256; V]; P],
        x: usize,
        width: usize,
        y: usize,
        mut weight: *const f32,
    ) -> [[__m256; V]; P] {
        let filter = self.job.filter;
        let (stride, (_, pad)) = (filter.stride, filter.pad);
        for kx in 0..filter.kernel {
            for part in self.parts.iter().flatten() {
                let sources = std::array::from_fn(|p| {
                    let sx = ((x + p).min(width - 1) * stride + kx).wrapping_sub(pad);
                    match sx < self.width {
                        true => part.at(y, sx).as_ptr(),
                        false => filter.packed.zeros.as_ptr(),
                    }
                });
                // SAFETY: a part has as many weights as channels, and there are as many zeros.
                sums = unsafe { multiply(sums, sources, part.channels, weight) };
                weight = weight.wrapping_add(part.channels * V * LANES);
            }
        }
        sums
    }
}

/// Adds the products of `P` times `count` values with their weights to `sums`.
///
/// The sums go in and out by value: what is borrowed, the compiler writes back with every product.
///
/// # Safety
/// AVX2 and FMA are there; `count` values can be read from each source, and `V` vectors for each
/// from `weight`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn multiply<const P: usize, const V: usize>(
    mut sums: [[__m256; V]; P],
    sources: [*const f32; P],
    count: usize,
    mut weight: *const f32,
) -> [[__m256; V]; P] {
    for c in 0..count {
        // SAFETY: the caller vouches for both.
        unsafe {
            let mut weights = [_mm256_setzero_ps(); V];
            for (v, w) in weights.iter_mut().enumerate() {
                *w = _mm256_load_ps(weight.add(v * LANES));
            }
            for (sums, source) in sums.iter_mut().zip(&sources) {
                let value = _mm256_broadcast_ss(&*source.add(c));
                for (sum, w) in sums.iter_mut().zip(&weights) {
                    *sum = _mm256_fmadd_ps(value, *w, *sum);
                }
            }
            weight = weight.add(V * LANES);
        }
    }
    sums
}

/// Adds the residual, activates and writes a group of pixels.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn store<const P: usize, const V: usize>(
    job: &Job,
    y: usize,
    target: &mut Target,
    x: usize,
    block: usize,
    sums: &[[__m256; V]; P],
) {
    let zero = _mm256_setzero_ps();
    let outputs = job.filter.outputs;
    let slopes = &job.filter.packed.slopes[block * V..][..V];
    for (p, sums) in sums.iter().enumerate() {
        if x + p >= target.width {
            return;
        }
        let pixel = &mut target.row[(x + p) * target.pixel..][..outputs];
        let residual = job.residual.map(|r| r.at(y, x + p));
        for (v, sum) in sums.iter().enumerate() {
            let first = (block * V + v) * LANES;
            // A last block may have whole vectors that no output is in.
            let Some(out) = pixel.get_mut(first..) else {
                break;
            };
            let mut sum = *sum;
            if let Some(residual) = residual {
                sum = _mm256_add_ps(sum, load(&residual[first..]));
            }
            if job.activation == Activation::Leaky {
                let below = _mm256_min_ps(sum, zero);
                sum = _mm256_fmadd_ps(below, slopes[v].load(), _mm256_max_ps(sum, zero));
            }
            store_vector(out, sum);
        }
    }
}
