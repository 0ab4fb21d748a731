//! With AVX2 or NEON: thirty-two samples, eight cells, at a time.

use super::{ALIKE, EDGE, SAMPLES, reference};
use crate::kernels::Context;
use crate::kernels::change::Pair;
use crate::kernels::luma::{cells_of_bytes, samples};
use crate::kernels::raster::RasterMut;
use crate::kernels::simd::LANES;
use crate::kernels::simd::avx2::*;

/// Samples of a group of cells, as many as a vector of them has.
const GROUP: usize = SAMPLES * LANES;

pub fn run(pair: &Pair, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    let (height, width) = pair.left.size();
    out.for_each_row(context, |cell, row| {
        // The next sample has to be there, too, and the row below.
        let groups = match SAMPLES * (cell + 1) < height {
            true => (width - 1) / GROUP,
            false => 0,
        };
        for group in 0..groups {
            // SAFETY: this module runs only where its instructions were found (`Context` sees to it).
            let counts = unsafe { count(pair, SAMPLES * cell, group * GROUP) };
            for (i, count) in counts.into_iter().enumerate() {
                row[(group * LANES + i) * pixel] = count;
            }
        }
        for (x, count) in row
            .iter_mut()
            .step_by(pixel)
            .enumerate()
            .skip(groups * LANES)
        {
            *count = reference::in_cell(pair, cell, x);
        }
    });
}

/// Samples of both pictures.
type Both = [__m256i; 2];

/// The edges in the eight cells whose first sample is at (`y`, `x`).
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn count(pair: &Pair, y: usize, x: usize) -> [f32; LANES] {
    let at = |y: usize, x: usize| [samples(&pair.left, y, x), samples(&pair.right, y, x)];
    let mut counts = _mm256_setzero_si256();
    let mut here = at(y, x);
    for y in y..y + SAMPLES {
        let (next, below) = (at(y, x + 1), at(y + 1, x));
        let edge = _mm256_or_si256(edge(here, next), edge(here, below));
        // All ones are -1.
        counts = _mm256_sub_epi8(counts, edge);
        here = below;
    }
    cells_of_bytes(counts)
}

/// Whether neighbours differ from what is here, in both pictures the same way, and one of them is alike in both.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn edge(here: Both, next: Both) -> __m256i {
    let step = _mm256_max_epu8(rise(next, here), rise(here, next));
    let either = _mm256_or_si256(alike(here), alike(next));
    _mm256_andnot_si256(at_most(step, EDGE.step), either)
}

/// How much more `a` is than `b` in both pictures.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn rise(a: Both, b: Both) -> __m256i {
    _mm256_min_epu8(_mm256_subs_epu8(a[0], b[0]), _mm256_subs_epu8(a[1], b[1]))
}

#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn alike([left, right]: Both) -> __m256i {
    let apart = _mm256_or_si256(_mm256_subs_epu8(left, right), _mm256_subs_epu8(right, left));
    at_most(apart, ALIKE - 1)
}

#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn at_most(v: __m256i, most: u8) -> __m256i {
    let over = _mm256_subs_epu8(v, _mm256_set1_epi8(most.cast_signed()));
    _mm256_cmpeq_epi8(over, _mm256_setzero_si256())
}
