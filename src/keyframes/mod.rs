//! A video in the look of some of its frames, which somebody has edited.
//!
//! From a frame to its keyframe motion is chained from neighbour to neighbour, and re-estimated against the keyframe's own source at
//! every frame, so that errors do not add up; of both the better is taken where it is (`fit`). What a keyframe says is not its
//! colours but what it has made of its source (`style`). Keyframes before and after are fused by how far each is trusted there and
//! by how near it is, and the frame is moved until it moves as its source does (`root`). [`Sequence`] has all of it in order.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use crate::error::Result;
use crate::interpolator::check_size;
use crate::kernels::search::{Space, search, search_from};
use crate::kernels::{Context, view};
use crate::network::{Encoded, Network, Workspace};
use crate::picture::{Format, Picture, PictureMut};

mod displacement;
mod field;
mod fit;
mod plane;
mod root;
mod sequence;
mod style;
#[cfg(test)]
mod tests;

pub use field::Field;
pub use sequence::{Frame, Job, Sequence};

use plane::{Plane, guide};
use root::Warped;
use style::Style;

/// Pixels of the picture that a cell is wide and high.
const CELL: f32 = 4.0;
/// The level of luma that motion is searched down to: half the picture's size.
const FINEST: usize = 0;
/// Levels that are searched again against a keyframe.
const AGAIN: usize = 2;

/// How far the search for the frame that moves as its source goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Most steps; 0: none, and no residual is measured.
    pub iterations: usize,
    /// Residual, in pixels, below which no further step is taken.
    pub tolerance: f32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            iterations: 3,
            tolerance: 0.02,
        }
    }
}

/// A source picture as the network sees it.
#[derive(Debug)]
pub struct Look(Encoded);

/// Motion between two neighbours.
#[derive(Debug, Clone)]
pub struct Step {
    forth: Field,
    back: Field,
}

impl Step {
    /// The same between the same pictures in the other order.
    pub fn reversed(self) -> Self {
        Self {
            forth: self.back,
            back: self.forth,
        }
    }

    /// From the later picture to the earlier one.
    pub fn back(&self) -> &Field {
        &self.back
    }
}

/// A picture in the wanted look, and what it was made of.
#[derive(Debug)]
pub struct Keyframe {
    look: Look,
    styles: Vec<Style>,
    /// Luma (or green) of both.
    source: Plane,
    styled: Plane,
}

/// Motion between a frame and a keyframe.
#[derive(Debug, Clone)]
pub struct Track {
    /// From the frame to the keyframe.
    to: Field,
    /// From the keyframe to the frame.
    from: Field,
    /// How far the first can be trusted, 0 to 1.
    trust: Plane,
}

/// A keyframe that a frame is made from.
pub struct Side<'a> {
    pub key: &'a Keyframe,
    pub track: &'a Track,
    /// How much it counts because of its distance.
    pub weight: f32,
}

/// Makes frames of one size and format.
pub struct Propagator {
    context: Context,
    format: Format,
    size: (u32, u32),
    network: Arc<Network>,
    workspace: Workspace,
    view: Tensor,
    space: Space,
    ways: [Tensor; 2],
}

impl Propagator {
    /// For pictures of that format, width and height; `threads`: 0 is one a CPU.
    ///
    /// # Errors
    /// The threads cannot be made, or the size is empty or too large.
    pub fn new(
        network: Arc<Network>,
        format: Format,
        (width, height): (u32, u32),
        threads: usize,
    ) -> Result<Self> {
        check_size(width, height)?;
        let context = Context::new(threads)?;
        let view = view::size(height as usize, width as usize);
        let workspace = network.workspace(&context, view.0, view.1)?;
        let sizes = workspace.encoded()?.luma;
        let sizes = sizes
            .iter()
            .map(|level| level.dims3().map(|(h, w, _)| (h, w)));
        let space = Space::new(&sizes.collect::<candle_core::Result<Vec<_>>>()?, FINEST)?;
        let zeros = |channels| Tensor::zeros((view.0, view.1, channels), DType::F32, &Device::Cpu);
        Ok(Self {
            ways: [zeros(2)?, zeros(2)?],
            view: workspace.view()?,
            format,
            size: (width, height),
            network,
            workspace,
            space,
            context,
        })
    }

    /// Fails unless the picture is of the format and size.
    fn expect(&self, picture: &Picture) -> Result<()> {
        picture.expect(self.format, self.size.0, self.size.1)
    }

