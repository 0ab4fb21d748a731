//! The picture in README, from the clip that we draw ourselves: its turning disc bears a painted mark, whose place is known.

use std::path::Path;

use gstvideointerpolate::error::Error;

use crate::common::clip::Clip;
use crate::common::frame::{BT709, Frame};
use crate::common::metrics::psnr;
use crate::common::sheet::{LINE, Sheet};
use crate::surface::Surface;
use crate::{Options, chained, filters, propagate, steps};

const SIZE: (usize, usize) = (640, 360);
const RATE: f32 = 30.0;
/// The first frame, which is a keyframe, and the one that is shown, from there on.
const FIRST: usize = 15;
const SHOWN: usize = 6;
/// What is seen of the picture, in pixels, how much larger, and the space between.
const WINDOW: (usize, usize, usize, usize) = (90, 70, 200, 220);
const SCALE: usize = 2;
const GAP: usize = 8;
const HEADING: usize = 24;

/// Draws it to a file.
pub fn write(path: &Path, options: &Options) -> Result<(), String> {
    let times: Vec<f32> = (0..=options.every)
        .map(|n| (FIRST + n) as f32 / RATE)
        .collect();
    let clip = Clip::new(SIZE.0, SIZE.1);
    let frames: Vec<Frame> = times.iter().map(|time| clip.at(*time)).collect();
    let surface = disc(&times);
    let look = |(n, frame)| filters::mark(&filters::tone(frame), &surface, n);
    let truth: Vec<Frame> = frames.iter().enumerate().map(look).collect();
    let say = |error: Error| error.to_string();
    let chain = chained(&truth, &steps(&frames).map_err(say)?, options.every);
    let lookahead = options.every;
    let (made, _) =
        propagate(&frames, &truth, options.every, lookahead, &options.settings).map_err(say)?;
    let n = SHOWN.min(options.every - 1);
    for (name, made) in [("chained", &chain), ("made", &made)] {
        let far = psnr(made[n].planes()[0], truth[n].planes()[0]);
        println!("{name}: {far:.2} dB in the frame shown");
    }
    let panels = [
        ("SOURCE", &frames[n]),
        ("CHAINED", &chain[n]),
        ("MADE", &made[n]),
        ("TRUE", &truth[n]),
    ];
    draw(path, &panels)
}

/// The disc's motion, as [`Clip`] has it, and a block on it.
fn disc(times: &[f32]) -> Surface {
    let height = SIZE.1 as f32;
    let middle = |time: f32| {
        let y = 0.5 + 0.14 * (std::f32::consts::PI * time).sin();
        [(0.15 + 0.55 * time) * height, y * height].map(f64::from)
    };
    let angle = |time: f32| f64::from(1.6 * time);
    let first = times[0];
    let maps = times.iter().map(|time| {
        let (sin, cos) = (angle(*time) - angle(first)).sin_cos();
        let (from, to) = (middle(first), middle(*time));
        [to[0] - from[0], cos, -sin, to[1] - from[1], sin, cos]
    });
    let half = [0.15, 0.09].map(|share| share * f64::from(height));
    Surface::known(middle(first), half, maps.collect())
}

fn draw(path: &Path, panels: &[(&str, &Frame)]) -> Result<(), String> {
    let (left, top, width, height) = WINDOW;
    let (wide, high) = (width * SCALE, height * SCALE);
    let mut sheet = Sheet::new(panels.len() * (wide + GAP) + GAP, high + HEADING + GAP);
    for (i, (name, frame)) in panels.iter().enumerate() {
        let corner = GAP + i * (wide + GAP);
        sheet.write(name, corner, (HEADING - LINE) / 2);
        for y in 0..high {
            for x in 0..wide {
                let rgb = frame.rgb(left + x / SCALE, top + y / SCALE, BT709);
                sheet.put(corner + x, HEADING + y, rgb);
            }
        }
    }
    sheet.save(path)
}
