//! Pictures beyond the last one: both pictures of the last pair and a time in, one picture out.

use candle_core::{DType, Device, Tensor};

use super::pair::Pair;
use super::{
    Beyond, Encoded, FAILED_MOTION, Findings, Found, Interpolator, Outcome, PACES, SUSPICIOUS,
    Settings,
};
use crate::error::{Error, Result};
use crate::kernels::prediction::{Course, Prediction};
use crate::kernels::synthesis::{Lattice, synthesise};
use crate::kernels::{PhaseMap, confidence, still};
use crate::picture::{Picture, PictureMut};

/// The phase at which a network is asked for the motion of the right picture's own pixels; FILM goes to its last one before.
const NEAR: f32 = 0.999;
/// Pixels by which a picture may be moved unseen: then it is shown as it is.
const UNSEEN: f32 = 0.25;

/// What lies between the calls.
#[derive(Debug)]
pub struct Predictor {
    prediction: Prediction,
    /// Serial numbers of the pair whose motion is in it, and its [`Settings::interval`].
    pair: Option<([u64; 2], f32)>,
    /// The pair turned out to be a cut apart.
    failed: bool,
    flow: Tensor,
    mask: Tensor,
    /// Of the motion at the right picture, as the motion's.
    difference: Tensor,
    confidence: Tensor,
}

impl Predictor {
    /// For cells of 4x4 pixels.
    fn new((height, width): (usize, usize)) -> Result<Self> {
        let zeros = |channels| Tensor::zeros((height, width, channels), DType::F32, &Device::Cpu);
        Ok(Self {
            prediction: Prediction::new((height, width)),
            pair: None,
            failed: false,
            flow: zeros(4)?,
            mask: zeros(1)?,
            difference: zeros(1)?,
            confidence: zeros(1)?,
        })
    }

    /// What the last picture was made with.
    pub fn findings(&self) -> Findings<'_> {
        Findings::Motion {
            flow: &self.flow,
            mask: &self.mask,
            confidence: &self.confidence,
            incoherence: None,
        }
    }
}

impl Interpolator {
    /// Makes a picture beyond `right`, the last one there is, from its motion since `left`; both in time order, each with what
    /// [`Interpolator::encode`] made of it. Where pairs follow one another, each the left picture's with what was the right one, the motion before tells of
    /// acceleration. It is made on the CPU; from a card what was found of the pair is fetched for that, once. [`Outcome::Last`] where both
    /// pictures are the same, or what is to be made differs from the right one by nothing to be seen; [`Outcome::Cut`] where they do
    /// not belong together: then there is no motion to go on with.
    ///
    /// # Errors
    /// As [`Interpolator::interpolate`]; a time that is negative or no number.
    pub fn extrapolate(
        &mut self,
        left: (&Picture, &Encoded),
        right: (&Picture, &Encoded),
        beyond: Beyond,
        settings: &Settings,
        out: &mut PictureMut,
    ) -> Result<Outcome> {
        self.found = None;
        for picture in [left.0, right.0] {
            picture.expect(self.format, self.width, self.height)?;
        }
        out.expect(self.format, self.width, self.height)?;
        self.engine.expect(&left.1.parts().features)?;
        self.engine.expect(&right.1.parts().features)?;
        if !(beyond.ahead >= 0.0 && beyond.ahead.is_finite() && beyond.taken_back >= 0.0) {
            let message = format!("a time ahead of {beyond:?}, expected 0 or more");
            return Err(Error::Candle(candle_core::Error::Msg(message)));
        }
        let relation = self.relation(left, right)?;
        let looks = settings.scene_threshold > 0.0;
        let score = self.score(left.1, right.1)?;
        if looks && score > settings.scene_threshold {
            self.found = Some(Found::Cut);
            return Ok(Outcome::Cut);
        }
        if relation.repeated {
            self.found = Some(Found::Same);
            return Ok(Outcome::Last);
        }
        let suspicious = looks && score > SUSPICIOUS;
        let mut predictor = match self.predictor.take() {
            Some(predictor) => predictor,
            None => Box::new(Predictor::new(self.mask.dims3().map(|(h, w, _)| (h, w))?)?),
        };
        let outcome = self.predict(
            [left, right],
            beyond,
            (settings, suspicious),
            &mut predictor,
            out,
        );
        self.predictor = Some(predictor);
        outcome
    }

    fn predict(
        &mut self,
        [left, right]: [(&Picture, &Encoded); 2],
        beyond: Beyond,
        (settings, suspicious): (&Settings, bool),
        predictor: &mut Predictor,
        out: &mut PictureMut,
    ) -> Result<Outcome> {
        self.ready_for([left, right], settings, suspicious, predictor)?;
        if predictor.failed {
            self.found = Some(Found::Cut);
            return Ok(Outcome::Cut);
        }
        let course = Course {
            ahead: beyond.ahead,
            left_over: (beyond.taken_back - beyond.ahead).clamp(0.0, 1.0),
        };
        let unmoved = course.ahead == 0.0;
        if unmoved && predictor.prediction.displacement(course.left_over) <= UNSEEN {
            // its motion is what it was
            self.found = Some(Found::Predicted);
            return Ok(Outcome::Last);
        }
        let context = &self.context;
        let made = (&predictor.flow, &predictor.mask);
        predictor.prediction.project(context, course, made)?;
        let motion = (made.0, made.1, Lattice::Quarter);
        synthesise(context, left.0, right.0, motion, out)?;
        let sides = [left.0, right.0];
        let beside = [&predictor.difference, &self.change];
        still::keep(context, &self.standing, beside, sides, out)?;
        self.found = Some(Found::Predicted);
        Ok(Outcome::Interpolated)
    }

    /// Finds the motion of a pair, once.
    fn ready_for(
        &mut self,
        [left, right]: [(&Picture, &Encoded); 2],
        settings: &Settings,
        suspicious: bool,
        predictor: &mut Predictor,
    ) -> Result<()> {
        let pair = [left.1.serial, right.1.serial];
        if predictor.pair.is_some_and(|(known, _)| known == pair) {
            return Ok(());
        }
        let before = predictor.pair.take().filter(|_| !predictor.failed);
        let (one, other) = (left.1.parts(), right.1.parts());
        let settings = Settings {
            motion: super::Motion::Linear,
            ..*settings
        };
        let searched = Pair {
            left: left.1,
            right: (Some(right.0), right.1),
            after: None,
        };
        self.search(&searched, &settings)?;
        let phase = PhaseMap::Uniform(NEAR);
        self.engine
            .estimate(&one.features, &other.features, &phase)?;
        predictor.failed =
            suspicious && self.disagreement(left.1, right.1, &phase)? > FAILED_MOTION;
        let (motion, difference) = (self.engine.motion(), &predictor.difference);
        let flow = match self.engine.on_card() {
            Some(card) => card.bring([&self.change, &self.standing.edges, difference])?,
            None => {
                difference.slice_set(&motion.difference, 0, 0)?;
                &motion.flow
            }
        };
        confidence::estimate(
            &self.context,
            difference,
            &self.change,
            &predictor.confidence,
        )?;
        let pace = before.filter(|(known, _)| known[1] == pair[0]);
        let pace = pace.map(|(_, interval)| settings.interval / interval);
        let pace = pace.filter(|pace| PACES.contains(pace));
        predictor.prediction.advance(&self.context, flow, pace)?;
        predictor.pair = Some((pair, settings.interval));
        Ok(())
    }
}
