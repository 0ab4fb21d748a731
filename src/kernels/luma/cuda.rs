//! The launches of `cuda.cu`.

use super::{SAMPLES, padded};
use crate::kernels::cuda::{DeviceRaster, Launch};

/// As [`super::gather`]; of a picture's own view [`crate::kernels::view`] does it along with the view.
///
/// # Errors
/// Sizes that do not fit.
pub fn gather(
    luma: &DeviceRaster,
    whole: &DeviceRaster<u8>,
    half: &DeviceRaster<u8>,
) -> candle_core::Result<Launch> {
    let (h, w) = luma.size();
    luma.expect("the luma of pixels", (h, w), 4)?;
    whole.expect("luma", (2 * h, 2 * w), 1)?;
    half.expect("luma by fours", (h, w), 1)?;
    let launch = Launch::new("luma", "luma_gather").pixels((h, w));
    Ok(launch.reads(luma).raster(whole).raster(half))
}

/// What lies at a sample, right of it, below it, and right below, a byte each from the lowest on, the edge repeated.
pub type Quads = DeviceRaster<u32>;

/// Fills `quads` from `luma`.
///
/// # Errors
/// Sizes that do not fit, or larger than a kernel can count.
pub fn quads(luma: &DeviceRaster<u8>, quads: &Quads) -> candle_core::Result<Launch> {
    luma.expect("luma", luma.size(), 1)?;
    quads.expect("luma in quads", luma.size(), 1)?;
    if quads.pixel != 1 || i32::try_from(quads.height * quads.row).is_err() {
        candle_core::bail!("luma in quads of {:?}: apart, or too many", quads.size());
    }
    let launch = Launch::new("luma", "luma_quads").pixels(luma.size());
    Ok(launch.reads(luma).raster(quads))
}

/// Fails unless `flow` has the cells of `luma`.
///
/// # Errors
/// As said.
pub fn expect_cells<T>(luma: &DeviceRaster<T>, cells: (usize, usize)) -> candle_core::Result<()> {
    luma.expect("luma", luma.size(), 1)?;
    let found = (luma.height.div_ceil(SAMPLES), luma.width.div_ceil(SAMPLES));
    match found == cells {
        true => Ok(()),
        false => candle_core::bail!("luma of {found:?} cells, expected {cells:?}"),
    }
}

/// One side of what [`super::Warped`] has, moved by `flow`, `[h, w, 2]`.
///
/// # Errors
/// Sizes that do not fit.
pub fn warp(
    luma: &Quads,
    flow: &DeviceRaster,
    scale: f32,
    out: &DeviceRaster<i16>,
) -> candle_core::Result<Launch> {
    let (h, w) = flow.size();
    expect_cells(luma, (h, w))?;
    flow.expect("the flow of luma", (h, w), 2)?;
    out.expect("warped luma", padded(h, w), 1)?;
    let launch = Launch::new("luma", "luma_warp").pixels(out.size());
    Ok(launch.reads(luma).reads(flow).with(scale).raster(out))
}

/// [`super::differences`] of what [`super::Warped`] would have of both sides, for one flow, `[h, w, 4]`, or two side by side.
///
/// # Errors
/// Sizes that do not fit.
pub fn differences(
    luma: [&Quads; 2],
    flow: &DeviceRaster,
    scale: f32,
    out: &[&DeviceRaster],
) -> candle_core::Result<Launch> {
    let (h, w) = flow.size();
    luma.iter()
        .try_for_each(|luma| expect_cells(luma, (h, w)))?;
    flow.expect("the flows of luma", (h, w), 4 * out.len())?;
    let (first, second) = match out {
        [first] => (first, None),
        [first, second] => (first, Some(*second)),
        _ => candle_core::bail!("{} differences at once, expected 1 or 2", out.len()),
    };
    for out in out {
        out.expect("the difference of cells", (h, w), 1)?;
    }
    let mut launch = Launch::new("luma", "luma_differences");
    launch = launch.tiles((h, SAMPLES * w), [128, 4], [128, 4]);
    launch.grid[2] = out.len() as u32;
    let launch = launch.reads(luma[0]).reads(luma[1]);
    let launch = launch.reads(flow).with(scale);
    Ok(launch.raster(first).optional(second))
}

/// Memory for the quads of so many samples.
#[cfg(test)]
pub fn quads_room(size: (usize, usize)) -> candle_core::Tensor {
    let cpu = candle_core::Device::Cpu;
    candle_core::Tensor::zeros((size.0, size.1, 1), candle_core::DType::U32, &cpu).unwrap()
}

