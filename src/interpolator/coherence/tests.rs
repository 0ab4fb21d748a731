use crate::interpolator::{Coherence, Encoded, Findings, Interpolator, Motion, Options, Settings};
use crate::kernels::PhaseMap;
use crate::kernels::testing::Random;
use crate::network::Variant;
use crate::picture::{Color, Format, Picture, PictureMut};

use std::sync::Arc;

const SIZE: (usize, usize) = (316, 180);
/// Pixels that things move from picture to picture.
const MOTION: f32 = 5.0;

/// Waves of several lengths, moved to the right by `d` pixels.
fn waves(d: f32) -> Vec<u8> {
    let place = |i: usize| ((i % SIZE.0) as f32 - d, (i / SIZE.0) as f32);
    (0..SIZE.0 * SIZE.1)
        .map(place)
        .map(|(x, y)| {
            let fine = 30.0 * (0.31 * x + 0.17 * y).sin() + 20.0 * (0.23 * y - 0.29 * x).cos();
            fine + 30.0 * (0.06 * x - 0.05 * y).sin()
        })
        .map(|v| (128.0 + v) as u8)
        .collect()
}

fn picture(data: &[u8]) -> Picture<'_> {
    let planes = [(data, SIZE.0 as isize)];
    let (w, h) = (SIZE.0 as u32, SIZE.1 as u32);
    Picture::new(Format::Gray8, w, h, Color::BT709, &planes).unwrap()
}

/// Three pictures, encoded.
struct Shot {
    interpolator: Interpolator,
    frames: [Vec<u8>; 3],
    encoded: Vec<Arc<Encoded>>,
}

impl Shot {
    fn new(threads: usize, scale: Option<f32>) -> Self {
        let network = Variant::Balanced.network().unwrap();
        let (options, size) = (Options::default(), (SIZE.0 as u32, SIZE.1 as u32));
        let options = Options { scale, ..options };
        let made = Interpolator::with_options(network, Format::Gray8, size, threads, options);
        let mut interpolator = made.unwrap();
        let frames = [0.0, 1.0, 2.0].map(|n| waves(n * MOTION));
        let encoded = frames
            .iter()
            .map(|f| interpolator.encode(&picture(f)).unwrap());
        let encoded = encoded.collect();
        Self {
            interpolator,
            frames,
            encoded,
        }
    }

    /// The picture between two that follow each other.
    fn make(&mut self, first: usize, phase: f32, settings: &Settings) -> Vec<u8> {
        let [left, right] = [first, first + 1].map(|i| picture(&self.frames[i]));
        let mut made = vec![0; SIZE.0 * SIZE.1];
        let planes = &mut [(made.as_mut_slice(), SIZE.0 as isize)];
        let (w, h) = (SIZE.0 as u32, SIZE.1 as u32);
        let mut out = PictureMut::new(Format::Gray8, w, h, planes).unwrap();
        let sides = (&left, &*self.encoded[first]);
        let other = (&right, &*self.encoded[first + 1]);
        let phase = PhaseMap::Uniform(phase);
        let made_by = self
            .interpolator
            .interpolate(sides, other, &phase, settings, &mut out);
        made_by.unwrap();
        made
    }

    /// Puts noise of up to four cells in place of the motion that was found last, as if the search had failed.
    fn spoil(&mut self, first: usize) {
        let shape = self.interpolator.motion_found().unwrap().dims().to_vec();
        let noise = Random(1).dense(&shape, 4.0);
        let parts = [first, first + 1].map(|i| &self.encoded[i].parts().features);
        self.interpolator.engine.assume(parts, noise).unwrap();
    }

    /// As [`Shot::make`], after the search of the pair has failed.
    fn make_spoilt(&mut self, first: usize, settings: &Settings) -> Vec<u8> {
        self.make(first, 0.5, &off());
        self.spoil(first);
        self.make(first, 0.5, settings)
    }
}

fn off() -> Settings {
    Settings {
        scene_threshold: 0.0,
        ..Settings::default()
    }
}

fn auto() -> Settings {
    Settings {
        coherence: Coherence::Auto,
        ..off()
    }
}

