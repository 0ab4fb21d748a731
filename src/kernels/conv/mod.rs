//! Convolution with bias, residual and activation in one pass. Beyond the picture lie zeros.
//!
//! The input may be several tensors that are read as one concatenation, so that none is made.

use candle_core::{Tensor, bail};

use super::Context;
#[cfg(feature = "cuda")]
use super::cuda::Card;
#[cfg(feature = "cuda")]
use super::device::Queue;
use super::raster::{Geometry, Raster, RasterMut, Source, write};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod cpu;
#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
mod cuda;
#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
#[cfg_attr(not(test), allow(dead_code))]
mod cudnn;
#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
mod dense;
#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) mod narrow;
mod reference;
#[cfg(test)]
mod tests;
mod transposed;

#[cfg(feature = "cuda")]
pub(crate) use cuda::OnCard;
#[cfg(feature = "cuda")]
pub(crate) use cudnn::Layers;
pub use transposed::Transposed;

/// Slope of the embedded network's activations below zero.
pub const SLOPE: f32 = 0.1;
/// Sizes of the kernels that there are.
const KERNELS: [usize; 4] = [1, 2, 3, 7];
/// Most tensors that one convolution reads as a concatenation.
pub const MAX_INPUTS: usize = 6;

/// What follows the sum of products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// The sum itself.
    Linear,
    /// Leaky ReLU, of slope [`SLOPE`] or those of [`Filter::with_slopes`].
    Leaky,
}

/// Weights of one convolution, also in the order in which the fast kernels read them.
#[derive(Debug)]
pub struct Filter {
    /// One of [`KERNELS`].
    kernel: usize,
    stride: usize,
    /// Rows and columns of taps above and to the left of a pixel.
    pad: (usize, usize),
    inputs: usize,
    outputs: usize,
    /// `[outputs][inputs][ky][kx]`.
    weight: Vec<f32>,
    bias: Vec<f32>,
    /// Of the activation below zero, one an output.
    slopes: Vec<f32>,
    /// What is done to each value of the input before all else.
    reading: Activation,
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    packed: cpu::Packed,
    #[cfg(feature = "cuda")]
    on_card: cuda::OnCard,
    #[cfg(feature = "cuda")]
    narrow_on_card: [cuda::OnCard; 2],
    #[cfg(feature = "cuda")]
    dense_on_card: cuda::OnCard,
    #[cfg(feature = "cuda")]
    cudnn_on_card: cuda::OnCard,
}

impl Filter {
    /// From a weight of `[outputs, inputs, k, k]` (k is 1, 2, 3 or 7) and a bias of `[outputs]`. An
    /// odd kernel is centred; one of 2 covers a pixel and those to its right and below.
    ///
    /// # Errors
    /// Other shapes.
    pub fn new(weight: &Tensor, bias: &Tensor, stride: usize) -> candle_core::Result<Self> {
        let (outputs, inputs, kernel, kx) = weight.dims4()?;
        if kernel != kx || !KERNELS.contains(&kernel) || ![1, 2].contains(&stride) {
            bail!("no kernel for a convolution of {kernel}x{kx} by {stride}");
        }
        if bias.dims1()? != outputs || outputs * inputs == 0 {
            bail!("a bias {bias:?} does not fit a weight {weight:?}");
        }
        let weight: Vec<f32> = weight.flatten_all()?.to_vec1()?;
        let bias: Vec<f32> = bias.to_vec1()?;
        let filter = Self {
            kernel,
            stride,
            pad: ((kernel - 1) / 2, (kernel - 1) / 2),
            inputs,
            outputs,
            weight,
            bias,
            slopes: vec![SLOPE; outputs],
            reading: Activation::Linear,
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            packed: cpu::Packed::default(),
            #[cfg(feature = "cuda")]
            on_card: cuda::OnCard::default(),
            #[cfg(feature = "cuda")]
            narrow_on_card: Default::default(),
            #[cfg(feature = "cuda")]
            dense_on_card: cuda::OnCard::default(),
            #[cfg(feature = "cuda")]
            cudnn_on_card: cuda::OnCard::default(),
        };
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        let filter = Self {
            packed: cpu::pack(&filter),
            ..filter
        };
        Ok(filter)
    }

    /// The same that activates its input, with [`SLOPE`], as it reads it.
    pub fn reading(mut self, activation: Activation) -> Self {
        self.reading = activation;
        self
    }

    /// The same with another slope below zero for each output.
    ///
    /// # Errors
    /// More or fewer slopes than outputs.
    pub fn with_slopes(mut self, slopes: Vec<f32>) -> candle_core::Result<Self> {
        if slopes.len() != self.outputs {
            bail!("{} slopes for {} outputs", slopes.len(), self.outputs);
        }
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        self.packed.set_slopes(&slopes);
        self.slopes = slopes;
        Ok(self)
    }

    /// The same with its taps moved: `pad` rows of them lie above, and columns to the left of, a
    /// pixel; each less than the kernel.
    pub(crate) fn with_pad(mut self, pad: (usize, usize)) -> Self {
        debug_assert!(pad.0.max(pad.1) < self.kernel);
        self.pad = pad;
        self
    }

