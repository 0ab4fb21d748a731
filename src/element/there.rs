//! The way of pictures that lie on a card, and stay there.

use std::sync::Arc;

use super::bridge::Failure;
use super::state::Source;
use crate::interpolator::{Interpolator, Outcome, Settings};
use crate::schedule::{Outer, Phase};

/// A place between two source pictures.
pub struct Between<'a> {
    pub sides: [&'a Arc<Source>; 2],
    pub after: Option<&'a Outer<Arc<Source>>>,
    pub phase: Phase,
}

#[cfg(not(feature = "cuda"))]
impl Between<'_> {
    /// Nothing: a build without CUDA has no pictures there.
    pub fn make(
        &self,
        _: &mut Interpolator,
        _: &Settings,
        _: &mut gst::BufferRef,
    ) -> Result<Option<Outcome>, Failure> {
        Ok(None)
    }
}

#[cfg(feature = "cuda")]
mod real {
    use super::super::cuda_memory::There;
    use super::{Arc, Between, Failure, Interpolator, Outcome, Settings, Source};
    use crate::error::Error;
    use crate::interpolator::{Encoded, SceneAction};
    use crate::kernels::PhaseMap;

    impl Between<'_> {
        /// Lets the card make the picture there, of pictures that lie there; none, and nothing is done, where they do not, or the CPU has
        /// a part in it: then all can be mapped for that.
        pub fn make(
            &self,
            engine: &mut Interpolator,
            settings: &Settings,
            out: &mut gst::BufferRef,
        ) -> Result<Option<Outcome>, Failure> {
            let [left, right] = self.sides;
            let blends = settings.scene_action == SceneAction::Blend;
            if !left.stream.is_on_card() || !engine.is_on_card() || blends {
                return Ok(None);
            }
            let Some(sides) = both(encode(engine, left)?, encode(engine, right)?) else {
                return Ok(None);
            };
            let after = match self.after {
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
            let phase = PhaseMap::Uniform(self.phase.as_f32());
            let sides = [&*sides[0], &*sides[1]];
            // SAFETY: the buffer is ours alone, and mapped until the call returns.
            let made =
                unsafe { engine.interpolate_there(after, sides, &phase, settings, out.picture()) };
            Ok(Some(made?))
        }
    }

    fn both<T>(left: Option<T>, right: Option<T>) -> Option<[T; 2]> {
        Some([left?, right?])
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
