//! The pixel formats as data: where each component's samples lie.

use crate::error::{Error, Result};

/// A pixel format; the names follow GStreamer's, all little endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    I420,
    Yv12,
    Nv12,
    Nv21,
    Y42b,
    Y444,
    Gray8,
    I420_10,
    I422_10,
    Y444_10,
    P010,
    Gray16,
    I420_12,
    A420,
    Ayuv,
    Yuy2,
    Uyvy,
    Rgb,
    Bgr,
    Rgbx,
    Bgrx,
    Xrgb,
    Xbgr,
    Rgba,
    Bgra,
    Argb,
    Abgr,
    Rgbp,
    Gbr,
    Gbr10,
}

/// What a component means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    Y,
    U,
    V,
    A,
    R,
    G,
    B,
}

/// Where one component of a format lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Component {
    /// What its samples mean.
    pub channel: Channel,
    /// The number of the plane that holds it.
    pub plane: usize,
    /// Bytes from the start of the row to the first sample.
    pub offset: usize,
    /// Bytes from one sample to the next.
    pub step: usize,
    /// Horizontal subsampling, log2.
    pub sub_x: u32,
    /// Vertical subsampling, log2.
    pub sub_y: u32,
    /// Bits of a code.
    pub depth: u32,
    /// Bits below the code in its 16-bit word.
    pub shift: u32,
}

impl Component {
    /// Bytes of a sample: 1 or 2.
    pub const fn size(&self) -> usize {
        if self.depth > 8 { 2 } else { 1 }
    }

    /// The largest code.
    pub const fn max(&self) -> u32 {
        (1 << self.depth) - 1
    }

    /// Samples in a row of a picture that is `width` wide.
    pub const fn width(&self, width: usize) -> usize {
        width.div_ceil(1 << self.sub_x)
    }

    /// Rows of a picture that is `height` high.
    pub const fn height(&self, height: usize) -> usize {
        height.div_ceil(1 << self.sub_y)
    }

    /// Bytes of a row, those between the samples and behind the last included.
    const fn row_bytes(&self, width: usize) -> usize {
        self.width(width) * self.step
    }

    /// The code of sample `x` of a row.
    pub fn load(&self, row: &[u8], x: usize) -> u32 {
        let at = self.offset + x * self.step;
        if self.size() == 1 {
            u32::from(row[at])
        } else {
            u32::from(u16::from_le_bytes([row[at], row[at + 1]])) >> self.shift
        }
    }

    /// Writes the code of sample `x` of a row; the bits below it become zero.
    pub fn store(&self, row: &mut [u8], x: usize, code: u32) {
        let at = self.offset + x * self.step;
        if self.size() == 1 {
            row[at] = code as u8;
        } else {
            row[at..at + 2].copy_from_slice(&((code << self.shift) as u16).to_le_bytes());
        }
    }
}

/// A component of a plane of its own.
const fn planar(channel: Channel, plane: usize, sub: (u32, u32), depth: u32) -> Component {
    let step = if depth > 8 { 2 } else { 1 };
    Component {
        channel,
        plane,
        offset: 0,
        step,
        sub_x: sub.0,
        sub_y: sub.1,
        depth,
        shift: 0,
    }
}

/// An 8-bit component that shares its plane.
const fn packed(
    channel: Channel,
    plane: usize,
    offset: usize,
    step: usize,
    sub: (u32, u32),
) -> Component {
    Component {
        channel,
        plane,
        offset,
        step,
        sub_x: sub.0,
        sub_y: sub.1,
        depth: 8,
        shift: 0,
    }
}

/// A component of P010: ten bits at the top of a word.
const fn p010(channel: Channel, plane: usize, offset: usize, step: usize, sub: u32) -> Component {
    Component {
        channel,
        plane,
        offset,
        step,
        sub_x: sub,
        sub_y: sub,
        depth: 10,
        shift: 6,
    }
}

const FULL: (u32, u32) = (0, 0);
const HALF_WIDE: (u32, u32) = (1, 0);
const HALF: (u32, u32) = (1, 1);

use Channel::{A, B, G, R, U, V, Y};

