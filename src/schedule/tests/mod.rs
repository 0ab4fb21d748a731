//! Every promise about time, with plain integers for frames.
//!
//! The numbers are those of the element's behaviour page; `videorate` marks
//! the cases of that element's own tests.

mod ahead;
mod cadence;
mod properties;
mod turns;

use super::*;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

fn rate(num: u32, den: u32) -> FrameRate {
    FrameRate { num, den }
}

fn config(num: u32, den: u32) -> Config {
    Config {
        rate: rate(num, den),
        tolerance: COINCIDENCE_TOLERANCE,
        max_gap: 2 * SECOND,
        reverse: false,
        start: 0,
        stop: None,
        interpolate: true,
        retime: false,
        outer: false,
        ahead: Ahead::Never,
    }
}

fn reverse(num: u32, den: u32, start: u64, stop: u64) -> Config {
    Config {
        reverse: true,
        start,
        stop: Some(stop),
        ..config(num, den)
    }
}

/// A scheduler, and every job it has given. Frames are numbered from 0.
struct Run {
    scheduler: Scheduler<u32>,
    jobs: Vec<Job<u32>>,
    frames: u32,
}

impl Run {
    fn new(config: Config) -> Self {
        Self {
            scheduler: Scheduler::new(config),
            jobs: Vec::new(),
            frames: 0,
        }
    }

    /// Polls all there is; how many jobs there are by now.
    fn poll(&mut self) -> usize {
        self.jobs
            .extend(std::iter::from_fn(|| self.scheduler.poll()));
        self.jobs.len()
    }

    fn push_with(&mut self, pts: Option<u64>, duration: Option<u64>, discont: bool) -> Pushed {
        self.push_arrival(Arrival {
            pts: pts.map(Timestamp),
            duration,
            discont,
            repeats: false,
        })
    }

    fn push_arrival(&mut self, arrival: Arrival) -> Pushed {
        let pushed = self.scheduler.push(self.frames, arrival);
        self.frames += 1;
        self.poll();
        pushed
    }

    /// A frame of 25 fps input; how many jobs there are by now.
    fn push(&mut self, pts: u64) -> usize {
        self.push_with(Some(pts), Some(40 * MS), false);
        self.jobs.len()
    }

    fn finish(&mut self) -> usize {
        self.scheduler.finish();
        self.poll()
    }

    fn drain(&mut self) -> usize {
        self.scheduler.drain();
        self.poll()
    }

    /// Whole streams: `n` frames of a rate, then the end.
    fn stream(config: Config, n: u64, num: u64, den: u64) -> Self {
        let mut run = Self::new(config);
        let edge = |i: u64| i * den * SECOND / num;
        for i in 0..n {
            run.push_with(Some(edge(i)), Some(edge(i + 1) - edge(i)), false);
        }
        run.finish();
        run
    }

    fn times(&self) -> Vec<u64> {
        self.jobs.iter().map(|job| slot(job).pts.0).collect()
    }

    fn shown(&self) -> Vec<(u64, u32, bool)> {
        self.jobs
            .iter()
            .filter_map(|job| match job {
                Job::Show { frame, at, held } => Some((at.pts.0, *frame, *held)),
                Job::Interpolate { .. } | Job::Extrapolate { .. } => None,
            })
            .collect()
    }
}

fn slot(job: &Job<u32>) -> Slot {
    match job {
        Job::Show { at, .. } | Job::Interpolate { at, .. } | Job::Extrapolate { at, .. } => *at,
    }
}

/// What an output shows, in short: "3", "3=" (held), "3-4 1/2".
fn words(job: &Job<u32>) -> String {
    match job {
        Job::Show {
            frame, held: false, ..
        } => format!("{frame}"),
        Job::Show { frame, .. } => format!("{frame}="),
        Job::Interpolate {
            left, right, phase, ..
        } => format!("{left}-{right} {}/{}", phase.elapsed / MS, phase.span / MS),
        Job::Extrapolate {
            before,
            last,
            reach,
            ..
        } => format!(
            "{before}-{last} +{}/{} -{}",
            reach.elapsed / MS,
            reach.span / MS,
            reach.taken_back / MS
        ),
    }
}

fn all_words(run: &Run) -> Vec<String> {
    run.jobs.iter().map(words).collect()
}

