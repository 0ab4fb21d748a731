//! With AVX2: eight samples, two cells, at a time.

use std::arch::x86_64::*;
use std::ops::Range;

use super::{EDGE, NOISE, RANGE, SAMPLES, reference};
use crate::kernels::Context;
use crate::kernels::change::Pair;
use crate::kernels::raster::RasterMut;
use crate::kernels::simd::{LANES, load};

pub fn run(pair: &Pair, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    let (height, width) = pair.left.size();
    // The next sample has to be there, too, and the row below.
    let groups = (width - 1) / LANES;
    out.for_each_row(context, |cell, row| {
        row.iter_mut().step_by(pixel).for_each(|count| *count = 0.0);
        let rows = SAMPLES * cell..height.min(SAMPLES * (cell + 1));
        let whole = rows.start..rows.end.min(height - 1);
        // SAFETY: this module runs only where AVX2 was found (`Context` sees to it).
        unsafe { count(pair, whole.clone(), groups, row, pixel) };
        for y in rows {
            let first = if whole.contains(&y) {
                groups * LANES
            } else {
                0
            };
            for x in first..width {
                row[x / SAMPLES * pixel] += f32::from(u8::from(reference::is_edge(pair, y, x)));
            }
        }
    });
}

/// Counts the edges in these rows of the first `groups` pairs of cells.
#[target_feature(enable = "avx2")]
fn count(pair: &Pair, rows: Range<usize>, groups: usize, cells: &mut [f32], pixel: usize) {
    let line = |i: usize| {
        let y = (rows.start + i).min(rows.end);
        [&pair.left, &pair.right].map(|p| &p.row(y)[..groups * LANES + 1])
    };
    let lines: [_; SAMPLES + 1] = std::array::from_fn(line);
    for group in 0..groups {
        let x = group * LANES;
        let mut counts = _mm256_setzero_si256();
        let mut here = at(&lines[0], x);
        let mut here_alike = alike(here);
        for y in 0..rows.len() {
            let (next, below) = (at(&lines[y], x + 1), at(&lines[y + 1], x));
            let below_alike = alike(below);
            let across = _mm256_and_ps(changes(here[0], next[0]), alike(next));
            let down = _mm256_and_ps(changes(here[0], below[0]), below_alike);
            let edges = _mm256_and_ps(_mm256_or_ps(across, down), here_alike);
            // All ones are -1.
            counts = _mm256_sub_epi32(counts, _mm256_castps_si256(edges));
            (here, here_alike) = (below, below_alike);
        }
        let sums = _mm256_hadd_epi32(counts, counts);
        let sums = _mm256_cvtepi32_ps(_mm256_hadd_epi32(sums, sums));
        cells[2 * group * pixel] = _mm256_cvtss_f32(sums);
        cells[(2 * group + 1) * pixel] = _mm_cvtss_f32(_mm256_extractf128_ps::<1>(sums));
    }
}

/// Eight samples of both pictures.
#[inline]
#[target_feature(enable = "avx2")]
fn at([left, right]: &[&[f32]; 2], x: usize) -> [__m256; 2] {
    [load(&left[x..]), load(&right[x..])]
}

/// Whether a sample differs from a neighbour so much that it is an edge.
#[inline]
#[target_feature(enable = "avx2")]
fn changes(here: __m256, next: __m256) -> __m256 {
    _mm256_cmp_ps::<_CMP_GT_OQ>(apart(next, here), _mm256_set1_ps(EDGE / RANGE))
}

/// Whether samples are the same in both pictures.
#[inline]
#[target_feature(enable = "avx2")]
fn alike([left, right]: [__m256; 2]) -> __m256 {
    _mm256_cmp_ps::<_CMP_LT_OQ>(apart(left, right), _mm256_set1_ps(NOISE / RANGE))
}

#[inline]
#[target_feature(enable = "avx2")]
fn apart(a: __m256, b: __m256) -> __m256 {
    _mm256_andnot_ps(_mm256_set1_ps(-0.0), _mm256_sub_ps(a, b))
}
