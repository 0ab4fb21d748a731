//! Known filters: what a keyframe is made with, and what is true for all other frames.

use crate::common::font;
use crate::common::frame::Frame;
use crate::surface::Surface;

/// Samples to each side, and codes, that the smoothing looks at.
const RADIUS: isize = 3;
const RANGE: f32 = 14.0;
/// Y, U, V of the painted mark, and its weight.
const PAINT: [f32; 3] = [205.0, 90.0, 190.0];
const OPACITY: f32 = 0.8;
const MARK: &str = "VI";

/// A tone curve with more contrast, and less and warmer colour.
pub fn tone(frame: &Frame) -> Frame {
    let mut out = frame.clone();
    let [y, u, v] = out.planes_mut();
    let curve = |code: u8| {
        let t = (f32::from(code) - 16.0) / 219.0;
        let bent = t + 0.12 * (std::f32::consts::TAU * (t - 0.5)).sin() + 0.03;
        byte(16.0 + 219.0 * bent)
    };
    y.iter_mut().for_each(|code| *code = curve(*code));
    for (plane, warm) in [(u, -9.0), (v, 7.0)] {
        for code in plane {
            *code = byte(128.0 + 0.6 * (f32::from(*code) - 128.0) + warm);
        }
    }
    out
}

/// A bilateral filter on every plane: edges stay, what is finer than they goes.
pub fn smooth(frame: &Frame) -> Frame {
    let mut out = frame.clone();
    let sizes = [0, 1, 2].map(|plane| frame.plane_size(plane));
    let sources = frame.planes();
    for ((target, source), (width, height)) in out.planes_mut().into_iter().zip(sources).zip(sizes)
    {
        let weights: Vec<f32> = (0..256)
            .map(|d| (-0.5 * (d as f32 / RANGE).powi(2)).exp())
            .collect();
        for (i, value) in target.iter_mut().enumerate() {
            let (x, y) = ((i % width) as isize, (i / width) as isize);
            let (mut sum, mut total) = (0.0, 0.0);
            for dy in -RADIUS..=RADIUS {
                let row = (y + dy).clamp(0, height as isize - 1) as usize * width;
                for dx in -RADIUS..=RADIUS {
                    let code = source[row + (x + dx).clamp(0, width as isize - 1) as usize];
                    let weight = weights[usize::from(code.abs_diff(source[i]))];
                    sum += weight * f32::from(code);
                    total += weight;
                }
            }
            *value = byte(sum / total);
        }
    }
    out
}

/// A mark painted on a surface, as it lies in frame `n`.
pub fn mark(frame: &Frame, surface: &Surface, n: usize) -> Frame {
    const TAPS: [f32; 3] = [-1.0 / 3.0, 0.0, 1.0 / 3.0];
    let mut out = frame.clone();
    let sizes = [0, 1, 2].map(|plane| frame.plane_size(plane));
    for (plane, target) in out.planes_mut().into_iter().enumerate() {
        let (width, _) = sizes[plane];
        let scale = if plane == 0 { 1.0 } else { 2.0 };
        for (i, value) in target.iter_mut().enumerate() {
            let at = [(i % width) as f32 + 0.5, (i / width) as f32 + 0.5].map(|v| v * scale);
            let mut hits = 0;
            for (dx, dy) in TAPS.iter().flat_map(|dy| TAPS.map(|dx| (dx, *dy))) {
                let [x, y] = surface.local(n, [at[0] + dx * scale, at[1] + dy * scale]);
                // the mark is 12 points wide and 7 high, with one around it
                let (column, row) = ((13.0 * x).floor() - 1.0, (9.0 * y).floor() - 1.0);
                hits += i32::from(font::point(MARK, column as i32, row as i32));
            }
            let share = OPACITY * hits as f32 / (TAPS.len() * TAPS.len()) as f32;
            *value = byte(f32::from(*value) + share * (PAINT[plane] - f32::from(*value)));
        }
    }
    out
}

fn byte(value: f32) -> u8 {
    (value + 0.5).clamp(0.0, 255.0) as u8
}
