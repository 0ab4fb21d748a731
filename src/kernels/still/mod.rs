//! What stands still over a moving picture: subtitles, logos, the lines of an instrument.
//!
//! Its strokes are finer than the cells of the flow, so no flow keeps them. They tell themselves by edges that lie at
//! the same place in both pictures, the same way, with one side that is alike: the stroke. Where there are such edges, and the
//! moved sides disagree or something moves between the strokes, a sample that is alike in both pictures, as some around it are, is taken as it is. A thing that moves over structure that rests is safe
//! as long as its motion is found, for its sides agree, and it passes whole cells: around what it covers in neither picture nothing moves in them.

use std::ops::Range;

use candle_core::{DType, Device, Tensor};

use super::Context;
use super::change::{for_cells, mean_around};
use super::luma::{self, SAMPLES};
use super::raster::{Source, write};
use crate::error::Result;
use crate::picture::{Component, Picture, PictureMut};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod cpu;
#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
pub(crate) mod cuda;
mod reference;
pub(super) use reference::is_edge;
#[cfg(test)]
mod tests;

/// What counts as an edge that two pictures have in common, in codes of 8 bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    /// Between two neighbours there are more.
    pub step: u8,
    /// Two samples of the same thing differ by less.
    pub alike: u8,
}

/// Codes of 8 bits by which two samples of the same thing may differ: a stroke as fine as the samples takes on some of what
/// moves beside it.
const ALIKE: u8 = 12;
const EDGE: Edge = Edge {
    step: 40,
    alike: ALIKE,
};
/// Codes of 8 bits by which noise alone makes them differ.
const NOISE: f32 = 3.0;
/// Edges in 3x3 cells (of at most 144) that are a structure.
const EDGES: f32 = 24.0;
/// Codes of 8 bits by which two pictures are apart around what stands still before something that moves; by which the moved sides are, which both
/// meet some of it (of a pattern that moved by a whole period nothing); and edges that are enough there.
const MOVING: f32 = 4.0;
const MET: f32 = 1.0;
const EDGES_BEFORE: f32 = 12.0;
/// Samples of the 3x3 around one, itself among them, that are alike in both pictures where the thing they belong to stands still; outside are those of
/// the border. What shows through a gap one sample wide between things that move, as scrolling letters, has three.
const ALIKE_AROUND: usize = 4;
/// Codes of 8 bits by which the moved sides disagree where motion does not explain the place.
const DISAGREEMENT: f32 = 6.0;

/// Where two pictures have edges in common; for one size of cells.
#[derive(Debug)]
pub struct Space {
    /// Edges in each cell, `[h, w, 1]`.
    pub(crate) edges: Tensor,
    /// 1 where samples that are the same are kept, `[h, w, 1]`.
    kept: Tensor,
}

impl Space {
    /// For `height` x `width` cells of 4x4 pixels.
    ///
    /// # Errors
    /// Those of the allocation.
    pub fn new((height, width): (usize, usize)) -> candle_core::Result<Self> {
        let zeros = || Tensor::zeros((height, width, 1), DType::F32, &Device::Cpu);
        Ok(Self {
            edges: zeros()?,
            kept: zeros()?,
        })
    }
}

/// Counts the edges that two pictures' `luma`, in bytes, have in common; once a pair. Each luma has at most 4h x 4w samples
/// and more than 4(h - 1) x 4(w - 1).
///
/// # Errors
/// Sizes that do not fit.
pub fn edges(context: &Context, luma: [&Tensor; 2], space: &Space) -> candle_core::Result<()> {
    for_cells("edges", luma, &space.edges, |pair, out| {
        match context.level() {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            super::CpuLevel::VECTORS if pair.is_dense() => cpu::run(pair, context, out),
            _ => reference::run(pair, context, out),
        }
    })
}

/// Takes the samples that are the same in both pictures where [`edges`] found structure, and the moved sides disagree
/// (`difference`, `[h, w, 1]`, of luma, 0 to 1) or the pictures do where nothing is moved (`change`, the same, of [`super::change::change`]);
/// the rest of `out` stays as it is.
///
/// # Errors
/// Sizes that do not fit.
pub fn keep(
    context: &Context,
    space: &Space,
    [difference, change]: [&Tensor; 2],
    [left, right]: [&Picture; 2],
    out: &mut PictureMut,
) -> Result<()> {
    choose(context, space, difference, change)?;
    let kept = Source::lock(&space.kept);
    let kept = kept.raster()?;
    for y in 0..kept.height {
        let cells = kept.row(y).iter().step_by(kept.pixel).enumerate();
        for (x, _) in cells.filter(|(_, kept)| **kept > 0.0) {
            keep_cell((y, x), [left, right], out);
        }
    }
    Ok(())
}

