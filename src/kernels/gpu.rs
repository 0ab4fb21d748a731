//! A card of NVIDIA's: opening it, its kernels, and the way to and from its memory.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaModule, CudaStream, DevicePtr, DriverError, LaunchConfig, PushKernelArg,
    result, sys,
};
use candle_core::cuda_backend::cudarc::nvrtc::Ptx;
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::{CudaDevice, Storage, Tensor, bail};

use super::Precision;
use super::conv::Filter;
use super::conv::narrow::DeviceFilter;
use super::cuda::lists::Lists;
use super::cuda::{Card, DeviceRaster, Half, Launch};
use super::device::{name, problem};
use super::raster::{Source, write};
use crate::error::{Error, Result};

mod cudnn;
mod exchange;
mod graphs;
mod locked;
mod memory;
mod pictures;
mod staging;
mod times;
mod together;

pub use cudnn::{Addresses, Cudnn, Plan, Shape};
use graphs::Graph;
pub use locked::Locked;
pub use memory::Memory;
pub use pictures::{Leaving, Output, Staging};
pub use staging::Pinned;
use times::Marks;
pub use times::{Run, Time};

/// Oldest driver, by the CUDA that it is for: what the kernels are compiled with.
const LEAST_DRIVER: i32 = 13_000;
/// What users know that driver by.
const LEAST_DRIVER_NAME: &str = "580";
/// Oldest cards, by compute capability.
const LEAST_CARD: (i32, i32) = (7, 5);
/// Which cards the user lets the driver see.
const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";

// The modules of all kernels, by their folder's name, as build.rs compiled them: `const MODULES`.
include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// A card that has been opened: a stream of its own there. What is done in one may run beside what is done in others.
pub struct Gpu {
    number: usize,
    model: String,
    device: CudaDevice,
    /// The process that opened it.
    process: u32,
    /// Of all who have the card open.
    kernels: Arc<Mutex<Kernels>>,
    presence: Arc<()>,
    lists: Mutex<Lists<Graph>>,
    counts: Mutex<Counts>,
    cudnn: cudnn::Shared,
    /// While somebody asks for times.
    marks: Mutex<Option<Marks>>,
}

/// What was loaded, by the folder's name, and of it by the kernel's.
#[derive(Default)]
struct Kernels {
    modules: HashMap<&'static str, Arc<CudaModule>>,
    functions: HashMap<(&'static str, &'static str), CudaFunction>,
}

impl Kernels {
    /// Those of the card of this number, which all who have it open share.
    fn of(number: usize) -> Arc<Mutex<Self>> {
        static LOADED: Mutex<Vec<(usize, Weak<Mutex<Kernels>>)>> = Mutex::new(Vec::new());
        let mut loaded = lock(&LOADED);
        loaded.retain(|(_, kernels)| kernels.strong_count() > 0);
        let mut known = loaded.iter().filter(|(of, _)| *of == number);
        if let Some(known) = known.find_map(|(_, kernels)| kernels.upgrade()) {
            return known;
        }
        let new = Arc::default();
        loaded.push((number, Arc::downgrade(&new)));
        new
    }
}

/// What a card was told to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes copied to the card and from it.
    pub up: u64,
    pub down: u64,
    /// Kernels that were run, those of graphs with them.
    pub launches: u64,
    /// Times that many were told with one call.
    pub graphs: u64,
    /// Convolutions by cuDNN.
    pub cudnn: u64,
    /// Multiplications and additions of convolutions.
    pub flop: u64,
    /// Bytes of the tensors that kernels and cuDNN were given, those of each launch once.
    pub bytes: u64,
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_tuple("Gpu").field(&self.number).finish()
    }
}

impl Gpu {
    /// The card of this number, to each who asks for it a stream of its own.
    ///
    /// # Errors
    /// There is no driver, an old one, no such card, one that is too old, or one that others have filled.
    pub fn open(number: usize) -> Result<Arc<Self>> {
        start(number)?;
        let model = look(number)?;
        let is_first = !memory::has_context(number).map_err(|e| of_card(&name(number), &e))?;
        let device = CudaDevice::new_with_stream(number).map_err(|e| of_card(&name(number), &e))?;
        if is_first {
            // a card that refuses keeps more memory, and works
            let _ = memory::shrink_stack(&device);
        }
        // SAFETY: all that is made on this device is used in its one stream, where things happen in order.
        unsafe { device.disable_event_tracking() };
        Ok(Arc::new(Self {
            number,
            model,
            device,
            process: std::process::id(),
            kernels: Kernels::of(number),
            presence: Arc::default(),
            lists: Mutex::default(),
            counts: Mutex::default(),
            cudnn: cudnn::Shared::default(),
            marks: Mutex::default(),
        }))
    }

