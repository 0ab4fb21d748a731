//! Pictures in a card's memory, `memory:CUDAMemory`: GStreamer's own library and elements run behind the driver that the tests play.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use gst::prelude::*;

use super::{Report, command, driver, model, root, runs, scratch, text};

const FEATURE: &str = "memory:CUDAMemory";
/// Of GStreamer.
const LIBRARY: &CStr = c"libgstcuda-1.0.so.0";
/// What the process that the application of a test is shall play.
const APPLICATION: &str = "CUDA_MEMORY_LINE";
/// What changes from frame to frame.
const MOVING: &str = "zone-plate kx2=20 ky2=20 kt=1";
/// What does not.
const STILL: &str = "checkers-8";
/// Before the name of a file of NV12, in place of a pattern.
const FILE: &str = "file ";

/// A file of two scenes, three frames each.
fn two_scenes() -> String {
    let (width, height) = SIZE;
    let frame = |scene: usize, t: usize| {
        let luma = (0..width * height).map(move |i| {
            let (x, y) = (i % width + 2 * t, i / width);
            match scene {
                0 => 40 + (x * 3 + y) % 64,
                _ => 235 - (x / 8 + y / 8) % 2 * 90,
            }
        });
        let chroma =
            (0..width * height / 2).map(move |i| [90 + 80 * scene, 170 - 90 * scene][i % 2]);
        luma.chain(chroma).map(|value| value as u8)
    };
    let frames = (0..6).flat_map(|n| frame(n / 3, n));
    let file = new_file("clip");
    std::fs::write(&file, frames.collect::<Vec<_>>()).expect("a file");
    format!("{FILE}{}", file.display())
}

/// A clip, and what becomes of it.
#[derive(Clone, Copy)]
struct Case<'a> {
    format: &'a str,
    pattern: &'a str,
    frames: usize,
    /// Width and height.
    size: (usize, usize),
    properties: &'a str,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Self {
            format: "NV12",
            pattern: MOVING,
            frames: 4,
            size: SIZE,
            properties: "device=cuda",
        }
    }
}

const SIZE: (usize, usize) = (64, 48);
/// From 25 frames a second: some outputs lie on inputs, some between.
const RATE: &str = "framerate=60/1";

impl Case<'_> {
    /// As gst-launch-1.0 takes it.
    fn line(&self, on_card: bool, rate: &str, out: &str) -> String {
        let Self {
            format,
            pattern,
            frames,
            size: (width, height),
            properties,
        } = self;
        let ([up, down], there) = match on_card {
            true => (
                ["! cudaupload", "! cudadownload ! video/x-raw"],
                "(memory:CUDAMemory)",
            ),
            false => (["", ""], ""),
        };
        let source = match pattern.strip_prefix(FILE) {
            Some(file) => format!(
                "filesrc location={file} ! rawvideoparse width={width} height={height} format=nv12 framerate=25/1"
            ),
            None => format!("videotestsrc num-buffers={frames} pattern={pattern}"),
        };
        format!(
            "{source} ! video/x-raw,format={format},width={width},height={height},framerate=25/1 {up} ! videointerpolate {properties} ! video/x-raw{there},{rate} {down} ! filesink location={out}"
        )
    }

    /// What comes of it, what the element says, what the driver counts.
    fn play(&self, on_card: bool, rate: &str, settings: &[(&str, &str)]) -> Played {
        let out = new_file("out");
        let line = self.line(on_card, rate, out.to_str().expect("a plain name"));
        let program = |settings: &[(&str, &str)]| {
            let mut command = command("gst-launch-1.0", Some(driver()), settings);
            command.args(line.split_whitespace());
            command
        };
        played(program, &line, (out, settings))
    }

    /// Fails unless the same comes of it in a card's memory as in the host's.
    fn expect_same(&self, settings: &[(&str, &str)]) -> [Played; 2] {
        let both = [false, true].map(|on_card| self.play(on_card, RATE, settings));
        self.compare(&both);
        both
    }

    fn compare(&self, [here, there]: &[Played; 2]) {
        let what = format!("{} {} {}", self.format, self.pattern, self.properties);
        assert!(!here.bytes.is_empty(), "{what}: {}", here.log);
        assert_eq!(here.bytes.len(), there.bytes.len(), "{what}: {}", there.log);
        let at = here
            .bytes
            .iter()
            .zip(&there.bytes)
            .position(|(a, b)| a != b);
        assert_eq!(at, None, "{what}: byte {at:?} differs; {}", there.log);
    }
}

