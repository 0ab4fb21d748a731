//! FILM: features that mean the same at every level of a pyramid, flow in both directions from
//! coarse to fine, and a decoder that makes the picture from both sides warped. From
//! `google-research/frame-interpolation: models/film_net/*` and its port
//! `dajes/frame-interpolation-pytorch`, whose checkpoints these are.
//!
//! It has learnt the picture half way. Its authors reach other phases by halving again, with the
//! picture just made in the place of one of the two; the port scales the flows instead. Pictures are
//! padded with zeros on all sides; large ones are seen in parts.
//!
//! On a card features may have 16 bits, and so has what the decoder sees of pictures and flow beside them; pictures and flow
//! themselves have 32.
//!
//! There is no mask: the blend of both sides by time takes its place, and all that the decoder makes
//! of them beyond that is the residual.

use candle_core::Tensor;

use super::RGB;
use super::layers::{self, Buffer, Slopes};
use crate::error::Result;
use crate::kernels::answers::MASK;
use crate::kernels::conv::{Activation, Filter, Transposed};
use crate::kernels::{Context, Precision, picture, resample, warp};
use crate::network::checkpoint::Checkpoint;

/// Levels of the pyramid, and those that the decoder sees.
const LEVELS: usize = 7;
const FUSED: usize = 5;
/// Levels of the subtree of features; the decoder makes its picture from as many.
const SUBTREE: usize = 4;
/// Levels with a predictor of their own; from this one on they share one.
const SHARED: usize = 3;
/// Convolutions of 3x3 of a predictor; two of 1x1 follow.
const PREDICTING: usize = 3;
/// Sides of what is worked on are multiples of this.
const MULTIPLE: usize = 1 << (LEVELS - 1);
/// Channels of the flow to both sides.
const FLOW: usize = 4;
/// What the decoder sees of a level beside features: both pictures, warped, and [`FLOW`]; and room for that in whole eights.
const REST: usize = 2 * RGB + FLOW;
const REST_ROOM: usize = REST.next_multiple_of(8);

/// Longest side, in pixels, of what it sees at once: a picture of this side takes some 2 GiB with features of these numbers.
pub fn longest(precision: Precision) -> usize {
    match precision {
        Precision::Single => 768,
        Precision::Half => 1088,
    }
}

/// The weights.
#[derive(Debug)]
pub struct Film {
    /// Channels of the first features.
    filters: usize,
    subtree: Vec<[Filter; 2]>,
    /// Of levels 0, 1, 2, and of all others.
    predictors: Vec<Vec<Filter>>,
    /// Of levels 0 to 3.
    fusion: Vec<Fusion>,
    output: Filter,
}

#[derive(Debug)]
struct Fusion {
    /// Of the level below, enlarged.
    enlarge: Transposed,
    convs: [Filter; 2],
}

/// Channels of the features of a level.
fn features(filters: usize, level: usize) -> usize {
    (0..SUBTREE.min(level + 1)).map(|k| filters << k).sum()
}

/// Channels that the decoder works with at a level.
fn fused(filters: usize, level: usize) -> usize {
    filters << level.min(SHARED)
}

/// Where the authors have what the decoder sees of a level, in the order in which it lies here: features of both sides, so many
/// channels of the level below, then the [`REST`]. Theirs are picture and features of a side, of the other one, flow, the level below.
fn places(filters: usize, level: usize, below: usize) -> Vec<Option<usize>> {
    let features = features(filters, level);
    let (side, flow) = (RGB + features, 2 * (RGB + features));
    let ranges = [
        RGB..side,
        side + RGB..flow,
        flow + FLOW..flow + FLOW + below,
        0..RGB,
        side..side + RGB,
        flow..flow + FLOW,
    ];
    ranges.into_iter().flatten().map(Some).collect()
}

