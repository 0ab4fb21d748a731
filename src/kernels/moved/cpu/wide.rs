//! AVX-512 with VBMI: two segments at a time, whose bytes one shuffle takes from 64 bytes of a row. The same bits.
//!
//! What lies further apart, or near the upper or the lower edge of the plane, is left to vectors of one segment.

use std::arch::x86_64::*;

use super::super::cells::place;
use super::fetch::{Fetch, Side};
use super::places::Axis;
use super::{PLACE_BITS, SEGMENT, Values};

/// Lanes of two segments.
const LANES: usize = 2 * SEGMENT;
/// Bytes that a shuffle takes from.
const BYTES: usize = 2 * LANES;

/// Rows that a lane's may lie below another's.
const MOST_LOWER: i16 = 10;

/// How the lanes lie between the cells.
struct Pattern {
    /// Cells before the first lane's.
    first: usize,
    /// A lane's cell and the next, counted from there.
    cell: [i16; LANES],
    next: [i16; LANES],
    /// The share of the next, in 32768ths.
    share: [i16; LANES],
}

impl Pattern {
    const fn new(scale: usize, step: usize) -> Self {
        let first = place(0, scale).0;
        let (mut cell, mut next, mut share) = ([0; LANES], [0; LANES], [0; LANES]);
        let mut lane = 0;
        while lane < LANES {
            let (at, eighths) = place(lane / step, scale);
            let at = at - first;
            assert!(at < LANES && (at + 1 < LANES || eighths == 0));
            cell[lane] = at as i16;
            // one beyond the lanes has no share
            next[lane] = ((at + 1) % LANES) as i16;
            share[lane] = eighths << 12;
            lane += 1;
        }
        Pattern {
            first,
            cell,
            next,
            share,
        }
    }

    fn of<const STEP: usize>(scale: usize) -> &'static Self {
        match scale {
            4 => const { &Pattern::new(4, STEP) },
            2 => const { &Pattern::new(2, STEP) },
            _ => const { &Pattern::new(1, STEP) },
        }
    }

    /// The values of two segments whose cells begin with number `first`.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn at(&self, cells: &[i16], first: usize) -> __m512i {
        let cells = load(&cells[first + self.first..]);
        between(
            _mm512_permutexvar_epi16(load(&self.cell), cells),
            _mm512_permutexvar_epi16(load(&self.next), cells),
            load(&self.share),
        )
    }
}

/// [`super::super::cells::between`], for a share in 32768ths.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn between(a: __m512i, b: __m512i, share: __m512i) -> __m512i {
    _mm512_add_epi16(a, _mm512_mulhrs_epi16(_mm512_subs_epi16(b, a), share))
}

/// The least of all lanes.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn least(v: __m512i) -> i16 {
    let (low, high) = (_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64::<1>(v));
    let half = _mm256_min_epi16(low, high);
    let (low, high) = (
        _mm256_castsi256_si128(half),
        _mm256_extracti128_si256::<1>(half),
    );
    // of unsigned ones
    let start = _mm_set1_epi16(i16::MIN);
    let least = _mm_minpos_epu16(_mm_xor_si128(_mm_min_epi16(low, high), start));
    _mm_cvtsi128_si32(_mm_xor_si128(least, start)) as i16
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn load(values: &[i16]) -> __m512i {
    let values: &[i16; LANES] = values[..LANES].try_into().expect("a value a lane");
    // SAFETY: 32 values of two bytes are there.
    unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
}

/// [`super::places::Places`] of two segments.
struct Places {
    whole: __m512i,
    between: __m512i,
}

impl Axis {
    /// [`Axis::places`] of two segments.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn places_wide(&self, origin: i32, at: __m512i, length: i32, flow: __m512i) -> Places {
        let fraction = _mm512_broadcastw_epi16(_mm256_castsi256_si128(self.fraction));
        let whole = _mm512_add_epi16(at, _mm512_sra_epi16(flow, self.bits));
        let between = _mm512_srl_epi16(_mm512_and_si512(flow, fraction), self.rest);
        let Some([first, last]) = self.edges(origin, length) else {
            return Places { whole, between };
        };
        let (first, last) = (_mm512_set1_epi16(first), _mm512_set1_epi16(last));
        let inside = _mm512_cmple_epi16_mask(first, whole) & _mm512_cmpgt_epi16_mask(last, whole);
        Places {
            whole: _mm512_min_epi16(_mm512_max_epi16(whole, first), last),
            between: _mm512_maskz_mov_epi16(inside, between),
        }
    }
}

