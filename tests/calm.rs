//! Brightness and colour stay calm: made frames are as bright as their neighbours, and nothing
//! beats at the rhythm of the originals.

use gstvideointerpolate::interpolator::{Outcome, Settings};
use gstvideointerpolate::kernels::PhaseMap;
use gstvideointerpolate::picture::{Channel, Format};

#[path = "../examples/common/mod.rs"]
mod clips;
mod common;

use clips::clip::Clip;
use clips::frame::Frame;
use clips::rhythm::{Means, beat, offset};
use common::{Owned, interpolator};

/// Eight, ten and sixteen bits a sample, planar, interleaved and of three colours.
const FORMATS: [Format; 6] = [
    Format::I420,
    Format::Nv12,
    Format::I420_10,
    Format::P010,
    Format::Yuy2,
    Format::Y444,
];
const SIZE: (u32, u32) = (160, 96);
const FRAMES: usize = 16;
/// Code values of 8 bits that a mean may be off.
const TOLERANCE: f64 = 0.05;

/// xorshift.
struct Random(u64);

impl Random {
    /// -1 to 1.
    fn unit(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// What stands still, with grain of `amount` codes that is new in each frame.
fn grainy_still(format: Format, amount: f32) -> Vec<Owned> {
    let frames = (0..FRAMES as u64).map(|n| {
        let random = std::cell::RefCell::new(Random(0x9e37_79b9 + (n << 33)));
        Owned::painted(format, SIZE, 3, |channel, x, y| {
            let wave = (0.11 * x).sin() * (0.07 * y).cos() + 0.4 * (0.5 * x + 0.3 * y).sin();
            let depth = if channel == Channel::Y { 0.25 } else { 0.1 };
            0.45 + depth * wave + amount * random.borrow_mut().unit() / 255.0
        })
    });
    frames.collect()
}

/// The rendered clip, moving: a frame a `rate`-th of a second.
fn moving(format: Format, rate: f32) -> Vec<Owned> {
    let clip = Clip::new(SIZE.0 as usize, SIZE.1 as usize);
    let frames = (0..FRAMES).map(|n| in_format(&clip.at(n as f32 / rate), format));
    frames.collect()
}

/// A 4:2:0 frame in another layout or depth.
fn in_format(frame: &Frame, format: Format) -> Owned {
    let planes = frame.planes();
    Owned::painted(format, SIZE, 3, |channel, x, y| {
        let plane = match channel {
            Channel::U => 1,
            Channel::V => 2,
            _ => 0,
        };
        let (row, shift) = (frame.plane_size(plane).0, u32::from(plane > 0));
        let at = |v: f32| (v.round() as usize) >> shift;
        f32::from(planes[plane][at(y) * row + at(x)]) / 255.0
    })
}

fn means(owned: &Owned) -> Means {
    let picture = owned.picture();
    let components = owned.format.components();
    let mean = |channel: Channel| {
        let c = components.iter().find(|c| c.channel == channel).unwrap();
        let (width, height) = (c.width(SIZE.0 as usize), c.height(SIZE.1 as usize));
        let sum: u64 = (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .map(|(x, y)| u64::from(c.load(picture.row(c.plane, y), x)))
            .sum();
        sum as f64 / (width * height) as f64 * 255.0 / f64::from(c.max())
    };
    [Channel::Y, Channel::U, Channel::V].map(mean)
}

/// The means of a stream at twice the rate: originals and, between them, what is made.
fn doubled(frames: &[Owned]) -> Vec<Means> {
    let mut engine = interpolator(frames[0].format, SIZE);
    let pictures: Vec<_> = frames.iter().map(Owned::picture).collect();
    let encoded: Vec<_> = pictures.iter().map(|p| engine.encode(p).unwrap()).collect();
    let mut stream = vec![means(&frames[0])];
    let mut made = Owned::new(frames[0].format, SIZE, 5);
    for n in 1..frames.len() {
        let outcome = engine.interpolate(
            (&pictures[n - 1], &encoded[n - 1]),
            (&pictures[n], &encoded[n]),
            &PhaseMap::Uniform(0.5),
            &Settings::default(),
            &mut made.picture_mut(),
        );
        assert_eq!(outcome.unwrap(), Outcome::Interpolated, "frame {n}");
        stream.extend([means(&made), means(&frames[n])]);
    }
    stream
}

/// No line at the originals' rate above what the originals have as noise.
#[track_caller]
fn assert_no_beat(stream: &[Means], what: &str) {
    for plane in 0..3 {
        let series: Vec<f64> = stream.iter().map(|m| m[plane]).collect();
        let (line, noise) = beat(&series);
        let limit = noise.max(TOLERANCE / 5.0);
        assert!(
            line <= limit,
            "{what}, plane {plane}: {line:.4} codes at the originals' rate, noise {noise:.4}"
        );
    }
}

#[test]
fn what_stands_still_is_as_bright_as_its_neighbours() {
    for format in FORMATS {
        for grain in [0.0, 1.5, 6.0] {
            let stream = doubled(&grainy_still(format, grain));
            for made in stream.windows(3).step_by(2) {
                for (i, mean) in made[1].iter().enumerate() {
                    let off = mean - (made[0][i] + made[2][i]) / 2.0;
                    assert!(
                        off.abs() < TOLERANCE,
                        "{format:?}, grain {grain}, plane {i}: off by {off:.4} codes"
                    );
                }
            }
            assert_no_beat(&stream, &format!("{format:?}, grain {grain}"));
        }
    }
}

#[test]
fn what_moves_does_not_beat() {
    for format in FORMATS {
        let stream = doubled(&moving(format, 25.0));
        assert_no_beat(&stream, &format!("{format:?}"));
        let off = offset(&stream);
        assert!(
            off.iter().all(|v| v.abs() < TOLERANCE),
            "{format:?}: {off:.3?} codes"
        );
    }
}

#[test]
fn a_beat_of_a_tenth_of_a_code_would_be_seen() {
    let mut stream = doubled(&grainy_still(Format::I420, 1.5));
    stream
        .iter_mut()
        .skip(1)
        .step_by(2)
        .for_each(|m| m[0] += 0.1);
    let series: Vec<f64> = stream.iter().map(|m| m[0]).collect();
    let (line, noise) = beat(&series);
    assert!(
        line > 2.0 * noise.max(TOLERANCE / 5.0),
        "{line:.4}, {noise:.4}"
    );
}
