//! The launches of `cuda.cu`; those of [`crate::kernels::change`], too.

use candle_core::bail;

use crate::kernels::cuda::picture::DevicePicture;
use crate::kernels::cuda::{DeviceRaster, Launch};
use crate::kernels::luma::cuda::expect_cells;
use crate::picture::Component;

/// As [`crate::kernels::change::of_cells`] and [`super::edges`] of the same luma, of which either may be left out.
///
/// # Errors
/// Sizes that do not fit.
pub fn cells(
    [left, right]: [&DeviceRaster<u8>; 2],
    change: Option<&DeviceRaster>,
    edges: Option<&DeviceRaster>,
) -> candle_core::Result<Launch> {
    let Some(size) = change.or(edges).map(|out| out.size()) else {
        bail!("neither change nor edges are wanted");
    };
    left.expect("luma", right.size(), 1)?;
    expect_cells(left, size)?;
    for out in [change, edges].into_iter().flatten() {
        out.expect("the change and edges of cells", size, 1)?;
    }
    let launch = Launch::new("still", "still_cells").pixels(size);
    let launch = launch.reads(left).reads(right);
    Ok(launch.optional(change).optional(edges))
}

/// As [`crate::kernels::change::around`].
///
/// # Errors
/// Sizes that do not fit.
pub fn around(cells: &DeviceRaster, out: &DeviceRaster) -> candle_core::Result<Launch> {
    cells.expect("the change of cells", cells.size(), 1)?;
    out.expect("the change", cells.size(), 1)?;
    let launch = Launch::new("still", "still_around").pixels(out.size());
    Ok(launch.reads(cells).raster(out))
}

/// As [`super::keep`]: `edges` come from [`cells`], `kept`, `[h, w, 1]`, is room for work.
///
/// # Errors
/// Sizes that do not fit, samples of 16 bits at odd addresses.
pub fn keep(
    edges: &DeviceRaster,
    [difference, change]: [&DeviceRaster; 2],
    kept: &DeviceRaster,
    [left, right]: [&DevicePicture; 2],
    out: &DevicePicture,
) -> candle_core::Result<Vec<Launch>> {
    let size = edges.size();
    edges.expect("the edges", size, 1)?;
    difference.expect("the difference", size, 1)?;
    change.expect("the change", size, 1)?;
    kept.expect("what is kept", size, 1)?;
    left.expect(out)?;
    right.expect(out)?;
    let choose = Launch::new("still", "still_choose").pixels(size);
    let choose = choose.reads(edges).reads(difference).reads(change);
    let mut launches = vec![choose.raster(kept)];
    for whole in [true, false] {
        let group = |c: &&Component| (c.sub_x + c.sub_y == 0) == whole;
        let components = out.format.components().iter().filter(group);
        let components: Vec<_> = components.copied().collect();
        let Some(first) = components.first() else {
            continue;
        };
        let samples = (first.height(out.height), first.width(out.width));
        let launch = Launch::new("still", "still_keep").pixels(samples);
        let launch = launch
            .with(left.of(&components)?)
            .with(right.of(&components)?);
        launches.push(launch.with(out.of(&components)?).raster(kept));
    }
    Ok(launches)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::super::tests::{LUMA_SIZES, alike};
    use super::super::{self as door, SAMPLES, Space};
    use super::*;
    use crate::kernels::change;
    use crate::kernels::cuda::emulation::{input, output, run};
    use crate::kernels::cuda::picture::testing::Planes;
    use crate::kernels::testing::{Random, bytes, contexts, zeros};
    use crate::picture::Format;
    use crate::picture::owned::{Noise, Owned};

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn change_and_edges_are_the_same() {
        let (plain, _) = contexts();
        let mut random = Random(4);
        for (h, w) in LUMA_SIZES {
            let luma = alike(&mut random, (h, w)).map(|luma| bytes(&luma));
            let size = (h.div_ceil(SAMPLES), w.div_ceil(SAMPLES));
            let space = Space::new(size).unwrap();
            let rooms = [0; 5].map(|_| zeros(&[size.0, size.1, 1]));
            let [want, want_around, got, got_edges, got_around] = &rooms;
            door::edges(&plain, luma.each_ref(), &space).unwrap();
            change::change(&plain, luma.each_ref(), want, want_around).unwrap();
            let [left, right] = luma.each_ref().map(input);
            let (out, edges) = (output(got), output(got_edges));
            run([
                cells([&left, &right], Some(&out), Some(&edges)).unwrap(),
                around(&out, &output(got_around)).unwrap(),
            ]);
            assert_eq!(values(got), values(want), "{h}x{w}");
            assert_eq!(values(got_around), values(want_around), "{h}x{w}");
            assert_eq!(values(got_edges), values(&space.edges), "{h}x{w}");
            assert!(cells([&left, &right], None, None).is_err());
        }
    }

    #[test]
    fn the_same_samples_are_kept_in_every_format() {
        let (plain, _) = contexts();
        let mut random = Random(6);
        for format in Format::ALL {
            for size in [(32u32, 24u32), (37, 21), (5, 3)] {
                let mut noise = Noise::new(11);
                let left = Owned::new(format, size, 0).noise(&mut noise);
                let mut right = Owned::new(format, size, 0).noise(&mut noise);
                // The same, nearly the same and another sample in turns, and gaps of one among the others.
                for p in 0..format.planes() {
                    for y in 0..format.rows(p, size.1) {
                        let from = left.picture().row(p, y).to_vec();
                        let to = right.row(p, y).iter_mut().zip(from).enumerate();
                        for (x, (to, from)) in to.filter(|(x, _)| x / 4 % 3 > 0 || x % 12 == 1) {
                            *to = from ^ [0, 3, 8, 1][x % 4];
                        }
                    }
                }
                let (h, w) = (size.1.div_ceil(4) as usize, size.0.div_ceil(4) as usize);
                let [difference, change] = [0.2, 0.03].map(|v| random.dense(&[h, w, 1], v));
                let space = Space {
                    edges: (random.dense(&[h, w, 1], 8.0) + 2.0).unwrap(),
                    kept: zeros(&[h, w, 1]),
                };
                let mut want = Owned::new(format, size, 0);
                let empty = Planes::of(&want.picture());
                let sides = [&left.picture(), &right.picture()];
                let beside = [&difference, &change];
                door::keep(&plain, &space, beside, sides, &mut want.picture_mut()).unwrap();
                let [l, r] = sides.map(Planes::of);
                let (edges, beside) = (input(&space.edges), beside.map(input));
                let beside = beside.each_ref();
                let kept = output(&space.kept);
                let pictures = [&l.device(), &r.device()];
                run(keep(&edges, beside, &kept, pictures, &empty.device()).unwrap());
                let what = format!("{format:?} {size:?}");
                empty.assert_guarded(&what);
                for p in 0..format.planes() {
                    for y in 0..format.rows(p, size.1) {
                        assert_eq!(empty.row(p, y), want.picture().row(p, y), "{what} {p} {y}");
                    }
                }
            }
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let luma = |h, w| Tensor::zeros((h, w, 1), DType::U8, &Device::Cpu).unwrap();
        let (fits, narrow, wide) = (luma(8, 12), luma(8, 11), luma(8, 16));
        let out = zeros(&[2, 3, 1]);
        let try_with = |left: &Tensor, right: &Tensor| {
            cells([&input(left), &input(right)], Some(&output(&out)), None)
        };
        assert!(try_with(&fits, &fits).is_ok());
        assert!(try_with(&fits, &narrow).is_err());
        assert!(try_with(&wide, &wide).is_err());
    }
}
