//! Pictures held in the source: `duplicate-mode`.

use gst::prelude::*;
use gst_app::{AppSink, AppSrc};

use crate::support::{self, MS, Pads, Rig, SECOND, caps, has, watched};

const SIZE: (usize, usize) = (320, 64);
const SIDE: usize = 24;
const BACKGROUND: u8 = 60;

/// A source of pictures of a square that moves evenly, and how it shows them.
struct Film {
    /// Frames a second.
    input: i32,
    output: i32,
    /// How often the pictures are shown, again and again.
    runs: &'static [usize],
    /// Pixels from picture to picture.
    speed: usize,
}

const TWOS: Film = Film {
    input: 24,
    output: 48,
    runs: &[2],
    speed: 8,
};
const THREES: Film = Film {
    input: 24,
    output: 48,
    runs: &[3],
    speed: 12,
};
const FOUR_IN_FIVE: Film = Film {
    input: 30,
    output: 60,
    runs: &[1, 1, 1, 2],
    speed: 10,
};
const THREE_TWO: Film = Film {
    input: 60,
    output: 120,
    runs: &[2, 3],
    speed: 10,
};

impl Film {
    /// The picture's number for every frame, of `pictures` pictures.
    fn frames(&self, pictures: usize) -> Vec<usize> {
        let runs = self.runs.iter().cycle();
        let frames = (0..pictures).zip(runs);
        frames.flat_map(|(p, run)| vec![p; *run]).collect()
    }

    /// Pixels that the square moves from output to output.
    fn step(&self) -> f64 {
        let frames: usize = self.runs.iter().sum();
        let pictures = self.runs.len() as f64 / frames as f64;
        self.speed as f64 * pictures * f64::from(self.input) / f64::from(self.output)
    }
}

/// The square at `x`, textured, and grain that differs from frame to frame.
fn picture(x: usize, frame: usize) -> Vec<u8> {
    let (w, h) = SIZE;
    let mut state = frame as u32 * 7919 + 1;
    let mut values = vec![0; w * h * 3 / 2];
    for (i, value) in values.iter_mut().enumerate() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let grain = (state >> 24) % 3;
        let (px, py) = (i % w, i / w);
        let inside = (x..x + SIDE).contains(&px) && (20..20 + SIDE).contains(&py);
        *value = if i >= w * h {
            128
        } else if inside {
            // a texture that moves along
            150 + ((px - x) * 37 + py * 23) as u8 % 80 + grain as u8
        } else {
            BACKGROUND + grain as u8
        };
    }
    values
}

/// The middle of the square.
fn position(buffer: &gst::Buffer) -> f64 {
    let data = support::bytes(buffer);
    let (mut sum, mut weighted) = (0.0, 0.0);
    for (i, value) in data[..SIZE.0 * SIZE.1].iter().enumerate() {
        let light = f64::from(value.saturating_sub(BACKGROUND + 20));
        sum += light;
        weighted += light * (i % SIZE.0) as f64;
    }
    weighted / sum
}

/// Sends the film through `before ! videointerpolate`, and answers all outputs and the element.
fn play(film: &Film, before: &str, mode: &str) -> (Vec<gst::Buffer>, gst::Element) {
    support::init();
    let line = format!(
        "appsrc name=in format=time caps=video/x-raw,format=I420,width={},height={},framerate={}/1 \
         ! {before} videointerpolate name=x duplicate-mode={mode} ! video/x-raw,framerate={}/1 \
         ! appsink name=out sync=false",
        SIZE.0, SIZE.1, film.input, film.output
    );
    let pipeline = gst::parse::launch(&line).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let source = pipeline.by_name("in").and_downcast::<AppSrc>().unwrap();
    let sink = pipeline.by_name("out").and_downcast::<AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    for (n, p) in film.frames(20).into_iter().enumerate() {
        let mut buffer = gst::Buffer::from_mut_slice(picture(20 + p * film.speed, n));
        let time = |n: usize| gst::ClockTime::from_nseconds(n as u64 * SECOND / film.input as u64);
        let fresh = buffer.get_mut().unwrap();
        fresh.set_pts(time(n));
        fresh.set_duration(time(n + 1) - time(n));
        source.push_buffer(buffer).unwrap();
    }
    source.end_of_stream().unwrap();
    let mut outputs = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        outputs.push(sample.buffer_owned().unwrap());
    }
    let element = pipeline.by_name("x").unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    (outputs, element)
}

