//! Scene cuts and repeated pictures.
//!
//! A cut is told from a thumbnail of luma whose mean and contrast have been taken out, so that
//! fades and flashes do not count, and whose blocks may move, so that motion does not count.

use crate::picture::Picture;

/// Cells of a thumbnail's longer side, at most.
const LONGER_SIDE: usize = 64;
/// Side of the blocks that move, in 64ths of the longer side.
const BLOCK: usize = 6;
/// How far a block may move to each side, in 64ths of the longer side: a twentieth of the picture.
const SEARCH: usize = 3;
/// Contrast (standard deviation, of luma 0 to 1) below which there is more noise than picture.
const NOISE: f32 = 0.03;

/// A small picture of luma.
#[derive(Debug, Clone)]
pub struct Thumbnail {
    width: usize,
    height: usize,
    /// Side of a cell in values of the luma it is made from.
    side: usize,
    mean: f32,
    /// Mean 0 and deviation 1, or less where there is little contrast.
    cells: Vec<f32>,
}

impl Thumbnail {
    /// Room for the thumbnail of luma of this size, at least 1x1.
    pub fn new(width: usize, height: usize) -> Self {
        let side = width.max(height).div_ceil(LONGER_SIDE).max(1);
        let (width, height) = (width.div_ceil(side), height.div_ceil(side));
        Thumbnail {
            width,
            height,
            side,
            mean: 0.0,
            cells: vec![0.0; width * height],
        }
    }

    /// Makes it from rows of luma, as many and as long as it was made for, of range 1.
    pub fn fill<'a>(&mut self, rows: impl Iterator<Item = &'a [f32]>) {
        self.cells.fill(0.0);
        let mut counts = [0.0f32; LONGER_SIDE];
        for (y, row) in rows.enumerate() {
            let cells = &mut self.cells[y / self.side * self.width..][..self.width];
            for (cell, values) in cells.iter_mut().zip(row.chunks(self.side)) {
                *cell += values.iter().sum::<f32>() / values.len() as f32;
            }
            counts[y / self.side] += 1.0;
        }
        for (cells, count) in self.cells.chunks_mut(self.width).zip(counts) {
            cells.iter_mut().for_each(|c| *c /= count.max(1.0));
        }
        self.normalise();
    }

    fn normalise(&mut self) {
        let count = self.cells.len() as f32;
        self.mean = self.cells.iter().sum::<f32>() / count;
        let variance = self
            .cells
            .iter()
            .map(|c| (c - self.mean).powi(2))
            .sum::<f32>()
            / count;
        let scale = 1.0 / (variance.sqrt() + NOISE);
        self.cells
            .iter_mut()
            .for_each(|c| *c = (*c - self.mean) * scale);
    }

    /// Mean of the luma it was made from.
    pub fn mean(&self) -> f32 {
        self.mean
    }

    fn at(&self, x: isize, y: isize) -> f32 {
        let x = x.clamp(0, self.width as isize - 1) as usize;
        let y = y.clamp(0, self.height as isize - 1) as usize;
        self.cells[y * self.width + x]
    }

    /// `sixty_fourths` of the longer side in cells, rounded.
    fn cells_of(&self, sixty_fourths: usize) -> usize {
        (self.width.max(self.height) * sixty_fourths + LONGER_SIDE / 2) / LONGER_SIDE
    }
}

/// How little two pictures have to do with each other: 0 for the same one, mostly under 0.3 for
/// neighbours in a scene, about 0.7 for strangers; above 1 is possible.
///
/// Both thumbnails are of pictures of the same size.
pub fn score(left: &Thumbnail, right: &Thumbnail) -> f64 {
    f64::from(0.5 * (strangeness(left, right) + strangeness(right, left)))
}

/// Mean over the blocks of `of` of the difference to the best place in `other`.
fn strangeness(of: &Thumbnail, other: &Thumbnail) -> f32 {
    let block = of.cells_of(BLOCK).max(1);
    let mut sum = 0.0;
    for y in (0..of.height).step_by(block) {
        for x in (0..of.width).step_by(block) {
            let (w, h) = (block.min(of.width - x), block.min(of.height - y));
            sum += best_difference(of, other, (x, y), (w, h));
        }
    }
    sum / of.cells.len() as f32
}

