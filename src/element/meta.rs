//! Which metas and flags an output carries.

use std::collections::VecDeque;

use gst::BufferRef;
use gst::buffer::BufferMetaForeachAction as Action;
use gst::prelude::*;
use gst_video::{
    VideoAFDMeta, VideoBarMeta, VideoCaptionMeta, VideoCaptionType, VideoCropMeta,
    VideoOverlayCompositionMeta, VideoRegionOfInterestMeta, VideoTimeCode, VideoTimeCodeMeta,
};

use super::bridge::Stream;
use crate::schedule::{Phase, Slot};

/// The caption data of one input.
#[derive(Debug)]
struct Captions {
    pts: u64,
    data: Vec<(VideoCaptionType, Vec<u8>)>,
}

/// Captions on their way from inputs to outputs: each leaves on exactly one output, in order.
#[derive(Debug, Default)]
pub struct CaptionQueue(VecDeque<Captions>);

impl CaptionQueue {
    /// Keeps the captions of an input. Those of earlier inputs go before them, even if time has
    /// jumped back.
    pub fn push(&mut self, buffer: &BufferRef, pts: u64, reverse: bool) {
        for earlier in &mut self.0 {
            earlier.pts = if reverse {
                earlier.pts.max(pts)
            } else {
                earlier.pts.min(pts)
            };
        }
        let data: Vec<_> = buffer
            .iter_meta::<VideoCaptionMeta>()
            .filter(|meta| !meta.data().is_empty())
            .map(|meta| (meta.caption_type(), meta.data().to_vec()))
            .collect();
        if !data.is_empty() {
            self.0.push_back(Captions { pts, data });
        }
    }

    /// Moves onto an output what is due by its end, or everything if it is the last.
    ///
    /// An input whose time lies inside the output's duration is due: at a lower output rate it
    /// is shown there or not at all.
    pub fn attach(&mut self, output: &mut BufferRef, at: &Slot, reverse: bool, last: bool) {
        let end = at.pts.0.saturating_add(at.duration);
        let is_due = |pts: u64| {
            if reverse { pts >= at.pts.0 } else { pts < end }
        };
        let due = self.0.iter().take_while(|c| last || is_due(c.pts)).count();
        for (type_, data) in self.0.drain(..due).flat_map(|c| c.data) {
            VideoCaptionMeta::add(output, type_, &data);
        }
    }

    /// Moves everything onto a picture that passes through, before its own captions.
    pub fn pass(&mut self, buffer: &mut BufferRef) {
        self.push(buffer, 0, false);
        buffer.foreach_meta_mut(|meta| {
            let own = meta.api() == VideoCaptionMeta::meta_api();
            std::ops::ControlFlow::Continue(if own { Action::Remove } else { Action::Keep })
        });
        for (type_, data) in self.0.drain(..).flat_map(|c| c.data) {
            VideoCaptionMeta::add(buffer, type_, &data);
        }
    }

