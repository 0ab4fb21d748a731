//! The launches of `narrow/cuda.cu`: convolutions of few channels, 1x1, and 3x3 by a stride of 1 or 2, which is all that the embedded
//! network has.

use candle_core::bail;

use super::{Activation, Filter, MAX_INPUTS, flop};
use crate::kernels::cuda::{Argument, Features, Launch};

/// [`Features`] as the kernel gets them.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct RawPart {
    data: u64,
    channels: i32,
    pixel: i32,
    row: i32,
    half: i32,
}

impl From<Features<'_>> for RawPart {
    fn from(features: Features) -> Self {
        let (data, half) = match features {
            Features::F32(raster) => (raster.address(), 0),
            Features::F16(raster) => (raster.address(), 1),
        };
        Self {
            data,
            channels: features.channels as i32,
            pixel: features.pixel as i32,
            row: features.row as i32,
            half,
        }
    }
}

/// The kernel's `Job`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct RawJob {
    parts: [RawPart; MAX_INPUTS],
    residual: RawPart,
    out: RawPart,
    weight: u64,
    count: i32,
    inputs: i32,
    outputs: i32,
    padded: i32,
    height: i32,
    width: i32,
    out_height: i32,
    out_width: i32,
    reading: i32,
    leaky: i32,
}

// SAFETY: plain numbers without bytes between them.
unsafe impl Argument for RawJob {}

/// Outputs that the weights are padded to a multiple of.
const PADDED: usize = 8;

/// A filter whose [`weights`] are on the device.
#[derive(Debug, Clone, Copy)]
pub struct DeviceFilter {
    weights: u64,
    kernel: usize,
    stride: usize,
    inputs: usize,
    outputs: usize,
    reading: Activation,
}

/// What the device needs of a filter, in one piece: weights by tap, input and output, bias, slopes; outputs are padded with zeros.
pub fn weights(filter: &Filter) -> Vec<f32> {
    let (taps, padded) = (
        filter.kernel * filter.kernel,
        filter.outputs.next_multiple_of(PADDED),
    );
    let row = |value: &dyn Fn(usize) -> f32| -> Vec<f32> {
        (0..padded)
            .map(|o| if o < filter.outputs { value(o) } else { 0.0 })
            .collect()
    };
    let mut all = Vec::new();
    for (tap, input) in (0..taps).flat_map(|t| (0..filter.inputs).map(move |i| (t, i))) {
        all.extend(row(&|o| {
            filter.weight[(o * filter.inputs + input) * taps + tap]
        }));
    }
    all.extend(row(&|o| filter.bias[o]));
    all.extend(row(&|o| filter.slopes[o]));
    all
}

impl DeviceFilter {
    /// A filter whose [`weights`] lie at an address of the device, a multiple of 16.
    ///
    /// # Errors
    /// There is no kernel for it.
    pub fn new(filter: &Filter, weights: u64) -> candle_core::Result<Self> {
        let (kernel, stride) = (filter.kernel, filter.stride);
        let centre = ((kernel - 1) / 2, (kernel - 1) / 2);
        if ![(1, 1), (3, 1), (3, 2)].contains(&(kernel, stride)) || filter.pad != centre {
            bail!("no kernel of the device for a convolution of {kernel}x{kernel} by {stride}");
        }
        Ok(Self {
            weights,
            kernel,
            stride,
            inputs: filter.inputs,
            outputs: filter.outputs,
            reading: filter.reading,
        })
    }

