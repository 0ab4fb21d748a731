//! Correlation and its softmax with AVX2 and FMA: eight displacements at a time.

use std::arch::x86_64::*;

use super::{Axis, Correlate, Expected, MAX_CHANNELS, MAX_SIDE, displacements};
use crate::kernels::Context;
use crate::kernels::raster::RasterMut;
use crate::kernels::simd::{
    LANES, Lanes, exp_negative, largest, load, store, sum, sums, tail_mask, transpose,
};

const MAX_DISPLACEMENTS: usize = MAX_SIDE * MAX_SIDE;
/// What lies outside of the picture.
static ZEROS: [f32; MAX_CHANNELS] = [0.0; MAX_CHANNELS];
const MAX_VECTORS: usize = MAX_DISPLACEMENTS.div_ceil(LANES);

pub fn correlate(job: &Correlate, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        // SAFETY: this module runs only where AVX2 and FMA were found (`Context` sees to it), and
        // `Correlate::run` has compared all sizes.
        unsafe {
            match job.left.channels {
                8 => correlate_row::<1>(job, y, row, pixel),
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
    for (x, values) in row.chunks_mut(pixel).enumerate() {
        let phase = job.phase.at(y, x)[0];
        if phase.to_bits() != window.phase.to_bits() {
            window = Window::new(job, phase);
        }
        let values = &mut values[..count];
        let left = job.left.at(y, x).as_ptr();
        let right = job.right.at(y, x).as_ptr();
        // SAFETY: each pair points to the channels of two pixels inside, or to as many zeros.
        unsafe {
            if rows_inside && x >= r && x + r < width {
                scores::<C>(job.left.channels, values, |d| {
                    let (l, r) = (window.left[d], window.right[d]);
                    (left.wrapping_offset(l), right.wrapping_offset(r))
                });
            } else {
                let inside = Inside::new(job, &window.axis, y, x);
                scores::<C>(job.left.channels, values, |d| match inside.both(d) {
                    true => {
                        let (l, r) = (window.left[d], window.right[d]);
                        (left.wrapping_offset(l), right.wrapping_offset(r))
                    }
                    false => (ZEROS.as_ptr(), ZEROS.as_ptr()),
                });
            }
        }
    }
}

/// The channels of a left and of a right pixel to be compared.
type Pair = (*const f32, *const f32);

/// Which displacements of a pixel lead to two pixels inside, for each axis.
struct Inside {
    rows: [bool; MAX_SIDE],
    columns: [bool; MAX_SIDE],
    side: usize,
}

impl Inside {
    fn new(job: &Correlate, axis: &Axis, y: usize, x: usize) -> Self {
        let check = |at: usize, size: usize| {
            let inside = |at: isize| at >= 0 && at < size as isize;
            let at = at as isize;
            std::array::from_fn(|i| inside(at - axis.left[i]) && inside(at + axis.right[i]))
        };
        Self {
            rows: check(y, job.left.height),
            columns: check(x, job.left.width),
            side: 2 * job.radius + 1,
        }
    }

    #[inline]
    fn both(&self, d: usize) -> bool {
        self.rows[d / self.side] && self.columns[d % self.side]
    }
}

/// Products of the pairs, one for each value.
///
/// # Safety
/// AVX2 and FMA are there; `pair` answers two pointers to `8 C` floats, or to `channels` if `C`
/// is 0.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn scores<const C: usize>(
    channels: usize,
    values: &mut [f32],
    pair: impl Fn(usize) -> Pair,
) {
    for (group, out) in values.chunks_mut(LANES).enumerate() {
        let mut products = [_mm256_setzero_ps(); LANES];
        for (i, product) in products.iter_mut().enumerate() {
            if i >= out.len() {
                break;
            }
            let (left, right) = pair(group * LANES + i);
            // SAFETY: the caller vouches for the lengths.
            *product = unsafe { dot_vectors::<C>(left, right, channels) };
        }
        store(out, sums(&products));
    }
}

/// Products of `C` vectors, or of `channels` floats if `C` is 0, not yet summed over the lanes.
///
/// # Safety
/// AVX2 and FMA are there; both can be read that far.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn dot_vectors<const C: usize>(
    left: *const f32,
    right: *const f32,
    channels: usize,
) -> __m256 {
    // SAFETY: the caller vouches for the lengths.
    unsafe {
        if C == 0 {
            let left = std::slice::from_raw_parts(left, channels);
            return dot(left, std::slice::from_raw_parts(right, channels));
        }
        let mut sum = _mm256_mul_ps(_mm256_loadu_ps(left), _mm256_loadu_ps(right));
        for c in 1..C {
            let left = _mm256_loadu_ps(left.add(c * LANES));
            sum = _mm256_fmadd_ps(left, _mm256_loadu_ps(right.add(c * LANES)), sum);
        }
        sum
    }
}

