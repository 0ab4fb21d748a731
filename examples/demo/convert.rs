//! The conversion: video is decoded, raised in rate and encoded; all else is copied.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use gst::prelude::*;

use crate::common::decode;
use crate::common::program::{PATIENCE, STUCK};
use crate::container::{self, Container};
use crate::{part, progress, subtitles};

/// Name of the element in its pipeline.
const INTERPOLATOR: &str = "interpolator";
/// Name of the first element of a bin.
const FIRST: &str = "first";
const NO_VIDEO: &str = "there is no video in it";
/// Taken where neither the file nor the caller names a rate.
const FALLBACK_RATE: i32 = 60;

/// Converts `input` to `out`; no rate: twice the input's.
pub fn run(
    input: &Path,
    out: &Path,
    container: Container,
    rate: Option<gst::Fraction>,
) -> Result<(), String> {
    let part = part(out);
    let result = convert(input, &part, container, rate);
    match result {
        Ok(summary) => {
            std::fs::rename(&part, out).map_err(|e| format!("OUT={}: {e}", out.display()))?;
            println!("{}: {summary}", out.display());
            Ok(())
        }
        Err(error) => {
            let _ = std::fs::remove_file(&part);
            Err(format!("IN={}: {error}", input.display()))
        }
    }
}

fn convert(
    input: &Path,
    out: &Path,
    container: Container,
    rate: Option<gst::Fraction>,
) -> Result<String, String> {
    let fail = |error: gst::glib::BoolError| error.to_string();
    let pipeline = gst::Pipeline::new();
    let source = container::element("filesrc", "libgstreamer1.0-0")?;
    let parser = container::element("parsebin", "gstreamer1.0-plugins-base")?;
    let queue = container::element("multiqueue", "libgstreamer1.0-0")?;
    let muxer = container.muxer()?;
    let sink = container::element("filesink", "libgstreamer1.0-0")?;
    source.set_property("location", input);
    sink.set_property("location", out);
    // A queue grows while another one is empty, so streams may lie far apart in the file.
    queue.set_property("max-size-bytes", 0u32);
    queue.set_property("max-size-time", 0u64);
    queue.set_property("max-size-buffers", 100u32);
    pipeline
        .add_many([&source, &parser, &queue, &muxer, &sink])
        .map_err(fail)?;
    source.link(&parser).map_err(fail)?;
    muxer.link(&sink).map_err(fail)?;

    let wiring = Arc::new(Wiring {
        pipeline: pipeline.downgrade(),
        queue,
        muxer,
        container,
        rate,
        turned: is_turned(input),
        has_streams: AtomicBool::new(false),
        has_video: AtomicBool::new(false),
        reached: Arc::default(),
    });
    let (streams, found) = (wiring.clone(), wiring.clone());
    parser.connect_pad_added(move |_, pad| streams.report(streams.add(pad)));
    parser.connect_no_more_pads(move |_| wiring.report(wiring.complete()));

    let started = Instant::now();
    let result = wait(&pipeline, &found.reached, out, started);
    let summary = pipeline
        .by_name(INTERPOLATOR)
        .map(|element| summary(&element, started.elapsed()));
    let _ = pipeline.set_state(gst::State::Null);
    // What a muxer says of a file of sound alone is less clear.
    if found.has_streams.load(Relaxed) {
        found.complete()?;
    }
    result?;
    summary.ok_or_else(|| NO_VIDEO.into())
}

/// Connects the streams of the file as they are found.
struct Wiring {
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    queue: gst::Element,
    muxer: gst::Element,
    container: Container,
    rate: Option<gst::Fraction>,
    /// The pictures are to be turned, as those of telephones often are.
    turned: bool,
    has_streams: AtomicBool,
    has_video: AtomicBool,
    /// Timestamp of the newest frame made, nanoseconds.
    reached: Arc<AtomicU64>,
}

impl Wiring {
    fn add(&self, pad: &gst::Pad) -> Result<(), String> {
        self.has_streams.store(true, Relaxed);
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let kind = caps
            .structure(0)
            .map_or(String::new(), |s| s.name().to_string());
        let is_picture = kind.starts_with("video/") || kind.starts_with("image/");
        if is_picture && !self.has_video.swap(true, Relaxed) {
            return self.add_video(pad);
        }
        if is_picture {
            self.leave_out(&kind, "only the first video stream is converted");
            return Ok(());
        }
        if let Some(target) = container::muxer_pad(&self.muxer, &caps) {
            return link(&self.queued(pad)?, &target);
        }
        if kind.starts_with("audio/") {
            return self.add_sound(pad, &caps);
        }
        if subtitles::have_markup(&caps)
            && let Some(target) = container::muxer_pad(&self.muxer, &subtitles::plain_caps())
        {
            subtitles::make_plain(pad);
            let queued = self.queued(pad)?;
            // The pad still tells the caps from before it was made plain.
            let unchecked = queued.link_full(&target, gst::PadLinkCheck::empty());
            return unchecked.map(|_| ()).map_err(|e| e.to_string());
        }
        let reason = format!("{} cannot hold it", self.container.name());
        self.leave_out(&kind, &reason);
        Ok(())
    }

