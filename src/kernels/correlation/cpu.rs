//! Correlation and its softmax with AVX2 and FMA: eight displacements at a time.

use std::arch::x86_64::*;

use super::{Axis, Correlate, Expected, MAX_SIDE, displacements};
use crate::kernels::Context;
use crate::kernels::raster::RasterMut;
use crate::kernels::simd::{LANES, Lanes, exp_negative, largest, load_tail, sum, sums, tail_mask};

const MAX_DISPLACEMENTS: usize = MAX_SIDE * MAX_SIDE;
const MAX_VECTORS: usize = MAX_DISPLACEMENTS.div_ceil(LANES);

pub fn correlate(job: &Correlate, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        // SAFETY: this module runs only where AVX2 and FMA were found (`Context` sees to it), and
        // `Correlate::run` has compared all sizes.
        unsafe {
            match job.left.channels {
                16 => correlate_row::<2>(job, y, row, pixel),
                24 => correlate_row::<3>(job, y, row, pixel),
                _ => correlate_row::<0>(job, y, row, pixel),
            }
        }
    });
}

/// Distances in floats from a pixel to those that each displacement compares, at one phase.
struct Window {
    phase: f32,
    axis: Axis,
    left: [isize; MAX_DISPLACEMENTS],
    right: [isize; MAX_DISPLACEMENTS],
}

impl Window {
    fn new(job: &Correlate, phase: f32) -> Self {
        let axis = Axis::new(job.radius, phase);
        let side = 2 * job.radius + 1;
        let mut window = Self {
            phase,
            axis,
            left: [0; MAX_DISPLACEMENTS],
            right: [0; MAX_DISPLACEMENTS],
        };
        for i in 0..side * side {
            let at = |offsets: &[isize; MAX_SIDE], row: usize, pixel: usize| {
                offsets[i / side] * row as isize + offsets[i % side] * pixel as isize
            };
            window.left[i] = -at(&axis.left, job.left.row, job.left.pixel);
            window.right[i] = at(&axis.right, job.right.row, job.right.pixel);
        }
        window
    }
}

/// Scores of a row; `C` vectors of channels, or any number of channels if `C` is 0.
///
/// # Safety
/// AVX2 and FMA are there; the job's sizes fit each other.
#[target_feature(enable = "avx2,fma")]
unsafe fn correlate_row<const C: usize>(job: &Correlate, y: usize, row: &mut [f32], pixel: usize) {
    let (height, width) = job.left.size();
    let r = job.radius;
    let count = displacements(r);
    let mut window = Window::new(job, job.phase.at(y, 0)[0]);
    let rows_inside = y >= r && y + r < height;
    let mut pairs = [(std::ptr::null(), std::ptr::null()); MAX_DISPLACEMENTS];
    for (x, values) in row.chunks_mut(pixel).enumerate() {
        let phase = job.phase.at(y, x)[0];
        if phase.to_bits() != window.phase.to_bits() {
            window = Window::new(job, phase);
        }
        let pairs = &mut pairs[..count];
        if rows_inside && x >= r && x + r < width {
            window.pairs_inside(job, y, x, pairs);
        } else {
            window.pairs_at_border(job, y, x, pairs);
        }
        // SAFETY: each pair points to the channels of two pixels, or to as many zeros.
        unsafe { scores::<C>(job.left.channels, pairs, &mut values[..count]) };
    }
}

/// The channels of a left and of a right pixel to be compared.
type Pair = (*const f32, *const f32);

impl Window {
    /// The pairs of a pixel at least the radius away from every border.
    #[inline]
    fn pairs_inside(&self, job: &Correlate, y: usize, x: usize, pairs: &mut [Pair]) {
        let left = job.left.at(y, x).as_ptr();
        let right = job.right.at(y, x).as_ptr();
        let offsets = self.left.iter().zip(&self.right);
        for (pair, (l, r)) in pairs.iter_mut().zip(offsets) {
            *pair = (left.wrapping_offset(*l), right.wrapping_offset(*r));
        }
    }

    /// The pairs of any pixel; zeros where one of them lies outside.
    fn pairs_at_border(&self, job: &Correlate, y: usize, x: usize, pairs: &mut [Pair]) {
        let side = 2 * job.radius + 1;
        let (y, x) = (y as isize, x as isize);
        let axis = &self.axis;
        for (dy, pairs) in pairs.chunks_mut(side).enumerate() {
            for (dx, pair) in pairs.iter_mut().enumerate() {
                let left = job.left.get(y - axis.left[dy], x - axis.left[dx]);
                let right = job.right.get(y + axis.right[dy], x + axis.right[dx]);
                *pair = match (left, right) {
                    (Some(left), Some(right)) => (left.as_ptr(), right.as_ptr()),
                    _ => (job.zeros.as_ptr(), job.zeros.as_ptr()),
                };
            }
        }
    }
}

