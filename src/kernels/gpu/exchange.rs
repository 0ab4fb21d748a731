//! Pictures that others have in the card's memory, in a context of theirs or in ours.

use std::ffi::c_void;
use std::ptr;

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::sys;

use super::{Gpu, Queue};
use crate::error::Result;
use crate::kernels::cuda::picture::{DevicePicture, Sheet};

/// A picture, and the context that its memory is of: none where the driver names none, as for memory that all can reach.
type Place<'a> = (&'a DevicePicture, Option<sys::CUcontext>);

impl Gpu {
    /// The context that all runs in (`CUcontext`), and its device (`CUdevice`), for others to use: from now on they stay there as long
    /// as the process.
    pub fn share(&self) -> (*mut c_void, i32) {
        let stream = self.device.cuda_stream();
        let context = stream.context();
        std::mem::forget(context.clone());
        (context.cu_ctx().cast(), context.cu_device())
    }

    /// Queues a copy of a picture that others have on a card.
    ///
    /// # Errors
    /// Another format or size, or the card fails.
    ///
    /// # Safety
    /// Its planes lie there, and stay until the copy is done.
    pub unsafe fn bring_picture(&self, from: &DevicePicture, to: &Sheet) -> Result<()> {
        let there = to.on(&Queue::new(self))?;
        // SAFETY: as the caller promises; the sheet is of this card's stream.
        let queued = unsafe { self.copy_planes((from, self.context_of(from)?), (&there, None)) };
        if queued.is_err() {
            // of some planes
            let _ = self.settle();
        }
        queued
    }

    /// Waits until all that was queued is done.
    ///
    /// # Errors
    /// The card has failed.
    pub fn settle(&self) -> Result<()> {
        Ok(self.device.cuda_stream().synchronize().w()?)
    }

    /// Copies a picture to where others have room for it on a card; it is there when the call returns.
    ///
    /// # Errors
    /// Another format or size, or the card fails.
    ///
    /// # Safety
    /// There is room for its planes, which nobody else looks at meanwhile.
    pub unsafe fn give_picture(&self, from: &Sheet, to: &DevicePicture) -> Result<()> {
        let here = from.on(&Queue::new(self))?;
        // SAFETY: as above.
        let queued = unsafe { self.copy_planes((&here, None), (to, self.context_of(to)?)) };
        // whatever was queued: others touch the memory next
        self.settle()?;
        queued
    }

    /// The context of the memory of a picture.
    fn context_of(&self, picture: &DevicePicture) -> Result<Option<sys::CUcontext>> {
        self.device.cuda_stream().context().bind_to_thread().w()?;
        let mut context: sys::CUcontext = ptr::null_mut();
        let attribute = sys::CUpointer_attribute::CU_POINTER_ATTRIBUTE_CONTEXT;
        let to = (&raw mut context).cast();
        // SAFETY: it writes one context, if it knows the address.
        let asked = unsafe { sys::cuPointerGetAttribute(to, attribute, picture.planes[0].0) };
        Ok((asked.result().is_ok() && !context.is_null()).then_some(context))
    }

    /// Queues copies of all planes.
    ///
    /// # Safety
    /// Both have them, as long as they are copied.
    unsafe fn copy_planes(&self, from: Place, to: Place) -> Result<()> {
        from.0.expect(to.0)?;
        let format = from.0.format;
        for plane in 0..format.planes() {
            let rows = Rows {
                from: (from.0.planes[plane], from.1),
                to: (to.0.planes[plane], to.1),
                bytes: format.row_bytes(plane, from.0.width as u32),
                count: format.rows(plane, from.0.height as u32),
            };
            // SAFETY: as the caller promises.
            unsafe { self.copy_rows(&rows) }?;
        }
        Ok(())
    }

