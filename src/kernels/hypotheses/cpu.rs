//! With AVX2 or NEON: eight cells at a time, a cell a lane; the same operations in the same order as the reference.

use super::{
    CUES, Costs, HYPOTHESES, LEAST_ACCELERATION, MOST_ACCELERATION, Projection, ROOT_EPSILON,
    ROUNDS, STILL_MARGIN, STILL_MOST, STILL_SHARE, Selection, Telling, reference,
};
use crate::kernels::Context;
use crate::kernels::agreement::CONTRAST;
use crate::kernels::raster::{Raster, RasterMut};
use crate::kernels::simd::avx2::*;
use crate::kernels::simd::{LANES, each_lane, lerp, load, transpose};
use crate::kernels::warp::EightTaps;

const _: () = assert!(CUES == LANES);

/// Whether offsets fit 32 bits.
pub fn can(fields: &[Raster]) -> bool {
    fields.iter().all(|field| field.data().len() < 1 << 31)
}

pub fn project(job: &Projection, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        // SAFETY: this module runs only where its instructions were found (`Context` sees to it).
        unsafe { project_row(job, y, row, pixel) };
    });
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn project_row(job: &Projection, y: usize, row: &mut [f32], pixel: usize) {
    let one = _mm256_set1_ps(1.0);
    for (group, cells) in row.chunks_mut(LANES * pixel).enumerate() {
        let at = Cells::new(y, group * LANES, job.found.width);
        let t = at.load(&job.phase, 0);
        let rest = _mm256_sub_ps(one, t);
        let [ax, ay] = carried(&job.found, &at, 0, t);
        let [bx, by] = carried(&job.found, &at, 2, rest);
        let (t_less, rest_less) = (negative(t), negative(rest));
        let flows = [
            _mm256_mul_ps(t_less, ax),
            _mm256_mul_ps(t_less, ay),
            _mm256_mul_ps(rest, ax),
            _mm256_mul_ps(rest, ay),
            _mm256_mul_ps(t, bx),
            _mm256_mul_ps(t, by),
            _mm256_mul_ps(rest_less, bx),
            _mm256_mul_ps(rest_less, by),
        ];
        put(&flows, cells, pixel);
    }
}

/// The motion (channels `first` and next) of what has gone the share `t` of it and is at the cells now.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn carried(found: &Raster, at: &Cells, first: usize, t: __m256) -> [__m256; 2] {
    let t = negative(t);
    let mut motion = [at.load(found, first), at.load(found, first + 1)];
    for _ in 0..ROUNDS {
        motion = at.sample(
            found,
            first,
            [_mm256_mul_ps(t, motion[0]), _mm256_mul_ps(t, motion[1])],
        );
    }
    motion
}

#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn negative(v: __m256) -> __m256 {
    _mm256_xor_ps(v, _mm256_set1_ps(-0.0))
}

/// Eight cells of a row; beyond the last one it is repeated.
struct Cells {
    y: usize,
    /// Columns.
    x: [usize; LANES],
    /// The same, as numbers.
    columns: __m256,
}

impl Cells {
    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    fn new(y: usize, x: usize, width: usize) -> Self {
        let x = each_lane!(i => (x + i).min(width - 1));
        let columns = load(&each_lane!(i => x[i] as f32));
        Self { y, x, columns }
    }

    /// A channel of the cells.
    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    fn load(&self, values: &Raster, channel: usize) -> __m256 {
        load(&each_lane!(i => values.at(self.y, self.x[i])[channel]))
    }

    /// The four channels of a flow.
    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    fn flow(&self, flow: &Raster) -> [__m256; 4] {
        let channel = |c: usize| self.load(flow, c);
        [channel(0), channel(1), channel(2), channel(3)]
    }

    /// Two channels, from `first` on, at the cells moved by (x, y).
    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
    fn sample(&self, values: &Raster, first: usize, by: [__m256; 2]) -> [__m256; 2] {
        let x = EightTaps::new(_mm256_add_ps(self.columns, by[0]), values.width);
        let y = _mm256_add_ps(_mm256_set1_ps(self.y as f32), by[1]);
        let y = EightTaps::new(y, values.height);
        let row = |y: __m256i| {
            let (a, b) = (
                pair(values, first, y, x.first),
                pair(values, first, y, x.second),
            );
            [lerp(a[0], b[0], x.share), lerp(a[1], b[1], x.share)]
        };
        let (above, below) = (row(y.first), row(y.second));
        [
            lerp(above[0], below[0], y.share),
            lerp(above[1], below[1], y.share),
        ]
    }
}

