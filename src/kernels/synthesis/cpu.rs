//! AVX2: sixteen bytes of the output at a time, the same bits as the reference.
//!
//! A 16-bit lane belongs to each byte of the output and says where its sample comes from. The bytes
//! that a half of them (eight) come from are nearly always within sixteen bytes of two or three
//! rows: then a load and a byte shuffle put each value beside its right neighbour. Otherwise they
//! are fetched one by one. Eight bits are computed in these lanes; more in half as many of 32 bits.

use std::arch::x86_64::*;
use std::ops::Range;

use super::cells::{Cells, FLOW_BITS, WHOLE, place};
use super::{Row, SEGMENT, STATIC_FLOW, reference};
use crate::picture::{Component, Plane};

/// Binary digits of a place between two samples.
const PLACE_BITS: u32 = 7;
/// Lanes that one shuffle serves.
const HALF: usize = SEGMENT / 2;

/// Cells between the rows `above` and `below`, at least `used` of them.
#[target_feature(enable = "avx2")]
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

/// [`super::cells::between`], for a share in 32768ths.
#[target_feature(enable = "avx2")]
#[inline]
fn between(a: __m256i, b: __m256i, share: __m256i) -> __m256i {
    _mm256_add_epi16(a, _mm256_mulhrs_epi16(_mm256_subs_epi16(b, a), share))
}

/// The samples of a tile; they begin with a segment.
#[target_feature(enable = "avx2")]
pub fn samples(row: &Row, cells: &Cells, samples: Range<usize>, out: &mut [u8]) {
    let c = row.group.first();
    match (c.size(), c.step) {
        (1, 1) => tile::<1, 1>(row, cells, samples, out),
        (1, 2) => tile::<1, 2>(row, cells, samples, out),
        (1, 3) => tile::<1, 3>(row, cells, samples, out),
        (1, 4) => tile::<1, 4>(row, cells, samples, out),
        (2, 2) => tile::<2, 2>(row, cells, samples, out),
        (2, 4) => tile::<2, 4>(row, cells, samples, out),
        _ => reference::samples(row, cells, samples, out),
    }
}

/// The sample of a segment and the byte of it that a lane belongs to. With steps of three bytes, two
/// lanes of each half are idle.
const fn byte_of(lane: usize, step: usize) -> (usize, usize) {
    let (half, lane) = (lane / HALF, lane % HALF);
    let samples = HALF / step.next_power_of_two();
    let sample = lane / step;
    let sample = if sample < samples {
        sample
    } else {
        samples - 1
    };
    (half * samples + sample, lane % step)
}

/// The sample of a segment that a lane belongs to.
const fn samples_of(step: usize) -> [i16; SEGMENT] {
    let mut samples = [0; SEGMENT];
    let mut lane = 0;
    while lane < SEGMENT {
        samples[lane] = byte_of(lane, step).0 as i16;
        lane += 1;
    }
    samples
}

/// The byte of its sample where what a lane takes from it begins.
const fn bytes_of(size: usize, step: usize) -> [i16; SEGMENT] {
    let mut bytes = [0; SEGMENT];
    let mut lane = 0;
    while lane < SEGMENT {
        bytes[lane] = (byte_of(lane, step).1 / size * size) as i16;
        lane += 1;
    }
    bytes
}

#[target_feature(enable = "avx2")]
#[inline]
fn load16(bytes: &[u8]) -> __m128i {
    let bytes: &[u8; SEGMENT] = bytes[..SEGMENT].try_into().expect("sixteen bytes");
    // SAFETY: sixteen bytes are there.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load(values: &[i16; SEGMENT]) -> __m256i {
    // SAFETY: sixteen values of two bytes are there.
    unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
}

/// How the lanes of a segment lie between the cells.
struct Pattern {
    /// Cells before those of each half.
    first: [usize; 2],
    /// Byte shuffles: a lane's cell and the next.
    cell: [i16; SEGMENT],
    next: [i16; SEGMENT],
    /// The share of the next, in 32768ths.
    share: [i16; SEGMENT],
}

/// Cells from a segment's first on that both of its halves lie between.
const WINDOW: usize = 3 * HALF;