/// Products of the pairs.
///
/// # Safety
/// AVX2 and FMA are there; there are as many pairs as values, each of `8 C` floats, or of
/// `channels` if `C` is 0.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn scores<const C: usize>(channels: usize, pairs: &[Pair], values: &mut [f32]) {
    for (out, pairs) in values.chunks_mut(LANES).zip(pairs.chunks(LANES)) {
        let mut products = [_mm256_setzero_ps(); LANES];
        for (product, (left, right)) in products.iter_mut().zip(pairs) {
            // SAFETY: the caller vouches for the lengths.
            unsafe {
                if C == 0 {
                    *product = dot(
                        std::slice::from_raw_parts(*left, channels),
                        std::slice::from_raw_parts(*right, channels),
                    );
                } else {
                    for c in 0..C {
                        let left = _mm256_loadu_ps(left.add(c * LANES));
                        let right = _mm256_loadu_ps(right.add(c * LANES));
                        *product = _mm256_fmadd_ps(left, right, *product);
                    }
                }
            }
        }
        store(out, sums(&products));
    }
}

/// Products of any number of channels, not yet summed over the lanes.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn dot(left: &[f32], right: &[f32]) -> __m256 {
    let mut sum = _mm256_setzero_ps();
    for (a, b) in left.chunks(LANES).zip(right.chunks(LANES)) {
        sum = _mm256_fmadd_ps(load_tail(a), load_tail(b), sum);
    }
    sum
}

/// Writes as many lanes as `out` is long, at most eight.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn store(out: &mut [f32], values: __m256) {
    if out.len() >= LANES {
        // SAFETY: there is room for eight floats.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), values) };
    } else {
        // SAFETY: the mask lets through only what lies inside of the slice.
        unsafe { _mm256_maskstore_ps(out.as_mut_ptr(), tail_mask(out.len()), values) };
    }
}

pub fn expected(job: &Expected, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    let offsets = Offsets::new(job.radius);
    out.for_each_row(context, |y, row| {
        for (x, values) in row.chunks_mut(pixel).enumerate() {
            // SAFETY: this module runs only where AVX2 and FMA were found (`Context` sees to it).
            let d = unsafe { softmax_mean(job.scores.at(y, x), job.sharpness, &offsets) };
            values[..2].copy_from_slice(&d);
        }
    });
}

/// The displacements (x and y) in the order of the scores, and 1 where there is one.
struct Offsets {
    x: [Lanes; MAX_VECTORS],
    y: [Lanes; MAX_VECTORS],
    valid: [Lanes; MAX_VECTORS],
}

impl Offsets {
    fn new(radius: usize) -> Self {
        let side = 2 * radius + 1;
        let table = |f: &dyn Fn(usize) -> f32| {
            std::array::from_fn(|v| {
                Lanes(std::array::from_fn(|l| {
                    let i = v * LANES + l;
                    if i < side * side { f(i) } else { 0.0 }
                }))
            })
        };
        Self {
            x: table(&|i| (i % side) as f32 - radius as f32),
            y: table(&|i| (i / side) as f32 - radius as f32),
            valid: table(&|_| 1.0),
        }
    }
}

/// The mean of the offsets under the softmax of `sharpness * scores`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn softmax_mean(scores: &[f32], sharpness: f32, offsets: &Offsets) -> [f32; 2] {
    let sharp = _mm256_set1_ps(sharpness);
    let mut scaled = [_mm256_setzero_ps(); MAX_VECTORS];
    let mut top = _mm256_set1_ps(f32::NEG_INFINITY);
    let vectors = scores.len().div_ceil(LANES);
    let (full, rest) = scores.as_chunks::<LANES>();
    for (scaled, scores) in scaled.iter_mut().zip(full) {
        // SAFETY: there are eight floats.
        *scaled = unsafe { _mm256_mul_ps(_mm256_loadu_ps(scores.as_ptr()), sharp) };
        top = _mm256_max_ps(top, *scaled);
    }
    if !rest.is_empty() {
        // Nothing is lower: the lanes beyond the last score must not win, nor overflow.
        let low = _mm256_set1_ps(f32::NEG_INFINITY);
        let inside = _mm256_castsi256_ps(tail_mask(rest.len()));
        let last = &mut scaled[full.len()];
        *last = _mm256_blendv_ps(low, _mm256_mul_ps(load_tail(rest), sharp), inside);
        top = _mm256_max_ps(top, *last);
    }
    let top = _mm256_set1_ps(largest(top));
    let zero = _mm256_setzero_ps();
    let (mut total, mut dx, mut dy) = (zero, zero, zero);
    for (v, scaled) in scaled.iter().enumerate().take(vectors) {
        let p = exp_negative(_mm256_sub_ps(*scaled, top));
        total = _mm256_fmadd_ps(p, offsets.valid[v].load(), total);
        dx = _mm256_fmadd_ps(p, offsets.x[v].load(), dx);
        dy = _mm256_fmadd_ps(p, offsets.y[v].load(), dy);
    }
    let total = sum(total);
    [sum(dx) / total, sum(dy) / total]
}
