//! What the examples do the same way on a command line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Files of a folder that are taken for clips.
pub const KINDS: [&str; 7] = ["mp4", "mkv", "webm", "mov", "avi", "ts", "y4m"];

/// There are files that GStreamer stops in without a word.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// What is said of one.
pub const STUCK: &str = "nothing came for a minute: GStreamer cannot read it to its end; convert it first, as with ffmpeg";

/// Runs a program; an error is a line, and the exit code says so.
pub fn exit_code(run: impl FnOnce() -> Result<(), String>) -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The clips of a folder in the order of their names; a file is itself.
///
/// # Errors
/// The path cannot be read, or is a folder without a clip; it is named.
pub fn clips(path: &Path) -> Result<Vec<PathBuf>, String> {
    let fail = |error: std::io::Error| format!("{}: {error}", path.display());
    if !path.metadata().map_err(fail)?.is_dir() {
        return Ok(vec![path.into()]);
    }
    let is_clip = |path: &PathBuf| {
        let kind = path.extension();
        KINDS.iter().any(|k| kind == Some(k.as_ref()))
    };
    let entries = std::fs::read_dir(path).map_err(fail)?;
    let mut clips: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(is_clip)
        .collect();
    clips.sort();
    match clips.is_empty() {
        true => Err(format!(
            "{}: no clip in this folder ({})",
            path.display(),
            KINDS.join(", ")
        )),
        false => Ok(clips),
    }
}

/// CPU time of all threads so far, in hundredths of a second.
///
/// # Errors
/// `/proc/self/stat` cannot be read, or says something else.
pub fn cpu() -> Result<Duration, String> {
    let stat = std::fs::read_to_string("/proc/self/stat").map_err(|e| e.to_string())?;
    // behind the program's name: state is the first, user and system time are the 12th and 13th
    let numbers = stat.rsplit(')').next().unwrap_or_default();
    let ticks = numbers.split_whitespace().skip(11).take(2);
    let ticks = ticks.map(|t| {
        t.parse::<u64>()
            .map_err(|e| format!("/proc/self/stat: {e}"))
    });
    Ok(Duration::from_millis(10 * ticks.sum::<Result<u64, _>>()?))
}

/// The end of a run over several clips: an error if some could not be measured, a line for each.
pub fn outcome(failures: &[String]) -> Result<(), String> {
    match failures.is_empty() {
        true => Ok(()),
        false => Err(failures.join("\n")),
    }
}
