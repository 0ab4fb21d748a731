//! Rows of the concatenated input with zeros beside them, as the kernels like to read them.

use super::vector::Vector;
use super::{Activation, Job};
use crate::kernels::conv::SLOPE;

/// Floats behind the last pixel that [`copy`] may write to.
pub const SLACK: usize = 16;

/// Copies `count` pixels of row `y` of the concatenated input, from column `x` on, to `to`, where they lie `step` floats
/// apart: activated if the filter wants that, zeros outside of the picture. Floats between two pixels, and
/// [`SLACK`] behind the last one, are left with anything.
///
/// # Safety
/// The CPU has the vector's instructions, and `to` has room.
#[inline(always)]
pub unsafe fn copy<V: Vector>(
    job: &Job,
    (y, x): (isize, isize),
    count: usize,
    to: *mut f32,
    step: usize,
) {
    let (height, width) = job.input.parts[0].map_or((1, 1), |p| p.size());
    let inside = (0..height as isize).contains(&y);
    let clamp = |x: isize| x.clamp(0, if inside { width as isize } else { 0 });
    let (first, last) = (clamp(x), clamp(x + count as isize));
    // Pixels beside the picture to the left, and those up to its right end.
    let (left, right) = match first < last {
        true => ((first - x) as usize, (last - x) as usize),
        false => (count, count),
    };
    // SAFETY: all three pieces lie in `count` pixels; what lies inside the picture may be read.
    unsafe {
        std::slice::from_raw_parts_mut(to, left * step).fill(0.0);
        if left < right {
            let (y, x) = (y as usize, first as usize);
            copy_inside::<V>(job, (y, x), right - left, to.add(left * step), step);
        }
        let rest = std::slice::from_raw_parts_mut(to.add(right * step), (count - right) * step);
        rest.fill(0.0);
    }
}

/// As [`copy`], of pixels inside the picture.
///
/// # Safety
/// As [`copy`]; `count` is not 0.
#[inline(always)]
unsafe fn copy_inside<V: Vector>(
    job: &Job,
    (y, x): (usize, usize),
    count: usize,
    to: *mut f32,
    step: usize,
) {
    let leaky = job.filter.reading == Activation::Leaky;
    // SAFETY: a pixel of a part has as many floats as channels, and rows end with the last pixel; vectors that
    // reach into what follows are written before that.
    unsafe {
        if let [Some(part), None, ..] = job.input.parts
            && [part.channels, part.pixel] == [step; 2]
        {
            return copy_floats::<V>(part.at(y, x).as_ptr(), count * step, to, leaky);
        }
        for i in 0..count {
            let mut to = to.add(i * step);
            for part in job.input.parts.iter().flatten() {
                copy_floats::<V>(part.at(y, x + i).as_ptr(), part.channels, to, leaky);
                to = to.add(part.channels);
            }
        }
    }
}

/// Copies `count` floats in whole vectors.
///
/// # Safety
/// The CPU has the vector's instructions; `to` has room for a vector more.
#[inline(always)]
unsafe fn copy_floats<V: Vector>(from: *const f32, count: usize, to: *mut f32, leaky: bool) {
    // SAFETY: no more than `count` are read.
    unsafe {
        if leaky {
            let slope = V::splat(SLOPE);
            for i in (0..count).step_by(V::LANES) {
                V::load_up_to(from.add(i), count - i)
                    .leaky(slope)
                    .store(to.add(i));
            }
        } else {
            for i in (0..count).step_by(V::LANES) {
                V::load_up_to(from.add(i), count - i).store(to.add(i));
            }
        }
    }
}