    /// Queues a copy.
    ///
    /// # Safety
    /// The rows are there on both sides, as long as they are copied.
    unsafe fn copy_rows(&self, rows: &Rows) -> Result<()> {
        let stream = self.device.cuda_stream();
        let ours = stream.context().cu_ctx();
        stream.context().bind_to_thread().w()?;
        let queued = match [rows.from.1, rows.to.1].map(|context| context.unwrap_or(ours)) {
            contexts if contexts == [ours; 2] => {
                // SAFETY: as the caller promises.
                unsafe { sys::cuMemcpy2DAsync_v2(&rows.within(), stream.cu_stream()) }
            }
            contexts => {
                let copy = rows.between(contexts);
                // SAFETY: as the caller promises.
                unsafe { sys::cuMemcpy3DPeerAsync(&copy, stream.cu_stream()) }
            }
        };
        Ok(queued.result().w()?)
    }
}

/// Rows to be copied: their first address and bytes from one to the next on both sides, each with its context.
struct Rows {
    from: ((u64, usize), Option<sys::CUcontext>),
    to: ((u64, usize), Option<sys::CUcontext>),
    bytes: usize,
    count: usize,
}

/// One side of a copy of rows: its first byte, and bytes from a row to the next.
#[derive(Clone, Copy)]
pub(super) enum End {
    Card(u64, usize),
    /// In page-locked memory.
    Host(*mut c_void, usize),
}

/// As the driver wants to be told of so many rows of so many bytes.
pub(super) fn copy_of_rows(
    from: End,
    to: End,
    (bytes, count): (usize, usize),
) -> sys::CUDA_MEMCPY2D_st {
    let side = |end: End| match end {
        End::Card(at, pitch) => (DEVICE, at, ptr::null_mut(), pitch),
        End::Host(at, pitch) => (HOST, 0, at, pitch),
    };
    let (from, to, none) = (side(from), side(to), ptr::null_mut());
    sys::CUDA_MEMCPY2D_st {
        srcXInBytes: 0,
        srcY: 0,
        srcMemoryType: from.0,
        srcHost: from.2,
        srcDevice: from.1,
        srcArray: none,
        srcPitch: from.3,
        dstXInBytes: 0,
        dstY: 0,
        dstMemoryType: to.0,
        dstHost: to.2,
        dstDevice: to.1,
        dstArray: none,
        dstPitch: to.3,
        WidthInBytes: bytes,
        Height: count,
    }
}

const DEVICE: sys::CUmemorytype = sys::CUmemorytype::CU_MEMORYTYPE_DEVICE;
const HOST: sys::CUmemorytype = sys::CUmemorytype::CU_MEMORYTYPE_HOST;

impl Rows {
    fn within(&self) -> sys::CUDA_MEMCPY2D_st {
        let card = |(at, pitch): (u64, usize)| End::Card(at, pitch);
        let size = (self.bytes, self.count);
        copy_of_rows(card(self.from.0), card(self.to.0), size)
    }

    fn between(&self, [from, to]: [sys::CUcontext; 2]) -> sys::CUDA_MEMCPY3D_PEER_st {
        let within = self.within();
        sys::CUDA_MEMCPY3D_PEER_st {
            srcXInBytes: 0,
            srcY: 0,
            srcZ: 0,
            srcLOD: 0,
            srcMemoryType: DEVICE,
            srcHost: within.srcHost,
            srcDevice: within.srcDevice,
            srcArray: within.srcArray,
            srcContext: from,
            srcPitch: within.srcPitch,
            srcHeight: self.count,
            dstXInBytes: 0,
            dstY: 0,
            dstZ: 0,
            dstLOD: 0,
            dstMemoryType: DEVICE,
            dstHost: within.dstHost,
            dstDevice: within.dstDevice,
            dstArray: within.dstArray,
            dstContext: to,
            dstPitch: within.dstPitch,
            dstHeight: self.count,
            WidthInBytes: self.bytes,
            Height: self.count,
            Depth: 1,
        }
    }
}
