//! Motion along trajectories: `motion`.

use gst::prelude::*;

use crate::support::{MS, Rig, caps, ms, time, watched};

const TRAJECTORY: &[(&str, &str)] = &[("motion", "trajectory")];

fn latency(rig: &Rig) -> u64 {
    rig.harness.query_latency().unwrap().mseconds()
}

fn window(rig: &Rig) -> u64 {
    let stats: gst::Structure = rig.element.property("stats");
    stats.get("window").unwrap()
}

// 27, 31
#[test]
fn one_more_frame_is_waited_for_and_told() {
    watched(|| {
        let off = Rig::new(&[], &caps("25/1"), "video/x-raw");
        assert_eq!((latency(&off), window(&off)), (40, 3));
        let on = Rig::new(TRAJECTORY, &caps("25/1"), "video/x-raw");
        assert_eq!((latency(&on), window(&on)), (80, 4));
        let properties = [("motion", "trajectory"), ("duplicate-mode", "auto")];
        let both = Rig::new(&properties, &caps("25/1"), "video/x-raw");
        assert_eq!((latency(&both), window(&both)), (160, 6));
    });
}

#[test]
fn an_output_leaves_with_the_frame_after_its_pair() {
    watched(|| {
        let mut rig = Rig::new(TRAJECTORY, &caps("25/1"), "video/x-raw,framerate=50/1");
        for (at, expected) in [(0, vec![]), (40, vec![0]), (80, vec![20, 40])] {
            rig.push(at * MS).unwrap();
            let times = rig.times();
            assert_eq!(ms(&times), expected, "after {at} ms");
        }
        rig.eos();
        let times = rig.times();
        assert_eq!(ms(&times), [60, 80, 100]);
    });
}

// 18, 20, 25
#[test]
fn times_and_numbers_are_those_of_linear_motion() {
    watched(|| {
        for output in ["50/1", "60/1", "24/1", "200/1"] {
            let runs = ["linear", "trajectory"].map(|motion| {
                let any = format!("video/x-raw,framerate={output}");
                let mut rig = Rig::new(&[("motion", motion)], &caps("25/1"), &any);
                for at in [0, 40, 80, 120, 5000, 5040] {
                    rig.push(at * MS).unwrap();
                }
                let gap = gst::event::Gap::builder(5080 * gst::ClockTime::MSECOND);
                rig.harness.push_event(gap.build());
                rig.push(5500 * MS).unwrap();
                rig.set_input(&caps("50/1"));
                for at in [5540, 5560, 5580] {
                    rig.push(at * MS).unwrap();
                }
                rig.eos();
                let outputs = rig.outputs();
                let all: Vec<_> = outputs
                    .iter()
                    .map(|b| (time(b), b.duration(), b.offset()))
                    .collect();
                (all, rig.counter("interpolated"), rig.counter("duplicate"))
            });
            assert_eq!(runs[0], runs[1], "{output}");
        }
    });
}

// 25
#[test]
fn a_flush_lets_the_frames_go_that_wait() {
    watched(|| {
        let mut rig = Rig::new(TRAJECTORY, &caps("25/1"), "video/x-raw,framerate=50/1");
        let times = rig.times_after_a_flush();
        assert_eq!(times, [3000, 3020, 3040, 3060, 3080, 3100]);
    });
}

// 23
#[test]
fn backwards_the_frame_after_is_there_already() {
    watched(|| {
        let runs = ["linear", "trajectory"].map(|motion| {
            let any = "video/x-raw,framerate=50/1";
            let mut rig = Rig::new(&[("motion", motion)], &caps("25/1"), any);
            rig.turn_back();
            assert_eq!(latency(&rig), 40);
            let outputs = rig.play_back();
            let times: Vec<_> = outputs.iter().map(time).collect();
            (times, rig.counter("interpolated"))
        });
        assert_eq!(runs[0], runs[1]);
        assert!(runs[1].1 > 0);
    });
}

#[test]
fn equal_rates_pass_through_without_a_delay() {
    watched(|| {
        let rig = Rig::new(TRAJECTORY, &caps("25/1"), "video/x-raw,framerate=25/1");
        assert_eq!(latency(&rig), 0);
    });
}
