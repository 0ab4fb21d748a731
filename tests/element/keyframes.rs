//! `videokeyframes` between two sources and a sink of the test.

use gst::prelude::*;

use crate::support::{MS, init, watched};

const FRAME: u64 = 40 * MS;

fn caps(format: &str, width: u32, height: u32) -> gst::Caps {
    format!(
        "video/x-raw, format={format}, width={width}, height={height}, framerate=25/1, interlace-mode=progressive, pixel-aspect-ratio=1/1"
    )
    .parse()
    .unwrap()
}

/// A picture with a gradient that moves by a pixel a frame; a keyframe is brighter by 40.
fn picture(caps: &gst::Caps, n: u64, styled: bool) -> gst::Buffer {
    let info = gst_video::VideoInfo::from_caps(caps).unwrap();
    let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
    let out = buffer.get_mut().unwrap();
    out.set_pts(gst::ClockTime::from_nseconds(n * FRAME));
    out.set_duration(gst::ClockTime::from_nseconds(FRAME));
    let mut map = out.map_writable().unwrap();
    let (width, luma) = (
        info.width() as usize,
        (info.width() * info.height()) as usize,
    );
    for (i, byte) in map.iter_mut().enumerate() {
        let (x, y) = ((i % width) as f32 - n as f32, (i / width) as f32);
        let wave = 40.0 * (0.5 * x).sin() + 20.0 * (0.4 * y + 0.2 * x).cos();
        *byte = match i < luma {
            true => (100.0 + wave) as u8 + if styled { 40 } else { 0 },
            false => 128,
        };
    }
    drop(map);
    buffer
}

/// Mean of luma.
fn mean(buffer: &gst::BufferRef, luma: usize) -> f32 {
    let map = buffer.map_readable().unwrap();
    map[..luma].iter().map(|b| f32::from(*b)).sum::<f32>() / luma as f32
}

struct Rig {
    pipeline: gst::Pipeline,
    video: gst_app::AppSrc,
    keys: Option<gst_app::AppSrc>,
    sink: gst_app::AppSink,
    element: gst::Element,
    caps: gst::Caps,
}

impl Rig {
    fn new(properties: &str, live: bool, keys: bool) -> Self {
        init();
        let source = format!("appsrc format=time is-live={live} block=false");
        let keyframes = format!("{source} name=keys ! k.keyframe");
        let line = format!(
            "videokeyframes name=k threads=1 {properties} ! appsink name=out sync=false \
             {source} name=video ! k.sink {}",
            if keys { &keyframes } else { "" }
        );
        let pipeline = gst::parse::launch(&line).unwrap();
        let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
        let child = |name| pipeline.by_name(name);
        let rig = Self {
            video: child("video").and_downcast().unwrap(),
            keys: child("keys").and_downcast(),
            sink: child("out").and_downcast().unwrap(),
            element: child("k").unwrap(),
            caps: caps("I420", 64, 48),
            pipeline,
        };
        rig.video.set_caps(Some(&rig.caps));
        if let Some(keys) = &rig.keys {
            keys.set_caps(Some(&rig.caps));
        }
        rig.pipeline.set_state(gst::State::Playing).unwrap();
        rig
    }

    fn keys(&self) -> &gst_app::AppSrc {
        self.keys.as_ref().unwrap()
    }

    fn push(&self, numbers: std::ops::Range<u64>) {
        for n in numbers {
            self.video
                .push_buffer(picture(&self.caps, n, false))
                .unwrap();
        }
    }

    fn push_key(&self, n: u64) {
        self.keys()
            .push_buffer(picture(&self.caps, n, true))
            .unwrap();
    }

    /// A gap of so many frames, queued behind what was pushed.
    fn push_gap(&self, n: u64, frames: u64) {
        let [at, duration] = [n, frames].map(|n| gst::ClockTime::from_nseconds(n * FRAME));
        let gap = gst::event::Gap::builder(at).duration(duration);
        assert!(self.video.send_event(gap.build()));
    }

