//! Which size of the network `quality=auto` runs. Pure: durations are its inputs, it has no clock.
//!
//! It compares the time that making frames takes with the time that the outputs last. Too much of it, or a downstream
//! that keeps saying late, leads a step down at once; a step up needs a while without either. A step up that had to be
//! taken back doubles that while, so that the steps become ever rarer where no size suits.

use std::time::Duration;

use crate::network::Variant;

/// Where the picking begins, and what runs where nothing may depend on time.
pub const FIRST: Variant = Variant::Balanced;

/// Share of the time the outputs last that making frames may take; the rest is for what else the pipeline does.
const MOST_LOAD: f64 = 0.8;
/// A size takes at most so many times the time of the next smaller one.
const LARGEST_STEP: f64 = 2.0;
/// With a load below this the next larger size fits.
const LIGHT_LOAD: f64 = MOST_LOAD / LARGEST_STEP;
/// Frames made that the first pick needs, and any later judgement. The first one after a change does not
/// count: its memory is new.
const FRAMES: u32 = 4;
/// Output time that the first pick needs: of several frames of a pair the first takes most of the time, so that it has to be
/// that of some pairs.
const FIRST_WINDOW: Duration = Duration::from_millis(200);
/// Output time that a later judgement needs.
const WINDOW: Duration = Duration::from_secs(1);
/// Signs of lateness in a row that lead a step down.
const LATE_IN_A_ROW: u32 = 3;
/// Output time after a change in which lateness is still that of before.
const GRACE: Duration = Duration::from_secs(1);
/// Output time without any sign of overload that leads a step up, at first and at most.
const PATIENCE: Duration = Duration::from_secs(5);
const MOST_PATIENCE: Duration = Duration::from_secs(320);

/// Why another size was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Of what making frames takes.
    Measured,
    /// Downstream says late.
    Late,
}

/// From one size to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    pub from: Variant,
    pub to: Variant,
    pub reason: Reason,
    /// The time that making frames took, over the time that the outputs lasted.
    pub load: f64,
}

/// What was seen since it was last judged.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    /// A frame was made that does not count.
    warm: bool,
    made: u32,
    taken: Duration,
    lasted: Duration,
}

impl Window {
    fn load(&self) -> f64 {
        match self.lasted.is_zero() {
            true => 0.0,
            false => self.taken.as_secs_f64() / self.lasted.as_secs_f64(),
        }
    }
}

/// The state: the size that runs, and what speaks for another.
#[derive(Debug, Clone)]
pub struct Tiers {
    runs: Variant,
    /// The first pick is made.
    picked: bool,
    window: Window,
    /// Signs of lateness in a row.
    late: u32,
    /// Output time since the last change.
    since_change: Duration,
    /// Output time since the last sign of overload.
    calm: Duration,
    /// How long that must be for a step up.
    patience: Duration,
    /// The last change was a step up.
    climbed: bool,
}

impl Default for Tiers {
    fn default() -> Self {
        Tiers {
            runs: FIRST,
            picked: false,
            window: Window::default(),
            late: 0,
            since_change: Duration::ZERO,
            calm: Duration::ZERO,
            patience: PATIENCE,
            climbed: false,
        }
    }
}

impl Tiers {
    /// The size to run.
    pub fn runs(&self) -> Variant {
        self.runs
    }

    /// An output that lasts `lasts` went out; `took` is what making it took, nothing where it is a source frame.
    pub fn output(&mut self, took: Option<Duration>, lasts: Duration) -> Option<Change> {
        self.since_change += lasts;
        self.calm += lasts;
        let window = &mut self.window;
        if took.is_some() && !window.warm {
            window.warm = true;
            return None;
        }
        if window.warm {
            window.lasted += lasts;
            window.taken += took.unwrap_or_default();
            window.made += u32::from(took.is_some());
        }
        let least = if self.picked { WINDOW } else { FIRST_WINDOW };
        let is_full = window.made >= FRAMES && window.lasted >= least;
        is_full.then(|| self.judge()).flatten()
    }

    /// Downstream says how far its time for a frame is from what it has (`proportion`, 1 is just enough), and
    /// whether the last one was `late`.
    pub fn downstream(&mut self, proportion: f64, late: bool) -> Option<Change> {
        if late && proportion > 1.0 {
            self.lateness()
        } else {
            self.late = 0;
            None
        }
    }

