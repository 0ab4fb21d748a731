//! The property `curves`: labels that are elsewhere than even motion has them, or that are held.

use gst::glib;
use gst::meta::CustomMeta;
use gst::prelude::*;
use gstvideointerpolate::curves::{Curves, Moment};

use crate::discs::{BRIGHT, DARK, Discs};
use crate::frame::Frame;
use crate::support::{MS, Rig, bytes, init, seeks_go_on, time, watched};

const SCENE: Discs = Discs {
    width: 256,
    height: 128,
};
const STEP: f32 = 20.0;
/// Codes that a made picture may be off the true one, noise of the wall's texture and edges of the disc included: a
/// disc differs from the wall by 100.
const TRACE: u8 = 40;
/// So little of the pictures stands still.
const NO_CUTS: (&str, &str) = ("scene-threshold", "0");

/// Where both discs are in an input frame.
fn columns(frame: u64) -> [f32; 2] {
    let gone = STEP * frame as f32;
    [50.0 + gone, 200.0 - gone]
}

fn caps(rate: &str) -> String {
    let Discs { width, height } = SCENE;
    format!(
        "video/x-raw,format=I420,width={width},height={height},framerate={rate},interlace-mode=progressive,pixel-aspect-ratio=1/1"
    )
}

fn input(frame: u64) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_mut_slice(SCENE.at(columns(frame)).data);
    buffer
        .get_mut()
        .unwrap()
        .set_pts(gst::ClockTime::from_mseconds(40 * frame));
    buffer
}

/// Puts a mask onto a frame.
fn label(buffer: &mut gst::Buffer, (width, height): (u32, u32), labels: &glib::Bytes) {
    let mut meta = CustomMeta::add(buffer.make_mut(), "GstVideoLabelMask").unwrap();
    let structure = meta.mut_structure();
    structure.set("width", width);
    structure.set("height", height);
    structure.set("labels", labels.clone());
}

/// An input frame with its mask, of this size.
fn labelled(frame: u64, size: (usize, usize)) -> gst::Buffer {
    let mut buffer = input(frame);
    let labels = glib::Bytes::from_owned(SCENE.labels(columns(frame), size));
    label(&mut buffer, (size.0 as u32, size.1 as u32), &labels);
    buffer
}

/// The distance that a text gives its label at a phase.
fn distance(text: &str, phase: f32) -> f32 {
    let moment = Moment {
        phase,
        running: None,
    };
    Curves::parse(text).unwrap().distances(&moment)[0].1
}

fn frame(buffer: &gst::Buffer) -> Frame {
    Frame {
        width: SCENE.width,
        height: SCENE.height,
        data: bytes(buffer),
    }
}

/// From 25 frames a second to 100.
fn rig(curves: &str) -> Rig {
    Rig::new(
        &[("curves", curves), NO_CUTS],
        &caps("25/1"),
        "video/x-raw,framerate=100/1",
    )
}

/// What becomes of some frames.
fn outputs(curves: &str, frames: impl IntoIterator<Item = gst::Buffer>) -> Vec<gst::Buffer> {
    let mut rig = rig(curves);
    for buffer in frames {
        rig.harness.push(buffer).unwrap();
    }
    assert_eq!(rig.errors(), Vec::<String>::new());
    rig.outputs()
}

fn all_bytes(buffers: &[gst::Buffer]) -> Vec<Vec<u8>> {
    buffers.iter().map(bytes).collect()
}

/// Fails unless the bright disc follows its curve and the dark one goes evenly, to half a pixel.
fn follow(outputs: &[gst::Buffer], curve: &str) {
    for output in outputs {
        let ms = time(output) / MS;
        let (before, phase) = (ms / 40, (ms % 40) as f32 / 40.0);
        let [bright, dark] = SCENE.measured(&frame(output));
        let from = columns(before);
        let wanted = [
            from[0] + STEP * distance(curve, phase),
            from[1] - STEP * phase,
        ];
        assert!(
            (bright - wanted[0]).abs() < 0.5,
            "{ms} ms: bright at {bright}, not {}",
            wanted[0]
        );
        assert!(
            (dark - wanted[1]).abs() < 0.5,
            "{ms} ms: dark at {dark}, not {}",
            wanted[1]
        );
    }
}

