//! Two pictures and a phase in, one picture out.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};
use crate::kernels::confidence;
pub use crate::kernels::confidence::predicted_error;
use crate::kernels::raster::Source;
use crate::kernels::synthesis::{Lattice, synthesise};
use crate::kernels::{Context, PhaseMap, still, view};
use crate::network::Model;
pub use crate::network::published::Options;
use crate::picture::{Format, Picture, PictureMut};
use crate::scene::Thumbnail;

mod ahead;
#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
mod canvas;
mod card;
mod coherence;
mod engine;
mod pair;
mod predictor;
mod retime;
#[cfg(test)]
mod tests;
#[cfg(feature = "cuda")]
mod there;

use ahead::{Made, Ready};
use coherence::Check;
pub use coherence::{Coherence, TURBULENT, Turbulence};
use engine::{Engine, Features};
use pair::{Next, Pair};
use predictor::Predictor;
pub use retime::{Labels, Retiming};

/// What to do where two pictures do not belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SceneAction {
    /// The caller shows the nearer picture.
    #[default]
    Nearest,
    /// The pictures are dissolved into each other.
    Blend,
}

/// How things go from the left picture to the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Motion {
    /// Evenly, but for what the pair before tells.
    #[default]
    Linear,
    /// Along trajectories through the pictures before and after, too; see [`crate::trajectory`]. The same as `Linear` for
    /// published networks.
    Trajectory,
}

/// The picture after the right one.
#[derive(Debug, Clone, Copy)]
pub struct After<'a> {
    pub picture: &'a Picture<'a>,
    pub encoded: &'a Encoded,
    /// Time from the right picture to this one, as [`Settings::interval`].
    pub interval: f32,
}

/// Where a picture lies beyond the last one there is, in intervals of the last pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beyond {
    /// Time since the last picture, 0 or more.
    pub ahead: f32,
    /// How far pictures had been predicted beyond the picture before, when the last one came; 0 if not at all. By as much as they
    /// missed it, what is made now begins beside it, and gets nearer with every output.
    pub taken_back: f32,
}

/// What may change from frame to frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// How things go between two pictures.
    pub motion: Motion,
    /// Whether motion is looked at for what contradicts itself.
    pub coherence: Coherence,
    /// Score above which two pictures are a cut apart, see [`crate::scene::score`]; 0 disables, also
    /// what looks for failed motion.
    pub scene_threshold: f64,
    /// What becomes of two pictures that are a cut apart.
    pub scene_action: SceneAction,
    /// Time from the left picture to the right one, in any unit that is the same for all pairs. Where the left one was the
    /// right one of the pair before, the motion of that pair tells of acceleration; not if one pair took
    /// more than twice the time of the other.
    pub interval: f32,
    /// The phase at which a picture is asked for next between the same two, with the same settings otherwise, where that is known: a card
    /// makes that one while this one comes down from it. [`Interpolator::findings`] then tells nothing of this one. It is no promise.
    pub then: Option<f32>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            scene_threshold: DEFAULT_SCENE_THRESHOLD,
            scene_action: SceneAction::default(),
            interval: 1.0,
            motion: Motion::default(),
            coherence: Coherence::default(),
            then: None,
        }
    }
}

/// Default of [`Settings::scene_threshold`]: where on 150 clips as large a part of the cuts was missed
/// as of what was found was none, 1.3 in a hundred; see `examples/cuts`.
pub const DEFAULT_SCENE_THRESHOLD: f64 = 0.55;

/// Mean disagreement of the two warped sides (luma, 0 to 1) above which the motion has failed.
/// Within scenes, at half the rate, it was 0.039 at most; between pictures of different clips 0.076
/// at least.
const FAILED_MOTION: f32 = 0.06;

/// Score above which two pictures are taken for a cut if the motion fails, too. The sides of a
/// flash also disagree, so that failed motion alone says nothing. Flashes to white score up to
/// this.
const SUSPICIOUS: f64 = 0.5;

/// 16384×16384. The features of a larger picture take tens of gigabytes, and running out of memory
/// is no error that could be told.
const MOST_PIXELS: u64 = 1 << 28;

/// What the interval of a pair may be of that of the pair before, see [`Settings::interval`].
const PACES: std::ops::RangeInclusive<f32> = 0.5..=2.0;

