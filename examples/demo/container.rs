//! Which muxer and encoders belong to a file's extension.

use std::path::Path;

use gst::prelude::*;

/// A kind of file that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    Mp4,
    Matroska,
    Webm,
}

/// Encoders in order of preference: element, package, launch line.
type Choice = &'static [(&'static str, &'static str, &'static str)];

/// With full colour few players and no browser shows it.
const H264: Choice = &[
    (
        "x264enc",
        "gstreamer1.0-plugins-ugly",
        "video/x-raw,format=(string){I420,I420_10LE} ! x264enc pass=qual quantizer=20 speed-preset=veryfast ! h264parse",
    ),
    (
        "openh264enc",
        "gstreamer1.0-plugins-bad",
        "openh264enc bitrate=12000000 ! h264parse",
    ),
];
/// Without look-ahead: at the end of a stream vp9enc of GStreamer 1.22 forgets what it holds.
const VP9: Choice = &[(
    "vp9enc",
    "gstreamer1.0-plugins-good",
    "vp9enc deadline=1 cpu-used=6 lag-in-frames=0 end-usage=cq cq-level=24 target-bitrate=12000000 \
     threads=8 row-mt=true",
)];
const AAC: Choice = &[
    (
        "avenc_aac",
        "gstreamer1.0-libav",
        "avenc_aac bitrate=160000 ! aacparse",
    ),
    (
        "voaacenc",
        "gstreamer1.0-plugins-bad",
        "voaacenc bitrate=160000 ! aacparse",
    ),
];
const OPUS: Choice = &[(
    "opusenc",
    "gstreamer1.0-plugins-base",
    "opusenc bitrate=128000",
)];

impl Container {
    /// By the file's extension.
    pub fn of(path: &Path) -> Result<Self, String> {
        let extension = path.extension().map(|e| e.to_ascii_lowercase());
        match extension.as_ref().and_then(|e| e.to_str()) {
            Some("mp4" | "m4v") => Ok(Self::Mp4),
            Some("mkv") => Ok(Self::Matroska),
            Some("webm") => Ok(Self::Webm),
            _ => Err(format!(
                "OUT={}: the name must end in .mp4, .mkv or .webm",
                path.display()
            )),
        }
    }

    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Matroska => "mkv",
            Self::Webm => "webm",
        }
    }

    /// A new muxer.
    pub fn muxer(self) -> Result<gst::Element, String> {
        let name = match self {
            Self::Mp4 => "mp4mux",
            Self::Matroska => "matroskamux",
            Self::Webm => "webmmux",
        };
        element(name, "gstreamer1.0-plugins-good")
    }

    /// Launch line from raw video to what the muxer takes.
    pub fn video_encoder(self) -> Result<&'static str, String> {
        choose(match self {
            Self::Webm => VP9,
            _ => H264,
        })
    }

    /// Launch line from raw sound to what the muxer takes.
    pub fn audio_encoder(self) -> Result<&'static str, String> {
        choose(match self {
            Self::Mp4 => AAC,
            _ => OPUS,
        })
    }
}

/// Makes an element, or tells which package has it.
pub fn element(name: &str, package: &str) -> Result<gst::Element, String> {
    gst::ElementFactory::make(name)
        .build()
        .map_err(|_| missing(name, package))
}

fn choose(choice: Choice) -> Result<&'static str, String> {
    let found = choice
        .iter()
        .find(|(name, ..)| gst::ElementFactory::find(name).is_some());
    let (name, package, _) = choice[0];
    found
        .map(|(_, _, line)| *line)
        .ok_or_else(|| missing(name, package))
}

fn missing(name: &str, package: &str) -> String {
    format!("GStreamer's element {name} is missing: install the package {package}")
}

/// The muxer's pad that takes these caps, if it has one.
pub fn muxer_pad(muxer: &gst::Element, caps: &gst::Caps) -> Option<gst::Pad> {
    let template = muxer.pad_template_list().into_iter().find(|template| {
        template.direction() == gst::PadDirection::Sink && template.caps().can_intersect(caps)
    })?;
    muxer.request_pad(&template, None, None)
}
