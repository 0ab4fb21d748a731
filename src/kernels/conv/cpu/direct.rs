//! Direct convolution, tap by tap.

use super::vector::{Kernel, Vector, load_all};
use super::{Activation, Band, Filter, Job, lines, multiply};
use crate::kernels::conv::{KERNELS, MAX_INPUTS};

/// Pixels of the output that are made from one piece of the lines, which then stays in the first cache; groups
/// of pixels divide it.
const PIECE: usize = 48;
/// Most segments of a row: a large kernel's rows of taps, or a small one's inputs.
const MOST_SEGMENTS: usize = {
    let rows = KERNELS[KERNELS.len() - 1];
    if rows > MAX_INPUTS { rows } else { MAX_INPUTS }
};

/// The kernel, with memory for pieces of as many lines as it has rows of taps.
pub struct Direct<'a> {
    pub band: Band<'a>,
    pub scratch: *mut f32,
}

/// Floats of memory that a filter needs.
pub fn scratch(filter: &Filter) -> usize {
    filter.kernel * length(filter)
}

/// Pixels of the input that a piece reads of a row.
fn pixels(filter: &Filter) -> usize {
    (PIECE - 1) * filter.stride + filter.kernel
}

/// Floats from a line to the next.
fn length(filter: &Filter) -> usize {
    pixels(filter) * filter.inputs + lines::SLACK
}

/// Floats that the pixels of a row of the output read side by side.
#[derive(Clone, Copy)]
struct Segment {
    /// Of the first pixel.
    source: *const f32,
    /// Floats from what a pixel reads to what the next one does.
    step: usize,
    count: usize,
    /// The first one's weight: its number among those of an output.
    weight: usize,
}

/// The segments of a row.
struct Segments {
    list: [Segment; MOST_SEGMENTS],
    count: usize,
}

impl Segments {
    fn none() -> Self {
        let none = Segment {
            source: std::ptr::null(),
            step: 0,
            count: 0,
            weight: 0,
        };
        Self {
            list: [none; MOST_SEGMENTS],
            count: 0,
        }
    }

    fn push(&mut self, segment: Segment) {
        self.list[self.count] = segment;
        self.count += 1;
    }

    /// Of row `y` of a kernel of one tap: the inputs as they lie.
    fn of_inputs(job: &Job, y: usize) -> Self {
        let (mut segments, mut weight) = (Self::none(), 0);
        let stride = job.filter.stride;
        for part in job.input.parts() {
            segments.push(Segment {
                source: part.row(y * stride).as_ptr(),
                step: part.pixel * stride,
                count: part.channels,
                weight,
            });
            weight += part.channels;
        }
        segments
    }
}

/// A piece of lines of the input, each in the place of the one that lies a kernel's height above.
struct Lines<'a> {
    job: &'a Job<'a>,
    scratch: *mut f32,
    /// The first column, which may lie outside.
    left: isize,
    /// Rows of the input before this one are there or no longer needed.
    next: usize,
}

