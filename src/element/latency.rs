//! How long the making of a picture takes, said so that it does not change at every frame. Pure.

use gst::ClockTime;

/// Measurements after which a reported time that has become too long is shortened.
const WINDOW: u32 = 100;

/// The reported time is a multiple of this.
const STEP: ClockTime = ClockTime::from_mseconds(1);

/// The time that is reported as processing time.
#[derive(Debug, Clone, Default)]
pub struct Processing {
    reported: ClockTime,
    /// The longest time of the current window, and how many it has.
    longest: ClockTime,
    count: u32,
}

impl Processing {
    /// What a LATENCY query is told.
    pub fn reported(&self) -> ClockTime {
        self.reported
    }

    /// Takes a measurement; true if what is reported has changed. It grows at once and by a
    /// quarter more than measured, and shrinks only when a whole window needed less than half.
    pub fn measured(&mut self, took: ClockTime) -> bool {
        if took > self.reported {
            self.report(took);
            return true;
        }
        self.longest = self.longest.max(took);
        self.count += 1;
        if self.count < WINDOW {
            return false;
        }
        let longest = self.longest;
        let before = self.reported;
        if longest * 2 < before {
            self.report(longest);
        } else {
            (self.longest, self.count) = (ClockTime::ZERO, 0);
        }
        self.reported != before
    }

    fn report(&mut self, took: ClockTime) {
        let with_reserve = took.nseconds().saturating_add(took.nseconds() / 4);
        let steps = with_reserve.div_ceil(STEP.nseconds());
        *self = Processing {
            reported: ClockTime::from_nseconds(steps.saturating_mul(STEP.nseconds())),
            ..Processing::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // promise 28
    #[test]
    fn a_longer_time_is_reported_at_once_and_a_shorter_one_after_a_while() {
        let ms = ClockTime::from_mseconds;
        let mut p = Processing::default();
        assert!(p.measured(ms(40)));
        assert_eq!(p.reported(), ms(50));
        // jitter below the report changes nothing
        for i in 0..1000 {
            assert!(!p.measured(ms(30 + i % 20)), "after {i}");
        }
        let changes = (0..1000).filter(|_| p.measured(ms(8))).count();
        assert_eq!(changes, 1);
        assert_eq!(p.reported(), ms(10));
    }
}
