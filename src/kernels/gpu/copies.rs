//! Pictures copied by several threads: one takes longer for a large one than its way to a card and back.

use rayon::prelude::*;

use crate::kernels::Context;
use crate::picture::{Plane, PlaneMut};

/// Bytes that a thread copies at a time.
const PIECE: usize = 1 << 18;

/// Rows of a plane, the first `bytes` of each of which are copied.
pub(super) struct Rows<'a> {
    pub from: Plane<'a>,
    pub to: PlaneMut<'a>,
    pub bytes: usize,
}

impl<'a> Rows<'a> {
    /// So many rows; there may be more in the planes.
    pub fn new(rows: usize, bytes: usize, from: Plane<'a>, to: PlaneMut<'a>) -> Self {
        let all = (rows * to.stride).min(to.data.len());
        let (data, stride) = (&mut to.data[..all], to.stride);
        Self {
            from,
            to: PlaneMut { data, stride },
            bytes,
        }
    }

    fn pieces(self) -> impl Iterator<Item = Self> {
        let rows = (PIECE / self.to.stride).max(1);
        let [from, to] = [self.from.stride, self.to.stride];
        let from = self
            .from
            .data
            .chunks(rows * from)
            .map(move |data| Plane { data, stride: from });
        let to = self
            .to
            .data
            .chunks_mut(rows * to)
            .map(move |data| PlaneMut { data, stride: to });
        let bytes = self.bytes;
        from.zip(to).map(move |(from, to)| Self { from, to, bytes })
    }

    fn copy(self) {
        let rows = self.to.data.chunks_mut(self.to.stride);
        for (from, to) in self.from.data.chunks(self.from.stride).zip(rows) {
            to[..self.bytes].copy_from_slice(&from[..self.bytes]);
        }
    }
}

/// Copies all planes on the threads of `cpu`.
pub(super) fn copy<'a>(cpu: &Context, planes: impl Iterator<Item = Rows<'a>>) {
    let pieces: Vec<_> = planes.flat_map(Rows::pieces).collect();
    match pieces.len() {
        0..=1 => pieces.into_iter().for_each(Rows::copy),
        _ => cpu
            .pool()
            .install(|| pieces.into_par_iter().for_each(Rows::copy)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_copied_and_nothing_between_them() {
        for (rows, bytes, strides, behind) in [
            (1, 1, [1, 1], 0),
            (7, 5, [8, 6], 0),
            (7, 5, [5, 9], 3),
            // several pieces
            (300, 4000, [4096, 4000], 0),
            (301, 4001, [4003, 4099], 77),
        ] {
            let from: Vec<u8> = (0..strides[0] * rows)
                .map(|i| (i * 7 % 251) as u8)
                .collect();
            let mut to = vec![252u8; strides[1] * (rows - 1) + bytes + behind];
            let planes = (
                Plane {
                    data: &from,
                    stride: strides[0],
                },
                PlaneMut {
                    data: &mut to,
                    stride: strides[1],
                },
            );
            let all = Rows::new(rows, bytes, planes.0, planes.1);
            copy(&Context::new(3).unwrap(), std::iter::once(all));
            for (i, value) in to.iter().enumerate() {
                let (y, x) = (i / strides[1], i % strides[1]);
                let want = match y < rows && x < bytes {
                    true => from[y * strides[0] + x],
                    false => 252,
                };
                assert_eq!(*value, want, "{rows} rows of {bytes}: {x}, {y}");
            }
        }
    }
}