/// What became of the output picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The picture was made from motion, or both pictures are the same and it was copied.
    Interpolated,
    /// A cut, and the pictures were dissolved into each other.
    Blended,
    /// A cut, and nothing was written: show the nearer original.
    Cut,
    /// Nothing was written: the last picture is what there is to show.
    Last,
}

/// What a pair of pictures turned out to be. Tensors lie at a quarter of the padded picture's size.
#[derive(Debug, Clone, Copy)]
pub enum Findings<'a> {
    /// The motion that the picture was made with.
    Motion {
        /// `[h, w, 4]`: where a pixel of the new picture lies in the left one (x, y) and in the
        /// right one (x, y), relative to its own position, in pixels of the full picture.
        flow: &'a Tensor,
        /// `[h, w, 1]`, 0 to 1: weight of the left picture.
        mask: &'a Tensor,
        /// `[h, w, 1]`, 0 to 1: how far the motion is trusted; [`predicted_error`] is the error
        /// that it stands for.
        confidence: &'a Tensor,
        /// `[h / n, w / n, 1]`, sides rounded up, n 2 or 4, 0 to 1: how incoherent the motion is, 0 where nothing contradicts it;
        /// where that was looked at, see [`Settings::coherence`].
        incoherence: Option<&'a Tensor>,
    },
    /// Both pictures are the same.
    Same,
    /// The pictures do not belong together, and no motion between them is known.
    Cut,
}

/// Which [`Findings`] the last pair had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Motion,
    /// Of a picture beyond the pair.
    Predicted,
    Same,
    Cut,
}

/// What is kept of one source picture.
#[derive(Debug)]
struct Parts {
    features: Features,
    /// Empty where pictures are made on a card.
    thumbnail: Thumbnail,
}

/// What two pictures have to do with each other, whatever the phase.
#[derive(Debug, Clone, Copy)]
struct Relation {
    /// Serial numbers of the two.
    pair: [u64; 2],
    repeated: bool,
    /// See [`crate::scene::score`]; none until it is asked for, where the pictures are a card's.
    score: Option<f64>,
}

/// A pair whose motion is in the workspace.
#[derive(Debug, Clone, Copy)]
struct Searched {
    /// Serial numbers of the two.
    pair: [u64; 2],
    /// See [`Settings::interval`].
    interval: f32,
    /// They turned out to be a cut apart.
    failed: bool,
}

/// Serial number of the next encoded picture.
static SERIAL: AtomicU64 = AtomicU64::new(0);

/// Parts that nobody uses at present.
type Pool = Mutex<Vec<Box<Parts>>>;

/// What the engine keeps of one source picture; its memory is used again when it is dropped.
pub struct Encoded {
    /// `None` only while being dropped.
    parts: Option<Box<Parts>>,
    /// The thumbnail, where it was made on a card.
    fetched: OnceLock<Thumbnail>,
    pool: Arc<Pool>,
    /// Different for each.
    serial: u64,
}

impl Encoded {
    fn parts(&self) -> &Parts {
        self.parts.as_ref().expect("parts leave only when dropped")
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Encoded").finish_non_exhaustive()
    }
}

impl Drop for Encoded {
    fn drop(&mut self) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.extend(self.parts.take());
    }
}

/// Makes pictures between pictures of one format and size.
pub struct Interpolator {
    format: Format,
    width: u32,
    height: u32,
    /// On the CPU.
    context: Context,
    /// Where networks run.
    place: Context,
    engine: Engine,
    options: Options,
    view: Tensor,
    /// Flow of nothing moving, `[h, w, 4]` at a quarter of the size.
    still: Tensor,
    /// The mask that the picture is made with, `[h, w, 1]`.
    mask: Tensor,
    /// How much the two sides disagree, `[h, w, 1]`; made where a cut is suspected.
    disagreement: Tensor,
    /// How far the pictures of the last pair are apart around each cell, nothing moved, `[h, w, 1]`. This and what stands still lie on the
    /// card where pictures are made there, and here that of the pair that was predicted from last.
    change: Tensor,
    /// The same in each cell by itself.
    cells_change: Tensor,
    /// What stands still in the last pair.
    standing: still::Space,
    found: Option<Found>,
    /// Of the pair that was asked for last.
    relation: Option<Relation>,
    /// What was searched last.
    searched: Option<Searched>,
    /// The pair after it, where one was looked for.
    ahead: Option<[u64; 2]>,
    /// What the motion was made ready for last.
    ready: Option<Ready>,
    made: Option<Made>,
    /// What pictures beyond the last one are made with, once one was asked for.
    predictor: Option<Box<Predictor>>,
    /// What looking at the coherence needs, once it was asked for.
    check: Option<Box<Check>>,
    pool: Arc<Pool>,
}

