//! The hot loops, one folder per operation; the home of `unsafe`.
