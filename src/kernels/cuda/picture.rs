//! A picture in the device's memory, in its own format.

#[cfg(feature = "cuda")]
use std::ops::Range;

use candle_core::{DType, Device, Tensor, bail};

#[cfg(feature = "cuda")]
use super::DeviceRaster;
use super::{Argument, Card};
#[cfg(feature = "cuda")]
use crate::error::Error;
#[cfg(feature = "cuda")]
use crate::picture::PictureMut;
use crate::picture::{Component, Format};

/// Rows of a [`Sheet`] begin at multiples of this: what a warp reads at once.
const ALIGNED: usize = 32;

/// Memory for the planes of one picture; a clone is the same memory.
#[derive(Debug, Clone)]
pub struct Sheet {
    /// `[1, n, 1]`.
    bytes: Tensor,
    format: Format,
    width: usize,
    height: usize,
    /// Where each plane begins, and bytes from a row to the next.
    planes: [(usize, usize); 4],
}

impl Sheet {
    /// For pictures of this format, width and height.
    ///
    /// # Errors
    /// Those of the allocation.
    pub fn new(
        format: Format,
        (width, height): (usize, usize),
        device: &Device,
    ) -> candle_core::Result<Self> {
        let (mut planes, mut end) = ([(0, 0); 4], 0);
        for (i, plane) in planes.iter_mut().enumerate().take(format.planes()) {
            let stride = format.row_bytes(i, width as u32);
            let stride = stride.next_multiple_of(ALIGNED);
            *plane = (end, stride);
            end += stride * format.rows(i, height as u32);
        }
        Ok(Self {
            bytes: Tensor::zeros((1, end, 1), DType::U8, device)?,
            format,
            width,
            height,
            planes,
        })
    }

    /// Bytes, those between rows with them.
    #[cfg(feature = "cuda")]
    pub fn room(&self) -> usize {
        self.bytes.elem_count()
    }

    /// Format, width and height of the picture.
    #[cfg(feature = "cuda")]
    pub fn shape(&self) -> (Format, usize, usize) {
        (self.format, self.width, self.height)
    }

    /// An error unless a picture has the same format and size.
    ///
    /// # Errors
    /// As said.
    #[cfg(feature = "cuda")]
    pub fn expect(&self, picture: &PictureMut) -> Result<(), Error> {
        picture.expect(self.format, self.width as u32, self.height as u32)
    }

    /// Which of the bytes are the rows of a plane, and how far apart rows are.
    #[cfg(feature = "cuda")]
    pub fn rows(&self, plane: usize) -> (Range<usize>, usize) {
        let (first, stride) = self.planes[plane];
        let rows = self.format.rows(plane, self.height as u32);
        (first..first + rows * stride, stride)
    }

    /// All bytes, `[1, n, 1]`; those between rows are 0 as long as nobody else writes them.
    #[cfg(feature = "cuda")]
    pub fn all_on(&self, card: &dyn Card) -> candle_core::Result<DeviceRaster<u8>> {
        card.bytes(&self.bytes)
    }

    /// Where the picture lies.
    ///
    /// # Errors
    /// It is not on the card.
    pub fn on(&self, card: &dyn Card) -> candle_core::Result<DevicePicture> {
        let first = card.bytes(&self.bytes)?.address();
        let (format, width, height) = (self.format, self.width, self.height);
        Ok(DevicePicture {
            format,
            width,
            height,
            planes: self.planes.map(|(at, stride)| (first + at as u64, stride)),
        })
    }
}

/// Where the planes of a picture lie.
#[derive(Debug, Clone, Copy)]
pub struct DevicePicture {
    /// Its format.
    pub format: Format,
    /// Pixels.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Address, and bytes from a row to the next, of each plane; where samples have 16 bits both are even.
    pub planes: [(u64, usize); 4],
}

/// A component as a kernel gets it.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct RawComponent {
    data: u64,
    stride: i64,
    step: i32,
    size: i32,
    sub_x: i32,
    sub_y: i32,
    shift: i32,
    max: i32,
}

/// A picture, or some of its components, as a kernel gets it.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct RawPicture {
    components: [RawComponent; 4],
    count: i32,
    width: i32,
    height: i32,
    unused: i32,
}

// SAFETY: plain numbers without bytes between them.
unsafe impl Argument for RawPicture {}
// SAFETY: plain numbers without bytes between them.
unsafe impl Argument for RawComponent {}

impl DevicePicture {
    /// As a kernel gets it, with all components.
    ///
    /// # Errors
    /// Samples of 16 bits at odd addresses.
    pub fn raw(&self) -> candle_core::Result<RawPicture> {
        self.of(self.format.components())
    }

    /// As a kernel gets it, with these components.
    ///
    /// # Errors
    /// Samples of 16 bits at odd addresses.
    pub fn of(&self, components: &[Component]) -> candle_core::Result<RawPicture> {
        let mut raw = RawPicture {
            components: Default::default(),
            count: components.len() as i32,
            width: self.width as i32,
            height: self.height as i32,
            unused: 0,
        };
        for (raw, c) in raw.components.iter_mut().zip(components) {
            *raw = self.component(c)?;
        }
        Ok(raw)
    }

