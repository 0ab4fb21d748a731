//! The figures of one method on one clip, and how they are summed up.

use crate::common::frame::Frame;
use crate::common::metrics;

/// Share of the frames that lie below what is called worst.
const WORST: f64 = 0.05;

/// How one made frame compares with the true one, or a mean over frames. What there is none of,
/// is no number: SSIM of tiny pictures, flicker of the first frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// dB.
    pub psnr: f64,
    /// At most 1.
    pub ssim: f64,
    /// Codes of 8 bits, see [`metrics::flicker`].
    pub flicker: f64,
}

/// All frames of one method, in order.
#[derive(Default)]
pub struct Scores {
    pub frames: Vec<Score>,
    /// Error of the last frame.
    last: Vec<i16>,
}

impl Scores {
    /// Compares the next made frame with the true one.
    pub fn add(&mut self, made: &Frame, truth: &Frame) {
        let (a, b) = (made.planes()[0], truth.planes()[0]);
        let error = metrics::error_of(a, b);
        let flicker = match self.last.len() == error.len() {
            true => metrics::flicker(&self.last, &error),
            false => f64::NAN,
        };
        self.last = error;
        self.frames.push(Score {
            psnr: metrics::psnr(a, b),
            ssim: metrics::ssim(a, b, truth.width, truth.height).unwrap_or(f64::NAN),
            flicker,
        });
    }

    /// Mean over the frames.
    pub fn mean(&self) -> Score {
        mean(&self.frames)
    }

    /// What a twentieth of the frames are worse than, between the sorted values by straight lines.
    pub fn worst(&self) -> Score {
        let part = |value: fn(&Score) -> f64, share| quantile(numbers(&self.frames, value), share);
        Score {
            psnr: part(|s| s.psnr, WORST),
            ssim: part(|s| s.ssim, WORST),
            flicker: part(|s| s.flicker, 1.0 - WORST),
        }
    }
}

/// Mean of scores, of each figure over those that have it.
pub fn mean(scores: &[Score]) -> Score {
    let part = |value| {
        let values = numbers(scores, value);
        values.iter().sum::<f64>() / values.len() as f64
    };
    Score {
        psnr: part(|s| s.psnr),
        ssim: part(|s| s.ssim),
        flicker: part(|s| s.flicker),
    }
}

fn numbers(scores: &[Score], value: fn(&Score) -> f64) -> Vec<f64> {
    let values = scores.iter().map(value);
    values.filter(|v| !v.is_nan()).collect()
}

/// The value that a share of the values lie below.
pub fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else {
        return f64::NAN;
    };
    let at = share * last as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    values[low] + (at - at.floor()) * (values[high] - values[low])
}
