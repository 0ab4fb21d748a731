//! Where everything of one picture lies in another: dense inverse search on luma, both ways.
//!
//! After T. Kroeger, R. Timofte, D. Dai, L. Van Gool, "Fast Optical Flow using Dense Inverse Search"
//! (ECCV 2016). From the coarsest level of the pyramids to the finest one searched, patches of
//! [`PATCH`] x [`PATCH`] samples, [`STRIDE`] apart, start from the coarser level's flow. In each of four
//! passes they try what those around have found, far ones first, and the opposite of what the patch that they
//! lead to has found the other way; of these each takes the flow whose samples differ least, and descends from there
//! with Gauss-Newton steps on its own gradients. The flow of a sample is the mean over the patches that it
//! lies in, each weighing the more the less it differs right there.
//!
//! Of a pattern's periods the one nearest to the coarser level's flow is taken, and where a level has lost a pattern it
//! moves as its surroundings do; at the finest one it is compared in the luma twice as large, if there is that. What a level hides of the
//! finer one, or of a pattern that the largest luma shows, may be an alias in it: the more there is, the more the way from where a patch starts costs.
//!
//! What nothing explains after two passes is sought among what nothing explains in the other picture (`seek.rs`): things that coarser levels do not show.
//!
//! All patches of both directions look at what was found by the pass before, so that a pass is one turn
//! of all of them: the answer depends neither on the number of threads nor on their order. All versions of the
//! arithmetic follow the same order and round alike (without fused multiply-adds): they agree to the bit.

use candle_core::Tensor;

use super::Context;
use super::raster::{Raster, Source, for_each_row, write};

mod descent;
mod pattern;
mod plane;
mod seek;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod cpu;
#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
pub(crate) mod cuda;
mod reference;
#[cfg(test)]
mod tests;

use descent::{Beside, Grid, Search};
use plane::Plane;
use seek::Seek;

/// Samples that a patch is wide and high.
pub const PATCH: usize = 8;
/// Samples from a patch to the next.
pub const STRIDE: usize = PATCH / 2;
/// How far above, left, right and below each patch looks, in patches, one pass after the other: far at first, as what is near starts with nearly
/// the same flow.
const DISTANCES: [usize; 4] = [4, 2, 1, 1];
/// Differences of luma below this, one code of 8 bits, count alike.
const CODE: f32 = 1.0 / 255.0;
/// Weight of a patch across its samples: it knows its middle's motion best.
const WINDOW: [f32; PATCH] = [0.3, 0.6, 0.85, 1.0, 1.0, 0.85, 0.6, 0.3];

/// What is known between the steps; for pyramids of one size.
#[derive(Debug)]
pub struct Space {
    /// The finest level's place in the pyramid.
    finest: usize,
    /// From the finest one searched to the coarsest.
    levels: Vec<Level>,
    /// Luma of the level below the finest one searched, if there is one.
    below: Option<[Plane; 2]>,
}

/// Luma of both pictures at larger sizes than a level's.
struct Beneath<'a> {
    finer: Option<&'a [Plane; 2]>,
    /// The largest, if it is not the level's.
    base: Option<&'a [Plane; 2]>,
    /// How many samples of the largest one of the level's is.
    factor: usize,
}

/// One level: both pictures, and what was found from the left one to the right one and back.
#[derive(Debug)]
struct Level {
    luma: [Plane; 2],
    grids: [Grid; 2],
    /// The same by the pass before.
    before: [Grid; 2],
    /// None at the finest level: what is found there goes where it is wanted.
    flows: Option<[Dense; 2]>,
}

impl Space {
    /// For pyramids whose levels have the given `sizes` (height, width), finest first, and a search
    /// down to level `finest`.
    ///
    /// # Errors
    /// There is no such level, or it is empty.
    pub fn new(sizes: &[(usize, usize)], finest: usize) -> candle_core::Result<Self> {
        let levels = searched(sizes, finest)?.iter();
        let levels = levels
            .enumerate()
            .map(|(i, size)| Level::new(*size, i == 0));
        let below = finest.checked_sub(1).map(|finer| sizes[finer]);
        Ok(Self {
            finest,
            levels: levels.collect(),
            below: below.map(|size| [Plane::new(size), Plane::new(size)]),
        })
    }

