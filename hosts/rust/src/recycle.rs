//! The next process: given what the one before it had, and put in its place while that serves.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{json, Value};
use tokio::time::sleep;

use crate::connection::{Kind, Request};
use crate::generation::Generation;
use crate::process::figures;
use crate::protocol::{answer_from_json, Error, Message, Result};
use crate::restore::{Plan, Region};
use crate::supervisor::Supervisor;

/// Between two attempts to recycle a process that is worn out, when they fail.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

impl Supervisor {
    /// Starts a process and gives it what the one before it had.
    ///
    /// # Errors
    /// `handshake_refused`, `start_timed_out`, `worker_died`.
    pub(crate) async fn start_next(&self) -> Result<Arc<Generation>> {
        let number = self.next_number();
        let plan = Plan::new(&self.config, &self.restore.slots());
        let next =
            Generation::start(&self.config, plan.handshake, number, &self.events, self.tasks()).await?;
        self.remember(&next);
        self.restore.learn(&next.ready());
        self.give_back(&next, plan.loads).await?;
        Ok(next)
    }

    /// Attaches regions, loads models, sends frames. What fails by itself is not there afterwards; only a death is an
    /// error.
    async fn give_back(&self, next: &Generation, loads: Vec<(usize, serde_json::Value)>) -> Result<()> {
        let mut requests: Vec<Request> = Vec::new();
        requests
            .extend(self.restore.regions().iter().map(|region| Request::command(&region.attach_command())));
        requests.extend(loads.into_iter().map(|(index, config)| {
            Request::long_command(&json!({"cmd": "load", "index": index, "config": config}))
        }));
        requests.extend(self.restore.frames().into_iter().map(|(frame_id, frame)| Request {
            message: Message::CacheFrame { frame_id, picture: frame.picture },
            kind: Kind::CacheFrame,
            options: frame.options,
            lease: None,
        }));
        let sent = requests.iter().map(|request| next.connection().submit(request, None));
        for answer in sent.collect::<Result<Vec<_>>>()? {
            if answer.await.is_err() {
                return Err(Error::WorkerDied(next.ended().await));
            }
        }
        Ok(())
    }

    /// Looks every heartbeat whether the process is too old, or takes too much memory.
    pub(crate) async fn recycle_when_worn_out(self: &Arc<Self>, serving: &Generation) -> Infallible {
        let mut pause = self.config.heartbeat;
        loop {
            sleep(pause).await;
            if self.is_worn_out(serving) {
                // In a task of its own: the death of this process is to be seen meanwhile.
                let recycling = self.tasks().spawn(self.clone().recycle());
                let _ = recycling.await;
                // Still here: it has failed. The next one is given more and more time to do better.
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    fn is_worn_out(&self, serving: &Generation) -> bool {
        let rss = || figures::rss_bytes(serving.pid);
        self.config.max_age.is_some_and(|most| serving.served() > most)
            || self.config.max_rss_bytes.is_some_and(|most| rss().is_some_and(|rss| rss > most))
    }

    /// Starts the next process beside the one that serves, and lets it serve.
    ///
    /// # Errors
    /// Why it does not serve as the old one does, which goes on then; `closed`.
    pub(crate) async fn recycle(self: Arc<Self>) -> Result<()> {
        self.check_open()?;
        let _alone = self.changes.write().await;
        self.serving_after(0).await?;
        let next = tokio::select! {
            next = self.start_warm() => next?,
            () = self.no_more() => return Err(Error::Closed),
        };
        if self.publish_over(next) {
            Ok(())
        } else {
            Err(Error::Closed)
        }
    }

    async fn start_warm(&self) -> Result<Arc<Generation>> {
        let next = self.start_next().await?;
        for (index, slot) in self.restore.slots().iter().enumerate().filter(|(_, slot)| slot.config.is_some())
        {
            let warmup = Request::long_command(&json!({"cmd": "warmup", "index": index}));
            match next.ask(&warmup).await {
                Err(error) if slot.served => return Err(error),
                // It has never served: nothing is lost.
                _ => {}
            }
        }
        Ok(next)
    }

    /// Attaches a region to this process and all that come.
    ///
    /// # Errors
    /// The worker's.
    pub(crate) async fn attach_region(&self, region: Region) -> Result<()> {
        self.check_open()?;
        let _shared = self.changes.read().await;
        let request = Request::command(&region.attach_command());
        let mut number = 0;
        loop {
            let serving = self.serving_after(number).await?;
            let note = self.restore.note_attach(region.clone());
            match serving.command(&request, Some(note)).await {
                Err(Error::WorkerDied(_)) => number = serving.number,
                Err(error) => return Err(error),
                Ok(body) => return answer_from_json::<Value>(&body).map(drop),
            }
        }
    }

    /// Detaches a region from all; does not wait.
    pub(crate) fn detach_region(&self, id: u32) {
        let region = self.restore.forget_region(id);
        self.each_living(|generation| {
            // What keeps the memory goes when the last process has let go of it.
            let region = region.clone();
            generation.connection().tell(&Region::detach_command(id), Some(Box::new(move |_| drop(region))));
        });
    }
}
