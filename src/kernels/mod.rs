//! The hot loops, one folder per operation; the home of `unsafe`.
//!
//! Pictures and features are candle tensors of shape `[height, width, channels]`, `f32`, on the
//! CPU, channels adjacent in memory; rows and pixels may lie further apart than their content
//! (a `narrow` of a wider tensor). Every operation writes into a tensor that exists already, as
//! a candle in-place custom op, so that nothing is allocated per frame. In each folder
//! `reference.rs` is the definition, `cpu.rs` the fast version (see `simd/mod.rs`), `mod.rs` the door that chooses; `cuda.cu` and
//! `cuda.rs` are for NVIDIA cards (see `cuda/mod.rs`).

// What a caller has to find out first, that AVX2 is there, needs no finding out where each machine has NEON.
#![cfg_attr(target_arch = "aarch64", allow(unused_unsafe))]

use std::num::NonZero;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use candle_core::{DType, Tensor};
use rayon::ThreadPool;

use crate::error::{Error, Result};
use device::Gpu;

/// Where the context has a card: queues what the expression launches, which the `cuda.rs` of a kernel makes of rasters of that
/// card's tensors, and returns.
macro_rules! on_card {
    ($context:expr, |$gpu:ident| $launch:expr) => {
        #[cfg(feature = "cuda")]
        if let Some($gpu) = $context.gpu() {
            let launch = $launch?;
            // SAFETY: these are the arguments of the kernel, made of tensors on this card.
            return unsafe { $gpu.run(launch) };
        }
        #[cfg(not(feature = "cuda"))]
        let _ = $context;
    };
}

pub mod agreement;
pub(crate) mod answers;
pub(crate) mod bend;
pub(crate) mod carry;
pub(crate) mod change;
pub mod coherence;
pub(crate) mod color;
pub(crate) mod confidence;
pub mod conv;
pub mod correlation;
// What no network on a card needs yet, the tests alone launch.
#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) mod cuda;
pub mod device;
#[cfg(feature = "cuda")]
mod gpu;
pub mod hypotheses;
pub mod luma;
pub(crate) mod memory;
pub(crate) mod mix;
pub(crate) mod motion;
pub(crate) mod moved;
pub(crate) mod pairs;
pub(crate) mod phases;
pub(crate) mod picture;
pub(crate) mod pointwise;
pub(crate) mod prediction;
pub(crate) mod raster;
#[cfg(any(
    feature = "cuda",
    all(test, target_arch = "x86_64", target_os = "linux")
))]
pub mod rate;
pub(crate) mod resample;
pub mod search;
pub(crate) mod still;
pub mod synthesis;
pub(crate) mod transformer;
pub(crate) mod view;
pub mod warp;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod simd;
#[cfg(test)]
pub(crate) mod testing;

/// Environment variable that names the highest level to use: `reference`, `neon`, `avx2`, `avx512` or `avx512vbmi`.
pub const CPU_VARIABLE: &str = "VIDEOINTERPOLATE_CPU";

/// Environment variable that names how networks run on a card, see [`Way::name`]. What is fastest where it is not set.
pub const CARD_VARIABLE: &str = "VIDEOINTERPOLATE_CARD";

/// Which version of the kernels runs. A machine has those of its architecture up to some one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CpuLevel {
    /// The plain loops that define every operation.
    Reference,
    /// aarch64, all of them.
    Neon,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// The same with AVX-512 F and VL, which convolutions use.
    Avx512,
    /// The same with AVX-512 BW and VBMI, by which samples are fetched.
    Avx512Vbmi,
}

impl CpuLevel {
    /// From the lowest to the highest.
    pub const ALL: [Self; 5] = [
        Self::Reference,
        Self::Neon,
        Self::Avx2,
        Self::Avx512,
        Self::Avx512Vbmi,
    ];

    /// What all kernels have that have a fast version: it is written in AVX2's instructions, which `simd` has for NEON, too.
    pub const VECTORS: Self = match cfg!(target_arch = "aarch64") {
        true => Self::Neon,
        false => Self::Avx2,
    };

