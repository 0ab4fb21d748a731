//! RIFE: blocks from coarse to fine that each see both pictures warped by the flow so far, and
//! answer with what is to be added to it. From `HolyWu/vs-rife: vsrife/IFNet_HDv3_v4_*.py`; what the
//! versions differ in is data, see [`versions`].
//!
//! Pictures are padded with zeros on the right and below. There is no ensemble. In version 4 there is
//! nothing beside flow and mask: the picture is what they make of both sides. What came before it is
//! in [`refined`].

use candle_core::{Device, Tensor};

use super::layers::{self, Buffer, Slopes, zeros};
use super::views::Pair;
use super::{Encoded, RGB};
use crate::error::Result;
use crate::kernels::answers::{self, Answer, FEATURES, LANES, MASK, MOTION, Masks, PHASE};
use crate::kernels::conv::{self, Activation, Filter, Transposed};
use crate::kernels::raster::Source;
use crate::kernels::{Context, PhaseMap};
use crate::network::checkpoint::Checkpoint;

mod refined;
pub mod versions;

use refined::Refined;
use versions::{Head, Last, Shape, Sight, Version};

/// Convolutions between the first two and the last layer of a block.
const BODY: usize = 8;

/// Parts of checkpoints that only training needs.
const OF_TRAINING: [&str; 5] = ["teacher.", "block_tea.", "caltime.", "contextnet.", "unet."];
/// Those of one that refines.
const OF_REFINED_TRAINING: [&str; 1] = ["block_tea."];

/// Pixels of flow of the second block to both sides above which versions 4.0 and 4.1 begin again
/// with cells of twice the size.
const FAST: f32 = 32.0;

/// The weights.
#[derive(Debug)]
pub struct Rife {
    version: &'static Version,
    head: Option<Encoder>,
    blocks: Vec<Block>,
    refined: Option<Refined>,
    masks: Masks,
    is_prelu: bool,
    /// Whether it begins again with larger cells where motion is fast.
    can_double: bool,
    /// Channels of a side: colours, zeros up to whole vectors, features.
    side: usize,
    features: bool,
}

/// What sees a picture by itself.
#[derive(Debug)]
struct Encoder {
    convs: Vec<Filter>,
    last: Transposed,
    width: usize,
    features: usize,
    /// A shallow one has no activations.
    activation: Activation,
}

#[derive(Debug)]
struct Block {
    width: usize,
    conv0: [Filter; 2],
    body: Vec<Filter>,
    last: Transposed,
}

impl Rife {
    /// Finds out the version and reads it.
    ///
    /// # Errors
    /// It is no known version; a tensor is missing, has another shape, or is one too many.
    pub fn load(checkpoint: &Checkpoint) -> Result<Self> {
        let shape = Shape::of(checkpoint)?;
        let version = shape.version(checkpoint)?;
        let count = shape.widths.len();
        let blocks = (0..count).map(|i| Block::load(checkpoint, &shape, i));
        let rife = Self {
            version,
            head: Encoder::load(checkpoint, shape.head)?,
            blocks: blocks.collect::<Result<_>>()?,
            refined: Refined::load(checkpoint, shape.sight)?,
            masks: match shape.head {
                Head::None => Masks::Added,
                _ => Masks::Replaced,
            },
            is_prelu: shape.is_prelu,
            can_double: shape.is_prelu && shape.sight == Sight::Warped,
            side: side(&shape),
            features: shape.last == Last::Features,
        };
        let ignored = match rife.refined {
            Some(_) => &OF_REFINED_TRAINING[..],
            None => &OF_TRAINING,
        };
        checkpoint.expect_no_more(&format!("RIFE {}", version.name), ignored)?;
        Ok(rife)
    }

