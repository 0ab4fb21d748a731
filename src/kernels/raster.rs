//! A tensor of `[height, width, channels]` as memory, to read and to write in place; of floats, if nothing else is said.

use std::any::type_name;
use std::marker::PhantomData;

use candle_core::{CpuStorage, InplaceOp1, Layout, Storage, StorageRef, Tensor, bail};
use rayon::prelude::*;

use super::Context;

/// Fewer values than this are not worth a second thread.
const PARALLEL_VALUES: usize = 4096;

/// Where the values of a `[height, width, channels]` tensor lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Rows.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// Values of a pixel.
    pub channels: usize,
    /// Values from a pixel to its right neighbour, at least `channels`.
    pub pixel: usize,
    /// Values from a row to the next, at least a row's content.
    pub row: usize,
}

impl Geometry {
    /// Of a layout.
    ///
    /// # Errors
    /// No three dimensions, empty, or channels that are not adjacent.
    pub fn new(layout: &Layout) -> candle_core::Result<Self> {
        let (height, width, channels) = layout.shape().dims3()?;
        let &[row, pixel, channel] = layout.stride() else {
            bail!("expected a tensor of three dimensions");
        };
        let geometry = Self {
            height,
            width,
            channels,
            pixel: if width == 1 { channels } else { pixel },
            row,
        };
        let geometry = Self {
            row: if height == 1 { geometry.content() } else { row },
            ..geometry
        };
        let unit = channels == 1 || channel == 1;
        if height * width * channels == 0
            || !unit
            || geometry.pixel < channels
            || geometry.row < geometry.content()
        {
            bail!("a tensor {layout:?} is empty or has its channels apart");
        }
        Ok(geometry)
    }

    /// Values from the first to the last value of a row.
    fn content(&self) -> usize {
        (self.width - 1) * self.pixel + self.channels
    }

    /// Values from the first to the last value of all.
    fn len(&self) -> usize {
        (self.height - 1) * self.row + self.content()
    }

    /// Height and width.
    pub fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    /// Of the same floats, seen as words of 16 bits.
    fn of_words(&self) -> candle_core::Result<Self> {
        if self.channels != 1 || self.pixel != 1 {
            bail!(
                "floats to be seen as words have gaps or {} channels",
                self.channels
            );
        }
        Ok(Self {
            width: 2 * self.width,
            row: 2 * self.row,
            ..*self
        })
    }

    /// An error that names `what` unless the size and the number of channels are the given ones.
    pub fn expect(
        &self,
        what: &str,
        size: (usize, usize),
        channels: usize,
    ) -> candle_core::Result<()> {
        if self.size() == size && self.channels == channels {
            return Ok(());
        }
        bail!(
            "{what} is {}x{}x{}, expected {}x{}x{channels}",
            self.height,
            self.width,
            self.channels,
            size.0,
            size.1
        )
    }
}

/// What a tensor on the CPU holds.
pub trait Element: Copy + Send + Sync + 'static {
    /// The values, if they are of this type.
    fn of(storage: &CpuStorage) -> Option<&[Self]>;
    /// The same, to be written.
    fn of_mut(storage: &mut CpuStorage) -> Option<&mut [Self]>;
}

macro_rules! element {
    ($type:ty, $variant:ident) => {
        impl Element for $type {
            fn of(storage: &CpuStorage) -> Option<&[Self]> {
                match storage {
                    CpuStorage::$variant(data) => Some(data),
                    _ => None,
                }
            }

            fn of_mut(storage: &mut CpuStorage) -> Option<&mut [Self]> {
                match storage {
                    CpuStorage::$variant(data) => Some(data),
                    _ => None,
                }
            }
        }
    };
}

element!(f32, F32);
element!(u32, U32);
element!(u8, U8);
element!(i16, I16);
// where the tests play a card
#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
element!(half::f16, F16);

/// A tensor locked for reading.
pub struct Source<'a> {
    storage: StorageRef<'a>,
    layout: &'a Layout,
}

impl<'a> Source<'a> {
    /// Waits until nobody writes to the tensor's storage.
    pub fn lock(tensor: &'a Tensor) -> Self {
        let (storage, layout) = tensor.storage_and_layout();
        Self { storage, layout }
    }

    /// The values, of `f32`.
    ///
    /// # Errors
    /// As [`Source::raster_of`].
    pub fn raster(&self) -> candle_core::Result<Raster<'_>> {
        self.raster_of()
    }

    /// The values.
    ///
    /// # Errors
    /// Another type, not on the CPU, no three dimensions, empty, or channels that are not adjacent.
    pub fn raster_of<T: Element>(&self) -> candle_core::Result<Raster<'_, T>> {
        let geometry = Geometry::new(self.layout)?;
        let data = match &*self.storage {
            Storage::Cpu(storage) => T::of(storage),
            _ => None,
        };
        let Some(data) = data else {
            bail!("expected a tensor of {} on the CPU", type_name::<T>());
        };
        let start = self.layout.start_offset();
        let Some(data) = data.get(start..start + geometry.len()) else {
            bail!("a tensor is longer than its storage");
        };
        Ok(Raster { data, geometry })
    }
}

