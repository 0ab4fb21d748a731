//! The two kinds of network behind one face: the built-in one, which answers with motion at a quarter
//! of the picture's size, and published ones, which answer at full size.
//!
//! Everything that decides what is shown sees the same from both: luma to compare, motion, mask and
//! confidence at a quarter of the size.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};
use crate::kernels::color::residual;
use crate::kernels::synthesis::{Lattice, synthesise};
use crate::kernels::{
    Context, PhaseMap, agreement, change, color, confidence, luma, picture, resample, view,
};
use crate::network::published::{self, Options, Published};
use crate::network::{self, Model, Motion, Network};
use crate::picture::{Picture, PictureMut};

/// A network with its memory for pictures of one size.
pub enum Engine {
    Embedded(Box<Embedded>),
    Full(Box<Full>),
}

/// What a network keeps of one picture.
#[derive(Debug)]
pub enum Features {
    Embedded(network::Encoded),
    Full(FullFeatures),
}

impl Features {
    /// `[height, width, 1]` of the padded picture: luma, -0.5 to 0.5.
    pub fn luma(&self) -> &Tensor {
        match self {
            Self::Embedded(encoded) => &encoded.bytes[0],
            Self::Full(features) => &features.bytes[0],
        }
    }

    /// `[height / 4, width / 4, 1]`: mean luma of each 4x4 pixels, -0.5 to 0.5.
    pub fn cell_luma(&self) -> &Tensor {
        match self {
            Self::Embedded(encoded) => encoded.cell_luma(),
            Self::Full(features) => &features.cell_luma,
        }
    }
}

impl Engine {
    /// For pictures whose view (half their padded size) is `view`.
    ///
    /// # Errors
    /// None that a picture inside of memory has.
    pub fn new(
        model: Model,
        context: &Context,
        picture: (usize, usize),
        view: (usize, usize),
        options: Options,
    ) -> Result<Self> {
        Ok(match model {
            Model::Embedded(network) => Self::Embedded(Box::new(Embedded {
                workspace: network.workspace(context, view.0, view.1)?,
                network,
            })),
            Model::Published(network) => Self::Full(Box::new(Full::new(
                network, context, picture, view, options,
            )?)),
        })
    }

    /// Room for one picture.
    pub fn features(&self) -> Result<Features> {
        match self {
            Self::Embedded(engine) => engine.workspace.encoded().map(Features::Embedded),
            Self::Full(engine) => engine.features().map(Features::Full),
        }
    }

    /// Fills `features` from a picture and its view.
    ///
    /// # Errors
    /// They were made for another engine.
    pub fn encode(&mut self, picture: &Picture, view: &Tensor, out: &mut Features) -> Result<()> {
        match (self, out) {
            (Self::Embedded(e), Features::Embedded(out)) => {
                e.network.encode(&mut e.workspace, view, out)
            }
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
            (Self::Embedded(e), Features::Embedded(f)) => e.workspace.expect_encoded(f),
            (Self::Full(e), Features::Full(f)) => e.expect(f),
            _ => Err(foreign()),
        }
    }

    /// Does once a pair what does not depend on the phase; `pace` as for [`Network::search`].
    ///
    /// # Errors
    /// As [`Engine::expect`].
    pub fn search(&mut self, left: &Features, right: &Features, pace: Option<f32>) -> Result<()> {
        match (self, left, right) {
            (Self::Embedded(e), Features::Embedded(l), Features::Embedded(r)) => {
                e.network.search(&mut e.workspace, l, r, pace)
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
                e.network.estimate(&mut e.workspace, l, r, phase).map(drop)
            }
            (Self::Full(e), Features::Full(l), Features::Full(r)) => e.estimate(l, r, phase),
            _ => Err(foreign()),
        }
    }

    /// What was found last, at a quarter of the padded picture's size.
    pub fn motion(&self) -> &Motion {
        match self {
            Self::Embedded(engine) => engine.workspace.motion(),
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
                let motion = (&engine.workspace.motion().flow, mask, Lattice::Quarter);
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

/// The built-in network.
pub struct Embedded {
    network: Arc<Network>,
    workspace: network::Workspace,
}

/// A published network.
pub struct Full {
    network: Arc<Published>,
    context: Context,
    workspace: published::Workspace,
    /// Its motion made smaller, and what is told from it.
    motion: Motion,
    /// The mask to use, at full size.
    mask: Tensor,
    /// Room for the luma of both sides, warped.
    warped: agreement::Space,
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
        Ok(Self {
            workspace: network.workspace(context, picture, options)?,
            context: context.clone(),
            network,
            motion: Motion {
                flow: zeros(quarter, 4)?,
                mask: zeros(quarter, 1)?,
                difference: zeros(quarter, 1)?,
                confidence: zeros(quarter, 1)?,
            },
            mask: zeros(full, 1)?,
            warped: agreement::Space::new(quarter)?,
            cells: zeros(quarter, 1)?,
            view,
        })
    }

    fn features(&self) -> Result<FullFeatures> {
        let (h, w) = self.view;
        Ok(FullFeatures {
            encoded: self.network.encoded(&self.workspace)?,
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
        color::to_rgb(context, picture, &out.encoded.colors()?)?;
        self.network.encode(&mut self.workspace, &mut out.encoded)
    }

    fn estimate(
        &mut self,
        left: &FullFeatures,
        right: &FullFeatures,
        phase: &PhaseMap,
    ) -> Result<()> {
        let (network, workspace) = (&self.network, &mut self.workspace);
        network.estimate(workspace, &left.encoded, &right.encoded, phase)?;
        let (context, own) = (&self.context, self.own_motion()?);
        picture::quarter(context, &own.narrow(2, 0, 4)?, &self.motion.flow)?;
        picture::quarter(context, &own.narrow(2, 4, 1)?, &self.motion.mask)?;
        let luma = [&left.bytes[0], &right.bytes[0]];
        let sides = self.warped.warp(context, luma, &self.motion.flow, 1.0)?;
        luma::differences(context, sides, &self.cells)?;
        change::around(context, &self.cells, &self.motion.difference)
    }

    /// The motion without what it has beyond the padding of the views.
    fn own_motion(&self) -> Result<Tensor> {
        let motion = self.workspace.motion();
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

fn zeros((height, width): (usize, usize), channels: usize) -> Result<Tensor> {
    let shape = (height, width, channels);
    Ok(Tensor::zeros(shape, DType::F32, &Device::Cpu)?)
}
