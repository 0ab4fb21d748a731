//! Those of AVX2's instructions that the kernels use, under their names, in NEON: a vector of 256 bits is two of 128.
//!
//! Each does what Intel says of it, also for what is no number and in the order of sums, but for two cases that no kernel
//! comes to, which are named where they are.

#![allow(non_camel_case_types)]
// between vectors of one size, whose types, at times the same, are those of what is called
#![allow(clippy::missing_transmute_annotations, clippy::useless_transmute)]
#![allow(clippy::too_many_arguments)]

use std::arch::aarch64::*;
use std::mem::transmute;

pub type __m128 = float32x4_t;
pub type __m128d = float64x2_t;
pub type __m128i = int32x4_t;

/// Eight floats.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct __m256(__m128, __m128);

/// Four doubles.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct __m256d(__m128d, __m128d);

/// Integers of any size.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct __m256i(__m128i, __m128i);

pub const _CMP_LT_OQ: i32 = 17;
pub const _MM_HINT_T0: i32 = 3;

/// Functions of values.
macro_rules! values {
    ($($name:ident$(<const $number:ident: i32>)?($($argument:ident: $type:ty),*) -> $result:ty: $body:expr;)*) => {
        $(#[inline(always)]
        pub fn $name$(<const $number: i32>)?($($argument: $type),*) -> $result {
            // SAFETY: every aarch64 has NEON; what is transmuted are vectors, or as many plain numbers, of one size.
            unsafe { $body }
        })*
    };
}

/// Functions that do the same with both halves of all arguments.
macro_rules! halves {
    ($vector:ident: $($name:ident($($argument:ident),+): $half:path;)*) => {
        values! {
            $($name($($argument: $vector),+) -> $vector: $vector(
                transmute($half($(transmute($argument.0)),+)),
                transmute($half($(transmute($argument.1)),+)),
            );)*
        }
    };
}

/// Functions that read or write what `at` points to, which the caller vouches for; no alignment is needed.
macro_rules! memory {
    ($($name:ident($at:ident: $pointer:ty $(, $argument:ident: $type:ty)?) $(-> $result:ty)?: $body:expr;)*) => {
        $(#[inline(always)]
        pub unsafe fn $name($at: $pointer $(, $argument: $type)?) $(-> $result)? {
            // SAFETY: the caller's promise, and as for functions of values.
            unsafe { $body }
        })*
    };
}

memory! {
    _mm_loadu_ps(at: *const f32) -> __m128: at.cast::<__m128>().read_unaligned();
    _mm_load_sd(at: *const f64) -> __m128d: vsetq_lane_f64::<0>(at.read_unaligned(), vdupq_n_f64(0.0));
    _mm_loadl_epi64(at: *const __m128i) -> __m128i:
        transmute(vsetq_lane_u64::<0>(at.cast::<u64>().read_unaligned(), vdupq_n_u64(0)));
    _mm_loadu_si128(at: *const __m128i) -> __m128i: at.read_unaligned();
    _mm256_load_ps(at: *const f32) -> __m256: _mm256_loadu_ps(at);
    _mm256_loadu_ps(at: *const f32) -> __m256: at.cast::<__m256>().read_unaligned();
    _mm256_loadu_si256(at: *const __m256i) -> __m256i: at.read_unaligned();
    _mm256_maskload_ps(at: *const f32, mask: __m256i) -> __m256: {
        let mask: [i32; 8] = transmute(mask);
        let mut values = [0.0; 8];
        for i in 0..8 {
            if mask[i] < 0 {
                values[i] = at.add(i).read_unaligned();
            }
        }
        transmute::<[f32; 8], __m256>(values)
    };
    _mm_store_ss(at: *mut f32, v: __m128): at.write_unaligned(vgetq_lane_f32::<0>(v));
    _mm_storel_pd(at: *mut f64, v: __m128d): at.write_unaligned(vgetq_lane_f64::<0>(v));
    _mm_storeu_ps(at: *mut f32, v: __m128): at.cast::<__m128>().write_unaligned(v);
    _mm_storeu_si128(at: *mut __m128i, v: __m128i): at.write_unaligned(v);
    _mm256_store_ps(at: *mut f32, v: __m256): _mm256_storeu_ps(at, v);
    _mm256_storeu_ps(at: *mut f32, v: __m256): at.cast::<__m256>().write_unaligned(v);
    _mm256_storeu_si256(at: *mut __m256i, v: __m256i): at.write_unaligned(v);
}

/// Words of 32 bits that lie `offsets` times `SCALE` bytes behind an address.
///
/// # Safety
/// All of them can be read.
#[inline(always)]
pub unsafe fn _mm256_i32gather_epi32<const SCALE: i32>(
    at: *const i32,
    offsets: __m256i,
) -> __m256i {
    // SAFETY: eight words on both sides; the caller's promise.
    unsafe {
        let offsets: [i32; 8] = transmute(offsets);
        let mut words = [0; 8];
        for i in 0..8 {
            let word = at.byte_offset(offsets[i] as isize * SCALE as isize);
            words[i] = word.read_unaligned();
        }
        transmute::<[i32; 8], __m256i>(words)
    }
}

