//! How well cuts are found: pairs of pictures of known kind, made from your clips.
//!
//! ```text
//! cuts [--threshold T | --engine] [--pairs N] CLIP | FOLDER ...
//! ```
//!
//! With `--engine` the whole engine judges, the network's motion and the default threshold
//! included; without, the score of [`scene`] alone.
//!
//! Cuts are joins of frames of different clips, and the marked ones. What must not be taken for a
//! cut: neighbours in a clip, also two to four frames apart, flashes, fades, dissolves, gain and
//! swings of the camera. N pairs are drawn of each, 1000 if not said. Clips whose names differ
//! only by `_s` and a number are scenes of one film and are not joined. Where a clip has a cut
//! inside, say so in `MANIFEST.tsv` beside it: columns `file` and `cut_index`, the number of the
//! first frame after the cut, from 0. Without a mark it would count as a false alarm. Frames are
//! reduced first, and all are held in memory: about a gigabyte for every 1500.

#[path = "../common/mod.rs"]
mod common;

mod classes;
mod small;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use classes::{Clip, DRAWN, Random};
use common::decode;
use common::middle::Middle;
use gstvideointerpolate::interpolator::{DEFAULT_SCENE_THRESHOLD, Outcome};
use gstvideointerpolate::scene;
use small::Small;

const USAGE: &str = "cuts [--threshold T | --engine] [--pairs N] CLIP | FOLDER ...";

struct Options {
    threshold: f64,
    engine: bool,
    pairs: usize,
    clips: Vec<PathBuf>,
}

/// Scores of one kind of pairs.
struct Class {
    name: String,
    cut: bool,
    scores: Vec<f64>,
}

impl Class {
    fn above(&self, threshold: f64) -> usize {
        self.scores.iter().filter(|s| **s > threshold).count()
    }
}

fn main() -> ExitCode {
    common::program::exit_code(run)
}

fn run() -> Result<(), String> {
    let options = Options::read(std::env::args().skip(1))?;
    gst::init().map_err(|error| error.to_string())?;
    let clips: Vec<Clip> = options
        .clips
        .iter()
        .map(|path| read(path))
        .collect::<Result<_, _>>()?;
    let classes = measure(&clips, &options)?;
    print(&classes, &options);
    Ok(())
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Options {
            threshold: DEFAULT_SCENE_THRESHOLD,
            engine: false,
            pairs: 1000,
            clips: Vec::new(),
        };
        while let Some(argument) = arguments.next() {
            let value = |next: Option<String>| next.ok_or_else(|| format!("{argument}: of what?"));
            let wrong = |_| USAGE.to_string();
            match argument.as_str() {
                "--threshold" => {
                    let value = value(arguments.next())?;
                    options.threshold = value.parse().map_err(|_| USAGE.to_string())?;
                }
                "--engine" => options.engine = true,
                "--pairs" => options.pairs = value(arguments.next())?.parse().map_err(wrong)?,
                _ if argument.starts_with('-') => return Err(USAGE.into()),
                _ => options
                    .clips
                    .extend(common::program::clips(Path::new(&argument))?),
            }
        }
        match options.clips.is_empty() {
            true => Err(USAGE.into()),
            false => Ok(options),
        }
    }
}

