import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { WorkerPool } from "../src/pool.js";
import type { Worker } from "../src/worker.js";
import { drawId, fakes, numbered, readId, shoot, withCode } from "./support.js";

describe("two workers", () => {
  let pool: WorkerPool;
  const restart = { initialMs: 1 };

  before(async () => {
    pool = await WorkerPool.spawn({ ...fakes("echo?size=64", "sleep?size=64&ms=200"), size: 2, restart });
  });
  after(() => pool.close());

  /** How many inferences each worker has answered. */
  const counts = async (): Promise<number[]> =>
    (await pool.status()).length === 2 ? Promise.all(pool.workers.map(answered)) : [];

  test("work at the same time, and each answer is of its picture", async () => {
    const before = await counts();
    const ids = Array.from({ length: 100 }, (_, k) => k * 17);
    const results = await Promise.all(ids.map((id) => pool.infer(0, numbered(id))));
    assert.deepEqual(results.map(readId), ids);
    const after = await counts();
    for (const [index, count] of after.entries())
      assert.ok(count - (before[index] ?? 0) > 20, `${before} ${after}`);
  });

  test("a camera stays with its worker", async () => {
    const before = await counts();
    await Promise.all(Array.from({ length: 20 }, (_, k) => pool.infer(0, numbered(k), { source: "gate" })));
    const grown = (await counts()).map((count, index) => count - (before[index] ?? 0));
    assert.deepEqual(
      grown.toSorted((a, b) => a - b),
      [0, 20],
    );
  });

  test("cached frames are found again, and forgotten", async () => {
    const ids = [10, 11, 12, 13];
    await Promise.all(ids.map((id) => pool.cacheFrame(id, numbered(id))));
    const results = await Promise.all(ids.map((frameId) => pool.infer(0, { frameId })));
    assert.deepEqual(results.map(readId), ids);
    await pool.uncacheFrame(11);
    await assert.rejects(pool.infer(0, { frameId: 11 }), withCode("frame_not_cached"));
  });

  test("a model is loaded and unloaded in both", async () => {
    await pool.load(2, { path: "fake:echo?size=32" });
    const loaded = (await pool.status()).map(({ slots }) => slots[2]?.loaded);
    assert.deepEqual(loaded, [true, true]);
    await pool.unload(2);
    assert.deepEqual(
      (await pool.status()).map(({ slots }) => slots[2]?.loaded),
      [false, false],
    );
    await assert.rejects(pool.load(2, { path: "fake:loadfail" }), withCode("model_not_loaded"));
  });

  test("commands go to both", async () => {
    assert.equal((await pool.metrics()).length, 2);
    assert.equal((await pool.ping()).status, "ok");
    assert.equal((await pool.warmup(0)).status, "ok");
  });

  test("tryInfer looks for room in every worker, then says busy", async () => {
    const small = await WorkerPool.spawn({ ...fakes("sleep?size=64&ms=100"), size: 2, maxInFlight: 1 });
    try {
      const tries = Array.from({ length: 3 }, () => small.tryInfer(0, numbered(1)));
      const outcomes = await Promise.allSettled(tries);
      assert.deepEqual(
        outcomes.map((outcome) => (outcome.status === "fulfilled" ? "answered" : outcome.reason.code)),
        ["answered", "answered", "busy"],
      );
    } finally {
      await small.close();
    }
  });

  test("a shared ring is read by both", async () => {
    const before = await counts();
    const ring = await pool.sharedRing({ slots: 6, slotBytes: 64 * 64 * 3 });
    const ask = async (id: number): Promise<void> => {
      const slot = await ring.lease();
      await slot.write(drawId(id, 64, 64));
      assert.equal(readId(await pool.infer(0, { shared: slot, width: 64, height: 64, format: "rgb" })), id);
    };
    await Promise.all(Array.from({ length: 60 }, (_, k) => ask(k)));
    for (const [index, count] of (await counts()).entries()) assert.ok(count > (before[index] ?? 0));
    assert.equal(ring.free, 6);
    await ring.close();
  });

  test("a ring that nobody closed ends with the pool", { skip: process.platform !== "linux" }, async () => {
    const small = await WorkerPool.spawn({ ...fakes("noop?size=64"), size: 1 });
    const before = readdirSync("/proc/self/fd").length;
    const ring = await small.sharedRing({ slots: 1, slotBytes: 4096 });
    ring.tryLease();
    await small.close();
    assert.ok(ring.closed);
    assert.ok(readdirSync("/proc/self/fd").length < before);
  });

  test("a ring of one worker leads to that worker", async () => {
    const [, second] = pool.workers;
    assert.ok(second);
    const ring = await second.sharedRing({ slots: 1, slotBytes: 64 * 64 * 3 });
    const before = await answered(second);
    for (const id of [3, 4, 5]) {
      const slot = await ring.lease();
      await slot.write(drawId(id, 64, 64));
      assert.equal(readId(await pool.infer(0, { shared: slot, width: 64, height: 64, format: "rgb" })), id);
    }
    assert.equal(await answered(second), before + 3);
    await ring.close();
  });

  test("what one worker's death takes along is sent again; the other serves meanwhile", async () => {
    const [first] = pool.workers;
    assert.ok(first);
    const exit = once(pool, "exit");
    const ready = once(pool, "ready");
    const calls = Array.from({ length: 20 }, (_, k) => pool.infer(0, numbered(k), { retries: 2 }));
    shoot(first);
    assert.deepEqual(
      (await Promise.all(calls)).map(readId),
      Array.from({ length: 20 }, (_, k) => k),
    );
    const [event, worker] = await exit;
    assert.deepEqual([event.signal, worker], ["SIGKILL", 0]);
    await ready;
  });

  test("recycle renews both, one after another, and loses nothing", async () => {
    const pids = pool.workers.map(({ pid }) => pid);
    let recycled = false;
    const done = pool.recycle().then(() => {
      recycled = true;
    });
    for (let id = 0; !recycled; id = (id + 1) % 1000) {
      assert.equal(readId(await pool.infer(0, numbered(id))), id);
    }
    await done;
    for (const [index, worker] of pool.workers.entries()) assert.notEqual(worker.pid, pids[index]);
  });
});

test("where one worker cannot be started, none is left", async () => {
  await assert.rejects(
    WorkerPool.spawn({ ...fakes(), command: ["false"], size: 2 }),
    (error: Error & { code?: string }) => error.code === "handshake_refused" || error.code === "worker_died",
  );
  await assert.rejects(WorkerPool.spawn({ ...fakes(), size: 0 }), withCode("bad_request"));
});

test("a worker that has failed for good gets nothing any more", async () => {
  const pool = await WorkerPool.spawn({ ...fakes("echo?size=64"), size: 2, restart: { maxRestarts: 0 } });
  try {
    const failed = once(pool, "failed");
    shoot(pool.workers[0] ?? { pid: undefined });
    const [, worker] = await failed;
    assert.equal(worker, 0);
    for (const id of [1, 2, 3, 4])
      assert.equal(readId(await pool.infer(0, numbered(id), { source: `${id}` })), id);
    assert.equal((await pool.status()).length, 1);
  } finally {
    await pool.close();
  }
});

async function answered(worker: Worker): Promise<number> {
  const { metrics } = await worker.metrics();
  const requests = metrics?.requests as { ok?: number } | undefined;
  return requests?.ok ?? 0;
}
