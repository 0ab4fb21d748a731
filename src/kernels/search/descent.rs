//! The search itself, whatever computes with the samples.

use super::pattern::{Choice, FAR, is_lost};
use super::{Context, Dense, PASSES, PATCH, Plane, STRIDE, for_each_row};

/// Gauss-Newton steps of a patch each time that it looked around.
const STEPS: usize = 3;
/// A step that lowers the cost by less than this share of it is the last one.
const LEAST_GAIN: f32 = 0.03;
/// Flows closer than this (the sum along both axes, in samples) need not both be tried: the steps lead
/// from one to the other.
const CLOSE: f32 = 0.25;
/// What lies still, or moves little, is looked for from a flow of zero. Elsewhere that fits often enough
/// by chance, so that it has to fit better by this factor and this cost (half that of two codes).
const STILL: (f32, f32) = (4.0, 0.002);
/// Elsewhere it has to fit better by nothing.
const EVEN: (f32, f32) = (1.0, 0.0);

/// What computes with the samples of patches.
pub trait Arithmetic {
    /// The samples of a patch at (y, x), and the steps that each of them asks for.
    type Template;

    fn template(own: &Plane, y: usize, x: usize) -> Self::Template;

    /// The cost of being compared to nothing: the squares of the samples, their mean left out.
    fn variance(template: &Self::Template) -> f32;

    /// The squares of the gradients along x and y, their means left out.
    fn slopes(template: &Self::Template) -> [f32; 2];

    /// How the template fits at the patch's place (y, x) of `other` moved by `flow`.
    fn fit(template: &Self::Template, other: &Plane, at: (usize, usize), flow: [f32; 2]) -> Patch;
}

/// What a patch has found.
#[derive(Debug, Clone, Copy)]
pub struct Patch {
    /// In samples.
    pub flow: [f32; 2],
    /// Sum of the squared differences to where that leads, their mean left out.
    pub cost: f32,
    /// What the next Gauss-Newton step takes from the flow; zero once steps lead nowhere.
    pub step: [f32; 2],
    /// See [`is_lost`].
    pub lost: bool,
    /// The pass that changed the flow last.
    pub changed: usize,
}

/// The patches of a level.
#[derive(Debug)]
pub struct Grid {
    pub height: usize,
    pub width: usize,
    /// Those of even rows, and those of odd rows: while the ones change, the others are read.
    rows: [Vec<Patch>; 2],
}

/// Rows and columns of the patches of a level of that height and width.
pub fn patches(size: (usize, usize)) -> (usize, usize) {
    let count = |samples: usize| 1 + samples.saturating_sub(PATCH).div_ceil(STRIDE);
    (count(size.0), count(size.1))
}

impl Grid {
    /// For a level of that height and width.
    pub fn new(size: (usize, usize)) -> Self {
        let (height, width) = patches(size);
        let unknown = Patch {
            flow: [0.0; 2],
            cost: 0.0,
            step: [0.0; 2],
            lost: false,
            changed: 0,
        };
        let rows = [height.div_ceil(2), height / 2].map(|n| vec![unknown; n * width]);
        Self {
            height,
            width,
            rows,
        }
    }

    #[inline]
    pub fn row(&self, i: usize) -> &[Patch] {
        &self.rows[i % 2][i / 2 * self.width..][..self.width]
    }

    /// Everything starts as the coarser level moves.
    pub fn start(&mut self, coarser: Option<&Dense>) {
        for (parity, rows) in self.rows.iter_mut().enumerate() {
            for (i, row) in rows.chunks_mut(self.width).enumerate() {
                for (j, patch) in row.iter_mut().enumerate() {
                    patch.flow = start(coarser, 2 * i + parity, j);
                    patch.changed = 0;
                }
            }
        }
    }

