//! One step of the flow, at any level.

use candle_core::Tensor;

use super::config::{FEATURES, HIDDEN, NORM_EPSILON, RADIUS, WIDTH};
use super::zeros;
use crate::error::Result;
use crate::kernels::conv::{Activation, Filter};
use crate::kernels::correlation::{correlate, displacements, expected};
use crate::kernels::motion::{self, CHANGE, DISPLACEMENT, FLOW, PHASE, STATE};
use crate::kernels::warp::warp_normalised;
use crate::kernels::{Context, PhaseMap, resample};
use crate::network::Observer;
use crate::network::checkpoint::Checkpoint;

const SCORES: usize = displacements(RADIUS);

/// The weights, the same at every level.
#[derive(Debug)]
pub struct Decoder {
    squeeze: Filter,
    entry: Filter,
    res1: Filter,
    res2: Filter,
    head: Filter,
    sharpness: f32,
}

/// Both sides warped, what their correlation says, and the state they belong to: all that a
/// level compares.
#[derive(Debug)]
pub struct Match {
    pub state: Tensor,
    pub left: Tensor,
    pub right: Tensor,
    pub scores: Tensor,
    /// Views of the state.
    to_left: Tensor,
    to_right: Tensor,
    displacement: Tensor,
    phase: Tensor,
    radius: usize,
}

impl Match {
    pub fn new(size: (usize, usize), channels: usize, radius: usize) -> Result<Self> {
        let state = zeros(size, STATE)?;
        Ok(Self {
            left: zeros(size, channels)?,
            right: zeros(size, channels)?,
            scores: zeros(size, displacements(radius))?,
            to_left: state.narrow(2, FLOW, 2)?,
            to_right: state.narrow(2, FLOW + 2, 2)?,
            displacement: state.narrow(2, DISPLACEMENT, 2)?,
            phase: state.narrow(2, PHASE, 1)?,
            state,
            radius,
        })
    }

    /// Warps both sides by the state's flow, correlates them, and puts the displacement they
    /// expect into the state.
    pub fn run(
        &self,
        context: &Context,
        left: &Tensor,
        right: &Tensor,
        sharpness: f32,
    ) -> Result<()> {
        let (a, b, scores) = (&self.left, &self.right, &self.scores);
        warp_normalised(context, left, &self.to_left, NORM_EPSILON, a)?;
        warp_normalised(context, right, &self.to_right, NORM_EPSILON, b)?;
        correlate(context, a, b, &self.phase, self.radius, scores)?;
        Ok(expected(
            context,
            scores,
            sharpness,
            self.radius,
            &self.displacement,
        )?)
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
    pub fn new(size: (usize, usize)) -> Result<Self> {
        let head = zeros(size, CHANGE + HIDDEN)?;
        Ok(Self {
            matched: Match::new(size, FEATURES, RADIUS)?,
            hidden: zeros(size, HIDDEN)?,
            squeezed: zeros(size, FEATURES)?,
            entered: zeros(size, WIDTH)?,
            inner: zeros(size, WIDTH)?,
            features: zeros(size, WIDTH)?,
            change: head.narrow(2, 0, CHANGE)?,
            next_hidden: head.narrow(2, CHANGE, HIDDEN)?,
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
    pub fn load(checkpoint: &Checkpoint) -> Result<Self> {
        let filter = |name: &str, shape| checkpoint.filter(&format!("decoder.{name}"), shape, 1);
        Ok(Self {
            squeeze: filter("squeeze", [FEATURES, 2 * FEATURES + SCORES, 1])?,
            entry: filter("entry", [WIDTH, FEATURES + HIDDEN + STATE, 3])?,
            res1: filter("res1", [WIDTH, WIDTH, 3])?,
            res2: filter("res2", [WIDTH, WIDTH, 3])?,
            head: filter("head", [CHANGE + HIDDEN, WIDTH, 1])?,
            sharpness: checkpoint.number("decoder.sharpness")?,
        })
    }

    /// Improves the state of a level, given both pictures' features there.
    pub fn run(
        &self,
        context: &Context,
        space: &DecoderSpace,
        level: usize,
        (left, right): (&Tensor, &Tensor),
        observe: &mut Observer,
    ) -> Result<()> {
        use Activation::{Leaky, Linear};
        let s = space;
        let m = &s.matched;
        m.run(context, left, right, self.sharpness)?;
        observe("decoder.left", level, &m.left);
        observe("decoder.right", level, &m.right);
        observe("decoder.scores", level, &m.scores);
        observe("decoder.expected", level, &m.displacement);
        let sides = [&m.left, &m.right, &m.scores];
        self.squeeze
            .apply(context, &sides, None, Leaky, &s.squeezed)?;
        observe("decoder.squeeze", level, &s.squeezed);
        let known = [&s.squeezed, &s.hidden, &m.state];
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
        motion::update(context, &s.change, &m.state)?;
        observe("decoder.state", level, &m.state);
        Ok(())
    }
}
