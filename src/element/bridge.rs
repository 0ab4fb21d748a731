//! Where GStreamer's words and the engine's meet: buffer and picture, clock time and timestamp,
//! failure and message.

use std::fmt;

use gst::prelude::*;
use gst_video::prelude::*;

use super::caps::{self, FORMATS};
use super::cuda_memory;
use crate::curves::Problem;
use crate::error::Error;
use crate::picture::{Color, Format, Picture, PictureMut};
use crate::schedule::{FrameRate, Timestamp};

/// What ends the stream, or keeps it from beginning.
#[derive(Debug)]
pub enum Failure {
    Engine(Error),
    /// The network of this name or path cannot be used.
    Model {
        model: String,
        problem: String,
    },
    /// The device does not exist or is not supported.
    Device(String),
    /// It has too little memory.
    DeviceMemory(String),
    /// A buffer does not hold the picture that the caps promise.
    Buffer(String),
    /// A segment that is not in time.
    Segment(gst::Format),
    /// The property `curves` cannot be read.
    Curves(Problem),
    /// Frames that are not whole pictures cannot be given another rate.
    NotProgressive(String),
    /// Keyframes that do not fit the video, or either is of no kind that can be used.
    Keyframes(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Device { .. } => Failure::Device(error.to_string()),
            Error::DeviceMemory { .. } => Failure::DeviceMemory(error.to_string()),
            _ => Failure::Engine(error),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Failure::Engine(error) => write!(f, "interpolation failed: {error}"),
            Failure::Model { model, problem } => write!(
                f,
                "model {model} cannot be used: {problem}; set the property model to the path of a checkpoint that can be run, or leave it empty for the built-in network"
            ),
            Failure::Device(problem)
            | Failure::DeviceMemory(problem)
            | Failure::Buffer(problem)
            | Failure::Keyframes(problem) => f.write_str(problem),
            Failure::Curves(problem) => write!(f, "{problem}"),
            Failure::Segment(format) => write!(
                f,
                "a segment in {format:?} has no times to interpolate at; put an element that makes timestamps before this one"
            ),
            Failure::NotProgressive(caps) => write!(
                f,
                "only progressive, single-view video can be given another frame rate; put deinterlace before this element, or let it keep the rate (caps {caps})"
            ),
        }
    }
}

/// Posts the failure as an error of the element.
pub fn post(element: &impl IsA<gst::Element>, failure: &Failure) {
    let text = failure.to_string();
    match failure {
        Failure::Engine(_) => gst::element_error!(element, gst::StreamError::Failed, ("{text}")),
        Failure::Model { .. } => {
            gst::element_error!(element, gst::ResourceError::OpenRead, ("{text}"));
        }
        Failure::Device(_) | Failure::DeviceMemory(_) | Failure::Curves(_) => {
            gst::element_error!(element, gst::ResourceError::Settings, ("{text}"))
        }
        Failure::Buffer(_) | Failure::Segment(_) | Failure::Keyframes(_) => {
            gst::element_error!(element, gst::StreamError::Format, ("{text}"));
        }
        Failure::NotProgressive(_) => {
            gst::element_error!(element, gst::CoreError::Negotiation, ("{text}"));
        }
    }
}

/// What is negotiated: the pictures, both rates, and whether anything is to be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    pub caps: gst::Caps,
    pub info: gst_video::VideoInfo,
    pub format: Format,
    pub color: Color,
    pub rate_in: gst::Fraction,
    pub rate_out: gst::Fraction,
    pub passthrough: bool,
}

/// Why caps cannot be used.
pub enum Refused {
    /// There is no rate to count from.
    NoFramerate,
    UnknownFormat,
    NotProgressive,
}

/// The time between two frames; none for 0/1, a variable rate.
fn interval(rate: gst::Fraction) -> Option<gst::ClockTime> {
    let num = u64::try_from(rate.numer()).ok().filter(|num| *num > 0)?;
    gst::ClockTime::SECOND.mul_div_floor(u64::try_from(rate.denom()).ok()?, num)
}

impl Stream {
    /// The stream that these fixed caps describe.
    pub fn new(
        incaps: &gst::Caps,
        info: &gst_video::VideoInfo,
        outcaps: &gst::Caps,
    ) -> Result<Self, Refused> {
        let rate = |caps: &gst::Caps| {
            caps.structure(0)
                .and_then(|s| s.get::<gst::Fraction>("framerate").ok())
                .ok_or(Refused::NoFramerate)
        };
        let (rate_in, rate_out) = (rate(incaps)?, rate(outcaps)?);
        let passthrough = rate_in == rate_out || rate_out.numer() <= 0;
        if !passthrough && incaps.structure(0).is_some_and(caps::passthrough_only) {
            return Err(Refused::NotProgressive);
        }
        Ok(Stream {
            format: engine_format(info.format()).ok_or(Refused::UnknownFormat)?,
            color: color(info),
            info: info.clone(),
            caps: incaps.clone(),
            rate_in,
            rate_out,
            passthrough,
        })
    }

