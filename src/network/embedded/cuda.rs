//! The launches of the embedded network on a card, its workspace's tensors being there: the same stages, in the same order, as
//! [`Encoder::run`], [`Decoder::run`] and [`Refiner::run`], some of them fused.

use candle_core::Tensor;

use super::config::NORM_EPSILON;
use super::decoder::{Ahead, Decoder, DecoderSpace, Match, Motions, Sharpness, Side};
use super::encoder::{Encoder, EncoderSpace};
use super::refiner::{Refiner, RefinerSpace};
#[cfg(feature = "cuda")]
use super::zeros;
use super::{HALF_CELL, Network, QUARTER, Workspace};
use crate::error::Result;
#[cfg(feature = "cuda")]
use crate::kernels::Context;
use crate::kernels::PhaseMap;
use crate::kernels::agreement::cuda::{Answer, agree};
use crate::kernels::bend::cuda as bend;
use crate::kernels::carry::cuda as carry;
use crate::kernels::conv::{Activation, Filter};
use crate::kernels::correlation::cuda::correlate;
use crate::kernels::cuda::{Card, DeviceRaster, Features, Launch};
#[cfg(feature = "cuda")]
use crate::kernels::device::{Gpu, Queue};
use crate::kernels::hypotheses::cuda as hypotheses;
use crate::kernels::luma::cuda::gather;
use crate::kernels::motion::cuda as motion;
use crate::kernels::resample::cuda as resample;
#[cfg(feature = "cuda")]
use crate::kernels::search::cuda::level_bytes;
use crate::kernels::search::cuda::{DeviceLevel, search};
use crate::kernels::still::cuda::cells;
use crate::kernels::warp::cuda::warp;
use crate::network::Encoded;

/// What a stage tells the card to do.
struct Stage<'a> {
    card: &'a dyn Card,
    launches: Vec<Launch>,
}

impl<'a> Stage<'a> {
    fn new(card: &'a dyn Card) -> Self {
        Self {
            card,
            launches: Vec::new(),
        }
    }

    fn convolve(
        &mut self,
        filter: &Filter,
        inputs: &[&Tensor],
        residual: Option<&Tensor>,
        activation: Activation,
        out: &Tensor,
    ) -> Result<()> {
        let inputs = inputs.iter().map(|input| self.card.raster(input));
        let inputs = inputs.collect::<candle_core::Result<Vec<_>>>()?;
        let inputs: Vec<_> = inputs.iter().map(Features::F32).collect();
        let residual = residual.map(|r| self.card.raster(r)).transpose()?;
        let residual = residual.as_ref().map(Features::F32);
        let out = self.card.raster(out)?;
        let filter = self.card.filter(filter)?;
        let launch = filter.apply(&inputs, residual, activation, Features::F32(&out))?;
        self.launches.push(launch);
        Ok(())
    }

    fn encode(
        &mut self,
        encoder: &Encoder,
        space: &EncoderSpace,
        view: &Tensor,
        out: &Encoded,
    ) -> Result<()> {
        use Activation::Linear;
        let down = &space.down;
        self.convolve(&encoder.stem, &[view], None, Linear, &out.fine)?;
        self.convolve(&encoder.down, &[&out.fine], None, Linear, down)?;
        self.convolve(&encoder.deep, &[down], Some(down), Linear, &out.coarse)?;
        let card = self.card;
        let pixels = card.raster(&view.narrow(2, 0, 4)?)?;
        let [whole, half] = [card.bytes(&out.bytes[0])?, card.bytes(&out.bytes[1])?];
        self.launches.push(gather(&pixels, &whole, &half)?);
        let mut finer = card.raster(&out.luma[0])?;
        self.launches.push(resample::mean(&pixels, &finer)?);
        for level in &out.luma[1..] {
            let level = card.raster(level)?;
            self.launches.push(resample::half_smooth(&finer, &level)?);
            finer = level;
        }
        Ok(())
    }