    /// Channels of the output.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Bytes of the factors as a card multiplies them, without padding.
    #[cfg(any(
        feature = "cuda",
        all(test, target_arch = "x86_64", target_os = "linux")
    ))]
    fn weight_bytes(&self, products: super::Precision) -> u64 {
        (self.products() * products.dtype().size_in_bytes()) as u64
    }

    /// Multiplications that a pixel of the output costs.
    pub fn products(&self) -> usize {
        self.kernel * self.kernel * self.inputs * self.outputs
    }

    /// Fills `out`, `[ceil(h / stride), ceil(w / stride), outputs]`, from the concatenation of
    /// `inputs`, each `[h, w, c]`: `activation(conv(reading(inputs)) + bias + residual)`.
    ///
    /// On a card with [`super::Precision::Half`] the factors are rounded to 16 bits, and each tensor may be of `f32` or `f16`.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn apply(
        &self,
        context: &Context,
        inputs: &[&Tensor],
        residual: Option<&Tensor>,
        activation: Activation,
        out: &Tensor,
    ) -> candle_core::Result<()> {
        if inputs.is_empty() || inputs.len() > MAX_INPUTS {
            bail!("{} inputs, expected 1 to {MAX_INPUTS}", inputs.len());
        }
        #[cfg(feature = "cuda")]
        if let Some(gpu) = context.gpu() {
            let place = (context, &**gpu);
            return self.apply_on(place, inputs, residual, activation, out);
        }
        let sources: [_; MAX_INPUTS] =
            std::array::from_fn(|i| inputs.get(i).map(|t| Source::lock(t)));
        let mut parts = [None; MAX_INPUTS];
        for (part, source) in parts.iter_mut().zip(&sources) {
            *part = source.as_ref().map(Source::raster).transpose()?;
        }
        let residual = residual.map(Source::lock);
        let residual = residual.as_ref().map(Source::raster).transpose()?;
        let input = Concatenation { parts };
        let job = Job {
            filter: self,
            input,
            residual,
            activation,
        };
        write("conv", out, |out| job.run(context, out))
    }
}

/// Multiplications and additions of a convolution (kernel, inputs, outputs) that makes so many pixels.
#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
fn flop([kernel, inputs, outputs]: [usize; 3], (height, width): (usize, usize)) -> u64 {
    2 * (kernel * kernel * inputs * outputs * height * width) as u64
}

/// Fills `out` with the sum of `a` and `b`; all have the same shape.
///
/// # Errors
/// Sizes that do not fit.
pub fn add(context: &Context, a: &Tensor, b: &Tensor, out: &Tensor) -> candle_core::Result<()> {
    #[cfg(feature = "cuda")]
    if let Some(gpu) = context.gpu() {
        let card = Queue::new(gpu);
        let launch = cuda::add(card.features(a)?, card.features(b)?, card.features(out)?)?;
        // SAFETY: these are the arguments of the kernel, made of tensors on this card.
        return unsafe { gpu.run(launch) };
    }
    let (a, b) = (Source::lock(a), Source::lock(b));
    let (a, b) = (a.raster()?, b.raster()?);
    write("add", out, |mut out| {
        out.expect("a sum", a.size(), a.channels)?;
        b.expect("a summand", a.size(), a.channels)?;
        let (pixel, channels) = (out.pixel, out.channels);
        out.for_each_row(context, |y, row| {
            for (x, values) in row.chunks_mut(pixel).enumerate() {
                let sums = a.at(y, x).iter().zip(b.at(y, x)).map(|(a, b)| a + b);
                for (value, sum) in values[..channels].iter_mut().zip(sums) {
                    *value = sum;
                }
            }
        });
        Ok(())
    })
}

/// Gives this thread the memory that convolutions need of it, which it gets with the first one otherwise.
pub(super) fn make_room() {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    cpu::make_room();
}

/// Tensors of one size, read as one with all their channels.
#[derive(Clone, Copy)]
struct Concatenation<'a> {
    parts: [Option<Raster<'a>>; MAX_INPUTS],
}

impl<'a> Concatenation<'a> {
    fn parts(&self) -> impl Iterator<Item = Raster<'a>> + Clone {
        self.parts.into_iter().flatten()
    }
}

/// A convolution about to run.
struct Job<'a> {
    filter: &'a Filter,
    input: Concatenation<'a>,
    residual: Option<Raster<'a>>,
    activation: Activation,
}

impl Job<'_> {
    fn run(&self, context: &Context, mut out: RasterMut) -> candle_core::Result<()> {
        let inputs = self.input.parts().map(|part| *part);
        check(self.filter, inputs, self.residual.map(|r| *r), &out)?;
        match context.widest() {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            level if level.has_vectors() => {
                cpu::run(self, context, &mut out);
            }
            _ => reference::run(self, context, &mut out),
        }
        Ok(())
    }
}

/// Fails unless the filter makes `out` of these inputs.
fn check(
    filter: &Filter,
    inputs: impl Iterator<Item = Geometry> + Clone,
    residual: Option<Geometry>,
    out: &Geometry,
) -> candle_core::Result<()> {
    let Some(first) = inputs.clone().next() else {
        bail!("a convolution without input");
    };
    for input in inputs.clone() {
        input.expect("an input of a convolution", first.size(), input.channels)?;
    }
    let channels: usize = inputs.map(|i| i.channels).sum();
    if channels != filter.inputs {
        bail!(
            "a convolution of {} channels was given {channels}",
            filter.inputs
        );
    }
    let size = (
        first.height.div_ceil(filter.stride),
        first.width.div_ceil(filter.stride),
    );
    out.expect("the output of a convolution", size, filter.outputs)?;
    match residual {
        Some(r) => r.expect("the residual of a convolution", size, filter.outputs),
        None => Ok(()),
    }
}
