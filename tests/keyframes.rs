//! The program `keyframes`: the surface that its mark is painted on lies where it says.

#[path = "../examples/common/mod.rs"]
mod common;
#[allow(dead_code, reason = "the program uses all of it")]
#[path = "../examples/keyframes/surface.rs"]
mod surface;

use common::frame::Frame;
use surface::Surface;

const SIZE: (usize, usize) = (320, 180);
const FRAMES: usize = 13;
/// Pixels by which a place of the surface may be off.
const TOLERANCE: f32 = 0.25;

/// Luma of frame `n` at a place.
fn drawn(luma: impl Fn(usize, [f32; 2]) -> f32) -> Vec<Frame> {
    let frame = |n: usize| {
        let mut frame = Frame::new(SIZE.0, SIZE.1);
        let [y, ..] = frame.planes_mut();
        for (i, code) in y.iter_mut().enumerate() {
            let at = [i % SIZE.0, i / SIZE.0].map(|at| at as f32 + 0.5);
            *code = (luma(n, at) + 0.5).clamp(16.0, 235.0) as u8;
        }
        frame
    };
    (0..FRAMES).map(frame).collect()
}

/// Noise of -2 to 2 codes, another one in each frame.
fn noise(n: usize, [x, y]: [f32; 2]) -> f32 {
    let seed = (n * SIZE.1 + y as usize) * SIZE.0 + x as usize;
    let mixed = (seed as u32 ^ 0x9e37_79b9).wrapping_mul(0x85eb_ca6b);
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0xc2b2_ae35);
    (mixed >> 24) as f32 / 64.0 - 2.0
}

/// A black bar above a bright picture: its edge fits itself wherever it slides to.
fn bar([_, y]: [f32; 2]) -> f32 {
    120.0 + 80.0 * ((y - 36.0) / 2.0).tanh()
}

/// Waves in many directions, some long, some a few pixels.
fn texture([x, y]: [f32; 2]) -> f32 {
    let wave = |i: i32| {
        let angle = 2.4 * i as f32;
        let length = 7.0 * 1.25f32.powi(i);
        (std::f32::consts::TAU * (angle.cos() * x + angle.sin() * y) / length + angle).sin()
    };
    125.0 + 12.0 * (0..10).map(wave).sum::<f32>()
}

/// A camera that turns, nears and goes: where a place of frame 0 is in frame `n`.
fn moved(n: usize, [x, y]: [f32; 2]) -> [f32; 2] {
    let n = n as f32;
    let (sin, cos) = (0.006 * n).sin_cos();
    let zoom = 1.0 + 0.008 * n;
    let (x, y) = (x - 160.0, y - 90.0);
    [
        160.0 + zoom * (cos * x - sin * y) + 1.3 * n,
        90.0 + zoom * (sin * x + cos * y) - 0.7 * n,
    ]
}

/// Which place of frame 0 it is.
fn moved_back(n: usize, [x, y]: [f32; 2]) -> [f32; 2] {
    let n = n as f32;
    let (sin, cos) = (0.006 * n).sin_cos();
    let zoom = 1.0 + 0.008 * n;
    let (x, y) = ((x - 160.0 - 1.3 * n) / zoom, (y - 90.0 + 0.7 * n) / zoom);
    [160.0 + cos * x + sin * y, 90.0 - sin * x + cos * y]
}

/// By how many pixels of frame 0 the surface is off, at the worst place of its block.
fn worst(surface: &Surface, moved: impl Fn(usize, [f32; 2]) -> [f32; 2]) -> f32 {
    let unit = surface.local(0, [1.0, 1.0]);
    let zero = surface.local(0, [0.0, 0.0]);
    let mut worst = 0.0f32;
    for i in 0..SIZE.0 * SIZE.1 {
        let at = [i % SIZE.0, i / SIZE.0].map(|at| at as f32);
        let own = surface.local(0, at);
        if own.iter().any(|v| !(0.0..=1.0).contains(v)) {
            continue;
        }
        for n in 1..FRAMES {
            let found = surface.local(n, moved(n, at));
            let off = [0, 1].map(|c| (found[c] - own[c]) / (unit[c] - zero[c]));
            worst = worst.max(off[0].hypot(off[1]));
        }
    }
    worst
}

#[test]
fn a_surface_lies_where_it_is_drawn() {
    // light that changes is no motion
    let light = |n: usize| 1.0 - 0.02 * n as f32;
    let frames = drawn(|n, at| light(n) * texture(moved_back(n, at)));
    let surface = Surface::find(&frames).expect("a plane");
    let off = worst(&surface, moved);
    assert!(off < TOLERANCE, "{off} pixels off");
}

#[test]
fn an_edge_fits_better_but_tells_less_than_a_surface() {
    let frames = drawn(|n, at| {
        let picture = match at[1] < 72.0 {
            true => bar(at),
            false => 100.0 + 0.25 * texture(moved_back(n, at)),
        };
        picture + noise(n, at)
    });
    let surface = Surface::find(&frames).expect("a plane");
    let off = worst(&surface, moved);
    assert!(off < TOLERANCE, "{off} pixels off");
}

#[test]
fn an_edge_alone_is_no_surface() {
    let frames = drawn(|n, at| bar(at) + noise(n, at));
    assert!(Surface::find(&frames).is_none());
}

#[test]
fn what_bends_is_no_surface() {
    let bent = |n: usize, [x, y]: [f32; 2]| {
        let by = 0.25 * n as f32;
        [x + by * (0.25 * y).sin(), y + by * (0.25 * x).sin()]
    };
    let smooth = |[x, y]: [f32; 2]| texture([0.3 * x, 0.3 * y]);
    let frames = drawn(|n, at| smooth(bent(n, moved_back(n, at))));
    assert!(Surface::find(&frames).is_none());
}

#[test]
fn what_stands_still_is_not_painted_on() {
    assert!(Surface::find(&drawn(|_, at| texture(at))).is_none());
}
