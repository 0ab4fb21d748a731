//! A harness with both ends in the test's hands, and a watchdog: what hangs, fails.

#![allow(dead_code)] // every module takes what it needs

use std::sync::Once;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use gst::prelude::*;
use gst_check::Harness;
use tempfile::TempPath;

/// Longer than any test takes on a slow, busy machine.
const LIMIT: Duration = Duration::from_secs(120);

pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000 * MS;

/// GStreamer with the element in it.
pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().unwrap();
        gstvideointerpolate::plugin_register_static().unwrap();
    });
}

/// Runs a test in a thread and fails it if it does not end.
pub fn watched(test: impl FnOnce() + Send + 'static) {
    watched_for(LIMIT, test);
}

/// As [`watched`], for a test that has much to do.
pub fn watched_for(limit: Duration, test: impl FnOnce() + Send + 'static) {
    init();
    let (sender, receiver) = mpsc::channel();
    let thread = thread::Builder::new()
        .name(thread::current().name().unwrap_or("test").into())
        .spawn(move || {
            test();
            let _ = sender.send(());
        })
        .unwrap();
    match receiver.recv_timeout(limit) {
        Err(RecvTimeoutError::Timeout) => panic!("still running after {limit:?}: a deadlock?"),
        // it ended or panicked
        _ => {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// A file that looks like a model by its name; it goes when dropped.
pub fn file(contents: &[u8]) -> TempPath {
    let file = tempfile::Builder::new().suffix(".safetensors").tempfile();
    let path = file.unwrap().into_temp_path();
    std::fs::write(&path, contents).unwrap();
    path
}

/// A new element with properties set from text.
pub fn element(properties: &[(&str, &str)]) -> gst::Element {
    init();
    let element = gst::ElementFactory::make("videointerpolate")
        .build()
        .unwrap();
    for (name, value) in properties {
        element.set_property_from_str(name, value);
    }
    element
}

/// Small I420 pictures at a rate.
pub fn caps(framerate: &str) -> String {
    format!(
        "video/x-raw, format=I420, width=32, height=16, framerate={framerate}, interlace-mode=progressive, pixel-aspect-ratio=1/1"
    )
}

/// The element between a source and a sink pad of the test.
pub struct Rig {
    pub harness: Harness,
    pub element: gst::Element,
    pub bus: gst::Bus,
    info: gst_video::VideoInfo,
}

impl Rig {
    /// `input`: fixed caps, pushed at once, with a segment from 0; `output`: what downstream takes.
    pub fn new(properties: &[(&str, &str)], input: &str, output: &str) -> Self {
        let mut rig = Self::without_caps(properties, output);
        rig.set_input(input);
        rig
    }

    /// As [`Rig::new`], but nothing has been pushed.
    pub fn without_caps(properties: &[(&str, &str)], output: &str) -> Self {
        let element = element(properties);
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
        harness.set_sink_caps(output.parse().unwrap());
        harness.play();
        Rig {
            harness,
            element,
            bus,
            info: info(&caps("25/1")),
        }
    }

    /// From one fixed rate to another.
    pub fn rates(input: &str, output: &str) -> Self {
        let any = format!("video/x-raw, framerate={output}");
        Self::new(&[], &caps(input), &any)
    }

    /// Pushes (stream start, segment and) new caps.
    pub fn set_input(&mut self, input: &str) {
        self.info = info(input);
        self.harness.set_src_caps(input.parse().unwrap());
    }

    /// A picture of one grey with a time, no duration.
    pub fn picture(&self, pts: u64, grey: u8) -> gst::Buffer {
        picture(&self.info, pts, grey)
    }

    pub fn push(&mut self, pts: u64) -> Result<gst::FlowSuccess, gst::FlowError> {
        let buffer = self.picture(pts, (pts / MS) as u8);
        self.harness.push(buffer)
    }

    /// All outputs since the last call.
    pub fn outputs(&mut self) -> Vec<gst::Buffer> {
        std::iter::from_fn(|| self.harness.try_pull()).collect()
    }

    /// Timestamps (ns) of all outputs since the last call.
    pub fn times(&mut self) -> Vec<u64> {
        self.outputs().iter().map(time).collect()
    }

    pub fn eos(&mut self) {
        assert!(self.harness.push_event(gst::event::Eos::new()));
    }

    pub fn segment(&mut self, segment: &gst::FormattedSegment<gst::ClockTime>) -> bool {
        self.harness.push_event(gst::event::Segment::new(segment))
    }

    /// The rate on the source pad.
    /// Three frames of 25 a second, a flush, and three from 3 s on; when what comes after the flush is shown, in milliseconds.
    pub fn times_after_a_flush(&mut self) -> Vec<u64> {
        for at in [0, 40, 80] {
            self.push(at * MS).unwrap();
        }
        self.outputs();
        self.harness.push_event(gst::event::FlushStart::new());
        self.harness.push_event(gst::event::FlushStop::new(true));
        let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
        segment.set_start(gst::ClockTime::from_seconds(3));
        assert!(self.segment(&segment));
        for at in [3000, 3040, 3080] {
            self.push(at * MS).unwrap();
        }
        self.eos();
        ms(&self.times())
    }

    /// A segment that is played backwards from 160 ms.
    pub fn turn_back(&mut self) {
        let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
        segment.set_stop(gst::ClockTime::from_mseconds(160));
        segment.set_rate(-1.0);
        assert!(self.segment(&segment));
    }

    /// The four frames of 25 a second in it; all that is shown.
    pub fn play_back(&mut self) -> Vec<gst::Buffer> {
        for at in [120, 80, 40, 0] {
            self.push(at * MS).unwrap();
        }
        self.eos();
        self.outputs()
    }

    pub fn rate(&self) -> Option<gst::Fraction> {
        let caps = self.element.static_pad("src")?.current_caps()?;
        caps.structure(0)?.get("framerate").ok()
    }

    pub fn counter(&self, name: &str) -> u64 {
        self.element.property(name)
    }

    /// The messages of a type that are on the bus; the others are lost.
    pub fn messages(&self, type_: gst::MessageType) -> Vec<gst::Message> {
        std::iter::from_fn(|| self.bus.pop())
            .filter(|m| m.type_() == type_)
            .collect()
    }

    /// The text of the errors that are on the bus.
    pub fn errors(&self) -> Vec<String> {
        self.messages(gst::MessageType::Error)
            .iter()
            .filter_map(|m| match m.view() {
                gst::MessageView::Error(e) => Some(e.error().to_string()),
                _ => None,
            })
            .collect()
    }

    /// All downstream events of a type since the last call; the others are lost.
    pub fn events(&mut self, type_: gst::EventType) -> Vec<gst::Event> {
        std::iter::from_fn(|| self.harness.try_pull_event())
            .filter(|e| e.type_() == type_)
            .collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // the bus outlives the harness otherwise, with messages that hold the element
        self.bus.set_flushing(true);
        self.element.set_bus(None);
    }
}

pub fn time(buffer: &gst::Buffer) -> u64 {
    buffer.pts().map_or(u64::MAX, |t| t.nseconds())
}

pub fn info(caps: &str) -> gst_video::VideoInfo {
    gst_video::VideoInfo::from_caps(&caps.parse::<gst::Caps>().unwrap()).unwrap()
}

/// A picture of one value in all bytes.
pub fn picture(info: &gst_video::VideoInfo, pts: u64, grey: u8) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_mut_slice(vec![grey; info.size()]);
    buffer
        .get_mut()
        .unwrap()
        .set_pts(gst::ClockTime::from_nseconds(pts));
    buffer
}

/// The bytes of a buffer.
pub fn bytes(buffer: &gst::Buffer) -> Vec<u8> {
    buffer.map_readable().unwrap().to_vec()
}

pub fn has(buffer: &gst::Buffer, flag: gst::BufferFlags) -> bool {
    buffer.flags().contains(flag)
}

pub fn ms(times: &[u64]) -> Vec<u64> {
    times.iter().map(|t| t / MS).collect()
}

/// The caps that the element's pad of `direction` offers when its other pad's peer has `peer`.
pub fn offers(
    peer: &gst::Caps,
    direction: gst::PadDirection,
    properties: &[(&str, &str)],
) -> gst::Caps {
    let element = element(properties);
    let (own, other, peer_direction) = match direction {
        gst::PadDirection::Sink => ("sink", "src", gst::PadDirection::Sink),
        _ => ("src", "sink", gst::PadDirection::Src),
    };
    let answer = peer.clone();
    let pad = gst::Pad::builder(peer_direction)
        .query_function(move |pad, parent, query| match query.view_mut() {
            gst::QueryViewMut::Caps(q) => {
                q.set_result(&answer);
                true
            }
            _ => gst::Pad::query_default(pad, parent, query),
        })
        .build();
    let other = element.static_pad(other).unwrap();
    if peer_direction == gst::PadDirection::Sink {
        other.link(&pad).unwrap();
    } else {
        pad.link(&other).unwrap();
    }
    element.static_pad(own).unwrap().query_caps(None)
}

/// Fails unless what a pipeline with an appsink `sink` shows begins, after each of some seeks, where they lead to, and goes on at 50 frames a
/// second.
pub fn seeks_go_on(line: &str) {
    init();
    let pipeline = gst::parse::launch(line).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("sink");
    let sink = sink.and_downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    for second in [1, 0, 2] {
        let to = gst::ClockTime::from_seconds(second);
        sink.pull_sample().unwrap();
        let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
        pipeline.seek_simple(flags, to).unwrap();
        for n in 0..6 {
            let next = sink.pull_sample().unwrap().buffer_owned().unwrap();
            assert_eq!(time(&next), to.nseconds() + n * 20 * MS, "{line}");
        }
    }
    pipeline.set_state(gst::State::Null).unwrap();
}

/// Plays a pipeline to its end and lets `check` look at it there.
pub fn run_to_eos(pipeline: &gst::Pipeline, check: impl FnOnce(&gst::Pipeline)) {
    pipeline.set_state(gst::State::Playing).unwrap();
    let types = [gst::MessageType::Eos, gst::MessageType::Error];
    let bus = pipeline.bus().unwrap();
    let message = bus.timed_pop_filtered(gst::ClockTime::NONE, &types);
    let message = message.unwrap();
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    check(pipeline);
    pipeline.set_state(gst::State::Null).unwrap();
}

/// A sink pad whose buffers end in `chain`, and a source pad, both linked to the element.
pub struct Pads {
    pub element: gst::Element,
    pub bus: gst::Bus,
    pub src: gst::Pad,
    pub sink: gst::Pad,
}

impl Pads {
    /// Links and plays; pushes stream start, caps and a segment.
    pub fn new(
        properties: &[(&str, &str)],
        input: &str,
        chain: impl Fn(gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> + Send + Sync + 'static,
    ) -> Self {
        let pads = Self::unstarted(properties, chain);
        pads.begin(input);
        pads
    }

    /// As [`Pads::new`], but nothing has been pushed.
    pub fn unstarted(
        properties: &[(&str, &str)],
        chain: impl Fn(gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> + Send + Sync + 'static,
    ) -> Self {
        let element = element(properties);
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let src = gst::Pad::builder(gst::PadDirection::Src)
            .name("src")
            .build();
        let sink = gst::Pad::builder(gst::PadDirection::Sink)
            .name("sink")
            .chain_function(move |_, _, buffer| chain(buffer))
            .build();
        src.link(&element.static_pad("sink").unwrap()).unwrap();
        element.static_pad("src").unwrap().link(&sink).unwrap();
        src.set_active(true).unwrap();
        sink.set_active(true).unwrap();
        element.set_state(gst::State::Playing).unwrap();
        Pads {
            element,
            bus,
            src,
            sink,
        }
    }

    /// Puts a source pad with a query function of its own before the element.
    pub fn replace_source(
        &mut self,
        query: impl Fn(&gst::Pad, Option<&gst::Object>, &mut gst::QueryRef) -> bool
        + Send
        + Sync
        + 'static,
        input: &str,
    ) {
        let sink = self.element.static_pad("sink").unwrap();
        self.src.unlink(&sink).unwrap();
        self.src.set_active(false).unwrap();
        self.src = gst::Pad::builder(gst::PadDirection::Src)
            .query_function(query)
            .build();
        self.src.link(&sink).unwrap();
        self.src.set_active(true).unwrap();
        self.begin(input);
    }

    /// Pushes stream start, caps and a segment.
    pub fn begin(&self, input: &str) {
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        self.src.push_event(gst::event::StreamStart::new("test"));
        let caps = input.parse::<gst::Caps>().unwrap();
        self.src.push_event(gst::event::Caps::new(&caps));
        self.src.push_event(gst::event::Segment::new(&segment));
    }
}

impl Drop for Pads {
    fn drop(&mut self) {
        let _ = self.src.set_active(false);
        let _ = self.sink.set_active(false);
        let _ = self.element.set_state(gst::State::Null);
        self.bus.set_flushing(true);
        self.element.set_bus(None);
    }
}
