use candle_core::{Device, Tensor};

use super::*;
use crate::interpolator::{Interpolator, Outcome, Settings};
use crate::kernels::PhaseMap;
use crate::network::Network;
use crate::picture::Format;
use crate::picture::owned::{Noise, Owned};

const SIZES: [(u32, u32); 6] = [(1, 1), (2, 3), (5, 4), (9, 7), (16, 8), (33, 21)];
const FULL: Color = Color {
    full_range: true,
    ..Color::BT709
};

/// Colours that repeat nowhere nearby.
fn cells((width, height): (u32, u32)) -> Cells {
    let (width, height) = (width.div_ceil(4) as usize, height.div_ceil(4) as usize);
    let part = |i: usize, of: usize| (i % of) as f32 / (of - 1) as f32;
    let colours = (0..width * height).map(|i| [part(i, 3), part(i, 5), part(i, 7)]);
    Cells {
        width,
        height,
        colours: colours.collect(),
    }
}

/// RGB of a pixel, by the formula that takes codes to colours.
fn colour(picture: &Owned, color: Color, x: usize, y: usize) -> Rgb {
    let value = |channel| {
        let found = picture.format.components().iter();
        let c = found.into_iter().find(|c| c.channel == channel)?;
        let code = picture.code(c, x >> c.sub_x, y >> c.sub_y) as f32;
        let shift = (1 << (c.depth - 8)) as f32;
        let chroma = matches!(channel, Channel::U | Channel::V);
        let (zero, reach) = match (color.full_range, chroma) {
            (true, true) => (128.0 * shift, c.max() as f32),
            (true, false) => (0.0, c.max() as f32),
            (false, true) => (128.0 * shift, 224.0 * shift),
            (false, false) => (16.0 * shift, 219.0 * shift),
        };
        Some((code - zero) / reach)
    };
    if picture.format.is_rgb() {
        return [Channel::R, Channel::G, Channel::B].map(|c| value(c).unwrap());
    }
    let y = value(Channel::Y).unwrap();
    let (u, v) = (value(Channel::U), value(Channel::V));
    let r = y + v.unwrap_or(0.0) * (2.0 - 2.0 * color.kr);
    let b = y + u.unwrap_or(0.0) * (2.0 - 2.0 * color.kb);
    let g = (y - color.kr * r - color.kb * b) / (1.0 - color.kr - color.kb);
    [r, g, b]
}

/// Half a code of each component, through the matrix: of 8 bits the coarsest.
const ROUNDING: f32 = 0.008;

