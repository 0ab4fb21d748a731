//! With AVX2 or NEON: eight ways at a time, a way a lane. The same operations in the same order as [`Field::bend`], each lane with steps of its
//! own, so that the ways are the same to the bit.

use crate::kernels::simd::avx2::*;
use crate::kernels::simd::{LANES, Lanes};
use crate::trajectory::field::{CLUES, HIDDEN, LATENT, OUTPUTS, ROOT_EPSILON, known, told};
use crate::trajectory::solver::{Progress, SHARE, largest};
use crate::trajectory::{Clues, Field, STATE, TOLERANCE, Vector};

const _: () = assert!(super::GROUP == LANES);

/// A state of each way.
type States = [__m256; STATE];

/// How far eight things are from even motion, each at a phase of its own: as [`Field::bend`].
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
pub fn bends(field: &Field, clues: &[Clues; LANES], phases: &[f32; LANES]) -> [Vector; LANES] {
    let ways = Ways::new(field, clues);
    let forth = ways.carry(ways.start(0.0), 0.0, phases);
    let back = ways.carry(ways.start(1.0), 1.0, phases);
    let mut bends = [[0.0; 2]; LANES];
    for (lane, bend) in bends.iter_mut().enumerate() {
        if !(forth.told[lane] && back.told[lane]) {
            continue;
        }
        let (t, motion) = (phases[lane], clues[lane].motion);
        for (c, bend) in bend.iter_mut().enumerate() {
            let at = (1.0 - t) * forth.states[c].0[lane] + t * back.states[c].0[lane];
            *bend = at - t * motion[c];
        }
    }
    bends
}

/// The field along eight ways.
struct Ways<'a> {
    field: &'a Field,
    motion: [__m256; 2],
    accelerations: [[__m256; 2]; 2],
    hidden: [__m256; HIDDEN],
}

/// Where ways have got to, and whether that can be told.
struct Carried {
    states: [Lanes; STATE],
    told: [bool; LANES],
}

impl<'a> Ways<'a> {
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    fn new(field: &'a Field, clues: &[Clues; LANES]) -> Self {
        let zeros = Lanes([0.0; LANES]);
        let (mut motion, mut accelerations) = ([zeros; 2], [[zeros; 2]; 2]);
        let mut inputs = [zeros; CLUES];
        for (lane, clues) in clues.iter().enumerate() {
            let both = known(clues).unwrap_or_default();
            for c in 0..2 {
                motion[c].0[lane] = clues.motion[c];
                for (side, acceleration) in both.iter().enumerate() {
                    accelerations[side][c].0[lane] = acceleration[c];
                }
            }
            for (input, value) in inputs.iter_mut().zip(told(clues, both)) {
                input.0[lane] = value;
            }
        }
        let mut hidden = [_mm256_setzero_ps(); HIDDEN];
        for (h, bias) in hidden.iter_mut().zip(&field.entry_bias) {
            *h = _mm256_set1_ps(*bias);
        }
        for (input, weights) in inputs.iter().zip(&field.entry) {
            add_products(&mut hidden, input.load(), weights);
        }
        Self {
            field,
            motion: [motion[0].load(), motion[1].load()],
            accelerations: [
                [accelerations[0][0].load(), accelerations[0][1].load()],
                [accelerations[1][0].load(), accelerations[1][1].load()],
            ],
            hidden,
        }
    }

