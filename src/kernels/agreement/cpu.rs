//! With AVX2 and FMA, or NEON: sixteen cells are compared at a time, and of eight the answer is made.
//!
//! A picture is gone through in tiles, down their rows, so that of each row of cells the differences are made once and stay near.

use super::{CHANNELS, CONTRAST, Job, NOISE, SAMPLES, SCORES, around, reference};
use crate::kernels::Context;
use crate::kernels::correlation::{Axis, SIDE, softmax_means};
use crate::kernels::luma::{CELLS, compare, mean_of_cell};
use crate::kernels::raster::RasterMut;
use crate::kernels::simd::avx2::*;
use crate::kernels::simd::{LANES, Planes};

/// Cells of a row whose differences are made together: those of a tile, and one on each side.
const MADE: usize = 64;
const TILE: usize = MADE - 2;
/// Rows that a thread takes at a time; it makes the differences of two more.
const BAND: usize = 16;
/// Sums of a row: a tile's, one on each side, and what vectors read and write beyond.
const WIDTH: usize = MADE + CELLS;

pub fn run(job: &Job, context: &Context, out: &mut RasterMut) {
    out.for_each_band_with(
        context,
        BAND,
        || Tile::new(job),
        |tile, first, mut band| {
            for x in (0..band.width).step_by(TILE) {
                (tile.first, tile.next) = (x, None);
                for row in 0..band.height {
                    tile.make(first + row);
                    let cells = TILE.min(band.width - x);
                    let pixel = band.pixel;
                    let out = &mut band.row_mut(row)[x * pixel..];
                    // SAFETY: this module runs only where its instructions were found (`Context` sees to it).
                    unsafe { tile.conclude(first + row, cells, pixel, out) };
                }
            }
        },
    );
}

/// Differences of three rows of cells, from one cell before the tile on.
struct Tile<'a> {
    job: &'a Job<'a>,
    /// The first cell of the tile.
    first: usize,
    /// Row `y` is at `y % 3`.
    rows: [[[u16; WIDTH]; SCORES]; 3],
    /// Sums down the columns of three rows; of a tile's cells, one on each side, and what vectors read beyond.
    columns: Columns,
    answers: Answers,
    /// The first row that was not made yet.
    next: Option<usize>,
}

type Columns = [[u32; TILE + 2 + LANES]; SCORES];

impl<'a> Tile<'a> {
    fn new(job: &'a Job<'a>) -> Self {
        Self {
            job,
            first: 0,
            rows: [[[0; WIDTH]; SCORES]; 3],
            columns: [[0; TILE + 2 + LANES]; SCORES],
            answers: Planes::ZEROS,
            next: None,
        }
    }

    /// Sees to it that row `y` and its neighbours are there.
    fn make(&mut self, y: usize) {
        let last = (y + 1).min(self.job.phase.height - 1);
        for y in self.next.unwrap_or(y.saturating_sub(1))..=last {
            self.fill(y);
        }
        self.next = Some(last + 1);
    }

    /// The differences of a row.
    fn fill(&mut self, y: usize) {
        let width = self.job.phase.width;
        // Where the tile begins at the edge, there is nothing before it.
        let before = usize::from(self.first > 0);
        let cells = self.first - before..(self.first + TILE + 1).min(width);
        let phase = |x: usize| self.job.phase.at(y, x)[0].to_bits();
        let even = cells.clone().all(|x| phase(x) == phase(cells.start));
        let axis = Axis::new(self.job.phase.at(y, cells.start)[0]);
        for (d, sums) in self.rows[y % 3].iter_mut().enumerate() {
            let inner = &mut sums[1 - before..];
            match even {
                // SAFETY: this module runs only where its instructions were found; the cells are the picture's.
                true => unsafe { compare_row(self.job, (y, cells.clone()), &axis, d, inner) },
                false => {
                    for (sum, x) in inner.iter_mut().zip(cells.clone()) {
                        *sum = reference::of_cell(self.job, (y, x), d);
                    }
                }
            }
            if before == 0 {
                sums[0] = sums[1];
            }
            if cells.end == width {
                let last = cells.len() - before;
                sums[last + 1] = sums[last];
            }
        }
    }

