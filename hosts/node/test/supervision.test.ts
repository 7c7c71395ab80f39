// Restarts: when, how often, and what the next worker is given. With the real worker where it does not say
// otherwise.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import type { ReadyEvent, RestartEvent } from "../src/api.js";
import { inferCachedMessage } from "../src/protocol/message.js";
import { Backoff } from "../src/supervisor/backoff.js";
import { FrameStore } from "../src/supervisor/frameStore.js";
import { Gate } from "../src/supervisor/gate.js";
import { ModelTable } from "../src/supervisor/modelTable.js";
import { Worker } from "../src/worker.js";
import { double, outcomes, withWorker } from "./double.js";
import { fakes, numbered, readId, withCode } from "./support.js";

const jpeg = Buffer.alloc(9);

async function killAndWait(worker: Worker): Promise<void> {
  const ready = once(worker, "ready");
  process.kill(worker.pid ?? 0, "SIGKILL");
  await ready;
}

test("attempts wait 0, 200, 400, 800 ms and so on up to the most, a fifth more or less", () => {
  const exact = new Backoff({ maxMs: 1000 }, () => 0.5);
  assert.deepEqual(
    [1, 2, 3, 4, 5, 6].map(() => exact.next()),
    [0, 200, 400, 800, 1000, 1000],
  );
  const early = new Backoff({}, () => 0);
  early.next();
  assert.equal(early.next(), 160);
  const late = new Backoff({}, () => 1);
  late.next();
  assert.equal(late.next(), 240);
});

test("attempts are counted in a row; a worker that served long begins anew", () => {
  const backoff = new Backoff({ maxRestarts: 2, healthyMs: 100 });
  assert.equal(backoff.next(), 0);
  backoff.served(99);
  assert.notEqual(backoff.next(), 0);
  assert.equal(backoff.next(), undefined);
  backoff.served(100);
  assert.equal(backoff.next(), 0);
});

test("calls that come while no worker is there wait for the next one", () =>
  withWorker(fakes("echo?size=32"), async (worker) => {
    process.kill(worker.pid ?? 0, "SIGKILL");
    await once(worker, "exit");
    assert.equal(worker.pid, undefined);
    const waiting = worker.infer(0, numbered(5));
    await assert.rejects(worker.infer(0, numbered(6), { timeoutMs: 1 }), withCode("timed_out"));
    await assert.rejects(worker.tryInfer(0, numbered(6)), withCode("busy"));
    assert.equal(readId(await waiting), 5);
  }));

test("a worker that dies again and again has failed, with the last cause, after so many attempts", () =>
  withWorker({ ...double("die"), restart: { initialMs: 1, maxRestarts: 3 } }, async (worker) => {
    const restarts: RestartEvent[] = [];
    worker.on("restart", (event) => restarts.push(event));
    const failed = once(worker, "failed");
    const calls = Array.from({ length: 4 }, () => worker.infer(0, { jpeg }, { retries: 3 }));
    const late = worker.infer(0, { jpeg }, { retries: 100 });
    assert.deepEqual(await outcomes([...calls, late]), Array(5).fill("worker_died"));
    const [cause] = await failed;
    assert.equal(cause.exitCode, 3);
    assert.deepEqual(
      restarts.map(({ attempt }) => attempt),
      [1, 2, 3],
    );
    await assert.rejects(worker.infer(0, { jpeg }), (error) => error === cause);
    assert.equal(worker.refusal, cause);
    await worker.close();
  }));

test("maxRestarts 0: the first death is the last", () =>
  withWorker({ ...double("die"), restart: { maxRestarts: 0 } }, async (worker) => {
    const failed = once(worker, "failed");
    await assert.rejects(worker.infer(0, { jpeg }), withCode("worker_died"));
    await failed;
    await assert.rejects(worker.ping(), withCode("worker_died"));
  }));

test("the events tell of each generation, the first one too", async () => {
  const worker = await Worker.spawn(fakes("noop?size=32"));
  const seen: string[] = [];
  worker.on("ready", ({ generation, pid, ready }: ReadyEvent) => {
    assert.equal(pid, worker.pid);
    seen.push(`ready ${generation} ${ready.models}`);
  });
  worker.on("restart", ({ attempt, delayMs, cause }) =>
    seen.push(`restart ${attempt} ${delayMs} ${cause.code}`),
  );
  worker.on("exit", ({ generation, signal, reason }) => seen.push(`exit ${generation} ${signal} ${reason}`));
  await once(worker, "ready");
  await killAndWait(worker);
  await worker.close();
  assert.deepEqual(seen, [
    "ready 1 1",
    "exit 1 SIGKILL exited",
    "restart 1 0 worker_died",
    "ready 2 1",
    "exit 2 null closed",
  ]);
});

