//! cuDNN, where it is found as it is wanted: NVIDIA's convolutions, by the functions that its versions 8 and 9 share. Nothing is linked;
//! the library is opened under the names that a system or an installation of PyTorch has for it, where the loader looks.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::{Arc, Mutex, Weak};

use candle_core::cuda_backend::cudarc::driver::CudaStream;
use libloading::Library;

use super::{Gpu, first_line, lock};

/// What the library is called, and the version that it has then.
const LIBRARIES: [(&str, usize); 2] = [("libcudnn.so.9", 9), ("libcudnn.so.8", 8)];
/// Bytes beside its tensors that a convolution may need; what needs more is passed over.
const MOST_WORKSPACE: usize = 1 << 26;
/// Ways to compute a convolution that cuDNN is asked for: it has eight.
const ALGORITHMS: usize = 8;

/// Its enumerations.
const SUCCESS: c_int = 0;
const NHWC: c_int = 1;
const FLOAT: c_int = 0;
const HALF: c_int = 2;
const CROSS_CORRELATION: c_int = 1;
const TENSOR_OPS: c_int = 1;

/// A handle or a descriptor.
type Object = *mut c_void;

/// How fast one way to compute a convolution is, as it estimates.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Performance {
    algorithm: c_int,
    status: c_int,
    time: f32,
    memory: usize,
    determinism: c_int,
    math: c_int,
    reserved: [c_int; 3],
}

