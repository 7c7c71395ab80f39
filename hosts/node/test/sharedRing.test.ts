import assert from "node:assert/strict";
import { once } from "node:events";
import { closeSync, existsSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { after, before, describe, test } from "node:test";
import type { AttachedRegion, RegionFileInfo, RegionHost, SharedSlot } from "../src/api.js";
import { SharedRing } from "../src/sharedRing.js";
import { Worker } from "../src/worker.js";
import { drawId, fakes, readId, shoot, withCode } from "./support.js";

const IS_WINDOWS = process.platform === "win32";

/** A double of a worker: it reads the memory by its path, as the worker does. */
class ReadingHost implements RegionHost {
  region: RegionFileInfo | undefined;
  detached = false;

  async attachRegion(region: RegionFileInfo): Promise<AttachedRegion> {
    this.region = region;
    const detach = async (): Promise<void> => {
      this.detached = true;
    };
    return { regionId: 7, mapped: true, detach };
  }

  read(offset: number, length: number): Buffer {
    assert.ok(this.region);
    const file = openSync(this.region.path, "r");
    const bytes = Buffer.alloc(length);
    readSync(file, bytes, 0, length, offset);
    closeSync(file);
    return bytes;
  }
}

async function openRing(slots: number, slotBytes: number): Promise<[SharedRing, ReadingHost]> {
  const host = new ReadingHost();
  return [await SharedRing.open(host, { slots, slotBytes }), host];
}

describe("memory", () => {
  test("slots are whole pages, and the worker finds what was written into each", async () => {
    const [ring, host] = await openRing(3, 5000);
    assert.equal(ring.slotBytes, 8192);
    assert.equal(host.region?.size, 3 * 8192);
    const slots = [await ring.lease(), await ring.lease(), await ring.lease()];
    await Promise.all(slots.map((slot, number) => slot.write(Buffer.alloc(5000, number + 1))));
    await slots[1]?.write(Buffer.from("tail"), { offset: 8188 });
    const loans = slots.map((slot) => slot.handOver());
    assert.deepEqual(
      loans.map(({ offset }) => offset).toSorted((a, b) => a - b),
      [0, 8192, 16384],
    );
    for (const [number, { offset, regionId }] of loans.entries()) {
      assert.equal(regionId, 7);
      assert.deepEqual(host.read(offset, 5000), Buffer.alloc(5000, number + 1));
    }
    assert.equal(host.read((loans[1]?.offset ?? 0) + 8188, 4).toString(), "tail");
    for (const loan of loans) loan.free();
    await ring.close();
  });

  test("no file is left behind, not even while the ring is open", {
    skip: process.platform !== "linux",
  }, async () => {
    const names = (): string[] =>
      readdirSync("/dev/shm").filter((name) => name.startsWith(`inferpipe-${process.pid}`));
    const [ring, host] = await openRing(1, 4096);
    assert.deepEqual(names(), []);
    const path = host.region?.path ?? "";
    assert.ok(existsSync(path));
    await ring.close();
    assert.ok(host.detached);
    assert.ok(!existsSync(path));
  });

  test("what a worker refuses leaves nothing open", { skip: process.platform !== "linux" }, async () => {
    const open = (): number => readdirSync("/proc/self/fd").length;
    const before = open();
    const host: RegionHost = { attachRegion: () => Promise.reject(new Error("refused")) };
    await assert.rejects(SharedRing.open(host, { slots: 1, slotBytes: 4096 }), /refused/);
    assert.equal(open(), before);
  });

  test("what does not fit is refused before any memory is taken", async () => {
    await assert.rejects(openRing(1 << 20, 1 << 30), withCode("too_large"));
  });

  test("on another system it is a file of its owner alone, removed on close", {
    skip: IS_WINDOWS,
  }, async () => {
    const platform = Object.getOwnPropertyDescriptor(process, "platform");
    assert.ok(platform);
    Object.defineProperty(process, "platform", { ...platform, value: "plan9" });
    const [ring, host] = await openRing(1, 4096);
    Object.defineProperty(process, "platform", platform);
    const path = host.region?.path ?? "";
    assert.deepEqual([statSync(path).mode & 0o777, statSync(dirname(path)).mode & 0o777], [0o600, 0o700]);
    const slot = ring.tryLease();
    await slot.write(Buffer.from("pixels"));
    assert.equal(host.read(0, 6).toString(), "pixels");
    await ring.close();
    assert.ok(!existsSync(dirname(path)));
  });

  test("sizes that are none are refused", async () => {
    for (const [slots, slotBytes] of [
      [0, 4096],
      [1, 0],
      [1.5, 4096],
      [1, Number.NaN],
    ] as const) {
      await assert.rejects(openRing(slots, slotBytes), withCode("bad_request"));
    }
  });
});

describe("a leased slot", () => {
  test("takes no more than it has", async () => {
    const [ring] = await openRing(1, 4096);
    const slot = await ring.lease();
    await assert.rejects(slot.write(Buffer.alloc(4097)), withCode("bad_request"));
    await assert.rejects(slot.write(Buffer.alloc(1), { offset: 4096 }), withCode("bad_request"));
    await assert.rejects(slot.write(Buffer.alloc(1), { offset: -1 }), withCode("bad_request"));
    await slot.write(Buffer.alloc(4096));
    slot.release();
    await ring.close();
  });

  test("is worth nothing once it was released or handed over", async () => {
    const [ring] = await openRing(1, 4096);
    const released = ring.tryLease();
    released.release();
    const handed = ring.tryLease();
    const loan = handed.handOver();
    for (const slot of [released, handed]) {
      await assert.rejects(slot.write(Buffer.alloc(1)), withCode("stale_slot"));
      assert.throws(() => slot.release(), withCode("stale_slot"));
      assert.throws(() => slot.handOver(), withCode("stale_slot"));
    }
    assert.throws(() => ring.tryLease(), withCode("ring_full"));
    loan.free();
    loan.free(); // once is enough
    assert.equal(ring.free, 1);
    await ring.close();
  });

  test("is not handed over while it is written, and not leased again before that is done", async () => {
    const [ring] = await openRing(1, 1 << 20);
    const slot = ring.tryLease();
    const write = slot.write(Buffer.alloc(1 << 20));
    assert.throws(() => slot.handOver(), withCode("bad_request"));
    slot.release();
    assert.throws(() => ring.tryLease(), withCode("ring_full"));
    await write;
    (await ring.lease()).release();
    await ring.close();
  });

  test("close waits for a slot that was handed over", async () => {
    const [ring, host] = await openRing(2, 4096);
    const loan = ring.tryLease().handOver();
    const leased = ring.tryLease();
    const closing = ring.close();
    await assert.rejects(leased.write(Buffer.alloc(1)), withCode("closed"));
    leased.release();
    assert.equal(host.detached, false);
    loan.free();
    await closing;
    assert.ok(host.detached);
    await ring.close();
  });
});

describe("with a worker", () => {
  const SIDE = 64;
  const BYTES = SIDE * SIDE * 3;
  const shared = (slot: SharedSlot) => ({ shared: slot, width: SIDE, height: SIDE, format: "rgb" }) as const;
  let worker: Worker;
  let ring: SharedRing;

  before(async () => {
    worker = await Worker.spawn({ ...fakes("echo?size=64", "hang?size=64"), restart: { initialMs: 1 } });
    ring = await worker.sharedRing({ slots: 3, slotBytes: BYTES });
  });
  after(() => worker.kill());

  test("is read in place", () => assert.equal(ring.mapped, true));

  test("each answer is of the picture in its slot, through more requests than slots", async () => {
    const ask = async (number: number): Promise<void> => {
      const slot = await ring.lease();
      await slot.write(drawId(number, SIDE, SIDE));
      assert.equal(readId(await worker.infer(0, shared(slot))), number);
    };
    await Promise.all(Array.from({ length: 200 }, (_, k) => ask(k * 311)));
    assert.equal(ring.free, 3);
  });

  test("a slot is booked until the final answer, though the caller has left", async () => {
    const slot = await ring.lease();
    const left = new AbortController();
    const answer = worker.infer(1, shared(slot), { signal: left.signal });
    const other = await ring.lease();
    await other.write(drawId(9, SIDE, SIDE));
    assert.equal(readId(await worker.infer(0, shared(other))), 9); // by now the first is in predict
    left.abort();
    await assert.rejects(answer, withCode("cancelled"));
    assert.equal(ring.free, 2);
    assert.throws(() => slot.release(), withCode("stale_slot"));
  });

  test("a killed worker gives its slots back, and the next one reads the same memory", async () => {
    const slot = await ring.lease();
    const answer = worker.infer(1, shared(slot));
    const restarted = once(worker, "ready");
    shoot(worker);
    await assert.rejects(answer, withCode("worker_died"));
    await restarted;
    assert.equal(ring.free, 3);
    const next = await ring.lease();
    await next.write(drawId(77, SIDE, SIDE));
    assert.equal(readId(await worker.infer(0, shared(next))), 77);
  });

  test("a request that is sent again keeps its slot until then", async () => {
    const slot = await ring.lease();
    await slot.write(drawId(1234, SIDE, SIDE));
    const answer = worker.infer(0, shared(slot), { retries: 3 });
    shoot(worker);
    assert.equal(readId(await answer), 1234);
    assert.equal(ring.free, 3);
  });

  test("another worker refuses the slot: its region of that id is other memory", async () => {
    const other = await Worker.spawn(fakes("echo?size=64"));
    await other.sharedRing({ slots: 1, slotBytes: BYTES });
    const slot = await ring.lease();
    await assert.rejects(other.infer(0, shared(slot)), withCode("bad_request"));
    slot.release();
    await other.close();
  });

  test("close gives the memory back", async () => {
    await ring.close();
    await assert.rejects(ring.lease(), withCode("closed"));
  });

  test("the end of the worker gives back the memory of rings that nobody has closed", async () => {
    const other = await Worker.spawn(fakes("echo?size=64"));
    const forgotten = await other.sharedRing({ slots: 1, slotBytes: BYTES });
    await other.close();
    assert.equal(forgotten.closed, true);
  });
});
