//! Every promise about time, with plain integers for frames.