    /// Whether the pictures lie in a card's memory; both pads have the same.
    pub fn is_on_card(&self) -> bool {
        cuda_memory::has(&self.caps)
    }

    /// The output rate; meaningless in passthrough.
    pub fn rate(&self) -> FrameRate {
        FrameRate {
            num: self.rate_out.numer().unsigned_abs().max(1),
            den: self.rate_out.denom().unsigned_abs().max(1),
        }
    }

    /// The nominal duration of an input frame, if the input has a fixed rate.
    pub fn input_duration(&self) -> Option<gst::ClockTime> {
        interval(self.rate_in)
    }

    /// The duration of an output frame, if the output has a fixed rate.
    pub fn output_duration(&self) -> Option<gst::ClockTime> {
        interval(self.rate_out)
    }

    /// How many outputs an input has, if that is a whole number.
    pub fn whole_multiple(&self) -> Option<u32> {
        let inverse = gst::Fraction::new_raw(self.rate_in.denom(), self.rate_in.numer());
        if self.rate_in.numer() <= 0 {
            return None;
        }
        let ratio = caps::multiplied(self.rate_out, inverse)?;
        (ratio.denom() == 1).then_some(ratio.numer().unsigned_abs())
    }
}

/// The engine's name of a format, if it knows it.
fn engine_format(format: gst_video::VideoFormat) -> Option<Format> {
    FORMATS.iter().find(|(f, _)| *f == format).map(|(_, e)| *e)
}

/// The colour description; where the caps leave the matrix open, that of the size.
fn color(info: &gst_video::VideoInfo) -> Color {
    let colorimetry = info.colorimetry();
    let fallback = if info.height() > 576 {
        Color::BT709
    } else {
        Color::BT601
    };
    let (kr, kb) = colorimetry
        .matrix()
        .kr_kb()
        .map_or((fallback.kr, fallback.kb), |(kr, kb)| {
            (kr as f32, kb as f32)
        });
    Color {
        kr,
        kb,
        full_range: colorimetry.range() == gst_video::VideoColorRange::Range0_255,
    }
}

/// Whether a buffer stands for a GAP event, as aggregating elements are given one.
pub fn is_gap(buffer: &gst::BufferRef) -> bool {
    buffer.flags().contains(gst::BufferFlags::GAP) && buffer.size() == 0
}

/// When a buffer ends; where it begins, if nobody knows how long it lasts. `None`: it has no timestamp.
pub fn end_of(buffer: &gst::BufferRef) -> Option<gst::ClockTime> {
    buffer
        .pts()?
        .checked_add(buffer.duration().unwrap_or_default())
}

/// The GAP event that a buffer stands for; `None`: it has no timestamp.
pub fn gap_event(buffer: &gst::BufferRef) -> Option<gst::Event> {
    let event = gst::event::Gap::builder(buffer.pts()?);
    Some(event.duration(buffer.duration()).build())
}

pub fn timestamp(time: Option<gst::ClockTime>) -> Option<Timestamp> {
    time.map(|t| Timestamp(t.nseconds()))
}

pub fn clock_time(timestamp: Timestamp) -> gst::ClockTime {
    gst::ClockTime::from_nseconds(timestamp.0)
}

/// Where the planes of a buffer lie: bytes from its start, and from row to row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    offset: Vec<usize>,
    stride: Vec<i32>,
}

/// The layout of a buffer's planes, from its meta or else from the caps.
///
/// # Errors
/// The buffer is too small for the picture, or its meta says something else than the caps.
pub fn layout(buffer: &gst::BufferRef, stream: &Stream) -> Result<Layout, Failure> {
    let info = &stream.info;
    let layout = match buffer.meta::<gst_video::VideoMeta>() {
        Some(meta) => {
            let found = (meta.format(), meta.width(), meta.height());
            if found.0 != info.format() || found.1 < info.width() || found.2 < info.height() {
                return Err(Failure::Buffer(format!(
                    "a buffer holds a {} picture of {}x{}, but the caps say {} of {}x{}",
                    found.0,
                    found.1,
                    found.2,
                    info.format(),
                    info.width(),
                    info.height()
                )));
            }
            Layout {
                offset: meta.offset().to_vec(),
                stride: meta.stride().to_vec(),
            }
        }
        None => default_layout(info),
    };
    for plane in 0..stream.format.planes() {
        let rows = stream.format.rows(plane, info.height());
        let bytes = stream.format.row_bytes(plane, info.width());
        let (Some(&offset), Some(&stride)) = (layout.offset.get(plane), layout.stride.get(plane))
        else {
            return Err(Failure::Buffer(format!("a buffer lacks plane {plane}")));
        };
        let end = usize::try_from(stride)
            .ok()
            .filter(|stride| *stride >= bytes)
            .and_then(|stride| stride.checked_mul(rows.saturating_sub(1)))
            .and_then(|n| n.checked_add(bytes)?.checked_add(offset));
        if end.is_none_or(|end| end > buffer.size()) {
            return Err(Failure::Buffer(format!(
                "a buffer of {} bytes does not hold a {} picture of {}x{} (plane {plane}: offset {offset}, stride {stride}, {rows} rows); the caps need {} bytes",
                buffer.size(),
                info.format(),
                info.width(),
                info.height(),
                info.size()
            )));
        }
    }
    Ok(layout)
}