    /// The answers of row `y`.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
    fn conclude(&mut self, y: usize, cells: usize, pixel: usize, out: &mut [f32]) {
        let rows = around(y, self.job.phase.height).map(|y| &self.rows[y % 3]);
        for (d, columns) in self.columns.iter_mut().enumerate() {
            let [a, b, c] = rows.map(|row| &row[d][..TILE + 2 + LANES]);
            for (i, column) in columns.iter_mut().enumerate() {
                *column = u32::from(a[i]) + u32::from(b[i]) + u32::from(c[i]);
            }
        }
        let out = &mut out[..(cells - 1) * pixel + CHANNELS];
        for (group, out) in out.chunks_mut(LANES * pixel).enumerate() {
            let first = group * LANES;
            answer(&self.columns, first, self.job.sharpness, &mut self.answers);
            self.answers.turn(CHANNELS, pixel, out);
        }
    }
}

/// The differences of a row's cells for displacement `d`; what lies beyond them, up to a group, is overwritten.
///
/// # Safety
/// The instructions are there; the cells are the picture's.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
unsafe fn compare_row(
    job: &Job,
    (y, cells): (usize, std::ops::Range<usize>),
    axis: &Axis,
    d: usize,
    out: &mut [u16],
) {
    let (dy, dx) = (d / SIDE, d % SIDE);
    let left = [-axis.left[dy], -axis.left[dx]];
    let right = [axis.right[dy], axis.right[dx]];
    for (x, sums) in cells.step_by(CELLS).zip(out.as_chunks_mut::<CELLS>().0) {
        // SAFETY: as this function's; a displacement's parts are at most the radius.
        unsafe { compare(&job.sides, (y, x), left, right, sums) };
    }
}

/// Answers of eight cells.
type Answers = Planes<{ CHANNELS.div_ceil(LANES) }>;

/// Makes the answers of the eight cells from `first` on.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn answer(columns: &Columns, first: usize, sharpness: f32, out: &mut Answers) {
    // Sums of up to 25 times 9 cells stay below 2 to the 24th: they are exact as floats, too.
    let mut total = _mm256_setzero_si256();
    let (scores, summary) = out.0.as_flattened_mut().split_at_mut(SCORES);
    for (value, columns) in scores.iter_mut().zip(columns) {
        // SAFETY: eight sums from each of three columns on are there.
        let at = |i: usize| unsafe {
            let columns = &columns[first + i..first + i + LANES];
            _mm256_loadu_si256(columns.as_ptr().cast())
        };
        let sum = _mm256_add_epi32(_mm256_add_epi32(at(0), at(1)), at(2));
        value.store(_mm256_cvtepi32_ps(sum));
        total = _mm256_add_epi32(total, sum);
    }
    let total = _mm256_cvtepi32_ps(total);
    let unit = mean_of_cell(1) / 9.0;
    let mean = _mm256_mul_ps(total, _mm256_set1_ps(unit / SCORES as f32));
    let floor = _mm256_add_ps(mean, _mm256_set1_ps(NOISE));
    let scale = _mm256_div_ps(_mm256_set1_ps(unit), floor);
    let one = _mm256_set1_ps(1.0);
    for value in scores.iter_mut() {
        value.store(_mm256_fnmadd_ps(value.load(), scale, one));
    }
    let [dx, dy] = softmax_means(scores, sharpness);
    let per_cell = _mm256_set1_ps(1.0 / SAMPLES as f32);
    summary[0].store(_mm256_mul_ps(dx, per_cell));
    summary[1].store(_mm256_mul_ps(dy, per_cell));
    summary[2].store(_mm256_mul_ps(mean, _mm256_set1_ps(CONTRAST)));
}