    /// What is needed of a source picture to find motion.
    ///
    /// # Errors
    /// Another format or size.
    pub fn look(&mut self, picture: &Picture) -> Result<Look> {
        self.expect(picture)?;
        view::view(&self.context, picture, &self.view)?;
        let mut encoded = self.workspace.encoded()?;
        self.network
            .encode(&mut self.workspace, &self.view, &mut encoded)?;
        Ok(Look(encoded))
    }

    /// A keyframe: how it looks, and the frame that was edited.
    ///
    /// # Errors
    /// Another format or size.
    pub fn keyframe(&mut self, source: &Picture, styled: &Picture) -> Result<Keyframe> {
        self.expect(styled)?;
        let look = self.look(source)?;
        let context = &self.context;
        let mut planes = [source, styled].map(|p| style::planes(context, p));
        let pairs = planes[0].iter().zip(&planes[1]);
        let styles = pairs.map(|(source, styled)| Style::new(context, source, styled));
        let styles = styles.collect();
        let guide = guide(self.format);
        let [source, styled] = planes.each_mut().map(|planes| planes.swap_remove(guide));
        Ok(Keyframe {
            look,
            styles,
            source,
            styled,
        })
    }

    /// Motion between two neighbours, the first one being the earlier.
    ///
    /// # Errors
    /// None that pictures inside of memory have.
    pub fn step(&mut self, before: &Look, after: &Look) -> Result<Step> {
        let pyramids = [&before.0.luma[..], &after.0.luma[..]];
        search(
            &self.context,
            pyramids,
            &mut self.space,
            self.ways.each_ref(),
        )?;
        Ok(Step {
            forth: Field::read(&self.ways[0])?,
            back: Field::read(&self.ways[1])?,
        })
    }

    /// Motion between `frame` and a keyframe, from that of its neighbour (`None`: the keyframe's own source) and the `step` from
    /// the neighbour to the frame.
    ///
    /// # Errors
    /// As [`Propagator::step`].
    pub fn follow(
        &mut self,
        key: &Keyframe,
        neighbour: Option<&Track>,
        step: &Step,
        frame: &Look,
    ) -> Result<Track> {
        let context = &self.context;
        let chained = match neighbour {
            Some(track) => [
                track.from.then(context, &step.forth),
                step.back.then(context, &track.to),
            ],
            None => [step.forth.clone(), step.back.clone()],
        };
        let found = self.again(&chained, key, frame)?;
        let (context, source) = (&self.context, &key.look.0);
        let cost =
            |field: &Field, own: &Encoded, other: &Encoded| fit::cost(context, own, other, field);
        let choose = |i: usize, own: &Encoded, other: &Encoded| -> Result<(Field, Plane)> {
            let fields = [&found[i], &chained[i]];
            let costs = [cost(fields[0], own, other)?, cost(fields[1], own, other)?];
            Ok(fit::choose(context, fields, costs.each_ref()))
        };
        let (from, _) = choose(0, source, &frame.0)?;
        let (to, cost) = choose(1, &frame.0, source)?;
        Ok(Track {
            trust: fit::trust(context, &cost, &to, &from),
            to,
            from,
        })
    }

    /// Motion from a keyframe's source to a frame and back, searched from `starts`.
    fn again(&mut self, starts: &[Field; 2], key: &Keyframe, frame: &Look) -> Result<[Field; 2]> {
        let pyramids = [&key.look.0.luma[..], &frame.0.luma[..]];
        let [forth, back] = starts.each_ref().map(Field::tensor);
        let starts = ([&forth?, &back?], AGAIN);
        let ways = self.ways.each_ref();
        search_from(&self.context, pyramids, &mut self.space, starts, ways)?;
        Ok([Field::read(&self.ways[0])?, Field::read(&self.ways[1])?])
    }

    /// Makes a frame from the keyframes at its `sides`, one or more, and answers the residuals, see `root::solve`.
    ///
    /// # Errors
    /// Another format or size.
    pub fn make(
        &self,
        picture: &Picture,
        sides: &[Side],
        settings: &Settings,
        out: &mut PictureMut,
    ) -> Result<Vec<f32>> {
        self.expect(picture)?;
        out.expect(self.format, self.size.0, self.size.1)?;
        let context = &self.context;
        let planes = style::planes(context, picture);
        let mut sides: Vec<Warped> = sides.iter().map(Warped::new).collect();
        let source = &planes[guide(self.format)];
        let residuals = root::solve(context, &mut sides, picture, source, settings);
        // what lies beside the components
        out.copy_from(picture)?;
        for (c, source) in planes.iter().enumerate() {
            root::render(context, &sides, picture, c, source).store(c, out);
        }
        Ok(residuals)
    }
}
