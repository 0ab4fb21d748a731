//! Whether a picture only repeats the one before it.
//!
//! Real motion may be one small thing in a picture that stands still. So pictures are cut into
//! cells of 8x8 samples, and the cell whose mean changes most decides: noise hardly has a mean, and
//! a thing that moves does.
//!
//! A codec goes on refining a held picture, and the more so the more has changed before it. In four
//! real clips on twos, coded by x264, the worst cell of a repeat changed by at most 7 of 255 at CRF
//! 23 and by 16 at CRF 30, that of a new picture by 18 to 212. Therefore what counts as a repeat
//! depends on the changes lately, within bounds. Of 2,735 pictures of 50 moving clips 18 counted as
//! repeats.

use std::collections::VecDeque;
use std::ops::Range;

use crate::picture::{Component, Picture};

/// Side of a cell, in samples of a component.
const CELL: usize = 8;
/// One row of so many is read.
const ROW_STEP: usize = 2;

/// A change up to this always counts as noise, of the range of codes 0 to 1: what a good encoder
/// leaves, or grain. Two pixels of strong contrast, or an edge that moves by a quarter of a pixel,
/// are more.
const ALWAYS_NOISE: f32 = 3.0 / 255.0;
/// A change above this never does.
const NEVER_NOISE: f32 = 16.0 / 255.0;
/// In between it does if it is at most this share of the largest change lately.
const SHARE: f32 = 0.25;
/// Changes that are remembered; the cadences that are looked for have a new picture among as many.
const LATELY: usize = 6;

/// Tells repeats in a run of frames.
#[derive(Debug, Default)]
pub struct Repeats {
    lately: VecDeque<f32>,
}

impl Repeats {
    /// Whether a picture repeats the one before it but for noise, by its [`change`]. Call it for
    /// every picture, in order.
    pub fn is_repeat(&mut self, change: f32) -> bool {
        let largest = self.lately.iter().copied().fold(0.0, f32::max);
        let noise = (largest * SHARE).clamp(ALWAYS_NOISE, NEVER_NOISE);
        if self.lately.len() == LATELY {
            self.lately.pop_front();
        }
        self.lately.push_back(change);
        change <= noise
    }
}

/// The largest change of a cell's mean over all components, of the range of codes 0 to 1; infinite
/// for pictures of different formats or sizes. It may be larger than what it answers where that
/// makes no difference to [`Repeats`].
pub fn change(before: &Picture, picture: &Picture) -> f32 {
    let shape = |p: &Picture| (p.format(), p.width(), p.height());
    if shape(before) != shape(picture) {
        return f32::INFINITY;
    }
    let mut worst = 0.0f32;
    for component in picture.format().components() {
        let mut sums = vec![0; (component.width(picture.width()) / CELL).max(1)];
        let rows = component.height(picture.height());
        for top in (0..rows).step_by(CELL) {
            let band = top..rows.min(top + CELL);
            worst = worst.max(band_change(component, before, picture, band, &mut sums));
            if worst * SHARE > NEVER_NOISE {
                return worst;
            }
        }
    }
    worst
}

/// The largest change of a mean in one row of cells, which are these rows of a component. `sums`
/// has a place for each cell; the last cell takes what is left of the width.
fn band_change(
    component: &Component,
    before: &Picture,
    picture: &Picture,
    rows: Range<usize>,
    sums: &mut [i32],
) -> f32 {
    let width = component.width(picture.width());
    let plane = component.plane;
    sums.fill(0);
    let mut read = 0;
    for y in rows.step_by(ROW_STEP) {
        let (old, new) = (before.row(plane, y), picture.row(plane, y));
        // most rows of a repeat are the same to the bit
        if old != new {
            add_differences(component, old, new, width, sums);
        }
        read += 1;
    }
    let columns = |cell: usize| cell_range(cell, sums.len(), width).len();
    let means = sums
        .iter()
        .enumerate()
        .map(|(cell, sum)| sum.unsigned_abs() as f32 / (columns(cell) * read) as f32);
    means.fold(0.0, f32::max) / component.max() as f32
}

/// The samples of a row that belong to a cell.
fn cell_range(cell: usize, cells: usize, width: usize) -> Range<usize> {
    let end = if cell + 1 == cells {
        width
    } else {
        (cell + 1) * CELL
    };
    cell * CELL..end
}

