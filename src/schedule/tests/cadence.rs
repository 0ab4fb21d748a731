//! Pictures that the source shows more than once.

use super::*;

/// Frames of `input` a second, each picture shown as often as `runs` says, then the end. Pictures
/// are numbered from 0, and so is every frame by the picture it shows.
struct Held {
    run: Run,
    /// First showing of every picture.
    starts: Vec<u64>,
    pictures: Vec<usize>,
    interval: (u64, u64),
}

impl Held {
    fn new(config: Config, input: (u64, u64), runs: &[u64]) -> Self {
        let mut held = Held {
            run: Run::new(Config {
                retime: true,
                ..config
            }),
            starts: Vec::new(),
            pictures: Vec::new(),
            interval: input,
        };
        for showings in runs {
            held.show(*showings);
        }
        held
    }

    fn edge(&self, frame: usize) -> u64 {
        frame as u64 * SECOND * self.interval.1 / self.interval.0
    }

    fn show(&mut self, showings: u64) {
        for i in 0..showings {
            let frame = self.pictures.len();
            let (at, end) = (self.edge(frame), self.edge(frame + 1));
            if i == 0 {
                self.starts.push(at);
            }
            self.pictures.push(self.starts.len() - 1);
            let accepted = self.run.push_arrival(Arrival {
                pts: Some(Timestamp(at)),
                duration: Some(end - at),
                discont: false,
                repeats: i > 0,
            });
            assert_eq!(accepted, Pushed::Accepted);
        }
    }

    fn finish(mut self) -> Self {
        self.run.finish();
        self
    }

    /// Of every output: its time, and the picture at that time as a fraction, in thousandths.
    fn pictures(&self) -> Vec<(u64, u64)> {
        self.run
            .jobs
            .iter()
            .map(|job| {
                let picture = |frame: &u32| 1000 * self.pictures[*frame as usize] as u64;
                let shown = match job {
                    Job::Show { frame, .. } => picture(frame),
                    Job::Interpolate {
                        left, right, phase, ..
                    } => {
                        let (l, r) = (picture(left), picture(right));
                        l + (r - l) * phase.elapsed / phase.span
                    }
                    Job::Extrapolate { .. } => unreachable!("nothing is predicted"),
                };
                (slot(job).pts.0, shown)
            })
            .collect()
    }

    /// From `from` (ns) to the last picture's first showing: the least and the largest step
    /// between two outputs, in thousandths of a picture.
    fn steps(&self, from: u64) -> (u64, u64) {
        let last = *self.starts.last().unwrap_or(&0);
        let shown: Vec<u64> = self
            .pictures()
            .into_iter()
            .filter(|(at, _)| (from..=last).contains(at))
            .map(|(_, shown)| shown)
            .collect();
        let steps = shown.windows(2).map(|w| w[1] - w[0]);
        let least = steps.clone().min().expect("two outputs");
        (least, steps.max().expect("two outputs"))
    }
}

fn cycle(runs: &[u64], times: usize) -> Vec<u64> {
    runs.repeat(times)
}

/// From `from` (ns) on every output is `pictures / out` of a picture after the one before.
fn assert_even(held: &Held, from: u64, pictures: u64, out: u64) {
    let (least, largest) = held.steps(from);
    let step = 1000 * pictures / out;
    assert!(
        least + 1 >= step && largest <= step + 1,
        "steps of {least} to {largest} instead of {step}: {:?}",
        held.pictures()
    );
}

#[test]
fn drawings_on_twos_and_threes_lie_at_their_first_showing() {
    for (input, showings) in [(24, 2), (24, 3), (25, 3), (30, 4), (60, 5)] {
        let held = Held::new(
            config(4 * input as u32, 1),
            (input, 1),
            &cycle(&[showings], 8),
        )
        .finish();
        for (picture, start) in held.starts.iter().enumerate() {
            let found = held
                .pictures()
                .iter()
                .any(|(at, shown)| at.abs_diff(*start) < MS && *shown == 1000 * picture as u64);
            assert!(found, "{showings} in {input}: picture {picture}");
        }
        let (least, largest) = held.steps(0);
        assert!(
            largest - least <= 2,
            "{showings} in {input}: {least} to {largest}"
        );
        assert!(least > 0);
    }
}

