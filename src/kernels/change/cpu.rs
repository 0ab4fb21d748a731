//! With AVX2 or NEON: eight cells at a time.

use super::{Pair, SAMPLES, mean, reference};
use crate::kernels::Context;
use crate::kernels::luma::{cells_of_words, samples};
use crate::kernels::raster::RasterMut;
use crate::kernels::simd::LANES;
use crate::kernels::simd::avx2::*;

/// Samples of a group of cells.
const GROUP: usize = SAMPLES * LANES;

pub fn run(pair: &Pair, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        let whole = SAMPLES * (y + 1) <= pair.left.height;
        let groups = if whole { pair.left.width / GROUP } else { 0 };
        for group in 0..groups {
            // SAFETY: this module runs only where its instructions were found (`Context` sees to it).
            let sums = unsafe { eight(pair, SAMPLES * y, group * GROUP) };
            for (i, sum) in sums.into_iter().enumerate() {
                row[(group * LANES + i) * pixel] = mean(sum as u32, SAMPLES * SAMPLES);
            }
        }
        for (x, value) in row
            .iter_mut()
            .step_by(pixel)
            .enumerate()
            .skip(groups * LANES)
        {
            *value = reference::one(pair, y, x);
        }
    });
}

/// Sums of the differences in the eight cells whose first sample is at (`y`, `x`).
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn eight(pair: &Pair, y: usize, x: usize) -> [f32; LANES] {
    // two samples in each
    let mut sums = _mm256_setzero_si256();
    for y in y..y + SAMPLES {
        let (left, right) = (samples(&pair.left, y, x), samples(&pair.right, y, x));
        let apart = _mm256_or_si256(_mm256_subs_epu8(left, right), _mm256_subs_epu8(right, left));
        sums = _mm256_add_epi16(sums, _mm256_maddubs_epi16(apart, _mm256_set1_epi8(1)));
    }
    cells_of_words(sums)
}
