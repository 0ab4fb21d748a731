//! The built-in network: it begins from the motion that a search has found between two pictures, and makes flow and
//! mask at a phase of it. `training/model.py` is its twin, with the same names.

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use super::checkpoint::Checkpoint;
use super::{Encoded, Motion, Observer};
use crate::error::{Error, Result};
use crate::kernels::{
    Context, PhaseMap, agreement, bend, carry, hypotheses, memory, motion, phases, search,
};

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

pub use variant::Variant;

use config::{Config, MAX_FINEST, Sizes, VIEW, half};
use decoder::{Ahead, Decoder, DecoderSpace, Motions};
use encoder::{Encoder, EncoderSpace};
use refiner::{Refiner, RefinerSpace};

/// Flow at a quarter of the picture's size counts four pixels a step.
const QUARTER: f32 = 4.0;
/// Pixels of half the picture's size that a cell is wide and high.
const HALF_CELL: usize = 4;
/// Phases so near to the middle are it: what moves by 100 pixels is off by a hundredth of one. Times in whole nanoseconds hardly ever
/// have a middle.
const AT_MIDDLE: f32 = 1e-4;
/// A level of luma has at least this many samples each way, unless it is one that everything has.
const LEAST_SAMPLES: usize = 8;
/// No picture has more levels of luma than this.
const MAX_LEVELS: usize = 8;

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

/// What the refiner's state is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StateIs {
    /// Of another phase than the middle, or of other pictures.
    Other,
    /// Of the middle between the pictures that were searched last, as its difference in the motion.
    Middle,
    /// The same, the difference with it.
    Kept,
}

/// Which pair was searched last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InSpace {
    /// The one whose motion is in `found`.
    Pair,
    /// The one that was looked ahead to.
    Ahead,
    /// Another one, or what was found of it is not what is used.
    Other,
}

/// All memory that encoding and estimating need for pictures of one size.
#[derive(Debug)]
pub struct Workspace {
    context: Context,
    config: Config,
    sizes: Sizes,
    encoder: EncoderSpace,
    search: search::Space,
    /// What `search` holds.
    in_space: InSpace,
    /// What a search on a card needs; empty on the CPU.
    #[cfg(feature = "cuda")]
    rooms: Vec<cuda::Room>,
    /// Motion from left to right and from right to left, in pixels of the finest level searched; estimating overwrites it.
    ways: [Tensor; 2],
    /// Both, in cells.
    found: Tensor,
    /// See [`hypotheses::remember`].
    past: Tensor,
    /// What trajectories need, once they were asked for.
    ahead: Option<Box<Ahead>>,
    /// The motion of this pair follows them.
    follows: bool,
    decoder: DecoderSpace,
    refiner: RefinerSpace,
    state_is: StateIs,
    /// The state of the middle, carried to another phase.
    carried: Tensor,
    phases: Phases,
    motion: Motion,
}

impl Workspace {
    fn new(context: &Context, config: &Config, view: (usize, usize)) -> Result<Self> {
        if view.0 == 0 || view.1 == 0 {
            return Err(Error::Candle(candle_core::Error::Msg(format!(
                "a view of {}x{}, expected at least 1x1",
                view.0, view.1
            ))));
        }
        let sizes = Sizes::of(view.0, view.1);
        let Sizes { fine, coarse, .. } = sizes;
        let levels = levels(view);
        let device = context.device();
        let zeros = |size, channels| zeros(size, channels, &device);
        let refiner = RefinerSpace::new(config, fine, coarse, context)?;
        let (h, w) = levels[config.finest];
        let way = |later: &Tensor| memory::shared(later, (h, w, 2), DType::F32);
        let motion = Motion {
            flow: zeros(fine, 4)?,
            mask: zeros(fine, 1)?,
            difference: zeros(fine, 1)?,
            confidence: Tensor::ones((fine.0, fine.1, 1), DType::F32, &Device::Cpu)?,
        };
        Ok(Self {
            context: context.clone(),
            config: *config,
            encoder: EncoderSpace::new(config, &sizes, &refiner, context)?,
            // on a card as good as free: memory that is never touched
            search: search::Space::new(&levels, config.finest)?,
            in_space: InSpace::Other,
            #[cfg(feature = "cuda")]
            rooms: cuda::rooms(context, search::cuda::levels(&levels, config.finest)?)?,
            ways: [way(&refiner.matched.left)?, way(&refiner.matched.right)?],
            found: zeros(coarse, 4)?,
            past: zeros(coarse, 3)?,
            ahead: None,
            follows: false,
            decoder: DecoderSpace::new(config, coarse, &refiner, context)?,
            // what the refiner compares is not needed any more
            carried: memory::shared(
                &refiner.matched.scores,
                (fine.0, fine.1, motion::STATE),
                DType::F32,
            )?,
            refiner,
            state_is: StateIs::Other,
            phases: Phases::new(&sizes, &device)?,
            motion,
            sizes,
        })
    }

