//! How long a card takes for a new frame, and what that is made of: a table for a person. It is no test, and is run by name:
//!
//! ```sh
//! scripts/cuda.sh cargo test --release --features cuda --test card -- --ignored --nocapture bench
//! ```
//!
//! What the network alone does is compared with what the card was measured to do in the same run. Its multiplications and additions: with
//! those of registers alone, of the numbers that it multiplies; on tensor cores these are by `mma.sync`, as in our kernels, of ones, for
//! which a card need not save power. The bytes of its tensors: with those of a copy within the card. They are those of each launch, each
//! once, so that more cross the memory where a launch reads some again, and fewer where caches still have what the launch before wrote:
//! the share tells how far from a copy's time it is, not how busy the memory was.

use std::collections::BTreeMap;
use std::sync::{Arc, Barrier};
use std::time::Instant;

use candle_core::{DType, Device as Place, Tensor};
use gstvideointerpolate::interpolator::{Encoded, Interpolator, Options, Settings};
use gstvideointerpolate::kernels::device::{Counts, Gpu, Time};
use gstvideointerpolate::kernels::{Context, PhaseMap, Precision, Way, rate};
use gstvideointerpolate::network::published::{self, Published};
use gstvideointerpolate::network::{Model, Network, Variant};
use gstvideointerpolate::picture::{Channel, Format, Picture, PictureMut};

use super::checkpoints::waves;
use super::common::Owned;
use super::locked::LockedPicture;
use super::networks::{is_chosen, networks};
use super::{card, values, ways};

/// Sizes to time, as `1280x720,1920x1080`; and frames of each, of which the median counts.
const SIZES: (&str, &str) = ("CARD_SIZES", "1280x720,1920x1080,3840x2160");
const FRAMES: (&str, &str) = ("CARD_FRAMES", "20");
/// Prints the times of each kernel, too, unless it is empty.
const KERNELS: (&str, &str) = ("CARD_KERNELS", "");
/// Floats of a copy whose bandwidth is measured: 64 MiB.
const COPIED: usize = 1 << 24;
/// Copies within the card that are waited for together.
const WITHIN: u32 = 16;
/// Milliseconds that products are made for at least, and rounds of them at most, so that what a thread counts is exact.
const LEAST_MS: f64 = 2.0;
const MOST_ROUNDS: u32 = 1 << 15;
const PHASE: PhaseMap = PhaseMap::Uniform(0.5);
/// Streams on the card at a time, where they are.
const STREAMS: usize = 4;
/// Of the pictures between two at four times the rate.
const PHASES: [f32; 3] = [0.25, 0.5, 0.75];

fn setting((name, otherwise): (&str, &str)) -> String {
    std::env::var(name).unwrap_or(otherwise.into())
}

/// Since then.
fn milliseconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}

