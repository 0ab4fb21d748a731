//! The launches of `cuda.cu`.

use super::STATE;
use crate::kernels::cuda::{DevicePhase, DeviceRaster, Launch};

/// As [`super::keep`].
///
/// # Errors
/// Sizes that do not fit.
pub fn keep(difference: &DeviceRaster, state: &DeviceRaster) -> candle_core::Result<Launch> {
    let size = state.size();
    state.expect("the state", size, STATE)?;
    difference.expect("the difference", size, 1)?;
    let launch = Launch::new("carry", "carry_keep").pixels(size);
    Ok(launch.reads(difference).raster(state))
}

/// As [`super::carry`], and [`super::difference`] of what it makes.
///
/// # Errors
/// Sizes that do not fit.
pub fn carry(
    middle: &DeviceRaster,
    phase: &DevicePhase,
    state: &DeviceRaster,
    difference: &DeviceRaster,
) -> candle_core::Result<Launch> {
    let size = state.size();
    middle.expect("the middle", size, STATE)?;
    state.expect("the state", size, STATE)?;
    difference.expect("the difference", size, 1)?;
    let launch = Launch::new("carry", "carry").pixels(size);
    let launch = launch.reads(middle).with(phase.raw(size)?);
    Ok(launch.raster(state).raster(difference))
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::super as door;
    use super::*;
    use crate::kernels::PhaseMap;
    use crate::kernels::cuda::emulation::{input, output, run};
    use crate::kernels::testing::{Random, SIZES, contexts, zeros};

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn carried_states_are_the_same() {
        let mut random = Random(1);
        let (plain, _) = contexts();
        for (h, w) in SIZES {
            let plane = Tensor::rand(0.01f32, 0.99, (h, w, 1), &Device::Cpu).unwrap();
            let planes = (
                PhaseMap::Plane(plane.clone()),
                DevicePhase::Plane(input(&plane)),
            );
            let even = |t| (PhaseMap::Uniform(t), DevicePhase::Uniform(t));
            for (reach, (phase, on_card)) in [
                (0.4, even(0.25)),
                (3.0, even(0.8)),
                (1e6, even(0.1)),
                (3.0, planes),
            ] {
                let middle = random.tensor((h, w), STATE, reach);
                let of_middle = random.tensor((h, w), 1, 1.0);
                let copy = middle.copy().unwrap();
                door::keep(&plain, &of_middle, &middle).unwrap();
                let [want, got] = [0; 2].map(|_| (zeros(&[h, w, STATE]), zeros(&[h, w, 1])));
                door::carry(&plain, &middle, &phase, &want.0).unwrap();
                door::difference(&plain, &want.0, &want.1).unwrap();
                run([keep(&input(&of_middle), &output(&copy)).unwrap()]);
                let (state, difference) = (output(&got.0), output(&got.1));
                run([carry(&input(&copy), &on_card, &state, &difference).unwrap()]);
                assert_eq!(values(&got.0), values(&want.0), "{h}x{w} {reach}");
                assert_eq!(values(&got.1), values(&want.1), "{h}x{w} {reach}");
            }
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let (state, small, plane) = (zeros(&[3, 4, 8]), zeros(&[3, 3, 8]), zeros(&[3, 4, 1]));
        let of = |middle: &Tensor, difference: &Tensor| {
            let phase = DevicePhase::Uniform(0.5);
            carry(&input(middle), &phase, &output(&state), &output(difference)).is_ok()
        };
        assert!(of(&state, &plane));
        assert!(!of(&small, &plane));
        assert!(!of(&state, &small));
        assert!(keep(&input(&state), &output(&state)).is_err());
    }
}
