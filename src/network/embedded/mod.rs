//! The built-in network: it begins from the motion that a search has found between two pictures, and makes flow and
//! mask at a phase of it. `training/model.py` is its twin, with the same names.

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use super::checkpoint::Checkpoint;
use super::{Encoded, Motion, Observer};
use crate::error::{Error, Result};
use crate::kernels::{Context, PhaseMap, agreement, bend, hypotheses, search};

pub mod config;
#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
pub(crate) mod cuda;
mod decoder;
mod encoder;
mod refiner;
mod variant;
mod workspace;

pub use variant::Variant;
pub use workspace::Workspace;

use config::{Config, VIEW};
use decoder::Decoder;
use encoder::Encoder;
use refiner::Refiner;
use workspace::{InSpace, StateIs};

/// Flow at a quarter of the picture's size counts four pixels a step.
const QUARTER: f32 = 4.0;
/// Pixels of half the picture's size that a cell is wide and high.
const HALF_CELL: usize = 4;
/// Phases so near to the middle are it: what moves by 100 pixels is off by a hundredth of one. Times in whole nanoseconds hardly ever
/// have a middle.
const AT_MIDDLE: f32 = 1e-4;

/// The weights, ready for the kernels; one for all that use the same file.
#[derive(Debug)]
pub struct Network {
    config: Config,
    encoder: Encoder,
    decoder: Decoder,
    refiner: Refiner,
}

impl Network {
    /// The network that is part of the plugin, in its usual size.
    ///
    /// # Errors
    /// The weights inside the plugin are damaged.
    pub fn embedded() -> Result<Arc<Self>> {
        Variant::Balanced.network()
    }

    /// A network from a safetensors file.
    ///
    /// # Errors
    /// The file cannot be read, or a tensor is missing or has another shape; the path is named.
    pub fn load(path: &Path) -> Result<Arc<Self>> {
        Self::from_checkpoint(&Checkpoint::open(path)?)
    }

    /// A network from the bytes of a safetensors file; `path` is for messages.
    ///
    /// # Errors
    /// As [`Network::load`].
    pub fn from_bytes(path: &str, bytes: &[u8]) -> Result<Arc<Self>> {
        Self::from_checkpoint(&Checkpoint::parse(path, bytes)?)
    }

    /// Whether a checkpoint is of a network of this kind.
    pub(crate) fn is_of(checkpoint: &Checkpoint) -> bool {
        checkpoint.shape("encoder.stem.weight").is_some()
    }

    pub(crate) fn from_checkpoint(checkpoint: &Checkpoint) -> Result<Arc<Self>> {
        let config = Config::of(checkpoint)?;
        Ok(Arc::new(Self {
            encoder: Encoder::load(checkpoint, &config)?,
            decoder: Decoder::load(checkpoint, &config)?,
            refiner: Refiner::load(checkpoint, &config)?,
            config,
        }))
    }

    /// Lines of a picture above which it is to be seen at half its size.
    pub fn lines(&self) -> usize {
        self.config.lines
    }

    /// Memory for views of `height` x `width` (half the padded picture's size), to be run on
    /// `context`. On a card all tensors lie there, those given to [`Network::encode`] and [`Network::estimate`] too; there
    /// is nothing to observe.
    ///
    /// # Errors
    /// An empty view.
    pub fn workspace(&self, context: &Context, height: usize, width: usize) -> Result<Workspace> {
        Workspace::new(context, &self.config, (height, width))
    }

