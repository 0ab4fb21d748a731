//! The element `videokeyframes`.
/**
 * SECTION:element-videokeyframes
 * @title: videokeyframes
 * @see_also: videointerpolate
 *
 * Brings a whole video into the look of some of its frames. The video comes in at the pad `sink`; edited or styled versions of some
 * of its frames, of the same size and with the timestamps of these frames, at the pad `keyframe`. Each frame is made from
 * the keyframe before it and the one after it. One keyframe alone works, too.
 *
 * A frame waits for the keyframe after it while no more than #GstVideoKeyframes:lookahead frames do; with `lookahead=0` none waits,
 * and each is made from the keyframe before it, as a live pipeline wants. Frames without a keyframe before them or near after them
 * pass as they are, and so does everything where no pad `keyframe` was requested.
 *
 * A gap event of the video leaves after the frames before it. While these wait, it counts as the frames that are missing, and all of
 * them where its duration or the frame rate is unknown.
 *
 * Keyframes of another format are converted to the video's. One of another size ends the stream with an error; one that matches no
 * frame is left out, with a warning.
 *
 * #GstVideoKeyframes:stats has what was done, and how well the last frame moves as its source.
 *
 * ## Example launch line
 *
 * |[
 * gst-launch-1.0 videokeyframes name=k ! videoconvert ! autovideosink
 *   filesrc location=movie.mp4 ! decodebin ! videoconvert ! queue ! k.sink
 *   filesrc location=edited.png ! decodebin ! videoconvert ! k.keyframe
 * ]| Plays a film in the look of its first frame, which was saved and edited.
 *
 * Since: 0.1.0
 */
use gst::glib;
use gst::prelude::*;

mod gaps;
mod imp;
mod pads;
mod properties;

glib::wrapper! {
    /// The element `videokeyframes`.
    pub struct VideoKeyframes(ObjectSubclass<imp::VideoKeyframes>)
        @extends gst_base::Aggregator, gst::Element, gst::Object;
}

/// Registers the element, see [`super::register`].
pub(super) fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    gst::Element::register(
        plugin,
        "videokeyframes",
        gst::Rank::NONE,
        VideoKeyframes::static_type(),
    )
}
