//! Reads the video of any file that GStreamer can decode, as 8-bit 4:2:0 pictures.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use gst::prelude::*;
use gst_video::prelude::*;

use super::frame::{BT601, BT709, Frame};
use super::program::{PATIENCE, STUCK};

const NO_VIDEO: &str = "there is no video in it";

/// What all pictures of a file share.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Frames a second; 0 where the file does not say.
    pub rate: gst::Fraction,
    /// Luma weights of red and blue.
    pub matrix: (f32, f32),
    /// In the file they lie on a side or upside down.
    pub turned: bool,
}

/// Hands each picture, the way up that it is to be seen, to `each` until it answers `false` or the file ends.
pub fn for_each(
    path: &Path,
    mut each: impl FnMut(Frame, &Description) -> bool,
) -> Result<(), String> {
    let name = path.display();
    std::fs::File::open(path).map_err(|error| format!("{name}: {error}"))?;
    let line = "filesrc name=source ! decodebin name=decoder ! videoconvert \
                ! videoflip video-direction=auto ! video/x-raw,format=I420 \
                ! appsink name=sink sync=false max-buffers=4";
    let pipeline = gst::parse::launch(line).map_err(|error| error.to_string())?;
    let pipeline = pipeline
        .downcast::<gst::Pipeline>()
        .map_err(|_| "not a pipeline".to_string())?;
    let find = |child| pipeline.by_name(child).ok_or("a child is missing");
    find("source")?.set_property("location", path);
    let all_found = Arc::new(AtomicBool::new(false));
    let found = all_found.clone();
    let decoder = find("decoder")?;
    decoder.connect_no_more_pads(move |_| found.store(true, Relaxed));
    let sink = find("sink")?
        .downcast::<gst_app::AppSink>()
        .map_err(|_| "not an appsink".to_string())?;

    let result = pull(&pipeline, &sink, |frame, mut description| {
        description.turned = decoder.src_pads().iter().any(is_turned);
        each(frame, &description)
    });
    // what a demuxer says of streams that nobody takes is less clear
    let has_video = sink.sink_pads().iter().any(gst::Pad::has_current_caps);
    let result = match !has_video && (all_found.load(Relaxed) || result.is_ok()) {
        true => Err(NO_VIDEO.into()),
        false => result,
    };
    let _ = pipeline.set_state(gst::State::Null);
    result.map_err(|error| format!("{name}: {error}"))
}

fn pull(
    pipeline: &gst::Pipeline,
    sink: &gst_app::AppSink,
    mut each: impl FnMut(Frame, Description) -> bool,
) -> Result<(), String> {
    let bus = pipeline.bus().ok_or("no bus")?;
    let _ = pipeline.set_state(gst::State::Playing);
    let mut last = Instant::now();
    loop {
        if let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_mseconds(200)) {
            let (frame, description) = picture(&sample)?;
            if !each(frame, description) {
                return Ok(());
            }
            last = Instant::now();
            continue;
        }
        if let Some(message) = bus.pop_filtered(&[gst::MessageType::Error])
            && let gst::MessageView::Error(error) = message.view()
        {
            return Err(error.error().to_string());
        }
        if sink.is_eos() {
            return Ok(());
        }
        if last.elapsed() > PATIENCE {
            return Err(STUCK.into());
        }
    }
}

/// Whether the tags of a pad's stream say that its pictures are to be turned.
fn is_turned(pad: &gst::Pad) -> bool {
    let mut turned = false;
    pad.sticky_events_foreach(|event| {
        if let gst::EventView::Tag(tags) = event.view() {
            let tag = tags.tag().get::<gst::tags::ImageOrientation>();
            turned |= tag.is_some_and(|tag| tag.get() != "rotate-0");
        }
        ControlFlow::Continue(gst::EventForeachAction::Keep)
    });
    turned
}

fn picture(sample: &gst::Sample) -> Result<(Frame, Description), String> {
    let caps = sample.caps().ok_or("a sample without caps")?;
    let info = gst_video::VideoInfo::from_caps(caps).map_err(|error| error.to_string())?;
    let buffer = sample.buffer().ok_or("a sample without a buffer")?;
    let video = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info)
        .map_err(|error| error.to_string())?;
    let mut frame = Frame::new(info.width() as usize, info.height() as usize);
    let sizes = [0, 1, 2].map(|plane| frame.plane_size(plane));
    for (plane, target) in frame.planes_mut().into_iter().enumerate() {
        let source = video
            .plane_data(plane as u32)
            .map_err(|error| error.to_string())?;
        let stride = video.plane_stride()[plane] as usize;
        for (to, from) in target
            .chunks_exact_mut(sizes[plane].0)
            .zip(source.chunks(stride))
        {
            to.copy_from_slice(&from[..to.len()]);
        }
    }
    let matrix = match info.colorimetry().matrix() {
        gst_video::VideoColorMatrix::Bt709 => BT709,
        _ => BT601,
    };
    let rate = info.fps();
    let description = Description {
        rate,
        matrix,
        turned: false,
    };
    Ok((frame, description))
}
