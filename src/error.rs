//! The engine's error.

/// What can go wrong below the element. Each variant names the thing and carries what was found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Candle(#[from] candle_core::Error),
    /// A file of weights that cannot be used.
    #[error("weights {path}: {problem}")]
    Weights { path: String, problem: String },
    /// The threads asked for could not be made.
    #[error("cannot start {count} threads: {problem}; try fewer")]
    Threads { count: usize, problem: String },
}

pub type Result<T> = std::result::Result<T, Error>;
