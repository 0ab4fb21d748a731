//! From an eighth to a quarter of the picture's size.

use candle_core::{Device, Tensor};

use super::config::{FINE_RADIUS, STEM, UP, WIDTH};
use super::decoder::{DecoderSpace, Match};
use super::zeros;
use crate::error::Result;
use crate::kernels::conv::{Activation, Filter};
use crate::kernels::correlation::displacements;
use crate::kernels::motion::{self, CHANGE, STATE};
use crate::kernels::{Context, PhaseMap};
use crate::network::Observer;
use crate::network::checkpoint::Checkpoint;

const SCORES: usize = displacements(FINE_RADIUS);
/// Channels that a pixel of the finer size gets from the coarser one: flow, mask, features.
const DETAIL: usize = 4 + 1 + UP;

#[derive(Debug)]
pub struct Refiner {
    /// One filter for the even rows and one for the odd ones; each answers the left pixel's
    /// channels, then the right one's.
    expand: [Filter; 2],
    squeeze: Filter,
    conv: Filter,
    head: Filter,
    sharpness: f32,
}

/// What the refiner needs.
#[derive(Debug)]
pub struct RefinerSpace {
    pub matched: Match,
    /// Even and odd rows of the detail, two pixels of the finer size in one of the coarser.
    rows: [Tensor; 2],
    /// The same memory as the finer size sees it: `[h, w, DETAIL]`.
    detail: Tensor,
    /// The detail's last `UP` channels.
    up: Tensor,
    squeezed: Tensor,
    features: Tensor,
    head: Tensor,
}

impl RefinerSpace {
    /// For a quarter size of `fine` and an eighth of `coarse`.
    pub fn new(fine: (usize, usize), (h, w): (usize, usize)) -> Result<Self> {
        // A row of `w` pairs of pixels is a row of `2 w` pixels: what PyTorch calls a pixel
        // shuffle is here a question of how the memory is looked at.
        let whole = zeros((2 * h, 2 * w), DETAIL)?;
        let pairs = whole.reshape((h, 2, w, 2 * DETAIL))?;
        let detail = whole.narrow(0, 0, fine.0)?.narrow(1, 0, fine.1)?;
        Ok(Self {
            matched: Match::new(fine, STEM, FINE_RADIUS)?,
            rows: [
                pairs.narrow(1, 0, 1)?.squeeze(1)?,
                pairs.narrow(1, 1, 1)?.squeeze(1)?,
            ],
            up: detail.narrow(2, DETAIL - UP, UP)?,
            detail,
            squeezed: zeros(fine, STEM)?,
            features: zeros(fine, STEM)?,
            head: zeros(fine, CHANGE)?,
        })
    }
}

impl Refiner {
    pub fn load(checkpoint: &Checkpoint) -> Result<Self> {
        let filter = |name: &str, shape| checkpoint.filter(&format!("refiner.{name}"), shape, 1);
        let input = 2 * STEM + SCORES + UP + STATE;
        Ok(Self {
            expand: [expand(checkpoint, 0)?, expand(checkpoint, 1)?],
            squeeze: filter("squeeze", [STEM, input, 1])?,
            conv: filter("conv", [STEM, STEM, 3])?,
            head: filter("head", [CHANGE, STEM, 1])?,
            sharpness: checkpoint.number("refiner.sharpness")?,
        })
    }

    /// Makes the finest state from the decoder's last level and both pictures' fine features.
    pub fn run(
        &self,
        context: &Context,
        space: &RefinerSpace,
        coarser: &DecoderSpace,
        (left, right): (&Tensor, &Tensor),
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
        m.run(context, left, right, self.sharpness)?;
        observe("refiner.left", 0, &m.left);
        observe("refiner.right", 0, &m.right);
        observe("refiner.scores", 0, &m.scores);
        observe("refiner.before", 0, &m.state);
        let known = [&m.left, &m.right, &m.scores, &s.up, &m.state];
        self.squeeze
            .apply(context, &known, None, Leaky, &s.squeezed)?;
        observe("refiner.squeeze", 0, &s.squeezed);
        let squeezed = Some(&s.squeezed);
        self.conv
            .apply(context, &[&s.squeezed], squeezed, Leaky, &s.features)?;
        observe("refiner.features", 0, &s.features);
        self.head
            .apply(context, &[&s.features], None, Linear, &s.head)?;
        motion::update(context, &s.head, &m.state)?;
        observe("refiner.state", 0, &m.state);
        Ok(())
    }
}

/// The part of `refiner.expand` for the rows of one parity. In the file, output `4 c + 2 i + j`
/// is channel `c` of the pixel at row `i` and column `j` of a 2x2 block.
fn expand(checkpoint: &Checkpoint, i: usize) -> Result<Filter> {
    let shape = [4 * DETAIL, WIDTH, 1];
    let (weight, bias) = checkpoint.weight_and_bias("refiner.expand", shape)?;
    let order: Vec<u32> = (0..2 * DETAIL)
        .map(|o| (4 * (o % DETAIL) + 2 * i + o / DETAIL) as u32)
        .collect();
    let order = Tensor::new(order, &Device::Cpu)?;
    let weight = weight.index_select(&order, 0)?;
    Ok(Filter::new(&weight, &bias.index_select(&order, 0)?, 1)?)
}
