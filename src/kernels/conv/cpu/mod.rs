//! The fast version: a group of neighbouring pixels times a block of output channels stays in registers
//! while taps and input channels pass by, either of the picture or of what Winograd's transform makes
//! of it. `optimization-notes.md` has the figures.

use std::cell::RefCell;

use super::{Activation, Filter, Job};
use crate::kernels::Context;
use crate::kernels::raster::{Raster, RasterMut};

mod direct;
mod lines;
mod packed;
mod vector;
mod winograd;

pub use packed::Packed;

use packed::Floats;
use vector::{Vector, load_all};

/// Rows of the output that a thread makes at once: a row of Winograd's tiles.
const BAND: usize = winograd::OUT;
/// A thread's memory is at least this large from the start, in floats (1 MiB), so that it does not grow from
/// filter to filter.
const LEAST_SCRATCH: usize = 1 << 18;

/// Weights for the fast version of a convolution.
pub fn pack(filter: &Filter) -> Packed {
    let Filter {
        weight,
        bias,
        slopes,
        inputs,
        kernel,
        ..
    } = filter;
    match winograd::suits(filter) {
        true => Packed::new(
            &winograd::spread(weight),
            bias,
            slopes,
            *inputs,
            winograd::POSITIONS,
        ),
        false => Packed::new(weight, bias, slopes, *inputs, kernel * kernel),
    }
}

thread_local! {
    static SCRATCH: RefCell<Floats> = RefCell::new(Floats::zeros(0));
}

pub fn run(job: &Job, context: &Context, out: &mut RasterMut) {
    let (row, pixel, width) = (out.row, out.pixel, out.width);
    let level = context.widest();
    out.for_each_band(context, BAND, |top, mut rows| {
        let band = Band {
            job,
            top,
            rows: rows.height,
            width,
            output: Output {
                values: rows.data_mut().as_mut_ptr(),
                top,
                row,
                pixel,
                outputs: job.filter.outputs,
                residual: job.residual,
                slopes: match job.activation {
                    Activation::Leaky => Some(job.filter.packed.slopes.as_ptr()),
                    Activation::Linear => None,
                },
            },
        };
        SCRATCH.with_borrow_mut(|scratch| {
            // SAFETY: this module runs only with a level that the machine has (`Context` sees to it),
            // `Job::check` has compared all sizes, and each kernel gets as much memory as it asks for.
            unsafe {
                let eights = job.filter.packed.eights;
                if winograd::suits(job.filter) {
                    let scratch = at_least(scratch, winograd::scratch(job.filter));
                    vector::dispatch(level, eights, winograd::Winograd { band, scratch });
                } else {
                    let scratch = at_least(scratch, direct::scratch(job.filter));
                    vector::dispatch(level, eights, direct::Direct { band, scratch });
                }
            }
        });
    });
}

/// Gives this thread its memory.
pub fn make_room() {
    SCRATCH.with_borrow_mut(|scratch| at_least(scratch, LEAST_SCRATCH));
}

/// The memory, which becomes larger if it has fewer than `count` floats.
fn at_least(scratch: &mut Floats, count: usize) -> *mut f32 {
    if scratch.len() < count {
        *scratch = Floats::zeros(count.max(LEAST_SCRATCH));
    }
    scratch.as_mut_ptr()
}

/// Some rows of the output to fill.
#[derive(Clone, Copy)]
struct Band<'a> {
    job: &'a Job<'a>,
    /// Its first row.
    top: usize,
    rows: usize,
    width: usize,
    output: Output<'a>,
}

/// Where and how the sums of a band are written. Loops hold a copy of it, which no write can change.
#[derive(Clone, Copy)]
struct Output<'a> {
    /// Of the band's first row, `top`.
    values: *mut f32,
    top: usize,
    row: usize,
    pixel: usize,
    outputs: usize,
    residual: Option<Raster<'a>>,
    /// Of the activation, if there is one.
    slopes: Option<*const f32>,
}

impl Output<'_> {
    /// Adds the residual to the sums of the outputs from `first` on, activates and writes them.
    ///
    /// # Safety
    /// The CPU has the vector's instructions; (`y`, `x`) lies in the band.
    #[inline(always)]
    unsafe fn put<V: Vector>(&self, (y, x): (usize, usize), first: usize, mut sum: V) {
        // A last block may have whole vectors that no output is in.
        if first >= self.outputs {
            return;
        }
        let count = self.outputs - first;
        // SAFETY: the pixel lies in the band, and so do `count` floats of it from `first` on, and of the
        // residual, which has its size; there are slopes for whole blocks.
        unsafe {
            if let Some(residual) = &self.residual {
                let at = residual.at(y, x).as_ptr();
                sum = sum.add(V::load_up_to(at.add(first), count));
            }
            if let Some(slopes) = self.slopes {
                sum = sum.leaky(V::load(slopes.add(first)));
            }
            let at = self.values.add((y - self.top) * self.row + x * self.pixel);
            sum.store_up_to(at.add(first), count);
        }
    }
}

/// Adds to `sums` the products of `P` pixels, `step` floats apart from `source` on, times `count` channels with
/// their weights.
///
/// The sums go in and out by value: what is borrowed, the compiler writes back with every product.
///
/// # Safety
/// The CPU has the vector's instructions; `count` floats of each pixel can be read, and `N` vectors for each
/// from `weight`.
#[inline(always)]
unsafe fn multiply<V: Vector, const P: usize, const N: usize>(
    mut sums: [[V; N]; P],
    source: *const f32,
    step: usize,
    count: usize,
    mut weight: *const f32,
) -> [[V; N]; P] {
    let sources: [*const f32; P] = std::array::from_fn(|p| source.wrapping_add(p * step));
    for c in 0..count {
        // SAFETY: the caller vouches for both.
        unsafe {
            let weights: [V; N] = load_all(weight, V::LANES);
            for (sums, source) in sums.iter_mut().zip(&sources) {
                let value = V::splat(*source.add(c));
                for (sum, weight) in sums.iter_mut().zip(&weights) {
                    *sum = value.mul_add(*weight, *sum);
                }
            }
            weight = weight.add(N * V::LANES);
        }
    }
    sums
}
