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

/// What parts do not see of the whole, as the PSNR of components, in dB.
const LEAST_PSNR: f64 = 30.0;

#[test]
fn pictures_of_any_format_and_size_are_seen_in_parts() {
    let model = model("rife-4.25.lite", 1.0);
    for (format, size) in [
        (Format::I420, (651, 51)),
        (Format::P010, (650, 46)),
        (Format::Yuy2, (333, 47)),
        (Format::Rgb, (45, 301)),
    ] {
        let sides = [0.0, 3.0].map(|moved| {
            Owned::painted(format, size, 3, |channel, x, y| {
                let phase = 0.7 * channel as u8 as f32;
                0.5 + 0.2 * (0.13 * (x - moved) + phase).sin() + 0.2 * (0.17 * y - 0.05 * x).cos()
            })
        });
        let [left, right] = &sides;
        let [whole, parts] =
            [None, Some(LONGEST)].map(|l| made_in_parts(model.clone(), [left, right], 0.5, l));
        assert!(
            !whole.picture().same_samples(&parts.picture()),
            "{format:?}"
        );
        for c in format.components() {
            let mut squares = 0.0;
            let (w, h) = (c.width(size.0 as usize), c.height(size.1 as usize));
            for (x, y) in (0..h).flat_map(|y| (0..w).map(move |x| (x, y))) {
                let [a, b] =
                    [&whole, &parts].map(|o| f64::from(c.load(o.picture().row(c.plane, y), x)));
                squares += (a - b) * (a - b);
            }
            let most = f64::from(c.max());
            let psnr = 10.0 * (most * most * (w * h) as f64 / squares.max(1e-9)).log10();
            println!("{format:?} {:?}: {psnr:.1} dB", c.channel);
            assert!(psnr >= LEAST_PSNR, "{format:?} {:?}: {psnr} dB", c.channel);
        }
        // of one picture twice, that picture
        let same = made_in_parts(model.clone(), [left, left], 0.5, Some(LONGEST));
        assert!(same.picture().same_samples(&left.picture()), "{format:?}");
    }
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

/// Height and width, which need no padding, of what is seen in three parts, which begin at these columns; from the last of these to the end
/// of the first part all three meet.
const LARGE: (usize, usize) = (64, 448);
const LONGEST: usize = 256;
const STARTS: [usize; 3] = [0, 96, 192];
/// Rounding of motion in pixels and of colours, full scale being 1.
const ROUNDING: f32 = 1e-4;
/// What the parts do not see of the whole: mean difference of the picture at most, full scale being 1. Weights that have learnt
/// nothing look far.
const UNSEEN: f32 = 0.03;

/// Motion and picture, `[h, w, 8]`, between the columns from `first` on of two pictures.
fn found(
    network: &Published,
    (first, columns): (usize, usize),
    phase: &PhaseMap,
    longest: Option<usize>,
) -> Tensor {
    let context = Context::new(2).unwrap();
    let options = Options {
        longest,
        recursion: 1,
        ..Options::default()
    };
    let part = |moved| waves(LARGE, moved).narrow(1, first, columns).unwrap();
    let Run { workspace, sides } = run_on(network, &context, options, phase, part);
    let [left, right] = &sides;
    let picture = workspace.picture(left, right).unwrap();
    Tensor::cat(&[workspace.motion(), &picture], 2).unwrap()
}

/// Fails unless what is found in parts is what one alone finds where no other is, and lies between theirs where they meet; unless the
/// picture is like that of the whole.
fn parts_blend(name: &str, phase: &PhaseMap, of_part: impl Fn(usize) -> PhaseMap) {
    let network = Published::load(&Checkpoint::of(name, tensors(name)), None).unwrap();
    let all = found(&network, (0, LARGE.1), phase, Some(LONGEST));
    let alone = STARTS.map(|start| found(&network, (start, LONGEST), &of_part(start), None));
    let values = |t: &Tensor| t.to_vec3::<f32>().unwrap();
    let (made, parts) = (values(&all), alone.each_ref().map(values));
    // what makes nothing but motion has no picture of its own
    let channels = if name.starts_with("rife-4") { 5 } else { 8 };
    let mut apart = 0f32;
    for (y, x) in (0..LARGE.0).flat_map(|y| (0..LARGE.1).map(move |x| (y, x))) {
        let there = STARTS.iter().zip(&parts);
        let there = there.filter_map(|(start, part)| part[y].get(x.checked_sub(*start)?));
        let there: Vec<_> = there.collect();
        for c in 0..channels {
            let (value, theirs) = (made[y][x][c], there.iter().map(|pixel| pixel[c]));
            let least = theirs.clone().fold(f32::MAX, f32::min);
            let most = theirs.fold(f32::MIN, f32::max);
            apart = apart.max(most - least);
            let what = format!("{name} channel {c} at {x},{y}: {value}, not {least} to {most}");
            assert!(
                (least - ROUNDING..=most + ROUNDING).contains(&value),
                "{what}"
            );
            // a part counts little at its edge
            let off = (value - there[0][c]).abs();
            assert!(
                x != STARTS[1] || off <= ROUNDING + 0.01 * (most - least),
                "{what}"
            );
        }
    }
    assert!(apart > 0.1, "{name}: all parts find the same");
    let picture = |t: &Tensor| t.narrow(2, 5, 3).unwrap();
    let whole = found(&network, (0, LARGE.1), phase, None);
    let off = (picture(&all) - picture(&whole)).unwrap().abs().unwrap();
    let off = off.mean_all().unwrap().to_scalar::<f32>().unwrap();
    println!("{name}: in parts the picture is {off:.4} off");
    assert!(off > 0.0 && off <= UNSEEN, "{name}: {off}");
}

#[test]
fn a_picture_seen_in_parts_is_that_of_its_parts() {
    let (rows, columns) = (LARGE.0 / 8, LARGE.1 / 8);
    let phases = (0..rows * columns).map(|i| 0.2 + 0.6 * (i % columns) as f32 / columns as f32);
    let plane = Tensor::from_vec(phases.collect(), (rows, columns), &Device::Cpu).unwrap();
    let mean = plane.mean_all().unwrap().to_scalar::<f32>().unwrap();
    let (uniform, map) = (PhaseMap::Uniform(0.3), PhaseMap::Plane(plane.clone()));
    parts_blend("rife-4.0", &uniform, |_| uniform.clone());
    for name in [
        "rife-4.0",
        "rife-4.25",
        "rife-d",
        "ifrnet-s",
        "film",
        "ema-small",
        "amt-s",
    ] {
        parts_blend(name, &map, |start| match name {
            // it takes one number
            "film" => PhaseMap::Uniform(mean),
            _ => PhaseMap::Plane(
                plane
                    .narrow(1, start / 8, LONGEST / 8)
                    .unwrap()
                    .contiguous()
                    .unwrap(),
            ),
        });
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

fn message(tensors: HashMap<String, Tensor>) -> String {
    let checkpoint = Checkpoint::of("some/where", tensors);
    let error = Published::load(&checkpoint, None).unwrap_err().to_string();
    assert!(error.contains("some/where"), "{error}");
    error
}

#[test]
fn what_does_not_fit_a_version_is_named() {
    let whole = tensors("rife-4.6");
    let without = |name: &str| {
        let mut tensors = whole.clone();
        tensors.remove(name).unwrap();
        message(tensors)
    };
    let missing = "block2.convblock.3.conv.bias";
    assert!(without(missing).contains(&format!("no tensor {missing}")));
    let nearest = without("block0.conv0.0.0.weight");
    assert!(nearest.contains("nearest to RIFE 4.0 to 4.26"), "{nearest}");
    assert!(without("block3.conv0.1.0.weight").contains("no known version"));

    let mut surplus = whole.clone();
    surplus.insert("block0.extra.weight".into(), whole[missing].clone());
    let surplus = message(surplus);
    assert!(
        surplus.contains("block0.extra.weight, which RIFE 4.6 lacks"),
        "{surplus}"
    );
    let mut trained = whole.clone();
    trained.insert("teacher.conv.bias".into(), whole[missing].clone());
    assert!(Published::load(&Checkpoint::of("x", trained), None).is_ok());

    let mut other = whole.clone();
    other.insert(
        missing.into(),
        whole["block0.conv0.0.0.bias"].narrow(0, 0, 5).unwrap(),
    );
    assert!(message(other).contains("expected [96]"));
    let mut odd = whole.clone();
    let last = odd["block0.lastconv.0.weight"].narrow(1, 0, 8).unwrap();
    odd.insert("block0.lastconv.0.weight".into(), last);
    assert!(message(odd).contains("has 8 outputs"));
}

#[test]
fn what_other_families_lack_or_have_too_much_is_named() {
    for (name, part, family) in [
        ("rife-dr", "contextnet.conv3.conv2.1.weight", "RIFE [D,R]"),
        ("rife-d", "unet.up2.1.weight", "RIFE m and [D]"),
        ("ema-small", "feature_bone.block4.1.attn.kv.bias", "EMA-VFI"),
        ("ema-small", "unet.down0.conv1.0.weight", "EMA-VFI"),
        ("amt-s", "update3.gru.2.weight", "AMT"),
        ("amt-g", "update2_high.convc2.weight", "AMT"),
        ("amt-l", "comb_block.0.weight", "AMT"),
    ] {
        let whole = tensors(name);
        let mut less = whole.clone();
        less.remove(part).unwrap();
        let less = message(less);
        assert!(
            less.contains(&format!("no tensor {part}")),
            "{name}: {less}"
        );
        let mut more = whole.clone();
        more.insert(format!("{part}.extra"), whole[part].clone());
        let more = message(more);
        assert!(
            more.contains(&format!("{part}.extra, which {family} lacks")),
            "{name}: {more}"
        );
        let mut other = whole.clone();
        other.insert(part.into(), whole[part].narrow(0, 0, 1).unwrap());
        let other = message(other);
        assert!(
            other.contains(part) && other.contains("expected"),
            "{name}: {other}"
        );
    }
    let mut headless = tensors("ema-small");
    headless
        .remove("feature_bone.block1.conv.0.weight")
        .unwrap();
    assert!(message(headless).contains("nearest to EMA-VFI"));
}

#[test]
fn masks_that_ema_vfi_keeps_of_its_training_are_left_out() {
    let mut tensors = tensors("ema-small");
    for name in ["attn_mask", "HW"] {
        let mask = Tensor::zeros((2, 3, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
        tensors.insert(format!("feature_bone.block5.1.{name}"), mask);
    }
    assert!(Published::load(&Checkpoint::of("x", tensors), None).is_ok());
}

#[test]
fn networks_that_cannot_be_run_are_told_which_can() {
    let tensor = Tensor::new(&[1f32], &Device::Cpu).unwrap();
    let unknown = ["feat_pyramid.conv.weight", "motion_estimator.conv.weight"];
    let unknown = message(unknown.map(|n| (n.to_string(), tensor.clone())).into());
    assert!(unknown.contains("feat_pyramid.conv.weight"), "{unknown}");
    for family in ["RIFE 4.0 to 4.26", "IFRNet", "FILM", "EMA-VFI", "AMT"] {
        assert!(
            unknown.contains("supported are") && unknown.contains(family),
            "{unknown}"
        );
    }
    assert!(message(HashMap::new()).contains("first tensor is none"));
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
