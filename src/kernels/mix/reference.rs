//! The definition.

use super::Columns;

/// Moves the samples of a row from number `first` on towards the `other` one, by the weights between `cells`.
pub fn mix(columns: &Columns, first: usize, cells: &[f32], other: &[u8], row: &mut [u8]) {
    let c = columns.component;
    let places = columns.between.0.iter().zip(&columns.between.1);
    for (x, (cell, across)) in places.enumerate().skip(first) {
        let cell = *cell as usize;
        let share = cells[cell] + across * (cells[cell + 1] - cells[cell]);
        let (own, other) = (c.load(row, x) as f32, c.load(other, x) as f32);
        // both are codes, so that what lies between them is none less than 0
        c.store(row, x, (own + share * (other - own) + 0.5) as u32);
    }
}
