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
#[cfg(test)]
mod tests;
mod types;

use cadence::{Arrived, Cadence, Verdict};
pub use cadence::{LONGEST_HELD, MOST_SHOWINGS};
use grid::Grid;
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

/// The stretch of time that is being filled.
#[derive(Debug)]
enum Span<F> {
    Idle,
    /// From the left frame to this one.
    Toward(Source<F>),
    /// Beyond the left frame, which stays, before the instant `until`.
    Beyond {
        until: i128,
    },
    /// The left frame, before the instant `until`.
    Hold {
        until: i128,
        at_least_one: bool,
    },
}

/// Which picture an output shows.
enum Choice {
    Left,
    Right,
    Between,
    /// Beyond the left one.
    Beyond,
    /// The right one, but for what is taken back of what was predicted before it came.
    Arrived,
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

    fn begin(&mut self, event: Event<F>) {
        match event {
            Event::Frame(source) if self.is_hole(&source) => {
                // The frame before the hole is held first.
                self.events.push_front(Event::Frame(source));
                self.begin_hold(false);
                self.broken = true;
            }
            Event::Frame(source) => self.begin_frame(source),
            Event::Drain => self.begin_hold(false),
            Event::Gap(Some(end)) if self.bridges(end) => self.begin_beyond(end),
            Event::Gap(_) => {
                self.begin_hold(false);
                self.broken = true;
            }
            Event::Finish => {
                self.begin_hold(true);
                self.broken = true;
            }
            Event::Forget => {
                self.grid = None;
                self.last = None;
                self.broken = false;
                self.discont = true;
            }
        }
    }

    fn is_hole(&self, source: &Source<F>) -> bool {
        let max_gap = i128::from(self.config.max_gap);
        !self.broken && self.last.is_some_and(|last| source.at - last > max_gap)
    }

    fn begin_frame(&mut self, mut source: Source<F>) {
        let grid = match self.grid.take() {
            Some(grid) if !self.broken || self.carries_on(&grid, &source) => grid,
            Some(_) => {
                self.discont = true;
                Grid::new(self.config.rate, self.opening(&source), self.config.reverse)
            }
            None => self.first_grid(&source),
        };
        source.tolerance = self.tolerance(&grid, &source);
        self.broken = false;
        self.last = Some(source.at);
        self.grid = Some(grid);
        self.span = Span::Toward(source);
    }

    /// No time is missing between what `grid` has filled and `source`.
    fn carries_on(&self, grid: &Grid, source: &Source<F>) -> bool {
        grid.filled() + self.tolerance(grid, source) >= self.opening(source)
    }

    fn first_grid(&self, source: &Source<F>) -> Grid {
        let Config {
            rate,
            reverse,
            stop,
            ..
        } = self.config;
        match stop.filter(|_| reverse) {
            // In time order this is the last frame: it reaches to the stop.
            Some(stop) => {
                let hold = source.duration.unwrap_or(0).max(LONGEST_HOLD);
                Grid::new(rate, self.stream_time(stop), reverse)
                    .skip_to(source.at - i128::from(hold))
            }
            None => Grid::new(rate, self.opening(source), reverse),
        }
    }

    /// Where the time of `source` begins in stream order, inside the segment.
    fn opening(&self, source: &Source<F>) -> i128 {
        if !self.config.reverse {
            return source.at.max(i128::from(self.config.start));
        }
        let duration = match source.duration {
            Some(duration) => i128::from(duration),
            None => Grid::new(self.config.rate, 0, true).duration(),
        };
        let stop = self.config.stop.unwrap_or(u64::MAX - 1);
        (source.at - duration).max(-i128::from(stop))
    }

    /// How far an output may lie from `source` and still be it.
    fn tolerance(&self, grid: &Grid, source: &Source<F>) -> i128 {
        let mut tolerance = i128::from(self.config.tolerance).min(grid.duration() / 4);
        if let Some(last) = self.last {
            tolerance = tolerance.min((source.at - last) / 4);
        }
        if let Some(duration) = source.duration {
            tolerance = tolerance.min(i128::from(duration) / 4);
        }
        tolerance.max(0)
    }

    /// Begins to hold the left frame for its duration; at the end of the
    /// stream to the stop, and at least one output comes out.
    fn begin_hold(&mut self, end_of_stream: bool) {
        let Some(left) = &self.left else { return };
        let Config {
            reverse,
            start,
            stop,
            ..
        } = self.config;
        let duration = i128::from(left.duration.unwrap_or(0));
        // In reverse the frame's own time lies before it in stream order.
        let mut until = left.at + if reverse { 0 } else { duration };
        if let Some(stop) = stop.filter(|_| end_of_stream && !reverse) {
            until = until.max(i128::from(stop).min(left.at + i128::from(LONGEST_HOLD)));
        }
        let inside = reverse || duration == 0 || until > i128::from(start);
        self.span = Span::Hold {
            // A grid point that coincides with the end is the next frame's,
            // one that coincides with the frame is its own.
            until: (until - left.tolerance).max(left.at + left.tolerance + 1),
            at_least_one: end_of_stream && inside && self.grid.as_ref().is_some_and(|g| g.fresh),
        };
    }

