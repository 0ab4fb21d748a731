//! A doubling that mixes each column of two rows once, for both pixels that it is nearest to and for both beside them.

use super::{Doubling, neighbours};

/// Row `y` of a doubling of `C` channels.
pub fn double<const C: usize>(job: &Doubling, y: usize, row: &mut [f32]) {
    let (near, far) = neighbours(y, job.coarser.height);
    let (near, far) = (job.coarser.row(near), job.coarser.row(far));
    let (last, step) = (job.coarser.width - 1, job.coarser.pixel);
    let column = |x: usize| {
        let at = x * step;
        let (near, far) = (&near[at..][..C], &far[at..][..C]);
        std::array::from_fn::<_, C, _>(|c| job.factor * (0.75 * near[c] + 0.25 * far[c]))
    };
    let (mut before, mut own) = (column(0), column(0));
    for (x, pair) in row.chunks_mut(2 * job.pixel).enumerate() {
        let after = column((x + 1).min(last));
        for (i, beside) in [before, after].iter().enumerate() {
            // the last pair of an odd row is one
            let Some(values) = pair.get_mut(i * job.pixel..).filter(|v| !v.is_empty()) else {
                break;
            };
            let detail = job.detail.map(|d| &d.at(y, 2 * x + i)[..C]);
            for c in 0..C {
                let added = detail.map_or(0.0, |d| d[c]);
                values[c] = added + (0.75 * own[c] + 0.25 * beside[c]);
            }
        }
        (before, own) = (own, after);
    }
}
