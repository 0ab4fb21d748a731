//! A part of the picture that moves as a plane would, found without the search that is measured: an affine map from the first frame to
//! each other one, by Gauss-Newton steps on the samples of one block. That the block is a plane, and has not slid along itself, is
//! looked at part by part: each part by itself may be no further from its place than [`MOST_OFF`].

use crate::common::frame::Frame;

/// Blocks that are tried along each axis, and the shares of a side that they have.
const TRIED: usize = 5;
const SHARES: [f64; 2] = [0.22, 0.14];
const STEPS: usize = 20;
/// A step that moves no corner further, in pixels, is the last one.
const SMALL: f64 = 0.005;
/// Places of a block along each axis that are compared.
const RASTER: usize = 32;
/// Parts of a block along each axis, and how many of all have to tell where they are.
const PARTS: usize = 4;
const TELLING: usize = 12;
/// A part tells where it is if that is known to so many pixels: the standard error along the axis with the weaker gradient.
const KNOWN: f64 = 0.1;
/// Variance of codes that is noise at the least.
const NOISE: f64 = 1.0;
/// Most pixels by which the parts may be off their places in a frame, the root of the mean square.
const MOST_OFF: f64 = 0.5;
/// Least distance, in pixels, that the block gets to from where it was: on what stands still nothing has to be carried.
const LEAST_WAY: f64 = 2.0;

/// x' = p0 + p1 x + p2 y, y' = p3 + p4 x + p5 y, from the middle of the block.
pub type Affine = [f64; 6];

pub struct Surface {
    block: Block,
    maps: Vec<Affine>,
}

/// In pixels of the first frame.
#[derive(Clone, Copy)]
struct Block {
    middle: [f64; 2],
    half: [f64; 2],
}

impl Surface {
    /// The block whose parts keep their places best; `None` where none moves as a plane.
    pub fn find(frames: &[Frame]) -> Option<Self> {
        let size = [frames[0].width as f64, frames[0].height as f64];
        let levels: Vec<Vec<Level>> = frames.iter().map(levels).collect();
        let mut best: Option<(f64, Self)> = None;
        for share in SHARES {
            for i in 0..TRIED * TRIED {
                let at = [i % TRIED, i / TRIED].map(|i| (i as f64 + 1.0) / (TRIED as f64 + 1.0));
                let block = Block {
                    middle: [0, 1].map(|c| at[c] * size[c]),
                    half: size.map(|side| 0.5 * side * share),
                };
                let most = best.as_ref().map_or(MOST_OFF, |(off, _)| *off);
                if let Some((off, maps)) = block.follow(&levels, most) {
                    best = Some((off, Self { block, maps }));
                }
            }
        }
        best.map(|(_, surface)| surface)
    }

    /// A block whose `middle` and half sides are known, in pixels of the first frame, and its maps to all frames.
    pub fn known(middle: [f64; 2], half: [f64; 2], maps: Vec<Affine>) -> Self {
        let block = Block { middle, half };
        Self { block, maps }
    }

