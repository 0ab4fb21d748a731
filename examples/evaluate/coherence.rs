//! Whether the coherence of motion tells where it fails: in the frames that are worst, and where noise was put into it.

use candle_core::{DType, Device, Tensor};

use gstvideointerpolate::error::Result;
use gstvideointerpolate::interpolator::Turbulence;
use gstvideointerpolate::kernels::{Context, coherence};

use super::common::frame::Frame;

/// One frame in so many is a failure by definition, and one in so many gets noise.
const OF: usize = 10;
/// Cells that noise moves something by at most, along an axis.
const NOISE: f32 = 4.0;

/// All frames whose motion was looked at.
#[derive(Default)]
pub struct Failures {
    frames: Vec<Judged>,
    /// Mean incoherence of each frame, and whether there was noise in it.
    noisy_frames: Vec<(f32, bool)>,
    /// Incoherence of each cell, and whether there was noise in it.
    noisy_cells: Vec<(f32, bool)>,
}

/// A frame, and what tells of it.
struct Judged {
    psnr: f64,
    found: Turbulence,
    /// How much luma is at stake: root of the mean square of incoherence times texture, codes of 8 bits.
    stake: f32,
}

/// How well failures are found: average precisions.
pub struct Summary {
    pub frames: usize,
    /// Frames whose motion was estimated again.
    pub again: usize,
    pub by_stake: f64,
    pub by_incoherence: f64,
    pub noise_frames: f64,
    pub noise_cells: f64,
    /// Share of the cells that had noise.
    pub noise_share: f64,
}

impl Failures {
    /// Adds a frame with its PSNR, and the motion that it was made from between two others.
    ///
    /// # Errors
    /// Those of the allocation.
    pub fn add(
        &mut self,
        psnr: f64,
        found: Turbulence,
        motion: &Tensor,
        sides: [&Frame; 2],
    ) -> Result<()> {
        let (h, w, _) = motion.dims3()?;
        let own = incoherence(motion)?;
        let texture = texture(sides, (h, w))?;
        let squares = own.iter().zip(texture).map(|(u, t)| (u * t) * (u * t));
        self.frames.push(Judged {
            psnr,
            found,
            stake: (squares.sum::<f32>() / own.len() as f32).sqrt(),
        });
        self.add_noisy(motion, own)
    }

    /// Adds the incoherence of a motion, every tenth time that of the motion with noise in a quarter of it.
    fn add_noisy(&mut self, motion: &Tensor, mut incoherences: Vec<f32>) -> Result<()> {
        let (h, w, channels) = motion.dims3()?;
        let noisy = self.frames.len().is_multiple_of(OF);
        let mut random = Random(self.frames.len() as u64);
        let (top, left) = (random.below(h - h / 2), random.below(w - w / 2));
        let inside = |cell: usize| {
            let (y, x) = (cell / w, cell % w);
            noisy && (top..top + h / 2).contains(&y) && (left..left + w / 2).contains(&x)
        };
        if noisy {
            let mut values: Vec<f32> = motion.flatten_all()?.to_vec1()?;
            for (i, value) in values.iter_mut().enumerate() {
                if inside(i / channels) {
                    *value = NOISE * random.unit();
                }
            }
            let spoilt = Tensor::from_vec(values, (h, w, channels), motion.device())?;
            incoherences = incoherence(&spoilt)?;
        }
        let mean = incoherences.iter().sum::<f32>() / incoherences.len() as f32;
        self.noisy_frames.push((mean, noisy));
        let cells = incoherences.into_iter().enumerate();
        self.noisy_cells.extend(cells.map(|(i, u)| (u, inside(i))));
        Ok(())
    }

    /// What they come to.
    pub fn summary(&self) -> Summary {
        let mut worst: Vec<_> = (0..self.frames.len()).collect();
        worst.sort_by(|a, b| self.frames[*a].psnr.total_cmp(&self.frames[*b].psnr));
        worst.truncate(self.frames.len() / OF);
        let by = |score: fn(&Judged) -> f32| {
            let all = self.frames.iter().enumerate();
            let scored = all.map(|(i, judged)| (score(judged), worst.contains(&i)));
            average_precision(scored.collect())
        };
        let with_noise = self.noisy_cells.iter().filter(|cell| cell.1).count();
        Summary {
            frames: self.frames.len(),
            again: self.frames.iter().filter(|f| f.found.again).count(),
            by_stake: by(|frame| frame.stake),
            by_incoherence: by(|frame| frame.found.incoherence),
            noise_frames: average_precision(self.noisy_frames.clone()),
            noise_cells: average_precision(self.noisy_cells.clone()),
            noise_share: with_noise as f64 / self.noisy_cells.len() as f64,
        }
    }
}

/// Of each cell of a motion.
fn incoherence(motion: &Tensor) -> Result<Vec<f32>> {
    let (h, w, _) = motion.dims3()?;
    let room = |channels| Tensor::zeros((h, w, channels), DType::F32, &Device::Cpu);
    let (regions, out) = (room(coherence::REGION)?, room(coherence::MEASURED)?);
    coherence::measure(&Context::new(1)?, motion, &regions, &out)?;
    Ok(out.narrow(2, 0, 1)?.flatten_all()?.to_vec1()?)
}

/// How much luma changes in each cell of two frames.
fn texture(sides: [&Frame; 2], (h, w): (usize, usize)) -> Result<Vec<f32>> {
    let luma = |frame: &Frame| {
        let shape = (frame.height, frame.width, 1);
        Tensor::from_slice(frame.planes()[0], shape, &Device::Cpu)
    };
    let (left, right) = (luma(sides[0])?, luma(sides[1])?);
    let out = Tensor::zeros((h, w, 1), DType::F32, &Device::Cpu)?;
    coherence::texture(&Context::new(1)?, [&left, &right], &out)?;
    Ok(out.flatten_all()?.to_vec1()?)
}

/// Mean, over what is to be found, of the share of such among all that score as high or higher; no number where there is none.
pub fn average_precision(mut scored: Vec<(f32, bool)>) -> f64 {
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut seen, mut hits, mut sum) = (0, 0, 0.0);
    for alike in scored.chunk_by(|a, b| a.0 == b.0) {
        let found = alike.iter().filter(|(_, wanted)| *wanted).count();
        seen += alike.len();
        hits += found;
        sum += found as f64 * hits as f64 / seen as f64;
    }
    sum / hits as f64
}

/// A linear congruential generator: the same values on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 40
    }

    /// 0 to `most`.
    fn below(&mut self, most: usize) -> usize {
        self.next() as usize % (most + 1)
    }

    /// -1 to 1.
    fn unit(&mut self) -> f32 {
        self.next() as f32 / (1 << 23) as f32 - 1.0
    }
}
