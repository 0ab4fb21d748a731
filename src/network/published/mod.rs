//! The networks that others have published, from the files they are published in.
//!
//! Each sees two RGB pictures (0 to 1, gamma as it is) and a phase, and answers at full size with
//! where a pixel comes from in both, and how much of each. Some also answer with what their own
//! picture has beyond that: the residual. The interpolator makes the picture from these in the
//! stream's own planes.

use std::fmt;
use std::sync::Arc;

use candle_core::Tensor;

use super::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::kernels::answers::CONCLUSION;
use crate::kernels::device::Gpu;
use crate::kernels::{Context, PhaseMap, Precision, picture};

mod amt;
mod centred;
mod ema;
mod film;
mod ifrnet;
mod layers;
mod pyramid;
mod refine;
mod rife;
mod tiles;
mod views;

use amt::Amt;
use ema::Ema;
use film::Film;
use ifrnet::Ifrnet;
use rife::Rife;
use tiles::Parts;

/// Colours of a picture.
pub const RGB: usize = 3;

/// What a network belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Rife,
    Ifrnet,
    Film,
    Ema,
    Amt,
}

impl Family {
    /// All that can be run. A checkpoint is of the first one whose mark it has: AMT has what IFRNet has, too.
    pub const ALL: [Self; 5] = [Self::Rife, Self::Amt, Self::Ifrnet, Self::Film, Self::Ema];

    /// How `model` calls it, before a colon.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Rife => "rife",
            Self::Ifrnet => "ifrnet",
            Self::Film => "film",
            Self::Ema => "ema-vfi",
            Self::Amt => "amt",
        }
    }

    /// The family and the path of `family:path`; `None` where no family stands before a colon.
    pub fn prefixed(model: &str) -> Option<(Self, &str)> {
        let (prefix, path) = model.split_once(':')?;
        let family = Self::ALL.into_iter().find(|f| f.prefix() == prefix)?;
        Some((family, path))
    }

    /// What error messages call it, and which versions of it can be run.
    pub fn description(self) -> &'static str {
        match self {
            Self::Rife => "RIFE 4.0 to 4.26, RIFE m, [D] and [D,R]",
            Self::Ifrnet => "IFRNet S, IFRNet and IFRNet L",
            Self::Film => "FILM",
            Self::Ema => "EMA-VFI small and EMA-VFI",
            Self::Amt => "AMT S, L and G",
        }
    }

    /// A tensor that every network of it has, and none of a family behind it.
    fn mark(self) -> &'static str {
        match self {
            Self::Rife => "block0.conv0.0.0.weight",
            Self::Ifrnet => "encoder.pyramid1.0.0.weight",
            Self::Film => "extract.extract_sublevels.convs.0.0.0.weight",
            Self::Ema => "feature_bone.block1.conv.0.weight",
            Self::Amt => "feat_encoder.conv1.weight",
        }
    }

    /// What names of its tensors begin with.
    fn beginnings(self) -> &'static [&'static str] {
        match self {
            Self::Rife => &["block", "encode."],
            Self::Ifrnet => &["encoder.pyramid", "decoder"],
            Self::Film => &["extract.", "predict_flow.", "fuse."],
            Self::Ema => &["feature_bone.", "block."],
            Self::Amt => &["feat_encoder.", "update", "comb_block."],
        }
    }

    /// Told from the names of the tensors.
    ///
    /// # Errors
    /// It is none that can be run; all that can are named, and the one that it is nearest to.
    pub fn of(checkpoint: &Checkpoint) -> Result<Self> {
        let is_marked = |f: &Self| checkpoint.shape(f.mark()).is_some();
        if let Some(family) = Self::ALL.into_iter().find(is_marked) {
            return Ok(family);
        }
        let names = checkpoint.names();
        let is_of = |f: &Self, name: &str| f.beginnings().iter().any(|b| name.starts_with(b));
        let count = |f: &Self| names.iter().filter(|n| is_of(f, n)).count();
        let nearest = Self::ALL.into_iter().max_by_key(count);
        let nearest = nearest.filter(|f| 2 * count(f) > names.len());
        let nearest = nearest.map_or(String::new(), |f| {
            format!(
                "; it is nearest to {}, but has no tensor {}",
                f.description(),
                f.mark()
            )
        });
        let first = names.first().copied().unwrap_or("none");
        let supported = Self::ALL.map(Self::description).join(", ");
        Err(checkpoint.problem(format!(
            "is of no network that can be run (its first tensor is {first}){nearest}; supported are the built-in network, {supported}"
        )))
    }
}

