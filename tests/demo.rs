//! The program behind `make demo`: what it converts, and what it says of bad input.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// Longest time that one conversion may take.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(240);

/// A folder of its own that goes away at the end.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// Cargo builds examples before it runs tests, into a folder beside the tests'.
fn program() -> PathBuf {
    let own = std::env::current_exe().expect("a path");
    let profile = own.parent().and_then(Path::parent).expect("a folder");
    let program = profile.join("examples/demo");
    assert!(program.exists(), "run `cargo build --example demo` first");
    program
}

fn demo(arguments: &[&str]) -> Output {
    let mut child = Command::new(program())
        .args(arguments)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the program");
    let end = std::time::Instant::now() + LIMIT;
    while child.try_wait().expect("a status").is_none() {
        if std::time::Instant::now() > end {
            let _ = child.kill();
            panic!("demo {arguments:?} does not end");
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child.wait_with_output().expect("output")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain name")
}

/// Runs, expects failure with code 1, and gives the one line it says.
fn complaint(arguments: &[&str]) -> String {
    let output = demo(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    let line = String::from_utf8(output.stderr).expect("text");
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

fn render(folder: &Folder, name: &str) -> PathBuf {
    let clip = folder.file(name);
    let output = demo(&[
        "--render",
        text(&clip),
        "--size",
        "160x96",
        "--seconds",
        "1",
    ]);
    assert!(output.status.success(), "{output:?}");
    clip
}

/// Caps of the streams in a file, and the number of buffers of each.
fn streams(path: &Path) -> Vec<(String, u64)> {
    use gst::prelude::*;
    use std::sync::{Arc, Mutex};
    gst::init().expect("GStreamer");
    let pipeline = gst::parse::launch("filesrc name=source ! parsebin name=parser");
    let pipeline = pipeline.expect("a pipeline").downcast::<gst::Pipeline>();
    let pipeline = pipeline.expect("a pipeline");
    let child = |name| pipeline.by_name(name).expect("a child");
    child("source").set_property("location", path);
    let counts = Arc::new(Mutex::new(Vec::new()));
    let (list, weak) = (counts.clone(), pipeline.downgrade());
    child("parser").connect_pad_added(move |_, pad| {
        let sink = gst::ElementFactory::make("fakesink")
            .property("sync", false)
            .property("async", false)
            .build()
            .expect("a fakesink");
        let pipeline = weak.upgrade().expect("a pipeline");
        pipeline.add(&sink).expect("room");
        sink.sync_state_with_parent().expect("a state");
        let index = {
            let mut list = list.lock().expect("a lock");
            list.push((String::new(), 0));
            list.len() - 1
        };
        let list = list.clone();
        // Caps are sure to be known with the first buffer; newer versions of GStreamer add the pad before they are.
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, _| {
            let caps = pad.current_caps().expect("caps");
            let (kind, count) = &mut list.lock().expect("a lock")[index];
            *kind = caps.structure(0).expect("a structure").name().to_string();
            *count += 1;
            gst::PadProbeReturn::Ok
        });
        pad.link(&sink.static_pad("sink").expect("a pad"))
            .expect("a link");
    });
    pipeline.set_state(gst::State::Playing).expect("playing");
    let bus = pipeline.bus().expect("a bus");
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &ends);
    let _ = pipeline.set_state(gst::State::Null);
    assert_eq!(end.map(|m| m.type_()), Some(gst::MessageType::Eos));
    let mut found = counts.lock().expect("a lock");
    std::mem::take(&mut *found)
}

fn count(streams: &[(String, u64)], kind: &str) -> u64 {
    streams
        .iter()
        .filter(|(name, _)| name.starts_with(kind))
        .map(|(_, count)| count)
        .sum()
}

#[test]
fn frames_double_and_sound_is_copied() {
    let folder = Folder::new();
    let (clip, out) = (render(&folder, "clip.mp4"), folder.file("smooth.mp4"));
    let output = demo(&["--in", text(&clip), "--out", text(&out)]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(said.contains("30 frames in, 60 out"), "{said}");

    let (before, after) = (streams(&clip), streams(&out));
    assert_eq!(count(&before, "video/x-h264"), 30);
    assert_eq!(count(&after, "video/x-h264"), 60);
    assert!(count(&before, "audio/mpeg") > 10);
    assert_eq!(count(&after, "audio/mpeg"), count(&before, "audio/mpeg"));
    assert!(folder.file("demo.png").exists());
    assert!(!folder.file("smooth.mp4.part").exists());
}

#[test]
fn any_rate_and_container_will_do() {
    let folder = Folder::new();
    let clip = render(&folder, "clip.mkv");
    for (name, rate, frames) in [
        ("a.mkv", "60000/1001", 60),
        ("b.webm", "50", 50),
        ("c.mp4", "24", 24),
    ] {
        let out = folder.file(name);
        let output = demo(&["--in", text(&clip), "--out", text(&out), "--rate", rate]);
        assert!(output.status.success(), "{name}: {output:?}");
        let found = streams(&out);
        assert_eq!(count(&found, "video/"), frames, "{name}: {found:?}");
        assert!(count(&found, "audio/") > 10, "{name}: {found:?}");
    }
}

#[test]
fn a_missing_input_is_one_line() {
    let folder = Folder::new();
    let line = complaint(&["--in", "/nowhere.mp4", "--out", text(&folder.file("o.mp4"))]);
    assert!(
        line.contains("/nowhere.mp4") && line.contains("No such file"),
        "{line}"
    );
}

#[test]
fn an_unreadable_input_is_one_line() {
    let folder = Folder::new();
    let noise = folder.file("noise.mp4");
    let bytes: Vec<u8> = (0u32..20_000)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    std::fs::write(&noise, bytes).expect("a file");
    let out = folder.file("o.mp4");
    let line = complaint(&["--in", text(&noise), "--out", text(&out)]);
    assert!(line.contains("noise.mp4"), "{line}");
    assert!(!out.exists() && !folder.file("o.mp4.part").exists());

    let line = complaint(&["--in", text(folder.0.path()), "--out", text(&out)]);
    assert!(line.contains("folder"), "{line}");
    std::fs::write(&noise, []).expect("a file");
    complaint(&["--in", text(&noise), "--out", text(&out)]);
}

#[test]
fn a_file_without_video_is_one_line() {
    use gst::prelude::*;
    let folder = Folder::new();
    let sound = folder.file("sound.ogg");
    gst::init().expect("GStreamer");
    let line = format!(
        "audiotestsrc num-buffers=20 ! opusenc ! oggmux ! filesink location={}",
        text(&sound)
    );
    let pipeline = gst::parse::launch(&line).expect("a pipeline");
    pipeline.set_state(gst::State::Playing).expect("playing");
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let bus = pipeline.bus().expect("a bus");
    bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &ends);
    pipeline.set_state(gst::State::Null).expect("stopped");

    let line = complaint(&["--in", text(&sound), "--out", text(&folder.file("o.mp4"))]);
    assert!(line.contains("no video"), "{line}");
}

#[test]
fn an_unwritable_output_is_one_line() {
    let folder = Folder::new();
    let clip = render(&folder, "clip.mp4");
    for (out, word) in [
        ("/proc/o.mp4", "OUT=/proc/o.mp4"),
        ("/dev/null/o.mp4", "OUT=/dev/null/o.mp4"),
        ("o.gif", ".mp4, .mkv or .webm"),
        (text(&clip), "same file"),
    ] {
        let line = complaint(&["--in", text(&clip), "--out", out]);
        assert!(line.contains(word), "{line}");
    }
    assert!(clip.exists());
}

#[test]
fn a_nonsense_rate_is_one_line() {
    for rate in [
        "fast", "0", "-24", "60/0", "1/2", "1e9", "99999", "", "24/1/1",
    ] {
        let line = complaint(&["--out", "o.mp4", "--rate", rate]);
        assert!(line.contains(&format!("RATE={rate}")), "{line}");
    }
}

/// Says in the header of the film's first track that it is to be turned by a quarter before it is seen.
fn turn(film: &Path) {
    let mut data = std::fs::read(film).expect("the film");
    let header = data.windows(4).position(|w| w == b"tkhd");
    let header = header.expect("a track header") + 4;
    // its version says how long the times before the matrix are
    let matrix = header + if data[header] == 0 { 40 } else { 52 };
    for (i, value) in [0, 1 << 16, 0, -1 << 16, 0, 0].into_iter().enumerate() {
        data[matrix + 4 * i..][..4].copy_from_slice(&i32::to_be_bytes(value));
    }
    std::fs::write(film, data).expect("room");
}

/// What is said of the pictures in an .mp4.
fn caps(film: &Path) -> gst::Structure {
    use gst::prelude::*;
    gst::init().expect("GStreamer");
    let line = "filesrc name=source ! qtdemux ! h264parse ! fakesink name=end";
    let pipeline = gst::parse::launch(line).expect("a pipeline");
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
    let child = |name| pipeline.by_name(name).expect("a child");
    child("source").set_property("location", film);
    pipeline.set_state(gst::State::Paused).expect("paused");
    let (change, ..) = pipeline.state(gst::ClockTime::from_seconds(30));
    change.expect("paused");
    let caps = child("end")
        .static_pad("sink")
        .and_then(|p| p.current_caps());
    let _ = pipeline.set_state(gst::State::Null);
    let caps = caps.expect("caps");
    caps.structure(0).expect("a structure").to_owned()
}

/// Width and height of the pictures in an .mp4.
fn size(film: &Path) -> (i32, i32) {
    let of = caps(film);
    (
        of.get("width").expect("a width"),
        of.get("height").expect("a height"),
    )
}

#[test]
fn a_film_that_lies_on_its_side_is_turned() {
    let folder = Folder::new();
    let (clip, out) = (render(&folder, "clip.mp4"), folder.file("smooth.mp4"));
    turn(&clip);
    assert_eq!(size(&clip), (160, 96));
    let output = demo(&["--in", text(&clip), "--out", text(&out)]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(size(&out), (96, 160));
}

#[test]
fn pictures_of_full_colour_become_what_players_can_show() {
    use gst::prelude::*;
    let folder = Folder::new();
    let (film, out) = (folder.file("film.avi"), folder.file("smooth.mp4"));
    gst::init().expect("GStreamer");
    let line = "videotestsrc num-buffers=5 ! video/x-raw,format=BGR,width=64,height=48,framerate=25/1 \
                ! avimux ! filesink name=end";
    let pipeline = gst::parse::launch(line).expect("a pipeline");
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
    let end = pipeline.by_name("end").expect("a child");
    end.set_property("location", &film);
    pipeline.set_state(gst::State::Playing).expect("playing");
    let bus = pipeline.bus().expect("a bus");
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &ends);
    let _ = pipeline.set_state(gst::State::Null);
    assert_eq!(end.map(|m| m.type_()), Some(gst::MessageType::Eos));
    let output = demo(&["--in", text(&film), "--out", text(&out)]);
    assert!(output.status.success(), "{output:?}");
    let chroma: String = caps(&out).get("chroma-format").expect("a format");
    assert_eq!(chroma, "4:2:0");
}
