//! A shared ring with a real worker: pixels in place, leases, deaths and recycles.

mod common;
mod support;

use std::time::Duration;

use inferpipe::{
    Code, Config, Error, Image, InferOptions, PixelFormat, RingOptions, SharedRing, SlotMut, Worker,
};
use support::{echoed_id, picture, pixels, ECHO, RGB_BYTES, SIDE};

const SLOW: &str = "fake:sleep?size=64&ms=300";

fn options(slots: usize) -> RingOptions {
    RingOptions { slots, slot_bytes: RGB_BYTES }
}

async fn start(config: Config, slots: usize) -> (Worker, SharedRing) {
    let worker = Worker::spawn(config).await.unwrap();
    let ring = worker.shared_ring(options(slots)).await.unwrap();
    (worker, ring)
}

/// Fill a slot with a picture that carries a number.
fn image(mut slot: SlotMut, id: u16) -> Image {
    slot.copy_from_slice(&pixels(id));
    slot.image(SIDE, SIDE, PixelFormat::Rgb).unwrap()
}

/// Wait until every slot is free: the answer is told before the lease ends, or at once after a death.
async fn all_free(ring: &SharedRing) {
    let leases = async {
        let mut slots = Vec::new();
        for _ in 0..ring.slots() {
            slots.push(ring.lease().await);
        }
    };
    tokio::time::timeout(Duration::from_secs(5), leases).await.expect("a slot is never given back");
}

