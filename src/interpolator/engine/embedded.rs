//! The built-in network: it answers with motion at a quarter of the picture's size. On a card it makes whole pictures.

use std::sync::Arc;

use candle_core::{DType, Tensor};

use super::{Painter, explained, foreign, new_motion, zeros};
use crate::error::Result;
use crate::interpolator::card::{Beside, OnCard, Seen};
#[cfg(feature = "cuda")]
use crate::kernels::cuda::picture::DevicePicture;
use crate::kernels::synthesis::Lattice;
use crate::kernels::{Context, PhaseMap, luma, phases, resample, view};
use crate::network::{self, Motion, Network};
use crate::picture::{Format, Picture};

/// The built-in network. Where it runs on a card, pictures are made there, too.
pub struct Embedded {
    network: Arc<Network>,
    context: Context,
    pub(super) workspace: network::Workspace,
    /// Where it sees pictures at half their size.
    halved: Option<Halved>,
    /// The view of the last picture, where it sees pictures at half their size on a card.
    whole: Option<Tensor>,
    /// Keeps the luma of pictures that it sees at half their size.
    keeps_luma: bool,
    card: Option<OnCard>,
    /// Format, width and height of a picture.
    shape: (Format, usize, usize),
    /// Height and width of the view of a picture.
    view: (usize, usize),
}

/// What is kept of one picture.
#[derive(Debug)]
pub struct EmbeddedFeatures {
    pub(super) encoded: network::Encoded,
    /// Luma of the picture itself, see [`luma::gather`], where the network sees it at half its size and it is kept.
    pub(super) bytes: Option<[Tensor; 2]>,
    /// Which level of luma is that of cells: those of a half-size picture are its 2x2 pixels.
    pub(super) cells: usize,
    /// What there is of it on the card.
    pub(super) seen: Option<Seen>,
    /// There, its view as the network sees it, which needs it until the picture has been searched.
    view: Option<Tensor>,
}

impl Embedded {
    pub(super) fn new(
        network: Arc<Network>,
        context: &Context,
        (shape, view, halved): ((Format, usize, usize), (usize, usize), bool),
    ) -> Result<Self> {
        let seen = match halved {
            true => (view.0 / 2, view.1 / 2),
            false => view,
        };
        let new = || -> Result<_> {
            let workspace = network.workspace(context, seen.0, seen.1)?;
            let halved = halved.then(|| Halved::new(&workspace, view)).transpose()?;
            let (h, w, _) = workspace.found().dims3()?;
            let on = |gpu| OnCard::new((gpu, context), shape, (h, w), Lattice::Quarter);
            let card = context.gpu().map(on).transpose()?;
            let whole = (card.is_some() && halved.is_some()).then(|| zeros_there(view, context));
            Ok((workspace, halved, card, whole.transpose()?))
        };
        let (workspace, halved, card, whole) = new().map_err(|e| explained(context.gpu(), e))?;
        Ok(Self {
            context: context.on(None),
            workspace,
            network,
            keeps_luma: halved.is_some(),
            halved,
            whole,
            card,
            shape,
            view,
        })
    }

    /// Whether the network reads the view of the picture itself, where it lies.
    pub(super) fn sees_pictures(&self) -> bool {
        self.halved.is_none() && self.card.is_none()
    }

    /// The motion between the pictures searched last, unless it lies on a card.
    pub(super) fn found(&self) -> Option<&Tensor> {
        self.card.is_none().then(|| self.workspace.found())
    }

    /// The same for the same pictures, seen at half their size, if it sees them itself; it leaves their luma to this one.
    pub(super) fn halved(&self) -> Result<Option<Self>> {
        if !self.sees_pictures() {
            return Ok(None);
        }
        let halved = (self.shape, self.view, true);
        let halved = Self::new(self.network.clone(), &self.context, halved)?;
        Ok(Some(Self {
            keeps_luma: false,
            ..halved
        }))
    }

