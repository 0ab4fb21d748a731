//! AVX2 or NEON: sixteen bytes of the output at a time, the same bits as the reference.
//!
//! First all that comes from one side, then the other, then the blend: each loop has its constants in registers.

use std::ops::Range;

use super::{Row, SEGMENT, STATIC_FLOW, reference};
use crate::kernels::CpuLevel;
use crate::kernels::moved::cpu::{Fetch, Pattern, lerp, load16, share_of};
use crate::kernels::moved::{Cells, PLACE_BITS, WHOLE};
use crate::kernels::simd::avx2::*;
use crate::picture::Component;

/// Segments that are worked on together.
const SEGMENTS: usize = 32;

/// The samples of a tile; they begin with a segment.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
pub fn samples(level: CpuLevel, row: &Row, cells: &Cells, samples: Range<usize>, out: &mut [u8]) {
    let c = row.group.first();
    match (c.size(), c.step) {
        (1, 1) => tile::<1, 1>(level, row, cells, samples, out),
        (1, 2) => tile::<1, 2>(level, row, cells, samples, out),
        (1, 3) => tile::<1, 3>(level, row, cells, samples, out),
        (1, 4) => tile::<1, 4>(level, row, cells, samples, out),
        (2, 2) => tile::<2, 2>(level, row, cells, samples, out),
        (2, 4) => tile::<2, 4>(level, row, cells, samples, out),
        _ => reference::samples(row, cells, samples, out),
    }
}

/// Codes of eight bits from both sides' values.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
#[inline]
fn blend_eight_bits([left, right]: [__m256i; 2], weight: __m256i) -> __m128i {
    let share = _mm256_adds_epi16(weight, weight);
    let difference = _mm256_sub_epi16(left, right);
    let value = _mm256_add_epi16(right, _mm256_mulhrs_epi16(difference, share));
    // To the nearest, the even one of two.
    let even = _mm256_srai_epi16::<{ PLACE_BITS as i32 }>(value);
    let even = _mm256_and_si256(even, _mm256_set1_epi16(1));
    let half = _mm256_add_epi16(even, _mm256_set1_epi16((1 << (PLACE_BITS - 1)) - 1));
    let code = _mm256_srai_epi16::<{ PLACE_BITS as i32 }>(_mm256_add_epi16(value, half));
    let (low, high) = (
        _mm256_castsi256_si128(code),
        _mm256_extracti128_si256::<1>(code),
    );
    _mm_xor_si128(_mm_packs_epi16(low, high), _mm_set1_epi8(i8::MIN))
}

/// Words of larger codes from both sides' values.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
#[inline]
fn blend_more_bits([left, right]: [__m256; 2], weight: __m256i, c: &Component) -> __m128i {
    let value = lerp(right, left, share_of(weight, 1.0 / f32::from(WHOLE)));
    let code = _mm256_cvtps_epi32(_mm256_mul_ps(value, _mm256_set1_ps(1.0 / 128.0)));
    let code = _mm256_add_epi32(code, _mm256_set1_epi32(1 << 15));
    let code = _mm256_min_epi32(code, _mm256_set1_epi32(c.max() as i32));
    let word = _mm256_sll_epi32(code, _mm_cvtsi32_si128(c.shift as i32));
    _mm_packus_epi32(
        _mm256_castsi256_si128(word),
        _mm256_extracti128_si256::<1>(word),
    )
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn tile<const SIZE: usize, const STEP: usize>(
    level: CpuLevel,
    row: &Row,
    cells: &Cells,
    samples: Range<usize>,
    out: &mut [u8],
) {
    let length = row.group.segment();
    let end = samples.end - samples.len() % length;
    for start in (samples.start..end).step_by(SEGMENTS * length) {
        let samples = start..end.min(start + SEGMENTS * length);
        run::<SIZE, STEP>(level, row, cells, samples, out);
    }
    if end < samples.end {
        reference::segment(row, cells, end..samples.end, out);
    }
}

/// At most [`SEGMENTS`] whole segments.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn run<const SIZE: usize, const STEP: usize>(
    level: CpuLevel,
    row: &Row,
    cells: &Cells,
    samples: Range<usize>,
    out: &mut [u8],
) {
    let length = row.group.segment();
    let (start, segments) = (samples.start, samples.len() / length);
    let bytes = start * STEP..samples.end * STEP;
    let (left, right) = (
        &row.left.row(row.y)[bytes.clone()],
        &row.right.row(row.y)[bytes.clone()],
    );
    let mut still = [false; SEGMENTS];
    find_still::<STEP>((row, cells), start, [left, right], &mut still[..segments]);
    let mut values = [[_mm256_setzero_si256(); SEGMENTS]; 2];
    for (side, plane) in [row.left, row.right].into_iter().enumerate() {
        let fetch = Fetch::<SIZE, STEP> {
            plane,
            last: (row.height - 1, row.width - 1),
            shift: _mm_cvtsi32_si128(row.group.first().shift as i32),
            level,
        };
        let values = &mut values[side][..segments];
        fetch.side((row.y, cells), start, side, &still[..segments], values);
    }

    let pattern = Pattern::of::<STEP>(cells.scale);
    let own = own_bytes(row);
    for (i, out) in out[bytes].chunks_exact_mut(width_of(STEP)).enumerate() {
        if still[i] {
            let left = &left[i * width_of(STEP)..][..width_of(STEP)];
            match own {
                Some(_) => store::<STEP>(load16(left), own, out),
                None => out.copy_from_slice(left),
            }
            continue;
        }
        let weight = pattern.at(&cells.values[4], cells.first(start + i * length));
        let sides = [values[0][i], values[1][i]];
        let made = if SIZE == 1 {
            blend_eight_bits(sides, weight)
        } else {
            let sides = [_mm256_castsi256_ps(sides[0]), _mm256_castsi256_ps(sides[1])];
            blend_more_bits(sides, weight, row.group.first())
        };
        store::<STEP>(made, own, out);
    }
}