    /// Height and width of the flow.
    pub fn size(&self) -> (usize, usize) {
        self.levels[0].luma[0].size
    }

    /// Takes over the luma of all levels.
    fn fill(&mut self, context: &Context, pyramids: [&[Tensor]; 2]) -> candle_core::Result<()> {
        let first = self.finest - usize::from(self.below.is_some());
        let planes = self.below.iter_mut();
        let planes = planes.chain(self.levels.iter_mut().map(|level| &mut level.luma));
        for (i, planes) in (first..).zip(planes) {
            for (plane, pyramid) in planes.iter_mut().zip(pyramids) {
                let Some(luma) = pyramid.get(i) else {
                    candle_core::bail!("no level {i} in a pyramid to search");
                };
                let luma = Source::lock(luma);
                plane.fill(context, &luma.raster()?)?;
            }
        }
        Ok(())
    }

    /// Searches the finest `levels`, the coarsest of them first.
    fn run(
        &mut self,
        context: &Context,
        levels: usize,
        out: [&Tensor; 2],
    ) -> candle_core::Result<()> {
        for i in (0..levels).rev() {
            let (finer, rest) = self.levels.split_at_mut(i);
            let below = self.below.as_ref();
            let beneath = Beneath {
                finer: finer.last().map(|level| &level.luma).or(below),
                base: below.or(finer.first().map(|level| &level.luma)),
                factor: 1 << (i + usize::from(below.is_some())),
            };
            if let Some((level, coarser)) = rest.split_first_mut() {
                level.run(context, coarser.first(), &beneath);
            }
        }
        for (side, out) in out.into_iter().enumerate() {
            self.levels[0].blend(side).write(context, out)?;
        }
        Ok(())
    }
}

/// The levels from `finest` on, of those in a pyramid, that are large enough to be searched; at least that one.
fn searched(sizes: &[(usize, usize)], finest: usize) -> candle_core::Result<&[(usize, usize)]> {
    let from = sizes.get(finest..).unwrap_or_default();
    if from.first().is_none_or(|(h, w)| h * w == 0) {
        candle_core::bail!("no level {finest} to search in a pyramid of {sizes:?}");
    }
    let large = |&&(h, w): &&(usize, usize)| h.min(w) >= PATCH;
    let count = from.iter().take_while(large).count().max(1);
    Ok(&from[..count])
}

impl Level {
    fn new(size: (usize, usize), is_finest: bool) -> Self {
        Self {
            luma: [Plane::new(size), Plane::new(size)],
            grids: [Grid::new(size), Grid::new(size)],
            before: [Grid::new(size), Grid::new(size)],
            flows: (!is_finest).then(|| [Dense::new(size), Dense::new(size)]),
        }
    }

    /// What was found from one side to the other, if it is kept.
    fn flow(&self, side: usize) -> Option<&Dense> {
        self.flows.as_ref().map(|flows| &flows[side])
    }

    /// The flow of one side's samples as its patches tell it.
    fn blend(&self, side: usize) -> Blend<'_> {
        Blend {
            grid: &self.grids[side],
            own: &self.luma[side],
            other: &self.luma[1 - side],
        }
    }
}

/// A flow (x, y) of each sample, in samples.
#[derive(Debug)]
struct Dense {
    size: (usize, usize),
    flow: Vec<f32>,
}

impl Dense {
    fn new(size: (usize, usize)) -> Self {
        let flow = vec![0.0; size.0 * size.1 * 2];
        Self { size, flow }
    }

    /// At a place, or the nearest one inside.
    fn at(&self, y: usize, x: usize) -> [f32; 2] {
        let (h, w) = self.size;
        let i = 2 * (y.min(h - 1) * w + x.min(w - 1));
        [self.flow[i], self.flow[i + 1]]
    }
}

