//! The figures for people.

use crate::coherence::Summary;
use crate::measure::{METHODS, Report};
use crate::reliability::Reliability;
use crate::scores::{Score, Scores, mean};
use crate::uneven::Group;

/// Above the rows of the clips.
pub fn heading() {
    print!("{:<20}", "PSNR-Y, dB");
    METHODS.iter().for_each(|name| print!(" {name:>12}"));
    println!(" {:>6} {:>5} {:>7}", "frames", "cuts", "fps");
}

/// One clip.
pub fn row(report: &Report) {
    print!("{:<20}", report.name);
    for scores in &report.scores {
        print!(" {:>12}", text(scores.mean().psnr, 2));
    }
    let frames = report.scores[0].frames.len();
    let rate = frames as f64 / report.seconds.max(1e-9);
    println!(" {frames:>6} {:>5} {rate:>7.1}", report.cuts);
}

/// All clips.
pub fn totals(reports: &[Report]) {
    println!();
    println!(
        "{:<20} {:>8} {:>8} {:>10} {:>8}",
        "mean over clips", "PSNR-Y", "SSIM-Y", "worst 5 %", "flicker"
    );
    for (method, name) in METHODS.iter().enumerate() {
        let all = over_clips(reports, method, Scores::mean);
        if all.psnr.is_nan() {
            continue;
        }
        let low = over_clips(reports, method, Scores::worst);
        println!(
            "{name:<20} {:>8} {:>8} {:>10} {:>8}",
            text(all.psnr, 2),
            text(all.ssim, 4),
            text(low.psnr, 2),
            text(all.flicker, 3)
        );
    }
    println!();
    for (method, name) in METHODS.iter().enumerate().skip(1) {
        let psnr = |report: &&Report, method: usize| report.scores[method].mean().psnr;
        let measured = reports.iter().filter(|r| !psnr(r, method).is_nan());
        let above = measured.clone().filter(|r| psnr(r, 0) > psnr(r, method));
        let (above, measured) = (above.count(), measured.count());
        if measured > 0 {
            println!("model above {name} on {above} of {measured} clips");
        }
    }
}

/// Mean over clips of a summary of each clip.
pub fn over_clips(reports: &[Report], method: usize, summary: fn(&Scores) -> Score) -> Score {
    let each = reports.iter().map(|r| summary(&r.scores[method]));
    mean(&each.collect::<Vec<_>>())
}

/// What the confidence is worth.
pub fn reliability(table: &Reliability) {
    println!();
    println!(
        "{:<12} {:>8} {:>9} {:>8} {:>8} {:>10}",
        "predicted", "cells %", "mean", "error", "nearer", "no worse %"
    );
    for (i, bin) in table.bins.iter().enumerate() {
        let range = match Reliability::range(i) {
            (from, Some(to)) => format!("{from} to {to}"),
            (from, None) => format!("{from} or more"),
        };
        let share = bin.cells as f64 / table.cells() as f64;
        println!(
            "{range:<12} {:>8} {:>9} {:>8} {:>8} {:>10}",
            text(100.0 * share, 3),
            text(bin.predicted(), 2),
            text(bin.error(), 2),
            text(bin.nearer_error(), 2),
            text(100.0 * bin.better(), 1)
        );
    }
    println!(
        "mean absolute error of luma, codes: as predicted, of the frame made, of the nearer kept one"
    );
    println!(
        "calibration error, mean over cells: {}",
        text(table.calibration_error(), 3)
    );
}

/// What uneven motion costs.
pub fn uneven(groups: &[Group]) {
    println!();
    print!("{:<20} {:>6} {:>10}", "PSNR-Y, dB", "frames", "uneven, px");
    METHODS.iter().for_each(|name| print!(" {name:>12}"));
    println!();
    for group in groups {
        let Group { name, frames, .. } = group;
        print!("{name:<20} {frames:>6} {:>10}", text(group.pixels, 2));
        group
            .scores
            .iter()
            .for_each(|score| print!(" {:>12}", text(score.psnr, 2)));
        println!();
    }
}

/// What the coherence is worth.
pub fn failures(of: &Summary) {
    println!();
    let share = 100.0 * of.again as f64 / of.frames as f64;
    println!(
        "motion estimated again for {} of {} frames ({} %)",
        of.again,
        of.frames,
        text(share, 1)
    );
    println!("average precision");
    for (what, precision, chance) in [
        (
            "worst tenth of the frames, by luma at stake",
            of.by_stake,
            0.1,
        ),
        (
            "worst tenth of the frames, by incoherence",
            of.by_incoherence,
            0.1,
        ),
        ("frames with noise in their motion", of.noise_frames, 0.1),
        (
            "cells with noise in their motion",
            of.noise_cells,
            of.noise_share,
        ),
    ] {
        println!(
            "{what:<46} {:>6} (chance {})",
            text(precision, 3),
            text(chance, 3)
        );
    }
}

/// A number, or a dash where there is none.
fn text(value: f64, digits: usize) -> String {
    match value.is_nan() {
        true => "-".into(),
        false => format!("{value:.digits$}"),
    }
}
