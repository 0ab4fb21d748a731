//! A card against the CPU: convolutions of all shapes, every network that there is a fixture of, the pictures that come
//! out. Where there is no card the tests say so, and are none. `tests/cuda.rs` runs them with a
//! driver that has its kernels run on the host.

use std::sync::Arc;

use candle_core::{Device as Place, Tensor};
use gstvideointerpolate::interpolator::{
    After, Beyond, Findings, Interpolator, Motion, Options, Outcome, Settings,
};
use gstvideointerpolate::kernels::conv::{Activation, Filter};
use gstvideointerpolate::kernels::device::{Device, Gpu};
use gstvideointerpolate::kernels::{Context, PhaseMap, Precision, Way};
use gstvideointerpolate::network::{Model, Variant};
use gstvideointerpolate::picture::{Channel, Format, Picture};

#[path = "card/bench.rs"]
mod bench;
#[path = "card/candles.rs"]
mod candles;
#[path = "common/checkpoints.rs"]
mod checkpoints;
mod common;
#[path = "card/locked.rs"]
mod locked;
#[path = "card/memory.rs"]
mod memory;
#[path = "card/networks.rs"]
mod networks;
#[path = "card/quality.rs"]
mod quality;

use checkpoints::hashed;
use common::Owned;
use networks::{MOTION, PICTURES, SOME, networks};

/// Sums of up to 9 * 160 products of values and weights below 1, in another order: each step loses at most half a
/// unit in the last place of a partial sum of up to 100. Winograd's way on the CPU loses ten times as much.
const SUMS: f32 = 2e-3;
/// The same where the factors are rounded to 16 bits, which lose 2^-12 of their size each.
const HALF_SUMS: f32 = 2e-2;
/// The same where sums of up to 100 are rounded to 16 bits before they are finished, as cuDNN's are.
const CUDNN_SUMS: f32 = 7e-2;
/// Codes of 8 bits that a picture may differ by, where a place moves by [`MOTION`] in front of an edge.
const CODES: f64 = 2.0;
/// PSNR of the pictures made with features of 16 bits, in dB, beside those of the CPU: what differs is below a code in nearly all places.
const LEAST_PSNR: f64 = 50.0;

/// The card, or a word about why there is none.
fn card() -> Option<Arc<Gpu>> {
    match Device::Auto.open() {
        Ok(gpu) => gpu,
        Err(why) => {
            println!("skipped: {why}");
            None
        }
    }
}

/// Places and colours of a test: the CPU and the card.
fn contexts(gpu: &Arc<Gpu>, way: impl Into<Way>) -> [Context; 2] {
    let cpu = Context::new(2).expect("threads");
    let card = cpu.on(Some(gpu.clone()));
    [cpu, card.with_way(way.into())]
}

/// Makes of each convolution what one of two others makes, which are looked at; it is itself as a network is tried.
const MEASURED: Way = Way::Cudnn;

/// The ways in which networks can run: without cuDNN where it is not there.
fn ways(gpu: &Gpu) -> Vec<Way> {
    let has_cudnn = match gpu.cudnn() {
        Ok(cudnn) => {
            println!("cuDNN {}", cudnn.version());
            true
        }
        Err(why) => {
            println!("without cuDNN: {why}");
            false
        }
    };
    let ways = Way::ALL.into_iter();
    ways.filter(|way| has_cudnn || !way.has_cudnn()).collect()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    let here = tensor.to_device(&Place::Cpu).unwrap();
    here.flatten_all().unwrap().to_vec1().unwrap()
}

/// Fails at the worst place; prints how far it is off.
fn close(what: &str, found: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(found.len(), want.len(), "{what}");
    let off = |i: usize| {
        let off = (found[i] - want[i]).abs() / want[i].abs().max(1.0);
        if off.is_finite() { off } else { f32::INFINITY }
    };
    let worst = (0..found.len()).max_by(|a, b| off(*a).total_cmp(&off(*b)));
    let worst = worst.expect("values");
    let (f, w, off) = (found[worst], want[worst], off(worst));
    println!("{what}: {off:.1e}");
    assert!(off <= tolerance, "{what}: {f} for {w} at {worst}");
}

fn tensor(name: &str, shape: &[usize]) -> Tensor {
    let values: Vec<f32> = hashed(name, shape.iter().product()).collect();
    Tensor::from_vec(values, shape, &Place::Cpu).unwrap()
}

