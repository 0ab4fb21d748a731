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

use super::layers::{self, Slopes, zeros};
use super::{Encoded, RGB};
use crate::error::Result;
use crate::kernels::answers::{self, MASK};
use crate::kernels::conv::{Activation, Filter, Transposed};
use crate::kernels::{Context, PhaseMap, picture, resample, warp};
use crate::network::checkpoint::Checkpoint;

/// Levels of the pyramid, each half the size of the one before.
const LEVELS: usize = 4;
/// Sides of padded pictures are multiples of this.
const MULTIPLE: usize = 1 << LEVELS;
/// Channels of the flow to both sides.
const FLOW: usize = 4;
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

#[derive(Debug)]
struct Decoder {
    width: usize,
    side: usize,
    entry: Filter,
    /// `conv1` to `conv5` of the residual block.
    body: [Filter; 5],
    last: Transposed,
}

impl Ifrnet {
    /// Reads the widths and the weights.
    ///
    /// # Errors
    /// A tensor is missing, has another shape, or is one too many.
    pub fn load(checkpoint: &Checkpoint) -> Result<Self> {
        let mut widths = [0; LEVELS];
        for (i, width) in widths.iter_mut().enumerate() {
            let name = format!("encoder.pyramid{}.0.0.weight", i + 1);
            *width = checkpoint.outputs(&name, 1..=layers::WIDEST)?;
        }
        let side = checkpoint.outputs("decoder4.convblock.1.conv2.0.weight", 1..=layers::WIDEST)?;
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
        let encoder = (0..LEVELS).map(|i| encoder(checkpoint, &widths, i));
        let decoders = (0..LEVELS).map(|i| Decoder::load(checkpoint, &widths, side, i, inputs(i)));
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

    /// Room for a picture of a padded size.
    pub fn encoded(&self, (height, width): (usize, usize)) -> Result<Encoded> {
        Ok(Encoded {
            image: zeros([height, width, RGB])?,
        })
    }

    /// Memory for pictures of a padded size. A network with references goes `iterations` steps to a
    /// phase.
    pub fn space(&self, (h, w): (usize, usize), iterations: u32) -> Result<Space> {
        let level = |i: usize| (h >> (i + 1), w >> (i + 1));
        let references = usize::from(self.has_reference);
        let levels = (0..LEVELS).map(|i| {
            let ((h, w), width) = (level(i), self.widths[i]);
            let decoder = &self.decoders[i];
            let room = |c: usize| zeros([h, w, c]);
            Ok(Level {
                middle: room(width)?,
                features: (0..2 + references)
                    .map(|_| room(width))
                    .collect::<Result<_>>()?,
                warped: [room(width)?, room(width)?],
                flow: room(FLOW)?,
                wide: [
                    room(decoder.width)?,
                    room(decoder.width)?,
                    room(decoder.width)?,
                ],
                side: room(decoder.side)?,
                answer: zeros([2 * h, 2 * w, self.answer(i)])?,
            })
        });
        let (y, x) = level(LEVELS - 1);
        Ok(Space {
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

    /// Channels that the decoder of level `i` answers with.
    fn answer(&self, i: usize) -> usize {
        match i {
            0 => LAST,
            _ => FLOW + self.widths[i - 1],
        }
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
        let mean = (picture::mean(sides[0])? + picture::mean(sides[1])?) / 2.0;
        for (i, side) in sides.into_iter().enumerate() {
            picture::lower(context, side, mean, &space.centred)?;
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
                picture::lower(context, &space.reference, mean, &space.centred)?;
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
        let (finest, answer) = (&space.levels[0], &space.levels[0].answer);
        let flow = answer.narrow(2, 0, FLOW)?;
        let own = motion.narrow(2, 0, FLOW)?;
        resample::double_and_add(context, &finest.flow, 2.0, Some(&flow), &own)?;
        let mask = answer.narrow(2, FLOW, 1)?;
        picture::sigmoid(context, &mask, &motion.narrow(2, MASK, 1)?)?;
        let surplus = answer.narrow(2, FLOW + 1, RGB)?;
        Ok(picture::copy(context, &surplus, residual)?)
    }

    fn encode(&self, context: &Context, space: &Space, side: usize) -> Result<()> {
        let mut input = &space.centred;
        for (filters, level) in self.encoder.iter().zip(&space.levels) {
            let leaky = Activation::Leaky;
            filters[0].apply(context, &[input], None, leaky, &level.middle)?;
            filters[1].apply(
                context,
                &[&level.middle],
                None,
                leaky,
                &level.features[side],
            )?;
            input = &level.features[side];
        }
        Ok(())
    }

    /// Runs the decoder of level `i`, from what the one before answered.
    fn decode(&self, context: &Context, space: &Space, i: usize) -> Result<()> {
        let (decoder, level) = (&self.decoders[i], &space.levels[i]);
        let Some(coarser) = space.levels.get(i + 1) else {
            // all features, the phase, and that of the reference if there is one
            let mut inputs: Vec<_> = level.features.iter().collect();
            inputs.extend(space.phases.iter().rev().take(level.features.len() - 1));
            return decoder.run(context, level, &inputs);
        };
        let flow = coarser.answer.narrow(2, 0, FLOW)?;
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
        let between = coarser.answer.narrow(2, FLOW, self.widths[i])?;
        let [left, right] = &level.warped;
        decoder.run(context, level, &[&between, left, right, &level.flow])
    }
}

/// The two convolutions of level `i` of the encoder.
fn encoder(checkpoint: &Checkpoint, widths: &[usize], i: usize) -> Result<[Filter; 2]> {
    let (name, width) = (format!("encoder.pyramid{}", i + 1), widths[i]);
    let inputs = if i == 0 { RGB } else { widths[i - 1] };
    let kernel = match checkpoint.shape(&format!("{name}.0.0.weight")) {
        Some([_, _, 7, _]) => 7,
        _ => 3,
    };
    let conv = |k: usize, shape, stride| {
        let slopes = Slopes::Named(format!("{name}.{k}.1"));
        layers::convolution(checkpoint, &format!("{name}.{k}.0"), shape, stride, &slopes)
    };
    Ok([
        conv(0, [width, inputs, kernel], 2)?,
        conv(1, [width, width, 3], 1)?,
    ])
}

impl Decoder {
    /// Of level `i`, which the authors count from 1.
    fn load(
        checkpoint: &Checkpoint,
        widths: &[usize],
        side: usize,
        i: usize,
        inputs: usize,
    ) -> Result<Self> {
        let name = format!("decoder{}.convblock", i + 1);
        let width = if i + 1 == LEVELS { 2 } else { 3 } * widths[i];
        let outputs = match i {
            0 => LAST,
            _ => FLOW + widths[i - 1],
        };
        let conv = |layer: &str, slopes: &str, shape| {
            let slopes = Slopes::Named(format!("{name}.{slopes}"));
            layers::convolution(checkpoint, &format!("{name}.{layer}"), shape, 1, &slopes)
        };
        let all: Vec<_> = (0..outputs).map(Some).collect();
        Ok(Self {
            width,
            side,
            entry: conv("0.0", "0.1", [width, inputs, 3])?,
            body: [
                conv("1.conv1.0", "1.conv1.1", [width, width, 3])?,
                conv("1.conv2.0", "1.conv2.1", [side, side, 3])?,
                conv("1.conv3.0", "1.conv3.1", [width, width, 3])?,
                conv("1.conv4.0", "1.conv4.1", [side, side, 3])?,
                conv("1.conv5", "1.prelu", [width, width, 3])?,
            ],
            last: layers::transposed(checkpoint, &format!("{name}.2"), [width, outputs], 1, &all)?,
        })
    }

    /// The second and fourth convolution of the block see its last channels only.
    fn run(&self, context: &Context, level: &Level, inputs: &[&Tensor]) -> Result<()> {
        let [x, a, b] = &level.wide;
        let run = |filter: &Filter, inputs: &[&Tensor], residual, out: &Tensor| {
            filter.apply(context, inputs, residual, Activation::Leaky, out)
        };
        let rest = self.width - self.side;
        let last = |t: &Tensor| t.narrow(2, rest, self.side);
        let first = |t: &Tensor| t.narrow(2, 0, rest);
        let [conv1, conv2, conv3, conv4, conv5] = &self.body;
        run(&self.entry, inputs, None, x)?;
        run(conv1, &[x], None, a)?;
        run(conv2, &[&last(a)?], None, &level.side)?;
        run(conv3, &[&first(a)?, &level.side], None, b)?;
        run(conv4, &[&last(b)?], None, &level.side)?;
        run(conv5, &[&first(b)?, &level.side], Some(x), a)?;
        Ok(self.last.apply(context, &[a], 0, &level.answer)?)
    }
}

/// Memory for pictures of one size.
#[derive(Debug)]
pub struct Space {
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
    /// What the decoder works in.
    wide: [Tensor; 3],
    side: Tensor,
    /// Of the decoder, at twice the level's size: flow in its own pixels, features or the rest.
    answer: Tensor,
}
