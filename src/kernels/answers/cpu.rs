//! AVX2 and FMA, or NEON: the channels of a pixel are vectors, one or two of an answer, up to four of a side.

use super::{Assemble, CONCLUSION, LANES, MASK, MOST, MOTION, PHASE, Sum, sigmoid};
use crate::kernels::Context;
use crate::kernels::raster::{Raster, RasterMut};
use crate::kernels::simd::avx2::*;
use crate::kernels::warp::Taps;

pub fn assemble(job: &Assemble, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        // SAFETY: this module runs only where its instructions were found (`Context` sees to it), and
        // `Assemble::check` has compared all sizes.
        unsafe {
            match job.sides[0].channels / LANES {
                1 => assemble_row::<1>(job, y, row, pixel),
                2 => assemble_row::<2>(job, y, row, pixel),
                3 => assemble_row::<3>(job, y, row, pixel),
                _ => assemble_row::<4>(job, y, row, pixel),
            }
        }
    });
}

pub fn conclude(sum: &Sum, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        // SAFETY: as above, with `Sum::check`.
        unsafe { conclude_row(sum, y, row, pixel) };
    });
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn assemble_row<const C: usize>(job: &Assemble, y: usize, row: &mut [f32], pixel: usize) {
    let side = job.sides[0];
    let has_features = pixel > 2 * side.channels + MOTION;
    // At most two rows of pixels go into a row of cells.
    let mut lines = [None, None];
    for (line, (py, weight)) in lines.iter_mut().zip(job.pixels(y, side.height)) {
        *line = Some((py, weight, Line::new(job.sum, py)));
    }
    let inverse = 1.0 / job.scale;
    let tail_gain = _mm256_setr_ps(inverse, inverse, inverse, inverse, 1.0, 1.0, 1.0, 1.0);
    for (x, values) in row.chunks_mut(pixel).enumerate() {
        let mut sides = [[_mm256_setzero_ps(); C]; 2];
        let mut tail = [_mm256_setzero_ps(); 2];
        for (py, wy, line) in lines.iter().flatten() {
            for (px, wx) in job.pixels(x, side.width) {
                let weight = _mm256_set1_ps(wy * wx);
                let (motion, features) = line.at(px);
                let flow = first_half(motion);
                for (i, sum) in sides.iter_mut().enumerate() {
                    let (ty, tx) = (
                        Taps::new(*py as f32 + flow[2 * i + 1], side.height),
                        Taps::new(px as f32 + flow[2 * i], side.width),
                    );
                    blend(&job.sides[i], &ty, &tx, weight, sum);
                }
                let phase = job.phase.at(*py, px);
                let motion = _mm256_mul_ps(motion, tail_gain);
                let phase = _mm256_setr_ps(0.0, 0.0, 0.0, 0.0, 0.0, phase, 0.0, 0.0);
                const { assert!(PHASE == 5) };
                tail[0] = _mm256_fmadd_ps(_mm256_add_ps(motion, phase), weight, tail[0]);
                tail[1] = _mm256_fmadd_ps(features, weight, tail[1]);
            }
        }
        let vectors = sides
            .iter()
            .flatten()
            .chain(&tail[..1 + usize::from(has_features)]);
        for (vector, values) in vectors.zip(values.as_chunks_mut::<LANES>().0) {
            // SAFETY: eight floats are there.
            unsafe { _mm256_storeu_ps(values.as_mut_ptr(), *vector) };
        }
    }
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn conclude_row(sum: &Sum, y: usize, row: &mut [f32], pixel: usize) {
    let line = Line::new(sum, y);
    for (x, values) in row.chunks_mut(pixel).enumerate() {
        let (motion, _) = line.at(x);
        let mut all = [0.0; LANES];
        // SAFETY: there is room for eight floats.
        unsafe { _mm256_storeu_ps(all.as_mut_ptr(), motion) };
        all[MASK] = sigmoid(all[MASK]);
        values[..CONCLUSION].copy_from_slice(&all[..CONCLUSION]);
    }
}

/// Two rows of an answer that a row of pixels lies between.
struct Rows<'a> {
    rows: [&'a [f32]; 2],
    weights: [f32; 2],
    /// Cells a pixel is wide.
    step: f32,
    width: usize,
    pixel: usize,
    /// Eight times what an answer's channels count for.
    gain: [f32; LANES],
}

/// What a row of pixels reads of all answers.
struct Line<'a> {
    rows: [Option<Rows<'a>>; MOST],
    /// The last one that there is, if it has features.
    features: Option<usize>,
}

impl<'a> Line<'a> {
    fn new(sum: &Sum<'a>, y: usize) -> Self {
        let mut rows = [const { None }; MOST];
        let mut features = None;
        for (i, (answer, scale)) in sum.answers().enumerate() {
            let ty = Taps::of(y, *scale, answer.height);
            let mut gain = [0.0; LANES];
            gain[..4].fill(*scale);
            gain[MASK] = sum.mask_gain(i);
            rows[i] = Some(Rows {
                rows: [answer.row(ty.first), answer.row(ty.second)],
                weights: [1.0 - ty.share, ty.share],
                step: 1.0 / scale,
                width: answer.width,
                pixel: answer.pixel,
                gain,
            });
            features = (answer.channels > MOTION).then_some(i);
        }
        Self { rows, features }
    }

    /// Flow in pixels and mask, zeros; and the features.
    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
    fn at(&self, x: usize) -> (__m256, __m256) {
        let mut motion = _mm256_setzero_ps();
        let mut features = _mm256_setzero_ps();
        for (i, rows) in self.rows.iter().flatten().enumerate() {
            let tx = Taps::new((x as f32 + 0.5) * rows.step - 0.5, rows.width);
            // SAFETY: eight floats are there.
            let gain = unsafe { _mm256_loadu_ps(rows.gain.as_ptr()) };
            motion = _mm256_fmadd_ps(rows.between(&tx, 0), gain, motion);
            if self.features == Some(i) {
                features = rows.between(&tx, MOTION);
            }
        }
        (motion, features)
    }
}

impl Rows<'_> {
    /// Eight channels from `first` on.
    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
    fn between(&self, tx: &Taps, first: usize) -> __m256 {
        let [a, b] = [tx.first, tx.second].map(|x| x * self.pixel + first);
        let (wa, wb) = (_mm256_set1_ps(1.0 - tx.share), _mm256_set1_ps(tx.share));
        let mut sum = _mm256_setzero_ps();
        for (row, weight) in self.rows.iter().zip(self.weights) {
            let (left, right) = (&row[a..a + LANES], &row[b..b + LANES]);
            // SAFETY: eight floats are in both.
            let (left, right) = unsafe {
                (
                    _mm256_loadu_ps(left.as_ptr()),
                    _mm256_loadu_ps(right.as_ptr()),
                )
            };
            let value = _mm256_fmadd_ps(right, wb, _mm256_mul_ps(left, wa));
            sum = _mm256_fmadd_ps(value, _mm256_set1_ps(weight), sum);
        }
        sum
    }
}

