//! What the next process has to be given: models, regions, frames.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{json, Value};

use crate::config::Config;
use crate::connection::Note;
use crate::protocol::{Lease, Picture, Ready};

/// A region of shared memory that every process is told of.
#[derive(Clone)]
pub(crate) struct Region {
    /// The host's to choose; see [`next_region_id`](crate::worker::next_region_id).
    pub(crate) id: u32,
    pub(crate) path: PathBuf,
    /// In bytes.
    pub(crate) size: u64,
    /// Whether the worker may map it although it could be shortened.
    pub(crate) trusted: bool,
    /// What keeps the path alive, as the descriptor of a memfd.
    #[allow(dead_code)] // held, not read
    pub(crate) keep: Lease,
}

impl Region {
    pub(crate) fn attach_command(&self) -> Value {
        let Self { id, path, size, trusted, .. } = self;
        let path = path.to_string_lossy();
        json!({"cmd": "region_attach", "regionId": id, "path": path, "size": size, "trusted": trusted})
    }

    pub(crate) fn detach_command(id: u32) -> Value {
        json!({"cmd": "region_detach", "regionId": id})
    }
}

/// A frame that the library keeps.
#[derive(Clone, Debug)]
pub(crate) struct KeptFrame {
    pub(crate) picture: Picture,
    /// The options of its CACHE_FRAME as JSON.
    pub(crate) options: Vec<u8>,
    last_use: u64,
}

/// What a slot is to hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slot {
    /// `None`: it was unloaded, or there was never anything.
    pub(crate) config: Option<Value>,
    /// Whether it has served: then the next process must serve it too.
    pub(crate) served: bool,
}

/// What the next process has to be given. Answers write it down on the reading task, before anybody learns that
/// their process died.
#[derive(Clone, Default)]
pub(crate) struct Restore(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    slots: Vec<Slot>,
    regions: BTreeMap<u32, Region>,
    frames: HashMap<u32, KeptFrame>,
    frame_bytes: usize,
    /// The worker's budget of cached frames: there is no use in keeping more.
    frame_budget: usize,
    uses: u64,
}

