//! Where labels are in two pictures and in one between them, on cells of 4x4 pixels, and what is behind them.

use candle_core::{Device, Tensor};

use super::Labels;
use crate::error::Result;
use crate::kernels::raster::Source;

/// Pixels that a cell is wide and high.
const CELL: usize = 4;
/// A cell is a label's once so much of it is covered: edges seldom run along cells.
const ENOUGH: f32 = 0.5;
/// Cells around a label in which motion may be the label's.
const MARGIN: usize = 2;
/// Less of a label than this is none.
const TRACE: f32 = 0.02;
/// How much of a cell shows a label, from which on all of the cell is made anew.
const SEEN: f32 = 0.1;
/// What a place inside a label is worth less than one at its edge, where both sides show nothing better.
const INNER: f32 = 0.05;
/// What the worst place is worth.
const LEAST: f32 = 1e-3;

/// Cells over a picture, and beyond its edge as far as it is padded.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    pub width: usize,
    pub height: usize,
    /// Width and height of the picture, pixels.
    pub picture: (usize, usize),
}

impl Grid {
    fn len(&self) -> usize {
        self.width * self.height
    }

    /// The cells up to `reach` beside a cell, and the cell.
    fn around(&self, cell: usize, reach: usize) -> impl Iterator<Item = usize> + use<> {
        let (width, x, y) = (self.width, cell % self.width, cell / self.width);
        let near = |at: usize, size: usize| at.saturating_sub(reach)..size.min(at + reach + 1);
        let (rows, columns) = (near(y, self.height), near(x, width));
        rows.flat_map(move |y| columns.clone().map(move |x| y * width + x))
    }

    /// Each cell's largest value up to `reach` cells around.
    fn widened(&self, values: &[f32], reach: usize) -> Vec<f32> {
        let largest = |i| self.around(i, reach).map(|i| values[i]).fold(0.0, f32::max);
        (0..self.len()).map(largest).collect()
    }

    /// Weights that are 1 in all pixels that a coverage tells of, and fade out beside them.
    pub fn wholly(&self, coverage: &[f32]) -> Vec<f32> {
        let touched: Vec<f32> = coverage
            .iter()
            .map(|c| f32::from(u8::from(*c > 0.0)))
            .collect();
        self.widened(&touched, 1)
    }

    /// The bilinear mean of the four cells around the place that `motion` (pixels) leads to from a cell's centre.
    fn sample(&self, values: &[f32], cell: usize, motion: [f32; 2]) -> f32 {
        let at = |i: usize, motion: f32, size: usize| {
            let at = i as f32 + motion / CELL as f32;
            // no number: nothing moves
            let at = if at.is_nan() { i as f32 } else { at };
            at.clamp(0.0, (size - 1) as f32)
        };
        let x = at(cell % self.width, motion[0], self.width);
        let y = at(cell / self.width, motion[1], self.height);
        let (left, above) = (x as usize, y as usize);
        let (right, below) = (
            (left + 1).min(self.width - 1),
            (above + 1).min(self.height - 1),
        );
        let row = |y: usize| {
            let [a, b] = [left, right].map(|x| values[y * self.width + x]);
            a + (x - left as f32) * (b - a)
        };
        let (a, b) = (row(above), row(below));
        a + (y - above as f32) * (b - a)
    }
}

impl Labels<'_> {
    /// How much of each cell, 0 to 1, has a label that is `wanted`; beyond the picture's edges they go on.
    pub fn coverage(&self, grid: &Grid, wanted: impl Fn(u8) -> bool) -> Vec<f32> {
        let wanted: Vec<bool> = (0..=255).map(wanted).collect();
        let place = |at: usize, picture: usize, mask: usize| {
            (2 * at.min(picture - 1) + 1) * mask / (2 * picture)
        };
        let columns = (0..CELL * grid.width).map(|x| place(x, grid.picture.0, self.width));
        let columns: Vec<usize> = columns.collect();
        let mut coverage = vec![0.0; grid.len()];
        for y in 0..CELL * grid.height {
            let row = place(y, grid.picture.1, self.height) * self.width;
            let cells = &mut coverage[y / CELL * grid.width..][..grid.width];
            for (value, columns) in cells.iter_mut().zip(columns.chunks(CELL)) {
                let hits = columns.iter().map(|x| usize::from(self.data[row + x]));
                let hits = hits.filter(|label| wanted[*label]).count();
                *value += hits as f32 / (CELL * CELL) as f32;
            }
        }
        coverage
    }
}

