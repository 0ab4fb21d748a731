//! The launch of `cuda.cu`.

use super::{CHANGE, CUES, STATE};
use crate::kernels::cuda::{Argument, DevicePhase, DeviceRaster, Launch, Span};
use crate::trajectory::Field;

// SAFETY: plain numbers without bytes between them.
unsafe impl Argument for Field {
    fn reach(&self, _: &mut Vec<Span>) {}
}

/// [`super::Cells`] on a card.
#[derive(Debug, Clone, Copy)]
pub struct DeviceCells {
    pub flow: DeviceRaster,
    pub phase: DeviceRaster,
    pub cues: DeviceRaster,
    pub change: DeviceRaster,
    pub future: DeviceRaster,
}

/// As [`super::bend`].
///
/// # Errors
/// Sizes that do not fit.
pub fn bend(
    field: &Field,
    cells: &DeviceCells,
    bend: &DeviceRaster,
) -> candle_core::Result<Launch> {
    each("bend", field, cells, bend)
}

/// As [`super::lean`].
///
/// # Errors
/// Sizes that do not fit.
pub fn lean(
    field: &Field,
    cells: &DeviceCells,
    lean: &DeviceRaster,
) -> candle_core::Result<Launch> {
    each("bend_lean", field, cells, lean)
}

fn each(
    kernel: &'static str,
    field: &Field,
    cells: &DeviceCells,
    out: &DeviceRaster,
) -> candle_core::Result<Launch> {
    let size = cells.flow.size();
    cells.flow.expect("the flow", size, 4)?;
    cells.phase.expect("the phase", size, 1)?;
    cells.cues.expect("the cues", size, CUES)?;
    cells.change.expect("the change", size, CHANGE + 1)?;
    cells.future.expect("the future", size, 3)?;
    out.expect(kernel, size, 2)?;
    let launch = Launch::new("bend", kernel).pixels(size);
    let launch = launch.reads(&cells.flow).reads(&cells.phase);
    let launch = launch.reads(&cells.cues).reads(&cells.change);
    Ok(launch.reads(&cells.future).with(*field).raster(out))
}

