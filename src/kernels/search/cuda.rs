//! The launches of `cuda.cu`.

use candle_core::bail;

use super::descent::patches;
use super::{DISTANCES, searched, seek};
use crate::kernels::cuda::{Argument, DeviceRaster, Launch, RawRaster, Span};

/// Bytes of a patch on the device.
const PATCH_BYTES: usize = 9 * size_of::<f32>();
/// What is found, and what was found by the pass before, of both directions.
const GRIDS: usize = 4;
/// A level with no more patches, of both directions, is searched by one launch: twice as many as its block takes at once.
const FEW: usize = 2 * seek::FEW;
const _: () = assert!(FEW == 2 * SINGLE_BLOCK / THREADS);
/// Patches that are looked at by one warp behind the first pass, and from how many on, which keep a card busy even so.
const EACH: usize = 4;
const MANY: usize = 3000;
/// Threads of a patch, and patches that a warp seeks for, as in `cuda.cu`.
const THREADS: usize = 32;
const GROUPS: usize = 4;
/// Threads of a block where there are many, as small ones spread over a card, and of a single one; as in `cuda.cu`.
const BLOCK: usize = 64;
const SINGLE_BLOCK: usize = 384;

/// What is known of one level between the launches.
#[derive(Debug, Clone, Copy)]
pub struct DeviceLevel {
    /// Address of [`level_bytes`], a multiple of 4.
    pub patches: u64,
    /// `[h, w, 2]`: the flow from left to right and from right to left. Of the first level, the answer.
    pub flows: [DeviceRaster; 2],
}

/// The kernel's `Level`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct RawLevel {
    luma: [RawRaster; 2],
    finer: [RawRaster; 2],
    base: [RawRaster; 2],
    coarser: [RawRaster; 2],
    grids: [u64; GRIDS],
    rows: i32,
    columns: i32,
    is_finest: i32,
    factor: i32,
}

// SAFETY: plain numbers without bytes between them.
unsafe impl Argument for RawLevel {
    fn bytes(&self) -> u64 {
        let rasters = [self.luma, self.finer, self.base, self.coarser];
        rasters.iter().flatten().map(RawRaster::bytes).sum()
    }
    fn reach(&self, to: &mut Vec<Span>) {
        let read = [self.luma, self.finer, self.base, self.coarser];
        to.extend(
            read.iter()
                .flatten()
                .filter_map(RawRaster::span)
                .map(Span::read),
        );
        let bytes = self.rows as usize * self.columns as usize * PATCH_BYTES;
        to.extend(self.grids.map(|grid| Span::new(grid, bytes as u64)));
    }
}

/// Height and width of each level that is searched, as for [`super::Space::new`]; the first one is level `finest`.
///
/// # Errors
/// There is no such level, or it is empty.
pub fn levels(sizes: &[(usize, usize)], finest: usize) -> candle_core::Result<&[(usize, usize)]> {
    searched(sizes, finest)
}

/// Bytes for the patches of a level of this height and width.
pub fn level_bytes(size: (usize, usize)) -> usize {
    let (rows, columns) = patches(size);
    GRIDS * rows * columns * PATCH_BYTES
}

/// As [`super::search`]: `luma` are both pyramids from the finest level searched on, as many levels as there are `levels`;
/// `below` are those of the level below, if there is one.
///
/// # Errors
/// Sizes that do not fit.
pub fn search(
    luma: [&[DeviceRaster]; 2],
    below: Option<[DeviceRaster; 2]>,
    levels: &[DeviceLevel],
) -> candle_core::Result<Vec<Launch>> {
    let [left, right] = luma;
    if levels.is_empty() || left.len() != levels.len() || right.len() != levels.len() {
        let (l, r, wanted) = (left.len(), right.len(), levels.len());
        bail!("pyramids of {l} and {r} levels to search, expected {wanted}");
    }
    if let Some([left, right]) = &below {
        left.expect("luma below a search", right.size(), 1)?;
        right.expect("luma below a search", left.size(), 1)?;
    }
    let below = below.as_ref();
    let below = below.map(|below| below.each_ref().map(RawRaster::from));
    let mut launches = Vec::new();
    for (i, level) in levels.iter().enumerate().rev() {
        let size = left[i].size();
        let pair = |i: usize| [RawRaster::from(&left[i]), RawRaster::from(&right[i])];
        let finer = i.checked_sub(1).map(pair).or(below);
        let factor = 1 << (i + usize::from(below.is_some()));
        // the finer level is asked anyway
        let base = (factor > 2).then(|| below.unwrap_or_else(|| pair(0)));
        let coarser = levels.get(i + 1).map(|level| level.flows);
        let coarser = coarser.map(|flows| flows.each_ref().map(RawRaster::from));
        left[i].expect("luma to search", size, 1)?;
        right[i].expect("luma to search", size, 1)?;
        for flow in &level.flows {
            flow.expect("the flow of a search", size, 2)?;
        }
        let grid = patches(size);
        let bytes = (level_bytes(size) / GRIDS) as u64;
        let raw = RawLevel {
            luma: pair(i),
            finer: finer.unwrap_or_default(),
            base: base.unwrap_or_default(),
            coarser: coarser.unwrap_or_default(),
            grids: std::array::from_fn(|i| level.patches + i as u64 * bytes),
            rows: grid.0 as i32,
            columns: grid.1 as i32,
            is_finest: i32::from(i == 0),
            factor,
        };
        let is_sought = seek::is_sought_in(factor as usize, grid.0 * grid.1);
        launches.extend(of_level(raw, grid, level, is_sought));
    }
    Ok(launches)
}

