//! What can happen to a worker, happening to the real one.
#![cfg(unix)]

mod common;

use std::time::{Duration, Instant};

use common::{exists, pid_of, raw, signal, watched, PATIENCE};
use inferpipe::{Code, Event, Image, InferOptions, Reason, Restart, Worker};
use rustix::process::Signal;
use tokio::time::timeout;

#[tokio::test]
async fn a_kill_rejects_what_is_in_flight_with_how_it_died() {
    let Some(config) = common::fakes(&["fake:hang?size=64"]) else { return };
    let (config, mut seen) = watched(config);
    let worker = Worker::spawn(config).await.unwrap();
    let open: Vec<_> = (0..3)
        .map(|_| {
            let worker = worker.clone();
            tokio::spawn(async move { worker.infer(0, raw(1)).await })
        })
        .collect();
    worker.ping().await.unwrap();
    let pid = pid_of(&worker);
    signal(pid, Signal::KILL);
    for one in open {
        let error = timeout(PATIENCE, one).await.unwrap().unwrap().unwrap_err();
        let death = error.death().unwrap();
        assert_eq!((error.code(), death.signal, death.exit_code), (Code::WorkerDied, Some(9), None));
        assert_eq!((&death.reason, death.in_flight, death.generation), (&Reason::Exited, 3, 1));
    }
    assert!(!exists(pid), "it is reaped");
    assert!(worker.ping().await.is_ok(), "the next one serves");
    assert_ne!(pid_of(&worker), pid);
    worker.close().await.unwrap();
    let story = seen.until(|event| matches!(event, Event::Exit(death) if death.generation == 2)).await;
    assert_eq!(common::names(&story), ["ready 1", "exit 1 exited", "restart 1", "ready 2", "exit 2 closed"]);
}

#[tokio::test]
async fn a_worker_that_hangs_is_told_from_one_that_works() {
    let Some(config) = common::fakes(&["fake:sleep?size=64&ms=2500"]) else { return };
    let (short, long) = (Duration::from_millis(200), Duration::from_millis(800));
    let worker = Worker::spawn(config.heartbeat(short).unresponsive(long)).await.unwrap();
    // A predict that takes longer than all of that is no hang: pings are answered meanwhile.
    assert!(worker.infer(0, raw(1)).await.is_ok());
    let pid = pid_of(&worker);
    let open = tokio::spawn({
        let worker = worker.clone();
        async move { worker.infer(0, raw(1)).await }
    });
    worker.ping().await.unwrap();
    signal(pid, Signal::STOP);
    let error = timeout(PATIENCE, open).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.death().unwrap().reason, Reason::Unresponsive);
    assert!(!exists(pid));
    assert!(worker.ping().await.is_ok());
    worker.close().await.unwrap();
}

#[tokio::test]
async fn a_host_that_was_held_up_blames_nobody() {
    let Some(config) = common::fakes(&["fake:sleep?size=64&ms=20"]) else { return };
    let (short, long) = (Duration::from_millis(100), Duration::from_millis(400));
    let worker = Worker::spawn(config.heartbeat(short).unresponsive(long)).await.unwrap();
    let pid = pid_of(&worker);
    for _ in 0..2 {
        let open: Vec<_> = (0..50).map(|_| tokio::spawn(call(worker.clone()))).collect();
        tokio::task::yield_now().await;
        // Nothing of this runtime runs meanwhile: no answer is read, no ping is sent.
        std::thread::sleep(Duration::from_millis(1000));
        for one in open {
            one.await.unwrap().unwrap();
        }
    }
    assert_eq!(pid_of(&worker), pid);
    worker.close().await.unwrap();
}

async fn call(worker: Worker) -> inferpipe::Result<inferpipe::InferResult> {
    worker.infer(0, raw(1)).await
}

#[tokio::test]
async fn a_configuration_that_is_refused_is_not_tried_again() {
    let Some(config) = common::fakes(&["fake:noop"]) else { return };
    let (config, mut seen) = watched(config.set("concurrency", "many"));
    let error = Worker::spawn(config).await.unwrap_err();
    assert_eq!(error.code(), Code::HandshakeRefused);
    let death = error.death().unwrap();
    assert_eq!(death.exit_code, Some(1));
    assert!(error.to_string().contains("concurrency: expected a whole number"), "{error}");
    assert!(death.stderr_tail.iter().any(|line| line.contains("concurrency")), "{death:?}");
    let story = seen.until(|event| matches!(event, Event::Exit(_))).await;
    assert_eq!(common::names(&story), ["exit 1 exited"]);
}

#[tokio::test]
async fn a_program_that_cannot_be_started_or_ends_is_told() {
    let absent = inferpipe::Config::default().command(["/no/such/program"]);
    let error = Worker::spawn(absent).await.unwrap_err();
    assert_eq!(error.code(), Code::HandshakeRefused);
    assert!(error.to_string().contains("/no/such/program"), "{error}");
    let ends = inferpipe::Config::default().command(["sh", "-c", "echo so long >&2; exit 3"]);
    let error = Worker::spawn(ends).await.unwrap_err();
    assert_eq!(error.code(), Code::HandshakeRefused);
    assert_eq!(
        (error.death().unwrap().exit_code, error.death().unwrap().stderr_tail.concat()),
        (Some(3), "so long".into())
    );
}

