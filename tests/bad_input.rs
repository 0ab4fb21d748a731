//! Pictures that no camera makes: nothing panics, and what is made lies between its sources.

use gstvideointerpolate::interpolator::{Outcome, SceneAction, Settings};
use gstvideointerpolate::kernels::PhaseMap;
use gstvideointerpolate::picture::{Channel, Format};

mod common;

use common::{Owned, interpolate};

const SIZES: [(u32, u32); 6] = [(1, 1), (2, 3), (16, 16), (33, 17), (4, 120), (96, 64)];

/// What is made whatever the pictures have to do with each other.
fn always() -> Settings {
    Settings {
        scene_threshold: 0.0,
        ..Settings::default()
    }
}

/// Pictures of each kind, by name.
fn odd_pictures(format: Format, size: (u32, u32)) -> Vec<(&'static str, Owned)> {
    let painted = |value: fn(Channel, f32, f32) -> f32| Owned::painted(format, size, 3, value);
    vec![
        ("lowest codes", painted(|_, _, _| 0.0)),
        ("highest codes", painted(|_, _, _| 1.0)),
        (
            "one colour",
            painted(|c, _, _| {
                [0.3, 0.9, 0.1][(c == Channel::U) as usize + 2 * (c == Channel::V) as usize]
            }),
        ),
        (
            "a chessboard",
            painted(|_, x, y| (x as u32 + y as u32) as f32 % 2.0),
        ),
        ("stripes", painted(|_, x, _| (x as u32 / 3) as f32 % 2.0)),
        ("a ramp", painted(|_, x, y| (x + y) / 200.0)),
        ("within the codes' depth", within_depth(format, size, 1)),
        ("any bytes", Owned::noise(format, size, 3, 2)),
    ]
}

/// Noise of codes that the format may have.
fn within_depth(format: Format, size: (u32, u32), seed: u32) -> Owned {
    Owned::painted(format, size, 3, |_, x, y| {
        let at = (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77);
        let at = (at ^ seed.wrapping_mul(0xc2b2_ae3d)).wrapping_mul(0x2c1b_3c6d);
        let at = (at ^ (at >> 15)).wrapping_mul(0x297a_2d39);
        (at ^ (at >> 16)) as f32 / u32::MAX as f32
    })
}

/// Lowest and highest code of a component in both pictures.
fn range(pictures: [&Owned; 2], component: usize) -> (u32, u32) {
    let mut range = (u32::MAX, 0);
    for owned in pictures {
        for_each_code(owned, component, |code| {
            range = (range.0.min(code), range.1.max(code));
        });
    }
    range
}

fn for_each_code(owned: &Owned, component: usize, mut each: impl FnMut(u32)) {
    let c = &owned.format.components()[component];
    let picture = owned.picture();
    for y in 0..c.height(owned.size.1 as usize) {
        for x in 0..c.width(owned.size.0 as usize) {
            each(c.load(picture.row(c.plane, y), x));
        }
    }
}

/// Fails where a code is outside of both sources' range, or of what the format holds.
#[track_caller]
fn assert_between(made: &Owned, sources: [&Owned; 2], what: &str) {
    for (i, c) in made.format.components().iter().enumerate() {
        let (low, high) = range(sources, i);
        for_each_code(made, i, |code| {
            assert!(
                (low..=high).contains(&code) || code == c.max() && high > c.max(),
                "{what}: {:?} has the code {code}, its sources {low} to {high}",
                c.channel
            );
        });
    }
}

#[test]
fn what_is_made_lies_between_its_sources() {
    for format in Format::ALL {
        for size in SIZES {
            let pictures = odd_pictures(format, size);
            for (a, left) in &pictures {
                for (b, right) in &pictures {
                    let what = format!("{format:?} {size:?}, from {a} to {b}");
                    let phase = PhaseMap::Uniform(0.3);
                    let (outcome, made) = interpolate(left, right, phase, &always()).unwrap();
                    assert_eq!(outcome, Outcome::Interpolated, "{what}");
                    assert_between(&made, [left, right], &what);
                }
            }
        }
    }
}

#[test]
fn between_pictures_of_one_colour_lies_one_between() {
    for format in Format::ALL {
        let size = (64, 48);
        let (left, right) = (
            Owned::painted(format, size, 3, |_, _, _| 0.25),
            Owned::painted(format, size, 3, |_, _, _| 0.75),
        );
        for phase in [0.01, 0.5, 0.99] {
            let map = PhaseMap::Uniform(phase);
            let (outcome, made) = interpolate(&left, &right, map, &Settings::default()).unwrap();
            assert_ne!(outcome, Outcome::Blended, "{format:?}");
            if outcome == Outcome::Interpolated {
                assert_between(&made, [&left, &right], &format!("{format:?} at {phase}"));
            }
        }
    }
}

#[test]
fn unrelated_noise_is_held_or_blended() {
    for format in [
        Format::I420,
        Format::Nv12,
        Format::P010,
        Format::I420_10,
        Format::Rgb,
    ] {
        for size in [(64, 48), (320, 240)] {
            let (left, right) = (within_depth(format, size, 1), within_depth(format, size, 2));
            for phase in [0.2, 0.5, 0.8] {
                let what = format!("{format:?} {size:?} at {phase}");
                let made = |scene_action| {
                    let settings = Settings {
                        scene_action,
                        ..Settings::default()
                    };
                    interpolate(&left, &right, PhaseMap::Uniform(phase), &settings).unwrap()
                };
                assert_eq!(made(SceneAction::Nearest).0, Outcome::Cut, "{what}");
                let (outcome, blended) = made(SceneAction::Blend);
                assert_eq!(outcome, Outcome::Blended, "{what}");
                assert_blend(&blended, [&left, &right], phase, &what);
            }
        }
    }
}

/// Fails where a code is more than a rounding off the weighted mean.
#[track_caller]
fn assert_blend(made: &Owned, [left, right]: [&Owned; 2], phase: f32, what: &str) {
    for i in 0..made.format.components().len() {
        let codes = |owned: &Owned| {
            let mut codes = Vec::new();
            for_each_code(owned, i, |code| codes.push(code as f32));
            codes
        };
        let (l, r, m) = (codes(left), codes(right), codes(made));
        for ((l, r), m) in l.iter().zip(&r).zip(&m) {
            let expected = l + phase * (r - l);
            assert!((m - expected).abs() < 0.51, "{what}: {m} for {expected}");
        }
    }
}

/// A frame from black, to black, or a picture that burns out: no cut, and no garbage.
#[test]
fn a_flat_neighbour_is_no_garbage() {
    for format in [Format::I420, Format::Nv12, Format::P010] {
        let size = (160, 96);
        let drawn = Owned::painted(format, size, 3, |_, x, y| {
            0.5 + 0.3 * (0.2 * x).sin() * (0.13 * y).cos()
        });
        for flat in [0.0, 0.0625, 0.92, 1.0] {
            let other = Owned::painted(format, size, 3, |c, _, _| match c {
                Channel::U | Channel::V => 0.5,
                _ => flat,
            });
            for (left, right) in [(&drawn, &other), (&other, &drawn)] {
                let phase = PhaseMap::Uniform(0.5);
                let (outcome, made) =
                    interpolate(left, right, phase, &Settings::default()).unwrap();
                let what = format!("{format:?}, {flat}");
                match outcome {
                    Outcome::Cut => {}
                    _ => assert_between(&made, [left, right], &what),
                }
            }
        }
    }
}