/// Declares the functions, which are found by their names.
macro_rules! functions {
    ($($field:ident: $name:literal ($($argument:ty),*) -> $result:ty;)*) => {
        #[derive(Debug, Clone, Copy)]
        struct Functions {
            $($field: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl Functions {
            /// # Safety
            /// The library is cuDNN, and is never closed.
            unsafe fn find(library: &Library) -> Result<Self, libloading::Error> {
                Ok(Self {
                    // SAFETY: these are its types in the headers of cuDNN 8 and 9.
                    $($field: *unsafe { library.get($name) }?,)*
                })
            }
        }
    };
}

functions! {
    version: "cudnnGetVersion"() -> usize;
    error: "cudnnGetErrorString"(c_int) -> *const c_char;
    create: "cudnnCreate"(*mut Object) -> c_int;
    destroy: "cudnnDestroy"(Object) -> c_int;
    set_stream: "cudnnSetStream"(Object, *mut c_void) -> c_int;
    create_tensor: "cudnnCreateTensorDescriptor"(*mut Object) -> c_int;
    set_tensor: "cudnnSetTensor4dDescriptor"(Object, c_int, c_int, c_int, c_int, c_int, c_int) -> c_int;
    destroy_tensor: "cudnnDestroyTensorDescriptor"(Object) -> c_int;
    create_filter: "cudnnCreateFilterDescriptor"(*mut Object) -> c_int;
    set_filter: "cudnnSetFilter4dDescriptor"(Object, c_int, c_int, c_int, c_int, c_int, c_int) -> c_int;
    destroy_filter: "cudnnDestroyFilterDescriptor"(Object) -> c_int;
    create_convolution: "cudnnCreateConvolutionDescriptor"(*mut Object) -> c_int;
    set_convolution: "cudnnSetConvolution2dDescriptor"(Object, c_int, c_int, c_int, c_int, c_int, c_int, c_int, c_int) -> c_int;
    set_math: "cudnnSetConvolutionMathType"(Object, c_int) -> c_int;
    destroy_convolution: "cudnnDestroyConvolutionDescriptor"(Object) -> c_int;
    algorithms: "cudnnGetConvolutionForwardAlgorithm_v7"(Object, Object, Object, Object, Object, c_int, *mut c_int, *mut Performance) -> c_int;
    workspace: "cudnnGetConvolutionForwardWorkspaceSize"(Object, Object, Object, Object, Object, c_int, *mut usize) -> c_int;
    forward: "cudnnConvolutionForward"(Object, *const f32, Object, *const c_void, Object, *const c_void, Object, c_int, *mut c_void, usize, *const f32, Object, *mut c_void) -> c_int;
}

/// Why something cannot be done, in words.
type Problem = String;

impl Functions {
    fn check(&self, what: &str, status: c_int) -> Result<(), Problem> {
        if status == SUCCESS {
            return Ok(());
        }
        // SAFETY: it answers with a text that stays, whatever the number.
        let text = unsafe { (self.error)(status) };
        let text = match text.is_null() {
            true => "no text".into(),
            // SAFETY: as above, a C string.
            false => unsafe { CStr::from_ptr(text) }.to_string_lossy(),
        };
        Err(format!("{what} answers {status} ({text})"))
    }
}

/// The library, and a handle of it for one stream of a card.
pub struct Cudnn {
    functions: Functions,
    version: usize,
    stream: Arc<CudaStream>,
    /// Used by one thread at a time.
    handle: Mutex<Object>,
}

// SAFETY: cuDNN takes calls about a handle from any thread, one at a time, which the mutex sees to.
unsafe impl Send for Cudnn {}
// SAFETY: as above.
unsafe impl Sync for Cudnn {}

impl std::fmt::Debug for Cudnn {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_tuple("Cudnn").field(&self.version).finish()
    }
}

impl Drop for Cudnn {
    fn drop(&mut self) {
        if self.stream.context().bind_to_thread().is_ok() {
            // SAFETY: nobody has the handle any more.
            unsafe { (self.functions.destroy)(*lock(&self.handle)) };
        }
    }
}

impl Cudnn {
    fn open(stream: Arc<CudaStream>) -> Result<Self, Problem> {
        let (functions, version) = load()?;
        let context = stream.context();
        context.bind_to_thread().map_err(|e| e.to_string())?;
        let mut handle = ptr::null_mut();
        // SAFETY: it writes one handle.
        functions.check("cudnnCreate", unsafe { (functions.create)(&mut handle) })?;
        let cudnn = Self {
            functions,
            version,
            handle: Mutex::new(handle),
            stream,
        };
        // SAFETY: both live as long as what is made here; a stream of the driver's is one of the runtime's.
        let set = unsafe { (functions.set_stream)(handle, cudnn.stream.cu_stream().cast()) };
        functions.check("cudnnSetStream", set)?;
        Ok(cudnn)
    }

    /// As `9.10.2`.
    pub fn version(&self) -> String {
        let thousand = if major(self.version) < 9 {
            1000
        } else {
            10_000
        };
        let rest = self.version % thousand;
        format!("{}.{}.{}", major(self.version), rest / 100, rest % 100)
    }

    /// Finds out how to compute a convolution.
    ///
    /// # Errors
    /// cuDNN has none of such a shape.
    pub fn plan(&self, shape: &Shape) -> Result<Plan, Problem> {
        let tensor = |[h, w, c]: [usize; 3]| {
            let [c, h, w] = [c, h, w].map(|n| n as c_int);
            // SAFETY: the descriptor is one of a tensor.
            let set = |d| unsafe { (self.functions.set_tensor)(d, NHWC, HALF, 1, c, h, w) };
            let (new, destroy) = (self.functions.create_tensor, self.functions.destroy_tensor);
            self.descriptor("a tensor", new, destroy, set)
        };
        let mut plan = Plan {
            input: tensor([shape.size.0, shape.size.1, shape.inputs])?,
            output: tensor([shape.out.0, shape.out.1, shape.outputs])?,
            filter: self.filter(shape)?,
            convolution: self.convolution(shape)?,
            algorithm: 0,
            workspace: 0,
        };
        let mut found = [Performance::default(); ALGORITHMS];
        let mut count = 0;
        self.stream
            .context()
            .bind_to_thread()
            .map_err(|e| e.to_string())?;
        let handle = lock(&self.handle);
        let (x, w) = (plan.input.object, plan.filter.object);
        let (c, y) = (plan.convolution.object, plan.output.object);
        // SAFETY: the descriptors are of their kinds, and there is room for so many answers.
        let asked = unsafe {
            let most = ALGORITHMS as c_int;
            (self.functions.algorithms)(*handle, x, w, c, y, most, &mut count, found.as_mut_ptr())
        };
        self.functions
            .check("cudnnGetConvolutionForwardAlgorithm_v7", asked)?;
        let count = usize::try_from(count).unwrap_or(0);
        let found = found.iter().take(count).filter(|f| f.status == SUCCESS);
        for one in found {
            let mut bytes = 0;
            // SAFETY: as above; it writes one number.
            let can = unsafe {
                (self.functions.set_math)(c, one.math) == SUCCESS
                    && (self.functions.workspace)(*handle, x, w, c, y, one.algorithm, &mut bytes)
                        == SUCCESS
            };
            if can && bytes <= MOST_WORKSPACE {
                (plan.algorithm, plan.workspace) = (one.algorithm, bytes);
                return Ok(plan);
            }
        }
        Err(format!("no way for a convolution of {shape:?}"))
    }

    fn filter(&self, shape: &Shape) -> Result<Descriptor, Problem> {
        let [outputs, inputs, k] = [shape.outputs, shape.inputs, shape.kernel].map(|n| n as c_int);
        // SAFETY: the descriptor is one of a filter.
        let set = |d| unsafe { (self.functions.set_filter)(d, HALF, NHWC, outputs, inputs, k, k) };
        let (new, destroy) = (self.functions.create_filter, self.functions.destroy_filter);
        self.descriptor("a filter", new, destroy, set)
    }

    fn convolution(&self, shape: &Shape) -> Result<Descriptor, Problem> {
        let [pad, stride] = [shape.kernel / 2, shape.stride].map(|n| n as c_int);
        // SAFETY: the descriptor is one of a convolution.
        let set = |d| unsafe {
            let mode = CROSS_CORRELATION;
            match (self.functions.set_convolution)(d, pad, pad, stride, stride, 1, 1, mode, FLOAT) {
                SUCCESS => (self.functions.set_math)(d, TENSOR_OPS),
                problem => problem,
            }
        };
        let (new, destroy) = (
            self.functions.create_convolution,
            self.functions.destroy_convolution,
        );
        self.descriptor("a convolution", new, destroy, set)
    }

    /// Of what `set` makes of a new one.
    fn descriptor(
        &self,
        what: &str,
        new: unsafe extern "C" fn(*mut Object) -> c_int,
        destroy: Destroy,
        set: impl Fn(Object) -> c_int,
    ) -> Result<Descriptor, Problem> {
        let mut object = ptr::null_mut();
        // SAFETY: it writes one descriptor.
        self.functions.check(what, unsafe { new(&mut object) })?;
        let descriptor = Descriptor { object, destroy };
        self.functions.check(what, set(object))?;
        Ok(descriptor)
    }

    /// Queues a convolution: the sums of products alone.
    ///
    /// # Safety
    /// As [`Gpu::run`]; at the addresses lie tensors of the plan's shape, at multiples of 16, and its workspace.
    unsafe fn run(&self, plan: &Plan, at: &Addresses) -> Result<(), Problem> {
        let context = self.stream.context();
        context.bind_to_thread().map_err(|e| e.to_string())?;
        let (one, zero) = (1.0, 0.0);
        let memory = |address: u64| address as usize as *mut c_void;
        let handle = lock(&self.handle);
        // SAFETY: as the caller promises; the descriptors are the plan's.
        let done = unsafe {
            (self.functions.forward)(
                *handle,
                &one,
                plan.input.object,
                memory(at.input),
                plan.filter.object,
                memory(at.weights),
                plan.convolution.object,
                plan.algorithm,
                memory(at.workspace),
                plan.workspace,
                &zero,
                plan.output.object,
                memory(at.sums),
            )
        };
        self.functions.check("cudnnConvolutionForward", done)
    }
}

/// Of a number as the library answers with it.
fn major(version: usize) -> usize {
    match version {
        0..10_000 => version / 1000,
        _ => version / 10_000,
    }
}

/// What the loader says.
fn words(error: &libloading::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => first_line(&cause),
        None => first_line(error),
    }
}

