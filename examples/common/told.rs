//! Motion that only the true frame between two others tells.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use gstvideointerpolate::error::Result;
use gstvideointerpolate::kernels::Context;
use gstvideointerpolate::network::{Encoded, Network, Workspace};

use super::frame::Frame;

/// Pixels of a cell.
pub const CELL: usize = 8;

/// Searches from true frames of one size to those around them.
pub struct Told {
    /// Rows and columns.
    pub cells: (usize, usize),
    network: Arc<Network>,
    workspace: Workspace,
}

impl Told {
    /// With the network's search.
    ///
    /// # Errors
    /// An empty size.
    pub fn new(
        network: Arc<Network>,
        (width, height): (usize, usize),
        threads: usize,
    ) -> Result<Self> {
        let side = |n: usize| n.div_ceil(2).next_multiple_of(4);
        let view = (side(height), side(width));
        let workspace = network.workspace(&Context::new(threads)?, view.0, view.1)?;
        Ok(Self {
            cells: (view.0 / 4, view.1 / 4),
            workspace,
            network,
        })
    }

    /// For each cell of the true frame, row by row, where it is in the `left` and in the `right` one: x, y and x, y, in
    /// cells from where it is.
    ///
    /// # Errors
    /// Frames of another size.
    pub fn ways(&mut self, truth: &Frame, left: &Frame, right: &Frame) -> Result<Vec<[f32; 4]>> {
        let here = self.encode(truth)?;
        let to_left = self.search(&here, left)?;
        let to_right = self.search(&here, right)?;
        let pairs = to_left.chunks(2).zip(to_right.chunks(2));
        Ok(pairs.map(|(l, r)| [l[0], l[1], r[0], r[1]]).collect())
    }

    fn search(&mut self, here: &Encoded, there: &Frame) -> Result<Vec<f32>> {
        let there = self.encode(there)?;
        let network = &self.network;
        network.search(&mut self.workspace, here, &there, None)?;
        let motion = self.workspace.found().narrow(2, 0, 2)?;
        Ok(motion.flatten_all()?.to_vec1::<f32>()?)
    }

    fn encode(&mut self, frame: &Frame) -> Result<Encoded> {
        let mut encoded = self.workspace.encoded()?;
        let view = view(frame, (4 * self.cells.0, 4 * self.cells.1))?;
        self.network
            .encode(&mut self.workspace, &view, &mut encoded)?;
        Ok(encoded)
    }
}

/// What the network sees of a frame.
fn view(frame: &Frame, (height, width): (usize, usize)) -> Result<Tensor> {
    let planes = frame.planes();
    let value = |plane: usize, x: usize, y: usize| {
        let (w, h) = frame.plane_size(plane);
        f32::from(planes[plane][y.min(h - 1) * w + x.min(w - 1)]) / 255.0 - 0.5
    };
    let cell = |i: usize| {
        let (x, y) = (i % width, i / width);
        let luma = |c: usize| value(0, 2 * x + c % 2, 2 * y + c / 2);
        [
            luma(0),
            luma(1),
            luma(2),
            luma(3),
            value(1, x, y),
            value(2, x, y),
        ]
    };
    let values: Vec<f32> = (0..width * height).flat_map(cell).collect();
    Ok(Tensor::from_vec(values, (height, width, 6), &Device::Cpu)?)
}