test("models are in their slots again, as load, replace and unload have made them", () =>
  withWorker(fakes("noop?size=32", "echo?size=32", "noop?size=32"), async (worker) => {
    await worker.load(5, { path: "fake:echo?size=64" });
    await worker.replace(0, { path: "fake:echo?size=96" });
    await worker.unload(1);
    await assert.rejects(worker.replace(2, { path: "fake:loadfail" }), withCode("model_not_loaded"));
    const slots = async (): Promise<unknown[]> =>
      (await worker.status()).slots.filter(({ loaded }) => loaded).map(({ index, path }) => [index, path]);
    const before = await slots();
    assert.equal(before.length, 3);
    await killAndWait(worker);
    assert.deepEqual(await slots(), before);
    assert.equal(readId(await worker.infer(5, numbered(9))), 9);
    await assert.rejects(worker.infer(1, numbered(9)), withCode("model_not_loaded"));
  }));

test("cached frames are there again, but for those that are not to be kept or were dropped", () =>
  withWorker(fakes("echo?size=32"), async (worker) => {
    await Promise.all([
      worker.cacheFrame(1, numbered(11)),
      worker.cacheFrame(2, numbered(12)),
      worker.cacheFrame(3, numbered(13), { restore: false }),
      worker.cacheFrame(2, numbered(22)),
    ]);
    await worker.uncacheFrame(1);
    await killAndWait(worker);
    assert.equal(readId(await worker.infer(0, { frameId: 2 })), 22);
    await assert.rejects(worker.infer(0, { frameId: 1 }), withCode("frame_not_cached"));
    await assert.rejects(worker.infer(0, { frameId: 3 }), withCode("frame_not_cached"));
  }));

test("a frame that the worker refuses leaves its id empty, here too", () =>
  withWorker(fakes("echo?size=32"), async (worker) => {
    await worker.cacheFrame(1, numbered(11));
    await assert.rejects(
      worker.cacheFrame(1, { jpeg: Buffer.from("no picture") }),
      withCode("decode_failed"),
    );
    await killAndWait(worker);
    await assert.rejects(worker.infer(0, { frameId: 1 }), withCode("frame_not_cached"));
  }));

test("frames are kept up to a budget, those used last longest", () => {
  const message = inferCachedMessage(0, 1, {});
  const store = new FrameStore();
  store.budget = 3 * message.payloadBytes;
  for (const frameId of [1, 2, 3]) store.keep(frameId, message, store.nextSequence());
  store.touch(1);
  store.keep(4, message, store.nextSequence());
  assert.equal(store.size, 3);
  store.forget(2, store.nextSequence());
  assert.equal(store.size, 3); // it had gone for the fourth
  store.forget(1, 0);
  assert.equal(store.size, 3); // an older call does not count
  store.forget(1, store.nextSequence());
  assert.equal(store.bytes, 2 * message.payloadBytes);
});

test("the handshake names slots up to the first empty one, and commands load the rest", () => {
  const table = new ModelTable([{ path: "a" }, { path: "b" }, { path: "c" }]);
  table.unloaded(1);
  table.loaded(7, { path: "h" });
  assert.deepEqual(table.configured(), [{ path: "a" }]);
  assert.deepEqual(table.others(), [
    [2, { path: "c" }],
    [7, { path: "h" }],
  ]);
});

test("who waits at the gate keeps the order of its name, and requests can see it", async () => {
  const gate = new Gate();
  const order: string[] = [];
  let open: () => void = () => {};
  const alone = gate.alone(
    () =>
      new Promise<void>((resolve) => {
        open = resolve;
      }),
  );
  await Promise.resolve();
  const work = (name: string) => async (): Promise<void> => void order.push(name);
  const passed = [gate.pass("a", work("a1")), gate.pass("b", work("b1")), gate.pass("a", work("a2"))];
  assert.ok(gate.held("a") !== undefined);
  assert.equal(gate.held("c"), undefined);
  open();
  await Promise.all([alone, ...passed]);
  assert.deepEqual(
    order.filter((name) => name.startsWith("a")),
    ["a1", "a2"],
  );
  assert.equal(gate.held("a"), undefined);
});
