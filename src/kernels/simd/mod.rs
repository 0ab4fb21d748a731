//! What the fast kernels share, first of all their words: AVX2's instructions, by the names that all compilers have for them.
//!
//! On x86-64 they are what they say. On aarch64 `neon.rs` says the same, so that each kernel is written once. What uses
//! them has `target_feature` on x86-64 alone, where not every machine has AVX2; on aarch64 every machine has NEON.

#[cfg(target_arch = "aarch64")]
pub mod neon;

#[cfg(target_arch = "aarch64")]
pub use neon as avx2;
#[cfg(target_arch = "x86_64")]
pub use std::arch::x86_64 as avx2;

use avx2::*;

/// Floats in a vector.
pub const LANES: usize = 8;

/// An array of what an expression is for each lane's number.
///
/// In place of `array::from_fn` and `array::map`: a closure with instructions that the caller of such a function lacks often
/// becomes a function of its own, which costs more than what it computes.
macro_rules! each_lane {
    ($lane:ident => $value:expr) => {
        [
            each_lane!(@one $lane 0 $value),
            each_lane!(@one $lane 1 $value),
            each_lane!(@one $lane 2 $value),
            each_lane!(@one $lane 3 $value),
            each_lane!(@one $lane 4 $value),
            each_lane!(@one $lane 5 $value),
            each_lane!(@one $lane 6 $value),
            each_lane!(@one $lane 7 $value),
        ]
    };
    (@one $lane:ident $number:literal $value:expr) => {{
        let $lane: usize = $number;
        $value
    }};
}
pub(super) use each_lane;

/// A vector's worth of floats, aligned so that no load of it crosses a cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(32))]
pub struct Lanes(pub [f32; LANES]);

impl Lanes {
    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx"))]
    pub fn load(&self) -> __m256 {
        // SAFETY: eight floats, aligned to 32 bytes.
        unsafe { _mm256_load_ps(self.0.as_ptr()) }
    }

    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx"))]
    pub fn store(&mut self, v: __m256) {
        // SAFETY: as above.
        unsafe { _mm256_store_ps(self.0.as_mut_ptr(), v) }
    }
}

/// Room for so many values of eight pixels, each value's side by side, in whole blocks.
#[derive(Debug, Clone, Copy)]
pub struct Planes<const BLOCKS: usize>(pub [[Lanes; LANES]; BLOCKS]);

impl<const BLOCKS: usize> Planes<BLOCKS> {
    pub const ZEROS: Self = Self([[Lanes([0.0; LANES]); LANES]; BLOCKS]);

    /// The first `channels` values of each pixel, side by side, into as many pixels of `out`, which are `pixel` floats
    /// apart, as it has (eight at most).
    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    pub fn turn(&self, channels: usize, pixel: usize, out: &mut [f32]) {
        for (v, block) in self.0.iter().enumerate() {
            let pixels = transpose(&each_lane!(i => block[i].load()));
            for (values, out) in pixels.into_iter().zip(out.chunks_mut(pixel)) {
                store(&mut out[v * LANES..channels.min((v + 1) * LANES)], values);
            }
        }
    }
}

