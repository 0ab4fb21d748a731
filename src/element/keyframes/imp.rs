//! The GObject, and what the base class calls.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;
use gst_base::{AGGREGATOR_FLOW_NEED_DATA, AggregatorPad};

use super::gaps::Gaps;
use super::pads::{self, Place, Shown};
use super::properties::{self, Counters, Settings};
use crate::element::allocation;
use crate::element::bridge::{self, Failure, Stream, category, end_of, gap_event, is_gap};
use crate::element::caps;
use crate::keyframes::{Frame, Job, Propagator, Sequence};
use crate::network::Network;

const VIDEO: &str = "sink";
const KEYFRAME: &str = "keyframe";
/// No longer latency is told, however seldom frames come.
const LONGEST_WAIT: gst::ClockTime = gst::ClockTime::from_seconds(3600);

/// What both pads have been told, and what of it is still to be passed on.
#[derive(Default)]
struct Streams {
    video: Option<Arc<Stream>>,
    keyframe: Option<Arc<Stream>>,
    /// Whether a frame of the segment was pushed.
    flows: bool,
    gaps: Gaps<gst::Event>,
}

/// The element. Locks are taken one at a time around plain data; that of the frames is held while a picture is made, by the one
/// thread that makes them, and never while one is pushed.
#[derive(Default)]
pub struct VideoKeyframes {
    settings: Mutex<Settings>,
    streams: Mutex<Streams>,
    counters: Mutex<Counters>,
    sequence: Mutex<Option<Sequence<Shown>>>,
}

/// A panic in another thread leaves plain data behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[glib::object_subclass]
impl ObjectSubclass for VideoKeyframes {
    const NAME: &'static str = "GstVideoKeyframes";
    type Type = super::VideoKeyframes;
    type ParentType = gst_base::Aggregator;
}

impl ObjectImpl for VideoKeyframes {
    fn constructed(&self) {
        self.parent_constructed();
        if let Some(pad) = self.new_pad(VIDEO) {
            // a new element has no pad of that name
            let _ = self.obj().add_pad(&pad);
        }
    }

    fn properties() -> &'static [glib::ParamSpec] {
        properties::specifications()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, spec: &glib::ParamSpec) {
        lock(&self.settings).set(spec.name(), value);
    }

    fn property(&self, _id: usize, spec: &glib::ParamSpec) -> glib::Value {
        let setting = lock(&self.settings).get(spec.name());
        setting.unwrap_or_else(|| lock(&self.counters).structure().to_value())
    }
}

impl GstObjectImpl for VideoKeyframes {}

impl ElementImpl for VideoKeyframes {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Video keyframe propagator",
                "Filter/Effect/Video",
                "Brings a video into the look of some of its frames, which were edited or styled",
                "The videointerpolate authors",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let frames = caps::in_system_memory();
            caps::aggregator_pads(&frames, (KEYFRAME, &frames))
        });
        &TEMPLATES
    }
}

impl AggregatorImpl for VideoKeyframes {
    fn create_new_pad(
        &self,
        template: &gst::PadTemplate,
        _name: Option<&str>,
        _caps: Option<&gst::Caps>,
    ) -> Option<AggregatorPad> {
        let free = template.name() == KEYFRAME && self.obj().static_pad(KEYFRAME).is_none();
        free.then(|| self.new_pad(KEYFRAME)).flatten()
    }

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.counters) = Counters::default();
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        let old = lock(&self.sequence).take();
        drop(old);
        *lock(&self.streams) = Streams::default();
        Ok(())
    }

    /// The base class must not choose caps: they are those of the video.
    fn negotiate(&self) -> bool {
        true
    }

    /// So many frames of the video are held, and one more arrives.
    fn propose_allocation(
        &self,
        pad: &AggregatorPad,
        _decided: Option<&gst::query::Allocation>,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        let info = query
            .get_owned()
            .0
            .map(|caps| gst_video::VideoInfo::from_caps(&caps));
        if let Some(Ok(info)) = info.filter(|_| pad.name() == VIDEO) {
            let frames = lock(&self.settings).lookahead + 2;
            let size = u32::try_from(info.size()).unwrap_or(u32::MAX);
            query.add_allocation_pool(None::<&gst::BufferPool>, size, frames, 0);
        }
        Ok(())
    }

    fn next_time(&self) -> Option<gst::ClockTime> {
        self.obj().simple_get_next_time()
    }

    fn sink_query(&self, pad: &AggregatorPad, query: &mut gst::QueryRef) -> bool {
        if let gst::QueryViewMut::Caps(query) = query.view_mut() {
            let caps = self.caps_of(pad);
            let caps = match query.filter_owned() {
                Some(filter) => filter.intersect_with_mode(&caps, gst::CapsIntersectMode::First),
                None => caps,
            };
            query.set_result(&caps);
            return true;
        }
        self.parent_sink_query(pad, query)
    }

    fn sink_event(&self, pad: &AggregatorPad, event: gst::Event) -> bool {
        let result = match event.view() {
            gst::EventView::Caps(caps) => self.set_caps(pad, caps.caps()),
            gst::EventView::Segment(segment) if pad.name() == VIDEO => {
                self.set_segment(segment.segment())
            }
            gst::EventView::FlushStop(_) if pad.name() == VIDEO => {
                self.restart();
                Ok(())
            }
            _ => Ok(()),
        };
        match result {
            Ok(()) => self.parent_sink_event(pad, event),
            Err(End::Failure(failure)) => {
                bridge::post(&*self.obj(), &failure);
                false
            }
            // whoever pushes next is told
            Err(End::Flow(_)) => false,
        }
    }

    fn aggregate(&self, timeout: bool) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.advance(timeout).map_err(|end| match end {
            End::Flow(flow) => flow,
            End::Failure(failure) => {
                bridge::post(&*self.obj(), &failure);
                gst::FlowError::Error
            }
        })
    }
}

