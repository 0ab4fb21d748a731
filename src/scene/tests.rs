use super::*;
use crate::interpolator::DEFAULT_SCENE_THRESHOLD as CUT;

const SIZE: (usize, usize) = (160, 90);

/// What is drawn at a place: luma, U, V, -0.5 to 0.5.
type Color = [f32; 3];

/// A picture as rows of a view.
fn picture(color: impl Fn(f32, f32) -> Color) -> Thumbnail {
    let view: Vec<f32> = (0..SIZE.0 * SIZE.1)
        .flat_map(|i| {
            let [l, u, v] = color((i % SIZE.0) as f32, (i / SIZE.0) as f32);
            [l, l, l, l, u, v].map(|v| v.clamp(-0.5, 0.5))
        })
        .collect();
    let mut thumbnail = Thumbnail::new(SIZE.0, SIZE.1);
    thumbnail.fill(view.chunks(CHANNELS * SIZE.0));
    thumbnail
}

/// Things of several sizes, each of one brightness and colour, before clouds; different for each
/// `seed`.
fn scene(seed: u32, x: f32, y: f32) -> Color {
    let clouds = |size: f32, which: u32| noise(x / size, y / size, seed * 8 + which);
    let step = |v: f32| (12.0 * v).clamp(-1.0, 1.0);
    let things = 0.5 * step(clouds(24.0, 0)) + 0.4 * step(clouds(11.0, 1));
    [
        0.4 * (things + 0.6 * clouds(5.0, 2)),
        0.06 * step(clouds(20.0, 3)),
        0.06 * step(clouds(20.0, 4)),
    ]
}

/// Smooth noise of one cell a unit, -1 to 1.
fn noise(x: f32, y: f32, seed: u32) -> f32 {
    let (left, top) = (x.floor(), y.floor());
    let node = |dx: f32, dy: f32| {
        let at = ((left + dx) as i32 as u32).wrapping_mul(0x9e37_79b1)
            ^ ((top + dy) as i32 as u32).wrapping_mul(0x85eb_ca77)
            ^ seed.wrapping_mul(0xc2b2_ae3d);
        let at = (at ^ (at >> 15)).wrapping_mul(0x2c1b_3c6d);
        let at = (at ^ (at >> 12)).wrapping_mul(0x297a_2d39);
        (at ^ (at >> 15)) as f32 / u32::MAX as f32 * 2.0 - 1.0
    };
    let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
    let (tx, ty) = (smooth(x - left), smooth(y - top));
    let mix = |a: f32, b: f32, t: f32| a + t * (b - a);
    let upper = mix(node(0.0, 0.0), node(1.0, 0.0), tx);
    mix(upper, mix(node(0.0, 1.0), node(1.0, 1.0), tx), ty)
}

fn still(seed: u32) -> Thumbnail {
    picture(|x, y| scene(seed, x, y))
}

/// Six scenes, each scored against itself after `change`.
fn changed(change: impl Fn(f32, f32, Color) -> Color) -> impl Iterator<Item = f64> {
    let changed = move |seed| picture(|x, y| change(x, y, scene(seed, x, y)));
    (0..6).map(move |seed| score(&still(seed), &changed(seed)))
}

#[track_caller]
fn assert_no_cut(scores: impl Iterator<Item = f64>) {
    for (seed, score) in scores.enumerate() {
        assert!(score < 0.9 * CUT, "scene {seed}: {score}");
    }
}

fn toward(color: Color, end: Color, weight: f32) -> Color {
    std::array::from_fn(|i| color[i] + weight * (end[i] - color[i]))
}

const WHITE: Color = [0.5, 0.0, 0.0];
const BLACK: Color = [-0.44, 0.0, 0.0];

#[test]
fn a_picture_is_no_stranger_to_itself() {
    for seed in 0..6 {
        assert!(score(&still(seed), &still(seed)) < 0.03, "{seed}");
    }
}

#[test]
fn strangers_are_a_cut() {
    for a in 0..6 {
        for b in 0..a {
            let score = score(&still(a), &still(b));
            assert!(score > CUT, "{a} and {b}: {score}");
        }
    }
}

#[test]
fn strangers_without_color_are_a_cut() {
    let grey = |seed| picture(|x, y| [scene(seed, x, y)[0], 0.0, 0.0]);
    for a in 0..6 {
        for b in 0..a {
            let score = score(&grey(a), &grey(b));
            assert!(score > CUT, "{a} and {b}: {score}");
        }
    }
}

