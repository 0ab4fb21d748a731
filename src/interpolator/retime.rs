//! Parts of a picture that have come further than the rest, or less far, and parts that are held.
//!
//! Masks say which label is where in the left picture and in the right one. For every distance that labels have gone the whole picture
//! is made as at a phase of that distance, for which networks were trained; what of it comes from the masked places, in
//! the motion that it was made with, are the labels ([`Region::shown`]). They are laid over the picture of the rest, from which
//! they were taken out where they would be at its phase ([`cells::background`]). All masks are soft and have one value for 4x4
//! pixels, as the motion has.

use candle_core::{Device, Tensor};

use super::{After, Encoded, Findings, Interpolator, Outcome, Settings};
use crate::error::{Error, Result};
use crate::kernels::PhaseMap;
use crate::kernels::synthesis::{Lattice, synthesise};
use crate::picture::{Format, Picture, PictureMut};

mod cells;
#[cfg(test)]
mod tests;

use cells::{Grid, Motion, Region};

/// A phase lies inside 0 to 1: so much at least. Of 128 pixels it is an eighth of one.
const NEAREST: f32 = 1.0 / 1024.0;
/// Distances nearer to each other are the same.
const SAME: f32 = 1e-6;

/// Labels of the places of a picture, row by row; whatever its size, a mask covers the whole picture.
#[derive(Debug, Clone, Copy)]
pub struct Labels<'a> {
    width: usize,
    height: usize,
    data: &'a [u8],
}

impl<'a> Labels<'a> {
    /// A mask of `width` x `height` bytes.
    ///
    /// # Errors
    /// `data` has another length, or is empty.
    pub fn new(width: usize, height: usize, data: &'a [u8]) -> Result<Self> {
        let found = data.len();
        match width.checked_mul(height) {
            Some(wanted) if wanted == found && found > 0 => Ok(Self {
                width,
                height,
                data,
            }),
            _ => Err(Error::Labels {
                width,
                height,
                found,
            }),
        }
    }

    /// Whether both are the same mask, not merely equal ones.
    fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self.data, other.data)
    }
}

/// When the parts of a picture are to be seen.
#[derive(Debug, Clone, Copy)]
pub struct Retiming<'a> {
    /// Phase of all that has no label of `distances`.
    pub phase: f32,
    /// Masks of the left and of the right picture. Where both are one, what moves is where the left picture has it.
    pub labels: [Option<Labels<'a>>; 2],
    /// Labels, and the share of the way, 0 to 1, that each has gone from the left picture to the right one. What
    /// comes later covers what comes before; label 0 is behind all.
    pub distances: &'a [(u8, f32)],
    /// Labels whose places are taken from the nearer picture as they are; they cover all others.
    pub held: &'a [u8],
}

/// Two pictures and what is known around them.
#[derive(Clone, Copy)]
struct Pair<'a> {
    after: Option<After<'a>>,
    left: (&'a Picture<'a>, &'a Encoded),
    right: (&'a Picture<'a>, &'a Encoded),
    settings: &'a Settings,
}

/// Labels that have gone equally far.
struct Group {
    labels: Vec<u8>,
    distance: f32,
}

/// Labels in a picture, to be laid over others.
struct Layer {
    /// Where they are in both pictures.
    region: Region,
    /// How much of each cell they cover.
    cover: Vec<f32>,
    /// The picture that shows them; none: that of the nearer side.
    canvas: Option<OwnPicture>,
}

impl Retiming<'_> {
    fn is_held(&self, label: u8) -> bool {
        self.held.contains(&label)
    }

    /// Distance of what has no other, and the groups that have another, from the rear to the front.
    fn groups(&self) -> (f32, Vec<Group>) {
        let mut seen = [false; 256];
        for labels in self.labels.iter().flatten() {
            labels
                .data
                .iter()
                .for_each(|l| seen[usize::from(*l)] = true);
        }
        let inside = |distance: f32| distance.clamp(NEAREST, 1.0 - NEAREST);
        let listed = self.distances.iter().map(|(l, d)| (*l, inside(*d)));
        let known = |label: u8| listed.clone().find(|d| d.0 == label);
        let rest = match known(0).filter(|_| !self.is_held(0)) {
            Some((_, distance)) => distance,
            None => self.phase,
        };
        let others = (0..=255).filter(|label| known(*label).is_none());
        let others = others.map(|label| (label, self.phase));
        let mut groups: Vec<Group> = Vec::new();
        for (label, distance) in others.chain(listed.clone()) {
            let same = |other: f32| (distance - other).abs() < SAME;
            if label == 0 || !seen[usize::from(label)] || self.is_held(label) || same(rest) {
                continue;
            }
            match groups.iter_mut().find(|g| same(g.distance)) {
                Some(group) => group.labels.push(label),
                None => groups.push(Group {
                    labels: vec![label],
                    distance,
                }),
            }
        }
        (rest, groups)
    }

    /// The masks of both pictures, that of the other one where one is missing.
    fn both(&self) -> Option<[Labels<'_>; 2]> {
        let [left, right] = self.labels;
        Some([left.or(right)?, right.or(left)?])
    }
}

