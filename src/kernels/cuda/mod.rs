//! Kernels for NVIDIA cards, as far as no card is needed for them: what the driver is to be told of each launch.
//!
//! In each folder of the kernels `cuda.cu` has the device's code and `cuda.rs` the [`Launch`]es of it: function, arguments, grid
//! and block. All launches of one stream run one after the other, and write what the CPU's `reference.rs` would: integers to
//! the bit, floats but for the order of sums and the last places of `exp`. The tests run the same launches of the same sources on the host ([`emulation`]).
//!
//! Each `cuda.cu` is one module, compiled with `nvcc -O3 -std=c++17 --fmad=false`.

use std::ffi::c_void;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::ops::Deref;

use candle_core::{DType, Layout, Tensor, bail};

use super::conv::Filter;
use super::conv::narrow::DeviceFilter;
use super::raster::Geometry;
use super::{PhaseMap, Precision};
pub use order::Span;

pub mod copies;
pub mod lists;
pub mod order;
pub mod picture;
pub mod strips;

#[cfg(test)]
pub mod emulation;

/// Where a `[height, width, channels]` tensor lies in the device's memory, gaps and all; the kernels' `Raster`.
#[derive(Debug, Clone, Copy)]
pub struct DeviceRaster<T = f32> {
    address: u64,
    geometry: Geometry,
    element: PhantomData<T>,
}

impl<T> Deref for DeviceRaster<T> {
    type Target = Geometry;

    fn deref(&self) -> &Geometry {
        &self.geometry
    }
}

impl<T> DeviceRaster<T> {
    /// Of a tensor of this layout whose storage begins at an address of the device.
    ///
    /// # Errors
    /// No three dimensions, empty, channels that are not adjacent, or larger than a kernel can count.
    pub fn new(storage: u64, layout: &Layout) -> candle_core::Result<Self> {
        let geometry = Geometry::new(layout)?;
        let whole = [geometry.height, geometry.width, geometry.row];
        if whole.iter().any(|n| i32::try_from(*n).is_err()) {
            bail!("a tensor {layout:?} is too large for the device's kernels");
        }
        Ok(Self {
            address: storage + (layout.start_offset() * size_of::<T>()) as u64,
            geometry,
            element: PhantomData,
        })
    }

    /// Of its first value.
    pub fn address(&self) -> u64 {
        self.address
    }
}

/// A number of 16 bits (IEEE 754), as features on the device may have.
pub use half::f16 as Half;

/// Features of either size of number.
#[derive(Debug, Clone, Copy)]
pub enum Features {
    /// Of 32 bits.
    F32(DeviceRaster),
    /// Of 16 bits.
    F16(DeviceRaster<Half>),
}

impl Deref for Features {
    type Target = Geometry;

    fn deref(&self) -> &Geometry {
        match self {
            Self::F32(raster) => raster,
            Self::F16(raster) => raster,
        }
    }
}

impl Features {
    /// As a kernel gets them.
    pub fn raw(&self) -> RawRaster {
        match self {
            Self::F32(raster) => raster.into(),
            Self::F16(raster) => raster.into(),
        }
    }

    /// Whether so many channels side by side, from a multiple of as many on, lie at multiples of their size, or of 16 bytes.
    pub fn is_aligned(&self, count: usize) -> bool {
        let (address, size) = match self {
            Self::F32(raster) => (raster.address(), 4),
            Self::F16(raster) => (raster.address(), 2),
        };
        let (apart, least) = ([self.pixel, self.row], (count * size).min(16));
        address.is_multiple_of(least as u64)
            && apart.iter().all(|n| (n * size).is_multiple_of(least))
    }

    /// Of a kernel for 32 bits and one for 16 the one for these.
    ///
    /// # Errors
    /// The `others` are not of the same size.
    pub fn function(
        &self,
        others: &[Features],
        [f32, f16]: [&'static str; 2],
    ) -> candle_core::Result<&'static str> {
        let is_half = matches!(self, Self::F16(_));
        let other = |features: &Features| matches!(features, Features::F16(_)) != is_half;
        if others.iter().any(other) {
            bail!("features of 16 and of 32 bits, expected all of one size");
        }
        Ok(if is_half { f16 } else { f32 })
    }
}

/// [`DeviceRaster`] as a kernel gets it.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct RawRaster {
    data: u64,
    height: i32,
    width: i32,
    channels: i32,
    pixel: i32,
    row: i32,
    /// Bytes of a value, which the kernel knows itself.
    value: i32,
}

impl RawRaster {
    /// Bytes of its values, without gaps.
    pub fn bytes(&self) -> u64 {
        let counts = [self.height, self.width, self.channels, self.value];
        counts.iter().map(|n| u64::from(n.unsigned_abs())).product()
    }

