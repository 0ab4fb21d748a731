//! Two pictures and a phase in, one picture out.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::kernels::{Context, PhaseMap};
use crate::network::Network;
use crate::picture::{Color, Format, Picture, PictureMut};

/// What to do where two pictures do not belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SceneAction {
    /// The caller shows the nearer picture.
    #[default]
    Nearest,
    /// The pictures are dissolved into each other.
    Blend,
}

/// What may change from frame to frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Score above which two pictures are a cut apart, see [`crate::scene`]; 0 disables.
    pub scene_threshold: f64,
    pub scene_action: SceneAction,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            scene_threshold: DEFAULT_SCENE_THRESHOLD,
            scene_action: SceneAction::default(),
        }
    }
}

/// Default of [`Settings::scene_threshold`].
pub const DEFAULT_SCENE_THRESHOLD: f64 = 0.5;

/// What became of the output picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The picture was made from motion.
    Interpolated,
    /// A cut, and the pictures were dissolved into each other.
    Blended,
    /// A cut, and nothing was written: show the nearer original.
    Cut,
}

/// What the network sees of one source picture; goes back to a pool when dropped.
#[derive(Debug)]
pub struct Encoded {}

/// Makes pictures between pictures of one format and size.
pub struct Interpolator {
    format: Format,
    width: u32,
    height: u32,
    _network: Arc<Network>,
    _context: Context,
}

impl Interpolator {
    /// `threads`: 0 takes one a CPU. `color` is that of the stream.
    ///
    /// # Errors
    /// The size is empty, or the threads cannot be started.
    pub fn new(
        network: Arc<Network>,
        format: Format,
        width: u32,
        height: u32,
        _color: Color,
        threads: usize,
    ) -> Result<Self> {
        if width == 0 || height == 0 {
            return Err(Error::EmptyPicture { width, height });
        }
        let context = Context::new(threads)?;
        Ok(Interpolator {
            format,
            width,
            height,
            _network: network,
            _context: context,
        })
    }

    /// What the network needs of a source picture; make it once and use it for both its pairs.
    ///
    /// # Errors
    /// The picture has another format or size.
    pub fn encode(&mut self, picture: &Picture) -> Result<Arc<Encoded>> {
        picture.expect(self.format, self.width, self.height)?;
        Ok(Arc::new(Encoded {}))
    }

    /// Makes the picture at `phase` between `left` and `right`, which are in time order.
    ///
    /// # Errors
    /// A picture has another format or size, or a phase is not strictly between 0 and 1.
    pub fn interpolate(
        &mut self,
        left: (&Picture, &Encoded),
        right: (&Picture, &Encoded),
        phase: &PhaseMap,
        _settings: &Settings,
        out: &mut PictureMut,
    ) -> Result<Outcome> {
        left.0.expect(self.format, self.width, self.height)?;
        right.0.expect(self.format, self.width, self.height)?;
        out.expect(self.format, self.width, self.height)?;
        let PhaseMap::Uniform(phase) = *phase else {
            return Err(Error::Phase(f32::NAN));
        };
        if !(phase > 0.0 && phase < 1.0) {
            return Err(Error::Phase(phase));
        }
        blend(left.0, right.0, 1.0 - phase, out);
        Ok(Outcome::Interpolated)
    }
}

/// Dissolves: `weight` is the left picture's.
fn blend(left: &Picture, right: &Picture, weight: f32, out: &mut PictureMut) {
    for c in left.format().components() {
        for y in 0..c.height(left.height()) {
            let (l, r) = (left.row(c.plane, y), right.row(c.plane, y));
            let o = out.row_mut(c.plane, y);
            for x in 0..c.width(left.width()) {
                let (a, b) = (c.load(l, x) as f32, c.load(r, x) as f32);
                c.store(o, x, (b + weight * (a - b)).round_ties_even() as u32);
            }
        }
    }
}
