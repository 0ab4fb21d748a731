//! View of a picture to features at a quarter and at an eighth of the picture's size, and its luma at all sizes.

use candle_core::Tensor;

use super::config::{Config, Sizes, VIEW};
use super::refiner::RefinerSpace;
use crate::error::Result;
use crate::kernels::Context;
use crate::kernels::conv::{Activation, Filter};
use crate::kernels::memory::shared;
use crate::kernels::{luma, resample};
use crate::network::checkpoint::Checkpoint;
use crate::network::{Encoded, Observer};

/// The weights.
#[derive(Debug)]
pub struct Encoder {
    pub(super) stem: Filter,
    pub(super) down: Filter,
    pub(super) deep: Filter,
}

/// What encoding needs besides its result.
#[derive(Debug)]
pub struct EncoderSpace {
    pub(super) down: Tensor,
}

impl EncoderSpace {
    /// In memory of the refiner, which estimating overwrites.
    pub fn new(
        config: &Config,
        sizes: &Sizes,
        later: &RefinerSpace,
        context: &Context,
    ) -> Result<Self> {
        let (h, w) = sizes.coarse;
        let dtype = context.precision().dtype();
        Ok(Self {
            down: shared(&later.matched.left, (h, w, config.features), dtype)?,
        })
    }
}

impl Encoder {
    pub fn load(checkpoint: &Checkpoint, c: &Config) -> Result<Self> {
        let down = checkpoint.filter("encoder.down", [c.features, c.stem, 3], 2)?;
        let deep = checkpoint.filter("encoder.deep", [c.features, c.features, 3], 1)?;
        Ok(Self {
            stem: checkpoint.filter("encoder.stem", [c.stem, VIEW, 3], 2)?,
            down: down.reading(Activation::Leaky),
            deep: deep.reading(Activation::Leaky),
        })
    }

    /// Fills `out` from a view.
    pub fn run(
        &self,
        context: &Context,
        space: &EncoderSpace,
        view: &Tensor,
        out: &mut Encoded,
        observe: &mut Observer,
    ) -> Result<()> {
        use Activation::Linear;
        let down = &space.down;
        self.stem.apply(context, &[view], None, Linear, &out.fine)?;
        observe("encoder.stem", 0, &out.fine);
        self.down.apply(context, &[&out.fine], None, Linear, down)?;
        observe("encoder.down", 0, down);
        self.deep
            .apply(context, &[down], Some(down), Linear, &out.coarse)?;
        observe("encoder.deep", 0, &out.coarse);
        let pixels = view.narrow(2, 0, 4)?;
        luma::gather(context, &pixels, &out.bytes[0], &out.bytes[1])?;
        resample::mean(context, &pixels, &out.luma[0])?;
        for level in 1..out.luma.len() {
            resample::half_smooth(context, &out.luma[level - 1], &out.luma[level])?;
        }
        Ok(())
    }
}
