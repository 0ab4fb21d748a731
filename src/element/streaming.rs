//! Buffers in, buffers out: the base class submits one and asks for outputs until there are none.

use std::sync::Arc;

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::base_transform::{
    BaseTransformImplExt, GenerateOutputSuccess, InputBuffer, PrepareOutputBufferSuccess,
};

use super::bridge::{self, Failure, Mapped, Stream};
use super::imp::VideoInterpolate;
use super::qos::Verdict;
use super::state::Source;
use super::{allocation, meta};
use crate::repeats;
use crate::schedule::{Arrival, Job, Pushed, Side, Slot};

/// Which end of a run of frames has come, see [`crate::schedule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// New pictures, or a new stream: the grid goes on.
    Caps,
    /// With its end, where upstream says so.
    Gap(Option<gst::ClockTime>),
    /// End of the segment; more may follow.
    Segment,
    Stream,
}

impl VideoInterpolate {
    pub(super) fn submit(
        &self,
        discont: bool,
        mut buffer: gst::Buffer,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        if !self.obj().reconfigure() {
            return Err(self.not_negotiated());
        }
        let stream = self.state().stream.clone();
        let stream = stream.ok_or_else(|| self.not_negotiated())?;
        if stream.passthrough {
            let mut state = self.state();
            state.counters.input += 1;
            if !state.captions.is_empty() {
                state.captions.pass(buffer.make_mut());
            }
            state.passing = Some(buffer);
            return Ok(gst::FlowSuccess::Ok);
        }
        self.model.wait()?;
        bridge::layout(&buffer, &stream).map_err(|failure| self.report(&failure))?;
        let repeats = self.repeats_last(&buffer, &stream);
        let repeats = repeats.map_err(|failure| self.report(&failure))?;
        if self.schedule(discont, repeats, buffer, stream) {
            self.post_latency();
        }
        Ok(gst::FlowSuccess::Ok)
    }

    /// Whether an input repeats the one before it; not looked at where nobody wants to know.
    fn repeats_last(&self, buffer: &gst::BufferRef, stream: &Stream) -> Result<bool, Failure> {
        let last = {
            let state = self.state();
            let scheduler = state.scheduler.as_ref();
            let looks = scheduler.is_some_and(|s| s.looks_for_repeats());
            state.last.clone().filter(|_| looks)
        };
        let Some(last) = last else {
            return Ok(false);
        };
        let before = Mapped::new(&last.buffer, &last.stream)?;
        let now = Mapped::new(buffer, stream)?;
        let change = repeats::change(&before.picture()?, &now.picture()?);
        let is_repeat = self.state().repeats.is_repeat(change);
        Ok(is_repeat && meta::same_overlays(&last.buffer, buffer))
    }

    fn not_negotiated(&self) -> gst::FlowError {
        if self
            .obj()
            .src_pad()
            .pad_flags()
            .contains(gst::PadFlags::FLUSHING)
        {
            gst::FlowError::Flushing
        } else {
            gst::FlowError::NotNegotiated
        }
    }

    /// Gives an input to the scheduler; true if that changed the latency.
    fn schedule(
        &self,
        discont: bool,
        repeats: bool,
        buffer: gst::Buffer,
        stream: Arc<Stream>,
    ) -> bool {
        let (pts, duration) = (buffer.pts(), buffer.duration());
        let duration = duration
            .filter(|d| !d.is_zero())
            .or(stream.input_duration());
        let mut state = self.state();
        let state = &mut *state;
        let Some(scheduler) = &mut state.scheduler else {
            return false;
        };
        state.counters.input += 1;
        // downstream refused an output, and those behind it were not asked for
        while scheduler.poll().is_some() {
            state.left_out = true;
        }
        let ns_of_duration = duration.map(|d| d.nseconds());
        let place = scheduler.place(bridge::timestamp(pts), ns_of_duration);
        let ns = place.map_or(0, |t| t.0);
        let dropped = state.counters.dropped.clone();
        let source = Arc::new(Source::new(buffer, ns, stream.clone(), dropped));
        // whatever becomes of the picture, its captions find another
        let reverse = scheduler.config().reverse;
        state.captions.push(&source.buffer, ns, reverse);
        let arrival = Arrival {
            pts: place,
            duration: ns_of_duration,
            discont,
            repeats,
        };
        let left_out = scheduler.counters().repeats;
        match scheduler.push(source.clone(), arrival) {
            Pushed::Accepted => state.last = Some(source),
            Pushed::Dropped => gst::debug!(
                bridge::category(),
                imp = self,
                "dropped a buffer at {}: it does not come after the one before",
                pts.display()
            ),
            Pushed::Discarded => gst::warning!(
                bridge::category(),
                imp = self,
                "discarded a buffer without timestamp"
            ),
        }
        state.counters.repeats += scheduler.counters().repeats - left_out;
        // nothing is waited for across a longer gap
        let longest = gst::ClockTime::from_nseconds(scheduler.config().max_gap);
        let before = state.latency();
        if stream.input_duration().is_none() {
            state.interval = pts
                .zip(state.last_pts)
                .map(|(a, b)| a.max(b) - a.min(b))
                .filter(|interval| *interval <= longest)
                .max(state.interval);
        }
        state.last_pts = pts.or(state.last_pts);
        state.latency() != before
    }