    /// As [`Filter::apply`].
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn apply(
        &self,
        inputs: &[Features],
        residual: Option<Features>,
        activation: Activation,
        out: Features,
    ) -> candle_core::Result<Launch> {
        let size = self.check(inputs, residual, out)?;
        let mut parts = [RawPart::default(); MAX_INPUTS];
        for (part, input) in parts.iter_mut().zip(inputs) {
            *part = RawPart::from(*input);
        }
        let job = RawJob {
            parts,
            residual: residual.map(RawPart::from).unwrap_or_default(),
            out: out.into(),
            weight: self.weights,
            count: inputs.len() as i32,
            inputs: self.inputs as i32,
            outputs: self.outputs as i32,
            padded: self.outputs.next_multiple_of(PADDED) as i32,
            height: inputs[0].height as i32,
            width: inputs[0].width as i32,
            out_height: size.0 as i32,
            out_width: size.1 as i32,
            reading: i32::from(self.reading == Activation::Leaky),
            leaky: i32::from(activation == Activation::Leaky),
        };
        let (tile, pixels) = self.tile();
        let mut launch = Launch::new("narrow", self.function(tile));
        launch = launch.tiles(size, [16, pixels / 16 * 4], [tile as u32 / 4 * pixels, 1]);
        launch.grid[2] = self.outputs.div_ceil(tile) as u32;
        launch.flop = flop([self.kernel, self.inputs, self.outputs], size);
        Ok(launch.with(job))
    }

    /// Outputs that a block makes, and its threads for each four of them.
    fn tile(&self) -> (usize, u32) {
        match self.outputs {
            0..=8 => (8, 64),
            9..=16 => (16, 32),
            17..=24 => (24, 16),
            _ => (32, 16),
        }
    }

