//! What goes further than its own width, as balls do: where it is halfway, both pictures show the ground, and no fixed point that begins
//! there comes upon its motion. So each place's motion, if both directions agree on it, is taken to where it is at the phase (forward
//! projection), and is one more hypothesis there if that place moves otherwise.
//!
//! It is taken where
//! - the thing is explained: left and right are alike along its motion, and along the motion chosen neither where it comes from nor where
//!   it goes to is. So it covers there what the ground shows in the other picture, and repetition and rest, which both explain, are none;
//! - and it lies in front: what was chosen explains the place less well, or neither motion explains what the other picture shows where the
//!   thing is in one of them, as ground that comes to light there. Left and right of a post that stands before a moving ground that goes
//!   the ground's way: the post stays. And where a disc has come from and where it goes to, two pieces of ground may resemble each other,
//!   but there it is itself what covers them. Ground without texture goes any way, so where edges stand still, as those of letters do,
//!   it counts as what goes along.

use std::sync::atomic::{AtomicU32, Ordering};

use super::reference::{sample, stands_still};
use crate::kernels::Context;
use crate::kernels::change::Pair;
use crate::kernels::luma::SAMPLES;
use crate::kernels::raster::{Raster, RasterMut, for_each};

/// What differs by less than this is the same motion, and what is less is none, in cells.
const APART: f32 = 0.7;
/// Both directions agree on a motion to this, in cells.
const TRUST: f32 = 1.0;
/// Costs are sums over a cell's samples of differences in this many steps a code.
const STEPS: i32 = WHOLE * WHOLE;
const CODE: i32 = STEPS * (SAMPLES * SAMPLES) as i32;
/// A thing costs at most this share of what the motion chosen does at its places, and is better there by so much.
const SHARE: (i32, i32) = (7, 10);
const BETTER: i32 = 3 * CODE;
/// What a motion explains leaves less than this share of what it varies by, which is more than so much.
const EXPLAINED: (i32, i32) = (1, 2);
const VARIED: i32 = 2 * CODE;
/// Parts of a sample at which luma is looked at.
const WHOLE: i32 = 16;
/// A motion counts up to this, in cells: further than pictures are wide.
const FAR: f32 = 1e5;
/// No arrival.
const NONE: u32 = u32::MAX;
/// Bits of an arrival that tell whose motion it is; those above tell how well both directions agree on it.
const SOURCE_BITS: u32 = 24;
/// Steps of that to a cell.
const AGREEMENT: f32 = 128.0;

pub struct Job<'a> {
    pub found: Raster<'a>,
    pub phase: Raster<'a>,
    /// `[h, w, 4]`: the flow that would be taken without.
    pub chosen: Raster<'a>,
    pub luma: Pair<'a>,
}

type Motion = [f32; 2];

/// An error of more cells than arrivals can tell apart.
pub fn expect_few((h, w): (usize, usize)) -> candle_core::Result<()> {
    if 2 * h * w > 1 << SOURCE_BITS {
        candle_core::bail!("{h}x{w} cells are more than arrivals are told apart in");
    }
    Ok(())
}

