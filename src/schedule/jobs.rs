//! What the next output of a stretch of time shows, and what it is made from.

use super::spans::Span;
use super::{
    Event, Job, MOST_AHEAD, Outer, Phase, Reach, Scheduler, Side, Slot, Source, Timestamp,
};

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

impl<F: Clone> Scheduler<F> {
    pub(super) fn next_job(&mut self) -> Option<Job<F>> {
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
pub(super) fn phase_of([left, right]: [i128; 2], point: i128, reverse: bool) -> Phase {
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