#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn first_half(v: __m256) -> [f32; 4] {
    let mut half = [0.0; 4];
    // SAFETY: there is room for four floats.
    unsafe { _mm_storeu_ps(half.as_mut_ptr(), _mm256_castps256_ps128(v)) };
    half
}

/// Adds the bilinear value of a side's channels times `weight`.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn blend<const C: usize>(
    side: &Raster,
    ty: &Taps,
    tx: &Taps,
    weight: __m256,
    sum: &mut [__m256; C],
) {
    let corners = [
        (
            side.at(ty.first, tx.first),
            (1.0 - ty.share) * (1.0 - tx.share),
        ),
        (side.at(ty.first, tx.second), (1.0 - ty.share) * tx.share),
        (side.at(ty.second, tx.first), ty.share * (1.0 - tx.share)),
        (side.at(ty.second, tx.second), ty.share * tx.share),
    ];
    for (corner, share) in corners {
        let corner = &corner[..C * LANES];
        let share = _mm256_mul_ps(weight, _mm256_set1_ps(share));
        for (c, sum) in sum.iter_mut().enumerate() {
            // SAFETY: `c` is below `C`, and the corner has `C` vectors.
            let value = unsafe { _mm256_loadu_ps(corner.as_ptr().add(c * LANES)) };
            *sum = _mm256_fmadd_ps(value, share, *sum);
        }
    }
}