struct Played {
    bytes: Vec<u8>,
    log: String,
    report: Report,
}

fn new_file(kind: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    scratch("memory").join(format!("{kind}-{number}"))
}

fn played(
    program: impl FnOnce(&[(&str, &str)]) -> Command,
    what: &str,
    (out, settings): (PathBuf, &[(&str, &str)]),
) -> Played {
    let report = new_file("report");
    // another than that of tests without a driver: GStreamer remembers which elements there are
    let registry = scratch("registry").join("memory.bin");
    let own = [
        runs(),
        ("DRIVER_REPORT", report.to_str().expect("a plain name")),
        ("GST_REGISTRY", registry.to_str().expect("a plain name")),
    ];
    let output = program(&[&own, settings].concat()).output().expect(what);
    let log = text(&output);
    assert!(output.status.success(), "{what}: {log}");
    Played {
        bytes: std::fs::read(&out).expect(what),
        log,
        // there is none where nothing was done with the card
        report: Report(std::fs::read_to_string(report).unwrap_or_default()),
    }
}

/// Whether GStreamer's elements are there; else the test is skipped.
fn has_elements() -> bool {
    let registry = scratch("registry").join("memory.bin");
    let settings = [("GST_REGISTRY", registry.to_str().expect("a plain name"))];
    let found = command("gst-inspect-1.0", Some(driver()), &settings)
        .args(["--exists", "cudaupload"])
        .status();
    let found = found.expect("gst-inspect-1.0").success();
    if !found {
        println!(
            "skipped: there is no cudaupload; scripts/install.sh installs it (gstreamer1.0-plugins-bad)"
        );
    }
    found
}

#[test]
fn pictures_are_the_same_in_every_format() {
    if !has_elements() {
        return;
    }
    let formats = [
        "NV12",
        "I420",
        "P010_10LE",
        "I422_10LE",
        "Y444",
        "RGBA",
        "UYVY",
    ];
    for format in formats {
        let case = Case {
            format,
            frames: 3,
            properties: "device=cuda quality=fast",
            ..Case::default()
        };
        let [here, there] = case.expect_same(&[]);
        // weights go up, pictures do not
        let uploads = [&here, &there].map(|played| played.report.number("uploads"));
        assert_eq!(uploads[0] - uploads[1], case.frames as u64, "{format}");
    }
}

#[test]
fn pictures_are_the_same_whatever_is_made_of_them() {
    if !has_elements() {
        return;
    }
    for properties in [
        "device=cuda",
        "device=cuda scale=0.5",
        "device=cuda motion=trajectory",
        "device=cuda duplicate-mode=auto",
        "device=cuda multiplier=1/1",
    ] {
        let case = Case {
            properties,
            frames: 6,
            ..Case::default()
        };
        case.expect_same(&[]);
    }
    // pictures that repeat the one before, and a cut
    let case = Case {
        pattern: STILL,
        ..Case::default()
    };
    case.expect_same(&[]);
    let scenes = two_scenes();
    let [held, blended] = ["nearest", "blend"].map(|scene_action| {
        let case = Case {
            pattern: &scenes,
            properties: &format!("device=cuda scene-action={scene_action}"),
            ..Case::default()
        };
        let [_, there] = case.expect_same(&[]);
        there.bytes
    });
    assert!(held != blended, "there was no cut");
}

#[test]
fn what_the_cpu_has_a_part_in_is_mapped_for_it() {
    if !has_elements() {
        return;
    }
    let model = format!("device=cuda {}", model());
    for properties in [
        "device=cpu",
        "device=cuda show=flow",
        "device=cuda show=split",
        "latency-mode=zero",
        &model,
    ] {
        let case = Case {
            properties,
            ..Case::default()
        };
        case.expect_same(&[]);
    }
    // a card with too little memory is given up
    let least = Case::default().play(false, RATE, &[]).report.number("peak");
    let case = Case {
        properties: "device=cuda scale=0.5 quality=fast",
        size: (320, 256),
        ..Case::default()
    };
    let whole = case.play(false, RATE, &[]).report.number("peak");
    let memory = ((least + whole) / 2).to_string();
    let [_, there] = case.expect_same(&[("DRIVER_MEMORY", &memory)]);
    assert!(there.log.contains("the CPU goes on"), "{}", there.log);
}

