//! The launches of `cuda.cu`.

use super::check_surrounded;
use crate::kernels::cuda::{DeviceRaster, Launch};

/// With a thread for each value of `out`.
fn values(function: &'static str, out: &DeviceRaster) -> Launch {
    Launch::new("pointwise", function).pixels((out.height, out.width * out.channels))
}

/// As [`super::add_rectified`].
///
/// # Errors
/// The shapes differ.
pub fn add_rectified(
    [a, b]: [&DeviceRaster; 2],
    out: &DeviceRaster,
) -> candle_core::Result<Launch> {
    a.expect("a summand", out.size(), out.channels)?;
    b.expect("a summand", out.size(), out.channels)?;
    let launch = values("pointwise_add_rectified", out);
    Ok(launch.raster(a).raster(b).raster(out))
}

/// As [`super::surround`].
///
/// # Errors
/// It reaches beyond `out`, or has other channels.
pub fn surround(
    picture: &DeviceRaster,
    origin: (usize, usize),
    out: &DeviceRaster,
) -> candle_core::Result<Launch> {
    check_surrounded(picture, origin, out)?;
    let launch = values("pointwise_surround", out).raster(picture);
    let launch = launch.with(origin.0 as i32).with(origin.1 as i32);
    Ok(launch.raster(out))
}

#[cfg(test)]
mod tests {
    use super::super as door;
    use super::*;
    use crate::kernels::cuda::emulation::{input, output, run};
    use crate::kernels::testing::{Out, Random, SIZES, contexts};

    #[test]
    fn values_are_the_same() {
        let mut random = Random(1);
        let (plain, _) = contexts();
        for (h, w) in SIZES {
            let [a, b] = [0, 1].map(|_| random.tensor((h, w), 3, 1.0));
            let [want, got] = [0, 1].map(|_| Out::new((h, w), 3));
            door::add_rectified(&plain, &a, &b, &want.tensor()).unwrap();
            let both = [&input(&a), &input(&b)];
            run([add_rectified(both, &output(&got.tensor())).unwrap()]);
            assert_eq!(got.values(), want.values(), "{h}x{w}");

            let [want, got] = [0, 1].map(|_| Out::new((h + 3, w + 4), 3));
            door::surround(&plain, &a, (1, 4), &want.tensor()).unwrap();
            run([surround(&input(&a), (1, 4), &output(&got.tensor())).unwrap()]);
            assert_eq!(got.values(), want.values(), "{h}x{w}");
            assert!(surround(&input(&a), (4, 0), &output(&got.tensor())).is_err());
        }
    }
}
