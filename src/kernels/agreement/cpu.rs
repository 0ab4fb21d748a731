//! With AVX2 and FMA: eight samples, two cells, or eight scores at a time.

use std::arch::x86_64::*;

use super::{CONTRAST, Differ, NOISE, RADIUS, SAMPLES, SCORES, SUMMARY, Warp, around, reference};
use crate::kernels::Context;
use crate::kernels::correlation::{Axis, Offsets, softmax_mean};
use crate::kernels::raster::{Raster, RasterMut};
use crate::kernels::resample::between;
use crate::kernels::simd::{LANES, load, store, sum};

/// Cells of a row whose flow fits on the stack.
const TILE: usize = 64;

/// Flow of a stretch of a row, between two rows of cells: `cell[i]` is that of cell
/// `first - 1 + i`, the edge repeated; the rest is what a vector may read beyond.
struct Flow {
    x: [f32; TILE + 2 + LANES],
    y: [f32; TILE + 2 + LANES],
}

pub fn warp(job: &Warp, context: &Context, out: &mut RasterMut) {
    let (height, width) = job.flow.size();
    let samples = SAMPLES * width;
    out.for_each_row(context, |y, row| {
        let y = reference::inside(y, SAMPLES * height);
        let inner = &mut row[RADIUS..RADIUS + samples];
        // SAFETY: this module runs only where AVX2 and FMA were found (`Context` sees to it), and
        // `super::warp` has compared all sizes.
        unsafe { warp_row(job, y, inner) };
        let (first, last) = (row[RADIUS], row[RADIUS + samples - 1]);
        row[..RADIUS].fill(first);
        row[RADIUS + samples..].fill(last);
    });
}

#[target_feature(enable = "avx2,fma")]
fn warp_row(job: &Warp, y: usize, row: &mut [f32]) {
    let mut flow = Flow {
        x: [0.0; TILE + 2 + LANES],
        y: [0.0; TILE + 2 + LANES],
    };
    for (tile, values) in row.chunks_mut(SAMPLES * TILE).enumerate() {
        let first = tile * TILE;
        flow.fill(job, y, first, values.len() / SAMPLES);
        for (group, values) in values.chunks_mut(LANES).enumerate() {
            let x = SAMPLES * first + group * LANES;
            let moved = flow.at(group);
            store(values, fetch(job, x, y, moved));
        }
    }
}

impl Flow {
    /// For the cells `first..first + count`, at sample row `y`; in cells.
    fn fill(&mut self, job: &Warp, y: usize, first: usize, count: usize) {
        let (y0, y1, t) = between(y, SAMPLES, job.flow.height);
        for i in 0..count + 2 {
            let x = (first + i).saturating_sub(1).min(job.flow.width - 1);
            let (above, below) = (job.flow.at(y0, x), job.flow.at(y1, x));
            let mix = |c: usize| above[c] + t * (below[c] - above[c]);
            (self.x[i], self.y[i]) = (mix(0), mix(1));
        }
    }

    /// Of eight samples, in samples: those of the cells `2 group` and `2 group + 1` of the stretch.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn at(&self, group: usize) -> [__m256; 2] {
        let index = _mm256_setr_epi32(0, 0, 1, 1, 1, 1, 2, 2);
        let next = _mm256_add_epi32(index, _mm256_set1_epi32(1));
        let t = _mm256_setr_ps(0.625, 0.875, 0.125, 0.375, 0.625, 0.875, 0.125, 0.375);
        let lerp = |cells: &[f32]| {
            let cells = load(&cells[2 * group..][..LANES]);
            let a = _mm256_permutevar8x32_ps(cells, index);
            let b = _mm256_permutevar8x32_ps(cells, next);
            _mm256_mul_ps(_mm256_set1_ps(SAMPLES as f32), lerp_vectors(a, b, t))
        };
        [lerp(&self.x), lerp(&self.y)]
    }
}

