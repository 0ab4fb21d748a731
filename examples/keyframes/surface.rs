//! A part of the picture that moves as a plane would, found without the search that is measured: an affine map from the first frame to
//! each other one, by Gauss-Newton steps on the samples of one block.

use crate::common::frame::Frame;

/// Blocks that are tried along each axis, and the share of a side that one has.
const TRIED: usize = 5;
const SHARE: f32 = 0.22;
/// Least correlation of the block with every frame.
const ALIKE: f64 = 0.9;
const STEPS: usize = 25;
/// Places of a block along each axis that are compared.
const RASTER: usize = 24;
/// Least variance of them: a block without a texture is not followed.
const LEAST_SPREAD: f64 = 9.0;

/// x' = p0 + p1 x + p2 y, y' = p3 + p4 x + p5 y, from the middle of the block.
pub type Affine = [f64; 6];

pub struct Surface {
    middle: [f64; 2],
    half: [f64; 2],
    maps: Vec<Affine>,
}

impl Surface {
    /// The block that is most alike in all frames; `None` where none moves as a plane.
    pub fn find(frames: &[Frame]) -> Option<Self> {
        let (width, height) = (frames[0].width as f64, frames[0].height as f64);
        let half = [width, height].map(|side| 0.5 * side * f64::from(SHARE));
        let levels: Vec<Vec<Level>> = frames.iter().map(levels).collect();
        let mut best: Option<(f64, Self)> = None;
        for i in 0..TRIED * TRIED {
            let at = [i % TRIED, i / TRIED].map(|i| (i as f64 + 1.0) / (TRIED as f64 + 1.0));
            let middle = [at[0] * width, at[1] * height];
            let Some((alike, maps)) = follow(&levels, middle, half) else {
                continue;
            };
            if alike > best.as_ref().map_or(ALIKE, |(alike, _)| *alike) {
                best = Some((alike, Self { middle, half, maps }));
            }
        }
        best.map(|(_, surface)| surface)
    }

    /// A block whose `middle` and half sides are known, in pixels of the first frame, and its maps to all frames.
    pub fn known(middle: [f64; 2], half: [f64; 2], maps: Vec<Affine>) -> Self {
        Self { middle, half, maps }
    }

    /// Where a place of frame `n` lies in the block, which is 0 to 1 along both axes.
    pub fn local(&self, n: usize, at: [f32; 2]) -> [f32; 2] {
        let [a, b, c, d, e, f] = self.maps[n];
        let (x, y) = (
            f64::from(at[0]) - self.middle[0] - a,
            f64::from(at[1]) - self.middle[1] - d,
        );
        let scale = 1.0 / (b * f - c * e);
        let own = [(f * x - c * y) * scale, (b * y - e * x) * scale];
        [0, 1].map(|i| (0.5 + 0.5 * own[i] / self.half[i]) as f32)
    }
}

struct Level {
    width: usize,
    height: usize,
    data: Vec<f32>,
}

impl Level {
    fn at(&self, x: f64, y: f64) -> f64 {
        let x = x.clamp(0.0, self.width as f64 - 1.001);
        let y = y.clamp(0.0, self.height as f64 - 1.001);
        let (x0, y0) = (x as usize, y as usize);
        let (fx, fy) = (x - x0 as f64, y - y0 as f64);
        let value = |dx: usize, dy: usize| f64::from(self.data[(y0 + dy) * self.width + x0 + dx]);
        let upper = value(0, 0) + fx * (value(1, 0) - value(0, 0));
        let lower = value(0, 1) + fx * (value(1, 1) - value(0, 1));
        upper + fy * (lower - upper)
    }
}

/// Luma at the picture's size, a half, a quarter, an eighth.
fn levels(frame: &Frame) -> Vec<Level> {
    let luma = frame.planes()[0].iter().map(|code| f32::from(*code));
    let mut levels = vec![Level {
        width: frame.width,
        height: frame.height,
        data: luma.collect(),
    }];
    for _ in 0..3 {
        let finer = &levels[levels.len() - 1];
        let (width, height) = (finer.width / 2, finer.height / 2);
        let mean = |i: usize| {
            let at = 2 * (i / width) * finer.width + 2 * (i % width);
            let (a, b) = (
                &finer.data[at..at + 2],
                &finer.data[at + finer.width..][..2],
            );
            0.25 * (a[0] + a[1] + b[0] + b[1])
        };
        let data = (0..width * height).map(mean).collect();
        levels.push(Level {
            width,
            height,
            data,
        });
    }
    levels
}

