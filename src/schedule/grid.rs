//! The output grid: instant *n* is computed from *n*, never by adding durations.
//!
//! Times here are *stream times*: signed nanoseconds that rise in the order in
//! which frames arrive. Forwards they are the timestamps, in reverse the
//! negated ones, so that one scheduler serves both directions.

use super::FrameRate;

const SECOND: i128 = 1_000_000_000;

/// Output *n* fills the time from `edge(n)` to `edge(n + 1)`, with
/// `edge(n) = anchor + floor(n · den · 1e9 / num)`.
///
/// An output's timestamp is the earlier end of its time: the first edge
/// forwards, the second in reverse.
#[derive(Debug, Clone)]
pub(super) struct Grid {
    /// Duration of one output is `step / num` nanoseconds.
    step: i128,
    num: i128,
    anchor: i128,
    reverse: bool,
    /// The next output not yet sent.
    pub index: u64,
    /// Nothing has been sent from this grid.
    pub fresh: bool,
}

impl Grid {
    /// A grid whose output 0 begins at `anchor`.
    ///
    /// A rate of zero counts as one; a rate above 1e9 as 1e9, where the
    /// instants are one nanosecond apart and still distinct.
    pub fn new(rate: FrameRate, anchor: i128, reverse: bool) -> Self {
        let step = i128::from(rate.den.max(1)) * SECOND;
        Self {
            step,
            num: i128::from(rate.num.max(1)).min(step),
            anchor,
            reverse,
            index: 0,
            fresh: true,
        }
    }

    /// A grid that begins where this one has got to, with neither overlap nor hole.
    pub fn continued(&self, rate: FrameRate) -> Self {
        Self {
            fresh: self.fresh,
            ..Self::new(rate, self.edge(self.index), self.reverse)
        }
    }

    /// Leaves out the outputs that end at or before `time`.
    pub fn skip_to(mut self, time: i128) -> Self {
        // The largest n with edge(n) <= time:
        // floor(n · step / num) <= y  <=>  n · step < (y + 1) · num.
        let y = (time - self.anchor).max(0);
        self.index = u64::try_from(((y + 1) * self.num - 1) / self.step).unwrap_or(u64::MAX);
        self
    }

    pub fn edge(&self, n: u64) -> i128 {
        // Below 2^64 · 2^32 · 2^30 = 2^126.
        self.anchor + i128::from(n) * self.step / self.num
    }

    /// Where the time not yet filled begins.
    pub fn filled(&self) -> i128 {
        self.edge(self.index)
    }

    /// Stream time of the next output's timestamp.
    pub fn point(&self) -> i128 {
        self.edge(self.index.saturating_add(u64::from(self.reverse)))
    }

    /// Where the next output's time ends.
    pub fn next_filled(&self) -> i128 {
        self.edge(self.index.saturating_add(1))
    }

    /// Duration of an output, rounded down.
    pub fn duration(&self) -> i128 {
        self.step / self.num
    }

    pub fn advance(&mut self) {
        self.index = self.index.saturating_add(1);
        self.fresh = false;
    }
}
