//! The published networks against what their authors' code answers (`training/parity/`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use gstvideointerpolate::kernels::{Context, CpuLevel, PhaseMap};
use gstvideointerpolate::network::checkpoint::Checkpoint;
use gstvideointerpolate::network::published::{Encoded, Options, Published, Workspace};

/// Largest and mean difference to the authors' picture, full scale being 1.
const MOST: f32 = 1e-3;
const MEAN: f32 = 1e-5;
/// Largest difference of flow, pixels, relative to the larger of 1 and the authors'.
const FLOW: f32 = 1e-2;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/published")
}

/// `count` values of -1 to 1: as `hashed` in training/parity/common.py.
fn hashed(name: &str, count: usize) -> impl Iterator<Item = f32> {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |seed, byte| {
        (seed ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    (1..=count as u64).map(move |i| {
        let mut x = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
        (x >> 40) as f32 / (1 << 23) as f32 - 1.0
    })
}

/// The checkpoint whose names, sizes and spans `name`.txt lists.
fn checkpoint(name: &str) -> Checkpoint {
    let list = std::fs::read_to_string(folder().join(format!("{name}.txt"))).unwrap();
    let tensor = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        let sizes = words[1].split(',').filter(|s| !s.is_empty());
        let sizes: Vec<usize> = sizes.map(|s| s.parse().unwrap()).collect();
        let [offset, gain] = [2, 3].map(|i: usize| words[i].parse::<f32>().unwrap());
        let values = hashed(words[0], sizes.iter().product()).map(|v| offset + gain * v);
        let values: Vec<f32> = values.collect();
        let tensor = Tensor::from_vec(values, sizes, &Device::Cpu).unwrap();
        (words[0].to_string(), tensor)
    };
    Checkpoint::of(name, list.lines().map(tensor).collect())
}

/// `[height, width, 3]` of waves: as `picture` in training/parity/common.py.
fn paint(height: usize, width: usize, moved: f64, out: &Encoded) {
    let mut values = Vec::with_capacity(height * width * 3);
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        let (x, y) = (x as f64 - moved, y as f64 - moved / 2.0);
        for c in 0..3 {
            let c = f64::from(c);
            let waves = 0.2 * (0.19 * x + c).sin() + 0.2 * (0.13 * y - 0.05 * x + 2.0 * c).cos();
            values.push((0.5 + waves) as f32);
        }
    }
    let picture = Tensor::from_vec(values, (height, width, 3), &Device::Cpu).unwrap();
    out.set_colors(&picture).unwrap();
}

/// Pixels that the pictures are apart.
const MOTION: f64 = 5.0;
/// Steps from one kept value to the next.
const STEP: usize = 7919;

struct Case {
    height: usize,
    width: usize,
    phase: f32,
    options: Options,
    want: HashMap<String, Vec<f32>>,
}

fn cases(name: &str) -> Vec<Case> {
    let path = folder().join(format!("{name}.safetensors"));
    let tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    let of = |i: usize| {
        let prefix = format!("{i}.");
        let own = tensors.iter().filter_map(|(n, t)| {
            let name = n.strip_prefix(&prefix)?.to_string();
            Some((name, t.to_vec1::<f32>().unwrap()))
        });
        let want: HashMap<_, _> = own.collect();
        let setup = want.get("setup")?.clone();
        Some(Case {
            height: setup[0] as usize,
            width: setup[1] as usize,
            phase: setup[2],
            options: Options { scale: setup[3] },
            want,
        })
    };
    (0..).map_while(of).collect()
}

/// The values of the picture's part of `[h, w, c]` that are kept.
fn kept(tensor: &Tensor, case: &Case) -> Vec<f32> {
    let own = tensor.narrow(0, 0, case.height).unwrap();
    let own = own.narrow(1, 0, case.width).unwrap();
    let all: Vec<f32> = own.flatten_all().unwrap().to_vec1().unwrap();
    let count = case.want["picture"].len();
    (0..count).map(|i| all[i * STEP % all.len()]).collect()
}

fn errors(got: &[f32], want: &[f32]) -> (f32, f32) {
    assert_eq!(got.len(), want.len());
    let errors = got.iter().zip(want).map(|(g, w)| (g - w).abs());
    let most = errors.clone().fold(0.0, f32::max);
    (most, errors.sum::<f32>() / want.len() as f32)
}

struct Run {
    workspace: Workspace,
    sides: [Encoded; 2],
}

fn run(network: &Published, context: &Context, case: &Case, phase: &PhaseMap) -> Run {
    let size = (case.height, case.width);
    let mut workspace = network.workspace(context, size, case.options).unwrap();
    let sides = [0.0, MOTION].map(|moved| {
        let mut encoded = network.encoded(&workspace).unwrap();
        paint(case.height, case.width, moved, &encoded);
        network.encode(&mut workspace, &mut encoded).unwrap();
        encoded
    });
    let [left, right] = &sides;
    network
        .estimate(&mut workspace, left, right, phase)
        .unwrap();
    Run { workspace, sides }
}

/// Runs all cases of a network; prints what the README's table says.
fn agrees(name: &str, context: &Context) {
    let checkpoint = checkpoint(name);
    let network = Published::load(&checkpoint, None).unwrap();
    let (mut most, mut mean) = (0f32, 0f32);
    for case in cases(name) {
        let run = run(&network, context, &case, &PhaseMap::Uniform(case.phase));
        let [left, right] = &run.sides;
        let picture = run.workspace.picture(left, right).unwrap();
        let (a, b) = errors(&kept(&picture, &case), &case.want["picture"]);
        (most, mean) = (most.max(a), mean.max(b));
        let flow = run.workspace.motion().narrow(2, 0, 4).unwrap();
        let (got, want) = (kept(&flow, &case), &case.want["flow"]);
        let relative = |(g, w): (&f32, &f32)| (g - w).abs() / w.abs().max(1.0);
        let flow = got.iter().zip(want).map(relative).fold(0.0, f32::max);
        let size = (case.height, case.width, case.phase, case.options.scale);
        assert!(flow <= FLOW, "{name} {size:?}: flow is {flow:e} off");
        assert!(a <= MOST && b <= MEAN, "{name} {size:?}: {a:e}, mean {b:e}");
    }
    let (network, parameters) = (network.name(), network.parameters());
    println!("{name} as {network}: {most:.1e} {mean:.1e} {parameters} parameters");
}

/// All fixtures whose names begin so.
fn all(family: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let stem = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_string());
    let paths = entries.map(|e| e.unwrap().path());
    let lists = paths.filter(|p| p.extension().is_some_and(|e| e == "txt"));
    let mut names: Vec<_> = lists
        .filter_map(stem)
        .filter(|n| n.starts_with(family))
        .collect();
    names.sort();
    assert!(!names.is_empty(), "no fixtures of {family}");
    names
}

#[test]
fn every_version_of_rife_agrees_with_its_authors() {
    let context = Context::new(2).unwrap();
    for name in all("rife-") {
        agrees(&name, &context);
    }
}

#[test]
fn the_plain_kernels_agree_too() {
    let context = Context::with_level(1, CpuLevel::Reference).unwrap();
    for name in ["rife-4.0", "rife-4.22.lite", "rife-4.25.lite"] {
        agrees(name, &context);
    }
}
