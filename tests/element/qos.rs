//! Quality of service: promise 30.

use gst::prelude::*;

use crate::support::{self, MS, Rig, has, watched};

/// Downstream says that the buffer of `timestamp` was late by `diff` nanoseconds.
fn late(rig: &mut Rig, timestamp: u64, diff: i64) {
    let time = gst::ClockTime::from_nseconds(timestamp);
    let event = gst::event::Qos::new(gst::QOSType::Underflow, 1.5, diff, time);
    assert!(rig.harness.push_upstream_event(event));
}

fn upstream_qos_events(rig: &mut Rig) -> usize {
    std::iter::from_fn(|| rig.harness.try_pull_upstream_event())
        .filter(|e| e.type_() == gst::EventType::Qos)
        .count()
}

fn stat(rig: &Rig, name: &str) -> u64 {
    let stats: gst::Structure = rig.element.property("stats");
    stats.get(name).unwrap()
}

// promise 30
#[test]
fn a_late_output_is_held_and_a_message_says_so() {
    watched(|| {
        let mut rig = Rig::rates("25/1", "50/1");
        rig.push(0).unwrap();
        rig.push(40 * MS).unwrap();
        rig.outputs();
        // good until 40 + 2 · 30 + 20 = 120 ms
        late(&mut rig, 40 * MS, 30 * MS as i64);
        assert_eq!(upstream_qos_events(&mut rig), 1);
        rig.push(80 * MS).unwrap();
        let outputs = rig.outputs();
        let times: Vec<_> = outputs.iter().map(support::time).collect();
        assert_eq!(support::ms(&times), [60, 80]);
        assert!(has(&outputs[0], gst::BufferFlags::GAP));
        assert!(!has(&outputs[1], gst::BufferFlags::GAP));
        assert_eq!((stat(&rig, "degraded"), stat(&rig, "late")), (1, 0));

        let messages = rig.messages(gst::MessageType::Qos);
        assert_eq!(messages.len(), 1);
        let gst::MessageView::Qos(m) = messages[0].view() else {
            unreachable!()
        };
        assert_eq!(m.timestamp(), Some(gst::ClockTime::from_mseconds(60)));
        assert_eq!(m.running_time(), Some(gst::ClockTime::from_mseconds(60)));
        let (jitter, proportion, quality) = m.values();
        assert_eq!((jitter, proportion), (60 * MS as i64, 1.5));
        assert!(quality < 1_000_000);
        let (processed, dropped) = m.stats();
        assert_eq!(processed.value(), 3);
        assert_eq!(dropped.value(), 0);

        // and when it is in time again, it is interpolated again
        rig.push(120 * MS).unwrap();
        rig.push(160 * MS).unwrap();
        let outputs = rig.outputs();
        let last = &outputs[outputs.len() - 2];
        assert_eq!(support::time(last), 140 * MS);
        assert!(!has(last, gst::BufferFlags::GAP));
    });
}

// promise 30
#[test]
fn what_is_very_late_is_dropped_and_the_inputs_are_kept() {
    watched(|| {
        let mut rig = Rig::rates("25/1", "50/1");
        rig.push(0).unwrap();
        rig.push(40 * MS).unwrap();
        rig.outputs();
        // good until 40 + 2 · 300 + 20 = 660 ms
        late(&mut rig, 40 * MS, 300 * MS as i64);
        for i in 2..19 {
            rig.push(i * 40 * MS).unwrap();
        }
        // 460 is late by 200 and held
        let outputs = rig.outputs();
        assert!(has(&outputs[0], gst::BufferFlags::DISCONT));
        assert!(!has(&outputs[1], gst::BufferFlags::DISCONT));
        let times: Vec<_> = outputs.iter().map(support::time).collect();
        assert_eq!(times[0], 460 * MS);
        assert_eq!(*times.last().unwrap(), 720 * MS);
        assert_eq!(stat(&rig, "late"), 20);
        let dropped = rig
            .messages(gst::MessageType::Qos)
            .iter()
            .any(|m| matches!(m.view(), gst::MessageView::Qos(q) if q.stats().1.value() == 20));
        assert!(dropped);
        // 700 is interpolated: both its neighbours were kept
        assert!(rig.counter("interpolated") >= 2);
    });
}

// promise 30
#[test]
fn without_qos_everything_is_made() {
    watched(|| {
        let mut rig = Rig::rates("25/1", "50/1");
        rig.element.set_property("qos", false);
        late(&mut rig, 0, 1000 * MS as i64);
        assert_eq!(upstream_qos_events(&mut rig), 1);
        rig.push(0).unwrap();
        rig.push(40 * MS).unwrap();
        assert_eq!(support::ms(&rig.times()), [0, 20, 40]);
        assert_eq!(rig.counter("interpolated"), 1);
    });
}

// a sink that counts wrong must not take the stream down
#[test]
fn times_beyond_all_bounds_are_survived() {
    watched(|| {
        let mut rig = Rig::rates("25/1", "50/1");
        rig.push(0).unwrap();
        late(&mut rig, u64::MAX - 5, i64::MAX);
        late(&mut rig, 5, -5);
        rig.push(40 * MS).unwrap();
        assert_eq!(support::ms(&rig.times()), [0, 20, 40]);
        assert_eq!(rig.errors(), Vec::<String>::new());
    });
}