/// Luma in quads as the device makes them, and the memory in which they lie.
#[cfg(test)]
pub fn in_quads(luma: &candle_core::Tensor) -> (candle_core::Tensor, Quads) {
    use crate::kernels::cuda::emulation::{input, output, run};
    let (h, w, _) = luma.dims3().unwrap();
    let room = quads_room((h, w));
    let made = output(&room);
    run([quads(&input(luma), &made).unwrap()]);
    (room, made)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::super::tests::{REACHES, random_luma, sizes, steps};
    use super::super::{self as door, Warped, room};
    use super::*;
    use crate::kernels::cuda::emulation::{input, output, run};
    use crate::kernels::testing::{Random, SIZES, contexts, zeros};

    fn values<T: candle_core::WithDType>(tensor: &Tensor) -> Vec<T> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Room for one side of warped luma.
    fn side_room(cells: (usize, usize)) -> Tensor {
        let (rows, row) = padded(cells.0, cells.1);
        Tensor::zeros((rows, row, 1), DType::I16, &Device::Cpu).unwrap()
    }

    #[test]
    fn warped_luma_has_the_same_steps() {
        let mut random = Random(1);
        let (plain, _) = contexts();
        for size in sizes() {
            for (reach, less) in REACHES {
                let luma = [0; 2].map(|_| random_luma(&mut random, size, less));
                let flow = random.tensor(size, 4, reach);
                let warped = Warped::new(size).unwrap();
                let want = warped.warp(&plain, luma.each_ref(), &flow, 4.0).unwrap();
                for side in 0..2 {
                    let got = side_room(size);
                    let flow = flow.narrow(2, 2 * side, 2).unwrap();
                    let (_quads, luma) = in_quads(&luma[side]);
                    run([warp(&luma, &input(&flow), 4.0, &output(&got)).unwrap()]);
                    assert!(
                        steps(want[side]) == values::<i16>(&got),
                        "{size:?} {reach}, side {side}"
                    );
                }
            }
        }
    }

    #[test]
    fn differences_of_two_flows_are_those_of_warped_luma() {
        let mut random = Random(2);
        let (plain, _) = contexts();
        for size in SIZES {
            for (reach, less) in [(0.4, 0), (3.0, 1), (1e6, 3)] {
                let luma = [0; 2].map(|_| random_luma(&mut random, size, less));
                let flow = random.tensor(size, 8, reach);
                let out = [0; 2].map(|_| zeros(&[size.0, size.1, 1]));
                let [(_l, l), (_r, r)] = luma.each_ref().map(in_quads);
                let [a, b] = out.each_ref().map(output);
                run([differences([&l, &r], &input(&flow), 4.0, &[&a, &b]).unwrap()]);
                for (i, out) in out.iter().enumerate() {
                    let flow = flow.narrow(2, 4 * i, 4).unwrap();
                    let warped = Warped::new(size).unwrap();
                    let sides = warped.warp(&plain, luma.each_ref(), &flow, 4.0).unwrap();
                    let want = zeros(&[size.0, size.1, 1]);
                    door::differences(&plain, sides, &want).unwrap();
                    assert_eq!(values::<f32>(out), values::<f32>(&want), "{size:?} {reach}");
                }
            }
        }
    }

    #[test]
    fn quads_are_what_lies_around_and_repeat_the_edge() {
        let mut random = Random(7);
        for (h, w) in [(1usize, 1usize), (1, 7), (9, 1), (12, 37)] {
            let luma = random_luma(&mut random, (h.div_ceil(4), w.div_ceil(4)), 0);
            let luma = luma.narrow(0, 0, h).unwrap().narrow(1, 0, w).unwrap();
            let (room, _) = in_quads(&luma);
            let codes: Vec<u8> = values(&luma);
            let at = |y: usize, x: usize| codes[y.min(h - 1) * w + x.min(w - 1)];
            for (i, quad) in values::<u32>(&room).into_iter().enumerate() {
                let (y, x) = (i / w, i % w);
                let want = [at(y, x), at(y, x + 1), at(y + 1, x), at(y + 1, x + 1)];
                assert_eq!(quad.to_le_bytes(), want, "{h}x{w} at {y}, {x}");
            }
        }
    }

    #[test]
    fn gathered_luma_has_the_same_codes() {
        let mut random = Random(5);
        let (plain, _) = contexts();
        let wild = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30].repeat(8);
        let wild = Tensor::from_vec(wild, (1, 8, 4), &Device::Cpu).unwrap();
        let mut inputs: Vec<_> = SIZES.map(|size| random.tensor(size, 4, 0.6)).into();
        inputs.push(wild);
        for luma in inputs {
            let (h, w, _) = luma.dims3().unwrap();
            let [want, got] =
                [0, 1].map(|_| (room((2 * h, 2 * w)).unwrap(), room((h, w)).unwrap()));
            door::gather(&plain, &luma, &want.0, &want.1).unwrap();
            run([gather(&input(&luma), &output(&got.0), &output(&got.1)).unwrap()]);
            assert_eq!(values::<u8>(&got.0), values::<u8>(&want.0));
            assert_eq!(values::<u8>(&got.1), values::<u8>(&want.1));
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let (luma, flow) = (room((12, 17)).unwrap(), zeros(&[3, 4, 2]));
        let (out, words) = (side_room((3, 4)), quads_room((12, 17)));
        assert!(warp(&output(&words), &input(&flow), 1.0, &output(&out)).is_err());
        let narrow = words.narrow(1, 0, 16).unwrap();
        assert!(warp(&output(&narrow), &input(&flow), 1.0, &output(&out)).is_ok());
        assert!(quads(&input(&luma), &output(&words)).is_ok());
        assert!(quads(&input(&luma), &output(&narrow)).is_err());
        let luma = luma.narrow(1, 0, 16).unwrap();
        assert!(gather(&input(&flow), &output(&luma), &output(&luma)).is_err());
    }
}
