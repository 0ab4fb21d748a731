//! The launches of `cuda.cu`.

use candle_core::bail;

use super::{LEVELS, LOOKED_UP, SIDE};
use crate::kernels::cuda::{Argument, DeviceRaster, Launch, RawRaster};

/// The folder of the kernels.
const MODULE: &str = "pairs";
/// Threads of a lookup: a product each.
const PRODUCTS: u32 = ((SIDE + 1) * (SIDE + 1)) as u32;

/// What is looked up in as a kernel gets it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct RawLevels([RawRaster; LEVELS]);

// SAFETY: plain numbers without bytes between them.
unsafe impl Argument for RawLevels {
    fn bytes(&self) -> u64 {
        self.0.iter().map(RawRaster::bytes).sum()
    }
}

/// As [`super::look_up`].
///
/// # Errors
/// Sizes that do not fit.
pub fn look_up(
    (features, other): (&DeviceRaster, &[DeviceRaster]),
    flow: &DeviceRaster,
    (share, is_other): (&DeviceRaster, bool),
    out: &DeviceRaster,
) -> candle_core::Result<Launch> {
    if other.is_empty() || other.len() > LEVELS {
        bail!(
            "{} levels to look up in, expected 1 to {LEVELS}",
            other.len()
        );
    }
    let size = features.size();
    flow.expect("a flow", size, 2)?;
    share.expect("shares", size, 1)?;
    out.expect("what is looked up", size, other.len() * LOOKED_UP)?;
    let mut levels = RawLevels(Default::default());
    for (raw, level) in levels.0.iter_mut().zip(other) {
        level.expect("what is looked up in", level.size(), features.channels)?;
        *raw = level.into();
    }
    let mut launch = Launch::new(MODULE, "pairs_look_up");
    launch.grid = [size.1 as u32, size.0 as u32, other.len() as u32];
    launch.block = [PRODUCTS, 1, 1];
    let launch = launch.raster(features).with(levels);
    let launch = launch.raster(flow).raster(share);
    Ok(launch.with(i32::from(is_other)).raster(out))
}

/// As [`super::standardise`], by way of the sums of `rows`, `[1, h, c]`, and of `moments`, `[1, 2, c]`.
///
/// # Errors
/// Sizes that do not fit.
pub fn standardise(
    input: &DeviceRaster,
    rectified: bool,
    [rows, moments]: [&DeviceRaster; 2],
    out: &DeviceRaster,
) -> candle_core::Result<[Launch; 5]> {
    out.expect("what is standardised", input.size(), input.channels)?;
    rows.expect("the sums of rows", (1, input.height), input.channels)?;
    moments.expect("moments", (1, 2), input.channels)?;
    let sums = |squared: i32| {
        let launch = Launch::new(MODULE, "pairs_row_moments");
        let launch = launch.pixels((input.height, input.channels));
        let launch = launch.raster(input).with(squared);
        launch.raster(moments).raster(rows)
    };
    let whole = |squared: i32| {
        let launch = Launch::new(MODULE, "pairs_moments");
        let launch = launch.tiles((1, input.channels), [32, 1], [32, 1]);
        let launch = launch.raster(rows).with(input.width as i32);
        launch.with(squared).raster(moments)
    };
    let least = if rectified { 0.0 } else { f32::NEG_INFINITY };
    let last = values("pairs_standardise", out).raster(input);
    let last = last.raster(moments).with(least).raster(out);
    Ok([sums(0), whole(0), sums(1), whole(1), last])
}

/// As [`super::resize`].
///
/// # Errors
/// Other channels.
pub fn resize(input: &DeviceRaster, gain: f32, out: &DeviceRaster) -> candle_core::Result<Launch> {
    out.expect("what is resized", out.size(), input.channels)?;
    let launch = values("pairs_resize", out).raster(input);
    Ok(launch.with(gain).raster(out))
}

/// With a thread for each value of `out`.
fn values(function: &'static str, out: &DeviceRaster) -> Launch {
    Launch::new(MODULE, function).pixels((out.height, out.width * out.channels))
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::super as door;
    use super::*;
    use crate::kernels::cuda::emulation::{input, output, run};
    use crate::kernels::testing::{Out, Random, SIZES, close, contexts};

    /// Sums of a dozen products, or of some hundred values, in another order.
    const TOLERANCE: f32 = 1e-5;

    #[test]
    fn lookups_agree_near_and_far_outside() {
        let mut random = Random(1);
        let (plain, _) = contexts();
        for (size, reach) in SIZES
            .into_iter()
            .flat_map(|s| [(s, 0.7), (s, 6.0), (s, 1e6)])
        {
            let features = random.tensor(size, 11, 1.0);
            let levels: Vec<Tensor> = (0..LEVELS)
                .map(|i| random.tensor(((size.0 >> i).max(1), (size.1 >> i).max(1)), 11, 1.0))
                .collect();
            let flow = random.tensor(size, 2, reach);
            let share = (random.tensor(size, 1, 0.3) + 0.5).unwrap();
            for (count, is_other) in [(1, false), (LEVELS, true)] {
                let other = &levels[..count];
                let [want, got] = [0, 1].map(|_| Out::new(size, count * LOOKED_UP));
                let share_of = (&share, is_other);
                door::look_up(&plain, (&features, other), &flow, share_of, &want.tensor()).unwrap();
                let other: Vec<_> = other.iter().map(input).collect();
                let (from, by) = (input(&features), input(&flow));
                let share_of = (&input(&share), is_other);
                run([look_up((&from, &other), &by, share_of, &output(&got.tensor())).unwrap()]);
                close("look up", &got.values(), &want.values(), TOLERANCE);
            }
        }
    }

    #[test]
    fn standards_are_the_same() {
        let mut random = Random(2);
        let (plain, _) = contexts();
        for size in SIZES {
            for rectified in [false, true] {
                let values = (random.tensor(size, 5, 1.0) + 3.0).unwrap();
                let [want, got] = [0, 1].map(|_| Out::new(size, 5));
                let moments = door::Moments::new(&Device::Cpu, [size.0, 5]).unwrap();
                door::standardise(&plain, &values, rectified, &moments, &want.tensor()).unwrap();
                let rooms = moments.rooms((size.0, 5)).unwrap();
                let rooms = rooms.each_ref().map(output);
                let launches = standardise(
                    &input(&values),
                    rectified,
                    rooms.each_ref(),
                    &output(&got.tensor()),
                );
                run(launches.unwrap());
                // one over a deviation of some tenths
                close("standardise", &got.values(), &want.values(), 1e-4);
            }
        }
    }

    #[test]
    fn other_sizes_are_the_same() {
        let mut random = Random(3);
        let (plain, _) = contexts();
        for size in SIZES {
            let values = random.tensor((6, 10), 3, 1.0);
            let [want, got] = [0, 1].map(|_| Out::new(size, 3));
            door::resize(&plain, &values, 0.4, &want.tensor()).unwrap();
            run([resize(&input(&values), 0.4, &output(&got.tensor())).unwrap()]);
            assert_eq!(got.values(), want.values(), "{size:?}");
        }
    }
}