#[test]
fn every_format_shows_the_same_colours() {
    for format in Format::ALL {
        for size in SIZES {
            for color in [Color::BT709, Color::BT601, FULL] {
                let (mut owned, cells) = (Owned::new(format, size, 3), cells(size));
                cells.paint(color, &mut owned.picture_mut());
                let what = format!("{format:?} {size:?} {color:?}");
                owned.assert_guarded(&what);
                for y in 0..size.1 as usize {
                    for x in 0..size.0 as usize {
                        let mut wanted = cells.at(x, y);
                        if format.components().len() == 1 {
                            let [r, g, b] = wanted;
                            let luma =
                                color.kr * r + (1.0 - color.kr - color.kb) * g + color.kb * b;
                            wanted = [luma; 3];
                        }
                        let found = colour(&owned, color, x, y);
                        for (a, b) in found.iter().zip(wanted) {
                            assert!(
                                (a - b).abs() < ROUNDING,
                                "{what} at {x}, {y}: {found:?} for {wanted:?}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_no_colour_is_opaque() {
    for format in Format::ALL {
        let size = (9, 7);
        let mut noise = Noise::new(1);
        let mut owned = Owned::new(format, size, 3).noise(&mut noise);
        cells(size).paint(Color::BT709, &mut owned.picture_mut());
        for c in format.components() {
            if c.channel == Channel::A {
                assert_eq!(owned.code(c, 8, 6), c.max(), "{format:?}");
            }
        }
        if format == Format::Xrgb {
            assert!((0..9).all(|x| owned.row(0, 6)[4 * x] == 0xff));
        }
    }
}

#[test]
fn codes_are_those_of_the_range() {
    let gray16 = &Format::Gray16.components()[0];
    let ten = &Format::I420_10.components()[0];
    let eight = &Format::I420.components()[0];
    assert_eq!(code(eight, Color::BT709, BLACK), 16);
    assert_eq!(code(eight, Color::BT709, WHITE), 235);
    assert_eq!(code(ten, Color::BT709, WHITE), 940);
    assert_eq!(code(ten, FULL, WHITE), 1023);
    assert_eq!(code(gray16, FULL, WHITE), 65535);
    assert_eq!(
        code(&Format::I420.components()[1], FULL, [0.0, 0.0, 1.0]),
        255
    );
    assert_eq!(code(eight, FULL, [f32::NAN; 3]), 0);
}

#[test]
fn the_wheel_turns_from_red_over_chartreuse_and_cyan_to_violet() {
    let near = |a: Rgb, b: Rgb| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(near(wheel(0.0, 0.0), WHITE));
    assert!(near(wheel(1.0, 0.0), [1.0, 0.0, 0.0]));
    assert!(near(wheel(0.0, 1.0), [0.5, 1.0, 0.0]));
    assert!(near(wheel(-3.0, 0.0), [0.0, 1.0, 1.0]));
    assert!(near(wheel(0.0, -1.0), [0.5, 0.0, 1.0]));
    assert!(near(wheel(0.25, 0.0), [1.0, 0.5, 0.5]));
    assert!(near(wheel(f32::NAN, 0.0), WHITE));
}

/// `[h, w, c]`, the channels of every cell the same.
fn tensor(height: usize, width: usize, values: &[f32]) -> Tensor {
    Tensor::from_vec(
        values.repeat(height * width),
        (height, width, values.len()),
        &Device::Cpu,
    )
    .unwrap()
}

#[test]
fn maps_are_made_from_their_tensors() {
    // padded: the picture has 3x2 cells
    let flow = tensor(4, 4, &[-0.25, 0.0, 0.5, 0.0]);
    let (mask, confidence) = (tensor(4, 4, &[0.25]), tensor(4, 4, &[0.75]));
    let incoherence = tensor(2, 2, &[0.375]);
    let findings = Findings::Motion {
        flow: &flow,
        mask: &mask,
        confidence: &confidence,
        incoherence: Some(&incoherence),
    };
    let of = |map: Map| {
        let cells = map.colours(&findings, 9, 7).unwrap();
        assert_eq!((cells.width, cells.height), (3, 2));
        assert!(cells.colours.iter().all(|c| *c == cells.colours[0]));
        cells.colours[0]
    };
    // full colour at 12 / 16 of a pixel, which is the motion
    assert_eq!(of(Map::Flow), [1.0, 0.0, 0.0]);
    assert_eq!(of(Map::Mask), [0.25; 3]);
    assert_eq!(of(Map::Confidence), [0.75; 3]);
    assert_eq!(of(Map::Coherence), [0.625; 3]);
    assert!(Map::Flow.colours(&findings, 17, 7).is_err());
}

#[test]
fn a_cut_is_black_and_a_repeated_picture_is_still() {
    for map in [Map::Flow, Map::Confidence, Map::Mask, Map::Coherence] {
        let cut = map.colours(&Findings::Cut, 5, 5).unwrap();
        assert_eq!(cut.colours, [BLACK; 4], "{map:?}");
        let same = map.colours(&Findings::Same, 5, 5).unwrap();
        let wanted = if map == Map::Mask { GREY } else { WHITE };
        assert_eq!(same.colours, [wanted; 4], "{map:?}");
    }
}

#[test]
fn the_left_half_is_the_earlier_picture() {
    for format in Format::ALL {
        for size in SIZES {
            let mut noise = Noise::new(7);
            let before = Owned::new(format, size, 3).noise(&mut noise);
            let made = Owned::new(format, size, 1).noise(&mut noise);
            let mut out = Owned::new(format, size, 1);
            out.picture_mut().copy_from(&made.picture()).unwrap();
            split(&before.picture(), &mut out.picture_mut()).unwrap();
            out.assert_guarded(&format!("{format:?} {size:?}"));
            let border = (size.0 / 4 * 2) as usize;
            for c in format.components() {
                for y in 0..c.height(size.1 as usize) {
                    for x in 0..c.width(size.0 as usize) {
                        let left = x << c.sub_x < border;
                        let from = if left { &before } else { &made };
                        assert_eq!(
                            out.code(c, x, y),
                            from.code(c, x, y),
                            "{format:?} {size:?} {c:?} at {x}, {y}"
                        );
                    }
                }
            }
        }
    }
    let mut out = Owned::new(Format::I420, (4, 4), 0);
    let other = Owned::new(Format::I420, (4, 6), 0);
    assert!(split(&other.picture(), &mut out.picture_mut()).is_err());
}

/// A soft texture, moved by some pixels.
fn texture(shift: f32) -> Owned {
    let size = (64, 48);
    let mut owned = Owned::new(Format::Gray8, size, 3);
    for y in 0..48 {
        let row = owned.row(0, y).iter_mut().enumerate();
        row.for_each(|(x, code)| {
            let (u, v) = (x as f32 - shift, y as f32);
            let wave = (0.31 * u + 0.17 * v).sin() + (0.37 * v - 0.13 * u).sin();
            *code = (110.0 + 45.0 * wave) as u8;
        });
    }
    owned
}

#[test]
fn findings_are_those_of_the_last_pair() {
    let network = Network::embedded().unwrap();
    let mut engine = Interpolator::new(network, Format::Gray8, 64, 48, 1).unwrap();
    let (still, moved) = (texture(0.0), texture(3.0));
    let mut out = Owned::new(Format::Gray8, (64, 48), 0);
    let mut between = |engine: &mut Interpolator, right: &Owned, phase, scene_threshold| {
        let (left, right) = (still.picture(), right.picture());
        let (l, r) = (
            engine.encode(&left).unwrap(),
            engine.encode(&right).unwrap(),
        );
        let settings = Settings {
            scene_threshold,
            ..Settings::default()
        };
        let (phase, out) = (PhaseMap::Uniform(phase), &mut out.picture_mut());
        engine.interpolate((&left, &l), (&right, &r), &phase, &settings, out)
    };
    assert!(engine.findings().is_none());

    between(&mut engine, &moved, 0.5, 0.45).unwrap();
    let Some(Findings::Motion {
        flow,
        mask,
        confidence,
        incoherence: None,
    }) = engine.findings()
    else {
        panic!("{:?}", engine.findings());
    };
    assert_eq!(flow.dims(), [12, 16, 4]);
    // not looked at
    let grey = Map::Coherence
        .colours(&engine.findings().unwrap(), 64, 48)
        .unwrap();
    assert!(grey.colours.iter().all(|c| *c == GREY));
    assert_eq!(
        (mask.dims(), confidence.dims()),
        (&[12, 16, 1][..], &[12, 16, 1][..])
    );

    between(&mut engine, &texture(0.0), 0.5, 0.45).unwrap();
    assert!(matches!(engine.findings(), Some(Findings::Same)));
    let outcome = between(&mut engine, &moved, 0.5, 1e-9).unwrap();
    assert_eq!(outcome, Outcome::Cut);
    assert!(matches!(engine.findings(), Some(Findings::Cut)));
    assert!(between(&mut engine, &moved, 1.5, 0.45).is_err());
    assert!(engine.findings().is_none());
    between(&mut engine, &moved, 0.5, 0.45).unwrap();
    engine.forget();
    assert!(engine.findings().is_none());
}
