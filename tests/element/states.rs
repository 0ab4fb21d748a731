//! Threads and states: promises 34 to 38.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use gst::prelude::*;
use tempfile::TempDir;

use crate::support::{self, MS, Pads, Rig, caps, info, watched};

const PROPERTIES: [&str; 14] = [
    "framerate",
    "multiplier",
    "quality",
    "model",
    "device",
    "threads",
    "scale",
    "recursion",
    "reference-iterations",
    "scene-threshold",
    "scene-action",
    "max-gap",
    "show",
    "qos",
];

fn values(element: &gst::Element) -> Vec<String> {
    let text = |name: &&str| {
        let value = element.property_value(name);
        value.serialize().unwrap().to_string()
    };
    PROPERTIES.iter().map(text).collect()
}

fn pipeline(description: &str) -> gst::Pipeline {
    support::init();
    let pipeline = gst::parse::launch(description).unwrap();
    pipeline.downcast().unwrap()
}

const SOURCE: &str = "videotestsrc num-buffers=8 pattern=ball ! video/x-raw, format=I420, width=64, height=48, framerate=25/1";

#[test]
fn properties_survive_two_rounds_of_states() {
    watched(|| {
        let pipeline = pipeline(&format!("{SOURCE} ! videointerpolate name=x ! fakesink"));
        let x = pipeline.by_name("x").unwrap();
        let before = values(&x);
        assert_eq!(before[0], "0/1");
        assert_eq!(before[1], "2/1");
        assert_eq!(before[2], "auto");
        assert_eq!(before[3], "\"\"");
        assert_eq!(before[4], "auto");
        for _ in 0..2 {
            support::run_to_eos(&pipeline, |_| {
                assert_eq!(x.property::<u64>("in"), 8);
                assert_eq!(x.property::<u64>("out"), 16);
                let stats: gst::Structure = x.property("stats");
                assert_eq!(stats.get::<u64>("out"), Ok(16));
                assert!(stats.get::<u64>("worst-inference-time").unwrap() > 0);
            });
            assert_eq!(values(&x), before);
        }
    });
}

/// What an application may do at any time, from any thread.
fn meddle(element: &gst::Element) {
    for name in ["in", "out", "interpolated", "duplicate", "drop"] {
        let _: u64 = element.property(name);
    }
    let _: gst::Structure = element.property("stats");
    values(element);
    element.set_property("max-gap", 2_000 * MS);
    element.set_property("scene-threshold", 0.5);
    element.set_property_from_str("scene-action", "nearest");
    element.set_property_from_str("show", "flow");
    element.set_property_from_str("quality", "fast");
    for pad in element.pads() {
        pad.query(&mut gst::query::Latency::new());
        pad.query(&mut gst::query::Position::new(gst::Format::Time));
        pad.query_caps(None);
    }
    let src = element.static_pad("src").unwrap();
    let time = gst::ClockTime::ZERO;
    src.send_event(gst::event::Qos::new(gst::QOSType::Underflow, 1.0, 0, time));
}

// promise 34
#[test]
fn properties_and_queries_answer_from_inside_every_call_that_leaves_the_element() {
    watched(|| {
        let pipeline = pipeline(&format!(
            "{SOURCE} ! identity name=up ! videointerpolate name=x ! identity name=down ! fakesink"
        ));
        let x = pipeline.by_name("x").unwrap();
        // pushes of buffers and events, and queries on either side
        for pad in ["src", "sink"] {
            let types = gst::PadProbeType::DATA_BOTH | gst::PadProbeType::PUSH;
            let weak = x.downgrade();
            x.static_pad(pad).unwrap().add_probe(types, move |_, _| {
                if let Some(x) = weak.upgrade() {
                    let _: gst::Structure = x.property("stats");
                    x.set_property("max-gap", 2_000 * MS);
                }
                gst::PadProbeReturn::Ok
            });
        }
        let weak = x.downgrade();
        let buffers = gst::PadProbeType::BUFFER;
        x.static_pad("src")
            .unwrap()
            .add_probe(buffers, move |_, _| {
                weak.upgrade().iter().for_each(meddle);
                gst::PadProbeReturn::Ok
            });
        // messages and notifications
        let weak = x.downgrade();
        pipeline.bus().unwrap().set_sync_handler(move |_, _| {
            if let Some(x) = weak.upgrade() {
                let _: gst::Structure = x.property("stats");
            }
            gst::BusSyncReply::Pass
        });
        x.connect_notify(None, |x, _| {
            let _: gst::Structure = x.property("stats");
        });
        support::run_to_eos(&pipeline, |_| {
            assert_eq!(x.property::<u64>("out"), 16);
        });
        pipeline.bus().unwrap().unset_sync_handler();
    });
}

