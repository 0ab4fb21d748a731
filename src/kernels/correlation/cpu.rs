//! Correlation and its softmax with AVX2 and FMA: eight pixels at a time, a pixel a lane.
//!
//! For the correlation, tiles of both sides are turned, channel by channel, so that the pixels of a row lie side by side. A
//! picture is gone through in tiles, down their rows, so that each row is turned once and stays near.

use std::arch::x86_64::*;

use super::{Axis, Correlate, DISPLACEMENTS, Expected, RADIUS, SIDE, reference};
use crate::kernels::Context;
use crate::kernels::raster::{Raster, RasterMut};
use crate::kernels::simd::{LANES, each_lane, exp_negative, load, store, transpose};

/// Vectors that hold all displacements.
const VECTORS: usize = DISPLACEMENTS.div_ceil(LANES);
/// Most vectors of channels.
const MAX_CHANNELS: usize = 4;
/// Pixels of a row that are correlated together, and those that are turned: the radius on each side, in whole vectors.
const TILE: usize = 64;
const TURNED: usize = (TILE + 2 * RADIUS).next_multiple_of(LANES);
/// Rows that a thread takes at a time; it turns those of the radius above and below, too.
const BAND: usize = 16;

/// Whether there is room for the channels.
pub fn can(job: &Correlate) -> bool {
    job.left.channels <= MAX_CHANNELS * LANES
}

pub fn correlate(job: &Correlate, context: &Context, out: &mut RasterMut) {
    out.for_each_band(context, BAND, |first, mut band| match job.left.channels {
        0..=8 => correlate_band::<8>(job, first, &mut band),
        9..=16 => correlate_band::<16>(job, first, &mut band),
        17..=24 => correlate_band::<24>(job, first, &mut band),
        _ => correlate_band::<32>(job, first, &mut band),
    });
}

/// The rows of a band, the first of which is `first`; `C` is the number of channels, in whole vectors.
fn correlate_band<const C: usize>(job: &Correlate, first: usize, band: &mut RasterMut) {
    let (width, pixel) = (band.width, band.pixel);
    let mut tile = Tile::<C>::new(job);
    for x in (0..width).step_by(TILE) {
        tile.begin(x);
        for row in 0..band.height {
            let out = &mut band.row_mut(row)[x * pixel..];
            // SAFETY: this module runs only where AVX2 and FMA were found (`Context` sees to it).
            unsafe {
                tile.turn(first + row);
                tile.correlate(first + row, TILE.min(width - x), pixel, out);
            }
        }
    }
}

/// Rows of both sides, the pixels of each channel side by side, from the radius before the tile on; zeros outside.
struct Tile<'a, const C: usize> {
    job: &'a Correlate<'a>,
    /// The first pixel of the tile.
    first: usize,
    /// Row `y` is at `(y + RADIUS) % SIDE`.
    left: [[[f32; TURNED]; C]; SIDE],
    right: [[[f32; TURNED]; C]; SIDE],
    /// The first row that was not turned yet.
    next: Option<isize>,
}

impl<'a, const C: usize> Tile<'a, C> {
    fn new(job: &'a Correlate<'a>) -> Self {
        Self {
            job,
            first: 0,
            left: [[[0.0; TURNED]; C]; SIDE],
            right: [[[0.0; TURNED]; C]; SIDE],
            next: None,
        }
    }

    /// Goes to the tile that begins with pixel `first`.
    fn begin(&mut self, first: usize) {
        (self.first, self.next) = (first, None);
    }

    fn slot(y: isize) -> usize {
        (y + RADIUS as isize) as usize % SIDE
    }

    /// Sees to it that row `y` and those around it are there.
    #[target_feature(enable = "avx2,fma")]
    fn turn(&mut self, y: usize) {
        let (y, radius) = (y as isize, RADIUS as isize);
        for y in self.next.unwrap_or(y - radius)..=y + radius {
            let slot = Self::slot(y);
            turn_row(&self.job.left, y, self.first, &mut self.left[slot]);
            turn_row(&self.job.right, y, self.first, &mut self.right[slot]);
        }
        self.next = Some(y + radius + 1);
    }

