//! One clip: every method's frames between the kept ones, against the true ones.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use gstvideointerpolate::error::Error;
use gstvideointerpolate::interpolator::{Coherence, Encoded, Findings, Outcome, predicted_error};
use gstvideointerpolate::network::Network;
use gstvideointerpolate::show::Map;

use crate::coherence::Failures;
use crate::common::decode;
use crate::common::frame::Frame;
use crate::common::middle::Middle;
use crate::common::told::Told;
use crate::minterpolate::Minterpolate;
use crate::options::{Options, stem};
use crate::reliability::{Planes, Reliability};
use crate::scores::{self, Scores};
use crate::uneven::{self, Group, unevenness};
use crate::worst::{Scene, Worst};

/// What makes frames; the last one may be missing.
pub const METHODS: [&str; 4] = ["model", "blend", "repeat", "minterpolate"];

/// One clip's figures.
pub struct Report {
    pub name: String,
    /// By method, as [`METHODS`]; without frames where a method was not run.
    pub scores: [Scores; METHODS.len()],
    /// How uneven the true motion of each frame is, pixels; empty unless that is asked for.
    pub uneven: Vec<f64>,
    /// Frames that were not made from motion.
    pub cuts: usize,
    /// Time that the model took.
    pub seconds: f64,
}

/// What is counted over all clips.
#[derive(Default)]
pub struct Tables {
    pub cells: Reliability,
    pub failures: Failures,
}

/// Measures a clip; writes the sheet of its worst frames and adds to the `tables` that are wanted.
///
/// # Errors
/// The clip cannot be read, is too short or changes its size; a method fails. The clip is named.
pub fn clip(path: &Path, options: &Options, tables: &mut Tables) -> Result<Report, String> {
    let named = |error: String| format!("{}: {error}", path.display());
    let mut run: Option<Run> = None;
    let mut failure = None;
    decode::for_each(path, |frame, description| {
        let result = match &mut run {
            Some(run) => run.take(frame, tables),
            None => Run::new(path, options, frame, description.matrix).map(|new| run = Some(new)),
        };
        failure = result.err();
        failure.is_none()
    })?;
    if let Some(error) = failure {
        return Err(named(error));
    }
    if let Some(run) = &mut run {
        run.finish(tables).map_err(named)?;
    }
    let run = run.filter(|run| !run.report.scores[0].frames.is_empty());
    let run = run.ok_or_else(|| named(format!("fewer than {} frames", options.step + 1)))?;
    if let Some(folder) = &options.sheets {
        let file = folder.join(format!("{}.png", run.report.name));
        run.worst.sheet().save(&file)?;
    }
    Ok(run.report)
}

/// The frames of all clips, by how even their true motion is.
pub fn groups(reports: &[Report]) -> [Group; 2] {
    let of = |report: &Report, i: usize| {
        let nothing = scores::mean(&[]);
        let scores = report.scores.iter();
        let scores = scores.map(|s| s.frames.get(i).copied().unwrap_or(nothing));
        (report.uneven[i], scores.collect())
    };
    let frames = reports
        .iter()
        .flat_map(|report| (0..report.uneven.len()).map(move |i| of(report, i)));
    uneven::groups(frames.collect())
}

/// A kept frame.
type Kept = (Frame, Arc<Encoded>);

/// What lies between two kept frames.
struct Gap {
    truths: Vec<Frame>,
    right: Kept,
}

/// A clip being measured.
struct Run<'a> {
    options: &'a Options,
    engine: Middle,
    minterpolate: Option<Minterpolate>,
    /// The last kept frame, and its number in the clip.
    left: Kept,
    number: usize,
    /// The kept frame before it, where frames are predicted.
    before: Option<Kept>,
    /// The gap after it, which waits for what comes after that.
    gap: Option<Gap>,
    /// The frames since.
    truths: Vec<Frame>,
    worst: Worst,
    told: Option<Told>,
    report: Report,
}

impl<'a> Run<'a> {
    fn new(
        path: &Path,
        options: &'a Options,
        first: Frame,
        matrix: (f32, f32),
    ) -> Result<Self, String> {
        let size = (first.width, first.height);
        let text = |error: Error| error.to_string();
        let model = options.network().map_err(text)?;
        let mut engine = Middle::new(model, size, options.threads, options.scale).map_err(text)?;
        let start = || Minterpolate::start(path, options.step, size);
        engine.set_motion(options.motion);
        let told = || Told::new(Network::embedded()?, size, options.threads);
        let told = options.uneven.then(told).transpose().map_err(text)?;
        if options.coherence {
            engine.set_coherence(Coherence::Auto);
        }
        let encoded = engine.encode(&first).map_err(|error| error.to_string())?;
        Ok(Self {
            options,
            engine,
            minterpolate: options.minterpolate.then(start).transpose()?,
            left: (first, encoded),
            number: 0,
            before: None,
            gap: None,
            truths: Vec::new(),
            worst: Worst::new(size, matrix),
            told,
            report: Report {
                name: stem(path),
                scores: Default::default(),
                uneven: Vec::new(),
                cuts: 0,
                seconds: 0.0,
            },
        })
    }