/// Two channels, from `first` on, of eight cells, which are inside.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn pair(values: &Raster, first: usize, y: __m256i, x: __m256i) -> [__m256; 2] {
    let rows = _mm256_mullo_epi32(y, _mm256_set1_epi32(values.row as i32));
    let columns = _mm256_mullo_epi32(x, _mm256_set1_epi32(values.pixel as i32));
    let at = _mm256_add_epi32(rows, columns);
    // so that the halves of what is gathered interleave to the order of the cells
    let at = _mm256_permutevar8x32_epi32(at, _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7));
    let base = values.data()[first..].as_ptr().cast();
    // SAFETY: a cell inside has two channels from `first` on; its offset fits (`can`).
    let (a, b) = unsafe {
        (
            _mm256_i32gather_pd::<4>(base, _mm256_castsi256_si128(at)),
            _mm256_i32gather_pd::<4>(base, _mm256_extracti128_si256::<1>(at)),
        )
    };
    let (a, b) = (_mm256_castpd_ps(a), _mm256_castpd_ps(b));
    [
        _mm256_shuffle_ps::<0x88>(a, b),
        _mm256_shuffle_ps::<0xdd>(a, b),
    ]
}

/// Writes the first channels, a vector each, of as many cells as there are.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn put(channels: &[__m256; LANES], cells: &mut [f32], pixel: usize) {
    for (cell, values) in cells.chunks_mut(pixel).zip(transpose(channels)) {
        let cell = &mut cell[..LANES];
        // SAFETY: there is room for eight floats.
        unsafe { _mm256_storeu_ps(cell.as_mut_ptr(), values) };
    }
}

pub fn select(job: &Selection, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        for (group, cells) in row.chunks_mut(LANES * pixel).enumerate() {
            let x = group * LANES;
            // SAFETY: this module runs only where its instructions were found (`Context` sees to it).
            let picked = unsafe { pick(&job.costs, y, x) };
            for (i, cell) in cells.chunks_mut(pixel).enumerate() {
                let flows = job.flows.at(y, x + i);
                match picked {
                    Some(picked) => {
                        let [may_stay, stays, right] = picked.map(|cells| cells >> i & 1 == 1);
                        let first = if right { 4 } else { 0 };
                        match may_stay && (stays || reference::stands_still(&job.luma, (y, x + i)))
                        {
                            true => cell[..4].fill(0.0),
                            false => cell[..4].copy_from_slice(&flows[first..first + 4]),
                        }
                    }
                    None => cell[..4].copy_from_slice(&reference::choice(job, y, x + i)),
                }
            }
        }
    });
}

/// Which of eight cells, a bit each, stand still if something around them does, which whatever is around them, and which of the others take
/// the motion from the right; `None` at an edge.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn pick(costs: &Costs, y: usize, x: usize) -> Option<[i32; 3]> {
    let [left, right, still] = differences(costs, y, x)?;
    let least = _mm256_min_ps(left, right);
    let better = _mm256_add_ps(still, _mm256_set1_ps(CONTRAST * STILL_MARGIN));
    let share = _mm256_mul_ps(_mm256_set1_ps(STILL_SHARE), still);
    let more = _mm256_min_ps(share, _mm256_set1_ps(CONTRAST * STILL_MOST));
    let clearly = _mm256_add_ps(better, more);
    Some([
        _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(better, least)),
        _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(clearly, least)),
        _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(right, left)),
    ])
}

