//! EMA-VFI: features of both pictures by convolutions, then by attention between windows of both, which
//! also says how far what is alike has moved; heads make flow of it from coarse to fine, and a
//! refiner adds to the blend. From `MCG-NJU/EMA-VFI: model/*`; what the versions differ in is data.
//!
//! Pictures are padded by repeating their edges all around. There is no test-time augmentation.

use candle_core::{Device, Tensor};

use super::RGB;
use super::layers::{self, Slopes};
use super::refine::Refiner;
use super::views::Pair;
use crate::error::Result;
use crate::kernels::answers::{self, Masks};
use crate::kernels::conv::{Activation, Filter};
use crate::kernels::{Context, PhaseMap};
use crate::network::checkpoint::Checkpoint;

mod head;
mod space;
mod stage;

use head::Head;
pub use space::Space;
use stage::Stage;

/// Stages of convolutions, the first at full size, each half the size of the one before.
const CONVOLVED: usize = 3;
/// Stages of attention behind them.
const ATTENDING: usize = 2;
/// Sides of padded pictures are multiples of this.
const MULTIPLE: usize = 32;
/// Cells of a side of a window.
const WINDOW: usize = 7;
/// Channels of a head of attention.
const HEAD: usize = 32;

/// Channels of the first stage, blocks of the stages of attention, and what it is called.
const VERSIONS: [(usize, [usize; ATTENDING], &str); 2] =
    [(16, [2, 2], "EMA-VFI small"), (32, [4, 4], "EMA-VFI")];

/// The weights.
#[derive(Debug)]
pub struct Ema {
    /// Channels of the first stage; those of each other are twice those of the one before.
    base: usize,
    convolved: Vec<Vec<Filter>>,
    attending: Vec<Stage>,
    /// Of each stage of attention, the last one first.
    heads: Vec<Head>,
    refiner: Refiner,
}

impl Ema {
    /// Reads the widths and the weights.
    ///
    /// # Errors
    /// A tensor is missing, has another shape, or is one too many.
    pub fn load(checkpoint: &Checkpoint) -> Result<Self> {
        let widest = layers::WIDEST >> (CONVOLVED + ATTENDING + 1);
        let base = checkpoint.outputs("feature_bone.block1.conv.0.weight", 1..=widest)?;
        if !(base << CONVOLVED).is_multiple_of(HEAD) {
            let problem = format!("has {base} first features, expected a multiple of 4");
            return Err(checkpoint.problem(problem));
        }
        let convolved = (0..CONVOLVED).map(|i| convolutions(checkpoint, base, i));
        let attending = (0..ATTENDING).map(|i| Stage::load(checkpoint, base, i));
        let attending: Vec<_> = attending.collect::<Result<_>>()?;
        let heads = (0..ATTENDING).map(|i| Head::load(checkpoint, base, i, &attending));
        let net = Self {
            heads: heads.collect::<Result<_>>()?,
            refiner: Refiner::load(checkpoint, base)?,
            convolved: convolved.collect::<Result<_>>()?,
            base,
            attending,
        };
        // What depends on the size of the last picture of training.
        let sizes = net.attending.iter().enumerate().flat_map(|(i, stage)| {
            let name = move |j| format!("{}.{j}", stage_name(i));
            let names = (0..stage.blocks.len()).map(name);
            names.flat_map(|n| [format!("{n}.attn_mask"), format!("{n}.HW")])
        });
        let sizes: Vec<_> = sizes.collect();
        let ignored: Vec<_> = sizes.iter().map(String::as_str).collect();
        checkpoint.expect_no_more("EMA-VFI", &ignored)?;
        Ok(net)
    }

    /// Which one it is.
    pub fn version(&self) -> &'static str {
        let blocks = self.attending.iter().map(|stage| stage.blocks.len());
        let is = |(base, depths, _): &&(usize, [usize; ATTENDING], _)| {
            *base == self.base && depths.iter().copied().eq(blocks.clone())
        };
        let known = VERSIONS.iter().find(is);
        known.map_or("EMA-VFI of other widths", |(.., name)| name)
    }

    /// Memory for pictures of `size`.
    pub fn space(&self, device: &Device, size: (usize, usize)) -> Result<Space> {
        Space::new(self, device, size)
    }

    /// Channels of a stage.
    fn width(&self, stage: usize) -> usize {
        self.base << stage
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
        for (side, image) in sides.into_iter().enumerate() {
            space.centred.fill(context, image, &space.sides[side])?;
            self.convolve(context, space, side)?;
        }
        for (i, stage) in self.attending.iter().enumerate() {
            stage.run(context, space, i)?;
        }
        let [left, right] = &space.sides;
        let pair = Pair {
            sides: [left, right],
            left,
            phase: &space.centred.phase(phase)?,
        };
        let all: Vec<_> = (0..self.heads.len()).map(|i| space.answer(i)).collect();
        for (i, head) in self.heads.iter().enumerate() {
            head.run(context, space, i, &pair, &all[..i])?;
        }
        let (own, added) = (&space.motion, &space.residual);
        answers::conclude(context, (&all, Masks::Added), own)?;
        let views = space
            .views
            .of(context, &pair, &all, 1.0, space.centred.whole)?;
        let refiner = &self.refiner;
        refiner.run(
            context,
            &space.refiner,
            &views,
            &space.features,
            (own, added),
        )?;
        space.centred.cut(context, own, motion)?;
        space.centred.cut(context, added, residual)
    }

    /// Makes the features of a side that come from convolutions.
    fn convolve(&self, context: &Context, space: &Space, side: usize) -> Result<()> {
        let mut input = space.sides[side].narrow(2, 0, RGB)?;
        for (i, convs) in self.convolved.iter().enumerate() {
            for (k, conv) in convs.iter().enumerate() {
                let out = match k + 1 == convs.len() {
                    true => &space.features[i][side],
                    false => &space.middle[i][k],
                };
                conv.apply(context, &[&input], None, Activation::Leaky, out)?;
                input = out.clone();
            }
        }
        Ok(())
    }
}

/// The convolutions of stage `i`. Behind the first stage one that halves the size comes before them.
fn convolutions(checkpoint: &Checkpoint, base: usize, i: usize) -> Result<Vec<Filter>> {
    let width = base << i;
    let conv = |name: &str, k: usize, inputs, stride| {
        let slopes = Slopes::Named(format!("feature_bone.{name}.{}", k + 1));
        let name = format!("feature_bone.{name}.{k}");
        layers::convolution(checkpoint, &name, [width, inputs, 3], stride, &slopes)
    };
    let block = format!("block{}.conv", i + 1);
    let first = match i {
        0 => vec![conv(&block, 0, RGB, 1)?],
        _ => vec![
            conv(&format!("patch_embed{}", i + 1), 0, width / 2, 2)?,
            conv(&block, 0, width, 1)?,
        ],
    };
    Ok(first
        .into_iter()
        .chain([conv(&block, 2, width, 1)?])
        .collect())
}

/// Channels of stage of attention `i`.
fn attended(base: usize, i: usize) -> usize {
    base << (CONVOLVED + i)
}

/// What the authors call the blocks of stage of attention `i`.
fn stage_name(i: usize) -> String {
    format!("feature_bone.block{}", CONVOLVED + i + 1)
}
