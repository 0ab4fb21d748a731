//! The figures for programs. What was not measured is null.

use serde_json::{Map, Value, json};

use crate::measure::{METHODS, Report, Tables, groups};
use crate::options::Options;
use crate::reliability::{Bin, Reliability};
use crate::scores::{Score, Scores};
use crate::table::over_clips;
use crate::uneven::Group;

/// Everything in one object.
pub fn all(options: &Options, reports: &[Report], tables: &Tables) -> Value {
    let means = by_method(|m| {
        let (mean, worst) = (Scores::mean, Scores::worst);
        summary(over_clips(reports, m, mean), over_clips(reports, m, worst))
    });
    let mut all = json!({
        "weights": options.weights(),
        "step": options.step,
        "clips": reports.iter().map(clip).collect::<Vec<_>>(),
        "mean": means,
    });
    if options.reliability {
        let table = &tables.cells;
        let bins = table.bins.iter().enumerate();
        all["reliability"] = bins.map(|(i, b)| bin(i, b, table.cells())).collect();
    }
    if options.uneven {
        all["uneven"] = groups(reports).iter().map(group).collect();
    }
    if options.coherence {
        let of = tables.failures.summary();
        all["coherence"] = json!({
            "frames": of.frames,
            "again": of.again,
            "precision_by_stake": of.by_stake,
            "precision_by_incoherence": of.by_incoherence,
            "precision_of_noise_frames": of.noise_frames,
            "precision_of_noise_cells": of.noise_cells,
            "noise_cells": of.noise_share,
        });
    }
    all
}

fn clip(report: &Report) -> Value {
    let mut all = by_method(|m| {
        let scores = &report.scores[m];
        summary(scores.mean(), scores.worst())
    });
    all.insert("clip".into(), json!(report.name));
    all.insert("frames".into(), json!(report.scores[0].frames.len()));
    all.insert("cuts".into(), json!(report.cuts));
    all.insert("seconds".into(), json!(report.seconds));
    let frames = by_method(|m| {
        let frames = &report.scores[m].frames;
        let each = |value: fn(&Score) -> f64| frames.iter().map(value).collect::<Vec<_>>();
        json!({
            "psnr": each(|s| s.psnr),
            "ssim": each(|s| s.ssim),
            "flicker": each(|s| s.flicker),
        })
    });
    all.insert("per_frame".into(), Value::Object(frames));
    Value::Object(all)
}

fn group(group: &Group) -> Value {
    let psnr = METHODS.iter().zip(&group.scores);
    json!({
        "frames": group.frames,
        "pixels": group.pixels,
        "psnr": psnr.map(|(name, s)| (name.to_string(), json!(s.psnr))).collect::<Map<_, _>>(),
    })
}

fn by_method(each: impl Fn(usize) -> Value) -> Map<String, Value> {
    let methods = METHODS.iter().enumerate();
    methods
        .map(|(m, name)| (name.to_string(), each(m)))
        .collect()
}

fn summary(mean: Score, worst: Score) -> Value {
    json!({
        "psnr": mean.psnr,
        "ssim": mean.ssim,
        "flicker": mean.flicker,
        "worst_psnr": worst.psnr,
        "worst_ssim": worst.ssim,
        "worst_flicker": worst.flicker,
    })
}

fn bin(index: usize, bin: &Bin, cells: u64) -> Value {
    let (from, to) = Reliability::range(index);
    json!({
        "from": from,
        "to": to,
        "cells": bin.cells,
        "share": bin.cells as f64 / cells as f64,
        "predicted": bin.predicted(),
        "error": bin.error(),
        "nearer_error": bin.nearer_error(),
        "no_worse": bin.better(),
    })
}
