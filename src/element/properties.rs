//! The properties: what they are called, what they may be, where they lead.

use std::sync::{Arc, LazyLock};

use gst::glib;
use gst::prelude::*;

use super::bridge::Failure;
use super::caps::Wanted;
use super::model;
use super::tiers::FIRST;
use crate::curves::{Curves, Problem};
use crate::interpolator::{self, DEFAULT_SCENE_THRESHOLD};
use crate::network::Variant;
use crate::network::published::{ITERATIONS, MOST_ITERATIONS, MOST_RECURSION, RECURSION};

const DEFAULT_MULTIPLIER: gst::Fraction = gst::Fraction::new_raw(2, 1);
const NOT_SET: gst::Fraction = gst::Fraction::new_raw(0, 1);
const DEFAULT_MAX_GAP: gst::ClockTime = gst::ClockTime::from_seconds(2);
const LONGEST_MAX_GAP: gst::ClockTime = gst::ClockTime::from_seconds(60);
/// Below the interval of any stream: with it nothing is interpolated, and every frame is an anchor.
const SHORTEST_MAX_GAP: gst::ClockTime = gst::ClockTime::from_mseconds(1);
const MOST_THREADS: u32 = 1024;
/// The scale that the size of the picture decides.
const AUTOMATIC_SCALE: f64 = 0.0;
const LEAST_SCALE: f64 = 0.25;
const MOST_SCALE: f64 = 2.0;

/// Which size of the built-in network runs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstVideoInterpolateQuality")]
pub enum Quality {
    /// What the machine can do in the time there is.
    #[default]
    #[enum_value(
        name = "Auto: balanced; against a clock, with qos, what the machine can do in time",
        nick = "auto"
    )]
    Auto = 0,
    /// The smallest.
    #[enum_value(name = "Fast: the smallest network", nick = "fast")]
    Fast = 1,
    /// The usual one.
    #[enum_value(name = "Balanced: the usual network", nick = "balanced")]
    Balanced = 2,
    /// The best.
    #[enum_value(
        name = "High: as balanced, motion sought in more detail",
        nick = "high"
    )]
    High = 3,
}

impl Quality {
    /// The size that it fixes; none where it is to be found out.
    pub fn variant(self) -> Option<Variant> {
        match self {
            Quality::Auto => None,
            Quality::Fast => Some(Variant::Fast),
            Quality::Balanced => Some(Variant::Balanced),
            Quality::High => Some(Variant::High),
        }
    }
}

/// What happens where two frames do not belong together.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstVideoInterpolateSceneAction")]
pub enum SceneAction {
    /// Hold the nearer of the two frames.
    #[default]
    #[enum_value(name = "Nearest: hold the nearer frame", nick = "nearest")]
    Nearest = 0,
    /// Dissolve one into the other.
    #[enum_value(name = "Blend: dissolve one into the other", nick = "blend")]
    Blend = 1,
    /// Up to the cut, and to the end, everything moves on.
    #[enum_value(
        name = "Predict: motion goes on up to the cut, as also across a short gap and at the end",
        nick = "predict"
    )]
    Predict = 2,
}

/// What an output waits for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstVideoInterpolateLatencyMode")]
pub enum LatencyMode {
    /// The frame after it.
    #[default]
    #[enum_value(
        name = "Frame: outputs are made between two frames, a frame later",
        nick = "frame"
    )]
    Frame = 0,
    /// Nothing.
    #[enum_value(
        name = "Zero: outputs are predicted from the two frames before them, without delay",
        nick = "zero"
    )]
    Zero = 1,
}