    pub(super) fn generate(&self) -> Result<GenerateOutputSuccess, gst::FlowError> {
        {
            let mut state = self.state();
            if let Some(buffer) = state.passing.take() {
                state.counters.output += 1;
                return Ok(GenerateOutputSuccess::Buffer(buffer));
            }
        }
        while let Some(job) = self.next_job() {
            if let Some(buffer) = self.produce(job, false)? {
                return Ok(GenerateOutputSuccess::Buffer(buffer));
            }
        }
        Ok(GenerateOutputSuccess::NoOutput)
    }

    fn next_job(&self) -> Option<Job<Arc<Source>>> {
        self.state().scheduler.as_mut()?.poll()
    }

    /// Sends out all that is owed to the frames so far, unless the last one could not be made: then the stream has ended with an
    /// error. No lock is held while pushing.
    pub(super) fn drain(&self, end: End) {
        let mut jobs = self.last_jobs(end).into_iter().peekable();
        if self.state().failed {
            return;
        }
        while let Some(job) = jobs.next() {
            let last = end != End::Caps && jobs.peek().is_none();
            let result = match self.produce(job, last) {
                Ok(Some(buffer)) => self.obj().src_pad().push(buffer).map(drop),
                Ok(None) => Ok(()),
                Err(e) => Err(e),
            };
            if let Err(e) = result {
                // the event or the next buffer meets the same state downstream and answers for it
                gst::debug!(bridge::category(), imp = self, "draining ended with {e}");
                break;
            }
        }
        match end {
            End::Caps | End::Gap(_) => (),
            End::Segment => {
                let mut state = self.state();
                let reverse = state.is_reverse();
                state.captions.hurry(reverse);
            }
            End::Stream => self.send_left_captions(),
        }
    }

    /// At a lower output rate the captions of the last inputs may find no output any more: then
    /// the last frame is shown once again with them.
    fn send_left_captions(&self) {
        let (last, at) = {
            let mut state = self.state();
            let at = state.slot_behind().filter(|_| !state.captions.is_empty());
            (state.last.take(), at)
        };
        if let (Some(frame), Some(at)) = (last, at) {
            let held = true;
            let job = Job::Show { frame, at, held };
            if let Ok(Some(buffer)) = self.produce(job, true) {
                // as above: the event answers for what happens downstream
                let _ = self.obj().src_pad().push(buffer);
            }
        }
    }

    fn last_jobs(&self, end: End) -> Vec<Job<Arc<Source>>> {
        let mut state = self.state();
        let Some(scheduler) = &mut state.scheduler else {
            return Vec::new();
        };
        match end {
            End::Caps => scheduler.drain(),
            End::Gap(end) => scheduler.gap(bridge::timestamp(end)),
            End::Segment | End::Stream => scheduler.finish(),
        }
        std::iter::from_fn(|| scheduler.poll()).collect()
    }

    /// Makes the buffer of a job, or none if it came too late to be worth it.
    fn produce(
        &self,
        job: Job<Arc<Source>>,
        last: bool,
    ) -> Result<Option<gst::Buffer>, gst::FlowError> {
        let at = job.at();
        let made = match self.judge(&at) {
            Verdict::OnTime => self.make(job),
            Verdict::Degrade(jitter) => self.hold_late(job, jitter),
            Verdict::Drop(jitter) => {
                self.drop_late(&at, jitter);
                return Ok(None);
            }
        };
        let mut buffer = made.map_err(|e| match e {
            Stopped::Flow(e) => e,
            Stopped::Failure(failure) => {
                self.state().failed = true;
                self.report(&failure)
            }
        })?;
        let mut state = self.state();
        state.counters.output += 1;
        state.failed = false;
        state.last_slot = Some(at);
        let reverse = state.is_reverse();
        let writable = buffer.make_mut();
        if std::mem::take(&mut state.left_out) {
            writable.set_flags(gst::BufferFlags::DISCONT);
        }
        state.captions.attach(writable, &at, reverse, last);
        Ok(Some(buffer))
    }

