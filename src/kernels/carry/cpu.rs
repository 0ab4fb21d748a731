//! With AVX2 or NEON: eight cells of a row together, so that no place waits for another cell's; the same operations in the same order as
//! the reference.

use super::{Carry, DIFFERENCE, MASK, PHASE, ROUNDS, STATE};
use crate::kernels::Context;
use crate::kernels::raster::{Raster, RasterMut};
use crate::kernels::simd::avx2::*;
use crate::kernels::simd::{LANES, each_lane, lerp, load, store, transpose};
use crate::kernels::warp::{Corners, columns_from};

const _: () = assert!(STATE == LANES);

/// Eight cells, a vector a channel.
type Cells = [__m256; STATE];

pub fn carry(job: &Carry, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        // SAFETY: this module runs only where its instructions were found (`Context` sees to it).
        unsafe { carry_row(job, y, row, pixel) };
    });
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn carry_row(job: &Carry, y: usize, row: &mut [f32], pixel: usize) {
    let last = job.middle.width - 1;
    for (group, cells) in row.chunks_mut(LANES * pixel).enumerate() {
        let x = group * LANES;
        let t = load(&each_lane!(i => job.phases.at(y, (x + i).min(last))));
        let carried = at_phase(&found(&job.middle, (y, x), t), t);
        for (cell, values) in cells.chunks_mut(pixel).zip(transpose(&carried)) {
            store(&mut cell[..STATE], values);
        }
    }
}

/// The cells of the middle that are at the cells from (`y`, `x`) on at phase `t`; beyond the last one of a row they are anything.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn found(middle: &Raster, (y, x): (usize, usize), t: __m256) -> Cells {
    let last = middle.width - 1;
    let cells = each_lane!(i => load(middle.at(y, (x + i).min(last))));
    let (y, x) = (_mm256_set1_ps(y as f32), columns_from(x));
    let factors = gone(t);
    let mut found = transpose(&cells);
    for _ in 0..ROUNDS {
        let to_left = [found[0], found[1]];
        let to_right = [found[2], found[3]];
        let gone = |axis: usize| {
            let left = _mm256_mul_ps(factors[0], to_left[axis]);
            _mm256_add_ps(left, _mm256_mul_ps(factors[1], to_right[axis]))
        };
        let (x, y) = (_mm256_sub_ps(x, gone(0)), _mm256_sub_ps(y, gone(1)));
        found = sample(middle, y, x);
    }
    found
}

/// [`super::gone`].
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn gone(t: __m256) -> [__m256; 2] {
    let (half, one) = (_mm256_set1_ps(0.5), _mm256_set1_ps(1.0));
    let ahead = _mm256_mul_ps(half, _mm256_sub_ps(bend(t), one));
    [
        _mm256_sub_ps(_mm256_sub_ps(half, t), ahead),
        _mm256_sub_ps(_mm256_sub_ps(t, half), ahead),
    ]
}

/// [`super::bend`].
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn bend(t: __m256) -> __m256 {
    let rest = _mm256_sub_ps(_mm256_set1_ps(1.0), t);
    _mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(4.0), t), rest)
}

/// Cells at eight places.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn sample(values: &Raster, y: __m256, x: __m256) -> Cells {
    let corners = Corners::new(y, x, values.size());
    let mut cells = [_mm256_setzero_ps(); LANES];
    for (i, cell) in cells.iter_mut().enumerate() {
        let [a, b, c, d] = corners.of(values, i);
        let [down, across] = corners.shares(i);
        let across = _mm256_set1_ps(across);
        // SAFETY: the corners lie inside, and a cell has eight channels.
        let (a, b, c, d) = unsafe {
            (
                _mm256_loadu_ps(a),
                _mm256_loadu_ps(b),
                _mm256_loadu_ps(c),
                _mm256_loadu_ps(d),
            )
        };
        let (above, below) = (lerp(a, b, across), lerp(c, d, across));
        *cell = lerp(above, below, _mm256_set1_ps(down));
    }
    transpose(&cells)
}

/// [`super::reference::at_phase`].
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn at_phase(found: &Cells, t: __m256) -> Cells {
    let (bend, rest) = (bend(t), _mm256_sub_ps(_mm256_set1_ps(1.0), t));
    let before = _mm256_xor_ps(t, _mm256_set1_ps(-0.0));
    let mut cells = [_mm256_setzero_ps(); STATE];
    for c in 0..2 {
        let (left, right) = (found[c], found[2 + c]);
        let motion = _mm256_sub_ps(right, left);
        let ahead = _mm256_mul_ps(_mm256_set1_ps(-0.5), _mm256_add_ps(left, right));
        let ahead = _mm256_mul_ps(bend, ahead);
        cells[c] = _mm256_sub_ps(_mm256_mul_ps(before, motion), ahead);
        cells[2 + c] = _mm256_sub_ps(_mm256_mul_ps(rest, motion), ahead);
    }
    cells[DIFFERENCE] = found[DIFFERENCE];
    cells[MASK] = found[MASK];
    cells[PHASE] = t;
    cells
}
