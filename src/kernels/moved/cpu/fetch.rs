//! What samples of a tile have in one of the pictures.
//!
//! The bytes that a half of the lanes come from are nearly always within sixteen bytes of two or three
//! rows: then a load and a byte shuffle put each value beside its right neighbour. Otherwise gathers
//! do, and near the upper and the lower edge of the plane they are taken one by one.

use super::super::cells::Cells;
use super::lanes::{HALF, Pattern, between, byte_of, bytes_of, load, samples_of};
use super::places::{Axis, Places};
use super::{PLACE_BITS, SEGMENT, Values};
use crate::kernels::CpuLevel;
use crate::kernels::simd::avx2::*;
use crate::picture::Plane;

/// A source plane and what is needed to fetch from it. SIZE: bytes of a sample; STEP: from one to
/// the next.
pub struct Fetch<'a, const SIZE: usize, const STEP: usize> {
    pub plane: Plane<'a>,
    /// The last row and sample.
    pub last: (usize, usize),
    pub shift: __m128i,
    /// One that the machine has, with vectors.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub level: CpuLevel,
}

/// What the segments of a row have in common on one side.
pub(super) struct Side<'c> {
    /// Values of its cells, x and y, from number `first` of the first segment on, `step` a segment.
    pub flow: [&'c [i16]; 2],
    pub first: usize,
    pub step: usize,
    /// Samples of a cell.
    pub scale: usize,
    pub axes: [Axis; 2],
    /// The first sample of the first segment.
    pub start: usize,
    /// What rows count from.
    pub origin_y: i32,
}

/// Where a segment's samples lie in a plane, counted from its origin.
#[derive(Clone, Copy)]
struct Spots {
    origin: (i32, i32),
    x: __m256i,
    y: __m256i,
    /// Whether all rows that flow reaches in this tile have rows on both sides, so that whatever is
    /// read around a sample lies in the plane.
    inside: bool,
}

/// The bytes of each lane's value beside those of the right neighbour's, in two rows.
type Pairs = [__m256i; 2];

