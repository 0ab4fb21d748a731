//! Convolutions by cuDNN, with the launches of `cudnn/cuda.cu` around them: what several tensors or floats are is joined to one dense tensor
//! of 16 bits, cuDNN makes the sums, rounded to 16 bits, and bias, residual and activation follow.
//!
//! Weights and scratch memory are padded to whole groups of channels, for which alone cuDNN has tensor cores.

use candle_core::bail;

use super::narrow::RawPart;
use super::{Activation, Filter, MAX_INPUTS, check};
use crate::kernels::cuda::{Argument, Features, Half, Launch};

#[cfg(feature = "cuda")]
mod layers;
#[cfg(feature = "cuda")]
pub use layers::Layers;

/// Channels of a group.
const GROUP: usize = 8;
/// Threads of a block.
const THREADS: u32 = 256;
/// Bits of the `whole` of what follows.
const RESIDUAL: u32 = 0;
const OUT: u32 = 1;

/// The kernel's `Join`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct RawJoin {
    parts: [RawPart; MAX_INPUTS],
    out: u64,
    count: i32,
    height: i32,
    width: i32,
    groups: i32,
    whole: u32,
    unused: i32,
}

// SAFETY: plain numbers without bytes between them.
unsafe impl Argument for RawJoin {
    fn bytes(&self) -> u64 {
        let size = [self.height, self.width];
        let read: u64 = self.parts.iter().map(|part| part.bytes(size)).sum();
        read + dense(size, self.groups)
    }
}

/// The kernel's `Finish`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct RawFinish {
    sums: u64,
    residual: RawPart,
    out: RawPart,
    bias: u64,
    height: i32,
    width: i32,
    outputs: i32,
    groups: i32,
    leaky: i32,
    whole: u32,
}

// SAFETY: plain numbers without bytes between them.
unsafe impl Argument for RawFinish {
    fn bytes(&self) -> u64 {
        let size = [self.height, self.width];
        let own = self.residual.bytes(size) + self.out.bytes(size);
        own + dense(size, self.groups)
    }
}

/// A convolution that cuDNN could make, of tensors on a card.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layer<'a> {
    filter: &'a Filter,
    inputs: &'a [Features],
    residual: Option<Features>,
    activation: Activation,
    out: Features,
}

impl<'a> Layer<'a> {
    /// `None` for those that are ours alone: kernels that are not centred, and what is activated as it is read.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn new(
        filter: &'a Filter,
        inputs: &'a [Features],
        residual: Option<Features>,
        activation: Activation,
        out: Features,
    ) -> candle_core::Result<Option<Self>> {
        if inputs.len() > MAX_INPUTS {
            bail!("{} inputs, expected 1 to {MAX_INPUTS}", inputs.len());
        }
        let geometries = inputs.iter().map(|input| **input);
        check(filter, geometries, residual.map(|r| *r), &out)?;
        let layer = Self {
            filter,
            inputs,
            residual,
            activation,
            out,
        };
        Ok(layer.fits().then_some(layer))
    }

    fn fits(&self) -> bool {
        let Filter { kernel, pad, .. } = *self.filter;
        let centred = kernel % 2 == 1 && pad == (kernel / 2, kernel / 2);
        let values =
            [self.joined_bytes(), self.sums_bytes()].map(|bytes| bytes / size_of::<Half>());
        let counts = values.iter().all(|n| i32::try_from(*n).is_ok());
        centred && self.filter.reading == Activation::Linear && counts
    }

    fn size(&self) -> (usize, usize) {
        self.inputs[0].size()
    }

    /// Of the joined input, and of the sums.
    fn channels(&self) -> [usize; 2] {
        [self.filter.inputs, self.filter.outputs].map(|n| n.next_multiple_of(GROUP))
    }

    /// Where the input lies if it is as cuDNN wants it: one dense tensor of 16 bits, of whole groups.
    fn ready(&self) -> Option<u64> {
        let &[input @ Features::F16(raster)] = self.inputs else {
            return None;
        };
        let whole = input.channels.is_multiple_of(GROUP) && input.is_aligned(GROUP);
        let dense = input.pixel == input.channels && input.row == input.width * input.pixel;
        (whole && dense).then(|| raster.address())
    }

    /// Bytes of the joined input.
    fn joined_bytes(&self) -> usize {
        bytes(self.size(), self.channels()[0])
    }

    /// Bytes of the sums.
    fn sums_bytes(&self) -> usize {
        bytes(self.out.size(), self.channels()[1])
    }

    /// Joins the input at an address, a multiple of 16.
    fn join(&self, to: u64) -> Launch {
        let (size, groups) = (self.size(), self.channels()[0] / GROUP);
        let mut job = RawJoin {
            parts: Default::default(),
            out: to,
            count: self.inputs.len() as i32,
            height: size.0 as i32,
            width: size.1 as i32,
            groups: groups as i32,
            whole: 0,
            unused: 0,
        };
        for (i, input) in self.inputs.iter().enumerate() {
            job.parts[i] = RawPart::from(*input);
            job.whole |= u32::from(input.is_aligned(GROUP)) << i;
        }
        launch("join", size, groups).with(job)
    }

    /// Writes the output, of the sums at an address, and of what [`Filter::for_cudnn`] has made at the address `weights`.
    fn finish(&self, weights: u64, sums: u64) -> Launch {
        let (size, groups) = (self.out.size(), self.channels()[1] / GROUP);
        let whole =
            |features: Option<Features>| u32::from(features.is_some_and(|f| f.is_aligned(GROUP)));
        let job = RawFinish {
            sums,
            residual: self.residual.map(RawPart::from).unwrap_or_default(),
            out: RawPart::from(self.out),
            bias: weights + self.filter.factors_bytes() as u64,
            height: size.0 as i32,
            width: size.1 as i32,
            outputs: self.filter.outputs as i32,
            groups: groups as i32,
            leaky: i32::from(self.activation == Activation::Leaky),
            whole: whole(self.residual) << RESIDUAL | whole(Some(self.out)) << OUT,
        };
        launch("finish", size, groups).with(job)
    }
}