    /// Sound that the muxer does not take as it is: AAC in other packets, or encoded again.
    fn add_sound(&self, pad: &gst::Pad, caps: &gst::Caps) -> Result<(), String> {
        let any_aac = gst::Caps::builder("audio/mpeg")
            .field("mpegversion", 4)
            .build();
        if caps.can_intersect(&any_aac) {
            let plain = gst::Caps::builder("audio/mpeg")
                .field("mpegversion", 4)
                .field("stream-format", "raw")
                .field("framed", true)
                .build();
            if let Some(target) = container::muxer_pad(&self.muxer, &plain) {
                return self.add_bin(pad, &format!("aacparse name={FIRST}"), Some(&target));
            }
        }
        let encoder = self.container.audio_encoder()?;
        let line = format!("decodebin name={FIRST} ! audioconvert ! audioresample ! {encoder}");
        self.add_bin(pad, &line, None)
    }

    fn add_video(&self, pad: &gst::Pad) -> Result<(), String> {
        // here, since muxers forget it; only where it has to be, since it knows fewer formats
        let turn = match self.turned {
            true => "! videoflip video-direction=auto",
            false => "",
        };
        let line = format!(
            "decodebin name={FIRST} ! queue ! deinterlace fields=top ! videoconvert {turn} \
             ! videointerpolate name={INTERPOLATOR} ! queue ! videoconvert ! {}",
            self.container.video_encoder()?
        );
        self.add_bin(pad, &line, None)
    }

    /// Puts elements between a stream and the muxer.
    fn add_bin(&self, pad: &gst::Pad, line: &str, target: Option<&gst::Pad>) -> Result<(), String> {
        let fail = |error: gst::glib::BoolError| error.to_string();
        let pipeline = self.pipeline.upgrade().ok_or("the pipeline is gone")?;
        let bin = bin_of(line)?;
        if let Some(element) = bin.by_name(INTERPOLATOR) {
            self.prepare(&element);
        }
        pipeline.add(&bin).map_err(fail)?;
        let end = |name| bin.static_pad(name).ok_or("a bin without ends");
        match target {
            Some(target) => link(&end("src")?, target)?,
            None => bin.link(&self.muxer).map_err(fail)?,
        }
        bin.sync_state_with_parent().map_err(fail)?;
        link(&self.queued(pad)?, &end("sink")?)
    }

    fn prepare(&self, element: &gst::Element) {
        if let Some(rate) = self.rate {
            element.set_property("framerate", rate);
        } else if let Some(pad) = element.static_pad("sink") {
            let weak = element.downgrade();
            pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
                if let (Some(element), Some(event)) = (weak.upgrade(), info.event()) {
                    name_a_rate(&element, event);
                }
                gst::PadProbeReturn::Ok
            });
        }
        let reached = self.reached.clone();
        if let Some(pad) = element.static_pad("src") {
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                if let Some(pts) = info.buffer().and_then(|buffer| buffer.pts()) {
                    reached.store(pts.nseconds(), Relaxed);
                }
                gst::PadProbeReturn::Ok
            });
        }
    }

    /// The stream behind its queue.
    fn queued(&self, pad: &gst::Pad) -> Result<gst::Pad, String> {
        let sink = self
            .queue
            .request_pad_simple("sink_%u")
            .ok_or("multiqueue gives no pad")?;
        link(pad, &sink)?;
        let name = sink.name().replace("sink", "src");
        Ok(self
            .queue
            .static_pad(&name)
            .ok_or("multiqueue gives no source pad")?)
    }

    fn leave_out(&self, kind: &str, reason: &str) {
        eprintln!("note: a stream is left out ({kind}): {reason}");
    }

    fn complete(&self) -> Result<(), String> {
        match self.has_video.load(Relaxed) {
            true => Ok(()),
            false => Err(NO_VIDEO.into()),
        }
    }

    /// Ends the conversion where a stream could not be connected.
    fn report(&self, result: Result<(), String>) {
        if let (Err(error), Some(pipeline)) = (result, self.pipeline.upgrade()) {
            let _ = pipeline.post_message(gst::message::Application::new(
                gst::Structure::builder("failed")
                    .field("why", error)
                    .build(),
            ));
        }
    }
}