/// The median.
fn middle(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The median of so many times, in milliseconds.
pub fn median(count: usize, mut run: impl FnMut()) -> f64 {
    let time = |_| {
        let began = Instant::now();
        run();
        milliseconds(began)
    };
    middle((0..count.max(1)).map(time).collect())
}

/// Waits for the card.
pub fn wait(gpu: &Gpu) {
    gpu.device().synchronize().unwrap();
}

/// What a card does at most, as it was measured.
struct Rates {
    /// Gigabytes a second to the card from memory that is not page-locked, and from it.
    up: f64,
    down: f64,
    /// Gigabytes a second that a copy within it reads and writes.
    within: f64,
    /// TFLOP/s of registers alone, see [`Precision::ALL`].
    products: [f64; 2],
}

impl Rates {
    fn of(gpu: &Gpu, count: usize) -> Self {
        let [up, down, within] = bandwidth(gpu, count);
        Self {
            up,
            down,
            within,
            products: Precision::ALL.map(|products| product_rate(gpu, products, count)),
        }
    }
}

/// TFLOP/s of registers alone.
fn product_rate(gpu: &Gpu, products: Precision, count: usize) -> f64 {
    let blocks = gpu.multiprocessors().unwrap().max(1) * rate::BLOCKS;
    let shape = (blocks, rate::THREADS, 1);
    let out = Tensor::zeros(shape, DType::F32, &gpu.device()).unwrap();
    let mut rounds = 1;
    loop {
        let run = || {
            rate::run(gpu, products, rounds, &out).unwrap();
            wait(gpu);
        };
        let flop = counted(gpu, run).flop as f64;
        let ms = median(count, run);
        if ms >= LEAST_MS || rounds >= MOST_ROUNDS {
            let made: f64 = values(&out).iter().map(|n| f64::from(*n)).sum();
            assert_eq!(2.0 * made, flop, "{products:?}: other products were made");
            return flop / ms / 1e9;
        }
        rounds *= 2;
    }
}

/// What a card is told meanwhile.
fn counted(gpu: &Gpu, run: impl FnOnce()) -> Counts {
    let before = gpu.counts();
    run();
    let after = gpu.counts();
    Counts {
        up: after.up - before.up,
        down: after.down - before.down,
        launches: after.launches - before.launches,
        graphs: after.graphs - before.graphs,
        cudnn: after.cudnn - before.cudnn,
        flop: after.flop - before.flop,
        bytes: after.bytes - before.bytes,
    }
}

/// Gigabytes a second to the card from memory that is not page-locked, from it, and of a copy within it.
fn bandwidth(gpu: &Gpu, count: usize) -> [f64; 3] {
    let here = Tensor::zeros((1, COPIED, 1), DType::F32, &Place::Cpu).unwrap();
    let there = here.to_device(&gpu.device()).unwrap();
    let rate = |ms: f64| (COPIED * size_of::<f32>()) as f64 / ms / 1e6;
    let up = || {
        gpu.upload(&here, &there).unwrap();
        wait(gpu);
    };
    let up = median(count, up);
    let down = median(count, || gpu.download(&there, &here).unwrap());
    // the memory of one copy is that of the next
    let within = || {
        (0..WITHIN).for_each(|_| drop(there.copy().unwrap()));
        wait(gpu);
    };
    let within = median(count, within) / f64::from(2 * WITHIN);
    [rate(up), rate(down), rate(within)]
}

/// Waves of all lengths, the long ones strong as in most pictures, moved by so many pixels.
pub fn texture(size: (u32, u32), by: f32) -> Owned {
    const LENGTHS: [f32; 6] = [9.0, 23.0, 61.0, 149.0, 401.0, 997.0];
    Owned::painted(Format::I420, size, 3, |channel: Channel, x, y| {
        let start = 0.7 * f32::from(channel as u8);
        let wave = |length: f32| {
            let (a, b) = ((x - by) / length, y / length);
            (6.3 * (a + 0.3 * b) + start).sin() * (6.3 * (b - 0.4 * a) + start).cos()
        };
        let sum: f32 = LENGTHS.iter().map(|&l| l.sqrt() * wave(l)).sum();
        0.5 + 0.006 * sum
    })
}

/// What is done for a new frame.
struct Cost {
    /// Milliseconds of all of it: the next source picture is encoded, the one between made.
    whole: f64,
    /// The same with pictures in page-locked memory, as the element has them where its neighbours take its pools.
    locked: f64,
    /// Of such, too: each of three between two, asked for one by one, and told of one by one.
    three: [f64; 2],
    /// A new frame of one of [`STREAMS`] that go on side by side, with pictures in page-locked memory, and the network of each alone.
    beside: [f64; 2],
    /// Of that until the source picture has been read and is on its way.
    sending: f64,
    counts: Counts,
    network: Alone,
    /// Of each kernel, launched by itself, if they are asked for.
    kernels: BTreeMap<&'static str, Time>,
}

/// Queues all that is done for a new frame; how many milliseconds that took.
type Frame = Box<dyn FnMut() -> f64>;

/// The network alone, all that it reads and finds lying on the card.
struct Alone {
    ms: f64,
    /// Of that until the CPU has told the card all.
    queued: f64,
    counts: Counts,
}

impl Alone {
    fn of(gpu: &Gpu, count: usize, mut frame: Frame) -> Self {
        let mut queued = Vec::new();
        let mut frame = || {
            queued.push(frame());
            wait(gpu);
        };
        // memory, kernels and graphs are new
        (0..4).for_each(|_| frame());
        let counts = counted(gpu, &mut frame);
        let ms = median(count, &mut frame);
        Self {
            ms,
            queued: middle(queued),
            counts,
        }
    }
}

fn measure(
    (gpu, way): (&Arc<Gpu>, Way),
    model: &Model,
    pictures: &[Owned; 2],
    count: usize,
) -> Cost {
    let pictures = pictures.each_ref().map(Owned::picture);
    let size = (pictures[0].width() as u32, pictures[0].height() as u32);
    let context = Context::new(0).unwrap().on(Some(gpu.clone()));
    let context = context.with_way(way);
    let mut stream = Stream::new(model, &context, size);
    let mut out = Owned::new(Format::I420, size, 0);
    let mut sending = Vec::new();
    let mut frame = || {
        let to = &mut out.picture_mut();
        sending.push(stream.go_on(&pictures, &[0.5], false, to));
    };
    // memory, kernels and graphs are new
    (0..8).for_each(|_| frame());
    let counts = counted(gpu, &mut frame);
    let whole = median(count, &mut frame);
    let once = || {
        frame();
        Ok(())
    };
    let kernels = match setting(KERNELS).is_empty() {
        true => BTreeMap::new(),
        false => gpu.timed(once).unwrap(),
    };
    let sending = middle(sending);
    let (locked, three) = locked_times(gpu, (model, &context), &pictures, count);
    let size = (size.1 as usize, size.0 as usize);
    let network = Alone::of(gpu, count, alone(gpu, (model, &context), size));
    let beside = [true, false].map(|whole| {
        let frame = |gpu: &Arc<Gpu>| {
            let context = context.on(Some(gpu.clone()));
            match whole {
                true => locked_frames(gpu, (model, &context), &pictures, (&[0.5], false)),
                false => alone(gpu, (model, &context), size),
            }
        };
        side_by_side(count, frame)
    });
    Cost {
        whole,
        locked,
        three,
        beside,
        sending,
        network,
        counts,
        kernels,
    }
}

/// A stream of two pictures that take turns.
pub struct Stream {
    interpolator: Interpolator,
    left: Option<Arc<Encoded>>,
    next: usize,
}

impl Stream {
    pub fn new(model: &Model, context: &Context, size: (u32, u32)) -> Self {
        let options = Options::default();
        let made = Interpolator::with_context(model.clone(), Format::I420, size, context, options);
        Self {
            interpolator: made.unwrap(),
            left: None,
            next: 0,
        }
    }

    /// Takes the next picture and makes those at some phases before it, each told of with the one before if so. Milliseconds until the next
    /// one is sent.
    pub fn go_on(
        &mut self,
        pictures: &[Picture; 2],
        phases: &[f32],
        tells: bool,
        out: &mut PictureMut,
    ) -> f64 {
        let (began, next) = (Instant::now(), self.next);
        let right = self.interpolator.encode(&pictures[next]).unwrap();
        let sent = milliseconds(began);
        if let Some(left) = &self.left {
            let sides = [(&pictures[1 - next], &**left), (&pictures[next], &*right)];
            for (i, phase) in phases.iter().enumerate() {
                let settings = Settings {
                    then: phases.get(i + 1).copied().filter(|_| tells),
                    ..Settings::default()
                };
                let phase = PhaseMap::Uniform(*phase);
                let made = self
                    .interpolator
                    .interpolate(sides[0], sides[1], &phase, &settings, out);
                made.unwrap();
            }
        }
        (self.left, self.next) = (Some(right), 1 - next);
        sent
    }
}

/// With pictures in page-locked memory: a new frame; each of three between two without and with being told of.
fn locked_times(
    gpu: &Gpu,
    model: (&Model, &Context),
    pictures: &[Picture; 2],
    count: usize,
) -> (f64, [f64; 2]) {
    let time = |phases: &'static [f32], tells: bool| {
        let mut go_on = locked_frames(gpu, model, pictures, (phases, tells));
        let mut go_on = || {
            go_on();
        };
        (0..8).for_each(|_| go_on());
        median(count, go_on) / phases.len() as f64
    };
    let one = time(&[0.5], false);
    (one, [time(&PHASES, false), time(&PHASES, true)])
}

