//! The features that are compared.

use candle_core::Tensor;

use super::space::{Compared, Space};
use super::{kernel, outputs};
use crate::error::Result;
use crate::kernels::conv::{Activation, Filter};
use crate::kernels::{Context, pairs, pointwise, resample};
use crate::network::checkpoint::Checkpoint;
use crate::network::published::RGB;

/// What makes the features that are compared.
#[derive(Debug)]
pub(super) struct Features {
    pub(super) first: Filter,
    pub(super) blocks: Vec<Block>,
    pub(super) last: Filter,
}

/// Convolutions whose standardised outcome is added to the input, or to its convolution.
#[derive(Debug)]
pub(super) struct Block {
    /// With their strides.
    pub(super) convs: Vec<(Filter, usize)>,
    shortcut: Option<Filter>,
    pub(super) stride: usize,
}

impl Features {
    pub(super) fn load(checkpoint: &Checkpoint) -> Result<Self> {
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
    pub(super) fn run(&self, context: &Context, space: &Space, side: usize) -> Result<()> {
        let own = &space.compared;
        let (h, w) = space.centred.whole;
        let (mut h, mut w, linear) = (h / 2, w / 2, Activation::Linear);
        let width = self.first.outputs();
        let raw = own.raw.tensor([h, w, width])?;
        self.first
            .apply(context, &[&space.lowered], None, linear, &raw)?;
        let [mut now, mut next] = own.whole.each_ref();
        let mut input = now.tensor([h, w, width])?;
        pairs::standardise(context, &raw, true, &own.moments, &input)?;
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
            pairs::standardise(context, &raw, true, &own.moments, &part)?;
            made = part;
            (now, next) = (next, now);
        }
        match &self.shortcut {
            Some(shortcut) => {
                let raw = own.raw.tensor([h, w, width])?;
                shortcut.apply(context, &[input], None, linear, &raw)?;
                let part = now.tensor([h, w, width])?;
                pairs::standardise(context, &raw, false, &own.moments, &part)?;
                pointwise::add_rectified(context, &part, &made, out)?;
            }
            None => pointwise::add_rectified(context, input, &made, out)?,
        }
        Ok(())
    }
}
