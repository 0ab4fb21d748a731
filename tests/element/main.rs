//! The element as a pipeline meets it. The number of a promise is that of its line in the list of
//! promises that the element keeps.

mod disorder;
mod negotiation;
mod segments;
mod stream;
mod support;
mod timing;
mod videorate;
