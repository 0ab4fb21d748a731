//! Caps: promises 1 to 13.

use std::sync::{Arc, Mutex};

use gst::prelude::*;
use gstvideointerpolate::picture::{Color, Format, Picture};

use crate::support::{self, MS, Rig, bytes, caps, info, watched};

const OPEN: &str = "video/x-raw";
/// Each buffer holds one field.
const FIELDS: &str = "video/x-raw(format:Interlaced)";
const FOLLOW: (&str, &str) = ("multiplier", "0/1");

/// The rates that a pad offers without further features, structure by structure.
fn rates(caps: &gst::Caps) -> Vec<String> {
    let features = gst::CapsFeatures::new([gst::CAPS_FEATURE_MEMORY_SYSTEM_MEMORY]);
    caps.iter_with_features()
        .filter(|(_, f)| f.is_equal(&features))
        .map(|(s, _)| {
            s.value("framerate")
                .map(|v| v.serialize().unwrap().replace("(fraction)", ""))
                .unwrap_or("none".into())
        })
        .collect()
}

// promise 1
#[test]
fn a_pad_offers_the_rates_of_the_other_first_and_then_any() {
    watched(|| {
        let any = "[ 0/1, 2147483647/1 ]";
        for (peer, sink, src) in [
            ("video/x-raw", vec!["none"], vec![any]),
            (
                "video/x-raw, framerate=(fraction)[0/1, MAX]",
                vec![any],
                vec![any],
            ),
            (
                "video/x-raw, framerate=15/1",
                vec!["15/1", any],
                vec!["15/1", any],
            ),
            (
                "video/x-raw, framerate=(fraction)[15/1, 30/1]",
                vec!["[ 15/1, 30/1 ]", any],
                vec!["[ 15/1, 30/1 ]", any],
            ),
            (
                "video/x-raw, framerate=(fraction){15/1, 30/1}",
                vec!["{ 15/1, 30/1 }", any],
                vec!["{ 15/1, 30/1 }", any],
            ),
        ] {
            let peer: gst::Caps = peer.parse().unwrap();
            let up = support::offers(&peer, gst::PadDirection::Sink, &[FOLLOW]);
            assert_eq!(rates(&up), sink, "sink pad, peer {peer}");
            let down = support::offers(&peer, gst::PadDirection::Src, &[FOLLOW]);
            assert_eq!(rates(&down), src, "source pad, peer {peer}");
        }
    });
}

// promise 1
#[test]
fn every_other_field_is_the_peers() {
    watched(|| {
        let peer = "video/x-raw(memory:SystemMemory, meta:GstVideoOverlayComposition), format=NV12, width=[8, 64], height=48, framerate=15/1, colorimetry=bt709";
        let peer: gst::Caps = peer.parse().unwrap();
        let offered = support::offers(&peer, gst::PadDirection::Sink, &[]);
        assert_eq!(offered.size(), 2, "{offered}");
        for (structure, features) in offered.iter_with_features() {
            assert!(features.contains("meta:GstVideoOverlayComposition"));
            let mut structure = structure.to_owned();
            structure.set("framerate", gst::Fraction::new(15, 1));
            assert_eq!(structure, *peer.structure(0).unwrap());
        }
    });
}

// promise 2
#[test]
fn upstream_is_offered_the_rate_of_downstream_first() {
    watched(|| {
        support::init();
        let pipeline = gst::parse::launch(
            "videotestsrc num-buffers=3 ! identity ! videointerpolate name=x multiplier=0/1 ! video/x-raw, framerate=999/7 ! fakesink",
        )
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
        support::run_to_eos(&pipeline, |pipeline| {
            let x = pipeline.by_name("x").unwrap();
            let caps = x.static_pad("sink").unwrap().current_caps().unwrap();
            let rate = caps.structure(0).unwrap().get::<gst::Fraction>("framerate");
            assert_eq!(rate, Ok(gst::Fraction::new(999, 7)));
        });
    });
}

// promise 3
#[test]
fn the_nearest_rate_is_settled_on() {
    watched(|| {
        for (peer, properties, rate) in [
            (
                "video/x-raw, framerate=(fraction)[50/1, 120/1]",
                [FOLLOW],
                50,
            ),
            (
                "video/x-raw, framerate=(fraction){24/1, 60/1, 30/1}",
                [FOLLOW],
                24,
            ),
            ("video/x-raw", [("framerate", "60/1")], 60),
            (
                "video/x-raw, framerate=(fraction){24/1, 48/1}",
                [("framerate", "60/1")],
                48,
            ),
            ("video/x-raw", [("multiplier", "3/1")], 75),
        ] {
            let rig = Rig::new(&properties, &caps("25/1"), peer);
            let expected = gst::Fraction::new(rate, 1);
            assert_eq!(rig.rate(), Some(expected), "{peer} {properties:?}");
        }
    });
}