/// Three planes, the first at full size.
const fn three(
    channels: [Channel; 3],
    planes: [usize; 3],
    sub: (u32, u32),
    depth: u32,
) -> [Component; 3] {
    [
        planar(channels[0], planes[0], FULL, depth),
        planar(channels[1], planes[1], sub, depth),
        planar(channels[2], planes[2], sub, depth),
    ]
}

/// Luma in a plane, U and V interleaved in another.
const fn semi(u: usize, v: usize) -> [Component; 3] {
    [
        planar(Y, 0, FULL, 8),
        packed(U, 1, u, 2, HALF),
        packed(V, 1, v, 2, HALF),
    ]
}

/// 4:2:2 in one plane.
const fn yuyv(y: usize, u: usize, v: usize) -> [Component; 3] {
    [
        packed(Y, 0, y, 2, FULL),
        packed(U, 0, u, 4, HALF_WIDE),
        packed(V, 0, v, 4, HALF_WIDE),
    ]
}

/// R, G, B in one plane.
const fn rgb(r: usize, g: usize, b: usize, step: usize) -> [Component; 3] {
    [
        packed(R, 0, r, step, FULL),
        packed(G, 0, g, step, FULL),
        packed(B, 0, b, step, FULL),
    ]
}

/// R, G, B, A in one plane.
const fn rgba(r: usize, g: usize, b: usize, a: usize) -> [Component; 4] {
    let [red, green, blue] = rgb(r, g, b, 4);
    [red, green, blue, packed(A, 0, a, 4, FULL)]
}

static I420: [Component; 3] = three([Y, U, V], [0, 1, 2], HALF, 8);
static YV12: [Component; 3] = three([Y, U, V], [0, 2, 1], HALF, 8);
static NV12: [Component; 3] = semi(0, 1);
static NV21: [Component; 3] = semi(1, 0);
static Y42B: [Component; 3] = three([Y, U, V], [0, 1, 2], HALF_WIDE, 8);
static Y444: [Component; 3] = three([Y, U, V], [0, 1, 2], FULL, 8);
static GRAY8: [Component; 1] = [planar(Y, 0, FULL, 8)];
static I420_10: [Component; 3] = three([Y, U, V], [0, 1, 2], HALF, 10);
static I422_10: [Component; 3] = three([Y, U, V], [0, 1, 2], HALF_WIDE, 10);
static Y444_10: [Component; 3] = three([Y, U, V], [0, 1, 2], FULL, 10);
static P010: [Component; 3] = [
    p010(Y, 0, 0, 2, 0),
    p010(U, 1, 0, 4, 1),
    p010(V, 1, 2, 4, 1),
];
static GRAY16: [Component; 1] = [planar(Y, 0, FULL, 16)];
static I420_12: [Component; 3] = three([Y, U, V], [0, 1, 2], HALF, 12);
static A420: [Component; 4] = [
    planar(Y, 0, FULL, 8),
    planar(U, 1, HALF, 8),
    planar(V, 2, HALF, 8),
    planar(A, 3, FULL, 8),
];
static AYUV: [Component; 4] = [
    packed(Y, 0, 1, 4, FULL),
    packed(U, 0, 2, 4, FULL),
    packed(V, 0, 3, 4, FULL),
    packed(A, 0, 0, 4, FULL),
];
static YUY2: [Component; 3] = yuyv(0, 1, 3);
static UYVY: [Component; 3] = yuyv(1, 0, 2);
static RGB: [Component; 3] = rgb(0, 1, 2, 3);
static BGR: [Component; 3] = rgb(2, 1, 0, 3);
static RGBX: [Component; 3] = rgb(0, 1, 2, 4);
static BGRX: [Component; 3] = rgb(2, 1, 0, 4);
static XRGB: [Component; 3] = rgb(1, 2, 3, 4);
static XBGR: [Component; 3] = rgb(3, 2, 1, 4);
static RGBA: [Component; 4] = rgba(0, 1, 2, 3);
static BGRA: [Component; 4] = rgba(2, 1, 0, 3);
static ARGB: [Component; 4] = rgba(1, 2, 3, 0);
static ABGR: [Component; 4] = rgba(3, 2, 1, 0);
static RGBP: [Component; 3] = three([R, G, B], [0, 1, 2], FULL, 8);
static GBR: [Component; 3] = three([R, G, B], [2, 0, 1], FULL, 8);
static GBR10: [Component; 3] = three([R, G, B], [2, 0, 1], FULL, 10);

