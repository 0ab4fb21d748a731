//! Which sample and which cells each lane of a segment belongs to.

use super::super::cells::place;
use super::SEGMENT;
use crate::kernels::simd::avx2::*;

/// Lanes that one shuffle serves.
pub const HALF: usize = SEGMENT / 2;

/// [`super::super::cells::between`], for a share in 32768ths.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
#[inline]
pub fn between(a: __m256i, b: __m256i, share: __m256i) -> __m256i {
    _mm256_add_epi16(a, _mm256_mulhrs_epi16(_mm256_subs_epi16(b, a), share))
}

/// The sample of a segment and the byte of it that a lane belongs to. With steps of three bytes, two
/// lanes of each half are idle.
pub const fn byte_of(lane: usize, step: usize) -> (usize, usize) {
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
pub const fn samples_of(step: usize) -> [i16; SEGMENT] {
    let mut samples = [0; SEGMENT];
    let mut lane = 0;
    while lane < SEGMENT {
        samples[lane] = byte_of(lane, step).0 as i16;
        lane += 1;
    }
    samples
}

/// The byte of its sample where what a lane takes from it begins.
pub const fn bytes_of(size: usize, step: usize) -> [i16; SEGMENT] {
    let mut bytes = [0; SEGMENT];
    let mut lane = 0;
    while lane < SEGMENT {
        bytes[lane] = (byte_of(lane, step).1 / size * size) as i16;
        lane += 1;
    }
    bytes
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
#[inline]
pub fn load16(bytes: &[u8]) -> __m128i {
    let bytes: &[u8; SEGMENT] = bytes[..SEGMENT].try_into().expect("sixteen bytes");
    // SAFETY: sixteen bytes are there.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
#[inline]
pub fn load(values: &[i16; SEGMENT]) -> __m256i {
    // SAFETY: sixteen values of two bytes are there.
    unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
}

/// How the lanes of a segment lie between the cells.
pub struct Pattern {
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
    pub fn of<const STEP: usize>(scale: usize) -> &'static Self {
        match scale {
            4 => const { &Pattern::new(4, STEP) },
            2 => const { &Pattern::new(2, STEP) },
            _ => const { &Pattern::new(1, STEP) },
        }
    }

    /// The values of a segment whose cells begin with number `first`.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    #[inline]
    pub fn at(&self, cells: &[i16], first: usize) -> __m256i {
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