#[test]
fn three_two_pulldown_becomes_even() {
    let held = Held::new(config(120, 1), (60, 1), &cycle(&[2, 3], 8)).finish();
    // Four runs are watched, and one picture goes to where it belongs.
    assert_even(&held, 6 * SECOND / 24, 24, 120);
    // The truth is that of the film, no picture is before its first showing.
    let at = |picture: u64| {
        held.pictures()
            .iter()
            .find(|(_, p)| *p == 1000 * picture)
            .map(|(at, _)| *at)
    };
    for n in 5..14 {
        let (at, start) = (at(n).expect("shown"), held.starts[n as usize]);
        assert!(at.abs_diff(n * SECOND / 24) < MS);
        assert!(at + MS > start);
    }
}

#[test]
fn four_in_five_becomes_even() {
    for runs in [[1, 1, 1, 2], [1, 2, 1, 1], [2, 1, 1, 1]] {
        let held = Held::new(config(120, 1), (30, 1), &cycle(&runs, 6)).finish();
        assert_even(&held, 10 * SECOND / 24, 24, 120);
    }
}

#[test]
fn other_even_cycles_become_even() {
    // Pictures and frames of a cycle, the input's rate.
    let cycles: [(&[u64], u64, u64); 4] = [
        (&[1, 1, 1, 1, 2], 6, 30),
        (&[2, 2, 3, 2, 3], 12, 60),
        (&[1, 2], 3, 30),
        (&[1, 2, 2, 1, 2], 8, 24),
    ];
    for (runs, frames, input) in cycles {
        let times = 6;
        let held = Held::new(config(120, 1), (input, 1), &cycle(runs, times)).finish();
        let pictures = runs.len() as u64;
        let from = (2 * frames + 3) * SECOND / input;
        let step = 1000 * pictures * input / frames / 120;
        let (least, largest) = held.steps(from);
        assert!(
            least + 1 >= step && largest <= step + 1,
            "{runs:?}: {least} to {largest} instead of {step}"
        );
    }
}

#[test]
fn off_shows_pulldown_as_it_is() {
    let mut held = Held::new(config(120, 1), (60, 1), &[]);
    held.run = Run::new(config(120, 1));
    for _ in 0..8 {
        held.show(2);
        held.show(3);
    }
    let (least, largest) = held.finish().steps(0);
    assert!(least == 0 && largest >= 500, "{least} to {largest}");
}

#[test]
fn all_times_are_filled_whatever_is_held() {
    let cases: [(&[u64], u64); 8] = [
        (&[1], 24),
        (&[2], 24),
        (&[2, 2, 1], 24),
        (&[3, 3, 2], 24),
        (&[2, 3, 2, 3, 2, 3, 2, 1], 60),
        (&[2, 3, 2, 3, 2, 3, 1], 60),
        (&[1, 1, 1, 2, 1, 1, 1, 2, 1, 1], 30),
        (&[40], 25),
    ];
    for (runs, input) in cases {
        let frames: u64 = runs.iter().sum();
        let held = Held::new(config(2 * input as u32, 1), (input, 1), runs).finish();
        let times = held.run.times();
        let expected: Vec<u64> = (0..2 * frames).map(|n| n * SECOND / (2 * input)).collect();
        assert_eq!(times, expected, "{runs:?}");
        let last = held.pictures().last().map(|(_, shown)| *shown);
        assert_eq!(last, Some(1000 * (runs.len() as u64 - 1)), "{runs:?}");
    }
}

