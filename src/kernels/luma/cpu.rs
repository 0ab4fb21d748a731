//! With AVX2: sixteen samples at a time.
//!
//! A sample's "pair" is the byte it comes from and its right neighbour, in sixteen bits. The pairs of eight samples side by side
//! nearly always lie within sixteen bytes of one row or of two adjoining ones: then loads and byte shuffles fetch them. Otherwise
//! gathers do, and where those would read past the end, the reference.

use std::arch::x86_64::*;

use super::{ACROSS, BORDER, DOWN, MAX, SAMPLES, Sides, Warp, mean_of_cell, reference};
use crate::kernels::Context;
use crate::kernels::raster::{Raster, RasterMut};
use crate::kernels::resample::between;
use crate::kernels::simd::{LANES, lerp, load, store};

/// Cells of a row whose flow fits on the stack.
const TILE: usize = 64;
/// Samples that are moved at a time.
const GROUP: usize = 16;
/// Bytes before the first sample's that a load of sixteen begins with.
const BEFORE: usize = 3;

pub fn spread(luma: &Raster, context: &Context, out: &mut RasterMut<u8>) {
    out.for_each_band(context, 2, |y, mut band| {
        for half in 0..2 {
            // SAFETY: this module runs only where AVX2 was found (`Context` sees to it).
            let made = unsafe { spread_row(luma, y / 2, half, band.row_mut(half)) };
            let rest = band.row_mut(half).iter_mut().enumerate().skip(made);
            for (x, value) in rest {
                *value = reference::code(luma.at(y / 2, x / 2)[2 * half + x % 2]);
            }
        }
    });
}

/// Fills the samples of one of the two rows of row `y` of the pixels, as far as whole groups of sixteen go; returns how many.
#[target_feature(enable = "avx2")]
fn spread_row(luma: &Raster, y: usize, half: usize, row: &mut [u8]) -> usize {
    let (groups, _) = row.as_chunks_mut::<GROUP>();
    let count = GROUP * groups.len();
    let (scale, start) = (_mm256_set1_ps(MAX), _mm256_set1_ps(0.5 * MAX + 0.5));
    for (group, values) in groups.iter_mut().enumerate() {
        // two samples of a pixel
        let pixel = |i: usize| {
            let pair = &luma.at(y, group * GROUP / 2 + i)[2 * half..2 * half + 2];
            // SAFETY: there are two floats.
            unsafe { _mm_castpd_ps(_mm_load_sd(pair.as_ptr().cast())) }
        };
        // of pixels i, i + 1 and, in the upper half, of those four further on
        let eight = |i: usize| {
            let pair = |i: usize| _mm_movelh_ps(pixel(i), pixel(i + 1));
            let both = _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(pair(i)), pair(i + 4));
            // two roundings, as the reference
            let code = _mm256_add_ps(_mm256_mul_ps(both, scale), start);
            let code = _mm256_max_ps(code, _mm256_setzero_ps());
            _mm256_cvttps_epi32(_mm256_min_ps(code, scale))
        };
        let words = _mm256_packs_epi32(eight(0), eight(2));
        let bytes = _mm256_packus_epi16(words, words);
        let bytes = _mm256_permute4x64_epi64::<0b1000>(bytes);
        // SAFETY: there is room for sixteen bytes.
        unsafe {
            _mm_storeu_si128(values.as_mut_ptr().cast(), _mm256_castsi256_si128(bytes));
        }
    }
    count
}

/// Whether columns and rows fit sixteen bits, and offsets thirty-two.
pub fn can(job: &Warp) -> bool {
    let side = i16::MAX as usize;
    let luma = &job.luma;
    luma.pixel == 1 && luma.width.max(luma.height) <= side && luma.data().len() < 1 << 31
}

/// Flow of a stretch of cells: `x[i]` is that of cell `first - 1 + i`, the edge repeated; the rest is what a vector may read
/// beyond.
struct Flow {
    x: [f32; ROOM],
    y: [f32; ROOM],
}

const ROOM: usize = TILE + 2 * LANES;

/// Four rows of warped luma at a time: with the border, those lie between the same two rows of cells.
pub fn warp(job: &Warp, context: &Context, out: &mut RasterMut<i16>) {
    let samples = SAMPLES * job.flow.width;
    out.for_each_band(context, SAMPLES, |first, mut band| {
        // SAFETY: this module runs only where AVX2 was found (`Context` sees to it).
        unsafe { warp_band(job, first, &mut band) };
        for i in 0..band.height {
            let row = band.row_mut(i);
            let (left, right) = (row[BORDER], row[BORDER + samples - 1]);
            row[..BORDER].fill(left);
            row[BORDER + samples..].fill(right);
        }
    });
}

