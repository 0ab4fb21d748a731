//! AVX2 or NEON, for planar and semi-planar 4:2:0 and for grey: a cell's six codes are brought side by
//! side by unpacking, then widened and scaled in one register.

use super::{CHANNELS, Colors};
use crate::kernels::simd::avx2::*;
use crate::picture::{Component, Picture};

/// Where the codes of a row of the view lie.
struct Lines<'a> {
    upper: &'a [u8],
    lower: &'a [u8],
    chroma: Chroma<'a>,
}

#[derive(Clone, Copy)]
enum Chroma<'a> {
    None,
    Planar(&'a [u8], &'a [u8]),
    /// Pairs; whether V comes first.
    Pairs(&'a [u8], bool),
}

/// Whether there is a kernel for the layout.
pub fn can(colors: &Colors) -> bool {
    match colors {
        Colors::Gray(_) => true,
        Colors::Yuv([_, u, _]) => u.sub_x == 1 && u.sub_y == 1,
        Colors::Rgb(_) => false,
    }
}

/// Makes the first cells of row `y` of the view, and says how many.
///
/// # Safety
/// The machine has the instructions, and `can(colors)`.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
pub unsafe fn cells(picture: &Picture, colors: &Colors, y: usize, row: &mut [f32]) -> usize {
    let (luma, chroma) = match colors {
        Colors::Gray(luma) => (luma, Chroma::None),
        Colors::Yuv([luma, u, v]) => (luma, chroma_line(picture, u, v, y)),
        Colors::Rgb(_) => return 0,
    };
    let line = |y: usize| picture.row(luma.plane, y.min(picture.height() - 1));
    let lines = Lines {
        upper: line(2 * y),
        lower: line(2 * y + 1),
        chroma,
    };
    // A cell is stored with two values too many, which the next cell overwrites.
    let cells = (picture.width() / 2).min((row.len() - 2) / CHANNELS);
    // SAFETY: of the first `cells` all bytes are in the lines, and they and two values more fit.
    unsafe {
        match luma.size() {
            1 => bytes(&lines, cells / 8 * 8, row),
            _ => words(&lines, luma, cells / 4 * 4, row),
        }
    }
}

fn chroma_line<'a>(picture: &Picture<'a>, u: &Component, v: &Component, y: usize) -> Chroma<'a> {
    if u.plane == v.plane {
        Chroma::Pairs(picture.row(u.plane, y), u.offset > v.offset)
    } else {
        Chroma::Planar(picture.row(u.plane, y), picture.row(v.plane, y))
    }
}

/// What codes are multiplied with, and what is taken off: nothing where there is no chroma.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn scales(chroma: Chroma, max: u32) -> (__m256, __m256) {
    let scale = 1.0 / max as f32;
    let (s, h) = if matches!(chroma, Chroma::None) {
        (0.0, 0.0)
    } else {
        (scale, 0.5)
    };
    (
        _mm256_setr_ps(scale, scale, scale, scale, s, s, 0.0, 0.0),
        _mm256_setr_ps(0.5, 0.5, 0.5, 0.5, h, h, 0.0, 0.0),
    )
}

/// # Safety
/// The machine has the instructions; `cells`, a multiple of 8, are in the lines; they and two values more fit.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
unsafe fn bytes(lines: &Lines, cells: usize, row: &mut [f32]) -> usize {
    let (scale, half) = scales(lines.chroma, 255);
    let zero = _mm_setzero_si128();
    let swap = _mm_setr_epi8(1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
    for x in (0..cells).step_by(8) {
        // SAFETY: the eight cells' sixteen bytes of luma and eight of each chroma are there.
        let (upper, lower, uv) = unsafe {
            let load = |line: &[u8]| _mm_loadu_si128(line.as_ptr().add(2 * x).cast());
            let half = |line: &[u8]| _mm_loadl_epi64(line.as_ptr().add(x).cast());
            let uv = match lines.chroma {
                Chroma::None => zero,
                Chroma::Planar(u, v) => _mm_unpacklo_epi8(half(u), half(v)),
                Chroma::Pairs(uv, false) => load(uv),
                Chroma::Pairs(vu, true) => _mm_shuffle_epi8(load(vu), swap),
            };
            (load(lines.upper), load(lines.lower), uv)
        };
        let luma = [
            _mm_unpacklo_epi16(upper, lower),
            _mm_unpackhi_epi16(upper, lower),
        ];
        let color = [_mm_unpacklo_epi16(uv, zero), _mm_unpackhi_epi16(uv, zero)];
        for (i, (l, c)) in luma.into_iter().zip(color).enumerate() {
            let pairs = [_mm_unpacklo_epi32(l, c), _mm_unpackhi_epi32(l, c)];
            for (j, pair) in pairs.into_iter().enumerate() {
                for (k, codes) in [pair, _mm_unpackhi_epi64(pair, pair)]
                    .into_iter()
                    .enumerate()
                {
                    let values = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(codes));
                    let values = _mm256_sub_ps(_mm256_mul_ps(values, scale), half);
                    let at = (x + 4 * i + 2 * j + k) * CHANNELS;
                    // SAFETY: the caller's promise about the cells of the row.
                    unsafe { _mm256_storeu_ps(row.as_mut_ptr().add(at), values) };
                }
            }
        }
    }
    cells
}

/// # Safety
/// The machine has the instructions; `cells`, a multiple of 4, are in the lines; they and two values more fit.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
unsafe fn words(lines: &Lines, luma: &Component, cells: usize, row: &mut [f32]) -> usize {
    let (scale, half) = scales(lines.chroma, luma.max());
    let zero = _mm_setzero_si128();
    let shift = _mm_cvtsi32_si128(luma.shift as i32);
    for x in (0..cells).step_by(4) {
        // SAFETY: the four cells' eight words of luma and four of each chroma are there.
        let (upper, lower, uv) = unsafe {
            let load = |line: &[u8]| {
                _mm_srl_epi16(_mm_loadu_si128(line.as_ptr().add(4 * x).cast()), shift)
            };
            let half = |line: &[u8]| {
                _mm_srl_epi16(_mm_loadl_epi64(line.as_ptr().add(2 * x).cast()), shift)
            };
            let uv = match lines.chroma {
                Chroma::None => zero,
                Chroma::Planar(u, v) => _mm_unpacklo_epi16(half(u), half(v)),
                Chroma::Pairs(uv, false) => load(uv),
                Chroma::Pairs(vu, true) => {
                    let vu = load(vu);
                    _mm_or_si128(_mm_slli_epi32::<16>(vu), _mm_srli_epi32::<16>(vu))
                }
            };
            (load(lines.upper), load(lines.lower), uv)
        };
        let luma = [
            _mm_unpacklo_epi32(upper, lower),
            _mm_unpackhi_epi32(upper, lower),
        ];
        let color = [_mm_unpacklo_epi32(uv, zero), _mm_unpackhi_epi32(uv, zero)];
        for (i, (l, c)) in luma.into_iter().zip(color).enumerate() {
            let cells = [_mm_unpacklo_epi64(l, c), _mm_unpackhi_epi64(l, c)];
            for (j, codes) in cells.into_iter().enumerate() {
                let values = _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(codes));
                let values = _mm256_sub_ps(_mm256_mul_ps(values, scale), half);
                let at = (x + 2 * i + j) * CHANNELS;
                // SAFETY: the caller's promise about the cells of the row.
                unsafe { _mm256_storeu_ps(row.as_mut_ptr().add(at), values) };
            }
        }
    }
    cells
}
