//! The network: read in a thread of its own, waited for by the first buffer.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use gst::glib;
use gst::prelude::*;

use super::bridge::{self, Failure};
use super::economy::Economy;
use super::tiers::FIRST;
use crate::error::Error;
use crate::kernels::device::{Device, Gpu};
use crate::network::{self, Trial, Variant};

/// Code of the PROGRESS messages.
const PROGRESS: &str = "load-model";

/// What is to be loaded, and where it is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Empty: the built-in network.
    pub model: String,
    pub device: String,
}

/// A network that is there, and the card to run it on, if it is to be one.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub network: network::Model,
    pub gpu: Option<Arc<Gpu>>,
    /// How it runs there.
    pub trial: Trial,
    /// What the card is spared.
    pub economy: Option<Economy>,
}

/// The card that is asked for; with `auto` none until the network is known, and none where others have filled it: the load tells of that.
fn wanted_card(device: Device) -> Result<Option<Arc<Gpu>>, Failure> {
    match device {
        Device::Auto | Device::Cpu => Ok(None),
        Device::Cuda(_) => match device.open() {
            Err(Error::DeviceMemory { .. }) => Ok(None),
            card => Ok(card?),
        },
    }
}

/// Where a network is to run.
#[derive(Default)]
struct Place {
    /// The card, and how it runs there.
    card: Option<(Arc<Gpu>, Trial)>,
    /// What the one that was asked for lacks, so that the CPU has to do.
    lack: Option<String>,
}

/// Finds the place for the network, on the card that is open or one to be opened; where `auto` takes the CPU the log says why.
fn place_for(
    network: &network::Model,
    device: Device,
    card: Option<Arc<Gpu>>,
) -> Result<Place, Failure> {
    let find = || -> Result<_, Error> {
        let opened = card.map_or_else(|| device.open(), |card| Ok(Some(card)))?;
        let Some(gpu) = opened else {
            return Ok(None);
        };
        let trial = network.try_on(&gpu)?;
        Ok(Some((gpu, trial)))
    };
    match find() {
        Err(why) if device == Device::Auto => {
            gst::info!(
                bridge::category(),
                "{} runs on the CPU: {why}",
                network.name()
            );
            Ok(Place::default())
        }
        Err(lack @ Error::DeviceMemory { .. }) => Ok(Place {
            card: None,
            lack: Some(lack.to_string()),
        }),
        found => Ok(Place {
            card: found?,
            lack: None,
        }),
    }
}

enum Loading {
    Idle,
    Running,
    Ready(Loaded),
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
        if self.is_under_way(&wanted) {
            return Ok(());
        }
        let device = wanted.device.parse()?;
        let card = wanted_card(device)?;
        let generation = {
            let mut shared = lock(&self.shared);
            shared.wanted = Some(wanted.clone());
            shared.loading = Loading::Running;
            shared.generation += 1;
            shared.generation
        };
        let (shared, element) = (self.shared.clone(), element.downgrade());
        let model = wanted.model.clone();
        std::thread::Builder::new()
            .name("load-model".into())
            .spawn(move || {
                run(&shared, &element, (&wanted, device, card), generation);
            })
            .map(drop)
            .map_err(|e| {
                lock(&self.shared).loading = Loading::Failed;
                Failure::Model {
                    model,
                    problem: format!("cannot start a thread to load it: {e}"),
                }
            })
    }

    /// Whether this is there, being loaded, or has failed.
    fn is_under_way(&self, wanted: &Wanted) -> bool {
        let shared = lock(&self.shared);
        let current = shared.wanted.as_ref() == Some(wanted);
        current && !matches!(shared.loading, Loading::Idle)
    }

    /// Waits until the network is there.
    ///
    /// # Errors
    /// `Flushing` if the wait was cancelled, `Error` if loading failed (a message is out).
    pub fn wait(&self) -> Result<Loaded, gst::FlowError> {
        let mut shared = lock(&self.shared);
        loop {
            match &shared.loading {
                _ if shared.cancelled => return Err(gst::FlowError::Flushing),
                Loading::Ready(loaded) => return Ok(loaded.clone()),
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
            Loading::Ready(loaded) => Some(loaded.network.name()),
            _ => None,
        }
    }

    /// What the network runs on, `cpu` while that is not known.
    pub fn device(&self) -> String {
        match &lock(&self.shared).loading {
            Loading::Ready(Loaded { gpu: Some(gpu), .. }) => gpu.description(),
            _ => "cpu".into(),
        }
    }

    /// Spares the card from now on, or lets it go.
    pub fn economise(&self, economy: Economy) {
        if let Loading::Ready(loaded) = &mut lock(&self.shared).loading {
            match economy {
                Economy::Cpu => {
                    (loaded.gpu, loaded.economy) = (None, None);
                    loaded.trial = Trial::default();
                }
                _ => loaded.economy = Some(economy),
            }
        }
    }

    /// What the card is spared.
    pub fn economy(&self) -> Option<Economy> {
        match &lock(&self.shared).loading {
            Loading::Ready(loaded) => loaded.economy,
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
    (wanted, device, card): (&Wanted, Device, Option<Arc<Gpu>>),
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
    let result = load(&wanted.model, device, card);
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
        Ok((loaded, lack)) => {
            if let (Some(lack), Some(element)) = (lack, element.upgrade()) {
                let step = Economy::Cpu.text();
                gst::element_warning!(element, gst::ResourceError::NoSpaceLeft, ("{lack}; {step}"));
            }
            let place = match &loaded.gpu {
                Some(gpu) => format!("{}, {}", gpu.description(), loaded.trial.description),
                None => "the CPU".into(),
            };
            let text = format!("Loaded {what}: {}, runs on {place}", loaded.network.name());
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

/// Reads the network of this path, or all sizes of the built-in one, so that a change of them waits for nothing;
/// and finds out where it is to run.
/// The network, and what the card that was asked for lacks, if the CPU has to do.
fn load(
    model: &str,
    device: Device,
    card: Option<Arc<Gpu>>,
) -> Result<(Loaded, Option<String>), Failure> {
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
    let network = match std::panic::catch_unwind(read) {
        Ok(result) => result.map_err(|e: Error| failure(e.to_string()))?,
        Err(_) => return Err(failure("the file is damaged".into())),
    };
    let Place { card, lack } = place_for(&network, device, card)?;
    let (gpu, trial) = card.unzip();
    let loaded = Loaded {
        network,
        gpu,
        trial: trial.unwrap_or_default(),
        economy: None,
    };
    Ok((loaded, lack))
}