#[test]
fn convolutions_of_all_shapes_agree() {
    let Some(gpu) = card() else { return };
    for way in ways(&gpu).into_iter().filter(|way| *way != MEASURED) {
        let before = gpu.counts().cudnn;
        convolutions_agree(&gpu, way);
        // other tests run on the same card meanwhile
        assert!(way != Way::CudnnAll || gpu.counts().cudnn > before);
    }
}

fn convolutions_agree(gpu: &Arc<Gpu>, way: Way) {
    let [cpu, card] = contexts(gpu, way);
    let tolerance = match way {
        Way::Single => SUMS,
        Way::Half => HALF_SUMS,
        Way::Cudnn | Way::CudnnAll => CUDNN_SUMS,
    };
    for (kernel, stride) in [(1, 1), (2, 1), (3, 1), (3, 2), (7, 2)] {
        for (inputs, outputs) in [
            (&[3][..], 16),
            (&[8, 16, 5], 40),
            (&[96, 64], 33),
            (&[64], 130),
        ] {
            let what = format!(
                "{kernel}x{kernel} by {stride}, {inputs:?} to {outputs}, {}",
                way.name()
            );
            let all: usize = inputs.iter().sum();
            let weight = tensor(&what, &[outputs, all, kernel, kernel]);
            let bias = tensor("bias", &[outputs]);
            let slopes = values(&tensor("slopes", &[outputs]));
            let filter = Filter::new(&weight, &bias, stride).unwrap();
            let filter = filter.with_slopes(slopes).unwrap();
            let (h, w) = (19usize, 23usize);
            let size = [h.div_ceil(stride), w.div_ceil(stride)];
            let parts: Vec<_> = inputs
                .iter()
                .map(|c| tensor("input", &[h, w, c + 2]))
                .collect();
            let residual = tensor("residual", &[size[0], size[1], outputs]);
            let made = [&cpu, &card].map(|context| {
                let place = |t: &Tensor| t.to_device(&context.device()).unwrap();
                // channels beside those that are read, and written
                let narrowed = |t: &Tensor| place(t).narrow(2, 1, t.dims()[2] - 2).unwrap();
                let parts: Vec<_> = parts.iter().map(narrowed).collect();
                let parts: Vec<_> = parts.iter().collect();
                let room = place(&tensor("room", &[size[0], size[1], outputs + 3]));
                let out = room.narrow(2, 2, outputs).unwrap();
                let residual = place(&residual);
                let (residual, activation) = (Some(&residual), Activation::Leaky);
                filter
                    .apply(context, &parts, residual, activation, &out)
                    .unwrap();
                values(&room)
            });
            close(&what, &made[1], &made[0], tolerance);
        }
    }
}

#[test]
fn a_convolution_is_run_by_what_is_faster() {
    let Some(gpu) = card() else { return };
    if !ways(&gpu).contains(&MEASURED) {
        return;
    }
    let [cpu, card] = contexts(&gpu, MEASURED);
    let weight = tensor("weight", &[32, 32, 3, 3]);
    let filter = Filter::new(&weight, &tensor("bias", &[32]), 1).unwrap();
    let input = tensor("input", &[12, 20, 32]);
    let run = |context: &Context| {
        let place = |t: &Tensor| t.to_device(&context.device()).unwrap();
        let (input, out) = (place(&input), place(&tensor("room", &[12, 20, 32])));
        let leaky = Activation::Leaky;
        filter.apply(context, &[&input], None, leaky, &out).unwrap();
        values(&out)
    };
    let want = run(&cpu);
    // that which measures, then others
    close("measured", &run(&card), &want, CUDNN_SUMS);
    let before = gpu.counts().cudnn;
    for _ in 0..3 {
        close("chosen", &run(&card), &want, CUDNN_SUMS);
    }
    println!("{} of 3 by cuDNN", gpu.counts().cudnn - before);
}

/// Convolutions that are told of together, through memory that is let go, and had again, before the last of them is.
#[test]
fn what_is_kept_back_finds_its_memory() {
    let Some(gpu) = card() else { return };
    let weight = (tensor("weight", &[16, 16, 3, 3]) * 0.1).unwrap();
    let filter = Filter::new(&weight, &tensor("bias", &[16]), 1).unwrap();
    let new = |context: &Context, name| {
        let values = tensor(name, &[12, 20, 16]);
        values.to_device(&context.device()).unwrap()
    };
    let run = |context: &Context, out: &Tensor| {
        let mut from = new(context, "input");
        for _ in 0..4 {
            let to = new(context, "room");
            filter.apply(context, &[&from], None, Activation::Leaky, &to)?;
            from = to;
        }
        filter.apply(context, &[&from], None, Activation::Linear, out)
    };
    for precision in Precision::ALL {
        let [cpu, card] = contexts(&gpu, precision);
        let [want, found] = [&cpu, &card].map(|context| new(context, "out"));
        run(&cpu, &want).unwrap();
        for _ in 0..3 {
            gpu.together(|| run(&card, &found)).unwrap();
            close(precision.name(), &values(&found), &values(&want), HALF_SUMS);
        }
    }
}

