//! Converts a film to another frame rate, keeps its sound, and shows what was made.
//!
//! ```text
//! demo [--in FILE] --out FILE [--rate 60 | 60000/1001]
//! demo --render FILE [--size 640x360] [--seconds 4]
//! ```
//!
//! Without `--in` it converts a clip that it renders itself; `--render` writes only that clip.

#[path = "../common/mod.rs"]
mod common;
mod container;
mod convert;
mod progress;
mod render;
mod sheet;
mod subtitles;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use container::Container;

const USAGE: &str = "demo [--in FILE] --out FILE [--rate 60 | 60000/1001]\n\
                     demo --render FILE [--size 640x360] [--seconds 4]";

#[derive(Default)]
struct Options {
    input: Option<PathBuf>,
    out: Option<PathBuf>,
    rate: Option<gst::Fraction>,
    render: Option<PathBuf>,
    size: Option<(usize, usize)>,
    seconds: Option<f32>,
}

fn main() -> ExitCode {
    common::program::exit_code(run)
}

fn run() -> Result<(), String> {
    let options = Options::read(std::env::args().skip(1))?;
    gst::init().map_err(|error| error.to_string())?;
    gstvideointerpolate::plugin_register_static().map_err(|error| error.to_string())?;
    let (width, height) = options.size.unwrap_or((640, 360));
    let seconds = options.seconds.unwrap_or(4.0);

    if let Some(path) = &options.render {
        let container = writable(path)?;
        return render::write(path, container, (width, height), seconds);
    }
    let out = options.out.as_deref().ok_or(USAGE)?;
    let input = options.input.as_deref().map(readable).transpose()?;
    let container = writable(out)?;
    if let Some(input) = input {
        if same_file(input, out) {
            return Err(format!("{}: IN and OUT are the same file", out.display()));
        }
        convert::run(input, out, container, options.rate)?;
        return sheet::from_file(input, &beside(out));
    }
    let clip = out.with_file_name("clip.mp4");
    println!("No IN: rendering {}", clip.display());
    render::write(&clip, Container::Mp4, (width, height), seconds)?;
    convert::run(&clip, out, container, options.rate)?;
    sheet::from_clip((width, height), &beside(out))
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(name) = arguments.next() {
            let value = arguments
                .next()
                .ok_or_else(|| format!("{name}: nothing follows it\n{USAGE}"))?;
            match name.as_str() {
                "--in" => options.input = Some(value.into()),
                "--out" => options.out = Some(value.into()),
                "--rate" => options.rate = Some(rate(&value)?),
                "--render" => options.render = Some(value.into()),
                "--size" => options.size = Some(size(&value)?),
                "--seconds" => options.seconds = Some(seconds(&value)?),
                _ => return Err(format!("{name}: not an option\n{USAGE}")),
            }
        }
        Ok(options)
    }
}

/// `60` or `60000/1001`.
fn rate(text: &str) -> Result<gst::Fraction, String> {
    const HIGHEST: i32 = 1000;
    let wrong =
        || format!("RATE={text}: wanted frames a second, 1 to {HIGHEST}, as 60 or 60000/1001");
    let (numer, denom) = text.split_once('/').unwrap_or((text, "1"));
    let part = |text: &str| text.trim().parse::<i32>().ok().filter(|&part| part > 0);
    let (numer, denom) = (
        part(numer).ok_or_else(wrong)?,
        part(denom).ok_or_else(wrong)?,
    );
    if numer < denom || i64::from(numer) > i64::from(HIGHEST) * i64::from(denom) {
        return Err(wrong());
    }
    Ok(gst::Fraction::new(numer, denom))
}

fn size(text: &str) -> Result<(usize, usize), String> {
    text.split_once('x')
        .and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)))
        .filter(|&(width, height): &(usize, usize)| {
            [width, height]
                .iter()
                .all(|n| (16..=4096).contains(n) && n % 2 == 0)
        })
        .ok_or_else(|| format!("--size {text}: wanted two even numbers as 640x360"))
}

fn seconds(text: &str) -> Result<f32, String> {
    let seconds = text.parse().ok().filter(|s| (0.1..=60.0).contains(s));
    seconds.ok_or_else(|| format!("--seconds {text}: wanted 0.1 to 60"))
}

fn readable(path: &Path) -> Result<&Path, String> {
    let fail = |error: &dyn std::fmt::Display| format!("IN={}: {error}", path.display());
    let file = std::fs::File::open(path).map_err(|error| fail(&error))?;
    let data = file.metadata().map_err(|error| fail(&error))?;
    match data.is_dir() {
        true => Err(fail(&"is a folder, not a file")),
        false => Ok(path),
    }
}

/// Checks that a file can be written there, and which kind it is to be.
fn writable(path: &Path) -> Result<Container, String> {
    let container = Container::of(path)?;
    let fail = |error: std::io::Error| format!("OUT={}: {error}", path.display());
    if let Some(folder) = path
        .parent()
        .filter(|f| !f.as_os_str().is_empty() && !f.exists())
    {
        std::fs::create_dir_all(folder).map_err(fail)?;
    }
    if path.is_dir() {
        return Err(format!("OUT={}: is a folder, not a file", path.display()));
    }
    let part = part(path);
    std::fs::File::create(&part).map_err(fail)?;
    std::fs::remove_file(&part).map_err(fail)?;
    Ok(container)
}

/// Where a file is written until it is complete.
fn part(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// The picture beside OUT.
fn beside(out: &Path) -> PathBuf {
    out.with_file_name("demo.png")
}