/// Where labels are in the left picture and in the right one.
pub struct Region {
    /// How much of each cell is covered.
    own: [Vec<f32>; 2],
    /// The same, so much wider that all of an edge is inside.
    wide: [Vec<f32>; 2],
}

impl Region {
    pub fn new(grid: &Grid, coverage: [Vec<f32>; 2]) -> Self {
        let wide = coverage.each_ref().map(|own| {
            let full: Vec<f32> = own.iter().map(|c| (c / ENOUGH).min(1.0)).collect();
            grid.widened(&full, 1)
        });
        Self {
            own: coverage,
            wide,
        }
    }

    /// All of several.
    pub fn union<'a>(grid: &Grid, regions: impl Iterator<Item = &'a Self>) -> Self {
        let zeros = || [vec![0.0; grid.len()], vec![0.0; grid.len()]];
        let (mut own, mut wide) = (zeros(), zeros());
        for region in regions {
            for side in 0..2 {
                join(&mut own[side], &region.own[side]);
                join(&mut wide[side], &region.wide[side]);
            }
        }
        Self { own, wide }
    }

    /// How much of each cell of a picture comes from here.
    pub fn shown(&self, grid: &Grid, motion: &Motion) -> Vec<f32> {
        let shown = |cell: usize| {
            let [left, right] = self.met(&self.wide, grid, cell, motion.flow[cell]);
            right + motion.weights[cell] * (left - right)
        };
        (0..grid.len()).map(shown).collect()
    }

    /// Where a picture shows anything of it, and must be made anew: 0 to 1.
    pub fn traces(&self, grid: &Grid, motion: &Motion) -> Vec<f32> {
        let shown = self.shown(grid, motion).into_iter();
        shown.map(|shown| (shown / SEEN).min(1.0)).collect()
    }

    /// What a motion meets in both pictures.
    fn met(&self, sides: &[Vec<f32>; 2], grid: &Grid, cell: usize, flow: [f32; 4]) -> [f32; 2] {
        let [a, b, c, d] = flow;
        let to = [[a, b], [c, d]];
        [0, 1].map(|side| grid.sample(&sides[side], cell, to[side]))
    }

    /// Whether a cell, or what its motion leads to, may be a label's.
    fn touches(&self, grid: &Grid, cell: usize, flow: [f32; 4]) -> bool {
        let flows = [flow, [0.0; 4]];
        let mut met = flows
            .iter()
            .flat_map(|f| self.met(&self.wide, grid, cell, *f));
        met.any(|met| met > TRACE)
    }
}

fn join(to: &mut [f32], what: &[f32]) {
    for (value, other) in to.iter_mut().zip(what) {
        *value = value.max(*other);
    }
}

/// What a picture was made with, cell by cell.
pub struct Motion {
    /// Where a cell lies in the left picture (x, y) and in the right one (x, y), relative to itself, pixels.
    flow: Vec<[f32; 4]>,
    /// Of the left picture.
    weights: Vec<f32>,
}

impl Motion {
    /// From `[h, w, 4]` and `[h, w, 1]`.
    pub fn read(flow: &Tensor, mask: &Tensor) -> Result<Self> {
        let (flow, mask) = (Source::lock(flow), Source::lock(mask));
        let (flow, mask) = (flow.raster()?, mask.raster()?);
        let cells = || (0..flow.height).flat_map(|y| (0..flow.width).map(move |x| (y, x)));
        let cell = |(y, x)| std::array::from_fn(|c| flow.at(y, x)[c]);
        Ok(Self {
            flow: cells().map(cell).collect(),
            weights: cells().map(|(y, x)| mask.at(y, x)[0]).collect(),
        })
    }

