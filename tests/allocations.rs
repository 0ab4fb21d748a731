//! After the first pair nothing is allocated that grows with the picture.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use gstvideointerpolate::interpolator::{Interpolator, SceneAction, Settings};
use gstvideointerpolate::kernels::PhaseMap;
use gstvideointerpolate::network::Network;
use gstvideointerpolate::picture::{Color, Format, Picture, PictureMut};

/// Counts what is asked for while it is told to.
struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static LARGE: AtomicUsize = AtomicUsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

/// Bytes from which an allocation might be one that grows with the picture; candle's and rayon's
/// own bookkeeping stays below.
const LARGE_BYTES: usize = 4096;

fn count(bytes: usize) {
    if COUNTS.load(Ordering::Relaxed) {
        LARGEST.fetch_max(bytes, Ordering::Relaxed);
        if bytes >= LARGE_BYTES {
            LARGE.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: all is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller's promises.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WIDTH: usize = 640;
const HEIGHT: usize = 360;

/// Frame `n` of a moving texture, planes one after the other.
fn frame(n: usize) -> Vec<u8> {
    let mut data = vec![128; WIDTH * HEIGHT * 3 / 2];
    for (i, v) in data[..WIDTH * HEIGHT].iter_mut().enumerate() {
        let (x, y) = ((i % WIDTH + 3 * n) as f32, (i / WIDTH) as f32);
        *v = (128.0 + 40.0 * (0.1 * x).sin() + 40.0 * (0.07 * y + 0.02 * x).cos()) as u8;
    }
    data
}

fn picture(data: &[u8]) -> Picture<'_> {
    let (y, uv) = data.split_at(WIDTH * HEIGHT);
    let (u, v) = uv.split_at(WIDTH * HEIGHT / 4);
    let half = WIDTH as isize / 2;
    let planes = [(y, WIDTH as isize), (u, half), (v, half)];
    Picture::new(
        Format::I420,
        WIDTH as u32,
        HEIGHT as u32,
        Color::BT709,
        &planes,
    )
    .unwrap()
}

fn picture_mut(data: &mut [u8]) -> PictureMut<'_> {
    let (y, uv) = data.split_at_mut(WIDTH * HEIGHT);
    let (u, v) = uv.split_at_mut(WIDTH * HEIGHT / 4);
    let half = WIDTH as isize / 2;
    let mut planes = [(y, WIDTH as isize), (u, half), (v, half)];
    PictureMut::new(Format::I420, WIDTH as u32, HEIGHT as u32, &mut planes).unwrap()
}

#[test]
fn nothing_large_is_allocated_after_the_first_pair() {
    let network = Network::embedded().unwrap();
    let (w, h) = (WIDTH as u32, HEIGHT as u32);
    let mut interpolator = Interpolator::new(network, Format::I420, w, h, 2).unwrap();
    let frames: Vec<_> = (0..6).map(frame).collect();
    let mut out = vec![0; WIDTH * HEIGHT * 3 / 2];
    let mut left = interpolator.encode(&picture(&frames[0])).unwrap();
    for (n, pair) in frames.windows(2).enumerate() {
        COUNTS.store(n >= 1, Ordering::Relaxed);
        let right = interpolator.encode(&picture(&pair[1])).unwrap();
        for (phase, scene_threshold) in [(0.25, 0.45), (0.5, 0.0), (0.75, 1e-9)] {
            let settings = Settings {
                scene_threshold,
                scene_action: SceneAction::Blend,
                ..Settings::default()
            };
            interpolator
                .interpolate(
                    (&picture(&pair[0]), &left),
                    (&picture(&pair[1]), &right),
                    &PhaseMap::Uniform(phase),
                    &settings,
                    &mut picture_mut(&mut out),
                )
                .unwrap();
        }
        left = right;
    }
    COUNTS.store(false, Ordering::Relaxed);
    let (large, largest) = (
        LARGE.load(Ordering::Relaxed),
        LARGEST.load(Ordering::Relaxed),
    );
    assert_eq!(
        large, 0,
        "allocations of {LARGE_BYTES} bytes or more; the largest: {largest}"
    );
    assert!(largest > 0, "nothing was counted at all");
}
