//! AVX2: eight samples at a time, the same operations in the same order as the reference.
//!
//! A sample's bytes are found in 32-bit "words": four bytes from its position on, which hold the
//! samples of all components of a group, and with steps of one or two bytes also those of its
//! right neighbour. Words of four neighbouring samples are nearly always within sixteen bytes of
//! one row or of two adjoining ones: then loads and byte shuffles fetch them. Otherwise a gather
//! does, and where that would read past the plane's end, the reference.

use std::arch::x86_64::*;
use std::ops::Range;

use super::cells::{Cells, Pattern};
use super::{Row, SEGMENT, STATIC_FLOW, reference};
use crate::picture::{Component, Plane};

/// Whether offsets into the planes fit the 32-bit lanes.
pub fn can(row: &Row) -> bool {
    row.left.data.len() <= i32::MAX as usize && row.right.data.len() <= i32::MAX as usize
}

/// The samples of a tile; they begin at a multiple of [`SEGMENT`].
///
/// # Safety
/// The machine has AVX2, `can(row)`, and `out` is the row's bytes.
#[target_feature(enable = "avx2")]
pub unsafe fn samples(row: &Row, cells: &Cells, samples: Range<usize>, out: &mut [u8]) {
    let c = row.group.first();
    // SAFETY: the caller's promises; N and STEP are the group's.
    unsafe {
        match (row.group.components.len(), c.step) {
            (1, 1) => tile::<1, 1>(row, cells, samples, out),
            (1, 2) => tile::<1, 2>(row, cells, samples, out),
            (2, 2) => tile::<2, 2>(row, cells, samples, out),
            (2, 4) => tile::<2, 4>(row, cells, samples, out),
            (3, 3) => tile::<3, 3>(row, cells, samples, out),
            (3, 4) => tile::<3, 4>(row, cells, samples, out),
            (4, 4) => tile::<4, 4>(row, cells, samples, out),
            _ => reference::samples(row, cells, samples, out),
        }
    }
}

/// How a component's samples are taken out of words and put into them.
#[derive(Clone, Copy)]
struct Part {
    /// Byte shuffle: the sample of a word, zero-extended.
    take: __m256i,
    /// The same for the right neighbour's, where one word holds both.
    take_next: __m256i,
    /// Byte shuffle: the low bytes of a lane to the sample's place, the rest zero.
    put: __m256i,
    /// Bits below the code.
    shift: __m128i,
    max: __m256i,
}

impl Part {
    #[target_feature(enable = "avx2")]
    #[inline]
    fn new(c: &Component) -> Self {
        // Byte numbers of a sample at the bottom of a word, and which of a word's bytes count.
        let (numbers, used) = if c.size() == 1 {
            (0x00, 0xff)
        } else {
            (0x0100, 0xffff)
        };
        let each = used & 0x0101;
        let take = |offset: usize| {
            let bytes = (0x8080_8080 & !used) | (numbers + each * offset as u32);
            in_lanes(bytes, each)
        };
        let up = 8 * c.offset as u32;
        let put = (0x8080_8080 & !(used << up)) | (numbers << up);
        // Where the word does not hold the neighbour, it is never asked for it.
        let next = if c.step <= 2 {
            c.offset + c.step
        } else {
            c.offset
        };
        Part {
            take: take(c.offset),
            take_next: take(next),
            put: in_lanes(put, each << up),
            shift: _mm_cvtsi32_si128(c.shift as i32),
            max: _mm256_set1_epi32(c.max() as i32),
        }
    }
}

impl Part {
    /// The codes of a word's samples; `take` is one of the two shuffles.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn code<const STEP: usize>(&self, word: __m256i, take: __m256i) -> __m256 {
        let raw = _mm256_shuffle_epi8(word, take);
        // Only steps of two and four can have bits below the code.
        let code = if STEP.is_multiple_of(2) {
            _mm256_srl_epi32(raw, self.shift)
        } else {
            raw
        };
        _mm256_cvtepi32_ps(code)
    }

    /// Codes, at most too large, to their place in the words.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn word<const STEP: usize>(&self, code: __m256i) -> __m256i {
        let code = _mm256_min_epi32(code, self.max);
        let raw = if STEP.is_multiple_of(2) {
            _mm256_sll_epi32(code, self.shift)
        } else {
            code
        };
        _mm256_shuffle_epi8(raw, self.put)
    }
}

