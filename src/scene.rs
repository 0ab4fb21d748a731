//! Scene cuts and repeated pictures.