/// What the caller may choose.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Resolution at which motion is sought, relative to the usual one: 0.25, 0.5, 1 or 2; nothing leaves it to the
    /// size of the picture, see [`Options::scale`].
    pub scale: Option<f32>,
    /// How often FILM may halve the way to a phase; 0: its flows are scaled instead.
    pub recursion: u32,
    /// Steps that a network with references goes to a phase, 1 to 3.
    pub iterations: u32,
    /// Longest side, in pixels, of what a published network sees at once: larger pictures are seen in parts that overlap, which
    /// takes less memory, and more time. None: whole pictures, but for FILM, which sees at most 768, or 1088 where features have 16 bits. The built-in network always sees
    /// them whole.
    pub longest: Option<usize>,
}

/// How often FILM halves unless something else is said: to eighths.
pub const RECURSION: u32 = 3;
/// Most halvings.
pub const MOST_RECURSION: u32 = 6;
/// Steps with references unless something else is said, as their authors take.
pub const ITERATIONS: u32 = 2;
/// Most steps.
pub const MOST_ITERATIONS: u32 = 3;

impl Default for Options {
    fn default() -> Self {
        Options {
            scale: None,
            recursion: RECURSION,
            iterations: ITERATIONS,
            longest: None,
        }
    }
}

/// Lines above which published networks seek motion at half the usual resolution, unless something else is said.
pub const MOST_LINES: usize = 1440;

impl Options {
    /// The scale for pictures of `height` x `width`, whichever way up they are: a half for those of more than so
    /// many `lines`.
    pub fn scale(&self, (height, width): (usize, usize), lines: usize) -> f32 {
        let automatic = if height.min(width) > lines { 0.5 } else { 1.0 };
        self.scale.unwrap_or(automatic)
    }
}

/// A network, ready to run.
pub struct Published {
    family: Family,
    parameters: usize,
    net: Net,
}

#[derive(Debug)]
enum Net {
    Rife(Rife),
    Ifrnet(Ifrnet),
    Film(Film),
    Ema(Ema),
    Amt(Box<Amt>),
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("Published").field(&self.name()).finish()
    }
}

impl Published {
    /// Finds out what a checkpoint is, unless `family` says it, and reads it.
    ///
    /// # Errors
    /// It is unknown, or a tensor is missing, has another shape, or is one too many.
    pub fn load(checkpoint: &Checkpoint, family: Option<Family>) -> Result<Self> {
        let family = match family {
            Some(family) => family,
            None => Family::of(checkpoint)?,
        };
        let net = match family {
            Family::Rife => Net::Rife(Rife::load(checkpoint)?),
            Family::Ifrnet => Net::Ifrnet(Ifrnet::load(checkpoint)?),
            Family::Film => Net::Film(Film::load(checkpoint)?),
            Family::Ema => Net::Ema(Ema::load(checkpoint)?),
            Family::Amt => Net::Amt(Box::new(Amt::load(checkpoint)?)),
        };
        Ok(Self {
            family,
            parameters: checkpoint.used_values(),
            net,
        })
    }

    /// Family and version.
    pub fn name(&self) -> String {
        match &self.net {
            Net::Rife(net) => format!("RIFE {}", net.version()),
            Net::Ifrnet(net) => net.version().into(),
            Net::Film(_) => "FILM".into(),
            Net::Ema(net) => net.version().into(),
            Net::Amt(net) => net.version().into(),
        }
    }

