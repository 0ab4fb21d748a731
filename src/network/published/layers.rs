//! What the families' layers have in common: reading them, and room for what they make.

use candle_core::{DType, Device, Tensor};

use crate::error::Result;
use crate::kernels::Context;
use crate::kernels::conv::{Filter, Transposed};
use crate::network::checkpoint::Checkpoint;

/// Most channels of any layer.
pub const WIDEST: usize = 4096;

/// Slope of the published networks' leaky activations below zero.
pub const SLOPE: f32 = 0.2;

/// What follows a convolution.
#[derive(Debug, Clone)]
pub enum Slopes {
    /// Slope [`SLOPE`] everywhere.
    Leaky,
    /// Those that the checkpoint has under this name without `.weight`.
    Named(String),
}

/// The convolution `name` of `[outputs, inputs, kernel]`.
///
/// # Errors
/// As [`Checkpoint::tensor`].
pub fn convolution(
    checkpoint: &Checkpoint,
    name: &str,
    shape: [usize; 3],
    stride: usize,
    slopes: &Slopes,
) -> Result<Filter> {
    let filter = checkpoint.filter(name, shape, stride)?;
    Ok(filter.with_slopes(read_slopes(checkpoint, slopes, shape[0])?)?)
}

/// The convolution `name` of 3x3 whose input `i` reads what its authors number `from[i]`, or nothing.
///
/// # Errors
/// As [`Checkpoint::tensor`].
pub fn convolution_from(
    checkpoint: &Checkpoint,
    name: &str,
    outputs: usize,
    from: &[Option<usize>],
    stride: usize,
    slopes: &Slopes,
) -> Result<Filter> {
    let inputs = from.iter().flatten().count();
    let (weight, bias) = checkpoint.weight_and_bias(name, [outputs, inputs, 3])?;
    let filter = Filter::new(&rearranged(&weight, from)?, &bias, stride)?;
    Ok(filter.with_slopes(read_slopes(checkpoint, slopes, outputs)?)?)
}

/// The linear layer `name` of `[outputs, inputs]`, as a convolution of 1x1.
///
/// # Errors
/// As [`Checkpoint::tensor`].
pub fn linear(
    checkpoint: &Checkpoint,
    name: &str,
    [outputs, inputs]: [usize; 2],
) -> Result<Filter> {
    let weight = checkpoint.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
    let bias = checkpoint.tensor(&format!("{name}.bias"), &[outputs])?;
    Ok(Filter::new(
        &weight.reshape((outputs, inputs, 1, 1))?,
        &bias,
        1,
    )?)
}

/// As many slopes as there are outputs.
///
/// # Errors
/// As [`Checkpoint::tensor`].
pub fn read_slopes(checkpoint: &Checkpoint, slopes: &Slopes, outputs: usize) -> Result<Vec<f32>> {
    match slopes {
        Slopes::Leaky => Ok(vec![SLOPE; outputs]),
        Slopes::Named(name) => {
            let slopes = checkpoint.tensor(&format!("{name}.weight"), &[outputs])?;
            Ok(slopes.to_vec1()?)
        }
    }
}

/// The transposed convolution `name` of `[inputs, channels]`, see [`Transposed::new`].
///
/// # Errors
/// As [`Checkpoint::tensor`].
pub fn transposed(
    checkpoint: &Checkpoint,
    name: &str,
    [inputs, channels]: [usize; 2],
    spread: usize,
    outputs: &[Option<usize>],
) -> Result<Transposed> {
    let weight = checkpoint.tensor(&format!("{name}.weight"), &[inputs, channels, 4, 4])?;
    let bias = checkpoint.tensor(&format!("{name}.bias"), &[channels])?;
    Ok(Transposed::new(&weight, &bias, spread, outputs)?)
}

/// A convolution's weight with its inputs elsewhere: input `i` reads what was input `from[i]`, or
/// nothing.
///
/// # Errors
/// An input that there is not.
pub fn rearranged(weight: &Tensor, from: &[Option<usize>]) -> Result<Tensor> {
    let (outputs, _, ky, kx) = weight.dims4()?;
    let nothing = Tensor::zeros((outputs, 1, ky, kx), DType::F32, &Device::Cpu)?;
    let input = |i: &Option<usize>| match i {
        Some(i) => weight.narrow(1, *i, 1),
        None => Ok(nothing.clone()),
    };
    let inputs: Vec<_> = from.iter().map(input).collect::<candle_core::Result<_>>()?;
    Ok(Tensor::cat(&inputs, 1)?)
}

/// Sides of what is answered for pictures that are padded otherwise are multiples of this, as those of
/// the interpolator's maps are.
const ANSWERED: usize = 8;

/// The size of what is answered for a picture that is padded otherwise.
pub fn answered((height, width): (usize, usize)) -> (usize, usize) {
    (
        height.next_multiple_of(ANSWERED),
        width.next_multiple_of(ANSWERED),
    )
}

/// A tensor of zeros.
///
/// # Errors
/// A card has too little memory, or fails.
pub fn zeros(device: &Device, shape: [usize; 3]) -> Result<Tensor> {
    Ok(Tensor::zeros(&shape, DType::F32, device)?)
}

/// The same for features that nothing but convolutions and warps reads: of the context's precision.
///
/// # Errors
/// As [`zeros`].
pub fn features(context: &Context, shape: [usize; 3]) -> Result<Tensor> {
    let dtype = context.precision().dtype();
    Ok(Tensor::zeros(&shape, dtype, &context.device())?)
}

/// Memory that tensors of several sizes are made in, one at a time.
#[derive(Debug)]
pub struct Buffer(Tensor);

impl Buffer {
    /// Room for the largest of `shapes`.
    ///
    /// # Errors
    /// As [`zeros`].
    pub fn new(device: &Device, shapes: impl IntoIterator<Item = [usize; 3]>) -> Result<Self> {
        Self::of(device, DType::F32, shapes)
    }

    /// The same for features that nothing but convolutions reads: of the context's precision.
    ///
    /// # Errors
    /// As [`zeros`].
    pub fn features(
        context: &Context,
        shapes: impl IntoIterator<Item = [usize; 3]>,
    ) -> Result<Self> {
        Self::of(&context.device(), context.precision().dtype(), shapes)
    }

    fn of(
        device: &Device,
        dtype: DType,
        shapes: impl IntoIterator<Item = [usize; 3]>,
    ) -> Result<Self> {
        let sizes = shapes.into_iter().map(|[h, w, c]| h * w * c);
        let most = sizes.max().unwrap_or(0).max(1);
        Ok(Self(Tensor::zeros(most, dtype, device)?))
    }

    /// A tensor that lies at its beginning; what was there shows through.
    ///
    /// # Errors
    /// It is larger than the buffer.
    pub fn tensor(&self, shape: [usize; 3]) -> Result<Tensor> {
        let count = shape.iter().product();
        Ok(self.0.narrow(0, 0, count)?.reshape(&shape)?)
    }
}
