//! Direct convolution, tap by tap.

use super::vector::{Kernel, Vector};
use super::{Activation, Band, Filter, Job, lines, multiply};
use crate::kernels::conv::{KERNELS, MAX_INPUTS};

/// No group has more pixels than this.
const MOST_PIXELS: usize = 8;
/// Most segments of a row: a large kernel's rows of taps, or a small one's inputs.
const MOST_SEGMENTS: usize = {
    let rows = KERNELS[KERNELS.len() - 1];
    if rows > MAX_INPUTS { rows } else { MAX_INPUTS }
};

/// The kernel, with memory for as many lines as it has rows of taps.
pub struct Direct<'a> {
    pub band: Band<'a>,
    pub scratch: *mut f32,
}

/// Floats of memory for an output of `width` pixels.
pub fn scratch(filter: &Filter, width: usize) -> usize {
    filter.kernel * line(filter, width).1
}

/// Pixels of a line, and floats from one to the next.
fn line(filter: &Filter, width: usize) -> (usize, usize) {
    let pixels = (width.max(MOST_PIXELS) - 1) * filter.stride + filter.kernel;
    (pixels, pixels * filter.inputs + lines::SLACK)
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

/// Lines of the input, each in the place of the one that lies a kernel's height above.
struct Lines<'a> {
    job: &'a Job<'a>,
    scratch: *mut f32,
    pixels: usize,
    length: usize,
    /// Rows of the input up to this one are there or no longer needed.
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
            // SAFETY: a line has room for its pixels and the slack.
            let line = unsafe { self.scratch.add(row % kernel * self.length) };
            if row >= self.next {
                let from = (row as isize, -(filter.pad.1 as isize));
                // SAFETY: as above.
                unsafe { lines::copy::<V>(self.job, from, self.pixels, line, inputs) };
                self.next = row + 1;
            }
            segments.push(Segment {
                source: line,
                step: stride * inputs,
                count: kernel * inputs,
                weight: ky * kernel * inputs,
            });
        }
        segments
    }
}

impl Kernel for Direct<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector, const P: usize, const N: usize>(self) {
        const { assert!(P <= MOST_PIXELS) };
        let (band, job) = (self.band, self.band.job);
        let (pixels, length) = line(job.filter, band.width);
        let in_place =
            job.filter.kernel == 1 && job.filter.reading == Activation::Linear && band.width >= P;
        let mut lines = Lines {
            job,
            scratch: self.scratch,
            pixels,
            length,
            next: 0,
        };
        for y in band.top..band.top + band.rows {
            // SAFETY: the caller's promises; lines are longer than a group, as the row is otherwise.
            unsafe {
                let segments = match in_place {
                    true => Segments::of_inputs(job, y),
                    false => lines.segments::<V>(y),
                };
                row::<V, P, N>(&band, y, &segments);
            }
        }
    }
}

/// Fills row `y`.
///
/// # Safety
/// The CPU has the vector's instructions; the segments hold all that the row, and at least a group of
/// pixels, reads.
#[inline(always)]
unsafe fn row<V: Vector, const P: usize, const N: usize>(
    band: &Band,
    y: usize,
    segments: &Segments,
) {
    let filter = band.job.filter;
    let (packed, block) = (&filter.packed, N * V::LANES);
    let weights = filter.kernel * filter.kernel * filter.inputs;
    // The last group ends with the row, over pixels of the one before.
    let last = band.width.saturating_sub(P);
    for b in 0..packed.blocks {
        // SAFETY: weights and bias are there for whole blocks; groups lie inside the row, or are cut at
        // its end.
        unsafe {
            let weight = packed.weight.as_ptr().add(b * weights * block);
            let bias = packed.bias.as_ptr().add(b * block);
            let bias: [V; N] = std::array::from_fn(|v| V::load(bias.add(v * V::LANES)));
            for x in (0..band.width).step_by(P).map(|x| x.min(last)) {
                let mut sums = [bias; P];
                for s in &segments.list[..segments.count] {
                    let source = s.source.add(x * s.step);
                    let weight = weight.add(s.weight * block);
                    sums = multiply(sums, source, s.step, s.count, weight);
                }
                for (p, sums) in sums.iter().enumerate().take(band.width - x) {
                    for (v, sum) in sums.iter().enumerate() {
                        band.put(y, x + p, b * block + v * V::LANES, *sum);
                    }
                }
            }
        }
    }
}
