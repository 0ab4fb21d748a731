//! What the element remembers between two calls.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::bridge::Stream;
use super::latency::Processing;
use super::meta::CaptionQueue;
use super::properties::{DuplicateMode, Motion, Settings};
use super::qos::Qos;
use super::tiers::Tiers;
use crate::error::Error;
use crate::interpolator::{Encoded, Interpolator};
use crate::network::Variant;
use crate::picture::Picture;
use crate::repeats::Repeats;
use crate::schedule::{COINCIDENCE_TOLERANCE, Config, Scheduler, Slot, Timestamp};

/// What lies beyond says nothing about how fast the machine must be.
const LONGEST_OUTPUT: Duration = Duration::from_secs(1);

pub type TimeSegment = gst::FormattedSegment<gst::ClockTime>;

/// An input frame: the buffer, and what the network saw of it once it was needed.
pub struct Source {
    pub buffer: gst::Buffer,
    /// Nanoseconds.
    pub pts: u64,
    pub stream: Arc<Stream>,
    encoded: Mutex<Option<Arc<Encoded>>>,
    /// Whether an output was made of it.
    used: AtomicBool,
    dropped: Arc<AtomicU64>,
}

impl Source {
    /// `dropped` counts the sources that go without having been used.
    pub fn new(
        buffer: gst::Buffer,
        pts: u64,
        stream: Arc<Stream>,
        dropped: Arc<AtomicU64>,
    ) -> Self {
        Source {
            buffer,
            pts,
            stream,
            encoded: Mutex::default(),
            used: AtomicBool::new(false),
            dropped,
        }
    }

    /// What the network sees of its `picture`; made unless that was done for the network that runs.
    pub fn encoded(
        &self,
        interpolator: &mut Interpolator,
        picture: &Picture,
    ) -> Result<Arc<Encoded>, Error> {
        match self.known(interpolator) {
            Some(known) => Ok(known),
            None => self.encode(|| interpolator.encode(picture)),
        }
    }

    /// What the network that runs saw of it, if it did.
    pub fn known(&self, interpolator: &Interpolator) -> Option<Arc<Encoded>> {
        let known = self.slot().clone();
        known.filter(|known| interpolator.fits(known))
    }

    /// Keeps what `encode` makes of it.
    pub fn encode(
        &self,
        encode: impl FnOnce() -> Result<Arc<Encoded>, Error>,
    ) -> Result<Arc<Encoded>, Error> {
        // first, for its memory may be the card's
        self.forget();
        let made = encode()?;
        *self.slot() = Some(made.clone());
        Ok(made)
    }