/// Adds to each cell the differences of its samples in one row.
fn add_differences(component: &Component, old: &[u8], new: &[u8], width: usize, sums: &mut [i32]) {
    let (from_old, from_new) = (&old[component.offset..], &new[component.offset..]);
    let shift = component.shift;
    let done = match (component.size(), component.step) {
        (1, 1) => add_cells::<1, 1>(shift, from_old, from_new, sums),
        (1, 2) => add_cells::<1, 2>(shift, from_old, from_new, sums),
        (1, 3) => add_cells::<1, 3>(shift, from_old, from_new, sums),
        (1, 4) => add_cells::<1, 4>(shift, from_old, from_new, sums),
        (2, 2) => add_cells::<2, 2>(shift, from_old, from_new, sums),
        (2, 4) => add_cells::<2, 4>(shift, from_old, from_new, sums),
        _ => 0,
    };
    let last = sums.len() - 1;
    for x in done * CELL..width {
        let difference = component.load(new, x) as i32 - component.load(old, x) as i32;
        sums[(x / CELL).min(last)] += difference;
    }
}

/// Adds the differences of whole cells from the start of a row, whose first samples begin the
/// slices, and says of how many. Sizes that are known at compile time make it several times as fast.
fn add_cells<const SIZE: usize, const STEP: usize>(
    shift: u32,
    old: &[u8],
    new: &[u8],
    sums: &mut [i32],
) -> usize {
    let code = |row: &[u8], at: usize| match SIZE {
        1 => i32::from(row[at]),
        _ => i32::from(u16::from_le_bytes([row[at], row[at + 1]]) >> shift),
    };
    let cells = old
        .chunks_exact(CELL * STEP)
        .zip(new.chunks_exact(CELL * STEP));
    let mut done = 0;
    for (sum, (old, new)) in sums.iter_mut().zip(cells) {
        let differences = (0..CELL).map(|x| code(new, x * STEP) - code(old, x * STEP));
        *sum += differences.sum::<i32>();
        done += 1;
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::owned::{Noise, Owned};
    use crate::picture::{Color, Format};

    const SIZE: (u32, u32) = (160, 96);

    /// A grey picture, each value of it made by `at`.
    struct Gray(Vec<u8>);

    impl Gray {
        fn new(at: impl Fn(usize, usize) -> f32) -> Self {
            let (w, h) = (SIZE.0 as usize, SIZE.1 as usize);
            let values = (0..w * h).map(|i| at(i % w, i / w).round().clamp(0.0, 255.0) as u8);
            Gray(values.collect())
        }

        /// Noise of a standard deviation on every value.
        fn noisy(&self, deviation: f32, noise: &mut Noise) -> Self {
            // the sum of three has a third of a variance of 1 each, that is 1
            let normal = |noise: &mut Noise| noise.unit() + noise.unit() + noise.unit();
            let values = self
                .0
                .iter()
                .map(|v| f32::from(*v) + deviation * normal(noise));
            Gray(values.map(|v| v.round().clamp(0.0, 255.0) as u8).collect())
        }

        fn with_block(&self, at: (usize, usize), side: usize, more: u8) -> Self {
            let mut values = self.0.clone();
            for y in at.1..at.1 + side {
                for value in &mut values[y * SIZE.0 as usize + at.0..][..side] {
                    *value = value.saturating_add(more);
                }
            }
            Gray(values)
        }

        fn picture(&self) -> Picture<'_> {
            let planes = [(&self.0[..], SIZE.0 as isize)];
            Picture::new(Format::Gray8, SIZE.0, SIZE.1, Color::BT709, &planes).expect("a picture")
        }
    }

    /// Smooth structure of moderate contrast, moved to the left.
    fn scene(moved: f32) -> Gray {
        Gray::new(|x, y| {
            let (x, y) = (x as f32 + moved, y as f32);
            110.0 + 45.0 * (x * 0.35).sin() + 40.0 * (x * 0.13 + y * 0.21).cos()
        })
    }

    fn look(detector: &mut Repeats, before: &Gray, now: &Gray) -> bool {
        detector.is_repeat(change(&before.picture(), &now.picture()))
    }

    fn repeats(before: &Gray, now: &Gray) -> bool {
        look(&mut Repeats::default(), before, now)
    }

    #[test]
    fn a_picture_repeats_itself() {
        assert!(repeats(&scene(0.0), &scene(0.0)));
    }

    #[test]
    fn noise_is_no_change() {
        let mut noise = Noise::new(1);
        for deviation in [1.0, 2.0, 3.0] {
            let still = scene(0.0);
            let (a, b) = (
                still.noisy(deviation, &mut noise),
                still.noisy(deviation, &mut noise),
            );
            assert!(repeats(&a, &b), "noise of {deviation}");
        }
    }

    #[test]
    fn a_slow_pan_is_no_repeat_with_or_without_noise() {
        let mut noise = Noise::new(2);
        for step in [0.5, 1.0, 4.0] {
            let (a, b) = (scene(0.0), scene(step));
            assert!(!repeats(&a, &b), "{step} pixels");
            let (a, b) = (a.noisy(2.0, &mut noise), b.noisy(2.0, &mut noise));
            assert!(!repeats(&a, &b), "{step} pixels in noise");
        }
    }

    #[test]
    fn one_small_light_is_no_repeat_wherever_it_is() {
        let still = scene(0.0);
        for x in (0..SIZE.0 as usize - 4).step_by(5) {
            for y in (0..SIZE.1 as usize - 4).step_by(3) {
                assert!(
                    !repeats(&still, &still.with_block((x, y), 4, 60)),
                    "at {x},{y}"
                );
            }
        }
    }

    #[test]
    fn a_mouth_that_moves_is_no_repeat_after_large_motion() {
        let mut detector = Repeats::default();
        let moving: Vec<Gray> = (0..8).map(|n| scene(20.0 * n as f32)).collect();
        for pair in moving.windows(2) {
            assert!(!look(&mut detector, &pair[0], &pair[1]));
        }
        let still = &moving[7];
        let mouth = still.with_block((70, 50), 12, 40);
        assert!(!look(&mut detector, still, &mouth));
    }

    #[test]
    fn what_a_codec_leaves_is_a_repeat_beside_motion_but_not_in_stillness() {
        let (one, other) = (scene(0.0), scene(12.0));
        let refined = other.with_block((64, 40), 8, 7);
        assert!(!repeats(&other, &refined));
        let mut detector = Repeats::default();
        assert!(!look(&mut detector, &one, &other));
        assert!(look(&mut detector, &other, &refined));
        // Long after the motion it is a change again.
        for _ in 0..LATELY {
            look(&mut detector, &other, &other);
        }
        assert!(!look(&mut detector, &other, &refined));
    }

    /// A quarter of the range everywhere, but half of it in one component.
    fn flat(format: Format, size: (u32, u32), half: Option<usize>) -> Owned {
        let mut owned = Owned::new(format, size, 3);
        for (n, c) in format.components().iter().enumerate() {
            let code = c.max() / if half == Some(n) { 2 } else { 4 };
            for y in 0..c.height(size.1 as usize) {
                let row = owned.row(c.plane, y);
                (0..c.width(size.0 as usize)).for_each(|x| c.store(row, x, code));
            }
        }
        owned
    }

    #[test]
    fn every_component_of_every_format_counts() {
        for format in Format::ALL {
            for size in [(1, 1), (7, 5), (38, 21)] {
                let change_to = |half| {
                    let (a, b) = (flat(format, size, None), flat(format, size, half));
                    change(&a.picture(), &b.picture())
                };
                assert_eq!(change_to(None), 0.0, "{format:?} {size:?}");
                for n in 0..format.components().len() {
                    let change = change_to(Some(n));
                    assert!(
                        (change - 0.25).abs() < 0.01,
                        "{format:?} {size:?} {n}: {change}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_largest_change_may_be_anywhere() {
        let (w, h) = (37usize, 21usize);
        let change_to = |data: &[u8]| {
            let black = vec![0; w * h];
            let picture = |data| {
                let planes = [(data, w as isize)];
                Picture::new(Format::Gray8, w as u32, h as u32, Color::BT709, &planes).expect("one")
            };
            change(&picture(&black), &picture(data))
        };
        for (x, y) in [(0, 0), (36, 0), (0, 20), (36, 20), (16, 8)] {
            let mut data = vec![0; w * h];
            data[y * w + x] = 255;
            let change = change_to(&data);
            assert!(change >= 1.0 / 60.0, "{x} {y}: {change}");
        }
    }

    #[test]
    fn pictures_of_different_sizes_do_not_repeat_each_other() {
        let (a, b) = (
            Owned::new(Format::I420, (16, 16), 0),
            Owned::new(Format::I420, (16, 18), 0),
        );
        assert!(!Repeats::default().is_repeat(change(&a.picture(), &b.picture())));
    }

    /// Run with `--ignored --nocapture` on a quiet machine.
    #[test]
    #[ignore = "a measurement"]
    fn time_of_a_1080p_change() {
        let size = (1920, 1080);
        for format in [Format::I420, Format::Nv12, Format::P010, Format::Bgra] {
            let before = flat(format, size, None);
            let mut noisy = flat(format, size, None);
            for plane in 0..format.planes() {
                for y in 0..format.rows(plane, size.1) {
                    noisy.row(plane, y)[0] ^= 1;
                }
            }
            let pairs = [("the same", &before), ("every row changed", &noisy)];
            for (name, now) in pairs {
                let mut best = f64::MAX;
                for _ in 0..8 {
                    let start = std::time::Instant::now();
                    std::hint::black_box(change(&before.picture(), &now.picture()));
                    best = best.min(start.elapsed().as_secs_f64());
                }
                println!("{format:?}, {name}: {:.2} ms", best * 1e3);
            }
        }
    }
}
