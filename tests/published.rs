//! The published networks against what their authors' code answers (`training/parity/`).

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use gstvideointerpolate::interpolator::{Interpolator, Outcome, Settings};
use gstvideointerpolate::kernels::{Context, CpuLevel, PhaseMap};
use gstvideointerpolate::network::Model;
use gstvideointerpolate::network::checkpoint::Checkpoint;
use gstvideointerpolate::network::published::{Encoded, Options, Published, Workspace};
use gstvideointerpolate::picture::{Channel, Format};

#[path = "common/checkpoints.rs"]
mod checkpoints;
mod common;
#[path = "published/loading.rs"]
mod loading;
#[path = "published/parts.rs"]
mod parts;

use checkpoints::{fixtures, folder, tensors, waves};
use common::Owned;

/// Largest and mean difference to the authors' picture, full scale being 1.
const MOST: f32 = 1e-3;
const MEAN: f32 = 1e-5;
/// Largest difference of flow, pixels, relative to the larger of 1 and the authors'.
const FLOW: f32 = 1e-2;

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

/// What the last number of a case means.
fn options(name: &str, last: f32) -> Options {
    match name {
        "film" => Options {
            recursion: last as u32,
            ..Options::default()
        },
        _ if name.ends_with("-dr") => Options {
            iterations: last as u32,
            ..Options::default()
        },
        _ => Options {
            scale: Some(last),
            ..Options::default()
        },
    }
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
            options: options(name, setup[3]),
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
    run_on(network, context, case.options, phase, |moved| {
        waves(size, moved)
    })
}

