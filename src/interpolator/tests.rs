//! Pictures that the network sees at half their size, and a change of the network.

use super::*;
use crate::kernels::raster::Source as Values;
use crate::network::Variant;
use crate::picture::Color;

const COLOR: Color = Color::BT709;

/// Grey waves, moved to the right by `d` pixels.
fn waves(width: usize, height: usize, d: f32) -> Vec<u8> {
    let place = |i: usize| ((i % width) as f32 - d, (i / width) as f32);
    (0..width * height)
        .map(place)
        .map(|(x, y)| 40.0 * (0.11 * x + 0.05 * y).sin() + 40.0 * (0.09 * y - 0.06 * x).cos())
        .map(|v| (128.0 + v) as u8)
        .collect()
}

fn picture(data: &[u8], width: usize, height: usize) -> Picture<'_> {
    let planes = [(data, width as isize)];
    Picture::new(Format::Gray8, width as u32, height as u32, COLOR, &planes).unwrap()
}

fn interpolator(variant: Variant, size: (usize, usize), scale: f32) -> Interpolator {
    let options = Options {
        scale: Some(scale),
        ..Options::default()
    };
    let size = (size.0 as u32, size.1 as u32);
    let network = variant.network().unwrap();
    Interpolator::with_options(network, Format::Gray8, size, 2, options).unwrap()
}

/// The picture at `phase` between waves `d` pixels apart.
fn between(
    interpolator: &mut Interpolator,
    (width, height): (usize, usize),
    d: f32,
    phase: &PhaseMap,
) -> Vec<u8> {
    let sides = [waves(width, height, 0.0), waves(width, height, d)];
    let [left, right] = sides.each_ref().map(|data| picture(data, width, height));
    let [l, r] = [&left, &right].map(|p| interpolator.encode(p).unwrap());
    let mut made = vec![0; width * height];
    let planes = &mut [(made.as_mut_slice(), width as isize)];
    let mut out = PictureMut::new(Format::Gray8, width as u32, height as u32, planes).unwrap();
    let settings = Settings::default();
    let outcome = interpolator.interpolate((&left, &l), (&right, &r), phase, &settings, &mut out);
    assert_eq!(outcome.unwrap(), Outcome::Interpolated);
    made
}

/// Mean absolute error away from the edges, in codes.
fn error(made: &[u8], truth: &[u8], width: usize) -> f64 {
    let inner = |i: &usize| (32..width - 32).contains(&(i % width));
    let places: Vec<usize> = (32 * width..made.len() - 32 * width)
        .filter(inner)
        .collect();
    let sum: f64 = places
        .iter()
        .map(|&i| f64::from(made[i].abs_diff(truth[i])))
        .sum();
    sum / places.len() as f64
}

#[test]
fn a_large_picture_is_seen_at_half_its_size_and_made_at_its_own() {
    let size = (320, 184);
    for d in [6.0, 18.0] {
        let truth = waves(size.0, size.1, d / 4.0);
        let plane = Tensor::full(0.25f32, (184 / 8, 320 / 8), &Device::Cpu).unwrap();
        for phase in [PhaseMap::Uniform(0.25), PhaseMap::Plane(plane)] {
            let mut halved = interpolator(Variant::Balanced, size, 0.5);
            let made = between(&mut halved, size, d, &phase);
            let error = error(&made, &truth, size.0);
            assert!(error < 1.5, "{d} pixels: an error of {error}");
            let Some(Findings::Motion { flow, .. }) = halved.findings() else {
                panic!("no motion");
            };
            assert_eq!(flow.dims(), [184 / 4, 320 / 4, 4]);
            // in pixels of the picture, not of the half-size one
            let flow = Values::lock(flow);
            let to_left = flow.raster().unwrap().at(23, 40)[0];
            assert!((to_left + d / 4.0).abs() < 0.3, "{d} pixels: {to_left}");
        }
    }
}

#[test]
fn any_size_can_be_seen_at_half_of_it() {
    for size in [
        (1, 1),
        (2, 3),
        (7, 5),
        (17, 9),
        (33, 31),
        (64, 2),
        (101, 67),
    ] {
        let mut halved = interpolator(Variant::High, size, 0.5);
        between(&mut halved, size, 1.0, &PhaseMap::Uniform(0.5));
    }
}