impl<const SIZE: usize, const STEP: usize> Fetch<'_, SIZE, STEP> {
    /// How far from a half's first sample on sixteen bytes hold a sample and its neighbour.
    const SPAN: i16 = (16 / STEP - 2) as i16;
    /// Samples before the first one that are within reach, so that flow may contract and expand.
    const BEFORE: i16 = (Self::SPAN - (HALF / STEP.next_power_of_two()) as i16 + 1) / 2;

    /// The two bytes of a lane: of the sample, and 1 if it is the neighbour's. Of larger samples a
    /// pair of lanes holds one and its neighbour.
    const fn bytes(lane: usize) -> [(usize, usize); 2] {
        let byte = byte_of(lane, STEP).1;
        match (SIZE, lane % 2) {
            (1, _) => [(byte, 0), (byte, 1)],
            (_, odd) => [(byte - odd, odd), (byte - odd + 1, odd)],
        }
    }

    /// The same as offsets from the sample, the first in the low byte.
    pub(super) const OFFSETS: [i16; SEGMENT] = {
        let mut offsets = [0; SEGMENT];
        let mut lane = 0;
        while lane < SEGMENT {
            let [first, second] = Self::bytes(lane);
            let (first, second) = (first.0 + STEP * first.1, second.0 + STEP * second.1);
            offsets[lane] = (first + 256 * second) as i16;
            lane += 1;
        }
        offsets
    };

    /// Samples of a segment.
    pub(super) const LENGTH: usize = SEGMENT / STEP.next_power_of_two();

    /// Fills `values` for those segments of row `y` from sample `start` on that are not still, moved by the flow to one
    /// side (0: left, 1: right).
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    pub fn side(
        &self,
        (y, cells): (usize, &Cells),
        start: usize,
        side: usize,
        still: &[bool],
        values: &mut [Values],
    ) {
        let axis_y = Axis::new(cells, 2 * side + 1, self.last.0, cells.sub.1);
        let first = cells.first(start);
        let side = Side {
            flow: [&cells.values[2 * side], &cells.values[2 * side + 1]],
            first,
            step: cells.first(start + Self::LENGTH) - first,
            scale: cells.scale,
            start,
            origin_y: axis_y.origin(y),
            axes: [Axis::new(cells, 2 * side, self.last.1, cells.sub.0), axis_y],
        };
        #[cfg(target_arch = "x86_64")]
        if self.level >= CpuLevel::Avx512Vbmi && self.suits_wide(&side) {
            // SAFETY: the machine has the level.
            return unsafe { self.side_wide(&side, still, values) };
        }
        self.segments(&side, 0, still, values);
    }

    /// The same of the segments from number `begin` on, of which these are `still` and `values`.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    #[inline(never)]
    pub(super) fn segments(
        &self,
        side: &Side,
        begin: usize,
        still: &[bool],
        values: &mut [Values],
    ) {
        let pattern = Pattern::of::<STEP>(side.scale);
        let [axis_x, axis_y] = &side.axes;
        let length = Self::LENGTH;
        let at = load(const { &samples_of(STEP) });
        let inside = self.is_inside(side, SEGMENT);
        for (i, (value, still)) in values.iter_mut().zip(still).enumerate() {
            if *still {
                continue;
            }
            let i = begin + i;
            let cell = side.first + i * side.step;
            let origin_x = axis_x.origin(side.start + i * length);
            let flow_x = pattern.at(side.flow[0], cell);
            let flow_y = pattern.at(side.flow[1], cell);
            let x = axis_x.places(origin_x, at, length as i32, flow_x);
            let y = axis_y.places(side.origin_y, _mm256_setzero_si256(), 0, flow_y);
            let pairs = self.pairs(Spots {
                origin: (origin_x, side.origin_y),
                x: x.whole,
                y: y.whole,
                inside,
            });
            *value = if SIZE == 1 {
                self.of_eight_bits(pairs, &x, &y)
            } else {
                _mm256_castps_si256(self.of_more_bits(pairs, &x, &y))
            };
        }
    }

    /// Whether the plane holds so many bytes around any place in reach and in the two rows below.
    pub(super) fn is_inside(&self, side: &Side, bytes: usize) -> bool {
        let reach = &side.axes[1].reach;
        let rows = side.origin_y + reach.start..side.origin_y + reach.end;
        let wide = self.last.1 * STEP >= bytes && self.plane.stride <= i16::MAX as usize;
        // One row more on each side: the bytes may begin before a row and end behind it.
        wide && rows.start >= 1 && rows.end + 3 <= self.last.0 as i32
    }

    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    #[inline]
    fn pairs(&self, spots: Spots) -> Pairs {
        match (self.near(spots), spots.inside) {
            (Some(pairs), _) => pairs,
            (None, true) => self.gathered(spots),
            (None, false) => self.one_by_one(spots),
        }
    }

    /// By loads and shuffles, if those of each half lie close enough.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    #[inline]
    fn near(
        &self,
        Spots {
            origin,
            x,
            y,
            inside,
        }: Spots,
    ) -> Option<Pairs> {
        let (first, last) = (_mm256_set1_epi16(0x0100), _mm256_set1_epi16(0x0f0e));
        let base_x = _mm256_sub_epi16(
            _mm256_shuffle_epi8(x, first),
            _mm256_set1_epi16(Self::BEFORE),
        );
        let base_y = _mm256_min_epi16(_mm256_shuffle_epi8(y, first), _mm256_shuffle_epi8(y, last));
        let (dx, dy) = (_mm256_sub_epi16(x, base_x), _mm256_sub_epi16(y, base_y));
        // Unsigned, so that what lies before the base is far, too.
        let far = _mm256_or_si256(
            _mm256_subs_epu16(dx, _mm256_set1_epi16(Self::SPAN)),
            _mm256_subs_epu16(dy, _mm256_set1_epi16(1)),
        );
        if _mm256_testz_si256(far, far) == 0 {
            return None;
        }
        let rows = if inside {
            self.rows_inside(origin, base_x, base_y)
        } else {
            self.rows_checked(origin, base_x, base_y)?
        };
        let shuffle = _mm256_add_epi16(
            _mm256_mullo_epi16(dx, _mm256_set1_epi16(STEP as i16 * 0x0101)),
            load(&Self::OFFSETS),
        );
        // SAFETY: sixteen bytes from these offsets on are in the plane: that was checked for the
        // whole tile or right now.
        let load = |row: usize| unsafe {
            let data = self.plane.data.as_ptr();
            let (low, high) = (data.offset(rows[0][row]), data.offset(rows[1][row]));
            let both = _mm256_set_m128i(_mm_loadu_si128(high.cast()), _mm_loadu_si128(low.cast()));
            _mm256_shuffle_epi8(both, shuffle)
        };
        let ahead = rows[0][2] + 2 * self.plane.stride as isize;
        let ahead = self.plane.data.as_ptr().wrapping_offset(ahead);
        // Processors foresee rows, not what follows flow across them.
        _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
        let (above, below) = (load(0), load(1));
        if _mm256_testz_si256(dy, dy) != 0 {
            return Some([above, below]);
        }
        let lower = _mm256_cmpeq_epi16(dy, _mm256_set1_epi16(1));
        Some([
            _mm256_blendv_epi8(above, below, lower),
            _mm256_blendv_epi8(below, load(2), lower),
        ])
    }

    /// Offsets of each half's base and of those in the two rows below; all of them have rows below.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    #[inline]
    fn rows_inside(&self, origin: (i32, i32), x: __m256i, y: __m256i) -> [[isize; 3]; 2] {
        let stride = self.plane.stride as isize;
        let steps = _mm256_set1_epi32((stride as i32) << 16 | STEP as i32);
        let offsets = _mm256_madd_epi16(_mm256_unpacklo_epi16(x, y), steps);
        let start = origin.1 as isize * stride + origin.0 as isize * STEP as isize;
        let rows = |half: __m128i| {
            let first = start + _mm_cvtsi128_si32(half) as isize;
            [first, first + stride, first + 2 * stride]
        };
        [
            rows(_mm256_castsi256_si128(offsets)),
            rows(_mm256_extracti128_si256::<1>(offsets)),
        ]
    }

    /// The same wherever they lie, if sixteen bytes from there on are in the plane.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    #[inline(never)]
    fn rows_checked(&self, origin: (i32, i32), x: __m256i, y: __m256i) -> Option<[[isize; 3]; 2]> {
        let (x, y) = (halves(x), halves(y));
        let low = self.rows(origin.0 + x[0], origin.1 + y[0]);
        let high = self.rows(origin.0 + x[1], origin.1 + y[1]);
        let room = self.plane.data.len() as isize - SEGMENT as isize;
        let fits = low[0].min(high[0]) >= 0 && low[2].max(high[2]) <= room;
        fits.then_some([low, high])
    }

    /// Offsets of a place and of those in the two rows below, the last one repeated.
    fn rows(&self, x: i32, y: i32) -> [isize; 3] {
        let y = y as usize;
        let stride = self.plane.stride as isize;
        let next = |y: usize| if y < self.last.0 { stride } else { 0 };
        let first = y as isize * stride + x as isize * STEP as isize;
        let second = first + next(y);
        [first, second, second + next(y + 1)]
    }

    /// By gathers, wherever they lie inside of the plane.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    #[inline(never)]
    fn gathered(&self, Spots { origin, x, y, .. }: Spots) -> Pairs {
        let stride = self.plane.stride as i32;
        let steps = _mm256_set1_epi32(stride << 16 | STEP as i32);
        let start = origin.1 as isize * stride as isize + origin.0 as isize * STEP as isize;
        // The origin may lie outside of the plane.
        let data = self.plane.data.as_ptr().wrapping_offset(start);
        // SAFETY: each offset is that of a byte of a sample in the plane, or of a row below it; four
        // bytes from it and from its right neighbour on are in the plane.
        let words = |offsets: __m256i, row: i32| unsafe {
            let row = data.wrapping_offset(row as isize * stride as isize);
            let word = _mm256_i32gather_epi32::<1>(row.cast(), offsets);
            if SIZE == 2 && STEP == 2 {
                return word;
            }
            let next = _mm256_i32gather_epi32::<1>(row.wrapping_add(STEP).cast(), offsets);
            if SIZE == 2 {
                return _mm256_blend_epi16::<0b1010_1010>(word, _mm256_slli_epi32::<16>(next));
            }
            let (word, next) = (
                _mm256_and_si256(word, _mm256_set1_epi32(0xff)),
                _mm256_and_si256(next, _mm256_set1_epi32(0xff)),
            );
            _mm256_or_si256(word, _mm256_slli_epi32::<8>(next))
        };
        let bytes = load(const { &bytes_of(SIZE, STEP) });
        let (low, high) = (_mm256_unpacklo_epi16(x, y), _mm256_unpackhi_epi16(x, y));
        let zero = _mm256_setzero_si256();
        let offsets = |places: __m256i, bytes: __m256i| {
            _mm256_add_epi32(_mm256_madd_epi16(places, steps), bytes)
        };
        let low = offsets(low, _mm256_unpacklo_epi16(bytes, zero));
        let high = offsets(high, _mm256_unpackhi_epi16(bytes, zero));
        if SIZE == 1 {
            let row = |row: i32| _mm256_packus_epi32(words(low, row), words(high, row));
            [row(0), row(1)]
        } else {
            // Of each pair of lanes the first.
            let even = _mm256_castps_si256(_mm256_shuffle_ps::<0b1000_1000>(
                _mm256_castsi256_ps(low),
                _mm256_castsi256_ps(high),
            ));
            [words(even, 0), words(even, 1)]
        }
    }

    /// One by one, wherever they lie in the picture.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    #[inline(never)]
    fn one_by_one(&self, Spots { origin, x, y, .. }: Spots) -> Pairs {
        let (mut xs, mut ys) = ([0i16; SEGMENT], [0i16; SEGMENT]);
        let mut pairs = [[0u8; 2 * SEGMENT]; 2];
        // SAFETY: there is room for sixteen values each.
        unsafe {
            _mm256_storeu_si256(xs.as_mut_ptr().cast(), x);
            _mm256_storeu_si256(ys.as_mut_ptr().cast(), y);
        }
        for lane in 0..SEGMENT {
            let x = (origin.0 + i32::from(xs[lane])) as usize;
            let columns = [x, (x + 1).min(self.last.1)];
            let rows = self.rows(0, origin.1 + i32::from(ys[lane]));
            for (i, (byte, neighbour)) in Self::bytes(lane).into_iter().enumerate() {
                for (row, pairs) in pairs.iter_mut().enumerate() {
                    let at = rows[row] as usize + columns[neighbour] * STEP + byte;
                    pairs[2 * lane + i] = self.plane.data[at];
                }
            }
        }
        // SAFETY: 32 bytes are there in both.
        pairs.map(|pairs| unsafe { _mm256_loadu_si256(pairs.as_ptr().cast()) })
    }

    /// Values in 128ths of a code from the middle of the range on, in 16 bits; SIZE is 1.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    #[inline]
    fn of_eight_bits(&self, pairs: Pairs, x: &Places, y: &Places) -> __m256i {
        // 128 - t and t; unsigned bytes, for which those of the samples must be signed.
        let shares = _mm256_mullo_epi16(x.between, _mm256_set1_epi16(255));
        let shares = _mm256_add_epi16(shares, _mm256_set1_epi16(128));
        let row = |pairs: __m256i| {
            let signed = _mm256_xor_si256(pairs, _mm256_set1_epi8(i8::MIN));
            _mm256_maddubs_epi16(shares, signed)
        };
        let share = _mm256_slli_epi16::<8>(y.between);
        between(row(pairs[0]), row(pairs[1]), share)
    }

    /// Values in 128ths of a code from the middle of sixteen bits on, in floats; SIZE is 2.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    #[inline]
    fn of_more_bits(&self, pairs: Pairs, x: &Places, y: &Places) -> __m256 {
        let first = _mm256_sub_epi16(_mm256_set1_epi16(1 << PLACE_BITS), x.between);
        let shares = _mm256_blend_epi16::<0b1010_1010>(first, x.between);
        let row = |pairs: __m256i| {
            let code = _mm256_srl_epi16(pairs, self.shift);
            let signed = _mm256_xor_si256(code, _mm256_set1_epi16(i16::MIN));
            _mm256_cvtepi32_ps(_mm256_madd_epi16(signed, shares))
        };
        let share = share_of(y.between, 1.0 / 128.0);
        lerp(row(pairs[0]), row(pairs[1]), share)
    }
}

/// Every second lane, in units of `unit`.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
#[inline]
pub fn share_of(lanes: __m256i, unit: f32) -> __m256 {
    let lanes = _mm256_and_si256(lanes, _mm256_set1_epi32(0xffff));
    _mm256_mul_ps(_mm256_cvtepi32_ps(lanes), _mm256_set1_ps(unit))
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
#[inline]
pub fn lerp(a: __m256, b: __m256, t: __m256) -> __m256 {
    _mm256_add_ps(a, _mm256_mul_ps(t, _mm256_sub_ps(b, a)))
}

/// The first lane of each half.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
#[inline]
fn halves(v: __m256i) -> [i32; 2] {
    let first = |half: __m128i| i32::from(_mm_cvtsi128_si32(half) as i16);
    [
        first(_mm256_castsi256_si128(v)),
        first(_mm256_extracti128_si256::<1>(v)),
    ]
}
