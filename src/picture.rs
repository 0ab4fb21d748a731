//! Planes, strides, format, depth, colour description of a borrowed picture.

use crate::error::{Error, Result};

mod format;
#[cfg(test)]
pub(crate) mod owned;

pub use format::{Channel, Component, Format};

/// How codes become colours: the luma weights of red and blue, and the range of the codes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Color {
    /// Share of red in luma.
    pub kr: f32,
    /// Share of blue in luma.
    pub kb: f32,
    /// Codes use the whole of their depth; otherwise luma is 16 to 235 of 8 bits.
    pub full_range: bool,
}

impl Color {
    /// Standard definition, limited range.
    pub const BT601: Color = Color {
        kr: 0.299,
        kb: 0.114,
        full_range: false,
    };
    /// High definition, limited range.
    pub const BT709: Color = Color {
        kr: 0.2126,
        kb: 0.0722,
        full_range: false,
    };
    /// Ultra high definition, limited range.
    pub const BT2020: Color = Color {
        kr: 0.2627,
        kb: 0.0593,
        full_range: false,
    };
}

/// Checks what is common to both kinds of picture.
fn check_shape(format: Format, width: u32, height: u32, planes: usize) -> Result<()> {
    if width == 0 || height == 0 {
        return Err(Error::EmptyPicture { width, height });
    }
    let expected = format.planes();
    if planes != expected {
        return Err(Error::PlaneCount {
            format,
            expected,
            found: planes,
        });
    }
    Ok(())
}

/// A plane to read: its bytes from the first sample on, and the bytes from row to row.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plane<'a> {
    /// Bytes from the first sample to the end of the last row or beyond.
    pub data: &'a [u8],
    /// Bytes from a row to the next.
    pub stride: usize,
}

impl<'a> Plane<'a> {
    /// Row `y` and whatever lies behind it.
    pub fn row(&self, y: usize) -> &'a [u8] {
        &self.data[y * self.stride..]
    }
}

/// A picture to read. Its planes are large enough for its size.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    format: Format,
    width: u32,
    height: u32,
    color: Color,
    planes: [Plane<'a>; 4],
}

impl<'a> Picture<'a> {
    /// `planes`: bytes and stride of each, in the format's order.
    pub fn new(
        format: Format,
        width: u32,
        height: u32,
        color: Color,
        planes: &[(&'a [u8], isize)],
    ) -> Result<Self> {
        check_shape(format, width, height, planes.len())?;
        let mut own = [Plane::default(); 4];
        for (i, (data, stride)) in planes.iter().enumerate() {
            let stride = format.check(i, (width, height), data.len(), *stride)?;
            own[i] = Plane { data, stride };
        }
        Ok(Picture {
            format,
            width,
            height,
            color,
            planes: own,
        })
    }

    /// Where the samples lie.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Pixels of a row, at least 1.
    pub fn width(&self) -> usize {
        self.width as usize
    }

    /// Rows of pixels, at least 1.
    pub fn height(&self) -> usize {
        self.height as usize
    }

    /// How the stream says that its codes become colours.
    pub fn color(&self) -> Color {
        self.color
    }

    /// Plane `i`, smaller than the format's number of planes.
    pub fn plane(&self, i: usize) -> Plane<'a> {
        self.planes[i]
    }

    /// The bytes of a row of a plane that hold samples, without the padding.
    pub fn row(&self, plane: usize, y: usize) -> &'a [u8] {
        &self.planes[plane].row(y)[..self.format.row_bytes(plane, self.width)]
    }

    /// Whether both show the same, bit for bit; padding between rows does not count.
    pub fn same_samples(&self, other: &Picture) -> bool {
        let shape = |p: &Picture| (p.format, p.width, p.height);
        shape(self) == shape(other)
            && (0..self.format.planes()).all(|p| {
                (0..self.format.rows(p, self.height)).all(|y| self.row(p, y) == other.row(p, y))
            })
    }

    /// Fails unless the picture has this format and size.
    pub fn expect(&self, format: Format, width: u32, height: u32) -> Result<()> {
        expect(
            (format, width, height),
            (self.format, self.width, self.height),
        )
    }
}

fn expect(expected: (Format, u32, u32), found: (Format, u32, u32)) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::PictureMismatch {
        expected_format: expected.0,
        expected_width: expected.1,
        expected_height: expected.2,
        format: found.0,
        width: found.1,
        height: found.2,
    })
}

/// A plane to write.
#[derive(Debug, Default)]
pub struct PlaneMut<'a> {
    /// Bytes from the first sample to the end of the last row or beyond.
    pub data: &'a mut [u8],
    /// Bytes from a row to the next.
    pub stride: usize,
}

/// A picture to write. Its planes are large enough for its size.
#[derive(Debug)]
pub struct PictureMut<'a> {
    format: Format,
    width: u32,
    height: u32,
    planes: [PlaneMut<'a>; 4],
}

