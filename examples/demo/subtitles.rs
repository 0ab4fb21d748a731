//! Subtitles with markup, as Matroska has them, made plain: what muxers take.

use gst::prelude::*;

/// Whether these caps are text with markup.
pub fn have_markup(caps: &gst::Caps) -> bool {
    caps.structure(0)
        .is_some_and(|s| s.name() == "text/x-raw" && s.get("format") == Ok("pango-markup"))
}

/// Caps of plain text.
pub fn plain_caps() -> gst::Caps {
    gst::Caps::builder("text/x-raw")
        .field("format", "utf8")
        .build()
}

/// From here on the stream of this pad is plain text.
pub fn make_plain(pad: &gst::Pad) {
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(kinds, |_, info| {
        match &mut info.data {
            Some(gst::PadProbeData::Event(event)) if event.type_() == gst::EventType::Caps => {
                *event = gst::event::Caps::builder(&plain_caps())
                    .seqnum(event.seqnum())
                    .build();
            }
            Some(gst::PadProbeData::Buffer(buffer)) => rewrite(buffer),
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

fn rewrite(buffer: &mut gst::Buffer) {
    let Ok(map) = buffer.map_readable() else {
        return;
    };
    let text = plain(&String::from_utf8_lossy(&map));
    drop(map);
    let mut new = gst::Buffer::from_slice(text.into_bytes());
    if let Some(target) = new.get_mut() {
        let parts = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS;
        let _ = buffer.copy_into(target, parts, ..);
    }
    *buffer = new;
}

/// Without tags, entities resolved.
fn plain(markup: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    let mut rest = markup.chars().peekable();
    while let Some(c) = rest.next() {
        let opens = rest.peek().is_some_and(|&n| n == '/' || n.is_alphabetic());
        match c {
            '<' if opens => inside = true,
            '>' if inside => inside = false,
            _ if !inside => text.push(c),
            _ => {}
        }
    }
    // The ampersand last: what it makes is not read again.
    for (entity, c) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ] {
        text = text.replace(entity, c);
    }
    text
}