    /// Each patch looks around once and descends.
    pub fn refine(&mut self, context: &Context, search: &Search) {
        let (height, width) = (self.height, self.width);
        let [even, odd] = &mut self.rows;
        let mut half = |parity: usize| {
            let (rows, others) = match parity {
                0 => (&mut *even, &*odd),
                _ => (&mut *odd, &*even),
            };
            let other = |i: usize| others.get(i / 2 * width..).map(|row| &row[..width]);
            for_each_row(context, rows, width, |i, row| {
                let i = 2 * i + parity;
                let above = i.checked_sub(1).and_then(other);
                let below = (i + 1 < height).then(|| other(i + 1)).flatten();
                search.row(context, i, row, [above, below]);
            });
        };
        search.turns().into_iter().for_each(&mut half);
    }
}

/// The flow that a patch starts from.
fn start(coarser: Option<&Dense>, i: usize, j: usize) -> [f32; 2] {
    coarser.map_or([0.0; 2], |flow| middle(flow, i, j))
}

/// Of the coarser level, at the middle of a patch: twice the mean of the four samples there.
fn middle(coarser: &Dense, i: usize, j: usize) -> [f32; 2] {
    let (y, x) = ((i + 1) * STRIDE / 2, (j + 1) * STRIDE / 2);
    let corners = [(y - 1, x - 1), (y - 1, x), (y, x - 1), (y, x)];
    let corners = corners.map(|(y, x)| coarser.at(y, x));
    [0, 1].map(|c| 0.5 * corners.iter().map(|flow| flow[c]).sum::<f32>())
}

/// What a patch may take over from another one.
#[derive(Clone, Copy)]
struct Candidate {
    flow: [f32; 2],
    /// It may have changed since it was looked at last.
    fresh: bool,
}

/// One direction's search at a level.
pub struct Search<'a> {
    own: &'a Plane,
    other: &'a Plane,
    /// What was found the other way.
    opposite: &'a Grid,
    beside: Beside<'a>,
    pass: usize,
}

/// What the levels beside a level have.
#[derive(Clone, Copy)]
pub struct Beside<'a> {
    /// What was found at the coarser one.
    pub coarser: Option<&'a Dense>,
    /// Luma at the finer one.
    pub finer: Option<&'a Plane>,
}

