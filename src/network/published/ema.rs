//! EMA-VFI: features of both pictures by convolutions, then by attention between windows of both, which
//! also says how far what is alike has moved; heads make flow of it from coarse to fine, and a
//! refiner adds to the blend. From `MCG-NJU/EMA-VFI: model/*`; what the versions differ in is data.
//!
//! Pictures are padded by repeating their edges all around. There is no test-time augmentation.

use candle_core::{Device, Tensor};

use super::centred::Centred;
use super::layers::{self, Slopes, zeros};
use super::refine::{self, Refiner};
use super::views::{self, Pair, SIDE, View, Views};
use super::{Encoded, RGB};
use crate::error::Result;
use crate::kernels::answers::{self, Answer, MASK, MOTION, Masks};
use crate::kernels::conv::{Activation, Filter};
use crate::kernels::transformer::{self, Depthwise, Norm, Windows};
use crate::kernels::{Context, PhaseMap, picture};
use crate::network::checkpoint::Checkpoint;

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
/// Most blocks of a stage of attention.
const MOST_BLOCKS: usize = 16;
/// Added to variances, in the norms of blocks and stages and in those of what feeds a stage.
const EPSILON: f32 = 1e-6;
const EPSILON_OF_ENTRY: f32 = 1e-5;
/// Channels of what a head answers: flow and mask.
const ANSWER: usize = MASK + 1;

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

/// A stage of attention.
#[derive(Debug)]
struct Stage {
    entry: Entry,
    entry_norm: Norm,
    blocks: Vec<Block>,
    norm: Norm,
}

/// What makes the features of a stage of attention from those before it.
#[derive(Debug)]
enum Entry {
    /// From all stages of convolutions, by several dilated convolutions of each.
    All { parts: Vec<Part>, whole: Filter },
    /// From the stage before.
    One(Filter),
}

/// A convolution of 3x3 of one stage, as one of 1x1 of its patches.
#[derive(Debug)]
struct Part {
    stage: usize,
    /// Pixels from a patch to the next, and from a tap to the next.
    step: (usize, usize),
    filter: Filter,
}

#[derive(Debug)]
struct Block {
    norms: [Norm; 2],
    query: Filter,
    key_value: Filter,
    place: Filter,
    attended: Filter,
    moved: Filter,
    widen: Filter,
    mix: Depthwise,
    narrow: Filter,
}

#[derive(Debug)]
struct Head {
    convs: [Filter; 3],
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

    /// The size of what is answered for a picture.
    pub fn padded(&self, size: (usize, usize)) -> (usize, usize) {
        layers::answered(size)
    }

    /// Room for a picture of a padded size.
    pub fn encoded(&self, (height, width): (usize, usize)) -> Result<Encoded> {
        Ok(Encoded {
            image: zeros([height, width, RGB])?,
        })
    }

