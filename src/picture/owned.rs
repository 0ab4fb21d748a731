//! Pictures that tests own.

use super::{Color, Component, Format, Picture, PictureMut};

/// xorshift; the tests want reproducible noise, nothing more.
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// -1 to 1.
    pub fn unit(&mut self) -> f32 {
        (self.next() % 20001) as f32 / 10000.0 - 1.0
    }
}

/// Owned planes with unequal strides, an odd start, and guard bytes all around.
pub struct Owned {
    pub format: Format,
    pub size: (u32, u32),
    planes: Vec<(Vec<u8>, usize)>,
}

const GUARD: usize = 37;
const GUARD_BYTE: u8 = 0xcd;

impl Owned {
    pub fn new(format: Format, size: (u32, u32), padding: usize) -> Self {
        let planes = (0..format.planes())
            .map(|p| {
                let stride = format.row_bytes(p, size.0) + padding * (p + 1);
                let rows = format.rows(p, size.1);
                let len = stride * (rows - 1) + format.row_bytes(p, size.0);
                (vec![GUARD_BYTE; len + 2 * GUARD], stride)
            })
            .collect();
        Owned {
            format,
            size,
            planes,
        }
    }

    /// Every byte of every row random, those that are no component's included.
    pub fn noise(mut self, noise: &mut Noise) -> Self {
        for p in 0..self.format.planes() {
            for y in 0..self.format.rows(p, self.size.1) {
                self.row(p, y)
                    .iter_mut()
                    .for_each(|b| *b = noise.below(256) as u8);
            }
        }
        self
    }

    pub fn row(&mut self, p: usize, y: usize) -> &mut [u8] {
        let bytes = self.format.row_bytes(p, self.size.0);
        let (data, stride) = &mut self.planes[p];
        &mut data[GUARD + y * *stride..][..bytes]
    }

    pub fn picture(&self) -> Picture<'_> {
        self.picture_of(Color::BT709)
    }

    pub fn picture_of(&self, color: Color) -> Picture<'_> {
        let planes: Vec<_> = self
            .planes
            .iter()
            .map(|(d, s)| (&d[GUARD..d.len() - GUARD], *s as isize))
            .collect();
        Picture::new(self.format, self.size.0, self.size.1, color, &planes).unwrap()
    }

    pub fn picture_mut(&mut self) -> PictureMut<'_> {
        let (format, size) = (self.format, self.size);
        let mut planes: Vec<_> = self
            .planes
            .iter_mut()
            .map(|(d, s)| {
                let end = d.len() - GUARD;
                (&mut d[GUARD..end], *s as isize)
            })
            .collect();
        PictureMut::new(format, size.0, size.1, &mut planes).unwrap()
    }

    /// Fails where a byte outside the rows is no longer what it was.
    pub fn assert_guarded(&self, what: &str) {
        for (p, (data, stride)) in self.planes.iter().enumerate() {
            let bytes = self.format.row_bytes(p, self.size.0);
            let end = data.len() - GUARD;
            for (i, b) in data.iter().enumerate() {
                let inside = i >= GUARD && i < end && (i - GUARD) % stride < bytes;
                assert!(
                    inside || *b == GUARD_BYTE,
                    "{what}: plane {p} byte {i} written"
                );
            }
        }
    }

    pub fn code(&self, c: &Component, x: usize, y: usize) -> u32 {
        c.load(self.picture().row(c.plane, y), x)
    }
}
