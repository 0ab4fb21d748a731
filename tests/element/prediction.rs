//! Without a frame of delay: `latency-mode=zero`, and `scene-action=predict` where no frame follows.

use std::sync::{Arc, Mutex};

use gst::prelude::*;

use crate::support::{self, MS, Rig, bytes, caps, ms, time, watched};

const ZERO: &[(&str, &str)] = &[("latency-mode", "zero")];

fn latency(rig: &Rig) -> u64 {
    rig.harness.query_latency().unwrap().mseconds()
}

fn window(rig: &Rig) -> u64 {
    let stats: gst::Structure = rig.element.property("stats");
    stats.get("window").unwrap()
}

// 27, 31
#[test]
fn nothing_is_waited_for_whatever_else_is_set() {
    watched(|| {
        for more in [
            ("motion", "linear"),
            ("motion", "trajectory"),
            ("duplicate-mode", "auto"),
        ] {
            let rig = Rig::new(&[ZERO[0], more], &caps("25/1"), "video/x-raw");
            assert_eq!((latency(&rig), window(&rig)), (0, 3), "{more:?}");
        }
        let rig = Rig::new(ZERO, &caps("25/1"), "video/x-raw,framerate=25/1");
        assert_eq!(latency(&rig), 0);
    });
}

#[test]
fn every_output_before_the_next_frame_leaves_with_the_one_before() {
    watched(|| {
        let mut rig = Rig::new(ZERO, &caps("25/1"), "video/x-raw,framerate=75/1");
        for at in [0, 40, 80, 120] {
            rig.push(at * MS).unwrap();
            let times = rig.times();
            assert_eq!(ms(&times), [at, at + 13, at + 26]);
        }
        rig.eos();
        assert!(rig.times().is_empty());
    });
}

// 14 to 26: what there is and when does not depend on how it is made
#[test]
fn times_are_those_of_a_frame_later() {
    watched(|| {
        for output in ["50/1", "60/1", "24/1", "200/1"] {
            let runs = ["frame", "zero"].map(|mode| {
                let any = format!("video/x-raw,framerate={output}");
                let mut rig = Rig::new(&[("latency-mode", mode)], &caps("25/1"), &any);
                for at in [0, 40, 80, 120, 160, 5000, 5040] {
                    rig.push(at * MS).unwrap();
                }
                let gap = gst::event::Gap::builder(5080 * gst::ClockTime::MSECOND);
                rig.harness.push_event(gap.build());
                rig.push(5520 * MS).unwrap();
                rig.set_input(&caps("50/1"));
                for at in [5560, 5580, 5600] {
                    rig.push(at * MS).unwrap();
                }
                rig.eos();
                let outputs = rig.outputs();
                let all = outputs.iter().map(|b| (time(b), b.duration(), b.offset()));
                all.collect::<Vec<_>>()
            });
            assert_eq!(runs[0], runs[1], "{output}");
        }
    });
}

// 25
#[test]
fn after_a_flush_all_begins_anew() {
    watched(|| {
        let mut rig = Rig::new(ZERO, &caps("25/1"), "video/x-raw,framerate=50/1");
        let times = rig.times_after_a_flush();
        assert_eq!(times, [3000, 3020, 3040, 3060, 3080, 3100]);
    });
}

// 23
#[test]
fn backwards_it_is_as_a_frame_later() {
    watched(|| {
        let runs = ["frame", "zero"].map(|mode| {
            let any = "video/x-raw,framerate=50/1";
            let mut rig = Rig::new(&[("latency-mode", mode)], &caps("25/1"), any);
            rig.turn_back();
            assert_eq!(latency(&rig), 40);
            let outputs = rig.play_back();
            let shown = outputs.iter().map(|b| (time(b), bytes(b)));
            shown.collect::<Vec<_>>()
        });
        assert_eq!(runs[0], runs[1]);
    });
}