// 14
#[test]
fn sixty_fps_has_the_grid_of_the_formula() {
    let run = Run::stream(config(60, 1), 2, 30, 1);
    assert_eq!(run.times(), [0, 16_666_666, 33_333_333, 50_000_000]);
    let durations: Vec<u64> = run.jobs.iter().map(|job| slot(job).duration).collect();
    assert_eq!(durations, [16_666_666, 16_666_667, 16_666_667, 16_666_666]);
    let indices: Vec<u64> = run.jobs.iter().map(|job| slot(job).index).collect();
    assert_eq!(indices, [0, 1, 2, 3]);
}

// 14
#[test]
fn an_hour_of_film_at_sixty_ends_on_the_exact_nanosecond() {
    // 86314 frames last 3600.0130833 s and cover output 216000, at 3600 s sharp.
    let run = Run::stream(config(60, 1), 86_314, 24_000, 1001);
    let last = slot(&run.jobs[216_000]);
    assert_eq!(last.pts, Timestamp(3600 * SECOND));
    assert_eq!(run.jobs.len(), 216_001);
    for (n, job) in run.jobs.iter().enumerate() {
        let n = n as u64;
        assert_eq!(slot(job).pts.0, n * SECOND / 60);
        assert_eq!(
            slot(job).duration,
            (n + 1) * SECOND / 60 - n * SECOND / 60,
            "output {n}"
        );
    }
}

// 14, 15
#[test]
fn a_whole_ratio_lands_on_every_original() {
    let mut run = Run::new(config(50, 1));
    let origin = 7 * SECOND + 123_457;
    for i in 0..10 {
        run.push(origin + i * 40 * MS);
    }
    run.finish();
    for (n, job) in run.jobs.iter().enumerate().take(19) {
        let frame = n / 2;
        let expected = match n % 2 {
            0 => format!("{frame}"),
            _ => format!("{frame}-{} 20/40", frame + 1),
        };
        assert_eq!(words(job), expected);
        assert_eq!(slot(job).pts.0, origin + n as u64 * 20 * MS);
    }
    assert_eq!(run.jobs.len(), 20);
    assert_eq!(words(&run.jobs[19]), "9=");
}

// 14
#[test]
fn equal_rates_show_every_frame_once() {
    for (num, den) in [(25, 1), (30_000, 1001), (24_000, 1001), (60, 1)] {
        let run = Run::stream(config(num, den), 100, num.into(), den.into());
        let shown: Vec<u32> = run.shown().iter().map(|(_, frame, _)| *frame).collect();
        assert_eq!(shown, (0..100).collect::<Vec<_>>(), "{num}/{den}");
        assert_eq!(run.jobs.len(), 100);
    }
}

// 14, 17
#[test]
fn two_and_a_half_times_the_rate() {
    let run = Run::stream(config(60, 1), 5, 24, 1);
    assert_eq!(
        all_words(&run),
        [
            "0",
            "0-1 16/41",
            "0-1 33/41",
            "1-2 8/41",
            "1-2 25/41",
            "2",
            "2-3 16/41",
            "2-3 33/41",
            "3-4 8/41",
            "3-4 25/41",
            "4",
            "4=",
            "4="
        ]
    );
}

// 14
#[test]
fn a_lower_rate_leaves_frames_out() {
    let run = Run::stream(config(20, 1), 7, 50, 1);
    assert_eq!(
        all_words(&run),
        ["0", "2-3 10/20", "5"],
        "each from its true neighbours"
    );
    assert_eq!(run.scheduler.counters().unshown, 5);
}

// 15
#[test]
fn the_anchor_is_clipped_to_the_segment() {
    let mut run = Run::new(Config {
        start: 30 * SECOND,
        ..config(50, 1)
    });
    assert_eq!(run.push(30 * SECOND - 30 * MS), 0);
    assert_eq!(run.push(30 * SECOND + 10 * MS), 1);
    assert_eq!(run.times(), [30 * SECOND]);
    assert_eq!(words(&run.jobs[0]), "0-1 30/40");
}

// 16
#[test]
fn every_output_up_to_the_input_leaves_at_once() {
    let mut run = Run::new(config(50, 1));
    assert_eq!(run.push(100 * MS), 1);
    assert_eq!(run.push(140 * MS), 3);
    assert_eq!(run.push(195 * MS), 5);
    assert_eq!(run.times().last(), Some(&(180 * MS)));
}