    /// Can be upgraded while this stream is there, and is that of no other one.
    pub fn presence(&self) -> Weak<()> {
        Arc::downgrade(&self.presence)
    }

    /// What it was told to do since it was opened.
    pub fn counts(&self) -> Counts {
        *lock(&self.counts)
    }

    fn count(&self, add: impl FnOnce(&mut Counts)) {
        add(&mut lock(&self.counts));
    }

    /// `cuda:N` and what its maker calls it.
    pub fn description(&self) -> String {
        format!("{} ({})", name(self.number), self.model)
    }

    /// `cuda:N`.
    pub fn name(&self) -> String {
        name(self.number)
    }

    /// As candle has it.
    pub fn device(&self) -> candle_core::Device {
        candle_core::Device::Cuda(self.device.clone())
    }

    /// Fails in a process that was forked from the one that opened the card.
    ///
    /// # Errors
    /// As said.
    pub fn check(&self) -> Result<()> {
        match self.process == std::process::id() {
            true => Ok(()),
            false => Err(forked(self.number)),
        }
    }

    /// How many blocks it runs side by side at least.
    ///
    /// # Errors
    /// The driver does not say.
    pub fn multiprocessors(&self) -> Result<usize> {
        let attribute = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        let stream = self.device.cuda_stream();
        let count = stream.context().attribute(attribute).w()?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// What an error of candle's means where it is one of the card's.
    pub fn explain(&self, error: Error) -> Error {
        let Error::Candle(cause) = &error else {
            return error;
        };
        match first_line(cause).contains("CUDA_ERROR") {
            true => of_card(&self.name(), cause),
            false => error,
        }
    }

    /// Where a tensor on the card lies. It is valid as long as the tensor lives, and what runs on it is queued with
    /// [`Gpu::run`]: memory that is freed is used again only by what is queued later. Within [`Gpu::together`] it lives that long.
    ///
    /// # Errors
    /// As [`DeviceRaster::new`]; or the tensor is not of such numbers on a card.
    pub fn raster<T: CudaDType>(&self, tensor: &Tensor) -> candle_core::Result<DeviceRaster<T>> {
        self.hold(tensor);
        let (storage, layout) = tensor.storage_and_layout();
        let Storage::Cuda(storage) = &*storage else {
            bail!("expected a tensor on the card, found {tensor:?}");
        };
        let stream = self.device.cuda_stream();
        let (address, _) = storage.as_cuda_slice::<T>()?.device_ptr(&stream);
        DeviceRaster::new(address, layout)
    }

    /// Queues the run of a kernel behind all that was queued before, within [`Gpu::together`] perhaps a little later.
    ///
    /// # Safety
    /// The arguments are those of the kernel, and what they reach is memory of this card, as [`Gpu::raster`] has told, that is freed later, if
    /// at all.
    pub unsafe fn run(&self, launch: Launch) -> candle_core::Result<()> {
        match self.keep_back(launch)? {
            // SAFETY: as the caller promises.
            Some(launch) => unsafe { self.queue(launch) },
            None => Ok(()),
        }
    }

    /// The same at once.
    ///
    /// # Safety
    /// As [`Gpu::run`].
    unsafe fn queue(&self, launch: Launch) -> candle_core::Result<()> {
        self.count(|counts| {
            counts.launches += 1;
            counts.flop += launch.flop;
            counts.bytes += launch.bytes;
        });
        let (stream, kernel) = (self.device.cuda_stream(), launch.function);
        let convolution = launch.convolution;
        let before = self.mark(&stream)?;
        // SAFETY: as the caller promises.
        unsafe { self.launch_in(&stream, launch) }?;
        match before {
            Some(before) => self.keep_mark((kernel, convolution), before, &stream),
            None => Ok(()),
        }
    }

    /// Tells a stream of a launch.
    ///
    /// # Safety
    /// As [`Gpu::run`].
    unsafe fn launch_in(&self, stream: &CudaStream, mut launch: Launch) -> candle_core::Result<()> {
        let function = self.function(launch.module, launch.function)?;
        let ([gx, gy, gz], [bx, by, bz]) = (launch.grid, launch.block);
        let threads = LaunchConfig {
            grid_dim: (gx, gy, gz),
            block_dim: (bx, by, bz),
            shared_mem_bytes: 0,
        };
        let arguments = launch.arguments();
        let mut queued = stream.launch_builder(&function);
        for argument in &arguments {
            // SAFETY: the reference is used as the address of the argument, whose bytes are all there.
            queued.arg(unsafe { &*argument.cast::<u8>() });
        }
        // SAFETY: as the caller promises.
        unsafe { queued.launch(threads) }.w()?;
        Ok(())
    }

    fn function(
        &self,
        module: &'static str,
        function: &'static str,
    ) -> candle_core::Result<CudaFunction> {
        let mut kernels = lock(&self.kernels);
        if let Some(known) = kernels.functions.get(&(module, function)) {
            return Ok(known.clone());
        }
        let loaded = match kernels.modules.get(module) {
            Some(loaded) => loaded.clone(),
            None => self.load(module)?,
        };
        kernels.modules.insert(module, loaded.clone());
        let found = loaded.load_function(function).w()?;
        kernels.functions.insert((module, function), found.clone());
        Ok(found)
    }

    fn load(&self, module: &str) -> candle_core::Result<Arc<CudaModule>> {
        let Some((_, image)) = MODULES.iter().find(|(name, _)| *name == module) else {
            bail!("there are no kernels of {module} for cards");
        };
        let image = Ptx::from_binary(image.to_vec());
        self.device.cuda_stream().context().load_module(image).w()
    }

    /// Copies `from`, on the CPU, to `to`, on the card; both are contiguous and of one shape.
    ///
    /// # Errors
    /// They are not, or the card fails.
    pub fn upload(&self, from: &Tensor, to: &Tensor) -> candle_core::Result<()> {
        self.flush()?;
        let source = Source::lock(from);
        let raster = source.raster()?;
        if from.dims() != to.dims() || !from.is_contiguous() {
            bail!("cannot upload {from:?} to {to:?}");
        }
        let address = self.raster::<f32>(to)?.address();
        self.count(|counts| counts.up += size_of_val(raster.data()) as u64);
        let stream = self.device.cuda_stream();
        stream.context().bind_to_thread().w()?;
        // SAFETY: as many values lie there; a copy from memory that is not pinned has read it when the call returns.
        unsafe { result::memcpy_htod_async(address, raster.data(), stream.cu_stream()) }.w()
    }

    /// Copies `from`, on the card, to `to`, on the CPU, once all that was queued before is done; both are
    /// contiguous and of one shape.
    ///
    /// # Errors
    /// They are not, or the card has failed.
    pub fn download(&self, from: &Tensor, to: &Tensor) -> candle_core::Result<()> {
        if from.dims() != to.dims() || !from.is_contiguous() || !to.is_contiguous() {
            bail!("cannot download {from:?} to {to:?}");
        }
        self.flush()?;
        let (storage, layout) = from.storage_and_layout();
        let Storage::Cuda(storage) = &*storage else {
            bail!("expected a tensor on the card");
        };
        let start = layout.start_offset();
        let values = storage.as_cuda_slice::<f32>()?;
        let values = values.slice(start..start + from.elem_count());
        let bytes = from.elem_count() * size_of::<f32>();
        self.count(|counts| counts.down += bytes as u64);
        write("download", to, |mut out| {
            let stream = self.device.cuda_stream();
            stream.memcpy_dtoh(&values, out.data_mut()).w()?;
            stream.synchronize().w()
        })
    }
}

/// A card for which launches are made, until they are queued.
pub struct Queue<'a> {
    gpu: &'a Gpu,
    /// The weights that they read.
    weights: RefCell<Vec<Tensor>>,
}

