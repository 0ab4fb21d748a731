//! The built-in network: a small encoder and a coarse-to-fine decoder that share their weights
//! over all levels of a pyramid. `training/model.py` is its twin, with the same names.
//!
//! Its limits: motion beyond about 4 cells of the coarsest level (a sixth to a half of the
//! picture) is out of reach, and so is what neither side shows.

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use super::checkpoint::Checkpoint;
use super::{Encoded, Motion, Observer};
use crate::error::{Error, Result};
use crate::kernels::{Context, PhaseMap, agreement, motion, resample};

pub mod config;
mod decoder;
mod encoder;
mod refiner;
mod variant;

pub use variant::Variant;

use config::{Config, Level, VIEW};
use decoder::{Decoder, DecoderSpace};
use encoder::{Encoder, EncoderSpace};
use refiner::{Refiner, RefinerSpace};

/// Flow at a quarter of the picture's size counts four pixels a step.
const QUARTER: f32 = 4.0;

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

    /// A built-in network by its name (see [`Variant::named`]), or one from a safetensors file.
    ///
    /// # Errors
    /// As [`Network::load`].
    pub fn open(model: &Path) -> Result<Arc<Self>> {
        match model.to_str().and_then(Variant::named) {
            Some(variant) => variant.network(),
            None => Self::load(model),
        }
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

    /// Memory for views of `height` x `width` (half the padded picture's size), to be run on
    /// `context`.
    ///
    /// # Errors
    /// An empty view.
    pub fn workspace(&self, context: &Context, height: usize, width: usize) -> Result<Workspace> {
        Workspace::new(context, &self.config, (height, width))
    }

    /// Fills `out` from the `[height, width, 6]` view of a picture: luma of 2x2 pixels
    /// (row-major), U, V, each -0.5 to 0.5.
    ///
    /// # Errors
    /// Sizes other than the workspace's.
    pub fn encode(&self, ws: &mut Workspace, view: &Tensor, out: &mut Encoded) -> Result<()> {
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
        let size = (ws.levels[0].view.0, ws.levels[0].view.1, VIEW);
        expect("a view", view.dims(), &[size.0, size.1, size.2])?;
        ws.expect_encoded(out)?;
        let ws = &*ws;
        let context = &ws.context;
        context
            .pool()
            .install(|| self.encoder.run(context, &ws.encoder, view, out, observe))
    }

    /// The motion between two encoded pictures at a phase; it stays in the workspace.
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
        self.estimate_observed(ws, left, right, phase, &mut |_, _, _| ())
    }

    /// As [`Network::estimate`]; shows every stage to `observe`.
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
        let mut coarser = None;
        for (level, space) in ws.decoder.iter().enumerate().rev() {
            space.begin(context, coarser, &ws.phases.coarse(level, phase)?)?;
            let sides = [left, right].map(|e| (&e.levels[level], &e.luma[level]));
            self.decoder.run(context, space, level, sides, observe)?;
            coarser = Some(space);
        }
        let sides = [left, right].map(|e| (&e.fine, &e.fine_luma));
        let fine = ws.phases.fine(phase);
        let (space, coarser) = (&ws.refiner, &ws.decoder[0]);
        self.refiner
            .run(context, space, coarser, sides, &fine, observe)?;
        let state = &space.matched.state;
        motion::flow(context, state, QUARTER, &ws.motion.flow)?;
        motion::weight_of_left(context, state, &ws.motion.mask)?;
        agreement::difference(context, &space.matched.luma, &ws.motion.difference)?;
        observe("motion.flow", 0, &ws.motion.flow);
        observe("motion.mask", 0, &ws.motion.mask);
        Ok(())
    }
}

