//! The warp with AVX2 and FMA: eight channels at a time.

use std::arch::x86_64::*;

use super::Job;
use crate::kernels::Context;
use crate::kernels::raster::RasterMut;
use crate::kernels::simd::{LANES, load_tail, sum, tail_mask};

pub fn run(job: &Job, context: &Context, out: &mut RasterMut) {
    let (pixel, channels) = (out.pixel, out.channels);
    out.for_each_row(context, |y, row| {
        // SAFETY: this module runs only where AVX2 and FMA were found (`Context` sees to it).
        unsafe { warp_row(job, y, row, pixel, channels) };
    });
}

#[target_feature(enable = "avx2,fma")]
fn warp_row(job: &Job, y: usize, row: &mut [f32], pixel: usize, channels: usize) {
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
        let square = blend(&corners, &weights, values);
        scale(values, 1.0 / (square + job.epsilon).sqrt());
    }
}

/// Weighted sum of the corners; returns the sum of its squares.
#[inline]
#[target_feature(enable = "avx2,fma")]
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
            v = _mm256_fmadd_ps(load_tail(&corner[c..]), *weight, v);
        }
        square = _mm256_fmadd_ps(v, v, square);
        // SAFETY: the mask lets through only what lies inside of `rest`.
        unsafe { _mm256_maskstore_ps(rest.as_mut_ptr(), tail_mask(rest.len()), v) };
    }
    sum(square)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn scale(values: &mut [f32], factor: f32) {
    for value in values {
        *value *= factor;
    }
}
