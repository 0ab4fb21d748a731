//! A published network: it answers with motion, and some with more, at full size. On a card it makes whole pictures.

use std::sync::Arc;

use candle_core::{DType, Tensor};

use super::painter::{Painter, Whole};
use super::{explained, foreign, new_motion, zeros};
use crate::error::{Error, Result};
use crate::interpolator::card::{Beside, OnCard, Seen};
use crate::kernels::color::residual;
use crate::kernels::luma::Warped;
use crate::kernels::synthesis::{Lattice, synthesise};
use crate::kernels::{Context, PhaseMap, change, color, confidence, luma, picture, resample, view};
use crate::network::Motion;
use crate::network::published::{self, Options, Published};
use crate::picture::{Color, Format, Picture, PictureMut};

/// A published network. Where it runs on a card, pictures are made there, too.
pub struct Full {
    network: Arc<Published>,
    workspace: published::Workspace,
    /// What it has found, where it lies in the workspace.
    whole: Whole,
    /// Its motion made smaller, and what is told from it.
    pub(super) motion: Motion,
    /// Room for the mean luma of 2x2 pixels.
    half_luma: Tensor,
    place: Place,
    view: (usize, usize),
}

/// Where pictures are made: where the network runs.
enum Place {
    /// With room for the view of the last picture.
    Card(Box<OnCard>, Tensor),
    Cpu(Room),
}

/// What making them on the CPU needs.
struct Room {
    context: Context,
    /// The mask to use, at full size.
    mask: Tensor,
    /// Room for the luma of both sides, warped.
    warped: Warped,
    /// Room for how far they are apart.
    cells: Tensor,
}

/// What is kept of one picture.
#[derive(Debug)]
pub struct FullFeatures {
    encoded: published::Encoded,
    /// See [`luma::gather`].
    pub(super) bytes: [Tensor; 2],
    pub(super) cell_luma: Tensor,
    /// What its codes stand for.
    pub(super) color: Color,
    /// What there is of it on the card.
    pub(super) seen: Option<Seen>,
}

impl Full {
    /// For pictures of this format, width and height, and their view.
    pub(super) fn new(
        network: Arc<Published>,
        context: &Context,
        (shape, view): ((Format, usize, usize), (usize, usize)),
        options: Options,
    ) -> Result<Self> {
        let new = || -> Result<_> {
            let workspace = network.workspace(context, (shape.2, shape.1), options)?;
            let (whole, device) = (whole(&workspace, view)?, context.device());
            let room = |channels| Tensor::zeros((view.0, view.1, channels), DType::F32, &device);
            let place = match context.gpu() {
                Some(gpu) => {
                    let coarse = (view.0 / 4, view.1 / 4);
                    let card = OnCard::new((gpu, context), shape, coarse, Lattice::Full)?;
                    Place::Card(Box::new(card), room(view::CHANNELS)?)
                }
                None => Place::Cpu(Room::new(context, view)?),
            };
            Ok(Self {
                motion: new_motion((view.0 / 2, view.1 / 2), &device)?,
                half_luma: room(1)?,
                network: network.clone(),
                workspace,
                whole,
                place,
                view,
            })
        };
        new().map_err(|e| explained(context.gpu(), e))
    }

    pub(super) fn features(&self) -> Result<FullFeatures> {
        let ((h, w), device) = (self.view, self.half_luma.device());
        let new = || -> Result<_> {
            let bytes = |h, w| Tensor::zeros((h, w, 1), DType::U8, device);
            Ok(FullFeatures {
                encoded: self.network.encoded(&self.workspace)?,
                bytes: [bytes(2 * h, 2 * w)?, bytes(h, w)?],
                cell_luma: Tensor::zeros((h / 2, w / 2, 1), DType::F32, device)?,
                color: Color::BT709,
                seen: match &self.place {
                    Place::Card(card, view) => Some(card.seen(view.clone())?),
                    Place::Cpu(_) => None,
                },
            })
        };
        new().map_err(|e| explained(self.workspace.gpu(), e))
    }

    pub(super) fn expect(&self, features: &FullFeatures) -> Result<()> {
        let (h, w, _) = features.bytes[0].dims3()?;
        match (h, w) == (2 * self.view.0, 2 * self.view.1) {
            true => self.network.expect(&self.workspace, &features.encoded),
            false => Err(foreign()),
        }
    }

