//! The launch of `cuda.cu`.

use super::CHANNELS;
use crate::kernels::cuda::{DeviceRaster, Launch};
use crate::kernels::luma::cuda::{Quads, expect_cells};

/// What [`agree`] fills.
pub struct Answer<'a> {
    /// As [`super::agree`] does.
    pub out: &'a DeviceRaster,
    /// As [`super::difference`] does, if it is wanted.
    pub difference: Option<&'a DeviceRaster>,
}

/// As [`super::agree`], and [`super::difference`] of it.
///
/// # Errors
/// Sizes that do not fit.
pub fn agree(
    luma: [&Quads; 2],
    flow: &DeviceRaster,
    phase: &DeviceRaster,
    sharpness: f32,
    answer: &Answer,
) -> candle_core::Result<Launch> {
    let size = phase.size();
    luma.iter().try_for_each(|luma| expect_cells(luma, size))?;
    flow.expect("the flow of luma", size, 4)?;
    phase.expect("the phase", size, 1)?;
    answer.out.expect("the agreement", size, CHANNELS)?;
    if let Some(difference) = answer.difference {
        difference.expect("the difference", size, 1)?;
    }
    let launch = Launch::new("agreement", "agree").tiles(size, [16, 8], [512, 1]);
    let launch = launch.reads(luma[0]).reads(luma[1]);
    let launch = launch.reads(flow).reads(phase).with(sharpness);
    Ok(launch.raster(answer.out).optional(answer.difference))
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::super::{self as door, SAMPLES, Warped};
    use super::*;
    use crate::kernels::cuda::emulation::{input, output, run};
    use crate::kernels::luma::cuda::in_quads;
    use crate::kernels::testing::{Out, Random, SIZES, bytes, close, contexts};

    /// Sums of 36 x 16 differences below 1 over a mean that may be small; a softmax of up to 15 times
    /// their rounding.
    const TOLERANCE: f32 = 5e-5;

    fn luma(random: &mut Random, (h, w): (usize, usize), less: usize) -> Tensor {
        bytes(&random.dense(&[SAMPLES * h - less, SAMPLES * w - less, 1], 0.5))
    }

    fn check(name: &str, luma: [&Tensor; 2], flow: &Tensor, phase: &Tensor) {
        let (h, w, _) = flow.dims3().unwrap();
        let (plain, _) = contexts();
        let [want, got] = [0, 1].map(|_| (Out::new((h, w), CHANNELS), Out::new((h, w), 1)));
        let space = Warped::new((h, w)).unwrap();
        let to = want.0.tensor();
        door::agree(&plain, luma, flow, phase, 15.0, &space, &to).unwrap();
        door::difference(&plain, &to, &want.1.tensor()).unwrap();
        let [(_left, left), (_right, right)] = luma.map(in_quads);
        let answer = Answer {
            out: &output(&got.0.tensor()),
            difference: Some(&output(&got.1.tensor())),
        };
        run([agree([&left, &right], &input(flow), &input(phase), 15.0, &answer).unwrap()]);
        close(name, &got.0.values(), &want.0.values(), TOLERANCE);
        close(name, &got.1.values(), &want.1.values(), TOLERANCE);
    }

    #[test]
    fn agreements_are_the_same_near_and_far_outside() {
        let mut random = Random(1);
        let reaches = [(0.4, 0), (3.0, 1), (1e6, 3)];
        let of_size = |size| reaches.map(|(reach, less)| (size, reach, less));
        let sizes = [&SIZES[..], &[(2, 66)]].concat();
        // at last more than a band of the flow's bases, and than a tile of them
        let large = [((9, 517), 100.0, 0), ((18, 3), 100.0, 2)];
        for (size, reach, less) in sizes.into_iter().flat_map(of_size).chain(large) {
            let sides = [0; 2].map(|_| luma(&mut random, size, less));
            let flow = random.tensor(size, 4, reach);
            let phases = (0..size.0 * size.1).map(|i| [0.1f32, 0.5, 0.2, 0.9][i % 4]);
            let phases = phases.collect::<Vec<_>>();
            let phase = Tensor::from_vec(phases, (size.0, size.1, 1), &Device::Cpu).unwrap();
            let name = format!("agreement of {size:?}, reach {reach}");
            check(&name, sides.each_ref(), &flow, &phase);
        }
    }

    #[test]
    fn flow_that_is_no_number_reads_inside() {
        let mut random = Random(3);
        let sides = [0; 2].map(|_| luma(&mut random, (4, 5), 2));
        let phase = Tensor::full(0.5f32, (4, 5, 1), &Device::Cpu).unwrap();
        for wild in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            let flow = Tensor::full(wild, (4, 5, 4), &Device::Cpu).unwrap();
            check("wild flow", sides.each_ref(), &flow, &phase);
        }
    }
}
