//! Motion along trajectories: where things are on uneven ways, and what plays no part.

use gstvideointerpolate::interpolator::{
    After, Encoded, Findings, Interpolator, Motion, Outcome, Settings,
};
use gstvideointerpolate::kernels::PhaseMap;
use gstvideointerpolate::network::Network;
use gstvideointerpolate::picture::{Color, Format, Picture, PictureMut};
use std::sync::Arc;

const WIDTH: usize = 256;
const HEIGHT: usize = 160;
/// Pixels that are not looked at beside the edge, where things come in.
const EDGE: usize = 48;

/// Grey without a period, moved by (x, y) pixels.
fn texture([dx, dy]: [f32; 2]) -> Vec<u8> {
    (0..WIDTH * HEIGHT)
        .map(|i| ((i % WIDTH) as f32 - dx, (i / WIDTH) as f32 - dy))
        .map(|(x, y)| {
            let fine = (0.31 * x + 0.11 * y).sin() + (0.23 * y - 0.0011 * x * x).cos();
            let coarse = (0.071 * x - 0.05 * y + 0.0004 * y * y).sin();
            (128.0 + 35.0 * fine + 40.0 * coarse) as u8
        })
        .collect()
}

fn picture(data: &[u8]) -> Picture<'_> {
    let planes = [(data, WIDTH as isize)];
    let (width, height) = (WIDTH as u32, HEIGHT as u32);
    Picture::new(Format::Gray8, width, height, Color::BT709, &planes).unwrap()
}

/// An engine and frames to make others from.
struct Shot {
    engine: Interpolator,
    frames: Vec<Vec<u8>>,
    encoded: Vec<Arc<Encoded>>,
}

impl Shot {
    fn new(frames: Vec<Vec<u8>>) -> Self {
        Self::on(frames, 2)
    }

    fn on(frames: Vec<Vec<u8>>, threads: usize) -> Self {
        let (width, height) = (WIDTH as u32, HEIGHT as u32);
        let network = Network::embedded().unwrap();
        let mut engine = Interpolator::new(network, Format::Gray8, width, height, threads).unwrap();
        let encode = |data: &Vec<u8>| engine.encode(&picture(data)).unwrap();
        let encoded = frames.iter().map(encode).collect();
        Self {
            engine,
            frames,
            encoded,
        }
    }

    /// A texture at these places.
    fn of(places: &[[f32; 2]]) -> Self {
        Self::new(places.iter().map(|place| texture(*place)).collect())
    }

    /// What is between frame `i` and the next, with the frame `after` that one.
    fn make(&mut self, i: usize, after: Option<usize>, phase: f32, motion: Motion) -> Vec<u8> {
        let sides = [i, i + 1].map(|i| picture(&self.frames[i]));
        let next = after.map(|k| (picture(&self.frames[k]), &self.encoded[k]));
        let after = next.as_ref().map(|(picture, encoded)| After {
            picture,
            encoded,
            interval: 1.0,
        });
        let settings = Settings {
            motion,
            ..Settings::default()
        };
        let mut made = vec![0; WIDTH * HEIGHT];
        let planes = &mut [(made.as_mut_slice(), WIDTH as isize)];
        let mut out = PictureMut::new(Format::Gray8, WIDTH as u32, HEIGHT as u32, planes).unwrap();
        let outcome = self.engine.interpolate_before(
            after,
            (&sides[0], &self.encoded[i]),
            (&sides[1], &self.encoded[i + 1]),
            &PhaseMap::Uniform(phase),
            &settings,
            &mut out,
        );
        assert_eq!(outcome.unwrap(), Outcome::Interpolated);
        made
    }

    /// How far the thing has gone from the left frame in the picture made last: mean away from the edge, pixels.
    fn gone(&self) -> [f32; 2] {
        let Some(Findings::Motion { flow, .. }) = self.engine.findings() else {
            panic!("no motion");
        };
        let inner = |side: usize| (EDGE / 4, side / 4 - 2 * (EDGE / 4));
        let (rows, columns) = (inner(HEIGHT), inner(WIDTH));
        let flow = flow.narrow(0, rows.0, rows.1).unwrap();
        let flow = flow.narrow(1, columns.0, columns.1).unwrap();
        [0, 1].map(|c| {
            let part = flow.narrow(2, c, 1).unwrap().contiguous().unwrap();
            -part.mean_all().unwrap().to_scalar::<f32>().unwrap()
        })
    }
}