/// The same of doubles.
///
/// # Safety
/// All of them can be read.
#[inline(always)]
pub unsafe fn _mm256_i32gather_pd<const SCALE: i32>(at: *const f64, offsets: __m128i) -> __m256d {
    // SAFETY: four numbers on both sides; the caller's promise.
    unsafe {
        let offsets: [i32; 4] = transmute(offsets);
        let mut doubles = [0.0; 4];
        for i in 0..4 {
            let double = at.byte_offset(offsets[i] as isize * SCALE as isize);
            doubles[i] = double.read_unaligned();
        }
        transmute::<[f64; 4], __m256d>(doubles)
    }
}

#[inline(always)]
pub fn _mm_prefetch<const HINT: i32>(at: *const i8) {
    const { assert!(HINT == _MM_HINT_T0) };
    // SAFETY: nothing is changed, and an address of nothing is no error.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) at, options(nostack, readonly, preserves_flags));
    }
}

// Constants, halves, and types.
values! {
    _mm_set1_epi8(value: i8) -> __m128i: transmute(vdupq_n_s8(value));
    _mm_setr_ps(a: f32, b: f32, c: f32, d: f32) -> __m128: transmute([a, b, c, d]);
    _mm_setzero_si128() -> __m128i: vdupq_n_s32(0);
    _mm_cvtsi32_si128(value: i32) -> __m128i: vsetq_lane_s32::<0>(value, vdupq_n_s32(0));
    _mm_cvtsi128_si32(v: __m128i) -> i32: vgetq_lane_s32::<0>(v);
    _mm_cvtss_f32(v: __m128) -> f32: vgetq_lane_f32::<0>(v);
    _mm_castpd_ps(v: __m128d) -> __m128: transmute(v);
    _mm_castps_pd(v: __m128) -> __m128d: transmute(v);
    _mm256_set1_epi8(value: i8) -> __m256i: both(transmute(vdupq_n_s8(value)));
    _mm256_set1_epi16(value: i16) -> __m256i: both(transmute(vdupq_n_s16(value)));
    _mm256_set1_epi32(value: i32) -> __m256i: both(vdupq_n_s32(value));
    _mm256_set1_ps(value: f32) -> __m256: __m256(vdupq_n_f32(value), vdupq_n_f32(value));
    _mm256_setzero_ps() -> __m256: _mm256_set1_ps(0.0);
    _mm256_setzero_si256() -> __m256i: _mm256_set1_epi32(0);
    _mm256_set_m128i(high: __m128i, low: __m128i) -> __m256i: __m256i(low, high);
    _mm256_castps_si256(v: __m256) -> __m256i: transmute(v);
    _mm256_castsi256_ps(v: __m256i) -> __m256: transmute(v);
    _mm256_castpd_ps(v: __m256d) -> __m256: transmute(v);
    // the upper half may be anything
    _mm256_castps128_ps256(v: __m128) -> __m256: __m256(v, v);
    _mm256_castps256_ps128(v: __m256) -> __m128: v.0;
    _mm256_castsi256_si128(v: __m256i) -> __m128i: v.0;
    _mm256_extractf128_ps<const HALF: i32>(v: __m256) -> __m128: if HALF == 0 { v.0 } else { v.1 };
    _mm256_extracti128_si256<const HALF: i32>(v: __m256i) -> __m128i: if HALF == 0 { v.0 } else { v.1 };
    _mm256_insertf128_ps<const HALF: i32>(v: __m256, half: __m128) -> __m256:
        if HALF == 0 { __m256(half, v.1) } else { __m256(v.0, half) };
}

#[inline(always)]
fn both(half: __m128i) -> __m256i {
    __m256i(half, half)
}

#[inline(always)]
#[rustfmt::skip]
pub fn _mm_setr_epi8(
    a: i8, b: i8, c: i8, d: i8, e: i8, f: i8, g: i8, h: i8, i: i8, j: i8, k: i8, l: i8, m: i8, n: i8, o: i8, p: i8,
) -> __m128i {
    // SAFETY: sixteen bytes on both sides.
    unsafe { transmute([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]) }
}

#[inline(always)]
#[rustfmt::skip]
pub fn _mm256_setr_epi32(a: i32, b: i32, c: i32, d: i32, e: i32, f: i32, g: i32, h: i32) -> __m256i {
    // SAFETY: eight words on both sides.
    unsafe { transmute([a, b, c, d, e, f, g, h]) }
}