#[tokio::test]
async fn a_python_without_the_worker_is_told_with_the_next_step() {
    let Some(python) = common::python() else { return };
    let words = [python.into_os_string()].into_iter().chain(["-I", "-S", "-m", "worker"].map(Into::into));
    let error = Worker::spawn(inferpipe::Config::default().command(words).cwd("/")).await.unwrap_err();
    assert!(error.to_string().contains("No module named worker; install inferpipe there"), "{error}");
}

#[tokio::test]
async fn a_start_without_a_sign_of_life_times_out() {
    let Some(config) = common::double("faulty_worker.py", &["stopped"]) else { return };
    let started = Instant::now();
    let error = Worker::spawn(config.start_stall(Duration::from_millis(600))).await.unwrap_err();
    assert_eq!(error.code(), Code::StartTimedOut);
    assert!(started.elapsed() < PATIENCE);
    let Some(silent) = common::double("scripted_worker.py", &["silent"]) else { return };
    let error = Worker::spawn(silent.start_stall(Duration::from_millis(600))).await.unwrap_err();
    assert_eq!(error.code(), Code::StartTimedOut);
}

#[tokio::test]
async fn a_start_that_computes_may_take_its_time() {
    let Some(config) = common::fakes(&["fake:noop?size=64"]) else { return };
    // Python's own start is processor time, and much longer than this.
    let worker = Worker::spawn(config.start_stall(Duration::from_millis(150))).await.unwrap();
    worker.close().await.unwrap();
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_nothing() {
    let Some(config) = common::fakes(&["fake:slowload?size=64&ms=60000"]) else { return };
    let (config, mut seen) = watched(config);
    assert!(timeout(Duration::from_millis(300), Worker::spawn(config)).await.is_err());
    let story = seen.until(|event| matches!(event, Event::Exit(_))).await;
    assert_eq!(common::names(&story), ["exit 1 killed"]);
}

#[tokio::test]
async fn garbage_among_the_answers_ends_the_worker() {
    let Some(config) = common::double("faulty_worker.py", &["signals"]) else { return };
    let config = config.set("runtime", "fake").model("fake:sleep?size=64&ms=3000");
    let worker = Worker::spawn(config).await.unwrap();
    let open = tokio::spawn(call(worker.clone()));
    worker.ping().await.unwrap();
    signal(pid_of(&worker), Signal::USR1);
    let error = timeout(PATIENCE, open).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.code(), Code::WorkerDied);
    let Reason::ProtocolViolation(text) = &error.death().unwrap().reason else { panic!("{error}") };
    assert!(text.contains("a library prints"), "{text}");
    assert!(worker.ping().await.is_ok(), "the next one serves");
    worker.close().await.unwrap();
}

