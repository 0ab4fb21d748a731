//! What the confidence is worth: a table of predicted against true error, in codes of 8 bits.

/// Predicted errors at which a bin ends and the next one begins: small errors are by far the most
/// frequent, so that bins of equal width would be empty but for the first.
pub const EDGES: [f32; 6] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
/// The last one has no end.
pub const BINS: usize = EDGES.len() + 1;
/// The largest error there is.
const LARGEST: f32 = 255.0;
/// Side of a cell, in pixels: that of the network's answer.
const CELL: usize = 4;

/// Sums over the cells of one bin.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
pub struct Bin {
    pub cells: u64,
    predicted: f64,
    error: f64,
    nearer_error: f64,
    /// Cells that are nearer to the truth than the nearer kept frame, or as near.
    better: u64,
}

impl Bin {
    /// Mean predicted error, codes of 8 bits.
    pub fn predicted(&self) -> f64 {
        self.predicted / self.cells as f64
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
    /// Adds all cells of a frame; `predicted` is the error expected at a pixel, codes of 8 bits.
    pub fn add(&mut self, planes: &Planes, predicted: impl Fn(usize, usize) -> f32) {
        for y in (0..planes.height).step_by(CELL) {
            for x in (0..planes.width).step_by(CELL) {
                // `min` answers the largest for what is no number
                let predicted = predicted(x, y).min(LARGEST);
                let error = planes.error(planes.made, x, y);
                let nearer_error = planes.error(planes.nearer, x, y);
                let bin = EDGES.iter().filter(|edge| predicted >= **edge).count();
                let bin = &mut self.bins[bin];
                bin.cells += 1;
                bin.predicted += f64::from(predicted);
                bin.error += error;
                bin.nearer_error += nearer_error;
                bin.better += u64::from(error <= nearer_error);
            }
        }
    }

    /// How far predicted and true error are apart in a bin, mean over the cells.
    pub fn calibration_error(&self) -> f64 {
        let apart = self.bins.iter().map(|b| (b.predicted - b.error).abs());
        apart.sum::<f64>() / self.cells() as f64
    }

    /// From which predicted error to which one a bin reaches.
    pub fn range(bin: usize) -> (f32, Option<f32>) {
        let from = bin.checked_sub(1).map_or(0.0, |before| EDGES[before]);
        (from, EDGES.get(bin).copied())
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