    /// Fills `out` from the `[height, width, 6]` view of a picture: luma of 2x2 pixels
    /// (row-major), U, V, each -0.5 to 0.5. On a card that is finished when the picture is searched, or its motion estimated: the
    /// view has to stay as it is until then.
    ///
    /// # Errors
    /// Sizes other than the workspace's.
    pub fn encode(&self, ws: &mut Workspace, view: &Tensor, out: &mut Encoded) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Some(gpu) = ws.context.gpu() {
            return self.encode_on(gpu, ws, view, out);
        }
        self.encode_observed(ws, view, out, &mut |_, _, _| ())
    }

    /// As [`Network::encode`]; shows every stage to `observe`.
    ///
    /// # Errors
    /// As [`Network::encode`].
    pub fn encode_observed(
        &self,
        ws: &mut Workspace,
        view: &Tensor,
        out: &mut Encoded,
        observe: &mut Observer,
    ) -> Result<()> {
        let (h, w) = ws.sizes.view;
        expect("a view", view.dims(), &[h, w, VIEW])?;
        ws.expect_encoded(out)?;
        let ws = &*ws;
        let context = &ws.context;
        context
            .pool()
            .install(|| self.encoder.run(context, &ws.encoder, view, out, observe))
    }

    /// Finds the motion between two encoded pictures, both ways, for all phases; it stays in the workspace. With a `pace`
    /// the left one was the right one of the last search, which then tells of acceleration; the pace is the time
    /// from left to right over that of the pair before.
    ///
    /// # Errors
    /// Pictures of another size than the workspace's.
    pub fn search(
        &self,
        ws: &mut Workspace,
        left: &Encoded,
        right: &Encoded,
        pace: Option<f32>,
    ) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Some(gpu) = ws.context.gpu().cloned() {
            ws.begin_pair([left, right])?;
            self.search_on(&gpu, ws, [left, right], pace)?;
            ws.in_space = InSpace::Pair;
            return Ok(());
        }
        self.begin(ws, left, right, pace)?;
        let found = ws.found.clone();
        self.find(ws, left, right, &found)?;
        ws.in_space = InSpace::Pair;
        Ok(())
    }

    /// As [`Network::search`] without a pace, where `finer`, the workspace of a network that sees the same pictures twice as large, has just
    /// searched them: on the way there it has found what this one would search for. On the CPU.
    ///
    /// # Errors
    /// As [`Network::search`]; that one's is not twice as large.
    pub fn search_in(
        &self,
        ws: &mut Workspace,
        [left, right]: [&Encoded; 2],
        finer: &Workspace,
    ) -> Result<()> {
        if finer.in_space != InSpace::Pair {
            return self.search(ws, left, right, None);
        }
        self.begin(ws, left, right, None)?;
        let ways = [&ws.ways[0], &ws.ways[1]];
        let (context, per_cell) = (&ws.context, HALF_CELL >> self.config.finest);
        let taken = context.pool().install(|| -> Result<bool> {
            let taken = search::coarser(context, &finer.search, ways)?;
            if taken {
                hypotheses::gather(context, ways, per_cell, &ws.found)?;
            }
            Ok(taken)
        })?;
        if !taken {
            let found = ws.found.clone();
            self.find(ws, left, right, &found)?;
        }
        Ok(())
    }

    /// As [`Network::search`], of the pair that [`Network::look_ahead`] had last: what was found then is taken.
    ///
    /// # Errors
    /// As [`Network::search`]; there was no such pair.
    pub fn proceed(
        &self,
        ws: &mut Workspace,
        left: &Encoded,
        right: &Encoded,
        pace: Option<f32>,
    ) -> Result<()> {
        self.begin(ws, left, right, pace)?;
        ws.exchange()
    }

    /// Lets the motion follow trajectories, from the pair searched to the picture `after` it, if there is one: its `pace` is the
    /// time of the pair over that from the right one to it. `known`: what lies between them was found already, see [`Workspace::exchange`].
    ///
    /// # Errors
    /// As [`Network::search`].
    pub fn look_ahead(
        &self,
        ws: &mut Workspace,
        right: &Encoded,
        after: Option<(&Encoded, f32)>,
        known: bool,
    ) -> Result<()> {
        let found = ws.ahead()?.found.clone();
        if let Some((after, _)) = after.filter(|_| !known) {
            ws.expect_encoded(right)?;
            ws.expect_encoded(after)?;
            self.find(ws, right, after, &found)?;
            ws.in_space = InSpace::Ahead;
        }
        ws.follows = true;
        ws.state_is = StateIs::Other;
        Self::foresee(ws, after.map(|(_, pace)| pace))
    }

    /// Tells of the motion behind the pair from what was found there.
    fn foresee(ws: &mut Workspace, pace: Option<f32>) -> Result<()> {
        let context = ws.context.clone();
        let ahead = ws.ahead()?;
        #[cfg(feature = "cuda")]
        if let Some(gpu) = context.gpu() {
            return Self::foresee_on(gpu, ahead, pace);
        }
        Ok(bend::foresee(&context, &ahead.found, pace, &ahead.future)?)
    }

    /// What begins a pair, before its motion is known.
    fn begin(
        &self,
        ws: &mut Workspace,
        left: &Encoded,
        right: &Encoded,
        pace: Option<f32>,
    ) -> Result<()> {
        ws.begin_pair([left, right])?;
        #[cfg(feature = "cuda")]
        if let Some(gpu) = ws.context.gpu() {
            return self.begin_on(gpu, ws, [left, right], pace);
        }
        let (context, decoder) = (&ws.context, &ws.decoder);
        let (found, past) = (&ws.found, &ws.past);
        context.pool().install(|| {
            decoder.rest(context, [left, right])?;
            Ok(hypotheses::remember(context, found, pace, past)?)
        })
    }

    /// Searches between two pictures, both ways.
    fn find(
        &self,
        ws: &mut Workspace,
        left: &Encoded,
        right: &Encoded,
        found: &Tensor,
    ) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Some(gpu) = ws.context.gpu() {
            return self.find_on(gpu, ws, [left, right], found);
        }
        ws.in_space = InSpace::Other;
        let (context, search) = (&ws.context, &mut ws.search);
        let ways = [&ws.ways[0], &ws.ways[1]];
        let per_cell = HALF_CELL >> self.config.finest;
        context.pool().install(|| {
            search::search(context, [&left.luma, &right.luma], search, ways)?;
            Ok(hypotheses::gather(context, ways, per_cell, found)?)
        })
    }

    /// The motion at a phase between two encoded pictures, those that [`Network::search`] had last; it stays in
    /// the workspace.
    ///
    /// It is found once a pair, in the middle, and carried to the phase: several phases
    /// cost little more than one, and their motion is of one piece (what that costs and gains: `training/runs.md`).
    ///
    /// # Errors
    /// Pictures of another size than the workspace's, a plane of phases of another size than
    /// `[height / 4, width / 4]` of the view.
    pub fn estimate<'w>(
        &self,
        ws: &'w mut Workspace,
        left: &Encoded,
        right: &Encoded,
        phase: &PhaseMap,
    ) -> Result<&'w Motion> {
        const MIDDLE: PhaseMap = PhaseMap::Uniform(0.5);
        if ws.state_is == StateIs::Other {
            self.estimate_at(ws, [left, right], &MIDDLE)?;
            ws.state_is = StateIs::Middle;
        }
        let is_middle = matches!(phase, PhaseMap::Uniform(t) if (t - 0.5).abs() < AT_MIDDLE);
        if !is_middle || ws.state_is == StateIs::Kept {
            ws.carry(phase)?;
        }
        Ok(&ws.motion)
    }

    /// As [`Network::estimate`], at the phase itself.
    fn estimate_at(
        &self,
        ws: &mut Workspace,
        [left, right]: [&Encoded; 2],
        phase: &PhaseMap,
    ) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Some(gpu) = ws.context.gpu() {
            self.estimate_on(gpu, ws, [left, right], phase)?;
            ws.state_is = StateIs::Other;
            return Ok(());
        }
        self.estimate_observed(ws, left, right, phase, &mut |_, _, _| ())?;
        Ok(())
    }

    /// The motion found at the phase itself; shows every stage to `observe`.
    ///
    /// # Errors
    /// As [`Network::estimate`].
    pub fn estimate_observed<'w>(
        &self,
        ws: &'w mut Workspace,
        left: &Encoded,
        right: &Encoded,
        phase: &PhaseMap,
        observe: &mut Observer,
    ) -> Result<&'w Motion> {
        ws.expect_encoded(left)?;
        ws.expect_encoded(right)?;
        ws.state_is = StateIs::Other;
        let ws = &*ws;
        let pool = ws.context.pool();
        pool.install(|| self.run(ws, left, right, phase, observe))?;
        Ok(&ws.motion)
    }

    fn run(
        &self,
        ws: &Workspace,
        left: &Encoded,
        right: &Encoded,
        phase: &PhaseMap,
        observe: &mut Observer,
    ) -> Result<()> {
        let context = &ws.context;
        ws.phases.fill(context, phase)?;
        let (decoder, refiner) = (&ws.decoder, &ws.refiner);
        let sides = [left, right].map(|e| (&e.coarse, &e.bytes[1]));
        let coarse = ws.phases.coarse(phase)?;
        self.decoder
            .run(context, decoder, ws.motions(), sides, &coarse, observe)?;
        let sides = [left, right].map(|e| (&e.fine, &e.bytes[0]));
        let fine = ws.phases.fine(phase);
        self.refiner
            .run(context, refiner, decoder, sides, &fine, observe)?;
        ws.conclude(&refiner.matched.state)?;
        agreement::difference(context, &refiner.matched.luma, &ws.motion.difference)?;
        observe("motion.flow", 0, &ws.motion.flow);
        observe("motion.mask", 0, &ws.motion.mask);
        Ok(())
    }
}

fn expect(what: &str, found: &[usize], wanted: &[usize]) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    let message = format!("{what} of {found:?}, expected {wanted:?}");
    Err(Error::Candle(candle_core::Error::Msg(message)))
}

/// Features, of the context's precision.
fn features((h, w): (usize, usize), channels: usize, context: &Context) -> Result<Tensor> {
    let dtype = context.precision().dtype();
    Ok(Tensor::zeros((h, w, channels), dtype, &context.device())?)
}

fn zeros((height, width): (usize, usize), channels: usize, device: &Device) -> Result<Tensor> {
    let shape = (height, width, channels);
    Ok(Tensor::zeros(shape, DType::F32, device)?)
}
