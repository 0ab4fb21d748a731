//! The element `videomaskattach`, and the meta that it puts onto frames.

use gst::meta::CustomMeta;
use gst::prelude::*;

use crate::support::{MS, bytes, init, run_to_eos, time, watched};

const META: &str = "GstVideoLabelMask";

/// Frames and masks in the test's hands.
struct Attach {
    pipeline: gst::Pipeline,
    frames: gst_app::AppSrc,
    masks: gst_app::AppSrc,
    sink: gst_app::AppSink,
}

impl Attach {
    /// `behind` stands between the element and the sink.
    fn new(behind: &str) -> Self {
        init();
        let line = format!(
            "appsrc name=frames format=time caps={FRAMES} ! videomaskattach name=attach {behind} ! appsink name=sink sync=false \
             appsrc name=masks format=time caps={MASKS} ! attach.mask"
        );
        let pipeline = gst::parse::launch(&line).unwrap();
        let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
        let source = |name| {
            pipeline
                .by_name(name)
                .and_downcast::<gst_app::AppSrc>()
                .unwrap()
        };
        let (frames, masks) = (source("frames"), source("masks"));
        let sink = pipeline.by_name("sink").and_downcast().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        Attach {
            pipeline,
            frames,
            masks,
            sink,
        }
    }

    fn frame(&self, ms: u64) {
        self.frames
            .push_buffer(buffer(vec![ms as u8; 32 * 16 * 3 / 2], ms))
            .unwrap();
    }

    fn mask(&self, ms: u64, label: u8) {
        self.masks
            .push_buffer(buffer(vec![label; 4 * 2], ms))
            .unwrap();
    }

    /// Ends both streams; all that comes out.
    fn end(self) -> Vec<gst::Buffer> {
        self.frames.end_of_stream().unwrap();
        self.masks.end_of_stream().unwrap();
        let all = std::iter::from_fn(|| self.sink.pull_sample().ok());
        all.map(|sample| sample.buffer_owned().unwrap()).collect()
    }
}

impl Drop for Attach {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

const FRAMES: &str = "video/x-raw,format=I420,width=32,height=16,framerate=25/1";
const MASKS: &str = "video/x-raw,format=GRAY8,width=4,height=2,framerate=0/1";

fn buffer(data: Vec<u8>, ms: u64) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_mut_slice(data);
    buffer
        .get_mut()
        .unwrap()
        .set_pts(gst::ClockTime::from_mseconds(ms));
    buffer
}

/// Size and labels of the mask on a frame.
fn mask(buffer: &gst::BufferRef) -> Option<(u32, u32, Vec<u8>)> {
    let meta = CustomMeta::from_buffer(buffer, META).ok()?;
    let structure = meta.structure();
    let labels: gst::glib::Bytes = structure.get("labels").unwrap();
    Some((
        structure.get("width").unwrap(),
        structure.get("height").unwrap(),
        labels.to_vec(),
    ))
}

/// The time and the label of each frame.
fn labels(outputs: &[gst::Buffer]) -> Vec<(u64, Option<u8>)> {
    let label = |b: &gst::Buffer| mask(b).map(|(_, _, labels)| labels[0]);
    outputs.iter().map(|b| (time(b) / MS, label(b))).collect()
}

#[test]
fn each_frame_has_the_mask_in_force() {
    watched(|| {
        let attach = Attach::new("");
        for ms in [0, 40, 80, 120, 160, 200] {
            attach.frame(ms);
        }
        attach.mask(40, 7);
        attach.mask(130, 8);
        attach.mask(160, 9);
        let outputs = attach.end();
        let wanted = [
            (0, None),
            (40, Some(7)),
            (80, Some(7)),
            (120, Some(7)),
            (160, Some(9)),
            (200, Some(9)),
        ];
        assert_eq!(labels(&outputs), wanted);
        assert_eq!(mask(&outputs[1]), Some((4, 2, vec![7; 8])));
        // the frames are what they were
        assert!(bytes(&outputs[2]).iter().all(|b| *b == 80));
    });
}

#[test]
fn masks_that_come_late_hold_from_the_next_frame_on() {
    watched(|| {
        let attach = Attach::new("");
        attach.frame(0);
        attach.mask(500, 1);
        let first = attach.sink.pull_sample().unwrap();
        assert_eq!(mask(first.buffer().unwrap()), None);
        attach.frame(600);
        // older than the frame that has gone, and than the mask before it
        attach.mask(100, 2);
        attach.mask(700, 3);
        assert_eq!(labels(&attach.end()), [(600, Some(2))]);
    });
}