    /// The scores of row `y`.
    #[target_feature(enable = "avx2,fma")]
    fn correlate(&self, y: usize, width: usize, pixel: usize, out: &mut [f32]) {
        let phase = |i: usize| self.job.phase.at(y, self.first + i)[0];
        let axis = Axis::new(phase(0));
        for (group, out) in out.chunks_mut(LANES * pixel).enumerate() {
            let first = group * LANES;
            if first >= width {
                break;
            }
            let pixels = first..width.min(first + LANES);
            if pixels
                .clone()
                .all(|i| phase(i).to_bits() == phase(0).to_bits())
            {
                let scores = self.scores(y, first, &axis);
                for (values, scores) in out.chunks_mut(pixel).zip(scores).take(pixels.len()) {
                    for (values, part) in values[..DISPLACEMENTS].chunks_mut(LANES).zip(scores) {
                        store(values, part);
                    }
                }
            } else {
                for (values, i) in out.chunks_mut(pixel).zip(pixels) {
                    for (d, value) in values[..DISPLACEMENTS].iter_mut().enumerate() {
                        *value = reference::score(self.job, (y, self.first + i), d);
                    }
                }
            }
        }
    }

    /// The scores of the eight pixels from `first` of the tile on.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn scores(&self, y: usize, first: usize, axis: &Axis) -> [[__m256; VECTORS]; LANES] {
        let mut scores = [_mm256_setzero_ps(); VECTORS * LANES];
        for (dy, scores) in scores[..DISPLACEMENTS].chunks_mut(SIDE).enumerate() {
            let left = &self.left[Self::slot(y as isize - axis.left[dy])];
            let right = &self.right[Self::slot(y as isize + axis.right[dy])];
            scores.copy_from_slice(&products(left, right, first + RADIUS, axis));
        }
        let mut pixels = [[_mm256_setzero_ps(); VECTORS]; LANES];
        for (v, block) in scores.as_chunks::<LANES>().0.iter().enumerate() {
            for (pixel, part) in pixels.iter_mut().zip(transpose(block)) {
                pixel[v] = part;
            }
        }
        pixels
    }
}

/// Products of eight pixels of two turned rows, from pixel `at` on, for the displacements along x.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn products<const C: usize>(
    left: &[[f32; TURNED]; C],
    right: &[[f32; TURNED]; C],
    at: usize,
    axis: &Axis,
) -> [__m256; SIDE] {
    debug_assert!(at >= RADIUS && at + RADIUS + LANES <= TURNED);
    // Loops of constant length over sums of their own, so that these stay in registers.
    let mut sums = [_mm256_setzero_ps(); SIDE];
    for (left, right) in left.iter().zip(right) {
        let (left, right) = (
            left.as_ptr().wrapping_add(at),
            right.as_ptr().wrapping_add(at),
        );
        for (dx, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the parts of a displacement are at most the radius, and so far from its ends `at` lies.
            *sum = unsafe {
                let l = _mm256_loadu_ps(left.wrapping_offset(-axis.left[dx]));
                let r = _mm256_loadu_ps(right.wrapping_offset(axis.right[dx]));
                _mm256_fmadd_ps(l, r, *sum)
            };
        }
    }
    sums
}

