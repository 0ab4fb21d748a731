//! The way of pictures to the card and back: straight where they lie in page-locked memory, else through some of our own.
//!
//! They go up in the stream of who has the card open, where all that is made of them comes behind. They come down in a stream of their own, so that
//! the card makes the next one meanwhile. Nothing is under way there when nobody holds a [`Leaving`]: memory that is used
//! and freed in that first stream is never read by that one.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaStream, sys};

use super::exchange::{End, copy_of_rows};
use super::locked::is_locked;
use super::staging::{Pinned, remember};
use super::{Gpu, Queue, lock};
use crate::error::Result;
use crate::kernels::Context;
use crate::kernels::cuda::copies::{Band, bands, copy_here, copy_there};
use crate::kernels::cuda::picture::{DevicePicture, Sheet};
use crate::kernels::cuda::strips::{Strip, joined};
use crate::picture::{Picture, PictureMut};

/// What pictures of one size pass through.
#[derive(Debug)]
pub struct Staging {
    /// What comes down does so in this.
    back: Arc<CudaStream>,
    bands: Vec<Band>,
    arriving: Mutex<Pinned>,
    leaving: Mutex<Pinned>,
    /// After what the card reads where it lies.
    read: CudaEvent,
    /// Of what comes down: after each band, the last of them after all.
    arrived: Vec<CudaEvent>,
}

/// A sheet that pictures are made on, and when that is done.
#[derive(Debug)]
pub struct Output {
    pub sheet: Sheet,
    made: CudaEvent,
}

/// A picture that the card reads where it lies. When this goes it has been read.
#[must_use]
pub struct Reading<'a>(Option<&'a CudaEvent>);

impl Reading<'_> {
    /// Waits until it has been read.
    ///
    /// # Errors
    /// The card has failed.
    pub fn wait(mut self) -> Result<()> {
        Ok(self
            .0
            .take()
            .map_or(Ok(()), |event| event.synchronize())
            .w()?)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if let Some(event) = self.0.take() {
            // of a card that has failed nothing is read any more
            let _ = event.synchronize();
        }
    }
}

/// A picture that comes down. When this goes nothing is copied any more.
pub struct Leaving<'a, 'p> {
    through: Arc<Staging>,
    cpu: Context,
    to: &'a mut PictureMut<'p>,
    /// It is written by the card itself.
    is_direct: bool,
    /// What is read there.
    _from: Sheet,
}

impl Leaving<'_, '_> {
    /// Waits until the picture is there.
    ///
    /// # Errors
    /// The card has failed.
    pub fn take(self) -> Result<()> {
        let through = &*self.through;
        let arrived = |number: usize| through.arrived[number].synchronize().w();
        if self.is_direct {
            return Ok(arrived(through.bands.len() - 1)?);
        }
        let here = lock(&through.leaving);
        let band = |number, band: &Band| -> candle_core::Result<&[u8]> {
            arrived(number)?;
            // SAFETY: no copy writes these bytes any more, and who queues one needs the lock.
            Ok(unsafe { here.part(band.at.clone()) })
        };
        Ok(copy_here(
            &self.cpu,
            &through.bands,
            band,
            self.to.planes_mut(),
        )?)
    }
}

impl Drop for Leaving<'_, '_> {
    fn drop(&mut self) {
        // of a card that has failed nothing is copied any more
        let _ = self.through.back.synchronize();
    }
}

/// Which way rows are copied.
#[derive(Clone, Copy)]
enum Way {
    Up,
    Down,
}

/// Queues copies of all rows.
///
/// # Safety
/// They are there on both sides, page-locked on the CPU's, as long as they are copied.
unsafe fn queue_strips(way: Way, stream: &CudaStream, strips: &[Strip]) -> candle_core::Result<()> {
    stream.context().bind_to_thread().w()?;
    let queue = |strip: &Strip| {
        let (there, stream) = (strip.there.0, stream.cu_stream());
        let here = strip.here.0 as *mut std::ffi::c_void;
        let ends = [
            End::Host(here, strip.here.1),
            End::Card(there, strip.there.1),
        ];
        // SAFETY: as the caller promises.
        let queued = unsafe {
            match (way, strip.rows) {
                (Way::Up, 1) => sys::cuMemcpyHtoDAsync_v2(there, here, strip.bytes, stream),
                (Way::Down, 1) => sys::cuMemcpyDtoHAsync_v2(here, there, strip.bytes, stream),
                (Way::Up, rows) => {
                    let copy = copy_of_rows(ends[0], ends[1], (strip.bytes, rows));
                    sys::cuMemcpy2DAsync_v2(&copy, stream)
                }
                (Way::Down, rows) => {
                    let copy = copy_of_rows(ends[1], ends[0], (strip.bytes, rows));
                    sys::cuMemcpy2DAsync_v2(&copy, stream)
                }
            }
        };
        queued.result()
    };
    strips.iter().try_for_each(queue).w()
}

/// The way between a picture on the card and planes in page-locked memory (first byte, bytes, bytes from a row to the next); none
/// where a plane lies in other memory.
fn strips(
    there: &DevicePicture,
    planes: impl Iterator<Item = (*const u8, usize, usize)>,
) -> Option<Vec<Strip>> {
    let (format, size) = (there.format, (there.width as u32, there.height as u32));
    let strip = |(plane, (first, len, stride)): (usize, (*const u8, usize, usize))| {
        let (bytes, rows) = (format.row_bytes(plane, size.0), format.rows(plane, size.1));
        let reach = stride * (rows - 1) + bytes;
        (reach <= len && is_locked(first, reach)).then_some(Strip {
            there: there.planes[plane],
            here: (first as u64, stride),
            bytes,
            rows,
        })
    };
    let planes = planes.enumerate().take(format.planes());
    let strips: Option<Vec<_>> = planes.map(strip).collect();
    strips.map(joined)
}