/// Fills `out`, twice `[h, w, 2]` for the level that `space` was made for, with the flow (x, y) from
/// left to right and from right to left: what lies at p in the one lies at p + flow in the other, in
/// samples of that level. The pyramids hold luma, -0.5 to 0.5, `[h, w, 1]`, each level half the size
/// (rounded up) of the one before; of those finer than the finest one searched, the last is asked for patterns.
///
/// # Errors
/// Sizes that do not fit.
pub fn search(
    context: &Context,
    pyramids: [&[Tensor]; 2],
    space: &mut Space,
    out: [&Tensor; 2],
) -> candle_core::Result<()> {
    space.fill(context, pyramids)?;
    let all = space.levels.len();
    space.run(context, all, out)
}

/// As [`search`], but the finest `levels` alone are searched; in place of what the coarser ones would have found there are
/// `starts`, of the size of `out`, as if known from elsewhere. Pyramids that have no more levels than these are searched as ever.
///
/// # Errors
/// Sizes that do not fit.
pub fn search_from(
    context: &Context,
    pyramids: [&[Tensor]; 2],
    space: &mut Space,
    (starts, levels): ([&Tensor; 2], usize),
    out: [&Tensor; 2],
) -> candle_core::Result<()> {
    space.fill(context, pyramids)?;
    let size = space.size();
    if let Some(flows) = space.levels.get_mut(levels).and_then(|l| l.flows.as_mut()) {
        for (dense, start) in flows.iter_mut().zip(starts) {
            let start = Source::lock(start);
            let start = start.raster()?;
            start.expect("the start of a search", size, 2)?;
            dense.shrink(&start, levels);
        }
    }
    space.run(context, levels.min(space.levels.len()), out)
}

/// Copies what the last search found on the level above the finest one to `out`, twice `[h, w, 2]`, in samples of that level. `false`
/// where that one was too small to be searched: nothing is written.
///
/// # Errors
/// Sizes that do not fit.
pub fn coarser(context: &Context, space: &Space, out: [&Tensor; 2]) -> candle_core::Result<bool> {
    let Some(flows) = space.levels.get(1).and_then(|l| l.flows.as_ref()) else {
        return Ok(false);
    };
    for (dense, out) in flows.iter().zip(out) {
        dense.copy(context, out)?;
    }
    Ok(true)
}

impl Level {
    fn run(&mut self, context: &Context, coarser: Option<&Level>, beneath: &Beneath) {
        fn both_ways<T>([a, b]: &[T; 2]) -> [[&T; 2]; 2] {
            [[a, b], [b, a]]
        }
        let ways = both_ways(&self.luma);
        let is_finest = self.flows.is_none();
        let is_sought = seek::is_sought_in(beneath.factor, self.grids[0].count());
        // the finer level is asked anyway
        let base = beneath.base.filter(|_| beneath.factor > 2);
        for (side, grid) in self.grids.iter_mut().enumerate() {
            grid.start(coarser.and_then(|c| c.flow(side)));
        }
        for pass in 0..DISTANCES.len() {
            std::mem::swap(&mut self.grids, &mut self.before);
            let before = both_ways(&self.before);
            for (side, grid) in self.grids.iter_mut().enumerate() {
                let search = Search {
                    luma: ways[side],
                    before: before[side],
                    beside: Beside {
                        coarser: coarser.and_then(|c| c.flow(side)),
                        finer: beneath.finer.map(|finer| both_ways(finer)[side]),
                        is_finest,
                        base: base.map(|luma| (both_ways(luma)[side], beneath.factor)),
                    },
                    pass,
                };
                grid.refine(context, &search);
            }
            if pass == seek::PASS && is_sought {
                // what the pass before that had found is done with
                let found = both_ways(&self.grids);
                for (side, grid) in self.before.iter_mut().enumerate() {
                    let (luma, grids) = (ways[side], found[side]);
                    grid.seek(context, &Seek { luma, grids });
                }
                let sought = both_ways(&self.before);
                for (side, grid) in self.grids.iter_mut().enumerate() {
                    grid.settle(context, sought[side]);
                }
            }
        }
        if let Some(mut flows) = self.flows.take() {
            for (side, dense) in flows.iter_mut().enumerate() {
                dense.fill(context, &self.blend(side));
            }
            self.flows = Some(flows);
        }
    }
}