impl Layout {
    /// Of each plane of the format where it begins, and bytes from a row to the next; those of [`layout`] are all within the buffer.
    #[cfg(feature = "cuda")]
    pub fn planes(&self, format: Format) -> impl Iterator<Item = (usize, usize)> {
        let planes = self.offset.iter().zip(&self.stride);
        let planes = planes.map(|(offset, stride)| (*offset, *stride as usize));
        planes.take(format.planes())
    }

    /// Whether the planes of the format lie at the same places.
    pub fn has_planes_of(&self, other: &Layout, stream: &Stream) -> bool {
        let n = stream.format.planes();
        self.offset.get(..n) == other.offset.get(..n)
            && self.stride.get(..n) == other.stride.get(..n)
    }
}

/// The layout that the caps alone say.
pub fn default_layout(info: &gst_video::VideoInfo) -> Layout {
    Layout {
        offset: info.offset().to_vec(),
        stride: info.stride().to_vec(),
    }
}

/// A buffer mapped to be read.
///
/// Each plane is found in its own memory, because a buffer of several memories would be copied
/// if it were mapped as a whole, and because a crop by offsets leaves the last row without its
/// padding.
pub struct Mapped<'a> {
    stream: &'a Stream,
    memories: Vec<gst::memory::MemoryMap<'a, gst::memory::Readable>>,
    /// Of each plane: its memory and the first byte there.
    planes: Vec<(usize, usize)>,
    strides: Vec<i32>,
}

impl<'a> Mapped<'a> {
    pub fn new(buffer: &'a gst::BufferRef, stream: &'a Stream) -> Result<Self, Failure> {
        let layout = layout(buffer, stream)?;
        let unreadable = || Failure::Buffer("the memory of a buffer cannot be read".into());
        let memories = (0..buffer.n_memory())
            .map(|i| {
                buffer
                    .peek_memory(i)
                    .map_readable()
                    .map_err(|_| unreadable())
            })
            .collect::<Result<_, _>>()?;
        let planes = layout.offset[..stream.format.planes()]
            .iter()
            .map(|&offset| {
                buffer
                    .find_memory(offset..offset + 1)
                    .map(|(range, skip)| (range.start, skip))
                    .ok_or_else(unreadable)
            })
            .collect::<Result<_, _>>()?;
        Ok(Mapped {
            stream,
            memories,
            planes,
            strides: layout.stride,
        })
    }

    pub fn picture(&self) -> Result<Picture<'_>, Failure> {
        let mut planes = [(&[][..], 0isize); 4];
        for (i, (memory, skip)) in self.planes.iter().enumerate() {
            planes[i] = (&self.memories[*memory][*skip..], self.strides[i] as isize);
        }
        let Stream { format, info, .. } = self.stream;
        Ok(Picture::new(
            *format,
            info.width(),
            info.height(),
            self.stream.color,
            &planes[..self.planes.len()],
        )?)
    }
}

/// Lets `write` fill a buffer of our own pool.
pub fn with_picture_mut<T>(
    buffer: &mut gst::BufferRef,
    stream: &Stream,
    write: impl FnOnce(&mut PictureMut) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut frame = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, &stream.info)
        .map_err(|_| Failure::Buffer("an output buffer cannot be written".into()))?;
    let strides: Vec<isize> = frame.plane_stride().iter().map(|s| *s as isize).collect();
    let count = frame.n_planes() as usize;
    let mut planes = frame
        .planes_data_mut()
        .into_iter()
        .zip(strides)
        .collect::<Vec<_>>();
    let mut picture = PictureMut::new(
        stream.format,
        stream.info.width(),
        stream.info.height(),
        &mut planes[..count],
    )?;
    write(&mut picture)
}

/// The element's log category.
pub fn category() -> gst::DebugCategory {
    static CAT: std::sync::LazyLock<gst::DebugCategory> = std::sync::LazyLock::new(|| {
        gst::DebugCategory::new(
            "videointerpolate",
            gst::DebugColorFlags::empty(),
            Some("Raises the frame rate of video"),
        )
    });
    *CAT
}
