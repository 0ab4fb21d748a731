//! Vectors of all cells: their means, and what fills the gaps between them.

use super::super::Context;
use super::super::raster::for_each_row;
use super::super::warp::Taps;
use super::{CELL, REACHED};

/// Rows whose means are made together; their first sums are made anew.
const BAND: usize = 32;

/// x and y.
pub type Vector = [f32; 2];

pub fn add(a: Vector, b: Vector) -> Vector {
    [a[0] + b[0], a[1] + b[1]]
}

pub fn scaled(v: Vector, by: f32) -> Vector {
    v.map(|c| by * c)
}

pub fn length([x, y]: Vector) -> f32 {
    (x * x + y * y).sqrt()
}

/// No longer than `most`.
pub fn limited(v: Vector, most: f32) -> Vector {
    let length = length(v);
    if length > most {
        scaled(v, most / length)
    } else {
        v
    }
}

/// A vector for each cell, row by row.
#[derive(Debug)]
pub struct Field {
    /// Height and width.
    pub size: (usize, usize),
    pub values: Vec<Vector>,
}

impl Field {
    /// All 0.
    pub fn new(size: (usize, usize)) -> Self {
        let values = vec![[0.0; 2]; size.0 * size.1];
        Self { size, values }
    }

    /// Whether a place (x, y), in cells, lies between their outermost middles.
    pub fn contains(&self, [x, y]: Vector) -> bool {
        let (height, width) = self.size;
        let inside = |at: f32, size: usize| at >= 0.0 && at <= (size - 1) as f32;
        inside(x, width) && inside(y, height)
    }

    /// Between cells, at cell `i` moved by (x, y) cells; beyond the outermost cells they hold.
    pub fn sample(&self, i: usize, by: Vector) -> Vector {
        let (height, width) = self.size;
        let tx = Taps::new((i % width) as f32 + by[0], width);
        let ty = Taps::new((i / width) as f32 + by[1], height);
        let mix = |a: Vector, b: Vector, t: f32| [0, 1].map(|c| a[c] + t * (b[c] - a[c]));
        let across = |y: usize| {
            let row = &self.values[y * width..][..width];
            mix(row[tx.first], row[tx.second], tx.share)
        };
        mix(across(ty.first), across(ty.second), ty.share)
    }

    /// Fills `out`, as large, with the means of all that lies up to `radius` cells away along each axis.
    pub fn means(&self, context: &Context, radius: usize, out: &mut Field) {
        let width = self.size.1;
        for_each_row(context, &mut out.values, BAND * width, |band, out| {
            self.means_from(band * BAND, radius, out);
        });
    }

    /// The means of whole rows, from row `top` on.
    fn means_from(&self, top: usize, radius: usize, out: &mut [Vector]) {
        let (height, width) = self.size;
        let mut sums = vec![[0.0f64; 2]; width];
        let count = |y: usize, sign: f64, sums: &mut [[f64; 2]]| {
            for (sum, v) in sums.iter_mut().zip(&self.values[y * width..][..width]) {
                *sum = [0, 1].map(|c| sum[c] + sign * f64::from(v[c]));
            }
        };
        let around = |y: usize| y.saturating_sub(radius)..(y + radius + 1).min(height);
        around(top).for_each(|y| count(y, 1.0, &mut sums));
        for (y, out) in (top..).zip(out.chunks_mut(width)) {
            if y > top {
                let (before, now) = (around(y - 1), around(y));
                (before.end..now.end).for_each(|y| count(y, 1.0, &mut sums));
                (before.start..now.start).for_each(|y| count(y, -1.0, &mut sums));
            }
            running_means(&sums, around(y).len(), radius, out);
        }
    }
}

/// Means along a row of what is the sum of `rows` rows.
fn running_means(sums: &[[f64; 2]], rows: usize, radius: usize, out: &mut [Vector]) {
    let width = sums.len();
    let mut sum = [0.0f64; 2];
    for v in &sums[..radius.min(width)] {
        sum = [sum[0] + v[0], sum[1] + v[1]];
    }
    for (x, mean) in out.iter_mut().enumerate() {
        if let Some(v) = sums.get(x + radius) {
            sum = [sum[0] + v[0], sum[1] + v[1]];
        }
        if let Some(v) = x.checked_sub(radius + 1).map(|x| sums[x]) {
            sum = [sum[0] - v[0], sum[1] - v[1]];
        }
        let columns = (x + radius + 1).min(width) - x.saturating_sub(radius);
        *mean = sum.map(|s| (s / (rows * columns) as f64) as f32);
    }
}

/// Vectors that were put to where they belong, and their means over ever more cells for where there are none.
#[derive(Debug)]
pub struct Pyramid {
    /// Of each cell what was put there: x and y times their weights, the weights, and the shares of a cell.
    pub(super) sums: Vec<[f32; 4]>,
    /// From the cells to a single one.
    levels: Vec<Level>,
    /// How far each cell is reached, 0 to 1.
    reached: Vec<f32>,
}

#[derive(Debug)]
struct Level {
    values: Field,
    /// Weight of each value.
    known: Vec<f32>,
}

impl Level {
    fn new(size: (usize, usize)) -> Self {
        Self {
            values: Field::new(size),
            known: vec![0.0; size.0 * size.1],
        }
    }
}

impl Pyramid {
    /// For height and width.
    pub fn new(size: (usize, usize)) -> Self {
        let half = |&(h, w): &(usize, usize)| (h.div_ceil(2), w.div_ceil(2));
        let sizes = std::iter::successors(Some(size), |size| (*size != (1, 1)).then(|| half(size)));
        Self {
            sums: vec![[0.0; 4]; size.0 * size.1],
            levels: sizes.map(Level::new).collect(),
            reached: vec![0.0; size.0 * size.1],
        }
    }

