//! The program `evaluate`: its figures, its sheets, and what it says of bad input.

#[allow(dead_code, reason = "the program uses all of it")]
#[path = "../examples/evaluate/coherence.rs"]
mod coherence;
#[path = "../examples/common/mod.rs"]
mod common;
#[allow(dead_code, reason = "the program uses all of it")]
#[path = "../examples/evaluate/reliability.rs"]
mod reliability;
#[allow(dead_code, reason = "the program uses all of it")]
#[path = "../examples/evaluate/scores.rs"]
mod scores;
#[allow(dead_code, reason = "the program uses all of it")]
#[path = "../examples/evaluate/uneven.rs"]
mod uneven;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use common::clip::Clip;
use common::frame::Frame;
use common::metrics;
use gst::prelude::*;
use reliability::{Planes, Reliability};
use scores::{Score, Scores};
use serde_json::Value;
use tempfile::TempDir;

#[test]
fn psnr_is_that_of_the_mean_square() {
    let plane = [10, 20, 30, 40];
    assert_eq!(metrics::psnr(&plane, &plane), 100.0);
    // squares of 0, 2, 0, 4: a mean of 5
    let psnr = metrics::psnr(&plane, &[10, 22, 30, 36]);
    assert!((psnr - 10.0 * (255.0f64 * 255.0 / 5.0).log10()).abs() < 1e-9);
}

