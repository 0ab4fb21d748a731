//! One picture from two: flow and mask upsampled on the fly, two bilinear taps, blend, rounding,
//! in the planes and the depth of the stream.
//!
//! Flow and mask lie on the lattice of `super::moved`. A subsampled plane is centred on the same area as luma. They
//! may also lie on the pixels themselves; then a sample of a subsampled plane has their mean.
//!
//! Where the samples of sixteen bytes are the same in both pictures and hardly move, the bytes are
//! copied: what stands still is kept bit for bit, whatever noise the flow has there.

use std::ops::Range;

use candle_core::Tensor;

use super::moved::{BAND, Block, Cells, FLOW_BITS, Flow, SEGMENT, TILE, Tile, subsampled};
use super::raster::{self, Raster, Source};
use super::{Context, CpuLevel};
use crate::error::{Error, Result};
use crate::picture::{Component, Format, Picture, PictureMut, Plane};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod cpu;
#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
pub(crate) mod cuda;
mod reference;
#[cfg(test)]
mod tests;

/// Steps of flow, half a luma pixel, that a static area may seem to move and is still static.
const STATIC_FLOW: u16 = 1 << (FLOW_BITS - 1);

/// Components whose samples lie side by side in one plane, at the same positions.
#[derive(Debug, Clone)]
struct Group {
    components: Vec<Component>,
    /// Whether every byte of the plane belongs to one of them.
    whole: bool,
}

impl Group {
    fn first(&self) -> &Component {
        &self.components[0]
    }

    /// Samples that are made together; a power of two.
    fn segment(&self) -> usize {
        SEGMENT / self.first().step.next_power_of_two()
    }

    /// Subsampling of width and height, log2.
    fn sub(&self) -> (u32, u32) {
        (self.first().sub_x, self.first().sub_y)
    }
}

/// The groups of a format.
fn groups(format: Format) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for &c in format.components() {
        let key = |c: &Component| (c.plane, c.step, c.sub_x, c.sub_y);
        match groups.iter_mut().find(|g| key(g.first()) == key(&c)) {
            Some(g) => g.components.push(c),
            None => groups.push(Group {
                components: vec![c],
                whole: false,
            }),
        }
    }
    for g in &mut groups {
        g.whole = g.components.iter().map(Component::size).sum::<usize>() == g.first().step;
    }
    groups
}

/// One row of a group in both source pictures.
struct Row<'a> {
    group: &'a Group,
    left: Plane<'a>,
    right: Plane<'a>,
    y: usize,
    /// Samples in a row of the group's plane.
    width: usize,
    /// Rows of the group's plane.
    height: usize,
}

/// What all rows have in common.
struct Job<'a> {
    left: &'a Picture<'a>,
    right: &'a Picture<'a>,
    flow: Raster<'a>,
    mask: Raster<'a>,
    lattice: Lattice,
    groups: Vec<Group>,
    strides: [usize; 4],
    level: CpuLevel,
}

/// Where flow and mask lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lattice {
    /// One value for 4x4 pixels.
    Quarter,
    /// One for each pixel.
    Full,
}

impl Lattice {
    /// Pixels of a cell along a side.
    pub fn pixels(self) -> usize {
        match self {
            Self::Quarter => 4,
            Self::Full => 1,
        }
    }
}

/// The rows of an output that one thread makes: `rows` of luma and what belongs to them. Planes begin
/// with the first.
struct Band<'a> {
    planes: [&'a mut [u8]; 4],
    rows: Range<usize>,
}

/// Makes `out` from `left` and `right`, all of one format and size.
///
/// `flow` is `[h, w, 4]`: where a pixel lies in the left and in the right picture, relative to its
/// own position, in pixels of the full picture, (x, y) each. `mask` is `[h, w, 1]`: the left one's
/// weight. `h` and `w` are at least the picture's size in cells of the lattice, rounded up.
/// Coordinates are clamped to the picture; a value that is no number counts as 0.
/// Flow counts in 1/128 pixel; where it differs by more than 256 pixels within 16 rows of 2048
/// pixels, it is cut there.
///
/// # Errors
/// Formats or sizes differ, or the lattice is too small.
pub fn synthesise(
    context: &Context,
    left: &Picture,
    right: &Picture,
    (flow, mask, lattice): (&Tensor, &Tensor, Lattice),
    out: &mut PictureMut,
) -> Result<()> {
    let (width, height) = (left.width() as u32, left.height() as u32);
    right.expect(left.format(), width, height)?;
    out.expect(left.format(), width, height)?;
    let (flow, mask) = (Source::lock(flow), Source::lock(mask));
    let (flow, mask) = (flow.raster()?, mask.raster()?);
    let cells = (
        left.height().div_ceil(lattice.pixels()).max(flow.height),
        left.width().div_ceil(lattice.pixels()).max(flow.width),
    );
    flow.expect("flow", cells, 4)?;
    mask.expect("mask", cells, 1)?;
    if lattice == Lattice::Quarter && (flow.pixel != 4 || mask.pixel != 1) {
        let message = "flow and mask must not be parts of wider tensors".into();
        return Err(Error::Candle(candle_core::Error::Msg(message)));
    }

    let planes = out.planes_mut();
    let job = Job {
        left,
        right,
        flow,
        mask,
        lattice,
        groups: groups(left.format()),
        strides: planes.each_ref().map(|p| p.stride),
        level: context.widest(),
    };
    let band = Band {
        planes: planes.each_mut().map(|p| &mut *p.data),
        rows: 0..left.height(),
    };
    // Even for one thread: outside of a pool, what is joined runs on all of the machine's.
    let pool = context.pool();
    let rows = raster::piece(left.height().div_ceil(BAND), pool.current_num_threads());
    pool.install(|| job.run(rows * BAND, band));
    Ok(())
}

