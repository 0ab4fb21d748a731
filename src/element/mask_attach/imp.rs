//! An aggregator of two pads: frames, and the masks that belong to them.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;
use gst_base::{AGGREGATOR_FLOW_NEED_DATA, AggregatorPad};
use gst_video::VideoInfo;
use gst_video::prelude::*;

use super::label_mask::LabelMask;
use crate::element::bridge::{end_of, gap_event, is_gap};
use crate::element::caps;

/// Names of the pads.
const FRAMES: &str = "sink";
const MASKS: &str = "mask";

/// What is remembered between two frames.
#[derive(Default)]
struct State {
    /// What masks look like.
    info: Option<VideoInfo>,
    /// The mask in force.
    mask: Option<LabelMask>,
    /// A frame of the current segment has been sent, and so that segment has.
    flows: bool,
}

#[derive(Default)]
pub struct VideoMaskAttach {
    state: Mutex<State>,
}

/// Which masks a frame may have.
enum Known {
    /// All that are to come belong to later frames.
    All,
    /// The next mask decides.
    NotYet,
}

impl VideoMaskAttach {
    fn state(&self) -> MutexGuard<'_, State> {
        // plain data, each value whole by itself
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pad(&self, name: &str) -> Option<AggregatorPad> {
        self.obj().static_pad(name).and_downcast()
    }

    /// Takes every mask whose time has come when a frame is shown; `late` waits for no more. Played backwards a mask is in
    /// force for the frames before the one that came before it, and stays until its own time has come.
    fn masks_until(
        &self,
        (time, backwards): (Option<gst::ClockTime>, bool),
        late: bool,
    ) -> Result<Known, gst::FlowError> {
        let Some(pad) = self.pad(MASKS) else {
            return Ok(Known::All);
        };
        while let Some(buffer) = pad.peek_buffer() {
            // what has no time is in force at once
            let begins = running_time(&pad, &buffer).or(time);
            if backwards && begins < time {
                pad.drop_buffer();
                continue;
            }
            if !backwards && begins > time {
                return Ok(Known::All);
            }
            let mask = self.mask_of(&buffer)?;
            self.state().mask = mask;
            if backwards {
                return Ok(Known::All);
            }
            pad.drop_buffer();
        }
        if pad.is_eos() && backwards {
            self.state().mask = None;
        }
        Ok(match late || pad.is_eos() {
            true => Known::All,
            false => Known::NotYet,
        })
    }

    /// The mask in a buffer; none in one that stands for a gap.
    fn mask_of(&self, buffer: &gst::BufferRef) -> Result<Option<LabelMask>, gst::FlowError> {
        if buffer.size() == 0 {
            return Ok(None);
        }
        let info = self.state().info.clone();
        let info = info.ok_or(gst::FlowError::NotNegotiated)?;
        let (width, height) = (info.width(), info.height());
        let labels = labels_of(buffer, &info);
        let mask = labels.and_then(|labels| LabelMask::new(width, height, labels).ok());
        if mask.is_none() {
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                (
                    "a mask of {} bytes does not hold the {width}x{height} labels that its caps promise; let GRAY8 pictures of that size arrive at the pad {MASKS}",
                    buffer.size()
                )
            );
            return Err(gst::FlowError::Error);
        }
        Ok(mask)
    }

    /// Takes a gap among the frames and tells downstream of it, as an event again. Where nothing has been sent of the segment yet,
    /// nobody waits for what is not there.
    fn pass_gap(&self, frames: &AggregatorPad) -> Result<gst::FlowSuccess, gst::FlowError> {
        let Some(gap) = frames.pop_buffer() else {
            return Err(AGGREGATOR_FLOW_NEED_DATA);
        };
        let event = gap_event(&gap).filter(|_| self.state().flows);
        if let Some(event) = event {
            self.obj().src_pad().push_event(event);
        }
        if let Some(end) = end_of(&gap) {
            self.obj().set_position(end);
        }
        Ok(gst::FlowSuccess::Ok)
    }

    fn on_frames_event(&self, event: &gst::Event) -> bool {
        match event.view() {
            gst::EventView::Caps(e) => self.obj().set_src_caps(&e.caps_owned()),
            gst::EventView::Segment(e) => {
                let Some(segment) = e.segment().downcast_ref::<gst::ClockTime>() else {
                    gst::element_imp_error!(
                        self,
                        gst::StreamError::Format,
                        (
                            "a segment in {:?} has no times to find masks at; put an element that makes timestamps before this one",
                            e.segment().format()
                        )
                    );
                    return false;
                };
                self.obj().update_segment(segment);
                self.state().flows = false;
            }
            _ => (),
        }
        true
    }

    fn on_masks_event(&self, event: &gst::Event) -> bool {
        if let gst::EventView::Caps(e) = event.view() {
            let info = VideoInfo::from_caps(e.caps()).ok();
            let known = info.is_some();
            self.state().info = info;
            return known;
        }
        true
    }
}

/// Running time at which a buffer begins.
fn running_time(pad: &AggregatorPad, buffer: &gst::BufferRef) -> Option<gst::ClockTime> {
    let segment = pad.segment();
    let segment = segment.downcast_ref::<gst::ClockTime>()?;
    segment.to_running_time(buffer.pts()?)
}

