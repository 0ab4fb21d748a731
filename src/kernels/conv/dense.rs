//! The launches of `dense/cuda.cu`: convolutions of all shapes on tensor cores, for many channels.

#[cfg(feature = "cuda")]
use candle_core::Tensor;
use candle_core::bail;

#[cfg(feature = "cuda")]
use super::OnCard;
use super::narrow::RawPart;
use super::{Activation, Filter, MAX_INPUTS, check, flop};
use crate::kernels::Precision;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::Card;
use crate::kernels::cuda::{Argument, Convolution, Features, Half, Launch};
#[cfg(feature = "cuda")]
use crate::kernels::device::{Gpu, Queue};

/// Channels of a group and of a step; a step's are of four groups, which may be of different taps.
const GROUP: usize = 8;
const STEP: usize = 32;
/// Channels of a filter whose steps are of two taps, and of four.
const HALF_STEP: usize = 16;
const QUARTER_STEP: usize = 8;
/// Most parities of a transposed convolution.
const PARITIES: usize = 4;
/// Bits of `whole` behind those of the inputs.
const RESIDUAL: usize = MAX_INPUTS;
const OUT: usize = MAX_INPUTS + 1;
/// Blocks from which on a card is taken to be busy: small tiles where large ones are fewer.
const BUSY: usize = 200;

/// How the work is cut into blocks.
struct Tile {
    function: &'static str,
    /// Rows and columns of pixels; a tile of one row goes on in the next one.
    size: (usize, usize),
    outputs: usize,
    threads: u32,
    /// The filters that it is for, if it is a patch.
    shape: Option<Shape>,
}

/// What patches are made for: taps along a side, stride, and channels that are multiplied together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    kernel: usize,
    stride: usize,
    depth: usize,
}

const fn tile(function: &'static str, pixels: usize, outputs: usize, threads: u32) -> Tile {
    Tile {
        function,
        size: (1, pixels),
        outputs,
        threads,
        shape: None,
    }
}

const fn patch(
    function: &'static str,
    [kernel, stride, depth]: [usize; 3],
    size: (usize, usize),
    outputs: usize,
    threads: u32,
) -> Tile {
    Tile {
        function,
        size,
        outputs,
        threads,
        shape: Some(Shape {
            kernel,
            stride,
            depth,
        }),
    }
}

impl Tile {
    /// How many cover a picture of this height and width.
    fn count(&self, (h, w): (usize, usize)) -> usize {
        match self.shape {
            Some(_) => h.div_ceil(self.size.0) * w.div_ceil(self.size.1),
            None => (h * w).div_ceil(self.size.1),
        }
    }
}

/// From large to small, of outputs that a thread has eight and four of side by side.
const WIDE: [Tile; 4] = [
    tile("dense_128_64", 128, 64, 128),
    tile("dense_128_32", 128, 32, 128),
    tile("dense_64_32", 64, 32, 2 * 128),
    tile("dense_32_32", 32, 32, 4 * 64),
];
const THIN: [Tile; 2] = [
    tile("dense_128_16", 128, 16, 128),
    tile("dense_64_16", 64, 16, 2 * 128),
];

/// The same of patches.
const WIDE_PATCHES: [Tile; 11] = [
    patch("patch_3_1_32_256_64", [3, 1, STEP], (8, 32), 64, 128),
    patch("patch_3_1_32_128_64", [3, 1, STEP], (8, 16), 64, 128),
    patch("patch_3_1_32_256_32", [3, 1, STEP], (8, 32), 32, 128),
    patch("patch_3_1_32_128_32", [3, 1, STEP], (8, 16), 32, 3 * 64),
    patch("patch_3_1_32_32_32", [3, 1, STEP], (2, 16), 32, 9 * 32),
    patch("patch_3_2_32_128_32", [3, 2, STEP], (4, 32), 32, 128),
    patch("patch_3_2_16_128_32", [3, 2, HALF_STEP], (4, 32), 32, 128),
    patch("patch_2_1_32_256_64", [2, 1, STEP], (8, 32), 64, 128),
    patch("patch_2_1_32_128_64", [2, 1, STEP], (8, 16), 64, 128),
    patch("patch_2_1_32_256_32", [2, 1, STEP], (8, 32), 32, 128),
    patch("patch_2_1_32_32_32", [2, 1, STEP], (2, 16), 32, 4 * 32),
];
const THIN_PATCHES: [Tile; 3] = [
    patch("patch_3_1_16_256_16", [3, 1, HALF_STEP], (8, 32), 16, 128),
    patch("patch_3_2_32_128_16", [3, 2, STEP], (4, 32), 16, 128),
    patch("patch_3_2_8_256_16", [3, 2, QUARTER_STEP], (8, 32), 16, 128),
];
/// Outputs of a warp with such tiles.
const WIDE_OUTPUTS: usize = 32;
const THIN_OUTPUTS: usize = 16;

