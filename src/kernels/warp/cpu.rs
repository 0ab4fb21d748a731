//! The warp with AVX2 and FMA: eight channels at a time.

use std::arch::x86_64::*;

use super::Job;
use crate::kernels::Context;
use crate::kernels::raster::{Raster, RasterMut};
use crate::kernels::simd::{LANES, each_lane, load, store, transpose};

pub fn run(job: &Job, context: &Context, out: &mut RasterMut) {
    let (pixel, channels) = (out.pixel, out.channels);
    out.for_each_row(context, |y, row| {
        // SAFETY: this module runs only where AVX2 and FMA were found (`Context` sees to it).
        unsafe {
            match channels {
                8 => warp_row::<1>(job, y, row, pixel),
                16 => warp_row::<2>(job, y, row, pixel),
                24 => warp_row::<3>(job, y, row, pixel),
                _ => warp_row::<0>(job, y, row, pixel),
            }
        }
    });
}

/// A row of `C` vectors of channels, or of any number of channels if `C` is 0; eight pixels at a time.
#[target_feature(enable = "avx2,fma")]
fn warp_row<const C: usize>(job: &Job, y: usize, row: &mut [f32], pixel: usize) {
    let channels = job.features.channels;
    for (group, pixels) in row.chunks_mut(LANES * pixel).enumerate() {
        let places = Places::new(job, y, group * LANES);
        let mut squares = [_mm256_setzero_ps(); LANES];
        for (i, values) in pixels.chunks_mut(pixel).enumerate() {
            let values = &mut values[..channels];
            let corners = places.corners(&job.features, i);
            let weights = places.weights(i);
            squares[i] = match C {
                0 => blend(&corners, &weights, values),
                _ => blend_vectors::<C>(&corners, &weights, values),
            };
        }
        if let Some(epsilon) = job.epsilon {
            let factors = factors(&squares, epsilon);
            for (values, factor) in pixels.chunks_mut(pixel).zip(factors) {
                for value in &mut values[..channels] {
                    *value *= factor;
                }
            }
        }
    }
}

/// What brings pixels to unit length, from the squares of their channels, not yet summed over the lanes.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn factors(squares: &[__m256; LANES], epsilon: f32) -> [f32; LANES] {
    let mut sums = _mm256_setzero_ps();
    for part in transpose(squares) {
        sums = _mm256_add_ps(sums, part);
    }
    let length = _mm256_sqrt_ps(_mm256_add_ps(sums, _mm256_set1_ps(epsilon)));
    let mut factors = [0.0; LANES];
    store(&mut factors, _mm256_div_ps(_mm256_set1_ps(1.0), length));
    factors
}

/// Where eight pixels of a row come from; beyond the last one it is repeated.
struct Places {
    rows: [[i32; LANES]; 2],
    columns: [[i32; LANES]; 2],
    /// Shares of the lower row, and of the right column.
    shares: [[f32; LANES]; 2],
}

impl Places {
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn new(job: &Job, y: usize, x: usize) -> Self {
        let last = job.features.width - 1;
        let flow = each_lane!(i => job.flow.at(y, (x + i).min(last)));
        let position = |c: usize, at: [f32; LANES]| {
            _mm256_add_ps(load(&at), load(&each_lane!(i => flow[i][c])))
        };
        let columns = each_lane!(i => (x + i).min(last) as f32);
        let x = Taps::new(position(0, columns), job.features.width);
        let y = Taps::new(position(1, [y as f32; LANES]), job.features.height);
        Self {
            rows: [integers(y.first), integers(y.second)],
            columns: [integers(x.first), integers(x.second)],
            shares: [floats(y.share), floats(x.share)],
        }
    }