#[test]
fn strangers_of_one_brightness_are_told_by_color() {
    let colors = |seed| picture(|x, y| [0.0, scene(seed, x, y)[1], scene(seed, x, y)[2]]);
    assert!(score(&colors(1), &colors(1)) < 0.1);
    let score = score(&colors(1), &colors(2));
    assert!(score > CUT, "{score}");
}

#[test]
fn motion_is_no_cut() {
    // A pan by a twenty-fifth of the width, a zoom by a tenth, a turn by three degrees.
    let moved = |to: fn(f32, f32) -> (f32, f32)| {
        (0..6).map(move |seed| {
            let after = picture(|x, y| {
                let (x, y) = to(x, y);
                scene(seed, x, y)
            });
            score(&still(seed), &after)
        })
    };
    assert_no_cut(moved(|x, y| (x + 6.0, y - 3.0)));
    assert_no_cut(moved(|x, y| (x * 1.1 - 8.0, y * 1.1 - 4.5)));
    assert_no_cut(moved(|x, y| {
        let (sin, cos) = 0.05f32.sin_cos();
        let (dx, dy) = (x - 80.0, y - 45.0);
        (80.0 + cos * dx - sin * dy, 45.0 + sin * dx + cos * dy)
    }));
}

#[test]
fn a_swing_of_the_camera_is_no_cut() {
    // Up to a third of the width, the shutter open for half of the time.
    for by in [-52.0, -30.0, 30.0, 52.0f32] {
        let shot = |seed, time: f32| {
            picture(|x, y| {
                let mut sum = [0.0; 3];
                for step in 0..16 {
                    let at = x + by * (time + step as f32 / 32.0);
                    let color = scene(seed, at, y);
                    (0..3).for_each(|i| sum[i] += color[i] / 16.0);
                }
                sum
            })
        };
        assert_no_cut((0..6).map(|seed| score(&shot(seed, 0.0), &shot(seed, 1.0))));
    }
}

#[test]
fn a_flash_is_no_cut() {
    for weight in [0.3, 0.6, 0.9, 1.0] {
        assert_no_cut(changed(|_, _, color| toward(color, WHITE, weight)));
    }
    // Cut off at white, where colour goes too.
    for gain in [1.5, 2.5, 4.0f32] {
        assert_no_cut(changed(|_, _, [l, u, v]| {
            let l = (l + 0.5) * gain;
            let left = 1.0 / l.max(1.0);
            [l.min(1.0) - 0.5, u * left, v * left]
        }));
    }
}

#[test]
fn a_flash_of_a_part_is_no_cut() {
    assert_no_cut(changed(|x, _, color| {
        if x < 70.0 {
            toward(color, WHITE, 0.9)
        } else {
            color
        }
    }));
    assert_no_cut(changed(|x, y, color| {
        let inside = ((40.0 - (x - 60.0).hypot(y - 50.0)) / 10.0).clamp(0.0, 1.0);
        toward(color, WHITE, inside)
    }));
}

#[test]
fn a_fade_is_no_cut() {
    for end in [BLACK, WHITE] {
        for at in 0..8 {
            let faded =
                |seed, at: i32| picture(|x, y| toward(scene(seed, x, y), end, at as f32 / 8.0));
            assert_no_cut((0..6).map(|seed| score(&faded(seed, at), &faded(seed, at + 1))));
        }
    }
}

#[test]
fn a_dissolve_is_no_cut() {
    for at in 0..8 {
        let mixed = |seed, at: i32| {
            picture(|x, y| toward(scene(seed, x, y), scene(seed + 1, x, y), at as f32 / 8.0))
        };
        assert_no_cut((0..6).map(|seed| score(&mixed(seed, at), &mixed(seed, at + 1))));
    }
}

#[test]
fn noise_without_contrast_is_no_cut() {
    let dark = |seed| picture(|x, y| scene(seed, x, y).map(|v| 0.005 * v));
    let score = score(&dark(1), &dark(2));
    assert!(score < 0.6 * CUT, "{score}");
}

