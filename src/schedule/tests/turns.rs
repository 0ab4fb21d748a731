//! Reverse playback, new caps, gaps, segments, new rates.

use super::*;

// 23, videorate: reverse 10 to 30 on [0, 1]
#[test]
fn reverse_fills_the_grid_from_the_stop() {
    for duration in [None, Some(100 * MS)] {
        let mut run = Run::new(reverse(30, 1, 0, SECOND));
        for i in (0..10).rev() {
            run.push_with(Some(i * 100 * MS), duration, true);
        }
        run.finish();
        let expected: Vec<u64> = (1..=30).map(|n| SECOND - n * SECOND / 30).collect();
        assert_eq!(expected[..3], [966_666_667, 933_333_334, 900_000_000]);
        assert_eq!(run.times(), expected);
        assert_eq!(
            all_words(&run)[..6],
            ["0", "0=", "0=", "1-0 66/100", "1-0 33/100", "1"]
        );
        let mut end = SECOND;
        for job in &run.jobs {
            assert_eq!(slot(job).pts.0 + slot(job).duration, end);
            end = slot(job).pts.0;
        }
    }
}

// 21, 23
#[test]
fn reverse_drops_what_comes_forwards() {
    let mut run = Run::new(reverse(50, 1, 0, SECOND));
    run.push_with(Some(960 * MS), Some(40 * MS), true);
    assert_eq!(
        run.push_with(Some(970 * MS), Some(40 * MS), true),
        Pushed::Dropped
    );
    run.push_with(Some(920 * MS), Some(40 * MS), true);
    assert_eq!(all_words(&run), ["0", "0=", "2-0 20/40", "2"]);
}

// 20, 23
#[test]
fn a_hole_in_reverse_is_anchored_anew() {
    let mut run = Run::new(reverse(50, 1, 0, 10 * SECOND));
    run.push_with(Some(9960 * MS), Some(40 * MS), true);
    run.push_with(Some(5 * SECOND), Some(40 * MS), true);
    run.finish();
    assert_eq!(run.times(), [9980 * MS, 9960 * MS, 5020 * MS, 5000 * MS]);
    assert!(slot(&run.jobs[2]).discont);
}

// 22, 23
#[test]
fn a_missing_timestamp_in_reverse_ends_where_the_last_begins() {
    let mut run = Run::new(reverse(25, 1, 0, SECOND));
    run.push_with(Some(960 * MS), Some(40 * MS), true);
    run.push_with(None, None, true);
    assert_eq!(run.times(), [960 * MS, 920 * MS]);
}

// 23
#[test]
fn reverse_far_from_the_stop_keeps_to_its_grid() {
    let mut run = Run::new(reverse(30, 1, 0, 100 * SECOND));
    run.push_with(Some(50 * SECOND), Some(40 * MS), true);
    run.push_with(Some(50 * SECOND - 40 * MS), Some(40 * MS), true);
    for job in &run.jobs {
        let n = slot(job).index + 1;
        assert_eq!(slot(job).pts.0, 100 * SECOND - n * SECOND / 30);
    }
    // A second towards the stop with the frame's own instant, and one of the pair.
    assert_eq!(run.jobs.len(), 31);
}

// 12, videorate: changing size
#[test]
fn new_caps_neither_overlap_nor_leave_a_hole() {
    for (factor, num) in [(1, 25), (2, 50), (3, 75)] {
        let mut run = Run::new(config(num, 1));
        for (i, caps) in ["A", "A", "B", "A", "A"].iter().enumerate() {
            if i > 0 && ["A", "A", "B", "A", "A"][i - 1] != *caps {
                run.drain();
            }
            run.push(i as u64 * 40 * MS);
        }
        assert_eq!(run.finish(), 5 * factor);
        let step = SECOND / u64::from(num);
        for (n, time) in run.times().iter().enumerate() {
            assert!(time.abs_diff(n as u64 * step) < 10);
        }
        for job in &run.jobs {
            if let Job::Interpolate { left, right, .. } = job {
                assert!([(0, 1), (3, 4)].contains(&(*left, *right)));
            }
        }
    }
}

// 12
#[test]
fn a_late_frame_of_new_caps_fills_the_grid() {
    let mut run = Run::new(config(50, 1));
    run.push(0);
    run.drain();
    run.push(85 * MS);
    assert_eq!(all_words(&run), ["0", "0=", "1", "1=", "1="]);
    assert_eq!(run.times(), [0, 20 * MS, 40 * MS, 60 * MS, 80 * MS]);
}

