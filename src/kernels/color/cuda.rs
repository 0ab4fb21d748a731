//! The launches of `cuda.cu`.

use super::residual::{Part, noise, parts};
use super::{Color, Colors, Matrix};
use crate::kernels::cuda::picture::DevicePicture;
use crate::kernels::cuda::{Argument, DeviceRaster, Features, Launch, RawRaster};

/// What codes stand for, as a kernel gets it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct RawCodes {
    kind: i32,
    zero: [f32; 3],
    step: [f32; 3],
    red_of_v: f32,
    green_of_u: f32,
    green_of_v: f32,
    blue_of_u: f32,
}

// SAFETY: plain numbers without bytes between them.
unsafe impl Argument for RawCodes {}

impl RawCodes {
    fn new(colors: &Colors, color: Color) -> Self {
        let matrix = Matrix::new(color);
        let (kind, spans) = match colors {
            Colors::Gray(_, span) => (0, [*span; 3]),
            Colors::Yuv(all) => (1, all.map(|(_, span)| span)),
            // they are shares of their largest codes
            Colors::Rgb(all) => (2, all.map(|c| super::Span::new(&c, color, false))),
        };
        Self {
            kind,
            zero: spans.map(|span| span.zero),
            step: spans.map(|span| span.step),
            red_of_v: matrix.red_of_v,
            green_of_u: matrix.green_of_u,
            green_of_v: matrix.green_of_v,
            blue_of_u: matrix.blue_of_u,
        }
    }
}

/// What is added, as a kernel gets it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct RawResidual {
    rgb: RawRaster,
    shares: [f32; 3],
    noise: f32,
}

// SAFETY: plain numbers without bytes between them.
unsafe impl Argument for RawResidual {}

/// As [`super::to_rgb`]; `out` is as large as the picture.
///
/// # Errors
/// Sizes that do not fit, samples of 16 bits at odd addresses.
pub fn to_rgb(picture: &DevicePicture, color: Color, out: Features) -> candle_core::Result<Launch> {
    let size = (picture.height, picture.width);
    out.expect("colours", size, 3)?;
    let codes = RawCodes::new(&Colors::of(picture.format, color), color);
    let function = out.function(&[], ["color_to_rgb", "color_to_rgb_half"])?;
    let launch = Launch::new("color", function).pixels(size);
    Ok(launch.with(picture.raw()?).with(codes).with(out.raw()))
}

