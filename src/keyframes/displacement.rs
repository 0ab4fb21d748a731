//! By how much one plane is moved against another, for each cell: a step of B. Lucas and T. Kanade's method ("An Iterative Image
//! Registration Technique", IJCAI 1981), means left out.

use super::field::Field;
use super::plane::Plane;
use crate::kernels::Context;
use crate::kernels::raster::for_each_row;

/// Samples that a cell is wide and high.
const CELL: usize = 4;
/// Cells to each side that are looked at with a cell.
const RADIUS: usize = 2;
/// Square of a gradient that is taken for noise: one code of 8 bits.
const NOISE: f32 = 1.0 / 255.0 / 255.0;
/// No step is longer than this, in samples.
const LONGEST: f32 = 1.0;

/// Means over a cell: gradients gx and gy, the difference d, and the products gx gx, gx gy, gy gy, gx d, gy d.
const SUMS: usize = 8;

/// The `d`, in samples, of which `moved(p) = still(p + d)`, for each cell of `cells` (height, width), and how sure it is, 0 to 1.
pub fn displacement(
    context: &Context,
    still: &Plane,
    moved: &Plane,
    cells: (usize, usize),
) -> (Field, Plane) {
    let mut sums: Vec<Plane> = Vec::new();
    sums.resize_with(SUMS, || Plane::new(cells.1, cells.0));
    let mut all = vec![[0.0f32; SUMS]; cells.0 * cells.1];
    for_each_row(context, &mut all, cells.1, |i, row| {
        row_of_cells(still, moved, i, row)
    });
    for (c, plane) in sums.iter_mut().enumerate() {
        plane.fill(context, |y, row| {
            let of_row = &all[y * cells.1..];
            for (value, sums) in row.iter_mut().zip(of_row) {
                *value = sums[c];
            }
        });
        *plane = plane.mean(context, RADIUS);
    }
    let mut field = Field::still(cells);
    let mut sure = Plane::new(cells.1, cells.0);
    for (i, (flow, sure)) in field.flow.iter_mut().zip(&mut sure.data).enumerate() {
        let sums: [f32; SUMS] = std::array::from_fn(|c| sums[c].data[i]);
        (*flow, *sure) = solve(sums);
    }
    (field, sure)
}

/// Means of row `i` of cells; outside of the planes there is nothing.
pub fn row_of_cells(still: &Plane, moved: &Plane, i: usize, cells: &mut [[f32; SUMS]]) {
    let (width, height) = (still.width, still.height);
    let mut across = vec![0.0f32; width];
    for y in (i * CELL..(i + 1) * CELL).take_while(|y| *y < height) {
        let [above, here, below] =
            [y.saturating_sub(1), y, (y + 1).min(height - 1)].map(|y| still.row(y));
        gradients(here, &mut across);
        let samples = across
            .chunks(CELL)
            .zip(above.chunks(CELL))
            .zip(below.chunks(CELL));
        let samples = samples.zip(here.chunks(CELL).zip(moved.row(y).chunks(CELL)));
        for (sums, (((across, above), below), (here, moved))) in cells.iter_mut().zip(samples) {
            for x in 0..here.len() {
                let (gx, gy, d) = (across[x], 0.5 * (below[x] - above[x]), moved[x] - here[x]);
                let products = [gx, gy, d, gx * gx, gx * gy, gy * gy, gx * d, gy * d];
                for (sum, product) in sums.iter_mut().zip(products) {
                    *sum += product / (CELL * CELL) as f32;
                }
            }
        }
    }
}

/// Half of the difference of both neighbours; at the ends of the sample and its one neighbour.
fn gradients(row: &[f32], out: &mut [f32]) {
    let last = row.len() - 1;
    for (gradient, around) in out.iter_mut().skip(1).zip(row.windows(3)) {
        *gradient = 0.5 * (around[2] - around[0]);
    }
    for x in [0, last] {
        out[x] = 0.5 * (row[(x + 1).min(last)] - row[x.saturating_sub(1)]);
    }
}

/// The step, and the share of the weaker gradient in what is no noise.
fn solve([gx, gy, d, xx, xy, yy, xd, yd]: [f32; SUMS]) -> ([f32; 2], f32) {
    let (xx, xy, yy) = (xx - gx * gx, xy - gx * gy, yy - gy * gy);
    let (xd, yd) = (xd - gx * d, yd - gy * d);
    let (a, c) = (xx.max(0.0) + NOISE, yy.max(0.0) + NOISE);
    let determinant = (a * c - xy * xy).max(NOISE * NOISE);
    let step = [
        (c * xd - xy * yd) / determinant,
        (a * yd - xy * xd) / determinant,
    ];
    let length = step[0].hypot(step[1]);
    let within = if length > LONGEST {
        LONGEST / length
    } else {
        1.0
    };
    let weaker = 0.5 * (a + c) - (0.25 * (a - c) * (a - c) + xy * xy).sqrt();
    let sure = (weaker - NOISE).max(0.0) / (weaker.max(NOISE) + 4.0 * NOISE);
    (step.map(|d| d * within), sure)
}
