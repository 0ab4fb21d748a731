//! Streams that nobody should send: nothing panics, nothing hangs, times keep their promises.

use gst::prelude::*;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::stream::*;

/// One thing that upstream does.
#[derive(Debug, Clone)]
enum Act {
    Frame {
        pts: Option<u64>,
        duration: Option<u64>,
        discont: bool,
    },
    Caps(u32, u32, (i32, i32)),
    Rate(i32, i32),
    Segment {
        start: u64,
        stop: Option<u64>,
        rate: f64,
        trick: bool,
    },
    Gap(u64, u64),
    Flush,
    Eos,
    StreamStart,
}

/// Times that hurt: ordinary, on the grid, near the largest.
fn time() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..SECOND,
        6 => (0..50u64).prop_map(|n| n * 40 * MS),
        1 => (2..1000u64).prop_map(|n| u64::MAX - n),
        1 => 0..u64::MAX,
    ]
}

/// Durations that do not make a test hold a frame for an hour.
fn duration() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0..SECOND, 1 => (2..1000u64).prop_map(|n| u64::MAX - n)]
}

fn act() -> impl Strategy<Value = Act> {
    let rates = [(25, 1), (0, 1), (50, 1), (30_000, 1001), (1, 1)];
    prop_oneof![
        16 => (
            proptest::option::weighted(0.9, time()),
            proptest::option::of(duration()),
            any::<bool>(),
        )
            .prop_map(|(pts, duration, discont)| Act::Frame { pts, duration, discont }),
        1 => (1..40u32, 1..40u32, proptest::sample::select(rates.to_vec()))
            .prop_map(|(width, height, rate)| Act::Caps(width, height, rate)),
        // Never an input's rate: what passes through keeps whatever order it has.
        1 => (0..200i32).prop_map(|n| Act::Rate(7 * n + 3, 7)),
        2 => (time(), proptest::option::of(time()), any::<bool>(), any::<bool>()).prop_map(
            |(start, stop, reverse, trick)| Act::Segment {
                start: stop.map_or(start, |stop| start.min(stop)),
                stop,
                rate: if reverse && stop.is_some() { -1.0 } else { 1.0 },
                trick,
            }
        ),
        1 => (time(), duration()).prop_map(|(pts, duration)| Act::Gap(pts, duration)),
        1 => Just(Act::Flush),
        1 => Just(Act::Eos),
        1 => Just(Act::StreamStart),
    ]
}

fn perform(stream: &mut Stream, act: &Act) {
    match *act {
        Act::Frame {
            pts,
            duration,
            discont,
        } => {
            let flags = match discont {
                true => gst::BufferFlags::DISCONT,
                false => gst::BufferFlags::empty(),
            };
            let _ = stream.push_with(pts, duration, flags);
        }
        Act::Caps(width, height, rate) => stream.caps(width, height, rate),
        Act::Rate(num, den) => stream
            .element
            .set_property("framerate", gst::Fraction::new(num, den)),
        Act::Segment {
            start,
            stop,
            rate,
            trick,
        } => {
            let mut segment = segment(start, stop);
            segment.set_rate(rate);
            if trick {
                segment.set_flags(gst::SegmentFlags::TRICKMODE);
            }
            stream.segment(&segment);
        }
        Act::Gap(pts, duration) => {
            let gap = gst::event::Gap::builder(gst::ClockTime::from_nseconds(pts))
                .duration(gst::ClockTime::from_nseconds(duration));
            stream.event(gap.build());
        }
        Act::Flush => {
            stream.event(gst::event::FlushStart::new());
            stream.event(gst::event::FlushStop::new(true));
            stream.segment(&segment(0, None));
        }
        Act::Eos => {
            // After EOS only a flush or a new stream lets more through.
            stream.event(gst::event::Eos::new());
            stream.event(gst::event::StreamStart::new("next"));
            stream.segment(&segment(0, None));
        }
        Act::StreamStart => {
            stream.event(gst::event::StreamStart::new("another"));
        }
    }
}

/// Between two SEGMENTs or flushes, what holds for any input.
fn check(stream: &Stream) -> Result<(), TestCaseError> {
    let mut segment: Option<gst::FormattedSegment<gst::ClockTime>> = None;
    let mut before: Option<u64> = None;
    for item in stream.items() {
        match item {
            Item::Event(event) => match event.view() {
                gst::EventView::Segment(event) => {
                    segment = event.segment().downcast_ref().cloned();
                    before = None;
                }
                gst::EventView::FlushStop(_) => before = None,
                _ => {}
            },
            Item::Frame(frame) => {
                let Some(segment) = &segment else {
                    return Err(TestCaseError::fail("a frame before its segment"));
                };
                let start = segment.start().map_or(0, gst::ClockTime::nseconds);
                prop_assert!(frame.pts >= start);
                if let Some(stop) = segment.stop() {
                    prop_assert!(frame.pts < stop.nseconds());
                }
                let again = frame.flags.contains(gst::BufferFlags::DISCONT);
                if let Some(before) = before.filter(|_| !again) {
                    match segment.rate() > 0.0 {
                        true => prop_assert!(before < frame.pts),
                        false => prop_assert!(before > frame.pts),
                    }
                }
                before = Some(frame.pts);
                prop_assert_eq!(frame.bytes.len(), picture_size(frame.size));
            }
        }
    }
    Ok(())
}

// 12, 14, 19, 21, 24
#[test]
fn any_sequence_keeps_the_promises() {
    watched(|| {
        let config = ProptestConfig {
            cases: 32,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let acts = proptest::collection::vec(act(), 0..40);
        let mode = prop_oneof![Just("off"), Just("auto")];
        TestRunner::new(config)
            .run(&(acts, mode), |(acts, mode)| {
                // No rate here is an input's, so nothing passes through.
                let mut stream = Stream::bare((77, 3));
                stream.element.set_property_from_str("duplicate-mode", mode);
                stream.caps(16, 16, (25, 1));
                stream.segment(&segment(0, None));
                for act in &acts {
                    perform(&mut stream, act);
                    if let Some(message) = stream.bus.pop_filtered(&[gst::MessageType::Error]) {
                        return Err(TestCaseError::fail(format!("{act:?}: {message:?}")));
                    }
                }
                check(&stream)
            })
            .unwrap_or_else(|failure| panic!("{failure}"));
    });
}

// 27: one wide jump in a stream of unknown rate is no frame duration
#[test]
fn a_jump_does_not_become_latency() {
    watched(|| {
        let mut stream = Stream::new((0, 1), (50, 1));
        stream.harness.set_live(true);
        stream.push_all([0, 40 * MS, 80 * MS, 3600 * SECOND, u64::MAX - 5]);
        let latency = stream.harness.query_latency().expect("an answer");
        assert!(latency < gst::ClockTime::from_seconds(5), "{latency}");
        let error = stream.bus.pop_filtered(&[gst::MessageType::Error]);
        assert!(error.is_none(), "{error:?}");
    });
}