unsafe extern "C" {
    fn fork() -> i32;
    fn waitpid(process: i32, status: *mut i32, options: i32) -> i32;
    fn _exit(code: i32) -> !;
}

#[test]
fn a_forked_process_cannot_use_the_card() {
    let Some(gpu) = card() else { return };
    gpu.check().unwrap();
    // SAFETY: the child compares two numbers, makes a text and ends.
    let status = unsafe {
        let child = fork();
        if child == 0 {
            let said = gpu.check().is_err_and(|e| e.to_string().contains("forked"));
            let refused = Gpu::open(0).is_err_and(|e| e.to_string().contains("forked"));
            _exit(if said && refused { 0 } else { 1 });
        }
        let mut status = -1;
        assert_eq!(waitpid(child, &mut status, 0), child);
        status
    };
    assert_eq!(status, 0);
}

#[test]
fn the_picture_is_the_same() {
    let Some(gpu) = card() else { return };
    // only some may be run
    let networks = PICTURES.iter().filter_map(|family| networks(family).pop());
    let networks: Vec<_> = networks.collect();
    if networks.is_empty() {
        println!("skipped: {SOME} has none of {}", PICTURES.join(", "));
    }
    for (_, network) in networks {
        let model = Model::Published(Arc::new(network));
        the_picture_of((&gpu, Precision::Single), &model, (70, 50), &[None]);
    }
}

#[test]
fn the_picture_of_the_built_in_network_is_the_same() {
    let Some(gpu) = card() else { return };
    for variant in Variant::ALL {
        let model = Model::Embedded(variant.network().unwrap());
        for precision in Precision::ALL {
            let scales = [None, Some(0.5)];
            the_picture_of((&gpu, precision), &model, (150, 98), &scales);
        }
    }
}

#[test]
fn the_built_in_network_is_tried() {
    let Some(gpu) = card() else { return };
    for variant in Variant::ALL {
        let model = Model::Embedded(variant.network().unwrap());
        let trial = model.try_on(&gpu).unwrap();
        println!("{}: {}", variant.name(), trial.description);
    }
}

#[test]
fn the_pictures_of_a_stream_are_the_same() {
    let Some(gpu) = card() else { return };
    let model = Model::Embedded(Variant::Fast.network().unwrap());
    let (format, size) = (Format::I420, (150, 98));
    let pictures: Vec<_> = (0..9).map(|i| moved(size, 4.0 * i as f32)).collect();
    let phases = [0.25, 0.5, 0.75].map(PhaseMap::Uniform);
    let [want, found] = contexts(&gpu, Precision::Single).map(|context| {
        let made =
            Interpolator::with_context(model.clone(), format, size, &context, Options::default());
        let mut interpolator = made.unwrap();
        let mut left = interpolator.encode(&pictures[0].picture()).unwrap();
        let mut all = Vec::new();
        for pair in pictures.windows(2) {
            let [one, other] = [pair[0].picture(), pair[1].picture()];
            let right = interpolator.encode(&other).unwrap();
            for phase in &phases {
                let mut out = Owned::new(format, size, 5);
                let sides = [(&one, &*left), (&other, &*right)];
                let (settings, to) = (Settings::default(), &mut out.picture_mut());
                let made = interpolator.interpolate(sides[0], sides[1], phase, &settings, to);
                assert_eq!(made.unwrap(), Outcome::Interpolated);
                all.push(out);
            }
            left = right;
        }
        all
    });
    // most of it was told with few calls
    assert!(gpu.counts().graphs > 0, "{:?}", gpu.counts());
    for (want, found) in want.iter().zip(&found) {
        same_picture(want, found, size);
    }
}

#[test]
fn cuts_are_found_where_the_cpu_finds_them() {
    let Some(gpu) = card() else { return };
    let built_in = Model::Embedded(Variant::Fast.network().unwrap());
    cuts_are_found(&gpu, &built_in, (150, 98), 9);
    if let Some((_, network)) = networks(PICTURES[0]).pop() {
        let model = Model::Published(Arc::new(network));
        cuts_are_found(&gpu, &model, (70, 50), 5);
    }
}

