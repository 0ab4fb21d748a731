//! Which output frames exist, when, and from which neighbours.
//!
//! Pure: no clock, no pixel, no GStreamer. Integers only.

/// Nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

/// Frames a second as a fraction; both parts positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameRate {
    pub num: u32,
    pub den: u32,
}

/// Position of an output between its neighbours: `elapsed / span`, strictly inside 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Phase {
    pub elapsed: u64,
    pub span: u64,
}

impl Phase {
    pub fn as_f32(self) -> f32 {
        (self.elapsed as f64 / self.span as f64) as f32
    }
}

/// When an output is shown: its place on the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    pub pts: Timestamp,
    pub duration: u64,
    /// Index on the grid (OFFSET of the buffer).
    pub index: u64,
    /// First output after a hole.
    pub discont: bool,
}

/// What the caller has to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job<F> {
    /// Show a source frame; `held` when it has been shown before.
    Show { frame: F, at: Slot, held: bool },
    /// Make a frame between `left` and `right` (in time order).
    Interpolate {
        left: F,
        right: F,
        phase: Phase,
        at: Slot,
    },
}
