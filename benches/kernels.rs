//! The network's kernels at the sizes of a 1280x720 picture, and what this machine could do at
//! most: divide the one by the other, for the absolute figures change with clock and load.
//!
//! Throughput counts floating-point operations (a multiply-add is two), "Gelem/s" reads GFLOP/s.

use std::hint::black_box;
use std::time::Duration;

use candle_core::{DType, Device, Tensor};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use gstvideointerpolate::kernels::agreement::{CHANNELS, SAMPLES, agree};
use gstvideointerpolate::kernels::conv::{Activation, Filter};
use gstvideointerpolate::kernels::correlation::{DISPLACEMENTS, correlate, expected};
use gstvideointerpolate::kernels::luma::Warped;
use gstvideointerpolate::kernels::search::{self, search};
use gstvideointerpolate::kernels::synthesis::{Lattice, synthesise};
use gstvideointerpolate::kernels::warp::warp_normalised;
use gstvideointerpolate::kernels::{Context, PhaseMap};
use gstvideointerpolate::network::Network;
use gstvideointerpolate::picture::{Color, Format, Picture, PictureMut};

/// A quarter and an eighth of 1280x720.
const QUARTER: (usize, usize) = (180, 320);
const EIGHTH: (usize, usize) = (90, 160);

fn context() -> Context {
    let threads = std::env::var("THREADS").ok().and_then(|v| v.parse().ok());
    Context::new(threads.unwrap_or(1)).unwrap()
}

fn noise(shape: &[usize], scale: f64) -> Tensor {
    let noise = Tensor::rand(-1f32, 1f32, shape, &Device::Cpu).unwrap();
    (noise * scale).unwrap()
}

fn zeros((h, w): (usize, usize), channels: usize) -> Tensor {
    Tensor::zeros((h, w, channels), DType::F32, &Device::Cpu).unwrap()
}

/// Multiply-adds that nothing holds up: twelve independent chains in registers.
fn peak(c: &mut Criterion) {
    const STEPS: usize = 100_000;
    let mut group = c.benchmark_group("peak");
    settle(&mut group);
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        group.throughput(Throughput::Elements((STEPS * 12 * 8 * 2) as u64));
        // SAFETY: AVX2 and FMA were just found.
        group.bench_function("fma", |b| b.iter(|| unsafe { multiply_add(STEPS) }));
    }
    group.finish();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn multiply_add(steps: usize) -> f32 {
    use std::arch::x86_64::*;
    let factor = _mm256_set1_ps(black_box(0.999));
    let mut sums = [_mm256_set1_ps(black_box(1.0)); 12];
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, factor, factor);
        }
    }
    let total = sums.into_iter().fold(factor, |a, b| _mm256_add_ps(a, b));
    _mm256_cvtss_f32(total)
}

fn settle(group: &mut BenchmarkGroup<WallTime>) {
    group.sample_size(20);
    group.warm_up_time(Duration::from_millis(200));
    group.measurement_time(Duration::from_millis(800));
}

/// A convolution of the network: name, size of the output, inputs, outputs, kernel, stride.
type Shape = (
    &'static str,
    (usize, usize),
    &'static [usize],
    usize,
    usize,
    usize,
);

