//! Outputs beyond the last frame. In short "1-2 +20/40 -10": from the motion of 1 to 2, 20 ms beyond 2, the two being 40 ms
//! apart; before 2 came, outputs had been predicted for 10 ms beyond 1.

use super::*;

fn ahead(ahead: Ahead, num: u32) -> Config {
    Config {
        ahead,
        ..config(num, 1)
    }
}

#[test]
fn every_output_before_the_next_frame_leaves_with_the_one_before() {
    let mut run = Run::new(ahead(Ahead::Always, 50));
    assert_eq!(run.scheduler.lookahead(40 * MS), 0);
    for (i, jobs) in [2, 4, 6, 8].into_iter().enumerate() {
        assert_eq!(run.push(i as u64 * 40 * MS), jobs);
    }
    // the end has been there before
    assert_eq!(run.finish(), 8);
    let wanted = [
        "0",
        "0=",
        "1",
        "0-1 +20/40 -0",
        "1-2 +0/40 -20",
        "1-2 +20/40 -20",
        "2-3 +0/40 -20",
        "2-3 +20/40 -20",
    ];
    assert_eq!(all_words(&run), wanted);
    let times: Vec<u64> = (0..8).map(|n| n * 20 * MS).collect();
    assert_eq!(run.times(), times);
}

#[test]
fn other_rates_and_uneven_frames_leave_no_hole() {
    for (num, jitter) in [(60, 0), (24, 0), (60, 7), (100, 13)] {
        let mut run = Run::new(ahead(Ahead::Always, num));
        for i in 0..50u64 {
            run.push(i * 40 * MS + i * i * 11 % (jitter * MS + 1));
        }
        run.finish();
        let times: Vec<u64> = (0..run.jobs.len() as u64)
            .map(|n| n * SECOND / u64::from(num))
            .collect();
        assert_eq!(run.times(), times, "{num} {jitter}");
        let last = times.last().copied().unwrap_or_default();
        assert!(
            last >= 1990 * MS - SECOND / u64::from(num),
            "{num} {jitter}: {last}"
        );
    }
}

#[test]
fn a_frame_that_comes_late_has_what_is_missing_made_between() {
    let mut run = Run::new(ahead(Ahead::Always, 50));
    for at in [0, 40, 120, 160] {
        run.push(at * MS);
    }
    let wanted = [
        "0",
        "0=",
        "1",
        "0-1 +20/40 -0",
        "1-2 40/80",
        "1-2 60/80",
        "2",
        "1-2 +20/80 -0",
        "2-3 +0/40 -20",
        "2-3 +20/40 -20",
    ];
    assert_eq!(all_words(&run), wanted);
}

// a frame was lost, and upstream says so in time
#[test]
fn a_short_gap_is_bridged_and_a_long_one_is_not() {
    for mode in [Ahead::Always, Ahead::AtEnds] {
        let mut run = Run::new(ahead(mode, 50));
        run.push(0);
        run.push(40 * MS);
        run.scheduler.gap(Some(Timestamp(120 * MS)));
        run.poll();
        let after = all_words(&run)[2..].to_vec();
        let first = match mode {
            Ahead::Always => ["1", "0-1 +20/40 -0", "0-1 +40/40 -0", "0-1 +60/40 -0"],
            _ => ["1", "0-1 +20/40 -0", "0-1 +40/40 -0", "0-1 +60/40 -0"],
        };
        assert_eq!(after, first, "{mode:?}");
        // the motion goes on from before the gap
        run.push(120 * MS);
        run.push(160 * MS);
        assert!(run.shown().iter().all(|(at, ..)| *at != 140 * MS));

        let mut run = Run::new(ahead(mode, 50));
        run.push(0);
        run.push(40 * MS);
        run.scheduler.gap(Some(Timestamp(200 * MS)));
        run.poll();
        assert_eq!(run.times(), [0, 20 * MS, 40 * MS, 60 * MS], "{mode:?}");
        run.push(200 * MS);
        assert!(slot(&run.jobs[4]).discont && slot(&run.jobs[4]).pts.0 == 200 * MS);
    }
}

#[test]
fn at_ends_alone_frames_are_made_between_and_the_last_goes_on() {
    let mut run = Run::new(ahead(Ahead::AtEnds, 75));
    for i in 0..3 {
        run.push(i * 40 * MS);
    }
    assert_eq!(run.scheduler.lookahead(40 * MS), 1);
    run.finish();
    let wanted = [
        "0",
        "0-1 13/40",
        "0-1 26/40",
        "1",
        "1-2 13/40",
        "1-2 26/40",
        "2",
        "1-2 +13/40 -0",
        "1-2 +26/40 -0",
    ];
    assert_eq!(all_words(&run), wanted);
    // for a cut between 1 and 2
    let before = run.jobs.iter().filter_map(|job| match job {
        Job::Interpolate { before, left, .. } => Some((*left, before.map(|o| (o.frame, o.span)))),
        _ => None,
    });
    let wanted = [
        (0, None),
        (0, None),
        (1, Some((0, 40 * MS))),
        (1, Some((0, 40 * MS))),
    ];
    assert_eq!(before.collect::<Vec<_>>(), wanted);
}

#[test]
fn no_prediction_reaches_further_than_it_may() {
    let mut run = Run::new(Config {
        stop: Some(2 * SECOND),
        ..ahead(Ahead::Always, 50)
    });
    run.push(0);
    run.push(40 * MS);
    run.finish();
    for job in &run.jobs {
        if let Job::Extrapolate { reach, .. } = job {
            assert!(reach.elapsed <= MOST_AHEAD * reach.span);
        }
    }
    // held to the stop, at most a second
    assert_eq!(run.times().last(), Some(&(1020 * MS)));
    assert_eq!(words(run.jobs.last().unwrap()), "1=");
}

#[test]
fn reverse_playback_and_trick_modes_wait_and_hold_as_ever() {
    for mode in [Ahead::Always, Ahead::AtEnds] {
        let backwards = |ahead| {
            let mut run = Run::new(Config {
                ahead,
                ..reverse(50, 1, 0, 200 * MS)
            });
            (0..5).rev().for_each(|i| {
                run.push(i * 40 * MS);
            });
            run.finish();
            all_words(&run)
        };
        assert_eq!(backwards(mode), backwards(Ahead::Never));
        let trick = |ahead| {
            let mut run = Run::new(Config {
                ahead,
                interpolate: false,
                ..config(50, 1)
            });
            (0..5).for_each(|i| {
                run.push(i * 40 * MS);
            });
            run.finish();
            all_words(&run)
        };
        assert_eq!(trick(mode), trick(Ahead::Never));
    }
}

#[test]
fn what_waits_is_not_waited_for() {
    let run = Run::new(Config {
        retime: true,
        outer: true,
        ..ahead(Ahead::Always, 50)
    });
    assert_eq!(run.scheduler.lookahead(40 * MS), 0);
    assert!(!run.scheduler.looks_for_repeats());
}

#[test]
fn after_new_pictures_nothing_is_predicted_from_old_ones() {
    let mut run = Run::new(ahead(Ahead::Always, 50));
    run.push(0);
    run.push(40 * MS);
    run.drain();
    run.push(80 * MS);
    run.push(120 * MS);
    let wanted = ["2", "2=", "3", "2-3 +20/40 -0"];
    assert_eq!(all_words(&run)[4..], wanted);
}