/// What is seen instead of the picture.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstVideoInterpolateShow")]
pub enum Show {
    /// The picture.
    #[default]
    #[enum_value(name = "None: the picture", nick = "none")]
    None = 0,
    /// Motion as a colour wheel.
    #[enum_value(
        name = "Flow: motion as a colour wheel, white is still, black a cut",
        nick = "flow"
    )]
    Flow = 1,
    /// How far the motion is trusted.
    #[enum_value(
        name = "Confidence: how far the motion is trusted, white entirely, black not at all",
        nick = "confidence"
    )]
    Confidence = 2,
    /// Which of both frames the new one is taken from.
    #[enum_value(
        name = "Mask: white is taken from the earlier frame, black from the later one",
        nick = "mask"
    )]
    Mask = 3,
    /// The old rate beside the new one.
    #[enum_value(
        name = "Split: the input's frames on the left, the output's on the right",
        nick = "split"
    )]
    Split = 4,
    /// Whether motion is of one piece.
    #[enum_value(
        name = "Coherence: white where motion is of one piece, black where it is turbulent",
        nick = "coherence"
    )]
    Coherence = 5,
}

/// Whether motion is looked at for what contradicts itself.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstVideoInterpolateCoherence")]
pub enum Coherence {
    /// Never.
    #[default]
    #[enum_value(name = "Off: motion is taken as it is found", nick = "off")]
    Off = 0,
    /// Where there is much of it in a picture, it is trusted as far as it is coherent, and estimated again.
    #[enum_value(
        name = "Auto: where much motion contradicts itself it is trusted accordingly and estimated again",
        nick = "auto"
    )]
    Auto = 1,
}

/// How things go from one frame to the next.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstVideoInterpolateMotion")]
pub enum Motion {
    /// Evenly, but for what the frame before tells.
    #[default]
    #[enum_value(
        name = "Linear: evenly, but for what the frame before tells",
        nick = "linear"
    )]
    Linear = 0,
    /// As the frames before and after tell.
    #[enum_value(
        name = "Trajectory: as the frames before and after tell, a frame later",
        nick = "trajectory"
    )]
    Trajectory = 1,
}

/// What becomes of frames that repeat the one before.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstVideoInterpolateDuplicateMode")]
pub enum DuplicateMode {
    /// They are frames like others.
    #[default]
    #[enum_value(name = "Off: every frame counts, at its own time", nick = "off")]
    Off = 0,
    /// Cadences of them are recognised: they are left out, and the others put where they belong.
    #[enum_value(
        name = "Auto: recognise held pictures and pulldown, and retime them to the true motion",
        nick = "auto"
    )]
    Auto = 1,
}

/// The values of the properties that can be written.
#[derive(Debug, Clone)]
pub struct Settings {
    pub framerate: gst::Fraction,
    pub multiplier: gst::Fraction,
    pub quality: Quality,
    /// Empty: the built-in network.
    pub model: String,
    pub device: String,
    pub threads: u32,
    pub scale: f64,
    pub recursion: u32,
    pub iterations: u32,
    pub scene_threshold: f64,
    pub scene_action: SceneAction,
    pub max_gap: gst::ClockTime,
    pub show: Show,
    pub duplicate_mode: DuplicateMode,
    pub motion: Motion,
    pub coherence: Coherence,
    /// As it was written.
    pub curves: String,
    /// What that says.
    pub retiming: Result<Arc<Curves>, Problem>,
    pub latency_mode: LatencyMode,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            framerate: NOT_SET,
            multiplier: DEFAULT_MULTIPLIER,
            quality: Quality::default(),
            model: String::new(),
            device: "auto".into(),
            threads: 0,
            scale: AUTOMATIC_SCALE,
            recursion: RECURSION,
            iterations: ITERATIONS,
            scene_threshold: DEFAULT_SCENE_THRESHOLD,
            scene_action: SceneAction::default(),
            max_gap: DEFAULT_MAX_GAP,
            show: Show::default(),
            duplicate_mode: DuplicateMode::default(),
            motion: Motion::default(),
            coherence: Coherence::default(),
            curves: String::new(),
            retiming: Ok(Arc::default()),
            latency_mode: LatencyMode::default(),
        }
    }
}

impl Settings {
    pub fn wanted_rate(&self) -> Wanted {
        let set = |rate: gst::Fraction| (rate.numer() > 0).then_some(rate);
        Wanted {
            framerate: set(self.framerate),
            multiplier: set(self.multiplier),
        }
    }

