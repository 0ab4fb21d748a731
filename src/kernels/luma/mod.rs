//! Luma in bytes: what two pictures are compared by, sample for sample.
//!
//! Eight bits tell enough of what belongs together, and sixteen of them are moved at a time. Codes are 0 to 255 whatever
//! the depth of the picture. A picture is seen in cells of [`SAMPLES`] samples each way, and moved by a flow of the cells.

use std::ops::Range;

use candle_core::{DType, Device, Tensor};

use super::memory::shared;
use super::moved::{BAND, Block, Cells, Flow, TILE, Tile};
use super::raster::{Raster, RasterMut, Source, write, write_of};
use super::{Context, CpuLevel};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod cpu;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) use cpu::{CELLS, cells_of_bytes, cells_of_words, compare, samples};
#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) mod cuda;
mod reference;
pub(super) use reference::difference;
#[cfg(test)]
mod tests;

/// Samples of luma that a cell is wide and high.
pub const SAMPLES: usize = 4;
/// Samples by which warped luma repeats its edge on all sides.
pub const BORDER: usize = 2;
/// Samples that vectors may read beyond a warped row and its border.
const SLACK: usize = 64;
/// Steps of warped luma to a code.
pub const STEPS: f32 = 16.0;
/// The largest code.
pub const MAX: f32 = 255.0;

/// Room for the luma of `height` x `width` samples: `[height, width, 1]` of bytes.
///
/// # Errors
/// Those of the allocation.
pub fn room((height, width): (usize, usize)) -> candle_core::Result<Tensor> {
    Tensor::zeros((height, width, 1), DType::U8, &Device::Cpu)
}

/// Height and width of the warped samples of `h` x `w` cells.
pub fn padded(h: usize, w: usize) -> (usize, usize) {
    let samples = |cells: usize| SAMPLES * cells + 2 * BORDER;
    (samples(h), samples(w) + SLACK)
}

/// Fills `whole`, `[2 h, 2 w, 1]` of bytes, with the luma of a picture, and `half`, `[h, w, 1]` of bytes, with its means of
/// 2x2, both rounded, halves upwards, from `[h, w, 4]`: the 2x2 pixels, row by row, -0.5 to 0.5.
///
/// # Errors
/// Sizes that do not fit.
pub fn gather(
    context: &Context,
    luma: &Tensor,
    whole: &Tensor,
    half: &Tensor,
) -> candle_core::Result<()> {
    let luma = Source::lock(luma);
    let luma = luma.raster()?;
    luma.expect("the luma of pixels", luma.size(), 4)?;
    write_of::<u8>("luma", whole, |mut out| {
        out.expect("luma", (2 * luma.height, 2 * luma.width), 1)?;
        match context.level() {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            CpuLevel::VECTORS if out.pixel == 1 => cpu::spread(&luma, context, &mut out),
            _ => reference::spread(&luma, context, &mut out),
        }
        Ok(())
    })?;
    let whole = Source::lock(whole);
    let whole = whole.raster_of::<u8>()?;
    write_of::<u8>("half luma", half, |mut out| {
        out.expect("half luma", luma.size(), 1)?;
        let pixel = out.pixel;
        out.for_each_row(context, |y, row| {
            let rows = [whole.row(2 * y), whole.row(2 * y + 1)];
            match context.level() {
                #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
                CpuLevel::VECTORS if pixel == 1 && whole.pixel == 1 => cpu::halve_row(rows, row),
                _ => reference::halve_row(rows, whole.pixel, row, pixel),
            }
        });
        Ok(())
    })
}

/// The luma of both sides, warped; for one size of cells. Its values have 16 bits, in the memory of floats, two in each, so that
/// floats may take it when they are not needed.
#[derive(Debug)]
pub struct Warped {
    /// Rows of the left side and of the right one, side by side.
    whole: Tensor,
    sides: [Tensor; 2],
}

impl Warped {
    /// For `height` x `width` cells.
    ///
    /// # Errors
    /// Those of the allocation.
    pub fn new(cells: (usize, usize)) -> candle_core::Result<Self> {
        let (rows, row) = padded(cells.0, cells.1);
        Self::over(
            Tensor::zeros((rows, row, 1), DType::F32, &Device::Cpu)?,
            row,
        )
    }

    /// The same in the memory of what is for more cells, which must not be used together with it.
    ///
    /// # Errors
    /// Those of the allocation.
    pub fn within(cells: (usize, usize), larger: &Self) -> candle_core::Result<Self> {
        let (rows, row) = padded(cells.0, cells.1);
        Self::over(shared(&larger.whole, (rows, row, 1), DType::F32)?, row)
    }

    fn over(whole: Tensor, row: usize) -> candle_core::Result<Self> {
        // a row's length is even
        let side = |i: usize| whole.narrow(1, i * (row / 2), row / 2);
        Ok(Self {
            sides: [side(0)?, side(1)?],
            whole,
        })
    }

    /// All its memory, floats on the CPU without gaps.
    pub fn memory(&self) -> &Tensor {
        &self.whole
    }

