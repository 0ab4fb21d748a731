//! Metas and flags: promises 32 and 33.

use gst::prelude::*;
use gst_video::{
    VideoAFDMeta, VideoBarMeta, VideoCaptionMeta, VideoCaptionType, VideoCropMeta,
    VideoRegionOfInterestMeta, VideoTimeCodeFlags, VideoTimeCodeMeta,
};

use crate::support::{self, MS, Rig, caps, has, watched};

/// Pushes pictures with something on them, one every `interval`.
fn push_with(rig: &mut Rig, count: u64, interval: u64, add: impl Fn(&mut gst::BufferRef, u64)) {
    for i in 0..count {
        let mut buffer = rig.picture(i * interval, (i * 10) as u8);
        add(buffer.get_mut().unwrap(), i);
        rig.harness.push(buffer).unwrap();
    }
}

fn caption(buffer: &mut gst::BufferRef, i: u64) {
    VideoCaptionMeta::add(buffer, VideoCaptionType::Cea708Raw, &[i as u8, 1, 2]);
}

fn captions(outputs: &[gst::Buffer]) -> Vec<(u64, u8)> {
    let of = |b: &gst::Buffer| -> Vec<_> {
        let metas = b.iter_meta::<VideoCaptionMeta>();
        metas
            .map(|m| (support::time(b) / MS, m.data()[0]))
            .collect()
    };
    outputs.iter().flat_map(of).collect()
}

// promise 32
#[test]
fn captions_leave_once_with_their_picture() {
    watched(|| {
        let mut rig = Rig::rates("25/1", "50/1");
        push_with(&mut rig, 4, 40 * MS, caption);
        rig.eos();
        let outputs = rig.outputs();
        assert_eq!(outputs.len(), 8);
        assert_eq!(captions(&outputs), [(0, 0), (40, 1), (80, 2), (120, 3)]);
    });
}

// promise 32
#[test]
fn captions_of_pictures_that_are_not_shown_are_not_lost() {
    watched(|| {
        let mut rig = Rig::rates("50/1", "20/1");
        push_with(&mut rig, 21, 20 * MS, caption);
        rig.eos();
        let found = captions(&rig.outputs());
        let order: Vec<u8> = found.iter().map(|(_, i)| *i).collect();
        assert_eq!(order, (0..21).collect::<Vec<_>>());
        for (time, i) in found {
            assert!(time.abs_diff(u64::from(i) * 20) <= 50, "{i} at {time} ms");
        }
    });
}

// promise 32
#[test]
fn captions_behind_the_last_output_leave_with_one_more() {
    watched(|| {
        let mut rig = Rig::rates("50/1", "25/1");
        push_with(&mut rig, 6, 20 * MS, caption);
        rig.eos();
        let outputs = rig.outputs();
        let order: Vec<u8> = captions(&outputs).iter().map(|(_, i)| *i).collect();
        assert_eq!(order, (0..6).collect::<Vec<_>>());
        let times: Vec<_> = outputs.iter().map(support::time).collect();
        assert_eq!(support::ms(&times), [0, 40, 80, 120]);
        // without captions there is no such frame
        let mut rig = Rig::rates("50/1", "25/1");
        push_with(&mut rig, 6, 20 * MS, |_, _| ());
        rig.eos();
        assert_eq!(support::ms(&rig.times()), [0, 40, 80]);
    });
}

// promise 32
#[test]
fn captions_follow_time_that_jumps_back() {
    watched(|| {
        let mut rig = Rig::rates("50/1", "25/1");
        push_with(&mut rig, 4, 20 * MS, caption);
        let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
        segment.set_base(gst::ClockTime::SECOND);
        rig.segment(&segment);
        push_with(&mut rig, 2, 20 * MS, |b, i| caption(b, 4 + i));
        rig.eos();
        let order: Vec<u8> = captions(&rig.outputs()).iter().map(|(_, i)| *i).collect();
        assert_eq!(order, (0..6).collect::<Vec<_>>());
    });
}

// promise 32
#[test]
fn captions_of_pictures_out_of_order_are_not_lost() {
    watched(|| {
        let mut rig = Rig::rates("25/1", "50/1");
        for (i, pts) in [0, 40, 20, 80].into_iter().enumerate() {
            let mut buffer = rig.picture(pts * MS, 1);
            caption(buffer.get_mut().unwrap(), i as u64);
            rig.harness.push(buffer).unwrap();
        }
        assert_eq!(rig.counter("drop"), 1);
        assert_eq!(
            captions(&rig.outputs()),
            [(0, 0), (40, 1), (60, 2), (80, 3)]
        );
    });
}