/// All memory that encoding and estimating need for pictures of one size.
#[derive(Debug)]
pub struct Workspace {
    context: Context,
    config: Config,
    levels: Vec<Level>,
    encoder: EncoderSpace,
    /// Finest level first.
    decoder: Vec<DecoderSpace>,
    refiner: RefinerSpace,
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
        let levels = config::levels(view.0, view.1);
        let fine = levels[0].fine;
        let decoder = levels.iter().map(|l| DecoderSpace::new(config, l.coarse));
        Ok(Self {
            context: context.clone(),
            config: *config,
            encoder: EncoderSpace::new(config, &levels)?,
            decoder: decoder.collect::<Result<_>>()?,
            refiner: RefinerSpace::new(config, fine, levels[0].coarse)?,
            phases: Phases::new(&levels)?,
            motion: Motion {
                flow: zeros(fine, 4)?,
                mask: zeros(fine, 1)?,
                difference: zeros(fine, 1)?,
                confidence: Tensor::ones((fine.0, fine.1, 1), DType::F32, &Device::Cpu)?,
            },
            levels,
        })
    }

    /// Room for one encoded picture of this size.
    pub fn encoded(&self) -> Result<Encoded> {
        let Level { view, fine, .. } = self.levels[0];
        let features = self.config.features;
        let coarse = self.levels.iter().map(|l| zeros(l.coarse, features));
        let views = self.levels.iter().map(|l| l.view);
        let luma = views.chain([self.beyond()]).map(|size| zeros(size, 1));
        Ok(Encoded {
            fine: zeros(fine, self.config.stem)?,
            levels: coarse.collect::<Result<_>>()?,
            fine_luma: zeros((2 * view.0, 2 * view.1), 1)?,
            luma: luma.collect::<Result<_>>()?,
        })
    }

    /// Size of the view that the last level's, halved, is.
    fn beyond(&self) -> (usize, usize) {
        let (h, w) = self.levels[self.levels.len() - 1].view;
        (h.div_ceil(2), w.div_ceil(2))
    }

    /// Room for the view of one picture: `[height, width, 6]`.
    pub fn view(&self) -> Result<Tensor> {
        zeros(self.levels[0].view, VIEW)
    }

    /// What the workspace runs on.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// What [`Network::estimate`] answered last.
    pub fn motion(&self) -> &Motion {
        &self.motion
    }

    /// Fails unless `encoded` is of a picture of this size.
    pub(crate) fn expect_encoded(&self, encoded: &Encoded) -> Result<()> {
        let (h, w) = self.levels[0].fine;
        let wanted = [h, w, self.config.stem];
        expect("an encoded picture", encoded.fine.dims(), &wanted)?;
        let (levels, wanted) = (encoded.levels.len(), self.levels.len());
        expect("an encoded picture's levels", &[levels], &[wanted])
    }
}

/// A plane of phases at the sizes of all levels; unused while the phase is uniform.
#[derive(Debug)]
struct Phases {
    fine: Tensor,
    coarse: Vec<Tensor>,
}

impl Phases {
    fn new(levels: &[Level]) -> Result<Self> {
        let coarse = levels.iter().map(|l| zeros(l.coarse, 1));
        Ok(Self {
            fine: zeros(levels[0].fine, 1)?,
            coarse: coarse.collect::<Result<_>>()?,
        })
    }

    /// Brings a plane to every level's size.
    fn fill(&self, context: &Context, phase: &PhaseMap) -> Result<()> {
        let PhaseMap::Plane(plane) = phase else {
            return Ok(());
        };
        let dims = self.coarse[0].dims();
        expect("a plane of phases", plane.dims(), &dims[..2])?;
        let mut finer = &plane.unsqueeze(2)?;
        resample::double(context, finer, &self.fine)?;
        for coarse in &self.coarse[1..] {
            resample::half(context, finer, coarse)?;
            finer = coarse;
        }
        Ok(())
    }

    fn coarse(&self, level: usize, phase: &PhaseMap) -> Result<PhaseMap> {
        Ok(match phase {
            PhaseMap::Uniform(t) => PhaseMap::Uniform(*t),
            PhaseMap::Plane(plane) if level == 0 => PhaseMap::Plane(plane.unsqueeze(2)?),
            PhaseMap::Plane(_) => PhaseMap::Plane(self.coarse[level].clone()),
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

fn zeros((height, width): (usize, usize), channels: usize) -> Result<Tensor> {
    let shape = (height, width, channels);
    Ok(Tensor::zeros(shape, DType::F32, &Device::Cpu)?)
}
