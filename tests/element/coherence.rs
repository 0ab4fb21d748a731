//! The property `coherence`.

use gst::prelude::*;

use crate::support::{MS, Rig, bytes, caps, time, watched};

const CAPS: &str = "video/x-raw, format=I420, width=192, height=160, framerate=25/1, interlace-mode=progressive, pixel-aspect-ratio=1/1";
/// Of the pictures of [`CAPS`].
const WIDTH: usize = 192;
const HEIGHT: usize = 160;
const NO_CUTS: (&str, &str) = ("scene-threshold", "0");
const AUTO: (&str, &str) = ("coherence", "auto");

/// Squares of a grey texture, each of which goes somewhere else: there is no motion of one piece to be found.
fn pieces(rig: &Rig, pts: u64) -> gst::Buffer {
    let mut buffer = rig.picture(pts, 128);
    let frame = (pts / (40 * MS)) as f32;
    let writable = buffer.get_mut().unwrap();
    let mut map = writable.map_writable().unwrap();
    for (i, luma) in map[..WIDTH * HEIGHT].iter_mut().enumerate() {
        let (x, y) = (i % WIDTH, i / WIDTH);
        // of -1 to 1, another one in each square
        let own = |n: usize| (12.9 * (y / 48 * 7 + x / 48 + 31 * n) as f32).sin();
        let (u, v) = (
            x as f32 - 12.0 * own(0) * frame,
            y as f32 - 12.0 * own(1) * frame,
        );
        let waves =
            (0.2 * u + 0.17 * v + 9.0 * own(2)).sin() + (0.37 * v - 0.13 * u + 9.0 * own(3)).sin();
        *luma = (118.0 + 45.0 * waves) as u8;
    }
    drop(map);
    buffer
}

fn rig(properties: &[(&str, &str)]) -> Rig {
    let properties = [&[NO_CUTS][..], properties].concat();
    Rig::new(&properties, CAPS, "video/x-raw,framerate=50/1")
}

/// Pushes four frames, and gives the bytes of those made between them.
fn made(rig: &mut Rig) -> Vec<Vec<u8>> {
    for at in [0, 40, 80, 120] {
        let buffer = pieces(rig, at * MS);
        rig.harness.push(buffer).unwrap();
    }
    rig.eos();
    let outputs = rig.outputs();
    assert_eq!(outputs.len(), 8);
    let between = outputs.iter().filter(|o| time(o) / MS % 40 == 20);
    between.map(bytes).take(3).collect()
}

fn flush(rig: &mut Rig) {
    rig.harness.push_event(gst::event::FlushStart::new());
    rig.harness.push_event(gst::event::FlushStop::new(true));
    assert!(rig.segment(&gst::FormattedSegment::new()));
}

fn reestimated(rig: &Rig) -> u64 {
    let stats: gst::Structure = rig.element.property("stats");
    stats.get("reestimated").unwrap()
}

/// Texts of the warnings and errors.
fn complaints(rig: &Rig) -> Vec<String> {
    let types = [gst::MessageType::Warning, gst::MessageType::Error];
    std::iter::from_fn(|| rig.bus.pop_filtered(&types))
        .map(|m| format!("{m:?}"))
        .collect()
}

#[test]
fn turbulent_motion_is_estimated_again_and_counted() {
    watched(|| {
        let mut off = rig(&[]);
        let taken = made(&mut off);
        assert_eq!((reestimated(&off), complaints(&off).len()), (0, 0));
        let [one, three] = ["1", "3"].map(|threads| {
            let mut on = rig(&[AUTO, ("threads", threads)]);
            let made = made(&mut on);
            assert_eq!((reestimated(&on), complaints(&on).len()), (3, 0));
            made
        });
        assert!(one == three);
        assert!(one.iter().zip(&taken).all(|(on, off)| on != off));
    });
}

#[test]
fn it_may_change_while_playing() {
    watched(|| {
        let mut rig = rig(&[]);
        for (frame, coherence) in ["off", "auto", "off", "auto"].into_iter().enumerate() {
            rig.element.set_property_from_str("coherence", coherence);
            let buffer = pieces(&rig, 40 * frame as u64 * MS);
            rig.harness.push(buffer).unwrap();
        }
        rig.eos();
        assert_eq!(complaints(&rig), Vec::<String>::new());
        assert_eq!((rig.times().len(), reestimated(&rig)), (8, 2));
    });
}

#[test]
fn flushes_and_new_caps_begin_anew() {
    watched(|| {
        let mut rig = rig(&[AUTO]);
        let before = made(&mut rig);
        flush(&mut rig);
        assert_eq!(reestimated(&rig), 0);
        let small = caps("25/1");
        rig.set_input(&small);
        for at in [0, 40] {
            rig.push(at * MS).unwrap();
        }
        rig.eos();
        rig.outputs();
        assert_eq!((reestimated(&rig), complaints(&rig).len()), (0, 0));
        flush(&mut rig);
        rig.set_input(CAPS);
        assert!(made(&mut rig) == before);
    });
}

#[test]
fn where_nothing_can_be_estimated_again_it_is_looked_at_all_the_same() {
    watched(|| {
        for other in [("scale", "0.5"), ("motion", "trajectory")] {
            let mut on = rig(&[AUTO, other]);
            made(&mut on);
            assert_eq!(reestimated(&on), 0, "{other:?}");
            assert_eq!(complaints(&on), Vec::<String>::new(), "{other:?}");
        }
    });
}

#[test]
fn predictions_are_as_without() {
    watched(|| {
        let zero = ("latency-mode", "zero");
        let (mut on, mut off) = (rig(&[AUTO, zero]), rig(&[zero]));
        assert!(made(&mut on) == made(&mut off));
        assert_eq!((reestimated(&on), complaints(&on).len()), (0, 0));
    });
}