#[test]
fn thumbnails_alone_come_down() {
    if !has_elements() {
        return;
    }
    let doubled = |pattern, frames| {
        let case = Case {
            pattern,
            frames,
            ..Case::default()
        };
        case.play(true, "framerate=50/1", &[]).report
    };
    let thumbnail = (SIZE.0 * SIZE.1 / 4 * 3 * size_of::<f32>()) as u64;
    // where pictures are the same they are looked at for that, and a number comes down
    for (pattern, answers) in [(MOVING, 0), (STILL, 1)] {
        let [few, many] = [4, 8].map(|frames| doubled(pattern, frames));
        let a_frame = |name: &str| (many.number(name) - few.number(name)) / 4;
        assert_eq!(a_frame("uploads"), 0, "{pattern}");
        assert_eq!(a_frame("downloads"), 1 + answers, "{pattern}");
        assert_eq!(a_frame("down"), thumbnail + 4 * answers, "{pattern}");
        // NV12 has two planes: cudaupload sends those of the source, cudadownload fetches those of two pictures
        assert_eq!(a_frame("planes up"), 2, "{pattern}");
        assert_eq!(a_frame("planes down"), 2 * 2, "{pattern}");
        // the source, and what was made of it
        assert_eq!(a_frame("planes within"), 2 * 2, "{pattern}");
        assert_eq!(a_frame("allocations"), 0, "{pattern}");
        assert_eq!(a_frame("locked"), 0, "{pattern}");
        // all are in the context that networks run in; another was for a look at the card
        assert_eq!(many.number("between"), 0, "{pattern}");
        assert_eq!(many.number("contexts"), 1, "{pattern}");
    }
}

/// With a decoder and an encoder of the CPU, since the driver has none.
#[test]
fn the_pipeline_that_is_shown_keeps_pictures_on_the_card() {
    if !has_elements() {
        return;
    }
    let [clip, out] = ["clip", "out"].map(new_file);
    let [from, to] = [&clip, &out].map(|file| file.to_str().expect("a plain name"));
    let line = format!(
        "videotestsrc num-buffers=6 pattern=ball ! video/x-raw,format=I420,width=64,height=48,framerate=30/1 ! x264enc ! h264parse ! mp4mux ! filesink location={from}"
    );
    let mut command_for_clip = command("gst-launch-1.0", None, &[]);
    let made = command_for_clip.args(line.split(' ')).output();
    let made = made.expect("gst-launch-1.0");
    assert!(made.status.success(), "{}", text(&made));
    let shown = std::fs::read_to_string(root().join("pipelines/cuda.launch")).expect("the line");
    let shown: Vec<_> = shown
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let line = shown.join(" ");
    let line = [
        ("movie.mp4", from),
        ("smooth.mp4", to),
        (
            "nvh264dec",
            "avdec_h264 ! cudaupload ! video/x-raw(memory:CUDAMemory)",
        ),
        ("nvh264enc", "cudadownload ! x264enc"),
    ]
    .iter()
    .fold(line, |line, (from, to)| line.replace(from, to));
    let program = |settings: &[(&str, &str)]| {
        let mut command = command("gst-launch-1.0", Some(driver()), settings);
        command.args(line.split_whitespace());
        command
    };
    let played = played(program, &line, (out.clone(), &[]));
    assert!(!played.bytes.is_empty(), "{}", played.log);
    // I420: three planes of six sources and of six pictures made, but for the last, which is held
    assert_eq!(
        played.report.number("planes within"),
        3 * (6 + 5),
        "{}",
        played.log
    );
}