/// Why it does not go on.
enum End {
    Failure(Failure),
    Flow(gst::FlowError),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failure(match failure {
            Failure::Engine(error) => Failure::Keyframes(format!("no frame can be made: {error}")),
            failure => failure,
        })
    }
}

impl From<gst::FlowError> for End {
    fn from(flow: gst::FlowError) -> Self {
        Self::Flow(flow)
    }
}

/// What the keyframes' pad says of a frame.
enum Next {
    /// It is this one.
    Here(Shown),
    /// It is none.
    NotHere,
    /// It is none, and no later frame is one.
    NoMore,
}

impl VideoKeyframes {
    fn new_pad(&self, name: &str) -> Option<AggregatorPad> {
        let template = self.obj().pad_template(name)?;
        let pad = gst::PadBuilder::<AggregatorPad>::from_template(&template);
        Some(pad.name(name).build())
    }

    fn pad(&self, name: &str) -> Option<AggregatorPad> {
        self.obj().static_pad(name).and_downcast()
    }

    /// What a sink pad takes: keyframes of every kind, video as downstream does.
    fn caps_of(&self, pad: &AggregatorPad) -> gst::Caps {
        let template = caps::in_system_memory();
        match pad.name() == VIDEO {
            true => self.obj().src_pad().peer_query_caps(Some(&template)),
            false => template,
        }
    }

    fn set_caps(&self, pad: &AggregatorPad, caps: &gst::CapsRef) -> Result<(), End> {
        if pad.name() != VIDEO {
            let stream = pads::stream("the keyframes' video", caps)?;
            lock(&self.streams).keyframe = Some(stream);
            return Ok(());
        }
        let stream = pads::stream("the video", caps)?;
        let before = lock(&self.streams).video.clone();
        if before.is_some_and(|before| !pads::same_pictures(&before, &stream)) {
            self.drain()?;
            // frames go back to their pools without a lock
            let old = lock(&self.sequence).take();
            drop(old);
        }
        let frames = u64::from(lock(&self.settings).lookahead.max(1));
        let wait = stream.input_duration().map(|d| {
            let wait = d.nseconds().saturating_mul(frames);
            gst::ClockTime::from_nseconds(wait.min(LONGEST_WAIT.nseconds()))
        });
        lock(&self.streams).video = Some(stream);
        self.obj().set_src_caps(&caps.to_owned());
        // of a variable rate nobody can say how long so many frames take
        self.obj().set_latency(wait.unwrap_or_default(), wait);
        Ok(())
    }

    /// What comes has other times than what was.
    fn set_segment(&self, segment: &gst::Segment) -> Result<(), End> {
        self.drain()?;
        self.restart();
        let Some(time) = segment.downcast_ref::<gst::ClockTime>() else {
            return Err(Failure::Segment(segment.format()).into());
        };
        self.obj().update_segment(time);
        Ok(())
    }

    /// Forgets the frames that wait and the keyframe before them.
    fn restart(&self) {
        while let Some(job) = self.released() {
            drop(job);
        }
        if let Some(sequence) = &mut *lock(&self.sequence) {
            sequence.forget();
        }
        let mut streams = lock(&self.streams);
        streams.flows = false;
        let old = std::mem::take(&mut streams.gaps);
        drop(streams);
        drop(old);
    }

