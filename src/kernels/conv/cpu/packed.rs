//! Weights and memory in the order in which the fast kernels read them.

use super::vector::EIGHT;

/// Floats in a cache line.
const LINE: usize = 16;

/// A cache line of floats: no aligned vector in it lies across two.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Floats that begin with a cache line.
#[derive(Debug, Default)]
pub struct Floats(Vec<Line>);

impl Floats {
    /// At least `count` zeros.
    pub fn zeros(count: usize) -> Self {
        Self(vec![Line([0.0; LINE]); count.div_ceil(LINE)])
    }

    pub fn len(&self) -> usize {
        self.0.len() * LINE
    }

    pub fn as_ptr(&self) -> *const f32 {
        self.0.as_ptr().cast()
    }

    pub fn as_mut_ptr(&mut self) -> *mut f32 {
        self.0.as_mut_ptr().cast()
    }

    fn set(&mut self, i: usize, value: f32) {
        self.0[i / LINE].0[i % LINE] = value;
    }

    /// These values, then zeros up to `count`.
    fn filled(values: &[f32], count: usize) -> Self {
        let mut floats = Self::zeros(count);
        for (i, value) in values.iter().enumerate() {
            floats.set(i, *value);
        }
        floats
    }
}

/// Weights as `[block][tap][input][output of the block]`, bias and slopes as `[output]`, the last
/// block filled up with zeros.
#[derive(Debug, Default)]
pub struct Packed {
    pub weight: Floats,
    pub bias: Floats,
    pub slopes: Floats,
    /// Outputs of a block, in [`EIGHT`]s: 1, 2 or 3.
    pub eights: usize,
    pub blocks: usize,
}

impl Packed {
    /// From a weight of `[outputs][inputs][taps]`.
    pub fn new(weight: &[f32], bias: &[f32], slopes: &[f32], inputs: usize, taps: usize) -> Self {
        let outputs = bias.len();
        let eights = match outputs {
            0..=8 => 1,
            17..=24 => 3,
            _ => 2,
        };
        let block = eights * EIGHT;
        let blocks = outputs.div_ceil(block);
        let mut packed = Floats::zeros(blocks * taps * inputs * block);
        for (row, values) in weight.chunks_exact(taps).enumerate() {
            let (output, input) = (row / inputs, row % inputs);
            let (b, o) = (output / block, output % block);
            for (tap, value) in values.iter().enumerate() {
                packed.set(((b * taps + tap) * inputs + input) * block + o, *value);
            }
        }
        Self {
            weight: packed,
            bias: Floats::filled(bias, blocks * block),
            slopes: Floats::filled(slopes, blocks * block),
            eights,
            blocks,
        }
    }

    /// As many as there are outputs.
    pub fn set_slopes(&mut self, slopes: &[f32]) {
        self.slopes = Floats::filled(slopes, self.slopes.len());
    }
}
