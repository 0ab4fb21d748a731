//! Correlation and its softmax with AVX2 and FMA, or NEON: eight displacements of a pixel at a time, then eight pixels.

use super::{Axis, Correlate, DISPLACEMENTS, Expected, MAX_CHANNELS, RADIUS, SIDE};
use crate::kernels::Context;
use crate::kernels::raster::RasterMut;
use crate::kernels::simd::avx2::*;
use crate::kernels::simd::{
    LANES, Lanes, Planes, each_lane, exp2_of_share, load, store, sum_of_neighbours, sums, transpose,
};

/// What lies outside of the picture.
static ZEROS: [f32; MAX_CHANNELS] = [0.0; MAX_CHANNELS];

pub fn correlate(job: &Correlate, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        // SAFETY: this module runs only where its instructions were found (`Context` sees to it), and
        // `Correlate::run` has compared all sizes.
        unsafe {
            match job.left.channels {
                8 => correlate_row::<1>(job, y, row, pixel),
                16 => correlate_row::<2>(job, y, row, pixel),
                24 => correlate_row::<3>(job, y, row, pixel),
                _ => correlate_row::<0>(job, y, row, pixel),
            }
        }
    });
}

/// Distances in floats from a pixel to those that each displacement compares, at one phase.
struct Window {
    phase: f32,
    axis: Axis,
    left: [isize; DISPLACEMENTS],
    right: [isize; DISPLACEMENTS],
}

impl Window {
    fn new(job: &Correlate, phase: f32) -> Self {
        let axis = Axis::new(phase);
        let mut window = Self {
            phase,
            axis,
            left: [0; DISPLACEMENTS],
            right: [0; DISPLACEMENTS],
        };
        for i in 0..DISPLACEMENTS {
            let at = |offsets: &[isize; SIDE], row: usize, pixel: usize| {
                offsets[i / SIDE] * row as isize + offsets[i % SIDE] * pixel as isize
            };
            window.left[i] = -at(&axis.left, job.left.row, job.left.pixel);
            window.right[i] = at(&axis.right, job.right.row, job.right.pixel);
        }
        window
    }
}

/// Scores of a row; `C` vectors of channels, or any number of channels if `C` is 0.
///
/// # Safety
/// The instructions are there; the job's sizes fit each other.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
unsafe fn correlate_row<const C: usize>(job: &Correlate, y: usize, row: &mut [f32], pixel: usize) {
    let (height, width) = job.left.size();
    let r = RADIUS;
    let mut window = Window::new(job, job.phase.at(y, 0)[0]);
    let rows_inside = y >= r && y + r < height;
    let is_dense = C > 0 && [job.left.pixel, job.right.pixel] == [C * LANES; 2];
    for (x, values) in row.chunks_mut(pixel).enumerate() {
        let phase = job.phase.at(y, x)[0];
        if phase.to_bits() != window.phase.to_bits() {
            window = Window::new(job, phase);
        }
        let values = &mut values[..DISPLACEMENTS];
        let left = job.left.at(y, x).as_ptr();
        let right = job.right.at(y, x).as_ptr();
        let is_inside = rows_inside && x >= r && x + r < width;
        // SAFETY: each pair points to the channels of two pixels inside, or to as many zeros.
        unsafe {
            if is_inside && is_dense && phase == 0.5 {
                let rows = (job.left.row as isize, job.right.row as isize);
                middle::<C>((left, right), rows, values);
            } else if is_inside {
                scores::<C>(job.left.channels, values, |d| {
                    let (l, r) = (window.left[d], window.right[d]);
                    (left.wrapping_offset(l), right.wrapping_offset(r))
                });
            } else {
                let inside = Inside::new(job, &window.axis, y, x);
                scores::<C>(job.left.channels, values, |d| match inside.both(d) {
                    true => {
                        let (l, r) = (window.left[d], window.right[d]);
                        (left.wrapping_offset(l), right.wrapping_offset(r))
                    }
                    false => (ZEROS.as_ptr(), ZEROS.as_ptr()),
                });
            }
        }
    }
}

