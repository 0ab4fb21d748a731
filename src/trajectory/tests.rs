use std::cell::Cell;

use super::field::LATENT;
use super::*;
use crate::kernels::testing::Random;

/// A drive by a function.
struct By<F>(F);

impl<F: Fn(&State, f32) -> State> Drive for By<F> {
    fn change(&self, z: &State, t: f32) -> State {
        (self.0)(z, t)
    }
}

fn state(values: [f32; 4]) -> State {
    let mut state = [0.0; STATE];
    state[..4].copy_from_slice(&values);
    state
}

fn random(random: &mut Random, scale: f32) -> impl FnMut() -> f32 {
    let values: Vec<f32> = random
        .dense(&[32, 32, 1], scale)
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap();
    let mut at = 0;
    move || {
        at += 1;
        values[at % values.len()]
    }
}

#[test]
fn both_ends_are_met_exactly_whatever_the_field() {
    let mut source = Random(3);
    let mut next = random(&mut source, 4.0);
    for _ in 0..100 {
        let weights: [[f32; STATE]; STATE] =
            std::array::from_fn(|_| std::array::from_fn(|_| next()));
        let drive = By(|z: &State, t: f32| {
            std::array::from_fn(|i| {
                let sum: f32 = weights[i].iter().zip(z).map(|(w, z)| w * z).sum();
                (sum + 3.0 * t).sin()
            })
        });
        let starts = [(); 2].map(|()| std::array::from_fn(|_| next()));
        let motion = [next(), next()];
        assert_eq!(position(&drive, starts, motion, 0.0), Some([0.0; 2]));
        assert_eq!(position(&drive, starts, motion, 1.0), Some(motion));
        // and nothing jumps next to them
        let near = position(&drive, starts, motion, 1e-4).unwrap();
        assert!(near.iter().all(|v| v.abs() < 0.01), "{near:?}");
    }
}

#[test]
fn the_network_meets_both_ends_whatever_its_weights() {
    let mut source = Random(5);
    let mut next = random(&mut source, 3.0);
    let weights: Vec<f32> = (0..1024).map(|_| next()).collect();
    let field = Field::of(
        |h, i| weights[16 * i + h],
        |h| weights[300 + h],
        |o, h| weights[400 + 16 * o + h],
        |o| weights[500 + o],
    );
    let clues = Clues {
        motion: [1.25, -0.5],
        accelerations: [Some([0.4, 0.1]), Some([-0.3, 0.2])],
        inconsistency: [0.2, 0.1],
        difference: 0.1,
        gate: 0.5,
    };
    assert_eq!(field.bend(&clues, 0.0), [0.0; 2]);
    assert_eq!(field.bend(&clues, 1.0), [0.0; 2]);
    assert_ne!(field.bend(&clues, 0.5), [0.0; 2]);
}

#[test]
fn a_constant_field_is_linear_motion() {
    let drive = By(|_: &State, _| state([1.5, -0.25, 0.0, 0.0]));
    for t in [0.125, 0.5, 0.9] {
        let at = position(&drive, [state([0.0; 4]); 2], [1.5, -0.25], t).unwrap();
        assert!(
            (at[0] - 1.5 * t).abs() < 1e-6 && (at[1] + 0.25 * t).abs() < 1e-6,
            "{at:?}"
        );
    }
}

#[test]
fn the_solver_takes_steps_by_the_error() {
    let calls = Cell::new(0);
    // a turn of a circle, then of one 12 times as fast
    let turning = |speed: f32| {
        calls.set(0);
        let drive = By(|z: &State, _| {
            calls.set(calls.get() + 1);
            state([-speed * z[1], speed * z[0], 0.0, 0.0])
        });
        let end = solver::carry(&drive, state([1.0, 0.0, 0.0, 0.0]), 0.0, 1.0, 1e-4).unwrap();
        let (y, x) = speed.sin_cos();
        assert!(
            (end[0] - x).abs() < 2e-3 && (end[1] - y).abs() < 2e-3,
            "{end:?}"
        );
        calls.get()
    };
    let (slow, fast) = (turning(1.0), turning(12.0));
    assert!(
        slow < 40 && fast > 3 * slow,
        "{slow} and {fast} evaluations"
    );
}

#[test]
fn what_is_stiff_explodes_or_is_no_number_is_refused_after_few_steps() {
    let calls = Cell::new(0);
    let refuses = |change: fn(f32) -> f32| {
        calls.set(0);
        let drive = By(|z: &State, _| {
            calls.set(calls.get() + 1);
            state([change(z[0]), 0.0, 0.0, 0.0])
        });
        let end = solver::carry(&drive, state([1.0, 0.0, 0.0, 0.0]), 0.0, 1.0, TOLERANCE);
        assert_eq!(end, None);
        assert!(calls.get() < 2000, "{} evaluations", calls.get());
    };
    refuses(|x| -3000.0 * (x - 0.5));
    refuses(|x| 40.0 * x * x);
    refuses(|_| f32::NAN);
    refuses(|_| 1e6);
}

/// Clues of a thing at the places of four frames.
fn along(places: [Vector; 4]) -> Clues {
    let way = |i: usize| [0, 1].map(|c| places[i + 1][c] - places[i][c]);
    let more = |i: usize| [0, 1].map(|c| way(i + 1)[c] - way(i)[c]);
    Clues {
        motion: way(1),
        accelerations: [Some(more(0)), Some(more(1))],
        inconsistency: [0.0; 2],
        difference: 0.0,
        gate: 0.5,
    }
}

/// Largest distance, in pixels, of the made way from the true one, over eighths; and that of even motion.
fn worst(field: &Field, path: impl Fn(f32) -> Vector) -> (f32, f32) {
    let clues = along([-1.0, 0.0, 1.0, 2.0].map(&path));
    let mut most = (0.0f32, 0.0f32);
    for t in (1..8).map(|i| i as f32 / 8.0) {
        let (bend, from, truth) = (field.bend(&clues, t), path(0.0), path(t));
        let even = [0, 1].map(|c| from[c] + t * clues.motion[c]);
        let off =
            |bend: Vector| 8.0 * (even[0] + bend[0] - truth[0]).hypot(even[1] + bend[1] - truth[1]);
        most = (most.0.max(off(bend)), most.1.max(off([0.0; 2])));
    }
    most
}

#[test]
fn thrown_turning_and_swinging_things_are_followed_to_a_quarter_of_a_pixel() {
    let fields = [
        ("cubic", Field::cubic()),
        ("learnt", *Field::embedded().unwrap()),
    ];
    for (name, field) in fields {
        let check = |what: &str, path: &dyn Fn(f32) -> Vector| {
            let (off, even) = worst(&field, path);
            assert!(
                off < 0.25,
                "{what}, {name}: {off} px, even motion {even} px"
            );
            assert!(even > 0.4, "{what}: even motion is only {even} px off");
        };
        // cells of 8 pixels
        check("thrown", &|t| [3.0 * t, 0.4 * t * t - 0.2 * t]);
        check("turning", &|t| {
            [2.0 * (0.6 * t).sin(), 2.0 * (0.6 * t).cos()]
        });
        check("swinging", &|t| [2.0 * (0.6 * t + 0.5).sin(), 0.0]);
    }
}

#[test]
fn latent_values_begin_with_nothing() {
    let clues = along([[0.0; 2], [1.0, 0.0], [2.5, 0.0], [4.0, 0.5]]);
    let field = Field::cubic();
    let way = Way::new(&field, &clues).unwrap();
    for t in [0.0, 1.0] {
        assert_eq!(way.start(t)[STATE - LATENT..], [0.0; LATENT]);
    }
}
