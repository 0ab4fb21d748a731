//! The search itself, whatever computes with the samples.

use super::pattern::{Choice, FAR, Finer, Origin, Sight, hidden, is_lost, is_pattern_lost};
use super::seek::{Seek, settle};
use super::{Context, DISTANCES, Dense, PATCH, Plane, STRIDE, for_each_row};

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

    /// The same of the patch at (y, x), without the rest of a template.
    fn slopes_at(own: &Plane, y: usize, x: usize) -> [f32; 2];

    /// How the template fits at the patch's place (y, x) of `other` moved by `flow`.
    fn fit(template: &Self::Template, other: &Plane, at: (usize, usize), flow: [f32; 2]) -> Patch;

    /// The cost of that where nothing moves.
    fn cost_at_rest(template: &Self::Template, other: &Plane, at: (usize, usize)) -> f32;
}

/// What a patch has found.
#[derive(Debug, Clone, Copy)]
pub struct Patch {
    /// In samples.
    pub flow: [f32; 2],
    /// Sum of the squared differences to where that leads, their mean left out.
    pub cost: f32,
    /// See [`Arithmetic::variance`]; 0 until it was compared.
    pub variance: f32,
    /// What the next Gauss-Newton step takes from the flow; zero once steps lead nowhere.
    pub step: [f32; 2],
    /// See [`is_lost`]: it moves as those around it do, or at the finest level as the level below tells.
    pub lost: bool,
    /// See [`hidden`].
    pub hidden: f32,
    /// The pass that changed the flow last.
    pub changed: u8,
}

