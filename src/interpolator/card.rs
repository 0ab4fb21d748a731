//! What a network needs of a card beside its own memory: pictures go there once, and come back made.

use std::sync::Arc;

use candle_core::Tensor;

use crate::kernels::synthesis::Lattice;
use crate::network::Motion;
use crate::picture::Color;

/// What a picture is made along.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "cuda"), allow(dead_code))]
pub struct Along<'a> {
    /// `[h, w, 4]` and `[h, w, 1]` on the lattice, as [`Motion`] has them.
    pub flow: &'a Tensor,
    pub mask: &'a Tensor,
    pub lattice: Lattice,
    /// `[h, w, 1]` at a quarter of the padded picture's size, see [`Motion::difference`].
    pub difference: &'a Tensor,
    /// Red, green and blue that are added, `[h, w, 3]` of the picture or larger, and the colours of both sides.
    pub residual: Option<(&'a Tensor, Color)>,
}

impl<'a> From<&'a Motion> for Along<'a> {
    fn from(motion: &'a Motion) -> Self {
        Self {
            flow: &motion.flow,
            mask: &motion.mask,
            lattice: Lattice::Quarter,
            difference: &motion.difference,
            residual: None,
        }
    }
}

/// What is made of a source picture beside its view and its thumbnail; all of it lies on the card.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(not(feature = "cuda"), allow(dead_code))]
pub struct Beside<'a> {
    /// Its luma in bytes, see [`crate::kernels::luma::gather`].
    pub bytes: Option<&'a [Tensor; 2]>,
    /// Its mean luma of 2x2 pixels and of 4x4, -0.5 to 0.5.
    pub luma: Option<[&'a Tensor; 2]>,
    /// Red, green and blue, `[h, w, 3]` of the picture, from what its codes stand for.
    pub colors: Option<(&'a Tensor, Color)>,
}

#[cfg(feature = "cuda")]
pub(super) use crate::kernels::device::Leaving;
#[cfg(feature = "cuda")]
pub use real::{OnCard, Seen};

#[cfg(feature = "cuda")]
mod real {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use candle_core::{DType, Device, Tensor};

    use super::super::canvas::Canvas;
    use super::{Along, Arc, Beside, Leaving};
    use crate::error::Result;
    use crate::kernels::color::cuda as color;
    use crate::kernels::cuda::picture::{DevicePicture, Sheet};
    use crate::kernels::cuda::{Card, DevicePhase, Features};
    use crate::kernels::device::{Gpu, Output, Pinned, Queue, Staging};
    use crate::kernels::picture::cuda::differ;
    use crate::kernels::resample::cuda as resample;
    use crate::kernels::synthesis::Lattice;
    use crate::kernels::view::cuda::{self as view, Views};
    use crate::kernels::view::size;
    use crate::kernels::{Context, PhaseMap};
    use crate::network::Motion;
    use crate::picture::{Format, Picture, PictureMut};
    use crate::scene::Thumbnail;

    /// Luma, U and V.
    const MEANS: usize = 3;

    /// A card, and what lies there for pictures of one format and size.
    #[derive(Debug)]
    pub struct OnCard {
        gpu: Arc<Gpu>,
        /// Whose threads copy pictures to and from page-locked memory.
        cpu: Context,
        shape: (Format, usize, usize),
        /// What pictures pass through.
        staging: Arc<Staging>,
        /// Where the thumbnail of a picture is made, see [`view::thumbnail`].
        means: Tensor,
        /// Planes of phases, `[h, w, 1]`: what the network takes, and for the picture.
        planes: [Tensor; 2],
        canvas: Canvas,
        /// What pictures are made on: one comes down while another is made.
        outputs: [Output; 2],
        /// Flow, mask and confidence at a quarter of the size once somebody asks for them; on the CPU.
        found: [Tensor; 3],
        /// Whether two pictures differ, see [`differ`]; there and on the CPU.
        differ: [Tensor; 2],
    }

    /// What there is of a source picture beside what the network makes of it.
    #[derive(Debug)]
    pub struct Seen {
        /// Its planes, on the card.
        sheet: Sheet,
        /// Its view, there.
        view: Tensor,
        /// The means of its thumbnail, on the CPU once they have come.
        means: Mutex<Pinned>,
    }

    impl OnCard {
        /// For pictures of this format, width and height that are made along motion on this lattice; planes of phases have the
        /// `coarse` size where the network takes them there.
        ///
        /// # Errors
        /// The card has too little memory.
        pub fn new(
            (gpu, context): (&Arc<Gpu>, &Context),
            shape: (Format, usize, usize),
            coarse: (usize, usize),
            lattice: Lattice,
        ) -> Result<Self> {
            let device = gpu.device();
            let (h, w) = size(shape.2, shape.1);
            let cells = (h / 2, w / 2);
            let zeros = |(h, w): (usize, usize), c: usize, device: &Device| {
                Tensor::zeros((h, w, c), DType::F32, device)
            };
            let found = |channels| zeros(cells, channels, &Device::Cpu);
            let sheet = || Sheet::new(shape.0, (shape.1, shape.2), &device);
            let outputs = [gpu.output(sheet()?)?, gpu.output(sheet()?)?];
            let view_of_picture = (shape.1.div_ceil(2), shape.2.div_ceil(2));
            let (width, height) = Thumbnail::size(view_of_picture);
            Ok(Self {
                gpu: gpu.clone(),
                cpu: context.on(None),
                shape,
                staging: Arc::new(gpu.staging(&outputs[0].sheet)?),
                means: zeros((height, width), MEANS, &device)?,
                planes: [
                    zeros(coarse, 1, &device)?,
                    zeros((h / 4, w / 4), 1, &device)?,
                ],
                canvas: Canvas::new(cells, lattice, &device)?,
                outputs,
                found: [found(4)?, found(1)?, found(1)?],
                differ: [zeros((1, 1), 1, &device)?, zeros((1, 1), 1, &Device::Cpu)?],
            })
        }

        /// Does something on the card, whose errors it explains.
        ///
        /// # Errors
        /// Those of what is done, and of a process that was forked.
        pub fn run<T>(&self, run: impl FnOnce() -> Result<T>) -> Result<T> {
            self.gpu.check()?;
            run().map_err(|e| self.gpu.explain(e))
        }

        /// Memory for what there is of one picture, with room for its view.
        ///
        /// # Errors
        /// The card has too little.
        pub fn seen(&self, view: Tensor) -> Result<Seen> {
            let (format, width, height) = self.shape;
            let bytes = self.means.elem_count() * size_of::<f32>();
            Ok(Seen {
                sheet: Sheet::new(format, (width, height), &self.gpu.device())?,
                view,
                means: Mutex::new(self.gpu.pinned(bytes)?),
            })
        }

        /// Sends a picture to the card, which has read it when the call returns, and lets `encode` queue what is to be made of its view
        /// there. Fills what else is wanted of it.
        ///
        /// # Errors
        /// Another format or size, or the card fails; those of `encode`.
        pub fn see(
            &self,
            picture: &Picture,
            seen: &Seen,
            beside: &Beside,
            encode: impl FnOnce(&Tensor) -> Result<()>,
        ) -> Result<()> {
            let reading =
                self.gpu
                    .upload_picture(&self.cpu, picture, &seen.sheet, &self.staging)?;
            encode(self.look(seen, beside)?)?;
            // long since, for what was queued meanwhile takes longer to queue
            reading.wait()
        }

        /// As [`OnCard::see`], of a picture that others have on a card. It may not have been read before [`OnCard::wait_for`] returns.
        ///
        /// # Errors
        /// Another format or size, or the card fails.
        ///
        /// # Safety
        /// Its planes lie there, and stay until then.
        pub unsafe fn see_there<'a>(
            &self,
            picture: &DevicePicture,
            seen: &'a Seen,
            beside: &Beside,
        ) -> Result<&'a Tensor> {
            // SAFETY: as the caller promises.
            unsafe { self.gpu.bring_picture(picture, &seen.sheet) }?;
            self.look(seen, beside)
        }

        /// Waits until a picture was read and its thumbnail is there.
        ///
        /// # Errors
        /// The card has failed.
        pub fn wait_for(&self, seen: &Seen) -> Result<()> {
            Ok(lock(&seen.means).bytes().map(drop)?)
        }

        /// Waits until nothing is queued, or the card has failed.
        pub fn settle(&self) {
            // who asks has an error of its own to tell
            let _ = self.gpu.settle();
        }

        /// What [`OnCard::see`] makes of the planes.
        fn look<'a>(&self, seen: &'a Seen, beside: &Beside) -> Result<&'a Tensor> {
            let queue = Queue::new(&self.gpu);
            let sheet = seen.sheet.on(&queue)?;
            let both = |[one, other]: [&Tensor; 2]| -> candle_core::Result<_> {
                Ok([queue.raster(one)?, queue.raster(other)?])
            };
            let bytes = beside.bytes.map(|[whole, half]| {
                Ok::<_, candle_core::Error>([queue.bytes(whole)?, queue.bytes(half)?])
            });
            let (bytes, luma) = (bytes.transpose()?, beside.luma.map(both).transpose()?);
            let views = Views {
                view: &queue.raster(&seen.view)?,
                bytes: bytes.as_ref().map(|[whole, half]| [whole, half]),
                luma: luma.as_ref().map(|[half, _]| half),
            };
            let (_, width, height) = self.shape;
            let (width, height) = (width.div_ceil(2), height.div_ceil(2));
            let of_picture = seen.view.narrow(0, 0, height)?.narrow(1, 0, width)?;
            let side = Thumbnail::side((width, height));
            let mut launches = vec![
                view::view(&sheet, &views)?,
                view::thumbnail(
                    &queue.raster(&of_picture)?,
                    side,
                    &queue.raster(&self.means)?,
                )?,
            ];
            if let Some([half, quarter]) = &luma {
                let [half, quarter] = [half, quarter].map(|luma| Features::F32(*luma));
                launches.push(resample::half(half, quarter)?);
            }
            if let Some((out, color)) = beside.colors {
                launches.push(color::to_rgb(&sheet, color, queue.features(out)?)?);
            }
            // SAFETY: these are the arguments of the kernels, made of tensors on this card.
            unsafe { queue.run(launches) }?;
            self.gpu.fetch(&self.means, &mut lock(&seen.means))?;
            Ok(&seen.view)
        }

        /// Fills the thumbnail of a picture, once the card has seen it.
        ///
        /// # Errors
        /// The card has failed.
        pub fn thumbnail(&self, seen: &Seen, out: &mut Thumbnail) -> Result<()> {
            let mut means = lock(&seen.means);
            let (values, _) = means.bytes()?.as_chunks();
            out.fill_means(values.iter().map(|bytes| f32::from_ne_bytes(*bytes)));
            Ok(())
        }

        /// The same phases on the card, as the network takes them.
        ///
        /// # Errors
        /// The card fails.
        pub fn send(&self, phase: &PhaseMap) -> Result<PhaseMap> {
            Ok(match phase {
                PhaseMap::Uniform(phase) => PhaseMap::Uniform(*phase),
                PhaseMap::Plane(plane) => {
                    self.gpu.upload(&plane.unsqueeze(2)?, &self.planes[0])?;
                    PhaseMap::Plane(self.planes[0].squeeze(2)?)
                }
            })
        }

        /// The same phases on the card, as a picture is made with them.
        fn phases(&self, queue: &Queue, phase: &PhaseMap) -> Result<DevicePhase> {
            if let PhaseMap::Plane(plane) = phase {
                self.gpu.upload(&plane.unsqueeze(2)?, &self.planes[1])?;
                return Ok(DevicePhase::Plane(queue.raster(&self.planes[1])?));
            }
            Ok(queue.phase(phase)?)
        }

        /// See [`Canvas::relate`].
        ///
        /// # Errors
        /// Sizes that do not fit, or the card fails.
        pub fn relate(&self, luma: [&Tensor; 2]) -> Result<()> {
            let queue = Queue::new(&self.gpu);
            let launches = self.canvas.relate(&queue, luma)?;
            // SAFETY: these are the arguments of the kernels, made of tensors on this card.
            unsafe { queue.run(launches) }
        }

        /// See [`Canvas::coarsen`].
        ///
        /// # Errors
        /// Sizes that do not fit, or the card fails.
        pub fn coarsen(&self, luma: [&Tensor; 2], flow: &Tensor, motion: &Motion) -> Result<()> {
            let queue = Queue::new(&self.gpu);
            let launches = self.canvas.coarsen(&queue, luma, flow, motion)?;
            // SAFETY: these are the arguments of the kernels, made of tensors on this card.
            unsafe { queue.run(launches) }
        }

        /// Fills `out`, on the CPU, with what [`Canvas::disagree`] makes.
        ///
        /// # Errors
        /// Sizes that do not fit, or the card fails.
        pub fn disagree(
            &self,
            luma: [&Tensor; 2],
            brightness: f32,
            (flow, phase): (&Tensor, &PhaseMap),
            out: &Tensor,
        ) -> Result<()> {
            let queue = Queue::new(&self.gpu);
            let phase = self.phases(&queue, phase)?;
            let (launch, made) = self
                .canvas
                .disagree(&queue, luma, brightness, (flow, &phase))?;
            // SAFETY: these are the arguments of the kernel, made of tensors on this card.
            unsafe { queue.run(vec![launch]) }?;
            Ok(self.gpu.download(made, out)?)
        }

        /// See [`Canvas::make`]; on the first output or the second.
        ///
        /// # Errors
        /// Sizes that do not fit, or the card fails.
        pub fn paint(
            &self,
            sides: [&Seen; 2],
            (along, phase): (&Along, &PhaseMap),
            output: usize,
        ) -> Result<()> {
            let queue = Queue::new(&self.gpu);
            let phase = self.phases(&queue, phase)?;
            let sides = sides.map(|seen| &seen.sheet);
            let output = &self.outputs[output];
            let launches = self
                .canvas
                .make(&queue, sides, (along, &phase), &output.sheet)?;
            // SAFETY: these are the arguments of the kernels, made of tensors on this card.
            unsafe { queue.run(launches) }?;
            Ok(self.gpu.made(output)?)
        }

        /// Lets the picture that was made on an output come down; until it is there only the other one may be made on.
        ///
        /// # Errors
        /// Another format or size, or the card fails.
        pub fn deliver<'a, 'p>(
            &self,
            output: usize,
            out: &'a mut PictureMut<'p>,
        ) -> Result<Leaving<'a, 'p>> {
            let output = &self.outputs[output];
            self.gpu
                .download_picture(&self.cpu, output, out, &self.staging)
        }

        /// Copies the picture that was made on the first output last, or a source picture, to where others have room for it on a card.
        ///
        /// # Errors
        /// Another format or size, or the card fails.
        ///
        /// # Safety
        /// There is room for its planes, which nobody else looks at meanwhile.
        pub unsafe fn give(&self, source: Option<&Seen>, out: &DevicePicture) -> Result<()> {
            let sheet = source.map_or(&self.outputs[0].sheet, |seen| &seen.sheet);
            // SAFETY: as the caller promises.
            unsafe { self.gpu.give_picture(sheet, out) }
        }

        /// Whether two pictures are the same to the bit.
        ///
        /// # Errors
        /// The card fails.
        pub fn same(&self, sides: [&Seen; 2]) -> Result<bool> {
            let queue = Queue::new(&self.gpu);
            let [left, right] = sides.map(|seen| seen.sheet.all_on(&queue));
            let [there, here] = &self.differ;
            let launches = differ([&left?, &right?], &queue.raster(there)?)?;
            // SAFETY: these are the arguments of the kernels, made of tensors on this card.
            unsafe { queue.run(launches.into()) }?;
            self.gpu.download(there, here)?;
            Ok(here.flatten_all()?.to_vec1::<f32>()?[0] == 0.0)
        }

        /// Flow, mask and confidence of the last picture that was made, on the CPU.
        ///
        /// # Errors
        /// The card has failed.
        pub fn found(&self, motion: &Motion) -> Result<&[Tensor; 3]> {
            let queue = Queue::new(&self.gpu);
            let (launch, mask) = self.canvas.mask_of_cells(&queue)?;
            // SAFETY: these are the arguments of the kernel, made of tensors on this card.
            unsafe { queue.run(launch.into_iter().collect()) }?;
            let there = [&motion.flow, mask, &self.canvas.confidence];
            for (there, here) in there.into_iter().zip(&self.found) {
                self.gpu.download(there, here)?;
            }
            Ok(&self.found)
        }

        /// Fills what the CPU has of the last pair where it makes the picture itself: how far its pictures are apart around each cell, its edges,
        /// and the motion's difference. Answers the motion's flow.
        ///
        /// # Errors
        /// Sizes that do not fit, or the card has failed.
        pub fn bring(
            &self,
            motion: &Motion,
            [change, edges, difference]: [&Tensor; 3],
        ) -> Result<&Tensor> {
            let flow = &self.found[0];
            for (there, here) in [
                (&self.canvas.change, change),
                (&self.canvas.edges, edges),
                (&motion.difference, difference),
                (&motion.flow, flow),
            ] {
                self.gpu.download(there, here)?;
            }
            Ok(flow)
        }
    }

    fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(not(feature = "cuda"))]
