use super::displacement::{displacement, row_of_cells};
use super::plane::between;
use super::*;
use crate::error::Error;
use crate::kernels::testing::{Random, contexts};
use crate::picture::Component;
use crate::picture::owned::{Noise, Owned};

/// Waves in several directions, 0 to 1; the value of a place.
fn texture(x: f32, y: f32) -> f32 {
    let waves = [
        (0.31, 0.05),
        (0.11, 0.29),
        (-0.17, 0.23),
        (0.05, -0.07),
        (0.61, 0.37),
    ];
    let sum: f32 = waves.iter().map(|(u, v)| (u * x + v * y).sin()).sum();
    0.5 + 0.09 * sum
}

/// A picture whose components are `value` of their places, in pixels.
fn drawn(format: Format, size: (u32, u32), value: impl Fn(&Component, f32, f32) -> f32) -> Owned {
    let mut owned = Owned::new(format, size, 3);
    for c in format.components() {
        for y in 0..c.height(size.1 as usize) {
            for x in 0..c.width(size.0 as usize) {
                let scale = [c.sub_x, c.sub_y].map(|sub| (1 << sub) as f32);
                let value = value(c, x as f32 * scale[0], y as f32 * scale[1]);
                let code = (value.clamp(0.0, 1.0) * c.max() as f32 + 0.5) as u32;
                c.store(owned.row(c.plane, y), x, code);
            }
        }
    }
    owned
}

fn moving(format: Format, size: (u32, u32), by: f32) -> Owned {
    drawn(format, size, |_, x, y| texture(x - by, y + 0.5 * by))
}

/// More contrast.
fn curve(value: f32) -> f32 {
    value + 0.12 * (std::f32::consts::TAU * (value - 0.5)).sin()
}

fn styled(format: Format, size: (u32, u32), by: f32) -> Owned {
    drawn(format, size, |_, x, y| curve(texture(x - by, y + 0.5 * by)))
}

fn propagator(format: Format, size: (u32, u32)) -> Propagator {
    Propagator::new(Network::embedded().unwrap(), format, size, 2).unwrap()
}

/// Root mean square of the differences of component 0, codes of 8 bits, away from the edge.
fn error(a: &Owned, b: &Owned, margin: usize) -> f32 {
    let c = &a.format.components()[0];
    let (w, h) = (a.size.0 as usize, a.size.1 as usize);
    let (mut sum, mut count) = (0.0, 0);
    for y in margin..h - margin {
        for x in margin..w - margin {
            let [a, b] = [a, b].map(|o| o.code(c, x, y) as f32);
            sum += ((a - b) * 255.0 / c.max() as f32).powi(2);
            count += 1;
        }
    }
    (sum / count as f32).sqrt()
}

struct Shown(usize, Owned);

impl Frame for &Shown {
    type Error = Error;

    fn read<T>(&self, f: impl FnOnce(&Picture) -> Result<T>) -> Result<T> {
        f(&self.1.picture())
    }
}

/// All frames but the keyframes, with their numbers, how many keyframes they are made from, and their residuals.
fn run(
    frames: &[Shown],
    looks: &[(usize, Shown)],
    lookahead: usize,
    settings: &Settings,
) -> Vec<(usize, usize, Owned, Vec<f32>)> {
    let (format, size) = (frames[0].1.format, frames[0].1.size);
    let mut sequence = Sequence::new(propagator(format, size), lookahead);
    let mut made = Vec::new();
    for frame in frames {
        let mut jobs = Vec::new();
        match looks.iter().find(|(n, _)| *n == frame.0) {
            Some((_, look)) => jobs.extend(sequence.keyframe(&frame, &look).unwrap()),
            None => jobs.extend(sequence.push(frame).unwrap()),
        }
        if frame.0 + 1 == frames.len() {
            jobs.extend(std::iter::from_fn(|| sequence.release()));
        }
        for job in jobs {
            let mut out = Owned::new(format, size, 5);
            let source = job.frame.1.picture();
            let residuals = match job.is_plain() {
                true => out.picture_mut().copy_from(&source).map(|()| Vec::new()),
                false => sequence.make(&job, &source, settings, &mut out.picture_mut()),
            };
            out.assert_guarded("made");
            made.push((job.frame.0, job.keyframes(), out, residuals.unwrap()));
        }
    }
    made
}

