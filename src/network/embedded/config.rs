//! Sizes of the embedded network; the same names as in `training/model.py`.

use std::ops::RangeInclusive;

use crate::error::Result;
use crate::network::checkpoint::Checkpoint;

/// Channels of the network's view of a picture: four of luma, two of chroma.
pub const VIEW: usize = 6;
/// Values of flow and mask that the refiner gets besides features.
pub const DETAIL: usize = 4 + 1;
/// Coarsest level of luma that a search may end with: an eighth of the picture's size, where cells are pixels.
pub const MAX_FINEST: usize = 2;
/// What a variant may have as the most lines of a picture that it sees at its own size.
const LINES: RangeInclusive<usize> = 1..=16384;
/// Most channels of any part.
const MAX_CHANNELS: usize = 256;
/// A feature's norm below this (its square root) counts as "no texture".
pub const NORM_EPSILON: f32 = 1e-2;

/// Channels of the network's parts: what tells its variants apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Features at a quarter of the picture's size.
    pub stem: usize,
    /// Features at an eighth.
    pub features: usize,
    /// Width of the decoder.
    pub width: usize,
    /// What the decoder hands to the refiner.
    pub up: usize,
    /// Finest level of luma that is searched for motion: 0 is half the picture's size, 1 a quarter, 2 an eighth.
    pub finest: usize,
    /// Pictures of more lines are seen at half their size, unless something else is said.
    pub lines: usize,
}

impl Config {
    /// Told from the shapes of a file's tensors.
    ///
    /// # Errors
    /// A tensor is missing, or its shape is no variant's.
    pub fn of(checkpoint: &Checkpoint) -> Result<Self> {
        let outputs = |name: &str, least: usize| checkpoint.outputs(name, least..=MAX_CHANNELS);
        let stem = outputs("encoder.stem.weight", 1)?;
        let detail = outputs("refiner.expand.weight", 4 * (DETAIL + 1))? / 4;
        Ok(Self {
            stem,
            features: outputs("encoder.down.weight", 1)?,
            width: outputs("decoder.entry.weight", 1)?,
            up: detail - DETAIL,
            finest: checkpoint.index("search.finest", 0..=MAX_FINEST)?,
            lines: checkpoint.index("search.lines", LINES)?,
        })
    }
}

/// Heights and widths of what the network makes of a view of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// The view: half of the padded picture.
    pub view: (usize, usize),
    /// Half of the view: size of the stem and of the motion.
    pub fine: (usize, usize),
    /// A quarter of the view: size of the features and of the cells.
    pub coarse: (usize, usize),
}

impl Sizes {
    /// Of a view of `height` x `width`.
    pub fn of(height: usize, width: usize) -> Self {
        let view = (height, width);
        let fine = half(view);
        Self {
            view,
            fine,
            coarse: half(fine),
        }
    }
}

/// Half a size, rounded up.
pub fn half((height, width): (usize, usize)) -> (usize, usize) {
    (height.div_ceil(2), width.div_ceil(2))
}
