//! With AVX2 or NEON: a row of a patch is a vector.

use super::descent::{Arithmetic, Patch, Search};
use super::reference::{AREA, covering, inverse, variance};
use super::{Blend, CODE, PATCH, Plane, STRIDE, WINDOW};
use crate::kernels::simd::avx2::*;
use crate::kernels::simd::{LANES, load, store};

const _: () = assert!(PATCH == LANES);

/// This module runs only where its instructions were found (`Context` sees to it).
struct Vectors;

struct Template {
    luma: [__m256; PATCH],
    variance: f32,
    slopes: [f32; 2],
    /// What each sample's difference adds to the step along x, and along y.
    steps: [[__m256; 2]; PATCH],
}

pub fn refine(search: &Search, i: usize, row: &mut [Patch]) {
    // SAFETY: this module runs only where its instructions were found.
    unsafe { refine_vectors(search, i, row) };
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn refine_vectors(search: &Search, i: usize, row: &mut [Patch]) {
    search.refine::<Vectors>(i, row);
}

impl Arithmetic for Vectors {
    type Template = Template;

    #[inline(always)]
    fn template(own: &Plane, y: usize, x: usize) -> Template {
        // SAFETY: this module runs only where its instructions were found.
        unsafe { template(own, y, x) }
    }

    #[inline(always)]
    fn variance(template: &Template) -> f32 {
        template.variance
    }

    #[inline(always)]
    fn slopes(template: &Template) -> [f32; 2] {
        template.slopes
    }

    #[inline(always)]
    fn fit(template: &Template, other: &Plane, at: (usize, usize), flow: [f32; 2]) -> Patch {
        // SAFETY: as above.
        unsafe { fit(template, other, at, flow) }
    }
}

/// Rows of samples of which all that is read was found inside once.
#[derive(Clone, Copy)]
struct Rows<'a> {
    samples: &'a [f32],
    row: usize,
}

impl<'a> Rows<'a> {
    /// `rows` rows of `columns` samples, from the first sample of `from` on.
    #[inline]
    fn new(from: &'a [f32], row: usize, rows: usize, columns: usize) -> Self {
        let samples = &from[..(rows - 1) * row + columns];
        Self { samples, row }
    }

    /// Eight samples from column `j` of row `i` on.
    ///
    /// # Safety
    /// They must lie inside the rows and columns asked for.
    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
    unsafe fn at(&self, i: usize, j: usize) -> __m256 {
        // SAFETY: the caller keeps inside.
        unsafe { _mm256_loadu_ps(self.samples.as_ptr().add(i * self.row + j)) }
    }
}

#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn template(own: &Plane, y: usize, x: usize) -> Template {
    let from = own.at(y as isize - 1, x as isize - 1);
    let rows = Rows::new(from, own.row, PATCH + 2, PATCH + 2);
    let half = _mm256_set1_ps(0.5);
    let zero = _mm256_setzero_ps();
    let (mut luma, mut gradient) = ([zero; PATCH], [[zero; 2]; PATCH]);
    let (mut sums, mut products) = ([zero; 3], [zero; 4]);
    for i in 0..PATCH {
        // SAFETY: rows and columns up to two more than the patch's were asked for.
        let at = |dy, dx| unsafe { rows.at(i + dy, dx) };
        luma[i] = at(1, 1);
        let slope = |a, b| _mm256_mul_ps(half, _mm256_sub_ps(a, b));
        let (x, y) = (slope(at(1, 2), at(1, 0)), slope(at(2, 1), at(0, 1)));
        gradient[i] = [x, y];
        for (sum, value) in sums.iter_mut().zip([x, y, luma[i]]) {
            *sum = _mm256_add_ps(*sum, value);
        }
        let pairs = [(x, x), (x, y), (y, y), (luma[i], luma[i])];
        for (sum, (a, b)) in products.iter_mut().zip(pairs) {
            *sum = _mm256_fmadd_ps(a, b, *sum);
        }
    }
    let [xx, xy, yy, squares] = totals(products);
    let [x, y, sum, _] = totals([sums[0], sums[1], sums[2], zero]);
    Template {
        luma,
        variance: variance(sum, squares),
        slopes: [variance(x, xx), variance(y, yy)],
        steps: steps(gradient, [x, y], inverse([x, y], [xx, xy, yy])),
    }
}

#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn steps(
    gradient: [[__m256; 2]; PATCH],
    sums: [f32; 2],
    inverse: [f32; 3],
) -> [[__m256; 2]; PATCH] {
    let mean = sums.map(|sum| _mm256_set1_ps(sum / AREA));
    let [a, b, d] = inverse;
    let (a, b, d) = (_mm256_set1_ps(a), _mm256_set1_ps(b), _mm256_set1_ps(d));
    gradient.map(|[x, y]| {
        let (x, y) = (_mm256_sub_ps(x, mean[0]), _mm256_sub_ps(y, mean[1]));
        let mix = |a, b| _mm256_add_ps(_mm256_mul_ps(a, x), _mm256_mul_ps(b, y));
        [mix(a, b), mix(b, d)]
    })
}

