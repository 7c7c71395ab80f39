//! A camera: of its pictures the newest counts.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::pool::WorkerPool;
use crate::protocol::{Image, InferOptions, InferResult};
use crate::worker::Worker;
use crate::{Error, Infer, Result};

/// A camera: at most one picture of it is in flight and one waits, which a newer one replaces.
///
/// A clone is another handle to the same camera.
///
/// ```no_run
/// # use inferpipe::{Image, InferOptions, Worker};
/// # async fn example(worker: Worker, mut camera: tokio::sync::mpsc::Receiver<Image>) {
/// let door = worker.source("door", 0, InferOptions::default());
/// while let Some(image) = camera.recv().await {
///     let answer = door.push(image);
///     tokio::spawn(async move {
///         match answer.await {
///             Ok(result) => println!("{} objects", result.detections().len()),
///             Err(inferpipe::Error::Superseded) => {} // a newer picture came
///             Err(error) => eprintln!("{error}"),
///         }
///     });
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Source<I> {
    host: I,
    model: u8,
    options: InferOptions,
    turns: Arc<Turns>,
}

impl<I: Infer> Source<I> {
    pub(crate) fn new(host: I, name: String, model: u8, options: InferOptions) -> Self {
        let options = InferOptions { source: Some(name), ..options };
        Self { host, model, options, turns: Arc::default() }
    }

    /// The camera's name.
    pub fn name(&self) -> &str {
        self.options.source.as_deref().unwrap_or_default()
    }

    /// Run the model on the newest picture. Its place is taken when this is called, its request is sent
    /// when the future is awaited.
    ///
    /// Dropping the future gives the place up.
    ///
    /// # Errors
    /// The future ends with [`Error::Superseded`] as soon as a newer picture has taken its place, else with what
    /// [`Infer::infer_with`] says.
    pub fn push(&self, image: Image) -> impl Future<Output = Result<InferResult>> + Send + 'static {
        let place = self.turns.queue();
        let Self { host, model, options, .. } = self.clone();
        async move {
            let _turn = place.wait().await?;
            host.infer_with(model, image, options).await
        }
    }
}

impl Worker {
    /// A camera whose pictures go to this worker. Cameras take turns in the worker, by their names.
    pub fn source(&self, name: impl Into<String>, model: u8, options: InferOptions) -> Source<Self> {
        Source::new(self.clone(), name.into(), model, options)
    }
}

impl WorkerPool {
    /// A camera whose pictures go to one worker, always the same.
    pub fn source(&self, name: impl Into<String>, model: u8, options: InferOptions) -> Source<Self> {
        Source::new(self.clone(), name.into(), model, options)
    }
}

/// Whose turn it is.
#[derive(Debug, Default)]
struct Turns(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    taken: bool,
    waiting: Option<oneshot::Sender<Turn>>,
}

impl Turns {
    fn queue(self: &Arc<Self>) -> Place {
        let mut places = self.lock();
        if !places.taken {
            places.taken = true;
            return Place::First(Turn(Arc::clone(self)));
        }
        let (sender, receiver) = oneshot::channel();
        // What waited until now sees its sender go.
        places.waiting = Some(sender);
        Place::Next(receiver)
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue of two.
enum Place {
    First(Turn),
    Next(oneshot::Receiver<Turn>),
}

impl Place {
    async fn wait(self) -> Result<Turn> {
        match self {
            Self::First(turn) => Ok(turn),
            Self::Next(turn) => turn.await.map_err(|_| Error::Superseded),
        }
    }
}

/// The right to have a request in flight; dropped, it goes to what waits.
#[derive(Debug)]
struct Turn(Arc<Turns>);

impl Drop for Turn {
    fn drop(&mut self) {
        let mut places = self.0.lock();
        let Some(next) = places.waiting.take() else {
            places.taken = false;
            return;
        };
        drop(places);
        // Where nobody waits any longer the turn comes back, is dropped here, and goes to who came meanwhile.
        drop(next.send(Turn(Arc::clone(&self.0))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_takes_the_waiting_place() {
        let turns = Arc::new(Turns::default());
        let first = turns.queue().wait().await.unwrap();
        let (second, third) = (turns.queue(), turns.queue());
        assert!(matches!(second.wait().await, Err(Error::Superseded)));
        drop(first);
        assert!(third.wait().await.is_ok());
    }

    #[tokio::test]
    async fn who_goes_away_holds_nobody_back() {
        let turns = Arc::new(Turns::default());
        let first = turns.queue();
        let second = turns.queue();
        drop(second);
        drop(first);
        assert!(matches!(turns.queue(), Place::First(_)));
    }

    #[tokio::test]
    async fn a_turn_that_was_handed_over_and_not_taken_goes_on() {
        let turns = Arc::new(Turns::default());
        let first = turns.queue();
        let second = turns.queue();
        drop(first);
        let third = turns.queue();
        drop(second);
        assert!(third.wait().await.is_ok());
    }
}
