//! One step of the flow, at any level.

use candle_core::Tensor;

use super::config::{Config, NORM_EPSILON, RADIUS};
use super::zeros;
use crate::error::Result;
use crate::kernels::agreement::{self, agree};
use crate::kernels::conv::{Activation, Filter};
use crate::kernels::correlation::{correlate, displacements, expected};
use crate::kernels::motion::{self, CHANGE, DISPLACEMENT, FLOW, PHASE, STATE};
use crate::kernels::warp::warp_normalised;
use crate::kernels::{Context, PhaseMap, resample};
use crate::network::Observer;
use crate::network::checkpoint::Checkpoint;

/// Scores of features and of luma.
const SCORES: usize = displacements(RADIUS) + agreement::SCORES;

/// The weights, the same at every level.
#[derive(Debug)]
pub struct Decoder {
    squeeze: Filter,
    entry: Filter,
    res1: Filter,
    res2: Filter,
    head: Filter,
    sharpness: Sharpness,
}

/// How much a better score counts, of features and of luma.
#[derive(Debug, Clone, Copy)]
pub struct Sharpness {
    features: f32,
    luma: f32,
}

impl Sharpness {
    /// Of the part `name`.
    pub fn load(checkpoint: &Checkpoint, name: &str) -> Result<Self> {
        Ok(Self {
            features: checkpoint.number(&format!("{name}.match.sharpness"))?,
            luma: checkpoint.number(&format!("{name}.match.luma_sharpness"))?,
        })
    }
}

/// Features and luma of one side.
pub type Side<'a> = (&'a Tensor, &'a Tensor);

/// Both sides warped, how well they agree, and the state they belong to: all that a level
/// compares.
#[derive(Debug)]
pub struct Match {
    pub state: Tensor,
    pub left: Tensor,
    pub right: Tensor,
    pub scores: Tensor,
    /// How the luma agrees: scores, then their summary.
    pub luma: Tensor,
    pub luma_scores: Tensor,
    pub summary: Tensor,
    /// Views of the state.
    flow: Tensor,
    displacement: Tensor,
    phase: Tensor,
    agreement: agreement::Space,
    radius: usize,
}

impl Match {
    pub fn new(size: (usize, usize), channels: usize, radius: usize) -> Result<Self> {
        let state = zeros(size, STATE)?;
        let luma = zeros(size, agreement::CHANNELS)?;
        Ok(Self {
            left: zeros(size, channels)?,
            right: zeros(size, channels)?,
            scores: zeros(size, displacements(radius))?,
            luma_scores: luma.narrow(2, 0, agreement::SCORES)?,
            summary: luma.narrow(2, agreement::SCORES, agreement::SUMMARY)?,
            luma,
            flow: state.narrow(2, FLOW, 4)?,
            displacement: state.narrow(2, DISPLACEMENT, 2)?,
            phase: state.narrow(2, PHASE, 1)?,
            state,
            agreement: agreement::Space::new(size)?,
            radius,
        })
    }

    /// Warps both sides by the state's flow, compares them, and puts the displacement that their
    /// features expect into the state.
    pub fn run(&self, context: &Context, [left, right]: [Side; 2], sharp: Sharpness) -> Result<()> {
        let (a, b, scores) = (&self.left, &self.right, &self.scores);
        let (to_left, to_right) = (self.flow.narrow(2, 0, 2)?, self.flow.narrow(2, 2, 2)?);
        warp_normalised(context, left.0, &to_left, NORM_EPSILON, a)?;
        warp_normalised(context, right.0, &to_right, NORM_EPSILON, b)?;
        correlate(context, a, b, &self.phase, self.radius, scores)?;
        let (luma, space) = ([left.1, right.1], &self.agreement);
        agree(
            context,
            luma,
            &self.flow,
            &self.phase,
            sharp.luma,
            space,
            &self.luma,
        )?;
        let out = &self.displacement;
        Ok(expected(context, scores, sharp.features, self.radius, out)?)
    }
}