    /// Numbers of the frames that come out, and those of the gaps, as they come.
    fn order(&self) -> std::sync::mpsc::Receiver<Out> {
        let (sender, outs) = std::sync::mpsc::channel();
        let number = |time: gst::ClockTime| time.nseconds() / FRAME;
        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
        let pad = self.element.static_pad("src").unwrap();
        pad.add_probe(kinds, move |_, info| {
            let out = match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => {
                    Some(Out::Frame(number(buffer.pts().unwrap())))
                }
                Some(gst::PadProbeData::Event(event)) => match event.view() {
                    gst::EventView::Gap(gap) => {
                        let (at, duration) = gap.get();
                        Some(Out::Gap(number(at), duration.map(number)))
                    }
                    _ => None,
                },
                _ => None,
            };
            if let Some(out) = out {
                // after the test nobody listens
                let _ = sender.send(out);
            }
            gst::PadProbeReturn::Ok
        });
        outs
    }

    fn end(&self) {
        self.video.end_of_stream().unwrap();
        if let Some(keys) = &self.keys {
            keys.end_of_stream().unwrap();
        }
    }

    /// Number and mean of luma of the next frame; `None` at the end.
    fn pull(&self) -> Option<(u64, f32)> {
        let sample = self.sink.pull_sample().ok()?;
        let buffer = sample.buffer().unwrap();
        let info = gst_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
        let luma = (info.width() * info.height()) as usize;
        let n = buffer.pts().unwrap().nseconds() / FRAME;
        Some((n, mean(buffer, luma)))
    }

    /// All frames up to the end.
    fn rest(&self) -> Vec<(u64, f32)> {
        std::iter::from_fn(|| self.pull()).collect()
    }

    fn stat(&self, name: &str) -> u64 {
        let stats = self.element.property::<gst::Structure>("stats");
        stats.get(name).unwrap()
    }

    /// The first message of a kind.
    fn message(&self, kind: gst::MessageType) -> String {
        let bus = self.pipeline.bus().unwrap();
        let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(30), &[kind]);
        match message.expect("a message").view() {
            gst::MessageView::Error(error) => error.error().to_string(),
            gst::MessageView::Warning(warning) => warning.error().to_string(),
            _ => String::new(),
        }
    }
}

/// What comes out: a frame's number; a gap's, and its frames.
#[derive(Debug, PartialEq)]
enum Out {
    Frame(u64),
    Gap(u64, Option<u64>),
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// In the keyframes' look, which is brighter by 40.
fn is_styled(mean: f32) -> bool {
    (130.0..150.0).contains(&mean)
}

/// As it came.
fn is_plain(mean: f32) -> bool {
    (90.0..110.0).contains(&mean)
}

#[test]
fn a_video_gets_the_look_of_two_keyframes() {
    watched(|| {
        let rig = Rig::new("", false, true);
        rig.push_key(0);
        rig.push_key(4);
        rig.push(0..7);
        rig.end();
        let frames = rig.rest();
        let numbers: Vec<u64> = frames.iter().map(|f| f.0).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6]);
        assert!(frames.iter().all(|f| is_styled(f.1)), "{frames:?}");
        let counts = [
            "in",
            "out",
            "keyframes",
            "made-from-two",
            "made-from-one",
            "unmatched",
        ];
        assert_eq!(counts.map(|name| rig.stat(name)), [7, 7, 2, 3, 2, 0]);
    });
}

#[test]
fn residuals_are_told() {
    watched(|| {
        let rig = Rig::new("iterations=4 tolerance=0", false, true);
        rig.push_key(0);
        rig.push(0..3);
        rig.end();
        rig.rest();
        let stats = rig.element.property::<gst::Structure>("stats");
        let residuals = stats.get::<gst::Array>("residuals").unwrap();
        let residuals: Vec<f64> = residuals.iter().map(|r| r.get().unwrap()).collect();
        assert!((1..=5).contains(&residuals.len()), "{residuals:?}");
        assert!(residuals.is_sorted_by(|a, b| a > b), "{residuals:?}");
        assert_eq!(rig.stat("solved"), 2);
        assert_eq!(rig.stat("falling"), 2);
    });
}

