//! A line that tells how far a conversion is.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

const WIDTH: usize = 30;

/// On a terminal the line is rewritten; elsewhere a line a tenth is enough.
pub struct Bar {
    started: Instant,
    terminal: bool,
    tenth: u64,
}

impl Bar {
    pub fn new(started: Instant) -> Self {
        Self {
            started,
            terminal: std::io::stderr().is_terminal(),
            tenth: 0,
        }
    }

    /// `at` of `length` of the film is done, `frames` frames have been written.
    pub fn show(&mut self, at: Duration, length: Option<gst::ClockTime>, frames: u64) {
        let elapsed = self.started.elapsed().as_secs_f64().max(1e-3);
        let length = length.map_or(0.0, |time| time.nseconds() as f64 / 1e9);
        let done = match length > 0.0 {
            true => (at.as_secs_f64() / length).clamp(0.0, 1.0),
            false => 0.0,
        };
        let tenth = (done * 10.0) as u64;
        if !self.terminal && tenth <= self.tenth {
            return;
        }
        self.tenth = tenth;
        let filled = (done * WIDTH as f64) as usize;
        let line = format!(
            "[{}{}] {:3.0} %  {:.1} of {length:.1} s  {:.1} frames/s  {:.2}x",
            "#".repeat(filled),
            ".".repeat(WIDTH - filled),
            done * 100.0,
            at.as_secs_f64(),
            frames as f64 / elapsed,
            at.as_secs_f64() / elapsed,
        );
        match self.terminal {
            true => eprint!("\r\x1b[K{line}"),
            false => eprintln!("{line}"),
        }
        let _ = std::io::stderr().flush();
    }

    /// Clears the line.
    pub fn end(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}
