use super::*;
use crate::kernels::resample;
use crate::kernels::testing::{Random, close, zeros};

fn context() -> Context {
    Context::new(2).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// A table of products for each cell of the other picture, in f64.
type Table = Vec<Vec<f64>>;

fn product(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.sum::<f64>() / (a.len() as f64).sqrt()
}

/// Means of 2x2 cells; odd rows and columns have no partner.
fn halved(table: &Table) -> Table {
    let cell = |y: usize, x: usize| {
        let sum: f64 = (0..4).map(|i| table[2 * y + i / 2][2 * x + i % 2]).sum();
        sum / 4.0
    };
    let (h, w) = (table.len() / 2, table[0].len() / 2);
    (0..h)
        .map(|y| (0..w).map(|x| cell(y, x)).collect())
        .collect()
}

/// Bilinear, 0 beyond the edge.
fn sampled(table: &Table, x: f64, y: f64) -> f64 {
    let at = |y: f64, x: f64| {
        let is_inside =
            y >= 0.0 && x >= 0.0 && (y as usize) < table.len() && (x as usize) < table[0].len();
        if is_inside {
            table[y as usize][x as usize]
        } else {
            0.0
        }
    };
    let (l, t) = (x.floor(), y.floor());
    let row = |y: f64| at(y, l) * (1.0 - (x - l)) + at(y, l + 1.0) * (x - l);
    row(t) * (1.0 - (y - t)) + row(t + 1.0) * (y - t)
}

#[test]
fn a_lookup_is_one_in_the_table_of_all_pairs() {
    let (size, d) = ((9, 12), 11);
    let mut random = Random(1);
    let [own, other] = [0, 1].map(|_| random.tensor(size, d, 1.0));
    let (flow, share) = (
        random.tensor(size, 2, 6.0),
        Random(2).dense(&[9, 12, 1], 0.3),
    );
    let share = (share + 0.5).unwrap();
    let mut levels = vec![other.clone()];
    for (h, w) in [(4, 6), (2, 3)] {
        let even = levels[levels.len() - 1].narrow(0, 0, 2 * h).unwrap();
        let even = even.narrow(1, 0, 2 * w).unwrap();
        let half = zeros(&[h, w, d]);
        resample::half(&context(), &even, &half).unwrap();
        levels.push(half);
    }
    let [own_values, other_values, flows, shares] = [&own, &other, &flow, &share].map(values);
    for is_other in [false, true] {
        let out = zeros(&[9, 12, 3 * LOOKED_UP]);
        look_up(&context(), (&own, &levels), &flow, (&share, is_other), &out).unwrap();
        let mut want = Vec::new();
        for i in 0..9 * 12 {
            let row = |y: usize| (0..12).map(move |x| y * 12 + x);
            let own = &own_values[i * d..][..d];
            let cell = |j: usize| product(own, &other_values[j * d..][..d]);
            let mut table: Table = (0..9).map(|y| row(y).map(cell).collect()).collect();
            let share = f64::from(if is_other { 1.0 - shares[i] } else { shares[i] });
            let mut x = (i % 12) as f64 + f64::from(flows[2 * i]) / share;
            let mut y = (i / 12) as f64 + f64::from(flows[2 * i + 1]) / share;
            for _ in 0..3 {
                for place in 0..LOOKED_UP {
                    let (dx, dy) = ((place / SIDE) as f64 - 3.0, (place % SIDE) as f64 - 3.0);
                    want.push(sampled(&table, x + dx, y + dy) as f32);
                }
                table = halved(&table);
                (x, y) = (x / 2.0, y / 2.0);
            }
        }
        close("lookup", &values(&out), &want, 1e-4);
    }
}

#[test]
fn a_lookup_far_outside_or_nowhere_is_nothing() {
    let own = Random(3).tensor((2, 2), 4, 1.0);
    let share = (zeros(&[2, 2, 1]) + 0.5).unwrap();
    for far in [1e30, -1e30, f64::INFINITY, f64::NAN] {
        let flow = (zeros(&[2, 2, 2]) + far).unwrap();
        let out = zeros(&[2, 2, LOOKED_UP]);
        look_up(
            &context(),
            (&own, std::slice::from_ref(&own)),
            &flow,
            (&share, false),
            &out,
        )
        .unwrap();
        if far.is_finite() {
            assert!(values(&out).iter().all(|v| *v == 0.0), "{far}");
        }
    }
    let out = zeros(&[2, 2, LOOKED_UP]);
    let flow = zeros(&[2, 2, 2]);
    assert!(look_up(&context(), (&own, &[]), &flow, (&share, false), &out).is_err());
}

#[test]
fn channels_are_standardised_each_over_all_pixels() {
    let input = (Random(4).tensor((13, 9), 3, 2.0) + 5.0).unwrap();
    let out = zeros(&[13, 9, 3]);
    let room = Moments::new(&candle_core::Device::Cpu, [13, 3]).unwrap();
    standardise(&context(), &input, false, &room, &out).unwrap();
    let all = values(&out);
    for c in 0..3 {
        let own = || all.iter().skip(c).step_by(3).map(|v| f64::from(*v));
        let (mean, square) = (
            own().sum::<f64>() / 117.0,
            own().map(|v| v * v).sum::<f64>() / 117.0,
        );
        assert!(
            mean.abs() < 1e-5 && (square - 1.0).abs() < 1e-4,
            "{mean} {square}"
        );
    }
    let rectified = zeros(&[13, 9, 3]);
    standardise(&context(), &input, true, &room, &rectified).unwrap();
    let want: Vec<_> = all.iter().map(|v| v.max(0.0)).collect();
    assert_eq!(values(&rectified), want);
}

#[test]
fn resizing_agrees_with_halving_and_doubling() {
    let input = Random(5).tensor((6, 8), 3, 1.0);
    let (half, want) = (zeros(&[3, 4, 3]), zeros(&[3, 4, 3]));
    resize(&context(), &input, 2.0, &half).unwrap();
    resample::half(&context(), &input, &want).unwrap();
    let want = (want * 2.0).unwrap();
    close("half", &values(&half), &values(&want), 1e-6);
    let (double, want) = (zeros(&[12, 16, 3]), zeros(&[12, 16, 3]));
    resize(&context(), &input, 1.0, &double).unwrap();
    resample::double(&context(), &input, &want).unwrap();
    close("double", &values(&double), &values(&want), 1e-6);
}

#[test]
fn a_quarter_of_the_size_is_the_mean_of_the_four_in_the_middle() {
    let input = Random(6).tensor((4, 8), 1, 1.0);
    let out = zeros(&[1, 2, 1]);
    resize(&context(), &input, 1.0, &out).unwrap();
    let all = values(&input);
    let want = [1, 5].map(|x| (all[8 + x] + all[9 + x] + all[16 + x] + all[17 + x]) / 4.0);
    close("quarter", &values(&out), &want, 1e-6);
}
