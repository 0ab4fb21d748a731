//! What a network offers: encode a picture once, estimate the motion between two at a phase.

use candle_core::Tensor;

pub mod checkpoint;
pub mod embedded;
pub mod published;

pub use embedded::{Network, Variant, Workspace};

/// Sees every stage of a network: its name as in the twin, the level (0 is the finest), the
/// values.
pub type Observer<'a> = dyn FnMut(&'static str, usize, &Tensor) + Send + 'a;

/// What the network answers for a pair of pictures and a phase, at a quarter of the padded
/// picture's size: `[height / 4, width / 4, channels]`.
#[derive(Debug)]
pub struct Motion {
    /// `[h, w, 4]`: where a pixel of the new picture lies in the left one (x, y) and in the right
    /// one (x, y), relative to its own position, in full-resolution pixels.
    pub flow: Tensor,
    /// `[h, w, 1]`, 0 to 1: weight of the left picture; time and occlusion are in it.
    pub mask: Tensor,
    /// `[h, w, 1]`, 0 to 1: how far the luma of both sides is apart, absolutely and by pixels,
    /// around each cell, before the last step of the flow.
    pub difference: Tensor,
    /// `[h, w, 1]`, 0 to 1: how far the motion can be trusted. The network leaves it at 1.
    pub confidence: Tensor,
}

/// One source picture as the network sees it; made once, used by both its pairs.
#[derive(Debug)]
pub struct Encoded {
    /// `[height / 4, width / 4, stem]`: features for the refiner.
    pub(crate) fine: Tensor,
    /// A tensor of features a level of the pyramid, finest (an eighth of the picture) first.
    pub(crate) levels: Vec<Tensor>,
    /// `[height, width, 1]`: luma, -0.5 to 0.5.
    pub(crate) fine_luma: Tensor,
    /// The same at half the size, at a quarter, and so on, one more than there are levels.
    pub(crate) luma: Vec<Tensor>,
}

impl Encoded {
    /// `[height / 4, width / 4, 1]`: mean luma of each 4x4 pixels, -0.5 to 0.5.
    pub(crate) fn cell_luma(&self) -> &Tensor {
        &self.luma[1]
    }
}