    /// From its first value to its last, gaps and all; none of a raster that is not there.
    pub fn span(&self) -> Option<Span> {
        let counts = [self.height, self.width, self.channels];
        Span::of(self.data, counts, [self.row, self.pixel], self.value)
    }
}

/// What a kernel is given as one argument.
///
/// # Safety
/// The same layout as the kernel's parameter: plain numbers in C's order, none of the bytes uninitialised.
pub unsafe trait Argument: Copy {
    /// Bytes of the card's memory that the kernel reaches by it, each counted once, as far as they are those of tensors.
    fn bytes(&self) -> u64 {
        0
    }

    /// Adds what the kernel reaches by it and may write; weights, which nobody writes, may be left out. Anything, unless it is said.
    fn reach(&self, to: &mut Vec<Span>) {
        to.push(Span::ANYTHING);
    }
}

// SAFETY: plain numbers without bytes between them.
unsafe impl Argument for RawRaster {
    fn bytes(&self) -> u64 {
        self.bytes()
    }
    fn reach(&self, to: &mut Vec<Span>) {
        to.extend(self.span());
    }
}
// SAFETY: a plain number.
unsafe impl Argument for i32 {
    fn reach(&self, _: &mut Vec<Span>) {}
}
// SAFETY: a plain number.
unsafe impl Argument for f32 {
    fn reach(&self, _: &mut Vec<Span>) {}
}
// SAFETY: a plain number.
unsafe impl Argument for u64 {}

impl<T> From<&DeviceRaster<T>> for RawRaster {
    fn from(raster: &DeviceRaster<T>) -> Self {
        let g = &raster.geometry;
        Self {
            data: raster.address,
            // `DeviceRaster::new` has seen to that they fit.
            height: g.height as i32,
            width: g.width as i32,
            channels: g.channels as i32,
            pixel: g.pixel as i32,
            row: g.row as i32,
            value: size_of::<T>() as i32,
        }
    }
}

impl<T> From<Option<&DeviceRaster<T>>> for RawRaster {
    fn from(raster: Option<&DeviceRaster<T>>) -> Self {
        raster.map(Self::from).unwrap_or_default()
    }
}

/// The phases of all cells: one, or `[h, w, 1]`.
#[derive(Debug, Clone, Copy)]
pub enum DevicePhase {
    /// The same everywhere.
    Uniform(f32),
    /// One a cell.
    Plane(DeviceRaster),
}

/// [`DevicePhase`] as a kernel gets it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct RawPhase {
    plane: RawRaster,
    uniform: f32,
    unused: i32,
}

// SAFETY: plain numbers without bytes between them.
unsafe impl Argument for RawPhase {
    fn bytes(&self) -> u64 {
        self.plane.bytes()
    }
    fn reach(&self, to: &mut Vec<Span>) {
        to.extend(self.plane.span().map(Span::read));
    }
}

impl DevicePhase {
    /// As a kernel gets it.
    ///
    /// # Errors
    /// A plane of another size.
    pub fn raw(&self, size: (usize, usize)) -> candle_core::Result<RawPhase> {
        let (plane, uniform) = match self {
            Self::Uniform(phase) => (None, *phase),
            Self::Plane(plane) => {
                plane.expect("a plane of phases", size, 1)?;
                (Some(plane), 0.5)
            }
        };
        Ok(RawPhase {
            plane: plane.into(),
            uniform,
            unused: 0,
        })
    }
}

/// Finds where on a card tensors lie, and what belongs to them.
pub trait Card {
    /// Of 32 bits.
    ///
    /// # Errors
    /// It is no such tensor on the card.
    fn raster(&self, tensor: &Tensor) -> candle_core::Result<DeviceRaster>;

    /// Of bytes.
    ///
    /// # Errors
    /// It is no such tensor on the card.
    fn bytes(&self, tensor: &Tensor) -> candle_core::Result<DeviceRaster<u8>>;

    /// Of whole numbers of 32 bits.
    ///
    /// # Errors
    /// It is no such tensor on the card.
    fn words(&self, tensor: &Tensor) -> candle_core::Result<DeviceRaster<u32>>;

    /// Of 16 bits.
    ///
    /// # Errors
    /// It is no such tensor on the card.
    fn halves(&self, tensor: &Tensor) -> candle_core::Result<DeviceRaster<Half>>;

    /// A filter with its weights, which stay where they are, for products of this precision.
    ///
    /// # Errors
    /// There is no kernel for it, or no memory.
    fn filter(&self, filter: &Filter, products: Precision) -> candle_core::Result<DeviceFilter>;

    /// Of 32 or 16 bits, as they are.
    ///
    /// # Errors
    /// It is no such tensor on the card.
    fn features(&self, tensor: &Tensor) -> candle_core::Result<Features> {
        match tensor.dtype() {
            DType::F16 => self.halves(tensor).map(Features::F16),
            _ => self.raster(tensor).map(Features::F32),
        }
    }

