//! The advance with AVX2 and FMA: a cell is one vector.

use std::arch::x86_64::*;

use super::{Advance, MASK, PHASE, SCALE, STATE};
use crate::kernels::Context;
use crate::kernels::raster::{Raster, RasterMut};
use crate::kernels::resample::neighbours;
use crate::kernels::simd::Lanes;

pub fn advance(job: &Advance, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        // SAFETY: this module runs only where AVX2 and FMA were found (`Context` sees to it).
        unsafe { advance_row(job, y, row, pixel) };
    });
}

#[target_feature(enable = "avx2,fma")]
fn advance_row(job: &Advance, y: usize, row: &mut [f32], pixel: usize) {
    let (near, far) = neighbours(y, job.coarser.height);
    for (x, cell) in row.chunks_mut(pixel).enumerate() {
        let xs = neighbours(x, job.coarser.width);
        let upper = mix(&job.coarser, near, xs);
        let lower = mix(&job.coarser, far, xs);
        let scale = Lanes(SCALE).load();
        let enlarged = _mm256_mul_ps(scale, quarters(upper, lower));
        let cell = &mut cell[..STATE];
        // SAFETY: a cell is eight floats, one vector.
        unsafe { _mm256_storeu_ps(cell.as_mut_ptr(), enlarged) };
        if let Some(detail) = &job.detail {
            let detail = &detail.at(y, x)[..5];
            // SAFETY: four floats of each slice, which are longer.
            unsafe {
                let flow = _mm_loadu_ps(detail.as_ptr());
                let flow = _mm_add_ps(_mm256_castps256_ps128(enlarged), flow);
                _mm_storeu_ps(cell.as_mut_ptr(), flow);
            }
            cell[MASK] += detail[4];
        }
        cell[PHASE] = job.phases.at(y, x);
    }
}

/// Two cells of a row, three quarters of the first.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn mix(coarser: &Raster, y: usize, (near, far): (usize, usize)) -> __m256 {
    let (near, far) = (&coarser.at(y, near)[..STATE], &coarser.at(y, far)[..STATE]);
    // SAFETY: a cell is eight floats, one vector.
    unsafe {
        quarters(
            _mm256_loadu_ps(near.as_ptr()),
            _mm256_loadu_ps(far.as_ptr()),
        )
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn quarters(near: __m256, far: __m256) -> __m256 {
    let far = _mm256_mul_ps(far, _mm256_set1_ps(0.25));
    _mm256_fmadd_ps(near, _mm256_set1_ps(0.75), far)
}