    /// Memory for pictures of `size`.
    pub fn space(&self, size: (usize, usize)) -> Result<Space> {
        Space::new(self, size)
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

fn norm(checkpoint: &Checkpoint, name: &str, width: usize, epsilon: f32) -> Result<Norm> {
    let values = |part| checkpoint.tensor(&format!("{name}.{part}"), &[width]);
    Ok(Norm {
        weight: values("weight")?.to_vec1()?,
        bias: values("bias")?.to_vec1()?,
        epsilon,
    })
}

impl Stage {
    fn load(checkpoint: &Checkpoint, base: usize, i: usize) -> Result<Self> {
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
    fn moved(&self) -> usize {
        self.blocks.iter().map(|b| b.moved.outputs()).sum()
    }

    /// Makes features and motion of both sides in the space of stage `i`.
    fn run(&self, context: &Context, space: &Space, i: usize) -> Result<()> {
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
            mix: Depthwise {
                weight: weight.permute((1, 2, 3, 0))?.flatten_all()?.to_vec1()?,
                bias: bias.to_vec1()?,
            },
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

impl Head {
    /// The one that sees the stage of attention `i` from behind. Its authors order the inputs as what the
    /// stage makes, colours of both sides, of both warped ones, mask, flow; the first head has nothing
    /// behind the colours.
    fn load(checkpoint: &Checkpoint, base: usize, i: usize, stages: &[Stage]) -> Result<Self> {
        let stage = ATTENDING - 1 - i;
        let seen = 2 * (stages[stage].moved() + attended(base, stage));
        if !seen.is_multiple_of(SPREAD) {
            let problem = format!(
                "{} makes {seen} channels, expected a multiple of 16",
                stage_name(stage)
            );
            return Err(checkpoint.problem(problem));
        }
        let seen = seen / SPREAD;
        let before = (i > 0).then(|| View::Warped.colors().chain(views::motion()));
        let views = View::Plain.colors().chain(before.into_iter().flatten());
        let views = views::places(views)
            .into_iter()
            .map(|c| c.map(|c| seen + c));
        let from: Vec<_> = (0..seen).map(Some).chain(views).collect();
        let name = |k: usize| format!("block.{i}.conv.{k}.0");
        let slopes = |k: usize| Slopes::Named(format!("block.{i}.conv.{k}.1"));
        let width = checkpoint.outputs(&format!("{}.bias", name(0)), 1..=layers::WIDEST)?;
        let first = layers::convolution_from(checkpoint, &name(0), width, &from, 1, &slopes(0))?;
        let conv = |k: usize, outputs| {
            layers::convolution(checkpoint, &name(k), [outputs, width, 3], 1, &slopes(k))
        };
        Ok(Self {
            convs: [first, conv(1, width)?, conv(2, ANSWER)?],
        })
    }

    /// Answers with flow and mask on a lattice of a quarter of the cells of the stage.
    fn run(
        &self,
        context: &Context,
        space: &Space,
        i: usize,
        pair: &Pair,
        before: &[Answer],
    ) -> Result<()> {
        let stage = ATTENDING - 1 - i;
        let (own, head) = (&space.attending[stage], &space.heads[i]);
        let mut first = 0;
        answers::phases(context, pair.phase, 1 << (CONVOLVED + stage), &head.phases)?;
        for (side, moved) in own.moved.iter().enumerate() {
            let width = moved.dim(2)?;
            let out = head.seen.narrow(2, first, width)?;
            transformer::weigh(context, moved, (&head.phases, side == 1), &out)?;
            first += width;
        }
        for features in &space.features[CONVOLVED + stage] {
            let width = features.dim(2)?;
            picture::copy(context, features, &head.seen.narrow(2, first, width)?)?;
            first += width;
        }
        transformer::spread_twice(context, &head.seen, &head.spread)?;
        let (h, w, _) = head.spread.dims3()?;
        let [warped, plain] = space.views.of(context, pair, before, cell(stage), (h, w))?;
        let leaky = Activation::Leaky;
        let [one, two] = &head.wide;
        let inputs = [&head.spread, &warped, &plain];
        self.convs[0].apply(context, &inputs, None, leaky, one)?;
        self.convs[1].apply(context, &[one], None, leaky, two)?;
        let out = head.answer.narrow(2, 0, ANSWER)?;
        Ok(self.convs[2].apply(context, &[two], None, leaky, &out)?)
    }
}

/// Values of a pixel of a stage that become pixels of their own.
const SPREAD: usize = 16;

/// Pixels of a cell that is answered for a stage of attention.
fn cell(stage: usize) -> f32 {
    (1 << (CONVOLVED + stage - 2)) as f32
}

/// Memory for pictures of one size.
#[derive(Debug)]
pub struct Space {
    centred: Centred,
    /// Both pictures, `[h, w, 8]`.
    sides: [Tensor; 2],
    /// Of stages of convolutions.
    middle: Vec<[Tensor; 2]>,
    /// Of both sides, of all stages.
    features: Vec<[Tensor; 2]>,
    attending: Vec<Attending>,
    heads: Vec<HeadSpace>,
    views: Views,
    refiner: refine::Space,
    motion: Tensor,
    residual: Tensor,
}

/// Of a stage of attention.
#[derive(Debug)]
struct Attending {
    /// Without and with shift.
    windows: [Placed; 2],
    patches: layers::Buffer,
    parts: Tensor,
    entry: Tensor,
    /// What the blocks change, of both sides.
    grids: [Tensor; 2],
    /// What they say of motion, of both sides.
    moved: [Tensor; 2],
    normed: [Tensor; 2],
    query: Tensor,
    key_value: Tensor,
    places: layers::Buffer,
    attended: layers::Buffer,
    moved_windows: layers::Buffer,
    wide: [layers::Buffer; 2],
}

/// Windows, and where their cells lie: x and y, -1 to 1 from edge to edge, 0 beyond.
#[derive(Debug)]
struct Placed {
    windows: Windows,
    places: Tensor,
}

#[derive(Debug)]
struct HeadSpace {
    phases: Tensor,
    seen: Tensor,
    spread: Tensor,
    wide: [Tensor; 2],
    /// `[h, w, 8]`, of which the last three stay 0.
    answer: Tensor,
}

impl Placed {
    fn new((height, width): (usize, usize), shift: usize) -> Result<Self> {
        let windows = Windows {
            height,
            width,
            side: WINDOW,
            shift,
        };
        let at = |i: usize, n: usize| 2.0 * i as f32 / (n.max(2) - 1) as f32 - 1.0;
        let cells = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
        let places = cells.flat_map(|(y, x)| [at(x, width), at(y, height)]);
        let grid = Tensor::from_vec(places.collect(), (height, width, 2), &Device::Cpu)?;
        let places = zeros([windows.count(), windows.area(), 2])?;
        windows.gather(&Context::new(1)?, &grid, None, &places)?;
        Ok(Self { windows, places })
    }

    fn windows(&self) -> Windows {
        self.windows
    }

    /// Height and width of the grid.
    fn size(&self) -> (usize, usize) {
        (self.windows.height, self.windows.width)
    }
}

impl Attending {
    fn new(net: &Ema, i: usize, (h, w): (usize, usize)) -> Result<Self> {
        let (width, stage) = (attended(net.base, i), &net.attending[i]);
        let (h, w) = (h >> (CONVOLVED + i), w >> (CONVOLVED + i));
        let windows = [Placed::new((h, w), 0)?, Placed::new((h, w), WINDOW / 2)?];
        let (count, area) = (windows[0].windows.count(), windows[0].windows.area());
        let grid = |c: usize| zeros([h, w, c]);
        let wins = |c: usize| zeros([count, area, c]);
        let most = |f: fn(&Block) -> usize| stage.blocks.iter().map(f).max().unwrap_or(1);
        let moved = most(|b| b.moved.outputs());
        let hidden = most(|b| b.widen.outputs());
        let (parts, patches) = match &stage.entry {
            Entry::All { parts, .. } => (parts.len() * net.base, 9 * net.width(CONVOLVED - 1)),
            Entry::One(_) => (1, 1),
        };
        let wide = || layers::Buffer::new([[h, w, hidden]]);
        Ok(Self {
            windows,
            patches: layers::Buffer::new([[h, w, patches]])?,
            parts: grid(parts)?,
            entry: grid(width)?,
            grids: [grid(width)?, grid(width)?],
            moved: [grid(stage.moved().max(1))?, grid(stage.moved().max(1))?],
            normed: [wins(width)?, wins(width)?],
            query: wins(width)?,
            key_value: wins(2 * width)?,
            places: layers::Buffer::new([[count, area, moved]])?,
            attended: layers::Buffer::new([[count, area, width + moved]])?,
            moved_windows: layers::Buffer::new([[count, area, moved]])?,
            wide: [wide()?, wide()?],
        })
    }
}

impl Space {
    fn new(net: &Ema, size: (usize, usize)) -> Result<Self> {
        let centred = Centred::new(size, MULTIPLE, 1);
        let (h, w) = centred.whole;
        let room = |level: usize, c: usize| zeros([h >> level, w >> level, c]);
        let stage = |i: usize| room(i, net.width(i));
        let pair = |i: usize| Ok([stage(i)?, stage(i)?]);
        let heads = net.heads.iter().enumerate().map(|(i, head)| {
            let stage = ATTENDING - 1 - i;
            let level = CONVOLVED + stage;
            let moved = net.attending[stage].moved();
            let seen = 2 * (moved + attended(net.base, stage));
            let wide = || room(level - 2, head.convs[0].outputs());
            Ok(HeadSpace {
                phases: room(level, 1)?,
                seen: room(level, seen)?,
                spread: room(level - 2, seen / SPREAD)?,
                wide: [wide()?, wide()?],
                answer: room(level - 2, MOTION)?,
            })
        });
        let attending = (0..ATTENDING).map(|i| Attending::new(net, i, (h, w)));
        Ok(Self {
            sides: [room(0, SIDE)?, room(0, SIDE)?],
            middle: (0..CONVOLVED).map(pair).collect::<Result<_>>()?,
            features: (0..CONVOLVED + ATTENDING)
                .map(pair)
                .collect::<Result<_>>()?,
            attending: attending.collect::<Result<_>>()?,
            heads: heads.collect::<Result<_>>()?,
            views: Views::new([(h, w)].into_iter())?,
            refiner: net.refiner.space((h, w))?,
            motion: room(0, answers::CONCLUSION)?,
            residual: room(0, RGB)?,
            centred,
        })
    }

    /// What head `i` has answered.
    fn answer(&self, i: usize) -> Answer<'_> {
        Answer {
            values: &self.heads[i].answer,
            scale: cell(ATTENDING - 1 - i),
        }
    }
}