    /// Whether a gap up to `end` is filled from the frames before it.
    fn bridges(&self, end: i128) -> bool {
        let most = |left: &Source<F>| {
            let duration = left.duration.unwrap_or(0).saturating_mul(MOST_AHEAD);
            left.at + i128::from(duration.min(self.config.max_gap)) + left.tolerance
        };
        self.predicts() && self.left.as_ref().is_some_and(|left| end <= most(left))
    }

    /// Begins to fill the time beyond the left frame, as far as no other frame's begins.
    fn begin_beyond(&mut self, until: i128) {
        if let Some(left) = &self.left {
            // as for a frame that is held
            let until = (until - left.tolerance).max(left.at + left.tolerance + 1);
            self.span = Span::Beyond { until };
        }
    }

    /// The span is filled: what it led to is the left neighbour now.
    fn close_span(&mut self) {
        let next = match std::mem::replace(&mut self.span, Span::Idle) {
            Span::Idle | Span::Beyond { .. } => return,
            Span::Toward(source) => Some(source),
            Span::Hold { .. } => None,
        };
        let goes_on = next.is_some();
        let left = std::mem::replace(&mut self.left, next);
        self.passed = None;
        if let Some(left) = left {
            self.counters.unshown += u64::from(!left.shown);
            let keeps = self.config.outer && self.config.reverse || self.predicts();
            self.passed = (goes_on && keeps).then_some((left.frame, left.at));
        }
        self.taken_back = std::mem::take(&mut self.predicted);
        if self.leads()
            && let Some(left) = &self.left
        {
            let duration = left.duration.unwrap_or(0).min(self.config.max_gap);
            self.begin_beyond(left.at + i128::from(duration));
        }
    }

    fn next_job(&mut self) -> Option<Job<F>> {
        let point = self.grid.as_ref()?.point();
        let choice = self.choose(point)?;
        let at = self.take_slot()?;
        let (after, before) = match choice {
            Choice::Between => (self.outer(), self.before()),
            _ => (None, None),
        };
        let reach = self.reach(&choice, point);
        let right = match &mut self.span {
            Span::Toward(right) => Some(right),
            _ => None,
        };
        self.counters.output += 1;
        match (choice, self.left.as_mut(), right) {
            (Choice::Between, Some(left), Some(right)) => {
                let pair = (&*left, &*right, after);
                self.predicted = 0;
                Some(between(pair, before, point, self.config.reverse, at))
            }
            (Choice::Beyond, Some(last), _) => {
                let passed = self.passed.as_ref().map(|(frame, _)| frame);
                if reach.is_some() {
                    self.predicted = point - last.at;
                }
                Some(beyond(passed, last, reach, at))
            }
            (Choice::Arrived, left, Some(last)) => {
                let before = left.map(|left| &left.frame);
                Some(beyond(before, last, reach, at))
            }
            (Choice::Left, Some(source), _) | (_, _, Some(source)) => {
                Some(beyond(None, source, None, at))
            }
            _ => None,
        }
    }

    /// How far an output at `point` lies beyond the last frame; none where it is not made from its motion.
    fn reach(&self, choice: &Choice, point: i128) -> Option<Reach> {
        let left = self.left.as_ref()?;
        let (last, before, taken_back) = match (choice, &self.span) {
            (Choice::Beyond, _) => (left.at, self.passed.as_ref()?.1, self.taken_back),
            (Choice::Arrived, Span::Toward(right)) => (right.at, left.at, self.predicted),
            _ => return None,
        };
        let ns = |time: i128| u64::try_from(time).ok();
        let (elapsed, span) = (ns((point - last).max(0))?, ns(last - before)?);
        let known = (1..=self.config.max_gap).contains(&span);
        let near = elapsed <= span.saturating_mul(MOST_AHEAD);
        (known && near).then_some(Reach {
            elapsed,
            taken_back: ns(taken_back)?,
            span,
        })
    }

    /// The frame before the pair, if it is wanted.
    fn before(&self) -> Option<Outer<F>> {
        let left = self.left.as_ref()?;
        let (frame, at) = self.passed.as_ref().filter(|_| self.predicts())?;
        let span = u64::try_from(left.at - at).ok();
        let span = span.filter(|span| (1..=self.config.max_gap).contains(span))?;
        Some(Outer {
            frame: frame.clone(),
            span,
        })
    }

