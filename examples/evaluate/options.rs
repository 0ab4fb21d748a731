//! The command line.

use std::path::{Path, PathBuf};

use gstvideointerpolate::error::Error;
use gstvideointerpolate::interpolator::Motion;
use gstvideointerpolate::network::{Model, Variant};

use super::common::program;

pub const USAGE: &str = "evaluate [--quality NAME] [--model FILE] [--scale X] [--motion NAME] [--predict] [--threads N] \
                         [--step N] [--no-minterpolate] [--reliability] [--uneven] [--coherence] [--sheets FOLDER] [--json] CLIP | FOLDER ...";

/// Resolutions that can be asked for.
const SCALES: [f32; 3] = [0.25, 0.5, 1.0];
/// Largest step: beyond it hardly a clip has two kept frames that show the same.
const MOST: usize = 64;

/// What is asked for.
pub struct Options {
    /// Size of the built-in network.
    pub quality: Variant,
    /// A weight file instead of it.
    pub model: Option<PathBuf>,
    /// Resolution at which motion is sought, as the element's property.
    pub scale: Option<f32>,
    /// How things go between two frames.
    pub motion: Motion,
    /// Made without the frame after them.
    pub predict: bool,
    /// 0: all.
    pub threads: usize,
    /// One frame in so many is kept, the others are made; at least 2.
    pub step: usize,
    pub minterpolate: bool,
    pub reliability: bool,
    /// Frames by how even their true motion is.
    pub uneven: bool,
    /// Motion is looked at for what contradicts itself, and told how well that finds failures.
    pub coherence: bool,
    /// Where the pictures of the worst frames go.
    pub sheets: Option<PathBuf>,
    pub json: bool,
    pub clips: Vec<PathBuf>,
}

impl Options {
    /// # Errors
    /// An unknown option, a value that is none, a clip that is not there, no clip at all.
    pub fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            quality: Variant::Balanced,
            model: None,
            scale: None,
            motion: Motion::Linear,
            predict: false,
            threads: 0,
            step: 2,
            minterpolate: true,
            reliability: false,
            uneven: false,
            coherence: false,
            sheets: None,
            json: false,
            clips: Vec::new(),
        };
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next();
                value.ok_or_else(|| format!("{argument}: its value is missing\n{USAGE}"))
            };
            match argument.as_str() {
                "--quality" => options.quality = quality(&value()?)?,
                "--model" => options.model = Some(value()?.into()),
                "--scale" => options.scale = scale(&value()?)?,
                "--motion" => options.motion = motion(&value()?)?,
                "--predict" => options.predict = true,
                "--threads" => options.threads = number(&argument, &value()?, 0, 1024)?,
                "--step" => options.step = number(&argument, &value()?, 2, MOST)?,
                "--no-minterpolate" => options.minterpolate = false,
                "--reliability" => options.reliability = true,
                "--uneven" => options.uneven = true,
                "--coherence" => options.coherence = true,
                "--sheets" => options.sheets = Some(value()?.into()),
                "--json" => options.json = true,
                _ if argument.starts_with('-') => {
                    return Err(format!("{argument}: no such option\n{USAGE}"));
                }
                _ => options.clips.extend(expand(Path::new(&argument))?),
            }
        }
        match options.clips.is_empty() {
            true => Err(format!("no clip is named\n{USAGE}")),
            false => Ok(options),
        }
    }

    /// The network that is asked for.
    ///
    /// # Errors
    /// The weight file cannot be used.
    pub fn network(&self) -> Result<Model, Error> {
        match &self.model {
            Some(file) => Model::open(file),
            None => Ok(self.quality.network()?.into()),
        }
    }

    /// What the weights are called: the size, or the file.
    pub fn weights(&self) -> String {
        let file = self.model.as_ref().map(|path| path.display().to_string());
        file.unwrap_or_else(|| self.quality.name().into())
    }
}

fn quality(name: &str) -> Result<Variant, String> {
    let names = || Variant::ALL.map(Variant::name).join(", ");
    Variant::named(name).ok_or_else(|| format!("--quality {name}: wanted one of {}", names()))
}

fn scale(text: &str) -> Result<Option<f32>, String> {
    let scale = text.parse().ok().filter(|scale| SCALES.contains(scale));
    let wanted = || format!("--scale {text}: wanted one of {SCALES:?}, or 0 for automatic");
    match (scale, text) {
        (None, "0") => Ok(None),
        (None, _) => Err(wanted()),
        (scale, _) => Ok(scale),
    }
}

fn motion(name: &str) -> Result<Motion, String> {
    match name {
        "linear" => Ok(Motion::Linear),
        "trajectory" => Ok(Motion::Trajectory),
        _ => Err(format!("--motion {name}: wanted linear or trajectory")),
    }
}

fn number(option: &str, text: &str, least: usize, most: usize) -> Result<usize, String> {
    let number = text.parse().ok();
    let number = number.filter(|n| (least..=most).contains(n));
    number.ok_or_else(|| format!("{option} {text}: wanted a whole number from {least} to {most}"))
}

/// What a path stands for; of a folder, clips named for a cut are left out, for they have no right answer.
fn expand(path: &Path) -> Result<Vec<PathBuf>, String> {
    let mut clips = program::clips(path)?;
    if path.is_dir() {
        clips.retain(|clip| !stem(clip).starts_with("cut_"));
    }
    Ok(clips)
}

/// A file's name without folder and ending.
pub fn stem(path: &Path) -> String {
    path.file_stem()
        .map_or(String::new(), |stem| stem.to_string_lossy().into_owned())
}
