//! The property `quality`: fixed sizes of the network, and the one that follows the machine.

use gst::prelude::*;
use gst_video::prelude::*;

use crate::support::{self, MS, Rig, caps, has, watched};

/// At this rate no machine is too slow.
const SLOW: &str = "2/1";
const INTERVAL: u64 = 500 * MS;

/// From 2 to 4 frames a second.
fn slow(properties: &[(&str, &str)]) -> Rig {
    Rig::new(properties, &caps(SLOW), "video/x-raw, framerate=4/1")
}

/// Downstream says that an output long ago was early or late.
fn say(rig: &mut Rig, proportion: f64, diff: i64) {
    let time = gst::ClockTime::from_mseconds(100);
    let event = gst::event::Qos::new(gst::QOSType::Underflow, proportion, diff, time);
    assert!(rig.harness.push_upstream_event(event));
}

fn quality(rig: &Rig) -> Option<String> {
    let stats: gst::Structure = rig.element.property("stats");
    stats.get::<Option<String>>("quality").unwrap()
}

/// Previous size, size and reason of each change that is on the bus.
fn changes(rig: &Rig) -> Vec<[String; 3]> {
    let messages = rig.messages(gst::MessageType::Element);
    let structures = messages.iter().filter_map(|m| m.structure());
    structures
        .map(|s| {
            assert_eq!(s.name(), "videointerpolate-quality");
            assert!(s.get::<f64>("load").unwrap() >= 0.0);
            ["previous", "quality", "reason"].map(|name| s.get(name).unwrap())
        })
        .collect()
}

/// All of `outputs` are there, one every 250 ms, and every second one was made.
#[track_caller]
fn assert_whole(rig: &Rig, outputs: &[gst::Buffer]) {
    for (n, output) in outputs.iter().enumerate() {
        assert_eq!(support::time(output), n as u64 * INTERVAL / 2);
        assert!(!has(output, gst::BufferFlags::GAP), "output {n}");
    }
    assert_eq!(rig.counter("interpolated"), outputs.len() as u64 / 2);
    assert_eq!(rig.errors(), Vec::<String>::new());
}

#[test]
fn auto_follows_the_machine_and_lateness_and_loses_no_frame() {
    watched(|| {
        let mut rig = slow(&[]);
        let mut outputs = Vec::new();
        let mut found = Vec::new();
        for n in 0..40 {
            rig.push(n * INTERVAL).unwrap();
            outputs.extend(rig.outputs());
            match n {
                // nothing goes against a clock yet
                0..8 => assert_eq!(quality(&rig).as_deref(), Some("balanced")),
                // there is much time
                8..16 => say(&mut rig, 0.5, -1),
                _ => say(&mut rig, 1.5, 1),
            }
            found.extend(changes(&rig));
        }
        let change = |from: &str, to: &str, why: &str| [from, to, why].map(String::from);
        assert_eq!(
            found,
            [
                change("balanced", "high", "measured"),
                change("high", "balanced", "late"),
                change("balanced", "fast", "late"),
            ]
        );
        assert_eq!(quality(&rig).as_deref(), Some("fast"));
        assert_eq!(outputs.len(), 79);
        assert_whole(&rig, &outputs);
    });
}

#[test]
fn without_qos_auto_is_balanced_and_stays_so() {
    watched(|| {
        let mut rig = slow(&[("qos", "false")]);
        for n in 0..20 {
            rig.push(n * INTERVAL).unwrap();
            say(&mut rig, if n < 10 { 0.1 } else { 3.0 }, n as i64 - 10);
        }
        assert_eq!(quality(&rig).as_deref(), Some("balanced"));
        assert_eq!(changes(&rig), Vec::<[String; 3]>::new());
        let outputs = rig.outputs();
        assert_whole(&rig, &outputs);
    });
}