#[test]
fn a_still_picture_is_shown_as_it_is_and_waited_for_no_longer_than_promised() {
    for (input, out) in [(24, 48), (25, 50), (30, 60), (60, 120), (120, 240), (5, 10)] {
        let mut held = Held::new(config(out, 1), (input, 1), &[]);
        let interval = SECOND / input;
        let promised = held.run.scheduler.lookahead(interval);
        assert!(promised <= MOST_SHOWINGS);
        assert!(promised == 1 || promised * interval <= LONGEST_HELD);
        held.show(1);
        let mut waited = 0;
        for frame in 1..30 {
            let (before, end) = (held.run.jobs.len(), held.edge(frame));
            held.run.push_arrival(Arrival {
                pts: Some(Timestamp(end)),
                duration: Some(interval),
                discont: false,
                repeats: true,
            });
            held.pictures.push(0);
            let unfilled = (2 * frame + 1) - before;
            waited = waited.max(unfilled.div_ceil(2) as u64);
        }
        assert_eq!(waited, promised, "{input} a second");
        // Every frame of it is an original, in its place.
        let shown = held.run.shown();
        for frame in 0..29 {
            let at = held.edge(frame);
            assert!(
                shown
                    .iter()
                    .any(|(pts, f, held)| pts.abs_diff(at) < MS && *f == frame as u32 && !held),
                "{input} a second: frame {frame}"
            );
        }
        assert_eq!(held.run.scheduler.counters().repeats, 0);
    }
}

#[test]
fn a_cadence_is_waited_for_no_longer_than_promised() {
    for (runs, input) in [
        (&[2u64][..], 24),
        (&[3], 24),
        (&[2, 3], 60),
        (&[1, 1, 1, 2], 30),
        (&[5], 60),
    ] {
        let mut held = Held::new(config(120, 1), (input, 1), &[]);
        let promised = held.run.scheduler.lookahead(SECOND / input);
        for showings in runs.iter().cycle().take(40) {
            for i in 0..*showings {
                let filled = held.run.jobs.len() as u64 * SECOND / 120;
                let arriving = held.edge(held.pictures.len());
                assert!(
                    arriving <= filled + promised * SECOND / input,
                    "{runs:?}: nothing since {filled} at {arriving}"
                );
                let at = arriving;
                if i == 0 {
                    held.starts.push(at);
                }
                held.pictures.push(held.starts.len() - 1);
                held.run.push_arrival(Arrival {
                    pts: Some(Timestamp(at)),
                    duration: Some(SECOND / input),
                    discont: false,
                    repeats: i > 0,
                });
            }
        }
    }
}

#[test]
fn nothing_moves_before_the_still_ends() {
    // Twos, a pause of ten frames, twos.
    let held = Held::new(config(48, 1), (24, 1), &[2, 2, 2, 10, 2, 2, 2]).finish();
    let (pause, action) = (held.starts[3], held.starts[4]);
    let last_still = action - SECOND / 24 - MS;
    for (at, shown) in held.pictures() {
        if (pause..=last_still).contains(&at) {
            assert_eq!(shown, 3000, "at {at}");
        }
    }
}

#[test]
fn a_held_picture_among_moving_ones_is_shown_as_it_is() {
    let held = Held::new(config(48, 1), (24, 1), &[1, 1, 1, 3, 1, 1, 1, 1, 1, 1]).finish();
    let expected: Vec<u64> = held
        .pictures
        .windows(2)
        .flat_map(|w| [1000 * w[0] as u64, 500 * (w[0] + w[1]) as u64])
        .collect();
    for ((_, shown), expected) in held.pictures().iter().zip(expected) {
        assert!(shown.abs_diff(expected) <= 1, "{shown}, not {expected}");
    }
    assert_eq!(held.run.scheduler.counters().repeats, 0);
}

#[test]
fn pauses_of_different_lengths_are_no_cadence() {
    let runs = [1, 1, 2, 1, 5, 1, 1, 1, 1, 1];
    let held = Held::new(config(120, 1), (60, 1), &runs).finish();
    assert_eq!(held.run.scheduler.counters().repeats, 0);
}

#[test]
fn a_cadence_may_change() {
    let mut runs = cycle(&[2], 8);
    runs.extend(cycle(&[2, 3], 8));
    runs.extend(cycle(&[1], 20));
    let held = Held::new(config(120, 1), (60, 1), &runs).finish();
    let shown = held.pictures();
    assert!(
        shown
            .windows(2)
            .all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1)
    );
    let even = |first: usize, last: usize, step: u64| {
        let (from, to) = (held.starts[first], held.starts[last]);
        let inside: Vec<u64> = shown
            .iter()
            .filter(|(at, _)| (from..=to).contains(at))
            .map(|(_, shown)| *shown)
            .collect();
        for w in inside.windows(2) {
            let found = w[1] - w[0];
            assert!(
                found.abs_diff(step) <= 1,
                "{first} to {last}: {found}, not {step}"
            );
        }
    };
    even(0, 8, 250);
    even(15, 23, 200);
    even(26, 43, 500);
}

