//! The launches of `cuda.cu`.

use candle_core::bail;

use super::Windows;
use crate::kernels::cuda::{Argument, DeviceRaster, Launch};

/// The folder of the kernels.
const MODULE: &str = "transformer";
/// Warps of a block, where a warp does a pixel.
const WARPS: u32 = 8;
/// Most cells of a window, and threads of an attention.
const MOST_CELLS: usize = 64;

/// [`Windows`] as a kernel gets it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct RawWindows([i32; 4]);

// SAFETY: plain numbers without bytes between them.
unsafe impl Argument for RawWindows {}

impl Windows {
    fn raw(&self) -> RawWindows {
        RawWindows([self.height, self.width, self.side, self.shift].map(|n| n as i32))
    }

    fn size(&self) -> (usize, usize) {
        (self.count(), self.area())
    }
}

/// With a thread for each value of `out`.
fn values(function: &'static str, out: &DeviceRaster) -> Launch {
    Launch::new(MODULE, function).pixels((out.height, out.width * out.channels))
}

/// With a warp for each pixel of `out`.
fn warps(function: &'static str, out: &DeviceRaster) -> Launch {
    let mut launch = Launch::new(MODULE, function);
    launch.grid = [(out.width as u32).div_ceil(WARPS), out.height as u32, 1];
    launch.block = [32, WARPS, 1];
    launch
}

/// As [`super::Norm::apply`]; `norm`, `[1, 2, c]`, are weights and biases.
///
/// # Errors
/// Sizes that do not fit.
pub fn norm(
    input: &DeviceRaster,
    (norm, epsilon): (&DeviceRaster, f32),
    out: &DeviceRaster,
) -> candle_core::Result<Launch> {
    out.expect("a norm", input.size(), input.channels)?;
    norm.expect("weights and biases", (1, 2), input.channels)?;
    let launch = warps("transformer_norm", out).raster(input);
    Ok(launch.raster(norm).with(epsilon).raster(out))
}

/// As [`Windows::gather`].
///
/// # Errors
/// Sizes that do not fit.
pub fn gather(
    windows: &Windows,
    grid: &DeviceRaster,
    norm: Option<(&DeviceRaster, f32)>,
    out: &DeviceRaster,
) -> candle_core::Result<Launch> {
    grid.expect("a grid", (windows.height, windows.width), grid.channels)?;
    out.expect("windows", windows.size(), grid.channels)?;
    if let Some((norm, _)) = norm {
        norm.expect("weights and biases", (1, 2), grid.channels)?;
    }
    let launch = warps("transformer_gather", out).with(windows.raw());
    let launch = launch.raster(grid).optional(norm.map(|n| n.0));
    Ok(launch.with(norm.map_or(0.0, |n| n.1)).raster(out))
}

/// As [`Windows::scatter`].
///
/// # Errors
/// Sizes that do not fit.
pub fn scatter(
    windows: &Windows,
    cells: &DeviceRaster,
    grid: &DeviceRaster,
) -> candle_core::Result<Launch> {
    cells.expect("windows", windows.size(), cells.channels)?;
    grid.expect("a grid", (windows.height, windows.width), cells.channels)?;
    let launch = values("transformer_scatter", grid).with(windows.raw());
    Ok(launch.raster(cells).raster(grid))
}

/// As [`Windows::attend`].
///
/// # Errors
/// Sizes that do not fit, or larger windows than there are kernels for.
pub fn attend(
    windows: &Windows,
    heads: usize,
    inputs: [&DeviceRaster; 3],
    out: &DeviceRaster,
) -> candle_core::Result<Launch> {
    windows.check_attention(heads, inputs.map(|i| **i), out)?;
    if windows.area() > MOST_CELLS {
        bail!("windows of {} cells, at most {MOST_CELLS}", windows.area());
    }
    let mut launch = Launch::new(MODULE, "transformer_attend");
    launch.grid = [windows.count() as u32, heads as u32, 1];
    launch.block = [MOST_CELLS as u32, 1, 1];
    let launch = launch.with(windows.raw()).with(heads as i32);
    let [queries, keys_values, places] = inputs;
    let launch = launch.raster(queries).raster(keys_values);
    Ok(launch.raster(places).raster(out))
}

