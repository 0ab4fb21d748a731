//! The cases of videorate's own tests, 25/1 in, as facts about this element.
//!
//! Equal rates pass through here, so the cases run where the grid is at work:
//! at an input of unknown rate (0/1) with 25/1 out, where the durations are
//! given with the buffers, and at 25/1 to 50/1.

use gst::prelude::*;

use super::stream::*;

const NONE: gst::BufferFlags = gst::BufferFlags::empty();

/// 25/1 out of a stream of unknown rate.
fn at_25() -> Stream {
    Stream::new((0, 1), (25, 1))
}

fn at_50() -> Stream {
    Stream::new((25, 1), (50, 1))
}

/// Outputs after each input, then after EOS. Frames last 40 ms.
fn counts(stream: &mut Stream, times: &[u64]) -> Vec<usize> {
    let mut counts: Vec<usize> = times
        .iter()
        .map(|ms| {
            stream
                .push_with(Some(ms * MS), Some(40 * MS), NONE)
                .expect("taken");
            stream.count()
        })
        .collect();
    counts.push(stream.eos());
    counts
}

// 18
#[test]
fn one() {
    watched(|| {
        assert_eq!(counts(&mut at_25(), &[0]), [1, 1]);
        assert_eq!(counts(&mut at_50(), &[0]), [1, 2]);
    });
}

// 16, 18
#[test]
fn more() {
    watched(|| {
        assert_eq!(counts(&mut at_25(), &[0, 60, 240]), [1, 2, 7, 7]);
        let mut stream = at_50();
        assert_eq!(counts(&mut stream, &[0, 60, 240]), [1, 4, 13, 14]);
        for (n, frame) in stream.outputs().iter().enumerate() {
            let n = n as u64;
            assert_eq!((frame.offset, frame.offset_end), (n, n + 1));
        }
    });
}

// 21
#[test]
fn wrong_order() {
    watched(|| {
        let mut stream = at_25();
        let expected = [1, 26, 51, 51, 51];
        assert_eq!(counts(&mut stream, &[0, 1000, 2000, 0]), expected);
        assert_eq!(stream.counter("drop"), 1);
        let mut stream = at_50();
        assert_eq!(
            counts(&mut stream, &[0, 1000, 2000, 0]),
            [1, 51, 101, 101, 102]
        );
        assert_eq!(stream.counter("drop"), 1);
    });
}

// 15, 21
#[test]
fn wrong_order_from_zero() {
    watched(|| {
        let mut stream = at_25();
        assert_eq!(counts(&mut stream, &[1000, 0, 2000]), [1, 1, 26, 26]);
        assert_eq!(stream.times()[0], SECOND);
        assert_eq!(stream.counter("drop"), 1);
    });
}

// 20
#[test]
fn max_duplication_time() {
    watched(|| {
        let mut stream = at_25();
        stream.element.set_property("max-gap", 2 * SECOND);
        let times = [0, 1000, 2000, 5000, 6000];
        assert_eq!(counts(&mut stream, &times), [1, 26, 51, 52, 77, 77]);
    });
}

// 5
#[test]
fn no_framerate() {
    watched(|| {
        let mut stream = Stream::bare((50, 1));
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", "GRAY8")
            .field("width", 16)
            .field("height", 16)
            .build();
        stream.event(gst::event::Caps::new(&caps));
        stream.event(gst::event::Segment::new(&segment(0, None)));
        let buffer = gst::Buffer::from_mut_slice(vec![0u8; 256]);
        assert_eq!(
            stream.harness.push(buffer),
            Err(gst::FlowError::NotNegotiated)
        );
        assert_eq!(stream.count(), 0);
    });
}

// 12
#[test]
fn changing_size() {
    watched(|| {
        for (mut stream, input, factor) in [(at_25(), (0, 1), 1), (at_50(), (25, 1), 2)] {
            let sizes = [(16, 16), (16, 16), (24, 8), (16, 16), (16, 16)];
            let mut size = (16, 16);
            for (i, new) in sizes.into_iter().enumerate() {
                if new != size {
                    size = new;
                    stream.caps(size.0, size.1, input);
                }
                stream
                    .push_with(Some(i as u64 * 40 * MS), Some(40 * MS), NONE)
                    .expect("taken");
                if factor == 1 {
                    assert_eq!(stream.count(), i + 1);
                }
            }
            stream.eos();
            let outputs = stream.outputs();
            assert_eq!(outputs.len(), 5 * factor);
            for (n, frame) in outputs.iter().enumerate() {
                assert_eq!(frame.pts, n as u64 * 40 * MS / factor as u64);
                assert_eq!(frame.size, sizes[n / factor]);
            }
        }
    });
}

// 16
#[test]
fn refused_downstream() {
    watched(|| {
        // Held, to spare the network: the count is the grid's.
        let mut trick = segment(0, None);
        trick.set_flags(gst::SegmentFlags::TRICKMODE);
        let mut stream = Stream::in_segment((33, 1), (25, 1), &trick);
        let step = SECOND / 33;
        let mut pts = 0;
        while pts < 100 * SECOND {
            stream.push_with(Some(pts), None, NONE).expect("taken");
            pts += step;
        }
        assert_eq!(stream.count(), 2500);
        let pad = stream.harness.sinkpad().expect("a pad behind");
        pad.set_active(false).expect("inactive");
        assert_eq!(
            stream.push_with(Some(pts), None, NONE),
            Err(gst::FlowError::Flushing)
        );
    });
}