/// The first library that is there and is what it is called.
fn load() -> Result<(Functions, usize), Problem> {
    let mut problems = Vec::new();
    for (name, wanted) in LIBRARIES {
        // SAFETY: whoever has put it where the loader looks trusts what it does as it is opened.
        let library = match unsafe { Library::new(name) } {
            Ok(library) => library,
            Err(e) => {
                problems.push(format!("{name}: {}", words(&e)));
                continue;
            }
        };
        // SAFETY: it has the name of cuDNN, and is never closed.
        let functions = unsafe { Functions::find(&library) };
        // other threads of its own may run in it
        std::mem::forget(library);
        let functions = match functions {
            Ok(functions) => functions,
            Err(e) => {
                problems.push(format!("{name}: {}", words(&e)));
                continue;
            }
        };
        // SAFETY: it has no arguments.
        let version = unsafe { (functions.version)() };
        if major(version) == wanted {
            return Ok((functions, version));
        }
        problems.push(format!("{name} is of version {version}"));
    }
    Err(problems.join("; "))
}

type Destroy = unsafe extern "C" fn(Object) -> c_int;

/// What cuDNN knows a tensor, a filter or a convolution by.
#[derive(Debug)]
struct Descriptor {
    object: Object,
    destroy: Destroy,
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: it is of that kind, and nobody has it any more; the library is never closed.
        unsafe { (self.destroy)(self.object) };
    }
}

