//! With AVX2 or NEON: a row of a patch is a vector.

use super::descent::{Arithmetic, Patch, Search};
use super::reference::{AREA, covering, inverse, variance};
use super::seek::Seek;
use super::{Blend, CODE, FlowRows, PATCH, Plane, STRIDE, WINDOW};
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

pub fn seek(seek: &Seek, i: usize, row: &mut [Patch]) {
    // SAFETY: as above.
    unsafe { seek_vectors(seek, i, row) };
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn seek_vectors(seek: &Seek, i: usize, row: &mut [Patch]) {
    seek.row::<Vectors>(i, row);
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
    fn slopes_at(own: &Plane, y: usize, x: usize) -> [f32; 2] {
        // SAFETY: as above.
        unsafe { slopes(own, y, x) }
    }

    #[inline(always)]
    fn fit(template: &Template, other: &Plane, at: (usize, usize), flow: [f32; 2]) -> Patch {
        // SAFETY: as above.
        unsafe { fit(template, other, at, flow) }
    }

    #[inline(always)]
    fn cost_at_rest(template: &Template, other: &Plane, at: (usize, usize)) -> f32 {
        // SAFETY: as above.
        unsafe { cost_at_rest(template, other, at) }
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
    let mut steps = gradient;
    for step in &mut steps {
        let [x, y] = *step;
        let (x, y) = (_mm256_sub_ps(x, mean[0]), _mm256_sub_ps(y, mean[1]));
        let mix = |a, b| _mm256_add_ps(_mm256_mul_ps(a, x), _mm256_mul_ps(b, y));
        *step = [mix(a, b), mix(b, d)];
    }
    steps
}

/// As the slopes of a [`template`].
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn slopes(own: &Plane, y: usize, x: usize) -> [f32; 2] {
    let from = own.at(y as isize - 1, x as isize - 1);
    let rows = Rows::new(from, own.row, PATCH + 2, PATCH + 2);
    let half = _mm256_set1_ps(0.5);
    let (mut sums, mut squares) = ([_mm256_setzero_ps(); 2], [_mm256_setzero_ps(); 2]);
    for i in 0..PATCH {
        // SAFETY: rows and columns up to two more than the patch's were asked for.
        let at = |dy, dx| unsafe { rows.at(i + dy, dx) };
        let slope = |a, b| _mm256_mul_ps(half, _mm256_sub_ps(a, b));
        let gradient = [slope(at(1, 2), at(1, 0)), slope(at(2, 1), at(0, 1))];
        for axis in 0..2 {
            let g = gradient[axis];
            sums[axis] = _mm256_add_ps(sums[axis], g);
            squares[axis] = _mm256_fmadd_ps(g, g, squares[axis]);
        }
    }
    let [x, y, xx, yy] = totals([sums[0], sums[1], squares[0], squares[1]]);
    [variance(x, xx), variance(y, yy)]
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
        variance: template.variance,
        step: [x, y],
        lost: false,
        hidden: 0.0,
        changed: 0,
    }
}

/// As [`fit`] without flow: there is nothing to interpolate.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn cost_at_rest(template: &Template, other: &Plane, (y, x): (usize, usize)) -> f32 {
    let from = other.at(y as isize, x as isize);
    let rows = Rows::new(from, other.row, PATCH, PATCH);
    let zero = _mm256_setzero_ps();
    let (mut sum, mut squares) = (zero, zero);
    for i in 0..PATCH {
        // SAFETY: the patch's rows were asked for.
        let d = _mm256_sub_ps(unsafe { rows.at(i, 0) }, template.luma[i]);
        sum = _mm256_add_ps(sum, d);
        squares = _mm256_fmadd_ps(d, d, squares);
    }
    let [sum, squares, _, _] = totals([sum, squares, zero, zero]);
    variance(sum, squares)
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

pub fn blend(job: &Blend, y: usize, rows: &mut FlowRows) {
    // SAFETY: this module runs only where its instructions were found.
    unsafe { blend_vectors(job, y, rows) };
}

/// Sums of the weighted flow along x and y, and of the weights.
type Sums = [__m256; 3];

/// Cell by cell of [`STRIDE`] samples each way, each of which is the second half of one row and column of patches and
/// the first half of the next.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn blend_vectors(job: &Blend, y: usize, out: &mut FlowRows) {
    let patches = covering(y, job.grid.height).map(|i| (i, job.grid.row(i)));
    let mut sums = [[_mm256_setzero_ps(); 3]; STRIDE];
    let sums = &mut sums[..out.height];
    for j in 0..out.width.div_ceil(STRIDE) {
        for (i, patches) in patches.clone() {
            if let Some(patch) = patches.get(j) {
                weigh(job, (i, j), y, patch.flow, sums);
            }
        }
        for (r, sums) in sums.iter_mut().enumerate() {
            let [x, y, weight] = *sums;
            let flow = _mm256_permute2f128_ps::<0x20>(x, y);
            let weight = _mm256_permute2f128_ps::<0x00>(weight, weight);
            let flow = _mm256_div_ps(flow, weight);
            let (x, y) = (
                _mm256_castps256_ps128(flow),
                _mm256_extractf128_ps::<1>(flow),
            );
            let pairs = |low, high| _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(low), high);
            let flow = pairs(_mm_unpacklo_ps(x, y), _mm_unpackhi_ps(x, y));
            let values = &mut out.row(r)[2 * STRIDE * j..];
            let count = values.len().min(2 * STRIDE);
            store(&mut values[..count], flow);
            for sum in sums {
                *sum = _mm256_permute2f128_ps::<0x81>(*sum, *sum);
            }
        }
    }
}

/// Adds patch (`i`, `j`) to the sums of as many rows of its samples, from row `y` on.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn weigh(job: &Blend, (i, j): (usize, usize), y: usize, flow: [f32; 2], sums: &mut [Sums]) {
    let place = job.other.place(i * STRIDE, j * STRIDE, flow);
    let first = y - i * STRIDE;
    let there = &job.other.at_place(&place)[first * job.other.row..];
    let there = Rows::new(there, job.other.row, sums.len() + 1, PATCH + 1);
    let own = job.own.at(y as isize, (j * STRIDE) as isize);
    let own = Rows::new(own, job.own.row, sums.len(), PATCH);
    let (tx, ty) = (_mm256_set1_ps(place.x), _mm256_set1_ps(place.y));
    let (x, y) = (_mm256_set1_ps(flow[0]), _mm256_set1_ps(flow[1]));
    // The second operand is answered for what is no number.
    let floor = _mm256_set1_ps(CODE * CODE);
    let window = load(&WINDOW);
    // SAFETY: one row and one column more than these were asked for.
    let across = |r: usize| unsafe { lerp(there.at(r, 0), there.at(r, 1), tx) };
    let mut above = across(0);
    for (r, sums) in sums.iter_mut().enumerate() {
        let below = across(r + 1);
        // SAFETY: so many rows were asked for.
        let d = _mm256_sub_ps(lerp(above, below, ty), unsafe { own.at(r, 0) });
        let window = _mm256_mul_ps(_mm256_set1_ps(WINDOW[first + r]), window);
        let weight = _mm256_div_ps(window, _mm256_max_ps(_mm256_mul_ps(d, d), floor));
        let parts = [_mm256_mul_ps(weight, x), _mm256_mul_ps(weight, y), weight];
        for (sum, part) in sums.iter_mut().zip(parts) {
            *sum = _mm256_add_ps(*sum, part);
        }
        above = below;
    }
}