    /// Which versions have this architecture.
    pub fn version(&self) -> &'static str {
        self.version.name
    }

    /// Channels of an encoded picture.
    pub fn side(&self) -> usize {
        self.side
    }

    /// The size that pictures are padded to; at a `scale` below 1 motion is sought at a lower
    /// resolution.
    pub fn padded(&self, (height, width): (usize, usize), scale: f32) -> (usize, usize) {
        let multiple = self.version.multiple();
        let multiple = multiple.max((multiple as f32 / scale) as usize);
        (
            height.next_multiple_of(multiple),
            width.next_multiple_of(multiple),
        )
    }

    /// Room for an encoded picture of such a shape.
    pub fn image(&self, context: &Context, shape: [usize; 3]) -> Result<Tensor> {
        match self.refined {
            // its pictures are added up, too
            Some(_) => layers::zeros(&context.device(), shape),
            None => layers::features(context, shape),
        }
    }

    /// Whether its picture has something beyond what motion makes of both sides.
    pub fn has_residual(&self) -> bool {
        self.refined.is_some()
    }

    /// Memory for pictures of a padded size, to be run on `context`. One with references goes `iterations` steps to a phase.
    pub fn space(
        &self,
        context: &Context,
        size: (usize, usize),
        scale: f32,
        iterations: u32,
    ) -> Result<Space> {
        Space::new(self, context, size, scale, iterations)
    }

    /// Adds to a picture its features.
    ///
    /// # Errors
    /// A picture of another size than the space's.
    pub fn encode(&self, context: &Context, space: &Space, encoded: &Encoded) -> Result<()> {
        match &self.head {
            Some(head) => head.run(context, space, &encoded.image),
            None => Ok(()),
        }
    }

    /// Fills `motion`, `[h, w, 5]`, with flow in pixels and mask, and `residual`, `[h, w, 3]`, with what
    /// is to be added, if something is.
    ///
    /// # Errors
    /// Pictures of another size than the space's.
    pub fn run(
        &self,
        context: &Context,
        space: &Space,
        sides: [&Tensor; 2],
        phase: &PhaseMap,
        (motion, residual): (&Tensor, Option<&Tensor>),
    ) -> Result<()> {
        let refined = self.refined.as_ref().zip(space.refined.as_ref());
        if let Some(((refined, own), residual)) = refined.zip(residual) {
            let places = (space, own);
            return self.run_refined(context, refined, places, (sides, phase), (motion, residual));
        }
        let left = sides[0];
        let pair = Pair { sides, left, phase };
        let answers = self.answers(context, space, &pair)?;
        Ok(answers::conclude(
            context,
            (&answers.all(), self.masks),
            motion,
        )?)
    }

    /// What all blocks answer.
    fn answers(&self, context: &Context, space: &Space, pair: &Pair) -> Result<Answers> {
        let mut answers = Answers {
            values: Vec::new(),
            scales: space.scales.clone(),
            factor: self.last_factor(),
        };
        let mut doubled = !self.can_double || !space.can_double();
        while answers.values.len() < self.blocks.len() {
            let i = answers.values.len();
            let scale = answers.scales[i];
            let answer = self.block(context, space, (i, scale), pair, &answers.all())?;
            let is_fast = || is_fast(&answer, answers.cell(scale), space.size);
            if i == 1 && !doubled && context.apart(is_fast)? {
                answers.scales.iter_mut().for_each(|s| *s *= 2.0);
                answers.values.clear();
                doubled = true;
                continue;
            }
            answers.values.push(answer);
        }
        Ok(answers)
    }

    /// Cells of an answer along a cell of its block.
    fn last_factor(&self) -> usize {
        self.blocks.first().map_or(4, |b| b.last.factor())
    }

    /// What block `i` answers at `scale`.
    fn block(
        &self,
        context: &Context,
        space: &Space,
        (i, scale): (usize, f32),
        pair: &Pair,
        before: &[Answer],
    ) -> Result<Tensor> {
        let block = &self.blocks[i];
        let sizes = Sizes::new(space.size, scale, block.width);
        let inputs = match &space.refined {
            Some(refined) => {
                let [warped, plain] = refined.views.of(context, pair, before, scale, sizes.full)?;
                vec![warped, plain]
            }
            None => {
                let shape = [sizes.full.0, sizes.full.1, self.inputs()];
                let input = space.input.tensor(shape)?;
                let before = (before, self.masks);
                answers::assemble(context, pair.sides, before, pair.phase, scale, &input)?;
                vec![input]
            }
        };
        let inputs: Vec<_> = inputs.iter().collect();
        let middle = space.middle.tensor(sizes.middle())?;
        let [a, b] = space.body.each_ref().map(|b| b.tensor(sizes.body()));
        let (a, b) = (a?, b?);
        let leaky = Activation::Leaky;
        block.conv0[0].apply(context, &inputs, None, leaky, &middle)?;
        block.conv0[1].apply(context, &[&middle], None, leaky, &a)?;
        let c = space.middle.tensor(sizes.body())?;
        let last = match block.is_residual() {
            true => block.run_residual(context, [a, b])?,
            false => block.run_plain(context, [a, b, c], self.is_prelu)?,
        };
        let n = block.last.factor();
        let (h, w) = sizes.quarter;
        let answer = space.answers[i].tensor([n * h, n * w, self.answer_channels(i)])?;
        block.last.apply(context, &[&last], 0, &answer)?;
        Ok(answer)
    }

    /// Channels of the answer of block `i`: features are for a next one.
    fn answer_channels(&self, i: usize) -> usize {
        MOTION + usize::from(self.features && i + 1 < self.blocks.len()) * FEATURES
    }

    /// Channels of what a block reads.
    fn inputs(&self) -> usize {
        2 * self.side + self.answer_channels(0)
    }
}

