//! The networks: each encodes a picture once and estimates the motion between two at a phase.

use std::path::Path;
use std::sync::Arc;
#[cfg(feature = "cuda")]
use std::sync::{Mutex, PoisonError};

use candle_core::Tensor;

use crate::error::Result;
use crate::kernels::device::Gpu;

pub mod checkpoint;
pub mod embedded;
pub mod published;
mod trial;

use checkpoint::Checkpoint;
pub use embedded::{Network, Variant, Workspace};
use published::{Family, Options, Published};
pub use trial::Trial;

/// Any network that makes pictures.
#[derive(Debug, Clone)]
pub enum Model {
    /// The built-in one, or others of its kind.
    Embedded(Arc<Network>),
    /// One that others have published.
    Published(Arc<Published>),
}

impl From<Arc<Network>> for Model {
    fn from(network: Arc<Network>) -> Self {
        Self::Embedded(network)
    }
}

impl Model {
    /// A network from a file or folder, before which its family may stand: `rife:/path/to/flownet.pkl`.
    ///
    /// # Errors
    /// The file cannot be read, is of no network that can be run, or a tensor is missing, has another
    /// shape, or is one too many; all name the path.
    pub fn open(model: &Path) -> Result<Self> {
        let (family, path) = match model.to_str().and_then(Family::prefixed) {
            Some((family, path)) => (Some(family), Path::new(path)),
            None => (None, model),
        };
        let checkpoint = Checkpoint::open(path)?;
        if family.is_none() && Network::is_of(&checkpoint) {
            return Ok(Self::Embedded(Network::from_checkpoint(&checkpoint)?));
        }
        let network = Published::load(&checkpoint, family)?;
        Ok(Self::Published(Arc::new(network)))
    }

    /// How the network runs on the card: fails unless it runs as on the CPU, of what does takes the fastest. Runs it on small pictures on
    /// both.
    ///
    /// # Errors
    /// As `trial::run`.
    pub fn try_on(&self, gpu: &Arc<Gpu>) -> Result<Trial> {
        trial::run(self, gpu)
    }

    /// The resolution at which the built-in one seeks motion in pictures of this height and width, see [`Options::scale`]; none of
    /// others.
    pub fn scale(&self, options: &Options, size: (usize, usize)) -> Option<f32> {
        match self {
            Self::Embedded(network) => Some(options.scale(size, network.lines())),
            Self::Published(_) => None,
        }
    }

    /// The next smaller [`Options::longest`] for pictures of this height and width; none where it does not see parts, or they would be
    /// too small.
    pub fn shorter(&self, options: &Options, size: (usize, usize)) -> Option<usize> {
        match self {
            Self::Embedded(_) => None,
            Self::Published(network) => network.shorter(size, options),
        }
    }

    /// Family and version.
    pub fn name(&self) -> String {
        match self {
            Self::Embedded(_) => "built-in".into(),
            Self::Published(network) => network.name(),
        }
    }
}

/// Sees every stage of a network: its name as in the twin, the level (0 is the finest), the
/// values.
pub type Observer<'a> = dyn FnMut(&'static str, usize, &Tensor) + Send + 'a;

/// What the network answers for a pair of pictures and a phase, at a quarter of the padded
/// picture's size: `[height / 4, width / 4, channels]`.
#[derive(Debug)]
pub struct Motion {
    /// `[h, w, 4]`: where a pixel of the new picture lies in the left one (x, y) and in the right
    /// one (x, y), relative to its own position, in full-resolution pixels.
    pub flow: Tensor,
    /// `[h, w, 1]`, 0 to 1: weight of the left picture; time and occlusion are in it.
    pub mask: Tensor,
    /// `[h, w, 1]`, 0 to 1: how far the luma of both sides is apart, absolutely and by pixels,
    /// around each cell, before the last step of the flow.
    pub difference: Tensor,
    /// `[h, w, 1]`, 0 to 1: how far the motion can be trusted. The network leaves it at 1.
    pub confidence: Tensor,
}

/// One source picture as the network sees it; made once, used by both its pairs.
#[derive(Debug)]
pub struct Encoded {
    /// `[height / 4, width / 4, stem]`: features for the refiner.
    pub(crate) fine: Tensor,
    /// `[height / 8, width / 8, features]`: features for the decoder.
    pub(crate) coarse: Tensor,
    /// `[height / 2, width / 2, 1]`: luma, -0.5 to 0.5; then smoothed at a quarter, and so on, as far as motion is searched.
    pub(crate) luma: Vec<Tensor>,
    /// Luma in bytes, whole and at half the size, see [`crate::kernels::luma::gather`].
    pub(crate) bytes: [Tensor; 2],
    /// On a card the same in quads, see [`crate::kernels::luma::cuda::quads`].
    #[cfg(any(feature = "cuda", test))]
    pub(crate) quads: Option<[Tensor; 2]>,
    /// On a card the view that features and quads are still to be made of: that can be done beside a search, which needs luma alone.
    #[cfg(feature = "cuda")]
    pub(crate) unseen: Mutex<Option<Tensor>>,
}

#[cfg(feature = "cuda")]
impl Encoded {
    /// Changes what its features are still to be made of, and answers what they were to be.
    pub(crate) fn set_unseen(&self, view: Option<&Tensor>) -> Option<Tensor> {
        let mut unseen = self.unseen.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *unseen, view.cloned())
    }
}
