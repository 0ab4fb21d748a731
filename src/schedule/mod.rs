//! Which output frames exist, when, and from which neighbours.
//!
//! Pure: no clock, no pixel, no GStreamer. Integers only.
//!
//! The rhythm is `push` one frame, then `poll` until it answers `None`. With
//! the frame `p_k` every output up to `p_k` leaves, so that what is serialized
//! between two inputs keeps its place between the outputs. Three calls end a
//! run of frames, and each is followed by `poll` until `None`:
//!
//! | call | the last frame is held | the next frame |
//! |---|---|---|
//! | [`Scheduler::drain`] (new caps, STREAM_START) | for its duration | carries the grid on, without a hole |
//! | [`Scheduler::gap`] (GAP event) | for its duration | is anchored anew if time is missing before it |
//! | [`Scheduler::finish`] (EOS, SEGMENT_DONE, before a SEGMENT) | for its duration, or to the stop | is anchored anew if time is missing before it |
//!
//! None of them pairs the frame before with the frame after.
//!
//! Where [`Config::outer`] is set, the outputs up to `p_k` leave with `p_{k+1}`, or with what ends the run.
//!
//! Where [`Config::ahead`] is [`Ahead::Always`], nothing is waited for: with `p_k` also leave the outputs up to where the next
//! frame is to be expected, from what ends there and the frame before. A gap of which upstream tells, no longer than
//! [`MOST_AHEAD`] frames, is bridged in the same way.
//!
//! Where [`Config::retime`] is set, frames that repeat the one before are left out of the pairs and
//! the others are put where they truly belong, see `cadence.rs`.

mod cadence;
mod grid;
mod jobs;
mod spans;
#[cfg(test)]
mod tests;
mod types;

use cadence::{Arrived, Cadence, Verdict};
pub use cadence::{LONGEST_HELD, MOST_SHOWINGS};
use grid::Grid;
use jobs::phase_of;
use spans::Span;
use std::collections::VecDeque;
pub use types::*;

/// A longer duration, in nanoseconds (an hour), is taken for a broken one and
/// counts as missing.
const LONGEST_DURATION: u64 = 3_600_000_000_000;

/// A source frame. `at` is a stream time, see [`grid`].
#[derive(Debug)]
struct Source<F> {
    frame: F,
    at: i128,
    duration: Option<u64>,
    tolerance: i128,
    shown: bool,
    /// Twice the time at which the stream itself turned to this picture: halfway between the
    /// frame that arrived before it and its own timestamp.
    turn: i128,
}

impl<F> Source<F> {
    /// Puts the source there; it ends where it did.
    fn put(mut self, at: i128) -> Self {
        let late = u64::try_from(at - self.at).unwrap_or(0);
        self.duration = self.duration.map(|d| d.saturating_sub(late).max(1));
        self.at = at;
        self
    }
}

#[derive(Debug)]
enum Event<F> {
    Frame(Source<F>),
    Drain,
    /// With the stream time of its end, if that is known.
    Gap(Option<i128>),
    Finish,
    /// Begin anew wherever the next frame is.
    Forget,
}

/// Decides which outputs exist between the frames it is given, and from which
/// neighbours each is made. `F` is a handle: cheap to clone, never looked into.
#[derive(Debug)]
pub struct Scheduler<F> {
    config: Config,
    cadence: Cadence,
    /// Repeats of the last picture, until it is known whether they are part of a cadence.
    waiting: Vec<Source<F>>,
    events: VecDeque<Event<F>>,
    span: Span<F>,
    left: Option<Source<F>>,
    /// The left frame of the stretch before, and its stream time.
    passed: Option<(F, i128)>,
    /// How far outputs are predicted beyond the left frame, and how far they had been beyond the one before when it came.
    predicted: i128,
    taken_back: i128,
    grid: Option<Grid>,
    /// Stream time of the last source whose turn has come.
    last: Option<i128>,
    /// The next frame is anchored anew if time is missing before it.
    broken: bool,
    /// The next output is the first after a hole.
    discont: bool,
    /// Stream time and duration of the last frame accepted by `push`.
    pushed: Option<(i128, Option<u64>)>,
    counters: Counters,
}

