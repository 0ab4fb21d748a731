//! Launches that come again, as graphs: the driver is told of them once, and queues all with one call. Those that need not wait for each
//! other may run side by side.
//!
//! A graph stands for a list of launches, and is queued where a list is to be run that is the same to the last bit: what holds for the
//! list, as that its memory is there, holds for its graph, whatever became of that memory in between.

use std::ptr;
use std::sync::{Arc, Mutex};

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{CudaContext, CudaStream, result, sys};

use super::{Gpu, Launch, lock};
use crate::kernels::cuda::lists::Known;
use crate::kernels::cuda::order::waits;

/// Launches that are worth a graph.
const LEAST: usize = 3;

/// Launches, each behind those that it waits for.
pub struct Graph {
    context: Arc<CudaContext>,
    /// What it is, and what runs it; null where there is none.
    graph: sys::CUgraph,
    runs: Mutex<sys::CUgraphExec>,
}

// SAFETY: the driver takes calls about a graph from any thread, one at a time: but for the mutex's nobody uses it after it was made.
unsafe impl Send for Graph {}
// SAFETY: as above; the mutex lets one thread at a time.
unsafe impl Sync for Graph {}

impl Graph {
    fn new(context: &Arc<CudaContext>) -> candle_core::Result<Self> {
        context.bind_to_thread().w()?;
        let mut graph = ptr::null_mut();
        // SAFETY: it writes one handle.
        unsafe { sys::cuGraphCreate(&mut graph, 0) }.result().w()?;
        Ok(Self {
            context: context.clone(),
            graph,
            runs: Mutex::new(ptr::null_mut()),
        })
    }

    /// Queues all of them.
    fn launch(&self, stream: &CudaStream) -> candle_core::Result<()> {
        let runs = lock(&self.runs);
        self.context.bind_to_thread().w()?;
        // SAFETY: the graph is whole, and nobody else calls the driver about it.
        unsafe { result::graph::launch(*runs, stream.cu_stream()) }.w()
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        let runs = *lock(&self.runs);
        // A driver that fails here has failed before; what it keeps goes with the process.
        let _ = self.context.bind_to_thread();
        // SAFETY: nobody else has the handles; what was launched of a graph runs on without it.
        unsafe {
            if !runs.is_null() {
                let _ = result::graph::exec_destroy(runs);
            }
            let _ = result::graph::destroy(self.graph);
        }
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
            Known::Again => unsafe { self.graph_of(&launches) }
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

    /// Makes a graph of launches. All were run before, so that the driver has loaded them.
    ///
    /// # Safety
    /// As [`Gpu::run`], wherever the graph is launched.
    unsafe fn graph_of(&self, launches: &[Launch]) -> candle_core::Result<Arc<Graph>> {
        let stream = self.device.cuda_stream();
        let graph = Graph::new(stream.context())?;
        let mut nodes: Vec<sys::CUgraphNode> = Vec::new();
        for (launch, waits) in launches.iter().zip(waits(launches)) {
            let behind: Vec<_> = waits.into_iter().map(|i| nodes[i]).collect();
            // SAFETY: as the caller promises; the nodes are of this graph.
            nodes.push(unsafe { self.add_to(&graph, launch.clone(), &behind) }?);
        }
        let mut runs = ptr::null_mut();
        // SAFETY: it writes one handle; the graph is whole.
        let made = unsafe { sys::cuGraphInstantiateWithFlags(&mut runs, graph.graph, 0) };
        made.result().w()?;
        *lock(&graph.runs) = runs;
        Ok(Arc::new(graph))
    }

    /// Adds a launch to a graph, behind nodes of it.
    ///
    /// # Safety
    /// As [`Gpu::graph_of`]; the nodes are of this graph.
    unsafe fn add_to(
        &self,
        graph: &Graph,
        mut launch: Launch,
        behind: &[sys::CUgraphNode],
    ) -> candle_core::Result<sys::CUgraphNode> {
        let function = self.function(launch.module, launch.function)?;
        let ([gx, gy, gz], [bx, by, bz]) = (launch.grid, launch.block);
        let mut arguments = launch.arguments();
        let parameters = sys::CUDA_KERNEL_NODE_PARAMS {
            func: function.cu_function(),
            gridDimX: gx,
            gridDimY: gy,
            gridDimZ: gz,
            blockDimX: bx,
            blockDimY: by,
            blockDimZ: bz,
            sharedMemBytes: 0,
            kernelParams: arguments.as_mut_ptr(),
            extra: ptr::null_mut(),
            kern: ptr::null_mut(),
            ctx: ptr::null_mut(),
        };
        let mut node = ptr::null_mut();
        // SAFETY: it writes one handle, and copies the arguments, which are those of the kernel, as the caller promises.
        let added = unsafe {
            sys::cuGraphAddKernelNode_v2(
                &mut node,
                graph.graph,
                behind.as_ptr(),
                behind.len(),
                &parameters,
            )
        };
        added.result().w()?;
        Ok(node)
    }
}
