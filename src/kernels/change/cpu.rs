//! With AVX2: eight cells at a time.

use std::arch::x86_64::*;

use super::{Pair, SAMPLES, reference};
use crate::kernels::Context;
use crate::kernels::raster::RasterMut;
use crate::kernels::simd::{LANES, load, store};

pub fn run(pair: &Pair, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        let whole = SAMPLES * (y + 1) <= pair.left.height;
        let fast = if whole {
            pair.left.width / (SAMPLES * LANES)
        } else {
            0
        };
        for group in 0..fast {
            // SAFETY: this module runs only where AVX2 was found (`Context` sees to it).
            let means = unsafe { eight(pair, y, group * LANES) };
            for (i, mean) in means.into_iter().enumerate() {
                row[(group * LANES + i) * pixel] = mean;
            }
        }
        for x in fast * LANES..row.len().div_ceil(pixel) {
            row[x * pixel] = reference::one(pair, y, x);
        }
    });
}

/// Mean differences in the cells `x` to `x + 7`, all of whose samples are there.
#[inline]
#[target_feature(enable = "avx2")]
fn eight(pair: &Pair, y: usize, x: usize) -> [f32; LANES] {
    let sign = _mm256_set1_ps(-0.0);
    // two cells in each
    let mut sums = [_mm256_setzero_ps(); SAMPLES];
    for i in 0..SAMPLES {
        let left = &pair.left.row(SAMPLES * y + i)[SAMPLES * x..][..SAMPLES * LANES];
        let right = &pair.right.row(SAMPLES * y + i)[SAMPLES * x..][..SAMPLES * LANES];
        let pairs = left.chunks_exact(LANES).zip(right.chunks_exact(LANES));
        for (sum, (l, r)) in sums.iter_mut().zip(pairs) {
            *sum = _mm256_add_ps(
                *sum,
                _mm256_andnot_ps(sign, _mm256_sub_ps(load(l), load(r))),
            );
        }
    }
    let [a, b, c, d] = sums;
    // even cells in the low half, odd ones in the high half
    let cells = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let cells = _mm256_permutevar8x32_ps(cells, order);
    let share = _mm256_set1_ps(1.0 / (SAMPLES * SAMPLES) as f32);
    let mut means = [0.0; LANES];
    store(&mut means, _mm256_mul_ps(cells, share));
    means
}