/// What one level needs.
#[derive(Debug)]
pub struct DecoderSpace {
    pub matched: Match,
    hidden: Tensor,
    squeezed: Tensor,
    entered: Tensor,
    inner: Tensor,
    /// The features that the refiner expands.
    pub features: Tensor,
    head: Tensor,
    change: Tensor,
    next_hidden: Tensor,
}

impl DecoderSpace {
    pub fn new(c: &Config, size: (usize, usize)) -> Result<Self> {
        let head = zeros(size, CHANGE + c.hidden)?;
        Ok(Self {
            matched: Match::new(size, c.features, RADIUS)?,
            hidden: zeros(size, c.hidden)?,
            squeezed: zeros(size, c.features)?,
            entered: zeros(size, c.width)?,
            inner: zeros(size, c.width)?,
            features: zeros(size, c.width)?,
            change: head.narrow(2, 0, CHANGE)?,
            next_hidden: head.narrow(2, CHANGE, c.hidden)?,
            head,
        })
    }

    /// Begins from the next coarser level, or from nothing but the phase (`hidden` then keeps
    /// its zeros: the coarsest level's is never written).
    pub fn begin(
        &self,
        context: &Context,
        coarser: Option<&DecoderSpace>,
        phase: &PhaseMap,
    ) -> Result<()> {
        let state = &self.matched.state;
        let Some(coarser) = coarser else {
            return Ok(motion::begin(context, phase, state)?);
        };
        motion::advance(context, &coarser.matched.state, None, phase, state)?;
        Ok(resample::double(
            context,
            &coarser.next_hidden,
            &self.hidden,
        )?)
    }
}

impl Decoder {
    pub fn load(checkpoint: &Checkpoint, c: &Config) -> Result<Self> {
        let filter = |name: &str, shape| checkpoint.filter(&format!("decoder.{name}"), shape, 1);
        let known = c.features + c.hidden + STATE + agreement::SUMMARY;
        Ok(Self {
            squeeze: filter("squeeze", [c.features, 2 * c.features + SCORES, 1])?,
            entry: filter("entry", [c.width, known, 3])?,
            res1: filter("res1", [c.width, c.width, 3])?,
            res2: filter("res2", [c.width, c.width, 3])?,
            head: filter("head", [CHANGE + c.hidden, c.width, 1])?,
            sharpness: Sharpness::load(checkpoint, "decoder")?,
        })
    }

    /// Improves the state of a level, given both pictures' features there.
    pub fn run(
        &self,
        context: &Context,
        space: &DecoderSpace,
        level: usize,
        sides: [Side; 2],
        observe: &mut Observer,
    ) -> Result<()> {
        use Activation::{Leaky, Linear};
        let s = space;
        let m = &s.matched;
        m.run(context, sides, self.sharpness)?;
        observe("decoder.left", level, &m.left);
        observe("decoder.right", level, &m.right);
        observe("decoder.scores", level, &m.scores);
        observe("decoder.expected", level, &m.displacement);
        observe("decoder.luma", level, &m.luma);
        let sides = [&m.left, &m.right, &m.scores, &m.luma_scores];
        self.squeeze
            .apply(context, &sides, None, Leaky, &s.squeezed)?;
        observe("decoder.squeeze", level, &s.squeezed);
        let known = [&s.squeezed, &s.hidden, &m.state, &m.summary];
        self.entry.apply(context, &known, None, Leaky, &s.entered)?;
        observe("decoder.entry", level, &s.entered);
        self.res1
            .apply(context, &[&s.entered], None, Leaky, &s.inner)?;
        let entered = Some(&s.entered);
        self.res2
            .apply(context, &[&s.inner], entered, Leaky, &s.features)?;
        observe("decoder.features", level, &s.features);
        self.head
            .apply(context, &[&s.features], None, Linear, &s.head)?;
        observe("decoder.hidden", level, &s.next_hidden);
        motion::update(context, &s.change, &m.summary, &m.state)?;
        observe("decoder.state", level, &m.state);
        Ok(())
    }
}
