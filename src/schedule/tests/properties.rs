//! What holds for every stream and every sequence of calls.

use super::*;
use proptest::prelude::*;

/// One call of the scheduler.
#[derive(Debug, Clone)]
enum Call {
    Push(Arrival),
    Finish,
    Drain,
    Gap(Option<u64>),
    Rate(u32, u32),
    Segment(u64, Option<u64>, bool),
    Reset,
    Interpolate(bool),
}

/// Times that hurt: small, near a frame's, near the largest.
fn any_time() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..3 * SECOND,
        1 => (0..100u64).prop_map(|n| n * 40 * MS),
        1 => (0..1000u64).prop_map(|n| u64::MAX - n),
        1 => any::<u64>(),
    ]
}

fn any_call() -> impl Strategy<Value = Call> {
    prop_oneof![
        12 => (
            proptest::option::weighted(0.9, any_time()),
            proptest::option::of(any_time()),
            any::<bool>(),
            any::<bool>(),
        )
            .prop_map(|(pts, duration, discont, repeats)| {
                Call::Push(Arrival {
                    pts: pts.map(Timestamp),
                    duration,
                    discont,
                    repeats,
                })
            }),
        1 => Just(Call::Finish),
        1 => Just(Call::Drain),
        1 => proptest::option::of(any_time()).prop_map(Call::Gap),
        1 => (any::<u32>(), any::<u32>()).prop_map(|(num, den)| Call::Rate(num, den)),
        1 => (any_time(), proptest::option::of(any_time()), any::<bool>())
            .prop_map(|(start, stop, reverse)| Call::Segment(start, stop, reverse)),
        1 => Just(Call::Reset),
        1 => any::<bool>().prop_map(Call::Interpolate),
    ]
}

fn apply(scheduler: &mut Scheduler<u32>, call: &Call, frame: u32) {
    match *call {
        Call::Push(arrival) => {
            scheduler.push(frame, arrival);
        }
        Call::Finish => scheduler.finish(),
        Call::Drain => scheduler.drain(),
        Call::Gap(end) => scheduler.gap(end.map(Timestamp)),
        Call::Rate(num, den) => scheduler.set_rate(rate(num, den)),
        Call::Segment(start, stop, reverse) => scheduler.set_segment(start, stop, reverse),
        Call::Reset => scheduler.reset(),
        Call::Interpolate(on) => scheduler.set_interpolate(on),
    }
}

fn any_ahead() -> impl Strategy<Value = Ahead> {
    prop_oneof![Just(Ahead::Never), Just(Ahead::AtEnds), Just(Ahead::Always)]
}

/// Timestamps of an ordinary stream that is uneven, in nanoseconds or rounded
/// to milliseconds, with holes.
fn any_stream() -> impl Strategy<Value = Vec<u64>> {
    let step = prop_oneof![
        10 => 1..200 * MS,
        5 => Just(40 * MS),
        5 => (1..100u64).prop_map(|ms| ms * MS),
        1 => 3 * SECOND..5 * SECOND,
    ];
    (any_time_small(), proptest::collection::vec(step, 1..60)).prop_map(|(first, steps)| {
        let mut at = first;
        let mut times = vec![at];
        for step in steps {
            at += step;
            times.push(at);
        }
        times
    })
}

fn any_time_small() -> impl Strategy<Value = u64> {
    0..10 * SECOND
}

fn any_rate() -> impl Strategy<Value = FrameRate> {
    prop_oneof![
        Just(rate(25, 1)),
        Just(rate(60, 1)),
        Just(rate(24_000, 1001)),
        (1..=300u32, 1..=10u32).prop_map(|(num, den)| rate(num, den)),
    ]
}

