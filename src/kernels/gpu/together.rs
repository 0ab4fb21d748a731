//! Convolutions that follow each other, as one list: networks of others launch theirs one by one, and layer by layer the same come again for
//! every picture, whatever its phase and wherever the source pictures lie.

use std::cell::RefCell;

use candle_core::Tensor;

use super::{Gpu, Launch};

/// The modules of convolutions, whose arguments are the same for every picture.
const MODULES: [&str; 2] = ["conv", "dense"];

thread_local! {
    /// What this thread keeps back, while it runs something together.
    static KEPT_BACK: RefCell<Option<KeptBack>> = const { RefCell::new(None) };
}

/// Launches that are still to be queued.
struct KeptBack {
    /// The address of the card that they are for.
    gpu: usize,
    launches: Vec<Launch>,
    /// All tensors whose addresses were asked for since: those that the launches reach are among them, and must outlive that they are queued.
    tensors: Vec<Tensor>,
}

/// Puts back what a thread keeps back, or kept, when it is dropped.
struct Restored(Option<KeptBack>);

impl Drop for Restored {
    fn drop(&mut self) {
        KEPT_BACK.set(self.0.take());
    }
}

impl Gpu {
    fn is(&self, kept: &KeptBack) -> bool {
        kept.gpu == std::ptr::from_ref(self).addr()
    }

    /// Looks at what is kept back for this card, if this thread runs something together.
    fn kept_back<T>(&self, look: impl FnOnce(&mut KeptBack) -> T) -> Option<T> {
        KEPT_BACK.with_borrow_mut(|kept| kept.as_mut().filter(|kept| self.is(kept)).map(look))
    }

    /// Runs what launches kernels: convolutions that follow each other are queued with [`Gpu::run_all`], before anything else that is
    /// queued here, and before it returns. What `run` does with the card besides, as candle does, must be done [`Gpu::apart`].
    ///
    /// # Errors
    /// Those of `run`, then nothing more is queued; or the card fails.
    pub fn together<T, E: From<candle_core::Error>>(
        &self,
        run: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let new = || KeptBack {
            gpu: std::ptr::from_ref(self).addr(),
            launches: Vec::new(),
            tensors: Vec::new(),
        };
        // of several, one within the other, the outer one keeps
        let is_outer = KEPT_BACK.with_borrow_mut(|kept| {
            let is_none = kept.is_none();
            kept.get_or_insert_with(new);
            is_none
        });
        let _end = is_outer.then(|| Restored(None));
        let done = run()?;
        self.flush()?;
        Ok(done)
    }

    /// Runs what must find all queued that was launched so far, and keeps nothing back meanwhile.
    ///
    /// # Errors
    /// Those of `run`, or the card fails.
    pub fn apart<T, E: From<candle_core::Error>>(
        &self,
        run: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        self.flush()?;
        let _after = Restored(KEPT_BACK.take());
        run()
    }

    /// Queues what is kept back.
    pub(super) fn flush(&self) -> candle_core::Result<()> {
        let take = |kept: &mut KeptBack| {
            (
                std::mem::take(&mut kept.launches),
                std::mem::take(&mut kept.tensors),
            )
        };
        let Some((launches, _tensors)) = self.kept_back(take) else {
            return Ok(());
        };
        // SAFETY: as those have promised who handed them over; their tensors live until they are queued.
        unsafe { self.queue_all(launches) }
    }

    /// Keeps a tensor whose address is asked for as long as a launch may be kept back.
    pub(super) fn hold(&self, tensor: &Tensor) {
        self.kept_back(|kept| kept.tensors.push(tensor.clone()));
    }

    /// Keeps a launch back, if it is to be; else all that is kept back is queued, and the launch is handed back.
    pub(super) fn keep_back(&self, launch: Launch) -> candle_core::Result<Option<Launch>> {
        if !MODULES.contains(&launch.module) {
            self.flush()?;
            return Ok(Some(launch));
        }
        let mut launch = Some(launch);
        self.kept_back(|kept| kept.launches.extend(launch.take()));
        Ok(launch)
    }
}
