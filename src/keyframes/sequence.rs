//! Which keyframes a frame is made from: the one before it, and the one after it, if that comes soon enough.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Keyframe, Look, Propagator, Settings, Side, Step, Track};
use crate::error::Error;
use crate::picture::{Picture, PictureMut};

/// A frame whose picture can be read.
pub trait Frame {
    /// What reading fails with.
    type Error: From<Error>;

    /// Lets `f` read the picture.
    ///
    /// # Errors
    /// Those of `f`, and that the picture cannot be read.
    fn read<T>(&self, f: impl FnOnce(&Picture) -> Result<T, Self::Error>)
    -> Result<T, Self::Error>;
}

/// What becomes of a frame.
pub struct Job<F> {
    pub frame: F,
    sides: Vec<(Arc<Keyframe>, Track, f32)>,
}

impl<F> Job<F> {
    /// No keyframe is near: the frame stays as it is.
    pub fn is_plain(&self) -> bool {
        self.sides.is_empty()
    }

    /// How many keyframes it is made from, 0 to 2.
    pub fn keyframes(&self) -> usize {
        self.sides.len()
    }
}

/// A frame that waits for the next keyframe.
struct Held<F> {
    frame: F,
    /// From the frame before it, where that was looked for.
    step: Option<Step>,
    /// To the keyframe before it, if there is one.
    track: Option<Track>,
    /// Frames since that keyframe.
    distance: usize,
}

/// Frames in their order, with keyframes among them.
pub struct Sequence<F> {
    propagator: Propagator,
    lookahead: usize,
    before: Option<Arc<Keyframe>>,
    /// The frame pushed last, where motion is followed: how it looks, and motion to the keyframe (`None`: that is the keyframe's own).
    last: Option<(Look, Option<Track>)>,
    /// Frames since the keyframe.
    distance: usize,
    held: VecDeque<Held<F>>,
}

impl<F: Frame> Sequence<F> {
    /// At most `lookahead` frames are held for a keyframe to come.
    pub fn new(propagator: Propagator, lookahead: usize) -> Self {
        Self {
            propagator,
            lookahead,
            before: None,
            last: None,
            distance: 0,
            held: VecDeque::new(),
        }
    }

    /// Takes the next frame, which is no keyframe; gives that which need not wait any longer.
    ///
    /// # Errors
    /// The picture cannot be read, or is of another format or size.
    pub fn push(&mut self, frame: F) -> Result<Option<Job<F>>, F::Error> {
        let (step, track) = match self.before.clone() {
            Some(key) => self.follow(&key, &frame)?,
            None => (None, None),
        };
        self.distance += 1;
        self.held.push_back(Held {
            frame,
            step,
            track,
            distance: self.distance,
        });
        let full = self.held.len() > self.lookahead;
        Ok(full.then(|| self.release()).flatten())
    }

    /// Motion from the frame before, and to the keyframe.
    fn follow(
        &mut self,
        key: &Keyframe,
        frame: &F,
    ) -> Result<(Option<Step>, Option<Track>), F::Error> {
        let propagator = &mut self.propagator;
        let look = frame.read(|picture| Ok(propagator.look(picture)?))?;
        let (neighbour, before) = match &self.last {
            Some((look, track)) => (look, track.as_ref()),
            None => (&key.look, None),
        };
        let step = propagator.step(neighbour, &look)?;
        let track = propagator.follow(key, before, &step, &look)?;
        self.last = Some((look, Some(track.clone())));
        Ok((Some(step), Some(track)))
    }

    /// The frame that waits longest, made from the keyframe before it alone.
    pub fn release(&mut self) -> Option<Job<F>> {
        let held = self.held.pop_front()?;
        let before = self.before.clone().zip(held.track);
        Some(Job {
            frame: held.frame,
            sides: before
                .map(|(key, track)| (key, track, 1.0))
                .into_iter()
                .collect(),
        })
    }

    /// Takes the next frame, which a keyframe shows in the wanted look. Gives all that have waited for it, in their order.
    ///
    /// # Errors
    /// A picture cannot be read, or is of another format or size.
    pub fn keyframe(&mut self, frame: &F, styled: &F) -> Result<Vec<Job<F>>, F::Error> {
        let propagator = &mut self.propagator;
        let new =
            frame.read(|source| styled.read(|styled| Ok(propagator.keyframe(source, styled)?)))?;
        let new = Arc::new(new);
        let held = std::mem::take(&mut self.held);
        let after = self.tracks_back(&new, &held)?;
        let near = |distance: usize| 1.0 / distance as f32;
        let count = held.len();
        let jobs = held.into_iter().zip(after).enumerate();
        let jobs = jobs.map(|(i, (held, after))| {
            // none where the keyframe has just come near enough to be waited for
            let weight = near(count - i) - near(self.lookahead + 1);
            let weights = match self.before {
                Some(_) => [near(held.distance), weight],
                None => [0.0, 1.0],
            };
            let before = self.before.clone().zip(held.track);
            let sides = [before, Some((new.clone(), after))]
                .into_iter()
                .zip(weights);
            let sides =
                sides.filter_map(|(side, weight)| side.map(|(key, track)| (key, track, weight)));
            Job {
                frame: held.frame,
                sides: sides.collect(),
            }
        });
        let jobs = jobs.collect();
        (self.before, self.last, self.distance) = (Some(new), None, 0);
        Ok(jobs)
    }

    /// Motion from each of the frames that wait to the keyframe after them.
    fn tracks_back(
        &mut self,
        key: &Keyframe,
        held: &VecDeque<Held<F>>,
    ) -> Result<Vec<Track>, F::Error> {
        let propagator = &mut self.propagator;
        let mut tracks: Vec<Track> = Vec::new();
        let mut later: Option<Look> = None;
        // from each frame to the one after it: that is kept by the later one
        let mut step = match (&self.last, held.back()) {
            (Some((look, _)), Some(_)) => Some(propagator.step(look, &key.look)?),
            _ => None,
        };
        for held in held.iter().rev() {
            let look = held.frame.read(|picture| Ok(propagator.look(picture)?))?;
            let found = match step.take() {
                Some(step) => step,
                None => propagator.step(&look, later.as_ref().unwrap_or(&key.look))?,
            };
            let track = propagator.follow(key, tracks.last(), &found.reversed(), &look)?;
            tracks.push(track);
            step = held.step.clone();
            later = Some(look);
        }
        tracks.reverse();
        Ok(tracks)
    }

    /// Makes the frame of a job, which `picture` shows, and answers the residuals, see [`Propagator::make`].
    ///
    /// # Errors
    /// Another format or size.
    pub fn make(
        &self,
        job: &Job<F>,
        picture: &Picture,
        settings: &Settings,
        out: &mut PictureMut,
    ) -> Result<Vec<f32>, Error> {
        let sides = job.sides.iter().map(|(key, track, weight)| Side {
            key,
            track,
            weight: *weight,
        });
        let sides: Vec<Side> = sides.collect();
        self.propagator.make(picture, &sides, settings, out)
    }

    /// Forgets the keyframe: what comes has nothing to do with what was.
    pub fn forget(&mut self) {
        (self.before, self.last, self.distance) = (None, None, 0);
    }
}
