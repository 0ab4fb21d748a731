//! The property `show`: what is seen of made frames and of those between them.

use gst::prelude::*;
use gstvideointerpolate::picture::{Channel, Component, Format};

use crate::negotiation::FORMATS;
use crate::support::{MS, Rig, bytes, has, info, time, watched};

const MAPS: [&str; 4] = ["flow", "confidence", "mask", "coherence"];
/// Size of the moving pictures, odd on purpose.
const SIZE: (usize, usize) = (97, 65);

fn caps(format: &str, rate: &str) -> String {
    let (width, height) = SIZE;
    format!(
        "video/x-raw, format={format}, width={width}, height={height}, framerate={rate}, interlace-mode=progressive, pixel-aspect-ratio=1/1, colorimetry=bt709"
    )
}

/// A grey texture that moves four pixels to the right with every frame.
fn moving(name: &str, frame: usize) -> gst::Buffer {
    let (info, format) = (info(&caps(name, "25/1")), format(name));
    let mut data = vec![0; info.size()];
    for c in format.components() {
        let (offset, stride) = (info.offset()[c.plane], info.stride()[c.plane] as usize);
        for y in 0..c.height(SIZE.1) {
            for x in 0..c.width(SIZE.0) {
                let (u, v) = (x as f32 - 4.0 * frame as f32, y as f32);
                let wave = (0.31 * u + 0.17 * v).sin() + (0.37 * v - 0.13 * u).sin();
                let value = match c.channel {
                    Channel::U | Channel::V => (1 << (c.depth - 1)) as f32,
                    Channel::A => c.max() as f32,
                    _ => (0.45 + 0.18 * wave) * c.max() as f32,
                };
                c.store(&mut data[offset + y * stride..], x, value as u32);
            }
        }
    }
    let mut buffer = gst::Buffer::from_mut_slice(data);
    let time = gst::ClockTime::from_mseconds(40 * frame as u64);
    buffer.get_mut().unwrap().set_pts(time);
    buffer
}

fn format(name: &str) -> Format {
    let index = FORMATS.iter().position(|f| *f == name).unwrap();
    Format::ALL[index]
}

/// The codes of a component, row by row; padding is nobody's.
fn component(buffer: &gst::Buffer, name: &str, c: &Component) -> Vec<u32> {
    let (info, data) = (info(&caps(name, "25/1")), bytes(buffer));
    let row = |y| &data[info.offset()[c.plane] + y * info.stride()[c.plane] as usize..];
    (0..c.height(SIZE.1))
        .flat_map(|y| (0..c.width(SIZE.0)).map(move |x| c.load(row(y), x)))
        .collect()
}

/// The codes of all components.
fn codes(buffer: &gst::Buffer, name: &str) -> Vec<u32> {
    let components = format(name).components().iter();
    components
        .flat_map(|c| component(buffer, name, c))
        .collect()
}

/// The code in the middle of a component of an I420 picture.
fn centre(buffer: &gst::Buffer, index: usize) -> u32 {
    let c = &Format::I420.components()[index];
    component(buffer, "I420", c)[c.height(SIZE.1) / 2 * c.width(SIZE.0) + c.width(SIZE.0) / 2]
}

/// Luma of an I420 picture, of a range of columns.
fn luma(buffer: &gst::Buffer, columns: std::ops::Range<usize>) -> Vec<u32> {
    let rows = component(buffer, "I420", &Format::I420.components()[0]);
    let rows = rows.chunks(SIZE.0);
    rows.flat_map(|row| row[columns.clone()].to_vec()).collect()
}

/// Outputs of three moving pictures at 25 frames a second, doubled.
fn doubled(properties: &[(&str, &str)], name: &str) -> Vec<gst::Buffer> {
    let input = caps(name, "25/1");
    let mut rig = Rig::new(properties, &input, "video/x-raw, framerate=50/1");
    for frame in 0..3 {
        rig.harness.push(moving(name, frame)).unwrap();
    }
    rig.eos();
    assert_eq!(rig.errors(), Vec::<String>::new());
    assert_eq!(rig.counter("interpolated"), 2, "{name} {properties:?}");
    let outputs = rig.outputs();
    let times: Vec<_> = outputs.iter().map(|o| time(o) / MS).collect();
    assert_eq!(times, [0, 20, 40, 60, 80, 100], "{name} {properties:?}");
    outputs
}

#[test]
fn none_is_the_default_and_leaves_all_frames_alone() {
    watched(|| {
        let (default, none) = (doubled(&[], "I420"), doubled(&[("show", "none")], "I420"));
        for (a, b) in default.iter().zip(&none) {
            assert!(codes(a, "I420") == codes(b, "I420"));
        }
        for frame in 0..3 {
            assert!(bytes(&none[2 * frame]) == bytes(&moving("I420", frame)));
        }
    });
}

#[test]
fn made_frames_change_in_every_format() {
    watched(|| {
        for name in FORMATS {
            let none = doubled(&[], name);
            for show in ["flow", "confidence", "mask", "coherence", "split"] {
                let shown = doubled(&[("show", show)], name);
                for made in [1, 3] {
                    let same = codes(&none[made], name) == codes(&shown[made], name);
                    assert!(!same, "{name} {show} frame {made}");
                }
                assert!(bytes(&none[0]) == bytes(&shown[0]), "{name} {show}");
            }
        }
    });
}