    /// The network to load, and where it is to run: what is beyond the last frame is the CPU's.
    ///
    /// # Errors
    /// Both a card and that are asked for.
    pub fn wanted_model(&self) -> Result<model::Wanted, Failure> {
        let device = match (self.latency_mode, self.device.as_str()) {
            (LatencyMode::Zero, "auto" | "cpu") => "cpu",
            (LatencyMode::Zero, device) if device.starts_with("cuda") => {
                return Err(Failure::Device(format!(
                    "latency-mode=zero runs on the CPU alone, and the device is \"{device}\"; use the device \"auto\" or \"cpu\""
                )));
            }
            (_, device) => device,
        };
        Ok(model::Wanted {
            model: self.model.clone(),
            device: device.into(),
        })
    }

    /// What networks let one choose; a scale is the nearest that they have.
    pub fn network(&self) -> interpolator::Options {
        let nearest = |scale: f64| scale.clamp(LEAST_SCALE, MOST_SCALE).log2().round().exp2();
        let chosen = (self.scale != AUTOMATIC_SCALE).then_some(self.scale);
        interpolator::Options {
            scale: chosen.map(|scale| nearest(scale) as f32),
            recursion: self.recursion,
            iterations: self.iterations,
            longest: None,
        }
    }

    /// Whether the size of the network is to be found out.
    pub fn is_auto(&self) -> bool {
        self.model.is_empty() && self.quality == Quality::Auto
    }

    /// The size of the built-in network that runs, `found` where it is not fixed and may depend on time; none where
    /// a model was given.
    pub fn variant(&self, found: Variant, qos: bool) -> Option<Variant> {
        let found = if qos { found } else { FIRST };
        let built_in = self.model.is_empty();
        built_in.then(|| self.quality.variant().unwrap_or(found))
    }

    /// Whether motion is looked at: also to be seen.
    pub fn looks_for_turbulence(&self) -> bool {
        self.coherence == Coherence::Auto || self.show == Show::Coherence
    }

    /// What the engine is to do with two frames that are `interval` apart.
    pub fn engine(&self, interval: u64) -> interpolator::Settings {
        interpolator::Settings {
            motion: match self.motion {
                Motion::Linear => interpolator::Motion::Linear,
                Motion::Trajectory => interpolator::Motion::Trajectory,
            },
            coherence: match self.looks_for_turbulence() {
                true => interpolator::Coherence::Auto,
                false => interpolator::Coherence::Off,
            },
            interval: interval as f32,
            scene_threshold: self.scene_threshold,
            scene_action: match self.scene_action {
                SceneAction::Nearest | SceneAction::Predict => interpolator::SceneAction::Nearest,
                SceneAction::Blend => interpolator::SceneAction::Blend,
            },
            then: None,
        }
    }

    /// What a change of a property asks the element to do.
    pub fn set(&mut self, name: &str, value: &glib::Value) -> Change {
        // GObject has checked type and range against the specification
        fn take<T: for<'a> glib::value::FromValue<'a>>(to: &mut T, value: &glib::Value) {
            match value.get() {
                Ok(v) => *to = v,
                Err(e) => gst::warning!(super::bridge::category(), "property ignored: {e}"),
            }
        }
        match name {
            "framerate" => take(&mut self.framerate, value),
            "multiplier" => take(&mut self.multiplier, value),
            "quality" => take(&mut self.quality, value),
            "model" => self.model = text(value, ""),
            "device" => self.device = text(value, "auto"),
            "threads" => take(&mut self.threads, value),
            "scale" => take(&mut self.scale, value),
            "recursion" => take(&mut self.recursion, value),
            "reference-iterations" => take(&mut self.iterations, value),
            "scene-threshold" => take(&mut self.scene_threshold, value),
            "scene-action" => take(&mut self.scene_action, value),
            "max-gap" => {
                let mut ns = self.max_gap.nseconds();
                take(&mut ns, value);
                self.max_gap = gst::ClockTime::from_nseconds(ns);
            }
            "show" => take(&mut self.show, value),
            "duplicate-mode" => take(&mut self.duplicate_mode, value),
            "motion" => take(&mut self.motion, value),
            "coherence" => take(&mut self.coherence, value),
            "curves" => {
                self.curves = text(value, "");
                self.retiming = Curves::parse(&self.curves).map(Arc::new);
            }
            "latency-mode" => take(&mut self.latency_mode, value),
            _ => (),
        }
        match name {
            "framerate" | "multiplier" => Change::Rate,
            "max-gap" => Change::MaxGap,
            "scene-action" => Change::Ahead,
            "quality" => Change::Quality,
            "curves" => Change::Curves,
            _ => Change::Nothing,
        }
    }

