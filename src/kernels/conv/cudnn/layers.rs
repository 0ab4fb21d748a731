//! Which convolutions of a network are cuDNN's, and the memory that these share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use candle_core::{DType, Tensor};

use super::super::dense::Dense;
use super::super::flop;
use super::{Activation, Features, Filter, Layer};
use crate::kernels::cuda::Card;
use crate::kernels::device::{Addresses, Cudnn, Gpu, Plan, Queue, Shape};
use crate::kernels::{Context, Precision, Way};

/// Runs that are timed together take so long at least, but there are not more of them than so many.
const TIMED: Duration = Duration::from_millis(1);
const MOST_TIMED: u32 = 16;
/// How often either way is timed; the least counts.
const ROUNDS: usize = 2;

/// What cuDNN needs for the convolutions of a context's networks.
#[derive(Debug, Default)]
pub struct Layers {
    /// Opened with the first convolution, if it is there.
    cudnn: OnceLock<Option<Arc<Cudnn>>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Of those that are ours: none.
    plans: HashMap<Key, Option<Plan>>,
    room: Room,
}

/// What lies between the kernels of one convolution.
#[derive(Debug, Default)]
struct Room {
    joined: Scratch,
    sums: Scratch,
    workspace: Scratch,
}

/// What decides about a convolution: its shape, and what has to be done beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    shape: Shape,
    /// Whether the input has to be joined, and there is a residual.
    joined: bool,
    residual: bool,
}

/// Memory of the card that grows with what is asked of it.
#[derive(Debug, Default)]
struct Scratch(Option<Tensor>);

impl Scratch {
    /// Bytes of a row of the tensor that it is: a tensor counts its rows.
    const ROW: usize = 4096;

    /// The address of so many bytes; what was there is lost if they are more than ever. Memory that is let go is used again only by what is
    /// queued later.
    fn room(&mut self, gpu: &Gpu, bytes: usize) -> candle_core::Result<u64> {
        let rows = bytes.div_ceil(Self::ROW).max(1);
        let known = self.0.take().filter(|t| t.dims()[0] >= rows);
        let zeros = || Tensor::zeros((rows, Self::ROW, 1), DType::U8, &gpu.device());
        let tensor = known.map_or_else(zeros, Ok)?;
        let address = gpu.raster::<u8>(&tensor)?.address();
        self.0 = Some(tensor);
        Ok(address)
    }
}

impl Filter {
    /// [`Filter::apply`] of tensors on a card, by cuDNN or as [`Dense`] does, whichever the context's way asks for.
    pub(in super::super) fn apply_by_cudnn(
        &self,
        (context, gpu): (&Context, &Gpu),
        inputs: &[&Tensor],
        residual: Option<&Tensor>,
        activation: Activation,
        out: &Tensor,
    ) -> candle_core::Result<()> {
        let own = || {
            let (dense, weights) = (Dense::one(self), &self.dense_on_card);
            dense.apply_on(gpu, weights, inputs, residual, activation, out)
        };
        let layers = context.layers();
        let Some(cudnn) = layers.cudnn(gpu) else {
            return own();
        };
        let card = Queue::new(gpu);
        let inputs = inputs.iter().map(|input| card.features(input));
        let inputs = inputs.collect::<candle_core::Result<Vec<_>>>()?;
        let residual = residual.map(|r| card.features(r)).transpose()?;
        let Some(layer) = Layer::new(self, &inputs, residual, activation, card.features(out)?)?
        else {
            return own();
        };
        let weights = self.cudnn_on_card.keep(gpu, || self.for_cudnn())?;
        let run = Run {
            gpu,
            cudnn,
            layer,
            weights: gpu.raster::<u32>(&weights)?.address(),
        };
        match layers.run(&run, context.way(), own)? {
            true => Ok(()),
            false => own(),
        }
    }
}

impl Layers {
    fn cudnn(&self, gpu: &Gpu) -> Option<&Cudnn> {
        let cudnn = self.cudnn.get_or_init(|| gpu.cudnn().ok());
        cudnn.as_deref()
    }

    /// Runs a convolution by cuDNN, or not: whether it did. What is queued for one lies together, as all share the memory.
    fn run(
        &self,
        run: &Run,
        way: Way,
        own: impl Fn() -> candle_core::Result<()>,
    ) -> candle_core::Result<bool> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let key = run.layer.key();
        if !state.plans.contains_key(&key) {
            let plan = run.gpu.apart(|| run.plan(&mut state.room, way, own));
            state.plans.insert(key, plan?);
        }
        let Some(Some(plan)) = state.plans.get(&key) else {
            return Ok(false);
        };
        match run.gpu.apart(|| run.queue(plan, &mut state.room)) {
            Ok(()) => Ok(true),
            // no more of these: what is wrong with the card shows as ours runs
            Err(_) => {
                state.plans.insert(key, None);
                Ok(false)
            }
        }
    }
}

