//! The launches of `cuda.cu`.

#[cfg(feature = "cuda")]
use candle_core::Tensor;
use candle_core::bail;

#[cfg(feature = "cuda")]
use super::{Answer, PhaseMap};
use super::{MOST, Masks, check_conclusion, check_input};
#[cfg(feature = "cuda")]
use crate::kernels::cuda::Card;
use crate::kernels::cuda::{
    Argument, DevicePhase, DeviceRaster, Features, Launch, RawPhase, RawRaster,
};
#[cfg(feature = "cuda")]
use crate::kernels::device::{Gpu, Queue};
use crate::kernels::raster::Geometry;

/// The folder of the kernels.
const MODULE: &str = "answers";

/// All answers so far, each with the pixels of its cells.
#[derive(Debug, Clone, Copy)]
pub struct DeviceAnswers<'a> {
    pub values: &'a [(DeviceRaster, f32)],
    pub masks: Masks,
}

/// [`DeviceAnswers`] as a kernel gets it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct RawAnswers {
    values: [RawRaster; MOST],
    scales: [f32; MOST],
    inverses: [f32; MOST],
    count: i32,
    replaced: i32,
}

// SAFETY: plain numbers without bytes between them.
unsafe impl Argument for RawAnswers {
    fn bytes(&self) -> u64 {
        self.values.iter().map(RawRaster::bytes).sum()
    }
}

impl DeviceAnswers<'_> {
    fn geometries(&self) -> impl Iterator<Item = (Geometry, f32)> {
        self.values.iter().map(|(values, scale)| (**values, *scale))
    }

    fn raw(&self) -> candle_core::Result<RawAnswers> {
        if self.values.len() > MOST {
            bail!("{} answers, at most {MOST}", self.values.len());
        }
        let mut raw = RawAnswers {
            values: Default::default(),
            scales: [0.0; MOST],
            inverses: [0.0; MOST],
            count: self.values.len() as i32,
            replaced: i32::from(self.masks == Masks::Replaced),
        };
        for (i, (values, scale)) in self.values.iter().enumerate() {
            (raw.values[i], raw.scales[i]) = (values.into(), *scale);
            raw.inverses[i] = 1.0 / scale;
        }
        Ok(raw)
    }
}

/// As [`super::assemble`]; sides and output are of the same size of number.
///
/// # Errors
/// Sizes that do not fit.
pub fn assemble(
    [left, right]: [Features; 2],
    answers: &DeviceAnswers,
    phase: &DevicePhase,
    scale: f32,
    out: Features,
) -> candle_core::Result<Launch> {
    check_input([&left, &right], answers.geometries(), scale, &out)?;
    let phase = raw_phase(phase)?;
    let functions = match scale == 1.0 {
        true => ["assemble_whole", "assemble_whole_half"],
        false => ["assemble", "assemble_half"],
    };
    let function = out.function(&[left, right], functions)?;
    Ok(Launch::new(MODULE, function)
        .pixels(out.size())
        .with(left.raw())
        .with(right.raw())
        .with(answers.raw()?)
        .with(phase)
        .with(scale)
        .with(1.0 / scale)
        .with(out.raw()))
}

/// As [`super::conclude`].
///
/// # Errors
/// Sizes that do not fit.
pub fn conclude(answers: &DeviceAnswers, out: &DeviceRaster) -> candle_core::Result<Launch> {
    check_conclusion(answers.geometries(), out)?;
    Ok(Launch::new(MODULE, "conclude")
        .pixels(out.size())
        .with(answers.raw()?)
        .raster(out))
}

/// As [`super::phases`].
///
/// # Errors
/// Sizes that do not fit.
pub fn phases(phase: &DevicePhase, cell: usize, out: &DeviceRaster) -> candle_core::Result<Launch> {
    out.expect("phases", out.size(), 1)?;
    let launch = Launch::new(MODULE, "answers_phases").pixels(out.size());
    Ok(launch.with(raw_phase(phase)?).with(cell as f32).raster(out))
}

fn raw_phase(phase: &DevicePhase) -> candle_core::Result<RawPhase> {
    match phase {
        DevicePhase::Plane(plane) => phase.raw(plane.size()),
        DevicePhase::Uniform(_) => phase.raw((0, 0)),
    }
}

/// [`super::assemble`] of tensors on a card.
#[cfg(feature = "cuda")]
pub fn assemble_on(
    gpu: &Gpu,
    sides: [&Tensor; 2],
    (answers, masks): (&[Answer], Masks),
    phase: &PhaseMap,
    scale: f32,
    out: &Tensor,
) -> candle_core::Result<()> {
    let card = Queue::new(gpu);
    let [left, right] = sides.map(|side| card.features(side));
    let values = rasters(gpu, answers)?;
    let answers = DeviceAnswers {
        values: &values,
        masks,
    };
    let (phase, _plane) = phase_on(gpu, phase)?;
    let launch = assemble(
        [left?, right?],
        &answers,
        &phase,
        scale,
        card.features(out)?,
    )?;
    // SAFETY: these are the arguments of the kernel, made of tensors on this card.
    unsafe { gpu.run(launch) }
}

/// [`super::conclude`] of tensors on a card.
#[cfg(feature = "cuda")]
pub fn conclude_on(
    gpu: &Gpu,
    (answers, masks): (&[Answer], Masks),
    out: &Tensor,
) -> candle_core::Result<()> {
    let values = rasters(gpu, answers)?;
    let answers = DeviceAnswers {
        values: &values,
        masks,
    };
    let launch = conclude(&answers, &gpu.raster(out)?)?;
    // SAFETY: these are the arguments of the kernel, made of tensors on this card.
    unsafe { gpu.run(launch) }
}

/// [`super::phases`] of tensors on a card.
#[cfg(feature = "cuda")]
pub fn phases_on(
    gpu: &Gpu,
    phase: &PhaseMap,
    cell: usize,
    out: &Tensor,
) -> candle_core::Result<()> {
    let (phase, _plane) = phase_on(gpu, phase)?;
    let launch = phases(&phase, cell, &gpu.raster(out)?)?;
    // SAFETY: these are the arguments of the kernel, made of tensors on this card.
    unsafe { gpu.run(launch) }
}

/// The same phases on a card, and the memory that they lie in: it must live until what reads it is queued.
#[cfg(feature = "cuda")]
fn phase_on(gpu: &Gpu, phase: &PhaseMap) -> candle_core::Result<(DevicePhase, Option<Tensor>)> {
    Ok(match phase {
        PhaseMap::Uniform(phase) => (DevicePhase::Uniform(*phase), None),
        PhaseMap::Plane(plane) => {
            let plane = plane.to_device(&gpu.device())?.unsqueeze(2)?;
            (DevicePhase::Plane(gpu.raster(&plane)?), Some(plane))
        }
    })
}

#[cfg(feature = "cuda")]
fn rasters(gpu: &Gpu, answers: &[Answer]) -> candle_core::Result<Vec<(DeviceRaster, f32)>> {
    let raster = |answer: &Answer| Ok((gpu.raster(answer.values)?, answer.scale));
    answers.iter().map(raster).collect()
}
