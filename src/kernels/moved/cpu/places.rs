//! From flow to places in a plane, along one axis.

use std::ops::Range;

use super::super::cells::{Cells, FLOW_BITS};
use super::PLACE_BITS;
use crate::kernels::simd::avx2::*;

/// Where samples lie along one axis: whole ones, counted from an origin, and 128ths beyond.
pub struct Places {
    pub whole: __m256i,
    pub between: __m256i,
}

/// What turns flow along an axis into places.
pub struct Axis {
    /// Binary digits of a flow behind the point, and those that places have not.
    pub(super) bits: __m128i,
    pub(super) rest: __m128i,
    pub(super) fraction: __m256i,
    /// Samples from a place in the picture to where its flow counts from.
    base: i32,
    /// The last sample.
    last: i32,
    /// How far flow reaches in this tile, in samples.
    pub reach: Range<i32>,
}

/// No flow reaches further than this from where it counts.
const REACH: i32 = 1024;

impl Axis {
    /// For value `i` of the cells, and a plane whose last sample along the axis is number `last`.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    #[inline]
    pub fn new(cells: &Cells, i: usize, last: usize, sub: u32) -> Self {
        let bits = FLOW_BITS + sub;
        let range = cells.range[i];
        Axis {
            bits: _mm_cvtsi32_si128(bits as i32),
            rest: _mm_cvtsi32_si128((bits - PLACE_BITS) as i32),
            fraction: _mm256_set1_epi16((1 << bits) - 1),
            base: cells.base[i] >> sub,
            last: last as i32,
            reach: i32::from(range.0 >> bits)..i32::from(range.1 >> bits) + 1,
        }
    }

    /// What the flows of samples from `at` on count from, brought so near to the picture that its
    /// distances from both ends fit 16 bits where they matter.
    pub fn origin(&self, at: usize) -> i32 {
        (at as i32 + self.base).clamp(-REACH, self.last + REACH)
    }

    /// The first and the last sample, counted from the origin, if flow may lead beyond one of them.
    #[inline]
    pub(super) fn edges(&self, origin: i32, length: i32) -> Option<[i16; 2]> {
        if origin + self.reach.start >= 0 && origin + length + self.reach.end <= self.last {
            return None;
        }
        let (first, last) = ((-origin).max(-REACH), (self.last - origin).min(REACH));
        Some([first as i16, last as i16])
    }

    /// Places of samples that lie `at` beyond the origin, at most `length`, and are moved by `flow`;
    /// inside of the picture.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    #[inline]
    pub fn places(&self, origin: i32, at: __m256i, length: i32, flow: __m256i) -> Places {
        let whole = _mm256_add_epi16(at, _mm256_sra_epi16(flow, self.bits));
        let between = _mm256_srl_epi16(_mm256_and_si256(flow, self.fraction), self.rest);
        let Some([first, last]) = self.edges(origin, length) else {
            return Places { whole, between };
        };
        let (first, last) = (_mm256_set1_epi16(first), _mm256_set1_epi16(last));
        // Beyond the edge there is nothing to lie between.
        let before = _mm256_cmpgt_epi16(first, whole);
        let inside = _mm256_andnot_si256(before, _mm256_cmpgt_epi16(last, whole));
        Places {
            whole: _mm256_min_epi16(_mm256_max_epi16(whole, first), last),
            between: _mm256_and_si256(between, inside),
        }
    }
}