/// The largest distance from the true place between frames 1 and 2 of four, pixels.
fn off(path: impl Fn(f32) -> [f32; 2], motion: Motion) -> f32 {
    let mut shot = Shot::of(&[-1.0, 0.0, 1.0, 2.0].map(&path));
    shot.make(0, Some(2), 0.5, motion);
    let mut most = 0.0f32;
    for phase in [0.25, 0.5, 0.75] {
        shot.make(1, Some(3), phase, motion);
        let (gone, from, to) = (shot.gone(), path(0.0), path(phase));
        most = most.max((gone[0] - to[0] + from[0]).hypot(gone[1] - to[1] + from[1]));
    }
    most
}

#[test]
fn thrown_turning_and_swinging_things_are_where_they_belong() {
    let check = |what: &str, path: &dyn Fn(f32) -> [f32; 2]| {
        let [even, bent] = [Motion::Linear, Motion::Trajectory].map(|motion| off(path, motion));
        assert!(bent < 0.25, "{what}: {bent} px off, linear {even}");
        assert!(bent < even, "{what}: {bent} px off, linear {even}");
    };
    check("thrown", &|t| [9.0 * t, 3.0 * t * t - 2.0 * t]);
    check("turning", &|t| {
        [14.0 * (0.6 * t).sin(), 14.0 * (0.6 * t).cos()]
    });
    check("swinging", &|t| [16.0 * (0.6 * t + 0.5).sin(), 0.0]);
}

const UNEVEN: [[f32; 2]; 5] = [
    [0.0, 0.0],
    [4.0, 1.0],
    [10.0, 1.0],
    [19.0, 2.0],
    [30.0, 2.0],
];

#[test]
fn what_was_found_looking_ahead_is_what_a_search_finds() {
    let mut one = Shot::of(&UNEVEN);
    one.make(0, Some(2), 0.5, Motion::Trajectory);
    let ahead = one.make(1, Some(3), 0.5, Motion::Trajectory);
    let mut other = Shot::of(&UNEVEN);
    other.make(0, None, 0.5, Motion::Linear);
    assert!(ahead == other.make(1, Some(3), 0.5, Motion::Trajectory));
    // backwards in time, the pair after this one is the one before
    let mut back = Shot::of(&UNEVEN);
    back.make(2, Some(4), 0.5, Motion::Trajectory);
    let back = back.make(1, Some(3), 0.5, Motion::Trajectory);
    let fresh = Shot::of(&UNEVEN).make(1, Some(3), 0.5, Motion::Trajectory);
    assert!(back == fresh);
}

#[test]
fn phases_of_a_pair_come_in_any_order() {
    let mut shot = Shot::of(&UNEVEN);
    let first = shot.make(1, Some(3), 0.25, Motion::Trajectory);
    shot.make(1, Some(3), 0.75, Motion::Trajectory);
    assert!(first == shot.make(1, Some(3), 0.25, Motion::Trajectory));
}

#[test]
fn linear_motion_does_not_look_at_the_frame_after() {
    let mut one = Shot::of(&UNEVEN);
    one.make(0, Some(2), 0.5, Motion::Trajectory);
    let with = one.make(1, Some(3), 0.5, Motion::Linear);
    let mut other = Shot::of(&UNEVEN);
    other.make(0, None, 0.5, Motion::Linear);
    assert!(with == other.make(1, None, 0.5, Motion::Linear));
    // nor does it when the pair was made along trajectories before
    assert!(with != other.make(1, Some(3), 0.5, Motion::Trajectory));
    assert!(with == other.make(1, Some(3), 0.5, Motion::Linear));
}

#[test]
fn a_frame_behind_a_cut_or_the_same_once_more_tells_nothing() {
    let mut frames: Vec<_> = UNEVEN[..3].iter().map(|place| texture(*place)).collect();
    frames.push(frames[2].clone());
    let dark = (0..WIDTH * HEIGHT).map(|i| if i / WIDTH % 40 < 20 { 0 } else { 235 });
    frames.push(dark.collect());
    let make = |after| Shot::new(frames.clone()).make(1, after, 0.5, Motion::Trajectory);
    let alone = make(None);
    assert!(alone == make(Some(3)), "the same once more");
    assert!(alone == make(Some(4)), "a cut");
}

#[test]
fn the_number_of_threads_makes_no_difference() {
    let frames = || UNEVEN.iter().map(|place| texture(*place)).collect();
    let made = [1, 3].map(|threads| {
        let mut shot = Shot::on(frames(), threads);
        shot.make(0, Some(2), 0.5, Motion::Trajectory);
        shot.make(1, Some(3), 0.4, Motion::Trajectory)
    });
    assert!(made[0] == made[1]);
}
