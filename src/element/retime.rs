//! The property `curves`: what of it concerns one output.

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::bridge::{self, Failure};
use super::imp::VideoInterpolate;
use super::label_mask::LabelMask;
use super::state::Source;
use crate::curves::Moment;
use crate::error::Error;
use crate::interpolator::Retiming;
use crate::schedule::Phase;

/// An output in which some labels are elsewhere than even motion has them.
pub struct Retimed {
    phase: f32,
    masks: [Option<LabelMask>; 2],
    distances: Vec<(u8, f32)>,
    held: Vec<u8>,
}

impl Retimed {
    /// Calls `make` with what the engine wants to know.
    pub fn with<T>(&self, make: impl FnOnce(&Retiming) -> Result<T, Error>) -> Result<T, Error> {
        let labels = self
            .masks
            .each_ref()
            .map(|mask| mask.as_ref().map(LabelMask::labels));
        let [left, right] = labels;
        make(&Retiming {
            phase: self.phase,
            labels: [left.transpose()?, right.transpose()?],
            distances: &self.distances,
            held: &self.held,
        })
    }
}

impl VideoInterpolate {
    /// What the curves say of an output; `None` where there are none, or no masks.
    pub(super) fn retimed(
        &self,
        left: &Source,
        right: &Source,
        phase: Phase,
    ) -> Result<Option<Retimed>, Failure> {
        let curves = self.settings().retiming.clone();
        let Ok(curves) = curves else {
            return Ok(None);
        };
        if curves.is_empty() {
            return Ok(None);
        }
        let mask = |source: &Source| LabelMask::of(&source.buffer).map_err(Failure::Buffer);
        let masks = [mask(left)?, mask(right)?];
        if masks.iter().all(Option::is_none) {
            return Ok(None);
        }
        let phase = phase.as_f32();
        let running = self.running_times([left.pts, right.pts]);
        Ok(Some(Retimed {
            phase,
            masks,
            distances: curves.distances(&Moment { phase, running }),
            held: curves.held(),
        }))
    }

    fn running_times(&self, times: [u64; 2]) -> Option<[i64; 2]> {
        let state = self.state();
        let segment = state.segment.as_ref()?;
        let [left, right] = times.map(|time| {
            let time = gst::ClockTime::from_nseconds(time);
            match segment.to_running_time_full(time)? {
                gst::Signed::Positive(t) => i64::try_from(t.nseconds()).ok(),
                gst::Signed::Negative(t) => i64::try_from(t.nseconds()).ok().map(|ns| -ns),
            }
        });
        Some([left?, right?])
    }

    /// Says at once that new curves cannot be read where frames are on their way: the stream goes on without them.
    pub(super) fn check_curves(&self) {
        let problem = self.settings().retiming.clone().err();
        if let Some(problem) = problem.filter(|_| self.obj().current_state() >= gst::State::Paused)
        {
            gst::element_imp_warning!(self, gst::ResourceError::Settings, ("{problem}"));
        }
    }

    /// Curves that cannot be read keep the element from starting.
    pub(super) fn expect_curves(&self) -> Result<(), gst::StateChangeError> {
        let problem = self.settings().retiming.clone().err();
        problem.map_or(Ok(()), |problem| {
            bridge::post(&*self.obj(), &Failure::Curves(problem));
            Err(gst::StateChangeError)
        })
    }
}
