//! AVX2 or NEON: sixteen bytes at a time.
//!
//! A 16-bit lane belongs to each byte and says where its sample comes from. Eight bits are computed in these lanes; more
//! in half as many of 32 bits.

use super::{PLACE_BITS, SEGMENT};
use crate::kernels::simd::avx2::*;

mod fetch;
mod lanes;
mod places;
#[cfg(target_arch = "x86_64")]
mod wide;

pub use fetch::{Fetch, lerp, share_of};
pub use lanes::{Pattern, load16};

use lanes::between;

/// What a segment's lanes have from one side: of a sample of one byte values of 16 bits, of larger ones half as
/// many floats.
pub type Values = __m256i;

/// Cells between the rows `above` and `below`, at least `used` of them.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
pub fn between_rows(above: &[i16], below: &[i16], eighths: i16, used: usize, out: &mut [i16]) {
    let share = _mm256_set1_epi16(eighths << 12);
    let above = above.chunks_exact(SEGMENT);
    let below = below.chunks_exact(SEGMENT);
    let out = out[..used.next_multiple_of(SEGMENT)].chunks_exact_mut(SEGMENT);
    for ((a, b), out) in above.zip(below).zip(out) {
        // SAFETY: the chunks have sixteen values.
        unsafe {
            let a = _mm256_loadu_si256(a.as_ptr().cast());
            let b = _mm256_loadu_si256(b.as_ptr().cast());
            _mm256_storeu_si256(out.as_mut_ptr().cast(), between(a, b, share));
        }
    }
}
