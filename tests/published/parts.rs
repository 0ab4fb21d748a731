//! Pictures that are seen in parts.

use candle_core::{Device, Tensor};
use gstvideointerpolate::kernels::{Context, PhaseMap};
use gstvideointerpolate::network::checkpoint::Checkpoint;
use gstvideointerpolate::network::published::{Options, Published};
use gstvideointerpolate::picture::Format;

use super::checkpoints::{tensors, waves};
use super::common::Owned;
use super::{Run, made_in_parts, model, run_on};

/// Height and width, which need no padding, of what is seen in three parts, which begin at these columns; from the last of these to the end
/// of the first part all three meet.
const LARGE: (usize, usize) = (64, 448);
const LONGEST: usize = 256;
const STARTS: [usize; 3] = [0, 96, 192];
/// Rounding of motion in pixels and of colours, full scale being 1.
const ROUNDING: f32 = 1e-4;
/// What the parts do not see of the whole: mean difference of the picture at most, full scale being 1. Weights that have learnt
/// nothing look far.
const UNSEEN: f32 = 0.03;

/// Motion and picture, `[h, w, 8]`, between the columns from `first` on of two pictures.
fn found(
    network: &Published,
    (first, columns): (usize, usize),
    phase: &PhaseMap,
    longest: Option<usize>,
) -> Tensor {
    let context = Context::new(2).unwrap();
    let options = Options {
        longest,
        recursion: 1,
        ..Options::default()
    };
    let part = |moved| waves(LARGE, moved).narrow(1, first, columns).unwrap();
    let Run { workspace, sides } = run_on(network, &context, options, phase, part);
    let [left, right] = &sides;
    let picture = workspace.picture(left, right).unwrap();
    Tensor::cat(&[workspace.motion(), &picture], 2).unwrap()
}

/// Fails unless what is found in parts is what one alone finds where no other is, and lies between theirs where they meet; unless the
/// picture is like that of the whole.
fn parts_blend(name: &str, phase: &PhaseMap, of_part: impl Fn(usize) -> PhaseMap) {
    let network = Published::load(&Checkpoint::of(name, tensors(name)), None).unwrap();
    let all = found(&network, (0, LARGE.1), phase, Some(LONGEST));
    let alone = STARTS.map(|start| found(&network, (start, LONGEST), &of_part(start), None));
    let values = |t: &Tensor| t.to_vec3::<f32>().unwrap();
    let (made, parts) = (values(&all), alone.each_ref().map(values));
    // what makes nothing but motion has no picture of its own
    let channels = if name.starts_with("rife-4") { 5 } else { 8 };
    let mut apart = 0f32;
    for (y, x) in (0..LARGE.0).flat_map(|y| (0..LARGE.1).map(move |x| (y, x))) {
        let there = STARTS.iter().zip(&parts);
        let there = there.filter_map(|(start, part)| part[y].get(x.checked_sub(*start)?));
        let there: Vec<_> = there.collect();
        for c in 0..channels {
            let (value, theirs) = (made[y][x][c], there.iter().map(|pixel| pixel[c]));
            let least = theirs.clone().fold(f32::MAX, f32::min);
            let most = theirs.fold(f32::MIN, f32::max);
            apart = apart.max(most - least);
            let what = format!("{name} channel {c} at {x},{y}: {value}, not {least} to {most}");
            assert!(
                (least - ROUNDING..=most + ROUNDING).contains(&value),
                "{what}"
            );
            // a part counts little at its edge
            let off = (value - there[0][c]).abs();
            assert!(
                x != STARTS[1] || off <= ROUNDING + 0.01 * (most - least),
                "{what}"
            );
        }
    }
    assert!(apart > 0.1, "{name}: all parts find the same");
    let picture = |t: &Tensor| t.narrow(2, 5, 3).unwrap();
    let whole = found(&network, (0, LARGE.1), phase, None);
    let off = (picture(&all) - picture(&whole)).unwrap().abs().unwrap();
    let off = off.mean_all().unwrap().to_scalar::<f32>().unwrap();
    println!("{name}: in parts the picture is {off:.4} off");
    assert!(off > 0.0 && off <= UNSEEN, "{name}: {off}");
}

#[test]
fn a_picture_seen_in_parts_is_that_of_its_parts() {
    let (rows, columns) = (LARGE.0 / 8, LARGE.1 / 8);
    let phases = (0..rows * columns).map(|i| 0.2 + 0.6 * (i % columns) as f32 / columns as f32);
    let plane = Tensor::from_vec(phases.collect(), (rows, columns), &Device::Cpu).unwrap();
    let mean = plane.mean_all().unwrap().to_scalar::<f32>().unwrap();
    let (uniform, map) = (PhaseMap::Uniform(0.3), PhaseMap::Plane(plane.clone()));
    parts_blend("rife-4.0", &uniform, |_| uniform.clone());
    for name in [
        "rife-4.0",
        "rife-4.25",
        "rife-d",
        "ifrnet-s",
        "film",
        "ema-small",
        "amt-s",
    ] {
        parts_blend(name, &map, |start| match name {
            // it takes one number
            "film" => PhaseMap::Uniform(mean),
            _ => PhaseMap::Plane(
                plane
                    .narrow(1, start / 8, LONGEST / 8)
                    .unwrap()
                    .contiguous()
                    .unwrap(),
            ),
        });
    }
}

/// What parts do not see of the whole, as the PSNR of components, in dB.
const LEAST_PSNR: f64 = 30.0;

#[test]
fn pictures_of_any_format_and_size_are_seen_in_parts() {
    let model = model("rife-4.25.lite", 1.0);
    for (format, size) in [
        (Format::I420, (651, 51)),
        (Format::P010, (650, 46)),
        (Format::Yuy2, (333, 47)),
        (Format::Rgb, (45, 301)),
    ] {
        let sides = [0.0, 3.0].map(|moved| {
            Owned::painted(format, size, 3, |channel, x, y| {
                let phase = 0.7 * channel as u8 as f32;
                0.5 + 0.2 * (0.13 * (x - moved) + phase).sin() + 0.2 * (0.17 * y - 0.05 * x).cos()
            })
        });
        let [left, right] = &sides;
        let [whole, parts] =
            [None, Some(LONGEST)].map(|l| made_in_parts(model.clone(), [left, right], 0.5, l));
        assert!(
            !whole.picture().same_samples(&parts.picture()),
            "{format:?}"
        );
        for c in format.components() {
            let mut squares = 0.0;
            let (w, h) = (c.width(size.0 as usize), c.height(size.1 as usize));
            for (x, y) in (0..h).flat_map(|y| (0..w).map(move |x| (x, y))) {
                let [a, b] =
                    [&whole, &parts].map(|o| f64::from(c.load(o.picture().row(c.plane, y), x)));
                squares += (a - b) * (a - b);
            }
            let most = f64::from(c.max());
            let psnr = 10.0 * (most * most * (w * h) as f64 / squares.max(1e-9)).log10();
            println!("{format:?} {:?}: {psnr:.1} dB", c.channel);
            assert!(psnr >= LEAST_PSNR, "{format:?} {:?}: {psnr} dB", c.channel);
        }
        // of one picture twice, that picture
        let same = made_in_parts(model.clone(), [left, left], 0.5, Some(LONGEST));
        assert!(same.picture().same_samples(&left.picture()), "{format:?}");
    }
}
