//! Page-locked memory of the CPU that all passes through on its way to a card and from it: its copies go on while the CPU does
//! something else.

use std::ptr::NonNull;
use std::sync::Mutex;

use candle_core::bail;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaStream, result, sys};

/// Page-locked memory.
#[derive(Debug)]
pub struct Pinned {
    first: NonNull<u8>,
    len: usize,
    /// After the copy that was queued last.
    copied: CudaEvent,
}

// SAFETY: nobody else has the memory, and the driver takes calls from any thread.
unsafe impl Send for Pinned {}

impl Pinned {
    /// So many bytes, at least 1, for copies in streams of the context of this one.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn new(stream: &CudaStream, len: usize) -> candle_core::Result<Self> {
        let copied = stream.context().new_event(None).w()?;
        // SAFETY: the context is this thread's since it has made an event.
        let first = unsafe { result::malloc_host(len, 0) }.w()?;
        let Some(first) = NonNull::new(first.cast::<u8>()) else {
            bail!("the driver has no page-locked memory");
        };
        // SAFETY: as many bytes are there.
        unsafe { first.write_bytes(0, len) };
        Ok(Self { first, len, copied })
    }

    /// An error unless there are so many bytes.
    ///
    /// # Errors
    /// As said.
    pub(super) fn expect(&self, len: usize) -> candle_core::Result<()> {
        match self.len == len {
            true => Ok(()),
            false => bail!("{} page-locked bytes for {len}", self.len),
        }
    }

    /// All bytes, once the copy that was queued last is done.
    ///
    /// # Errors
    /// The card has failed.
    pub fn bytes(&mut self) -> candle_core::Result<&mut [u8]> {
        self.copied.synchronize().w()?;
        // SAFETY: they were all written once, and no copy reads or writes them any more.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) })
    }

    /// Queues a copy of all bytes to an address of the card.
    ///
    /// # Errors
    /// Those of the driver.
    ///
    /// # Safety
    /// The card has as many bytes there, and frees them behind what is in the stream.
    pub unsafe fn upload(&mut self, stream: &CudaStream, to: u64) -> candle_core::Result<()> {
        stream.context().bind_to_thread().w()?;
        let from = self.first.as_ptr().cast();
        // SAFETY: as the caller promises; whoever touches the bytes, or frees them, waits for the copy.
        let queued = unsafe { sys::cuMemcpyHtoDAsync_v2(to, from, self.len, stream.cu_stream()) };
        self.remember(stream, queued)
    }

    /// Queues a copy of as many bytes from an address of the card.
    ///
    /// # Errors
    /// Those of the driver.
    ///
    /// # Safety
    /// As [`Pinned::upload`].
    pub unsafe fn download(&mut self, stream: &CudaStream, from: u64) -> candle_core::Result<()> {
        stream.context().bind_to_thread().w()?;
        let to = self.first.as_ptr().cast();
        // SAFETY: as the caller promises; whoever touches the bytes, or frees them, waits for the copy.
        let queued = unsafe { sys::cuMemcpyDtoHAsync_v2(to, from, self.len, stream.cu_stream()) };
        self.remember(stream, queued)
    }

    /// What touches the bytes waits for what is in the stream now.
    fn remember(&self, stream: &CudaStream, queued: sys::CUresult) -> candle_core::Result<()> {
        let remembered = self.copied.record(stream);
        if remembered.is_err() {
            // then nobody could wait for it
            let _ = stream.synchronize();
        }
        queued.result().and(remembered).w()
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // of a card that has failed nothing is copied any more
        let _ = self.copied.synchronize();
        // SAFETY: the memory was made so, and no copy of it is under way.
        let _ = unsafe { result::free_host(self.first.as_ptr().cast()) };
    }
}

/// What pictures of one size pass through.
#[derive(Debug)]
pub struct Staging {
    pub(super) arriving: Mutex<Pinned>,
    pub(super) leaving: Mutex<Pinned>,
}

impl Staging {
    /// For pictures of so many bytes.
    pub(super) fn new(stream: &CudaStream, len: usize) -> candle_core::Result<Self> {
        let pinned = || Pinned::new(stream, len).map(Mutex::new);
        Ok(Self {
            arriving: pinned()?,
            leaving: pinned()?,
        })
    }
}