    fn function(&self, tile: usize) -> &'static str {
        let names = match (self.kernel, self.stride) {
            (1, _) => [
                "narrow_1_1_8",
                "narrow_1_1_16",
                "narrow_1_1_24",
                "narrow_1_1_32",
            ],
            (_, 1) => [
                "narrow_3_1_8",
                "narrow_3_1_16",
                "narrow_3_1_24",
                "narrow_3_1_32",
            ],
            _ => [
                "narrow_3_2_8",
                "narrow_3_2_16",
                "narrow_3_2_24",
                "narrow_3_2_32",
            ],
        };
        names[tile / 8 - 1]
    }

    /// The size of the output.
    fn check(
        &self,
        inputs: &[Features],
        residual: Option<Features>,
        out: Features,
    ) -> candle_core::Result<(usize, usize)> {
        if inputs.is_empty() || inputs.len() > MAX_INPUTS {
            bail!("{} inputs, expected 1 to {MAX_INPUTS}", inputs.len());
        }
        let (h, w) = inputs[0].size();
        for input in inputs {
            input.expect("an input of a convolution", (h, w), input.channels)?;
        }
        let channels: usize = inputs.iter().map(|input| input.channels).sum();
        if channels != self.inputs {
            let wanted = self.inputs;
            bail!("a convolution of {wanted} channels was given {channels}");
        }
        let size = (h.div_ceil(self.stride), w.div_ceil(self.stride));
        out.expect("the output of a convolution", size, self.outputs)?;
        if let Some(residual) = residual {
            residual.expect("the residual of a convolution", size, self.outputs)?;
        }
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;

    use super::super::tests::{CHANNELS, KERNELS, filter};
    use super::*;
    use crate::kernels::cuda::DeviceRaster;
    use crate::kernels::cuda::emulation::{self, halves, input, output};
    use crate::kernels::testing::{Out, Random, SIZES, close, contexts, zeros};

    /// As in the tests of the CPU's: sums in another order, with fused rounding.
    const TOLERANCE: f32 = 2e-5;
    /// Half a unit in the last place of an output in f16, relative.
    const HALF: f32 = 5e-4;

    /// Runs a convolution on both and compares each value.
    fn check(
        name: &str,
        filter: &Filter,
        inputs: &[&Tensor],
        residual: Option<&Tensor>,
        activation: Activation,
    ) {
        let (h, w, _) = inputs[0].dims3().unwrap();
        let size = (h.div_ceil(filter.stride), w.div_ceil(filter.stride));
        let [want, got] = [0, 1].map(|_| Out::new(size, filter.outputs));
        let (plain, _) = contexts();
        filter
            .apply(&plain, inputs, residual, activation, &want.tensor())
            .unwrap();
        let weights = weights(filter);
        let device = DeviceFilter::new(filter, weights.as_ptr() as u64).unwrap();
        let rasters: Vec<DeviceRaster> = inputs.iter().map(|t| input(t)).collect();
        let parts: Vec<_> = rasters.iter().map(Features::F32).collect();
        let residual = residual.map(input);
        let residual = residual.as_ref().map(Features::F32);
        let out = output(&got.tensor());
        let launch = device.apply(&parts, residual, activation, Features::F32(&out));
        emulation::run([launch.unwrap()]);
        close(name, &got.values(), &want.values(), TOLERANCE);
    }

    #[test]
    fn every_shape_agrees() {
        let mut random = Random(1);
        for (k, stride) in KERNELS {
            for (inputs, outputs) in CHANNELS {
                let filter = filter(&mut random, outputs, inputs, k, stride);
                for size in SIZES {
                    let input = random.tensor(size, inputs, 1.0);
                    let name = format!("{k}x{k} by {stride}, {inputs} to {outputs}, {size:?}");
                    check(&name, &filter, &[&input], None, Activation::Linear);
                }
            }
        }
    }

    #[test]
    fn residual_and_activations_agree_over_several_inputs() {
        let mut random = Random(3);
        for k in [1, 3] {
            let slopes = (0..22).map(|i| i as f32 / 5.0 - 1.5).collect();
            let filter = filter(&mut random, 22, 24 + 16 + 7 + 5, k, 1);
            let filter = filter.with_slopes(slopes).unwrap();
            let filter = filter.reading(Activation::Leaky);
            for size in SIZES {
                let parts = [24, 16, 7, 5].map(|c| random.tensor(size, c, 1.0));
                let residual = random.tensor(size, 22, 5.0);
                let residual = Some(&residual);
                let parts: Vec<_> = parts.iter().collect();
                check(
                    "concatenation",
                    &filter,
                    &parts,
                    residual,
                    Activation::Leaky,
                );
            }
        }
    }

    #[test]
    fn features_of_sixteen_bits_are_rounded_once() {
        let mut random = Random(4);
        let size = (9, 24);
        let filter = filter(&mut random, 24, 16 + 8, 3, 1);
        let (plain, _) = contexts();
        let parts = [16, 8].map(|c| random.tensor(size, c, 1.0));
        let (half, rounded) = halves(&parts[0]);
        let want = zeros(&[size.0, size.1, 24]);
        let linear = Activation::Linear;
        filter
            .apply(&plain, &[&rounded, &parts[1]], None, linear, &want)
            .unwrap();
        let weights = weights(&filter);
        let device = DeviceFilter::new(&filter, weights.as_ptr() as u64).unwrap();
        let (mut out, _) = halves(&zeros(&[size.0, size.1, 24]));
        let inputs = [
            Features::F16(&half.raster()),
            Features::F32(&input(&parts[1])),
        ];
        let to = out.raster_mut();
        emulation::run([device
            .apply(&inputs, None, linear, Features::F16(&to))
            .unwrap()]);
        let want: Vec<f32> = want.flatten_all().unwrap().to_vec1().unwrap();
        close("f16", &out.values(), &want, HALF);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut random = Random(5);
        let strided = filter(&mut random, 8, 4, 3, 2);
        let device = DeviceFilter::new(&strided, 16).unwrap();
        let values = random.tensor((6, 6), 4, 1.0);
        let values = input(&values);
        let run = |inputs: &[Features], out: &Tensor| {
            device.apply(
                inputs,
                None,
                Activation::Linear,
                Features::F32(&output(out)),
            )
        };
        let one = Features::F32(&values);
        assert!(run(&[one], &zeros(&[3, 3, 8])).is_ok());
        assert!(run(&[one], &zeros(&[3, 4, 8])).is_err());
        assert!(run(&[one, one], &zeros(&[3, 3, 8])).is_err());
        assert!(run(&[], &zeros(&[3, 3, 8])).is_err());
        let large = filter(&mut random, 8, 4, 7, 2);
        assert!(DeviceFilter::new(&large, 16).is_err());
    }
}
