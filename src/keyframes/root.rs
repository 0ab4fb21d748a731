//! A frame from its keyframes, and the search for the one that moves as the source does.
//!
//! The unknown frame x is the root of E(x): by how much the displacement between the warped styled keyframe and x differs from
//! that between the keyframe's warped source and the frame's own, forward and backward, the mean over the keyframes. What a flow
//! missed by a little is in the second of them, so that also what the source does not show (a painted mark) gets to its place. The
//! unknown is by how much the warps are moved; displacement changes with it one by one, and a Newton step is E itself.

use super::displacement::displacement;
use super::field::Field;
use super::plane::{Plane, between, guide};
use super::{Keyframe, Settings, Side, Track};
use crate::kernels::Context;
use crate::picture::Picture;

/// Weight of the curves beside a keyframe that is wholly trusted.
const CURVE: f32 = 0.02;
/// Cells to each side over which a step is smoothed.
const SMOOTH: usize = 1;
/// A step that makes the residual no smaller is halved so often.
const HALVINGS: usize = 2;

/// A keyframe with the flow to it as it stands, and how much it counts.
pub struct Warped<'a> {
    key: &'a Keyframe,
    track: &'a Track,
    to: Field,
    weight: f32,
}

impl<'a> Warped<'a> {
    pub fn new(side: &Side<'a>) -> Self {
        Self {
            key: side.key,
            track: side.track,
            to: side.track.to.clone(),
            weight: side.weight,
        }
    }
}

/// Component `c` of the frame whose own component is `source`.
pub fn render(
    context: &Context,
    sides: &[Warped],
    picture: &Picture,
    c: usize,
    source: &Plane,
) -> Plane {
    let component = &picture.format().components()[c];
    let scale = [component.sub_x, component.sub_y].map(|sub| (1 << sub) as f32 / super::CELL);
    let cell = |at: f32, scale: f32| (at + 0.5) * scale - 0.5;
    let mut out = Plane::new(source.width, source.height);
    out.fill(context, |y, row| {
        let mut weights = vec![0.0f32; row.len()];
        let mut places = vec![[0.0f32; 2]; row.len()];
        let own = source.row(y);
        for side in sides {
            let style = &side.key.styles[c];
            side.to.places(component, y, &mut places);
            let trust = side.track.trust.row_at(cell(y as f32, scale[1]));
            for (x, value) in row.iter_mut().enumerate() {
                let place = style.gain.place(places[x]);
                let weight = side.weight * between(&trust, cell(x as f32, scale[0]));
                let curve = CURVE * side.weight;
                let moved = style.offset.cubic(place) + style.gain.bilinear(place) * own[x];
                *value += weight * moved + curve * style.curve(own[x]);
                weights[x] += weight + curve;
            }
        }
        for (value, weight) in row.iter_mut().zip(&weights) {
            *value /= weight.max(f32::MIN_POSITIVE);
        }
    });
    out
}

/// What a keyframe shows at the frame's places, as it was found.
fn warp(context: &Context, plane: &Plane, side: &Warped, picture: &Picture) -> Plane {
    let component = &picture.format().components()[guide(picture.format())];
    let mut out = Plane::new(plane.width, plane.height);
    out.fill(context, |y, row| {
        let mut places = vec![[0.0f32; 2]; row.len()];
        side.track.to.places(component, y, &mut places);
        for (value, place) in row.iter_mut().zip(places) {
            *value = plane.cubic(plane.place(place));
        }
    });
    out
}

/// One keyframe's part of E.
struct Part {
    /// The styled keyframe, warped.
    styled: Plane,
    /// From the keyframe's warped source to the frame's own, and back.
    source: [Field; 2],
    /// How much each cell counts.
    weight: Plane,
}

/// E, forward and backward, and how much each cell tells of it.
struct Residual {
    ways: [Field; 2],
    sure: Plane,
}

impl Residual {
    /// Root of the mean square of both ways, in pixels.
    fn norm(&self) -> f32 {
        let (mut sum, mut weights) = (0.0f64, 0.0f64);
        for (i, sure) in self.sure.data.iter().enumerate() {
            for way in &self.ways {
                let [x, y] = way.flow[i];
                sum += f64::from(0.5 * sure * (x * x + y * y));
            }
            weights += f64::from(*sure);
        }
        (sum / weights.max(1e-9)).sqrt() as f32
    }

