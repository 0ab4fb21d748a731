//! What goes through the pads, and when a keyframe belongs to a frame.

use std::sync::Arc;

use gst::glib;
use gst::prelude::*;
use gst_base::prelude::*;

use crate::element::bridge::{Failure, Mapped, Refused, Stream};
use crate::keyframes::Frame;
use crate::picture::Picture;

/// Share of a frame's duration by which a keyframe's time may be off.
const OFF: u64 = 4;
/// Duration of a frame where nothing says it.
const USUAL: gst::ClockTime = gst::ClockTime::from_mseconds(40);

/// What caps say.
///
/// # Errors
/// They are not fixed, interlaced, or of no format that is known; `what` names them.
pub fn stream(what: &str, caps: &gst::CapsRef) -> Result<Arc<Stream>, Failure> {
    let fail = |problem: &str| Failure::Keyframes(format!("{what} {problem} (caps {caps})"));
    let info = gst_video::VideoInfo::from_caps(caps);
    let info = info.map_err(|_| fail("cannot be read: wanted fixed caps of raw video"))?;
    if info.is_interlaced() {
        return Err(fail("is interlaced: put deinterlace before this element"));
    }
    let mut caps = caps.to_owned();
    let rated = caps.structure(0).is_some_and(|s| s.has_field("framerate"));
    if !rated {
        caps.make_mut().set("framerate", gst::Fraction::new(0, 1));
    }
    match Stream::new(&caps, &info, &caps) {
        Ok(stream) => Ok(Arc::new(stream)),
        Err(Refused::UnknownFormat | Refused::NoFramerate | Refused::NotProgressive) => Err(fail(
            "is of no format that is known: put videoconvert before this element",
        )),
    }
}

/// Whether pictures of both are of one format and size.
pub fn same_pictures(a: &Stream, b: &Stream) -> bool {
    let shape = |s: &Stream| (s.format, s.info.width(), s.info.height());
    shape(a) == shape(b)
}

/// A buffer and what it holds.
#[derive(Clone)]
pub struct Shown {
    pub buffer: gst::Buffer,
    pub stream: Arc<Stream>,
}

impl Frame for Shown {
    type Error = Failure;

    fn read<T>(&self, f: impl FnOnce(&Picture) -> Result<T, Failure>) -> Result<T, Failure> {
        f(&Mapped::new(&self.buffer, &self.stream)?.picture()?)
    }
}

impl Shown {
    /// A keyframe in the format and colours of its frame.
    ///
    /// # Errors
    /// It is of another size, or cannot be converted.
    pub fn fitted(self, frame: &Shown) -> Result<Self, Failure> {
        let (own, wanted) = (&self.stream.info, &frame.stream.info);
        if (own.width(), own.height()) != (wanted.width(), wanted.height()) {
            return Err(Failure::Keyframes(format!(
                "the keyframe at {} is of {}x{}, its frame of {}x{}: scale it to the size of the video",
                self.buffer.pts().display(),
                own.width(),
                own.height(),
                wanted.width(),
                wanted.height()
            )));
        }
        if own.format() == wanted.format() && own.colorimetry() == wanted.colorimetry() {
            return Ok(self);
        }
        let buffer = converted(&self.buffer, own, wanted).map_err(|problem| {
            let (from, to) = (own.format(), wanted.format());
            Failure::Keyframes(format!(
                "a keyframe cannot be converted from {from} to {to}: {problem}; put videoconvert before the pad keyframe"
            ))
        })?;
        Ok(Self {
            buffer,
            stream: frame.stream.clone(),
        })
    }

    /// The frame's times and metas on the picture of its keyframe.
    pub fn restamped(&self, frame: &gst::Buffer) -> gst::Buffer {
        let mut out = self.buffer.copy();
        let buffer = out.make_mut();
        buffer.set_pts(frame.pts());
        buffer.set_dts(frame.dts());
        buffer.set_duration(frame.duration());
        buffer.set_offset(frame.offset());
        buffer.set_offset_end(frame.offset_end());
        buffer.set_flags(frame.flags() - gst::BufferFlags::TAG_MEMORY);
        out
    }
}

/// The picture of `buffer` in other colours, at the same time.
fn converted(
    buffer: &gst::BufferRef,
    from: &gst_video::VideoInfo,
    to: &gst_video::VideoInfo,
) -> Result<gst::Buffer, glib::BoolError> {
    let mut out = gst::Buffer::with_size(to.size())?;
    let target = out.make_mut();
    target.set_pts(buffer.pts());
    let source = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, from)?;
    // a converter wants one rate on both sides, and a single picture has none
    let mut caps = to.to_caps()?;
    caps.make_mut().set("framerate", from.fps());
    let to = gst_video::VideoInfo::from_caps(&caps)?;
    let mut target = gst_video::VideoFrameRef::from_buffer_ref_writable(target, &to)?;
    gst_video::VideoConverter::new(from, &to, None)?.frame_ref(&source, &mut target);
    drop(target);
    Ok(out)
}

/// Where a keyframe lies, seen from a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Its frame would have come already.
    Before,
    Here,
    After,
}

/// Where a keyframe with the running time `key` lies, seen from a frame with the running time and duration.
pub fn place(
    key: gst::ClockTime,
    frame: gst::ClockTime,
    duration: Option<gst::ClockTime>,
) -> Place {
    let off = duration
        .filter(|d| !d.is_zero())
        .unwrap_or(USUAL)
        .nseconds()
        / OFF;
    let (key, frame) = (key.nseconds(), frame.nseconds());
    match key.abs_diff(frame) <= off {
        true => Place::Here,
        false if key < frame => Place::Before,
        false => Place::After,
    }
}

/// The time of a pad's buffer that both pads share; `None`: it lies outside of the segment.
///
/// # Errors
/// It has no timestamp.
pub fn running_time(
    pad: &gst_base::AggregatorPad,
    buffer: &gst::BufferRef,
) -> Result<Option<gst::ClockTime>, Failure> {
    let Some(pts) = buffer.pts() else {
        return Err(Failure::Keyframes(format!(
            "a buffer at the pad {} has no timestamp: keyframes are matched by time, put an element that makes timestamps before this one",
            pad.name()
        )));
    };
    let segment = pad.segment();
    let Some(segment) = segment.downcast_ref::<gst::ClockTime>() else {
        return Err(Failure::Segment(segment.format()));
    };
    Ok(segment.to_running_time(pts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> gst::ClockTime {
        gst::ClockTime::from_mseconds(ms)
    }

    #[test]
    fn a_keyframe_belongs_to_a_frame_up_to_a_quarter_of_its_duration() {
        let at = |key: u64| place(ms(key), ms(100), Some(ms(40)));
        let (before, here, after) = (Place::Before, Place::Here, Place::After);
        let found = [0, 89, 90, 100, 110, 111, 140].map(at);
        assert_eq!(found, [before, before, here, here, here, after, after]);
    }

    #[test]
    fn a_frame_without_a_duration_lasts_as_long_as_usual() {
        for duration in [None, Some(gst::ClockTime::ZERO)] {
            assert_eq!(place(ms(110), ms(100), duration), Place::Here);
            assert_eq!(place(ms(111), ms(100), duration), Place::After);
        }
    }
}
