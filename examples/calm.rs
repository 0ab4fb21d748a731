//! How calm brightness and colour are when the rate of clips is doubled.
//!
//! ```text
//! calm CLIP ...
//! ```
//!
//! In code values of 8 bits, for Y, U and V each: by how much the mean of made frames is off the
//! mean of their neighbours' (over the clip), the line that the means have at the originals' rate,
//! and what the originals alone have as noise. Clips with a cut inside are split there.

mod common;

use std::path::Path;
use std::process::ExitCode;

use common::decode;
use common::frame::Frame;
use common::middle::Middle;
use common::rhythm::{Means, beat, offset};
use gstvideointerpolate::interpolator::Outcome;

const USAGE: &str = "calm CLIP ...";
/// Frames that a rhythm can be seen in.
const LEAST: usize = 8;

fn main() -> ExitCode {
    common::program::exit_code(run)
}

fn run() -> Result<(), String> {
    let clips: Vec<String> = std::env::args().skip(1).collect();
    if clips.is_empty() || clips.iter().any(|c| c.starts_with('-')) {
        return Err(USAGE.into());
    }
    gst::init().map_err(|error| error.to_string())?;
    println!(
        "{:<20} {:>23} {:>23} {:>23}",
        "", "off, Y U V", "line, Y U V", "noise, Y U V"
    );
    for clip in clips.iter().map(Path::new) {
        let name = clip.file_stem().unwrap_or_default().to_string_lossy();
        for stream in doubled(clip)?.iter().filter(|s| s.len() > 2 * LEAST) {
            print(&name, stream);
        }
    }
    Ok(())
}

fn print(name: &str, stream: &[Means]) {
    print!("{name:<20}");
    let beats = [0, 1, 2].map(|i| beat(&stream.iter().map(|m| m[i]).collect::<Vec<_>>()));
    for row in [offset(stream), beats.map(|b| b.0), beats.map(|b| b.1)] {
        row.iter().for_each(|v| print!(" {v:>7.3}"));
    }
    println!();
}

/// Means of originals and, between them, of what is made; a new stream after each cut.
fn doubled(clip: &Path) -> Result<Vec<Vec<Means>>, String> {
    let mut streams: Vec<Vec<Means>> = Vec::new();
    let mut middle = None;
    let mut last: Option<Frame> = None;
    let mut failure = None;
    decode::for_each(clip, |frame, _| {
        let made = last.as_ref().map(|left| made(&mut middle, left, &frame));
        match made {
            Some(Err(error)) => failure = Some(error),
            Some(Ok(Some(between))) => {
                if let Some(stream) = streams.last_mut() {
                    stream.extend([means(&between), means(&frame)]);
                }
            }
            Some(Ok(None)) | None => streams.push(vec![means(&frame)]),
        }
        last = Some(frame);
        failure.is_none()
    })?;
    match failure {
        Some(error) => Err(format!("{}: {error}", clip.display())),
        None => Ok(streams),
    }
}

/// The frame half way; `None` at a cut.
fn made(middle: &mut Option<Middle>, left: &Frame, right: &Frame) -> Result<Option<Frame>, String> {
    let size = (left.width, left.height);
    if (right.width, right.height) != size {
        return Err("its size changes".into());
    }
    if middle.is_none() {
        *middle = Some(Middle::built_in(size).map_err(|error| error.to_string())?);
    }
    let engine = middle.as_mut().ok_or("no engine")?;
    let (made, outcome) = engine
        .make(left, right)
        .map_err(|error| error.to_string())?;
    Ok((outcome == Outcome::Interpolated).then_some(made))
}

fn means(frame: &Frame) -> Means {
    frame.planes().map(|plane| {
        let sum: u64 = plane.iter().map(|v| u64::from(*v)).sum();
        sum as f64 / plane.len() as f64
    })
}
