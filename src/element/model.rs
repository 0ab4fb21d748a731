//! The network: read in a thread of its own, waited for by the first buffer.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use gst::glib;
use gst::prelude::*;

use super::bridge::{self, Failure};
use super::tiers::FIRST;
use crate::error::Error;
use crate::network::{self, Variant};

/// Code of the PROGRESS messages.
const PROGRESS: &str = "load-model";

/// What is to be loaded, and where it is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Empty: the built-in network.
    pub model: String,
    pub device: String,
}

/// Fails unless this build can run networks on `device`.
pub fn check_device(device: &str) -> Result<(), Failure> {
    let is_cuda = device == "cuda"
        || device
            .strip_prefix("cuda:")
            .is_some_and(|n| n.parse::<u32>().is_ok());
    match device {
        "auto" | "cpu" => Ok(()),
        _ if is_cuda => Err(Failure::Device(format!(
            "device {device}: this build of the plugin has no CUDA; set the property device to \"auto\" or \"cpu\", or install a build with CUDA"
        ))),
        _ => Err(Failure::Device(format!(
            "device {device} is unknown; the property device takes \"auto\", \"cpu\", \"cuda\" or \"cuda:N\""
        ))),
    }
}

enum Loading {
    Idle,
    Running,
    Ready(network::Model),
    Failed,
}

struct Shared {
    wanted: Option<Wanted>,
    loading: Loading,
    /// Counts the loads, so that a thread whose load is no longer wanted knows it.
    generation: u64,
    /// Nobody may wait now.
    cancelled: bool,
}

/// The one network of an element.
pub struct Model {
    shared: Arc<(Mutex<Shared>, Condvar)>,
}

impl Default for Model {
    fn default() -> Self {
        let shared = Shared {
            wanted: None,
            loading: Loading::Idle,
            generation: 0,
            cancelled: false,
        };
        Model {
            shared: Arc::new((Mutex::new(shared), Condvar::new())),
        }
    }
}

/// The mutex guards plain data that is never left half written.
fn lock(shared: &(Mutex<Shared>, Condvar)) -> MutexGuard<'_, Shared> {
    shared.0.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Model {
    /// Begins to load what is wanted, unless that is there, under way, or has failed since
    /// [`Model::forgive`]. PROGRESS messages tell of it; a load that fails is one ERROR message.
    pub fn begin(&self, element: &gst::Element, wanted: Wanted) -> Result<(), Failure> {
        check_device(&wanted.device)?;
        let generation = {
            let mut shared = lock(&self.shared);
            let current = shared.wanted.as_ref() == Some(&wanted);
            if current && !matches!(shared.loading, Loading::Idle) {
                return Ok(());
            }
            shared.wanted = Some(wanted.clone());
            shared.loading = Loading::Running;
            shared.generation += 1;
            shared.generation
        };
        let (shared, element) = (self.shared.clone(), element.downgrade());
        let model = wanted.model.clone();
        std::thread::Builder::new()
            .name("load-model".into())
            .spawn(move || run(&shared, &element, &wanted, generation))
            .map(drop)
            .map_err(|e| {
                lock(&self.shared).loading = Loading::Failed;
                Failure::Model {
                    model,
                    problem: format!("cannot start a thread to load it: {e}"),
                }
            })
    }

    /// Waits until the network is there.
    ///
    /// # Errors
    /// `Flushing` if the wait was cancelled, `Error` if loading failed (a message is out).
    pub fn wait(&self) -> Result<network::Model, gst::FlowError> {
        let mut shared = lock(&self.shared);
        loop {
            match &shared.loading {
                _ if shared.cancelled => return Err(gst::FlowError::Flushing),
                Loading::Ready(model) => return Ok(model.clone()),
                Loading::Failed => return Err(gst::FlowError::Error),
                Loading::Idle => return Err(gst::FlowError::Flushing),
                Loading::Running => {
                    let woken = self.shared.1.wait(shared);
                    shared = woken.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Family and version of the network, once it is there.
    pub fn name(&self) -> Option<String> {
        match &lock(&self.shared).loading {
            Loading::Ready(model) => Some(model.name()),
            _ => None,
        }
    }

    /// Whether anybody may wait; with `true` those who do are woken.
    pub fn set_cancelled(&self, cancelled: bool) {
        lock(&self.shared).cancelled = cancelled;
        self.shared.1.notify_all();
    }

    /// Lets a load that has failed be tried again.
    pub fn forgive(&self) {
        let mut shared = lock(&self.shared);
        if matches!(shared.loading, Loading::Failed) {
            shared.loading = Loading::Idle;
        }
    }

    /// Lets the network go; a load under way comes to nothing.
    pub fn clear(&self) {
        let mut shared = lock(&self.shared);
        shared.generation += 1;
        shared.wanted = None;
        shared.loading = Loading::Idle;
        drop(shared);
        self.shared.1.notify_all();
    }
}

/// The loading thread. The element is held only to post, so that it can go away meanwhile.
fn run(
    shared: &(Mutex<Shared>, Condvar),
    element: &glib::WeakRef<gst::Element>,
    wanted: &Wanted,
    generation: u64,
) {
    let progress = |type_, text: &str| {
        if let Some(element) = element.upgrade() {
            let message = gst::message::Progress::builder(type_, PROGRESS, text).src(&element);
            // without a bus there is nobody to tell
            let _ = element.post_message(message.build());
        }
    };
    let what = match wanted.model.as_str() {
        "" => "the built-in network".into(),
        path => format!("model {path}"),
    };
    progress(gst::ProgressType::Start, &format!("Loading {what}"));
    let result = load(&wanted.model);
    let is_wanted = || lock(shared).generation == generation;
    if !is_wanted() {
        progress(
            gst::ProgressType::Canceled,
            &format!("No longer wanted: {what}"),
        );
        return;
    }
    // told before the streaming thread wakes and ends the stream
    let loading = match result {
        Ok(loaded) => {
            let text = format!("Loaded {what}: {}", loaded.name());
            gst::info!(bridge::category(), "{text}");
            progress(gst::ProgressType::Complete, &text);
            Loading::Ready(loaded)
        }
        Err(failure) => {
            progress(gst::ProgressType::Error, &failure.to_string());
            if let Some(element) = element.upgrade() {
                bridge::post(&element, &failure);
            }
            Loading::Failed
        }
    };
    let mut guard = lock(shared);
    if guard.generation == generation {
        guard.loading = loading;
    }
    drop(guard);
    shared.1.notify_all();
}

/// Reads the network of this path, or all sizes of the built-in one, so that a change of them waits for nothing.
fn load(model: &str) -> Result<network::Model, Failure> {
    // A panic while reading must not leave the streaming thread waiting.
    let read = || match model {
        "" => {
            let mut all = Variant::ALL.into_iter();
            all.try_for_each(|variant| variant.network().map(drop))?;
            Ok(FIRST.network()?.into())
        }
        path => network::Model::open(Path::new(path)),
    };
    let failure = |problem| Failure::Model {
        model: model.into(),
        problem,
    };
    match std::panic::catch_unwind(read) {
        Ok(result) => result.map_err(|e: Error| failure(e.to_string())),
        Err(_) => Err(failure("the file is damaged".into())),
    }
}