/// The cues of difference of eight cells; `None` if they and their neighbours do not all lie inside.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn differences(costs: &Costs, y: usize, x: usize) -> Option<[__m256; HYPOTHESES]> {
    let [first, ..] = &costs.0;
    let dense = costs.0.iter().all(|cost| cost.pixel == 1);
    if !dense || x == 0 || x + LANES >= first.width {
        return None;
    }
    let rows = [y.saturating_sub(1), y, (y + 1).min(first.height - 1)];
    let mut means = [_mm256_setzero_ps(); HYPOTHESES];
    for (mean, cost) in means.iter_mut().zip(&costs.0) {
        let mut sum = _mm256_setzero_ps();
        for y in rows {
            let near = &cost.row(y)[x - 1..x + 1 + LANES];
            for i in 0..3 {
                // SAFETY: there are ten floats.
                sum = unsafe { _mm256_add_ps(sum, _mm256_loadu_ps(near.as_ptr().add(i))) };
            }
        }
        let around = _mm256_div_ps(sum, _mm256_set1_ps(9.0));
        *mean = _mm256_mul_ps(_mm256_set1_ps(CONTRAST), around);
    }
    Some(means)
}

pub fn tell(job: &Telling, context: &Context, out: &mut RasterMut) {
    let pixel = out.pixel;
    out.for_each_row(context, |y, row| {
        for (group, cells) in row.chunks_mut(LANES * pixel).enumerate() {
            let x = group * LANES;
            // SAFETY: this module runs only where its instructions were found (`Context` sees to it).
            if unsafe { tell_eight(job, (y, x), cells, pixel) }.is_none() {
                for (i, cell) in cells.chunks_mut(pixel).enumerate() {
                    cell[..CUES].copy_from_slice(&reference::cues(job, y, x + i));
                }
            }
        }
    });
}

/// The cues of eight cells; `None` at an edge.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn tell_eight(
    job: &Telling,
    (y, x): (usize, usize),
    cells: &mut [f32],
    pixel: usize,
) -> Option<()> {
    let [left, right, still] = differences(&job.costs, y, x)?;
    let at = Cells::new(y, x, job.found.width);
    let f = at.flow(&job.flow);
    let motion = [_mm256_sub_ps(f[2], f[0]), _mm256_sub_ps(f[3], f[1])];
    let ahead = at.sample(&job.found, 0, [f[0], f[1]]);
    let back = at.sample(&job.found, 2, [f[2], f[3]]);
    let ahead = [
        _mm256_sub_ps(ahead[0], motion[0]),
        _mm256_sub_ps(ahead[1], motion[1]),
    ];
    let back = [
        _mm256_add_ps(back[0], motion[0]),
        _mm256_add_ps(back[1], motion[1]),
    ];
    let [ax, ay, known] = acceleration(job, &at, [f[0], f[1]], motion);
    let cues = [left, right, still, apart(ahead), apart(back), ax, ay, known];
    put(&cues, cells, pixel);
    Some(())
}

/// Acceleration along the flow, and whether it is known.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn acceleration(
    job: &Telling,
    at: &Cells,
    to_left: [__m256; 2],
    motion: [__m256; 2],
) -> [__m256; 3] {
    let back = at.sample(&job.past, 0, to_left);
    let known = at.load(&job.past, 2);
    let a = [
        _mm256_mul_ps(_mm256_add_ps(motion[0], back[0]), known),
        _mm256_mul_ps(_mm256_add_ps(motion[1], back[1]), known),
    ];
    let most = _mm256_mul_ps(_mm256_set1_ps(MOST_ACCELERATION), length(motion));
    let most = _mm256_add_ps(most, _mm256_set1_ps(LEAST_ACCELERATION));
    let share = _mm256_min_ps(_mm256_div_ps(most, length(a)), _mm256_set1_ps(1.0));
    [
        _mm256_mul_ps(a[0], share),
        _mm256_mul_ps(a[1], share),
        known,
    ]
}

#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn apart(by: [__m256; 2]) -> __m256 {
    let e = length(by);
    _mm256_div_ps(e, _mm256_add_ps(_mm256_set1_ps(1.0), e))
}

#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2"))]
fn length([x, y]: [__m256; 2]) -> __m256 {
    let squares = _mm256_add_ps(_mm256_mul_ps(x, x), _mm256_mul_ps(y, y));
    _mm256_sqrt_ps(_mm256_add_ps(squares, _mm256_set1_ps(ROOT_EPSILON)))
}
