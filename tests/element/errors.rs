//! Bad input: each is a clear error or a promised behaviour; nothing panics, nothing hangs.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use gst::prelude::*;

use crate::support::{self, MS, Pads, Rig, caps, info, watched, watched_for};

/// Runs with a model that cannot be used; returns the errors posted.
fn errors_with_model(model: &Path) -> Vec<String> {
    let model = model.to_str().unwrap();
    let mut rig = Rig::new(
        &[("model", model)],
        &caps("25/1"),
        "video/x-raw, framerate=50/1",
    );
    for i in 0..3 {
        assert_eq!(rig.push(i * 40 * MS), Err(gst::FlowError::Error));
    }
    assert!(rig.outputs().is_empty());
    rig.errors()
}

// promise 37
#[test]
fn a_model_that_cannot_be_used_is_one_error_that_names_it() {
    watched(|| {
        let good = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/balanced.safetensors");
        let good = std::fs::read(good).unwrap();
        let truncated = support::file(&good[..good.len() / 2]);
        let header = support::file(&good[..100]);
        let empty = support::file(b"");
        let garbage = support::file(&[0xff; 4096]);
        let other = support::file(b"\x02\0\0\0\0\0\0\0{}");
        let missing = Path::new("/nonexistent/model.safetensors");
        let directory = std::env::temp_dir();
        for path in [
            missing, &directory, &truncated, &header, &empty, &garbage, &other,
        ] {
            let errors = errors_with_model(path);
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert!(errors[0].contains(path.to_str().unwrap()), "{errors:?}");
            assert!(errors[0].contains("built-in"), "no remedy: {errors:?}");
        }
    });
}

// promise 37: the load has failed long before the first picture comes
#[test]
fn a_wrong_model_is_told_once_however_slowly_the_states_go_up() {
    watched(|| {
        let element = support::element(&[("model", "/nonexistent/model.safetensors")]);
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let error = |limit| bus.timed_pop_filtered(limit, &[gst::MessageType::Error]);
        element.set_state(gst::State::Ready).unwrap();
        assert!(error(gst::ClockTime::NONE).is_some());
        thread::sleep(Duration::from_millis(50));
        element.set_state(gst::State::Paused).unwrap();
        assert!(error(Some(gst::ClockTime::from_mseconds(300))).is_none());
        // another attempt is told again
        element.set_state(gst::State::Ready).unwrap();
        element.set_state(gst::State::Paused).unwrap();
        assert!(error(gst::ClockTime::NONE).is_some());
        element.set_state(gst::State::Null).unwrap();
        element.set_bus(None);
    });
}

// a failed load can be repaired: the instance is not lost
#[test]
fn after_a_wrong_model_a_right_one_works() {
    watched(|| {
        let pads = Pads::new(&[("model", "/nonexistent")], &caps("25/1"), |_| {
            Ok(gst::FlowSuccess::Ok)
        });
        let info = info(&caps("25/1"));
        let push = |pts| pads.src.push(support::picture(&info, pts, 1));
        assert_eq!(push(0), Err(gst::FlowError::Error));
        pads.element.set_state(gst::State::Ready).unwrap();
        pads.element.set_property("model", "");
        pads.element.set_state(gst::State::Playing).unwrap();
        pads.begin(&caps("25/1"));
        assert_eq!(push(0), Ok(gst::FlowSuccess::Ok));
    });
}

#[test]
fn predictions_are_refused_on_a_card_and_go_to_the_cpu_by_themselves() {
    watched(|| {
        let element = support::element(&[("device", "cuda"), ("latency-mode", "zero")]);
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        assert!(element.set_state(gst::State::Ready).is_err());
        let message = bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
        let gst::MessageView::Error(e) = message.view() else {
            unreachable!()
        };
        let text = e.error().to_string();
        assert!(
            text.contains("latency-mode=zero") && text.contains("cpu"),
            "{text}"
        );
        element.set_property("device", "auto");
        element.set_state(gst::State::Ready).unwrap();
        element.set_state(gst::State::Null).unwrap();
    });
}

