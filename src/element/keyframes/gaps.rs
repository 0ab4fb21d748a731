//! GAP events among the frames of the video: each leaves after the frames that came before it.

use std::collections::VecDeque;

/// What waits behind frames that wait.
#[derive(Debug)]
pub struct Gaps<E> {
    /// Frames that came, and those that left.
    came: u64,
    left: u64,
    waiting: VecDeque<Gap<E>>,
}

#[derive(Debug)]
struct Gap<E> {
    event: E,
    /// Frames that leave before it, of all that came.
    behind: u64,
    /// Frames that are missing.
    frames: u64,
}

impl<E> Default for Gaps<E> {
    fn default() -> Self {
        Self {
            came: 0,
            left: 0,
            waiting: VecDeque::new(),
        }
    }
}

impl<E> Gaps<E> {
    /// A frame came.
    pub fn came(&mut self) {
        self.came += 1;
    }

    /// A frame left.
    pub fn left(&mut self) {
        self.left += 1;
    }

    /// Whether a frame waits.
    pub fn has_frames(&self) -> bool {
        self.came > self.left
    }

    /// A gap came in the place of so many frames.
    pub fn push(&mut self, event: E, frames: u64) {
        self.waiting.push_back(Gap {
            event,
            behind: self.came,
            frames,
        });
    }

    /// The next gap, once the frames before it have left.
    pub fn due(&mut self) -> Option<E> {
        let first = self.waiting.front()?;
        let is_due = first.behind <= self.left;
        is_due
            .then(|| self.waiting.pop_front())
            .flatten()
            .map(|gap| gap.event)
    }

    /// Whether a frame waits longer than for so many others to come, a gap being as long as what is missing.
    pub fn is_late(&self, lookahead: u64) -> bool {
        let frames = self.came - self.left;
        let missing = |sum: u64, gap: &Gap<E>| sum.saturating_add(gap.frames);
        let missing = self.waiting.iter().fold(0, missing);
        self.has_frames() && missing > 0 && frames.saturating_add(missing) > lookahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_leaves_after_the_frames_before_it() {
        let mut gaps = Gaps::default();
        gaps.push("first", 1);
        assert_eq!(gaps.due(), Some("first"));
        gaps.came();
        gaps.push("second", 1);
        gaps.push("third", 1);
        gaps.came();
        assert_eq!(gaps.due(), None);
        gaps.left();
        let due: Vec<_> = std::iter::from_fn(|| gaps.due()).collect();
        assert_eq!(due, ["second", "third"]);
    }

    #[test]
    fn a_frame_waits_no_longer_for_a_gap_than_for_frames() {
        let mut gaps = Gaps::default();
        gaps.push((), u64::MAX);
        assert!(!gaps.is_late(0), "no frame waits");
        gaps.due();
        for _ in 0..5 {
            gaps.came();
        }
        assert!(!gaps.is_late(2), "that is told without gaps");
        gaps.push((), 3);
        assert!(gaps.is_late(7) && !gaps.is_late(8));
        gaps.push((), u64::MAX);
        assert!(gaps.is_late(8));
    }
}