    /// As [`Match::run`]; fills `difference`, too, if it is wanted.
    fn compare(
        &mut self,
        m: &Match,
        sides: [Side; 2],
        sharp: Sharpness,
        difference: Option<&DeviceRaster>,
    ) -> Result<()> {
        let card = self.card;
        let (flow, phase) = (card.raster(&m.flow)?, card.raster(&m.phase)?);
        let warped = [card.raster(&m.left)?, card.raster(&m.right)?];
        for (i, (side, out)) in sides.iter().zip(&warped).enumerate() {
            let (from, to) = (card.raster(side.0)?, Features::F32(out));
            let flow = card.raster(&m.flow.narrow(2, 2 * i, 2)?)?;
            let launch = warp(Features::F32(&from), &flow, Some(NORM_EPSILON), to)?;
            self.launches.push(launch);
        }
        let warped = [Features::F32(&warped[0]), Features::F32(&warped[1])];
        let displacement = card.raster(&m.displacement)?;
        let expected = Some((sharp.features, &displacement));
        let scores = card.raster(&m.scores)?;
        let launch = correlate(warped, &phase, &scores, expected)?;
        self.launches.push(launch);
        let luma = [card.bytes(sides[0].1)?, card.bytes(sides[1].1)?];
        let answer = Answer {
            out: &card.raster(&m.luma)?,
            difference,
        };
        let launch = agree([&luma[0], &luma[1]], &flow, &phase, sharp.luma, &answer)?;
        self.launches.push(launch);
        Ok(())
    }

    fn decode(
        &mut self,
        decoder: &Decoder,
        s: &DecoderSpace,
        motions: Motions,
        sides: [Side; 2],
        phase: &PhaseMap,
    ) -> Result<()> {
        use Activation::{Leaky, Linear};
        let (m, card) = (&s.matched, self.card);
        let state = card.raster(&m.state)?;
        self.launches
            .push(motion::begin(&card.phase(phase)?, &state)?);
        let luma = [card.bytes(sides[0].1)?, card.bytes(sides[1].1)?];
        let (found, past) = (card.raster(motions.found)?, card.raster(motions.past)?);
        let space = s.hypotheses.on(card)?;
        let chosen = (&card.raster(&m.flow)?, &card.raster(&s.cues)?);
        let phase = card.raster(&m.phase)?;
        let luma = [&luma[0], &luma[1]];
        self.launches.extend(hypotheses::choose(
            luma,
            (&found, &past),
            &phase,
            &space,
            chosen,
        )?);
        self.compare(m, sides, decoder.sharpness, None)?;
        let sides = [&m.left, &m.right, &m.scores, &m.luma_scores];
        self.convolve(&decoder.squeeze, &sides, None, Leaky, &s.squeezed)?;
        let known = [&s.squeezed, &s.cues, &m.state, &m.summary];
        self.convolve(&decoder.entry, &known, None, Leaky, &s.entered)?;
        self.convolve(&decoder.res1, &[&s.entered], None, Leaky, &s.inner)?;
        let entered = Some(&s.entered);
        self.convolve(&decoder.res2, &[&s.inner], entered, Leaky, &s.features)?;
        self.convolve(&decoder.head, &[&s.features], None, Linear, &s.head)?;
        match motions.ahead {
            None => self.update(m, &s.head, Some(&card.raster(&s.acceleration)?)),
            Some(ahead) => self.bend(s, ahead),
        }
    }

    fn bend(&mut self, s: &DecoderSpace, ahead: &Ahead) -> Result<()> {
        let (m, card) = (&s.matched, self.card);
        let cells = bend::DeviceCells {
            flow: card.raster(&m.flow)?,
            phase: card.raster(&m.phase)?,
            cues: card.raster(&s.cues)?,
            change: card.raster(&s.head)?,
            future: card.raster(&ahead.future)?,
        };
        let by = card.raster(&ahead.bend)?;
        self.launches.push(bend::bend(&ahead.field, &cells, &by)?);
        self.update(m, &s.head, None)?;
        let state = card.raster(&m.state)?;
        self.launches.push(motion::put_ahead(&by, &state)?);
        Ok(())
    }

