//! What a worker and a pool of workers share.

use std::future::Future;

use crate::config::ModelConfig;
use crate::protocol::{Cached, Image, InferOptions, InferResult, Loaded, Picture, Pong, Result};
use crate::worker::Worker;

/// What [`Worker`](crate::Worker) and [`WorkerPool`](crate::WorkerPool) share.
///
/// Dropping a future cancels its request: what is not sent yet never is, and the worker is told of the rest.
pub trait Infer: Clone + Send + Sync + 'static {
    /// What a call that goes to every worker gives: one `T`, or one a worker.
    type Each<T: Send + 'static>: Send + 'static;

    /// Runs a model on an image.
    fn infer(&self, model: u8, image: Image) -> impl Future<Output = Result<InferResult>> + Send {
        self.infer_with(model, image, InferOptions::default())
    }

    /// Runs a model on an image, with options. Waits for room, in the order of the calls.
    fn infer_with(
        &self,
        model: u8,
        image: Image,
        options: InferOptions,
    ) -> impl Future<Output = Result<InferResult>> + Send;

    /// The same if there is room now.
    ///
    /// # Errors
    /// [`Error::Busy`](crate::Error::Busy) where there is none, or no worker that serves.
    fn try_infer(
        &self,
        model: u8,
        image: Image,
        options: InferOptions,
    ) -> Result<impl Future<Output = Result<InferResult>> + Send + 'static>;

    /// Runs a model on several pictures, at most 255: one result or error for each.
    fn infer_batch(
        &self,
        model: u8,
        pictures: Vec<Picture>,
        options: InferOptions,
    ) -> impl Future<Output = Result<Vec<Result<InferResult>>>> + Send;

    /// Keeps a picture in the worker under an id, in every process that takes its place too.
    fn cache_frame(
        &self,
        frame_id: u32,
        picture: Picture,
        options: CacheOptions,
    ) -> impl Future<Output = Result<Cached>> + Send;

    /// Forgets a picture.
    fn uncache_frame(&self, frame_id: u32) -> impl Future<Output = Result<()>> + Send;

    /// Loads a model into a slot.
    fn load(
        &self,
        index: u8,
        model: impl Into<ModelConfig> + Send,
    ) -> impl Future<Output = Result<Self::Each<Loaded>>> + Send;

    /// Loads a model beside the one that serves, which then goes.
    fn replace(
        &self,
        index: u8,
        model: impl Into<ModelConfig> + Send,
    ) -> impl Future<Output = Result<Self::Each<Loaded>>> + Send;

    /// Empties a slot.
    fn unload(&self, index: u8) -> impl Future<Output = Result<()>> + Send;

    /// Asks for a sign of life.
    fn ping(&self) -> impl Future<Output = Result<Self::Each<Pong>>> + Send;

    /// Waits until every data request is answered; those that come after it are `shutting_down`.
    fn drain(&self) -> impl Future<Output = Result<()>> + Send;

    /// Starts new processes beside those that serve, and moves requests there without losing any.
    fn recycle(&self) -> impl Future<Output = Result<()>> + Send;

    /// Refuses new calls, waits for what is in flight, and ends.
    fn close(&self) -> impl Future<Output = Result<()>> + Send;
}

/// What the library does with a cached frame beside sending it.
#[derive(Clone, Debug)]
pub struct CacheOptions {
    /// Keep the pixels, to give them to every process that takes the worker's place. True by default.
    pub restore: bool,
    /// `exif` and `color_space` of the check that a file can be decoded; `cancel`, `timeout` and `retries` of the call.
    pub options: InferOptions,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self { restore: true, options: InferOptions::default() }
    }
}

impl Infer for Worker {
    type Each<T: Send + 'static> = T;

    fn infer_with(
        &self,
        model: u8,
        image: Image,
        options: InferOptions,
    ) -> impl Future<Output = Result<InferResult>> + Send {
        Worker::infer_with(self, model, image, options)
    }

    fn try_infer(
        &self,
        model: u8,
        image: Image,
        options: InferOptions,
    ) -> Result<impl Future<Output = Result<InferResult>> + Send + 'static> {
        Worker::try_infer(self, model, image, options)
    }

    fn infer_batch(
        &self,
        model: u8,
        pictures: Vec<Picture>,
        options: InferOptions,
    ) -> impl Future<Output = Result<Vec<Result<InferResult>>>> + Send {
        Worker::infer_batch(self, model, pictures, options)
    }

    fn cache_frame(
        &self,
        frame_id: u32,
        picture: Picture,
        options: CacheOptions,
    ) -> impl Future<Output = Result<Cached>> + Send {
        Worker::cache_frame(self, frame_id, picture, options)
    }

    fn uncache_frame(&self, frame_id: u32) -> impl Future<Output = Result<()>> + Send {
        Worker::uncache_frame(self, frame_id)
    }

    fn load(
        &self,
        index: u8,
        model: impl Into<ModelConfig> + Send,
    ) -> impl Future<Output = Result<Loaded>> + Send {
        Worker::load(self, index, model)
    }

    fn replace(
        &self,
        index: u8,
        model: impl Into<ModelConfig> + Send,
    ) -> impl Future<Output = Result<Loaded>> + Send {
        Worker::replace(self, index, model)
    }

    fn unload(&self, index: u8) -> impl Future<Output = Result<()>> + Send {
        Worker::unload(self, index)
    }

    fn ping(&self) -> impl Future<Output = Result<Pong>> + Send {
        Worker::ping(self)
    }

    fn drain(&self) -> impl Future<Output = Result<()>> + Send {
        Worker::drain(self)
    }

    fn recycle(&self) -> impl Future<Output = Result<()>> + Send {
        Worker::recycle(self)
    }

    fn close(&self) -> impl Future<Output = Result<()>> + Send {
        Worker::close(self)
    }
}
