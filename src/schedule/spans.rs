//! Which stretch of time is filled next, and where it begins and ends.

use super::grid::Grid;
use super::{Config, Event, LONGEST_HOLD, MOST_AHEAD, Scheduler, Source};

/// The stretch of time that is being filled.
#[derive(Debug)]
pub(super) enum Span<F> {
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

impl<F: Clone> Scheduler<F> {
    pub(super) fn begin(&mut self, event: Event<F>) {
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
    pub(super) fn close_span(&mut self) {
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
}
