//! The element in a pipeline: a second of film doubled, beside videorate doing the same.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use gst::prelude::*;

#[path = "../examples/common/mod.rs"]
mod common;

use common::clip::Clip;
use common::frame::Frame;

const SIZES: [(usize, usize); 2] = [(640, 360), (1280, 720)];
/// Frames in each run.
const FRAMES: u32 = 30;

/// Pushes the frames through `filter` at 30 frames a second, doubled.
fn double(filter: &str, frames: &[Frame]) {
    let (width, height) = (frames[0].width, frames[0].height);
    let line = format!(
        "appsrc name=in format=time block=true caps=video/x-raw,format=I420,width={width},\
         height={height},framerate=30/1 ! {filter} ! video/x-raw,framerate=60/1 \
         ! fakesink sync=false"
    );
    let pipeline = gst::parse::launch(&line).expect("a pipeline");
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
    let source = pipeline.by_name("in").and_downcast::<gst_app::AppSrc>();
    let source = source.expect("an appsrc");
    pipeline.set_state(gst::State::Playing).expect("playing");
    for n in 0..FRAMES {
        let data = frames[n as usize % frames.len()].data.clone();
        let mut buffer = gst::Buffer::from_slice(data);
        let stamp = gst::ClockTime::from_nseconds(u64::from(n) * 1_000_000_000 / 30);
        buffer.get_mut().expect("our own").set_pts(stamp);
        source.push_buffer(buffer).expect("room");
    }
    source.end_of_stream().expect("an end");
    let bus = pipeline.bus().expect("a bus");
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(None, &ends).expect("an end");
    assert_eq!(end.type_(), gst::MessageType::Eos);
    pipeline.set_state(gst::State::Null).expect("stopped");
}

fn one_second(criterion: &mut Criterion) {
    gst::init().expect("GStreamer");
    gstvideointerpolate::plugin_register_static().expect("the plugin");
    let mut group = criterion.benchmark_group("30 frames doubled");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5));
    for (width, height) in SIZES {
        let clip = Clip::new(width, height);
        let frames: Vec<Frame> = (0..8).map(|n| clip.at(0.9 + n as f32 / 30.0)).collect();
        for filter in ["videorate", "videointerpolate"] {
            let name = format!("{width}x{height}");
            group.bench_function(BenchmarkId::new(filter, name), |bencher| {
                bencher.iter(|| double(filter, &frames));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, one_second);
criterion_main!(benches);
