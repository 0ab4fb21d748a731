//! What the tests of the engine share: pictures that own their planes, and the engine in one call.

#![allow(dead_code, reason = "each test uses its part")]

use gstvideointerpolate::error::Error;
use gstvideointerpolate::interpolator::{Interpolator, Outcome, Settings};
use gstvideointerpolate::kernels::PhaseMap;
use gstvideointerpolate::network::Network;
use gstvideointerpolate::picture::{Channel, Color, Format, Picture, PictureMut};

/// Planes with some padding after each row.
pub struct Owned {
    pub format: Format,
    pub size: (u32, u32),
    pub planes: Vec<(Vec<u8>, isize)>,
}

impl Owned {
    pub fn new(format: Format, size: (u32, u32), padding: usize) -> Self {
        let planes = (0..format.planes()).map(|p| {
            let stride = format.row_bytes(p, size.0) + padding;
            (vec![0; stride * format.rows(p, size.1)], stride as isize)
        });
        Owned {
            format,
            size,
            planes: planes.collect(),
        }
    }

    /// A picture whose codes are a function (0 to 1) of the channel and the place, in pixels.
    pub fn painted(
        format: Format,
        size: (u32, u32),
        padding: usize,
        value: impl Fn(Channel, f32, f32) -> f32,
    ) -> Self {
        let mut owned = Owned::new(format, size, padding);
        for c in format.components() {
            let (sx, sy) = ((1 << c.sub_x) as f32, (1 << c.sub_y) as f32);
            for y in 0..c.height(size.1 as usize) {
                for x in 0..c.width(size.0 as usize) {
                    // The centre of the sample.
                    let place = ((x as f32 + 0.5) * sx - 0.5, (y as f32 + 0.5) * sy - 0.5);
                    let v = value(c.channel, place.0, place.1).clamp(0.0, 1.0);
                    let (data, stride) = &mut owned.planes[c.plane];
                    let row = &mut data[y * *stride as usize..];
                    c.store(row, x, (v * c.max() as f32).round() as u32);
                }
            }
        }
        owned
    }

    /// Every byte random, the same for the same `seed`.
    pub fn noise(format: Format, size: (u32, u32), padding: usize, seed: u64) -> Self {
        let mut owned = Owned::new(format, size, padding);
        let mut state = 0x1234_5678_9abc_def1u64 ^ seed << 32;
        for byte in owned.planes.iter_mut().flat_map(|(data, _)| data) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = (state >> 24) as u8;
        }
        owned
    }

    pub fn picture(&self) -> Picture<'_> {
        let planes: Vec<_> = self
            .planes
            .iter()
            .map(|(d, s)| (d.as_slice(), *s))
            .collect();
        Picture::new(self.format, self.size.0, self.size.1, Color::BT709, &planes).unwrap()
    }

    pub fn picture_mut(&mut self) -> PictureMut<'_> {
        let (format, size) = (self.format, self.size);
        let mut planes: Vec<_> = self
            .planes
            .iter_mut()
            .map(|(d, s)| (d.as_mut_slice(), *s))
            .collect();
        PictureMut::new(format, size.0, size.1, &mut planes).unwrap()
    }
}

/// The engine with the built-in network, on one thread.
pub fn interpolator(format: Format, size: (u32, u32)) -> Interpolator {
    let network = Network::embedded().unwrap();
    Interpolator::new(network, format, size.0, size.1, 1).unwrap()
}

/// The picture between two, and what became of it.
pub fn interpolate(
    left: &Owned,
    right: &Owned,
    phase: PhaseMap,
    settings: &Settings,
) -> Result<(Outcome, Owned), Error> {
    let mut interpolator = interpolator(left.format, left.size);
    let (l, r) = (left.picture(), right.picture());
    let (le, re) = (interpolator.encode(&l)?, interpolator.encode(&r)?);
    let mut out = Owned::new(left.format, left.size, 5);
    let target = &mut out.picture_mut();
    let outcome = interpolator.interpolate((&l, &le), (&r, &re), &phase, settings, target)?;
    Ok((outcome, out))
}