const SIZE: (u32, u32) = (96, 72);

fn clip(count: usize) -> Vec<Shown> {
    let frame = |n: usize| Shown(n, moving(Format::I420, SIZE, 1.7 * n as f32));
    (0..count).map(frame).collect()
}

fn look(n: usize) -> (usize, Shown) {
    (n, Shown(n, styled(Format::I420, SIZE, 1.7 * n as f32)))
}

#[test]
fn ways_one_after_the_other_add_up() {
    let (context, _) = contexts();
    let field = |f: &dyn Fn(f32, f32) -> [f32; 2]| {
        let mut field = Field::still((12, 16));
        for (i, flow) in field.flow.iter_mut().enumerate() {
            *flow = f((i % 16) as f32, (i / 16) as f32);
        }
        field
    };
    let (first, second) = (
        field(&|_, _| [1.5, -0.5]),
        field(&|x, y| [0.25 * x, 0.125 * y]),
    );
    let both = first.then(&context, &second);
    let at = both.row(5)[4];
    assert_eq!(at, [1.5 + 0.25 * 5.5, -0.5 + 0.125 * 4.5]);
    // beyond the edge the edge
    assert_eq!(both.row(5)[15][0], 1.5 + 0.25 * 15.0);
    let read = Field::read(&first.tensor().unwrap()).unwrap();
    assert_eq!(read, first);
}

#[test]
fn cells_move_what_lies_in_them() {
    let (context, _) = contexts();
    let mut by = Field::still((4, 5));
    by.flow.iter_mut().for_each(|flow| *flow = [3.0, -1.0]);
    let moved = Field::still((8, 10)).moved(&context, &by);
    // a sample of a field has two pixels
    assert!(moved.flow.iter().all(|flow| *flow == [1.5, -0.5]));
}

#[test]
fn a_mean_is_that_of_what_is_inside() {
    let (context, _) = contexts();
    let mut noise = Noise::new(1);
    for (width, height) in [(1, 1), (3, 2), (9, 1), (17, 12)] {
        let mut plane = Plane::new(width, height);
        plane.data.iter_mut().for_each(|v| *v = noise.unit());
        let mean = plane.mean(&context, 2);
        for (i, found) in mean.data.iter().enumerate() {
            let (x, y) = (i % width, i / width);
            let near = |j: &usize| (j % width).abs_diff(x) < 3 && (j / width).abs_diff(y) < 3;
            let around: Vec<f32> = (0..width * height)
                .filter(near)
                .map(|j| plane.data[j])
                .collect();
            let want = around.iter().sum::<f32>() / around.len() as f32;
            assert!((found - want).abs() < 1e-5, "{width}x{height}, {x}, {y}");
        }
    }
}

#[test]
fn between_samples_a_straight_line_is_straight() {
    let mut plane = Plane::new(9, 7);
    for (i, value) in plane.data.iter_mut().enumerate() {
        *value = 0.1 * (i % 9) as f32 - 0.05 * (i / 9) as f32;
    }
    for (x, y) in [(2.0, 3.0), (3.25, 2.5), (5.9, 3.1)] {
        let want = 0.1 * x - 0.05 * y;
        let place = plane.place([x, y]);
        assert!((plane.bilinear(place) - want).abs() < 1e-6);
        assert!((plane.cubic(place) - want).abs() < 1e-6);
    }
    // at the edge the last sample goes on, in all versions alike
    let wide = Plane {
        width: 13,
        height: 11,
        data: (0..11 * 13)
            .map(|i| {
                let (x, y) = ((i % 13).clamp(2, 10) - 2, (i / 13).clamp(2, 8) - 2);
                plane.row(y)[x] * plane.row(y)[x]
            })
            .collect(),
    };
    plane.data.iter_mut().for_each(|v| *v *= *v);
    for (x, y) in [(0.0, 0.0), (0.4, 5.7), (7.8, 0.1), (8.0, 6.0), (4.5, 2.5)] {
        let near = plane.cubic(plane.place([x, y]));
        let far = wide.cubic(wide.place([x + 2.0, y + 2.0]));
        assert!((near - far).abs() < 1e-6, "{x}, {y}: {near} and {far}");
        let (of_row, whole) = (plane.row_at(y), plane.bilinear(plane.place([x, y])));
        assert!((between(&of_row, x) - whole).abs() < 1e-6, "{x}, {y}");
    }
    for wild in [f32::NAN, f32::INFINITY, -1e30] {
        let place = plane.place([wild; 2]);
        assert!(plane.bilinear(place).is_finite() && plane.cubic(place).is_finite());
        assert!(between(&plane.row_at(wild), wild).is_finite());
    }
}