/// What blocks have answered so far.
struct Answers {
    values: Vec<Tensor>,
    /// Of all blocks.
    scales: Vec<f32>,
    /// Cells of an answer along a cell of its block.
    factor: usize,
}

impl Answers {
    /// Pixels of a cell of an answer of a block of this scale.
    fn cell(&self, scale: f32) -> f32 {
        scale * 4.0 / self.factor as f32
    }

    fn all(&self) -> Vec<Answer<'_>> {
        let answer = |(values, scale): (_, &f32)| Answer {
            values,
            scale: self.cell(*scale),
        };
        self.values.iter().zip(&self.scales).map(answer).collect()
    }
}

/// Whether the flow of an answer, enlarged to `size`, is large somewhere to both sides.
fn is_fast(answer: &Tensor, scale: f32, size: (usize, usize)) -> Result<bool> {
    let answer = &answer.to_device(&Device::Cpu)?;
    let largest = |answer: &Tensor, scale: f32| -> Result<[f32; 2]> {
        let source = Source::lock(answer);
        let raster = source.raster()?;
        let pixels = (0..raster.height).flat_map(|y| (0..raster.width).map(move |x| (y, x)));
        Ok(pixels.fold([0f32; 2], |most, (y, x)| {
            let flow = raster.at(y, x);
            [0, 1].map(|i| {
                let (a, b) = (flow[2 * i].abs(), flow[2 * i + 1].abs());
                most[i].max(scale * a.max(b))
            })
        }))
    };
    let exceeds = |[left, right]: [f32; 2]| left > FAST && right > FAST;
    // Enlarged it is nowhere larger.
    if !exceeds(largest(answer, scale)?) {
        return Ok(false);
    }
    let context = Context::new(1)?;
    let enlarged = zeros(&Device::Cpu, [size.0, size.1, answers::CONCLUSION])?;
    let alone = [Answer {
        values: answer,
        scale,
    }];
    answers::conclude(&context, (&alone, Masks::Added), &enlarged)?;
    Ok(exceeds(largest(&enlarged, 1.0)?))
}

/// Sizes within a block.
struct Sizes {
    full: (usize, usize),
    half: (usize, usize),
    quarter: (usize, usize),
    width: usize,
}

impl Sizes {
    fn new(size: (usize, usize), scale: f32, width: usize) -> Self {
        let half = |(h, w): (usize, usize)| (h.div_ceil(2), w.div_ceil(2));
        let full = (
            (size.0 as f32 / scale) as usize,
            (size.1 as f32 / scale) as usize,
        );
        Self {
            full,
            half: half(full),
            quarter: half(half(full)),
            width,
        }
    }

    fn middle(&self) -> [usize; 3] {
        [self.half.0, self.half.1, self.width / 2]
    }

    fn body(&self) -> [usize; 3] {
        [self.quarter.0, self.quarter.1, self.width]
    }
}

fn side(shape: &Shape) -> usize {
    (RGB + shape.head.features()).next_multiple_of(LANES)
}

impl Encoder {
    fn load(checkpoint: &Checkpoint, head: Head) -> Result<Option<Self>> {
        let (width, activation) = match head {
            Head::None => return Ok(None),
            Head::Shallow { width, .. } => (width, Activation::Linear),
            Head::Deep { width, .. } => (width, Activation::Leaky),
        };
        let Some((last, convs)) = head.names().split_last() else {
            return Ok(None);
        };
        let conv = |(i, name): (usize, &&str)| {
            let (inputs, stride) = if i == 0 { (RGB, 2) } else { (width, 1) };
            layers::convolution(checkpoint, name, [width, inputs, 3], stride, &Slopes::Leaky)
        };
        let features = head.features();
        let outputs: Vec<_> = (0..features).map(Some).collect();
        Ok(Some(Self {
            convs: convs.iter().enumerate().map(conv).collect::<Result<_>>()?,
            last: layers::transposed(checkpoint, last, [width, features], 1, &outputs)?,
            width,
            features,
            activation,
        }))
    }

