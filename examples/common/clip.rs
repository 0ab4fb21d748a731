//! A clip that is computed: textured layers, a rotating disc that hides and uncovers what
//! lies behind it, a fence in front, moving and standing text, and a cut.
//!
//! Positions are functions of time, so that any instant can be drawn: the truth between
//! two frames is known. Lengths are in heights of the picture, seconds are seconds.

use std::f32::consts::{PI, TAU};

use super::font;
use super::frame::{BT709, Frame};

/// When the scene changes, in seconds.
pub const CUT: f32 = 2.6;

const TEXTURE: usize = 512;
const TICKER: &str = "VIDEOINTERPOLATE - EVERY SECOND FRAME OF THIS CLIP IS MADE - 0123456789";
const LOGO: &str = "VI";

/// Draws the clip at one size.
pub struct Clip {
    width: usize,
    height: usize,
    textures: [Vec<f32>; 3],
}

impl Clip {
    /// Sizes are in pixels; the same size always gives the same clip.
    pub fn new(width: usize, height: usize) -> Self {
        let textures = [1, 2, 3].map(texture);
        Self {
            width,
            height,
            textures,
        }
    }

    /// The picture at an instant, in seconds.
    pub fn at(&self, time: f32) -> Frame {
        let mut frame = Frame::new(self.width, self.height);
        let (width, height) = (self.width, self.height);
        let (chroma_width, _) = frame.plane_size(1);
        let unit = 1.0 / height as f32;
        let aspect = width as f32 * unit;
        let mut sums = vec![[0.0f32; 2]; chroma_width * height.div_ceil(2)];
        let mut counts = vec![0.0f32; sums.len()];
        let [luma, u, v] = frame.planes_mut();
        for y in 0..height {
            for x in 0..width {
                let at = [(x as f32 + 0.5) * unit, (y as f32 + 0.5) * unit];
                let rgb = if time < CUT {
                    self.first(at, time, unit, aspect)
                } else {
                    self.second(at, time, unit, aspect)
                };
                let (l, cb, cr) = yuv(rgb);
                luma[y * width + x] = code(16.0 + 219.0 * l);
                let cell = y / 2 * chroma_width + x / 2;
                sums[cell][0] += cb;
                sums[cell][1] += cr;
                counts[cell] += 1.0;
            }
        }
        for (cell, (sum, count)) in sums.iter().zip(&counts).enumerate() {
            u[cell] = code(128.0 + 224.0 * sum[0] / count);
            v[cell] = code(128.0 + 224.0 * sum[1] / count);
        }
        frame
    }

    /// A pan; a disc that crosses it, turning; a fence; a running line; a standing mark.
    fn first(&self, [x, y]: [f32; 2], time: f32, unit: f32, aspect: f32) -> [f32; 3] {
        let shade = self.shade(0, x + 0.22 * time, y + 0.03 * (TAU * time).sin());
        let mut rgb = mix([0.10, 0.22, 0.30], [0.62, 0.74, 0.66], shade);

        let middle = [0.15 + 0.55 * time, 0.5 + 0.14 * (PI * time).sin()];
        let (dx, dy) = (x - middle[0], y - middle[1]);
        let inside = edge(0.21 - dx.hypot(dy), unit);
        if inside > 0.0 {
            let (sin, cos) = (1.6 * time).sin_cos();
            let (tx, ty) = (cos * dx + sin * dy, cos * dy - sin * dx);
            let disc = mix(
                [0.50, 0.10, 0.06],
                [1.0, 0.80, 0.45],
                self.shade(1, tx * 1.5, ty * 1.5),
            );
            let spoke = edge(0.012 - tx.abs().min(ty.abs()), unit);
            rgb = mix(rgb, mix(disc, [0.95; 3], spoke), inside);
        }

        // Bars whose distance is well above their motion from frame to frame.
        let along = (x + 0.36 * time).rem_euclid(0.42);
        let bar = edge(0.018 - (along - 0.21).abs(), unit) * edge(y - 0.28, unit);
        rgb = mix(rgb, [0.06, 0.05, 0.05], bar);

        let band = edge(0.055 - (y - 0.90).abs(), unit);
        rgb = mix(rgb, [0.03, 0.03, 0.08], band);
        let ticker = text(
            TICKER,
            x + 0.30 * time - aspect * 0.5,
            y - 0.862,
            0.011,
            unit,
        );
        rgb = mix(rgb, [0.96, 0.96, 0.90], ticker);
        let logo = text(LOGO, x - aspect + 0.18, y - 0.05, 0.012, unit);
        mix(rgb, [1.0; 3], logo)
    }