#[test]
fn places_of_a_row_are_what_the_flow_says_at_each() {
    let mut random = Random(3);
    let (height, width) = (9, 13);
    let mut field = Field::still((height, width));
    field
        .flow
        .fill_with(|| [0; 2].map(|_| 4.0 * random.value()));
    for component in &Format::I420.components()[..2] {
        let size = [component.sub_x, component.sub_y].map(|sub| (1 << sub) as f32);
        let mut places = vec![[0.0; 2]; component.width(2 * width)];
        for y in 0..component.height(2 * height) {
            field.places(component, y, &mut places);
            for (x, place) in places.iter().enumerate() {
                let cell = |at: usize, size: f32| (at as f32 + 0.5) * size / 2.0 - 0.5;
                let flow = field.at(cell(x, size[0]), cell(y, size[1]));
                for (c, at) in [x, y].into_iter().enumerate() {
                    let want = at as f32 + 2.0 * flow[c] / size[c];
                    assert!(
                        (place[c] - want).abs() < 1e-5,
                        "{x}, {y}: {place:?}, {want}"
                    );
                }
            }
        }
    }
}

/// [`displacement`]'s sums of a cell, sample by sample.
fn sums_of_cell(still: &Plane, moved: &Plane, i: usize, j: usize) -> [f32; 8] {
    let (width, height) = (still.width, still.height);
    let mut sums = [0.0; 8];
    for (y, x) in (4 * i..4 * i + 4).flat_map(|y| (4 * j..4 * j + 4).map(move |x| (y, x))) {
        if y < height && x < width {
            let at = |y: usize, x: usize| still.row(y.min(height - 1))[x.min(width - 1)];
            let gx = 0.5 * (at(y, x + 1) - at(y, x.saturating_sub(1)));
            let gy = 0.5 * (at(y + 1, x) - at(y.saturating_sub(1), x));
            let d = moved.row(y)[x] - at(y, x);
            let products = [gx, gy, d, gx * gx, gx * gy, gy * gy, gx * d, gy * d];
            (0..8).for_each(|c| sums[c] += products[c] / 16.0);
        }
    }
    sums
}

#[test]
fn sums_of_a_row_of_cells_are_those_of_each() {
    let mut random = Random(9);
    for (width, height) in [(1, 1), (2, 3), (5, 4), (17, 9)] {
        let [still, moved] = [0; 2].map(|_| {
            let mut plane = Plane::new(width, height);
            plane.data.fill_with(|| random.value());
            plane
        });
        for i in 0..height.div_ceil(4) {
            // one cell more than there are samples for
            let mut cells = vec![[0.0; 8]; width.div_ceil(4) + 1];
            row_of_cells(&still, &moved, i, &mut cells);
            for (j, found) in cells.iter().enumerate() {
                let want = sums_of_cell(&still, &moved, i, j);
                let apart = found.iter().zip(want).map(|(a, b)| (a - b).abs());
                assert!(
                    apart.fold(0.0, f32::max) < 1e-6,
                    "{width}x{height}, {i}, {j}"
                );
            }
        }
    }
}

#[test]
fn a_style_gives_its_keyframe_on_its_own_source() {
    let (context, _) = contexts();
    let (source, look) = (
        moving(Format::I420, SIZE, 0.0),
        styled(Format::I420, SIZE, 0.0),
    );
    let [source, look] = [&source, &look].map(|p| style::planes(&context, &p.picture()));
    for (source, look) in source.iter().zip(&look) {
        let style = Style::new(&context, source, look);
        for (i, want) in look.data.iter().enumerate() {
            let found = style.gain.data[i] * source.data[i] + style.offset.data[i];
            assert!((found - want).abs() < 1e-6);
            // what a curve does to a value it does everywhere
            assert!((style.curve(source.data[i]) - want).abs() < 0.012);
        }
    }
}