#[test]
fn a_lost_cadence_goes_on_at_the_timestamps() {
    // The third picture of two runs on: no cycle any more.
    let mut runs = cycle(&[2, 3], 4);
    runs.extend([1, 1, 1, 1, 1, 1, 1]);
    let held = Held::new(config(120, 1), (60, 1), &runs).finish();
    for picture in 10..15 {
        let start = held.starts[picture];
        let shown = held.run.shown();
        assert!(
            shown.iter().any(|(pts, frame, _)| {
                pts.abs_diff(start) < MS && held.pictures[*frame as usize] == picture
            }),
            "picture {picture}"
        );
    }
}

#[test]
fn uneven_timestamps_stay_as_they_are() {
    // A variable rate without repeats: on and off the same.
    let times = [0, 40, 55, 130, 131, 200, 470, 500, 501, 560, 640];
    let jobs = [false, true].map(|retime| {
        let mut run = Run::new(Config {
            retime,
            ..config(60, 1)
        });
        for ms in times {
            run.push_with(Some(ms * MS), None, false);
        }
        run.finish();
        run.jobs
    });
    assert_eq!(jobs[0], jobs[1]);
}

#[test]
fn a_variable_rate_may_repeat_at_any_time() {
    // A picture that is repeated after a hole is a still.
    let mut run = Run::new(Config {
        retime: true,
        ..config(50, 1)
    });
    let frames = [
        (0, false),
        (40, true),
        (500, false),
        (520, true),
        (540, false),
        (600, true),
        (620, false),
    ];
    for (ms, repeats) in frames {
        run.push_arrival(Arrival {
            pts: Some(Timestamp(ms * MS)),
            duration: None,
            discont: false,
            repeats,
        });
    }
    run.finish();
    assert_eq!(words(&run.jobs[2]), "1");
    let times = run.times();
    assert_eq!(
        times,
        (0..times.len() as u64)
            .map(|n| n * 20 * MS)
            .collect::<Vec<_>>()
    );
    assert_eq!(times.len(), 32);
}

#[test]
fn runs_that_are_no_even_pulldown_stay_at_their_first_showing() {
    let cases: [(&[u64], u64); 2] = [(&[1, 3], 24), (&[2, 3, 3, 2], 60)];
    for (runs, input) in cases {
        let output = config(4 * input as u32, 1);
        let held = Held::new(output, (input, 1), &cycle(runs, 8)).finish();
        let shown = held.pictures();
        for (picture, start) in held.starts.iter().enumerate() {
            let expected = 1000 * picture as u64;
            assert!(
                shown
                    .iter()
                    .any(|(at, p)| at.abs_diff(*start) < MS && *p == expected),
                "{runs:?}: picture {picture}"
            );
        }
        assert!(held.run.scheduler.counters().repeats > 0, "{runs:?}");
    }
}

#[test]
fn a_picture_may_arrive_before_the_time_of_the_one_before() {
    // The eighth picture of pulldown goes 8 ms later; the next one comes 3 ms after it.
    let mut held = Held::new(config(1000, 1), (60, 1), &[2, 3, 2, 3, 2, 3, 2, 1]);
    let start = held.starts[7];
    for (n, later) in [(8, 3), (9, 20), (10, 40)] {
        held.pictures.push(n);
        held.run
            .push_with(Some(start + later * MS), Some(16 * MS), false);
    }
    let held = held.finish();
    let shown = held.pictures();
    assert!(
        shown
            .windows(2)
            .all(|w| w[0].0 + MS == w[1].0 && w[0].1 <= w[1].1)
    );
    assert_eq!(
        shown.last().map(|(at, _)| at / MS),
        Some((start + 56 * MS) / MS)
    );
}

