//! Memory for pictures of one size.

use candle_core::{Device, Tensor};

use super::{Amt, CELL, COMPARED, COMPARISON, MULTIPLE};
use crate::error::Result;
use crate::kernels::Context;
use crate::kernels::answers::CONCLUSION;
use crate::kernels::pairs::{self, Moments};
use crate::kernels::picture::Mean;
use crate::network::published::RGB;
use crate::network::published::centred::Centred;
use crate::network::published::layers::{self, Buffer, zeros};
use crate::network::published::pyramid::{FLOW, LEVELS, Room};

/// Shortest side: the coarsest level that is compared has a cell.
const LEAST: usize = CELL << (pairs::LEVELS - 1);

/// Memory for pictures of one size.
#[derive(Debug)]
pub struct Space {
    pub(super) centred: Centred,
    pub(super) sides: [Tensor; 2],
    /// Of both pictures, and a picture without it.
    pub(super) mean: Mean,
    pub(super) lowered: Tensor,
    /// In the cells of the coarsest decoder, and in those of comparison.
    pub(super) coarse_phases: Tensor,
    pub(super) phases: Tensor,
    /// Finest first.
    pub(super) levels: Vec<Level>,
    pub(super) compared: Compared,
    /// One of the flows, and the mean of all.
    pub(super) field: Tensor,
    pub(super) motion: Tensor,
    pub(super) blend: Tensor,
    /// Of all flows, and what comes of them.
    pub(super) pictures: Tensor,
    pub(super) combined: Tensor,
    pub(super) picture: Tensor,
}

#[derive(Debug)]
pub(super) struct Level {
    pub(super) middle: Tensor,
    pub(super) features: [Tensor; 2],
    pub(super) warped: [Tensor; 2],
    /// Of the picture between: flow to both sides, features.
    pub(super) flow: Tensor,
    pub(super) between: Tensor,
    pub(super) room: Room,
}

/// What comparing needs.
#[derive(Debug)]
pub(super) struct Compared {
    /// In cells.
    pub(super) size: (usize, usize),
    /// Of both sides, finest first.
    pub(super) levels: [Vec<Tensor>; 2],
    pub(super) moments: Moments,
    pub(super) raw: Buffer,
    pub(super) whole: [Buffer; 2],
    pub(super) parts: [Buffer; 2],
    pub(super) flow: Tensor,
    pub(super) between: Buffer,
    pub(super) comparison: Tensor,
    pub(super) change: Tensor,
    pub(super) features: Buffer,
    /// The same at the size of a level.
    pub(super) wide_comparison: Buffer,
    pub(super) wide_change: Buffer,
    pub(super) wide: Buffer,
    pub(super) work: [Buffer; 4],
}

impl Space {
    pub(super) fn new(net: &Amt, context: &Context, size: (usize, usize)) -> Result<Self> {
        let device = &context.device();
        let zeros = |shape| zeros(device, shape);
        let centred = Centred::new(size, MULTIPLE, LEAST);
        let (h, w) = centred.whole;
        let levels = (0..LEVELS).map(|i| {
            let (h, w) = (h >> (i + 1), w >> (i + 1));
            let room = |c: usize| zeros([h, w, c]);
            let width = net.widths[i];
            let features = || layers::features(context, [h, w, width]);
            Ok(Level {
                middle: features()?,
                features: [features()?, features()?],
                warped: [features()?, features()?],
                flow: room(FLOW)?,
                between: room(width)?,
                room: net.decoders[i].room(context, (h, w))?,
            })
        });
        let whole = |c: usize| zeros([h, w, c]);
        let combined = net.combine[0].outputs();
        Ok(Self {
            mean: Mean::new(device, h)?,
            sides: [whole(RGB)?, whole(RGB)?],
            lowered: whole(RGB)?,
            coarse_phases: zeros([h / MULTIPLE, w / MULTIPLE, 1])?,
            phases: zeros([h / CELL, w / CELL, 1])?,
            levels: levels.collect::<Result<_>>()?,
            compared: Compared::new(net, device, (h, w))?,
            field: whole(CONCLUSION)?,
            motion: whole(CONCLUSION)?,
            blend: whole(RGB)?,
            pictures: whole(RGB * net.fields)?,
            combined: whole(combined)?,
            picture: whole(RGB)?,
            centred,
        })
    }
}

impl Compared {
    fn new(net: &Amt, device: &Device, (h, w): (usize, usize)) -> Result<Self> {
        let zeros = |shape| zeros(device, shape);
        let size = (h / CELL, w / CELL);
        let dimensions = net.features.last.outputs();
        let level = |i: usize| zeros([size.0 >> i, size.1 >> i, dimensions]);
        let levels = || (0..pairs::LEVELS).map(level).collect::<Result<_>>();
        // Every block of features at the size of its input, which is the larger one.
        let mut shapes = vec![[h / 2, w / 2, net.features.first.outputs()]];
        let (mut rows, mut columns) = (h / 2, w / 2);
        for block in &net.features.blocks {
            let widths = block.convs.iter().map(|(conv, _)| conv.outputs());
            let widest = widths.max().unwrap_or(1);
            shapes.push([rows, columns, widest]);
            (rows, columns) = (rows / block.stride, columns / block.stride);
        }
        let most = |axis: usize| shapes.iter().map(|s| s[axis]).max().unwrap_or(1);
        let moments = Moments::new(device, [most(0), most(2)])?;
        let features = || Buffer::new(device, shapes.iter().copied());
        let cells = |c: usize| zeros([size.0, size.1, c]);
        let widest = net.widths.iter().copied().max().unwrap_or(1);
        let steps = || (0..COMPARED + 1).map(|i| (h >> (i + 1), w >> (i + 1)));
        let highs = net.updates.iter().map(|u| u.high.as_ref());
        let highest = steps().zip(highs).filter(|(_, high)| high.is_some());
        let highest = highest.map(|((h, w), _)| [h, w, COMPARISON]);
        let work = || {
            let steps = steps().zip(&net.updates).flat_map(|((h, w), u)| {
                let high = u.high.as_ref().map(|high| [h, w, high.widest()]);
                [Some([size.0, size.1, u.low.widest()]), high]
            });
            Buffer::new(device, steps.flatten())
        };
        Ok(Self {
            size,
            levels: [levels()?, levels()?],
            moments,
            raw: features()?,
            whole: [features()?, features()?],
            parts: [features()?, features()?],
            flow: cells(FLOW)?,
            between: Buffer::new(device, [[size.0, size.1, widest]])?,
            comparison: cells(COMPARISON)?,
            change: cells(FLOW)?,
            features: Buffer::new(device, [[size.0, size.1, widest]])?,
            wide_comparison: Buffer::new(device, highest)?,
            wide_change: Buffer::new(device, steps().map(|(h, w)| [h, w, FLOW]))?,
            wide: Buffer::new(device, steps().zip(net.widths).map(|((h, w), c)| [h, w, c]))?,
            work: [work()?, work()?, work()?, work()?],
        })
    }
}
