use candle_core::{DType, Device};

use super::*;
use crate::picture::Format;
use crate::picture::owned::{Noise, Owned};

fn made(level: CpuLevel, owned: &Owned) -> Vec<Vec<Vec<f32>>> {
    let context = Context::with_level(2, level).unwrap();
    let (h, w) = size(owned.size.1 as usize, owned.size.0 as usize);
    let out = Tensor::zeros((h, w, CHANNELS), DType::F32, &Device::Cpu).unwrap();
    view(&context, &owned.picture(), &out).unwrap();
    out.to_vec3().unwrap()
}

/// A picture that has these codes in the order of the format's components.
fn flat(format: Format, size: (u32, u32), codes: &[u32]) -> Owned {
    let mut owned = Owned::new(format, size, 0);
    for (c, code) in format.components().iter().zip(codes) {
        for y in 0..c.height(size.1 as usize) {
            for x in 0..c.width(size.0 as usize) {
                c.store(owned.row(c.plane, y), x, *code);
            }
        }
    }
    owned
}

#[test]
fn fast_path_gives_the_same_bits() {
    for format in Format::ALL {
        for size in [
            (1, 1),
            (3, 2),
            (15, 5),
            (16, 8),
            (17, 3),
            (41, 9),
            (64, 4),
            (135, 31),
        ] {
            let picture = Owned::new(format, size, 3).noise(&mut Noise::new(9));
            let (fast, plain) = (
                made(CpuLevel::Avx2, &picture),
                made(CpuLevel::Reference, &picture),
            );
            for (y, (a, b)) in fast.iter().zip(&plain).enumerate() {
                for (x, (a, b)) in a.iter().zip(b).enumerate() {
                    assert_eq!(a, b, "{format:?} {size:?} cell {x},{y}");
                }
            }
        }
    }
}

#[test]
fn half_a_view_is_that_of_the_view_to_the_bit() {
    for format in Format::ALL {
        for size in [(1, 1), (3, 2), (17, 3), (64, 4), (135, 31), (400, 260)] {
            let picture = Owned::new(format, size, 3).noise(&mut Noise::new(4));
            let (h, w) = self::size(size.1 as usize, size.0 as usize);
            let room = |h, w| Tensor::zeros((h, w, CHANNELS), DType::F32, &Device::Cpu).unwrap();
            for level in [CpuLevel::Avx2, CpuLevel::Reference] {
                let context = Context::with_level(2, level).unwrap();
                let (whole, want, found) = (room(h, w), room(h / 2, w / 2), room(h / 2, w / 2));
                view(&context, &picture.picture(), &whole).unwrap();
                halve(&context, &whole, &want).unwrap();
                half_view(&context, &picture.picture(), &found).unwrap();
                let [found, want] = [found, want].map(|t| t.to_vec3::<f32>().unwrap());
                assert!(found == want, "{format:?} {size:?}");
            }
            let context = Context::new(1).unwrap();
            assert!(half_view(&context, &picture.picture(), &room(h, w)).is_err());
        }
    }
}

#[test]
fn luma_is_row_by_row_and_chroma_follows() {
    let mut owned = Owned::new(Format::I420, (8, 8), 0);
    for y in 0..8 {
        (0..8).for_each(|x| owned.row(0, y)[x] = (y * 8 + x) as u8);
    }
    for y in 0..4 {
        (0..4).for_each(|x| owned.row(1, y)[x] = (100 + y * 4 + x) as u8);
        (0..4).for_each(|x| owned.row(2, y)[x] = (200 + y * 4 + x) as u8);
    }
    let view = made(CpuLevel::Reference, &owned);
    let expected = [34u8, 35, 42, 43, 109, 209].map(|v| f32::from(v) * (1.0 / 255.0) - 0.5);
    assert_eq!(view[2][1], expected);
}

#[test]
fn depth_and_layout_do_not_matter() {
    // The same picture in all formats: 600 of 1020, 300 of 1020, 900 of 1020.
    let expected = made(
        CpuLevel::Reference,
        &flat(Format::I420, (9, 7), &[150, 75, 225]),
    );
    let scaled = |max: u32| [150, 75, 225].map(|v| (v * max + 127) / 255);
    for format in Format::ALL
        .into_iter()
        .filter(|f| !f.is_rgb() && f.components().len() > 1)
    {
        let codes = scaled(format.components()[0].max());
        let picture = flat(format, (9, 7), &codes);
        // Half a code of the coarser depth, ten bits.
        for (a, b) in made(CpuLevel::Avx2, &picture)
            .iter()
            .flatten()
            .zip(expected.iter().flatten())
        {
            for (a, b) in a.iter().zip(b) {
                assert!((a - b).abs() <= 0.5 / 1023.0, "{format:?}: {a} for {b}");
            }
        }
    }
}