    /// Lets go of what the network saw of it.
    pub fn forget(&self) {
        let old = self.slot().take();
        drop(old);
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Encoded>>> {
        self.encoded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn mark_used(&self) {
        self.used.store(true, Ordering::Relaxed);
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if !*self.used.get_mut() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Counted since the start or the last flush.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    pub input: u64,
    pub output: u64,
    pub interpolated: u64,
    pub duplicate: u64,
    /// Input frames no output was made of.
    pub dropped: Arc<AtomicU64>,
    /// Outputs at a cut.
    pub cuts: u64,
    /// Inputs left out because they repeat the one before.
    pub repeats: u64,
    /// Frames whose motion was estimated again.
    pub reestimated: u64,
    /// Outputs held instead of interpolated because downstream was late.
    pub degraded: u64,
    /// Outputs left out because downstream was late.
    pub late: u64,
    inference_total: Duration,
    pub inference_worst: Duration,
    inferences: u32,
}

impl Counters {
    pub fn inferred(&mut self, took: Duration) {
        self.inference_total += took;
        self.inference_worst = self.inference_worst.max(took);
        self.inferences += 1;
    }

    pub fn inference_mean(&self) -> Duration {
        self.inference_total / self.inferences.max(1)
    }

    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// What downstream said in its answer to the ALLOCATION query.
#[derive(Debug, Default)]
pub struct Downstream {
    /// It takes planes that lie anywhere.
    pub video_meta: bool,
    /// It draws overlays itself: the parameters of its offer.
    pub overlays: Option<Option<gst::Structure>>,
}

/// Everything that changes while streaming, but the engine. Never locked across a call that
/// leaves the element.
#[derive(Default)]
pub struct State {
    pub stream: Option<Arc<Stream>>,
    /// The last caps, if an error about them is out.
    pub refused: Option<gst::Caps>,
    /// There is none in passthrough.
    pub scheduler: Option<Scheduler<Arc<Source>>>,
    /// In passthrough: the buffer between submit and generate.
    pub passing: Option<gst::Buffer>,
    pub segment: Option<TimeSegment>,
    /// A new stream has begun: its segment is news even if it is the same.
    pub segment_owed: bool,
    pub captions: CaptionQueue,
    /// The last input and the last output's place, for captions that are left over at the end; the
    /// next input may repeat the last.
    pub last: Option<Arc<Source>>,
    /// Tells whether an input repeats `last`.
    pub repeats: Repeats,
    pub last_slot: Option<Slot>,
    pub counters: Counters,
    pub qos: Qos,
    /// Which size of the built-in network `quality=auto` runs.
    pub tiers: Tiers,
    /// Downstream goes against a clock: it has sent QOS events.
    pub paced: bool,
    /// The last output could not be made, and an error is out.
    pub failed: bool,
    /// An output was left out: the next one is not its neighbour.
    pub left_out: bool,
    pub processing: Processing,
    pub downstream: Downstream,
    /// It was said that there is no motion whose coherence could be looked at.
    pub told_blind: bool,
    /// Upstream is live, as the last LATENCY query said.
    pub live: bool,
    /// Time between the last two inputs, for streams without a rate.
    pub interval: Option<gst::ClockTime>,
    pub last_pts: Option<gst::ClockTime>,
}

impl State {
    /// A scheduler for the stream and the segment.
    pub fn new_scheduler(&self, stream: &Stream, settings: &Settings) -> Scheduler<Arc<Source>> {
        let bounds = self.segment.as_ref().map(bounds).unwrap_or_default();
        Scheduler::new(Config {
            rate: stream.rate(),
            tolerance: COINCIDENCE_TOLERANCE,
            max_gap: settings.max_gap.nseconds(),
            reverse: bounds.reverse,
            start: bounds.start,
            stop: bounds.stop,
            interpolate: bounds.interpolate,
            retime: settings.duplicate_mode == DuplicateMode::Auto,
            outer: settings.motion == Motion::Trajectory,
            ahead: settings.ahead(),
        })
    }

    /// True if that changed the latency.
    pub fn set_max_gap(&mut self, max_gap: gst::ClockTime) -> bool {
        let before = self.latency();
        if let Some(scheduler) = &mut self.scheduler {
            scheduler.set_max_gap(max_gap.nseconds());
        }
        self.latency() != before
    }

    /// Forgets what belongs to the frames so far; keeps caps and what was measured.
    pub fn flush(&mut self) {
        if let Some(scheduler) = &mut self.scheduler {
            scheduler.reset();
        }
        self.passing = None;
        self.segment = None;
        self.captions.clear();
        self.last = None;
        self.repeats = Repeats::default();
        self.last_slot = None;
        self.counters = Counters::default();
        self.qos = Qos::default();
        self.tiers.flush();
        self.failed = false;
        self.left_out = false;
        self.last_pts = None;
    }

    /// For how long an output is seen.
    pub fn lasts(&self, at: &Slot) -> Duration {
        let rate = self.segment.as_ref().map_or(1.0, |s| s.rate().abs());
        let seconds = Duration::from_nanos(at.duration).as_secs_f64() / rate;
        let lasts = Duration::try_from_secs_f64(seconds);
        lasts.map_or(LONGEST_OUTPUT, |lasts| lasts.min(LONGEST_OUTPUT))
    }

    pub fn is_reverse(&self) -> bool {
        self.segment.as_ref().is_some_and(|s| s.rate() < 0.0)
    }

    /// The place behind the last output, if it lies inside the segment.
    pub fn slot_behind(&self) -> Option<Slot> {
        let last = self.last_slot?;
        let bounds = self.segment.as_ref().map(bounds).unwrap_or_default();
        let pts = if bounds.reverse {
            last.pts.0.checked_sub(last.duration)?
        } else {
            last.pts.0.checked_add(last.duration)?
        };
        let inside = pts >= bounds.start && bounds.stop.is_none_or(|stop| pts < stop);
        inside.then_some(Slot {
            pts: Timestamp(pts),
            index: last.index.saturating_add(1),
            discont: false,
            ..last
        })
    }

    /// Inputs that may have to arrive after an output's time before it can be made.
    pub fn lookahead(&self) -> u64 {
        let interval = self.stream.as_ref().and_then(|s| s.input_duration());
        let interval = interval.unwrap_or_default().nseconds();
        self.scheduler.as_ref().map_or(1, |s| s.lookahead(interval))
    }

    /// Inputs that tell of an output: the pair, the one before, and those waited for.
    pub fn window(&self) -> u64 {
        self.lookahead().max(1) + 2
    }

    /// What this element adds to the latency: time until an output can be made and until it is,
    /// and how much of that is buffered.
    pub fn latency(&self) -> Latency {
        let (Some(stream), Some(_)) = (&self.stream, &self.scheduler) else {
            return Latency::default();
        };
        let interval = stream
            .input_duration()
            .or(self.interval)
            .unwrap_or_default();
        let buffered = interval * self.lookahead();
        Latency {
            min: buffered + self.processing.reported(),
            buffered,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Latency {
    pub min: gst::ClockTime,
    pub buffered: gst::ClockTime,
}

/// What the scheduler wants to know of a segment.
#[derive(Debug)]
pub struct Bounds {
    pub start: u64,
    pub stop: Option<u64>,
    pub reverse: bool,
    pub interpolate: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            start: 0,
            stop: None,
            reverse: false,
            interpolate: true,
        }
    }
}

/// Trick modes want frames fast: they are held, not interpolated.
pub fn bounds(segment: &TimeSegment) -> Bounds {
    let trick = gst::SegmentFlags::TRICKMODE
        | gst::SegmentFlags::TRICKMODE_KEY_UNITS
        | gst::SegmentFlags::TRICKMODE_FORWARD_PREDICTED;
    Bounds {
        start: segment.start().map_or(0, |t| t.nseconds()),
        stop: segment.stop().map(|t| t.nseconds()),
        reverse: segment.rate() < 0.0,
        interpolate: !segment.flags().intersects(trick),
    }
}

/// The interpolator and what it was made for. Used by the streaming thread alone.
pub struct Engine {
    pub interpolator: Interpolator,
    pub caps: gst::Caps,
    /// Size of the built-in network, if that runs.
    pub variant: Option<Variant>,
}
