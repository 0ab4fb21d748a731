//! Pictures in a card's memory, as GStreamer's elements for NVIDIA cards hand them on: caps with the feature `memory:CUDAMemory`.
//!
//! Their library, `libgstcuda-1.0.so.0`, is opened where there is one. Of it no structure is looked into: their memory is mapped as any
//! other, for the CPU or with a flag of its own for the card.

use gst_video::VideoFormat;

/// What such caps have.
pub const FEATURE: &str = "memory:CUDAMemory";

/// Formats that the memory has since GStreamer 1.22; of any other the library would end the process.
pub const FORMATS: [VideoFormat; 21] = [
    VideoFormat::I420,
    VideoFormat::Yv12,
    VideoFormat::Nv12,
    VideoFormat::Nv21,
    VideoFormat::P01010le,
    VideoFormat::I42010le,
    VideoFormat::Y444,
    VideoFormat::Bgra,
    VideoFormat::Rgba,
    VideoFormat::Rgbx,
    VideoFormat::Bgrx,
    VideoFormat::Argb,
    VideoFormat::Abgr,
    VideoFormat::Rgb,
    VideoFormat::Bgr,
    VideoFormat::Y42b,
    VideoFormat::I42210le,
    VideoFormat::Yuy2,
    VideoFormat::Uyvy,
    VideoFormat::Rgbp,
    VideoFormat::Gbr,
];

/// Whether these fixed caps are of such pictures.
pub fn has(caps: &gst::CapsRef) -> bool {
    caps.features(0).is_some_and(|f| f.contains(FEATURE))
}

#[cfg(feature = "cuda")]
pub use real::{Sharing, There, depend, is_offered};

#[cfg(feature = "cuda")]
mod real {
    use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
    use std::marker::PhantomData;
    use std::mem::MaybeUninit;
    use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

    use gst::glib::ffi::{GFALSE, gboolean};
    use gst::glib::translate::{FromGlibPtrFull, ToGlibPtr};
    use gst::prelude::*;

    use super::super::bridge::{self, Layout, Stream};
    use crate::error::Error;
    use crate::kernels::cuda::picture::DevicePicture;
    use crate::kernels::device::Device;

    /// The type of GstContext that the context of a card is shared by.
    const CONTEXT: &str = "gst.cuda.context";
    /// Of the NVIDIA driver.
    const DRIVER: &CStr = c"libcuda.so.1";
    const LIBRARY: &CStr = c"libgstcuda-1.0.so.0";
    const RTLD_NOW: c_int = 2;
    /// Maps memory for the card (`GST_MAP_CUDA`).
    const MAP_CUDA: gst::ffi::GstMapFlags = gst::ffi::GST_MAP_FLAG_LAST << 1;

    unsafe extern "C" {
        fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
        fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    }

    /// What is called of the library. A `CudaContext` there is a GstObject.
    struct Library {
        context_new: unsafe extern "C" fn(c_uint) -> *mut gst::ffi::GstObject,
        context_new_wrapped: unsafe extern "C" fn(*mut c_void, c_int) -> *mut gst::ffi::GstObject,
        context_for_elements:
            unsafe extern "C" fn(*mut gst::ffi::GstObject) -> *mut gst::ffi::GstContext,
        pool_new: unsafe extern "C" fn(*mut gst::ffi::GstObject) -> *mut gst::ffi::GstBufferPool,
        is_cuda_memory: unsafe extern "C" fn(*mut gst::ffi::GstMemory) -> gboolean,
        /// Since 1.24; before, memory is handed on when it is there.
        memory_sync: Option<unsafe extern "C" fn(*mut gst::ffi::GstMemory)>,
    }

    fn library() -> Result<&'static Library, &'static str> {
        static OPEN: LazyLock<Result<Library, String>> = LazyLock::new(Library::open);
        OPEN.as_ref().map_err(String::as_str)
    }

    fn open(name: &CStr) -> Option<*mut c_void> {
        // SAFETY: a name that ends with a zero; what such libraries do as they are opened is nothing of ours.
        let library = unsafe { dlopen(name.as_ptr(), RTLD_NOW) };
        (!library.is_null()).then_some(library)
    }

