//! One worker, as a user sees it.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt};

use crate::calls::CallLimits;
use crate::config::Config;
use crate::connection::{Kind, Request};
use crate::event::Event;
use crate::infer::CacheOptions;
use crate::protocol::{
    answer_from_json, batch_from_json, Cached, Image, InferOptions, InferResult, Message, Picture, Ready,
    Result,
};
use crate::supervisor::{Serving, Supervisor};

/// A region id that no other region in this process has.
pub(crate) fn next_region_id() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A worker: a process that runs models, and those that take its place when it dies.
///
/// A handle: clones are the same worker. Calls may be made at once, as many as one likes; what there is no room
/// for waits, in the order of the calls. Dropping a call's future cancels it. Dropping the last handle kills the
/// worker; [`Worker::close`] lets it answer what it has.
#[derive(Clone, Debug)]
pub struct Worker {
    handle: Arc<Handle>,
}

/// What all clones share.
struct Handle {
    supervisor: Arc<Supervisor>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match self.supervisor.serving_now() {
            Serving::Nobody { .. } => "restarting".into(),
            Serving::Ready(serving) => format!("process {}, generation {}", serving.pid, serving.number),
            Serving::Ended(error) => error.to_string(),
        };
        write!(to, "Handle({state})")
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.supervisor.kill();
    }
}

impl Worker {
    /// Starts a worker and waits until it is ready.
    ///
    /// # Errors
    /// [`Code::HandshakeRefused`](crate::Code::HandshakeRefused) where it ends before that, or does not take the
    /// configuration; [`Code::StartTimedOut`](crate::Code::StartTimedOut) where it gives no sign of life. Nothing is
    /// tried again. A model that cannot be loaded is no error: its slot tells, see [`Worker::ready`].
    pub async fn spawn(config: Config) -> Result<Self> {
        let supervisor = Supervisor::start(config).await?;
        Ok(Self { handle: Arc::new(Handle { supervisor }) })
    }

    pub(crate) fn supervisor(&self) -> &Arc<Supervisor> {
        &self.handle.supervisor
    }

    /// Runs a model on an image.
    ///
    /// # Errors
    /// The worker's, by [`Error::code`](crate::Error::code); `worker_died`, `closed`.
    pub async fn infer(&self, model: u8, image: Image) -> Result<InferResult> {
        self.infer_with(model, image, InferOptions::default()).await
    }

    /// Runs a model on an image, with options.
    ///
    /// # Errors
    /// As [`Worker::infer`]; `cancelled`, `timed_out`.
    pub async fn infer_with(&self, model: u8, image: Image, options: InferOptions) -> Result<InferResult> {
        let (request, limits) = (self.infer_request(model, image, &options)?, CallLimits::of(&options));
        let answer = self.supervisor().call(&request, &limits, None).await?;
        self.supervisor().read(&answer, InferResult::from_json)
    }

