//! The launches of `cuda.cu`.

use crate::kernels::cuda::{DevicePhase, DeviceRaster, Launch, RawPhase};

/// What [`judge`] fills.
pub struct Judgement<'a> {
    /// As [`super::estimate`] does, `[h, w, 1]`.
    pub confidence: &'a DeviceRaster,
    /// As [`super::toward_nearer`] does, as large as the mask.
    pub mask: &'a DeviceRaster,
}

/// As [`super::estimate`] and [`super::toward_nearer`], for a mask that is some whole number of times as large as the confidence.
///
/// # Errors
/// Sizes that do not fit.
pub fn judge(
    difference: &DeviceRaster,
    change: &DeviceRaster,
    mask: &DeviceRaster,
    phase: &DevicePhase,
    out: &Judgement,
) -> candle_core::Result<Launch> {
    let (h, w) = difference.size();
    let finer = (mask.height / h).max(1);
    let (size, fine) = ((h, w), (finer * h, finer * w));
    for (what, raster, size) in [
        ("the difference", difference, size),
        ("the change", change, size),
        ("the mask", mask, fine),
        ("confidence", out.confidence, size),
        ("the mask to use", out.mask, fine),
    ] {
        raster.expect(what, size, 1)?;
    }
    let launch = Launch::new("confidence", "confidence_judge")
        .pixels(fine)
        .with(finer as i32)
        .raster(difference)
        .raster(change)
        .raster(mask);
    let launch = launch.with(phases(phase)?);
    Ok(launch.raster(out.confidence).raster(out.mask))
}

/// As [`super::disagree`].
///
/// # Errors
/// Sizes that do not fit.
pub fn disagree(
    flow: &DeviceRaster,
    luma: [&DeviceRaster; 2],
    brightness: f32,
    phase: &DevicePhase,
    out: &DeviceRaster,
) -> candle_core::Result<Launch> {
    let size = out.size();
    flow.expect("flow", size, 4)?;
    for luma in luma {
        luma.expect("luma", size, 1)?;
    }
    out.expect("disagreement", size, 1)?;
    let launch = Launch::new("confidence", "confidence_disagree").pixels(size);
    let launch = launch.raster(flow).raster(luma[0]).raster(luma[1]);
    Ok(launch.with(brightness).with(phases(phase)?).raster(out))
}

/// As [`super::weight_of_time`].
///
/// # Errors
/// Sizes that do not fit.
pub fn weight_of_time(phase: &DevicePhase, out: &DeviceRaster) -> candle_core::Result<Launch> {
    out.expect("the weight of time", out.size(), 1)?;
    let launch = Launch::new("confidence", "confidence_weight_of_time").pixels(out.size());
    Ok(launch.with(phases(phase)?).raster(out))
}

/// A plane of phases has any size: beyond it its edge is repeated.
fn phases(phase: &DevicePhase) -> candle_core::Result<RawPhase> {
    phase.raw(match phase {
        DevicePhase::Uniform(_) => (1, 1),
        DevicePhase::Plane(plane) => plane.size(),
    })
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::super::{self as door, Evidence};
    use super::*;
    use crate::kernels::PhaseMap;
    use crate::kernels::cuda::emulation::{input, output, run};
    use crate::kernels::testing::{Out, Random, SIZES, contexts};

    /// What is no number is the same as any that is none.
    fn same(what: &str, got: &Out, want: &Out) {
        for (i, (got, want)) in got.values().iter().zip(want.values()).enumerate() {
            let none = got.is_nan() && want.is_nan();
            assert!(
                *got == want || none,
                "{what}: value {i} is {got}, not {want}"
            );
        }
    }

    /// Uniform ones and a plane, for the CPU and as if on the device.
    fn phases(random: &mut Random, (h, w): (usize, usize)) -> Vec<(PhaseMap, DevicePhase, Tensor)> {
        let shape = (h.div_ceil(2), w.div_ceil(2));
        let plane = random.dense(&[shape.0, shape.1], 0.49);
        let plane = (plane + 0.5).unwrap();
        let raised = plane.unsqueeze(2).unwrap();
        let mut all = vec![(
            PhaseMap::Plane(plane),
            DevicePhase::Plane(input(&raised)),
            raised,
        )];
        for t in [0.3, 0.5, 0.7] {
            let none = Tensor::zeros((1, 1, 1), DType::F32, &Device::Cpu).unwrap();
            all.push((PhaseMap::Uniform(t), DevicePhase::Uniform(t), none));
        }
        all
    }

    #[test]
    fn judgements_are_the_same() {
        let mut random = Random(5);
        let (plain, _) = contexts();
        for (size, finer) in SIZES.into_iter().flat_map(|s| [1, 3, 4].map(|f| (s, f))) {
            let fine = (finer * size.0, finer * size.1);
            for scale in [0.05, 1.0, f32::NAN, f32::INFINITY] {
                let [difference, change] = [0; 2].map(|_| random.tensor(size, 1, scale));
                let mask = (random.tensor(fine, 1, 0.5) + 0.5).unwrap();
                for (phase, on_device, _) in phases(&mut random, size) {
                    let [want, got] = [0, 1].map(|_| (Out::new(size, 1), Out::new(fine, 1)));
                    let confidence = want.0.tensor();
                    door::estimate(&plain, &difference, &change, &confidence).unwrap();
                    door::toward_nearer(&plain, &mask, &confidence, &phase, &want.1.tensor())
                        .unwrap();
                    let out = Judgement {
                        confidence: &output(&got.0.tensor()),
                        mask: &output(&got.1.tensor()),
                    };
                    let (difference, change) = (input(&difference), input(&change));
                    run([judge(&difference, &change, &input(&mask), &on_device, &out).unwrap()]);
                    same("confidence", &got.0, &want.0);
                    same("mask", &got.1, &want.1);
                }
            }
        }
    }

    #[test]
    fn disagreements_are_the_same() {
        let mut random = Random(6);
        let (plain, _) = contexts();
        for size in SIZES {
            for reach in [0.0, 9.0, 1e6, f32::NAN, f32::INFINITY] {
                let flow = random.tensor(size, 4, reach);
                let luma = [0; 2].map(|_| random.tensor(size, 1, 0.5));
                for (phase, on_device, _) in phases(&mut random, size) {
                    let [want, got] = [0, 1].map(|_| Out::new(size, 1));
                    let evidence = Evidence {
                        flow: &flow,
                        luma: luma.each_ref(),
                        brightness: 0.1,
                    };
                    door::disagree(&plain, &evidence, &phase, &want.tensor()).unwrap();
                    let [left, right] = luma.each_ref().map(input);
                    let (flow, out) = (input(&flow), output(&got.tensor()));
                    run([disagree(&flow, [&left, &right], 0.1, &on_device, &out).unwrap()]);
                    same(&format!("{size:?} {reach}"), &got, &want);
                    door::weight_of_time(&plain, &phase, &want.tensor()).unwrap();
                    run([weight_of_time(&on_device, &out).unwrap()]);
                    same("weight of time", &got, &want);
                }
            }
        }
    }
}
