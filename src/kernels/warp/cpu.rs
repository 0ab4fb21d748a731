//! The warp with AVX2 and FMA, or NEON: eight channels at a time.

use super::Job;
use crate::kernels::Context;
use crate::kernels::raster::RasterMut;
use crate::kernels::simd::avx2::*;
use crate::kernels::simd::{LANES, load, store, sum};

pub fn run(job: &Job, context: &Context, out: &mut RasterMut) {
    let (pixel, channels) = (out.pixel, out.channels);
    out.for_each_row(context, |y, row| {
        // SAFETY: this module runs only where its instructions were found (`Context` sees to it).
        unsafe {
            match channels {
                8 => warp_row::<1>(job, y, row, pixel, channels),
                16 => warp_row::<2>(job, y, row, pixel, channels),
                24 => warp_row::<3>(job, y, row, pixel, channels),
                _ => warp_row::<0>(job, y, row, pixel, channels),
            }
        }
    });
}

/// A row of `C` vectors of channels, or of any number of channels if `C` is 0.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn warp_row<const C: usize>(job: &Job, y: usize, row: &mut [f32], pixel: usize, channels: usize) {
    for (x, values) in row.chunks_mut(pixel).enumerate() {
        let values = &mut values[..channels];
        let (ty, tx) = job.taps(y, x);
        let corners = [
            job.features.at(ty.first, tx.first),
            job.features.at(ty.first, tx.second),
            job.features.at(ty.second, tx.first),
            job.features.at(ty.second, tx.second),
        ];
        let weights = [
            (1.0 - ty.share) * (1.0 - tx.share),
            (1.0 - ty.share) * tx.share,
            ty.share * (1.0 - tx.share),
            ty.share * tx.share,
        ];
        if C > 0 {
            blend_vectors::<C>(&corners, &weights, job.epsilon, values);
        } else {
            let square = blend(&corners, &weights, values);
            if let Some(epsilon) = job.epsilon {
                scale(values, 1.0 / (square + epsilon).sqrt());
            }
        }
    }
}

/// Weighted sum of the corners, at unit length if that is wanted, `C` vectors of it in registers.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn blend_vectors<const C: usize>(
    corners: &[&[f32]; 4],
    weights: &[f32; 4],
    epsilon: Option<f32>,
    values: &mut [f32],
) {
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
    let mut factor = _mm256_set1_ps(1.0);
    if let Some(epsilon) = epsilon {
        let mut square = _mm256_setzero_ps();
        for v in &blended {
            square = _mm256_fmadd_ps(*v, *v, square);
        }
        factor = _mm256_set1_ps(1.0 / (sum(square) + epsilon).sqrt());
    }
    for (c, v) in blended.iter().enumerate() {
        // SAFETY: as above, for the values.
        unsafe {
            _mm256_storeu_ps(
                values.as_mut_ptr().add(c * LANES),
                _mm256_mul_ps(*v, factor),
            )
        };
    }
}

/// Weighted sum of the corners; returns the sum of its squares.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn blend(corners: &[&[f32]; 4], weights: &[f32; 4], values: &mut [f32]) -> f32 {
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
    sum(square)
}

#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn scale(values: &mut [f32], factor: f32) {
    for value in values {
        *value *= factor;
    }
}

/// [`super::Taps`] of eight positions.
pub struct Taps {
    pub first: __m256i,
    pub second: __m256i,
    pub share: __m256,
}

impl Taps {
    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
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
