//! The warp with AVX2 and FMA, or NEON: eight channels at a time.

use super::Job;
use crate::kernels::Context;
use crate::kernels::raster::{Raster, RasterMut};
use crate::kernels::simd::avx2::*;
use crate::kernels::simd::{LANES, each_lane, load, store, sums};

/// Pixels by which what is read is asked for before.
const AHEAD: usize = 16;
/// Floats of a line of the cache.
const LINE: usize = 16;

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

/// A row of `C` vectors of channels, or of any number of channels if `C` is 0: eight pixels after the other, whose places, and what brings them to
/// unit length, are found together.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn warp_row<const C: usize>(job: &Job, y: usize, row: &mut [f32], pixel: usize, channels: usize) {
    for (group, values) in row.chunks_mut(LANES * pixel).enumerate() {
        let corners = corners(job, y, group * LANES);
        let mut squares = [_mm256_setzero_ps(); LANES];
        for (i, values) in values.chunks_mut(pixel).enumerate() {
            let (from, weights) = (corners.of(&job.features, i), weights(corners.shares(i)));
            // Processors foresee rows, not what follows flow across them. (Many channels would push each other out.)
            let ahead = from[3].wrapping_add(AHEAD * job.features.pixel);
            for c in (0..C * LANES).step_by(LINE) {
                _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(c).cast());
            }
            let values = &mut values[..channels];
            // SAFETY: the corners lie inside; their channels are as many as the values, `C` vectors if that is not 0.
            squares[i] = unsafe {
                match C {
                    0 => blend(from, &weights, values),
                    _ => blend_vectors::<C>(from, &weights, values),
                }
            };
        }
        let Some(epsilon) = job.epsilon else {
            continue;
        };
        let squares = _mm256_add_ps(sums(&squares), _mm256_set1_ps(epsilon));
        let mut factors = [0.0; LANES];
        store(
            &mut factors,
            _mm256_div_ps(_mm256_set1_ps(1.0), _mm256_sqrt_ps(squares)),
        );
        for (values, factor) in values.chunks_mut(pixel).zip(factors) {
            let values = match C {
                0 => &mut values[..channels],
                _ => &mut values[..C * LANES],
            };
            let factor = _mm256_set1_ps(factor);
            for values in values.chunks_mut(LANES) {
                let scaled = _mm256_mul_ps(load(values), factor);
                store(values, scaled);
            }
        }
    }
}

/// Where eight pixels of a row come from, from column `x` on; beyond the last one it is repeated.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn corners(job: &Job, y: usize, x: usize) -> Corners {
    let last = job.flow.width - 1;
    let flow = each_lane!(i => job.flow.at(y, (x + i).min(last)));
    let (dx, dy) = (each_lane!(i => flow[i][0]), each_lane!(i => flow[i][1]));
    let x = _mm256_add_ps(columns_from(x), load(&dx));
    let y = _mm256_add_ps(_mm256_set1_ps(y as f32), load(&dy));
    Corners::new(y, x, job.features.size())
}

/// The weights of four corners for the shares of the lower and of the right ones.
#[inline]
fn weights([y, x]: [f32; 2]) -> [f32; 4] {
    [(1.0 - y) * (1.0 - x), (1.0 - y) * x, y * (1.0 - x), y * x]
}

/// The numbers of eight columns.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
pub fn columns_from(x: usize) -> __m256 {
    let columns = _mm256_setr_ps(0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0);
    _mm256_add_ps(columns, _mm256_set1_ps(x as f32))
}

/// Between which pixels eight places lie.
pub struct Corners {
    rows: [[i32; LANES]; 2],
    columns: [[i32; LANES]; 2],
    shares: [[f32; LANES]; 2],
}

impl Corners {
    /// Of places in a raster of this height and width.
    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    pub fn new(y: __m256, x: __m256, (height, width): (usize, usize)) -> Self {
        let (y, x) = (Taps::new(y, height), Taps::new(x, width));
        let mut corners = Self {
            rows: [[0; LANES]; 2],
            columns: [[0; LANES]; 2],
            shares: [[0.0; LANES]; 2],
        };
        let places = corners.rows.iter_mut().chain(&mut corners.columns);
        for (to, v) in places.zip([y.first, y.second, x.first, x.second]) {
            // SAFETY: there is room for eight places.
            unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), v) };
        }
        store(&mut corners.shares[0], y.share);
        store(&mut corners.shares[1], x.share);
        corners
    }

    /// The four pixels around place `i` in a raster of that size: the upper ones, left and right, then the lower ones.
    #[inline(always)]
    pub fn of(&self, values: &Raster, i: usize) -> [*const f32; 4] {
        let data = values.data().as_ptr();
        let row = |row: usize| self.rows[row][i] as usize * values.row;
        let column = |column: usize| self.columns[column][i] as usize * values.pixel;
        let (above, below, left, right) = (row(0), row(1), column(0), column(1));
        [
            data.wrapping_add(above + left),
            data.wrapping_add(above + right),
            data.wrapping_add(below + left),
            data.wrapping_add(below + right),
        ]
    }

    /// The shares of the lower and of the right pixels.
    #[inline(always)]
    pub fn shares(&self, i: usize) -> [f32; 2] {
        [self.shares[0][i], self.shares[1][i]]
    }
}

/// Weighted sum of the corners, `C` vectors of it; returns its squares, not yet summed over the lanes.
///
/// # Safety
/// Values and corners have `C` vectors.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
unsafe fn blend_vectors<const C: usize>(
    corners: [*const f32; 4],
    weights: &[f32; 4],
    values: &mut [f32],
) -> __m256 {
    let values = &mut values[..C * LANES];
    let mut blended = [_mm256_setzero_ps(); C];
    for (corner, weight) in corners.into_iter().zip(weights) {
        let weight = _mm256_set1_ps(*weight);
        for (c, v) in blended.iter_mut().enumerate() {
            // SAFETY: `c` is below `C`.
            let corner = unsafe { _mm256_loadu_ps(corner.add(c * LANES)) };
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

/// The same of any number of channels.
///
/// # Safety
/// The corners have as many as the values.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
unsafe fn blend(corners: [*const f32; 4], weights: &[f32; 4], values: &mut [f32]) -> __m256 {
    let weights = [
        _mm256_set1_ps(weights[0]),
        _mm256_set1_ps(weights[1]),
        _mm256_set1_ps(weights[2]),
        _mm256_set1_ps(weights[3]),
    ];
    let mut square = _mm256_setzero_ps();
    for (c, values) in values.chunks_mut(LANES).enumerate() {
        let mut v = _mm256_setzero_ps();
        for (corner, weight) in corners.iter().zip(&weights) {
            // SAFETY: the corner has the channels of these values.
            let corner = unsafe { std::slice::from_raw_parts(corner.add(c * LANES), values.len()) };
            v = _mm256_fmadd_ps(load(corner), *weight, v);
        }
        square = _mm256_fmadd_ps(v, v, square);
        store(values, v);
    }
    square
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