/// How far the square moves between the outputs, from the time that the cadence is known to the
/// last picture: the smallest and the largest step.
fn steps(film: &Film, outputs: &[gst::Buffer]) -> (f64, f64) {
    let ratio = (film.output / film.input) as usize;
    // two cycles and the picture behind them
    let warm = 2 * film.runs.iter().sum::<usize>() + film.runs[0];
    let last = film.frames(19).len();
    let positions: Vec<f64> = outputs[warm * ratio..last * ratio]
        .iter()
        .map(position)
        .collect();
    let steps = positions.windows(2).map(|w| w[1] - w[0]);
    let least = steps.clone().fold(f64::MAX, f64::min);
    (least, steps.fold(f64::MIN, f64::max))
}

fn assert_even(film: &Film, before: &str) {
    let (outputs, element) = play(film, before, "auto");
    let frames = film.frames(20).len();
    let ratio = (film.output / film.input) as usize;
    assert_eq!(outputs.len(), frames * ratio);
    let (least, largest) = steps(film, &outputs);
    let step = film.step();
    println!("{before}: {least:.2} to {largest:.2} instead of {step}");
    assert!(
        least > step - 1.0 && largest < step + 1.0,
        "steps of {least:.2} to {largest:.2} pixels instead of {step}"
    );
    let stats: gst::Structure = element.property("stats");
    let repeats: u64 = stats.get("repeats").unwrap();
    // but for those of the first cycle and the last picture
    let expected = frames - 20;
    let repeats = repeats as usize;
    assert!(
        repeats <= expected && repeats + 5 >= expected,
        "{repeats} of {expected}"
    );
}

fn assert_uneven_when_off(film: &Film) {
    let (outputs, element) = play(film, "", "off");
    let (least, largest) = steps(film, &outputs);
    assert!(
        least < 0.2 && largest > film.step() + 0.8,
        "{least:.2} to {largest:.2}"
    );
    let stats: gst::Structure = element.property("stats");
    assert_eq!(stats.get::<u64>("repeats"), Ok(0));
}

#[test]
fn drawings_on_twos_move_evenly() {
    watched(|| {
        assert_even(&TWOS, "");
        assert_uneven_when_off(&TWOS);
    });
}

#[test]
fn drawings_on_threes_move_evenly() {
    watched(|| {
        assert_even(&THREES, "");
        assert_uneven_when_off(&THREES);
    });
}

#[test]
fn film_at_thirty_moves_evenly() {
    watched(|| {
        assert_even(&FOUR_IN_FIVE, "");
        assert_uneven_when_off(&FOUR_IN_FIVE);
    });
}

#[test]
fn film_at_sixty_moves_evenly() {
    watched(|| {
        assert_even(&THREE_TWO, "");
        assert_uneven_when_off(&THREE_TWO);
    });
}

// held pictures come back from a codec changed
#[test]
fn a_codec_does_not_hide_what_is_held() {
    let coders = [
        (
            "x264enc",
            "x264enc pass=qual quantizer=28 speed-preset=veryfast ! avdec_h264 ! ",
        ),
        (
            "x264enc",
            "x264enc bitrate=50 speed-preset=veryfast ! avdec_h264 ! ",
        ),
        ("avenc_mjpeg", "avenc_mjpeg ! avdec_mjpeg ! "),
    ];
    watched(move || {
        support::init();
        for (name, coder) in coders {
            if gst::ElementFactory::find(name).is_none() {
                eprintln!("skipped: {name} is not installed");
                continue;
            }
            for film in [&TWOS, &THREE_TWO] {
                assert_even(film, coder);
            }
        }
    });
}

/// Time, flags and bytes of an output.
type Output = (u64, gst::BufferFlags, Vec<u8>);

/// What comes out for a still picture of some frames.
fn still(mode: &str) -> Vec<Output> {
    let mut rig = Rig::new(
        &[("duplicate-mode", mode)],
        &caps("25/1"),
        "video/x-raw, framerate=50/1",
    );
    for i in 0..20 {
        let buffer = rig.picture(i * 40 * MS, 100);
        rig.harness.push(buffer).unwrap();
    }
    rig.eos();
    let outputs = rig.outputs();
    outputs
        .iter()
        .map(|b| (support::time(b), b.flags(), support::bytes(b)))
        .collect()
}

#[test]
fn a_still_picture_is_what_it_was() {
    watched(|| assert_eq!(still("auto"), still("off")));
}

// a picture that stands still does not hold up the stream
#[test]
fn a_still_picture_keeps_coming() {
    watched(|| {
        let mut rig = Rig::new(
            &[("duplicate-mode", "auto")],
            &caps("25/1"),
            "video/x-raw, framerate=50/1",
        );
        let counts: Vec<usize> = (0..8)
            .map(|i| {
                let buffer = rig.picture(i * 40 * MS, 100);
                rig.harness.push(buffer).unwrap();
                rig.outputs().len()
            })
            .collect();
        // three frames of 40 ms are the longest that a picture may be held for
        assert_eq!(counts, [1, 0, 0, 6, 2, 2, 2, 2]);
    });
}