/// Between so many pictures, after each third of which there is a cut.
fn cuts_are_found(gpu: &Arc<Gpu>, model: &Model, size: (u32, u32), count: usize) {
    let format = Format::I420;
    // blocks of random brightness, others after each third picture
    let block = |scene: usize, x: f32, y: f32| {
        let place = [scene as f32, (x / 12.0).floor(), (y / 12.0).floor()];
        let wave = (place[0] * 78.2 + place[1] * 12.9 + place[2] * 37.7).sin() * 43758.5;
        wave - wave.floor()
    };
    let picture = |i: usize| {
        let by = 2.0 * i as f32;
        Owned::painted(format, size, 3, |_: Channel, x, y| block(i / 3, x - by, y))
    };
    let pictures: Vec<_> = (0..count).map(picture).collect();
    let [want, found] = contexts(gpu, Precision::Single).map(|context| {
        let made =
            Interpolator::with_context(model.clone(), format, size, &context, Options::default());
        let mut interpolator = made.unwrap();
        let mut left = interpolator.encode(&pictures[0].picture()).unwrap();
        let pairs = pictures.windows(2).map(|pair| {
            let [one, other] = [pair[0].picture(), pair[1].picture()];
            let right = interpolator.encode(&other).unwrap();
            let mut out = Owned::new(format, size, 5);
            let sides = [(&one, &*left), (&other, &*right)];
            let (phase, settings) = (PhaseMap::Uniform(0.5), Settings::default());
            let to = &mut out.picture_mut();
            let made = interpolator.interpolate(sides[0], sides[1], &phase, &settings, to);
            left = right;
            (made.unwrap(), out)
        });
        pairs.collect::<Vec<_>>()
    });
    for (i, ((want, one), (found, other))) in want.iter().zip(&found).enumerate() {
        assert_eq!((i, found), (i, want));
        assert_eq!(*want == Outcome::Cut, i % 3 == 2, "{i}");
        if *want == Outcome::Interpolated {
            same_picture(one, other, size);
        }
    }
}

#[test]
fn what_the_cpu_is_told_of_motion_is_the_same() {
    let Some(gpu) = card() else { return };
    let published = PICTURES.map(|family| networks(family).pop());
    let published = published.into_iter().flatten();
    let published = published.map(|(_, network)| Model::Published(Arc::new(network)));
    let built_in = Model::Embedded(Variant::Fast.network().unwrap());
    for model in published.chain([built_in]) {
        let told = contexts(&gpu, Precision::Single).map(|context| told(&model, &context));
        let [(want, one), (found, other)] = &told;
        for (what, (want, found)) in ["flow", "mask", "confidence"]
            .iter()
            .zip(want.iter().zip(found))
        {
            close(&format!("{} {what}", model.name()), found, want, MOTION);
        }
        same_picture(one, other, TOLD);
    }
}

/// Width and height.
const TOLD: (u32, u32) = (70, 50);

/// What was found between two pictures, and the one that is predicted beyond them, which the CPU makes.
fn told(model: &Model, context: &Context) -> ([Vec<f32>; 3], Owned) {
    let (format, options) = (Format::I420, Options::default());
    let made = Interpolator::with_context(model.clone(), format, TOLD, context, options);
    let mut interpolator = made.unwrap();
    let pictures = [0.0, 3.0].map(|by| moved(TOLD, by));
    let pictures = pictures.each_ref().map(Owned::picture);
    let [left, right] = pictures
        .each_ref()
        .map(|p| (p, interpolator.encode(p).unwrap()));
    let sides = [(left.0, &*left.1), (right.0, &*right.1)];
    let (settings, phase) = (Settings::default(), PhaseMap::Uniform(0.3));
    let mut out = Owned::new(format, TOLD, 5);
    let to = &mut out.picture_mut();
    let made = interpolator.interpolate(sides[0], sides[1], &phase, &settings, to);
    assert_eq!(made.unwrap(), Outcome::Interpolated);
    let Some(Findings::Motion {
        flow,
        mask,
        confidence,
        ..
    }) = interpolator.findings()
    else {
        panic!("no motion");
    };
    let found = [flow, mask, confidence].map(values);
    let beyond = Beyond {
        ahead: 0.5,
        taken_back: 0.0,
    };
    let made = interpolator.extrapolate(
        sides[0],
        sides[1],
        beyond,
        &settings,
        &mut out.picture_mut(),
    );
    assert_eq!(made.unwrap(), Outcome::Interpolated);
    (found, out)
}

