//! Pictures between two that a card makes, the next one before anybody has asked for it.

use super::pair::{Next, Pair};
use super::{
    After, Encoded, FAILED_MOTION, Found, Interpolator, Motion, Outcome, SUSPICIOUS, Settings,
};
use crate::error::Result;
use crate::kernels::PhaseMap;
use crate::picture::{Picture, PictureMut};

/// What motion is made ready for: pair, picture after it.
pub(super) type Ready = (Motion, [u64; 2], Option<u64>);

/// A picture that a card makes before anybody has asked for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made {
    of: Ready,
    phase: f32,
    settings: Settings,
    /// What it is made on.
    output: usize,
}

impl Made {
    /// Whether it is the one that is asked for.
    fn is(&self, of: Ready, phase: &PhaseMap, settings: &Settings) -> bool {
        let then = self.settings.then;
        self.of == of
            && matches!(phase, PhaseMap::Uniform(phase) if *phase == self.phase)
            && self.settings == Settings { then, ..*settings }
    }
}

impl Interpolator {
    /// As [`Interpolator::interpolate_before`], of two pictures that differ. The card goes to work at once; the CPU sees meanwhile
    /// whether the pictures belong together, and lets go of what was made if they do not.
    pub(super) fn interpolate_on_card(
        &mut self,
        after: Option<After>,
        (left, right): ((&Picture, &Encoded), (&Picture, &Encoded)),
        phase: &PhaseMap,
        settings: &Settings,
        out: &mut PictureMut,
    ) -> Result<Outcome> {
        let threshold = settings.scene_threshold;
        let looks = threshold > 0.0;
        let known = self.relation.and_then(|relation| relation.score);
        if known.is_some_and(|score| looks && score > threshold) {
            return self.cut(left.0, right.0, phase, settings.scene_action, out);
        }
        let pair = Pair {
            left: left.1,
            right: (Some(right.0), right.1),
            after: after.map(Next::from),
        };
        let output = match self.made.take() {
            Some(made) if made.is(pair.ready(settings), phase, settings) => made.output,
            _ => {
                self.make(&pair, phase, settings, 0)?;
                0
            }
        };
        let score = if looks {
            self.score(left.1, right.1)?
        } else {
            0.0
        };
        let suspicious = score > SUSPICIOUS;
        let disagree = suspicious && score <= threshold;
        let disagree = disagree && self.disagreement(left.1, right.1, phase)? > FAILED_MOTION;
        if looks && (score > threshold || disagree) {
            // such motion tells nothing about the next pair
            if let Some(searched) = &mut self.searched {
                searched.failed = true;
            }
            return self.cut(left.0, right.0, phase, settings.scene_action, out);
        }
        let card = self.engine.on_card();
        let leaving = card.map(|card| card.deliver(output, out)).transpose()?;
        self.found = Some(Found::Motion);
        // what is suspicious is looked at with the motion of each picture
        if let Some(then) = settings.then.filter(|_| !suspicious) {
            self.found = None;
            self.make_ahead(&pair, then, settings, 1 - output);
        }
        if let (Some(card), Some(leaving)) = (self.engine.on_card(), leaving) {
            card.take(leaving)?;
        }
        Ok(Outcome::Interpolated)
    }

    /// Lets the card make the picture between two, on its first output or the second.
    fn make(
        &mut self,
        pair: &Pair,
        phase: &PhaseMap,
        settings: &Settings,
        output: usize,
    ) -> Result<()> {
        self.search(pair, settings)?;
        let sides = [pair.left, pair.right.1].map(|side| &side.parts().features);
        self.engine.estimate(sides[0], sides[1], phase)?;
        match self.engine.on_card() {
            Some(card) => card.paint(sides, phase, output),
            None => Ok(()),
        }
    }

    /// As [`Interpolator::make`], of a picture that nobody has asked for yet.
    fn make_ahead(&mut self, pair: &Pair, phase: f32, settings: &Settings, output: usize) {
        let uniform = PhaseMap::Uniform(phase);
        // that of one number fits all sizes
        let checked = uniform.check((0, 0));
        let made = checked.and_then(|()| self.make(pair, &uniform, settings, output));
        // who asks for it meets the same error
        self.made = made.is_ok().then(|| Made {
            of: pair.ready(settings),
            phase,
            settings: *settings,
            output,
        });
    }
}