/// Bytes of a segment.
const fn width_of(step: usize) -> usize {
    SEGMENT / step.next_power_of_two() * step
}

/// Which segments stand still, from their bytes in both pictures.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn find_still<const STEP: usize>(
    (row, cells): (&Row, &Cells),
    start: usize,
    [left, right]: [&[u8]; 2],
    still: &mut [bool],
) {
    if cells.base != [0; 4] {
        return;
    }
    let length = row.group.segment();
    let pattern = Pattern::of::<STEP>(cells.scale);
    let (left, right) = (
        left.chunks_exact(width_of(STEP)),
        right.chunks_exact(width_of(STEP)),
    );
    for (i, ((left, right), still)) in left.zip(right).zip(still).enumerate() {
        *still = left == right && is_still(pattern, cells, cells.first(start + i * length));
    }
}

/// Whether all flow of a segment is that of what stands still.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
#[inline]
fn is_still(pattern: &Pattern, cells: &Cells, cell: usize) -> bool {
    let size = |i: usize| _mm256_abs_epi16(pattern.at(&cells.values[i], cell));
    let left = _mm256_max_epu16(size(0), size(1));
    let right = _mm256_max_epu16(size(2), size(3));
    let limit = _mm256_set1_epi16(STATIC_FLOW as i16 - 1);
    let largest = _mm256_max_epu16(_mm256_max_epu16(left, right), limit);
    _mm256_movemask_epi8(_mm256_cmpeq_epi16(largest, limit)) == -1
}

/// All ones where a byte of a segment belongs to the group, if not all do.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn own_bytes(row: &Row) -> Option<__m128i> {
    if row.group.whole {
        return None;
    }
    let mut own = [0; SEGMENT];
    for c in &row.group.components {
        for sample in 0..row.group.segment() {
            own[sample * c.step + c.offset..][..c.size()].fill(0xff);
        }
    }
    Some(load16(&own))
}

/// Writes a segment, or only those of its bytes that are the group's `own`.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
#[inline]
fn store<const STEP: usize>(made: __m128i, own: Option<__m128i>, out: &mut [u8]) {
    if STEP == 3 {
        // Without the idle lanes.
        let used = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, -1, -1, -1, -1);
        let mut bytes = [0; SEGMENT];
        // SAFETY: there is room for sixteen bytes.
        unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), _mm_shuffle_epi8(made, used)) };
        out.copy_from_slice(&bytes[..12]);
        return;
    }
    let made = match own {
        Some(own) => _mm_blendv_epi8(load16(out), made, own),
        None => made,
    };
    let out: &mut [u8; SEGMENT] = out.try_into().expect("sixteen bytes");
    // SAFETY: sixteen bytes are there.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), made) };
}
