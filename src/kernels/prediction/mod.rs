//! Where things will be after the last picture, from how they moved to it.
//!
//! Every cell of 4x4 pixels of the last picture goes on by a motion of its own and is put where it gets to; where several
//! meet, the one that moves unlike its surroundings is in front (a thing before a background, whether the camera rests or
//! not). Cells in which nothing arrives are uncovered: their motion is filled in from what lies around, coarse to fine.
//! What a cell shows is taken from the last picture; where that one hides it and the picture before does not, from there. A
//! soft mask composes the two.
//!
//! After S. Niklaus, F. Liu, "Softmax Splatting for Video Frame Interpolation" (CVPR 2020), and the pull and push of
//! S. J. Gortler et al., "The Lumigraph" (SIGGRAPH 1996).

use candle_core::Tensor;

use super::Context;
use super::raster::{Source, for_each_row, write};

mod field;
#[cfg(test)]
mod tests;

use field::{Field, Pyramid, Vector, add, length, limited, scaled};

/// Pixels of the picture that a cell is wide and high.
const CELL: f32 = 4.0;
/// Cells around one, each way, over which a miss is averaged: a single one says too little.
const MISS_RADIUS: usize = 4;
/// Cells around one, each way, that are its surroundings.
const SURROUNDINGS: usize = 16;
/// A miss counts up to this share of the motion, plus so many pixels: what is more is an error of the search.
const MOST_MISS: f32 = 0.5;
const LEAST_MISS: f32 = 0.5;
/// Share p of the last miss by which motion is taken to change again. In a steady acceleration that is p / (1 + p) of it; of 0, 0.3,
/// 0.6 and 1 of it, 0.3 predicted 19 clips best.
const PERSISTENCE: f32 = 0.4;
/// Logarithm of the weight, where cells meet, of each pixel by which one moves unlike its surroundings; and the most of it.
const FRONT: f32 = 0.5;
const MOST_FRONT: f32 = 20.0;
/// Share of a cell's area that must be reached for it to be fully known.
const REACHED: f32 = 0.5;
/// Pixels, and share of the motion, by which motions may differ and still be of one thing.
const ALIKE: (f32, f32) = (1.0, 0.25);

/// Where an output lies, in intervals of the pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Course {
    /// Time since the last picture, 0 or more.
    pub ahead: f32,
    /// How much of the last miss is still shown, 0 to 1.
    pub left_over: f32,
}

/// What is known of the motion that leads to a picture; for one size of cells. Motion is in pixels an interval of the pair.
#[derive(Debug)]
pub struct Prediction {
    /// Motion to the cells of the last picture.
    velocity: Field,
    /// By how much what was predicted is ahead of it.
    miss: Field,
    /// What was predicted for it, at the cells of the picture before.
    predicted: Field,
    /// Motion from the cells of the picture before.
    before: Field,
    /// Weight of each cell where several meet.
    front: Vec<f32>,
    room: Field,
    /// Way from the last picture and, behind uncovered places, from the one before.
    ways: [Pyramid; 2],
    /// Weight of the picture before (x).
    mask: Field,
}

impl Prediction {
    /// For `height` x `width` cells.
    pub fn new(size: (usize, usize)) -> Self {
        let field = || Field::new(size);
        Self {
            velocity: field(),
            miss: field(),
            predicted: field(),
            before: field(),
            front: vec![0.0; size.0 * size.1],
            room: field(),
            ways: [Pyramid::new(size), Pyramid::new(size)],
            mask: field(),
        }
    }

    /// Takes the next pair: `flow`, `[h, w, 4]`, leads from the cells of its last picture to the picture before (x, y) and to where
    /// they are in the last one (x, y: about 0), in pixels. With a `pace` that one was the last picture of the pair taken before, and the pace is the time of this pair
    /// over that of the one before. What is no number stands still.
    ///
    /// # Errors
    /// Another size.
    pub fn advance(
        &mut self,
        context: &Context,
        flow: &Tensor,
        pace: Option<f32>,
    ) -> candle_core::Result<()> {
        let flow = Source::lock(flow);
        let flow = flow.raster()?;
        flow.expect("the flow", self.velocity.size, 4)?;
        for (i, expected) in self.predicted.values.iter_mut().enumerate() {
            *expected = travelled(self.velocity.values[i], self.miss.values[i], 1.0, 0.0);
        }
        let (_, width) = self.velocity.size;
        for (i, motion) in self.velocity.values.iter_mut().enumerate() {
            let to = flow.at(i / width, i % width);
            let moved = [to[2] - to[0], to[3] - to[1]];
            *motion = if length(moved).is_finite() {
                moved
            } else {
                [0.0; 2]
            };
        }
        match pace {
            Some(pace) => self.compare(context, pace),
            None => self.miss.values.fill([0.0; 2]),
        }
        self.order(context);
        self.look_back();
        Ok(())
    }

    /// How far what was predicted was wrong.
    fn compare(&mut self, context: &Context, pace: f32) {
        let (velocity, predicted) = (&self.velocity, &self.predicted);
        let width = velocity.size.1;
        each_cell(context, &mut self.room.values, width, |i, miss| {
            let motion = velocity.values[i];
            let expected = predicted.sample(i, scaled(motion, -1.0 / CELL));
            *miss = add(scaled(expected, pace), scaled(motion, -1.0));
        });
        self.room.means(context, MISS_RADIUS, &mut self.miss);
        for (miss, motion) in self.miss.values.iter_mut().zip(&self.velocity.values) {
            *miss = limited(*miss, MOST_MISS * length(*motion) + LEAST_MISS);
        }
    }

