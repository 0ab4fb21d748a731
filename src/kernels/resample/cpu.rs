//! Resampling with AVX2 and FMA: eight channels at a time.

use std::arch::x86_64::*;

use super::neighbours;
use crate::kernels::Context;
use crate::kernels::raster::{Raster, RasterMut};
use crate::kernels::simd::{LANES, load, store};

pub fn double(input: Raster, context: &Context, out: &mut RasterMut) {
    let (pixel, channels) = (out.pixel, out.channels);
    const WEIGHTS: [f32; 4] = [0.5625, 0.1875, 0.1875, 0.0625];
    out.for_each_row(context, |y, row| {
        let ys = neighbours(y, input.height);
        for (x, values) in row.chunks_mut(pixel).enumerate() {
            let xs = neighbours(x, input.width);
            let taps = [(ys.0, xs.0), (ys.0, xs.1), (ys.1, xs.0), (ys.1, xs.1)];
            let taps = taps.map(|(y, x)| input.at(y, x));
            // SAFETY: this module runs only where AVX2 and FMA were found (`Context` sees to it).
            unsafe { blend(&taps, WEIGHTS, &mut values[..channels]) };
        }
    });
}

/// Weighted sum of four equally long slices.
#[inline]
#[target_feature(enable = "avx2,fma")]
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
