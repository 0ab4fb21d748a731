//! The last part of RIFE before version 4, which EMA-VFI has taken over: from both pictures, both
//! warped ones, the motion and warped features of several sizes to what the picture has beyond the
//! blend. From `zzh-tech/InterpAny-Clearer: models/DI-RIFE/model/refine.py` and
//! `MCG-NJU/EMA-VFI: model/refine.py`.

use candle_core::{Device, Tensor};

use super::RGB;
use super::layers::{self, Slopes, zeros};
use super::views::{self, View};
use crate::error::Result;
use crate::kernels::answers::MASK;
use crate::kernels::conv::{Activation, Filter, Transposed};
use crate::kernels::{Context, picture, resample, warp};
use crate::network::checkpoint::Checkpoint;

/// Times that the size is halved.
pub const LEVELS: usize = 4;
/// Channels of the flow to both sides.
const FLOW: usize = MASK;

/// The weights.
#[derive(Debug)]
pub struct Refiner {
    /// Channels of the last layer but one, which all others are multiples of.
    base: usize,
    /// Channels of a side's features at full size, if there are any.
    whole: usize,
    down: Vec<[Filter; 2]>,
    up: Vec<Transposed>,
    last: Filter,
}

impl Refiner {
    /// Reads what the checkpoint calls `unet`. It sees features of each side at the sizes that are
    /// halved 1 to 4 times, and `whole` channels of them at full size.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn load(checkpoint: &Checkpoint, whole: usize) -> Result<Self> {
        let name = "unet.up3.0.bias";
        let base = checkpoint.outputs(name, 1..=layers::WIDEST >> (LEVELS + 1))?;
        let down = (0..LEVELS).map(|k| down(checkpoint, base, whole, k));
        let up = (0..LEVELS).map(|k| up(checkpoint, base, k));
        Ok(Self {
            base,
            whole,
            down: down.collect::<Result<_>>()?,
            up: up.collect::<Result<_>>()?,
            last: checkpoint.filter("unet.conv", [RGB, base, 3], 1)?,
        })
    }

    /// The finest of the features that it sees, in halvings.
    fn first(&self) -> usize {
        usize::from(self.whole == 0)
    }

    /// Channels of a side's features whose size is halved `level` times.
    pub fn features(&self, level: usize) -> usize {
        match level {
            0 => self.whole,
            _ => self.base << (level - 1),
        }
    }

    /// Memory for pictures of a size whose sides are multiples of 16.
    ///
    /// # Errors
    /// A card has too little memory, or fails.
    pub fn space(&self, device: &Device, (h, w): (usize, usize)) -> Result<Space> {
        let room = |level: usize, c: usize| zeros(device, [h >> level, w >> level, c]);
        let levels = || self.first()..=LEVELS;
        let side = |level| room(level, self.features(level));
        let down = |k: usize| room(k + 1, self.base << (k + 1));
        let up = |k: usize| room(LEVELS - 1 - k, self.base << (LEVELS - 1 - k));
        let halves = || (1..=LEVELS).map(|k| room(k, FLOW)).collect::<Result<_>>();
        Ok(Space {
            halves: halves()?,
            flows: halves()?,
            warped: levels()
                .map(|k| Ok([side(k)?, side(k)?]))
                .collect::<Result<_>>()?,
            middle: (0..LEVELS).map(down).collect::<Result<_>>()?,
            down: (0..LEVELS).map(down).collect::<Result<_>>()?,
            up: (0..LEVELS).map(up).collect::<Result<_>>()?,
            logits: [room(0, RGB)?, room(0, RGB)?],
        })
    }

    /// Fills `residual`, `[h, w, 3]`, from both views at full size, the `features` of both sides, finest
    /// first, and the `motion`, `[h, w, 5]`.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn run(
        &self,
        context: &Context,
        space: &Space,
        views: &[Tensor; 2],
        features: &[[Tensor; 2]],
        (motion, residual): (&Tensor, &Tensor),
    ) -> Result<()> {
        self.warp(context, space, features, motion)?;
        let leaky = Activation::Leaky;
        for (k, [first, second]) in self.down.iter().enumerate() {
            let mut inputs: Vec<&Tensor> = match k {
                0 => views.iter().collect(),
                _ => vec![&space.down[k - 1]],
            };
            if k >= self.first() {
                inputs.extend(&space.warped[k - self.first()]);
            }
            let (middle, out) = (&space.middle[k], &space.down[k]);
            first.apply(context, &inputs, None, leaky, middle)?;
            second.apply(context, &[middle], None, leaky, out)?;
        }
        for (k, up) in self.up.iter().enumerate() {
            let below = &space.down[LEVELS - 1 - k];
            let out = &space.up[k];
            match k {
                0 => {
                    let [left, right] = &space.warped[LEVELS - self.first()];
                    up.apply(context, &[below, left, right], 0, out)?;
                }
                _ => up.apply(context, &[&space.up[k - 1], below], 0, out)?,
            }
        }
        let [logits, share] = &space.logits;
        let last = &space.up[LEVELS - 1];
        self.last
            .apply(context, &[last], None, Activation::Linear, logits)?;
        picture::sigmoid(context, logits, share)?;
        picture::scale(context, 2.0, share, logits)?;
        Ok(picture::lower(context, logits, 1.0, residual)?)
    }

    /// Warps the features of every size by the flow of that size.
    fn warp(
        &self,
        context: &Context,
        space: &Space,
        features: &[[Tensor; 2]],
        motion: &Tensor,
    ) -> Result<()> {
        let whole = motion.narrow(2, 0, FLOW)?;
        let mut finer = &whole;
        for (half, flow) in space.halves.iter().zip(&space.flows) {
            resample::half(context, finer, half)?;
            picture::scale(context, 0.5, half, flow)?;
            finer = flow;
        }
        for (k, (features, warped)) in features.iter().zip(&space.warped).enumerate() {
            let flow = match k + self.first() {
                0 => &whole,
                level => &space.flows[level - 1],
            };
            for side in 0..2 {
                let flow = flow.narrow(2, 2 * side, 2)?;
                warp::warp(context, &features[side], &flow, &warped[side])?;
            }
        }
        Ok(())
    }
}