    fn update(
        &mut self,
        m: &Match,
        head: &Tensor,
        acceleration: Option<&DeviceRaster>,
    ) -> Result<()> {
        let (head, summary) = (self.card.raster(head)?, self.card.raster(&m.summary)?);
        let state = self.card.raster(&m.state)?;
        let launch = motion::update(&head, &summary, acceleration, &state)?;
        self.launches.push(launch);
        Ok(())
    }

    fn refine(
        &mut self,
        refiner: &Refiner,
        s: &RefinerSpace,
        coarser: &DecoderSpace,
        sides: [Side; 2],
        (phase, difference): (&PhaseMap, &Tensor),
    ) -> Result<()> {
        use Activation::{Leaky, Linear};
        let (m, card) = (&s.matched, self.card);
        for (filter, rows) in refiner.expand.iter().zip(&s.rows) {
            self.convolve(filter, &[&coarser.features], None, Linear, rows)?;
        }
        let (from, detail) = (
            card.raster(&coarser.matched.state)?,
            card.raster(&s.detail)?,
        );
        let state = card.raster(&m.state)?;
        let advance = motion::advance(&from, Some(&detail), &card.phase(phase)?, &state)?;
        self.launches.push(advance);
        let difference = card.raster(difference)?;
        self.compare(m, sides, refiner.sharpness, Some(&difference))?;
        let known = [&m.left, &m.right, &m.scores, &m.luma, &s.up, &m.state];
        self.convolve(&refiner.squeeze, &known, None, Leaky, &s.squeezed)?;
        let squeezed = Some(&s.squeezed);
        self.convolve(&refiner.conv, &[&s.squeezed], squeezed, Leaky, &s.features)?;
        self.convolve(&refiner.head, &[&s.features], None, Linear, &s.head)?;
        self.update(m, &s.head, None)
    }
}

impl Network {
    /// As [`Network::encode`].
    ///
    /// # Errors
    /// Sizes other than the workspace's.
    pub fn encode_launches(
        &self,
        card: &dyn Card,
        ws: &Workspace,
        view: &Tensor,
        out: &Encoded,
    ) -> Result<Vec<Launch>> {
        let mut stage = Stage::new(card);
        stage.encode(&self.encoder, &ws.encoder, view, out)?;
        Ok(stage.launches)
    }

    /// As [`Network::begin`].
    ///
    /// # Errors
    /// Pictures of another size than the workspace's.
    pub fn begin_launches(
        &self,
        card: &dyn Card,
        ws: &Workspace,
        [left, right]: [&Encoded; 2],
        pace: Option<f32>,
    ) -> Result<Vec<Launch>> {
        let luma = [card.bytes(&left.bytes[1])?, card.bytes(&right.bytes[1])?];
        let space = ws.decoder.hypotheses.on(card)?;
        let rest = &space.costs[space.costs.len() - 1];
        let back = card.raster(&ws.found.narrow(2, 2, 2)?)?;
        let past = card.raster(&ws.past)?;
        Ok(vec![
            cells([&luma[0], &luma[1]], Some(rest), None)?,
            hypotheses::scaled(&back, pace, &past)?,
        ])
    }

    /// As [`Network::find`]; the levels are those of [`crate::kernels::search::cuda::levels`] from the network's finest on, the
    /// flows of the first one the workspace's own.
    ///
    /// # Errors
    /// Pictures of another size than the workspace's.
    pub fn find_launches(
        &self,
        card: &dyn Card,
        ws: &Workspace,
        [left, right]: [&Encoded; 2],
        levels: &[DeviceLevel],
        found: &Tensor,
    ) -> Result<Vec<Launch>> {
        let pyramid = |encoded: &Encoded| {
            let searched = encoded.luma.iter().skip(self.config.finest);
            let searched = searched.take(levels.len());
            searched.map(|luma| card.raster(luma)).collect()
        };
        let pyramids: [candle_core::Result<Vec<_>>; 2] = [left, right].map(pyramid);
        let [left, right] = pyramids;
        let mut launches = search([&left?, &right?], levels)?;
        let ways = [card.raster(&ws.ways[0])?, card.raster(&ws.ways[1])?];
        let factor = HALF_CELL >> self.config.finest;
        let (ways, found) = ([&ways[0], &ways[1]], card.raster(found)?);
        launches.push(hypotheses::gather(ways, factor, &found)?);
        Ok(launches)
    }