/// Products of any number of channels, not yet summed over the lanes.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn dot(left: &[f32], right: &[f32]) -> __m256 {
    let mut sum = _mm256_setzero_ps();
    for (a, b) in left.chunks(LANES).zip(right.chunks(LANES)) {
        sum = _mm256_fmadd_ps(load(a), load(b), sum);
    }
    sum
}

pub fn expected(job: &Expected, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    let offsets = Offsets::new(job.radius);
    out.for_each_row(context, |y, row| {
        // SAFETY: this module runs only where AVX2 and FMA were found (`Context` sees to it).
        let done = unsafe { expected_groups(job, y, row, pixel) };
        for (x, values) in row.chunks_mut(pixel).enumerate().skip(done) {
            // SAFETY: as above.
            let d = unsafe { softmax_mean(job.scores.at(y, x), job.sharpness, &offsets) };
            values[..2].copy_from_slice(&d);
        }
    });
}

/// Displacements of a row as far as whole groups of eight pixels go; returns how many pixels.
#[target_feature(enable = "avx2,fma")]
fn expected_groups(job: &Expected, y: usize, row: &mut [f32], pixel: usize) -> usize {
    let groups = job.scores.width / LANES;
    for group in 0..groups {
        let x = group * LANES;
        let scores: [&[f32]; LANES] = std::array::from_fn(|i| job.scores.at(y, x + i));
        let (dx, dy) = softmax_means(&scores, job.sharpness, job.radius);
        for (i, (dx, dy)) in dx.into_iter().zip(dy).enumerate() {
            let at = (x + i) * pixel;
            row[at..at + 2].copy_from_slice(&[dx, dy]);
        }
    }
    groups * LANES
}

/// The means (x, y) of eight pixels under the softmax of `sharpness * scores`, a pixel a lane.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn softmax_means(
    scores: &[&[f32]; LANES],
    sharpness: f32,
    radius: usize,
) -> ([f32; LANES], [f32; LANES]) {
    let side = 2 * radius + 1;
    let mut scaled = [_mm256_setzero_ps(); MAX_VECTORS * LANES];
    let scaled = &mut scaled[..(side * side).next_multiple_of(LANES)];
    for (block, scaled) in scaled.chunks_exact_mut(LANES).enumerate() {
        let mut rows = [_mm256_setzero_ps(); LANES];
        for (row, scores) in rows.iter_mut().zip(scores) {
            *row = load(&scores[block * LANES..]);
        }
        scaled.copy_from_slice(&transpose(&rows));
    }
    let sharp = _mm256_set1_ps(sharpness);
    let scaled = &mut scaled[..side * side];
    let mut top = _mm256_set1_ps(f32::NEG_INFINITY);
    for scaled in scaled.iter_mut() {
        *scaled = _mm256_mul_ps(*scaled, sharp);
        top = _mm256_max_ps(top, *scaled);
    }
    let zero = _mm256_setzero_ps();
    let (mut total, mut dx, mut dy) = (zero, zero, zero);
    for (i, scaled) in scaled.chunks_exact(side).enumerate() {
        let mut row = zero;
        for (j, scaled) in scaled.iter().enumerate() {
            let p = exp_negative(_mm256_sub_ps(*scaled, top));
            row = _mm256_add_ps(row, p);
            dx = _mm256_fmadd_ps(p, _mm256_set1_ps(j as f32 - radius as f32), dx);
        }
        total = _mm256_add_ps(total, row);
        dy = _mm256_fmadd_ps(row, _mm256_set1_ps(i as f32 - radius as f32), dy);
    }
    let mut means = ([0.0; LANES], [0.0; LANES]);
    store(&mut means.0, _mm256_div_ps(dx, total));
    store(&mut means.1, _mm256_div_ps(dy, total));
    means
}

/// The displacements (x and y) in the order of the scores, and 1 where there is one.
pub struct Offsets {
    x: [Lanes; MAX_VECTORS],
    y: [Lanes; MAX_VECTORS],
    valid: [Lanes; MAX_VECTORS],
}

impl Offsets {
    pub fn new(radius: usize) -> Self {
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
pub fn softmax_mean(scores: &[f32], sharpness: f32, offsets: &Offsets) -> [f32; 2] {
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
        *last = _mm256_blendv_ps(low, _mm256_mul_ps(load(rest), sharp), inside);
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
