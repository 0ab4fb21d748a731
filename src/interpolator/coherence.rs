//! Motion that contradicts itself, and what is done about it: it is estimated once more from the pictures at half their size, and each
//! region takes from the more coherent of both.

use candle_core::Tensor;

use super::engine::{Engine, Features, zeros};
use super::retime::OwnPicture;
use super::{Encoded, Interpolator, Motion, Settings};
use crate::error::Result;
use crate::kernels::coherence::{self, MEASURED, REGION};
use crate::kernels::{Context, PhaseMap, confidence, mix, resample};
use crate::picture::{Picture, PictureMut};

#[cfg(test)]
mod tests;

/// Whether motion is looked at for what contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Coherence {
    /// Never.
    #[default]
    Off,
    /// Where it is turbulent in the mean of a picture, see [`TURBULENT`], it is trusted as far as it is coherent, and estimated once
    /// more, from the pictures at half their size; each region takes from the more coherent of both. That is done with the built-in
    /// network on the CPU; estimated again is [`Motion::Linear`] alone, where the network sees the pictures at their own size.
    Auto,
}

/// Mean incoherence of a picture's motion above which it is turbulent: of the dev clips' pairs, a sixth.
pub const TURBULENT: f32 = 0.5;

/// Mean incoherence of every third row of cells up to which the others are not looked at: so far below [`TURBULENT`] that they would not
/// make it that.
const CALM: f32 = 0.8 * TURBULENT;

/// Pixels of a cell of half the size, along a side.
const HALF_CELL: usize = 16;

/// What was found of a pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turbulence {
    /// Mean incoherence of the motion found first, 0 to 1; see [`coherence::measure`]. Where it is clearly not turbulent, of every
    /// third row of cells.
    pub incoherence: f32,
    /// The motion was estimated again.
    pub again: bool,
}

/// For pictures of one size.
pub struct Check {
    regions: Tensor,
    measured: Tensor,
    /// How much luma changes in each cell; of turbulent pairs.
    texture: Tensor,
    /// Incoherence of what is shown of both estimates.
    settled: Tensor,
    /// Incoherence of what is shown.
    shown: Tensor,
    /// What was looked at last.
    pair: Option<([u64; 2], Motion)>,
    found: Turbulence,
    second: Option<Second>,
}

impl Check {
    /// For the motion `found` between two pictures.
    fn new(found: &Tensor) -> Result<Self> {
        let (h, w, _) = found.dims3()?;
        let settled = zeros((h, w), 1)?;
        Ok(Self {
            regions: zeros((h, w), REGION)?,
            measured: zeros((h, w), MEASURED)?,
            texture: zeros((h, w), 1)?,
            shown: settled.clone(),
            settled,
            pair: None,
            found: Turbulence {
                incoherence: 0.0,
                again: false,
            },
            second: None,
        })
    }

    /// Measures the motion `found` between two pictures, of which the first `cells` count.
    fn measure(&mut self, context: &Context, found: &Tensor, cells: (usize, usize)) -> Result<()> {
        let (h, w, _) = found.dims3()?;
        let cells = (cells.0.min(h), cells.1.min(w));
        self.shown = self.measured.narrow(2, 0, 1)?;
        let room = (&self.regions, &self.measured);
        let mut incoherence = coherence::glance(context, found, room, cells)?;
        if incoherence > CALM {
            coherence::measure(context, found, room.0, room.1)?;
            incoherence = confidence::mean(&self.shown, cells.0, cells.1)?;
        }
        self.found = Turbulence {
            incoherence,
            again: false,
        };
        Ok(())
    }

    fn is_turbulent(&self) -> bool {
        self.found.incoherence > TURBULENT
    }

    /// Estimates the motion again, where there is a way to; `pictures` each with its serial number.
    fn search(
        &mut self,
        context: &Context,
        engine: &Engine,
        pictures: [(&Picture, u64); 2],
    ) -> Result<()> {
        if self.second.is_none() {
            let picture = pictures[0].0;
            let halved = engine.halved()?;
            let second = halved.map(|halved| Second::new(halved, picture, &self.measured));
            self.second = second.transpose()?;
        }
        let Some(second) = &mut self.second else {
            return Ok(());
        };
        second.search(engine, pictures)?;
        second.weigh(context, &self.measured)?;
        let other = (&second.measured, &second.weights);
        coherence::settle(context, &self.measured, other, &self.settled)?;
        self.shown = self.settled.clone();
        self.found.again = true;
        Ok(())
    }

    /// Makes the `confidence` in turbulent motion that in what is coherent of it.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn doubt(&self, context: &Context, confidence: &Tensor) -> Result<()> {
        if self.is_turbulent() {
            coherence::doubt(context, &self.shown, &self.texture, confidence)?;
        }
        Ok(())
    }

    /// Brings what a second estimate knows better into `out`, which was made from the first. `change`: how far both pictures are
    /// apart around each cell.
    ///
    /// # Errors
    /// Pictures of another kind or size.
    pub fn improve(
        &mut self,
        context: &Context,
        pictures: [&Picture; 2],
        change: &Tensor,
        phase: &PhaseMap,
        out: &mut PictureMut,
    ) -> Result<()> {
        match &mut self.second {
            Some(second) if self.found.again => {
                second.improve(context, pictures, change, phase, out)
            }
            _ => Ok(()),
        }
    }

    /// Incoherence of what is shown, in cells of the motion `found`; none where it cannot be measured.
    pub fn incoherence(&self, context: &Context, found: &Tensor) -> Option<&Tensor> {
        if self.found.incoherence <= CALM {
            // until now nobody has looked at all of it
            coherence::measure(context, found, &self.regions, &self.measured).ok()?;
        }
        Some(&self.shown)
    }
}

