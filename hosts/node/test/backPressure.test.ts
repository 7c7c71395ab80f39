// Who waits, and for what: budgets, the pipe, the order of calls.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { WorkerError } from "../src/api.js";
import { double, outcomes, settled, Told, withWorker } from "./double.js";
import { fakes, numbered, readId, withCode } from "./support.js";

const jpeg = Buffer.alloc(9);

test("as many requests go out as are one below the limit, the rest in the order of the calls", () =>
  withWorker(double("limits"), async (worker) => {
    const told = new Told(worker);
    const aborts = Array.from({ length: 6 }, () => new AbortController());
    const calls = aborts.map(({ signal }, index) => worker.infer(index, { jpeg }, { signal }));
    const all = outcomes(calls);
    await told.count(3);
    await settled(worker);
    assert.equal(told.lines.length, 3);
    assert.deepEqual(worker.inFlight, { requests: 6, payloadBytes: 60 });
    aborts[1]?.abort(); // its id stays booked until the double has answered
    assert.match((await told.count(5)).slice(3).join(), /^cancel 2,jpeg \d+ 10$/);
    for (const abort of aborts) abort.abort();
    assert.deepEqual(new Set(await all), new Set(["cancelled"]));
  }));

test("payload bytes have a budget too, but one request always goes out", () =>
  withWorker(double("limits"), async (worker) => {
    const told = new Told(worker);
    const large = worker.infer(0, { jpeg: Buffer.alloc(5000) });
    const small = worker.infer(0, { jpeg });
    const all = outcomes([large, small]);
    await told.count(1);
    await settled(worker);
    assert.deepEqual(told.lines, ["jpeg 1 5001"]);
    await worker.kill();
    assert.deepEqual(await all, ["worker_died", "closed"]);
  }));

test("the caller's budgets hold where they are smaller", () =>
  withWorker({ ...double("limits"), maxInFlight: 1 }, async (worker) => {
    const told = new Told(worker);
    const all = outcomes([worker.infer(0, { jpeg }), worker.infer(0, { jpeg })]);
    await told.count(1);
    await settled(worker);
    assert.equal(told.lines.length, 1);
    await worker.kill();
    await all;
  }));

test("tryInfer says at once that there is no room, and takes it where it is", () =>
  withWorker(double("limits"), async (worker) => {
    const calls = Array.from({ length: 3 }, () => worker.tryInfer(0, { jpeg }));
    const all = outcomes(calls);
    // Three are in the stream or in flight at most; a fourth has no room whatever the pipe has taken.
    await assert.rejects(worker.tryInfer(0, { jpeg }), withCode("busy"));
    await worker.kill();
    assert.ok((await all).includes("worker_died"));
    await assert.rejects(worker.tryInfer(0, { jpeg }), withCode("closed"));
  }));

test("a pipe that takes nothing holds requests back, and tryInfer is busy", () =>
  withWorker(double("deaf"), async (worker) => {
    const image = { jpeg: Buffer.alloc(4 * 1024 * 1024) };
    const all = outcomes([worker.infer(0, image), worker.infer(0, image), worker.infer(0, image)]);
    await assert.rejects(worker.tryInfer(0, image), withCode("busy"));
    await worker.kill();
    assert.deepEqual(await all, ["worker_died", "worker_died", "closed"]);
  }));

test("commands pass by waiting data requests; those that take away do not", () =>
  withWorker({ ...double("limits"), maxInFlight: 1 }, async (worker) => {
    const abort = new AbortController();
    const first = worker.infer(0, { jpeg }, { signal: abort.signal });
    const second = worker.infer(0, { frameId: 1 }, { signal: abort.signal });
    const all = outcomes([first, second]);
    const uncached = worker.uncacheFrame(1);
    let answered = false;
    void uncached.then(() => {
      answered = true;
    });
    await worker.status();
    assert.equal(answered, false);
    abort.abort();
    assert.equal((await uncached).status, "ok");
    assert.deepEqual(await all, ["cancelled", "cancelled"]);
  }));

test("many more requests than have room are all answered, each with its own result", () =>
  withWorker({ ...fakes("echo?size=32"), maxInFlight: 4 }, async (worker) => {
    const calls = Array.from({ length: 300 }, (_, id) => worker.infer(0, numbered(id)));
    const results = await Promise.all(calls);
    assert.deepEqual(
      results.map((result) => readId(result)),
      Array.from({ length: 300 }, (_, id) => id),
    );
  }));

test("the event loop stands still for a second: the worker waits, and nothing is lost", () =>
  withWorker({ ...fakes("echo?size=32"), heartbeatMs: 100, unresponsiveMs: 200 }, async (worker) => {
    let exits = 0;
    worker.on("exit", () => {
      exits += 1;
    });
    const calls = Array.from({ length: 100 }, (_, id) => worker.infer(0, numbered(id)));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
    assert.equal((await Promise.all(calls)).length, 100);
    assert.equal(exits, 0);
  }));

