//! The number of threads: as many as asked for, and no difference in the picture.

use gstvideointerpolate::interpolator::{Interpolator, Outcome, Settings};
use gstvideointerpolate::kernels::PhaseMap;
use gstvideointerpolate::network::Network;
use gstvideointerpolate::picture::{Color, Format, Picture, PictureMut};

const WIDTH: usize = 203;
const HEIGHT: usize = 117;

/// A texture moved by `d` pixels.
fn texture(d: f32) -> Vec<u8> {
    (0..WIDTH * HEIGHT)
        .map(|i| ((i % WIDTH) as f32 + d, (i / WIDTH) as f32))
        .map(|(x, y)| 128.0 + 50.0 * (0.3 * x + 0.2 * y).sin() + 40.0 * (0.4 * y - 0.1 * x).cos())
        .map(|v| v as u8)
        .collect()
}

/// The picture between two that lie 6 pixels apart, made by `threads`.
fn middle(threads: usize) -> Vec<u8> {
    let (w, h) = (WIDTH as u32, HEIGHT as u32);
    let (color, network) = (Color::BT709, Network::embedded().unwrap());
    let mut interpolator = Interpolator::new(network, Format::Gray8, w, h, threads).unwrap();
    let sides = [texture(-3.0), texture(3.0)];
    let [left, right] = sides.each_ref().map(|data| {
        let planes = [(data.as_slice(), WIDTH as isize)];
        Picture::new(Format::Gray8, w, h, color, &planes).unwrap()
    });
    let encoded = [&left, &right].map(|p| interpolator.encode(p).unwrap());
    let mut made = vec![0; WIDTH * HEIGHT];
    let settings = Settings {
        scene_threshold: 0.0,
        ..Settings::default()
    };
    let planes = &mut [(made.as_mut_slice(), WIDTH as isize)];
    let mut out = PictureMut::new(Format::Gray8, w, h, planes).unwrap();
    let outcome = interpolator
        .interpolate(
            (&left, &encoded[0]),
            (&right, &encoded[1]),
            &PhaseMap::Uniform(0.4),
            &settings,
            &mut out,
        )
        .unwrap();
    assert_eq!(outcome, Outcome::Interpolated);
    made
}

#[test]
fn no_threads_are_started_but_those_asked_for() {
    middle(1);
    middle(2);
    // rayon's threads for all the machine start with their first use, and cannot be made then.
    assert!(
        rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build_global()
            .is_ok()
    );
}

#[test]
fn all_interpolators_of_a_process_share_their_threads() {
    use gstvideointerpolate::kernels::Context;
    let pool = |threads| std::ptr::from_ref(Context::new(threads).unwrap().pool());
    let kept = [0, 3].map(|threads| Context::new(threads).unwrap());
    let all = std::thread::available_parallelism().unwrap().get();
    assert_eq!(pool(0), std::ptr::from_ref(kept[0].pool()));
    assert_eq!(pool(all), pool(0));
    assert_eq!(pool(3), std::ptr::from_ref(kept[1].pool()));
    assert_eq!(kept[1].pool().current_num_threads(), 3);
}

#[test]
fn the_number_of_threads_does_not_change_the_picture() {
    let one = middle(1);
    for threads in [2, 3, 8] {
        let other = middle(threads);
        let differs = one.iter().zip(&other).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{threads} threads");
    }
}
