//! Vectors of floats of several instruction sets behind one trait, so that a kernel is written once.
//!
//! Everything here is inlined into [`dispatch`]'s functions, which are compiled for the instructions
//! that they name. So must be all that works on vectors: no closures (of `array::from_fn`, `map`),
//! which are functions of their own without those instructions, where each operation is a call.

#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use crate::kernels::CpuLevel;
#[cfg(target_arch = "x86_64")]
use crate::kernels::simd;

/// Outputs come in vectors of this many, whatever the vectors of the machine.
pub const EIGHT: usize = 8;

/// A register full of floats.
///
/// # Safety
/// All methods: the CPU has the implementation's instructions. Those with a pointer: it may be read or
/// written for [`Vector::LANES`] floats, or as many as they say; no alignment is needed.
pub trait Vector: Copy {
    /// Floats in it, a divisor of 16.
    const LANES: usize;

    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(at: *const f32) -> Self;
    unsafe fn store(self, at: *mut f32);
    /// The first `n`, fewer than there are lanes; zeros in the others.
    unsafe fn load_first(at: *const f32, n: usize) -> Self;
    /// Writes the first `n`, fewer than there are lanes.
    unsafe fn store_first(self, at: *mut f32, n: usize);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn max(self, other: Self) -> Self;
    unsafe fn min(self, other: Self) -> Self;
    /// `self * factor + summand`, rounded once.
    unsafe fn mul_add(self, factor: Self, summand: Self) -> Self;

    /// As many of `n` floats as there are lanes; zeros in the others.
    #[inline(always)]
    unsafe fn load_up_to(at: *const f32, n: usize) -> Self {
        // SAFETY: the caller's promises.
        unsafe {
            match n >= Self::LANES {
                true => Self::load(at),
                false => Self::load_first(at, n),
            }
        }
    }

    /// Writes as many lanes as fit into `n` floats.
    #[inline(always)]
    unsafe fn store_up_to(self, at: *mut f32, n: usize) {
        // SAFETY: the caller's promises.
        unsafe {
            match n >= Self::LANES {
                true => self.store(at),
                false => self.store_first(at, n),
            }
        }
    }

    /// Leaky ReLU: what is below zero is multiplied by `slope`.
    #[inline(always)]
    unsafe fn leaky(self, slope: Self) -> Self {
        // SAFETY: the caller's promises.
        unsafe {
            let zero = Self::splat(0.0);
            self.min(zero).mul_add(slope, self.max(zero))
        }
    }
}

/// `C` vectors, `step` floats apart.
///
/// # Safety
/// As [`Vector::load`], for each.
#[inline(always)]
pub unsafe fn load_all<V: Vector, const C: usize>(at: *const f32, step: usize) -> [V; C] {
    // SAFETY: the caller's promises.
    unsafe {
        let mut vectors = [V::splat(0.0); C];
        for (i, vector) in vectors.iter_mut().enumerate() {
            *vector = V::load(at.add(i * step));
        }
        vectors
    }
}

/// Writes vectors `step` floats apart.
///
/// # Safety
/// As [`Vector::store`], for each.
#[inline(always)]
pub unsafe fn store_all<V: Vector, const C: usize>(vectors: [V; C], at: *mut f32, step: usize) {
    for (i, vector) in vectors.into_iter().enumerate() {
        // SAFETY: the caller's promises.
        unsafe { vector.store(at.add(i * step)) };
    }
}

/// The methods that are one intrinsic each.
macro_rules! intrinsics {
    ($($method:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?: $body:expr;)*) => {
        $(#[inline(always)]
        unsafe fn $method($($argument: $type),*) $(-> $result)? {
            // SAFETY: the trait's promises are the intrinsic's.
            unsafe { $body }
        })*
    };
}

#[cfg(target_arch = "x86_64")]
impl Vector for __m256 {
    const LANES: usize = 8;

    intrinsics! {
        splat(value: f32) -> Self: _mm256_set1_ps(value);
        load(at: *const f32) -> Self: _mm256_loadu_ps(at);
        store(self: Self, at: *mut f32): _mm256_storeu_ps(at, self);
        load_first(at: *const f32, n: usize) -> Self: _mm256_maskload_ps(at, simd::tail_mask(n));
        store_first(self: Self, at: *mut f32, n: usize):
            simd::store(std::slice::from_raw_parts_mut(at, n), self);
        add(self: Self, other: Self) -> Self: _mm256_add_ps(self, other);
        sub(self: Self, other: Self) -> Self: _mm256_sub_ps(self, other);
        max(self: Self, other: Self) -> Self: _mm256_max_ps(self, other);
        min(self: Self, other: Self) -> Self: _mm256_min_ps(self, other);
        mul_add(self: Self, factor: Self, summand: Self) -> Self: _mm256_fmadd_ps(self, factor, summand);
    }
}