#[test]
fn a_fixed_size_is_not_left() {
    watched(|| {
        let mut rig = slow(&[("quality", "high")]);
        for n in 0..20 {
            rig.push(n * INTERVAL).unwrap();
            say(&mut rig, 3.0, 1);
        }
        assert_eq!(quality(&rig).as_deref(), Some("high"));
        assert_eq!(changes(&rig), Vec::<[String; 3]>::new());
    });
}

#[test]
fn the_size_may_change_while_playing() {
    watched(|| {
        let mut rig = slow(&[("quality", "fast")]);
        let mut outputs = Vec::new();
        for (n, name) in ["fast", "high", "balanced", "auto", "fast"]
            .iter()
            .enumerate()
        {
            rig.element.set_property_from_str("quality", name);
            for k in 0..3 {
                rig.push((3 * n as u64 + k) * INTERVAL).unwrap();
                outputs.extend(rig.outputs());
            }
            let runs = if *name == "auto" { "balanced" } else { name };
            assert_eq!(quality(&rig).as_deref(), Some(runs));
        }
        assert_eq!(outputs.len(), 29);
        assert_whole(&rig, &outputs);
    });
}

#[test]
fn quality_says_nothing_where_a_model_is_given() {
    watched(|| {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/fast.safetensors");
        let mut rig = slow(&[("model", path), ("quality", "high")]);
        for n in 0..3 {
            rig.push(n * INTERVAL).unwrap();
        }
        assert_eq!(quality(&rig), None);
        let outputs = rig.outputs();
        assert_whole(&rig, &outputs);
    });
}

/// All samples of a moving pattern, four times as many frames.
fn bytes(properties: &[(&str, &str)]) -> Vec<Vec<u8>> {
    let input = "video/x-raw, format=I420, width=203, height=117, framerate=25/1, interlace-mode=progressive, pixel-aspect-ratio=1/1";
    let mut rig = Rig::new(properties, input, "video/x-raw, framerate=100/1");
    let info = support::info(input);
    let stride = info.stride()[0] as usize;
    for n in 0..6 {
        let mut buffer = support::picture(&info, n * 40 * MS, 128);
        {
            let mut map = buffer.get_mut().unwrap().map_writable().unwrap();
            for (i, value) in map[..117 * stride].iter_mut().enumerate() {
                let (x, y) = ((i % stride) as f32 - 3.0 * n as f32, (i / stride) as f32);
                *value =
                    (128.0 + 60.0 * (0.2 * x).sin() + 50.0 * (0.15 * y + 0.05 * x).cos()) as u8;
            }
        }
        rig.harness.push(buffer).unwrap();
    }
    assert_eq!(rig.counter("interpolated"), 15);
    rig.outputs().iter().map(|b| samples(b, &info)).collect()
}

/// The samples of a picture of 8 bits, without what pads its rows.
fn samples(buffer: &gst::Buffer, info: &gst_video::VideoInfo) -> Vec<u8> {
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, info).unwrap();
    let plane = |n: u32| {
        let width = frame.comp_width(n) as usize;
        let rows = frame
            .plane_data(n)
            .unwrap()
            .chunks(frame.plane_stride()[n as usize] as usize);
        rows.take(frame.comp_height(n) as usize)
            .flat_map(move |row| row[..width].to_vec())
    };
    (0..frame.n_planes()).flat_map(plane).collect()
}

#[test]
fn without_qos_the_bytes_are_the_same_on_any_number_of_threads() {
    watched(|| {
        let balanced = bytes(&[("qos", "false"), ("quality", "balanced"), ("threads", "1")]);
        for threads in ["1", "2", "3", "7", "0"] {
            let auto = bytes(&[("qos", "false"), ("threads", threads)]);
            assert_eq!(auto.len(), balanced.len());
            let differs = auto.iter().zip(&balanced).position(|(a, b)| a != b);
            assert_eq!(differs, None, "{threads} threads");
        }
        let fast = bytes(&[("qos", "false"), ("quality", "fast")]);
        assert_ne!(fast, balanced);
    });
}
