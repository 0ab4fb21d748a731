//! How far the true motion is from an even one, and what that splits the frames into.

use crate::common::told::CELL;
use crate::scores::{Score, mean, quantile};

/// The frames whose true motion is least even are one in so many.
const PART: usize = 3;

/// Distance, in pixels, between where the cells of a true frame at `phase` are and where they would be if they went
/// evenly from the left frame to the right one: what half of them exceed, since those that one side does not show are found
/// anywhere. `ways`: see [`crate::common::told::Told::ways`].
pub fn unevenness(ways: &[[f32; 4]], phase: f32) -> f64 {
    let ahead = |[lx, ly, rx, ry]: &[f32; 4]| {
        let at = |l: f32, r: f32| (1.0 - phase) * l + phase * r;
        f64::from(at(*lx, *rx).hypot(at(*ly, *ry)))
    };
    CELL as f64 * quantile(ways.iter().map(ahead).collect(), 0.5)
}

/// Frames by how uneven their true motion is.
pub struct Group {
    pub name: &'static str,
    pub frames: usize,
    /// Mean of [`unevenness`].
    pub pixels: f64,
    /// Mean of each method; no numbers where it was not run.
    pub scores: Vec<Score>,
}

/// The third that is least even, and the others. `frames`: how uneven, and the score of each method.
pub fn groups(mut frames: Vec<(f64, Vec<Score>)>) -> [Group; 2] {
    frames.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (first, rest) = frames.split_at(frames.len() / PART);
    [("least even third", first), ("the others", rest)].map(|(name, frames)| {
        let methods = frames.first().map_or(0, |(_, scores)| scores.len());
        let of = |m: usize| mean(&frames.iter().map(|(_, s)| s[m]).collect::<Vec<_>>());
        Group {
            name,
            frames: frames.len(),
            pixels: frames.iter().map(|(pixels, _)| pixels).sum::<f64>() / frames.len() as f64,
            scores: (0..methods).map(of).collect(),
        }
    })
}
