//! A stream through the element: what goes in, and in what order things come out.

use std::sync::{Arc, Mutex};

use gst::prelude::*;
use gst_check::Harness;

use super::support::init;
pub use super::support::{MS, SECOND, watched};

/// An output as it reached the pad behind the element.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Nanoseconds.
    pub pts: u64,
    /// Nanoseconds.
    pub duration: u64,
    pub offset: u64,
    pub offset_end: u64,
    pub flags: gst::BufferFlags,
    /// All bytes, from a grey picture without padding.
    pub bytes: Vec<u8>,
    /// Width and height of the latest CAPS.
    pub size: (u32, u32),
}

#[derive(Debug, Clone)]
pub enum Item {
    Frame(Frame),
    Event(gst::Event),
}

/// The grey of source frame `i`: close enough to its neighbours to be no cut.
pub fn grey(i: usize) -> u8 {
    100 + 2 * (i % 8) as u8
}

/// Bytes of a grey picture of a width and a height, its rows padded.
pub fn picture_size((width, height): (u32, u32)) -> usize {
    gst_video::VideoInfo::builder(gst_video::VideoFormat::Gray8, width, height)
        .build()
        .expect("a picture")
        .size()
}

pub struct Stream {
    pub harness: Harness,
    pub element: gst::Element,
    pub bus: gst::Bus,
    items: Arc<Mutex<Vec<Item>>>,
    size: (u32, u32),
    frames: usize,
}

impl Stream {
    /// The element between two pads, `framerate` set to `output`; nothing sent yet.
    pub fn bare(output: (i32, i32)) -> Self {
        init();
        let element = gst::ElementFactory::make("videointerpolate")
            .property("framerate", gst::Fraction::new(output.0, output.1))
            .build()
            .expect("the element");
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
        harness.set_drop_buffers(true);
        let items = Arc::new(Mutex::new(Vec::new()));
        record(&harness.sinkpad().expect("a pad behind"), &items);
        Self {
            harness,
            element,
            bus,
            items,
            size: (0, 0),
            frames: 0,
        }
    }

    /// Grey pictures of 16x16 at `input` frames a second in a segment from 0.
    pub fn new(input: (i32, i32), output: (i32, i32)) -> Self {
        Self::in_segment(input, output, &segment(0, None))
    }

    pub fn in_segment(
        input: (i32, i32),
        output: (i32, i32),
        segment: &gst::FormattedSegment<gst::ClockTime>,
    ) -> Self {
        let mut stream = Self::bare(output);
        stream.caps(16, 16, input);
        assert!(stream.event(gst::event::Segment::new(segment)));
        stream
    }

    /// New caps, grey.
    pub fn caps(&mut self, width: u32, height: u32, rate: (i32, i32)) {
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", "GRAY8")
            .field("width", width as i32)
            .field("height", height as i32)
            .field("framerate", gst::Fraction::new(rate.0, rate.1))
            .build();
        assert!(self.event(gst::event::Caps::new(&caps)));
        self.size = (width, height);
    }

    pub fn event(&mut self, event: gst::Event) -> bool {
        self.harness.push_event(event)
    }

    pub fn segment(&mut self, segment: &gst::FormattedSegment<gst::ClockTime>) -> bool {
        self.event(gst::event::Segment::new(segment))
    }

    /// The end; how many outputs there are by now.
    pub fn eos(&mut self) -> usize {
        assert!(self.event(gst::event::Eos::new()));
        self.count()
    }

    /// A frame at `pts` nanoseconds without duration; how many outputs there are by now.
    pub fn push(&mut self, pts: u64) -> usize {
        self.push_with(Some(pts), None, gst::BufferFlags::empty())
            .expect("the frame is taken");
        self.count()
    }

    pub fn push_all(&mut self, times: impl IntoIterator<Item = u64>) -> Vec<usize> {
        times.into_iter().map(|pts| self.push(pts)).collect()
    }

