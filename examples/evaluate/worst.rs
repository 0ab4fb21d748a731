//! The worst frames of a clip, drawn beside each other.

use gstvideointerpolate::interpolator::Findings;
use gstvideointerpolate::show::{Cells, Map, Rgb};

use crate::common::frame::Frame;
use crate::common::sheet::{LINE, Sheet, text_width};

/// Frames a sheet.
const ROWS: usize = 4;
const HEADINGS: [&str; 5] = ["TRUTH", "MADE", "ERROR X4", "MOTION", "CONFIDENCE"];
/// Pixels that a picture is wide at most.
const WIDEST: usize = 480;
const GAP: usize = 8;
/// What the absolute error of luma is multiplied with.
const ERROR_GAIN: f32 = 4.0;

/// One made frame and what is known of it.
pub struct Scene<'a> {
    /// Of the frame in the clip, from 0.
    pub number: usize,
    pub truth: &'a Frame,
    pub made: &'a Frame,
    pub findings: Option<Findings<'a>>,
}

/// Pixels of a small picture, row after row.
type Panel = Vec<[u8; 3]>;

struct Row {
    psnr: f64,
    number: usize,
    panels: [Panel; HEADINGS.len()],
}

/// The worst frames so far, the worst one first, already small.
pub struct Worst {
    size: (usize, usize),
    matrix: (f32, f32),
    /// Pixels of the frame for one of the sheet, in both directions.
    scale: usize,
    rows: Vec<Row>,
}

impl Worst {
    /// For frames of this size; `matrix`: luma weights of red and blue.
    pub fn new(size: (usize, usize), matrix: (f32, f32)) -> Self {
        Self {
            size,
            matrix,
            scale: size.0.div_ceil(WIDEST).max(1),
            rows: Vec::new(),
        }
    }

    /// Keeps the frame if it is one of the worst.
    ///
    /// # Errors
    /// What was found is of another size.
    pub fn add(&mut self, psnr: f64, scene: &Scene) -> Result<(), String> {
        let at = self.rows.partition_point(|row| row.psnr <= psnr);
        if at >= ROWS {
            return Ok(());
        }
        let row = Row {
            psnr,
            number: scene.number,
            panels: self.panels(scene)?,
        };
        self.rows.insert(at, row);
        self.rows.truncate(ROWS);
        Ok(())
    }

    fn panels(&self, scene: &Scene) -> Result<[Panel; HEADINGS.len()], String> {
        let (width, height) = self.size;
        let map = |map: Map| -> Result<Option<Cells>, String> {
            let findings = scene.findings.as_ref();
            let cells = findings.map(|f| map.colours(f, width, height));
            cells.transpose().map_err(|error| error.to_string())
        };
        let (flow, confidence) = (map(Map::Flow)?, map(Map::Confidence)?);
        let at = |cells: &Option<Cells>, x, y| cells.as_ref().map_or([0.0; 3], |c| c.at(x, y));
        let (truth, made) = (scene.truth, scene.made);
        let picture =
            |frame: &Frame, x, y| frame.rgb(x, y, self.matrix).map(|c| f32::from(c) / 255.0);
        let error = |x, y| {
            let luma = |frame: &Frame| f32::from(frame.planes()[0][y * width + x]);
            [(luma(truth) - luma(made)).abs() * ERROR_GAIN / 255.0; 3]
        };
        Ok([
            self.panel(|x, y| picture(truth, x, y)),
            self.panel(|x, y| picture(made, x, y)),
            self.panel(error),
            self.panel(|x, y| at(&flow, x, y)),
            self.panel(|x, y| at(&confidence, x, y)),
        ])
    }

    /// A small picture, each pixel the mean of those it stands for.
    fn panel(&self, colour: impl Fn(usize, usize) -> Rgb) -> Panel {
        let (width, height) = self.panel_size();
        let side = self.scale;
        let pixel = |x: usize, y: usize| {
            let mut sum = [0.0; 3];
            for (dy, dx) in (0..side).flat_map(|dy| (0..side).map(move |dx| (dy, dx))) {
                let of = colour(x * side + dx, y * side + dy);
                (0..3).for_each(|i| sum[i] += of[i]);
            }
            sum.map(|c| (c / (side * side) as f32 * 255.0 + 0.5).clamp(0.0, 255.0) as u8)
        };
        (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .map(|(x, y)| pixel(x, y))
            .collect()
    }

    /// Whole pixels only; at least one.
    fn panel_size(&self) -> (usize, usize) {
        let (width, height) = self.size;
        ((width / self.scale).max(1), (height / self.scale).max(1))
    }

    /// The worst frame on top; a row for each.
    pub fn sheet(&self) -> Sheet {
        let (width, height) = self.panel_size();
        let widest = HEADINGS.iter().map(|h| text_width(h)).max().unwrap_or(0);
        let column = width.max(widest) + GAP;
        let row = height + LINE + 2 * GAP;
        let top = LINE + 3 * GAP;
        let mut sheet = Sheet::new(GAP + HEADINGS.len() * column, top + self.rows.len() * row);
        for (i, heading) in HEADINGS.iter().enumerate() {
            sheet.write(heading, GAP + i * column, GAP);
        }
        for (n, of) in self.rows.iter().enumerate() {
            let y = top + n * row;
            let text = format!("FRAME {}: {:.2} DB", of.number, of.psnr);
            sheet.write(&text, GAP, y);
            for (i, panel) in of.panels.iter().enumerate() {
                let corner = (GAP + i * column, y + LINE + GAP / 2);
                for (p, rgb) in panel.iter().enumerate() {
                    sheet.put(corner.0 + p % width, corner.1 + p / width, *rgb);
                }
            }
        }
        sheet
    }
}
