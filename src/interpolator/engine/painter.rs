//! Whole pictures made on a card, whatever the network there.

use candle_core::Tensor;

use super::{Features, foreign};
use crate::error::Result;
use crate::interpolator::card::{Along, Leaving, OnCard, Seen};
use crate::kernels::PhaseMap;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::picture::DevicePicture;
use crate::kernels::synthesis::Lattice;
use crate::network::Motion;
use crate::picture::PictureMut;
use crate::scene::Thumbnail;

/// What a network that answers at full size has found, without the padding of its own.
#[derive(Debug)]
pub struct Whole {
    /// `[h, w, 4]` and `[h, w, 1]`, as [`Motion`] has them.
    pub flow: Tensor,
    pub mask: Tensor,
    /// `[h, w, 3]` or larger: red, green and blue that its own picture has beyond that, if it has one.
    pub residual: Option<Tensor>,
}

/// A card on which a network has found motion, and that makes the pictures.
#[derive(Clone, Copy)]
pub struct Painter<'a> {
    card: &'a OnCard,
    /// At a quarter of the size.
    motion: &'a Motion,
    /// What pictures are made along, where it is not that.
    whole: Option<&'a Whole>,
}

impl<'a> Painter<'a> {
    /// For what was found last, there.
    pub(super) fn new(card: &'a OnCard, motion: &'a Motion, whole: Option<&'a Whole>) -> Self {
        Self {
            card,
            motion,
            whole,
        }
    }

    /// What the picture is made along between two, of which this is the left one.
    fn along(self, left: &Features) -> Along<'a> {
        let Some(whole) = self.whole else {
            return Along::from(self.motion);
        };
        Along {
            flow: &whole.flow,
            mask: &whole.mask,
            lattice: Lattice::Full,
            residual: whole.residual.as_ref().zip(left.color()),
            ..Along::from(self.motion)
        }
    }

    /// Fills the thumbnail of a picture, once the card has seen it: it may not have encoded it yet.
    ///
    /// # Errors
    /// The card has failed.
    pub fn thumbnail(self, of: &Features, out: &mut Thumbnail) -> Result<()> {
        let seen = of.seen()?;
        self.card.run(|| self.card.thumbnail(seen, out))
    }

    /// Sees how far two pictures are apart, and what stands still in both; once a pair.
    ///
    /// # Errors
    /// Sizes that do not fit, or the card fails.
    pub fn relate(self, left: &Features, right: &Features) -> Result<()> {
        let luma = [left.luma(), right.luma()];
        self.card.run(|| self.card.relate(luma))
    }

    /// Fills `out`, on the CPU, as [`confidence::disagree`](crate::kernels::confidence::disagree) does.
    ///
    /// # Errors
    /// Sizes that do not fit, or the card fails.
    pub fn disagree(
        self,
        [left, right]: [&Features; 2],
        brightness: f32,
        phase: &PhaseMap,
        out: &Tensor,
    ) -> Result<()> {
        let luma = [left.cell_luma(), right.cell_luma()];
        let along = (&self.motion.flow, phase);
        self.card
            .run(|| self.card.disagree(luma, brightness, along, out))
    }

    /// Lets the card make the picture from the motion found last between the pair related last; on the first output or the second.
    ///
    /// # Errors
    /// Sizes that do not fit, or the card fails.
    pub fn paint(self, sides: [&Features; 2], phase: &PhaseMap, output: usize) -> Result<()> {
        let along = self.along(sides[0]);
        let sides = [sides[0].seen()?, sides[1].seen()?];
        self.card
            .run(|| self.card.paint(sides, (&along, phase), output))
    }

    /// Lets the picture that was made on an output come down; until [`Painter::take`] only the other one may be made on.
    ///
    /// # Errors
    /// Another format or size, or the card fails.
    pub fn deliver<'o, 'p>(
        self,
        output: usize,
        out: &'o mut PictureMut<'p>,
    ) -> Result<Leaving<'o, 'p>> {
        self.card.run(|| self.card.deliver(output, out))
    }

    /// Waits until a picture is where it is wanted.
    ///
    /// # Errors
    /// The card has failed.
    pub fn take(self, leaving: Leaving) -> Result<()> {
        self.card.run(|| leaving.take())
    }

    /// Copies the picture that was made on the first output last, or a `source` picture, to where others have room for it on a card.
    ///
    /// # Errors
    /// Another format or size, or the card fails.
    ///
    /// # Safety
    /// There is room for its planes, which nobody else looks at meanwhile.
    #[cfg(feature = "cuda")]
    pub unsafe fn give(self, source: Option<&Features>, out: &DevicePicture) -> Result<()> {
        let source = source.map(Features::seen).transpose()?;
        // SAFETY: as the caller promises.
        self.card.run(|| unsafe { self.card.give(source, out) })
    }

    /// Whether two pictures are the same to the bit.
    ///
    /// # Errors
    /// The card fails.
    pub fn same(self, sides: [&Features; 2]) -> Result<bool> {
        let sides = [sides[0].seen()?, sides[1].seen()?];
        self.card.run(|| self.card.same(sides))
    }

    /// Flow, mask and confidence of the last picture that was made, on the CPU.
    ///
    /// # Errors
    /// The card has failed.
    pub fn found(self) -> Result<&'a [Tensor; 3]> {
        self.card.run(|| self.card.found(self.motion))
    }

    /// Fills what the CPU has of the last pair where it makes the picture itself: how far its pictures are apart around each cell, its edges,
    /// and the motion's difference. Answers the motion's flow.
    ///
    /// # Errors
    /// Sizes that do not fit, or the card has failed.
    pub fn bring(self, related: [&Tensor; 3]) -> Result<&'a Tensor> {
        self.card.run(|| self.card.bring(self.motion, related))
    }
}

impl Features {
    /// What there is of the picture on a card.
    fn seen(&self) -> Result<&Seen> {
        let seen = match self {
            Self::Embedded(features) => features.seen.as_ref(),
            Self::Full(features) => features.seen.as_ref(),
        };
        seen.ok_or_else(foreign)
    }
}
