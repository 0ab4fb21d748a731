//! Outputs that come too late: what becomes of them, and who is told.

use std::sync::Arc;

use gst::subclass::prelude::*;
use gst_base::prelude::*;

use super::bridge;
use super::economy::Economy;
use super::imp::VideoInterpolate;
use super::qos::{FULL_QUALITY, HELD_QUALITY, Verdict};
use super::state::{Source, State};
use super::streaming::{Stopped, side};
use super::{stats, tiers};
use crate::schedule::{Job, Slot};

impl VideoInterpolate {
    pub(super) fn judge(&self, at: &Slot) -> Verdict {
        if !self.obj().is_qos() {
            return Verdict::OnTime;
        }
        let state = self.state();
        let time = bridge::clock_time(at.pts);
        let running_time = state.segment.as_ref().and_then(|s| s.to_running_time(time));
        state.qos.judge(running_time)
    }

    /// Drops an output that is late by so much.
    pub(super) fn drop_late(&self, at: &Slot, jitter: gst::ClockTimeDiff) {
        {
            let mut state = self.state();
            state.counters.late += 1;
            state.left_out = true;
        }
        self.post_qos(at, jitter, HELD_QUALITY);
        self.left_out(at);
    }

    /// The buffer of a job that is late by so much: a frame in place of what would have to be made.
    pub(super) fn hold_late(
        &self,
        job: Job<Arc<Source>>,
        jitter: gst::ClockTimeDiff,
    ) -> Result<gst::Buffer, Stopped> {
        let (frame, held) = match &job {
            Job::Show { .. } => return self.make(job),
            Job::Extrapolate { last, held, .. } => (last, *held),
            Job::Interpolate {
                left,
                right,
                nearer,
                ..
            } => (side(left, right, *nearer), true),
        };
        let at = job.at();
        self.state().counters.degraded += 1;
        self.post_qos(&at, jitter, HELD_QUALITY);
        self.left_out(&at);
        self.show(frame, &at, held)
    }

    /// Tells the application what became of a late output.
    fn post_qos(&self, at: &Slot, jitter: i64, quality: i32) {
        let message = {
            let state = self.state();
            let time = bridge::clock_time(at.pts);
            let of =
                |f: fn(&super::state::TimeSegment, gst::ClockTime) -> Option<gst::ClockTime>| {
                    state.segment.as_ref().and_then(|s| f(s, time))
                };
            let counters = &state.counters;
            gst::message::Qos::builder(state.live)
                .running_time(of(|s, t| s.to_running_time(t)))
                .stream_time(of(|s, t| s.to_stream_time(t)))
                .timestamp(time)
                .duration(gst::ClockTime::from_nseconds(at.duration))
                .values(jitter, state.qos.proportion, quality.min(FULL_QUALITY))
                .stats(
                    gst::format::Buffers::from_u64(counters.output),
                    gst::format::Buffers::from_u64(counters.late),
                )
                .src(&*self.obj())
                .build()
        };
        self.post(message);
    }

    fn left_out(&self, at: &Slot) {
        self.follow(|state| {
            let lasts = state.lasts(at);
            state.tiers.left_out(lasts);
            None
        });
    }

    /// Tells `quality=auto` what happened, and the application what it makes of it. Only where something goes
    /// against a clock: elsewhere time buys nothing, and the output shall not depend on it.
    pub(super) fn follow(&self, tell: impl FnOnce(&mut State) -> Option<tiers::Change>) {
        let qos = self.obj().is_qos();
        let is_bound = self.model.economy() == Some(Economy::Fast);
        if !qos || is_bound || !self.settings().is_auto() {
            return;
        }
        let change = {
            let mut state = self.state();
            let against_clock = state.live || state.paced;
            against_clock.then(|| tell(&mut state)).flatten()
        };
        if let Some(change) = change {
            gst::info!(bridge::category(), imp = self, "{change:?}");
            let structure = stats::quality(&change);
            let message = gst::message::Element::builder(structure).src(&*self.obj());
            self.post(message.build());
        }
    }
}