/// Fills the rows, the first of which is `top`, but for their border, and up to a group less one of what lies beyond.
#[target_feature(enable = "avx2")]
fn warp_band(job: &Warp, top: usize, band: &mut RasterMut<i16>) {
    let (height, width) = job.flow.size();
    let inside = |i: usize| reference::inside(top + i, SAMPLES * height);
    let (above, below, _) = between(inside(0), SAMPLES, height);
    for first in (0..width).step_by(TILE) {
        let cells = TILE.min(width - first);
        let (above, below) = (Flow::of(job, above, first), Flow::of(job, below, first));
        for i in 0..band.height {
            let y = inside(i);
            let (_, _, share) = between(y, SAMPLES, height);
            let flow = Flow::between(&above, &below, share, job.scale);
            let row = &mut band.row_mut(i)[BORDER + SAMPLES * first..];
            for group in 0..(SAMPLES * cells).div_ceil(GROUP) {
                let x = SAMPLES * first + group * GROUP;
                let places = Places::new(job, y, x, &flow, group);
                let values: &mut [i16; GROUP] = (&mut row[group * GROUP..][..GROUP])
                    .try_into()
                    .expect("a group");
                match places.pairs(&job.luma) {
                    // SAFETY: there is room for sixteen values.
                    Some(pairs) => unsafe {
                        _mm256_storeu_si256(values.as_mut_ptr().cast(), places.mix(pairs));
                    },
                    None => {
                        let last = SAMPLES * width - 1;
                        for (i, value) in values.iter_mut().enumerate() {
                            *value = reference::sample(job, y, (x + i).min(last));
                        }
                    }
                }
            }
        }
    }
}

impl Flow {
    /// In row `y`, of a tile from cell `first` on.
    #[target_feature(enable = "avx2")]
    fn of(job: &Warp, y: usize, first: usize) -> Self {
        let mut flow = Self {
            x: [0.0; ROOM],
            y: [0.0; ROOM],
        };
        let (row, pixel) = (job.flow.row(y), job.flow.pixel);
        // the first cell of a row stands in for the one before it, and the last one for the one after it
        let cells = row[first.saturating_sub(1) * pixel..].chunks(pixel);
        let skipped = usize::from(first == 0);
        let mut count = skipped;
        for cell in cells.take(TILE + 2 - skipped) {
            (flow.x[count], flow.y[count]) = (cell[0], cell[1]);
            count += 1;
        }
        (flow.x[count], flow.y[count]) = (flow.x[count - 1], flow.y[count - 1]);
        if first == 0 {
            (flow.x[0], flow.y[0]) = (flow.x[1], flow.y[1]);
        }
        flow
    }

    /// Between two rows, `share` of the lower one, in samples.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn between(above: &Self, below: &Self, share: f32, scale: f32) -> Self {
        let (share, scale) = (_mm256_set1_ps(share), _mm256_set1_ps(scale));
        let mix = |above: &[f32; ROOM], below: &[f32; ROOM]| {
            let mut mixed = [0.0; ROOM];
            let (above, below) = (above.as_chunks::<LANES>().0, below.as_chunks::<LANES>().0);
            let rows = above.iter().zip(below);
            for (mixed, (above, below)) in mixed.as_chunks_mut::<LANES>().0.iter_mut().zip(rows) {
                store(
                    mixed,
                    _mm256_mul_ps(scale, lerp(load(above), load(below), share)),
                );
            }
            mixed
        };
        Self {
            x: mix(&above.x, &below.x),
            y: mix(&above.y, &below.y),
        }
    }
}

/// Of the four cells of a group that begin after the first of `cells`: that of the samples of the first and the third one,
/// and that of those of the second and the fourth.
#[inline]
#[target_feature(enable = "avx2")]
fn enlarge(cells: &[f32]) -> [__m256; 2] {
    let cells = load(&cells[..LANES]);
    let index = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    let at = |step: i32| {
        let index = _mm256_add_epi32(index, _mm256_set1_epi32(step));
        _mm256_permutevar8x32_ps(cells, index)
    };
    let (a, b, c) = (at(0), at(1), at(2));
    let t = _mm256_setr_ps(0.625, 0.875, 0.125, 0.375, 0.625, 0.875, 0.125, 0.375);
    [lerp(a, b, t), lerp(b, c, t)]
}

/// Positions along one axis, of a group's first and third cell and of the others: whole part, and share of the next.
struct Axis {
    whole: [__m256i; 2],
    share: [__m256; 2],
}

