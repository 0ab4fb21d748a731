//! In which order the launches of a list have to run: each behind those that write what it reaches, or reach what it writes.

use super::Launch;

/// What a kernel reaches of the card's memory: the bytes of some channels in all pixels between two addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    from: u64,
    to: u64,
    /// Bytes from a pixel to the next, and of a pixel's channels; both all of it where pixels do not lie one behind the other.
    pixel: u64,
    channels: u64,
    /// Whether it may be written, not only read.
    written: bool,
}

impl Span {
    /// All memory.
    pub const ANYTHING: Self = Self {
        from: 0,
        to: u64::MAX,
        pixel: u64::MAX,
        channels: u64::MAX,
        written: true,
    };

    /// So many bytes from an address on, which may be written.
    pub fn new(from: u64, bytes: u64) -> Self {
        Self {
            from,
            to: from + bytes,
            pixel: bytes,
            channels: bytes,
            written: true,
        }
    }

    /// A raster of so many rows, pixels a row and channels, its rows and pixels so many values apart; none of one that is nowhere.
    pub fn of(from: u64, counts: [i32; 3], [row, pixel]: [i32; 2], bytes: i32) -> Option<Self> {
        let [height, width, channels] = counts.map(i64::from);
        let values = (height - 1) * i64::from(row) + (width - 1) * i64::from(pixel) + channels;
        let bytes_of = |values: i64| (values * i64::from(bytes)).unsigned_abs();
        let whole = Self::new(from, bytes_of(values));
        let in_line = pixel > 0 && row % pixel == 0;
        let span = match in_line {
            true => Self {
                pixel: bytes_of(pixel.into()),
                channels: bytes_of(channels),
                ..whole
            },
            false => whole,
        };
        (from != 0).then_some(span)
    }

    /// The same, only read.
    pub fn read(self) -> Self {
        Self {
            written: false,
            ..self
        }
    }

    /// From its first byte to that behind the last one, other channels with them.
    pub fn bounds(&self) -> (u64, u64) {
        (self.from, self.to)
    }

    pub fn is_written(&self) -> bool {
        self.written
    }

    /// Whether it matters which of two kernels that reach these runs first.
    fn conflicts(&self, other: &Self) -> bool {
        let overlap = self.from < other.to && other.from < self.to;
        (self.written || other.written) && overlap && !self.is_beside(other)
    }

    /// Whether both are other channels of the same pixels.
    fn is_beside(&self, other: &Self) -> bool {
        let (first, second) = match self.from <= other.from {
            true => (self, other),
            false => (other, self),
        };
        let by = (second.from - first.from) % first.pixel.max(1);
        first.pixel == second.pixel && by >= first.channels && by + second.channels <= first.pixel
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
    fn other_channels_of_the_same_pixels_are_other_memory() {
        let of = |first: u64, channels: i32| RawRaster {
            data: 1000 + 4 * first,
            channels,
            pixel: 6,
            row: 18,
            ..raster(0)
        };
        let writes = |raster| Launch::new("module", "function").with(raster);
        for (first, channels, waits_for) in
            [(2, 4, false), (1, 2, true), (2, 1, false), (0, 1, true)]
        {
            for pair in [
                [of(0, 2), of(first, channels)],
                [of(first, channels), of(0, 2)],
            ] {
                let found = waits(&pair.map(writes));
                assert_eq!(!found[1].is_empty(), waits_for, "{first} {channels}");
            }
        }
        // rows that are no whole number of pixels apart
        let odd = |first| RawRaster {
            row: 20,
            ..of(first, 2)
        };
        assert_eq!(waits(&[odd(0), odd(2)].map(writes))[1], [0]);
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