#[test]
fn short_durations_end_where_they_did() {
    let ends = [false, true].map(|retime| {
        let mut run = Run::new(Config {
            retime,
            ..config(1000, 1)
        });
        let mut frame = 0;
        for showings in [2, 3, 2, 3, 2, 3, 2, 1] {
            for i in 0..showings {
                run.push_arrival(Arrival {
                    pts: Some(Timestamp(frame * SECOND / 60)),
                    duration: Some(2 * MS),
                    repeats: i > 0,
                    discont: false,
                });
                frame += 1;
            }
        }
        run.finish();
        run.times()
    });
    assert_eq!(ends[0], ends[1]);
}

#[test]
fn one_frame_and_one_repeated_frame_come_out() {
    let one = Held::new(config(50, 1), (25, 1), &[1]).finish();
    assert_eq!(one.run.times(), [0, 20 * MS]);
    let twice = Held::new(config(50, 1), (25, 1), &[2]).finish();
    assert_eq!(all_words(&twice.run), ["0", "0-1 20/40", "1", "1="]);
}

#[test]
fn a_gap_and_new_caps_let_go_of_what_waits() {
    for gap in [false, true] {
        let mut held = Held::new(config(50, 1), (25, 1), &[2, 2, 2]);
        assert_eq!(held.run.jobs.len(), 9);
        if gap {
            held.run.scheduler.gap(None);
        } else {
            held.run.scheduler.drain();
        }
        assert_eq!(held.run.poll(), 12);
        // What comes then belongs to no run before it.
        held.run.push_with(Some(240 * MS), Some(40 * MS), false);
        assert_eq!(held.run.jobs.len(), 13);
    }
}

#[test]
fn a_jump_back_lets_go_of_what_waits() {
    let mut held = Held::new(config(50, 1), (25, 1), &[2; 20]);
    let before = held.run.jobs.len();
    held.run.push_with(Some(0), Some(40 * MS), true);
    assert_eq!(held.run.jobs.len(), before + 4);
    assert_eq!(held.run.times()[before + 3], 0);
}

#[test]
fn a_flush_forgets_what_waits() {
    let mut held = Held::new(config(50, 1), (25, 1), &[2, 2, 2]);
    held.run.scheduler.reset();
    assert_eq!(held.run.finish(), 9);
    assert_eq!(held.run.scheduler.counters(), Counters::default());
}

#[test]
fn reverse_and_trick_modes_look_for_no_repeats() {
    let trick = Config {
        interpolate: false,
        ..config(50, 1)
    };
    for config in [reverse(50, 1, 0, SECOND), trick] {
        let scheduler = Scheduler::<u32>::new(Config {
            retime: true,
            ..config
        });
        assert!(!scheduler.looks_for_repeats());
        assert_eq!(scheduler.lookahead(40 * MS), 1);
    }
}

#[test]
fn a_short_longest_gap_keeps_every_frame() {
    let narrow = Config {
        max_gap: 50 * MS,
        ..config(48, 1)
    };
    let held = Held::new(narrow, (24, 1), &[2, 2, 2, 2]).finish();
    assert_eq!(held.run.scheduler.counters().repeats, 0);
    assert_eq!(held.run.scheduler.lookahead(SECOND / 24), 1);
    assert!(held.run.jobs.iter().all(|job| !slot(job).discont));
    assert_eq!(held.run.times().len(), 16);
}

#[test]
fn a_cut_stays_where_the_stream_has_it() {
    // A picture on twos: the next appears at 80 ms, the last repeat of this one is at 40 ms.
    let held = Held::new(config(200, 1), (25, 1), &[2, 2, 2]).finish();
    let sides: Vec<(u64, Side)> = held
        .run
        .jobs
        .iter()
        .filter_map(|job| match job {
            Job::Interpolate {
                at,
                nearer,
                left: 0,
                ..
            } => Some((at.pts.0 / MS, *nearer)),
            _ => None,
        })
        .collect();
    let side = |ms| if ms <= 60 { Side::Left } else { Side::Right };
    let expected: Vec<(u64, Side)> = (1..16).map(|n| (5 * n, side(5 * n))).collect();
    assert_eq!(sides, expected);
}

#[test]
fn repeats_that_were_left_out_are_counted() {
    let held = Held::new(config(48, 1), (24, 1), &[2; 10]).finish();
    // At the end the last one is shown.
    assert_eq!(held.run.scheduler.counters().repeats, 9);
}
