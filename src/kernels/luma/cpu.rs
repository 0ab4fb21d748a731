//! With AVX2 or NEON: sixteen samples at a time.

use std::ops::Range;

use super::{BORDER, MAX, SAMPLES, Sides, mean_of_cell, reference};
use crate::kernels::moved::cpu::Fetch;
use crate::kernels::moved::{Cells, SEGMENT};
use crate::kernels::raster::{Raster, RasterMut};
use crate::kernels::simd::avx2::*;
use crate::kernels::simd::{LANES, store};
use crate::kernels::{Context, CpuLevel};
use crate::picture::Plane;

/// Samples that are spread, or compared, at a time.
const GROUP: usize = 16;

pub fn spread(luma: &Raster, context: &Context, out: &mut RasterMut<u8>) {
    out.for_each_band(context, 2, |y, mut band| {
        // SAFETY: this module runs only where its instructions were found (`Context` sees to it).
        let made = unsafe { spread_rows(luma, y / 2, &mut band) };
        for half in 0..2 {
            let rest = band.row_mut(half).iter_mut().enumerate().skip(made);
            for (x, value) in rest {
                *value = reference::code(luma.at(y / 2, x / 2)[2 * half + x % 2]);
            }
        }
    });
}

/// Fills the samples of the two rows of row `y` of the pixels, as far as whole groups of sixteen go; returns how many a row.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn spread_rows(luma: &Raster, y: usize, band: &mut RasterMut<u8>) -> usize {
    let count = band.width - band.width % GROUP;
    for x in (0..count).step_by(GROUP) {
        let pixels = &luma.row(y)[x / 2 * luma.pixel..][..7 * luma.pixel + 4];
        // SAFETY: there are eight pixels of four floats.
        let pixel = |i: usize| unsafe { _mm_loadu_ps(pixels.as_ptr().add(i * luma.pixel)) };
        // and, in the upper half, the one four further on
        let both =
            |i: usize| _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(pixel(i)), pixel(i + 4));
        let (a, b, c, d) = (both(0), both(1), both(2), both(3));
        let upper = [
            _mm256_shuffle_ps::<0x44>(a, b),
            _mm256_shuffle_ps::<0x44>(c, d),
        ];
        let lower = [
            _mm256_shuffle_ps::<0xee>(a, b),
            _mm256_shuffle_ps::<0xee>(c, d),
        ];
        for (half, [first, second]) in [upper, lower].into_iter().enumerate() {
            let words = _mm256_packs_epi32(codes(first), codes(second));
            let bytes = _mm256_packus_epi16(words, words);
            let bytes = _mm256_permute4x64_epi64::<0b1000>(bytes);
            let values = &mut band.row_mut(half)[x..x + GROUP];
            // SAFETY: there is room for sixteen bytes.
            unsafe {
                _mm_storeu_si128(values.as_mut_ptr().cast(), _mm256_castsi256_si128(bytes));
            }
        }
    }
    count
}

/// As [`reference::code`], with two roundings as that.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn codes(luma: __m256) -> __m256i {
    let (scale, start) = (_mm256_set1_ps(MAX), _mm256_set1_ps(0.5 * MAX + 0.5));
    let code = _mm256_add_ps(_mm256_mul_ps(luma, scale), start);
    let code = _mm256_max_ps(code, _mm256_setzero_ps());
    _mm256_cvttps_epi32(_mm256_min_ps(code, scale))
}

/// As [`reference::halve_row`] without gaps.
pub fn halve_row([upper, lower]: [&[u8]; 2], row: &mut [u8]) {
    let (groups, rest) = row.as_chunks_mut::<GROUP>();
    let made = 2 * GROUP * groups.len();
    for (i, values) in groups.iter_mut().enumerate() {
        let rows = [upper, lower].map(|row| &row[2 * GROUP * i..][..2 * GROUP]);
        // SAFETY: this module runs only where its instructions were found (`Context` sees to it).
        unsafe { halve_group(rows, values) };
    }
    reference::halve_row([&upper[made..], &lower[made..]], 1, rest, 1);
}

/// Of thirty-two samples of each row.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn halve_group([upper, lower]: [&[u8]; 2], values: &mut [u8; GROUP]) {
    let pairs = |row: &[u8]| {
        let row = &row[..2 * GROUP];
        // SAFETY: there are thirty-two bytes.
        let bytes = unsafe { _mm256_loadu_si256(row.as_ptr().cast()) };
        _mm256_maddubs_epi16(bytes, _mm256_set1_epi8(1))
    };
    let sums = _mm256_add_epi16(pairs(upper), pairs(lower));
    let means = _mm256_srai_epi16::<2>(_mm256_add_epi16(sums, _mm256_set1_epi16(2)));
    let bytes = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi16(means, means));
    // SAFETY: there is room for sixteen bytes.
    unsafe { _mm_storeu_si128(values.as_mut_ptr().cast(), _mm256_castsi256_si128(bytes)) };
}

/// Segments that are moved together.
const SEGMENTS: usize = 32;