/// A byte shuffle that is the same in each lane: `bytes`, where those that `each` has a one for
/// are counted from the lane's first.
#[target_feature(enable = "avx2")]
#[inline]
fn in_lanes(bytes: u32, each: u32) -> __m256i {
    let first = _mm256_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12);
    let first = _mm256_mullo_epi32(first, _mm256_set1_epi32(each as i32));
    _mm256_add_epi32(_mm256_set1_epi32(bytes as i32), first)
}

/// A source plane and what is needed to fetch from it.
struct Fetch<'a> {
    data: &'a [u8],
    stride: usize,
    right: __m256,
    bottom: __m256,
    last_row: usize,
}

/// Words of the four neighbours of eight places, and how far between them the places lie.
struct Taps {
    above: [__m256i; 2],
    below: [__m256i; 2],
    tx: __m256,
    ty: __m256,
}

impl<'a> Fetch<'a> {
    #[target_feature(enable = "avx2")]
    #[inline]
    fn new(plane: &Plane<'a>, row: &Row) -> Self {
        Fetch {
            data: plane.data,
            stride: plane.stride,
            right: _mm256_set1_ps((row.width - 1) as f32),
            bottom: _mm256_set1_ps((row.height - 1) as f32),
            last_row: row.height - 1,
        }
    }

