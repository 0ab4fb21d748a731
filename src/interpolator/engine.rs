//! The two kinds of network behind one face: the built-in one, which answers with motion at a quarter
//! of the picture's size, and published ones, which answer at full size.
//!
//! Everything that decides what is shown sees the same from both: luma to compare, motion, mask and
//! confidence at a quarter of the size.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};
#[cfg(feature = "cuda")]
use crate::kernels::cuda::picture::DevicePicture;
use crate::kernels::device::Gpu;
use crate::kernels::synthesis::{Lattice, synthesise};
use crate::kernels::{Context, PhaseMap, confidence, view};
use crate::network::published::Options;
use crate::network::{Model, Motion};
use crate::picture::{Color, Format, Picture, PictureMut};

mod embedded;
mod full;
mod painter;

use embedded::{Embedded, EmbeddedFeatures};
use full::{Full, FullFeatures};
use painter::Painter;

/// A network with its memory for pictures of one size.
pub enum Engine {
    Embedded(Box<Embedded>),
    Full(Box<Full>),
}

/// What a network keeps of one picture.
#[derive(Debug)]
pub enum Features {
    Embedded(EmbeddedFeatures),
    Full(FullFeatures),
}

impl Features {
    /// `[height, width, 1]` of the padded picture: luma in bytes, see [`luma::gather`](crate::kernels::luma::gather).
    pub fn luma(&self) -> &Tensor {
        match self {
            Self::Embedded(f) => &f.bytes.as_ref().unwrap_or(&f.encoded.bytes)[0],
            Self::Full(features) => &features.bytes[0],
        }
    }

    /// `[height / 4, width / 4, 1]`: mean luma of each 4x4 pixels, -0.5 to 0.5.
    pub fn cell_luma(&self) -> &Tensor {
        match self {
            Self::Embedded(f) => &f.encoded.luma[f.cells],
            Self::Full(features) => &features.cell_luma,
        }
    }

    /// What its codes stand for, where the network has seen its colours.
    fn color(&self) -> Option<Color> {
        match self {
            Self::Embedded(_) => None,
            Self::Full(features) => Some(features.color),
        }
    }
}

impl Engine {
    /// For pictures of this format, height and width, whose view (half their padded size) is `view`.
    ///
    /// # Errors
    /// None that a picture inside of memory has.
    pub fn new(
        model: Model,
        context: &Context,
        (format, picture): (Format, (usize, usize)),
        view: (usize, usize),
        options: Options,
    ) -> Result<Self> {
        Ok(match model {
            Model::Embedded(network) => {
                let halved = options.scale(picture, network.lines()) < 1.0;
                let shape = (format, picture.1, picture.0);
                let places = (shape, view, halved);
                Self::Embedded(Box::new(Embedded::new(network, context, places)?))
            }
            Model::Published(network) => {
                let shape = (format, picture.1, picture.0);
                let full = Full::new(network, context, (shape, view), options)?;
                Self::Full(Box::new(full))
            }
        })
    }

    /// Room for the view of a picture, which is `view` large. What is read from it must be read before the next
    /// estimate.
    pub fn view(&self, view: (usize, usize)) -> Result<Tensor> {
        match self {
            Self::Embedded(engine) if engine.sees_pictures() => engine.workspace.view(),
            _ => zeros(view, view::CHANNELS),
        }
    }

    /// Room for one picture.
    pub fn features(&self) -> Result<Features> {
        match self {
            Self::Embedded(engine) => engine.features().map(Features::Embedded),
            Self::Full(engine) => engine.features().map(Features::Full),
        }
    }

