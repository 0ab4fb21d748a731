//! How good a model is: frames of real clips are withheld, made again and compared.
//!
//! ```text
//! evaluate [--quality NAME] [--model FILE] [--scale X] [--motion NAME] [--predict] [--threads N]
//!          [--step N] [--no-minterpolate] [--reliability] [--uneven] [--coherence] [--sheets FOLDER] [--json]
//!          CLIP | FOLDER ...
//! ```
//!
//! Every `--step`th frame (2) of a clip is kept, and all between are made: with 4 and 8 from a
//! quarter and an eighth of the frames. What is left over at the end of a clip is not looked at. In
//! a folder the clips whose names begin with `cut_` are left out: across a cut there is no truth.
//!
//! With `--motion trajectory` the next kept frame counts as well.
//!
//! With `--predict` frames are made from the two kept ones before them, as with `latency-mode=zero`; those of the first gap are
//! left out. Blending has the next kept frame all the same; repeating is what to beat.
//!
//! The same frames are made by what costs nothing, blending the neighbours and repeating the
//! earlier one, and by ffmpeg's `minterpolate` with its defaults, if `ffmpeg` is on PATH. It runs
//! beside the measurement and takes most of the time; the frames a second are those of the model
//! alone without it.
//!
//! All figures are of luma, in codes of 8 bits, of the made frames only:
//!
//! - PSNR in dB, and SSIM; means over the frames.
//! - "worst 5 %": the PSNR that a twentieth of a clip's frames lie below.
//! - flicker: mean over the frames and pixels of `|(m[k] - m[k-1]) - (t[k] - t[k-1])|`, codes, where
//!   `m` are the made frames one after the other, without the kept ones between them, and `t` the
//!   true ones at the same times. 0 is as steady as the truth; an error that stays is no flicker.
//!
//! `--sheets` writes a picture a clip, of its worst frames: the truth, the made frame, the absolute
//! error of luma (four times), the motion as a colour wheel, the confidence.
//!
//! `--reliability` tells what the confidence is worth: cells of 4x4 pixels of all clips, by the
//! error that their confidence predicts, and how far they and the nearer kept frame are off.
//!
//! `--uneven` splits the frames of all clips into the third whose true motion is least even and the others: how far the
//! cells of 8x8 pixels of the true frame are, in the median, from where even motion would have them, as the search tells that
//! finds them in both kept frames. The model plays no part in that.
//!
//! `--coherence` has the motion looked at for what contradicts itself, and estimated again where much of it does, as the element's
//! property. It tells how often that was, and how well failures are found, as the average precision (the mean, over all failures, of the
//! share of failures among what scores as high): of frames with the worst tenth of the errors, by how much luma is at stake and by mean
//! incoherence; and of noise put into the motion found of every tenth frame, by incoherence, of the cells and of the frames.

mod coherence;
#[path = "../common/mod.rs"]
mod common;
mod json;
mod measure;
mod minterpolate;
mod options;
mod reliability;
mod scores;
mod table;
mod uneven;
mod worst;

use std::process::ExitCode;

use options::Options;

fn main() -> ExitCode {
    common::program::exit_code(run)
}

fn run() -> Result<(), String> {
    let mut options = Options::read(std::env::args().skip(1))?;
    gst::init().map_err(|error| error.to_string())?;
    if options.minterpolate && !minterpolate::is_there() {
        eprintln!("no ffmpeg on PATH: minterpolate is left out");
        options.minterpolate = false;
    }
    if let Some(folder) = &options.sheets {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("--sheets {}: {error}", folder.display()))?;
    }
    if !options.json {
        table::heading();
    }
    let mut tables = measure::Tables::default();
    let (mut reports, mut failures) = (Vec::new(), Vec::new());
    for clip in &options.clips {
        match measure::clip(clip, &options, &mut tables) {
            Ok(report) => {
                if !options.json {
                    table::row(&report);
                }
                reports.push(report);
            }
            Err(failure) => failures.push(failure),
        }
    }
    if options.json && !reports.is_empty() {
        println!("{}", json::all(&options, &reports, &tables));
    } else if !reports.is_empty() {
        table::totals(&reports);
        if options.reliability {
            table::reliability(&tables.cells);
        }
        if options.uneven {
            table::uneven(&measure::groups(&reports));
        }
        if options.coherence {
            table::failures(&tables.failures.summary());
        }
    }
    common::program::outcome(&failures)
}
