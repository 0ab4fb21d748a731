//! How well a flow leads from a frame to a keyframe's source: in luma at half the picture's size, and in the network's features at a
//! quarter and an eighth. A cell is 4x4 pixels, or 2x2 samples of a field.

use super::field::Field;
use super::plane::Plane;
use crate::error::Result;
use crate::kernels::Context;
use crate::kernels::raster::{Raster, Source, for_each_row};
use crate::kernels::warp::Taps;
use crate::network::Encoded;

/// Difference of luma that costs as much as features at right angles: 20 codes of 8 bits.
const LUMA: f32 = 20.0 / 255.0;
/// Length of features, squared, below which they tell nothing.
const NOTHING: f32 = 1e-2;
/// Cells to each side that a cost is a mean of.
const RADIUS: usize = 1;
/// Costs of which a flow is trusted by half, and the samples of a field by which the way there and back may miss.
const HALF_TRUST: f32 = 0.35;
const MISS: f32 = 1.0;

/// What a flow costs for each cell: the mean over three levels, about 0 to 1 each.
pub fn cost(context: &Context, frame: &Encoded, key: &Encoded, to: &Field) -> Result<Plane> {
    let (luma, fine, coarse) = (
        [Source::lock(&frame.luma[0]), Source::lock(&key.luma[0])],
        [Source::lock(&frame.fine), Source::lock(&key.fine)],
        [Source::lock(&frame.coarse), Source::lock(&key.coarse)],
    );
    let luma = [luma[0].raster()?, luma[1].raster()?];
    let fine = [fine[0].raster()?, fine[1].raster()?];
    let coarse = [coarse[0].raster()?, coarse[1].raster()?];
    let mut cells = Plane::new(fine[0].width, fine[0].height);
    cells.fill(context, |y, row| {
        for (x, cost) in row.iter_mut().enumerate() {
            let flow = to.at(2.0 * x as f32 + 0.5, 2.0 * y as f32 + 0.5);
            let levels = [
                difference(luma, (x, y), to) / LUMA,
                angle(fine, (x, y), flow.map(|d| d / 2.0)),
                angle(coarse, (x / 2, y / 2), flow.map(|d| d / 4.0)),
            ];
            *cost = levels.map(|level| level.min(1.0)).iter().sum::<f32>() / 3.0;
        }
    });
    Ok(cells.mean(context, RADIUS))
}

/// Mean difference of the 2x2 samples of a cell.
fn difference([frame, key]: [Raster; 2], (x, y): (usize, usize), to: &Field) -> f32 {
    let mut sum = 0.0;
    for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        let (x, y) = (2 * x + dx, 2 * y + dy);
        let [u, v] = to.row(y)[x];
        let mut there = [0.0];
        sample(key, x as f32 + u, y as f32 + v, &mut there);
        sum += (there[0] - frame.at(y, x)[0]).abs();
    }
    0.25 * sum
}

/// One less the cosine between the features of a pixel and those that the flow leads to; where neither has any, 0.
fn angle([frame, key]: [Raster; 2], (x, y): (usize, usize), flow: [f32; 2]) -> f32 {
    let own = frame.at(y.min(frame.height - 1), x.min(frame.width - 1));
    let mut there = [0.0; MOST];
    let there = &mut there[..own.len().min(MOST)];
    sample(key, x as f32 + flow[0], y as f32 + flow[1], there);
    let (mut ab, mut aa, mut bb) = (0.0, NOTHING, NOTHING);
    for (a, b) in own.iter().zip(&*there) {
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    let lengths = (aa * bb).sqrt();
    (1.0 - (ab + NOTHING) / lengths).max(0.0)
}

/// Features of a pixel that are looked at; no built-in network has more.
const MOST: usize = 64;

fn sample(from: Raster, x: f32, y: f32, out: &mut [f32]) {
    let (tx, ty) = (Taps::new(x, from.width), Taps::new(y, from.height));
    let (fx, fy) = (tx.share, ty.share);
    let corners = [
        (from.at(ty.first, tx.first), (1.0 - fx) * (1.0 - fy)),
        (from.at(ty.first, tx.second), fx * (1.0 - fy)),
        (from.at(ty.second, tx.first), (1.0 - fx) * fy),
        (from.at(ty.second, tx.second), fx * fy),
    ];
    for (values, weight) in corners {
        for (out, value) in out.iter_mut().zip(values) {
            *out += weight * value;
        }
    }
}

/// Takes for each cell the flow that costs less, of two; the costs become theirs.
pub fn choose(context: &Context, [one, other]: [&Field; 2], costs: [&Plane; 2]) -> (Field, Plane) {
    let mut chosen = one.clone();
    for_each_row(context, &mut chosen.flow, one.width, |y, row| {
        let costs = costs.map(|cost| cost.row((y / 2).min(cost.height - 1)));
        for (x, flow) in row.iter_mut().enumerate() {
            let cell = (x / 2).min(costs[0].len() - 1);
            if costs[1][cell] < costs[0][cell] {
                *flow = other.row(y)[x];
            }
        }
    });
    let least = costs[0].zip(context, costs[1], f32::min);
    (chosen, least)
}

/// How far a flow can be trusted, 0 to 1, for each cell: from what it costs, and from by how much one misses that goes there and
/// back.
pub fn trust(context: &Context, cost: &Plane, to: &Field, from: &Field) -> Plane {
    let mut trust = Plane::new(cost.width, cost.height);
    trust.fill(context, |y, row| {
        for (x, trust) in row.iter_mut().enumerate() {
            let (x, y0) = (2.0 * x as f32 + 0.5, 2.0 * y as f32 + 0.5);
            let there = to.at(x, y0);
            let back = from.at(x + there[0], y0 + there[1]);
            let missed = (there[0] + back[0]).hypot(there[1] + back[1]);
            let cost = cost.row(y)[(x * 0.5) as usize] / HALF_TRUST;
            *trust = 1.0 / (1.0 + cost * cost + (missed / MISS) * (missed / MISS));
        }
    });
    trust.mean(context, RADIUS)
}
