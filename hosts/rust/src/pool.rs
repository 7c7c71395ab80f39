//! Several workers with the interface of one.

use std::collections::hash_map::DefaultHasher;
use std::collections::HashMap;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::task::JoinSet;

use crate::config::ModelConfig;
use crate::protocol::{Cached, Image, InferOptions, InferResult, Loaded, Picture, Pong, Status};
use crate::ring::{RingOptions, SharedRing};
use crate::stream::InferStream;
use crate::stream_source::{StreamOptions, StreamSource};
use crate::supervisor::Serving;
use crate::task::TaskStream;
use crate::worker::Worker;
use crate::{CacheOptions, Config, Error, Infer, Result};

/// Sources whose worker is chosen by load and remembered; those that come later go by their name alone.
const MAX_REMEMBERED: usize = 10_000;

/// Several workers with the interface of one.
///
/// A request goes to the worker with the fewest payload bytes and requests in flight; one with the option `source`
/// always to the same one; a cached frame lives in one worker, chosen by its id. A clone is another handle to
/// the same pool.
///
/// ```no_run
/// # use inferpipe::{Config, Image, Infer, Result, WorkerPool};
/// # async fn example(jpeg: Vec<u8>) -> Result<()> {
/// let pool = WorkerPool::spawn(Config::default().model("m.onnx"), 4).await?;
/// let result = pool.infer(0, Image::encoded(jpeg)).await?;
/// pool.recycle().await?; // one worker after another
/// pool.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct WorkerPool {
    inner: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    /// At least one.
    workers: Vec<Worker>,
    sources: Mutex<HashMap<String, usize>>,
}

impl WorkerPool {
    /// Start `size` workers at once.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for a size of 0, else what the first one that cannot be started says; the others
    /// are ended then.
    pub async fn spawn(config: Config, size: usize) -> Result<Self> {
        if size == 0 {
            return Err(Error::bad_request("a pool of no workers"));
        }
        let workers = all((0..size).map(|_| Worker::spawn(config.clone()))).await?;
        Ok(Self { inner: Arc::new(Pool { workers, sources: Mutex::default() }) })
    }

    /// The workers, for what concerns one alone, as its events.
    pub fn workers(&self) -> &[Worker] {
        &self.inner.workers
    }

    /// Ask every worker what its slots hold.
    ///
    /// # Errors
    /// Those of [`Worker::status`].
    pub async fn status(&self) -> Result<Vec<Status>> {
        self.each(|worker| async move { worker.status().await }).await
    }

    /// Ask every worker for its metrics.
    ///
    /// # Errors
    /// Those of [`Worker::metrics`].
    pub async fn metrics(&self) -> Result<Vec<Value>> {
        self.each(|worker| async move { worker.metrics().await }).await
    }

    /// Ask every worker for its metrics as the text that Prometheus reads.
    ///
    /// # Errors
    /// Those of [`Worker::metrics_text`].
    pub async fn metrics_text(&self) -> Result<Vec<String>> {
        self.each(|worker| async move { worker.metrics_text().await }).await
    }

    /// Run a slot's model on a blank picture in every worker, and return how long each took.
    ///
    /// # Errors
    /// Those of [`Worker::warmup`].
    pub async fn warmup(&self, index: u8, runs: u32) -> Result<Vec<Duration>> {
        self.each(move |worker| async move { worker.warmup(index, runs).await }).await
    }

    /// Run a task in one worker, as [`Worker::task`] does.
    ///
    /// # Errors
    /// Those of [`Worker::task`].
    pub async fn task(
        &self,
        model: u8,
        params: &Map<String, Value>,
        attachments: Vec<Bytes>,
        options: InferOptions,
    ) -> Result<TaskStream> {
        self.worker_for(None, &options).task(model, params, attachments, options).await
    }

    /// Open a stream in one worker, which it stays with, as [`Worker::open_stream`] does.
    ///
    /// # Errors
    /// Those of [`Worker::open_stream`].
    pub async fn open_stream(
        &self,
        source: StreamSource,
        models: &[u8],
        options: StreamOptions,
    ) -> Result<InferStream> {
        self.worker_for(None, &options.infer).open_stream(source, models, options).await
    }

    /// Make a ring of memory that every worker reads pictures from.
    ///
    /// # Errors
    /// Those of [`Worker::shared_ring`].
    pub async fn shared_ring(&self, options: RingOptions) -> Result<SharedRing> {
        SharedRing::attach(self.workers(), options).await
    }

    /// End every worker at once, as [`Worker::kill`] does.
    pub fn kill(&self) {
        self.workers().iter().for_each(Worker::kill);
    }

    /// The worker of a request.
    fn worker_for(&self, image: Option<&Image>, options: &InferOptions) -> &Worker {
        match self.only_worker_for(image, options) {
            Some(worker) => worker,
            None => self.workers().iter().min_by_key(burden).expect("no pool is empty"),
        }
    }