    /// What [`CPU_VARIABLE`] calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Vbmi => "avx512vbmi",
        }
    }

    /// Whether this machine has it.
    pub fn is_supported(self) -> bool {
        match self {
            Self::Reference => true,
            Self::Neon => cfg!(target_arch = "aarch64"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_supported()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vbmi => {
                Self::Avx512.is_supported()
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vbmi")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 | Self::Avx512Vbmi => false,
        }
    }

    /// Whether kernels run that are written in AVX2's instructions.
    pub fn has_vectors(self) -> bool {
        self >= Self::VECTORS
    }

    /// The highest level up to this one that this machine has.
    fn supported(self) -> Self {
        let levels = Self::ALL.into_iter().rev();
        let mut levels = levels.filter(|level| *level <= self && level.is_supported());
        levels.next().unwrap_or(Self::Reference)
    }
}

/// The best level this machine has, up to the one that [`CPU_VARIABLE`] names; found out once.
///
/// # Errors
/// It names none.
pub fn cpu_level() -> Result<CpuLevel> {
    static LEVEL: OnceLock<CpuLevel> = OnceLock::new();
    if let Some(level) = LEVEL.get() {
        return Ok(*level);
    }
    let named = named(CPU_VARIABLE, CpuLevel::ALL, CpuLevel::name)?;
    Ok(*LEVEL.get_or_init(|| named.unwrap_or(CpuLevel::Avx512Vbmi).supported()))
}

/// Which of `all` an environment variable names; `None` if it is not set, or empty.
///
/// # Errors
/// It names none of them.
pub fn named<T: Copy, const N: usize>(
    variable: &'static str,
    all: [T; N],
    name: impl Fn(T) -> &'static str,
) -> Result<Option<T>> {
    let value = std::env::var_os(variable).unwrap_or_default();
    let value = value.to_string_lossy();
    let found = all.into_iter().find(|one| name(*one) == value);
    match found.is_none() && !value.is_empty() {
        true => Err(Error::Variable {
            name: variable,
            value: value.into(),
            expected: all.map(name).join(", "),
        }),
        false => Ok(found),
    }
}

/// Numbers that a network's features have on a card, and what is multiplied there. Sums have 32 bits always, and so has motion: of 16 bits
/// it has jagged edges in the ports of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32 bits, as on the CPU.
    #[default]
    Single,
    /// 16 bits; tensor cores multiply.
    Half,
}

impl Precision {
    /// The plain one first.
    pub const ALL: [Self; 2] = [Self::Single, Self::Half];

    /// `f32` or `f16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "f32",
            Self::Half => "f16",
        }
    }

    /// That of features.
    pub fn dtype(self) -> DType {
        match self {
            Self::Single => DType::F32,
            Self::Half => DType::F16,
        }
    }
}

/// How a network runs on a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// With features of 32 bits.
    #[default]
    Single,
    /// With features of 16 bits.
    Half,
    /// The same with each convolution by cuDNN that takes less time so. For published networks; the built-in one has kernels that fit it.
    Cudnn,
    /// The same with each convolution by cuDNN that it has, whatever the time.
    CudnnAll,
}

impl Way {
    /// The plain one first.
    pub const ALL: [Self; 4] = [Self::Single, Self::Half, Self::Cudnn, Self::CudnnAll];

    /// What [`CARD_VARIABLE`] calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cudnn => "cudnn",
            Self::CudnnAll => "cudnn-all",
            _ => self.precision().name(),
        }
    }

    /// Of features.
    pub fn precision(self) -> Precision {
        match self {
            Self::Single => Precision::Single,
            Self::Half | Self::Cudnn | Self::CudnnAll => Precision::Half,
        }
    }

    /// Whether convolutions may be cuDNN's.
    pub fn has_cudnn(self) -> bool {
        matches!(self, Self::Cudnn | Self::CudnnAll)
    }
}

impl From<Precision> for Way {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::Single => Self::Single,
            Precision::Half => Self::Half,
        }
    }
}

/// What every kernel runs on: threads and an instruction set, or a card.
#[derive(Debug, Clone)]
pub struct Context {
    pool: Arc<ThreadPool>,
    level: CpuLevel,
    /// All tensors lie in its memory, if there is one.
    gpu: Option<Arc<Gpu>>,
    /// How networks run there.
    way: Way,
    /// What cuDNN needs for that.
    #[cfg(feature = "cuda")]
    layers: Arc<conv::Layers>,
}

impl Context {
    /// A context of so many `threads`; 0 takes one per CPU. All contexts of one number share them: two
    /// elements side by side do not contend for the same CPUs.
    ///
    /// # Errors
    /// The system refused the threads, or [`CPU_VARIABLE`] names nothing.
    pub fn new(threads: usize) -> Result<Self> {
        Self::with_level(threads, cpu_level()?)
    }

    /// As [`Context::new`], with the best kernels that this machine has up to `level`.
    pub fn with_level(threads: usize, level: CpuLevel) -> Result<Self> {
        Ok(Self {
            pool: pool_of(threads)?,
            // A level that the machine lacks must never reach a kernel.
            level: level.supported(),
            gpu: None,
            way: Way::Single,
            #[cfg(feature = "cuda")]
            layers: Arc::default(),
        })
    }