#[test]
fn a_thumbnail_of_one_value_is_never_a_cut() {
    let one = |value: f32| {
        let mut thumbnail = Thumbnail::new(1, 1);
        thumbnail.fill([[value; CHANNELS].as_slice()].into_iter());
        thumbnail
    };
    assert_eq!(score(&one(-0.5), &one(0.5)), 0.0);
    assert_eq!(one(0.5).mean(), 0.5);
}

#[test]
fn the_mean_is_that_of_luma_and_padding_is_left_out() {
    let rows = [[0.1, 0.2, 0.3, 0.4, -0.5, 0.5, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0]; 3];
    let mut thumbnail = Thumbnail::new(1, 3);
    thumbnail.fill(rows.iter().map(|row| row.as_slice()));
    assert!((thumbnail.mean() - 0.25).abs() < 1e-6);
}

#[test]
fn a_thumbnail_of_means_is_that_of_the_view() {
    let (w, h) = (7, 5);
    let mean = |i: usize| (i * 37 % 64) as f32 / 64.0 - 0.5;
    let cells = (0..w * h).map(|i| [3 * i, 3 * i + 1, 3 * i + 2].map(mean));
    let view: Vec<f32> = cells
        .clone()
        .flat_map(|[y, u, v]| [y, y, y, y, u, v])
        .collect();
    let [mut want, mut found] = [(); 2].map(|()| Thumbnail::new(w, h));
    want.fill(view.chunks(w * CHANNELS));
    found.fill_means(cells.flatten());
    assert_eq!(found.cells.values, want.cells.values);
    assert_eq!(found.half.values, want.half.values);
}

#[test]
fn a_thumbnail_is_small_whatever_the_shape() {
    for (w, h) in [(1, 4096), (4096, 1), (4096, 2160), (65, 64), (3, 5), (2, 2)] {
        let mut t = Thumbnail::new(w, h);
        let larger = t.cells.width.max(t.cells.height);
        assert!(larger <= LONGER_SIDE, "{w}x{h}");
        let row = vec![0.25; w * CHANNELS];
        t.fill((0..h).map(|_| row.as_slice()));
        assert_eq!(score(&t, &t), 0.0, "{w}x{h}");
    }
}

/// What each cell of a picture has, by its column and row.
type Draw = fn(usize, usize) -> Color;

/// Values from -0.5 to 0.5 that have nothing to do with each other.
fn random(x: usize, y: usize, seed: u32) -> Color {
    [0, 1, 2].map(|plane| 0.5 * noise(x as f32, y as f32, 3 * seed + plane))
}

/// A texture of a thousandth before the far ends of the range.
fn steps(x: usize, y: usize, seed: u32) -> Color {
    let end = if (x + seed as usize) % 20 < 9 {
        -0.4
    } else {
        0.4
    };
    random(x, y, seed).map(|v| end + 0.001 * v)
}

const DRAWN: [(&str, Draw, Draw); 10] = [
    ("random", |x, y| random(x, y, 1), |x, y| random(x, y, 2)),
    (
        "moved",
        |x, y| random(x, y, 1),
        |x, y| random(x + 2, y + 1, 1),
    ),
    (
        "swung",
        |x, y| scene_at(x, y, 1),
        |x, y| scene_at(x + 17, y + 3, 1),
    ),
    (
        "strangers",
        |x, y| scene_at(x, y, 1),
        |x, y| scene_at(x, y, 2),
    ),
    ("flat", |_, _| [0.3, -0.3, 0.1], |_, _| [-0.5, 0.5, 0.4]),
    ("half flat", |x, y| random(x, y, 1), |_, _| [0.3, -0.3, 0.1]),
    (
        "nearly flat",
        |x, y| random(x, y, 1).map(|v| 0.4 + 0.003 * v),
        |x, y| random(x, y, 2).map(|v| 0.002 * v - 0.4),
    ),
    ("steps", |x, y| steps(x, y, 1), |x, y| steps(x, y, 4)),
    (
        "one dot",
        |x, y| {
            if (x, y) == (9, 9) {
                [0.5; 3]
            } else {
                [-0.5; 3]
            }
        },
        |x, y| {
            if (x, y) == (11, 8) {
                [0.5; 3]
            } else {
                [-0.5; 3]
            }
        },
    ),
    (
        "chess",
        |x, y| {
            if (x + y) % 2 == 0 {
                [0.5; 3]
            } else {
                [-0.5; 3]
            }
        },
        |x, y| {
            if (x + y) % 3 == 0 {
                [0.5; 3]
            } else {
                [-0.5; 3]
            }
        },
    ),
];