#[inline(always)]
#[rustfmt::skip]
pub fn _mm256_setr_ps(a: f32, b: f32, c: f32, d: f32, e: f32, f: f32, g: f32, h: f32) -> __m256 {
    // SAFETY: eight floats on both sides.
    unsafe { transmute([a, b, c, d, e, f, g, h]) }
}

// Arithmetic of floats.
values! {
    _mm_add_ps(a: __m128, b: __m128) -> __m128: vaddq_f32(a, b);
    _mm_add_ss(a: __m128, b: __m128) -> __m128:
        vsetq_lane_f32::<0>(vgetq_lane_f32::<0>(a) + vgetq_lane_f32::<0>(b), a);
    _mm_mul_ps(a: __m128, b: __m128) -> __m128: vmulq_f32(a, b);
    fmadd(a: __m128, b: __m128, c: __m128) -> __m128: vfmaq_f32(c, a, b);
    fmsub(a: __m128, b: __m128, c: __m128) -> __m128: vfmaq_f32(vnegq_f32(c), a, b);
    fnmadd(a: __m128, b: __m128, c: __m128) -> __m128: vfmsq_f32(c, a, b);
    // of the same value, and of what is no number, the second operand
    max(a: __m128, b: __m128) -> __m128: vbslq_f32(vcgtq_f32(a, b), a, b);
    min(a: __m128, b: __m128) -> __m128: vbslq_f32(vcltq_f32(a, b), a, b);
    _mm256_cvtepi32_ps(v: __m256i) -> __m256: __m256(vcvtq_f32_s32(v.0), vcvtq_f32_s32(v.1));
    // What is no number, or fits no integer of 32 bits, is another one here.
    _mm256_cvtps_epi32(v: __m256) -> __m256i: __m256i(vcvtnq_s32_f32(v.0), vcvtnq_s32_f32(v.1));
    _mm256_cvttps_epi32(v: __m256) -> __m256i: __m256i(vcvtq_s32_f32(v.0), vcvtq_s32_f32(v.1));
    _mm256_cmp_ps<const HOW: i32>(a: __m256, b: __m256) -> __m256: {
        const { assert!(HOW == _CMP_LT_OQ) };
        transmute([vcltq_f32(a.0, b.0), vcltq_f32(a.1, b.1)])
    };
}

halves! {
    __m256:
    _mm256_add_ps(a, b): vaddq_f32;
    _mm256_sub_ps(a, b): vsubq_f32;
    _mm256_mul_ps(a, b): vmulq_f32;
    _mm256_div_ps(a, b): vdivq_f32;
    _mm256_sqrt_ps(v): vsqrtq_f32;
    _mm256_fmadd_ps(a, b, c): fmadd;
    _mm256_fmsub_ps(a, b, c): fmsub;
    _mm256_fnmadd_ps(a, b, c): fnmadd;
    _mm256_max_ps(a, b): max;
    _mm256_min_ps(a, b): min;
    _mm256_hadd_ps(a, b): vpaddq_f32;
    _mm256_or_ps(a, b): vorrq_u32;
    _mm256_xor_ps(a, b): veorq_u32;
    _mm256_unpacklo_ps(a, b): vzip1q_f32;
    _mm256_unpackhi_ps(a, b): vzip2q_f32;
    _mm256_blendv_ps(a, b, mask): blend_words;
}

// The order of floats.
values! {
    _mm_movehdup_ps(v: __m128) -> __m128: vtrn2q_f32(v, v);
    _mm_movehl_ps(a: __m128, b: __m128) -> __m128: transmute(vzip2q_f64(transmute(b), transmute(a)));
    _mm_unpacklo_ps(a: __m128, b: __m128) -> __m128: vzip1q_f32(a, b);
    _mm_unpackhi_ps(a: __m128, b: __m128) -> __m128: vzip2q_f32(a, b);
    _mm_movelh_ps(a: __m128, b: __m128) -> __m128: transmute(vzip1q_f64(transmute(a), transmute(b)));
    // of each of two vectors the halves or the even or the odd lanes, or of the first one's lower and the second one's upper half
    // each pair's first or second twice, or both in turn; other orders are not needed
    shuffle<const ORDER: i32>(a: __m128, b: __m128) -> __m128: {
        const { assert!(matches!(ORDER, 0x44 | 0xee | 0x88 | 0xdd | 0xa0 | 0xf5 | 0xb1)) };
        let pairs = vcombine_f32(vget_low_f32(a), vget_high_f32(b));
        match ORDER {
            0xa0 => vtrn1q_f32(pairs, pairs),
            0xf5 => vtrn2q_f32(pairs, pairs),
            0xb1 => vrev64q_f32(pairs),
            0x44 => _mm_movelh_ps(a, b),
            0xee => _mm_movehl_ps(b, a),
            0x88 => vuzp1q_f32(a, b),
            _ => vuzp2q_f32(a, b),
        }
    };
    _mm256_shuffle_ps<const ORDER: i32>(a: __m256, b: __m256) -> __m256:
        __m256(shuffle::<ORDER>(a.0, b.0), shuffle::<ORDER>(a.1, b.1));
    _mm256_permute2f128_ps<const ORDER: i32>(a: __m256, b: __m256) -> __m256:
        __m256(chosen(a, b, ORDER & 15), chosen(a, b, ORDER >> 4));
    chosen(a: __m256, b: __m256, half: i32) -> __m128: match half {
        0 => a.0,
        1 => a.1,
        2 => b.0,
        3 => b.1,
        _ => vdupq_n_f32(0.0),
    };
    _mm256_movemask_ps(v: __m256) -> i32: {
        let bits = |half: __m128, first: u32| {
            let weights: uint32x4_t = transmute([first, 2 * first, 4 * first, 8 * first]);
            vaddvq_u32(vandq_u32(sign_words(transmute(half)), weights))
        };
        (bits(v.0, 1) + bits(v.1, 16)) as i32
    };
}

