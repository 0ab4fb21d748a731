//! Which outputs are worth their time. Pure.

use gst::{ClockTime, ClockTimeDiff};

/// An output later than this is dropped; one that is less late is held instead of interpolated.
///
/// Holding costs next to nothing, so an element that was late only by its own work catches up
/// within this time; what is still later than that would be thrown away by the sink anyway.
pub const DROP_LATENESS: ClockTime = ClockTime::from_mseconds(200);

/// QUALITY of a QOS message: 1,000,000 is the best.
pub const FULL_QUALITY: i32 = 1_000_000;
/// The quality of a frame held where one should have been interpolated.
pub const HELD_QUALITY: i32 = 500_000;

/// What is to be done with an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    OnTime,
    /// Late by so much: hold, do not interpolate.
    Degrade(ClockTimeDiff),
    /// Late by so much: do not even show it.
    Drop(ClockTimeDiff),
}

/// What downstream said last about being late.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Qos {
    pub proportion: f64,
    /// Running time before which outputs are too late.
    earliest: Option<ClockTime>,
}

impl Default for Qos {
    fn default() -> Self {
        Qos {
            proportion: 1.0,
            earliest: None,
        }
    }
}

impl Qos {
    /// Takes a QOS event: the buffer of running time `timestamp` was `diff` late (negative:
    /// early). Being late, the next outputs must make good for as much again, and for the one
    /// output that is being made meanwhile.
    pub fn update(
        &mut self,
        proportion: f64,
        diff: ClockTimeDiff,
        timestamp: Option<ClockTime>,
        output_duration: ClockTime,
    ) {
        self.proportion = proportion;
        self.earliest = timestamp.map(|t| {
            if diff > 0 {
                let late = ClockTime::from_nseconds(diff.unsigned_abs());
                t.saturating_add(late)
                    .saturating_add(late)
                    .saturating_add(output_duration)
            } else {
                t.saturating_sub(ClockTime::from_nseconds(diff.unsigned_abs()))
            }
        });
    }

    /// Judges the output of a running time.
    pub fn judge(&self, running_time: Option<ClockTime>) -> Verdict {
        let late = self
            .earliest
            .zip(running_time)
            .and_then(|(earliest, time)| earliest.checked_sub(time));
        match late {
            None => Verdict::OnTime,
            Some(late) if late <= DROP_LATENESS => Verdict::Degrade(late.nseconds() as i64),
            Some(late) => Verdict::Drop(late.nseconds() as i64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: ClockTime = ClockTime::from_mseconds(20);

    fn late_by(mseconds: i64) -> Qos {
        let mut qos = Qos::default();
        qos.update(1.5, mseconds * 1_000_000, Some(ClockTime::SECOND), FRAME);
        qos
    }

    // promise 30
    #[test]
    fn what_is_on_time_is_left_alone() {
        assert_eq!(Qos::default().judge(Some(ClockTime::ZERO)), Verdict::OnTime);
        assert_eq!(late_by(-30).judge(Some(ClockTime::SECOND)), Verdict::OnTime);
        assert_eq!(late_by(30).judge(None), Verdict::OnTime);
        assert_eq!(
            late_by(30).judge(Some(2 * ClockTime::SECOND)),
            Verdict::OnTime
        );
    }

    #[test]
    fn a_late_output_is_degraded_and_a_very_late_one_dropped() {
        let ms = ClockTime::from_mseconds;
        // earliest is 1 s + 2·30 ms + 20 ms
        assert_eq!(late_by(30).judge(Some(ms(1080))), Verdict::Degrade(0));
        assert_eq!(
            late_by(30).judge(Some(ms(1000))),
            Verdict::Degrade(80_000_000)
        );
        assert_eq!(
            late_by(30).judge(Some(ms(880))),
            Verdict::Degrade(200_000_000)
        );
        assert_eq!(late_by(30).judge(Some(ms(879))), Verdict::Drop(201_000_000));
    }
}
