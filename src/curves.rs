//! How far each object of a picture has come between two frames: by label, a curve of distance over time.
//!
//! A curve goes from 0 (the left frame, at time 0) to 1 (the right one, at time 1) through knots. It is written as text:
//!
//! ```text
//! curves = entry { ";" entry }
//! entry  = LABEL ":" ( "hold" | [ "linear" | "cubic" ] KNOT { KNOT } [ "over" SECONDS ".." SECONDS ] )
//! KNOT   = TIME "," DISTANCE
//! ```
//!
//! as in `1: cubic 0.5,0.15; 2: hold`. The ends of a curve need no knots. Between knots it is straight, or a cubic that
//! is monotone wherever the knots are (Fritsch and Butland, 1984; ends as in Moler, "Numerical Computing with
//! MATLAB", 3.6), so it never leaves 0 to 1. A curve may fall: its object goes back.
//!
//! With `over` the time is running time. Frames of the input stay what they are, so between two of them an object goes the
//! part of its way there that the curve has between their times; this curve may not fall.

use std::ops::Range;

use thiserror::Error;

/// Nanoseconds of a second.
const SECOND: f64 = 1e9;
/// Of the way that even motion has between two frames, what a curve over a span must have there to tell anything.
const LEAST_SHARE: f64 = 1e-3;

/// Which label moves how; the order of the text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Curves(Vec<(u8, Course)>);

/// What becomes of one label.
#[derive(Debug, Clone, PartialEq)]
enum Course {
    /// It is taken from the nearer frame as it is.
    Hold,
    Move(Curve),
}

/// An output between two frames.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// 0 (left frame) to 1 (right frame).
    pub phase: f32,
    /// Running times of the left frame and the right one, nanoseconds; the right one's may be the smaller, as in reverse
    /// playback.
    pub running: Option<[i64; 2]>,
}

/// Why a text is no curves.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    /// An entry without its label.
    #[error("curves: {0:?} has no label; write LABEL: TIME,DISTANCE ... or LABEL: hold")]
    NoLabel(String),
    /// What stands before the colon.
    #[error(
        "curves: {0:?} is no label; a label is a whole number from 0 to 255, as the mask has it"
    )]
    Label(String),
    /// What is wrong with the entry of a label, and what to write instead.
    #[error("curves, label {label}: {problem}")]
    Entry { label: u8, problem: String },
}

impl Curves {
    /// Reads the text; an empty one has no curves.
    ///
    /// # Errors
    /// As [`Problem`] says; the label is named.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let mut curves: Vec<(u8, Course)> = Vec::new();
        for entry in text.split(';').map(str::trim).filter(|e| !e.is_empty()) {
            let (label, course) = entry
                .split_once(':')
                .ok_or_else(|| Problem::NoLabel(entry.into()))?;
            let label = label.trim();
            let label: u8 = label.parse().map_err(|_| Problem::Label(label.into()))?;
            let problem = |problem| Problem::Entry { label, problem };
            if curves.iter().any(|(known, _)| *known == label) {
                return Err(problem("has two entries; write one".into()));
            }
            curves.push((label, Course::parse(course).map_err(problem)?));
        }
        Ok(Self(curves))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The distance, 0 to 1, of every label that has a curve.
    pub fn distances(&self, moment: &Moment) -> Vec<(u8, f32)> {
        let curves = self.0.iter().filter_map(|(label, course)| match course {
            Course::Move(curve) => Some((*label, curve.distance(moment))),
            Course::Hold => None,
        });
        curves.collect()
    }

    /// The labels that are held.
    pub fn held(&self) -> Vec<u8> {
        let held = self.0.iter().filter(|(_, course)| *course == Course::Hold);
        held.map(|(label, _)| *label).collect()
    }
}

impl Course {
    fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            ["hold"] => Ok(Self::Hold),
            ["hold", ..] => Err("hold stands alone; leave out what follows it".into()),
            _ => Curve::parse(&words).map(Self::Move),
        }
    }
}

/// Distance over time.
#[derive(Debug, Clone, PartialEq)]
struct Curve {
    /// Time and distance; the first is 0, 0 and the last 1, 1.
    knots: Vec<[f64; 2]>,
    /// Of a cubic, the slope at each knot.
    slopes: Option<Vec<f64>>,
    /// Running time, seconds.
    span: Option<Range<f64>>,
}