// promise 32
#[test]
fn captions_that_wait_leave_with_the_first_picture_that_passes_through() {
    watched(|| {
        let mut rig = Rig::new(&[("framerate", "25/1")], &caps("50/1"), "video/x-raw");
        push_with(&mut rig, 2, 20 * MS, caption);
        let same = gst::Fraction::new(50, 1);
        rig.element.set_property("framerate", same);
        for i in 2..4 {
            let mut buffer = rig.picture(i * 20 * MS, 1);
            caption(buffer.get_mut().unwrap(), i);
            rig.harness.push(buffer).unwrap();
        }
        rig.eos();
        assert_eq!(
            captions(&rig.outputs()),
            [(0, 0), (40, 1), (40, 2), (60, 3)]
        );
    });
}

// promises 22 and 32
#[test]
fn a_picture_without_timestamp_keeps_captions_and_timecode_in_place() {
    watched(|| {
        let mut rig = Rig::rates("25/1", "50/1");
        for i in 0..3 {
            let mut buffer = rig.picture(support::SECOND, 1);
            let writable = buffer.get_mut().unwrap();
            if i > 0 {
                writable.set_pts(None);
            }
            caption(writable, i);
            VideoTimeCodeMeta::add(writable, &timecode((25, 1), i as u32));
            rig.harness.push(buffer).unwrap();
        }
        let outputs = rig.outputs();
        assert_eq!(captions(&outputs), [(1000, 0), (1040, 1), (1080, 2)]);
        let expected = (0..5).map(|n| Some(format!("01:02:03:{n:02}")));
        assert_eq!(timecodes(&outputs), expected.collect::<Vec<_>>());
    });
}

fn timecode(fps: (i32, i32), frames: u32) -> gst_video::ValidVideoTimeCode {
    let fps = gst::Fraction::new(fps.0, fps.1);
    let flags = VideoTimeCodeFlags::empty();
    gst_video::ValidVideoTimeCode::new(fps, None, flags, 1, 2, 3, frames, 0).unwrap()
}

fn timecodes(outputs: &[gst::Buffer]) -> Vec<Option<String>> {
    let of = |b: &gst::Buffer| b.meta::<VideoTimeCodeMeta>().map(|m| m.tc().to_string());
    outputs.iter().map(of).collect()
}

// promise 32
#[test]
fn a_timecode_counts_in_output_frames_at_a_whole_multiple() {
    watched(|| {
        let mut rig = Rig::rates("25/1", "50/1");
        push_with(&mut rig, 3, 40 * MS, |b, i| {
            VideoTimeCodeMeta::add(b, &timecode((25, 1), i as u32));
        });
        let outputs = rig.outputs();
        let expected = (0..5).map(|n| Some(format!("01:02:03:{n:02}")));
        assert_eq!(timecodes(&outputs), expected.collect::<Vec<_>>());
        let meta = outputs[1].meta::<VideoTimeCodeMeta>().unwrap();
        assert_eq!(meta.tc().fps(), gst::Fraction::new(50, 1));
    });
}

// promises 11 and 32
#[test]
fn a_timecode_follows_a_new_rate_at_once() {
    watched(|| {
        let mut rig = Rig::new(&[], &caps("25/1"), "video/x-raw");
        for i in 0..3 {
            if i == 2 {
                let rate = gst::Fraction::new(100, 1);
                rig.element.set_property("framerate", rate);
            }
            let mut buffer = rig.picture(i * 40 * MS, 1);
            let writable = buffer.get_mut().unwrap();
            VideoTimeCodeMeta::add(writable, &timecode((25, 1), i as u32));
            rig.harness.push(buffer).unwrap();
        }
        let outputs = rig.outputs();
        let times: Vec<_> = outputs.iter().map(support::time).collect();
        assert_eq!(support::ms(&times), [0, 20, 40, 60, 70, 80]);
        let expected = [0, 1, 2, 6, 7, 8].map(|n| Some(format!("01:02:03:{n:02}")));
        assert_eq!(timecodes(&outputs), expected);
    });
}

// promise 32
#[test]
fn a_timecode_is_left_off_where_it_cannot_count() {
    watched(|| {
        let mut rig = Rig::rates("25/1", "60/1");
        push_with(&mut rig, 3, 40 * MS, |b, i| {
            VideoTimeCodeMeta::add(b, &timecode((25, 1), i as u32));
        });
        let outputs = rig.outputs();
        assert_eq!(outputs.len(), 5);
        assert!(timecodes(&outputs).iter().all(Option::is_none));
    });
}