    pub(super) fn features(&self) -> Result<EmbeddedFeatures> {
        let (h, w) = self.view;
        let place = self.workspace.context();
        let new = || -> Result<_> {
            let room = |h, w| Tensor::zeros((h, w, 1), DType::U8, &place.device());
            let bytes = || -> Result<_> { Ok([room(2 * h, 2 * w)?, room(h, w)?]) };
            let size = self.workspace.view_size();
            let view = || zeros_there(size, place);
            let view = self.card.as_ref().map(|_| view()).transpose()?;
            // the view of the picture is that of the network unless it sees it at half its size
            let of_picture = self.whole.as_ref().or(view.as_ref());
            let seen = self.card.as_ref().zip(of_picture.cloned());
            let seen = seen.map(|(card, view)| card.seen(view)).transpose()?;
            Ok(EmbeddedFeatures {
                encoded: self.workspace.encoded()?,
                bytes: self.keeps_luma.then(bytes).transpose()?,
                cells: if self.halved.is_some() { 0 } else { 1 },
                seen,
                view,
            })
        };
        new().map_err(|e| explained(place.gpu(), e))
    }

    pub(super) fn encode(
        &mut self,
        picture: &Picture,
        view: &Tensor,
        out: &mut EmbeddedFeatures,
    ) -> Result<()> {
        let (network, workspace) = (&self.network, &mut self.workspace);
        let half = self.halved.as_ref().map(|halved| &halved.seen);
        let half = half.map(|half| out.view.as_ref().unwrap_or(half));
        let mut see = |view: &Tensor, out: &mut network::Encoded| {
            encode_view(network, workspace, half, view, out)
        };
        if let (Some(card), Some(seen)) = (&self.card, &out.seen) {
            let beside = beside(out.bytes.as_ref());
            let encoded = &mut out.encoded;
            return card.run(|| card.see(picture, seen, &beside, |view| see(view, encoded)));
        }
        if let Some([whole, half]) = &out.bytes {
            let pixels = view.narrow(2, 0, view::LUMA)?;
            luma::gather(&self.context, &pixels, whole, half)?;
        }
        see(view, &mut out.encoded)
    }

    /// As [`Embedded::encode`], of a picture without its view, for what [`Embedded::halved`] made.
    ///
    /// # Errors
    /// It is none of those.
    pub(super) fn encode_halved(
        &mut self,
        picture: &Picture,
        out: &mut EmbeddedFeatures,
    ) -> Result<()> {
        let halved = self.halved.as_ref().filter(|_| !self.keeps_luma);
        let halved = halved.ok_or_else(foreign)?;
        view::half_view(&self.context, picture, &halved.seen)?;
        self.network
            .encode(&mut self.workspace, &halved.seen, &mut out.encoded)
    }

    /// As [`Embedded::encode`], of a picture that others have on a card; it has been read when the call returns.
    ///
    /// # Errors
    /// The network is not on a card; else those of the card.
    ///
    /// # Safety
    /// Its planes lie there.
    #[cfg(feature = "cuda")]
    pub(super) unsafe fn encode_there(
        &mut self,
        picture: &DevicePicture,
        out: &mut EmbeddedFeatures,
    ) -> Result<()> {
        let (network, workspace) = (&self.network, &mut self.workspace);
        let (Some(card), Some(seen)) = (&self.card, &out.seen) else {
            return Err(foreign());
        };
        let beside = beside(out.bytes.as_ref());
        let half = self.halved.as_ref().and(out.view.as_ref());
        let encoded = card.run(|| {
            // SAFETY: as the caller promises; it is waited for below.
            let view = unsafe { card.see_there(picture, seen, &beside) }?;
            encode_view(network, workspace, half, view, &mut out.encoded)
        });
        match encoded {
            Ok(()) => card.run(|| card.wait_for(seen)),
            Err(_) => {
                card.settle();
                encoded
            }
        }
    }