/// Two convolutions, the first of which halves the size for the `k + 1`st time.
fn down(checkpoint: &Checkpoint, base: usize, whole: usize, k: usize) -> Result<[Filter; 2]> {
    let width = base << (k + 1);
    let name = |i: usize| format!("unet.down{k}.conv{i}");
    let slopes = Slopes::Named(format!("{}.1", name(1)));
    let first = match k {
        0 => {
            // Colours of both sides, of both warped ones, mask, flow, features.
            let order = View::Plain.colors().chain(View::Warped.colors());
            let mut from = views::places(order.chain(views::motion()));
            let seen = from.iter().flatten().count();
            from.extend((0..2 * whole).map(|i| Some(seen + i)));
            let name = format!("{}.0", name(1));
            layers::convolution_from(checkpoint, &name, width, &from, 2, &slopes)?
        }
        _ => {
            // what the level before made, and as many features
            let shape = [width, width, 3];
            layers::convolution(checkpoint, &format!("{}.0", name(1)), shape, 2, &slopes)?
        }
    };
    let slopes = Slopes::Named(format!("{}.1", name(2)));
    let shape = [width, width, 3];
    let second = layers::convolution(checkpoint, &format!("{}.0", name(2)), shape, 1, &slopes)?;
    Ok([first, second])
}

/// The transposed convolution that doubles the size for the `k + 1`st time.
fn up(checkpoint: &Checkpoint, base: usize, k: usize) -> Result<Transposed> {
    let name = format!("unet.up{k}");
    let width = base << (LEVELS - 1 - k);
    let all: Vec<_> = (0..width).map(Some).collect();
    let (conv, shape) = (format!("{name}.0"), [4 * width, width]);
    let conv = layers::transposed(checkpoint, &conv, shape, 1, &all)?;
    let slopes = Slopes::Named(format!("{name}.1"));
    Ok(conv.with_slopes(&layers::read_slopes(checkpoint, &slopes, width)?)?)
}

/// Memory for pictures of one size.
#[derive(Debug)]
pub struct Space {
    /// The flow at half the size, at a quarter, and so on; in finer pixels and in its own.
    halves: Vec<Tensor>,
    flows: Vec<Tensor>,
    /// Features of both sides, finest first.
    warped: Vec<[Tensor; 2]>,
    middle: Vec<Tensor>,
    down: Vec<Tensor>,
    up: Vec<Tensor>,
    logits: [Tensor; 2],
}