/// As [`super::put_lean`].
///
/// # Errors
/// Sizes that do not fit.
pub fn put_lean(
    lean: &DeviceRaster,
    phase: &DevicePhase,
    state: &DeviceRaster,
) -> candle_core::Result<Launch> {
    let size = state.size();
    state.expect("the state", size, STATE)?;
    lean.expect("the lean", (size.0.div_ceil(2), size.1.div_ceil(2)), 2)?;
    let launch = Launch::new("bend", "bend_put_lean").pixels(size);
    Ok(launch.reads(lean).with(phase.raw(size)?).raster(state))
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::super::{self as door, Cells};
    use super::*;
    use crate::kernels::PhaseMap;
    use crate::kernels::cuda::emulation::{input, output, run};
    use crate::kernels::hypotheses::ACCELERATION;
    use crate::kernels::testing::{Out, Random, SIZES, close, contexts};

    /// The last places of `exp` on a card; here it is the CPU's own.
    const LAST_PLACES: f32 = 1e-6;

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Values of `[h, w, c]` each of which `change` may replace; it is given its channel.
    fn changed(tensor: &Tensor, mut change: impl FnMut(usize, f32) -> f32) -> Tensor {
        let (h, w, c) = tensor.dims3().unwrap();
        let values = values(tensor);
        let values = values.into_iter().enumerate();
        let values: Vec<_> = values.map(|(i, v)| change(i % c, v)).collect();
        Tensor::from_vec(values, (h, w, c), &Device::Cpu).unwrap()
    }

    fn random_field(random: &mut Random, scale: f32) -> Field {
        let mut next = || random.value() * scale;
        let weights: Vec<f32> = (0..512).map(|_| next()).collect();
        Field::of(
            |hidden, input| weights[hidden * 16 + input],
            |hidden| weights[300 + hidden],
            |output, hidden| weights[400 + output * 16 + hidden],
            |output| weights[500 + output],
        )
    }

    /// Compares the bends; says how many of them are not 0.
    fn check(
        what: &str,
        field: &Field,
        random: &mut Random,
        size: (usize, usize),
        scale: f32,
    ) -> usize {
        let known = |c: usize, last: usize, v: f32| {
            if c == last {
                f32::from(v > -0.3 * scale)
            } else {
                v
            }
        };
        let cues = random.dense(&[size.0, size.1, CUES], scale);
        let future = random.dense(&[size.0, size.1, 3], scale);
        let phase = random.dense(&[size.0, size.1, 1], 1.0);
        let cells = Cells {
            flow: &random.tensor(size, 4, scale),
            phase: &changed(&phase, |_, v| 0.5 + 0.49 * v),
            cues: &changed(&cues, |c, v| known(c, ACCELERATION + 2, v)),
            change: &random.tensor(size, CHANGE + 1, 2.0),
            future: &changed(&future, |c, v| known(c, 2, v)),
        };
        let on_card = DeviceCells {
            flow: input(cells.flow),
            phase: input(cells.phase),
            cues: input(cells.cues),
            change: input(cells.change),
            future: input(cells.future),
        };
        let [want, got] = [0, 1].map(|_| [0, 1].map(|_| Out::new(size, 2)));
        let (plain, _) = contexts();
        door::bend(&plain, field, &cells, &want[0].tensor()).unwrap();
        door::lean(&plain, field, &cells, &want[1].tensor()).unwrap();
        run([
            bend(field, &on_card, &output(&got[0].tensor())).unwrap(),
            lean(field, &on_card, &output(&got[1].tensor())).unwrap(),
        ]);
        let mut bent = 0;
        for (got, want) in got.iter().zip(&want) {
            let (got, want) = (got.values(), want.values());
            close(what, &got, &want, LAST_PLACES);
            bent += want.iter().filter(|v| **v != 0.0).count();
        }
        bent
    }

    #[test]
    fn bends_agree_whatever_the_field() {
        let mut random = Random(8);
        let fields = [
            ("cubic", Field::cubic()),
            ("trained", *Field::embedded().unwrap()),
            ("any", random_field(&mut random, 1.0)),
            // steps have to be halved, and some equations are stiff
            ("wild", random_field(&mut random, 10.0)),
        ];
        for (name, field) in fields {
            let mut bent = 0;
            for (scale, size) in [0.02, 0.5, 20.0]
                .map(|scale| [(1, 1), (6, 13), (17, 31)].map(|size| (scale, size)))
                .concat()
            {
                let what = format!("{name} {size:?}");
                bent += check(&what, &field, &mut random, size, scale);
            }
            assert!(bent > 0, "{name}: all is even");
        }
    }

    #[test]
    fn leans_are_put_alike() {
        let mut random = Random(10);
        let (plain, _) = contexts();
        for (h, w) in SIZES {
            let plane = Tensor::rand(0.0f32, 1.0, (h, w, 1), &Device::Cpu).unwrap();
            let planes = (
                PhaseMap::Plane(plane.clone()),
                DevicePhase::Plane(input(&plane)),
            );
            let even = |t| (PhaseMap::Uniform(t), DevicePhase::Uniform(t));
            for (phase, on_card) in [even(0.25), even(0.9), planes] {
                for reach in [0.5, 30.0, 1e6, f32::NAN] {
                    let lean = random.tensor((h.div_ceil(2), w.div_ceil(2)), 2, 0.2);
                    let want = random.tensor((h, w), STATE, reach);
                    let got = want.copy().unwrap();
                    door::put_lean(&plain, &lean, &phase, &want).unwrap();
                    run([put_lean(&input(&lean), &on_card, &output(&got)).unwrap()]);
                    let [got, want] = [got, want].map(|t| values(&t));
                    let bits = |v: &[f32]| -> Vec<_> { v.iter().map(|v| v.to_bits()).collect() };
                    if reach.is_nan() {
                        assert!(got.iter().zip(&want).all(|(a, b)| a.is_nan() == b.is_nan()));
                    } else {
                        assert_eq!(bits(&got), bits(&want), "{h}x{w} {reach}");
                    }
                }
            }
        }
    }

    #[test]
    fn values_that_are_no_numbers_end_nothing() {
        let mut random = Random(9);
        let field = random_field(&mut random, f32::MAX);
        check("endless", &field, &mut random, (5, 7), 1e30);
    }
}
