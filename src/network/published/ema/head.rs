//! A head: flow and mask from what a stage of attention tells and the heads before it have answered.

use super::space::Space;
use super::stage::Stage;
use super::{ATTENDING, CONVOLVED, attended, stage_name};
use crate::error::Result;
use crate::kernels::answers::{self, Answer, MASK};
use crate::kernels::conv::{Activation, Filter};
use crate::kernels::{Context, picture, transformer};
use crate::network::checkpoint::Checkpoint;
use crate::network::published::layers::{self, Slopes};
use crate::network::published::views::{self, Pair, View};

/// Channels of what a head answers: flow and mask.
const ANSWER: usize = MASK + 1;

/// Values of a pixel of a stage that become pixels of their own.
pub(super) const SPREAD: usize = 16;

#[derive(Debug)]
pub(super) struct Head {
    pub(super) convs: [Filter; 3],
}

impl Head {
    /// The one that sees the stage of attention `i` from behind. Its authors order the inputs as what the
    /// stage makes, colours of both sides, of both warped ones, mask, flow; the first head has nothing
    /// behind the colours.
    pub(super) fn load(
        checkpoint: &Checkpoint,
        base: usize,
        i: usize,
        stages: &[Stage],
    ) -> Result<Self> {
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
    pub(super) fn run(
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

/// Pixels of a cell that is answered for a stage of attention.
pub(super) fn cell(stage: usize) -> f32 {
    (1 << (CONVOLVED + stage - 2)) as f32
}