/// Elements with a pad at either end; the first is named [`FIRST`], since a decoder's
/// neighbour is not yet linked and would be taken for the beginning.
fn bin_of(line: &str) -> Result<gst::Bin, String> {
    let bin = gst::parse::bin_from_description(line, false).map_err(|e| e.to_string())?;
    let first = bin.by_name(FIRST).and_then(|e| e.static_pad("sink"));
    let last = bin.find_unlinked_pad(gst::PadDirection::Src);
    for (name, pad) in [("sink", first), ("src", last)] {
        let pad = pad.ok_or("a bin without ends")?;
        let ghost = gst::GhostPad::builder_with_target(&pad)
            .map_err(|e| e.to_string())?
            .name(name)
            .build();
        bin.add_pad(&ghost).map_err(|e| e.to_string())?;
    }
    Ok(bin)
}

/// Whether the pictures of a film are to be turned before they are seen.
fn is_turned(input: &Path) -> bool {
    let mut turned = false;
    let look = |_, description: &decode::Description| {
        turned = description.turned;
        false
    };
    // what is wrong with a film, the conversion tells
    let _ = decode::for_each(input, look);
    turned
}

fn link(from: &gst::Pad, to: &gst::Pad) -> Result<(), String> {
    from.link(to)
        .map(|_| ())
        .map_err(|error| format!("{} to {}: {error}", from.name(), to.name()))
}

/// Where the caps state no rate there is nothing to double.
fn name_a_rate(element: &gst::Element, event: &gst::EventRef) {
    let gst::EventView::Caps(caps) = event.view() else {
        return;
    };
    let rate = caps
        .caps()
        .structure(0)
        .and_then(|s| s.get::<gst::Fraction>("framerate").ok());
    if rate.is_none_or(|rate| rate.numer() == 0) {
        eprintln!("note: the file states no frame rate: {FALLBACK_RATE} taken, RATE= sets another");
        element.set_property("framerate", gst::Fraction::new(FALLBACK_RATE, 1));
    }
}

fn wait(
    pipeline: &gst::Pipeline,
    reached: &AtomicU64,
    out: &Path,
    started: Instant,
) -> Result<(), String> {
    let bus = pipeline.bus().ok_or("no bus")?;
    let _ = pipeline.set_state(gst::State::Playing);
    let kinds = [
        gst::MessageType::Eos,
        gst::MessageType::Error,
        gst::MessageType::Application,
    ];
    let mut bar = progress::Bar::new(started);
    let (mut last, mut done) = (started, (0, 0));
    loop {
        let message = bus.timed_pop_filtered(gst::ClockTime::from_mseconds(250), &kinds);
        match message.as_deref().map(gst::MessageRef::view) {
            None => {
                let frames = pipeline
                    .by_name(INTERPOLATOR)
                    .map_or(0, |element| element.property::<u64>("out"));
                let length = pipeline.query_duration::<gst::ClockTime>();
                bar.show(Duration::from_nanos(reached.load(Relaxed)), length, frames);
                let now = (frames, out.metadata().map_or(0, |file| file.len()));
                if now != std::mem::replace(&mut done, now) {
                    last = Instant::now();
                }
                if last.elapsed() > PATIENCE {
                    bar.end();
                    return Err(STUCK.into());
                }
            }
            Some(gst::MessageView::Eos(_)) => break,
            Some(gst::MessageView::Error(error)) => {
                bar.end();
                return Err(error.error().to_string());
            }
            Some(gst::MessageView::Application(message)) => {
                bar.end();
                let why = message
                    .structure()
                    .and_then(|s| s.get::<String>("why").ok());
                return Err(why.unwrap_or_default());
            }
            Some(_) => {}
        }
    }
    bar.end();
    Ok(())
}

fn summary(element: &gst::Element, elapsed: Duration) -> String {
    let count = |name| element.property::<u64>(name);
    let cuts = element
        .property::<Option<gst::Structure>>("stats")
        .and_then(|stats| stats.get::<u64>("cuts").ok())
        .unwrap_or(0);
    let seconds = elapsed.as_secs_f64();
    format!(
        "{} frames in, {} out: {} interpolated, {} held, {cuts} cuts; \
         {seconds:.1} s, {:.1} frames per second",
        count("in"),
        count("out"),
        count("interpolated"),
        count("duplicate"),
        count("out") as f64 / seconds.max(1e-3),
    )
}
