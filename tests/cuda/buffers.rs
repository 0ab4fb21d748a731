//! Buffers in page-locked memory on both sides of the element, and pictures that are made ahead: the same pictures as without, whatever
//! happens meanwhile. The driver copies as late as can be, so that a buffer that goes back too soon shows.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use gst::prelude::*;

use super::{Report, command, driver, runs, scratch, text};

/// Keeps a neighbour from being offered memory.
const APART: &str = "! identity drop-allocation=true";
const MOVING: &str = "zone-plate kx2=20 ky2=20 kt=1";
/// What the process of [`application`] shall play, what it shall do meanwhile, and where it writes its pictures.
const LINE: &str = "BUFFERS_LINE";
const MEANWHILE: &str = "BUFFERS_MEANWHILE";
const OUT: &str = "BUFFERS_OUT";
/// Frames of the application's source, at 25 a second; pictures after which it does what it shall.
const FRAMES: usize = 6;
const AFTER: usize = 6;

fn new_file(kind: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    scratch("buffers").join(format!("{kind}-{number}"))
}

/// What came of a line that ends in a file, what was said, what the driver counted.
fn play(line: &str, settings: &[(&str, &str)]) -> (Vec<u8>, String, Report) {
    let [out, report] = ["out", "report"].map(new_file);
    let line = format!("{line} ! filesink location={}", out.display());
    let report_to = ("DRIVER_REPORT", report.to_str().expect("a plain name"));
    let settings = [&[runs(), report_to], settings].concat();
    let mut command = command("gst-launch-1.0", Some(driver()), &settings);
    let output = command.args(line.split_whitespace()).output();
    let output = output.expect("gst-launch-1.0");
    let log = text(&output);
    assert!(output.status.success(), "{line}: {log}");
    let report = std::fs::read_to_string(report).expect("a report");
    (std::fs::read(out).expect("pictures"), log, Report(report))
}

fn assert_same(found: &[u8], want: &[u8], what: &str) {
    assert!(!want.is_empty() && found.len() == want.len(), "{what}");
    let differs = found.iter().zip(want).position(|(a, b)| a != b);
    assert_eq!(differs, None, "{what}");
}

#[test]
fn neighbours_buffers_are_page_locked_and_the_pictures_the_same() {
    // no row is padded in a buffer, and those of multiples of 32 bytes are not on the card
    for (format, size, planes) in [
        ("I420", (152, 98), 3),
        ("NV12", (64, 48), 0),
        ("P010_10LE", (70, 34), 2),
        ("RGB", (76, 37), 1),
    ] {
        let frames = 4;
        let line = |apart: &str| {
            let (width, height) = size;
            format!(
                "videotestsrc num-buffers={frames} pattern={MOVING} ! video/x-raw,format={format},width={width},height={height},framerate=25/1 {apart} ! videointerpolate device=cuda quality=fast ! video/x-raw,framerate=100/1"
            )
        };
        let [(found, _, direct), (want, _, staged)] =
            ["", APART].map(|apart| play(&line(apart), &[]));
        assert_same(&found, &want, format);
        assert_eq!(direct.number("planes up"), planes * frames, "{format}");
        assert_eq!(staged.number("planes up"), 0, "{format}");
        // between each two of the source's
        let made = 3 * (frames - 1);
        for report in [direct, staged] {
            assert_eq!(report.number("planes down"), planes * made, "{format}");
        }
    }
}

#[test]
fn a_decoder_writes_to_page_locked_memory() {
    let clip = new_file("clip");
    let line = format!(
        "videotestsrc num-buffers=6 pattern=ball ! video/x-raw,format=I420,width=150,height=98,framerate=25/1 ! x264enc ! h264parse ! mp4mux ! filesink location={}",
        clip.display()
    );
    let made = command("gst-launch-1.0", None, &[])
        .args(line.split(' '))
        .output();
    let made = made.expect("gst-launch-1.0");
    assert!(made.status.success(), "{}", text(&made));
    // what a decoder leaves beside its pictures may be anything, and those of four bytes a pixel have no such place
    let line = |apart: &str| {
        format!(
            "filesrc location={} ! qtdemux ! h264parse ! avdec_h264 {apart} ! videointerpolate device=cuda quality=fast ! videoconvert ! video/x-raw,format=AYUV",
            clip.display()
        )
    };
    let [(found, _, direct), (want, ..)] = ["", APART].map(|apart| play(&line(apart), &[]));
    assert_same(&found, &want, "decoded");
    // three planes of six pictures
    assert_eq!(direct.number("planes up"), 18);
}