// promises 34 and 35
#[test]
fn everything_answers_while_downstream_blocks() {
    watched(|| {
        let (blocked, is_blocked) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(released);
        let pads = Pads::new(&[], &caps("25/1"), move |_| {
            let _ = blocked.send(());
            let _ = released.lock().unwrap().recv();
            Ok(gst::FlowSuccess::Ok)
        });
        let (src, info) = (pads.src.clone(), info(&caps("25/1")));
        let stream = thread::spawn(move || src.push(support::picture(&info, 0, 1)));
        is_blocked.recv().unwrap();
        meddle(&pads.element);
        let rate = gst::Fraction::new(100, 1);
        pads.element.set_property("framerate", rate);
        drop(release);
        stream.join().unwrap().unwrap();
    });
}

/// A file whose reader waits until somebody writes.
struct Fifo(TempDir);

impl Fifo {
    fn new() -> Self {
        let fifo = Fifo(tempfile::tempdir().unwrap());
        let made = Command::new("mkfifo").arg(fifo.path()).status();
        assert!(made.unwrap().success());
        fifo
    }

    fn path(&self) -> String {
        self.0.path().join("model").to_str().unwrap().into()
    }

    /// Lets the reader have `contents`; returns when it has opened the file.
    fn feed(&self, contents: &[u8]) {
        // the reader may lose interest
        let _ = std::fs::write(self.path(), contents);
    }
}

/// The element with a model that does not come, and a thread that has pushed a buffer to it.
type Pushing = thread::JoinHandle<Result<gst::FlowSuccess, gst::FlowError>>;

fn waiting(fifo: &Fifo) -> (Pads, Pushing) {
    let model = fifo.path();
    let pads = Pads::new(&[("model", model.as_str())], &caps("25/1"), |_| {
        Ok(gst::FlowSuccess::Ok)
    });
    let (src, info) = (pads.src.clone(), info(&caps("25/1")));
    let stream = thread::spawn(move || src.push(support::picture(&info, 0, 1)));
    thread::sleep(Duration::from_millis(100));
    assert!(
        !stream.is_finished(),
        "the first buffer waits for the model"
    );
    (pads, stream)
}

// promises 36 and 37
#[test]
fn leaving_paused_wakes_the_wait_for_the_model() {
    watched(|| {
        let fifo = Fifo::new();
        let (pads, stream) = waiting(&fifo);
        pads.element.set_state(gst::State::Null).unwrap();
        assert_eq!(stream.join().unwrap(), Err(gst::FlowError::Flushing));
        drop(pads);
        fifo.feed(b"");
    });
}

// promises 25 and 37
#[test]
fn a_flush_wakes_the_wait_for_the_model_and_the_stream_goes_on() {
    watched(|| {
        let fifo = Fifo::new();
        let (pads, stream) = waiting(&fifo);
        assert!(pads.src.push_event(gst::event::FlushStart::new()));
        assert_eq!(stream.join().unwrap(), Err(gst::FlowError::Flushing));
        assert!(pads.src.push_event(gst::event::FlushStop::new(true)));
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/balanced.safetensors");
        fifo.feed(&std::fs::read(model).unwrap());
        pads.begin(&caps("25/1"));
        let info = info(&caps("25/1"));
        for i in 0..2 {
            pads.src
                .push(support::picture(&info, i * 40 * MS, i as u8))
                .unwrap();
        }
        assert_eq!(pads.element.property::<u64>("interpolated"), 1);
    });
}

