//! Every stage of the embedded network against the tensors of its PyTorch twin
//! (`training/golden.py`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use gstvideointerpolate::kernels::{Context, CpuLevel, PhaseMap};
use gstvideointerpolate::network::{Encoded, Network, Variant, Workspace};

/// Largest difference to the twin, relative to the larger of 1 and the twin's value. A sum of
/// some hundred products of numbers near 1 differs by about 1e-6 when its order does; the twin
/// computes a warp's coordinates in -1 to 1 and back, which moves a sample by another 1e-6 of the
/// width. Where that crosses the middle of two steps, of which flow has 128 a sample of luma, luma differs by up to a
/// code. Each stage passes this on to the next, sharpened by the softmax, and the flow that comes out counts four pixels
/// a cell. So single values may be this far off, and the mean much less.
const TOLERANCE: f32 = 5e-3;
const MEAN_TOLERANCE: f32 = 4e-4;

type Tensors = HashMap<String, Tensor>;

fn data(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    folder.join(format!("{name}.safetensors"))
}

fn stages(case: &str) -> Tensors {
    candle_core::safetensors::load(data(&format!("stages-{case}")), &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// A stage that is not in the twin's file is none of the test's business; returns whether it is.
fn compare(want: &Tensors, stage: &str, got: &Tensor) -> bool {
    let Some(want) = want.get(stage) else {
        return false;
    };
    assert_eq!(got.dims(), want.dims(), "{stage}");
    let (got, want) = (values(got), values(want));
    let error = |i: usize| (got[i] - want[i]).abs() / want[i].abs().max(1.0);
    let worst = (0..want.len()).max_by(|&a, &b| error(a).total_cmp(&error(b)));
    let i = worst.unwrap();
    assert!(
        error(i) <= TOLERANCE,
        "{stage}: value {i} is {}, the twin's is {} (error {:e})",
        got[i],
        want[i],
        error(i)
    );
    let mean = (0..want.len()).map(error).sum::<f32>() / want.len() as f32;
    assert!(mean <= MEAN_TOLERANCE, "{stage}: mean error {mean:e}");
    true
}

fn encode(network: &Network, ws: &mut Workspace, view: &Tensor) -> Encoded {
    let mut encoded = ws.encoded().unwrap();
    network.encode(ws, view, &mut encoded).unwrap();
    encoded
}

/// Runs a case and compares all stages that the twin wrote.
fn stages_agree(case: &str, context: &Context) {
    let want = stages(case);
    let network = Network::load(&data("network")).unwrap();
    let (h, w, _) = want["left.view"].dims3().unwrap();
    let mut ws = network.workspace(context, h, w).unwrap();
    let phase = match want["phase"].rank() {
        1 => PhaseMap::Uniform(values(&want["phase"])[0]),
        _ => PhaseMap::Plane(want["phase"].clone()),
    };
    let mut seen = 0;
    let mut observe = |stage: &'static str, level: usize, got: &Tensor| {
        seen += usize::from(compare(&want, &format!("{stage}.{level}"), got));
    };
    let mut left = ws.encoded().unwrap();
    network
        .encode_observed(&mut ws, &want["left.view"], &mut left, &mut observe)
        .unwrap();
    let right = encode(&network, &mut ws, &want["right.view"]);
    let (found, past) = (want["found"].clone(), want["past"].clone());
    ws.assume([&left, &right], found, past).unwrap();
    network
        .estimate_observed(&mut ws, &left, &right, &phase, &mut observe)
        .unwrap();
    // All but the two views, the motions found and the phase are stages.
    assert_eq!(seen, want.len() - 5, "stages of {case}");
}

#[test]
fn every_stage_agrees_with_the_twin() {
    let context = Context::new(2).unwrap();
    for case in ["odd", "even", "tiny", "map"] {
        stages_agree(case, &context);
    }
}

#[test]
fn every_stage_of_the_plain_kernels_agrees_with_the_twin() {
    let context = Context::with_level(1, CpuLevel::Reference).unwrap();
    for case in ["odd", "even", "tiny", "map"] {
        stages_agree(case, &context);
    }
}

#[test]
fn a_plane_of_one_phase_is_that_phase() {
    let want = stages("odd");
    let network = Network::load(&data("network")).unwrap();
    let context = Context::new(1).unwrap();
    let mut ws = network.workspace(&context, 25, 27).unwrap();
    let left = encode(&network, &mut ws, &want["left.view"]);
    let right = encode(&network, &mut ws, &want["right.view"]);
    let (found, past) = (want["found"].clone(), want["past"].clone());
    ws.assume([&left, &right], found, past).unwrap();
    let plane = Tensor::full(0.25f32, (7, 7), &Device::Cpu).unwrap();
    let phase = PhaseMap::Plane(plane);
    let motion = network
        .estimate_observed(&mut ws, &left, &right, &phase, &mut |_, _, _| ())
        .unwrap();
    assert!(compare(&want, "motion.flow.0", &motion.flow));
    assert!(compare(&want, "motion.mask.0", &motion.mask));
}

#[test]
fn a_pair_leaves_no_trace_in_the_next_one() {
    let want = stages("odd");
    let network = Network::load(&data("network")).unwrap();
    let context = Context::new(1).unwrap();
    let mut ws = network.workspace(&context, 25, 27).unwrap();
    let left = encode(&network, &mut ws, &want["left.view"]);
    let right = encode(&network, &mut ws, &want["right.view"]);
    let mut flow = |left, right, phase| {
        network.search(&mut ws, left, right, None).unwrap();
        let motion = network.estimate(&mut ws, left, right, &PhaseMap::Uniform(phase));
        values(&motion.unwrap().flow)
    };
    let first = flow(&left, &right, 0.25);
    assert_ne!(first, flow(&right, &left, 0.7));
    assert_eq!(first, flow(&left, &right, 0.25));
}

// nothing is carried there: 16666666 of 33333333 nanoseconds
#[test]
fn the_middle_in_whole_nanoseconds_is_the_middle() {
    let want = stages("odd");
    let network = Network::load(&data("network")).unwrap();
    let context = Context::new(1).unwrap();
    let flow = |phase: f32| {
        let mut ws = network.workspace(&context, 25, 27).unwrap();
        let left = encode(&network, &mut ws, &want["left.view"]);
        let right = encode(&network, &mut ws, &want["right.view"]);
        network.search(&mut ws, &left, &right, None).unwrap();
        let motion = network.estimate(&mut ws, &left, &right, &PhaseMap::Uniform(phase));
        values(&motion.unwrap().flow)
    };
    assert_eq!(flow(0.5), flow((16_666_666.0 / 33_333_333.0) as f32));
    assert_ne!(flow(0.5), flow(0.501));
}

#[test]
fn every_variant_loads_and_answers_at_any_size() {
    let context = Context::new(1).unwrap();
    let sizes = [(1, 1), (1, 300), (4, 4), (33, 50)];
    let variants = Variant::ALL.into_iter();
    for (variant, (h, w)) in variants.flat_map(|v| sizes.map(|size| (v, size))) {
        let network = variant.network().unwrap();
        let mut ws = network.workspace(&context, h, w).unwrap();
        let view = ws.view().unwrap();
        let a = encode(&network, &mut ws, &view);
        network.search(&mut ws, &a, &a, None).unwrap();
        let motion = network
            .estimate(&mut ws, &a, &a, &PhaseMap::Uniform(0.5))
            .unwrap();
        assert_eq!(motion.flow.dims(), [h.div_ceil(2), w.div_ceil(2), 4]);
        assert!(values(&motion.flow).iter().all(|v| v.is_finite()));
        assert!(values(&motion.mask).iter().all(|v| (0.0..=1.0).contains(v)));
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let network = Network::embedded().unwrap();
    let context = Context::new(1).unwrap();
    assert!(network.workspace(&context, 0, 5).is_err());
    let mut ws = network.workspace(&context, 16, 20).unwrap();
    let mut encoded = ws.encoded().unwrap();
    let other = network.workspace(&context, 16, 24).unwrap();
    let (view, foreign) = (other.view().unwrap(), other.encoded().unwrap());
    assert!(network.encode(&mut ws, &view, &mut encoded).is_err());
    assert!(network.search(&mut ws, &encoded, &foreign, None).is_err());
    let pair = [&encoded, &encoded];
    assert!(ws.assume(pair, view.clone(), view.clone()).is_err());
    let phase = PhaseMap::Uniform(0.5);
    assert!(
        network
            .estimate(&mut ws, &encoded, &foreign, &phase)
            .is_err()
    );
    let plane = Tensor::full(0.5f32, (3, 5), &Device::Cpu).unwrap();
    let phase = PhaseMap::Plane(plane);
    assert!(
        network
            .estimate(&mut ws, &encoded, &encoded, &phase)
            .is_err()
    );
}

#[test]
fn a_file_that_is_no_network_is_named() {
    let path = data("stages-tiny");
    let message = Network::load(&path).unwrap_err().to_string();
    assert!(message.contains("stages-tiny"), "{message}");
    assert!(message.contains("encoder.stem.weight"), "{message}");
}