    /// As [`Network::foresee`].
    ///
    /// # Errors
    /// None that a card's memory has.
    pub fn foresee_launch(card: &dyn Card, ahead: &Ahead, pace: Option<f32>) -> Result<Launch> {
        let motion = card.raster(&ahead.found.narrow(2, 0, 2)?)?;
        let future = card.raster(&ahead.future)?;
        Ok(hypotheses::scaled(&motion, pace, &future)?)
    }

    /// As [`Network::estimate`].
    ///
    /// # Errors
    /// Pictures of another size than the workspace's, a plane of phases of another size.
    pub fn estimate_launches(
        &self,
        card: &dyn Card,
        ws: &Workspace,
        [left, right]: [&Encoded; 2],
        phase: &PhaseMap,
    ) -> Result<Vec<Launch>> {
        let mut stage = Stage::new(card);
        let (decoder, refiner) = (&ws.decoder, &ws.refiner);
        stage.launches.extend(ws.finer_phase(card, phase)?);
        let sides = [left, right].map(|e| (&e.coarse, &e.bytes[1]));
        let coarse = ws.phases.coarse(phase)?;
        stage.decode(&self.decoder, decoder, ws.motions(), sides, &coarse)?;
        let sides = [left, right].map(|e| (&e.fine, &e.bytes[0]));
        let fine = (&ws.phases.fine(phase), &ws.motion.difference);
        stage.refine(&self.refiner, refiner, decoder, sides, fine)?;
        let state = card.raster(&refiner.matched.state)?;
        let (flow, mask) = (card.raster(&ws.motion.flow)?, card.raster(&ws.motion.mask)?);
        let launch = motion::conclude(&state, QUARTER, &flow, &mask)?;
        stage.launches.push(launch);
        Ok(stage.launches)
    }
}

impl Workspace {
    /// As [`Workspace::carry`]; the difference of the middle `keeps` to its state first.
    ///
    /// # Errors
    /// None that a workspace on the card has.
    pub fn carry_launches(
        &self,
        card: &dyn Card,
        keeps: bool,
        phase: &PhaseMap,
    ) -> Result<Vec<Launch>> {
        let (state, carried) = (&self.refiner.matched.state, &self.carried);
        let (state, carried) = (card.raster(state)?, card.raster(carried)?);
        let (flow, mask) = (&self.motion.flow, &self.motion.mask);
        let (flow, mask) = (card.raster(flow)?, card.raster(mask)?);
        let difference = card.raster(&self.motion.difference)?;
        let mut launches = Vec::from_iter(self.finer_phase(card, phase)?);
        if keeps {
            launches.push(carry::keep(&difference, &state)?);
        }
        let phase = card.phase(&self.phases.fine(phase))?;
        launches.push(carry::carry(&state, &phase, &carried, &difference)?);
        launches.push(motion::conclude(&carried, QUARTER, &flow, &mask)?);
        Ok(launches)
    }

    /// Brings a plane of phases to the finer size.
    fn finer_phase(&self, card: &dyn Card, phase: &PhaseMap) -> Result<Option<Launch>> {
        let PhaseMap::Plane(plane) = phase else {
            return Ok(None);
        };
        let plane = card.raster(&plane.unsqueeze(2)?)?;
        let fine = card.raster(&self.phases.fine)?;
        Ok(Some(resample::double(&plane, 1.0, None, &fine)?))
    }

    /// [`Workspace::carry`] of tensors on a card.
    #[cfg(feature = "cuda")]
    pub(super) fn carry_on(&self, gpu: &Gpu, keeps: bool, phase: &PhaseMap) -> Result<()> {
        let queue = Queue::new(gpu);
        let launches = self.carry_launches(&queue, keeps, phase)?;
        // SAFETY: these are the arguments of the kernels, made of tensors on this card.
        unsafe { queue.run(launches) }
    }
}

/// Memory of one level of a search; without that of the flows where these are the workspace's.
#[cfg(feature = "cuda")]
#[derive(Debug)]
pub struct Room {
    patches: Tensor,
    flows: Option<[Tensor; 2]>,
}

