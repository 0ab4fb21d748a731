//! What sets flow and features right by how alike the places are that they point to.

use candle_core::Tensor;

use super::space::{Compared, Space};
use super::{COMPARISON, kernel, outputs};
use crate::error::Result;
use crate::kernels::conv::{Activation, Filter};
use crate::kernels::{Context, pairs, picture};
use crate::network::checkpoint::Checkpoint;
use crate::network::published::layers::Buffer;
use crate::network::published::pyramid::FLOW;

/// What sets the flow and features of a level right: in cells of comparison, and then, in the largest
/// network, at its own size.
#[derive(Debug)]
pub(super) struct Updates {
    pub(super) low: Update,
    pub(super) high: Option<Update>,
}

#[derive(Debug)]
pub(super) struct Update {
    compared: Vec<Filter>,
    flow: [Filter; 2],
    both: Filter,
    body: [Filter; 2],
    features: [Filter; 2],
    change: [Filter; 2],
}

impl Updates {
    /// Behind the decoder of level `i`, which the authors count from 1; its features have `width` channels.
    pub(super) fn load(checkpoint: &Checkpoint, i: usize, width: usize) -> Result<Self> {
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
    pub(super) fn run(&self, context: &Context, space: &Space, i: usize) -> Result<()> {
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
                picture::add_scaled(context, 1.0, change, whole)?;
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
    pub(super) fn widest(&self) -> usize {
        let pairs = [&self.flow, &self.body, &self.features, &self.change];
        let all = pairs
            .into_iter()
            .flatten()
            .chain(&self.compared)
            .chain([&self.both]);
        all.map(Filter::outputs).max().unwrap_or(1)
    }
}