/// Waves of 128x64 that have gone `x` pixels to the right, of one scene or another.
fn waves(rig: &Rig, pts: u64, x: f32, other: bool) -> gst::Buffer {
    let mut buffer = rig.picture(pts, 128);
    let mut map = buffer.get_mut().unwrap().map_writable().unwrap();
    for (i, code) in map[..128 * 64].iter_mut().enumerate() {
        let (px, py) = ((i % 128) as f32 - x, (i / 128) as f32);
        let wave = 40.0 * (0.21 * px + 0.1 * py).sin() + 30.0 * (0.13 * py - 0.33 * px).cos();
        *code = match other {
            false => (128.0 + wave) as u8,
            true => (20.0 + 0.2 * wave.abs()) as u8,
        };
    }
    drop(map);
    buffer
}

const WAVES: &str = "video/x-raw, format=I420, width=128, height=64, framerate=25/1, interlace-mode=progressive, pixel-aspect-ratio=1/1";

/// How far luma is off from the waves at `x`, away from the sides: the mean in codes.
fn off(rig: &Rig, buffer: &gst::Buffer, x: f32) -> f32 {
    let (found, wanted) = (bytes(buffer), bytes(&waves(rig, 0, x, false)));
    let inside = |i: &usize| (32..96).contains(&(i % 128));
    let errors = (0..128 * 64).filter(inside);
    let errors = errors.map(|i| f32::from(found[i].abs_diff(wanted[i])));
    errors.sum::<f32>() / (64.0 * 64.0)
}

/// What a pan of 4 pixels a frame looks like, four frames long, before `end`: outputs at 100 a second from 120 ms on.
fn end_of_pan(properties: &[(&str, &str)], end: impl FnOnce(&mut Rig)) -> Vec<gst::Buffer> {
    let mut rig = Rig::new(properties, WAVES, "video/x-raw,framerate=100/1");
    for i in 0..4 {
        let buffer = waves(&rig, i * 40 * MS, 4.0 * i as f32, false);
        rig.harness.push(buffer).unwrap();
    }
    end(&mut rig);
    let outputs = rig.outputs();
    let late = outputs.into_iter().filter(|b| time(b) >= 120 * MS);
    late.collect()
}

/// Errors of outputs, whose first is at 12 pixels and which go on by 1 each.
fn errors(outputs: &[gst::Buffer]) -> Vec<f32> {
    let rig = Rig::new(&[], WAVES, "video/x-raw");
    let each = outputs.iter().enumerate();
    each.map(|(n, b)| off(&rig, b, 12.0 + n as f32)).collect()
}

// up to a cut, at the end, across a lost frame of which upstream tells
#[test]
fn a_pan_goes_on_where_no_frame_follows() {
    watched(|| {
        let cut = |rig: &mut Rig| {
            let buffer = waves(rig, 160 * MS, 0.0, true);
            rig.harness.push(buffer).unwrap();
        };
        let lost = |rig: &mut Rig| {
            let ms = gst::ClockTime::from_mseconds;
            let gap = gst::event::Gap::builder(ms(160)).duration(ms(40));
            rig.harness.push_event(gap.build());
        };
        for properties in [("latency-mode", "zero"), ("scene-action", "predict")] {
            let at_cut = end_of_pan(&[properties], cut);
            let at_end = end_of_pan(&[properties], Rig::eos);
            let at_gap = end_of_pan(&[properties], lost);
            for (outputs, count) in [(&at_cut[..4], 4), (&at_end[..], 4), (&at_gap[..], 8)] {
                let errors = errors(outputs);
                assert_eq!(errors.len(), count, "{properties:?}");
                assert!(
                    errors.iter().all(|e| *e < 3.0),
                    "{properties:?}: {errors:?}"
                );
            }
            assert_eq!(time(&at_cut[4]), 160 * MS);
            assert!(
                bytes(&at_cut[4])[..128].iter().all(|code| *code < 40),
                "the new scene"
            );
        }
        // as it was
        let held = end_of_pan(&[], cut);
        assert!(errors(&held[..4])[1] > 6.0);
    });
}

#[test]
fn a_frame_that_was_predicted_well_is_shown_untouched() {
    watched(|| {
        let mut rig = Rig::new(ZERO, WAVES, "video/x-raw,framerate=50/1");
        for i in 0..6 {
            let buffer = waves(&rig, i * 40 * MS, 4.0 * i as f32, false);
            rig.harness.push(buffer).unwrap();
        }
        for buffer in rig.outputs().iter().step_by(2) {
            let x = time(buffer) / (40 * MS);
            let original = waves(&rig, 0, 4.0 * x as f32, false);
            assert_eq!(bytes(buffer), bytes(&original), "frame {x}");
        }
    });
}

