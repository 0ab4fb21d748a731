//! The element `videomaskattach`.
/**
 * SECTION:element-videomaskattach
 * @title: videomaskattach
 * @see_also: videointerpolate, cccombiner
 *
 * Puts the mask that is in force onto each frame, as a custom meta `GstVideoLabelMask`. A mask is a GRAY8 picture of any size that
 * covers the whole frame; its codes are labels. It is in force from its running time on until the next one, or until a GAP
 * event says that there is none. Frames pass otherwise untouched; without anything at the pad `mask` they pass as they are.
 *
 * Before a frame is sent it must be known that no later mask belongs to it, so the frames wait for the next mask, or for
 * the mask stream's end. Where both come from one source a queue before each pad holds what waits. With a live source
 * nothing waits longer than the pipeline's latency: then the mask before is still in force.
 *
 * ## Example launch line
 *
 * |[
 * gst-launch-1.0 videotestsrc pattern=ball ! queue ! videomaskattach name=attach ! videointerpolate curves="255: cubic 0.5,0.15" ! videoconvert ! autovideosink videotestsrc pattern=ball ! video/x-raw,format=GRAY8 ! queue ! attach.mask
 * ]| The white ball, which is its own mask, eases in between two frames.
 *
 * Since: 0.1.0
 */
use gst::glib;
use gst::prelude::*;

use super::label_mask;

mod imp;

glib::wrapper! {
    /// The element `videomaskattach`.
    pub struct VideoMaskAttach(ObjectSubclass<imp::VideoMaskAttach>)
        @extends gst_base::Aggregator, gst::Element, gst::Object;
}

/// Registers the element with a plugin, or with the process if there is none.
///
/// # Errors
/// GStreamer refuses, for example because the name is taken by another type.
pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    label_mask::register();
    gst::Element::register(
        plugin,
        "videomaskattach",
        gst::Rank::NONE,
        VideoMaskAttach::static_type(),
    )
}