    /// The same as tensors.
    pub fn tensors(&self, grid: &Grid) -> Result<(Tensor, Tensor)> {
        let (height, width) = (grid.height, grid.width);
        let flow = self.flow.as_flattened();
        Ok((
            Tensor::from_slice(flow, (height, width, 4), &Device::Cpu)?,
            Tensor::from_slice(&self.weights, (height, width, 1), &Device::Cpu)?,
        ))
    }

    /// Where what covers a picture lies in the other one, if this is the motion of the picture itself, on this side.
    pub fn carry(&self, grid: &Grid, coverage: &[f32], side: usize) -> Vec<f32> {
        let sum = |i: usize| grid.around(i, 1).map(|i| coverage[i]).sum::<f32>();
        let within: Vec<f32> = (0..grid.len()).map(sum).collect();
        let mut arrived = vec![0.0; grid.len()];
        for cell in (0..grid.len()).filter(|i| coverage[*i] > 0.0) {
            // at an edge the motion may be that of what lies beside
            let inner = grid.around(cell, MARGIN).filter(|i| coverage[*i] > 0.0);
            let inner = inner.fold(
                cell,
                |best, i| if within[i] > within[best] { i } else { best },
            );
            let motion = &self.flow[inner][2 * (1 - side)..];
            let at = |i: usize, motion: f32| i as f32 + motion / CELL as f32;
            let (x, y) = (cell % grid.width, cell / grid.width);
            let (x, y) = (at(x, motion[0]), at(y, motion[1]));
            let (fx, fy) = (x - x.floor(), y - y.floor());
            for (x, wx) in [(x.floor(), 1.0 - fx), (x.floor() + 1.0, fx)] {
                for (y, wy) in [(y.floor(), 1.0 - fy), (y.floor() + 1.0, fy)] {
                    let inside = |at: f32, size: usize| at >= 0.0 && at < size as f32;
                    if inside(x, grid.width) && inside(y, grid.height) {
                        arrived[y as usize * grid.width + x as usize] += wx * wy * coverage[cell];
                    }
                }
            }
        }
        arrived.iter_mut().for_each(|a| *a = a.min(1.0));
        arrived
    }
}

/// The motion of what is behind the labels in a picture made at a distance: where one may be, and around it, it moves as its surroundings
/// do, and comes from the side that shows it.
pub fn background(grid: &Grid, region: &Region, motion: &Motion, distance: f32) -> Motion {
    let touched = |i: usize| f32::from(u8::from(region.touches(grid, i, motion.flow[i])));
    let touched: Vec<f32> = (0..grid.len()).map(touched).collect();
    let touched = grid.widened(&touched, MARGIN);
    let mut known: Vec<bool> = touched.iter().map(|t| *t == 0.0).collect();
    let holes: Vec<usize> = (0..grid.len()).filter(|i| !known[*i]).collect();
    let mut behind = Motion {
        flow: motion.flow.clone(),
        weights: motion.weights.clone(),
    };
    fill(grid, &holes, &mut known, &mut behind.flow);
    for hole in holes {
        let flow = behind.flow[hole];
        let own = region.met(&region.own, grid, hole, flow);
        let wide = region.met(&region.wide, grid, hole, flow);
        let time = [1.0 - distance, distance];
        let [left, right] = [0, 1].map(|side| {
            let worth = 1.0 - wide[side] + INNER * (1.0 - own[side]) + LEAST;
            time[side] * worth * worth
        });
        behind.weights[hole] = left / (left + right);
    }
    behind
}