// 1
#[test]
fn fixed_downstream() {
    watched(|| {
        let mut stream = Stream::bare((0, 1));
        stream
            .element
            .set_property("multiplier", gst::Fraction::new(0, 1));
        let fixed = "video/x-raw, format=GRAY8, width=320, height=240, framerate=25/1";
        stream.harness.set_sink_caps_str(fixed);
        let pad = stream.element.static_pad("sink").expect("a sink pad");
        let open = fixed.replace("25/1", "[0/1, 2147483647/1]");
        let expected: gst::Caps = format!("{fixed}; {open}").parse().expect("caps");
        let caps = pad.query_caps(None);
        assert_eq!(caps.size(), 2, "{caps}");
        assert!(caps.is_strictly_equal(&expected), "{caps}");
    });
}

// 7
#[test]
fn variable_in() {
    watched(|| {
        let mut stream = Stream::bare((0, 1));
        stream
            .harness
            .set_sink_caps_str("video/x-raw, framerate=0/1");
        stream.caps(16, 16, (0, 1));
        assert!(stream.segment(&segment(0, None)));
        assert_eq!(stream.push_all([0, 70 * MS, 80 * MS]), [1, 2, 3]);
        let pad = stream.harness.sinkpad().expect("a pad behind");
        let caps = pad.current_caps().expect("caps");
        let rate = caps.structure(0).and_then(|s| s.get("framerate").ok());
        assert_eq!(rate, Some(gst::Fraction::new(0, 1)));
    });
}

// 24
#[test]
fn segment_start_advance() {
    watched(|| {
        for (mut stream, step) in [(at_25(), 40), (at_50(), 20)] {
            stream.push_all([0, 40, 80].map(|ms| ms * MS));
            assert!(stream.segment(&segment(30 * SECOND, None)));
            stream.push_all([30_040, 30_080].map(|ms| ms * MS));
            stream.eos();
            let order = stream.order(gst::EventType::Segment);
            let second = order
                .iter()
                .rposition(|word| word == "segment")
                .expect("a second segment");
            assert_eq!(order[second + 1], "30040");
            assert_eq!(order[second + 2], (30_040 + step).to_string());
            let late = order[second + 1..].iter().map(|word| word.parse::<u64>());
            assert!(late.flatten().all(|ms| ms >= 30_040));
        }
    });
}

// 24
#[test]
fn segment_same() {
    watched(|| {
        let start = segment(30 * SECOND, None);
        let mut stream = Stream::in_segment((25, 1), (50, 1), &start);
        stream.element.set_property("max-gap", 5 * SECOND);
        stream.push_all([32_000, 32_040, 32_080].map(|ms| ms * MS));
        assert!(stream.segment(&start));
        stream.push_all([35_040, 35_080].map(|ms| ms * MS));
        stream.eos();
        let expected: Vec<u64> = (0..156).map(|n| 32 * SECOND + n * 20 * MS).collect();
        assert_eq!(stream.times(), expected);
        assert_eq!(stream.segments().len(), 1);
    });
}

// 24
#[test]
fn segment_update() {
    watched(|| {
        let mut stream = at_25();
        let push = |stream: &mut Stream, ms: u64| {
            stream
                .push_with(Some(ms * MS), Some(40 * MS), NONE)
                .expect("taken");
        };
        push(&mut stream, 0);
        let mut moved = segment(0, None);
        moved.set_base(gst::ClockTime::from_mseconds(40));
        assert!(stream.segment(&moved));
        push(&mut stream, 0);
        assert!(stream.segment(&segment(0, None)));
        push(&mut stream, 80);
        push(&mut stream, 120);
        stream.eos();
        assert_eq!(
            stream.order(gst::EventType::Segment),
            ["segment", "0", "segment", "0", "segment", "80", "120"]
        );
    });
}

// 12, 21
#[test]
fn backward_with_new_caps() {
    watched(|| {
        let mut stream = at_50();
        stream.push_all([0, SECOND]);
        let old = stream.count();
        stream.caps(24, 8, (25, 1));
        stream.push_all([0, 2 * SECOND]);
        stream.eos();
        let outputs = stream.outputs();
        assert!(outputs.len() > old + 1);
        for frame in &outputs {
            let (width, height) = frame.size;
            assert_eq!(frame.bytes.len(), (width * height) as usize);
        }
        assert_eq!(outputs.last().map(|frame| frame.size), Some((24, 8)));
    });
}

// 19
#[test]
fn seek_to_three_seconds_is_filled() {
    watched(|| {
        let mut stream = Stream::in_segment((1, 1), (30, 1), &segment(0, Some(3 * SECOND)));
        stream.push_all([0, SECOND, 2 * SECOND]);
        assert_eq!(stream.eos(), 90);
        assert_eq!(stream.times().last(), Some(&2_966_666_666));
    });
}

// 23
#[test]
fn reverse_from_ten_to_thirty() {
    watched(|| {
        let mut stream = Stream::in_segment((10, 1), (30, 1), &reverse(0, SECOND));
        for tenth in (0..10).rev() {
            stream
                .push_with(Some(tenth * 100 * MS), None, gst::BufferFlags::DISCONT)
                .expect("taken");
        }
        stream.eos();
        let expected: Vec<u64> = (1..=30).map(|n| SECOND - n * SECOND / 30).collect();
        assert_eq!(expected[..3], [966_666_667, 933_333_334, 900_000_000]);
        assert_eq!(stream.times(), expected);
    });
}
