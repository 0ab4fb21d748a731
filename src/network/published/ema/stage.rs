//! A stage of attention: what makes its features, its blocks, the motion that they tell.

use candle_core::Tensor;

use super::space::{Attending, Space};
use super::{CONVOLVED, HEAD, attended, stage_name};
use crate::error::Result;
use crate::kernels::conv::{Activation, Filter};
use crate::kernels::transformer::{self, Depthwise, Norm};
use crate::kernels::{Context, picture};
use crate::network::checkpoint::Checkpoint;
use crate::network::published::layers;

/// Most blocks of a stage of attention.
const MOST_BLOCKS: usize = 16;
/// Added to variances, in the norms of blocks and stages and in those of what feeds a stage.
const EPSILON: f32 = 1e-6;
const EPSILON_OF_ENTRY: f32 = 1e-5;

/// A stage of attention.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) entry: Entry,
    entry_norm: Norm,
    pub(super) blocks: Vec<Block>,
    norm: Norm,
}

/// What makes the features of a stage of attention from those before it.
#[derive(Debug)]
pub(super) enum Entry {
    /// From all stages of convolutions, by several dilated convolutions of each.
    All { parts: Vec<Part>, whole: Filter },
    /// From the stage before.
    One(Filter),
}

/// A convolution of 3x3 of one stage, as one of 1x1 of its patches.
#[derive(Debug)]
pub(super) struct Part {
    stage: usize,
    /// Pixels from a patch to the next, and from a tap to the next.
    step: (usize, usize),
    filter: Filter,
}

#[derive(Debug)]
pub(super) struct Block {
    norms: [Norm; 2],
    query: Filter,
    key_value: Filter,
    place: Filter,
    attended: Filter,
    pub(super) moved: Filter,
    pub(super) widen: Filter,
    mix: Depthwise,
    narrow: Filter,
}

impl Stage {
    pub(super) fn load(checkpoint: &Checkpoint, base: usize, i: usize) -> Result<Self> {
        let (width, stage) = (attended(base, i), CONVOLVED + i + 1);
        let entry = format!("feature_bone.patch_embed{stage}");
        let name = stage_name(i);
        let is_there = |j: &usize| {
            let name = format!("{name}.{j}.norm1.weight");
            checkpoint.shape(&name).is_some()
        };
        let count = (0..MOST_BLOCKS).take_while(is_there).count();
        let blocks = (0..count).map(|j| Block::load(checkpoint, &format!("{name}.{j}"), width));
        Ok(Self {
            entry: match i {
                0 => Entry::all(checkpoint, &entry, base, width)?,
                _ => {
                    let shape = [width, width / 2, 3];
                    Entry::One(checkpoint.filter(&format!("{entry}.proj"), shape, 2)?)
                }
            },
            entry_norm: norm(
                checkpoint,
                &format!("{entry}.norm"),
                width,
                EPSILON_OF_ENTRY,
            )?,
            blocks: blocks.collect::<Result<_>>()?,
            norm: norm(
                checkpoint,
                &format!("feature_bone.norm{stage}"),
                width,
                EPSILON,
            )?,
        })
    }

    /// Channels of what all blocks together say of motion.
    pub(super) fn moved(&self) -> usize {
        self.blocks.iter().map(|b| b.moved.outputs()).sum()
    }

    /// Makes features and motion of both sides in the space of stage `i`.
    pub(super) fn run(&self, context: &Context, space: &Space, i: usize) -> Result<()> {
        let own = &space.attending[i];
        for side in 0..2 {
            match &self.entry {
                Entry::All { parts, whole } => {
                    for (k, part) in parts.iter().enumerate() {
                        let input = &space.features[part.stage][side];
                        let width = part.filter.outputs();
                        let (h, w) = own.windows[0].size();
                        let patches = [h, w, 9 * input.dim(2)?];
                        let patches = own.patches.tensor(patches)?;
                        transformer::patches(context, input, part.step, &patches)?;
                        let out = own.parts.narrow(2, k * width, width)?;
                        linear(context, &part.filter, &[&patches], None, &out)?;
                    }
                    linear(context, whole, &[&own.parts], None, &own.entry)?;
                }
                Entry::One(conv) => {
                    let input = &space.features[CONVOLVED + i - 1][side];
                    linear(context, conv, &[input], None, &own.entry)?;
                }
            }
            self.entry_norm
                .apply(context, &own.entry, &own.grids[side])?;
        }
        let mut first = 0;
        for (j, block) in self.blocks.iter().enumerate() {
            block.run(context, own, j % 2, first)?;
            first += block.moved.outputs();
        }
        for side in 0..2 {
            let out = &space.features[CONVOLVED + i][side];
            self.norm.apply(context, &own.grids[side], out)?;
        }
        Ok(())
    }
}

impl Entry {
    /// From all stages of convolutions, the last one first: of each twice as many convolutions as of the
    /// one before, their taps 1, 2, ... pixels apart.
    fn all(checkpoint: &Checkpoint, name: &str, base: usize, width: usize) -> Result<Self> {
        let places = (0..CONVOLVED).flat_map(|i| (0..1 << i).map(move |j| (i, j)));
        let part = |(k, (i, j)): (usize, (usize, usize))| {
            let stage = CONVOLVED - 1 - i;
            let inputs = base << stage;
            let name = format!("{name}.layers.{k}");
            let (weight, bias) = checkpoint.weight_and_bias(&name, [base, inputs, 3])?;
            // Patches have the channels of a pixel side by side.
            let weight = weight.permute((0, 2, 3, 1))?.contiguous()?;
            let weight = weight.reshape((base, 9 * inputs, 1, 1))?;
            Ok(Part {
                stage,
                step: (2 << i, 1 + j),
                filter: Filter::new(&weight, &bias, 1)?,
            })
        };
        let parts: Vec<_> = places.enumerate().map(part).collect::<Result<_>>()?;
        let shape = [width, parts.len() * base, 1];
        Ok(Self::All {
            parts,
            whole: checkpoint.filter(&format!("{name}.proj"), shape, 1)?,
        })
    }
}

