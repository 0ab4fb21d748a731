//! The definition.

use super::{Carry, DIFFERENCE, MASK, PHASE, ROUNDS, STATE, bend, gone};
use crate::kernels::Context;
use crate::kernels::raster::{Raster, RasterMut};
use crate::kernels::warp::Taps;

pub fn carry(job: &Carry, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        for (x, cell) in row.chunks_mut(pixel).enumerate() {
            let t = job.phases.at(y, x);
            cell[..STATE].copy_from_slice(&at_phase(&found(&job.middle, (y, x), t), t));
        }
    });
}

/// The cell of the middle that is at cell (`y`, `x`) at phase `t`.
fn found(middle: &Raster, (y, x): (usize, usize), t: f32) -> [f32; STATE] {
    let [of_left, of_right] = gone(t);
    let mut found = [0.0; STATE];
    found.copy_from_slice(middle.at(y, x));
    for _ in 0..ROUNDS {
        let gone = [0, 1].map(|c| of_left * found[c] + of_right * found[2 + c]);
        found = sample(middle, (y, x), gone);
    }
    found
}

/// A cell of the middle, as it is at phase `t`.
fn at_phase(found: &[f32; STATE], t: f32) -> [f32; STATE] {
    let bend = bend(t);
    let mut cell = [0.0; STATE];
    for c in 0..2 {
        let (left, right) = (found[c], found[2 + c]);
        let (motion, ahead) = (right - left, -0.5 * (left + right));
        cell[c] = -t * motion - bend * ahead;
        cell[2 + c] = (1.0 - t) * motion - bend * ahead;
    }
    cell[DIFFERENCE] = found[DIFFERENCE];
    cell[MASK] = found[MASK];
    cell[PHASE] = t;
    cell
}

/// A cell from which it has gone so far (x, y).
fn sample(values: &Raster, (y, x): (usize, usize), gone: [f32; 2]) -> [f32; STATE] {
    let ty = Taps::new(y as f32 - gone[1], values.height);
    let tx = Taps::new(x as f32 - gone[0], values.width);
    let mix = |a: f32, b: f32, share: f32| a + share * (b - a);
    std::array::from_fn(|c| {
        let row = |y: usize| {
            let (a, b) = (values.at(y, tx.first)[c], values.at(y, tx.second)[c]);
            mix(a, b, tx.share)
        };
        mix(row(ty.first), row(ty.second), ty.share)
    })
}
