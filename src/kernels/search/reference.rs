//! The definition. Sums run as a vector's would: eight columns first, then over them.

use super::descent::{Arithmetic, Patch, Search};
use super::plane::Place;
use super::seek::Seek;
use super::{Blend, CODE, PATCH, Plane, STRIDE, WINDOW};

/// Values of the samples of a patch.
type Samples = [[f32; PATCH]; PATCH];

pub const AREA: f32 = (PATCH * PATCH) as f32;

pub struct Plain;

pub struct Template {
    luma: Samples,
    variance: f32,
    slopes: [f32; 2],
    /// What each sample's difference adds to the step along x, and along y.
    steps: [Samples; 2],
}

pub fn refine(search: &Search, i: usize, row: &mut [Patch]) {
    search.refine::<Plain>(i, row);
}

pub fn seek(seek: &Seek, i: usize, row: &mut [Patch]) {
    seek.row::<Plain>(i, row);
}

impl Arithmetic for Plain {
    type Template = Template;

    fn template(own: &Plane, y: usize, x: usize) -> Template {
        let (y, x) = (y as isize, x as isize);
        let values = |dy: isize, dx: isize| samples(own.at(y + dy, x + dx), own.row);
        let slope = |before: Samples, after: Samples| zip(after, before, |a, b| 0.5 * (a - b));
        let gradient = [
            slope(values(0, -1), values(0, 1)),
            slope(values(-1, 0), values(1, 0)),
        ];
        let luma = values(0, 0);
        let around_mean = |v: Samples| variance(total(v), products(v, v));
        Template {
            luma,
            variance: around_mean(luma),
            slopes: gradient.map(around_mean),
            steps: steps(gradient),
        }
    }

    fn variance(template: &Template) -> f32 {
        template.variance
    }

    fn slopes(template: &Template) -> [f32; 2] {
        template.slopes
    }

    fn slopes_at(own: &Plane, y: usize, x: usize) -> [f32; 2] {
        Self::template(own, y, x).slopes
    }

    fn fit(template: &Template, other: &Plane, (y, x): (usize, usize), flow: [f32; 2]) -> Patch {
        let found = moved(other, &other.place(y, x, flow));
        let difference = zip(found, template.luma, |a, b| a - b);
        let sum = total(difference);
        let squares = products(difference, difference);
        Patch {
            flow,
            cost: variance(sum, squares),
            variance: template.variance,
            step: template.steps.map(|s| products(s, difference)),
            lost: false,
            hidden: 0.0,
            changed: 0,
        }
    }

    fn cost_at_rest(template: &Template, other: &Plane, at: (usize, usize)) -> f32 {
        Self::fit(template, other, at, [0.0; 2]).cost
    }
}

/// The Gauss-Newton steps for differences whose mean is left out.
fn steps([gx, gy]: [Samples; 2]) -> [Samples; 2] {
    let sums = [total(gx), total(gy)];
    let tensor = [products(gx, gx), products(gx, gy), products(gy, gy)];
    let [a, b, d] = inverse(sums, tensor);
    let mean = sums.map(|sum| sum / AREA);
    [
        zip(gx, gy, |x, y| a * (x - mean[0]) + b * (y - mean[1])),
        zip(gx, gy, |x, y| b * (x - mean[0]) + d * (y - mean[1])),
    ]
}

/// Squares around the mean, from a sum and the sum of the squares.
#[inline(always)]
pub fn variance(sum: f32, squares: f32) -> f32 {
    (squares - sum * sum / AREA).max(0.0)
}

/// The inverse of the structure tensor (xx, xy, yy), from the sums of the gradients and of their
/// products. One code of noise a sample is taken for granted, so that where there is nothing else
/// steps are short.
#[inline(always)]
pub fn inverse([x, y]: [f32; 2], [xx, xy, yy]: [f32; 3]) -> [f32; 3] {
    const NOISE: f32 = 0.5 * CODE * CODE * AREA;
    let xx = xx - x * x / AREA + NOISE;
    let xy = xy - x * y / AREA;
    let yy = yy - y * y / AREA + NOISE;
    let scale = 1.0 / (xx * yy - xy * xy).max(NOISE * NOISE);
    [yy * scale, -xy * scale, xx * scale]
}

/// A patch's samples, from its first one on.
fn samples(from: &[f32], row: usize) -> Samples {
    std::array::from_fn(|i| std::array::from_fn(|j| from[i * row + j]))
}

/// Samples at a place between samples.
fn moved(plane: &Plane, place: &Place) -> Samples {
    let from = plane.at_place(place);
    let across = |i: usize, j: usize| {
        let pair = &from[i * plane.row + j..][..2];
        lerp(pair[0], pair[1], place.x)
    };
    let value = |i, j| lerp(across(i, j), across(i + 1, j), place.y);
    std::array::from_fn(|i| std::array::from_fn(|j| value(i, j)))
}

fn lerp(a: f32, b: f32, t: f32) -> f32 {
    t.mul_add(b - a, a)
}

fn zip(a: Samples, b: Samples, f: impl Fn(f32, f32) -> f32) -> Samples {
    std::array::from_fn(|i| std::array::from_fn(|j| f(a[i][j], b[i][j])))
}

fn total(values: Samples) -> f32 {
    products(values, [[1.0; PATCH]; PATCH])
}

/// Sum of the products, rounded once with each addition.
fn products(a: Samples, b: Samples) -> f32 {
    let mut sums = [0.0f32; PATCH];
    for (a, b) in a.into_iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.into_iter().zip(b)) {
            *sum = a.mul_add(b, *sum);
        }
    }
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

/// The flow of the samples of row `y`.
pub fn blend(job: &Blend, y: usize, row: &mut [f32]) {
    for (x, flow) in row.chunks_mut(2).enumerate() {
        let (mut sums, mut weights) = ([0.0; 2], 0.0);
        for j in covering(x, job.grid.width) {
            for i in covering(y, job.grid.height) {
                let found = job.grid.row(i)[j].flow;
                let weight = weight(job, (i, j), (y, x), found);
                for (sum, d) in sums.iter_mut().zip(found) {
                    *sum += weight * d;
                }
                weights += weight;
            }
        }
        flow.copy_from_slice(&sums.map(|sum| sum / weights));
    }
}

/// The patches, of so many along an axis, in which a sample lies.
pub fn covering(at: usize, patches: usize) -> std::ops::Range<usize> {
    let last = at / STRIDE;
    last.saturating_sub(1)..patches.min(last + 1)
}

/// Weight of patch (`i`, `j`) at sample (`y`, `x`) of it.
fn weight(job: &Blend, (i, j): (usize, usize), (y, x): (usize, usize), flow: [f32; 2]) -> f32 {
    let place = job.other.place(i * STRIDE, j * STRIDE, flow);
    let (r, c) = (y - i * STRIDE, x - j * STRIDE);
    let from = &job.other.at_place(&place)[r * job.other.row + c..];
    let across = |at: usize| lerp(from[at], from[at + 1], place.x);
    let found = lerp(across(0), across(job.other.row), place.y);
    let difference = found - job.own.at(y as isize, x as isize)[0];
    WINDOW[r] * WINDOW[c] / (difference * difference).max(CODE * CODE)
}
