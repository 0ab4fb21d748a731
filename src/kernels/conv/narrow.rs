//! The launches of `narrow/cuda.cu`, and of `tensor/cuda.cu`, which multiplies on tensor cores: convolutions of few channels, 1x1, and 3x3 by
//! a stride of 1 or 2, which is all that the embedded network has.

use candle_core::bail;

use super::{Activation, Filter, MAX_INPUTS, flop};
use crate::kernels::Precision;
use crate::kernels::cuda::{Argument, Features, Half, Launch, Span};

/// [`Features`] as the kernel gets them.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct RawPart {
    data: u64,
    channels: i32,
    pixel: i32,
    row: i32,
    half: i32,
}

impl From<Features> for RawPart {
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

impl RawPart {
    /// Bytes of its channels in a tensor of this height and width.
    pub(super) fn bytes(&self, [height, width]: [i32; 2]) -> u64 {
        let value = if self.half == 0 { 4 } else { 2 };
        let counts = [height, width, self.channels, value];
        counts.iter().map(|n| u64::from(n.unsigned_abs())).product()
    }

    /// From its first value to its last in such a tensor, gaps and all; none of a part that is not there.
    fn span(&self, [height, width]: [i32; 2]) -> Option<Span> {
        let value = if self.half == 0 { 4 } else { 2 };
        let counts = [height, width, self.channels];
        Span::of(self.data, counts, [self.row, self.pixel], value)
    }