    /// Takes the next frame of the clip.
    fn take(&mut self, frame: Frame, tables: &mut Tables) -> Result<(), String> {
        let left = &self.left.0;
        if (frame.width, frame.height) != (left.width, left.height) {
            return Err("its size changes".into());
        }
        self.truths.push(frame);
        if self.truths.len() < self.options.step {
            return Ok(());
        }
        let right = self.truths.pop().ok_or("a gap without an end")?;
        let began = Instant::now();
        let encoded = self.engine.encode(&right);
        let encoded = encoded.map_err(|error| error.to_string())?;
        self.report.seconds += began.elapsed().as_secs_f64();
        let right = (right, encoded);
        let truths = std::mem::take(&mut self.truths);
        if let Some(gap) = self.gap.take() {
            self.fill(gap, Some(&right), tables)?;
        }
        self.gap = Some(Gap { truths, right });
        Ok(())
    }

    /// Fills the last gap.
    fn finish(&mut self, tables: &mut Tables) -> Result<(), String> {
        let gap = self.gap.take();
        gap.map_or(Ok(()), |gap| self.fill(gap, None, tables))
    }

    /// Makes and compares all frames of a gap.
    fn fill(
        &mut self,
        Gap { truths, right }: Gap,
        after: Option<&Kept>,
        tables: &mut Tables,
    ) -> Result<(), String> {
        let (left, rival) = (&self.left, &mut self.minterpolate);
        let theirs = rival.as_mut().map(|m| m.gap(&left.0)).transpose()?;
        let after = after.map(|(frame, encoded)| (frame, &**encoded));
        for (i, truth) in truths.iter().enumerate() {
            let phase = (i + 1) as f32 / self.options.step as f32;
            let began = Instant::now();
            let sides = ((&left.0, &*left.1), (&right.0, &*right.1));
            let made = match (&self.before, self.options.predict) {
                (None, true) => continue,
                (Some((frame, encoded)), true) => {
                    self.engine.beyond((frame, encoded), sides.0, phase)
                }
                (_, false) => self.engine.at(sides.0, sides.1, after, phase),
            };
            let (made, outcome) = made.map_err(|error| error.to_string())?;
            self.report.seconds += began.elapsed().as_secs_f64();
            self.report.cuts += usize::from(outcome != Outcome::Interpolated);

            let blended = left.0.mix(&right.0, phase);
            let of_minterpolate = theirs.as_ref().map(|frames| &frames[i]);
            let methods = [Some(&made), Some(&blended), Some(&left.0), of_minterpolate];
            for (scores, frame) in self.report.scores.iter_mut().zip(methods) {
                if let Some(frame) = frame {
                    scores.add(frame, truth);
                }
            }
            if let Some(told) = &mut self.told {
                let ways = told.ways(truth, &left.0, &right.0);
                let ways = ways.map_err(|error| error.to_string())?;
                self.report.uneven.push(unevenness(&ways, phase));
            }
            let scene = Scene {
                number: self.number + i + 1,
                truth,
                made: &made,
                findings: self.engine.findings(),
            };
            if self.options.reliability {
                let nearer = if phase > 0.5 { &right.0 } else { &left.0 };
                add_cells(&mut tables.cells, &scene, nearer)?;
            }
            let psnr = self.report.scores[0].frames.last().map_or(0.0, |s| s.psnr);
            let motion = self.engine.motion_found();
            if let (Some(found), Some(motion)) = (self.engine.turbulence(), motion) {
                let added = tables
                    .failures
                    .add(psnr, found, motion, [&left.0, &right.0]);
                added.map_err(|error| error.to_string())?;
            }
            if self.options.sheets.is_some() {
                self.worst.add(psnr, &scene)?;
            }
        }
        let left = std::mem::replace(&mut self.left, right);
        self.before = self.options.predict.then_some(left);
        self.number += self.options.step;
        Ok(())
    }
}

/// Adds a frame that was made from motion to the table.
fn add_cells(table: &mut Reliability, scene: &Scene, nearer: &Frame) -> Result<(), String> {
    let (width, height) = (scene.truth.width, scene.truth.height);
    let Some(findings @ Findings::Motion { .. }) = &scene.findings else {
        return Ok(());
    };
    let map = Map::Confidence.colours(findings, width, height);
    let map = map.map_err(|error| error.to_string())?;
    let planes = Planes {
        made: scene.made.planes()[0],
        nearer: nearer.planes()[0],
        truth: scene.truth.planes()[0],
        width,
        height,
    };
    table.add(&planes, |x, y| predicted_error(map.at(x, y)[0]));
    Ok(())
}
