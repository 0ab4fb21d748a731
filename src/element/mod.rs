//! All that knows GStreamer.
/**
 * SECTION:element-videointerpolate
 * @title: videointerpolate
 * @see_also: videorate
 *
 * Raises the frame rate of video: the frames between two frames are made by a neural network that
 * is part of the plugin. Frames that coincide with the output's times pass untouched.
 *
 * The output rate is what downstream asks for; where downstream leaves it open it is
 * #GstVideoInterpolate:framerate if that is set, and otherwise the input's rate times
 * #GstVideoInterpolate:multiplier. At equal rates the element passes buffers through.
 *
 * Inference runs in the thread that brings the buffers. In a player that is the decoder's thread,
 * so a queue before the element keeps both at work: `queue ! videointerpolate`.
 *
 * #GstVideoInterpolate:quality is the size of the network. `auto` begins with `balanced` and keeps
 * to it where nothing goes against a clock, or with `qos=false`. Where upstream is live, or
 * downstream sends QOS events, it takes the size that the machine can run in time, and posts an
 * element message on each change, a structure `videointerpolate-quality` with
 *
 * * `previous` and `quality` (string): the sizes, "fast", "balanced" or "high",
 * * `reason` (string): "measured" or, where QOS events told of lateness, "late",
 * * `load` (double): the time that making frames took, over the time that the outputs lasted.
 *
 * With #GstVideoInterpolate:motion `trajectory`, things go between two frames as the frames before and
 * after tell; the element then waits for one more frame, as its answer to the LATENCY query says.
 *
 * With #GstVideoInterpolate:coherence `auto`, motion that contradicts itself in much of a picture is trusted accordingly and
 * estimated again; that of the built-in network on the CPU.
 *
 * With #GstVideoInterpolate:latency-mode `zero` nothing is waited for: outputs that are due before the next frame are
 * predicted from the two before, and leave with the last of them. When the next frame shows that they were wrong, what
 * is shown of it begins where they were and gets right within as many outputs, so that nothing jumps; a frame that was predicted well is shown untouched. In
 * reverse playback it is as with `frame`.
 *
 * #GstVideoInterpolate:show replaces the frames that are made by what the network thinks of them:
 * motion, confidence, mask and coherence as pictures, or the input's rate beside the output's.
 *
 * #GstVideoInterpolate:curves shows objects elsewhere between two frames than even motion has them: a curve of distance over time for
 * each label of the masks that #videomaskattach has put on the frames.
 *
 * In a build with CUDA, where GStreamer's library for the memory of NVIDIA cards is installed, both pads take pictures that lie there
 * (`memory:CUDAMemory`), and those that are made by the built-in network on a card stay there.
 *
 * Interlaced video is refused at another rate; put `deinterlace` before the element.
 *
 * ## Example launch lines
 *
 * |[
 * gst-launch-1.0 videotestsrc pattern=ball ! video/x-raw,framerate=15/1 ! videointerpolate ! video/x-raw,framerate=60/1 ! videoconvert ! autovideosink
 * ]| A moving ball, from 15 to 60 frames a second.
 *
 * |[
 * gst-launch-1.0 playbin uri=file:///movie.mp4 video-filter="queue ! videointerpolate"
 * ]| Plays a film at twice its rate.
 *
 * |[
 * gst-launch-1.0 filesrc location=movie.mp4 ! decodebin ! videoconvert ! videointerpolate framerate=60/1 ! x264enc ! mp4mux ! filesink location=smooth.mp4
 * ]| Converts a film to 60 frames a second, without its sound.
 *
 * Since: 0.1.0
 */
use gst::glib;
use gst::prelude::*;

mod allocation;
mod between;
mod bridge;
mod caps;
mod cuda_memory;
mod economy;
mod engine;
mod events;
mod imp;
mod keyframes;
mod label_mask;
mod late;
mod latency;
mod locked_memory;
mod mask_attach;
mod meta;
mod model;
mod predict;
mod properties;
mod qos;
mod retime;
mod show;
mod state;
mod stats;
mod streaming;
mod there;
mod tiers;

pub use keyframes::VideoKeyframes;
pub use mask_attach::VideoMaskAttach;
pub use properties::{DuplicateMode, LatencyMode, Motion, Quality, SceneAction, Show};

glib::wrapper! {
    /// The element `videointerpolate`.
    pub struct VideoInterpolate(ObjectSubclass<imp::VideoInterpolate>)
        @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Registers the elements with a plugin, or with the process if there is none.
///
/// # Errors
/// GStreamer refuses, for example because the name is taken by another type.
pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    #[cfg(feature = "doc")]
    for type_ in [
        Quality::static_type(),
        SceneAction::static_type(),
        Show::static_type(),
        DuplicateMode::static_type(),
        Motion::static_type(),
        LatencyMode::static_type(),
    ] {
        type_.mark_as_plugin_api(gst::PluginAPIFlags::empty());
    }
    if let Some(plugin) = plugin {
        cuda_memory::depend(plugin);
    }
    mask_attach::register(plugin)?;
    gst::Element::register(
        plugin,
        "videointerpolate",
        gst::Rank::NONE,
        VideoInterpolate::static_type(),
    )?;
    keyframes::register(plugin)
}