fn read(path: &Path) -> Result<Clip, String> {
    let mut frames: Vec<Small> = Vec::new();
    decode::for_each(path, |frame, _| {
        frames.push(Small::of(&frame));
        true
    })?;
    if frames.len() < 2 {
        return Err(format!("{}: fewer than 2 frames", path.display()));
    }
    let first = (frames[0].width, frames[0].height);
    if frames.iter().any(|f| (f.width, f.height) != first) {
        return Err(format!("{}: its size changes", path.display()));
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let source = match stem.rsplit_once("_s") {
        Some((film, number)) if number.parse::<u32>().is_ok() => film.to_string(),
        _ => stem.into_owned(),
    };
    Ok(Clip {
        source,
        frames,
        cut: marked_cut(path),
    })
}

/// What the manifest beside a clip says about a cut in it.
fn marked_cut(path: &Path) -> Option<usize> {
    let manifest = std::fs::read_to_string(path.with_file_name("MANIFEST.tsv")).ok()?;
    let mut lines = manifest.lines();
    let names: Vec<&str> = lines.next()?.split('\t').collect();
    let column = |name: &str| names.iter().position(|n| *n == name);
    let (file, cut) = (column("file")?, column("cut_index")?);
    let name = path.file_name()?.to_str()?;
    lines
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .find(|row| row.get(file).is_some_and(|f| Path::new(f).ends_with(name)))
        .and_then(|row| row.get(cut)?.parse().ok())
}

/// Scores pairs, or asks the engine what it makes of them.
struct Judge {
    /// By width and height.
    engines: HashMap<(usize, usize), Middle>,
    asks: bool,
}

impl Judge {
    /// The pair's score; of the engine 1 where it finds no motion to believe in, otherwise 0.
    fn score(&mut self, (left, right): (&Small, &Small)) -> Result<f64, String> {
        if !self.asks {
            return Ok(scene::score(&left.thumbnail(), &right.thumbnail()));
        }
        let engine = match self.engines.entry((left.width, left.height)) {
            Entry::Occupied(engine) => engine.into_mut(),
            Entry::Vacant(place) => {
                let made = Middle::built_in(*place.key());
                place.insert(made.map_err(|error| error.to_string())?)
            }
        };
        let (_, outcome) = engine
            .make(&left.frame(), &right.frame())
            .map_err(|error| error.to_string())?;
        Ok(f64::from(u8::from(outcome == Outcome::Cut)))
    }
}

fn measure(clips: &[Clip], options: &Options) -> Result<Vec<Class>, String> {
    let mut judge = Judge {
        engines: HashMap::new(),
        asks: options.engine,
    };
    let mut classes = Vec::new();
    let mut add = |name: &str, cut: bool, scores: Result<Vec<f64>, String>| {
        let (name, scores) = (name.to_string(), scores?);
        if !scores.is_empty() {
            classes.push(Class { name, cut, scores });
        }
        Ok::<(), String>(())
    };
    let marked = classes::marked(clips).map(|pair| judge.score(pair));
    add("marked cut", true, marked.collect())?;
    for distance in 1..=4 {
        let count = classes::neighbours(clips, distance).count();
        // The engine is slow: it is asked about some of them.
        let step = if options.engine {
            count.div_ceil(options.pairs).max(1)
        } else {
            1
        };
        let pairs = classes::neighbours(clips, distance).step_by(step);
        let scores = pairs.map(|pair| judge.score(pair)).collect();
        add(&format!("{distance} apart"), false, scores)?;
    }
    for (name, cut, make) in DRAWN {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        // Some draws give nothing; where all do, there is no such pair.
        let drawn = (0..20 * options.pairs).filter_map(|_| make(clips, &mut random));
        let scores = drawn
            .take(options.pairs)
            .map(|(l, r)| judge.score((&l, &r)));
        add(name, cut, scores.collect())?;
    }
    Ok(classes)
}

fn print(classes: &[Class], options: &Options) {
    let threshold = if options.engine {
        0.5
    } else {
        options.threshold
    };
    println!(
        "{:<20} {:>7} {:>7} {:>9} {:>7} {:>7} {:>7}",
        "", "pairs", "cuts", "share", "lowest", "median", "highest"
    );
    for class in classes {
        let found = class.above(threshold);
        let mut sorted = class.scores.clone();
        sorted.sort_by(f64::total_cmp);
        println!(
            "{:<20} {:>7} {found:>7} {:>7.2} % {:>7.3} {:>7.3} {:>7.3}",
            class.name,
            sorted.len(),
            100.0 * found as f64 / sorted.len() as f64,
            sorted[0],
            sorted[sorted.len() / 2],
            sorted[sorted.len() - 1]
        );
    }
    if options.engine {
        let (recall, precision) = rates(classes, threshold);
        println!("\nrecall {recall:.4}, precision {precision:.4}");
        return;
    }
    println!("\n{:<20} {:>9} {:>9}", "threshold", "recall", "precision");
    for threshold in [-0.1, -0.05, -0.02, 0.0, 0.02, 0.05].map(|by| threshold + by) {
        let (recall, precision) = rates(classes, threshold);
        println!("{threshold:<20.2} {recall:>9.4} {precision:>9.4}");
    }
}

/// Share of the cuts that are found, and of what is found that is a cut.
fn rates(classes: &[Class], threshold: f64) -> (f64, f64) {
    let sum = |cut: bool, count: &dyn Fn(&Class) -> usize| -> f64 {
        let classes = classes.iter().filter(|class| class.cut == cut);
        classes.map(count).sum::<usize>() as f64
    };
    let cuts = sum(true, &|class| class.scores.len());
    let found = sum(true, &|class| class.above(threshold));
    let alarms = sum(false, &|class| class.above(threshold));
    (found / cuts, found / (found + alarms))
}