/// As [`super::Depthwise::apply_gelu`]; `weights`, `[1, 10, c]`, are those of the taps and biases.
///
/// # Errors
/// Sizes that do not fit.
pub fn depthwise(
    input: &DeviceRaster,
    weights: &DeviceRaster,
    out: &DeviceRaster,
) -> candle_core::Result<Launch> {
    weights.expect("weights of taps", (1, 10), input.channels)?;
    out.expect("the output of a convolution", input.size(), input.channels)?;
    let launch = values("transformer_depthwise", out).raster(input);
    Ok(launch.raster(weights).raster(out))
}

/// As [`super::patches`].
///
/// # Errors
/// Sizes that do not fit.
pub fn patches(
    input: &DeviceRaster,
    (stride, dilation): (usize, usize),
    out: &DeviceRaster,
) -> candle_core::Result<Launch> {
    let size = (input.height / stride, input.width / stride);
    out.expect("patches", size, 9 * input.channels)?;
    let launch = values("transformer_patches", out).raster(input);
    let launch = launch.with(stride as i32).with(dilation as i32);
    Ok(launch.raster(out))
}

/// As [`super::weigh`].
///
/// # Errors
/// Sizes that do not fit.
pub fn weigh(
    from: &DeviceRaster,
    (share, is_other): (&DeviceRaster, bool),
    out: &DeviceRaster,
) -> candle_core::Result<Launch> {
    share.expect("shares", from.size(), 1)?;
    out.expect("what is weighed", from.size(), from.channels)?;
    let launch = values("transformer_weigh", out).raster(from).raster(share);
    Ok(launch.with(i32::from(is_other)).raster(out))
}

