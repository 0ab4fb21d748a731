//! What tells the versions of RIFE apart, all of it.

use super::super::RGB;
use crate::error::Result;
use crate::network::checkpoint::Checkpoint;

/// What a version's pictures are seen as, beside their colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// As nothing more.
    None,
    /// One convolution to `width` channels and one back, `features` wide.
    Shallow { width: usize, features: usize },
    /// Three convolutions and one back.
    Deep {
        width: usize,
        features: usize,
        /// Its weights are called `encode.cnn0`, not `encode.0`.
        is_named: bool,
    },
}

impl Head {
    /// Features of a picture.
    pub fn features(self) -> usize {
        match self {
            Self::None => 0,
            Self::Shallow { features, .. } | Self::Deep { features, .. } => features,
        }
    }

    /// The names of its convolutions, the one back last.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Shallow { .. } => &["encode.0", "encode.1"],
            Self::Deep {
                is_named: false, ..
            } => &["encode.0", "encode.2", "encode.4", "encode.6"],
            Self::Deep { is_named: true, .. } => {
                &["encode.cnn0", "encode.cnn1", "encode.cnn2", "encode.cnn3"]
            }
        }
    }

    /// The same whatever its weights are called: converters of checkpoints rename them.
    fn unnamed(self) -> Self {
        match self {
            Self::Deep {
                width, features, ..
            } => Self::Deep {
                width,
                features,
                is_named: false,
            },
            other => other,
        }
    }
}

/// How a block's last layer answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// Flow and mask at half the block's size, each block's mask added to those before it. The
    /// convolutions before it are no residual ones.
    Half,
    /// Flow and mask; 20 channels are spread over twice the size.
    Spread,
    /// As `Spread`, with a channel that nobody reads.
    Surplus,
    /// With eight features for the next block besides.
    Features,
}

impl Last {
    /// Channels of the last layer.
    pub fn channels(self) -> usize {
        match self {
            Self::Half => 5,
            Self::Spread => 4 * 5,
            Self::Surplus => 4 * 6,
            Self::Features => 4 * 13,
        }
    }

    const ALL: [Self; 4] = [Self::Half, Self::Spread, Self::Surplus, Self::Features];
}

/// Which pictures a block sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Both, warped.
    Warped,
    /// Both as they are, too, and a refiner has the last word.
    Both,
    /// A reference besides, which lies nearer to what is wanted, and its phase.
    Referring,
}

impl Sight {
    /// Channels in the place of the phase: that of the reference and its colours follow.
    pub fn phases(self) -> usize {
        match self {
            Self::Warped | Self::Both => 1,
            Self::Referring => 2 + RGB,
        }
    }

    /// Channels that the second block reads where it has no features.
    fn inputs(self) -> usize {
        // colours of both warped, mask and flow; those of both as they are
        let pictures = match self {
            Self::Warped => 2 * RGB,
            Self::Both | Self::Referring => 4 * RGB,
        };
        pictures + 5 + self.phases()
    }
}

/// What can be told from a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Channels of each block.
    pub widths: Vec<usize>,
    pub head: Head,
    pub last: Last,
    pub sight: Sight,
    /// Activations have slopes of their own, and what goes into a block's convolutions is added to
    /// what comes out.
    pub is_prelu: bool,
    /// Parts that the channels of a block's convolutions fall into.
    pub groups: usize,
}

/// One architecture, and the versions that have it.
#[derive(Debug, Clone, Copy)]
pub struct Version {
    pub name: &'static str,
    widths: &'static [usize],
    head: Head,
    last: Last,
    sight: Sight,
    is_prelu: bool,
    groups: usize,
    /// Pixels of a cell of each block.
    pub scales: &'static [f32],
}

impl Version {
    /// Sides of padded pictures are multiples of this, at the usual scale.
    pub fn multiple(&self) -> usize {
        LEAST_MULTIPLE.max(4 * self.scales[0] as usize)
    }
}

/// That of the refiner is less than what the authors pad to.
const LEAST_MULTIPLE: usize = 32;

const THREE: &[f32] = &[4.0, 2.0, 1.0];

const FOUR: &[f32] = &[8.0, 4.0, 2.0, 1.0];
const FIVE: &[f32] = &[16.0, 8.0, 4.0, 2.0, 1.0];
const FIVE_LITE: &[f32] = &[32.0, 16.0, 8.0, 4.0, 1.0];

const USUAL: &[usize] = &[192, 128, 96, 64];
const LITE: &[usize] = &[128, 96, 64, 48];

const fn deep(width: usize, features: usize, is_named: bool) -> Head {
    Head::Deep {
        width,
        features,
        is_named,
    }
}

const fn version(
    name: &'static str,
    widths: &'static [usize],
    head: Head,
    last: Last,
    scales: &'static [f32],
) -> Version {
    Version {
        name,
        widths,
        head,
        last,
        sight: Sight::Warped,
        is_prelu: false,
        groups: 1,
        scales,
    }
}

const SHALLOW: Head = Head::Shallow {
    width: 16,
    features: 4,
};

/// The one before RIFE 4 that takes a phase, and what InterpAny-Clearer made of it.
const fn refined(name: &'static str, sight: Sight) -> Version {
    Version {
        sight,
        is_prelu: true,
        ..version(name, &[240, 150, 90], Head::None, Last::Half, THREE)
    }
}