    /// What is taken from the warps.
    fn step(&self, context: &Context) -> Field {
        let [forward, backward] = &self.ways;
        let mut planes = [0, 1].map(|c| {
            let mut plane = self.sure.clone();
            for (i, value) in plane.data.iter_mut().enumerate() {
                *value *= 0.5 * (forward.flow[i][c] - backward.flow[i][c]);
            }
            plane.mean(context, SMOOTH)
        });
        let sure = self.sure.mean(context, SMOOTH);
        let mut step = forward.clone();
        for (i, flow) in step.flow.iter_mut().enumerate() {
            *flow = planes.each_mut().map(|p| p.data[i] / sure.data[i].max(0.1));
        }
        step
    }
}

struct Equation<'a> {
    context: &'a Context,
    picture: &'a Picture<'a>,
    source: &'a Plane,
    parts: Vec<Part>,
    cells: (usize, usize),
}

impl<'a> Equation<'a> {
    fn new(
        context: &'a Context,
        sides: &[Warped],
        picture: &'a Picture<'a>,
        source: &'a Plane,
    ) -> Self {
        let cells = sides.first().map_or((1, 1), |side| {
            (side.track.trust.height, side.track.trust.width)
        });
        let part = |side: &Warped| {
            let own = warp(context, &side.key.source, side, picture);
            let (forward, _) = displacement(context, &own, source, cells);
            let (backward, _) = displacement(context, source, &own, cells);
            let mut weight = side.track.trust.clone();
            weight.data.iter_mut().for_each(|w| *w *= side.weight);
            Part {
                styled: warp(context, &side.key.styled, side, picture),
                source: [forward, backward],
                weight,
            }
        };
        Self {
            parts: sides.iter().map(part).collect(),
            context,
            picture,
            source,
            cells,
        }
    }

    /// E of the frame that the warps give.
    fn residual(&self, sides: &[Warped]) -> Residual {
        let c = guide(self.picture.format());
        let x = render(self.context, sides, self.picture, c, self.source);
        let mut ways = [Field::still(self.cells), Field::still(self.cells)];
        let mut sums = Plane::new(self.cells.1, self.cells.0);
        for part in &self.parts {
            let pairs = [[&part.styled, &x], [&x, &part.styled]];
            for ((way, pair), source) in ways.iter_mut().zip(pairs).zip(&part.source) {
                let (found, sure) = displacement(self.context, pair[0], pair[1], self.cells);
                for (i, sum) in way.flow.iter_mut().enumerate() {
                    let weight = 0.5 * sure.data[i] * part.weight.data[i];
                    let more = [0, 1].map(|c| weight * (found.flow[i][c] - source.flow[i][c]));
                    *sum = [0, 1].map(|c| sum[c] + more[c]);
                    sums.data[i] += weight;
                }
            }
        }
        for way in &mut ways {
            for (flow, weight) in way.flow.iter_mut().zip(&sums.data) {
                // each way has half of the weights
                *flow = flow.map(|d| 2.0 * d / weight.max(1e-6));
            }
        }
        Residual { ways, sure: sums }
    }
}

/// Moves the warps of `sides` until E is small enough, as often as the settings allow. Answers the residual before the first step
/// and after each one, in pixels; each is smaller than the one before.
pub fn solve(
    context: &Context,
    sides: &mut [Warped],
    picture: &Picture,
    source: &Plane,
    settings: &Settings,
) -> Vec<f32> {
    if settings.iterations == 0 {
        return Vec::new();
    }
    let equation = Equation::new(context, sides, picture, source);
    let mut residual = equation.residual(sides);
    let mut norms = vec![residual.norm()];
    while norms.len() <= settings.iterations && residual.norm() > settings.tolerance {
        let Some(next) = improve(&equation, sides, &residual) else {
            break;
        };
        residual = next;
        norms.push(residual.norm());
    }
    norms
}

/// A step, or a part of it, that makes the residual smaller; `None`, and nothing moved, where none does.
fn improve(equation: &Equation, sides: &mut [Warped], residual: &Residual) -> Option<Residual> {
    let context = equation.context;
    let mut step = residual.step(context);
    step.flow.iter_mut().for_each(|d| *d = d.map(|d| -d));
    let before: Vec<Field> = sides.iter().map(|side| side.to.clone()).collect();
    for _ in 0..=HALVINGS {
        for (side, before) in sides.iter_mut().zip(&before) {
            side.to = before.moved(context, &step);
        }
        let next = equation.residual(sides);
        if next.norm() < residual.norm() {
            return Some(next);
        }
        step.flow.iter_mut().for_each(|d| *d = d.map(|d| 0.5 * d));
    }
    for (side, before) in sides.iter_mut().zip(before) {
        side.to = before;
    }
    None
}