    /// A slow zoom with a pendulum in front.
    fn second(&self, [x, y]: [f32; 2], time: f32, unit: f32, aspect: f32) -> [f32; 3] {
        let scale = 1.0 / (1.0 + 0.16 * (time - CUT));
        let shade = self.shade(2, (x - aspect / 2.0) * scale, (y - 0.5) * scale);
        let mut rgb = mix([0.80, 0.74, 0.62], [0.30, 0.16, 0.26], shade);

        let angle = 0.7 * (2.4 * time).sin();
        let (sin, cos) = angle.sin_cos();
        let (dx, dy) = (x - aspect / 2.0, y + 0.1);
        let (across, along) = (cos * dx - sin * dy, sin * dx + cos * dy);
        let rod = edge(0.008 - across.abs(), unit) * edge(0.75 - along, unit);
        rgb = mix(rgb, [0.1, 0.1, 0.12], rod);
        let bob = edge(0.13 - across.hypot(along - 0.75), unit);
        let face = self.shade(1, across * 2.0, along * 2.0);
        rgb = mix(rgb, mix([0.05, 0.20, 0.45], [0.70, 0.90, 1.0], face), bob);

        let logo = text(LOGO, x - aspect + 0.18, y - 0.05, 0.012, unit);
        mix(rgb, [1.0; 3], logo)
    }

    /// A texture, one period a height, bilinear.
    fn shade(&self, which: usize, x: f32, y: f32) -> f32 {
        let texture = &self.textures[which];
        let (x, y) = (x * TEXTURE as f32, y * TEXTURE as f32);
        let (left, top) = (x.floor(), y.floor());
        let (fx, fy) = (x - left, y - top);
        let at = |dx: i32, dy: i32| {
            let column = (left as i32 + dx).rem_euclid(TEXTURE as i32) as usize;
            let row = (top as i32 + dy).rem_euclid(TEXTURE as i32) as usize;
            texture[row * TEXTURE + column]
        };
        let upper = at(0, 0) + fx * (at(1, 0) - at(0, 0));
        let lower = at(0, 1) + fx * (at(1, 1) - at(0, 1));
        upper + fy * (lower - upper)
    }
}

/// Noise of several scales that repeats at its borders, 0 to 1.
fn texture(seed: u32) -> Vec<f32> {
    let mut values = vec![0.0f32; TEXTURE * TEXTURE];
    let mut weight = 0.5;
    for octave in 0..5 {
        let cells = 8usize << octave;
        let step = TEXTURE / cells;
        let node = |x: usize, y: usize| {
            let at = ((y % cells) * cells + x % cells) as u32;
            hash(at ^ hash(seed * 16 + octave)) as f32 / u32::MAX as f32
        };
        for (index, value) in values.iter_mut().enumerate() {
            let (x, y) = (index % TEXTURE, index / TEXTURE);
            let (cx, cy) = (x / step, y / step);
            let fx = smooth((x % step) as f32 / step as f32);
            let fy = smooth((y % step) as f32 / step as f32);
            let upper = node(cx, cy) + fx * (node(cx + 1, cy) - node(cx, cy));
            let lower = node(cx, cy + 1) + fx * (node(cx + 1, cy + 1) - node(cx, cy + 1));
            *value += weight * (upper + fy * (lower - upper));
        }
        weight *= 0.62;
    }
    // The middle of the sum is where most values lie: stretch it.
    for value in &mut values {
        *value = ((*value - 0.6) * 1.9 + 0.5).clamp(0.0, 1.0);
    }
    values
}

fn smooth(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}

fn hash(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// Coverage of a pixel whose distance to the edge is this, positive inside.
fn edge(distance: f32, unit: f32) -> f32 {
    (distance / unit + 0.5).clamp(0.0, 1.0)
}

/// Coverage by a text whose points have this size, from a corner at the origin.
fn text(line: &str, x: f32, y: f32, size: f32, unit: f32) -> f32 {
    const TAPS: [f32; 3] = [-1.0 / 3.0, 0.0, 1.0 / 3.0];
    if y < -size || y > (font::ROWS as f32 + 1.0) * size {
        return 0.0;
    }
    let mut hits = 0;
    for dy in TAPS {
        for dx in TAPS {
            let column = ((x + dx * unit) / size).floor() as i32;
            let row = ((y + dy * unit) / size).floor() as i32;
            hits += i32::from(font::point(line, column, row));
        }
    }
    hits as f32 / (TAPS.len() * TAPS.len()) as f32
}

fn mix(a: [f32; 3], b: [f32; 3], weight: f32) -> [f32; 3] {
    [0, 1, 2].map(|i| a[i] + weight * (b[i] - a[i]))
}

/// BT.709: Y in 0..1, Cb and Cr in −0.5..0.5.
fn yuv([r, g, b]: [f32; 3]) -> (f32, f32, f32) {
    let (kr, kb) = BT709;
    let y = kr * r + (1.0 - kr - kb) * g + kb * b;
    (
        y,
        (b - y) / (2.0 * (1.0 - kb)),
        (r - y) / (2.0 * (1.0 - kr)),
    )
}

fn code(value: f32) -> u8 {
    (value + 0.5).clamp(0.0, 255.0) as u8
}
