//! Latency: promises 27 to 29.

use std::time::Duration;

use gst::prelude::*;

use crate::support::{self, MS, Pads, Rig, caps, watched};

fn latency(pad: &gst::Pad) -> (bool, gst::ClockTime, Option<gst::ClockTime>) {
    let mut query = gst::query::Latency::new();
    assert!(pad.query(&mut query));
    query.result()
}

fn ms(n: u64) -> gst::ClockTime {
    gst::ClockTime::from_mseconds(n)
}

/// The element behind a source that answers `(live, min, max)`.
fn behind(answer: (bool, u64, Option<u64>), input: &str, properties: &[(&str, &str)]) -> Pads {
    let mut pads = Pads::new(properties, input, |_| Ok(gst::FlowSuccess::Ok));
    let (live, min, max) = answer;
    pads.replace_source(
        move |pad, parent, query| match query.view_mut() {
            gst::QueryViewMut::Latency(q) => {
                q.set(live, ms(min), max.map(ms));
                true
            }
            _ => gst::Pad::query_default(pad, parent, query),
        },
        input,
    );
    pads
}

// promise 27
#[test]
fn one_input_duration_is_added_and_live_and_no_maximum_are_kept() {
    watched(|| {
        for live in [false, true] {
            let pads = behind((live, 10, None), &caps("25/1"), &[]);
            let src = pads.element.static_pad("src").unwrap();
            assert_eq!(latency(&src), (live, ms(50), None));
        }
    });
}

// promise 27
#[test]
fn the_maximum_grows_by_what_is_buffered_only() {
    watched(|| {
        let pads = behind((true, 10, Some(100)), &caps("25/1"), &[]);
        let src = pads.element.static_pad("src").unwrap();
        assert_eq!(latency(&src), (true, ms(50), Some(ms(140))));
        // inference takes time, which buffers nothing
        for i in 0..4 {
            let info = support::info(&caps("25/1"));
            pads.src
                .push(support::picture(&info, i * 40 * MS, 1))
                .unwrap();
        }
        let (_, min, max) = latency(&src);
        assert!(min > ms(50), "{min}");
        assert_eq!(max, Some(ms(140)));
    });
}

// a source that counts wrong must not take the pipeline down
#[test]
fn a_latency_beyond_all_bounds_stays_the_longest() {
    watched(|| {
        let longest = u64::MAX / MS;
        let pads = behind((true, longest, Some(longest)), &caps("25/1"), &[]);
        let src = pads.element.static_pad("src").unwrap();
        let most = gst::ClockTime::MAX;
        assert_eq!(latency(&src), (true, most, Some(most)));
    });
}

// promise 27
#[test]
fn a_variable_rate_counts_its_longest_interval() {
    watched(|| {
        let mut rig = Rig::rates("0/1", "50/1");
        assert_eq!(rig.harness.query_latency(), Some(gst::ClockTime::ZERO));
        for pts in [0, 10, 70, 100] {
            rig.push(pts * MS).unwrap();
        }
        let latency = rig.harness.query_latency().unwrap();
        assert!(latency >= ms(60), "{latency}");
        assert!(!rig.messages(gst::MessageType::Latency).is_empty());
    });
}

/// The latency of a live pipeline before inference was ever measured.
fn live_latency(element: &str) -> gst::ClockTime {
    support::init();
    let pipeline = gst::parse::launch(&format!(
        "videotestsrc is-live=true ! video/x-raw, width=32, height=16, framerate=25/1 ! {element} name=x ! video/x-raw, framerate=50/1 ! fakesink async=false"
    ))
    .unwrap();
    let x = pipeline
        .downcast_ref::<gst::Bin>()
        .unwrap()
        .by_name("x")
        .unwrap();
    let src = x.static_pad("src").unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    // the first buffer: all is negotiated, nothing was interpolated
    src.add_probe(gst::PadProbeType::BUFFER, move |pad, _| {
        let _ = sender.send(latency(pad).1);
        gst::PadProbeReturn::Remove
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    let found = receiver.recv().unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    found
}

// promise 27
#[test]
fn a_live_source_has_the_latency_it_has_through_videorate() {
    watched(|| {
        assert_eq!(live_latency("videointerpolate"), live_latency("videorate"));
    });
}

// promise 28
#[test]
fn every_change_posts_one_message_and_jitter_none() {
    watched(|| {
        let mut rig = Rig::new(&[], &caps("25/1"), "video/x-raw");
        assert_eq!(rig.messages(gst::MessageType::Latency).len(), 1);
        // another input rate
        rig.set_input(&caps("50/1"));
        assert_eq!(rig.messages(gst::MessageType::Latency).len(), 1);
        // the same again, another output rate: as before
        rig.set_input(&caps("50/1"));
        rig.element
            .set_property("multiplier", gst::Fraction::new(3, 1));
        rig.push(0).unwrap();
        assert_eq!(rig.messages(gst::MessageType::Latency).len(), 0);
        // inference: a few changes at first, then none
        for i in 1..200 {
            rig.push(i * 20 * MS).unwrap();
        }
        let changes = rig.messages(gst::MessageType::Latency).len();
        assert!(
            (1..20).contains(&changes),
            "{changes} changes in 400 outputs"
        );
    });
}

// promise 29
#[test]
fn nothing_is_invented_when_upstream_stops() {
    watched(|| {
        let mut rig = Rig::rates("25/1", "50/1");
        rig.push(0).unwrap();
        rig.push(40 * MS).unwrap();
        assert_eq!(support::ms(&rig.times()), [0, 20, 40]);
        std::thread::sleep(Duration::from_millis(200));
        assert!(rig.times().is_empty());
    });
}
