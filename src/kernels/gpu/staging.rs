//! What passes through page-locked memory of our own on its way to a card and from it.

use std::ffi::c_void;
use std::ops::Range;
use std::sync::Mutex;

use candle_core::bail;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaStream, sys};

use super::lock;
use super::locked::Locked;

/// Page-locked memory, and the copy of it that is under way.
#[derive(Debug)]
pub struct Pinned {
    memory: Locked,
    /// After the copy that was queued last.
    copied: CudaEvent,
}

impl Pinned {
    /// So many bytes, at least 1, for copies in streams of the context of this one.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn new(stream: &CudaStream, len: usize) -> candle_core::Result<Self> {
        Ok(Self {
            memory: Locked::new(stream.context(), len)?,
            copied: stream.context().new_event(None).w()?,
        })
    }

    /// An error unless there are so many bytes.
    ///
    /// # Errors
    /// As said.
    pub(super) fn expect(&self, len: usize) -> candle_core::Result<()> {
        match self.memory.as_ref().len() {
            found if found == len => Ok(()),
            found => bail!("{found} page-locked bytes for {len}"),
        }
    }

    /// All bytes, once the copy that was queued last is done.
    ///
    /// # Errors
    /// The card has failed.
    pub fn bytes(&mut self) -> candle_core::Result<&mut [u8]> {
        self.copied.synchronize().w()?;
        Ok(self.memory.as_mut())
    }

    /// Bytes of which no copy is under way, whatever is of the others.
    ///
    /// # Safety
    /// As said, as long as they are borrowed.
    pub(super) unsafe fn part(&self, part: Range<usize>) -> &[u8] {
        &self.memory.as_ref()[part]
    }

    /// Lets `fill` write all bytes, and queues a copy of each part to the card that it calls `send` for, from any thread.
    ///
    /// # Errors
    /// Those of the driver.
    ///
    /// # Safety
    /// The card has as many bytes there, and frees them behind what is in the stream; a part is not written any more once it was sent.
    pub(super) unsafe fn upload_parts(
        &mut self,
        stream: &CudaStream,
        to: u64,
        fill: impl FnOnce(&mut [u8], &(dyn Fn(Range<usize>) + Sync)),
    ) -> candle_core::Result<()> {
        let bytes = self.bytes()?;
        let first = bytes.as_ptr() as usize;
        let failed = Mutex::new(Ok(()));
        let send = |part: Range<usize>| {
            let (from, to) = (first + part.start, to + part.start as u64);
            let queued = stream.context().bind_to_thread().and_then(|()| {
                let (from, stream) = (from as *const c_void, stream.cu_stream());
                // SAFETY: as the caller promises; whoever touches the bytes, or frees them, waits for the copy.
                unsafe { sys::cuMemcpyHtoDAsync_v2(to, from, part.len(), stream) }.result()
            });
            if queued.is_err() {
                *lock(&failed) = queued;
            }
        };
        fill(bytes, &send);
        // whatever was queued
        let remembered = remember(&self.copied, stream);
        lock(&failed).w()?;
        remembered
    }

    /// Queues a copy from an address of the card to a part of the bytes.
    ///
    /// # Errors
    /// Those of the driver.
    ///
    /// # Safety
    /// The card has as many bytes there, and keeps them until they are copied.
    pub(super) unsafe fn download_part(
        &mut self,
        stream: &CudaStream,
        from: u64,
        part: Range<usize>,
    ) -> candle_core::Result<()> {
        stream.context().bind_to_thread().w()?;
        let to = &mut self.memory.as_mut()[part];
        // SAFETY: as the caller promises; whoever touches the bytes, or frees them, waits for the copy.
        let queued = unsafe {
            sys::cuMemcpyDtoHAsync_v2(to.as_mut_ptr().cast(), from, to.len(), stream.cu_stream())
        };
        let remembered = remember(&self.copied, stream);
        queued.result().w()?;
        remembered
    }

    /// Queues a copy of as many bytes as there are from an address of the card.
    ///
    /// # Errors
    /// Those of the driver.
    ///
    /// # Safety
    /// The card has as many bytes there, and frees them behind what is in the stream.
    pub unsafe fn download(&mut self, stream: &CudaStream, from: u64) -> candle_core::Result<()> {
        let all = 0..self.memory.as_ref().len();
        // SAFETY: as the caller promises.
        unsafe { self.download_part(stream, from, all) }
    }
}

/// From now on who waits for the event waits for all that is in the stream.
pub(super) fn remember(event: &CudaEvent, stream: &CudaStream) -> candle_core::Result<()> {
    let remembered = event.record(stream);
    if remembered.is_err() {
        // then nobody could wait for it
        let _ = stream.synchronize();
    }
    remembered.w()
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // before the memory goes; of a card that has failed nothing is copied any more
        let _ = self.copied.synchronize();
    }
}
