//! Whether the brightness of a stream at twice the rate beats at the rhythm of its originals.

use std::f64::consts::TAU;

/// Mean of Y, U and V, in code values of 8 bits.
pub type Means = [f64; 3];

/// Amplitude of a series at a frequency in cycles a sample (Goertzel's sum), the mean and the
/// slope taken out, through a Hann window.
fn amplitude(series: &[f64], frequency: f64) -> f64 {
    let (count, last) = (series.len() as f64, series.len() as f64 - 1.0);
    let slope = (series[series.len() - 1] - series[0]) / last;
    let flat: Vec<f64> = series
        .iter()
        .enumerate()
        .map(|(n, v)| v - slope * n as f64)
        .collect();
    let mean = flat.iter().sum::<f64>() / count;
    let (mut re, mut im, mut weights) = (0.0, 0.0, 0.0);
    for (n, value) in flat.iter().enumerate() {
        let weight = 0.5 - 0.5 * (TAU * (n as f64 + 0.5) / count).cos();
        let (sin, cos) = (TAU * frequency * n as f64).sin_cos();
        re += weight * (value - mean) * cos;
        im += weight * (value - mean) * sin;
        weights += weight;
    }
    re.hypot(im) / weights
}

/// The line at the originals' rate, every second frame of the stream, and the mean of the lines
/// that the originals alone have in the upper half of their frequencies.
pub fn beat(stream: &[f64]) -> (f64, f64) {
    let originals: Vec<f64> = stream.iter().step_by(2).copied().collect();
    let bins: Vec<usize> = (originals.len() / 4..=originals.len() / 2).collect();
    let line = |bin: &usize| amplitude(&originals, *bin as f64 / originals.len() as f64);
    let noise = bins.iter().map(line).sum::<f64>() / bins.len() as f64;
    (amplitude(stream, 0.5), noise)
}

/// Mean over a stream of what the made frames' means are off their neighbours' mean.
pub fn offset(stream: &[Means]) -> Means {
    let made = stream.windows(3).step_by(2);
    let count = made.len() as f64;
    std::array::from_fn(|i| {
        let off = made.clone().map(|m| m[1][i] - (m[0][i] + m[2][i]) / 2.0);
        off.sum::<f64>() / count
    })
}
