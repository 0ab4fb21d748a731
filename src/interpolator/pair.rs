//! What is found once a pair of pictures, however many are made between them: how they belong together, and the motion.

use super::{
    After, Encoded, Interpolator, Motion, PACES, Parts, Ready, Relation, Searched, Settings,
};
use crate::error::Result;
use crate::kernels::confidence::{self, Evidence};
use crate::kernels::{PhaseMap, change, still};
use crate::picture::Picture;
use crate::scene;

/// The picture after the right one.
#[derive(Clone, Copy)]
pub(super) struct Next<'a> {
    /// None where pictures lie on a card.
    pub picture: Option<&'a Picture<'a>>,
    pub encoded: &'a Encoded,
    /// See [`After::interval`].
    pub interval: f32,
}

impl<'a> From<After<'a>> for Next<'a> {
    fn from(after: After<'a>) -> Self {
        Self {
            picture: Some(after.picture),
            encoded: after.encoded,
            interval: after.interval,
        }
    }
}

/// Two pictures of which one is made, and what comes after them.
#[derive(Clone, Copy)]
pub(super) struct Pair<'a> {
    pub left: &'a Encoded,
    /// There is no picture where it lies on a card.
    pub right: (Option<&'a Picture<'a>>, &'a Encoded),
    pub after: Option<Next<'a>>,
}

impl Pair<'_> {
    /// What the motion between them is made ready for.
    pub fn ready(&self, settings: &Settings) -> Ready {
        let pair = [self.left.serial, self.right.1.serial];
        let after = self.after.map(|after| after.encoded.serial);
        (settings.motion, pair, after)
    }
}

impl Interpolator {
    /// Looked for once a pair, not once a phase; leaves how far the two are apart in `change`.
    pub(super) fn relation(
        &mut self,
        left: (&Picture, &Encoded),
        right: (&Picture, &Encoded),
    ) -> Result<Relation> {
        let pair = [left.1.serial, right.1.serial];
        if let Some(known) = self.relation.filter(|r| r.pair == pair) {
            return Ok(known);
        }
        self.relation = None;
        let (one, other) = (left.1.parts(), right.1.parts());
        let scores = self.engine.on_card().is_none();
        let (changed, (repeated, score)) = rayon::join(
            || self.change(one, other),
            || {
                (
                    scene::repeated(left.0, right.0),
                    scores.then(|| scene::score(&one.thumbnail, &other.thumbnail)),
                )
            },
        );
        changed?;
        Ok(*self.relation.insert(Relation {
            pair,
            repeated,
            score,
        }))
    }

    /// The score of the pair that was related last. Where pictures are made on a card it is found now, and waits until that has seen both.
    pub(super) fn score(&mut self, left: &Encoded, right: &Encoded) -> Result<f64> {
        if let Some(score) = self.relation.and_then(|relation| relation.score) {
            return Ok(score);
        }
        let score = scene::score(self.thumbnail(left)?, self.thumbnail(right)?);
        if let Some(relation) = &mut self.relation {
            relation.score = Some(score);
        }
        Ok(score)
    }

    /// Leaves how far two pictures are apart where nothing moves, and what stands still in them.
    pub(super) fn change(&self, left: &Parts, right: &Parts) -> Result<()> {
        if let Some(card) = self.engine.on_card() {
            return card.relate(&left.features, &right.features);
        }
        let luma = [left.features.luma(), right.features.luma()];
        change::change(&self.context, luma, &self.cells_change, &self.change)?;
        Ok(still::edges(&self.context, luma, &self.standing)?)
    }

    /// Whether two pictures that lie on a card are the same to the bit; waits until their thumbnails are there.
    pub(super) fn repeated_there(&self, left: &Encoded, right: &Encoded) -> Result<bool> {
        let alike = self.thumbnail(left)? == self.thumbnail(right)?;
        match self.engine.on_card().filter(|_| alike) {
            Some(card) => card.same([&left.parts().features, &right.parts().features]),
            None => Ok(false),
        }
    }