#[test]
fn all_buffers_may_be_kept() {
    let line = |queue: &str| {
        format!(
            "videotestsrc num-buffers=12 pattern={MOVING} ! video/x-raw,format=I420,width=66,height=50,framerate=25/1 ! videointerpolate device=cuda quality=fast ! video/x-raw,framerate=100/1 {queue}"
        )
    };
    let kept =
        "! queue min-threshold-buffers=1000 max-size-buffers=0 max-size-bytes=0 max-size-time=0";
    let [(found, ..), (want, ..)] = [kept, ""].map(|queue| play(&line(queue), &[]));
    assert_same(&found, &want, "kept");
}

#[test]
fn pictures_may_become_others() {
    // other caps, and other networks
    let part = |size: &str| {
        let (width, height) = size.split_once('x').expect("a size");
        format!(
            "videotestsrc num-buffers=4 pattern={MOVING} ! video/x-raw,format=I420,width={width},height={height},framerate=25/1"
        )
    };
    let line = |apart: &str| {
        format!(
            "concat name=all ! videointerpolate device=cuda quality=fast multiplier=4/1 {apart} {} ! all. {} ! all. {} ! all.",
            part("66x50"),
            part("150x34"),
            part("66x50")
        )
    };
    let both = ["", APART].map(|apart| {
        let out = new_file("out");
        let line = line(&format!("{apart} ! filesink location={}", out.display()));
        let mut command = command("gst-launch-1.0", Some(driver()), &[runs()]);
        let output = command.args(line.split_whitespace()).output();
        let output = output.expect("gst-launch-1.0");
        assert!(output.status.success(), "{line}: {}", text(&output));
        std::fs::read(out).expect("pictures")
    });
    let [found, apart] = &both;
    // four frames for each of four; the last clip is the first one once more
    let (narrow, wide) = (68 * 50 + 2 * 36 * 25, 152 * 34 + 2 * 76 * 17);
    assert_eq!(found.len(), 16 * (2 * narrow + wide));
    let (first, last) = (&found[..16 * narrow], &found[16 * (narrow + wide)..]);
    assert_same(last, first, "once more");
    assert_same(apart, found, "apart");
}

