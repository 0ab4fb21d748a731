//! The engine without GStreamer: two pictures in, the one half way out.

use std::path::Path;

use gstvideointerpolate::error::Result;
use gstvideointerpolate::interpolator::{Interpolator, Outcome, Settings};
use gstvideointerpolate::kernels::PhaseMap;
use gstvideointerpolate::network::Network;
use gstvideointerpolate::picture::{Color, Format, Picture, PictureMut};

use super::frame::Frame;

/// Makes the pictures half way between pictures of one size.
pub struct Middle {
    interpolator: Interpolator,
    settings: Settings,
}

impl Middle {
    /// `model`: a weight file; none: the built-in network. `threads`: 0 is all.
    pub fn new(
        model: Option<&Path>,
        (width, height): (usize, usize),
        threads: usize,
    ) -> Result<Self> {
        let network = match model {
            Some(path) => Network::load(path)?,
            None => Network::embedded()?,
        };
        let interpolator =
            Interpolator::new(network, Format::I420, width as u32, height as u32, threads)?;
        Ok(Self {
            interpolator,
            settings: Settings::default(),
        })
    }

    /// The picture half way, and what the engine made of the pair: at a cut it is `left`.
    pub fn make(&mut self, left: &Frame, right: &Frame) -> Result<(Frame, Outcome)> {
        let (before, after) = (picture(left)?, picture(right)?);
        let before_encoded = self.interpolator.encode(&before)?;
        let after_encoded = self.interpolator.encode(&after)?;
        let mut made = Frame::new(left.width, left.height);
        let strides = [0, 1, 2].map(|plane| made.plane_size(plane).0 as isize);
        let [y, u, v] = made.planes_mut();
        let mut out = PictureMut::new(
            Format::I420,
            left.width as u32,
            left.height as u32,
            &mut [(y, strides[0]), (u, strides[1]), (v, strides[2])],
        )?;
        let outcome = self.interpolator.interpolate(
            (&before, &before_encoded),
            (&after, &after_encoded),
            &PhaseMap::Uniform(0.5),
            &self.settings,
            &mut out,
        )?;
        match outcome {
            Outcome::Cut => Ok((left.clone(), outcome)),
            _ => Ok((made, outcome)),
        }
    }
}

fn picture(frame: &Frame) -> Result<Picture<'_>> {
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