#[test]
fn a_device_that_is_not_there_is_refused_with_a_remedy() {
    watched(|| {
        for (device, word) in [
            ("cuda", "CUDA"),
            ("cuda:3", "CUDA"),
            ("tpu", "unknown"),
            ("cuda:x", "unknown"),
        ] {
            let element = support::element(&[("device", device)]);
            let bus = gst::Bus::new();
            element.set_bus(Some(&bus));
            assert!(element.set_state(gst::State::Ready).is_err(), "{device}");
            let message = bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
            let gst::MessageView::Error(e) = message.view() else {
                unreachable!()
            };
            let text = e.error().to_string();
            assert!(
                text.contains(device) && text.contains(word) && text.contains("cpu"),
                "{text}"
            );
            assert!(bus.pop_filtered(&[gst::MessageType::Error]).is_none());
            // the element can still be used
            element.set_property("device", "cpu");
            element.set_state(gst::State::Ready).unwrap();
            element.set_state(gst::State::Null).unwrap();
            element.set_bus(None);
        }
    });
}

#[test]
fn a_buffer_that_is_too_small_is_an_error_that_says_so() {
    watched(|| {
        let mut rig = Rig::rates("25/1", "50/1");
        rig.push(0).unwrap();
        let mut small = gst::Buffer::from_mut_slice(vec![0u8; 4]);
        small
            .get_mut()
            .unwrap()
            .set_pts(gst::ClockTime::from_mseconds(40));
        assert_eq!(rig.harness.push(small), Err(gst::FlowError::Error));
        let errors = rig.errors();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].contains("4 bytes") && errors[0].contains("768"),
            "{errors:?}"
        );
    });
}

#[test]
fn an_empty_buffer_is_an_error() {
    watched(|| {
        let mut rig = Rig::rates("25/1", "50/1");
        assert_eq!(
            rig.harness.push(gst::Buffer::new()),
            Err(gst::FlowError::Error)
        );
        assert_eq!(rig.errors().len(), 1);
    });
}

#[test]
fn a_meta_that_contradicts_caps_or_memory_is_an_error() {
    watched(|| {
        type Layout = (gst_video::VideoFormat, u32, [usize; 3], [i32; 3]);
        let cases: [Layout; 5] = [
            // smaller, another format, beyond the end, beyond all memory, a negative stride
            (
                gst_video::VideoFormat::I420,
                16,
                [0, 512, 640],
                [32, 16, 16],
            ),
            (
                gst_video::VideoFormat::Yv12,
                32,
                [0, 512, 640],
                [32, 16, 16],
            ),
            (
                gst_video::VideoFormat::I420,
                32,
                [0, 512, 700],
                [32, 16, 16],
            ),
            (
                gst_video::VideoFormat::I420,
                32,
                [0, 512, usize::MAX - 4],
                [32, 16, 16],
            ),
            (
                gst_video::VideoFormat::I420,
                32,
                [0, 512, 640],
                [32, 16, -16],
            ),
        ];
        for (format, width, offset, stride) in cases {
            let mut rig = Rig::rates("25/1", "50/1");
            let mut buffer = rig.picture(0, 1);
            let flags = gst_video::VideoFrameFlags::empty();
            let writable = buffer.get_mut().unwrap();
            gst_video::VideoMeta::add_full(writable, flags, format, width, 16, &offset, &stride)
                .unwrap();
            let result = rig.harness.push(buffer);
            assert_eq!(
                result,
                Err(gst::FlowError::Error),
                "{format} {width} {offset:?} {stride:?}"
            );
            assert_eq!(rig.errors().len(), 1);
        }
    });
}

// rows that end with the last sample, as after a crop by offsets
#[test]
fn a_crop_by_offsets_is_read_within_its_memory() {
    watched(|| {
        let input = "video/x-raw, format=GRAY8, width=8, height=8, framerate=25/1";
        let mut rig = Rig::new(&[], input, "video/x-raw, framerate=50/1");
        for i in 0..2u64 {
            // an 8x8 corner of 16x16: the last row has no padding behind it
            let mut data = vec![9u8; 16 * 16];
            for y in 8..16 {
                data[y * 16 + 8..y * 16 + 16].fill(100);
            }
            let mut buffer = gst::Buffer::from_mut_slice(data);
            let writable = buffer.get_mut().unwrap();
            writable.set_pts(gst::ClockTime::from_mseconds(i * 40));
            let flags = gst_video::VideoFrameFlags::empty();
            let format = gst_video::VideoFormat::Gray8;
            // the binding wants whole rows, the offset is moved afterwards by cutting the memory
            writable.resize(8 * 16 + 8..16 * 16).unwrap();
            gst_video::VideoMeta::add_full(writable, flags, format, 8, 8, &[0], &[16]).unwrap();
            rig.harness.push(buffer).unwrap();
        }
        let outputs = rig.outputs();
        assert_eq!(outputs.len(), 3);
        for output in outputs {
            let bytes = support::bytes(&output);
            assert!(bytes.iter().all(|v| *v == 100), "{bytes:?}");
        }
    });
}

