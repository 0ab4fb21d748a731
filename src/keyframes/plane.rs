//! Components of a picture as floats, and their values between samples.

use crate::kernels::Context;
use crate::kernels::raster::for_each_row;
use crate::kernels::warp::Taps;
use crate::picture::{Channel, Component, Format, Picture, PictureMut};

/// Samples of one component, 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Plane {
    pub width: usize,
    pub height: usize,
    pub data: Vec<f32>,
}

impl Plane {
    /// All zero.
    pub fn new(width: usize, height: usize) -> Self {
        let data = vec![0.0; width * height];
        Self {
            width,
            height,
            data,
        }
    }

    /// As large as a component of the picture.
    pub fn of(component: &Component, picture: &Picture) -> Self {
        let (width, height) = (picture.width(), picture.height());
        Self::new(component.width(width), component.height(height))
    }

    /// A component of the picture, codes over the largest one.
    pub fn load(context: &Context, picture: &Picture, component: &Component) -> Self {
        let mut plane = Self::of(component, picture);
        let scale = 1.0 / component.max() as f32;
        plane.fill(context, |y, row| {
            let codes = picture.plane(component.plane).row(y);
            for (x, value) in row.iter_mut().enumerate() {
                *value = component.load(codes, x) as f32 * scale;
            }
        });
        plane
    }

    /// Writes component `c` of a picture of the same size.
    pub fn store(&self, c: usize, out: &mut PictureMut) {
        let component = &out.format().components()[c];
        let largest = component.max() as f32;
        for y in 0..self.height {
            let codes = out.row_mut(component.plane, y);
            for (x, value) in self.row(y).iter().enumerate() {
                let code = value.clamp(0.0, 1.0) * largest + 0.5;
                component.store(codes, x, code as u32);
            }
        }
    }

    /// Calls `f` with the number and the samples of each row, on the context's threads.
    pub fn fill(&mut self, context: &Context, f: impl Fn(usize, &mut [f32]) + Sync) {
        for_each_row(context, &mut self.data, self.width, f);
    }

    /// A row of samples.
    pub fn row(&self, y: usize) -> &[f32] {
        &self.data[y * self.width..][..self.width]
    }

    /// The value of each two samples of the same place.
    pub fn zip(&self, context: &Context, other: &Self, f: impl Fn(f32, f32) -> f32 + Sync) -> Self {
        let mut out = Self::new(self.width, self.height);
        out.fill(context, |y, row| {
            for ((value, a), b) in row.iter_mut().zip(self.row(y)).zip(other.row(y)) {
                *value = f(*a, *b);
            }
        });
        out
    }

    /// Means of the samples at most `radius` away along both axes, those outside left out.
    pub fn mean(&self, context: &Context, radius: usize) -> Self {
        let mut across = Self::new(self.width, self.height);
        across.fill(context, |y, out| mean_of_row(self.row(y), radius, out));
        let mut out = Self::new(self.width, self.height);
        out.fill(context, |y, row| {
            let (first, last) = around(y, radius, self.height);
            let share = 1.0 / (last - first) as f32;
            for y in first..last {
                for (sum, value) in row.iter_mut().zip(across.row(y)) {
                    *sum += share * value;
                }
            }
        });
        out
    }

    /// A place among samples, 0 being the centre of the first one; beyond the edge the edge.
    pub fn place(&self, [x, y]: [f32; 2]) -> (Taps, Taps) {
        (Taps::new(x, self.width), Taps::new(y, self.height))
    }

    /// Between four samples.
    #[inline]
    pub fn bilinear(&self, (tx, ty): (Taps, Taps)) -> f32 {
        let across = |row: &[f32]| row[tx.first] + tx.share * (row[tx.second] - row[tx.first]);
        let (a, b) = (across(self.row(ty.first)), across(self.row(ty.second)));
        a + ty.share * (b - a)
    }

    /// The row at `y`, between two rows or on one; 0 being the middle of the first one, beyond the edge the edge.
    pub fn row_at(&self, y: f32) -> Vec<f32> {
        let ty = Taps::new(y, self.height);
        let rows = self.row(ty.first).iter().zip(self.row(ty.second));
        rows.map(|(a, b)| a + ty.share * (b - a)).collect()
    }

    /// Between sixteen samples by Catmull and Rom's spline, which keeps edges sharp.
    #[inline]
    pub fn cubic(&self, (tx, ty): (Taps, Taps)) -> f32 {
        let (x0, y0) = (tx.first, ty.first);
        let (wx, wy) = (spline(tx.share), spline(ty.share));
        let across = |s: &[f32]| s[0] * wx[0] + s[1] * wx[1] + s[2] * wx[2] + s[3] * wx[3];
        let inside = |at: usize, size: usize| at >= 1 && at + 2 < size;
        if inside(x0, self.width) && inside(y0, self.height) {
            // down the columns, which are side by side
            let mut sums = [0.0f32; 4];
            for (i, weight) in wy.into_iter().enumerate() {
                let row = &self.data[(y0 + i - 1) * self.width + x0 - 1..][..4];
                for (sum, value) in sums.iter_mut().zip(row) {
                    *sum += weight * value;
                }
            }
            return across(&sums);
        }
        let (xs, ys) = (four(x0, self.width), four(y0, self.height));
        let [a, b, c, d] = ys.map(|y| across(&xs.map(|x| self.row(y)[x])));
        a * wy[0] + b * wy[1] + c * wy[2] + d * wy[3]
    }
}

/// The component that motion is measured in: luma, or green.
pub fn guide(format: Format) -> usize {
    let guides = |c: &Component| matches!(c.channel, Channel::Y | Channel::G);
    format.components().iter().position(guides).unwrap_or(0)
}

/// Between two values of a row, 0 being the middle of the first one; beyond the edge the edge.
#[inline]
pub fn between(row: &[f32], x: f32) -> f32 {
    let tx = Taps::new(x, row.len());
    row[tx.first] + tx.share * (row[tx.second] - row[tx.first])
}

/// The range of places at most `radius` from `at`.
fn around(at: usize, radius: usize, size: usize) -> (usize, usize) {
    (at.saturating_sub(radius), (at + radius + 1).min(size))
}

fn mean_of_row(row: &[f32], radius: usize, out: &mut [f32]) {
    // a running sum loses what it adds and takes away again, in 32 bits
    let (mut from, mut to, mut sum) = (0, 0, 0.0f64);
    for (x, out) in out.iter_mut().enumerate() {
        let (first, last) = around(x, radius, row.len());
        sum += row[to..last].iter().map(|v| f64::from(*v)).sum::<f64>();
        sum -= row[from..first].iter().map(|v| f64::from(*v)).sum::<f64>();
        (from, to) = (first, last);
        *out = (sum / (last - first) as f64) as f32;
    }
}

/// The four samples around a place whose second one is `first`.
fn four(first: usize, size: usize) -> [usize; 4] {
    let last = size - 1;
    let at = |i: usize| i.min(last);
    [
        first.saturating_sub(1),
        at(first),
        at(first + 1),
        at(first + 2),
    ]
}

/// Weights of four samples at a share `t` of the way from the second to the third.
fn spline(t: f32) -> [f32; 4] {
    let (t2, t3) = (t * t, t * t * t);
    [
        -0.5 * t + t2 - 0.5 * t3,
        1.0 - 2.5 * t2 + 1.5 * t3,
        0.5 * t + 2.0 * t2 - 1.5 * t3,
        -0.5 * t2 + 0.5 * t3,
    ]
}