    /// Fills the last channels.
    fn run(&self, context: &Context, space: &Space, image: &Tensor) -> Result<()> {
        let (h, w, channels) = image.dims3()?;
        let shape = [h.div_ceil(2), w.div_ceil(2), self.width];
        let buffers = space.body.each_ref().map(|b| b.tensor(shape));
        let [mut out, mut free] = buffers;
        let mut input = image.narrow(2, 0, RGB)?;
        for conv in &self.convs {
            let target = out?;
            conv.apply(context, &[&input], None, self.activation, &target)?;
            input = target.clone();
            (out, free) = (free, Ok(target));
        }
        let first = channels - self.features;
        Ok(self.last.apply(context, &[&input], first, image)?)
    }
}

impl Block {
    fn load(checkpoint: &Checkpoint, shape: &Shape, i: usize) -> Result<Self> {
        let (name, width) = (format!("block{i}"), shape.widths[i]);
        let slopes = |layer: String| match shape.is_prelu {
            true => Slopes::Named(layer),
            false => Slopes::Leaky,
        };
        let is_last = i + 1 == shape.widths.len();
        let residual = shape.last != Last::Half;
        let conv0 = [0, 1].map(|k| {
            let slopes = slopes(format!("{name}.conv0.{k}.1"));
            let conv = format!("{name}.conv0.{k}.0");
            match k {
                0 => first(checkpoint, &conv, shape, i, &slopes),
                _ => layers::convolution(checkpoint, &conv, [width, width / 2, 3], 2, &slopes),
            }
        });
        let [first, second] = conv0;
        let body = (0..BODY).map(|k| match residual {
            true => residual_conv(checkpoint, &format!("{name}.convblock.{k}"), shape, width),
            false => {
                let slopes = slopes(format!("{name}.convblock.{k}.1"));
                let conv = format!("{name}.convblock.{k}.0");
                layers::convolution(checkpoint, &conv, [width, width, 3], 1, &slopes)
            }
        });
        let (last, spread) = match residual {
            true => (format!("{name}.lastconv.0"), 2),
            false => (format!("{name}.lastconv"), 1),
        };
        let channels = [width, shape.last.channels()];
        Ok(Self {
            width,
            conv0: [first?, second?],
            body: body.collect::<Result<_>>()?,
            last: layers::transposed(
                checkpoint,
                &last,
                channels,
                spread,
                &outputs(shape, is_last),
            )?,
        })
    }

    fn is_residual(&self) -> bool {
        self.last.factor() == 4
    }

    /// Each convolution's input is added to its output.
    fn run_residual(&self, context: &Context, [mut a, mut b]: [Tensor; 2]) -> Result<Tensor> {
        for conv in &self.body {
            conv.apply(context, &[&a], Some(&a), Activation::Leaky, &b)?;
            (a, b) = (b, a);
        }
        Ok(a)
    }

    /// With `outer`, the first input is added to the last output.
    fn run_plain(
        &self,
        context: &Context,
        [a, mut b, mut c]: [Tensor; 3],
        outer: bool,
    ) -> Result<Tensor> {
        let mut input = a.clone();
        for conv in &self.body {
            conv.apply(context, &[&input], None, Activation::Leaky, &b)?;
            input = b.clone();
            (b, c) = (c, b);
        }
        if outer {
            conv::add(context, &input, &a, &b)?;
            return Ok(b);
        }
        Ok(input)
    }
}

/// Where the channels of an answer lie in the last layer: flow, mask, nothing, features. Those of
/// the last block nobody reads.
fn outputs(shape: &Shape, is_last: bool) -> Vec<Option<usize>> {
    let mut outputs: Vec<_> = (0..=MASK).map(Some).collect();
    outputs.resize(MOTION, None);
    if shape.last == Last::Features && !is_last {
        outputs.extend((0..FEATURES).map(|i| Some(MASK + 1 + i)));
    }
    outputs
}

/// The first convolution of a block. Its authors order the inputs as colours of both sides, features
/// of both sides, phase, mask, features of the block before, flow; the first block has no mask
/// and nothing behind it.
fn first(
    checkpoint: &Checkpoint,
    name: &str,
    shape: &Shape,
    i: usize,
    slopes: &Slopes,
) -> Result<Filter> {
    let from = match shape.sight {
        Sight::Warped => warped(shape, i),
        sight => refined::places(sight, i),
    };
    layers::convolution_from(checkpoint, name, shape.widths[i] / 2, &from, 2, slopes)
}