/// Values to read. `data` holds all that `geometry` reaches.
#[derive(Clone, Copy)]
pub struct Raster<'a, T = f32> {
    data: &'a [T],
    geometry: Geometry,
}

impl<T> std::ops::Deref for Raster<'_, T> {
    type Target = Geometry;

    fn deref(&self) -> &Geometry {
        &self.geometry
    }
}

impl<'a, T> Raster<'a, T> {
    /// All values from the first one on, and what lies between them.
    #[inline]
    pub fn data(&self) -> &'a [T] {
        self.data
    }

    /// A row, from its first value to its last.
    #[inline]
    pub fn row(&self, y: usize) -> &'a [T] {
        &self.data[y * self.row..][..self.content()]
    }

    /// The channels of one pixel.
    #[inline]
    pub fn at(&self, y: usize, x: usize) -> &'a [T] {
        &self.data[y * self.row + x * self.pixel..][..self.channels]
    }

    /// The channels of one pixel, or `None` outside.
    pub fn get(&self, y: isize, x: isize) -> Option<&'a [T]> {
        let (y, x) = (usize::try_from(y).ok()?, usize::try_from(x).ok()?);
        (y < self.height && x < self.width).then(|| self.at(y, x))
    }
}

impl<'a> Raster<'a, f32> {
    /// The same memory as words of 16 bits: two pixels of one word for each float.
    ///
    /// # Errors
    /// More than one channel, or gaps between pixels.
    pub fn words(&self) -> candle_core::Result<Raster<'a, i16>> {
        let geometry = self.geometry.of_words()?;
        let (first, count) = (self.data.as_ptr().cast(), 2 * self.data.len());
        // SAFETY: that is the floats' memory; any bits are words, which need less alignment.
        let data = unsafe { std::slice::from_raw_parts(first, count) };
        Ok(Raster { data, geometry })
    }
}

/// Values to write; the whole storage is exclusively ours meanwhile.
pub struct RasterMut<'a, T = f32> {
    data: &'a mut [T],
    geometry: Geometry,
}

impl<T> std::ops::Deref for RasterMut<'_, T> {
    type Target = Geometry;

    fn deref(&self) -> &Geometry {
        &self.geometry
    }
}

impl RasterMut<'_, f32> {
    /// As [`Raster::words`].
    ///
    /// # Errors
    /// More than one channel, or gaps between pixels.
    pub fn words(&mut self) -> candle_core::Result<RasterMut<'_, i16>> {
        let geometry = self.geometry.of_words()?;
        let (first, count) = (self.data.as_mut_ptr().cast(), 2 * self.data.len());
        // SAFETY: as above, and any words are floats; nobody else has them meanwhile.
        let data = unsafe { std::slice::from_raw_parts_mut(first, count) };
        Ok(RasterMut { data, geometry })
    }
}

impl<T: Element> RasterMut<'_, T> {
    /// A row, from its first value to its last.
    pub fn row_mut(&mut self, y: usize) -> &mut [T] {
        let content = self.geometry.content();
        &mut self.data[y * self.geometry.row..][..content]
    }

    /// All values from the first one on, and what lies between them.
    pub fn data_mut(&mut self) -> &mut [T] {
        self.data
    }

    /// Makes row `to` equal to row `from`, what lies between its pixels included.
    pub fn copy_row(&mut self, from: usize, to: usize) {
        let (row, content) = (self.geometry.row, self.geometry.content());
        self.data
            .copy_within(from * row..from * row + content, to * row);
    }

    /// Calls `f` with the number and the values of each row, on the context's threads if the
    /// raster is large enough. What lies between the pixels must be left alone.
    pub fn for_each_row(&mut self, context: &Context, f: impl Fn(usize, &mut [T]) + Sync) {
        let content = self.geometry.content();
        self.for_each_band(context, 1, |y, band| f(y, &mut band.data[..content]));
    }

    /// The same values, without the rows outside of the range.
    pub fn rows_mut(&mut self, rows: std::ops::Range<usize>) -> RasterMut<'_, T> {
        let geometry = Geometry {
            height: rows.len(),
            ..self.geometry
        };
        let data = &mut self.data[rows.start * geometry.row..][..geometry.len()];
        RasterMut { data, geometry }
    }

    /// Calls `f` with each band of `rows` rows (the last one may have fewer) and the number of its first row, on the
    /// context's threads if the raster is large enough. What lies between the pixels must be left alone.
    pub fn for_each_band(
        &mut self,
        context: &Context,
        rows: usize,
        f: impl Fn(usize, RasterMut<T>) + Sync,
    ) {
        self.for_each_band_with(context, rows, || (), |(), y, band| f(y, band));
    }

    /// As [`RasterMut::for_each_band`], with what `new` makes for all bands that a thread takes at a time.
    pub fn for_each_band_with<S>(
        &mut self,
        context: &Context,
        rows: usize,
        new: impl Fn() -> S + Sync + Send,
        f: impl Fn(&mut S, usize, RasterMut<T>) + Sync,
    ) {
        let geometry = self.geometry;
        let content = geometry.content();
        let band = |own: &mut S, (i, data): (usize, &mut [T])| {
            let height = rows.min(geometry.height - i * rows);
            let geometry = Geometry { height, ..geometry };
            f(own, i * rows, RasterMut { data, geometry });
        };
        let all = &mut self.data[..];
        let bands = all.chunks_mut(rows * geometry.row);
        let threads = context.pool().current_num_threads();
        if geometry.height * content < PARALLEL_VALUES || threads == 1 {
            let mut own = new();
            bands.enumerate().for_each(|of| band(&mut own, of));
        } else {
            context.pool().install(|| {
                let bands = all.par_chunks_mut(rows * geometry.row);
                let most = piece(bands.len(), threads);
                bands
                    .enumerate()
                    .with_max_len(most)
                    .for_each_init(new, band);
            });
        }
    }
}

