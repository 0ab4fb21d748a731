//! A published network: it answers with motion, and some with more, at full size.

use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::{explained, foreign, new_motion, zeros};
use crate::error::Result;
use crate::kernels::color::residual;
use crate::kernels::device::Gpu;
use crate::kernels::luma::Warped;
use crate::kernels::synthesis::{Lattice, synthesise};
use crate::kernels::{Context, PhaseMap, change, color, confidence, luma, picture, resample, view};
use crate::network::Motion;
use crate::network::published::{self, Options, Published};
use crate::picture::{Picture, PictureMut};

/// A published network. It may run on a card; all else is done on the CPU.
pub struct Full {
    network: Arc<Published>,
    context: Context,
    /// Where what the network sees and finds crosses over, if it runs on a card.
    crossing: Option<Crossing>,
    workspace: published::Workspace,
    /// Its motion made smaller, and what is told from it.
    pub(super) motion: Motion,
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
    pub(super) bytes: [Tensor; 2],
    half_luma: Tensor,
    pub(super) cell_luma: Tensor,
}

impl Full {
    pub(super) fn new(
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

    pub(super) fn features(&self) -> Result<FullFeatures> {
        let (h, w) = self.view;
        let encoded = self.network.encoded(&self.workspace);
        Ok(FullFeatures {
            encoded: encoded.map_err(|e| explained(self.workspace.gpu(), e))?,
            bytes: [luma::room((2 * h, 2 * w))?, luma::room((h, w))?],
            half_luma: zeros((h, w), 1)?,
            cell_luma: zeros((h / 2, w / 2), 1)?,
        })
    }

    pub(super) fn expect(&self, features: &FullFeatures) -> Result<()> {
        let (h, w, _) = features.bytes[0].dims3()?;
        match (h, w) == (2 * self.view.0, 2 * self.view.1) {
            true => self.network.expect(&self.workspace, &features.encoded),
            false => Err(foreign()),
        }
    }

    pub(super) fn encode(
        &mut self,
        picture: &Picture,
        view: &Tensor,
        out: &mut FullFeatures,
    ) -> Result<()> {
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

    pub(super) fn estimate(
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

    pub(super) fn judge(&self, phase: &PhaseMap, mask: &Tensor) -> Result<()> {
        let (context, full) = (&self.context, self.own_motion()?.narrow(2, 4, 1)?);
        let confidence = &self.motion.confidence;
        confidence::toward_nearer(context, &full, confidence, phase, &self.mask)?;
        Ok(picture::quarter(context, &self.mask, mask)?)
    }

    pub(super) fn synthesise(
        &self,
        [left, right]: [&Picture; 2],
        out: &mut PictureMut,
    ) -> Result<()> {
        let flow = self.own_motion()?.narrow(2, 0, 4)?;
        let motion = (&flow, &self.mask, Lattice::Full);
        synthesise(&self.context, left, right, motion, out)?;
        let crossing = self.crossing.as_ref();
        let residual = crossing.map_or(self.workspace.residual(), |c| c.residual.as_ref());
        match residual {
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
    /// The motion that it has found, and what it adds, if it adds something.
    motion: Tensor,
    residual: Option<Tensor>,
}

impl Crossing {
    fn new(gpu: &Arc<Gpu>, workspace: &published::Workspace) -> Result<Self> {
        let size = workspace.padded();
        let colors = zeros(size, published::RGB)?;
        let residual = workspace.residual();
        let residual = residual.map(|_| zeros(size, published::RGB));
        Ok(Self {
            gpu: gpu.clone(),
            colors: [colors.clone(), colors.to_device(&gpu.device())?],
            motion: zeros(size, workspace.motion().dims3()?.2)?,
            residual: residual.transpose()?,
        })
    }

    fn send(&self, workspace: &published::Workspace, encoded: &published::Encoded) -> Result<()> {
        let [here, there] = &self.colors;
        self.gpu.upload(here, there)?;
        workspace.set_colors(encoded, there)
    }

    /// Waits until the card is done.
    fn fetch(&self, workspace: &published::Workspace) -> Result<()> {
        self.gpu.download(workspace.motion(), &self.motion)?;
        if let Some((there, here)) = workspace.residual().zip(self.residual.as_ref()) {
            self.gpu.download(there, here)?;
        }
        Ok(())
    }
}
