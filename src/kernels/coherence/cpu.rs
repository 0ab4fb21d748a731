//! With AVX2 or NEON: what is inside of a row, the same bits as the reference.

use std::array::from_fn;
use std::ops::Range;

use super::reference::around;
use super::{APART, HALF, MEASURED, NINTH, Row, STILL};
use crate::kernels::luma::{cells_of_words, samples};
use crate::kernels::raster::Raster;
use crate::kernels::simd::avx2::*;
use crate::kernels::simd::{LANES, each_lane, lerp, load, store};

/// Height and width of a cell whose texture is told here, samples.
pub const CELL: (usize, usize) = (8, 8);
/// Values of a cell of the motion found.
const MOTION: usize = 4;
/// Two cells are a vector, four of which are made at a time.
const PAIRS: usize = LANES / 2;

/// Fills what it can of row `y` of the small regions, and says which columns those are.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
pub fn regions(found: &Raster, y: usize, row: &mut Row) -> Range<usize> {
    let width = found.width;
    if found.pixel != MOTION || width < 4 {
        return 0..0;
    }
    let rows = around(y, 1, found.height).map(|y| found.row(y));
    let ninth = _mm256_set1_ps(NINTH);
    let end = width - 1 - width % 2;
    for x in (1..end).step_by(2) {
        let (mut sums, mut squares) = (_mm256_setzero_ps(), _mm256_setzero_ps());
        for row in rows {
            for x in [x - 1, x, x + 1] {
                let motion = load(&row[MOTION * x..]);
                sums = _mm256_add_ps(sums, motion);
                squares = _mm256_add_ps(squares, _mm256_mul_ps(motion, motion));
            }
        }
        let (sums, squares) = (_mm256_mul_ps(ninth, sums), _mm256_mul_ps(ninth, squares));
        store(row.cell(x), _mm256_permute2f128_ps::<0x20>(sums, squares));
        store(
            row.cell(x + 1),
            _mm256_permute2f128_ps::<0x31>(sums, squares),
        );
    }
    1..end
}

/// Fills what it can of row `y` of what is measured, and says which columns those are.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
pub fn cells((found, regions): (&Raster, &Raster), y: usize, row: &mut Row) -> Range<usize> {
    let width = found.width;
    if found.pixel != MOTION || width < LANES + 2 * APART {
        return 0..0;
    }
    let inside = APART..width - APART;
    for x in inside.clone().step_by(LANES) {
        // the last eight overlap those before
        let x = x.min(inside.end - LANES);
        let (whirling, own) = (whirling(found, (y, x)), own(found, (y, x)));
        let returning = lengths(&returning(found, (y, x), &own));
        let spreading = spreading(regions, (y, x));
        let e = _mm256_add_ps(_mm256_add_ps(returning, whirling), spreading);
        let of = _mm256_div_ps(e, _mm256_add_ps(e, _mm256_set1_ps(HALF)));
        // what is no number is not less than 1
        let incoherence = _mm256_min_ps(of, _mm256_set1_ps(1.0));
        let (mut first, mut second) = ([0.0; LANES], [0.0; LANES]);
        store(&mut first, incoherence);
        store(&mut second, lengths(&own));
        for i in 0..LANES {
            let values: [f32; MEASURED] = [first[i], second[i]];
            row.cell(x + i).copy_from_slice(&values);
        }
    }
    inside
}

/// The motion of eight cells.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn own(found: &Raster, (y, x): (usize, usize)) -> [__m256; PAIRS] {
    let row = &found.row(y)[MOTION * x..][..MOTION * LANES];
    let [a, b, c, d] = from_fn(|i| &row[LANES * i..]);
    [load(a), load(b), load(c), load(d)]
}

/// Eight cells' values in order, where they are those of cells 0, 2, 4, 6, 1, 3, 5, 7.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn ordered(values: __m256) -> __m256 {
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(
        _mm256_castps_si256(values),
        order,
    ))
}