/// The same of so many groups, as a launch counts it.
fn dense([height, width]: [i32; 2], groups: i32) -> u64 {
    let [h, w, groups] = [height, width, groups].map(|n| n as usize);
    bytes((h, w), groups * GROUP) as u64
}

/// Of a dense tensor of 16 bits.
fn bytes((h, w): (usize, usize), channels: usize) -> usize {
    h * w * channels * size_of::<Half>()
}

/// With a thread for each group of a pixel.
fn launch(function: &'static str, (h, w): (usize, usize), groups: usize) -> Launch {
    let mut launch = Launch::new("cudnn", function);
    let blocks = (h * w * groups).div_ceil(THREADS as usize);
    (launch.grid, launch.block) = ([blocks as u32, 1, 1], [THREADS, 1, 1]);
    launch
}

impl Filter {
    /// Bytes of the factors in front of the biases.
    fn factors_bytes(&self) -> usize {
        let channels = [self.inputs, self.outputs].map(|n| n.next_multiple_of(GROUP));
        channels[0] * channels[1] * self.kernel * self.kernel * size_of::<Half>()
    }

    /// What cuDNN reads, and what `finish` does, in words: the factors of 16 bits as `[outputs][ky][kx][inputs]`, padded with zeros to
    /// whole groups of both, then biases and slopes.
    fn for_cudnn(&self) -> Vec<u32> {
        let [inputs, outputs] = [self.inputs, self.outputs].map(|n| n.next_multiple_of(GROUP));
        let (taps, most) = (self.kernel * self.kernel, Half::MAX.to_f32());
        let mut halves = vec![0u16; taps * inputs * outputs];
        for (o, weight) in self.weight.chunks(self.inputs * taps).enumerate() {
            for (c, kernel) in weight.chunks(taps).enumerate() {
                for (tap, value) in kernel.iter().enumerate() {
                    let value = Half::from_f32(value.clamp(-most, most));
                    halves[(o * taps + tap) * inputs + c] = value.to_bits();
                }
            }
        }
        let pairs = halves.chunks_exact(2);
        let mut words: Vec<_> = pairs
            .map(|two| u32::from(two[0]) | u32::from(two[1]) << 16)
            .collect();
        for of in [&self.bias, &self.slopes] {
            words.extend(of.iter().map(|value| value.to_bits()));
            words.resize(words.len() + outputs - self.outputs, 0);
        }
        words
    }
}

#[cfg(test)]
mod tests;