    /// `None`: it would read past the plane's end.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn taps<const STEP: usize>(&self, x: __m256, y: __m256) -> Option<Taps> {
        let (x, y) = (bounded(x, self.right), bounded(y, self.bottom));
        let (x0, y0) = (_mm256_cvttps_epi32(x), _mm256_cvttps_epi32(y));
        let tx = _mm256_sub_ps(x, _mm256_cvtepi32_ps(x0));
        let ty = _mm256_sub_ps(y, _mm256_cvtepi32_ps(y0));
        let [above, below] = match self.near::<STEP>(x0, y0) {
            Some(words) => words,
            None => self.far::<STEP>(x0, y0)?,
        };
        Some(Taps {
            above,
            below,
            tx,
            ty,
        })
    }

    /// Words by loads and shuffles, if each half's lie close enough.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn near<const STEP: usize>(&self, x0: __m256i, y0: __m256i) -> Option<[[__m256i; 2]; 2]> {
        let reach = _mm256_set1_epi32(((16 - 4) / STEP) as i32);
        let one = _mm256_set1_epi32(1);
        let base_x = _mm256_shuffle_epi32::<0x00>(x0);
        let base_y = _mm256_min_epi32(
            _mm256_shuffle_epi32::<0x00>(y0),
            _mm256_shuffle_epi32::<0xff>(y0),
        );
        let (dx, dy) = (_mm256_sub_epi32(x0, base_x), _mm256_sub_epi32(y0, base_y));
        // Unsigned, so that what lies before the base is far too.
        let fits = _mm256_and_si256(
            _mm256_cmpeq_epi32(_mm256_max_epu32(dx, reach), reach),
            _mm256_cmpeq_epi32(_mm256_max_epu32(dy, one), one),
        );
        if _mm256_movemask_epi8(fits) != -1 {
            return None;
        }
        let low = self.near_rows(first_lane(base_x) * STEP, first_lane(base_y));
        let high = self.near_rows(fifth_lane(base_x) * STEP, fifth_lane(base_y));
        let next = if STEP > 2 { STEP } else { 0 };
        if low[2].max(high[2]) + 16 + next > self.data.len() {
            return None;
        }
        let index = shuffle_of_words::<STEP>(dx);
        // SAFETY: the last of three rows has room for sixteen bytes, and so have those before it.
        let words = |row: usize, next: usize| unsafe {
            let (l, h) = (
                self.data.as_ptr().add(low[row] + next),
                self.data.as_ptr().add(high[row] + next),
            );
            let both = _mm256_inserti128_si256::<1>(
                _mm256_castsi128_si256(_mm_loadu_si128(l.cast())),
                _mm_loadu_si128(h.cast()),
            );
            _mm256_shuffle_epi8(both, index)
        };
        let level = _mm256_testz_si256(dy, dy) != 0;
        let lower = _mm256_cmpeq_epi32(dy, one);
        let pair = |next: usize| {
            let (first, second) = (words(0, next), words(1, next));
            if level {
                return [first, second];
            }
            let third = words(2, next);
            [
                _mm256_blendv_epi8(first, second, lower),
                _mm256_blendv_epi8(second, third, lower),
            ]
        };
        let [above, below] = pair(0);
        let [above_next, below_next] = if STEP > 2 { pair(STEP) } else { [above, below] };
        Some([[above, above_next], [below, below_next]])
    }

    /// Offsets of a place in row `y` and in the two rows below.
    #[inline(always)]
    fn near_rows(&self, bytes: usize, y: usize) -> [usize; 3] {
        let at = |y: usize| y.min(self.last_row) * self.stride + bytes;
        [at(y), at(y + 1), at(y + 2)]
    }

    /// Words by gathers, wherever they lie.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn far<const STEP: usize>(&self, x0: __m256i, y0: __m256i) -> Option<[[__m256i; 2]; 2]> {
        let next = if STEP > 2 { STEP } else { 0 };
        let last = self.data.len().checked_sub(4 + next)?;
        let stride = _mm256_set1_epi32(self.stride as i32);
        let y1 = _mm256_min_epi32(
            _mm256_add_epi32(y0, _mm256_set1_epi32(1)),
            _mm256_set1_epi32(self.last_row as i32),
        );
        let bytes = _mm256_mullo_epi32(x0, _mm256_set1_epi32(STEP as i32));
        let above = _mm256_add_epi32(_mm256_mullo_epi32(y0, stride), bytes);
        let below = _mm256_add_epi32(_mm256_mullo_epi32(y1, stride), bytes);
        let beyond = _mm256_cmpgt_epi32(below, _mm256_set1_epi32(last as i32));
        if _mm256_movemask_epi8(beyond) != 0 {
            return None;
        }
        // SAFETY: all offsets are at most `last`, where four bytes (and the next word) still fit;
        // those above are not greater than those below.
        let gather = |at: __m256i, next: usize| unsafe {
            _mm256_i32gather_epi32::<1>(self.data.as_ptr().add(next).cast(), at)
        };
        let (a, b) = (gather(above, 0), gather(below, 0));
        if STEP <= 2 {
            return Some([[a, a], [b, b]]);
        }
        Some([[a, gather(above, STEP)], [b, gather(below, STEP)]])
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn first_lane(v: __m256i) -> usize {
    _mm_cvtsi128_si32(_mm256_castsi256_si128(v)) as usize
}

#[target_feature(enable = "avx2")]
#[inline]
fn fifth_lane(v: __m256i) -> usize {
    _mm_cvtsi128_si32(_mm256_extracti128_si256::<1>(v)) as usize
}

/// Byte shuffle that brings the words `dx` samples from the base to their lanes.
#[target_feature(enable = "avx2")]
#[inline]
fn shuffle_of_words<const STEP: usize>(dx: __m256i) -> __m256i {
    let bytes = match STEP {
        1 => dx,
        2 => _mm256_slli_epi32::<1>(dx),
        3 => _mm256_add_epi32(dx, _mm256_slli_epi32::<1>(dx)),
        _ => _mm256_slli_epi32::<2>(dx),
    };
    // The lowest byte of each lane to all four of its bytes.
    let (low, high) = (0x0404_0404_0000_0000, 0x0c0c_0c0c_0808_0808);
    let spread = _mm256_set_epi64x(high, low, high, low);
    _mm256_add_epi8(
        _mm256_shuffle_epi8(bytes, spread),
        _mm256_set1_epi32(0x0302_0100),
    )
}