#[tokio::test]
async fn what_is_written_into_a_slot_is_what_the_worker_sees() {
    let Some(config) = support::config(ECHO) else { return };
    let (worker, ring) = start(config, 2).await;
    for id in [1, 77, 65_535] {
        let result = worker.infer(0, image(ring.lease().await, id)).await.unwrap();
        assert_eq!(echoed_id(&result), Some(id));
    }
    worker.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_share_few_slots_and_each_gets_its_own_answer() {
    let Some(config) = support::config(ECHO) else { return };
    let (worker, ring) = start(config, 4).await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8_u16 {
        let (worker, ring) = (worker.clone(), ring.clone());
        tasks.spawn(async move {
            for id in (0..400).step_by(8).map(|number| number + task) {
                let result = worker.infer(0, image(ring.lease().await, id)).await.unwrap();
                assert_eq!(echoed_id(&result), Some(id));
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    all_free(&ring).await;
}

#[tokio::test]
async fn a_file_in_a_slot_is_decoded_by_the_worker() {
    let Some(config) = support::config("fake:noop?size=64") else { return };
    let file = std::fs::read(common::root().join("models/scenes/scene-2-640x480.jpg")).unwrap();
    let worker = Worker::spawn(config).await.unwrap();
    let ring = worker.shared_ring(RingOptions { slots: 1, slot_bytes: 1 << 20 }).await.unwrap();
    let mut slot = ring.lease().await;
    slot[..file.len()].copy_from_slice(&file);
    let result = worker.infer(0, slot.encoded(file.len()).unwrap()).await.unwrap();
    assert_eq!(result.frame_size, "640x480");
}

#[tokio::test]
async fn a_full_ring_says_so_and_a_waiting_lease_gets_the_next_free_slot() {
    let Some(config) = support::config(ECHO) else { return };
    let (_worker, ring) = start(config, 2).await;
    let (first, _second) = (ring.try_lease().unwrap(), ring.try_lease().unwrap());
    assert_eq!(ring.try_lease().unwrap_err().code(), Code::RingFull);
    assert_eq!(ring.free_slots(), 0);
    let waiting = tokio::spawn({
        let ring = ring.clone();
        async move { ring.lease().await.generation() }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    let generation = first.generation();
    drop(first);
    assert_eq!(waiting.await.unwrap(), generation + 1);
}

#[tokio::test]
async fn a_picture_that_does_not_fit_is_refused_and_its_slot_is_free_again() {
    let Some(config) = support::config(ECHO) else { return };
    let (_worker, ring) = start(config, 1).await;
    let refused = [
        ring.try_lease().unwrap().image(SIDE + 1, SIDE, PixelFormat::Rgb),
        ring.try_lease().unwrap().image(SIDE, SIDE, PixelFormat::Encoded),
        ring.try_lease().unwrap().image(0, SIDE, PixelFormat::Rgb),
        ring.try_lease().unwrap().encoded(RGB_BYTES + 1),
        ring.try_lease().unwrap().encoded(0),
    ];
    for result in refused {
        assert_eq!(result.unwrap_err().code(), Code::BadRequest);
    }
    assert_eq!(ring.free_slots(), 1);
}

#[tokio::test]
async fn a_slot_stays_leased_until_the_answer_has_come() {
    let Some(config) = support::config(SLOW) else { return };
    let (worker, ring) = start(config, 1).await;
    let request = worker.infer(0, image(ring.lease().await, 1));
    tokio::pin!(request);
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut request).await.is_err());
    assert_eq!(ring.try_lease().unwrap_err().code(), Code::RingFull);
    request.await.unwrap();
    all_free(&ring).await;
}

#[tokio::test]
async fn a_call_that_was_given_up_keeps_its_slot_while_the_worker_may_read_it() {
    let Some(config) = support::config(SLOW) else { return };
    let (worker, ring) = start(config, 1).await;
    let request = worker.infer(0, image(ring.lease().await, 1));
    assert!(tokio::time::timeout(Duration::from_millis(100), request).await.is_err());
    assert_eq!(ring.free_slots(), 0, "predict has begun, and the worker has not answered");
    all_free(&ring).await;
}

#[tokio::test]
async fn one_picture_is_looked_at_twice_and_is_free_after_both() {
    let Some(config) = support::config(ECHO) else { return };
    let (worker, ring) = start(config.model("fake:noop?size=64"), 1).await;
    let picture = image(ring.lease().await, 9);
    let (echo, noop) = tokio::join!(worker.infer(0, picture.clone()), worker.infer(1, picture.clone()));
    assert_eq!(echoed_id(&echo.unwrap()), Some(9));
    assert!(noop.unwrap().detections().is_empty());
    assert_eq!(ring.free_slots(), 0, "the image is still here");
    drop(picture);
    all_free(&ring).await;
}

#[cfg(unix)]
#[tokio::test]
async fn after_a_death_slots_are_free_and_the_next_process_has_the_ring() {
    let Some(config) = support::config(SLOW) else { return };
    let (worker, ring) = start(config.model(ECHO), 2).await;
    let request = tokio::spawn({
        let (worker, image) = (worker.clone(), image(ring.lease().await, 1));
        async move { worker.infer(0, image).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    support::kill(worker.pid().unwrap());
    assert_eq!(request.await.unwrap().unwrap_err().code(), Code::WorkerDied);
    all_free(&ring).await;
    let result = worker.infer(1, image(ring.lease().await, 5)).await.unwrap();
    assert_eq!(echoed_id(&result), Some(5));
}

#[cfg(unix)]
#[tokio::test]
async fn a_request_that_is_sent_again_keeps_its_slot() {
    let Some(config) = support::config("fake:echo?size=64&ms=300") else { return };
    let (worker, ring) = start(config, 1).await;
    let request = tokio::spawn({
        let (worker, image) = (worker.clone(), image(ring.lease().await, 3));
        let options = InferOptions { retries: 1, ..InferOptions::default() };
        async move { worker.infer_with(0, image, options).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    support::kill(worker.pid().unwrap());
    assert_eq!(ring.free_slots(), 0);
    assert_eq!(echoed_id(&request.await.unwrap().unwrap()), Some(3));
    all_free(&ring).await;
}

#[tokio::test]
async fn a_recycled_worker_has_the_ring() {
    let Some(config) = support::config(ECHO) else { return };
    let (worker, ring) = start(config, 1).await;
    worker.recycle().await.unwrap();
    let result = worker.infer(0, image(ring.lease().await, 6)).await.unwrap();
    assert_eq!(echoed_id(&result), Some(6));
}

#[tokio::test]
async fn a_slot_outlives_its_ring() {
    let Some(config) = support::config(ECHO) else { return };
    let (worker, ring) = start(config, 1).await;
    let slot = ring.lease().await;
    drop(ring);
    assert_eq!(echoed_id(&worker.infer(0, image(slot, 8)).await.unwrap()), Some(8));
}

/// The last to hold the ring is the request, and it ends where nobody waits for it.
#[tokio::test]
async fn a_ring_that_ends_with_a_request_that_was_given_up_holds_nobody_up() {
    let Some(config) = support::config(SLOW) else { return };
    let (worker, ring) = start(config, 1).await;
    let request = worker.infer(0, image(ring.lease().await, 1));
    drop(ring);
    assert!(tokio::time::timeout(Duration::from_millis(100), request).await.is_err());
    let next = tokio::time::timeout(Duration::from_secs(10), worker.infer(0, picture(2)));
    next.await.expect("nothing is answered any longer").unwrap();
}

#[tokio::test]
async fn a_ring_belongs_to_its_worker() {
    let (Some(config), Some(other)) = (support::config(ECHO), support::config(ECHO)) else { return };
    let (_worker, ring) = start(config, 1).await;
    let other = Worker::spawn(other).await.unwrap();
    let error = other.infer(0, image(ring.lease().await, 1)).await.unwrap_err();
    assert_eq!(error.code(), Code::BadRequest);
    all_free(&ring).await;
}

/// The worker takes 1,024 regions.
#[tokio::test]
async fn a_ring_that_is_dropped_leaves_nothing_behind() {
    let Some(config) = support::config(ECHO) else { return };
    let worker = Worker::spawn(config).await.unwrap();
    for _ in 0..1100 {
        drop(worker.shared_ring(RingOptions { slots: 1, slot_bytes: 1 }).await.unwrap());
    }
    worker.infer(0, picture(1)).await.unwrap();
}

#[tokio::test]
async fn a_ring_of_nothing_is_refused() {
    let Some(config) = support::config(ECHO) else { return };
    let worker = Worker::spawn(config).await.unwrap();
    for (slots, slot_bytes) in [(0, 1), (1, 0), (usize::MAX, usize::MAX)] {
        let error = worker.shared_ring(RingOptions { slots, slot_bytes }).await.unwrap_err();
        assert!(matches!(error, Error::BadRequest(_)), "{error}");
    }
}