impl Film {
    /// Reads the weights.
    ///
    /// # Errors
    /// A tensor is missing, has another shape, or is one too many.
    pub fn load(checkpoint: &Checkpoint) -> Result<Self> {
        let first = "extract.extract_sublevels.convs.0.0.0.weight";
        let filters = checkpoint.outputs(first, 1..=layers::WIDEST >> SUBTREE)?;
        let subtree = (0..SUBTREE).map(|k| {
            let inputs = if k == 0 { RGB } else { filters << (k - 1) };
            let conv = |i: usize, inputs| {
                let name = format!("extract.extract_sublevels.convs.{k}.{i}.0");
                conv(checkpoint, &name, [filters << k, inputs, 3])
            };
            Ok([conv(0, inputs)?, conv(1, filters << k)?])
        });
        let predictors = (0..=SHARED).map(|level| predictor(checkpoint, filters, level));
        let fusion = (0..SUBTREE).map(|level| Fusion::load(checkpoint, filters, level));
        let film = Self {
            filters,
            subtree: subtree.collect::<Result<_>>()?,
            predictors: predictors.collect::<Result<_>>()?,
            fusion: fusion.collect::<Result<_>>()?,
            output: checkpoint.filter("fuse.output_conv", [RGB, filters, 1], 1)?,
        };
        checkpoint.expect_no_more("FILM", &[])?;
        Ok(film)
    }

    /// Memory for pictures of `size`, to be run on `context`. A phase is reached by halving at most `recursion` times, to
    /// the nearest that there is; 0 scales the flows.
    pub fn space(&self, context: &Context, size: (usize, usize), recursion: u32) -> Result<Space> {
        Space::new(context, self.filters, size, recursion)
    }

    /// Fills `motion`, `[h, w, 5]`, with flow in pixels and the weight of time, and `residual`,
    /// `[h, w, 3]`, with what the network's picture has beyond the blend.
    ///
    /// # Errors
    /// Pictures of another size than the space's.
    pub fn run(
        &self,
        context: &Context,
        space: &Space,
        sides: [&Tensor; 2],
        phase: f32,
        (motion, residual): (&Tensor, &Tensor),
    ) -> Result<()> {
        for (i, side) in sides.into_iter().enumerate() {
            let image = space.inside(&space.sides[i][0].image)?;
            picture::copy(context, &space.own(side)?, &image)?;
        }
        self.make(context, space, phase)?;
        let flow = space.own(&motion.narrow(2, 0, FLOW)?)?;
        picture::copy(context, &space.inside(&space.flow)?, &flow)?;
        picture::copy(
            context,
            &space.inside(&space.picture)?,
            &space.own(residual)?,
        )?;
        picture::extend(context, motion, space.size)?;
        picture::extend(context, residual, space.size)?;
        picture::fill(context, 1.0 - phase, &motion.narrow(2, MASK, 1)?)?;
        picture::blend(context, sides, motion, &space.blend)?;
        Ok(picture::add_scaled(context, -1.0, &space.blend, residual)?)
    }

    /// Leaves flow and picture of the two images in the space.
    fn make(&self, context: &Context, space: &Space, phase: f32) -> Result<()> {
        for side in 0..2 {
            self.extract(context, space, side)?;
        }
        self.flows(context, space)?;
        let [to_left, to_right] = space.flows.each_ref().map(|f| &f[0]);
        picture::scale(context, phase, to_left, &space.flow.narrow(2, 0, 2)?)?;
        picture::scale(context, 1.0 - phase, to_right, &space.flow.narrow(2, 2, 2)?)?;
        let way = Way::to(phase, space.recursion);
        self.render(context, space, way.first())?;
        for replaced in way.replaced() {
            let (made, image) = (&space.picture, &space.sides[replaced][0].image);
            picture::copy(context, &space.inside(made)?, &space.inside(image)?)?;
            self.extract(context, space, replaced)?;
            self.flows(context, space)?;
            self.render(context, space, 0.5)?;
        }
        Ok(())
    }

    /// Makes the pyramids of a side's image.
    fn extract(&self, context: &Context, space: &Space, side: usize) -> Result<()> {
        let levels = &space.sides[side];
        for pair in levels.windows(2) {
            resample::half(context, &pair[0].image, &pair[1].image)?;
        }
        for first in 0..LEVELS {
            let mut head = levels[first].image.clone();
            let subtree = self.subtree.iter().zip(&levels[first..]).enumerate();
            for (k, (convs, level)) in subtree {
                let (h, w, _) = level.image.dims3()?;
                let width = self.filters << k;
                if k > 0 {
                    let pooled = space.pooled.tensor([h, w, width / 2])?;
                    resample::half(context, &head, &pooled)?;
                    head = pooled;
                }
                let middle = space.wide[0].tensor([h, w, width])?;
                let start = features(self.filters, k) - width;
                let out = level.features.narrow(2, start, width)?;
                let leaky = Activation::Leaky;
                convs[0].apply(context, &[&head], None, leaky, &middle)?;
                convs[1].apply(context, &[&middle], None, leaky, &out)?;
                head = out;
            }
        }
        Ok(())
    }

