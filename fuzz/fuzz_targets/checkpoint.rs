//! Any bytes as a checkpoint, of a file or of the two files of an ncnn folder: an error or tensors,
//! never a panic and never more memory than the limits allow.
//!
//! ```sh
//! cargo install cargo-fuzz
//! cargo +nightly fuzz run checkpoint fuzz/corpus/checkpoint tests/data/checkpoints
//! ```

#![no_main]

use gstvideointerpolate::network::checkpoint::Checkpoint;
use gstvideointerpolate::network::published::Published;
use libfuzzer_sys::fuzz_target;

/// Stands between a `.param` and a `.bin`.
const BETWEEN: &[u8] = b"\0.bin\0";

fuzz_target!(|bytes: &[u8]| {
    let split = bytes.windows(BETWEEN.len()).position(|w| w == BETWEEN);
    let checkpoint = match split {
        Some(at) => {
            let param = String::from_utf8_lossy(&bytes[..at]);
            Checkpoint::parse_ncnn("fuzz", &param, &bytes[at + BETWEEN.len()..])
        }
        None => Checkpoint::parse("fuzz", bytes),
    };
    if let Ok(checkpoint) = checkpoint {
        let _ = Published::load(&checkpoint, None);
    }
});
