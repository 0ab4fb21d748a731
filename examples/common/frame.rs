//! An 8-bit 4:2:0 picture in memory, planes without padding.

/// Planes Y, U, V behind each other; limited range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub width: usize,
    pub height: usize,
    pub data: Vec<u8>,
}

impl Frame {
    /// Black.
    pub fn new(width: usize, height: usize) -> Self {
        let (luma, chroma) = (width * height, width.div_ceil(2) * height.div_ceil(2));
        let mut data = vec![16; luma + 2 * chroma];
        data[luma..].fill(128);
        Self {
            width,
            height,
            data,
        }
    }

    /// Width and height of plane 0, 1 or 2.
    pub fn plane_size(&self, plane: usize) -> (usize, usize) {
        match plane {
            0 => (self.width, self.height),
            _ => (self.width.div_ceil(2), self.height.div_ceil(2)),
        }
    }

    /// Y, U, V.
    pub fn planes(&self) -> [&[u8]; 3] {
        let (luma, chroma) = self.split();
        let (y, uv) = self.data.split_at(luma);
        let (u, v) = uv.split_at(chroma);
        [y, u, v]
    }

    /// Y, U, V, to be written.
    pub fn planes_mut(&mut self) -> [&mut [u8]; 3] {
        let (luma, chroma) = self.split();
        let (y, uv) = self.data.split_at_mut(luma);
        let (u, v) = uv.split_at_mut(chroma);
        [y, u, v]
    }

    fn split(&self) -> (usize, usize) {
        let (w, h) = self.plane_size(1);
        (self.width * self.height, w * h)
    }

    /// Mean of two pictures of one size, rounded: what blending shows half way.
    pub fn blend(&self, other: &Frame) -> Frame {
        let mut out = self.clone();
        for (a, b) in out.data.iter_mut().zip(&other.data) {
            *a = (u16::from(*a) + u16::from(*b)).div_ceil(2) as u8;
        }
        out
    }

    /// What blending shows at `phase`, 0 (this picture) to 1 (the other), of one size.
    pub fn mix(&self, other: &Frame, phase: f32) -> Frame {
        let mut out = self.clone();
        for (a, b) in out.data.iter_mut().zip(&other.data) {
            let (from, to) = (f32::from(*a), f32::from(*b));
            *a = (from + phase * (to - from) + 0.5) as u8;
        }
        out
    }

    /// RGB of one pixel; `kr` and `kb` are the matrix's luma weights of red and blue.
    pub fn rgb(&self, x: usize, y: usize, (kr, kb): (f32, f32)) -> [u8; 3] {
        let [luma, u, v] = self.planes();
        let chroma = (y / 2) * self.plane_size(1).0 + x / 2;
        let y = (f32::from(luma[y * self.width + x]) - 16.0) / 219.0;
        let cb = (f32::from(u[chroma]) - 128.0) / 224.0;
        let cr = (f32::from(v[chroma]) - 128.0) / 224.0;
        let r = y + 2.0 * (1.0 - kr) * cr;
        let b = y + 2.0 * (1.0 - kb) * cb;
        let g = (y - kr * r - kb * b) / (1.0 - kr - kb);
        [r, g, b].map(|c| (c * 255.0 + 0.5).clamp(0.0, 255.0) as u8)
    }
}

/// Luma weights of red and blue in BT.709.
pub const BT709: (f32, f32) = (0.2126, 0.0722);
/// Luma weights of red and blue in BT.601.
pub const BT601: (f32, f32) = (0.299, 0.114);