// 17
#[test]
fn millisecond_timestamps_still_show_the_originals() {
    for (num, den) in [(24_000, 1001), (30_000, 1001), (30, 1), (60, 1)] {
        for round in [0, MS / 2] {
            let mut run = Run::new(config(2 * num, den));
            let edge = |i: u64| (i * u64::from(den) * SECOND / u64::from(num) + round) / MS * MS;
            for i in 0..1000 {
                // Beginning amid the stream, so that the anchor is rounded too.
                run.push_with(Some(edge(i + 1)), Some(edge(i + 2) - edge(i + 1)), false);
            }
            run.finish();
            let shown: Vec<u32> = run
                .shown()
                .iter()
                .filter(|(_, _, held)| !held)
                .map(|(_, frame, _)| *frame)
                .collect();
            assert_eq!(shown, (0..1000).collect::<Vec<_>>(), "{num}/{den} {round}");
            assert_eq!(run.jobs.len(), 2000, "{num}/{den} {round}");
        }
    }
}

// 16, 17
#[test]
fn a_source_just_before_the_grid_is_the_output_when_the_next_arrives() {
    let mut run = Run::new(config(30, 1));
    run.push(0);
    run.push(33 * MS);
    assert_eq!(run.jobs.len(), 1, "33.33 ms is after 33 ms");
    run.push(67 * MS);
    assert_eq!(all_words(&run), ["0", "1", "2"]);
}

// 16, videorate: refused downstream
#[test]
fn a_hundred_seconds_at_a_lower_rate() {
    let mut run = Run::new(config(25, 1));
    let step = SECOND / 33;
    for i in 0..=100 * SECOND / step {
        run.push_with(Some(i * step), None, false);
    }
    assert_eq!(run.jobs.len(), 2500);
}

// 17
#[test]
fn the_tolerance_never_swallows_an_interval() {
    // 1000 fps to 2000 fps: a millisecond is twice the output's interval.
    let run = Run::stream(config(2000, 1), 50, 1000, 1);
    assert_eq!(run.jobs.len(), 100);
    assert_eq!(run.shown().iter().filter(|shown| !shown.2).count(), 50);
}

// 18
#[test]
fn n_frames_at_twice_the_rate_are_two_n() {
    for n in [1, 2, 3, 100] {
        assert_eq!(
            Run::stream(config(50, 1), n, 25, 1).jobs.len() as u64,
            2 * n
        );
        let film = Run::stream(config(48_000, 1001), n, 24_000, 1001);
        assert_eq!(film.jobs.len() as u64, 2 * n);
    }
}

// 18
#[test]
fn the_last_frame_is_shown_and_then_held() {
    let run = Run::stream(config(100, 1), 1, 25, 1);
    assert_eq!(all_words(&run), ["0", "0=", "0=", "0="]);
}

// 18
#[test]
fn one_frame_gives_at_least_one() {
    for config in [
        config(1, 10),
        reverse(1, 10, 0, 2 * SECOND),
        reverse(1, 10, 0, 20 * SECOND),
        Config {
            start: SECOND / 2,
            ..config(1, 1)
        },
        Config {
            reverse: true,
            ..config(25, 1)
        },
    ] {
        for duration in [None, Some(SECOND)] {
            let mut run = Run::new(config.clone());
            run.push_with(Some(0), duration, false);
            assert!(run.finish() >= 1, "{config:?} {duration:?}");
            assert!(run.times()[0] >= config.start);
        }
    }
}

// 18
#[test]
fn nothing_comes_after_the_end_until_a_frame_does() {
    let mut run = Run::stream(config(50, 1), 3, 25, 1);
    assert_eq!(run.finish(), 6);
    assert_eq!(run.drain(), 6);
}

// 19
#[test]
fn nothing_is_sent_at_or_after_the_stop() {
    let mut run = Run::new(Config {
        stop: Some(100 * MS),
        ..config(50, 1)
    });
    for pts in [0, 40, 80, 120, 160] {
        run.push(pts * MS);
    }
    run.finish();
    assert_eq!(run.times(), [0, 20 * MS, 40 * MS, 60 * MS, 80 * MS]);
}

// 19, videorate: seek [0, 3] at 1 to 30 fps
#[test]
fn the_last_frame_is_held_to_the_stop() {
    let mut run = Run::new(Config {
        stop: Some(3 * SECOND),
        ..config(30, 1)
    });
    for pts in 0..3 {
        run.push_with(Some(pts * SECOND), Some(SECOND), false);
    }
    assert_eq!(run.finish(), 90);
    assert_eq!(run.times().last(), Some(&2_966_666_666));
}

// 19
#[test]
fn the_stop_is_held_to_for_a_second_at_most() {
    let mut run = Run::new(Config {
        stop: Some(60 * SECOND),
        ..config(25, 1)
    });
    run.push(0);
    assert_eq!(run.finish(), 25);
}