impl Gpu {
    /// What pictures like that of a sheet pass through.
    ///
    /// # Errors
    /// There is no memory that can be page-locked.
    pub fn staging(&self, like: &Sheet) -> candle_core::Result<Staging> {
        let stream = self.device.cuda_stream();
        let context = stream.context();
        let (format, width, height) = like.shape();
        let strides = (0..format.planes()).map(|plane| like.rows(plane).1);
        let bands = bands(format, (width as u32, height as u32), strides);
        let event = || context.new_event(None).w();
        Ok(Staging {
            back: context.new_stream().w()?,
            arriving: Mutex::new(Pinned::new(&stream, like.room())?),
            leaving: Mutex::new(Pinned::new(&stream, like.room())?),
            read: event()?,
            arrived: bands
                .iter()
                .map(|_| event())
                .collect::<candle_core::Result<_>>()?,
            bands,
        })
    }

    /// Page-locked memory of so many bytes.
    ///
    /// # Errors
    /// There is none.
    pub fn pinned(&self, bytes: usize) -> candle_core::Result<Pinned> {
        Pinned::new(&self.device.cuda_stream(), bytes)
    }

    /// A sheet to make pictures on.
    ///
    /// # Errors
    /// The card fails.
    pub fn output(&self, sheet: Sheet) -> candle_core::Result<Output> {
        let made = self.device.cuda_stream().context().new_event(None).w()?;
        Ok(Output { sheet, made })
    }

    /// What makes the picture has been queued.
    ///
    /// # Errors
    /// The card fails.
    pub fn made(&self, output: &Output) -> candle_core::Result<()> {
        output.made.record(&self.device.cuda_stream()).w()
    }

    /// Queues a copy of the samples of a picture to the card. Where it lies in page-locked memory the card reads it there; else it
    /// has been read, on the threads of `cpu`, when the call returns.
    ///
    /// # Errors
    /// Another format or size, or the card fails.
    pub fn upload_picture<'a>(
        &self,
        cpu: &Context,
        from: &'a Picture,
        to: &Sheet,
        through: &'a Staging,
    ) -> Result<Reading<'a>> {
        let there = to.on(&Queue::new(self))?;
        from.expect(there.format, there.width as u32, there.height as u32)?;
        self.count(|counts| counts.up += to.room() as u64);
        let planes = (0..there.format.planes()).map(|plane| {
            let plane = from.plane(plane);
            (plane.data.as_ptr(), plane.data.len(), plane.stride)
        });
        let stream = self.device.cuda_stream();
        if let Some(strips) = strips(&there, planes) {
            // SAFETY: the picture is borrowed as long as `Reading` is there; the sheet's memory is of this stream.
            let queued = unsafe { queue_strips(Way::Up, &stream, &strips) };
            let reading = remember(&through.read, &stream).map(|()| Reading(Some(&through.read)));
            queued?;
            return Ok(reading?);
        }
        let mut here = lock(&through.arriving);
        here.expect(to.room())?;
        let first = there.planes[0].0;
        let fill = |bytes: &mut [u8], send: &(dyn Fn(Range<usize>) + Sync)| {
            copy_there(cpu, &through.bands, from, bytes, |band| {
                send(band.at.clone());
            });
        };
        // SAFETY: the staging is as large as the sheet, whose memory is of this stream; a band is sent when it is whole.
        unsafe { here.upload_parts(&stream, first, fill) }?;
        Ok(Reading(None))
    }

    /// Lets a picture come down from the card once it is made, see [`Gpu::made`]: straight to where it is wanted, if that is page-locked
    /// memory. Its sheet is not to be written meanwhile.
    ///
    /// # Errors
    /// Another format or size, or the card fails.
    pub fn download_picture<'a, 'p>(
        &self,
        cpu: &Context,
        from: &Output,
        to: &'a mut PictureMut<'p>,
        through: &Arc<Staging>,
    ) -> Result<Leaving<'a, 'p>> {
        let sheet = &from.sheet;
        let there = sheet.on(&Queue::new(self))?;
        sheet.expect(to)?;
        self.count(|counts| counts.down += sheet.room() as u64);
        through.back.wait(&from.made).w()?;
        let planes = to.planes_mut().iter_mut();
        let planes = planes.map(|p| (p.data.as_mut_ptr().cast_const(), p.data.len(), p.stride));
        let strips = strips(&there, planes);
        // whatever fails below, nothing is copied any more when this has gone
        let leaving = Leaving {
            through: through.clone(),
            cpu: cpu.clone(),
            to,
            is_direct: strips.is_some(),
            _from: sheet.clone(),
        };
        let last = through.bands.len() - 1;
        if let Some(strips) = strips {
            // SAFETY: `Leaving` has borrowed the picture and keeps the sheet.
            unsafe { queue_strips(Way::Down, &through.back, &strips) }?;
            through.arrived[last].record(&through.back).w()?;
            return Ok(leaving);
        }
        let mut here = lock(&through.leaving);
        here.expect(sheet.room())?;
        for (band, arrived) in through.bands.iter().zip(&through.arrived) {
            let from = there.planes[0].0 + band.at.start as u64;
            // SAFETY: the sheet has as many bytes, and `Leaving` keeps it.
            unsafe { here.download_part(&through.back, from, band.at.clone()) }?;
            arrived.record(&through.back).w()?;
        }
        Ok(leaving)
    }
}
