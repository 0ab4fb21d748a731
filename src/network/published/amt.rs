//! AMT: the coarse-to-fine flow of IFRNet, set right at three sizes by how alike the places are that it
//! points to, and a picture from several flows at once. From the paper, "AMT: All-Pairs Multi-Field
//! Transforms for Efficient Frame Interpolation" (CVPR 2023), and the names and shapes of its
//! checkpoints; what the versions differ in is data.
//!
//! Pictures are padded by repeating their edges all around. What is answered as motion is the mean of the
//! flows and masks; all that the picture has beyond their blend is the residual.

use candle_core::Tensor;

use super::centred::Centred;
use super::layers::{self, Buffer, Slopes, zeros};
use super::pyramid::{self, Decoder, FLOW, LEVELS, Room};
use super::{Encoded, RGB};
use crate::error::Result;
use crate::kernels::answers::{self, CONCLUSION, MASK};
use crate::kernels::conv::{self, Activation, Filter};
use crate::kernels::{Context, PhaseMap, pairs, picture, pointwise, resample, warp};
use crate::network::checkpoint::Checkpoint;

/// Sides of padded pictures are multiples of this.
const MULTIPLE: usize = 16;
/// Pixels of a cell in which places are compared, and the level of the pyramid of that size.
const CELL: usize = 8;
const COMPARED: usize = 2;
/// Shortest side: the coarsest level that is compared has a cell.
const LEAST: usize = CELL << (pairs::LEVELS - 1);
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

/// What makes the features that are compared.
#[derive(Debug)]
struct Features {
    first: Filter,
    blocks: Vec<Block>,
    last: Filter,
}

/// Convolutions whose standardised outcome is added to the input, or to its convolution.
#[derive(Debug)]
struct Block {
    /// With their strides.
    convs: Vec<(Filter, usize)>,
    shortcut: Option<Filter>,
    stride: usize,
}

/// What sets the flow and features of a level right: in cells of comparison, and then, in the largest
/// network, at its own size.
#[derive(Debug)]
struct Updates {
    low: Update,
    high: Option<Update>,
}