#[test]
fn ssim_is_one_only_of_equal_pictures() {
    let noise: Vec<u8> = (0..400u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let ssim = |a: &[u8]| metrics::ssim(a, &noise, 20, 20).unwrap();
    assert!((ssim(&noise) - 1.0).abs() < 1e-5);
    let mirrored: Vec<u8> = noise.iter().map(|n| 255 - n).collect();
    assert!(ssim(&mirrored) < 0.0);
    assert_eq!(metrics::ssim(&noise, &noise, 40, 10), None);
}

#[test]
fn an_error_that_stays_is_no_flicker_and_one_that_turns_counts_twice() {
    let truth = [[100u8; 4], [130; 4]];
    let error = |made: [u8; 4], n: usize| metrics::error_of(&made, &truth[n]);
    let stays = metrics::flicker(&error([103; 4], 0), &error([133; 4], 1));
    assert_eq!(stays, 0.0);
    let turns = metrics::flicker(&error([103; 4], 0), &error([127; 4], 1));
    assert_eq!(turns, 6.0);
    // by the formula, |(made difference) - (true difference)|
    let one = metrics::flicker(&error([103; 4], 0), &error([133, 133, 133, 125], 1));
    assert_eq!(one, f64::from((125 - 103) - (130 - 100i32)).abs() / 4.0);
    assert_eq!(metrics::flicker(&[-255], &[255]), 510.0);
}

#[test]
fn even_motion_is_even_at_every_phase_and_what_is_ahead_is_told_in_pixels() {
    for phase in [0.125f32, 0.5, 0.7] {
        let even = |x: f32, y: f32| [-phase * x, -phase * y, (1.0 - phase) * x, (1.0 - phase) * y];
        let ways = [even(3.0, -1.0), even(-0.2, 7.0), [0.0; 4]];
        assert!(uneven::unevenness(&ways, phase) < 1e-5);
        // 3/8 and 4/8 of a cell of 8 pixels ahead; one that was found anywhere does not count
        let [lx, ly, rx, ry] = even(3.0, -1.0);
        let ahead = [lx - 0.375, ly - 0.5, rx - 0.375, ry - 0.5];
        let found = uneven::unevenness(&[ahead, [90.0; 4], ahead], phase);
        assert!((found - 5.0).abs() < 1e-4, "{found}");
    }
}

#[test]
fn a_third_of_the_frames_is_least_even() {
    let frame = |n: u32| {
        let score = |psnr| Score {
            psnr,
            ssim: f64::NAN,
            flicker: f64::NAN,
        };
        let n = f64::from(n);
        (n, vec![score(10.0 * n), score(f64::NAN)])
    };
    let [third, others] = uneven::groups([3, 1, 7, 2, 4, 5, 6].map(frame).into());
    assert_eq!((third.frames, others.frames), (2, 5));
    assert_eq!((third.pixels, others.pixels), (6.5, 3.0));
    assert_eq!((third.scores[0].psnr, others.scores[0].psnr), (65.0, 30.0));
    assert!(third.scores[1].psnr.is_nan());
    let [none, one] = uneven::groups(vec![frame(1)]);
    assert_eq!((none.frames, one.frames), (0, 1));
}

/// A grey picture.
fn grey(luma: u8) -> Frame {
    let mut frame = Frame::new(16, 16);
    frame.planes_mut()[0].fill(luma);
    frame
}

#[test]
fn scores_are_summed_up_over_the_frames_that_have_them() {
    let mut scores = Scores::default();
    for (made, truth) in [(100, 101), (100, 102), (104, 100)] {
        scores.add(&grey(made), &grey(truth));
    }
    assert!(scores.frames[0].flicker.is_nan());
    let flicker: Vec<_> = scores.frames[1..].iter().map(|s| s.flicker).collect();
    assert_eq!(flicker, [1.0, 6.0]);
    assert_eq!(scores.mean().flicker, 3.5);
    let psnr: Vec<_> = scores.frames.iter().map(|s| s.psnr).collect();
    assert!(psnr[0] > psnr[1] && psnr[1] > psnr[2]);
    assert!((scores.mean().psnr - psnr.iter().sum::<f64>() / 3.0).abs() < 1e-9);
    // a twentieth of the way from the first to the last of three is a tenth to the second
    let worst = scores.worst();
    assert!((worst.psnr - (psnr[2] + 0.1 * (psnr[1] - psnr[2]))).abs() < 1e-9);
    assert!((worst.flicker - (1.0 + 0.95 * 5.0)).abs() < 1e-9);
    let nothing: Score = Scores::default().mean();
    assert!(nothing.psnr.is_nan() && Scores::default().worst().ssim.is_nan());
}

#[test]
fn average_precision_is_the_mean_share_of_what_is_found_so_far() {
    let precision = |scored: &[(f32, bool)]| coherence::average_precision(scored.to_vec());
    assert_eq!(precision(&[(0.1, false), (0.9, true), (0.5, true)]), 1.0);
    // found second of two and third of three
    let late = precision(&[(0.9, false), (0.5, true), (0.4, true)]);
    assert!((late - (0.5 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
    // what scores alike is found together, in whatever order it comes
    for tied in [[(0.5, true), (0.5, false)], [(0.5, false), (0.5, true)]] {
        assert_eq!(precision(&tied), 0.5);
    }
    assert!(precision(&[(0.5, false)]).is_nan());
}

#[test]
fn coherence_tells_how_well_failures_are_found() {
    let folder = Folder::new();
    let clip = folder.clip("drawn.y4m", 23);
    let found = json(&["--no-minterpolate", "--coherence", &clip]);
    let of = &found["coherence"];
    assert_eq!(
        (&of["frames"], &found["clips"][0]["frames"]),
        (&11.into(), &11.into())
    );
    let number = |name: &str| of[name].as_f64().expect("a number");
    // noise is found where it was put
    assert!(number("precision_of_noise_cells") > 0.8, "{of}");
    assert_eq!(number("precision_of_noise_frames"), 1.0, "{of}");
    assert!(number("noise_cells") < 0.05, "{of}");
    let without = json(&["--no-minterpolate", &clip]);
    assert!(without["coherence"].is_null());
    let output = evaluate(&["--no-minterpolate", "--coherence", &clip]);
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(
        said.contains("average precision") && said.contains("estimated again"),
        "{said}"
    );
}

#[test]
fn blending_goes_from_one_picture_to_the_other() {
    let (a, b) = (grey(10), grey(31));
    assert_eq!(a.mix(&b, 0.0), a);
    assert_eq!(a.mix(&b, 1.0), b);
    for other in [30, 31, 32] {
        assert_eq!(a.mix(&grey(other), 0.5), a.blend(&grey(other)));
    }
    assert_eq!(a.mix(&b, 0.25).planes()[0][0], 15);
}

#[test]
fn cells_are_sorted_by_their_predicted_error() {
    // 6x4: a whole cell and half a one
    let (truth, mut made, nearer) = (vec![100u8; 24], vec![100u8; 24], vec![105u8; 24]);
    for y in 0..4 {
        made[6 * y + 3] = 108;
        made[6 * y + 4] = 110;
        made[6 * y + 5] = 110;
    }
    let planes = Planes {
        made: &made,
        nearer: &nearer,
        truth: &truth,
        width: 6,
        height: 4,
    };
    let mut table = Reliability::default();
    table.add(&planes, |x, _| if x < 4 { 1.0 } else { 12.0 });
    table.add(&planes, |x, _| if x < 4 { 1.5 } else { f32::NAN });
    let cells: Vec<_> = table.bins.iter().map(|b| b.cells).collect();
    assert_eq!(cells, [0, 2, 0, 0, 1, 0, 1]);
    assert_eq!(Reliability::range(0), (0.0, Some(1.0)));
    assert_eq!(Reliability::range(4), (8.0, Some(16.0)));
    assert_eq!(Reliability::range(6), (32.0, None));
    let (low, high) = (&table.bins[1], &table.bins[4]);
    assert_eq!(
        (low.error(), low.nearer_error(), low.better()),
        (2.0, 5.0, 1.0)
    );
    assert_eq!(
        (high.error(), high.nearer_error(), high.better()),
        (10.0, 5.0, 0.0)
    );
    assert_eq!((low.predicted(), high.predicted()), (1.25, 12.0));
    assert_eq!(table.bins[6].predicted(), 255.0);
    // 2 of 1.25 for 2, 12 for 10, 255 for 10
    assert_eq!(table.calibration_error(), (1.5 + 2.0 + 245.0) / 4.0);
}

/// A folder of its own that goes away at the end.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// A drawn clip of so many frames, at 30 a second, without loss.
    fn clip(&self, name: &str, frames: usize) -> String {
        let (width, height) = SIZE;
        let path = self.0.path().join(name);
        let mut file = std::fs::File::create(&path).expect("a file");
        writeln!(file, "YUV4MPEG2 W{width} H{height} F30:1 Ip A1:1 C420").expect("room");
        let clip = Clip::new(width, height);
        for n in 0..frames {
            file.write_all(b"FRAME\n").expect("room");
            file.write_all(&clip.at(n as f32 / 30.0).data)
                .expect("room");
        }
        path.to_str().expect("a plain name").into()
    }
}

const SIZE: (usize, usize) = (162, 98);

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain name")
}

/// Cargo builds examples before it runs tests, into a folder beside the tests'.
fn evaluate(arguments: &[&str]) -> Output {
    run("evaluate", arguments)
}

/// The example of that name.
fn run(name: &str, arguments: &[&str]) -> Output {
    let own = std::env::current_exe().expect("a path");
    let profile = own.parent().and_then(Path::parent).expect("a folder");
    let program = profile.join("examples").join(name);
    assert!(program.exists(), "run `cargo build --examples` first");
    Command::new(program)
        .args(arguments)
        .output()
        .expect("the program")
}

fn json(arguments: &[&str]) -> Value {
    let output = evaluate(&[&["--json"], arguments].concat());
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Runs, expects failure with code 1, and gives what it says.
fn complaint(arguments: &[&str]) -> String {
    let output = evaluate(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn every_second_frame_is_made_and_compared() {
    let folder = Folder::new();
    let (clip, sheets) = (folder.clip("drawn.y4m", 9), folder.0.path().join("sheets"));
    let sheets = sheets.to_str().expect("a plain name");
    let found = json(&["--reliability", "--sheets", sheets, &clip]);
    let of = &found["clips"][0];
    assert_eq!(of["clip"], "drawn");
    assert_eq!(
        (&of["frames"], &of["cuts"], &found["step"]),
        (&4.into(), &0.into(), &2.into())
    );
    let psnr = |method: &str| of[method]["psnr"].as_f64().expect("a number");
    assert!(psnr("model") > psnr("blend") + 1.0, "{of}");
    assert!(psnr("model") > psnr("repeat") + 1.0, "{of}");
    let flicker = of["per_frame"]["model"]["flicker"]
        .as_array()
        .expect("an array");
    assert!(flicker[0].is_null() && flicker[1..].iter().all(Value::is_f64));
    assert_eq!(found["mean"]["model"]["psnr"], of["model"]["psnr"]);

    let bins = found["reliability"].as_array().expect("an array");
    let cells: u64 = bins.iter().filter_map(|b| b["cells"].as_u64()).sum();
    assert_eq!((bins.len(), cells), (7, 4 * 41 * 25));
    assert_eq!(
        (&bins[3]["from"], &bins[3]["to"]),
        (&4.0.into(), &8.0.into())
    );
    assert!(bins[6]["to"].is_null());

    let file = std::fs::File::open(Path::new(sheets).join("drawn.png")).expect("a sheet");
    let mut reader = png::Decoder::new(std::io::BufReader::new(file))
        .read_info()
        .expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut pixels).expect("pixels");
    // five pictures beside each other, four rows
    assert!(
        info.width as usize > 5 * SIZE.0 && info.height as usize > 4 * SIZE.1,
        "{info:?}"
    );
    assert!(pixels.contains(&255) && pixels.contains(&24));
}

#[test]
fn minterpolate_makes_the_same_frames() {
    let folder = Folder::new();
    let clip = folder.clip("drawn.y4m", 9);
    let there = Command::new("ffmpeg").arg("-version").output().is_ok();
    for step in ["2", "4"] {
        let found = json(&["--step", step, &clip]);
        let of = &found["clips"][0];
        let frames = of["per_frame"]["minterpolate"]["psnr"]
            .as_array()
            .expect("an array");
        if there {
            assert_eq!(of["frames"], frames.len(), "step {step}");
            // made for its own time and no other: repeating is further off
            let psnr = |method: &str| of[method]["psnr"].as_f64().expect("a number");
            assert!(
                psnr("minterpolate") > psnr("repeat") + 1.0,
                "step {step}: {of}"
            );
        } else {
            assert!(frames.is_empty() && of["minterpolate"]["psnr"].is_null());
        }
    }
}

#[test]
fn a_step_keeps_one_frame_in_so_many() {
    let folder = Folder::new();
    let clip = folder.clip("drawn.y4m", 11);
    for (step, made) in [("2", 5), ("4", 6), ("8", 7), ("10", 9)] {
        let found = json(&["--no-minterpolate", "--step", step, &clip]);
        let of = &found["clips"][0];
        assert_eq!(of["frames"], made, "step {step}");
        let psnr = of["per_frame"]["model"]["psnr"]
            .as_array()
            .expect("an array");
        assert_eq!(psnr.len(), made, "step {step}");
        // the earlier frame resembles the first after it more than the last before the next
        let repeat = of["per_frame"]["repeat"]["psnr"]
            .as_array()
            .expect("an array");
        let span = step.parse::<usize>().expect("a number") - 1;
        assert!(span == 1 || repeat[0].as_f64() > repeat[span - 1].as_f64());
        assert!(of["minterpolate"]["psnr"].is_null());
    }
}

#[test]
fn people_get_a_table_with_every_method() {
    let folder = Folder::new();
    let clip = folder.clip("drawn.y4m", 5);
    let output = evaluate(&["--no-minterpolate", "--reliability", &clip]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).expect("text");
    for word in [
        "drawn",
        "model",
        "blend",
        "repeat",
        "SSIM-Y",
        "worst 5 %",
        "flicker",
        "16 to 32",
        "calibration error",
    ] {
        assert!(said.contains(word), "{word} is not in {said}");
    }
    assert!(
        said.contains("model above repeat on 1 of 1 clips"),
        "{said}"
    );
}

#[test]
fn bad_input_is_named_with_what_was_wanted() {
    let folder = Folder::new();
    let short = folder.clip("short.y4m", 4);
    let empty = folder.0.path().join("empty");
    std::fs::create_dir(&empty).expect("a folder");
    let empty = empty.to_str().expect("a plain name");
    for (arguments, words) in [
        (&["--step", "1", &short][..], ["--step 1", "from 2"]),
        (&["--step", "two", &short], ["--step two", "whole number"]),
        (&["--step"], ["--step", "missing"]),
        (
            &["--frobnicate", &short],
            ["--frobnicate", "evaluate [--quality NAME] [--model FILE]"],
        ),
        (&[], ["no clip", "evaluate [--quality NAME] [--model FILE]"]),
        (&["/nowhere.mp4"], ["/nowhere.mp4", "No such file"]),
        (&[empty], ["empty", "no clip"]),
        (
            &["--step", "4", &short],
            ["short.y4m", "fewer than 5 frames"],
        ),
        (&["--sheets", &short, &short], ["--sheets", "short.y4m"]),
        (
            &["--quality", "embedded", &short],
            ["--quality embedded", "fast, balanced, high"],
        ),
        (
            &["--model", "/nowhere.safetensors", &short],
            ["/nowhere.safetensors", "short.y4m"],
        ),
    ] {
        let said = complaint(&[&["--no-minterpolate"], arguments].concat());
        for word in words {
            assert!(
                said.contains(word),
                "{arguments:?}: {said} does not say {word}"
            );
        }
    }
}

#[test]
fn a_clip_that_cannot_be_measured_is_named_and_the_others_go_on() {
    let folder = Folder::new();
    folder.clip("b.y4m", 5);
    folder.clip("short.y4m", 2);
    std::fs::write(folder.0.path().join("a.mp4"), b"no film").expect("a file");
    let output = evaluate(&["--no-minterpolate", text(folder.0.path())]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(
        said.contains("model above repeat on 1 of 1 clips"),
        "{said}"
    );
    let said = String::from_utf8(output.stderr).expect("text");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].contains("a.mp4"), "{said}");
    assert!(lines[1].contains("short.y4m: fewer than 3"), "{said}");
}

#[test]
fn sound_alone_is_no_video() {
    let folder = Folder::new();
    let file = folder.0.path().join("sound.mkv");
    gst::init().expect("GStreamer");
    let line = format!(
        "audiotestsrc num-buffers=20 ! opusenc ! matroskamux ! filesink location={}",
        text(&file)
    );
    let pipeline = gst::parse::launch(&line).expect("a pipeline");
    pipeline.set_state(gst::State::Playing).expect("playing");
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let bus = pipeline.bus().expect("a bus");
    bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &ends);
    pipeline.set_state(gst::State::Null).expect("stopped");
    let said = complaint(&["--no-minterpolate", text(&file)]);
    assert!(said.contains("no video"), "{said}");
}

#[test]
fn other_programs_say_in_a_line_what_they_want() {
    let folder = Folder::new();
    let one = &folder.clip("one.y4m", 1);
    for (program, arguments, words) in [
        (
            "keyframes",
            &[one.as_str()][..],
            "one.y4m: fewer than 13 frames",
        ),
        ("distance", &[one], "one.y4m: fewer than"),
        (
            "distance",
            &["--frobnicate", one],
            "--frobnicate: no such option",
        ),
        ("cuts", &[one], "one.y4m: fewer than 2 frames"),
        ("costs", &["0x0"], "0: wanted a width or height"),
        ("costs", &["99999x16"], "99999: wanted a width or height"),
        (
            "costs",
            &["16x16", "quality=best"],
            "quality=best: no such value",
        ),
        ("curves", &[one], "curves FILE.png"),
    ] {
        let output = run(program, arguments);
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{program}: {said}");
        assert!(said.contains(words), "{program}: {said}");
    }
    // nothing was written over it
    assert!(
        std::fs::read(one)
            .expect("the clip")
            .starts_with(b"YUV4MPEG2")
    );
}