#[cfg(target_arch = "x86_64")]
impl Vector for __m512 {
    const LANES: usize = 16;

    intrinsics! {
        splat(value: f32) -> Self: _mm512_set1_ps(value);
        load(at: *const f32) -> Self: _mm512_loadu_ps(at);
        store(self: Self, at: *mut f32): _mm512_storeu_ps(at, self);
        load_first(at: *const f32, n: usize) -> Self: _mm512_maskz_loadu_ps((1 << n) - 1, at);
        store_first(self: Self, at: *mut f32, n: usize): _mm512_mask_storeu_ps(at, (1 << n) - 1, self);
        add(self: Self, other: Self) -> Self: _mm512_add_ps(self, other);
        sub(self: Self, other: Self) -> Self: _mm512_sub_ps(self, other);
        max(self: Self, other: Self) -> Self: _mm512_max_ps(self, other);
        min(self: Self, other: Self) -> Self: _mm512_min_ps(self, other);
        mul_add(self: Self, factor: Self, summand: Self) -> Self: _mm512_fmadd_ps(self, factor, summand);
    }
}

#[cfg(target_arch = "aarch64")]
impl Vector for float32x4_t {
    const LANES: usize = 4;

    intrinsics! {
        splat(value: f32) -> Self: vdupq_n_f32(value);
        load(at: *const f32) -> Self: vld1q_f32(at);
        store(self: Self, at: *mut f32): vst1q_f32(at, self);
        load_first(at: *const f32, n: usize) -> Self: {
            let mut values = [0.0; 4];
            values[..n].copy_from_slice(std::slice::from_raw_parts(at, n));
            vld1q_f32(values.as_ptr())
        };
        store_first(self: Self, at: *mut f32, n: usize): {
            let mut values = [0.0; 4];
            vst1q_f32(values.as_mut_ptr(), self);
            std::slice::from_raw_parts_mut(at, n).copy_from_slice(&values[..n]);
        };
        add(self: Self, other: Self) -> Self: vaddq_f32(self, other);
        sub(self: Self, other: Self) -> Self: vsubq_f32(self, other);
        max(self: Self, other: Self) -> Self: vmaxq_f32(self, other);
        min(self: Self, other: Self) -> Self: vminq_f32(self, other);
        mul_add(self: Self, factor: Self, summand: Self) -> Self: vfmaq_f32(summand, self, factor);
    }
}

/// A loop to be compiled for each instruction set.
pub trait Kernel {
    /// Runs it for groups of `P` pixels by blocks of `N` vectors of outputs, whose sums fit into registers. To be
    /// marked `#[inline(always)]`.
    ///
    /// # Safety
    /// The CPU has the instructions of `V`, and what the kernel asks for.
    unsafe fn run<V: Vector, const P: usize, const N: usize>(self);
}

/// Runs a kernel for blocks of `eights` times [`EIGHT`] outputs, 1 to 3.
///
/// # Safety
/// The CPU has the level, which is not [`CpuLevel::Reference`], and what the kernel asks for holds.
pub unsafe fn dispatch(level: CpuLevel, eights: usize, kernel: impl Kernel) {
    // SAFETY: the caller's promises.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        match (level >= CpuLevel::Avx512, eights) {
            (true, 1) => avx512::<__m256, 8, 1>(kernel),
            (true, 2) => avx512::<__m512, 8, 1>(kernel),
            (true, _) => avx512::<__m256, 6, 3>(kernel),
            (false, 1) => avx2::<8, 1>(kernel),
            (false, 2) => avx2::<6, 2>(kernel),
            // Twelve sums, three weights and a value would just fit, but the compiler finds no way.
            (false, _) => avx2::<3, 3>(kernel),
        }
        #[cfg(target_arch = "aarch64")]
        match (level, eights) {
            (_, 1) => kernel.run::<float32x4_t, 8, 2>(),
            (_, 2) => kernel.run::<float32x4_t, 6, 4>(),
            (_, _) => kernel.run::<float32x4_t, 4, 6>(),
        }
    }
}

/// # Safety
/// As [`dispatch`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<const P: usize, const N: usize>(kernel: impl Kernel) {
    // SAFETY: the caller's promises.
    unsafe { kernel.run::<__m256, P, N>() }
}

/// Also with vectors of eight: there are twice as many registers.
///
/// # Safety
/// As [`dispatch`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512vl")]
unsafe fn avx512<V: Vector, const P: usize, const N: usize>(kernel: impl Kernel) {
    // SAFETY: the caller's promises.
    unsafe { kernel.run::<V, P, N>() }
}