#[derive(Debug)]
struct Update {
    compared: Vec<Filter>,
    flow: [Filter; 2],
    both: Filter,
    body: [Filter; 2],
    features: [Filter; 2],
    change: [Filter; 2],
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
        let mean = (picture::mean(left)? + picture::mean(right)?) / 2.0;
        for (side, own) in space.sides.iter().enumerate() {
            picture::lower(context, own, mean, &space.lowered)?;
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
            picture::add_weighted(context, own, &|_, _| share, &space.motion)?;
            picture::add_weighted(context, &made, &|_, _| share, &space.picture)?;
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
        picture::add_weighted(context, &space.lowered, &|_, _| 1.0, &space.picture)?;
        picture::blend(context, [left, right], &space.motion, &space.blend)?;
        Ok(picture::subtract(context, &space.blend, &space.picture)?)
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

impl Features {
    fn load(checkpoint: &Checkpoint) -> Result<Self> {
        let name = |part: &str| format!("feat_encoder.{part}");
        let mut width = outputs(checkpoint, &name("conv1"))?;
        let first = checkpoint.filter(&name("conv1"), [width, RGB, 7], 2)?;
        let mut blocks = Vec::new();
        for (layer, stride) in [("layer1", 1), ("layer2", 2), ("layer3", 2), ("layer3_2", 1)] {
            for k in 0..2 {
                let name = name(&format!("{layer}.{k}"));
                if layer == "layer3_2" && checkpoint.shape(&format!("{name}.conv1.bias")).is_none()
                {
                    continue;
                }
                let stride = if k == 0 { stride } else { 1 };
                let block = Block::load(checkpoint, &name, width, stride)?;
                width = block.outputs();
                blocks.push(block);
            }
        }
        let compared = outputs(checkpoint, &name("conv2"))?;
        Ok(Self {
            first,
            blocks,
            last: checkpoint.filter(&name("conv2"), [compared, width, 1], 1)?,
        })
    }

    /// Makes the features of a side from the picture without the mean of both, at all levels at which they
    /// are compared.
    fn run(&self, context: &Context, space: &Space, side: usize) -> Result<()> {
        let own = &space.compared;
        let (h, w) = space.centred.whole;
        let (mut h, mut w, linear) = (h / 2, w / 2, Activation::Linear);
        let width = self.first.outputs();
        let raw = own.raw.tensor([h, w, width])?;
        self.first
            .apply(context, &[&space.lowered], None, linear, &raw)?;
        let [mut now, mut next] = own.whole.each_ref();
        let mut input = now.tensor([h, w, width])?;
        pairs::standardise(context, &raw, true, &input)?;
        for block in &self.blocks {
            (h, w) = (h / block.stride, w / block.stride);
            let out = next.tensor([h, w, block.outputs()])?;
            block.run(context, own, &input, &out)?;
            (now, next) = (next, now);
            input = out;
        }
        let levels = &own.levels[side];
        self.last
            .apply(context, &[&input], None, linear, &levels[0])?;
        for pair in levels.windows(2) {
            // Odd rows and columns have no partner.
            let (h, w, _) = pair[1].dims3()?;
            let even = pair[0].narrow(0, 0, 2 * h)?.narrow(1, 0, 2 * w)?;
            resample::half(context, &even, &pair[1])?;
        }
        Ok(())
    }
}

impl Block {
    fn load(checkpoint: &Checkpoint, name: &str, inputs: usize, stride: usize) -> Result<Self> {
        let mut convs = Vec::new();
        let names = (1..=3).map(|k| format!("{name}.conv{k}"));
        let there = names.take_while(|n| checkpoint.shape(&format!("{n}.bias")).is_some());
        let mut seen = inputs;
        let mut left = stride;
        for name in there {
            let (width, kernel) = (outputs(checkpoint, &name)?, kernel(checkpoint, &name));
            // The first one of 3x3 makes it smaller.
            let stride = if kernel == 3 {
                std::mem::replace(&mut left, 1)
            } else {
                1
            };
            let conv = checkpoint.filter(&name, [width, seen, kernel], stride)?;
            convs.push((conv, stride));
            seen = width;
        }
        if convs.is_empty() || left != 1 || (stride == 1 && seen != inputs) {
            let problem = format!("{name} is no block of convolutions by {stride}");
            return Err(checkpoint.problem(problem));
        }
        let shortcut =
            || checkpoint.filter(&format!("{name}.downsample.0"), [seen, inputs, 1], stride);
        Ok(Self {
            convs,
            shortcut: (stride != 1).then(shortcut).transpose()?,
            stride,
        })
    }

    fn outputs(&self) -> usize {
        self.convs.last().map_or(1, |(conv, _)| conv.outputs())
    }

    fn run(&self, context: &Context, own: &Compared, input: &Tensor, out: &Tensor) -> Result<()> {
        let linear = Activation::Linear;
        let (h, w, width) = out.dims3()?;
        let [mut now, mut next] = own.parts.each_ref();
        let mut made = input.clone();
        for (conv, stride) in &self.convs {
            let (rows, columns, _) = made.dims3()?;
            let shape = [rows / stride, columns / stride, conv.outputs()];
            let raw = own.raw.tensor(shape)?;
            conv.apply(context, &[&made], None, linear, &raw)?;
            let part = now.tensor(shape)?;
            pairs::standardise(context, &raw, true, &part)?;
            made = part;
            (now, next) = (next, now);
        }
        match &self.shortcut {
            Some(shortcut) => {
                let raw = own.raw.tensor([h, w, width])?;
                shortcut.apply(context, &[input], None, linear, &raw)?;
                let part = now.tensor([h, w, width])?;
                pairs::standardise(context, &raw, false, &part)?;
                conv::add(context, &part, &made, out)?;
            }
            None => conv::add(context, input, &made, out)?,
        }
        Ok(pointwise::slope(context, &vec![0.0; width], out)?)
    }
}

impl Updates {
    /// Behind the decoder of level `i`, which the authors count from 1; its features have `width` channels.
    fn load(checkpoint: &Checkpoint, i: usize, width: usize) -> Result<Self> {
        let name = format!("update{}", i + 1);
        let is_there = |name: &String| checkpoint.shape(&format!("{name}.convc1.bias")).is_some();
        let [low, high] =
            ["low", "high"].map(|part| Some(format!("{name}_{part}")).filter(is_there));
        Ok(Self {
            low: Update::load(checkpoint, &low.unwrap_or(name), width)?,
            high: high
                .map(|name| Update::load(checkpoint, &name, width))
                .transpose()?,
        })
    }

    /// Sets flow and features right that the decoder of level `i` has left in the next level.
    fn run(&self, context: &Context, space: &Space, i: usize) -> Result<()> {
        let (level, own) = (&space.levels[i - 1], &space.compared);
        let (h, w, width) = level.between.dims3()?;
        let ratio = (h / own.flow.dims3()?.0) as f32;
        let between = own.between.tensor([own.size.0, own.size.1, width])?;
        pairs::resize(context, &level.flow, 1.0 / ratio, &own.flow)?;
        pairs::resize(context, &level.between, 1.0, &between)?;
        let half = COMPARISON / 2;
        for (side, other) in [(0, 1), (1, 0)] {
            // What the left picture's place moves to in the right one is told from the flow to that.
            let flow = own.flow.narrow(2, 2 * other, 2)?;
            let out = own.comparison.narrow(2, half * side, half)?;
            let features = (&own.levels[side][0], &own.levels[other][..]);
            pairs::look_up(context, features, &flow, (&space.phases, side == 1), &out)?;
        }
        let (change, features) = (
            &own.change,
            own.features.tensor([own.size.0, own.size.1, width])?,
        );
        let seen = [&own.comparison, &own.flow, &between];
        self.low.run(context, own, seen, [change, &features])?;
        let (wide_change, wide) = (
            own.wide_change.tensor([h, w, FLOW])?,
            own.wide.tensor([h, w, width])?,
        );
        pairs::resize(context, change, ratio, &wide_change)?;
        pairs::resize(context, &features, 1.0, &wide)?;
        let add = |changes: [&Tensor; 2]| -> Result<()> {
            for (change, whole) in changes.into_iter().zip([&level.flow, &level.between]) {
                picture::add_weighted(context, change, &|_, _| 1.0, whole)?;
            }
            Ok(())
        };
        add([&wide_change, &wide])?;
        let Some(high) = &self.high else {
            return Ok(());
        };
        let comparison = own.wide_comparison.tensor([h, w, COMPARISON])?;
        pairs::resize(context, &own.comparison, 1.0, &comparison)?;
        let seen = [&comparison, &level.flow, &level.between];
        high.run(context, own, seen, [&wide_change, &wide])?;
        add([&wide_change, &wide])
    }
}

impl Update {
    fn load(checkpoint: &Checkpoint, name: &str, width: usize) -> Result<Self> {
        let name = |part: &str| format!("{name}.{part}");
        let conv = |part: &str, inputs| {
            let (name, stride) = (name(part), 1);
            let shape = [
                outputs(checkpoint, &name)?,
                inputs,
                kernel(checkpoint, &name),
            ];
            checkpoint.filter(&name, shape, stride)
        };
        let pair = |parts: [&str; 2], inputs| -> Result<[Filter; 2]> {
            let first = conv(parts[0], inputs)?;
            let second = conv(parts[1], first.outputs())?;
            Ok([first, second])
        };
        let mut compared = vec![conv("convc1", COMPARISON)?];
        if checkpoint.shape(&name("convc2.bias")).is_some() {
            compared.push(conv("convc2", compared[0].outputs())?);
        }
        let flow = pair(["convf1", "convf2"], FLOW)?;
        let seen = compared.last().map_or(0, Filter::outputs) + flow[1].outputs();
        let both = conv("conv", seen)?;
        let body = pair(["gru.0", "gru.2"], both.outputs() + FLOW + width)?;
        let features = pair(["feat_head.0", "feat_head.2"], body[1].outputs())?;
        let change = pair(["flow_head.0", "flow_head.2"], body[1].outputs())?;
        if (features[1].outputs(), change[1].outputs()) != (width, FLOW) {
            let problem = format!(
                "{} does not answer with {width} features and a flow",
                name("gru")
            );
            return Err(checkpoint.problem(problem));
        }
        Ok(Self {
            compared,
            flow,
            both,
            body,
            features,
            change,
        })
    }

    /// From comparison, flow and features to the changes of flow and features.
    fn run(
        &self,
        context: &Context,
        own: &Compared,
        [comparison, flow, between]: [&Tensor; 3],
        [change, features]: [&Tensor; 2],
    ) -> Result<()> {
        let (h, w, _) = flow.dims3()?;
        let [a, b, c, d] = own.work.each_ref();
        let run =
            |filter: &Filter, inputs: &[&Tensor], out: &Buffer, activation| -> Result<Tensor> {
                let out = out.tensor([h, w, filter.outputs()])?;
                filter.apply(context, inputs, None, activation, &out)?;
                Ok(out)
            };
        let leaky = Activation::Leaky;
        let mut compared = run(&self.compared[0], &[comparison], a, leaky)?;
        if let Some(second) = self.compared.get(1) {
            compared = run(second, &[&compared], b, leaky)?;
        }
        let moved = run(&self.flow[0], &[flow], c, leaky)?;
        let moved = run(&self.flow[1], &[&moved], d, leaky)?;
        let both = run(&self.both, &[&compared, &moved], c, leaky)?;
        let body = run(&self.body[0], &[&both, flow, between], a, leaky)?;
        let body = run(&self.body[1], &[&body], b, Activation::Linear)?;
        for ([first, second], out) in [(&self.features, features), (&self.change, change)] {
            let middle = run(first, &[&body], a, leaky)?;
            second.apply(context, &[&middle], None, Activation::Linear, out)?;
        }
        Ok(())
    }

    /// Most channels of what it works with.
    fn widest(&self) -> usize {
        let pairs = [&self.flow, &self.body, &self.features, &self.change];
        let all = pairs
            .into_iter()
            .flatten()
            .chain(&self.compared)
            .chain([&self.both]);
        all.map(Filter::outputs).max().unwrap_or(1)
    }
}

/// Memory for pictures of one size.
#[derive(Debug)]
pub struct Space {
    centred: Centred,
    sides: [Tensor; 2],
    /// A picture without the mean of both.
    lowered: Tensor,
    /// In the cells of the coarsest decoder, and in those of comparison.
    coarse_phases: Tensor,
    phases: Tensor,
    /// Finest first.
    levels: Vec<Level>,
    compared: Compared,
    /// One of the flows, and the mean of all.
    field: Tensor,
    motion: Tensor,
    blend: Tensor,
    /// Of all flows, and what comes of them.
    pictures: Tensor,
    combined: Tensor,
    picture: Tensor,
}

#[derive(Debug)]
struct Level {
    middle: Tensor,
    features: [Tensor; 2],
    warped: [Tensor; 2],
    /// Of the picture between: flow to both sides, features.
    flow: Tensor,
    between: Tensor,
    room: Room,
}

/// What comparing needs.
#[derive(Debug)]
struct Compared {
    /// In cells.
    size: (usize, usize),
    /// Of both sides, finest first.
    levels: [Vec<Tensor>; 2],
    raw: Buffer,
    whole: [Buffer; 2],
    parts: [Buffer; 2],
    flow: Tensor,
    between: Buffer,
    comparison: Tensor,
    change: Tensor,
    features: Buffer,
    /// The same at the size of a level.
    wide_comparison: Buffer,
    wide_change: Buffer,
    wide: Buffer,
    work: [Buffer; 4],
}

impl Space {
    fn new(net: &Amt, size: (usize, usize)) -> Result<Self> {
        let centred = Centred::new(size, MULTIPLE, LEAST);
        let (h, w) = centred.whole;
        let levels = (0..LEVELS).map(|i| {
            let (h, w) = (h >> (i + 1), w >> (i + 1));
            let room = |c: usize| zeros([h, w, c]);
            let width = net.widths[i];
            Ok(Level {
                middle: room(width)?,
                features: [room(width)?, room(width)?],
                warped: [room(width)?, room(width)?],
                flow: room(FLOW)?,
                between: room(width)?,
                room: net.decoders[i].room((h, w))?,
            })
        });
        let whole = |c: usize| zeros([h, w, c]);
        let combined = net.combine[0].outputs();
        Ok(Self {
            sides: [whole(RGB)?, whole(RGB)?],
            lowered: whole(RGB)?,
            coarse_phases: zeros([h / MULTIPLE, w / MULTIPLE, 1])?,
            phases: zeros([h / CELL, w / CELL, 1])?,
            levels: levels.collect::<Result<_>>()?,
            compared: Compared::new(net, (h, w))?,
            field: whole(CONCLUSION)?,
            motion: whole(CONCLUSION)?,
            blend: whole(RGB)?,
            pictures: whole(RGB * net.fields)?,
            combined: whole(combined)?,
            picture: whole(RGB)?,
            centred,
        })
    }
}

impl Compared {
    fn new(net: &Amt, (h, w): (usize, usize)) -> Result<Self> {
        let size = (h / CELL, w / CELL);
        let dimensions = net.features.last.outputs();
        let level = |i: usize| zeros([size.0 >> i, size.1 >> i, dimensions]);
        let levels = || (0..pairs::LEVELS).map(level).collect::<Result<_>>();
        // Every block of features at the size of its input, which is the larger one.
        let mut shapes = vec![[h / 2, w / 2, net.features.first.outputs()]];
        let (mut rows, mut columns) = (h / 2, w / 2);
        for block in &net.features.blocks {
            let widths = block.convs.iter().map(|(conv, _)| conv.outputs());
            let widest = widths.max().unwrap_or(1);
            shapes.push([rows, columns, widest]);
            (rows, columns) = (rows / block.stride, columns / block.stride);
        }
        let features = || Buffer::new(shapes.iter().copied());
        let cells = |c: usize| zeros([size.0, size.1, c]);
        let widest = net.widths.iter().copied().max().unwrap_or(1);
        let steps = || (0..COMPARED + 1).map(|i| (h >> (i + 1), w >> (i + 1)));
        let highs = net.updates.iter().map(|u| u.high.as_ref());
        let highest = steps().zip(highs).filter(|(_, high)| high.is_some());
        let highest = highest.map(|((h, w), _)| [h, w, COMPARISON]);
        let work = || {
            let steps = steps().zip(&net.updates).flat_map(|((h, w), u)| {
                let high = u.high.as_ref().map(|high| [h, w, high.widest()]);
                [Some([size.0, size.1, u.low.widest()]), high]
            });
            Buffer::new(steps.flatten())
        };
        Ok(Self {
            size,
            levels: [levels()?, levels()?],
            raw: features()?,
            whole: [features()?, features()?],
            parts: [features()?, features()?],
            flow: cells(FLOW)?,
            between: Buffer::new([[size.0, size.1, widest]])?,
            comparison: cells(COMPARISON)?,
            change: cells(FLOW)?,
            features: Buffer::new([[size.0, size.1, widest]])?,
            wide_comparison: Buffer::new(highest)?,
            wide_change: Buffer::new(steps().map(|(h, w)| [h, w, FLOW]))?,
            wide: Buffer::new(steps().zip(net.widths).map(|((h, w), c)| [h, w, c]))?,
            work: [work()?, work()?, work()?, work()?],
        })
    }
}