test("what cannot be sent is rejected, and never thrown", () =>
  withWorker(double("hold"), async (worker) => {
    const raw = Buffer.alloc(12);
    const bad: [string, () => Promise<unknown>][] = [
      ["a model of no byte", () => worker.infer(256, { jpeg })],
      ["a model of no number", () => worker.infer(Number.NaN, { jpeg })],
      ["a frame of no id", () => worker.infer(0, { frameId: -1 })],
      ["a width of no number", () => worker.infer(0, { raw, width: 0.5, height: 2, format: "rgb" })],
      ["a format of no name", () => worker.infer(0, { raw, width: 2, height: 2, format: "xyz" as "rgb" })],
      ["pixels of no bytes", () => worker.infer(0, { jpeg: "text" as unknown as Uint8Array })],
      ["an image of no form", () => worker.infer(0, {} as { jpeg: Buffer })],
      [
        "too many pictures",
        () =>
          worker.inferBatch(
            0,
            Array.from({ length: 256 }, () => ({ jpeg })),
          ),
      ],
      ["options of too many bytes", () => worker.infer(0, { jpeg }, { source: "x".repeat(70_000) })],
      ["a config that is no JSON", () => worker.load(0, { path: "m", loop: 1n })],
    ];
    for (const [what, call] of bad) {
      await assert.rejects(
        call(),
        (error) => error instanceof WorkerError && error.code === "bad_request",
        what,
      );
    }
  }));

test("a signal that has aborted already keeps a request from being written", () =>
  withWorker(double("hold"), async (worker) => {
    const told = new Told(worker);
    const signal = AbortSignal.abort(new Error("why"));
    await assert.rejects(worker.infer(0, { jpeg }, { signal }), (error) => {
      assert.ok(error instanceof WorkerError && error.code === "cancelled");
      assert.ok(error.cause instanceof Error && error.cause.message === "why");
      return true;
    });
    await settled(worker);
    assert.deepEqual(told.lines, []);
  }));

test("a request that waits and is aborted is never written", () =>
  withWorker({ ...double("hold"), maxInFlight: 1 }, async (worker) => {
    const told = new Told(worker);
    const abort = new AbortController();
    const all = outcomes([worker.infer(1, { jpeg }), worker.infer(2, { jpeg }, { signal: abort.signal })]);
    abort.abort();
    await told.count(1);
    await settled(worker);
    assert.deepEqual(told.lines, ["jpeg 1 10"]);
    await worker.kill();
    assert.deepEqual(await all, ["worker_died", "cancelled"]);
  }));

test("a request that is written is cancelled at once, and its room comes back with its final answer", () =>
  withWorker({ ...double("lateAnswer"), maxInFlight: 1 }, async (worker) => {
    const told = new Told(worker);
    const abort = new AbortController();
    const first = worker.infer(1, { jpeg }, { signal: abort.signal });
    await settled(worker);
    abort.abort();
    await assert.rejects(first, withCode("cancelled"));
    assert.equal(worker.inFlight.requests, 1); // its final answer is not there yet
    await assert.rejects(worker.tryInfer(1, { jpeg }), withCode("busy"));
    await told.count(1);
    assert.deepEqual(told.lines, ["cancel 1"]);
    assert.equal((await worker.infer(1, { jpeg })).kind, "detections");
    assert.equal(worker.inFlight.requests, 0);
  }));

test("time counts from the call, waiting included", () =>
  withWorker({ ...double("hold"), maxInFlight: 1 }, async (worker) => {
    const told = new Told(worker);
    const held = outcomes([worker.infer(0, { jpeg })]);
    const begun = performance.now();
    await assert.rejects(worker.infer(0, { jpeg }, { timeoutMs: 60 }), withCode("timed_out"));
    assert.ok(performance.now() - begun >= 55);
    await told.count(1);
    await settled(worker);
    assert.equal(told.lines.length, 1);
    await worker.kill();
    await held;
  }));

test("a request that takes too long is cancelled in the worker", () =>
  withWorker(double("hold"), async (worker) => {
    const told = new Told(worker);
    await assert.rejects(worker.infer(0, { jpeg }, { timeoutMs: 60 }), withCode("timed_out"));
    await told.count(2);
    assert.deepEqual(told.lines, ["jpeg 1 10", "cancel 1"]);
  }));

test("a thousand calls with one signal leave no listener behind, and no warning", () =>
  withWorker(fakes("noop?size=32"), async (worker) => {
    const warnings: Error[] = [];
    const warn = (warning: Error): void => void warnings.push(warning);
    process.on("warning", warn);
    const { signal } = new AbortController();
    await Promise.all(
      Array.from({ length: 1000 }, (_, id) => worker.infer(0, numbered(id % 100), { signal })),
    );
    await new Promise((resolve) => setImmediate(resolve));
    process.off("warning", warn);
    assert.deepEqual(warnings, []);
  }));

test("a worker that is asked while it is killed says why", () =>
  withWorker(double("hold"), async (worker) => {
    const exited = once(worker, "exit");
    const all = outcomes([worker.infer(0, { jpeg })]);
    await settled(worker);
    await worker.kill();
    assert.deepEqual(await all, ["worker_died"]);
    const [event] = await exited;
    assert.equal(event.reason, "killed");
    assert.equal(event.inFlight, 1);
  }));
