//! What is done where a card has too little memory. A published network sees pictures in parts, then in smaller ones. The built-in one,
//! whose memory is mostly that of pictures and of what is told of them, seeks motion at half the resolution, then runs in its
//! smallest size. Then the CPU goes on.

use crate::network::published::Options;
use crate::network::{Model, Variant};

/// Motion is sought at this scale where memory is short.
const HALF: f32 = 0.5;

/// A step, in the order in which they are taken; a later one includes those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Economy {
    /// A published network sees parts of pictures that overlap, whose longer side has at most so many pixels.
    Parts(usize),
    /// Motion is sought at half the resolution.
    Half,
    /// The built-in network runs in its smallest size.
    Fast,
    /// The card is left.
    Cpu,
}

impl Economy {
    /// What to do next where this network runs with these options on pictures of this height and width; `variant` is the size of the
    /// built-in one, if that runs.
    pub fn next(
        network: &Model,
        options: &Options,
        size: (usize, usize),
        variant: Option<Variant>,
    ) -> Self {
        let scale = network.scale(options, size);
        if let Some(longest) = network.shorter(options, size) {
            Self::Parts(longest)
        } else if scale.is_some_and(|scale| scale > HALF) {
            Self::Half
        } else if variant.is_some_and(|variant| variant != Variant::Fast) {
            Self::Fast
        } else {
            Self::Cpu
        }
    }

    /// Whether this is more of what is done already: nothing to warn of.
    pub fn goes_on(self, before: Option<Self>) -> bool {
        matches!((before, self), (Some(Self::Parts(_)), Self::Parts(_)))
    }

    /// What goes on, for the warning.
    pub fn text(self) -> &'static str {
        match self {
            Self::Parts(_) => "the network sees pictures in parts, one after the other",
            Self::Half => "motion is sought at half the resolution (scale=0.5)",
            Self::Fast => "the smallest network goes on (quality=fast)",
            Self::Cpu => "the CPU goes on",
        }
    }

    /// The options that are left of those chosen.
    pub fn options(self, options: Options) -> Options {
        match self {
            Self::Parts(longest) => Options {
                longest: Some(longest),
                ..options
            },
            _ => Options {
                scale: Some(options.scale.map_or(HALF, |scale| scale.min(HALF))),
                ..options
            },
        }
    }
}

#[cfg(test)]
#[path = "../../tests/common/checkpoints.rs"]
mod checkpoints;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::network::checkpoint::Checkpoint;
    use crate::network::published::Published;

    fn published(name: &str) -> Model {
        let checkpoint = Checkpoint::of(name, checkpoints::tensors(name));
        Model::Published(Arc::new(Published::load(&checkpoint, None).unwrap()))
    }

    fn built_in(variant: Variant) -> Model {
        variant.network().unwrap().into()
    }

    /// All steps from a choice on, for pictures of this height and width.
    fn steps(
        network: &Model,
        mut options: Options,
        size: (usize, usize),
        mut variant: Option<Variant>,
    ) -> Vec<Economy> {
        let mut steps = Vec::new();
        while steps.last() != Some(&Economy::Cpu) {
            let step = Economy::next(network, &options, size, variant);
            assert_eq!(
                step.goes_on(steps.last().copied()),
                matches!(step, Economy::Parts(_)) && !steps.is_empty()
            );
            options = step.options(options);
            variant = variant.map(|v| match step {
                Economy::Fast => Variant::Fast,
                _ => v,
            });
            steps.push(step);
        }
        steps
    }

    fn scale(scale: Option<f32>) -> Options {
        Options {
            scale,
            ..Options::default()
        }
    }

    const LARGE: (usize, usize) = (1080, 1920);

    #[test]
    fn every_way_of_the_built_in_network_ends_at_the_cpu() {
        use Economy::{Cpu, Fast, Half};
        for variant in [Variant::Balanced, Variant::High] {
            let steps = |options| steps(&built_in(variant), options, LARGE, Some(variant));
            assert_eq!(steps(scale(None)), [Half, Fast, Cpu]);
            assert_eq!(steps(scale(Some(0.5))), [Fast, Cpu]);
        }
        let fast = Variant::Fast;
        let steps = |options, variant| steps(&built_in(fast), options, (720, 1280), variant);
        assert_eq!(steps(scale(None), Some(fast)), [Half, Cpu]);
        // one of its kind that was loaded
        assert_eq!(steps(scale(None), None), [Half, Cpu]);
    }

    #[test]
    fn networks_of_others_see_ever_smaller_parts() {
        use Economy::{Cpu, Parts};
        let rife = published("rife-4.25.lite");
        let all = [Parts(1024), Parts(576), Parts(384), Cpu];
        assert_eq!(steps(&rife, scale(None), LARGE, None), all);
        // it pads 1920 pixels to 2048
        let all = [Parts(1088), Parts(640), Parts(384), Cpu];
        assert_eq!(steps(&rife, scale(Some(0.5)), LARGE, None), all);
        assert_eq!(steps(&rife, scale(None), (256, 320), None), [Cpu]);
        // which sees parts anyway
        let film = published("film");
        let steps = steps(&film, scale(None), LARGE, None);
        assert_eq!(steps, [Parts(448), Cpu]);
    }

    #[test]
    fn a_smaller_scale_is_kept() {
        for (before, after) in [(None, 0.5), (Some(1.0), 0.5), (Some(0.25), 0.25)] {
            let options = Economy::Half.options(scale(before));
            assert_eq!(options, scale(Some(after)));
        }
    }
}