impl fmt::Debug for Interpolator {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let shape = (self.format, self.width, self.height);
        f.debug_tuple("Interpolator").field(&shape).finish()
    }
}

/// Fails unless pictures have pixels, and no more than there is room for.
///
/// # Errors
/// As said.
pub(crate) fn check_size(width: u32, height: u32) -> Result<()> {
    if width == 0 || height == 0 {
        return Err(Error::EmptyPicture { width, height });
    }
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        let most = MOST_PIXELS;
        return Err(Error::PictureTooLarge {
            width,
            height,
            most,
        });
    }
    Ok(())
}

impl Interpolator {
    /// `threads`: 0 takes one a CPU.
    ///
    /// # Errors
    /// The size is empty or too large, or the threads cannot be started.
    pub fn new(
        model: impl Into<Model>,
        format: Format,
        width: u32,
        height: u32,
        threads: usize,
    ) -> Result<Self> {
        let options = Options::default();
        Self::with_options(model, format, (width, height), threads, options)
    }

    /// As [`Interpolator::new`], with what networks let one choose.
    ///
    /// # Errors
    /// As [`Interpolator::new`].
    pub fn with_options(
        model: impl Into<Model>,
        format: Format,
        (width, height): (u32, u32),
        threads: usize,
        options: Options,
    ) -> Result<Self> {
        let context = Context::new(threads)?;
        Self::with_context(model, format, (width, height), &context, options)
    }

    /// As [`Interpolator::with_options`]. The network runs on the context's card if it has one, and the pictures are made there; what else
    /// there is to do is done on the CPU.
    ///
    /// # Errors
    /// The size is empty or too large, or the card has too little memory.
    pub fn with_context(
        model: impl Into<Model>,
        format: Format,
        (width, height): (u32, u32),
        context: &Context,
        options: Options,
    ) -> Result<Self> {
        check_size(width, height)?;
        let size = (height as usize, width as usize);
        let view = view::size(size.0, size.1);
        let engine = Engine::new(model.into(), context, (format, size), view, options)?;
        let zeros = |channels: usize| {
            Tensor::zeros((view.0 / 2, view.1 / 2, channels), DType::F32, &Device::Cpu)
        };
        Ok(Interpolator {
            format,
            width,
            height,
            view: engine.view(view)?,
            still: zeros(4)?,
            mask: zeros(1)?,
            disagreement: zeros(1)?,
            change: zeros(1)?,
            cells_change: zeros(1)?,
            standing: still::Space::new((view.0 / 2, view.1 / 2))?,
            found: None,
            relation: None,
            searched: None,
            ahead: None,
            ready: None,
            made: None,
            predictor: None,
            check: None,
            engine,
            options,
            place: context.clone(),
            context: context.on(None),
            pool: Arc::default(),
        })
    }

    /// Goes on with another network. What was encoded before does not fit it, see [`Interpolator::fits`].
    ///
    /// # Errors
    /// None that a picture inside of memory has.
    pub fn set_network(&mut self, model: impl Into<Model>) -> Result<()> {
        let size = (self.height as usize, self.width as usize);
        let view = view::size(size.0, size.1);
        let shape = (self.format, size);
        self.engine = Engine::new(model.into(), &self.place, shape, view, self.options)?;
        self.view = self.engine.view(view)?;
        self.pool = Arc::default();
        (self.found, self.relation, self.searched) = (None, None, None);
        (self.ahead, self.ready, self.made) = (None, None, None);
        (self.predictor, self.check) = (None, None);
        Ok(())
    }

    /// Whether a picture was encoded here, by the network that runs now.
    pub fn fits(&self, encoded: &Encoded) -> bool {
        Arc::ptr_eq(&self.pool, &encoded.pool)
    }

    /// What the engine needs of a source picture; make it once and use it for both its pairs.
    ///
    /// # Errors
    /// The picture has another format or size.
    pub fn encode(&mut self, picture: &Picture) -> Result<Arc<Encoded>> {
        picture.expect(self.format, self.width, self.height)?;
        self.on_threads(|this| this.encode_here(picture))
    }

