//! The sizes in which the network is part of the plugin.

use std::sync::Arc;

use once_cell::sync::OnceCell;

use super::Network;
use crate::error::Result;

/// The same stages with more or fewer channels, motion searched on finer or coarser pictures; each has a card in
/// `models/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// About half the arithmetic of `Balanced`.
    Fast,
    /// The usual one.
    Balanced,
    /// Motion is searched down to half the picture's size, not to a quarter.
    High,
}

/// The weights that have been asked for, in the order of [`Variant::ALL`].
static READ: [OnceCell<Arc<Network>>; 3] = [const { OnceCell::new() }; 3];

impl Variant {
    /// All of them, the fastest first.
    pub const ALL: [Self; 3] = [Self::Fast, Self::Balanced, Self::High];

    /// What the property `quality` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Balanced => "balanced",
            Self::High => "high",
        }
    }

    /// The variant of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.name() == name)
    }

    fn file(self) -> &'static [u8] {
        match self {
            Self::Fast => include_bytes!("../../../models/fast.safetensors"),
            Self::Balanced => include_bytes!("../../../models/balanced.safetensors"),
            Self::High => include_bytes!("../../../models/high.safetensors"),
        }
    }

    /// The network; its weights are read once and shared.
    ///
    /// # Errors
    /// The weights inside the plugin are damaged.
    pub fn network(self) -> Result<Arc<Network>> {
        let read = || Network::from_bytes(self.name(), self.file());
        READ[self as usize].get_or_try_init(read).cloned()
    }

    /// Whether its weights have been read in this process.
    pub fn is_read(self) -> bool {
        READ[self as usize].get().is_some()
    }
}
