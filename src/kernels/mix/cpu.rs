//! With AVX2 or NEON, the same bits as the reference: eight samples at a time.

use super::Columns;
use crate::kernels::simd::avx2::*;
use crate::kernels::simd::{LANES, lerp, load};
use crate::picture::Component;

/// Other samples, or other bytes, lie between the codes.
const APART: usize = 0;

/// Moves what it can of the first samples of a row, and says how many.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
pub fn mix(columns: &Columns, cells: &[f32], other: &[u8], row: &mut [u8]) -> usize {
    match (columns.component.size(), columns.component.step) {
        (1, 1) => groups::<1>(columns, cells, other, row),
        (2, 2) => groups::<2>(columns, cells, other, row),
        _ => groups::<APART>(columns, cells, other, row),
    }
}

/// As [`mix`], of codes of so many bytes without gaps between them, or of such that lie [`APART`].
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn groups<const SIZE: usize>(
    columns: &Columns,
    cells: &[f32],
    other: &[u8],
    row: &mut [u8],
) -> usize {
    let c = columns.component;
    let (places, shares) = (&columns.between.0, &columns.between.1);
    // a group's bytes are read to the end, also behind its last sample
    let bytes = row.len().min(other.len()) / (LANES * c.step);
    let groups = (places.len() / LANES).min(bytes);
    for group in 0..groups {
        let (x, at) = (LANES * group, LANES * c.step * group);
        let place = &places[x..x + LANES];
        debug_assert!(
            place
                .iter()
                .all(|cell| *cell >= 0 && (*cell as usize) + 1 < cells.len())
        );
        // SAFETY: eight places, each of a cell that has one behind it.
        let [here, next] = unsafe {
            let place = _mm256_loadu_si256(place.as_ptr().cast());
            [0, 1].map(|i| _mm256_i32gather_epi32::<4>(cells[i..].as_ptr().cast(), place))
        };
        let (here, next) = (_mm256_castsi256_ps(here), _mm256_castsi256_ps(next));
        let share = lerp(here, next, load(&shares[x..]));
        let own = &mut row[at..at + LANES * c.step];
        let codes = fetch::<SIZE>(c, own);
        let other = fetch::<SIZE>(c, &other[at..at + LANES * c.step]);
        let moved = lerp(_mm256_cvtepi32_ps(codes), _mm256_cvtepi32_ps(other), share);
        let moved = _mm256_cvttps_epi32(_mm256_add_ps(moved, _mm256_set1_ps(0.5)));
        put::<SIZE>(c, moved, own);
    }
    LANES * groups
}

/// Eight codes.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn fetch<const SIZE: usize>(c: &Component, bytes: &[u8]) -> __m256i {
    assert!(bytes.len() >= LANES * SIZE);
    match SIZE {
        // SAFETY: eight bytes are there.
        1 => _mm256_cvtepu8_epi32(unsafe { _mm_loadl_epi64(bytes.as_ptr().cast()) }),
        2 => {
            // SAFETY: eight words are there.
            let words = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
            _mm256_cvtepu16_epi32(_mm_srl_epi16(words, _mm_cvtsi32_si128(c.shift as i32)))
        }
        _ => {
            let mut codes = [0; LANES];
            for (x, code) in codes.iter_mut().enumerate() {
                *code = c.load(bytes, x);
            }
            // SAFETY: eight codes are there.
            unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) }
        }
    }
}

/// Writes eight codes.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn put<const SIZE: usize>(c: &Component, codes: __m256i, bytes: &mut [u8]) {
    if SIZE == APART {
        let mut each = [0; LANES];
        // SAFETY: there is room for eight codes.
        unsafe { _mm256_storeu_si256(each.as_mut_ptr().cast(), codes) };
        for (x, code) in each.into_iter().enumerate() {
            c.store(bytes, x, code);
        }
        return;
    }
    let words = _mm256_sll_epi32(codes, _mm_cvtsi32_si128(c.shift as i32));
    let words = _mm256_packus_epi32(words, words);
    // both halves side by side
    let mut packed = _mm256_permute4x64_epi64::<0b1000>(words);
    if SIZE == 1 {
        packed = _mm256_packus_epi16(packed, packed);
    }
    let mut made = [0; LANES * 2];
    // SAFETY: there is room for sixteen bytes.
    unsafe { _mm_storeu_si128(made.as_mut_ptr().cast(), _mm256_castsi256_si128(packed)) };
    bytes[..LANES * SIZE].copy_from_slice(&made[..LANES * SIZE]);
}
