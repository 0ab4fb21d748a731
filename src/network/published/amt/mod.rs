//! AMT: the coarse-to-fine flow of IFRNet, set right at three sizes by how alike the places are that it
//! points to, and a picture from several flows at once. From the paper, "AMT: All-Pairs Multi-Field
//! Transforms for Efficient Frame Interpolation" (CVPR 2023), and the names and shapes of its
//! checkpoints; what the versions differ in is data.
//!
//! Pictures are padded by repeating their edges all around. What is answered as motion is the mean of the
//! flows and masks; all that the picture has beyond their blend is the residual.

use candle_core::Tensor;

use super::RGB;
use super::layers::{self, Slopes};
use super::pyramid::{self, Decoder, FLOW, LEVELS};
use crate::error::Result;
use crate::kernels::answers::{self, MASK};
use crate::kernels::conv::{self, Activation, Filter};
use crate::kernels::{Context, PhaseMap, pairs, picture, resample, warp};
use crate::network::checkpoint::Checkpoint;

mod features;
mod space;
mod update;

use features::Features;
pub use space::Space;
use update::Updates;

/// Sides of padded pictures are multiples of this.
const MULTIPLE: usize = 16;
/// Pixels of a cell in which places are compared, and the level of the pyramid of that size.
const CELL: usize = 8;
const COMPARED: usize = 2;
/// Channels of a comparison with both sides.
const COMPARISON: usize = 2 * pairs::LEVELS * pairs::LOOKED_UP;
/// Channels of the last decoder for each flow: flow, mask, and what is to be added to the picture.
const FIELD: usize = FLOW + 1 + RGB;
/// Most flows.
const MOST_FIELDS: usize = 16;

/// Widths of the encoder's levels, and what the network is called that has them.
const VERSIONS: [([usize; LEVELS], &str); 3] = [
    ([20, 32, 44, 56], "AMT S"),
    ([48, 64, 72, 128], "AMT L"),
    ([84, 96, 112, 128], "AMT G"),
];

/// The weights.
#[derive(Debug)]
pub struct Amt {
    widths: [usize; LEVELS],
    features: Features,
    /// Finest first: what halves the size, and what follows.
    encoder: Vec<[Filter; 2]>,
    /// Finest first.
    decoders: Vec<Decoder>,
    /// Behind the decoders of levels 1, 2, 3.
    updates: Vec<Updates>,
    /// How many flows there are.
    fields: usize,
    /// From the pictures of all flows to what is added to their mean.
    combine: [Filter; 2],
}

impl Amt {
    /// Reads the widths and the weights.
    ///
    /// # Errors
    /// A tensor is missing, has another shape, or is one too many.
    pub fn load(checkpoint: &Checkpoint) -> Result<Self> {
        let (widths, side) = pyramid::widths(checkpoint)?;
        let last = checkpoint.outputs("decoder1.convblock.2.bias", FIELD..=MOST_FIELDS * FIELD)?;
        let fields = last / FIELD;
        let encoder = (0..LEVELS).map(|i| pyramid::encoder(checkpoint, &widths, i));
        let decoder = |i: usize| {
            let inputs = match i + 1 == LEVELS {
                true => 2 * widths[i] + 1,
                false => 3 * widths[i] + FLOW,
            };
            let outputs = match i {
                0 => fields * FIELD,
                _ => FLOW + widths[i - 1],
            };
            let channels = [inputs, pyramid::width(&widths, i), outputs];
            Decoder::load(checkpoint, i, channels, side)
        };
        let updates = (1..LEVELS).map(|i| Updates::load(checkpoint, i, widths[i - 1]));
        let net = Self {
            features: Features::load(checkpoint)?,
            encoder: encoder.collect::<Result<_>>()?,
            decoders: (0..LEVELS).map(decoder).collect::<Result<_>>()?,
            updates: updates.collect::<Result<_>>()?,
            combine: combine(checkpoint, fields)?,
            fields,
            widths,
        };
        checkpoint.expect_no_more("AMT", &[])?;
        Ok(net)
    }