// promise 4
#[test]
fn with_an_open_downstream_the_rate_doubles() {
    watched(|| {
        let mut rig = Rig::new(&[], &caps("25/1"), OPEN);
        rig.push(0).unwrap();
        rig.push(40 * MS).unwrap();
        assert_eq!(rig.rate(), Some(gst::Fraction::new(50, 1)));
        assert_eq!(support::ms(&rig.times()), [0, 20, 40]);
        rig.eos();
        assert_eq!(support::ms(&rig.times()), [60]);
        assert_eq!(rig.errors(), Vec::<String>::new());
    });
}

#[test]
fn a_multiple_beyond_all_rates_is_a_warning_and_the_rate_stays() {
    watched(|| {
        let most = format!("{}/1", i32::MAX);
        let mut rig = Rig::new(&[("multiplier", &most)], &caps("25/1"), OPEN);
        rig.push(0).unwrap();
        assert_eq!(rig.rate(), Some(gst::Fraction::new(25, 1)));
        let warnings = rig.messages(gst::MessageType::Warning);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let gst::MessageView::Warning(warning) = warnings[0].view() else {
            panic!("{warnings:?}");
        };
        let text = warning.error().to_string();
        assert!(text.contains("multiplier=2147483647 of 25 "), "{text}");
    });
}

// promise 5
#[test]
fn caps_without_a_rate_are_not_negotiated() {
    watched(|| {
        let mut rig = Rig::new(&[], "video/x-raw, format=I420, width=32, height=16", OPEN);
        assert_eq!(rig.push(0), Err(gst::FlowError::NotNegotiated));
        assert!(rig.times().is_empty());
    });
}

// promise 6
#[test]
fn at_equal_rates_the_same_buffer_passes_without_latency() {
    watched(|| {
        let mut rig = Rig::rates("25/1", "25/1");
        for i in 0..3 {
            let buffer = rig.picture(i * 40 * MS, 1);
            let pointer = buffer.as_ptr();
            rig.harness.push(buffer).unwrap();
            let outputs = rig.outputs();
            assert_eq!(outputs.len(), 1);
            assert_eq!(outputs[0].as_ptr(), pointer);
        }
        assert_eq!(rig.harness.query_latency(), Some(gst::ClockTime::ZERO));
        // the answer to the query is downstream's: a meta, and no pool
        let api = gst_video::VideoAFDMeta::meta_api();
        rig.harness.add_propose_allocation_meta(api, None);
        let caps = caps("25/1").parse::<gst::Caps>().unwrap();
        let mut query = gst::query::Allocation::new(Some(&caps), true);
        rig.harness.srcpad().unwrap().peer_query(&mut query);
        assert_eq!(query.allocation_pools().count(), 0);
        let meta = query.find_allocation_meta::<gst_video::VideoAFDMeta>();
        assert!(meta.is_some());
    });
}

// promise 6
#[test]
fn going_into_passthrough_drains_first_and_posts_latency() {
    watched(|| {
        let mut rig = Rig::new(&[], &caps("25/1"), OPEN);
        rig.push(0).unwrap();
        rig.push(40 * MS).unwrap();
        assert_eq!(support::ms(&rig.times()), [0, 20, 40]);
        assert!(!rig.messages(gst::MessageType::Latency).is_empty());
        rig.element
            .set_property("framerate", gst::Fraction::new(25, 1));
        rig.push(80 * MS).unwrap();
        assert_eq!(rig.rate(), Some(gst::Fraction::new(25, 1)));
        assert_eq!(support::ms(&rig.times()), [60, 80]);
        assert_eq!(rig.messages(gst::MessageType::Latency).len(), 1);
        // and back
        rig.element
            .set_property("framerate", gst::Fraction::new(100, 1));
        rig.push(120 * MS).unwrap();
        rig.push(160 * MS).unwrap();
        assert_eq!(support::ms(&rig.times()), [120, 130, 140, 150, 160]);
        assert!(!rig.messages(gst::MessageType::Latency).is_empty());
    });
}

// promise 7
#[test]
fn a_variable_rate_is_interpolated_by_its_timestamps() {
    watched(|| {
        let mut rig = Rig::rates("0/1", "50/1");
        for pts in [0, 50, 60, 100] {
            rig.push(pts * MS).unwrap();
        }
        assert_eq!(support::ms(&rig.times()), [0, 20, 40, 60, 80, 100]);
        let mut rig = Rig::new(&[], &caps("0/1"), OPEN);
        for pts in [0, 50, 60] {
            rig.push(pts * MS).unwrap();
        }
        assert_eq!(rig.rate(), Some(gst::Fraction::new(0, 1)));
        assert_eq!(support::ms(&rig.times()), [0, 50, 60]);
    });
}

