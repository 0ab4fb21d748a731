//! With AVX2: eight samples, two cells, at a time.

use std::arch::x86_64::*;

use super::{ALIKE, EDGE, RANGE, SAMPLES, reference};
use crate::kernels::Context;
use crate::kernels::change::Pair;
use crate::kernels::raster::RasterMut;
use crate::kernels::simd::{LANES, load};

pub fn run(pair: &Pair, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |cell, row| {
        row.iter_mut().step_by(pixel).for_each(|count| *count = 0.0);
        for y in SAMPLES * cell..pair.left.height.min(SAMPLES * (cell + 1)) {
            // SAFETY: this module runs only where AVX2 was found (`Context` sees to it).
            unsafe { count(pair, y, row, pixel) };
        }
    });
}

/// Adds the edges of a row of samples to its row of cells.
#[target_feature(enable = "avx2")]
fn count(pair: &Pair, y: usize, cells: &mut [f32], pixel: usize) {
    let width = pair.left.width;
    // the next sample has to be there, too, and the row below
    let whole = if y + 1 < pair.left.height {
        (width - 1) / LANES
    } else {
        0
    };
    let rows = [&pair.left, &pair.right].map(|p| p.row(y));
    for group in 0..whole {
        let x = group * LANES;
        let below = [&pair.left, &pair.right].map(|p| &p.row(y + 1)[x..]);
        let bits = edges([&rows[0][x..], &rows[1][x..]], below);
        cells[2 * group * pixel] += (bits & 15).count_ones() as f32;
        cells[(2 * group + 1) * pixel] += (bits >> SAMPLES).count_ones() as f32;
    }
    for x in whole * LANES..width {
        cells[x / SAMPLES * pixel] += f32::from(u8::from(reference::is_edge(pair, y, x)));
    }
}

/// A bit for each of eight samples.
#[inline]
#[target_feature(enable = "avx2")]
fn edges([left, right]: [&[f32]; 2], below: [&[f32]; 2]) -> u32 {
    let here = [load(left), load(right)];
    let across = changes(here, [load(&left[1..]), load(&right[1..])]);
    let down = changes(here, below.map(|row| load(row)));
    _mm256_movemask_ps(_mm256_or_ps(across, down)) as u32
}

/// Whether neighbours differ from what is here, in both pictures the same way, and one of them is alike in both.
#[inline]
#[target_feature(enable = "avx2")]
fn changes(here: [__m256; 2], next: [__m256; 2]) -> __m256 {
    let [left, right] = [0, 1].map(|side| _mm256_sub_ps(next[side], here[side]));
    let [smaller, product] = [
        _mm256_min_ps(length(left), length(right)),
        _mm256_mul_ps(left, right),
    ];
    let edge = _mm256_cmp_ps::<_CMP_GT_OQ>(smaller, _mm256_set1_ps(EDGE / RANGE));
    let same_way = _mm256_cmp_ps::<_CMP_GT_OQ>(product, _mm256_setzero_ps());
    let either = _mm256_or_ps(alike(here), alike(next));
    _mm256_and_ps(_mm256_and_ps(edge, same_way), either)
}

#[inline]
#[target_feature(enable = "avx2")]
fn alike([left, right]: [__m256; 2]) -> __m256 {
    let apart = length(_mm256_sub_ps(left, right));
    _mm256_cmp_ps::<_CMP_LT_OQ>(apart, _mm256_set1_ps(ALIKE / RANGE))
}

#[inline]
#[target_feature(enable = "avx2")]
fn length(values: __m256) -> __m256 {
    _mm256_andnot_ps(_mm256_set1_ps(-0.0), values)
}
