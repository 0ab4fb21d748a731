//! Page-locked memory for the buffers on both sides, where a card makes the pictures: it reads and writes such buffers itself.

use gst_base::prelude::*;

#[cfg(feature = "cuda")]
pub use real::Locking;

/// Buffers begin at multiples of one more than this, as those that the base class proposes.
const ALIGNED: usize = 15;

/// Asks for buffers of this allocator in an answer to the ALLOCATION query: in pools of plain memory, and where there is no pool yet.
/// Pools and allocators of kinds of their own stay.
pub fn prefer(query: &mut gst::query::Allocation, allocator: &gst::Allocator) {
    let pool = query.allocation_pools().next().and_then(|(pool, ..)| pool);
    if pool.is_some_and(|pool| !is_plain(&pool)) {
        return;
    }
    let first = query.allocation_params().next();
    match first {
        None => {
            let params = gst::AllocationParams::new(gst::MemoryFlags::empty(), ALIGNED, 0, 0);
            query.add_allocation_param(Some(allocator), params);
        }
        Some((other, params)) if other.as_ref().is_none_or(is_system) => {
            query.set_nth_allocation_param(0, Some(allocator), params);
        }
        Some(_) => (),
    }
}

/// Whether a pool is one of GStreamer's own, of memory of the system.
fn is_plain(pool: &gst::BufferPool) -> bool {
    let kinds = [
        gst::BufferPool::static_type(),
        gst_video::VideoBufferPool::static_type(),
    ];
    let allocator = pool.config().allocator().and_then(|(other, _)| other);
    kinds.contains(&pool.type_()) && allocator.as_ref().is_none_or(is_system)
}

fn is_system(allocator: &gst::Allocator) -> bool {
    gst::Allocator::find(None).is_some_and(|system| system == *allocator)
}

#[cfg(feature = "cuda")]
mod real {
    use std::sync::{Arc, Mutex, OnceLock, PoisonError};

    use gst::glib;
    use gst::glib::translate::IntoGlib;
    use gst::prelude::*;
    use gst::subclass::prelude::*;

    use super::super::bridge;
    use crate::kernels::device::{Device, Gpu, Locked};

    /// The allocator of the card that an element runs on.
    #[derive(Default)]
    pub struct Locking(Mutex<Option<(String, gst::Allocator)>>);

    impl Locking {
        fn known(&self) -> std::sync::MutexGuard<'_, Option<(String, gst::Allocator)>> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// One for the card of this property; none where networks run on the CPU.
        pub fn allocator(&self, device: &str) -> Option<gst::Allocator> {
            let known = self.known().clone();
            if let Some((_, allocator)) = known.filter(|(of, _)| of == device) {
                return Some(allocator);
            }
            // why there is none is told where the network is loaded
            let gpu = device.parse::<Device>().and_then(Device::open).ok()??;
            let allocator = LockedAllocator::new(gpu).upcast::<gst::Allocator>();
            let old = self.known().replace((device.to_owned(), allocator.clone()));
            drop(old);
            Some(allocator)
        }

        /// Lets go of it; memory that others have stays.
        pub fn forget(&self) {
            let old = self.known().take();
            drop(old);
        }
    }

    glib::wrapper! {
        /// Allocates page-locked memory, and other where there is none left.
        pub struct LockedAllocator(ObjectSubclass<Allocator>) @extends gst::Allocator, gst::Object;
    }

    impl LockedAllocator {
        fn new(gpu: Arc<Gpu>) -> Self {
            let new: Self = glib::Object::new();
            // it has none yet
            let _ = new.imp().gpu.set(gpu);
            new
        }
    }

    /// What there is behind it. Memory keeps the card's context, whatever becomes of the allocator.
    #[derive(Default)]
    pub struct Allocator {
        gpu: OnceLock<Arc<Gpu>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Allocator {
        const NAME: &'static str = "GstVideoInterpolateAllocator";
        type Type = LockedAllocator;
        type ParentType = gst::Allocator;
    }

    impl ObjectImpl for Allocator {}
    impl GstObjectImpl for Allocator {}

    // SAFETY: it answers with new memory that whoever made it frees.
    unsafe impl AllocatorImpl for Allocator {
        unsafe fn alloc(
            &self,
            size: usize,
            params: &gst::AllocationParams,
        ) -> *mut gst::ffi::GstMemory {
            self.locked(size, params).unwrap_or_else(|| {
                let (system, params) = (std::ptr::null_mut(), params.as_ptr().cast_mut());
                // SAFETY: GStreamer's own allocator takes any size, and only reads the parameters.
                unsafe { gst::ffi::gst_allocator_alloc(system, size, params) }
            })
        }
    }

    impl Allocator {
        /// New memory that is page-locked, if there is such.
        fn locked(
            &self,
            size: usize,
            params: &gst::AllocationParams,
        ) -> Option<*mut gst::ffi::GstMemory> {
            let whole = size.checked_add(params.prefix())?;
            let whole = whole.checked_add(params.padding())?;
            let gpu = self.gpu.get().filter(|_| size > 0)?;
            let tell = |why: &candle_core::Error| {
                gst::info!(bridge::category(), "no page-locked memory: {why}");
            };
            let mut locked = gpu.locked(whole).inspect_err(tell).ok()?;
            let first = locked.as_mut().as_mut_ptr();
            if first as usize & params.align() != 0 {
                return None;
            }
            let owner = Box::into_raw(Box::new(locked)).cast();
            let flags = params.flags().into_glib();
            // SAFETY: as many bytes are there, all of them 0, until `release` is called, once.
            Some(unsafe {
                gst::ffi::gst_memory_new_wrapped(
                    flags,
                    first.cast(),
                    whole,
                    params.prefix(),
                    size,
                    owner,
                    Some(release),
                )
            })
        }
    }

