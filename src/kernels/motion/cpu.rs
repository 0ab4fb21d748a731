//! With AVX2 and FMA, or NEON: a cell is one vector; where there is more arithmetic, a cell is a lane of eight.

use super::{Advance, CHANGE, DISPLACEMENT, MASK, PHASE, SCALE, STATE, Update, reference};
use crate::kernels::Context;
use crate::kernels::raster::{Raster, RasterMut};
use crate::kernels::resample::neighbours;
use crate::kernels::simd::avx2::*;
use crate::kernels::simd::{
    LANES, Lanes, each_lane, exp_negative, load, sigmoid, store, transpose,
};

pub fn advance(job: &Advance, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        // SAFETY: this module runs only where its instructions were found (`Context` sees to it).
        unsafe { advance_row(job, y, row, pixel) };
    });
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
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
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
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
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn quarters(near: __m256, far: __m256) -> __m256 {
    let far = _mm256_mul_ps(far, _mm256_set1_ps(0.25));
    _mm256_fmadd_ps(near, _mm256_set1_ps(0.75), far)
}

pub fn update(job: &Update, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        for (group, cells) in row.chunks_mut(LANES * pixel).enumerate() {
            let x = group * LANES;
            if x + LANES <= job.change.width {
                // SAFETY: this module runs only where its instructions were found (`Context` sees to it).
                unsafe { update_eight(job, (y, x), cells, pixel) };
            } else {
                for (i, cell) in cells.chunks_mut(pixel).enumerate() {
                    reference::update_cell(job, y, x + i, cell);
                }
            }
        }
    });
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn update_eight(job: &Update, at: (usize, usize), cells: &mut [f32], pixel: usize) {
    let mut state = transpose(&each_lane!(i => load(&cells[i * pixel..][..STATE])));
    let change = channels(&job.change, at);
    let [luma_x, luma_y] = two_channels(&job.luma, at);
    let t = state[PHASE];
    let rest = _mm256_sub_ps(_mm256_set1_ps(1.0), t);
    let gates = (sigmoid(change[5]), sigmoid(change[6]));
    let displacement = |c: usize, luma| {
        _mm256_fmadd_ps(
            gates.0,
            state[DISPLACEMENT + c],
            _mm256_mul_ps(gates.1, luma),
        )
    };
    let d = [displacement(0, luma_x), displacement(1, luma_y)];
    let mut ahead = [_mm256_setzero_ps(); 2];
    if let Some(acceleration) = &job.acceleration {
        let even = _mm256_mul_ps(_mm256_mul_ps(t, rest), _mm256_set1_ps(0.5));
        let share = _mm256_mul_ps(sigmoid(change[CHANGE]), even);
        let [x, y] = two_channels(acceleration, at);
        ahead = [_mm256_mul_ps(share, x), _mm256_mul_ps(share, y)];
    }
    for c in 0..2 {
        let left = _mm256_fnmadd_ps(t, d[c], _mm256_add_ps(change[c], ahead[c]));
        let right = _mm256_fmadd_ps(rest, d[c], _mm256_add_ps(change[2 + c], ahead[c]));
        state[c] = _mm256_add_ps(state[c], left);
        state[2 + c] = _mm256_add_ps(state[2 + c], right);
    }
    state[MASK] = _mm256_add_ps(state[MASK], change[4]);
    for (cell, values) in cells.chunks_mut(pixel).zip(transpose(&state)) {
        store(&mut cell[..STATE], values);
    }
}

/// The first channels, as many as there are up to eight, of eight cells from (`y`, `x`) on, a vector each.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn channels(values: &Raster, (y, x): (usize, usize)) -> [__m256; LANES] {
    transpose(&each_lane!(i => load(values.at(y, x + i))))
}

/// The first two channels of eight cells from (`y`, `x`) on.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn two_channels(values: &Raster, (y, x): (usize, usize)) -> [__m256; 2] {
    let cells = &values.row(y)[x * values.pixel..][..7 * values.pixel + 2];
    // SAFETY: there are eight cells of two floats.
    let cell = |i: usize| unsafe {
        _mm_castpd_ps(_mm_load_sd(cells.as_ptr().add(i * values.pixel).cast()))
    };
    // of cells i, i + 1 and, in the upper half, of those four further on
    let four = |i: usize| {
        let pair = |i: usize| _mm_movelh_ps(cell(i), cell(i + 1));
        _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(pair(i)), pair(i + 4))
    };
    let (a, b) = (four(0), four(2));
    [
        _mm256_shuffle_ps::<0x88>(a, b),
        _mm256_shuffle_ps::<0xdd>(a, b),
    ]
}

pub fn weight_of_left(state: &Raster, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        for (group, values) in row.chunks_mut(LANES * pixel).enumerate() {
            let x = group * LANES;
            if x + LANES <= state.width {
                // SAFETY: this module runs only where its instructions were found (`Context` sees to it).
                let weights = unsafe { eight_weights(state, (y, x)) };
                for (i, weight) in weights.into_iter().enumerate() {
                    values[i * pixel] = weight;
                }
            } else {
                for (i, value) in values.iter_mut().step_by(pixel).enumerate() {
                    *value = reference::weight(state.at(y, x + i));
                }
            }
        }
    });
}

/// The weights of the left side in eight cells. The exponential is of what is not positive, so that nothing overflows.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn eight_weights(state: &Raster, at: (usize, usize)) -> [f32; LANES] {
    let state = channels(state, at);
    let (mask, t) = (state[MASK], state[PHASE]);
    let rest = _mm256_sub_ps(_mm256_set1_ps(1.0), t);
    let sign = _mm256_set1_ps(-0.0);
    let small = exp_negative(_mm256_or_ps(mask, sign));
    let (less_right, less_left) = (_mm256_mul_ps(t, small), _mm256_mul_ps(rest, small));
    // The mask's sign says which side is the smaller one.
    let left = _mm256_blendv_ps(rest, less_left, mask);
    let right = _mm256_blendv_ps(less_right, t, mask);
    let mut weights = [0.0; LANES];
    store(
        &mut weights,
        _mm256_div_ps(left, _mm256_add_ps(left, right)),
    );
    weights
}
