//! Buffers in, buffers out: the base class submits one and asks for outputs until there are none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::base_transform::{
    BaseTransformImplExt, GenerateOutputSuccess, InputBuffer, PrepareOutputBufferSuccess,
};

use super::bridge::{self, Failure, Mapped, Stream};
use super::economy::Economy;
use super::imp::VideoInterpolate;
use super::model::Loaded;
use super::properties::Show;
use super::qos::{FULL_QUALITY, HELD_QUALITY, Verdict};
use super::state::{Engine, Source, State};
use super::{allocation, meta, stats, there, tiers};
use crate::interpolator::{After, Interpolator, Outcome, Turbulence};
use crate::kernels::{Context, PhaseMap};
use crate::network::{self, Variant};
use crate::repeats;
use crate::schedule::{Arrival, Job, Outer, Phase, Pushed, Side, Slot};

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
        let at = match &job {
            Job::Show { at, .. } | Job::Interpolate { at, .. } | Job::Extrapolate { at, .. } => *at,
        };
        let verdict = self.judge(&at);
        if let Verdict::Drop(jitter) = verdict {
            {
                let mut state = self.state();
                state.counters.late += 1;
                state.left_out = true;
            }
            self.post_qos(&at, jitter, HELD_QUALITY);
            self.left_out(&at);
            return Ok(None);
        }
        let buffer = match (job, verdict) {
            (Job::Show { frame, at, held }, _) => {
                self.follow(|state| state.tiers.output(None, state.lasts(&at)));
                self.show(&frame, &at, held)
            }
            (Job::Extrapolate { last, at, held, .. }, Verdict::Degrade(jitter)) => {
                self.state().counters.degraded += 1;
                self.post_qos(&at, jitter, HELD_QUALITY);
                self.left_out(&at);
                self.show(&last, &at, held)
            }
            (
                Job::Extrapolate {
                    before,
                    last,
                    reach,
                    held,
                    at,
                },
                _,
            ) => match self.extrapolate(&before, &last, reach, &at) {
                Ok(None) => self.show(&last, &at, held),
                Ok(Some(buffer)) => Ok(buffer),
                Err(e) => Err(e),
            },
            (
                Job::Interpolate {
                    left,
                    right,
                    nearer,
                    at,
                    ..
                },
                Verdict::Degrade(jitter),
            ) => {
                self.state().counters.degraded += 1;
                self.post_qos(&at, jitter, HELD_QUALITY);
                self.left_out(&at);
                self.show(side(&left, &right, nearer), &at, true)
            }
            (
                Job::Interpolate {
                    left,
                    right,
                    after,
                    phase,
                    nearer,
                    before,
                    at,
                },
                _,
            ) => match self.interpolate(&left, &right, after.as_ref(), phase, &at) {
                Ok(None) => {
                    let nearer = side(&left, &right, nearer);
                    self.up_to_cut(before.as_ref(), &left, nearer, phase, &at)
                }
                Ok(Some(buffer)) => Ok(buffer),
                Err(e) => Err(e),
            },
        };
        let mut buffer = buffer.map_err(|e| match e {
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

    fn judge(&self, at: &Slot) -> Verdict {
        if !self.obj().is_qos() {
            return Verdict::OnTime;
        }
        let state = self.state();
        let time = bridge::clock_time(at.pts);
        let running_time = state.segment.as_ref().and_then(|s| s.to_running_time(time));
        state.qos.judge(running_time)
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

    /// The picture between two, or none if there is a cut between them.
    fn interpolate(
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

    /// Runs the interpolator for these `sources` of `stream`, made anew if they are of another kind. Where a card has too little memory
    /// for it, it makes do with less of it, or none.
    pub(super) fn with_engine<T>(
        &self,
        stream: &Stream,
        sources: [Option<&Source>; 3],
        mut run: impl FnMut(&mut Interpolator) -> Result<T, Failure>,
    ) -> Result<T, Stopped> {
        loop {
            match self.try_engine(stream, &mut run) {
                Err(Stopped::Failure(Failure::DeviceMemory(problem))) => {
                    // first, for its memory is the card's
                    sources.iter().flatten().for_each(|source| source.forget());
                    self.economise(stream, problem)?;
                }
                result => return result,
            }
        }
    }

    /// Answers a card's lack of memory with the next step of [`Economy`] for pictures of `stream`, and warns of it.
    fn economise(&self, stream: &Stream, problem: String) -> Result<(), Stopped> {
        self.drop_engine();
        let loaded = self.model.wait().map_err(Stopped::Flow)?;
        if loaded.gpu.is_none() {
            return Err(Stopped::Failure(Failure::DeviceMemory(problem)));
        }
        let variant = self.variant();
        let size = (stream.info.height() as usize, stream.info.width() as usize);
        let network = network_of(&loaded, variant)?;
        let step = Economy::next(&network, &self.options(&loaded), size, variant);
        self.model.economise(step);
        if step.goes_on(loaded.economy) {
            gst::info!(bridge::category(), imp = self, "{problem}; {step:?}");
            return Ok(());
        }
        gst::element_imp_warning!(
            self,
            gst::ResourceError::NoSpaceLeft,
            ("{problem}; {}", step.text())
        );
        Ok(())
    }

    /// The options that the network runs with.
    fn options(&self, loaded: &Loaded) -> network::published::Options {
        let options = self.settings().network();
        match loaded.economy {
            Some(economy) => economy.options(options),
            None => options,
        }
    }

    fn try_engine<T>(
        &self,
        stream: &Stream,
        run: &mut impl FnMut(&mut Interpolator) -> Result<T, Failure>,
    ) -> Result<T, Stopped> {
        let loaded = self.model.wait().map_err(Stopped::Flow)?;
        let variant = self.variant();
        let mut slot = self.engine();
        let old = slot.take();
        let engine = self.engine_for(old, stream, loaded, variant)?;
        Ok(run(&mut slot.insert(engine).interpolator)?)
    }

    /// The engine for pictures of `stream` and the network that is to run: the old one as far as it fits.
    fn engine_for(
        &self,
        old: Option<Engine>,
        stream: &Stream,
        loaded: Loaded,
        variant: Option<Variant>,
    ) -> Result<Engine, Failure> {
        let mut old = old.filter(|e| super::caps::same_picture(&e.caps, &stream.caps));
        if let Some(engine) = old.take_if(|e| e.variant == variant) {
            return Ok(engine);
        }
        let model = network_of(&loaded, variant)?;
        if let Some(mut engine) = old {
            engine.interpolator.set_network(model)?;
            return Ok(Engine { variant, ..engine });
        }
        let threads = self.settings().threads as usize;
        let options = self.options(&loaded);
        let size = (stream.info.width(), stream.info.height());
        let context = Context::new(threads)?.on(loaded.gpu);
        let context = context.with_way(loaded.trial.way);
        let (format, context) = (stream.format, &context);
        Ok(Engine {
            interpolator: Interpolator::with_context(model, format, size, context, options)?,
            caps: stream.caps.clone(),
            variant,
        })
    }

    /// The size of the built-in network that is to run; none where a model was given.
    pub(super) fn variant(&self) -> Option<Variant> {
        let (qos, found) = (self.obj().is_qos(), self.state().tiers.runs());
        let variant = self.settings().variant(found, qos);
        match self.model.economy() {
            Some(Economy::Fast) => variant.and(Some(Variant::Fast)),
            _ => variant,
        }
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

/// The network that is to run: the built-in one of this size, or the one that was loaded.
fn network_of(loaded: &Loaded, variant: Option<Variant>) -> Result<network::Model, Failure> {
    Ok(match variant {
        Some(variant) => variant.network()?.into(),
        None => loaded.network.clone(),
    })
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
fn side<'a>(left: &'a Arc<Source>, right: &'a Arc<Source>, side: Side) -> &'a Arc<Source> {
    match side {
        Side::Left => left,
        Side::Right => right,
    }
}