/// Lengths of eight cells' vectors, mean of both ways.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn lengths(vectors: &[__m256; PAIRS]) -> __m256 {
    let [a, b, c, d] = *vectors;
    let squares = |v: __m256| _mm256_mul_ps(v, v);
    let both = |a: __m256, b: __m256| _mm256_sqrt_ps(_mm256_hadd_ps(squares(a), squares(b)));
    let sums = _mm256_hadd_ps(both(a, b), both(c, d));
    _mm256_mul_ps(_mm256_set1_ps(0.5), ordered(sums))
}

/// Of eight cells, how far from its start the motion there and back ends: x, y of both ways.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn returning(found: &Raster, (y, x): (usize, usize), own: &[__m256; PAIRS]) -> [__m256; PAIRS] {
    let pair = |i: usize| {
        let (x, y) = ((x + 2 * i) as f32, y as f32);
        let from = _mm256_setr_ps(x, y, x, y, x + 1.0, y, x + 1.0, y);
        let back = back(found, _mm256_add_ps(from, own[i]));
        _mm256_add_ps(own[i], back)
    };
    [pair(0), pair(1), pair(2), pair(3)]
}

/// The motion back from where two cells' motion leads to: from right to left at the first place of each, from left to right at
/// the second.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn back(found: &Raster, places: __m256) -> __m256 {
    let (x, y) = ((found.width - 1) as f32, (found.height - 1) as f32);
    // what is no number counts as 0, as in the reference
    let places = _mm256_max_ps(places, _mm256_setzero_ps());
    let places = _mm256_min_ps(places, _mm256_setr_ps(x, y, x, y, x, y, x, y));
    let whole = _mm256_cvttps_epi32(places);
    let share = _mm256_sub_ps(places, _mm256_cvtepi32_ps(whole));
    let mut near = [0i32; LANES];
    // SAFETY: there is room for eight words.
    unsafe { _mm256_storeu_si256(near.as_mut_ptr().cast(), whole) };
    // of both cells and ways, the four cells around the place
    let four = |way: usize| {
        let (x, y) = (near[2 * way] as usize, near[2 * way + 1] as usize);
        let rows = [y, (y + 1).min(found.height - 1)].map(|y| found.row(y));
        let columns = [x, (x + 1).min(found.width - 1)];
        // the other way's
        let first = 2 - 2 * (way % 2);
        rows.map(|row| columns.map(|x| &row[MOTION * x + first..][..2]))
    };
    let around = [four(0), four(1), four(2), four(3)];
    let side = |row: usize, column: usize| {
        // SAFETY: there are two floats.
        let two = |way: usize| unsafe {
            let values: &[f32] = around[way][row][column];
            _mm_castpd_ps(_mm_load_sd(values.as_ptr().cast()))
        };
        let (low, high) = (_mm_movelh_ps(two(0), two(1)), _mm_movelh_ps(two(2), two(3)));
        _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(low), high)
    };
    let across = _mm256_shuffle_ps::<0b10_10_00_00>(share, share);
    let down = _mm256_shuffle_ps::<0b11_11_01_01>(share, share);
    let above = lerp(side(0, 0), side(0, 1), across);
    lerp(above, lerp(side(1, 0), side(1, 1), across), down)
}

/// Of eight cells, the root of the energy of divergence and curl.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn whirling(found: &Raster, (y, x): (usize, usize)) -> __m256 {
    let [above, _, below] = around(y, 1, found.height);
    let slopes = |(y, x): (usize, usize), (b, a): (usize, usize)| {
        let (from, to) = (own(found, (y, x)), own(found, (b, a)));
        let half = _mm256_set1_ps(0.5);
        let slope = |i: usize| _mm256_mul_ps(half, _mm256_sub_ps(to[i], from[i]));
        [slope(0), slope(1), slope(2), slope(3)]
    };
    let along_x = slopes((y, x - 1), (y, x + 1));
    let along_y = slopes((above, x), (below, x));
    let sign = _mm256_setr_ps(1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0);
    let squares = |i: usize| {
        // y and x of the slope downwards
        let turned = _mm256_shuffle_ps::<0b10_11_00_01>(along_y[i], along_y[i]);
        let both = _mm256_add_ps(along_x[i], _mm256_mul_ps(sign, turned));
        _mm256_mul_ps(both, both)
    };
    let sums = |i: usize| _mm256_hadd_ps(squares(i), squares(i + 1));
    let energy = _mm256_hadd_ps(sums(0), sums(2));
    _mm256_sqrt_ps(_mm256_mul_ps(_mm256_set1_ps(0.5), ordered(energy)))
}

