//! From the motion found to flow and mask at an eighth of the picture's size.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use super::config::{Config, NORM_EPSILON};
use super::refiner::RefinerSpace;
use super::{features, zeros};
use crate::error::Result;
use crate::kernels::agreement::{self, agree};
use crate::kernels::conv::{Activation, Filter};
use crate::kernels::correlation::{DISPLACEMENTS, correlate, expected};
use crate::kernels::hypotheses::{ACCELERATION, CUES};
use crate::kernels::luma::Warped;
use crate::kernels::memory::shared;
use crate::kernels::motion::{self, CHANGE, DISPLACEMENT, FLOW, PHASE, STATE};
use crate::kernels::warp::warp_normalised;
use crate::kernels::{Context, PhaseMap, bend, hypotheses};
use crate::network::checkpoint::Checkpoint;
use crate::network::{Encoded, Observer};
use crate::trajectory::Field;

/// Scores of features and of luma.
const SCORES: usize = DISPLACEMENTS + agreement::SCORES;

/// The weights.
#[derive(Debug)]
pub struct Decoder {
    pub(super) squeeze: Filter,
    pub(super) entry: Filter,
    pub(super) res1: Filter,
    pub(super) res2: Filter,
    pub(super) head: Filter,
    pub(super) sharpness: Sharpness,
}

/// How much a better score counts, of features and of luma.
#[derive(Debug, Clone, Copy)]
pub struct Sharpness {
    pub(super) features: f32,
    pub(super) luma: f32,
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

/// Both sides warped, how well they agree, and the state they belong to: all that a stage
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
    pub(super) flow: Tensor,
    pub(super) displacement: Tensor,
    pub(super) phase: Tensor,
    /// Not needed once luma was compared.
    pub(super) warped: Warped,
}

/// What is compared once and then not needed any more.
struct Compared {
    left: Tensor,
    right: Tensor,
    scores: Tensor,
    luma: Tensor,
}

impl Match {
    pub fn new(size: (usize, usize), channels: usize, context: &Context) -> Result<Self> {
        let device = context.device();
        let zeros = |channels| zeros(size, channels, &device);
        let compared = Compared {
            left: features(size, channels, context)?,
            right: features(size, channels, context)?,
            scores: zeros(DISPLACEMENTS)?,
            luma: zeros(agreement::CHANNELS)?,
        };
        Self::with(size, compared, Warped::new(size)?)
    }

    fn with(size: (usize, usize), compared: Compared, warped: Warped) -> Result<Self> {
        let Compared {
            left,
            right,
            scores,
            luma,
        } = compared;
        let state = zeros(size, STATE, &scores.device().clone())?;
        Ok(Self {
            left,
            right,
            scores,
            luma_scores: luma.narrow(2, 0, agreement::SCORES)?,
            summary: luma.narrow(2, agreement::SCORES, agreement::SUMMARY)?,
            luma,
            flow: state.narrow(2, FLOW, 4)?,
            displacement: state.narrow(2, DISPLACEMENT, 2)?,
            phase: state.narrow(2, PHASE, 1)?,
            state,
            warped,
        })
    }

    /// Warps both sides by the state's flow, compares them, and puts the displacement that their
    /// features expect into the state.
    pub fn run(&self, context: &Context, [left, right]: [Side; 2], sharp: Sharpness) -> Result<()> {
        let (a, b, scores) = (&self.left, &self.right, &self.scores);
        let (to_left, to_right) = (self.flow.narrow(2, 0, 2)?, self.flow.narrow(2, 2, 2)?);
        warp_normalised(context, left.0, &to_left, NORM_EPSILON, a)?;
        warp_normalised(context, right.0, &to_right, NORM_EPSILON, b)?;
        correlate(context, a, b, &self.phase, scores)?;
        let (luma, space) = ([left.1, right.1], &self.warped);
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
        Ok(expected(context, scores, sharp.features, out)?)
    }
}

/// Motion that was found, in cells of 8x8 pixels.
#[derive(Debug, Clone, Copy)]
pub struct Motions<'a> {
    /// Between the pictures, both ways.
    pub found: &'a Tensor,
    /// From the left one to the one before, see [`hypotheses::remember`].
    pub past: &'a Tensor,
    /// Where motion is bent by trajectories.
    pub ahead: Option<&'a Ahead>,
}

/// What bends the motion.
#[derive(Debug)]
pub struct Ahead {
    pub(super) field: Arc<Field>,
    /// Motion between the right picture and the one after it, both ways.
    pub found: Tensor,
    /// The same from the right one, see [`bend::foresee`].
    pub future: Tensor,
    pub(super) bend: Tensor,
    /// See [`bend::lean`].
    pub(super) lean: Tensor,
}

impl Ahead {
    pub fn new(size: (usize, usize), device: &Device) -> Result<Self> {
        Ok(Self {
            field: Field::embedded()?,
            found: zeros(size, 4, device)?,
            future: zeros(size, 3, device)?,
            bend: zeros(size, 2, device)?,
            lean: zeros(size, 2, device)?,
        })
    }
}

/// What the decoder needs.
#[derive(Debug)]
pub struct DecoderSpace {
    pub matched: Match,
    pub(super) hypotheses: hypotheses::Space,
    pub(super) cues: Tensor,
    /// A view of the cues.
    pub(super) acceleration: Tensor,
    pub(super) squeezed: Tensor,
    pub(super) entered: Tensor,
    pub(super) inner: Tensor,
    /// The features that the refiner expands.
    pub features: Tensor,
    pub(super) head: Tensor,
}