/// Luma at the eight samples from `x` on in row `y`, moved.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn fetch(job: &Warp, x: usize, y: usize, [fx, fy]: [__m256; 2]) -> __m256 {
    let luma = &job.luma;
    let steps = _mm256_setr_ps(0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0);
    let x = _mm256_add_ps(_mm256_set1_ps(x as f32), steps);
    let (x0, x1, tx) = taps(_mm256_add_ps(x, fx), luma.width);
    let (y0, y1, ty) = taps(_mm256_add_ps(_mm256_set1_ps(y as f32), fy), luma.height);
    if let Some(rows) = side_by_side(luma, x0, y0) {
        let [above, below] = rows.map(|row| lerp_vectors(load(row), load(&row[1..]), tx));
        return lerp_vectors(above, below, ty);
    }
    let stride = _mm256_set1_epi32(luma.row as i32);
    let base = luma.row(0).as_ptr();
    let row = |y: __m256i| {
        let start = _mm256_mullo_epi32(y, stride);
        // SAFETY: rows and columns are clamped to the raster, whose offsets fit (`super::warp`).
        let value = |x| unsafe { _mm256_i32gather_ps::<4>(base, _mm256_add_epi32(start, x)) };
        lerp_vectors(value(x0), value(x1), tx)
    };
    lerp_vectors(row(y0), row(y1), ty)
}

/// The two stretches of nine samples that eight places lie in, if they lie side by side in one row, as
/// they mostly do: flow is smooth, and gathers are slow.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn side_by_side<'a>(luma: &Raster<'a>, x0: __m256i, y0: __m256i) -> Option<[&'a [f32]; 2]> {
    let first = |v: __m256i| _mm_cvtsi128_si32(_mm256_castsi256_si128(v)) as usize;
    let (x, y) = (first(x0), first(y0));
    let steps = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let same = _mm256_and_si256(
        _mm256_cmpeq_epi32(x0, _mm256_add_epi32(_mm256_set1_epi32(x as i32), steps)),
        _mm256_cmpeq_epi32(y0, _mm256_set1_epi32(y as i32)),
    );
    if _mm256_movemask_epi8(same) != -1 || x + LANES >= luma.width {
        return None;
    }
    let stretch = |y: usize| &luma.row(y)[x..=x + LANES];
    Some([stretch(y), stretch((y + 1).min(luma.height - 1))])
}

/// With two roundings, as the reference: far away, one less could lead to another sample.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn lerp_vectors(a: __m256, b: __m256, t: __m256) -> __m256 {
    _mm256_add_ps(a, _mm256_mul_ps(t, _mm256_sub_ps(b, a)))
}

/// The neighbours of a position along an axis, clamped to it, and the share of the second.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn taps(at: __m256, size: usize) -> (__m256i, __m256i, __m256) {
    let last = (size - 1) as i32;
    // `max` answers its second operand for what is no number.
    let at = _mm256_max_ps(at, _mm256_setzero_ps());
    let at = _mm256_min_ps(at, _mm256_set1_ps(last as f32));
    let first = _mm256_cvttps_epi32(at);
    let second = _mm256_min_epi32(
        _mm256_add_epi32(first, _mm256_set1_epi32(1)),
        _mm256_set1_epi32(last),
    );
    (first, second, _mm256_sub_ps(at, _mm256_cvtepi32_ps(first)))
}

pub fn differ(job: &Differ, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        // SAFETY: this module runs only where AVX2 and FMA were found (`Context` sees to it).
        unsafe { differ_row(job, y, row, pixel) };
    });
}

/// Displacements whose sums over a cell's columns share two horizontal additions.
const GROUP: usize = 4;

#[target_feature(enable = "avx2,fma")]
fn differ_row(job: &Differ, y: usize, row: &mut [f32], pixel: usize) {
    let width = job.phase.width;
    let phase = |x: usize| job.phase.at(y, x)[0];
    let mut known = phase(0);
    let mut axis = Axis::new(RADIUS, known);
    let mut x = 0;
    while x < width {
        if phase(x).to_bits() != known.to_bits() {
            known = phase(x);
            axis = Axis::new(RADIUS, known);
        }
        let both = x + 1 < width && phase(x + 1).to_bits() == known.to_bits();
        let cells = 1 + usize::from(both);
        for group in 0..SCORES.div_ceil(GROUP) {
            let sums = differences(job, y, x, &axis, group * GROUP);
            let mut values = [0.0; LANES];
            store(&mut values, sums);
            let count = GROUP.min(SCORES - group * GROUP);
            for cell in 0..cells {
                let at = (x + cell) * pixel + group * GROUP;
                row[at..at + count].copy_from_slice(&values[cell * GROUP..][..count]);
            }
        }
        x += cells;
    }
}