// 20, videorate: max duplication 2 s
#[test]
fn a_hole_is_left_open_and_anchored_anew() {
    let mut run = Run::new(config(25, 1));
    let counts: Vec<usize> = [0, 1, 2, 5, 6]
        .iter()
        .map(|s| run.push(s * SECOND))
        .collect();
    assert_eq!(counts, [1, 26, 51, 52, 77]);
    assert_eq!(run.finish(), 77);
    let disconts: Vec<u64> = run
        .jobs
        .iter()
        .filter(|job| slot(job).discont)
        .map(|job| slot(job).pts.0)
        .collect();
    assert_eq!(disconts, [5 * SECOND]);
}

// 20
#[test]
fn the_frame_before_a_hole_is_held_for_its_duration() {
    let mut run = Run::new(config(50, 1));
    run.push(0);
    run.push(5 * SECOND + 7);
    assert_eq!(all_words(&run), ["0", "0=", "1"]);
    assert_eq!(run.times(), [0, 20 * MS, 5 * SECOND + 7]);
    assert_eq!(slot(&run.jobs[2]).index, 0);
}

// 20
#[test]
fn pictures_that_last_longer_than_the_gap_are_held_without_a_hole() {
    let mut run = Run::new(config(2, 1));
    for i in 0..3 {
        run.push_with(Some(i * 5 * SECOND), Some(5 * SECOND), false);
    }
    run.finish();
    assert_eq!(run.jobs.len(), 30);
    assert!(run.jobs.iter().all(|job| !slot(job).discont));
    assert!(
        run.jobs
            .iter()
            .all(|job| matches!(job, Job::Show { frame, at, .. } if at.pts.0 / (5 * SECOND) == u64::from(*frame)))
    );
}

// 21, videorate: wrong order
#[test]
fn disorder_is_dropped_and_counted() {
    let mut run = Run::new(config(25, 1));
    let counts: Vec<usize> = [0, 1, 2, 0].iter().map(|s| run.push(s * SECOND)).collect();
    assert_eq!(counts, [1, 26, 51, 51]);
    assert_eq!(run.finish(), 51);
    assert_eq!(run.scheduler.counters().dropped, 1);
    assert_eq!(run.scheduler.counters().input, 4);
}

// 15, 21, videorate: wrong order from zero
#[test]
fn disorder_from_zero_is_anchored_at_the_first_input() {
    let mut run = Run::new(config(25, 1));
    let counts: Vec<usize> = [1, 0, 2].iter().map(|s| run.push(s * SECOND)).collect();
    assert_eq!(counts, [1, 1, 26]);
    assert_eq!(run.finish(), 26);
    assert_eq!(run.times()[0], SECOND);
    assert_eq!(run.scheduler.counters().dropped, 1);
}

// 21
#[test]
fn equal_timestamps_are_dropped() {
    let mut run = Run::new(config(50, 1));
    run.push(0);
    assert_eq!(run.push_with(Some(0), None, true), Pushed::Dropped);
    run.push(40 * MS);
    assert_eq!(all_words(&run), ["0", "0-2 20/40", "2"]);
}

// 21
#[test]
fn a_marked_jump_back_begins_anew() {
    let mut run = Run::new(config(50, 1));
    run.push(10 * SECOND);
    run.push_with(Some(3 * SECOND), Some(40 * MS), true);
    run.push(3 * SECOND + 40 * MS);
    assert_eq!(all_words(&run), ["0", "0=", "1", "1-2 20/40", "2"]);
    assert!(slot(&run.jobs[2]).discont);
    assert_eq!(run.times()[2], 3 * SECOND);
    // A small one is disorder, marked or not.
    assert_eq!(run.push_with(Some(2900 * MS), None, true), Pushed::Dropped);
}

// 22
#[test]
fn a_missing_timestamp_is_the_previous_end() {
    let mut run = Run::new(config(50, 1));
    assert_eq!(run.push_with(None, None, false), Pushed::Discarded);
    run.push(80 * MS);
    assert_eq!(run.push_with(None, None, false), Pushed::Accepted);
    assert_eq!(all_words(&run), ["1", "1-2 20/40", "2"]);
    assert_eq!(run.scheduler.counters().discarded, 1);
}

// 22
#[test]
fn a_missing_duration_follows_from_the_timestamps() {
    let mut run = Run::new(config(50, 1));
    run.push_with(Some(0), None, false);
    run.push_with(Some(40 * MS), None, false);
    assert_eq!(run.finish(), 4);
    // Nothing is known of a single frame: it is shown once.
    let mut run = Run::new(config(50, 1));
    run.push_with(Some(0), None, false);
    assert_eq!(run.push_with(None, None, false), Pushed::Discarded);
    assert_eq!(run.finish(), 1);
}

