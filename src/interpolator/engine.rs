//! The two kinds of network behind one face: the built-in one, which answers with motion at a quarter
//! of the picture's size, and published ones, which answer at full size.
//!
//! Everything that decides what is shown sees the same from both: luma to compare, motion, mask and
//! confidence at a quarter of the size.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use super::card::{OnCard, Sheet};
use crate::error::{Error, Result};
use crate::kernels::color::residual;
use crate::kernels::device::Gpu;
use crate::kernels::luma::Warped;
use crate::kernels::synthesis::{Lattice, synthesise};
use crate::kernels::{
    Context, PhaseMap, change, color, confidence, luma, phases, picture, resample, view,
};
use crate::network::published::{self, Options, Published};
use crate::network::{self, Model, Motion, Network};
use crate::picture::{Format, Picture, PictureMut};

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
    /// `[height, width, 1]` of the padded picture: luma in bytes, see [`luma::gather`].
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
            Model::Published(network) => Self::Full(Box::new(Full::new(
                network, context, picture, view, options,
            )?)),
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

    /// The network that makes whole pictures on a card.
    pub fn on_card(&self) -> Option<Painter<'_>> {
        match self {
            Self::Embedded(network) => Some(Painter {
                card: network.card.as_ref()?,
                network,
            }),
            Self::Full(_) => None,
        }
    }

    /// Fills `features` from a picture and its view.
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

    /// Lets the motion of the pair searched last follow trajectories; see [`Network::look_ahead`].
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

    /// Does once a pair what does not depend on the phase; `pace` as for [`Network::search`].
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

    /// What was found last, at a quarter of the padded picture's size; where the network makes whole pictures on a card, it lies there.
    pub fn motion(&self) -> &Motion {
        match self {
            Self::Embedded(engine) => engine.motion(),
            Self::Full(engine) => &engine.motion,
        }
    }

    /// Fills the motion's confidence from it and from how far the pictures are apart, and `mask` with
    /// that to use.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn judge(
        &self,
        context: &Context,
        change: &Tensor,
        phase: &PhaseMap,
        mask: &Tensor,
    ) -> Result<()> {
        let motion = self.motion();
        confidence::estimate(context, &motion.difference, change, &motion.confidence)?;
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

/// The built-in network. Where it runs on a card, pictures are made there, too.
pub struct Embedded {
    network: Arc<Network>,
    context: Context,
    workspace: network::Workspace,
    /// Where it sees pictures at half their size.
    halved: Option<Halved>,
    card: Option<OnCard>,
    /// Height and width of the view of a picture.
    view: (usize, usize),
}

/// What is kept of one picture.
#[derive(Debug)]
pub struct EmbeddedFeatures {
    encoded: network::Encoded,
    /// Luma of the picture itself, see [`luma::gather`], where the network sees it at half its size.
    bytes: Option<[Tensor; 2]>,
    /// Which level of luma is that of cells: those of a half-size picture are its 2x2 pixels.
    cells: usize,
    /// Its planes on the card.
    sheet: Option<Sheet>,
}

impl Embedded {
    fn new(
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
            let seen = || match &halved {
                Some(_) => {
                    let shape = (view.0, view.1, view::CHANNELS);
                    Ok(Tensor::zeros(shape, DType::F32, &context.device())?)
                }
                None => workspace.view(),
            };
            let on = |gpu| OnCard::new(gpu, shape, (seen()?, (h, w)));
            let card = context.gpu().map(on);
            Ok((workspace, halved, card.transpose()?))
        };
        let (workspace, halved, card) = new().map_err(|e| explained(context.gpu(), e))?;
        Ok(Self {
            context: context.on(None),
            workspace,
            network,
            halved,
            card,
            view,
        })
    }

    /// Whether the network reads the view of the picture itself, where it lies.
    fn sees_pictures(&self) -> bool {
        self.halved.is_none() && self.card.is_none()
    }

    fn features(&self) -> Result<EmbeddedFeatures> {
        let (h, w) = self.view;
        let place = self.workspace.context();
        let new = || -> Result<_> {
            let room = |h, w| Tensor::zeros((h, w, 1), DType::U8, &place.device());
            let bytes = || -> Result<_> { Ok([room(2 * h, 2 * w)?, room(h, w)?]) };
            Ok(EmbeddedFeatures {
                encoded: self.workspace.encoded()?,
                bytes: self.halved.is_some().then(bytes).transpose()?,
                cells: if self.halved.is_some() { 0 } else { 1 },
                sheet: self.card.as_ref().map(OnCard::sheet).transpose()?,
            })
        };
        new().map_err(|e| explained(place.gpu(), e))
    }

    fn encode(
        &mut self,
        picture: &Picture,
        view: &Tensor,
        out: &mut EmbeddedFeatures,
    ) -> Result<()> {
        let (network, workspace) = (&self.network, &mut self.workspace);
        let place = workspace.context().clone();
        let mut see = |view: &Tensor, out: &mut network::Encoded| match &self.halved {
            Some(halved) => {
                halved.see(&place, view)?;
                network.encode(workspace, &halved.seen, out)
            }
            None => network.encode(workspace, view, out),
        };
        if let (Some(card), Some(sheet)) = (&self.card, &out.sheet) {
            return card.run(|| {
                let view = card.see(picture, sheet, out.bytes.as_ref())?;
                see(view, &mut out.encoded)
            });
        }
        if let Some([whole, half]) = &out.bytes {
            let pixels = view.narrow(2, 0, view::LUMA)?;
            luma::gather(&self.context, &pixels, whole, half)?;
        }
        see(view, &mut out.encoded)
    }

    /// Does something with the network where that runs.
    fn run(
        &mut self,
        run: impl FnOnce(&Network, &mut network::Workspace) -> Result<()>,
    ) -> Result<()> {
        let (network, workspace) = (&self.network, &mut self.workspace);
        match &self.card {
            Some(card) => card.run(|| run(network, workspace)),
            None => run(network, workspace),
        }
    }

    fn estimate(
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

    fn motion(&self) -> &Motion {
        match &self.halved {
            Some(halved) => &halved.motion,
            None => self.workspace.motion(),
        }
    }
}

/// The built-in network on a card, which makes whole pictures.
#[derive(Clone, Copy)]
pub struct Painter<'a> {
    network: &'a Embedded,
    card: &'a OnCard,
}

