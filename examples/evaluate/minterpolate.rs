//! The same frames made by ffmpeg's filter `minterpolate` with its defaults.
//!
//! Only the kept frames go in, as raw video at a constant rate, and the filter makes its output at
//! `step` times that rate: output `n * step` is kept frame `n`, bit for bit, and those between are
//! compared. The filter makes nothing for the last gap of its input; so the last kept frame goes in
//! twice.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use crate::common::decode;
use crate::common::frame::Frame;

/// Frames a second of what goes in; no figure depends on it.
const RATE: usize = 25;
/// What to do about any failure.
const REMEDY: &str = "--no-minterpolate leaves it out";

/// Whether there is a program to run.
pub fn is_there() -> bool {
    let mut command = Command::new("ffmpeg");
    let command = command.arg("-version").stdout(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The filter at work on one clip; it reads the clip itself.
pub struct Minterpolate {
    child: Child,
    output: ChildStdout,
    feeder: Option<JoinHandle<()>>,
    step: usize,
}

impl Minterpolate {
    /// # Errors
    /// The program cannot be started.
    pub fn start(
        clip: &Path,
        step: usize,
        (width, height): (usize, usize),
    ) -> Result<Self, String> {
        let raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p"];
        let mut child = Command::new("ffmpeg")
            .args(["-v", "error"])
            .args(raw)
            .args(["-video_size", &format!("{width}x{height}")])
            .args(["-framerate", &RATE.to_string(), "-i", "pipe:0"])
            .args(["-vf", &format!("minterpolate=fps={}", RATE * step)])
            .args(raw)
            .arg("pipe:1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("ffmpeg: {error}; {REMEDY}"))?;
        let pipes = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = pipes else {
            return Err(format!("ffmpeg: no pipes to it; {REMEDY}"));
        };
        let clip = clip.to_owned();
        let feeder = std::thread::spawn(move || feed(&clip, step, input));
        Ok(Self {
            child,
            output,
            feeder: Some(feeder),
            step,
        })
    }

    /// The frames made for the next gap, the one behind `left`.
    ///
    /// # Errors
    /// The filter ended, or does not answer with the kept frame at its time.
    pub fn gap(&mut self, left: &Frame) -> Result<Vec<Frame>, String> {
        let mut frames = Vec::with_capacity(self.step);
        for _ in 0..self.step {
            let mut frame = Frame::new(left.width, left.height);
            let read = self.output.read_exact(&mut frame.data);
            read.map_err(|_| self.complaint())?;
            frames.push(frame);
        }
        let kept = frames.remove(0);
        match kept == *left {
            true => Ok(frames),
            false => Err(format!(
                "minterpolate is out of step with the clip; {REMEDY}"
            )),
        }
    }

    /// What the program said first before it ended: the rest follows from it.
    fn complaint(&mut self) -> String {
        let _ = self.child.kill();
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut said);
        }
        let first = said.lines().next().unwrap_or("it ended early");
        format!("ffmpeg's minterpolate: {first}; {REMEDY}")
    }
}

impl Drop for Minterpolate {
    fn drop(&mut self) {
        // it may still have frames to give that nobody asks for
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(feeder) = self.feeder.take() {
            let _ = feeder.join();
        }
    }
}

/// Writes the kept frames, the last one twice. A pipe that closes ends it: whoever reads the other
/// end of the program tells why.
fn feed(clip: &Path, step: usize, mut input: ChildStdin) {
    let mut count = 0;
    let mut last: Option<Frame> = None;
    let _ = decode::for_each(clip, |frame, _| {
        let is_kept = count % step == 0;
        count += 1;
        if !is_kept {
            return true;
        }
        let written = input.write_all(&frame.data);
        last = Some(frame);
        written.is_ok()
    });
    if let Some(last) = last {
        let _ = input.write_all(&last.data);
    }
}
