//! The property `stats`, and the message about a change of `quality=auto`.

use super::properties::Settings;
use super::state::Counters;
use super::tiers::{Change, Reason};
use crate::kernels::cpu_level;
use crate::network::Variant;

/// `window`: inputs that tell of an output. `network`: family and version of what was loaded, nothing while it is not
/// there; the size of the built-in one; what it runs on.
pub fn structure(
    counters: &Counters,
    settings: &Settings,
    window: u64,
    (network, variant, device): (Option<String>, Option<Variant>, String),
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
        .field("reestimated", counters.reestimated)
        .field("degraded", counters.degraded)
        .field("late", counters.late)
        .field("mean-inference-time", ns(counters.inference_mean()))
        .field("worst-inference-time", ns(counters.inference_worst))
        .field("window", window)
        .field("device", device)
        .field("model", &settings.model)
        .field("network", network)
        .field("quality", variant.map(Variant::name))
        .field("tier", cpu_level().ok().map(|level| level.name()))
        .build()
}

/// What the application is told of a change, see the element's documentation.
pub fn quality(change: &Change) -> gst::Structure {
    let reason = match change.reason {
        Reason::Measured => "measured",
        Reason::Late => "late",
    };
    gst::Structure::builder("videointerpolate-quality")
        .field("previous", change.from.name())
        .field("quality", change.to.name())
        .field("reason", reason)
        .field("load", change.load)
        .build()
}
