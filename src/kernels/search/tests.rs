use candle_core::Device;

use super::*;
use crate::kernels::resample::{half, half_smooth};
use crate::kernels::testing::{Random, SIZES, contexts};

/// Waves of all directions, and of lengths that hardly repeat together.
pub(super) struct Texture(Vec<[f32; 4]>);

impl Texture {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let mut wave = |i: usize| {
            let length = 7.0 * 1.17f32.powi(i as i32);
            let angle = std::f32::consts::PI * random.value();
            let turn = std::f32::consts::TAU / length;
            let phase = std::f32::consts::PI * random.value();
            [turn * angle.cos(), turn * angle.sin(), phase, 0.06]
        };
        Self((0..24).map(&mut wave).collect())
    }

    pub(super) fn at(&self, x: f32, y: f32) -> f32 {
        let waves = self.0.iter();
        waves
            .map(|[u, v, phase, height]| height * (u * x + v * y + phase).sin())
            .sum::<f32>()
            .clamp(-0.5, 0.5)
    }
}

/// A pyramid of a picture, which is its first level.
pub(super) fn pyramid((h, w): (usize, usize), luma: impl Fn(f32, f32) -> f32) -> Vec<Tensor> {
    let values = (0..h * w).map(|i| luma((i % w) as f32, (i / w) as f32));
    let first = Tensor::from_vec(values.collect(), (h, w, 1), &Device::Cpu);
    levels(first.unwrap())
}

/// Halved until a single sample is left.
pub(super) fn levels(first: Tensor) -> Vec<Tensor> {
    let (context, _) = contexts();
    let mut levels = vec![first];
    loop {
        let finer = &levels[levels.len() - 1];
        let (h, w, _) = finer.dims3().unwrap();
        if h * w == 1 {
            return levels;
        }
        let size = (h.div_ceil(2), w.div_ceil(2));
        let out = Tensor::zeros((size.0, size.1, 1), candle_core::DType::F32, &Device::Cpu);
        let out = out.unwrap();
        half(&context, finer, &out).unwrap();
        levels.push(out);
    }
}

pub(super) fn sizes(pyramid: &[Tensor]) -> Vec<(usize, usize)> {
    let size = |level: &Tensor| level.dims3().map(|(h, w, _)| (h, w));
    pyramid.iter().map(size).collect::<Result<_, _>>().unwrap()
}

pub(super) type Flow = Vec<[f32; 2]>;

/// Both flows.
pub(super) fn found(
    context: &Context,
    left: &[Tensor],
    right: &[Tensor],
    finest: usize,
) -> [Flow; 2] {
    let mut space = Space::new(&sizes(left), finest).unwrap();
    let out = [0, 1].map(|_| crate::kernels::testing::Out::new(space.size(), 2));
    let [forth, back] = out.each_ref().map(|out| out.tensor());
    search(context, [left, right], &mut space, [&forth, &back]).unwrap();
    out.map(|out| out.values().chunks(2).map(|f| [f[0], f[1]]).collect())
}

/// The largest error among the samples that `counts` says, where `truth` is what moves there.
fn error(
    flow: &Flow,
    width: usize,
    counts: impl Fn(usize, usize) -> bool,
    truth: impl Fn(f32, f32) -> [f32; 2],
) -> f32 {
    let mut worst = 0f32;
    for (i, found) in flow.iter().enumerate() {
        let (x, y) = (i % width, i / width);
        if counts(x, y) {
            let want = truth(x as f32, y as f32);
            worst = worst.max((found[0] - want[0]).hypot(found[1] - want[1]));
        }
    }
    worst
}

/// Away from the edge by `margin`.
fn inside((h, w): (usize, usize), margin: usize) -> impl Fn(usize, usize) -> bool {
    move |x, y| x.min(y) >= margin && x + margin < w && y + margin < h
}

#[test]
fn fast_and_plain_agree_to_the_bit() {
    let (plain, fast) = contexts();
    for (i, &size) in [&SIZES[..], &[(37, 70), (64, 83)]]
        .concat()
        .iter()
        .enumerate()
    {
        let texture = Texture::new(i as u64);
        let mut random = Random(i as u64);
        let textures = [0.0, 2.7].map(|d| pyramid(size, |x, y| texture.at(x - d, y + d)));
        let noises = [0, 1].map(|_| levels(random.dense(&[size.0, size.1, 1], 0.5)));
        let bars = [0.0, 2.0].map(|d| {
            pyramid(size, |x, y| {
                texture.at(x, y) + f32::from((x - d).rem_euclid(6.0) < 2.0)
            })
        });
        let waves = [0.0, 0.7].map(|d| {
            let wave = |x: f32| (std::f32::consts::TAU * x / (2.5 + 0.01 * x)).sin();
            pyramid(size, |x, y| 0.3 * texture.at(x, y) + 0.2 * wave(x - d))
        });
        for [left, right] in [textures, noises, bars, waves] {
            for finest in 0..left.len().min(3) {
                let [want, got] =
                    [&plain, &fast].map(|context| found(context, &left, &right, finest));
                assert_eq!(want, got, "{size:?} down to level {finest}");
            }
        }
    }
}

