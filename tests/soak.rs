//! Memory stays flat over many frames. Slow: `make soak` runs it.

#[path = "../examples/common/mod.rs"]
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use common::clip::Clip;
use gst::prelude::*;

const SIZE: (usize, usize) = (320, 240);
/// Frames that come out.
const FRAMES: u64 = 10_000;
/// By then every pool and thread has what it needs.
const SETTLED: u64 = 100;
/// Growth that is not a leak, kB: the allocator's own pages, fewer than 30 pictures.
const SLACK: u64 = 3 * 1024;

/// Memory of this process that is in use, kB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let value = line.and_then(|line| line.split_whitespace().nth(1));
    value.and_then(|value| value.parse().ok()).expect("VmRSS")
}

#[test]
#[ignore = "minutes; `make soak` runs it"]
fn memory_stays_flat() {
    gst::init().expect("GStreamer");
    gstvideointerpolate::plugin_register_static().expect("the plugin");
    let (width, height) = SIZE;
    let line = format!(
        "appsrc name=in format=time block=true max-buffers=4 caps=video/x-raw,format=I420,\
         width={width},height={height},framerate=30/1 ! videointerpolate \
         ! video/x-raw,framerate=60/1 ! fakesink name=out sync=false"
    );
    let pipeline = gst::parse::launch(&line).expect("a pipeline");
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
    let source = pipeline.by_name("in").and_downcast::<gst_app::AppSrc>();
    let source = source.expect("an appsrc");
    let seen = Arc::new(AtomicU64::new(0));
    let counter = seen.clone();
    let sink = pipeline.by_name("out").expect("a sink");
    let pad = sink.static_pad("sink").expect("a pad");
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        counter.fetch_add(1, Relaxed);
        gst::PadProbeReturn::Ok
    });

    let clip = Clip::new(width, height);
    let frames: Vec<_> = (0..20)
        .map(|n| clip.at(0.5 + n as f32 / 30.0).data)
        .collect();
    pipeline.set_state(gst::State::Playing).expect("playing");
    let (mut settled, mut highest) = (None, 0);
    for n in 0..FRAMES / 2 {
        let mut buffer = gst::Buffer::from_slice(frames[n as usize % frames.len()].clone());
        let stamp = gst::ClockTime::from_nseconds(n * 1_000_000_000 / 30);
        buffer.get_mut().expect("our own").set_pts(stamp);
        source.push_buffer(buffer).expect("room");
        if seen.load(Relaxed) >= SETTLED {
            let now = resident();
            settled.get_or_insert(now);
            highest = highest.max(now);
        }
    }
    source.end_of_stream().expect("an end");
    let bus = pipeline.bus().expect("a bus");
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(600), &ends);
    assert_eq!(end.expect("an end").type_(), gst::MessageType::Eos);
    pipeline.set_state(gst::State::Null).expect("stopped");
    let settled = settled.expect("frames");
    println!("after {SETTLED} frames {settled} kB, at most {highest} kB in {FRAMES} frames");
    assert_eq!(seen.load(Relaxed), FRAMES);
    assert!(
        highest <= settled + SLACK,
        "{settled} kB grew to {highest} kB"
    );
}
