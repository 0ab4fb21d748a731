//! The launches of `cuda.cu`.

#[cfg(feature = "cuda")]
use std::sync::{Mutex, PoisonError, Weak};

#[cfg(feature = "cuda")]
use candle_core::{Device, Tensor, WithDType};

#[cfg(feature = "cuda")]
use super::dense::Dense;
use super::{Activation, Filter, MAX_INPUTS, check, flop};
use crate::kernels::Precision;
use crate::kernels::cuda::{Argument, DeviceRaster, Features, Launch, RawRaster};
#[cfg(feature = "cuda")]
use crate::kernels::device::Gpu;
use crate::kernels::raster::Geometry;
#[cfg(feature = "cuda")]
use crate::kernels::{Context, Way};

/// Threads of a block.
const THREADS: u32 = 256;

/// How a filter's work is cut into blocks.
struct Tiles {
    function: &'static str,
    pixels: usize,
    outputs: usize,
}

/// For many outputs, and for few.
const WIDE: Tiles = Tiles {
    function: "convolve_wide",
    pixels: 64,
    outputs: 64,
};
const NARROW: Tiles = Tiles {
    function: "convolve_narrow",
    pixels: 256,
    outputs: 16,
};

/// As [`super::add`].
///
/// # Errors
/// Sizes that do not fit.
pub(super) fn add(a: Features, b: Features, out: Features) -> candle_core::Result<Launch> {
    out.expect("a sum", a.size(), a.channels)?;
    b.expect("a summand", a.size(), a.channels)?;
    let function = out.function(&[a, b], ["add", "add_half"])?;
    Ok(Launch::new("conv", function)
        .pixels((out.height, out.width * out.channels))
        .with(a.raw())
        .with(b.raw())
        .with(out.raw()))
}

/// A convolution as a kernel gets it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct RawConvolution {
    inputs: [RawRaster; MAX_INPUTS],
    residual: RawRaster,
    weights: u64,
    count: i32,
    channels: i32,
    kernel: i32,
    stride: i32,
    top: i32,
    left: i32,
    outputs: i32,
    padded: i32,
    leaky: i32,
    reading: i32,
}

// SAFETY: plain numbers without bytes between them.
unsafe impl Argument for RawConvolution {
    fn bytes(&self) -> u64 {
        let read = self.inputs.iter().chain([&self.residual]);
        read.map(RawRaster::bytes).sum()
    }
}

