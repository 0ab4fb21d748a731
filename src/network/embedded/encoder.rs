//! View of a picture (or of its half, quarter, ...) to features at a half and a quarter of the
//! view's size.

use candle_core::Tensor;

use super::config::{FEATURES, Level, STEM, VIEW};
use super::zeros;
use crate::error::Result;
use crate::kernels::Context;
use crate::kernels::conv::{Activation, Filter, activate};
use crate::kernels::resample;
use crate::network::checkpoint::Checkpoint;
use crate::network::{Encoded, Observer};

/// The weights, the same at every level.
#[derive(Debug)]
pub struct Encoder {
    stem: Filter,
    fine: Filter,
    down: Filter,
}

/// What encoding needs besides its result.
#[derive(Debug)]
pub struct EncoderSpace {
    levels: Vec<LevelSpace>,
    /// The view, halved once more often than there are levels.
    halves: Vec<Tensor>,
}

#[derive(Debug)]
struct LevelSpace {
    stem: Tensor,
    /// The activation of the fine features.
    active: Tensor,
}

impl EncoderSpace {
    pub fn new(levels: &[Level]) -> Result<Self> {
        let space = |l: &Level| {
            Ok(LevelSpace {
                stem: zeros(l.fine, STEM)?,
                active: zeros(l.fine, STEM)?,
            })
        };
        let half = |l: &Level| zeros((l.view.0.div_ceil(2), l.view.1.div_ceil(2)), VIEW);
        Ok(Self {
            levels: levels.iter().map(space).collect::<Result<_>>()?,
            halves: levels.iter().map(half).collect::<Result<_>>()?,
        })
    }
}

impl Encoder {
    pub fn load(checkpoint: &Checkpoint) -> Result<Self> {
        Ok(Self {
            stem: checkpoint.filter("encoder.stem", [STEM, VIEW, 3], 2)?,
            fine: checkpoint.filter("encoder.fine", [STEM, STEM, 3], 1)?,
            down: checkpoint.filter("encoder.down", [FEATURES, STEM, 3], 2)?,
        })
    }

    /// Fills `out` from a view, level by level.
    pub fn run(
        &self,
        context: &Context,
        space: &EncoderSpace,
        view: &Tensor,
        out: &mut Encoded,
        observe: &mut Observer,
    ) -> Result<()> {
        let mut view = view;
        for (level, (own, half)) in space.levels.iter().zip(&space.halves).enumerate() {
            use Activation::{Leaky, Linear};
            let (stem, active) = (&own.stem, &own.active);
            self.stem.apply(context, &[view], None, Leaky, stem)?;
            observe("encoder.stem", level, stem);
            if level == 0 {
                let fine = &out.fine;
                self.fine.apply(context, &[stem], None, Linear, fine)?;
                observe("encoder.fine", level, fine);
                activate(context, fine, active)?;
            } else {
                // Nobody reads the fine features of the coarser levels but the next line.
                self.fine.apply(context, &[stem], None, Leaky, active)?;
            }
            let down = &out.levels[level];
            self.down.apply(context, &[active], None, Linear, down)?;
            observe("encoder.down", level, down);
            resample::half(context, view, half)?;
            view = half;
        }
        let luma = space.halves[0].narrow(2, 0, 4)?;
        Ok(resample::mean(context, &luma, &out.luma)?)
    }
}