impl Lines<'_> {
    /// The rows of taps of row `y` that lie inside the picture.
    ///
    /// # Safety
    /// The CPU has the vector's instructions; there is memory for the lines.
    #[inline(always)]
    unsafe fn segments<V: Vector>(&mut self, y: usize) -> Segments {
        let filter = self.job.filter;
        let (inputs, kernel, stride) = (filter.inputs, filter.kernel, filter.stride);
        let height = self.job.input.parts[0].map_or(0, |p| p.height);
        let mut segments = Segments::none();
        for ky in 0..kernel {
            let Some(row) = (y * stride + ky).checked_sub(filter.pad.0) else {
                continue;
            };
            if row >= height {
                break;
            }
            let source = match self.in_place(row) {
                Some(source) => source,
                // SAFETY: the caller's promises.
                None => unsafe { self.line::<V>(row) },
            };
            segments.push(Segment {
                source,
                step: stride * inputs,
                count: kernel * inputs,
                weight: ky * kernel * inputs,
            });
        }
        segments
    }

    /// The line of row `row` as it lies, where it is whole and to be read as it is.
    #[inline(always)]
    fn in_place(&self, row: usize) -> Option<*const f32> {
        let filter = self.job.filter;
        let [Some(part), None, ..] = self.job.input.parts else {
            return None;
        };
        let left = usize::try_from(self.left).ok()?;
        let whole = left + pixels(filter) <= part.width && part.pixel == part.channels;
        (whole && filter.reading == Activation::Linear).then(|| part.at(row, left).as_ptr())
    }

    /// The line of row `row`, copied unless it is there already.
    ///
    /// # Safety
    /// As [`Lines::segments`].
    #[inline(always)]
    unsafe fn line<V: Vector>(&mut self, row: usize) -> *const f32 {
        let filter = self.job.filter;
        // SAFETY: there are as many lines as rows of taps, with room for their pixels and the slack.
        unsafe {
            let line = self.scratch.add(row % filter.kernel * length(filter));
            if row >= self.next {
                let from = (row as isize, self.left);
                lines::copy::<V>(self.job, from, pixels(filter), line, filter.inputs);
                self.next = row + 1;
            }
            line
        }
    }
}

impl Kernel for Direct<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector, const P: usize, const N: usize>(self) {
        const { assert!(PIECE.is_multiple_of(P)) };
        let (band, filter) = (&self.band, self.band.job.filter);
        let rows = band.top..band.top + band.rows;
        if filter.kernel == 1 && filter.reading == Activation::Linear && band.width >= P {
            for y in rows {
                let segments = Segments::of_inputs(band.job, y);
                // SAFETY: the caller's promises; a row has a group of pixels or more.
                unsafe { row::<V, P, N>(band, (y, 0), band.width, &segments) };
            }
            return;
        }
        for x in (0..band.width).step_by(PIECE) {
            let mut lines = Lines {
                job: band.job,
                scratch: self.scratch,
                left: (x * filter.stride) as isize - filter.pad.1 as isize,
                next: 0,
            };
            for y in rows.clone() {
                // SAFETY: the caller's promises; a piece has whole groups of pixels.
                unsafe {
                    let segments = lines.segments::<V>(y);
                    row::<V, P, N>(band, (y, x), PIECE.min(band.width - x), &segments);
                }
            }
        }
    }
}

/// Fills `count` pixels of row `y` from column `x` on, where the segments begin.
///
/// # Safety
/// The CPU has the vector's instructions; the segments hold all that these pixels read, or what a group of pixels
/// reads if they are fewer.
#[inline(always)]
unsafe fn row<V: Vector, const P: usize, const N: usize>(
    band: &Band,
    (y, x): (usize, usize),
    count: usize,
    segments: &Segments,
) {
    let (filter, output) = (band.job.filter, band.output);
    let (packed, block) = (&filter.packed, N * V::LANES);
    let weights = filter.kernel * filter.kernel * filter.inputs;
    // The last group ends with the row, over pixels of the one before.
    let last = count.saturating_sub(P);
    for b in 0..packed.blocks {
        // SAFETY: weights and bias are there for whole blocks; groups lie inside, or are cut at the end.
        unsafe {
            let weight = packed.weight.as_ptr().add(b * weights * block);
            let bias: [V; N] = load_all(packed.bias.as_ptr().add(b * block), V::LANES);
            for i in (0..count).step_by(P) {
                let i = i.min(last);
                let mut sums = [bias; P];
                for s in &segments.list[..segments.count] {
                    let source = s.source.add(i * s.step);
                    let weight = weight.add(s.weight * block);
                    sums = multiply(sums, source, s.step, s.count, weight);
                }
                // Constant bounds, so that the sums stay in registers.
                for (p, sums) in sums.iter().enumerate() {
                    for (v, sum) in sums.iter().enumerate() {
                        if p < count - i {
                            output.put((y, x + i + p), b * block + v * V::LANES, *sum);
                        }
                    }
                }
            }
        }
    }
}