impl Card for Queue<'_> {
    fn raster(&self, tensor: &Tensor) -> candle_core::Result<DeviceRaster> {
        self.gpu.raster(tensor)
    }

    fn bytes(&self, tensor: &Tensor) -> candle_core::Result<DeviceRaster<u8>> {
        self.gpu.raster(tensor)
    }

    fn words(&self, tensor: &Tensor) -> candle_core::Result<DeviceRaster<u32>> {
        self.gpu.raster(tensor)
    }

    fn halves(&self, tensor: &Tensor) -> candle_core::Result<DeviceRaster<Half>> {
        self.gpu.raster(tensor)
    }

    fn filter(&self, filter: &Filter, products: Precision) -> candle_core::Result<DeviceFilter> {
        let weights = filter.narrow_on(self.gpu, products)?;
        let address = self.gpu.raster::<u32>(&weights)?.address();
        self.weights.borrow_mut().push(weights);
        DeviceFilter::new(filter, products, address)
    }
}

impl<'a> Queue<'a> {
    pub fn new(gpu: &'a Gpu) -> Self {
        Self {
            gpu,
            weights: RefCell::default(),
        }
    }

    /// Queues all launches.
    ///
    /// # Safety
    /// As [`Gpu::run`].
    pub unsafe fn run(self, launches: Vec<Launch>) -> Result<()> {
        // SAFETY: as the caller promises; the weights live until all is queued.
        Ok(unsafe { self.gpu.run_all(launches) }?)
    }
}