/// Luma of a fine texture that no level above its own has much of.
fn fine(seed: u64) -> impl Fn(f32, f32) -> f32 {
    move |x: f32, y: f32| {
        let cell = |x: f32, y: f32| {
            let at = (x as i64 as u64) << 32 ^ (y as i64 as u64) ^ (seed << 16);
            Random(at.wrapping_mul(0x9e37_79b9_7f4a_7c15)).value()
        };
        let (left, top) = ((x / 2.0).floor(), (y / 2.0).floor());
        0.4 * cell(left, top)
    }
}

/// What a disc of [`balls`] moves by.
const BY: [f32; 2] = [14.0, -6.0];

/// Whether the disc of the left picture shows at (x, y).
fn on_ball((h, w): (usize, usize), x: f32, y: f32) -> bool {
    let middle = [w as f32 / 2.0 - 8.0, h as f32 / 2.0 + 4.0];
    (x - middle[0]).hypot(y - middle[1]) < 11.0
}

/// Two pictures of a disc that moves further than a patch is wide, before a ground at rest.
pub(super) fn balls(seed: u64, size: (usize, usize)) -> [Vec<Tensor>; 2] {
    let (ground, ball) = (Texture::new(seed), fine(seed));
    [0.0, 1.0].map(|t| {
        pyramid(size, |x, y| {
            let (u, v) = (x - t * BY[0], y - t * BY[1]);
            match on_ball(size, u, v) {
                true => ball(u, v),
                false => ground.at(x, y),
            }
        })
    })
}

#[test]
fn what_moves_further_than_its_patches_is_sought_and_found() {
    for (seed, context) in (1..).zip(<[Context; 2]>::from(contexts())) {
        let size = (96, 128);
        let [left, right] = balls(seed, size);
        let [forth, back] = found(&context, &left, &right, 0);
        let inner = |x: usize, y: usize, t: f32| {
            let (x, y) = (x as f32 - t * BY[0], y as f32 - t * BY[1]);
            [-4.0, 4.0]
                .iter()
                .all(|d| on_ball(size, x + d, y) && on_ball(size, x, y + d))
        };
        let there = error(&forth, size.1, |x, y| inner(x, y, 0.0), |_, _| BY);
        let again = error(
            &back,
            size.1,
            |x, y| inner(x, y, 1.0),
            |_, _| BY.map(|d| -d),
        );
        assert!(there < 0.5 && again < 0.5, "{there}, {again}");
    }
}

#[test]
fn sought_is_the_same_by_vectors() {
    let (plain, fast) = contexts();
    for (seed, size) in [(1, (96, 128)), (2, (45, 61)), (3, (33, 40))] {
        let [left, right] = balls(seed, size);
        for finest in 0..3 {
            let [want, got] = [&plain, &fast].map(|context| found(context, &left, &right, finest));
            assert_eq!(want, got, "{size:?} down to level {finest}");
        }
    }
}

#[test]
fn flow_without_gaps_is_the_same() {
    let size = (37, 70);
    let mut random = Random(9);
    let [left, right] = [0, 1].map(|_| levels(random.dense(&[size.0, size.1, 1], 0.5)));
    for context in <[Context; 2]>::from(contexts()) {
        let want = found(&context, &left, &right, 0);
        let mut space = Space::new(&sizes(&left), 0).unwrap();
        let dense = [0, 1].map(|_| crate::kernels::testing::zeros(&[size.0, size.1, 2]));
        search(&context, [&left, &right], &mut space, dense.each_ref()).unwrap();
        for (dense, want) in dense.iter().zip(&want) {
            let values: Vec<f32> = dense.flatten_all().unwrap().to_vec1().unwrap();
            assert_eq!(values.as_chunks::<2>().0, want);
        }
    }
}