impl Job<'_> {
    /// Fills `out`, a value a cell, with what arrives there: of all sources the one whose directions agree best, then the first one.
    pub fn arrive(&self, context: &Context, out: &mut [u32]) {
        out.fill(NONE);
        // SAFETY: both types have the same size and alignment, and the values are exclusively ours meanwhile.
        let out = unsafe { &*(std::ptr::from_mut(out) as *const [AtomicU32]) };
        let (h, w) = self.found.size();
        for_each(context, h, w, |y| {
            for (x, way) in (0..w).flat_map(|x| [(x, 0), (x, 1)]) {
                self.carry((y, x), way, out);
            }
        });
    }

    /// The motion of a cell as one way found it: from the left picture (0), from the right one (1).
    fn by_way(&self, (y, x): (usize, usize), way: usize) -> Motion {
        let found = self.found.at(y, x);
        [found[2 * way], found[2 * way + 1]]
    }

    /// Takes the motion of a cell, of one way, to the cells around where it leads to at the phase.
    fn carry(&self, (y, x): (usize, usize), way: usize, out: &[AtomicU32]) {
        let by = self.by_way((y, x), way);
        // what is no number, too, arrives nowhere
        if !(APART * APART..=FAR * FAR).contains(&squared(by)) {
            return;
        }
        let t = self.phase.at(y, x)[0];
        let share = if way == 0 { t } else { 1.0 - t };
        let (h, w) = self.found.size();
        let to = |at: usize, by: f32| (at as f32 + share * by).floor() as isize;
        let (top, left) = (to(y, by[1]), to(x, by[0]));
        let near = |first: isize, size: usize| {
            (first..first + 2).filter_map(move |i| usize::try_from(i).ok().filter(|&i| i < size))
        };
        let motion = forth(by, way);
        let apart = |&(y, x): &(usize, usize)| {
            squared(less(motion_of(self.chosen.at(y, x)), motion)) > APART * APART
        };
        let cells = near(top, h).flat_map(|y| near(left, w).map(move |x| (y, x)));
        let mut arrival = None;
        for (to_y, to_x) in cells.filter(apart) {
            let arrival = *arrival.get_or_insert_with(|| self.arrival((y, x), way, by));
            out[to_y * w + to_x].fetch_min(arrival, Ordering::Relaxed);
        }
    }

    /// What tells of the motion of a cell's way that it arrives; [`NONE`] if the other way does not agree.
    fn arrival(&self, (y, x): (usize, usize), way: usize, by: Motion) -> u32 {
        let back = sample(&self.found, (y, x), 2 - 2 * way, by);
        let error = squared([by[0] + back[0], by[1] + back[1]]).sqrt();
        let source = (2 * (y * self.found.width + x) + way) as u32;
        match error <= TRUST {
            true => ((error * AGREEMENT) as u32) << SOURCE_BITS | source,
            false => NONE,
        }
    }

    /// Fills `out`, `[h, w, 4]`, with the flows chosen, or with those of what has arrived where that is taken.
    pub fn settle(&self, context: &Context, arrivals: &[u32], out: &mut RasterMut) {
        let pixel = out.pixel;
        let width = self.found.width;
        out.for_each_row(context, |y, row| {
            for (x, cell) in row.chunks_mut(pixel).enumerate() {
                let taken = match arrivals[y * width + x] {
                    NONE => None,
                    arrival => self.taken((y, x), arrival),
                };
                let chosen = || std::array::from_fn(|c| self.chosen.at(y, x)[c]);
                cell[..4].copy_from_slice(&taken.unwrap_or_else(chosen));
            }
        });
    }

    /// The flow of what has arrived, if it is taken.
    fn taken(&self, (y, x): (usize, usize), arrival: u32) -> Option<[f32; 4]> {
        let source = (arrival & ((1 << SOURCE_BITS) - 1)) as usize;
        let (cell, way) = (source / 2, source % 2);
        let cell = (cell / self.found.width, cell % self.found.width);
        let motion = forth(self.by_way(cell, way), way);
        let chosen = self.chosen.at(y, x);
        let ground = motion_of(chosen);
        let t = self.phase.at(y, x)[0];
        let from = motion.map(|v| -t * v);
        let to = motion.map(|v| (1.0 - t) * v);
        let cost = |left, right| self.difference((y, x), left, right);
        let along = cost(from, to);
        let explains = |other| SHARE.1 * along < SHARE.0 * other && along + BETTER < other;
        let in_front = || {
            let here = cost([chosen[0], chosen[1]], [chosen[2], chosen[3]]);
            let stands = ground == [0.0; 2] && stands_still(&self.luma, (y, x));
            let goes = |motion, flat| self.goes((y, x), [from, to], motion, flat);
            along + BETTER < here && !stands
                || goes(motion, stands) == [false; 2] && goes(ground, false) != [true; 2]
        };
        let taken = explains(cost(from, plus(from, ground)))
            && explains(cost(less(to, ground), to))
            && in_front();
        taken.then_some([from[0], from[1], to[0], to[1]])
    }

    /// Whether a motion explains what the right picture shows where the thing is in the left one, (x, y) cells away, and the other way
    /// round; `flat` where that varies by nothing to speak of, which any motion explains.
    fn goes(
        &self,
        cell: (usize, usize),
        [from, to]: [Motion; 2],
        motion: Motion,
        flat: bool,
    ) -> [bool; 2] {
        let explained = |left, right, shown| {
            let varied = variation(&shown);
            match varied > VARIED {
                true => self.difference(cell, left, right) * EXPLAINED.1 < varied * EXPLAINED.0,
                false => flat,
            }
        };
        let (right, left) = (&self.luma.right, &self.luma.left);
        [
            explained(less(from, motion), from, samples(right, cell, from)),
            explained(to, plus(to, motion), samples(left, cell, to)),
        ]
    }

    /// How far the samples of a cell are apart, in the left picture moved by (x, y) `left`, in the right one by `right`.
    fn difference(&self, cell: (usize, usize), left: Motion, right: Motion) -> i32 {
        let left = samples(&self.luma.left, cell, left);
        let right = samples(&self.luma.right, cell, right);
        left.iter().zip(&right).map(|(l, r)| (l - r).abs()).sum()
    }
}