impl Axis {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(at: [__m256; 2], size: usize) -> Self {
        let last = _mm256_set1_ps((size - 1) as f32);
        // `max` answers its second operand for what is no number.
        let (mut whole, mut share) = ([_mm256_setzero_si256(); 2], at);
        for i in 0..2 {
            let at = _mm256_min_ps(_mm256_max_ps(at[i], _mm256_setzero_ps()), last);
            whole[i] = _mm256_cvttps_epi32(at);
            share[i] = _mm256_sub_ps(at, _mm256_cvtepi32_ps(whole[i]));
        }
        Self { whole, share }
    }

    /// The whole parts in the order of the samples.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn packed(&self) -> __m256i {
        _mm256_packs_epi32(self.whole[0], self.whole[1])
    }

    /// The shares in the order of the samples, in steps of which `steps` are one; at most the largest number.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn shares(&self, steps: f32) -> __m256i {
        let whole = |share| _mm256_cvtps_epi32(_mm256_mul_ps(share, _mm256_set1_ps(steps)));
        _mm256_packs_epi32(whole(self.share[0]), whole(self.share[1]))
    }
}

/// Where the samples of a group come from.
struct Places {
    x: Axis,
    y: Axis,
}

impl Places {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(job: &Warp, y: usize, x: usize, flow: &Flow, group: usize) -> Self {
        let first = group * (GROUP / SAMPLES);
        let (fx, fy) = (enlarge(&flow.x[first..]), enlarge(&flow.y[first..]));
        let steps = [
            _mm256_setr_ps(0.0, 1.0, 2.0, 3.0, 8.0, 9.0, 10.0, 11.0),
            _mm256_setr_ps(4.0, 5.0, 6.0, 7.0, 12.0, 13.0, 14.0, 15.0),
        ];
        let x = _mm256_set1_ps(x as f32);
        let y = _mm256_set1_ps(y as f32);
        let at_x = |i: usize| _mm256_add_ps(_mm256_add_ps(x, steps[i]), fx[i]);
        let at_y = |i: usize| _mm256_add_ps(y, fy[i]);
        Self {
            x: Axis::new([at_x(0), at_x(1)], job.luma.width),
            y: Axis::new([at_y(0), at_y(1)], job.luma.height),
        }
    }

