//! Networks of others on a card: motion, and the network's own picture, with features of 32 and 16 bits, whole and in parts.

use std::sync::Arc;

use gstvideointerpolate::interpolator::Options;
use gstvideointerpolate::kernels::device::Gpu;
use gstvideointerpolate::kernels::{Context, PhaseMap, Precision, Way};
use gstvideointerpolate::network::checkpoint::Checkpoint;
use gstvideointerpolate::network::published::Published;

use super::checkpoints::{fixtures, tensors, waves};
use super::{MEASURED, card, close, contexts, tensor, values, ways};

/// Flow in pixels, relative to the larger of 1 and the CPU's, and mask: what sums in another order become through
/// all layers, as between the CPU and the authors' code in `tests/published.rs`.
pub const MOTION: f32 = 1e-2;
/// Colours of a network's own picture, full scale being 1: what that motion moves them by.
const COLORS: f32 = 2e-3;
/// Motion and colours with factors of 16 bits, of the networks of [`HALVED`].
const HALF_MOTION: f32 = 5e-2;
const HALF_COLORS: f32 = 1e-2;

/// The names of the versions to run, by commas; all unless it is set.
pub const SOME: &str = "CARD_NETWORKS";

/// The networks that there are fixtures of whose names begin so.
pub fn networks(family: &str) -> Vec<(String, Published)> {
    let load = |name: String| {
        let checkpoint = Checkpoint::of(&name, tensors(&name));
        (name, Published::load(&checkpoint, None).unwrap())
    };
    let names = fixtures(family).into_iter().filter(|n| is_chosen(n, None));
    names.map(load).collect()
}

/// Whether a network is one to run, in this way if one is asked for: [`SOME`] names either it or both, as `film f16`.
pub fn is_chosen(name: &str, way: Option<Way>) -> bool {
    let Ok(some) = std::env::var(SOME) else {
        return true;
    };
    some.split(',').any(|one| {
        let (network, with) = match one.split_once(' ') {
            Some((network, with)) => (network, Some(with)),
            None => (one, None),
        };
        let other = |with| way.is_some_and(|w| w.name() != with);
        network == name && !with.is_some_and(other)
    })
}

/// Whether some of these networks are to run, or a word that none is.
fn are_any_chosen(names: &[&str]) -> bool {
    let known = fixtures("");
    let is_run = |name: &&str| known.iter().any(|n| n == name) && is_chosen(name, None);
    let some = names.iter().any(is_run);
    if !some {
        println!("skipped: {SOME} has none of {}", names.join(", "));
    }
    some
}

/// The networks that pictures are made with, one that adds something to what motion makes and one that does not.
pub const PICTURES: [&str; 2] = ["ifrnet", "rife-4"];

/// Writes the last RIFE 4 to the file that this names, with weights that mean nothing, for benches.
const CHECKPOINT: &str = "CARD_CHECKPOINT";

#[test]
fn a_checkpoint_is_written_where_one_is_asked_for() {
    let Ok(path) = std::env::var(CHECKPOINT) else {
        return;
    };
    let (name, _) = networks("rife-4").pop().expect("a network");
    candle_core::safetensors::save(&tensors(&name), path).unwrap();
}

/// Height and width of pictures.
const SIZE: (usize, usize) = (50, 70);

/// Motion, and the network's own picture.
fn made(
    network: &Published,
    context: &Context,
    (size, longest): ((usize, usize), Option<usize>),
    phase: &PhaseMap,
) -> [Vec<f32>; 2] {
    // FILM goes to a quarter in two steps
    let options = Options {
        recursion: 2,
        longest,
        ..Options::default()
    };
    let mut workspace = network.workspace(context, size, options).unwrap();
    let sides = [0.0, 5.0].map(|moved| {
        let mut encoded = network.encoded(&workspace).unwrap();
        let picture = waves(size, moved).to_device(&context.device()).unwrap();
        workspace.set_colors(&encoded, &picture).unwrap();
        network.encode(&mut workspace, &mut encoded).unwrap();
        encoded
    });
    let [left, right] = &sides;
    network
        .estimate(&mut workspace, left, right, phase)
        .unwrap();
    let picture = workspace.picture(left, right).unwrap();
    [values(workspace.motion()), values(&picture)]
}

#[test]
fn every_network_makes_the_same() {
    let Some(gpu) = card() else { return };
    let networks = networks("");
    assert!(!networks.is_empty(), "no networks to run");
    let tolerances = (MOTION, COLORS);
    networks_make_the_same((&gpu, Way::Single), networks, tolerances);
}

