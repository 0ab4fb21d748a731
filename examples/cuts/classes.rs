//! Pairs of pictures of known kind, made from clips: cuts and what is none.

use std::f32::consts::TAU;

use crate::small::{Small, mix};

/// Black and white of limited range.
const BLACK: [f32; 3] = [16.0 / 255.0 - 0.5, 0.0, 0.0];
const WHITE: [f32; 3] = [0.5, 0.0, 0.0];
/// Cells of the smaller side that a swing needs.
const SWINGABLE: usize = 100;

/// A clip's frames, reduced.
pub struct Clip {
    /// The film that it is of: the file's name without a number of a scene (`_s1`).
    pub source: String,
    pub frames: Vec<Small>,
    /// The first frame after a cut.
    pub cut: Option<usize>,
}

/// xorshift: the same pairs each time.
pub struct Random(pub u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n.max(1)
    }

    fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.below(1 << 20) as f32 / (1 << 20) as f32
    }
}

/// Two pictures of one size.
pub type Pair = (Small, Small);

/// Makes a pair, or `None` where the clips it drew cannot give one.
pub type Make = fn(&[Clip], &mut Random) -> Option<Pair>;

/// The kinds of pairs that are drawn by chance; whether each is a cut.
pub const DRAWN: [(&str, bool, Make); 8] = [
    ("join of two clips", true, join),
    ("flash", false, flash),
    ("flash to white", false, flash_to_white),
    ("flash of a part", false, flash_of_a_part),
    ("fade", false, fade),
    ("dissolve", false, dissolve),
    ("gain", false, gain),
    ("swing", false, swing),
];

/// The neighbours at a distance in all clips, without those around a cut.
pub fn neighbours(clips: &[Clip], distance: usize) -> impl Iterator<Item = (&Small, &Small)> {
    clips.iter().flat_map(move |clip| {
        let pairs = clip.frames.iter().zip(clip.frames.iter().skip(distance));
        let crosses = move |i: usize| clip.cut.is_some_and(|cut| i < cut && cut <= i + distance);
        pairs
            .enumerate()
            .filter_map(move |(i, pair)| (!crosses(i)).then_some(pair))
    })
}

/// The pairs at the marked cuts.
pub fn marked(clips: &[Clip]) -> impl Iterator<Item = (&Small, &Small)> {
    clips.iter().filter_map(|clip| {
        let cut = clip.cut?;
        Some((clip.frames.get(cut.checked_sub(1)?)?, clip.frames.get(cut)?))
    })
}

fn clip<'a>(clips: &'a [Clip], random: &mut Random) -> &'a Clip {
    &clips[random.below(clips.len())]
}

fn neighbour(clips: &[Clip], random: &mut Random) -> Option<Pair> {
    let clip = clip(clips, random);
    let at = random.below(clip.frames.len().checked_sub(1)?);
    let pair = (clip.frames[at].clone(), clip.frames.get(at + 1)?.clone());
    (clip.cut != Some(at + 1)).then_some(pair)
}

fn join(clips: &[Clip], random: &mut Random) -> Option<Pair> {
    let (one, other) = (clip(clips, random), clip(clips, random));
    let left = &one.frames[random.below(one.frames.len())];
    let right = &other.frames[random.below(other.frames.len())];
    (one.source != other.source).then(|| (left.clone(), right.resized(left.width, left.height)))
}

/// Brighter by a factor, cut off at white, where colour goes too.
fn brighter(cell: &[f32; 3], gain: f32) -> [f32; 3] {
    let luma = (cell[0] + 0.5) * gain;
    let left = (1.0 / luma.max(1.0)).powf(1.5) * gain.min(1.5);
    [luma.min(1.0) - 0.5, cell[1] * left, cell[2] * left]
}

fn flash(clips: &[Clip], random: &mut Random) -> Option<Pair> {
    let (left, right) = neighbour(clips, random)?;
    let (veil, amount) = (random.below(2) == 0, random.between(0.0, 1.0));
    let lit = right.map(|_, _, cell| match veil {
        true => mix(cell, &WHITE, 0.2 + 0.7 * amount),
        false => brighter(cell, 1.3 + 3.7 * amount),
    });
    Some((left, lit))
}

fn flash_to_white(clips: &[Clip], random: &mut Random) -> Option<Pair> {
    let (left, right) = neighbour(clips, random)?;
    let amount = random.between(0.9, 1.0);
    Some((left, right.map(|_, _, cell| mix(cell, &WHITE, amount))))
}