impl Pattern {
    const fn new(scale: usize, step: usize) -> Self {
        let first = [place(0, scale).0, place(byte_of(HALF, step).0, scale).0];
        assert!(first[1] + HALF <= WINDOW && first[0] <= first[1]);
        let (mut cell, mut next, mut share) = ([0; SEGMENT], [0; SEGMENT], [0; SEGMENT]);
        let mut lane = 0;
        while lane < SEGMENT {
            let (at, eighths) = place(byte_of(lane, step).0, scale);
            let at = at - first[lane / HALF];
            // Both bytes of a value; one beyond sixteen bytes has no share.
            cell[lane] = 0x0100 + 0x0202 * at as i16;
            next[lane] = 0x0100 + 0x0202 * ((at + 1) % HALF) as i16;
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

    /// That of a number of samples a cell.
    fn of<const STEP: usize>(scale: usize) -> &'static Self {
        match scale {
            4 => const { &Pattern::new(4, STEP) },
            2 => const { &Pattern::new(2, STEP) },
            _ => const { &Pattern::new(1, STEP) },
        }
    }

    /// The values of a segment whose cells begin with number `first`.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn at(&self, cells: &[i16], first: usize) -> __m256i {
        let cells: &[i16; WINDOW] = cells[first..][..WINDOW].try_into().expect("cells");
        // SAFETY: eight values from the `first` ones on are in the window, as `new` saw.
        let half = |first: usize| unsafe { _mm_loadu_si128(cells.as_ptr().add(first).cast()) };
        let cells = _mm256_set_m128i(half(self.first[1]), half(self.first[0]));
        between(
            _mm256_shuffle_epi8(cells, load(&self.cell)),
            _mm256_shuffle_epi8(cells, load(&self.next)),
            load(&self.share),
        )
    }
}

/// Where samples lie along one axis: whole ones, counted from an origin, and 128ths beyond.
struct Places {
    whole: __m256i,
    between: __m256i,
}

/// What turns flow along an axis into places.
struct Axis {
    bits: __m128i,
    fraction: __m256i,
    rest: __m128i,
    /// Samples from a place in the picture to where its flow counts from.
    base: i32,
    /// The last sample.
    last: i32,
    /// How far flow reaches in this tile, in samples.
    reach: Range<i32>,
}

/// No flow reaches further than this from where it counts.
const REACH: i32 = 1024;

impl Axis {
    /// For value `i` of the cells.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn new(cells: &Cells, i: usize, size: usize, sub: u32) -> Self {
        let bits = FLOW_BITS + sub;
        let (first, last) = cells.range[i];
        Axis {
            bits: _mm_cvtsi32_si128(bits as i32),
            fraction: _mm256_set1_epi16((1 << bits) - 1),
            rest: _mm_cvtsi32_si128((bits - PLACE_BITS) as i32),
            base: cells.base[i] >> sub,
            last: size as i32 - 1,
            reach: i32::from(first >> bits)..i32::from(last >> bits) + 1,
        }
    }

    /// What the flows of samples from `at` on count from, brought so near to the picture that its
    /// distances from both ends fit 16 bits where they matter.
    fn origin(&self, at: usize) -> i32 {
        (at as i32 + self.base).clamp(-REACH, self.last + REACH)
    }

    /// Places of samples that lie `at` beyond the origin, at most `length`, and are moved by `flow`;
    /// inside of the picture.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn places(&self, origin: i32, at: __m256i, length: i32, flow: __m256i) -> Places {
        let whole = _mm256_add_epi16(at, _mm256_sra_epi16(flow, self.bits));
        let between = _mm256_srl_epi16(_mm256_and_si256(flow, self.fraction), self.rest);
        if origin + self.reach.start >= 0 && origin + length + self.reach.end <= self.last {
            return Places { whole, between };
        }
        let first = _mm256_set1_epi16((-origin).max(-REACH) as i16);
        let last = _mm256_set1_epi16((self.last - origin).min(REACH) as i16);
        // Beyond the edge there is nothing to lie between.
        let before = _mm256_cmpgt_epi16(first, whole);
        let inside = _mm256_andnot_si256(before, _mm256_cmpgt_epi16(last, whole));
        Places {
            whole: _mm256_min_epi16(_mm256_max_epi16(whole, first), last),
            between: _mm256_and_si256(between, inside),
        }
    }
}

/// What a segment's lanes have from one side: with SIZE 1 values of 16 bits, with SIZE 2 half as
/// many floats.
type Values = __m256i;

/// Segments that are worked on together.
const SEGMENTS: usize = 32;