    /// Begins anew: puts what `of` says of each cell, its way (pixels), a value and a weight, settles all by `weigh` and fills what lies between.
    pub fn splat(
        &mut self,
        of: impl Fn(usize) -> (Vector, Vector, f32),
        weigh: impl Fn(f32, f32) -> f32,
    ) {
        let (height, width) = self.levels[0].values.size;
        self.sums.fill([0.0; 4]);
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            let (way, value, weight) = of(y * width + x);
            let cell = [x as i32 as f32, y as i32 as f32];
            self.put(add(cell, scaled(way, 1.0 / CELL)), value, weight);
        }
        self.settle(weigh);
        self.fill();
    }

    /// The vectors; complete after [`Pyramid::fill`].
    pub fn values(&self) -> &[Vector] {
        &self.levels[0].values.values
    }

    /// How far each cell was reached, after [`Pyramid::settle`]; 0 to 1.
    pub fn reached(&self) -> &[f32] {
        &self.reached
    }

    /// Puts a value, with a weight, to a place (x, y) in cells: around it four of them get their shares.
    pub fn put(&mut self, place: Vector, value: Vector, weight: f32) {
        let (height, width) = self.levels[0].values.size;
        let (columns, rows) = (shared(place[0], width), shared(place[1], height));
        let put = [weight * value[0], weight * value[1], weight, 1.0];
        for (row, down) in rows {
            // what is below zero is too large so
            let Some(cells) = self.sums.chunks_mut(width).nth(row as u32 as usize) else {
                continue;
            };
            for (column, across) in columns {
                if let Some(sum) = cells.get_mut(column as u32 as usize) {
                    let share = down * across;
                    for (sum, put) in sum.iter_mut().zip(put) {
                        *sum += share * put;
                    }
                }
            }
        }
    }

    /// All is put: `weigh` gives what each cell tells its surroundings, from how far it is reached (0 to 1) and the mean
    /// weight of what got there.
    fn settle(&mut self, weigh: impl Fn(f32, f32) -> f32) {
        let level = &mut self.levels[0];
        let cells = level.values.values.iter_mut().zip(&mut level.known);
        let cells = cells.zip(&mut self.reached).zip(&self.sums);
        for (((value, known), reached), [x, y, weights, shares]) in cells {
            if *weights <= 0.0 {
                (*value, *known, *reached) = ([0.0; 2], 0.0, 0.0);
                continue;
            }
            *value = scaled([*x, *y], 1.0 / weights);
            *reached = (shares / REACHED).min(1.0);
            *known = weigh(*reached, weights / shares);
        }
    }

    /// Fills what is not fully reached from its surroundings, the smallest that know something.
    fn fill(&mut self) {
        for i in 1..self.levels.len() {
            let (finer, coarser) = self.levels.split_at_mut(i);
            pull(&finer[i - 1], &mut coarser[0]);
        }
        for i in (1..self.levels.len()).rev() {
            let (finer, coarser) = self.levels.split_at_mut(i);
            let reached = (i == 1).then_some(&self.reached[..]);
            push(&coarser[0], &mut finer[i - 1], reached);
        }
    }
}

/// The two cells along an axis of `size` whose middles are around a place, and their shares of it. What lies further off than one cell, or is no number, is in none.
fn shared(at: f32, size: usize) -> [(i32, f32); 2] {
    const OFF: f32 = 2.0;
    // above zero, so that to cut it off is its floor, which is a call without the instructions of later processors
    let at = at.max(-OFF).min(size as i32 as f32) + OFF;
    let cut = at as i32;
    let (before, share) = (cut - OFF as i32, at - cut as f32);
    [(before, 1.0 - share), (before + 1, share)]
}

/// Means of 2x2 cells.
fn pull(finer: &Level, coarser: &mut Level) {
    let ((height, width), (_, across)) = (finer.values.size, coarser.values.size);
    coarser.values.values.fill([0.0; 2]);
    coarser.known.fill(0.0);
    for y in 0..height {
        for x in 0..width {
            let (i, j) = (y * width + x, y / 2 * across + x / 2);
            let known = finer.known[i];
            let sum = &mut coarser.values.values[j];
            *sum = add(*sum, scaled(finer.values.values[i], known));
            coarser.known[j] += known;
        }
    }
    for (value, known) in coarser.values.values.iter_mut().zip(&mut coarser.known) {
        if *known > 0.0 {
            *value = scaled(*value, 1.0 / *known);
        }
        *known = known.min(1.0);
    }
}

/// Mixes what the coarser cells say into what is not known, or `reached`.
fn push(coarser: &Level, finer: &mut Level, reached: Option<&[f32]>) {
    let ((_, width), (rows, columns)) = (finer.values.size, coarser.values.size);
    let known = reached.unwrap_or(&finer.known);
    for (i, (value, known)) in finer.values.values.iter_mut().zip(known).enumerate() {
        if *known >= 1.0 {
            continue;
        }
        let at = |i: usize| (i as f32 - 0.5) / 2.0;
        let (x, y) = (at(i % width), at(i / width));
        let (nearest_x, nearest_y) = (i % width / 2, i / width / 2);
        debug_assert!(nearest_x < columns && nearest_y < rows);
        let by = [x - nearest_x as f32, y - nearest_y as f32];
        let around = coarser.values.sample(nearest_y * columns + nearest_x, by);
        *value = [0, 1].map(|c| known * value[c] + (1.0 - known) * around[c]);
    }
}
