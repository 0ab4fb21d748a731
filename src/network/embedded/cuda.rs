//! The launches of the embedded network on a card, its workspace's tensors being there: the same stages, in the same order, as
//! [`Encoder::run`], [`Decoder::run`] and [`Refiner::run`], some of them fused.

use candle_core::Tensor;

use super::config::NORM_EPSILON;
#[cfg(feature = "cuda")]
use super::config::VIEW;
use super::decoder::{Ahead, Decoder, DecoderSpace, Match, Motions, Sharpness};
use super::encoder::{Encoder, EncoderSpace};
use super::refiner::{Refiner, RefinerSpace};
use super::{HALF_CELL, Network, QUARTER, Workspace};
#[cfg(feature = "cuda")]
use super::{expect, zeros};
use crate::error::{Error, Result};
#[cfg(feature = "cuda")]
use crate::kernels::Context;
use crate::kernels::agreement::cuda::{Answer, agree};
use crate::kernels::bend::cuda as bend;
use crate::kernels::carry::cuda as carry;
use crate::kernels::conv::{Activation, Filter};
use crate::kernels::correlation::cuda::correlate;
use crate::kernels::cuda::{Card, DeviceRaster, Features, Launch};
#[cfg(feature = "cuda")]
use crate::kernels::device::{Gpu, Queue};
use crate::kernels::hypotheses::cuda as hypotheses;
use crate::kernels::luma::cuda::{Quads, gather, quads};
use crate::kernels::motion::cuda as motion;
use crate::kernels::resample::cuda as resample;
#[cfg(feature = "cuda")]
use crate::kernels::search::cuda::level_bytes;
use crate::kernels::search::cuda::{DeviceLevel, search};
use crate::kernels::still::cuda::cells;
use crate::kernels::warp::cuda::warp;
use crate::kernels::{PhaseMap, Precision};
use crate::network::Encoded;

/// What a stage tells the card to do.
struct Stage<'a> {
    card: &'a dyn Card,
    precision: Precision,
    launches: Vec<Launch>,
}

/// Features and luma of one side.
struct Seen {
    features: Features,
    luma: Quads,
}

