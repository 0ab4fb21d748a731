//! The engine over every format, without GStreamer.

use candle_core::{Device, Tensor};
use gstvideointerpolate::error::Error;
use gstvideointerpolate::interpolator::{Interpolator, Outcome, SceneAction, Settings};
use gstvideointerpolate::kernels::PhaseMap;
use gstvideointerpolate::network::Network;
use gstvideointerpolate::picture::{Channel, Format, Picture};

mod common;

use common::{Owned, interpolate, interpolator};

#[test]
fn between_a_picture_and_itself_lies_the_picture() {
    for format in Format::ALL {
        for size in [(1, 1), (3, 5), (64, 48), (83, 37)] {
            let a = Owned::noise(format, size, 3, 0);
            let b = Owned::noise(format, size, 3, 0);
            let (outcome, out) =
                interpolate(&a, &b, PhaseMap::Uniform(0.3), &Settings::default()).unwrap();
            assert_eq!(outcome, Outcome::Interpolated);
            assert!(
                out.picture().same_samples(&a.picture()),
                "{format:?} {size:?}"
            );
        }
    }
}

/// A texture in the middle of the codes, with detail at several sizes, that nowhere repeats.
fn texture(channel: Channel, x: f32, y: f32) -> f32 {
    let detail = noise(x, y, 40.0) + noise(x, y, 17.0) + 0.7 * noise(x, y, 7.0);
    match channel {
        Channel::A => 0.5 + 0.1 * noise(x, y, 60.0),
        Channel::U | Channel::V => 0.5 + 0.08 * detail,
        _ => 0.5 + 0.16 * detail,
    }
}

/// Values of -1 to 1 on a lattice of this step, smooth between.
fn noise(x: f32, y: f32, step: f32) -> f32 {
    let value = |i: f32, j: f32| (i * 127.1 + j * 311.7 + step).sin() * 43_758.547 % 1.0;
    let (x, y) = (x / step, y / step);
    let (i, j) = (x.floor(), y.floor());
    let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
    let (tx, ty) = (smooth(x - i), smooth(y - j));
    let row = |j: f32| value(i, j) + tx * (value(i + 1.0, j) - value(i, j));
    row(j) + ty * (row(j + 1.0) - row(j))
}

/// Peak signal-to-noise ratio of all components, away from the border.
fn psnr(found: &Owned, expected: &Owned, border: usize) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    let (f, e) = (found.picture(), expected.picture());
    for c in found.format.components() {
        let (bx, by) = (border >> c.sub_x, border >> c.sub_y);
        for y in by..c.height(found.size.1 as usize) - by {
            for x in bx..c.width(found.size.0 as usize) - bx {
                let code = |p: &Picture| f64::from(c.load(p.row(c.plane, y), x));
                sum += ((code(&f) - code(&e)) / f64::from(c.max())).powi(2);
                count += 1.0;
            }
        }
    }
    -10.0 * (sum / count).log10()
}

/// The element by element test of a known shift, with a known flow, is that of the synthesis
/// kernel; here the network has to find it.
#[test]
fn a_shift_is_found_in_every_format() {
    let size = (192, 128);
    for format in Format::ALL {
        let at = |d: f32| Owned::painted(format, size, 3, |c, x, y| texture(c, x + d, y - 0.5 * d));
        let (left, middle, right) = (at(-4.0), at(0.0), at(4.0));
        let phase = PhaseMap::Uniform(0.5);
        let (outcome, made) = interpolate(&left, &right, phase, &Settings::default()).unwrap();
        assert_eq!(outcome, Outcome::Interpolated, "{format:?}");
        let (made, held) = (psnr(&made, &middle, 24), psnr(&left, &middle, 24));
        assert!(
            made > held + 6.0,
            "{format:?}: {made:.1} dB, held {held:.1} dB"
        );
    }
}

#[test]
fn the_smallest_pictures_work() {
    let settings = Settings {
        scene_threshold: 0.0,
        ..Settings::default()
    };
    for format in Format::ALL {
        for size in [(1, 1), (2, 1), (1, 2), (9, 1), (1, 33), (3, 3)] {
            let at = |d: f32| Owned::painted(format, size, 1, |c, x, y| texture(c, x + d, y));
            let phase = PhaseMap::Uniform(0.7);
            let (outcome, _) = interpolate(&at(0.0), &at(3.0), phase, &settings).unwrap();
            assert_eq!(outcome, Outcome::Interpolated, "{format:?} {size:?}");
        }
    }
}

