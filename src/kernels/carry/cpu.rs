//! With AVX2 or NEON: all channels of a cell at a time; the same operations in the same order as the reference.

use super::{Carry, ROUNDS, STATE, gone, reference};
use crate::kernels::Context;
use crate::kernels::raster::{Raster, RasterMut};
use crate::kernels::simd::avx2::*;
use crate::kernels::simd::{LANES, lerp, load, store};
use crate::kernels::warp::Taps;

const _: () = assert!(STATE == LANES);

pub fn carry(job: &Carry, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        // SAFETY: this module runs only where its instructions were found (`Context` sees to it).
        unsafe { carry_row(job, y, row, pixel) };
    });
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn carry_row(job: &Carry, y: usize, row: &mut [f32], pixel: usize) {
    for (x, cell) in row.chunks_mut(pixel).enumerate() {
        let t = job.phases.at(y, x);
        let mut middle = [0.0; STATE];
        store(&mut middle, found(&job.middle, (y, x), t));
        cell[..STATE].copy_from_slice(&reference::at_phase(&middle, t));
    }
}

/// The cell of the middle that is at cell (`y`, `x`) at phase `t`.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn found(middle: &Raster, (y, x): (usize, usize), t: f32) -> __m256 {
    let [of_left, of_right] = gone(t);
    let factors = _mm_setr_ps(of_left, of_left, of_right, of_right);
    let mut found = sample(middle, (y, x), [0.0; 2]);
    for _ in 0..ROUNDS {
        let flow = _mm_mul_ps(_mm256_castps256_ps128(found), factors);
        let gone = _mm_add_ps(flow, _mm_movehl_ps(flow, flow));
        let gone = [_mm_cvtss_f32(gone), _mm_cvtss_f32(_mm_movehdup_ps(gone))];
        found = sample(middle, (y, x), gone);
    }
    found
}

/// A cell from which it has gone so far (x, y).
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn sample(values: &Raster, (y, x): (usize, usize), gone: [f32; 2]) -> __m256 {
    let ty = Taps::new(y as f32 - gone[1], values.height);
    let tx = Taps::new(x as f32 - gone[0], values.width);
    let share = _mm256_set1_ps(tx.share);
    let (above, below) = (ty.first, ty.second);
    let above = lerp(
        load(values.at(above, tx.first)),
        load(values.at(above, tx.second)),
        share,
    );
    let below = lerp(
        load(values.at(below, tx.first)),
        load(values.at(below, tx.second)),
        share,
    );
    lerp(above, below, _mm256_set1_ps(ty.share))
}
