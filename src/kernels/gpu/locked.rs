//! Page-locked memory of the CPU: a card reads and writes it by itself while the CPU does something else.

use std::collections::BTreeMap;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex};

use candle_core::bail;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{CudaContext, DriverError, result, sys};

use super::{Gpu, lock};

/// All contexts take it for page-locked (`CU_MEMHOSTALLOC_PORTABLE`).
const PORTABLE: u32 = 1;

/// Page-locked memory. The context of the card that it was made with stays as long.
#[derive(Debug)]
pub struct Locked {
    first: NonNull<u8>,
    len: usize,
    context: Arc<CudaContext>,
}

/// All there is of it in this process: where each begins, and its bytes.
static KNOWN: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

/// Whether so many bytes from an address on are page-locked, all in one [`Locked`].
pub(super) fn is_locked(first: *const u8, len: usize) -> bool {
    let (first, known) = (first as usize, lock(&KNOWN));
    let before = known.range(..=first).next_back();
    before.is_some_and(|(at, room)| first - at + len <= *room)
}

impl Gpu {
    /// So many bytes of page-locked memory, at least 1, all of them 0. Pictures that lie in it need no copy by the CPU on their way
    /// to a card and from it.
    ///
    /// # Errors
    /// There is no such memory, or none left.
    pub fn locked(&self, len: usize) -> candle_core::Result<Locked> {
        Locked::new(self.device.cuda_stream().context(), len)
    }
}

// SAFETY: nobody else has the memory, and the driver takes calls from any thread.
unsafe impl Send for Locked {}
// SAFETY: who shares it can but read it.
unsafe impl Sync for Locked {}

impl Locked {
    pub(super) fn new(context: &Arc<CudaContext>, len: usize) -> candle_core::Result<Self> {
        // SAFETY: the context is current.
        let first = within(context, || unsafe { result::malloc_host(len, PORTABLE) }).w()?;
        let Some(first) = NonNull::new(first.cast::<u8>()) else {
            bail!("the driver has no page-locked memory");
        };
        // SAFETY: as many bytes are there.
        unsafe { first.write_bytes(0, len) };
        lock(&KNOWN).insert(first.as_ptr() as usize, len);
        let context = context.clone();
        Ok(Self {
            first,
            len,
            context,
        })
    }
}

impl AsRef<[u8]> for Locked {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: they were all written once.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl AsMut<[u8]> for Locked {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and nobody else has them.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        lock(&KNOWN).remove(&(self.first.as_ptr() as usize));
        let memory = self.first.as_ptr().cast();
        // SAFETY: it was made so; whoever lets a card copy it has waited for that. Of a card that has failed it stays.
        let _ = within(&self.context, || unsafe { result::free_host(memory) });
    }
}

/// Does something in a context. The one that is current on this thread, which may be anybody's, stays so.
fn within<T>(
    context: &CudaContext,
    run: impl FnOnce() -> Result<T, DriverError>,
) -> Result<T, DriverError> {
    // SAFETY: the context is there.
    unsafe { sys::cuCtxPushCurrent_v2(context.cu_ctx()) }.result()?;
    let done = run();
    let mut ours = ptr::null_mut();
    // SAFETY: there is one to be taken off again.
    let _ = unsafe { sys::cuCtxPopCurrent_v2(&mut ours) };
    done
}