    /// The same on a card, or on the CPU, with features of 32 bits. Not all kernels have a version for cards: those have that
    /// networks run; where one has not, it fails.
    pub fn on(&self, gpu: Option<Arc<Gpu>>) -> Self {
        Self {
            gpu,
            way: Way::Single,
            #[cfg(feature = "cuda")]
            layers: Arc::default(),
            ..self.clone()
        }
    }

    /// The same with features of this precision, which are for a card.
    pub fn with_precision(&self, precision: Precision) -> Self {
        self.with_way(precision.into())
    }

    /// The same for networks that run so, which is for a card. What cuDNN needs is this context's and its clones', and goes with them.
    pub fn with_way(&self, way: Way) -> Self {
        Self {
            way,
            #[cfg(feature = "cuda")]
            layers: Arc::default(),
            ..self.clone()
        }
    }

    /// Of features.
    pub fn precision(&self) -> Precision {
        self.way.precision()
    }

    /// How networks run on the card.
    pub fn way(&self) -> Way {
        self.way
    }

    /// What cuDNN needs for that.
    #[cfg(feature = "cuda")]
    pub(crate) fn layers(&self) -> &conv::Layers {
        &self.layers
    }

    /// The card, if it is one.
    pub fn gpu(&self) -> Option<&Arc<Gpu>> {
        self.gpu.as_ref()
    }

    /// Runs what launches kernels one after the other. On a card it need not launch each convolution by itself; what is done with it
    /// besides must be done [`Context::apart`].
    ///
    /// # Errors
    /// Those of `run`, or the card fails.
    pub(crate) fn together<T, E: From<candle_core::Error>>(
        &self,
        run: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        #[cfg(feature = "cuda")]
        if let Some(gpu) = &self.gpu {
            return gpu.together(run);
        }
        run()
    }

    /// Runs what reads, without kernels, what kernels have made.
    ///
    /// # Errors
    /// Those of `run`, or the card fails.
    pub(crate) fn apart<T, E: From<candle_core::Error>>(
        &self,
        run: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        #[cfg(feature = "cuda")]
        if let Some(gpu) = &self.gpu {
            return gpu.apart(run);
        }
        run()
    }

    /// Where the tensors lie.
    pub fn device(&self) -> candle_core::Device {
        let gpu = self.gpu.as_ref();
        gpu.map_or(candle_core::Device::Cpu, |gpu| gpu.device())
    }

    /// The threads.
    pub fn pool(&self) -> &ThreadPool {
        &self.pool
    }

    /// The version to run of kernels that have none above [`CpuLevel::VECTORS`]; never above what the machine has.
    pub fn level(&self) -> CpuLevel {
        self.level.min(CpuLevel::VECTORS)
    }

    /// The version to run of kernels that have one for every level; never above what the machine has.
    pub fn widest(&self) -> CpuLevel {
        self.level
    }
}

/// The process's pool of so many threads (0: one a CPU), started unless it runs already.
fn pool_of(threads: usize) -> Result<Arc<ThreadPool>> {
    static RUNNING: Mutex<Vec<Weak<ThreadPool>>> = Mutex::new(Vec::new());
    let count = match threads {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get),
        count => count,
    };
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    running.retain(|pool| pool.strong_count() > 0);
    let mut known = running.iter().filter_map(Weak::upgrade);
    if let Some(pool) = known.find(|p| p.current_num_threads() == count) {
        return Ok(pool);
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(count)
        .thread_name(|i| format!("interpolate-{i}"))
        .build()
        .map_err(|e| Error::Threads {
            count,
            problem: e.to_string(),
        })?;
    // on a busy machine a thread may have its first piece of work long after the first picture
    pool.broadcast(|_| conv::make_room());
    let pool = Arc::new(pool);
    running.push(Arc::downgrade(&pool));
    Ok(pool)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_names_one_or_none_and_all_else_is_an_error() {
        let tidy = |name: &'static str| name;
        // cargo sets it, and PATH is set everywhere
        let own = env!("CARGO_PKG_NAME");
        let found = named("CARGO_PKG_NAME", ["another", own], tidy).unwrap();
        assert_eq!(found, Some(own));
        let unset = named("VIDEOINTERPOLATE_NOT_SET", ["a"], tidy).unwrap();
        assert_eq!(unset, None);
        let error = named("PATH", ["a", "b"], tidy).unwrap_err().to_string();
        assert!(error.contains("PATH"), "{error}");
        assert!(error.contains("one of a, b"), "{error}");
    }
}