impl Gpu {
    /// Queues a copy of a tensor of floats, which is contiguous, from the card.
    ///
    /// # Errors
    /// It is not on the card, or of another size than the page-locked memory.
    pub fn fetch(&self, from: &Tensor, to: &mut Pinned) -> candle_core::Result<()> {
        let bytes = from.elem_count() * size_of::<f32>();
        self.flush()?;
        to.expect(bytes)?;
        if !from.is_contiguous() {
            bail!("cannot fetch {from:?}: it is not contiguous");
        }
        let address = self.raster::<f32>(from)?.address();
        self.count(|counts| counts.down += bytes as u64);
        // SAFETY: the tensor has as many bytes, and is of this card's stream.
        unsafe { to.download(&self.device.cuda_stream(), address) }
    }
}

/// What the mutexes here guard is never left half written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the driver, unless this process has done so.
fn start(number: usize) -> Result<()> {
    /// The process that did; 0: none.
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let process = std::process::id();
    match STARTED.load(Ordering::Acquire) {
        started if started == process => return Ok(()),
        0 => (),
        _ => return Err(forked(number)),
    }
    let refuse = |text: &str| Err(problem(&name(number), text));
    let mut version = 0;
    // SAFETY: it writes one number.
    let asked = unsafe { sys::cuDriverGetVersion(&mut version) }.result();
    if asked == Err(DriverError(sys::CUresult::CUDA_ERROR_STUB_LIBRARY)) {
        return refuse(&format!(
            "cannot be used: there is no NVIDIA driver, libcuda.so.1 cannot be opened; install driver {LEAST_DRIVER_NAME} or newer, or use the device \"cpu\""
        ));
    }
    if version < LEAST_DRIVER {
        let cuda = |v: i32| format!("{}.{}", v / 1000, v % 1000 / 10);
        return refuse(&format!(
            "cannot be used: the NVIDIA driver is for CUDA {}, and CUDA {} is needed; install driver {LEAST_DRIVER_NAME} or newer, or use the device \"cpu\"",
            cuda(version),
            cuda(LEAST_DRIVER)
        ));
    }
    match result::init() {
        Ok(()) => (),
        Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => return refuse(&no_card()),
        Err(e) => return refuse(&failed(&e)),
    }
    STARTED.store(process, Ordering::Release);
    Ok(())
}

/// What the card is called, if it can be used.
fn look(number: usize) -> Result<String> {
    let error = |e: DriverError| problem(&name(number), &failed(&e));
    let refuse = |text: &str| Err(problem(&name(number), text));
    let count = result::device::get_count().map_err(error)?;
    let count = usize::try_from(count).unwrap_or(0);
    if count == 0 {
        return refuse(&no_card());
    }
    if number >= count {
        let last = name(count - 1);
        return refuse(&format!(
            "is not there: the last of {count} is {last}; use one of them, or \"auto\" or \"cpu\"{}",
            visible()
        ));
    }
    let device = result::device::get(number as i32).map_err(error)?;
    let model = result::device::get_name(device).map_err(error)?;
    use sys::CUdevice_attribute as Attribute;
    let attribute = |a| {
        // SAFETY: the device is one that the driver named.
        unsafe { result::device::get_attribute(device, a) }.map_err(error)
    };
    let capability = (
        attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
        attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
    );
    if capability < LEAST_CARD {
        let text = |(major, minor): (i32, i32)| format!("{major}.{minor}");
        return refuse(&format!(
            "({model}) is too old: its compute capability is {}, at least {} is needed (GTX 16, RTX 20 and later); use another one, or the device \"cpu\"",
            text(capability),
            text(LEAST_CARD)
        ));
    }
    Ok(model)
}

fn no_card() -> String {
    format!(
        "is not there: the NVIDIA driver sees no card; use the device \"cpu\"{}",
        visible()
    )
}

/// What the user has hidden.
fn visible() -> String {
    std::env::var(VISIBLE).map_or(String::new(), |cards| {
        format!(" ({VISIBLE} is \"{cards}\", which hides all others)")
    })
}

fn forked(number: usize) -> Error {
    problem(
        &name(number),
        "was opened before this process was forked, and cannot be used after; open it in the new process alone, or use the device \"cpu\"",
    )
}

/// What the driver's error means of a card of this name.
fn of_card(device: &str, error: &impl std::fmt::Display) -> Error {
    let text = first_line(error);
    match text.contains("OUT_OF_MEMORY") {
        true => Error::DeviceMemory {
            device: device.into(),
            problem: text,
        },
        false => problem(device, &failed(error)),
    }
}

fn failed(error: &impl std::fmt::Display) -> String {
    format!(
        "has failed: {}; use the device \"cpu\", or another card",
        first_line(error)
    )
}

/// The others may be a backtrace.
fn first_line(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().into()
}