#[test]
fn motion_in_large_pictures_is_sought_at_half_the_resolution() {
    let automatic = Options::default();
    let lines = Variant::ALL.map(|variant| variant.network().unwrap().lines());
    assert_eq!(lines, [720, 1440, 1440]);
    for (size, scales) in [
        ((720, 1280), [1.0, 1.0, 1.0]),
        ((1080, 1920), [0.5, 1.0, 1.0]),
        ((1440, 2560), [0.5, 1.0, 1.0]),
        ((1441, 2560), [0.5; 3]),
        ((3840, 2160), [0.5; 3]),
        ((2160, 700), [1.0, 1.0, 1.0]),
        ((2160, 1000), [0.5, 1.0, 1.0]),
    ] {
        assert_eq!(
            lines.map(|lines| automatic.scale(size, lines)),
            scales,
            "{size:?}"
        );
        let fixed = Options {
            scale: Some(2.0),
            ..automatic
        };
        assert_eq!(fixed.scale(size, 1), 2.0);
    }
}

#[test]
fn after_a_change_of_the_network_all_is_as_if_it_had_been_there_from_the_start() {
    // in the larger one some networks see pictures at half their size
    for size in [(203, 117), (737, 741)] {
        let (width, height) = size;
        let phase = PhaseMap::Uniform(0.4);
        let automatic = |variant: Variant| {
            let network = variant.network().unwrap();
            let (w, h) = (width as u32, height as u32);
            Interpolator::new(network, Format::Gray8, w, h, 2).unwrap()
        };
        let mut changed = automatic(Variant::High);
        between(&mut changed, size, 5.0, &phase);
        for variant in Variant::ALL {
            let data = waves(width, height, 0.0);
            let old = changed.encode(&picture(&data, width, height)).unwrap();
            assert!(changed.fits(&old));
            changed.set_network(variant.network().unwrap()).unwrap();
            assert!(!changed.fits(&old));
            let made = between(&mut changed, size, 3.0, &phase);
            let wanted = between(&mut automatic(variant), size, 3.0, &phase);
            let differs = made.iter().zip(&wanted).position(|(a, b)| a != b);
            assert_eq!(differs, None, "{variant:?} at {size:?}");
        }
    }
}

// the second pair knows of the first one's motion
#[test]
fn a_plane_of_one_phase_is_that_phase_to_the_bit() {
    let (width, height) = (181, 99);
    let frames = [0.0, 4.0, 9.0].map(|d| waves(width, height, d));
    let pictures = frames.each_ref().map(|f| picture(f, width, height));
    for (scale, level) in [1.0, 0.5]
        .into_iter()
        .flat_map(|scale| [0.3f32, 0.5, 2.0 / 3.0].map(|p| (scale, p)))
    {
        let phases = |plane: bool| {
            let mut interpolator = interpolator(Variant::Balanced, (width, height), scale);
            let (h, w, _) = interpolator.view.dims3().unwrap();
            let phase = match plane {
                true => PhaseMap::Plane(Tensor::full(level, (h / 4, w / 4), &Device::Cpu).unwrap()),
                false => PhaseMap::Uniform(level),
            };
            let encoded = pictures.each_ref().map(|p| interpolator.encode(p).unwrap());
            let mut made = Vec::new();
            for i in 0..2 {
                let mut data = vec![0; width * height];
                let planes = &mut [(data.as_mut_slice(), width as isize)];
                let mut out =
                    PictureMut::new(Format::Gray8, width as u32, height as u32, planes).unwrap();
                let sides = [i, i + 1].map(|k| (&pictures[k], &*encoded[k]));
                let settings = Settings::default();
                interpolator
                    .interpolate(sides[0], sides[1], &phase, &settings, &mut out)
                    .unwrap();
                made.push(data);
            }
            made
        };
        assert!(
            phases(true) == phases(false),
            "scale {scale}, phase {level}"
        );
    }
}