#[test]
fn a_curve_goes_on_where_the_keyframe_shows_nothing() {
    let (context, _) = contexts();
    let mut source = Plane::new(4, 1);
    source.data = vec![0.25, 0.25, 0.5, 0.5];
    let mut look = source.clone();
    look.data = vec![0.5, 0.5, 0.6, 0.6];
    let style = Style::new(&context, &source, &look);
    for (value, want) in [
        (0.0, 0.5),
        (0.25, 0.5),
        (0.375, 0.55),
        (0.5, 0.6),
        (1.0, 0.6),
    ] {
        assert!((style.curve(value) - want).abs() < 1e-6, "{value}");
    }
}

#[test]
fn a_displacement_is_found() {
    let (context, _) = contexts();
    let drawn = |dx: f32, dy: f32| {
        let mut plane = Plane::new(64, 48);
        for (i, value) in plane.data.iter_mut().enumerate() {
            *value = texture((i % 64) as f32 + dx, (i / 64) as f32 + dy);
        }
        plane
    };
    for (dx, dy) in [(0.3, -0.2), (-0.5, 0.4), (0.0, 0.0)] {
        let (found, sure) = displacement(&context, &drawn(0.0, 0.0), &drawn(dx, dy), (12, 16));
        for (i, [x, y]) in found.flow.iter().enumerate() {
            let inside = (2..14).contains(&(i % 16)) && (2..10).contains(&(i / 16));
            let far = (x - dx).hypot(y - dy);
            assert!(!inside || far < 0.12, "({dx}, {dy}), cell {i}: {far} off");
            assert!(!inside || sure.data[i] > 0.5, "cell {i}: {}", sure.data[i]);
        }
    }
    let flat = Plane::new(64, 48);
    let (found, sure) = displacement(&context, &flat, &flat, (12, 16));
    assert!(found.flow.iter().all(|flow| *flow == [0.0; 2]));
    assert!(sure.data.iter().all(|sure| *sure == 0.0));
}

#[test]
fn frames_get_the_look_of_the_keyframes_at_both_sides() {
    let looks = [look(0), look(6)];
    let made = run(&clip(7), &looks, 12, &Settings::default());
    let numbers: Vec<(usize, usize)> = made.iter().map(|m| (m.0, m.1)).collect();
    assert_eq!(numbers, [(1, 2), (2, 2), (3, 2), (4, 2), (5, 2)]);
    for (n, _, made, _) in &made {
        let truth = styled(Format::I420, SIZE, 1.7 * *n as f32);
        let far = error(made, &truth, 4);
        assert!(far < 2.0, "frame {n}: {far} codes off");
        let source = moving(Format::I420, SIZE, 1.7 * *n as f32);
        assert!(error(&source, &truth, 4) > 8.0, "the look changes nothing");
    }
}

#[test]
fn one_keyframe_alone_works() {
    for first in [0, 2] {
        let made = run(&clip(6), &[look(first)], 0, &Settings::default());
        assert_eq!(made.len(), 5);
        for (n, keyframes, made, _) in &made {
            assert_eq!(*keyframes, usize::from(*n > first), "frame {n}");
            let truth = match n > &first {
                true => styled(Format::I420, SIZE, 1.7 * *n as f32),
                false => moving(Format::I420, SIZE, 1.7 * *n as f32),
            };
            let far = error(made, &truth, 4);
            assert!(far < 2.5, "frame {n}: {far} codes off");
        }
    }
}

#[test]
fn frames_before_the_first_keyframe_have_the_one_after() {
    let made = run(&clip(5), &[look(4)], 12, &Settings::default());
    let numbers: Vec<(usize, usize)> = made.iter().map(|m| (m.0, m.1)).collect();
    assert_eq!(numbers, [(0, 1), (1, 1), (2, 1), (3, 1)]);
    for (n, _, made, _) in &made {
        let far = error(made, &styled(Format::I420, SIZE, 1.7 * *n as f32), 4);
        assert!(far < 2.5, "frame {n}: {far} codes off");
    }
}

#[test]
fn no_more_frames_wait_than_may() {
    let made = run(&clip(8), &[look(0), look(7)], 3, &Settings::default());
    let numbers: Vec<(usize, usize)> = made.iter().map(|m| (m.0, m.1)).collect();
    assert_eq!(numbers, [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2)]);
}