    /// Moves both sides' `luma`, bytes of at most 4h x 4w samples and more than 4(h - 1) x 4(w - 1), by `flow`,
    /// `[h, w, 4]` (to the left x, y, to the right x, y), `scale` times of which are samples; see `super::moved`. What it
    /// answers stays until the space is used again.
    ///
    /// A value has [`STEPS`] steps to a code, and 0 is code 128.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn warp(
        &self,
        context: &Context,
        luma: [&Tensor; 2],
        flow: &Tensor,
        scale: f32,
    ) -> candle_core::Result<[&Tensor; 2]> {
        let [left, right] = luma.map(Source::lock);
        let flow = Source::lock(flow);
        let job = Warp {
            luma: [left.raster_of()?, right.raster_of()?],
            flow: Flow {
                cells: flow.raster()?,
                scale,
            },
        };
        write("warp luma", &self.whole, |mut out| {
            let mut out = out.words()?;
            job.expect(&out)?;
            job.run(context, &mut out);
            Ok(())
        })?;
        Ok(self.sides.each_ref())
    }
}

struct Warp<'a> {
    luma: [Raster<'a, u8>; 2],
    flow: Flow<'a>,
}

impl Warp<'_> {
    fn expect(&self, out: &RasterMut<i16>) -> candle_core::Result<()> {
        let (h, w) = self.flow.cells.size();
        let (rows, row) = padded(h, w);
        out.expect("warped luma", (rows, 2 * row), 1)?;
        self.luma.iter().try_for_each(|luma| {
            let size = luma.size();
            let cells = (size.0.div_ceil(SAMPLES), size.1.div_ceil(SAMPLES));
            luma.expect("luma", size, 1)?;
            self.flow.cells.expect("the flow of luma", cells, 4)
        })
    }

    fn run(&self, context: &Context, out: &mut RasterMut<i16>) {
        let samples = SAMPLES * self.flow.cells.height;
        let mut inner = out.rows_mut(BORDER..BORDER + samples);
        let new = || (Block::new(), Cells::new());
        inner.for_each_band_with(context, BAND, new, |(block, cells), top, mut band| {
            self.band(context.widest(), top, (block, cells), &mut band);
        });
        for i in 0..BORDER {
            out.copy_row(BORDER, i);
            out.copy_row(BORDER + samples - 1, BORDER + samples + i);
        }
    }

    /// The rows from sample row `top` on.
    fn band(
        &self,
        level: CpuLevel,
        top: usize,
        (block, cells): (&mut Block, &mut Cells),
        band: &mut RasterMut<i16>,
    ) {
        let samples = SAMPLES * self.flow.cells.width;
        for x in (0..samples).step_by(TILE) {
            let tile = Tile {
                rows: top..top + band.height,
                columns: x..samples.min(x + TILE),
            };
            block.fill(level, &self.flow, None, &tile);
            for i in 0..band.height {
                cells.fill(level, block, &tile, (0, 0), i);
                for (side, row) in self.sides(band.row_mut(i)).into_iter().enumerate() {
                    let row = &mut row[BORDER..BORDER + samples];
                    self.samples(level, (top + i, cells), side, &tile.columns, row);
                }
            }
        }
        for i in 0..band.height {
            for row in self.sides(band.row_mut(i)) {
                let (left, right) = (row[BORDER], row[BORDER + samples - 1]);
                row[..BORDER].fill(left);
                row[BORDER + samples..].fill(right);
            }
        }
    }

    /// Both sides of a row.
    fn sides<'r>(&self, row: &'r mut [i16]) -> [&'r mut [i16]; 2] {
        row.split_at_mut(row.len() / 2).into()
    }

    /// Samples of a row, by the best means there is.
    fn samples(
        &self,
        level: CpuLevel,
        at: (usize, &Cells),
        side: usize,
        samples: &Range<usize>,
        row: &mut [i16],
    ) {
        match level {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            // SAFETY: a context has this level only where the machine has its instructions.
            level if level.has_vectors() && self.luma[side].pixel == 1 => unsafe {
                cpu::samples_moved(level, &self.luma[side], at, side, samples, row);
            },
            _ => reference::samples(&self.luma[side], at, side, samples.clone(), row),
        }
    }
}

/// Fills `out`, `[h, w, 1]`, with the mean absolute difference in each cell of two sides that [`Warped`] has, of luma of
/// range 1.
///
/// # Errors
/// Sizes that do not fit.
pub fn differences(
    context: &Context,
    sides: [&Tensor; 2],
    out: &Tensor,
) -> candle_core::Result<()> {
    let [left, right] = sides.map(Source::lock);
    let sides = Sides {
        left: left.raster()?.words()?,
        right: right.raster()?.words()?,
    };
    write("difference of cells", out, |mut out| {
        let (h, w) = out.size();
        out.expect("the difference of cells", (h, w), 1)?;
        sides.expect(h, w)?;
        match context.level() {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            CpuLevel::VECTORS => cpu::differences(&sides, context, &mut out),
            _ => reference::differences(&sides, context, &mut out),
        }
        Ok(())
    })
}

/// What [`Warped`] has of both pictures.
pub struct Sides<'a> {
    pub left: Raster<'a, i16>,
    pub right: Raster<'a, i16>,
}

impl Sides<'_> {
    /// An error unless both are of `h` x `w` cells.
    pub fn expect(&self, h: usize, w: usize) -> candle_core::Result<()> {
        self.left.expect("the warped left side", padded(h, w), 1)?;
        self.right.expect("the warped right side", padded(h, w), 1)
    }
}

/// A sum of the steps of a cell's samples as a mean of luma of range 1.
#[inline]
pub fn mean_of_cell(sum: u32) -> f32 {
    sum as f32 * (1.0 / ((SAMPLES * SAMPLES) as f32 * STEPS * MAX))
}