// promise 8
#[test]
fn colour_and_views_pass_untouched_and_max_framerate_goes() {
    watched(|| {
        let input = "video/x-raw, format=P010_10LE, width=32, height=16, framerate=0/1, max-framerate=30/1, colorimetry=bt2100-pq, chroma-site=mpeg2, mastering-display-info=(string)\"35400:14600:8500:39850:6550:2300:15635:16450:10000000:1\", content-light-level=(string)\"1000:300\", multiview-mode=mono";
        let mut rig = Rig::new(&[("framerate", "60/1")], input, OPEN);
        rig.push(0).unwrap();
        let out = rig
            .element
            .static_pad("src")
            .unwrap()
            .current_caps()
            .unwrap();
        let mut expected = input.parse::<gst::Caps>().unwrap();
        let structure = expected.make_mut().structure_mut(0).unwrap();
        structure.set("framerate", gst::Fraction::new(60, 1));
        structure.remove_field("max-framerate");
        assert_eq!(out, expected);
    });
}

// promise 9
#[test]
fn interlaced_or_alternating_views_keep_their_rate_or_are_refused() {
    watched(|| {
        for (open, field) in [
            (OPEN, "interlace-mode=interleaved"),
            (OPEN, "interlace-mode=mixed"),
            (FIELDS, "interlace-mode=alternate"),
            (OPEN, "multiview-mode=frame-by-frame"),
        ] {
            let input =
                format!("{open}, format=I420, width=32, height=16, framerate=25/1, {field}");
            let mut rig = Rig::new(&[], &input, open);
            rig.push(0).unwrap();
            assert_eq!(rig.rate(), Some(gst::Fraction::new(25, 1)), "{field}");
            assert_eq!(rig.times(), [0]);
            assert_eq!(rig.errors(), Vec::<String>::new());

            let mut rig = Rig::new(&[], &input, &format!("{open}, framerate=50/1"));
            assert_eq!(rig.push(0), Err(gst::FlowError::NotNegotiated));
            assert!(rig.times().is_empty());
            let errors = rig.errors();
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert!(
                errors.iter().all(|e| e.contains("deinterlace")),
                "{errors:?}"
            );
        }
    });
}

// promise 10
#[test]
fn the_pads_take_system_memory_with_or_without_overlays() {
    watched(|| {
        support::init();
        let factory = gst::ElementFactory::find("videointerpolate").unwrap();
        assert_eq!(factory.rank(), gst::Rank::NONE);
        assert_eq!(factory.klass(), "Filter/Effect/Video");
        for template in factory.static_pad_templates() {
            let caps = template.caps();
            assert!(!caps.is_any());
            // fields by themselves are in system memory, too: no other memory is named
            let fields = gst::CapsFeatures::new(["format:Interlaced"]);
            assert!(caps.iter_with_features().all(|(_, f)| {
                !f.is_any() && (f.contains("memory:SystemMemory") || f.is_equal(&fields))
            }));
        }
    });
}

// promise 11
#[test]
fn a_new_rate_while_playing_leaves_neither_overlap_nor_hole() {
    watched(|| {
        let mut rig = Rig::new(&[], &caps("25/1"), OPEN);
        for (i, rate) in [50, 100, 30, 60, 75, 10].into_iter().enumerate() {
            rig.element
                .set_property("framerate", gst::Fraction::new(rate, 1));
            for j in 0..3 {
                rig.push((i as u64 * 3 + j) * 40 * MS).unwrap();
                assert_eq!(rig.rate(), Some(gst::Fraction::new(rate, 1)));
            }
        }
        let outputs = rig.outputs();
        for pair in outputs.windows(2) {
            let end = pair[0].pts().unwrap() + pair[0].duration().unwrap();
            assert_eq!(Some(end), pair[1].pts(), "after {}", pair[0].pts().unwrap());
        }
        assert!(support::time(outputs.last().unwrap()) >= 600 * MS);
    });
}

#[derive(Debug, PartialEq)]
enum Seen {
    Caps(gst::Caps),
    Buffer(usize),
}

/// Caps and buffer sizes in the order in which they leave the element.
fn watch(rig: &Rig) -> Arc<Mutex<Vec<Seen>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let types = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    let pad = rig.element.static_pad("src").unwrap();
    pad.add_probe(types, move |_, probe| {
        let entry = match &probe.data {
            Some(gst::PadProbeData::Buffer(b)) => Some(Seen::Buffer(b.size())),
            Some(gst::PadProbeData::Event(e)) => match e.view() {
                gst::EventView::Caps(c) => Some(Seen::Caps(c.caps_owned())),
                _ => None,
            },
            _ => None,
        };
        log.lock().unwrap().extend(entry);
        gst::PadProbeReturn::Ok
    });
    seen
}

