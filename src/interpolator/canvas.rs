//! Pictures made on a card: their planes go there once, and what is made of them comes back once.

use candle_core::{DType, Device, Tensor};

use super::card::Along;
use crate::error::Result;
use crate::kernels::color::cuda as color;
use crate::kernels::confidence::cuda::{self as confidence, Judgement};
use crate::kernels::cuda::picture::{DevicePicture, Sheet};
use crate::kernels::cuda::{Card, DevicePhase, Launch};
use crate::kernels::luma::{SAMPLES, cuda as luma};
use crate::kernels::picture::cuda::quarter;
use crate::kernels::still::cuda as still;
use crate::kernels::synthesis::Lattice;
use crate::kernels::synthesis::cuda::synthesise;
use crate::network::Motion;

/// Memory for what lies between motion and picture, `[h, w, 1]` each at a quarter of the padded picture's size.
#[derive(Debug)]
pub struct Canvas {
    /// Room for what is told of each cell by itself.
    cells: Tensor,
    /// See [`crate::kernels::change::change`].
    pub change: Tensor,
    /// See [`crate::kernels::still`].
    pub edges: Tensor,
    kept: Tensor,
    /// What the motion is trusted.
    pub confidence: Tensor,
    /// The mask that the picture is made with, on the lattice of the motion.
    mask: Tensor,
    lattice: Lattice,
    /// Where [`Canvas::coarsen`] has both pictures' luma in quads, for motion of pixels.
    quads: Option<[Tensor; 2]>,
}

impl Canvas {
    /// For pictures of so many cells that are made along motion on this lattice.
    ///
    /// # Errors
    /// Those of the allocation.
    pub fn new((h, w): (usize, usize), lattice: Lattice, device: &Device) -> Result<Self> {
        let plane = |times: usize, dtype| Tensor::zeros((times * h, times * w, 1), dtype, device);
        let zeros = |times| plane(times, DType::F32);
        let quads =
            || candle_core::Result::Ok([plane(SAMPLES, DType::U32)?, plane(SAMPLES, DType::U32)?]);
        Ok(Self {
            quads: (lattice == Lattice::Full).then(quads).transpose()?,
            cells: zeros(1)?,
            change: zeros(1)?,
            edges: zeros(1)?,
            kept: zeros(1)?,
            confidence: zeros(1)?,
            mask: zeros(Lattice::Quarter.pixels() / lattice.pixels())?,
            lattice,
        })
    }