impl Filter {
    fn tiles(&self) -> &'static Tiles {
        match self.outputs {
            0..=32 => &NARROW,
            _ => &WIDE,
        }
    }

    fn padded(&self) -> usize {
        self.outputs.next_multiple_of(self.tiles().outputs)
    }

    /// What the kernel reads: weights as `[ky][kx][inputs][padded outputs]`, biases and slopes.
    pub(super) fn for_cards(&self) -> Vec<f32> {
        let (padded, taps) = (self.padded(), self.kernel * self.kernel);
        let mut values = vec![0.0; (taps * self.inputs + 2) * padded];
        for (o, weight) in self.weight.chunks(self.inputs * taps).enumerate() {
            for (c, kernel) in weight.chunks(taps).enumerate() {
                for (tap, value) in kernel.iter().enumerate() {
                    values[(tap * self.inputs + c) * padded + o] = *value;
                }
            }
        }
        let (bias, slopes) = values[taps * self.inputs * padded..].split_at_mut(padded);
        bias[..self.outputs].copy_from_slice(&self.bias);
        slopes[..self.outputs].copy_from_slice(&self.slopes);
        values
    }

    /// As [`Filter::apply`]; what [`Filter::for_cards`] has made lies at the address `weights`.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub(super) fn launch(
        &self,
        weights: u64,
        inputs: &[DeviceRaster],
        residual: Option<&DeviceRaster>,
        activation: Activation,
        out: &DeviceRaster,
    ) -> candle_core::Result<Launch> {
        let geometry = |raster: &DeviceRaster| -> Geometry { **raster };
        check(
            self,
            inputs.iter().map(geometry),
            residual.map(geometry),
            out,
        )?;
        let mut raw = RawConvolution {
            inputs: Default::default(),
            residual: residual.into(),
            weights,
            count: inputs.len() as i32,
            channels: self.inputs as i32,
            kernel: self.kernel as i32,
            stride: self.stride as i32,
            top: self.pad.0 as i32,
            left: self.pad.1 as i32,
            outputs: self.outputs as i32,
            padded: self.padded() as i32,
            leaky: i32::from(activation == Activation::Leaky),
            reading: i32::from(self.reading == Activation::Leaky),
        };
        for (raw, input) in raw.inputs.iter_mut().zip(inputs) {
            *raw = input.into();
        }
        let tiles = self.tiles();
        let mut launch = Launch::new("conv", tiles.function);
        let pixels = (out.height * out.width).div_ceil(tiles.pixels);
        let outputs = self.padded() / tiles.outputs;
        (launch.grid, launch.block) = ([pixels as u32, outputs as u32, 1], [THREADS, 1, 1]);
        launch.flop = flop([self.kernel, self.inputs, self.outputs], out.size());
        launch.bytes = self.weight_bytes(Precision::Single);
        Ok(launch.with(raw).raster(out))
    }

    /// [`Filter::apply`] of tensors on a card.
    #[cfg(feature = "cuda")]
    pub(super) fn apply_on(
        &self,
        (context, gpu): (&Context, &Gpu),
        inputs: &[&Tensor],
        residual: Option<&Tensor>,
        activation: Activation,
        out: &Tensor,
    ) -> candle_core::Result<()> {
        match context.way() {
            Way::Single => (),
            Way::Half => {
                let (dense, weights) = (Dense::one(self), &self.dense_on_card);
                return dense.apply_on(gpu, weights, inputs, residual, activation, out);
            }
            Way::Cudnn | Way::CudnnAll => {
                return self.apply_by_cudnn((context, gpu), inputs, residual, activation, out);
            }
        }
        let weights = self.weights_on(gpu)?;
        let inputs = inputs.iter().map(|input| gpu.raster(input));
        let inputs = inputs.collect::<candle_core::Result<Vec<_>>>()?;
        let residual = residual.map(|r| gpu.raster(r)).transpose()?;
        let (weights, out) = (gpu.raster::<f32>(&weights)?.address(), gpu.raster(out)?);
        let launch = self.launch(weights, &inputs, residual.as_ref(), activation, &out)?;
        // SAFETY: these are the arguments of the kernel, made of tensors on this card.
        unsafe { gpu.run(launch) }
    }

    #[cfg(feature = "cuda")]
    fn weights_on(&self, gpu: &Gpu) -> candle_core::Result<Tensor> {
        self.on_card.keep(gpu, || self.for_cards())
    }

    /// What [`super::narrow::weights`] makes, on the card: words, `[1, n, 1]`.
    ///
    /// # Errors
    /// The card has no memory for it, or fails.
    #[cfg(feature = "cuda")]
    pub(crate) fn narrow_on(&self, gpu: &Gpu, products: Precision) -> candle_core::Result<Tensor> {
        let make = || super::narrow::weights(self, products);
        self.narrow_on_card[products as usize].keep(gpu, make)
    }
}

/// Weights on cards: one copy for each stream that has asked for them, and is still there.
#[cfg(feature = "cuda")]
#[derive(Debug, Default)]
pub(crate) struct OnCard(Mutex<Vec<(Weak<()>, Tensor)>>);

#[cfg(feature = "cuda")]
impl OnCard {
    /// The weights on this card, `[1, n, 1]`; `make` makes what is sent there unless it is there already.
    ///
    /// # Errors
    /// The card has no memory for them, or fails.
    pub(crate) fn keep<T: WithDType>(
        &self,
        gpu: &Gpu,
        make: impl FnOnce() -> Vec<T>,
    ) -> candle_core::Result<Tensor> {
        let on_cards = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let here = gpu.presence();
        let of = |(of, _): &&(Weak<()>, Tensor)| of.ptr_eq(&here);
        let known = on_cards().iter().find(of).map(|(_, known)| known.clone());
        if let Some(known) = known {
            return Ok(known);
        }
        let values = make();
        let shape = (1, values.len(), 1);
        let made = Tensor::from_vec(values, shape, &Device::Cpu)?.to_device(&gpu.device())?;
        let is_gone = |(of, _): &mut (Weak<()>, Tensor)| of.strong_count() == 0;
        let mut all = on_cards();
        let gone: Vec<_> = all.extract_if(.., is_gone).collect();
        all.push((here, made.clone()));
        // the lock is not held while the card is told
        drop(all);
        drop(gone);
        Ok(made)
    }
}