proptest! {
    /// Whatever is called, nothing panics and every phase is inside.
    #[test]
    fn nothing_panics(
        calls in proptest::collection::vec((any_call(), any::<bool>()), 0..60),
        num in any::<u32>(), den in any::<u32>(), max_gap in any_time(), retime in any::<bool>(),
        outer in any::<bool>(), ahead in any_ahead(),
    ) {
        let config = Config { max_gap, retime, outer, ahead, ..config(num, den) };
        let mut scheduler = Scheduler::new(config);
        for (frame, (call, polled)) in calls.iter().enumerate() {
            apply(&mut scheduler, call, frame as u32);
            // Streams of 10^12 outputs exist; a look at some is enough.
            for _ in 0..if *polled { 50 } else { 0 } {
                let Some(job) = scheduler.poll() else { break };
                if let Job::Interpolate { phase, .. } = job {
                    prop_assert!(0 < phase.elapsed && phase.elapsed < phase.span);
                }
                if let Job::Extrapolate { reach, .. } = job {
                    prop_assert!(ahead != Ahead::Never && reach.span > 0);
                    prop_assert!(reach.elapsed <= MOST_AHEAD.saturating_mul(reach.span));
                }
                let at = slot(&job);
                prop_assert!(at.pts.0 >= scheduler.config().start);
                if let Some(stop) = scheduler.config().stop {
                    prop_assert!(at.pts.0 < stop);
                }
            }
        }
    }

    /// The phase that is told of is the next output's, and one between the same two frames is always told of.
    #[test]
    fn the_next_output_between_the_same_two_is_told_of(
        calls in proptest::collection::vec(any_call(), 0..60),
        num in 1..300u32, max_gap in any_time(), retime in any::<bool>(), outer in any::<bool>(), ahead in any_ahead(),
    ) {
        let config = Config { max_gap, retime, outer, ahead, ..config(num, 1) };
        let mut scheduler = Scheduler::new(config);
        let pair = |job: &Option<Job<u32>>| match job {
            Some(Job::Interpolate { left, right, phase, .. }) => Some(([*left, *right], *phase)),
            _ => None,
        };
        for (frame, call) in calls.iter().enumerate() {
            apply(&mut scheduler, call, frame as u32);
            let mut before = None;
            for _ in 0..50 {
                let told = scheduler.upcoming();
                let job = scheduler.poll();
                let now = pair(&job);
                match (told, now) {
                    (Some(told), now) => prop_assert_eq!(Some(told), now.map(|(_, phase)| phase)),
                    (None, Some((sides, _))) => {
                        prop_assert_ne!(before.map(|(sides, _)| sides), Some(sides));
                    }
                    (None, None) => (),
                }
                if job.is_none() {
                    break;
                }
                before = now;
            }
        }
    }

    /// Times rise strictly, the grid is the formula's, a source on the grid is
    /// shown, and pairs are true neighbours.
    #[test]
    fn the_grid_is_kept(
        stream in any_stream(), rate in any_rate(), reverse in any::<bool>(),
        offset in 0..SECOND,
    ) {
        let newest = *stream.last().unwrap_or(&0);
        let stop = reverse.then_some(newest + offset);
        let mut inputs = stream;
        if reverse {
            inputs.reverse();
        }
        let mut run = Run::new(Config { reverse, stop, ..config(rate.num, rate.den) });
        for pts in &inputs {
            run.push_with(Some(*pts), None, reverse);
        }
        run.finish();
        prop_assert!(!run.jobs.is_empty());

        let mut anchor = None;
        let mut before: Option<Slot> = None;
        for job in &run.jobs {
            let at = slot(job);
            if let Some(before) = before {
                let (early, late) = if reverse { (at, before) } else { (before, at) };
                prop_assert!(early.pts < late.pts);
                prop_assert!(early.pts.0 + early.duration <= late.pts.0);
                prop_assert!(at.discont || early.pts.0 + early.duration == late.pts.0);
            }
            before = Some(at);

            let edge = |n: u64| {
                (u128::from(n) * u128::from(rate.den) * 1_000_000_000 / u128::from(rate.num)) as u64
            };
            if anchor.is_none() || at.discont {
                anchor = Some(if reverse { at.pts.0 + edge(at.index + 1) } else { at.pts.0 });
                prop_assert!(!at.discont || at.index == 0);
            }
            let anchor = anchor.unwrap_or(0);
            prop_assert_eq!(at.duration, edge(at.index + 1) - edge(at.index));
            prop_assert_eq!(
                at.pts.0,
                if reverse { anchor - edge(at.index + 1) } else { anchor + edge(at.index) }
            );

            if let Job::Interpolate { left, right, phase, .. } = job {
                let (l, r) = (inputs[*left as usize], inputs[*right as usize]);
                prop_assert!(!inputs.contains(&at.pts.0), "a source lies here");
                prop_assert!(l < at.pts.0 && at.pts.0 < r);
                prop_assert!(left.abs_diff(*right) == 1);
                prop_assert_eq!(phase.elapsed, at.pts.0 - l);
                prop_assert_eq!(phase.span, r - l);
                prop_assert!(phase.span <= 2 * SECOND, "not across a hole");
            }
        }
    }

    /// Predicting changes what outputs show; only where nothing is waited for do they leave sooner, and none is left out.
    #[test]
    fn predicting_keeps_the_grid(stream in any_stream(), rate in any_rate()) {
        let [never, at_ends, always] = [Ahead::Never, Ahead::AtEnds, Ahead::Always].map(|ahead| {
            let mut run = Run::new(Config { ahead, ..config(rate.num, rate.den) });
            for pts in &stream {
                run.push_with(Some(*pts), Some(40 * MS), false);
            }
            run.finish();
            run.jobs.iter().map(slot).collect::<Vec<_>>()
        });
        prop_assert_eq!(&never, &at_ends);
        for pair in always.windows(2) {
            let end = pair[0].pts.0 + pair[0].duration;
            prop_assert!(end == pair[1].pts.0 || pair[1].discont && end < pair[1].pts.0);
        }
        prop_assert_eq!(never.last(), always.last());
    }

    /// Retiming changes what outputs show, never which there are; what they show goes forwards. Where frames do not say how
    /// long they last, one before a hole or the end does until its place, which may be moved on.
    #[test]
    fn retiming_keeps_the_grid(
        stream in any_stream(), rate in any_rate(), last in proptest::option::of(1..200 * MS),
        repeats in proptest::collection::vec(any::<bool>(), 60),
    ) {
        let runs = [false, true].map(|retime| {
            // without tolerance, which depends on the frame before: one that is left out is none
            let tolerance = 0;
            let mut run = Run::new(Config { retime, tolerance, ..config(rate.num, rate.den) });
            for (i, pts) in stream.iter().enumerate() {
                let until_next = stream.get(i + 1).map(|next| next - pts);
                run.push_arrival(Arrival {
                    pts: Some(Timestamp(*pts)),
                    duration: last.map(|last| until_next.unwrap_or(last)),
                    repeats: repeats[i],
                    ..Arrival::default()
                });
            }
            run.finish();
            run
        });
        let [off, on] = &runs;
        let slots = |run: &Run| run.jobs.iter().map(slot).collect::<Vec<_>>();
        if last.is_some() {
            prop_assert_eq!(slots(off), slots(on));
        }

        let mut before = (0, 0.0);
        for job in &on.jobs {
            let now = match job {
                Job::Show { frame, .. } => (*frame, 0.0),
                Job::Interpolate { left, right, phase, .. } => {
                    prop_assert!(left < right);
                    prop_assert!(0 < phase.elapsed && phase.elapsed < phase.span);
                    prop_assert!(phase.span <= 2 * SECOND);
                    prop_assert!(*right - *left <= MOST_SHOWINGS as u32);
                    (*left, phase.as_f32())
                }
                Job::Extrapolate { .. } => unreachable!("nothing is predicted"),
            };
            prop_assert!(before <= now, "{:?} after {:?}", now, before);
            before = now;
        }
    }
}