/// Those of the balanced network; of the fast one where it has others.
const SHAPES: [Shape; 18] = [
    ("stem 6-16 by 2", QUARTER, &[6], 16, 3, 2),
    ("down 16-24 by 2", EIGHTH, &[16], 24, 3, 2),
    ("deep 24-24", EIGHTH, &[24], 24, 3, 1),
    ("squeeze 98-24 1x1", EIGHTH, &[24, 24, 25, 25], 24, 1, 1),
    ("entry 43-32", EIGHTH, &[24, 8, 8, 3], 32, 3, 1),
    ("res 32-32", EIGHTH, &[32], 32, 3, 1),
    ("head 32-8 1x1", EIGHTH, &[32], 8, 1, 1),
    ("expand 32-32 1x1", EIGHTH, &[32], 32, 1, 1),
    (
        "refiner squeeze 104-16 1x1",
        QUARTER,
        &[16, 16, 25, 28, 11, 8],
        16,
        1,
        1,
    ),
    ("refiner conv 16-16", QUARTER, &[16], 16, 3, 1),
    ("refiner head 16-7 1x1", QUARTER, &[16], 7, 1, 1),
    ("fast stem 6-8 by 2", QUARTER, &[6], 8, 3, 2),
    ("fast down 8-16 by 2", EIGHTH, &[8], 16, 3, 2),
    ("fast deep 16-16", EIGHTH, &[16], 16, 3, 1),
    ("fast entry 35-16", EIGHTH, &[16, 8, 8, 3], 16, 3, 1),
    ("fast expand 16-24 1x1", EIGHTH, &[16], 24, 1, 1),
    (
        "fast refiner squeeze 84-8 1x1",
        QUARTER,
        &[8, 8, 25, 28, 7, 8],
        8,
        1,
        1,
    ),
    ("fast refiner conv 8-8", QUARTER, &[8], 8, 3, 1),
];

/// Those of 3x3 in steps of one may pass the peak: what counts is what the direct way would need.
fn convolutions(c: &mut Criterion) {
    let context = context();
    let mut group = c.benchmark_group("conv");
    settle(&mut group);
    for (name, size, inputs, outputs, kernel, stride) in SHAPES {
        let sum: usize = inputs.iter().sum();
        let weight = noise(&[outputs, sum, kernel, kernel], 0.1);
        let filter = Filter::new(&weight, &noise(&[outputs], 0.1), stride).unwrap();
        let part = |c: &usize| noise(&[size.0 * stride, size.1 * stride, *c], 1.0);
        let parts: Vec<Tensor> = inputs.iter().map(part).collect();
        let parts: Vec<&Tensor> = parts.iter().collect();
        let out = zeros(size, outputs);
        let operations = 2 * filter.products() * size.0 * size.1;
        group.throughput(Throughput::Elements(operations as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                filter
                    .apply(&context, &parts, None, Activation::Leaky, &out)
                    .unwrap();
            });
        });
    }
    group.finish();
}

fn matching(c: &mut Criterion) {
    let context = context();
    let mut group = c.benchmark_group("match");
    settle(&mut group);
    for (name, size, channels) in [("decoder", EIGHTH, 24), ("refiner", QUARTER, 16)] {
        let cells = (size.0 * size.1) as u64;
        let features = noise(&[size.0, size.1, channels], 1.0);
        let flow = noise(&[size.0, size.1, 2], 4.0);
        let phase = Tensor::full(0.5f32, (size.0, size.1, 1), &Device::Cpu).unwrap();
        let warped = zeros(size, channels);
        let scores = zeros(size, DISPLACEMENTS);
        let displacement = zeros(size, 2);
        // Four taps and the normalisation.
        group.throughput(Throughput::Elements(cells * 11 * channels as u64));
        group.bench_function(format!("warp {name}"), |b| {
            b.iter(|| warp_normalised(&context, &features, &flow, 1e-2, &warped).unwrap());
        });
        let products = DISPLACEMENTS * channels;
        group.throughput(Throughput::Elements(cells * 2 * products as u64));
        group.bench_function(format!("correlate {name}"), |b| {
            b.iter(|| correlate(&context, &warped, &features, &phase, &scores).unwrap());
        });
        group.throughput(Throughput::Elements(cells * DISPLACEMENTS as u64));
        group.bench_function(format!("expected {name}"), |b| {
            b.iter(|| expected(&context, &scores, 12.0, &displacement).unwrap());
        });
        agreement(&mut group, &context, name, size);
    }
    group.finish();
}