impl<'a> PictureMut<'a> {
    /// `planes`: bytes and stride of each, in the format's order; they are taken out of the slice.
    pub fn new(
        format: Format,
        width: u32,
        height: u32,
        planes: &mut [(&'a mut [u8], isize)],
    ) -> Result<Self> {
        check_shape(format, width, height, planes.len())?;
        let mut own: [PlaneMut<'a>; 4] = Default::default();
        for (i, (data, stride)) in planes.iter_mut().enumerate() {
            let stride = format.check(i, (width, height), data.len(), *stride)?;
            own[i] = PlaneMut {
                data: std::mem::take(data),
                stride,
            };
        }
        Ok(PictureMut {
            format,
            width,
            height,
            planes: own,
        })
    }

    /// Where the samples lie.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Pixels of a row, at least 1.
    pub fn width(&self) -> usize {
        self.width as usize
    }

    /// Rows of pixels, at least 1.
    pub fn height(&self) -> usize {
        self.height as usize
    }

    /// All planes at once; those the format lacks are empty.
    pub fn planes_mut(&mut self) -> &mut [PlaneMut<'a>; 4] {
        &mut self.planes
    }

    /// The bytes of a row of a plane that hold samples, without the padding.
    pub fn row_mut(&mut self, plane: usize, y: usize) -> &mut [u8] {
        let bytes = self.format.row_bytes(plane, self.width);
        let p = &mut self.planes[plane];
        &mut p.data[y * p.stride..][..bytes]
    }

    /// Takes over all samples of a picture of the same format and size.
    pub fn copy_from(&mut self, from: &Picture) -> Result<()> {
        from.expect(self.format, self.width, self.height)?;
        for p in 0..self.format.planes() {
            for y in 0..self.format.rows(p, self.height) {
                self.row_mut(p, y).copy_from_slice(from.row(p, y));
            }
        }
        Ok(())
    }

    /// Fails unless the picture has this format and size.
    pub fn expect(&self, format: Format, width: u32, height: u32) -> Result<()> {
        expect(
            (format, width, height),
            (self.format, self.width, self.height),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (u32, u32) = (5, 3);

    #[test]
    fn samples_of_a_plane_do_not_overlap() {
        for format in Format::ALL {
            for plane in 0..format.planes() {
                let mut owner = vec![false; format.row_bytes(plane, SIZE.0)];
                for c in format.components().iter().filter(|c| c.plane == plane) {
                    for x in 0..c.width(SIZE.0 as usize) {
                        for b in 0..c.size() {
                            let at = c.offset + x * c.step + b;
                            assert!(!owner[at], "{format:?} plane {plane} byte {at}");
                            owner[at] = true;
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_code_is_read_as_it_was_written() {
        for format in Format::ALL {
            for c in format.components() {
                let mut row = vec![0xa5; format.row_bytes(c.plane, SIZE.0)];
                for code in [0, 1, c.max() / 2, c.max()] {
                    let x = c.width(SIZE.0 as usize) - 1;
                    c.store(&mut row, x, code);
                    assert_eq!(c.load(&row, x), code, "{format:?} {c:?}");
                }
            }
        }
    }

    #[test]
    fn odd_width_rounds_chroma_up() {
        assert_eq!(Format::I420.row_bytes(1, 5), 3);
        assert_eq!(Format::I420.rows(1, 3), 2);
        assert_eq!(Format::Nv12.row_bytes(1, 5), 6);
        assert_eq!(Format::P010.row_bytes(1, 5), 12);
        assert_eq!(Format::Yuy2.row_bytes(0, 5), 12);
    }

    #[test]
    fn a_plane_that_is_too_small_is_refused() {
        let data = [0u8; 14];
        let new = |len: usize, stride| {
            Picture::new(Format::Gray8, 5, 3, Color::BT709, &[(&data[..len], stride)])
        };
        assert!(new(14, 4).is_err_and(|e| matches!(e, Error::Stride { expected: 5, .. })));
        assert!(new(14, -5).is_err_and(|e| matches!(e, Error::Stride { found: -5, .. })));
        assert!(new(12, 5).is_err_and(|e| matches!(e, Error::PlaneSize { expected: 15, .. })));
        assert!(new(14, isize::MAX).is_err_and(|e| matches!(e, Error::PlaneSize { .. })));
        // the last row may end with its samples
        let row = [0u8; 17];
        assert!(Picture::new(Format::Gray8, 5, 3, Color::BT709, &[(&row, 6)]).is_ok());
    }

    #[test]
    fn a_picture_without_pixels_or_planes_is_refused() {
        let new = |w, h, planes: &[(&'static [u8], isize)]| {
            Picture::new(Format::I420, w, h, Color::BT709, planes).map(|_| ())
        };
        assert!(new(0, 3, &[]).is_err_and(|e| matches!(e, Error::EmptyPicture { .. })));
        assert!(new(5, 3, &[]).is_err_and(|e| matches!(e, Error::PlaneCount { expected: 3, .. })));
    }

    #[test]
    fn padding_is_no_part_of_a_picture() {
        let a: Vec<u8> = (0..24).collect();
        let changed = |at: usize| {
            let mut b = a.clone();
            b[at] = 99;
            b
        };
        fn picture(data: &[u8]) -> Picture<'_> {
            Picture::new(Format::Gray8, 5, 3, Color::BT709, &[(data, 8)]).unwrap()
        }
        assert!(picture(&a).same_samples(&picture(&changed(7))));
        assert!(!picture(&a).same_samples(&picture(&changed(4))));
    }
}
