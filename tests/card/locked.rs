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
    // rows without a byte between them on both sides, on neither, on one; several bands through staging
    let cases = [
        (Format::I420, (128, 66), 0),
        (Format::Nv12, (150, 98), 7),
        (Format::P010, (64, 34), 2),
        (Format::Rgb, (75, 37), 0),
        (Format::I420, (1024, 1026), 0),
    ];
    for (format, size, padding) in cases {
        let what = format!("{format:?} {size:?} {padding}");
        let pictures = [0.0, 4.0, 9.0].map(|by| waves(format, size, by));
        let mut plain = small(&gpu, format, size);
        let mut locked = small(&gpu, format, size);
        let mut sides = Vec::new();
        for picture in &pictures {
            let mut source = LockedPicture::of(&gpu, &picture.picture(), padding);
            let encoded = locked.encode(&source.picture()).unwrap();
            // what is read later reads this
            source.memory.as_mut().fill(0x55);
            sides.push((plain.encode(&picture.picture()).unwrap(), encoded, source));
        }
        for (i, phase) in [(0, 0.5), (1, 0.25), (1, 0.75)] {
            let [left, right] = [&pictures[i], &pictures[i + 1]].map(Owned::picture);
            let (phase, settings) = (PhaseMap::Uniform(phase), Settings::default());
            let mut make =
                |interpolator: &mut Interpolator, is_locked: bool, to: &mut PictureMut| {
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

#[test]
fn pictures_made_ahead_are_the_same() {
    let Some(gpu) = card() else { return };
    let (format, size) = (Format::I420, (150, 98));
    let pictures: Vec<_> = (0..4).map(|i| moved(size, 4.0 * i as f32)).collect();
    let cases: [(&str, &[Asked]); 4] = [
        (
            "as told",
            &[
                (0, 0.25, Some(0.5)),
                (0, 0.5, Some(0.75)),
                (0, 0.75, None),
                (1, 0.25, Some(0.5)),
                (1, 0.5, Some(0.75)),
                (1, 0.75, Some(0.9)),
                (2, 0.25, None),
            ],
        ),
        // left out, or in another order
        (
            "otherwise",
            &[
                (0, 0.25, Some(0.5)),
                (0, 0.75, Some(0.9)),
                (1, 0.25, Some(0.5)),
                (0, 0.5, Some(0.75)),
                (1, 0.5, Some(0.5)),
                (1, 0.5, Some(0.25)),
                (2, 0.25, Some(0.75)),
                (2, 0.75, None),
            ],
        ),
        // none that could be made
        (
            "nonsense",
            &[
                (0, 0.25, Some(1.0)),
                (0, 0.5, Some(f32::NAN)),
                (0, 0.75, Some(-1.0)),
            ],
        ),
        (
            "settings that change",
            &[
                (0, 0.25, Some(0.5)),
                (0, 0.5, Some(0.75)),
                (1, 0.5, Some(0.75)),
                (1, 0.75, None),
            ],
        ),
    ];
    for (what, asked) in cases {
        let made = [false, true].map(|told| {
            let mut interpolator = small(&gpu, format, size);
            let before = gpu.counts();
            let sides: Vec<_> = pictures
                .iter()
                .map(|p| interpolator.encode(&p.picture()).unwrap())
                .collect();
            let mut all = Vec::new();
            for (number, (left, phase, then)) in asked.iter().enumerate() {
                let settings = Settings {
                    then: then.filter(|_| told),
                    interval: match (what, number) {
                        ("settings that change", n) => 1.0 + n as f32,
                        _ => 1.0,
                    },
                    ..Settings::default()
                };
                let [l, r] = [*left, left + 1].map(|i| (pictures[i].picture(), &*sides[i]));
                let mut out = Owned::new(format, size, 5);
                let (phase, to) = (PhaseMap::Uniform(*phase), &mut out.picture_mut());
                let made =
                    interpolator.interpolate((&l.0, l.1), (&r.0, r.1), &phase, &settings, to);
                assert_eq!(made.unwrap(), Outcome::Interpolated, "{what}");
                all.push(out);
            }
            (all, gpu.counts().launches - before.launches)
        });
        for (i, (want, found)) in made[0].0.iter().zip(&made[1].0).enumerate() {
            assert_same(&found.picture(), &want.picture(), &format!("{what} {i}"));
        }
        // none was made twice where what was told is true
        let [plain, told] = [made[0].1, made[1].1];
        match what {
            "as told" => assert!(told < plain + plain / 4, "{told} launches for {plain}"),
            "nonsense" => assert_eq!(told, plain),
            _ => assert!(told > plain, "{what}: {told} launches for {plain}"),
        }
    }
}