impl DecoderSpace {
    /// What the refiner does not need takes the memory of what it has `later`, by no step two of the same.
    pub fn new(
        c: &Config,
        size: (usize, usize),
        later: &RefinerSpace,
        context: &Context,
    ) -> Result<Self> {
        let device = &context.device();
        let zeros = |size, channels| zeros(size, channels, device);
        let cues = zeros(size, CUES)?;
        let in_memory_of =
            |other: &Tensor, channels, dtype| shared(other, (size.0, size.1, channels), dtype);
        let (single, precision) = (DType::F32, context.precision().dtype());
        let compared = Compared {
            left: in_memory_of(&later.whole, c.features, precision)?,
            right: in_memory_of(&later.matched.state, c.features, precision)?,
            scores: in_memory_of(&later.matched.scores, DISPLACEMENTS, single)?,
            luma: in_memory_of(&later.matched.luma, agreement::CHANNELS, single)?,
        };
        let warped = Warped::within(size, &later.matched.warped)?;
        Ok(Self {
            matched: Match::with(size, compared, warped)?,
            hypotheses: hypotheses::Space::new(size, device)?,
            acceleration: cues.narrow(2, ACCELERATION, 2)?,
            cues,
            squeezed: in_memory_of(&later.matched.left, c.features, precision)?,
            entered: in_memory_of(&later.squeezed, c.width, precision)?,
            inner: in_memory_of(&later.matched.right, c.width, precision)?,
            // the refiner expands them before it compares anything
            features: in_memory_of(&later.matched.scores, c.width, precision)?,
            head: zeros(size, CHANGE + 1)?,
        })
    }

    /// Once a pair: how far both pictures are apart where nothing moves.
    pub fn rest(&self, context: &Context, pictures: [&Encoded; 2]) -> Result<()> {
        let luma = pictures.map(|encoded| &encoded.bytes[1]);
        Ok(hypotheses::rest(context, luma, &self.hypotheses)?)
    }

    /// Updates the state as along trajectories.
    fn bend(&self, context: &Context, ahead: &Ahead) -> Result<()> {
        let m = &self.matched;
        bend::bend(context, &ahead.field, &self.cells(ahead), &ahead.bend)?;
        motion::update(context, &self.head, &m.summary, None, &m.state)?;
        Ok(motion::put_ahead(context, &ahead.bend, &m.state)?)
    }

    /// What the trajectories that were bent last have beside a parabola.
    pub fn lean(&self, context: &Context, ahead: &Ahead) -> Result<()> {
        let cells = self.cells(ahead);
        Ok(bend::lean(context, &ahead.field, &cells, &ahead.lean)?)
    }

    fn cells<'a>(&'a self, ahead: &'a Ahead) -> bend::Cells<'a> {
        bend::Cells {
            flow: &self.matched.flow,
            phase: &self.matched.phase,
            cues: &self.cues,
            change: &self.head,
            future: &ahead.future,
        }
    }
}

impl Decoder {
    pub fn load(checkpoint: &Checkpoint, c: &Config) -> Result<Self> {
        let filter = |name: &str, shape| checkpoint.filter(&format!("decoder.{name}"), shape, 1);
        let known = c.features + CUES + STATE + agreement::SUMMARY;
        Ok(Self {
            squeeze: filter("squeeze", [c.features, 2 * c.features + SCORES, 1])?,
            entry: filter("entry", [c.width, known, 3])?,
            res1: filter("res1", [c.width, c.width, 3])?,
            res2: filter("res2", [c.width, c.width, 3])?,
            head: filter("head", [CHANGE + 1, c.width, 1])?,
            sharpness: Sharpness::load(checkpoint, "decoder")?,
        })
    }

    /// Makes the state from the `motions` found and both pictures' features.
    pub fn run(
        &self,
        context: &Context,
        space: &DecoderSpace,
        motions: Motions,
        sides: [Side; 2],
        phase: &PhaseMap,
        observe: &mut Observer,
    ) -> Result<()> {
        use Activation::{Leaky, Linear};
        let s = space;
        let m = &s.matched;
        motion::begin(context, phase, &m.state)?;
        let (luma, spaces) = (sides.map(|side| side.1), (&s.hypotheses, &m.warped));
        let chosen = (&m.flow, &s.cues);
        let known = (motions.found, motions.past);
        hypotheses::choose(context, luma, known, &m.phase, spaces, chosen)?;
        observe("decoder.chosen", 0, &m.flow);
        observe("decoder.cues", 0, &s.cues);
        m.run(context, sides, self.sharpness)?;
        observe("decoder.left", 0, &m.left);
        observe("decoder.right", 0, &m.right);
        observe("decoder.scores", 0, &m.scores);
        observe("decoder.expected", 0, &m.displacement);
        observe("decoder.luma", 0, &m.luma);
        let sides = [&m.left, &m.right, &m.scores, &m.luma_scores];
        self.squeeze
            .apply(context, &sides, None, Leaky, &s.squeezed)?;
        observe("decoder.squeeze", 0, &s.squeezed);
        let known = [&s.squeezed, &s.cues, &m.state, &m.summary];
        self.entry.apply(context, &known, None, Leaky, &s.entered)?;
        observe("decoder.entry", 0, &s.entered);
        self.res1
            .apply(context, &[&s.entered], None, Leaky, &s.inner)?;
        let entered = Some(&s.entered);
        self.res2
            .apply(context, &[&s.inner], entered, Leaky, &s.features)?;
        observe("decoder.features", 0, &s.features);
        self.head
            .apply(context, &[&s.features], None, Linear, &s.head)?;
        match motions.ahead {
            None => {
                let acceleration = Some(&s.acceleration);
                motion::update(context, &s.head, &m.summary, acceleration, &m.state)?;
            }
            Some(ahead) => s.bend(context, ahead)?,
        }
        observe("decoder.state", 0, &m.state);
        Ok(())
    }
}
