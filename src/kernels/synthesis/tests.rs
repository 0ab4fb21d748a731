use candle_core::{Device, Tensor};

use super::*;
use crate::kernels::testing::fetching;
use crate::picture::owned::{Noise, Owned};

/// A lattice for a picture, with `extra` cells beyond it as padding makes them.
fn lattice(
    size: (u32, u32),
    extra: usize,
    mut cell: impl FnMut(usize, usize) -> ([f32; 4], f32),
) -> (Tensor, Tensor) {
    let (w, h) = (
        size.0.div_ceil(4) as usize + extra,
        size.1.div_ceil(4) as usize + extra,
    );
    let (mut flow, mut mask) = (Vec::new(), Vec::new());
    for y in 0..h {
        for x in 0..w {
            let (f, m) = cell(x, y);
            flow.extend(f);
            mask.push(m);
        }
    }
    let flow = Tensor::from_vec(flow, (h, w, 4), &Device::Cpu).unwrap();
    (
        flow,
        Tensor::from_vec(mask, (h, w, 1), &Device::Cpu).unwrap(),
    )
}

/// As [`lattice`], of any kind.
pub(super) fn lattice_of(
    kind: Lattice,
    size: (u32, u32),
    extra: usize,
    cell: impl FnMut(usize, usize) -> ([f32; 4], f32),
) -> (Tensor, Tensor) {
    match kind {
        Lattice::Quarter => lattice(size, extra, cell),
        Lattice::Full => lattice((4 * size.0, 4 * size.1), extra, cell),
    }
}

pub(super) const LATTICES: [Lattice; 2] = [Lattice::Quarter, Lattice::Full];

pub(super) fn context(level: CpuLevel) -> Context {
    Context::with_level(2, level).unwrap()
}

fn compare(what: &str, fast: &Owned, plain: &Owned) {
    for p in 0..fast.format.planes() {
        for y in 0..fast.format.rows(p, fast.size.1) {
            let (f, r) = (fast.picture(), plain.picture());
            for (x, (a, b)) in f.row(p, y).iter().zip(r.row(p, y)).enumerate() {
                assert_eq!(a, b, "{what}: plane {p} row {y} byte {x}");
            }
        }
    }
}

/// Flow fields from gentle to absurd, by name.
pub(super) type CellOf = fn(&mut Noise, usize, usize) -> ([f32; 4], f32);

pub(super) fn flows() -> Vec<(&'static str, CellOf)> {
    vec![
        ("gentle", |n, x, y| {
            let f = [
                x as f32 * 0.13,
                y as f32 * -0.21,
                x as f32 * -0.11 - 3.3,
                1.7,
            ];
            (f.map(|v| v + 0.01 * n.unit()), 0.5 + 0.5 * n.unit())
        }),
        ("rough", |n, _, _| {
            (std::array::from_fn(|_| 9.0 * n.unit()), n.unit())
        }),
        ("out of the picture", |n, _, _| {
            (std::array::from_fn(|_| 300.0 * n.unit()), 2.0 * n.unit())
        }),
        ("absurd", |n, _, _| {
            let odd = [
                f32::NAN,
                f32::INFINITY,
                f32::NEG_INFINITY,
                1e30,
                -1e30,
                0.0,
                -0.0,
                1e-40,
            ];
            let mut pick = || odd[n.below(8) as usize];
            ([pick(), pick(), pick(), pick()], pick())
        }),
        ("nearly still", |n, _, _| {
            (std::array::from_fn(|_| 0.6 * n.unit()), 0.5)
        }),
        ("a fast pan", |n, x, _| {
            let at = x as f32 * 0.2;
            let f = [-700.0 + at, 1.4, 650.0 - at, -2.3];
            (f.map(|v| v + 0.1 * n.unit()), n.unit())
        }),
    ]
}

