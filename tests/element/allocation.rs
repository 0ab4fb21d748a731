//! Buffers: promise 31.

use gst::prelude::*;
use gst_video::VideoMeta;
use gst_video::prelude::*;

use crate::support::{self, MS, Rig, caps, info, watched};

// promise 31
#[test]
fn upstream_is_offered_a_window_of_buffers_and_one_more() {
    watched(|| {
        let rig = Rig::rates("25/1", "50/1");
        let caps: gst::Caps = caps("25/1").parse().unwrap();
        let mut query = gst::query::Allocation::new(Some(&caps), true);
        assert!(rig.harness.srcpad().unwrap().peer_query(&mut query));
        let pools: Vec<_> = query.allocation_pools().collect();
        assert!(!pools.is_empty());
        for (pool, _, min, max) in pools {
            assert!(min >= 3, "{min} buffers");
            assert!(max == 0 || max >= min);
            if let Some(pool) = pool {
                let (_, _, min, _) = pool.config().params().unwrap();
                assert!(min >= 3, "the pool has {min} buffers");
            }
        }
        assert!(query.find_allocation_meta::<VideoMeta>().is_some());
    });
}

// promise 31
#[test]
fn a_pool_of_one_buffer_suffices() {
    watched(|| {
        support::init();
        let pipeline = gst::parse::launch(
            "videotestsrc num-buffers=20 pattern=ball ! video/x-raw, format=I420, width=64, height=48, framerate=25/1 ! videointerpolate name=x ! video/x-raw, framerate=100/1 ! fakesink name=sink enable-last-sample=false",
        )
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
        let sink = pipeline
            .by_name("sink")
            .unwrap()
            .static_pad("sink")
            .unwrap();
        let types = gst::PadProbeType::QUERY_DOWNSTREAM | gst::PadProbeType::PUSH;
        sink.add_probe(types, |_, probe| {
            let Some(query) = probe.query_mut() else {
                return gst::PadProbeReturn::Ok;
            };
            let gst::QueryViewMut::Allocation(query) = query.view_mut() else {
                return gst::PadProbeReturn::Ok;
            };
            let caps = query.get_owned().0.unwrap();
            let size = gst_video::VideoInfo::from_caps(&caps).unwrap().size() as u32;
            let pool = gst_video::VideoBufferPool::new();
            let mut config = pool.config();
            config.set_params(Some(&caps), size, 1, 1);
            pool.set_config(config).unwrap();
            query.add_allocation_pool(Some(&pool), size, 1, 1);
            gst::PadProbeReturn::Handled
        });
        support::run_to_eos(&pipeline, |pipeline| {
            let x = pipeline.by_name("x").unwrap();
            assert_eq!(x.property::<u64>("out"), 80);
            assert!(x.property::<u64>("interpolated") > 50);
        });
    });
}

// promise 31: upstream wants its buffers back before it changes its pool
#[test]
fn a_drain_query_gives_every_buffer_back() {
    watched(|| {
        let mut rig = Rig::rates("25/1", "50/1");
        let mut source = rig.picture(0, 1);
        rig.harness.push(source.clone()).unwrap();
        assert_eq!(support::ms(&rig.times()), [0]);
        assert!(source.get_mut().is_none(), "held for the next pair");
        // SAFETY: the function returns a new query, which is ours.
        let mut query: gst::Query =
            unsafe { gst::glib::translate::from_glib_full(gst::ffi::gst_query_new_drain()) };
        let query = query.get_mut().unwrap();
        assert!(rig.harness.srcpad().unwrap().peer_query(query));
        assert_eq!(support::ms(&rig.times()), [20]);
        assert!(source.get_mut().is_some(), "still held");
        rig.push(40 * MS).unwrap();
        rig.push(80 * MS).unwrap();
        assert_eq!(support::ms(&rig.times()), [40, 60, 80]);
    });
}

/// An I420 picture whose rows are `padding` bytes longer than they need to be.
fn padded(info: &gst_video::VideoInfo, pts: u64, grey: u8, padding: usize) -> gst::Buffer {
    let strides: Vec<i32> = info.stride().iter().map(|s| s + padding as i32).collect();
    let mut offsets = vec![0usize];
    for plane in 0..2 {
        let rows = if plane == 0 {
            info.height()
        } else {
            info.height().div_ceil(2)
        };
        offsets.push(offsets[plane] + strides[plane] as usize * rows as usize);
    }
    let size = offsets[2] + strides[2] as usize * info.height().div_ceil(2) as usize;
    let mut buffer = gst::Buffer::from_mut_slice(vec![grey; size]);
    let writable = buffer.get_mut().unwrap();
    writable.set_pts(gst::ClockTime::from_nseconds(pts));
    let flags = gst_video::VideoFrameFlags::empty();
    let (w, h) = (info.width(), info.height());
    VideoMeta::add_full(writable, flags, info.format(), w, h, &offsets, &strides).unwrap();
    buffer
}

// promise 31
#[test]
fn strange_strides_are_copied_if_downstream_does_not_take_them() {
    watched(|| {
        let info = info(&caps("25/1"));
        let mut rig = Rig::rates("25/1", "50/1");
        for i in 0..2 {
            rig.harness
                .push(padded(&info, i * 40 * MS, 77, 24))
                .unwrap();
        }
        let outputs = rig.outputs();
        assert_eq!(outputs.len(), 3);
        for output in outputs {
            assert_eq!(output.size(), info.size());
            let frame = gst_video::VideoFrame::from_buffer_readable(output, &info).unwrap();
            assert_eq!(frame.plane_stride(), info.stride());
            assert!(frame.plane_data(0).unwrap().iter().all(|v| *v == 77));
        }
    });
}

fn memory(buffer: &gst::Buffer) -> *const gst::ffi::GstMemory {
    buffer.peek_memory(0).as_ptr()
}

// promise 31
#[test]
fn strange_strides_pass_if_downstream_takes_them() {
    watched(|| {
        let info = info(&caps("25/1"));
        let mut rig = Rig::without_caps(&[], "video/x-raw, framerate=50/1");
        rig.harness
            .add_propose_allocation_meta(VideoMeta::meta_api(), None);
        rig.set_input(&caps("25/1"));
        let source = padded(&info, 0, 77, 24);
        rig.harness.push(source.clone()).unwrap();
        let outputs = rig.outputs();
        assert_eq!(outputs.len(), 1);
        assert_eq!(memory(&outputs[0]), memory(&source));
        let meta = outputs[0].meta::<VideoMeta>().unwrap();
        assert_eq!(meta.stride()[0], 32 + 24);
    });
}

// an original is the source's own memory, its pixels untouched
#[test]
fn originals_share_the_memory_of_the_source() {
    watched(|| {
        let mut rig = Rig::rates("25/1", "50/1");
        let sources = [rig.picture(0, 1), rig.picture(40 * MS, 2)];
        for source in &sources {
            rig.harness.push(source.clone()).unwrap();
        }
        let outputs = rig.outputs();
        assert_eq!(memory(&outputs[0]), memory(&sources[0]));
        assert_eq!(memory(&outputs[2]), memory(&sources[1]));
        assert_ne!(memory(&outputs[1]), memory(&sources[0]));
    });
}