// 14, 17
#[test]
fn variable_input_becomes_an_even_output() {
    let mut run = Run::new(config(50, 1));
    let inputs = [0, 33, 66, 140, 141, 180, 260];
    for pts in inputs {
        run.push_with(Some(pts * MS), None, false);
    }
    assert_eq!(
        run.times(),
        (0..=13).map(|n| n * 20 * MS).collect::<Vec<_>>()
    );
    assert_eq!(
        all_words(&run),
        [
            "0",
            "0-1 20/33",
            "1-2 7/33",
            "1-2 27/33",
            "2-3 14/74",
            "2-3 34/74",
            "2-3 54/74",
            "3",
            "4-5 19/39",
            "5",
            "5-6 20/80",
            "5-6 40/80",
            "5-6 60/80",
            "6"
        ]
    );
}

// 18, videorate: one, more
#[test]
fn irregular_input_is_counted_like_videorate_does() {
    for (num, expected) in [(25, [1, 2, 7, 7]), (50, [1, 4, 13, 14])] {
        let mut run = Run::new(config(num, 1));
        let mut counts: Vec<usize> = [0, 60, 240].iter().map(|ms| run.push(ms * MS)).collect();
        counts.push(run.finish());
        assert_eq!(counts, expected, "{num} fps");
    }
    let mut run = Run::new(config(25, 1));
    assert_eq!((run.push(0), run.finish()), (1, 1));
}

// 27
#[test]
fn one_future_frame_is_waited_for() {
    let mut run = Run::new(config(50, 1));
    run.push(0);
    let before = run.jobs.len();
    let mut waited = 0;
    for i in 1.. {
        waited += 1;
        if run.push(i * 40 * MS) > before {
            break;
        }
    }
    assert_eq!(run.scheduler.lookahead(40 * MS), waited);
}

fn with_outer(config: Config) -> Config {
    Config {
        outer: true,
        ..config
    }
}

/// The frames around an output, and the one after them with its distance in ms.
type Window = (u32, u32, Option<(u32, u64)>);

/// Those of each output between two frames.
fn windows(run: &Run) -> Vec<Window> {
    let window = |job: &Job<u32>| match job {
        Job::Interpolate {
            left, right, after, ..
        } => Some((*left, *right, after.map(|o| (o.frame, o.span / MS)))),
        _ => None,
    };
    run.jobs.iter().filter_map(window).collect()
}

#[test]
fn the_frame_after_the_pair_is_waited_for() {
    let mut run = Run::new(with_outer(config(50, 1)));
    assert_eq!(run.scheduler.lookahead(40 * MS), 2);
    assert_eq!((run.push(0), run.push(40 * MS)), (0, 1));
    // a serialized event that ends the run lets everything out
    assert_eq!((run.push(80 * MS), run.finish()), (3, 6));
    let expected = [(0, 1, Some((2, 40))), (1, 2, None)];
    assert_eq!(windows(&run), expected);
}

#[test]
fn outputs_are_the_same_with_the_frame_after() {
    for ends in [false, true] {
        let runs = [config(60, 1), with_outer(config(60, 1))].map(|config| {
            let mut run = Run::new(config);
            for at in [0, 40, 80, 120, 5000, 5040, 5090] {
                run.push(at * MS);
                if ends && at == 80 {
                    run.drain();
                }
            }
            run.finish();
            run
        });
        let [without, with] = &runs;
        assert_eq!(all_words(without), all_words(with));
        assert_eq!(without.times(), with.times());
    }
}

#[test]
fn nothing_is_looked_at_across_a_hole_or_an_end() {
    let mut run = Run::new(with_outer(config(50, 1)));
    for at in [0, 40, 5000, 5040] {
        run.push(at * MS);
    }
    run.drain();
    run.push(5080 * MS);
    run.push(5120 * MS);
    run.finish();
    assert!(windows(&run).iter().all(|(.., after)| after.is_none()));
}

#[test]
fn in_reverse_the_frame_after_has_been_there_and_is_not_waited_for() {
    let mut run = Run::new(with_outer(reverse(50, 1, 0, SECOND)));
    assert_eq!(run.scheduler.lookahead(40 * MS), 1);
    for at in [120, 80, 40] {
        run.push(at * MS);
    }
    run.finish();
    let expected = [(1, 0, None), (2, 1, Some((0, 40)))];
    assert_eq!(windows(&run), expected);
}