#[test]
fn threads_do_not_matter() {
    let size = (90, 130);
    let mut random = Random(7);
    let [left, right] = [0, 1].map(|_| levels(random.dense(&[size.0, size.1, 1], 0.5)));
    let one = found(&Context::new(1).unwrap(), &left, &right, 0);
    for threads in [2, 3, 5] {
        let more = found(&Context::new(threads).unwrap(), &left, &right, 0);
        assert_eq!(one, more, "{threads} threads");
    }
}

#[test]
fn a_space_serves_more_than_one_pair() {
    let (_, context) = contexts();
    let texture = Texture::new(3);
    let [a, b, c] = [0.0, 3.0, -5.0].map(|d| pyramid((40, 60), |x, y| texture.at(x - d, y)));
    let mut space = Space::new(&sizes(&a), 0).unwrap();
    let out = [0, 1].map(|_| crate::kernels::testing::zeros(&[40, 60, 2]));
    let mut run = |right: &[Tensor]| {
        search(&context, [&a, right], &mut space, out.each_ref()).unwrap();
        let values = out
            .each_ref()
            .map(|out| out.flatten_all().unwrap().to_vec1::<f32>());
        values.map(Result::unwrap)
    };
    let first = run(&b);
    run(&c);
    assert_eq!(first, run(&b));
}

#[test]
fn translation_is_found() {
    let size = (120, 160);
    let texture = Texture::new(1);
    for context in <[Context; 2]>::from(contexts()) {
        for (dx, dy) in [(1.3, -0.6), (-7.5, 4.25), (30.0, 0.0), (-21.0, 22.0)] {
            let left = pyramid(size, |x, y| texture.at(x, y));
            let right = pyramid(size, |x, y| texture.at(x - dx, y - dy));
            let [forth, back] = found(&context, &left, &right, 0);
            // What leaves the picture cannot be found.
            let inside = inside(size, 40);
            let far = error(&forth, size.1, &inside, |_, _| [dx, dy]);
            assert!(far < 0.1, "({dx}, {dy}): {far} off");
            let far = error(&back, size.1, &inside, |_, _| [-dx, -dy]);
            assert!(far < 0.1, "({dx}, {dy}) back: {far} off");
        }
    }
}

#[test]
fn a_search_goes_on_from_what_is_known() {
    let size = (120, 160);
    let texture = Texture::new(1);
    let left = pyramid(size, |x, y| texture.at(x, y));
    let right = pyramid(size, |x, y| texture.at(x - 30.0, y + 12.0));
    let start = |flow: [f32; 2]| {
        let values: Vec<f32> = (0..size.0 * size.1).flat_map(|_| flow).collect();
        Tensor::from_vec(values, (size.0, size.1, 2), &Device::Cpu).unwrap()
    };
    let run = |context: &Context, by: [f32; 2], levels: usize| {
        let mut space = Space::new(&sizes(&left), 0).unwrap();
        let out = [0, 1].map(|_| crate::kernels::testing::zeros(&[size.0, size.1, 2]));
        let starts = [start(by), start(by.map(|d| -d))];
        let starts = (starts.each_ref(), levels);
        let ways = out.each_ref();
        search_from(context, [&left, &right], &mut space, starts, ways).unwrap();
        let values = |out: &Tensor| out.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let flow = |out: &Tensor| {
            values(out)
                .chunks(2)
                .map(|f| [f[0], f[1]])
                .collect::<Flow>()
        };
        out.each_ref().map(flow)
    };
    let (plain, fast) = contexts();
    for levels in [1, 2] {
        let [forth, back] = run(&fast, [31.0, -11.0], levels);
        assert_eq!(
            [&forth, &back],
            run(&plain, [31.0, -11.0], levels).each_ref()
        );
        for (flow, sign) in [(&forth, 1.0), (&back, -1.0)] {
            let truth = |_, _| [sign * 30.0, sign * -12.0];
            let far = error(flow, size.1, inside(size, 40), truth);
            assert!(far < 0.1, "{levels} levels: {far} off");
        }
    }
    // from somewhere else so few levels do not get there
    let [lost, _] = run(&fast, [0.0, 0.0], 1);
    assert!(error(&lost, size.1, inside(size, 40), |_, _| [30.0, -12.0]) > 5.0);
    let all = run(&fast, [3.0, 3.0], left.len());
    assert_eq!(all, found(&fast, &left, &right, 0));
}