/// Of eight cells, the spread of motion among 3x3 cells, times the ratio to that among 9x9.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn spreading(regions: &Raster, (y, x): (usize, usize)) -> __m256 {
    let rows = around(y, APART, regions.height);
    let ninth = _mm256_set1_ps(NINTH);
    // of the large region and, in the upper half, of the small one
    let variances = |i: usize| {
        let mut sums = _mm256_setzero_ps();
        for y in rows {
            for x in [x + i - APART, x + i, x + i + APART] {
                sums = _mm256_add_ps(sums, load(regions.at(y, x)));
            }
        }
        let (large, small) = (_mm256_mul_ps(ninth, sums), load(regions.at(y, x + i)));
        let means = _mm256_permute2f128_ps::<0x20>(large, small);
        let of_squares = _mm256_permute2f128_ps::<0x31>(large, small);
        _mm256_sub_ps(of_squares, _mm256_mul_ps(means, means))
    };
    let [a, b, c, d, e, f, g, h] = each_lane!(i => variances(i));
    let first = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    let last = _mm256_hadd_ps(_mm256_hadd_ps(e, f), _mm256_hadd_ps(g, h));
    let half = |sums: __m256| {
        let half = _mm256_mul_ps(_mm256_set1_ps(0.5), sums);
        _mm256_max_ps(half, _mm256_setzero_ps())
    };
    let large = half(_mm256_permute2f128_ps::<0x20>(first, last));
    let small = half(_mm256_permute2f128_ps::<0x31>(first, last));
    let still = _mm256_set1_ps(STILL);
    let raised = _mm256_mul_ps(small, _mm256_add_ps(small, still));
    _mm256_sqrt_ps(_mm256_div_ps(raised, _mm256_add_ps(large, still)))
}

/// Fills what it can of row `y` of the texture of two pictures, in cells of [`CELL`], and says which columns those are.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
pub fn texture(luma: [&Raster<u8>; 2], y: usize, row: &mut Row) -> Range<usize> {
    /// Samples of a vector.
    const SAMPLES: usize = 32;
    const CELLS: usize = SAMPLES / CELL.1;
    let (height, width) = luma[0].size();
    let top = y * CELL.0;
    if luma.iter().any(|luma| luma.pixel != 1) || top + CELL.0 > height {
        return 0..0;
    }
    // the sample after the last one is looked at
    let groups = width.saturating_sub(1) / SAMPLES;
    for group in 0..groups {
        let x = SAMPLES * group;
        let [left, right] = [rough(luma[0], top, x), rough(luma[1], top, x)];
        for i in 0..CELLS {
            let mean =
                |sums: &[f32; LANES]| (sums[2 * i] + sums[2 * i + 1]) / (CELL.0 * CELL.1) as f32;
            row.cell(CELLS * group + i)[0] = 0.5 * (mean(&left) + mean(&right));
        }
    }
    0..CELLS * groups
}

/// Sums of what luma changes to the right and downwards in the cells from (`y`, `x`) on, each half of a cell by itself.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn rough(luma: &Raster<u8>, y: usize, x: usize) -> [f32; LANES] {
    let one = _mm256_set1_epi8(1);
    // two samples in each
    let mut sums = _mm256_setzero_si256();
    for y in y..y + CELL.0 {
        let here = samples(luma, y, x);
        for next in [
            samples(luma, (y + 1).min(luma.height - 1), x),
            samples(luma, y, x + 1),
        ] {
            let apart = _mm256_or_si256(_mm256_subs_epu8(here, next), _mm256_subs_epu8(next, here));
            sums = _mm256_add_epi16(sums, _mm256_maddubs_epi16(apart, one));
        }
    }
    cells_of_words(sums)
}