    /// What is in front.
    fn order(&mut self, context: &Context) {
        self.velocity.means(context, SURROUNDINGS, &mut self.room);
        let (width, fields) = (self.velocity.size.1, [&self.velocity, &self.room]);
        each_cell(context, &mut self.front, width, |i, front| {
            let [motion, mean] = fields.map(|field| field.values[i]);
            let unlike = length(add(motion, scaled(mean, -1.0)));
            *front = (FRONT * unlike).min(MOST_FRONT).exp();
        });
    }

    /// The motion of the picture before, as far as the last one shows it.
    fn look_back(&mut self) {
        let ([way, _], motion, front) = (&mut self.ways, &self.velocity.values, &self.front);
        let back = |i: usize| (scaled(motion[i], -1.0), motion[i], front[i]);
        way.splat(back, |reached, _| reached);
        self.before.values.copy_from_slice(way.values());
    }

    /// Fills `flow`, `[h, w, 4]`: where what a cell of an output shows lies in the picture before (x, y) and in the last one
    /// (x, y), relative to the cell, in pixels; and `mask`, `[h, w, 1]`: the weight of the picture before.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn project(
        &mut self,
        context: &Context,
        course: Course,
        (flow, mask): (&Tensor, &Tensor),
    ) -> candle_core::Result<()> {
        self.splat(context, course);
        self.uncover(context, course);
        let (size, [last, before]) = (self.velocity.size, &self.ways);
        write("the way ahead", flow, |mut out| {
            out.expect("the flow", size, 4)?;
            let pixel = out.pixel;
            out.for_each_row(context, |y, row| {
                for (x, cell) in row.chunks_mut(pixel).enumerate() {
                    let i = y * size.1 + x;
                    let (last, before) = (last.values()[i], before.values()[i]);
                    cell[..4].copy_from_slice(&[-before[0], -before[1], -last[0], -last[1]]);
                }
            });
            Ok(())
        })?;
        let weights = &self.mask;
        write("uncovered", mask, |mut out| {
            out.expect("the mask", size, 1)?;
            let pixel = out.pixel;
            out.for_each_row(context, |y, row| {
                for (x, weight) in row.iter_mut().step_by(pixel).enumerate() {
                    *weight = weights.values[y * size.1 + x][0];
                }
            });
            Ok(())
        })
    }

    /// The ways of all cells to where they get to, and what lies between.
    fn splat(&mut self, context: &Context, course: Course) {
        let ([last, before], front) = (&mut self.ways, &self.front);
        let (velocity, miss) = (&self.velocity.values, &self.miss.values);
        let way = |i: usize| travelled(velocity[i], miss[i], course.ahead, course.left_over);
        let forth = |i: usize| {
            let way = way(i);
            (way, way, front[i])
        };
        let further = |i: usize| {
            let way = way(i);
            (way, add(way, velocity[i]), front[i])
        };
        context.pool().install(|| {
            rayon::join(
                || last.splat(forth, |reached, _| reached),
                // behind an uncovered place lies what is not in front
                || before.splat(further, |reached, front| reached / front.max(1.0)),
            )
        });
    }

    /// How far the picture before shows what belongs to a place in which nothing arrives.
    fn uncover(&mut self, context: &Context, course: Course) {
        let (_, width) = self.before.size;
        let (shows, [last, before]) = (&self.before, &self.ways);
        each_cell(context, &mut self.room.values, width, |i, weight| {
            *weight = [0.0; 2];
            let (reached, way) = (last.reached()[i], before.values()[i]);
            let by = scaled(way, -1.0 / CELL);
            let place = add([(i % width) as f32, (i / width) as f32], by);
            if reached < 1.0 && shows.contains(place) {
                let motion = scaled(way, 1.0 / (1.0 + course.ahead));
                let apart = length(add(shows.sample(i, by), scaled(motion, -1.0)));
                let allowed = ALIKE.0 + ALIKE.1 * length(motion);
                let alike = (2.0 - apart / allowed).clamp(0.0, 1.0);
                *weight = [(1.0 - reached) * alike, 0.0];
            }
        });
        self.room.means(context, 1, &mut self.mask);
    }

    /// The most pixels by which a cell of the last picture is moved while so much of the miss is shown and no time has passed.
    pub fn displacement(&self, left_over: f32) -> f32 {
        let lengths = self.miss.values.iter().map(|miss| length(*miss));
        left_over * lengths.fold(0.0, f32::max)
    }
}

/// Calls `f` with the number and the value of each cell, on the context's threads.
fn each_cell<T: Send>(
    context: &Context,
    values: &mut [T],
    width: usize,
    f: impl Fn(usize, &mut T) + Sync,
) {
    for_each_row(context, values, width, |y, row| {
        let cells = (y * width..).zip(row);
        cells.for_each(|(i, value)| f(i, value));
    });
}

/// How far a thing goes: evenly, but for what the last miss tells of its acceleration and what is still shown of it.
fn travelled(velocity: Vector, miss: Vector, ahead: f32, left_over: f32) -> Vector {
    // at the end of each interval the velocity has changed by as much again
    let changed = left_over - PERSISTENCE * ahead * (ahead + 1.0) / 2.0;
    add(scaled(velocity, ahead), scaled(miss, changed))
}