#[test]
fn one_object_eases_in_while_the_other_moves_evenly() {
    watched(|| {
        init();
        let line = format!(
            "appsrc name=frames format=time caps={} ! queue ! videomaskattach name=attach ! queue ! videointerpolate name=made scene-threshold=0 \
             ! video/x-raw,framerate=100/1 ! appsink name=sink sync=false \
             appsrc name=masks format=time caps=video/x-raw,format=GRAY8,width=128,height=64,framerate=25/1 ! queue ! attach.mask",
            caps("25/1")
        );
        let pipeline = gst::parse::launch(&line)
            .unwrap()
            .downcast::<gst::Pipeline>()
            .unwrap();
        let curve = format!("{BRIGHT}: cubic 0.5,0.15");
        pipeline
            .by_name("made")
            .unwrap()
            .set_property("curves", &curve);
        let source = |name| {
            pipeline
                .by_name(name)
                .and_downcast::<gst_app::AppSrc>()
                .unwrap()
        };
        let (frames, masks) = (source("frames"), source("masks"));
        let sink = pipeline
            .by_name("sink")
            .and_downcast::<gst_app::AppSink>()
            .unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        for n in 0..4 {
            frames.push_buffer(input(n)).unwrap();
            let mut mask = gst::Buffer::from_mut_slice(SCENE.labels(columns(n), (128, 64)));
            mask.get_mut()
                .unwrap()
                .set_pts(gst::ClockTime::from_mseconds(40 * n));
            masks.push_buffer(mask).unwrap();
        }
        frames.end_of_stream().unwrap();
        masks.end_of_stream().unwrap();
        let samples = std::iter::from_fn(|| sink.pull_sample().ok());
        let outputs: Vec<_> = samples.map(|s| s.buffer_owned().unwrap()).collect();
        pipeline.set_state(gst::State::Null).unwrap();
        let moving: Vec<_> = outputs
            .into_iter()
            .filter(|b| time(b) <= 120 * MS)
            .collect();
        assert_eq!(moving.len(), 13);
        follow(&moving, &curve);
        // they would not be there by themselves
        assert!((distance(&curve, 0.5) - 0.5).abs() * STEP >= 6.5);
    });
}

#[test]
fn an_object_may_go_further_than_even_motion_and_back() {
    watched(|| {
        for curve in ["1: 0.25,0.8 0.5,0.3", "1: 0.5,1 0.75,1", "1: 0.5,0 0.75,0"] {
            let frames = (0..2).map(|n| labelled(n, (256, 128)));
            follow(&outputs(curve, frames), curve);
        }
    });
}

#[test]
fn masks_may_have_any_size_and_lie_on_either_frame() {
    watched(|| {
        let curve = "1: 0.5,0.2";
        for size in [(32, 16), (85, 43), (256, 128), (600, 301)] {
            let frames = (0..2).map(|n| labelled(n, size));
            follow(&outputs(curve, frames), curve);
        }
        for only in 0..2 {
            let frames = (0..2).map(|n| {
                if n == only {
                    labelled(n, (128, 64))
                } else {
                    input(n)
                }
            });
            follow(&outputs(curve, frames), curve);
        }
    });
}

#[test]
fn a_mask_may_stay_for_several_frames_if_it_fits_them_all() {
    watched(|| {
        let size = (128, 64);
        let frames = [0, 1, 2].map(|n| SCENE.labels(columns(n), size));
        let all: Vec<u8> = (0..frames[0].len())
            .map(|i| frames.iter().map(|labels| labels[i]).max().unwrap())
            .collect();
        let (curve, one) = ("1: 0.5,0.2", glib::Bytes::from(&all));
        for shared in [true, false] {
            let frames = (0..3).map(|n| {
                let mut buffer = input(n);
                let own = glib::Bytes::from(&all);
                label(&mut buffer, (128, 64), if shared { &one } else { &own });
                buffer
            });
            follow(&outputs(curve, frames), curve);
        }
    });
}

#[test]
fn what_concerns_no_label_changes_no_byte() {
    watched(|| {
        let plain = all_bytes(&outputs("", (0..3).map(input)));
        for curves in ["", "9: 0.5,0.1; 8: hold", "1: 0.5,0.5; 2: linear 0.25,0.25"] {
            let with_masks = outputs(curves, (0..3).map(|n| labelled(n, (128, 64))));
            assert!(all_bytes(&with_masks) == plain, "{curves:?}");
            let without = outputs(curves, (0..3).map(input));
            assert!(all_bytes(&without) == plain, "{curves:?}");
        }
        let changed = outputs("1: 0.5,0.2", (0..3).map(|n| labelled(n, (128, 64))));
        assert!(all_bytes(&changed) != plain);
    });
}

