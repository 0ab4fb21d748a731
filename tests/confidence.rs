//! What the confidence predicts, through the whole engine.

use std::sync::Arc;

use gstvideointerpolate::interpolator::{
    Encoded, Findings, Interpolator, Settings, predicted_error,
};
use gstvideointerpolate::kernels::PhaseMap;
use gstvideointerpolate::picture::{Channel, Format};
use gstvideointerpolate::show::Map;

mod common;

use common::{Owned, interpolator};

const SIZE: (u32, u32) = (256, 144);
/// Waves that have moved by `moved` pixels.
fn scene(moved: f32) -> Owned {
    Owned::painted(Format::I420, SIZE, 3, |channel, x, y| {
        if channel != Channel::Y {
            return 0.5;
        }
        let at = x - moved;
        let waves = (0.19 * at).sin() * (0.23 * y).cos() + 0.5 * (0.31 * at + 0.17 * y).sin();
        0.4 + 0.2 * waves
    })
}

/// What lies half way, and the predicted error of each pixel's cell.
fn half_way(left: &Owned, right: &Owned) -> (Owned, impl Fn(usize, usize) -> f32) {
    let mut engine = interpolator(Format::I420, SIZE);
    let (l, r) = (left.picture(), right.picture());
    let encode = |e: &mut Interpolator, p| -> Arc<Encoded> { e.encode(p).unwrap() };
    let (le, re) = (encode(&mut engine, &l), encode(&mut engine, &r));
    let mut out = Owned::new(Format::I420, SIZE, 3);
    let (phase, settings) = (PhaseMap::Uniform(0.5), Settings::default());
    engine
        .interpolate(
            (&l, &le),
            (&r, &re),
            &phase,
            &settings,
            &mut out.picture_mut(),
        )
        .unwrap();
    let findings = engine.findings().unwrap();
    assert!(matches!(findings, Findings::Motion { .. }));
    let map = Map::Confidence.colours(&findings, SIZE.0 as usize, SIZE.1 as usize);
    let map = map.unwrap();
    (out, move |x, y| predicted_error(map.at(x, y)[0]))
}

/// Mean absolute difference of luma over the places that count, codes.
fn apart(a: &Owned, b: &Owned, counts: impl Fn(usize, usize) -> bool) -> f32 {
    let (a, b) = (a.picture(), b.picture());
    let places = (0..SIZE.1 as usize).flat_map(|y| (0..SIZE.0 as usize).map(move |x| (x, y)));
    let each = places.filter(|(x, y)| counts(*x, *y));
    let each: Vec<f32> = each
        .map(|(x, y)| f32::from(a.row(0, y)[x].abs_diff(b.row(0, y)[x])))
        .collect();
    each.iter().sum::<f32>() / each.len() as f32
}

#[test]
fn where_more_error_is_predicted_there_is_more() {
    // On the right new noise in each picture: nothing can be made of it.
    let noise = |n: u64| Owned::noise(Format::I420, SIZE, 3, n);
    let with_noise = |mut scene: Owned, noise: &Owned| {
        let stride = scene.planes[0].1 as usize;
        for y in 0..SIZE.1 as usize {
            let half = y * stride + SIZE.0 as usize / 2..y * stride + SIZE.0 as usize;
            scene.planes[0].0[half.clone()].copy_from_slice(&noise.planes[0].0[half]);
        }
        scene
    };
    let [left, truth, right] = [1, 2, 3].map(|n| with_noise(scene(3.0 * n as f32), &noise(n)));
    let (made, predicted) = half_way(&left, &right);
    let mean = |columns: std::ops::Range<usize>| {
        let places = columns.clone().flat_map(|x| (16..128).map(move |y| (x, y)));
        let count = places.clone().count() as f32;
        let predicted = places.map(|(x, y)| predicted(x, y)).sum::<f32>() / count;
        (
            predicted,
            apart(&made, &truth, |x, y| {
                columns.contains(&x) && (16..128).contains(&y)
            }),
        )
    };
    let (calm, noisy) = (mean(16..104), mean(152..240));
    println!("calm {calm:?}, noisy {noisy:?}");
    assert!(calm.0 < 10.0 && noisy.0 > 25.0, "{calm:?}, {noisy:?}");
    let factor = noisy.0 / noisy.1;
    assert!((0.4..2.5).contains(&factor), "{noisy:?}");
}