    #[inline]
    fn corners<'a>(&self, features: &Raster<'a>, i: usize) -> [&'a [f32]; 4] {
        let at = |row: usize, column: usize| {
            features.at(self.rows[row][i] as usize, self.columns[column][i] as usize)
        };
        [at(0, 0), at(0, 1), at(1, 0), at(1, 1)]
    }

    #[inline]
    fn weights(&self, i: usize) -> [f32; 4] {
        let (y, x) = (self.shares[0][i], self.shares[1][i]);
        [(1.0 - y) * (1.0 - x), (1.0 - y) * x, y * (1.0 - x), y * x]
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn integers(v: __m256i) -> [i32; LANES] {
    let mut values = [0; LANES];
    // SAFETY: there is room for eight integers.
    unsafe { _mm256_storeu_si256(values.as_mut_ptr().cast(), v) };
    values
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn floats(v: __m256) -> [f32; LANES] {
    let mut values = [0.0; LANES];
    store(&mut values, v);
    values
}

/// [`super::Taps`] of eight positions.
pub struct Taps {
    pub first: __m256i,
    pub second: __m256i,
    pub share: __m256,
}

impl Taps {
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn new(position: __m256, size: usize) -> Self {
        let last = (size - 1) as i32;
        // `max` answers its second operand for what is no number.
        let position = _mm256_max_ps(position, _mm256_setzero_ps());
        let position = _mm256_min_ps(position, _mm256_set1_ps(last as f32));
        let last = _mm256_set1_epi32(last);
        let first = _mm256_min_epi32(_mm256_cvttps_epi32(position), last);
        let second = _mm256_min_epi32(_mm256_add_epi32(first, _mm256_set1_epi32(1)), last);
        let share = _mm256_sub_ps(position, _mm256_cvtepi32_ps(first));
        Self {
            first,
            second,
            share,
        }
    }
}

/// Weighted sum of the corners, `C` vectors of it in registers; returns its squares.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn blend_vectors<const C: usize>(
    corners: &[&[f32]; 4],
    weights: &[f32; 4],
    values: &mut [f32],
) -> __m256 {
    let values = &mut values[..C * LANES];
    let mut blended = [_mm256_setzero_ps(); C];
    for (corner, weight) in corners.iter().zip(weights) {
        let corner = &corner[..C * LANES];
        let weight = _mm256_set1_ps(*weight);
        for (c, v) in blended.iter_mut().enumerate() {
            // SAFETY: `c` is below `C`, and the corner has `C` vectors.
            let corner = unsafe { _mm256_loadu_ps(corner.as_ptr().add(c * LANES)) };
            *v = _mm256_fmadd_ps(corner, weight, *v);
        }
    }
    let mut square = _mm256_setzero_ps();
    for (v, values) in blended.iter().zip(values.chunks_mut(LANES)) {
        square = _mm256_fmadd_ps(*v, *v, square);
        store(values, *v);
    }
    square
}

/// Weighted sum of the corners, of any number of channels; returns its squares.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn blend(corners: &[&[f32]; 4], weights: &[f32; 4], values: &mut [f32]) -> __m256 {
    let weights: [__m256; 4] = [
        _mm256_set1_ps(weights[0]),
        _mm256_set1_ps(weights[1]),
        _mm256_set1_ps(weights[2]),
        _mm256_set1_ps(weights[3]),
    ];
    let mut square = _mm256_setzero_ps();
    let mut c = 0;
    while c + LANES <= values.len() {
        let mut v = _mm256_setzero_ps();
        for (corner, weight) in corners.iter().zip(&weights) {
            // SAFETY: all slices are as long as `values`, which has eight more floats.
            v = unsafe { _mm256_fmadd_ps(_mm256_loadu_ps(corner.as_ptr().add(c)), *weight, v) };
        }
        square = _mm256_fmadd_ps(v, v, square);
        // SAFETY: `values` has eight more floats.
        unsafe { _mm256_storeu_ps(values.as_mut_ptr().add(c), v) };
        c += LANES;
    }
    let rest = &mut values[c..];
    if !rest.is_empty() {
        let mut v = _mm256_setzero_ps();
        for (corner, weight) in corners.iter().zip(&weights) {
            v = _mm256_fmadd_ps(load(&corner[c..]), *weight, v);
        }
        square = _mm256_fmadd_ps(v, v, square);
        store(rest, v);
    }
    square
}