/// Turns row `y` of a side, from the radius before pixel `first` on.
#[target_feature(enable = "avx2,fma")]
fn turn_row<const C: usize>(side: &Raster, y: isize, first: usize, out: &mut [[f32; TURNED]; C]) {
    let left = first as isize - RADIUS as isize;
    let inside = (0..side.height as isize).contains(&y);
    for group in (0..TURNED).step_by(LANES) {
        let x = left + group as isize;
        if inside && side.channels == C && x >= 0 && x as usize + LANES <= side.width {
            turn_inside(
                side.at(y as usize, x as usize).as_ptr(),
                side.pixel,
                group,
                out,
            );
            continue;
        }
        let pixels = each_lane!(i => side.get(y, x + i as isize).unwrap_or_default());
        for (v, channels) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let part = each_lane!(i => load(pixels[i].get(v * LANES..).unwrap_or_default()));
            for (channel, turned) in channels.iter_mut().zip(transpose(&part)) {
                store(&mut channel[group..group + LANES], turned);
            }
        }
    }
}

/// The same for eight pixels inside, `C` channels each, `pixel` floats apart.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn turn_inside<const C: usize>(
    from: *const f32,
    pixel: usize,
    group: usize,
    out: &mut [[f32; TURNED]; C],
) {
    for (v, channels) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let from = from.wrapping_add(v * LANES);
        // SAFETY: the pixels and their channels are inside (`turn_row`).
        let part = each_lane!(i => unsafe { _mm256_loadu_ps(from.wrapping_add(i * pixel)) });
        for (channel, turned) in channels.iter_mut().zip(transpose(&part)) {
            store(&mut channel[group..group + LANES], turned);
        }
    }
}

pub fn expected(job: &Expected, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        // SAFETY: this module runs only where AVX2 and FMA were found (`Context` sees to it).
        unsafe { expected_row(job, y, row, pixel) };
    });
}

/// Displacements of a row, of eight pixels at a time; beyond the last pixel it is repeated.
#[target_feature(enable = "avx2,fma")]
fn expected_row(job: &Expected, y: usize, row: &mut [f32], pixel: usize) {
    let width = job.scores.width;
    for x in (0..width).step_by(LANES) {
        let pixels = each_lane!(i => job.scores.at(y, (x + i).min(width - 1)));
        let mut scores = [_mm256_setzero_ps(); VECTORS * LANES];
        for (block, scores) in scores.chunks_exact_mut(LANES).enumerate() {
            let part = each_lane!(i => load(&pixels[i][block * LANES..]));
            scores.copy_from_slice(&transpose(&part));
        }
        let (mut dx, mut dy) = ([0.0; LANES], [0.0; LANES]);
        let [x_mean, y_mean] = softmax_means(&scores[..DISPLACEMENTS], job.sharpness);
        store(&mut dx, x_mean);
        store(&mut dy, y_mean);
        for i in 0..LANES.min(width - x) {
            let at = (x + i) * pixel;
            row[at..at + 2].copy_from_slice(&[dx[i], dy[i]]);
        }
    }
}

/// The mean displacements (x, y) of eight pixels under the softmax of `sharpness * scores`, a pixel a lane.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn softmax_means(scores: &[__m256], sharpness: f32) -> [__m256; 2] {
    let sharp = _mm256_set1_ps(sharpness);
    let mut top = _mm256_set1_ps(f32::NEG_INFINITY);
    for score in scores {
        top = _mm256_max_ps(top, _mm256_mul_ps(*score, sharp));
    }
    let zero = _mm256_setzero_ps();
    let (mut total, mut dx, mut dy) = (zero, zero, zero);
    let step = |i: usize| _mm256_set1_ps(i as f32 - RADIUS as f32);
    for (i, scores) in scores.chunks_exact(SIDE).enumerate() {
        let mut row = zero;
        for (j, score) in scores.iter().enumerate() {
            let p = exp_negative(_mm256_sub_ps(_mm256_mul_ps(*score, sharp), top));
            row = _mm256_add_ps(row, p);
            dx = _mm256_fmadd_ps(p, step(j), dx);
        }
        total = _mm256_add_ps(total, row);
        dy = _mm256_fmadd_ps(row, step(i), dy);
    }
    [_mm256_div_ps(dx, total), _mm256_div_ps(dy, total)]
}