/// [`Axis`] of phase 0.5, at which nearly all is made.
const MIDDLE: Axis = Axis {
    left: [-1, 0, 0, 1, 1],
    right: [-1, -1, 0, 0, 1],
};

/// Scores at [`MIDDLE`] of a pixel without an edge near it, of `C` vectors of channels and no gaps between pixels: all distances but those
/// from row to row are known to the compiler, which reads a pixel's channels once for more than one displacement.
///
/// # Safety
/// The instructions are there; all that displacements lead to lies inside.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
unsafe fn middle<const C: usize>((left, right): Pair, rows: (isize, isize), values: &mut [f32]) {
    let pixel = (C * LANES) as isize;
    let product = |d: usize| {
        let (dy, dx) = (d / SIDE, d % SIDE);
        let l = left.wrapping_offset(-MIDDLE.left[dy] * rows.0 - MIDDLE.left[dx] * pixel);
        let r = right.wrapping_offset(MIDDLE.right[dy] * rows.1 + MIDDLE.right[dx] * pixel);
        // SAFETY: the caller vouches for the pixels.
        unsafe { dot_vectors::<C>(l, r, C * LANES) }
    };
    store(&mut values[..8], sums(&each_lane!(i => product(i))));
    store(&mut values[8..16], sums(&each_lane!(i => product(8 + i))));
    store(&mut values[16..24], sums(&each_lane!(i => product(16 + i))));
    values[24] = sum_of_neighbours(product(24));
}

/// The channels of a left and of a right pixel to be compared.
type Pair = (*const f32, *const f32);

/// Which displacements of a pixel lead to two pixels inside, for each axis.
struct Inside {
    rows: [bool; SIDE],
    columns: [bool; SIDE],
}

impl Inside {
    fn new(job: &Correlate, axis: &Axis, y: usize, x: usize) -> Self {
        let check = |at: usize, size: usize| {
            let inside = |at: isize| at >= 0 && at < size as isize;
            let at = at as isize;
            std::array::from_fn(|i| inside(at - axis.left[i]) && inside(at + axis.right[i]))
        };
        Self {
            rows: check(y, job.left.height),
            columns: check(x, job.left.width),
        }
    }

    #[inline]
    fn both(&self, d: usize) -> bool {
        self.rows[d / SIDE] && self.columns[d % SIDE]
    }
}

/// Products of the pairs, one for each value.
///
/// # Safety
/// The instructions are there; `pair` answers two pointers to `8 C` floats, or to `channels` if `C`
/// is 0.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
unsafe fn scores<const C: usize>(
    channels: usize,
    values: &mut [f32],
    pair: impl Fn(usize) -> Pair,
) {
    for (group, out) in values.chunks_mut(LANES).enumerate() {
        if let [out] = out {
            let (left, right) = pair(group * LANES);
            // SAFETY: the caller vouches for the lengths.
            *out = sum_of_neighbours(unsafe { dot_vectors::<C>(left, right, channels) });
            continue;
        }
        let mut products = [_mm256_setzero_ps(); LANES];
        for (i, product) in products.iter_mut().enumerate() {
            if i >= out.len() {
                break;
            }
            let (left, right) = pair(group * LANES + i);
            // SAFETY: the caller vouches for the lengths.
            *product = unsafe { dot_vectors::<C>(left, right, channels) };
        }
        store(out, sums(&products));
    }
}

/// Products of `C` vectors, or of `channels` floats if `C` is 0, not yet summed over the lanes.
///
/// # Safety
/// The instructions are there; both can be read that far.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
unsafe fn dot_vectors<const C: usize>(
    left: *const f32,
    right: *const f32,
    channels: usize,
) -> __m256 {
    // SAFETY: the caller vouches for the lengths.
    unsafe {
        if C == 0 {
            let left = std::slice::from_raw_parts(left, channels);
            return dot(left, std::slice::from_raw_parts(right, channels));
        }
        let mut sum = _mm256_mul_ps(_mm256_loadu_ps(left), _mm256_loadu_ps(right));
        for c in 1..C {
            let left = _mm256_loadu_ps(left.add(c * LANES));
            sum = _mm256_fmadd_ps(left, _mm256_loadu_ps(right.add(c * LANES)), sum);
        }
        sum
    }
}

