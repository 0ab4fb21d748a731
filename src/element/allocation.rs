//! Memory: what is asked of downstream, what is offered upstream, and sharing it with a source.

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;
use gst_video::{VideoMeta, VideoOverlayCompositionMeta};

use super::bridge::{self, Stream};
use super::cuda_memory;
use super::imp::VideoInterpolate;
use super::locked_memory;
use super::state::Downstream;

/// Sources that are held while the next arrives, and the one that arrives: less starves a
/// decoder with a fixed number of surfaces.
fn needed_buffers(lookahead: u64) -> u32 {
    let window = lookahead + 1;
    u32::try_from(window + 1).unwrap_or(u32::MAX)
}

impl VideoInterpolate {
    /// Remembers what downstream takes; its pool is the base class's business.
    pub(super) fn decide(
        &self,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        let mut downstream = Downstream::default();
        for (api, params) in query.allocation_metas() {
            if api == VideoMeta::meta_api() {
                downstream.video_meta = true;
            } else if api == VideoOverlayCompositionMeta::meta_api() {
                downstream.overlays = Some(params.map(|p| p.to_owned()));
            }
        }
        self.state().downstream = downstream;
        if let Some(caps) = caps_on_card(query) {
            let pools: Vec<_> = query.allocation_pools().collect();
            let (min, max) = pools.first().map_or((0, 0), |(.., min, max)| (*min, *max));
            let (pool, size) = self.pool_on_card(&caps, min, max)?;
            match pools.is_empty() {
                true => query.add_allocation_pool(Some(&pool), size, min, max),
                false => query.set_nth_allocation_pool(0, Some(&pool), size, min, max),
            }
        } else if let Some(allocator) = self.locked_allocator() {
            locked_memory::prefer(query, &allocator);
        }
        self.parent_decide_allocation(query)
    }

    /// Of memory that a card reads and writes itself, where one makes the pictures.
    fn locked_allocator(&self) -> Option<gst::Allocator> {
        self.locking.allocator(&self.wanted_device())
    }

    fn pool_on_card(
        &self,
        caps: &gst::Caps,
        min: u32,
        max: u32,
    ) -> Result<(gst::BufferPool, u32), gst::LoggableError> {
        let element = self.obj();
        let device = self.wanted_device();
        self.sharing
            .pool(element.upcast_ref(), &device, (caps, min, max))
    }

    pub(super) fn propose(
        &self,
        decided: Option<&gst::query::Allocation>,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        match (decided.is_some(), caps_on_card(query)) {
            (true, Some(caps)) => {
                // the parent's would be of system memory
                let (pool, size) = self.pool_on_card(&caps, 0, 0)?;
                query.add_allocation_pool(Some(&pool), size, 0, 0);
            }
            (true, None) => {
                // the parent makes a pool of it
                if let Some(allocator) = self.locked_allocator() {
                    locked_memory::prefer(query, &allocator);
                }
            }
            // passthrough
            (false, _) => (),
        }
        self.parent_propose_allocation(decided, query)?;
        if decided.is_none() {
            // passthrough: downstream has answered
            return Ok(());
        }
        let (needed, overlays) = {
            let state = self.state();
            let needed = needed_buffers(state.lookahead());
            (needed, state.downstream.overlays.clone())
        };
        raise_minimum(query, needed);
        if query.find_allocation_meta::<VideoMeta>().is_none() {
            query.add_allocation_meta::<VideoMeta>(None);
        }
        if let Some(params) = overlays
            && query
                .find_allocation_meta::<VideoOverlayCompositionMeta>()
                .is_none()
        {
            query.add_allocation_meta::<VideoOverlayCompositionMeta>(params.as_deref());
        }
        Ok(())
    }

    /// Makes whoever waits for a buffer of the output pool give up, or lets them wait again.
    pub(super) fn set_pool_flushing(&self, flushing: bool) {
        if let Some(pool) = self.obj().buffer_pool()
            && pool.is_active()
        {
            pool.set_flushing(flushing);
        }
    }
}

/// The caps that memory is asked for, if that is a card's.
fn caps_on_card(query: &gst::query::Allocation) -> Option<gst::Caps> {
    query.get_owned().0.filter(|caps| cuda_memory::has(caps))
}

/// Asks for at least `needed` buffers in every pool of the answer.
fn raise_minimum(query: &mut gst::query::Allocation, needed: u32) {
    let pools: Vec<_> = query.allocation_pools().collect();
    for (i, (pool, size, min, max)) in (0..).zip(pools) {
        let min = min.max(needed);
        let max = if max == 0 { 0 } else { max.max(min) };
        if let Some(pool) = &pool {
            let mut config = pool.config();
            if let Some((caps, size, ..)) = config.params() {
                config.set_params(caps.as_ref(), size, min, max);
                // a pool that is in use already keeps its numbers
                let _ = pool.set_config(config);
            }
        }
        query.set_nth_allocation_pool(i, pool.as_ref(), size, min, max);
    }
}

/// Whether the planes lie as the caps alone say.
pub fn is_packed(buffer: &gst::BufferRef, stream: &Stream) -> bool {
    bridge::layout(buffer, stream)
        .is_ok_and(|layout| layout.has_planes_of(&bridge::default_layout(&stream.info), stream))
}

/// A buffer with metadata of its own on the memory of `source`, which is kept as long: a pool
/// would otherwise get it back with memory that somebody still reads.
pub fn reference(source: &gst::Buffer) -> gst::Buffer {
    let mut copy = source.copy();
    gst::ParentBufferMeta::add(copy.make_mut(), source);
    copy
}

/// Copies flags and all metas but those about memory.
pub fn copy_metas(from: &gst::BufferRef, to: &mut gst::BufferRef) {
    to.set_flags(from.flags() - gst::BufferFlags::TAG_MEMORY);
    from.foreach_meta(|meta| {
        if !meta.has_tag::<gst::meta::tags::Memory>()
            && !meta.has_tag::<gst::meta::tags::MemoryReference>()
        {
            // a meta that cannot be copied is left off
            let _ = meta.transform(to, &gst::meta::MetaTransformCopy::new(..));
        }
        std::ops::ControlFlow::Continue(())
    });
}