    /// Finds the flow from the right image to the left one, and the other way round.
    fn flows(&self, context: &Context, space: &Space) -> Result<()> {
        // The flow that warps the left image is seen from the right one.
        for (warped, seen) in [(0, 1), (1, 0)] {
            let flows = &space.flows[warped];
            for level in (0..LEVELS).rev() {
                let features = |side: usize| &space.sides[side][level].features;
                let (own, other) = (features(seen), features(warped));
                let (h, w, channels) = own.dims3()?;
                let predictor = &self.predictors[level.min(SHARED)];
                let out = &flows[level];
                let Some(coarser) = flows.get(level + 1) else {
                    predict(context, space, predictor, [own, other], None, out)?;
                    continue;
                };
                let before = space.before.tensor([h, w, 2])?;
                resample::double_and_add(context, coarser, 2.0, None, &before)?;
                let there = space.there.tensor([h, w, channels])?;
                warp::warp(context, other, &before, &there)?;
                predict(context, space, predictor, [own, &there], Some(&before), out)?;
            }
        }
        Ok(())
    }

    /// Makes what the decoder sees of a side at a level, by a share of the flow to it.
    fn align(
        &self,
        context: &Context,
        space: &Space,
        (side, level, share): (usize, usize, f32),
        aligned: &Aligned,
    ) -> Result<()> {
        let (seen, flow) = (&space.sides[side][level], &space.flows[side][level]);
        let (h, w, _) = flow.dims3()?;
        let scaled = space.before.tensor([h, w, 2])?;
        picture::scale(context, share, flow, &scaled)?;
        warp::warp(context, &seen.features, &scaled, &aligned.sides[side])?;
        let image = aligned.rest.narrow(2, side * RGB, RGB)?;
        warp::warp(context, &seen.image, &scaled, &image)?;
        let flow = aligned.rest.narrow(2, 2 * RGB + 2 * side, 2)?;
        Ok(picture::copy(context, &scaled, &flow)?)
    }

    /// Makes the picture at a phase from features and flows.
    fn render(&self, context: &Context, space: &Space, phase: f32) -> Result<()> {
        for (side, share) in [(0, phase), (1, 1.0 - phase)] {
            for (level, aligned) in space.aligned.iter().enumerate() {
                self.align(context, space, (side, level, share), aligned)?;
            }
        }
        let mut net: Option<Tensor> = None;
        for (level, fusion) in self.fusion.iter().enumerate().rev() {
            let own = &space.aligned[level];
            let (h, w, _) = own.rest.dims3()?;
            let width = fused(self.filters, level);
            let [enlarged, middle] = space.wide.each_ref().map(|b| b.tensor([h, w, width]));
            let (enlarged, middle) = (enlarged?, middle?);
            match &net {
                Some(net) => fusion.enlarge.apply(context, &[net], 0, &enlarged)?,
                None => {
                    let Aligned { sides, rest } = &space.aligned[level + 1];
                    let all = [&sides[0], &sides[1], rest];
                    fusion.enlarge.apply(context, &all, 0, &enlarged)?;
                }
            }
            let leaky = Activation::Leaky;
            let inputs = [&own.sides[0], &own.sides[1], &enlarged, &own.rest];
            fusion.convs[0].apply(context, &inputs, None, leaky, &middle)?;
            let out = space.net[level % 2].tensor([h, w, width])?;
            fusion.convs[1].apply(context, &[&middle], None, leaky, &out)?;
            net = Some(out);
        }
        let Some(net) = net else { return Ok(()) };
        let linear = Activation::Linear;
        Ok(self
            .output
            .apply(context, &[&net], None, linear, &space.picture)?)
    }
}

fn conv(checkpoint: &Checkpoint, name: &str, shape: [usize; 3]) -> Result<Filter> {
    layers::convolution(checkpoint, name, shape, 1, &Slopes::Leaky)
}

