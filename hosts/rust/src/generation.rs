//! A process with its connection, from handshake to end.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::{timeout, Instant};
use tokio_util::task::TaskTracker;

use crate::config::{Config, RequestLimits};
use crate::connection::{Budget, Connection, Life, Lost, Note, Request};
use crate::death::{Death, Reason};
use crate::event::{Event, Events};
use crate::keeper::{Ender, Keeper, END_GRACE};
use crate::process::{self, Process, Tail};
use crate::protocol::{answer_from_json, Error, Limits, Ready, Result};
use crate::watchdog;

/// Parts of one task or stream that nobody has taken, at which it is given up.
const MAX_UNTAKEN_BYTES: usize = 64 << 20;

/// What the end may take beyond the worker's own drain.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// A process with its connection. Dropping it kills the process.
pub(crate) struct Generation {
    pub(crate) number: u64,
    pub(crate) pid: u32,
    connection: Connection,
    ready: OnceLock<Arc<Ready>>,
    serving_since: OnceLock<Instant>,
    end: Ender,
    ended: watch::Receiver<Option<Arc<Death>>>,
}

impl Generation {
    /// Starts a process and shakes hands.
    ///
    /// # Errors
    /// `handshake_refused`, `start_timed_out`.
    ///
    /// The task that reaps the process is one of `tasks`.
    pub(crate) async fn start(
        config: &Config,
        handshake: Bytes,
        number: u64,
        events: &Arc<Events>,
        tasks: &TaskTracker,
    ) -> Result<Arc<Self>> {
        let process = Process::spawn(config).map_err(|error| not_started(number, &error, events))?;
        let generation = Arc::new(Self::run(process, config, number, events, tasks));
        let watch = tokio::spawn(watchdog::watch_start(generation.sight(), config.start_stall));
        let ready = generation.shake_hands(handshake).await?;
        watch.abort();
        generation.connection.set_budget(budget(&ready.limits, config.limits));
        // Both are set here alone, once.
        let _ = generation.ready.set(Arc::new(ready));
        let _ = generation.serving_since.set(Instant::now());
        tokio::spawn(watchdog::watch_serving(generation.sight(), config.heartbeat, config.unresponsive));
        Ok(generation)
    }

    fn run(
        process: Process,
        config: &Config,
        number: u64,
        events: &Arc<Events>,
        tasks: &TaskTracker,
    ) -> Self {
        let life = Arc::new(Life::new());
        let connection = Connection::new(budget(&Limits::default(), config.limits), life.clone());
        let tail = Tail::default();
        let (end, ends) = mpsc::unbounded_channel();
        let (tell_ended, ended) = watch::channel(None);
        let logged = {
            let events = events.clone();
            move |line| events.emit(&Event::Log { generation: number, line })
        };
        tokio::spawn(connection.write_to(process.stdin));
        let keeper = Keeper {
            number,
            child: process.child,
            answers: Some(tokio::spawn(connection.read_from(process.stdout))),
            stderr: tokio::spawn(process::follow_stderr(process.stderr, life, tail.clone(), logged)),
            tail,
            connection: connection.clone(),
            events: events.clone(),
        };
        tasks.spawn(keeper.run(ends, tell_ended));
        Self {
            number,
            pid: process.pid,
            connection,
            ready: OnceLock::new(),
            serving_since: OnceLock::new(),
            end: Ender::new(end),
            ended,
        }
    }

