use super::*;
use crate::kernels::testing::{Random, SIZES, bytes, close, contexts, zeros};

/// As for the luma that both read.
const TOLERANCE: f32 = 1e-4;

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn tensor(values: Vec<f32>, shape: (usize, usize, usize)) -> Tensor {
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Samples of a smooth texture that does not repeat, moved by (x, y) samples.
fn texture((h, w): (usize, usize), moved: impl Fn(usize, usize) -> (f32, f32)) -> Tensor {
    let (rows, columns) = (SAMPLES * h, SAMPLES * w);
    let value = |i: usize| {
        let (y, x) = (i / columns, i % columns);
        let (dx, dy) = moved(y, x);
        let (x, y) = (x as f32 - dx, y as f32 - dy);
        0.2 * (0.31 * x + 0.05 * y).sin() + 0.2 * (0.23 * y - 0.002 * x * x).cos()
    };
    let values = (0..rows * columns).map(value).collect();
    tensor(values, (rows, columns, 1))
}

/// The choice between two pictures at one phase: flow and cues.
fn chosen(context: &Context, luma: [&Tensor; 2], found: &Tensor, t: f32) -> (Vec<f32>, Vec<f32>) {
    let (h, w, _) = found.dims3().unwrap();
    let phase = Tensor::full(t, (h, w, 1), &Device::Cpu).unwrap();
    let spaces = (
        &Space::new((h, w), &Device::Cpu).unwrap(),
        &Warped::new((h, w)).unwrap(),
    );
    let (flow, cues, past) = (zeros(&[h, w, 4]), zeros(&[h, w, CUES]), zeros(&[h, w, 3]));
    remember(context, found, Some(0.5), &past).unwrap();
    let luma = luma.map(bytes);
    rest(context, luma.each_ref(), spaces.0).unwrap();
    choose(
        context,
        luma.each_ref(),
        (found, &past),
        &phase,
        spaces,
        (&flow, &cues),
    )
    .unwrap();
    (values(&flow), values(&cues))
}

/// One motion everywhere, from left to right in cells.
fn even((h, w): (usize, usize), [x, y]: [f32; 2]) -> Tensor {
    tensor([x, y, -x, -y].repeat(h * w), (h, w, 4))
}

#[test]
fn fast_and_plain_agree() {
    let mut random = Random(1);
    let (plain, fast) = contexts();
    for size in SIZES {
        let luma = [0; 2].map(|_| {
            let (h, w) = (SAMPLES * size.0, SAMPLES * size.1);
            random.dense(&[h, w, 1], 0.5)
        });
        let found = random.tensor(size, 4, 3.0);
        for t in [0.25, 0.5, 0.9] {
            let [(flow, cues), (flow_fast, cues_fast)] =
                [&plain, &fast].map(|c| chosen(c, [&luma[0], &luma[1]], &found, t));
            close("flow", &flow_fast, &flow, TOLERANCE);
            close("cues", &cues_fast, &cues, TOLERANCE);
        }
    }
}

#[test]
fn even_motion_is_split_by_the_phase() {
    let (_, context) = contexts();
    let (size, motion) = ((6, 9), [1.5, -0.75]);
    let samples = motion.map(|v| v * SAMPLES as f32);
    let left = texture(size, |_, _| (0.0, 0.0));
    let right = texture(size, |_, _| (samples[0], samples[1]));
    for t in [0.125, 0.5, 0.75] {
        let (flow, cues) = chosen(&context, [&left, &right], &even(size, motion), t);
        let (l, r) = (-t, 1.0 - t);
        let want = [l * motion[0], l * motion[1], r * motion[0], r * motion[1]];
        close("flow", &flow, &want.repeat(size.0 * size.1), TOLERANCE);
        for cell in cues.chunks(CUES) {
            // both ways say the same, only the edges of the epsilon are left
            assert!(cell[3] < 2e-3 && cell[4] < 2e-3, "{cell:?}");
            // half of this motion was there before
            let want = motion.map(|v| v / 2.0);
            close(
                "acceleration",
                &cell[ACCELERATION..],
                &[want[0], want[1], 1.0],
                TOLERANCE,
            );
        }
    }
}

#[test]
fn the_way_that_explains_a_cell_is_taken() {
    let (_, context) = contexts();
    let size = (8, 8);
    let left = texture(size, |_, _| (0.0, 0.0));
    let right = texture(size, |_, _| (6.0, 0.0));
    for (found, name) in [
        ([1.5, 0.0, 0.4, 0.7], "left to right"),
        ([0.3, -0.6, -1.5, 0.0], "right to left"),
    ] {
        let found = tensor(found.repeat(size.0 * size.1), (size.0, size.1, 4));
        let (flow, cues) = chosen(&context, [&left, &right], &found, 0.5);
        let inner = |i: usize| (2..6).contains(&(i / 8)) && (2..6).contains(&(i % 8));
        for (i, flow) in flow.chunks(4).enumerate().filter(|(i, _)| inner(*i)) {
            close(name, flow, &[-0.75, 0.0, 0.75, 0.0], TOLERANCE);
            let (cues, first) = (&cues[CUES * i..], name == "left to right");
            assert_eq!(cues[0] < cues[1], first, "{name}");
            // the other way's motion is not this one
            assert_eq!(cues[3] < cues[4], first, "{name}");
        }
    }
}

#[test]
fn what_stands_still_over_a_moving_picture_stays() {
    let (_, context) = contexts();
    let size = (10, 12);
    let logo = |y: usize, x: usize| (12..28).contains(&y) && (16..36).contains(&x);
    let left = texture(size, |_, _| (0.0, 0.0));
    let right = texture(
        size,
        |y, x| if logo(y, x) { (0.0, 0.0) } else { (8.0, 2.0) },
    );
    let (flow, _) = chosen(&context, [&left, &right], &even(size, [2.0, 0.5]), 0.5);
    // a cell is four samples; its neighbours count, too
    for (y, x) in [(4, 5), (4, 6), (5, 6), (5, 7)] {
        assert_eq!(flow[4 * (12 * y + x)..][..4], [0.0; 4], "cell {y}, {x}");
    }
    assert_eq!(flow[..4], [-1.0, -0.25, 1.0, 0.25]);
}

/// Two pictures in which standing still is better everywhere, but not clearly: a flat one and a slope, by this many codes a sample. One
/// sample, at the middle of cell (4, 12), is bright in both.
pub(super) fn nearly_alike(size: (usize, usize), slope: f32) -> [Tensor; 2] {
    let columns = SAMPLES * size.1;
    let codes = |i: usize, beyond: f32| match (i / columns, i % columns) {
        (18, 50) => 80.0,
        _ => 30.0 + beyond,
    };
    let luma = |more: f32, slope: f32| {
        let code = |i| codes(i, more + slope * (i % columns) as f32);
        let values = (0..SAMPLES * size.0 * columns).map(|i| code(i) / luma::MAX - 0.5);
        tensor(values.collect(), (SAMPLES * size.0, columns, 1))
    };
    [luma(0.0, 0.0), luma(4.0, slope)]
}

#[test]
fn standing_still_is_clearly_better_or_something_stands() {
    let (plain, fast) = contexts();
    let (size, motion) = ((9, 24), [2.0, 0.0]);
    let [left, right] = nearly_alike(size, 0.5);
    let found = even(size, motion);
    let [(flow, _), (flow_fast, _)] =
        [&plain, &fast].map(|c| chosen(c, [&left, &right], &found, 0.5));
    assert_eq!(flow_fast, flow);
    for (i, flow) in flow.chunks(4).enumerate() {
        let (y, x) = (i / size.1, i % size.1);
        // at the picture's end there is nothing to be moved there
        if x + 3 < size.1 {
            let stays = (3..=5).contains(&y) && (11..=13).contains(&x);
            let want = if stays {
                [0.0; 4]
            } else {
                [-1.0, 0.0, 1.0, 0.0]
            };
            assert_eq!(flow, want, "cell {y}, {x}");
        }
    }
    // a slope so steep leaves no doubt
    let size = (9, 8);
    let [left, right] = nearly_alike(size, 6.0);
    let (flow, _) = chosen(&fast, [&left, &right], &even(size, motion), 0.5);
    assert_eq!(flow[..4], [0.0; 4]);
}

/// A square of 2x2 cells that goes to the right by `by` of them, more than it is wide, and the ground it goes over, which goes by `ground`
/// and where there is a post that stands, too: luma of both pictures and the motion found. With `tiles` the ground has no texture but
/// columns of cells.
pub(super) fn thing(by: f32, ground: f32, post: bool, tiles: bool) -> ([Tensor; 2], Tensor) {
    let (h, w) = (12, 24);
    let square = |x: usize, y: usize, at: f32| {
        let first = SAMPLES as f32 * at;
        (first..first + 8.0).contains(&(x as f32)) && (20..28).contains(&y)
    };
    let pole = |x: usize| post && (44..52).contains(&x);
    let columns = SAMPLES * w;
    let seen = |moved: f32| {
        let tile = |i: usize| ((i % columns) as f32 / SAMPLES as f32 - moved).floor();
        let shade = |i| 0.1 * (7.0 * tile(i)).rem_euclid(5.0) - 0.2;
        match tiles {
            true => (0..SAMPLES * h * columns).map(shade).collect(),
            false => values(&texture((h, w), |_, _| (SAMPLES as f32 * moved, 0.0))),
        }
    };
    let (behind, moved) = (seen(0.0), seen(ground));
    let luma = |ground: &[f32], at: f32| {
        let value = |i: usize| match (i % columns, i / columns) {
            (x, _) if pole(x) => 0.45 - 0.9 * f32::from(u8::from(x % 2 == 0)),
            (x, y) if !post && square(x, y, at) => 0.3 + 0.01 * (x as f32 - SAMPLES as f32 * at),
            _ => ground[i],
        };
        let values = (0..SAMPLES * h * columns).map(value).collect();
        tensor(values, (SAMPLES * h, columns, 1))
    };
    let (left, right) = (4.0, 4.0 + by);
    let found = (0..h * w).flat_map(|i| {
        let at = (SAMPLES * (i % w), SAMPLES * (i / w));
        let way = |is_thing: bool| match (is_thing, pole(at.0)) {
            (true, _) => by,
            (_, true) => 0.0,
            _ => ground,
        };
        let [ahead, back] = [left, right].map(|x| way(!post && square(at.0, at.1, x)));
        [ahead, 0.0, -back, 0.0]
    });
    let found = tensor(found.collect(), (h, w, 4));
    ([luma(&behind, left), luma(&moved, right)], found)
}

/// Where a phase leaves it: the cells that are not as all others.
fn cells_apart(flow: &[f32], from_ground: f32) -> Vec<(usize, usize, f32)> {
    let cells = flow.chunks(4).enumerate();
    let motions = cells.map(|(i, flow)| (i / 24, i % 24, flow[2] - flow[0]));
    motions
        .filter(|&(_, x, by)| (4..20).contains(&x) && (by - from_ground).abs() > 0.5)
        .collect()
}

#[test]
fn what_goes_further_than_its_width_arrives() {
    let (plain, fast) = contexts();
    for ground in [0.0, -1.0] {
        let ([left, right], found) = thing(8.0, ground, false, false);
        for t in [0.25, 0.5, 0.75] {
            let [(flow, cues), (flow_fast, _)] =
                [&plain, &fast].map(|c| chosen(c, [&left, &right], &found, t));
            close("flow", &flow_fast, &flow, TOLERANCE);
            let x = 4 + (8.0 * t) as usize;
            let there = [(5, x, 8.0), (5, x + 1, 8.0), (6, x, 8.0), (6, x + 1, 8.0)];
            let apart = cells_apart(&flow, ground);
            let at_it = |&(y, x, _): &(usize, usize, f32)| {
                // where it is in either picture, nothing explains the ground
                let beside = |first: usize| (first - 2..first + 4).contains(&x);
                !((4..8).contains(&y) && (beside(4) || beside(12))) || there.contains(&(y, x, 8.0))
            };
            let apart: Vec<_> = apart.into_iter().filter(at_it).collect();
            assert_eq!(apart, there, "phase {t}, ground {ground}");
            let cell = &cues[CUES * (24 * 5 + x)..][..CUES];
            assert!(cell[3] < 2e-3 && cell[4] < 2e-3, "{cell:?}");
        }
    }
}

#[test]
fn a_post_before_moving_ground_stays() {
    let (_, context) = contexts();
    for tiles in [false, true] {
        let ([left, right], found) = thing(0.0, 4.0, true, tiles);
        let (flow, _) = chosen(&context, [&left, &right], &found, 0.5);
        for (y, x) in (0..12).flat_map(|y| [(y, 11), (y, 12)]) {
            let flow = &flow[4 * (24 * y + x)..][..4];
            assert_eq!(flow, [0.0; 4], "cell {y}, {x}, tiles: {tiles}");
        }
    }
}

#[test]
fn arrivals_do_not_depend_on_threads() {
    let size = (64, 96);
    let mut random = Random(5);
    let luma = [0; 2].map(|_| random.dense(&[SAMPLES * size.0, SAMPLES * size.1, 1], 0.5));
    let found = random.tensor(size, 4, 2.0);
    let [one, four] = [1, 4].map(|threads| {
        let context = Context::new(threads).unwrap();
        chosen(&context, luma.each_ref(), &found, 0.4)
    });
    assert_eq!(one, four);
}

#[test]
fn acceleration_has_a_limit_and_none_is_known_of_a_first_pair() {
    let (context, _) = contexts();
    let size = (3, 4);
    let (flow, past, out) = (zeros(&[3, 4, 4]), zeros(&[3, 4, 3]), zeros(&[3, 4, CUES]));
    let space = Space::new(size, &Device::Cpu).unwrap();
    let acceleration = |found: &Tensor, pace| {
        remember(&context, found, pace, &past).unwrap();
        tell(&context, &space.costs, (found, &past), &flow, &out).unwrap();
        let cues = values(&out);
        let cells = cues.chunks(CUES);
        cells
            .flat_map(|cell| cell[ACCELERATION..].to_vec())
            .collect::<Vec<_>>()
    };
    let wild = even(size, [30.0, 40.0]);
    let most = LEAST_ACCELERATION + MOST_ACCELERATION * ROOT_EPSILON.sqrt();
    let want = [-0.6 * most, -0.8 * most, 1.0];
    close(
        "limited",
        &acceleration(&wild, Some(1.0)),
        &want.repeat(12),
        TOLERANCE,
    );
    assert!(acceleration(&wild, None).iter().all(|&v| v == 0.0));
}

#[test]
fn motion_is_gathered_by_cells() {
    let (plain, _) = contexts();
    // 5x3 pixels, two of them a cell: the last row and column are half there
    let ahead: Vec<f32> = (0..15).flat_map(|i| [i as f32, 1.0]).collect();
    let back = vec![-4.0; 30];
    let found = zeros(&[3, 2, 4]);
    let ways = [&tensor(ahead, (5, 3, 2)), &tensor(back, (5, 3, 2))];
    gather(&plain, ways, 2, &found).unwrap();
    let found = values(&found);
    close("first", &found[..4], &[1.0, 0.5, -2.0, -2.0], 1e-6);
    close("right", &found[4..8], &[1.75, 0.5, -2.0, -2.0], 1e-6);
    close("corner", &found[20..], &[7.0, 0.5, -2.0, -2.0], 1e-6);
    assert!(gather(&plain, ways, 1, &zeros(&[3, 2, 4])).is_err());
}

#[test]
fn wild_motion_stays_inside() {
    let (plain, fast) = contexts();
    let size = (5, 7);
    let luma = texture(size, |_, _| (0.0, 0.0));
    for wild in [f32::NAN, f32::INFINITY, 1e30] {
        let found = even(size, [wild, -wild]);
        for context in [&plain, &fast] {
            let (_, cues) = chosen(context, [&luma, &luma], &found, 0.5);
            let costs = cues.chunks(CUES).flat_map(|cell| &cell[..HYPOTHESES]);
            assert!(costs.into_iter().all(|v| v.is_finite()), "{wild}");
        }
    }
}

#[test]
fn the_motion_before_is_half_as_long_in_cells_twice_as_large() {
    let (plain, fast) = contexts();
    for (h, w) in [(1, 1), (4, 6), (5, 9)] {
        let found = Random(4).tensor((h, w), 4, 3.0);
        let past = zeros(&[h, w, 3]);
        for pace in [None, Some(1.5)] {
            remember(&plain, &found, pace, &past).unwrap();
            let before = values(&past);
            let at =
                |y: usize, x: usize, c: usize| before[(y.min(h - 1) * w + x.min(w - 1)) * 3 + c];
            let size = (h.div_ceil(2), w.div_ceil(2));
            let mean = |i: usize| {
                let (y, x, c) = (i / 3 / size.1, i / 3 % size.1, i % 3);
                let all =
                    [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(dy, dx)| at(2 * y + dy, 2 * x + dx, c));
                let mean = all.iter().sum::<f32>() / 4.0;
                if c < 2 { 0.5 * mean } else { mean }
            };
            let want: Vec<f32> = (0..size.0 * size.1 * 3).map(mean).collect();
            for context in [&plain, &fast] {
                let out = zeros(&[size.0, size.1, 3]);
                halve_past(context, &past, &out).unwrap();
                close("half the past", &values(&out), &want, 1e-6);
            }
        }
        assert!(halve_past(&plain, &past, &zeros(&[h + 1, w, 3])).is_err());
    }
}
