//! The element as a pipeline meets it. The number of a promise is that of its line in the list of
//! promises that the element keeps.

mod allocation;
#[path = "../common/checkpoints.rs"]
mod checkpoints;
mod disorder;
mod duplicates;
mod errors;
mod latency;
mod metas;
mod negotiation;
mod networks;
mod prediction;
mod qos;
mod quality;
mod segments;
mod show;
mod states;
mod stream;
mod support;
mod timing;
mod trajectory;
mod videorate;