#[target_feature(enable = "avx2")]
#[inline]
fn lerp(a: __m256, b: __m256, t: __m256) -> __m256 {
    _mm256_add_ps(a, _mm256_mul_ps(t, _mm256_sub_ps(b, a)))
}

impl Taps {
    /// The bilinear values of one component.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn value<const STEP: usize>(&self, part: &Part) -> __m256 {
        let next = if STEP > 2 { part.take } else { part.take_next };
        let [a, b] = self.above;
        let above = lerp(
            part.code::<STEP>(a, part.take),
            part.code::<STEP>(b, next),
            self.tx,
        );
        let [a, b] = self.below;
        let below = lerp(
            part.code::<STEP>(a, part.take),
            part.code::<STEP>(b, next),
            self.tx,
        );
        lerp(above, below, self.ty)
    }
}

/// A [`Pattern`] in registers.
struct Columns {
    index: __m256i,
    next: __m256i,
    t: __m256,
}

impl Columns {
    #[target_feature(enable = "avx2")]
    #[inline]
    fn new(pattern: &Pattern) -> Self {
        // SAFETY: eight values of 32 bits each are there.
        let (index, t) = unsafe {
            (
                _mm256_loadu_si256(pattern.index.as_ptr().cast()),
                _mm256_loadu_ps(pattern.t.as_ptr()),
            )
        };
        Columns {
            index,
            next: _mm256_add_epi32(index, _mm256_set1_epi32(1)),
            t,
        }
    }

    /// The values of a segment whose first cell is the first of `cells`.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn at(&self, cells: &[f32]) -> __m256 {
        let cells: &[f32; SEGMENT] = cells[..SEGMENT].try_into().expect("eight cells");
        // SAFETY: eight values are there.
        let v = unsafe { _mm256_loadu_ps(cells.as_ptr()) };
        lerp(
            _mm256_permutevar8x32_ps(v, self.index),
            _mm256_permutevar8x32_ps(v, self.next),
            self.t,
        )
    }
}

/// # Safety
/// The machine has AVX2; N and STEP are the group's; `out` is the row's bytes.
#[target_feature(enable = "avx2")]
unsafe fn tile<const N: usize, const STEP: usize>(
    row: &Row,
    cells: &Cells,
    samples: Range<usize>,
    out: &mut [u8],
) {
    let parts: [Part; N] = std::array::from_fn(|i| Part::new(&row.group.components[i]));
    let sources = [Fetch::new(&row.left, row), Fetch::new(&row.right, row)];
    let columns = Columns::new(cells.pattern);
    let (same_left, same_right) = (row.left.row(row.y), row.right.row(row.y));
    let lanes = _mm256_setr_ps(0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0);
    let y = _mm256_set1_ps(row.y as f32);
    let still = [
        _mm256_set1_ps(STATIC_FLOW * cells.scale.0),
        _mm256_set1_ps(STATIC_FLOW * cells.scale.1),
    ];

    for x in samples.clone().step_by(SEGMENT) {
        let bytes = x * STEP..(x + SEGMENT) * STEP;
        if x + SEGMENT > samples.end || bytes.end > out.len() {
            reference::segment(row, cells, x..samples.end.min(x + SEGMENT), out);
            continue;
        }
        let first = cells.first(x);
        let flow = [
            columns.at(&cells.left_x[first..]),
            columns.at(&cells.left_y[first..]),
            columns.at(&cells.right_x[first..]),
            columns.at(&cells.right_y[first..]),
        ];
        let same = same_left[bytes.clone()] == same_right[bytes.clone()];
        if same && is_still(flow, still) {
            if row.group.whole {
                out[bytes.clone()].copy_from_slice(&same_left[bytes]);
            } else {
                reference::segment(row, cells, x..x + SEGMENT, out);
            }
            continue;
        }
        let xs = _mm256_add_ps(_mm256_set1_ps(x as f32), lanes);
        let mut values = [[_mm256_setzero_ps(); N]; 2];
        let mut complete = true;
        for side in 0..2 {
            let (px, py) = (
                _mm256_add_ps(xs, flow[2 * side]),
                _mm256_add_ps(y, flow[2 * side + 1]),
            );
            let Some(taps) = sources[side].taps::<STEP>(px, py) else {
                complete = false;
                break;
            };
            for i in 0..N {
                values[side][i] = taps.value::<STEP>(&parts[i]);
            }
        }
        if !complete {
            reference::segment(row, cells, x..x + SEGMENT, out);
            continue;
        }
        let weight = bounded(columns.at(&cells.weight[first..]), _mm256_set1_ps(1.0));
        let mut words = _mm256_setzero_si256();
        for (i, part) in parts.iter().enumerate() {
            let code = _mm256_cvtps_epi32(lerp(values[1][i], values[0][i], weight));
            words = _mm256_or_si256(words, part.word::<STEP>(code));
        }
        store::<STEP>(words, &parts, row.group.whole, &mut out[bytes]);
    }
}