#[test]
fn a_card_that_is_lost_is_told_of() {
    if !has_elements() {
        return;
    }
    let registry = scratch("registry").join("memory.bin");
    let settings = [
        runs(),
        ("DRIVER_FAILS", "400"),
        ("GST_REGISTRY", registry.to_str().expect("a plain name")),
    ];
    let line = Case {
        frames: 20,
        ..Case::default()
    };
    let line = line.line(true, RATE, "/dev/null");
    let output = command("gst-launch-1.0", Some(driver()), &settings)
        .args(line.split_whitespace())
        .output();
    let output = output.expect("gst-launch-1.0");
    let log = text(&output);
    assert!(!output.status.success(), "{log}");
    let errors = log.lines().filter(|l| l.starts_with("ERROR: from"));
    let errors = errors.filter(|l| l.contains("GstVideoInterpolate"));
    let errors: Vec<_> = errors.collect();
    assert_eq!(errors.len(), 1, "{log}");
    assert!(errors[0].contains("device cuda:0 has failed"), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn without_the_library_there_are_no_such_caps() {
    let inspect = |folder: &std::path::Path| {
        let mut command = command("gst-inspect-1.0", Some(folder), &[]);
        text(
            &command
                .arg("videointerpolate")
                .output()
                .expect("gst-inspect-1.0"),
        )
    };
    let folder = scratch("no-library");
    std::fs::copy(driver().join("libcuda.so.1"), folder.join("libcuda.so.1")).expect("a copy");
    // no library, though it is called so
    std::fs::write(folder.join("libgstcuda-1.0.so.0"), "").expect("a file");
    let log = inspect(&folder);
    assert!(
        log.contains("SINK template") && !log.contains(&format!("({FEATURE})")),
        "{log}"
    );
    assert!(
        log.contains(&format!(
            "no caps with {FEATURE}: libgstcuda-1.0.so.0 cannot be opened"
        )),
        "{log}"
    );
    if has_elements() {
        let log = inspect(driver());
        assert!(log.contains(&format!("({FEATURE})")), "{log}");
    }
    // nor without a driver
    let empty = scratch("no-driver");
    let log = inspect(&empty);
    let has_driver = super::has_driver();
    assert!(
        has_driver || !log.contains(&format!("({FEATURE})")),
        "{log}"
    );
}

#[test]
fn pictures_in_a_context_of_the_application_are_the_same() {
    if !has_elements() {
        return;
    }
    let case = Case::default();
    let here = case.play(false, RATE, &[]);
    let out = new_file("out");
    let line = case.line(true, RATE, out.to_str().expect("a plain name"));
    let program = |settings: &[(&str, &str)]| {
        let test = std::env::current_exe().expect("a test");
        let mut command = command(test, Some(driver()), settings);
        command.env(APPLICATION, &line);
        command.args(["--exact", "memory::application", "--ignored", "--nocapture"]);
        command
    };
    let there = played(program, &line, (out, &[]));
    assert_eq!(there.report.number("contexts"), 2);
    // both planes of the sources and of what was made
    assert!(there.report.number("between") >= 2 * 4, "{}", there.log);
    case.compare(&[here, there]);
}

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// A context of a card that is not the one that networks run in.
fn context_of_the_application() -> gst::Context {
    // SAFETY: so GStreamer declares the functions; each answers with a new reference.
    unsafe {
        let library = dlopen(LIBRARY.as_ptr(), 2);
        assert!(!library.is_null(), "the library");
        let [load, new, share] = [
            c"gst_cuda_load_library",
            c"gst_cuda_context_new",
            c"gst_context_new_cuda_context",
        ]
        .map(|name| dlsym(library, name.as_ptr()));
        let load: unsafe extern "C" fn() -> c_int = std::mem::transmute(load);
        let new: unsafe extern "C" fn(c_uint) -> *mut c_void = std::mem::transmute(new);
        let share: unsafe extern "C" fn(*mut c_void) -> *mut gst::ffi::GstContext =
            std::mem::transmute(share);
        assert!(load() != 0, "the driver");
        gst::Context::from_glib_full(share(new(0)))
    }
}

#[test]
#[ignore = "another test runs it in a process of its own"]
fn application() {
    let Ok(line) = std::env::var(APPLICATION) else {
        return;
    };
    gst::init().expect("GStreamer");
    let pipeline = gst::parse::launch(&line).expect(&line);
    pipeline.set_context(&context_of_the_application());
    pipeline.set_state(gst::State::Playing).expect("playing");
    let bus = pipeline.bus().expect("a bus");
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let last = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &kinds);
    pipeline.set_state(gst::State::Null).expect("stopped");
    let last = last.expect("an end");
    assert_eq!(last.type_(), gst::MessageType::Eos, "{last:?}");
}