    /// The same if there is room now, and a worker that serves.
    ///
    /// # Errors
    /// [`Code::Busy`](crate::Code::Busy) if not; `closed`.
    pub fn try_infer(
        &self,
        model: u8,
        image: Image,
        options: InferOptions,
    ) -> Result<impl Future<Output = Result<InferResult>> + Send + 'static> {
        let (request, limits) = (self.infer_request(model, image, &options)?, CallLimits::of(&options));
        let first = self.supervisor().try_send(&request)?;
        let worker = self.clone();
        Ok(async move {
            let supervisor = worker.supervisor();
            let sent = supervisor.send_until_answered(&request, limits.retries, None, Some(first));
            let answer = limits.within(sent).await?;
            supervisor.read(&answer, InferResult::from_json)
        })
    }

    fn infer_request(&self, model: u8, image: Image, options: &InferOptions) -> Result<Request> {
        if let Some(frame_id) = image.frame_id() {
            self.supervisor().restore.touch_frame(frame_id);
        }
        let lease = image.lease();
        data_request(Message::Infer { model, image }, Kind::Data, options)
            .map(|request| Request { lease, ..request })
    }

    /// Runs a model on several pictures, at most 255: one result or error for each of them, in their order.
    ///
    /// # Errors
    /// As [`Worker::infer_with`], where it is not about a single picture.
    pub async fn infer_batch(
        &self,
        model: u8,
        pictures: Vec<Picture>,
        options: InferOptions,
    ) -> Result<Vec<Result<InferResult>>> {
        let request = data_request(Message::Batch { model, pictures }, Kind::Data, &options)?;
        let answer = self.supervisor().call(&request, &CallLimits::of(&options), None).await?;
        self.supervisor().read(&answer, batch_from_json)
    }

    /// Keeps a picture in the worker under an id, for [`Image::frame`].
    ///
    /// The library keeps a reference to the pixels, as far as the worker's own budget goes, and gives them to
    /// every process that takes the worker's place; see [`CacheOptions::restore`].
    ///
    /// # Errors
    /// As [`Worker::infer_with`].
    pub async fn cache_frame(
        &self,
        frame_id: u32,
        picture: Picture,
        options: CacheOptions,
    ) -> Result<Cached> {
        let message = Message::CacheFrame { frame_id, picture: picture.clone() };
        let request = data_request(message, Kind::CacheFrame, &options.options)?;
        let kept = options.restore.then(|| (picture, request.options.clone()));
        let note = || self.supervisor().restore.note_frame(frame_id, kept.clone());
        let limits = CallLimits::of(&options.options);
        let _shared = limits.within(async { Ok(self.supervisor().changes.read().await) }).await?;
        let answer = self.supervisor().call(&request, &limits, Some(&note)).await?;
        self.supervisor().read(&answer, answer_from_json)
    }

    /// Starts the next process beside the one that serves, with its models, regions and frames, and moves requests
    /// there when it is warm. The old one answers what it has, and ends. No request is lost. Streams go on where they
    /// are: the old process ends with the last of them. But those of an address, a camera or a screen, which may have
    /// no end, end with the reason [`EndReason::Drained`](crate::EndReason::Drained), and can be opened again at once.
    ///
    /// # Errors
    /// Why the next one does not serve: then the old one goes on.
    pub async fn recycle(&self) -> Result<()> {
        self.supervisor().clone().recycle().await
    }

    /// Refuses new calls, waits for what is in flight, and ends the worker; returns when its process is reaped.
    ///
    /// What is not answered within the worker's `drainTimeoutMs` it answers as `shutting_down`. Streams are not waited
    /// for: they end as `Drained` when the frames that they have taken
    /// up are answered.
    ///
    /// # Errors
    /// None at present.
    pub async fn close(&self) -> Result<()> {
        self.supervisor().close().await;
        Ok(())
    }

    /// Ends the worker at once: what is in flight is rejected with `worker_died`. Does not wait; [`Worker::close`] after it
    /// waits until the process is reaped.
    pub fn kill(&self) {
        self.supervisor().kill();
    }

    /// What the process that serves told of itself; `None` while none does.
    pub fn ready(&self) -> Option<Arc<Ready>> {
        match self.supervisor().serving_now() {
            Serving::Ready(serving) => Some(serving.ready()),
            _ => None,
        }
    }

    /// The id of the process that serves; `None` while none does.
    pub fn pid(&self) -> Option<u32> {
        match self.supervisor().serving_now() {
            Serving::Ready(serving) => Some(serving.pid),
            _ => None,
        }
    }

    /// What happens from now on. Who does not take them misses events that are more than a thousand old; see also
    /// [`Config::on_event`].
    pub fn events(&self) -> impl Stream<Item = Event> + Send + Unpin + 'static {
        BroadcastStream::new(self.supervisor().events.subscribe()).filter_map(|event| event.ok())
    }

    /// Payload bytes, and requests and streams, in flight and waiting; the most there can be while no process serves.
    pub(crate) fn load_now(&self) -> (usize, usize) {
        match self.supervisor().serving_now() {
            Serving::Ready(serving) => serving.connection().load(),
            _ => (usize::MAX, usize::MAX),
        }
    }
}

fn data_request(message: Message, kind: Kind, options: &InferOptions) -> Result<Request> {
    let options = options.to_json().map_err(crate::Error::bad_request)?;
    Ok(Request { message, kind, options, lease: None })
}