    /// Makes flow and mask from a state.
    fn conclude(&self, state: &Tensor) -> Result<()> {
        motion::flow(&self.context, state, QUARTER, &self.motion.flow)?;
        Ok(motion::weight_of_left(
            &self.context,
            state,
            &self.motion.mask,
        )?)
    }

    /// Makes the motion at a phase from the state of the middle.
    fn carry(&mut self, phase: &PhaseMap) -> Result<()> {
        let keeps = self.state_is == StateIs::Middle;
        self.state_is = StateIs::Kept;
        #[cfg(feature = "cuda")]
        if let Some(gpu) = self.context.gpu() {
            return self.carry_on(gpu, keeps, phase);
        }
        let (context, difference) = (&self.context, &self.motion.difference);
        let (state, carried) = (&self.refiner.matched.state, &self.carried);
        let ahead = self.followed();
        context.pool().install(|| {
            if keeps {
                carry::keep(context, difference, state)?;
                ahead.map_or(Ok(()), |ahead| self.decoder.lean(context, ahead))?;
            }
            self.phases.fill(context, phase)?;
            let phase = &self.phases.fine(phase);
            carry::carry(context, state, phase, carried)?;
            if let Some(ahead) = ahead {
                bend::put_lean(context, &ahead.lean, phase, carried)?;
            }
            carry::difference(context, carried, difference)?;
            self.conclude(carried)
        })
    }

    /// Room for one encoded picture of this size.
    pub fn encoded(&self) -> Result<Encoded> {
        let Sizes { view, fine, coarse } = self.sizes;
        let device = self.context.device();
        let zeros = |size, channels| zeros(size, channels, &device);
        let bytes = |(h, w)| Tensor::zeros((h, w, 1), DType::U8, &device);
        let luma = levels(view).into_iter().map(|size| zeros(size, 1));
        Ok(Encoded {
            fine: features(fine, self.config.stem, &self.context)?,
            coarse: features(coarse, self.config.features, &self.context)?,
            luma: luma.collect::<Result<_>>()?,
            bytes: [bytes((2 * view.0, 2 * view.1))?, bytes(view)?],
            #[cfg(feature = "cuda")]
            unseen: std::sync::Mutex::default(),
        })
    }

    /// Height and width of the views that it is for.
    pub fn view_size(&self) -> (usize, usize) {
        self.sizes.view
    }

    /// Room for the view of one picture, on the CPU: `[height, width, 6]`. Estimating overwrites it.
    pub fn view(&self) -> Result<Tensor> {
        let (height, width) = self.sizes.view;
        let later = &self.refiner.matched.scores;
        Ok(memory::shared(later, (height, width, VIEW), DType::F32)?)
    }

    /// Takes motion that was found elsewhere in place of a search between two pictures: `[height / 4, width / 4, 4]` of the view, from left
    /// to right x, y, and from right to left x, y, in cells of 8x8 pixels of the picture; and of the `past`, with 3
    /// channels, from the left picture to the one before it x, y, and 1, or 0 where that is not known.
    ///
    /// # Errors
    /// Another size.
    pub fn assume(&mut self, pictures: [&Encoded; 2], found: Tensor, past: Tensor) -> Result<()> {
        for encoded in pictures {
            self.expect_encoded(encoded)?;
        }
        expect("the motion found", found.dims(), self.found.dims())?;
        expect("the motion before", past.dims(), self.past.dims())?;
        (self.found, self.past) = (found, past);
        self.in_space = InSpace::Other;
        self.state_is = StateIs::Other;
        self.decoder.rest(&self.context, pictures)
    }

    /// Takes the motion before the pair from the workspace of a network that sees the pictures twice as large, once both have
    /// begun the pair.
    ///
    /// # Errors
    /// That one's is not twice as large.
    pub fn recall(&self, finer: &Workspace) -> Result<()> {
        let context = &self.context;
        Ok(hypotheses::halve_past(context, &finer.past, &self.past)?)
    }

