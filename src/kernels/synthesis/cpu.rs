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
use crate::picture::Plane;

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

#[target_feature(enable = "avx2")]
#[inline]
fn load16(bytes: &[u8]) -> __m128i {
    let bytes: &[u8; SEGMENT] = bytes[..SEGMENT].try_into().expect("sixteen bytes");
    // SAFETY: sixteen bytes are there.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn lanes(value: impl Fn(usize) -> i16) -> __m256i {
    let values: [i16; SEGMENT] = std::array::from_fn(value);
    // SAFETY: sixteen values are there.
    unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
}

/// How the lanes of a segment lie between the cells.
struct Columns {
    /// Cells before those of each half.
    first: [usize; 2],
    /// Byte shuffles: a lane's cell and the next.
    cell: __m256i,
    next: __m256i,
    /// The share of the next, in 32768ths.
    share: __m256i,
}

impl Columns {
    #[target_feature(enable = "avx2")]
    fn new(scale: usize, step: usize) -> Self {
        let of_lane = |lane: usize| place(byte_of(lane, step).0, scale);
        let first = [0, HALF].map(|lane| of_lane(lane).0);
        // Both bytes of a value; a cell beyond sixteen bytes is the first again, and has no share.
        let shuffle = |lane: usize, next: usize| {
            let cell = of_lane(lane).0 - first[lane / HALF] + next;
            0x0100 + 0x0202 * (cell % HALF) as i16
        };
        Columns {
            first,
            cell: lanes(|lane| shuffle(lane, 0)),
            next: lanes(|lane| shuffle(lane, 1)),
            share: lanes(|lane| of_lane(lane).1 << 12),
        }
    }

    /// The values of a segment whose cells begin with these.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn at(&self, cells: &[i16]) -> __m256i {
        let half = |i: usize| {
            let cells: &[i16; HALF] = cells[self.first[i]..][..HALF].try_into().expect("cells");
            // SAFETY: eight values of two bytes are there.
            unsafe { _mm_loadu_si128(cells.as_ptr().cast()) }
        };
        let cells = _mm256_set_m128i(half(1), half(0));
        between(
            _mm256_shuffle_epi8(cells, self.cell),
            _mm256_shuffle_epi8(cells, self.next),
            self.share,
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
    /// The last sample.
    last: i32,
}

/// No flow reaches further than this from where it counts.
const REACH: i32 = 1024;

impl Axis {
    #[target_feature(enable = "avx2")]
    fn new(size: usize, sub: u32) -> Self {
        let bits = FLOW_BITS + sub;
        Axis {
            bits: _mm_cvtsi32_si128(bits as i32),
            fraction: _mm256_set1_epi16((1 << bits) - 1),
            rest: _mm_cvtsi32_si128((bits - PLACE_BITS) as i32),
            last: size as i32 - 1,
        }
    }

    /// Brought so near to the picture that its distances from both ends fit 16 bits where they
    /// matter.
    fn origin(&self, at: i32) -> i32 {
        at.clamp(-REACH, self.last + REACH)
    }

    /// Places of samples that lie `at` beyond the origin and are moved by `flow`, inside of the
    /// picture.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn places(&self, origin: i32, at: __m256i, flow: __m256i) -> Places {
        let first = _mm256_set1_epi16((-origin).max(-REACH) as i16);
        let last = _mm256_set1_epi16((self.last - origin).min(REACH) as i16);
        let whole = _mm256_add_epi16(at, _mm256_sra_epi16(flow, self.bits));
        let between = _mm256_srl_epi16(_mm256_and_si256(flow, self.fraction), self.rest);
        // Beyond the edge there is nothing to lie between.
        let before = _mm256_cmpgt_epi16(first, whole);
        let inside = _mm256_andnot_si256(before, _mm256_cmpgt_epi16(last, whole));
        Places {
            whole: _mm256_min_epi16(_mm256_max_epi16(whole, first), last),
            between: _mm256_and_si256(between, inside),
        }
    }
}

