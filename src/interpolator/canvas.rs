//! Pictures made on a card: their planes go there once, and what is made of them comes back once.

use candle_core::{DType, Device, Tensor};

use crate::error::Result;
use crate::kernels::confidence::cuda::{self as confidence, Judgement};
use crate::kernels::cuda::picture::{DevicePicture, Sheet};
use crate::kernels::cuda::{Card, DevicePhase, Launch};
use crate::kernels::still::cuda as still;
use crate::kernels::synthesis::Lattice;
use crate::kernels::synthesis::cuda::synthesise;
use crate::network::Motion;
use crate::picture::Format;

/// Memory for what lies between motion and picture, `[h, w, 1]` each at a quarter of the padded picture's size, and for the picture.
#[derive(Debug)]
pub struct Canvas {
    /// See [`crate::kernels::change::change`]: in each cell by itself, and around it.
    cells: Tensor,
    change: Tensor,
    /// See [`crate::kernels::still`].
    edges: Tensor,
    kept: Tensor,
    /// What the motion is trusted, and the mask that the picture is made with.
    pub confidence: Tensor,
    pub mask: Tensor,
    /// Where the picture is made.
    pub sheet: Sheet,
}

impl Canvas {
    /// For pictures of this format, width and height, whose motion has so many cells.
    ///
    /// # Errors
    /// Those of the allocation.
    pub fn new(
        (format, width, height): (Format, usize, usize),
        (h, w): (usize, usize),
        device: &Device,
    ) -> Result<Self> {
        let zeros = || Tensor::zeros((h, w, 1), DType::F32, device);
        Ok(Self {
            cells: zeros()?,
            change: zeros()?,
            edges: zeros()?,
            kept: zeros()?,
            confidence: zeros()?,
            mask: zeros()?,
            sheet: Sheet::new(format, (width, height), device)?,
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

    /// Makes the picture between the two of the last [`Canvas::relate`]: the motion is judged, the picture made, and what stands
    /// still kept.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn make(
        &self,
        card: &dyn Card,
        sides: [&Sheet; 2],
        motion: &Motion,
        phase: &DevicePhase,
    ) -> Result<Vec<Launch>> {
        let difference = card.raster(&motion.difference)?;
        let judged = Judgement {
            confidence: &card.raster(&self.confidence)?,
            mask: &card.raster(&self.mask)?,
        };
        let (change, mask) = (card.raster(&self.change)?, card.raster(&motion.mask)?);
        let judge = confidence::judge(&difference, &change, &mask, phase, &judged)?;
        let [left, right, out] = [sides[0], sides[1], &self.sheet].map(|sheet| sheet.on(card));
        let (sides, out): ([DevicePicture; 2], _) = ([left?, right?], out?);
        let sides = sides.each_ref();
        let motion = (&card.raster(&motion.flow)?, judged.mask, Lattice::Quarter);
        let mut launches = vec![judge];
        launches.extend(synthesise(sides, motion, &out)?);
        let (edges, kept) = (card.raster(&self.edges)?, card.raster(&self.kept)?);
        launches.extend(still::keep(&edges, &difference, &kept, sides, &out)?);
        Ok(launches)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;

    use super::*;
    use crate::kernels::cuda::emulation::{Host, input, run};
    use crate::kernels::testing::{Random, bytes, contexts, zeros};
    use crate::kernels::{PhaseMap, change, confidence, still, synthesis};
    use crate::picture::owned::{Noise, Owned};
    use crate::picture::{Picture, PictureMut};

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

    /// What the CPU makes of the same.
    fn wanted(
        luma: [&Tensor; 2],
        sides: [&Picture; 2],
        (motion, phase): (&Motion, &PhaseMap),
        out: &mut PictureMut,
    ) {
        let (plain, _) = contexts();
        let (h, w, _) = motion.mask.dims3().unwrap();
        let [cells, change, trust, mask] = [0; 4].map(|_| zeros(&[h, w, 1]));
        let standing = still::Space::new((h, w)).unwrap();
        change::change(&plain, luma, &cells, &change).unwrap();
        still::edges(&plain, luma, &standing).unwrap();
        confidence::estimate(&plain, &motion.difference, &change, &trust).unwrap();
        confidence::toward_nearer(&plain, &motion.mask, &trust, phase, &mask).unwrap();
        let along = (&motion.flow, &mask, Lattice::Quarter);
        synthesis::synthesise(&plain, sides[0], sides[1], along, out).unwrap();
        still::keep(&plain, &standing, &motion.difference, sides, out).unwrap();
    }

    #[test]
    fn a_picture_has_the_bits_of_the_cpus() {
        let mut random = Random(21);
        let host = Host::default();
        for format in [
            Format::I420,
            Format::Nv12,
            Format::P010,
            Format::Yuy2,
            Format::Rgbx,
            Format::Gray8,
        ] {
            let size = (75u32, 37u32);
            let cells = (12, 20);
            let mut noise = Noise::new(3);
            let left = Owned::new(format, size, 3).noise(&mut noise);
            let mut right = Owned::new(format, size, 0).noise(&mut noise);
            for p in 0..format.planes() {
                for y in (0..format.rows(p, size.1)).step_by(2) {
                    right.row(p, y).copy_from_slice(left.picture().row(p, y));
                }
            }
            let (l, r) = (left.picture(), right.picture());
            let one = random.dense(&[48, 80, 1], 0.5);
            let luma = [bytes(&one), bytes(&(one * 0.9).unwrap())];
            let part = |tensor: Tensor| ((tensor + 0.5).unwrap() * 0.5).unwrap();
            let motion = Motion {
                flow: random.dense(&[cells.0, cells.1, 4], 9.0),
                mask: part(random.dense(&[cells.0, cells.1, 1], 0.5)),
                difference: part(random.dense(&[cells.0, cells.1, 1], 0.4)),
                confidence: zeros(&[cells.0, cells.1, 1]),
            };
            let plane = part(random.dense(&[cells.0 / 2, cells.1 / 2, 1], 0.4));
            let phases = [
                (PhaseMap::Uniform(0.6), DevicePhase::Uniform(0.6)),
                (
                    PhaseMap::Plane(plane.squeeze(2).unwrap()),
                    DevicePhase::Plane(input(&plane)),
                ),
            ];
            let shape = (format, size.0 as usize, size.1 as usize);
            let canvas = Canvas::new(shape, cells, &Device::Cpu).unwrap();
            let sheet = || Sheet::new(format, (shape.1, shape.2), &Device::Cpu).unwrap();
            let sheets = [sheet(), sheet()];
            fill(&sheets[0], &l);
            fill(&sheets[1], &r);
            for (phase, on_card) in phases {
                let mut want = Owned::new(format, size, 0);
                let luma = luma.each_ref();
                wanted(luma, [&l, &r], (&motion, &phase), &mut want.picture_mut());
                run(canvas.relate(&host, luma).unwrap());
                let made = canvas.make(&host, sheets.each_ref(), &motion, &on_card);
                run(made.unwrap());
                for p in 0..format.planes() {
                    for (y, row) in rows(&canvas.sheet, p, size).iter().enumerate() {
                        let want = want.picture();
                        assert_eq!(row, want.row(p, y), "{format:?} plane {p} row {y}");
                    }
                }
            }
        }
    }

    #[test]
    fn disagreement_is_that_of_the_cpu() {
        let mut random = Random(22);
        let (h, w) = (12, 20);
        let shape = (Format::I420, 75, 37);
        let canvas = Canvas::new(shape, (h, w), &Device::Cpu).unwrap();
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
        let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(made), values(&out));
    }
}
