//! The property `stats`.

use super::properties::Settings;
use super::state::Counters;
use crate::kernels::cpu_level;

/// `network`: family and version of what was loaded, nothing while it is not there.
pub fn structure(
    counters: &Counters,
    settings: &Settings,
    network: Option<String>,
) -> gst::Structure {
    let ns = |d: std::time::Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
    gst::Structure::builder("videointerpolate-stats")
        .field("in", counters.input)
        .field("out", counters.output)
        .field("interpolated", counters.interpolated)
        .field("duplicate", counters.duplicate)
        .field("drop", counters.dropped())
        .field("cuts", counters.cuts)
        .field("repeats", counters.repeats)
        .field("degraded", counters.degraded)
        .field("late", counters.late)
        .field("mean-inference-time", ns(counters.inference_mean()))
        .field("worst-inference-time", ns(counters.inference_worst))
        .field("device", "cpu")
        .field("model", &settings.model)
        .field("network", network)
        .field("tier", cpu_level().name())
        .build()
}