/// As [`super::spread_twice`].
///
/// # Errors
/// Sizes that do not fit.
pub fn spread_twice(input: &DeviceRaster, out: &DeviceRaster) -> candle_core::Result<Launch> {
    let (size, channels) = ((4 * input.height, 4 * input.width), input.channels / 16);
    input.expect("what is spread", input.size(), 16 * channels)?;
    out.expect("what is spread", size, channels)?;
    let launch = values("transformer_spread_twice", out);
    Ok(launch.raster(input).raster(out))
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::super as door;
    use super::*;
    use crate::kernels::Context;
    use crate::kernels::cuda::emulation::{input, output, run};
    use crate::kernels::testing::{Out, Random, SIZES, close, contexts};

    /// Exponentials, error functions and sums of some dozens in another order.
    const TOLERANCE: f32 = 1e-5;

    /// Fails unless both fill `[size, channels]` with the same, as far as that goes.
    fn same(
        (size, channels): ((usize, usize), usize),
        tolerance: f32,
        door: impl Fn(&Context, &Tensor),
        launch: impl Fn(&DeviceRaster) -> candle_core::Result<Launch>,
    ) {
        let (plain, _) = contexts();
        let [want, got] = [0, 1].map(|_| Out::new(size, channels));
        door(&plain, &want.tensor());
        let launch = launch(&output(&got.tensor())).unwrap();
        let what = format!("{} of {size:?}", launch.function);
        run([launch]);
        close(&what, &got.values(), &want.values(), tolerance);
    }

    /// Whole windows and others, one alone and several, with and without shift.
    fn grids() -> Vec<Windows> {
        let sizes = [(7, 14), (6, 15), (2, 3), (1, 1), (15, 9)];
        let shifts = sizes.into_iter().flat_map(|size| [(size, 0), (size, 3)]);
        let windows = |((height, width), shift)| Windows {
            height,
            width,
            side: 7,
            shift,
        };
        shifts.map(windows).collect()
    }

    /// A norm of so many channels, and what a card has of it.
    fn norms(random: &mut Random, channels: usize) -> (door::Norm, Tensor) {
        let mut values = || (0..channels).map(|_| random.value()).collect::<Vec<_>>();
        let norm = door::Norm::new(values(), values(), 1e-5);
        let shape = (1, 2, channels);
        let on_card = Tensor::from_vec(norm.for_cards(), shape, &Device::Cpu).unwrap();
        (norm, on_card)
    }

    #[test]
    fn norms_are_the_same() {
        let mut random = Random(1);
        for (size, channels) in SIZES.into_iter().flat_map(|s| [(s, 6), (s, 45)]) {
            let (own, on_card) = norms(&mut random, channels);
            let from = random.tensor(size, channels, 3.0);
            let on_card = input(&on_card);
            same(
                (size, channels),
                TOLERANCE,
                |c, o| own.apply(c, &from, o).unwrap(),
                |o| norm(&input(&from), (&on_card, 1e-5), o),
            );
        }
    }

    #[test]
    fn windows_are_the_same() {
        let mut random = Random(2);
        for windows in grids() {
            let (own, on_card) = norms(&mut random, 5);
            let on_card = input(&on_card);
            let grid = random.tensor((windows.height, windows.width), 5, 1.0);
            for norm in [None, Some(&own)] {
                let there = norm.map(|_| (&on_card, 1e-5));
                same(
                    (windows.size(), 5),
                    TOLERANCE,
                    |c, o| windows.gather(c, &grid, norm, o).unwrap(),
                    |o| gather(&windows, &input(&grid), there, o),
                );
            }
            let cells = random.tensor(windows.size(), 5, 1.0);
            same(
                ((windows.height, windows.width), 5),
                0.0,
                |c, o| windows.scatter(c, &cells, o).unwrap(),
                |o| scatter(&windows, &input(&cells), o),
            );
        }
    }

    #[test]
    fn attentions_are_the_same() {
        let (mut random, heads, c, m) = (Random(3), 2, 8, 4);
        for windows in grids() {
            let [queries, keys_values, places] =
                [c, 2 * c, m].map(|n| random.tensor(windows.size(), n, 2.0));
            same(
                (windows.size(), c + m),
                TOLERANCE,
                |context, o| {
                    let inputs = (&queries, &keys_values, &places);
                    windows.attend(context, heads, inputs, o).unwrap();
                },
                |o| {
                    let inputs = [&queries, &keys_values, &places].map(input);
                    attend(&windows, heads, inputs.each_ref(), o)
                },
            );
        }
    }

    #[test]
    fn values_and_their_neighbours_are_the_same() {
        let mut random = Random(4);
        for size in SIZES {
            let from = random.tensor(size, 6, 2.0);
            let mut values = |n: usize| (0..n).map(|_| random.value()).collect::<Vec<_>>();
            let own = door::Depthwise::new(values(9 * 6), values(6));
            let weights = Tensor::from_vec(own.for_cards(), (1, 10, 6), &Device::Cpu).unwrap();
            same(
                (size, 6),
                TOLERANCE,
                |c, o| own.apply_gelu(c, &from, o).unwrap(),
                |o| depthwise(&input(&from), &input(&weights), o),
            );
            for (stride, dilation) in [(1, 1), (2, 3), (4, 2)] {
                if size.0.min(size.1) < stride {
                    continue;
                }
                same(
                    ((size.0 / stride, size.1 / stride), 9 * 6),
                    0.0,
                    |c, o| door::patches(c, &from, (stride, dilation), o).unwrap(),
                    |o| patches(&input(&from), (stride, dilation), o),
                );
            }
            let share = random.tensor(size, 1, 1.0);
            for is_other in [false, true] {
                same(
                    (size, 6),
                    0.0,
                    |c, o| door::weigh(c, &from, (&share, is_other), o).unwrap(),
                    |o| weigh(&input(&from), (&input(&share), is_other), o),
                );
            }
            let wide = random.tensor(size, 32, 1.0);
            same(
                ((4 * size.0, 4 * size.1), 2),
                0.0,
                |c, o| door::spread_twice(c, &wide, o).unwrap(),
                |o| spread_twice(&input(&wide), o),
            );
        }
    }
}
