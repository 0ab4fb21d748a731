//! The GObject: class, properties, states; what the base class calls leads to the other files.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::BaseTransformMode;
use gst_base::subclass::base_transform::GenerateOutputSuccess;
use gst_base::subclass::prelude::*;
use gst_video::VideoInfo;
use gst_video::subclass::prelude::*;

use super::cuda_memory::Sharing;
use super::locked_memory::Locking;
use super::model::Model;
use super::properties::{self, Change, Settings};
use super::state::{Engine, State};
use super::tiers::Tiers;
use super::{bridge, caps, stats};

/// The element. Locks are taken one at a time and only around plain data; the engine's is held
/// while a picture is made, by the one streaming thread.
#[derive(Default)]
pub struct VideoInterpolate {
    settings: Mutex<Settings>,
    state: Mutex<State>,
    engine: Mutex<Option<Engine>>,
    pub(super) model: Model,
    pub(super) sharing: Sharing,
    pub(super) locking: Locking,
}

/// A panic in another thread leaves plain data behind, at worst of an unfinished frame.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl VideoInterpolate {
    pub(super) fn settings(&self) -> MutexGuard<'_, Settings> {
        lock(&self.settings)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn engine(&self) -> MutexGuard<'_, Option<Engine>> {
        lock(&self.engine)
    }

    fn begin_loading(&self) -> Result<(), gst::StateChangeError> {
        let wanted = self.settings().wanted_model();
        let element = self.obj().clone().upcast::<gst::Element>();
        let begun = wanted.and_then(|wanted| self.model.begin(&element, wanted));
        begun.map_err(|failure| {
            bridge::post(&*self.obj(), &failure);
            gst::StateChangeError
        })
    }
}

#[glib::object_subclass]
impl ObjectSubclass for VideoInterpolate {
    const NAME: &'static str = "GstVideoInterpolate";
    type Type = super::VideoInterpolate;
    type ParentType = gst_video::VideoFilter;
}

impl ObjectImpl for VideoInterpolate {
    fn properties() -> &'static [glib::ParamSpec] {
        properties::specifications()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, spec: &glib::ParamSpec) {
        let (change, max_gap) = {
            let mut settings = self.settings();
            (settings.set(spec.name(), value), settings.max_gap)
        };
        match change {
            Change::Nothing => (),
            Change::Quality => self.state().tiers = Tiers::default(),
            Change::Curves => self.check_curves(),
            Change::Rate => self.obj().reconfigure_src(),
            Change::Ahead => {
                let ahead = self.settings().ahead();
                if let Some(scheduler) = &mut self.state().scheduler {
                    scheduler.set_ahead(ahead);
                }
            }
            Change::MaxGap => {
                if self.state().set_max_gap(max_gap) {
                    self.post_latency();
                }
            }
        }
    }

    fn property(&self, _id: usize, spec: &glib::ParamSpec) -> glib::Value {
        let setting = self.settings().get(spec.name());
        if let Some(value) = setting {
            return value;
        }
        let counters = self.state().counters.clone();
        match spec.name() {
            "in" => counters.input.to_value(),
            "out" => counters.output.to_value(),
            "interpolated" => counters.interpolated.to_value(),
            "duplicate" => counters.duplicate.to_value(),
            "drop" => counters.dropped().to_value(),
            _ => {
                let settings = self.settings().clone();
                let network = (self.model.name(), self.variant(), self.model.device());
                let window = self.state().window();
                stats::structure(&counters, &settings, window, network).to_value()
            }
        }
    }
}

impl GstObjectImpl for VideoInterpolate {}

impl ElementImpl for VideoInterpolate {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Video frame interpolator",
                "Filter/Effect/Video",
                "Raises the frame rate of video: makes frames between frames with a neural network",
                "The videointerpolate authors",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            [
                ("src", gst::PadDirection::Src),
                ("sink", gst::PadDirection::Sink),
            ]
            .into_iter()
            .filter_map(|(name, direction)| {
                let presence = gst::PadPresence::Always;
                gst::PadTemplate::new(name, direction, presence, &caps::template()).ok()
            })
            .collect()
        });
        &TEMPLATES
    }

    fn set_context(&self, context: &gst::Context) {
        self.sharing.set(context);
        self.parent_set_context(context);
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        match transition {
            gst::StateChange::NullToReady => self.begin_loading()?,
            gst::StateChange::ReadyToPaused => {
                self.expect_curves()?;
                self.begin_loading()?;
                self.model.set_cancelled(false);
            }
            gst::StateChange::PausedToReady => {
                // the parent waits for the streaming thread
                self.model.set_cancelled(true);
                self.set_pool_flushing(true);
            }
            _ => (),
        }
        let result = self.parent_change_state(transition);
        match transition {
            gst::StateChange::PausedToReady => self.model.forgive(),
            gst::StateChange::ReadyToNull => {
                self.model.clear();
                self.sharing.forget();
                self.locking.forget();
            }
            _ => (),
        }
        result
    }
}

impl BaseTransformImpl for VideoInterpolate {
    const MODE: BaseTransformMode = BaseTransformMode::NeverInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        *self.state() = State::default();
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        // frames and features go back to their pools; counters stay readable
        let mut state = self.state();
        let counters = state.counters.clone();
        let old = std::mem::take(&mut *state);
        state.counters = counters;
        drop(state);
        drop(old);
        self.drop_engine();
        Ok(())
    }

    fn transform_caps(
        &self,
        direction: gst::PadDirection,
        caps: &gst::Caps,
        filter: Option<&gst::Caps>,
    ) -> Option<gst::Caps> {
        Some(caps::transform(direction, caps, filter))
    }

    fn fixate_caps(
        &self,
        _direction: gst::PadDirection,
        caps: &gst::Caps,
        othercaps: gst::Caps,
    ) -> gst::Caps {
        let wanted = self.settings().wanted_rate();
        caps::fixate(caps, othercaps, &wanted)
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        self.on_sink_event(event)
    }

    fn src_event(&self, event: gst::Event) -> bool {
        self.on_src_event(event)
    }

    fn query(&self, direction: gst::PadDirection, query: &mut gst::QueryRef) -> bool {
        self.on_query(direction, query)
    }

    fn decide_allocation(
        &self,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        self.decide(query)
    }

    fn propose_allocation(
        &self,
        decide_query: Option<&gst::query::Allocation>,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        self.propose(decide_query, query)
    }

    /// Outputs get their metas in `meta.rs`, where it is known what they are.
    fn copy_metadata(
        &self,
        _inbuf: &gst::BufferRef,
        _outbuf: &mut gst::BufferRef,
    ) -> Result<(), gst::LoggableError> {
        Ok(())
    }

    fn submit_input_buffer(
        &self,
        is_discont: bool,
        inbuf: gst::Buffer,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.submit(is_discont, inbuf)
    }

    fn generate_output(&self) -> Result<GenerateOutputSuccess, gst::FlowError> {
        self.generate()
    }
}

impl VideoFilterImpl for VideoInterpolate {
    fn set_info(
        &self,
        incaps: &gst::Caps,
        in_info: &VideoInfo,
        outcaps: &gst::Caps,
        _out_info: &VideoInfo,
    ) -> Result<(), gst::LoggableError> {
        self.on_caps(incaps, in_info, outcaps)
    }
}