impl<'a> Painter<'a> {
    /// Sees how far two pictures are apart, and what stands still in both; once a pair.
    ///
    /// # Errors
    /// Sizes that do not fit, or the card fails.
    pub fn relate(self, left: &Features, right: &Features) -> Result<()> {
        let luma = [left.luma(), right.luma()];
        self.card.run(|| self.card.relate(luma))
    }

    /// Fills `out`, on the CPU, as [`confidence::disagree`] does.
    ///
    /// # Errors
    /// Sizes that do not fit, or the card fails.
    pub fn disagree(
        self,
        [left, right]: [&Features; 2],
        brightness: f32,
        phase: &PhaseMap,
        out: &Tensor,
    ) -> Result<()> {
        let luma = [left.cell_luma(), right.cell_luma()];
        let along = (&self.network.motion().flow, phase);
        self.card
            .run(|| self.card.disagree(luma, brightness, along, out))
    }

    /// Makes the picture from the motion found last between the pair related last.
    ///
    /// # Errors
    /// Sizes that do not fit, or the card has failed.
    pub fn make(self, sides: [&Features; 2], phase: &PhaseMap, out: &mut PictureMut) -> Result<()> {
        let sheets = [sheet(sides[0])?, sheet(sides[1])?];
        let motion = self.network.motion();
        self.card.run(|| self.card.make(sheets, motion, phase, out))
    }

    /// Flow, mask and confidence of the last picture that was made, on the CPU.
    ///
    /// # Errors
    /// The card has failed.
    pub fn found(self) -> Result<&'a [Tensor; 3]> {
        let motion = self.network.motion();
        self.card.run(|| self.card.found(motion))
    }
}

/// The planes of a picture on a card.
fn sheet(features: &Features) -> Result<&Sheet> {
    match features {
        Features::Embedded(f) => f.sheet.as_ref().ok_or_else(foreign),
        Features::Full(_) => Err(foreign()),
    }
}

/// What lies between a picture and a network that sees it at half its size.
struct Halved {
    /// Height and width of the view of the picture at half its size.
    view: (usize, usize),
    /// That view.
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
            view: cells,
            seen: workspace.view()?,
            motion: new_motion(cells, &workspace.context().device())?,
            phase: zeros((height.div_ceil(8), width.div_ceil(8)), 1)?,
        })
    }

    /// Fills the network's view from that of the picture: the mean of 2x2 pixels is a pixel.
    fn see(&self, context: &Context, view: &Tensor) -> Result<()> {
        let (h, w) = self.view;
        let blocks = view.reshape((h, 2, w, 2 * view::CHANNELS))?;
        for (y, x) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let row = blocks.narrow(1, y, 1)?.squeeze(1)?;
            let luma = row.narrow(2, x * view::CHANNELS, view::LUMA)?;
            resample::mean(context, &luma, &self.seen.narrow(2, 2 * y + x, 1)?)?;
        }
        let chroma = |t: &Tensor| t.narrow(2, view::LUMA, view::CHANNELS - view::LUMA);
        resample::half(context, &chroma(view)?, &chroma(&self.seen)?)?;
        Ok(())
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