/// The samples of a cell moved by (x, y) cells, between the samples that are there, in [`STEPS`] a code; the edge repeated.
fn samples(luma: &Raster<u8>, (y, x): (usize, usize), by: Motion) -> [i32; SAMPLES * SAMPLES] {
    const SIDE: usize = SAMPLES + 1;
    let place = |cell: usize, by: f32| {
        // what is no number becomes 0
        let by = (by.clamp(-FAR, FAR) * (SAMPLES as i32 * WHOLE) as f32).round() as i32;
        (
            (SAMPLES * cell) as i32 + by.div_euclid(WHOLE),
            by.rem_euclid(WHOLE),
        )
    };
    let ((top, down), (left, across)) = (place(y, by[1]), place(x, by[0]));
    let inside = |i: i32, size: usize| i.clamp(0, size as i32 - 1) as usize;
    let columns: [usize; SIDE] = std::array::from_fn(|j| inside(left + j as i32, luma.width));
    let rows: [[i32; SAMPLES]; SIDE] = std::array::from_fn(|i| {
        let row = luma.row(inside(top + i as i32, luma.height));
        let codes = columns.map(|x| i32::from(row[x * luma.pixel]));
        std::array::from_fn(|j| (WHOLE - across) * codes[j] + across * codes[j + 1])
    });
    std::array::from_fn(|i| {
        let (i, j) = (i / SAMPLES, i % SAMPLES);
        (WHOLE - down) * rows[i][j] + down * rows[i + 1][j]
    })
}

/// Sum of the samples' differences from their mean.
fn variation(samples: &[i32; SAMPLES * SAMPLES]) -> i32 {
    const COUNT: i32 = (SAMPLES * SAMPLES) as i32;
    let mean = samples.iter().sum::<i32>() / COUNT;
    samples.iter().map(|s| (s - mean).abs()).sum()
}

/// A motion that one way was found, as that from left to right.
fn forth(by: Motion, way: usize) -> Motion {
    if way == 0 { by } else { by.map(|v| -v) }
}

/// The motion from left to right of a flow.
fn motion_of(flow: &[f32]) -> Motion {
    [flow[2] - flow[0], flow[3] - flow[1]]
}

fn plus(a: Motion, b: Motion) -> Motion {
    [a[0] + b[0], a[1] + b[1]]
}

fn less(a: Motion, b: Motion) -> Motion {
    [a[0] - b[0], a[1] - b[1]]
}

fn squared([x, y]: Motion) -> f32 {
    x * x + y * y
}