    /// The pairs in the row above and in the row below; `None`: it would read past the end.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn pairs(&self, luma: &Raster<'_, u8>) -> Option<[__m256i; 2]> {
        match self.near(luma) {
            Some(pairs) => Some(pairs),
            None => self.far(luma),
        }
    }

    /// By loads and shuffles, if each half's places lie close enough.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn near(&self, luma: &Raster<'_, u8>) -> Option<[__m256i; 2]> {
        let (x, y) = (self.x.packed(), self.y.packed());
        let column = |first: i32| (first as usize).saturating_sub(BEFORE);
        let (left, right) = (
            column(_mm256_extract_epi16::<0>(x)),
            column(_mm256_extract_epi16::<8>(x)),
        );
        let row = |a: i32, b: i32| a.min(b) as usize;
        let (upper, lower) = (
            row(_mm256_extract_epi16::<0>(y), _mm256_extract_epi16::<7>(y)),
            row(_mm256_extract_epi16::<8>(y), _mm256_extract_epi16::<15>(y)),
        );
        let dx = _mm256_sub_epi16(x, halves(left, right));
        let dy = _mm256_sub_epi16(y, halves(upper, lower));
        // Unsigned, so that what lies before the first is far, too.
        let beyond = _mm256_or_si256(
            _mm256_subs_epu16(dx, _mm256_set1_epi16(14)),
            _mm256_subs_epu16(dy, _mm256_set1_epi16(1)),
        );
        let (rows, last) = (luma.row, luma.height - 1);
        let at = |row: usize, column: usize| row.min(last) * rows + column;
        let end = at(upper + 2, left).max(at(lower + 2, right)) + 16;
        if _mm256_testz_si256(beyond, beyond) == 0 || end > luma.data().len() {
            return None;
        }
        let index = _mm256_add_epi16(
            _mm256_or_si256(dx, _mm256_slli_epi16::<8>(dx)),
            _mm256_set1_epi16(0x0100),
        );
        // SAFETY: sixteen bytes from there on are inside in the last of three rows, and so they are in those above.
        let pairs = |step: usize| unsafe {
            let bytes = luma.data().as_ptr();
            let (low, high) = (
                _mm_loadu_si128(bytes.add(at(upper + step, left)).cast()),
                _mm_loadu_si128(bytes.add(at(lower + step, right)).cast()),
            );
            let both = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high);
            _mm256_shuffle_epi8(both, index)
        };
        let (first, second) = (pairs(0), pairs(1));
        if _mm256_testz_si256(dy, dy) != 0 {
            return Some([first, second]);
        }
        let below = _mm256_cmpeq_epi16(dy, _mm256_set1_epi16(1));
        Some([
            _mm256_blendv_epi8(first, second, below),
            _mm256_blendv_epi8(second, pairs(2), below),
        ])
    }

    /// By gathers, wherever they lie.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn far(&self, luma: &Raster<'_, u8>) -> Option<[__m256i; 2]> {
        let end = _mm256_set1_epi32(luma.data().len().checked_sub(4)? as i32);
        let stride = _mm256_set1_epi32(luma.row as i32);
        let bottom = _mm256_set1_epi32((luma.height - 1) as i32);
        let mut found = [[_mm256_setzero_si256(); 2]; 2];
        for half in 0..2 {
            let above = self.y.whole[half];
            let below = _mm256_min_epi32(_mm256_add_epi32(above, _mm256_set1_epi32(1)), bottom);
            for (row, found) in [above, below].into_iter().zip(&mut found) {
                let at = _mm256_add_epi32(_mm256_mullo_epi32(row, stride), self.x.whole[half]);
                if _mm256_movemask_epi8(_mm256_cmpgt_epi32(at, end)) != 0 {
                    return None;
                }
                // SAFETY: four bytes from each offset on are inside.
                let bytes = unsafe { _mm256_i32gather_epi32::<1>(luma.data().as_ptr().cast(), at) };
                found[half] = _mm256_and_si256(bytes, _mm256_set1_epi32(0xffff));
            }
        }
        let [[a, b], [c, d]] = found;
        Some([_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d)])
    }

    /// The values between the pairs.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn mix(&self, [above, below]: [__m256i; 2]) -> __m256i {
        let (across, down) = (self.x.shares(ACROSS), self.y.shares(DOWN));
        // The left one's share is 128 less the right one's, which is the upper byte.
        let shares = _mm256_add_epi16(
            _mm256_sub_epi16(_mm256_slli_epi16::<8>(across), across),
            _mm256_set1_epi16(ACROSS as i16),
        );
        let sign = _mm256_set1_epi8(i8::MIN);
        let row = |pairs| _mm256_maddubs_epi16(shares, _mm256_xor_si256(pairs, sign));
        let (above, below) = (row(above), row(below));
        let step = _mm256_mulhrs_epi16(_mm256_sub_epi16(below, above), down);
        let mixed = _mm256_add_epi16(_mm256_add_epi16(above, step), _mm256_set1_epi16(4));
        _mm256_srai_epi16::<3>(mixed)
    }
}

/// One number for the lower eight values, another for the upper ones.
#[inline]
#[target_feature(enable = "avx2")]
fn halves(low: usize, high: usize) -> __m256i {
    let (low, high) = (_mm_set1_epi16(low as i16), _mm_set1_epi16(high as i16));
    _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high)
}

/// Cells that are compared at a time.
pub const CELLS: usize = 16;

pub fn differences(sides: &Sides, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        let width = row.len().div_ceil(pixel);
        for x in (0..width).step_by(CELLS) {
            let mut sums = [0u16; CELLS];
            // SAFETY: this module runs only where AVX2 was found (`Context` sees to it); beyond the last cell of a
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
/// AVX2 is there; (`y`, `x`) is a cell of both sides, and they are moved by at most [`BORDER`].
#[inline]
#[target_feature(enable = "avx2")]
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
#[target_feature(enable = "avx2")]
pub fn samples(luma: &Raster<'_, u8>, y: usize, x: usize) -> __m256i {
    let samples = &luma.row(y)[x..x + 32];
    // SAFETY: there are thirty-two bytes.
    unsafe { _mm256_loadu_si256(samples.as_ptr().cast()) }
}

/// Sums of the bytes of eight cells' rows, four a cell, each at most 127.
#[inline]
#[target_feature(enable = "avx2")]
pub fn cells_of_bytes(bytes: __m256i) -> [f32; LANES] {
    cells_of_words(_mm256_maddubs_epi16(bytes, _mm256_set1_epi8(1)))
}

/// Sums of the words of eight cells' rows, two a cell, each below 32,768.
#[inline]
#[target_feature(enable = "avx2")]
pub fn cells_of_words(words: __m256i) -> [f32; LANES] {
    let sums = _mm256_madd_epi16(words, _mm256_set1_epi16(1));
    let mut cells = [0.0; LANES];
    store(&mut cells, _mm256_cvtepi32_ps(sums));
    cells
}