    /// What makes whole pictures, where the network runs on a card.
    pub fn on_card(&self) -> Option<Painter<'_>> {
        match self {
            Self::Embedded(engine) => engine.painter(),
            Self::Full(engine) => engine.painter(),
        }
    }

    /// Whether it takes pictures that others have on a card, see [`Engine::encode_there`].
    #[cfg(feature = "cuda")]
    pub fn takes_from_card(&self) -> bool {
        matches!(self, Self::Embedded(engine) if engine.painter().is_some())
    }

    /// Fills `features` from a picture and its view; where pictures are made on a card the view is made there, too, and nobody looks at
    /// this one.
    ///
    /// # Errors
    /// They were made for another engine.
    pub fn encode(&mut self, picture: &Picture, view: &Tensor, out: &mut Features) -> Result<()> {
        match (self, out) {
            (Self::Embedded(e), Features::Embedded(out)) => e.encode(picture, view, out),
            (Self::Full(e), Features::Full(out)) => e.encode(picture, view, out),
            _ => Err(foreign()),
        }
    }

    /// As [`Engine::encode`], of a picture without its view, for an engine that is the half of another one, see [`Engine::halved`].
    ///
    /// # Errors
    /// It is none; they were made for another engine.
    pub fn encode_halved(&mut self, picture: &Picture, out: &mut Features) -> Result<()> {
        match (self, out) {
            (Self::Embedded(e), Features::Embedded(out)) => e.encode_halved(picture, out),
            _ => Err(foreign()),
        }
    }

    /// As [`Engine::encode`], of a picture that others have on a card, for a network that takes it there; it has been read
    /// when the call returns.
    ///
    /// # Errors
    /// Another network, or the card fails.
    ///
    /// # Safety
    /// Its planes lie there.
    #[cfg(feature = "cuda")]
    pub unsafe fn encode_there(
        &mut self,
        picture: &DevicePicture,
        out: &mut Features,
    ) -> Result<()> {
        match (self, out) {
            // SAFETY: as the caller promises.
            (Self::Embedded(e), Features::Embedded(out)) => unsafe { e.encode_there(picture, out) },
            _ => Err(foreign()),
        }
    }

    /// Fails unless `features` are of a picture of this size and network.
    ///
    /// # Errors
    /// As said.
    pub fn expect(&self, features: &Features) -> Result<()> {
        match (self, features) {
            (Self::Embedded(e), Features::Embedded(f)) => e.workspace.expect_encoded(&f.encoded),
            (Self::Full(e), Features::Full(f)) => e.expect(f),
            _ => Err(foreign()),
        }
    }

    /// Whether its motion can follow trajectories.
    pub fn can_follow(&self) -> bool {
        matches!(self, Self::Embedded(_))
    }

    /// Lets the motion of the pair searched last follow trajectories; see [`Network::look_ahead`](crate::network::Network::look_ahead).
    ///
    /// # Errors
    /// As [`Engine::expect`].
    pub fn look_ahead(
        &mut self,
        right: &Features,
        after: Option<(&Features, f32)>,
        known: bool,
    ) -> Result<()> {
        match (self, right, after) {
            (Self::Embedded(e), Features::Embedded(r), None) => {
                e.run(|net, ws| net.look_ahead(ws, &r.encoded, None, known))
            }
            (Self::Embedded(e), Features::Embedded(r), Some((Features::Embedded(a), pace))) => {
                let after = Some((&a.encoded, pace));
                e.run(|net, ws| net.look_ahead(ws, &r.encoded, after, known))
            }
            (Self::Full(_), Features::Full(_), _) => Ok(()),
            _ => Err(foreign()),
        }
    }

    /// Lets no motion follow trajectories.
    pub fn follow_none(&mut self) {
        if let Self::Embedded(e) = self {
            e.workspace.follow_none();
        }
    }

    /// As [`Engine::search`], of the pair that was looked ahead to.
    ///
    /// # Errors
    /// As [`Engine::expect`].
    pub fn proceed(&mut self, left: &Features, right: &Features, pace: Option<f32>) -> Result<()> {
        match (self, left, right) {
            (Self::Embedded(e), Features::Embedded(l), Features::Embedded(r)) => {
                e.run(|net, ws| net.proceed(ws, &l.encoded, &r.encoded, pace))
            }
            _ => Err(foreign()),
        }
    }

    /// What was found between the pair is now that which was looked ahead to.
    ///
    /// # Errors
    /// None that a picture inside of memory has.
    pub fn exchange(&mut self) -> Result<()> {
        match self {
            Self::Embedded(e) => e.run(|_, ws| ws.exchange()),
            Self::Full(_) => Ok(()),
        }
    }

    /// Does once a pair what does not depend on the phase; `pace` as for [`Network::search`](crate::network::Network::search).
    ///
    /// # Errors
    /// As [`Engine::expect`].
    pub fn search(&mut self, left: &Features, right: &Features, pace: Option<f32>) -> Result<()> {
        match (self, left, right) {
            (Self::Embedded(e), Features::Embedded(l), Features::Embedded(r)) => {
                e.run(|net, ws| net.search(ws, &l.encoded, &r.encoded, pace))
            }
            (Self::Full(_), Features::Full(_), Features::Full(_)) => Ok(()),
            _ => Err(foreign()),
        }
    }

    /// Finds the motion at a phase between two pictures, those of the last search.
    ///
    /// # Errors
    /// As [`Engine::expect`].
    pub fn estimate(&mut self, left: &Features, right: &Features, phase: &PhaseMap) -> Result<()> {
        match (self, left, right) {
            (Self::Embedded(e), Features::Embedded(l), Features::Embedded(r)) => {
                e.estimate(&l.encoded, &r.encoded, phase)
            }
            (Self::Full(e), Features::Full(l), Features::Full(r)) => e.estimate(l, r, phase),
            _ => Err(foreign()),
        }
    }

    /// What was found last, at a quarter of the padded picture's size; where pictures are made on a card, it lies there.
    pub fn motion(&self) -> &Motion {
        match self {
            Self::Embedded(engine) => engine.motion(),
            Self::Full(engine) => &engine.motion,
        }
    }

    /// The motion between the pictures searched last, whatever the phase, see [`Workspace::found`](crate::network::Workspace::found);
    /// none where the network tells it only at a phase, or where it lies on a card.
    pub fn found(&self) -> Option<&Tensor> {
        match self {
            Self::Embedded(e) => e.found(),
            Self::Full(_) => None,
        }
    }

    /// The same network for the same pictures, seen at half their size, whose luma it does not keep; none where it sees them so
    /// already, or where they are another's.
    ///
    /// # Errors
    /// None that a picture inside of memory has.
    pub fn halved(&self) -> Result<Option<Self>> {
        let Self::Embedded(e) = self else {
            return Ok(None);
        };
        let halved = e.halved()?;
        Ok(halved.map(|halved| Self::Embedded(Box::new(halved))))
    }

    /// Takes `found` in place of what was found between the pair.
    #[cfg(test)]
    pub fn assume(&mut self, pictures: [&Features; 2], found: Tensor) -> Result<()> {
        let (Self::Embedded(e), [Features::Embedded(l), Features::Embedded(r)]) = (self, pictures)
        else {
            return Err(foreign());
        };
        let (h, w, _) = found.dims3()?;
        let past = zeros((h, w), 3)?;
        e.run(|_, ws| ws.assume([&l.encoded, &r.encoded], found, past))
    }

    /// As [`Engine::search`], of a pair that the engine that this one is the half of has just searched; what that one found on the way and the
    /// motion before the pair are taken from there.
    ///
    /// # Errors
    /// It is not that one; as [`Engine::expect`].
    pub fn search_in(&mut self, [left, right]: [&Features; 2], whole: &Self) -> Result<()> {
        match (self, whole, left, right) {
            (
                Self::Embedded(e),
                Self::Embedded(whole),
                Features::Embedded(l),
                Features::Embedded(r),
            ) => {
                let finer = &whole.workspace;
                e.run(|net, ws| net.search_in(ws, [&l.encoded, &r.encoded], finer))?;
                e.workspace.recall(finer)
            }
            _ => Err(foreign()),
        }
    }

    /// Fills the motion's confidence from it and from how far the pictures are apart.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn trust(&self, context: &Context, change: &Tensor) -> Result<()> {
        let motion = self.motion();
        confidence::estimate(context, &motion.difference, change, &motion.confidence)
    }

    /// Fills `mask` with that to use, by the motion's confidence.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn judge(&self, context: &Context, phase: &PhaseMap, mask: &Tensor) -> Result<()> {
        let motion = self.motion();
        match self {
            Self::Embedded(_) => {
                let trust = &motion.confidence;
                confidence::toward_nearer(context, &motion.mask, trust, phase, mask)
            }
            Self::Full(engine) => engine.judge(phase, mask),
        }
    }

    /// Makes the picture from the motion and the `mask` that was judged.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn synthesise(
        &self,
        context: &Context,
        [left, right]: [&Picture; 2],
        mask: &Tensor,
        out: &mut PictureMut,
    ) -> Result<()> {
        match self {
            Self::Embedded(engine) => {
                let motion = (&engine.motion().flow, mask, Lattice::Quarter);
                synthesise(context, left, right, motion, out)
            }
            Self::Full(engine) => engine.synthesise([left, right], out),
        }
    }
}

fn foreign() -> Error {
    Error::Candle(candle_core::Error::Msg(
        "a picture was encoded by another network".into(),
    ))
}

fn new_motion((h, w): (usize, usize), device: &Device) -> Result<Motion> {
    let zeros = |channels: usize| Tensor::zeros((h, w, channels), DType::F32, device);
    Ok(Motion {
        flow: zeros(4)?,
        mask: zeros(1)?,
        difference: zeros(1)?,
        confidence: zeros(1)?,
    })
}

fn explained(gpu: Option<&Arc<Gpu>>, error: Error) -> Error {
    match gpu {
        Some(gpu) => gpu.explain(error),
        None => error,
    }
}

pub(super) fn zeros((height, width): (usize, usize), channels: usize) -> Result<Tensor> {
    let shape = (height, width, channels);
    Ok(Tensor::zeros(shape, DType::F32, &Device::Cpu)?)
}