    /// Calls `f` on one of the threads that what it does is shared among: to wake them once is faster than for each kernel. Where a card
    /// does it, there is little to share.
    fn on_threads<T: Send>(&mut self, f: impl FnOnce(&mut Self) -> T + Send) -> T {
        if self.engine.on_card().is_some() {
            return f(self);
        }
        let context = self.context.clone();
        context.pool().install(|| f(self))
    }

    fn encode_here(&mut self, picture: &Picture) -> Result<Arc<Encoded>> {
        let mut parts = self.parts()?;
        if self.engine.on_card().is_none() {
            view::view(&self.context, picture, &self.view)?;
        }
        self.engine
            .encode(picture, &self.view, &mut parts.features)?;
        if self.engine.on_card().is_none() {
            self.fill_thumbnail(&mut parts)?;
        }
        Ok(self.encoded(parts))
    }

    /// Of parts that were just filled.
    fn encoded(&self, parts: Box<Parts>) -> Arc<Encoded> {
        Arc::new(Encoded {
            parts: Some(parts),
            fetched: OnceLock::new(),
            pool: self.pool.clone(),
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
        })
    }

    fn fill_thumbnail(&self, parts: &mut Parts) -> Result<()> {
        let view = Source::lock(&self.view);
        let view = view.raster()?;
        let (_, height) = self.view_cells();
        parts.thumbnail.fill((0..height).map(|y| view.row(y)));
        Ok(())
    }