/// The labels of a mask, row by row.
fn labels_of(buffer: &gst::BufferRef, info: &VideoInfo) -> Option<Vec<u8>> {
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, info).ok()?;
    let stride = usize::try_from(*frame.plane_stride().first()?).ok()?;
    let (width, height) = (info.width() as usize, info.height() as usize);
    let data = frame.plane_data(0).ok()?;
    let rows = (0..height).map(|y| data.get(y * stride..)?.get(..width));
    Some(rows.collect::<Option<Vec<_>>>()?.concat())
}

#[glib::object_subclass]
impl ObjectSubclass for VideoMaskAttach {
    const NAME: &'static str = "GstVideoMaskAttach";
    type Type = super::VideoMaskAttach;
    type ParentType = gst_base::Aggregator;
}

impl ObjectImpl for VideoMaskAttach {
    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        if let Some(template) = obj.pad_template(FRAMES) {
            let pad = gst::PadBuilder::<AggregatorPad>::from_template(&template).build();
            if let Err(error) = obj.add_pad(&pad) {
                gst::error!(gst::CAT_RUST, imp = self, "no pad for frames: {error}");
            }
        }
    }
}

impl GstObjectImpl for VideoMaskAttach {}

impl ElementImpl for VideoMaskAttach {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Video mask attacher",
                "Filter/Metadata/Video",
                "Puts the label mask that is in force onto each frame",
                "The videointerpolate authors",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let masks = gst_video::VideoCapsBuilder::new()
                .format(gst_video::VideoFormat::Gray8)
                .build();
            caps::aggregator_pads(&caps::template(), (MASKS, &masks))
        });
        &TEMPLATES
    }
}

impl AggregatorImpl for VideoMaskAttach {
    fn create_new_pad(
        &self,
        template: &gst::PadTemplate,
        _name: Option<&str>,
        _caps: Option<&gst::Caps>,
    ) -> Option<AggregatorPad> {
        let new = template.name_template() == MASKS && self.pad(MASKS).is_none();
        new.then(|| {
            gst::PadBuilder::<AggregatorPad>::from_template(template)
                .name(MASKS)
                .build()
        })
    }

    fn aggregate(&self, late: bool) -> Result<gst::FlowSuccess, gst::FlowError> {
        let frames = self.pad(FRAMES).ok_or(gst::FlowError::Error)?;
        let Some(frame) = frames.peek_buffer() else {
            return Err(match frames.is_eos() {
                true => gst::FlowError::Eos,
                false => AGGREGATOR_FLOW_NEED_DATA,
            });
        };
        if is_gap(&frame) {
            drop(frame);
            return self.pass_gap(&frames);
        }
        let time = running_time(&frames, &frame);
        let segment = frames.segment();
        let backwards = segment.downcast_ref::<gst::ClockTime>();
        let backwards = backwards.is_some_and(|segment| segment.rate() < 0.0);
        if let Known::NotYet = self.masks_until((time, backwards), late)? {
            return Err(AGGREGATOR_FLOW_NEED_DATA);
        }
        // what was looked at is another reference
        drop(frame);
        let Some(mut frame) = frames.pop_buffer() else {
            return Err(AGGREGATOR_FLOW_NEED_DATA);
        };
        let end = end_of(&frame);
        let mask = self.state().mask.clone();
        if let Some(mask) = mask
            && mask.attach(frame.make_mut()).is_err()
        {
            gst::warning!(gst::CAT_RUST, imp = self, "a mask could not be attached");
        }
        if let Some(end) = end {
            self.obj().set_position(end);
        }
        self.state().flows = true;
        self.finish_buffer(frame)
    }

    fn next_time(&self) -> Option<gst::ClockTime> {
        self.obj().simple_get_next_time()
    }

    fn flush(&self) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut state = self.state();
        state.mask = None;
        state.flows = false;
        drop(state);
        self.parent_flush()
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *self.state() = State::default();
        self.parent_stop()
    }

    /// The caps of the frames are those of the output.
    fn negotiate(&self) -> bool {
        true
    }

    fn sink_event(&self, pad: &AggregatorPad, event: gst::Event) -> bool {
        let fits = match pad.name() == MASKS {
            true => self.on_masks_event(&event),
            false => self.on_frames_event(&event),
        };
        fits && self.parent_sink_event(pad, event)
    }

    /// For frames the element is not there: what they may be and where they lie is downstream's business.
    fn sink_query(&self, pad: &AggregatorPad, query: &mut gst::QueryRef) -> bool {
        use gst::QueryType::{Allocation, Caps};
        let passed_on = matches!(query.type_(), Allocation | Caps);
        if passed_on && pad.name() == FRAMES && self.obj().src_pad().peer_query(query) {
            return true;
        }
        self.parent_sink_query(pad, query)
    }

    fn src_query(&self, query: &mut gst::QueryRef) -> bool {
        use gst::QueryType::{Caps, Duration, Position};
        let passed_on = matches!(query.type_(), Caps | Duration | Position);
        match self.pad(FRAMES).filter(|_| passed_on) {
            Some(frames) => frames.peer_query(query),
            None => self.parent_src_query(query),
        }
    }
}