    /// The frame after the pair in time, if it is wanted and belongs to it.
    fn outer(&self) -> Option<Outer<F>> {
        let (Some(left), Span::Toward(right)) = (&self.left, &self.span) else {
            return None;
        };
        let (frame, span) = match (&self.passed, self.events.front()) {
            _ if !self.config.outer => return None,
            (passed, _) if self.config.reverse => {
                let (frame, at) = passed.as_ref()?;
                (frame, left.at - at)
            }
            (_, Some(Event::Frame(next))) => (&next.frame, next.at - right.at),
            _ => return None,
        };
        let span = u64::try_from(span).ok();
        let span = span.filter(|span| (1..=self.config.max_gap).contains(span))?;
        Some(Outer {
            frame: frame.clone(),
            span,
        })
    }

    /// What the output at `point` shows, if its turn has come.
    fn choose(&mut self, point: i128) -> Option<Choice> {
        let bound = self.bound();
        let empty = self.config.stop.is_some_and(|s| s <= self.config.start);
        let (predicts, missed) = (self.predicts(), self.leads() && self.predicted > 0);
        match &mut self.span {
            Span::Idle => None,
            Span::Beyond { until } => (point < *until && point <= bound).then_some(Choice::Beyond),
            Span::Hold {
                until,
                at_least_one,
            } => {
                let forced = std::mem::take(at_least_one) && !empty;
                // In reverse the forced output may be cut off at the start.
                let inside = point <= bound || (forced && self.config.reverse);
                let choice = match &self.left {
                    Some(left) if predicts && point > left.at + left.tolerance => Choice::Beyond,
                    _ => Choice::Left,
                };
                ((forced || point < *until) && inside).then_some(choice)
            }
            Span::Toward(right) => {
                if point > bound.min(right.at) {
                    return None;
                }
                Some(match &self.left {
                    _ if point >= right.at - right.tolerance => match missed {
                        true => Choice::Arrived,
                        false => Choice::Right,
                    },
                    None => Choice::Right,
                    Some(left) if point <= left.at + left.tolerance => Choice::Left,
                    Some(_) if self.config.interpolate => Choice::Between,
                    Some(_) => Choice::Left,
                })
            }
        }
    }

    /// The next place on the grid, which moves on.
    fn take_slot(&mut self) -> Option<Slot> {
        let grid = self.grid.as_ref()?;
        let (index, filled, next) = (grid.index, grid.filled(), grid.next_filled());
        let mut pts = self.timestamp(grid.point());
        let mut duration = u64::try_from(next - filled).unwrap_or(u64::MAX);
        if self.config.reverse && pts < self.config.start {
            pts = self.config.start;
            duration = self.timestamp(filled).saturating_sub(pts);
        }
        if let Some(grid) = &mut self.grid {
            grid.advance();
        }
        Some(Slot {
            pts: Timestamp(pts),
            duration,
            index,
            discont: std::mem::take(&mut self.discont),
        })
    }
}

/// Of an output at `point` between two frames in stream order.
fn phase_of([left, right]: [i128; 2], point: i128, reverse: bool) -> Phase {
    let (span, elapsed) = ((right - left) as u64, (point - left) as u64);
    Phase {
        elapsed: if reverse { span - elapsed } else { elapsed },
        span,
    }
}

/// The job of a frame at `point`; `left` and `right` are in stream order, `after` is behind them in time.
fn between<F: Clone>(
    (left, right, after): (&Source<F>, &Source<F>, Option<Outer<F>>),
    before: Option<Outer<F>>,
    point: i128,
    reverse: bool,
    at: Slot,
) -> Job<F> {
    let past_turn = 2 * point - right.turn;
    let (sooner, later, past_turn) = if reverse {
        (right, left, -past_turn)
    } else {
        (left, right, past_turn)
    };
    Job::Interpolate {
        left: sooner.frame.clone(),
        right: later.frame.clone(),
        after,
        phase: phase_of([left.at, right.at], point, reverse),
        nearer: if past_turn <= 0 {
            Side::Left
        } else {
            Side::Right
        },
        before,
        at,
    }
}

/// The job of a frame beyond `last`, or of that itself where nothing is known of its motion.
fn beyond<F: Clone>(
    before: Option<&F>,
    last: &mut Source<F>,
    reach: Option<Reach>,
    at: Slot,
) -> Job<F> {
    let held = std::mem::replace(&mut last.shown, true);
    let frame = last.frame.clone();
    match before.zip(reach) {
        Some((before, reach)) => Job::Extrapolate {
            before: before.clone(),
            last: frame,
            reach,
            held,
            at,
        },
        None => Job::Show { frame, at, held },
    }
}