#[test]
fn a_fade_is_no_cut() {
    let size = (192, 128);
    let at = |gain: f32, d: f32| {
        Owned::painted(Format::I420, size, 0, |c, x, y| gain * texture(c, x + d, y))
    };
    // A second of fade to black, at 24 frames a second.
    let (left, right) = (at(0.6, 0.0), at(0.6 - 1.0 / 24.0, 2.0));
    let phase = PhaseMap::Uniform(0.5);
    let (outcome, _) = interpolate(&left, &right, phase, &Settings::default()).unwrap();
    assert_eq!(outcome, Outcome::Interpolated);
}

#[test]
fn a_plane_of_equal_phases_is_a_uniform_phase() {
    let size = (96, 64);
    let at = |d: f32| Owned::painted(Format::I420, size, 0, |c, x, y| texture(c, x + d, y));
    let (left, right) = (at(-2.0), at(2.0));
    let plane = Tensor::full(0.25f32, (64 / 8, 96 / 8), &Device::Cpu).unwrap();
    let settings = Settings::default();
    let (_, a) = interpolate(&left, &right, PhaseMap::Uniform(0.25), &settings).unwrap();
    let (_, b) = interpolate(&left, &right, PhaseMap::Plane(plane), &settings).unwrap();
    assert!(a.planes == b.planes);
}

#[test]
fn a_plane_of_phases_is_checked_even_at_a_cut() {
    let (left, right) = strangers();
    let refused = |phases: Tensor| {
        let phase = PhaseMap::Plane(phases);
        interpolate(&left, &right, phase, &Settings::default()).map(|(outcome, _)| outcome)
    };
    let full = |value: f32, shape: &[usize]| Tensor::full(value, shape, &Device::Cpu).unwrap();
    assert!(matches!(refused(full(0.5, &[30, 40])), Ok(Outcome::Cut)));
    for outside in [0.0, 1.0, f32::NAN] {
        let mut phases = vec![0.5; 30 * 40];
        phases[777] = outside;
        let plane = Tensor::from_vec(phases, (30, 40), &Device::Cpu).unwrap();
        assert!(matches!(refused(plane), Err(Error::Phase(_))), "{outside}");
    }
    for shape in [&[30, 39][..], &[1200], &[30, 40, 1]] {
        assert!(refused(full(0.5, shape)).is_err(), "{shape:?}");
    }
}

#[test]
fn an_encoded_picture_of_another_size_is_refused() {
    let (left, right) = strangers();
    let small = Owned::new(Format::I420, (32, 32), 0);
    let foreign = interpolator(small.format, small.size)
        .encode(&small.picture())
        .unwrap();
    let mut interpolator = interpolator(left.format, left.size);
    let (l, r) = (left.picture(), right.picture());
    let own = interpolator.encode(&l).unwrap();
    let mut out = Owned::new(left.format, left.size, 0);
    let refused = interpolator.interpolate(
        (&l, &own),
        (&r, &foreign),
        &PhaseMap::Uniform(0.5),
        &Settings::default(),
        &mut out.picture_mut(),
    );
    assert!(refused.is_err(), "{refused:?}");
}

/// Two pictures that have nothing to do with each other.
fn strangers() -> (Owned, Owned) {
    let size = (320, 240);
    let left = Owned::painted(Format::I420, size, 0, |_, x, y| {
        if (x * 0.02).sin() * (y * 0.05).cos() > 0.1 {
            0.9
        } else {
            0.2
        }
    });
    let right = Owned::painted(Format::I420, size, 0, |_, x, y| {
        if (x * 0.05 + 1.0).sin() + (y * 0.02 + 2.0).cos() > 0.3 {
            0.8
        } else {
            0.1
        }
    });
    (left, right)
}

#[test]
fn nothing_is_written_at_a_cut() {
    let (left, right) = strangers();
    let phase = PhaseMap::Uniform(0.5);
    let (outcome, out) = interpolate(&left, &right, phase, &Settings::default()).unwrap();
    assert_eq!(outcome, Outcome::Cut);
    assert!(
        out.planes
            .iter()
            .flat_map(|(data, _)| data)
            .all(|b| *b == 0)
    );
}