// Arithmetic of integers.
values! {
    sign_bytes(v: uint8x16_t) -> uint8x16_t: vcltzq_s8(transmute(v));
    sign_words(v: uint32x4_t) -> uint32x4_t: vcltzq_s32(transmute(v));
    blend_bytes(a: uint8x16_t, b: uint8x16_t, mask: uint8x16_t) -> uint8x16_t: vbslq_u8(sign_bytes(mask), b, a);
    blend_words(a: uint32x4_t, b: uint32x4_t, mask: uint32x4_t) -> uint32x4_t: vbslq_u32(sign_words(mask), b, a);
    but(a: uint32x4_t, b: uint32x4_t) -> uint32x4_t: vbicq_u32(b, a);
    // of -1 times -1 something else
    mulhrs(a: int16x8_t, b: int16x8_t) -> int16x8_t: vqrdmulhq_s16(a, b);
    madd(a: int16x8_t, b: int16x8_t) -> int32x4_t:
        vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b));
    // each product fits, their sum may not
    maddubs(a: uint8x16_t, b: int8x16_t) -> int16x8_t: {
        let a: [int16x8_t; 2] = transmute([vmovl_u8(vget_low_u8(a)), vmovl_high_u8(a)]);
        let low = vmulq_s16(a[0], vmovl_s8(vget_low_s8(b)));
        let high = vmulq_s16(a[1], vmovl_high_s8(b));
        vqaddq_s16(vuzp1q_s16(low, high), vuzp2q_s16(low, high))
    };
    packs16(a: int16x8_t, b: int16x8_t) -> int8x16_t: vqmovn_high_s16(vqmovn_s16(a), b);
    packus16(a: int16x8_t, b: int16x8_t) -> uint8x16_t: vqmovun_high_s16(vqmovun_s16(a), b);
    packs32(a: int32x4_t, b: int32x4_t) -> int16x8_t: vqmovn_high_s32(vqmovn_s32(a), b);
    packus32(a: int32x4_t, b: int32x4_t) -> uint16x8_t: vqmovun_high_s32(vqmovun_s32(a), b);
    // bytes whose number has the highest bit are zero; of a number the last four bits count
    shuffled(v: uint8x16_t, order: uint8x16_t) -> uint8x16_t: vqtbl1q_u8(v, vandq_u8(order, vdupq_n_u8(0x8f)));
}

halves! {
    __m256i:
    _mm256_abs_epi16(v): vabsq_s16;
    _mm256_add_epi16(a, b): vaddq_s16;
    _mm256_add_epi32(a, b): vaddq_s32;
    _mm256_adds_epi16(a, b): vqaddq_s16;
    _mm256_and_si256(a, b): vandq_u32;
    _mm256_andnot_si256(a, b): but;
    _mm256_blendv_epi8(a, b, mask): blend_bytes;
    _mm256_cmpeq_epi16(a, b): vceqq_s16;
    _mm256_cmpeq_epi8(a, b): vceqq_s8;
    _mm256_cmpgt_epi16(a, b): vcgtq_s16;
    _mm256_cmpgt_epi32(a, b): vcgtq_s32;
    _mm256_hadd_epi16(a, b): vpaddq_s16;
    _mm256_madd_epi16(a, b): madd;
    _mm256_maddubs_epi16(a, b): maddubs;
    _mm256_max_epi16(a, b): vmaxq_s16;
    _mm256_max_epu16(a, b): vmaxq_u16;
    _mm256_max_epu8(a, b): vmaxq_u8;
    _mm256_min_epi16(a, b): vminq_s16;
    _mm256_min_epi32(a, b): vminq_s32;
    _mm256_min_epu8(a, b): vminq_u8;
    _mm256_mulhrs_epi16(a, b): mulhrs;
    _mm256_mullo_epi16(a, b): vmulq_s16;
    _mm256_mullo_epi32(a, b): vmulq_s32;
    _mm256_or_si256(a, b): vorrq_u32;
    _mm256_packs_epi32(a, b): packs32;
    _mm256_packus_epi16(a, b): packus16;
    _mm256_packus_epi32(a, b): packus32;
    _mm256_shuffle_epi8(v, order): shuffled;
    _mm256_sub_epi16(a, b): vsubq_s16;
    _mm256_sub_epi8(a, b): vsubq_s8;
    _mm256_subs_epi16(a, b): vqsubq_s16;
    _mm256_subs_epu16(a, b): vqsubq_u16;
    _mm256_subs_epu8(a, b): vqsubq_u8;
    _mm256_unpackhi_epi16(a, b): vzip2q_s16;
    _mm256_unpacklo_epi16(a, b): vzip1q_s16;
    _mm256_xor_si256(a, b): veorq_u32;
}