/// The patches of a level, row by row.
#[derive(Debug)]
pub struct Grid {
    pub height: usize,
    pub width: usize,
    patches: Vec<Patch>,
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
            variance: 0.0,
            step: [0.0; 2],
            lost: false,
            hidden: 0.0,
            changed: 0,
        };
        Self {
            height,
            width,
            patches: vec![unknown; height * width],
        }
    }

    /// How many patches.
    pub fn count(&self) -> usize {
        self.patches.len()
    }

    #[inline]
    pub fn row(&self, i: usize) -> &[Patch] {
        &self.patches[i * self.width..][..self.width]
    }

    /// Everything starts as the coarser level moves.
    pub fn start(&mut self, coarser: Option<&Dense>) {
        for (i, row) in self.patches.chunks_mut(self.width).enumerate() {
            for (j, patch) in row.iter_mut().enumerate() {
                patch.flow = start(coarser, i, j);
                patch.changed = 0;
            }
        }
    }

    /// What each patch finds that looks around once and descends.
    pub fn refine(&mut self, context: &Context, search: &Search) {
        let width = self.width;
        for_each_row(context, &mut self.patches, width, |i, row| {
            match context.level() {
                #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
                super::super::CpuLevel::VECTORS => super::cpu::refine(search, i, row),
                _ => super::reference::refine(search, i, row),
            }
        });
    }

    /// What each patch finds that nothing explains.
    pub fn seek(&mut self, context: &Context, seek: &Seek) {
        let width = self.width;
        for_each_row(context, &mut self.patches, width, |i, row| {
            match context.level() {
                #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
                super::super::CpuLevel::VECTORS => super::cpu::seek(seek, i, row),
                _ => super::reference::seek(seek, i, row),
            }
        });
    }

    /// Takes over what was `sought`, see [`settle`].
    pub fn settle(&mut self, context: &Context, sought: [&Grid; 2]) {
        let width = self.width;
        for_each_row(context, &mut self.patches, width, |i, row| {
            settle(sought, i, row)
        });
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

/// One direction's search at a level, in one pass.
pub struct Search<'a> {
    /// Luma of the picture that is left, and of the one that is searched.
    pub luma: [&'a Plane; 2],
    /// What was found by the pass before, and what was found the other way.
    pub before: [&'a Grid; 2],
    pub beside: Beside<'a>,
    /// Of [`DISTANCES`].
    pub pass: usize,
}

/// What the levels beside a level have.
#[derive(Clone, Copy)]
pub struct Beside<'a> {
    /// What was found at the coarser one.
    pub coarser: Option<&'a Dense>,
    /// Luma at the finer one, of both pictures as in [`Search::luma`].
    pub finer: Option<[&'a Plane; 2]>,
    /// That one is not searched itself.
    pub is_finest: bool,
    /// The same at the finest size that there is, if the finer level is not that, and how many of its samples one of this level's is: there
    /// patterns show that the finer level has lost, too.
    pub base: Option<([&'a Plane; 2], usize)>,
}

/// A patch as it is compared.
struct Compared<'a, A: Arithmetic> {
    sight: Sight<'a>,
    template: A::Template,
    hidden: f32,
    lost: bool,
}

impl<A: Arithmetic> Compared<'_, A> {
    /// How it fits where it moves by `flow`.
    #[inline(always)]
    fn fit(&self, flow: [f32; 2]) -> Patch {
        let Sight { luma, at, scale } = self.sight;
        let found = A::fit(&self.template, luma[1], at, flow.map(|d| scale * d));
        Patch {
            flow,
            step: found.step.map(|d| d / scale),
            lost: self.lost,
            hidden: self.hidden,
            ..found
        }
    }

    #[inline(always)]
    fn cost_at_rest(&self) -> f32 {
        A::cost_at_rest(&self.template, self.sight.luma[1], self.sight.at)
    }
}

impl Search<'_> {
    /// Row `i`, after this pass.
    #[inline(always)]
    pub fn refine<A: Arithmetic>(&self, i: usize, row: &mut [Patch]) {
        let [before, _] = self.before;
        for (j, found) in row.iter_mut().enumerate() {
            let patch = before.row(i)[j];
            let around = self.around(i, j, &patch);
            *found = self.patch::<A>((i * STRIDE, j * STRIDE), patch, around);
            found.changed = match found.flow == patch.flow {
                true => patch.changed,
                false => self.pass as u8,
            };
        }
    }

    /// What the `patch` at row `i` and column `j` may take over: from those above, left, right and below, and the opposite of what lies
    /// where it leads to.
    fn around(&self, i: usize, j: usize, patch: &Patch) -> [Option<Candidate>; 5] {
        let [before, _] = self.before;
        let far = DISTANCES[self.pass];
        // Where the pass before looked further away, none of these was tried: then it is a guess at what is worth it.
        let fresh = |patch: &Patch| usize::from(patch.changed) + 1 >= self.pass;
        let there = |i: usize, j: usize| {
            let patch = before.row(i)[j];
            Candidate {
                flow: patch.flow,
                fresh: fresh(&patch),
            }
        };
        // it may be another patch than the last time
        let back = |there: &Patch| Candidate {
            flow: there.flow.map(|d| -d),
            fresh: fresh(there) || fresh(patch),
        };
        [
            i.checked_sub(far).map(|i| there(i, j)),
            j.checked_sub(far).map(|j| there(i, j)),
            (j + far < before.width).then(|| there(i, j + far)),
            (i + far < before.height).then(|| there(i + far, j)),
            self.back(i, j, patch.flow).map(back),
        ]
    }

    /// The patch that `flow` leads to, once it has found something.
    fn back(&self, i: usize, j: usize, flow: [f32; 2]) -> Option<&Patch> {
        if self.pass == 0 {
            return None;
        }
        let ([_, grid], [x, y]) = (self.before, flow);
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
        let Some(compared) = self.compared::<A>(at, &patch) else {
            return among(patch, &candidates[..4]);
        };
        let fit = |flow| compared.fit(flow);
        let coarser = self.beside.coarser;
        let origin = Origin {
            flow: coarser.map(|flow| middle(flow, at.0 / STRIDE, at.1 / STRIDE)),
            hidden: compared.hidden,
        };
        let mut choice = Choice::<A>::new(&compared.template, compared.sight, origin);
        let mut best = patch;
        if self.pass == 0 {
            best = fit(patch.flow);
            let moves = distance(patch.flow, [0.0; 2]) > CLOSE;
            // its steps are asked for only where it may be taken: few patches of so many
            if moves && compared.cost_at_rest() < best.cost {
                let still = descend(fit([0.0; 2]), fit);
                if choice.prefers(&still, &best, STILL) {
                    best = still;
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
        let strays = distance(found.flow, best.flow) > FAR && !choice.prefers(&found, &best, EVEN);
        match strays {
            true => Patch {
                step: [0.0; 2],
                ..best
            },
            false => found,
        }
    }

    /// As what a patch is compared; `None` where the level has lost what it shows, and nothing but its surroundings can tell.
    #[inline(always)]
    fn compared<A: Arithmetic>(
        &self,
        at: (usize, usize),
        patch: &Patch,
    ) -> Option<Compared<'_, A>> {
        let Beside {
            finer, is_finest, ..
        } = self.beside;
        let lost = |luma| {
            let sight = Sight::within(luma, at, 2);
            Compared {
                template: sight.template::<A>(),
                sight,
                hidden: 0.0,
                lost: true,
            }
        };
        if self.pass > 0 && patch.lost {
            return finer.filter(|_| is_finest).map(lost);
        }
        let sight = Sight::new(self.luma, at);
        let template = sight.template::<A>();
        let mut known = patch.hidden;
        if let Some(luma) = finer.filter(|_| self.pass == 0) {
            let there = Finer::new::<A>(Sight::within(luma, at, 2));
            if is_lost::<A>(&template, &there) {
                return is_finest.then(|| lost(luma));
            }
            known = match is_finest {
                true => 0.0,
                false => {
                    let pattern = self.hidden_pattern::<A>(at, &template);
                    hidden::<A>(&template, &there).max(pattern)
                }
            };
        }
        Some(Compared {
            sight,
            template,
            hidden: known,
            lost: false,
        })
    }

    /// What is [`hidden`] of a pattern that the picture shows at its finest size.
    #[inline(always)]
    fn hidden_pattern<A: Arithmetic>(&self, at: (usize, usize), template: &A::Template) -> f32 {
        let Some((luma, factor)) = self.beside.base else {
            return 0.0;
        };
        let there = Finer::new::<A>(Sight::within(luma, at, factor));
        match (0..2).any(|axis| is_pattern_lost::<A>(template, &there, axis)) {
            true => hidden::<A>(template, &there),
            false => 0.0,
        }
    }
}

/// Of so many patches along an axis the one that patch `i`'s flow leads to.
pub fn nearest(i: usize, flow: f32, count: usize) -> usize {
    let at = i as f32 + flow / STRIDE as f32 + 0.5;
    (at as usize).min(count - 1)
}

/// Follows the steps as long as the cost falls and they stay within a patch's size.
#[inline(always)]
pub fn descend(start: Patch, fit: impl Fn([f32; 2]) -> Patch) -> Patch {
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

/// A patch that moves as those around it do, or as it did where there are none.
fn among(patch: Patch, near: &[Option<Candidate>]) -> Patch {
    let near = near.iter().flatten().map(|candidate| candidate.flow);
    let count = near.clone().count();
    let share = 1.0 / count as f32;
    let mean = [0, 1].map(|c| share * near.clone().map(|flow| flow[c]).sum::<f32>());
    Patch {
        flow: if count > 0 { mean } else { patch.flow },
        step: [0.0; 2],
        lost: true,
        ..patch
    }
}

#[inline(always)]
pub fn distance(a: [f32; 2], b: [f32; 2]) -> f32 {
    (a[0] - b[0]).abs() + (a[1] - b[1]).abs()
}
