//! Pictures copied to page-locked memory and from it by several threads, band by band: one crosses over while the next is copied.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::kernels::Context;
use crate::picture::{Format, Picture, Plane, PlaneMut};

/// Bytes that a thread copies at a time.
const PIECE: usize = 1 << 16;
/// Bytes of a band at least, but for the last: one of less is sooner copied than told of.
const BAND: usize = 1 << 19;

/// Rows of a plane that one thread copies.
#[derive(Debug, Clone)]
struct Piece {
    plane: usize,
    rows: Range<usize>,
    /// Bytes from a row to the next in the page-locked memory, and of each those that hold samples.
    stride: usize,
    bytes: usize,
}

/// What crosses over in one piece.
#[derive(Debug)]
pub struct Band {
    pieces: Vec<Piece>,
    /// Where its rows lie in the page-locked memory.
    pub at: Range<usize>,
}

/// The bands of a picture of this format, width and height, whose planes lie one behind the other with so many bytes from a row
/// to the next.
pub fn bands(
    format: Format,
    (width, height): (u32, u32),
    strides: impl Iterator<Item = usize>,
) -> Vec<Band> {
    let (mut bands, mut pieces, mut at) = (Vec::new(), Vec::new(), 0..0);
    for (plane, stride) in strides.enumerate().take(format.planes()) {
        let bytes = format.row_bytes(plane, width);
        let (count, step) = (format.rows(plane, height), (PIECE / stride).max(1));
        for first in (0..count).step_by(step) {
            let rows = first..count.min(first + step);
            at.end += rows.len() * stride;
            pieces.push(Piece {
                plane,
                rows,
                stride,
                bytes,
            });
            if at.len() >= BAND {
                let pieces = std::mem::take(&mut pieces);
                bands.push(Band {
                    pieces,
                    at: at.clone(),
                });
                at.start = at.end;
            }
        }
    }
    if !pieces.is_empty() {
        bands.push(Band { pieces, at });
    }
    bands
}

/// Copies rows; there may be more of them in `from`.
fn copy(from: Plane, to: PlaneMut, bytes: usize) {
    let rows = to.data.chunks_mut(to.stride);
    for (from, to) in from.data.chunks(from.stride).zip(rows) {
        to[..bytes].copy_from_slice(&from[..bytes]);
    }
}

/// The first bytes, which are taken off.
fn take<'a>(rest: &mut &'a mut [u8], count: usize) -> &'a mut [u8] {
    let all = std::mem::take(rest);
    let (first, behind) = all.split_at_mut(count.min(all.len()));
    *rest = behind;
    first
}

/// Copies all bands of a picture to `staged`, on the threads of `cpu`; each of them calls `whole` where it has finished a band.
pub fn copy_there(
    cpu: &Context,
    bands: &[Band],
    from: &Picture,
    mut staged: &mut [u8],
    whole: impl Fn(&Band) + Sync,
) {
    let left: Vec<_> = bands.iter().map(|b| b.pieces.len().into()).collect();
    let (left, whole): (&[AtomicUsize], _) = (&left, &whole);
    cpu.pool().scope_fifo(|scope| {
        for (band, left) in bands.iter().zip(left) {
            for piece in &band.pieces {
                let to = PlaneMut {
                    data: take(&mut staged, piece.rows.len() * piece.stride),
                    stride: piece.stride,
                };
                let Plane { data, stride } = from.plane(piece.plane);
                let data = &data[piece.rows.start * stride..];
                scope.spawn_fifo(move |_| {
                    copy(Plane { data, stride }, to, piece.bytes);
                    if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                        whole(band);
                    }
                });
            }
        }
    });
}