    /// The buffer of a job for which there is time.
    pub(super) fn make(&self, job: Job<Arc<Source>>) -> Result<gst::Buffer, Stopped> {
        match job {
            Job::Show { frame, at, held } => {
                self.follow(|state| state.tiers.output(None, state.lasts(&at)));
                self.show(&frame, &at, held)
            }
            Job::Extrapolate {
                before,
                last,
                reach,
                held,
                at,
            } => match self.extrapolate(&before, &last, reach, &at)? {
                None => self.show(&last, &at, held),
                Some(buffer) => Ok(buffer),
            },
            Job::Interpolate {
                left,
                right,
                after,
                phase,
                nearer,
                before,
                at,
            } => match self.interpolate(&left, &right, after.as_ref(), phase, &at)? {
                None => {
                    let nearer = side(&left, &right, nearer);
                    self.up_to_cut(before.as_ref(), &left, nearer, phase, &at)
                }
                Some(buffer) => Ok(buffer),
            },
        }
    }

    pub(super) fn post(&self, message: gst::Message) {
        // without a bus there is nobody to tell
        let _ = self.obj().post_message(message);
    }

    pub(super) fn post_latency(&self) {
        self.post(gst::message::Latency::builder().src(&*self.obj()).build());
    }

    /// Posts a failure and says what the stream ends with.
    fn report(&self, failure: &Failure) -> gst::FlowError {
        bridge::post(&*self.obj(), failure);
        gst::FlowError::Error
    }

    /// A source frame at a time of the grid: its memory is shared, no pixel moves. Where maps are
    /// to be seen, the latest map stands in for it.
    pub(super) fn show(
        &self,
        source: &Arc<Source>,
        at: &Slot,
        held: bool,
    ) -> Result<gst::Buffer, Stopped> {
        source.mark_used();
        // who takes a card's memory reads where the planes lie from it
        let movable = source.stream.is_on_card() || self.state().downstream.video_meta;
        let map = self.latest_map(source, at)?;
        let is_map = map.is_some();
        let mut buffer = if let Some(map) = map {
            map
        } else if movable || allocation::is_packed(&source.buffer, &source.stream) {
            allocation::reference(&source.buffer)
        } else {
            self.repacked(source)?
        };
        let writable = buffer.make_mut();
        meta::finish_shown(writable, at, held);
        if is_map {
            // not the picture before it once more: at a cut it is another map
            writable.unset_flags(gst::BufferFlags::GAP);
        }
        self.add_timecode(writable, source, at);
        if held {
            self.state().counters.duplicate += 1;
        }
        Ok(buffer)
    }

    /// A copy whose planes lie as downstream expects them.
    fn repacked(&self, source: &Source) -> Result<gst::Buffer, Stopped> {
        let mut copy = self.acquire(source)?;
        let writable = copy.make_mut();
        let mapped = Mapped::new(&source.buffer, &source.stream)?;
        let picture = mapped.picture()?;
        bridge::with_picture_mut(writable, &source.stream, |out| Ok(out.copy_from(&picture)?))?;
        allocation::copy_metas(&source.buffer, writable);
        Ok(copy)
    }

    /// An empty buffer of downstream's pool.
    pub(super) fn acquire(&self, source: &Source) -> Result<gst::Buffer, Stopped> {
        let input = InputBuffer::Readable(&source.buffer);
        match self
            .parent_prepare_output_buffer(input)
            .map_err(Stopped::Flow)?
        {
            PrepareOutputBufferSuccess::Buffer(buffer) => Ok(buffer),
            PrepareOutputBufferSuccess::InputBuffer => Err(Stopped::Flow(gst::FlowError::Error)),
        }
    }

    /// The rates are those of now: they may have changed since the source came.
    pub(super) fn add_timecode(&self, output: &mut gst::BufferRef, source: &Source, at: &Slot) {
        let (stream, lookahead) = {
            let state = self.state();
            (state.stream.clone(), state.lookahead())
        };
        let stream = stream.as_ref().unwrap_or(&source.stream);
        let longest = u32::try_from(lookahead.max(1)).unwrap_or(u32::MAX);
        meta::add_timecode(output, &source.buffer, source.pts, at, (stream, longest));
    }
}

/// Why there is no buffer.
pub enum Stopped {
    /// Said by GStreamer, or a message is out already.
    Flow(gst::FlowError),
    /// Nobody knows yet.
    Failure(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Stopped::Failure(failure)
    }
}

/// The neighbour on that side.
pub(super) fn side<'a>(
    left: &'a Arc<Source>,
    right: &'a Arc<Source>,
    side: Side,
) -> &'a Arc<Source> {
    match side {
        Side::Left => left,
        Side::Right => right,
    }
}