    /// Does something with the network where that runs.
    pub(super) fn run(
        &mut self,
        run: impl FnOnce(&Network, &mut network::Workspace) -> Result<()>,
    ) -> Result<()> {
        let (network, workspace) = (&self.network, &mut self.workspace);
        match &self.card {
            Some(card) => card.run(|| run(network, workspace)),
            None => run(network, workspace),
        }
    }

    pub(super) fn estimate(
        &mut self,
        left: &network::Encoded,
        right: &network::Encoded,
        phase: &PhaseMap,
    ) -> Result<()> {
        let (network, workspace, context) = (&self.network, &mut self.workspace, &self.context);
        let phase = match &self.halved {
            Some(halved) => &halved.phase(context, phase)?,
            None => phase,
        };
        let place = workspace.context().clone();
        let mut find = |phase: &PhaseMap| {
            let motion = network.estimate(workspace, left, right, phase)?;
            match &self.halved {
                Some(halved) => halved.enlarge(&place, motion),
                None => Ok(()),
            }
        };
        match &self.card {
            Some(card) => card.run(|| find(&card.send(phase)?)),
            None => find(phase),
        }
    }

    /// Its way to whole pictures, if it runs on a card.
    pub(super) fn painter(&self) -> Option<Painter<'_>> {
        let card = self.card.as_ref()?;
        Some(Painter::new(card, self.motion(), None))
    }

    pub(super) fn motion(&self) -> &Motion {
        match &self.halved {
            Some(halved) => &halved.motion,
            None => self.workspace.motion(),
        }
    }
}

/// What is made of a picture on a card: its luma in bytes, where the network makes none of that size.
fn beside(bytes: Option<&[Tensor; 2]>) -> Beside<'_> {
    Beside {
        bytes,
        ..Beside::default()
    }
}

/// Encodes the view of a picture, brought to `half` its size where the network sees it so.
fn encode_view(
    network: &Network,
    workspace: &mut network::Workspace,
    half: Option<&Tensor>,
    view: &Tensor,
    out: &mut network::Encoded,
) -> Result<()> {
    let Some(half) = half else {
        return network.encode(workspace, view, out);
    };
    let place = workspace.context().clone();
    view::halve(&place, view, half)?;
    network.encode(workspace, half, out)
}

/// Room for a view of this height and width where the context runs.
fn zeros_there((height, width): (usize, usize), context: &Context) -> Result<Tensor> {
    let shape = (height, width, view::CHANNELS);
    Ok(Tensor::zeros(shape, DType::F32, &context.device())?)
}

/// What lies between a picture and a network that sees it at half its size.
struct Halved {
    /// The view of the picture at half its size.
    seen: Tensor,
    /// The motion for the picture.
    motion: Motion,
    /// A plane of phases, smaller.
    phase: Tensor,
}

impl Halved {
    /// For a network's workspace at half the size of pictures with this `view`, whose sides are multiples of 4.
    fn new(workspace: &network::Workspace, (height, width): (usize, usize)) -> Result<Self> {
        let cells = (height / 2, width / 2);
        Ok(Self {
            seen: workspace.view()?,
            motion: new_motion(cells, &workspace.context().device())?,
            phase: zeros((height.div_ceil(8), width.div_ceil(8)), 1)?,
        })
    }

    fn phase(&self, context: &Context, phase: &PhaseMap) -> Result<PhaseMap> {
        Ok(match phase {
            PhaseMap::Uniform(phase) => PhaseMap::Uniform(*phase),
            PhaseMap::Plane(plane) => {
                phases::coarser(context, &plane.unsqueeze(2)?, &self.phase)?;
                PhaseMap::Plane(self.phase.squeeze(2)?)
            }
        })
    }

    /// Brings what was found at half the size to the picture's.
    fn enlarge(&self, context: &Context, found: &Motion) -> Result<()> {
        let motion = &self.motion;
        // its pixels are twice as large
        resample::double_and_add(context, &found.flow, 2.0, None, &motion.flow)?;
        resample::double(context, &found.mask, &motion.mask)?;
        resample::double(context, &found.difference, &motion.difference)?;
        Ok(())
    }
}