#[test]
fn the_level_above_knows_the_motion_in_its_own_samples() {
    let size = (121, 160);
    let half = (61, 80);
    let (texture, context) = (Texture::new(1), contexts().1);
    let left = pyramid(size, |x, y| texture.at(x, y));
    let right = pyramid(size, |x, y| texture.at(x - 30.0, y + 12.0));
    let rooms = |(h, w)| [0, 1].map(|_| crate::kernels::testing::zeros(&[h, w, 2]));
    let mut space = Space::new(&sizes(&left), 0).unwrap();
    search(
        &context,
        [&left, &right],
        &mut space,
        rooms(size).each_ref(),
    )
    .unwrap();
    let above = rooms(half);
    assert!(coarser(&context, &space, above.each_ref()).unwrap());
    for (flow, sign) in above.iter().zip([1.0, -1.0]) {
        let values = flow.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let flow: Flow = values.chunks(2).map(|f| [f[0], f[1]]).collect();
        let far = error(&flow, half.1, inside(half, 20), |_, _| {
            [sign * 15.0, sign * -6.0]
        });
        assert!(far < 0.2, "{far} off");
    }
    assert!(coarser(&context, &space, rooms(size).each_ref()).is_err());
    // none where the one above is too small to be searched
    let small = pyramid((9, 9), |x, y| texture.at(x, y));
    let space = Space::new(&sizes(&small), 0).unwrap();
    assert!(!coarser(&context, &space, rooms((5, 5)).each_ref()).unwrap());
}

#[test]
fn flow_is_in_samples_of_the_finest_level() {
    let size = (256, 320);
    let texture = Texture::new(2);
    let left = pyramid(size, |x, y| texture.at(0.25 * x, 0.25 * y));
    let right = pyramid(size, |x, y| texture.at(0.25 * (x - 12.0), 0.25 * (y + 6.0)));
    let (_, context) = contexts();
    for finest in 0..3 {
        let [forth, _] = found(&context, &left, &right, finest);
        let scale = 1.0 / (1 << finest) as f32;
        let size = (size.0 >> finest, size.1 >> finest);
        let far = error(&forth, size.1, inside(size, 16), |_, _| {
            [12.0 * scale, -6.0 * scale]
        });
        assert!(far < 0.5, "level {finest}: {far} off");
    }
}

#[test]
fn rotation_and_zoom_are_found() {
    let size = (128, 160);
    let texture = Texture::new(4);
    let (sin, cos) = 0.06f32.sin_cos();
    let zoom = 1.05;
    let moved = |x: f32, y: f32| {
        let (x, y) = (x - 80.0, y - 64.0);
        let turned = [cos * x - sin * y, sin * x + cos * y];
        [zoom * turned[0] - x, zoom * turned[1] - y]
    };
    let source = |x: f32, y: f32| {
        let (x, y) = ((x - 80.0) / zoom, (y - 64.0) / zoom);
        texture.at(cos * x + sin * y + 80.0, -sin * x + cos * y + 64.0)
    };
    let left = pyramid(size, |x, y| texture.at(x, y));
    let right = pyramid(size, source);
    for context in <[Context; 2]>::from(contexts()) {
        let [forth, _] = found(&context, &left, &right, 0);
        let far = error(&forth, size.1, inside(size, 16), moved);
        assert!(far < 0.6, "{far} off");
    }
}

#[test]
fn nothing_to_see_does_not_move() {
    let flat = pyramid((50, 70), |_, _| 0.3);
    let other = pyramid((50, 70), |_, _| -0.2);
    for context in <[Context; 2]>::from(contexts()) {
        for right in [&flat, &other] {
            for flow in found(&context, &flat, right, 0) {
                assert!(flow.iter().flatten().all(|d| d.abs() < 1e-3));
            }
        }
    }
}

#[test]
fn every_size_has_a_flow() {
    let (plain, fast) = contexts();
    let mut random = Random(9);
    let odd = [1, 2, 3, 5, 7, 8, 9, 11, 13, 17, 23, 31, 45, 64];
    for h in odd {
        for w in odd {
            let [left, right] = [0, 1].map(|_| levels(random.dense(&[h, w, 1], 0.5)));
            let context = if h * w % 2 == 0 { &plain } else { &fast };
            for finest in 0..left.len().min(3) {
                let flows = found(context, &left, &right, finest);
                let values = flows.iter().flatten().flatten();
                assert!(values.clone().count() > 0);
                let finite = values.copied().all(f32::is_finite);
                assert!(finite, "{h}x{w} down to level {finest}");
            }
        }
    }
}

#[test]
fn luma_that_is_no_number_leads_nowhere_outside() {
    let (plain, fast) = contexts();
    for wild in [f32::NAN, f32::INFINITY, f32::MAX, 1e30] {
        let left = pyramid((20, 24), |x, _| if x > 9.0 { wild } else { x });
        let right = pyramid((20, 24), |x, y| if x > y { -wild } else { y });
        for context in [&plain, &fast] {
            found(context, &left, &right, 0);
        }
    }
}

