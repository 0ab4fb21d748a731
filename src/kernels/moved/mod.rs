//! Samples of a plane that a flow moves, in fixed point: how a picture is synthesised and how luma is compared.
//!
//! Flow lies on a lattice of one cell for 4x4 pixels, both centred ("half-pixel"), so that a sample's value is the bilinear
//! mean of the four cells around its centre; beyond the outermost centres the outermost cells hold. It counts 1/128 luma
//! pixel; where it differs by more than 256 pixels within a tile, [`BAND`] rows of [`TILE`] pixels, it is cut there.

use std::ops::Range;

mod cells;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub mod cpu;
pub mod reference;

pub use cells::{Block, Cells, FLOW_BITS, Flow, TILE, WHOLE};

/// Bytes that are made together.
pub const SEGMENT: usize = 16;
/// Luma rows of a unit of work; a multiple of all subsamplings.
pub const BAND: usize = 16;
/// The largest subsampling, log2.
const SUBSAMPLING: u32 = 1;
/// Binary digits of a place between two samples.
pub const PLACE_BITS: u32 = 7;

/// The pixels that are worked on together.
pub struct Tile {
    pub rows: Range<usize>,
    pub columns: Range<usize>,
}

impl Tile {
    /// Its columns in a plane that is so subsampled.
    pub fn samples(&self, sub: (u32, u32)) -> Range<usize> {
        subsampled(&self.columns, sub.0)
    }
}

/// Pixels along an axis in a plane that is so subsampled.
pub fn subsampled(range: &Range<usize>, sub: u32) -> Range<usize> {
    range.start >> sub..range.end.div_ceil(1 << sub)
}