    /// The value of a property, `None` for one that is not kept here.
    pub fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "framerate" => self.framerate.to_value(),
            "multiplier" => self.multiplier.to_value(),
            "quality" => self.quality.to_value(),
            "model" => self.model.to_value(),
            "device" => self.device.to_value(),
            "threads" => self.threads.to_value(),
            "scale" => self.scale.to_value(),
            "recursion" => self.recursion.to_value(),
            "reference-iterations" => self.iterations.to_value(),
            "scene-threshold" => self.scene_threshold.to_value(),
            "scene-action" => self.scene_action.to_value(),
            "max-gap" => self.max_gap.nseconds().to_value(),
            "show" => self.show.to_value(),
            "duplicate-mode" => self.duplicate_mode.to_value(),
            "motion" => self.motion.to_value(),
            "coherence" => self.coherence.to_value(),
            "curves" => self.curves.to_value(),
            "latency-mode" => self.latency_mode.to_value(),
            _ => return None,
        })
    }
}

fn text(value: &glib::Value, default: &str) -> String {
    let text = value.get::<Option<String>>().ok().flatten();
    text.filter(|t| !t.is_empty())
        .unwrap_or_else(|| default.into())
}

/// What the element does when a property has changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    Nothing,
    /// Settle the output rate anew.
    Rate,
    MaxGap,
    /// Predict elsewhere.
    Ahead,
    /// Find it out anew.
    Quality,
    /// See whether they can be read.
    Curves,
}

pub fn specifications() -> &'static [glib::ParamSpec] {
    static SPECS: LazyLock<Vec<glib::ParamSpec>> =
        LazyLock::new(|| [rates(), engine(), decisions(), counters()].concat());
    &SPECS
}

fn rates() -> Vec<glib::ParamSpec> {
    let max = gst::Fraction::new(i32::MAX, 1);
    vec![
        gst::ParamSpecFraction::builder("framerate")
            .nick("Frame rate")
            .blurb("Wanted output rate, where downstream leaves it open (0/1: not set)")
            .minimum(NOT_SET)
            .maximum(max)
            .default_value(NOT_SET)
            .mutable_playing()
            .build(),
        gst::ParamSpecFraction::builder("multiplier")
            .nick("Multiplier")
            .blurb("Wanted output rate as a multiple of the input's, where framerate is not set and downstream leaves it open (0/1: follow downstream only)")
            .minimum(NOT_SET)
            .maximum(max)
            .default_value(DEFAULT_MULTIPLIER)
            .mutable_playing()
            .build(),
    ]
}

fn engine() -> Vec<glib::ParamSpec> {
    vec![
        glib::ParamSpecEnum::builder_with_default("quality", Quality::default())
            .nick("Quality")
            .blurb("Size of the built-in network; of no meaning with a model")
            .mutable_playing()
            .build(),
        glib::ParamSpecString::builder("model")
            .nick("Model")
            .blurb("Path of a checkpoint to run instead of the built-in network (empty: the built-in one)")
            .default_value(Some(""))
            .mutable_ready()
            .build(),
        glib::ParamSpecString::builder("device")
            .nick("Device")
            .blurb("Where the network runs: auto, cpu, cuda, cuda:N")
            .default_value(Some("auto"))
            .mutable_ready()
            .build(),
        glib::ParamSpecUInt::builder("threads")
            .nick("Threads")
            .blurb("CPU threads (0: all)")
            .maximum(MOST_THREADS)
            .default_value(0)
            .mutable_ready()
            .build(),
        glib::ParamSpecDouble::builder("scale")
            .nick("Scale")
            .blurb("Resolution at which the built-in network and RIFE seek motion, relative to the usual one: 0.25, 0.5, 1 or 2 (0: half for large pictures)")
            .minimum(AUTOMATIC_SCALE)
            .maximum(MOST_SCALE)
            .default_value(AUTOMATIC_SCALE)
            .mutable_ready()
            .build(),
        glib::ParamSpecUInt::builder("recursion")
            .nick("Recursion")
            .blurb("How often FILM halves the way to a phase, to the nearest there is (0: scale its flows instead)")
            .maximum(MOST_RECURSION)
            .default_value(RECURSION)
            .mutable_ready()
            .build(),
        glib::ParamSpecUInt::builder("reference-iterations")
            .nick("Reference iterations")
            .blurb("Steps that a network with iterative references goes to a phase; each costs a whole run")
            .minimum(1)
            .maximum(MOST_ITERATIONS)
            .default_value(ITERATIONS)
            .mutable_ready()
            .build(),
    ]
}

