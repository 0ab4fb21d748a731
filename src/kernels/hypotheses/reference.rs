//! The definition.

use super::{
    CUES, Costs, HYPOTHESES, LEAST_ACCELERATION, LEAST_STANDING, MOST_ACCELERATION, Projection,
    ROOT_EPSILON, ROUNDS, STANDING, STILL_MARGIN, STILL_MOST, STILL_SHARE, Selection, Telling,
};
use crate::kernels::Context;
use crate::kernels::agreement::CONTRAST;
use crate::kernels::change::{Pair, mean_around};
use crate::kernels::luma::SAMPLES;
use crate::kernels::raster::{Raster, RasterMut};
use crate::kernels::still::is_edge;
use crate::kernels::warp::Taps;

pub fn project(job: &Projection, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        for (x, cell) in row.chunks_mut(pixel).enumerate() {
            let t = job.phase.at(y, x)[0];
            let ahead = carried(&job.found, (y, x), 0, t);
            let back = carried(&job.found, (y, x), 2, 1.0 - t);
            for c in 0..2 {
                cell[c] = -t * ahead[c];
                cell[2 + c] = (1.0 - t) * ahead[c];
                cell[4 + c] = t * back[c];
                cell[6 + c] = -(1.0 - t) * back[c];
            }
        }
    });
}

/// The motion (channels `first` and next) of what has gone the share `t` of it and is at a cell now.
fn carried(found: &Raster, (y, x): (usize, usize), first: usize, t: f32) -> [f32; 2] {
    let at = found.at(y, x);
    let mut motion = [at[first], at[first + 1]];
    for _ in 0..ROUNDS {
        motion = sample(found, (y, x), first, [-t * motion[0], -t * motion[1]]);
    }
    motion
}

/// Two channels, from `first` on, at a cell moved by (x, y).
pub fn sample(values: &Raster, (y, x): (usize, usize), first: usize, by: [f32; 2]) -> [f32; 2] {
    let ty = Taps::new(y as f32 + by[1], values.height);
    let tx = Taps::new(x as f32 + by[0], values.width);
    let mix = |a: f32, b: f32, share: f32| a + share * (b - a);
    [first, first + 1].map(|c| {
        let row = |y: usize| {
            mix(
                values.at(y, tx.first)[c],
                values.at(y, tx.second)[c],
                tx.share,
            )
        };
        mix(row(ty.first), row(ty.second), ty.share)
    })
}

pub fn select(job: &Selection, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        for (x, cell) in row.chunks_mut(pixel).enumerate() {
            cell[..4].copy_from_slice(&choice(job, y, x));
        }
    });
}

/// The flow of least difference of a cell.
pub fn choice(job: &Selection, y: usize, x: usize) -> [f32; 4] {
    let [left, right, still] = costs(&job.costs, y, x);
    let (least, better) = (left.min(right), still + CONTRAST * STILL_MARGIN);
    let more = (STILL_SHARE * still).min(CONTRAST * STILL_MOST);
    if better < least && (better + more < least || stands_still(&job.luma, (y, x))) {
        return [0.0; 4];
    }
    let first = if right < left { 4 } else { 0 };
    std::array::from_fn(|c| job.flows.at(y, x)[first + c])
}

/// Whether edges around a cell do.
pub fn stands_still(luma: &Pair, (y, x): (usize, usize)) -> bool {
    let around =
        |cell: usize, size: usize| SAMPLES * cell.saturating_sub(1)..size.min(SAMPLES * (cell + 2));
    let (rows, columns) = (around(y, luma.left.height), around(x, luma.left.width));
    let places = rows.flat_map(|y| columns.clone().map(move |x| (y, x)));
    let edges = places.filter(|&at| is_edge(luma, at, STANDING));
    edges.take(LEAST_STANDING).count() == LEAST_STANDING
}

/// The cues of difference.
fn costs(costs: &Costs, y: usize, x: usize) -> [f32; HYPOTHESES] {
    [0, 1, 2].map(|i: usize| CONTRAST * mean_around(&costs.0[i], (y, x), 0))
}

pub fn tell(job: &Telling, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        for (x, cell) in row.chunks_mut(pixel).enumerate() {
            cell[..CUES].copy_from_slice(&cues(job, y, x));
        }
    });
}

pub fn cues(job: &Telling, y: usize, x: usize) -> [f32; CUES] {
    let f = job.flow.at(y, x);
    let motion = [f[2] - f[0], f[3] - f[1]];
    let ahead = sample(&job.found, (y, x), 0, [f[0], f[1]]);
    let back = sample(&job.found, (y, x), 2, [f[2], f[3]]);
    let [left, right, still] = costs(&job.costs, y, x);
    let [ax, ay, known] = acceleration(job, (y, x), motion);
    [
        left,
        right,
        still,
        apart([ahead[0] - motion[0], ahead[1] - motion[1]]),
        apart([back[0] + motion[0], back[1] + motion[1]]),
        ax,
        ay,
        known,
    ]
}

/// Acceleration along the flow, and whether it is known.
fn acceleration(job: &Telling, (y, x): (usize, usize), motion: [f32; 2]) -> [f32; 3] {
    let f = job.flow.at(y, x);
    let back = sample(&job.past, (y, x), 0, [f[0], f[1]]);
    let known = job.past.at(y, x)[2];
    let [ax, ay] = limited([0, 1].map(|c| (motion[c] + back[c]) * known), motion);
    [ax, ay, known]
}

/// An acceleration as far as it counts.
pub fn limited([ax, ay]: [f32; 2], motion: [f32; 2]) -> [f32; 2] {
    let most = MOST_ACCELERATION * length(motion) + LEAST_ACCELERATION;
    let share = (most / length([ax, ay])).min(1.0);
    [ax * share, ay * share]
}

fn apart(by: [f32; 2]) -> f32 {
    let e = length(by);
    e / (1.0 + e)
}

fn length([x, y]: [f32; 2]) -> f32 {
    (x * x + y * y + ROOT_EPSILON).sqrt()
}