/// The kernel's `Dense`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct RawDense {
    parts: [RawPart; MAX_INPUTS],
    residual: RawPart,
    out: RawPart,
    weights: u64,
    count: i32,
    steps: i32,
    kernel: i32,
    stride: i32,
    height: i32,
    width: i32,
    out_height: i32,
    out_width: i32,
    outputs: i32,
    padded: i32,
    reading: i32,
    leaky: i32,
    whole: u32,
    each: i32,
    spread: i32,
    place_row: i32,
    place_pixel: i32,
    top: [i32; PARITIES],
    left: [i32; PARITIES],
    channels: i32,
}

// SAFETY: plain numbers without bytes between them.
unsafe impl Argument for RawDense {
    fn bytes(&self) -> u64 {
        let out = [self.out_height, self.out_width];
        let read = |part: &RawPart| part.bytes([self.height, self.width]);
        // of the output a part for each place, see `Dense::launch`
        self.parts.iter().map(read).sum::<u64>() + self.residual.bytes(out)
    }
}

/// A convolution as it is multiplied: of one filter, or of those that make the places within a pixel of a transposed convolution's input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dense<'a> {
    /// Place by place, row by row.
    filters: &'a [Filter],
    /// Places along a side; parities along a side, which are read through taps of their own.
    factor: usize,
    parities: usize,
    /// Taps along a side, and rows and columns of them above and to the left of a pixel where all places have the same.
    kernel: usize,
    pad: Option<(usize, usize)>,
}

/// Taps along a side that all places of a transposed convolution read together.
const AROUND: usize = 3;

impl<'a> Dense<'a> {
    /// Of one filter.
    pub fn one(filter: &'a Filter) -> Self {
        Self {
            filters: std::slice::from_ref(filter),
            factor: 1,
            parities: 1,
            kernel: filter.kernel,
            pad: None,
        }
    }

    /// Of those that make the places within a pixel of a transposed convolution's input, `factor` along a side. Where these are few,
    /// they are outputs of one filter that has zeros where a place has no tap.
    pub fn places(filters: &'a [Filter], factor: usize) -> Self {
        let together = factor.pow(2) * filters[0].outputs <= WIDE_OUTPUTS;
        let (parities, kernel) = match together {
            true => (1, AROUND),
            false => (2, filters[0].kernel),
        };
        Self {
            filters,
            factor,
            parities,
            kernel,
            pad: together.then_some((1, 1)),
        }
    }

