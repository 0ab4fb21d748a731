//! The definitions.

use super::{Assemble, FEATURES, MASK, MOTION, PHASE, Sum, mix, sigmoid};
use crate::kernels::Context;
use crate::kernels::raster::{Raster, RasterMut};
use crate::kernels::warp::Taps;

pub fn assemble(job: &Assemble, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    let side = job.sides[0];
    out.for_each_row(context, |y, row| {
        for (x, values) in row.chunks_mut(pixel).enumerate() {
            values.fill(0.0);
            for (py, wy) in job.pixels(y, side.height) {
                for (px, wx) in job.pixels(x, side.width) {
                    add(job, py, px, wy * wx, values);
                }
            }
        }
    });
}

/// Adds what the full-size input would hold at (`y`, `x`) times `weight`.
fn add(job: &Assemble, y: usize, x: usize, weight: f32, values: &mut [f32]) {
    let channels = job.sides[0].channels;
    let (flow, mask) = motion(job.sum, y, x);
    for (i, side) in job.sides.iter().enumerate() {
        let (ty, tx) = (
            Taps::new(y as f32 + flow[2 * i + 1], side.height),
            Taps::new(x as f32 + flow[2 * i], side.width),
        );
        for c in 0..channels {
            values[i * channels + c] += weight * sample(side, &ty, &tx, c);
        }
    }
    let tail = &mut values[2 * channels..];
    for (value, flow) in tail.iter_mut().zip(flow) {
        *value += weight * flow / job.scale;
    }
    tail[MASK] += weight * mask;
    tail[PHASE] += weight * job.phase.at(y, x);
    if let Some((answer, scale)) = job.sum.last().filter(|_| tail.len() > MOTION) {
        let (ty, tx) = taps(answer, *scale, y, x);
        for c in 0..FEATURES {
            tail[MOTION + c] += weight * sample(answer, &ty, &tx, MOTION + c);
        }
    }
}

/// Flow in pixels, and the mask's logit.
fn motion(sum: &Sum, y: usize, x: usize) -> ([f32; 4], f32) {
    let (mut flow, mut mask) = ([0.0; 4], 0.0);
    for (i, (answer, scale)) in sum.answers().enumerate() {
        let (ty, tx) = taps(answer, *scale, y, x);
        for (c, flow) in flow.iter_mut().enumerate() {
            *flow += scale * sample(answer, &ty, &tx, c);
        }
        mask += sum.mask_gain(i) * sample(answer, &ty, &tx, MASK);
    }
    (flow, mask)
}

fn taps(answer: &Raster, scale: f32, y: usize, x: usize) -> (Taps, Taps) {
    (
        Taps::of(y, scale, answer.height),
        Taps::of(x, scale, answer.width),
    )
}

fn sample(raster: &Raster, ty: &Taps, tx: &Taps, c: usize) -> f32 {
    let row = |y| {
        let left = raster.at(y, tx.first)[c];
        mix(left, raster.at(y, tx.second)[c], tx.share)
    };
    mix(row(ty.first), row(ty.second), ty.share)
}

pub fn conclude(sum: &Sum, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        for (x, values) in row.chunks_mut(pixel).enumerate() {
            let (flow, mask) = motion(sum, y, x);
            values[..4].copy_from_slice(&flow);
            values[MASK] = sigmoid(mask);
        }
    });
}
