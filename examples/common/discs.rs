//! Two textured discs before a textured wall, drawn at any place: a bright one in the upper half of the picture, a dark one
//! in the lower half. Where they are can be measured again, and there is a mask that labels them.

use super::frame::Frame;

/// Label of the bright disc.
pub const BRIGHT: u8 = 1;
/// Label of the dark disc.
pub const DARK: u8 = 2;

/// Codes of luma between which a pixel of the wall becomes one of the bright disc, of the dark one.
const BRIGHTER: [f32; 2] = [140.0, 180.0];
const DARKER: [f32; 2] = [90.0, 65.0];

/// Draws discs whose diameter is a third of the height of the picture.
#[derive(Clone, Copy, Debug)]
pub struct Discs {
    pub width: usize,
    pub height: usize,
}

impl Discs {
    /// The picture with the centres of the bright and the dark disc at these columns, in pixels.
    pub fn at(&self, columns: [f32; 2]) -> Frame {
        let mut frame = Frame::new(self.width, self.height);
        let (chroma, _) = frame.plane_size(1);
        let [luma, u, v] = frame.planes_mut();
        for (i, value) in luma.iter_mut().enumerate() {
            let at = [(i % self.width) as f32, (i / self.width) as f32];
            *value = self.value(at, columns, |at, tone| tone[0] + grain(at));
        }
        for (c, plane) in [(1, u), (2, v)] {
            for (i, value) in plane.iter_mut().enumerate() {
                let at = [
                    (2 * (i % chroma)) as f32 + 0.5,
                    (2 * (i / chroma)) as f32 + 0.5,
                ];
                *value = self.value(at, columns, |_, tone| tone[c]);
            }
        }
        frame
    }

    /// Labels of the same picture, of `width` x `height` places, row by row.
    pub fn labels(&self, columns: [f32; 2], (width, height): (usize, usize)) -> Vec<u8> {
        let label = |i: usize| {
            let at = |i: usize, of: usize, pixels: usize| {
                (i as f32 + 0.5) * pixels as f32 / of as f32 - 0.5
            };
            let (x, y) = (i % width, i / width);
            let place = [at(x, width, self.width), at(y, height, self.height)];
            let [bright, dark] = self.coverage(place, columns);
            match (bright > 0.5, dark > 0.5) {
                (true, _) => BRIGHT,
                (_, true) => DARK,
                _ => 0,
            }
        };
        (0..width * height).map(label).collect()
    }

    /// Columns of the centres of the discs, measured in a picture; NaN where there is none.
    pub fn measured(&self, frame: &Frame) -> [f32; 2] {
        let luma = frame.planes()[0];
        let centre = |rows: std::ops::Range<usize>, [none, all]: [f32; 2]| {
            let (mut sum, mut weights) = (0.0, 0.0);
            for (i, code) in luma[rows.start * self.width..rows.end * self.width]
                .iter()
                .enumerate()
            {
                let weight = ((f32::from(*code) - none) / (all - none)).clamp(0.0, 1.0);
                sum += weight * (i % self.width) as f32;
                weights += weight;
            }
            sum / weights
        };
        let middle = self.height / 2;
        [
            centre(0..middle, BRIGHTER),
            centre(middle..self.height, DARKER),
        ]
    }

    fn value(
        &self,
        at: [f32; 2],
        columns: [f32; 2],
        texture: impl Fn([f32; 2], [f32; 3]) -> f32,
    ) -> u8 {
        // luma, U and V of the wall, the bright disc and the dark one
        let mut value = texture(at, [115.0, 124.0, 130.0]);
        let tones = [[210.0, 96.0, 168.0], [45.0, 158.0, 104.0]];
        let parts = tones
            .into_iter()
            .zip(columns)
            .zip(self.coverage(at, columns));
        for ((tone, column), covered) in parts {
            let own = texture([at[0] - column, at[1]], tone);
            value += covered * (own - value);
        }
        value.round().clamp(0.0, 255.0) as u8
    }

    /// How much of a pixel each disc covers.
    fn coverage(&self, [x, y]: [f32; 2], columns: [f32; 2]) -> [f32; 2] {
        let height = self.height as f32;
        [0, 1].map(|i| {
            let (dx, dy) = (x - columns[i], y - height * (0.27 + 0.46 * i as f32));
            (0.17 * height - dx.hypot(dy) + 0.5).clamp(0.0, 1.0)
        })
    }
}

/// Codes that a texture adds at a place, -15 to 15: smooth noise of two sizes, which does not repeat.
fn grain([x, y]: [f32; 2]) -> f32 {
    let noise = |size: f32, seed: u32| {
        let (x, y) = (x / size + 999.0, y / size + 999.0);
        let (left, top) = (x as u32, y as u32);
        let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
        let (fx, fy) = (smooth(x.fract()), smooth(y.fract()));
        let node = |dx: u32, dy: u32| {
            let mut h =
                (left + dx).wrapping_mul(0x85eb_ca6b) ^ (top + dy).wrapping_mul(0xc2b2_ae35) ^ seed;
            h = (h ^ (h >> 15)).wrapping_mul(0x2c1b_3c6d);
            h = (h ^ (h >> 12)).wrapping_mul(0x297a_2d39);
            (h ^ (h >> 15)) as f32 / u32::MAX as f32 - 0.5
        };
        let row = |dy| node(0, dy) + fx * (node(1, dy) - node(0, dy));
        row(0) + fy * (row(1) - row(0))
    };
    18.0 * noise(13.0, 1) + 12.0 * noise(5.0, 2)
}