    /// Where a place of frame `n` lies in the block, which is 0 to 1 along both axes.
    pub fn local(&self, n: usize, at: [f32; 2]) -> [f32; 2] {
        let [a, b, c, d, e, f] = self.maps[n];
        let Block { middle, half } = self.block;
        let (x, y) = (
            f64::from(at[0]) - middle[0] - a,
            f64::from(at[1]) - middle[1] - d,
        );
        let scale = 1.0 / (b * f - c * e);
        let own = [(f * x - c * y) * scale, (b * y - e * x) * scale];
        [0, 1].map(|i| (0.5 + 0.5 * own[i] / half[i]) as f32)
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

impl Block {
    /// By how many pixels its parts are off their places in the worst frame, less than `most`, and the maps to all frames.
    fn follow(&self, frames: &[Vec<Level>], most: f64) -> Option<(f64, Vec<Affine>)> {
        let mut map: Affine = [0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        let (mut worst, mut way, mut maps) = (0.0f64, 0.0f64, vec![map]);
        for frame in &frames[1..] {
            for level in (0..frame.len()).rev() {
                let pair = Pair {
                    first: &frames[0][level],
                    other: &frame[level],
                    scale: 0.5f64.powi(level as i32),
                };
                self.fit(&pair, &mut map)?;
            }
            let pair = Pair {
                first: &frames[0][0],
                other: &frame[0],
                scale: 1.0,
            };
            worst = worst.max(self.off(&pair, &map)?);
            if worst >= most {
                return None;
            }
            way = way.max(map[0].hypot(map[3]));
            maps.push(map);
        }
        (way >= LEAST_WAY).then_some((worst, maps))
    }

    /// Betters a map; `None` where the block leaves the picture or tells nothing.
    fn fit(&self, pair: &Pair, map: &mut Affine) -> Option<()> {
        for _ in 0..STEPS {
            let mut normal = Normal::<8>::new();
            for sample in self.samples(pair, map, (0, 0), 1)? {
                let [gx, gy] = sample.gradient;
                let (x, y) = sample.place;
                let row = [gx, gx * x, gx * y, gy, gy * x, gy * y, -sample.first, -1.0];
                normal.add(row, -sample.other);
            }
            let step = normal.solve()?;
            map.iter_mut().zip(step).for_each(|(p, d)| *p += d);
            let corner = |i: usize| {
                step[i].abs() + step[i + 1].abs() * self.half[0] + step[i + 2].abs() * self.half[1]
            };
            if corner(0).max(corner(3)) < SMALL {
                break;
            }
        }
        Some(())
    }

    /// By how many pixels parts are off their places, the root of the mean square; `None` where too few of them tell.
    fn off(&self, pair: &Pair, map: &Affine) -> Option<f64> {
        let (mut sum, mut telling) = (0.0, 0);
        for i in 0..PARTS * PARTS {
            let samples = self.samples(pair, map, (i % PARTS, i / PARTS), PARTS)?;
            if let Some([x, y]) = own_displacement(&samples) {
                sum += x * x + y * y;
                telling += 1;
            }
        }
        (telling >= TELLING).then(|| (sum / f64::from(telling as u32)).sqrt())
    }

    /// A raster of places of one of `parts` x `parts` parts; `None` where one of them has left the picture.
    fn samples(
        &self,
        pair: &Pair,
        map: &Affine,
        part: (usize, usize),
        parts: usize,
    ) -> Option<Vec<Sample>> {
        let at = |i: usize, part: usize| {
            2.0 * ((i as f64 + 0.5) / RASTER as f64 + part as f64) / parts as f64 - 1.0
        };
        let sample = |i: usize| {
            let x = at(i % RASTER, part.0) * self.half[0];
            let y = at(i / RASTER, part.1) * self.half[1];
            let u = self.middle[0] + map[0] + map[1] * x + map[2] * y;
            let v = self.middle[1] + map[3] + map[4] * x + map[5] * y;
            pair.sample([self.middle[0] + x, self.middle[1] + y], [u, v], (x, y))
        };
        (0..RASTER * RASTER).map(sample).collect()
    }
}

/// A level of the first frame and of another one, `scale` times as large as the picture.
struct Pair<'a> {
    first: &'a Level,
    other: &'a Level,
    scale: f64,
}

/// A place of the block, as it is in both pictures.
struct Sample {
    first: f64,
    other: f64,
    /// Of the other picture, in pixels of the largest level.
    gradient: [f64; 2],
    /// From the block's middle.
    place: (f64, f64),
}

impl Pair<'_> {
    /// What both show at places of theirs; `None` outside of the other picture.
    fn sample(&self, from: [f64; 2], to: [f64; 2], place: (f64, f64)) -> Option<Sample> {
        let scale = self.scale;
        let inside = |at: f64, size: usize| at * scale > 2.0 && at * scale < size as f64 - 3.0;
        if !(inside(to[0], self.other.width) && inside(to[1], self.other.height)) {
            return None;
        }
        let value = |level: &Level, [x, y]: [f64; 2]| level.at(x * scale - 0.5, y * scale - 0.5);
        let near = |dx: f64, dy: f64| value(self.other, [to[0] + dx / scale, to[1] + dy / scale]);
        Some(Sample {
            first: value(self.first, from),
            other: near(0.0, 0.0),
            gradient: [
                0.5 * scale * (near(1.0, 0.0) - near(-1.0, 0.0)),
                0.5 * scale * (near(0.0, 1.0) - near(0.0, -1.0)),
            ],
            place,
        })
    }
}

/// By how many pixels samples are displaced all alike; `None` where that is not known well enough.
fn own_displacement(samples: &[Sample]) -> Option<[f64; 2]> {
    let mut normal = Normal::<4>::new();
    for sample in samples {
        let [x, y] = sample.gradient;
        normal.add([x, y, -sample.first, -1.0], -sample.other);
    }
    let found = normal.solve()?;
    let [dx, dy, gain, offset] = found;
    let share = 1.0 / samples.len() as f64;
    let mean = |f: &dyn Fn(&Sample) -> f64| share * samples.iter().map(f).sum::<f64>();
    let left = mean(&|s| {
        let [x, y] = s.gradient;
        (s.other + x * dx + y * dy - gain * s.first - offset).powi(2)
    });
    let middle = [0, 1].map(|c| mean(&|s| s.gradient[c]));
    let of =
        |a: usize, b: usize| mean(&|s| (s.gradient[a] - middle[a]) * (s.gradient[b] - middle[b]));
    let (xx, xy, yy) = (of(0, 0), of(0, 1), of(1, 1));
    let weaker = 0.5 * (xx + yy) - (0.25 * (xx - yy) * (xx - yy) + xy * xy).sqrt();
    let error = (share * (left + NOISE) / weaker.max(1e-9)).sqrt();
    (error < KNOWN).then_some([dx, dy])
}

/// Equations of N unknowns, to be solved for the least sum of squares.
struct Normal<const N: usize> {
    matrix: [[f64; N]; N],
    right: [f64; N],
}

impl<const N: usize> Normal<N> {
    fn new() -> Self {
        Self {
            matrix: [[0.0; N]; N],
            right: [0.0; N],
        }
    }

    fn add(&mut self, row: [f64; N], right: f64) {
        for i in 0..N {
            self.right[i] += row[i] * right;
            (0..N).for_each(|j| self.matrix[i][j] += row[i] * row[j]);
        }
    }

    /// Gauss's elimination; `None` where nothing follows from the equations.
    fn solve(self) -> Option<[f64; N]> {
        let Self {
            mut matrix,
            mut right,
        } = self;
        for i in 0..N {
            let pivot =
                (i..N).max_by(|a, b| matrix[*a][i].abs().total_cmp(&matrix[*b][i].abs()))?;
            matrix.swap(i, pivot);
            right.swap(i, pivot);
            if matrix[i][i].abs() < 1e-9 {
                return None;
            }
            for j in i + 1..N {
                let factor = matrix[j][i] / matrix[i][i];
                let row = matrix[i];
                (i..N).for_each(|k| matrix[j][k] -= factor * row[k]);
                right[j] -= factor * right[i];
            }
        }
        for i in (0..N).rev() {
            let known: f64 = (i + 1..N).map(|k| matrix[i][k] * right[k]).sum();
            right[i] = (right[i] - known) / matrix[i][i];
        }
        Some(right)
    }
}