/// Mean absolute error of the picture half way, away from the edges, in codes.
fn error(made: &[u8], first: usize) -> f64 {
    let truth = waves((first as f32 + 0.5) * MOTION);
    let inside = |i: &usize| {
        (24..SIZE.0 - 24).contains(&(i % SIZE.0)) && (24..SIZE.1 - 24).contains(&(i / SIZE.0))
    };
    let places: Vec<usize> = (0..made.len()).filter(inside).collect();
    let off = |i: &usize| f64::from(made[*i].abs_diff(truth[*i]));
    places.iter().map(off).sum::<f64>() / places.len() as f64
}

#[test]
fn a_failed_search_is_found_out_and_made_good() {
    for first in [0, 1] {
        let good = error(&Shot::new(2, None).make(first, 0.5, &off()), first);
        let spoilt = error(&Shot::new(2, None).make_spoilt(first, &off()), first);
        let mut shot = Shot::new(2, None);
        let made = error(&shot.make_spoilt(first, &auto()), first);
        assert!(shot.interpolator.turbulence().unwrap().again);
        assert!(spoilt > 4.0 * good + 4.0, "{good} becomes {spoilt}");
        assert!(
            made < 0.25 * spoilt,
            "{good} becomes {spoilt}, {made} again"
        );
    }
}

#[test]
fn coherent_motion_is_left_as_it_is() {
    let (mut with, mut without) = (Shot::new(2, None), Shot::new(2, None));
    for first in [0, 1] {
        assert!(with.make(first, 0.5, &auto()) == without.make(first, 0.5, &off()));
        let found = with.interpolator.turbulence().unwrap();
        assert!(!found.again && found.incoherence < 0.3, "{found:?}");
        assert!(without.interpolator.turbulence().is_none());
    }
}

#[test]
fn the_same_picture_on_any_number_of_threads_and_at_every_turn() {
    let make = |threads| {
        let mut shot = Shot::new(threads, None);
        let first = shot.make_spoilt(0, &auto());
        // another phase between, and the next pair, which is turbulent as well
        shot.make(0, 0.25, &auto());
        assert!(first == shot.make(0, 0.5, &auto()));
        (first, shot.make_spoilt(1, &auto()))
    };
    let one = make(1);
    assert!(one == make(2) && one == make(5));
}

#[test]
fn it_feeds_the_confidence_and_is_to_be_seen() {
    let mean = |settings: &Settings, spoilt: bool| {
        let mut shot = Shot::new(1, None);
        match spoilt {
            true => shot.make_spoilt(0, settings),
            false => shot.make(0, 0.5, settings),
        };
        let findings = shot.interpolator.findings();
        let Some(Findings::Motion {
            confidence,
            incoherence,
            ..
        }) = findings
        else {
            panic!("{findings:?}");
        };
        let mean = |t: &candle_core::Tensor| t.mean_all().unwrap().to_scalar::<f32>().unwrap();
        (mean(confidence), incoherence.map(|map| 1.0 - mean(map)))
    };
    // with trajectories there is no second estimate: what is found is what is shown
    let follows = |settings| Settings {
        motion: Motion::Trajectory,
        ..settings
    };
    let (without, with) = (mean(&off(), true), mean(&follows(auto()), true));
    let (good, again) = (mean(&auto(), false), mean(&auto(), true));
    let all = format!("{without:?}, {with:?}, {good:?}, {again:?}");
    assert!(without.1.is_none() && with.0 != without.0, "{all}");
    // the more coherent, the more it is trusted
    assert!(with.0 < again.0 && again.0 < good.0, "{all}");
    let [bad, again, good] = [with, again, good].map(|found| found.1.unwrap());
    assert!(bad < 0.3 && good > 0.7 && again > bad + 0.2, "{all}");
}

#[test]
fn where_pictures_are_seen_at_half_their_size_turbulence_is_only_told() {
    let mut shot = Shot::new(1, Some(0.5));
    shot.make_spoilt(0, &auto());
    let found = shot.interpolator.turbulence().unwrap();
    assert!(!found.again && found.incoherence > 0.5, "{found:?}");
}

#[test]
fn it_may_be_turned_on_and_off_between_frames() {
    let mut shot = Shot::new(1, None);
    let without = shot.make_spoilt(0, &off());
    let with = shot.make(0, 0.5, &auto());
    assert!(with != without);
    assert!(without == shot.make(0, 0.5, &off()));
    assert!(shot.interpolator.turbulence().is_none());
    assert!(with == shot.make(0, 0.5, &auto()));
}
