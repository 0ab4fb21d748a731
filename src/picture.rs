//! Planes, strides, format, depth, colour description of a borrowed picture.