    /// Which family it is of.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Numbers that were learnt.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// Memory for pictures of `height` x `width`, to be run on `context`.
    ///
    /// # Errors
    /// A card has too little memory.
    pub fn workspace(
        &self,
        context: &Context,
        size: (usize, usize),
        options: Options,
    ) -> Result<Workspace> {
        let options = Options {
            // parts have that of the whole
            scale: Some(options.scale(size, MOST_LINES)),
            ..options
        };
        let (padded, longest) = (
            self.padded(size, &options),
            self.longest(&options, context.precision()),
        );
        let seen = longest.map(|longest| (tiles::size(padded, longest), longest));
        let room = match seen.filter(|(seen, _)| *seen != padded) {
            Some((_, longest)) => {
                let whole = Options {
                    longest: None,
                    ..options
                };
                Room::Parts(Parts::new(self, context, (padded, longest), whole)?)
            }
            None => Room::Whole(self.space(context, (size, padded), &options)?),
        };
        let device = context.device();
        let zeros = |channels| layers::zeros(&device, [padded.0, padded.1, channels]);
        Ok(Workspace {
            context: context.clone(),
            motion: zeros(CONCLUSION)?,
            residual: self.has_residual().then(|| zeros(RGB)).transpose()?,
            size,
            padded,
            room,
        })
    }

    /// Longest side of what it sees at once with features of these numbers, if that is not all of a picture.
    fn longest(&self, options: &Options, features: Precision) -> Option<usize> {
        let own = matches!(self.net, Net::Film(_)).then(|| film::longest(features));
        own.into_iter().chain(options.longest).min()
    }

    /// The next smaller [`Options::longest`] for pictures of this height and width; none where parts would be too small.
    pub fn shorter(&self, size: (usize, usize), options: &Options) -> Option<usize> {
        let padded = self.padded(size, options);
        // of 16 bits there may be steps between
        let (h, w) = match self.longest(options, Precision::Single) {
            Some(longest) => tiles::size(padded, longest),
            None => padded,
        };
        tiles::shorter(h.max(w))
    }

    /// The size that pictures are padded to.
    fn padded(&self, size: (usize, usize), options: &Options) -> (usize, usize) {
        match &self.net {
            Net::Rife(net) => net.padded(size, options.scale(size, MOST_LINES)),
            Net::Ifrnet(net) => net.padded(size),
            // they pad them themselves
            Net::Film(_) | Net::Ema(_) | Net::Amt(_) => layers::answered(size),
        }
    }

    /// Whether its picture has something beyond what motion makes of both sides.
    fn has_residual(&self) -> bool {
        match &self.net {
            Net::Rife(net) => net.has_residual(),
            Net::Ifrnet(_) | Net::Film(_) | Net::Ema(_) | Net::Amt(_) => true,
        }
    }

    /// What it works in on pictures that it sees whole, which have this size, and this one with padding.
    fn space(
        &self,
        context: &Context,
        (size, padded): ((usize, usize), (usize, usize)),
        options: &Options,
    ) -> Result<Space> {
        let (device, iterations) = (&context.device(), options.iterations);
        Ok(match &self.net {
            Net::Rife(net) => {
                let scale = options.scale(size, MOST_LINES);
                Space::Rife(Box::new(net.space(context, padded, scale, iterations)?))
            }
            Net::Ifrnet(net) => Space::Ifrnet(net.space(context, padded, iterations)?),
            Net::Film(net) => Space::Film(Box::new(net.space(context, size, options.recursion)?)),
            Net::Ema(net) => Space::Ema(Box::new(net.space(device, size)?)),
            Net::Amt(net) => Space::Amt(Box::new(net.space(context, size)?)),
        })
    }

    /// Room for one picture.
    ///
    /// # Errors
    /// A card has too little memory.
    pub fn encoded(&self, workspace: &Workspace) -> Result<Encoded> {
        let (h, w) = workspace.padded;
        let shape = [h, w, self.channels(workspace)];
        let image = match (&self.net, &workspace.room) {
            (Net::Rife(net), Room::Whole(_)) => net.image(&workspace.context, shape)?,
            _ => layers::zeros(&workspace.context.device(), shape)?,
        };
        Ok(Encoded { image })
    }