    /// As [`crate::kernels::change::change`] and [`crate::kernels::still::edges`] of the luma of a pair; once a pair.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn relate(&self, card: &dyn Card, luma: [&Tensor; 2]) -> Result<Vec<Launch>> {
        let luma = [card.bytes(luma[0])?, card.bytes(luma[1])?];
        let [cells, change, edges] = [
            card.raster(&self.cells)?,
            card.raster(&self.change)?,
            card.raster(&self.edges)?,
        ];
        Ok(vec![
            still::cells([&luma[0], &luma[1]], Some(&cells), Some(&edges))?,
            still::around(&cells, &change)?,
        ])
    }

    /// As [`crate::kernels::confidence::disagree`] of both pictures' luma of cells, in the memory that is answered.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn disagree(
        &self,
        card: &dyn Card,
        luma: [&Tensor; 2],
        brightness: f32,
        (flow, phase): (&Tensor, &DevicePhase),
    ) -> Result<(Launch, &Tensor)> {
        let luma = [card.raster(luma[0])?, card.raster(luma[1])?];
        let (flow, out) = (card.raster(flow)?, card.raster(&self.kept)?);
        let luma = [&luma[0], &luma[1]];
        let launch = confidence::disagree(&flow, luma, brightness, phase, &out)?;
        Ok((launch, &self.kept))
    }

    /// Fills flow and difference of a `motion` from `flow`, `[4 h, 4 w, 4]`: the first with its means, the second from both pictures' luma
    /// moved by these, see [`crate::kernels::luma::differences`].
    ///
    /// # Errors
    /// Sizes that do not fit, or a canvas for motion on another lattice than that of pixels.
    pub fn coarsen(
        &self,
        card: &dyn Card,
        luma: [&Tensor; 2],
        flow: &Tensor,
        motion: &Motion,
    ) -> Result<Vec<Launch>> {
        let mut launches = Vec::new();
        let mut in_quads = |side: usize| {
            let Some(room) = &self.quads else {
                candle_core::bail!("motion of pixels on {:?}", self.lattice);
            };
            let bytes = card.bytes(luma[side])?;
            let room = room[side].narrow(0, 0, bytes.height)?;
            let quads = card.words(&room.narrow(1, 0, bytes.width)?)?;
            launches.push(luma::quads(&bytes, &quads)?);
            Ok(quads)
        };
        let luma = [in_quads(0)?, in_quads(1)?];
        let (flow, coarse) = (card.raster(flow)?, card.raster(&motion.flow)?);
        let (cells, out) = (card.raster(&self.cells)?, card.raster(&motion.difference)?);
        launches.extend([
            quarter(&flow, &coarse)?,
            luma::differences([&luma[0], &luma[1]], &coarse, 1.0, &[&cells])?,
            still::around(&cells, &out)?,
        ]);
        Ok(launches)
    }

    /// Makes the picture between the two of the last [`Canvas::relate`] on a sheet: the motion is judged, the picture made, what it is
    /// `along` adds to it added, and what stands still kept.
    ///
    /// # Errors
    /// Sizes that do not fit, or motion on another lattice.
    pub fn make(
        &self,
        card: &dyn Card,
        sides: [&Sheet; 2],
        (along, phase): (&Along, &DevicePhase),
        out: &Sheet,
    ) -> Result<Vec<Launch>> {
        let difference = card.raster(along.difference)?;
        let judged = Judgement {
            confidence: &card.raster(&self.confidence)?,
            mask: &card.raster(&self.mask)?,
        };
        let (change, mask) = (card.raster(&self.change)?, card.raster(along.mask)?);
        let judge = confidence::judge(&difference, &change, &mask, phase, &judged)?;
        let [left, right, out] = [sides[0], sides[1], out].map(|sheet| sheet.on(card));
        let (sides, out): ([DevicePicture; 2], _) = ([left?, right?], out?);
        let sides = sides.each_ref();
        let motion = (&card.raster(along.flow)?, judged.mask, along.lattice);
        let mut launches = vec![judge];
        launches.extend(synthesise(sides, motion, &out)?);
        if let Some((residual, colors)) = along.residual {
            let own = residual.narrow(0, 0, out.height)?;
            let own = card.raster(&own.narrow(1, 0, out.width)?)?;
            launches.extend(color::add(&own, sides, colors, &out)?);
        }
        let (edges, kept) = (card.raster(&self.edges)?, card.raster(&self.kept)?);
        launches.extend(still::keep(
            &edges,
            [&difference, &change],
            &kept,
            sides,
            &out,
        )?);
        Ok(launches)
    }

    /// The mask that the last picture was made with, of cells, and what has to be launched for it.
    ///
    /// # Errors
    /// None that memory of this canvas has.
    pub fn mask_of_cells(&self, card: &dyn Card) -> Result<(Option<Launch>, &Tensor)> {
        if self.lattice == Lattice::Quarter {
            return Ok((None, &self.mask));
        }
        let (mask, cells) = (card.raster(&self.mask)?, card.raster(&self.cells)?);
        Ok((Some(quarter(&mask, &cells)?), &self.cells))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;

    use super::*;
    use crate::kernels::color::residual;
    use crate::kernels::cuda::emulation::{Host, input, run};
    use crate::kernels::testing::{Random, bytes, contexts, zeros};
    use crate::kernels::{PhaseMap, change, confidence, luma, picture, still, synthesis};
    use crate::picture::owned::{Noise, Owned};
    use crate::picture::{Format, Picture, PictureMut};

    /// Copies a picture to a sheet whose memory is the host's.
    fn fill(sheet: &Sheet, picture: &Picture) {
        let to = sheet.on(&Host::default()).unwrap();
        for (plane, (address, stride)) in to.planes.iter().enumerate().take(to.format.planes()) {
            for y in 0..to.format.rows(plane, picture.height() as u32) {
                let (from, at) = (picture.row(plane, y), address + (y * stride) as u64);
                // SAFETY: the sheet has room for as many rows as the picture has.
                unsafe {
                    std::ptr::copy_nonoverlapping(from.as_ptr(), at as *mut u8, from.len());
                }
            }
        }
    }

    /// The rows of a plane of a sheet.
    fn rows(sheet: &Sheet, plane: usize, size: (u32, u32)) -> Vec<Vec<u8>> {
        let from = sheet.on(&Host::default()).unwrap();
        let (address, stride) = from.planes[plane];
        let bytes = from.format.row_bytes(plane, size.0);
        let row = |y: usize| {
            // SAFETY: the sheet has this row.
            let row = unsafe {
                std::slice::from_raw_parts((address + (y * stride) as u64) as *const u8, bytes)
            };
            row.to_vec()
        };
        (0..from.format.rows(plane, size.1)).map(row).collect()
    }

    /// What the CPU makes of the same; the mask that it is made with.
    fn wanted(
        luma: [&Tensor; 2],
        sides: [&Picture; 2],
        (along, phase): (&Along, &PhaseMap),
        out: &mut PictureMut,
    ) -> Tensor {
        let (plain, _) = contexts();
        let (h, w, _) = along.difference.dims3().unwrap();
        let [cells, change, trust] = [0; 3].map(|_| zeros(&[h, w, 1]));
        let mask = zeros(along.mask.dims());
        let standing = still::Space::new((h, w)).unwrap();
        change::change(&plain, luma, &cells, &change).unwrap();
        still::edges(&plain, luma, &standing).unwrap();
        confidence::estimate(&plain, along.difference, &change, &trust).unwrap();
        confidence::toward_nearer(&plain, along.mask, &trust, phase, &mask).unwrap();
        let motion = (along.flow, &mask, along.lattice);
        synthesis::synthesise(&plain, sides[0], sides[1], motion, out).unwrap();
        if let Some((residual, _)) = along.residual {
            residual::add(&plain, residual, sides, out).unwrap();
        }
        still::keep(&plain, &standing, [along.difference, &change], sides, out).unwrap();
        if along.lattice == Lattice::Quarter {
            return mask;
        }
        let coarse = zeros(&[h, w, 1]);
        picture::quarter(&plain, &mask, &coarse).unwrap();
        coarse
    }

    /// Values of 0 to 1.
    fn shares(random: &mut Random, shape: &[usize]) -> Tensor {
        ((random.dense(shape, 0.5) + 0.5).unwrap() * 0.9).unwrap()
    }

    const SIZE: (u32, u32) = (75, 37);
    /// Of the padded picture.
    const CELLS: (usize, usize) = (12, 20);

    /// Fails unless the pictures along some motion on a lattice are those of the CPU.
    fn check(format: Format, lattice: Lattice) {
        let (mut random, host) = (Random(21), Host::default());
        let mut noise = Noise::new(3);
        let left = Owned::new(format, SIZE, 3).noise(&mut noise);
        let mut right = Owned::new(format, SIZE, 0).noise(&mut noise);
        for p in 0..format.planes() {
            for y in (0..format.rows(p, SIZE.1)).step_by(2) {
                right.row(p, y).copy_from_slice(left.picture().row(p, y));
            }
        }
        let (l, r) = (left.picture(), right.picture());
        let one = random.dense(&[48, 80, 1], 0.5);
        let luma = [bytes(&one), bytes(&(one * 0.9).unwrap())];
        let (h, w) = CELLS;
        let finer = Lattice::Quarter.pixels() / lattice.pixels();
        let residual = random.dense(&[48, 96, 3], 0.1);
        let along = Along {
            flow: &random.dense(&[finer * h, finer * w, 4], 9.0),
            mask: &shares(&mut random, &[finer * h, finer * w, 1]),
            lattice,
            difference: &shares(&mut random, &[h, w, 1]),
            residual: (lattice == Lattice::Full).then_some((&residual, l.color())),
        };
        let plane = shares(&mut random, &[h / 2, w / 2, 1]);
        let phases = [
            (PhaseMap::Uniform(0.6), DevicePhase::Uniform(0.6)),
            (
                PhaseMap::Plane(plane.squeeze(2).unwrap()),
                DevicePhase::Plane(input(&plane)),
            ),
        ];
        let shape = (format, SIZE.0 as usize, SIZE.1 as usize);
        let canvas = Canvas::new(CELLS, lattice, &Device::Cpu).unwrap();
        let sheet = || Sheet::new(format, (shape.1, shape.2), &Device::Cpu).unwrap();
        let (sheets, out) = ([sheet(), sheet()], sheet());
        fill(&sheets[0], &l);
        fill(&sheets[1], &r);
        for (phase, on_card) in phases {
            let mut want = Owned::new(format, SIZE, 0);
            let luma = luma.each_ref();
            let mask = wanted(luma, [&l, &r], (&along, &phase), &mut want.picture_mut());
            run(canvas.relate(&host, luma).unwrap());
            let made = canvas.make(&host, sheets.each_ref(), (&along, &on_card), &out);
            run(made.unwrap());
            let (launch, found) = canvas.mask_of_cells(&host).unwrap();
            run(launch);
            assert_eq!(values(found), values(&mask), "{format:?} {lattice:?}");
            for p in 0..format.planes() {
                for (y, row) in rows(&out, p, SIZE).iter().enumerate() {
                    let want = want.picture();
                    assert_eq!(row, want.row(p, y), "{format:?} plane {p} row {y}");
                }
            }
        }
    }

    #[test]
    fn a_picture_has_the_bits_of_the_cpus() {
        for format in [
            Format::I420,
            Format::Nv12,
            Format::P010,
            Format::Yuy2,
            Format::Rgbx,
            Format::Gray8,
        ] {
            check(format, Lattice::Quarter);
            check(format, Lattice::Full);
        }
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn motion_of_pixels_is_told_for_cells_as_on_the_cpu() {
        let (mut random, host, (plain, _)) = (Random(23), Host::default(), contexts());
        let (h, w) = CELLS;
        let canvas = Canvas::new(CELLS, Lattice::Full, &Device::Cpu).unwrap();
        let luma = [0; 2].map(|_| bytes(&random.dense(&[4 * h, 4 * w, 1], 0.5)));
        let luma = luma.each_ref();
        // padded further than the view, with the mask behind
        let whole = random.dense(&[4 * h + 16, 4 * w + 16, 5], 9.0);
        let whole = whole.narrow(0, 0, 4 * h).unwrap();
        let whole = whole.narrow(1, 0, 4 * w).unwrap();
        let flow = whole.narrow(2, 0, 4).unwrap();
        let motion = || Motion {
            flow: zeros(&[h, w, 4]),
            mask: zeros(&[h, w, 1]),
            difference: zeros(&[h, w, 1]),
            confidence: zeros(&[h, w, 1]),
        };
        let (want, got) = (motion(), motion());
        let (warped, cells) = (luma::Warped::new(CELLS).unwrap(), zeros(&[h, w, 1]));
        picture::quarter(&plain, &flow, &want.flow).unwrap();
        let sides = warped.warp(&plain, luma, &want.flow, 1.0).unwrap();
        luma::differences(&plain, sides, &cells).unwrap();
        change::around(&plain, &cells, &want.difference).unwrap();
        run(canvas.coarsen(&host, luma, &flow, &got).unwrap());
        assert_eq!(values(&got.flow), values(&want.flow));
        assert_eq!(values(&got.difference), values(&want.difference));
    }

    #[test]
    fn disagreement_is_that_of_the_cpu() {
        let mut random = Random(22);
        let (h, w) = (12, 20);
        let canvas = Canvas::new((h, w), Lattice::Quarter, &Device::Cpu).unwrap();
        let [flow, left, right] = [4, 1, 1].map(|channels| random.dense(&[h, w, channels], 0.5));
        let (out, (plain, _)) = (zeros(&[h, w, 1]), contexts());
        let evidence = confidence::Evidence {
            flow: &flow,
            luma: [&left, &right],
            brightness: 0.1,
        };
        confidence::disagree(&plain, &evidence, &PhaseMap::Uniform(0.3), &out).unwrap();
        let along = (&flow, &DevicePhase::Uniform(0.3));
        let launch = canvas.disagree(&Host::default(), [&left, &right], 0.1, along);
        let (launch, made) = launch.unwrap();
        run([launch]);
        assert_eq!(values(made), values(&out));
    }
}
