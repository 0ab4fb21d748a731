//! A flow for each sample of half the padded picture's size.

use candle_core::{Device, Tensor};

use crate::error::Result;
use crate::kernels::Context;
use crate::kernels::raster::{Source, for_each_row};
use crate::kernels::warp::Taps;
use crate::picture::Component;

/// Pixels of the picture that a sample of a field is wide and high.
const SAMPLE: f32 = 2.0;

/// Flow (x, y) in its own samples, row by row: what lies at p in one picture lies at p + flow in the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub height: usize,
    pub width: usize,
    pub flow: Vec<[f32; 2]>,
}

impl Field {
    /// Nothing moves.
    pub fn still((height, width): (usize, usize)) -> Self {
        let flow = vec![[0.0; 2]; height * width];
        Self {
            height,
            width,
            flow,
        }
    }

    /// From `[height, width, 2]`.
    pub fn read(tensor: &Tensor) -> Result<Self> {
        let source = Source::lock(tensor);
        let raster = source.raster()?;
        let mut field = Self::still(raster.size());
        for (y, row) in field.flow.chunks_mut(field.width).enumerate() {
            for (x, flow) in row.iter_mut().enumerate() {
                let values = raster.at(y, x);
                *flow = [values[0], values[1]];
            }
        }
        Ok(field)
    }

    /// As `[height, width, 2]`.
    pub fn tensor(&self) -> Result<Tensor> {
        let values = self.flow.as_flattened();
        let shape = (self.height, self.width, 2);
        Ok(Tensor::from_slice(values, shape, &Device::Cpu)?)
    }

    /// Between four samples, 0 being the centre of the first one; beyond the edge the edge.
    pub fn at(&self, x: f32, y: f32) -> [f32; 2] {
        let (tx, ty) = (Taps::new(x, self.width), Taps::new(y, self.height));
        let (upper, lower) = (self.row(ty.first), self.row(ty.second));
        let a = mix(upper[tx.first], upper[tx.second], tx.share);
        let b = mix(lower[tx.first], lower[tx.second], tx.share);
        mix(a, b, ty.share)
    }

    /// A row of flows.
    pub fn row(&self, y: usize) -> &[[f32; 2]] {
        &self.flow[y * self.width..][..self.width]
    }

    /// This way, and from where it leads the `next` one.
    pub fn then(&self, context: &Context, next: &Self) -> Self {
        let mut out = self.clone();
        for_each_row(context, &mut out.flow, self.width, |y, row| {
            for (x, flow) in row.iter_mut().enumerate() {
                let further = next.at(x as f32 + flow[0], y as f32 + flow[1]);
                *flow = [0, 1].map(|c| flow[c] + further[c]);
            }
        });
        out
    }

    /// Moved by `by`, a flow of cells of 2x2 samples, in pixels of the picture.
    pub fn moved(&self, context: &Context, by: &Self) -> Self {
        let mut out = self.clone();
        for_each_row(context, &mut out.flow, self.width, |y, row| {
            for (x, flow) in row.iter_mut().enumerate() {
                let more = by.at(x as f32 * 0.5 - 0.25, y as f32 * 0.5 - 0.25);
                *flow = [0, 1].map(|c| flow[c] + more[c] / SAMPLE);
            }
        });
        out
    }

    /// Where the samples of row `y` of a component lie in the other picture, in samples of the component.
    pub fn places(&self, component: &Component, y: usize, out: &mut [[f32; 2]]) {
        let scale = [component.sub_x, component.sub_y].map(|sub| (1 << sub) as f32 / SAMPLE);
        let ty = Taps::new((y as f32 + 0.5) * scale[1] - 0.5, self.height);
        let rows = self.row(ty.first).iter().zip(self.row(ty.second));
        let row: Vec<_> = rows.map(|(a, b)| mix(*a, *b, ty.share)).collect();
        for (x, place) in out.iter_mut().enumerate() {
            let tx = Taps::new((x as f32 + 0.5) * scale[0] - 0.5, self.width);
            let flow = mix(row[tx.first], row[tx.second], tx.share);
            *place = [x as f32 + flow[0] / scale[0], y as f32 + flow[1] / scale[1]];
        }
    }
}

/// From one flow a share of the way to another.
#[inline]
fn mix(a: [f32; 2], b: [f32; 2], share: f32) -> [f32; 2] {
    [a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])]
}
