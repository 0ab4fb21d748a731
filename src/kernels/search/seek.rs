//! What no coarser level shows, and what moves further than its own size, as balls do, is found by no descent: its patches end where
//! hardly anything fits. So do those of the other picture that it has moved to. After the first passes such patches are compared to each other at every
//! sample nearby (a full search), and what two of them, one of each picture, find in each other is taken (a left-right check); the passes that follow tell it to their neighbours.
//!
//! That both are unexplained is what keeps out the ground that something covers in one of the pictures: what it resembles in the other one
//! is explained.

use super::descent::{Arithmetic, Grid, Patch, descend, distance, nearest};
use super::pattern::LEAST;
use super::{Plane, STRIDE};

/// The pass behind which is sought. Two are left to tell it.
pub const PASS: usize = 1;
/// Levels are sought in whose samples are this many of the largest luma's at most, along an axis: above them nothing more was found in real clips. With no
/// more patches than `FEW` it is not worth it.
const COARSEST: usize = 4;
pub const FEW: usize = 12;
/// A patch that leaves this share of its variance is unexplained.
const UNEXPLAINED: f32 = 0.5;
/// How far away is looked, in patches.
const REACH: usize = 4;
/// Unexplained patches within that reach, half of them all, from which on it is turmoil that nothing tells apart.
const TURMOIL: usize = 40;
/// What is found has to cost less than this share of what the passes have found.
const BETTER: f32 = 0.3;
/// Two flows that find each other are opposite to this (the sum along both axes, in samples).
const OPPOSITE: f32 = 1.5;
/// In place of a pass's number at what was sought and found.
const FOUND: u8 = u8::MAX;

/// Whether is sought in a level of so many patches, of which a sample is `factor` of the largest luma's.
pub fn is_sought_in(factor: usize, patches: usize) -> bool {
    factor <= COARSEST && patches > FEW
}

/// One direction's unexplained patches.
pub struct Seek<'a> {
    /// Luma of the picture that is left, and of the one that is searched.
    pub luma: [&'a Plane; 2],
    /// What was found by the passes, and what was found the other way.
    pub grids: [&'a Grid; 2],
}

impl Seek<'_> {
    /// Row `i`: patches that found something, and all others as they are.
    #[inline(always)]
    pub fn row<A: Arithmetic>(&self, i: usize, row: &mut [Patch]) {
        for (j, (out, patch)) in row.iter_mut().zip(self.grids[0].row(i)).enumerate() {
            let found = is_unexplained(patch)
                .then(|| self.found::<A>((i, j), patch))
                .flatten();
            *out = found.unwrap_or(*patch);
        }
    }

    /// The best place of a patch among the unexplained ones.
    #[inline(always)]
    fn found<A: Arithmetic>(&self, (i, j): (usize, usize), patch: &Patch) -> Option<Patch> {
        if self.unexplained((i, j)).count() >= TURMOIL {
            return None;
        }
        let at = (i * STRIDE, j * STRIDE);
        let template = A::template(self.luma[0], at.0, at.1);
        let fit = |flow| A::fit(&template, self.luma[1], at, flow);
        let better = |best: Option<Patch>, flow| {
            let found = fit(flow);
            match best.is_none_or(|best| found.cost < best.cost) {
                true => Some(found),
                false => best,
            }
        };
        let best = self.places((i, j)).fold(None, better)?;
        let found = descend(best, fit);
        (found.cost < BETTER * patch.cost).then_some(Patch {
            hidden: patch.hidden,
            changed: FOUND,
            ..found
        })
    }

    /// Those of the other picture within reach, row by row.
    fn unexplained(&self, (i, j): (usize, usize)) -> impl Iterator<Item = (usize, usize)> {
        let other = self.grids[1];
        around(i, other.height, REACH)
            .flat_map(move |k| around(j, other.width, REACH).map(move |l| (k, l)))
            .filter(|&(k, l)| is_unexplained(&other.row(k)[l]))
    }

    /// Flows to these, and to each sample around them up to the next patches.
    fn places(&self, (i, j): (usize, usize)) -> impl Iterator<Item = [f32; 2]> {
        const HALF: isize = STRIDE as isize / 2;
        let by = |to: usize, from: usize, more: isize| {
            (STRIDE as isize * (to as isize - from as isize) + more) as f32
        };
        self.unexplained((i, j)).flat_map(move |(k, l)| {
            let beside = (-HALF..HALF).flat_map(|y| (-HALF..HALF).map(move |x| (y, x)));
            beside.map(move |(y, x)| [by(l, j, x), by(k, i, y)])
        })
    }
}

/// Takes over to row `i` of one direction's patches what both directions have `sought`, this one first, and found in each other.
pub fn settle(sought: [&Grid; 2], i: usize, row: &mut [Patch]) {
    let [own, other] = sought;
    for (j, (out, found)) in row.iter_mut().zip(own.row(i)).enumerate() {
        if found.changed == FOUND && is_mutual(other, (i, j), found.flow) {
            let changed = PASS as u8;
            *out = Patch { changed, ..*found };
        }
    }
}

/// Whether a patch there, or one beside it, has found the way back.
fn is_mutual(other: &Grid, (i, j): (usize, usize), flow: [f32; 2]) -> bool {
    let [x, y] = flow;
    let back = flow.map(|d| -d);
    let rows = around(nearest(i, y, other.height), other.height, 1);
    rows.flat_map(|k| &other.row(k)[around(nearest(j, x, other.width), other.width, 1)])
        .any(|patch| patch.changed == FOUND && distance(patch.flow, back) <= OPPOSITE)
}

fn is_unexplained(patch: &Patch) -> bool {
    let Patch { cost, variance, .. } = *patch;
    !patch.lost && variance > LEAST && cost > LEAST && cost > UNEXPLAINED * variance
}

/// Up to `reach` from `at`, of so many.
fn around(at: usize, count: usize, reach: usize) -> std::ops::Range<usize> {
    at.saturating_sub(reach)..count.min(at + reach + 1)
}
