//! Resampling with AVX2 and FMA, or NEON: eight channels at a time.

use crate::kernels::Context;
use crate::kernels::raster::{Raster, RasterMut};
use crate::kernels::simd::avx2::*;
use crate::kernels::simd::{LANES, load, store};

pub fn half(input: Raster, context: &Context, out: &mut RasterMut) {
    let (pixel, channels) = (out.pixel, out.channels);
    // Without gaps and in order, a pixel may be written eight wide: the next one corrects what
    // of it was hit, and the last ones of a row are written exactly.
    let wide = pixel == channels && input.pixel == channels && channels <= LANES;
    out.for_each_row(context, |y, row| {
        let below = (2 * y + 1).min(input.height - 1);
        let first = match wide {
            // SAFETY: this module runs only where its instructions were found (`Context` sees to it).
            true => unsafe { half_wide(input.row(2 * y), input.row(below), channels, row) },
            false => 0,
        };
        for (x, values) in row.chunks_mut(pixel).enumerate().skip(first) {
            let beside = (2 * x + 1).min(input.width - 1);
            let taps = [
                (2 * y, 2 * x),
                (2 * y, beside),
                (below, 2 * x),
                (below, beside),
            ];
            let taps = taps.map(|(y, x)| input.at(y, x));
            // SAFETY: as above.
            unsafe { blend(&taps, [0.25; 4], &mut values[..channels]) };
        }
    });
}

/// Halves two rows without gaps, of at most eight channels, as far as eight floats can be read
/// and written at once; returns the number of pixels done.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn half_wide(upper: &[f32], lower: &[f32], channels: usize, out: &mut [f32]) -> usize {
    let quarter = _mm256_set1_ps(0.25);
    let mut x = 0;
    loop {
        let (near, far) = (2 * x * channels, (2 * x + 1) * channels);
        let fits = far + LANES <= upper.len().min(lower.len());
        let Some(out) = out
            .get_mut(x * channels..x * channels + LANES)
            .filter(|_| fits)
        else {
            return x;
        };
        // SAFETY: eight floats from `far` on, and so from `near` on, lie inside both rows, and
        // `out` has eight.
        unsafe {
            let at = |row: &[f32], i: usize| _mm256_loadu_ps(row.as_ptr().add(i));
            let top = _mm256_add_ps(at(upper, near), at(upper, far));
            let sum = _mm256_add_ps(_mm256_add_ps(top, at(lower, near)), at(lower, far));
            _mm256_storeu_ps(out.as_mut_ptr(), _mm256_mul_ps(sum, quarter));
        }
        x += 1;
    }
}

/// Weighted sum of four equally long slices.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn blend(taps: &[&[f32]; 4], weights: [f32; 4], values: &mut [f32]) {
    for (v, values) in values.chunks_mut(LANES).enumerate() {
        let mut sum = _mm256_setzero_ps();
        for (tap, weight) in taps.iter().zip(weights) {
            let tap = &tap[v * LANES..][..values.len()];
            sum = _mm256_fmadd_ps(load(tap), _mm256_set1_ps(weight), sum);
        }
        store(values, sum);
    }
}