/// As [`reference::samples`]; luma has no gaps between its samples.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
pub fn samples_moved(
    level: CpuLevel,
    luma: &Raster<u8>,
    (y, cells): (usize, &Cells),
    side: usize,
    samples: &Range<usize>,
    row: &mut [i16],
) {
    let fetch = Fetch::<1, 1> {
        plane: Plane {
            data: luma.data(),
            stride: luma.row,
        },
        last: (luma.height - 1, luma.width - 1),
        shift: _mm_setzero_si128(),
        level,
    };
    let end = samples.end - samples.len() % SEGMENT;
    for start in (samples.start..end).step_by(SEGMENTS * SEGMENT) {
        let end = end.min(start + SEGMENTS * SEGMENT);
        let (row, _) = row[start..end].as_chunks_mut::<SEGMENT>();
        let mut values = [_mm256_setzero_si256(); SEGMENTS];
        let values = &mut values[..row.len()];
        fetch.side((y, cells), start, side, &[false; SEGMENTS], values);
        for (value, samples) in values.iter().zip(row) {
            // seven bits below the code become four
            let value = _mm256_add_epi16(*value, _mm256_set1_epi16(4));
            // SAFETY: there is room for sixteen values.
            unsafe {
                _mm256_storeu_si256(samples.as_mut_ptr().cast(), _mm256_srai_epi16::<3>(value));
            }
        }
    }
    reference::samples(luma, (y, cells), side, end..samples.end, row);
}

/// Cells that are compared at a time.
pub const CELLS: usize = 16;

pub fn differences(sides: &Sides, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        let width = row.len().div_ceil(pixel);
        for x in (0..width).step_by(CELLS) {
            let mut sums = [0u16; CELLS];
            // SAFETY: this module runs only where its instructions were found (`Context` sees to it); beyond the last cell of a
            // row there is slack for a group.
            unsafe { compare(sides, (y, x), [0; 2], [0; 2], &mut sums) };
            for (i, sum) in sums.into_iter().enumerate().take(width - x) {
                row[(x + i) * pixel] = mean_of_cell(sum.into());
            }
        }
    });
}

/// [`reference::difference`] of the sixteen cells from (`y`, `x`) on; what lies beyond the last cell of a row is compared, too.
///
/// # Safety
/// The instructions are there; (`y`, `x`) is a cell of both sides, and they are moved by at most [`BORDER`].
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
pub unsafe fn compare(
    sides: &Sides,
    (y, x): (usize, usize),
    left: [isize; 2],
    right: [isize; 2],
    sums: &mut [u16; CELLS],
) {
    let first = |side: &Raster<'_, i16>, [dy, dx]: [isize; 2]| {
        let row = (SAMPLES * y + BORDER).wrapping_add_signed(dy);
        let column = (SAMPLES * x + BORDER).wrapping_add_signed(dx);
        side.data().as_ptr().wrapping_add(row * side.row + column)
    };
    let (l, r) = (first(&sides.left, left), first(&sides.right, right));
    let mut columns = [_mm256_setzero_si256(); SAMPLES];
    for i in 0..SAMPLES {
        for (v, columns) in columns.iter_mut().enumerate() {
            // SAFETY: rows and columns move into the border at most, and sixty samples beyond a cell lie in the slack.
            let (l, r) = unsafe {
                (
                    _mm256_loadu_si256(l.add(i * sides.left.row + v * GROUP).cast()),
                    _mm256_loadu_si256(r.add(i * sides.right.row + v * GROUP).cast()),
                )
            };
            *columns = _mm256_add_epi16(*columns, _mm256_abs_epi16(_mm256_sub_epi16(l, r)));
        }
    }
    let [a, b, c, d] = columns;
    // Four cells of each lie in pairs, the first of all four in the lower half.
    let cells = _mm256_hadd_epi16(_mm256_hadd_epi16(a, b), _mm256_hadd_epi16(c, d));
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    // SAFETY: there is room for sixteen sums.
    unsafe {
        let cells = _mm256_permutevar8x32_epi32(cells, order);
        _mm256_storeu_si256(sums.as_mut_ptr().cast(), cells);
    }
}

/// The thirty-two samples of row `y` from column `x` on, which must be inside.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
pub fn samples(luma: &Raster<'_, u8>, y: usize, x: usize) -> __m256i {
    let samples = &luma.row(y)[x..x + 32];
    // SAFETY: there are thirty-two bytes.
    unsafe { _mm256_loadu_si256(samples.as_ptr().cast()) }
}

/// Sums of the bytes of eight cells' rows, four a cell, each at most 127.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
pub fn cells_of_bytes(bytes: __m256i) -> [f32; LANES] {
    cells_of_words(_mm256_maddubs_epi16(bytes, _mm256_set1_epi8(1)))
}

/// Sums of the words of eight cells' rows, two a cell, each below 32,768.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
pub fn cells_of_words(words: __m256i) -> [f32; LANES] {
    let sums = _mm256_madd_epi16(words, _mm256_set1_epi16(1));
    let mut cells = [0.0; LANES];
    store(&mut cells, _mm256_cvtepi32_ps(sums));
    cells
}
