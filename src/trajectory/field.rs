//! The velocity field: a small network that says how much of the accelerations at both frames there is at a moment of the way.
//! `training/trajectory.py` is its twin, with the same names.

use std::sync::Arc;

use once_cell::sync::OnceCell;

use super::{Drive, STATE, State, Vector};
use crate::error::Result;
use crate::network::checkpoint::Checkpoint;

/// Latent values of a state.
pub const LATENT: usize = 2;
/// What the network is told of a way and of a state on it; its hidden values; what it answers.
pub(crate) const CLUES: usize = 10;
const INPUTS: usize = CLUES + 2 + LATENT;
pub(crate) const HIDDEN: usize = 16;
pub(crate) const OUTPUTS: usize = 2 + LATENT;
/// Added to a speed, in cells, that accelerations are compared with.
const REST: f32 = 0.5;
/// Keeps the root of nothing smooth in training.
pub(crate) const ROOT_EPSILON: f32 = 1e-6;

/// The weights; a kernel for cards is given them as they lie here.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Field {
    pub(crate) entry: [[f32; HIDDEN]; INPUTS],
    pub(crate) entry_bias: [f32; HIDDEN],
    pub(crate) head: [[f32; HIDDEN]; OUTPUTS],
    pub(crate) head_bias: [f32; OUTPUTS],
}

/// What tells of a way; vectors in cells of 8x8 pixels.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Clues {
    /// From frame 0 to frame 1.
    pub motion: Vector,
    /// At frame 0 and at frame 1: how much longer the way after is than that before; `None` where there is no frame before, or after.
    pub accelerations: [Option<Vector>; 2],
    /// How far the motion found in either frame is from this one, 0 to 1.
    pub inconsistency: [f32; 2],
    /// Least difference of luma, as the decoder's cues have it.
    pub difference: f32,
    /// How much the decoder trusts the acceleration at frame 0, 0 to 1.
    pub gate: f32,
}

/// The field along one way.
#[derive(Debug)]
pub struct Way<'a> {
    field: &'a Field,
    motion: Vector,
    accelerations: [Vector; 2],
    /// What all states have in common of the hidden values.
    hidden: [f32; HIDDEN],
}

impl Field {
    /// The weights that are part of the plugin; read once and shared.
    ///
    /// # Errors
    /// They are damaged.
    pub fn embedded() -> Result<Arc<Self>> {
        static READ: OnceCell<Arc<Field>> = OnceCell::new();
        let bytes = include_bytes!("../../models/trajectory.safetensors");
        let read = || {
            Ok(Arc::new(Self::load(&Checkpoint::parse(
                "trajectory",
                bytes,
            )?)?))
        };
        READ.get_or_try_init(read).cloned()
    }

    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn load(checkpoint: &Checkpoint) -> Result<Self> {
        let values = |name: &str, shape: &[usize]| -> Result<Vec<f32>> {
            Ok(checkpoint.tensor(name, shape)?.flatten_all()?.to_vec1()?)
        };
        let entry = values("entry.weight", &[HIDDEN, INPUTS])?;
        let bias = values("entry.bias", &[HIDDEN])?;
        let head = values("head.weight", &[OUTPUTS, HIDDEN])?;
        let head_bias = values("head.bias", &[OUTPUTS])?;
        Ok(Self::of(
            |hidden, input| entry[hidden * INPUTS + input],
            |hidden| bias[hidden],
            |output, hidden| head[output * HIDDEN + hidden],
            |output| head_bias[output],
        ))
    }

    /// Of weights by their place.
    pub(crate) fn of(
        entry: impl Fn(usize, usize) -> f32,
        entry_bias: impl Fn(usize) -> f32,
        head: impl Fn(usize, usize) -> f32,
        head_bias: impl Fn(usize) -> f32,
    ) -> Self {
        use std::array::from_fn;
        Self {
            entry: from_fn(|input| from_fn(|hidden| entry(hidden, input))),
            entry_bias: from_fn(entry_bias),
            head: from_fn(|output| from_fn(|hidden| head(output, hidden))),
            head_bias: from_fn(head_bias),
        }
    }

    /// Gains of 1 whatever the clues are: the cubic.
    #[cfg(test)]
    pub fn cubic() -> Self {
        Self::of(|_, _| 0.0, |_| 0.0, |_, _| 0.0, |_| 0.0)
    }

