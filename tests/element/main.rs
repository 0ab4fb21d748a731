//! The element as a pipeline meets it. The number of a promise is that of its line in the list of
//! promises that the element keeps.

mod allocation;
#[path = "../common/checkpoints.rs"]
mod checkpoints;
mod coherence;
#[path = "../../examples/common/discs.rs"]
mod discs;
mod disorder;
mod duplicates;
mod errors;
#[path = "../../examples/common/frame.rs"]
#[allow(dead_code, reason = "its tests need no colours")]
mod frame;
mod keyframes;
mod latency;
mod mask_attach;
mod metas;
mod negotiation;
mod networks;
mod prediction;
mod qos;
mod quality;
mod retiming;
mod segments;
mod show;
mod states;
mod stream;
mod support;
mod timing;
mod trajectory;
mod videorate;
