//! What `videokeyframes` is worth: known filters on every 12th frame of clips, against the same filters on every frame.
//!
//! ```text
//! keyframes [--every N] [--iterations N] [--tolerance PIXELS] [--look NAME] [--picture FILE] CLIP|FOLDER ...
//! ```
//!
//! Of each clip and filter (`tone`, a tone curve; `smooth`, an edge-preserving smoothing; `mark`, a mark painted on a surface that moves as
//! a plane, where there is one), or of the one that `--look` names:
//!
//! * `chain`: PSNR of luma of plain chaining, each frame being the one before it, warped;
//! * `both`, `before`: PSNR-Y with the keyframes at both sides, and with the one before alone;
//! * `colour`: gain over chaining in the mean PSNR of U and V;
//! * `flicker`: temporal gradient error over the truth's own: the mean of |x\[n\] - x\[n-1\] moved as the source|, of `both` and of the truth;
//! * `steps`, `residual`: how many, and what they left of the first residual; `falls`: frames in which each step made it smaller.
//!
//! `--picture` draws a clip of our own: source, keyframe, truth, chained, made.

#[path = "../common/mod.rs"]
mod common;
mod filters;
mod sheet;
mod surface;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use common::frame::Frame;
use common::middle::picture;
use common::{decode, metrics, program};
use gstvideointerpolate::error::Error;
use gstvideointerpolate::keyframes::{self, Propagator, Sequence, Settings, Step};
use gstvideointerpolate::network::Network;
use gstvideointerpolate::picture::{Format, Picture, PictureMut};
use surface::Surface;

const USAGE: &str = "keyframes [--every N] [--iterations N] [--tolerance PIXELS] [--look tone|smooth|mark] [--picture FILE] CLIP|FOLDER ...";

/// What frames are edited with.
const LOOKS: [&str; 3] = ["tone", "smooth", "mark"];

fn main() -> ExitCode {
    program::exit_code(run)
}

struct Options {
    every: usize,
    settings: Settings,
    looks: Vec<&'static str>,
    picture: Option<PathBuf>,
    clips: Vec<PathBuf>,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            every: 12,
            settings: Settings::default(),
            looks: LOOKS.into(),
            picture: None,
            clips: Vec::new(),
        };
        while let Some(name) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or(format!("{name}: nothing follows it\n{USAGE}"))
            };
            let wrong = |_| format!("{name}: wanted a number\n{USAGE}");
            match name.as_str() {
                "--every" => options.every = value()?.parse().map_err(wrong)?,
                "--iterations" => options.settings.iterations = value()?.parse().map_err(wrong)?,
                "--tolerance" => {
                    options.settings.tolerance = value()?.parse().map_err(|_| USAGE.to_string())?;
                }
                "--look" => {
                    let wanted = value()?;
                    options.looks.retain(|look| *look == wanted);
                }
                "--picture" => options.picture = Some(value()?.into()),
                _ if name.starts_with('-') => return Err(USAGE.into()),
                _ => options.clips.extend(program::clips(Path::new(&name))?),
            }
        }
        if options.every == 0
            || options.looks.is_empty()
            || (options.clips.is_empty() && options.picture.is_none())
        {
            return Err(USAGE.into());
        }
        Ok(options)
    }
}

fn run() -> Result<(), String> {
    let options = Options::read(std::env::args().skip(1))?;
    gst::init().map_err(|error| error.to_string())?;
    if let Some(path) = &options.picture {
        sheet::write(path, &options)?;
    }
    if options.clips.is_empty() {
        return Ok(());
    }
    println!(
        "{:<18} {:<7} {:>6} {:>6} {:>6} {:>6} {:>6} {:>8} {:>6} {:>8} {:>6}",
        "",
        "filter",
        "chain",
        "both",
        "before",
        "gain",
        "colour",
        "flicker",
        "steps",
        "residual",
        "falls"
    );
    let mut all: Vec<(&str, Scores)> = Vec::new();
    let mut failures = Vec::new();
    for clip in &options.clips {
        if let Err(failure) = evaluate(clip, &options, &mut all) {
            failures.push(failure);
        }
    }
    for filter in LOOKS {
        let of = all.iter().filter(|(name, _)| *name == filter);
        let of: Vec<&Scores> = of.map(|(_, scores)| scores).collect();
        if !of.is_empty() {
            print_row("mean", filter, &Scores::mean(&of));
        }
    }
    program::outcome(&failures)
}