    /// Takes a frame of the video, and what keyframe it is.
    fn advance(&self, timeout: bool) -> Result<gst::FlowSuccess, End> {
        let Some(video) = self.pad(VIDEO) else {
            return Err(gst::FlowError::Error.into());
        };
        let Some(buffer) = video.peek_buffer() else {
            if !video.is_eos() {
                return Err(AGGREGATOR_FLOW_NEED_DATA.into());
            }
            self.drain()?;
            let keys = self.pad(KEYFRAME);
            while let Some((pad, left)) = keys.as_ref().and_then(|p| Some((p, p.peek_buffer()?))) {
                match is_gap(&left) {
                    true => drop(pad.pop_buffer()),
                    false => self.leave_out(pad, &left),
                }
            }
            return Err(gst::FlowError::Eos.into());
        };
        if is_gap(&buffer) {
            video.drop_buffer();
            self.take_gap(&buffer)?;
            return Ok(gst::FlowSuccess::Ok);
        }
        let Some(stream) = lock(&self.streams).video.clone() else {
            return Err(gst::FlowError::NotNegotiated.into());
        };
        let frame = Shown { buffer, stream };
        let Some(time) = pads::running_time(&video, &frame.buffer)? else {
            video.drop_buffer();
            return Ok(gst::FlowSuccess::Ok);
        };
        let duration = frame.buffer.duration().or(frame.stream.input_duration());
        let next = match self.pad(KEYFRAME) {
            Some(pad) => self.next(&pad, time, duration)?,
            None => Some(Next::NoMore),
        };
        let Some(next) = next.or(timeout.then_some(Next::NotHere)) else {
            return Err(AGGREGATOR_FLOW_NEED_DATA.into());
        };
        video.drop_buffer();
        lock(&self.counters).input += 1;
        lock(&self.streams).gaps.came();
        let pts = frame.buffer.pts();
        let end = pts.and_then(|pts| pts.checked_add(duration.unwrap_or_default()));
        self.obj().set_position(end);
        let success = self.take(frame, next)?;
        self.release_late()?;
        Ok(success)
    }

    /// Takes a gap of the video. Where nothing has been sent of the segment yet, nobody waits for what is not there.
    fn take_gap(&self, gap: &gst::BufferRef) -> Result<(), End> {
        if let Some(end) = end_of(gap) {
            self.obj().set_position(end);
        }
        let mut streams = lock(&self.streams);
        let waits = streams.flows || streams.gaps.has_frames();
        let Some(event) = gap_event(gap).filter(|_| waits) else {
            return Ok(());
        };
        let frame = streams.video.as_ref().and_then(|s| s.input_duration());
        let frames = match (gap.duration(), frame) {
            (Some(gap), Some(frame)) => gap.nseconds().div_ceil(frame.nseconds().max(1)),
            // nobody knows how many are missing
            _ => u64::MAX,
        };
        streams.gaps.push(event, frames);
        drop(streams);
        self.release_late()?;
        self.push_gaps();
        Ok(())
    }

    /// Makes and pushes the frames that wait too long, as there is a gap behind them.
    fn release_late(&self) -> Result<(), End> {
        let lookahead = u64::from(lock(&self.settings).lookahead);
        let is_late = || lock(&self.streams).gaps.is_late(lookahead);
        while let Some(job) = is_late().then(|| self.released()).flatten() {
            self.finish(job)?;
        }
        Ok(())
    }

    /// Passes on the gaps that no frame is before any more.
    fn push_gaps(&self) {
        let due = || lock(&self.streams).gaps.due();
        while let Some(event) = due() {
            self.obj().src_pad().push_event(event);
        }
    }

    /// Which keyframe the frame at `time` is; `None`: that is not known yet. Keyframes that match no frame are left out.
    fn next(
        &self,
        pad: &AggregatorPad,
        time: gst::ClockTime,
        duration: Option<gst::ClockTime>,
    ) -> Result<Option<Next>, End> {
        loop {
            let Some(buffer) = pad.peek_buffer() else {
                return Ok(pad.is_eos().then_some(Next::NoMore));
            };
            let at = pads::running_time(pad, &buffer)?;
            if is_gap(&buffer) {
                let end = at.and_then(|at| at.checked_add(buffer.duration().unwrap_or_default()));
                if end.is_some_and(|end| pads::place(end, time, duration) == Place::After) {
                    return Ok(Some(Next::NotHere));
                }
                pad.drop_buffer();
                continue;
            }
            match at.map_or(Place::Before, |at| pads::place(at, time, duration)) {
                Place::After => return Ok(Some(Next::NotHere)),
                Place::Before => self.leave_out(pad, &buffer),
                Place::Here => {
                    let Some(stream) = lock(&self.streams).keyframe.clone() else {
                        return Err(gst::FlowError::NotNegotiated.into());
                    };
                    pad.drop_buffer();
                    return Ok(Some(Next::Here(Shown { buffer, stream })));
                }
            }
        }
    }

