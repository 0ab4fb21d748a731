//! Memory for pictures of one size.

use candle_core::{Device, Tensor};

use super::head::{SPREAD, cell};
use super::stage::{Block, Entry};
use super::{ATTENDING, CONVOLVED, Ema, MULTIPLE, WINDOW, attended};
use crate::error::Result;
use crate::kernels::Context;
use crate::kernels::answers::{self, Answer, MOTION};
use crate::kernels::transformer::Windows;
use crate::network::published::RGB;
use crate::network::published::centred::Centred;
use crate::network::published::layers::{self, zeros};
use crate::network::published::refine;
use crate::network::published::views::{SIDE, Views};

/// Memory for pictures of one size.
#[derive(Debug)]
pub struct Space {
    pub(super) centred: Centred,
    /// Both pictures, `[h, w, 8]`.
    pub(super) sides: [Tensor; 2],
    /// Of stages of convolutions.
    pub(super) middle: Vec<[Tensor; 2]>,
    /// Of both sides, of all stages.
    pub(super) features: Vec<[Tensor; 2]>,
    pub(super) attending: Vec<Attending>,
    pub(super) heads: Vec<HeadSpace>,
    pub(super) views: Views,
    pub(super) refiner: refine::Space,
    pub(super) motion: Tensor,
    pub(super) residual: Tensor,
}

/// Of a stage of attention.
#[derive(Debug)]
pub(super) struct Attending {
    /// Without and with shift.
    pub(super) windows: [Placed; 2],
    pub(super) patches: layers::Buffer,
    pub(super) parts: Tensor,
    pub(super) entry: Tensor,
    /// What the blocks change, of both sides.
    pub(super) grids: [Tensor; 2],
    /// What they say of motion, of both sides.
    pub(super) moved: [Tensor; 2],
    pub(super) normed: [Tensor; 2],
    pub(super) query: Tensor,
    pub(super) key_value: Tensor,
    pub(super) places: layers::Buffer,
    pub(super) attended: layers::Buffer,
    pub(super) moved_windows: layers::Buffer,
    pub(super) wide: [layers::Buffer; 2],
}

/// Windows, and where their cells lie: x and y, -1 to 1 from edge to edge, 0 beyond.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) windows: Windows,
    pub(super) places: Tensor,
}

#[derive(Debug)]
pub(super) struct HeadSpace {
    pub(super) phases: Tensor,
    pub(super) seen: Tensor,
    pub(super) spread: Tensor,
    pub(super) wide: [Tensor; 2],
    /// `[h, w, 8]`, of which the last three stay 0.
    pub(super) answer: Tensor,
}

impl Placed {
    fn new(device: &Device, (height, width): (usize, usize), shift: usize) -> Result<Self> {
        let windows = Windows {
            height,
            width,
            side: WINDOW,
            shift,
        };
        let at = |i: usize, n: usize| 2.0 * i as f32 / (n.max(2) - 1) as f32 - 1.0;
        let cells = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
        let places = cells.flat_map(|(y, x)| [at(x, width), at(y, height)]);
        let grid = Tensor::from_vec(places.collect(), (height, width, 2), &Device::Cpu)?;
        let places = zeros(&Device::Cpu, [windows.count(), windows.area(), 2])?;
        windows.gather(&Context::new(1)?, &grid, None, &places)?;
        let places = places.to_device(device)?;
        Ok(Self { windows, places })
    }

    pub(super) fn windows(&self) -> Windows {
        self.windows
    }

    /// Height and width of the grid.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.windows.height, self.windows.width)
    }
}

impl Attending {
    fn new(net: &Ema, device: &Device, i: usize, (h, w): (usize, usize)) -> Result<Self> {
        let zeros = |shape| zeros(device, shape);
        let (width, stage) = (attended(net.base, i), &net.attending[i]);
        let (h, w) = (h >> (CONVOLVED + i), w >> (CONVOLVED + i));
        let windows = [
            Placed::new(device, (h, w), 0)?,
            Placed::new(device, (h, w), WINDOW / 2)?,
        ];
        let (count, area) = (windows[0].windows.count(), windows[0].windows.area());
        let grid = |c: usize| zeros([h, w, c]);
        let wins = |c: usize| zeros([count, area, c]);
        let most = |f: fn(&Block) -> usize| stage.blocks.iter().map(f).max().unwrap_or(1);
        let moved = most(|b| b.moved.outputs());
        let hidden = most(|b| b.widen.outputs());
        let (parts, patches) = match &stage.entry {
            Entry::All { parts, .. } => (parts.len() * net.base, 9 * net.width(CONVOLVED - 1)),
            Entry::One(_) => (1, 1),
        };
        let wide = || layers::Buffer::new(device, [[h, w, hidden]]);
        Ok(Self {
            windows,
            patches: layers::Buffer::new(device, [[h, w, patches]])?,
            parts: grid(parts)?,
            entry: grid(width)?,
            grids: [grid(width)?, grid(width)?],
            moved: [grid(stage.moved().max(1))?, grid(stage.moved().max(1))?],
            normed: [wins(width)?, wins(width)?],
            query: wins(width)?,
            key_value: wins(2 * width)?,
            places: layers::Buffer::new(device, [[count, area, moved]])?,
            attended: layers::Buffer::new(device, [[count, area, width + moved]])?,
            moved_windows: layers::Buffer::new(device, [[count, area, moved]])?,
            wide: [wide()?, wide()?],
        })
    }
}

impl Space {
    pub(super) fn new(net: &Ema, device: &Device, size: (usize, usize)) -> Result<Self> {
        let zeros = |shape| zeros(device, shape);
        let centred = Centred::new(size, MULTIPLE, 1);
        let (h, w) = centred.whole;
        let room = |level: usize, c: usize| zeros([h >> level, w >> level, c]);
        let stage = |i: usize| room(i, net.width(i));
        let pair = |i: usize| Ok([stage(i)?, stage(i)?]);
        let heads = net.heads.iter().enumerate().map(|(i, head)| {
            let stage = ATTENDING - 1 - i;
            let level = CONVOLVED + stage;
            let moved = net.attending[stage].moved();
            let seen = 2 * (moved + attended(net.base, stage));
            let wide = || room(level - 2, head.convs[0].outputs());
            Ok(HeadSpace {
                phases: room(level, 1)?,
                seen: room(level, seen)?,
                spread: room(level - 2, seen / SPREAD)?,
                wide: [wide()?, wide()?],
                answer: room(level - 2, MOTION)?,
            })
        });
        let attending = (0..ATTENDING).map(|i| Attending::new(net, device, i, (h, w)));
        Ok(Self {
            sides: [room(0, SIDE)?, room(0, SIDE)?],
            middle: (0..CONVOLVED).map(pair).collect::<Result<_>>()?,
            features: (0..CONVOLVED + ATTENDING)
                .map(pair)
                .collect::<Result<_>>()?,
            attending: attending.collect::<Result<_>>()?,
            heads: heads.collect::<Result<_>>()?,
            views: Views::new(device, [(h, w)].into_iter())?,
            refiner: net.refiner.space(device, (h, w))?,
            motion: room(0, answers::CONCLUSION)?,
            residual: room(0, RGB)?,
            centred,
        })
    }

    /// What head `i` has answered.
    pub(super) fn answer(&self, i: usize) -> Answer<'_> {
        Answer {
            values: &self.heads[i].answer,
            scale: cell(ATTENDING - 1 - i),
        }
    }
}
