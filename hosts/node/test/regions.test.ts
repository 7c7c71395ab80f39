// What a shared ring needs of a worker: regions in every generation, and slots that are freed when nobody
// reads them.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import type { SharedImage } from "../src/api.js";
import type { SharedRing } from "../src/sharedRing.js";
import type { Worker } from "../src/worker.js";
import { double, withWorker } from "./double.js";
import { drawId, fakes, readId, withCode } from "./support.js";

const SIDE = 64;
const SLOT = { slots: 2, slotBytes: SIDE * SIDE * 3 };
const SKIP = { skip: process.platform === "win32" };

async function picture(ring: SharedRing, pictureId: number): Promise<SharedImage> {
  const slot = await ring.lease();
  await slot.write(drawId(pictureId, SIDE, SIDE));
  return { shared: slot, width: SIDE, height: SIDE, format: "rgb" };
}

async function killAndWait(worker: Worker): Promise<void> {
  const ready = once(worker, "ready");
  process.kill(worker.pid ?? 0, "SIGKILL");
  await ready;
}

test("a region is there in the next generations, by death and by recycling", SKIP, () =>
  withWorker(fakes("echo?size=32"), async (worker) => {
    const ring = await worker.sharedRing(SLOT);
    assert.equal(readId(await worker.infer(0, await picture(ring, 1))), 1);
    await killAndWait(worker);
    assert.equal(readId(await worker.infer(0, await picture(ring, 2))), 2);
    await worker.recycle();
    assert.equal(readId(await worker.infer(0, await picture(ring, 3))), 3);
    assert.equal(ring.free, 2);
    await ring.close();
    await killAndWait(worker);
    const other = await worker.sharedRing(SLOT);
    assert.equal(readId(await worker.infer(0, await picture(other, 4))), 4);
    await other.close();
  }),
);

test("a slot is free with the final answer, and when its worker has died", SKIP, () =>
  withWorker(fakes("hang?size=32"), async (worker) => {
    const ring = await worker.sharedRing(SLOT);
    const calls = [worker.infer(0, await picture(ring, 1)), worker.infer(0, await picture(ring, 2))];
    const rejected = calls.map((call) => assert.rejects(call, withCode("worker_died")));
    assert.equal(ring.free, 0);
    const waiting = ring.lease();
    await killAndWait(worker);
    await Promise.all(rejected);
    (await waiting).release();
    assert.equal(ring.free, 2);
    await ring.close();
  }),
);

test("a request that is retried keeps its slot", SKIP, () =>
  withWorker(fakes("echo?size=32&ms=300"), async (worker) => {
    const ring = await worker.sharedRing(SLOT);
    const call = worker.infer(0, await picture(ring, 6), { retries: 1 });
    await worker.ping();
    await killAndWait(worker);
    assert.equal(ring.free, 1);
    assert.equal(readId(await call), 6);
    assert.equal(ring.free, 2);
    await ring.close();
  }),
);

test("a slot of a request that never went out is free; of one that is busy it stays the caller's", SKIP, () =>
  withWorker({ ...double("hold"), maxInFlight: 1 }, async (worker) => {
    const ring = await worker.sharedRing({ ...SLOT, slots: 4 });
    const held = worker.infer(0, await picture(ring, 1));
    const rejected = assert.rejects(held, withCode("worker_died"));
    const image = await picture(ring, 2);
    await assert.rejects(worker.tryInfer(0, image), withCode("busy"));
    assert.equal(ring.free, 2);
    await assert.rejects(worker.infer(0, image, { timeoutMs: 20 }), withCode("timed_out"));
    assert.equal(ring.free, 3);
    await assert.rejects(worker.infer(0, image), withCode("stale_slot"));
    await assert.rejects(worker.infer(999, await picture(ring, 3)), withCode("bad_request"));
    await assert.rejects(
      worker.infer(0, { ...(await picture(ring, 3)), offset: 1, width: 100 }),
      withCode("bad_request"),
    );
    assert.equal(ring.free, 3);
    await worker.kill();
    await rejected;
    await ring.close();
  }),
);

test("what the worker refuses to attach is rejected", () =>
  withWorker(fakes("noop?size=32"), async (worker) => {
    const region = { path: "/nowhere/at/all", size: 100, trusted: false };
    await assert.rejects(worker.attachRegion(region), withCode("bad_request"));
  }));
