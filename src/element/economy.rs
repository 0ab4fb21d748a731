//! What is done where a card has too little memory: the network sees less, then a smaller one runs, then the CPU goes on.

use crate::network::Variant;
use crate::network::published::Options;

/// Motion is sought at this scale where memory is short.
const HALF: f32 = 0.5;

/// A step, in the order in which they are taken; a later one includes those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Economy {
    /// Motion is sought at half the resolution.
    Half,
    /// The built-in network runs in its smallest size.
    Fast,
    /// The card is left.
    Cpu,
}

impl Economy {
    /// What to do next, from the scale that motion was sought at and the size of the built-in network; neither is there where
    /// a network has no choice.
    pub fn next(scale: Option<f32>, variant: Option<Variant>) -> Self {
        if scale.is_some_and(|scale| scale > HALF) {
            Self::Half
        } else if variant.is_some_and(|variant| variant != Variant::Fast) {
            Self::Fast
        } else {
            Self::Cpu
        }
    }

    /// What goes on, for the warning.
    pub fn text(self) -> &'static str {
        match self {
            Self::Half => "motion is sought at half the resolution (scale=0.5)",
            Self::Fast => "the smallest network goes on (quality=fast)",
            Self::Cpu => "the CPU goes on",
        }
    }

    /// The options that are left of those chosen.
    pub fn options(self, options: Options) -> Options {
        let scale = options.scale.map_or(HALF, |scale| scale.min(HALF));
        Options {
            scale: Some(scale),
            ..options
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All steps from a choice on.
    fn steps(mut options: Options, mut variant: Option<Variant>, has_scale: bool) -> Vec<Economy> {
        let mut steps = Vec::new();
        while steps.last() != Some(&Economy::Cpu) {
            let scale = has_scale.then(|| options.scale.unwrap_or(1.0));
            let step = Economy::next(scale, variant);
            options = step.options(options);
            variant = variant.map(|v| {
                if step == Economy::Fast {
                    Variant::Fast
                } else {
                    v
                }
            });
            steps.push(step);
        }
        steps
    }

    #[test]
    fn every_way_ends_at_the_cpu() {
        use Economy::{Cpu, Fast, Half};
        let scale = |scale| Options {
            scale,
            ..Options::default()
        };
        for variant in [Variant::Balanced, Variant::High] {
            assert_eq!(steps(scale(None), Some(variant), true), [Half, Fast, Cpu]);
            assert_eq!(steps(scale(Some(0.5)), Some(variant), true), [Fast, Cpu]);
        }
        assert_eq!(steps(scale(None), Some(Variant::Fast), true), [Half, Cpu]);
        // networks of others, with and without a choice of scale
        assert_eq!(steps(scale(Some(2.0)), None, true), [Half, Cpu]);
        assert_eq!(steps(scale(Some(0.25)), None, true), [Cpu]);
        assert_eq!(steps(scale(None), None, false), [Cpu]);
    }

    #[test]
    fn a_smaller_scale_is_kept() {
        let chosen = |scale| Options {
            scale,
            ..Options::default()
        };
        for (before, after) in [(None, 0.5), (Some(1.0), 0.5), (Some(0.25), 0.25)] {
            let options = Economy::Half.options(chosen(before));
            assert_eq!(options, chosen(Some(after)));
        }
    }
}