#[test]
fn each_step_makes_the_residual_smaller() {
    let settings = Settings {
        iterations: 5,
        tolerance: 0.0,
    };
    let looks = [look(0), look(6)];
    let made = run(&clip(7), &looks, 12, &settings);
    for (n, _, _, residuals) in &made {
        assert!((1..=6).contains(&residuals.len()));
        assert!(
            residuals.is_sorted_by(|a, b| a > b),
            "frame {n}: {residuals:?}"
        );
    }
    let wide = Settings {
        tolerance: 10.0,
        ..settings
    };
    let made = run(&clip(7), &looks, 12, &wide);
    assert!(made.iter().all(|m| m.3.len() == 1), "within the tolerance");
    let none = Settings {
        iterations: 0,
        ..settings
    };
    let made = run(&clip(7), &looks, 12, &none);
    assert!(made.iter().all(|m| m.3.is_empty()));
}

#[test]
fn every_format_and_odd_sizes_can_be_made() {
    for (i, format) in Format::ALL.into_iter().enumerate() {
        let size = [(33, 21), (1, 1), (7, 18)][i % 3];
        let mut noise = Noise::new(i as u64);
        let mut picture = || Owned::new(format, size, 2).noise(&mut noise);
        let frames: Vec<Shown> = (0..3).map(|n| Shown(n, picture())).collect();
        let looks = [(0, Shown(0, picture())), (2, Shown(2, picture()))];
        let made = run(&frames, &looks, 4, &Settings::default());
        assert_eq!(made.len(), 1, "{format:?}");
    }
}

#[test]
fn a_look_is_moved_in_every_kind_of_format() {
    for format in [
        Format::Gray8,
        Format::Rgba,
        Format::P010,
        Format::Yuy2,
        Format::Gbr10,
    ] {
        let frame = |n: usize| Shown(n, moving(format, SIZE, 1.7 * n as f32));
        let frames: Vec<Shown> = (0..3).map(frame).collect();
        let looks = [(0, Shown(0, styled(format, SIZE, 0.0)))];
        for (n, _, made, _) in run(&frames, &looks, 0, &Settings::default()) {
            let far = error(&made, &styled(format, SIZE, 1.7 * n as f32), 4);
            assert!(far < 2.5, "{format:?}, frame {n}: {far} codes off");
        }
    }
}

#[test]
fn pictures_that_do_not_fit_are_refused() {
    let mut propagator = propagator(Format::I420, SIZE);
    let fit = moving(Format::I420, SIZE, 0.0);
    for other in [
        moving(Format::I420, (96, 70), 0.0),
        moving(Format::Nv12, SIZE, 0.0),
    ] {
        let refused = |e: Error| matches!(e, Error::PictureMismatch { .. });
        let (fit, other) = (fit.picture(), other.picture());
        assert!(propagator.look(&other).is_err_and(refused));
        assert!(propagator.keyframe(&fit, &other).is_err_and(refused));
        assert!(propagator.keyframe(&other, &fit).is_err_and(refused));
    }
}

#[test]
fn sizes_without_room_are_refused() {
    let new = |size| Propagator::new(Network::embedded().unwrap(), Format::Gray8, size, 1);
    let problem = |size| new(size).err().expect("an error");
    assert!(matches!(problem((0, 8)), Error::EmptyPicture { .. }));
    let large = (1 << 15, 1 << 15);
    assert!(matches!(problem(large), Error::PictureTooLarge { .. }));
}

#[test]
fn threads_do_not_matter() {
    let make = |threads: usize| {
        let network = Network::embedded().unwrap();
        let mut p = Propagator::new(network, Format::I420, SIZE, threads).unwrap();
        let (frames, look) = (clip(2), look(0).1);
        let key = p
            .keyframe(&frames[0].1.picture(), &look.1.picture())
            .unwrap();
        let looks = [&frames[0], &frames[1]].map(|f| p.look(&f.1.picture()).unwrap());
        let step = p.step(&looks[0], &looks[1]).unwrap();
        let track = p.follow(&key, None, &step, &looks[1]).unwrap();
        let side = Side {
            key: &key,
            track: &track,
            weight: 1.0,
        };
        let mut out = Owned::new(Format::I420, SIZE, 0);
        let settings = Settings::default();
        let picture = frames[1].1.picture();
        p.make(&picture, &[side], &settings, &mut out.picture_mut())
            .unwrap();
        out
    };
    assert!(make(1).picture().same_samples(&make(3).picture()));
}
