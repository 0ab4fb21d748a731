//! What the confidence is worth: a table of predicted confidence against true error.

/// Bins of equal width from 0 to 1.
pub const BINS: usize = 10;
/// Side of a cell, in pixels: that of the network's answer.
const CELL: usize = 4;

/// Sums over the cells of one bin.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
pub struct Bin {
    pub cells: u64,
    confidence: f64,
    error: f64,
    nearer_error: f64,
    /// Cells that are nearer to the truth than the nearer kept frame, or as near.
    better: u64,
}

impl Bin {
    /// Mean confidence.
    pub fn confidence(&self) -> f64 {
        self.confidence / self.cells as f64
    }

    /// Mean absolute error of luma of the made frame, codes of 8 bits.
    pub fn error(&self) -> f64 {
        self.error / self.cells as f64
    }

    /// The same of the nearer kept frame.
    pub fn nearer_error(&self) -> f64 {
        self.nearer_error / self.cells as f64
    }

    /// Share of the cells in which the made frame is no worse than the nearer kept one.
    pub fn better(&self) -> f64 {
        self.better as f64 / self.cells as f64
    }
}

/// Luma planes of one size.
pub struct Planes<'a> {
    pub made: &'a [u8],
    pub nearer: &'a [u8],
    pub truth: &'a [u8],
    pub width: usize,
    pub height: usize,
}

/// The table; cells of all clips in one.
#[derive(Default)]
pub struct Reliability {
    pub bins: [Bin; BINS],
}

impl Reliability {
    /// Adds all cells of a frame; `confidence` is that at a pixel, 0 to 1.
    pub fn add(&mut self, planes: &Planes, confidence: impl Fn(usize, usize) -> f32) {
        for y in (0..planes.height).step_by(CELL) {
            for x in (0..planes.width).step_by(CELL) {
                // not `clamp`: what is no number counts as 0
                let confidence = match confidence(x, y) {
                    some if some > 0.0 => some.min(1.0),
                    _ => 0.0,
                };
                let error = planes.error(planes.made, x, y);
                let nearer_error = planes.error(planes.nearer, x, y);
                let bin = ((confidence * BINS as f32) as usize).min(BINS - 1);
                let bin = &mut self.bins[bin];
                bin.cells += 1;
                bin.confidence += f64::from(confidence);
                bin.error += error;
                bin.nearer_error += nearer_error;
                bin.better += u64::from(error <= nearer_error);
            }
        }
    }

    /// Cells of all bins.
    pub fn cells(&self) -> u64 {
        self.bins.iter().map(|b| b.cells).sum()
    }
}

impl Planes<'_> {
    /// Mean absolute error of the cell that begins at a pixel.
    fn error(&self, plane: &[u8], x: usize, y: usize) -> f64 {
        let (columns, rows) = (x..self.width.min(x + CELL), y..self.height.min(y + CELL));
        let count = columns.len() * rows.len();
        let of_row = |y: usize| {
            let row = y * self.width + columns.start..y * self.width + columns.end;
            let pairs = plane[row.clone()].iter().zip(&self.truth[row]);
            pairs.map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>()
        };
        f64::from(rows.map(of_row).sum::<u32>()) / count as f64
    }
}
