//! Patterns that repeat, as fences and façades do: a patch of one fits at every period, and which of these places is meant, its samples do
//! not tell. Coarser levels do, which see what is around it, and where a level sees nothing of the pattern any more, its surroundings do.

use super::descent::{Arithmetic, Patch, distance};
use super::{Plane, STRIDE};

/// Share of a patch's variance that each sample of a flow's length costs: of a repeated pattern's places,
/// which fit equally well, the nearest is taken.
const LENGTH: f32 = 3e-4;
/// The same at the coarsest level, where a sample is a long way, most patterns are aliases, and nothing tells where to start.
const FIRST_LENGTH: f32 = 0.1;
/// Flows that lead this much further than another one from where the search started (the sum along both axes, in
/// samples) are looked at twice.
pub const FAR: f32 = 1.0;
/// Share of what is [`hidden`] that each sample further from where the search started costs.
const WAY: f32 = 0.03;
/// Shares of a patch's variance that a period further from the start costs. Being x of a period off costs
/// 2 - 2 cos(2 pi x): a place a whole period further is taken only where the nearer one is off by a quarter of one and more.
const PERIOD: f32 = 2.0;
/// Shares of the variance up to which a patch is like the one a period away, and from which it is unlike another.
const ALIKE: f32 = 0.25;
const UNLIKE: f32 = 1.0;
/// The longest period, in samples.
const LONGEST: usize = 12;
/// At one and two periods to either side it must be like this many patches of those that are inside, and unlike one at
/// most.
const LEAST_ALIKE: usize = 2;
/// What has less variance than four codes a sample shows nothing.
pub const LEAST: f32 = 16.0 / 255.0 / 255.0 * 64.0;
/// A pattern is lost at a level that has this much less of the squares of its gradients than the finer level.
const LOST: f32 = 3.0;
/// What has so much less of them is lost whatever it is; noise has a tenth.
const GONE: f32 = 20.0;

/// Where the search of a patch starts.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// What the coarser level has found; `None` at the coarsest.
    pub flow: Option<[f32; 2]>,
    /// See [`hidden`].
    pub hidden: f32,
}

/// Where a patch lies in the luma that it is compared in.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// Of the picture that is left, and of the one that is searched.
    pub luma: [&'a Plane; 2],
    pub at: (usize, usize),
    /// How many samples of it one of the level's is.
    pub scale: f32,
}

impl<'a> Sight<'a> {
    /// In the level's own `luma`, at (y, x).
    #[inline(always)]
    pub fn new(luma: [&'a Plane; 2], at: (usize, usize)) -> Self {
        let scale = 1.0;
        Self { luma, at, scale }
    }

    /// Of the same size in `luma` that is `factor` times as large as the level's, around the same middle.
    #[inline(always)]
    pub fn within(luma: [&'a Plane; 2], (y, x): (usize, usize), factor: usize) -> Self {
        let size = luma[0].size;
        let middle = |at: usize, size: usize| (factor * (at + STRIDE) - STRIDE).min(size);
        Self {
            luma,
            at: (middle(y, size.0), middle(x, size.1)),
            scale: factor as f32,
        }
    }

    #[inline(always)]
    pub fn template<A: Arithmetic>(&self) -> A::Template {
        A::template(self.luma[0], self.at.0, self.at.1)
    }
}

/// Which of two places a patch is taken for.
pub struct Choice<'a, A: Arithmetic> {
    template: &'a A::Template,
    sight: Sight<'a>,
    origin: Origin,
    /// The period of the pattern that it is of, if it is, once that was asked.
    period: Option<Option<f32>>,
}

impl<'a, A: Arithmetic> Choice<'a, A> {
    #[inline(always)]
    pub fn new(template: &'a A::Template, sight: Sight<'a>, origin: Origin) -> Self {
        Self {
            template,
            sight,
            origin,
            period: None,
        }
    }

    /// Whether what was `found` is better than the best so far, by this factor and this cost.
    #[inline(always)]
    pub fn prefers(&mut self, found: &Patch, best: &Patch, (factor, more): (f32, f32)) -> bool {
        let variance = A::variance(self.template);
        let Origin { flow, hidden } = self.origin;
        let (start, share) = flow.map_or(([0.0; 2], FIRST_LENGTH), |start| (start, LENGTH));
        let length = |patch: &Patch| share * variance * distance(patch.flow, [0.0; 2]);
        let away = |patch: &Patch| distance(patch.flow, start);
        let way = |patch: &Patch| WAY * hidden * away(patch);
        let rate = |patch: &Patch| patch.cost + length(patch) + way(patch);
        let better = rate(found) * factor + more < rate(best);
        let further = away(found) - away(best);
        if !better || further < FAR {
            return better;
        }
        let Sight { luma, at, scale } = self.sight;
        let along = |axis| period::<A>(self.template, luma[0], at, axis);
        match *self
            .period
            .get_or_insert_with(|| along(0).or_else(|| along(1)))
        {
            Some(period) => found.cost + PERIOD * variance * (scale * further) / period < best.cost,
            None => true,
        }
    }
}

/// What a finer level shows where a patch is.
pub struct Finer<'a> {
    sight: Sight<'a>,
    slopes: [f32; 2],
}