#[test]
fn the_smallest_picture_is_interpolated() {
    watched(|| {
        for format in ["I420", "RGB", "P010_10LE", "YUY2", "GRAY8"] {
            let input = format!("video/x-raw, format={format}, width=1, height=1, framerate=25/1");
            let mut rig = Rig::new(
                &[("scene-threshold", "0")],
                &input,
                "video/x-raw, framerate=50/1",
            );
            for i in 0..4 {
                rig.push(i * 40 * MS).unwrap();
            }
            assert_eq!(rig.outputs().len(), 7, "{format}");
            assert_eq!(rig.errors(), Vec::<String>::new());
        }
    });
}

#[test]
fn the_largest_picture_is_interpolated() {
    watched_for(Duration::from_secs(900), || {
        let input = "video/x-raw, format=GRAY8, width=8192, height=4320, framerate=25/1";
        let mut rig = Rig::new(&[], input, "video/x-raw, framerate=50/1");
        rig.push(0).unwrap();
        rig.push(40 * MS).unwrap();
        assert_eq!(rig.outputs().len(), 3);
        assert_eq!(rig.errors(), Vec::<String>::new());
    });
}

#[test]
fn everything_may_change_in_mid_stream() {
    watched(|| {
        let mut rig = Rig::new(&[], &caps("25/1"), "video/x-raw");
        let mut pts = 0;
        let mut last = None;
        for (format, width, height, rate) in [
            ("I420", 32, 16, "25/1"),
            ("NV12", 32, 16, "25/1"),
            ("NV12", 33, 17, "30000/1001"),
            ("RGBA", 1, 1, "0/1"),
            ("P010_10LE", 64, 48, "50/1"),
            ("GRAY8", 5, 200, "12/1"),
            ("I420", 32, 16, "25/1"),
        ] {
            for colour in ["bt709", "2:4:16:4"] {
                rig.set_input(&format!(
                    "video/x-raw, format={format}, width={width}, height={height}, framerate={rate}, colorimetry=(string){colour}"
                ));
                for _ in 0..3 {
                    rig.push(pts).unwrap();
                    pts += 40 * MS;
                }
                let multiplier = gst::Fraction::new(2 + (pts / MS % 3) as i32, 1);
                rig.element.set_property("multiplier", multiplier);
                let threshold = (pts / MS % 10) as f64 / 10.0;
                rig.element.set_property("scene-threshold", threshold);
                let action = if (pts / MS).is_multiple_of(80) {
                    "blend"
                } else {
                    "nearest"
                };
                rig.element.set_property_from_str("scene-action", action);
                let show = ["none", "flow", "confidence", "mask", "split"];
                let show = show[(pts / (40 * MS) % 5) as usize];
                rig.element.set_property_from_str("show", show);
            }
        }
        rig.eos();
        for time in rig.times() {
            assert!(last.is_none_or(|last| time > last), "{time} after {last:?}");
            last = Some(time);
        }
        assert_eq!(rig.errors(), Vec::<String>::new());
    });
}

/// Pushes until downstream's answer comes back, at most ten pictures.
fn push_until_refused(pads: &Pads) -> gst::FlowError {
    let info = info(&caps("25/1"));
    (0..10)
        .find_map(|i| {
            pads.src
                .push(support::picture(&info, i * 40 * MS, i as u8))
                .err()
        })
        .expect("downstream's answer never came back")
}

#[test]
fn what_downstream_answers_goes_upstream() {
    watched(|| {
        for answer in [
            gst::FlowError::Error,
            gst::FlowError::Eos,
            gst::FlowError::Flushing,
            gst::FlowError::NotLinked,
            gst::FlowError::NotNegotiated,
        ] {
            let count = AtomicU64::new(0);
            let pads = Pads::new(&[], &caps("25/1"), move |_| {
                match count.fetch_add(1, Ordering::Relaxed) {
                    0..4 => Ok(gst::FlowSuccess::Ok),
                    _ => Err(answer),
                }
            });
            assert_eq!(push_until_refused(&pads), answer);
            // the end of the stream still gets through, and draining does not loop
            pads.src.push_event(gst::event::Eos::new());
        }
    });
}