#[test]
fn originals_stay_what_they_are() {
    watched(|| {
        let curves = "0: 0.1,0.9; 1: 0.5,1; 2: hold";
        let outputs = outputs(curves, (0..3).map(|n| labelled(n, (128, 64))));
        for n in 0..3 {
            let original = outputs.iter().find(|b| time(b) == 40 * n * MS).unwrap();
            assert!(bytes(original) == SCENE.at(columns(n)).data);
        }
    });
}

#[test]
fn away_from_moved_labels_no_byte_changes_and_no_trace_of_them_is_left() {
    watched(|| {
        let size = (SCENE.width, SCENE.height);
        for curve in ["1: 0.25,0.8", "1: 0.75,0.4", "1: 0.25,0 0.5,0.9"] {
            let plain = outputs("", (0..2).map(|n| labelled(n, size)));
            let retimed = outputs(curve, (0..2).map(|n| labelled(n, size)));
            for (plain, retimed) in plain.iter().zip(&retimed).skip(1).take(3) {
                let phase = (time(plain) / MS) as f32 / 40.0;
                let [from, dark] = columns(0);
                let bright = from + STEP * distance(curve, phase);
                let truth = SCENE.at([bright, dark - STEP * phase]);
                let (plain, retimed) = (frame(plain), frame(retimed));
                let (plain, retimed) = (plain.planes()[0], retimed.planes()[0]);
                let row = |y: usize| y * SCENE.width..(y + 1) * SCENE.width;
                let away = row(80).start..row(SCENE.height - 1).end;
                assert!(plain[away.clone()] == retimed[away], "{curve} at {phase}");
                for (i, (made, wanted)) in retimed.iter().zip(truth.planes()[0]).enumerate() {
                    let at = (i % SCENE.width, i / SCENE.width);
                    let error = made.abs_diff(*wanted);
                    assert!(
                        at.1 >= 64 || error <= TRACE,
                        "{curve} at {phase}, {at:?}: {error}"
                    );
                }
            }
        }
    });
}

#[test]
fn curves_count_on_trajectories_too() {
    watched(|| {
        let curve = "1: 0.5,0.2";
        let properties = [("curves", curve), NO_CUTS, ("motion", "trajectory")];
        let mut rig = Rig::new(&properties, &caps("25/1"), "video/x-raw,framerate=100/1");
        for n in 0..4 {
            rig.harness.push(labelled(n, (128, 64))).unwrap();
        }
        assert_eq!(rig.errors(), Vec::<String>::new());
        follow(&rig.outputs(), curve);
    });
}

#[test]
fn seeks_go_on_with_masks() {
    watched(|| {
        let line = "videotestsrc pattern=ball ! video/x-raw,format=I420,width=64,height=48,framerate=25/1 \
                    ! videomaskattach name=attach ! videointerpolate curves=\"255: cubic 0.5,0.15; 16: hold\" \
                    ! video/x-raw,framerate=50/1 ! appsink name=sink sync=false max-buffers=2 \
                    videotestsrc pattern=ball ! video/x-raw,format=GRAY8,width=32,height=24,framerate=5/1 ! attach.mask";
        seeks_go_on(line);
    });
}

#[test]
fn held_labels_are_those_of_the_nearer_frame() {
    watched(|| {
        let size = (SCENE.width, SCENE.height);
        let outputs = outputs(&format!("{DARK}: hold"), (0..2).map(|n| labelled(n, size)));
        for output in outputs.iter().filter(|b| time(b) < 40 * MS) {
            let nearer = u64::from(time(output) > 20 * MS);
            let labels = SCENE.labels(columns(nearer), size);
            let (made, original) = (frame(output), SCENE.at(columns(nearer)));
            let held = labels
                .iter()
                .zip(made.planes()[0].iter().zip(original.planes()[0]));
            assert!(
                held.filter(|(label, _)| **label == DARK)
                    .all(|(_, (a, b))| a == b)
            );
            // the other one moves
            let phase = (time(output) / MS) as f32 / 40.0;
            let bright = SCENE.measured(&made)[0];
            assert!(
                (bright - columns(0)[0] - STEP * phase).abs() < 0.5,
                "{bright}"
            );
        }
    });
}