fn new_motion((h, w): (usize, usize), device: &Device) -> Result<Motion> {
    let zeros = |channels: usize| Tensor::zeros((h, w, channels), DType::F32, device);
    Ok(Motion {
        flow: zeros(4)?,
        mask: zeros(1)?,
        difference: zeros(1)?,
        confidence: zeros(1)?,
    })
}

/// A published network. It may run on a card; all else is done on the CPU.
pub struct Full {
    network: Arc<Published>,
    context: Context,
    /// Where what the network sees and finds crosses over, if it runs on a card.
    crossing: Option<Crossing>,
    workspace: published::Workspace,
    /// Its motion made smaller, and what is told from it.
    motion: Motion,
    /// The mask to use, at full size.
    mask: Tensor,
    /// Room for the luma of both sides, warped.
    warped: Warped,
    /// Room for how far they are apart.
    cells: Tensor,
    view: (usize, usize),
}

/// What is kept of one picture.
#[derive(Debug)]
pub struct FullFeatures {
    encoded: published::Encoded,
    /// See [`luma::gather`].
    bytes: [Tensor; 2],
    half_luma: Tensor,
    cell_luma: Tensor,
}

impl Full {
    fn new(
        network: Arc<Published>,
        context: &Context,
        picture: (usize, usize),
        view: (usize, usize),
        options: Options,
    ) -> Result<Self> {
        let (full, quarter) = ((2 * view.0, 2 * view.1), (view.0 / 2, view.1 / 2));
        let explain = |e| explained(context.gpu(), e);
        let workspace = network.workspace(context, picture, options);
        let workspace = workspace.map_err(explain)?;
        let crossing = workspace.gpu().map(|gpu| Crossing::new(gpu, &workspace));
        Ok(Self {
            crossing: crossing.transpose().map_err(explain)?,
            workspace,
            context: context.on(None),
            network,
            motion: new_motion(quarter, &Device::Cpu)?,
            mask: zeros(full, 1)?,
            warped: Warped::new(quarter)?,
            cells: zeros(quarter, 1)?,
            view,
        })
    }

    fn features(&self) -> Result<FullFeatures> {
        let (h, w) = self.view;
        let encoded = self.network.encoded(&self.workspace);
        Ok(FullFeatures {
            encoded: encoded.map_err(|e| explained(self.workspace.gpu(), e))?,
            bytes: [luma::room((2 * h, 2 * w))?, luma::room((h, w))?],
            half_luma: zeros((h, w), 1)?,
            cell_luma: zeros((h / 2, w / 2), 1)?,
        })
    }

    fn expect(&self, features: &FullFeatures) -> Result<()> {
        let (h, w, _) = features.bytes[0].dims3()?;
        match (h, w) == (2 * self.view.0, 2 * self.view.1) {
            true => self.network.expect(&self.workspace, &features.encoded),
            false => Err(foreign()),
        }
    }

    fn encode(&mut self, picture: &Picture, view: &Tensor, out: &mut FullFeatures) -> Result<()> {
        self.expect(out)?;
        let context = &self.context;
        let pixels = view.narrow(2, 0, view::LUMA)?;
        luma::gather(context, &pixels, &out.bytes[0], &out.bytes[1])?;
        resample::mean(context, &pixels, &out.half_luma)?;
        resample::half(context, &out.half_luma, &out.cell_luma)?;
        let Some(crossing) = &self.crossing else {
            color::to_rgb(context, picture, &out.encoded.colors()?)?;
            return self.network.encode(&mut self.workspace, &mut out.encoded);
        };
        let gpu = crossing.gpu.clone();
        gpu.check()?;
        color::to_rgb(context, picture, &crossing.colors[0])?;
        let encoded = crossing.send(&self.workspace, &out.encoded);
        let encoded =
            encoded.and_then(|()| self.network.encode(&mut self.workspace, &mut out.encoded));
        encoded.map_err(|e| gpu.explain(e))
    }

    fn estimate(
        &mut self,
        left: &FullFeatures,
        right: &FullFeatures,
        phase: &PhaseMap,
    ) -> Result<()> {
        self.find(left, right, phase)
            .map_err(|e| explained(self.workspace.gpu(), e))?;
        let (context, own) = (&self.context, self.own_motion()?);
        picture::quarter(context, &own.narrow(2, 0, 4)?, &self.motion.flow)?;
        picture::quarter(context, &own.narrow(2, 4, 1)?, &self.motion.mask)?;
        let luma = [&left.bytes[0], &right.bytes[0]];
        let sides = self.warped.warp(context, luma, &self.motion.flow, 1.0)?;
        luma::differences(context, sides, &self.cells)?;
        change::around(context, &self.cells, &self.motion.difference)
    }

