//! Pictures between two frames.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gst::subclass::prelude::*;

use super::bridge::{self, Failure, Mapped};
use super::imp::VideoInterpolate;
use super::properties::Show;
use super::state::Source;
use super::streaming::Stopped;
use super::{meta, there};
use crate::interpolator::{After, Outcome, Turbulence};
use crate::kernels::PhaseMap;
use crate::schedule::{Outer, Phase, Slot};

impl VideoInterpolate {
    /// The picture between two, or none if there is a cut between them.
    pub(super) fn interpolate(
        &self,
        left: &Arc<Source>,
        right: &Arc<Source>,
        after: Option<&Outer<Arc<Source>>>,
        phase: Phase,
        at: &Slot,
    ) -> Result<Option<gst::Buffer>, Stopped> {
        let mut buffer = self.acquire(left)?;
        let (mut settings, show) = {
            let settings = self.settings();
            (settings.engine(phase.span), settings.show)
        };
        let retimed = self.retimed(left, right, phase)?;
        let is_seen_here = retimed.is_some() || show != Show::None;
        if !is_seen_here {
            let state = self.state();
            let scheduler = state.scheduler.as_ref();
            let then = scheduler.and_then(|scheduler| scheduler.upcoming());
            settings.then = then.map(Phase::as_f32);
        }
        let after_it = after.map(|o| &*o.frame);
        let sources = [Some(&**left), Some(&**right), after_it];
        let (outcome, took, coherence) = self.with_engine(&left.stream, sources, |engine| {
            let began = Instant::now();
            if !is_seen_here {
                let (sides, out) = ([&**left, &**right], buffer.make_mut());
                let made = there::make(engine, sides, after, phase, &settings, out)?;
                if let Some(outcome) = made {
                    let coherence = (engine.can_look_for_turbulence(), engine.turbulence());
                    return Ok((outcome, began.elapsed(), coherence));
                }
            }
            let (l, r) = (
                Mapped::new(&left.buffer, &left.stream)?,
                Mapped::new(&right.buffer, &right.stream)?,
            );
            let (l, r) = (l.picture()?, r.picture()?);
            let encoded_left = left.encoded(engine, &l)?;
            let encoded_right = right.encoded(engine, &r)?;
            let mapped = after.map(|o| Mapped::new(&o.frame.buffer, &o.frame.stream));
            let mapped = mapped.transpose()?;
            let picture = mapped.as_ref().map(Mapped::picture).transpose()?;
            let next = picture.as_ref().zip(after);
            let next = next.map(|(picture, outer)| {
                let encoded = outer.frame.encoded(engine, picture)?;
                Ok::<_, Failure>((picture, encoded, outer.span as f32))
            });
            let next = next.transpose()?;
            let next = next.as_ref().map(|(picture, encoded, interval)| After {
                picture,
                encoded,
                interval: *interval,
            });
            let (one, other) = ((&l, &*encoded_left), (&r, &*encoded_right));
            let outcome = bridge::with_picture_mut(buffer.make_mut(), &left.stream, |out| {
                let outcome = match &retimed {
                    Some(retimed) => {
                        retimed.with(|how| engine.retime(next, one, other, how, &settings, out))?
                    }
                    None => {
                        let phase = PhaseMap::Uniform(phase.as_f32());
                        engine.interpolate_before(next, one, other, &phase, &settings, out)?
                    }
                };
                show.draw(engine, &l, out)?;
                Ok(outcome)
            })?;
            let coherence = (engine.can_look_for_turbulence(), engine.turbulence());
            Ok((outcome, began.elapsed(), coherence))
        })?;
        self.account(outcome, took, at);
        self.account_coherence(coherence);
        if outcome == Outcome::Cut {
            return Ok(None);
        }
        left.mark_used();
        right.mark_used();
        self.state().counters.interpolated += 1;
        let writable = buffer.make_mut();
        meta::finish_interpolated(writable, at, (&left.buffer, &right.buffer), phase);
        self.add_timecode(writable, left, at);
        Ok(Some(buffer))
    }

    /// Counts what was made, and how long it took.
    pub(super) fn account(&self, outcome: Outcome, took: Duration, at: &Slot) {
        let latency_changed = {
            let mut state = self.state();
            state.counters.inferred(took);
            if matches!(outcome, Outcome::Cut | Outcome::Blended) {
                state.counters.cuts += 1;
            }
            let took = gst::ClockTime::try_from(took).unwrap_or(gst::ClockTime::MAX);
            state.processing.measured(took)
        };
        if latency_changed {
            self.post_latency();
        }
        self.follow(|state| state.tiers.output(Some(took), state.lasts(at)));
    }

    /// Counts what was estimated again; says once that there is nothing to look at where that `can` not be looked at.
    fn account_coherence(&self, (can, found): (bool, Option<Turbulence>)) {
        if found.is_some_and(|found| found.again) {
            self.state().counters.reestimated += 1;
        }
        let is_asked = self.settings().looks_for_turbulence();
        if is_asked && !can && !std::mem::replace(&mut self.state().told_blind, true) {
            gst::element_imp_warning!(
                self,
                gst::ResourceError::Settings,
                ("coherence looks at the motion of the built-in network on the CPU alone: it has no effect here; leave model empty, and set device=cpu")
            );
        }
    }
}