/// A convolution of a size: dense tensors of 16 bits, `[h, w, channels]`, the kernel centred, zeros beyond the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Height and width of the input, and of the output.
    pub size: (usize, usize),
    pub out: (usize, usize),
    /// Channels, multiples of 8.
    pub inputs: usize,
    pub outputs: usize,
    /// Odd.
    pub kernel: usize,
    pub stride: usize,
}

/// How a convolution is computed.
#[derive(Debug)]
pub struct Plan {
    input: Descriptor,
    filter: Descriptor,
    convolution: Descriptor,
    output: Descriptor,
    algorithm: c_int,
    workspace: usize,
}

// SAFETY: descriptors are memory that cuDNN reads, of no thread.
unsafe impl Send for Plan {}

impl Plan {
    /// Bytes that it needs beside its tensors.
    pub fn workspace(&self) -> usize {
        self.workspace
    }
}

/// Where on the card what a convolution reads and writes lies.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    pub input: u64,
    /// `[outputs][ky][kx][inputs]` of 16 bits.
    pub weights: u64,
    pub workspace: u64,
    pub sums: u64,
}

/// The one that is in use, if one is.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<Weak<Cudnn>>);

impl Gpu {
    /// cuDNN for this stream; all who use it at a time share one.
    ///
    /// # Errors
    /// It is not there, is of another version, or does not start; in words.
    pub fn cudnn(&self) -> Result<Arc<Cudnn>, String> {
        let mut shared = lock(&self.cudnn.0);
        if let Some(known) = shared.upgrade() {
            return Ok(known);
        }
        let opened = Arc::new(Cudnn::open(self.device.cuda_stream())?);
        *shared = Arc::downgrade(&opened);
        Ok(opened)
    }

    /// Queues a convolution by cuDNN behind all that was queued before; `flop` are its multiplications and additions, `bytes` those that it reads and writes.
    ///
    /// # Errors
    /// cuDNN's, in words; nothing is queued then.
    ///
    /// # Safety
    /// As [`Gpu::run`]; at the addresses lie tensors of the plan's shape, at multiples of 16, and its workspace.
    pub unsafe fn run_cudnn(
        &self,
        cudnn: &Cudnn,
        (plan, flop, bytes): (&Plan, u64, u64),
        at: &Addresses,
    ) -> Result<(), String> {
        let stream = self.device.cuda_stream();
        let words = |e: candle_core::Error| first_line(&e);
        let before = self.mark(&stream).map_err(words)?;
        // SAFETY: as the caller promises.
        unsafe { cudnn.run(plan, at) }?;
        self.count(|counts| {
            counts.cudnn += 1;
            counts.flop += flop;
            counts.bytes += bytes;
        });
        match before {
            Some(before) => self
                .keep_mark(("cudnn", None), before, &stream)
                .map_err(words),
            None => Ok(()),
        }
    }
}