/// As [`super::residual::add`]; the residual is as large as the picture.
///
/// # Errors
/// The pictures differ in kind, another size, samples of 16 bits at odd addresses.
pub fn add(
    residual: &DeviceRaster,
    [left, right]: [&DevicePicture; 2],
    color: Color,
    out: &DevicePicture,
) -> candle_core::Result<Vec<Launch>> {
    left.expect(out)?;
    right.expect(out)?;
    residual.expect("a residual", (out.height, out.width), 3)?;
    let launch = |(c, shares): Part| {
        let added = RawResidual {
            rgb: residual.into(),
            shares,
            noise: noise(&c),
        };
        let size = (c.height(out.height), c.width(out.width));
        let launch = Launch::new("color", "color_add").tiles(size, [128, 2], [128, 2]);
        let launch = [left, right, out]
            .into_iter()
            .try_fold(launch, |launch, picture| {
                Ok::<_, candle_core::Error>(launch.with(picture.component(&c)?))
            })?;
        let bytes = out.format.row_bytes(c.plane, out.width as u32);
        let launch = launch.with(added).with(bytes as i32);
        Ok(launch.with(c.offset as i32))
    };
    parts(out.format, color).into_iter().map(launch).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;

    use super::super::{residual, to_rgb as plain_to_rgb};
    use super::*;
    use crate::kernels::cuda::Half;
    use crate::kernels::cuda::emulation::{halves, input, output, run};
    use crate::kernels::cuda::picture::testing::Planes;
    use crate::kernels::testing::{Out, Random, contexts};
    use crate::picture::owned::{Noise, Owned};
    use crate::picture::{Format, Picture};

    const SIZES: [(u32, u32); 5] = [(1, 1), (3, 2), (16, 8), (17, 3), (141, 9)];
    const COLORS: [Color; 2] = [
        Color::BT709,
        Color {
            full_range: true,
            ..Color::BT2020
        },
    ];

    #[test]
    fn colours_have_the_same_bits() {
        let (plain, _) = contexts();
        for (format, size) in Format::ALL.iter().flat_map(|f| SIZES.map(|s| (*f, s))) {
            let owned = Owned::new(format, size, 3).noise(&mut Noise::new(7));
            for color in COLORS {
                let picture = owned.picture_of(color);
                let planes = Planes::of(&picture);
                let shape = (size.1 as usize, size.0 as usize);
                let [want, got] = [0, 1].map(|_| Out::new(shape, 3));
                plain_to_rgb(&plain, &picture, &want.tensor()).unwrap();
                let out = Features::F32(output(&got.tensor()));
                run([to_rgb(&planes.device(), color, out).unwrap()]);
                assert_eq!(got.values(), want.values(), "{format:?} {size:?}");

                let [want, _] = halves(&want.tensor());
                let [got, _] = halves(&Tensor::zeros_like(&want).unwrap());
                let out = Features::F16(output(&got));
                run([to_rgb(&planes.device(), color, out).unwrap()]);
                let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<Half>().unwrap();
                assert_eq!(values(&got), values(&want), "{format:?} {size:?}, f16");
            }
        }
    }

    /// A picture of which some bytes, in runs of up to 21, are those of another one.
    fn nearly(like: &Picture, noise: &mut Noise) -> Owned {
        let (format, size) = (like.format(), (like.width() as u32, like.height() as u32));
        let mut owned = Owned::new(format, size, 2).noise(noise);
        for p in 0..format.planes() {
            for y in 0..format.rows(p, size.1) {
                for (to, from) in owned
                    .row(p, y)
                    .chunks_mut(21)
                    .zip(like.row(p, y).chunks(21))
                {
                    if noise.below(4) > 0 {
                        let count = 1 + noise.below(from.len() as u64) as usize;
                        to[..count].copy_from_slice(&from[..count]);
                    }
                }
            }
        }
        owned
    }

    /// Fails unless both change a picture alike, and nothing else.
    fn check(format: Format, size: (u32, u32), color: Color, added: &Tensor) {
        let (plain, _) = contexts();
        let mut noise = Noise::new(9);
        let left = Owned::new(format, size, 3).noise(&mut noise);
        let left = left.picture_of(color);
        let [right, mut out] = [0, 1].map(|_| nearly(&left, &mut noise));
        let right = right.picture();
        let [l, r, got] = [&left, &right, &out.picture()].map(Planes::of);
        residual::add(&plain, added, [&left, &right], &mut out.picture_mut()).unwrap();
        let sides = [&l.device(), &r.device()];
        run(add(&input(added), sides, color, &got.device()).unwrap());
        let what = format!("{format:?} {size:?}");
        got.assert_guarded(&what);
        for p in 0..format.planes() {
            for y in 0..format.rows(p, size.1) {
                let want = out.picture();
                assert_eq!(got.row(p, y), want.row(p, y), "{what}: plane {p} row {y}");
            }
        }
    }

    #[test]
    fn differences_are_added_to_the_bit() {
        let mut random = Random(8);
        for (format, size) in Format::ALL.iter().flat_map(|f| SIZES.map(|s| (*f, s))) {
            for scale in [0.03, 2.0, f32::NAN, f32::INFINITY] {
                let added = random.tensor((size.1 as usize, size.0 as usize), 3, scale);
                check(format, size, COLORS[usize::from(scale == 2.0)], &added);
            }
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let planes = |height| Planes::of(&Owned::new(Format::I420, (8, height), 0).picture());
        let (a, b) = (planes(8), planes(9));
        let (fits, high) = (Out::new((8, 8), 3), Out::new((9, 8), 3));
        let try_with = |right: &Planes, residual: &Out| {
            let sides = [&a.device(), &right.device()];
            add(&input(&residual.tensor()), sides, Color::BT709, &a.device())
        };
        assert!(try_with(&a, &fits).is_ok());
        assert!(try_with(&b, &fits).is_err() && try_with(&a, &high).is_err());
        let high = Features::F32(output(&high.tensor()));
        assert!(to_rgb(&a.device(), Color::BT709, high).is_err());
    }
}
