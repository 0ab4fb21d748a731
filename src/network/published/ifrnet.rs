//! IFRNet: an encoder for each picture, and decoders from a sixteenth of the size to the whole that
//! refine flow to both sides together with features of the picture between. From
//! `ltkong218/IFRNet: models/IFRNet{,_S,_L}.py, utils.py`; the three differ in widths and in the size
//! of the first kernel.
//!
//! Pictures are padded by repeating their edge on the right and below.
//!
//! `zzh-tech/InterpAny-Clearer` trains the middle one on distances instead of times ([D]): the phase
//! is the distance everywhere, and nothing else changes. With iterative references ([D,R]) the
//! coarsest decoder also sees a picture nearer to the wanted one, and its distance: the left one
//! first, then what was made of it part of the way.

use candle_core::Tensor;

use super::RGB;
use super::layers::{self, zeros};
use super::pyramid::{self, Decoder, FLOW, LEVELS, Room};
use crate::error::Result;
use crate::kernels::answers::{self, MASK};
use crate::kernels::conv::Filter;
use crate::kernels::{Context, PhaseMap, picture, resample, warp};
use crate::network::checkpoint::Checkpoint;

/// Sides of padded pictures are multiples of this.
const MULTIPLE: usize = 1 << LEVELS;
/// What the last decoder answers: flow, mask, and what is to be added to the picture.
const LAST: usize = FLOW + 1 + RGB;

/// Widths of the encoder's levels, and what the network is called that has them.
const VERSIONS: [([usize; LEVELS], &str, &str); 3] = [
    ([24, 36, 54, 72], "IFRNet S", "IFRNet S [D,R]"),
    ([32, 48, 72, 96], "IFRNet", "IFRNet [D,R]"),
    ([64, 96, 144, 192], "IFRNet L", "IFRNet L [D,R]"),
];

/// The weights.
#[derive(Debug)]
pub struct Ifrnet {
    widths: [usize; LEVELS],
    /// Whether the coarsest decoder sees a reference.
    has_reference: bool,
    /// Finest first: what halves the size, and what follows.
    encoder: Vec<[Filter; 2]>,
    /// Finest first.
    decoders: Vec<Decoder>,
}

impl Ifrnet {
    /// Reads the widths and the weights.
    ///
    /// # Errors
    /// A tensor is missing, has another shape, or is one too many.
    pub fn load(checkpoint: &Checkpoint) -> Result<Self> {
        let (widths, side) = pyramid::widths(checkpoint)?;
        let has_reference = match checkpoint.shape("decoder4.convblock.0.0.weight") {
            Some([_, inputs, ..]) => *inputs == 3 * widths[LEVELS - 1] + 2,
            _ => false,
        };
        let inputs = |i: usize| match (i + 1 == LEVELS, has_reference) {
            // features of both pictures and the phase, the same of the reference
            (true, false) => 2 * widths[i] + 1,
            (true, true) => 3 * widths[i] + 2,
            // features of the picture between, the warped ones of both, flow
            (false, _) => 3 * widths[i] + FLOW,
        };
        let encoder = (0..LEVELS).map(|i| pyramid::encoder(checkpoint, &widths, i));
        let decoder = |i: usize| {
            let channels = [inputs(i), pyramid::width(&widths, i), answer(&widths, i)];
            Decoder::load(checkpoint, i, channels, side)
        };
        let decoders = (0..LEVELS).map(decoder);
        let net = Self {
            encoder: encoder.collect::<Result<_>>()?,
            decoders: decoders.collect::<Result<_>>()?,
            widths,
            has_reference,
        };
        checkpoint.expect_no_more("IFRNet", &[])?;
        Ok(net)
    }

