//! Pictures beyond the last one: where things get to, and how steady that is.

mod common;

use std::f32::consts::TAU;
use std::sync::Arc;

use common::{Owned, interpolator};
use gstvideointerpolate::interpolator::{Beyond, Encoded, Interpolator, Outcome, Settings};
use gstvideointerpolate::picture::{Format, Picture};

const SIZE: (u32, u32) = (256, 96);
/// Pixels of the longest wave of the texture; the picture is some whole number of them wide.
const WAVE: f32 = 64.0;

/// A texture that has gone `x` pixels to the right.
fn texture(x: f32) -> Owned {
    Owned::painted(Format::Gray8, SIZE, 0, |_, px, py| {
        let at = |wave: f32, tilt: f32| (TAU * (px - x + tilt * py) / wave).cos();
        0.5 + 0.2 * at(WAVE, 0.0) + 0.1 * at(23.0, 0.7) + 0.1 * at(11.0, -1.3)
    })
}

/// How far a picture's longest wave has gone, modulo its length: the phase of its term of the Fourier series.
fn position(picture: &Owned) -> f32 {
    let (data, stride) = &picture.planes[0];
    let (mut re, mut im) = (0.0, 0.0);
    for row in data.chunks(*stride as usize) {
        // away from what comes in at the sides
        for (x, code) in row.iter().enumerate().skip(64).take(128) {
            let angle = TAU * x as f32 / WAVE;
            re += f32::from(*code) * angle.cos();
            im += f32::from(*code) * angle.sin();
        }
    }
    im.atan2(re) / TAU * WAVE
}

/// `a - b`, both modulo the wave's length.
fn apart(a: f32, b: f32) -> f32 {
    (a - b + 1.5 * WAVE).rem_euclid(WAVE) - 0.5 * WAVE
}

struct Pair<'a> {
    interpolator: &'a mut Interpolator,
    left: (&'a Picture<'a>, &'a Encoded),
    right: (&'a Picture<'a>, &'a Encoded),
}

impl Pair<'_> {
    fn beyond(&mut self, ahead: f32, taken_back: f32) -> (Outcome, Owned) {
        self.beyond_with(ahead, taken_back, &Settings::default())
    }

    fn beyond_with(
        &mut self,
        ahead: f32,
        taken_back: f32,
        settings: &Settings,
    ) -> (Outcome, Owned) {
        let mut out = Owned::new(Format::Gray8, SIZE, 0);
        let beyond = Beyond { ahead, taken_back };
        let target = &mut out.picture_mut();
        let (left, right) = (self.left, self.right);
        let made = self
            .interpolator
            .extrapolate(left, right, beyond, settings, target);
        (made.unwrap(), out)
    }
}

/// Extrapolates from two pictures alone.
fn beyond(left: &Owned, right: &Owned, ahead: f32) -> (Outcome, Owned) {
    beyond_with(left, right, ahead, &Settings::default())
}

fn beyond_with(left: &Owned, right: &Owned, ahead: f32, settings: &Settings) -> (Outcome, Owned) {
    let mut interpolator = interpolator(Format::Gray8, SIZE);
    let (l, r) = (left.picture(), right.picture());
    let encoded = [&l, &r].map(|p| interpolator.encode(p).unwrap());
    let mut pair = Pair {
        interpolator: &mut interpolator,
        left: (&l, &encoded[0]),
        right: (&r, &encoded[1]),
    };
    pair.beyond_with(ahead, 0.0, settings)
}

#[test]
fn a_pan_goes_on() {
    for (motion, ahead) in [(6.0, 0.5), (-9.0, 0.25), (4.0, 1.0), (5.0, 2.0)] {
        let (outcome, made) = beyond(&texture(0.0), &texture(motion), ahead);
        assert_eq!(outcome, Outcome::Interpolated);
        let found = position(&made);
        let wanted = motion * (1.0 + ahead);
        let off = apart(found, wanted).abs();
        assert!(off < 0.25, "{motion} {ahead}: {found}, expected {wanted}");
    }
}

#[test]
fn what_rests_and_what_is_another_scene_is_left_alone() {
    let (outcome, _) = beyond(&texture(3.0), &texture(3.0), 0.5);
    assert_eq!(outcome, Outcome::Last);
    let dark = Owned::painted(Format::Gray8, SIZE, 0, |_, x, y| {
        0.1 * ((0.7 * x).sin() * (0.9 * y).cos()).abs()
    });
    let settings = Settings {
        scene_threshold: 0.1,
        ..Settings::default()
    };
    let (outcome, _) = beyond_with(&texture(3.0), &dark, 0.5, &settings);
    assert_eq!(outcome, Outcome::Cut);
}