    /// Once a pair, not once a phase.
    pub(super) fn search(&mut self, pair: &Pair, settings: &Settings) -> Result<()> {
        let wanted = pair.ready(settings);
        let Pair { left, right, after } = *pair;
        if self.ready == Some(wanted) {
            return Ok(());
        }
        self.ready = None;
        let follows = settings.motion == Motion::Trajectory && self.engine.can_follow();
        let next = after.map(|after| [right.1.serial, after.encoded.serial]);
        let next = next.filter(|_| follows);
        // in reverse the pair after this one came first
        if next.is_some() && next == self.searched.map(|s| s.pair) {
            self.engine.exchange()?;
            self.ahead = self.searched.take().map(|s| s.pair);
        }
        self.search_pair(left, right.1, settings.interval)?;
        match follows {
            true => self.look_ahead(right, after, settings)?,
            false => self.engine.follow_none(),
        }
        self.ready = Some(wanted);
        Ok(())
    }

    fn search_pair(&mut self, left: &Encoded, right: &Encoded, interval: f32) -> Result<()> {
        let before = self.searched.take();
        let pair = [left.serial, right.serial];
        if let Some(same) = before.filter(|s| s.pair == pair) {
            self.searched = Some(same);
            return Ok(());
        }
        let before = before.filter(|s| s.pair[1] == left.serial && !s.failed);
        let pace = before.map(|s| interval / s.interval);
        let pace = pace.filter(|pace| PACES.contains(pace));
        let (one, other) = (&left.parts().features, &right.parts().features);
        if self.ahead.take_if(|ahead| *ahead == pair).is_some() {
            self.engine.proceed(one, other, pace)?;
        } else {
            self.engine.search(one, other, pace)?;
        }
        self.searched = Some(Searched {
            pair,
            interval,
            failed: false,
        });
        Ok(())
    }

    /// Lets the motion of the pair follow trajectories, to the picture `after` it as well if that belongs to it.
    fn look_ahead(
        &mut self,
        right: (Option<&Picture>, &Encoded),
        after: Option<Next>,
        settings: &Settings,
    ) -> Result<()> {
        let parts = right.1.parts();
        let after = match after {
            Some(after) => self
                .pace(right, &after, settings)?
                .map(|pace| (after, pace)),
            None => None,
        };
        let Some((after, pace)) = after else {
            return self.engine.look_ahead(&parts.features, None, false);
        };
        let next = [right.1.serial, after.encoded.serial];
        let known = self.ahead.take() == Some(next);
        let features = &after.encoded.parts().features;
        self.engine
            .look_ahead(&parts.features, Some((features, pace)), known)?;
        self.ahead = Some(next);
        Ok(())
    }

    /// Time of the pair over that from its right picture to the one after; `None` if that tells nothing of the pair's motion.
    fn pace(
        &self,
        right: (Option<&Picture>, &Encoded),
        after: &Next,
        settings: &Settings,
    ) -> Result<Option<f32>> {
        if let Some(picture) = after.picture {
            picture.expect(self.format, self.width, self.height)?;
        }
        self.engine.expect(&after.encoded.parts().features)?;
        let score = scene::score(self.thumbnail(right.1)?, self.thumbnail(after.encoded)?);
        let threshold = settings.scene_threshold;
        let is_cut = threshold > 0.0 && score > threshold;
        let repeated = || match (right.0, after.picture) {
            (Some(right), Some(after)) => Ok(scene::repeated(right, after)),
            _ => self.repeated_there(right.1, after.encoded),
        };
        let tells = !is_cut && !repeated()?;
        let pace = settings.interval / after.interval;
        Ok((tells && PACES.contains(&pace)).then_some(pace))
    }

    /// Mean disagreement of the two sides.
    pub(super) fn disagreement(
        &self,
        left: &Encoded,
        right: &Encoded,
        phase: &PhaseMap,
    ) -> Result<f32> {
        let brightness = self.thumbnail(left)?.mean() - self.thumbnail(right)?.mean();
        let (left, right) = (left.parts(), right.parts());
        let out = &self.disagreement;
        if let Some(card) = self.engine.on_card() {
            card.disagree([&left.features, &right.features], brightness, phase, out)?;
        } else {
            let evidence = Evidence {
                flow: &self.engine.motion().flow,
                luma: [left.features.cell_luma(), right.features.cell_luma()],
                brightness,
            };
            confidence::disagree(&self.context, &evidence, phase, out)?;
        }
        let (width, height) = self.cells();
        confidence::mean(&self.disagreement, height, width)
    }
}
