use super::*;
use crate::kernels::testing::zeros;
use crate::picture::Format;
use crate::picture::owned::Owned;

/// Red, green and blue of a picture of one colour.
fn rgb_of(format: Format, color: Color, codes: [u32; 3]) -> Vec<f32> {
    let size = (5, 3);
    let mut owned = Owned::new(format, size, 2);
    for (c, code) in format.components().iter().zip(codes) {
        for y in 0..c.height(3) {
            for x in 0..c.width(5) {
                c.store(owned.row(c.plane, y), x, code);
            }
        }
    }
    let picture = owned.picture_of(color);
    let out = zeros(&[4, 6, 3]);
    to_rgb(&Context::new(1).unwrap(), &picture, &out).unwrap();
    let out: Vec<f32> = out.flatten_all().unwrap().to_vec1().unwrap();
    assert_eq!(out[5 * 3..6 * 3], [0.0; 3], "beyond the picture");
    for pixel in out[..5 * 3].chunks(3) {
        assert_eq!(pixel, &out[..3], "{format:?}");
    }
    out[..3].to_vec()
}

#[track_caller]
fn assert_near(got: &[f32], want: [f32; 3], tolerance: f32) {
    for (g, w) in got.iter().zip(want) {
        assert!((g - w).abs() <= tolerance, "{got:?}, expected {want:?}");
    }
}

/// Codes of pure colours as the standards' tables have them, a rounding of codes off.
#[test]
fn colours_of_the_standards_come_out() {
    const ROUNDING: f32 = 0.007;
    let cases = [
        (Color::BT601, [81, 90, 240], [1.0, 0.0, 0.0]),
        (Color::BT601, [145, 54, 34], [0.0, 1.0, 0.0]),
        (Color::BT709, [63, 102, 240], [1.0, 0.0, 0.0]),
        (Color::BT709, [32, 240, 118], [0.0, 0.0, 1.0]),
        (Color::BT709, [235, 128, 128], [1.0, 1.0, 1.0]),
        (Color::BT709, [16, 128, 128], [0.0, 0.0, 0.0]),
    ];
    for (color, codes, want) in cases {
        for format in [Format::I420, Format::Y444, Format::Nv12, Format::Yuy2] {
            assert_near(&rgb_of(format, color, codes), want, ROUNDING);
        }
        let deep = codes.map(|c| c << 2);
        for format in [Format::I420_10, Format::P010] {
            assert_near(&rgb_of(format, color, deep), want, ROUNDING);
        }
    }
}

#[test]
fn full_range_has_no_margins() {
    let color = Color {
        full_range: true,
        ..Color::BT709
    };
    assert_near(
        &rgb_of(Format::Y444, color, [255, 128, 128]),
        [1.0; 3],
        1e-6,
    );
    assert_near(&rgb_of(Format::Gray8, color, [51, 0, 0]), [0.2; 3], 1e-6);
    let rgb = rgb_of(Format::Rgb, Color::BT709, [255, 51, 0]);
    assert_near(&rgb, [1.0, 0.2, 0.0], 1e-6);
}

#[test]
fn what_lies_outside_of_the_colours_is_brought_in() {
    assert_near(
        &rgb_of(Format::I420, Color::BT709, [255, 255, 255]),
        [1.0, 0.72, 1.0],
        0.01,
    );
    assert_near(
        &rgb_of(Format::I420, Color::BT709, [0, 128, 128]),
        [0.0; 3],
        0.0,
    );
}

/// A picture of one colour between two others, and what becomes of it with a residual.
fn added(format: Format, color: Color, residual: [f32; 3], sides_differ: bool) -> Vec<u32> {
    let size = (21, 5);
    let painted = |code: u32| {
        let mut owned = Owned::new(format, size, 2);
        for c in format.components() {
            for y in 0..c.height(5) {
                for x in 0..c.width(21) {
                    c.store(owned.row(c.plane, y), x, code << (c.depth - 8));
                }
            }
        }
        owned
    };
    let (left, mut out) = (painted(100), painted(100));
    let right = painted(if sides_differ { 101 } else { 100 });
    let values = residual.repeat(8 * 24);
    let residual = Tensor::from_vec(values, (8, 24, 3), &candle_core::Device::Cpu).unwrap();
    let sides = [left.picture_of(color), right.picture_of(color)];
    let context = Context::new(2).unwrap();
    let target = &mut out.picture_mut();
    residual::add(&context, &residual, [&sides[0], &sides[1]], target).unwrap();
    out.assert_guarded("a residual");
    let components = format.components();
    components
        .iter()
        .map(|c| out.code(c, c.width(21) - 1, c.height(5) - 1))
        .collect()
}

#[test]
fn a_residual_becomes_the_codes_that_the_standard_says() {
    // a tenth of white is 21.9 codes of luma, less one for noise
    for format in [Format::I420, Format::Nv12, Format::Y444] {
        assert_eq!(added(format, Color::BT709, [0.1; 3], true), [121, 100, 100]);
        assert_eq!(added(format, Color::BT709, [-0.1; 3], true), [79, 100, 100]);
        // red: 0.2126 of 21.9, and 0.5 of 22.4 in V, against U by 0.2126 / (2 * 0.9278)
        assert_eq!(
            added(format, Color::BT709, [0.1, 0.0, 0.0], true),
            [104, 98, 110]
        );
    }
    assert_eq!(
        added(Format::I420_10, Color::BT709, [0.1; 3], true),
        [484, 400, 400]
    );
    assert_eq!(
        added(Format::Rgb, Color::BT709, [0.1, 0.0, -0.1], true),
        [124, 100, 76]
    );
    assert_eq!(
        added(Format::Rgb, Color::BT709, [9.0, 0.0, -9.0], true),
        [255, 100, 0]
    );
}

#[test]
fn what_is_still_or_weak_is_left_alone() {
    assert_eq!(added(Format::I420, Color::BT709, [0.5; 3], false), [100; 3]);
    assert_eq!(
        added(Format::I420, Color::BT709, [0.004; 3], true),
        [100; 3]
    );
    assert_eq!(
        added(Format::P010, Color::BT709, [-0.004; 3], true),
        [400; 3]
    );
}
