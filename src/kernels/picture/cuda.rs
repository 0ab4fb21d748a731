//! The launches of `cuda.cu`.

use crate::kernels::cuda::{DeviceRaster, Launch};

/// As [`super::copy`].
///
/// # Errors
/// The shapes differ.
pub fn copy(picture: &DeviceRaster, out: &DeviceRaster) -> candle_core::Result<Launch> {
    out.expect("a picture", picture.size(), picture.channels)?;
    Ok(Launch::new("picture", "copy")
        .pixels((out.height, out.width * out.channels))
        .raster(picture)
        .raster(out))
}
