//! Against plain loops, and on motion whose continuation is known.

use candle_core::{DType, Device};

use super::*;
use crate::kernels::testing::{Random, SIZES, contexts};

const SIZE: (usize, usize) = (24, 40);

fn plain() -> Context {
    Context::new(1).unwrap()
}

/// Flow from the last picture to the one before, from the motion of each cell (row, column).
fn flow(size: (usize, usize), motion: impl Fn(usize, usize) -> Vector) -> Tensor {
    let cells = (0..size.0 * size.1).map(|i| motion(i / size.1, i % size.1));
    let values: Vec<f32> = cells.flat_map(|[x, y]| [-x + 0.5, -y, 0.5, 0.0]).collect();
    Tensor::from_vec(values, (size.0, size.1, 4), &Device::Cpu).unwrap()
}

/// Flow and mask of an output.
fn projected(prediction: &mut Prediction, course: Course) -> (Vec<[f32; 4]>, Vec<f32>) {
    let size = prediction.velocity.size;
    let made = [1, 3].map(|threads| {
        let context = Context::new(threads).unwrap();
        let zeros = |c| Tensor::zeros((size.0, size.1, c), DType::F32, &Device::Cpu).unwrap();
        let (flow, mask) = (zeros(4), zeros(1));
        prediction
            .project(&context, course, (&flow, &mask))
            .unwrap();
        let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let flow = values(&flow)
            .chunks(4)
            .map(|c| [c[0], c[1], c[2], c[3]])
            .collect();
        (flow, values(&mask))
    });
    assert!(made[0] == made[1], "depends on the threads");
    made[0].clone()
}

fn course(ahead: f32) -> Course {
    Course {
        ahead,
        left_over: 0.0,
    }
}

fn near<const N: usize>(found: [f32; N], wanted: [f32; N]) {
    let far = (0..N).any(|c| (found[c] - wanted[c]).abs() > 1e-2);
    assert!(!far, "{found:?}, expected {wanted:?}");
}

#[test]
fn means_are_those_of_plain_loops() {
    let mut random = Random(5);
    let context = Context::new(3).unwrap();
    for size in SIZES.into_iter().chain([(70, 9)]) {
        let mut field = Field::new(size);
        field.values.fill_with(|| [random.value(), random.value()]);
        for radius in [0, 1, 4, 16] {
            let mut means = Field::new(size);
            field.means(&context, radius, &mut means);
            for (i, found) in means.values.iter().enumerate() {
                let near = |at: usize, other: usize| at.abs_diff(other) <= radius;
                let around =
                    field.values.iter().enumerate().filter(|(j, _)| {
                        near(i / size.1, j / size.1) && near(i % size.1, j % size.1)
                    });
                let around: Vec<Vector> = around.map(|(_, v)| *v).collect();
                let sum = around.iter().fold([0.0; 2], |sum, v| add(sum, *v));
                near_vector(
                    *found,
                    scaled(sum, 1.0 / around.len() as f32),
                    (size, radius),
                );
            }
        }
    }
}

fn near_vector(found: Vector, wanted: Vector, case: impl std::fmt::Debug) {
    let apart = length(add(found, scaled(wanted, -1.0)));
    assert!(apart < 1e-5, "{case:?}: {found:?}, expected {wanted:?}");
}

#[test]
fn a_pan_goes_on_and_what_comes_in_goes_with_it() {
    let mut prediction = Prediction::new(SIZE);
    prediction
        .advance(&plain(), &flow(SIZE, |_, _| [8.0, -4.0]), None)
        .unwrap();
    for ahead in [0.25, 0.5, 1.0, 1.5] {
        let (flow, mask) = projected(&mut prediction, course(ahead));
        let beyond = 1.0 + ahead;
        for (i, found) in flow.iter().enumerate() {
            let wanted = [-8.0 * beyond, 4.0 * beyond, -8.0 * ahead, 4.0 * ahead];
            near(*found, wanted);
            // what comes in at the left was in neither picture
            assert_eq!(mask[i], 0.0, "cell {i}");
        }
    }
}

