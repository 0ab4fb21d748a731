//! The property `show`: the network's maps instead of pictures, or both rates side by side.

use super::bridge;
use super::imp::VideoInterpolate;
use super::properties::Show;
use super::state::Source;
use super::streaming::Stopped;
use super::{allocation, bridge::Failure};
use crate::interpolator::Interpolator;
use crate::picture::{Picture, PictureMut};
use crate::schedule::Slot;
use crate::show::{self, Map};

impl Show {
    /// The map to be seen instead of every picture.
    fn map(self) -> Option<Map> {
        match self {
            Show::None | Show::Split => None,
            Show::Flow => Some(Map::Flow),
            Show::Confidence => Some(Map::Confidence),
            Show::Mask => Some(Map::Mask),
            Show::Coherence => Some(Map::Coherence),
        }
    }

    /// Draws over a frame that was just made; `before` is the earlier of its neighbours.
    pub(super) fn draw(
        self,
        engine: &Interpolator,
        before: &Picture,
        out: &mut PictureMut,
    ) -> Result<(), Failure> {
        if self == Show::Split {
            show::split(before, out)?;
        }
        // asked for only where they are seen: a card has to send them
        if let Some(map) = self.map()
            && let Some(findings) = engine.findings()
        {
            map.colours(&findings, out.width(), out.height())?
                .paint(before.color(), out);
        }
        Ok(())
    }
}

impl VideoInterpolate {
    /// What stands in for a source frame where maps are shown: a picture between maps would
    /// flicker. `None` where the frame itself is to be shown, as before the first map of a run of
    /// frames, so that a paused seek shows the place it went to.
    pub(super) fn latest_map(
        &self,
        source: &Source,
        at: &Slot,
    ) -> Result<Option<gst::Buffer>, Stopped> {
        let Some(map) = self.settings().show.map() else {
            return Ok(None);
        };
        let info = &source.stream.info;
        let cells = {
            let mut slot = self.engine();
            let Some(engine) = &mut *slot else {
                return Ok(None);
            };
            if at.index == 0 {
                engine.interpolator.forget();
            }
            let findings = engine.interpolator.findings();
            let size = (info.width() as usize, info.height() as usize);
            let cells = findings.map(|found| map.colours(&found, size.0, size.1));
            cells.transpose().map_err(Failure::from)?
        };
        let Some(cells) = cells else {
            return Ok(None);
        };
        let mut buffer = self.acquire(source)?;
        let writable = buffer.make_mut();
        bridge::with_picture_mut(writable, &source.stream, |out| {
            cells.paint(source.stream.color, out);
            Ok(())
        })?;
        allocation::copy_metas(&source.buffer, writable);
        Ok(Some(buffer))
    }
}
