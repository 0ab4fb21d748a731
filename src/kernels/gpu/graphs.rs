//! Launches that come again, as graphs: the driver is told of them once, and queues all with one call.
//!
//! A graph stands for a list of launches, and is queued where a list is to be run that is the same to the last bit: what holds for the
//! list, as that its memory is there, holds for its graph, whatever became of that memory in between.

use std::sync::{Arc, Mutex};

use candle_core::bail;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{CudaGraph, CudaStream, result, sys};

use super::{Gpu, Launch, lock};
use crate::kernels::cuda::lists::Known;

/// Launches that are worth a graph.
const LEAST: usize = 3;

/// Launches that run one after the other.
pub struct Graph(Mutex<CudaGraph>);

// SAFETY: the driver takes calls about a graph from any thread, one at a time.
unsafe impl Send for Graph {}
// SAFETY: as above; the mutex lets one thread at a time.
unsafe impl Sync for Graph {}

impl Graph {
    /// Queues all of them.
    fn launch(&self, stream: &CudaStream) -> candle_core::Result<()> {
        let graph = lock(&self.0);
        stream.context().bind_to_thread().w()?;
        // SAFETY: the graph is whole, and nobody else calls the driver about it.
        unsafe { result::graph::launch(graph.cu_graph_exec(), stream.cu_stream()) }.w()
    }
}

impl Gpu {
    /// Queues launches one behind the other, those that come again as a graph from the second time on.
    ///
    /// # Safety
    /// As [`Gpu::run`].
    pub unsafe fn run_all(&self, launches: Vec<Launch>) -> candle_core::Result<()> {
        self.flush()?;
        // SAFETY: as the caller promises.
        unsafe { self.queue_all(launches) }
    }

    /// The same of what was kept back.
    ///
    /// # Safety
    /// As [`Gpu::run`].
    pub(super) unsafe fn queue_all(&self, launches: Vec<Launch>) -> candle_core::Result<()> {
        let known = match launches.len() >= LEAST && !self.is_timed() {
            true => lock(&self.lists).run(&launches),
            false => Known::Plain,
        };
        let graph = match known {
            Known::Graph(graph) => Some(graph),
            // SAFETY: as the caller promises.
            Known::Again => unsafe { self.capture(&launches) }
                .ok()
                .inspect(|graph| lock(&self.lists).keep(&launches, graph)),
            Known::Plain => None,
        };
        let Some(graph) = graph else {
            let mut launches = launches.into_iter();
            // SAFETY: as the caller promises.
            return launches.try_for_each(|launch| unsafe { self.queue(launch) });
        };
        self.count(|counts| {
            counts.graphs += 1;
            counts.launches += launches.len() as u64;
            counts.flop += launches.iter().map(|launch| launch.flop).sum::<u64>();
            counts.bytes += launches.iter().map(|launch| launch.bytes).sum::<u64>();
        });
        graph.launch(&self.device.cuda_stream())
    }

    /// Makes a graph of launches. They are told to a stream of their own, which runs nothing: in the card's own one the launches of
    /// others would get among them. All were run before, so that the driver has loaded them.
    ///
    /// # Safety
    /// As [`Gpu::run`], wherever the graph is launched.
    unsafe fn capture(&self, launches: &[Launch]) -> candle_core::Result<Arc<Graph>> {
        let stream = lock(&self.capturing);
        // what other threads do with the card is no concern of it
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        stream.begin_capture(mode).w()?;
        let told = launches.iter().try_for_each(|launch| {
            // SAFETY: as the caller promises.
            unsafe { self.launch_in(&stream, launch.clone()) }
        });
        // whatever was told, the capture has to end
        let graph = stream.end_capture(sys::CUgraphInstantiate_flags(0)).w();
        told?;
        match graph? {
            Some(graph) => Ok(Arc::new(Graph(Mutex::new(graph)))),
            None => bail!("the driver has made no graph"),
        }
    }
}