#[test]
fn a_gap_ends_a_mask() {
    watched(|| {
        let attach = Attach::new("");
        for ms in [0, 40, 80, 120] {
            attach.frame(ms);
        }
        attach.mask(0, 5);
        let at = gst::ClockTime::from_mseconds(80);
        let gap = gst::event::Gap::builder(at).duration(40 * gst::ClockTime::MSECOND);
        // queued behind the mask
        assert!(attach.masks.send_event(gap.build()));
        assert_eq!(
            labels(&attach.end()),
            [(0, Some(5)), (40, Some(5)), (80, None), (120, None)]
        );
    });
}

#[test]
fn without_masks_frames_pass_as_they_are() {
    watched(|| {
        let attach = Attach::new("");
        attach.frame(0);
        attach.frame(40);
        assert_eq!(labels(&attach.end()), [(0, None), (40, None)]);
        // and where nothing is linked to the pad of masks
        let line = format!("videotestsrc num-buffers=3 ! {FRAMES} ! videomaskattach ! fakesink");
        let pipeline = gst::parse::launch(&line).unwrap();
        run_to_eos(&pipeline.downcast().unwrap(), |_| ());
    });
}

#[test]
fn the_mask_survives_copies_queues_and_other_sizes_and_formats() {
    watched(|| {
        for behind in [
            "! queue",
            "! tee ! queue",
            "! videoscale ! video/x-raw,width=50,height=9",
            "! videoconvert ! video/x-raw,format=RGB",
        ] {
            let attach = Attach::new(behind);
            attach.frame(0);
            attach.mask(0, 3);
            let outputs = attach.end();
            assert_eq!(mask(&outputs[0]), Some((4, 2, vec![3; 8])), "{behind}");
            let mut copy = outputs[0].copy_deep().unwrap();
            assert_eq!(mask(&copy), mask(&outputs[0]));
            copy.make_mut().set_pts(None);
            assert_eq!(mask(&copy), mask(&outputs[0]));
        }
    });
}

#[test]
fn what_crops_pictures_leaves_the_mask_off() {
    watched(|| {
        let attach = Attach::new("! videocrop left=8");
        attach.frame(0);
        attach.mask(0, 3);
        assert_eq!(labels(&attach.end()), [(0, None)]);
    });
}

#[test]
fn frames_and_masks_may_change_their_size() {
    watched(|| {
        let attach = Attach::new("");
        let push = |source: &gst_app::AppSrc, caps: &str, buffer: gst::Buffer| {
            let caps = caps.parse().unwrap();
            let sample = gst::Sample::builder().buffer(&buffer).caps(&caps).build();
            source.push_sample(&sample).unwrap();
        };
        attach.frame(0);
        attach.mask(0, 1);
        push(
            &attach.frames,
            &FRAMES.replace("=32", "=64"),
            buffer(vec![0; 64 * 16 * 3 / 2], 40),
        );
        // rows of three labels lie four apart
        push(
            &attach.masks,
            &MASKS.replace("=4", "=3"),
            buffer((0..8).collect(), 40),
        );
        let outputs = attach.end();
        assert_eq!(mask(&outputs[0]), Some((4, 2, vec![1; 8])));
        assert_eq!(mask(&outputs[1]), Some((3, 2, vec![0, 1, 2, 4, 5, 6])));
        assert_eq!(outputs[1].size(), 64 * 16 * 3 / 2);
    });
}

#[test]
fn a_mask_that_is_too_small_is_an_error_with_its_remedy() {
    watched(|| {
        let attach = Attach::new("");
        attach.frame(0);
        attach.masks.push_buffer(buffer(vec![1; 3], 0)).unwrap();
        let bus = attach.pipeline.bus().unwrap();
        let message =
            bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &[gst::MessageType::Error]);
        let message = message.unwrap();
        let gst::MessageView::Error(error) = message.view() else {
            panic!("{message:?}");
        };
        let text = error.error().to_string();
        assert!(text.contains("4x2") && text.contains("GRAY8"), "{text}");
    });
}

/// The pipeline of a line, playing, and its `sink`.
fn playing(line: &str) -> (gst::Pipeline, gst_app::AppSink) {
    let pipeline = gst::parse::launch(line).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("sink").and_downcast().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    (pipeline, sink)
}

