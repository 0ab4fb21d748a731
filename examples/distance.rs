//! What it is worth to know the distance that each place has gone, instead of the time.
//!
//! ```text
//! distance [--quality NAME | --model FILE] [--threads N] [--gaps N] CLIP | FOLDER ...
//! ```
//!
//! Every eighth frame of a clip is kept and the seven between are made in three ways: at the phase of their time; with the
//! distance map of the true frame; and, in place of a phase in one half, at its double between the end of that half and a frame
//! that was made half way, as networks with iterative references go. Of no more than N gaps of a clip, if that is said.
//!
//! A map is (V0t . V01) / |V01|^2 for each cell of 8x8 pixels, V0t being the way from the left frame to the true one and V01 the
//! whole way (Zhong et al., 2024). It is read from the file beside the clip, `NAME.map`, that `training/scenes.py` writes, or
//! else made of what the search finds between the true frame and those at the ends.
//!
//! Figures are of luma: PSNR, dB, mean over the frames; sharpness, the sum of the squared differences of neighbours over
//! that of the true frames. And the CPU time of going by halves over that of the phase of the time, all seven frames of a gap being made in
//! one way after the other.

#[path = "common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use candle_core::{Device, Tensor};
use common::decode;
use common::frame::Frame;
use common::metrics::psnr;
use common::middle::Middle;
use common::program;
use common::told::Told;
use gstvideointerpolate::interpolator::{Encoded, Outcome};
use gstvideointerpolate::kernels::PhaseMap;
use gstvideointerpolate::network::{Network, Variant};

const USAGE: &str =
    "distance [--quality NAME | --model FILE] [--threads N] [--gaps N] CLIP | FOLDER ...";
/// Frames from one that is kept to the next.
const STEP: usize = 8;
const METHODS: [&str; 3] = ["time", "distance", "by halves"];
/// A shorter way, in cells, has no share that could be told.
const MOVES: f32 = 0.1 / 8.0;
/// Of a phase from 0 and from 1.
const NEAREST: f32 = 1.0 / 1024.0;

/// Of one phase and one method.
#[derive(Clone, Copy, Default)]
struct Sum {
    frames: f64,
    psnr: f64,
    energy: f64,
    true_energy: f64,
}

type Table = [[Sum; METHODS.len()]; STEP];

struct Options {
    variant: Variant,
    /// Weights of one's own for the built-in network.
    model: Option<PathBuf>,
    threads: usize,
    gaps: usize,
    clips: Vec<PathBuf>,
}

fn main() -> ExitCode {
    program::exit_code(run)
}

fn run() -> Result<(), String> {
    let options = options(std::env::args().skip(1))?;
    gst::init().map_err(|error| error.to_string())?;
    let (mut table, mut costs) = (Table::default(), [Duration::ZERO; 2]);
    for clip in &options.clips {
        measure(clip, &options, &mut table, &mut costs)?;
    }
    print(&table);
    let [time, halves] = costs.map(|cost| cost.as_secs_f64());
    println!("by halves takes {:.2} times as long", halves / time);
    Ok(())
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        variant: Variant::Balanced,
        model: None,
        threads: 0,
        gaps: usize::MAX,
        clips: Vec::new(),
    };
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or(format!("{argument}: its value is missing\n{USAGE}"))
        };
        let wrong = |value: &str| format!("{argument} {value}: no such value\n{USAGE}");
        let number = |value: String| value.parse().map_err(|_| wrong(&value));
        match argument.as_str() {
            "--quality" => {
                let name = value()?;
                options.variant = Variant::named(&name).ok_or_else(|| wrong(&name))?;
            }
            "--model" => options.model = Some(value()?.into()),
            "--threads" => options.threads = number(value()?)?,
            "--gaps" => options.gaps = number(value()?)?,
            _ if argument.starts_with('-') => {
                return Err(format!("{argument}: no such option\n{USAGE}"));
            }
            path => options.clips.extend(program::clips(Path::new(path))?),
        }
    }
    match options.clips.is_empty() {
        true => Err(format!("no clip is named\n{USAGE}")),
        false => Ok(options),
    }
}

