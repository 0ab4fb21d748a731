//! When outputs leave and what they show. The numbers are the promises'.

use gst::prelude::*;

use super::stream::*;

const NONE: gst::BufferFlags = gst::BufferFlags::empty();

// 14
#[test]
fn thirty_to_sixty_has_the_grid_of_the_formula() {
    watched(|| {
        let mut stream = Stream::new((30, 1), (60, 1));
        stream.push_all([0, 33_333_333]);
        stream.eos();
        assert_eq!(stream.times(), [0, 16_666_666, 33_333_333, 50_000_000]);
        for (n, frame) in stream.outputs().iter().enumerate() {
            let n = n as u64;
            let edge = |n: u64| n * SECOND / 60;
            assert_eq!(frame.duration, edge(n + 1) - edge(n));
            assert_eq!((frame.offset, frame.offset_end), (n, n + 1));
        }
    });
}

// 14, 26: an hour, held as in trick modes to spare the network
#[test]
fn an_hour_of_film_at_sixty_ends_on_the_exact_nanosecond() {
    watched(|| {
        let mut trick = segment(0, None);
        trick.set_flags(gst::SegmentFlags::TRICKMODE);
        let mut stream = Stream::in_segment((24_000, 1001), (60, 1), &trick);
        for i in 0..86_314u64 {
            let pts = Some(i * 1001 * SECOND / 24_000);
            stream.push_with(pts, None, NONE).expect("taken");
        }
        stream.eos();
        let times = stream.times();
        for (n, time) in times.iter().enumerate() {
            assert_eq!(*time, n as u64 * SECOND / 60);
        }
        assert_eq!(times[216_000], 3600 * SECOND);
        assert_eq!(stream.counter("interpolated"), 0);
    });
}

// 14, 15, 17
#[test]
fn whole_ratios_show_every_original_untouched() {
    watched(|| {
        let mut stream = Stream::new((25, 1), (75, 1));
        let first = 3 * SECOND + 7;
        stream.push_all((0..8).map(|i| first + i * 40 * MS));
        let outputs = stream.outputs();
        assert_eq!(outputs.len(), 22);
        for (i, frame) in outputs.iter().step_by(3).enumerate() {
            assert_eq!(frame.pts, first + i as u64 * 40 * MS);
            assert_eq!(frame.bytes, [grey(i); 256]);
            assert!(!frame.flags.contains(gst::BufferFlags::GAP));
        }
        assert_eq!(stream.counter("interpolated"), 14);
    });
}

// 14, 17: 2.5 times
#[test]
fn film_to_sixty_is_interpolated_between_the_originals() {
    watched(|| {
        let mut stream = Stream::new((24, 1), (60, 1));
        stream.push_all((0..5).map(|i| i * SECOND / 24));
        assert_eq!(stream.eos(), 13);
        let outputs = stream.outputs();
        for (output, source) in [(0, 0), (5, 2), (10, 4)] {
            assert_eq!(outputs[output].bytes, [grey(source); 256]);
        }
        assert_eq!(stream.counter("interpolated"), 8);
        assert_eq!(stream.counter("in"), 5);
        assert_eq!(stream.counter("out"), 13);
    });
}

// 14
#[test]
fn a_lower_rate_leaves_frames_out() {
    watched(|| {
        let mut stream = Stream::new((50, 1), (25, 1));
        stream.push_all((0..10).map(|i| i * 20 * MS));
        assert_eq!(stream.eos(), 5);
        for (n, frame) in stream.outputs().iter().enumerate() {
            assert_eq!(frame.pts, n as u64 * 40 * MS);
            assert_eq!(frame.bytes, [grey(2 * n); 256]);
        }
    });
}

// 15
#[test]
fn the_anchor_is_clipped_to_the_segment() {
    watched(|| {
        let start = 30 * SECOND;
        let mut stream = Stream::in_segment((25, 1), (50, 1), &segment(start, None));
        stream
            .push_with(Some(start - 30 * MS), Some(40 * MS), NONE)
            .expect("taken");
        stream.push(start + 10 * MS);
        stream.push(start + 50 * MS);
        assert_eq!(stream.times(), [start, start + 20 * MS, start + 40 * MS]);
    });
}