#[test]
fn a_live_video_gets_the_look_of_its_first_frame() {
    watched(|| {
        // the keyframes' pad stays silent after the first one
        let rig = Rig::new("lookahead=0 latency=100000000", true, true);
        rig.push_key(0);
        rig.push(0..4);
        let frames: Vec<_> = (0..4).map(|_| rig.pull().unwrap()).collect();
        assert!(frames.iter().all(|f| is_styled(f.1)), "{frames:?}");
        let mut query = gst::query::Latency::new();
        let pad = rig.element.static_pad("src").unwrap();
        assert!(pad.query(&mut query));
        let (live, least, _) = query.result();
        assert!(
            live && least >= gst::ClockTime::from_nseconds(FRAME),
            "{least}"
        );
    });
}

#[test]
fn without_keyframes_the_buffers_pass() {
    watched(|| {
        for with_pad in [false, true] {
            let rig = Rig::new("", false, with_pad);
            rig.push(0..3);
            rig.end();
            let frames = rig.rest();
            assert_eq!(frames.len(), 3);
            assert!(frames.iter().all(|f| is_plain(f.1)), "{frames:?}");
            assert_eq!(rig.stat("made-from-one") + rig.stat("made-from-two"), 0);
        }
    });
}

#[test]
fn a_keyframe_that_matches_no_frame_is_left_out() {
    watched(|| {
        let rig = Rig::new("", false, true);
        let mut early = picture(&rig.caps, 1, true);
        let between = gst::ClockTime::from_nseconds(FRAME + FRAME / 2);
        early.get_mut().unwrap().set_pts(between);
        rig.keys().push_buffer(early).unwrap();
        rig.push_key(9);
        rig.push(0..4);
        rig.end();
        let frames = rig.rest();
        assert_eq!(frames.len(), 4);
        assert!(frames.iter().all(|f| is_plain(f.1)), "{frames:?}");
        assert_eq!(rig.stat("unmatched"), 2);
        let warning = rig.message(gst::MessageType::Warning);
        assert!(warning.contains("matches no frame"), "{warning}");
        assert!(warning.contains("timestamp"), "{warning}");
    });
}

#[test]
fn a_keyframe_of_another_size_is_an_error() {
    watched(|| {
        let rig = Rig::new("", false, true);
        let other = caps("I420", 32, 48);
        rig.keys().set_caps(Some(&other));
        rig.keys().push_buffer(picture(&other, 0, true)).unwrap();
        rig.push(0..2);
        let error = rig.message(gst::MessageType::Error);
        assert!(
            error.contains("32x48") && error.contains("64x48"),
            "{error}"
        );
        assert!(error.contains("scale it"), "{error}");
    });
}

#[test]
fn a_keyframe_of_another_format_is_converted() {
    watched(|| {
        let rig = Rig::new("", false, true);
        let mut other = caps("NV12", 64, 48);
        // as a picture from a file, which has no rate
        other.make_mut().set("framerate", gst::Fraction::new(0, 1));
        rig.keys().set_caps(Some(&other));
        rig.keys().push_buffer(picture(&other, 0, true)).unwrap();
        rig.push(0..3);
        rig.end();
        let frames = rig.rest();
        assert_eq!(frames.len(), 3);
        assert!(frames.iter().all(|f| is_styled(f.1)), "{frames:?}");
    });
}

#[test]
fn a_frame_without_a_timestamp_is_an_error() {
    watched(|| {
        let rig = Rig::new("", false, true);
        let mut buffer = picture(&rig.caps, 0, false);
        buffer.get_mut().unwrap().set_pts(gst::ClockTime::NONE);
        rig.push_key(0);
        rig.video.push_buffer(buffer).unwrap();
        let error = rig.message(gst::MessageType::Error);
        assert!(error.contains("no timestamp"), "{error}");
    });
}

#[test]
fn new_caps_begin_anew() {
    watched(|| {
        let mut rig = Rig::new("", false, true);
        rig.push_key(0);
        rig.push(0..3);
        let larger = caps("I420", 80, 64);
        rig.caps = larger.clone();
        rig.keys().set_caps(Some(&larger));
        rig.video.set_caps(Some(&larger));
        rig.push_key(4);
        rig.push(3..6);
        rig.end();
        let frames = rig.rest();
        let numbers: Vec<u64> = frames.iter().map(|f| f.0).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
        assert!(frames.iter().all(|f| is_styled(f.1)), "{frames:?}");
        // 1 and 2 from the one before; 3 from the one after it, which has the new size
        assert_eq!(rig.stat("made-from-one"), 4);
        assert_eq!(rig.stat("unmatched"), 0);
    });
}

