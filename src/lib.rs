//! `videointerpolate`: raises the frame rate of video.
//!
//! Dependencies point one way:
//!
//! ```text
//! element  ->  schedule                                          (std)
//! element  ->  interpolator  ->  network  ->  kernels            (candle)
//!                  |-------->  scene  ->  picture                (std)
//! element  ->  show  ->  interpolator, picture
//! element  ->  keyframes  ->  network, kernels, picture
//! element  ->  repeats  ->  picture                              (std)
//! element  ->  curves                                            (std)
//! ```
//!
//! Time and pixels do not meet until the element: [`schedule`] has never seen a
//! pixel, everything under [`interpolator`] knows only a phase between 0 and 1.

pub mod curves;
pub mod error;
pub mod interpolator;
pub mod kernels;
pub mod keyframes;
pub mod network;
pub mod picture;
pub mod repeats;
pub mod scene;
pub mod schedule;
pub mod show;
pub mod trajectory;

#[cfg(feature = "plugin")]
pub mod element;

#[cfg(feature = "plugin")]
fn plugin_init(plugin: &gst::Plugin) -> Result<(), gst::glib::BoolError> {
    element::register(Some(plugin))
}

#[cfg(feature = "plugin")]
gst::plugin_define!(
    videointerpolate,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    "MPL-2.0",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("BUILD_REL_DATE")
);