/// Copies all bands to the planes of a picture, on the threads of `cpu`; of each band its bytes are `arrived`.
///
/// # Errors
/// Those of `arrived`: then nothing of that band and of those behind it is copied.
pub fn copy_here<'a, E: Send>(
    cpu: &Context,
    bands: &'a [Band],
    mut arrived: impl FnMut(usize, &'a Band) -> Result<&'a [u8], E> + Send,
    planes: &mut [PlaneMut; 4],
) -> Result<(), E> {
    let mut planes = planes.each_mut().map(|p| (&mut *p.data, p.stride));
    cpu.pool().scope_fifo(|scope| {
        for (number, band) in bands.iter().enumerate() {
            let mut staged = arrived(number, band)?;
            for piece in &band.pieces {
                let (from, behind) = staged.split_at(piece.rows.len() * piece.stride);
                staged = behind;
                let (rest, stride) = &mut planes[piece.plane];
                let (stride, from_stride) = (*stride, piece.stride);
                let data = take(rest, piece.rows.len() * stride);
                scope.spawn_fifo(move |_| {
                    let from = Plane {
                        data: from,
                        stride: from_stride,
                    };
                    copy(from, PlaneMut { data, stride }, piece.bytes);
                });
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;

    use super::*;
    use crate::picture::owned::{Noise, Owned};

    const SIZES: [(u32, u32); 4] = [(1, 1), (67, 5), (640, 363), (1923, 1081)];

    /// Bytes from a row of a plane to the next in page-locked memory.
    fn strides(format: Format, width: u32) -> Vec<usize> {
        let stride = |p| format.row_bytes(p, width).next_multiple_of(32);
        (0..format.planes()).map(stride).collect()
    }

    #[test]
    fn bands_are_all_of_a_picture_once_and_in_order() {
        for size in SIZES {
            let strides = strides(Format::I420, size.0);
            let bands = bands(Format::I420, size, strides.iter().copied());
            let mut next = (0, [0; 3]);
            for (number, band) in bands.iter().enumerate() {
                assert_eq!(band.at.start, next.0, "{size:?}");
                for piece in &band.pieces {
                    assert_eq!(piece.rows.start, next.1[piece.plane]);
                    next.1[piece.plane] = piece.rows.end;
                    next.0 += piece.rows.len() * strides[piece.plane];
                }
                assert_eq!(band.at.end, next.0, "{size:?}");
                assert!(number + 1 == bands.len() || band.at.len() >= BAND);
            }
            assert_eq!(next.1, [0, 1, 2].map(|p| Format::I420.rows(p, size.1)));
        }
    }

    #[test]
    fn rows_are_copied_there_and_back_and_nothing_between_them() {
        let cpu = Context::new(3).unwrap();
        for format in [Format::I420, Format::P010, Format::Rgb] {
            for size in SIZES {
                let strides = strides(format, size.0);
                let bands = bands(format, size, strides.iter().copied());
                let picture = Owned::new(format, size, 3).noise(&mut Noise::new(7));
                let mut staged = vec![0xa5; bands.last().unwrap().at.end];
                let whole = Mutex::new(Vec::new());
                copy_there(&cpu, &bands, &picture.picture(), &mut staged, |band| {
                    whole.lock().unwrap().push(band.at.clone());
                });
                let mut whole = whole.into_inner().unwrap();
                whole.sort_by_key(|at| at.start);
                let all: Vec<_> = bands.iter().map(|band| band.at.clone()).collect();
                assert_eq!(whole, all);
                let mut at = 0;
                for (plane, stride) in strides.iter().enumerate() {
                    let bytes = format.row_bytes(plane, size.0);
                    for y in 0..format.rows(plane, size.1) {
                        let (row, beside) = staged[at..at + stride].split_at(bytes);
                        assert_eq!(row, picture.picture().row(plane, y), "{size:?} row {y}");
                        assert!(beside.iter().all(|byte| *byte == 0xa5));
                        at += stride;
                    }
                }
                let mut back = Owned::new(format, size, 5);
                let arrived = |_, band: &Band| Ok::<_, Infallible>(&staged[band.at.clone()]);
                copy_here(&cpu, &bands, arrived, back.picture_mut().planes_mut()).unwrap();
                assert!(back.picture().same_samples(&picture.picture()), "{size:?}");
                back.assert_guarded("copied back");
            }
        }
    }

    #[test]
    fn a_band_that_does_not_arrive_is_an_error_and_not_copied() {
        let (cpu, size) = (Context::new(2).unwrap(), (1920, 1080));
        let strides = strides(Format::Gray8, size.0);
        let bands = bands(Format::Gray8, size, strides.iter().copied());
        let staged = vec![9; bands.last().unwrap().at.end];
        let mut out = Owned::new(Format::Gray8, size, 0);
        let before = out.picture().row(0, 1079).to_vec();
        let arrived = |number, band: &Band| match number {
            0 => Ok(&staged[band.at.clone()]),
            _ => Err("lost"),
        };
        let copied = copy_here(&cpu, &bands, arrived, out.picture_mut().planes_mut());
        assert_eq!(copied, Err("lost"));
        assert!(out.picture().row(0, 0).iter().all(|byte| *byte == 9));
        assert_eq!(out.picture().row(0, 1079), before);
    }
}
