//! A tensor of `[height, width, channels]` as memory, to read and to write in place.

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
    /// Floats from a pixel to its right neighbour, at least `channels`.
    pub pixel: usize,
    /// Floats from a row to the next, at least a row's content.
    pub row: usize,
}

impl Geometry {
    fn new(layout: &Layout) -> candle_core::Result<Self> {
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

    /// Floats from the first to the last value of a row.
    fn content(&self) -> usize {
        (self.width - 1) * self.pixel + self.channels
    }

    /// Floats from the first to the last value of all.
    fn len(&self) -> usize {
        (self.height - 1) * self.row + self.content()
    }

    /// Height and width.
    pub fn size(&self) -> (usize, usize) {
        (self.height, self.width)
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

    /// The values.
    ///
    /// # Errors
    /// No `f32` on the CPU, no three dimensions, empty, or channels that are not adjacent.
    pub fn raster(&self) -> candle_core::Result<Raster<'_>> {
        let geometry = Geometry::new(self.layout)?;
        let Storage::Cpu(CpuStorage::F32(data)) = &*self.storage else {
            bail!("expected a tensor of f32 on the CPU");
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
pub struct Raster<'a> {
    data: &'a [f32],
    geometry: Geometry,
}

impl std::ops::Deref for Raster<'_> {
    type Target = Geometry;

    fn deref(&self) -> &Geometry {
        &self.geometry
    }
}

impl<'a> Raster<'a> {
    /// A row, from its first value to its last.
    #[inline]
    pub fn row(&self, y: usize) -> &'a [f32] {
        &self.data[y * self.row..][..self.content()]
    }

    /// The channels of one pixel.
    #[inline]
    pub fn at(&self, y: usize, x: usize) -> &'a [f32] {
        &self.data[y * self.row + x * self.pixel..][..self.channels]
    }

    /// The channels of one pixel, or `None` outside.
    pub fn get(&self, y: isize, x: isize) -> Option<&'a [f32]> {
        let (y, x) = (usize::try_from(y).ok()?, usize::try_from(x).ok()?);
        (y < self.height && x < self.width).then(|| self.at(y, x))
    }
}

/// Values to write; the whole storage is exclusively ours meanwhile.
pub struct RasterMut<'a> {
    data: &'a mut [f32],
    geometry: Geometry,
}

impl std::ops::Deref for RasterMut<'_> {
    type Target = Geometry;

    fn deref(&self) -> &Geometry {
        &self.geometry
    }
}

impl RasterMut<'_> {
    /// A row, from its first value to its last.
    pub fn row_mut(&mut self, y: usize) -> &mut [f32] {
        let content = self.geometry.content();
        &mut self.data[y * self.geometry.row..][..content]
    }

    /// Makes row `to` equal to row `from`, what lies between its pixels included.
    pub fn copy_row(&mut self, from: usize, to: usize) {
        let (row, content) = (self.geometry.row, self.geometry.content());
        self.data
            .copy_within(from * row..from * row + content, to * row);
    }

    /// Calls `f` with the number and the values of each row, on the context's threads if the
    /// raster is large enough. What lies between the pixels must be left alone.
    pub fn for_each_row(&mut self, context: &Context, f: impl Fn(usize, &mut [f32]) + Sync) {
        let content = self.geometry.content();
        self.for_each_band(context, 1, |y, row| f(y, &mut row[..content]));
    }

    /// As [`RasterMut::for_each_row`] with bands of `rows` rows, fewer in the last one: the number
    /// of the first row, and all from its first value on.
    pub fn for_each_band(
        &mut self,
        context: &Context,
        rows: usize,
        f: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        let values = self.height * self.geometry.content();
        let band = rows * self.row;
        if values < PARALLEL_VALUES || context.pool().current_num_threads() == 1 {
            for (i, band) in self.data.chunks_mut(band).enumerate() {
                f(i * rows, band);
            }
        } else {
            context.pool().install(|| {
                let bands = self.data.par_chunks_mut(band).enumerate();
                bands.for_each(|(i, band)| f(i * rows, band));
            });
        }
    }
}

struct InPlace<F> {
    name: &'static str,
    fill: F,
}

impl<F: Fn(RasterMut) -> candle_core::Result<()>> InplaceOp1 for InPlace<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let geometry = Geometry::new(layout)?;
        let CpuStorage::F32(data) = storage else {
            bail!("{}: expected a tensor of f32", self.name);
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
    out.inplace_op1(&InPlace { name, fill })
}
