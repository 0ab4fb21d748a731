//! Whether a card computes what the CPU does: a network is run on both before it is trusted to the card.
//! That shows a driver that refuses the kernels, or a card that runs them wrongly, before the stream does; and with which numbers it is faster.

use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};

use super::embedded::Network;
use super::embedded::config::VIEW;
use super::published::{ITERATIONS, Options, Published, RGB};
use super::{Model, Motion};
use crate::error::{Error, Result};
use crate::kernels::device::Gpu;
use crate::kernels::{CARD_VARIABLE, Context, PhaseMap, Precision, named};

/// Height and width of the pictures: several blocks of every kernel.
const SIZE: (usize, usize) = (72, 88);
/// Pixels that they are apart.
const MOTION: f32 = 3.0;
/// Largest difference of flow in pixels, relative to the larger of 1 and the CPU's, of the mask and of what is added: sums in
/// another order, through all of a network's layers. As between the CPU and the authors' code.
const TOLERANCE: f32 = 1e-2;

/// The same where features have 16 bits: they lose 2^-11 of their size in each layer.
const HALF_TOLERANCE: f32 = 5e-2;
/// Height of the features that are timed, and their width for each multiprocessor of a card: several blocks of every kernel for each.
const TIMED: usize = 32;
/// Height of the pictures that published networks are timed with, and their width for each multiprocessor.
const TIMED_LINES: usize = 256;
const TIMED_COLUMNS: usize = 8;
/// One halving of FILM's runs all its kernels.
const OPTIONS: Options = Options {
    scale: None,
    recursion: 1,
    iterations: ITERATIONS,
    longest: None,
};
/// How often each precision is timed; the least counts.
const ROUNDS: usize = 4;

/// Runs the network on two small pictures, on the CPU and on the card, there with features of either precision, unless
/// [`CARD_VARIABLE`] names one: the answer is that which is right and takes less time.
///
/// # Errors
/// The card fails, or answers something else; or the variable names nothing.
pub fn run(model: &Model, gpu: &Arc<Gpu>) -> Result<Precision> {
    let context = Context::new(1)?;
    let want = motion(model, &context)?;
    let agrees = |precision| {
        let card = context.on(Some(gpu.clone())).with_precision(precision);
        let found = motion(model, &card).map_err(|e| gpu.explain(e))?;
        compare(model, gpu, precision, largest(&found, &want))
    };
    if let Some(named) = named(CARD_VARIABLE, Precision::ALL, Precision::name)? {
        return agrees(named);
    }
    agrees(Precision::Single)?;
    match agrees(Precision::Half) {
        Ok(_) => fastest(model, &context, gpu).map_err(|e| gpu.explain(e)),
        Err(_) => Ok(Precision::Single),
    }
}

fn compare(model: &Model, gpu: &Gpu, precision: Precision, largest: f32) -> Result<Precision> {
    let allowed = match precision {
        Precision::Single => TOLERANCE,
        Precision::Half => HALF_TOLERANCE,
    };
    match largest <= allowed {
        true => Ok(precision),
        false => Err(Error::Device {
            device: gpu.description(),
            problem: format!(
                "computes {} otherwise than the CPU (by {largest}, allowed are {allowed}); use the device \"cpu\"",
                model.name()
            ),
        }),
    }
}

/// The precision with which the card makes motion faster.
fn fastest(model: &Model, context: &Context, gpu: &Arc<Gpu>) -> Result<Precision> {
    let new = |precision| {
        let card = context.on(Some(gpu.clone())).with_precision(precision);
        match model {
            Model::Embedded(network) => timed_embedded(network, &card, gpu.multiprocessors()?),
            Model::Published(network) => timed_published(network, &card, gpu.multiprocessors()?),
        }
    };
    let mut frames = [new(Precision::Single)?, new(Precision::Half)?];
    let mut least = [Duration::MAX; 2];
    for _ in 0..ROUNDS {
        for (least, frame) in least.iter_mut().zip(&mut frames) {
            *least = time(gpu, frame)?.min(*least);
        }
    }
    Ok(match least[1] < least[0] {
        true => Precision::Half,
        false => Precision::Single,
    })
}

/// Makes a new picture each time, of pictures of nothing, for which a card needs as long as for others.
type Frame<'a> = Box<dyn FnMut() -> Result<()> + 'a>;

/// How long one new picture takes.
fn time(gpu: &Gpu, frame: &mut Frame) -> Result<Duration> {
    let device = gpu.device();
    device.synchronize()?;
    let began = Instant::now();
    frame()?;
    device.synchronize()?;
    Ok(began.elapsed())
}

fn timed_embedded<'a>(
    network: &'a Network,
    context: &Context,
    multiprocessors: usize,
) -> Result<Frame<'a>> {
    let (h, w) = (2 * TIMED, 2 * TIMED * multiprocessors.max(1));
    let mut workspace = network.workspace(context, h, w)?;
    let view = Tensor::zeros((h, w, VIEW), DType::F32, &context.device())?;
    let mut sides = [workspace.encoded()?, workspace.encoded()?];
    Ok(Box::new(move || {
        network.encode(&mut workspace, &view, &mut sides[1])?;
        let [left, right] = &sides;
        network.search(&mut workspace, left, right, None)?;
        network.estimate(&mut workspace, left, right, &PhaseMap::Uniform(0.5))?;
        Ok(())
    }))
}

