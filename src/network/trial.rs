//! Whether a card computes what the CPU does: a network is run on both before it is trusted to the card.
//! That shows a driver that refuses the kernels, or a card that runs them wrongly, before the stream does; and in which way it is fastest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};

use super::embedded::Network;
use super::embedded::config::VIEW;
use super::published::{ITERATIONS, Options, Published, RGB};
use super::{Model, Motion};
use crate::error::{Error, Result};
use crate::kernels::device::{Cudnn, Gpu};
use crate::kernels::{CARD_VARIABLE, Context, PhaseMap, Precision, Way, named};

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
const TIMED: usize = 28;
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
/// How often each way is timed; the least counts.
const ROUNDS: usize = 4;
/// How much of the time of our own kernels that with cuDNN may take here, in tenths: pictures of a stream are larger, and each convolution
/// is timed again for them.
const ALLOWED: u32 = 11;

/// What a trial has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trial {
    /// How the network runs on the card.
    pub way: Way,
    /// The same in words, and why not otherwise.
    pub description: String,
}

/// Runs the network on two small pictures, on the CPU and on the card, there in each [`Way`], unless
/// [`CARD_VARIABLE`] names one: the answer is that which is right and takes least time, or least memory where there is too little to see which it is.
///
/// # Errors
/// The card fails, has no memory even for these, or answers something else; or the variable names nothing, or cuDNN, which is not there.
pub fn run(model: &Model, gpu: &Arc<Gpu>) -> Result<Trial> {
    let context = Context::new(1)?;
    let want = motion(model, &context)?;
    let apart = |way| -> Result<f32> {
        let card = context.on(Some(gpu.clone())).with_way(way);
        let found = motion(model, &card).map_err(|e| gpu.explain(e))?;
        Ok(largest(&found, &want))
    };
    let agrees = |way| compare(model, gpu, way, apart(way)?);
    if let Some(named) = named(CARD_VARIABLE, Way::ALL, Way::name)? {
        let (way, cudnn) = asked(model, gpu, named)?;
        agrees(way)?;
        return Ok(described(way, cudnn.map(Ok)));
    }
    agrees(Way::Single)?;
    if agrees(Way::Half).is_err() {
        return Ok(described(Way::Single, None));
    }
    let cudnn = match model {
        Model::Embedded(_) => None,
        // all that it has, whatever is faster for pictures so small
        Model::Published(_) => Some(gpu.cudnn().and_then(|cudnn| match apart(Way::CudnnAll) {
            Ok(apart) if apart <= allowed(Way::CudnnAll) => Ok(cudnn),
            Ok(apart) => Err(format!("it computes otherwise than the CPU (by {apart})")),
            Err(e) => Err(e.to_string()),
        })),
    };
    let way = fastest(model, &context, gpu, matches!(cudnn, Some(Ok(_))));
    match way.map_err(|e| gpu.explain(e)) {
        Ok(way) => Ok(described(way, cudnn)),
        // small pictures may have room yet, and with this way the most
        Err(Error::DeviceMemory { .. }) => Ok(described(Way::Half, None)),
        Err(e) => Err(e),
    }
}

/// The way that is named, as the network has it, with cuDNN if that needs it.
fn asked(model: &Model, gpu: &Gpu, named: Way) -> Result<(Way, Option<Arc<Cudnn>>)> {
    if !named.has_cudnn() {
        return Ok((named, None));
    }
    if let Model::Embedded(_) = model {
        return Ok((Way::Half, None));
    }
    let cudnn = gpu.cudnn().map_err(|why| Error::Device {
        device: gpu.description(),
        problem: format!(
            "cannot use cuDNN, which {CARD_VARIABLE} names: {why}; install it, or set that to nothing"
        ),
    })?;
    Ok((named, Some(cudnn)))
}

