//! What the kernels' tests share: values, odd sizes, and a comparison that says where.

use candle_core::{DType, Device, Tensor};

use super::{Context, CpuLevel};

/// Heights and widths down to a single pixel, around the sizes of groups and vectors.
pub const SIZES: [(usize, usize); 9] = [
    (1, 1),
    (1, 7),
    (5, 1),
    (2, 2),
    (3, 5),
    (6, 13),
    (7, 8),
    (9, 24),
    (17, 31),
];

/// The plain kernels on one thread, and the best ones on two.
pub fn contexts() -> (Context, Context) {
    let plain = Context::with_level(1, CpuLevel::Reference).unwrap();
    (plain, Context::new(2).unwrap())
}

/// The fast kernels at each level at which samples may be fetched by other instructions, one at least, the best ones last; on two threads.
pub fn fetching() -> Vec<Context> {
    let levels = [CpuLevel::VECTORS, CpuLevel::Avx512Vbmi];
    let mut contexts = levels
        .map(|level| Context::with_level(2, level).unwrap())
        .to_vec();
    contexts.dedup_by_key(|context| context.widest());
    contexts
}

/// A linear congruential generator: the same values on every machine.
pub struct Random(pub u64);

impl Random {
    /// Uniform in -1 to 1.
    pub fn value(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32 / (1 << 23) as f32) - 1.0
    }

    /// `[h, w, c]` of values in `-scale` to `scale`, a view of a wider tensor: other channels lie
    /// between its pixels.
    pub fn tensor(&mut self, (h, w): (usize, usize), c: usize, scale: f32) -> Tensor {
        let wide = c + 3;
        let values: Vec<f32> = (0..h * w * wide).map(|_| self.value() * scale).collect();
        let tensor = Tensor::from_vec(values, (h, w, wide), &Device::Cpu).unwrap();
        tensor.narrow(2, 1, c).unwrap()
    }

    /// As [`Random::tensor`], without gaps.
    pub fn dense(&mut self, shape: &[usize], scale: f32) -> Tensor {
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| self.value() * scale).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }
}

/// Luma of -0.5 to 0.5 in bytes.
pub fn bytes(luma: &Tensor) -> Tensor {
    let values: Vec<f32> = luma.flatten_all().unwrap().to_vec1().unwrap();
    let codes = values.iter().map(|v| ((v + 0.5) * 255.0).round() as u8);
    Tensor::from_vec(codes.collect::<Vec<_>>(), luma.dims(), &Device::Cpu).unwrap()
}

/// A value that no kernel computes, to see what was written.
const UNTOUCHED: f32 = 12345.0;

/// Room for a result of `[h, w, c]` in a wider tensor, all of it [`UNTOUCHED`].
pub struct Out {
    wide: Tensor,
    channels: usize,
}

impl Out {
    pub fn new((h, w): (usize, usize), c: usize) -> Self {
        let wide = Tensor::full(UNTOUCHED, (h, w, c + 5), &Device::Cpu).unwrap();
        Self { wide, channels: c }
    }

    /// The tensor to write to.
    pub fn tensor(&self) -> Tensor {
        self.wide.narrow(2, 2, self.channels).unwrap()
    }

    /// The values; fails if anything beside them was written.
    pub fn values(&self) -> Vec<f32> {
        let wide: Vec<f32> = self.wide.flatten_all().unwrap().to_vec1().unwrap();
        let mut values = Vec::new();
        for pixel in wide.chunks(self.channels + 5) {
            let (before, rest) = pixel.split_at(2);
            let (inside, after) = rest.split_at(self.channels);
            let beside = before.iter().chain(after);
            assert!(beside.copied().all(|v| v == UNTOUCHED), "wrote beside");
            values.extend_from_slice(inside);
        }
        values
    }
}

/// Runs `run` with the plain and with the fast kernels and compares each value.
pub fn compare(
    name: &str,
    size: (usize, usize),
    channels: usize,
    tolerance: f32,
    run: impl Fn(&Context, &Tensor),
) {
    let (plain, fast) = contexts();
    let [want, got] = [plain, fast].map(|context| {
        let out = Out::new(size, channels);
        run(&context, &out.tensor());
        out.values()
    });
    close(name, &got, &want, tolerance);
}

/// Compares each value; a difference counts relative to the larger of 1 and the wanted value.
pub fn close(name: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len(), "{name}: number of values");
    let error = |i: usize| (got[i] - want[i]).abs() / want[i].abs().max(1.0);
    let worst = (0..want.len()).max_by(|&a, &b| error(a).total_cmp(&error(b)));
    let Some(i) = worst else { return };
    assert!(
        error(i) <= tolerance,
        "{name}: value {i} is {}, expected {} (error {:e} over {tolerance:e})",
        got[i],
        want[i],
        error(i)
    );
}

/// A tensor of zeros.
pub fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()
}