/// The launches of one level.
fn of_level(
    raw: RawLevel,
    (rows, columns): (usize, usize),
    level: &DeviceLevel,
    is_sought: bool,
) -> Vec<Launch> {
    let launch = |function| Launch::new("search", function);
    let [forth, back] = &level.flows;
    let patches = 2 * rows * columns;
    if patches <= FEW {
        let mut all = launch("search_level");
        all.block[0] = SINGLE_BLOCK as u32;
        return vec![all.with(raw).raster(forth).raster(back)];
    }
    let along = |mut launch: Launch, threads: usize| {
        launch.grid[0] = threads.div_ceil(BLOCK) as u32;
        launch.block[0] = BLOCK as u32;
        launch
    };
    let mut launches = Vec::new();
    for pass in 0..DISTANCES.len() {
        let each = if pass > 0 && patches >= MANY { EACH } else { 1 };
        let refine = launch("search_refine").with(raw).with(pass as i32);
        launches.push(along(
            refine.with(each as i32),
            THREADS * patches.div_ceil(each),
        ));
        if pass == seek::PASS && is_sought {
            let seek = launch("search_seek").with(raw);
            launches.push(along(seek, THREADS * patches.div_ceil(GROUPS)));
            launches.push(along(launch("search_settle").with(raw), patches));
        }
    }
    let mut blend = launch("search_blend").pixels(forth.size());
    blend.grid[2] = 2;
    launches.push(blend.with(raw).raster(forth).raster(back));
    launches
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;

    use super::super::tests::{Flow, Texture, balls, found, levels as halved, pyramid, sizes};
    use super::*;
    use crate::kernels::cuda::emulation::{input, output, run};
    use crate::kernels::testing::{Out, Random, SIZES, contexts, zeros};

    /// Both flows as the device finds them.
    fn found_by_device(left: &[Tensor], right: &[Tensor], finest: usize) -> [Flow; 2] {
        let sizes = sizes(left);
        let sizes = levels(&sizes, finest).unwrap();
        let answers = [0; 2].map(|_| Out::new(sizes[0], 2));
        let tensors = answers.each_ref().map(|out| out.tensor());
        let mut memory = Vec::new();
        let rooms: Vec<_> = sizes
            .iter()
            .enumerate()
            .map(|(i, size)| {
                // filled with what a search before may have left
                memory.push(vec![1e9f32; level_bytes(*size) / 4]);
                let patches = memory[i].as_mut_ptr() as u64;
                let flows = match i {
                    0 => tensors.each_ref().map(output),
                    _ => [0; 2].map(|_| output(leaked(*size))),
                };
                DeviceLevel { patches, flows }
            })
            .collect();
        let luma = [left, right].map(|pyramid| -> Vec<_> {
            let levels = pyramid[finest..].iter().take(sizes.len());
            levels.map(input).collect()
        });
        let below = finest.checked_sub(1);
        let below = below.map(|i| [left, right].map(|pyramid| input(&pyramid[i])));
        run(search([&luma[0], &luma[1]], below, &rooms).unwrap());
        answers.map(|out| out.values().chunks(2).map(|f| [f[0], f[1]]).collect())
    }

    /// A tensor that lives as long as what knows only its address.
    fn leaked(size: (usize, usize)) -> &'static Tensor {
        Box::leak(Box::new(zeros(&[size.0, size.1, 2])))
    }

    fn check(what: &str, left: &[Tensor], right: &[Tensor], finest: usize) {
        let (plain, _) = contexts();
        let want = found(&plain, left, right, finest);
        let got = found_by_device(left, right, finest);
        assert_eq!(got, want, "{what} down to level {finest}");
    }

    #[test]
    fn flows_are_the_same_to_the_bit() {
        for (i, &size) in [&SIZES[..], &[(37, 70), (64, 83)]]
            .concat()
            .iter()
            .enumerate()
        {
            let texture = Texture::new(i as u64);
            let mut random = Random(i as u64);
            let textures = [0.0, 2.7].map(|d| pyramid(size, |x, y| texture.at(x - d, y + d)));
            let noises = [0, 1].map(|_| halved(random.dense(&[size.0, size.1, 1], 0.5)));
            let bars = [0.0, 2.0].map(|d| {
                pyramid(size, |x, y| {
                    texture.at(x, y) + f32::from((x - d).rem_euclid(6.0) < 2.0)
                })
            });
            let pairs = [("texture", textures), ("noise", noises), ("bars", bars)];
            for (name, [left, right]) in pairs {
                for finest in 0..left.len().min(3) {
                    check(&format!("{name} {size:?}"), &left, &right, finest);
                }
            }
        }
    }

    /// Large enough for a launch a pass, and for several patches a warp; some patches find nothing new, others do.
    #[test]
    fn many_patches_are_the_same_to_the_bit() {
        let size = (168, 176);
        let (rows, columns) = patches(size);
        assert!(2 * rows * columns >= MANY && !(rows * columns).is_multiple_of(EACH));
        let (sign, ground) = (Texture::new(5), Texture::new(6));
        let on_sign = |x: f32, y: f32| (60.0..100.0).contains(&x) && (34.0..64.0).contains(&y);
        let [left, right] = [0.0, 9.0].map(|d| {
            pyramid(size, |x, y| match on_sign(x, y) {
                true => sign.at(x, y),
                false => ground.at(x - d, y + 0.5 * d),
            })
        });
        check("a sign", &left, &right, 0);
    }

    /// Discs that no descent finds, in pictures of three sizes.
    #[test]
    fn what_is_sought_is_the_same_to_the_bit() {
        for (seed, size) in [(1, (96, 128)), (2, (45, 61)), (3, (33, 40))] {
            let [left, right] = balls(seed, size);
            for finest in 0..3 {
                check("discs", &left, &right, finest);
            }
        }
    }

    /// Patterns of which the coarser level has lost more or less.
    #[test]
    fn lost_patterns_are_the_same_to_the_bit() {
        let texture = Texture::new(7);
        for shift in [1.0, 0.4] {
            let [left, right] = [0.0, shift].map(|d| {
                pyramid((48, 168), |x, y| {
                    let (x, region) = (x - d, (x / 24.0).floor());
                    let length = 2.5 + 0.2 * region;
                    let pattern = (std::f32::consts::TAU * x / length).sin();
                    0.2 * pattern + 0.3 * texture.at(x, y)
                })
            });
            for finest in 0..3 {
                check("patterns", &left, &right, finest);
            }
        }
    }

    #[test]
    fn luma_that_is_no_number_leads_nowhere_outside() {
        for wild in [f32::NAN, f32::INFINITY, f32::MAX, 1e30] {
            let left = pyramid((20, 24), |x, _| if x > 9.0 { wild } else { x });
            let right = pyramid((20, 24), |x, y| if x > y { -wild } else { y });
            found_by_device(&left, &right, 0);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let left = pyramid((20, 24), |_, _| 0.0);
        let right = pyramid((20, 25), |_, _| 0.0);
        let [left, right] = [&left[..1], &right[..1]].map(|levels| vec![input(&levels[0])]);
        let flows = [output(leaked((20, 24))), output(leaked((20, 24)))];
        let level = DeviceLevel { patches: 16, flows };
        assert!(search([&left, &left], None, &[level]).is_ok());
        assert!(search([&left, &right], None, &[level]).is_err());
        let below = [left[0], right[0]];
        assert!(search([&left, &left], Some(below), &[level]).is_err());
        assert!(search([&left, &left], None, &[level, level]).is_err());
        assert!(search([&left, &left], None, &[]).is_err());
    }
}