impl Curve {
    fn parse(words: &[&str]) -> Result<Self, String> {
        let (words, span) = match words {
            [knots @ .., "over", span] => (knots, Some(span_of(span)?)),
            words => (words, None),
        };
        let (cubic, words) = match words {
            ["cubic", knots @ ..] => (true, knots),
            ["linear", knots @ ..] => (false, knots),
            words => (false, words),
        };
        let knots = words.iter().map(|word| knot(word));
        let knots = with_ends(knots.collect::<Result<_, _>>()?)?;
        if let Some(fall) = knots
            .windows(2)
            .find(|k| span.is_some() && k[1][1] < k[0][1])
        {
            return Err(format!(
                "over a span the distance must not fall, as it does to {} at {}; let it rise, or leave out over",
                fall[1][1], fall[1][0]
            ));
        }
        Ok(Self {
            slopes: cubic.then(|| slopes(&knots)),
            knots,
            span,
        })
    }

    /// Distance at a time, both 0 to 1.
    fn at(&self, time: f64) -> f64 {
        let time = time.clamp(0.0, 1.0);
        let behind = self.knots.partition_point(|k| k[0] <= time);
        let i = behind.clamp(1, self.knots.len() - 1) - 1;
        let ([x, a], [next, b]) = (self.knots[i], self.knots[i + 1]);
        let (width, t) = (next - x, (time - x) / (next - x));
        let distance = match &self.slopes {
            None => a + t * (b - a),
            Some(slopes) => {
                let (u, v) = (width * slopes[i], width * slopes[i + 1]);
                let (c, d) = (3.0 * (b - a) - 2.0 * u - v, u + v - 2.0 * (b - a));
                a + t * (u + t * (c + t * d))
            }
        };
        distance.clamp(0.0, 1.0)
    }

    fn distance(&self, moment: &Moment) -> f32 {
        let phase = f64::from(moment.phase);
        let Some(span) = &self.span else {
            return self.at(phase) as f32;
        };
        let Some(running) = moment.running else {
            return moment.phase;
        };
        // where an object that moves as time goes by would be at the curve's time
        let place = |seconds: f64| {
            let length = span.end - span.start;
            match span.contains(&seconds) {
                true => span.start + length * self.at((seconds - span.start) / length),
                false => seconds,
            }
        };
        let [start, end] = running.map(|ns| ns as f64 / SECOND);
        let even = end - start;
        let [left, at, right] = [start, start + phase * even, end].map(place);
        if ((right - left) / even).is_nan() || (right - left) / even < LEAST_SHARE {
            return moment.phase;
        }
        ((at - left) / (right - left)).clamp(0.0, 1.0) as f32
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|n: &f64| n.is_finite())
}

fn knot(word: &str) -> Result<[f64; 2], String> {
    let knot = word.split_once(',');
    let knot = knot.and_then(|(time, distance)| Some([number(time)?, number(distance)?]));
    let [time, distance] = knot.ok_or_else(|| {
        format!("{word:?} is no knot; write TIME,DISTANCE as in 0.5,0.2, with nothing between")
    })?;
    if !(0.0..=1.0).contains(&time) {
        return Err(format!(
            "the time {time} of a knot is not between 0 (left frame) and 1 (right frame)"
        ));
    }
    if !(0.0..=1.0).contains(&distance) {
        return Err(format!(
            "the distance {distance} at {time} is not between 0 (left frame) and 1 (right frame); there is no picture beyond them"
        ));
    }
    Ok([time, distance])
}

/// The knots between the ends, with the ends.
fn with_ends(mut knots: Vec<[f64; 2]>) -> Result<Vec<[f64; 2]>, String> {
    if knots.is_empty() {
        return Err("has no knots; write TIME,DISTANCE ... or hold".into());
    }
    for end in [0.0, 1.0] {
        let wrong = knots.iter().find(|k| k[0] == end && k[1] != end);
        if let Some([time, distance]) = wrong {
            return Err(format!(
                "the distance at {time} is {time}, not {distance}, for frames of the input are shown as they are; leave that knot out"
            ));
        }
    }
    if knots[0][0] != 0.0 {
        knots.insert(0, [0.0, 0.0]);
    }
    if knots[knots.len() - 1][0] != 1.0 {
        knots.push([1.0, 1.0]);
    }
    match knots.windows(2).find(|k| k[1][0] <= k[0][0]) {
        Some(k) => Err(format!(
            "the time {} does not come after {}; write the knots in the order of their times, one a time",
            k[1][0], k[0][0]
        )),
        None => Ok(knots),
    }
}