/// With pictures in page-locked memory, the next source picture and those at some phases before it, each told of with the one before if so.
fn locked_frames(
    gpu: &Gpu,
    (model, context): (&Model, &Context),
    pictures: &[Picture; 2],
    (phases, tells): (&'static [f32], bool),
) -> Frame {
    let sources = pictures.each_ref().map(|p| LockedPicture::of(gpu, p, 0));
    let size = (pictures[0].width() as u32, pictures[0].height() as u32);
    let mut out = LockedPicture::new(gpu, Format::I420, size, 0);
    let mut stream = Stream::new(model, context, size);
    Box::new(move || {
        let pictures = sources.each_ref().map(LockedPicture::picture);
        stream.go_on(&pictures, phases, tells, &mut out.picture_mut())
    })
}

/// How many milliseconds a new frame takes where so many of each of [`STREAMS`] are made at the same time: `frame` is what each does, on
/// the card as it has opened it.
fn side_by_side(count: usize, frame: impl Fn(&Arc<Gpu>) -> Frame + Sync) -> f64 {
    let together = Barrier::new(STREAMS);
    let stream = || {
        let gpu = card().expect("the card that is open");
        let mut frame = frame(&gpu);
        let mut frame = || {
            frame();
            wait(&gpu);
        };
        (0..8).for_each(|_| frame());
        together.wait();
        let began = Instant::now();
        (0..count).for_each(|_| frame());
        together.wait();
        milliseconds(began)
    };
    std::thread::scope(|scope| {
        let streams: Vec<_> = (0..STREAMS).map(|_| scope.spawn(stream)).collect();
        let times = streams.into_iter().map(|stream| stream.join().unwrap());
        times.fold(0.0, f64::max) / (STREAMS * count) as f64
    })
}

/// The network alone, for pictures of this height and width.
fn alone(gpu: &Gpu, (model, context): (&Model, &Context), size: (usize, usize)) -> Frame {
    match model {
        Model::Embedded(network) => of_embedded(gpu, network, context, size),
        Model::Published(network) => of_published(gpu, network, context, size),
    }
}

fn of_embedded(
    gpu: &Gpu,
    network: &Arc<Network>,
    context: &Context,
    (h, w): (usize, usize),
) -> Frame {
    let half = |n: usize| n.div_ceil(2).next_multiple_of(4);
    let halved = Options::default().scale((h, w), network.lines()) < 1.0;
    let seen = |n: usize| if halved { half(n) / 2 } else { half(n) };
    let (h, w) = (seen(h), seen(w));
    let mut workspace = network.workspace(context, h, w).unwrap();
    let view = |by: f64| {
        let view = Tensor::cat(&[waves((h, w), by), waves((h, w), by + 1.0)], 2).unwrap();
        (view - 0.5).unwrap().to_device(&gpu.device()).unwrap()
    };
    let views = [0.0, 3.0].map(view);
    let mut encoded = [0; 2].map(|_| workspace.encoded().unwrap());
    network
        .encode(&mut workspace, &views[0], &mut encoded[0])
        .unwrap();
    let network = network.clone();
    Box::new(move || {
        let began = Instant::now();
        network
            .encode(&mut workspace, &views[1], &mut encoded[1])
            .unwrap();
        let [left, right] = &encoded;
        network.search(&mut workspace, left, right, None).unwrap();
        network
            .estimate(&mut workspace, left, right, &PHASE)
            .unwrap();
        milliseconds(began)
    })
}

fn of_published(
    gpu: &Gpu,
    network: &Arc<Published>,
    context: &Context,
    size: (usize, usize),
) -> Frame {
    let options = published::Options::default();
    let mut workspace = network.workspace(context, size, options).unwrap();
    let mut encoded = [0; 2].map(|_| network.encoded(&workspace).unwrap());
    for (encoded, by) in encoded.iter_mut().zip([0.0, 3.0]) {
        let picture = waves(size, by).to_device(&gpu.device()).unwrap();
        workspace.set_colors(encoded, &picture).unwrap();
        network.encode(&mut workspace, encoded).unwrap();
    }
    let network = network.clone();
    Box::new(move || {
        let began = Instant::now();
        network.encode(&mut workspace, &mut encoded[1]).unwrap();
        let [left, right] = &encoded;
        network
            .estimate(&mut workspace, left, right, &PHASE)
            .unwrap();
        milliseconds(began)
    })
}

fn print_kernels(times: &BTreeMap<&'static str, Time>) {
    let mut times: Vec<_> = times.iter().collect();
    times.sort_by(|(_, a), (_, b)| b.ms.total_cmp(&a.ms));
    for (name, time) in &times {
        println!("    {name}: {} times, {:.3} ms", time.runs, time.ms);
    }
    let all: f64 = times.iter().map(|(_, time)| time.ms).sum();
    println!("    all kernels: {all:.3} ms");
}

/// What is timed: a name, and the network in a way that it has.
fn models(gpu: &Gpu) -> Vec<(String, Model, Way)> {
    let built_in = Variant::ALL.map(|v| (v.name().to_string(), Model::from(v.network().unwrap())));
    let published = networks("").into_iter();
    let published = published.map(|(name, n)| (name, Model::Published(Arc::new(n))));
    let ways = ways(gpu);
    let with_ways = |(name, model): (String, Model)| {
        let has = |way: &Way| matches!(model, Model::Published(_)) || !way.has_cudnn();
        let ways: Vec<_> = ways.iter().copied().filter(has).collect();
        let each = ways
            .into_iter()
            .map(move |w| (name.clone(), model.clone(), w));
        each.filter(|(name, _, way)| is_chosen(name, Some(*way)))
    };
    built_in
        .into_iter()
        .chain(published)
        .flat_map(with_ways)
        .collect()
}

fn print(size: &str, (name, way): (&str, Way), cost: &Cost, rates: &Rates) {
    let (counts, mega) = (cost.counts, |n: u64| n as f64 / 1e6);
    let Alone {
        ms,
        queued,
        counts: alone,
    } = cost.network;
    let (tera, giga) = (mega(alone.flop) / 1e3 / ms, mega(alone.bytes) / ms);
    let most = rates.products[way.precision() as usize];
    println!(
        "| {size} | {name} {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {ms:.2} | {:.2} | {queued:.2} | {:.3} | {:.3} | {} | {} | {} | {:.3} | {tera:.1} | {:.1} | {:.2} | {giga:.0} | {:.1} | {} |",
        way.name(),
        cost.whole,
        cost.locked,
        cost.three[0],
        cost.three[1],
        cost.beside[0],
        cost.sending,
        cost.beside[1],
        mega(counts.up),
        mega(counts.down),
        counts.launches,
        counts.graphs,
        counts.cudnn,
        mega(alone.flop) / 1e3,
        100.0 * tera / most,
        mega(alone.bytes),
        100.0 * giga / rates.within,
        alone.graphs,
    );
    if !cost.kernels.is_empty() {
        print_kernels(&cost.kernels);
    }
}

#[test]
#[ignore = "a table, no test"]
fn bench() {
    let Some(gpu) = card() else { return };
    let count = setting(FRAMES).parse().expect("a number of frames");
    let rates = Rates::of(&gpu, count);
    let Rates {
        up,
        down,
        within,
        products: [single, half],
    } = rates;
    println!(
        "\n{}: {up:.1} GB/s to the card, {down:.1} GB/s from it, {within:.0} GB/s read and written within, {half:.2} TFLOP/s of 16 bits on tensor cores, {single:.2} TFLOP/s of 32 bits\n",
        gpu.description()
    );
    println!(
        "| size | network | ms a new frame | page-locked | each of three, page-locked | told of | of four streams | until its source is sent | network alone | of four streams | until it is queued | MB up | MB down | launches | graphs | by cuDNN | GFLOP of the network alone | TFLOP/s | % of the card's | MB of its tensors | GB/s | % of a copy's | its graphs |"
    );
    println!(
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    let models = models(&gpu);
    for size in setting(SIZES).split(',') {
        let (w, h) = size.split_once('x').expect("a size as 1280x720");
        let (w, h) = (w.parse().expect("a width"), h.parse().expect("a height"));
        let pictures = [0.0, 3.0].map(|by| texture((w, h), by));
        for (name, model, way) in &models {
            let cost = measure((&gpu, *way), model, &pictures, count);
            print(size, (name, *way), &cost, &rates);
        }
    }
}