impl<'a> Stage<'a> {
    fn new(card: &'a dyn Card, ws: &Workspace) -> Self {
        Self {
            card,
            precision: ws.context.precision(),
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
        let inputs = inputs.iter().map(|input| self.card.features(input));
        let inputs = inputs.collect::<candle_core::Result<Vec<_>>>()?;
        let residual = residual.map(|r| self.card.features(r)).transpose()?;
        let out = self.card.features(out)?;
        let filter = self.card.filter(filter, self.precision)?;
        let launch = filter.apply(&inputs, residual, activation, out)?;
        self.launches.push(launch);
        Ok(())
    }

    /// What of [`Encoder::run`] is features, and luma in quads.
    fn see(
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
        for (i, bytes) in out.bytes.iter().enumerate() {
            let (bytes, to) = (self.card.bytes(bytes)?, self.quads(out, i)?);
            self.launches.push(quads(&bytes, &to)?);
        }
        Ok(())
    }

    /// The luma of a picture in quads, whole (0) or at half the size (1).
    fn quads(&self, encoded: &Encoded, i: usize) -> Result<Quads> {
        let Some(quads) = &encoded.quads else {
            return Err(Error::Candle(candle_core::Error::Msg(
                "a picture encoded for the CPU, expected one on the card".into(),
            )));
        };
        Ok(self.card.words(&quads[i])?)
    }

    /// What the refiner sees of a picture.
    fn fine(&self, encoded: &Encoded) -> Result<Seen> {
        Ok(Seen {
            features: self.card.features(&encoded.fine)?,
            luma: self.quads(encoded, 0)?,
        })
    }

    /// What the decoder sees of one.
    fn coarse(&self, encoded: &Encoded) -> Result<Seen> {
        Ok(Seen {
            features: self.card.features(&encoded.coarse)?,
            luma: self.quads(encoded, 1)?,
        })
    }

    /// What of it is luma.
    fn gather(&mut self, view: &Tensor, out: &Encoded) -> Result<()> {
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
        sides: &[Seen; 2],
        sharp: Sharpness,
        difference: Option<&DeviceRaster>,
    ) -> Result<()> {
        let card = self.card;
        let (flow, phase) = (card.raster(&m.flow)?, card.raster(&m.phase)?);
        let warped = [card.features(&m.left)?, card.features(&m.right)?];
        for (i, (side, out)) in sides.iter().zip(warped).enumerate() {
            let from = side.features;
            let flow = card.raster(&m.flow.narrow(2, 2 * i, 2)?)?;
            let launch = warp(from, &flow, Some(NORM_EPSILON), out)?;
            self.launches.push(launch);
        }
        let displacement = card.raster(&m.displacement)?;
        let expected = Some((sharp.features, &displacement));
        let scores = card.raster(&m.scores)?;
        let launch = correlate(warped, &phase, &scores, expected)?;
        self.launches.push(launch);
        let answer = Answer {
            out: &card.raster(&m.luma)?,
            difference,
        };
        let luma = [&sides[0].luma, &sides[1].luma];
        let launch = agree(luma, &flow, &phase, sharp.luma, &answer)?;
        self.launches.push(launch);
        Ok(())
    }

    fn decode(
        &mut self,
        decoder: &Decoder,
        s: &DecoderSpace,
        motions: Motions,
        sides: &[Seen; 2],
        phase: &PhaseMap,
    ) -> Result<()> {
        use Activation::{Leaky, Linear};
        let (m, card) = (&s.matched, self.card);
        let state = card.raster(&m.state)?;
        self.launches
            .push(motion::begin(&card.phase(phase)?, &state)?);
        let (found, past) = (card.raster(motions.found)?, card.raster(motions.past)?);
        let space = s.hypotheses.on(card)?;
        let chosen = (&card.raster(&m.flow)?, &card.raster(&s.cues)?);
        let phase = card.raster(&m.phase)?;
        let luma = [&sides[0].luma, &sides[1].luma];
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
        let (cells, by) = (s.cells_on(card, ahead)?, card.raster(&ahead.bend)?);
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
        sides: &[Seen; 2],
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
    /// As [`Network::encode`], but for the features.
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
        let mut stage = Stage::new(card, ws);
        stage.gather(view, out)?;
        Ok(stage.launches)
    }

    /// The features that [`Network::encode`] has left to be made, of views of these pictures.
    ///
    /// # Errors
    /// Sizes other than the workspace's.
    pub fn see_launches(
        &self,
        card: &dyn Card,
        ws: &Workspace,
        views: &[(Tensor, &Encoded)],
    ) -> Result<Vec<Launch>> {
        let mut stage = Stage::new(card, ws);
        for (view, out) in views {
            stage.see(&self.encoder, &ws.encoder, view, out)?;
        }
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
        let [lefts, rights] = pyramids;
        let below = match self.config.finest.checked_sub(1) {
            Some(i) => Some([card.raster(&left.luma[i])?, card.raster(&right.luma[i])?]),
            None => None,
        };
        let mut launches = search([&lefts?, &rights?], below, levels)?;
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
        let mut stage = Stage::new(card, ws);
        let (decoder, refiner) = (&ws.decoder, &ws.refiner);
        stage.launches.extend(ws.finer_phase(card, phase)?);
        let sides = [stage.coarse(left)?, stage.coarse(right)?];
        let coarse = ws.phases.coarse(phase)?;
        stage.decode(&self.decoder, decoder, ws.motions(), &sides, &coarse)?;
        let sides = [stage.fine(left)?, stage.fine(right)?];
        let fine = (&ws.phases.fine(phase), &ws.motion.difference);
        stage.refine(&self.refiner, refiner, decoder, &sides, fine)?;
        let state = card.raster(&refiner.matched.state)?;
        let (flow, mask) = (card.raster(&ws.motion.flow)?, card.raster(&ws.motion.mask)?);
        let launch = motion::conclude(&state, QUARTER, &flow, &mask)?;
        stage.launches.push(launch);
        Ok(stage.launches)
    }
}

impl DecoderSpace {
    fn cells_on(&self, card: &dyn Card, ahead: &Ahead) -> Result<bend::DeviceCells> {
        Ok(bend::DeviceCells {
            flow: card.raster(&self.matched.flow)?,
            phase: card.raster(&self.matched.phase)?,
            cues: card.raster(&self.cues)?,
            change: card.raster(&self.head)?,
            future: card.raster(&ahead.future)?,
        })
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
        let ahead = self.followed();
        if keeps {
            launches.push(carry::keep(&difference, &state)?);
            if let Some(ahead) = ahead {
                let cells = self.decoder.cells_on(card, ahead)?;
                let lean = card.raster(&ahead.lean)?;
                launches.push(bend::lean(&ahead.field, &cells, &lean)?);
            }
        }
        let phase = card.phase(&self.phases.fine(phase))?;
        launches.push(carry::carry(&state, &phase, &carried, &difference)?);
        if let Some(ahead) = ahead {
            let lean = card.raster(&ahead.lean)?;
            launches.push(bend::put_lean(&lean, &phase, &carried)?);
        }
        launches.push(motion::conclude(&carried, QUARTER, &flow, &mask)?);
        Ok(launches)
    }

