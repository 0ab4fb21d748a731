//! Resampling with AVX2 and FMA, or NEON: eight channels at a time.

use super::{four, reference, weighted};
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

/// As [`reference::half_smooth`], without gaps between pixels.
pub fn half_smooth(input: Raster, context: &Context, out: &mut RasterMut) {
    // a row of means down the columns, one more before it, and what vectors read behind it
    let room = 2 * out.width.next_multiple_of(LANES) + 2 * LANES;
    out.for_each_band_with(
        context,
        1,
        || vec![0.0; room],
        |means, y, mut band| {
            let rows = four(y, input.height).map(|y| input.row(y));
            // SAFETY: this module runs only where its instructions were found (`Context` sees to it).
            unsafe { half_smooth_row(&rows, means, band.row_mut(0)) };
        },
    );
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn half_smooth_row(rows: &[&[f32]; 4], means: &mut [f32], out: &mut [f32]) {
    let [a, b, c, d] = rows;
    let width = a.len();
    let columns = a.iter().zip(*b).zip(c.iter().zip(*d));
    for (mean, ((a, b), (c, d))) in means[1..].iter_mut().zip(columns) {
        *mean = weighted(*a, *b, *c, *d);
    }
    means[0] = means[1];
    let last = means[width];
    means[width + 1..width + 3].fill(last);
    let (near, far) = (_mm256_set1_ps(0.375), _mm256_set1_ps(0.125));
    for (group, out) in out.chunks_mut(LANES).enumerate() {
        let means = &means[2 * group * LANES..][..2 * LANES + 2];
        let [before, first] = halves(means);
        let [second, after] = halves(&means[2..]);
        let near = _mm256_mul_ps(near, _mm256_add_ps(first, second));
        let far = _mm256_mul_ps(far, _mm256_add_ps(before, after));
        store(out, _mm256_add_ps(far, near));
    }
}

/// The even and the odd ones of the first sixteen values, which are there.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn halves(values: &[f32]) -> [__m256; 2] {
    let values = &values[..2 * LANES];
    // SAFETY: four floats from the twelfth on, the last that is asked for, are there.
    let four = |i: usize| unsafe { _mm_loadu_ps(values.as_ptr().add(i)) };
    let both = |i: usize| _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(four(i)), four(i + 8));
    let (a, b) = (both(0), both(4));
    [
        _mm256_shuffle_ps::<0x88>(a, b),
        _mm256_shuffle_ps::<0xdd>(a, b),
    ]
}

/// As [`reference::mean`] of four channels, without gaps in what it fills.
pub fn mean_of_four(input: Raster, context: &Context, out: &mut RasterMut) {
    out.for_each_row(context, |y, row| {
        // SAFETY: this module runs only where its instructions were found (`Context` sees to it).
        let made = unsafe { means_of_four(&input, y, row) };
        for (x, value) in row.iter_mut().enumerate().skip(made) {
            *value = reference::mean_of(input.at(y, x));
        }
    });
}

/// Fills the means of a row as far as whole groups of eight go; returns how many.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn means_of_four(input: &Raster, y: usize, row: &mut [f32]) -> usize {
    let (groups, _) = row.as_chunks_mut::<LANES>();
    let count = LANES * groups.len();
    let share = _mm256_set1_ps(0.25);
    for (group, means) in groups.iter_mut().enumerate() {
        let pixels = &input.row(y)[group * LANES * input.pixel..][..7 * input.pixel + 4];
        // SAFETY: there are eight pixels of four floats.
        let pixel = |i: usize| unsafe { _mm_loadu_ps(pixels.as_ptr().add(i * input.pixel)) };
        let both =
            |i: usize| _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(pixel(i)), pixel(i + 4));
        let (p, q, r, s) = (both(0), both(1), both(2), both(3));
        let low = [
            _mm256_shuffle_ps::<0x44>(p, q),
            _mm256_shuffle_ps::<0x44>(r, s),
        ];
        let high = [
            _mm256_shuffle_ps::<0xee>(p, q),
            _mm256_shuffle_ps::<0xee>(r, s),
        ];
        let channels = [
            _mm256_shuffle_ps::<0x88>(low[0], low[1]),
            _mm256_shuffle_ps::<0xdd>(low[0], low[1]),
            _mm256_shuffle_ps::<0x88>(high[0], high[1]),
            _mm256_shuffle_ps::<0xdd>(high[0], high[1]),
        ];
        let mut sum = channels[0];
        for channel in &channels[1..] {
            sum = _mm256_add_ps(sum, *channel);
        }
        store(means, _mm256_mul_ps(sum, share));
    }
    count
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