impl Interpolator {
    /// As [`Interpolator::interpolate_before`], with parts of the picture at distances of their own. Takes as long as so many more
    /// pictures as there are distances other than the phase.
    ///
    /// # Errors
    /// As [`Interpolator::interpolate`].
    pub fn retime(
        &mut self,
        after: Option<After>,
        left: (&Picture, &Encoded),
        right: (&Picture, &Encoded),
        retiming: &Retiming,
        settings: &Settings,
        out: &mut PictureMut,
    ) -> Result<Outcome> {
        let pair = Pair {
            after,
            left,
            right,
            settings,
        };
        let (rest, groups) = retiming.groups();
        let mut layers = Vec::new();
        for group in &groups {
            layers.extend(self.moved(&pair, retiming, group)?);
        }
        layers.extend(self.held(retiming)?);
        if layers.is_empty() {
            return self.at(&pair, rest, out);
        }
        let mut below = self.own_picture();
        let outcome = self.at(&pair, rest, &mut below.picture_mut()?)?;
        if outcome == Outcome::Cut {
            return Ok(outcome);
        }
        if let Some(motion) = self.found_motion()? {
            self.uncover(&pair, rest, &motion, &layers, &mut below)?;
        }
        let side = usize::from(retiming.phase > 0.5);
        for layer in &layers {
            let own = layer.canvas.as_ref().map(|canvas| canvas.picture(left.0));
            let top = own.unwrap_or(Ok(*[left.0, right.0][side]))?;
            self.lay(&top, &layer.cover, &mut below)?;
        }
        out.copy_from(&below.picture(left.0)?)?;
        Ok(outcome)
    }

    /// The picture with everything at one distance.
    fn at(&mut self, pair: &Pair, distance: f32, out: &mut PictureMut) -> Result<Outcome> {
        let phase = PhaseMap::Uniform(distance);
        let Pair {
            after,
            left,
            right,
            settings,
        } = *pair;
        // what is made next is at another distance
        let settings = Settings {
            then: None,
            ..*settings
        };
        self.interpolate_before(after, left, right, &phase, &settings, out)
    }

    /// The motion of the picture made last, if it was made from motion.
    fn found_motion(&self) -> Result<Option<Motion>> {
        match self.findings() {
            Some(Findings::Motion { flow, mask, .. }) => Motion::read(flow, mask).map(Some),
            _ => Ok(None),
        }
    }

    /// Labels that have gone equally far; `None` where nothing moves, or nothing is known of how.
    fn moved(&mut self, pair: &Pair, retiming: &Retiming, group: &Group) -> Result<Option<Layer>> {
        let grid = self.grid()?;
        let mut canvas = self.own_picture();
        let of = |labels: &Labels| labels.coverage(&grid, |label| group.labels.contains(&label));
        let region = match retiming.labels {
            [Some(left), Some(right)] if !left.is(&right) => [of(&left), of(&right)],
            [left, right] => {
                let (side, known) = match left {
                    Some(left) => (0, of(&left)),
                    None => (1, right.as_ref().map(of).unwrap_or_default()),
                };
                let end = if side == 0 { NEAREST } else { 1.0 - NEAREST };
                self.at(pair, end, &mut canvas.picture_mut()?)?;
                let Some(motion) = self.found_motion()? else {
                    return Ok(None);
                };
                let carried = motion.carry(&grid, &known, side);
                if side == 0 {
                    [known, carried]
                } else {
                    [carried, known]
                }
            }
        };
        let region = Region::new(&grid, region);
        self.at(pair, group.distance, &mut canvas.picture_mut()?)?;
        Ok(self.found_motion()?.map(|motion| Layer {
            cover: region.shown(&grid, &motion),
            region,
            canvas: Some(canvas),
        }))
    }