    /// Runs the network, and fetches what it finds.
    fn find(&mut self, left: &FullFeatures, right: &FullFeatures, phase: &PhaseMap) -> Result<()> {
        if let Some(crossing) = &self.crossing {
            crossing.gpu.check()?;
        }
        let (network, workspace) = (&self.network, &mut self.workspace);
        network.estimate(workspace, &left.encoded, &right.encoded, phase)?;
        match &self.crossing {
            Some(crossing) => crossing.fetch(workspace),
            None => Ok(()),
        }
    }

    /// The motion without what it has beyond the padding of the views.
    fn own_motion(&self) -> Result<Tensor> {
        let crossing = self.crossing.as_ref();
        let motion = crossing.map_or(self.workspace.motion(), |c| &c.motion);
        let motion = motion.narrow(0, 0, 2 * self.view.0)?;
        Ok(motion.narrow(1, 0, 2 * self.view.1)?)
    }

    fn judge(&self, phase: &PhaseMap, mask: &Tensor) -> Result<()> {
        let (context, full) = (&self.context, self.own_motion()?.narrow(2, 4, 1)?);
        let confidence = &self.motion.confidence;
        confidence::toward_nearer(context, &full, confidence, phase, &self.mask)?;
        Ok(picture::quarter(context, &self.mask, mask)?)
    }

    fn synthesise(&self, [left, right]: [&Picture; 2], out: &mut PictureMut) -> Result<()> {
        let flow = self.own_motion()?.narrow(2, 0, 4)?;
        let motion = (&flow, &self.mask, Lattice::Full);
        synthesise(&self.context, left, right, motion, out)?;
        match self.workspace.residual() {
            Some(residual) => residual::add(&self.context, residual, [left, right], out),
            None => Ok(()),
        }
    }
}

/// What lies on the CPU of a network that runs on a card.
struct Crossing {
    gpu: Arc<Gpu>,
    /// Colours on their way to the card: on the CPU, and there.
    colors: [Tensor; 2],
    /// The motion that it has found.
    motion: Tensor,
}

impl Crossing {
    fn new(gpu: &Arc<Gpu>, workspace: &published::Workspace) -> Result<Self> {
        let size = workspace.padded();
        let colors = zeros(size, published::RGB)?;
        Ok(Self {
            gpu: gpu.clone(),
            colors: [colors.clone(), colors.to_device(&gpu.device())?],
            motion: zeros(size, workspace.motion().dims3()?.2)?,
        })
    }

    fn send(&self, workspace: &published::Workspace, encoded: &published::Encoded) -> Result<()> {
        let [here, there] = &self.colors;
        self.gpu.upload(here, there)?;
        workspace.set_colors(encoded, there)
    }

    /// Waits until the card is done.
    fn fetch(&self, workspace: &published::Workspace) -> Result<()> {
        Ok(self.gpu.download(workspace.motion(), &self.motion)?)
    }
}

fn explained(gpu: Option<&Arc<Gpu>>, error: Error) -> Error {
    match gpu {
        Some(gpu) => gpu.explain(error),
        None => error,
    }
}

fn zeros((height, width): (usize, usize), channels: usize) -> Result<Tensor> {
    let shape = (height, width, channels);
    Ok(Tensor::zeros(shape, DType::F32, &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    // what the network sees of a halved picture, beside plain loops
    #[test]
    fn the_view_of_a_halved_picture_is_that_of_means_of_2x2_pixels() {
        for threads in [1, 3] {
            let context = Context::new(threads).unwrap();
            let network = Network::embedded().unwrap();
            for (h, w) in [(4, 4), (12, 20), (36, 104)] {
                let workspace = network.workspace(&context, h / 2, w / 2).unwrap();
                let halved = Halved::new(&workspace, (h, w)).unwrap();
                let view = Tensor::rand(-0.5f32, 0.5, (h, w, view::CHANNELS), &Device::Cpu);
                let view = view.unwrap();
                halved.see(&context, &view).unwrap();
                let (view, seen) = (values(&view), values(&halved.seen));
                let at = |y: usize, x: usize, c: usize| view[(y * w + x) * view::CHANNELS + c];
                for (i, found) in seen.iter().enumerate() {
                    let (y, x) = (i / view::CHANNELS / (w / 2), i / view::CHANNELS % (w / 2));
                    let wanted: f32 = match i % view::CHANNELS {
                        c @ 0..4 => (0..4).map(|k| at(2 * y + c / 2, 2 * x + c % 2, k)).sum(),
                        c => (0..4).map(|k| at(2 * y + k / 2, 2 * x + k % 2, c)).sum(),
                    };
                    assert!((found - wanted / 4.0).abs() < 1e-6, "{h}x{w}, value {i}");
                }
            }
        }
    }
}