    fn first(&self) -> &'a Filter {
        &self.filters[0]
    }

    /// Places along a side of a parity.
    fn spread(&self) -> usize {
        self.factor / self.parities
    }

    /// Outputs of a parity: those of its places one after the other.
    fn outputs(&self) -> usize {
        self.first().outputs * self.spread().pow(2)
    }

    /// Outputs of a warp.
    fn warp(&self) -> usize {
        match self.outputs() {
            0..=THIN_OUTPUTS => THIN_OUTPUTS,
            _ => WIDE_OUTPUTS,
        }
    }

    /// Outputs that a thread has side by side.
    fn run(&self) -> usize {
        self.warp() / 4
    }

    fn padded(&self) -> usize {
        self.outputs().next_multiple_of(self.warp())
    }

    /// Of all inputs, padded to whole groups; to whole steps, which patches are for, where that is a quarter more at most.
    fn channels(&self) -> usize {
        let [groups, steps] = [GROUP, STEP].map(|n| self.first().inputs.next_multiple_of(n));
        match [2, 3].contains(&self.kernel) && 4 * steps <= 5 * groups {
            true => steps,
            false => groups,
        }
    }

    fn steps(&self) -> usize {
        (self.kernel.pow(2) * self.channels()).div_ceil(STEP)
    }

    /// The filter, and its output, that makes an output of a parity.
    fn maker(&self, parity: usize, output: usize) -> (&'a Filter, usize) {
        let (each, spread) = (self.first().outputs, self.spread());
        let place = output / each;
        let y = parity / self.parities * spread + place / spread;
        let x = parity % self.parities * spread + place % spread;
        (&self.filters[y * self.factor + x], output % each)
    }

    /// What the kernel reads, in words: of each parity by step and output the factors of 16 bits, then biases and slopes. Outputs are
    /// padded with zeros, and so is each tap's channels to whole groups.
    pub fn weights(&self) -> Vec<u32> {
        let mut words = Vec::new();
        for parity in 0..self.parities.pow(2) {
            for step in 0..self.steps() {
                for row in 0..self.padded() {
                    let halves = |k: usize| {
                        let value = self.weight(parity, step * STEP + k, packed(row, self.warp()));
                        let most = Half::MAX.to_f32();
                        u32::from(Half::from_f32(value.clamp(-most, most)).to_bits())
                    };
                    words.extend(
                        (0..STEP)
                            .step_by(2)
                            .map(|k| halves(k) | halves(k + 1) << 16),
                    );
                }
            }
            let lists: [fn(&Filter) -> &[f32]; 2] = [|f| &f.bias, |f| &f.slopes];
            for of in lists {
                let value = |output| match output < self.outputs() {
                    true => {
                        let (filter, output) = self.maker(parity, output);
                        of(filter)[output].to_bits()
                    }
                    false => 0,
                };
                words.extend((0..self.padded()).map(value));
            }
        }
        words
    }

    /// Factor `k` of an output of a parity; 0 beyond the channels and the outputs.
    fn weight(&self, parity: usize, k: usize, output: usize) -> f32 {
        let Filter { kernel, inputs, .. } = self.first();
        let (tap, channel) = (k / self.channels(), k % self.channels());
        if tap >= self.kernel.pow(2) || channel >= *inputs || output >= self.outputs() {
            return 0.0;
        }
        let (filter, output) = self.maker(parity, output);
        let pad = self.pad.unwrap_or(filter.pad);
        // the filter's own tap there, if it has one
        let own = |tap: usize, pad: usize, own: usize| {
            let tap = (tap + own).checked_sub(pad);
            tap.filter(|tap| tap < kernel)
        };
        let ky = own(tap / self.kernel, pad.0, filter.pad.0);
        let kx = own(tap % self.kernel, pad.1, filter.pad.1);
        let Some((ky, kx)) = ky.zip(kx) else {
            return 0.0;
        };
        filter.weight[(output * inputs + channel) * kernel * kernel + ky * kernel + kx]
    }

    /// As [`Filter::apply`]; what [`Dense::weights`] has made lies at the address `weights`, a multiple of 16. Of a transposed convolution
    /// `out` has `factor` times the height and width.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn launch(
        &self,
        weights: u64,
        inputs: &[Features],
        residual: Option<Features>,
        activation: Activation,
        out: Features,
    ) -> candle_core::Result<Launch> {
        let size = self.check(inputs, residual, out)?;
        let filter = self.first();
        let mut job = RawDense {
            parts: Default::default(),
            residual: residual.map(RawPart::from).unwrap_or_default(),
            out: RawPart::from(out).every(self.factor),
            weights,
            count: inputs.len() as i32,
            steps: self.steps() as i32,
            kernel: self.kernel as i32,
            stride: filter.stride as i32,
            height: inputs[0].height as i32,
            width: inputs[0].width as i32,
            out_height: size.0 as i32,
            out_width: size.1 as i32,
            outputs: self.outputs() as i32,
            padded: self.padded() as i32,
            reading: i32::from(filter.reading == Activation::Leaky),
            leaky: i32::from(activation == Activation::Leaky),
            whole: u32::from(out.is_aligned(self.run())) << OUT
                | u32::from(residual.is_some_and(|r| r.is_aligned(self.run()))) << RESIDUAL,
            each: filter.outputs as i32,
            spread: self.spread() as i32,
            place_row: out.row as i32,
            place_pixel: out.pixel as i32,
            top: [0; PARITIES],
            left: [0; PARITIES],
            channels: self.channels() as i32,
        };
        for (i, input) in inputs.iter().enumerate() {
            job.parts[i] = RawPart::from(*input);
            job.whole |= u32::from(input.is_aligned(GROUP)) << i;
        }
        for parity in 0..self.parities.pow(2) {
            let (top, left) = self.pad.unwrap_or(self.maker(parity, 0).0.pad);
            (job.top[parity], job.left[parity]) = (top as i32, left as i32);
        }
        let tile = self.tile(size);
        let mut launch = self.cut(Launch::new("dense", tile.function), tile, size);
        launch.convolution = (self.factor == 1).then(|| Convolution {
            kernel: filter.kernel,
            stride: filter.stride,
            inputs: filter.inputs,
            outputs: filter.outputs,
            size: inputs[0].size(),
        });
        launch.flop = flop([filter.kernel, filter.inputs, filter.outputs], out.size());
        let weights = |filter: &Filter| filter.weight_bytes(Precision::Half);
        let written = RawPart::from(out).bytes([out.height as i32, out.width as i32]);
        launch.bytes = self.filters.iter().map(weights).sum::<u64>() + written;
        Ok(launch.with(job))
    }

    /// The same launch with such tiles of an output of this size.
    fn cut(&self, mut launch: Launch, tile: &Tile, size: (usize, usize)) -> Launch {
        launch.function = tile.function;
        launch.grid = [
            tile.count(size) as u32,
            (self.padded() / tile.outputs) as u32,
            self.parities.pow(2) as u32,
        ];
        launch.block = [tile.threads, 1, 1];
        launch
    }

    /// [`Dense::launch`] of tensors on a card, whose weights are kept in `on_card`.
    ///
    /// # Errors
    /// Sizes that do not fit, no memory for the weights, or the card fails.
    #[cfg(feature = "cuda")]
    pub fn apply_on(
        &self,
        gpu: &Gpu,
        on_card: &OnCard,
        inputs: &[&Tensor],
        residual: Option<&Tensor>,
        activation: Activation,
        out: &Tensor,
    ) -> candle_core::Result<()> {
        let card = Queue::new(gpu);
        let weights = on_card.keep(gpu, || self.weights())?;
        let inputs = inputs.iter().map(|input| card.features(input));
        let inputs = inputs.collect::<candle_core::Result<Vec<_>>>()?;
        let residual = residual.map(|r| card.features(r)).transpose()?;
        let (address, out) = (gpu.raster::<u32>(&weights)?.address(), card.features(out)?);
        let launch = self.launch(address, &inputs, residual, activation, out)?;
        // SAFETY: these are the arguments of the kernel, made of tensors on this card.
        unsafe { gpu.run(launch) }
    }

    /// The tile for an output of this size: the largest patch for this filter of which there are enough, or tile; else that of which there
    /// are the most.
    fn tile(&self, size: (usize, usize)) -> &'static Tile {
        let (tiles, patches) = self.tiles();
        let [patches, tiles] = [patches, tiles].map(|t| t.iter().filter(|tile| self.fits(tile)));
        let blocks =
            |tile: &&Tile| tile.count(size) * (self.padded() / tile.outputs) * self.parities.pow(2);
        let mut all = patches.clone().chain(tiles.clone());
        let found = all.find(|tile| blocks(tile) >= BUSY);
        let most = || tiles.chain(patches).max_by_key(blocks);
        found.or_else(most).unwrap_or(&WIDE[0])
    }

    /// Tiles and patches for its outputs.
    fn tiles(&self) -> (&'static [Tile], &'static [Tile]) {
        match self.warp() {
            THIN_OUTPUTS => (&THIN, &THIN_PATCHES),
            _ => (&WIDE, &WIDE_PATCHES),
        }
    }

    /// Whether a tile's outputs are, and a patch is for such a filter.
    fn fits(&self, tile: &Tile) -> bool {
        let is_for = |shape: Shape| {
            let channels = match shape.depth {
                STEP => self.channels().is_multiple_of(STEP),
                depth => self.channels() == depth,
            };
            (self.kernel, self.first().stride) == (shape.kernel, shape.stride) && channels
        };
        self.padded().is_multiple_of(tile.outputs) && tile.shape.is_none_or(is_for)
    }

    /// The size of what a parity's place makes.
    fn check(
        &self,
        inputs: &[Features],
        residual: Option<Features>,
        out: Features,
    ) -> candle_core::Result<(usize, usize)> {
        if inputs.len() > MAX_INPUTS {
            bail!("{} inputs, expected 1 to {MAX_INPUTS}", inputs.len());
        }
        let mut each = *out;
        (each.height, each.width) = (out.height / self.factor, out.width / self.factor);
        let inputs = inputs.iter().map(|input| **input);
        check(self.first(), inputs, residual.map(|r| *r), &each)?;
        let (size, factor) = (each.size(), self.factor);
        out.expect(
            "the output of a transposed convolution",
            (factor * size.0, factor * size.1),
            out.channels,
        )?;
        if i32::try_from(size.0 * size.1).is_err() {
            bail!("a convolution of {size:?} pixels is too large for the device's kernels");
        }
        Ok(size)
    }
}

/// The output whose factors are row `row` of a step: of each warp's `outputs` a thread has a pair from each eight rows, and these lie side
/// by side.
fn packed(row: usize, outputs: usize) -> usize {
    let (first, row) = (row / outputs * outputs, row % outputs);
    let (tile, column) = (row / 8, row % 8);
    first + column / 2 * (outputs / 4) + tile * 2 + column % 2
}

#[cfg(test)]
mod tests;