    /// How far a thing is from even motion at phase `t`, in cells; nothing where no acceleration is known or the equation cannot be
    /// solved.
    pub fn bend(&self, clues: &Clues, t: f32) -> Vector {
        let Some(way) = Way::new(self, clues) else {
            return [0.0; 2];
        };
        let motion = clues.motion;
        let at = super::position(&way, [way.start(0.0), way.start(1.0)], motion, t);
        at.map_or([0.0; 2], |at| [0, 1].map(|c| at[c] - t * motion[c]))
    }
}

impl<'a> Way<'a> {
    /// `None` where nothing is known of accelerations.
    pub fn new(field: &'a Field, clues: &Clues) -> Option<Self> {
        let accelerations = known(clues)?;
        let inputs = told(clues, accelerations);
        let mut hidden = field.entry_bias;
        for (value, weights) in inputs.iter().zip(&field.entry) {
            add(&mut hidden, *value, weights);
        }
        Some(Self {
            field,
            motion: clues.motion,
            accelerations,
            hidden,
        })
    }

    /// The state at frame 0 or 1: as fast as the cubic with the gains there.
    pub fn start(&self, t: f32) -> State {
        let [x, y] = self.motion;
        let mut z = [0.0; STATE];
        z[..4].copy_from_slice(&[t * x, t * y, x, y]);
        let [before, after, ..] = self.answer(&z, t);
        let shares = if t == 0.0 { [-2.0, -1.0] } else { [1.0, 2.0] };
        for c in 0..2 {
            let [a, b] = self.accelerations.map(|a| a[c]);
            z[2 + c] += (shares[0] * before * a + shares[1] * after * b) / 6.0;
        }
        z
    }

    /// Gains of both accelerations, 0 to 2, and the change of the latent values.
    fn answer(&self, z: &State, t: f32) -> [f32; OUTPUTS] {
        let mut hidden = self.hidden;
        let state = [squash(length([z[2], z[3]])), t, z[4], z[5]];
        for (value, weights) in state.iter().zip(&self.field.entry[CLUES..]) {
            add(&mut hidden, *value, weights);
        }
        let hidden = hidden.map(softsign);
        let mut out = std::array::from_fn(|output| {
            let products = hidden.iter().zip(&self.field.head[output]);
            products.fold(self.field.head_bias[output], |sum, (h, w)| sum + h * w)
        });
        for gain in &mut out[..2] {
            *gain = 1.0 + softsign(*gain);
        }
        out
    }
}

impl Drive for Way<'_> {
    fn change(&self, z: &State, t: f32) -> State {
        let [before, after, latent @ ..] = self.answer(z, t);
        let [a, b] = self.accelerations;
        let pull = [0, 1].map(|c| (1.0 - t) * before * a[c] + t * after * b[c]);
        [z[2], z[3], pull[0], pull[1], latent[0], latent[1]]
    }
}

/// Accelerations at both frames; what is known of one frame alone stands for both.
pub(crate) fn known(clues: &Clues) -> Option<[Vector; 2]> {
    let [before, after] = clues.accelerations;
    Some([before.or(after)?, after.or(before)?])
}

/// What does not change along a way.
pub(crate) fn told(clues: &Clues, [before, after]: [Vector; 2]) -> [f32; CLUES] {
    let scale = length(clues.motion) + REST;
    let (a, b) = (length(before), length(after));
    let apart = [after[0] - before[0], after[1] - before[1]];
    let known = clues.accelerations.map(|a| f32::from(a.is_some()));
    [
        squash(a / scale),
        squash(b / scale),
        (before[0] * after[0] + before[1] * after[1]) / (a * b),
        squash(length(apart) / scale),
        clues.inconsistency[0],
        clues.inconsistency[1],
        clues.difference,
        clues.gate * known[0],
        known[0],
        known[1],
    ]
}

fn add(hidden: &mut [f32; HIDDEN], value: f32, weights: &[f32; HIDDEN]) {
    for (h, w) in hidden.iter_mut().zip(weights) {
        *h += value * w;
    }
}

fn length([x, y]: Vector) -> f32 {
    (x * x + y * y + ROOT_EPSILON).sqrt()
}

fn squash(x: f32) -> f32 {
    x / (1.0 + x)
}

fn softsign(x: f32) -> f32 {
    x / (1.0 + x.abs())
}
