//! Runs every line of `pipelines/`, shortened as `pipelines/shortened.txt` says, and checks
//! that README shows no other.

#[path = "../examples/common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use gst::prelude::*;

/// After this a pipeline hangs.
const LIMIT: Duration = Duration::from_secs(120);
/// Enough interpolated frames for a pipeline that has no end of its own.
const ENOUGH: u64 = 10;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines")
}

fn init() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        gst::init().expect("GStreamer");
        gstvideointerpolate::plugin_register_static().expect("the plugin");
    });
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The launch line of a file, without its comments, on one line.
fn line(name: &str) -> String {
    let text = read(&folder().join(name));
    let parts = text.lines().filter(|line| !line.starts_with('#'));
    words(&parts.collect::<Vec<_>>().join(" "))
}

/// One space between words.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn shortened(name: &str, clip: &Path, out: &Path) -> String {
    let mut line = line(name);
    for rule in read(&folder().join("shortened.txt")).lines() {
        if let Some((from, to)) = rule.split_once(" => ").filter(|_| !rule.starts_with('#')) {
            line = line.replace(from, to);
        }
    }
    line.replace("{clip}", clip.to_str().expect("a plain name"))
        .replace("{out}", out.to_str().expect("a plain name"))
}

/// A second of the drawn clip with a tone.
fn clip() -> &'static Path {
    static CLIP: OnceLock<PathBuf> = OnceLock::new();
    CLIP.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pipelines-clip.mp4");
        let line = format!(
            "appsrc name=in format=time caps=video/x-raw,format=I420,width=160,height=96,framerate=30/1 \
             ! x264enc speed-preset=veryfast ! h264parse ! queue ! mux. \
             audiotestsrc num-buffers=100 samplesperbuffer=441 ! audio/x-raw,rate=44100 ! avenc_aac ! queue ! mux. \
             mp4mux name=mux ! filesink location=\"{}\"",
            path.display()
        );
        let pipeline = gst::parse::launch(&line).expect("a pipeline");
        let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
        let source = pipeline.by_name("in").and_downcast::<gst_app::AppSrc>();
        let source = source.expect("an appsrc");
        pipeline.set_state(gst::State::Playing).expect("playing");
        let drawn = common::clip::Clip::new(160, 96);
        for n in 0..30u32 {
            let mut buffer = gst::Buffer::from_slice(drawn.at(n as f32 / 30.0).data);
            let stamp = gst::ClockTime::from_nseconds(u64::from(n) * 1_000_000_000 / 30);
            buffer.get_mut().expect("our own").set_pts(stamp);
            source.push_buffer(buffer).expect("room");
        }
        source.end_of_stream().expect("an end");
        let ends = [gst::MessageType::Eos, gst::MessageType::Error];
        let bus = pipeline.bus().expect("a bus");
        let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &ends);
        let end = end.expect("an end");
        assert_eq!(end.type_(), gst::MessageType::Eos, "{end:?}");
        pipeline.set_state(gst::State::Null).expect("stopped");
        path
    })
}

/// The element, wherever it is in the pipeline.
fn ours(pipeline: &gst::Bin) -> Option<gst::Element> {
    let mut elements = pipeline.iterate_recurse();
    while let Ok(Some(element)) = elements.next() {
        let name = element.factory().map(|f| f.name());
        if name.is_some_and(|name| ["videointerpolate", "videokeyframes"].contains(&&*name)) {
            return Some(element);
        }
    }
    None
}

/// Frames that it has made.
fn made(element: &gst::Element) -> u64 {
    if element.has_property("interpolated") {
        return element.property("interpolated");
    }
    let stats = element.property::<gst::Structure>("stats");
    let counts = ["made-from-one", "made-from-two"].map(|name| stats.get::<u64>(name));
    counts.into_iter().flatten().sum()
}

/// A pipeline that is stopped even when a check fails.
struct Running(gst::Element);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.set_state(gst::State::Null);
    }
}