    /// Makes what is left due at the next output, whatever its time.
    pub fn hurry(&mut self, reverse: bool) {
        for captions in &mut self.0 {
            captions.pts = if reverse { u64::MAX } else { 0 };
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Puts the place on the grid onto a buffer.
pub fn stamp(buffer: &mut BufferRef, at: &Slot) {
    buffer.set_pts(super::bridge::clock_time(at.pts));
    buffer.set_dts(gst::ClockTime::NONE);
    buffer.set_duration(gst::ClockTime::from_nseconds(at.duration));
    buffer.set_offset(at.index);
    buffer.set_offset_end(at.index.saturating_add(1));
    set_flag(buffer, gst::BufferFlags::DISCONT, at.discont);
}

fn set_flag(buffer: &mut BufferRef, flag: gst::BufferFlags, on: bool) {
    if on {
        buffer.set_flags(flag);
    } else {
        buffer.unset_flags(flag);
    }
}

/// Finishes a copy of a source buffer that is shown at a time of the grid.
///
/// Captions travel through [`CaptionQueue`], a timecode is made anew, and what an analysis says
/// about the original is left off its repetitions.
pub fn finish_shown(buffer: &mut BufferRef, at: &Slot, held: bool) {
    buffer.foreach_meta_mut(|meta| {
        let api = meta.api();
        let drop = api == VideoCaptionMeta::meta_api()
            || api == VideoTimeCodeMeta::meta_api()
            || held && (api == VideoRegionOfInterestMeta::meta_api() || is_of_one_instant(api));
        std::ops::ControlFlow::Continue(if drop { Action::Remove } else { Action::Keep })
    });
    stamp(buffer, at);
    if held {
        buffer.set_flags(gst::BufferFlags::GAP);
    }
}

/// Metas that say something about one instant of capture.
fn is_of_one_instant(api: gst::glib::Type) -> bool {
    api == gst::ReferenceTimestampMeta::meta_api()
}

/// Finishes a buffer that was made between `left` and `right`.
pub fn finish_interpolated(
    buffer: &mut BufferRef,
    at: &Slot,
    (left, right): (&BufferRef, &BufferRef),
    phase: Phase,
) {
    stamp(buffer, at);
    buffer.unset_flags(gst::BufferFlags::GAP);
    let corrupted = (left.flags() | right.flags()).contains(gst::BufferFlags::CORRUPTED);
    set_flag(buffer, gst::BufferFlags::CORRUPTED, corrupted);
    copy_what_every_output_has(buffer, left);
    interpolate_reference_timestamps(buffer, left, right, phase);
}

/// Finishes a buffer that was made beyond `last` from its motion since `before`; `phase` is how far along that motion it is,
/// from `before` on.
pub fn finish_predicted(
    buffer: &mut BufferRef,
    at: &Slot,
    (before, last): (&BufferRef, &BufferRef),
    phase: Phase,
) {
    stamp(buffer, at);
    buffer.unset_flags(gst::BufferFlags::GAP);
    let corrupted = (before.flags() | last.flags()).contains(gst::BufferFlags::CORRUPTED);
    set_flag(buffer, gst::BufferFlags::CORRUPTED, corrupted);
    copy_what_every_output_has(buffer, last);
    interpolate_reference_timestamps(buffer, before, last, phase);
}

/// Overlay composition, bars, AFD and crop hold until the next source says otherwise.
fn copy_what_every_output_has(to: &mut BufferRef, from: &BufferRef) {
    if let Some(crop) = from.meta::<VideoCropMeta>() {
        VideoCropMeta::add(to, crop.rect());
    }
    for meta in from.iter_meta::<VideoOverlayCompositionMeta>() {
        VideoOverlayCompositionMeta::add(to, &meta.overlay_owned());
    }
    for meta in from.iter_meta::<VideoBarMeta>() {
        VideoBarMeta::add(
            to,
            meta.field(),
            meta.is_letterbox(),
            meta.bar_data1(),
            meta.bar_data2(),
        );
    }
    for meta in from.iter_meta::<VideoAFDMeta>() {
        VideoAFDMeta::add(to, meta.field(), meta.spec(), meta.afd());
    }
}

/// Whether both carry the same overlays: what is drawn onto a picture is part of it.
pub fn same_overlays(one: &BufferRef, other: &BufferRef) -> bool {
    let overlays = |buffer: &BufferRef| -> Vec<u32> {
        let metas = buffer.iter_meta::<VideoOverlayCompositionMeta>();
        metas
            .flat_map(|m| m.overlay().iter().map(|r| r.seqnum()).collect::<Vec<_>>())
            .collect()
    };
    overlays(one) == overlays(other)
}

/// What both neighbours say about the same clock lies between what they say.
fn interpolate_reference_timestamps(
    to: &mut BufferRef,
    left: &BufferRef,
    right: &BufferRef,
    phase: Phase,
) {
    type Reference = gst::ReferenceTimestampMeta;
    for meta in left.iter_meta::<Reference>() {
        let other = right
            .iter_meta::<Reference>()
            .find(|other| other.reference() == meta.reference());
        let Some((from, span)) = other.and_then(|other| {
            let from = meta.timestamp();
            Some((from, other.timestamp().checked_sub(from)?))
        }) else {
            continue;
        };
        if let Some(passed) = span.mul_div_floor(phase.elapsed, phase.span.max(1)) {
            Reference::add(
                to,
                &meta.reference_owned(),
                from + passed,
                gst::ClockTime::NONE,
            );
        }
    }
}

/// Gives an output the timecode of the source at or before it, counted on in output frames.
/// Where the output rate is no whole multiple of the input's there is no such count, and so no
/// timecode; `source_pts` and the slot are in nanoseconds. No source stands for more than `longest`
/// input frames.
pub fn add_timecode(
    output: &mut BufferRef,
    source: &BufferRef,
    source_pts: u64,
    at: &Slot,
    (stream, longest): (&Stream, u32),
) {
    let (Some(meta), Some(multiple)) =
        (source.meta::<VideoTimeCodeMeta>(), stream.whole_multiple())
    else {
        return;
    };
    let tc = meta.tc();
    let step = at.duration.max(1);
    // in reverse a frame is held for times before its own
    let Some(passed) = at.pts.0.saturating_add(step / 2).checked_sub(source_pts) else {
        return;
    };
    let Ok(extra) = u32::try_from(passed / step) else {
        return;
    };
    if tc.fps() != stream.rate_in || extra >= multiple.saturating_mul(longest) {
        return;
    }
    let rescaled = VideoTimeCode::new(
        stream.rate_out,
        tc.latest_daily_jam().as_ref(),
        tc.flags(),
        tc.hours(),
        tc.minutes(),
        tc.seconds(),
        tc.frames().saturating_mul(multiple),
        0,
    );
    // a drop-frame count exists at some rates only
    if let Ok(mut valid) = gst_video::ValidVideoTimeCode::try_from(rescaled) {
        valid.add_frames(i64::from(extra));
        VideoTimeCodeMeta::add(output, &valid);
    }
}