/// A square of 8x8 cells goes over a background that goes the other way.
fn square(y: usize, x: usize) -> Vector {
    let inside = (8..16).contains(&y) && (12..20).contains(&x);
    if inside { [16.0, 0.0] } else { [-8.0, 0.0] }
}

#[test]
fn what_moves_unlike_its_surroundings_is_in_front() {
    let mut prediction = Prediction::new(SIZE);
    prediction
        .advance(&plain(), &flow(SIZE, square), None)
        .unwrap();
    let (flow, _) = projected(&mut prediction, course(0.5));
    // two cells on; its own trailing edge, where half a cell is reached, left out
    for x in 14..22 {
        near(flow[12 * SIZE.1 + x], [-24.0, 0.0, -8.0, 0.0]);
    }
    for x in [8, 24, 30] {
        near(flow[12 * SIZE.1 + x], [12.0, 0.0, 4.0, 0.0]);
    }
}

// the square covers in the last picture what the one before shows: thin, it has gone on further than it is wide
#[test]
fn what_the_last_picture_hides_comes_from_the_one_before() {
    let thin = |y: usize, x: usize| {
        let inside = (8..16).contains(&y) && (20..22).contains(&x);
        if inside { [48.0, 0.0] } else { [0.0, 0.0] }
    };
    let mut prediction = Prediction::new(SIZE);
    prediction
        .advance(&plain(), &flow(SIZE, thin), None)
        .unwrap();
    let (flow, mask) = projected(&mut prediction, course(0.5));
    for x in [20, 21] {
        let i = 12 * SIZE.1 + x;
        assert!(mask[i] > 0.6, "{}", mask[i]);
        near([flow[i][0], flow[i][1]], [0.0; 2]);
    }
    for x in [4, 12, 26, 27, 34] {
        assert_eq!(mask[12 * SIZE.1 + x], 0.0, "column {x}");
    }
}

#[test]
fn acceleration_goes_on_in_part_and_what_is_left_of_a_miss_moves_the_picture() {
    let mut prediction = Prediction::new(SIZE);
    prediction
        .advance(&plain(), &flow(SIZE, |_, _| [8.0, 0.0]), None)
        .unwrap();
    assert_eq!(prediction.displacement(1.0), 0.0);
    prediction
        .advance(&plain(), &flow(SIZE, |_, _| [10.0, 0.0]), Some(1.0))
        .unwrap();
    assert_eq!(prediction.displacement(0.5), 1.0);
    let at = |prediction: &mut Prediction, ahead, left_over| {
        let (flow, _) = projected(prediction, Course { ahead, left_over });
        -flow[12 * SIZE.1 + 20][2]
    };
    // two pixels behind; at the end of an interval the velocity has changed by a share of them
    let wanted = 5.0 + PERSISTENCE * 2.0 * 0.375;
    near([at(&mut prediction, 0.5, 0.0)], [wanted]);
    near([at(&mut prediction, 0.0, 0.5)], [-1.0]);
    // after a pause nothing is known of the pair before
    prediction
        .advance(&plain(), &flow(SIZE, |_, _| [12.0, 0.0]), None)
        .unwrap();
    near([at(&mut prediction, 0.5, 0.0)], [6.0]);
    // twice the time
    prediction
        .advance(&plain(), &flow(SIZE, |_, _| [24.0, 0.0]), Some(2.0))
        .unwrap();
    assert_eq!(prediction.displacement(1.0), 0.0);
}

#[test]
fn a_wild_miss_is_limited() {
    let mut prediction = Prediction::new(SIZE);
    prediction
        .advance(&plain(), &flow(SIZE, |_, _| [200.0, 0.0]), None)
        .unwrap();
    prediction
        .advance(&plain(), &flow(SIZE, |_, _| [1.0, 0.0]), Some(1.0))
        .unwrap();
    assert_eq!(prediction.displacement(1.0), MOST_MISS + LEAST_MISS);
}