// 18, 24, 25, 26
#[test]
fn whatever_ends_a_run_lets_go_of_what_waits() {
    fn segment() -> gst::Event {
        let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
        segment.set_start(gst::ClockTime::from_seconds(9));
        gst::event::Segment::new(&segment)
    }
    fn gap() -> gst::Event {
        gst::event::Gap::new(gst::ClockTime::from_mseconds(240), None)
    }
    watched(|| {
        let ends = [
            ("eos", gst::event::Eos::new()),
            ("gap", gap()),
            ("segment", segment()),
        ];
        for (name, end) in ends {
            let mut rig = on_twos(6);
            assert_eq!(rig.times().len(), 9, "{name}");
            assert!(rig.harness.push_event(end), "{name}");
            assert_eq!(support::ms(&rig.times()), [180, 200, 220], "{name}");
        }
        let mut rig = on_twos(6);
        rig.set_input(&caps("25/1").replace("width=32", "width=64"));
        assert_eq!(rig.times().len(), 12, "caps");
        let mut rig = on_twos(6);
        rig.times();
        rig.harness.push_event(gst::event::FlushStart::new());
        rig.harness.push_event(gst::event::FlushStop::new(true));
        assert!(rig.times().is_empty(), "flush");
    });
}

/// The first frames of pictures on twos, at 25 a second, doubled.
fn on_twos(frames: u64) -> Rig {
    let mut rig = Rig::new(
        &[("duplicate-mode", "auto")],
        &caps("25/1"),
        "video/x-raw, framerate=50/1",
    );
    for i in 0..frames {
        let grey = 100 + 10 * (i / 2) as u8;
        let buffer = rig.picture(i * 40 * MS, grey);
        rig.harness.push(buffer).unwrap();
    }
    rig
}

// 33
#[test]
fn what_is_made_on_twos_is_no_duplicate() {
    watched(|| {
        let mut rig = on_twos(7);
        let outputs = rig.outputs();
        assert_eq!(outputs.len(), 13);
        for (n, output) in outputs.iter().enumerate() {
            assert!(!has(output, gst::BufferFlags::GAP), "output {n}");
            let grey = 100 + 10 * n as i32 / 4;
            let found = i32::from(support::bytes(output)[0]);
            assert!((found - grey).abs() <= 1, "output {n}: {found}, not {grey}");
        }
        assert_eq!(rig.counter("interpolated"), 9);
        assert_eq!(rig.counter("duplicate"), 0);
    });
}

fn latency(rig: &Rig) -> gst::ClockTime {
    rig.harness.query_latency().unwrap()
}

// 27: 135 ms or five frames, whichever is less
#[test]
fn the_latency_is_that_of_the_longest_held_picture() {
    watched(|| {
        for (rate, frames) in [
            ("24/1", 3),
            ("25/1", 3),
            ("30/1", 4),
            ("60/1", 5),
            ("5/1", 1),
        ] {
            for (mode, frames) in [("off", 1), ("auto", frames)] {
                let rig = Rig::new(&[("duplicate-mode", mode)], &caps(rate), "video/x-raw");
                let per_second = rate.trim_end_matches("/1").parse::<u64>().unwrap();
                let expected = SECOND / per_second * frames;
                assert_eq!(latency(&rig).nseconds(), expected, "{rate} {mode}");
            }
        }
    });
}

// 28
#[test]
fn playing_backwards_looks_for_no_repeats_and_tells_the_latency() {
    watched(|| {
        let mut rig = Rig::new(&[("duplicate-mode", "auto")], &caps("25/1"), "video/x-raw");
        rig.messages(gst::MessageType::Latency);
        let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
        segment.set_stop(gst::ClockTime::from_seconds(1));
        segment.set_rate(-1.0);
        assert!(rig.segment(&segment));
        assert_eq!(latency(&rig), gst::ClockTime::from_mseconds(40));
        assert_eq!(rig.messages(gst::MessageType::Latency).len(), 1);
    });
}

// 31
#[test]
fn upstream_is_offered_the_longer_window() {
    watched(|| {
        let rig = Rig::new(&[("duplicate-mode", "auto")], &caps("60/1"), "video/x-raw");
        let caps: gst::Caps = caps("60/1").parse().unwrap();
        let mut query = gst::query::Allocation::new(Some(&caps), true);
        assert!(rig.harness.srcpad().unwrap().peer_query(&mut query));
        let least = query.allocation_pools().map(|(_, _, min, _)| min).min();
        assert_eq!(least, Some(7));
    });
}

