//! What the examples, the benches and some tests share: pictures in memory, a clip that
//! is drawn rather than filmed, and reading any file that GStreamer can decode.

#![allow(dead_code, reason = "each program uses its part")]

pub mod clip;
#[cfg(feature = "plugin")]
pub mod decode;
pub mod discs;
pub mod font;
pub mod frame;
pub mod metrics;
pub mod middle;
pub mod program;
pub mod rhythm;
pub mod sheet;
pub mod told;