    /// Takes a keyframe that matches no frame from its pad.
    fn leave_out(&self, pad: &AggregatorPad, buffer: &gst::BufferRef) {
        pad.drop_buffer();
        lock(&self.counters).unmatched += 1;
        gst::element_warning!(
            self.obj(),
            gst::StreamError::Failed,
            (
                "the keyframe at {} matches no frame and is left out: give it the timestamp of the frame it shows",
                buffer.pts().display()
            )
        );
    }

    /// Takes a frame; makes and pushes what need not wait any longer.
    fn take(&self, frame: Shown, next: Next) -> Result<gst::FlowSuccess, End> {
        let mut jobs = Vec::new();
        let mut styled = None;
        {
            let mut sequence = lock(&self.sequence);
            if sequence.is_none() && matches!(next, Next::NoMore) {
                drop(sequence);
                return Ok(self.push(frame.buffer)?);
            }
            let sequence = match &mut *sequence {
                Some(sequence) => sequence,
                none => none.insert(self.new_sequence(&frame.stream)?),
            };
            match next {
                Next::Here(key) => {
                    let key = key.fitted(&frame)?;
                    jobs.extend(sequence.keyframe(&frame, &key)?);
                    styled = Some(key.restamped(&frame.buffer));
                }
                Next::NotHere => jobs.extend(sequence.push(frame)?),
                Next::NoMore => {
                    jobs.extend(sequence.push(frame)?);
                    jobs.extend(std::iter::from_fn(|| sequence.release()));
                }
            }
        }
        for job in jobs {
            self.finish(job)?;
        }
        if let Some(styled) = styled {
            lock(&self.counters).keyframes += 1;
            self.push(styled)?;
        }
        Ok(gst::FlowSuccess::Ok)
    }

    fn new_sequence(&self, stream: &Stream) -> Result<Sequence<Shown>, Failure> {
        let settings = *lock(&self.settings);
        let size = (stream.info.width(), stream.info.height());
        let threads = settings.threads as usize;
        let propagator = Propagator::new(Network::embedded()?, stream.format, size, threads)?;
        gst::debug!(category(), imp = self, "frames of {}x{}", size.0, size.1);
        Ok(Sequence::new(propagator, settings.lookahead as usize))
    }

    /// Makes and pushes all frames that wait.
    fn drain(&self) -> Result<(), End> {
        while let Some(job) = self.released() {
            self.finish(job)?;
        }
        Ok(())
    }

    /// The frame that waits longest; the lock is open again.
    fn released(&self) -> Option<Job<Shown>> {
        lock(&self.sequence).as_mut().and_then(Sequence::release)
    }

    /// Makes a frame and pushes it.
    fn finish(&self, job: Job<Shown>) -> Result<(), End> {
        if job.is_plain() {
            self.push(job.frame.buffer)?;
            return Ok(());
        }
        let solve = lock(&self.settings).solve;
        let (frame, stream) = (&job.frame, &job.frame.stream);
        let mut buffer = gst::Buffer::with_size(stream.info.size())
            .map_err(|_| Failure::Buffer("there is no memory for a frame".into()))?;
        let out = buffer.make_mut();
        let residuals = {
            let sequence = lock(&self.sequence);
            let Some(sequence) = &*sequence else {
                return Err(gst::FlowError::Flushing.into());
            };
            bridge::with_picture_mut(out, stream, |out| {
                frame.read(|picture| Ok(sequence.make(&job, picture, &solve, out)?))
            })?
        };
        allocation::copy_metas(&frame.buffer, out);
        out.set_pts(frame.buffer.pts());
        out.set_dts(frame.buffer.dts());
        out.set_duration(frame.buffer.duration());
        out.set_offset(frame.buffer.offset());
        out.set_offset_end(frame.buffer.offset_end());
        lock(&self.counters).count(job.keyframes(), residuals);
        self.push(buffer)?;
        Ok(())
    }

    fn push(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        lock(&self.counters).output += 1;
        let success = self.obj().finish_buffer(buffer)?;
        let mut streams = lock(&self.streams);
        streams.flows = true;
        streams.gaps.left();
        drop(streams);
        self.push_gaps();
        Ok(success)
    }
}