// 12, 21, videorate: backward with new caps
#[test]
fn frames_of_old_caps_never_come_after_new_caps() {
    let mut run = Run::new(config(25, 1));
    run.push(0);
    run.push(SECOND);
    let old = run.drain();
    run.push(0);
    run.push(2 * SECOND);
    run.finish();
    let is_old = |job: &Job<u32>| match job {
        Job::Show { frame, .. } => *frame < 2,
        Job::Interpolate { right, .. } => *right < 2,
        Job::Extrapolate { last, .. } => *last < 2,
    };
    assert!(run.jobs[..old].iter().all(is_old));
    assert!(!run.jobs[old..].iter().any(is_old));
    assert_eq!(run.jobs.len(), 51);
}

// 26
#[test]
fn a_gap_event_leaves_its_time_empty() {
    let mut run = Run::new(config(50, 1));
    run.push(0);
    run.scheduler.gap(None);
    run.push(500 * MS);
    assert_eq!(run.times(), [0, 20 * MS, 500 * MS]);
    assert!(slot(&run.jobs[2]).discont);
    // A gap event where nothing is missing changes nothing.
    run.scheduler.gap(None);
    run.push(540 * MS);
    assert_eq!(run.times()[3..], [520 * MS, 540 * MS]);
    assert!(!slot(&run.jobs[4]).discont);
}

// 26
#[test]
fn trick_modes_hold() {
    let mut run = Run::new(Config {
        interpolate: false,
        ..config(75, 1)
    });
    run.push(0);
    run.push(40 * MS);
    assert_eq!(all_words(&run), ["0", "0=", "0=", "1"]);
}

// 24, videorate: segment start advance
#[test]
fn a_new_segment_begins_anew() {
    let mut run = Run::new(config(25, 1));
    for pts in [0, 40, 80] {
        run.push(pts * MS);
    }
    run.finish();
    assert_eq!(run.jobs.len(), 3);
    run.scheduler.set_segment(30 * SECOND, None, false);
    for pts in [30_040, 30_080] {
        run.push(pts * MS);
    }
    run.finish();
    assert_eq!(run.times()[3..], [30_040 * MS, 30_080 * MS]);
}

// 24, videorate: segment same
#[test]
fn the_same_segment_leaves_one_grid() {
    let mut run = Run::new(Config {
        start: 30 * SECOND,
        max_gap: 10 * SECOND,
        ..config(25, 1)
    });
    for pts in [32_000, 32_040, 32_080] {
        run.push(pts * MS);
    }
    // The caller ignores a segment that is the same.
    for pts in [35_040, 35_080] {
        run.push(pts * MS);
    }
    run.finish();
    let expected: Vec<u64> = (0..78).map(|n| 32 * SECOND + n * 40 * MS).collect();
    assert_eq!(run.times(), expected);
    assert!(run.jobs.iter().all(|job| !slot(job).discont));
}

// 24, videorate: segment update (the base moves, the timestamps begin again)
#[test]
fn a_segment_may_begin_before_the_last() {
    let mut run = Run::new(config(25, 1));
    let mut counts = vec![run.push(0)];
    run.finish();
    run.scheduler.set_segment(0, None, false);
    counts.push(run.push(0));
    run.drain();
    run.scheduler.set_segment(0, None, false);
    counts.push(run.push(80 * MS));
    counts.push(run.push(120 * MS));
    assert_eq!(counts, [1, 2, 3, 4]);
    assert_eq!(run.times(), [0, 0, 80 * MS, 120 * MS]);
}

// 25
#[test]
fn reset_forgets_all_but_the_configuration() {
    let mut run = Run::new(config(50, 1));
    run.push(10 * SECOND);
    run.push(10 * SECOND + 40 * MS);
    run.scheduler.reset();
    assert_eq!(run.scheduler.counters(), Counters::default());
    assert_eq!(run.push(SECOND), 4);
    assert_eq!(run.finish(), 5);
    assert_eq!(run.times()[3..], [SECOND, SECOND + 20 * MS]);
}

// 11
#[test]
fn a_new_rate_goes_on_where_the_old_one_ends() {
    for reverse in [false, true] {
        let mut run = Run::new(Config {
            reverse,
            stop: reverse.then_some(10 * SECOND),
            ..config(30, 1)
        });
        let pts = |i: u64| {
            if reverse {
                10 * SECOND - (i + 1) * 40 * MS
            } else {
                i * 40 * MS
            }
        };
        for i in 0..60 {
            match i {
                20 => run.scheduler.set_rate(rate(60, 1)),
                40 => run.scheduler.set_rate(rate(24_000, 1001)),
                _ => {}
            }
            run.push(pts(i));
        }
        run.finish();
        for pair in run.jobs.windows(2) {
            let (a, b) = (slot(&pair[0]), slot(&pair[1]));
            let (early, late) = if reverse { (b, a) } else { (a, b) };
            assert_eq!(early.pts.0 + early.duration, late.pts.0, "{a:?} {b:?}");
        }
    }
}