    /// Its way to whole pictures, if it runs on a card.
    pub(super) fn painter(&self) -> Option<Painter<'_>> {
        match &self.place {
            Place::Card(card, _) => Some(Painter::new(card, &self.motion, Some(&self.whole))),
            Place::Cpu(_) => None,
        }
    }

    pub(super) fn encode(
        &mut self,
        picture: &Picture,
        view: &Tensor,
        out: &mut FullFeatures,
    ) -> Result<()> {
        self.expect(out)?;
        out.color = picture.color();
        let (network, workspace) = (&self.network, &mut self.workspace);
        let colors = out.encoded.colors()?;
        match &self.place {
            Place::Card(card, _) => {
                let colors = colors.narrow(0, 0, picture.height())?;
                let colors = colors.narrow(1, 0, picture.width())?;
                let beside = Beside {
                    bytes: Some(&out.bytes),
                    luma: Some([&self.half_luma, &out.cell_luma]),
                    colors: Some((&colors, out.color)),
                };
                let seen = out.seen.as_ref().ok_or_else(foreign)?;
                let encoded = &mut out.encoded;
                let encode = |_: &Tensor| network.encode(workspace, encoded);
                card.run(|| card.see(picture, seen, &beside, encode))
            }
            Place::Cpu(Room { context, .. }) => {
                let pixels = view.narrow(2, 0, view::LUMA)?;
                luma::gather(context, &pixels, &out.bytes[0], &out.bytes[1])?;
                resample::mean(context, &pixels, &self.half_luma)?;
                resample::half(context, &self.half_luma, &out.cell_luma)?;
                color::to_rgb(context, picture, &colors)?;
                network.encode(workspace, &mut out.encoded)
            }
        }
    }

    pub(super) fn estimate(
        &mut self,
        left: &FullFeatures,
        right: &FullFeatures,
        phase: &PhaseMap,
    ) -> Result<()> {
        let (network, workspace) = (&self.network, &mut self.workspace);
        let mut find = || network.estimate(workspace, &left.encoded, &right.encoded, phase);
        let (flow, motion) = (&self.whole.flow, &self.motion);
        let luma = [&left.bytes[0], &right.bytes[0]];
        match &self.place {
            Place::Card(card, _) => card.run(|| {
                find()?;
                card.coarsen(luma, flow, motion)
            }),
            Place::Cpu(room) => {
                find()?;
                picture::quarter(&room.context, flow, &motion.flow)?;
                let sides = room.warped.warp(&room.context, luma, &motion.flow, 1.0)?;
                luma::differences(&room.context, sides, &room.cells)?;
                change::around(&room.context, &room.cells, &motion.difference)
            }
        }
    }

    /// Decides the mask of a picture that is made on the CPU; `mask` has it at a quarter of the size.
    pub(super) fn judge(&self, phase: &PhaseMap, mask: &Tensor) -> Result<()> {
        let room = self.room()?;
        let (context, trust) = (&room.context, &self.motion.confidence);
        confidence::toward_nearer(context, &self.whole.mask, trust, phase, &room.mask)?;
        Ok(picture::quarter(context, &room.mask, mask)?)
    }

    /// Makes the picture on the CPU.
    pub(super) fn synthesise(
        &self,
        [left, right]: [&Picture; 2],
        out: &mut PictureMut,
    ) -> Result<()> {
        let room = self.room()?;
        let motion = (&self.whole.flow, &room.mask, Lattice::Full);
        synthesise(&room.context, left, right, motion, out)?;
        match &self.whole.residual {
            Some(residual) => residual::add(&room.context, residual, [left, right], out),
            None => Ok(()),
        }
    }

    fn room(&self) -> Result<&Room> {
        match &self.place {
            Place::Cpu(room) => Ok(room),
            Place::Card(..) => Err(Error::Candle(candle_core::Error::Msg(
                "pictures are made on the card".into(),
            ))),
        }
    }
}

impl Room {
    fn new(context: &Context, view: (usize, usize)) -> Result<Self> {
        let quarter = (view.0 / 2, view.1 / 2);
        Ok(Self {
            context: context.clone(),
            mask: zeros((2 * view.0, 2 * view.1), 1)?,
            warped: Warped::new(quarter)?,
            cells: zeros(quarter, 1)?,
        })
    }
}

/// What a network finds, without what it has beyond the padding of the views.
fn whole(workspace: &published::Workspace, (h, w): (usize, usize)) -> Result<Whole> {
    let motion = workspace.motion().narrow(0, 0, 2 * h)?;
    let motion = motion.narrow(1, 0, 2 * w)?;
    Ok(Whole {
        flow: motion.narrow(2, 0, 4)?,
        mask: motion.narrow(2, 4, 1)?,
        residual: workspace.residual().cloned(),
    })
}