// 16
#[test]
fn every_output_up_to_the_input_leaves_at_once() {
    watched(|| {
        let mut stream = Stream::new((25, 1), (50, 1));
        let counts = stream.push_all([100, 140, 195].map(|ms| ms * MS));
        assert_eq!(counts, [1, 3, 5]);
    });
}

// 16
#[test]
fn events_keep_their_place_between_frames() {
    watched(|| {
        let mut stream = Stream::new((25, 1), (50, 1));
        let mark =
            || gst::event::CustomDownstream::builder(gst::Structure::new_empty("mark")).build();
        stream.push(0);
        stream.event(mark());
        stream.push(40 * MS);
        stream.event(mark());
        stream.push(80 * MS);
        assert_eq!(
            stream.order(gst::EventType::CustomDownstream),
            [
                "0",
                "custom-downstream",
                "20",
                "40",
                "custom-downstream",
                "60",
                "80"
            ]
        );
    });
}

// 17
#[test]
fn millisecond_timestamps_still_show_the_originals() {
    watched(|| {
        let mut stream = Stream::new((30, 1), (60, 1));
        for i in 0..30 {
            let edge = |i: u64| (i * SECOND / 30 + MS / 2) / MS * MS;
            stream
                .push_with(Some(edge(i)), Some(edge(i + 1) - edge(i)), NONE)
                .expect("taken");
        }
        assert_eq!(stream.eos(), 60);
        for (i, frame) in stream.outputs().iter().step_by(2).enumerate() {
            assert_eq!(frame.pts, 2 * i as u64 * SECOND / 60);
            assert_eq!(frame.bytes, [grey(i); 256]);
        }
        assert_eq!(stream.counter("interpolated"), 29);
    });
}

// 18
#[test]
fn n_frames_at_twice_the_rate_are_two_n() {
    watched(|| {
        for n in [1, 2, 7] {
            let mut stream = Stream::new((25, 1), (50, 1));
            stream.push_all((0..n).map(|i| i * 40 * MS));
            assert_eq!(stream.eos() as u64, 2 * n);
        }
    });
}

// 18
#[test]
fn one_frame_gives_at_least_one() {
    watched(|| {
        for output in [(50, 1), (1, 10)] {
            let mut stream = Stream::new((25, 1), output);
            stream.push(0);
            assert!(stream.eos() >= 1, "{output:?}");
        }
    });
}

// 18
#[test]
fn segment_done_holds_the_last_frame() {
    watched(|| {
        let mut stream = Stream::new((25, 1), (50, 1));
        stream.push_all([0, 40 * MS]);
        let done = gst::event::SegmentDone::new(gst::ClockTime::from_mseconds(80));
        assert!(stream.event(done));
        assert_eq!(
            stream.order(gst::EventType::SegmentDone),
            ["0", "20", "40", "60", "segment-done"]
        );
    });
}

// 18, 33
#[test]
fn held_duplicates_alone_carry_gap() {
    watched(|| {
        let mut stream = Stream::new((25, 1), (100, 1));
        stream.push_all([0, 40 * MS]);
        stream.eos();
        let gaps: Vec<bool> = stream
            .outputs()
            .iter()
            .map(|frame| frame.flags.contains(gst::BufferFlags::GAP))
            .collect();
        assert_eq!(gaps, [false, false, false, false, false, true, true, true]);
        assert_eq!(stream.counter("duplicate"), 3);
        assert_eq!(stream.outputs()[7].bytes, [grey(1); 256]);
    });
}

// 19
#[test]
fn nothing_is_sent_at_or_after_the_stop() {
    watched(|| {
        let mut stream = Stream::in_segment((25, 1), (50, 1), &segment(0, Some(100 * MS)));
        stream.push_all([0, 40 * MS, 80 * MS]);
        // What lies behind the stop may be refused with EOS.
        let _ = stream.push_with(Some(120 * MS), None, NONE);
        stream.eos();
        assert_eq!(stream.times(), [0, 20, 40, 60, 80].map(|ms| ms * MS));
    });
}

