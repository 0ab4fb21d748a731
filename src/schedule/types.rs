//! The words of the schedule: times, rates, and what it answers.

/// Nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

/// Frames a second as a fraction; both parts positive (zero counts as one).
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

/// Where an output lies beyond the last frame there is, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reach {
    /// Since the last frame; may be 0.
    pub elapsed: u64,
    /// How far outputs had been predicted beyond the frame before, when the last one came.
    pub taken_back: u64,
    /// From the frame before to the last one; positive.
    pub span: u64,
}

/// When an output is shown: its place on the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    pub pts: Timestamp,
    /// Nanoseconds to the next output of the grid.
    pub duration: u64,
    /// Index on the grid (OFFSET of the buffer); begins at 0 with each anchor
    /// and each change of rate.
    pub index: u64,
    /// First output after a hole, or after a reset by a jump back in time.
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
        /// The frame after `right` in time, where [`Config::outer`] asks for it and no hole is between.
        after: Option<Outer<F>>,
        phase: Phase,
        /// Whose turn it was in the stream itself: what to show if they do not
        /// belong together.
        nearer: Side,
        /// The frame before `left`, where [`Config::ahead`] asks for it: from there the motion goes on to a cut.
        before: Option<Outer<F>>,
        at: Slot,
    },
    /// Make a frame beyond `last` from its motion since `before`; where that is not known, show `last`.
    Extrapolate {
        before: F,
        last: F,
        reach: Reach,
        /// `last` has been shown before.
        held: bool,
        at: Slot,
    },
}

impl<F> Job<F> {
    /// The output's place.
    pub fn at(&self) -> Slot {
        match self {
            Job::Show { at, .. } | Job::Interpolate { at, .. } | Job::Extrapolate { at, .. } => *at,
        }
    }
}

/// Where frames are made without one after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ahead {
    /// Nowhere.
    #[default]
    Never,
    /// Where there is none that belongs to them: up to a cut, across a short gap that upstream tells of, at the end.
    AtEnds,
    /// Everywhere: what is due before the next frame leaves with the one before it.
    Always,
}

/// A frame beside a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outer<F> {
    pub frame: F,
    /// Nanoseconds from the pair's nearer frame to it.
    pub span: u64,
}

/// One of two neighbours in time order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    Left,
    Right,
}

/// A frame given to [`Scheduler::push`](super::Scheduler::push), but for its picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrival {
    pub pts: Option<Timestamp>,
    /// Nanoseconds: the frame's own or, where it has none, the nominal one of
    /// the input's rate. Where neither is known the distance to the frame
    /// before stands in for it. It says how long the last frame is held and
    /// where a frame without timestamp belongs; between two frames it plays no
    /// part.
    pub duration: Option<u64>,
    /// Time may have jumped.
    pub discont: bool,
    /// It shows the same as the frame accepted before; heeded where
    /// [`Config::retime`] is set.
    pub repeats: bool,
}

/// How far, in nanoseconds, an output may lie from a source and still be that
/// source, untouched.
///
/// A container that rounds or truncates to a millisecond moves the anchor and
/// the source by less than a millisecond together. The scheduler uses less
/// where a quarter of the output's or the input's interval is less, so that no
/// two outputs coincide with one source.
pub const COINCIDENCE_TOLERANCE: u64 = 1_000_000;

/// How long, in nanoseconds, the last frame is held towards a segment's stop.
pub const LONGEST_HOLD: u64 = 1_000_000_000;

/// With DISCONT, a jump back by more nanoseconds than this is a new beginning
/// instead of disorder.
pub const JUMP_BACK: u64 = 1_000_000_000;

/// Outputs are predicted at most so many intervals of the last two frames beyond the last one; then it is held.
pub const MOST_AHEAD: u64 = 2;

/// What a [`Scheduler`](super::Scheduler) needs to know. Times in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Output rate.
    pub rate: FrameRate,
    /// Upper limit of the tolerance, see [`COINCIDENCE_TOLERANCE`].
    pub tolerance: u64,
    /// Two frames further apart than this are not a pair.
    pub max_gap: u64,
    /// Negative playback rate: timestamps fall.
    pub reverse: bool,
    /// Segment start.
    pub start: u64,
    /// Segment stop; no output at or after it.
    pub stop: Option<u64>,
    /// `false` (trick modes): hold the previous frame instead of interpolating.
    pub interpolate: bool,
    /// Frames that repeat the one before are left out, and the others put where
    /// they truly belong; this needs a longer look-ahead.
    pub retime: bool,
    /// Jobs name the frame after the pair, too; forwards it is waited for. Not where nothing is interpolated.
    pub outer: bool,
    /// Where frames are made without one after them; in reverse and where nothing is interpolated, nowhere. Where that is
    /// everywhere, `retime` and `outer`, which wait, count as not set.
    pub ahead: Ahead,
}

/// What became of a frame given to [`Scheduler::push`](super::Scheduler::push).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    Accepted,
    /// It does not come after the frame before it.
    Dropped,
    /// It has no timestamp, and none follows from the frame before it.
    Discarded,
}

/// What the scheduler alone can count; cleared by [`Scheduler::reset`](super::Scheduler::reset).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Frames pushed, with those refused.
    pub input: u64,
    /// Frames refused because they do not come after the one before.
    pub dropped: u64,
    /// Frames refused because they have no usable timestamp.
    pub discarded: u64,
    /// Accepted frames that were never shown as they are (output rate below
    /// the input's, or no coincidence with the grid).
    pub unshown: u64,
    /// Accepted frames that were left out because they repeat a picture of a
    /// cadence.
    pub repeats: u64,
    /// Jobs given.
    pub output: u64,
}