// promise 32
#[test]
fn what_describes_the_picture_is_on_every_output() {
    watched(|| {
        let mut rig = Rig::rates("25/1", "50/1");
        push_with(&mut rig, 3, 40 * MS, |b, _| {
            VideoCropMeta::add(b, (2, 2, 20, 10));
            VideoBarMeta::add(b, 0, true, 2, 14);
            VideoAFDMeta::add(
                b,
                0,
                gst_video::VideoAFDSpec::AtscA53,
                gst_video::VideoAFDValue::Unavailable,
            );
            let mut pixels = gst::Buffer::from_mut_slice(vec![255u8; 4 * 4 * 4]);
            gst_video::VideoMeta::add(
                pixels.get_mut().unwrap(),
                gst_video::VideoFrameFlags::empty(),
                gst_video::VideoFormat::Bgra,
                4,
                4,
            )
            .unwrap();
            let rectangle = gst_video::VideoOverlayRectangle::new_raw(
                &pixels,
                0,
                0,
                4,
                4,
                gst_video::VideoOverlayFormatFlags::empty(),
            );
            let composition = gst_video::VideoOverlayComposition::new([&rectangle]).unwrap();
            gst_video::VideoOverlayCompositionMeta::add(b, &composition);
        });
        rig.eos();
        let outputs = rig.outputs();
        assert_eq!(outputs.len(), 6);
        for (n, output) in outputs.iter().enumerate() {
            assert_eq!(output.iter_meta::<VideoCropMeta>().count(), 1, "crop, {n}");
            assert_eq!(output.iter_meta::<VideoBarMeta>().count(), 1, "bar, {n}");
            assert_eq!(output.iter_meta::<VideoAFDMeta>().count(), 1, "afd, {n}");
            let overlays = output.iter_meta::<gst_video::VideoOverlayCompositionMeta>();
            assert_eq!(overlays.count(), 1, "overlay, {n}");
            assert_eq!(
                output.meta::<VideoCropMeta>().unwrap().rect(),
                (2, 2, 20, 10)
            );
        }
    });
}

// promise 32
#[test]
fn what_an_analysis_found_stays_on_the_original() {
    watched(|| {
        let mut rig = Rig::rates("25/1", "50/1");
        push_with(&mut rig, 3, 40 * MS, |b, _| {
            VideoRegionOfInterestMeta::add(b, "face", (1, 2, 3, 4));
        });
        rig.eos();
        let count = |b: &gst::Buffer| b.iter_meta::<VideoRegionOfInterestMeta>().count();
        let counts: Vec<_> = rig.outputs().iter().map(count).collect();
        assert_eq!(counts, [1, 0, 1, 0, 1, 0]);
    });
}

// promise 32
#[test]
fn reference_times_lie_between_those_of_the_neighbours() {
    watched(|| {
        let mut rig = Rig::rates("25/1", "100/1");
        let reference: gst::Caps = "timestamp/x-ntp".parse().unwrap();
        push_with(&mut rig, 2, 40 * MS, |b, i| {
            let time = gst::ClockTime::from_mseconds(5000 + 80 * i);
            gst::ReferenceTimestampMeta::add(b, &reference, time, gst::ClockTime::NONE);
        });
        let of = |b: &gst::Buffer| b.meta::<gst::ReferenceTimestampMeta>().unwrap().timestamp();
        let found: Vec<_> = rig.outputs().iter().map(|b| of(b).mseconds()).collect();
        assert_eq!(found, [5000, 5020, 5040, 5060, 5080]);
    });
}

// promise 33
#[test]
fn held_frames_carry_gap_and_interpolated_ones_do_not() {
    watched(|| {
        let mut rig = Rig::rates("25/1", "50/1");
        rig.push(0).unwrap();
        rig.push(40 * MS).unwrap();
        rig.eos();
        let gaps: Vec<_> = rig
            .outputs()
            .iter()
            .map(|b| has(b, gst::BufferFlags::GAP))
            .collect();
        assert_eq!(gaps, [false, false, false, true]);
        assert_eq!(rig.counter("duplicate"), 1);
        assert_eq!(rig.counter("interpolated"), 1);
        assert_eq!(rig.counter("in"), 2);
        assert_eq!(rig.counter("out"), 4);
        assert_eq!(rig.counter("drop"), 0);
    });
}

// a meta or a flag of the source stays the source's
#[test]
fn the_input_buffer_itself_is_left_alone() {
    watched(|| {
        let mut rig = Rig::new(&[], &caps("25/1"), "video/x-raw, framerate=50/1");
        let mut buffer = rig.picture(0, 5);
        caption(buffer.get_mut().unwrap(), 7);
        rig.harness.push(buffer.clone()).unwrap();
        rig.eos();
        assert_eq!(rig.outputs().len(), 2);
        assert_eq!(buffer.iter_meta::<VideoCaptionMeta>().count(), 1);
        assert_eq!(buffer.duration(), None);
        assert!(!has(&buffer, gst::BufferFlags::GAP));
    });
}