fn measure(
    clip: &Path,
    options: &Options,
    table: &mut Table,
    costs: &mut [Duration; 2],
) -> Result<(), String> {
    let name = clip.display();
    let text = |error: gstvideointerpolate::error::Error| format!("{name}: {error}");
    let mut frames: Vec<Frame> = Vec::new();
    decode::for_each(clip, |frame, _| {
        frames.push(frame);
        frames.len() <= options.gaps.saturating_mul(STEP)
    })?;
    let first = frames.first().filter(|_| frames.len() > STEP);
    let first = first.ok_or_else(|| format!("{name}: fewer than {} frames", STEP + 1))?;
    let size = (first.width, first.height);
    let network = match &options.model {
        Some(file) => Network::load(file),
        None => options.variant.network(),
    };
    let network = network.map_err(text)?;
    let mut engine = Middle::new(network.clone(), size, options.threads, None).map_err(text)?;
    let mut maps = Maps::new(network, size, &clip.with_extension("map"), options.threads)?;
    for (gap, frames) in frames.windows(STEP + 1).step_by(STEP).enumerate() {
        let ends = [&frames[0], &frames[STEP]];
        let encode = |engine: &mut Middle, frame| engine.encode(frame).map_err(text);
        let encoded = [encode(&mut engine, ends[0])?, encode(&mut engine, ends[1])?];
        let mut half = None;
        for (k, truth) in frames.iter().enumerate().take(STEP).skip(1) {
            let t = k as f32 / STEP as f32;
            let sides = [0, 1].map(|side| (ends[side], &*encoded[side]));
            let even = PhaseMap::Uniform(t);
            let map = maps.of(gap, k, (truth, ends), t).map_err(text)?;
            let mut made = Vec::new();
            for phases in [&even, &map] {
                made.push(
                    engine
                        .at_phases(sides[0], sides[1], None, phases)
                        .map_err(text)?,
                );
            }
            if made
                .iter()
                .any(|(_, outcome)| *outcome != Outcome::Interpolated)
            {
                continue;
            }
            let middle = match &mut half {
                Some(known) => known,
                unknown => unknown.insert(middle(&mut engine, sides).map_err(text)?),
            };
            made.push(by_halves(&mut engine, sides, middle, t).map_err(text)?);
            for (sum, (frame, _)) in table[k].iter_mut().zip(&made) {
                sum.add(frame, truth);
            }
        }
        for (halves, cost) in [false, true].into_iter().zip(&mut *costs) {
            // so that no motion is known yet
            let encoded = [encode(&mut engine, ends[0])?, encode(&mut engine, ends[1])?];
            let sides = [0, 1].map(|side| (ends[side], &*encoded[side]));
            let begun = program::cpu()?;
            all(&mut engine, sides, halves).map_err(text)?;
            *cost += program::cpu()? - begun;
        }
    }
    Ok(())
}

type Side<'a> = (&'a Frame, &'a Encoded);
type Result<T, E = gstvideointerpolate::error::Error> = std::result::Result<T, E>;

/// Makes all frames between two.
fn all(engine: &mut Middle, sides: [Side; 2], halves: bool) -> Result<()> {
    let half = halves.then(|| middle(engine, sides)).transpose()?;
    for k in 1..STEP {
        let t = k as f32 / STEP as f32;
        match &half {
            Some(half) => by_halves(engine, sides, half, t)?,
            None => engine.at(sides[0], sides[1], None, t)?,
        };
    }
    Ok(())
}

fn middle(engine: &mut Middle, [left, right]: [Side; 2]) -> Result<(Frame, Arc<Encoded>)> {
    let (frame, _) = engine.at(left, right, None, 0.5)?;
    let encoded = engine.encode(&frame)?;
    Ok((frame, encoded))
}