    /// The worker of a request that no other may answer.
    fn only_worker_for(&self, image: Option<&Image>, options: &InferOptions) -> Option<&Worker> {
        match (image.and_then(Image::frame_id), &options.source) {
            (Some(frame_id), _) => Some(self.keeper(frame_id)),
            (None, Some(name)) => Some(&self.workers()[self.inner.place_of(name)]),
            (None, None) => None,
        }
    }

    /// The worker that keeps a frame.
    fn keeper(&self, frame_id: u32) -> &Worker {
        &self.workers()[frame_id as usize % self.workers().len()]
    }

    /// Do the same with every worker at once; the first error after all have ended.
    async fn each<T, F>(&self, call: impl Fn(Worker) -> F) -> Result<Vec<T>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        all(self.workers().iter().cloned().map(call)).await
    }
}

impl Pool {
    /// The number of the worker of a source: once chosen, always the same.
    fn place_of(&self, name: &str) -> usize {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&place) = sources.get(name) {
            return place;
        }
        if sources.len() >= MAX_REMEMBERED {
            return hash(name) as usize % self.workers.len();
        }
        // In turn: no worker ever has two sources more than another.
        let place = sources.len() % self.workers.len();
        sources.insert(name.to_owned(), place);
        place
    }
}

impl Infer for WorkerPool {
    type Each<T: Send + 'static> = Vec<T>;

    async fn infer_with(&self, model: u8, image: Image, options: InferOptions) -> Result<InferResult> {
        self.worker_for(Some(&image), &options).infer_with(model, image, options).await
    }

    fn try_infer(
        &self,
        model: u8,
        image: Image,
        options: InferOptions,
    ) -> Result<impl Future<Output = Result<InferResult>> + Send + 'static> {
        let candidates = match self.only_worker_for(Some(&image), &options) {
            Some(worker) => vec![worker],
            None => {
                let mut workers: Vec<_> = self.workers().iter().collect();
                workers.sort_by_key(burden);
                workers
            }
        };
        for worker in candidates {
            match worker.try_infer(model, image.clone(), options.clone()) {
                Err(Error::Busy) => {}
                sent => return sent,
            }
        }
        Err(Error::Busy)
    }

    async fn infer_batch(
        &self,
        model: u8,
        pictures: Vec<Picture>,
        options: InferOptions,
    ) -> Result<Vec<Result<InferResult>>> {
        self.worker_for(None, &options).infer_batch(model, pictures, options).await
    }

    async fn cache_frame(&self, frame_id: u32, picture: Picture, options: CacheOptions) -> Result<Cached> {
        self.keeper(frame_id).cache_frame(frame_id, picture, options).await
    }

    async fn uncache_frame(&self, frame_id: u32) -> Result<()> {
        self.keeper(frame_id).uncache_frame(frame_id).await
    }

    async fn load(&self, index: u8, model: impl Into<ModelConfig> + Send) -> Result<Vec<Loaded>> {
        let model = model.into();
        self.each(|worker| {
            let model = model.clone();
            async move { worker.load(index, model).await }
        })
        .await
    }

    async fn replace(&self, index: u8, model: impl Into<ModelConfig> + Send) -> Result<Vec<Loaded>> {
        let model = model.into();
        self.each(|worker| {
            let model = model.clone();
            async move { worker.replace(index, model).await }
        })
        .await
    }

    async fn unload(&self, index: u8) -> Result<()> {
        self.each(|worker| async move { worker.unload(index).await }).await.map(drop)
    }

    async fn ping(&self) -> Result<Vec<Pong>> {
        self.each(|worker| async move { worker.ping().await }).await
    }

    async fn drain(&self) -> Result<()> {
        self.each(|worker| async move { worker.drain().await }).await.map(drop)
    }

    /// One worker after another, so that the others carry the load meanwhile.
    async fn recycle(&self) -> Result<()> {
        for worker in self.workers() {
            worker.recycle().await?;
        }
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.each(|worker| async move { worker.close().await }).await.map(drop)
    }
}

/// What orders workers by how much they have to do. One that has failed for good comes last: it would be
/// the quickest to answer.
fn burden(worker: &&Worker) -> (bool, (usize, usize)) {
    (matches!(worker.supervisor().serving_now(), Serving::Ended(_)), worker.load_now())
}

/// Run calls at once, and give what they gave in their order; the first error after all have ended.
async fn all<T: Send + 'static>(
    calls: impl Iterator<Item = impl Future<Output = Result<T>> + Send + 'static>,
) -> Result<Vec<T>> {
    let mut running = JoinSet::new();
    for (place, call) in calls.enumerate() {
        running.spawn(async move { (place, call.await) });
    }
    let mut ended = running.join_all().await;
    ended.sort_unstable_by_key(|&(place, _)| place);
    ended.into_iter().map(|(_, result)| result).collect()
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}