fn timed_published<'a>(
    network: &'a Published,
    context: &Context,
    multiprocessors: usize,
) -> Result<Frame<'a>> {
    let size = (TIMED_LINES, TIMED_COLUMNS * multiprocessors.max(1));
    let mut workspace = network.workspace(context, size, OPTIONS)?;
    let mut sides = [network.encoded(&workspace)?, network.encoded(&workspace)?];
    Ok(Box::new(move || {
        network.encode(&mut workspace, &mut sides[1])?;
        let [left, right] = &sides;
        network.estimate(&mut workspace, left, right, &PhaseMap::Uniform(0.5))
    }))
}

/// The largest relative difference; infinite where one is no number.
fn largest(found: &[f32], want: &[f32]) -> f32 {
    let pairs = found.iter().zip(want);
    let apart = pairs.map(|(a, b)| (a - b).abs() / b.abs().max(1.0));
    let finite = |d: f32| if d.is_finite() { d } else { f32::INFINITY };
    apart.map(finite).fold(0.0, f32::max)
}

fn motion(model: &Model, context: &Context) -> Result<Vec<f32>> {
    match model {
        Model::Embedded(network) => motion_of_embedded(network, context),
        Model::Published(network) => motion_of_published(network, context),
    }
}

fn motion_of_embedded(network: &Network, context: &Context) -> Result<Vec<f32>> {
    let mut workspace = network.workspace(context, SIZE.0 / 2, SIZE.1 / 2)?;
    let [mut left, mut right] = [workspace.encoded()?, workspace.encoded()?];
    for (encoded, moved) in [(&mut left, 0.0), (&mut right, MOTION)] {
        let view = view(&paint(moved)?)?.to_device(&context.device())?;
        network.encode(&mut workspace, &view, encoded)?;
    }
    network.search(&mut workspace, &left, &right, None)?;
    let phase = PhaseMap::Uniform(0.4);
    let Motion { flow, mask, .. } = network.estimate(&mut workspace, &left, &right, &phase)?;
    let mut values = values(flow)?;
    values.extend(self::values(mask)?);
    Ok(values)
}

fn motion_of_published(network: &Published, context: &Context) -> Result<Vec<f32>> {
    let mut workspace = network.workspace(context, SIZE, OPTIONS)?;
    let [mut left, mut right] = [network.encoded(&workspace)?, network.encoded(&workspace)?];
    for (encoded, moved) in [(&mut left, 0.0), (&mut right, MOTION)] {
        let picture = paint(moved)?.to_device(&context.device())?;
        workspace.set_colors(encoded, &picture)?;
        network.encode(&mut workspace, encoded)?;
    }
    network.estimate(&mut workspace, &left, &right, &PhaseMap::Uniform(0.4))?;
    let mut all = values(workspace.motion())?;
    all.extend(workspace.residual().map_or(Ok(vec![]), values)?);
    Ok(all)
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    let here = tensor.to_device(&Device::Cpu)?;
    Ok(here.flatten_all()?.to_vec1()?)
}

/// The view of a picture `[h, w, 3]`, its first channel as luma.
fn view(picture: &Tensor) -> Result<Tensor> {
    let (h, w, _) = picture.dims3()?;
    let picture = values(picture)?;
    let value = |i: usize| {
        let (y, x, c) = (2 * (i / VIEW / (w / 2)), 2 * (i / VIEW % (w / 2)), i % VIEW);
        let (y, x, c) = match c {
            0..4 => (y + c / 2, x + c % 2, 0),
            chroma => (y, x, chroma - 3),
        };
        picture[(y * w + x) * RGB + c] - 0.5
    };
    let values: Vec<f32> = (0..h / 2 * (w / 2) * VIEW).map(value).collect();
    Ok(Tensor::from_vec(
        values,
        (h / 2, w / 2, VIEW),
        &Device::Cpu,
    )?)
}

/// `[h, w, 3]` of waves.
fn paint(moved: f32) -> Result<Tensor> {
    let (h, w) = SIZE;
    let value = |i: usize| {
        let (y, x, c) = (i / RGB / w, i / RGB % w, (i % RGB) as f32);
        let (y, x) = (y as f32 - moved / 2.0, x as f32 - moved);
        0.5 + 0.2 * (0.19 * x + c).sin() + 0.2 * (0.13 * y - 0.05 * x + 2.0 * c).cos()
    };
    let values: Vec<f32> = (0..h * w * RGB).map(value).collect();
    Ok(Tensor::from_vec(values, (h, w, RGB), &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_as_far_off_as_can_be() {
        assert_eq!(largest(&[1.0, 20.0], &[1.0, 10.0]), 1.0);
        assert_eq!(largest(&[f32::NAN, 1.0], &[1.0, 1.0]), f32::INFINITY);
        assert_eq!(largest(&[f32::INFINITY], &[1.0]), f32::INFINITY);
    }
}