/// Of the families that keep features of 16 bits.
const HALVED: [&str; 5] = ["rife-4.25", "rife-4.25.lite", "ifrnet-s", "film", "amt-s"];

#[test]
fn networks_make_nearly_the_same_with_sixteen_bits() {
    let Some(gpu) = card() else { return };
    if !are_any_chosen(&HALVED) {
        return;
    }
    for way in ways(&gpu) {
        if [Way::Single, MEASURED].contains(&way) {
            continue;
        }
        let networks = networks("").into_iter();
        let is_run = |name: &str| HALVED.contains(&name) && is_chosen(name, Some(way));
        let networks = networks.filter(|(name, _)| is_run(name));
        let tolerances = (HALF_MOTION, HALF_COLORS);
        networks_make_the_same((&gpu, way), networks, tolerances);
    }
}

fn networks_make_the_same(
    (gpu, way): (&Arc<Gpu>, Way),
    networks: impl IntoIterator<Item = (String, Published)>,
    (motion, colors): (f32, f32),
) {
    let [cpu, card] = contexts(gpu, way);
    for (name, network) in networks {
        let (h, w) = network
            .workspace(&cpu, SIZE, Options::default())
            .unwrap()
            .padded();
        let plane = tensor("phases", &[h / 8, w / 8]);
        let plane = ((plane * 0.3).unwrap() + 0.5).unwrap();
        for phase in [PhaseMap::Uniform(0.3), PhaseMap::Plane(plane)] {
            let [want, found] = [&cpu, &card].map(|c| made(&network, c, (SIZE, None), &phase));
            let name = format!("{name} {}", way.name());
            close(&name, &found[0], &want[0], motion);
            close(&name, &found[1], &want[1], colors);
        }
    }
}

/// What the tensors of a FILM are narrowed by, which has 64 channels at first: the host is slow as a card.
const NARROWER: usize = 8;

/// A FILM with few channels.
fn narrow_film() -> Published {
    // pictures and flow beside features
    let rest = 10;
    let channels = |n: usize| match n {
        n if n < 2 * NARROWER => n,
        n if n % 16 == rest => (n - rest) / NARROWER + rest,
        n => n / NARROWER,
    };
    let narrowed = tensors("film").into_iter().map(|(name, tensor)| {
        let dims = tensor.dims().to_vec();
        let mut narrow = tensor;
        for (axis, size) in dims.iter().enumerate() {
            narrow = narrow.narrow(axis, 0, channels(*size)).unwrap();
        }
        // sums of fewer products are smaller
        let gain = if dims.len() > 1 { 2.8 } else { 1.0 };
        (name, (narrow * gain).unwrap())
    });
    let checkpoint = Checkpoint::of("film", narrowed.collect());
    Published::load(&checkpoint, None).unwrap()
}

#[test]
fn film_makes_nearly_the_same_with_sixteen_bits_whatever_the_size() {
    let Some(gpu) = card() else { return };
    let film = narrow_film();
    for precision in Precision::ALL {
        let [cpu, card] = contexts(&gpu, precision);
        let (motion, colors) = match precision {
            Precision::Single => (MOTION, COLORS),
            Precision::Half => (HALF_MOTION, HALF_COLORS),
        };
        for size in [SIZE, (37, 131)] {
            let phase = PhaseMap::Uniform(0.3);
            let [want, found] = [&cpu, &card].map(|c| made(&film, c, (size, None), &phase));
            let name = format!("narrow FILM, {size:?}, {}", precision.name());
            let most = want[0].iter().fold(0.0f32, |most, v| most.max(v.abs()));
            assert!(most > 0.1, "{name}: motion of at most {most}");
            close(&name, &found[0], &want[0], motion);
            close(&name, &found[1], &want[1], colors);
        }
    }
}

#[test]
fn networks_see_the_same_in_parts() {
    let Some(gpu) = card() else { return };
    let [cpu, card] = contexts(&gpu, Precision::Single);
    // without a residual, and with one
    let names = ["rife-4.25.lite", "ifrnet-s"];
    if !are_any_chosen(&names) {
        return;
    }
    let networks = networks("").into_iter();
    for (name, network) in networks.filter(|(name, _)| names.contains(&name.as_str())) {
        let size = (40, 320);
        let plane = tensor("phases", &[size.0 / 8, size.1 / 8]);
        let phase = PhaseMap::Plane(((plane * 0.3).unwrap() + 0.5).unwrap());
        let [want, found] = [&cpu, &card].map(|c| made(&network, c, (size, Some(256)), &phase));
        close(&name, &found[0], &want[0], MOTION);
        close(&name, &found[1], &want[1], COLORS);
    }
}