fn decisions() -> Vec<glib::ParamSpec> {
    vec![
        glib::ParamSpecDouble::builder("scene-threshold")
            .nick("Scene threshold")
            .blurb("Difference of two frames above which there is a cut between them (0: no cuts)")
            .minimum(0.0)
            .maximum(1.0)
            .default_value(DEFAULT_SCENE_THRESHOLD)
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("scene-action", SceneAction::default())
            .nick("Scene action")
            .blurb("What is shown between two frames with a cut between them; predict: also where no frame follows")
            .mutable_playing()
            .build(),
        glib::ParamSpecUInt64::builder("max-gap")
            .nick("Longest gap")
            .blurb("Frames further apart than this are not interpolated between, in nanoseconds")
            .minimum(SHORTEST_MAX_GAP.nseconds())
            .maximum(LONGEST_MAX_GAP.nseconds())
            .default_value(DEFAULT_MAX_GAP.nseconds())
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("show", Show::default())
            .nick("Show")
            .blurb("What is seen instead of the picture, to look at what the network thinks")
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("duplicate-mode", DuplicateMode::default())
            .nick("Duplicate mode")
            .blurb("What becomes of frames that repeat the one before; auto adds latency")
            .mutable_ready()
            .build(),
        glib::ParamSpecEnum::builder_with_default("motion", Motion::default())
            .nick("Motion")
            .blurb(
                "How things go from one frame to the next; trajectory adds the latency of a frame",
            )
            .mutable_ready()
            .build(),
        glib::ParamSpecEnum::builder_with_default("coherence", Coherence::default())
            .nick("Coherence")
            .blurb("Whether motion that contradicts itself is trusted accordingly and estimated again; the built-in network's on the CPU")
            .mutable_playing()
            .build(),
        glib::ParamSpecString::builder("curves")
            .nick("Curves")
            .blurb("For labels of masks on the frames, the distance they have gone over the time between two frames: LABEL: [linear|cubic] TIME,DISTANCE ... [over SECONDS..SECONDS]; LABEL: hold; ...")
            .default_value(Some(""))
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("latency-mode", LatencyMode::default())
            .nick("Latency mode")
            .blurb("Whether outputs wait for the frame after them, or are predicted without; zero waits for nothing, also not for what motion and duplicate-mode ask for")
            .mutable_ready()
            .build(),
    ]
}

fn counters() -> Vec<glib::ParamSpec> {
    let counter = |name: &str, nick: &str, blurb: &str| {
        glib::ParamSpecUInt64::builder(name)
            .nick(nick)
            .blurb(blurb)
            .read_only()
            .build()
    };
    vec![
        counter("in", "In", "Number of input frames"),
        counter("out", "Out", "Number of output frames"),
        counter(
            "interpolated",
            "Interpolated",
            "Number of frames made between two",
        ),
        counter("duplicate", "Duplicate", "Number of frames shown again"),
        counter(
            "drop",
            "Drop",
            "Number of input frames that no output was made of",
        ),
        glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb("Counters, cuts, inference times in nanoseconds, device, model and kernels")
            .read_only()
            .build(),
    ]
}