pub(super) const SIZES: [(u32, u32); 9] = [
    (1, 1),
    (2, 1),
    (1, 9),
    (5, 3),
    (8, 8),
    (17, 31),
    (64, 19),
    (131, 37),
    (2075, 25),
];

/// Fails unless both levels make the same picture and nothing else is written.
fn assert_same_bits(
    format: Format,
    size: (u32, u32),
    kind: Lattice,
    (name, cell): (&str, CellOf),
    seed: usize,
) {
    let what = format!("{format:?} {size:?} {name} {kind:?}");
    let mut noise = Noise::new(seed as u64 + 1);
    let left = Owned::new(format, size, 3).noise(&mut noise);
    let mut right = Owned::new(format, size, 5).noise(&mut noise);
    // Half of the rows are the same, so that copies happen.
    for p in 0..format.planes() {
        for y in (0..format.rows(p, size.1)).step_by(2) {
            right.row(p, y).copy_from_slice(left.picture().row(p, y));
        }
    }
    let (flow, mask) = lattice_of(kind, size, seed % 3, |x, y| cell(&mut noise, x, y));
    let made = |context: &Context, padding| {
        let mut out = Owned::new(format, size, padding);
        let (l, r) = (left.picture(), right.picture());
        let motion = (&flow, &mask, kind);
        synthesise(context, &l, &r, motion, &mut out.picture_mut()).unwrap();
        out.assert_guarded(&what);
        out
    };
    let plain = made(&context(CpuLevel::Reference), 0);
    for fast in fetching() {
        let what = format!("{what} {:?}", fast.widest());
        compare(&what, &made(&fast, 1), &plain);
    }
}

#[test]
fn fast_path_gives_the_same_bits() {
    for format in Format::ALL {
        for (s, &size) in SIZES.iter().enumerate() {
            for (flow, kind) in flows().into_iter().flat_map(|f| LATTICES.map(|k| (f, k))) {
                assert_same_bits(format, size, kind, flow, s);
            }
        }
    }
}

#[test]
fn small_pictures_of_any_width_and_height_too() {
    for format in Format::ALL {
        for length in 1..=64 {
            for size in [
                (length, 1 + length % 5),
                (1 + length % 7, length),
                (length, 64),
            ] {
                let flow = flows()[length as usize % 6];
                assert_same_bits(format, size, Lattice::Quarter, flow, length as usize);
            }
        }
    }
}

/// The picture made of a flow and a mask that are the same everywhere.
fn made_evenly(context: &Context, sides: [&Owned; 2], flow: [f32; 4], weight: f32) -> Owned {
    let (format, size) = (sides[0].format, sides[0].size);
    let (flow, mask) = lattice(size, 0, |_, _| (flow, weight));
    let mut out = Owned::new(format, size, 1);
    let [l, r] = sides.map(Owned::picture);
    let motion = (&flow, &mask, Lattice::Quarter);
    synthesise(context, &l, &r, motion, &mut out.picture_mut()).unwrap();
    out
}

#[test]
fn what_is_no_number_counts_as_nothing() {
    let mut noise = Noise::new(9);
    let [left, right] = [0, 1].map(|_| Owned::new(Format::I420, (83, 45), 3).noise(&mut noise));
    for context in levels() {
        let none = made_evenly(&context, [&left, &right], [0.0; 4], 0.0);
        let odd = made_evenly(&context, [&left, &right], [f32::NAN; 4], f32::NAN);
        compare("no number", &odd, &none);
    }
}

/// So that what is the mean of two pictures is neither brighter nor darker than they are.
#[test]
fn a_half_goes_to_the_even_code() {
    for format in [Format::Gray8, Format::I420_10] {
        let c = format.components()[0];
        let stairs = |plus: u32| {
            let mut owned = Owned::new(format, (64, 1), 0);
            (0..64).for_each(|x| c.store(owned.row(0, 0), x, 2 + 3 * x as u32 + plus));
            owned
        };
        for context in levels() {
            let out = made_evenly(&context, [&stairs(0), &stairs(1)], [0.0; 4], 0.5);
            for x in 0..64 {
                let below = 2 + 3 * x as u32;
                assert_eq!(out.code(&c, x, 0), below + below % 2, "{format:?} at {x}");
            }
        }
    }
}

