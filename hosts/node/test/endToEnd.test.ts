// The real worker with the default model: every kind of call.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { type Detection, type InferResult, WorkerError } from "../src/api.js";
import { Worker } from "../src/worker.js";
import { MODEL, PYTHON, REPOSITORY, withCode } from "./support.js";

const SCENES = `${REPOSITORY}models/scenes/`;
const NAMES = readdirSync(SCENES).filter((name) => name.endsWith(".jpg"));
const scene = (name: string): { jpeg: Buffer } => ({ jpeg: readFileSync(SCENES + name) });
const FIRST = NAMES[0] ?? "";

let worker: Worker;

before(async () => {
  const config = { models: [{ path: MODEL }], max_batch_size: 4, batch_mode: "list" as const };
  worker = await Worker.spawn({ command: [PYTHON, "-m", "worker"], cwd: REPOSITORY, config });
});
after(() => worker.close());

function detectionsOf(result: InferResult | WorkerError | undefined): readonly Detection[] {
  assert.ok(result !== undefined && !(result instanceof WorkerError), String(result));
  assert.ok(result.kind === "detections");
  return result.detections;
}

test("the ready answer tells the model, the limits and the features", () => {
  const { protocol, slots, limits, features, warnings } = worker.ready;
  assert.equal(protocol, 3);
  assert.equal(slots[0]?.loaded, true);
  assert.equal(limits.maxInFlight, 256);
  assert.ok(features.includes("cancel"));
  assert.deepEqual(warnings, []);
});

test("objects are found in every scene, all at once", async () => {
  const results = await Promise.all(NAMES.map((name) => worker.infer(0, scene(name))));
  for (const [index, result] of results.entries()) {
    const detections = detectionsOf(result);
    assert.ok(detections.length > 0, NAMES[index]);
    assert.equal(NAMES[index]?.includes(result.frameSize), true);
    for (const { bbox, score } of detections) assert.ok(bbox.length === 4 && score > 0.25);
  }
});

test("options hold for their request alone", async () => {
  const all = detectionsOf(await worker.infer(0, scene(FIRST)));
  const [best] = all;
  const one = detectionsOf(
    await worker.infer(0, scene(FIRST), { maxDetections: 1, source: "door", priority: "high" }),
  );
  assert.deepEqual(
    one.map(({ className }) => className),
    [best?.className],
  );
  const none = detectionsOf(await worker.infer(0, scene(FIRST), { confidence: 1 }));
  assert.equal(none.length, 0);
  assert.equal(detectionsOf(await worker.infer(0, scene(FIRST))).length, all.length);
});

test("an option that nobody knows, or out of range, is the worker's to refuse", async () => {
  await assert.rejects(worker.infer(0, scene(FIRST), { iou: 2 }), withCode("bad_request"));
  await assert.rejects(worker.infer(0, scene(FIRST), { deadlineMs: 0.001 }), withCode("deadline_exceeded"));
});

test("a batch has a result or an error for each of its pictures", async () => {
  const [first, broken, last] = await worker.inferBatch(0, [
    scene(FIRST),
    { jpeg: Buffer.from("no picture") },
    { raw: Buffer.alloc(64 * 64 * 3), width: 64, height: 64, format: "rgb" },
  ]);
  assert.ok(detectionsOf(first).length > 0);
  assert.ok(broken instanceof WorkerError && broken.code === "decode_failed");
  assert.equal(detectionsOf(last).length, 0);
  assert.deepEqual(await worker.inferBatch(0, []), []);
});

test("raw pixels of every format are taken", async () => {
  for (const [format, bytes] of [
    ["rgb", 3],
    ["bgr", 3],
    ["gray", 1],
    ["rgba", 4],
    ["bgra", 4],
    ["nv12", 1.5],
    ["i420", 1.5],
  ] as const) {
    const raw = new Uint8Array(64 * 48 * bytes);
    assert.equal((await worker.infer(0, { raw, width: 64, height: 48, format })).frameSize, "64x48", format);
  }
  const { jpeg } = scene(FIRST);
  const encoded = await worker.infer(0, { raw: jpeg, width: 0, height: 0, format: "encoded" });
  assert.ok(detectionsOf(encoded).length > 0);
});

test("a frame is cached once and seen by many requests, until it is forgotten", async () => {
  const cached = worker.cacheFrame(5, scene(FIRST));
  const results = [0, 1, 2].map(() => worker.infer(0, { frameId: 5 }));
  assert.equal((await cached).status, "cached");
  const wanted = detectionsOf(await worker.infer(0, scene(FIRST)));
  for (const result of results) assert.deepEqual(detectionsOf(await result), wanted);
  const last = worker.infer(0, { frameId: 5 });
  assert.equal((await worker.uncacheFrame({ frameId: 5 })).frameId, 5);
  assert.equal((await last).kind, "detections");
  await assert.rejects(worker.infer(0, { frameId: 5 }), withCode("frame_not_cached"));
});

test("models are loaded, replaced and unloaded while requests go on", async () => {
  const serving = Promise.all(NAMES.map((name) => worker.infer(0, scene(name))));
  const loaded = await worker.load(3, { path: MODEL, postprocessor: "raw" });
  assert.equal(loaded.slot.loaded, true);
  const raw = await worker.infer(3, scene(FIRST));
  assert.ok(raw.kind === "raw" && Object.keys(raw.tensors).length > 0);
  assert.equal((await worker.replace(3, { path: MODEL })).status, "ok");
  assert.equal((await worker.infer(3, scene(FIRST))).kind, "detections");
  assert.equal((await worker.unload(3)).index, 3);
  await assert.rejects(worker.infer(3, scene(FIRST)), withCode("model_not_loaded"));
  await assert.rejects(worker.load(3, { path: "/nowhere.onnx" }), withCode("provider_failed"));
  assert.equal((await serving).length, NAMES.length);
});

test("the other commands", async () => {
  assert.ok((await worker.ping()).uptimeMs > 0);
  assert.equal((await worker.status()).slots[0]?.state, "ready");
  assert.ok((await worker.warmup(0, { runs: 2 })).warmupMs > 0);
  assert.ok((await worker.metrics()).metrics !== undefined);
  const { inFlight } = worker;
  assert.deepEqual(inFlight, { requests: 0, payloadBytes: 0 });
});

test("errors have the worker's code, text and whole answer", async () => {
  await assert.rejects(worker.infer(0, { jpeg: Buffer.from("no picture") }), (error) => {
    assert.ok(error instanceof WorkerError);
    assert.equal(error.code, "decode_failed");
    assert.match(error.message, /^jpeg decode failed: /);
    assert.equal(error.answer?.error, error.message);
    return true;
  });
  const raw = Buffer.alloc(5);
  await assert.rejects(worker.infer(0, { raw, width: 2, height: 2, format: "rgb" }), withCode("bad_request"));
  await assert.rejects(worker.infer(9, scene(FIRST)), withCode("model_not_loaded"));
});
