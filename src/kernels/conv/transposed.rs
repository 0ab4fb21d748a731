//! Convolutions whose output is larger than their input: the transposed one of 4x4 by 2 with a
//! padding of 1, alone or with the pixels of its output spread over twice the size ("pixel
//! shuffle"), and the one of 2x2 of an input enlarged to twice the size by repeating its pixels.
//!
//! An output reads 2x2 pixels of the input, through other taps for even and odd rows and columns:
//! one ordinary convolution of 2x2 for each place within a pixel of the input, which writes to
//! every second (with the spreading, fourth) row and column.

use candle_core::{DType, Device, Tensor, bail};

#[cfg(feature = "cuda")]
use super::OnCard;
#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
use super::dense::Dense;
use super::{Activation, Filter};
use crate::kernels::Context;
#[cfg(feature = "cuda")]
use crate::kernels::Precision;

/// Size of the kernel.
const KERNEL: usize = 4;

/// Where an output of an even or odd row (or column) reads: its two taps, the first one above (to
/// the left) or at the pixel of the input that it lies in, and whether it lies above.
const TAPS: [([usize; 2], usize); 2] = [([3, 1], 1), ([2, 0], 0)];

/// Which of the two rows (or columns) of taps of a 2x2 kernel read the first and the second of two
/// pixels, where the kernel lies on an even or odd row of the pixels repeated.
const REPEATED: [[&[usize]; 2]; 2] = [[&[0, 1], &[]], [&[0], &[1]]];

/// Weights of one such convolution.
#[derive(Debug)]
pub struct Transposed {
    /// Of each place within a pixel of the input, row by row.
    filters: Vec<Filter>,
    /// Outputs along a side of a pixel of the input: 2, or 4.
    factor: usize,
    outputs: usize,
    /// What follows.
    activation: Activation,
    #[cfg(feature = "cuda")]
    on_card: OnCard,
}

impl Transposed {
    /// From a weight of `[inputs, n, 4, 4]` and a bias of `[n]`. With `spread` 2, four channels of
    /// them are the 2x2 pixels (row by row) of one channel; with 1, each is its own. Output `i` is
    /// the channel `outputs[i]`, or 0.
    ///
    /// # Errors
    /// Other shapes, or a channel that there is not.
    pub fn new(
        weight: &Tensor,
        bias: &Tensor,
        spread: usize,
        outputs: &[Option<usize>],
    ) -> candle_core::Result<Self> {
        let (_, n, ky, kx) = weight.dims4()?;
        let most = outputs.iter().flatten().max().map_or(0, |c| c + 1);
        if [ky, kx] != [KERNEL; 2] || bias.dims1()? != n || most * spread * spread > n {
            bail!("no transposed convolution: {weight:?}, {bias:?}, {outputs:?}");
        }
        let factor = 2 * spread;
        let places = (0..factor * factor).map(|i| (i / factor, i % factor));
        let filter = |(y, x): (usize, usize)| {
            let within = y % spread * spread + x % spread;
            let channel = |o: &Option<usize>| o.map(|c| c * spread * spread + within);
            let channels: Vec<_> = outputs.iter().map(channel).collect();
            one(weight, bias, (y / spread, x / spread), &channels)
        };
        Ok(Self {
            filters: places.map(filter).collect::<candle_core::Result<_>>()?,
            factor,
            outputs: outputs.len(),
            activation: Activation::Linear,
            #[cfg(feature = "cuda")]
            on_card: OnCard::default(),
        })
    }

    /// The same, a leaky ReLU behind it, of another slope below zero for each output.
    ///
    /// # Errors
    /// More or fewer slopes than outputs.
    pub fn with_slopes(mut self, slopes: &[f32]) -> candle_core::Result<Self> {
        let filters = self.filters.into_iter();
        let filters = filters.map(|filter| filter.with_slopes(slopes.to_vec()));
        self.filters = filters.collect::<candle_core::Result<_>>()?;
        self.activation = Activation::Leaky;
        Ok(self)
    }

