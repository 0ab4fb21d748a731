//! New rates, new caps, segments, flushes, gaps. The numbers are the promises'.

use gst::prelude::*;

use super::stream::*;
use super::support::seeks_go_on;

const NONE: gst::BufferFlags = gst::BufferFlags::empty();

/// Each output ends where the next begins.
fn contiguous(frames: &[Frame]) {
    for pair in frames.windows(2) {
        assert_eq!(pair[0].pts + pair[0].duration, pair[1].pts);
    }
}

// 11
#[test]
fn a_rate_set_while_playing_leaves_neither_overlap_nor_hole() {
    watched(|| {
        let mut stream = Stream::new((25, 1), (50, 1));
        stream.push_all((0..10).map(|i| i * 40 * MS));
        stream
            .element
            .set_property("framerate", gst::Fraction::new(100, 1));
        stream.push_all((10..20).map(|i| i * 40 * MS));
        stream
            .element
            .set_property("framerate", gst::Fraction::new(30, 1));
        stream.push_all((20..30).map(|i| i * 40 * MS));
        stream.eos();
        let outputs = stream.outputs();
        contiguous(&outputs);
        assert_eq!(outputs[0].pts, 0);
        let durations = |from: u64, to: u64| -> Vec<u64> {
            outputs
                .iter()
                .filter(|frame| (from..to).contains(&frame.pts))
                .map(|frame| frame.duration / MS)
                .collect()
        };
        // The change takes effect at the next input.
        assert!(durations(0, 360 * MS).iter().all(|ms| *ms == 20));
        assert!(durations(440 * MS, 760 * MS).iter().all(|ms| *ms == 10));
        assert!(durations(840 * MS, 1160 * MS).iter().all(|ms| *ms == 33));
    });
}

// 6, 11, 19: passing through at equal rates is one rate among others
#[test]
fn into_passthrough_and_back_leaves_neither_overlap_nor_hole() {
    watched(|| {
        for stop in [None, Some(100 * SECOND)] {
            let mut stream = Stream::in_segment((25, 1), (50, 1), &segment(0, stop));
            for (change, rate) in [(1, 25), (2, 75), (3, 25), (4, 50)] {
                stream.push_all((10 * change - 10..10 * change).map(|i| i * 40 * MS));
                stream
                    .element
                    .set_property("framerate", gst::Fraction::new(rate, 1));
            }
            stream.push_all((40..50).map(|i| i * 40 * MS));
            let mut outputs = stream.outputs();
            for frame in &mut outputs {
                if frame.duration == u64::MAX {
                    frame.duration = 40 * MS; // passed through as it came
                }
            }
            contiguous(&outputs);
            assert_eq!(outputs.last().map(|frame| frame.pts), Some(1960 * MS));
        }
    });
}

// 11, 12: a new input rate under the same output rate
#[test]
fn a_new_input_rate_keeps_grid_and_pairs() {
    watched(|| {
        let mut stream = Stream::new((25, 1), (100, 1));
        stream.push_all([0, 40 * MS]);
        stream.caps(16, 16, (50, 1));
        stream.push_all([60 * MS, 80 * MS]);
        stream.eos();
        let outputs = stream.outputs();
        contiguous(&outputs);
        assert_eq!(outputs.len(), 10);
        assert_eq!(stream.counter("interpolated"), 5);
    });
}

// 12
#[test]
fn every_buffer_matches_the_latest_caps() {
    watched(|| {
        let mut stream = Stream::new((25, 1), (50, 1));
        let sizes = [(16, 16), (16, 16), (24, 8), (24, 8), (17, 9), (16, 16)];
        let mut size = (16, 16);
        for (i, new) in sizes.into_iter().enumerate() {
            if new != size {
                size = new;
                stream.caps(size.0, size.1, (25, 1));
            }
            stream.push(i as u64 * 40 * MS);
        }
        assert_eq!(stream.eos(), 12);
        let outputs = stream.outputs();
        contiguous(&outputs);
        for (n, frame) in outputs.iter().enumerate() {
            assert_eq!(frame.size, sizes[n / 2], "output {n}");
            assert!(frame.bytes.len() >= (frame.size.0 * frame.size.1) as usize);
        }
    });
}

// 24
#[test]
fn a_segment_that_is_not_in_time_is_refused() {
    watched(|| {
        let mut stream = Stream::bare((50, 1));
        stream.caps(16, 16, (25, 1));
        let bytes = gst::FormattedSegment::<gst::format::Bytes>::new();
        // Sent to the pad itself: a push keeps a refusal of a sticky event to itself.
        let pad = stream.element.static_pad("sink").expect("a sink pad");
        assert!(!pad.send_event(gst::event::Segment::new(&bytes)));
        let error = stream.bus.pop_filtered(&[gst::MessageType::Error]);
        assert!(error.is_some(), "the refusal is told");
        assert!(stream.segments().is_empty());
    });
}

// 24
#[test]
fn an_identical_segment_is_ignored() {
    watched(|| {
        let mut stream = Stream::new((25, 1), (50, 1));
        stream.push(0);
        assert!(stream.segment(&segment(0, None)));
        stream.push(40 * MS);
        assert_eq!(stream.times(), [0, 20 * MS, 40 * MS]);
        assert_eq!(stream.counter("interpolated"), 1);
        assert_eq!(stream.segments().len(), 1);
    });
}

