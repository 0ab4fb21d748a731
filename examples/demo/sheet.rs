//! The picture beside the film: one moving detail repeated, blended, interpolated, true.

use std::path::Path;

use gstvideointerpolate::interpolator::Outcome;

use crate::common::clip::Clip;
use crate::common::decode;
use crate::common::frame::{BT709, Frame};
use crate::common::middle::Middle;
use crate::common::sheet::{LINE, Sheet};
use crate::render::RATE;

/// Frames of a film that are looked at in search of motion.
const SEARCHED: usize = 240;
/// Wanted width of one detail in the picture, pixels.
const PANEL: usize = 320;
const GAP: usize = 8;
const HEADING: usize = 24;
/// Size of the cells in which motion is measured, pixels.
const CELL: usize = 8;

/// Frame of the drawn clip after which the detail is taken.
const SHOWN: u32 = 24;

/// From the drawn clip, whose truth between two frames is known.
pub fn from_clip((width, height): (usize, usize), path: &Path) -> Result<(), String> {
    let clip = Clip::new(width, height);
    let at = |frame: f32| clip.at(frame / RATE as f32);
    let (left, right) = (at(SHOWN as f32), at(SHOWN as f32 + 1.0));
    let truth = at(SHOWN as f32 + 0.5);
    let (made, _) = middle(&left)?
        .make(&left, &right)
        .map_err(|error| error.to_string())?;
    draw(path, &left, &right, made, Some(truth), BT709)
}

/// From a film: the liveliest pair of neighbours that is not a cut.
pub fn from_file(input: &Path, path: &Path) -> Result<(), String> {
    let mut previous: Option<Frame> = None;
    let mut pairs: Vec<(u64, Frame, Frame)> = Vec::new();
    let mut matrix = BT709;
    let mut count = 0;
    decode::for_each(input, |frame, description| {
        matrix = description.matrix;
        if let Some(previous) = previous.take()
            && (previous.width, previous.height) == (frame.width, frame.height)
        {
            let score = cells(&previous, &frame).iter().sum();
            pairs.push((score, previous, frame.clone()));
            pairs.sort_by_key(|(score, ..)| std::cmp::Reverse(*score));
            pairs.truncate(3);
        }
        previous = Some(frame);
        count += 1;
        count < SEARCHED
    })?;
    for (_, left, right) in pairs {
        let (made, outcome) = middle(&left)?
            .make(&left, &right)
            .map_err(|error| error.to_string())?;
        if outcome == Outcome::Interpolated {
            return draw(path, &left, &right, made, None, matrix);
        }
    }
    println!("{}: not written, no motion was found", path.display());
    Ok(())
}

fn middle(frame: &Frame) -> Result<Middle, String> {
    Middle::built_in((frame.width, frame.height)).map_err(|error| error.to_string())
}

fn draw(
    path: &Path,
    left: &Frame,
    right: &Frame,
    made: Frame,
    truth: Option<Frame>,
    matrix: (f32, f32),
) -> Result<(), String> {
    let mut panels = vec![
        ("REPEATED", left.clone()),
        ("BLENDED", left.blend(right)),
        ("INTERPOLATED", made),
    ];
    panels.extend(truth.map(|truth| ("TRUE", truth)));

    let window = Window::liveliest(left, right);
    let scale = (PANEL / window.width).max(1);
    let (panel_width, panel_height) = (window.width * scale, window.height * scale);
    let mut sheet = Sheet::new(
        panels.len() * (panel_width + GAP) + GAP,
        panel_height + HEADING + GAP,
    );
    for (index, (name, frame)) in panels.iter().enumerate() {
        let corner = GAP + index * (panel_width + GAP);
        sheet.write(name, corner, (HEADING - LINE) / 2);
        for y in 0..panel_height {
            for x in 0..panel_width {
                let (fx, fy) = (window.x + x / scale, window.y + y / scale);
                sheet.put(corner + x, HEADING + y, frame.rgb(fx, fy, matrix));
            }
        }
    }
    sheet.save(path)?;
    println!("{}: one moving detail in each way", path.display());
    Ok(())
}

/// Absolute luma differences, summed over cells, row after row.
fn cells(a: &Frame, b: &Frame) -> Vec<u64> {
    let columns = a.width.div_ceil(CELL);
    let mut sums = vec![0; columns * a.height.div_ceil(CELL)];
    for y in 0..a.height {
        for x in 0..a.width {
            let at = y * a.width + x;
            sums[y / CELL * columns + x / CELL] += u64::from(a.data[at].abs_diff(b.data[at]));
        }
    }
    sums
}

/// A detail of a picture, in pixels.
struct Window {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

impl Window {
    /// A quarter of the picture's width and height where most changes.
    fn liveliest(a: &Frame, b: &Frame) -> Self {
        let sums = cells(a, b);
        let (columns, rows) = (a.width.div_ceil(CELL), a.height.div_ceil(CELL));
        let (wide, high) = ((columns / 4).max(1), (rows * 2 / 5).max(1));
        let mut best = (0, 0, 0);
        for row in 0..=rows - high {
            for column in 0..=columns - wide {
                let sum: u64 = (row..row + high)
                    .flat_map(|r| &sums[r * columns + column..r * columns + column + wide])
                    .sum();
                if sum > best.0 {
                    best = (sum, column, row);
                }
            }
        }
        let (x, y) = (best.1 * CELL, best.2 * CELL);
        Self {
            x,
            y,
            width: (wide * CELL).min(a.width - x),
            height: (high * CELL).min(a.height - y),
        }
    }
}
