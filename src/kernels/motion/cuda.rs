//! The launches of `cuda.cu`.

use candle_core::bail;

use super::{CHANGE, MASK, STATE};
use crate::kernels::cuda::{DevicePhase, DeviceRaster, Launch, RawRaster};

/// As [`super::begin`].
///
/// # Errors
/// Sizes that do not fit.
pub fn begin(phase: &DevicePhase, state: &DeviceRaster) -> candle_core::Result<Launch> {
    let size = state.size();
    state.expect("the state", size, STATE)?;
    let launch = Launch::new("motion", "motion_begin").pixels(size);
    Ok(launch.with(phase.raw(size)?).raster(state))
}

/// As [`super::advance`].
///
/// # Errors
/// Sizes that do not fit.
pub fn advance(
    coarser: &DeviceRaster,
    detail: Option<&DeviceRaster>,
    phase: &DevicePhase,
    state: &DeviceRaster,
) -> candle_core::Result<Launch> {
    let size = state.size();
    state.expect("the state", size, STATE)?;
    let half = (size.0.div_ceil(2), size.1.div_ceil(2));
    coarser.expect("the coarser state", half, STATE)?;
    if let Some(detail) = detail {
        detail.expect("the detail", size, detail.channels.max(MASK - 1))?;
    }
    let launch = Launch::new("motion", "motion_advance").pixels(size);
    let launch = launch.reads(coarser).reading(RawRaster::from(detail));
    Ok(launch.with(phase.raw(size)?).raster(state))
}

/// As [`super::update`].
///
/// # Errors
/// Sizes that do not fit.
pub fn update(
    change: &DeviceRaster,
    luma: &DeviceRaster,
    acceleration: Option<&DeviceRaster>,
    state: &DeviceRaster,
) -> candle_core::Result<Launch> {
    let size = state.size();
    state.expect("the state", size, STATE)?;
    let channels = CHANGE + usize::from(acceleration.is_some());
    change.expect("the change", size, change.channels)?;
    if change.channels < channels {
        let found = change.channels;
        bail!("a change of {found} channels, expected {channels}");
    }
    luma.expect("the displacement of luma", size, luma.channels.max(2))?;
    if let Some(acceleration) = acceleration {
        acceleration.expect("the acceleration", size, 2)?;
    }
    let launch = Launch::new("motion", "motion_update").pixels(size);
    let launch = launch.reads(change).reads(luma);
    let launch = launch.reading(RawRaster::from(acceleration));
    Ok(launch.raster(state))
}

/// As [`super::put_ahead`].
///
/// # Errors
/// Sizes that do not fit.
pub fn put_ahead(ahead: &DeviceRaster, state: &DeviceRaster) -> candle_core::Result<Launch> {
    let size = state.size();
    state.expect("the state", size, STATE)?;
    ahead.expect("the bend", size, 2)?;
    let launch = Launch::new("motion", "motion_put_ahead").pixels(size);
    Ok(launch.reads(ahead).raster(state))
}