impl Interpolator {
    /// Whether [`Settings::coherence`] has anything to look at.
    pub fn can_look_for_turbulence(&self) -> bool {
        self.engine.found().is_some()
    }

    /// How turbulent the motion of the last picture was; `None` where that was not looked at, see [`Settings::coherence`].
    pub fn turbulence(&self) -> Option<Turbulence> {
        let moves = self.found == Some(super::Found::Motion);
        let check = self.check.as_ref().filter(|_| moves);
        check.map(|check| check.found)
    }

    /// The motion between the pictures of the last pair, `[h, w, 4]` in cells of 8x8 pixels (of 16x16 where they are seen at half their
    /// size): left to right x, y, right to left x, y; `None` where the network tells it only at a phase, or where it lies on
    /// a card.
    pub fn motion_found(&self) -> Option<&Tensor> {
        self.engine.found()
    }

    /// Looks at the motion of a pair, once, not once a phase; without memory for it where that is not asked for.
    pub(super) fn look_for_turbulence(
        &mut self,
        left: (&Picture, &Encoded),
        right: (&Picture, &Encoded),
        settings: &Settings,
    ) -> Result<()> {
        let found = self.engine.found();
        let Some(found) = found.filter(|_| settings.coherence == Coherence::Auto) else {
            self.check = None;
            return Ok(());
        };
        let check = match &mut self.check {
            Some(check) => check,
            none => none.insert(Box::new(Check::new(found)?)),
        };
        let serials = [left.1.serial, right.1.serial];
        let pair = (serials, settings.motion);
        if check.pair == Some(pair) {
            return Ok(());
        }
        check.pair = None;
        let context = &self.context;
        let cells = (self.height.div_ceil(8), self.width.div_ceil(8));
        check.measure(context, found, (cells.0 as usize, cells.1 as usize))?;
        if check.is_turbulent() {
            let luma = [left, right].map(|side| side.1.parts().features.luma());
            coherence::texture(context, luma, &check.texture)?;
            if settings.motion == Motion::Linear {
                let pictures = [(left.0, serials[0]), (right.0, serials[1])];
                check.search(context, &self.engine, pictures)?;
            }
        }
        check.pair = Some(pair);
        Ok(())
    }
}

/// The second estimate.
struct Second {
    engine: Engine,
    /// Of the left and the right picture, with their serial numbers.
    features: [(Option<u64>, Features); 2],
    regions: Tensor,
    measured: Tensor,
    /// What was measured of the first estimate, in cells of this one.
    first: Tensor,
    /// What the second estimate weighs in each of its cells.
    weights: Tensor,
    /// The mask that its picture is made with.
    mask: Tensor,
    picture: OwnPicture,
}

impl Second {
    /// For pictures like `picture`, and the `measured` cells of the first estimate.
    fn new(engine: Engine, picture: &Picture, measured: &Tensor) -> Result<Self> {
        let (h, w, _) = measured.dims3()?;
        let cells = (h.div_ceil(2), w.div_ceil(2));
        let (fine_h, fine_w, _) = engine.motion().flow.dims3()?;
        let size = (picture.width() as u32, picture.height() as u32);
        Ok(Self {
            features: [(None, engine.features()?), (None, engine.features()?)],
            engine,
            regions: zeros(cells, REGION)?,
            measured: zeros(cells, MEASURED)?,
            first: zeros(cells, MEASURED)?,
            weights: zeros(cells, 1)?,
            mask: zeros((fine_h, fine_w), 1)?,
            picture: OwnPicture::new(picture.format(), size),
        })
    }

    fn search(&mut self, whole: &Engine, pictures: [(&Picture, u64); 2]) -> Result<()> {
        if self.features[1].0 == Some(pictures[0].1) {
            self.features.swap(0, 1);
        }
        for ((known, features), (picture, serial)) in self.features.iter_mut().zip(pictures) {
            if *known != Some(serial) {
                *known = None;
                self.engine.encode_halved(picture, features)?;
                *known = Some(serial);
            }
        }
        let [left, right] = &self.features;
        self.engine.search_in([&left.1, &right.1], whole)
    }

    /// Decides what each region takes from which estimate, by what was `measured` of the first.
    fn weigh(&self, context: &Context, measured: &Tensor) -> Result<()> {
        if let Some(found) = self.engine.found() {
            coherence::measure(context, found, &self.regions, &self.measured)?;
        }
        resample::half(context, measured, &self.first)?;
        let both = [&self.first, &self.measured];
        Ok(coherence::weigh(context, both, &self.weights)?)
    }

    fn improve(
        &mut self,
        context: &Context,
        pictures: [&Picture; 2],
        change: &Tensor,
        phase: &PhaseMap,
        out: &mut PictureMut,
    ) -> Result<()> {
        let [left, right] = &self.features;
        self.engine.estimate(&left.1, &right.1, phase)?;
        self.engine.trust(context, change)?;
        self.engine.judge(context, phase, &self.mask)?;
        let own = &mut self.picture.picture_mut()?;
        self.engine.synthesise(context, pictures, &self.mask, own)?;
        let own = self.picture.picture(pictures[0])?;
        mix::mix(context, &self.weights, HALF_CELL, &own, out)
    }
}