values! {
    _mm_blendv_epi8(a: __m128i, b: __m128i, mask: __m128i) -> __m128i:
        transmute(blend_bytes(transmute(a), transmute(b), transmute(mask)));
    _mm_or_si128(a: __m128i, b: __m128i) -> __m128i: vorrq_s32(a, b);
    _mm_xor_si128(a: __m128i, b: __m128i) -> __m128i: veorq_s32(a, b);
    _mm_packs_epi16(a: __m128i, b: __m128i) -> __m128i: transmute(packs16(transmute(a), transmute(b)));
    _mm_packus_epi32(a: __m128i, b: __m128i) -> __m128i: transmute(packus32(a, b));
    _mm_shuffle_epi8(v: __m128i, order: __m128i) -> __m128i: transmute(shuffled(transmute(v), transmute(order)));
    _mm_unpacklo_epi8(a: __m128i, b: __m128i) -> __m128i: transmute(vzip1q_s8(transmute(a), transmute(b)));
    _mm_unpacklo_epi16(a: __m128i, b: __m128i) -> __m128i: transmute(vzip1q_s16(transmute(a), transmute(b)));
    _mm_unpackhi_epi16(a: __m128i, b: __m128i) -> __m128i: transmute(vzip2q_s16(transmute(a), transmute(b)));
    _mm_unpacklo_epi32(a: __m128i, b: __m128i) -> __m128i: vzip1q_s32(a, b);
    _mm_unpackhi_epi32(a: __m128i, b: __m128i) -> __m128i: vzip2q_s32(a, b);
    _mm_unpacklo_epi64(a: __m128i, b: __m128i) -> __m128i: transmute(vzip1q_s64(transmute(a), transmute(b)));
    _mm_unpackhi_epi64(a: __m128i, b: __m128i) -> __m128i: transmute(vzip2q_s64(transmute(a), transmute(b)));
}

// Shifts: by a constant, or by the first word of a vector.
values! {
    _mm_slli_epi32<const BITS: i32>(v: __m128i) -> __m128i: vshlq_n_s32::<BITS>(v);
    _mm_srli_epi32<const BITS: i32>(v: __m128i) -> __m128i: transmute(vshrq_n_u32::<BITS>(transmute(v)));
    _mm_srl_epi16(v: __m128i, bits: __m128i) -> __m128i:
        transmute(vshlq_u16(transmute(v), vdupq_n_s16(-_mm_cvtsi128_si32(bits) as i16)));
    _mm256_slli_epi16<const BITS: i32>(v: __m256i) -> __m256i:
        transmute([vshlq_n_s16::<BITS>(transmute(v.0)), vshlq_n_s16::<BITS>(transmute(v.1))]);
    _mm256_slli_epi32<const BITS: i32>(v: __m256i) -> __m256i:
        __m256i(vshlq_n_s32::<BITS>(v.0), vshlq_n_s32::<BITS>(v.1));
    _mm256_srai_epi16<const BITS: i32>(v: __m256i) -> __m256i:
        transmute([vshrq_n_s16::<BITS>(transmute(v.0)), vshrq_n_s16::<BITS>(transmute(v.1))]);
    _mm256_sll_epi32(v: __m256i, bits: __m128i) -> __m256i: {
        let bits = vdupq_n_s32(_mm_cvtsi128_si32(bits));
        __m256i(vshlq_s32(v.0, bits), vshlq_s32(v.1, bits))
    };
    _mm256_sra_epi16(v: __m256i, bits: __m128i) -> __m256i: {
        let bits = vdupq_n_s16(-_mm_cvtsi128_si32(bits) as i16);
        transmute([vshlq_s16(transmute(v.0), bits), vshlq_s16(transmute(v.1), bits)])
    };
    _mm256_srl_epi16(v: __m256i, bits: __m128i) -> __m256i:
        __m256i(_mm_srl_epi16(v.0, bits), _mm_srl_epi16(v.1, bits));
}

