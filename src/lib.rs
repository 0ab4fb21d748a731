//! `videointerpolate`: raises the frame rate of video.
//!
//! Dependencies point one way:
//!
//! ```text
//! element  ->  schedule                                          (std)
//! element  ->  interpolator  ->  network  ->  kernels            (candle)
//!                  |-------->  scene  ->  picture                (std)
//! ```
//!
//! Time and pixels do not meet until the element: [`schedule`] has never seen a
//! pixel, everything under [`interpolator`] knows only a phase between 0 and 1.

pub mod error;
pub mod interpolator;
pub mod kernels;
pub mod network;
pub mod picture;
pub mod scene;
pub mod schedule;

#[cfg(feature = "plugin")]
pub mod element;