pub use none::{Leaving, OnCard, Seen};

#[cfg(not(feature = "cuda"))]
mod none {
    use std::convert::Infallible;
    use std::marker::PhantomData;

    use candle_core::Tensor;

    use super::{Along, Arc, Beside};
    use crate::error::Result;
    use crate::kernels::device::Gpu;
    use crate::kernels::synthesis::Lattice;
    use crate::kernels::{Context, PhaseMap};
    use crate::network::Motion;
    use crate::picture::{Format, Picture, PictureMut};
    use crate::scene::Thumbnail;

    /// There is no card: the build is without CUDA.
    #[derive(Debug)]
    pub enum OnCard {}

    /// There is none on it.
    #[derive(Debug)]
    pub enum Seen {}

    /// None comes from it.
    pub struct Leaving<'a, 'p>(Infallible, PhantomData<&'a mut PictureMut<'p>>);

    impl Leaving<'_, '_> {
        pub fn take(self) -> Result<()> {
            match self.0 {}
        }
    }

    impl OnCard {
        pub fn new(
            (gpu, _): (&Arc<Gpu>, &Context),
            _: (Format, usize, usize),
            _: (usize, usize),
            _: Lattice,
        ) -> Result<Self> {
            match **gpu {}
        }

        pub fn run<T>(&self, _: impl FnOnce() -> Result<T>) -> Result<T> {
            match *self {}
        }