/// A source plane and what is needed to fetch from it. SIZE: bytes of a sample; STEP: from one to
/// the next.
struct Fetch<'a, const SIZE: usize, const STEP: usize> {
    plane: Plane<'a>,
    /// The last row and sample.
    last: (usize, usize),
    /// For each lane two byte offsets, from its sample on: of what lies there after the shuffle.
    offsets: __m256i,
    shift: __m128i,
}

/// The bytes of each lane's value beside those of the right neighbour's, in two rows.
type Pairs = [__m256i; 2];

impl<'a, const SIZE: usize, const STEP: usize> Fetch<'a, SIZE, STEP> {
    /// How far from a half's first sample on sixteen bytes hold a sample and its neighbour.
    const SPAN: i16 = (16 / STEP - 2) as i16;
    /// Samples before the first one that are within reach, so that flow may contract and expand.
    const BEFORE: i16 = (Self::SPAN - (HALF / STEP.next_power_of_two()) as i16 + 1) / 2;

    #[target_feature(enable = "avx2")]
    fn new(plane: Plane<'a>, row: &Row) -> Self {
        Fetch {
            plane,
            last: (row.height - 1, row.width - 1),
            offsets: lanes(|lane| {
                let [first, second] = Self::offsets(lane);
                (first.0 + STEP * first.1 + 256 * (second.0 + STEP * second.1)) as i16
            }),
            shift: _mm_cvtsi32_si128(row.group.first().shift as i32),
        }
    }

    /// The two bytes of a lane: of the sample, and 1 if it is the neighbour's. Of larger samples a
    /// pair of lanes holds one and its neighbour.
    const fn offsets(lane: usize) -> [(usize, usize); 2] {
        let byte = byte_of(lane, STEP).1;
        match (SIZE, lane % 2) {
            (1, _) => [(byte, 0), (byte, 1)],
            (_, odd) => [(byte - odd, odd), (byte - odd + 1, odd)],
        }
    }

    /// The pairs at places that count from `origin`, (x, y).
    #[target_feature(enable = "avx2")]
    #[inline]
    fn pairs(&self, origin: (i32, i32), x: &Places, y: &Places) -> Pairs {
        match self.near(origin, x.whole, y.whole) {
            Some(pairs) => pairs,
            None => self.far(origin, x.whole, y.whole),
        }
    }