/// Some texture that has moved.
fn moved(size: (u32, u32), by: f32) -> Owned {
    Owned::painted(Format::I420, size, 3, |channel: Channel, x, y| {
        let phase = 0.7 * channel as u8 as f32;
        0.5 + 0.3 * (0.13 * (x - by) + phase).sin() * (0.11 * y + phase).cos()
    })
}

/// The pictures between three of some texture that moves, by a uniform phase and by a plane of phases, evenly and along trajectories.
fn the_picture_of(
    (gpu, precision): (&Arc<Gpu>, Precision),
    model: &Model,
    size: (u32, u32),
    scales: &[Option<f32>],
) {
    let format = Format::I420;
    let pictures = [0.0, 3.0, 5.0].map(|by| moved(size, by));
    let cells = [size.1, size.0].map(|n| (n as usize).div_ceil(8));
    let plane = tensor("phases", &cells);
    let plane = ((plane * 0.3).unwrap() + 0.5).unwrap();
    let phases = [PhaseMap::Uniform(0.5), PhaseMap::Plane(plane)];
    for &scale in scales {
        let [want, found] = contexts(gpu, precision).map(|context| {
            let options = Options {
                scale,
                ..Options::default()
            };
            let made = Interpolator::with_context(model.clone(), format, size, &context, options);
            let mut interpolator = made.unwrap();
            let pictures = pictures.each_ref().map(Owned::picture);
            let sides = pictures.each_ref().map(|p| interpolator.encode(p).unwrap());
            let mut all = Vec::new();
            let made = [0, 1].map(|i| phases.each_ref().map(|p| (i, p))).concat();
            let motions = [Motion::Linear, Motion::Trajectory];
            for ((pair, phase), motion) in
                motions.iter().flat_map(|m| made.iter().map(|p| (*p, *m)))
            {
                let mut out = Owned::new(format, size, 5);
                let (left, right) = (pair, pair + 1);
                let (left, right) = (
                    (&pictures[left], &*sides[left]),
                    (&pictures[right], &*sides[right]),
                );
                let to = &mut out.picture_mut();
                let settings = Settings {
                    motion,
                    ..Settings::default()
                };
                let after = sides.get(pair + 2).map(|encoded| After {
                    picture: &pictures[pair + 2],
                    encoded,
                    interval: 1.0,
                });
                let made =
                    interpolator.interpolate_before(after, left, right, phase, &settings, to);
                assert_eq!(made.unwrap(), Outcome::Interpolated);
                all.push(out);
            }
            all
        });
        for (want, found) in want.iter().zip(&found) {
            let psnr = same_picture(want, found, size);
            println!("{} {}: {psnr:.1} dB", model.name(), precision.name());
            assert!(psnr >= LEAST_PSNR, "{}: {psnr} dB", precision.name());
        }
    }
}

/// Fails where a code of 8 bits is more than [`CODES`] off. The PSNR of all components, in dB.
fn same_picture(want: &Owned, found: &Owned, size: (u32, u32)) -> f64 {
    let (want, found) = (want.picture(), found.picture());
    each_code(size, [&want, &found], |channel, at, [w, f]| {
        assert!((w - f).abs() <= CODES, "{channel:?} at {at:?}: {f} for {w}");
    });
    psnr(&want, &found)
}

/// The PSNR of all components of two pictures in I420, in dB; infinite where they are the same.
fn psnr(want: &Picture, found: &Picture) -> f64 {
    let (mut squares, mut count) = (0.0, 0.0);
    each_code(
        (want.width() as u32, want.height() as u32),
        [want, found],
        |_, _, [w, f]| {
            (squares, count) = (squares + (w - f) * (w - f), count + 1.0);
        },
    );
    10.0 * (255.0 * 255.0 * count / squares).log10()
}

/// Both pictures' codes of all components, and where they are.
fn each_code(
    size: (u32, u32),
    pictures: [&Picture; 2],
    mut look: impl FnMut(Channel, (usize, usize), [f64; 2]),
) {
    for c in Format::I420.components() {
        for y in 0..c.height(size.1 as usize) {
            for x in 0..c.width(size.0 as usize) {
                let codes = pictures.map(|p| f64::from(c.load(p.row(c.plane, y), x)));
                look(c.channel, (x, y), codes);
            }
        }
    }
}
