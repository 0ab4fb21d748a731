//! Planes of phases at other sizes. Cells of one phase keep it to the bit.

use candle_core::Tensor;

use super::Context;
use super::raster::{Source, write};
use super::resample::neighbours;

/// Fills `out`, `[h, w, 1]`, with `plane`, `[ceil(h / 2), ceil(w / 2), 1]`, enlarged bilinearly with half-pixel centres;
/// beyond the edge the edge repeats.
///
/// # Errors
/// Sizes that do not fit.
pub fn finer(context: &Context, plane: &Tensor, out: &Tensor) -> candle_core::Result<()> {
    let plane = Source::lock(plane);
    let plane = plane.raster()?;
    write("finer phases", out, |mut out| {
        let size = (out.height.div_ceil(2), out.width.div_ceil(2));
        plane.expect("a plane of phases", size, 1)?;
        let step = out.pixel;
        out.for_each_row(context, |y, row| {
            let ys = neighbours(y, plane.height);
            for (x, value) in row.iter_mut().step_by(step).enumerate() {
                let xs = neighbours(x, plane.width);
                let row = |y| quarter_way(plane.at(y, xs.0)[0], plane.at(y, xs.1)[0]);
                *value = quarter_way(row(ys.0), row(ys.1));
            }
        });
        Ok(())
    })
}

/// Of equal numbers the number, whatever it is.
fn quarter_way(near: f32, far: f32) -> f32 {
    near + 0.25 * (far - near)
}

/// Fills `out`, `[ceil(h / 2), ceil(w / 2), 1]`, with means of 2x2 cells of `plane`, `[h, w, 1]`; an odd side repeats its edge.
///
/// # Errors
/// Sizes that do not fit.
pub fn coarser(context: &Context, plane: &Tensor, out: &Tensor) -> candle_core::Result<()> {
    let plane = Source::lock(plane);
    let plane = plane.raster()?;
    write("coarser phases", out, |mut out| {
        let size = (plane.height.div_ceil(2), plane.width.div_ceil(2));
        plane.expect("a plane of phases", plane.size(), 1)?;
        out.expect("a plane of coarser phases", size, 1)?;
        let step = out.pixel;
        out.for_each_row(context, |y, row| {
            let ys = [2 * y, (2 * y + 1).min(plane.height - 1)];
            for (x, value) in row.iter_mut().step_by(step).enumerate() {
                let xs = [2 * x, (2 * x + 1).min(plane.width - 1)];
                // two at a time: a sum of three would be rounded
                let [above, below] = ys.map(|y| plane.at(y, xs[0])[0] + plane.at(y, xs[1])[0]);
                *value = 0.25 * (above + below);
            }
        });
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::kernels::resample;

    fn zeros(h: usize, w: usize) -> Tensor {
        Tensor::zeros((h, w, 1), DType::F32, &Device::Cpu).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn one_phase_stays_that_phase_to_the_bit() {
        let context = Context::new(1).unwrap();
        for phase in [1.0f32 / 3.0, 0.1, 0.7, 1e-3, 0.999_999_9] {
            let plane = |h, w| Tensor::full(phase, (h, w, 1), &Device::Cpu).unwrap();
            let (fine, coarse) = (zeros(9, 14), zeros(5, 7));
            finer(&context, &plane(5, 7), &fine).unwrap();
            coarser(&context, &plane(9, 14), &coarse).unwrap();
            for found in [fine, coarse] {
                assert!(
                    values(&found)
                        .iter()
                        .all(|v| v.to_bits() == phase.to_bits())
                );
            }
        }
    }

    #[test]
    fn other_planes_are_resampled_as_pictures_are() {
        let context = Context::new(2).unwrap();
        for (h, w) in [(1, 1), (2, 3), (9, 14), (12, 7)] {
            let size = (usize::div_ceil(h, 2), usize::div_ceil(w, 2));
            let random = |(h, w)| Tensor::rand(0f32, 1.0, (h, w, 1), &Device::Cpu).unwrap();
            let (small, large) = (random(size), random((h, w)));
            let [fine, enlarged] = [(); 2].map(|()| zeros(h, w));
            let [coarse, halved] = [(); 2].map(|()| zeros(size.0, size.1));
            finer(&context, &small, &fine).unwrap();
            resample::double(&context, &small, &enlarged).unwrap();
            coarser(&context, &large, &coarse).unwrap();
            resample::half(&context, &large, &halved).unwrap();
            for (found, wanted) in [(fine, enlarged), (coarse, halved)] {
                let pairs = values(&found).into_iter().zip(values(&wanted));
                assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-6), "{h}x{w}");
            }
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let context = Context::new(1).unwrap();
        assert!(finer(&context, &zeros(4, 4), &zeros(9, 8)).is_err());
        assert!(coarser(&context, &zeros(9, 8), &zeros(4, 4)).is_err());
    }
}