/// A source plane and what is needed to fetch from it. SIZE: bytes of a sample; STEP: from one to
/// the next.
struct Fetch<'a, const SIZE: usize, const STEP: usize> {
    plane: Plane<'a>,
    /// The last row and sample.
    last: (usize, usize),
    shift: __m128i,
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
    const OFFSETS: [i16; SEGMENT] = {
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

    /// Fills `values` for all segments of a tile that are not still; x and y of the flow.
    #[target_feature(enable = "avx2")]
    #[inline(never)]
    fn side(
        &self,
        (row, cells): (&Row, &Cells),
        start: usize,
        side: usize,
        still: &[bool],
        values: &mut [Values],
    ) {
        let pattern = Pattern::of::<STEP>(cells.scale);
        let length = row.group.segment();
        let [flow_x, flow_y] = [&cells.values[2 * side], &cells.values[2 * side + 1]];
        let axis_x = Axis::new(cells, 2 * side, row.width, cells.sub.0);
        let axis_y = Axis::new(cells, 2 * side + 1, row.height, cells.sub.1);
        let at = load(const { &samples_of(STEP) });
        let origin_y = axis_y.origin(row.y);
        let inside = self.is_inside(origin_y, &axis_y);
        let (mut first, step) = (cells.first(start), cells.first(cells.start + length));
        for (i, value) in values.iter_mut().enumerate() {
            let cell = first;
            first += step;
            if still[i] {
                continue;
            }
            let origin_x = axis_x.origin(start + i * length);
            let flow = (pattern.at(flow_x, cell), pattern.at(flow_y, cell));
            let x = axis_x.places(origin_x, at, length as i32, flow.0);
            let y = axis_y.places(origin_y, _mm256_setzero_si256(), 0, flow.1);
            let pairs = self.pairs(Spots {
                origin: (origin_x, origin_y),
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

    /// Whether the plane holds sixteen bytes around any place in reach and in the two rows below.
    fn is_inside(&self, origin_y: i32, axis: &Axis) -> bool {
        let rows = origin_y + axis.reach.start..origin_y + axis.reach.end;
        let wide = self.last.1 * STEP >= SEGMENT && self.plane.stride <= i16::MAX as usize;
        // One row more on each side: the bytes may begin before a row and end behind it.
        wide && rows.start >= 1 && rows.end + 3 <= self.last.0 as i32
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn pairs(&self, spots: Spots) -> Pairs {
        match (self.near(spots), spots.inside) {
            (Some(pairs), _) => pairs,
            (None, true) => self.gathered(spots),
            (None, false) => self.one_by_one(spots),
        }
    }

    /// By loads and shuffles, if those of each half lie close enough.
    #[target_feature(enable = "avx2")]
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
    #[target_feature(enable = "avx2")]
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
    #[target_feature(enable = "avx2")]
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
    #[target_feature(enable = "avx2")]
    #[inline(never)]
    fn gathered(&self, Spots { origin, x, y, .. }: Spots) -> Pairs {
        let stride = self.plane.stride as i32;
        let steps = _mm256_set1_epi32(stride << 16 | STEP as i32);
        let start = origin.1 as isize * stride as isize + origin.0 as isize * STEP as isize;
        // SAFETY: the origin is a place in the plane or at most a thousand samples and rows away,
        // so that no pointer leaves the address space.
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
    #[target_feature(enable = "avx2")]
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
    #[target_feature(enable = "avx2")]
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
    #[target_feature(enable = "avx2")]
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
#[target_feature(enable = "avx2")]
#[inline]
fn share_of(lanes: __m256i, unit: f32) -> __m256 {
    let lanes = _mm256_and_si256(lanes, _mm256_set1_epi32(0xffff));
    _mm256_mul_ps(_mm256_cvtepi32_ps(lanes), _mm256_set1_ps(unit))
}

#[target_feature(enable = "avx2")]
#[inline]
fn lerp(a: __m256, b: __m256, t: __m256) -> __m256 {
    _mm256_add_ps(a, _mm256_mul_ps(t, _mm256_sub_ps(b, a)))
}

/// The first lane of each half.
#[target_feature(enable = "avx2")]
#[inline]
fn halves(v: __m256i) -> [i32; 2] {
    let first = |half: __m128i| i32::from(_mm_cvtsi128_si32(half) as i16);
    [
        first(_mm256_castsi256_si128(v)),
        first(_mm256_extracti128_si256::<1>(v)),
    ]
}

/// Codes of eight bits from both sides' values.
#[target_feature(enable = "avx2")]
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
#[target_feature(enable = "avx2")]
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

#[target_feature(enable = "avx2")]
fn tile<const SIZE: usize, const STEP: usize>(
    row: &Row,
    cells: &Cells,
    samples: Range<usize>,
    out: &mut [u8],
) {
    let length = row.group.segment();
    let end = samples.end - samples.len() % length;
    for start in (samples.start..end).step_by(SEGMENTS * length) {
        run::<SIZE, STEP>(row, cells, start..end.min(start + SEGMENTS * length), out);
    }
    if end < samples.end {
        reference::segment(row, cells, end..samples.end, out);
    }
}

/// At most [`SEGMENTS`] whole segments.
#[target_feature(enable = "avx2")]
fn run<const SIZE: usize, const STEP: usize>(
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
        };
        let values = &mut values[side][..segments];
        fetch.side((row, cells), start, side, &still[..segments], values);
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
#[target_feature(enable = "avx2")]
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
#[target_feature(enable = "avx2")]
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
#[target_feature(enable = "avx2")]
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
#[target_feature(enable = "avx2")]
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