impl<const SIZE: usize, const STEP: usize> Fetch<'_, SIZE, STEP> {
    /// How far from the first sample on the bytes hold a sample and its neighbour.
    const WIDE_SPAN: i16 = (BYTES / STEP) as i16 - 2;
    /// Samples before the first one that are within reach, so that flow may contract and expand.
    const WIDE_BEFORE: i16 = (Self::WIDE_SPAN - (LANES / STEP) as i16 + 1) / 2;
    const WIDE_SAMPLES: [i16; LANES] = {
        let mut samples = [0; LANES];
        let mut lane = 0;
        while lane < LANES {
            samples[lane] = (lane / STEP) as i16;
            lane += 1;
        }
        samples
    };

    /// Whether [`Fetch::side_wide`] may be called.
    pub(super) fn suits_wide(&self, side: &Side) -> bool {
        LANES.is_multiple_of(STEP) && self.is_inside(side, BYTES)
    }

    /// [`Fetch::segments`], from the first one on.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    #[inline(never)]
    pub(super) fn side_wide(&self, side: &Side, still: &[bool], values: &mut [Values]) {
        let pattern = Pattern::of::<STEP>(side.scale);
        let [axis_x, axis_y] = &side.axes;
        let length = 2 * Self::LENGTH;
        let at = load(&Self::WIDE_SAMPLES);
        let (pairs, _) = values.as_chunks_mut::<2>();
        let paired = 2 * pairs.len();
        for (i, pair) in pairs.iter_mut().enumerate() {
            let still = &still[2 * i..2 * i + 2];
            if still == [true; 2] {
                continue;
            }
            let cell = side.first + 2 * i * side.step;
            let origin_x = axis_x.origin(side.start + i * length);
            let flow_x = pattern.at(side.flow[0], cell);
            let flow_y = pattern.at(side.flow[1], cell);
            let x = axis_x.places_wide(origin_x, at, length as i32, flow_x);
            let y = axis_y.places_wide(side.origin_y, _mm512_setzero_si512(), 0, flow_y);
            match self.near_wide((origin_x, side.origin_y), x.whole, y.whole) {
                Some(near) => {
                    let made = match SIZE {
                        1 => wide_eight_bits(near, &x, &y),
                        _ => self.wide_more_bits(near, &x, &y),
                    };
                    // SAFETY: there is room for two segments' values, which lie side by side.
                    unsafe { _mm512_storeu_si512(pair.as_mut_ptr().cast(), made) };
                }
                None => self.segments(side, 2 * i, still, pair),
            }
        }
        self.segments(side, paired, &still[paired..], &mut values[paired..]);
    }

    /// The bytes of each lane's value beside those of the right neighbour's, in two rows, if all lie close enough.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    #[inline]
    fn near_wide(&self, origin: (i32, i32), x: __m512i, y: __m512i) -> Option<[__m512i; 2]> {
        let first = |v: __m512i| _mm512_broadcastw_epi16(_mm512_castsi512_si128(v));
        let base_x = _mm512_sub_epi16(first(x), _mm512_set1_epi16(Self::WIDE_BEFORE));
        let dx = _mm512_sub_epi16(x, base_x);
        // Unsigned, so that what lies before the base is far, too.
        if _mm512_cmpgt_epu16_mask(dx, _mm512_set1_epi16(Self::WIDE_SPAN)) != 0 {
            return None;
        }
        let last = _mm512_permutexvar_epi16(_mm512_set1_epi16(LANES as i16 - 1), y);
        let mut base_y = _mm512_min_epi16(first(y), last);
        let mut dy = _mm512_sub_epi16(y, base_y);
        if _mm512_cmpgt_epu16_mask(dy, _mm512_set1_epi16(1)) != 0 {
            base_y = _mm512_set1_epi16(least(y));
            dy = _mm512_sub_epi16(y, base_y);
            if _mm512_cmpgt_epi16_mask(dy, _mm512_set1_epi16(MOST_LOWER)) != 0 {
                return None;
            }
        }
        let base = |v: __m512i| _mm_cvtsi128_si32(_mm512_castsi512_si128(v)) as i16 as isize;
        let stride = self.plane.stride as isize;
        let start = (origin.1 as isize + base(base_y)) * stride
            + (origin.0 as isize + base(base_x)) * STEP as isize;
        let offsets = load(const { &both(Self::OFFSETS) });
        let scale = _mm512_set1_epi16(STEP as i16 * 0x0101);
        let shuffle = _mm512_add_epi16(_mm512_mullo_epi16(dx, scale), offsets);
        let row = |row: isize| {
            let at = self
                .plane
                .data
                .as_ptr()
                .wrapping_offset(start + row * stride);
            // SAFETY: this is the row of a lane or the one below; `suits_wide` saw for all of the tile that the plane holds 64
            // bytes around any place in reach and in the rows below.
            let bytes = unsafe { _mm512_loadu_si512(at.cast()) };
            _mm512_permutexvar_epi8(shuffle, bytes)
        };
        let ahead = self.plane.data.as_ptr().wrapping_offset(start + 4 * stride);
        // Processors foresee rows, not what follows flow across them.
        _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
        let (mut above, mut below) = (row(0), row(1));
        let mut next = below;
        for lower in 1..=MOST_LOWER {
            let lanes = _mm512_cmpge_epi16_mask(dy, _mm512_set1_epi16(lower));
            if lanes == 0 {
                break;
            }
            above = _mm512_mask_mov_epi16(above, lanes, next);
            next = row(lower as isize + 1);
            below = _mm512_mask_mov_epi16(below, lanes, next);
        }
        Some([above, below])
    }

    /// [`Fetch::of_more_bits`] of two segments.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn wide_more_bits(&self, pairs: [__m512i; 2], x: &Places, y: &Places) -> __m512i {
        /// Every second lane, the neighbour's.
        const ODD: u32 = 0xaaaa_aaaa;
        let first = _mm512_sub_epi16(_mm512_set1_epi16(1 << PLACE_BITS), x.between);
        let shares = _mm512_mask_mov_epi16(first, ODD, x.between);
        let row = |pairs: __m512i| {
            let code = _mm512_srl_epi16(pairs, self.shift);
            let signed = _mm512_xor_si512(code, _mm512_set1_epi16(i16::MIN));
            _mm512_cvtepi32_ps(_mm512_madd_epi16(signed, shares))
        };
        let share = _mm512_and_si512(y.between, _mm512_set1_epi32(0xffff));
        let share = _mm512_mul_ps(_mm512_cvtepi32_ps(share), _mm512_set1_ps(1.0 / 128.0));
        let (above, below) = (row(pairs[0]), row(pairs[1]));
        let step = _mm512_mul_ps(share, _mm512_sub_ps(below, above));
        _mm512_castps_si512(_mm512_add_ps(above, step))
    }
}

/// [`Fetch::of_eight_bits`] of two segments.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn wide_eight_bits(pairs: [__m512i; 2], x: &Places, y: &Places) -> __m512i {
    let shares = _mm512_mullo_epi16(x.between, _mm512_set1_epi16(255));
    let shares = _mm512_add_epi16(shares, _mm512_set1_epi16(128));
    let row = |pairs: __m512i| {
        let signed = _mm512_xor_si512(pairs, _mm512_set1_epi8(i8::MIN));
        _mm512_maddubs_epi16(shares, signed)
    };
    let share = _mm512_slli_epi16::<8>(y.between);
    between(row(pairs[0]), row(pairs[1]), share)
}

/// The same for both segments.
const fn both(lanes: [i16; SEGMENT]) -> [i16; LANES] {
    let mut all = [0; LANES];
    let mut lane = 0;
    while lane < LANES {
        all[lane] = lanes[lane % SEGMENT];
        lane += 1;
    }
    all
}
