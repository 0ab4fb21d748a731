//! The interpolator that runs: made anew where sources are of another kind, with less where a card has too little memory.

use gst::subclass::prelude::*;
use gst_base::prelude::*;

use super::bridge::{self, Failure, Stream};
use super::economy::Economy;
use super::imp::VideoInterpolate;
use super::model::Loaded;
use super::state::{Engine, Source};
use super::streaming::Stopped;
use crate::interpolator::Interpolator;
use crate::kernels::Context;
use crate::network::{self, Variant};

impl VideoInterpolate {
    /// Runs the interpolator for these `sources` of `stream`, made anew if they are of another kind. Where a card has too little memory
    /// for it, it makes do with less of it, or none.
    pub(super) fn with_engine<T>(
        &self,
        stream: &Stream,
        sources: [Option<&Source>; 3],
        mut run: impl FnMut(&mut Interpolator) -> Result<T, Failure>,
    ) -> Result<T, Stopped> {
        loop {
            match self.try_engine(stream, &mut run) {
                Err(Stopped::Failure(Failure::DeviceMemory(problem))) => {
                    // first, for its memory is the card's
                    sources.iter().flatten().for_each(|source| source.forget());
                    self.economise(stream, problem)?;
                }
                result => return result,
            }
        }
    }

    /// Answers a card's lack of memory with the next step of [`Economy`] for pictures of `stream`, and warns of it.
    fn economise(&self, stream: &Stream, problem: String) -> Result<(), Stopped> {
        self.drop_engine();
        let loaded = self.model.wait().map_err(Stopped::Flow)?;
        if loaded.gpu.is_none() {
            return Err(Stopped::Failure(Failure::DeviceMemory(problem)));
        }
        let variant = self.variant();
        let size = (stream.info.height() as usize, stream.info.width() as usize);
        let network = network_of(&loaded, variant)?;
        let step = Economy::next(&network, &self.options(&loaded), size, variant);
        self.model.economise(step);
        if step.goes_on(loaded.economy) {
            gst::info!(bridge::category(), imp = self, "{problem}; {step:?}");
            return Ok(());
        }
        gst::element_imp_warning!(
            self,
            gst::ResourceError::NoSpaceLeft,
            ("{problem}; {}", step.text())
        );
        Ok(())
    }

    /// The options that the network runs with.
    fn options(&self, loaded: &Loaded) -> network::published::Options {
        let options = self.settings().network();
        match loaded.economy {
            Some(economy) => economy.options(options),
            None => options,
        }
    }

    fn try_engine<T>(
        &self,
        stream: &Stream,
        run: &mut impl FnMut(&mut Interpolator) -> Result<T, Failure>,
    ) -> Result<T, Stopped> {
        let loaded = self.model.wait().map_err(Stopped::Flow)?;
        let variant = self.variant();
        let mut slot = self.engine();
        let old = slot.take();
        let engine = self.engine_for(old, stream, loaded, variant)?;
        Ok(run(&mut slot.insert(engine).interpolator)?)
    }

    /// The engine for pictures of `stream` and the network that is to run: the old one as far as it fits.
    fn engine_for(
        &self,
        old: Option<Engine>,
        stream: &Stream,
        loaded: Loaded,
        variant: Option<Variant>,
    ) -> Result<Engine, Failure> {
        let mut old = old.filter(|e| super::caps::same_picture(&e.caps, &stream.caps));
        if let Some(engine) = old.take_if(|e| e.variant == variant) {
            return Ok(engine);
        }
        let model = network_of(&loaded, variant)?;
        if let Some(mut engine) = old {
            engine.interpolator.set_network(model)?;
            return Ok(Engine { variant, ..engine });
        }
        let threads = self.settings().threads as usize;
        let options = self.options(&loaded);
        let size = (stream.info.width(), stream.info.height());
        let context = Context::new(threads)?.on(loaded.gpu);
        let context = context.with_way(loaded.trial.way);
        let (format, context) = (stream.format, &context);
        Ok(Engine {
            interpolator: Interpolator::with_context(model, format, size, context, options)?,
            caps: stream.caps.clone(),
            variant,
        })
    }

    /// The size of the built-in network that is to run; none where a model was given.
    pub(super) fn variant(&self) -> Option<Variant> {
        let (qos, found) = (self.obj().is_qos(), self.state().tiers.runs());
        let variant = self.settings().variant(found, qos);
        match self.model.economy() {
            Some(Economy::Fast) => variant.and(Some(Variant::Fast)),
            _ => variant,
        }
    }
}

/// The network that is to run: the built-in one of this size, or the one that was loaded.
fn network_of(loaded: &Loaded, variant: Option<Variant>) -> Result<network::Model, Failure> {
    Ok(match variant {
        Some(variant) => variant.network()?.into(),
        None => loaded.network.clone(),
    })
}