    /// Frees what a memory of GStreamer's was made of.
    ///
    /// # Safety
    /// It is a [`Locked`] in a box, and nobody else's.
    unsafe extern "C" fn release(owner: glib::ffi::gpointer) {
        // SAFETY: as the caller promises.
        drop(unsafe { Box::from_raw(owner.cast::<Locked>()) });
    }
}

#[cfg(not(feature = "cuda"))]
pub use none::Locking;

#[cfg(not(feature = "cuda"))]
mod none {
    /// There is no such memory: the build is without CUDA.
    #[derive(Default)]
    pub struct Locking;

    impl Locking {
        pub fn allocator(&self, _: &str) -> Option<gst::Allocator> {
            None
        }

        pub fn forget(&self) {}
    }
}

#[cfg(test)]
mod tests {
    use gst::glib;
    use gst::subclass::prelude::*;

    use super::*;

    mod kinds {
        use super::*;

        #[derive(Default)]
        pub struct Pool;

        #[glib::object_subclass]
        impl ObjectSubclass for Pool {
            const NAME: &'static str = "TestOwnKindOfPool";
            type Type = super::Pool;
            type ParentType = gst::BufferPool;
        }

        impl ObjectImpl for Pool {}
        impl GstObjectImpl for Pool {}
        impl BufferPoolImpl for Pool {}

        #[derive(Default)]
        pub struct Allocator;

        #[glib::object_subclass]
        impl ObjectSubclass for Allocator {
            const NAME: &'static str = "TestOwnKindOfAllocator";
            type Type = super::Allocator;
            type ParentType = gst::Allocator;
        }

        impl ObjectImpl for Allocator {}
        impl GstObjectImpl for Allocator {}
        // SAFETY: nobody allocates with it.
        unsafe impl AllocatorImpl for Allocator {}
    }

    glib::wrapper! {
        pub struct Pool(ObjectSubclass<kinds::Pool>) @extends gst::BufferPool, gst::Object;
    }

    glib::wrapper! {
        pub struct Allocator(ObjectSubclass<kinds::Allocator>) @extends gst::Allocator, gst::Object;
    }

    fn allocator() -> gst::Allocator {
        glib::Object::new::<Allocator>().upcast()
    }

    /// Whether memory of ours is asked for, where an answer to the query has such pools and allocators.
    fn is_preferred(
        pools: &[Option<gst::BufferPool>],
        allocators: &[Option<gst::Allocator>],
    ) -> bool {
        let caps = gst_video::VideoCapsBuilder::new().build();
        let mut query = gst::query::Allocation::new(Some(&caps), true);
        let query = query.get_mut().expect("a new query");
        for pool in pools {
            query.add_allocation_pool(pool.as_ref(), 4096, 2, 5);
        }
        let params = || gst::AllocationParams::new(gst::MemoryFlags::empty(), 63, 8, 16);
        for allocator in allocators {
            query.add_allocation_param(allocator.as_ref(), params());
        }
        let ours = allocator();
        prefer(query, &ours);
        let found: Vec<_> = query.allocation_params().collect();
        assert!(found.len() >= allocators.len());
        if let Some((_, kept)) = found.first().filter(|_| !allocators.is_empty()) {
            // whatever is asked of it besides
            assert_eq!((kept.align(), kept.prefix(), kept.padding()), (63, 8, 16));
        }
        let pool = |(pool, size, min, max)| (pool, (size, min, max));
        for (found, wanted) in query.allocation_pools().map(pool).zip(pools) {
            assert_eq!(found, (wanted.clone(), (4096, 2, 5)));
        }
        found
            .first()
            .is_some_and(|(first, _)| first.as_ref() == Some(&ours))
    }

    #[test]
    fn plain_memory_becomes_ours_and_no_other() {
        gst::init().unwrap();
        let system = gst::Allocator::find(None);
        let plain = Some(gst::BufferPool::new());
        let video: Option<gst::BufferPool> = Some(gst_video::VideoBufferPool::new().upcast());
        let own: Option<gst::BufferPool> = Some(glib::Object::new::<Pool>().upcast());
        let of_other = gst::BufferPool::new();
        let config = of_other.config();
        config.set_allocator(Some(&allocator()), None);
        of_other.set_config(config).unwrap();
        for pools in [
            &[][..],
            &[None],
            &[plain],
            std::slice::from_ref(&video),
            &[video.clone(), own.clone()],
        ] {
            assert!(is_preferred(pools, &[]), "{pools:?}");
            assert!(is_preferred(pools, &[None]), "{pools:?}");
            let allocators = [system.clone(), Some(allocator())];
            assert!(is_preferred(pools, &allocators), "{pools:?}");
            assert!(!is_preferred(pools, &[Some(allocator())]), "{pools:?}");
        }
        for pool in [own, Some(of_other)] {
            let pools = std::slice::from_ref(&pool);
            assert!(!is_preferred(pools, &[]), "{pool:?}");
            assert!(!is_preferred(pools, &[None]), "{pool:?}");
        }
    }
}