impl Block {
    fn load(checkpoint: &Checkpoint, name: &str, width: usize) -> Result<Self> {
        let most = 1..=layers::WIDEST;
        let moved = checkpoint.outputs(&format!("{name}.attn.cor_embed.bias"), most.clone())?;
        let hidden = checkpoint.outputs(&format!("{name}.mlp.fc1.bias"), most)?;
        if !moved.is_multiple_of(width / HEAD) {
            let heads = width / HEAD;
            let problem = format!("{name} has {moved} channels of motion in {heads} heads");
            return Err(checkpoint.problem(problem));
        }
        let layer = |part: &str, outputs, inputs| {
            layers::linear(checkpoint, &format!("{name}.{part}"), [outputs, inputs])
        };
        let mix = format!("{name}.mlp.dwconv.dwconv");
        let weight = checkpoint.tensor(&format!("{mix}.weight"), &[hidden, 1, 3, 3])?;
        let bias = checkpoint.tensor(&format!("{mix}.bias"), &[hidden])?;
        Ok(Self {
            norms: [
                norm(checkpoint, &format!("{name}.norm1"), width, EPSILON)?,
                norm(checkpoint, &format!("{name}.norm2"), width, EPSILON)?,
            ],
            query: layer("attn.q", width, width)?,
            key_value: layer("attn.kv", 2 * width, width)?,
            place: layer("attn.cor_embed", moved, 2)?,
            attended: layer("attn.proj", width, width)?,
            moved: layer("attn.motion_proj", moved, moved)?,
            widen: layer("mlp.fc1", hidden, width)?,
            mix: Depthwise::new(
                weight.permute((1, 2, 3, 0))?.flatten_all()?.to_vec1()?,
                bias.to_vec1()?,
            ),
            narrow: layer("mlp.fc2", width, hidden)?,
        })
    }

    /// Changes the grids of both sides; what it says of their motion becomes the channels from `first` on.
    /// With `shift` 1 windows lie half a window further.
    fn run(&self, context: &Context, own: &Attending, shift: usize, first: usize) -> Result<()> {
        let windows = own.windows[shift].windows();
        let [norm1, norm2] = &self.norms;
        for (grid, normed) in own.grids.iter().zip(&own.normed) {
            windows.gather(context, grid, Some(norm1), normed)?;
        }
        let (moved, width) = (self.moved.outputs(), self.query.outputs());
        let count = [windows.count(), windows.area()];
        let room = |buffer: &layers::Buffer, c: usize| buffer.tensor([count[0], count[1], c]);
        let places = room(&own.places, moved)?;
        linear(
            context,
            &self.place,
            &[&own.windows[shift].places],
            None,
            &places,
        )?;
        let attended = room(&own.attended, width + moved)?;
        let motion = room(&own.moved_windows, moved)?;
        for side in 0..2 {
            let [normed, other] = [side, 1 - side].map(|s| &own.normed[s]);
            linear(context, &self.query, &[normed], None, &own.query)?;
            linear(context, &self.key_value, &[other], None, &own.key_value)?;
            let inputs = (&own.query, &own.key_value, &places);
            windows.attend(context, width / HEAD, inputs, &attended)?;
            let (values, changes) = (
                attended.narrow(2, 0, width)?,
                attended.narrow(2, width, moved)?,
            );
            linear(
                context,
                &self.attended,
                &[&values],
                Some(normed),
                &own.query,
            )?;
            linear(context, &self.moved, &[&changes], None, &motion)?;
            windows.scatter(context, &own.query, &own.grids[side])?;
            windows.scatter(context, &motion, &own.moved[side].narrow(2, first, moved)?)?;
        }
        for grid in &own.grids {
            norm2.apply(context, grid, &own.entry)?;
            let (h, w, _) = grid.dims3()?;
            let [wide, mixed] = own
                .wide
                .each_ref()
                .map(|b| b.tensor([h, w, self.widen.outputs()]));
            let (wide, mixed) = (wide?, mixed?);
            linear(context, &self.widen, &[&own.entry], None, &wide)?;
            self.mix.apply_gelu(context, &wide, &mixed)?;
            linear(context, &self.narrow, &[&mixed], Some(grid), &own.entry)?;
            picture::copy(context, &own.entry, grid)?;
        }
        Ok(())
    }
}

fn norm(checkpoint: &Checkpoint, name: &str, width: usize, epsilon: f32) -> Result<Norm> {
    let values = |part| checkpoint.tensor(&format!("{name}.{part}"), &[width]);
    Ok(Norm::new(
        values("weight")?.to_vec1()?,
        values("bias")?.to_vec1()?,
        epsilon,
    ))
}

/// A convolution without activation.
fn linear(
    context: &Context,
    filter: &Filter,
    inputs: &[&Tensor],
    residual: Option<&Tensor>,
    out: &Tensor,
) -> Result<()> {
    Ok(filter.apply(context, inputs, residual, Activation::Linear, out)?)
}