impl<'a> Search<'a> {
    pub fn new(
        [own, other]: [&'a Plane; 2],
        opposite: &'a Grid,
        beside: Beside<'a>,
        pass: usize,
    ) -> Self {
        debug_assert!(pass < PASSES);
        Self {
            own,
            other,
            opposite,
            beside,
            pass,
        }
    }

    /// The parities of rows, and of columns, in turn: every second time backwards.
    fn turns(&self) -> [usize; 2] {
        match self.pass % 2 {
            0 => [0, 1],
            _ => [1, 0],
        }
    }

    fn row(&self, context: &Context, i: usize, row: &mut [Patch], near: [Option<&[Patch]>; 2]) {
        match context.level() {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            super::super::CpuLevel::VECTORS => super::cpu::refine(self, i, row, near),
            _ => super::reference::refine(self, i, row, near),
        }
    }

    /// Refines row `i`, between the rows above and below.
    #[inline(always)]
    pub fn refine<A: Arithmetic>(
        &self,
        i: usize,
        row: &mut [Patch],
        [above, below]: [Option<&[Patch]>; 2],
    ) {
        for parity in self.turns() {
            for j in (parity..row.len()).step_by(2) {
                let fresh = |patch: &Patch| patch.changed + 1 >= self.pass;
                let there = |patch: &Patch| Candidate {
                    flow: patch.flow,
                    fresh: fresh(patch),
                };
                // it may be another patch than the last time
                let back = |patch: &Patch| Candidate {
                    flow: patch.flow.map(|d| -d),
                    fresh: fresh(patch) || fresh(&row[j]),
                };
                let around = [
                    above.map(|row| there(&row[j])),
                    j.checked_sub(1).map(|j| there(&row[j])),
                    row.get(j + 1).map(there),
                    below.map(|row| there(&row[j])),
                    self.back(i, j, row[j].flow).map(back),
                ];
                let before = row[j];
                row[j] = self.patch::<A>((i * STRIDE, j * STRIDE), before, around);
                row[j].changed = match row[j].flow == before.flow {
                    true => before.changed,
                    false => self.pass,
                };
            }
        }
    }

    /// The patch that `flow` leads to, once it has found something.
    fn back(&self, i: usize, j: usize, flow: [f32; 2]) -> Option<&Patch> {
        if self.pass == 0 {
            return None;
        }
        let nearest = |i: usize, flow: f32, count: usize| {
            let at = i as f32 + flow / STRIDE as f32 + 0.5;
            (at as usize).min(count - 1)
        };
        let (grid, [x, y]) = (self.opposite, flow);
        Some(&grid.row(nearest(i, y, grid.height))[nearest(j, x, grid.width)])
    }

    /// Takes the best of the patch's own flow and the candidates, and descends.
    #[inline(always)]
    fn patch<A: Arithmetic>(
        &self,
        at: (usize, usize),
        patch: Patch,
        candidates: [Option<Candidate>; 5],
    ) -> Patch {
        let tried = |c: &Candidate| !c.fresh || distance(c.flow, patch.flow) <= CLOSE;
        if self.pass > 0 && patch.step == [0.0; 2] && candidates.iter().flatten().all(tried) {
            return patch;
        }
        if self.pass > 0 && patch.lost {
            return among(patch, &candidates[..4]);
        }
        let template = A::template(self.own, at.0, at.1);
        let fit = |flow| A::fit(&template, self.other, at, flow);
        let lost = |finer| is_lost::<A>(&template, finer, at);
        if self.pass == 0 && self.beside.finer.is_some_and(lost) {
            return among(patch, &candidates[..4]);
        }
        let start = start(self.beside.coarser, at.0 / STRIDE, at.1 / STRIDE);
        let mut choice = Choice::<A>::new(&template, self.own, at, start);
        let mut best = patch;
        if self.pass == 0 {
            best = fit(patch.flow);
            if distance(patch.flow, [0.0; 2]) > CLOSE {
                let still = fit([0.0; 2]);
                if still.cost < best.cost {
                    let still = descend(still, fit);
                    if choice.prefers(&still, &best, STILL) {
                        best = still;
                    }
                }
            }
        }
        for candidate in candidates.iter().flatten() {
            if candidate.fresh && distance(candidate.flow, best.flow) > CLOSE {
                let found = fit(candidate.flow);
                if choice.prefers(&found, &best, EVEN) {
                    best = found;
                }
            }
        }
        let found = descend(best, fit);
        match distance(found.flow, best.flow) > FAR && !choice.prefers(&found, &best, EVEN) {
            true => Patch {
                step: [0.0; 2],
                ..best
            },
            false => found,
        }
    }
}

/// Follows the steps as long as the cost falls and they stay within a patch's size.
#[inline(always)]
fn descend(start: Patch, fit: impl Fn([f32; 2]) -> Patch) -> Patch {
    let mut best = start;
    for _ in 0..STEPS {
        let flow = [0, 1].map(|c| best.flow[c] - best.step[c]);
        // Nor does what is no number.
        let near = [0, 1].map(|c| (flow[c] - start.flow[c]).abs() <= PATCH as f32);
        if near != [true; 2] || best.step == [0.0; 2] {
            break;
        }
        let next = fit(flow);
        let gain = best.cost - next.cost;
        if gain > 0.0 {
            best = next;
        }
        if gain.is_nan() || gain <= LEAST_GAIN * next.cost {
            best.step = [0.0; 2];
        }
    }
    best
}

/// A patch that moves as those around it do.
fn among(patch: Patch, near: &[Option<Candidate>]) -> Patch {
    let near = near.iter().flatten().map(|candidate| candidate.flow);
    let share = 1.0 / near.clone().count().max(1) as f32;
    let mean = [0, 1].map(|c| share * near.clone().map(|flow| flow[c]).sum::<f32>());
    Patch {
        flow: mean,
        step: [0.0; 2],
        lost: true,
        ..patch
    }
}

#[inline(always)]
pub fn distance(a: [f32; 2], b: [f32; 2]) -> f32 {
    (a[0] - b[0]).abs() + (a[1] - b[1]).abs()
}