// The order of integers, and what is known of all lanes.
values! {
    _mm256_cvtepu8_epi32(v: __m128i) -> __m256i: {
        let words = vmovl_u8(vget_low_u8(transmute(v)));
        transmute([vmovl_u16(vget_low_u16(words)), vmovl_high_u16(words)])
    };
    _mm256_cvtepu16_epi32(v: __m128i) -> __m256i:
        transmute([vmovl_u16(vget_low_u16(transmute(v))), vmovl_high_u16(transmute(v))]);
    _mm256_blend_epi16<const LANES: i32>(a: __m256i, b: __m256i) -> __m256i: {
        let ones = const {
            let mut ones = [0u16; 8];
            let mut lane = 0;
            while lane < 8 {
                ones[lane] = if LANES >> lane & 1 == 1 { u16::MAX } else { 0 };
                lane += 1;
            }
            ones
        };
        let half = |a, b| vbslq_u16(transmute(ones), transmute::<__m128i, _>(b), transmute::<__m128i, _>(a));
        transmute([half(a.0, b.0), half(a.1, b.1)])
    };
    _mm256_permute4x64_epi64<const ORDER: i32>(v: __m256i) -> __m256i: {
        let v: [u64; 4] = transmute(v);
        let lane = |i: i32| v[(ORDER >> (2 * i) & 3) as usize];
        transmute([lane(0), lane(1), lane(2), lane(3)])
    };
    _mm256_permutevar8x32_epi32(v: __m256i, order: __m256i) -> __m256i: {
        let bytes = uint8x16x2_t(transmute(v.0), transmute(v.1));
        let half = |order: __m128i| {
            let word = vandq_u32(transmute(order), vdupq_n_u32(7));
            let first = vmulq_u32(word, vdupq_n_u32(0x0404_0404));
            vqtbl2q_u8(bytes, transmute(vaddq_u32(first, vdupq_n_u32(0x0302_0100))))
        };
        transmute([half(order.0), half(order.1)])
    };
    _mm256_movemask_epi8(v: __m256i) -> i32: {
        let half = |half: __m128i| {
            let weights = vreinterpretq_u8_u64(vdupq_n_u64(0x8040_2010_0804_0201));
            let bits = vandq_u8(sign_bytes(transmute(half)), weights);
            let (low, high) = (vaddv_u8(vget_low_u8(bits)), vaddv_u8(vget_high_u8(bits)));
            u16::from_le_bytes([low, high])
        };
        i32::from(half(v.0)) | i32::from(half(v.1)) << 16
    };
    _mm256_testz_si256(a: __m256i, b: __m256i) -> i32: {
        let common = vorrq_s32(vandq_s32(a.0, b.0), vandq_s32(a.1, b.1));
        i32::from(vmaxvq_u32(transmute(common)) == 0)
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::Random;

    /// Integers of one size as others or as a vector.
    fn as_lanes<T, U>(v: T) -> U {
        const { assert!(size_of::<T>() == size_of::<U>()) };
        // SAFETY: plain numbers of one size.
        unsafe { std::mem::transmute_copy(&v) }
    }

    /// Pairs of vectors: extremes in all combinations, then anything.
    fn pairs() -> impl Iterator<Item = [[u8; 32]; 2]> {
        const EXTREMES: [i16; 9] = [0, 1, -1, 127, 128, -128, 255, i16::MAX, i16::MIN];
        let words = |a: i16, b: i16| [as_lanes([a; 16]), as_lanes([b; 16])];
        let extremes = EXTREMES
            .iter()
            .flat_map(move |a| EXTREMES.map(|b| words(*a, b)));
        let mut random = Random(1);
        extremes.chain((0..1000).map(move |_| {
            [0; 2].map(|_| [0; 32].map(|_: u8| (128.0 * random.value()) as i8 as u8))
        }))
    }

    /// Compares a function of two vectors, seen as lanes of a kind, to what it is for each lane.
    macro_rules! check {
        ($($name:ident($a:ident, $b:ident, $i:ident: $kind:ty, $result:ty) = $want:expr;)*) => {
            for [a, b] in pairs() {
                $({
                    const LANES: usize = 32 / size_of::<$kind>();
                    let ($a, $b): ([$kind; LANES], [$kind; LANES]) = (as_lanes(a), as_lanes(b));
                    let got: [$result; 32 / size_of::<$result>()] = as_lanes($name(as_lanes(a), as_lanes(b)));
                    for ($i, got) in got.into_iter().enumerate() {
                        let want: $result = $want;
                        assert_eq!(got, want, "{}, lane {}: {:?} and {:?}", stringify!($name), $i, $a, $b);
                    }
                })*
            }
        };
    }

    /// Where lane `i` of what goes two vectors into one comes from: (of the second?, lane), halves of `n` lanes each.
    fn packed(i: usize, n: usize) -> (bool, usize) {
        (i % (2 * n) >= n, i / (2 * n) * n + i % n)
    }

    #[test]
    fn integers_are_what_intel_says() {
        let clamped = |v: i32, least: i32, most: i32| v.clamp(least, most);
        check! {
            _mm256_abs_of_first(a, _b, i: i16, i16) = a[i].wrapping_abs();
            _mm256_adds_epi16(a, b, i: i16, i16) = a[i].saturating_add(b[i]);
            _mm256_subs_epi16(a, b, i: i16, i16) = a[i].saturating_sub(b[i]);
            _mm256_subs_epu16(a, b, i: u16, u16) = a[i].saturating_sub(b[i]);
            _mm256_subs_epu8(a, b, i: u8, u8) = a[i].saturating_sub(b[i]);
            _mm256_andnot_si256(a, b, i: u8, u8) = !a[i] & b[i];
            _mm256_cmpgt_epi16(a, b, i: i16, i16) = -i16::from(a[i] > b[i]);
            _mm256_mullo_epi16(a, b, i: i16, i16) = a[i].wrapping_mul(b[i]);
            _mm256_mulhrs_epi16(a, b, i: i16, i16) = match (a[i], b[i]) {
                (i16::MIN, i16::MIN) => i16::MAX,
                (a, b) => ((i32::from(a) * i32::from(b) + (1 << 14)) >> 15) as i16,
            };
            _mm256_madd_epi16(a, b, i: i16, i32) = {
                let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
                product(2 * i).wrapping_add(product(2 * i + 1))
            };
            _mm256_maddubs_epi16(a, b, i: u8, i16) = {
                let product = |i: usize| i32::from(a[i]) * i32::from(b[i] as i8);
                clamped(product(2 * i) + product(2 * i + 1), -0x8000, 0x7fff) as i16
            };
            _mm256_hadd_epi16(a, b, i: i16, i16) = {
                let (second, lane) = packed(i, 4);
                let from = if second { b } else { a };
                from[2 * lane].wrapping_add(from[2 * lane + 1])
            };
            _mm256_packs_epi32(a, b, i: i32, i16) = {
                let (second, lane) = packed(i, 4);
                clamped(if second { b } else { a }[lane], -0x8000, 0x7fff) as i16
            };
            _mm256_packus_epi32(a, b, i: i32, u16) = {
                let (second, lane) = packed(i, 4);
                clamped(if second { b } else { a }[lane], 0, 0xffff) as u16
            };
            _mm256_packus_epi16(a, b, i: i16, u8) = {
                let (second, lane) = packed(i, 8);
                clamped(if second { b } else { a }[lane].into(), 0, 0xff) as u8
            };
            _mm256_unpacklo_epi16(a, b, i: i16, i16) = if i % 2 == 1 { b } else { a }[i / 8 * 8 + i % 8 / 2];
            _mm256_unpackhi_epi16(a, b, i: i16, i16) = if i % 2 == 1 { b } else { a }[i / 8 * 8 + 4 + i % 8 / 2];
            _mm256_shuffle_epi8(a, b, i: u8, u8) = match b[i] {
                128.. => 0,
                order => a[i / 16 * 16 + usize::from(order % 16)],
            };
            _mm256_permutevar8x32_epi32(a, b, i: u32, u32) = a[b[i] as usize % 8];
            blend_of_alternate_words(a, b, i: u16, u16) = if i % 2 == 1 { b[i] } else { a[i] };
            blend_of_bytes_by_second(a, b, i: u8, u8) = if b[i] > 127 { b[i] } else { a[i] };
        }
    }

    fn _mm256_abs_of_first(a: __m256i, _: __m256i) -> __m256i {
        _mm256_abs_epi16(a)
    }

    fn blend_of_alternate_words(a: __m256i, b: __m256i) -> __m256i {
        _mm256_blend_epi16::<0b1010_1010>(a, b)
    }

    fn blend_of_bytes_by_second(a: __m256i, b: __m256i) -> __m256i {
        _mm256_blendv_epi8(a, b, b)
    }

    #[test]
    fn shifts_and_masks_are_what_intel_says() {
        for [a, b] in pairs() {
            let words: [i16; 16] = as_lanes(a);
            for bits in 0..16 {
                let by = _mm_cvtsi32_si128(bits);
                let left: [i16; 16] = as_lanes(_mm256_sra_epi16(as_lanes(a), by));
                assert_eq!(left, words.map(|v| v >> bits));
                let right: [u16; 16] = as_lanes(_mm256_srl_epi16(as_lanes(a), by));
                assert_eq!(right, words.map(|v| v.cast_unsigned() >> bits));
                let up: [i32; 8] = as_lanes(_mm256_sll_epi32(as_lanes(a), by));
                assert_eq!(up, as_lanes::<_, [i32; 8]>(a).map(|v| v << bits));
            }
            let three: [i16; 16] = as_lanes(_mm256_srai_epi16::<3>(as_lanes(a)));
            assert_eq!(three, words.map(|v| v >> 3));
            let mask = (0..32).fold(0, |mask, i| mask | u32::from(a[i] >> 7) << i);
            assert_eq!(_mm256_movemask_epi8(as_lanes(a)).cast_unsigned(), mask);
            let signs = as_lanes::<_, [i32; 8]>(a).map(|v| v < 0);
            let mask = (0..8).fold(0, |mask, i| mask | i32::from(signs[i]) << i);
            assert_eq!(_mm256_movemask_ps(as_lanes(a)), mask);
            let none = (0..32).all(|i| a[i] & b[i] == 0);
            assert_eq!(
                _mm256_testz_si256(as_lanes(a), as_lanes(b)),
                i32::from(none)
            );
        }
    }

    #[test]
    fn floats_are_what_intel_says() {
        const HARD: [f32; 8] = [
            0.0,
            -0.0,
            1.5,
            -2.5,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            1e-40,
        ];
        let bits = |v: __m256| as_lanes::<_, [u32; 8]>(v);
        for turn in 0..8 {
            let (a, b) = (
                HARD,
                std::array::from_fn::<_, 8, _>(|i| HARD[(i + turn) % 8]),
            );
            let (x, y): (__m256, __m256) = (as_lanes(a), as_lanes(b));
            let each =
                |one: &dyn Fn(f32, f32) -> f32| std::array::from_fn(|i| one(a[i], b[i]).to_bits());
            assert_eq!(
                bits(_mm256_max_ps(x, y)),
                each(&|a, b| if a > b { a } else { b })
            );
            assert_eq!(
                bits(_mm256_min_ps(x, y)),
                each(&|a, b| if a < b { a } else { b })
            );
            assert_eq!(
                bits(_mm256_blendv_ps(x, y, y)),
                each(&|a, b| if b.is_sign_negative() { b } else { a })
            );
            let less = std::array::from_fn::<_, 8, _>(|i| if a[i] < b[i] { u32::MAX } else { 0 });
            assert_eq!(bits(_mm256_cmp_ps::<_CMP_LT_OQ>(x, y)), less);
        }
        let [a, b] =
            [1.0, 2.0].map(|first| std::array::from_fn::<f32, 8, _>(|i| first + (i * i) as f32));
        let (x, y): (__m256, __m256) = (as_lanes(a), as_lanes(b));
        let floats = |v: __m256| as_lanes::<_, [f32; 8]>(v);
        let hadd = [
            a[0] + a[1],
            a[2] + a[3],
            b[0] + b[1],
            b[2] + b[3],
            a[4] + a[5],
            a[6] + a[7],
            b[4] + b[5],
            b[6] + b[7],
        ];
        assert_eq!(floats(_mm256_hadd_ps(x, y)), hadd);
        assert_eq!(
            floats(_mm256_fmsub_ps(x, x, y)),
            std::array::from_fn(|i| a[i] * a[i] - b[i])
        );
        assert_eq!(
            floats(_mm256_fnmadd_ps(x, x, y)),
            std::array::from_fn(|i| b[i] - a[i] * a[i])
        );
        let crossed = [a[4], a[5], a[6], a[7], 0.0, 0.0, 0.0, 0.0];
        assert_eq!(floats(_mm256_permute2f128_ps::<0x81>(x, x)), crossed);
        let odd = [a[1], a[3], b[1], b[3], a[5], a[7], b[5], b[7]];
        assert_eq!(floats(_mm256_shuffle_ps::<0xdd>(x, y)), odd);
        let upper = [a[2], a[3], b[2], b[3], a[6], a[7], b[6], b[7]];
        assert_eq!(floats(_mm256_shuffle_ps::<0xee>(x, y)), upper);
        let firsts = [a[0], a[0], b[2], b[2], a[4], a[4], b[6], b[6]];
        assert_eq!(floats(_mm256_shuffle_ps::<0xa0>(x, y)), firsts);
        let seconds = [a[1], a[1], b[3], b[3], a[5], a[5], b[7], b[7]];
        assert_eq!(floats(_mm256_shuffle_ps::<0xf5>(x, y)), seconds);
        let in_turn = [a[1], a[0], b[3], b[2], a[5], a[4], b[7], b[6]];
        assert_eq!(floats(_mm256_shuffle_ps::<0xb1>(x, y)), in_turn);
        let nearest: [i32; 8] = as_lanes(_mm256_cvtps_epi32(as_lanes([
            0.5f32, 1.5, 2.5, -0.5, -1.5, 7.4, 7.6, -7.6,
        ])));
        assert_eq!(nearest, [0, 2, 2, 0, -2, 7, 8, -8]);
    }
}