/// Memory for a search of levels of these sizes on the context's card, none on the CPU.
#[cfg(feature = "cuda")]
pub fn rooms(context: &Context, sizes: &[(usize, usize)]) -> Result<Vec<Room>> {
    let device = context.device();
    let room = |(i, size): (usize, &(usize, usize))| {
        let flow = || zeros(*size, 2, &device);
        let own = (i > 0).then(|| -> Result<_> { Ok([flow()?, flow()?]) });
        Ok(Room {
            patches: zeros((1, 1), level_bytes(*size) / size_of::<f32>(), &device)?,
            flows: own.transpose()?,
        })
    };
    match context.gpu() {
        Some(_) => sizes.iter().enumerate().map(room).collect(),
        None => Ok(Vec::new()),
    }
}

#[cfg(feature = "cuda")]
impl Network {
    /// [`Network::encode`] of tensors on a card.
    pub(super) fn encode_on(
        &self,
        gpu: &Gpu,
        ws: &Workspace,
        view: &Tensor,
        out: &Encoded,
    ) -> Result<()> {
        let queue = Queue::new(gpu);
        let launches = self.encode_launches(&queue, ws, view, out)?;
        // SAFETY: these are the arguments of the kernels, made of tensors on this card.
        unsafe { queue.run(launches) }
    }

    /// [`Network::begin`] of tensors on a card.
    pub(super) fn begin_on(
        &self,
        gpu: &Gpu,
        ws: &Workspace,
        pictures: [&Encoded; 2],
        pace: Option<f32>,
    ) -> Result<()> {
        let queue = Queue::new(gpu);
        let launches = self.begin_launches(&queue, ws, pictures, pace)?;
        // SAFETY: these are the arguments of the kernels, made of tensors on this card.
        unsafe { queue.run(launches) }
    }

    /// [`Network::foresee`] of tensors on a card.
    pub(super) fn foresee_on(gpu: &Gpu, ahead: &Ahead, pace: Option<f32>) -> Result<()> {
        let queue = Queue::new(gpu);
        let launch = Self::foresee_launch(&queue, ahead, pace)?;
        // SAFETY: these are the arguments of the kernel, made of tensors on this card.
        unsafe { queue.run(vec![launch]) }
    }

    /// [`Network::find`] of tensors on a card.
    pub(super) fn find_on(
        &self,
        gpu: &Gpu,
        ws: &Workspace,
        pictures: [&Encoded; 2],
        found: &Tensor,
    ) -> Result<()> {
        let level = |room: &Room| {
            let [forth, back] = room.flows.as_ref().unwrap_or(&ws.ways);
            Ok(DeviceLevel {
                patches: gpu.raster::<f32>(&room.patches)?.address(),
                flows: [gpu.raster(forth)?, gpu.raster(back)?],
            })
        };
        let levels = ws.rooms.iter().map(level);
        let levels = levels.collect::<candle_core::Result<Vec<_>>>()?;
        let queue = Queue::new(gpu);
        let launches = self.find_launches(&queue, ws, pictures, &levels, found)?;
        // SAFETY: these are the arguments of the kernels, made of tensors on this card; each level has the memory that it needs.
        unsafe { queue.run(launches) }
    }