#[test]
fn a_repeated_pattern_moves_the_short_way() {
    let size = (120, 160);
    let turn = std::f32::consts::TAU / 16.0;
    let pattern = |x: f32, y: f32| {
        0.2 * (turn * x).sin() + 0.2 * (turn * y).cos() + 0.1 * (turn * (2.0 * x + y)).sin()
    };
    let left = pyramid(size, pattern);
    let right = pyramid(size, |x, y| pattern(x - 5.0, y));
    for context in <[Context; 2]>::from(contexts()) {
        let [forth, back] = found(&context, &left, &right, 0);
        let far = error(&forth, size.1, inside(size, 12), |_, _| [5.0, 0.0]);
        assert!(far < 0.1, "{far} off");
        let far = error(&back, size.1, inside(size, 12), |_, _| [-5.0, 0.0]);
        assert!(far < 0.1, "{far} off, back");
    }
}

/// Waves of which the level searched has lost everything, or has an alias.
#[test]
fn a_pattern_too_fine_for_the_search_is_found_below() {
    let size = (96, 176);
    let shade = |x: f32, y: f32| 0.1 * (0.05 * y + 0.02 * x).sin();
    for (length, moved) in [(3.5, 1.2), (4.0, 1.2), (5.0, 1.5)] {
        let turn = std::f32::consts::TAU / length;
        let [left, right] = [0.0, moved].map(|d| {
            let first = pyramid(size, |x, y| 0.2 * (turn * (x - d)).sin() + shade(x, y));
            smooth(first)
        });
        for context in <[Context; 2]>::from(contexts()) {
            let [forth, _] = found(&context, &left, &right, 1);
            let width = size.1 / 2;
            let across: Flow = forth.iter().map(|flow| [flow[0], 0.0]).collect();
            let want = |_, _| [0.5 * moved, 0.0];
            let far = error(&across, width, inside((48, width), 12), want);
            assert!(
                far < 0.1,
                "waves of {length} that move by {moved} are {far} off"
            );
        }
    }
}

/// The same first level, halved as pictures are.
fn smooth(pyramid: Vec<Tensor>) -> Vec<Tensor> {
    let (context, _) = contexts();
    for i in 1..pyramid.len() {
        half_smooth(&context, &pyramid[i - 1], &pyramid[i]).unwrap();
    }
    pyramid
}

#[test]
fn what_lies_still_before_something_that_moves_does_so() {
    let size = (128, 176);
    let (sign, ground) = (Texture::new(5), Texture::new(6));
    let on_sign = |x: f32, y: f32| (60.0..108.0).contains(&x) && (44.0..84.0).contains(&y);
    let picture = |d: f32| {
        pyramid(size, |x, y| match on_sign(x, y) {
            true => sign.at(x, y),
            false => ground.at(x - d, y + 0.5 * d),
        })
    };
    let (left, right) = (picture(0.0), picture(9.0));
    let well_inside = |x: usize, y: usize| (68..100).contains(&x) && (52..76).contains(&y);
    let far_away = |x: usize, y: usize| inside(size, 12)(x, y) && !(44..=124).contains(&x);
    for context in <[Context; 2]>::from(contexts()) {
        let [forth, _] = found(&context, &left, &right, 0);
        let far = error(&forth, size.1, well_inside, |_, _| [0.0, 0.0]);
        assert!(far < 0.05, "the sign moves by {far}");
        let far = error(&forth, size.1, far_away, |_, _| [9.0, -4.5]);
        assert!(far < 0.2, "the ground is {far} off");
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let (context, _) = contexts();
    let flat = pyramid((20, 24), |_, _| 0.0);
    let other = pyramid((20, 25), |_, _| 0.0);
    let sizes = sizes(&flat);
    assert!(Space::new(&sizes, sizes.len()).is_err());
    assert!(Space::new(&[(0, 3)], 0).is_err());
    let mut space = Space::new(&sizes, 1).unwrap();
    let out = |h, w, c| crate::kernels::testing::zeros(&[h, w, c]);
    let mut run =
        |right: &[Tensor], out: &Tensor| search(&context, [&flat, right], &mut space, [out, out]);
    assert!(run(&flat, &out(10, 12, 2)).is_ok());
    assert!(run(&flat, &out(10, 12, 1)).is_err());
    assert!(run(&flat, &out(10, 13, 2)).is_err());
    assert!(run(&other, &out(10, 12, 2)).is_err());
    assert!(run(&flat[..1], &out(10, 12, 2)).is_err());
}