        pub fn seen(&self, _: Tensor) -> Result<Seen> {
            match *self {}
        }

        pub fn see(
            &self,
            _: &Picture,
            _: &Seen,
            _: &Beside,
            _: impl FnOnce(&Tensor) -> Result<()>,
        ) -> Result<()> {
            match *self {}
        }

        pub fn thumbnail(&self, _: &Seen, _: &mut Thumbnail) -> Result<()> {
            match *self {}
        }

        pub fn send(&self, _: &PhaseMap) -> Result<PhaseMap> {
            match *self {}
        }

        pub fn relate(&self, _: [&Tensor; 2]) -> Result<()> {
            match *self {}
        }

        pub fn disagree(
            &self,
            _: [&Tensor; 2],
            _: f32,
            _: (&Tensor, &PhaseMap),
            _: &Tensor,
        ) -> Result<()> {
            match *self {}
        }

        pub fn coarsen(&self, _: [&Tensor; 2], _: &Tensor, _: &Motion) -> Result<()> {
            match *self {}
        }

        pub fn paint(&self, _: [&Seen; 2], _: (&Along, &PhaseMap), _: usize) -> Result<()> {
            match *self {}
        }

        pub fn deliver<'a, 'p>(
            &self,
            _: usize,
            _: &'a mut PictureMut<'p>,
        ) -> Result<Leaving<'a, 'p>> {
            match *self {}
        }

        pub fn same(&self, _: [&Seen; 2]) -> Result<bool> {
            match *self {}
        }

        pub fn found(&self, _: &Motion) -> Result<&[Tensor; 3]> {
            match *self {}
        }

        pub fn bring(&self, _: &Motion, _: [&Tensor; 3]) -> Result<&Tensor> {
            match *self {}
        }
    }
}
