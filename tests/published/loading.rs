//! How checkpoints are read, and what is said of those that do not fit.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use gstvideointerpolate::network::checkpoint::Checkpoint;
use gstvideointerpolate::network::published::Published;

use super::checkpoints::tensors;

fn message(tensors: HashMap<String, Tensor>) -> String {
    let checkpoint = Checkpoint::of("some/where", tensors);
    let error = Published::load(&checkpoint, None).unwrap_err().to_string();
    assert!(error.contains("some/where"), "{error}");
    error
}

#[test]
fn what_does_not_fit_a_version_is_named() {
    let whole = tensors("rife-4.6");
    let without = |name: &str| {
        let mut tensors = whole.clone();
        tensors.remove(name).unwrap();
        message(tensors)
    };
    let missing = "block2.convblock.3.conv.bias";
    assert!(without(missing).contains(&format!("no tensor {missing}")));
    let nearest = without("block0.conv0.0.0.weight");
    assert!(nearest.contains("nearest to RIFE 4.0 to 4.26"), "{nearest}");
    assert!(without("block3.conv0.1.0.weight").contains("no known version"));

    let mut surplus = whole.clone();
    surplus.insert("block0.extra.weight".into(), whole[missing].clone());
    let surplus = message(surplus);
    assert!(
        surplus.contains("block0.extra.weight, which RIFE 4.6 lacks"),
        "{surplus}"
    );
    let mut trained = whole.clone();
    trained.insert("teacher.conv.bias".into(), whole[missing].clone());
    assert!(Published::load(&Checkpoint::of("x", trained), None).is_ok());

    let mut other = whole.clone();
    other.insert(
        missing.into(),
        whole["block0.conv0.0.0.bias"].narrow(0, 0, 5).unwrap(),
    );
    assert!(message(other).contains("expected [96]"));
    let mut odd = whole.clone();
    let last = odd["block0.lastconv.0.weight"].narrow(1, 0, 8).unwrap();
    odd.insert("block0.lastconv.0.weight".into(), last);
    assert!(message(odd).contains("has 8 outputs"));
}

#[test]
fn what_other_families_lack_or_have_too_much_is_named() {
    for (name, part, family) in [
        ("rife-dr", "contextnet.conv3.conv2.1.weight", "RIFE [D,R]"),
        ("rife-d", "unet.up2.1.weight", "RIFE m and [D]"),
        ("ema-small", "feature_bone.block4.1.attn.kv.bias", "EMA-VFI"),
        ("ema-small", "unet.down0.conv1.0.weight", "EMA-VFI"),
        ("amt-s", "update3.gru.2.weight", "AMT"),
        ("amt-g", "update2_high.convc2.weight", "AMT"),
        ("amt-l", "comb_block.0.weight", "AMT"),
    ] {
        let whole = tensors(name);
        let mut less = whole.clone();
        less.remove(part).unwrap();
        let less = message(less);
        assert!(
            less.contains(&format!("no tensor {part}")),
            "{name}: {less}"
        );
        let mut more = whole.clone();
        more.insert(format!("{part}.extra"), whole[part].clone());
        let more = message(more);
        assert!(
            more.contains(&format!("{part}.extra, which {family} lacks")),
            "{name}: {more}"
        );
        let mut other = whole.clone();
        other.insert(part.into(), whole[part].narrow(0, 0, 1).unwrap());
        let other = message(other);
        assert!(
            other.contains(part) && other.contains("expected"),
            "{name}: {other}"
        );
    }
    let mut headless = tensors("ema-small");
    headless
        .remove("feature_bone.block1.conv.0.weight")
        .unwrap();
    assert!(message(headless).contains("nearest to EMA-VFI"));
}

#[test]
fn masks_that_ema_vfi_keeps_of_its_training_are_left_out() {
    let mut tensors = tensors("ema-small");
    for name in ["attn_mask", "HW"] {
        let mask = Tensor::zeros((2, 3, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
        tensors.insert(format!("feature_bone.block5.1.{name}"), mask);
    }
    assert!(Published::load(&Checkpoint::of("x", tensors), None).is_ok());
}

#[test]
fn networks_that_cannot_be_run_are_told_which_can() {
    let tensor = Tensor::new(&[1f32], &Device::Cpu).unwrap();
    let unknown = ["feat_pyramid.conv.weight", "motion_estimator.conv.weight"];
    let unknown = message(unknown.map(|n| (n.to_string(), tensor.clone())).into());
    assert!(unknown.contains("feat_pyramid.conv.weight"), "{unknown}");
    for family in ["RIFE 4.0 to 4.26", "IFRNet", "FILM", "EMA-VFI", "AMT"] {
        assert!(
            unknown.contains("supported are") && unknown.contains(family),
            "{unknown}"
        );
    }
    assert!(message(HashMap::new()).contains("first tensor is none"));
}