// a demuxer goes on as long as another of its streams is linked
#[test]
fn frames_that_downstream_does_not_want_do_not_pile_up() {
    watched(|| {
        let last = Arc::new(AtomicU64::new(0));
        let seen = last.clone();
        let pads = Pads::new(&[], &caps("25/1"), move |buffer| {
            seen.store(support::time(&buffer), Ordering::Relaxed);
            Err(gst::FlowError::NotLinked)
        });
        let info = info(&caps("25/1"));
        for i in 0..20 {
            let result = pads.src.push(support::picture(&info, i * 40 * MS, 1));
            assert_eq!(result, Err(gst::FlowError::NotLinked));
        }
        let last = last.load(Ordering::Relaxed);
        assert_eq!(last, 740 * MS, "the last input is at 760 ms");
    });
}

#[test]
fn downstream_may_go_away_between_two_frames() {
    watched(|| {
        let pads = Pads::new(&[], &caps("25/1"), |_| Ok(gst::FlowSuccess::Ok));
        let info = info(&caps("25/1"));
        pads.src.push(support::picture(&info, 0, 1)).unwrap();
        pads.sink.set_active(false).unwrap();
        assert_eq!(push_until_refused(&pads), gst::FlowError::Flushing);
        pads.element
            .static_pad("src")
            .unwrap()
            .unlink(&pads.sink)
            .unwrap();
        let again = pads.src.push(support::picture(&info, 400 * MS, 1));
        assert!(again.is_err());
    });
}

#[test]
fn a_flush_while_a_frame_is_pushed_ends_it_and_the_stream_goes_on() {
    watched(|| {
        for _ in 0..20 {
            let flushing = Mutex::new(None::<gst::Pad>);
            let (sender, receiver) = std::sync::mpsc::channel();
            let sender = Mutex::new(sender);
            let pads = Pads::new(&[], &caps("25/1"), move |_| {
                let _ = sender.lock().unwrap().send(());
                drop(flushing.lock().unwrap().take());
                Ok(gst::FlowSuccess::Ok)
            });
            let (src, info) = (pads.src.clone(), info(&caps("25/1")));
            let stream = thread::spawn(move || {
                (0..100).try_for_each(|i| {
                    src.push(support::picture(&info, i * 40 * MS, i as u8))
                        .map(drop)
                })
            });
            for _ in 0..7 {
                receiver.recv().unwrap();
            }
            pads.src.push_event(gst::event::FlushStart::new());
            let result = stream.join().unwrap();
            assert!(
                matches!(result, Err(gst::FlowError::Flushing) | Ok(())),
                "{result:?}"
            );
            pads.src.push_event(gst::event::FlushStop::new(true));
            pads.begin(&caps("25/1"));
            let info = support::info(&caps("25/1"));
            pads.src.push(support::picture(&info, 0, 1)).unwrap();
            assert_eq!(pads.element.property::<u64>("out"), 1);
        }
    });
}

#[test]
fn states_may_go_down_while_frames_are_made() {
    watched(|| {
        for i in 0..10 {
            let pads = Pads::new(&[], &caps("25/1"), |_| Ok(gst::FlowSuccess::Ok));
            let (src, info) = (pads.src.clone(), info(&caps("25/1")));
            let stream = thread::spawn(move || {
                (0..1000).try_for_each(|i| {
                    src.push(support::picture(&info, i * 40 * MS, i as u8))
                        .map(drop)
                })
            });
            thread::sleep(Duration::from_millis(5 * i));
            pads.element.set_state(gst::State::Null).unwrap();
            assert!(stream.join().unwrap().is_err());
        }
    });
}

// promise 24
#[test]
fn a_segment_that_is_not_in_time_is_an_error_that_names_its_format() {
    watched(|| {
        let rig = &mut Rig::rates("25/1", "50/1");
        let segment = gst::FormattedSegment::<gst::format::Bytes>::new();
        let sink = rig.element.static_pad("sink").unwrap();
        assert!(!sink.send_event(gst::event::Segment::new(&segment)));
        let errors = rig.errors();
        assert_eq!(errors.len(), 1);
        assert!(errors[0].contains("Bytes"), "{errors:?}");
    });
}