    /// A phase map; a plane has three dimensions.
    ///
    /// # Errors
    /// A plane that is not on the card.
    fn phase(&self, phase: &PhaseMap) -> candle_core::Result<DevicePhase> {
        Ok(match phase {
            PhaseMap::Uniform(phase) => DevicePhase::Uniform(*phase),
            PhaseMap::Plane(plane) => DevicePhase::Plane(self.raster(plane)?),
        })
    }
}

/// A convolution of a whole filter, as a card makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Convolution {
    /// Taps along a side.
    pub kernel: usize,
    /// Pixels of the input from a pixel of the output to the next.
    pub stride: usize,
    /// Channels that it reads, of all its inputs.
    pub inputs: usize,
    /// Channels that it makes.
    pub outputs: usize,
    /// Height and width of the input.
    pub size: (usize, usize),
}

/// One run of a kernel: what the driver's launch call is given. Dynamic shared memory is never needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The folder of `src/kernels` whose `cuda.cu` has the kernel.
    pub module: &'static str,
    /// The kernel.
    pub function: &'static str,
    /// Blocks along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block along x, y and z.
    pub block: [u32; 3],
    /// Multiplications and additions, of convolutions alone.
    pub flop: u64,
    /// Bytes of the tensors that the arguments name, weights with them, each once: what would cross the card's memory if caches kept all
    /// that is read again, and nothing from one launch to the next.
    pub bytes: u64,
    /// What it convolves, of `dense` alone, and no transposed convolution.
    pub convolution: Option<Convolution>,
    /// All arguments, each from a whole number of these on.
    words: Vec<u64>,
    /// Where each begins.
    starts: Vec<usize>,
    /// What it reaches.
    spans: Vec<Span>,
}

/// Told by what the card is: what a launch reaches is among its arguments.
impl Hash for Launch {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.function, self.grid, &self.words).hash(state);
    }
}

impl Launch {
    /// Of one block that has one thread, and no arguments yet.
    pub fn new(module: &'static str, function: &'static str) -> Self {
        Self {
            module,
            function,
            grid: [1; 3],
            block: [1; 3],
            flop: 0,
            bytes: 0,
            convolution: None,
            words: Vec::new(),
            starts: Vec::new(),
            spans: Vec::new(),
        }
    }

    /// The same with blocks of so many threads (x, y), as many as cover (height, width) where each block makes `tile` (x, y)
    /// of it.
    pub fn tiles(mut self, size: (usize, usize), tile: [u32; 2], block: [u32; 2]) -> Self {
        self.grid = [
            (size.1 as u32).div_ceil(tile[0]),
            (size.0 as u32).div_ceil(tile[1]),
            1,
        ];
        self.block = [block[0], block[1], 1];
        self
    }

    /// The same with a thread for each pixel of (height, width).
    pub fn pixels(self, size: (usize, usize)) -> Self {
        self.tiles(size, [32, 8], [32, 8])
    }

    /// The same with one more argument.
    pub fn with(mut self, argument: impl Argument) -> Self {
        argument.reach(&mut self.spans);
        let (start, bytes) = (self.words.len(), size_of_val(&argument));
        self.starts.push(start);
        self.bytes += argument.bytes();
        self.words.resize(start + bytes.div_ceil(8), 0);
        // SAFETY: the words from `start` on have room for `bytes`, and an argument is plain initialised bytes.
        unsafe {
            let to = self.words[start..].as_mut_ptr().cast::<u8>();
            std::ptr::copy_nonoverlapping((&raw const argument).cast::<u8>(), to, bytes);
        }
        self
    }

    /// The same with one more argument; what the kernel reaches by it, it only reads.
    pub fn reading(mut self, argument: impl Argument) -> Self {
        let known = self.spans.len();
        self = self.with(argument);
        self.spans[known..]
            .iter_mut()
            .for_each(|span| *span = span.read());
        self
    }

    /// The same with a raster that the kernel only reads.
    pub fn reads<T>(self, raster: &DeviceRaster<T>) -> Self {
        self.reading(RawRaster::from(raster))
    }

    /// The same with a raster as one more argument.
    pub fn raster<T>(self, raster: &DeviceRaster<T>) -> Self {
        self.with(RawRaster::from(raster))
    }

    /// The same with a raster, or none, as one more argument.
    pub fn optional<T>(self, raster: Option<&DeviceRaster<T>>) -> Self {
        self.with(RawRaster::from(raster))
    }

    /// What its kernel reaches of the card's memory, but weights.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Where each argument lies, as the driver wants to know it; valid as long as the launch is not changed or moved.
    pub fn arguments(&mut self) -> Vec<*mut c_void> {
        let words = &mut self.words;
        let starts = self.starts.iter();
        starts.map(|&i| (&raw mut words[i]).cast()).collect()
    }
}