impl Job<'_> {
    /// Halves a band until it has no more than so many rows; the halves may run side by side.
    fn run(&self, most: usize, band: Band) {
        if band.rows.len() <= most {
            return self.bands(band);
        }
        let middle = band.rows.start + (band.rows.len() / 2).next_multiple_of(BAND);
        let (above, below) = self.split(band, middle);
        rayon::join(|| self.run(most, above), || self.run(most, below));
    }

    /// What is made together, one after the other.
    fn bands(&self, mut band: Band) {
        let (mut block, mut cells) = (Block::new(), Cells::new());
        while band.rows.len() > BAND {
            let middle = band.rows.start + BAND;
            let (mut first, rest) = self.split(band, middle);
            self.band(&mut first, (&mut block, &mut cells));
            band = rest;
        }
        self.band(&mut band, (&mut block, &mut cells));
    }

    fn split<'b>(&self, band: Band<'b>, middle: usize) -> (Band<'b>, Band<'b>) {
        let rows = self.left.height();
        let mut above = Band {
            planes: Default::default(),
            rows: band.rows.start..middle,
        };
        let mut below = Band {
            planes: Default::default(),
            rows: middle..band.rows.end,
        };
        for (i, plane) in band.planes.into_iter().enumerate() {
            let sub_y = self
                .groups
                .iter()
                .find(|g| g.first().plane == i)
                .map_or(0, |g| g.first().sub_y);
            debug_assert!(middle <= rows.next_multiple_of(BAND));
            let at = ((middle - band.rows.start) >> sub_y) * self.strides[i];
            (above.planes[i], below.planes[i]) = plane.split_at_mut(at.min(plane.len()));
        }
        (above, below)
    }

    fn band(&self, band: &mut Band, (block, cells): (&mut Block, &mut Cells)) {
        self.copy_unused(band);
        let width = self.left.width();
        for x in (0..width).step_by(TILE) {
            let tile = Tile {
                rows: band.rows.clone(),
                columns: x..width.min(x + TILE),
            };
            if self.lattice == Lattice::Quarter {
                let flow = Flow {
                    cells: self.flow,
                    scale: 1.0,
                };
                block.fill(self.level, &flow, Some(&self.mask), &tile);
            }
            for sub in [(0, 0), (1, 0), (1, 1)] {
                self.tile(&tile, sub, block, cells, band);
            }
        }
    }

    /// In planes with bytes that belong to no component or to several groups, begins with the left
    /// picture's.
    fn copy_unused(&self, band: &mut Band) {
        for group in self.groups.iter().filter(|g| !g.whole) {
            let plane = group.first().plane;
            let rows = subsampled(&band.rows, group.first().sub_y);
            for (i, y) in rows.enumerate() {
                let from = self.left.row(plane, y);
                band.planes[plane][i * self.strides[plane]..][..from.len()].copy_from_slice(from);
            }
        }
    }

    /// A tile of all planes that are so subsampled; rows of different planes share their cells.
    fn tile(
        &self,
        tile: &Tile,
        sub: (u32, u32),
        block: &Block,
        cells: &mut Cells,
        band: &mut Band,
    ) {
        let groups = || self.groups.iter().filter(|g| g.sub() == sub);
        if groups().next().is_none() {
            return;
        }
        for (i, y) in subsampled(&tile.rows, sub.1).enumerate() {
            match self.lattice {
                Lattice::Quarter => cells.fill(self.level, block, tile, sub, i),
                Lattice::Full => cells.fill_full(&self.flow, &self.mask, tile, sub, y),
            }
            for group in groups() {
                let c = group.first();
                let row = Row {
                    group,
                    left: self.left.plane(c.plane),
                    right: self.right.plane(c.plane),
                    y,
                    width: c.width(self.left.width()),
                    height: c.height(self.left.height()),
                };
                let out = &mut band.planes[c.plane][i * self.strides[c.plane]..];
                let out = &mut out[..row.width * c.step];
                row_of_tile(self.level, &row, cells, tile.samples(sub), out);
            }
        }
    }
}

/// The samples of one tile of a row, by the best means there is.
fn row_of_tile(level: CpuLevel, row: &Row, cells: &Cells, samples: Range<usize>, out: &mut [u8]) {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    if level.has_vectors() {
        // SAFETY: a context has this level only where the machine has its instructions.
        unsafe { cpu::samples(level, row, cells, samples, out) };
        return;
    }
    let _ = level;
    reference::samples(row, cells, samples, out);
}