#[tokio::test]
async fn answers_that_are_no_json_end_the_worker() {
    let Some(config) = common::double("scripted_worker.py", &["nonsense"]) else { return };
    let worker = Worker::spawn(config).await.unwrap();
    let pid = pid_of(&worker);
    let error = worker.infer(0, raw(1)).await.unwrap_err();
    assert_eq!(error.code(), Code::ProtocolViolation);
    let gone = async {
        while exists(pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
    worker.kill();
    worker.close().await.unwrap();
}

#[tokio::test]
async fn a_flood_of_stderr_holds_nothing_up_and_keeps_its_end() {
    let Some(config) = common::double("faulty_worker.py", &["signals"]) else { return };
    let (config, mut seen) = watched(config.set("runtime", "fake").model("fake:noop?size=64"));
    let worker = Worker::spawn(config).await.unwrap();
    signal(pid_of(&worker), Signal::USR2);
    for _ in 0..50 {
        worker.infer(0, raw(1)).await.unwrap();
    }
    seen.until(|event| matches!(event, Event::Log { line, .. } if line.starts_with("flood 199999 "))).await;
    signal(pid_of(&worker), Signal::KILL);
    let story = seen.until(|event| matches!(event, Event::Exit(_))).await;
    let Some(Event::Exit(death)) = story.last() else { panic!() };
    assert_eq!(death.stderr_tail.len(), 30);
    assert!(death.stderr_tail[29].starts_with("flood 199999 "), "{:?}", death.stderr_tail[29]);
    worker.kill();
}

#[tokio::test]
async fn a_worker_that_cannot_be_started_again_has_failed() {
    let Some(config) = common::fakes(&["fake:noop?size=64"]) else { return };
    let folder = std::env::temp_dir().join(format!("inferpipe-faults-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    // The first start removes what the second one would need.
    let once = folder.join("once");
    std::fs::write(&once, "").unwrap();
    let python = common::python().unwrap();
    let script = format!("rm {} && exec {} -m worker", once.display(), python.display());
    let restart = Restart { max_restarts: 3, initial: Duration::from_millis(20), ..Restart::default() };
    let (config, mut seen) = watched(config.command(["sh", "-c", &script]).restart(restart));
    let worker = Worker::spawn(config).await.unwrap();
    signal(pid_of(&worker), Signal::KILL);
    let story = seen.until(|event| matches!(event, Event::Failed(_))).await;
    std::fs::remove_dir_all(&folder).unwrap();
    let wanted = [
        "ready 1",
        "exit 1 exited",
        "restart 1",
        "exit 2 exited",
        "restart 2",
        "exit 3 exited",
        "restart 3",
        "exit 4 exited",
        "failed handshake_refused",
    ];
    assert_eq!(common::names(&story), wanted);
    let error = worker.infer(0, raw(1)).await.unwrap_err();
    assert_eq!(error.code(), Code::HandshakeRefused, "the last cause");
    assert!(worker.try_infer(0, raw(1), InferOptions::default()).is_err());
    worker.close().await.unwrap();
    assert_eq!(worker.infer(0, raw(1)).await.unwrap_err().code(), Code::Closed);
}

#[tokio::test]
async fn calls_without_a_worker_wait_for_the_next_one_within_their_time() {
    let Some(config) = common::fakes(&["fake:noop?size=64&load_ms=700"]) else { return };
    let (config, mut seen) = watched(config);
    let worker = Worker::spawn(config).await.unwrap();
    signal(pid_of(&worker), Signal::KILL);
    seen.until(|event| matches!(event, Event::Restart { .. })).await;
    let busy = worker.try_infer(0, raw(1), InferOptions::default()).err().unwrap();
    assert_eq!(busy.code(), Code::Busy);
    let short = InferOptions { timeout: Some(Duration::from_millis(50)), ..InferOptions::default() };
    assert_eq!(worker.infer_with(0, raw(1), short).await.unwrap_err().code(), Code::TimedOut);
    assert!(worker.infer(0, raw(1)).await.is_ok());
    worker.close().await.unwrap();
}

#[tokio::test]
async fn a_worker_that_dies_of_a_long_load_is_waited_for() {
    let Some(config) = common::fakes(&["fake:noop?size=64"]) else { return };
    let (config, mut seen) = watched(config);
    let worker = Worker::spawn(config).await.unwrap();
    let load = tokio::spawn({
        let worker = worker.clone();
        async move { worker.load(1, "fake:slowload?size=64&ms=30000").await }
    });
    worker.ping().await.unwrap();
    signal(pid_of(&worker), Signal::KILL);
    assert_eq!(load.await.unwrap().unwrap_err().code(), Code::WorkerDied);
    seen.until(|event| matches!(event, Event::Ready { generation: 2, .. })).await;
    assert_eq!(worker.status().await.unwrap().slots.len(), 1, "what was not answered is not restored");
    worker.close().await.unwrap();
}

#[tokio::test]
async fn a_request_is_sent_again_as_often_as_it_may_be() {
    let Some(config) = common::fakes(&["fake:sleep?size=64&ms=700"]) else { return };
    let (config, mut seen) = watched(config.restart(common::quick_restart()));
    let worker = Worker::spawn(config).await.unwrap();
    let options = InferOptions { retries: 1, ..InferOptions::default() };
    let patient = InferOptions { retries: 2, ..InferOptions::default() };
    let twice = tokio::spawn(call_with(worker.clone(), options));
    let thrice = tokio::spawn(call_with(worker.clone(), patient));
    for generation in 1..=2 {
        seen.until(|event| matches!(event, Event::Ready { generation: now, .. } if *now == generation)).await;
        wait_until_in_flight(&worker).await;
        signal(pid_of(&worker), Signal::KILL);
    }
    let error = twice.await.unwrap().unwrap_err();
    assert_eq!((error.code(), error.death().unwrap().generation), (Code::WorkerDied, 2));
    assert!(thrice.await.unwrap().is_ok());
    worker.close().await.unwrap();
}

async fn call_with(worker: Worker, options: InferOptions) -> inferpipe::Result<inferpipe::InferResult> {
    worker.infer_with(0, raw(1), options).await
}

async fn wait_until_in_flight(worker: &Worker) {
    let metrics = || async { worker.metrics().await.unwrap().to_string() };
    let before = Instant::now();
    while !common::has_in_flight(&metrics().await) {
        assert!(before.elapsed() < PATIENCE, "{}", metrics().await);
    }
}

#[tokio::test]
async fn a_picture_that_fails_is_an_answer_and_is_not_sent_again() {
    let Some(config) = common::fakes(&["fake:fail?size=64"]) else { return };
    let worker = Worker::spawn(config).await.unwrap();
    let options = InferOptions { retries: 5, ..InferOptions::default() };
    let error = worker.infer_with(0, raw(1), options).await.unwrap_err();
    assert_eq!(error.code(), Code::InferenceFailed);
    let broken = worker.infer(0, Image::encoded(b"no picture".as_slice())).await.unwrap_err();
    assert_eq!(broken.code(), Code::DecodeFailed);
    worker.close().await.unwrap();
}
