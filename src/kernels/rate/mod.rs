//! How much a card multiplies and adds of itself, for benches: what a network takes is compared with that. Nothing runs on the CPU.

#[cfg(feature = "cuda")]
use candle_core::Tensor;

use super::Precision;
use super::cuda::{DeviceRaster, Half, Launch};
#[cfg(feature = "cuda")]
use super::device::Gpu;

/// Threads of a block, as in `cuda.cu`.
pub const THREADS: usize = 256;
/// Blocks that a multiprocessor has room for at once, as in `cuda.cu`.
pub const BLOCKS: usize = 4;
/// Products that a thread makes in a round: a 32nd of 8 matrices of 16 x 8, each the sum of 16 products, and 16 of its own.
const OF_MATRICES: usize = 8 * 16 * 8 * 16 / 32;
const FUSED: usize = 16;

/// The run of so many `rounds`, by as many blocks as `out`, `[blocks, THREADS, 1]`, has rows; with [`Precision::Half`] on tensor cores.
/// Each thread writes how many products it has made, exact up to 2^24.
///
/// # Errors
/// `out` has another width, or more than one channel.
fn launch(products: Precision, rounds: u32, out: &DeviceRaster) -> candle_core::Result<Launch> {
    out.expect("rates", (out.height, THREADS), 1)?;
    let one = u32::from(Half::ONE.to_bits());
    let (function, factor, count) = match products {
        Precision::Half => ("rate_matrix", one << 16 | one, OF_MATRICES),
        Precision::Single => ("rate_fused", 1f32.to_bits(), FUSED),
    };
    let mut launch = Launch::new("rate", function);
    (launch.grid, launch.block) = ([out.height as u32, 1, 1], [THREADS as u32, 1, 1]);
    launch.flop = 2 * (count * THREADS * out.height) as u64 * u64::from(rounds);
    Ok(launch.with(factor as i32).with(rounds as i32).raster(out))
}

/// Queues products and sums of so many `rounds` on a card, by as many blocks as `out`, `[blocks, THREADS, 1]`, has rows; with
/// [`Precision::Half`] of 16 bits on tensor cores. How many they are the card counts ([`super::device::Counts::flop`]), and each thread writes
/// how many products it has made, exact up to 2^24.
///
/// # Errors
/// `out` is no such tensor on this card, or the card fails.
#[cfg(feature = "cuda")]
pub fn run(gpu: &Gpu, products: Precision, rounds: u32, out: &Tensor) -> candle_core::Result<()> {
    let launch = launch(products, rounds, &gpu.raster(out)?)?;
    // SAFETY: these are the arguments of the kernel, made of a tensor on this card.
    unsafe { gpu.run(launch) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cuda::emulation;
    use crate::kernels::testing::{Out, zeros};

    #[test]
    fn as_many_products_are_made_as_are_said() {
        for (products, a_round) in [(Precision::Half, 512), (Precision::Single, 16)] {
            for (blocks, rounds) in [(1, 0), (1, 1), (3, 2), (1, 11)] {
                let out = Out::new((blocks, THREADS), 1);
                let run = launch(products, rounds, &emulation::output(&out.tensor())).unwrap();
                let said = run.flop;
                emulation::run([run]);
                let made = out.values();
                let of_each = made.iter().all(|n| *n == (a_round * rounds) as f32);
                assert!(of_each, "{products:?} {blocks} {rounds}");
                let all: f64 = made.iter().map(|n| f64::from(*n)).sum();
                assert_eq!(2.0 * all, said as f64, "{products:?} {blocks} {rounds}");
            }
        }
        let other = zeros(&[2, THREADS - 1, 1]);
        assert!(launch(Precision::Half, 1, &emulation::output(&other)).is_err());
    }
}
