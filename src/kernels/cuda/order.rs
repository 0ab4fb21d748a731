//! In which order the launches of a list have to run: each behind those that write what it reaches, or reach what it writes.

use super::Launch;

/// A piece of the card's memory that a kernel reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    from: u64,
    to: u64,
    /// Whether it may be written, not only read.
    written: bool,
}

impl Span {
    /// All memory.
    pub const ANYTHING: Self = Self {
        from: 0,
        to: u64::MAX,
        written: true,
    };

    /// So many bytes from an address on, which may be written.
    pub fn new(from: u64, bytes: u64) -> Self {
        Self {
            from,
            to: from + bytes,
            written: true,
        }
    }

    /// From the first to the last value of a raster of so many rows, pixels a row and channels, its rows and pixels so many values apart, gaps and
    /// all; none of one that is nowhere.
    pub fn of(from: u64, counts: [i32; 3], [row, pixel]: [i32; 2], bytes: i32) -> Option<Self> {
        let [height, width, channels] = counts.map(i64::from);
        let values = (height - 1) * i64::from(row) + (width - 1) * i64::from(pixel) + channels;
        (from != 0).then(|| Self::new(from, (values * i64::from(bytes)).unsigned_abs()))
    }

    /// The same, only read.
    pub fn read(self) -> Self {
        Self {
            written: false,
            ..self
        }
    }

    /// From its first byte to that behind the last one.
    pub fn bounds(&self) -> (u64, u64) {
        (self.from, self.to)
    }

    pub fn is_written(&self) -> bool {
        self.written
    }

    /// Whether it matters which of two kernels that reach these runs first.
    fn conflicts(&self, other: &Self) -> bool {
        (self.written || other.written) && self.from < other.to && other.from < self.to
    }
}

/// For each launch those before it that it has to wait for; not those that others among them wait for.
pub fn waits(launches: &[Launch]) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = Vec::with_capacity(launches.len());
    // which ones have run when one has, it included
    let mut done: Vec<Vec<bool>> = Vec::with_capacity(launches.len());
    for (i, launch) in launches.iter().enumerate() {
        let (mut waits, mut before) = (Vec::new(), vec![false; i + 1]);
        before[i] = true;
        for j in (0..i).rev() {
            if !before[j] && conflict(&launches[j], launch) {
                waits.push(j);
                let earlier = before.iter_mut().zip(&done[j]);
                earlier.for_each(|(before, done)| *before |= done);
            }
        }
        all.push(waits);
        done.push(before);
    }
    all
}

fn conflict(a: &Launch, b: &Launch) -> bool {
    let with = |span: &Span| b.spans().iter().any(|other| span.conflicts(other));
    a.spans().iter().any(with)
}

#[cfg(test)]
mod tests {
    use super::super::RawRaster;
    use super::*;

    /// Values of memory, two rows of three with a gap between.
    fn raster(data: u64) -> RawRaster {
        RawRaster {
            data,
            height: 2,
            width: 3,
            channels: 1,
            pixel: 1,
            row: 5,
            value: 4,
        }
    }

    fn launch(reads: &[u64], writes: &[u64]) -> Launch {
        let new = Launch::new("module", "function").with(1).with(0.5f32);
        let read = reads
            .iter()
            .fold(new, |launch, at| launch.reading(raster(*at)));
        writes
            .iter()
            .fold(read, |launch, at| launch.with(raster(*at)))
    }

    #[test]
    fn a_launch_waits_for_those_that_it_shares_memory_with() {
        let launches = [
            launch(&[1000], &[2000]),
            launch(&[1000], &[3000]),
            // both
            launch(&[2000, 3000], &[4000]),
            // what the first one reads
            launch(&[9000], &[1000]),
            // neither of these again, as the third one has waited
            launch(&[4000, 2000], &[5000]),
            launch(&[6000], &[7000]),
        ];
        let want: [&[usize]; 6] = [&[], &[], &[1, 0], &[1, 0], &[2], &[]];
        assert_eq!(waits(&launches), want);
    }

    #[test]
    fn pieces_end_where_their_last_value_does() {
        // 4 * (5 + 2 + 1) bytes
        for (at, want) in [
            (1028, vec![0]),
            (1032, vec![]),
            (972, vec![0]),
            (968, vec![]),
        ] {
            let launches = [launch(&[], &[1000]), launch(&[at], &[])];
            assert_eq!(waits(&launches)[1], want, "{at}");
        }
        assert_eq!(RawRaster::default().span(), None);
    }

    #[test]
    fn what_is_not_known_waits_for_all_and_all_wait_for_it() {
        let unknown = || Launch::new("module", "function").with(0u64);
        let launches = [
            launch(&[1000], &[]),
            unknown(),
            launch(&[1000], &[]),
            unknown(),
        ];
        let want: [&[usize]; 4] = [&[], &[0], &[1], &[2]];
        assert_eq!(waits(&launches), want);
    }
}