    /// Which one it is.
    pub fn version(&self) -> &'static str {
        let known = VERSIONS.iter().find(|(widths, _)| *widths == self.widths);
        known.map_or("AMT of other widths", |(_, name)| name)
    }

    /// Memory for pictures of `size`, to be run on `context`.
    pub fn space(&self, context: &Context, size: (usize, usize)) -> Result<Space> {
        Space::new(self, context, size)
    }

    /// Fills `motion`, `[h, w, 5]`, with flow in pixels and mask, and `residual`, `[h, w, 3]`, with what the
    /// network's picture has beyond the blend.
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
        // What lies around a picture is a part of the mean.
        for (side, own) in sides.into_iter().zip(&space.sides) {
            space.centred.fill(context, side, own)?;
        }
        let [left, right] = &space.sides;
        space.mean.take(context, [left, right])?;
        for (side, own) in space.sides.iter().enumerate() {
            space.mean.lower(context, own, &space.lowered)?;
            let rooms = space.levels.iter().map(|l| (&l.middle, &l.features[side]));
            pyramid::encode(context, &self.encoder, &space.lowered, rooms)?;
            self.features.run(context, space, side)?;
        }
        let phase = space.centred.phase(phase)?;
        answers::phases(context, &phase, MULTIPLE, &space.coarse_phases)?;
        answers::phases(context, &phase, CELL, &space.phases)?;
        for i in (1..LEVELS).rev() {
            self.decode(context, space, i)?;
            self.updates[i - 1].run(context, space, i)?;
        }
        self.decode(context, space, 0)?;
        self.combine(context, space)?;
        space.centred.cut(context, &space.motion, motion)?;
        space.centred.cut(context, &space.picture, residual)
    }

    /// Runs the decoder of level `i`. Behind all but the last one lies the flow of the next level and its
    /// features.
    fn decode(&self, context: &Context, space: &Space, i: usize) -> Result<()> {
        let (decoder, level) = (&self.decoders[i], &space.levels[i]);
        let [left, right] = &level.features;
        match space.levels.get(i + 1) {
            None => decoder.run(context, &level.room, &[left, right, &space.coarse_phases])?,
            Some(_) => {
                for side in 0..2 {
                    let flow = level.flow.narrow(2, 2 * side, 2)?;
                    warp::warp(context, &level.features[side], &flow, &level.warped[side])?;
                }
                let [left, right] = &level.warped;
                decoder.run(
                    context,
                    &level.room,
                    &[&level.between, left, right, &level.flow],
                )?;
            }
        }
        let Some(finer) = i.checked_sub(1).map(|i| &space.levels[i]) else {
            return Ok(());
        };
        let flow = level.room.answer.narrow(2, 0, FLOW)?;
        match i + 1 == LEVELS {
            true => picture::copy(context, &flow, &finer.flow)?,
            false => resample::double_and_add(context, &level.flow, 2.0, Some(&flow), &finer.flow)?,
        }
        let between = level.room.answer.narrow(2, FLOW, self.widths[i - 1])?;
        Ok(picture::copy(context, &between, &finer.between)?)
    }

    /// Makes the picture from what the last decoder has answered: all flows to both sides, all masks, all
    /// that is to be added; and of these the mean.
    fn combine(&self, context: &Context, space: &Space) -> Result<()> {
        let (level, n) = (&space.levels[0], self.fields);
        let answer = &level.room.answer;
        let [left, right] = &space.sides;
        let (own, share) = (&space.field, 1.0 / n as f32);
        picture::fill(context, 0.0, &space.motion)?;
        picture::fill(context, 0.0, &space.picture)?;
        for k in 0..n {
            for side in 0..2 {
                let change = answer.narrow(2, 2 * (side * n + k), 2)?;
                let flow = level.flow.narrow(2, 2 * side, 2)?;
                let out = own.narrow(2, 2 * side, 2)?;
                resample::double_and_add(context, &flow, 2.0, Some(&change), &out)?;
            }
            let mask = answer.narrow(2, FLOW * n + k, 1)?;
            picture::sigmoid(context, &mask, &own.narrow(2, MASK, 1)?)?;
            picture::blend(context, [left, right], own, &space.blend)?;
            let added = answer.narrow(2, (FLOW + 1) * n + RGB * k, RGB)?;
            let made = space.pictures.narrow(2, RGB * k, RGB)?;
            conv::add(context, &space.blend, &added, &made)?;
            picture::add_scaled(context, share, own, &space.motion)?;
            picture::add_scaled(context, share, &made, &space.picture)?;
        }
        let [first, second] = &self.combine;
        first.apply(
            context,
            &[&space.pictures],
            None,
            Activation::Leaky,
            &space.combined,
        )?;
        let linear = Activation::Linear;
        second.apply(context, &[&space.combined], None, linear, &space.lowered)?;
        picture::add_scaled(context, 1.0, &space.lowered, &space.picture)?;
        picture::blend(context, [left, right], &space.motion, &space.blend)?;
        Ok(picture::add_scaled(
            context,
            -1.0,
            &space.blend,
            &space.picture,
        )?)
    }
}

fn combine(checkpoint: &Checkpoint, fields: usize) -> Result<[Filter; 2]> {
    let kernel = kernel(checkpoint, "comb_block.0");
    let (seen, wide) = (RGB * fields, 2 * RGB * fields);
    let slopes = Slopes::Named("comb_block.1".into());
    let shape = [wide, seen, kernel];
    Ok([
        layers::convolution(checkpoint, "comb_block.0", shape, 1, &slopes)?,
        checkpoint.filter("comb_block.2", [RGB, wide, kernel], 1)?,
    ])
}

/// The kernel's size of a convolution that has 3 or another one of those that there are.
fn kernel(checkpoint: &Checkpoint, name: &str) -> usize {
    match checkpoint.shape(&format!("{name}.weight")) {
        Some([_, _, k @ (1 | 7), _]) => *k,
        _ => 3,
    }
}

/// Outputs of a convolution.
fn outputs(checkpoint: &Checkpoint, name: &str) -> Result<usize> {
    checkpoint.outputs(&format!("{name}.bias"), 1..=layers::WIDEST)
}