#[test]
fn a_card_that_is_lost_at_any_time_is_told_of() {
    let line = format!(
        "videotestsrc num-buffers=20 pattern={MOVING} ! video/x-raw,format=I420,width=66,height=50,framerate=25/1 ! videointerpolate device=cuda quality=fast multiplier=4/1 ! fakesink"
    );
    // while a picture is asked for, and while the next is made
    for fails in (400..430).step_by(7) {
        let settings = [runs(), ("DRIVER_FAILS", &fails.to_string())];
        let mut command = command("gst-launch-1.0", Some(driver()), &settings);
        let output = command.args(line.split_whitespace()).output();
        let output = output.expect("gst-launch-1.0");
        let log = text(&output);
        assert!(!output.status.success(), "{fails}: {log}");
        let errors: Vec<_> = log
            .lines()
            .filter(|l| l.starts_with("ERROR: from") && l.contains("GstVideoInterpolate"))
            .collect();
        assert!(
            matches!(errors[..], [error] if error.contains("has failed")),
            "{fails}: {log}"
        );
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// The pictures of [`application`] by their times, and whether each is held.
fn apply(meanwhile: &str) -> BTreeMap<u64, (bool, Vec<u8>)> {
    let [out, report] = ["out", "report"].map(new_file);
    // the source counts those before a seek, too
    let frames = FRAMES * if meanwhile == "a seek" { 2 } else { 1 };
    let line = format!(
        "videotestsrc num-buffers={frames} pattern={MOVING} ! video/x-raw,format=I420,width=66,height=50,framerate=25/1 ! videointerpolate name=x device=cuda quality=fast ! video/x-raw,framerate=100/1 ! appsink name=out sync=false max-buffers=1"
    );
    let settings = [
        runs(),
        ("DRIVER_REPORT", report.to_str().expect("a plain name")),
        (LINE, &line),
        (MEANWHILE, meanwhile),
        (OUT, out.to_str().expect("a plain name")),
    ];
    let test = std::env::current_exe().expect("a test");
    let mut command: Command = command(test, Some(driver()), &settings);
    command.args([
        "--exact",
        "buffers::application",
        "--ignored",
        "--nocapture",
    ]);
    let output = command.output().expect("a test");
    assert!(output.status.success(), "{meanwhile}: {}", text(&output));
    let bytes = std::fs::read(out).expect("pictures");
    let (mut rest, mut all) = (&bytes[..], BTreeMap::new());
    while let Some((head, behind)) = rest.split_at_checked(17) {
        let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight"));
        let (picture, behind) = behind.split_at(number(8) as usize);
        let same = all.insert(number(0), (head[16] != 0, picture.to_vec()));
        if let Some((false, before)) = same.filter(|_| head[16] == 0) {
            assert_same(picture, &before, "once more");
        }
        rest = behind;
    }
    all
}

#[test]
fn pictures_are_the_same_whatever_happens_meanwhile() {
    let want = apply("nothing");
    // the last one is held
    assert_eq!(want.len(), 4 * FRAMES);
    let made = want.values().filter(|(held, _)| !held).count();
    assert_eq!(made, 4 * FRAMES - 3);
    for meanwhile in ["a seek", "lateness", "keeping all"] {
        let found = apply(meanwhile);
        let mut compared = 0;
        for (at, (held, picture)) in &found {
            if let Some((false, want)) = want.get(at).filter(|_| !held) {
                assert_same(picture, want, &format!("{meanwhile} at {at}"));
                compared += 1;
            }
        }
        match meanwhile {
            "lateness" => assert!((AFTER..made).contains(&compared), "{compared}"),
            _ => assert_eq!(compared, made, "{meanwhile}"),
        }
    }
}

#[test]
fn no_picture_is_made_twice() {
    passes_by_itself("locked::none_is_made_twice_that_was_told_of");
}

#[test]
fn a_stream_leaves_nothing_on_the_card() {
    passes_by_itself("locked::weights_go_with_their_stream");
}

/// One of the tests of cards, in a process of its own.
fn passes_by_itself(test: &str) {
    let mut command = command(super::tests_of_cards(), Some(driver()), &[runs()]);
    let output = command.args(["--exact", test, "--ignored", "--nocapture"]);
    let output = output.output().expect("a test");
    let log = text(&output);
    let is_run = log.contains("1 passed") && !log.contains("skipped");
    assert!(output.status.success() && is_run, "{log}");
}

fn qos(late_by: i64, at: gst::ClockTime) -> gst::Event {
    gst::event::Qos::new(gst::QOSType::Underflow, 1.5, late_by, at)
}

#[test]
#[ignore = "another test runs it in a process of its own"]
fn application() {
    let [line, meanwhile, out] = [LINE, MEANWHILE, OUT].map(std::env::var);
    let (Ok(line), Ok(meanwhile), Ok(out)) = (line, meanwhile, out) else {
        return;
    };
    gst::init().expect("GStreamer");
    let pipeline = gst::parse::launch(&line).expect(&line);
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
    let sink = pipeline.by_name("out").expect("a sink");
    let sink = sink.downcast::<gst_app::AppSink>().expect("an appsink");
    let element = pipeline.by_name("x").expect("the element");
    let mut kept = Vec::new();
    let mut bytes = Vec::new();
    pipeline.set_state(gst::State::Playing).expect("playing");
    let mut count = 0;
    while let Ok(sample) = sink.pull_sample() {
        count += 1;
        let at = sample.buffer().and_then(|b| b.pts()).expect("a time");
        if count == AFTER {
            match meanwhile.as_str() {
                "a seek" => {
                    let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
                    pipeline
                        .seek_simple(flags, gst::ClockTime::ZERO)
                        .expect("a seek");
                }
                "lateness" => {
                    // up to the first one between the next two: those behind it are made
                    let event = qos(17_000_000, at);
                    assert!(element.static_pad("src").expect("a pad").send_event(event));
                }
                _ => (),
            }
        }
        kept.push(sample);
        if meanwhile != "keeping all" {
            kept.drain(..).for_each(|sample| write(&mut bytes, &sample));
        }
    }
    pipeline.set_state(gst::State::Null).expect("stopped");
    drop((element, sink, pipeline));
    // memory that is still read has outlived all
    kept.drain(..).for_each(|sample| write(&mut bytes, &sample));
    std::fs::write(out, bytes).expect("a file");
}

/// Time, bytes, whether it is held, and the bytes.
fn write(to: &mut Vec<u8>, sample: &gst::Sample) {
    let buffer = sample.buffer().expect("a buffer");
    let picture = buffer.map_readable().expect("a picture");
    let at = buffer.pts().expect("a time").nseconds();
    to.extend(at.to_le_bytes());
    to.extend((picture.len() as u64).to_le_bytes());
    to.push(buffer.flags().contains(gst::BufferFlags::GAP).into());
    to.extend(picture.as_slice());
}