#[test]
fn a_gap_leaves_after_the_frames_before_it() {
    watched(|| {
        let rig = Rig::new("", false, true);
        let order = rig.order();
        // nothing was sent yet that would wait
        rig.push_gap(0, 1);
        rig.push_key(1);
        rig.push_key(5);
        rig.push(1..3);
        rig.push_gap(3, 1);
        rig.push(4..6);
        rig.push_gap(6, 2);
        rig.end();
        let frames = rig.rest();
        assert!(frames.iter().all(|f| is_styled(f.1)), "{frames:?}");
        let (frame, gap) = (Out::Frame, |n, frames| Out::Gap(n, Some(frames)));
        let wanted = [frame(1), frame(2), gap(3, 1), frame(4), frame(5), gap(6, 2)];
        assert_eq!(order.try_iter().collect::<Vec<_>>(), wanted);
        // a frame that is missing does not end the waiting
        assert_eq!(rig.stat("made-from-two"), 2);
    });
}

#[test]
fn frames_wait_no_longer_for_a_gap_than_for_frames() {
    watched(|| {
        let rig = Rig::new("lookahead=5", false, true);
        let order = rig.order();
        rig.push_key(0);
        rig.push_key(20);
        rig.push(0..4);
        // three wait, and may as long as two are missing
        rig.push_gap(4, 2);
        rig.push_gap(6, 1);
        let next = || {
            let wait = std::time::Duration::from_secs(30);
            order.recv_timeout(wait).expect("what waits")
        };
        let gap = |n, frames| Out::Gap(n, Some(frames));
        assert_eq!([next(), next()], [0, 1].map(Out::Frame));
        rig.push_gap(7, 100);
        let rest = [next(), next(), next(), next(), next()];
        let wanted = [
            Out::Frame(2),
            Out::Frame(3),
            gap(4, 2),
            gap(6, 1),
            gap(7, 100),
        ];
        assert_eq!(rest, wanted);
        assert_eq!(rig.stat("made-from-one"), 3);
    });
}

#[test]
fn a_flush_forgets_the_keyframe() {
    watched(|| {
        let rig = Rig::new("", false, true);
        rig.push_key(0);
        rig.push_key(8);
        rig.push(0..3);
        // what waits for the second keyframe is gone after the flush
        assert!(is_styled(rig.pull().unwrap().1));
        while rig.stat("in") < 3 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let sources = [&rig.video, rig.keys()];
        for source in sources {
            assert!(source.send_event(gst::event::FlushStart::new()));
        }
        for source in sources {
            assert!(source.send_event(gst::event::FlushStop::new(true)));
        }
        // the frames start over, and no keyframe with them
        rig.push(0..3);
        rig.end();
        let frames = rig.rest();
        assert_eq!(frames.len(), 3, "{frames:?}");
        assert!(frames.iter().all(|f| is_plain(f.1)), "{frames:?}");
    });
}

#[test]
fn a_seek_starts_over() {
    watched(|| {
        init();
        let source = "videotestsrc num-buffers=20 pattern=ball ! video/x-raw,format=I420,width=64,height=48,framerate=25/1";
        let line = format!(
            "videokeyframes name=k threads=1 ! appsink name=out sync=false {source} ! k.sink {source} ! videobalance brightness=0.4 ! k.keyframe"
        );
        let pipeline = gst::parse::launch(&line).unwrap();
        let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
        let sink = pipeline
            .by_name("out")
            .and_downcast::<gst_app::AppSink>()
            .unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        sink.pull_sample().unwrap();
        let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
        for to in [400, 80] {
            let to = gst::ClockTime::from_mseconds(to);
            pipeline.seek_simple(flags, to).unwrap();
            let sample = sink.pull_sample().unwrap();
            assert_eq!(sample.buffer().unwrap().pts(), Some(to));
            // every frame is a keyframe, and looks like it
            let luma = mean(sample.buffer().unwrap(), 64 * 48);
            assert!(luma > 80.0, "{luma}");
        }
        pipeline.set_state(gst::State::Null).unwrap();
    });
}