    /// Channels of an encoded picture: colours, and behind them what the network makes of it once, if it sees it whole.
    fn channels(&self, workspace: &Workspace) -> usize {
        match (&self.net, &workspace.room) {
            (Net::Rife(net), Room::Whole(_)) => net.side(),
            _ => RGB,
        }
    }

    /// Fails unless `encoded` is of this network and of a picture of the workspace's size.
    ///
    /// # Errors
    /// As said.
    pub(crate) fn expect(&self, workspace: &Workspace, encoded: &Encoded) -> Result<()> {
        let (h, w) = workspace.padded;
        let wanted = [h, w, self.channels(workspace)];
        let found = encoded.image.dims();
        if found == wanted {
            return Ok(());
        }
        let message = format!("an encoded picture of {found:?}, expected {wanted:?}");
        Err(Error::Candle(candle_core::Error::Msg(message)))
    }

    /// Completes a picture whose colours are in `encoded`.
    ///
    /// # Errors
    /// It is of another size or network than the workspace.
    pub fn encode(&self, workspace: &mut Workspace, encoded: &mut Encoded) -> Result<()> {
        let context = &workspace.context;
        let run = || match (&self.net, &workspace.room) {
            (Net::Rife(net), Room::Whole(Space::Rife(space))) => {
                net.encode(context, space, encoded)
            }
            // features are made of each part
            (Net::Rife(_), Room::Parts(_)) => Ok(()),
            (Net::Ifrnet(_) | Net::Film(_) | Net::Ema(_) | Net::Amt(_), _) => {
                Ok(picture::extend(context, &encoded.image, workspace.size)?)
            }
            _ => Err(foreign()),
        };
        context.pool().install(|| context.together(run))
    }

    /// Finds the motion between two pictures at a phase; it stays in the workspace.
    ///
    /// # Errors
    /// They are of another size or network than the workspace.
    pub fn estimate(
        &self,
        workspace: &mut Workspace,
        left: &Encoded,
        right: &Encoded,
        phase: &PhaseMap,
    ) -> Result<()> {
        let phase = &match &self.net {
            // of all parts the same
            Net::Film(_) => PhaseMap::Uniform(mean(phase)?),
            _ => phase.clone(),
        };
        let Workspace {
            context,
            motion,
            residual,
            room,
            ..
        } = workspace;
        let answer = (&*motion, residual.as_ref());
        let run = || match room {
            Room::Whole(space) => {
                let sides = [&left.image, &right.image];
                self.find(context, space, (sides, phase), answer)
            }
            Room::Parts(parts) => parts.run(self, [left, right], phase, answer),
        };
        context.pool().install(|| context.together(run))
    }

    /// As [`Published::estimate`], of pictures that are seen whole.
    fn find(
        &self,
        context: &Context,
        space: &Space,
        (sides, phase): ([&Tensor; 2], &PhaseMap),
        (motion, residual): (&Tensor, Option<&Tensor>),
    ) -> Result<()> {
        match (&self.net, space, residual) {
            (Net::Rife(net), Space::Rife(space), residual) => {
                net.run(context, space, sides, phase, (motion, residual))
            }
            (Net::Ifrnet(net), Space::Ifrnet(space), Some(residual)) => {
                net.run(context, space, sides, phase, (motion, residual))
            }
            (Net::Film(net), Space::Film(space), Some(residual)) => {
                net.run(context, space, sides, mean(phase)?, (motion, residual))
            }
            (Net::Ema(net), Space::Ema(space), Some(residual)) => {
                net.run(context, space, sides, phase, (motion, residual))
            }
            (Net::Amt(net), Space::Amt(space), Some(residual)) => {
                net.run(context, space, sides, phase, (motion, residual))
            }
            _ => Err(foreign()),
        }
    }
}