    /// The states at frame 0 or 1, at the places there.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    fn start(&self, at: f32) -> States {
        let (zero, t) = (_mm256_setzero_ps(), _mm256_set1_ps(at));
        let mut z = [zero; STATE];
        for c in 0..2 {
            z[c] = _mm256_mul_ps(t, self.motion[c]);
            z[2 + c] = self.motion[c];
        }
        let gains = self.answer(&z, t);
        let shares = if at == 0.0 { [-2.0, -1.0] } else { [1.0, 2.0] };
        for c in 0..2 {
            let mut by = _mm256_setzero_ps();
            for (side, share) in shares.into_iter().enumerate() {
                let share = _mm256_mul_ps(_mm256_set1_ps(share), gains[side]);
                by = _mm256_add_ps(by, _mm256_mul_ps(share, self.accelerations[side][c]));
            }
            let by = _mm256_div_ps(by, _mm256_set1_ps(6.0));
            z[2 + c] = _mm256_add_ps(z[2 + c], by);
            z[c] = if at == 0.0 { zero } else { self.motion[c] };
        }
        z
    }

    /// See `Way::answer`.
    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    fn answer(&self, z: &States, t: __m256) -> [__m256; OUTPUTS] {
        let one = _mm256_set1_ps(1.0);
        let square = _mm256_add_ps(_mm256_mul_ps(z[2], z[2]), _mm256_mul_ps(z[3], z[3]));
        let speed = _mm256_sqrt_ps(_mm256_add_ps(square, _mm256_set1_ps(ROOT_EPSILON)));
        let speed = _mm256_div_ps(speed, _mm256_add_ps(one, speed));
        let mut hidden = self.hidden;
        let weights = &self.field.entry[CLUES..];
        for (value, weights) in [speed, t, z[4], z[5]].into_iter().zip(weights) {
            add_products(&mut hidden, value, weights);
        }
        for h in &mut hidden {
            *h = softsign(*h);
        }
        let mut out = [_mm256_setzero_ps(); OUTPUTS];
        let heads = self.field.head.iter().zip(&self.field.head_bias);
        for (out, (weights, bias)) in out.iter_mut().zip(heads) {
            *out = _mm256_set1_ps(*bias);
            for (h, w) in hidden.iter().zip(weights) {
                *out = _mm256_add_ps(*out, _mm256_mul_ps(*h, _mm256_set1_ps(*w)));
            }
        }
        for gain in &mut out[..2] {
            *gain = _mm256_add_ps(one, softsign(*gain));
        }
        out
    }

    /// The change of the states over time at phases `t`.
    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    fn change(&self, z: &States, t: __m256) -> States {
        const { assert!(LATENT == 2) };
        let [before, after, latent, other] = self.answer(z, t);
        let before = _mm256_mul_ps(_mm256_sub_ps(_mm256_set1_ps(1.0), t), before);
        let after = _mm256_mul_ps(t, after);
        let [a, b] = &self.accelerations;
        let mut change = [z[2], z[3], latent, other, latent, other];
        for c in 0..2 {
            let (first, second) = (_mm256_mul_ps(before, a[c]), _mm256_mul_ps(after, b[c]));
            change[2 + c] = _mm256_add_ps(first, second);
        }
        change
    }

    /// See `solver::carry`.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    fn carry(&self, start: States, from: f32, to: &[f32; LANES]) -> Carried {
        let mut states = stored(&start);
        let mut ways = to.map(|to| Progress::new(from, to));
        while ways.iter().any(Progress::runs) {
            let (mut at, mut step) = ([from; LANES], [0.0; LANES]);
            for (lane, way) in ways.iter().enumerate().filter(|(_, way)| way.runs()) {
                (at[lane], step[lane]) = (way.at, way.next() - way.at);
            }
            let (next, differences) = self.attempt(&loaded(&states), &Lanes(at), &Lanes(step));
            for (lane, way) in ways.iter_mut().enumerate().filter(|(_, way)| way.runs()) {
                let sizes = [&differences, &next].map(|of| largest(of.iter().map(|v| v.0[lane])));
                if way.takes(sizes, TOLERANCE) {
                    for (state, next) in states.iter_mut().zip(&next) {
                        state.0[lane] = next.0[lane];
                    }
                }
            }
        }
        Carried {
            states,
            told: ways.map(|way| way.told),
        }
    }

    /// The states after a step, and what two halves of it make different.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    fn attempt(&self, z: &States, t: &Lanes, step: &Lanes) -> ([Lanes; STATE], [Lanes; STATE]) {
        let (t, step) = (t.load(), step.load());
        let first = self.change(z, t);
        let half = _mm256_mul_ps(_mm256_set1_ps(0.5), step);
        let whole = self.stepped(z, &first, t, step);
        let middle = self.stepped(z, &first, t, half);
        let (at, share) = (_mm256_add_ps(t, half), _mm256_set1_ps(SHARE));
        let halves = self.stepped(&middle, &self.change(&middle, at), at, half);
        let (mut next, mut differences) = (halves, halves);
        for i in 0..STATE {
            differences[i] = _mm256_mul_ps(share, _mm256_sub_ps(halves[i], whole[i]));
            next[i] = _mm256_add_ps(halves[i], differences[i]);
        }
        (stored(&next), stored(&differences))
    }

    /// One classical step, with the change at its beginning.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    fn stepped(&self, z: &States, first: &States, t: __m256, step: __m256) -> States {
        let half = _mm256_mul_ps(_mm256_set1_ps(0.5), step);
        let middle = _mm256_add_ps(t, half);
        let second = self.change(&along(z, first, half), middle);
        let third = self.change(&along(z, &second, half), middle);
        let last = self.change(&along(z, &third, step), _mm256_add_ps(t, step));
        let (sixth, two) = (
            _mm256_div_ps(step, _mm256_set1_ps(6.0)),
            _mm256_set1_ps(2.0),
        );
        let mut to = *z;
        for (i, to) in to.iter_mut().enumerate() {
            let inner = _mm256_mul_ps(two, _mm256_add_ps(second[i], third[i]));
            let sum = _mm256_add_ps(_mm256_add_ps(first[i], inner), last[i]);
            *to = _mm256_add_ps(z[i], _mm256_mul_ps(sixth, sum));
        }
        to
    }
}

#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn along(z: &States, change: &States, by: __m256) -> States {
    let mut to = *z;
    for (to, change) in to.iter_mut().zip(change) {
        *to = _mm256_add_ps(*to, _mm256_mul_ps(by, *change));
    }
    to
}

#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn add_products(hidden: &mut [__m256; HIDDEN], value: __m256, weights: &[f32; HIDDEN]) {
    for (h, w) in hidden.iter_mut().zip(weights) {
        *h = _mm256_add_ps(*h, _mm256_mul_ps(value, _mm256_set1_ps(*w)));
    }
}

/// x / (1 + |x|).
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn softsign(x: __m256) -> __m256 {
    let minus = _mm256_castps_si256(_mm256_set1_ps(-0.0));
    let size = _mm256_castsi256_ps(_mm256_andnot_si256(minus, _mm256_castps_si256(x)));
    _mm256_div_ps(x, _mm256_add_ps(_mm256_set1_ps(1.0), size))
}

#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn stored(states: &States) -> [Lanes; STATE] {
    let mut out = [Lanes([0.0; LANES]); STATE];
    for (out, state) in out.iter_mut().zip(states) {
        out.store(*state);
    }
    out
}

#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn loaded(states: &[Lanes; STATE]) -> States {
    let mut out = [_mm256_setzero_ps(); STATE];
    for (out, state) in out.iter_mut().zip(states) {
        *out = state.load();
    }
    out
}