    /// By loads and shuffles, if those of each half lie close enough.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn near(&self, origin: (i32, i32), x: __m256i, y: __m256i) -> Option<Pairs> {
        let (first, last) = (_mm256_set1_epi16(0x0100), _mm256_set1_epi16(0x0f0e));
        let base_x = _mm256_sub_epi16(
            _mm256_shuffle_epi8(x, first),
            _mm256_set1_epi16(Self::BEFORE),
        );
        let base_y = _mm256_min_epi16(_mm256_shuffle_epi8(y, first), _mm256_shuffle_epi8(y, last));
        let (dx, dy) = (_mm256_sub_epi16(x, base_x), _mm256_sub_epi16(y, base_y));
        // Unsigned, so that what lies before the base is far, too.
        let (span, one) = (_mm256_set1_epi16(Self::SPAN), _mm256_set1_epi16(1));
        let fits = _mm256_and_si256(
            _mm256_cmpeq_epi16(_mm256_min_epu16(dx, span), dx),
            _mm256_cmpeq_epi16(_mm256_min_epu16(dy, one), dy),
        );
        if _mm256_movemask_epi8(fits) != -1 {
            return None;
        }
        let (base_x, base_y) = (halves(base_x), halves(base_y));
        let rows = [0, 1].map(|half| self.rows((origin.1 + base_y[half]) as usize));
        let bytes = [0, 1].map(|half| (origin.0 + base_x[half]) as isize * STEP as isize);
        let at = |half: usize, row: usize| rows[half][row] as isize + bytes[half];
        let room = self.plane.data.len() as isize - 16;
        if at(0, 0).min(at(1, 0)) < 0 || at(0, 2).max(at(1, 2)) > room {
            return None;
        }
        let shuffle = _mm256_add_epi16(
            _mm256_mullo_epi16(dx, _mm256_set1_epi16(STEP as i16 * 0x0101)),
            self.offsets,
        );
        // SAFETY: the first row does not begin before the plane, the last of three has room for
        // sixteen bytes in it, and the one between them lies between them.
        let load = |row: usize| unsafe {
            let data = self.plane.data.as_ptr();
            let [low, high] = [0, 1].map(|half| data.offset(at(half, row)).cast());
            let both = _mm256_set_m128i(_mm_loadu_si128(high), _mm_loadu_si128(low));
            _mm256_shuffle_epi8(both, shuffle)
        };
        let (above, below) = (load(0), load(1));
        if _mm256_testz_si256(dy, dy) != 0 {
            return Some([above, below]);
        }
        let lower = _mm256_cmpeq_epi16(dy, one);
        Some([
            _mm256_blendv_epi8(above, below, lower),
            _mm256_blendv_epi8(below, load(2), lower),
        ])
    }

    /// Offsets of row `y` and of the two below.
    #[inline(always)]
    fn rows(&self, y: usize) -> [usize; 3] {
        [y, y + 1, y + 2].map(|y| y.min(self.last.0) * self.plane.stride)
    }

    /// One by one, wherever they lie.
    #[target_feature(enable = "avx2")]
    #[inline(never)]
    fn far(&self, origin: (i32, i32), x: __m256i, y: __m256i) -> Pairs {
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
            let rows = self.rows((origin.1 + i32::from(ys[lane])) as usize);
            for (i, (byte, neighbour)) in Self::offsets(lane).into_iter().enumerate() {
                for (row, pairs) in pairs.iter_mut().enumerate() {
                    let at = rows[row] + columns[neighbour] * STEP + byte;
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
        let [above, below] = pairs.map(|pairs| {
            let signed = _mm256_xor_si256(pairs, _mm256_set1_epi8(i8::MIN));
            _mm256_maddubs_epi16(shares, signed)
        });
        let share = _mm256_slli_epi16::<8>(y.between);
        between(above, below, share)
    }

    /// Values in 128ths of a code from the middle of sixteen bits on, in floats; SIZE is 2.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn of_more_bits(&self, pairs: Pairs, x: &Places, y: &Places) -> __m256 {
        let first = _mm256_sub_epi16(_mm256_set1_epi16(1 << PLACE_BITS), x.between);
        let shares = _mm256_blend_epi16::<0b1010_1010>(first, x.between);
        let [above, below] = pairs.map(|pairs| {
            let code = _mm256_srl_epi16(pairs, self.shift);
            let signed = _mm256_xor_si256(code, _mm256_set1_epi16(i16::MIN));
            _mm256_cvtepi32_ps(_mm256_madd_epi16(signed, shares))
        });
        lerp(above, below, share_of(y.between, 1.0 / 128.0))
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
    let high = _mm256_extracti128_si256::<1>(v);
    [_mm256_castsi256_si128(v), high].map(|half| i32::from(_mm_cvtsi128_si32(half) as i16))
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

/// Words of larger codes, of which the largest is `max`, from both sides' values.
#[target_feature(enable = "avx2")]
#[inline]
fn blend_more_bits(
    [left, right]: [__m256; 2],
    weight: __m256i,
    (max, shift): (__m256i, __m128i),
) -> __m128i {
    let value = lerp(right, left, share_of(weight, 1.0 / f32::from(WHOLE)));
    let code = _mm256_cvtps_epi32(_mm256_mul_ps(value, _mm256_set1_ps(1.0 / 128.0)));
    let code = _mm256_add_epi32(code, _mm256_set1_epi32(1 << 15));
    let word = _mm256_sll_epi32(_mm256_min_epi32(code, max), shift);
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
    let columns = Columns::new(cells.scale, STEP);
    let at = lanes(|lane| byte_of(lane, STEP).0 as i16);
    let fetch: [Fetch<SIZE, STEP>; 2] = [row.left, row.right].map(|p| Fetch::new(p, row));
    let (axis_x, axis_y) = (
        Axis::new(row.width, cells.sub.0),
        Axis::new(row.height, cells.sub.1),
    );
    let base: [i32; 4] = std::array::from_fn(|i| match i % 2 {
        0 => cells.base[i] >> cells.sub.0,
        _ => cells.base[i] >> cells.sub.1,
    });
    let own = own_bytes(row);
    let max = _mm256_set1_epi32(row.group.first().max() as i32);
    let (same_left, same_right) = (row.left.row(row.y), row.right.row(row.y));

    for x in samples.clone().step_by(length) {
        let bytes = x * STEP..(x + length) * STEP;
        if x + length > samples.end {
            reference::segment(row, cells, x..samples.end, out);
            continue;
        }
        let out = &mut out[bytes.clone()];
        let first = cells.first(x);
        let flow: [__m256i; 4] = std::array::from_fn(|i| columns.at(&cells.values[i][first..]));
        let same = same_left[bytes.clone()] == same_right[bytes.clone()];
        if same && cells.base == [0; 4] && is_still(flow) {
            if row.group.whole {
                out.copy_from_slice(&same_left[bytes]);
            } else {
                store::<STEP>(load16(&same_left[bytes]), own, out);
            }
            continue;
        }
        let sides = [0, 1].map(|side| {
            let origin = (
                axis_x.origin(x as i32 + base[2 * side]),
                axis_y.origin(row.y as i32 + base[2 * side + 1]),
            );
            let x = axis_x.places(origin.0, at, flow[2 * side]);
            let y = axis_y.places(origin.1, _mm256_setzero_si256(), flow[2 * side + 1]);
            (fetch[side].pairs(origin, &x, &y), x, y)
        });
        let weight = columns.at(&cells.values[4][first..]);
        let made = if SIZE == 1 {
            let values = [0, 1].map(|side| {
                let (pairs, x, y) = &sides[side];
                fetch[side].of_eight_bits(*pairs, x, y)
            });
            blend_eight_bits(values, weight)
        } else {
            let values = [0, 1].map(|side| {
                let (pairs, x, y) = &sides[side];
                fetch[side].of_more_bits(*pairs, x, y)
            });
            blend_more_bits(values, weight, (max, fetch[0].shift))
        };
        store::<STEP>(made, own, out);
    }
}

/// Whether all flow is that of what stands still.
#[target_feature(enable = "avx2")]
#[inline]
fn is_still(flow: [__m256i; 4]) -> bool {
    let [lx, ly, rx, ry] = flow.map(|flow| _mm256_abs_epi16(flow));
    let largest = _mm256_max_epu16(_mm256_max_epu16(lx, ly), _mm256_max_epu16(rx, ry));
    let limit = _mm256_set1_epi16(STATIC_FLOW as i16 - 1);
    let small = _mm256_cmpeq_epi16(_mm256_max_epu16(largest, limit), limit);
    _mm256_movemask_epi8(small) == -1
}

/// All ones where a byte of a segment belongs to the group.
#[target_feature(enable = "avx2")]
fn own_bytes(row: &Row) -> __m128i {
    let mut own = [0; SEGMENT];
    for c in &row.group.components {
        for sample in 0..row.group.segment() {
            own[sample * c.step + c.offset..][..c.size()].fill(0xff);
        }
    }
    load16(&own)
}

/// Writes a segment, of what is not a whole group only its own bytes.
#[target_feature(enable = "avx2")]
#[inline]
fn store<const STEP: usize>(made: __m128i, own: __m128i, out: &mut [u8]) {
    if STEP == 3 {
        // Without the idle lanes.
        let used = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, -1, -1, -1, -1);
        let mut bytes = [0; SEGMENT];
        // SAFETY: there is room for sixteen bytes.
        unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), _mm_shuffle_epi8(made, used)) };
        out.copy_from_slice(&bytes[..12]);
        return;
    }
    let made = _mm_blendv_epi8(load16(out), made, own);
    let out: &mut [u8; SEGMENT] = out.try_into().expect("sixteen bytes");
    // SAFETY: sixteen bytes are there.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), made) };
}