/// Runs a line until it ends, or long enough if it never does. Gives its live latency, if any.
fn run(name: &str) -> Option<gst::ClockTime> {
    init();
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("out-{name}"));
    let line = shortened(name, clip(), &out);
    let pipeline = gst::parse::launch(&line).unwrap_or_else(|error| panic!("{name}: {error}"));
    let bin = pipeline.clone().downcast::<gst::Bin>().expect("a bin");
    let running = Running(pipeline.clone());
    let endless = line.contains("udpsrc");
    let bus = pipeline.bus().expect("a bus");
    pipeline
        .set_state(gst::State::Playing)
        .unwrap_or_else(|_| panic!("{name} does not start"));

    let started = Instant::now();
    let (mut count, mut latency) = (0, None);
    loop {
        let message = bus.timed_pop(gst::ClockTime::from_mseconds(50));
        match message.as_deref().map(gst::MessageRef::view) {
            Some(gst::MessageView::Eos(_)) => break,
            Some(gst::MessageView::Error(error)) => panic!("{name}: {error:?}"),
            Some(gst::MessageView::Latency(_)) => {
                let _ = bin.recalculate_latency();
            }
            _ => {}
        }
        if let Some(element) = ours(&bin) {
            count = made(&element);
        }
        let mut query = gst::query::Latency::new();
        if latency.is_none() && count > 0 && pipeline.query(&mut query) && query.result().0 {
            latency = Some(query.result().1);
        }
        if endless && count >= ENOUGH {
            break;
        }
        assert!(
            started.elapsed() < LIMIT,
            "{name} hangs after {count} frames"
        );
    }
    let ours = ours(&bin);
    if let Some(element) = &ours {
        count = made(element);
    }
    drop(running);
    // one line only prepares another
    assert!(ours.is_none() || count > 0, "{name}: no frame was made");
    latency
}

#[test]
fn file_to_file_runs() {
    run("file-to-file.launch");
}

#[test]
fn webcam_runs_and_tells_its_latency() {
    let latency = run("webcam.launch").expect("a live pipeline");
    assert!(latency >= gst::ClockTime::from_mseconds(66), "{latency}");
}

#[test]
fn zero_latency_runs() {
    run("zero-latency.launch");
}

#[test]
fn rtp_runs() {
    run("rtp.launch");
}

#[test]
fn slow_motion_runs() {
    run("slow-motion.launch");
}

#[test]
fn trajectory_runs() {
    run("trajectory.launch");
}

#[test]
fn coherence_runs() {
    run("coherence.launch");
}

// promise 39
#[test]
fn playbin_runs() {
    run("playbin.launch");
}

#[test]
fn nv12_runs() {
    run("nv12.launch");
}

#[test]
fn ten_bit_runs() {
    run("ten-bit.launch");
}

#[test]
fn side_by_side_runs() {
    run("side-by-side.launch");
}

#[test]
fn show_runs() {
    run("show.launch");
}

#[test]
fn first_frame_runs() {
    run("first-frame.launch");
}

#[test]
fn keyframes_run() {
    run("keyframes.launch");
}

#[test]
fn curves_runs() {
    run("curves.launch");
}

/// Where there is no such card, `tests/cuda/memory.rs` runs the line with a decoder and an encoder of the CPU.
#[test]
fn cuda_runs() {
    init();
    let found = ["nvh264dec", "nvh264enc"].map(gst::ElementFactory::find);
    if found.iter().any(Option::is_none) {
        println!("skipped: this machine has no NVIDIA card with a decoder and an encoder");
        return;
    }
    run("cuda.launch");
}

/// Names of the files that have a launch line.
fn lines() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).expect("the folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    names
        .map(|name| name.into_string().expect("a plain name"))
        .filter(|name| name.ends_with(".launch"))
        .collect()
}

#[test]
fn every_line_has_its_test() {
    let tests = include_str!("pipelines.rs");
    for name in lines() {
        assert!(
            tests.contains(&format!("run(\"{name}\")")),
            "{name} is not run"
        );
        assert!(
            read(&folder().join(&name)).starts_with("# "),
            "{name}: no purpose"
        );
    }
}

#[test]
fn readme_shows_only_lines_that_are_run() {
    let readme = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    let known: Vec<String> = lines().iter().map(|name| line(name)).collect();
    let mut shown = 0;
    for quoted in readme.replace("\\\n", " ").lines() {
        if let Some((_, quoted)) = quoted.split_once("gst-launch-1.0 ") {
            shown += 1;
            assert!(
                known.contains(&words(quoted)),
                "not in pipelines/: {quoted}"
            );
        }
    }
    assert!(shown > 0, "README shows no pipeline");
}

#[test]
fn readme_lists_every_property_with_its_default() {
    init();
    let readme = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    let element = gst::ElementFactory::make("videointerpolate").build();
    let element = element.expect("the element");
    for property in element.list_properties() {
        let name = property.name();
        if ["name", "parent"].contains(&name) {
            continue;
        }
        let row = readme
            .lines()
            .find(|row| row.starts_with("| `") && row.contains(&format!("`{name}`")));
        let row = row.unwrap_or_else(|| panic!("{name} is not in README's table"));
        let default = match property.default_value().get::<f64>() {
            Ok(number) => format!(", {number} |"),
            Err(_) => continue,
        };
        assert!(
            row.contains(&default),
            "{name}: {row} does not say {default}"
        );
    }
}
