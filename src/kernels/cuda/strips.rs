//! The way of a picture's rows between the card's memory and the CPU's, in as few copies as can be.

/// Rows in the card's memory, and in that of the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strip {
    /// The first byte of each, and bytes from a row to the next.
    pub there: (u64, usize),
    pub here: (u64, usize),
    /// Bytes of a row.
    pub bytes: usize,
    pub rows: usize,
}

impl Strip {
    /// As one row, where the rows follow each other without a byte between them.
    fn flat(self) -> Self {
        let is_flat = [self.there.1, self.here.1] == [self.bytes; 2];
        match is_flat || self.rows == 1 {
            true => {
                let bytes = self.bytes * self.rows;
                Self {
                    there: (self.there.0, bytes),
                    here: (self.here.0, bytes),
                    bytes,
                    rows: 1,
                }
            }
            false => self,
        }
    }

    /// Both, if the other one follows this on both sides.
    fn with(self, next: Self) -> Option<Self> {
        let follows = |(first, _): (u64, usize)| first + self.bytes as u64;
        let is_next = [next.there.0, next.here.0] == [self.there, self.here].map(follows);
        let bytes = self.bytes + next.bytes;
        (is_next && self.rows == 1 && next.rows == 1).then_some(Self {
            there: (self.there.0, bytes),
            here: (self.here.0, bytes),
            bytes,
            rows: 1,
        })
    }
}

/// The same bytes in as few strips as can be.
pub fn joined(strips: impl IntoIterator<Item = Strip>) -> Vec<Strip> {
    let mut joined: Vec<Strip> = Vec::new();
    for strip in strips.into_iter().map(Strip::flat) {
        match joined.last_mut().map(|last| (last.with(strip), last)) {
            Some((Some(both), last)) => *last = both,
            _ => joined.push(strip),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strip(there: (u64, usize), here: (u64, usize), bytes: usize, rows: usize) -> Strip {
        Strip {
            there,
            here,
            bytes,
            rows,
        }
    }

    /// Each byte's place on both sides.
    fn places(strips: &[Strip]) -> Vec<(u64, u64)> {
        let of_row = |s: Strip, y: usize| {
            let first = [s.there, s.here].map(|(first, stride)| first + (y * stride) as u64);
            (0..s.bytes as u64).map(move |x| (first[0] + x, first[1] + x))
        };
        let of_strip = |s: &Strip| {
            let s = *s;
            (0..s.rows).flat_map(move |y| of_row(s, y))
        };
        strips.iter().flat_map(of_strip).collect()
    }

    #[test]
    fn the_same_bytes_go_the_same_way_in_fewer_copies() {
        let cases = [
            // planes without a byte between rows or planes
            (
                vec![
                    strip((100, 64), (900, 64), 64, 48),
                    strip((100 + 64 * 48, 32), (900 + 64 * 48, 32), 32, 24),
                ],
                1,
            ),
            // between planes, on one side
            (
                vec![
                    strip((100, 64), (900, 64), 64, 48),
                    strip((100 + 64 * 48, 32), (901 + 64 * 48, 32), 32, 24),
                ],
                2,
            ),
            // between rows, on either side; one row has none
            (vec![strip((0, 65), (0, 64), 64, 2)], 1),
            (
                vec![
                    strip((0, 64), (0, 65), 64, 3),
                    strip((192, 80), (195, 64), 64, 1),
                    strip((256, 64), (259, 64), 64, 5),
                ],
                2,
            ),
            // the next in the wrong order
            (
                vec![
                    strip((64, 64), (64, 64), 64, 1),
                    strip((0, 64), (0, 64), 64, 1),
                ],
                2,
            ),
            (Vec::new(), 0),
        ];
        for (strips, count) in cases {
            let joined = joined(strips.iter().copied());
            assert_eq!(places(&joined), places(&strips));
            assert_eq!(joined.len(), count, "{joined:?}");
        }
    }
}
