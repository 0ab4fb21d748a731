//! Two pictures and a phase in, one picture out.