/// All versions.
#[rustfmt::skip]
pub const VERSIONS: [Version; 19] = [
    refined("m and [D]", Sight::Both),
    refined("[D,R]", Sight::Referring),
    Version { is_prelu: true, ..version("4.0 to 4.1", USUAL, Head::None, Last::Half, FOUR) },
    version("4.2 to 4.4", USUAL, Head::None, Last::Half, FOUR),
    version("4.5", USUAL, Head::None, Last::Spread, FOUR),
    version("4.6", USUAL, Head::None, Last::Surplus, FOUR),
    version("4.7 to 4.9", USUAL, SHALLOW, Last::Surplus, FOUR),
    version("4.10 to 4.12", USUAL, deep(32, 8, false), Last::Surplus, FOUR),
    version("4.12.lite to 4.13.lite", LITE, deep(32, 4, false), Last::Surplus, FOUR),
    version("4.13 to 4.19 and 4.24", USUAL, deep(32, 8, true), Last::Surplus, FOUR),
    Version { groups: 2, ..version("4.14.lite", USUAL, deep(32, 8, true), Last::Surplus, FOUR) },
    version("4.15.lite to 4.17.lite", LITE, deep(16, 4, true), Last::Surplus, FOUR),
    version("4.20", &[384, 192, 96, 48], deep(32, 8, true), Last::Surplus, FOUR),
    version("4.21 to 4.23", &[256, 192, 96, 48], deep(32, 8, true), Last::Features, FOUR),
    version("4.22.lite", &[192, 128, 64, 32], deep(16, 4, true), Last::Features, FOUR),
    version("4.25 to 4.26", &[192, 128, 96, 64, 32], deep(16, 4, true), Last::Features, FIVE),
    version("4.25.lite", &[192, 128, 96, 64, 24], deep(16, 4, true), Last::Features, FIVE_LITE),
    version("4.25.heavy", &[384, 256, 192, 128, 64], deep(16, 4, true), Last::Features, FIVE),
    version("4.26.heavy", &[192, 128, 96, 64, 32], deep(16, 16, true), Last::Features, FIVE),
];

impl Shape {
    /// Of a checkpoint of RIFE 4.
    ///
    /// # Errors
    /// It has other parts; they are named.
    pub fn of(checkpoint: &Checkpoint) -> Result<Self> {
        let size = |name: &str, i: usize| checkpoint.shape(name).and_then(|s| s.get(i).copied());
        let widths: Vec<_> = (0..)
            .map_while(|i| size(&format!("block{i}.conv0.1.0.weight"), 0))
            .collect();
        let outputs = size("block0.lastconv.0.weight", 1).or(size("block0.lastconv.weight", 1));
        let last = Last::ALL
            .into_iter()
            .find(|l| Some(l.channels()) == outputs);
        let Some((last, first)) = last.zip(widths.first()) else {
            let found = outputs.map_or("none".into(), |n| n.to_string());
            return Err(checkpoint.problem(format!(
                "is of no known version of RIFE 4: the last layer of its first block has {found} outputs, expected 5, 20, 24 or 52"
            )));
        };
        let inputs = size("block0.convblock.0.conv.weight", 1).filter(|n| *n > 0);
        let seen = size("block1.conv0.0.0.weight", 1);
        let sees = |sight: &Sight| last == Last::Half && seen == Some(sight.inputs());
        let sight = [Sight::Both, Sight::Referring].into_iter().find(sees);
        Ok(Self {
            head: head(size),
            last,
            sight: sight.unwrap_or(Sight::Warped),
            is_prelu: checkpoint.shape("block0.conv0.0.1.weight").is_some(),
            groups: inputs.map_or(1, |inputs| first / inputs),
            widths,
        })
    }

    /// The version of this shape.
    ///
    /// # Errors
    /// There is none.
    pub fn version(&self, checkpoint: &Checkpoint) -> Result<&'static Version> {
        let fits = |v: &&Version, head: fn(Head) -> Head| {
            head(v.head) == head(self.head)
                && v.widths == self.widths
                && (v.last, v.sight) == (self.last, self.sight)
                && (v.is_prelu, v.groups) == (self.is_prelu, self.groups)
        };
        let exactly = VERSIONS.iter().find(|v| fits(v, |head| head));
        let renamed = || VERSIONS.iter().find(|v| fits(v, Head::unnamed));
        exactly.or_else(renamed).ok_or_else(|| {
            checkpoint.problem(format!(
                "is of no known version of RIFE 4: it has blocks of {:?} channels, the last layer {:?}, the head {:?}",
                self.widths, self.last, self.head
            ))
        })
    }
}

/// Told from what `size` says of a dimension of a tensor.
fn head(size: impl Fn(&str, usize) -> Option<usize>) -> Head {
    let deep = |first: &str, last: &str, is_named| {
        let (width, features) = size(first, 0).zip(size(last, 1))?;
        Some(deep(width, features, is_named))
    };
    let shallow = || {
        let (width, features) = size("encode.0.weight", 0).zip(size("encode.1.weight", 1))?;
        Some(Head::Shallow { width, features })
    };
    deep("encode.cnn0.weight", "encode.cnn3.weight", true)
        .or_else(|| deep("encode.0.weight", "encode.6.weight", false))
        .or_else(shallow)
        .unwrap_or(Head::None)
}