/// Between two pictures, each told by how far it has moved.
fn run_on(
    network: &Published,
    context: &Context,
    options: Options,
    phase: &PhaseMap,
    picture: impl Fn(f64) -> Tensor,
) -> Run {
    let pictures = [0.0, MOTION].map(picture);
    let (h, w, _) = pictures[0].dims3().unwrap();
    let mut workspace = network.workspace(context, (h, w), options).unwrap();
    let sides = pictures.map(|picture| {
        let mut encoded = network.encoded(&workspace).unwrap();
        workspace.set_colors(&encoded, &picture).unwrap();
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
    let network = Published::load(&Checkpoint::of(name, tensors(name)), None).unwrap();
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

#[test]
fn every_version_of_rife_agrees_with_its_authors() {
    let context = Context::new(2).unwrap();
    for name in fixtures("rife-") {
        agrees(&name, &context);
    }
}

#[test]
fn every_version_of_ifrnet_agrees_with_its_authors() {
    let context = Context::new(2).unwrap();
    for name in fixtures("ifrnet") {
        agrees(&name, &context);
    }
}

#[test]
fn both_sizes_of_ema_vfi_agree_with_their_authors() {
    let context = Context::new(2).unwrap();
    for name in fixtures("ema") {
        agrees(&name, &context);
    }
}

#[test]
fn every_size_of_amt_agrees_with_its_authors() {
    let context = Context::new(2).unwrap();
    for name in fixtures("amt") {
        agrees(&name, &context);
    }
}

#[test]
fn film_agrees_with_its_port_and_halves_as_its_authors_do() {
    agrees("film", &Context::new(2).unwrap());
}

#[test]
fn the_plain_kernels_agree_too() {
    let context = Context::with_level(1, CpuLevel::Reference).unwrap();
    for name in ["rife-4.0", "rife-4.22.lite", "rife-4.25.lite", "ifrnet-s"] {
        agrees(name, &context);
    }
}

/// A bias that a network has all over its picture: three quarters of a code of 8 bits.
const BIAS: f32 = 0.003;

/// The network of a fixture, its last layers scaled by `gain`. One with a residual has a bias in it.
fn model(name: &str, gain: f64) -> Model {
    let mut tensors = tensors(name);
    let is_last = |n: &str| n.contains("lastconv") || n.contains("convblock.2.");
    let last = tensors.iter_mut().filter(|(n, _)| is_last(n));
    last.for_each(|(_, t)| *t = (&*t * gain).unwrap());
    if let Some(bias) = tensors.get_mut("decoder1.convblock.2.bias") {
        *bias = Tensor::new(&[0.0, 0.0, 0.0, 0.0, 0.0, BIAS, BIAS, BIAS], &Device::Cpu).unwrap();
    }
    let network = Published::load(&Checkpoint::of(name, tensors), None).unwrap();
    Model::Published(Arc::new(network))
}

/// Eight to sixteen bits a sample, planar, interleaved, of three colours.
const FORMATS: [Format; 7] = [
    Format::I420,
    Format::Nv12,
    Format::I420_10,
    Format::P010,
    Format::Yuy2,
    Format::Rgb,
    Format::Gray8,
];
const SIZE: (u32, u32) = (96, 50);
/// One of each family; they share what is tested here.
const FAMILIES: [&str; 2] = ["rife-4.25.lite", "ifrnet-s"];

/// Waves whose means do not change as they move, noise on the left half, which stands still.
fn scene(format: Format, moved: f32) -> Owned {
    Owned::painted(format, SIZE, 3, |channel, x, y| {
        let phase = 0.7 * channel as u8 as f32;
        let turn = std::f32::consts::TAU / 48.0;
        if x < 48.0 {
            return 0.5 + 0.2 * (12.9 * x + 78.2 * y + phase).sin();
        }
        0.5 + 0.2 * (turn * (x - moved) + phase).sin() + 0.1 * (turn * (y + x) + phase).cos()
    })
}

fn made(model: Model, sides: [&Owned; 2], phase: f32) -> Owned {
    made_in_parts(model, sides, phase, None)
}

fn made_in_parts(
    model: Model,
    [left, right]: [&Owned; 2],
    phase: f32,
    longest: Option<usize>,
) -> Owned {
    let (format, size) = (left.format, left.size);
    let options = Options {
        longest,
        ..Options::default()
    };
    let interpolator = Interpolator::with_options(model, format, size, 2, options);
    let mut interpolator = interpolator.unwrap();
    let (l, r) = (left.picture(), right.picture());
    let (le, re) = (
        interpolator.encode(&l).unwrap(),
        interpolator.encode(&r).unwrap(),
    );
    let mut out = Owned::new(format, left.size, 5);
    let (phase, settings) = (PhaseMap::Uniform(phase), Settings::default());
    let target = &mut out.picture_mut();
    let outcome = interpolator.interpolate((&l, &le), (&r, &re), &phase, &settings, target);
    assert_eq!(outcome.unwrap(), Outcome::Interpolated);
    out
}

/// Mean of each component in codes of 8 bits, over all or the first `columns` of it.
fn means(owned: &Owned) -> Vec<(Channel, f64)> {
    let mean = |c: &gstvideointerpolate::picture::Component| {
        let (w, h) = (c.width(SIZE.0 as usize), c.height(SIZE.1 as usize));
        let picture = owned.picture();
        let rows = (0..h).map(|y| {
            let row = picture.row(c.plane, y);
            (0..w).map(|x| f64::from(c.load(row, x))).sum::<f64>()
        });
        let unit = f64::from(1u32 << (c.depth - 8));
        (c.channel, rows.sum::<f64>() / (w * h) as f64 / unit)
    };
    owned.format.components().iter().map(mean).collect()
}

/// Codes of 8 bits that the mean of a made picture may be off.
const CALM: f64 = 0.25;

#[test]
fn brightness_and_colour_of_made_pictures_are_those_of_the_originals() {
    for name in FAMILIES {
        // hardly any motion, and flows of several pixels wherever they point to
        for (gain, calm) in [(0.01, CALM), (1.0, 8.0 * CALM)] {
            // the residual of a network that has learnt nothing is a picture of its own
            if gain == 1.0 && !name.starts_with("rife") {
                continue;
            }
            let model = model(name, gain);
            for format in FORMATS {
                let (left, right) = (scene(format, 0.0), scene(format, 3.0));
                let want = means(&left);
                let made = made(model.clone(), [&left, &right], 0.5);
                for ((channel, got), (_, want)) in means(&made).into_iter().zip(want) {
                    let off = (got - want).abs();
                    let what = format!("{name} times {gain}, {format:?} {channel:?}");
                    assert!(off <= calm, "{what}: {got} for {want}");
                }
            }
        }
    }
}

#[test]
fn what_stands_still_is_kept_bit_for_bit() {
    for name in FAMILIES {
        let model = model(name, 0.01);
        for format in FORMATS {
            let (left, right) = (scene(format, 0.0), scene(format, 3.0));
            let made = made(model.clone(), [&left, &right], 0.3);
            for c in format.components() {
                for y in 0..c.height(SIZE.1 as usize) {
                    // up to where sixteen bytes together are still
                    for x in 0..(32 >> c.sub_x) {
                        let [l, m] = [&left, &made].map(|o| c.load(o.picture().row(c.plane, y), x));
                        assert_eq!(l, m, "{name}, {format:?} {:?} at {x},{y}", c.channel);
                    }
                }
            }
        }
    }
}

#[test]
fn a_plane_of_one_phase_is_that_phase() {
    let context = Context::new(2).unwrap();
    for name in ["rife-4.25", "rife-dr", "ifrnet-d", "ema-small", "amt-s"] {
        let network = Published::load(&Checkpoint::of(name, tensors(name)), None).unwrap();
        let case = &cases(name)[2];
        let cells = (case.height.div_ceil(8), case.width.div_ceil(8));
        let plane = Tensor::full(case.phase, cells, &Device::Cpu).unwrap();
        let phases = [PhaseMap::Uniform(case.phase), PhaseMap::Plane(plane)];
        let [uniform, plane] = phases.map(|phase| {
            let run = run(&network, &context, case, &phase);
            kept(run.workspace.motion(), case)
        });
        let (most, _) = errors(&plane, &uniform);
        assert!(most <= 1e-4, "{name}: {most:e}");
    }
}

#[test]
fn a_phase_counts_where_it_is() {
    let context = Context::new(2).unwrap();
    for name in ["rife-d", "ema-small", "amt-s"] {
        let network = Published::load(&Checkpoint::of(name, tensors(name)), None).unwrap();
        let case = &cases(name)[2];
        let (rows, columns) = (case.height.div_ceil(8), case.width.div_ceil(8));
        let at = |last: f32| {
            let phases = (0..rows * columns).map(|i| match i % columns > columns / 2 {
                true => last,
                false => 0.5,
            });
            Tensor::from_vec(phases.collect(), (rows, columns), &Device::Cpu).unwrap()
        };
        let [same, other] = [0.5, 0.9].map(|last| {
            let run = run(&network, &context, case, &PhaseMap::Plane(at(last)));
            run.workspace.motion().narrow(2, 0, 4).unwrap()
        });
        let apart = |first: usize| {
            let parts = [&same, &other].map(|t| t.narrow(1, first, 8).unwrap());
            let apart = (&parts[0] - &parts[1]).unwrap().abs().unwrap();
            apart.mean_all().unwrap().to_scalar::<f32>().unwrap()
        };
        let (left, right) = (apart(0), apart(case.width - 8));
        assert!(
            right > 1e-3 && left < right / 2.0,
            "{name}: {left:e} {right:e}"
        );
    }
}

#[test]
fn half_precision_is_read() {
    let (whole, name) = (tensors("rife-4.25.lite"), "rife-4.25.lite");
    let context = Context::new(2).unwrap();
    let case = &cases(name)[0];
    let pictures = [
        candle_core::DType::F32,
        candle_core::DType::F16,
        candle_core::DType::BF16,
    ];
    let pictures = pictures.map(|dtype| {
        let halves = whole
            .iter()
            .map(|(n, t)| (n.clone(), t.to_dtype(dtype).unwrap()));
        let network = Published::load(&Checkpoint::of(name, halves.collect()), None).unwrap();
        let run = run(&network, &context, case, &PhaseMap::Uniform(case.phase));
        kept(
            &run.workspace.picture(&run.sides[0], &run.sides[1]).unwrap(),
            case,
        )
    });
    let (_, f16) = errors(&pictures[1], &pictures[0]);
    let (_, bf16) = errors(&pictures[2], &pictures[0]);
    assert!(f16 < 1e-3 && bf16 < 1e-2, "{f16:e} {bf16:e}");
}

/// CPU time of this process, seconds.
fn cpu_seconds() -> f64 {
    // user and system time, in hundredths of a second
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let behind = stat.rsplit(')').next().unwrap();
    let ticks = behind.split_whitespace().skip(11).take(2);
    ticks.map(|t| t.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

/// The most memory that this process has had.
fn peak_mebibytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kibibytes = line.unwrap().trim().split(' ').next().unwrap();
    kibibytes.parse::<u64>().unwrap() / 1024
}

/// Seconds of a picture above which it is made once only.
const LONG: f64 = 5.0;

/// Least CPU time of some 1280x720 pictures, seconds.
fn picture_seconds(name: &str, context: &Context) -> f64 {
    let network = Published::load(&Checkpoint::of(name, tensors(name)), None).unwrap();
    let case = Case {
        height: 720,
        width: 1280,
        phase: 0.5,
        options: Options {
            iterations: 1,
            ..Options::default()
        },
        want: HashMap::new(),
    };
    let before = cpu_seconds();
    let phase = PhaseMap::Uniform(0.5);
    let mut run = run(&network, context, &case, &phase);
    let mut least = cpu_seconds() - before;
    const RUNS: usize = 3;
    for _ in 0..if least > LONG { 0 } else { RUNS } {
        let before = cpu_seconds();
        network
            .encode(&mut run.workspace, &mut run.sides[1])
            .unwrap();
        let [left, right] = &run.sides;
        network
            .estimate(&mut run.workspace, left, right, &phase)
            .unwrap();
        least = least.min(cpu_seconds() - before);
    }
    least
}

/// One thread, each network beside RIFE 4.25, all or those whose names begin as `NETWORKS` says;
/// `training/parity/rife.py` with `--time` says how long the authors' code takes.
#[test]
#[ignore = "a measurement"]
fn time_of_a_720p_picture() {
    let context = Context::new(1).unwrap();
    let family = std::env::var("NETWORKS").unwrap_or_default();
    for name in fixtures(&family) {
        let unit = picture_seconds("rife-4.25", &context);
        let seconds = picture_seconds(&name, &context);
        let (ms, peak) = (1000.0 * seconds, peak_mebibytes());
        let ratio = seconds / unit;
        println!(
            "{name}: {ms:.0} ms of CPU time, {ratio:.2} of RIFE 4.25, at most {peak} MiB so far"
        );
    }
}