/// The phase for networks that take one number.
fn mean(phase: &PhaseMap) -> Result<f32> {
    match phase {
        PhaseMap::Uniform(phase) => Ok(*phase),
        PhaseMap::Plane(plane) => Ok(plane.mean_all()?.to_scalar()?),
    }
}

fn foreign() -> Error {
    Error::Candle(candle_core::Error::Msg(
        "a workspace of another network".into(),
    ))
}

/// Memory for pictures of one size.
#[derive(Debug)]
pub struct Workspace {
    context: Context,
    size: (usize, usize),
    padded: (usize, usize),
    room: Room,
    motion: Tensor,
    residual: Option<Tensor>,
}

/// What a network works in, and whether it sees pictures whole.
#[derive(Debug)]
enum Room {
    Whole(Space),
    Parts(Parts),
}

#[derive(Debug)]
enum Space {
    Rife(Box<rife::Space>),
    Ifrnet(ifrnet::Space),
    Film(Box<film::Space>),
    Ema(Box<ema::Space>),
    Amt(Box<amt::Space>),
}

impl Workspace {
    /// Height and width that pictures are padded to.
    pub fn padded(&self) -> (usize, usize) {
        self.padded
    }

    /// The card that it is run on, if it is not the CPU.
    pub fn gpu(&self) -> Option<&Arc<Gpu>> {
        self.context.gpu()
    }

    /// What the last estimate found, `[padded height, padded width, 5]`: where a pixel of the new
    /// picture lies in the left one (x, y) and in the right one (x, y), relative to its own
    /// position, in pixels; and the left one's weight, 0 to 1.
    pub fn motion(&self) -> &Tensor {
        &self.motion
    }

    /// What the network's own picture has beyond that, `[padded height, padded width, 3]`, if it has
    /// one: red, green and blue, to be added.
    pub fn residual(&self) -> Option<&Tensor> {
        self.residual.as_ref()
    }

    /// Gives a picture its colours, `[height, width, 3]`, 0 to 1.
    ///
    /// # Errors
    /// It is larger than the padded size.
    pub fn set_colors(&self, encoded: &Encoded, picture: &Tensor) -> Result<()> {
        let (h, w, _) = picture.dims3()?;
        let own = encoded.colors()?.narrow(0, 0, h)?.narrow(1, 0, w)?;
        Ok(picture::copy(&self.context, picture, &own)?)
    }

    /// The network's own picture after [`Published::estimate`], `[padded height, padded width, 3]`.
    ///
    /// # Errors
    /// The pictures are of another size.
    pub fn picture(&self, left: &Encoded, right: &Encoded) -> Result<Tensor> {
        let zeros = || layers::zeros(&self.context.device(), [self.padded.0, self.padded.1, RGB]);
        let out = zeros()?;
        blend(&self.context, [left, right], &self.motion, &out)?;
        let Some(residual) = &self.residual else {
            return Ok(out);
        };
        let whole = zeros()?;
        picture::add_clamped(&self.context, &out, residual, &whole)?;
        Ok(whole)
    }
}

/// Fills `out`, `[h, w, 3]`, with what `motion`, `[h, w, 5]`, makes of the colours of both sides.
fn blend(context: &Context, sides: [&Encoded; 2], motion: &Tensor, out: &Tensor) -> Result<()> {
    let [left, right] = [sides[0].colors()?, sides[1].colors()?];
    Ok(picture::blend(context, [&left, &right], motion, out)?)
}

/// One source picture as a network sees it.
#[derive(Debug)]
pub struct Encoded {
    /// `[padded height, padded width, 3 or more]`: red, green, blue, 0 to 1; what the network made
    /// of them behind. On a card it may be of 16 bits.
    pub(crate) image: Tensor,
}

impl Encoded {
    /// Where the colours are written: `[padded height, padded width, 3]`, 0 to 1, zeros beyond the
    /// picture.
    pub(crate) fn colors(&self) -> Result<Tensor> {
        Ok(self.image.narrow(2, 0, RGB)?)
    }
}