/// Smallest sum of differences of a block over the places that it may have moved to.
fn best_difference(
    of: &Thumbnail,
    other: &Thumbnail,
    (left, top): (usize, usize),
    (width, height): (usize, usize),
) -> f32 {
    let reach = of.cells_of(SEARCH) as isize;
    let mut best = f32::INFINITY;
    for dy in -reach..=reach {
        for dx in -reach..=reach {
            let mut sum = 0.0;
            for y in top..top + height {
                for x in left..left + width {
                    let moved = other.at(x as isize + dx, y as isize + dy);
                    sum += (of.cells[y * of.width + x] - moved).abs();
                }
            }
            best = best.min(sum);
        }
    }
    best
}

/// Whether the second picture only repeats the first, bit for bit; [`crate::repeats`] sees through
/// noise.
pub fn repeated(left: &Picture, right: &Picture) -> bool {
    left.same_samples(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (usize, usize) = (200, 112);

    /// Luma of -0.5 to 0.5 as smooth noise, different for each `seed`.
    fn scene(seed: u32, at: impl Fn(f32, f32) -> (f32, f32, f32)) -> Thumbnail {
        let wave = |x: f32, y: f32| {
            (0..6).fold(0.0, |sum, i| {
                let k = (seed * 7 + i * 3) as f32;
                let (a, b) = ((k * 1.7).sin() * 0.12, (k * 2.3).cos() * 0.12);
                sum + (a * x + b * y + k).sin()
            }) / 12.0
        };
        let values: Vec<f32> = (0..SIZE.0 * SIZE.1)
            .map(|i| {
                let (x, y, gain) = at((i % SIZE.0) as f32, (i / SIZE.0) as f32);
                (wave(x, y) * gain).clamp(-0.5, 0.5)
            })
            .collect();
        let mut thumbnail = Thumbnail::new(SIZE.0, SIZE.1);
        thumbnail.fill(values.chunks(SIZE.0));
        thumbnail
    }

    fn still(seed: u32) -> Thumbnail {
        scene(seed, |x, y| (x, y, 1.0))
    }

    #[test]
    fn a_picture_is_no_stranger_to_itself() {
        assert_eq!(score(&still(1), &still(1)), 0.0);
    }

    #[test]
    fn strangers_are_a_cut() {
        for (a, b) in [(1, 2), (3, 4), (5, 9), (8, 6)] {
            let score = score(&still(a), &still(b));
            assert!(score > 0.45, "{a} and {b}: {score}");
        }
    }

    #[test]
    fn motion_is_no_cut() {
        // A pan by a twenty-fifth of the width and a zoom by a tenth.
        let pan = scene(1, |x, y| (x + 8.0, y - 3.0, 1.0));
        let zoom = scene(1, |x, y| (x * 1.1 - 10.0, y * 1.1 - 6.0, 1.0));
        for (name, moved) in [("pan", pan), ("zoom", zoom)] {
            let score = score(&still(1), &moved);
            assert!(score < 0.25, "{name}: {score}");
        }
    }

    #[test]
    fn a_fade_is_no_cut() {
        let score = score(&still(1), &scene(1, |x, y| (x, y, 0.5)));
        assert!(score < 0.25, "{score}");
    }

    #[test]
    fn noise_without_contrast_is_no_cut() {
        let dark = |seed| scene(seed, |x, y| (x, y, 0.02));
        let score = score(&dark(1), &dark(2));
        assert!(score < 0.25, "{score}");
    }

    #[test]
    fn a_thumbnail_of_one_value_is_never_a_cut() {
        let mut black = Thumbnail::new(1, 1);
        black.fill([[-0.5].as_slice()].into_iter());
        let mut white = Thumbnail::new(1, 1);
        white.fill([[0.5].as_slice()].into_iter());
        assert_eq!(score(&black, &white), 0.0);
        assert_eq!(white.mean(), 0.5);
    }

    #[test]
    fn a_thumbnail_is_small_whatever_the_shape() {
        for (w, h) in [(1, 2048), (2048, 1), (2048, 1080), (65, 64), (3, 5)] {
            let t = Thumbnail::new(w, h);
            assert!(t.width <= LONGER_SIDE && t.height <= LONGER_SIDE, "{w}x{h}");
        }
    }
}