fn span_of(text: &str) -> Result<Range<f64>, String> {
    let ends = text.split_once("..");
    let ends = ends.and_then(|(start, end)| Some(number(start)?..number(end)?));
    ends.filter(|span| 0.0 <= span.start && span.start < span.end)
        .ok_or_else(|| {
            format!("{text:?} is no span; write over START..END in seconds of running time, as in over 2..5.5")
        })
}

/// Slopes of a cubic that is monotone where its knots are: weighted harmonic means of the slopes beside a knot.
fn slopes(knots: &[[f64; 2]]) -> Vec<f64> {
    let widths: Vec<f64> = knots.windows(2).map(|k| k[1][0] - k[0][0]).collect();
    let rise = |i: usize| (knots[i + 1][1] - knots[i][1]) / widths[i];
    let last = widths.len() - 1;
    let inner = |i: usize| {
        let (before, behind) = (rise(i - 1), rise(i));
        if before * behind <= 0.0 {
            return 0.0;
        }
        let (a, b) = (
            2.0 * widths[i] + widths[i - 1],
            widths[i] + 2.0 * widths[i - 1],
        );
        (a + b) / (a / before + b / behind)
    };
    // a parabola's slope at the end, cut where the curve would turn
    let end = |near: usize, far: usize| {
        let (h, k) = (widths[near], widths[far]);
        let (own, next) = (rise(near), rise(far));
        let slope = ((2.0 * h + k) * own - h * next) / (h + k);
        if slope * own <= 0.0 {
            0.0
        } else if own * next < 0.0 && slope.abs() > 3.0 * own.abs() {
            3.0 * own
        } else {
            slope
        }
    };
    if last == 0 {
        return vec![rise(0); 2];
    }
    let inner = (1..=last).map(inner);
    std::iter::once(end(0, 1))
        .chain(inner)
        .chain([end(last, last - 1)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(text: &str, phase: f32) -> f32 {
        let curves = Curves::parse(text).unwrap();
        let moment = Moment {
            phase,
            running: None,
        };
        curves.distances(&moment)[0].1
    }

    fn over(text: &str, milliseconds: [i64; 3]) -> f32 {
        let [left, at, right] = milliseconds.map(|ms| ms * 1_000_000);
        let moment = Moment {
            phase: (at - left) as f32 / (right - left) as f32,
            running: Some([left, right]),
        };
        Curves::parse(text).unwrap().distances(&moment)[0].1
    }

    #[test]
    fn straight_lines_go_from_knot_to_knot() {
        for (phase, wanted) in [(0.0, 0.0), (0.25, 0.1), (0.5, 0.2), (0.75, 0.6), (1.0, 1.0)] {
            for text in ["1: 0.5,0.2", " 1 :linear 0,0 0.5,0.2 1,1 ; "] {
                assert!(
                    (distance(text, phase) - wanted).abs() < 1e-6,
                    "{text} at {phase}"
                );
            }
        }
    }

    // by hand: knots 0,0 1/2,1/4 1,1 have slopes 0, 3/4 and 2
    #[test]
    fn a_cubic_has_the_slopes_of_its_source() {
        let knots = [[0.0, 0.0], [0.5, 0.25], [1.0, 1.0]];
        assert_eq!(slopes(&knots), [0.0, 0.75, 2.0]);
        assert!((distance("1: cubic 0.5,0.25", 0.25) - 0.078_125).abs() < 1e-6);
    }

    #[test]
    fn a_cubic_is_monotone_where_its_knots_are_and_stays_inside() {
        for text in [
            "7: cubic 0.1,0 0.2,0.9 0.3,0.9 0.9,0.95",
            "7: cubic 0.5,0.02",
            "7: cubic 0.01,0.98",
        ] {
            let values: Vec<f32> = (0..=1000)
                .map(|i| distance(text, i as f32 / 1000.0))
                .collect();
            assert_eq!((values[0], values[1000]), (0.0, 1.0));
            assert!(values.windows(2).all(|v| v[1] >= v[0] - 1e-6), "{text}");
        }
        // there and back, no further than the knots
        let back = |phase| distance("7: cubic 0.3,0.8 0.6,0.1", phase);
        let values = (0..=1000).map(|i| back(i as f32 / 1000.0));
        assert!(values.clone().all(|v| (0.0..=1.0).contains(&v)));
        let before = values.clone().take(601).fold(0.0, f32::max);
        assert!(before <= 0.8 + 1e-6, "{before}");
        assert!((back(0.6) - 0.1).abs() < 1e-6);
    }

    #[test]
    fn an_empty_text_has_no_curves() {
        for text in ["", " ", ";", " ; ;"] {
            assert!(Curves::parse(text).unwrap().is_empty(), "{text:?}");
        }
    }

    #[test]
    fn labels_are_held_or_moved() {
        let curves = Curves::parse("3: hold; 0: 0.5,0.5; 255: hold").unwrap();
        let moment = Moment {
            phase: 0.25,
            running: None,
        };
        assert_eq!(curves.held(), [3, 255]);
        assert_eq!(curves.distances(&moment), [(0, 0.25)]);
    }

    #[test]
    fn over_a_span_a_pair_has_its_part_of_the_curve() {
        let text = "1: 0.5,0.2 over 1..3";
        // the kink of the curve, at 2 s, lies in this pair: 0.1 of the way before it and 0.4 behind
        assert!((over(text, [1500, 2000, 2500]) - 0.2).abs() < 1e-6);
        // straight parts are even motion, and so is all outside
        for times in [
            [1200, 1300, 1600],
            [2200, 2300, 2600],
            [0, 100, 400],
            [3000, 3100, 3400],
        ] {
            assert!((over(text, times) - 0.25).abs() < 1e-6, "{times:?}");
        }
        // a pair that the span begins in: even up to 1 s, then 0.4 as fast
        assert!((over(text, [500, 1000, 1500]) - 0.5 / 0.7).abs() < 1e-6);
        // reverse playback
        assert!((over(text, [2500, 2000, 1500]) - 0.8).abs() < 1e-6);
    }

    #[test]
    fn what_a_span_cannot_tell_is_even_motion() {
        let flat = "1: 0.4,0.5 0.6,0.5 over 0..10";
        assert!((over(flat, [4500, 4600, 4900]) - 0.25).abs() < 1e-6);
        assert_eq!(distance(flat, 0.3), 0.3);
    }

    #[test]
    fn errors_name_the_label_and_the_remedy() {
        for (text, words) in [
            ("0.5,0.2", ["no label", "LABEL: TIME,DISTANCE"]),
            ("car: 0.5,0.2", ["\"car\"", "0 to 255"]),
            ("256: hold", ["256", "0 to 255"]),
            ("-1: hold", ["-1", "0 to 255"]),
            ("4: hold; 4: 0.5,0.2", ["label 4", "write one"]),
            ("4:", ["label 4", "TIME,DISTANCE"]),
            ("4: cubic", ["label 4", "TIME,DISTANCE"]),
            ("4: hold 0.5,0.2", ["label 4", "stands alone"]),
            ("4: 0.5", ["label 4", "TIME,DISTANCE"]),
            ("4: 0.5,nan", ["label 4", "TIME,DISTANCE"]),
            ("4: 0.5, 0.2", ["label 4", "nothing between"]),
            ("4: square 0.5,0.2", ["label 4", "square"]),
            ("4: 1.5,0.2", ["label 4", "time 1.5"]),
            ("4: 0.5,1.2", ["label 4", "distance 1.2"]),
            ("4: 0.5,-0.1", ["label 4", "distance -0.1"]),
            ("4: 0,0.2", ["label 4", "leave that knot out"]),
            ("4: 0.5,0.2 1,0.9", ["label 4", "leave that knot out"]),
            ("4: 0.5,0.2 0.4,0.1", ["label 4", "order"]),
            ("4: 0.5,0.2 0.5,0.3", ["label 4", "order"]),
            ("4: 0.5,0.2 over 3..2", ["label 4", "START..END"]),
            ("4: 0.5,0.2 over 3", ["label 4", "START..END"]),
            ("4: 0.4,0.5 0.6,0.3 over 0..2", ["label 4", "must not fall"]),
        ] {
            let message = Curves::parse(text).unwrap_err().to_string();
            for word in words {
                assert!(message.contains(word), "{text}: {message}");
            }
        }
    }
}
