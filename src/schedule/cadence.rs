//! Pictures that the source shows more than once, and when they truly belong.
//!
//! A *run* is a picture's first showing and the repeats behind it. Drawings on twos or threes
//! belong at their first showing: that is when they were meant. Pulldown shows pictures that were
//! taken evenly in runs of unequal length; once the lengths have repeated, the pictures are spaced
//! evenly over a cycle, on the line that touches the latest of the first showings. So no picture
//! is moved before its first showing, and none by a whole frame.
//!
//! A run is known to be no still when its next picture arrives, and to be one when it exceeds
//! [`MOST_SHOWINGS`] or [`LONGEST_HELD`]. A still is shown as it is, and so is a held picture among
//! moving ones.
//!
//! Times are stream times of forward playback, see [`super::grid`].

/// Showings of one picture, at most; with more it is a still.
pub const MOST_SHOWINGS: u64 = 5;

/// The longest time in nanoseconds that a picture is shown for; longer, it is a still.
///
/// Three frames of 24 and 25 a second, four of 30, with two milliseconds for rounded timestamps.
pub const LONGEST_HELD: u64 = 135_000_000;

/// Pictures of a cycle of pulldown, at most: 24 in 30 has four, 25 in 30 and 25 in 60 have five.
const MOST_PICTURES: usize = 5;

/// Runs that are remembered: two of the longest cycles.
const HISTORY: usize = 2 * MOST_PICTURES;

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It repeats the picture before; keep it until a later verdict.
    Waits,
    /// The frames that wait and this one are shown at their own times.
    AsItIs,
    /// The frames that wait are left out, and this one belongs here.
    Belongs(i128),
}

/// A frame as it arrives. Times in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrived {
    /// Later than that of the frame before.
    pub at: i128,
    pub duration: Option<u64>,
    /// It shows the same as the frame before.
    pub repeats: bool,
}

impl Arrived {
    fn end(&self) -> i128 {
        self.at + i128::from(self.duration.unwrap_or(0))
    }
}

#[derive(Debug, Clone, Copy)]
struct Run {
    first: i128,
    frames: u64,
}

impl Run {
    fn is_held(self) -> bool {
        self.frames > 1
    }
}

/// Watches the runs of one stretch of frames.
#[derive(Debug, Default)]
pub(super) struct Cadence {
    /// Runs that have ended, the latest last; a still has no length and counts as one frame.
    past: Vec<Run>,
    current: Option<Run>,
    /// The current picture is a still.
    still: bool,
}

impl Cadence {
    /// Takes the next frame. Frames further apart than `max_gap` (ns) are not a pair.
    pub fn push(&mut self, frame: &Arrived, max_gap: u64) -> Verdict {
        let longest = i128::from(LONGEST_HELD.min(max_gap));
        let Some(run) = self.current else {
            self.begin(frame.at);
            return Verdict::Belongs(frame.at);
        };
        if !frame.repeats {
            return self.turn(run, frame, longest);
        }
        let frames = run.frames + 1;
        if self.still || frames > MOST_SHOWINGS || frame.end() - run.first > longest {
            self.past.clear();
            self.begin(frame.at);
            self.still = true;
            return Verdict::AsItIs;
        }
        self.current = Some(Run { frames, ..run });
        Verdict::Waits
    }

    fn begin(&mut self, first: i128) {
        self.current = Some(Run { first, frames: 1 });
        self.still = false;
    }

    /// The run has ended, and `frame` is the next picture.
    fn turn(&mut self, run: Run, frame: &Arrived, longest: i128) -> Verdict {
        let broken = run.is_held() && frame.at - run.first > longest;
        let alone = run.is_held() && self.is_alone(run);
        if broken {
            self.past.clear();
        } else {
            self.past.push(run);
        }
        if self.past.len() > HISTORY {
            self.past.remove(0);
        }
        self.begin(frame.at);
        if broken || alone {
            return Verdict::AsItIs;
        }
        let shift = self.shift(frame.at);
        // A frame that ends before stays where it is.
        let is_possible = frame.duration.is_none_or(|d| shift < i128::from(d));
        Verdict::Belongs(frame.at + if is_possible { shift } else { 0 })
    }

    /// No run of about this length was there lately. The first one has the benefit of the doubt.
    fn is_alone(&self, run: Run) -> bool {
        let mut lately = self.past.iter().rev().take(MOST_PICTURES);
        !self.past.is_empty() && !lately.any(|r| r.is_held() && r.frames.abs_diff(run.frames) <= 1)
    }

    /// How much later than `at`, its first showing, the picture belongs that has just begun.
    fn shift(&self, at: i128) -> i128 {
        let cycle = self.period().and_then(|n| self.past.rchunks(n).next());
        let Some(cycle @ [Run { first, .. }, ..]) = cycle else {
            return 0;
        };
        let (time, pictures) = (at - first, cycle.len() as i128);
        let frames: u64 = cycle.iter().map(|run| run.frames).sum();
        // Of each picture: how much later it was shown than if the cycle's were shown evenly.
        let late = (0..)
            .zip(cycle)
            .map(|(n, run): (i128, &Run)| run.first - first - n * time / pictures);
        let (earliest, latest) =
            late.fold((0, 0), |(low, high), late| (late.min(low), late.max(high)));
        // Pulldown strays by less than a frame: with five pictures by four fifths of one.
        if 10 * (latest - earliest) * i128::from(frames) < 9 * time {
            latest
        } else {
            0
        }
    }

    /// After how many pictures the lengths of the runs repeat, if they have repeated throughout a
    /// cycle: of several answers the one that holds for longest.
    fn period(&self) -> Option<usize> {
        let runs = || self.past.iter().rev();
        let agreeing = |period| {
            let pairs = runs().zip(runs().skip(period));
            pairs.take_while(|(a, b)| a.frames == b.frames).count()
        };
        (1..=MOST_PICTURES)
            .map(|period| (period, agreeing(period)))
            .filter(|(period, agreeing)| agreeing >= period)
            .max_by_key(|(period, agreeing)| (period + agreeing, usize::MAX - period))
            .map(|(period, _)| period)
    }
}

/// Frames that must have arrived after a picture before it is known to be a still, where frames
/// are `interval` nanoseconds apart (0: unknown).
pub(super) fn lookahead(interval: u64, max_gap: u64) -> u64 {
    (LONGEST_HELD.min(max_gap) / interval.max(1)).clamp(1, MOST_SHOWINGS)
}