impl Restore {
    pub(crate) fn new(config: &Config) -> Self {
        let slot = |model: &Value| Slot { config: Some(model.clone()), served: false };
        let slots = config.models.iter().map(slot).collect();
        Self(Arc::new(Mutex::new(State { slots, frame_budget: usize::MAX, ..State::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The slots as they are to be.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        self.lock().slots.clone()
    }

    pub(crate) fn regions(&self) -> Vec<Region> {
        self.lock().regions.values().cloned().collect()
    }

    /// The kept frames, least recently used first: so the worker has them in the same order.
    pub(crate) fn frames(&self) -> Vec<(u32, KeptFrame)> {
        let state = self.lock();
        let mut frames: Vec<_> = state.frames.iter().map(|(id, frame)| (*id, frame.clone())).collect();
        frames.sort_by_key(|(_, frame)| frame.last_use);
        frames
    }

    /// A process is ready: learn which slots serve, and how much it caches.
    pub(crate) fn learn(&self, ready: &Ready) {
        let mut state = self.lock();
        for report in ready.slots.iter().filter(|report| report.loaded) {
            if let Some(slot) = state.slots.get_mut(report.index as usize) {
                slot.served = true;
            }
        }
        if let Some(budget) = ready.limits.frame_cache_bytes {
            state.frame_budget = usize::try_from(budget).unwrap_or(usize::MAX);
        }
    }

    /// Notes the answer to a `load` or `replace`.
    pub(crate) fn note_load(&self, index: u8, config: Value) -> Note {
        let restore = self.clone();
        Box::new(move |body| {
            if is_ok(body) {
                restore.lock().set_slot(index, Slot { config: Some(config), served: true });
            }
        })
    }

    /// Notes the answer to an `unload`.
    pub(crate) fn note_unload(&self, index: u8) -> Note {
        let restore = self.clone();
        Box::new(move |body| {
            if is_ok(body) {
                restore.lock().set_slot(index, Slot { config: None, served: false });
            }
        })
    }

    /// Notes the answer to a `region_attach`.
    pub(crate) fn note_attach(&self, region: Region) -> Note {
        let restore = self.clone();
        Box::new(move |body| {
            if is_ok(body) {
                restore.lock().regions.insert(region.id, region);
            }
        })
    }

    /// The region is no longer to be given to anybody.
    pub(crate) fn forget_region(&self, id: u32) -> Option<Region> {
        self.lock().regions.remove(&id)
    }

    /// Notes the answer to a CACHE_FRAME: `kept` is what is to be restored, if it is.
    pub(crate) fn note_frame(&self, frame_id: u32, kept: Option<(Picture, Vec<u8>)>) -> Note {
        let restore = self.clone();
        Box::new(move |body| {
            let mut state = restore.lock();
            // One that failed leaves its id empty; one that is not to be kept takes the place of one that was.
            state.remove_frame(frame_id);
            if let Some((picture, options)) = kept.filter(|_| is_ok(body)) {
                state.keep_frame(frame_id, picture, options);
            }
        })
    }

    /// Notes the answer to an `uncache_frame`.
    pub(crate) fn note_uncache(&self, frame_id: u32) -> Note {
        let restore = self.clone();
        Box::new(move |body| {
            if is_ok(body) {
                restore.lock().remove_frame(frame_id);
            }
        })
    }

    /// A request uses a frame: it goes out later.
    pub(crate) fn touch_frame(&self, frame_id: u32) {
        let mut state = self.lock();
        let use_number = state.next_use();
        if let Some(frame) = state.frames.get_mut(&frame_id) {
            frame.last_use = use_number;
        }
    }
}

impl State {
    fn set_slot(&mut self, index: u8, slot: Slot) {
        let index = usize::from(index);
        if self.slots.len() <= index {
            self.slots.resize(index + 1, Slot { config: None, served: false });
        }
        self.slots[index] = slot;
    }

    fn next_use(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }

    fn keep_frame(&mut self, frame_id: u32, picture: Picture, options: Vec<u8>) {
        let last_use = self.next_use();
        self.frame_bytes += picture.data.len();
        self.frames.insert(frame_id, KeptFrame { picture, options, last_use });
        while self.frame_bytes > self.frame_budget {
            let oldest = self.frames.iter().min_by_key(|(_, frame)| frame.last_use).map(|(id, _)| *id);
            let Some(oldest) = oldest else { break };
            self.remove_frame(oldest);
        }
    }

    fn remove_frame(&mut self, frame_id: u32) {
        if let Some(frame) = self.frames.remove(&frame_id) {
            self.frame_bytes -= frame.picture.data.len();
        }
    }
}

/// The handshake of a process, and what is loaded behind it.
pub(crate) struct Plan {
    /// The configuration, with the slots up to the first one that is empty.
    pub(crate) handshake: Bytes,
    /// The models behind that, to be loaded by command.
    pub(crate) loads: Vec<(usize, Value)>,
}

impl Plan {
    pub(crate) fn new(config: &Config, slots: &[Slot]) -> Self {
        let leading: Vec<&Value> = slots.iter().map_while(|slot| slot.config.as_ref()).collect();
        let rest = slots.iter().enumerate().skip(leading.len());
        let loads = rest.filter_map(|(index, slot)| Some((index, slot.config.clone()?))).collect();
        let mut handshake = config.handshake.clone();
        handshake.insert("protocol".into(), 3.into());
        handshake.entry("parentPid").or_insert_with(|| std::process::id().into());
        handshake.entry("runtime").or_insert_with(|| "auto".into());
        handshake.entry("models").or_insert_with(|| json!(leading));
        Self { handshake: Value::Object(handshake).to_string().into(), loads }
    }
}

fn is_ok(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Head {
        error: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Head>(body).is_ok_and(|head| head.error.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::PixelFormat;

    const OK: &[u8] = br#"{"status":"ok"}"#;
    const FAILED: &[u8] = br#"{"status":"error","error":"no","code":"internal"}"#;

    fn frame(bytes: usize) -> Option<(Picture, Vec<u8>)> {
        let width = u32::try_from(bytes).unwrap();
        Some((Picture::raw(vec![0; bytes], width, 1, PixelFormat::Gray), Vec::new()))
    }

    fn ids(restore: &Restore) -> Vec<u32> {
        restore.frames().into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn slots_are_what_answers_have_made_of_them() {
        let restore = Restore::new(&Config::default().model("a").model("b").model("c"));
        restore.note_load(4, json!({"path": "e"}))(OK);
        restore.note_load(0, json!({"path": "x"}))(FAILED);
        restore.note_unload(1)(OK);
        let plan = Plan::new(&Config::default(), &restore.slots());
        let handshake: Value = serde_json::from_slice(&plan.handshake).unwrap();
        assert_eq!(handshake["models"], json!([{"path": "a"}]));
        assert_eq!(plan.loads, [(2, json!({"path": "c"})), (4, json!({"path": "e"}))]);
    }

    #[test]
    fn the_handshake_has_what_the_library_adds() {
        let config = Config::default().set("concurrency", 2).set("protocol", 2);
        let plan = Plan::new(&config, &[]);
        let handshake: Value = serde_json::from_slice(&plan.handshake).unwrap();
        let parent = std::process::id();
        let expected =
            json!({"concurrency": 2, "protocol": 3, "parentPid": parent, "runtime": "auto", "models": []});
        assert_eq!(handshake, expected);
        let named = Plan::new(&config.set("runtime", "fake"), &[]);
        let handshake: Value = serde_json::from_slice(&named.handshake).unwrap();
        assert_eq!(handshake["runtime"], "fake");
    }

    #[test]
    fn frames_over_the_budget_go_least_recently_used_first() {
        let restore = Restore::new(&Config::default());
        restore.lock().frame_budget = 10;
        for id in 1..=3 {
            restore.note_frame(id, frame(3))(OK);
        }
        restore.touch_frame(1);
        restore.note_frame(4, frame(4))(OK);
        assert_eq!(ids(&restore), [3, 1, 4]);
        restore.note_frame(5, frame(11))(OK);
        assert_eq!(ids(&restore), [] as [u32; 0], "larger than all of the budget");
    }

    #[test]
    fn a_frame_that_failed_or_is_not_to_be_kept_leaves_its_id_empty() {
        let restore = Restore::new(&Config::default());
        for id in 1..=3 {
            restore.note_frame(id, frame(3))(OK);
        }
        restore.note_frame(1, frame(3))(FAILED);
        restore.note_frame(2, None)(OK);
        assert_eq!(ids(&restore), [3]);
        restore.note_uncache(3)(OK);
        assert_eq!(ids(&restore), [] as [u32; 0]);
        assert_eq!(restore.lock().frame_bytes, 0);
    }
}
