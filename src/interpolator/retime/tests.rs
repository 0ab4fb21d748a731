//! Masks over noise and over grey squares.

use super::*;
use crate::network::Variant;
use crate::picture::owned::{Noise, Owned};

const SIZE: (u32, u32) = (75, 46);

/// Noise: nothing can be told from it by chance.
struct Scene {
    engine: Interpolator,
    sources: [Owned; 2],
}

impl Scene {
    fn new(format: Format, size: (u32, u32)) -> Self {
        let network = Variant::Fast.network().unwrap();
        let mut noise = Noise::new(7);
        let mut source = || Owned::new(format, size, 3).noise(&mut noise);
        let sources = [source(), source()];
        let engine = Interpolator::new(network, format, size.0, size.1, 2).unwrap();
        Self { engine, sources }
    }

    /// The picture with `retiming`; without one, as it is at `phase`.
    fn make(&mut self, phase: f32, retiming: Option<Retiming>) -> Owned {
        let sources = &self.sources;
        let mut made = Owned::new(sources[0].format, sources[0].size, 5);
        let pictures = sources.each_ref().map(Owned::picture);
        let encoded = pictures.each_ref().map(|p| self.engine.encode(p).unwrap());
        let sides = [0, 1].map(|i| (&pictures[i], &*encoded[i]));
        let settings = Settings {
            scene_threshold: 0.0,
            ..Settings::default()
        };
        let mut out = made.picture_mut();
        let outcome = match retiming {
            Some(how) => self
                .engine
                .retime(None, sides[0], sides[1], &how, &settings, &mut out),
            None => {
                let phase = PhaseMap::Uniform(phase);
                let engine = &mut self.engine;
                engine.interpolate(sides[0], sides[1], &phase, &settings, &mut out)
            }
        };
        assert_eq!(outcome.unwrap(), Outcome::Interpolated);
        made.assert_guarded("made");
        made
    }
}

fn retiming<'a>(masks: [&'a [u8]; 2], width: usize, distances: &'a [(u8, f32)]) -> Retiming<'a> {
    let labels = masks.map(|data| Labels::new(width, data.len() / width, data).ok());
    Retiming {
        phase: 0.4,
        labels,
        distances,
        held: &[],
    }
}

#[test]
fn a_label_that_is_everywhere_is_the_picture_at_its_distance_in_every_format() {
    for format in Format::ALL {
        let mut scene = Scene::new(format, SIZE);
        let wanted = scene.make(0.7, None);
        for label in [0, 1, 255] {
            let masks = [[label; 6], [label; 6]];
            let distances = [(label, 0.7)];
            let how = retiming([&masks[0], &masks[1]], 3, &distances);
            let made = scene.make(0.4, Some(how));
            let same = made.picture().same_samples(&wanted.picture());
            assert!(same, "{format:?}, label {label}");
        }
    }
}

#[test]
fn a_held_label_is_the_nearer_picture_to_the_bit() {
    for (phase, side) in [(0.4, 0), (0.6, 1)] {
        for format in [Format::I420, Format::P010, Format::Rgb, Format::Yuy2] {
            let mut scene = Scene::new(format, SIZE);
            // the left half, with a little more around it
            let mask = [9, 0];
            let how = Retiming {
                phase,
                held: &[9],
                ..retiming([&mask, &mask], 2, &[])
            };
            let made = scene.make(phase, Some(how));
            let plain = scene.make(phase, None);
            for c in format.components() {
                for y in 0..c.height(SIZE.1 as usize) {
                    for x in 0..c.width(SIZE.0 as usize) {
                        let at = x << c.sub_x;
                        let wanted = match at {
                            0..37 => &scene.sources[side],
                            // traces of what is held may be anywhere that motion leads to
                            _ => continue,
                        };
                        assert_eq!(made.code(c, x, y), wanted.code(c, x, y), "{format:?}");
                    }
                }
            }
            assert!(!made.picture().same_samples(&plain.picture()));
        }
    }
}

#[test]
fn labels_that_nothing_is_said_of_change_nothing() {
    let mut scene = Scene::new(Format::I420, SIZE);
    let plain = scene.make(0.4, None);
    let masks = [[0, 1, 2, 3], [3, 2, 1, 0]];
    for distances in [&[][..], &[(7, 0.9)], &[(1, 0.4), (2, 0.4)]] {
        let made = scene.make(0.4, Some(retiming([&masks[0], &masks[1]], 2, distances)));
        assert!(
            made.picture().same_samples(&plain.picture()),
            "{distances:?}"
        );
    }
}

#[test]
fn masks_and_pictures_may_have_any_size() {
    for size in [(1, 1), (2, 3), (17, 9), (64, 2), (5, 70)] {
        let mut scene = Scene::new(Format::I420, size);
        for width in [1, 2, 200] {
            let masks = [
                vec![1; 3 * width],
                (0..3 * width).map(|i| i as u8 % 3).collect(),
            ];
            for distances in [&[(1, 0.0), (2, 1.0)][..], &[(0, 0.9)]] {
                let [left, right] = masks.each_ref().map(Vec::as_slice);
                let both = retiming([left, right], width, distances);
                let held = &[2];
                scene.make(0.4, Some(Retiming { held, ..both }));
                for labels in [[both.labels[0], None], [None, both.labels[1]]] {
                    scene.make(0.4, Some(Retiming { labels, ..both }));
                }
            }
        }
    }
}

#[test]
fn distances_are_those_of_labels_that_are_there() {
    let masks = [[0, 1, 2], [3, 4, 5]];
    let distances = [(4, 0.1), (9, 0.2), (1, 0.7), (3, 0.1), (2, 0.4)];
    let how = Retiming {
        held: &[5],
        ..retiming([&masks[0], &masks[1]], 3, &distances)
    };
    let (rest, groups) = how.groups();
    let groups: Vec<_> = groups.iter().map(|g| (&g.labels[..], g.distance)).collect();
    assert_eq!(rest, 0.4);
    assert_eq!(groups, [(&[4, 3][..], 0.1), (&[1][..], 0.7)]);
    // where the background has one, the others keep to the phase
    let how = retiming([&masks[0], &masks[1]], 3, &[(0, 0.9), (5, 0.9), (2, 0.3)]);
    let (rest, groups) = how.groups();
    let groups: Vec<_> = groups.iter().map(|g| (&g.labels[..], g.distance)).collect();
    assert_eq!(rest, 0.9);
    assert_eq!(groups, [(&[1, 3, 4][..], 0.4), (&[2][..], 0.3)]);
}

#[test]
fn a_mask_of_another_length_is_refused_with_its_numbers() {
    for (width, height, data) in [(4, 2, &[0; 7][..]), (0, 0, &[]), (usize::MAX, 2, &[0])] {
        let error = Labels::new(width, height, data).unwrap_err().to_string();
        assert!(error.contains(&format!("{width}x{height}")), "{error}");
    }
}