/// Measures and prints each look of a clip.
fn evaluate(
    clip: &Path,
    options: &Options,
    all: &mut Vec<(&'static str, Scores)>,
) -> Result<(), String> {
    let mut frames = Vec::new();
    decode::for_each(clip, |frame, _| {
        frames.push(frame);
        true
    })?;
    if frames.len() <= options.every {
        let least = options.every + 1;
        return Err(format!("{}: fewer than {least} frames", clip.display()));
    }
    let name = clip.file_stem().unwrap_or_default().to_string_lossy();
    for filter in &options.looks {
        let Some(truth) = look(filter, &frames) else {
            continue;
        };
        let scores = measure(&frames, &truth, options)?;
        print_row(&name, filter, &scores);
        all.push((filter, scores));
    }
    Ok(())
}

/// A filter on every frame; `None` for a mark that finds no surface.
fn look(filter: &str, frames: &[Frame]) -> Option<Vec<Frame>> {
    match filter {
        "tone" => Some(frames.iter().map(filters::tone).collect()),
        "smooth" => Some(frames.iter().map(filters::smooth).collect()),
        _ => {
            let surface = Surface::find(frames)?;
            let marked = frames.iter().enumerate();
            Some(
                marked
                    .map(|(n, frame)| filters::mark(frame, &surface, n))
                    .collect(),
            )
        }
    }
}

#[derive(Default)]
struct Scores {
    chain: f64,
    both: f64,
    before: f64,
    colour: f64,
    flicker: f64,
    steps: f64,
    residual: f64,
    falls: f64,
}

impl Scores {
    fn values(&self) -> [f64; 8] {
        [
            self.chain,
            self.both,
            self.before,
            self.colour,
            self.flicker,
            self.steps,
            self.residual,
            self.falls,
        ]
    }

    fn mean(all: &[&Self]) -> Self {
        let mean = |i: usize| all.iter().map(|s| s.values()[i]).sum::<f64>() / all.len() as f64;
        let [chain, both, before, colour, flicker, steps, residual, falls] =
            std::array::from_fn(mean);
        Self {
            chain,
            both,
            before,
            colour,
            flicker,
            steps,
            residual,
            falls,
        }
    }
}

fn print_row(clip: &str, filter: &str, s: &Scores) {
    println!(
        "{clip:<18} {filter:<7} {:>6.2} {:>6.2} {:>6.2} {:>6.2} {:>6.2} {:>8.3} {:>6.2} {:>8.3} {:>6.3}",
        s.chain,
        s.both,
        s.before,
        s.both - s.chain,
        s.colour,
        s.flicker,
        s.steps,
        s.residual,
        s.falls
    );
}

/// A frame of the clip that is known by its number.
pub struct Shown<'a>(usize, &'a Frame);

impl keyframes::Frame for Shown<'_> {
    type Error = Error;

    fn read<T>(&self, f: impl FnOnce(&Picture) -> Result<T, Error>) -> Result<T, Error> {
        f(&picture(self.1)?)
    }
}

/// All frames, the keyframes as they are given; and the residuals.
pub fn propagate(
    frames: &[Frame],
    truth: &[Frame],
    every: usize,
    lookahead: usize,
    settings: &Settings,
) -> Result<(Vec<Frame>, Vec<Vec<f32>>), Error> {
    let mut sequence = Sequence::new(propagator(&frames[0])?, lookahead);
    let (mut made, mut residuals) = (truth.to_vec(), Vec::new());
    let mut jobs = Vec::new();
    for (n, frame) in frames.iter().enumerate() {
        let shown = Shown(n, frame);
        if n % every == 0 {
            jobs.extend(sequence.keyframe(&shown, &Shown(n, &truth[n]))?);
        } else {
            jobs.extend(sequence.push(shown)?);
        }
        if n + 1 == frames.len() {
            jobs.extend(std::iter::from_fn(|| sequence.release()));
        }
        for job in jobs.drain(..) {
            let Shown(n, frame) = job.frame;
            let mut out = frame.clone();
            let found = sequence.make(
                &job,
                &picture(frame)?,
                settings,
                &mut picture_mut(&mut out)?,
            )?;
            made[n] = out;
            residuals.push(found);
        }
    }
    Ok((made, residuals))
}

fn propagator(frame: &Frame) -> Result<Propagator, Error> {
    let size = (frame.width as u32, frame.height as u32);
    Propagator::new(Network::embedded()?, Format::I420, size, 0)
}

fn picture_mut(frame: &mut Frame) -> Result<PictureMut<'_>, Error> {
    let (width, height) = (frame.width as u32, frame.height as u32);
    let strides = [0, 1, 2].map(|plane| frame.plane_size(plane).0 as isize);
    let [y, u, v] = frame.planes_mut();
    let planes = &mut [(y, strides[0]), (u, strides[1]), (v, strides[2])];
    PictureMut::new(Format::I420, width, height, planes)
}

