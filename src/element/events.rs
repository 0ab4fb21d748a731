//! Events and queries.

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;
use gst_video::VideoInfo;

use super::bridge::{self, Failure, Refused, Stream};
use super::caps;
use super::imp::VideoInterpolate;
use super::state::{self, Engine, TimeSegment};
use super::streaming::End;
use super::tiers::Tiers;

impl VideoInterpolate {
    pub(super) fn on_sink_event(&self, event: gst::Event) -> bool {
        use gst::EventView;
        match event.view() {
            EventView::FlushStart(_) => {
                self.model.set_cancelled(true);
                self.set_pool_flushing(true);
            }
            EventView::FlushStop(_) => {
                self.set_pool_flushing(false);
                self.model.set_cancelled(false);
                self.state().flush();
            }
            EventView::Segment(e) => match self.on_segment(e.segment()) {
                Segment::Refused => return false,
                Segment::Same => return true,
                Segment::New => (),
            },
            EventView::Eos(_) => self.drain(End::Stream),
            EventView::SegmentDone(_) => self.drain(End::Segment),
            EventView::Gap(e) => {
                let (begin, duration) = e.get();
                self.drain(End::Gap(duration.map(|d| begin.saturating_add(d))));
            }
            EventView::StreamStart(_) => {
                self.drain(End::Caps);
                self.state().segment_owed = true;
            }
            _ => (),
        }
        self.parent_sink_event(event)
    }

    fn on_segment(&self, segment: &gst::Segment) -> Segment {
        let Some(segment) = segment.downcast_ref::<gst::ClockTime>() else {
            bridge::post(&*self.obj(), &Failure::Segment(segment.format()));
            return Segment::Refused;
        };
        let same = {
            let mut state = self.state();
            !std::mem::take(&mut state.segment_owed) && state.segment.as_ref() == Some(segment)
        };
        if same {
            return Segment::Same;
        }
        self.drain(End::Segment);
        let latency_changed = self.begin_segment(segment);
        if latency_changed {
            self.post_latency();
        }
        Segment::New
    }

    /// True if that changed the latency: not every kind of playback looks for repeats.
    fn begin_segment(&self, segment: &TimeSegment) -> bool {
        let mut state = self.state();
        let before = state.latency();
        if let Some(scheduler) = &mut state.scheduler {
            let bounds = state::bounds(segment);
            scheduler.set_segment(bounds.start, bounds.stop, bounds.reverse);
            scheduler.set_interpolate(bounds.interpolate);
        }
        state.segment = Some(segment.clone());
        state.latency() != before
    }

    pub(super) fn on_src_event(&self, event: gst::Event) -> bool {
        if let gst::EventView::Qos(e) = event.view() {
            let (_, proportion, diff, timestamp) = e.get();
            let mut state = self.state();
            let output = state.stream.as_ref().and_then(|s| s.output_duration());
            state
                .qos
                .update(proportion, diff, timestamp, output.unwrap_or_default());
            state.paced = true;
            drop(state);
            self.follow(|state| state.tiers.downstream(proportion, diff > 0));
        }
        self.parent_src_event(event)
    }

    pub(super) fn on_query(&self, direction: gst::PadDirection, query: &mut gst::QueryRef) -> bool {
        if direction == gst::PadDirection::Src
            && let gst::QueryViewMut::Latency(latency) = query.view_mut()
        {
            return self.on_latency(latency);
        }
        if direction == gst::PadDirection::Sink && query.type_() == gst::QueryType::Drain {
            // serialized: upstream wants its buffers back
            self.drain(End::Caps);
            let mut state = self.state();
            // captions that wait may need it yet
            let unneeded = state.captions.is_empty();
            let kept = state.last.take_if(|_| unneeded);
            drop(state);
            drop(kept);
        }
        // others may have a context that is older
        let answered = BaseTransformImplExt::parent_query(self, direction, query);
        match query.view_mut() {
            gst::QueryViewMut::Context(query) if !answered => {
                self.sharing.answer(&self.wanted_device(), query)
            }
            _ => answered,
        }
    }

    /// What the network is to run on; the CPU where that cannot be.
    pub(super) fn wanted_device(&self) -> String {
        let wanted = self.settings().wanted_model();
        wanted.map_or("cpu".into(), |wanted| wanted.device)
    }

    fn on_latency(&self, query: &mut gst::query::Latency) -> bool {
        if !self.obj().sink_pad().peer_query(query.query_mut()) {
            return false;
        }
        let (live, min, max) = query.result();
        let ours = {
            let mut state = self.state();
            state.live = live;
            state.latency()
        };
        let max = max.map(|max| max.saturating_add(ours.buffered));
        query.set(live, min.saturating_add(ours.min), max);
        true
    }

    /// Caps on both pads are settled; the new ones have not left the source pad yet.
    pub(super) fn on_caps(
        &self,
        incaps: &gst::Caps,
        info: &VideoInfo,
        outcaps: &gst::Caps,
    ) -> Result<(), gst::LoggableError> {
        let stream =
            Stream::new(incaps, info, outcaps).map_err(|refused| self.refuse(refused, incaps))?;
        let old = self.state().stream.clone();
        let same = old
            .as_ref()
            .is_some_and(|old| caps::same_picture(&old.caps, incaps));
        if stream.passthrough {
            // the time up to the stop belongs to the frames to come
            self.drain(End::Gap(None));
        } else if !same {
            self.drain(End::Caps);
        }
        if !same {
            self.drop_engine();
        }
        let passthrough = stream.passthrough;
        let settings = self.settings().clone();
        let (rate, factor) = (stream.rate_in, settings.multiplier);
        if passthrough && settings.wanted_rate().is_beyond(rate) {
            gst::element_imp_warning!(
                self,
                gst::ResourceError::Settings,
                ("multiplier={factor} of {rate} frames a second is more than a rate can be, and the rate stays; set a smaller one")
            );
        }
        let latency_changed = {
            let mut state = self.state();
            let before = state.latency();
            if passthrough {
                state.scheduler = None;
            } else if let Some(scheduler) = &mut state.scheduler {
                scheduler.set_rate(stream.rate());
            } else {
                state.scheduler = Some(state.new_scheduler(&stream, &settings));
            }
            state.stream = Some(stream.into());
            state.refused = None;
            if passthrough || !same {
                state.last = None;
            }
            if !same {
                state.tiers = Tiers::default();
            }
            state.latency() != before
        };
        self.obj().set_passthrough(passthrough);
        if latency_changed {
            self.post_latency();
        }
        Ok(())
    }

    fn refuse(&self, refused: Refused, incaps: &gst::Caps) -> gst::LoggableError {
        self.state().stream = None;
        match refused {
            Refused::NoFramerate => gst::loggable_error!(
                bridge::category(),
                "caps without a framerate: {incaps}; 0/1 stands for a variable one"
            ),
            Refused::UnknownFormat => {
                gst::loggable_error!(bridge::category(), "unknown format: {incaps}")
            }
            Refused::NotProgressive => {
                let failure = Failure::NotProgressive(incaps.to_string());
                // every further buffer tries to settle the same caps
                let again = self.state().refused.replace(incaps.clone());
                if again.as_ref() != Some(incaps) {
                    bridge::post(&*self.obj(), &failure);
                }
                gst::loggable_error!(bridge::category(), "{failure}")
            }
        }
    }

    /// The interpolator's memory goes before another is made.
    pub(super) fn drop_engine(&self) {
        let engine: Option<Engine> = self.engine().take();
        drop(engine);
    }
}

enum Segment {
    Refused,
    /// The one that is there already.
    Same,
    New,
}