#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn fit(template: &Template, other: &Plane, (y, x): (usize, usize), flow: [f32; 2]) -> Patch {
    let place = other.place(y, x, flow);
    let rows = Rows::new(other.at_place(&place), other.row, PATCH + 1, PATCH + 1);
    let (tx, ty) = (_mm256_set1_ps(place.x), _mm256_set1_ps(place.y));
    // SAFETY: one row and one column more than the patch's were asked for.
    let across = |i: usize| unsafe { lerp(rows.at(i, 0), rows.at(i, 1), tx) };
    let mut sums = [_mm256_setzero_ps(); 4];
    let mut above = across(0);
    for i in 0..PATCH {
        let below = across(i + 1);
        let d = _mm256_sub_ps(lerp(above, below, ty), template.luma[i]);
        let [x, y] = template.steps[i];
        sums[0] = _mm256_add_ps(sums[0], d);
        for (sum, factor) in sums[1..].iter_mut().zip([d, x, y]) {
            *sum = _mm256_fmadd_ps(factor, d, *sum);
        }
        above = below;
    }
    let [sum, squares, x, y] = totals(sums);
    Patch {
        flow,
        cost: variance(sum, squares),
        step: [x, y],
        lost: false,
        hidden: 0.0,
        changed: 0,
    }
}

#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn lerp(a: __m256, b: __m256, t: __m256) -> __m256 {
    _mm256_fmadd_ps(t, _mm256_sub_ps(b, a), a)
}

/// Sums of the lanes of four vectors, neighbours first.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn totals([a, b, c, d]: [__m256; 4]) -> [f32; 4] {
    let fours = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    let halves = _mm_add_ps(
        _mm256_castps256_ps128(fours),
        _mm256_extractf128_ps::<1>(fours),
    );
    let mut sums = [0.0; 4];
    // SAFETY: there is room for four floats.
    unsafe { _mm_storeu_ps(sums.as_mut_ptr(), halves) };
    sums
}

pub fn blend(job: &Blend, y: usize, row: &mut [f32]) {
    // SAFETY: this module runs only where its instructions were found.
    unsafe { blend_vectors(job, y, row) };
}

/// Cell by cell of [`STRIDE`] samples, each of which is the second half of one column of patches and
/// the first half of the next.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn blend_vectors(job: &Blend, y: usize, row: &mut [f32]) {
    let zero = _mm256_setzero_ps();
    let patches = covering(y, job.grid.height).map(|i| (i, job.grid.row(i)));
    // Sums of the weighted flow along x and y, and of the weights.
    let mut sums = [zero; 3];
    for (j, values) in row.chunks_mut(2 * STRIDE).enumerate() {
        for (i, patches) in patches.clone() {
            let Some(patch) = patches.get(j) else {
                continue;
            };
            let weight = weights(job, (i, j), y, patch.flow);
            let [x, this_y] = patch.flow.map(|d| _mm256_mul_ps(weight, _mm256_set1_ps(d)));
            for (sum, part) in sums.iter_mut().zip([x, this_y, weight]) {
                *sum = _mm256_add_ps(*sum, part);
            }
        }
        let [x, y] = [sums[0], sums[1]].map(|sum| _mm256_div_ps(sum, sums[2]));
        let (low, high) = (_mm256_unpacklo_ps(x, y), _mm256_unpackhi_ps(x, y));
        store(values, _mm256_permute2f128_ps::<0x20>(low, high));
        sums = sums.map(|sum| _mm256_permute2f128_ps::<0x81>(sum, sum));
    }
}

/// Weights of patch (`i`, `j`) in row `y` of its samples.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn weights(job: &Blend, (i, j): (usize, usize), y: usize, flow: [f32; 2]) -> __m256 {
    let place = job.other.place(i * STRIDE, j * STRIDE, flow);
    let r = y - i * STRIDE;
    let from = &job.other.at_place(&place)[r * job.other.row..];
    let rows = Rows::new(from, job.other.row, 2, PATCH + 1);
    let tx = _mm256_set1_ps(place.x);
    // SAFETY: two rows, and one column more than the patch's, were asked for.
    let across = |i: usize| unsafe { lerp(rows.at(i, 0), rows.at(i, 1), tx) };
    let found = lerp(across(0), across(1), _mm256_set1_ps(place.y));
    let own = load(job.own.at(y as isize, (j * STRIDE) as isize));
    let d = _mm256_sub_ps(found, own);
    // The second operand is answered for what is no number.
    let floor = _mm256_set1_ps(CODE * CODE);
    let window = _mm256_mul_ps(_mm256_set1_ps(WINDOW[r]), load(&WINDOW));
    _mm256_div_ps(window, _mm256_max_ps(_mm256_mul_ps(d, d), floor))
}