// 31: a pool with no more than what was asked for
#[test]
fn the_window_that_was_asked_for_suffices() {
    watched(|| {
        let pads = Pads::new(&[("duplicate-mode", "auto")], &caps("60/1"), |_| {
            Ok(gst::FlowSuccess::Ok)
        });
        let caps: gst::Caps = caps("60/1").parse().unwrap();
        let mut query = gst::query::Allocation::new(Some(&caps), true);
        assert!(pads.src.peer_query(&mut query));
        let (size, min) = query
            .allocation_pools()
            .map(|(_, size, min, _)| (size, min))
            .next()
            .unwrap();
        let pool = gst_video::VideoBufferPool::new();
        let mut config = pool.config();
        config.set_params(Some(&caps), size, min, min);
        pool.set_config(config).unwrap();
        pool.set_active(true).unwrap();
        // a cadence, then a still: a buffer that is missing would hang
        for i in 0..60u64 {
            let mut buffer = pool.acquire_buffer(None).unwrap();
            let fresh = buffer.get_mut().unwrap();
            fresh.set_pts(gst::ClockTime::from_nseconds(i * SECOND / 60));
            let grey = if i < 30 { (i / 5) as u8 * 10 } else { 99 };
            fresh.map_writable().unwrap().fill(grey);
            pads.src.push(buffer).unwrap();
        }
        pads.src.push_event(gst::event::Eos::new());
        assert_eq!(pads.element.property::<u64>("out"), 120);
        pool.set_active(false).unwrap();
    });
}

// 32
#[test]
fn a_timecode_counts_on_over_what_is_left_out() {
    watched(|| {
        let mut rig = Rig::new(
            &[("duplicate-mode", "auto")],
            &caps("25/1"),
            "video/x-raw, framerate=50/1",
        );
        for i in 0..9u64 {
            let mut buffer = rig.picture(i * 40 * MS, 100 + 10 * (i / 2) as u8);
            let fresh = buffer.get_mut().unwrap();
            let flags = gst_video::VideoTimeCodeFlags::empty();
            let rate = gst::Fraction::new(25, 1);
            let frame = 20 + i as u32;
            let code =
                gst_video::VideoTimeCode::new(rate, None, flags, 0, 0, frame / 25, frame % 25, 0);
            let code = gst_video::ValidVideoTimeCode::try_from(code).unwrap();
            gst_video::VideoTimeCodeMeta::add(fresh, &code);
            rig.harness.push(buffer).unwrap();
        }
        for (n, output) in rig.outputs().iter().enumerate() {
            let meta = output.meta::<gst_video::VideoTimeCodeMeta>();
            let code = meta.expect("a timecode").tc();
            let frame = 40 + n as u32;
            assert_eq!(
                (code.seconds(), code.frames()),
                (frame / 50, frame % 50),
                "output {n}"
            );
        }
    });
}

/// A subtitle that somebody draws later.
fn overlay() -> gst_video::VideoOverlayComposition {
    let mut data = gst::Buffer::from_mut_slice(vec![255u8; 4 * 4 * 4]);
    let fresh = data.get_mut().unwrap();
    let (flags, format) = (
        gst_video::VideoFrameFlags::empty(),
        gst_video::VideoFormat::Bgra,
    );
    gst_video::VideoMeta::add(fresh, flags, format, 4, 4).unwrap();
    let no_flags = gst_video::VideoOverlayFormatFlags::empty();
    let rectangle = gst_video::VideoOverlayRectangle::new_raw(&data, 0, 0, 4, 4, no_flags);
    gst_video::VideoOverlayComposition::new([&rectangle]).unwrap()
}

// 32: a subtitle over a held picture comes and goes in its time
#[test]
fn a_picture_with_another_overlay_is_no_repeat() {
    watched(|| {
        let shown = overlay();
        // frames with the subtitle, and the repeats that may be left out of twos
        for (from, repeats) in [(0, 4), (20, 4), (5, 3)] {
            let mut rig = on_twos(0);
            for i in 0..10u64 {
                let mut buffer = rig.picture(i * 40 * MS, 100 + 10 * (i / 2) as u8);
                if i >= from {
                    let fresh = buffer.get_mut().unwrap();
                    gst_video::VideoOverlayCompositionMeta::add(fresh, &shown);
                }
                rig.harness.push(buffer).unwrap();
            }
            let stats: gst::Structure = rig.element.property("stats");
            assert_eq!(
                stats.get::<u64>("repeats"),
                Ok(repeats),
                "from frame {from}"
            );
        }
    });
}

#[test]
fn the_property_is_an_enum_and_off_unless_it_is_set() {
    watched(|| {
        let element = support::element(&[]);
        let mode: gstvideointerpolate::element::DuplicateMode = element.property("duplicate-mode");
        assert_eq!(mode, gstvideointerpolate::element::DuplicateMode::Off);
        let spec = element.find_property("duplicate-mode").unwrap();
        assert!(spec.flags().contains(gst::PARAM_FLAG_MUTABLE_READY));
    });
}
