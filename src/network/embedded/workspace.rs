//! What encoding and estimating need of memory, and what of the pair it holds.

use candle_core::{DType, Device, Tensor};

use super::config::{Config, MAX_FINEST, Sizes, VIEW, half};
#[cfg(feature = "cuda")]
use super::cuda;
use super::decoder::{Ahead, DecoderSpace, Motions};
use super::encoder::EncoderSpace;
use super::refiner::RefinerSpace;
use super::{QUARTER, expect, features, zeros};
use crate::error::{Error, Result};
use crate::kernels::{Context, PhaseMap, bend, carry, hypotheses, memory, motion, phases, search};
use crate::network::{Encoded, Motion};

/// A level of luma has at least this many samples each way, unless it is one that everything has.
const LEAST_SAMPLES: usize = 8;
/// No picture has more levels of luma than this.
const MAX_LEVELS: usize = 8;

/// What the refiner's state is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StateIs {
    /// Of another phase than the middle, or of other pictures.
    Other,
    /// Of the middle between the pictures that were searched last, as its difference in the motion.
    Middle,
    /// The same, the difference with it.
    Kept,
}

/// Which pair was searched last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InSpace {
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
    pub(super) context: Context,
    pub(super) config: Config,
    pub(super) sizes: Sizes,
    pub(super) encoder: EncoderSpace,
    pub(super) search: search::Space,
    /// What `search` holds.
    pub(super) in_space: InSpace,
    /// What a search on a card needs; empty on the CPU.
    #[cfg(feature = "cuda")]
    pub(super) rooms: Vec<cuda::Room>,
    /// Motion from left to right and from right to left, in pixels of the finest level searched; estimating overwrites it.
    pub(super) ways: [Tensor; 2],
    /// Both, in cells.
    pub(super) found: Tensor,
    /// See [`hypotheses::remember`].
    pub(super) past: Tensor,
    /// What trajectories need, once they were asked for.
    pub(super) ahead: Option<Box<Ahead>>,
    /// The motion of this pair follows them.
    pub(super) follows: bool,
    pub(super) decoder: DecoderSpace,
    pub(super) refiner: RefinerSpace,
    pub(super) state_is: StateIs,
    /// The state of the middle, carried to another phase.
    pub(super) carried: Tensor,
    pub(super) phases: Phases,
    pub(super) motion: Motion,
}

impl Workspace {
    pub(super) fn new(context: &Context, config: &Config, view: (usize, usize)) -> Result<Self> {
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
    pub(super) fn conclude(&self, state: &Tensor) -> Result<()> {
        motion::flow(&self.context, state, QUARTER, &self.motion.flow)?;
        Ok(motion::weight_of_left(
            &self.context,
            state,
            &self.motion.mask,
        )?)
    }

    /// Makes the motion at a phase from the state of the middle.
    pub(super) fn carry(&mut self, phase: &PhaseMap) -> Result<()> {
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
        let whole = (2 * view.0, 2 * view.1);
        let plane = |(h, w), dtype| Tensor::zeros((h, w, 1), dtype, &device);
        let luma = levels(view).into_iter().map(|size| zeros(size, 1));
        Ok(Encoded {
            fine: features(fine, self.config.stem, &self.context)?,
            coarse: features(coarse, self.config.features, &self.context)?,
            luma: luma.collect::<Result<_>>()?,
            bytes: [plane(whole, DType::U8)?, plane(view, DType::U8)?],
            // the tests play the card
            #[cfg(any(feature = "cuda", test))]
            quads: (cfg!(test) || self.context.gpu().is_some())
                .then(|| {
                    candle_core::Result::Ok([plane(whole, DType::U32)?, plane(view, DType::U32)?])
                })
                .transpose()?,
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

    pub(super) fn ahead(&mut self) -> Result<&mut Ahead> {
        let device = self.context.device();
        match &mut self.ahead {
            Some(ahead) => Ok(ahead),
            none => Ok(none.insert(Box::new(Ahead::new(self.sizes.coarse, &device)?))),
        }
    }

    /// The motion that the decoder begins with.
    pub(super) fn motions(&self) -> Motions<'_> {
        Motions {
            found: &self.found,
            past: &self.past,
            ahead: self.followed(),
        }
    }

    /// What trajectories need, where they are followed.
    pub(super) fn followed(&self) -> Option<&Ahead> {
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

    /// The motion that [`Network::search`](super::Network::search) found last: `[height / 4, width / 4, 4]` of the view, from left to right x, y, and
    /// from right to left x, y, in cells of 8x8 pixels of the picture.
    pub fn found(&self) -> &Tensor {
        &self.found
    }

    /// What [`Network::estimate`](super::Network::estimate) answered last.
    pub fn motion(&self) -> &Motion {
        &self.motion
    }

    /// Another pair of encoded pictures is to come, which have to be of this size.
    pub(super) fn begin_pair(&mut self, pictures: [&Encoded; 2]) -> Result<()> {
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
pub(super) fn levels(view: (usize, usize)) -> Vec<(usize, usize)> {
    let sizes = std::iter::successors(Some(view), |size| Some(half(*size)));
    let large = |size: &(usize, usize)| size.0.min(size.1) >= LEAST_SAMPLES;
    let enough = sizes
        .enumerate()
        .take_while(|(i, size)| *i <= MAX_FINEST || large(size));
    enough.map(|(_, size)| size).take(MAX_LEVELS).collect()
}

/// A plane of phases at the sizes of both stages; unused while the phase is uniform.
#[derive(Debug)]
pub(super) struct Phases {
    pub(super) fine: Tensor,
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
    pub(super) fn fill(&self, context: &Context, phase: &PhaseMap) -> Result<()> {
        let PhaseMap::Plane(plane) = phase else {
            return Ok(());
        };
        let (h, w) = self.coarse;
        expect("a plane of phases", plane.dims(), &[h, w])?;
        Ok(phases::finer(context, &plane.unsqueeze(2)?, &self.fine)?)
    }

    pub(super) fn coarse(&self, phase: &PhaseMap) -> Result<PhaseMap> {
        Ok(match phase {
            PhaseMap::Uniform(t) => PhaseMap::Uniform(*t),
            PhaseMap::Plane(plane) => PhaseMap::Plane(plane.unsqueeze(2)?),
        })
    }

    pub(super) fn fine(&self, phase: &PhaseMap) -> PhaseMap {
        match phase {
            PhaseMap::Uniform(t) => PhaseMap::Uniform(*t),
            PhaseMap::Plane(_) => PhaseMap::Plane(self.fine.clone()),
        }
    }
}