/// All ones in the first `n` lanes (all of them if there are more), zeros in the others.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
pub fn tail_mask(n: usize) -> __m256i {
    let n = _mm256_set1_epi32(n.min(LANES) as i32);
    _mm256_cmpgt_epi32(n, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
}

/// The first eight of `values`; zeros where there are fewer.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
pub fn load(values: &[f32]) -> __m256 {
    if values.len() >= LANES {
        // SAFETY: there are eight floats.
        return unsafe { _mm256_loadu_ps(values.as_ptr()) };
    }
    // SAFETY: the mask lets through only what lies inside of the slice.
    unsafe { _mm256_maskload_ps(values.as_ptr(), tail_mask(values.len())) }
}

/// Writes the first eight of `out`, or as many as there are. (Masked stores are slow on some
/// processors, tens of cycles; masked loads are not.)
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
pub fn store(out: &mut [f32], v: __m256) {
    let n = out.len();
    let mut at = out.as_mut_ptr();
    if n >= LANES {
        // SAFETY: there is room for eight floats.
        return unsafe { _mm256_storeu_ps(at, v) };
    }
    let mut rest = _mm256_castps256_ps128(v);
    // SAFETY: the bits of `n` add up to `n`, so that nothing beyond the slice is written.
    unsafe {
        if n & 4 != 0 {
            _mm_storeu_ps(at, rest);
            rest = _mm256_extractf128_ps::<1>(v);
            at = at.add(4);
        }
        if n & 2 != 0 {
            _mm_storel_pd(at.cast(), _mm_castps_pd(rest));
            rest = _mm_movehl_ps(rest, rest);
            at = at.add(2);
        }
        if n & 1 != 0 {
            _mm_store_ss(at, rest);
        }
    }
}

/// `a + t * (b - a)` with two roundings, as plain loops have it: where places are told by it, one less could lead to another
/// sample.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx"))]
pub fn lerp(a: __m256, b: __m256, t: __m256) -> __m256 {
    _mm256_add_ps(a, _mm256_mul_ps(t, _mm256_sub_ps(b, a)))
}

/// Sums of eight vectors, one a lane.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx"))]
pub fn sums(v: &[__m256; LANES]) -> __m256 {
    let a = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
    let b = _mm256_hadd_ps(_mm256_hadd_ps(v[4], v[5]), _mm256_hadd_ps(v[6], v[7]));
    _mm256_add_ps(
        _mm256_permute2f128_ps::<0x20>(a, b),
        _mm256_permute2f128_ps::<0x31>(a, b),
    )
}

/// The sum of one vector's lanes, rounded as each of [`sums`].
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx"))]
pub fn sum_of_neighbours(v: __m256) -> f32 {
    let pairs = _mm256_hadd_ps(v, v);
    let fours = _mm256_hadd_ps(pairs, pairs);
    let (low, high) = (
        _mm256_castps256_ps128(fours),
        _mm256_extractf128_ps::<1>(fours),
    );
    _mm_cvtss_f32(_mm_add_ss(low, high))
}

/// Lane `i` of vector `j` becomes lane `j` of vector `i`.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx"))]
pub fn transpose(v: &[__m256; LANES]) -> [__m256; LANES] {
    // Pairs of lanes, then fours, within the halves of the vectors; then the halves.
    let mut pairs = [_mm256_setzero_ps(); LANES];
    for i in 0..4 {
        pairs[2 * i] = _mm256_unpacklo_ps(v[2 * i], v[2 * i + 1]);
        pairs[2 * i + 1] = _mm256_unpackhi_ps(v[2 * i], v[2 * i + 1]);
    }
    let mut fours = [_mm256_setzero_ps(); LANES];
    for i in [0, 4] {
        for j in 0..2 {
            let (a, b) = (pairs[i + j], pairs[i + j + 2]);
            fours[i + 2 * j] = _mm256_shuffle_ps::<0x44>(a, b);
            fours[i + 2 * j + 1] = _mm256_shuffle_ps::<0xee>(a, b);
        }
    }
    let mut out = [_mm256_setzero_ps(); LANES];
    for i in 0..4 {
        out[i] = _mm256_permute2f128_ps::<0x20>(fours[i], fours[i + 4]);
        out[i + 4] = _mm256_permute2f128_ps::<0x31>(fours[i], fours[i + 4]);
    }
    out
}

/// Added to a number, it leaves the nearest whole one in the last bits.
const ROUND: f32 = (3 << 22) as f32;

/// `exp` of values in -87 to 0, to a few units in the last place; less than that counts as -87.
///
/// 2 to the whole part of x log2(e), times 2 to the rest, at most a half, by the polynomial whose largest relative error is
/// least (7.5e-8).
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
pub fn exp_negative(x: __m256) -> __m256 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    /// What the float above lacks.
    const LOG2_E_REST: f32 = 1.925_963e-8;
    let x = _mm256_max_ps(x, _mm256_set1_ps(-87.0));
    let whole = _mm256_fmadd_ps(x, _mm256_set1_ps(LOG2_E), _mm256_set1_ps(ROUND));
    let n = _mm256_sub_ps(whole, _mm256_set1_ps(ROUND));
    let rest = _mm256_fmsub_ps(x, _mm256_set1_ps(LOG2_E), n);
    let rest = _mm256_fmadd_ps(x, _mm256_set1_ps(LOG2_E_REST), rest);
    let mut p = _mm256_set1_ps(0.001_327_65);
    for factor in [0.009_675_54, 0.055_507_13, 0.240_221_2, 0.693_146_94, 1.0] {
        p = _mm256_fmadd_ps(p, rest, _mm256_set1_ps(factor));
    }
    times_2_to(p, whole)
}

