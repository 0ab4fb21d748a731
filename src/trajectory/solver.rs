//! An ordinary differential equation's solution by the classical fourth-order Runge-Kutta method. A step is as long as one of it
//! and two of half its length agree; their difference also betters the result (Hairer, Nørsett, Wanner, "Solving Ordinary
//! Differential Equations I", II.4).

use super::{Drive, State};

/// A step this short, of the time from frame to frame, is not halved: the equation is stiff.
pub const SHORTEST: f32 = 1.0 / 32.0;
/// No value of a state gets beyond this: it explodes.
pub const MOST: f32 = 1e4;
/// The error of two halves is this part of their difference from the whole: 1 / (2^4 - 1).
pub const SHARE: f32 = 1.0 / 15.0;

/// How far the solver is on a way of `pieces` steps, of which `done` are behind: exact, so that the last one ends where the way does.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    ends: [f32; 2],
    done: u32,
    pieces: u32,
    /// The phase there.
    pub at: f32,
    /// The equation has been neither stiff nor exploding.
    pub told: bool,
}

impl Progress {
    /// At the beginning of a way.
    pub fn new(from: f32, to: f32) -> Self {
        Self {
            ends: [from, to],
            done: 0,
            pieces: 1,
            at: from,
            told: true,
        }
    }

    /// Whether a step is to be made.
    pub fn runs(&self) -> bool {
        self.told && self.done < self.pieces
    }

    /// The phase at which the next step ends.
    pub fn next(&self) -> f32 {
        let [from, to] = self.ends;
        match self.done + 1 == self.pieces {
            true => to,
            false => from + (to - from) * ((self.done + 1) as f32 / self.pieces as f32),
        }
    }

    /// Whether the next step, of this `error` and with values up to `most`, is taken; else shorter ones follow.
    pub fn takes(&mut self, [error, most]: [f32; 2], tolerance: f32) -> bool {
        let next = self.next();
        // no number is no agreement
        let taken = error <= tolerance;
        if taken {
            self.told = most <= MOST;
            (self.at, self.done) = (next, self.done + 1);
            // as long again as the last that failed, where the halves meet
            if self.done.is_multiple_of(2) {
                (self.done, self.pieces) = (self.done / 2, self.pieces / 2);
            }
        } else {
            self.told = (next - self.at).abs() > SHORTEST;
            (self.done, self.pieces) = (2 * self.done, 2 * self.pieces);
        }
        taken
    }
}

/// The state at `to` of that which is `state` at `from`, with errors of a step up to `tolerance`; `None` where the equation is stiff or
/// explodes. The number of steps is bounded by [`SHORTEST`].
pub fn carry(
    drive: &impl Drive,
    mut state: State,
    from: f32,
    to: f32,
    tolerance: f32,
) -> Option<State> {
    let mut way = Progress::new(from, to);
    while way.runs() {
        let (next, error) = attempt(drive, &state, way.at, way.next() - way.at);
        if way.takes([error, largest(next.into_iter())], tolerance) {
            state = next;
        }
    }
    way.told.then_some(state)
}

/// The state after a step, and its largest error.
fn attempt(drive: &impl Drive, z: &State, t: f32, step: f32) -> (State, f32) {
    let first = drive.change(z, t);
    let half = 0.5 * step;
    let whole = stepped(drive, z, &first, t, step);
    let middle = stepped(drive, z, &first, t, half);
    let halves = stepped(
        drive,
        &middle,
        &drive.change(&middle, t + half),
        t + half,
        half,
    );
    let differences: State = std::array::from_fn(|i| SHARE * (halves[i] - whole[i]));
    let error = largest(differences.into_iter());
    (along(&halves, &differences, 1.0), error)
}

/// The largest size of `values`; infinite where one is no number.
pub fn largest(values: impl Iterator<Item = f32>) -> f32 {
    values.fold(0.0, |most, value| match value.is_nan() {
        true => f32::INFINITY,
        false => value.abs().max(most),
    })
}

/// One classical step, with the change at its beginning.
fn stepped(drive: &impl Drive, z: &State, first: &State, t: f32, step: f32) -> State {
    let half = 0.5 * step;
    let second = drive.change(&along(z, first, half), t + half);
    let third = drive.change(&along(z, &second, half), t + half);
    let last = drive.change(&along(z, &third, step), t + step);
    std::array::from_fn(|i| z[i] + step / 6.0 * (first[i] + 2.0 * (second[i] + third[i]) + last[i]))
}

fn along(z: &State, change: &State, by: f32) -> State {
    std::array::from_fn(|i| z[i] + by * change[i])
}