/// All that the machine has.
fn levels() -> Vec<Context> {
    let mut levels = vec![context(CpuLevel::Reference)];
    levels.extend(fetching());
    levels
}

#[test]
fn a_known_shift_is_exact() {
    // The content moves by (12, 8) from left to right: a pixel of the middle came from (-6, -4).
    // Chroma of half the size moves by whole samples too.
    let (size, shift) = ((83u32, 45u32), (6usize, 4usize));
    for (context, kind) in levels()
        .into_iter()
        .flat_map(|c| LATTICES.map(|k| (c.clone(), k)))
    {
        let (flow, mask) = lattice_of(kind, size, 1, |_, _| ([-6.0, -4.0, 6.0, 4.0], 0.3));
        for format in Format::ALL {
            let mut noise = Noise::new(7);
            let scene = Owned::new(format, (size.0 + 24, size.1 + 16), 0).noise(&mut noise);
            let view = |dx: usize, dy: usize| {
                let mut owned = Owned::new(format, size, 2);
                for c in format.components() {
                    for y in 0..c.height(size.1 as usize) {
                        for x in 0..c.width(size.0 as usize) {
                            let code = scene.code(c, x + (dx >> c.sub_x), y + (dy >> c.sub_y));
                            c.store(owned.row(c.plane, y), x, code.min(c.max()));
                        }
                    }
                }
                owned
            };
            let (left, middle, right) = (view(12, 8), view(6, 4), view(0, 0));
            let mut out = Owned::new(format, size, 1);
            let (l, r) = (left.picture(), right.picture());
            synthesise(
                &context,
                &l,
                &r,
                (&flow, &mask, kind),
                &mut out.picture_mut(),
            )
            .unwrap();
            for c in format.components() {
                let (mx, my) = (shift.0 >> c.sub_x, shift.1 >> c.sub_y);
                for y in my..c.height(size.1 as usize) - my {
                    for x in mx..c.width(size.0 as usize) - mx {
                        let (found, expected) = (out.code(c, x, y), middle.code(c, x, y));
                        assert_eq!(found, expected, "{format:?} {:?} at {x},{y}", c.channel);
                    }
                }
            }
        }
    }
}