    /// Which of the three it is, and whether with references.
    pub fn version(&self) -> &'static str {
        let known = VERSIONS.iter().find(|(widths, ..)| *widths == self.widths);
        known.map_or(
            "IFRNet of other widths",
            |(_, usual, referring)| match self.has_reference {
                true => referring,
                false => usual,
            },
        )
    }

    /// The size that pictures are padded to.
    pub fn padded(&self, (height, width): (usize, usize)) -> (usize, usize) {
        (
            height.next_multiple_of(MULTIPLE),
            width.next_multiple_of(MULTIPLE),
        )
    }

    /// Memory for pictures of a padded size, to be run on `context`. A network with references goes `iterations` steps to a
    /// phase.
    pub fn space(
        &self,
        context: &Context,
        (h, w): (usize, usize),
        iterations: u32,
    ) -> Result<Space> {
        let device = &context.device();
        let zeros = |shape| zeros(device, shape);
        let level = |i: usize| (h >> (i + 1), w >> (i + 1));
        let references = usize::from(self.has_reference);
        let levels = (0..LEVELS).map(|i| {
            let ((h, w), width) = (level(i), self.widths[i]);
            let features = || layers::features(context, [h, w, width]);
            Ok(Level {
                middle: features()?,
                features: (0..2 + references)
                    .map(|_| features())
                    .collect::<Result<_>>()?,
                warped: [features()?, features()?],
                flow: zeros([h, w, FLOW])?,
                room: self.decoders[i].room(context, (h, w))?,
            })
        });
        let (y, x) = level(LEVELS - 1);
        Ok(Space {
            mean: picture::Mean::new(device, h)?,
            centred: zeros([h, w, RGB])?,
            reference: zeros([h, w, RGB])?,
            whole_phase: zeros([y, x, 1])?,
            phases: [zeros([y, x, 1])?, zeros([y, x, 1])?],
            steps: if self.has_reference {
                iterations.max(1)
            } else {
                1
            },
            levels: levels.collect::<Result<_>>()?,
        })
    }

    /// Fills `motion`, `[h, w, 5]`, with flow in pixels and mask, and `residual`, `[h, w, 3]`, with what
    /// is to be added.
    ///
    /// # Errors
    /// Pictures of another size than the space's.
    pub fn run(
        &self,
        context: &Context,
        space: &Space,
        sides: [&Tensor; 2],
        phase: &PhaseMap,
        (motion, residual): (&Tensor, &Tensor),
    ) -> Result<()> {
        space.mean.take(context, sides)?;
        for (i, side) in sides.into_iter().enumerate() {
            space.mean.lower(context, side, &space.centred)?;
            self.encode(context, space, i)?;
        }
        answers::phases(context, phase, MULTIPLE, &space.whole_phase)?;
        picture::copy(context, sides[0], &space.reference)?;
        for step in 0..space.steps {
            // The phases of the reference and of what is made of it.
            for (phase, share) in space.phases.iter().zip([step, step + 1]) {
                let share = share as f32 / space.steps as f32;
                picture::scale(context, share, &space.whole_phase, phase)?;
            }
            if self.has_reference {
                space
                    .mean
                    .lower(context, &space.reference, &space.centred)?;
                self.encode(context, space, 2)?;
            }
            self.step(context, space, motion, residual)?;
            if step + 1 < space.steps {
                picture::blend(context, sides, motion, &space.centred)?;
                picture::add_clamped(context, &space.centred, residual, &space.reference)?;
            }
        }
        Ok(())
    }

    /// From features and phases to motion and residual.
    fn step(
        &self,
        context: &Context,
        space: &Space,
        motion: &Tensor,
        residual: &Tensor,
    ) -> Result<()> {
        for i in (0..LEVELS).rev() {
            self.decode(context, space, i)?;
        }
        let (finest, answer) = (&space.levels[0], &space.levels[0].room.answer);
        let flow = answer.narrow(2, 0, FLOW)?;
        let own = motion.narrow(2, 0, FLOW)?;
        resample::double_and_add(context, &finest.flow, 2.0, Some(&flow), &own)?;
        let mask = answer.narrow(2, FLOW, 1)?;
        picture::sigmoid(context, &mask, &motion.narrow(2, MASK, 1)?)?;
        let surplus = answer.narrow(2, FLOW + 1, RGB)?;
        Ok(picture::copy(context, &surplus, residual)?)
    }

    fn encode(&self, context: &Context, space: &Space, side: usize) -> Result<()> {
        let rooms = space.levels.iter().map(|l| (&l.middle, &l.features[side]));
        pyramid::encode(context, &self.encoder, &space.centred, rooms)
    }

    /// Runs the decoder of level `i`, from what the one before answered.
    fn decode(&self, context: &Context, space: &Space, i: usize) -> Result<()> {
        let (decoder, level) = (&self.decoders[i], &space.levels[i]);
        let Some(coarser) = space.levels.get(i + 1) else {
            // all features, the phase, and that of the reference if there is one
            let mut inputs: Vec<_> = level.features.iter().collect();
            inputs.extend(space.phases.iter().rev().take(level.features.len() - 1));
            return decoder.run(context, &level.room, &inputs);
        };
        let flow = coarser.room.answer.narrow(2, 0, FLOW)?;
        match i + 2 < LEVELS {
            true => {
                let before = &coarser.flow;
                resample::double_and_add(context, before, 2.0, Some(&flow), &level.flow)?;
            }
            false => picture::copy(context, &flow, &level.flow)?,
        }
        for (side, warped) in level.warped.iter().enumerate() {
            let flow = level.flow.narrow(2, 2 * side, 2)?;
            warp::warp(context, &level.features[side], &flow, warped)?;
        }
        let between = coarser.room.answer.narrow(2, FLOW, self.widths[i])?;
        let [left, right] = &level.warped;
        decoder.run(context, &level.room, &[&between, left, right, &level.flow])
    }
}

/// Channels that the decoder of level `i` answers with.
fn answer(widths: &[usize], i: usize) -> usize {
    match i {
        0 => LAST,
        _ => FLOW + widths[i - 1],
    }
}

/// Memory for pictures of one size.
#[derive(Debug)]
pub struct Space {
    /// Of both pictures.
    mean: picture::Mean,
    /// A picture without the mean of both.
    centred: Tensor,
    /// What the next step begins with.
    reference: Tensor,
    /// The phase at the coarsest level; that of the reference, and that of the present step.
    whole_phase: Tensor,
    phases: [Tensor; 2],
    steps: u32,
    /// Finest first.
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    middle: Tensor,
    /// Of both pictures, and of the reference if there is one.
    features: Vec<Tensor>,
    warped: [Tensor; 2],
    flow: Tensor,
    /// The decoder answers with flow in pixels of its answer, then features or the rest.
    room: Room,
}