    /// An output was late and not made, or not even shown.
    pub fn left_out(&mut self, lasts: Duration) {
        self.since_change += lasts;
        self.calm = Duration::ZERO;
    }

    /// The frames to come have nothing to do with those so far, but cost the same.
    pub fn flush(&mut self) {
        self.window = Window::default();
        self.late = 0;
        self.calm = Duration::ZERO;
        self.since_change = Duration::ZERO;
    }

    fn lateness(&mut self) -> Option<Change> {
        self.calm = Duration::ZERO;
        if self.since_change < GRACE {
            return None;
        }
        self.late += 1;
        match self.late >= LATE_IN_A_ROW {
            true => self.step(-1, Reason::Late),
            false => None,
        }
    }

    /// Of a full window.
    fn judge(&mut self) -> Option<Change> {
        let load = self.window.load();
        let waited = !self.picked || self.calm >= self.patience;
        self.picked = true;
        if load > MOST_LOAD {
            return self.step(-1, Reason::Measured);
        }
        if load < LIGHT_LOAD && waited {
            return self.step(1, Reason::Measured);
        }
        if load >= LIGHT_LOAD {
            self.calm = Duration::ZERO;
        }
        self.window = Window {
            warm: true,
            ..Window::default()
        };
        None
    }

    /// To the next size up or down, if there is one.
    fn step(&mut self, by: isize, reason: Reason) -> Option<Change> {
        let load = self.window.load();
        let up = by > 0;
        if !up && std::mem::take(&mut self.climbed) {
            self.patience = (2 * self.patience).min(MOST_PATIENCE);
        }
        self.flush();
        let all = Variant::ALL;
        let place = all.iter().position(|v| *v == self.runs)?;
        let to = *all.get(place.checked_add_signed(by)?)?;
        let from = std::mem::replace(&mut self.runs, to);
        self.climbed = up;
        Some(Change {
            from,
            to,
            reason,
            load,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Variant::{Balanced, Fast, High};

    const LASTS: Duration = Duration::from_micros(16_667);

    /// A machine that needs so many milliseconds for a frame of each size; half of the outputs are made.
    struct Machine {
        tiers: Tiers,
        costs: [f64; 3],
        changes: Vec<(u64, Variant)>,
        outputs: u64,
    }

    impl Machine {
        fn new(costs: [f64; 3]) -> Self {
            Machine {
                tiers: Tiers::default(),
                costs,
                changes: Vec::new(),
                outputs: 0,
            }
        }

        fn run(&mut self, outputs: u64) {
            for _ in 0..outputs {
                self.outputs += 1;
                let ms = self.costs[self.tiers.runs() as usize];
                let made = self.outputs.is_multiple_of(2);
                let took = made.then(|| Duration::from_secs_f64(ms * 1e-3));
                let change = self.tiers.output(took, LASTS);
                self.note(change);
            }
        }

        fn note(&mut self, change: Option<Change>) {
            if let Some(change) = change {
                assert_ne!(change.from, change.to);
                assert_eq!(change.to, self.tiers.runs());
                self.changes.push((self.outputs, change.to));
            }
        }

        fn to(&self) -> Vec<Variant> {
            self.changes.iter().map(|(_, to)| *to).collect()
        }
    }

    const SECOND: u64 = 60;
    const HOUR: u64 = 3600 * SECOND;

    #[test]
    fn the_first_frames_pick_the_size_that_fits() {
        // the two outputs of a frame made last 33 ms
        for (costs, expected) in [
            ([5.0, 8.0, 12.0], vec![High]),
            ([12.0, 20.0, 30.0], vec![]),
            ([20.0, 30.0, 40.0], vec![Fast]),
            ([200.0, 300.0, 400.0], vec![Fast]),
        ] {
            let mut machine = Machine::new(costs);
            machine.run(SECOND / 4);
            assert_eq!(machine.to(), expected, "{costs:?}");
            machine.run(HOUR);
            assert_eq!(machine.to(), expected, "{costs:?} after an hour");
        }
    }

    // eight times 30 frames a second: the first frame of a pair takes 20 ms, the other six 0.8 ms, all of them 0.74 of the time
    #[test]
    fn the_frames_of_a_pair_count_together() {
        let (mut tiers, lasts) = (Tiers::default(), LASTS / 4);
        for output in 0..1000 {
            let took = match output % 8 {
                0 => None,
                1 => Some(Duration::from_millis(20)),
                _ => Some(Duration::from_micros(800)),
            };
            assert_eq!(tiers.output(took, lasts), None, "{output}");
        }
        assert_eq!(tiers.runs(), Balanced);
    }

    #[test]
    fn the_first_frame_made_after_a_change_does_not_count() {
        let mut tiers = Tiers::default();
        assert_eq!(tiers.output(Some(Duration::from_secs(3)), LASTS), None);
        for _ in 0..40 {
            assert_eq!(tiers.output(Some(Duration::from_millis(10)), LASTS), None);
        }
        assert_eq!(tiers.runs(), Balanced);
    }

    #[test]
    fn down_is_fast_and_up_is_slow() {
        let mut machine = Machine::new([12.0, 20.0, 30.0]);
        machine.run(10 * SECOND);
        assert_eq!(machine.to(), []);
        // something else takes half of the machine, and after a minute goes away
        let began = machine.outputs;
        machine.costs = [24.0, 40.0, 60.0];
        machine.run(60 * SECOND);
        assert_eq!(machine.to(), [Fast]);
        assert!(machine.changes[0].0 - began <= 2 * SECOND);
        let ended = machine.outputs;
        machine.costs = [12.0, 20.0, 30.0];
        machine.run(60 * SECOND);
        assert_eq!(machine.to(), [Fast, Balanced]);
        let waited = machine.changes[1].0 - ended;
        assert!((5 * SECOND..=8 * SECOND).contains(&waited), "{waited}");
    }

    #[test]
    fn lateness_leads_down_though_little_time_is_taken() {
        let mut machine = Machine::new([12.0, 20.0, 30.0]);
        for n in 0..10 * SECOND {
            machine.run(1);
            let change = machine.tiers.downstream(1.2, true);
            machine.note(change);
            // what is late within a second of the start may be so of the start
            assert_eq!(machine.to().is_empty(), n < SECOND + 1, "{n}");
        }
        assert_eq!(machine.to(), [Fast]);
    }

    #[test]
    fn a_single_late_frame_leads_nowhere() {
        let mut machine = Machine::new([12.0, 20.0, 30.0]);
        for n in 0..60 * SECOND {
            machine.run(1);
            let late = n.is_multiple_of(3);
            let change = machine.tiers.downstream(if late { 1.5 } else { 0.9 }, late);
            machine.note(change);
        }
        assert_eq!(machine.to(), []);
    }

    // whatever the sizes cost: a ratio above the one reckoned with, or lateness that measuring does not see
    #[test]
    fn steps_become_rare_where_no_size_suits() {
        for (costs, late) in [([10.0, 30.0, 50.0], false), ([5.0, 8.0, 12.0], true)] {
            let mut machine = Machine::new(costs);
            for _ in 0..HOUR {
                machine.run(1);
                let late = late && machine.tiers.runs() != Fast;
                let change = machine.tiers.downstream(if late { 1.5 } else { 0.5 }, late);
                machine.note(change);
            }
            let count = |from: u64, to: u64| {
                let within = |(at, _): &&(u64, Variant)| (from..to).contains(at);
                machine.changes.iter().filter(within).count()
            };
            assert!(count(0, HOUR) <= 40, "{costs:?}: {}", count(0, HOUR));
            let last = count(HOUR / 2, HOUR);
            assert!(last <= 12, "{costs:?}: {last} in half an hour");
            assert!(last > 0, "{costs:?}: it is no longer tried");
        }
    }

    #[test]
    fn frames_left_out_are_no_calm() {
        let mut machine = Machine::new([12.0, 40.0, 60.0]);
        machine.run(SECOND);
        assert_eq!(machine.to(), [Fast]);
        machine.costs = [1.0; 3];
        for _ in 0..60 {
            machine.run(SECOND);
            machine.tiers.left_out(LASTS);
        }
        assert_eq!(machine.to(), [Fast]);
    }

    #[test]
    fn a_seek_keeps_the_size() {
        let mut machine = Machine::new([20.0, 30.0, 40.0]);
        machine.run(SECOND);
        machine.tiers.flush();
        assert_eq!(machine.tiers.runs(), Fast);
    }
}
