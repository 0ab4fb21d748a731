use crate::interpolator::{
    After, Coherence, Encoded, Findings, Interpolator, Motion, Options, Settings,
};
use crate::kernels::coherence::{MEASURED, REGION, measure};
use crate::kernels::testing::Random;
use crate::kernels::{Context, PhaseMap};
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

/// Waves in squares of 48 pixels, each of which goes somewhere else; so long that no level of the search has lost them.
fn pieces(n: f32) -> Vec<u8> {
    let place = |i: usize| (i % SIZE.0, i / SIZE.0);
    let luma = |(x, y): (usize, usize)| {
        // of -1 to 1, another one in each square
        let own = |k: usize| (12.9 * (y / 48 * 7 + x / 48 + 31 * k) as f32).sin();
        let (u, v) = (x as f32 - 12.0 * own(0) * n, y as f32 - 12.0 * own(1) * n);
        (0.1 * u + 0.08 * v + 9.0 * own(2)).sin() + (0.16 * v - 0.06 * u + 9.0 * own(3)).sin()
    };
    let all = (0..SIZE.0 * SIZE.1).map(place).map(luma);
    all.map(|waves| (118.0 + 45.0 * waves) as u8).collect()
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
        Self::of([0.0, 1.0, 2.0].map(|n| waves(n * MOTION)), threads, scale)
    }

    fn of(frames: [Vec<u8>; 3], threads: usize, scale: Option<f32>) -> Self {
        let network = Variant::Balanced.network().unwrap();
        let (options, size) = (Options::default(), (SIZE.0 as u32, SIZE.1 as u32));
        let options = Options { scale, ..options };
        let made = Interpolator::with_options(network, Format::Gray8, size, threads, options);
        let mut interpolator = made.unwrap();
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
        let third = picture(&self.frames[2]);
        let after = (first == 0).then(|| After {
            picture: &third,
            encoded: &self.encoded[2],
            interval: 1.0,
        });
        let made_by = self
            .interpolator
            .interpolate_before(after, sides, other, &phase, settings, &mut out);
        made_by.unwrap();
        made
    }

    /// What the second estimate of the last pair was made of.
    fn second(&self) -> Vec<f32> {
        let second = self.interpolator.check.as_ref().unwrap().second.as_ref();
        values(second.unwrap().engine.found().unwrap())
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

fn values(tensor: &candle_core::Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Mean of the absolute differences.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let sum: f32 = a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum();
    sum / a.len() as f32
}

/// Two turbulent pairs.
fn turbulent() -> Shot {
    Shot::of([0.0, 1.0, 2.0].map(pieces), 2, None)
}

#[test]
fn the_second_estimate_begins_as_if_its_own_pictures_had_been_searched() {
    let mut shot = turbulent();
    for first in [0, 1] {
        shot.make(first, 0.5, &auto());
        assert!(shot.interpolator.turbulence().unwrap().again);
        let taken = shot.second();
        let second = &mut shot.interpolator.check.as_mut().unwrap().second;
        let second = second.as_mut().unwrap();
        let [left, right] = &second.features;
        second.engine.search(&left.1, &right.1, None).unwrap();
        let searched = shot.second();
        let (off, all) = (
            apart(&taken, &searched),
            apart(&searched, &vec![0.0; searched.len()]),
        );
        // its luma is a little sharper, and motion that is wild goes one way or the other for less
        assert!(off > 0.0 && off < 0.6 * all, "{off} of {all}");
    }
}

#[test]
fn the_second_estimate_is_of_the_pair_whatever_was_searched_between() {
    let follows = Settings {
        motion: Motion::Trajectory,
        ..off()
    };
    let alone = |first| {
        let mut shot = turbulent();
        shot.make(first, 0.5, &auto());
        shot.second()
    };
    let (pair, next) = (alone(0), alone(1));
    let far = apart(&pair, &next);
    // trajectories search the next pair as well, before and after this one is asked for
    let mut shot = turbulent();
    shot.make(0, 0.5, &follows);
    shot.make(0, 0.5, &auto());
    let off = apart(&shot.second(), &pair);
    assert!(off < 0.5 * far, "{off}, the next pair {far}");
    shot.make(1, 0.5, &auto());
    assert!(shot.second() == next);
    // in reverse
    shot.make(0, 0.5, &follows);
    shot.make(1, 0.5, &auto());
    let off = apart(&shot.second(), &next);
    assert!(off < 0.5 * far, "{off}, the pair before {far}");
}

#[test]
fn where_motion_is_coherent_its_map_is_there_all_the_same() {
    let mut shot = Shot::new(2, None);
    shot.make(0, 0.5, &auto());
    let found = shot.interpolator.motion_found().unwrap();
    let (h, w, _) = found.dims3().unwrap();
    let room = |channels| crate::kernels::testing::zeros(&[h, w, channels]);
    let measured = room(MEASURED);
    measure(&Context::new(1).unwrap(), found, &room(REGION), &measured).unwrap();
    let Some(Findings::Motion { incoherence, .. }) = shot.interpolator.findings() else {
        panic!("no motion");
    };
    let wanted = values(&measured.narrow(2, 0, 1).unwrap());
    assert!(values(incoherence.unwrap()) == wanted);
    let mean = wanted.iter().sum::<f32>() / wanted.len() as f32;
    let told = shot.interpolator.turbulence().unwrap().incoherence;
    assert!((told - mean).abs() < 0.1 * mean, "{told}, {mean}");
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
