//! How good a model is: every second frame is withheld, made again and compared.
//!
//! ```text
//! evaluate [--model FILE] [--threads N] [--json] CLIP | FOLDER ...
//! ```
//!
//! The table has PSNR and SSIM of the luma, means over the frames made, for the model and
//! for what costs nothing: blending the neighbours and repeating the left one. In a folder
//! the clips whose names begin with `cut_` are left out: across a cut there is no truth.
//! "worst 5 %" is the PSNR that a twentieth of a clip's frames lie below, mean over clips.

mod common;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use common::frame::Frame;
use common::middle::Middle;
use common::{decode, metrics};
use gstvideointerpolate::interpolator::Outcome;

const USAGE: &str = "evaluate [--model FILE] [--threads N] [--json] CLIP | FOLDER ...";
const METHODS: [&str; 3] = ["model", "blend", "repeat"];
/// Share of the frames that lie below what is called worst.
const WORST: f64 = 0.05;

#[derive(Default)]
struct Options {
    model: Option<PathBuf>,
    threads: usize,
    json: bool,
    clips: Vec<PathBuf>,
}

/// PSNR in dB and SSIM of one made frame.
#[derive(Clone, Copy, Default)]
struct Score {
    psnr: f64,
    ssim: f64,
}

/// One clip; scores by method, then by frame.
struct Report {
    name: String,
    scores: [Vec<Score>; 3],
    cuts: usize,
    seconds: f64,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let options = Options::read(std::env::args().skip(1))?;
    gst::init().map_err(|error| error.to_string())?;
    if !options.json {
        heading();
    }
    let mut reports = Vec::new();
    for clip in &options.clips {
        let report = evaluate(clip, &options)?;
        if !options.json {
            report.print();
        }
        reports.push(report);
    }
    match options.json {
        true => println!("{}", json(&reports)),
        false => totals(&reports),
    }
    Ok(())
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| format!("{argument}: of what?"))
            };
            match argument.as_str() {
                "--model" => options.model = Some(value()?.into()),
                "--threads" => {
                    options.threads = value()?.parse().map_err(|_| USAGE.to_string())?;
                }
                "--json" => options.json = true,
                _ if argument.starts_with('-') => return Err(USAGE.into()),
                _ => options.clips.extend(expand(Path::new(&argument))?),
            }
        }
        match options.clips.is_empty() {
            true => Err(USAGE.into()),
            false => Ok(options),
        }
    }
}

/// The clips of a folder in the order of their names; a file is itself.
fn expand(path: &Path) -> Result<Vec<PathBuf>, String> {
    let fail = |error: std::io::Error| format!("{}: {error}", path.display());
    if !path.metadata().map_err(fail)?.is_dir() {
        return Ok(vec![path.into()]);
    }
    const KINDS: [&str; 7] = ["mp4", "mkv", "webm", "mov", "avi", "ts", "y4m"];
    let mut clips: Vec<PathBuf> = std::fs::read_dir(path)
        .map_err(fail)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            KINDS
                .iter()
                .any(|kind| path.extension() == Some(kind.as_ref()))
        })
        .filter(|path| !stem(path).starts_with("cut_"))
        .collect();
    clips.sort();
    Ok(clips)
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .map_or(String::new(), |stem| stem.to_string_lossy().into_owned())
}

fn evaluate(clip: &Path, options: &Options) -> Result<Report, String> {
    let mut report = Report {
        name: stem(clip),
        scores: Default::default(),
        cuts: 0,
        seconds: 0.0,
    };
    let mut middle = None;
    let mut held: Vec<Frame> = Vec::new();
    let mut failure = None;
    decode::for_each(clip, |frame, _| {
        held.push(frame);
        if let [left, truth, right] = &held[..] {
            let result = report.add(&mut middle, options, [left, truth, right]);
            held.drain(..2);
            failure = result.err();
        }
        failure.is_none()
    })?;
    match failure {
        Some(error) => Err(format!("{}: {error}", clip.display())),
        None if report.scores[0].is_empty() => {
            Err(format!("{}: fewer than three frames", clip.display()))
        }
        None => Ok(report),
    }
}

