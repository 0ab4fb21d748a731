//! Pictures in the middle of larger ones, their edges repeated around: as EMA-VFI and AMT pad them.

use candle_core::{Device, Tensor};

use super::RGB;
use super::layers::answered;
use crate::error::Result;
use crate::kernels::{Context, PhaseMap, picture, pointwise};

/// Pixels of a cell of a plane of phases.
const PHASE_CELL: f32 = 8.0;

/// Where a picture lies.
#[derive(Debug, Clone, Copy)]
pub struct Centred {
    size: (usize, usize),
    /// Height and width with what lies around it.
    pub whole: (usize, usize),
    origin: (usize, usize),
}

impl Centred {
    /// A picture of `size` in one whose sides are multiples of `multiple`, and at least `least`.
    pub fn new(size: (usize, usize), multiple: usize, least: usize) -> Self {
        let whole = |n: usize| n.max(least).next_multiple_of(multiple);
        let whole = (whole(size.0), whole(size.1));
        Self {
            size,
            whole,
            origin: ((whole.0 - size.0) / 2, (whole.1 - size.1) / 2),
        }
    }

    /// The phase of the whole: of a plane of them, that of the cell that a whole one's middle lies in.
    ///
    /// # Errors
    /// None that a plane of the picture has.
    pub fn phase(&self, phase: &PhaseMap) -> Result<PhaseMap> {
        let PhaseMap::Plane(plane) = phase else {
            return Ok(phase.clone());
        };
        let (rows, columns) = plane.dims2()?;
        let values: Vec<f32> = plane.flatten_all()?.to_vec1()?;
        let whole = |n: usize| n / PHASE_CELL as usize;
        let (h, w) = (whole(self.whole.0), whole(self.whole.1));
        let within = |i: usize, origin: usize, cells: usize| {
            let cell = i as f32 + 0.5 - origin as f32 / PHASE_CELL;
            (cell.max(0.0) as usize).min(cells - 1)
        };
        let cells = (0..h).flat_map(|y| (0..w).map(move |x| (y, x)));
        let at = |(y, x)| {
            let row = within(y, self.origin.0, rows);
            values[row * columns + within(x, self.origin.1, columns)]
        };
        let plane = Tensor::from_vec(cells.map(at).collect(), (h, w), &Device::Cpu)?;
        Ok(PhaseMap::Plane(plane))
    }

    /// Fills the colours of `out`, of the whole size, with those of `picture`, which may be padded on the
    /// right and below.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn fill(&self, context: &Context, picture: &Tensor, out: &Tensor) -> Result<()> {
        let (h, w) = self.size;
        let own = picture
            .narrow(0, 0, h)?
            .narrow(1, 0, w)?
            .narrow(2, 0, RGB)?;
        let colors = out.narrow(2, 0, RGB)?;
        Ok(pointwise::surround(context, &own, self.origin, &colors)?)
    }

    /// Fills `out`, of the size that is answered for the picture, from what was `made` at the whole size.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn cut(&self, context: &Context, made: &Tensor, out: &Tensor) -> Result<()> {
        debug_assert_eq!(out.dims3()?.0, answered(self.size).0);
        let ((h, w), (top, left)) = (self.size, self.origin);
        let made = made.narrow(0, top, h)?.narrow(1, left, w)?;
        let own = out.narrow(0, 0, h)?.narrow(1, 0, w)?;
        picture::copy(context, &made, &own)?;
        Ok(picture::extend(context, out, self.size)?)
    }
}