/// Motion from each frame to the next.
pub fn steps(frames: &[Frame]) -> Result<Vec<Step>, Error> {
    let mut propagator = propagator(&frames[0])?;
    let (mut steps, mut before) = (Vec::new(), None);
    for frame in frames {
        let look = propagator.look(&picture(frame)?)?;
        if let Some(before) = &before {
            steps.push(propagator.step(before, &look)?);
        }
        before = Some(look);
    }
    Ok(steps)
}

/// A frame, moved to the next one's places.
pub fn warp(frame: &Frame, step: &Step) -> Frame {
    let mut out = frame.clone();
    let sizes = [0, 1, 2].map(|plane| frame.plane_size(plane));
    let sources = frame.planes();
    for (plane, target) in out.planes_mut().into_iter().enumerate() {
        let ((width, height), source) = (sizes[plane], sources[plane]);
        let scale = if plane == 0 { 0.5 } else { 1.0 };
        let value =
            |x: usize, y: usize| f32::from(source[y.min(height - 1) * width + x.min(width - 1)]);
        for (i, code) in target.iter_mut().enumerate() {
            let (x, y) = ((i % width) as f32, (i / width) as f32);
            let flow = step
                .back()
                .at((x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5);
            let x = (x + flow[0] / scale).clamp(0.0, width as f32 - 1.0);
            let y = (y + flow[1] / scale).clamp(0.0, height as f32 - 1.0);
            let (fx, fy) = (x.fract(), y.fract());
            let (x, y) = (x as usize, y as usize);
            let upper = value(x, y) + fx * (value(x + 1, y) - value(x, y));
            let lower = value(x, y + 1) + fx * (value(x + 1, y + 1) - value(x, y + 1));
            *code = (upper + fy * (lower - upper) + 0.5) as u8;
        }
    }
    out
}

/// Each frame from the one before it, keyframes as they are.
pub fn chained(truth: &[Frame], steps: &[Step], every: usize) -> Vec<Frame> {
    let mut made = vec![truth[0].clone()];
    for n in 1..truth.len() {
        made.push(match n % every {
            0 => truth[n].clone(),
            _ => warp(&made[n - 1], &steps[n - 1]),
        });
    }
    made
}

fn measure(frames: &[Frame], truth: &[Frame], options: &Options) -> Result<Scores, String> {
    let say = |error: Error| error.to_string();
    let every = options.every;
    let steps = steps(frames).map_err(say)?;
    let chain = chained(truth, &steps, every);
    let propagate = |lookahead| propagate(frames, truth, every, lookahead, &options.settings);
    let (both, residuals) = propagate(every).map_err(say)?;
    let (before, _) = propagate(0).map_err(say)?;
    let mean = |made: &[Frame], planes: &[usize]| {
        let of_frame = |n: usize| {
            let of = planes
                .iter()
                .map(|p| metrics::psnr(made[n].planes()[*p], truth[n].planes()[*p]).min(60.0));
            of.sum::<f64>() / planes.len() as f64
        };
        let made: Vec<usize> = (0..truth.len()).filter(|n| n % every > 0).collect();
        made.iter().map(|n| of_frame(*n)).sum::<f64>() / made.len() as f64
    };
    let measured: Vec<&Vec<f32>> = residuals.iter().filter(|r| !r.is_empty()).collect();
    let count = measured.len().max(1) as f64;
    let falls = measured.iter().filter(|r| r.is_sorted_by(|a, b| a > b));
    let left = measured
        .iter()
        .map(|r| f64::from(r[r.len() - 1] / r[0].max(1e-9)));
    Ok(Scores {
        chain: mean(&chain, &[0]),
        both: mean(&both, &[0]),
        before: mean(&before, &[0]),
        colour: mean(&both, &[1, 2]) - mean(&chain, &[1, 2]),
        flicker: unsteady(&both, &steps) / unsteady(truth, &steps),
        steps: measured.iter().map(|r| r.len() as f64 - 1.0).sum::<f64>() / count,
        residual: left.sum::<f64>() / count,
        falls: falls.count() as f64 / count,
    })
}

/// Mean of |x\[n\] - x\[n-1\] moved as the source| over the samples of luma, codes.
fn unsteady(frames: &[Frame], steps: &[Step]) -> f64 {
    let (mut sum, mut count) = (0u64, 0);
    for (pair, step) in frames.windows(2).zip(steps) {
        let moved = warp(&pair[0], step);
        let (a, b) = (moved.planes()[0], pair[1].planes()[0]);
        sum += a
            .iter()
            .zip(b)
            .map(|(a, b)| u64::from(a.abs_diff(*b)))
            .sum::<u64>();
        count += a.len();
    }
    sum as f64 / count as f64
}
