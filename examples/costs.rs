//! What a start, a seek and the memory of the element cost, without a source or a sink around it.
//!
//! ```text
//! costs 1280x720 [property=value ...]
//! ```
//!
//! Prints, in milliseconds of wall time and of CPU time: from NULL to the first frame that is made; from a flush to the
//! next one; a new frame after that (mean over those of 30 pairs). And the largest resident memory of the process, in MB.
//! Frames come at 30 a second and leave at 60 if no `multiplier` says otherwise.

use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use gst::prelude::*;

#[path = "common/mod.rs"]
mod common;

use common::clip::Clip;
use common::program;

const USAGE: &str = "costs WIDTHxHEIGHT [property=value ...]";
/// Pairs of the steady part.
const PAIRS: usize = 30;
/// Different pictures, shown again and again.
const PICTURES: usize = 4;

fn main() -> ExitCode {
    program::exit_code(run)
}

fn run() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let size = arguments.next().ok_or(USAGE)?;
    let (width, height) = size.split_once('x').ok_or(USAGE)?;
    let number = |text: &str| {
        let number = text.parse().ok().filter(|n| (1..=16_384).contains(n));
        number.ok_or_else(|| format!("{text}: wanted a width or height, 1 to 16384"))
    };
    let size = (number(width)?, number(height)?);
    gst::init().map_err(|error| error.to_string())?;
    gstvideointerpolate::plugin_register_static().map_err(|error| error.to_string())?;
    let factory = gst::ElementFactory::make("videointerpolate");
    let element = factory.build().map_err(|error| error.to_string())?;
    for argument in arguments {
        let (name, value) = argument.split_once('=').ok_or(USAGE)?;
        let spec = element.find_property(name);
        let spec = spec.ok_or_else(|| format!("{name}: no such property"))?;
        let value = gst::glib::Value::deserialize_with_pspec(value, &spec);
        let value = value.map_err(|_| format!("{argument}: no such value"))?;
        element.set_property_from_value(name, &value);
    }
    let clip = Clip::new(size.0, size.1);
    let pictures = (0..PICTURES).map(|n| clip.at(0.9 + n as f32 / 30.0).data);
    let rig = Rig::new(element, size, pictures.collect());
    forget_peak();
    let first = timed(|| {
        rig.start()?;
        rig.new_frame().map(drop)
    })?;
    let sought = timed(|| {
        rig.seek();
        rig.new_frame().map(drop)
    })?;
    let mut made = 0;
    let steady = timed(|| {
        (0..PAIRS).try_for_each(|_| {
            made += rig.new_frame()?;
            Ok(())
        })
    })?;
    let memory = peak()?;
    let times = [
        ("first", first, 1),
        ("after a seek", sought, 1),
        ("each", steady, made),
    ];
    for (what, (wall, cpu), count) in times {
        let ms = |d: Duration| d.as_secs_f64() * 1e3 / count as f64;
        println!("{what}: {:.0} ms, CPU {:.0} ms", ms(wall), ms(cpu));
    }
    println!("{memory:.0} MB");
    rig.stop();
    Ok(())
}

/// Wall time and CPU time of `run`.
fn timed(run: impl FnOnce() -> Result<(), String>) -> Result<(Duration, Duration), String> {
    let (began, before) = (Instant::now(), program::cpu()?);
    run()?;
    Ok((began.elapsed(), program::cpu()? - before))
}

/// The element between two pads of our own.
struct Rig {
    element: gst::Element,
    src: gst::Pad,
    sink: gst::Pad,
    outputs: Receiver<bool>,
    size: (usize, usize),
    pictures: Vec<Vec<u8>>,
    count: std::cell::Cell<usize>,
}

impl Rig {
    fn new(element: gst::Element, size: (usize, usize), pictures: Vec<Vec<u8>>) -> Self {
        let (sender, outputs) = mpsc::channel();
        let src = gst::Pad::builder(gst::PadDirection::Src).build();
        let sink = gst::Pad::builder(gst::PadDirection::Sink)
            .chain_function(move |_, _, buffer| {
                // source frames lie on whole thirtieths of a second
                let ns = buffer.pts().unwrap_or_default().nseconds();
                let beyond = (ns * 30 + 500) % 1_000_000_000;
                let _ = sender.send(beyond > 1_000);
                Ok(gst::FlowSuccess::Ok)
            })
            .build();
        Self {
            element,
            src,
            sink,
            outputs,
            size,
            pictures,
            count: 0.into(),
        }
    }

    fn start(&self) -> Result<(), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let pad = |name| self.element.static_pad(name).ok_or("no pad");
        self.src.link(&pad("sink")?).map_err(|e| text(&e))?;
        pad("src")?.link(&self.sink).map_err(|e| text(&e))?;
        self.src.set_active(true).map_err(|e| text(&e))?;
        self.sink.set_active(true).map_err(|e| text(&e))?;
        let playing = self.element.set_state(gst::State::Playing);
        playing.map_err(|e| text(&e))?;
        let (width, height) = self.size;
        let caps = gst_video::VideoCapsBuilder::new()
            .format(gst_video::VideoFormat::I420)
            .width(width as i32)
            .height(height as i32)
            .framerate(gst::Fraction::new(30, 1))
            .build();
        self.src.push_event(gst::event::StreamStart::new("costs"));
        self.src.push_event(gst::event::Caps::new(&caps));
        self.segment();
        Ok(())
    }

    fn segment(&self) {
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        self.src.push_event(gst::event::Segment::new(&segment));
    }

    fn seek(&self) {
        self.src.push_event(gst::event::FlushStart::new());
        self.src.push_event(gst::event::FlushStop::new(true));
        self.segment();
        self.count.set(0);
    }

    /// Pushes the next frame; how many frames were made of it.
    fn push(&self) -> Result<usize, String> {
        let n = self.count.get();
        self.count.set(n + 1);
        let data = self.pictures[n % PICTURES].clone();
        let mut buffer = gst::Buffer::from_mut_slice(data);
        let pts = gst::ClockTime::from_nseconds(n as u64 * 1_000_000_000 / 30);
        buffer.make_mut().set_pts(pts);
        self.src.push(buffer).map_err(|error| error.to_string())?;
        Ok(self.outputs.try_iter().filter(|made| *made).count())
    }

    /// Pushes frames until some are made; how many those are.
    fn new_frame(&self) -> Result<usize, String> {
        loop {
            match self.push()? {
                0 => (),
                made => return Ok(made),
            }
        }
    }

    fn stop(&self) {
        let _ = self.element.set_state(gst::State::Null);
    }
}

/// Lets the kernel count the largest resident memory anew.
fn forget_peak() {
    // where that is not allowed, the drawing of the pictures counts, too
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The largest resident memory, in MB.
fn peak() -> Result<f64, String> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|e| e.to_string())?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes = kilobytes.and_then(|text| text.parse::<f64>().ok());
    Ok(kilobytes.ok_or("no VmHWM in /proc/self/status")? * 1024.0 / 1e6)
}