fn scene_at(x: usize, y: usize, seed: u32) -> Color {
    scene(seed, 2.5 * x as f32, 2.5 * y as f32)
}

/// Thumbnails of this size that have what is drawn.
fn drawn((width, height): (usize, usize), draw: Draw) -> Thumbnail {
    let mut thumbnail = Thumbnail::new(width, height);
    let places = (0..width * height).map(|i| (i % width, i / width));
    thumbnail.fill_means(places.flat_map(|(x, y)| draw(x, y)));
    thumbnail
}

/// Width and height of thumbnails, with blocks of many sides.
const SIZES: [(usize, usize); 8] = [
    (64, 36),
    (36, 64),
    (54, 30),
    (64, 64),
    (33, 17),
    (64, 1),
    (3, 5),
    (1, 1),
];

/// What rounding may lose of a score.
const LOST: f64 = 1e-5;
/// The same of a correlation and, in parts of the area, of evidence: it has the root of a variance, which may be next to nothing.
const LOST_OF_MATCH: f64 = 3e-5;
/// The same where the part of a block that stays inside is flat and far from the block's mean: products of up to 4 in single
/// precision beside a noise of 3e-4.
const LOST_OF_STEPS: f64 = 2e-3;
/// Columns and rows that blocks are moved by, up to half of one out of the picture and further.
const MOVED: [isize; 10] = [-30, -9, -8, -7, -3, 0, 1, 5, 8, 17];

#[test]
fn every_comparison_is_as_it_is_defined() {
    for size in SIZES {
        for (what, left, right) in DRAWN {
            let lost = match what {
                "steps" => LOST_OF_STEPS,
                _ => LOST_OF_MATCH,
            };
            let [left, right] = [left, right].map(|draw| drawn(size, draw).cells);
            for block in left.blocks() {
                for shift in MOVED.iter().flat_map(|y| MOVED.map(|x| (x, *y))) {
                    let found = left.compare(&right, block, shift);
                    let found = found.map(|m| [m.correlation, m.area, m.evidence].map(f64::from));
                    let want = reference::compare(&left, &right, &block.area, shift);
                    let what = format!("{what} {size:?} {:?} by {shift:?}", block.area);
                    assert_eq!(found.is_some(), want.is_some(), "{what}");
                    let Some((found, want)) = found.zip(want) else {
                        continue;
                    };
                    let lost = [lost, f64::MIN_POSITIVE, LOST_OF_MATCH * want[1]];
                    let is_close = (0..3).all(|i| (found[i] - want[i]).abs() < lost[i]);
                    assert!(is_close, "{what}: {found:?} for {want:?}");
                }
            }
        }
    }
}

#[test]
fn scores_are_as_they_are_defined() {
    for size in SIZES {
        for (what, left, right) in DRAWN {
            let [left, right] = [left, right].map(|draw| drawn(size, draw));
            let (found, want) = (score(&left, &right), reference::score(&left, &right));
            assert!(
                (found - want).abs() < LOST,
                "{what} {size:?}: {found} for {want}"
            );
        }
    }
}

/// Run with `--ignored --nocapture` on a quiet machine.
#[test]
#[ignore = "a measurement"]
fn time_of_a_score() {
    let best = |what: &str, run: &mut dyn FnMut()| {
        let times = (0..200).map(|_| {
            let start = std::time::Instant::now();
            run();
            start.elapsed().as_secs_f64()
        });
        println!("{what}: {:.3} ms", times.fold(f64::MAX, f64::min) * 1e3);
    };
    let pictures = [1, 1, 2].map(still);
    let mut sum = 0.0;
    best("neighbours", &mut || {
        sum += score(&pictures[0], &pictures[1])
    });
    best("strangers", &mut || {
        sum += score(&pictures[0], &pictures[2])
    });
    let (width, height) = (640, 360);
    let view = vec![0.1f32; width * height * CHANNELS];
    let mut thumbnail = Thumbnail::new(width, height);
    best("thumbnail of 1280x720", &mut || {
        thumbnail.fill(view.chunks(width * CHANNELS));
    });
    assert!(sum > 0.0);
}
