//! The hot loops, one folder per operation; the home of `unsafe`.
//!
//! Pictures and features are candle tensors of shape `[height, width, channels]`, `f32`, on the
//! CPU, channels adjacent in memory; rows and pixels may lie further apart than their content
//! (a `narrow` of a wider tensor). Every operation writes into a tensor that exists already, as
//! a candle in-place custom op, so that nothing is allocated per frame. In each folder
//! `reference.rs` is the definition, `cpu.rs` the fast version, `mod.rs` the door that chooses.

use std::sync::{Arc, OnceLock};

use candle_core::Tensor;
use rayon::ThreadPool;

use crate::error::{Error, Result};

pub mod agreement;
pub(crate) mod answers;
pub(crate) mod change;
pub(crate) mod color;
pub(crate) mod confidence;
pub mod conv;
pub mod correlation;
pub mod hypotheses;
pub(crate) mod motion;
pub(crate) mod pairs;
pub(crate) mod picture;
pub(crate) mod pointwise;
pub(crate) mod raster;
pub(crate) mod resample;
pub mod search;
pub(crate) mod still;
pub(crate) mod synthesis;
pub(crate) mod transformer;
pub(crate) mod view;
pub mod warp;

#[cfg(target_arch = "x86_64")]
mod simd;
#[cfg(test)]
pub(crate) mod testing;

/// Environment variable that, set to `reference`, makes every kernel take its plain version.
pub const CPU_VARIABLE: &str = "VIDEOINTERPOLATE_CPU";

/// Which version of the kernels runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuLevel {
    /// The plain loops that define every operation.
    Reference,
    /// x86-64 with AVX2 and FMA.
    Avx2,
}

/// The best level this machine has, or what [`CPU_VARIABLE`] says; found out once.
pub fn cpu_level() -> CpuLevel {
    static LEVEL: OnceLock<CpuLevel> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        if std::env::var_os(CPU_VARIABLE).is_some_and(|v| v == "reference") {
            CpuLevel::Reference
        } else {
            best_level()
        }
    })
}

fn best_level() -> CpuLevel {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        return CpuLevel::Avx2;
    }
    CpuLevel::Reference
}

/// What every kernel runs on: threads and an instruction set.
#[derive(Debug, Clone)]
pub struct Context {
    pool: Arc<ThreadPool>,
    level: CpuLevel,
}

impl Context {
    /// A context with a pool of its own; `threads` 0 takes one per CPU.
    ///
    /// # Errors
    /// The system refused the threads.
    pub fn new(threads: usize) -> Result<Self> {
        Self::with_level(threads, cpu_level())
    }

    /// As [`Context::new`], with the plain kernels where `level` says so.
    pub fn with_level(threads: usize, level: CpuLevel) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("interpolate-{i}"))
            .build()
            .map_err(|e| Error::Threads {
                count: threads,
                problem: e.to_string(),
            })?;
        // A level that the machine lacks must never reach a kernel.
        let level = match (level, best_level()) {
            (CpuLevel::Avx2, CpuLevel::Avx2) => CpuLevel::Avx2,
            _ => CpuLevel::Reference,
        };
        Ok(Self {
            pool: Arc::new(pool),
            level,
        })
    }

    /// The threads.
    pub fn pool(&self) -> &ThreadPool {
        &self.pool
    }

    /// The version of the kernels to run; never above what the machine has.
    pub fn level(&self) -> CpuLevel {
        self.level
    }
}

/// Where an output lies between its neighbours, strictly inside 0 (left) to 1 (right).
#[derive(Debug, Clone)]
pub enum PhaseMap {
    /// The same phase everywhere.
    Uniform(f32),
    /// A phase for each cell of 8x8 pixels of the padded picture: `[height / 8, width / 8]`.
    Plane(Tensor),
}

impl PhaseMap {
    /// Fails unless all phases lie strictly inside 0 to 1 and a plane of them has this height and
    /// width.
    ///
    /// # Errors
    /// As said; the first phase outside is named.
    pub fn check(&self, size: (usize, usize)) -> Result<()> {
        let check = |phase: f32| match phase > 0.0 && phase < 1.0 {
            true => Ok(()),
            false => Err(Error::Phase(phase)),
        };
        match self {
            PhaseMap::Uniform(phase) => check(*phase),
            PhaseMap::Plane(plane) => {
                let plane = plane.unsqueeze(plane.rank())?;
                let source = raster::Source::lock(&plane);
                let raster = source.raster()?;
                raster.expect("a plane of phases", size, 1)?;
                (0..raster.height)
                    .flat_map(|y| raster.row(y).iter().step_by(raster.pixel))
                    .try_for_each(|phase| check(*phase))
            }
        }
    }
}
