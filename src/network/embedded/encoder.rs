//! View of a picture (or of its half, quarter, ...) to features at a half and a quarter of the
//! view's size.

use candle_core::Tensor;

use super::config::{Config, Level, VIEW};
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
    down: Filter,
    deep: Filter,
}

/// What encoding needs besides its result.
#[derive(Debug)]
pub struct EncoderSpace {
    levels: Vec<LevelSpace>,
    /// The view, halved once more often than there are levels.
    halves: Vec<Tensor>,
}

/// What a level's convolutions leave for the next one.
#[derive(Debug)]
struct LevelSpace {
    stem: Tensor,
    down: Tensor,
    active: Tensor,
}

impl EncoderSpace {
    pub fn new(config: &Config, levels: &[Level]) -> Result<Self> {
        let space = |l: &Level| {
            Ok(LevelSpace {
                stem: zeros(l.fine, config.stem)?,
                down: zeros(l.coarse, config.features)?,
                active: zeros(l.coarse, config.features)?,
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
    pub fn load(checkpoint: &Checkpoint, c: &Config) -> Result<Self> {
        Ok(Self {
            stem: checkpoint.filter("encoder.stem", [c.stem, VIEW, 3], 2)?,
            down: checkpoint.filter("encoder.down", [c.features, c.stem, 3], 2)?,
            deep: checkpoint.filter("encoder.deep", [c.features, c.features, 3], 1)?,
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
        use Activation::{Leaky, Linear};
        resample::spread(context, &view.narrow(2, 0, 4)?, &out.fine_luma)?;
        let mut view = view;
        for (level, (own, half)) in space.levels.iter().zip(&space.halves).enumerate() {
            let (stem, down, active) = (&own.stem, &own.down, &own.active);
            if level == 0 {
                let fine = &out.fine;
                self.stem.apply(context, &[view], None, Linear, fine)?;
                observe("encoder.stem", level, fine);
                activate(context, fine, stem)?;
            } else {
                // Nobody reads the stem's features of the coarser levels but the next line.
                self.stem.apply(context, &[view], None, Leaky, stem)?;
            }
            self.down.apply(context, &[stem], None, Linear, down)?;
            observe("encoder.down", level, down);
            activate(context, down, active)?;
            let deep = &out.levels[level];
            self.deep
                .apply(context, &[active], Some(down), Linear, deep)?;
            observe("encoder.deep", level, deep);
            luma_of(context, view, &out.luma[level])?;
            resample::half(context, view, half)?;
            view = half;
        }
        luma_of(context, view, &out.luma[space.levels.len()])
    }
}

/// Mean luma of each pixel of a view.
fn luma_of(context: &Context, view: &Tensor, out: &Tensor) -> Result<()> {
    Ok(resample::mean(context, &view.narrow(2, 0, 4)?, out)?)
}
