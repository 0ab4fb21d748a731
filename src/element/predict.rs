//! Pictures beyond the last frame: where nothing is waited for, and where no frame comes that belongs to it.

use std::sync::Arc;
use std::time::Instant;

use super::bridge::{self, Mapped};
use super::imp::VideoInterpolate;
use super::meta;
use super::properties::{LatencyMode, SceneAction, Settings};
use super::state::Source;
use super::streaming::Stopped;
use crate::interpolator::{Beyond, Outcome};
use crate::schedule::{Ahead, MOST_AHEAD, Outer, Phase, Reach, Slot};

impl Settings {
    /// Where frames are predicted.
    pub fn ahead(&self) -> Ahead {
        match (self.latency_mode, self.scene_action) {
            (LatencyMode::Zero, _) => Ahead::Always,
            (LatencyMode::Frame, SceneAction::Predict) => Ahead::AtEnds,
            _ => Ahead::Never,
        }
    }
}

impl From<Reach> for Beyond {
    fn from(reach: Reach) -> Self {
        let share = |ns: u64| (ns as f64 / reach.span.max(1) as f64) as f32;
        Self {
            ahead: share(reach.elapsed),
            taken_back: share(reach.taken_back),
        }
    }
}

impl VideoInterpolate {
    /// The picture beyond `last`, from its motion since `before`, or none if that is not known or `last` itself is to be seen.
    pub(super) fn extrapolate(
        &self,
        before: &Arc<Source>,
        last: &Arc<Source>,
        reach: Reach,
        at: &Slot,
    ) -> Result<Option<gst::Buffer>, Stopped> {
        let mut buffer = self.acquire(last)?;
        let (settings, show) = {
            let settings = self.settings();
            (settings.engine(reach.span), settings.show)
        };
        let sources = [Some(&**before), Some(&**last), None];
        let (outcome, took) = self.with_engine(&last.stream, sources, |engine| {
            let began = Instant::now();
            let (l, r) = (
                Mapped::new(&before.buffer, &before.stream)?,
                Mapped::new(&last.buffer, &last.stream)?,
            );
            let (l, r) = (l.picture()?, r.picture()?);
            let encoded = (before.encoded(engine, &l)?, last.encoded(engine, &r)?);
            let sides = ((&l, &*encoded.0), (&r, &*encoded.1));
            let outcome = bridge::with_picture_mut(buffer.make_mut(), &last.stream, |out| {
                let beyond = reach.into();
                let outcome = engine.extrapolate(sides.0, sides.1, beyond, &settings, out)?;
                if outcome == Outcome::Interpolated {
                    show.draw(engine, &r, out)?;
                }
                Ok(outcome)
            })?;
            Ok((outcome, began.elapsed()))
        })?;
        self.account(outcome, took, at);
        if outcome != Outcome::Interpolated {
            return Ok(None);
        }
        before.mark_used();
        last.mark_used();
        self.state().counters.interpolated += 1;
        let writable = buffer.make_mut();
        let phase = Phase {
            elapsed: reach.span.saturating_add(reach.elapsed),
            span: reach.span,
        };
        meta::finish_predicted(writable, at, (&before.buffer, &last.buffer), phase);
        self.add_timecode(writable, last, at);
        Ok(Some(buffer))
    }

    /// What an output before a cut shows: the motion from `before` to `left` goes on, where that is wanted and known; the
    /// `nearer` frame elsewhere.
    pub(super) fn up_to_cut(
        &self,
        before: Option<&Outer<Arc<Source>>>,
        left: &Arc<Source>,
        nearer: &Arc<Source>,
        phase: Phase,
        at: &Slot,
    ) -> Result<gst::Buffer, Stopped> {
        if self.settings().ahead() == Ahead::Never {
            return self.show(nearer, at, true);
        }
        let reach = |before: &Outer<_>| Reach {
            elapsed: phase.elapsed,
            taken_back: 0,
            span: before.span,
        };
        let known = before.map(|before| (&before.frame, reach(before)));
        let known = known.filter(|(_, reach)| reach.elapsed <= MOST_AHEAD * reach.span);
        let made = match known {
            Some((before, reach)) => self.extrapolate(before, left, reach, at)?,
            None => None,
        };
        match made {
            Some(buffer) => Ok(buffer),
            None => self.show(nearer, at, true),
        }
    }
}
