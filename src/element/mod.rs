//! All that knows GStreamer.