    /// A function of a library.
    ///
    /// # Safety
    /// `F` is the type of a pointer to it.
    unsafe fn function<F: Copy>(library: *mut c_void, name: &CStr) -> Result<F, String> {
        const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
        // SAFETY: the library is open, and is never closed.
        let found = unsafe { dlsym(library, name.as_ptr()) };
        if found.is_null() {
            return Err(format!(
                "{} has no {}",
                LIBRARY.to_string_lossy(),
                name.to_string_lossy()
            ));
        }
        // SAFETY: as the caller promises.
        Ok(unsafe { std::mem::transmute_copy(&found) })
    }

    impl Library {
        fn open() -> Result<Self, String> {
            // first, for it takes less
            let missing = |name: &CStr| format!("{} cannot be opened", name.to_string_lossy());
            open(DRIVER).ok_or_else(|| missing(DRIVER))?;
            let library = open(LIBRARY).ok_or_else(|| {
                let missing = missing(LIBRARY);
                format!("{missing}; it comes with the plugin set bad of GStreamer, 1.22 or newer")
            })?;
            // SAFETY: so GStreamer declares them, since 1.22.
            let (load_driver, prepare_memory, found) = unsafe {
                let load_driver: unsafe extern "C" fn() -> gboolean =
                    function(library, c"gst_cuda_load_library")?;
                let prepare_memory: unsafe extern "C" fn() =
                    function(library, c"gst_cuda_memory_init_once")?;
                let found = Self {
                    context_new: function(library, c"gst_cuda_context_new")?,
                    context_new_wrapped: function(library, c"gst_cuda_context_new_wrapped")?,
                    context_for_elements: function(library, c"gst_context_new_cuda_context")?,
                    pool_new: function(library, c"gst_cuda_buffer_pool_new")?,
                    is_cuda_memory: function(library, c"gst_is_cuda_memory")?,
                    memory_sync: function(library, c"gst_cuda_memory_sync").ok(),
                };
                (load_driver, prepare_memory, found)
            };
            // SAFETY: GStreamer is initialised, as these want it.
            unsafe {
                if load_driver() == GFALSE {
                    return Err("the NVIDIA driver lacks what GStreamer needs".into());
                }
                prepare_memory();
            }
            Ok(found)
        }
    }

    /// Whether there are a driver and the library; the log says once why not.
    pub fn is_offered() -> bool {
        match library() {
            Ok(_) => true,
            Err(why) => {
                gst::info!(bridge::category(), "no caps with {}: {why}", super::FEATURE);
                false
            }
        }
    }

    /// Lets GStreamer, which remembers the caps of a plugin, look at them anew where what they depend on has come or gone.
    pub fn depend(plugin: &gst::Plugin) {
        const FOLDERS: [&str; 3] = [
            "/usr/lib/x86_64-linux-gnu",
            "/usr/lib64",
            "/usr/lib/wsl/lib",
        ];
        let names = [DRIVER, LIBRARY].map(|name| name.to_str().unwrap_or_default());
        let flags = gst::PluginDependencyFlags::empty();
        plugin.add_dependency(&["LD_LIBRARY_PATH"], &FOLDERS, &names, flags);
    }