// 24
#[test]
fn a_new_stream_gets_its_segment_even_if_it_is_the_same() {
    watched(|| {
        let mut stream = Stream::new((25, 1), (50, 1));
        stream.push(0);
        assert!(stream.event(gst::event::StreamStart::new("another")));
        assert!(stream.segment(&segment(0, None)));
        stream.push(0);
        stream.push(40 * MS);
        assert_eq!(stream.segments().len(), 2);
        assert_eq!(stream.times(), [0, 20, 0, 20, 40].map(|ms| ms * MS));
    });
}

// 24
#[test]
fn a_changed_segment_drains_and_keeps_its_seqnum() {
    watched(|| {
        let mut stream = Stream::new((25, 1), (50, 1));
        stream.push(0);
        let event = gst::event::Segment::new(&segment(10 * SECOND, None));
        let seqnum = event.seqnum();
        assert!(stream.event(event));
        stream.push(10 * SECOND);
        assert_eq!(
            stream.order(gst::EventType::Segment),
            ["segment", "0", "20", "segment", "10000"]
        );
        assert_eq!(stream.segments()[1].seqnum(), seqnum);
    });
}

// 25
#[test]
fn a_flush_clears_history_and_counters_and_keeps_caps() {
    watched(|| {
        let mut stream = Stream::new((25, 1), (50, 1));
        stream.push_all([0, 40 * MS, 20 * MS]);
        assert_eq!(stream.counter("in"), 3);
        stream.event(gst::event::FlushStart::new());
        stream.event(gst::event::FlushStop::new(true));
        for name in ["in", "out", "interpolated", "duplicate", "drop"] {
            assert_eq!(stream.counter(name), 0, "{name}");
        }
        let before = stream.count();
        assert!(stream.segment(&segment(5 * SECOND, None)));
        // No caps again: they are kept. Nothing of the first pair comes back.
        stream.push_all([5 * SECOND, 5 * SECOND + 40 * MS]);
        assert_eq!(
            stream.times()[before..],
            [5 * SECOND, 5 * SECOND + 20 * MS, 5 * SECOND + 40 * MS]
        );
    });
}

// 26
#[test]
fn a_gap_event_drains_first() {
    watched(|| {
        let mut stream = Stream::new((25, 1), (50, 1));
        stream.push(0);
        let gap = gst::event::Gap::builder(gst::ClockTime::from_mseconds(40))
            .duration(gst::ClockTime::from_mseconds(460))
            .build();
        assert!(stream.event(gap));
        stream.push(500 * MS);
        stream.push(540 * MS);
        assert_eq!(
            stream.order(gst::EventType::Gap),
            ["0", "20", "gap", "500", "520", "540"]
        );
    });
}

// 26
#[test]
fn a_new_stream_drains_the_old() {
    watched(|| {
        let mut stream = Stream::new((25, 1), (50, 1));
        stream.push(0);
        assert!(stream.event(gst::event::StreamStart::new("another")));
        let order = stream.order(gst::EventType::StreamStart);
        let drained = order.iter().position(|word| word == "20");
        let started = order.iter().rposition(|word| word == "stream-start");
        assert!(drained.is_some() && drained < started, "{order:?}");
    });
}

// 26
#[test]
fn trick_modes_hold() {
    watched(|| {
        let mut trick = segment(0, None);
        trick.set_flags(gst::SegmentFlags::TRICKMODE);
        let mut stream = Stream::in_segment((25, 1), (75, 1), &trick);
        stream.push_all([0, 40 * MS]);
        let outputs = stream.outputs();
        let shown: Vec<u8> = outputs.iter().map(|frame| frame.bytes[0]).collect();
        assert_eq!(shown, [grey(0), grey(0), grey(0), grey(1)]);
        assert!(outputs[1].flags.contains(gst::BufferFlags::GAP));
        assert_eq!(stream.counter("interpolated"), 0);
    });
}

// 24, 18: EOS after a segment that changed nothing but the base
#[test]
fn eos_after_a_new_base_holds_the_last_frame() {
    watched(|| {
        let mut stream = Stream::new((25, 1), (50, 1));
        stream.push(0);
        let mut again = segment(0, None);
        again.set_base(gst::ClockTime::from_mseconds(40));
        assert!(stream.segment(&again));
        stream.push_with(Some(0), None, NONE).expect("taken");
        assert_eq!(stream.eos(), 4);
        assert_eq!(stream.times(), [0, 20 * MS, 0, 20 * MS]);
        assert_eq!(stream.counter("drop"), 0);
    });
}

// 25: with frames that wait, are predicted or were estimated again when it comes
#[test]
fn seeks_go_on_whatever_is_set() {
    watched(|| {
        for properties in [
            "",
            "motion=trajectory",
            "latency-mode=zero",
            "scene-action=predict",
            "coherence=auto",
            "duplicate-mode=auto",
        ] {
            seeks_go_on(&format!(
                "videotestsrc pattern=ball ! video/x-raw,format=I420,width=64,height=48,framerate=25/1 ! videointerpolate {properties} \
                 ! video/x-raw,framerate=50/1 ! appsink name=sink sync=false max-buffers=2"
            ));
        }
    });
}