// promise 12
#[test]
fn old_pictures_leave_under_old_caps() {
    watched(|| {
        let small = caps("25/1");
        let large = small.replace("width=32", "width=64");
        let other = small
            .replace("I420", "NV12")
            .replace("height=16", "height=31");
        let mut rig = Rig::new(&[], &small, "video/x-raw, framerate=50/1");
        let seen = watch(&rig);
        for (i, input) in [&small, &small, &large, &other, &small]
            .into_iter()
            .enumerate()
        {
            rig.set_input(input);
            rig.push(i as u64 * 40 * MS).unwrap();
        }
        rig.eos();
        let times = rig.times();
        assert_eq!(
            support::ms(&times),
            (0..10).map(|n| n * 20).collect::<Vec<_>>()
        );
        let mut size = info(&small).size();
        for entry in seen.lock().unwrap().iter() {
            match entry {
                Seen::Caps(caps) => size = gst_video::VideoInfo::from_caps(caps).unwrap().size(),
                Seen::Buffer(found) => assert_eq!(*found, size),
            }
        }
        assert_eq!(rig.errors(), Vec::<String>::new());
    });
}

/// In the order of [`Format::ALL`].
pub const FORMATS: [&str; 30] = [
    "I420",
    "YV12",
    "NV12",
    "NV21",
    "Y42B",
    "Y444",
    "GRAY8",
    "I420_10LE",
    "I422_10LE",
    "Y444_10LE",
    "P010_10LE",
    "GRAY16_LE",
    "I420_12LE",
    "A420",
    "AYUV",
    "YUY2",
    "UYVY",
    "RGB",
    "BGR",
    "RGBx",
    "BGRx",
    "xRGB",
    "xBGR",
    "RGBA",
    "BGRA",
    "ARGB",
    "ABGR",
    "RGBP",
    "GBR",
    "GBR_10LE",
];

/// A picture of noise; the bytes that belong to no sample are noise, too.
fn noise(info: &gst_video::VideoInfo, format: Format, pts: u64, mut seed: u32) -> gst::Buffer {
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed >> 8
    };
    let mut data: Vec<u8> = (0..info.size()).map(|_| next() as u8).collect();
    for c in format.components() {
        let (offset, stride) = (info.offset()[c.plane], info.stride()[c.plane] as usize);
        for y in 0..c.height(info.height() as usize) {
            for x in 0..c.width(info.width() as usize) {
                c.store(&mut data[offset + y * stride..], x, next() % (c.max() + 1));
            }
        }
    }
    let mut buffer = gst::Buffer::from_mut_slice(data);
    buffer
        .get_mut()
        .unwrap()
        .set_pts(gst::ClockTime::from_nseconds(pts));
    buffer
}

fn with_picture<T>(
    data: &[u8],
    info: &gst_video::VideoInfo,
    format: Format,
    f: impl FnOnce(&Picture) -> T,
) -> T {
    let planes: Vec<_> = (0..format.planes())
        .map(|i| (&data[info.offset()[i]..], info.stride()[i] as isize))
        .collect();
    let color = Color::BT709;
    f(&Picture::new(format, info.width(), info.height(), color, &planes).unwrap())
}

/// Whether all samples are equal; bytes between them are nobody's.
fn same_samples(a: &Picture, b: &Picture) -> bool {
    a.format().components().iter().all(|c| {
        (0..c.height(a.height())).all(|y| {
            let (a_row, b_row) = (a.row(c.plane, y), b.row(c.plane, y));
            (0..c.width(a.width())).all(|x| c.load(a_row, x) == c.load(b_row, x))
        })
    })
}

// promise 13
#[test]
fn between_two_equal_pictures_is_the_same_in_every_format() {
    watched(|| {
        for (name, format) in FORMATS.into_iter().zip(Format::ALL) {
            for (width, height) in [(33, 17), (64, 32), (1, 1)] {
                let input = format!(
                    "video/x-raw, format={name}, width={width}, height={height}, framerate=25/1"
                );
                let info = info(&input);
                let mut rig = Rig::new(&[], &input, "video/x-raw, framerate=50/1");
                let a = noise(&info, format, 0, 1);
                let b = noise(&info, format, 40 * MS, 1);
                rig.harness.push(a.clone()).unwrap();
                rig.harness.push(b).unwrap();
                let outputs = rig.outputs();
                assert_eq!(outputs.len(), 3, "{input}");
                assert_eq!(
                    rig.counter("interpolated") + rig.counter("duplicate"),
                    1,
                    "{input}"
                );
                for output in &outputs {
                    let (expected, found) = (bytes(&a), bytes(output));
                    let same = with_picture(&expected, &info, format, |a| {
                        with_picture(&found, &info, format, |b| same_samples(a, b))
                    });
                    assert!(same, "{input}");
                }
            }
        }
    });
}