    /// Waits for a card that makes it until it has come from there.
    fn thumbnail<'e>(&self, encoded: &'e Encoded) -> Result<&'e Thumbnail> {
        let parts = encoded.parts();
        let card = match (self.engine.on_card(), encoded.fetched.get()) {
            (None, _) => return Ok(&parts.thumbnail),
            (_, Some(fetched)) => return Ok(fetched),
            (Some(card), None) => card,
        };
        let mut fetched = parts.thumbnail.clone();
        card.thumbnail(&parts.features, &mut fetched)?;
        Ok(encoded.fetched.get_or_init(|| fetched))
    }

    /// Used parts, or new ones.
    fn parts(&self) -> Result<Box<Parts>> {
        let used = self
            .pool
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        if let Some(parts) = used {
            return Ok(parts);
        }
        let (width, height) = self.view_cells();
        let features = self.engine.features()?;
        Ok(Box::new(Parts {
            features,
            thumbnail: Thumbnail::new(width, height),
        }))
    }

    /// Width and height of the picture at half its size, without padding.
    fn view_cells(&self) -> (usize, usize) {
        (
            self.width.div_ceil(2) as usize,
            self.height.div_ceil(2) as usize,
        )
    }

    /// Width and height of the picture at a quarter of its size, without padding.
    fn cells(&self) -> (usize, usize) {
        (
            self.width.div_ceil(4) as usize,
            self.height.div_ceil(4) as usize,
        )
    }

    /// Makes the picture at `phase` between `left` and `right`, which are in time order, each
    /// with what [`Interpolator::encode`] made of it.
    ///
    /// # Errors
    /// A picture has another format or size, or was encoded by an interpolator of another size;
    /// a phase is not strictly between 0 and 1, or a plane of them has another size.
    pub fn interpolate(
        &mut self,
        left: (&Picture, &Encoded),
        right: (&Picture, &Encoded),
        phase: &PhaseMap,
        settings: &Settings,
        out: &mut PictureMut,
    ) -> Result<Outcome> {
        self.interpolate_before(None, left, right, phase, settings, out)
    }

    /// As [`Interpolator::interpolate`], with the picture `after` the right one, which [`Motion::Trajectory`] looks at.
    ///
    /// # Errors
    /// As [`Interpolator::interpolate`].
    pub fn interpolate_before(
        &mut self,
        after: Option<After>,
        left: (&Picture, &Encoded),
        right: (&Picture, &Encoded),
        phase: &PhaseMap,
        settings: &Settings,
        out: &mut PictureMut,
    ) -> Result<Outcome> {
        self.found = None;
        left.0.expect(self.format, self.width, self.height)?;
        right.0.expect(self.format, self.width, self.height)?;
        out.expect(self.format, self.width, self.height)?;
        let (height, width, _) = self.view.dims3()?;
        phase.check((height / 4, width / 4))?;
        self.engine.expect(&left.1.parts().features)?;
        self.engine.expect(&right.1.parts().features)?;
        self.on_threads(|this| this.interpolate_here(after, left, right, phase, settings, out))
    }

    fn interpolate_here(
        &mut self,
        after: Option<After>,
        left: (&Picture, &Encoded),
        right: (&Picture, &Encoded),
        phase: &PhaseMap,
        settings: &Settings,
        out: &mut PictureMut,
    ) -> Result<Outcome> {
        let (one, other) = (left.1.parts(), right.1.parts());
        let relation = self.relation(left, right)?;
        if relation.repeated {
            self.found = Some(Found::Same);
            out.copy_from(left.0)?;
            return Ok(Outcome::Interpolated);
        }
        if self.engine.on_card().is_some() {
            return self.interpolate_on_card(after, (left, right), phase, settings, out);
        }
        let threshold = settings.scene_threshold;
        let looks = threshold > 0.0;
        let score = self.score(left.1, right.1)?;
        if looks && score > threshold {
            return self.cut(left.0, right.0, phase, settings.scene_action, out);
        }
        let pair = Pair {
            left: left.1,
            right: (Some(right.0), right.1),
            after: after.map(Next::from),
        };
        self.search(&pair, settings)?;
        self.engine
            .estimate(&one.features, &other.features, phase)?;
        let suspicious = looks && score > SUSPICIOUS;
        if suspicious && self.disagreement(left.1, right.1, phase)? > FAILED_MOTION {
            // such motion tells nothing about the next pair
            if let Some(searched) = &mut self.searched {
                searched.failed = true;
            }
            return self.cut(left.0, right.0, phase, settings.scene_action, out);
        }
        self.look_for_turbulence(left, right, settings)?;
        let (context, engine) = (&self.context, &self.engine);
        engine.trust(context, &self.change)?;
        if let Some(check) = &self.check {
            check.doubt(context, &engine.motion().confidence)?;
        }
        engine.judge(context, phase, &self.mask)?;
        engine.synthesise(context, [left.0, right.0], &self.mask, out)?;
        if let Some(check) = &mut self.check {
            check.improve(context, [left.0, right.0], &self.change, phase, out)?;
        }
        let difference = &engine.motion().difference;
        let beside = [difference, &self.change];
        still::keep(context, &self.standing, beside, [left.0, right.0], out)?;
        self.found = Some(Found::Motion);
        Ok(Outcome::Interpolated)
    }

    /// What the last call of [`Interpolator::interpolate`] found; `None` before the first one,
    /// after one that failed, and after [`Interpolator::forget`]. From a card it is fetched: `None` where that has failed meanwhile.
    pub fn findings(&self) -> Option<Findings<'_>> {
        Some(match self.found? {
            Found::Predicted => {
                let predictor = self.predictor.as_deref();
                predictor.map_or(Findings::Same, Predictor::findings)
            }
            Found::Same => Findings::Same,
            Found::Cut => Findings::Cut,
            Found::Motion => {
                let motion = self.engine.motion();
                let [flow, mask, confidence] = match self.engine.on_card() {
                    Some(card) => card.found().ok()?.each_ref(),
                    None => [&motion.flow, &self.mask, &motion.confidence],
                };
                let check = self.check.as_ref().zip(self.engine.found());
                Findings::Motion {
                    flow,
                    mask,
                    confidence,
                    incoherence: check
                        .and_then(|(check, found)| check.incoherence(&self.context, found)),
                }
            }
        })
    }

    /// Lets go of what the last pair was.
    pub fn forget(&mut self) {
        self.found = None;
    }

    /// What becomes of two pictures that do not belong together.
    fn cut(
        &mut self,
        left: &Picture,
        right: &Picture,
        phase: &PhaseMap,
        action: SceneAction,
        out: &mut PictureMut,
    ) -> Result<Outcome> {
        self.found = Some(Found::Cut);
        if action == SceneAction::Nearest {
            return Ok(Outcome::Cut);
        }
        confidence::weight_of_time(&self.context, phase, &self.mask)?;
        let still = (&self.still, &self.mask, Lattice::Quarter);
        synthesise(&self.context, left, right, still, out)?;
        Ok(Outcome::Blended)
    }
}