#[test]
fn motion_that_fails_is_a_cut() {
    let (left, right) = strangers();
    // No thumbnails are that strange.
    let settings = Settings {
        scene_threshold: 100.0,
        ..Settings::default()
    };
    let (outcome, _) = interpolate(&left, &right, PhaseMap::Uniform(0.5), &settings).unwrap();
    assert_eq!(outcome, Outcome::Cut);
}

#[test]
fn a_cut_may_be_blended() {
    let (left, right) = strangers();
    let settings = Settings {
        scene_action: SceneAction::Blend,
        ..Settings::default()
    };
    let (outcome, out) = interpolate(&left, &right, PhaseMap::Uniform(0.25), &settings).unwrap();
    assert_eq!(outcome, Outcome::Blended);
    let code = |o: &Owned| f64::from(o.picture().row(0, 100)[100]);
    let expected = 0.75 * code(&left) + 0.25 * code(&right);
    assert!(
        (code(&out) - expected).abs() <= 0.5,
        "{} for {expected}",
        code(&out)
    );
}

#[test]
fn a_threshold_of_zero_finds_no_cut() {
    let (left, right) = strangers();
    let settings = Settings {
        scene_threshold: 0.0,
        ..Settings::default()
    };
    let (outcome, _) = interpolate(&left, &right, PhaseMap::Uniform(0.5), &settings).unwrap();
    assert_eq!(outcome, Outcome::Interpolated);
}

#[test]
fn what_does_not_fit_is_refused() {
    let a = Owned::new(Format::I420, (32, 32), 0);
    let b = Owned::new(Format::I420, (32, 34), 0);
    let settings = Settings::default();
    let refused = interpolate(&a, &b, PhaseMap::Uniform(0.5), &settings);
    assert!(matches!(
        refused,
        Err(Error::PictureMismatch { height: 34, .. })
    ));
    for phase in [0.0, 1.0, -1.0, f32::NAN] {
        let refused = interpolate(&a, &a, PhaseMap::Uniform(phase), &settings);
        assert!(matches!(refused, Err(Error::Phase(_))), "{phase}");
    }
    let network = Network::embedded().unwrap();
    let empty = Interpolator::new(network.clone(), Format::I420, 0, 32, 1);
    assert!(matches!(empty, Err(Error::EmptyPicture { width: 0, .. })));
    let side = i32::MAX as u32;
    let huge = Interpolator::new(network, Format::I420, side, side, 1);
    assert!(matches!(huge, Err(Error::PictureTooLarge { .. })));
}

/// The engine remembers what it found out about a pair.
#[test]
fn each_pair_is_judged_by_its_own_pictures_and_the_threshold_of_now() {
    let (left, stranger) = strangers();
    let neighbour = Owned::painted(Format::I420, left.size, 0, |_, x, y| {
        if ((x + 2.0) * 0.02).sin() * (y * 0.05).cos() > 0.1 {
            0.9
        } else {
            0.2
        }
    });
    let mut engine = interpolator(left.format, left.size);
    let pictures = [left.picture(), neighbour.picture(), stranger.picture()];
    let encoded = pictures.each_ref().map(|p| engine.encode(p).unwrap());
    let mut out = Owned::new(left.format, left.size, 0);
    let mut outcome = |a: usize, b: usize, scene_threshold: f64| {
        let settings = Settings {
            scene_threshold,
            ..Settings::default()
        };
        let (a, b) = ((&pictures[a], &*encoded[a]), (&pictures[b], &*encoded[b]));
        let phase = PhaseMap::Uniform(0.5);
        engine.interpolate(a, b, &phase, &settings, &mut out.picture_mut())
    };
    let threshold = Settings::default().scene_threshold;
    for (a, b, threshold, expected) in [
        (0, 1, threshold, Outcome::Interpolated),
        (1, 2, threshold, Outcome::Cut),
        (1, 2, threshold, Outcome::Cut),
        (1, 2, 0.0, Outcome::Interpolated),
        (1, 2, threshold, Outcome::Cut),
        (2, 2, threshold, Outcome::Interpolated),
        (2, 1, threshold, Outcome::Cut),
        (1, 0, threshold, Outcome::Interpolated),
    ] {
        assert_eq!(outcome(a, b, threshold).unwrap(), expected, "{a} and {b}");
    }
}
