//! The definition.

use std::array::from_fn;

use super::{APART, HALF, MEASURED, NINTH, REGION, STILL};
use crate::kernels::hypotheses::sample;
use crate::kernels::raster::Raster;

/// What is measured of a cell, by the motion found and the small regions around each cell.
pub fn cell((found, regions): (&Raster, &Raster), at: (usize, usize)) -> [f32; MEASURED] {
    let e = returning(found, at) + whirling(found, at) + spreading(regions, at);
    [incoherence(e), length(found, at)]
}

/// 1 for what is no number.
fn incoherence(e: f32) -> f32 {
    let of = e / (e + HALF);
    if of < 1.0 { of } else { 1.0 }
}

fn norm([x, y]: [f32; 2]) -> f32 {
    (x * x + y * y).sqrt()
}

/// How far from its start the motion there and back ends, mean of both ways.
fn returning(found: &Raster, at: (usize, usize)) -> f32 {
    let own = motion(found, at);
    let way = |first: usize| {
        let there = [own[first], own[first + 1]];
        let back = sample(found, at, 2 - first, there);
        norm([there[0] + back[0], there[1] + back[1]])
    };
    0.5 * (way(0) + way(2))
}

/// Root of the energy of divergence and curl.
fn whirling(found: &Raster, (y, x): (usize, usize)) -> f32 {
    let [top, _, bottom] = around(y, 1, found.height);
    let [first, _, last] = around(x, 1, found.width);
    let [left, right] = [first, last].map(|x| motion(found, (y, x)));
    let [above, below] = [top, bottom].map(|y| motion(found, (y, x)));
    let way = |first: usize| {
        let along_x = |c: usize| 0.5 * (right[first + c] - left[first + c]);
        let along_y = |c: usize| 0.5 * (below[first + c] - above[first + c]);
        let (divergence, curl) = (along_x(0) + along_y(1), along_x(1) - along_y(0));
        divergence * divergence + curl * curl
    };
    (0.5 * (way(0) + way(2))).sqrt()
}

/// Mean motion of the 3x3 cells around one, the edge repeated, and the means of its squares.
pub fn region(found: &Raster, at: (usize, usize)) -> [f32; REGION] {
    let (mut sums, mut squares) = ([0.0; 4], [0.0; 4]);
    let columns = around(at.1, 1, found.width);
    for y in around(at.0, 1, found.height) {
        for x in columns {
            let motion = motion(found, (y, x));
            sums = from_fn(|c| sums[c] + motion[c]);
            squares = from_fn(|c| squares[c] + motion[c] * motion[c]);
        }
    }
    from_fn(|i| NINTH * if i < 4 { sums[i] } else { squares[i - 4] })
}

/// The motion of a cell, both ways.
fn motion(found: &Raster, (y, x): (usize, usize)) -> [f32; 4] {
    let cell = found.at(y, x);
    [cell[0], cell[1], cell[2], cell[3]]
}

/// Spread of motion among 3x3 cells, times the ratio to that among 9x9.
fn spreading(regions: &Raster, (y, x): (usize, usize)) -> f32 {
    let mut sums = [0.0; REGION];
    let columns = around(x, APART, regions.width);
    for y in around(y, APART, regions.height) {
        for x in columns {
            let region = regions.at(y, x);
            sums = from_fn(|i| sums[i] + region[i]);
        }
    }
    let own = regions.at(y, x);
    let (large, small) = (
        variance(sums.map(|sum| NINTH * sum)),
        variance(from_fn(|i| own[i])),
    );
    (small * (small + STILL) / (large + STILL)).sqrt()
}

/// Of the motion in a region, mean of both ways.
fn variance(region: [f32; REGION]) -> f32 {
    let [a, b, c, d] = from_fn(|i| region[4 + i] - region[i] * region[i]);
    (0.5 * ((a + b) + (c + d))).max(0.0)
}

/// A place and those so far to both sides, inside.
pub fn around(at: usize, by: usize, size: usize) -> [usize; 3] {
    [at.saturating_sub(by), at, (at + by).min(size - 1)]
}

/// Mean of both ways.
fn length(found: &Raster, (y, x): (usize, usize)) -> f32 {
    let m = motion(found, (y, x));
    0.5 * (norm([m[0], m[1]]) + norm([m[2], m[3]]))
}

/// Mean of what luma changes to the right and downwards, of the samples of a cell that begins at (`y`, `x`); 0 where that is outside.
pub fn roughness(luma: &Raster<u8>, (y, x): (usize, usize), cell: (usize, usize)) -> f32 {
    let [bottom, end] = [luma.height.min(y + cell.0), luma.width.min(x + cell.1)];
    let (top, x) = (y.min(bottom), x.min(end));
    let differ = |a: &[u8], b: &[u8]| -> u32 {
        let pairs = a.iter().zip(b);
        pairs.map(|(a, b)| u32::from(a.abs_diff(*b))).sum()
    };
    let mut sum = 0;
    for y in top..bottom {
        let (here, below) = (luma.row(y), luma.row((y + 1).min(luma.height - 1)));
        // the last sample of a row has no next one, and differs by nothing
        sum += differ(&here[x..end], &below[x..end]);
        sum += differ(
            &here[x..end],
            &here[(x + 1).min(end)..luma.width.min(end + 1)],
        );
    }
    sum as f32 / ((bottom - top) * (end - x)).max(1) as f32
}