impl Format {
    /// Every format there is.
    pub const ALL: [Format; 30] = [
        Format::I420,
        Format::Yv12,
        Format::Nv12,
        Format::Nv21,
        Format::Y42b,
        Format::Y444,
        Format::Gray8,
        Format::I420_10,
        Format::I422_10,
        Format::Y444_10,
        Format::P010,
        Format::Gray16,
        Format::I420_12,
        Format::A420,
        Format::Ayuv,
        Format::Yuy2,
        Format::Uyvy,
        Format::Rgb,
        Format::Bgr,
        Format::Rgbx,
        Format::Bgrx,
        Format::Xrgb,
        Format::Xbgr,
        Format::Rgba,
        Format::Bgra,
        Format::Argb,
        Format::Abgr,
        Format::Rgbp,
        Format::Gbr,
        Format::Gbr10,
    ];

    /// The components; those of a YUV or RGB format in this order, alpha last.
    pub fn components(self) -> &'static [Component] {
        match self {
            Format::I420 => &I420,
            Format::Yv12 => &YV12,
            Format::Nv12 => &NV12,
            Format::Nv21 => &NV21,
            Format::Y42b => &Y42B,
            Format::Y444 => &Y444,
            Format::Gray8 => &GRAY8,
            Format::I420_10 => &I420_10,
            Format::I422_10 => &I422_10,
            Format::Y444_10 => &Y444_10,
            Format::P010 => &P010,
            Format::Gray16 => &GRAY16,
            Format::I420_12 => &I420_12,
            Format::A420 => &A420,
            Format::Ayuv => &AYUV,
            Format::Yuy2 => &YUY2,
            Format::Uyvy => &UYVY,
            Format::Rgb => &RGB,
            Format::Bgr => &BGR,
            Format::Rgbx => &RGBX,
            Format::Bgrx => &BGRX,
            Format::Xrgb => &XRGB,
            Format::Xbgr => &XBGR,
            Format::Rgba => &RGBA,
            Format::Bgra => &BGRA,
            Format::Argb => &ARGB,
            Format::Abgr => &ABGR,
            Format::Rgbp => &RGBP,
            Format::Gbr => &GBR,
            Format::Gbr10 => &GBR10,
        }
    }

    /// How many planes a picture of this format has, 1 to 4.
    pub fn planes(self) -> usize {
        1 + self.components().iter().map(|c| c.plane).max().unwrap_or(0)
    }

    /// Whether the components are red, green and blue.
    pub fn is_rgb(self) -> bool {
        self.components()[0].channel == R
    }

    /// The components of one plane.
    fn of_plane(self, plane: usize) -> impl Iterator<Item = &'static Component> {
        self.components().iter().filter(move |c| c.plane == plane)
    }

    /// Bytes of a row of a plane, whole pixels (of YUY2 and UYVY: whole pairs).
    pub fn row_bytes(self, plane: usize, width: u32) -> usize {
        self.of_plane(plane)
            .map(|c| c.row_bytes(width as usize))
            .max()
            .unwrap_or(0)
    }

    /// Rows of a plane.
    pub fn rows(self, plane: usize, height: u32) -> usize {
        self.of_plane(plane)
            .map(|c| c.height(height as usize))
            .max()
            .unwrap_or(0)
    }

    /// Checks a plane and returns the stride as a length.
    pub(super) fn check(
        self,
        plane: usize,
        size: (u32, u32),
        len: usize,
        stride: isize,
    ) -> Result<usize> {
        let bytes = self.row_bytes(plane, size.0);
        let found = usize::try_from(stride).unwrap_or(0);
        if found < bytes {
            return Err(Error::Stride {
                format: self,
                plane,
                expected: bytes,
                found: stride,
            });
        }
        let expected = found
            .checked_mul(self.rows(plane, size.1) - 1)
            .and_then(|n| n.checked_add(bytes))
            .unwrap_or(usize::MAX);
        if len < expected {
            return Err(Error::PlaneSize {
                format: self,
                plane,
                expected,
                found: len,
            });
        }
        Ok(found)
    }
}
