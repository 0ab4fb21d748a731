//! How long candle's own convolutions take beside ours: a table for a person. It is no test, and is run by name:
//!
//! ```sh
//! CARD_CUBLAS=libcublas.so.13 scripts/cuda.sh cargo test --release --features cuda --test card -- --ignored --nocapture candles_own
//! ```
//!
//! candle copies each output's inputs side by side (im2col), has cuBLAS multiply these, and copies the product to channels first. The
//! plugin is linked with a cuBLAS that does nothing; that of this library is used where the variable names it.
//!
//! The convolutions are those of RIFE 4.25 but for its transposed ones, as the card is told of them for a new frame. Of each there is one
//! input, neither bias nor activation for candle, and both for ours.

use std::sync::Arc;

use candle_core::{DType, Device as Place, Tensor};
use gstvideointerpolate::kernels::conv::{Activation, Filter};
use gstvideointerpolate::kernels::device::{Convolution, Gpu};
use gstvideointerpolate::kernels::{Context, PhaseMap, Precision};
use gstvideointerpolate::network::checkpoint::Checkpoint;
use gstvideointerpolate::network::published::{Options, Published};

use super::bench::{median, wait};
use super::checkpoints::tensors;
use super::{card, tensor, values};

/// Names the library that cuBLAS is in; so do the stand-ins, see `scripts/cuda/standins.py`.
const CUBLAS: &str = "CARD_CUBLAS";
/// Width and height of the pictures.
const SIZE: &str = "CARD_CANDLES_SIZE";
const NETWORK: &str = "rife-4.25";
/// Convolutions that are waited for together, and rounds of them, of which the median counts.
const TOGETHER: usize = 8;
const ROUNDS: usize = 3;

/// What a new frame takes: of each convolution how often it is made.
fn convolutions(gpu: &Arc<Gpu>, size: (usize, usize)) -> Vec<(Convolution, usize)> {
    let checkpoint = Checkpoint::of(NETWORK, tensors(NETWORK));
    let network = Published::load(&checkpoint, None).unwrap();
    let context = Context::new(0).unwrap().on(Some(gpu.clone()));
    let context = context.with_precision(Precision::Half);
    let options = Options::default();
    let mut workspace = network.workspace(&context, size, options).unwrap();
    let mut sides = [0; 2].map(|_| network.encoded(&workspace).unwrap());
    let runs = gpu.runs(|| {
        network.encode(&mut workspace, &mut sides[1])?;
        let [left, right] = &sides;
        network.estimate(&mut workspace, left, right, &PhaseMap::Uniform(0.5))
    });
    let mut all: Vec<(Convolution, usize)> = Vec::new();
    for convolution in runs.unwrap().iter().filter_map(|run| run.convolution) {
        match all.iter_mut().find(|(known, _)| *known == convolution) {
            Some((_, count)) => *count += 1,
            None => all.push((convolution, 1)),
        }
    }
    all
}

/// Milliseconds of one run.
fn time(gpu: &Gpu, mut run: impl FnMut() -> candle_core::Result<()>) -> candle_core::Result<f64> {
    // memory and kernels are new
    run()?;
    let together = || {
        (0..TOGETHER).for_each(|_| run().unwrap());
        wait(gpu);
    };
    Ok(median(ROUNDS, together) / TOGETHER as f64)
}

/// Milliseconds of ours and of candle's, and how far apart they are.
struct Row {
    ours: f64,
    candles: f64,
    apart: f32,
}

/// What a convolution reads, on the CPU: as ours wants it, and as candle's does.
struct Given {
    input: Tensor,
    first: Tensor,
    weight: Tensor,
}

impl Given {
    fn of(c: &Convolution) -> candle_core::Result<Self> {
        let input = tensor("input", &[c.size.0, c.size.1, c.inputs]);
        Ok(Self {
            first: input.permute((2, 0, 1))?.unsqueeze(0)?.contiguous()?,
            weight: (tensor("weight", &[c.outputs, c.inputs, c.kernel, c.kernel]) * 0.1)?,
            input,
        })
    }
}

