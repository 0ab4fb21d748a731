//! Draws what the property `curves` does: two discs that pass each other, made evenly and with the bright one easing in. Prints
//! where they are, measured, and where they should be.
//!
//! ```text
//! curves FILE.png
//! ```

#[path = "common/mod.rs"]
mod common;

use std::path::Path;
use std::process::ExitCode;

use common::discs::{BRIGHT, DARK, Discs};
use common::frame::{BT709, Frame};
use common::middle::picture;
use common::program;
use common::sheet::{LINE, Sheet};
use gstvideointerpolate::curves::{Curves, Moment};
use gstvideointerpolate::interpolator::{Interpolator, Labels, Retiming, Settings};
use gstvideointerpolate::network::Network;
use gstvideointerpolate::picture::{Format, PictureMut};

const SCENE: Discs = Discs {
    width: 176,
    height: 112,
};
/// Where the discs are in both frames, pixels.
const ENDS: [[f32; 2]; 2] = [[72.0, 102.0], [102.0, 72.0]];
/// Frames of a row, the ends included.
const FRAMES: usize = 5;
const GAP: usize = 8;
const HEADING: usize = LINE + 8;

fn main() -> ExitCode {
    program::exit_code(|| {
        let file = std::env::args().nth(1).filter(|f| f.ends_with(".png"));
        draw(Path::new(&file.ok_or("curves FILE.png")?))
    })
}

fn draw(file: &Path) -> Result<(), String> {
    let curve = format!("{BRIGHT}: cubic 0.5,0.15");
    let (right, below) = (SCENE.width + GAP, SCENE.height + HEADING);
    let mut sheet = Sheet::new(FRAMES * right + GAP, 2 * below + GAP);
    for (row, curves) in ["", &curve].into_iter().enumerate() {
        let heading = match curves {
            "" => "WITHOUT CURVES",
            _ => "WITH A CURVE FOR THE BRIGHT DISC",
        };
        sheet.write(heading, GAP, row * below + (HEADING - LINE) / 2);
        println!("{heading}");
        let curves = Curves::parse(curves).map_err(|problem| problem.to_string())?;
        let frames = frames(&curves).map_err(|error| error.to_string())?;
        for (column, frame) in frames.iter().enumerate() {
            let phase = column as f32 / (FRAMES - 1) as f32;
            let wanted = wanted(&curves, phase);
            println!(
                "{phase}: {:.2?}, wanted {wanted:.2?}",
                SCENE.measured(frame)
            );
            for i in 0..SCENE.width * SCENE.height {
                let (x, y) = (i % SCENE.width, i / SCENE.width);
                let rgb = frame.rgb(x, y, BT709);
                sheet.put(GAP + column * right + x, row * below + HEADING + y, rgb);
            }
        }
    }
    sheet.save(file)
}

/// Where the discs should be.
fn wanted(curves: &Curves, phase: f32) -> [f32; 2] {
    let running = None;
    let distances = curves.distances(&Moment { phase, running });
    let distance = |label: u8| {
        let own = distances.iter().find(|d| d.0 == label);
        own.map_or(phase, |d| d.1)
    };
    let [from, to] = ENDS;
    let shares = [distance(BRIGHT), distance(DARK)];
    [0, 1].map(|disc| from[disc] + shares[disc] * (to[disc] - from[disc]))
}

/// Both frames and those between them.
fn frames(curves: &Curves) -> gstvideointerpolate::error::Result<Vec<Frame>> {
    let (width, height) = (SCENE.width, SCENE.height);
    let size = (width as u32, height as u32);
    let ends = ENDS.map(|columns| SCENE.at(columns));
    let masks = ENDS.map(|columns| SCENE.labels(columns, (width, height)));
    let mut engine = Interpolator::new(Network::embedded()?, Format::I420, size.0, size.1, 0)?;
    let pictures = [picture(&ends[0])?, picture(&ends[1])?];
    let encoded = [engine.encode(&pictures[0])?, engine.encode(&pictures[1])?];
    let labels = |side: usize| Labels::new(width, height, &masks[side]);
    // so little of the picture stands still that it might be taken for a cut
    let settings = Settings {
        scene_threshold: 0.0,
        ..Settings::default()
    };
    let mut frames = vec![ends[0].clone()];
    for k in 1..FRAMES - 1 {
        let phase = k as f32 / (FRAMES - 1) as f32;
        let running = None;
        let retiming = Retiming {
            phase,
            labels: [Some(labels(0)?), Some(labels(1)?)],
            distances: &curves.distances(&Moment { phase, running }),
            held: &curves.held(),
        };
        let mut made = Frame::new(width, height);
        let strides = [0, 1, 2].map(|plane| made.plane_size(plane).0 as isize);
        let [y, u, v] = made.planes_mut();
        let planes = &mut [(y, strides[0]), (u, strides[1]), (v, strides[2])];
        let mut out = PictureMut::new(Format::I420, size.0, size.1, planes)?;
        let sides = [0, 1].map(|side| (&pictures[side], &*encoded[side]));
        engine.retime(None, sides[0], sides[1], &retiming, &settings, &mut out)?;
        frames.push(made);
    }
    frames.push(ends[1].clone());
    Ok(frames)
}