/// Calls `f` with the number and the values of each row of so many, on the context's threads if there is enough
/// to do.
pub fn for_each_row<T: Send>(
    context: &Context,
    values: &mut [T],
    row: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    if size_of_val(values) < PARALLEL_VALUES * size_of::<f32>()
        || context.pool().current_num_threads() == 1
    {
        values
            .chunks_mut(row)
            .enumerate()
            .for_each(|(y, row)| f(y, row));
    } else {
        context.pool().install(|| {
            let rows = values.par_chunks_mut(row).enumerate();
            let most = piece(rows.len(), context.pool().current_num_threads());
            rows.with_max_len(most).for_each(|(y, row)| f(y, row));
        });
    }
}

/// Calls `f` with the number of each of so many rows of `width` values, on the context's threads if there is enough to do.
pub fn for_each(context: &Context, rows: usize, width: usize, f: impl Fn(usize) + Sync + Send) {
    let threads = context.pool().current_num_threads();
    if rows * width < PARALLEL_VALUES || threads == 1 {
        (0..rows).for_each(f);
    } else {
        let rows = (0..rows).into_par_iter().with_max_len(piece(rows, threads));
        context.pool().install(|| rows.for_each(f));
    }
}

/// Most rows, of so many, that a thread should take at a time: pieces small enough that all end together.
pub fn piece(rows: usize, threads: usize) -> usize {
    const PIECES: usize = 8;
    rows.div_ceil(PIECES * threads).max(1)
}

struct InPlace<F, T> {
    name: &'static str,
    fill: F,
    element: PhantomData<T>,
}

impl<T: Element, F: Fn(RasterMut<T>) -> candle_core::Result<()>> InplaceOp1 for InPlace<F, T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let geometry = Geometry::new(layout)?;
        let Some(data) = T::of_mut(storage) else {
            bail!("{}: expected a tensor of {}", self.name, type_name::<T>());
        };
        let start = layout.start_offset();
        let Some(data) = data.get_mut(start..start + geometry.len()) else {
            bail!("{}: a tensor is longer than its storage", self.name);
        };
        (self.fill)(RasterMut { data, geometry })
    }
}

/// Runs `fill` on `out` as the candle in-place operation `name`. What `fill` reads must live in
/// other storages than `out`: a storage that is being written is locked.
pub fn write(
    name: &'static str,
    out: &Tensor,
    fill: impl Fn(RasterMut) -> candle_core::Result<()>,
) -> candle_core::Result<()> {
    write_of(name, out, fill)
}

/// As [`write`], of another type.
pub fn write_of<T: Element>(
    name: &'static str,
    out: &Tensor,
    fill: impl Fn(RasterMut<T>) -> candle_core::Result<()>,
) -> candle_core::Result<()> {
    let element = PhantomData;
    out.inplace_op1(&InPlace {
        name,
        fill,
        element,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::zeros;

    #[test]
    fn floats_are_seen_as_words_where_they_lie_side_by_side() {
        let whole = zeros(&[3, 8, 1]);
        let right = whole.narrow(1, 4, 4).unwrap();
        write("test", &right, |mut out| {
            let mut words = out.words()?;
            assert_eq!((words.width, words.row), (8, 16));
            (0..3).for_each(|y| words.row_mut(y).fill(y as i16 + 1));
            Ok(())
        })
        .unwrap();
        let source = Source::lock(&whole);
        let words = source.raster().unwrap().words().unwrap();
        for y in 0..3 {
            let want = [[0; 8], [y as i16 + 1; 8]].concat();
            assert_eq!(words.row(y), want);
        }
        for wrong in [
            zeros(&[3, 4, 2]),
            zeros(&[3, 4, 3]).narrow(2, 0, 1).unwrap(),
        ] {
            let source = Source::lock(&wrong);
            assert!(source.raster().unwrap().words().is_err());
        }
    }
}
