//! Which process serves: the first start, restart after a death, and the end.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{watch, RwLock};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use crate::backoff::Backoff;
use crate::config::Config;
use crate::death::Reason;
use crate::event::{Event, Events};
use crate::generation::Generation;
use crate::protocol::{Error, Result};
use crate::restore::Restore;

/// Which process serves.
#[derive(Clone)]
pub(crate) enum Serving {
    /// None: the last one has died of this, and the next one is on its way.
    Nobody {
        cause: Error,
    },
    Ready(Arc<Generation>),
    /// None ever will.
    Ended(Error),
}

/// One worker: a process, and those that take its place.
pub(crate) struct Supervisor {
    pub(crate) config: Config,
    pub(crate) restore: Restore,
    pub(crate) events: Arc<Events>,
    serving: watch::Sender<Serving>,
    /// What changes models, regions or frames holds it shared, a recycle alone.
    pub(crate) changes: RwLock<()>,
    numbers: AtomicU64,
    closed: AtomicBool,
    /// Every process that may still live, for those who must reach all of them.
    living: Mutex<Vec<Weak<Generation>>>,
    /// Those that answer what they have, and the one that starts and restarts.
    tasks: TaskTracker,
}

impl Supervisor {
    /// Starts the first process.
    ///
    /// # Errors
    /// `handshake_refused`, `start_timed_out`: nothing is tried again.
    pub(crate) async fn start(config: Config) -> Result<Arc<Self>> {
        let nobody = Serving::Nobody { cause: Error::Closed };
        let this = Arc::new(Self {
            restore: Restore::new(&config),
            events: Arc::new(Events::new(config.on_event.clone())),
            config,
            serving: watch::Sender::new(nobody),
            changes: RwLock::new(()),
            numbers: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            living: Mutex::new(Vec::new()),
            tasks: TaskTracker::new(),
        });
        let first = this.start_next().await?;
        this.publish(first);
        this.tasks.spawn(this.clone().supervise());
        Ok(this)
    }

    /// Lets a process serve. Where the worker is closed, or another one serves already, it is let go.
    fn publish(&self, next: Arc<Generation>) -> bool {
        self.publish_if(next, |serving| matches!(serving, Serving::Nobody { .. }))
    }

    /// Lets a process serve in place of the one that does.
    pub(crate) fn publish_over(&self, next: Arc<Generation>) -> bool {
        self.publish_if(next, |serving| !matches!(serving, Serving::Ended(_)))
    }

    fn publish_if(&self, next: Arc<Generation>, may: impl Fn(&Serving) -> bool) -> bool {
        let event = Event::Ready { generation: next.number, answer: next.ready() };
        let mut before = None;
        self.serving.send_if_modified(|serving| {
            let may = may(serving);
            if may {
                before = Some(std::mem::replace(serving, Serving::Ready(next)));
            }
            may
        });
        let Some(before) = before else { return false };
        self.events.emit(&event);
        if let Serving::Ready(old) = before {
            let no_more = self.no_more();
            self.tasks.spawn(async move { old.retire(Reason::Recycled, no_more).await });
        }
        true
    }

    /// Watches the process that serves, and starts the next one when it dies.
    async fn supervise(self: Arc<Self>) {
        let mut backoff = Backoff::new(self.config.restart);
        while let Some(serving) = self.next_serving().await {
            let death = tokio::select! {
                death = serving.ended() => death,
                () = self.no_longer_serves(serving.number) => continue,
                never = self.recycle_when_worn_out(&serving) => match never {},
            };
            let nobody = Serving::Nobody { cause: Error::WorkerDied(death.clone()) };
            if self.replace_if_serving(serving.number, nobody) {
                backoff.served(serving.served());
                drop(serving);
                self.restart(&mut backoff, Error::WorkerDied(death)).await;
            }
        }
    }

    async fn restart(&self, backoff: &mut Backoff, mut cause: Error) {
        loop {
            let Some((attempt, delay)) = backoff.next() else {
                self.end(|serving| matches!(serving, Serving::Nobody { .. }), &cause);
                self.events.emit(&Event::Failed(cause));
                return;
            };
            self.events.emit(&Event::Restart { attempt, delay });
            tokio::select! {
                () = sleep(delay) => {}
                () = self.somebody_serves() => return,
            }
            let started = tokio::select! {
                started = self.start_next() => started,
                () = self.somebody_serves() => return,
            };
            match started {
                Ok(next) => {
                    self.publish(next);
                    return;
                }
                Err(error) => cause = error,
            }
        }
    }

