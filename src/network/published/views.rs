//! What blocks see that are given both pictures as they are and as the motion so far warps them, at a
//! resolution of their own; and where in it lies what their authors number otherwise.

use candle_core::{Device, Tensor};

use super::RGB;
use super::layers::Buffer;
use crate::error::Result;
use crate::kernels::answers::{self, Answer, LANES, MASK, MOTION, Masks, PHASE};
use crate::kernels::{Context, PhaseMap};

/// Channels of a picture: its colours, and room behind them.
pub const SIDE: usize = LANES;
/// Channels of both pictures, flow, mask and phase.
pub const VIEW: usize = 2 * SIDE + MOTION;

/// One of the two views of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    Warped,
    Plain,
}

impl View {
    /// Channels of a side from `first` on, in the concatenation of the warped view and the plain one.
    pub fn side(self, side: usize, first: usize) -> impl Iterator<Item = usize> {
        let start = self.start() + side * SIDE;
        start + first..start + first + RGB
    }

    /// Those of the colours of both sides.
    pub fn colors(self) -> impl Iterator<Item = usize> {
        (0..2).flat_map(move |side| self.side(side, 0))
    }

    fn start(self) -> usize {
        match self {
            Self::Warped => 0,
            Self::Plain => VIEW,
        }
    }
}

/// The channel of the phase, in the concatenation of both views.
pub const fn phase() -> usize {
    2 * SIDE + PHASE
}

/// The channels of mask and flow, in this order.
pub fn motion() -> impl Iterator<Item = usize> {
    std::iter::once(2 * SIDE + MASK).chain(2 * SIDE..2 * SIDE + MASK)
}

/// What [`super::layers::rearranged`] wants, from the channels of the two views in the order of the
/// authors' input.
pub fn places(order: impl Iterator<Item = usize>) -> Vec<Option<usize>> {
    let mut from = vec![None; 2 * VIEW];
    order
        .enumerate()
        .for_each(|(theirs, ours)| from[ours] = Some(theirs));
    from
}

/// Both pictures, `[h, w, 8]` each, and what is known of their motion.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    pub sides: [&'a Tensor; 2],
    /// The left one as it is, with what else is to be seen behind its colours.
    pub left: &'a Tensor,
    pub phase: &'a PhaseMap,
}

/// Memory for both views.
#[derive(Debug)]
pub struct Views([Buffer; 2]);

impl Views {
    /// For views of up to these heights and widths.
    ///
    /// # Errors
    /// A card has too little memory, or fails.
    pub fn new(
        device: &Device,
        sizes: impl Iterator<Item = (usize, usize)> + Clone,
    ) -> Result<Self> {
        let buffer = || Buffer::new(device, sizes.clone().map(|(h, w)| [h, w, VIEW]));
        Ok(Self([buffer()?, buffer()?]))
    }

    /// The warped view and the plain one, of cells of `scale` pixels.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn of(
        &self,
        context: &Context,
        pair: &Pair,
        before: &[Answer],
        scale: f32,
        (h, w): (usize, usize),
    ) -> Result<[Tensor; 2]> {
        let [warped, plain] = self.0.each_ref().map(|b| b.tensor([h, w, VIEW]));
        let (warped, plain) = (warped?, plain?);
        let before = (before, Masks::Added);
        answers::assemble(context, pair.sides, before, pair.phase, scale, &warped)?;
        let sides = [pair.left, pair.sides[1]];
        let nothing = (&[][..], Masks::Added);
        answers::assemble(context, sides, nothing, pair.phase, scale, &plain)?;
        Ok([warped, plain])
    }
}
