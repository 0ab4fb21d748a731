//! The engine without GStreamer: two pictures in, one between them out.

use std::sync::Arc;

use candle_core::Tensor;
use gstvideointerpolate::error::Result;
use gstvideointerpolate::interpolator::{
    After, Beyond, Coherence, Encoded, Findings, Interpolator, Motion, Options, Outcome, Settings,
    Turbulence,
};
use gstvideointerpolate::kernels::PhaseMap;
use gstvideointerpolate::network::{Model, Network};
use gstvideointerpolate::picture::{Color, Format, Picture, PictureMut};

use super::frame::Frame;

/// Makes the pictures between pictures of one size.
pub struct Middle {
    interpolator: Interpolator,
    settings: Settings,
}

impl Middle {
    /// With the built-in network in its usual size, on all CPUs.
    pub fn built_in(size: (usize, usize)) -> Result<Self> {
        Self::new(Network::embedded()?, size, 0, None)
    }

    /// `threads`: 0 is all; `scale`: see [`Options`].
    pub fn new(
        model: impl Into<Model>,
        (width, height): (usize, usize),
        threads: usize,
        scale: Option<f32>,
    ) -> Result<Self> {
        let (size, options) = ((width as u32, height as u32), Options::default());
        let options = Options { scale, ..options };
        let interpolator = Interpolator::with_options(model, Format::I420, size, threads, options)?;
        Ok(Self {
            interpolator,
            settings: Settings::default(),
        })
    }

    /// How things go between two pictures.
    pub fn set_motion(&mut self, motion: Motion) {
        self.settings.motion = motion;
    }

    /// Whether motion is looked at for what contradicts itself.
    pub fn set_coherence(&mut self, coherence: Coherence) {
        self.settings.coherence = coherence;
    }

    /// The picture half way, and what the engine made of the pair: at a cut it is `left`.
    pub fn make(&mut self, left: &Frame, right: &Frame) -> Result<(Frame, Outcome)> {
        let (before, after) = (self.encode(left)?, self.encode(right)?);
        self.at((left, &before), (right, &after), None, 0.5)
    }

    /// What the engine keeps of a picture, for both its pairs.
    pub fn encode(&mut self, frame: &Frame) -> Result<Arc<Encoded>> {
        self.interpolator.encode(&picture(frame)?)
    }

    /// The picture at `phase`, 0 to 1, and what the engine made of the pair: at a cut it is the
    /// nearer one, of equals the left one. Trajectories also look at the frame as far `after` the right one.
    pub fn at(
        &mut self,
        left: (&Frame, &Encoded),
        right: (&Frame, &Encoded),
        after: Option<(&Frame, &Encoded)>,
        phase: f32,
    ) -> Result<(Frame, Outcome)> {
        let (made, outcome) = self.at_phases(left, right, after, &PhaseMap::Uniform(phase))?;
        match outcome {
            Outcome::Cut if phase > 0.5 => Ok((right.0.clone(), outcome)),
            Outcome::Cut => Ok((left.0.clone(), outcome)),
            _ => Ok((made, outcome)),
        }
    }

    /// As [`Middle::at`] at phases that may differ from place to place; at a cut the picture is black.
    pub fn at_phases(
        &mut self,
        left: (&Frame, &Encoded),
        right: (&Frame, &Encoded),
        after: Option<(&Frame, &Encoded)>,
        phases: &PhaseMap,
    ) -> Result<(Frame, Outcome)> {
        let sides = (picture(left.0)?, picture(right.0)?);
        let next = after.map(|(frame, _)| picture(frame)).transpose()?;
        let after = next.as_ref().zip(after).map(|(picture, after)| After {
            picture,
            encoded: after.1,
            interval: self.settings.interval,
        });
        let (width, height) = (left.0.width, left.0.height);
        let mut made = Frame::new(width, height);
        let strides = [0, 1, 2].map(|plane| made.plane_size(plane).0 as isize);
        let [y, u, v] = made.planes_mut();
        let mut out = PictureMut::new(
            Format::I420,
            width as u32,
            height as u32,
            &mut [(y, strides[0]), (u, strides[1]), (v, strides[2])],
        )?;
        let outcome = self.interpolator.interpolate_before(
            after,
            (&sides.0, left.1),
            (&sides.1, right.1),
            phases,
            &self.settings,
            &mut out,
        )?;
        Ok((made, outcome))
    }

    /// The picture `ahead` intervals beyond `right`, and what the engine made of the pair; `right` where it goes on with no motion.
    pub fn beyond(
        &mut self,
        left: (&Frame, &Encoded),
        right: (&Frame, &Encoded),
        ahead: f32,
    ) -> Result<(Frame, Outcome)> {
        let sides = (picture(left.0)?, picture(right.0)?);
        let mut made = right.0.clone();
        let (width, height) = (made.width as u32, made.height as u32);
        let strides = [0, 1, 2].map(|plane| made.plane_size(plane).0 as isize);
        let [y, u, v] = made.planes_mut();
        let planes = &mut [(y, strides[0]), (u, strides[1]), (v, strides[2])];
        let mut out = PictureMut::new(Format::I420, width, height, planes)?;
        let taken_back = 0.0;
        let beyond = Beyond { ahead, taken_back };
        let (left, right) = ((&sides.0, left.1), (&sides.1, right.1));
        let settings = &self.settings;
        let outcome = self
            .interpolator
            .extrapolate(left, right, beyond, settings, &mut out)?;
        Ok((made, outcome))
    }

    /// How turbulent the motion of the last pair was, where that was looked at.
    pub fn turbulence(&self) -> Option<Turbulence> {
        self.interpolator.turbulence()
    }

    /// The motion between the last pair, see [`Interpolator::motion_found`].
    pub fn motion_found(&self) -> Option<&Tensor> {
        self.interpolator.motion_found()
    }

    /// What the engine found out about the last pair.
    pub fn findings(&self) -> Option<Findings<'_>> {
        self.interpolator.findings()
    }
}

/// A frame as the engine reads it.
///
/// # Errors
/// None that a frame has.
pub fn picture(frame: &Frame) -> Result<Picture<'_>> {
    let [y, u, v] = frame.planes();
    let stride = |plane| frame.plane_size(plane).0 as isize;
    Picture::new(
        Format::I420,
        frame.width as u32,
        frame.height as u32,
        Color::BT709,
        &[(y, stride(0)), (u, stride(1)), (v, stride(2))],
    )
}
