//! What can be set, and what can be read.

use std::sync::LazyLock;

use gst::glib;
use gst::prelude::*;

use crate::keyframes;

const MOST_ITERATIONS: u32 = 20;
const MOST_FRAMES: u32 = 240;
const MOST_THREADS: u32 = 1024;

/// What the properties say.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub solve: keyframes::Settings,
    /// Most frames that wait for a keyframe.
    pub lookahead: u32,
    /// CPU threads; 0 is all.
    pub threads: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            solve: keyframes::Settings::default(),
            lookahead: 24,
            threads: 0,
        }
    }
}

impl Settings {
    /// A property's value; `None`: it is no setting.
    pub fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "iterations" => (self.solve.iterations as u32).to_value(),
            "tolerance" => f64::from(self.solve.tolerance).to_value(),
            "lookahead" => self.lookahead.to_value(),
            "threads" => self.threads.to_value(),
            _ => return None,
        })
    }

    /// Sets a property; its type and range have been checked.
    pub fn set(&mut self, name: &str, value: &glib::Value) {
        let number = || value.get::<u32>().unwrap_or_default();
        match name {
            "iterations" => self.solve.iterations = number() as usize,
            "tolerance" => self.solve.tolerance = value.get::<f64>().unwrap_or_default() as f32,
            "lookahead" => self.lookahead = number(),
            "threads" => self.threads = number(),
            _ => (),
        }
    }
}

/// What has been done.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    pub input: u64,
    pub output: u64,
    pub keyframes: u64,
    /// Keyframes that matched no frame.
    pub unmatched: u64,
    /// Frames made, from one keyframe and from two.
    pub made: [u64; 2],
    /// Frames of which a residual was measured, and those of which each step made it smaller.
    pub solved: u64,
    pub falling: u64,
    /// Residuals of the frame made last, before the first step and after each one, pixels.
    pub residuals: Vec<f32>,
}

impl Counters {
    /// A frame was made from so many keyframes.
    pub fn count(&mut self, keyframes: usize, residuals: Vec<f32>) {
        self.made[usize::from(keyframes > 1)] += 1;
        self.solved += u64::from(!residuals.is_empty());
        self.falling += u64::from(!residuals.is_empty() && residuals.is_sorted_by(|a, b| a > b));
        self.residuals = residuals;
    }

    /// The property `stats`.
    pub fn structure(&self) -> gst::Structure {
        let residuals = self.residuals.iter().map(|r| f64::from(*r));
        gst::Structure::builder("videokeyframes-stats")
            .field("in", self.input)
            .field("out", self.output)
            .field("keyframes", self.keyframes)
            .field("unmatched", self.unmatched)
            .field("made-from-one", self.made[0])
            .field("made-from-two", self.made[1])
            .field("solved", self.solved)
            .field("falling", self.falling)
            .field("residuals", gst::Array::new(residuals))
            .build()
    }
}

/// The properties.
pub fn specifications() -> &'static [glib::ParamSpec] {
    static SPECIFICATIONS: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
        let default = Settings::default();
        let uint = |name, nick, blurb, most, default| {
            glib::ParamSpecUInt::builder(name)
                .nick(nick)
                .blurb(blurb)
                .maximum(most)
                .default_value(default)
        };
        vec![
            uint(
                "iterations",
                "Iterations",
                "Most steps of the search for the frame that moves as its source; 0: none",
                MOST_ITERATIONS,
                default.solve.iterations as u32,
            )
            .mutable_playing()
            .build(),
            glib::ParamSpecDouble::builder("tolerance")
                .nick("Tolerance")
                .blurb("Residual, in pixels, below which no further step is taken")
                .minimum(0.0)
                .maximum(10.0)
                .default_value(f64::from(default.solve.tolerance))
                .mutable_playing()
                .build(),
            uint(
                "lookahead",
                "Lookahead",
                "Most frames that wait for the keyframe after them; 0: none waits",
                MOST_FRAMES,
                default.lookahead,
            )
            .mutable_ready()
            .build(),
            uint(
                "threads",
                "Threads",
                "CPU threads; 0 is all",
                MOST_THREADS,
                default.threads,
            )
            .mutable_ready()
            .build(),
            glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                .nick("Statistics")
                .blurb("What was done, and the residuals of the frame made last")
                .read_only()
                .build(),
        ]
    });
    &SPECIFICATIONS
}
