//! Pictures in page-locked memory, which the card reads and writes itself, and pictures that are made before they are asked for.

use std::sync::Arc;

use gstvideointerpolate::interpolator::{Interpolator, Options, Outcome, Settings};
use gstvideointerpolate::kernels::device::{Gpu, Locked};
use gstvideointerpolate::kernels::{PhaseMap, Precision};
use gstvideointerpolate::network::{Model, Variant};
use gstvideointerpolate::picture::{Channel, Color, Format, Picture, PictureMut};

use super::common::Owned;
use super::{card, contexts, moved};

/// What lies beside the rows.
const BESIDE: u8 = 0xcd;

/// A picture in page-locked memory.
pub struct LockedPicture {
    memory: Locked,
    format: Format,
    size: (u32, u32),
    /// Where each plane begins, and bytes from a row to the next.
    planes: Vec<(usize, usize)>,
}

impl LockedPicture {
    /// Room for one whose rows have so many bytes behind them, and planes before them.
    pub fn new(gpu: &Gpu, format: Format, size: (u32, u32), padding: usize) -> Self {
        let mut end = padding;
        let plane = |p| {
            let stride = format.row_bytes(p, size.0) + padding;
            let first = end;
            end += stride * format.rows(p, size.1) + padding;
            (first, stride)
        };
        let planes = (0..format.planes()).map(plane).collect();
        let mut memory = gpu.locked(end).unwrap();
        memory.as_mut().fill(BESIDE);
        Self {
            memory,
            format,
            size,
            planes,
        }
    }

    pub fn of(gpu: &Gpu, picture: &Picture, padding: usize) -> Self {
        let size = (picture.width() as u32, picture.height() as u32);
        let mut locked = Self::new(gpu, picture.format(), size, padding);
        locked.picture_mut().copy_from(picture).unwrap();
        locked
    }

    pub fn picture(&self) -> Picture<'_> {
        let bytes = self.memory.as_ref();
        let plane = |(first, stride): &(usize, usize)| (&bytes[*first..], *stride as isize);
        let planes: Vec<_> = self.planes.iter().map(plane).collect();
        let (format, (width, height)) = (self.format, self.size);
        Picture::new(format, width, height, Color::BT709, &planes).unwrap()
    }

    pub fn picture_mut(&mut self) -> PictureMut<'_> {
        let (mut rest, mut at) = (self.memory.as_mut(), 0);
        let (format, (width, height)) = (self.format, self.size);
        let plane = |(p, (first, stride)): (usize, &(usize, usize))| {
            let end = first + stride * format.rows(p, height);
            let (data, behind) = std::mem::take(&mut rest).split_at_mut(end - at);
            let data = &mut data[first - at..];
            (rest, at) = (behind, end);
            (data, *stride as isize)
        };
        let mut planes: Vec<_> = self.planes.iter().enumerate().map(plane).collect();
        PictureMut::new(format, width, height, &mut planes).unwrap()
    }

    /// Fails where a byte beside the rows was written.
    fn assert_beside(&self, what: &str) {
        let mut is_row = vec![false; self.memory.as_ref().len()];
        for (p, (first, stride)) in self.planes.iter().enumerate() {
            for y in 0..self.format.rows(p, self.size.1) {
                let row = self.format.row_bytes(p, self.size.0);
                is_row[first + y * stride..][..row].fill(true);
            }
        }
        for (i, byte) in self.memory.as_ref().iter().enumerate() {
            assert!(is_row[i] || *byte == BESIDE, "{what}: byte {i}");
        }
    }
}

/// The smallest network on the card, for pictures of a format and size.
fn small(gpu: &Arc<Gpu>, format: Format, size: (u32, u32)) -> Interpolator {
    let model = Model::Embedded(Variant::Fast.network().unwrap());
    let [_, context] = contexts(gpu, Precision::Single);
    Interpolator::with_context(model, format, size, &context, Options::default()).unwrap()
}

fn assert_same(found: &Picture, want: &Picture, what: &str) {
    for p in 0..want.format().planes() {
        for y in 0..want.format().rows(p, want.height() as u32) {
            assert_eq!(found.row(p, y), want.row(p, y), "{what}: plane {p} row {y}");
        }
    }
}

