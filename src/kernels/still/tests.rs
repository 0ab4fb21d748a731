use super::*;
use crate::kernels::testing::{Random, bytes, contexts};
use crate::picture::owned::Owned;
use crate::picture::{Channel, Format};

/// Heights and widths of luma, around the sizes of cells and vectors.
pub const LUMA_SIZES: [(usize, usize); 8] = [
    (1, 1),
    (1, 9),
    (4, 8),
    (5, 17),
    (7, 4),
    (12, 33),
    (16, 40),
    (9, 77),
];

/// Luma of two pictures, -0.5 to 0.5: some samples the same, some nearly, some not.
pub fn alike(random: &mut Random, (h, w): (usize, usize)) -> [Tensor; 2] {
    let left = random.dense(&[h, w, 1], 0.2);
    let noise = random.dense(&[h, w, 1], 0.013);
    let right = (&left + &noise).unwrap();
    [left, right]
}

fn edge_counts(context: &Context, left: &Tensor, right: &Tensor) -> Vec<f32> {
    let (h, w, _) = left.dims3().unwrap();
    let space = Space::new((h.div_ceil(SAMPLES), w.div_ceil(SAMPLES))).unwrap();
    edges(context, [&bytes(left), &bytes(right)], &space).unwrap();
    space.edges.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn fast_and_plain_count_the_same_edges() {
    let (plain, fast) = contexts();
    let mut random = Random(4);
    for (h, w) in LUMA_SIZES {
        let [left, right] = alike(&mut random, (h, w));
        for right in [&left, &right] {
            let [a, b] = [&plain, &fast].map(|c| edge_counts(c, &left, right));
            assert_eq!(a, b, "{h}x{w}");
        }
    }
    let left = random.dense(&[16, 40, 1], 0.2);
    assert!(edge_counts(&fast, &left, &left).iter().sum::<f32>() > 100.0);
}

#[test]
fn an_edge_counts_where_both_pictures_have_it() {
    let (_, context) = contexts();
    let device = Device::Cpu;
    let at = |edge: usize| {
        let value = |i: usize| if i % 16 < edge { -0.2f32 } else { 0.2 };
        Tensor::from_vec((0..8 * 16).map(value).collect(), (8, 16, 1), &device).unwrap()
    };
    let both = edge_counts(&context, &at(6), &at(6));
    assert_eq!(both, [0.0, 4.0, 0.0, 0.0, 0.0, 4.0, 0.0, 0.0]);
    assert!(
        edge_counts(&context, &at(6), &at(7))
            .iter()
            .all(|&n| n == 0.0)
    );
}

/// A light stroke three pixels wide on what differs between the pictures.
fn stroke(format: Format, other: f32) -> Owned {
    let mut owned = Owned::new(format, (32, 24), 3);
    for c in format.components() {
        for y in 0..c.height(24) {
            for x in 0..c.width(32) {
                let pixel = x << c.sub_x;
                let light = matches!(c.channel, Channel::Y | Channel::R | Channel::G | Channel::B);
                let share = match (light, (12..15).contains(&pixel)) {
                    (true, true) => 0.9,
                    (true, false) => other,
                    _ => 0.5,
                };
                let code = (share * c.max() as f32) as u32;
                c.store(owned.row(c.plane, y), x, code);
            }
        }
    }
    owned
}

#[test]
fn strokes_are_kept_in_every_format_and_the_rest_is_not() {
    let (_, context) = contexts();
    for format in Format::ALL {
        let (left, right) = (stroke(format, 0.3), stroke(format, 0.5));
        let space = Space::new((6, 8)).unwrap();
        // luma as the network sees it, with the stroke's edge and a background that is the same
        let value = |i: usize| {
            if (12..15).contains(&(i % 32)) {
                0.4f32
            } else {
                -0.2
            }
        };
        let luma = (0..24 * 32).map(value).collect();
        let luma = bytes(&Tensor::from_vec(luma, (24, 32, 1), &Device::Cpu).unwrap());
        edges(&context, [&luma, &luma], &space).unwrap();
        for (disagree, moving, kept) in [(0.5, 0.0, true), (0.01, 0.01, false), (0.01, 0.05, true)]
        {
            let [difference, change] =
                [disagree, moving].map(|v: f32| Tensor::full(v, (6, 8, 1), &Device::Cpu).unwrap());
            let mut out = Owned::new(format, (32, 24), 3);
            let untouched = Owned::new(format, (32, 24), 3);
            // what differs between the pictures is never kept
            let sides = [&left.picture(), &right.picture()];
            let beside = [&difference, &change];
            keep(&context, &space, beside, sides, &mut out.picture_mut()).unwrap();
            for c in format
                .components()
                .iter()
                .filter(|c| c.sub_x + c.sub_y == 0)
            {
                let from = if kept { &left } else { &untouched };
                let what = format!("{format:?} {:?}", c.channel);
                assert_eq!(out.code(c, 13, 9), from.code(c, 13, 9), "{what}");
                assert_eq!(out.code(c, 17, 9), untouched.code(c, 17, 9), "{what}");
            }
        }
    }
}

#[test]
fn what_shows_through_a_gap_of_one_sample_is_not_kept() {
    let (context, format) = (contexts().1, Format::Gray8);
    let plane = |value: f32| Tensor::full(value, (6, 8, 1), &Device::Cpu).unwrap();
    for (gap, kept) in [
        (12..13, false),
        (12..14, true),
        (0..1, true),
        (31..32, true),
    ] {
        let luma = &format.components()[0];
        let [left, right] = [80, 120].map(|other| {
            let mut owned = Owned::new(format, (32, 24), 3);
            for (y, x) in (0..24).flat_map(|y| (0..32).map(move |x| (y, x))) {
                let code = if gap.contains(&x) { 230 } else { other };
                luma.store(owned.row(0, y), x, code);
            }
            owned
        });
        let space = Space {
            edges: plane(4.0),
            kept: plane(0.0),
        };
        let mut out = Owned::new(format, (32, 24), 3);
        let sides = [&left.picture(), &right.picture()];
        let beside = [&plane(0.5), &plane(0.5)];
        keep(&context, &space, beside, sides, &mut out.picture_mut()).unwrap();
        let [found, from] = [&out, &left].map(|owned| owned.code(luma, gap.start, 9));
        assert_eq!(found == from, kept, "{gap:?}: {found}, {from}");
    }
}

#[test]
fn fewer_edges_are_enough_where_something_moves() {
    let (_, context) = contexts();
    let plane = |value: f32| Tensor::full(value, (6, 8, 1), &Device::Cpu).unwrap();
    for (edges, disagree, moving, kept) in [
        (1.5, 0.5, 0.0, false),
        (1.5, 0.5, 0.05, true),
        (1.5, 0.01, 0.05, true),
        (1.5, 0.003, 0.05, false),
        (1.2, 0.5, 0.05, false),
        (2.5, 0.5, 0.0, false),
        (3.0, 0.5, 0.0, true),
        (3.0, 0.0, 0.0, false),
    ] {
        let space = Space {
            edges: plane(edges),
            kept: plane(0.5),
        };
        choose(&context, &space, &plane(disagree), &plane(moving)).unwrap();
        let found: Vec<f32> = space.kept.flatten_all().unwrap().to_vec1().unwrap();
        let what = format!("{edges} edges a cell, {disagree}, {moving}");
        assert!(found.iter().all(|f| (*f > 0.0) == kept), "{what}");
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let (context, _) = contexts();
    let luma = |h, w| Tensor::zeros((h, w, 1), DType::U8, &Device::Cpu).unwrap();
    let space = Space::new((2, 3)).unwrap();
    assert!(edges(&context, [&luma(8, 12), &luma(8, 12)], &space).is_ok());
    assert!(edges(&context, [&luma(8, 12), &luma(8, 11)], &space).is_err());
    assert!(edges(&context, [&luma(8, 16), &luma(8, 16)], &space).is_err());
}