    pub fn push_with(
        &mut self,
        pts: Option<u64>,
        duration: Option<u64>,
        flags: gst::BufferFlags,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let size = picture_size(self.size);
        let grey = grey(self.frames);
        self.frames += 1;
        let mut buffer = gst::Buffer::from_mut_slice(vec![grey; size]);
        let fresh = buffer.get_mut().expect("a new buffer");
        fresh.set_pts(pts.map(gst::ClockTime::from_nseconds));
        fresh.set_duration(duration.map(gst::ClockTime::from_nseconds));
        fresh.set_flags(flags);
        self.harness.push(buffer)
    }

    pub fn items(&self) -> Vec<Item> {
        self.items.lock().expect("the record").clone()
    }

    pub fn outputs(&self) -> Vec<Frame> {
        self.items()
            .into_iter()
            .filter_map(|item| match item {
                Item::Frame(frame) => Some(frame),
                Item::Event(_) => None,
            })
            .collect()
    }

    pub fn times(&self) -> Vec<u64> {
        self.outputs().iter().map(|frame| frame.pts).collect()
    }

    pub fn count(&self) -> usize {
        self.outputs().len()
    }

    pub fn counter(&self, name: &str) -> u64 {
        self.element.property(name)
    }

    /// Frames and events of one type, in order: "12" is an output's time in
    /// milliseconds, anything else the event's name.
    pub fn order(&self, type_: gst::EventType) -> Vec<String> {
        self.items()
            .iter()
            .filter_map(|item| match item {
                Item::Frame(frame) => Some((frame.pts / MS).to_string()),
                Item::Event(event) if event.type_() == type_ => Some(type_.name().to_string()),
                Item::Event(_) => None,
            })
            .collect()
    }

    pub fn segments(&self) -> Vec<gst::Event> {
        self.items()
            .into_iter()
            .filter_map(|item| match item {
                Item::Event(event) if event.type_() == gst::EventType::Segment => Some(event),
                _ => None,
            })
            .collect()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Messages on the bus hold the element.
        self.bus.set_flushing(true);
        self.element.set_bus(None);
    }
}

fn record(pad: &gst::Pad, items: &Arc<Mutex<Vec<Item>>>) {
    let items = items.clone();
    let mask = gst::PadProbeType::BUFFER
        | gst::PadProbeType::EVENT_DOWNSTREAM
        | gst::PadProbeType::EVENT_FLUSH;
    pad.add_probe(mask, move |pad, info| {
        let item = if let Some(buffer) = info.buffer() {
            Item::Frame(frame(pad, buffer))
        } else if let Some(event) = info.event() {
            Item::Event(event.to_owned())
        } else {
            return gst::PadProbeReturn::Ok;
        };
        items.lock().expect("the record").push(item);
        gst::PadProbeReturn::Ok
    });
}

fn frame(pad: &gst::Pad, buffer: &gst::BufferRef) -> Frame {
    let size = pad
        .current_caps()
        .and_then(|caps| gst_video::VideoInfo::from_caps(&caps).ok())
        .map_or((0, 0), |info| (info.width(), info.height()));
    let none = u64::MAX;
    Frame {
        pts: buffer.pts().map_or(none, gst::ClockTime::nseconds),
        duration: buffer.duration().map_or(none, gst::ClockTime::nseconds),
        offset: buffer.offset(),
        offset_end: buffer.offset_end(),
        flags: buffer.flags(),
        bytes: buffer.map_readable().expect("readable").to_vec(),
        size,
    }
}

/// A TIME segment at rate 1, nanoseconds.
pub fn segment(start: u64, stop: Option<u64>) -> gst::FormattedSegment<gst::ClockTime> {
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_start(gst::ClockTime::from_nseconds(start));
    segment.set_position(gst::ClockTime::from_nseconds(start));
    segment.set_time(gst::ClockTime::from_nseconds(start));
    segment.set_stop(stop.map(gst::ClockTime::from_nseconds));
    segment
}

/// A TIME segment at rate -1, nanoseconds.
pub fn reverse(start: u64, stop: u64) -> gst::FormattedSegment<gst::ClockTime> {
    let mut segment = segment(start, Some(stop));
    segment.set_rate(-1.0);
    segment.set_position(gst::ClockTime::from_nseconds(stop));
    segment
}
