//! How alike two luma planes are.

/// Peak signal-to-noise ratio of 8-bit planes, dB; equal planes are given 100.
pub fn psnr(a: &[u8], b: &[u8]) -> f64 {
    let squares: u64 = a
        .iter()
        .zip(b)
        .map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2))
        .sum();
    if squares == 0 {
        return 100.0;
    }
    10.0 * (255.0f64.powi(2) * a.len() as f64 / squares as f64).log10()
}

/// What is added to the truth in a made plane, codes: `made - truth`.
pub fn error_of(made: &[u8], truth: &[u8]) -> Vec<i16> {
    let pairs = made.iter().zip(truth);
    pairs.map(|(&m, &t)| i16::from(m) - i16::from(t)).collect()
}

/// How steady a sequence is: the mean over the pixels of
/// `|(made[k] - made[k - 1]) - (truth[k] - truth[k - 1])|`, codes of 8 bits, given the errors
/// ([`error_of`]) of two successive made planes. An error that stays where it is costs nothing,
/// one that comes and goes costs all of itself; 0 is as steady as the truth.
pub fn flicker(before: &[i16], now: &[i16]) -> f64 {
    let sum: u64 = before
        .iter()
        .zip(now)
        .map(|(&a, &b)| u64::from(a.abs_diff(b)))
        .sum();
    sum as f64 / now.len() as f64
}

/// Taps of the Gaussian window, and its deviation in pixels: those of Wang et al., 2004.
const TAPS: usize = 11;
const DEVIATION: f64 = 1.5;

/// Structural similarity of 8-bit planes: 11×11 Gaussian window, mean over the positions
/// where the whole window lies inside; 1 is equal. `None` for pictures smaller than that.
pub fn ssim(a: &[u8], b: &[u8], width: usize, height: usize) -> Option<f64> {
    const C1: f32 = (0.01 * 255.0) * (0.01 * 255.0);
    const C2: f32 = (0.03 * 255.0) * (0.03 * 255.0);
    if width < TAPS || height < TAPS {
        return None;
    }
    let plane = |value: &dyn Fn(f32, f32) -> f32| -> Vec<f32> {
        let values: Vec<f32> = a
            .iter()
            .zip(b)
            .map(|(&a, &b)| value(f32::from(a), f32::from(b)))
            .collect();
        filter(&values, width, height)
    };
    let (mean_a, mean_b) = (plane(&|a, _| a), plane(&|_, b| b));
    let (aa, bb) = (plane(&|a, _| a * a), plane(&|_, b| b * b));
    let ab = plane(&|a, b| a * b);
    let sum: f64 = (0..ab.len())
        .map(|i| {
            let (ma, mb) = (mean_a[i], mean_b[i]);
            let (va, vb, cov) = (aa[i] - ma * ma, bb[i] - mb * mb, ab[i] - ma * mb);
            let top = (2.0 * ma * mb + C1) * (2.0 * cov + C2);
            f64::from(top / ((ma * ma + mb * mb + C1) * (va + vb + C2)))
        })
        .sum();
    Some(sum / ab.len() as f64)
}

/// The window's weighted mean at every position where it lies inside.
fn filter(values: &[f32], width: usize, height: usize) -> Vec<f32> {
    let taps = gaussian();
    let (inner_width, inner_height) = (width - TAPS + 1, height - TAPS + 1);
    let mut rows = vec![0.0f32; inner_width * height];
    for (out, row) in rows
        .chunks_exact_mut(inner_width)
        .zip(values.chunks_exact(width))
    {
        for (k, tap) in taps.iter().enumerate() {
            for (o, v) in out.iter_mut().zip(&row[k..]) {
                *o += tap * v;
            }
        }
    }
    let mut out = vec![0.0f32; inner_width * inner_height];
    for (y, out) in out.chunks_exact_mut(inner_width).enumerate() {
        for (k, tap) in taps.iter().enumerate() {
            let row = &rows[(y + k) * inner_width..][..inner_width];
            for (o, v) in out.iter_mut().zip(row) {
                *o += tap * v;
            }
        }
    }
    out
}

fn gaussian() -> [f32; TAPS] {
    let middle = (TAPS / 2) as f64;
    let weight = |k: usize| (-(k as f64 - middle).powi(2) / (2.0 * DEVIATION.powi(2))).exp();
    let sum: f64 = (0..TAPS).map(weight).sum();
    std::array::from_fn(|k| (weight(k) / sum) as f32)
}
