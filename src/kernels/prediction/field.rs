//! Vectors of all cells: their means, and what fills the gaps between them.

use super::super::warp::Taps;
use super::{CELL, REACHED};

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
    pub fn means(&self, radius: usize, out: &mut Field) {
        let (height, width) = self.size;
        let mut sums = vec![[0.0f64; 2]; width];
        let count = |y: usize, sign: f64, sums: &mut [[f64; 2]]| {
            for (sum, v) in sums.iter_mut().zip(&self.values[y * width..][..width]) {
                *sum = [0, 1].map(|c| sum[c] + sign * f64::from(v[c]));
            }
        };
        (0..radius.min(height)).for_each(|y| count(y, 1.0, &mut sums));
        for y in 0..height {
            if y + radius < height {
                count(y + radius, 1.0, &mut sums);
            }
            if y > radius {
                count(y - radius - 1, -1.0, &mut sums);
            }
            let rows = (y + radius + 1).min(height) - y.saturating_sub(radius);
            running_means(&sums, rows, radius, &mut out.values[y * width..][..width]);
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
            levels: sizes.map(Level::new).collect(),
            reached: vec![0.0; size.0 * size.1],
        }
    }

    /// The vectors; complete after [`Pyramid::fill`].
    pub fn values(&self) -> &[Vector] {
        &self.levels[0].values.values
    }

    /// How far each cell was reached, after [`Pyramid::settle`]; 0 to 1.
    pub fn reached(&self) -> &[f32] {
        &self.reached
    }

    /// Begins anew.
    pub fn clear(&mut self) {
        let level = &mut self.levels[0];
        level.values.values.fill([0.0; 2]);
        level.known.fill(0.0);
        self.reached.fill(0.0);
    }

    /// Puts a value, with a weight, to where cell `i` gets on its `way` (pixels).
    pub fn put(&mut self, i: usize, way: Vector, value: Vector, weight: f32) {
        let level = &mut self.levels[0];
        let (height, width) = level.values.size;
        let x = (i % width) as f32 + way[0] / CELL;
        let y = (i / width) as f32 + way[1] / CELL;
        let (left, top) = (x.floor(), y.floor());
        for (row, share_y) in [(top, 1.0 - (y - top)), (top + 1.0, y - top)] {
            for (column, share_x) in [(left, 1.0 - (x - left)), (left + 1.0, x - left)] {
                let inside =
                    (0.0..height as f32).contains(&row) && (0.0..width as f32).contains(&column);
                let share = share_x * share_y;
                if !inside || share <= 0.0 {
                    continue;
                }
                let j = row as usize * width + column as usize;
                let sum = &mut level.values.values[j];
                *sum = add(*sum, scaled(value, share * weight));
                level.known[j] += share * weight;
                self.reached[j] += share;
            }
        }
    }

    /// All is put: `weigh` gives what each cell tells its surroundings, from how far it is reached (0 to 1) and the mean
    /// weight of what got there.
    pub fn settle(&mut self, weigh: impl Fn(f32, f32) -> f32) {
        let level = &mut self.levels[0];
        let cells = level.values.values.iter_mut().zip(&mut level.known);
        for ((value, known), reached) in cells.zip(&mut self.reached) {
            if *known <= 0.0 {
                (*known, *reached) = (0.0, 0.0);
                continue;
            }
            *value = scaled(*value, 1.0 / *known);
            let mean = *known / *reached;
            *reached = (*reached / REACHED).min(1.0);
            *known = weigh(*reached, mean);
        }
    }

    /// Fills what is not fully reached from its surroundings, the smallest that know something.
    pub fn fill(&mut self) {
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
