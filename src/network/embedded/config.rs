//! Sizes of the embedded network; the same names as in `training/model.py`.

use crate::error::Result;
use crate::kernels::motion::CHANGE;
use crate::network::checkpoint::Checkpoint;

/// Channels of the network's view of a picture: four of luma, two of chroma.
pub const VIEW: usize = 6;
/// Values of flow and mask that the refiner gets besides features.
pub const DETAIL: usize = 4 + 1;
/// Most channels of any part.
const MAX_CHANNELS: usize = 256;
/// Largest displacement, in cells, that the decoder compares.
pub const RADIUS: usize = 3;
/// The same for the refiner.
pub const FINE_RADIUS: usize = 2;
/// A feature's norm below this (its square root) counts as "no texture".
pub const NORM_EPSILON: f32 = 1e-2;
/// The coarsest level is the last one whose shorter side has at least this many cells.
pub const COARSEST_CELLS: usize = 4;
/// No picture has more levels than this.
pub const MAX_LEVELS: usize = 6;

/// Channels of the network's parts: what tells its variants apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Features at a quarter of the picture's size.
    pub stem: usize,
    /// Features at an eighth and below.
    pub features: usize,
    /// Width of the decoder.
    pub width: usize,
    /// What one level of the decoder hands to the next.
    pub hidden: usize,
    /// What the decoder hands to the refiner.
    pub up: usize,
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
            hidden: outputs("decoder.head.weight", CHANGE + 1)? - CHANGE,
            up: detail - DETAIL,
        })
    }
}

/// Heights and widths of the pyramid for a view of the given size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// Size of the (halved) view.
    pub view: (usize, usize),
    /// Half of the view: size of the stem.
    pub fine: (usize, usize),
    /// A quarter of the view: size of the features and of the flow.
    pub coarse: (usize, usize),
}

/// The levels that a view of `height` x `width` (both at least 1) has, finest first.
pub fn levels(height: usize, width: usize) -> Vec<Level> {
    let half = |(h, w): (usize, usize)| (h.div_ceil(2), w.div_ceil(2));
    let mut levels = Vec::with_capacity(MAX_LEVELS);
    let mut view = (height, width);
    loop {
        let fine = half(view);
        let coarse = half(fine);
        let too_small = coarse.0.min(coarse.1) < COARSEST_CELLS;
        if levels.len() == MAX_LEVELS || (too_small && !levels.is_empty()) {
            return levels;
        }
        levels.push(Level { view, fine, coarse });
        view = half(view);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tiny_view_has_one_level() {
        for (h, w) in [(1, 1), (4, 4), (4, 4000)] {
            assert_eq!(levels(h, w).len(), 1, "{h}x{w}");
        }
    }

    #[test]
    fn levels_stop_while_the_short_side_has_four_cells() {
        let levels = levels(360, 640);
        let sizes: Vec<_> = levels.iter().map(|l| l.coarse).collect();
        assert_eq!(sizes, [(90, 160), (45, 80), (23, 40), (12, 20), (6, 10)]);
    }

    #[test]
    fn there_are_at_most_six_levels() {
        assert_eq!(levels(4320 / 2, 8192 / 2).len(), MAX_LEVELS);
    }
}