#[test]
fn page_locked_pictures_are_the_same() {
    let Some(gpu) = card() else { return };
    // rows without a byte between them on both sides, on neither, on one; the last in several bands where it is staged
    let some = &[(0, 0.5), (1, 0.25)][..];
    let cases = [
        (Format::I420, (128, 66), 0, some),
        (Format::Nv12, (150, 98), 7, some),
        (Format::P010, (64, 34), 2, some),
        (Format::Rgb, (75, 37), 0, some),
        (Format::Gbr10, (304, 302), 0, &some[..1]),
    ];
    for (format, size, padding, made) in cases {
        let what = format!("{format:?} {size:?} {padding}");
        let pictures = [0.0, 4.0, 9.0].map(|by| waves(format, size, by));
        let pictures = &pictures[..made.len() + 1];
        let mut plain = small(&gpu, format, size);
        let mut locked = small(&gpu, format, size);
        let mut sides = Vec::new();
        for picture in pictures {
            let mut source = LockedPicture::of(&gpu, &picture.picture(), padding);
            let encoded = locked.encode(&source.picture()).unwrap();
            // what is read later reads this
            source.memory.as_mut().fill(0x55);
            sides.push((plain.encode(&picture.picture()).unwrap(), encoded, source));
        }
        for &(i, phase) in made {
            let [left, right] = [&pictures[i], &pictures[i + 1]].map(Owned::picture);
            let (phase, settings) = (PhaseMap::Uniform(phase), Settings::default());
            let make = |interpolator: &mut Interpolator, is_locked: bool, to: &mut PictureMut| {
                let of = |side: usize| match is_locked {
                    true => &*sides[side].1,
                    false => &*sides[side].0,
                };
                let pair = [(&left, of(i)), (&right, of(i + 1))];
                let made = interpolator.interpolate(pair[0], pair[1], &phase, &settings, to);
                assert_eq!(made.unwrap(), Outcome::Interpolated, "{what}");
            };
            let mut want = Owned::new(format, size, 3);
            make(&mut plain, false, &mut want.picture_mut());
            // from page-locked memory, and to such, or one of them alone
            let mut both = LockedPicture::new(&gpu, format, size, padding);
            make(&mut locked, true, &mut both.picture_mut());
            let mut down = LockedPicture::new(&gpu, format, size, padding);
            make(&mut plain, false, &mut down.picture_mut());
            let mut up = Owned::new(format, size, 3);
            make(&mut locked, true, &mut up.picture_mut());
            for found in [both.picture(), down.picture(), up.picture()] {
                assert_same(&found, &want.picture(), &what);
            }
            both.assert_beside(&what);
            down.assert_beside(&what);
        }
    }
}

/// Some texture of a format that has moved.
fn waves(format: Format, size: (u32, u32), by: f32) -> Owned {
    Owned::painted(format, size, 3, |channel: Channel, x, y| {
        let phase = 0.7 * channel as u8 as f32;
        0.5 + 0.3 * (0.13 * (x - by) + phase).sin() * (0.11 * y + phase).cos()
    })
}

#[test]
fn page_locked_memory_outlives_the_card() {
    let Some(gpu) = card() else { return };
    let picture = moved((64, 48), 1.0);
    let locked = LockedPicture::of(&gpu, &picture.picture(), 3);
    drop(gpu);
    assert_same(&locked.picture(), &picture.picture(), "after the card");
    drop(locked);
    // another card opened meanwhile knows of it, too
    let Some(gpu) = card() else { return };
    drop(LockedPicture::new(&gpu, Format::I420, (64, 48), 0));
}

/// A picture that is asked for: the number of the pair's left one, the phase, and what is told of the next.
type Asked = (usize, f32, Option<f32>);

/// Those that are asked for between the pictures of a stream, with what is told of or without it.
fn made(
    gpu: &Arc<Gpu>,
    asked: &[Asked],
    tells: bool,
    interval: impl Fn(usize) -> f32,
) -> Vec<Owned> {
    let (format, size) = (Format::I420, (150, 98));
    let pictures: Vec<_> = (0..4).map(|i| moved(size, 4.0 * i as f32)).collect();
    let mut interpolator = small(gpu, format, size);
    let mut encode = |p: &Owned| interpolator.encode(&p.picture()).unwrap();
    let sides: Vec<_> = pictures.iter().map(&mut encode).collect();
    let make = |(number, (left, phase, then)): (usize, &Asked)| {
        let settings = Settings {
            then: then.filter(|_| tells),
            interval: interval(number),
            ..Settings::default()
        };
        let [l, r] = [*left, left + 1].map(|i| (pictures[i].picture(), &*sides[i]));
        let mut out = Owned::new(format, size, 5);
        let (phase, to) = (PhaseMap::Uniform(*phase), &mut out.picture_mut());
        let made = interpolator.interpolate((&l.0, l.1), (&r.0, r.1), &phase, &settings, to);
        assert_eq!(made.unwrap(), Outcome::Interpolated);
        out
    };
    asked.iter().enumerate().map(make).collect()
}

