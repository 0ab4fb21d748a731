//! The way of pictures that lie on a card, and stay there.

#[cfg(feature = "cuda")]
pub use real::make;

#[cfg(feature = "cuda")]
mod real {
    use std::sync::Arc;

    use super::super::bridge::Failure;
    use super::super::cuda_memory::There;
    use super::super::state::Source;
    use crate::error::Error;
    use crate::interpolator::{Encoded, Interpolator, Outcome, SceneAction, Settings};
    use crate::kernels::PhaseMap;
    use crate::schedule::{Outer, Phase};

    /// Lets the card make the picture there between two that lie there; none, and nothing is done, where they do not, or the CPU has a
    /// part in it: then all can be mapped for that.
    pub fn make(
        engine: &mut Interpolator,
        [left, right]: [&Source; 2],
        after: Option<&Outer<Arc<Source>>>,
        phase: Phase,
        settings: &Settings,
        out: &mut gst::BufferRef,
    ) -> Result<Option<Outcome>, Failure> {
        let blends = settings.scene_action == SceneAction::Blend;
        if !left.stream.is_on_card() || !engine.is_on_card() || blends {
            return Ok(None);
        }
        let (Some(one), Some(other)) = (encode(engine, left)?, encode(engine, right)?) else {
            return Ok(None);
        };
        let after = match after {
            Some(outer) => match encode(engine, &outer.frame)? {
                Some(encoded) => Some((encoded, outer.span as f32)),
                None => return Ok(None),
            },
            None => None,
        };
        let Some(out) = There::writable(out, &left.stream) else {
            return Ok(None);
        };
        let after = after.as_ref().map(|(encoded, span)| (&**encoded, *span));
        let phase = PhaseMap::Uniform(phase.as_f32());
        let sides = [&*one, &*other];
        // SAFETY: the buffer is ours alone, and mapped until the call returns.
        let made =
            unsafe { engine.interpolate_there(after, sides, &phase, settings, out.picture()) };
        Ok(Some(made?))
    }

    /// What the network sees of a picture, if that lies on a card.
    fn encode(engine: &mut Interpolator, source: &Source) -> Result<Option<Arc<Encoded>>, Error> {
        if let Some(known) = source.known(engine) {
            return Ok(Some(known));
        }
        let Some(there) = There::readable(&source.buffer, &source.stream) else {
            return Ok(None);
        };
        // SAFETY: it is mapped until the call returns.
        let encoded = source.encode(|| unsafe { engine.encode_there(there.picture()) });
        encoded.map(Some)
    }
}

#[cfg(not(feature = "cuda"))]
pub use none::make;

#[cfg(not(feature = "cuda"))]
mod none {
    use std::sync::Arc;

    use super::super::bridge::Failure;
    use super::super::state::Source;
    use crate::interpolator::{Interpolator, Outcome, Settings};
    use crate::schedule::{Outer, Phase};

    /// Nothing: a build without CUDA has no pictures there.
    pub fn make(
        _: &mut Interpolator,
        _: [&Source; 2],
        _: Option<&Outer<Arc<Source>>>,
        _: Phase,
        _: &Settings,
        _: &mut gst::BufferRef,
    ) -> Result<Option<Outcome>, Failure> {
        Ok(None)
    }
}