    /// A component as a kernel gets it.
    ///
    /// # Errors
    /// Samples of 16 bits at odd addresses.
    pub fn component(&self, c: &Component) -> candle_core::Result<RawComponent> {
        let (address, stride) = self.planes[c.plane];
        if c.size() == 2 && !(address | stride as u64).is_multiple_of(2) {
            bail!("plane {} of a picture lies at odd addresses", c.plane);
        }
        Ok(RawComponent {
            data: address + c.offset as u64,
            stride: stride as i64,
            step: c.step as i32,
            size: c.size() as i32,
            sub_x: c.sub_x as i32,
            sub_y: c.sub_y as i32,
            shift: c.shift as i32,
            max: c.max() as i32,
        })
    }

    /// The bytes of a plane, as if they were the samples of a component.
    pub fn bytes(&self, plane: usize) -> RawComponent {
        let (data, stride) = self.planes[plane];
        RawComponent {
            data,
            stride: stride as i64,
            step: 1,
            size: 1,
            max: 255,
            ..Default::default()
        }
    }

    /// An error unless format and size are those of another picture.
    ///
    /// # Errors
    /// As said.
    pub fn expect(&self, other: &Self) -> candle_core::Result<()> {
        let shape = |p: &Self| (p.format, p.width, p.height);
        if shape(self) != shape(other) {
            bail!("a picture {:?}, expected {:?}", shape(self), shape(other));
        }
        Ok(())
    }
}

#[cfg(test)]
pub mod testing {
    //! Pictures in memory that stands in for the device's.

    use super::DevicePicture;
    use crate::picture::{Format, Picture};

    /// Planes from even addresses on, with even strides, and bytes of their own between the rows and at the end.
    pub struct Planes {
        format: Format,
        size: (usize, usize),
        planes: Vec<(Vec<u64>, usize)>,
    }

    const BESIDE: u64 = 0xcdcd_cdcd_cdcd_cdcd;
    const GUARD: usize = 4;

    impl Planes {
        /// Room for a picture of the same format and size, its rows `padding` bytes (even) apart.
        pub fn room(like: &Picture, padding: usize) -> Self {
            let format = like.format();
            let size = (like.width(), like.height());
            let plane = |p| {
                let bytes = format.row_bytes(p, size.0 as u32);
                let stride = bytes.next_multiple_of(2) + padding;
                let rows = format.rows(p, size.1 as u32);
                let words = (stride * rows).div_ceil(8) + 2 * GUARD;
                (vec![BESIDE; words], stride)
            };
            let planes = (0..format.planes()).map(plane).collect();
            Self {
                format,
                size,
                planes,
            }
        }

        /// A copy of a picture.
        pub fn of(picture: &Picture) -> Self {
            let mut planes = Self::room(picture, 6);
            for p in 0..planes.format.planes() {
                for y in 0..planes.format.rows(p, picture.height() as u32) {
                    let row = picture.row(p, y);
                    planes.row_mut(p, y)[..row.len()].copy_from_slice(row);
                }
            }
            planes
        }

        fn bytes(&self, p: usize) -> &[u8] {
            let words = &self.planes[p].0;
            // SAFETY: words are bytes.
            unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), 8 * words.len()) }
        }

        fn row_mut(&mut self, p: usize, y: usize) -> &mut [u8] {
            let (words, stride) = &mut self.planes[p];
            // SAFETY: words are bytes.
            let bytes = unsafe {
                std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), 8 * words.len())
            };
            &mut bytes[8 * GUARD + y * *stride..][..*stride]
        }

        /// A row's samples.
        pub fn row(&self, p: usize, y: usize) -> &[u8] {
            let stride = self.planes[p].1;
            let bytes = self.format.row_bytes(p, self.size.0 as u32);
            &self.bytes(p)[8 * GUARD + y * stride..][..bytes]
        }

        /// Where they lie, as if that were on the device; to be written, too.
        pub fn device(&self) -> DevicePicture {
            let mut planes = [(0, 0); 4];
            for (place, (words, stride)) in planes.iter_mut().zip(&self.planes) {
                *place = (words[GUARD..].as_ptr() as u64, *stride);
            }
            DevicePicture {
                format: self.format,
                width: self.size.0,
                height: self.size.1,
                planes,
            }
        }

        /// Fails where a byte outside the rows was written.
        pub fn assert_guarded(&self, what: &str) {
            for (p, (_, stride)) in self.planes.iter().enumerate() {
                let row = self.format.row_bytes(p, self.size.0 as u32);
                let end = self.format.rows(p, self.size.1 as u32) * stride;
                for (i, byte) in self.bytes(p).iter().enumerate() {
                    let inside = i >= 8 * GUARD && i - 8 * GUARD < end;
                    let inside = inside && (i - 8 * GUARD) % stride < row;
                    assert!(inside || *byte == 0xcd, "{what}: plane {p} byte {i}");
                }
            }
        }
    }
}