/// That of a level; the authors count those of the finest levels backwards.
fn predictor(checkpoint: &Checkpoint, filters: usize, level: usize) -> Result<Vec<Filter>> {
    let name = match level {
        SHARED => "predict_flow._predictor".to_string(),
        _ => format!("predict_flow._predictors.{}", SHARED - 1 - level),
    };
    let name = |i: usize| format!("{name}._convs.{i}.0");
    let width = checkpoint.outputs(&format!("{}.weight", name(0)), 2..=layers::WIDEST)?;
    let mut convs = Vec::new();
    let mut inputs = 2 * features(filters, level);
    for i in 0..PREDICTING {
        convs.push(conv(checkpoint, &name(i), [width, inputs, 3])?);
        inputs = width;
    }
    convs.push(conv(checkpoint, &name(PREDICTING), [width / 2, width, 1])?);
    convs.push(checkpoint.filter(&name(PREDICTING + 1), [2, width / 2, 1], 1)?);
    Ok(convs)
}

/// The flow that a level adds, and with it `before`.
fn predict(
    context: &Context,
    space: &Space,
    predictor: &[Filter],
    inputs: [&Tensor; 2],
    before: Option<&Tensor>,
    out: &Tensor,
) -> Result<()> {
    let (h, w, _) = out.dims3()?;
    let Some((last, convs)) = predictor.split_last() else {
        return Ok(());
    };
    let mut made: Option<Tensor> = None;
    for (i, conv) in convs.iter().enumerate() {
        let target = space.wide[i % 2].tensor([h, w, conv.outputs()])?;
        match &made {
            Some(made) => conv.apply(context, &[made], None, Activation::Leaky, &target)?,
            None => conv.apply(context, &inputs, None, Activation::Leaky, &target)?,
        }
        made = Some(target);
    }
    let Some(made) = made else { return Ok(()) };
    Ok(last.apply(context, &[&made], before, Activation::Linear, out)?)
}

impl Fusion {
    /// Of a level; the authors count backwards.
    fn load(checkpoint: &Checkpoint, filters: usize, level: usize) -> Result<Self> {
        let name = |i: usize| format!("fuse.convs.{}.{i}.0", SUBTREE - 1 - level);
        let width = fused(filters, level);
        let below = match level + 1 == SUBTREE {
            true => places(filters, level + 1, 0),
            false => (0..fused(filters, level + 1)).map(Some).collect(),
        };
        let (weight, bias) = checkpoint.weight_and_bias(&name(0), [width, below.len(), 2])?;
        let weight = layers::rearranged(&weight, &below)?;
        let (leaky, all) = (Slopes::Leaky, places(filters, level, width));
        Ok(Self {
            enlarge: Transposed::repeating(&weight, &bias)?,
            convs: [
                layers::convolution_from(checkpoint, &name(1), width, &all, 1, &leaky)?,
                conv(checkpoint, &name(2), [width, width, 3])?,
            ],
        })
    }
}

/// How a phase is reached.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// At once, by scaling the flows.
    Scaled(f32),
    /// By halving `depth` times: the phase is `place` of 2 to that power, an odd number.
    Halved { place: u32, depth: u32 },
}

impl Way {
    fn to(phase: f32, recursion: u32) -> Self {
        if recursion == 0 {
            return Self::Scaled(phase);
        }
        let parts = 1u32 << recursion;
        // The pictures themselves are no answer.
        let place = ((phase * parts as f32).round() as u32).clamp(1, parts - 1);
        let even = place.trailing_zeros();
        Self::Halved {
            place: place >> even,
            depth: recursion - even,
        }
    }

    /// The phase of the first step.
    fn first(self) -> f32 {
        match self {
            Self::Scaled(phase) => phase,
            Self::Halved { .. } => 0.5,
        }
    }

    /// Before each further step: which side the picture just made takes the place of.
    fn replaced(self) -> impl Iterator<Item = usize> {
        let (place, depth) = match self {
            Self::Scaled(_) => (0, 0),
            Self::Halved { place, depth } => (place, depth),
        };
        // The digits of the place after the first tell on which side of each middle it lies.
        (1..depth).map(move |step| match place >> (depth - step) & 1 {
            1 => 0,
            _ => 1,
        })
    }
}