/// Mean differences of four displacements from `first` on, in cell `x` (low half) and the next
/// one (high half).
#[inline]
#[target_feature(enable = "avx2,fma")]
fn differences(job: &Differ, y: usize, x: usize, axis: &Axis, first: usize) -> __m256 {
    const SIDE: usize = 2 * RADIUS + 1;
    let sign = _mm256_set1_ps(-0.0);
    let mut sums = [_mm256_setzero_ps(); GROUP];
    let (left, right) = (corner(&job.left, y, x), corner(&job.right, y, x));
    for (d, sums) in (first..SCORES).zip(&mut sums) {
        let (dy, dx) = (d / SIDE, d % SIDE);
        let step = |stride: usize, dy: isize, dx: isize| dy * stride as isize + dx;
        let left = left.wrapping_offset(step(job.left.row, -axis.left[dy], -axis.left[dx]));
        let right = right.wrapping_offset(step(job.right.row, axis.right[dy], axis.right[dx]));
        for i in 0..SAMPLES {
            // SAFETY: a displacement's parts are at most `RADIUS`, the border's width, and beyond the
            // last cell of a row there are `SLACK` floats: all lies inside (`super::differ`).
            let (left, right) = unsafe {
                (
                    _mm256_loadu_ps(left.add(i * job.left.row)),
                    _mm256_loadu_ps(right.add(i * job.right.row)),
                )
            };
            *sums = _mm256_add_ps(*sums, _mm256_andnot_ps(sign, _mm256_sub_ps(left, right)));
        }
    }
    let pairs = [
        _mm256_hadd_ps(sums[0], sums[1]),
        _mm256_hadd_ps(sums[2], sums[3]),
    ];
    let share = _mm256_set1_ps(1.0 / (SAMPLES * SAMPLES) as f32);
    _mm256_mul_ps(_mm256_hadd_ps(pairs[0], pairs[1]), share)
}

/// The first sample of a cell, inside the border.
#[inline]
fn corner(warped: &Raster, y: usize, x: usize) -> *const f32 {
    warped.row(SAMPLES * y + RADIUS)[SAMPLES * x + RADIUS..].as_ptr()
}

pub fn conclude(differences: &Raster, sharpness: f32, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    let offsets = Offsets::new(RADIUS);
    out.for_each_row(context, |y, row| {
        for (x, values) in row.chunks_mut(pixel).enumerate() {
            let (scores, rest) = values.split_at_mut(SCORES);
            // SAFETY: this module runs only where AVX2 and FMA were found (`Context` sees to it).
            unsafe {
                let mean = average(differences, y, x, scores);
                let [dx, dy] = softmax_mean(scores, sharpness, &offsets);
                let per_cell = 1.0 / SAMPLES as f32;
                rest[..SUMMARY].copy_from_slice(&[dx * per_cell, dy * per_cell, CONTRAST * mean]);
            }
        }
    });
}

/// Scores from the means over 3x3 cells; returns their mean.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn average(differences: &Raster, y: usize, x: usize, scores: &mut [f32]) -> f32 {
    const VECTORS: usize = SCORES.div_ceil(LANES);
    let mut sums = [_mm256_setzero_ps(); VECTORS];
    for y in around(y, differences.height) {
        for x in around(x, differences.width) {
            let cell = &differences.at(y, x)[..SCORES];
            for (sum, cell) in sums.iter_mut().zip(cell.chunks(LANES)) {
                *sum = _mm256_add_ps(*sum, load(cell));
            }
        }
    }
    let total = sums
        .iter()
        .fold(_mm256_setzero_ps(), |a, b| _mm256_add_ps(a, *b));
    let mean = sum(total) / (9 * SCORES) as f32;
    let scale = _mm256_set1_ps(1.0 / (9.0 * (mean + NOISE)));
    for (values, sum) in scores.chunks_mut(LANES).zip(sums) {
        store(values, _mm256_fnmadd_ps(sum, scale, _mm256_set1_ps(1.0)));
    }
    mean
}
