//! Pictures between two frames.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gst::subclass::prelude::*;

use super::bridge::{self, Failure, Mapped};
use super::imp::VideoInterpolate;
use super::properties::Show;
use super::retime::Retimed;
use super::state::Source;
use super::streaming::Stopped;
use super::{meta, there};
use crate::interpolator::{After, Interpolator, Outcome, Settings, Turbulence};
use crate::kernels::PhaseMap;
use crate::schedule::{Outer, Phase, Slot};

fn mapped(source: &Source) -> Result<Mapped<'_>, Failure> {
    Mapped::new(&source.buffer, &source.stream)
}

/// What is to be made of two frames.
struct Wanted<'a> {
    left: &'a Source,
    right: &'a Source,
    after: Option<&'a Outer<Arc<Source>>>,
    phase: Phase,
    settings: Settings,
    show: Show,
    /// What the curves say.
    retimed: Option<Retimed>,
}

impl Wanted<'_> {
    /// Only the CPU can do it.
    fn is_seen_here(&self) -> bool {
        self.retimed.is_some() || self.show != Show::None
    }

    /// Makes it where the frames lie.
    fn make(
        &self,
        engine: &mut Interpolator,
        out: &mut gst::BufferRef,
    ) -> Result<Outcome, Failure> {
        if !self.is_seen_here() {
            let (sides, settings) = ([self.left, self.right], &self.settings);
            let made = there::make(engine, sides, self.after, self.phase, settings, out)?;
            if let Some(outcome) = made {
                return Ok(outcome);
            }
        }
        self.make_here(engine, out)
    }

    /// Makes it of frames in the host's memory.
    fn make_here(
        &self,
        engine: &mut Interpolator,
        out: &mut gst::BufferRef,
    ) -> Result<Outcome, Failure> {
        let stream = &self.left.stream;
        let (left, right) = (mapped(self.left)?, mapped(self.right)?);
        let (left, right) = (left.picture()?, right.picture()?);
        let encoded_left = self.left.encoded(engine, &left)?;
        let encoded_right = self.right.encoded(engine, &right)?;
        let (one, other) = ((&left, &*encoded_left), (&right, &*encoded_right));
        let after = self.after.map(|outer| mapped(&outer.frame)).transpose()?;
        let after = after.as_ref().map(Mapped::picture).transpose()?;
        let after = after.as_ref().zip(self.after);
        let after = after.map(|(picture, outer)| {
            let encoded = outer.frame.encoded(engine, picture)?;
            Ok::<_, Failure>((picture, encoded, outer.span as f32))
        });
        let after = after.transpose()?;
        let after = after.as_ref().map(|(picture, encoded, interval)| After {
            picture,
            encoded,
            interval: *interval,
        });
        bridge::with_picture_mut(out, stream, |out| {
            let settings = &self.settings;
            let outcome = match &self.retimed {
                Some(retimed) => {
                    retimed.with(|how| engine.retime(after, one, other, how, settings, out))?
                }
                None => {
                    let phase = PhaseMap::Uniform(self.phase.as_f32());
                    engine.interpolate_before(after, one, other, &phase, settings, out)?
                }
            };
            self.show.draw(engine, &left, out)?;
            Ok(outcome)
        })
    }
}

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
        let wanted = self.wanted([left, right], after, phase)?;
        let sources = [Some(&**left), Some(&**right), after.map(|o| &*o.frame)];
        let (outcome, took, coherence) = self.with_engine(&left.stream, sources, |engine| {
            let began = Instant::now();
            let outcome = wanted.make(engine, buffer.make_mut())?;
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

    /// What the properties want of two frames.
    fn wanted<'a>(
        &self,
        [left, right]: [&'a Source; 2],
        after: Option<&'a Outer<Arc<Source>>>,
        phase: Phase,
    ) -> Result<Wanted<'a>, Failure> {
        let (settings, show) = {
            let settings = self.settings();
            (settings.engine(phase.span), settings.show)
        };
        let mut wanted = Wanted {
            retimed: self.retimed(left, right, phase)?,
            left,
            right,
            after,
            phase,
            settings,
            show,
        };
        if !wanted.is_seen_here() {
            let state = self.state();
            let scheduler = state.scheduler.as_ref();
            let then = scheduler.and_then(|scheduler| scheduler.upcoming());
            wanted.settings.then = then.map(Phase::as_f32);
        }
        Ok(wanted)
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
