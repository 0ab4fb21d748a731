//! The way of a thing through four frames, at -1, 0, 1 and 2: it is at its place in the frames 0 and 1 exactly, and between
//! them goes as a small network says that things go which came from where it was at -1 and go on to where it is at 2.
//!
//! A latent state z = (place, velocity, latent values) follows dz/dt = f(z, t; context), [`field`]. It is carried from frame 0
//! forwards to the phase t, p(t), and from frame 1 backwards, q(t), by [`solver`]. The position is
//!
//! ```text
//! x(t) = (1 - t) p(t) + t q(t)
//! ```
//!
//! p(0) is the place in frame 0 and q(1) that in frame 1, so that x passes through both whatever f is; that f is wrong shows as
//! a blend of two guesses, each counting more the nearer its frame is. With accelerations of nothing f is constant, both are on the
//! straight line, and so is x. Where f gives constant gains of 1 both are the cubic through the four places.
//!
//! Where the solver needs steps that are too short, or the state leaves all measure, the motion is even.
//!
//! After R. T. Q. Chen et al., "Neural Ordinary Differential Equations" (NeurIPS 2018), and Y. Rubanova et al., "Latent ODEs for
//! Irregularly-Sampled Time Series" (NeurIPS 2019).

pub mod field;
pub mod solver;
#[cfg(test)]
mod tests;

pub use field::{Clues, Field, Way};

/// A place or a distance, x and y.
pub type Vector = [f32; 2];

/// Values of a state: place, velocity, latent values.
pub const STATE: usize = 4 + field::LATENT;
pub type State = [f32; STATE];

/// Errors of a step, in cells of 8 pixels, intervals and units of the latent values, up to this count as none: a tenth of a pixel.
pub(crate) const TOLERANCE: f32 = 0.0125;

/// What drives a state: its change over time at a phase.
pub trait Drive {
    fn change(&self, z: &State, t: f32) -> State;
}

/// Where a thing is at phase `t` of its way from `[0, 0]` at phase 0 to `motion` at phase 1, between the states `starts` at both
/// phases; their places are not looked at. `None` where it cannot be told.
pub fn position(drive: &impl Drive, starts: [State; 2], motion: Vector, t: f32) -> Option<Vector> {
    let at = |state: State, [x, y]: Vector| {
        let mut state = state;
        (state[0], state[1]) = (x, y);
        state
    };
    let forth = solver::carry(drive, at(starts[0], [0.0; 2]), 0.0, t, TOLERANCE)?;
    let back = solver::carry(drive, at(starts[1], motion), 1.0, t, TOLERANCE)?;
    Some([0, 1].map(|c| (1.0 - t) * forth[c] + t * back[c]))
}
