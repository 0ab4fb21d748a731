//! Where networks run: on the CPU, or on a card of NVIDIA's where build and machine have CUDA.

use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, Result};

#[cfg(feature = "cuda")]
pub use super::cuda::Convolution;
#[cfg(feature = "cuda")]
pub(crate) use super::gpu::{Addresses, Leaving, Output, Pinned, Plan, Queue, Shape, Staging};
#[cfg(feature = "cuda")]
pub use super::gpu::{Counts, Cudnn, Gpu, Locked, Memory, Run, Time};

/// NVIDIA's convolutions. This build has none of them: it is without CUDA.
#[cfg(not(feature = "cuda"))]
#[derive(Debug)]
pub enum Cudnn {}

#[cfg(not(feature = "cuda"))]
impl Cudnn {
    pub fn version(&self) -> String {
        match *self {}
    }
}

/// A card. This build has none: it is without CUDA.
#[cfg(not(feature = "cuda"))]
#[derive(Debug)]
pub enum Gpu {}

#[cfg(not(feature = "cuda"))]
impl Gpu {
    pub fn description(&self) -> String {
        match *self {}
    }

    pub fn name(&self) -> String {
        match *self {}
    }

    pub fn device(&self) -> candle_core::Device {
        match *self {}
    }

    pub fn check(&self) -> Result<()> {
        match *self {}
    }

    pub fn multiprocessors(&self) -> Result<usize> {
        match *self {}
    }

    pub fn cudnn(&self) -> std::result::Result<Arc<Cudnn>, String> {
        match *self {}
    }

    pub fn explain(&self, _: Error) -> Error {
        match *self {}
    }

    pub fn upload(
        &self,
        _: &candle_core::Tensor,
        _: &candle_core::Tensor,
    ) -> candle_core::Result<()> {
        match *self {}
    }

    pub fn download(
        &self,
        _: &candle_core::Tensor,
        _: &candle_core::Tensor,
    ) -> candle_core::Result<()> {
        match *self {}
    }
}

/// What a user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// The first card, where there is one that can run the network; else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The card of this number, and no other.
    Cuda(usize),
}

impl FromStr for Device {
    type Err = Error;

    /// `auto`, `cpu`, `cuda` for the first card or `cuda:N`.
    fn from_str(text: &str) -> Result<Self> {
        let number = || text.strip_prefix("cuda:")?.parse::<u16>().ok();
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => number().map(|n| Self::Cuda(n.into())).ok_or_else(|| {
                problem(
                    text,
                    "is unknown; there are \"auto\", \"cpu\", \"cuda\" and \"cuda:N\"",
                )
            }),
        }
    }
}

impl Device {
    /// The card to use: none for the CPU. With [`Device::Auto`] an error says why there is none.
    ///
    /// # Errors
    /// There is no CUDA in this build, or no such card that can be used; each says what to do.
    pub fn open(self) -> Result<Option<Arc<Gpu>>> {
        match self {
            Self::Cpu => Ok(None),
            Self::Auto => open(0).map(Some),
            Self::Cuda(number) => open(number).map(Some),
        }
    }
}

#[cfg(feature = "cuda")]
fn open(number: usize) -> Result<Arc<Gpu>> {
    Gpu::open(number)
}

#[cfg(not(feature = "cuda"))]
fn open(number: usize) -> Result<Arc<Gpu>> {
    Err(problem(
        &name(number),
        "cannot be used: this build of the plugin has no CUDA; make one that has with \"make plugin CUDA=1\", or use the device \"auto\" or \"cpu\"",
    ))
}

/// What the card of this number is called.
pub(super) fn name(number: usize) -> String {
    format!("cuda:{number}")
}

pub(super) fn problem(device: &str, problem: &str) -> Error {
    Error::Device {
        device: device.into(),
        problem: problem.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_told_from_their_names() {
        for (text, device) in [
            ("auto", Device::Auto),
            ("cpu", Device::Cpu),
            ("cuda", Device::Cuda(0)),
            ("cuda:0", Device::Cuda(0)),
            ("cuda:12", Device::Cuda(12)),
        ] {
            assert_eq!(text.parse::<Device>().unwrap(), device, "{text}");
        }
        for text in [
            "",
            "gpu",
            "cuda:",
            "cuda:-1",
            "cuda:x",
            "CUDA",
            "cuda:99999",
        ] {
            let error = text.parse::<Device>().unwrap_err().to_string();
            assert!(error.contains("\"cuda:N\""), "{text}: {error}");
        }
    }
}
