//! The score as it is defined, one cell after the other, in double precision.

use super::cells::{Area, Cells, Offset};
use super::{DOUBT, LEAST, REACH, STILL, SWING, Thumbnail};

/// Contrast below which there is more noise than picture.
const NOISE: f64 = 0.01;

/// Correlation, cells that were compared, and evidence.
pub type Match = [f64; 3];

pub fn score(left: &Thumbnail, right: &Thumbnail) -> f64 {
    let near = strangeness(&left.cells, &right.cells, (0, 0));
    if near <= f64::from(DOUBT) {
        return near;
    }
    let (dx, dy) = swing(&left.half, &right.half);
    let swung = strangeness(&left.cells, &right.cells, (2 * dx, 2 * dy));
    near.min(swung + f64::from(DOUBT))
}

fn strangeness(left: &Cells, right: &Cells, (dx, dy): Offset) -> f64 {
    let (mut misfit, mut evidence, mut area) = (0.0, 0.0, f64::MIN_POSITIVE);
    for (of, other, shift) in [(left, right, (dx, dy)), (right, left, (-dx, -dy))] {
        for block in of.blocks() {
            if let Some([correlation, cells, seen]) = best(of, other, &block.area, shift) {
                misfit += seen * (1.0 - correlation);
                evidence += seen;
                area += cells;
            }
        }
    }
    2.0 * misfit / (evidence + area)
}

fn best(of: &Cells, other: &Cells, block: &Area, (dx, dy): Offset) -> Option<Match> {
    let still = compare(of, other, block, (dx, dy));
    if still.is_some_and(|found| found[0] > f64::from(STILL)) {
        return still;
    }
    let reach = of.length(REACH) as isize;
    let mut best: Option<Match> = None;
    for y in dy - reach..=dy + reach {
        for x in dx - reach..=dx + reach {
            let found = compare(of, other, block, (x, y));
            if found.is_some_and(|found| best.is_none_or(|best| found[0] >= best[0])) {
                best = found;
            }
        }
    }
    best
}

fn swing(left: &Cells, right: &Cells) -> Offset {
    let far = |length: usize| (length as f32 * SWING).round() as isize;
    let (x, y) = (far(left.width), far(left.height));
    let mut best = (f64::MIN, (0, 0));
    for dy in -y..=y {
        for dx in -x..=x {
            let (mut sum, mut evidence) = (0.0, 0.0);
            for block in left.blocks() {
                if let Some([correlation, _, seen]) = compare(left, right, &block.area, (dx, dy)) {
                    sum += correlation * seen;
                    evidence += seen;
                }
            }
            let fit = sum / (evidence + f64::from(LEAST) * (left.width * left.height) as f64);
            if fit >= best.0 {
                best = (fit, (dx, dy));
            }
        }
    }
    best.1
}

/// What [`Cells::compare`] answers.
pub fn compare(of: &Cells, other: &Cells, block: &Area, (dx, dy): Offset) -> Option<Match> {
    let mut pairs = Vec::new();
    for y in block.rows.clone() {
        for x in block.columns.clone() {
            let (u, v) = (x as isize + dx, y as isize + dy);
            let is_inside =
                (0..of.width as isize).contains(&u) && (0..of.height as isize).contains(&v);
            if is_inside {
                pairs.push((y * of.width + x, v as usize * of.width + u as usize));
            }
        }
    }
    if 2 * pairs.len() < block.cells() {
        return None;
    }
    let count = pairs.len() as f64;
    let (mut shared, mut possible, mut contrast) = (0.0, 0.0, 0.0);
    for (plane, weight) in [1.0, 16.0, 16.0].into_iter().enumerate() {
        let size = of.width * of.height;
        let value = |cells: &Cells, at: usize| f64::from(cells.values[plane * size + at]);
        let pairs = pairs.iter().map(|(a, b)| (value(of, *a), value(other, *b)));
        let mean = |f: fn((f64, f64)) -> f64| pairs.clone().map(f).sum::<f64>() / count;
        let (a, b) = (mean(|pair| pair.0), mean(|pair| pair.1));
        let mut sums = [0.0; 3];
        for (x, y) in pairs {
            let (x, y) = (x - a, y - b);
            let products = [x * x, y * y, x * y];
            (0..3).for_each(|i| sums[i] += products[i]);
        }
        let [left, right, both] = sums.map(|sum| weight * sum / count);
        let noisy = |variance: f64| (variance + NOISE * NOISE).sqrt();
        shared += both;
        possible += noisy(left) * noisy(right);
        contrast += left.min(right);
    }
    let contrast = contrast.sqrt();
    let evidence = count * contrast / (contrast + NOISE);
    Some([shared / possible, count, evidence])
}
