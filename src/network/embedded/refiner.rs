//! From an eighth to a quarter of the picture's size.

use candle_core::{DType, Device, Tensor};

use super::config::{Config, DETAIL};
use super::decoder::{DecoderSpace, Match, Sharpness, Side};
use super::{features, zeros};
use crate::error::Result;
use crate::kernels::agreement;
use crate::kernels::conv::{Activation, Filter};
use crate::kernels::correlation::DISPLACEMENTS;
use crate::kernels::memory::shared;
use crate::kernels::motion::{self, CHANGE, STATE};
use crate::kernels::{Context, PhaseMap};
use crate::network::Observer;
use crate::network::checkpoint::Checkpoint;

#[derive(Debug)]
pub struct Refiner {
    /// One filter for the even rows and one for the odd ones; each answers the left pixel's
    /// channels, then the right one's.
    pub(super) expand: [Filter; 2],
    pub(super) squeeze: Filter,
    pub(super) conv: Filter,
    pub(super) head: Filter,
    pub(super) sharpness: Sharpness,
}

/// What the refiner needs.
#[derive(Debug)]
pub struct RefinerSpace {
    pub matched: Match,
    /// The detail, with the last row and column that a picture of odd size lacks.
    pub whole: Tensor,
    /// Even and odd rows of it, two pixels of the finer size in one of the coarser.
    pub(super) rows: [Tensor; 2],
    /// The same memory as the finer size sees it: flow, mask and features of each pixel.
    pub(super) detail: Tensor,
    /// The detail's features.
    pub(super) up: Tensor,
    pub squeezed: Tensor,
    pub(super) features: Tensor,
    pub(super) head: Tensor,
}

impl RefinerSpace {
    /// For a quarter size of `fine` and an eighth of `coarse`.
    pub fn new(
        c: &Config,
        fine: (usize, usize),
        (h, w): (usize, usize),
        context: &Context,
    ) -> Result<Self> {
        let device = context.device();
        let zeros = |size, channels| zeros(size, channels, &device);
        let detail = DETAIL + c.up;
        // A row of `w` pairs of pixels is a row of `2 w` pixels: what PyTorch calls a pixel
        // shuffle is here a question of how the memory is looked at.
        let whole = zeros((2 * h, 2 * w), detail)?;
        let pairs = whole.reshape((h, 2, w, 2 * detail))?;
        let detail = whole.narrow(0, 0, fine.0)?.narrow(1, 0, fine.1)?;
        let matched = Match::new(fine, c.stem, context)?;
        let squeezed = match context.gpu() {
            // luma that is warped lies on the CPU
            Some(_) => features(fine, c.stem, context)?,
            None => shared(
                matched.warped.memory(),
                (fine.0, fine.1, c.stem),
                DType::F32,
            )?,
        };
        Ok(Self {
            // both sides are not needed any more
            features: matched.left.clone(),
            head: shared(&matched.right, (fine.0, fine.1, CHANGE), DType::F32)?,
            matched,
            whole,
            rows: [
                pairs.narrow(1, 0, 1)?.squeeze(1)?,
                pairs.narrow(1, 1, 1)?.squeeze(1)?,
            ],
            up: detail.narrow(2, DETAIL, c.up)?,
            detail,
            squeezed,
        })
    }
}

impl Refiner {
    pub fn load(checkpoint: &Checkpoint, c: &Config) -> Result<Self> {
        let filter = |name: &str, shape| checkpoint.filter(&format!("refiner.{name}"), shape, 1);
        let input = 2 * c.stem + DISPLACEMENTS + agreement::CHANNELS + c.up + STATE;
        Ok(Self {
            expand: [expand(checkpoint, c, 0)?, expand(checkpoint, c, 1)?],
            squeeze: filter("squeeze", [c.stem, input, 1])?,
            conv: filter("conv", [c.stem, c.stem, 3])?,
            head: filter("head", [CHANGE, c.stem, 1])?,
            sharpness: Sharpness::load(checkpoint, "refiner")?,
        })
    }

    /// Makes the finer state from the decoder's and both pictures' fine features.
    pub fn run(
        &self,
        context: &Context,
        space: &RefinerSpace,
        coarser: &DecoderSpace,
        sides: [Side; 2],
        phase: &PhaseMap,
        observe: &mut Observer,
    ) -> Result<()> {
        use Activation::{Leaky, Linear};
        let s = space;
        let m = &s.matched;
        for (filter, rows) in self.expand.iter().zip(&s.rows) {
            filter.apply(context, &[&coarser.features], None, Linear, rows)?;
        }
        observe("refiner.expand", 0, &s.detail);
        let detail = Some(&s.detail);
        motion::advance(context, &coarser.matched.state, detail, phase, &m.state)?;
        m.run(context, sides, self.sharpness)?;
        observe("refiner.left", 0, &m.left);
        observe("refiner.right", 0, &m.right);
        observe("refiner.scores", 0, &m.scores);
        observe("refiner.luma", 0, &m.luma);
        observe("refiner.before", 0, &m.state);
        let known = [&m.left, &m.right, &m.scores, &m.luma, &s.up, &m.state];
        self.squeeze
            .apply(context, &known, None, Leaky, &s.squeezed)?;
        observe("refiner.squeeze", 0, &s.squeezed);
        let squeezed = Some(&s.squeezed);
        self.conv
            .apply(context, &[&s.squeezed], squeezed, Leaky, &s.features)?;
        observe("refiner.features", 0, &s.features);
        self.head
            .apply(context, &[&s.features], None, Linear, &s.head)?;
        motion::update(context, &s.head, &m.summary, None, &m.state)?;
        observe("refiner.state", 0, &m.state);
        Ok(())
    }
}

/// The part of `refiner.expand` for the rows of one parity. In the file, output `4 c + 2 i + j`
/// is channel `c` of the pixel at row `i` and column `j` of a 2x2 block.
fn expand(checkpoint: &Checkpoint, c: &Config, i: usize) -> Result<Filter> {
    let detail = DETAIL + c.up;
    let shape = [4 * detail, c.width, 1];
    let (weight, bias) = checkpoint.weight_and_bias("refiner.expand", shape)?;
    let order: Vec<u32> = (0..2 * detail)
        .map(|o| (4 * (o % detail) + 2 * i + o / detail) as u32)
        .collect();
    let order = Tensor::new(order, &Device::Cpu)?;
    let weight = weight.index_select(&order, 0)?;
    Ok(Filter::new(&weight, &bias.index_select(&order, 0)?, 1)?)
}
