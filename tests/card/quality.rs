//! Real pictures: what a card makes of them beside the CPU. A table for a person, run by name with a folder of raw files:
//!
//! ```sh
//! CARD_CLIPS=folder scripts/cuda.sh cargo test --release --features cuda --test card -- --ignored --nocapture quality
//! ```
//!
//! `folder/NAME.1280x720.i420` has two pictures or more, of 4:2:0 in 8 bits.

use std::path::{Path, PathBuf};

use gstvideointerpolate::interpolator::{Interpolator, Options, Settings};
use gstvideointerpolate::kernels::{Context, PhaseMap, Precision};
use gstvideointerpolate::network::{Model, Variant};
use gstvideointerpolate::picture::{Format, Picture};

use super::common::Owned;
use super::{LEAST_PSNR, card, contexts, psnr};

/// The folder of raw files.
const CLIPS: &str = "CARD_CLIPS";

/// The first two pictures of a file.
fn pair(path: &Path) -> ((u32, u32), [Owned; 2]) {
    let name = path.file_stem().and_then(|s| s.to_str()).expect("a name");
    let (_, size) = name.rsplit_once('.').expect("NAME.1280x720.i420");
    let (w, h) = size.split_once('x').expect("NAME.1280x720.i420");
    let size: (u32, u32) = (w.parse().expect("a width"), h.parse().expect("a height"));
    let bytes = std::fs::read(path).expect("a file");
    let mut rows = &bytes[..];
    let picture = |_| {
        let mut picture = Owned::new(Format::I420, size, 0);
        let mut to = picture.picture_mut();
        for plane in 0..Format::I420.planes() {
            for y in 0..Format::I420.rows(plane, size.1) {
                let row = to.row_mut(plane, y);
                let (now, later) = rows.split_at(row.len());
                row.copy_from_slice(now);
                rows = later;
            }
        }
        picture
    };
    (size, [0, 1].map(picture))
}

/// The picture in the middle.
fn made(context: &Context, model: &Model, size: (u32, u32), sides: [&Picture; 2]) -> Owned {
    let options = Options::default();
    let made = Interpolator::with_context(model.clone(), Format::I420, size, context, options);
    let mut interpolator = made.unwrap();
    let encoded = sides.map(|picture| interpolator.encode(picture).unwrap());
    let mut out = Owned::new(Format::I420, size, 0);
    let (settings, phase) = (Settings::default(), PhaseMap::Uniform(0.5));
    let (left, right) = ((sides[0], &*encoded[0]), (sides[1], &*encoded[1]));
    let to = &mut out.picture_mut();
    let made = interpolator.interpolate(left, right, &phase, &settings, to);
    made.unwrap();
    out
}

#[test]
#[ignore = "a table of files that are given"]
fn quality() {
    let Some(gpu) = card() else { return };
    let folder = std::env::var(CLIPS).expect("CARD_CLIPS=folder");
    let files = std::fs::read_dir(folder).expect("a folder");
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no files");
    println!("\n| clip | network | precision | PSNR beside the CPU's, dB | of one picture twice |");
    println!("|---|---|---|---|---|");
    let mut least = f64::INFINITY;
    for path in &files {
        let (size, [one, other]) = pair(path);
        let (one, other) = (one.picture(), other.picture());
        for variant in Variant::ALL {
            let model = Model::from(variant.network().unwrap());
            let [cpu, _] = contexts(&gpu, Precision::Single);
            let want = made(&cpu, &model, size, [&one, &other]);
            for precision in Precision::ALL {
                let [_, card] = contexts(&gpu, precision);
                let found = made(&card, &model, size, [&one, &other]);
                let twice = made(&card, &model, size, [&one, &one]);
                let (psnr, twice) = (
                    psnr(&want.picture(), &found.picture()),
                    psnr(&one, &twice.picture()),
                );
                let name = path.file_name().unwrap().to_string_lossy();
                let (network, precision) = (variant.name(), precision.name());
                println!("| {name} | {network} | {precision} | {psnr:.1} | {twice:.1} |");
                assert_eq!(twice, f64::INFINITY, "{name}");
                least = least.min(psnr);
            }
        }
    }
    assert!(least >= LEAST_PSNR, "{least} dB");
}