impl<F: Clone> Scheduler<F> {
    /// A scheduler that has seen nothing.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            cadence: Cadence::default(),
            waiting: Vec::new(),
            events: VecDeque::new(),
            span: Span::Idle,
            left: None,
            passed: None,
            predicted: 0,
            taken_back: 0,
            grid: None,
            last: None,
            broken: false,
            discont: false,
            pushed: None,
            counters: Counters::default(),
        }
    }

    /// Takes the next source frame, in the order of arrival.
    ///
    /// A frame that does not come after the one before (in reverse: before it)
    /// is dropped, unless `discont` is set and the jump is longer than
    /// [`JUMP_BACK`]: then the frame before is drained and the grid begins anew.
    pub fn push(&mut self, frame: F, arrival: Arrival) -> Pushed {
        let Arrival {
            pts,
            duration,
            discont,
            repeats,
        } = arrival;
        self.counters.input += 1;
        let duration = duration.filter(|d| (1..=LONGEST_DURATION).contains(d));
        let Some(at) = pts
            .map(|pts| self.stream_time(pts.0))
            .or_else(|| self.previous_end(duration))
        else {
            self.counters.discarded += 1;
            return Pushed::Discarded;
        };
        let interval = self.pushed.map(|(last, _)| at - last);
        if let Some(interval) = interval.filter(|i| *i <= 0) {
            if !(discont && -interval > i128::from(JUMP_BACK)) {
                self.counters.dropped += 1;
                return Pushed::Dropped;
            }
            self.end_run(Event::Drain);
            self.events.push_back(Event::Forget);
        }
        let duration = duration.or_else(|| {
            let interval = u64::try_from(interval?).ok()?;
            (1..=self.config.max_gap.min(LONGEST_DURATION))
                .contains(&interval)
                .then_some(interval)
        });
        let before = self.pushed.map_or(at, |(last, _)| last);
        self.pushed = Some((at, duration));
        let source = Source {
            frame,
            at,
            duration,
            tolerance: 0,
            shown: false,
            turn: before + at,
        };
        self.queue(source, repeats);
        Pushed::Accepted
    }

    /// Queues a frame where it belongs, or keeps it until that is known.
    fn queue(&mut self, source: Source<F>, repeats: bool) {
        if !self.looks_for_repeats() {
            self.settle();
            self.events.push_back(Event::Frame(source));
            return;
        }
        let frame = Arrived {
            at: source.at,
            duration: source.duration,
            repeats,
        };
        match self.cadence.push(&frame, self.config.max_gap) {
            Verdict::Waits => self.waiting.push(source),
            Verdict::AsItIs => {
                self.release();
                self.events.push_back(Event::Frame(source));
            }
            Verdict::Belongs(at) => {
                let left_out = self.waiting.drain(..).count() as u64;
                self.counters.repeats += left_out;
                self.counters.unshown += left_out;
                self.events.push_back(Event::Frame(source.put(at)));
            }
        }
    }

    /// Queues the repeats that wait as they are.
    fn release(&mut self) {
        let waiting = self.waiting.drain(..).map(Event::Frame);
        self.events.extend(waiting);
    }

    /// Nothing of what comes belongs to the cadence so far.
    fn settle(&mut self) {
        self.release();
        self.cadence = Cadence::default();
    }

    fn end_run(&mut self, end: Event<F>) {
        self.settle();
        self.events.push_back(end);
    }

    /// The timestamp of the next frame: its own, or where it has none the end of the frame before;
    /// `None` if neither is known. `duration` (ns) as in [`Arrival`].
    pub fn place(&self, pts: Option<Timestamp>, duration: Option<u64>) -> Option<Timestamp> {
        let duration = duration.filter(|d| (1..=LONGEST_DURATION).contains(d));
        pts.or_else(|| {
            let at = self.previous_end(duration)?;
            Some(Timestamp(self.timestamp(at)))
        })
    }

    /// The next output, or `None` until more is pushed.
    pub fn poll(&mut self) -> Option<Job<F>> {
        loop {
            if let Some(job) = self.next_job() {
                return Some(job);
            }
            self.close_span();
            if !matches!(self.span, Span::Idle) {
                continue;
            }
            if self.waits_for_next() {
                return None;
            }
            let event = self.events.pop_front()?;
            self.begin(event);
        }
    }

    /// The phase of the next output, where it is made between the same two frames as the last one; nothing changes.
    pub fn upcoming(&self) -> Option<Phase> {
        let (Some(left), Span::Toward(right)) = (&self.left, &self.span) else {
            return None;
        };
        let point = self.grid.as_ref()?.point();
        let is_between = point > left.at + left.tolerance && point < right.at - right.tolerance;
        let is_made = self.config.interpolate && is_between && point <= self.bound();
        is_made.then(|| phase_of([left.at, right.at], point, self.config.reverse))
    }

    /// Whether the next frame's turn only comes once it is known what is after it.
    fn waits_for_next(&self) -> bool {
        let last = self.events.len() == 1;
        last && self.waits_for_outer() && matches!(self.events.front(), Some(Event::Frame(_)))
    }

    fn waits_for_outer(&self) -> bool {
        self.config.outer && self.config.interpolate && !self.config.reverse && !self.leads()
    }

    /// Whether frames are made without one after them, at least somewhere.
    fn predicts(&self) -> bool {
        self.config.ahead != Ahead::Never && self.config.interpolate && !self.config.reverse
    }

    /// Whether they are so everywhere.
    fn leads(&self) -> bool {
        self.config.ahead == Ahead::Always && self.predicts()
    }

    /// The end of the stream or of the segment: the last frame is held for its
    /// duration, or to the stop if that is set and at most [`LONGEST_HOLD`] away.
    pub fn finish(&mut self) {
        self.end_run(Event::Finish);
    }

    /// The end of a run of equal caps: the last frame is held for its duration
    /// and let go. The grid goes on; outputs up to the next frame show that
    /// frame, never one made with a frame from before.
    pub fn drain(&mut self) {
        self.end_run(Event::Drain);
    }

    /// Upstream says there is nothing for a while, until `end` if that is known: the last frame is held for
    /// its duration and let go, and the time up to the next frame stays empty. Where frames are made without one after them,
    /// a gap that ends no more than [`MOST_AHEAD`] durations after the last frame is filled, and the frame stays.
    pub fn gap(&mut self, end: Option<Timestamp>) {
        let end = end.map(|end| self.stream_time(end.0));
        self.end_run(Event::Gap(end));
    }

    /// Forgets everything but the configuration: frames, grid, counters (flush).
    pub fn reset(&mut self) {
        *self = Self::new(self.config.clone());
    }

    /// Changes the output rate. The new grid begins where the old one has got
    /// to: neither overlap nor hole.
    pub fn set_rate(&mut self, rate: FrameRate) {
        if rate != self.config.rate {
            self.config.rate = rate;
            self.grid = self.grid.as_ref().map(|grid| grid.continued(rate));
        }
    }

    /// Begins a new segment (`start`, `stop` in ns): the next frame is anchored
    /// anew, wherever it is, even where only the segment's base has changed.
    /// Call it after `finish` and the `poll`s that belong to it (what was not
    /// polled is lost), and not at all for an identical segment.
    pub fn set_segment(&mut self, start: u64, stop: Option<u64>, reverse: bool) {
        let counters = self.counters;
        *self = Self::new(Config {
            start,
            stop,
            reverse,
            ..self.config.clone()
        });
        self.counters = counters;
    }

    /// Changes the longest gap that is interpolated across, in nanoseconds.
    pub fn set_max_gap(&mut self, max_gap: u64) {
        self.config.max_gap = max_gap;
    }

    /// Changes where frames are made without one after them, from the next frame on.
    pub fn set_ahead(&mut self, ahead: Ahead) {
        self.config.ahead = ahead;
    }

    /// Interpolates, or holds the previous frame (trick modes).
    pub fn set_interpolate(&mut self, interpolate: bool) {
        self.config.interpolate = interpolate;
    }

    /// Source frames that must have arrived after an output's time before it
    /// can be made, where they are `interval` nanoseconds apart (0: unknown).
    pub fn lookahead(&self, interval: u64) -> u64 {
        let frames = if self.leads() {
            0
        } else if self.looks_for_repeats() {
            cadence::lookahead(interval, self.config.max_gap)
        } else {
            1
        };
        frames + u64::from(self.waits_for_outer())
    }

    /// Whether [`Arrival::repeats`] plays a part: not in reverse, where a run's first showing
    /// arrives last, not in trick modes, where nothing is interpolated, and not where nothing is waited for.
    pub fn looks_for_repeats(&self) -> bool {
        self.config.retime && self.config.interpolate && !self.config.reverse && !self.leads()
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Timestamp to stream time.
    fn stream_time(&self, pts: u64) -> i128 {
        if self.config.reverse {
            -i128::from(pts)
        } else {
            i128::from(pts)
        }
    }

    /// Stream time to timestamp; times outside the representable ones are clamped.
    fn timestamp(&self, at: i128) -> u64 {
        let pts = if self.config.reverse { -at } else { at };
        u64::try_from(pts.max(0)).unwrap_or(u64::MAX)
    }

    /// Where a frame without timestamp belongs: forwards it begins where the
    /// frame before ends, in reverse it ends where that one begins.
    fn previous_end(&self, duration: Option<u64>) -> Option<i128> {
        let (last, last_duration) = self.pushed?;
        let step = if self.config.reverse {
            duration.or(last_duration)?
        } else {
            last_duration?
        };
        let at = last + i128::from(step);
        let range = if self.config.reverse {
            i128::MIN..=0
        } else {
            0..=i128::from(u64::MAX - 1)
        };
        range.contains(&at).then_some(at)
    }

    /// The last stream time inside the segment.
    fn bound(&self) -> i128 {
        if self.config.reverse {
            -i128::from(self.config.start)
        } else {
            // The largest u64 stands for "no timestamp".
            i128::from(self.config.stop.unwrap_or(u64::MAX)) - 1
        }
    }
}