    /// The levels of a search.
    #[cfg(feature = "cuda")]
    fn levels(&self, gpu: &Gpu) -> candle_core::Result<Vec<DeviceLevel>> {
        let level = |room: &Room| {
            let [forth, back] = room.flows.as_ref().unwrap_or(&self.ways);
            Ok(DeviceLevel {
                patches: gpu.raster::<f32>(&room.patches)?.address(),
                flows: [gpu.raster(forth)?, gpu.raster(back)?],
            })
        };
        self.rooms.iter().map(level).collect()
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
        let (h, w) = ws.sizes.view;
        expect("a view", view.dims(), &[h, w, VIEW])?;
        ws.expect_encoded(out)?;
        let queue = Queue::new(gpu);
        let launches = self.encode_launches(&queue, ws, view, out)?;
        // SAFETY: these are the arguments of the kernels, made of tensors on this card.
        unsafe { queue.run(launches) }?;
        out.set_unseen(Some(view));
        Ok(())
    }

    /// Queues launches, and before them, or beside them if these do not need them, the features of both pictures that are still to be made.
    fn run_with_features<'a>(
        &self,
        queue: Queue,
        ws: &Workspace,
        pictures: [&'a Encoded; 2],
        launches: Vec<Launch>,
    ) -> Result<()> {
        let unseen = |encoded: &'a Encoded| Some((encoded.set_unseen(None)?, encoded));
        let views: Vec<_> = pictures.into_iter().filter_map(unseen).collect();
        let mut all = self.see_launches(&queue, ws, &views)?;
        all.extend(launches);
        // SAFETY: these are the arguments of the kernels, made of tensors on this card, which live until all is queued; each level of a search has
        // the memory that it needs.
        unsafe { queue.run(all) }
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

    /// [`Network::search`] of tensors on a card: what begins a pair runs beside the search.
    pub(super) fn search_on(
        &self,
        gpu: &Gpu,
        ws: &Workspace,
        pictures: [&Encoded; 2],
        pace: Option<f32>,
    ) -> Result<()> {
        let queue = Queue::new(gpu);
        let mut launches = self.begin_launches(&queue, ws, pictures, pace)?;
        let levels = ws.levels(gpu)?;
        launches.extend(self.find_launches(&queue, ws, pictures, &levels, &ws.found)?);
        self.run_with_features(queue, ws, pictures, launches)
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
        let levels = ws.levels(gpu)?;
        let queue = Queue::new(gpu);
        let launches = self.find_launches(&queue, ws, pictures, &levels, found)?;
        self.run_with_features(queue, ws, pictures, launches)
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
        self.run_with_features(queue, ws, pictures, launches)
    }
}

#[cfg(test)]
mod tests;