#[test]
fn a_time_that_is_none_is_an_error() {
    let mut interpolator = interpolator(Format::Gray8, SIZE);
    let pictures = [texture(0.0), texture(2.0)];
    let [l, r] = pictures.each_ref().map(Owned::picture);
    let encoded = [&l, &r].map(|p| interpolator.encode(p).unwrap());
    let settings = Settings::default();
    for ahead in [-0.5, f32::NAN, f32::INFINITY] {
        let mut out = Owned::new(Format::Gray8, SIZE, 0);
        let beyond = Beyond {
            ahead,
            taken_back: 0.0,
        };
        let (left, right) = ((&l, &*encoded[0]), (&r, &*encoded[1]));
        let target = &mut out.picture_mut();
        let result = interpolator.extrapolate(left, right, beyond, &settings, target);
        let error = result.unwrap_err().to_string();
        assert!(error.contains("ahead"), "{error}");
    }
}

/// Outputs between two source frames.
const OUTPUTS: usize = 4;
/// Of a period of the swing.
const SOURCES: usize = 32;

/// Where a swinging camera is at an output.
fn swing(output: usize) -> f32 {
    let period = (OUTPUTS * SOURCES) as f32;
    40.0 * (TAU * output as f32 / period).sin()
}

/// Errors of place of a period of outputs, in pixels; what was missed is `taken_back`, or jumps.
fn errors(taken_back: bool) -> Vec<f32> {
    let mut interpolator = interpolator(Format::Gray8, SIZE);
    let frames: Vec<Owned> = (0..SOURCES + 3)
        .map(|i| texture(swing(i * OUTPUTS)))
        .collect();
    let pictures: Vec<Picture> = frames.iter().map(Owned::picture).collect();
    let encoded = pictures.iter().map(|p| interpolator.encode(p).unwrap());
    let encoded: Vec<Arc<Encoded>> = encoded.collect();
    let mut errors = Vec::new();
    for last in 1..frames.len() {
        let mut pair = Pair {
            interpolator: &mut interpolator,
            left: (&pictures[last - 1], &encoded[last - 1]),
            right: (&pictures[last], &encoded[last]),
        };
        for n in 0..OUTPUTS {
            // as the scheduler says it
            let shown_before = (OUTPUTS - 1) as f32 / OUTPUTS as f32;
            let taken_back = if taken_back { shown_before } else { 0.0 };
            let (outcome, made) = pair.beyond(n as f32 / OUTPUTS as f32, taken_back);
            let shown = if outcome == Outcome::Last {
                &frames[last]
            } else {
                &made
            };
            let truth = swing(last * OUTPUTS + n);
            // the first pairs know of no motion before them
            if last > 2 {
                errors.push(apart(position(shown), truth));
            }
        }
    }
    errors
}

/// Energy at the source's rate and twice that (all a saw-tooth of four outputs has), with what the swing's own
/// frequency spreads it to.
fn saw_tooth(errors: &[f32]) -> f32 {
    let near = |rate: usize| rate - 3..=rate + 3;
    let bins = near(SOURCES).chain(near(2 * SOURCES));
    let energy = bins.map(|bin| {
        let terms = errors.iter().enumerate().map(|(n, e)| {
            let angle = TAU * (bin * n % errors.len()) as f32 / errors.len() as f32;
            [e * angle.cos(), e * angle.sin()]
        });
        let [re, im] = terms.fold([0.0; 2], |sum, t| [sum[0] + t[0], sum[1] + t[1]]);
        (re * re + im * im) / (errors.len() as f32).powi(2)
    });
    energy.sum()
}

#[test]
fn no_error_comes_and_goes_at_the_rate_of_the_source() {
    let [taken_back, jumping] = [true, false].map(errors);
    let [steady, jumps] = [&taken_back, &jumping].map(|errors| saw_tooth(errors));
    let worst = |errors: &[f32]| errors.iter().fold(0.0f32, |most, e| most.max(e.abs()));
    println!(
        "saw-tooth, square pixels: {steady}, with jumps {jumps}; worst error, pixels: {}, with jumps {}",
        worst(&taken_back),
        worst(&jumping)
    );
    assert!(steady < 0.25 * jumps, "{steady}, with jumps {jumps}");
    // a pixel and a half an interval is what the velocity changes by at most
    assert!(worst(&taken_back) < 1.5, "{}", worst(&taken_back));
}