/// Elements are samples of luma.
fn agreement(
    group: &mut BenchmarkGroup<WallTime>,
    context: &Context,
    name: &str,
    size: (usize, usize),
) {
    let (height, width) = (SAMPLES * size.0, SAMPLES * size.1);
    let luma = [0, 1].map(|_| {
        let codes = (noise(&[height, width, 1], 127.0) + 128.0).unwrap();
        codes.to_dtype(DType::U8).unwrap()
    });
    // Smooth, as flow is.
    let flow = Tensor::full(0.4f32, (size.0, size.1, 4), &Device::Cpu).unwrap();
    let phase = Tensor::full(0.5f32, (size.0, size.1, 1), &Device::Cpu).unwrap();
    let (space, out) = (Warped::new(size).unwrap(), zeros(size, CHANNELS));
    group.throughput(Throughput::Elements((height * width) as u64));
    group.bench_function(format!("agree {name}"), |b| {
        b.iter(|| {
            let luma = luma.each_ref();
            agree(context, luma, &flow, &phase, 15.0, &space, &out).unwrap();
        });
    });
}

/// Both directions at a quarter of 1280x720 and of 1920x1080; elements are samples of that level.
fn searching(c: &mut Criterion) {
    let context = context();
    let mut group = c.benchmark_group("search");
    settle(&mut group);
    for (name, half) in [("720p", (360, 640)), ("1080p", (540, 960))] {
        let halved = |(h, w): &(usize, usize)| Some((h.div_ceil(2), w.div_ceil(2)));
        let sizes: Vec<_> = std::iter::successors(Some(half), halved).take(6).collect();
        // Waves that move by (6, -3) samples of the first level.
        let pyramid = |moved: f32| -> Vec<Tensor> {
            let levels = sizes.iter().enumerate();
            levels.map(|(i, size)| waves(*size, i, moved)).collect()
        };
        let (left, right) = (pyramid(0.0), pyramid(3.0));
        let mut space = search::Space::new(&sizes, 1).unwrap();
        let (h, w) = space.size();
        let out = [0, 1].map(|_| zeros((h, w), 2));
        group.throughput(Throughput::Elements((h * w) as u64));
        group.bench_function(name, |b| {
            b.iter(|| search(&context, [&left, &right], &mut space, out.each_ref()).unwrap());
        });
    }
    group.finish();
}

/// Level `level` of a picture of waves of several lengths.
fn waves((h, w): (usize, usize), level: usize, moved: f32) -> Tensor {
    let scale = (1 << level) as f32;
    let luma = |i: usize| {
        let (x, y) = ((i % w) as f32 * scale, (i / w) as f32 * scale);
        let (x, y) = (x - 2.0 * moved, y + moved);
        let lengths = [13.0f32, 29.0, 67.0, 151.0, 331.0];
        let wave = |length: f32| {
            let turn = std::f32::consts::TAU / length;
            // Too short for the level: the mean is left.
            let height = if length < 3.0 * scale { 0.0 } else { 0.05 };
            height * ((turn * (x + 0.3 * y)).sin() + (turn * (y - 0.4 * x)).cos())
        };
        lengths.map(wave).iter().sum::<f32>()
    };
    Tensor::from_vec((0..h * w).map(luma).collect(), (h, w, 1), &Device::Cpu).unwrap()
}

/// A 1920x1080 picture's bytes: waves, so that neighbours differ as they do in pictures.
struct Frame {
    format: Format,
    planes: Vec<(Vec<u8>, usize)>,
}

const FRAME: (u32, u32) = (1920, 1080);

impl Frame {
    fn new(format: Format, moved: f32) -> Self {
        let plane = |p: usize| {
            let stride = format.row_bytes(p, FRAME.0);
            let byte = |i: usize| {
                let (x, y) = ((i % stride) as f32 + moved, (i / stride) as f32);
                // Of ten bits the upper byte is small; of eight this is dark.
                (2.0 + 1.5 * (0.05 * x).sin() * (0.03 * y).cos()) as u8
            };
            let bytes = (0..stride * format.rows(p, FRAME.1)).map(byte).collect();
            (bytes, stride)
        };
        let planes = (0..format.planes()).map(plane).collect();
        Frame { format, planes }
    }

    fn bytes(&self) -> u64 {
        self.planes
            .iter()
            .map(|(bytes, _)| bytes.len() as u64)
            .sum()
    }

