//! The engine's error.

use crate::picture::Format;

/// What can go wrong below the element. Each variant names the thing and carries what was found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A tensor operation failed; inside the engine that is a shape which does not fit.
    #[error("{0}")]
    Candle(#[from] candle_core::Error),
    /// A file of weights that cannot be used.
    #[error("weights {path}: {problem}")]
    Weights { path: String, problem: String },
    /// The threads asked for could not be made.
    #[error("cannot start {count} threads: {problem}; try fewer")]
    Threads { count: usize, problem: String },
    /// An environment variable that names nothing there is.
    #[error(
        "the environment variable {name} is {value:?}; set it to one of {expected}, or unset it"
    )]
    Variable {
        name: &'static str,
        value: String,
        expected: String,
    },
    /// A device that is unknown or cannot be used, or has failed; the problem says what to do.
    #[error("device {device} {problem}")]
    Device { device: String, problem: String },
    /// A card has too little memory.
    #[error(
        "device {device} has too little memory: {problem}; use the device \"cpu\" or smaller pictures"
    )]
    DeviceMemory { device: String, problem: String },
    /// A side of zero pixels.
    #[error("a picture of {width}x{height} has no pixels")]
    EmptyPicture { width: u32, height: u32 },
    /// More pixels than the engine makes room for.
    #[error("a picture of {width}x{height} has more than {most} pixels; scale it down first")]
    PictureTooLarge { width: u32, height: u32, most: u64 },
    /// Fewer or more planes than the format has.
    #[error("a {format:?} picture has {expected} planes, {found} were given")]
    PlaneCount {
        format: Format,
        expected: usize,
        found: usize,
    },
    /// A stride, in bytes, that is shorter than a row's samples, or negative.
    #[error(
        "plane {plane} of a {format:?} picture needs a stride of at least {expected} bytes, it has {found}"
    )]
    Stride {
        format: Format,
        plane: usize,
        expected: usize,
        found: isize,
    },
    /// A plane that ends before its last sample; lengths in bytes.
    #[error(
        "plane {plane} of a {format:?} picture needs at least {expected} bytes, it has {found}"
    )]
    PlaneSize {
        format: Format,
        plane: usize,
        expected: usize,
        found: usize,
    },
    /// A picture of another format or size than asked for.
    #[error(
        "expected a {expected_format:?} picture of {expected_width}x{expected_height}, found {format:?} of {width}x{height}"
    )]
    PictureMismatch {
        expected_format: Format,
        expected_width: u32,
        expected_height: u32,
        format: Format,
        width: u32,
        height: u32,
    },
    /// A mask with fewer or more labels than its size says.
    #[error("a mask of {width}x{height} has a label for each place, {found} were given")]
    Labels {
        width: usize,
        height: usize,
        found: usize,
    },
    /// A phase outside, or no number.
    #[error("a phase lies strictly between 0 and 1, found {0}")]
    Phase(f32),
}

/// What the engine's functions answer.
pub type Result<T> = std::result::Result<T, Error>;
