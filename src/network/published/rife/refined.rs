//! What came before RIFE 4 and takes a phase ("RIFEm"), and what InterpAny-Clearer has trained of it.
//! Its blocks also see both pictures as they are, and a refiner adds to the blend. From
//! `zzh-tech/InterpAny-Clearer: models/DI-RIFE/model/IFNet_{m,sdi,sdi_recur}.py`.
//!
//! Trained on distances ([D]) nothing else changes: the phase is the distance everywhere. With
//! iterative references ([D,R]) the blocks also see a picture nearer to the wanted one, and its
//! distance: the left one first, then what was made of it part of the way.

use candle_core::{Device, Tensor};

use super::versions::Sight;
use super::{RGB, Rife};
use crate::error::Result;
use crate::kernels::conv::{Activation, Filter};
use crate::kernels::{Context, PhaseMap, answers, picture};
use crate::network::checkpoint::Checkpoint;
use crate::network::published::layers::{self, Slopes, zeros};
use crate::network::published::refine::{self, LEVELS, Refiner};
use crate::network::published::views::{self, Pair, SIDE, View, Views};

/// Channel of the reference's phase, behind its colours and those of the left picture.
const REFERENCE_PHASE: usize = 2 * RGB;

/// The weights of what follows the blocks.
#[derive(Debug)]
pub struct Refined {
    has_reference: bool,
    /// Features of a picture, each level half the size of the one before.
    features: Vec<[Filter; 2]>,
    refiner: Refiner,
}

/// Where the first convolution of block `i` finds its inputs in both views. Its authors order them as
/// colours, phase (that of the reference and its colours), warped colours, mask, flow; the first
/// block has nothing after the phases.
pub fn places(sight: Sight, i: usize) -> Vec<Option<usize>> {
    let referring = (sight == Sight::Referring).then(|| {
        let phase = View::Plain.side(0, REFERENCE_PHASE).take(1);
        phase.chain(View::Plain.side(0, RGB))
    });
    let before = (i > 0).then(|| View::Warped.colors().chain(views::motion()));
    let order = View::Plain.colors().chain([views::phase()]);
    views::places(
        order
            .chain(referring.into_iter().flatten())
            .chain(before.into_iter().flatten()),
    )
}

impl Refined {
    /// Reads it, if the blocks are of its kind.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn load(checkpoint: &Checkpoint, sight: Sight) -> Result<Option<Self>> {
        if sight == Sight::Warped {
            return Ok(None);
        }
        let refiner = Refiner::load(checkpoint, 0)?;
        let level = |k: usize| {
            let width = refiner.features(k);
            let inputs = if k == 1 { RGB } else { refiner.features(k - 1) };
            let conv = |i: usize, inputs, stride| {
                let name = format!("contextnet.conv{k}.conv{i}");
                let slopes = Slopes::Named(format!("{name}.1"));
                let shape = [width, inputs, 3];
                layers::convolution(checkpoint, &format!("{name}.0"), shape, stride, &slopes)
            };
            Ok([conv(1, inputs, 2)?, conv(2, width, 1)?])
        };
        Ok(Some(Self {
            has_reference: sight == Sight::Referring,
            features: (1..=LEVELS).map(level).collect::<Result<_>>()?,
            refiner,
        }))
    }

    /// Memory for pictures of a padded size, and views of these.
    pub fn space(
        &self,
        device: &Device,
        size: (usize, usize),
        views: impl Iterator<Item = (usize, usize)> + Clone,
        iterations: u32,
    ) -> Result<Space> {
        let (h, w) = size;
        let zeros = |shape| zeros(device, shape);
        let room = |k: usize| zeros([h >> k, w >> k, self.refiner.features(k)]);
        let levels = 1..=LEVELS;
        Ok(Space {
            views: Views::new(device, views.chain([size]))?,
            refiner: self.refiner.space(device, size)?,
            middle: levels.clone().map(room).collect::<Result<_>>()?,
            features: levels
                .map(|k| Ok([room(k)?, room(k)?]))
                .collect::<Result<_>>()?,
            left: zeros([h, w, SIDE])?,
            made: [zeros([h, w, RGB])?, zeros([h, w, RGB])?],
            steps: match self.has_reference {
                true => iterations.max(1),
                false => 1,
            },
        })
    }

    /// Makes the features of one picture.
    fn encode(&self, context: &Context, space: &Space, side: usize, image: &Tensor) -> Result<()> {
        let colors = image.narrow(2, 0, RGB)?;
        let mut input = &colors;
        for (k, [first, second]) in self.features.iter().enumerate() {
            let (middle, out) = (&space.middle[k], &space.features[k][side]);
            first.apply(context, &[input], None, Activation::Leaky, middle)?;
            second.apply(context, &[middle], None, Activation::Leaky, out)?;
            input = out;
        }
        Ok(())
    }
}

/// Memory for pictures of one size.
#[derive(Debug)]
pub struct Space {
    pub views: Views,
    refiner: refine::Space,
    middle: Vec<Tensor>,
    /// Of both sides, finest first.
    features: Vec<[Tensor; 2]>,
    /// The left picture, behind it the reference and its phase.
    left: Tensor,
    /// The blend, and the picture.
    made: [Tensor; 2],
    steps: u32,
}

impl Space {
    /// The colours of the reference.
    fn reference(&self) -> Result<Tensor> {
        Ok(self.left.narrow(2, RGB, RGB)?)
    }
}

/// A share of the way to a phase.
fn part(phase: &PhaseMap, share: f32) -> Result<PhaseMap> {
    Ok(match phase {
        PhaseMap::Uniform(phase) => PhaseMap::Uniform(phase * share),
        PhaseMap::Plane(plane) => PhaseMap::Plane((plane * f64::from(share))?),
    })
}

impl Rife {
    /// As [`Rife::run`], for a network that refines.
    pub(super) fn run_refined(
        &self,
        context: &Context,
        refined: &Refined,
        (space, own): (&super::Space, &Space),
        (sides, phase): ([&Tensor; 2], &PhaseMap),
        (motion, residual): (&Tensor, &Tensor),
    ) -> Result<()> {
        for (side, image) in sides.into_iter().enumerate() {
            refined.encode(context, own, side, image)?;
        }
        let colors = [sides[0].narrow(2, 0, RGB)?, sides[1].narrow(2, 0, RGB)?];
        picture::copy(context, &colors[0], &own.left.narrow(2, 0, RGB)?)?;
        picture::copy(context, &colors[0], &own.reference()?)?;
        for step in 0..own.steps {
            let [before, phase] =
                [step, step + 1].map(|s| part(phase, s as f32 / own.steps as f32));
            let phase = &phase?;
            let place = own.left.narrow(2, REFERENCE_PHASE, 1)?;
            answers::phases(context, &before?, 1, &place)?;
            let pair = Pair {
                sides,
                left: &own.left,
                phase,
            };
            let all = self.answers(context, space, &pair)?;
            let all = all.all();
            answers::conclude(context, (&all, self.masks), motion)?;
            let views = own.views.of(context, &pair, &all, 1.0, space.size)?;
            let answer = (motion, residual);
            let refiner = &refined.refiner;
            refiner.run(context, &own.refiner, &views, &own.features, answer)?;
            if step + 1 < own.steps {
                let [blend, whole] = &own.made;
                picture::blend(context, [&colors[0], &colors[1]], motion, blend)?;
                picture::add_clamped(context, blend, residual, whole)?;
                picture::copy(context, whole, &own.reference()?)?;
            }
        }
        Ok(())
    }
}