/// A disc or one side of the picture.
fn flash_of_a_part(clips: &[Clip], random: &mut Random) -> Option<Pair> {
    let (left, right) = neighbour(clips, random)?;
    let (width, height) = (right.width as f32, right.height as f32);
    let longer = width.max(height);
    let soft = longer * random.between(0.01, 0.15);
    let (cx, cy) = (random.between(0.0, width), random.between(0.0, height));
    let radius = longer * random.between(0.15, 0.5);
    let (sin, cos) = random.between(0.0, TAU).sin_cos();
    let disc = random.below(2) == 0;
    let (veil, amount) = (random.below(2) == 0, random.between(0.0, 1.0));
    let lit = right.map(|x, y, cell| {
        let inside = match disc {
            true => radius - (x - cx).hypot(y - cy),
            false => (x - width / 2.0) * cos + (y - height / 2.0) * sin,
        };
        let inside = (inside / soft + 0.5).clamp(0.0, 1.0);
        match veil {
            true => mix(cell, &WHITE, inside * (0.3 + 0.7 * amount)),
            false => brighter(cell, 1.0 + inside * (0.3 + 3.7 * amount)),
        }
    });
    Some((left, lit))
}

/// Two frames of a fade to black, or one time in four to white, of 5 to 48 frames.
fn fade(clips: &[Clip], random: &mut Random) -> Option<Pair> {
    let (left, right) = neighbour(clips, random)?;
    let end = if random.below(4) == 0 { WHITE } else { BLACK };
    let length = 5 + random.below(44);
    let at = random.below(length);
    let faded = |picture: &Small, at: usize| {
        picture.map(|_, _, cell| mix(cell, &end, at as f32 / length as f32))
    };
    Some((faded(&left, at), faded(&right, at + 1)))
}

/// Two frames of a dissolve of 6 to 48 frames.
fn dissolve(clips: &[Clip], random: &mut Random) -> Option<Pair> {
    let (left, right) = neighbour(clips, random)?;
    let (from, to) = neighbour(clips, random)?;
    let length = 6 + random.below(43);
    let at = random.below(length);
    let size = (left.width, left.height);
    let mixed = |picture: &Small, other: &Small, at: usize| {
        picture.mixed(&other.resized(size.0, size.1), at as f32 / length as f32)
    };
    Some((mixed(&left, &from, at), mixed(&right, &to, at + 1)))
}

/// Half to twice the exposure from one frame to the next.
fn gain(clips: &[Clip], random: &mut Random) -> Option<Pair> {
    let (left, right) = neighbour(clips, random)?;
    let gain = random.between(-1.0, 1.0).exp2();
    let changed = right.map(|_, _, cell| {
        let changed: [f32; 3] = std::array::from_fn(|i| BLACK[i] + (cell[i] - BLACK[i]) * gain);
        changed.map(|v| v.clamp(-0.5, 0.5))
    });
    Some((left, changed))
}

/// A window that moves over a frame by a sixteenth to a third of its size, mostly sideways, with
/// the shutter open for a fifth of the time or longer.
fn swing(clips: &[Clip], random: &mut Random) -> Option<Pair> {
    let clip = clip(clips, random);
    let frame = &clip.frames[random.below(clip.frames.len())];
    if frame.width.min(frame.height) < SWINGABLE {
        return None;
    }
    let shutter = random.between(0.2, 1.0);
    let angle = match random.below(3) {
        0 => random.between(0.0, TAU),
        _ => TAU / 2.0 * random.below(2) as f32,
    };
    let amount = random.between(1.0 / 16.0, 1.0 / 3.0);
    // Both windows and their blur lie inside.
    let room = 1.0 / (1.0 + (1.0 + shutter) / 3.0);
    let size = [frame.width as f32 * room, frame.height as f32 * room];
    let step = [
        angle.cos() * amount * size[0],
        angle.sin() * amount * size[1],
    ];
    let start = |i: usize, length: f32| {
        let way = step[i] * (1.0 + shutter);
        centred(way, length - size[i])
    };
    let start = [start(0, frame.width as f32), start(1, frame.height as f32)];
    let steps = (step[0].hypot(step[1]) * shutter).ceil().max(1.0) as usize;
    let shot = |time: f32| {
        let (width, height) = (size[0] as usize, size[1] as usize);
        let cells = (0..width * height).map(|i| {
            let mut sum = [0.0; 3];
            for s in 0..steps {
                let t = time + shutter * s as f32 / steps as f32;
                let x = (i % width) as f32 + start[0] + t * step[0];
                let cell = frame.sample(x, (i / width) as f32 + start[1] + t * step[1]);
                (0..3).for_each(|i| sum[i] += cell[i] / steps as f32);
            }
            sum
        });
        let cells = cells.collect();
        Small {
            width,
            height,
            cells,
        }
    };
    Some((shot(0.0), shot(1.0)))
}

/// Where a way inside of `room` begins, in its middle.
fn centred(way: f32, room: f32) -> f32 {
    (room - way) / 2.0
}