/// Whether all flow (left x and y, right x and y) is within the limits for x and y.
#[target_feature(enable = "avx2")]
#[inline]
fn is_still(flow: [__m256; 4], limit: [__m256; 2]) -> bool {
    let sign = _mm256_set1_ps(-0.0);
    let below = |v, limit| _mm256_cmp_ps::<_CMP_LT_OQ>(_mm256_andnot_ps(sign, v), limit);
    let [lx, ly, rx, ry] = flow;
    let small = _mm256_and_ps(
        _mm256_and_ps(below(lx, limit[0]), below(ly, limit[1])),
        _mm256_and_ps(below(rx, limit[0]), below(ry, limit[1])),
    );
    _mm256_movemask_ps(small) == 0xff
}

/// `v` brought into 0 to `max`; 0 for what is no number.
#[target_feature(enable = "avx2")]
#[inline]
fn bounded(v: __m256, max: __m256) -> __m256 {
    // `max` answers its second operand for what is no number.
    _mm256_min_ps(_mm256_max_ps(v, _mm256_setzero_ps()), max)
}

/// Writes the words of eight samples; of what is not a whole group, only its own bytes.
#[target_feature(enable = "avx2")]
#[inline]
fn store<const STEP: usize>(words: __m256i, parts: &[Part], whole: bool, out: &mut [u8]) {
    let (low, high) = (
        _mm256_castsi256_si128(words),
        _mm256_extracti128_si256::<1>(words),
    );
    if STEP == 4 && whole {
        let out: &mut [u8; 32] = out.try_into().expect("eight samples of four bytes");
        // SAFETY: 32 bytes are there.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), words) };
    } else if STEP == 2 && whole {
        let out: &mut [u8; 16] = out.try_into().expect("eight samples of two bytes");
        // SAFETY: 16 bytes are there.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm_packus_epi32(low, high)) };
    } else if STEP == 1 {
        let out: &mut [u8; 8] = out.try_into().expect("eight samples of one byte");
        let words = _mm_packus_epi32(low, high);
        // SAFETY: 8 bytes are there.
        unsafe { _mm_storel_epi64(out.as_mut_ptr().cast(), _mm_packus_epi16(words, words)) };
    } else {
        let own = parts.iter().fold(_mm256_setzero_si256(), |own, part| {
            _mm256_or_si256(own, _mm256_shuffle_epi8(part.max, part.put))
        });
        let (mut bytes, mut own_bytes) = ([0u8; 32], [0u8; 32]);
        // SAFETY: 32 bytes are there in both.
        unsafe {
            _mm256_storeu_si256(bytes.as_mut_ptr().cast(), words);
            _mm256_storeu_si256(own_bytes.as_mut_ptr().cast(), own);
        }
        for (sample, out) in out.chunks_exact_mut(STEP).enumerate() {
            for (b, out) in out.iter_mut().enumerate() {
                let at = sample * 4 + b;
                *out = (*out & !own_bytes[at]) | bytes[at];
            }
        }
    }
}