    /// Every n-th pixel of every n-th row.
    pub(super) fn every(self, n: usize) -> Self {
        Self {
            pixel: self.pixel * n as i32,
            row: self.row * n as i32,
            ..self
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
    pieces: i32,
    pixels: [u32; MAX_INPUTS],
    unused: i32,
}

// SAFETY: plain numbers without bytes between them.
unsafe impl Argument for RawJob {
    fn bytes(&self) -> u64 {
        let (size, out) = ([self.height, self.width], [self.out_height, self.out_width]);
        let read: u64 = self.parts.iter().map(|part| part.bytes(size)).sum();
        read + self.residual.bytes(out) + self.out.bytes(out)
    }
    fn reach(&self, to: &mut Vec<Span>) {
        let (size, out) = ([self.height, self.width], [self.out_height, self.out_width]);
        let parts = self.parts.iter().filter_map(|part| part.span(size));
        to.extend(parts.chain(self.residual.span(out)).map(Span::read));
        to.extend(self.out.span(out));
    }
}

/// Outputs that a block makes at most, and that those of the plain kernel are padded to a multiple of.
const MOST_OUTPUTS: usize = 32;
const PADDED: usize = 8;
/// Channels of a product on tensor cores, and its outputs; threads that hold its matrices.
const STEP: usize = 16;
const TILE: usize = 8;
const WARP: usize = 32;

/// Bits of a share that tells which pixel of a tile's row a value belongs to.
const PIXEL_BITS: u32 = 20;

/// Whether rows can be read by 16 bytes: they begin at multiples of these, and pixels lie side by side, or each begins such a piece and no piece
/// reaches beyond what lies between two pixels.
fn has_pieces(features: &Features) -> bool {
    let (address, values) = match features {
        Features::F32(raster) => (raster.address(), 4),
        Features::F16(raster) => (raster.address(), 8),
    };
    let (pixel, channels) = (features.pixel, features.channels);
    let whole = |n: usize| n.is_multiple_of(values);
    let apart = whole(pixel) && (whole(channels) || channels + values > pixel);
    address.is_multiple_of(16)
        && whole(features.row)
        && whole(features.width * pixel)
        && (pixel == channels || apart)
}

/// A bit for each of these that has them, from the lowest on.
fn pieces(inputs: &[Features]) -> i32 {
    let bits = inputs.iter().enumerate();
    bits.map(|(i, input)| i32::from(has_pieces(input)) << i)
        .sum()
}

/// A filter whose [`weights`] are on the device.
#[derive(Debug, Clone, Copy)]
pub struct DeviceFilter {
    weights: u64,
    weight_bytes: u64,
    products: Precision,
    kernel: usize,
    stride: usize,
    inputs: usize,
    outputs: usize,
    reading: Activation,
}

/// Outputs that a block makes.
fn tile(outputs: usize) -> usize {
    outputs.next_multiple_of(PADDED).min(MOST_OUTPUTS)
}

/// As many outputs as the weights are of.
fn padded(outputs: usize, products: Precision) -> usize {
    match products {
        Precision::Single => outputs.next_multiple_of(PADDED),
        Precision::Half => outputs.next_multiple_of(tile(outputs)),
    }
}

/// What the device needs of a filter for products of this precision, in one piece: weights, then biases and slopes as floats; outputs are
/// padded with zeros.
pub fn weights(filter: &Filter, products: Precision) -> Vec<u32> {
    let mut all = match products {
        Precision::Single => singles(filter),
        Precision::Half => fragments(filter),
    };
    let padded = padded(filter.outputs, products);
    for values in [&filter.bias, &filter.slopes] {
        all.extend(values.iter().map(|value| value.to_bits()));
        all.resize(all.len() + padded - values.len(), 0);
    }
    all
}

/// A weight; 0 beyond the inputs and outputs.
fn weight(filter: &Filter, tap: usize, input: usize, output: usize) -> f32 {
    let taps = filter.kernel * filter.kernel;
    match input < filter.inputs && output < filter.outputs {
        true => filter.weight[(output * filter.inputs + input) * taps + tap],
        false => 0.0,
    }
}

/// Weights as floats, by tap, input and output.
fn singles(filter: &Filter) -> Vec<u32> {
    let (taps, outputs) = (filter.kernel * filter.kernel, filter.outputs);
    let inputs = (0..taps).flat_map(|tap| (0..filter.inputs).map(move |input| (tap, input)));
    let row = |(tap, input)| {
        let outputs = 0..padded(outputs, Precision::Single);
        outputs.map(move |output| weight(filter, tap, input, output).to_bits())
    };
    inputs.flat_map(row).collect()
}

/// Weights of 16 bits, by [`STEP`] inputs, tap and [`TILE`] outputs, each as the threads of a warp hold the second factor: see
/// `cuda/mma.cuh`.
fn fragments(filter: &Filter) -> Vec<u32> {
    let tiles = padded(filter.outputs, Precision::Half) / TILE;
    let mut words = Vec::new();
    for first in (0..filter.inputs).step_by(STEP) {
        for tap in 0..filter.kernel * filter.kernel {
            for (tile, lane) in (0..tiles).flat_map(|t| (0..WARP).map(move |lane| (t, lane))) {
                let (row, column) = (lane % 4 * 2, lane / 4);
                let half = |k| {
                    let value = weight(filter, tap, first + k, tile * TILE + column);
                    let most = Half::MAX.to_f32();
                    u32::from(Half::from_f32(value.clamp(-most, most)).to_bits())
                };
                words.extend([row, row + 8].map(|k| half(k) | half(k + 1) << 16));
            }
        }
    }
    words
}

impl DeviceFilter {
    /// A filter whose [`weights`] for these products lie at an address of the device, a multiple of 16.
    ///
    /// # Errors
    /// There is no kernel for it.
    pub fn new(filter: &Filter, products: Precision, weights: u64) -> candle_core::Result<Self> {
        let (kernel, stride) = (filter.kernel, filter.stride);
        let centre = ((kernel - 1) / 2, (kernel - 1) / 2);
        if ![(1, 1), (3, 1), (3, 2)].contains(&(kernel, stride)) || filter.pad != centre {
            bail!("no kernel of the device for a convolution of {kernel}x{kernel} by {stride}");
        }
        Ok(Self {
            weights,
            weight_bytes: filter.weight_bytes(products),
            products,
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
            padded: padded(self.outputs, self.products) as i32,
            height: inputs[0].height as i32,
            width: inputs[0].width as i32,
            out_height: size.0 as i32,
            out_width: size.1 as i32,
            reading: i32::from(self.reading == Activation::Leaky),
            leaky: i32::from(activation == Activation::Leaky),
            pieces: pieces(inputs),
            pixels: parts.map(|part| (1u32 << PIXEL_BITS).div_ceil(part.pixel.max(1) as u32)),
            unused: 0,
        };
        let tile = tile(self.outputs);
        let (pixels, threads) = self.block(tile);
        let (module, function) = self.function(tile);
        let mut launch = Launch::new(module, function).tiles(size, pixels, [threads, 1]);
        launch.grid[2] = self.outputs.div_ceil(tile) as u32;
        launch.flop = flop([self.kernel, self.inputs, self.outputs], size);
        launch.bytes = self.weight_bytes;
        Ok(launch.with(job))
    }

    /// Pixels (x, y) and threads of a block that makes so many outputs.
    fn block(&self, tile: usize) -> ([u32; 2], u32) {
        match (self.products, tile, self.stride) {
            (Precision::Half, ..) => ([16, 8], 256),
            (_, 8, _) => ([16, 16], 2 * 64),
            (_, 16, _) => ([16, 8], 4 * 32),
            _ => ([16, 4], tile as u32 / 4 * 16),
        }
    }

    /// Module and kernel for blocks of so many outputs.
    fn function(&self, tile: usize) -> (&'static str, &'static str) {
        macro_rules! names {
            ($kind:literal) => {
                [
                    concat!($kind, "_8"),
                    concat!($kind, "_16"),
                    concat!($kind, "_24"),
                    concat!($kind, "_32"),
                ]
            };
        }
        let (module, names) = match (self.products, self.kernel, self.stride) {
            (Precision::Single, 1, _) => ("narrow", names!("narrow_1_1")),
            (Precision::Single, _, 1) => ("narrow", names!("narrow_3_1")),
            (Precision::Single, ..) => ("narrow", names!("narrow_3_2")),
            (Precision::Half, 1, _) => ("tensor", names!("tensor_1_1")),
            (Precision::Half, _, 1) => ("tensor", names!("tensor_3_1")),
            (Precision::Half, ..) => ("tensor", names!("tensor_3_2")),
        };
        (module, names[tile / PADDED - 1])
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
    use candle_core::{DType, Device, Tensor};

    use super::super::tests::{CHANNELS, KERNELS, filter};
    use super::*;
    use crate::kernels::cuda::emulation::{self, halves, input, output};
    use crate::kernels::testing::{Out, Random, SIZES, close, contexts, zeros};

    /// As in the tests of the CPU's: sums in another order, with fused rounding.
    const TOLERANCE: f32 = 2e-5;
    /// Half a unit in the last place of a number of 16 bits, relative; and of those below the least normal one, absolute.
    const HALF: f32 = 1.0 / 2048.0;
    const LEAST_HALF: f32 = 1.0 / (1 << 25) as f32;

    fn values(tensor: &Tensor) -> Vec<f32> {
        let tensor = tensor.to_dtype(DType::F32).unwrap();
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// The same filter with other weights.
    fn with_weights(filter: &Filter, change: impl Fn(f32) -> f32) -> Filter {
        let Filter {
            outputs,
            inputs,
            kernel: k,
            ..
        } = *filter;
        let weights: Vec<f32> = filter.weight.iter().map(|w| change(*w)).collect();
        let weights = Tensor::from_vec(weights, (outputs, inputs, k, k), &Device::Cpu).unwrap();
        let bias = Tensor::from_vec(filter.bias.clone(), outputs, &Device::Cpu).unwrap();
        let new = Filter::new(&weights, &bias, filter.stride).unwrap();
        let new = new.with_slopes(filter.slopes.clone()).unwrap();
        new.reading(filter.reading)
    }

    /// What is multiplied, as these products have it.
    fn factors(filter: &Filter, inputs: &[&Tensor], products: Precision) -> (Filter, Vec<Tensor>) {
        let round = |w| match products {
            Precision::Single => w,
            Precision::Half => Half::from_f32(w).to_f32(),
        };
        let inputs = inputs.iter().map(|t| match products {
            Precision::Single => (*t).clone(),
            Precision::Half => halves(t)[1].clone(),
        });
        (with_weights(filter, round), inputs.collect())
    }

    /// Runs a convolution on the device.
    fn run(
        (filter, products): (&Filter, Precision),
        inputs: &[Features],
        residual: Option<Features>,
        activation: Activation,
        out: Features,
    ) {
        let weights = weights(filter, products);
        let device = DeviceFilter::new(filter, products, weights.as_ptr() as u64).unwrap();
        let launch = device.apply(inputs, residual, activation, out);
        emulation::run([launch.unwrap()]);
    }

    /// Runs a convolution on the CPU and, with either precision, on the device, and compares each value. Of 16 bits the factors
    /// are rounded before; what is left is the order of sums.
    fn check(
        name: &str,
        filter: &Filter,
        inputs: &[&Tensor],
        residual: Option<&Tensor>,
        activation: Activation,
    ) {
        let (h, w, _) = inputs[0].dims3().unwrap();
        let size = (h.div_ceil(filter.stride), w.div_ceil(filter.stride));
        let (plain, _) = contexts();
        for products in Precision::ALL {
            let [want, got] = [0, 1].map(|_| Out::new(size, filter.outputs));
            let (rounded, factors) = factors(filter, inputs, products);
            let factors: Vec<_> = factors.iter().collect();
            rounded
                .apply(&plain, &factors, residual, activation, &want.tensor())
                .unwrap();
            let parts: Vec<_> = inputs.iter().map(|t| Features::F32(input(t))).collect();
            let residual = residual.map(|t| Features::F32(input(t)));
            let out = Features::F32(output(&got.tensor()));
            run((filter, products), &parts, residual, activation, out);
            let name = format!("{name}, {}", products.name());
            close(&name, &got.values(), &want.values(), TOLERANCE);
        }
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
                // values that lose nothing, activated or not: the device rounds what it has activated
                let parts = parts.map(|part| (part.round().unwrap() * 0.625).unwrap());
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
        let linear = Activation::Linear;
        let filter = filter(&mut random, 24, 16 + 8, 3, 1);
        let (plain, _) = contexts();
        let parts = [16, 8].map(|c| random.tensor(size, c, 1.0));
        let residual = random.dense(&[size.0, size.1, 24], 1.0);
        let [half_residual, residual] = halves(&residual);
        let [half, rounded] = halves(&parts[0]);
        for products in Precision::ALL {
            let want = zeros(&[size.0, size.1, 24]);
            let (rounded, factors) = factors(&filter, &[&rounded, &parts[1]], products);
            let factors: Vec<_> = factors.iter().collect();
            rounded
                .apply(&plain, &factors, Some(&residual), linear, &want)
                .unwrap();
            let [out, _] = halves(&zeros(&[size.0, size.1, 24]));
            let inputs = [Features::F16(input(&half)), Features::F32(input(&parts[1]))];
            let residual = Some(Features::F16(input(&half_residual)));
            let to = Features::F16(output(&out));
            run((&filter, products), &inputs, residual, linear, to);
            close("f16", &values(&out), &values(&want), HALF + TOLERANCE);
        }
    }

    /// Channels of 16 bits are read eight at a time: all of the first part, the second one in two chunks of a kernel. Not so the others: of
    /// floats, after a number of channels that is no multiple of 8, or in pixels of none.
    #[test]
    fn parts_of_sixteen_bits_agree_however_they_lie() {
        let mut random = Random(8);
        let (size, channels) = ((9, 21), [24, 16, 9, 8, 20]);
        let (plain, _) = contexts();
        let parts = channels.map(|c| random.dense(&[size.0, size.1, c], 1.0));
        // values that lose nothing, activated or not
        let parts = parts.map(|part| (part.round().unwrap() * 0.625).unwrap());
        let halved = parts.each_ref().map(|part| halves(part)[0].clone());
        let first = input::<Half>(&halved[0]).address();
        assert_eq!(first % 16, 0, "the first part cannot be read in eights");
        let inputs: Vec<_> = (0..channels.len())
            .map(|i| match channels[i] {
                9 => Features::F32(input(&parts[i])),
                _ => Features::F16(input(&halved[i])),
            })
            .collect();
        for ((k, stride), outputs) in KERNELS.into_iter().zip([24, 23, 40]) {
            let filter = filter(&mut random, outputs, channels.iter().sum(), k, stride);
            let shape = [size.0.div_ceil(stride), size.1.div_ceil(stride), outputs];
            let [half_residual, residual] = halves(&random.dense(&shape, 1.0));
            for reading in [Activation::Linear, Activation::Leaky] {
                let filter = with_weights(&filter, |w| w).reading(reading);
                let (rounded, factors) = factors(&filter, &parts.each_ref(), Precision::Half);
                let factors: Vec<_> = factors.iter().collect();
                let (want, [out, _]) = (zeros(&shape), halves(&zeros(&shape)));
                rounded
                    .apply(&plain, &factors, Some(&residual), reading, &want)
                    .unwrap();
                let residual = Some(Features::F16(input(&half_residual)));
                let to = Features::F16(output(&out));
                run((&filter, Precision::Half), &inputs, residual, reading, to);
                let name = format!("{k}x{k} by {stride}, {}", reading == Activation::Leaky);
                close(&name, &values(&out), &values(&want), HALF + TOLERANCE);
            }
        }
    }

    /// 1x1 filters read rows by 16 bytes where a part can be: parts of both sizes of number, pixels that such pieces cross, channels
    /// before and behind those that are read, more rows and columns than a tile; and parts for which that does not hold beside others.
    #[test]
    fn rows_read_by_pieces_agree_however_parts_lie() {
        let mut random = Random(9);
        let (size, (plain, _)) = ((11, 40), contexts());
        // channels; of the tensor that they are a part of, and the first of them there
        let some = [(16, 16, 0), (25, 28, 0), (9, 9, 0), (8, 12, 4), (24, 24, 0)];
        let odd = [some[0], (9, 12, 2), (8, 8, 0)];
        let many = [some[0], (25, 25, 0), some[4], (64, 64, 0)];
        for (parts, is_half) in [(&some[..], 0b10001), (&odd, 0b100), (&many, 0b1001)] {
            let inputs: usize = parts.iter().map(|part| part.0).sum();
            for (outputs, reading) in [(16, Activation::Leaky), (30, Activation::Linear)] {
                let filter = filter(&mut random, outputs, inputs, 1, 1).reading(reading);
                let whole = |&(_, all, _): &(usize, usize, usize)| {
                    let dense = random.dense(&[size.0, size.1, all], 1.0);
                    // values that lose nothing, activated or not
                    (dense.round().unwrap() * 0.625).unwrap()
                };
                let wholes: Vec<_> = parts.iter().map(whole).collect();
                let rounded: Vec<_> = wholes.iter().map(|t| halves(t)[0].clone()).collect();
                let part = |of: &[Tensor], i: usize| {
                    let (count, _, first) = parts[i];
                    of[i].narrow(2, first, count).unwrap()
                };
                let features = |i: usize| match is_half >> i & 1 {
                    1 => Features::F16(input(&part(&rounded, i))),
                    _ => Features::F32(input(&part(&wholes, i))),
                };
                let features: Vec<_> = (0..parts.len()).map(features).collect();
                let read: Vec<_> = (0..parts.len()).map(|i| part(&wholes, i)).collect();
                let (exact, factors) = factors(&filter, &Vec::from_iter(&read), Precision::Half);
                let (want, got) = (zeros(&[size.0, size.1, outputs]), Out::new(size, outputs));
                let factors = Vec::from_iter(&factors);
                exact.apply(&plain, &factors, None, reading, &want).unwrap();
                let out = Features::F32(output(&got.tensor()));
                run((&filter, Precision::Half), &features, None, reading, out);
                let name = format!("{parts:?} to {outputs}");
                close(&name, &got.values(), &values(&want), TOLERANCE);
            }
        }
    }

    /// Inputs and weights of all sizes, those included that 16 bits only just, or cannot, tell from zero; the f32 reference computes with them as
    /// they are. Each product may be off by what both factors lose, each sum by its own rounding, the result by half a unit in the last place.
    #[test]
    fn hard_values_are_off_by_what_rounding_loses() {
        let mut random = Random(6);
        let (plain, _) = contexts();
        let (size, channels) = ((9, 24), [19, 16]);
        for k in [1, 3] {
            for scale in [1e-9, 3e-6, 6e-5, 1.0, 300.0] {
                for weight in [1e-6, 0.1, 30.0] {
                    let inputs: usize = channels.iter().sum();
                    let filter = filter(&mut random, 11, inputs, k, 1);
                    let filter = with_weights(&filter, |w| w * weight);
                    let parts = channels.map(|c| random.tensor(size, c, scale));
                    let factors: Vec<_> = parts.iter().collect();
                    let want = zeros(&[size.0, size.1, 11]);
                    let linear = Activation::Linear;
                    filter.apply(&plain, &factors, None, linear, &want).unwrap();
                    let got = Out::new(size, 11);
                    let inputs = parts.each_ref().map(|t| Features::F32(input(t)));
                    let out = Features::F32(output(&got.tensor()));
                    run((&filter, Precision::Half), &inputs, None, linear, out);
                    // what the factors may lose, times the other one: sums of |x| |w|, of |x|, of |w|
                    let large = parts.each_ref().map(|t| t.abs().unwrap());
                    let large: Vec<_> = large.iter().collect();
                    let sums = |change: &dyn Fn(f32) -> f32, of: &[&Tensor]| {
                        let filter = Filter {
                            bias: vec![0.0; 11],
                            ..with_weights(&filter, change)
                        };
                        let sums = zeros(&[size.0, size.1, 11]);
                        filter.apply(&plain, of, None, linear, &sums).unwrap();
                        values(&sums)
                    };
                    let products = sums(&f32::abs, &large);
                    let of_inputs = sums(&|_| LEAST_HALF, &large);
                    let ones = large.iter().map(|t| t.ones_like().unwrap());
                    let ones: Vec<_> = ones.collect();
                    let of_weights =
                        sums(&|w| LEAST_HALF * w.abs(), &ones.iter().collect::<Vec<_>>());
                    for (i, (got, want)) in got.values().iter().zip(values(&want)).enumerate() {
                        let rounding = 2.1 * HALF * products[i] + of_inputs[i] + of_weights[i];
                        let tolerance =
                            rounding + TOLERANCE * want.abs().max(1e-3) + LEAST_HALF * LEAST_HALF;
                        let off = (got - want).abs();
                        assert!(
                            off <= tolerance,
                            "{k}x{k}, {scale} by {weight}, value {i}: {got}, expected {want} within {tolerance:e}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_too_large_for_sixteen_bits_stays_a_number() {
        let mut random = Random(7);
        let size = (5, 9);
        let most = Half::MAX.to_f32();
        for scale in [7e4, 1e9, f32::MAX] {
            let part = random.tensor(size, 16, scale);
            // a filter that hands on its input
            let weight = Tensor::eye(16, DType::F32, &Device::Cpu).unwrap();
            let weight = weight.reshape((16, 16, 1, 1)).unwrap();
            let filter = Filter::new(&weight, &zeros(&[16]), 1).unwrap();
            let [out, _] = halves(&zeros(&[size.0, size.1, 16]));
            for products in Precision::ALL {
                let inputs = [Features::F32(input(&part))];
                let to = Features::F16(output(&out));
                run((&filter, products), &inputs, None, Activation::Linear, to);
                for (got, x) in values(&out).iter().zip(values(&part)) {
                    let want = Half::from_f32(x.clamp(-most, most)).to_f32();
                    assert_eq!(*got, want, "{x}, {}", products.name());
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut random = Random(5);
        let strided = filter(&mut random, 8, 4, 3, 2);
        let values = random.tensor((6, 6), 4, 1.0);
        let one = Features::F32(input(&values));
        for products in Precision::ALL {
            let device = DeviceFilter::new(&strided, products, 16).unwrap();
            let run = |inputs: &[Features], out: &Tensor| {
                let out = Features::F32(output(out));
                device.apply(inputs, None, Activation::Linear, out)
            };
            assert!(run(&[one], &zeros(&[3, 3, 8])).is_ok());
            assert!(run(&[one], &zeros(&[3, 4, 8])).is_err());
            assert!(run(&[one, one], &zeros(&[3, 3, 8])).is_err());
            assert!(run(&[], &zeros(&[3, 3, 8])).is_err());
            let large = filter(&mut random, 8, 4, 7, 2);
            assert!(DeviceFilter::new(&large, products, 16).is_err());
        }
    }
}
