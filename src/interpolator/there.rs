//! Pictures that others have on a card, and want there: none of their samples comes to the CPU, but for the thumbnails that cuts are
//! looked for in.

use std::sync::Arc;

use super::pair::{Next, Pair};
use super::{Encoded, FAILED_MOTION, Found, Interpolator, Outcome, Relation, SUSPICIOUS, Settings};
use crate::error::Result;
use crate::kernels::PhaseMap;
use crate::kernels::cuda::picture::DevicePicture;
use crate::scene;

impl Interpolator {
    /// Whether pictures may lie on a card, and stay there: with the built-in network, where that runs on one.
    pub(crate) fn is_on_card(&self) -> bool {
        self.engine.takes_from_card()
    }

    /// As [`Interpolator::encode`], of a picture on a card, where pictures are made on one; it has been read when the call returns.
    ///
    /// # Errors
    /// Another format or size, or the card fails.
    ///
    /// # Safety
    /// Its planes lie there, all that is to be in them.
    pub(crate) unsafe fn encode_there(&mut self, picture: &DevicePicture) -> Result<Arc<Encoded>> {
        // the caller's thread keeps the context that is current there
        self.on_threads(|this| {
            let mut parts = this.parts()?;
            // SAFETY: as the caller promises.
            unsafe { this.engine.encode_there(picture, &mut parts.features) }?;
            Ok(this.encoded(parts))
        })
    }

    /// As [`Interpolator::interpolate_before`], into a picture on a card, which is there when the call returns; `after` is what comes after
    /// the right picture, and the time from that to it. Nothing is written at a cut, whatever the settings say of it.
    ///
    /// # Errors
    /// As there, or the card fails.
    ///
    /// # Safety
    /// There is room for the planes of `out`, which nobody else looks at meanwhile.
    pub(crate) unsafe fn interpolate_there(
        &mut self,
        after: Option<(&Encoded, f32)>,
        sides: [&Encoded; 2],
        phase: &PhaseMap,
        settings: &Settings,
        out: &DevicePicture,
    ) -> Result<Outcome> {
        self.found = None;
        let (height, width, _) = self.view.dims3()?;
        phase.check((height / 4, width / 4))?;
        for side in sides {
            self.engine.expect(&side.parts().features)?;
        }
        let after = after.map(|(encoded, interval)| Next {
            picture: None,
            encoded,
            interval,
        });
        self.on_threads(|this| {
            let found = this.paint(after, sides, phase, settings)?;
            this.found = Some(found);
            let source = match found {
                Found::Cut => return Ok(Outcome::Cut),
                Found::Same => Some(&sides[0].parts().features),
                _ => None,
            };
            if let Some(card) = this.engine.on_card() {
                // SAFETY: as the caller promises.
                unsafe { card.give(source, out) }?;
            }
            Ok(Outcome::Interpolated)
        })
    }

    /// Makes the picture, unless there is nothing to be made between the two.
    fn paint(
        &mut self,
        after: Option<Next>,
        sides: [&Encoded; 2],
        phase: &PhaseMap,
        settings: &Settings,
    ) -> Result<Found> {
        let [left, right] = sides;
        let relation = self.relation_there(left, right)?;
        if relation.repeated {
            return Ok(Found::Same);
        }
        let threshold = settings.scene_threshold;
        let score = relation.score.unwrap_or(0.0);
        let looks = threshold > 0.0;
        if looks && score > threshold {
            return Ok(Found::Cut);
        }
        let pair = Pair {
            left,
            right: (None, right),
            after,
        };
        self.search(&pair, settings)?;
        let features = sides.map(|side| &side.parts().features);
        self.engine.estimate(features[0], features[1], phase)?;
        self.made = None;
        if let Some(card) = self.engine.on_card() {
            card.paint(features, phase, 0)?;
        }
        let suspicious = looks && score > SUSPICIOUS;
        if suspicious && self.disagreement(left, right, phase)? > FAILED_MOTION {
            // such motion tells nothing about the next pair
            if let Some(searched) = &mut self.searched {
                searched.failed = true;
            }
            return Ok(Found::Cut);
        }
        Ok(Found::Motion)
    }

    /// As [`Interpolator::relation`]; the thumbnails are there already, and tell whether it is worth looking further.
    fn relation_there(&mut self, left: &Encoded, right: &Encoded) -> Result<Relation> {
        let pair = [left.serial, right.serial];
        if let Some(known) = self.relation.filter(|r| r.pair == pair) {
            return Ok(known);
        }
        self.relation = None;
        self.change(left.parts(), right.parts())?;
        let score = scene::score(self.thumbnail(left)?, self.thumbnail(right)?);
        let repeated = self.repeated_there(left, right)?;
        Ok(*self.relation.insert(Relation {
            pair,
            repeated,
            score: Some(score),
        }))
    }
}
