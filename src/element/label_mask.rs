//! The meta that says what each place of a picture belongs to.
//!
//! It is a custom meta, so that anything that knows GStreamer can read and write it: a structure `GstVideoLabelMask` with
//! `width` and `height` (unsigned) and `labels` (`GBytes`, a label of one byte for each place, row by row). The mask covers
//! the whole picture, whatever the size of either, and so it survives scaling. Copies share the labels. It is about
//! sizes and which way up a picture is: an element that changes them and does not know of it leaves it off.

use std::sync::OnceLock;

use gst::BufferRef;
use gst::glib;
use gst::meta::CustomMeta;

use crate::error::Error;
use crate::interpolator::Labels;

/// Name of the meta and of its structure.
pub const NAME: &str = "GstVideoLabelMask";
/// What the meta depends on, in GStreamer's words: it is about a picture, its size and which way up it is.
const TAGS: [&str; 3] = ["video", "size", "orientation"];
/// Names of the transformations that keep it: a copy, and another size.
const KEPT_BY: [&str; 2] = ["gst-copy", "gst-video-scale"];

/// A label for each place of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelMask {
    width: u32,
    height: u32,
    labels: glib::Bytes,
}

/// Makes the meta known to this process; more than once does no harm.
pub fn register() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        if !CustomMeta::is_registered(NAME) {
            CustomMeta::register_with_transform(NAME, &TAGS, |to, meta, _, how| {
                let kept = KEPT_BY.contains(&how.as_str().as_str());
                kept && LabelMask::read(meta).is_ok_and(|mask| mask.attach(to).is_ok())
            });
        }
    });
}

impl LabelMask {
    /// A mask of `width` x `height` labels.
    ///
    /// # Errors
    /// There are fewer or more labels.
    pub fn new(width: u32, height: u32, labels: Vec<u8>) -> Result<Self, Error> {
        Labels::new(width as usize, height as usize, &labels)?;
        Ok(Self {
            width,
            height,
            labels: glib::Bytes::from_owned(labels),
        })
    }

    /// The mask on a buffer, if it has one.
    ///
    /// # Errors
    /// Its meta is not as it should be; the text says what it lacks.
    pub fn of(buffer: &BufferRef) -> Result<Option<Self>, String> {
        match CustomMeta::from_buffer(buffer, NAME) {
            Ok(meta) => Self::read(&meta).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn read(meta: &CustomMeta) -> Result<Self, String> {
        let structure = meta.structure();
        let lacks = |error: gst::structure::GetError<_>| format!("a meta {NAME}: {error}");
        let mask = Self {
            width: structure.get("width").map_err(lacks)?,
            height: structure.get("height").map_err(lacks)?,
            labels: structure
                .get("labels")
                .map_err(|e| format!("a meta {NAME}: {e}"))?,
        };
        let size = (mask.width as usize, mask.height as usize);
        Labels::new(size.0, size.1, &mask.labels).map_err(|e| format!("a meta {NAME}: {e}"))?;
        Ok(mask)
    }

    /// Puts the mask on a buffer, in place of any that is there.
    ///
    /// # Errors
    /// The meta is not known to this process.
    pub fn attach(&self, buffer: &mut BufferRef) -> Result<(), glib::BoolError> {
        let fill = |structure: &mut gst::StructureRef| {
            structure.set("width", self.width);
            structure.set("height", self.height);
            structure.set("labels", self.labels.clone());
        };
        if let Ok(mut meta) = CustomMeta::from_mut_buffer(buffer, NAME) {
            fill(meta.mut_structure());
            return Ok(());
        }
        fill(CustomMeta::add(buffer, NAME)?.mut_structure());
        Ok(())
    }

    /// As the engine wants it.
    ///
    /// # Errors
    /// None: it was checked when it was made.
    pub fn labels(&self) -> Result<Labels<'_>, Error> {
        Labels::new(self.width as usize, self.height as usize, &self.labels)
    }
}