#[test]
fn curves_that_cannot_be_read_keep_the_element_from_starting() {
    watched(|| {
        let element = crate::support::element(&[("curves", "3: 0.5,1.2")]);
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        assert!(element.set_state(gst::State::Paused).is_err());
        let message = bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
        let gst::MessageView::Error(error) = message.view() else {
            panic!("{message:?}");
        };
        let text = error.error().to_string();
        assert!(text.contains("label 3") && text.contains("1.2"), "{text}");
        element.set_state(gst::State::Null).unwrap();
        element.set_property("curves", "3: 0.5,0.2");
        element.set_state(gst::State::Paused).unwrap();
        element.set_state(gst::State::Null).unwrap();
        bus.set_flushing(true);
        element.set_bus(None);
    });
}

#[test]
fn curves_may_change_while_playing() {
    watched(|| {
        let mut rig = rig("1: 0.5,0.2");
        rig.harness.push(labelled(0, (128, 64))).unwrap();
        rig.harness.push(labelled(1, (128, 64))).unwrap();
        follow(&rig.outputs(), "1: 0.5,0.2");
        rig.element.set_property("curves", "1: 0.5,0.8");
        rig.harness.push(labelled(2, (128, 64))).unwrap();
        follow(&rig.outputs(), "1: 0.5,0.8");
        // what cannot be read is told, and the stream goes on without it
        rig.element.set_property("curves", "1: 0.5");
        let warning = rig.bus.pop_filtered(&[gst::MessageType::Warning]).unwrap();
        let gst::MessageView::Warning(warning) = warning.view() else {
            panic!("{warning:?}");
        };
        let text = warning.error().to_string();
        assert!(
            text.contains("label 1") && text.contains("TIME,DISTANCE"),
            "{text}"
        );
        rig.harness.push(labelled(3, (128, 64))).unwrap();
        follow(&rig.outputs(), "1: 0.5,0.5");
    });
}

#[test]
fn flushes_and_new_caps_go_on_as_before() {
    watched(|| {
        let curve = "1: 0.5,0.2";
        let mut rig = rig(curve);
        for round in 0..3 {
            for n in 0..2 {
                rig.harness.push(labelled(n, (128, 64))).unwrap();
            }
            follow(&rig.outputs(), curve);
            if round == 0 {
                assert!(rig.harness.push_event(gst::event::FlushStart::new()));
                assert!(rig.harness.push_event(gst::event::FlushStop::new(true)));
            }
            if round == 1 {
                // another size in between, with masks, too
                rig.set_input(&crate::support::caps("25/1"));
                for n in 2..4 {
                    let mut buffer = rig.picture(40 * n * MS, 20 * n as u8);
                    label(&mut buffer, (2, 1), &glib::Bytes::from_static(&[1, 0]));
                    rig.harness.push(buffer).unwrap();
                }
                rig.outputs();
                assert!(rig.harness.push_event(gst::event::FlushStart::new()));
                assert!(rig.harness.push_event(gst::event::FlushStop::new(true)));
                rig.set_input(&caps("25/1"));
            }
            assert!(rig.segment(&gst::FormattedSegment::new()));
        }
        assert_eq!(rig.errors(), Vec::<String>::new());
    });
}

#[test]
fn a_meta_that_is_no_mask_is_named() {
    watched(|| {
        for labels in [&[1u8; 7][..], &[]] {
            let mut rig = rig("1: hold");
            let mut buffer = input(0);
            label(&mut buffer, (4, 2), &glib::Bytes::from(labels));
            rig.harness.push(buffer).unwrap();
            assert!(rig.harness.push(labelled(1, (4, 2))).is_err());
            let errors = rig.errors().join(" ");
            assert!(
                errors.contains("GstVideoLabelMask") && errors.contains("4x2"),
                "{errors}"
            );
        }
    });
}

#[test]
fn over_a_span_running_time_counts() {
    watched(|| {
        // the kink of the curve lies in the middle of the second pair
        let mut rig = rig("1: 0.5,0.2 over 0.02..0.1");
        for n in 0..3 {
            rig.harness.push(labelled(n, (128, 64))).unwrap();
        }
        let outputs = rig.outputs();
        let at = |ms: u64| {
            let output = outputs.iter().find(|b| time(b) == ms * MS).unwrap();
            SCENE.measured(&frame(output))[0]
        };
        // at 40 ms the curve is at 28 ms, at 60 ms at 36 ms, and at 80 ms at 68 ms
        let wanted = columns(1)[0] + STEP * 8.0 / 40.0;
        assert!((at(60) - wanted).abs() < 0.5, "{} {wanted}", at(60));
    });
}