// promise 36
#[test]
fn leaving_paused_wakes_the_wait_for_a_buffer() {
    watched(|| {
        // a pool of one buffer, which downstream keeps
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keep = kept.clone();
        let pads = Pads::unstarted(&[], move |buffer| {
            keep.lock().unwrap().push(buffer);
            Ok(gst::FlowSuccess::Ok)
        });
        pads.sink.add_probe(
            gst::PadProbeType::QUERY_DOWNSTREAM | gst::PadProbeType::PUSH,
            |_, probe| {
                let Some(gst::QueryViewMut::Allocation(query)) =
                    probe.query_mut().map(|q| q.view_mut())
                else {
                    return gst::PadProbeReturn::Ok;
                };
                let size = info(&caps("50/1")).size() as u32;
                let pool = gst_video::VideoBufferPool::new();
                let mut config = pool.config();
                config.set_params(query.get_owned().0.as_ref(), size, 1, 1);
                pool.set_config(config).unwrap();
                query.add_allocation_pool(Some(&pool), size, 1, 1);
                gst::PadProbeReturn::Handled
            },
        );
        pads.begin(&caps("25/1"));
        let (src, info) = (pads.src.clone(), info(&caps("25/1")));
        let stream = thread::spawn(move || {
            (0..8).try_for_each(|i| {
                src.push(support::picture(&info, i * 40 * MS, i as u8))
                    .map(drop)
            })
        });
        while kept.lock().unwrap().len() < 3 {
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(Duration::from_millis(50));
        assert!(!stream.is_finished());
        pads.element.set_state(gst::State::Null).unwrap();
        assert_eq!(stream.join().unwrap(), Err(gst::FlowError::Flushing));
        kept.lock().unwrap().clear();
    });
}

/// The PROGRESS messages of an element that goes to READY, until loading has ended.
fn progress(rig: &Rig) -> Vec<gst::ProgressType> {
    let mut types = Vec::new();
    loop {
        let message = rig
            .bus
            .timed_pop_filtered(gst::ClockTime::NONE, &[gst::MessageType::Progress])
            .unwrap();
        if let gst::MessageView::Progress(p) = message.view() {
            types.push(p.type_());
            if p.type_() != gst::ProgressType::Start {
                return types;
            }
        }
    }
}

// promise 37
#[test]
fn loading_tells_of_its_progress() {
    watched(|| {
        let rig = Rig::without_caps(&[], "video/x-raw");
        let expected = [gst::ProgressType::Start, gst::ProgressType::Complete];
        assert_eq!(progress(&rig), expected);
    });
}

// promises 25 and 37
#[test]
fn a_flush_does_not_load_the_model_again() {
    watched(|| {
        let mut rig = Rig::rates("25/1", "50/1");
        rig.push(0).unwrap();
        progress(&rig);
        rig.harness.push_event(gst::event::FlushStart::new());
        rig.harness.push_event(gst::event::FlushStop::new(true));
        rig.segment(&gst::FormattedSegment::new());
        rig.push(0).unwrap();
        rig.push(40 * MS).unwrap();
        assert_eq!(rig.messages(gst::MessageType::Progress).len(), 0);
    });
}

// promise 37
#[test]
fn weights_are_shared_by_all_elements() {
    use gstvideointerpolate::network::Network;
    let (a, b) = (Network::embedded().unwrap(), Network::embedded().unwrap());
    assert!(Arc::ptr_eq(&a, &b));
}

// promise 38
#[test]
fn nothing_is_loaded_before_ready() {
    watched(|| {
        let element = support::element(&[]);
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        values(&element);
        thread::sleep(Duration::from_millis(50));
        assert!(bus.pop().is_none());
        element.set_bus(None);
    });
}

// promise 38, in a process where no other test has read the weights
#[test]
fn registering_reads_no_weights_and_touches_no_cuda() {
    use gstvideointerpolate::network::{Network, Variant};
    const CHILD: &str = "VIDEOINTERPOLATE_TEST_REGISTERING";
    if std::env::var_os(CHILD).is_none() {
        let name = "states::registering_reads_no_weights_and_touches_no_cuda";
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&child.stdout);
        let passed = child.status.success() && text.contains("1 passed");
        assert!(passed, "{text}");
        return;
    }
    let element = support::element(&[]);
    values(&element);
    assert!(!Variant::Balanced.is_read());
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    assert!(!maps.contains("libcuda"), "{maps}");
    Network::embedded().unwrap();
    assert!(Variant::Balanced.is_read());
}

// going up and down fast, the loading thread comes to nothing
#[test]
fn a_load_that_is_no_longer_wanted_harms_nobody() {
    watched(|| {
        for _ in 0..20 {
            let element = support::element(&[]);
            element.set_state(gst::State::Ready).unwrap();
            element.set_state(gst::State::Null).unwrap();
            element.set_state(gst::State::Paused).unwrap();
            element.set_state(gst::State::Null).unwrap();
        }
    });
}