    /// [`Network::estimate`] of tensors on a card.
    pub(super) fn estimate_on(
        &self,
        gpu: &Gpu,
        ws: &Workspace,
        pictures: [&Encoded; 2],
        phase: &PhaseMap,
    ) -> Result<()> {
        let queue = Queue::new(gpu);
        let launches = self.estimate_launches(&queue, ws, pictures, phase)?;
        // SAFETY: these are the arguments of the kernels, made of tensors on this card.
        unsafe { queue.run(launches) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use candle_core::Device;

    use super::*;
    use crate::kernels::cuda::emulation::{Host, output, run};
    use crate::kernels::search::cuda::{level_bytes, levels as searched};
    use crate::kernels::testing::{close, contexts, zeros};
    use crate::network::Variant;
    use crate::network::embedded::levels;

    const VIEW: (usize, usize) = (44, 60);

    /// The view of a texture that moves.
    fn view(moved: f32) -> Tensor {
        let value = |i: usize| {
            let (c, x, y) = (i % 6, i / 6 % VIEW.1, i / 6 / VIEW.1);
            let (x, y) = (2 * x + c % 2, 2 * y + c / 2 % 2);
            let (x, y) = (x as f32 - moved, y as f32 + 0.5 * moved);
            0.2 * (0.31 * x + 0.05 * y).sin() + 0.2 * (0.23 * y - 0.002 * x * x).cos()
        };
        let values = (0..VIEW.0 * VIEW.1 * 6).map(value).collect();
        Tensor::from_vec(values, (VIEW.0, VIEW.1, 6), &Device::Cpu).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Rounding of some twenty layers, in pixels of the picture and in parts of 1.
    const TOLERANCE: f32 = 2e-3;

    /// The network on a card, which the host plays, beside the CPU.
    struct Both {
        network: Arc<Network>,
        host: Host,
        want: Workspace,
        got: Workspace,
        memory: Vec<Vec<f32>>,
        flows: Vec<[Tensor; 2]>,
    }

    impl Both {
        fn new(variant: Variant) -> Self {
            let (plain, _) = contexts();
            let network = variant.network().unwrap();
            let [want, got] = [0; 2].map(|_| network.workspace(&plain, VIEW.0, VIEW.1).unwrap());
            let sizes = levels(VIEW);
            let sizes = searched(&sizes, network.config.finest).unwrap();
            let memory = sizes.iter().map(|s| vec![0f32; level_bytes(*s) / 4]);
            let flows = sizes[1..]
                .iter()
                .map(|s| [0; 2].map(|_| zeros(&[s.0, s.1, 2])));
            Self {
                host: Host::default(),
                memory: memory.collect(),
                flows: flows.collect(),
                network,
                want,
                got,
            }
        }

        /// A picture that has moved, as both have encoded it: the CPU, the card.
        fn encoded(&mut self, moved: f32) -> [Encoded; 2] {
            let (network, view) = (&self.network, view(moved));
            let [mut want, got] = [0; 2].map(|_| self.want.encoded().unwrap());
            network.encode(&mut self.want, &view, &mut want).unwrap();
            let launches = network.encode_launches(&self.host, &self.got, &view, &got);
            run(launches.unwrap());
            close("fine", &values(&got.fine), &values(&want.fine), 1e-4);
            close("coarse", &values(&got.coarse), &values(&want.coarse), 1e-4);
            [want, got]
        }

        fn begin(&self, pair: [&Encoded; 2], pace: Option<f32>) {
            let launches = self
                .network
                .begin_launches(&self.host, &self.got, pair, pace);
            run(launches.unwrap());
        }

        fn find(&mut self, pair: [&Encoded; 2], found: &Tensor) {
            let flows = std::iter::once(&self.got.ways).chain(&self.flows);
            let level = |(memory, flows): (&mut Vec<f32>, &[Tensor; 2])| DeviceLevel {
                patches: memory.as_mut_ptr() as u64,
                flows: flows.each_ref().map(output),
            };
            let rooms: Vec<_> = self.memory.iter_mut().zip(flows).map(level).collect();
            let network = &self.network;
            let launches = network.find_launches(&self.host, &self.got, pair, &rooms, found);
            run(launches.unwrap());
        }

        fn search(&mut self, pair: [&[Encoded; 2]; 2], pace: Option<f32>) {
            let [left, right] = pair;
            let network = self.network.clone();
            network
                .search(&mut self.want, &left[0], &right[0], pace)
                .unwrap();
            self.begin([&left[1], &right[1]], pace);
            let found = self.got.found.clone();
            self.find([&left[1], &right[1]], &found);
            self.expect_found();
        }

        fn look_ahead(&mut self, right: &[Encoded; 2], after: Option<(&[Encoded; 2], f32)>) {
            let network = self.network.clone();
            let on_cpu = after.map(|(after, pace)| (&after[0], pace));
            network
                .look_ahead(&mut self.want, &right[0], on_cpu, false)
                .unwrap();
            let found = self.got.ahead().unwrap().found.clone();
            if let Some((after, _)) = after {
                self.find([&right[1], &after[1]], &found);
            }
            let (host, pace) = (&self.host, after.map(|(_, pace)| pace));
            let launch = Network::foresee_launch(host, self.got.ahead().unwrap(), pace);
            run([launch.unwrap()]);
            self.got.follows = true;
            let (got, want) = (self.got.ahead().unwrap(), self.want.ahead().unwrap());
            assert_eq!(values(&got.found), values(&want.found), "motion ahead");
            assert_eq!(values(&got.future), values(&want.future), "motion after");
        }

        fn proceed(&mut self, [left, right]: [&[Encoded; 2]; 2], pace: Option<f32>) {
            let network = self.network.clone();
            network
                .proceed(&mut self.want, &left[0], &right[0], pace)
                .unwrap();
            self.begin([&left[1], &right[1]], pace);
            self.got.exchange().unwrap();
            self.expect_found();
        }

        fn expect_found(&self) {
            let (got, want) = (&self.got, &self.want);
            assert_eq!(values(&got.found), values(&want.found), "motion found");
            assert_eq!(values(&got.past), values(&want.past), "motion before");
        }

        fn estimate(&mut self, [left, right]: [&[Encoded; 2]; 2]) {
            let network = self.network.clone();
            let (h, w) = self.got.sizes.coarse;
            let plane = Tensor::full(0.25f32, (h, w), &Device::Cpu).unwrap();
            // at the phase itself
            for phase in [PhaseMap::Plane(plane), PhaseMap::Uniform(0.5)] {
                let unseen = &mut |_: &str, _: usize, _: &Tensor| ();
                network
                    .estimate_observed(&mut self.want, &left[0], &right[0], &phase, unseen)
                    .unwrap();
                let pair = [&left[1], &right[1]];
                let launches = network.estimate_launches(&self.host, &self.got, pair, &phase);
                run(launches.unwrap());
                self.expect_motion();
            }
        }

        /// What is carried to other phases from the middle, which was estimated last.
        fn carry(&mut self, [left, right]: [&[Encoded; 2]; 2]) {
            let network = self.network.clone();
            let (h, w) = self.got.sizes.coarse;
            let uneven = Tensor::rand(0.1f32, 0.9, (h, w), &Device::Cpu).unwrap();
            for (keeps, phase) in [
                (true, PhaseMap::Uniform(0.3)),
                (false, PhaseMap::Plane(uneven)),
            ] {
                network
                    .estimate(&mut self.want, &left[0], &right[0], &phase)
                    .unwrap();
                run(self.got.carry_launches(&self.host, keeps, &phase).unwrap());
                self.expect_motion();
            }
        }

        fn expect_motion(&self) {
            let (got, want) = (&self.got.motion, &self.want.motion);
            close("flow", &values(&got.flow), &values(&want.flow), TOLERANCE);
            close("mask", &values(&got.mask), &values(&want.mask), TOLERANCE);
            let (got, want) = (&got.difference, &want.difference);
            close("difference", &values(got), &values(want), TOLERANCE);
        }
    }

    #[test]
    fn the_whole_network_agrees() {
        for variant in [Variant::Fast, Variant::Balanced] {
            let mut both = Both::new(variant);
            let [a, b] = [0.0, 5.0].map(|moved| both.encoded(moved));
            for pace in [None, Some(0.5)] {
                both.search([&a, &b], pace);
                both.estimate([&a, &b]);
                both.carry([&a, &b]);
            }
        }
    }

    #[test]
    fn trajectories_agree() {
        let mut both = Both::new(Variant::Balanced);
        let [a, b, c] = [0.0, 5.0, 13.0].map(|moved| both.encoded(moved));
        both.search([&a, &b], None);
        both.look_ahead(&b, None);
        both.estimate([&a, &b]);
        both.look_ahead(&b, Some((&c, 0.8)));
        both.estimate([&a, &b]);
        both.proceed([&b, &c], Some(1.25));
        both.look_ahead(&c, None);
        both.estimate([&b, &c]);
        both.got.follow_none();
        both.want.follow_none();
        both.estimate([&b, &c]);
    }
}
