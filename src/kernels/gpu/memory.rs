//! How much of a card's memory is in use, and how much of that tensors hold, for benches; what is done to keep it small.

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{result, sys};

use candle_core::CudaDevice;

use super::Gpu;

/// Bytes of a card's memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// In use, whoever has it: contexts with their kernels, and all that was allocated.
    pub used: u64,
    /// What this process's tensors hold, and have held at most.
    pub tensors: u64,
    pub most_tensors: u64,
    /// What the driver has set aside for them.
    pub reserved: u64,
    /// What it keeps for each thread that the card can run at once, as the stack of calls.
    pub stack: u64,
}

impl Gpu {
    /// How much of the card's memory is in use now.
    ///
    /// # Errors
    /// The driver does not say.
    pub fn memory(&self) -> candle_core::Result<Memory> {
        use sys::CUmemPool_attribute as Attribute;
        let stream = self.device.cuda_stream();
        let context = stream.context();
        context.bind_to_thread().w()?;
        let (free, total) = result::mem_get_info().w()?;
        let mut pool = std::ptr::null_mut();
        // SAFETY: it writes one handle; the device is one that the driver named.
        unsafe { sys::cuDeviceGetDefaultMemPool(&mut pool, context.cu_device()) }
            .result()
            .w()?;
        let attribute = |attribute| -> candle_core::Result<u64> {
            let mut value = 0u64;
            let to = (&raw mut value).cast();
            // SAFETY: the pool is the driver's, and all attributes that are asked for are numbers of 64 bits.
            unsafe { sys::cuMemPoolGetAttribute(pool, attribute, to) }
                .result()
                .w()?;
            Ok(value)
        };
        let stack = context.get_limit(sys::CUlimit::CU_LIMIT_STACK_SIZE).w()?;
        Ok(Memory {
            used: total.saturating_sub(free) as u64,
            tensors: attribute(Attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?,
            most_tensors: attribute(Attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH)?,
            reserved: attribute(Attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)?,
            stack: stack as u64,
        })
    }
}

/// Bytes of each thread's stack that the driver is to have ready; its own default is 1,024. For all threads that a card can run at once that is 232 MiB
/// more on an H200. Kernels whose stack is known as they are compiled, as all of ours, get what they need all the same.
const STACK: usize = 128;

/// Whether somebody in this process has the context of this card, whose limits are then theirs.
pub(super) fn has_context(number: usize) -> candle_core::Result<bool> {
    let device = result::device::get(number as i32).w()?;
    let (mut flags, mut active) = (0, 0);
    // SAFETY: it writes two numbers; the device is one that the driver named.
    unsafe { sys::cuDevicePrimaryCtxGetState(device, &mut flags, &mut active) }
        .result()
        .w()?;
    Ok(active != 0)
}

/// Lets the driver keep little for the stack of each thread, in this context: all who use it in this process.
pub(super) fn shrink_stack(device: &CudaDevice) -> candle_core::Result<()> {
    let stream = device.cuda_stream();
    let limit = sys::CUlimit::CU_LIMIT_STACK_SIZE;
    stream.context().set_limit(limit, STACK).w()
}