#[test]
fn what_stands_still_is_kept_bit_for_bit() {
    let size = (83, 45);
    for context in levels() {
        for format in Format::ALL {
            let mut noise = Noise::new(11);
            let left = Owned::new(format, size, 2).noise(&mut noise);
            let (flow, mask) = lattice(size, 0, |_, _| {
                (std::array::from_fn(|_| 0.49 * noise.unit()), 0.4)
            });
            let mut out = Owned::new(format, size, 0);
            let picture = left.picture();
            synthesise(
                &context,
                &picture,
                &picture,
                (&flow, &mask, Lattice::Quarter),
                &mut out.picture_mut(),
            )
            .unwrap();
            for c in format.components() {
                for y in 0..c.height(size.1 as usize) {
                    let (a, b) = (out.picture(), left.picture());
                    for x in 0..c.width(size.0 as usize) {
                        let at = x * c.step + c.offset..x * c.step + c.offset + c.size();
                        let what = format!("{format:?} {:?} at {x},{y}", c.channel);
                        assert_eq!(
                            a.row(c.plane, y)[at.clone()],
                            b.row(c.plane, y)[at],
                            "{what}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_sample_lies_between_those_it_is_made_from() {
    let size = (83, 37);
    let flows = [
        [0.0; 4],
        [3.3, -2.6, -7.25, 0.4],
        [-0.3, 0.49, 0.2, 0.1],
        [200.0, -1e6, -55.5, 31.0],
    ];
    for format in Format::ALL {
        for flow_of_all in flows {
            let mut noise = Noise::new(5);
            let left = Owned::new(format, size, 3).noise(&mut noise);
            let right = Owned::new(format, size, 0).noise(&mut noise);
            let (flow, mask) = lattice(size, 1, |_, _| (flow_of_all, 1.5 * noise.unit()));
            for context in levels() {
                let mut out = Owned::new(format, size, 1);
                let (l, r) = (left.picture(), right.picture());
                synthesise(
                    &context,
                    &l,
                    &r,
                    (&flow, &mask, Lattice::Quarter),
                    &mut out.picture_mut(),
                )
                .unwrap();
                assert_between(&out, [&left, &right], flow_of_all);
            }
        }
    }
}

/// Fails where a code is not within those of the two times 2x2 samples that the flow points at.
fn assert_between(out: &Owned, sources: [&Owned; 2], flow: [f32; 4]) {
    let place = |at: usize, flow: f32, sub: u32, length: usize| {
        let moved = (at as f32 + flow / (1 << sub) as f32).clamp(0.0, (length - 1) as f32);
        [moved as usize, (moved as usize + 1).min(length - 1)]
    };
    for c in out.format.components() {
        let (width, height) = (c.width(out.size.0 as usize), c.height(out.size.1 as usize));
        for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
            let mut codes = Vec::new();
            for (side, source) in sources.into_iter().enumerate() {
                let xs = place(x, flow[2 * side], c.sub_x, width);
                let ys = place(y, flow[2 * side + 1], c.sub_y, height);
                codes.extend(
                    ys.map(|y| xs.map(|x| source.code(c, x, y).min(c.max())))
                        .concat(),
                );
            }
            let (low, high) = (codes.iter().min().unwrap(), codes.iter().max().unwrap());
            let code = out.code(c, x, y);
            assert!(
                (low..=high).contains(&&code),
                "{:?} {flow:?}: {code} at {x}, {y} of {:?}, from {low} to {high}",
                out.format,
                c.channel
            );
        }
    }
}

#[test]
fn unused_bytes_are_the_left_pictures() {
    let size = (13, 3);
    let mut noise = Noise::new(3);
    let left = Owned::new(Format::Bgrx, size, 0).noise(&mut noise);
    let right = Owned::new(Format::Bgrx, size, 0).noise(&mut noise);
    let (flow, mask) = lattice(size, 0, |_, _| ([1.5; 4], 0.5));
    for context in levels() {
        let mut out = Owned::new(Format::Bgrx, size, 0);
        let (l, r) = (left.picture(), right.picture());
        synthesise(
            &context,
            &l,
            &r,
            (&flow, &mask, Lattice::Quarter),
            &mut out.picture_mut(),
        )
        .unwrap();
        for y in 0..3 {
            for x in 0..13 {
                assert_eq!(
                    out.picture().row(0, y)[x * 4 + 3],
                    left.picture().row(0, y)[x * 4 + 3]
                );
            }
        }
    }
}

#[test]
fn low_bits_of_p010_are_zero() {
    let size = (20, 6);
    let mut noise = Noise::new(5);
    let left = Owned::new(Format::P010, size, 0).noise(&mut noise);
    let right = Owned::new(Format::P010, size, 0).noise(&mut noise);
    let (flow, mask) = lattice(size, 0, |_, _| ([2.5; 4], 0.5));
    for context in levels() {
        let mut out = Owned::new(Format::P010, size, 0);
        let (l, r) = (left.picture(), right.picture());
        synthesise(
            &context,
            &l,
            &r,
            (&flow, &mask, Lattice::Quarter),
            &mut out.picture_mut(),
        )
        .unwrap();
        for sample in out.picture().row(0, 2).chunks(2) {
            assert_eq!(sample[0] & 0x3f, 0);
        }
    }
}

/// Cases of `F.interpolate(scale_factor=4, mode="bilinear", align_corners=False)`, seen through
/// the mask: the left picture is white, the right one black.
#[test]
fn the_lattice_is_centred_on_its_cells() {
    let size = (8, 4);
    let mut left = Owned::new(Format::Gray16, size, 0);
    (0..4).for_each(|y| left.row(0, y).fill(0xff));
    let mut right = Owned::new(Format::Gray16, size, 0);
    (0..4).for_each(|y| right.row(0, y).fill(0));
    let (flow, mask) = lattice(size, 0, |x, _| ([0.0; 4], x as f32));
    let expected = [0.0, 0.0, 0.125, 0.375, 0.625, 0.875, 1.0, 1.0];
    for context in levels() {
        let mut out = Owned::new(Format::Gray16, size, 0);
        let (l, r) = (left.picture(), right.picture());
        synthesise(
            &context,
            &l,
            &r,
            (&flow, &mask, Lattice::Quarter),
            &mut out.picture_mut(),
        )
        .unwrap();
        let c = Format::Gray16.components()[0];
        let found: Vec<u32> = (0..8).map(|x| out.code(&c, x, 1)).collect();
        let expected = expected.map(|v: f32| (v * 65535.0).round_ties_even() as u32);
        assert_eq!(found, expected);
    }
}

#[test]
fn pictures_that_do_not_match_are_refused() {
    let (a, b) = (
        Owned::new(Format::Gray8, (8, 8), 0),
        Owned::new(Format::Gray8, (8, 9), 0),
    );
    let (flow, mask) = lattice((8, 8), 0, |_, _| ([0.0; 4], 0.5));
    let (context, mut out) = (
        context(CpuLevel::Reference),
        Owned::new(Format::Gray8, (8, 8), 0),
    );
    let (pa, pb) = (a.picture(), b.picture());
    assert!(
        synthesise(
            &context,
            &pa,
            &pb,
            (&flow, &mask, Lattice::Quarter),
            &mut out.picture_mut()
        )
        .is_err()
    );
    let (flow, mask) = lattice((4, 4), 0, |_, _| ([0.0; 4], 0.5));
    assert!(
        synthesise(
            &context,
            &pa,
            &pa,
            (&flow, &mask, Lattice::Quarter),
            &mut out.picture_mut()
        )
        .is_err()
    );
}

/// Run with `--ignored --nocapture` on a quiet machine.
#[test]
#[ignore = "a measurement"]
fn time_of_a_1080p_picture() {
    let size = (1920, 1080);
    let formats = [
        Format::Gray8,
        Format::Nv12,
        Format::I420_10,
        Format::P010,
        Format::Yuy2,
        Format::Rgb,
        Format::Rgbx,
        Format::I420,
    ];
    let fast: Vec<_> = fetching().iter().map(Context::widest).collect();
    let all = formats.iter().flat_map(|f| fast.iter().map(|l| (*f, *l)));
    for (format, level) in all.chain([(Format::I420, CpuLevel::Reference)]) {
        for (name, cell) in flows().into_iter().take(2) {
            let mut noise = Noise::new(1);
            let left = Owned::new(format, size, 0).noise(&mut noise);
            let right = Owned::new(format, size, 0).noise(&mut noise);
            let (flow, mask) = lattice(size, 2, |x, y| cell(&mut noise, x, y));
            let mut out = Owned::new(format, size, 0);
            let context = Context::with_level(1, level).unwrap();
            let mut best = f64::MAX;
            for _ in 0..8 {
                let start = std::time::Instant::now();
                let (l, r) = (left.picture(), right.picture());
                synthesise(
                    &context,
                    &l,
                    &r,
                    (&flow, &mask, Lattice::Quarter),
                    &mut out.picture_mut(),
                )
                .unwrap();
                best = best.min(start.elapsed().as_secs_f64());
            }
            println!(
                "{format:?} {level:?} {name}: {:.1} ms on one thread",
                best * 1e3
            );
        }
    }
}