/// In words, with cuDNN, or why there is none, where it was tried.
fn described(way: Way, cudnn: Option<std::result::Result<Arc<Cudnn>, String>>) -> Trial {
    let features = format!("features {}", way.precision().name());
    let description = match (way, cudnn) {
        (Way::Cudnn, Some(Ok(cudnn))) => {
            format!(
                "{features}, convolutions by cuDNN {} where it is faster",
                cudnn.version()
            )
        }
        (Way::CudnnAll, Some(Ok(cudnn))) => {
            format!("{features}, convolutions by cuDNN {}", cudnn.version())
        }
        (_, Some(Ok(cudnn))) => format!(
            "{features}, without cuDNN {}, which is slower",
            cudnn.version()
        ),
        (_, Some(Err(why))) => format!("{features}, without cuDNN: {why}"),
        (_, None) => features,
    };
    Trial { way, description }
}

/// How far from the CPU's it may be.
fn allowed(way: Way) -> f32 {
    match way.precision() {
        Precision::Single => TOLERANCE,
        Precision::Half => HALF_TOLERANCE,
    }
}

fn compare(model: &Model, gpu: &Gpu, way: Way, largest: f32) -> Result<()> {
    let allowed = allowed(way);
    match largest <= allowed {
        true => Ok(()),
        false => Err(Error::Device {
            device: gpu.description(),
            problem: format!(
                "computes {} otherwise than the CPU (by {largest}, allowed are {allowed}); use the device \"cpu\"",
                model.name()
            ),
        }),
    }
}

/// The way in which the card makes motion fastest.
fn fastest(model: &Model, context: &Context, gpu: &Arc<Gpu>, has_cudnn: bool) -> Result<Way> {
    let new = |way| {
        let card = context.on(Some(gpu.clone())).with_way(way);
        match model {
            Model::Embedded(network) => timed_embedded(network, &card, gpu.multiprocessors()?),
            Model::Published(network) => timed_published(network, &card, gpu.multiprocessors()?),
        }
    };
    let mut ways = vec![Way::Single, Way::Half];
    ways.extend(has_cudnn.then_some(Way::Cudnn));
    let frames = ways.iter().map(|way| new(*way));
    let mut frames = frames.collect::<Result<Vec<_>>>()?;
    let mut least = vec![Duration::MAX; ways.len()];
    for _ in 0..ROUNDS {
        for (least, frame) in least.iter_mut().zip(&mut frames) {
            *least = time(gpu, frame)?.min(*least);
        }
    }
    Ok(choose(least[0], least[1], least.get(2).copied()))
}

/// Of what the ways take: with features of 32 bits, of 16, and with cuDNN, if it is there.
fn choose(single: Duration, half: Duration, cudnn: Option<Duration>) -> Way {
    match cudnn {
        Some(cudnn) if cudnn < single && cudnn * 10 <= half * ALLOWED => Way::Cudnn,
        _ if half < single => Way::Half,
        _ => Way::Single,
    }
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
    fn the_fastest_way_is_taken_and_that_with_cudnn_if_it_is_no_slower() {
        let ms = Duration::from_millis;
        for (single, half, cudnn, want) in [
            (30, 20, None, Way::Half),
            (20, 30, None, Way::Single),
            (30, 20, Some(10), Way::Cudnn),
            (30, 20, Some(22), Way::Cudnn),
            (30, 20, Some(23), Way::Half),
            (20, 30, Some(25), Way::Single),
            (20, 30, Some(10), Way::Cudnn),
        ] {
            let found = choose(ms(single), ms(half), cudnn.map(ms));
            assert_eq!(found, want, "{single} {half} {cudnn:?}");
        }
    }

    #[test]
    fn what_is_no_number_is_as_far_off_as_can_be() {
        assert_eq!(largest(&[1.0, 20.0], &[1.0, 10.0]), 1.0);
        assert_eq!(largest(&[f32::NAN, 1.0], &[1.0, 1.0]), f32::INFINITY);
        assert_eq!(largest(&[f32::INFINITY], &[1.0]), f32::INFINITY);
    }
}
