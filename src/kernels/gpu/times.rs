//! How long each kernel takes, for benches.

use std::collections::BTreeMap;

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaStream, sys};

use super::{Gpu, lock};
use crate::error::Result;
use crate::kernels::cuda::Convolution;

/// A kernel, and what it convolves.
type Name = (&'static str, Option<Convolution>);
/// Events around each run of a kernel.
pub(super) type Marks = Vec<(Name, [CudaEvent; 2])>;

/// One run of a kernel.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub kernel: &'static str,
    /// What it convolves, see [`Convolution`]; none of other kernels, and of transposed convolutions.
    pub convolution: Option<Convolution>,
    /// From when the one before was done to when this one was, in milliseconds.
    pub ms: f64,
}

/// Of all runs of a kernel.
#[derive(Debug, Clone, Copy, Default)]
pub struct Time {
    pub runs: usize,
    /// From when one before was done to when this one was, in milliseconds.
    pub ms: f64,
}

impl Gpu {
    /// What the kernels that are run meanwhile take, by their name; each is launched by itself, not in a graph.
    ///
    /// # Errors
    /// The card fails.
    pub fn timed(&self, run: impl FnOnce() -> Result<()>) -> Result<BTreeMap<&'static str, Time>> {
        let mut times = BTreeMap::<_, Time>::new();
        for Run { kernel, ms, .. } in self.runs(run)? {
            let time = times.entry(kernel).or_default();
            time.runs += 1;
            time.ms += ms;
        }
        Ok(times)
    }

    /// The kernels that are run meanwhile, one after the other; each is launched by itself, not in a graph.
    ///
    /// # Errors
    /// The card fails.
    pub fn runs(&self, run: impl FnOnce() -> Result<()>) -> Result<Vec<Run>> {
        *lock(&self.marks) = Some(Marks::new());
        let done = run();
        let marks = lock(&self.marks).take().unwrap_or_default();
        done?;
        let run = |((kernel, convolution), [before, after]): &(Name, [CudaEvent; 2])| {
            Ok(Run {
                kernel,
                convolution: *convolution,
                ms: f64::from(before.elapsed_ms(after).w()?),
            })
        };
        marks.iter().map(run).collect()
    }

    /// Whether somebody asks for times.
    pub(super) fn is_timed(&self) -> bool {
        lock(&self.marks).is_some()
    }

    /// Marks where the stream is now, if somebody asks for times.
    pub(super) fn mark(&self, stream: &CudaStream) -> candle_core::Result<Option<CudaEvent>> {
        if !self.is_timed() {
            return Ok(None);
        }
        let flags = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
        stream.record_event(flags).w().map(Some)
    }

    /// Keeps the times before and after the kernel that was launched last.
    pub(super) fn keep_mark(
        &self,
        name: Name,
        before: CudaEvent,
        stream: &CudaStream,
    ) -> candle_core::Result<()> {
        let after = self.mark(stream)?;
        if let (Some(after), Some(marks)) = (after, &mut *lock(&self.marks)) {
            marks.push((name, [before, after]));
        }
        Ok(())
    }
}
