//! What IFRNet has and AMT has taken over: an encoder of a picture, each level half the size of the one
//! before, and decoders whose answer is twice as large as what they see. From
//! `ltkong218/IFRNet: models/IFRNet.py`.

use candle_core::Tensor;

use super::RGB;
use super::layers::{self, Slopes, zeros};
use crate::error::Result;
use crate::kernels::Context;
use crate::kernels::conv::{Activation, Filter, Transposed};
use crate::network::checkpoint::Checkpoint;

/// Levels, the first one at half the size.
pub const LEVELS: usize = 4;
/// Channels of the flow to both sides.
pub const FLOW: usize = 4;

/// Channels of the levels, and those that the decoders' blocks treat by themselves.
///
/// # Errors
/// A tensor is missing or has another shape.
pub fn widths(checkpoint: &Checkpoint) -> Result<([usize; LEVELS], usize)> {
    let mut widths = [0; LEVELS];
    for (i, width) in widths.iter_mut().enumerate() {
        let name = format!("encoder.pyramid{}.0.0.weight", i + 1);
        *width = checkpoint.outputs(&name, 1..=layers::WIDEST)?;
    }
    // Some channels are left that are not treated by themselves.
    let most = (0..LEVELS)
        .map(|i| width(&widths, i) - 1)
        .min()
        .unwrap_or(0);
    let side = checkpoint.outputs("decoder4.convblock.1.conv2.0.weight", 1..=most)?;
    Ok((widths, side))
}

/// Channels that the decoder of level `i` works with.
pub fn width(widths: &[usize], i: usize) -> usize {
    match i + 1 == LEVELS {
        true => 2 * widths[i],
        false => 3 * widths[i],
    }
}

/// Fills the features of all levels, finest first, from a picture; of each level there is room for what
/// lies between, and for the features.
///
/// # Errors
/// Sizes that do not fit.
pub fn encode<'a>(
    context: &Context,
    encoder: &[[Filter; 2]],
    picture: &Tensor,
    rooms: impl Iterator<Item = (&'a Tensor, &'a Tensor)>,
) -> Result<()> {
    let mut input = picture.clone();
    for ([first, second], (middle, features)) in encoder.iter().zip(rooms) {
        first.apply(context, &[&input], None, Activation::Leaky, middle)?;
        second.apply(context, &[middle], None, Activation::Leaky, features)?;
        input = features.clone();
    }
    Ok(())
}

/// The two convolutions of level `i` of the encoder.
///
/// # Errors
/// A tensor is missing or has another shape.
pub fn encoder(checkpoint: &Checkpoint, widths: &[usize], i: usize) -> Result<[Filter; 2]> {
    let (name, width) = (format!("encoder.pyramid{}", i + 1), widths[i]);
    let inputs = if i == 0 { RGB } else { widths[i - 1] };
    let kernel = match checkpoint.shape(&format!("{name}.0.0.weight")) {
        Some([_, _, 7, _]) => 7,
        _ => 3,
    };
    let conv = |k: usize, shape, stride| {
        let slopes = Slopes::Named(format!("{name}.{k}.1"));
        layers::convolution(checkpoint, &format!("{name}.{k}.0"), shape, stride, &slopes)
    };
    Ok([
        conv(0, [width, inputs, kernel], 2)?,
        conv(1, [width, width, 3], 1)?,
    ])
}

/// A decoder's weights.
#[derive(Debug)]
pub struct Decoder {
    width: usize,
    side: usize,
    outputs: usize,
    entry: Filter,
    /// `conv1` to `conv5` of the residual block.
    body: [Filter; 5],
    last: Transposed,
}

/// What a decoder works in.
#[derive(Debug)]
pub struct Room {
    wide: [Tensor; 3],
    side: Tensor,
    /// At twice the size of what it sees.
    pub answer: Tensor,
}

impl Decoder {
    /// Of level `i`, which the authors count from 1, with its inputs, what it works with, and its outputs;
    /// `side` channels are treated by themselves.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn load(
        checkpoint: &Checkpoint,
        i: usize,
        [inputs, width, outputs]: [usize; 3],
        side: usize,
    ) -> Result<Self> {
        let name = format!("decoder{}.convblock", i + 1);
        let conv = |layer: &str, slopes: &str, shape| {
            let slopes = Slopes::Named(format!("{name}.{slopes}"));
            layers::convolution(checkpoint, &format!("{name}.{layer}"), shape, 1, &slopes)
        };
        let all: Vec<_> = (0..outputs).map(Some).collect();
        Ok(Self {
            width,
            side,
            outputs,
            entry: conv("0.0", "0.1", [width, inputs, 3])?,
            body: [
                conv("1.conv1.0", "1.conv1.1", [width, width, 3])?,
                conv("1.conv2.0", "1.conv2.1", [side, side, 3])?,
                conv("1.conv3.0", "1.conv3.1", [width, width, 3])?,
                conv("1.conv4.0", "1.conv4.1", [side, side, 3])?,
                conv("1.conv5", "1.prelu", [width, width, 3])?,
            ],
            last: layers::transposed(checkpoint, &format!("{name}.2"), [width, outputs], 1, &all)?,
        })
    }

    /// Memory for features of a size.
    ///
    /// # Errors
    /// A card has too little memory, or fails.
    pub fn room(&self, context: &Context, (h, w): (usize, usize)) -> Result<Room> {
        let wide = || layers::features(context, [h, w, self.width]);
        Ok(Room {
            wide: [wide()?, wide()?, wide()?],
            side: layers::features(context, [h, w, self.side])?,
            answer: zeros(&context.device(), [2 * h, 2 * w, self.outputs])?,
        })
    }

    /// The second and fourth convolution of the block see its last channels only.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn run(&self, context: &Context, room: &Room, inputs: &[&Tensor]) -> Result<()> {
        let [x, a, b] = &room.wide;
        let run = |filter: &Filter, inputs: &[&Tensor], residual, out: &Tensor| {
            filter.apply(context, inputs, residual, Activation::Leaky, out)
        };
        let rest = self.width - self.side;
        let last = |t: &Tensor| t.narrow(2, rest, self.side);
        let first = |t: &Tensor| t.narrow(2, 0, rest);
        let [conv1, conv2, conv3, conv4, conv5] = &self.body;
        run(&self.entry, inputs, None, x)?;
        run(conv1, &[x], None, a)?;
        run(conv2, &[&last(a)?], None, &room.side)?;
        run(conv3, &[&first(a)?, &room.side], None, b)?;
        run(conv4, &[&last(b)?], None, &room.side)?;
        run(conv5, &[&first(b)?, &room.side], Some(x), a)?;
        Ok(self.last.apply(context, &[a], 0, &room.answer)?)
    }
}