    /// From a weight of `[n, inputs, 2, 2]`, which covers a pixel and those to its right and below, and
    /// a bias of `[n]`: the convolution of an input enlarged to twice the size by repeating its
    /// pixels.
    ///
    /// # Errors
    /// Other shapes.
    pub fn repeating(weight: &Tensor, bias: &Tensor) -> candle_core::Result<Self> {
        let (outputs, inputs, ky, kx) = weight.dims4()?;
        if [ky, kx] != [2; 2] {
            bail!("no convolution of repeated pixels: {weight:?}");
        }
        let values: Vec<f32> = weight.flatten_all()?.to_vec1()?;
        let place = |(y, x): (usize, usize)| {
            let mut taps: Vec<f32> = Vec::with_capacity(values.len());
            for kernel in values.chunks_exact(4) {
                for (rows, columns) in REPEATED[y].iter().flat_map(|r| REPEATED[x].map(|c| (r, c)))
                {
                    let pairs = rows
                        .iter()
                        .flat_map(|ky| columns.iter().map(move |kx| (ky, kx)));
                    taps.push(pairs.map(|(ky, kx)| kernel[2 * ky + kx]).sum());
                }
            }
            let weight = Tensor::from_vec(taps, (outputs, inputs, 2, 2), &Device::Cpu)?;
            Filter::new(&weight, bias, 1)
        };
        let places = [(0, 0), (0, 1), (1, 0), (1, 1)].into_iter();
        Ok(Self {
            filters: places.map(place).collect::<candle_core::Result<_>>()?,
            factor: 2,
            outputs,
            activation: Activation::Linear,
            #[cfg(feature = "cuda")]
            on_card: OnCard::default(),
        })
    }

    /// How many times as high and wide as the input the output is.
    pub fn factor(&self) -> usize {
        self.factor
    }

    /// As cards with tensor cores make it: all places in one go.
    #[cfg(any(
        feature = "cuda",
        all(test, target_arch = "x86_64", target_os = "linux")
    ))]
    pub(super) fn dense(&self) -> Dense<'_> {
        Dense::places(&self.filters, self.factor)
    }

    /// Fills the channels from `first` on of `out`, `[factor h, factor w, first + outputs or more]`
    /// without gaps, from the concatenation of `inputs`, each `[h, w, c]`.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn apply(
        &self,
        context: &Context,
        inputs: &[&Tensor],
        first: usize,
        out: &Tensor,
    ) -> candle_core::Result<()> {
        let (height, width, channels) = out.dims3()?;
        let n = self.factor;
        let (h, w) = (height / n, width / n);
        if !out.is_contiguous() || channels < first + self.outputs {
            bail!("the output of a transposed convolution is {out:?}");
        }
        #[cfg(feature = "cuda")]
        if let (Some(gpu), Precision::Half) = (context.gpu(), context.precision()) {
            let (own, out) = (&self.on_card, out.narrow(2, first, self.outputs)?);
            let dense = self.dense();
            return dense.apply_on(gpu, own, inputs, None, self.activation, &out);
        }
        let places = out.reshape((h, n, w, n, channels))?;
        for (i, filter) in self.filters.iter().enumerate() {
            let place = places.narrow(1, i / n, 1)?.narrow(3, i % n, 1)?;
            let place = place
                .squeeze(3)?
                .squeeze(1)?
                .narrow(2, first, self.outputs)?;
            filter.apply(context, inputs, None, self.activation, &place)?;
        }
        Ok(())
    }
}

/// The convolution that makes the outputs of even or odd rows and columns.
fn one(
    weight: &Tensor,
    bias: &Tensor,
    parity: (usize, usize),
    channels: &[Option<usize>],
) -> candle_core::Result<Filter> {
    let (inputs, n, ..) = weight.dims4()?;
    let weight: Vec<f32> = weight.flatten_all()?.to_vec1()?;
    let bias: Vec<f32> = bias.to_vec1()?;
    let ((rows, top), (columns, left)) = (TAPS[parity.0], TAPS[parity.1]);
    let mut taps = Vec::with_capacity(channels.len() * inputs * 4);
    for channel in channels {
        for input in 0..inputs {
            for (ky, kx) in rows.iter().flat_map(|ky| columns.map(|kx| (ky, kx))) {
                taps.push(channel.map_or(0.0, |c| {
                    weight[((input * n + c) * KERNEL + ky) * KERNEL + kx]
                }));
            }
        }
    }
    let biases: Vec<f32> = channels
        .iter()
        .map(|c| c.map_or(0.0, |c| bias[c]))
        .collect();
    let shape = (channels.len(), inputs, 2, 2);
    let weight = Tensor::from_vec(taps, shape, &Device::Cpu)?.to_dtype(DType::F32)?;
    let bias = Tensor::from_vec(biases, channels.len(), &Device::Cpu)?;
    Ok(Filter::new(&weight, &bias, 1)?.with_pad((top, left)))
}