    async fn shake_hands(&self, handshake: Bytes) -> Result<Ready> {
        match self.connection.shake_hands(handshake)?.await {
            Ok(body) => match answer_from_json(&body) {
                Ok(ready) => Ok(ready),
                Err(Error::Answer(answer)) => {
                    self.end_within(END_GRACE).await;
                    let reason = Reason::Refused(answer.text.clone());
                    let death = Death { reason, ..(*self.ended().await).clone() };
                    Err(Error::HandshakeRefused(Arc::new(death)))
                }
                Err(error) => {
                    self.kill(Reason::ProtocolViolation(error.to_string()));
                    Err(Error::HandshakeRefused(self.ended().await))
                }
            },
            Err(Lost::Died(death)) if death.reason == Reason::StartTimedOut => {
                Err(Error::StartTimedOut(death))
            }
            Err(Lost::Died(death)) => Err(Error::HandshakeRefused(death)),
            Err(Lost::NotSent) => Err(Error::HandshakeRefused(self.ended().await)),
        }
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// What it told of itself; of one that is still starting, nothing.
    pub(crate) fn ready(&self) -> Arc<Ready> {
        self.ready.get().cloned().unwrap_or_default()
    }

    /// For how long it has been serving.
    pub(crate) fn served(&self) -> Duration {
        self.serving_since.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// Sends a command and reads its answer.
    ///
    /// # Errors
    /// The answer's, `worker_died`.
    pub(crate) async fn command(&self, request: &Request, note: Option<Note>) -> Result<Bytes> {
        match self.connection.submit(request, note)?.await {
            Ok(body) => Ok(body),
            Err(Lost::Died(death)) => Err(Error::WorkerDied(death)),
            Err(Lost::NotSent) => Err(Error::WorkerDied(self.ended().await)),
        }
    }

    /// The same, its answer read as a whole.
    ///
    /// # Errors
    /// As [`Generation::command`].
    pub(crate) async fn ask(&self, request: &Request) -> Result<Value> {
        answer_from_json(&self.command(request, None).await?)
    }

    /// Ends it at once.
    pub(crate) fn kill(&self, reason: Reason) {
        self.end.kill(reason);
    }

    /// Waits until it is gone and reaped.
    pub(crate) async fn ended(&self) -> Arc<Death> {
        let mut ended = self.ended.clone();
        let death = ended.wait_for(Option::is_some).await.ok().and_then(|death| death.clone());
        // The sender goes without a word only with the runtime, which takes this task along.
        death.unwrap_or_else(|| Arc::new(lost_death(self.number)))
    }

    /// Takes nothing new, answers what it has, and ends; returns when it is reaped.
    ///
    /// Waits for answers, and for the ends of streams that are not live, until `hurried`; then for answers alone,
    /// as long as the worker would: for what is left it has its own time to drain.
    pub(crate) async fn retire(&self, reason: Reason, hurried: impl Future<Output = ()>) {
        self.connection.drain();
        let in_a_hurry = async {
            hurried.await;
            let _ = timeout(self.drain_timeout(), self.connection.idle_but_for_streams()).await;
        };
        tokio::select! {
            () = self.connection.idle() => {}
            () = in_a_hurry => {}
        }
        self.end.expect(reason);
        self.connection.close();
        self.end_within(self.drain_timeout() + CLOSE_GRACE).await;
    }

    /// How long the worker itself waits for what is in flight when its stream ends.
    pub(crate) fn drain_timeout(&self) -> Duration {
        let limit = self.ready().limits.drain_timeout_ms;
        Duration::try_from_secs_f64(limit / 1000.0).unwrap_or(Duration::from_secs(10))
    }

    /// Waits for its end, and brings it about when the time has passed.
    async fn end_within(&self, time: Duration) {
        if timeout(time, self.ended()).await.is_err() {
            self.kill(Reason::Killed);
            self.ended().await;
        }
    }

    fn sight(&self) -> watchdog::Sight {
        watchdog::Sight {
            pid: self.pid,
            connection: self.connection.clone(),
            end: self.end.clone(),
            ended: self.ended.clone(),
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.kill(Reason::Killed);
    }
}

/// What the library lets be in flight: one below what the worker does, so that it always reads commands.
fn budget(limits: &Limits, own: RequestLimits) -> Budget {
    let requests = usize::try_from(limits.max_in_flight.saturating_sub(1)).unwrap_or(usize::MAX);
    let bytes = usize::try_from(limits.max_in_flight_bytes.saturating_sub(1)).unwrap_or(usize::MAX);
    Budget {
        requests: own.max_in_flight.map_or(requests, |own| own.min(requests)).max(1),
        bytes: own.max_in_flight_bytes.map_or(bytes, |own| own.min(bytes)),
        untaken: MAX_UNTAKEN_BYTES,
    }
}

fn not_started(number: u64, error: &std::io::Error, events: &Events) -> Error {
    let reason = Reason::NotStarted(error.to_string());
    let death = Arc::new(Death { reason, ..lost_death(number) });
    events.emit(&Event::Exit(death.clone()));
    Error::HandshakeRefused(death)
}

fn lost_death(generation: u64) -> Death {
    let reason = Reason::Killed;
    Death { generation, reason, exit_code: None, signal: None, stderr_tail: Vec::new(), in_flight: 0 }
}