/// As [`super::flow`] and [`super::weight_of_left`].
///
/// # Errors
/// Sizes that do not fit.
pub fn conclude(
    state: &DeviceRaster,
    scale: f32,
    flow: &DeviceRaster,
    weight: &DeviceRaster,
) -> candle_core::Result<Launch> {
    let size = state.size();
    state.expect("the state", size, STATE)?;
    flow.expect("the flow", size, 4)?;
    weight.expect("the mask", size, 1)?;
    let launch = Launch::new("motion", "motion_conclude").pixels(size);
    Ok(launch.reads(state).with(scale).raster(flow).raster(weight))
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;

    use super::super as door;
    use super::super::tests::{random_state, values};
    use super::*;
    use crate::kernels::PhaseMap;
    use crate::kernels::cuda::emulation::{input, output, run};
    use crate::kernels::testing::{Out, Random, SIZES, close, contexts, zeros};

    /// The last places of `exp` on a card; here it is the CPU's own.
    const TOLERANCE: f32 = 1e-6;

    #[test]
    fn levels_begin_and_advance_alike() {
        let mut random = Random(1);
        let (plain, _) = contexts();
        for size in SIZES {
            let coarser = random.tensor((size.0.div_ceil(2), size.1.div_ceil(2)), STATE, 100.0);
            let detail = random.tensor(size, 16, 1.0);
            let plane = random.dense(&[size.0, size.1, 1], 1.0);
            let phases = [
                (PhaseMap::Uniform(0.3), DevicePhase::Uniform(0.3)),
                (
                    PhaseMap::Plane(plane.clone()),
                    DevicePhase::Plane(input(&plane)),
                ),
            ];
            for (phase, on_device) in phases {
                let [want, got] = [0, 1].map(|_| Out::new(size, STATE));
                door::begin(&plain, &phase, &want.tensor()).unwrap();
                run([begin(&on_device, &output(&got.tensor())).unwrap()]);
                assert_eq!(got.values(), want.values(), "{size:?}");
                for detail in [None, Some(&detail)] {
                    let [want, got] = [0, 1].map(|_| Out::new(size, STATE));
                    door::advance(&plain, &coarser, detail, &phase, &want.tensor()).unwrap();
                    let detail = detail.map(input);
                    let (from, to) = (input(&coarser), output(&got.tensor()));
                    run([advance(&from, detail.as_ref(), &on_device, &to).unwrap()]);
                    assert_eq!(got.values(), want.values(), "{size:?}");
                }
            }
        }
    }

    #[test]
    fn updates_and_conclusions_agree() {
        let mut random = Random(3);
        let (plain, _) = contexts();
        for size in SIZES {
            for scale in [1.0, 30.0, 300.0] {
                let before = random_state(&mut random, size, 2.0);
                let change = random.tensor(size, CHANGE + 1, scale);
                let luma = random.tensor(size, 3, 2.0);
                let acceleration = random.tensor(size, 2, 2.0);
                for acceleration in [None, Some(&acceleration)] {
                    let [want, got] = [0, 1].map(|_| before.copy().unwrap());
                    door::update(&plain, &change, &luma, acceleration, &want).unwrap();
                    let acceleration = acceleration.map(input);
                    let (change, luma) = (input(&change), input(&luma));
                    let acceleration = acceleration.as_ref();
                    run([update(&change, &luma, acceleration, &output(&got)).unwrap()]);
                    close("update", &values(&got), &values(&want), TOLERANCE);
                }
                let state = random_state(&mut random, size, scale);
                let ahead = random.tensor(size, 2, scale);
                let [want, got] = [0, 1].map(|_| state.copy().unwrap());
                door::put_ahead(&plain, &ahead, &want).unwrap();
                run([put_ahead(&input(&ahead), &output(&got)).unwrap()]);
                assert_eq!(values(&got), values(&want));
                let [want, got] = [0, 1].map(|_| (Out::new(size, 4), Out::new(size, 1)));
                door::flow(&plain, &state, 4.0, &want.0.tensor()).unwrap();
                door::weight_of_left(&plain, &state, &want.1.tensor()).unwrap();
                let (flow, weight) = (output(&got.0.tensor()), output(&got.1.tensor()));
                run([conclude(&input(&state), 4.0, &flow, &weight).unwrap()]);
                assert_eq!(got.0.values(), want.0.values());
                close("weight", &got.1.values(), &want.1.values(), TOLERANCE);
            }
        }
    }

    #[test]
    fn wrong_sizes_are_refused() {
        let (seven, eight) = (zeros(&[3, 4, 7]), zeros(&[3, 4, 8]));
        let (state, two, one) = (zeros(&[3, 4, STATE]), zeros(&[3, 4, 2]), zeros(&[3, 4, 1]));
        let (state, two, one) = (output(&state), input(&two), input(&one));
        let try_with = |change: &Tensor, luma, acceleration| {
            update(&input(change), luma, acceleration, &state)
        };
        assert!(try_with(&eight, &two, Some(&two)).is_ok());
        assert!(try_with(&seven, &two, Some(&two)).is_err());
        assert!(try_with(&seven, &one, None).is_err());
        assert!(try_with(&eight, &two, Some(&one)).is_err());
        assert!(begin(&DevicePhase::Plane(two), &state).is_err());
    }
}