/// Asked for as it is told.
const TOLD: [Asked; 7] = [
    (0, 0.25, Some(0.5)),
    (0, 0.5, Some(0.75)),
    (0, 0.75, None),
    (1, 0.25, Some(0.5)),
    (1, 0.5, Some(0.75)),
    (1, 0.75, None),
    (2, 0.25, None),
];
/// Left out, in another order, or none that could be made.
const OTHERWISE: [Asked; 11] = [
    (0, 0.25, Some(0.5)),
    (0, 0.75, Some(0.9)),
    (1, 0.25, Some(0.5)),
    (0, 0.5, Some(0.75)),
    (1, 0.5, Some(0.5)),
    (1, 0.5, Some(0.25)),
    (2, 0.25, Some(0.75)),
    (2, 0.75, Some(1.0)),
    (2, 0.5, Some(f32::NAN)),
    (2, 0.9, Some(-1.0)),
    (2, 0.1, None),
];

#[test]
fn pictures_made_ahead_are_the_same() {
    let Some(gpu) = card() else { return };
    type Interval = fn(usize) -> f32;
    let (even, uneven): (Interval, Interval) = (|_| 1.0, |number| 1.0 + number as f32);
    let cases = [
        ("as told", &TOLD[..], even),
        ("otherwise", &OTHERWISE, even),
        ("settings that change", &TOLD, uneven),
    ];
    for (what, asked, interval) in cases {
        let [want, found] = [false, true].map(|tells| made(&gpu, asked, tells, interval));
        for (i, (want, found)) in want.iter().zip(&found).enumerate() {
            assert_same(&found.picture(), &want.picture(), &format!("{what} {i}"));
        }
    }
}

/// Each opens the card for itself, and has a stream of its own there.
#[test]
fn streams_side_by_side_make_the_same() {
    let Some(gpu) = card() else { return };
    assert!(!Arc::ptr_eq(&gpu, &card().expect("the card again")));
    let want = made(&gpu, &TOLD, false, |_| 1.0);
    let stream = || made(&card().expect("the card again"), &TOLD, true, |_| 1.0);
    let streams: Vec<_> = (0..3).map(|_| std::thread::spawn(stream)).collect();
    for (s, stream) in streams.into_iter().enumerate() {
        for (i, (want, found)) in want.iter().zip(stream.join().unwrap()).enumerate() {
            assert_same(
                &found.picture(),
                &want.picture(),
                &format!("stream {s} {i}"),
            );
        }
    }
}

/// What tensors hold does not grow with the streams that there were.
#[test]
#[ignore = "counts what the card has: another test runs it in a process of its own"]
fn weights_go_with_their_stream() {
    let Some(gpu) = card() else { return };
    let after = |_| {
        made(&card().expect("the card again"), &TOLD, false, |_| 1.0);
        gpu.memory().unwrap().tensors
    };
    let held: Vec<u64> = (0..6).map(after).collect();
    // those of the last stream stay until somebody else asks for some
    assert!(
        held[0] > 0 && held.iter().all(|h| *h < 2 * held[0]),
        "{held:?}"
    );
}

#[test]
#[ignore = "counts what the card does: another test runs it in a process of its own"]
fn none_is_made_twice_that_was_told_of() {
    let Some(gpu) = card() else { return };
    let launches = |asked: &[Asked], tells: bool| {
        let before = gpu.counts().launches;
        made(&gpu, asked, tells, |_| 1.0);
        gpu.counts().launches - before
    };
    let [plain, told] = [false, true].map(|tells| launches(&TOLD, tells));
    assert_eq!(told, plain);
    let [plain, told] = [false, true].map(|tells| launches(&OTHERWISE, tells));
    assert!(
        told > plain,
        "{told} launches, {plain} without what was told"
    );
}