fn measure(
    gpu: &Arc<Gpu>,
    c: &Convolution,
    given: &Given,
    precision: Precision,
) -> candle_core::Result<Row> {
    let (device, dtype) = (gpu.device(), precision.dtype());
    let there = |t: &Tensor| t.to_dtype(dtype)?.to_device(&device);
    let context = Context::new(0).unwrap().on(Some(gpu.clone()));
    let context = context.with_precision(precision);
    let bias = Tensor::zeros(c.outputs, DType::F32, &Place::Cpu)?;
    let filter = Filter::new(&given.weight, &bias, c.stride)?;
    let [h, w] = [c.size.0, c.size.1].map(|n| n.div_ceil(c.stride));
    let out = Tensor::zeros((h, w, c.outputs), dtype, &device)?;
    let (input, linear) = (there(&given.input)?, Activation::Linear);
    let apply = || filter.apply(&context, &[&input], None, linear, &out);
    let ours = time(gpu, apply)?;

    let (first, weight) = (there(&given.first)?, there(&given.weight)?);
    let convolve = || first.conv2d(&weight, c.kernel / 2, c.stride, 1, 1);
    let candles = time(gpu, || convolve().map(drop))?;
    let made = [convolve()?.squeeze(0)?, out.permute((2, 0, 1))?];
    let apart = apart(&made[0], &made[1])?;
    Ok(Row {
        ours,
        candles,
        apart,
    })
}

/// The largest difference of two tensors on the card.
fn apart(one: &Tensor, other: &Tensor) -> candle_core::Result<f32> {
    let here = |t: &Tensor| t.to_device(&Place::Cpu)?.to_dtype(DType::F32);
    let (one, other) = (values(&here(one)?), values(&here(other)?));
    let off = one.iter().zip(&other).map(|(a, b)| (a - b).abs());
    let finite = |off: f32| if off.is_finite() { off } else { f32::INFINITY };
    Ok(off.map(finite).fold(0.0, f32::max))
}

fn print(gpu: &Arc<Gpu>, size: (usize, usize)) -> candle_core::Result<()> {
    println!(
        "candle's own convolutions beside ours, {NETWORK}, {}x{}, microseconds each:",
        size.1, size.0
    );
    println!(
        "| convolution | size | times | ours f16 | candle's f16 | apart | ours f32 | candle's f32 | apart |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut sums = [0.0; 4];
    for (c, count) in convolutions(gpu, size) {
        let given = Given::of(&c)?;
        let [half, single] =
            [Precision::Half, Precision::Single].map(|p| measure(gpu, &c, &given, p));
        let (half, single) = (half?, single?);
        let each = [half.ours, half.candles, single.ours, single.candles];
        for (sum, ms) in sums.iter_mut().zip(each) {
            *sum += ms * count as f64;
        }
        let [a, b, d, e] = each.map(|ms| 1e3 * ms);
        println!(
            "| {0}x{0} by {1}, {2} to {3} | {5}x{4} | {count} | {a:.1} | {b:.1} | {6:.1e} | {d:.1} | {e:.1} | {7:.1e} |",
            c.kernel, c.stride, c.inputs, c.outputs, c.size.0, c.size.1, half.apart, single.apart,
        );
    }
    let [a, b, d, e] = sums.map(|ms| 1e3 * ms);
    println!("| all | | | {a:.0} | {b:.0} | | {d:.0} | {e:.0} | |");
    Ok(())
}

#[test]
#[ignore = "a table, no test"]
fn candles_own() {
    let Some(gpu) = card() else { return };
    let size = std::env::var(SIZE).unwrap_or("1920x1080".into());
    let (w, h) = size.split_once('x').expect("a size as 1280x720");
    let size = (h.parse().expect("a height"), w.parse().expect("a width"));
    if std::env::var(CUBLAS).unwrap_or_default().is_empty() {
        println!(
            "skipped: candle's own convolutions need cuBLAS, which is not linked; name its library in {CUBLAS}"
        );
        return;
    }
    let small = Convolution {
        kernel: 3,
        stride: 1,
        inputs: 8,
        outputs: 8,
        size: (8, 8),
    };
    let tried = Given::of(&small).and_then(|given| measure(&gpu, &small, &given, Precision::Half));
    let told = tried.and_then(|_| print(&gpu, size));
    if let Err(why) = told {
        let why = why.to_string();
        let why = why.lines().next().unwrap_or_default();
        println!("skipped: candle's own convolutions do not run: {why}");
    }
}
