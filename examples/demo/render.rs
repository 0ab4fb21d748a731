//! Writes the clip that is drawn by this project, with a tone for its sound.

use std::path::Path;

use gst::prelude::*;
use rayon::prelude::*;

use crate::common::clip::Clip;
use crate::container::{self, Container};
use crate::part;

/// Frames a second of the file.
pub const RATE: u32 = 30;

/// Renders and encodes; lengths in pixels and seconds.
pub fn write(
    path: &Path,
    container: Container,
    (width, height): (usize, usize),
    seconds: f32,
) -> Result<(), String> {
    let part = part(path);
    let pipeline = gst::Pipeline::new();
    let muxer = container.muxer()?;
    let sink = container::element("filesink", "libgstreamer1.0-0")?;
    sink.set_property("location", &part);
    let picture = bin(&format!(
        "appsrc name=video format=time block=true max-bytes=50000000 ! videoconvert ! {} ! queue",
        container.video_encoder()?
    ))?;
    let tone = bin(&format!(
        "audiotestsrc num-buffers={} samplesperbuffer=480 freq=440 volume=0.1 \
         ! audio/x-raw,rate=48000,channels=1 ! audioconvert ! audioresample ! {} ! queue",
        (seconds * 100.0) as u32,
        container.audio_encoder()?,
    ))?;
    let fail = |error: gst::glib::BoolError| error.to_string();
    pipeline
        .add_many([picture.upcast_ref(), tone.upcast_ref(), &muxer, &sink])
        .map_err(fail)?;
    gst::Element::link_many([picture.upcast_ref(), &muxer, &sink]).map_err(fail)?;
    tone.link(&muxer).map_err(fail)?;

    let source = picture
        .by_name("video")
        .and_downcast::<gst_app::AppSrc>()
        .ok_or("no appsrc")?;
    let caps = format!(
        "video/x-raw,format=I420,width={width},height={height},framerate={RATE}/1,\
         pixel-aspect-ratio=1/1,interlace-mode=progressive,colorimetry=bt709"
    );
    source.set_caps(Some(&caps.parse().map_err(fail)?));

    let result = feed(&pipeline, &source, (width, height), seconds);
    let _ = pipeline.set_state(gst::State::Null);
    result?;
    std::fs::rename(&part, path).map_err(|error| format!("{}: {error}", path.display()))
}

fn bin(line: &str) -> Result<gst::Bin, String> {
    gst::parse::bin_from_description(line, true).map_err(|error| error.to_string())
}

fn feed(
    pipeline: &gst::Pipeline,
    source: &gst_app::AppSrc,
    (width, height): (usize, usize),
    seconds: f32,
) -> Result<(), String> {
    let _ = pipeline.set_state(gst::State::Playing);
    let clip = Clip::new(width, height);
    let count = (seconds * RATE as f32) as u32;
    let second = gst::ClockTime::SECOND.nseconds();
    let stamp = |n: u32| u64::from(n) * second / u64::from(RATE);
    let numbers: Vec<u32> = (0..count).collect();
    for some in numbers.chunks(8) {
        let frames: Vec<_> = some
            .par_iter()
            .map(|&n| clip.at(n as f32 / RATE as f32))
            .collect();
        for (&n, frame) in some.iter().zip(frames) {
            let mut buffer = gst::Buffer::from_mut_slice(frame.data);
            let buffer_ref = buffer.get_mut().ok_or("a buffer of our own is shared")?;
            buffer_ref.set_pts(gst::ClockTime::from_nseconds(stamp(n)));
            buffer_ref.set_duration(gst::ClockTime::from_nseconds(stamp(n + 1) - stamp(n)));
            if source.push_buffer(buffer).is_err() {
                break;
            }
        }
    }
    let _ = source.end_of_stream();
    let bus = pipeline.bus().ok_or("no bus")?;
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    match bus
        .timed_pop_filtered(None, &ends)
        .as_deref()
        .map(gst::MessageRef::view)
    {
        Some(gst::MessageView::Error(error)) => Err(error.error().to_string()),
        _ => Ok(()),
    }
}