impl<'a> Finer<'a> {
    #[inline(always)]
    pub fn new<A: Arithmetic>(sight: Sight<'a>) -> Self {
        let (y, x) = sight.at;
        let slopes = A::slopes_at(sight.luma[0], y, x);
        Self { sight, slopes }
    }
}

/// Whether next to nothing of what the finer level shows at a patch is left at the patch's own level, along an axis. What is left of a
/// pattern may be an alias, which moves otherwise.
#[inline(always)]
pub fn is_lost<A: Arithmetic>(template: &A::Template, finer: &Finer) -> bool {
    let is_gone = |axis| has_less::<A>(template, finer, axis, GONE);
    (0..2).any(|axis| is_gone(axis) || is_pattern_lost::<A>(template, finer, axis))
}

/// Whether what a finer level shows repeats along an axis, and the patch's own level has next to nothing of it.
#[inline(always)]
pub fn is_pattern_lost<A: Arithmetic>(template: &A::Template, finer: &Finer, axis: usize) -> bool {
    let Sight { luma, at, .. } = finer.sight;
    let repeats = || period::<A>(&finer.sight.template::<A>(), luma[0], at, axis).is_some();
    has_less::<A>(template, finer, axis, LOST) && repeats()
}

/// Whether a patch's own level has so much less of the squares of the gradients along an axis.
#[inline(always)]
fn has_less<A: Arithmetic>(
    template: &A::Template,
    finer: &Finer,
    axis: usize,
    factor: f32,
) -> bool {
    let [before, after] = [finer.slopes, A::slopes(template)].map(|slopes| slopes[axis]);
    before > LEAST && before > factor * after
}

/// By how much the squares of the finer level's gradients at a patch are more than its own. That much of what it shows may be an alias, and
/// be fitted anywhere.
#[inline(always)]
pub fn hidden<A: Arithmetic>(template: &A::Template, finer: &Finer) -> f32 {
    let ([x, y], own) = (finer.slopes, A::slopes(template));
    (x - own[0]).max(0.0) + (y - own[1]).max(0.0)
}

/// How far away along an axis a patch looks the same, if it does so one and two times as far, and not between.
#[inline(always)]
fn period<A: Arithmetic>(
    template: &A::Template,
    own: &Plane,
    at: (usize, usize),
    axis: usize,
) -> Option<f32> {
    let variance = A::variance(template);
    if variance < LEAST {
        return None;
    }
    let (from, size) = [(at.1, own.size.1), (at.0, own.size.0)][axis];
    let inside = |by: &f32| {
        let to = from as f32 + by;
        to >= 0.0 && to + (STRIDE as f32) < size as f32
    };
    let cost = |by: f32| {
        let mut flow = [0.0; 2];
        flow[axis] = by;
        A::fit(template, own, at, flow).cost
    };
    let side = if inside(&(LONGEST as f32)) { 1.0 } else { -1.0 };
    let costs: [f32; LONGEST + 2] = std::array::from_fn(|by| cost(side * by as f32));
    let unlike = costs.iter().position(|cost| *cost > UNLIKE * variance)?;
    let least = |by: &usize| costs[*by] <= costs[by - 1] && costs[*by] < costs[by + 1];
    let is_period = |period: &f32| {
        let places = [1.0, -1.0, 2.0, -2.0].map(|times| times * period);
        let inside = places.iter().filter(|by| inside(by));
        let most = |by: f32| ALIKE * variance * by.abs() / period;
        let alike = inside.clone().filter(|by| cost(**by) < most(**by));
        alike.clone().count() >= LEAST_ALIKE && alike.count() + 1 >= inside.count()
    };
    let mut periods = (unlike + 1..=LONGEST)
        .filter(least)
        .map(|by| by as f32 + vertex(&costs[by - 1..]));
    periods.find(is_period)
}

/// Where the parabola through the first three values is least, from the middle one on.
#[inline(always)]
fn vertex(values: &[f32]) -> f32 {
    let (before, after) = (values[0] - values[1], values[2] - values[1]);
    0.5 * (before - after) / (before + after)
}