#[test]
fn chroma_at_full_size_is_averaged() {
    let mut owned = flat(Format::Y444, (2, 2), &[0, 0, 0]);
    for (i, v) in [10u8, 20, 40, 50].into_iter().enumerate() {
        owned.row(1, i / 2)[i % 2] = v;
    }
    let cell = &made(CpuLevel::Avx2, &owned)[0][0];
    assert_eq!(cell[4], 30.0 * (1.0 / 255.0) - 0.5);
}

#[test]
fn rgb_becomes_full_range_bt709() {
    for (rgb, yuv) in [
        ([255, 255, 255], [0.5, 0.0, 0.0]),
        ([0, 0, 0], [-0.5, 0.0, 0.0]),
        ([255, 0, 0], [0.2126 - 0.5, -0.2126 / 1.8556, 0.5]),
        ([0, 0, 255], [0.0722 - 0.5, 0.5, -0.0722 / 1.5748]),
    ] {
        for format in [Format::Rgb, Format::Bgra, Format::Xbgr, Format::Gbr] {
            let cell = &made(CpuLevel::Avx2, &flat(format, (2, 2), &rgb))[0][0];
            let expected = [yuv[0], yuv[0], yuv[0], yuv[0], yuv[1], yuv[2]];
            for (a, b) in cell.iter().zip(expected) {
                assert!((a - b).abs() < 1e-6, "{format:?} {rgb:?}: {cell:?}");
            }
        }
    }
}

#[test]
fn grey_has_no_colour() {
    for format in [Format::Gray8, Format::Gray16] {
        let picture = Owned::new(format, (70, 5), 1).noise(&mut Noise::new(2));
        for cell in made(CpuLevel::Avx2, &picture).iter().flatten() {
            assert_eq!(cell[4..], [0.0, 0.0]);
        }
    }
}

#[test]
fn the_edge_is_repeated_to_a_multiple_of_four() {
    assert_eq!(size(1, 1), (4, 4));
    assert_eq!(size(1080, 1920), (540, 960));
    assert_eq!(size(1082, 1921), (544, 964));
    let picture = Owned::new(Format::I420, (19, 11), 0).noise(&mut Noise::new(4));
    let view = made(CpuLevel::Avx2, &picture);
    // Nineteen pixels: the tenth cell holds the last one twice, the two behind repeat the cell.
    let last = &view[3][9];
    assert_eq!((last[0], last[2]), (last[1], last[3]));
    assert_eq!((&view[3][10], &view[3][11]), (last, last));
    assert_eq!(view[6], view[5]);
    assert_eq!(view[7], view[5]);
}

#[test]
fn a_view_of_the_wrong_size_is_refused() {
    let context = Context::with_level(1, CpuLevel::Reference).unwrap();
    let out = Tensor::zeros((4, 8, CHANNELS), DType::F32, &Device::Cpu).unwrap();
    assert!(
        view(
            &context,
            &Owned::new(Format::I420, (8, 8), 0).picture(),
            &out
        )
        .is_err()
    );
}

/// Run with `--ignored --nocapture` on a quiet machine.
#[test]
#[ignore = "a measurement"]
fn time_of_a_1080p_view() {
    let context = Context::with_level(1, CpuLevel::Avx2).unwrap();
    let out = Tensor::zeros((540, 960, CHANNELS), DType::F32, &Device::Cpu).unwrap();
    for format in [
        Format::I420,
        Format::Nv12,
        Format::P010,
        Format::Y444,
        Format::Yuy2,
        Format::Rgbx,
    ] {
        let owned = Owned::new(format, (1920, 1080), 0).noise(&mut Noise::new(1));
        let mut best = f64::MAX;
        for _ in 0..8 {
            let start = std::time::Instant::now();
            view(&context, &owned.picture(), &out).unwrap();
            best = best.min(start.elapsed().as_secs_f64());
        }
        println!("{format:?}: {:.1} ms on one thread", best * 1e3);
    }
}