#[test]
fn any_motion_of_any_size_gives_flow_of_finite_numbers() {
    let mut random = Random(9);
    for size in SIZES {
        let mut prediction = Prediction::new(size);
        for scale in [1.0, 1e4, f32::INFINITY, f32::NAN] {
            let wild = random.tensor(size, 4, scale);
            prediction.advance(&plain(), &wild, Some(1.0)).unwrap();
            for ahead in [0.0, 0.5, 2.0] {
                let (flow, mask) = projected(&mut prediction, course(ahead));
                assert!(
                    flow.iter().flatten().all(|v| v.is_finite()),
                    "{size:?} {scale}"
                );
                assert!(
                    mask.iter().all(|m| (0.0..=1.0).contains(m)),
                    "{size:?} {scale}"
                );
            }
        }
    }
}

#[test]
fn another_size_is_an_error() {
    let mut prediction = Prediction::new(SIZE);
    let (_, context) = contexts();
    let other = flow((24, 41), |_, _| [0.0; 2]);
    assert!(prediction.advance(&plain(), &other, None).is_err());
    let (right, wrong) = (flow(SIZE, |_, _| [0.0; 2]), flow((25, 40), |_, _| [0.0; 2]));
    let mask = right.narrow(2, 0, 1).unwrap();
    let result = prediction.project(&context, course(0.5), (&wrong, &mask));
    assert!(result.is_err());
}

#[test]
fn threads_make_no_difference() {
    let size = (96, 170);
    let mut random = Random(13);
    let flows = [(); 2].map(|()| {
        let values = (0..4 * size.0 * size.1).map(|_| 12.0 * random.value());
        Tensor::from_vec(
            values.collect::<Vec<_>>(),
            (size.0, size.1, 4),
            &Device::Cpu,
        )
        .unwrap()
    });
    let [one, three] = [1, 3].map(|threads| {
        let context = Context::new(threads).unwrap();
        let mut prediction = Prediction::new(size);
        prediction.advance(&context, &flows[0], None).unwrap();
        prediction.advance(&context, &flows[1], Some(1.25)).unwrap();
        projected(
            &mut prediction,
            Course {
                ahead: 0.5,
                left_over: 0.5,
            },
        )
    });
    assert!(one == three);
    assert!(
        one.1.iter().any(|weight| *weight > 0.0),
        "nothing is uncovered"
    );
}

#[test]
fn what_is_put_is_shared_among_four_cells() {
    let mut random = Random(17);
    let (height, width) = (7, 9);
    for scale in [0.0, 3.0, 40.0, 1e12] {
        let mut way = Pyramid::new((height, width));
        let mut wanted = vec![[0.0f64; 4]; height * width];
        for i in 0..height * width {
            let by = [0; 2].map(|_| scale * random.value());
            let (value, weight) = ([random.value(), random.value()], random.value().abs());
            let at = [(i % width) as f32, (i / width) as f32];
            way.put(add(at, scaled(by, 1.0 / CELL)), value, weight);
            let [x, y] = [0, 1].map(|c| f64::from(at[c] + by[c] / CELL));
            for (j, sum) in wanted.iter_mut().enumerate() {
                let near = |at: usize, place: f64| (1.0 - (at as f64 - place).abs()).max(0.0);
                let share = near(j % width, x) * near(j / width, y);
                let put = [weight * value[0], weight * value[1], weight, 1.0];
                (0..4).for_each(|c| sum[c] += share * f64::from(put[c]));
            }
        }
        way.put([f32::NAN, 0.0], [1.0; 2], 1.0);
        way.put([f32::INFINITY, f32::NEG_INFINITY], [1.0; 2], 1.0);
        for (got, want) in way.sums.as_flattened().iter().zip(wanted.as_flattened()) {
            assert!(
                (f64::from(*got) - want).abs() < 1e-5,
                "{scale}: {got}, expected {want}"
            );
        }
    }
}