#[test]
fn the_latest_map_stands_in_for_other_frames() {
    watched(|| {
        for show in MAPS {
            let outputs = doubled(&[("show", show)], "I420");
            let all: Vec<_> = outputs.iter().map(|o| codes(o, "I420")).collect();
            assert!(all[2] == all[1], "{show}: an original is no map");
            assert!(all[4] == all[3] && all[5] == all[3], "{show}");
            assert!(!has(&outputs[5], gst::BufferFlags::GAP));
        }
    });
}

#[test]
fn motion_to_the_right_is_red_and_trusted() {
    watched(|| {
        let of = |show| doubled(&[("show", show)], "I420")[3].clone();
        let flow = of("flow");
        let (u, v) = (centre(&flow, 1), centre(&flow, 2));
        assert!(v > 180 && u < 128, "U {u}, V {v}");
        for show in ["confidence", "mask", "coherence"] {
            let map = of(show);
            assert_eq!((centre(&map, 1), centre(&map, 2)), (128, 128), "{show}");
        }
        let trust = centre(&of("confidence"), 0);
        // fewer than ten codes of error are predicted for what changes by tens
        assert!(trust > 113, "{trust}");
        // one texture that moves as a whole
        let coherence = centre(&of("coherence"), 0);
        assert!(coherence > 200, "{coherence}");
    });
}

#[test]
fn split_has_the_earlier_frame_on_the_left_and_the_made_one_on_the_right() {
    watched(|| {
        let (none, split) = (doubled(&[], "I420"), doubled(&[("show", "split")], "I420"));
        let border = SIZE.0 / 4 * 2;
        let (left, right) = (|b| luma(b, 0..border), |b| luma(b, border..SIZE.0));
        for made in [1, 3] {
            assert!(left(&split[made]) == left(&none[made - 1]));
            assert!(right(&split[made]) == right(&none[made]));
        }
        for original in [0, 2, 4] {
            assert!(bytes(&split[original]) == bytes(&none[original]));
        }
    });
}

#[test]
fn show_may_change_while_playing() {
    watched(|| {
        let input = caps("I420", "25/1");
        let mut rig = Rig::new(&[], &input, "video/x-raw, framerate=50/1");
        let mut grey = Vec::new();
        for (frame, show) in ["none", "none", "flow", "none"].into_iter().enumerate() {
            rig.element.set_property_from_str("show", show);
            rig.harness.push(moving("I420", frame)).unwrap();
            let outputs = rig.outputs();
            let made = outputs.iter().filter(|o| time(o) / MS % 40 == 20);
            grey.extend(made.map(|m| (centre(m, 1), centre(m, 2)) == (128, 128)));
        }
        assert_eq!(grey, [true, false, true]);
    });
}

#[test]
fn a_cut_is_black() {
    watched(|| {
        let input = caps("I420", "25/1");
        for show in MAPS {
            let properties = [("show", show), ("scene-threshold", "0.000001")];
            let mut rig = Rig::new(&properties, &input, "video/x-raw, framerate=50/1");
            for frame in 0..2 {
                rig.harness.push(moving("I420", frame)).unwrap();
            }
            let outputs = rig.outputs();
            let made = outputs.iter().find(|o| time(o) == 20 * MS).unwrap();
            assert!(luma(made, 0..SIZE.0).iter().all(|y| *y == 16), "{show}");
        }
    });
}

#[test]
fn after_a_flush_the_first_frame_is_shown_as_it_is() {
    watched(|| {
        let input = caps("I420", "25/1");
        let rate = "video/x-raw, framerate=50/1";
        let mut rig = Rig::new(&[("show", "mask")], &input, rate);
        let mut firsts = 0;
        for _ in 0..2 {
            for frame in 0..2 {
                rig.harness.push(moving("I420", frame)).unwrap();
            }
            let outputs = rig.outputs();
            let first = outputs.iter().find(|o| time(o) == 0).unwrap();
            assert!(bytes(first) == bytes(&moving("I420", 0)));
            firsts += 1;
            assert!(rig.harness.push_event(gst::event::FlushStart::new()));
            assert!(rig.harness.push_event(gst::event::FlushStop::new(true)));
            let segment = gst::FormattedSegment::<gst::ClockTime>::new();
            assert!(rig.segment(&segment));
        }
        assert_eq!(firsts, 2);
    });
}

#[test]
fn what_passes_through_is_not_touched() {
    watched(|| {
        let input = caps("I420", "25/1");
        let same = "video/x-raw, framerate=25/1";
        let mut rig = Rig::new(&[("show", "flow")], &input, same);
        for frame in 0..3 {
            rig.harness.push(moving("I420", frame)).unwrap();
        }
        let outputs = rig.outputs();
        assert_eq!(outputs.len(), 3);
        for (frame, output) in outputs.iter().enumerate() {
            assert!(bytes(output) == bytes(&moving("I420", frame)));
        }
    });
}