    /// What was found between the pair is now that which was found ahead of it, and the other way round.
    ///
    /// # Errors
    /// Those of the allocation.
    pub fn exchange(&mut self) -> Result<()> {
        let ahead = self.ahead()?.found.clone();
        let found = std::mem::replace(&mut self.found, ahead);
        self.ahead()?.found = found;
        self.in_space = match self.in_space {
            InSpace::Pair => InSpace::Ahead,
            InSpace::Ahead => InSpace::Pair,
            InSpace::Other => InSpace::Other,
        };
        Ok(())
    }

    fn ahead(&mut self) -> Result<&mut Ahead> {
        let device = self.context.device();
        match &mut self.ahead {
            Some(ahead) => Ok(ahead),
            none => Ok(none.insert(Box::new(Ahead::new(self.sizes.coarse, &device)?))),
        }
    }

    /// The motion that the decoder begins with.
    fn motions(&self) -> Motions<'_> {
        Motions {
            found: &self.found,
            past: &self.past,
            ahead: self.followed(),
        }
    }

    /// What trajectories need, where they are followed.
    fn followed(&self) -> Option<&Ahead> {
        self.ahead.as_deref().filter(|_| self.follows)
    }

    /// Lets motion be even again, but for what the pair before tells.
    pub fn follow_none(&mut self) {
        if std::mem::take(&mut self.follows) {
            self.state_is = StateIs::Other;
        }
    }

    /// What the workspace runs on.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The motion that [`Network::search`] found last: `[height / 4, width / 4, 4]` of the view, from left to right x, y, and
    /// from right to left x, y, in cells of 8x8 pixels of the picture.
    pub fn found(&self) -> &Tensor {
        &self.found
    }

    /// What [`Network::estimate`] answered last.
    pub fn motion(&self) -> &Motion {
        &self.motion
    }

    /// Another pair of encoded pictures is to come, which have to be of this size.
    fn begin_pair(&mut self, pictures: [&Encoded; 2]) -> Result<()> {
        self.state_is = StateIs::Other;
        pictures
            .iter()
            .try_for_each(|encoded| self.expect_encoded(encoded))
    }

    /// Fails unless `encoded` is of a picture of this size.
    pub(crate) fn expect_encoded(&self, encoded: &Encoded) -> Result<()> {
        let (h, w) = self.sizes.fine;
        let wanted = [h, w, self.config.stem];
        expect("an encoded picture", encoded.fine.dims(), &wanted)
    }
}

/// Sizes of the levels of luma: of the view, of half of it, and so on.
fn levels(view: (usize, usize)) -> Vec<(usize, usize)> {
    let sizes = std::iter::successors(Some(view), |size| Some(half(*size)));
    let large = |size: &(usize, usize)| size.0.min(size.1) >= LEAST_SAMPLES;
    let enough = sizes
        .enumerate()
        .take_while(|(i, size)| *i <= MAX_FINEST || large(size));
    enough.map(|(_, size)| size).take(MAX_LEVELS).collect()
}

/// A plane of phases at the sizes of both stages; unused while the phase is uniform.
#[derive(Debug)]
struct Phases {
    fine: Tensor,
    coarse: (usize, usize),
}

impl Phases {
    fn new(sizes: &Sizes, device: &Device) -> Result<Self> {
        Ok(Self {
            fine: zeros(sizes.fine, 1, device)?,
            coarse: sizes.coarse,
        })
    }

    /// Brings a plane to the finer size.
    fn fill(&self, context: &Context, phase: &PhaseMap) -> Result<()> {
        let PhaseMap::Plane(plane) = phase else {
            return Ok(());
        };
        let (h, w) = self.coarse;
        expect("a plane of phases", plane.dims(), &[h, w])?;
        Ok(phases::finer(context, &plane.unsqueeze(2)?, &self.fine)?)
    }

    fn coarse(&self, phase: &PhaseMap) -> Result<PhaseMap> {
        Ok(match phase {
            PhaseMap::Uniform(t) => PhaseMap::Uniform(*t),
            PhaseMap::Plane(plane) => PhaseMap::Plane(plane.unsqueeze(2)?),
        })
    }

    fn fine(&self, phase: &PhaseMap) -> PhaseMap {
        match phase {
            PhaseMap::Uniform(t) => PhaseMap::Uniform(*t),
            PhaseMap::Plane(_) => PhaseMap::Plane(self.fine.clone()),
        }
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