#[test]
fn a_seek_forgets_the_mask() {
    watched(|| {
        init();
        let line = format!(
            "videotestsrc ! {FRAMES} ! videomaskattach name=attach ! appsink name=sink sync=false max-buffers=2 \
             videotestsrc pattern=white ! video/x-raw,format=GRAY8,width=4,height=2,framerate=5/1 ! attach.mask"
        );
        let (pipeline, sink) = playing(&line);
        for second in [1, 0, 2] {
            let to = gst::ClockTime::from_seconds(second);
            sink.pull_sample().unwrap();
            pipeline
                .seek_simple(gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE, to)
                .unwrap();
            let sample = sink.pull_sample().unwrap();
            let buffer = sample.buffer().unwrap();
            assert_eq!(buffer.pts(), Some(to));
            assert!(mask(buffer).unwrap().2.iter().all(|label| *label > 200));
        }
        pipeline.set_state(gst::State::Null).unwrap();
    });
}

#[test]
fn backwards_each_frame_has_the_same_mask() {
    watched(|| {
        init();
        let line = format!(
            "videotestsrc ! {FRAMES} ! videomaskattach name=attach ! appsink name=sink sync=false max-buffers=2 \
             videotestsrc pattern=ball ! video/x-raw,format=GRAY8,width=16,height=16,framerate=5/1 ! attach.mask"
        );
        let (pipeline, sink) = playing(&line);
        let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
        let (start, stop) = (gst::ClockTime::ZERO, gst::ClockTime::from_seconds(1));
        let play = |rate: f64| {
            let _ = sink.pull_sample();
            let set = gst::SeekType::Set;
            pipeline.seek(rate, flags, set, start, set, stop).unwrap();
            let samples = std::iter::from_fn(|| sink.pull_sample().ok());
            let masks = samples.map(|sample| {
                let buffer = sample.buffer_owned().unwrap();
                (time(&buffer), mask(&buffer).map(|(_, _, labels)| labels))
            });
            masks.collect::<std::collections::BTreeMap<_, _>>()
        };
        let (forwards, backwards) = (play(1.0), play(-1.0));
        assert_eq!((forwards.len(), backwards.len()), (25, 25));
        for (time, mask) in &forwards {
            assert!(
                backwards[time] == *mask,
                "{:?} at {time} backwards",
                backwards[time]
            );
        }
        pipeline.set_state(gst::State::Null).unwrap();
    });
}

#[test]
fn downstream_settles_what_frames_are() {
    watched(|| {
        init();
        let line = "videotestsrc num-buffers=2 ! videomaskattach name=attach ! video/x-raw,format=GRAY8,width=48,height=20 \
                    ! fakesink videotestsrc num-buffers=2 ! attach.mask";
        run_to_eos(
            &gst::parse::launch(line).unwrap().downcast().unwrap(),
            |pipeline| {
                let pad = pipeline
                    .by_name("attach")
                    .unwrap()
                    .static_pad("src")
                    .unwrap();
                let caps = pad.current_caps().unwrap();
                let width = caps.structure(0).unwrap().get::<i32>("width");
                assert_eq!(width, Ok(48));
            },
        );
    });
}

#[test]
fn a_gap_among_the_frames_stays_one() {
    watched(|| {
        let attach = Attach::new("! videointerpolate multiplier=2/1");
        let sink = attach.sink.static_pad("sink").unwrap();
        let (sender, gaps) = std::sync::mpsc::channel();
        sink.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            if let Some(gst::EventView::Gap(gap)) = info.event().map(|event| event.view()) {
                sender.send(gap.get()).unwrap();
            }
            gst::PadProbeReturn::Ok
        });
        attach.mask(0, 7);
        let ms = gst::ClockTime::from_mseconds;
        let mut first = buffer(vec![0; 32 * 16 * 3 / 2], 0);
        first.get_mut().unwrap().set_duration(ms(40));
        attach.frames.push_buffer(first).unwrap();
        let gap = gst::event::Gap::builder(ms(40)).duration(ms(40)).build();
        // queued behind the frame
        assert!(attach.frames.send_event(gap));
        attach.frame(80);
        let outputs = attach.end();
        let times: Vec<u64> = outputs.iter().map(|b| time(b) / MS).collect();
        assert_eq!(times, [0, 20, 80, 100]);
        assert_eq!(gaps.try_recv(), Ok((ms(40), Some(ms(40)))));
    });
}