impl Report {
    fn add(
        &mut self,
        middle: &mut Option<Middle>,
        options: &Options,
        [left, truth, right]: [&Frame; 3],
    ) -> Result<(), String> {
        let size = (truth.width, truth.height);
        if [left, right].iter().any(|f| (f.width, f.height) != size) {
            return Err("its size changes".into());
        }
        if middle.is_none() {
            let made = Middle::new(options.model.as_deref(), size, options.threads);
            *middle = Some(made.map_err(|error| error.to_string())?);
        }
        let engine = middle.as_mut().ok_or("no engine")?;
        let started = Instant::now();
        let (made, outcome) = engine
            .make(left, right)
            .map_err(|error| error.to_string())?;
        self.seconds += started.elapsed().as_secs_f64();
        self.cuts += usize::from(outcome != Outcome::Interpolated);
        for (scores, frame) in self
            .scores
            .iter_mut()
            .zip([&made, &left.blend(right), left])
        {
            scores.push(score(frame, truth));
        }
        Ok(())
    }

    fn print(&self) {
        let means = [0, 1, 2].map(|m| mean(&self.scores[m]));
        print!("{:<20}", self.name);
        means.iter().for_each(|s| print!(" {:>8.2}", s.psnr));
        means.iter().for_each(|s| print!(" {:>8.4}", s.ssim));
        let rate = self.scores[0].len() as f64 / self.seconds.max(1e-9);
        println!(" {:>6} {:>5} {rate:>7.1}", self.scores[0].len(), self.cuts);
    }
}

fn score(frame: &Frame, truth: &Frame) -> Score {
    let (a, b) = (frame.planes()[0], truth.planes()[0]);
    Score {
        psnr: metrics::psnr(a, b),
        ssim: metrics::ssim(a, b, truth.width, truth.height).unwrap_or(f64::NAN),
    }
}

fn mean(scores: &[Score]) -> Score {
    let count = scores.len() as f64;
    Score {
        psnr: scores.iter().map(|s| s.psnr).sum::<f64>() / count,
        ssim: scores.iter().map(|s| s.ssim).sum::<f64>() / count,
    }
}

/// The value of PSNR and of SSIM that a twentieth of the frames lie below, between the
/// sorted values by straight lines.
fn worst(scores: &[Score]) -> Score {
    let part = |value: fn(&Score) -> f64| {
        let mut values: Vec<f64> = scores.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        let at = WORST * (values.len() - 1) as f64;
        let (low, high) = (at.floor() as usize, at.ceil() as usize);
        values[low] + (at - at.floor()) * (values[high] - values[low])
    };
    Score {
        psnr: part(|s| s.psnr),
        ssim: part(|s| s.ssim),
    }
}

/// Mean over clips of a summary of each clip.
fn over_clips(reports: &[Report], method: usize, summary: fn(&[Score]) -> Score) -> Score {
    let each: Vec<Score> = reports.iter().map(|r| summary(&r.scores[method])).collect();
    mean(&each)
}

fn heading() {
    print!("{:<20}", "");
    METHODS.iter().for_each(|name| print!(" {name:>8}"));
    METHODS.iter().for_each(|name| print!(" {name:>8}"));
    println!(" {:>6} {:>5} {:>7}", "frames", "cuts", "fps");
}

fn totals(reports: &[Report]) {
    println!();
    println!(
        "{:<20} {:>8} {:>8} {:>10}",
        "mean over clips", "PSNR-Y", "SSIM-Y", "worst 5 %"
    );
    for (method, name) in METHODS.iter().enumerate() {
        let all = over_clips(reports, method, mean);
        let low = over_clips(reports, method, worst);
        println!(
            "{name:<20} {:>8.2} {:>8.4} {:>10.2}",
            all.psnr, all.ssim, low.psnr
        );
    }
}

fn json(reports: &[Report]) -> String {
    let values = |s: Score, w: Score| {
        format!(
            "{{\"psnr\":{:.4},\"ssim\":{:.5},\"worst_psnr\":{:.4},\"worst_ssim\":{:.5}}}",
            s.psnr, s.ssim, w.psnr, w.ssim
        )
    };
    let methods = |each: &dyn Fn(usize) -> String| {
        let all: Vec<String> = METHODS
            .iter()
            .enumerate()
            .map(|(m, name)| format!("\"{name}\":{}", each(m)))
            .collect();
        all.join(",")
    };
    let clips: Vec<String> = reports
        .iter()
        .map(|r| {
            let scores = methods(&|m| values(mean(&r.scores[m]), worst(&r.scores[m])));
            let name = r.name.replace(['"', '\\'], "_");
            let frames = r.scores[0].len();
            format!(
                "{{\"clip\":\"{name}\",\"frames\":{frames},\"cuts\":{},\"seconds\":{:.3},{scores}}}",
                r.cuts, r.seconds
            )
        })
        .collect();
    let all = methods(&|m| values(over_clips(reports, m, mean), over_clips(reports, m, worst)));
    format!("{{\"clips\":[{}],\"mean\":{{{all}}}}}", clips.join(","))
}
