//! The launches of `cuda.cu`.

use super::Lattice;
use crate::kernels::cuda::picture::{DevicePicture, RawPicture};
use crate::kernels::cuda::{Argument, DeviceRaster, Launch};

/// Of a thread, along a row.
const SAMPLES: u32 = 4;

/// The kernel's `Group`.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct RawGroup {
    left: RawPicture,
    right: RawPicture,
    out: RawPicture,
    offset: i32,
    unused: i32,
}

/// All of a format; a picture has at most four components.
type RawGroups = [RawGroup; 4];

// SAFETY: plain numbers without bytes between them.
unsafe impl Argument for RawGroups {}

/// As [`super::synthesise`].
///
/// # Errors
/// Formats or sizes differ, the lattice is too small, samples of 16 bits at odd addresses.
pub fn synthesise(
    [left, right]: [&DevicePicture; 2],
    (flow, mask, lattice): (&DeviceRaster, &DeviceRaster, Lattice),
    out: &DevicePicture,
) -> candle_core::Result<Vec<Launch>> {
    left.expect(out)?;
    right.expect(out)?;
    let cells = (
        out.height.div_ceil(lattice.pixels()).max(flow.height),
        out.width.div_ceil(lattice.pixels()).max(flow.width),
    );
    flow.expect("flow", cells, 4)?;
    mask.expect("mask", cells, 1)?;
    let (mut launches, mut copied) = (Vec::new(), [false; 4]);
    let (mut groups, mut most) = (RawGroups::default(), (0, 0));
    let of_format = super::groups(out.format);
    for (raw, group) in groups.iter_mut().zip(&of_format) {
        let first = group.first();
        if !group.whole && !std::mem::replace(&mut copied[first.plane], true) {
            let bytes = out.format.row_bytes(first.plane, out.width as u32);
            let rows = out.format.rows(first.plane, out.height as u32);
            let copy = Launch::new("synthesis", "synthesis_copy");
            let copy = copy.tiles((rows, bytes), [128, 2], [128, 2]);
            let copy = copy
                .with(left.bytes(first.plane))
                .with(out.bytes(first.plane));
            launches.push(copy.with(bytes as i32).with(rows as i32));
        }
        let of = |picture: &DevicePicture| picture.of(&group.components);
        *raw = RawGroup {
            left: of(left)?,
            right: of(right)?,
            out: of(out)?,
            offset: first.offset as i32,
            unused: 0,
        };
        most.0 = first.height(out.height).max(most.0);
        most.1 = first.width(out.width).max(most.1);
    }
    let launch = Launch::new("synthesis", "synthesise");
    let mut launch = launch.tiles(most, [32 * SAMPLES, 8], [32, 8]);
    launch.grid[2] = of_format.len() as u32;
    let launch = launch.with(groups).with(lattice.pixels() as i32);
    launches.push(launch.raster(flow).raster(mask));
    Ok(launches)
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;

    use super::super as door;
    use super::super::tests::{CellOf, LATTICES, SIZES, context, flows, lattice_of};
    use super::*;
    use crate::kernels::CpuLevel;
    use crate::kernels::cuda::emulation::{input, run};
    use crate::kernels::cuda::picture::testing::Planes;
    use crate::kernels::testing::zeros;
    use crate::picture::Format;
    use crate::picture::owned::{Noise, Owned};

    /// Fails unless both make the same picture and nothing else is written.
    fn check(
        format: Format,
        size: (u32, u32),
        kind: Lattice,
        (name, cell): (&str, CellOf),
        seed: usize,
    ) {
        let what = format!("{format:?} {size:?} {name} {kind:?}");
        let mut noise = Noise::new(seed as u64 + 1);
        let left = Owned::new(format, size, 3).noise(&mut noise);
        let mut right = Owned::new(format, size, 5).noise(&mut noise);
        // Half of the rows are the same, so that copies happen.
        for p in 0..format.planes() {
            for y in (0..format.rows(p, size.1)).step_by(2) {
                right.row(p, y).copy_from_slice(left.picture().row(p, y));
            }
        }
        let (flow, mask) = lattice_of(kind, size, seed % 3, |x, y| cell(&mut noise, x, y));
        let mut want = Owned::new(format, size, 0);
        let (l, r) = (left.picture(), right.picture());
        let motion = (&flow, &mask, kind);
        let plain = context(CpuLevel::Reference);
        door::synthesise(&plain, &l, &r, motion, &mut want.picture_mut()).unwrap();
        let got = Planes::room(&l, 10);
        let [l, r] = [Planes::of(&l), Planes::of(&r)];
        let motion = (&input(&flow), &input(&mask), kind);
        run(synthesise([&l.device(), &r.device()], motion, &got.device()).unwrap());
        got.assert_guarded(&what);
        for p in 0..format.planes() {
            for y in 0..format.rows(p, size.1) {
                assert_eq!(
                    got.row(p, y),
                    want.picture().row(p, y),
                    "{what}: plane {p} row {y}"
                );
            }
        }
    }

    #[test]
    fn pictures_have_the_same_bits() {
        for format in Format::ALL {
            for (s, &size) in SIZES[..8].iter().enumerate() {
                for flow in flows() {
                    check(format, size, Lattice::Quarter, flow, s);
                }
                check(format, size, Lattice::Full, flows()[s % 6], s);
            }
        }
    }

    /// Wider than a tile.
    #[test]
    fn wide_pictures_have_the_same_bits() {
        for format in [Format::I420, Format::P010, Format::Yuy2, Format::Bgrx] {
            for (flow, kind) in flows().into_iter().flat_map(|f| LATTICES.map(|k| (f, k))) {
                check(format, SIZES[8], kind, flow, 7);
            }
        }
    }

    #[test]
    fn pictures_that_do_not_match_are_refused() {
        let planes = |height| Planes::of(&Owned::new(Format::Gray8, (8, height), 0).picture());
        let (a, b) = (planes(8), planes(9));
        let (flow, mask) = (zeros(&[2, 2, 4]), zeros(&[2, 2, 1]));
        let try_with = |right: &Planes, flow: &Tensor, mask: &Tensor| {
            let motion = (&input(flow), &input(mask), Lattice::Quarter);
            synthesise([&a.device(), &right.device()], motion, &a.device())
        };
        assert!(try_with(&a, &flow, &mask).is_ok());
        assert!(try_with(&b, &flow, &mask).is_err());
        let (flow, mask) = (zeros(&[1, 2, 4]), zeros(&[1, 2, 1]));
        assert!(try_with(&a, &flow, &mask).is_err());
    }
}