    /// What is held, if there is any.
    fn held(&self, retiming: &Retiming) -> Result<Option<Layer>> {
        let grid = self.grid()?;
        let Some(labels) = retiming.both().filter(|_| !retiming.held.is_empty()) else {
            return Ok(None);
        };
        let sides = labels.map(|l| l.coverage(&grid, |label| retiming.is_held(label)));
        let cover = grid.wholly(&sides[usize::from(retiming.phase > 0.5)]);
        let is_any = cover.iter().any(|covered| *covered > 0.0);
        Ok(is_any.then(|| Layer {
            cover,
            region: Region::new(&grid, sides),
            canvas: None,
        }))
    }

    /// Takes the labels of the layers out of a picture made at a distance with this motion: what is behind them is
    /// seen there.
    fn uncover(
        &mut self,
        pair: &Pair,
        distance: f32,
        motion: &Motion,
        layers: &[Layer],
        picture: &mut OwnPicture,
    ) -> Result<()> {
        let grid = self.grid()?;
        let region = Region::union(&grid, layers.iter().map(|layer| &layer.region));
        let ghosts = region.traces(&grid, motion);
        let behind = cells::background(&grid, &region, motion, distance);
        let (flow, mask) = behind.tensors(&grid)?;
        let mut canvas = self.own_picture();
        let (left, right) = (pair.left.0, pair.right.0);
        let behind = (&flow, &mask, Lattice::Quarter);
        synthesise(
            &self.context,
            left,
            right,
            behind,
            &mut canvas.picture_mut()?,
        )?;
        self.lay(&canvas.picture(left)?, &ghosts, picture)
    }

    /// Lays a picture over another one, with a weight for each cell.
    fn lay(&self, top: &Picture, weights: &[f32], below: &mut OwnPicture) -> Result<()> {
        let grid = self.grid()?;
        let shape = (grid.height, grid.width, 1);
        let weights = Tensor::from_slice(weights, shape, &Device::Cpu)?;
        let still = (&self.still, &weights, Lattice::Quarter);
        let mut laid = self.own_picture();
        let bottom = below.picture(top)?;
        synthesise(&self.context, top, &bottom, still, &mut laid.picture_mut()?)?;
        std::mem::swap(below, &mut laid);
        Ok(())
    }

    fn grid(&self) -> Result<Grid> {
        let (height, width, _) = self.still.dims3()?;
        Ok(Grid {
            width,
            height,
            picture: (self.width as usize, self.height as usize),
        })
    }

    fn own_picture(&self) -> OwnPicture {
        OwnPicture::new(self.format, (self.width, self.height))
    }
}

/// A picture of our own.
pub(super) struct OwnPicture {
    format: Format,
    size: (u32, u32),
    planes: Vec<(Vec<u8>, isize)>,
}

impl OwnPicture {
    pub(super) fn new(format: Format, size: (u32, u32)) -> Self {
        let plane = |plane: usize| {
            let stride = format.row_bytes(plane, size.0);
            (
                vec![0; stride * format.rows(plane, size.1)],
                stride as isize,
            )
        };
        Self {
            format,
            size,
            planes: (0..format.planes()).map(plane).collect(),
        }
    }

    /// With the colours of `like`.
    pub(super) fn picture(&self, like: &Picture) -> Result<Picture<'_>> {
        let planes = self.planes.iter();
        let planes: Vec<_> = planes.map(|(data, stride)| (&data[..], *stride)).collect();
        Picture::new(self.format, self.size.0, self.size.1, like.color(), &planes)
    }

    pub(super) fn picture_mut(&mut self) -> Result<PictureMut<'_>> {
        let planes = self.planes.iter_mut();
        let mut planes: Vec<_> = planes
            .map(|(data, stride)| (&mut data[..], *stride))
            .collect();
        PictureMut::new(self.format, self.size.0, self.size.1, &mut planes)
    }
}