/// Memory for pictures of one size.
#[derive(Debug)]
pub struct Space {
    size: (usize, usize),
    recursion: u32,
    /// First row and column of a picture in what is worked on.
    origin: (usize, usize),
    /// Of both sides, finest level first.
    sides: [Vec<Seen>; 2],
    /// To both sides, finest level first, in pixels of the level.
    flows: [Vec<Tensor>; 2],
    aligned: Vec<Aligned>,
    flow: Tensor,
    picture: Tensor,
    blend: Tensor,
    pooled: Buffer,
    before: Buffer,
    there: Buffer,
    wide: [Buffer; 2],
    net: [Buffer; 2],
}

/// A level of a picture.
#[derive(Debug)]
struct Seen {
    image: Tensor,
    features: Tensor,
}

/// What the decoder sees of a level.
#[derive(Debug)]
struct Aligned {
    /// Features of both sides, warped.
    sides: [Tensor; 2],
    /// The left picture, the right one, the flow to the left and to the right one, `[h, w, 10]`.
    rest: Tensor,
}

impl Space {
    fn new(
        context: &Context,
        filters: usize,
        size: (usize, usize),
        recursion: u32,
    ) -> Result<Self> {
        let device = &context.device();
        let zeros = |shape| layers::zeros(device, shape);
        let made = |shape| layers::features(context, shape);
        let whole = |n: usize| n.next_multiple_of(MULTIPLE);
        let (h, w) = (whole(size.0), whole(size.1));
        let answered = layers::answered(size);
        let level = |i: usize, channels: usize| [h >> i, w >> i, channels];
        let seen = |i: usize| level(i, features(filters, i));
        let side = || {
            let level = |i| {
                Ok(Seen {
                    image: zeros(level(i, RGB))?,
                    features: made(seen(i))?,
                })
            };
            (0..LEVELS).map(level).collect::<Result<_>>()
        };
        let flows = || {
            (0..LEVELS)
                .map(|i| zeros(level(i, 2)))
                .collect::<Result<_>>()
        };
        let aligned = (0..FUSED).map(|i| {
            Ok(Aligned {
                sides: [made(seen(i))?, made(seen(i))?],
                rest: made(level(i, REST_ROOM))?.narrow(2, 0, REST)?,
            })
        });
        // Nothing else is wider than the subtree at each level.
        let widths = (0..LEVELS).map(|i| level(i, filters << i.min(SUBTREE - 1)));
        let wide = || Buffer::features(context, widths.clone());
        Ok(Self {
            origin: ((h - size.0) / 2, (w - size.1) / 2),
            sides: [side()?, side()?],
            flows: [flows()?, flows()?],
            aligned: aligned.collect::<Result<_>>()?,
            flow: zeros([h, w, FLOW])?,
            picture: zeros([h, w, RGB])?,
            blend: zeros([answered.0, answered.1, RGB])?,
            pooled: Buffer::features(
                context,
                (1..LEVELS).map(|i| level(i, filters << i.min(SUBTREE - 1))),
            )?,
            before: Buffer::new(device, [level(0, 2)])?,
            there: Buffer::features(context, (0..LEVELS).map(seen))?,
            wide: [wide()?, wide()?],
            net: [wide()?, wide()?],
            size,
            recursion,
        })
    }

    /// A tensor of what is worked on, without the padding.
    fn inside(&self, tensor: &Tensor) -> Result<Tensor> {
        let rows = tensor.narrow(0, self.origin.0, self.size.0)?;
        Ok(rows.narrow(1, self.origin.1, self.size.1)?)
    }

    /// The picture's own pixels of a tensor that is padded on the right and below.
    fn own(&self, tensor: &Tensor) -> Result<Tensor> {
        Ok(tensor
            .narrow(0, 0, self.size.0)?
            .narrow(1, 0, self.size.1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sides(phase: f32, recursion: u32) -> Vec<usize> {
        Way::to(phase, recursion).replaced().collect()
    }

    #[test]
    fn phases_are_reached_by_halving() {
        assert!(sides(0.5, 3).is_empty());
        assert_eq!(sides(0.25, 3), [1]);
        assert_eq!(sides(0.75, 3), [0]);
        // three eighths: the left half, then its right half
        assert_eq!(sides(0.375, 3), [1, 0]);
        assert_eq!(sides(0.4, 3), [1, 0]);
        assert_eq!(sides(0.875, 3), [0, 0]);
        assert_eq!(sides(0.01, 3), [1, 1]);
        assert!(sides(0.99, 1).is_empty());
        assert_eq!(Way::to(0.3, 0), Way::Scaled(0.3));
    }
}
