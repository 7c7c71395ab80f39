// The next worker beside the serving one: nothing is lost, and nothing is forgotten. All with the real
// worker.
import assert from "node:assert/strict";
import { once } from "node:events";
import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Worker } from "../src/worker.js";
import { isAlive, withWorker } from "./double.js";
import { fakes, MODEL, numbered, readId, withCode } from "./support.js";

/** Requests in a closed loop until told to stop; every answer is looked at. */
class Load {
  answered = 0;
  readonly wrong: unknown[] = [];
  #stopped = false;
  readonly #lanes: Promise<void>[];

  constructor(worker: Worker, lanes: number) {
    this.#lanes = Array.from({ length: lanes }, (_, lane) => this.#run(worker, lane));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#lanes);
  }

  async #run(worker: Worker, lane: number): Promise<void> {
    for (let id = lane; !this.#stopped; id = (id + 7) % 60_000) {
      try {
        const read = readId(await worker.infer(0, numbered(id)));
        if (read !== id) this.wrong.push([id, read]);
        this.answered += 1;
      } catch (error) {
        this.wrong.push(error);
      }
    }
  }
}

test("recycling under load loses no request, and one process is left", () =>
  withWorker(fakes("echo?size=32&ms=5"), async (worker) => {
    const load = new Load(worker, 8);
    for (let round = 0; round < 3; round++) {
      const old = worker.pid ?? 0;
      await worker.recycle();
      assert.notEqual(worker.pid, old);
      assert.equal(isAlive(old), false);
    }
    await load.stop();
    assert.deepEqual(load.wrong, []);
    assert.ok(load.answered > 20);
  }));

test("the next worker has the models and the frames", () =>
  withWorker(fakes("noop?size=32"), async (worker) => {
    await worker.load(2, { path: "fake:echo?size=32" });
    await worker.cacheFrame(7, numbered(77));
    await worker.recycle();
    assert.equal(readId(await worker.infer(2, { frameId: 7 })), 77);
  }));

test("what changes the worker waits while it is recycled, and what needs it does not overtake", () =>
  withWorker(fakes("echo?size=32&load_ms=300"), async (worker) => {
    const recycled = worker.recycle();
    await new Promise((resolve) => setImmediate(resolve));
    const cached = worker.cacheFrame(1, numbered(41));
    const seen = worker.infer(0, { frameId: 1 });
    const loaded = worker.load(1, { path: "fake:echo?size=32" });
    const served = worker.infer(1, numbered(42));
    const other = await worker.infer(0, numbered(43)); // does not wait
    assert.equal(readId(other), 43);
    assert.deepEqual([readId(await seen), readId(await served)], [41, 42]);
    await Promise.all([recycled, cached, loaded]);
    const [pid] = [worker.pid];
    await worker.recycle();
    assert.notEqual(worker.pid, pid);
    assert.equal(readId(await worker.infer(1, { frameId: 1 })), 41);
  }));

test("a next worker that cannot do what the old one does is not taken, and the old one goes on", async () => {
  const folder = await mkdtemp(join(tmpdir(), "inferpipe-"));
  const path = join(folder, "model.onnx");
  await copyFile(MODEL, path);
  await withWorker({ ...fakes(), config: { models: [{ path }] } }, async (worker) => {
    const { pid } = worker;
    await rm(folder, { recursive: true });
    await assert.rejects(worker.recycle(), withCode("model_not_loaded"));
    assert.equal(worker.pid, pid);
    assert.equal((await worker.infer(0, numbered(1))).kind, "detections");
  });
});

test("a worker that is too old is recycled by itself", () =>
  withWorker({ ...fakes("echo?size=32"), heartbeatMs: 100, maxAgeMs: 300 }, async (worker) => {
    await once(worker, "ready");
    const [{ generation }] = await once(worker, "ready");
    assert.equal(generation, 2);
    assert.equal(readId(await worker.infer(0, numbered(3))), 3);
  }));

test("so is one that is too large", { skip: process.platform !== "linux" }, () =>
  withWorker({ ...fakes("echo?size=32"), heartbeatMs: 100, maxRssBytes: 1024 }, async (worker) => {
    await once(worker, "ready");
    const [{ generation }] = await once(worker, "ready");
    assert.equal(generation, 2);
  }),
);

test("the serving worker dies while the next one starts: the next one serves", () =>
  withWorker(fakes("echo?size=32&load_ms=200"), async (worker) => {
    const recycled = worker.recycle();
    await new Promise((resolve) => setImmediate(resolve));
    process.kill(worker.pid ?? 0, "SIGKILL");
    assert.equal(readId(await worker.infer(0, numbered(8), { retries: 1 })), 8);
    await recycled;
    assert.equal(readId(await worker.infer(0, numbered(9), { retries: 1 })), 9);
  }));