impl Dense {
    fn fill(&mut self, context: &Context, blend: &Blend) {
        let width = self.size.1;
        for_each_row(context, &mut self.flow, 2 * width * STRIDE, |i, data| {
            let mut rows = FlowRows {
                height: data.len() / (2 * width),
                width,
                row: 2 * width,
                data,
            };
            blend.rows(context, i * STRIDE, &mut rows);
        });
    }

    /// Means of a flow that is `levels` finer, in this one's samples.
    fn shrink(&mut self, finer: &Raster, levels: usize) {
        let width = self.size.1;
        let scale = 1.0 / (1 << levels) as f32;
        let share = |at: usize, of: usize| at << levels..((at + 1) << levels).min(of);
        for (i, flow) in self.flow.chunks_mut(2).enumerate() {
            let rows = share(i / width, finer.height);
            let columns = share(i % width, finer.width);
            let weight = scale / (rows.len() * columns.len()) as f32;
            flow.fill(0.0);
            for (y, x) in rows.flat_map(|y| columns.clone().map(move |x| (y, x))) {
                for (sum, d) in flow.iter_mut().zip(finer.at(y, x)) {
                    *sum += weight * d;
                }
            }
        }
    }

    fn copy(&self, context: &Context, out: &Tensor) -> candle_core::Result<()> {
        write("search", out, |mut out| {
            out.expect("the flow of a search", self.size, 2)?;
            let pixel = out.pixel;
            out.for_each_row(context, |y, row| {
                let flow = self.flow[2 * y * self.size.1..].chunks(2);
                for (value, flow) in row.chunks_mut(pixel).zip(flow) {
                    value[..2].copy_from_slice(flow);
                }
            });
            Ok(())
        })
    }
}

/// What the flow of a row of samples is made of.
struct Blend<'a> {
    grid: &'a Grid,
    own: &'a Plane,
    other: &'a Plane,
}

/// Rows of a flow (x, y) to be written, without gaps between samples.
struct FlowRows<'a> {
    height: usize,
    width: usize,
    /// Floats from a row to the next.
    row: usize,
    data: &'a mut [f32],
}

impl FlowRows<'_> {
    fn row(&mut self, r: usize) -> &mut [f32] {
        &mut self.data[r * self.row..][..2 * self.width]
    }
}

impl Blend<'_> {
    /// The flow of the rows from `y` on, a multiple of [`STRIDE`], which are no more than that.
    fn rows(&self, context: &Context, y: usize, rows: &mut FlowRows) {
        match context.level() {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            super::CpuLevel::VECTORS => cpu::blend(self, y, rows),
            _ => {
                for r in 0..rows.height {
                    reference::blend(self, y + r, rows.row(r));
                }
            }
        }
    }

    /// All of it.
    fn write(&self, context: &Context, out: &Tensor) -> candle_core::Result<()> {
        write("search", out, |mut out| {
            out.expect("the flow of a search", self.own.size, 2)?;
            out.for_each_band(context, STRIDE, |y, mut band| {
                let (height, width, row) = (band.height, band.width, band.row);
                if band.pixel == 2 {
                    let data = band.data_mut();
                    let mut rows = FlowRows {
                        height,
                        width,
                        row,
                        data,
                    };
                    return self.rows(context, y, &mut rows);
                }
                let mut data = vec![0.0; 2 * width * height];
                let (row, data) = (2 * width, &mut data[..]);
                let mut rows = FlowRows {
                    height,
                    width,
                    row,
                    data,
                };
                self.rows(context, y, &mut rows);
                for r in 0..height {
                    let pixels = band.pixel;
                    let values = band.row_mut(r).chunks_mut(pixels);
                    for (value, flow) in values.zip(rows.row(r).chunks(2)) {
                        value[..2].copy_from_slice(flow);
                    }
                }
            });
            Ok(())
        })
    }
}