    fn picture(&self) -> Picture<'_> {
        let planes = self.planes.iter().map(|(b, s)| (&b[..], *s as isize));
        let planes: Vec<_> = planes.collect();
        Picture::new(self.format, FRAME.0, FRAME.1, Color::BT709, &planes).unwrap()
    }

    fn picture_mut(&mut self) -> PictureMut<'_> {
        let planes = self
            .planes
            .iter_mut()
            .map(|(b, s)| (&mut b[..], *s as isize));
        let mut planes: Vec<_> = planes.collect();
        PictureMut::new(self.format, FRAME.0, FRAME.1, &mut planes).unwrap()
    }
}

/// Bytes are those read and written: a picture each side and the new one.
fn synthesis(c: &mut Criterion) {
    let context = context();
    let mut group = c.benchmark_group("synthesis");
    settle(&mut group);
    for format in [Format::I420, Format::Nv12, Format::I420_10, Format::Bgrx] {
        let (left, right) = (Frame::new(format, 0.0), Frame::new(format, 3.0));
        let mut out = Frame::new(format, 1.0);
        group.throughput(Throughput::Bytes(2 * left.bytes()));
        group.bench_function(format!("copy {format:?}"), |b| {
            b.iter(|| out.picture_mut().copy_from(&left.picture()).unwrap());
        });
        group.throughput(Throughput::Bytes(3 * left.bytes()));
        for (name, turn) in [("even", 0.0), ("zoom", 0.03)] {
            let (flow, mask) = motion(turn);
            group.bench_function(format!("{name} {format:?}"), |b| {
                b.iter(|| {
                    let (l, r) = (left.picture(), right.picture());
                    let motion = (&flow, &mask, Lattice::Quarter);
                    synthesise(&context, &l, &r, motion, &mut out.picture_mut()).unwrap();
                });
            });
        }
    }
    group.finish();
}

/// Flow and mask of a pan that also grows and turns by `turn` pixels a pixel.
fn motion(turn: f32) -> (Tensor, Tensor) {
    let (h, w) = (FRAME.1 as usize / 4, FRAME.0 as usize / 4);
    let flow = |i: usize| {
        let (x, y) = ((i % w * 4) as f32 - 960.0, (i / w * 4) as f32 - 540.0);
        let (fx, fy) = (3.3 + turn * (x - y), -1.7 + turn * (x + y));
        [fx, fy, -fx, -fy]
    };
    let flow = (0..h * w).flat_map(flow).collect();
    let mask = (0..h * w).map(|i| (i % 7) as f32 / 6.0).collect();
    (
        Tensor::from_vec(flow, (h, w, 4), &Device::Cpu).unwrap(),
        Tensor::from_vec(mask, (h, w, 1), &Device::Cpu).unwrap(),
    )
}

fn network(c: &mut Criterion) {
    let network = Network::embedded().unwrap();
    let mut ws = network.workspace(&context(), 360, 640).unwrap();
    let view = noise(&[360, 640, 6], 0.5);
    let (mut left, mut right) = (ws.encoded().unwrap(), ws.encoded().unwrap());
    network.encode(&mut ws, &view, &mut left).unwrap();
    network.encode(&mut ws, &view, &mut right).unwrap();
    let mut group = c.benchmark_group("network");
    settle(&mut group);
    group.bench_function("encode", |b| {
        b.iter(|| network.encode(&mut ws, &view, &mut left).unwrap());
    });
    network.search(&mut ws, &left, &right, None).unwrap();
    let middle = PhaseMap::Uniform(0.5);
    // `estimate` itself does it once a pair
    group.bench_function("estimate", |b| {
        b.iter(|| {
            let made =
                network.estimate_observed(&mut ws, &left, &right, &middle, &mut |_, _, _| ());
            black_box(made.unwrap());
        });
    });
    let other = PhaseMap::Uniform(0.3);
    network.search(&mut ws, &left, &right, None).unwrap();
    group.bench_function("carry", |b| {
        b.iter(|| {
            black_box(network.estimate(&mut ws, &left, &right, &other).unwrap());
        });
    });
    group.finish();
}

criterion_group!(
    benches,
    peak,
    convolutions,
    matching,
    searching,
    synthesis,
    network
);
criterion_main!(benches);