/// 2 to the power of values up to 0, to 3 millionths, for what is a share of a sum; less than -126 counts as -126.
///
/// As [`exp_negative`], by the polynomial of degree 4.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
pub fn exp2_of_share(x: __m256) -> __m256 {
    let x = _mm256_max_ps(x, _mm256_set1_ps(-126.0));
    let whole = _mm256_add_ps(x, _mm256_set1_ps(ROUND));
    let rest = _mm256_sub_ps(x, _mm256_sub_ps(whole, _mm256_set1_ps(ROUND)));
    let mut p = _mm256_set1_ps(0.009_570_102);
    for factor in [0.055_917_86, 0.240_247_44, 0.693_121_8, 0.999_999_3] {
        p = _mm256_fmadd_ps(p, rest, _mm256_set1_ps(factor));
    }
    times_2_to(p, whole)
}

/// `p`, 0.5 to 2, times 2 to a number that was rounded by [`ROUND`].
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn times_2_to(p: __m256, whole: __m256) -> __m256 {
    let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(whole));
    _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), exponent))
}

/// 1 / (1 + exp(-x)).
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
pub fn sigmoid(x: __m256) -> __m256 {
    let one = _mm256_set1_ps(1.0);
    let small = exp_negative(_mm256_or_ps(x, _mm256_set1_ps(-0.0)));
    let top = _mm256_blendv_ps(one, small, x);
    _mm256_div_ps(top, _mm256_add_ps(one, small))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::CpuLevel;

    #[test]
    fn exp_negative_is_exact_to_four_units_in_the_last_place() {
        if !CpuLevel::VECTORS.is_supported() {
            return;
        }
        for i in 0..100_000 {
            let x = -86.9 * i as f32 / 100_000.0;
            let mut got = [0f32; LANES];
            // SAFETY: the instructions were just found; `got` has room for a vector.
            unsafe { _mm256_storeu_ps(got.as_mut_ptr(), exp_negative(_mm256_set1_ps(x))) };
            let want = f64::from(x).exp();
            let error = (f64::from(got[0]) - want).abs() / want;
            assert!(error < 4.0 * f64::from(f32::EPSILON), "exp({x}): {error:e}");
        }
    }

    #[test]
    fn exp2_of_share_is_exact_to_three_millionths() {
        if !CpuLevel::VECTORS.is_supported() {
            return;
        }
        let power = |x: f32| {
            let mut got = [0f32; LANES];
            // SAFETY: the instructions were just found; `got` has room for a vector.
            unsafe { _mm256_storeu_ps(got.as_mut_ptr(), exp2_of_share(_mm256_set1_ps(x))) };
            f64::from(got[0])
        };
        for i in 0..=100_000 {
            let x = -126.0 * i as f32 / 100_000.0;
            let want = f64::from(x).exp2();
            let error = (power(x) - want).abs() / want;
            assert!(error < 3e-6, "2 to the {x}: {error:e}");
        }
        for x in [-127.0, -1e9, f32::NEG_INFINITY] {
            assert_eq!(power(x), power(-126.0), "2 to the {x}");
        }
    }
}
