//! Memory for what the kernels write.
//!
//! Pages that are touched for the first time are a good part of what the first picture costs, so less memory is also a
//! faster start. 2026-11-25: large pages (madvise, tensors from a page's border on) were tried and dropped: more than half of
//! the faults went, but the system took longer to find such pages; its time up to the first 1080p picture went from 130
//! to 347 ms (medians of four alternating runs).
//!
//! 2026-11-27: the most memory that `examples/costs 1920x1080` took, its own pictures among it: 199 → 171 MB (`high`), 181 → 161 (`balanced`), 97 → 93
//! (`fast`), since warped luma, what the encoder has between its layers and what the decoder hands on lie in memory of the refiner that is
//! not needed at the same time, and a search writes its finest flow where it is wanted.

use candle_core::{DType, Result, Shape, Tensor};

/// A tensor of `shape` in the memory of `other`, which is contiguous, for what is never in use together with it; in its own where
/// that is too small, or of other numbers than the `dtype` wanted.
///
/// # Errors
/// Those of the allocation.
pub fn shared(other: &Tensor, shape: impl Into<Shape>, dtype: DType) -> Result<Tensor> {
    let shape = shape.into();
    match shape.elem_count() {
        count if count <= other.elem_count() && dtype == other.dtype() => {
            other.flatten_all()?.narrow(0, 0, count)?.reshape(shape)
        }
        _ => Tensor::zeros(shape, dtype, other.device()),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::kernels::raster::write;

    #[test]
    fn memory_is_shared_where_it_suffices() {
        let large = Tensor::zeros((4, 5, 6), DType::F32, &Device::Cpu).unwrap();
        let small = shared(&large, (3, 2, 8), DType::F32).unwrap();
        assert_eq!(small.dims(), [3, 2, 8]);
        write("test", &small, |mut out| {
            out.row_mut(2).fill(1.0);
            Ok(())
        })
        .unwrap();
        assert_eq!(large.sum_all().unwrap().to_scalar::<f32>().unwrap(), 16.0);
        let larger = shared(&large, (5, 5, 6), DType::F32).unwrap();
        assert_eq!(larger.sum_all().unwrap().to_scalar::<f32>().unwrap(), 0.0);
        let halves = shared(&large, (3, 2, 8), DType::F16).unwrap();
        assert_eq!(
            (halves.dtype(), halves.dims()),
            (DType::F16, &[3, 2, 8][..])
        );
    }
}