/// Products of any number of channels, not yet summed over the lanes.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn dot(left: &[f32], right: &[f32]) -> __m256 {
    let mut sum = _mm256_setzero_ps();
    for (a, b) in left.chunks(LANES).zip(right.chunks(LANES)) {
        sum = _mm256_fmadd_ps(load(a), load(b), sum);
    }
    sum
}

pub fn expected(job: &Expected, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        // SAFETY: this module runs only where its instructions were found (`Context` sees to it).
        unsafe { expected_row(job, y, row, pixel) };
    });
}

/// Displacements of a row, of eight pixels at a time; beyond the last pixel it is repeated.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn expected_row(job: &Expected, y: usize, row: &mut [f32], pixel: usize) {
    let width = job.scores.width;
    let mut scores = Planes::<{ DISPLACEMENTS.div_ceil(LANES) }>::ZEROS;
    for x in (0..width).step_by(LANES) {
        let pixels = each_lane!(i => job.scores.at(y, (x + i).min(width - 1)));
        for (i, block) in scores.0.iter_mut().enumerate() {
            let part = transpose(&each_lane!(j => load(&pixels[j][i * LANES..])));
            for (score, values) in block.iter_mut().zip(part) {
                score.store(values);
            }
        }
        let (mut dx, mut dy) = ([0.0; LANES], [0.0; LANES]);
        let [x_mean, y_mean] = softmax_means(scores.0.as_flattened(), job.sharpness);
        store(&mut dx, x_mean);
        store(&mut dy, y_mean);
        for i in 0..LANES.min(width - x) {
            let at = (x + i) * pixel;
            row[at..at + 2].copy_from_slice(&[dx[i], dy[i]]);
        }
    }
}

/// The mean displacements (x, y) of eight pixels under the softmax of `sharpness * scores`, a pixel a lane; of `scores` the
/// first [`DISPLACEMENTS`] count.
///
/// Of each row and of each column there is a sum of its own: one sum of all would wait for itself at every score.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
pub fn softmax_means(scores: &[Lanes], sharpness: f32) -> [__m256; 2] {
    let scores = scores[..DISPLACEMENTS].as_chunks::<SIDE>().0;
    let zero = _mm256_setzero_ps();
    // powers of 2 in place of those of e
    let sharp = _mm256_set1_ps(sharpness * std::f32::consts::LOG2_E);
    let mut tops = [_mm256_set1_ps(f32::NEG_INFINITY); SIDE];
    for row in scores {
        for (top, score) in tops.iter_mut().zip(row) {
            *top = _mm256_max_ps(*top, _mm256_mul_ps(score.load(), sharp));
        }
    }
    let mut top = tops[0];
    for other in &tops[1..] {
        top = _mm256_max_ps(top, *other);
    }
    let (mut rows, mut columns) = ([zero; SIDE], [zero; SIDE]);
    for (row, scores) in rows.iter_mut().zip(scores) {
        for (column, score) in columns.iter_mut().zip(scores) {
            let p = exp2_of_share(_mm256_fmsub_ps(score.load(), sharp, top));
            *row = _mm256_add_ps(*row, p);
            *column = _mm256_add_ps(*column, p);
        }
    }
    let (mut total, mut dx, mut dy) = (zero, zero, zero);
    for (i, (row, column)) in rows.iter().zip(&columns).enumerate() {
        let step = _mm256_set1_ps(i as f32 - RADIUS as f32);
        total = _mm256_add_ps(total, *row);
        dx = _mm256_fmadd_ps(*column, step, dx);
        dy = _mm256_fmadd_ps(*row, step, dy);
    }
    [_mm256_div_ps(dx, total), _mm256_div_ps(dy, total)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_at_half_the_phase() {
        let Axis { left, right } = Axis::new(0.5);
        assert_eq!((left, right), (MIDDLE.left, MIDDLE.right));
    }
}