/// Where the first convolution of block `i` finds its inputs in what [`answers::assemble`] makes.
fn warped(shape: &Shape, i: usize) -> Vec<Option<usize>> {
    let features = shape.head.features();
    let phase = 2 * (RGB + features);
    let passed = match shape.last {
        Last::Features => FEATURES,
        _ => 0,
    };
    let mut from = Vec::new();
    for side in 0..2 {
        from.extend((0..RGB).map(|c| Some(side * RGB + c)));
        from.resize((side + 1) * self::side(shape) - features, None);
        from.extend((0..features).map(|c| Some(2 * RGB + side * features + c)));
    }
    let mut tail = [None; MOTION];
    tail[PHASE] = Some(phase);
    if i > 0 {
        tail[MASK] = Some(phase + 1);
        (0..4).for_each(|c| tail[c] = Some(phase + 2 + passed + c));
    }
    from.extend(tail);
    from.extend((0..passed).map(|c| (i > 0).then_some(phase + 2 + c)));
    from
}

/// `beta * conv(x)`, to which `x` is added; in groups where the version has them, the weights
/// between them being 0.
fn residual_conv(
    checkpoint: &Checkpoint,
    name: &str,
    shape: &Shape,
    width: usize,
) -> Result<Filter> {
    let part = width / shape.groups;
    let (weight, bias) = checkpoint.weight_and_bias(&format!("{name}.conv"), [width, part, 3])?;
    let beta = checkpoint.tensor(&format!("{name}.beta"), &[1, width, 1, 1])?;
    let weight = weight.broadcast_mul(&beta.reshape((width, 1, 1, 1))?)?;
    let bias = (bias * beta.reshape(width)?)?;
    let groups = (0..shape.groups).map(|g| {
        let from: Vec<_> = (0..width)
            .map(|i| (i / part == g).then_some(i % part))
            .collect();
        layers::rearranged(&weight.narrow(0, g * part, part)?, &from)
    });
    let weight = Tensor::cat(&groups.collect::<Result<Vec<_>>>()?, 0)?;
    Ok(Filter::new(&weight, &bias, 1)?.with_slopes(vec![layers::SLOPE; width])?)
}

/// Memory for pictures of one size.
#[derive(Debug)]
pub struct Space {
    size: (usize, usize),
    scales: Vec<f32>,
    input: Buffer,
    middle: Buffer,
    body: [Buffer; 2],
    answers: Vec<Buffer>,
    refined: Option<refined::Space>,
}

impl Space {
    fn new(
        rife: &Rife,
        context: &Context,
        size: (usize, usize),
        scale: f32,
        iterations: u32,
    ) -> Result<Self> {
        let device = &context.device();
        let scales: Vec<_> = rife.version.scales.iter().map(|s| s / scale).collect();
        let blocks = || rife.blocks.iter().zip(&scales);
        let sizes: Vec<_> = blocks()
            .map(|(b, s)| Sizes::new(size, *s, b.width))
            .collect();
        let head = rife.head.as_ref();
        let head = head.map(|h| [size.0.div_ceil(2), size.1.div_ceil(2), h.width]);
        let body = || Buffer::features(context, sizes.iter().map(Sizes::body).chain(head));
        let answer = |(i, s): (usize, &Sizes)| {
            let n = rife.last_factor();
            let shape = [n * s.quarter.0, n * s.quarter.1, rife.answer_channels(i)];
            Buffer::new(device, [shape])
        };
        let views = || sizes.iter().map(|s| s.full);
        let refined = rife.refined.as_ref();
        // One that refines reads views instead.
        let inputs = views().filter(|_| refined.is_none());
        let inputs = inputs.map(|(h, w)| [h, w, rife.inputs()]);
        let refined = refined.map(|r| r.space(device, size, views(), iterations));
        Ok(Self {
            size,
            refined: refined.transpose()?,
            input: Buffer::features(context, inputs)?,
            middle: Buffer::features(context, sizes.iter().flat_map(|s| [s.middle(), s.body()]))?,
            body: [body()?, body()?],
            answers: sizes
                .iter()
                .enumerate()
                .map(answer)
                .collect::<Result<_>>()?,
            scales,
        })
    }

    /// Whether cells of twice the size fit: the authors' code fails where they do not.
    fn can_double(&self) -> bool {
        let cell = (8.0 * self.scales[0]) as usize;
        self.size.0.is_multiple_of(cell) && self.size.1.is_multiple_of(cell)
    }
}