    /// A buffer mapped for the card: its planes lie there as long as this lives.
    pub struct There<'a> {
        memory: *mut gst::ffi::GstMemory,
        info: gst::ffi::GstMapInfo,
        picture: DevicePicture,
        buffer: PhantomData<&'a gst::BufferRef>,
    }

    impl<'a> There<'a> {
        /// To be read, if it is a card's memory; all that was to be written to it is there.
        pub fn readable(buffer: &'a gst::BufferRef, stream: &Stream) -> Option<Self> {
            let layout = bridge::layout(buffer, stream).ok()?;
            let memory = (buffer.n_memory() == 1).then(|| buffer.peek_memory(0).as_mut_ptr())?;
            // SAFETY: the buffer keeps its memory as long as it is borrowed.
            let there = unsafe { Self::map(memory, gst::ffi::GST_MAP_READ, &layout, stream) }?;
            if let Some(sync) = library().ok()?.memory_sync {
                // SAFETY: it is such memory.
                unsafe { sync(memory) };
            }
            Some(there)
        }

        /// To be written, as above.
        pub fn writable(buffer: &'a mut gst::BufferRef, stream: &Stream) -> Option<Self> {
            let layout = bridge::layout(buffer, stream).ok()?;
            if buffer.n_memory() != 1 {
                return None;
            }
            let memory = buffer.peek_memory_mut(0).ok()?.as_mut_ptr();
            // SAFETY: as above; nobody else has the buffer.
            unsafe { Self::map(memory, gst::ffi::GST_MAP_WRITE, &layout, stream) }
        }

        /// Maps memory whose planes lie as the layout says.
        ///
        /// # Safety
        /// The memory is there for `'a`.
        unsafe fn map(
            memory: *mut gst::ffi::GstMemory,
            flags: gst::ffi::GstMapFlags,
            layout: &Layout,
            stream: &Stream,
        ) -> Option<Self> {
            let library = library().ok()?;
            let mut info = MaybeUninit::uninit();
            // SAFETY: the memory is there; what is mapped is unmapped once, by `drop`.
            let info = unsafe {
                let is_cuda = (library.is_cuda_memory)(memory) != GFALSE;
                let flags = flags | MAP_CUDA;
                if !is_cuda || gst::ffi::gst_memory_map(memory, info.as_mut_ptr(), flags) == GFALSE
                {
                    return None;
                }
                info.assume_init()
            };
            let mut planes = [(0, 0); 4];
            for (plane, (offset, stride)) in planes.iter_mut().zip(layout.planes(stream.format)) {
                *plane = (info.data as u64 + offset as u64, stride);
            }
            let picture = DevicePicture {
                format: stream.format,
                width: stream.info.width() as usize,
                height: stream.info.height() as usize,
                planes,
            };
            Some(Self {
                memory,
                info,
                picture,
                buffer: PhantomData,
            })
        }

        pub fn picture(&self) -> &DevicePicture {
            &self.picture
        }
    }

    impl Drop for There<'_> {
        fn drop(&mut self) {
            // SAFETY: it was mapped with this, and its buffer is still borrowed.
            unsafe { gst::ffi::gst_memory_unmap(self.memory, &mut self.info) };
        }
    }

    /// The context of a card that an element shares with others.
    #[derive(Default)]
    pub struct Sharing(Mutex<Option<gst::Object>>);

    impl Sharing {
        fn known(&self) -> MutexGuard<'_, Option<gst::Object>> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// Takes the one that somebody sets, unless one is known.
        pub fn set(&self, context: &gst::Context) {
            let found = context.structure().get::<gst::Object>(CONTEXT);
            if context.context_type() == CONTEXT
                && let Ok(found) = found
            {
                self.keep(found);
            }
        }

        /// Knows a context, unless one is known; answers with that which is. What is let go of is so without the lock.
        fn keep(&self, found: gst::Object) -> gst::Object {
            let mut known = self.known();
            known.get_or_insert_with(|| found.clone()).clone()
        }

        /// Lets go of it.
        pub fn forget(&self) {
            let old = self.known().take();
            drop(old);
        }

        /// Answers a neighbour that asks for a context and has found none behind the element: the one that is known, or one of the
        /// element's card, where it is to run on one.
        pub fn answer(&self, device: &str, query: &mut gst::query::Context) -> bool {
            let Ok(library) = library() else {
                return false;
            };
            if query.context_type() != CONTEXT {
                return false;
            }
            let known = self.known().clone();
            let own = || own_card(library, device);
            let Some(context) = known.or_else(own) else {
                return false;
            };
            let shared = for_elements(library, &self.keep(context));
            query.set_context(&shared);
            true
        }

        /// The context to use: what neighbours have, or the application; else one of the element's card, which both are told of.
        fn find(&self, element: &gst::Element, device: &str) -> Result<gst::Object, String> {
            let library = library()?;
            let known = self.known().clone();
            let known = known.or_else(|| {
                ask(element);
                self.known().clone()
            });
            if let Some(known) = known {
                return Ok(known);
            }
            let own = own_card(library, device).or_else(|| any_card(library));
            let own = self.keep(own.ok_or("there is no context of a card")?);
            let shared = for_elements(library, &own);
            element.set_context(&shared);
            let message = gst::message::HaveContext::builder(shared).src(element);
            // without a bus there is nobody to tell
            let _ = element.post_message(message.build());
            Ok(own)
        }

        /// A pool of buffers for these caps, at least so many.
        pub fn pool(
            &self,
            element: &gst::Element,
            device: &str,
            (caps, min, max): (&gst::Caps, u32, u32),
        ) -> Result<(gst::BufferPool, u32), gst::LoggableError> {
            let failed = |why: &str| gst::loggable_error!(bridge::category(), "{why}: {caps}");
            let context = self.find(element, device).map_err(|why| failed(&why))?;
            let library = library().map_err(failed)?;
            // SAFETY: it takes a reference of its own to the context, and answers with one to a new pool.
            let pool: Option<gst::BufferPool> = unsafe {
                let pool = (library.pool_new)(context.to_glib_none().0);
                (!pool.is_null()).then(|| FromGlibPtrFull::from_glib_full(pool))
            };
            let pool = pool.ok_or_else(|| failed("no pool"))?;
            let mut config = pool.config();
            config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META);
            config.set_params(Some(caps), 0, min, max);
            let set = pool.set_config(config);
            set.map_err(|_| failed("a pool refuses"))?;
            // it has put the size in
            let size = pool.config().params().map_or(0, |(_, size, ..)| size);
            Ok((pool, size))
        }
    }

    /// Asks the neighbours and then the application for a context; whoever has one sets it.
    fn ask(element: &gst::Element) {
        let mut query = gst::query::Context::new(CONTEXT);
        for pad in element.src_pads().into_iter().chain(element.sink_pads()) {
            if pad.peer_query(&mut query)
                && let Some(context) = query.context_owned()
            {
                element.set_context(&context);
                return;
            }
        }
        let message = gst::message::NeedContext::builder(CONTEXT).src(element);
        // without a bus there is nobody to ask
        let _ = element.post_message(message.build());
    }

    fn for_elements(library: &Library, context: &gst::Object) -> gst::Context {
        // SAFETY: it takes a reference of its own, and answers with one to what it has made.
        unsafe {
            FromGlibPtrFull::from_glib_full((library.context_for_elements)(
                context.to_glib_none().0,
            ))
        }
    }

    /// The context that networks run in on the card of this property; none where they cannot.
    fn own_card(library: &Library, device: &str) -> Option<gst::Object> {
        let opened = device.parse::<Device>().and_then(Device::open);
        let gpu = opened.inspect_err(tell).ok()??;
        let (context, device) = gpu.share();
        // SAFETY: the context is there as long as the process.
        new_object(unsafe { (library.context_new_wrapped)(context, device) })
    }

    fn tell(why: &Error) {
        gst::info!(bridge::category(), "no context of a card to share: {why}");
    }

    /// A context of the first card.
    fn any_card(library: &Library) -> Option<gst::Object> {
        // SAFETY: it answers with a new reference, or none.
        new_object(unsafe { (library.context_new)(0) })
    }

    fn new_object(context: *mut gst::ffi::GstObject) -> Option<gst::Object> {
        // SAFETY: the reference is new, and nobody else's.
        (!context.is_null()).then(|| unsafe { FromGlibPtrFull::from_glib_full(context) })
    }
}

#[cfg(not(feature = "cuda"))]
pub use none::{Sharing, depend, is_offered};

#[cfg(not(feature = "cuda"))]
mod none {
    use super::super::bridge;

    /// Not in a build without CUDA.
    pub fn is_offered() -> bool {
        false
    }

    /// A build without CUDA depends on nothing.
    pub fn depend(_: &gst::Plugin) {}

    /// There is none: the build is without CUDA.
    #[derive(Default)]
    pub struct Sharing;

    impl Sharing {
        pub fn set(&self, _: &gst::Context) {}

        pub fn forget(&self) {}

        pub fn answer(&self, _: &str, _: &mut gst::query::Context) -> bool {
            false
        }

        pub fn pool(
            &self,
            _: &gst::Element,
            _: &str,
            (caps, ..): (&gst::Caps, u32, u32),
        ) -> Result<(gst::BufferPool, u32), gst::LoggableError> {
            Err(gst::loggable_error!(
                bridge::category(),
                "this build has no CUDA: {caps}"
            ))
        }
    }
}