// all formats go the same way; caps in the midst of a stream
#[test]
fn new_caps_begin_anew() {
    watched(|| {
        let mut rig = Rig::new(ZERO, WAVES, "video/x-raw,framerate=50/1");
        for i in 0..3 {
            let buffer = waves(&rig, i * 40 * MS, 4.0 * i as f32, false);
            rig.harness.push(buffer).unwrap();
        }
        rig.set_input(&WAVES.replace("I420", "NV12").replace("64", "96"));
        for i in 3..6 {
            let buffer = waves(&rig, i * 40 * MS, 4.0 * i as f32, false);
            rig.harness.push(buffer).unwrap();
        }
        let sizes: Vec<usize> = rig.outputs().iter().map(|b| b.size()).collect();
        assert_eq!(
            sizes,
            [[128 * 64 * 3 / 2; 6], [128 * 96 * 3 / 2; 6]].concat()
        );
        assert!(rig.errors().is_empty());
    });
}

/// From capture to screen: the least time from a frame's timestamp to when a sink shows it, and the latency that was told, in
/// a live pipeline with something in it.
fn glass_to_glass(element: &str) -> (gst::ClockTime, gst::ClockTime) {
    support::init();
    let line = format!(
        "videotestsrc is-live=true pattern=ball num-buffers=60 ! video/x-raw,width=64,height=48,framerate=20/1 \
         ! {element} ! fakesink name=out sync=true signal-handoffs=true"
    );
    let pipeline = gst::parse::launch(&line).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let out = pipeline.by_name("out").unwrap();
    let least = Arc::new(Mutex::new(gst::ClockTime::MAX));
    let (seen, weak) = (least.clone(), pipeline.downgrade());
    out.connect("handoff", false, move |values| {
        let buffer = values[1].get::<gst::Buffer>().unwrap();
        let now = weak.upgrade().and_then(|p| p.current_running_time());
        // the first second settles the latency
        if let (Some(now), Some(pts)) = (now, buffer.pts())
            && pts > gst::ClockTime::SECOND
        {
            let mut least = seen.lock().unwrap();
            *least = (*least).min(now.saturating_sub(pts));
        }
        None
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    for message in bus.iter_timed(gst::ClockTime::NONE) {
        match message.view() {
            gst::MessageView::Latency(_) => drop(pipeline.recalculate_latency()),
            gst::MessageView::Eos(_) => break,
            gst::MessageView::Error(e) => panic!("{e:?}"),
            _ => (),
        }
    }
    let mut query = gst::query::Latency::new();
    assert!(out.static_pad("sink").unwrap().peer_query(&mut query));
    pipeline.set_state(gst::State::Null).unwrap();
    let least = *least.lock().unwrap();
    (least, query.result().1)
}

#[test]
fn a_live_pipeline_is_as_fast_as_without_but_for_the_time_of_inference() {
    watched(|| {
        let with = |mode: &str| {
            format!(
                "videointerpolate quality=fast qos=false latency-mode={mode} ! video/x-raw,framerate=40/1"
            )
        };
        let (without, told_without) = glass_to_glass("identity");
        let (zero, told) = glass_to_glass(&with("zero"));
        let (frame, _) = glass_to_glass(&with("frame"));
        println!("{without} without, {zero} zero (told {told} of {told_without}), {frame} frame");
        // a sink shows nothing early: the least delay is the pipeline's latency, as long as that is kept
        let inference = told - told_without;
        // a busy machine may be late with each of them, but not by most of a frame
        let slack = 20 * gst::ClockTime::MSECOND;
        assert!(
            zero <= without + inference + slack,
            "{zero}, {without} and {inference}"
        );
        // the frame that the other mode waits for lasts 50 ms
        assert!(
            frame >= without + 50 * gst::ClockTime::MSECOND - slack,
            "{frame}"
        );
    });
}