impl Layer<'_> {
    fn key(&self) -> Key {
        let [inputs, outputs] = self.channels();
        Key {
            shape: Shape {
                size: self.size(),
                out: self.out.size(),
                inputs,
                outputs,
                kernel: self.filter.kernel,
                stride: self.filter.stride,
            },
            joined: self.ready().is_none(),
            residual: self.residual.is_some(),
        }
    }

    /// Whether to run it twice is to run it once: the output is nothing that it reads.
    fn repeats(&self) -> bool {
        let address = |features: &Features| match features {
            Features::F32(raster) => raster.address(),
            Features::F16(raster) => raster.address(),
        };
        let read = self.inputs.iter().chain(&self.residual);
        read.into_iter().all(|f| address(f) != address(&self.out))
    }
}

/// A convolution about to be run by cuDNN.
struct Run<'a> {
    gpu: &'a Gpu,
    cudnn: &'a Cudnn,
    layer: Layer<'a>,
    weights: u64,
}

impl Run<'_> {
    /// How cuDNN is to make it; none if it is to be ours, as cuDNN has no way, or a slower one where that counts.
    fn plan(
        &self,
        room: &mut Room,
        way: Way,
        own: impl Fn() -> candle_core::Result<()>,
    ) -> candle_core::Result<Option<Plan>> {
        let Ok(plan) = self.cudnn.plan(&self.layer.key().shape) else {
            return Ok(None);
        };
        if way == Way::CudnnAll {
            return Ok(Some(plan));
        }
        if !self.layer.repeats() {
            return Ok(None);
        }
        Ok(self.is_faster(&plan, room, own)?.then_some(plan))
    }

    fn is_faster(
        &self,
        plan: &Plan,
        room: &mut Room,
        own: impl Fn() -> candle_core::Result<()>,
    ) -> candle_core::Result<bool> {
        let mut least = [Duration::MAX; 2];
        for _ in 0..ROUNDS {
            let Ok(theirs) = time(self.gpu, || self.queue(plan, room)) else {
                return Ok(false);
            };
            let ours = time(self.gpu, &own)?;
            least = [theirs.min(least[0]), ours.min(least[1])];
        }
        Ok(least[0] < least[1])
    }

    /// Queues all of it.
    ///
    /// # Errors
    /// cuDNN's, or the card has no memory, or fails.
    fn queue(&self, plan: &Plan, room: &mut Room) -> candle_core::Result<()> {
        let (gpu, layer) = (self.gpu, &self.layer);
        let sums = room.sums.room(gpu, layer.sums_bytes())?;
        let workspace = match plan.workspace() {
            0 => 0,
            bytes => room.workspace.room(gpu, bytes)?,
        };
        let input = match layer.ready() {
            Some(address) => address,
            None => {
                let joined = room.joined.room(gpu, layer.joined_bytes())?;
                // SAFETY: these are the arguments of the kernel, made of tensors on this card, and room for what it writes.
                unsafe { gpu.run(layer.join(joined)) }?;
                joined
            }
        };
        let at = Addresses {
            input,
            weights: self.weights,
            workspace,
            sums,
        };
        let Filter {
            kernel,
            inputs,
            outputs,
            ..
        } = *layer.filter;
        let flop = flop([kernel, inputs, outputs], layer.out.size());
        let weights = layer.filter.weight_bytes(Precision::Half);
        let bytes = (layer.joined_bytes() + layer.sums_bytes()) as u64 + weights;
        // SAFETY: the plan is of this layer's shape, of which tensors lie at these addresses.
        let done = unsafe { gpu.run_cudnn(self.cudnn, (plan, flop, bytes), &at) };
        done.map_err(candle_core::Error::Msg)?;
        // SAFETY: as above.
        unsafe { gpu.run(layer.finish(self.weights, sums)) }
    }
}

/// What one run takes, of many that are waited for together if it is short; the first one is new to all and does not count.
fn time(
    gpu: &Gpu,
    mut run: impl FnMut() -> candle_core::Result<()>,
) -> candle_core::Result<Duration> {
    let mut all = |count: u32| {
        gpu.device().synchronize()?;
        let began = Instant::now();
        (0..count).try_for_each(|_| run())?;
        gpu.device().synchronize()?;
        candle_core::Result::Ok(began.elapsed() / count)
    };
    all(1)?;
    let one = all(1)?;
    let count = TIMED.as_nanos() / one.as_nanos().max(1);
    match u32::try_from(count).unwrap_or(MOST_TIMED).min(MOST_TIMED) {
        0..=1 => Ok(one),
        count => Ok(all(count)?.min(one)),
    }
}