/// The least correlation over the frames, and their maps.
fn follow(frames: &[Vec<Level>], middle: [f64; 2], half: [f64; 2]) -> Option<(f64, Vec<Affine>)> {
    let mut map: Affine = [0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    let (mut least, mut maps) = (1.0f64, vec![map]);
    for frame in &frames[1..] {
        let mut alike = 0.0;
        for level in (0..frame.len()).rev() {
            for _ in 0..STEPS {
                let scale = 0.5f64.powi(level as i32);
                let levels = [&frames[0][level], &frame[level]];
                let (correlation, step) = improve(levels, scale, (middle, half), &map)?;
                alike = correlation;
                map.iter_mut().zip(step).for_each(|(p, d)| *p += d);
                if step.iter().all(|d| d.abs() < 1e-4) {
                    break;
                }
            }
        }
        least = least.min(alike);
        maps.push(map);
        if least < ALIKE {
            return None;
        }
    }
    Some((least, maps))
}

/// A place of the block, as it is in both pictures.
struct Sample {
    first: f64,
    other: f64,
    /// Of the other picture, in pixels of the largest level.
    gradient: [f64; 2],
    /// 1, x and y from the block's middle.
    place: [f64; 3],
}

/// A raster of places, on a level whose size is `scale` of the picture's; `None` where one of them has left the picture.
fn samples(
    [first, other]: [&Level; 2],
    scale: f64,
    (middle, half): ([f64; 2], [f64; 2]),
    map: &Affine,
) -> Option<Vec<Sample>> {
    let at = |i: usize| 2.0 * (i as f64 + 0.5) / RASTER as f64 - 1.0;
    let sample = |i: usize| {
        let (x, y) = (at(i % RASTER) * half[0], at(i / RASTER) * half[1]);
        let u = middle[0] + map[0] + map[1] * x + map[2] * y;
        let v = middle[1] + map[3] + map[4] * x + map[5] * y;
        let inside = |at: f64, size: usize| at * scale > 2.0 && at * scale < size as f64 - 3.0;
        let value = |level: &Level, x: f64, y: f64| level.at(x * scale - 0.5, y * scale - 0.5);
        let near = |dx: f64, dy: f64| value(other, u + dx / scale, v + dy / scale);
        let gradient = [
            0.5 * scale * (near(1.0, 0.0) - near(-1.0, 0.0)),
            0.5 * scale * (near(0.0, 1.0) - near(0.0, -1.0)),
        ];
        (inside(u, other.width) && inside(v, other.height)).then(|| Sample {
            first: value(first, middle[0] + x, middle[1] + y),
            other: near(0.0, 0.0),
            gradient,
            place: [1.0, x, y],
        })
    };
    (0..RASTER * RASTER).map(sample).collect()
}

/// Correlation of the block with where it is mapped to, and the step to a better map.
fn improve(
    levels: [&Level; 2],
    scale: f64,
    block: ([f64; 2], [f64; 2]),
    map: &Affine,
) -> Option<(f64, Affine)> {
    let samples = samples(levels, scale, block, map)?;
    let share = 1.0 / samples.len() as f64;
    let mean = |f: fn(&Sample) -> f64| share * samples.iter().map(f).sum::<f64>();
    let (a, b) = (mean(|s| s.first), mean(|s| s.other));
    let (mut matrix, mut right) = ([[0.0; 6]; 6], [0.0; 6]);
    let (mut aa, mut ab, mut bb) = (0.0, 0.0, 0.0);
    for sample in &samples {
        let (first, other) = (sample.first - a, sample.other - b);
        aa += share * first * first;
        ab += share * first * other;
        bb += share * other * other;
        let row: Affine = std::array::from_fn(|i| sample.gradient[i / 3] * sample.place[i % 3]);
        for i in 0..6 {
            right[i] += row[i] * (first - other);
            (0..6).for_each(|j| matrix[i][j] += row[i] * row[j]);
        }
    }
    let step = solve(matrix, right)?;
    let spread = (aa * bb).sqrt();
    (spread > LEAST_SPREAD).then_some((ab / spread, step))
}

/// Gauss's elimination.
fn solve(mut matrix: [[f64; 6]; 6], mut right: [f64; 6]) -> Option<[f64; 6]> {
    for i in 0..6 {
        let pivot = (i..6).max_by(|a, b| matrix[*a][i].abs().total_cmp(&matrix[*b][i].abs()))?;
        matrix.swap(i, pivot);
        right.swap(i, pivot);
        if matrix[i][i].abs() < 1e-9 {
            return None;
        }
        for j in i + 1..6 {
            let factor = matrix[j][i] / matrix[i][i];
            let row = matrix[i];
            (i..6).for_each(|k| matrix[j][k] -= factor * row[k]);
            right[j] -= factor * right[i];
        }
    }
    for i in (0..6).rev() {
        let known: f64 = (i + 1..6).map(|k| matrix[i][k] * right[k]).sum();
        right[i] = (right[i] - known) / matrix[i][i];
    }
    Some(right)
}
