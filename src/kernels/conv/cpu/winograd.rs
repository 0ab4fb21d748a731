//! Convolutions of 3x3 in steps of one by Winograd's minimal filtering F(4x4, 3x3): 4x4 pixels of the output
//! cost 36 products for each pair of channels instead of 144.
//!
//! Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015), with the points 0, 1, -1, 2, -2 and
//! infinity: 6x6 pixels of the input are transformed along both axes to 36 positions, multiplied with the
//! equally transformed weights, summed over the inputs, and transformed back.

use super::vector::{EIGHT, Kernel, Vector, load_all, store_all};
use super::{Band, Filter, lines, multiply};

/// Pixels of the output along a side of a tile.
pub const OUT: usize = 4;
/// Pixels of the input along a side of a tile.
const IN: usize = OUT + 2;
/// Products of a tile.
pub const POSITIONS: usize = IN * IN;
/// Tiles side by side that are transformed and multiplied at once; groups of pixels divide it.
const TILES: usize = 24;
/// Pixels of the input that they read of a row.
const PATCH: usize = OUT * TILES + IN - OUT;
/// With fewer channels in or out the transforms cost more than they save.
const LEAST_CHANNELS: usize = 8;
/// With more channels the transformed weights, four times as many, no longer fit into the caches.
const MOST_CHANNELS: usize = 64;

/// Whether a filter is worth it.
pub fn suits(filter: &Filter) -> bool {
    let channels = LEAST_CHANNELS..=MOST_CHANNELS;
    (filter.kernel, filter.stride) == (3, 1)
        && channels.contains(&filter.inputs)
        && channels.contains(&filter.outputs)
}

/// Transforms weights of 3x3: 36 for 9.
pub fn spread(weight: &[f32]) -> Vec<f32> {
    let along = |g: [f64; 3]| {
        let (even, odd) = (g[0] + g[2], g[1]);
        let (far, near) = (g[0] / 24.0 + g[2] / 6.0, g[1] / 12.0);
        [
            g[0] / 4.0,
            -(even + odd) / 6.0,
            -(even - odd) / 6.0,
            far + near,
            far - near,
            g[2],
        ]
    };
    let spread_one = |g: &[f32]| {
        let columns: [_; 3] =
            std::array::from_fn(|x| along([g[x], g[3 + x], g[6 + x]].map(f64::from)));
        let rows = (0..IN).flat_map(move |y| along(columns.map(|column| column[y])));
        rows.map(|v| v as f32)
    };
    weight.chunks_exact(9).flat_map(spread_one).collect()
}

/// The transform of six values of the input, 4 at both ends of the coefficients' range.
#[inline(always)]
unsafe fn transform<V: Vector>(d: [V; IN]) -> [V; IN] {
    // SAFETY: the caller has the instructions.
    unsafe {
        let four = V::splat(4.0);
        let (minus_four, minus_five) = (V::splat(-4.0), V::splat(-5.0));
        let even = d[2].mul_add(minus_four, d[4]);
        let odd = d[1].mul_add(minus_four, d[3]);
        let (even2, odd2) = (d[4].sub(d[2]), d[3].sub(d[1]));
        [
            d[0].mul_add(four, d[2].mul_add(minus_five, d[4])),
            even.add(odd),
            even.sub(odd),
            odd2.mul_add(V::splat(2.0), even2),
            odd2.mul_add(V::splat(-2.0), even2),
            d[1].mul_add(four, d[3].mul_add(minus_five, d[5])),
        ]
    }
}

/// The transform of six sums to four values of the output.
#[inline(always)]
unsafe fn transform_back<V: Vector>(m: [V; IN]) -> [V; OUT] {
    // SAFETY: the caller has the instructions.
    unsafe {
        let (sum, difference) = (m[1].add(m[2]), m[1].sub(m[2]));
        let (sum2, difference2) = (m[3].add(m[4]), m[3].sub(m[4]));
        [
            m[0].add(sum).add(sum2),
            difference2.mul_add(V::splat(2.0), difference),
            sum2.mul_add(V::splat(4.0), sum),
            difference2.mul_add(V::splat(8.0), difference.add(m[5])),
        ]
    }
}

/// Floats of a pixel in whole vectors of so many lanes.
fn pixel(filter: &Filter, lanes: usize) -> usize {
    filter.inputs.next_multiple_of(lanes)
}

/// Floats of memory that a filter needs at most: the patch, its transform and a block's sums.
pub fn scratch(filter: &Filter) -> usize {
    let (pixel, block) = (pixel(filter, 2 * EIGHT), filter.packed.eights * EIGHT);
    IN * PATCH * pixel + lines::SLACK + POSITIONS * TILES * (pixel + block)
}

/// The kernel, with its memory.
pub struct Winograd<'a> {
    pub band: Band<'a>,
    pub scratch: *mut f32,
}