// 19
#[test]
fn the_stop_is_held_to_for_a_second_at_most() {
    watched(|| {
        let mut stream = Stream::in_segment((25, 1), (50, 1), &segment(0, Some(60 * SECOND)));
        stream.push(0);
        assert_eq!(stream.eos(), 50);
    });
}

// 20
#[test]
fn a_hole_is_left_open_and_marked() {
    watched(|| {
        let mut stream = Stream::new((25, 1), (50, 1));
        stream.element.set_property("max-gap", SECOND);
        stream.push_all([0, 40 * MS, 2 * SECOND + 3, 2 * SECOND + 40 * MS + 3]);
        let hole = 2 * SECOND + 3;
        assert_eq!(
            stream.times(),
            [
                0,
                20 * MS,
                40 * MS,
                60 * MS,
                hole,
                hole + 20 * MS,
                hole + 40 * MS
            ]
        );
        let disconts: Vec<usize> = stream
            .outputs()
            .iter()
            .enumerate()
            .filter(|(_, frame)| frame.flags.contains(gst::BufferFlags::DISCONT))
            .map(|(n, _)| n)
            .collect();
        // The very first may carry it too.
        assert!(disconts.contains(&4) && disconts.iter().all(|n| [0, 4].contains(n)));
    });
}

// 21
#[test]
fn equal_and_backward_timestamps_are_dropped_and_counted() {
    watched(|| {
        let mut stream = Stream::new((25, 1), (50, 1));
        let counts = stream.push_all([80, 80, 40, 120].map(|ms| ms * MS));
        assert_eq!(counts, [1, 1, 1, 3]);
        assert_eq!(stream.counter("drop"), 2);
        assert_eq!(stream.counter("in"), 4);
    });
}

// 21
#[test]
fn a_marked_jump_back_begins_anew() {
    watched(|| {
        let mut stream = Stream::new((25, 1), (50, 1));
        stream.push(10 * SECOND);
        stream
            .push_with(Some(3 * SECOND), None, gst::BufferFlags::DISCONT)
            .expect("taken");
        stream.push(3 * SECOND + 40 * MS);
        let times = stream.times();
        assert_eq!(
            times[times.len() - 3..],
            [3 * SECOND, 3 * SECOND + 20 * MS, 3 * SECOND + 40 * MS]
        );
        assert_eq!(stream.counter("drop"), 0);
    });
}

// 22
#[test]
fn a_missing_timestamp_is_the_previous_end() {
    watched(|| {
        let mut stream = Stream::new((25, 1), (50, 1));
        // Nothing came before: discarded, and no error.
        stream.push_with(None, None, NONE).expect("taken");
        assert_eq!(stream.count(), 0);
        stream
            .push_with(Some(SECOND), Some(40 * MS), NONE)
            .expect("taken");
        stream.push_with(None, Some(40 * MS), NONE).expect("taken");
        assert_eq!(stream.times(), [SECOND, SECOND + 20 * MS, SECOND + 40 * MS]);
        assert_eq!(stream.outputs()[2].bytes, [grey(2); 256]);
    });
}

// 23
#[test]
fn in_reverse_the_originals_stay_originals() {
    watched(|| {
        let mut stream = Stream::in_segment((25, 1), (50, 1), &reverse(0, 200 * MS));
        for ms in [160, 120, 80, 40, 0] {
            stream
                .push_with(Some(ms * MS), Some(40 * MS), gst::BufferFlags::DISCONT)
                .expect("taken");
        }
        assert_eq!(stream.eos(), 10);
        let expected: Vec<u64> = (1..=10).map(|n| 200 * MS - n * 20 * MS).collect();
        assert_eq!(stream.times(), expected);
        for (i, frame) in stream.outputs().iter().skip(1).step_by(2).enumerate() {
            assert_eq!(frame.bytes, [grey(i); 256]);
        }
        assert_eq!(stream.counter("interpolated"), 4);
    });
}

// 29
#[test]
fn if_upstream_stops_nothing_is_invented() {
    watched(|| {
        let mut stream = Stream::new((25, 1), (50, 1));
        stream.push_all([0, 40 * MS]);
        let before = stream.count();
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert_eq!(stream.count(), before);
    });
}