    /// The process that serves, when there is one; `None` when none ever will.
    async fn next_serving(&self) -> Option<Arc<Generation>> {
        self.serving_after(0).await.ok()
    }

    /// The process that serves, if it is a later one than that: waits for it.
    ///
    /// # Errors
    /// Why there will be none.
    pub(crate) async fn serving_after(&self, number: u64) -> Result<Arc<Generation>> {
        let mut serving = self.serving.subscribe();
        let there = serving.wait_for(|serving| match serving {
            Serving::Ready(generation) => generation.number > number,
            Serving::Nobody { .. } => false,
            Serving::Ended(_) => true,
        });
        let there = match there.await {
            Ok(serving) => serving.clone(),
            Err(_) => return Err(Error::Closed), // the sender lives as long as this
        };
        match there {
            Serving::Ready(generation) => Ok(generation),
            Serving::Ended(cause) | Serving::Nobody { cause, .. } => Err(cause),
        }
    }

    /// What is the case right now.
    pub(crate) fn serving_now(&self) -> Serving {
        self.serving.borrow().clone()
    }

    async fn no_longer_serves(&self, number: u64) {
        let serves = |serving: &Serving| matches!(serving, Serving::Ready(now) if now.number == number);
        // The sender lives as long as this.
        let _ = self.serving.subscribe().wait_for(|serving| !serves(serving)).await;
    }

    async fn somebody_serves(&self) {
        let nobody = |serving: &Serving| matches!(serving, Serving::Nobody { .. });
        let _ = self.serving.subscribe().wait_for(|serving| !nobody(serving)).await;
    }

    fn replace_if_serving(&self, number: u64, by: Serving) -> bool {
        self.serving.send_if_modified(|serving| {
            let serves = matches!(serving, Serving::Ready(now) if now.number == number);
            if serves {
                *serving = by;
            }
            serves
        })
    }

    /// From here on nothing is served; gives what was the case before.
    fn end(&self, may: impl Fn(&Serving) -> bool, cause: &Error) -> Option<Serving> {
        let mut before = None;
        self.serving.send_if_modified(|serving| {
            let may = may(serving);
            if may {
                before = Some(std::mem::replace(serving, Serving::Ended(cause.clone())));
            }
            may
        });
        before
    }

    /// # Errors
    /// `closed`, after `close` or `kill`.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        Ok(())
    }

    /// Refuses new calls, waits for what is in flight, and ends.
    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let cause = match self.serving_now() {
            // Those who wait for the next process came before this call.
            Serving::Nobody { cause, .. } => cause,
            Serving::Ready(_) | Serving::Ended(_) => Error::Closed,
        };
        if let Some(Serving::Ready(last)) = self.end(|serving| !matches!(serving, Serving::Ended(_)), &cause)
        {
            self.tasks.spawn(async move { last.retire(Reason::Closed, async {}).await });
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Ends everything at once.
    pub(crate) fn kill(&self) {
        self.closed.store(true, Ordering::Release);
        self.end(|serving| !matches!(serving, Serving::Ended(_)), &Error::Closed);
        self.each_living(|generation| generation.kill(Reason::Killed));
    }

    /// The number of the next process, from 1.
    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// What the end waits for.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// A process that lives, for those who must reach all of them.
    pub(crate) fn remember(&self, next: &Arc<Generation>) {
        let mut living = self.living.lock().unwrap_or_else(PoisonError::into_inner);
        living.retain(|other| other.strong_count() > 0);
        living.push(Arc::downgrade(next));
    }

    /// Waits until nothing will be served any more.
    pub(crate) fn no_more(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut serving = self.serving.subscribe();
        async move { drop(serving.wait_for(|serving| matches!(serving, Serving::Ended(_))).await) }
    }

    /// Calls for every process that may still live.
    pub(crate) fn each_living(&self, act: impl Fn(&Generation)) {
        let living: Vec<_> = {
            let living = self.living.lock().unwrap_or_else(PoisonError::into_inner);
            living.iter().filter_map(Weak::upgrade).collect()
        };
        living.iter().for_each(|generation| act(generation));
    }
}