impl Kernel for Winograd<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector, const P: usize, const N: usize>(self) {
        const { assert!(TILES.is_multiple_of(P)) };
        let band = &self.band;
        let pixel = pixel(band.job.filter, V::LANES);
        // SAFETY: `scratch` counted the three parts; the caller's promises.
        unsafe {
            let patch = self.scratch;
            let spread = patch.add(IN * PATCH * pixel + lines::SLACK);
            let sums = spread.add(POSITIONS * TILES * pixel);
            for x in (0..band.width).step_by(OUT * TILES) {
                let tiles = TILES.min((band.width - x).div_ceil(OUT));
                fill::<V>(band, x, pixel, patch);
                transform_columns::<V>(PATCH * pixel, patch);
                transform_rows::<V>(tiles, pixel, patch, spread);
                for block in 0..band.job.filter.packed.blocks {
                    products::<V, P, N>(band.job.filter, block, tiles, spread, sums);
                    finish::<V, N>(band, x, block, tiles, sums);
                }
            }
        }
    }
}

/// Copies what the tiles from column `x` on read: `[6][PATCH][pixel]`.
#[inline(always)]
unsafe fn fill<V: Vector>(band: &Band, x: usize, pixel: usize, patch: *mut f32) {
    let (top, left) = band.job.filter.pad;
    let left = x as isize - left as isize;
    for row in 0..IN {
        let y = (band.top + row) as isize - top as isize;
        // SAFETY: the patch has room for six rows and the slack.
        unsafe {
            let to = patch.add(row * PATCH * pixel);
            lines::copy::<V>(band.job, (y, left), PATCH, to, pixel);
        }
    }
}

/// Transforms the patch along its columns, in place; `row` floats lie from row to row.
#[inline(always)]
unsafe fn transform_columns<V: Vector>(row: usize, patch: *mut f32) {
    for i in (0..row).step_by(V::LANES) {
        // SAFETY: a row consists of whole vectors.
        unsafe {
            let at = patch.add(i);
            store_all(transform::<V>(load_all(at, row)), at, row);
        }
    }
}

/// Transforms the patch along its rows, to `[position][TILES][pixel]`.
#[inline(always)]
unsafe fn transform_rows<V: Vector>(
    tiles: usize,
    pixel: usize,
    patch: *const f32,
    spread: *mut f32,
) {
    let position = TILES * pixel;
    for tile in 0..tiles {
        for y in 0..IN {
            for c in (0..pixel).step_by(V::LANES) {
                // SAFETY: a tile lies in the patch, and a pixel consists of whole vectors.
                unsafe {
                    let from = patch.add((y * PATCH + tile * OUT) * pixel + c);
                    let to = spread.add(y * IN * position + tile * pixel + c);
                    store_all(transform::<V>(load_all(from, pixel)), to, position);
                }
            }
        }
    }
}

/// Sums the products over the inputs, to `[position][TILES][output of the block]`.
#[inline(always)]
unsafe fn products<V: Vector, const P: usize, const N: usize>(
    filter: &Filter,
    block: usize,
    tiles: usize,
    spread: *const f32,
    sums: *mut f32,
) {
    let (inputs, width) = (filter.inputs, N * V::LANES);
    let pixel = pixel(filter, V::LANES);
    for position in 0..POSITIONS {
        // SAFETY: groups of tiles end within `TILES`; weights are there for all positions.
        unsafe {
            let weight = (block * POSITIONS + position) * inputs * width;
            let weight = filter.packed.weight.as_ptr().add(weight);
            for tile in (0..tiles).step_by(P) {
                let tile = position * TILES + tile;
                let source = spread.add(tile * pixel);
                let zeros = [[V::splat(0.0); N]; P];
                let group = multiply(zeros, source, pixel, inputs, weight);
                for (p, group) in group.into_iter().enumerate() {
                    store_all(group, sums.add((tile + p) * width), V::LANES);
                }
            }
        }
    }
}

/// Transforms the sums back and writes the pixels from column `x` on.
#[inline(always)]
unsafe fn finish<V: Vector, const N: usize>(
    band: &Band,
    x: usize,
    block: usize,
    tiles: usize,
    sums: *const f32,
) {
    let width = N * V::LANES;
    for tile in 0..tiles {
        for v in 0..N {
            // SAFETY: all sums of the block are there; only pixels of the band are written.
            unsafe {
                let at = sums.add(tile * width + v * V::LANES);
                finish_tile::<V>(
                    band,
                    x + tile * OUT,
                    block * width + v * V::LANES,
                    at,
                    width,
                );
            }
        }
    }
}

/// Of one tile, the outputs from `first` on; `width` floats lie from a tile's sums to the next one's.
#[inline(always)]
unsafe fn finish_tile<V: Vector>(
    band: &Band,
    x: usize,
    first: usize,
    sums: *const f32,
    width: usize,
) {
    // SAFETY: as `finish`; there is a bias for whole blocks.
    unsafe {
        let mut rows = [[V::splat(0.0); IN]; OUT];
        for i in 0..IN {
            let column =
                transform_back::<V>(load_all(sums.add(i * TILES * width), IN * TILES * width));
            for (row, v) in rows.iter_mut().zip(column) {
                row[i] = v;
            }
        }
        let output = band.output;
        let bias = V::load(band.job.filter.packed.bias.as_ptr().add(first));
        for (y, row) in rows.into_iter().enumerate().take(band.rows) {
            for (i, sum) in transform_back(row).into_iter().enumerate() {
                if x + i < band.width {
                    output.put((band.top + y, x + i), first, sum.add(bias));
                }
            }
        }
    }
}
