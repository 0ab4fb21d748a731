//! What a keyframe says of its look: for each sample a gain and an offset, so that styled = gain * source + offset.
//!
//! The gain is the slope of the straight line that fits best around each sample, a guided filter's (K. He, J. Sun, X. Tang, "Guided Image
//! Filtering", ECCV 2010); the offset is all the rest. On the keyframe's own source both give the keyframe itself. On another
//! frame what has changed in the source since (light, noise, what the motion missed by a little) changes the styled picture as the
//! style would have done. Where a frame shows what the keyframe does not, there is a curve: to which value the keyframe has brought
//! each value of its source, in the mean.

use super::plane::Plane;
use crate::kernels::Context;
use crate::picture::Picture;

/// Samples to each side that a line is fitted to.
const RADIUS: usize = 4;
/// Variance of a source of which a line takes half the slope: two codes of 8 bits.
const FLAT: f32 = (2.0 / 255.0) * (2.0 / 255.0);
/// Values of a curve, evenly from 0 to 1.
const KNOTS: usize = 65;

/// The look of one component.
#[derive(Debug)]
pub struct Style {
    pub gain: Plane,
    pub offset: Plane,
    curve: Vec<f32>,
}

impl Style {
    /// How `source` became `styled`.
    pub fn new(context: &Context, source: &Plane, styled: &Plane) -> Self {
        let gain = gain(context, source, styled);
        let explained = gain.zip(context, source, |gain, source| gain * source);
        Self {
            offset: styled.zip(context, &explained, |styled, explained| styled - explained),
            curve: curve(source, styled),
            gain,
        }
    }

    /// To what the keyframe brings a value where nothing else is known.
    pub fn curve(&self, value: f32) -> f32 {
        let (knot, share) = knot(value);
        self.curve[knot] + share * (self.curve[knot + 1] - self.curve[knot])
    }
}

/// All components of a picture as a keyframe has them.
pub fn planes(context: &Context, picture: &Picture) -> Vec<Plane> {
    let components = picture.format().components();
    let load = |c| Plane::load(context, picture, c);
    components.iter().map(load).collect()
}

fn gain(context: &Context, source: &Plane, styled: &Plane) -> Plane {
    let mean = |plane: &Plane| plane.mean(context, RADIUS);
    let product = |a: &Plane, b: &Plane| mean(&a.zip(context, b, |a, b| a * b));
    let (s, t) = (mean(source), mean(styled));
    let around = |products: Plane, a: &Plane, b: &Plane| {
        let means = a.zip(context, b, |a, b| a * b);
        products.zip(context, &means, |product, means| product - means)
    };
    let covariance = around(product(source, styled), &s, &t);
    let variance = around(product(source, source), &s, &s);
    let slope = covariance.zip(context, &variance, |c, v| c / (v.max(0.0) + FLAT));
    mean(&slope)
}

/// The knot at or below a value, and the share of the next one.
fn knot(value: f32) -> (usize, f32) {
    let at = value.clamp(0.0, 1.0) * (KNOTS - 1) as f32;
    let knot = (at as usize).min(KNOTS - 2);
    (knot, at - knot as f32)
}

fn curve(source: &Plane, styled: &Plane) -> Vec<f32> {
    let (mut sums, mut weights) = (vec![0.0f64; KNOTS], vec![0.0f64; KNOTS]);
    for (s, t) in source.data.iter().zip(&styled.data) {
        let (knot, share) = knot(*s);
        for (knot, weight) in [(knot, 1.0 - share), (knot + 1, share)] {
            sums[knot] += f64::from(weight * t);
            weights[knot] += f64::from(weight);
        }
    }
    fill_gaps(sums.iter().zip(&weights))
}

/// Means where there is a weight; between them straight lines, beyond them what is next.
fn fill_gaps<'a>(knots: impl Iterator<Item = (&'a f64, &'a f64)>) -> Vec<f32> {
    let means = knots.map(|(sum, weight)| (*weight > 0.0).then(|| (sum / weight) as f32));
    let means: Vec<Option<f32>> = means.collect();
    let known = |i: usize| means[i].map(|value| (i, value));
    let at = |i: usize| {
        let below = (0..=i).rev().find_map(known);
        let above = (i..means.len()).find_map(known);
        match (below, above) {
            (Some((a, from)), Some((b, to))) if b > a => {
                from + (to - from) * (i - a) as f32 / (b - a) as f32
            }
            (Some((_, value)), _) | (_, Some((_, value))) => value,
            (None, None) => i as f32 / (KNOTS - 1) as f32,
        }
    };
    (0..means.len()).map(at).collect()
}
