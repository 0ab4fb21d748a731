//! The kernels that a card has loaded, and how the driver is told of a launch.

use std::collections::HashMap;
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::sync::Arc;

use candle_core::bail;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{CudaContext, CudaStream, result, sys};

use super::{Gpu, Launch, lock};

// The modules of all kernels, by their folder's name, as build.rs compiled them: `const MODULES`.
include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// The module of a folder of kernels, in a context; it lives as long as both.
struct Module {
    context: Arc<CudaContext>,
    handle: sys::CUmodule,
}

impl Module {
    fn load(context: &Arc<CudaContext>, image: &[u8]) -> candle_core::Result<Self> {
        context.bind_to_thread().w()?;
        // SAFETY: the image is a whole one of nvcc's, which has its own size within.
        let handle = unsafe { result::module::load_data(image.as_ptr().cast()) }.w()?;
        let context = context.clone();
        Ok(Self { context, handle })
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // an error of a card that is lost is told by what is done with it
        if self.context.bind_to_thread().is_ok() {
            // SAFETY: it was loaded in this context, and nobody launches its functions any more.
            let _ = unsafe { result::module::unload(self.handle) };
        }
    }
}

/// What was loaded, by the folder's name, and of it by the kernel's.
#[derive(Default)]
pub struct Kernels {
    modules: HashMap<&'static str, Module>,
    functions: HashMap<(&'static str, &'static str), sys::CUfunction>,
}

// SAFETY: handles of modules and functions belong to a context, which all threads may use.
unsafe impl Send for Kernels {}

impl Kernels {
    fn function(
        &mut self,
        context: &Arc<CudaContext>,
        (module, name): (&'static str, &'static str),
    ) -> candle_core::Result<sys::CUfunction> {
        if let Some(known) = self.functions.get(&(module, name)) {
            return Ok(*known);
        }
        if !self.modules.contains_key(module) {
            let Some((_, image)) = MODULES.iter().find(|(folder, _)| *folder == module) else {
                bail!("there are no kernels of {module} for cards");
            };
            self.modules.insert(module, Module::load(context, image)?);
        }
        let text = CString::new(name).map_err(candle_core::Error::wrap)?;
        // SAFETY: the module has been loaded, and stays.
        let found = unsafe { result::module::get_function(self.modules[module].handle, text) };
        let found = found.w()?;
        self.functions.insert((module, name), found);
        Ok(found)
    }
}

/// That a launch may begin while those before it run, see `in_order` of `common.cuh`.
fn overlapping() -> sys::CUlaunchAttribute {
    let id = sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    // SAFETY: the driver's own type, of which every bit pattern is one.
    let mut attribute: sys::CUlaunchAttribute = unsafe { MaybeUninit::zeroed().assume_init() };
    attribute.id = id;
    attribute.value.programmaticStreamSerializationAllowed = 1;
    attribute
}

impl Gpu {
    /// Tells a stream of a launch.
    ///
    /// # Safety
    /// As [`Gpu::run`].
    pub(super) unsafe fn launch_in(
        &self,
        stream: &CudaStream,
        mut launch: Launch,
    ) -> candle_core::Result<()> {
        let context = stream.context();
        let name = (launch.module, launch.function);
        let function = lock(&self.kernels).function(context, name)?;
        let ([gx, gy, gz], [bx, by, bz]) = (launch.grid, launch.block);
        let mut attributes = [overlapping()];
        let config = sys::CUlaunchConfig {
            gridDimX: gx,
            gridDimY: gy,
            gridDimZ: gz,
            blockDimX: bx,
            blockDimY: by,
            blockDimZ: bz,
            sharedMemBytes: 0,
            hStream: stream.cu_stream(),
            attrs: attributes.as_mut_ptr(),
            numAttrs: u32::from(self.overlaps),
        };
        let mut arguments = launch.arguments();
        context.bind_to_thread().w()?;
        // SAFETY: as the caller promises; the configuration and the arguments, whose bytes are all there, are read before the call returns.
        let told = unsafe {
            sys::cuLaunchKernelEx(
                &config,
                function,
                arguments.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        told.result().w()
    }
}