/// Gives holes the motion of what lies around them, from their edges inwards.
fn fill(grid: &Grid, holes: &[usize], known: &mut [bool], flow: &mut [[f32; 4]]) {
    let mut left = holes.to_vec();
    while !left.is_empty() {
        let mean = |hole: usize| {
            let around = grid.around(hole, 1).filter(|i| known[*i]);
            let (sum, count) = around.fold(([0.0f32; 4], 0.0f32), |(sum, count), i| {
                (std::array::from_fn(|c| sum[c] + flow[i][c]), count + 1.0)
            });
            (count > 0.0).then(|| (hole, sum.map(|v| v / count)))
        };
        let filled: Vec<_> = left.iter().filter_map(|hole| mean(*hole)).collect();
        if filled.is_empty() {
            return;
        }
        for &(hole, value) in &filled {
            (flow[hole], known[hole]) = (value, true);
        }
        left.retain(|hole| !known[*hole]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid {
        width: 8,
        height: 4,
        picture: (30, 15),
    };

    fn still(flow: [f32; 4], weight: f32) -> Motion {
        Motion {
            flow: vec![flow; GRID.len()],
            weights: vec![weight; GRID.len()],
        }
    }

    /// Cells of a label, `1` in all of them.
    fn cells(columns: std::ops::Range<usize>) -> Vec<f32> {
        let inside = |i| columns.contains(&(i % GRID.width));
        let value = |i| f32::from(u8::from(inside(i)));
        (0..GRID.len()).map(value).collect()
    }

    #[test]
    fn coverage_counts_pixels() {
        // a label for each 2x3 pixels; the columns 10 to 15 and the rows from 6 on
        let data: Vec<u8> = (0..15 * 5)
            .map(|i| u8::from((5..8).contains(&(i % 15)) && i / 15 >= 2))
            .collect();
        let labels = Labels::new(15, 5, &data).unwrap();
        let coverage = labels.coverage(&GRID, |label| label == 1);
        assert_eq!(coverage[8..16], [0.0, 0.0, 0.25, 0.5, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(coverage[16..24], [0.0, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn a_label_is_shown_where_the_motion_leads_to_it() {
        let region = Region::new(&GRID, [cells(2..3), cells(5..6)]);
        // from a third of the way: 4 pixels to the left one, 8 to the right one
        let shown = region.shown(&GRID, &still([-4.0, 0.0, 8.0, 0.0], 0.5));
        assert_eq!(shown[8..16], [0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn a_mask_is_carried_by_half_cells() {
        let carried = still([0.0, 0.0, 6.0, 0.0], 1.0).carry(&GRID, &cells(2..4), 0);
        assert_eq!(carried[8..16], [0.0, 0.0, 0.0, 0.5, 1.0, 0.5, 0.0, 0.0]);
        let carried = still([-8.0, 4.0, 0.0, 0.0], 0.0).carry(&GRID, &cells(2..4), 1);
        assert_eq!(carried[..8], [0.0; 8]);
        assert_eq!(carried[8..16], [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn what_is_behind_comes_from_the_side_that_shows_it() {
        let region = Region::new(&GRID, [cells(0..1), cells(0..0)]);
        let behind = background(&GRID, &region, &still([0.0; 4], 0.5), 0.25);
        assert!(behind.weights[8] < 0.01, "{:?}", behind.weights);
        // far away all is as it was
        assert_eq!(behind.weights[15], 0.5);
    }

    #[test]
    fn holes_have_the_motion_around_them_and_none_stays_if_all_is_one() {
        let mut flow = vec![[1.0; 4]; GRID.len()];
        let holes = vec![8, 9, 10, 16, 17];
        let mut known: Vec<bool> = (0..GRID.len()).map(|i| !holes.contains(&i)).collect();
        holes.iter().for_each(|h| flow[*h] = [f32::NAN; 4]);
        fill(&GRID, &holes, &mut known, &mut flow);
        assert!(flow.iter().all(|f| *f == [1.0; 4]));
        let all: Vec<usize> = (0..GRID.len()).collect();
        fill(&GRID, &all, &mut vec![false; GRID.len()], &mut flow);
        assert!(flow.iter().all(|f| *f == [1.0; 4]));
    }
}
