//! The engine's error.

/// What can go wrong below the element. Each variant names the thing and carries what was found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Candle(#[from] candle_core::Error),
}

pub type Result<T> = std::result::Result<T, Error>;