/// Which cells are looked at.
fn choose(
    context: &Context,
    space: &Space,
    difference: &Tensor,
    change: &Tensor,
) -> candle_core::Result<()> {
    let [edges, difference, change] = [&space.edges, difference, change].map(Source::lock);
    let (edges, difference, change) = (edges.raster()?, difference.raster()?, change.raster()?);
    difference.expect("the difference", edges.size(), 1)?;
    change.expect("the change", edges.size(), 1)?;
    write("kept", &space.kept, |mut out| {
        out.expect("what is kept", edges.size(), 1)?;
        let pixel = out.pixel;
        out.for_each_row(context, |y, row| {
            for (x, value) in row.iter_mut().step_by(pixel).enumerate() {
                let (difference, change) = (difference.at(y, x)[0], change.at(y, x)[0]);
                let disagree = difference > DISAGREEMENT / luma::MAX;
                let before = change > MOVING / luma::MAX && difference > MET / luma::MAX;
                let kept = (disagree || before) && {
                    let found = 9.0 * mean_around(&edges, (y, x), 0);
                    disagree && found >= EDGES || before && found >= EDGES_BEFORE
                };
                *value = f32::from(u8::from(kept));
            }
        });
        Ok(())
    })
}

/// Keeps what is the same in one cell: of components that share their samples' places all or none.
fn keep_cell(cell: (usize, usize), pictures: [&Picture; 2], out: &mut PictureMut) {
    let components = pictures[0].format().components().iter();
    for whole in [true, false] {
        let group = |c: &&Component| (c.sub_x + c.sub_y == 0) == whole;
        keep_samples(cell, components.clone().filter(group), pictures, out);
    }
}

/// Keeps the samples of a cell that stand still, of all `components`, which are alike in size.
fn keep_samples<'a>(
    (cell_y, cell_x): (usize, usize),
    components: impl Iterator<Item = &'a Component> + Clone,
    pictures: [&Picture; 2],
    out: &mut PictureMut,
) {
    let Some(first) = components.clone().next() else {
        return;
    };
    let size = [
        first.height(pictures[0].height()),
        first.width(pictures[0].width()),
    ];
    let span = |cell: usize, sub: u32, size: usize| {
        let at = |cell: usize| ((cell * SAMPLES) >> sub).min(size);
        at(cell)..at(cell + 1)
    };
    let rows = span(cell_y, first.sub_y, size[0]);
    let columns = span(cell_x, first.sub_x, size[1]);
    let alike = alike_around(components.clone(), [&rows, &columns], size, pictures);
    for c in components {
        for (i, y) in rows.clone().enumerate() {
            let [left, right] = pictures.map(|p| p.row(c.plane, y));
            let out = out.row_mut(c.plane, y);
            for (j, x) in columns.clone().enumerate() {
                if stands_still(&alike, (i, j)) {
                    let codes = [c.load(left, x), c.load(right, x)];
                    c.store(out, x, what_is_kept(codes, c.max(), (y, x)));
                }
            }
        }
    }
}

/// Samples of a cell, down and across, and one around them; a subsampled plane has fewer, and the rest says nothing.
type Around = [[bool; SAMPLES + 2]; SAMPLES + 2];

/// Which samples of all `components` are alike in both pictures, of `rows` and `columns` and one around them; outside are those of the border. `size`: how many
/// there are, down and across.
fn alike_around<'a>(
    components: impl Iterator<Item = &'a Component>,
    [rows, columns]: [&Range<usize>; 2],
    [height, width]: [usize; 2],
    pictures: [&Picture; 2],
) -> Around {
    let mut around = [[true; SAMPLES + 2]; SAMPLES + 2];
    for c in components {
        let most = f32::from(ALIKE) * c.max() as f32;
        for (y, around) in (rows.start..rows.end + 2).zip(&mut around) {
            let [left, right] = pictures.map(|p| p.row(c.plane, y.clamp(1, height) - 1));
            for (x, alike) in (columns.start..columns.end + 2).zip(around) {
                let x = x.clamp(1, width) - 1;
                let apart = c.load(left, x).abs_diff(c.load(right, x));
                *alike &= apart as f32 * luma::MAX <= most;
            }
        }
    }
    around
}

/// Whether a sample of a cell is alike, and enough of those around it.
fn stands_still(alike: &Around, (y, x): (usize, usize)) -> bool {
    let around = alike[y..y + 3].iter().flat_map(|row| &row[x..x + 3]);
    alike[y + 1][x + 1] && around.filter(|alike| **alike).count() >= ALIKE_AROUND
}

/// Of `codes` up to `max` at one place the one where only noise is between them, and else their middle.
fn what_is_kept([left, right]: [u32; 2], max: u32, (y, x): (usize, usize)) -> u32 {
    let noise = left.abs_diff(right) as f32 * luma::MAX <= NOISE * max as f32;
    // halves go up and down in turns, and noise has no mean at all: what stands still gets no darker or lighter
    let half = ((x + y) % 2) as u32;
    if noise {
        left
    } else {
        (left + right + half) / 2
    }
}