fn by_halves(
    engine: &mut Middle,
    [left, right]: [Side; 2],
    (frame, encoded): &(Frame, Arc<Encoded>),
    t: f32,
) -> Result<(Frame, Outcome)> {
    let middle = (frame, &**encoded);
    match t {
        t if t < 0.5 => engine.at(left, middle, None, 2.0 * t),
        t if t > 0.5 => engine.at(middle, right, None, 2.0 * t - 1.0),
        _ => Ok((frame.clone(), Outcome::Interpolated)),
    }
}

impl Sum {
    fn add(&mut self, made: &Frame, truth: &Frame) {
        let (a, b) = (made.planes()[0], truth.planes()[0]);
        self.frames += 1.0;
        self.psnr += psnr(a, b);
        self.energy += energy(a, made.width);
        self.true_energy += energy(b, truth.width);
    }
}

/// Sum of the squared differences of neighbours.
fn energy(luma: &[u8], width: usize) -> f64 {
    let squares = |a: &[u8], b: &[u8]| -> u64 {
        let pairs = a.iter().zip(b);
        pairs.map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum()
    };
    let across: u64 = luma.chunks(width).map(|row| squares(row, &row[1..])).sum();
    (across + squares(luma, &luma[width..])) as f64
}

/// Distance maps of the frames of a clip.
struct Maps {
    /// Of all frames that are made, if there is a file.
    exact: Option<Vec<f32>>,
    told: Told,
}

impl Maps {
    fn new(
        network: Arc<Network>,
        size: (usize, usize),
        file: &Path,
        threads: usize,
    ) -> Result<Self, String> {
        let told = Told::new(network, size, threads).map_err(|error| error.to_string())?;
        let exact = std::fs::read(file).ok().map(|bytes| {
            let values = bytes
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            values.collect::<Vec<_>>()
        });
        let count = told.cells.0 * told.cells.1;
        if exact
            .as_ref()
            .is_some_and(|e| !e.len().is_multiple_of(count))
        {
            return Err(format!("{}: maps of another size", file.display()));
        }
        Ok(Self { exact, told })
    }

    /// The map of the frame at `t`, the `k`th of a gap, which the true one tells.
    fn of(
        &mut self,
        gap: usize,
        k: usize,
        (truth, ends): (&Frame, [&Frame; 2]),
        t: f32,
    ) -> Result<PhaseMap> {
        let cells = self.told.cells;
        let count = cells.0 * cells.1;
        let values = match &self.exact {
            Some(exact) => {
                let at = (gap * (STEP - 1) + k - 1) * count;
                exact
                    .get(at..at + count)
                    .map(<[f32]>::to_vec)
                    .unwrap_or_default()
            }
            None => {
                let ways = self.told.ways(truth, ends[0], ends[1])?;
                ways.into_iter().map(|way| distance(way, t)).collect()
            }
        };
        let values = values.into_iter().map(|d| d.clamp(NEAREST, 1.0 - NEAREST));
        Ok(PhaseMap::Plane(Tensor::from_vec(
            values.collect(),
            cells,
            &Device::Cpu,
        )?))
    }
}

/// The share of the whole way that a cell has done, of its ways to the left frame and to the right one, x, y and x, y, in cells.
fn distance([lx, ly, rx, ry]: [f32; 4], t: f32) -> f32 {
    let whole = [rx - lx, ry - ly];
    let length = whole[0] * whole[0] + whole[1] * whole[1];
    match length > MOVES * MOVES {
        true => -(lx * whole[0] + ly * whole[1]) / length,
        false => t,
    }
}

fn print(table: &Table) {
    let heading: Vec<String> = METHODS.iter().map(|m| format!("{m:>10}")).collect();
    println!(
        "phase frames | PSNR, dB {} | sharpness {}",
        heading.concat(),
        heading.concat()
    );
    for (k, sums) in table
        .iter()
        .enumerate()
        .filter(|(_, sums)| sums[0].frames > 0.0)
    {
        let psnr = sums.map(|s| format!("{:>10.2}", s.psnr / s.frames));
        let sharp = sums.map(|s| format!("{:>10.3}", s.energy / s.true_energy));
        println!(
            "{k}/{STEP}   {:>6} |          {} |           {}",
            sums[0].frames,
            psnr.concat(),
            sharp.concat()
        );
    }
}
