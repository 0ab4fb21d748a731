//! Networks that others have published, through the element.

use std::time::Duration;

use gst::prelude::*;
use tempfile::TempPath;

use crate::checkpoints::tensors;
use crate::support::{self, MS, Rig, caps, watched, watched_for};

/// A checkpoint of a fixture, in a file of its own, which goes with it.
fn file(name: &str) -> TempPath {
    let path = support::file(b"");
    candle_core::safetensors::save(&tensors(name), &path).unwrap();
    path
}

fn doubled(model: &str) -> Rig {
    let mut rig = Rig::new(
        &[("model", model)],
        &caps("25/1"),
        "video/x-raw, framerate=50/1",
    );
    for i in 0..4 {
        rig.push(i * 40 * MS).unwrap();
    }
    rig.eos();
    rig
}

#[test]
fn a_published_network_doubles_a_stream_and_says_what_it_is() {
    // each family twice, without optimisation
    watched_for(Duration::from_secs(600), || {
        for (name, family, network) in [
            ("rife-4.25.lite", "rife", "RIFE 4.25.lite"),
            ("rife-d", "rife", "RIFE m and [D]"),
            ("ifrnet-s", "ifrnet", "IFRNet S"),
            ("ifrnet-dr", "ifrnet", "IFRNet [D,R]"),
            ("film", "film", "FILM"),
            ("ema-small", "ema-vfi", "EMA-VFI small"),
            ("amt-s", "amt", "AMT S"),
        ] {
            let file = file(name);
            let path = file.to_str().unwrap();
            assert_doubled(path, network);
            assert_doubled(&format!("{family}:{path}"), network);
        }
    });
}

#[track_caller]
fn assert_doubled(model: &str, network: &str) {
    let mut rig = doubled(model);
    assert_eq!(rig.errors(), Vec::<String>::new());
    assert_eq!(rig.times().len(), 8);
    assert_eq!(rig.counter("interpolated"), 3);
    let stats: gst::Structure = rig.element.property("stats");
    assert_eq!(stats.get::<String>("network").unwrap(), network);
}

#[test]
fn a_checkpoint_that_cannot_be_run_is_an_error_that_says_what_can() {
    watched(|| {
        let path = support::file(b"");
        let tensor = candle_core::Tensor::new(&[1f32], &candle_core::Device::Cpu).unwrap();
        tensor
            .save_safetensors("feat_pyramid.weight", &path)
            .unwrap();
        let rig = doubled_without_push(path.to_str().unwrap());
        assert_eq!(rig.len(), 1, "{rig:?}");
        assert!(rig[0].contains("feat_pyramid.weight"), "{rig:?}");
        assert!(rig[0].contains("RIFE 4.0 to 4.26"), "{rig:?}");
    });
}

fn doubled_without_push(model: &str) -> Vec<String> {
    let mut rig = Rig::new(
        &[("model", model)],
        &caps("25/1"),
        "video/x-raw, framerate=50/1",
    );
    assert!(rig.push(0).is_err());
    rig.errors()
}

#[test]
fn that_there_is_no_coherence_to_look_at_is_said_once() {
    watched(|| {
        let file = file("rife-4.25.lite");
        let properties = [("model", file.to_str().unwrap()), ("coherence", "auto")];
        let mut rig = Rig::new(&properties, &caps("25/1"), "video/x-raw, framerate=50/1");
        for i in 0..4 {
            rig.push(i * 40 * MS).unwrap();
        }
        rig.eos();
        let warnings = rig.messages(gst::MessageType::Warning);
        assert_eq!(warnings.len(), 1);
        let gst::MessageView::Warning(warning) = warnings[0].view() else {
            panic!("{warnings:?}");
        };
        let text = warning.error().to_string();
        assert!(text.contains("leave model empty"), "{text}");
    });
}
