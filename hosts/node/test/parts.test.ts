// Answers in several parts, by a double: tasks, which the worker does not have yet, and what shows of a stream
// only where each piece of data is told. All else of streams is in streams.test.ts and streamLife.test.ts.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type StreamEvent, type TaskEvent, WorkerError } from "../src/api.js";
import { Parts } from "../src/parts.js";
import { double, isAlive, settled, Told, withWorker } from "./double.js";
import { withCode } from "./support.js";

test("a task gives its parts in their order and ends with the final one", () =>
  withWorker(double("parts", "3"), async (worker) => {
    const events: TaskEvent[] = [];
    for await (const event of worker.task(0, { prompt: "hi" }, [Buffer.from("a")])) events.push(event);
    assert.deepEqual(
      events.map(({ event }) => event),
      ["token", "token", "token", "done"],
    );
    assert.equal(events.at(-1)?.final, true);
    assert.equal(worker.inFlight.requests, 0);
  }));

test("parts that nobody has taken yet are there later, and other requests go on meanwhile", () =>
  withWorker(double("parts", "500"), async (worker) => {
    const task = worker.task(0, {});
    await settled(worker);
    const events: TaskEvent[] = [];
    for await (const event of task) events.push(event);
    assert.equal(events.length, 501);
    assert.equal(events[499]?.index, 499);
  }));

test("leaving the loop cancels in the worker", () =>
  withWorker(double("slowParts"), async (worker) => {
    const told = new Told(worker);
    for await (const event of worker.task(0, {})) if (event.index === 2) break;
    assert.deepEqual(await told.count(1), ["cancel 1"]);
    await settled(worker);
    assert.equal(worker.inFlight.requests, 0);
  }));

test("a signal ends the loop with an error", () =>
  withWorker(double("slowParts"), async (worker) => {
    const abort = new AbortController();
    const task = worker.task(0, {}, [], { signal: abort.signal });
    await task.next();
    abort.abort();
    await assert.rejects(async () => {
      for await (const event of task) assert.equal(event.event, "token");
    }, withCode("cancelled"));
    assert.equal((await task.next()).done, true);
  }));

test("the death of the worker ends the loop", () =>
  withWorker(double("slowParts"), async (worker) => {
    const task = worker.task(0, {}, [], { retries: 1 });
    await task.next();
    process.kill(worker.pid ?? 0, "SIGKILL");
    await assert.rejects(async () => {
      for await (const event of task) assert.equal(event.event, "token");
    }, withCode("worker_died"));
  }));

test("a worker without the feature is not asked", () =>
  withWorker(double("bare"), async (worker) => {
    await assert.rejects(worker.task(0, {}).next(), withCode("unsupported"));
    const stream = worker.openStream({ type: "push" }, [0]);
    await assert.rejects(stream.next(), withCode("unsupported"));
    await assert.rejects(stream.write(Buffer.alloc(1)), withCode("unsupported"));
    await stream.close();
  }));

test("what cannot be sent is thrown by the first step of the loop", () =>
  withWorker(double("parts"), async (worker) => {
    await assert.rejects(worker.task(300, {}).next(), withCode("bad_request"));
  }));

test("parts that nobody takes have a bound: then the call is given up", async () => {
  const left: WorkerError[] = [];
  const parts = new Parts((error) => left.push(error));
  for (let index = 0; index < 5; index++) parts.part({ event: "token", index }, 16 * 1024 * 1024);
  assert.equal(left[0]?.code, "overloaded");
  const read: unknown[] = [];
  await assert.rejects(async () => {
    for await (const part of parts) read.push(part);
  }, withCode("overloaded"));
  assert.equal(read.length, 5);
});

test("several readers of one answer each get a part, and all hear of its end", async () => {
  const parts = new Parts(() => {});
  const readers = [parts.next(), parts.next(), parts.next()];
  parts.part({ event: "token" }, 1);
  parts.done({ event: "done", final: true });
  const results = await Promise.all(readers);
  assert.deepEqual(
    results.map(({ done }) => done),
    [false, false, true],
  );
});

test("a stream sends as much as it has credit for, in pieces, and no more while events are not taken", () =>
  withWorker(double("stream"), async (worker) => {
    const stream = worker.openStream({ type: "push" }, [0]);
    let written = false;
    const writing = stream.write(Buffer.from("abcdefghijklmnopqrst")).then(() => {
      written = true;
    });
    await settled(worker);
    await settled(worker);
    assert.equal(written, false); // the credit of the first piece came behind an event that nobody has taken
    const frames: StreamEvent[] = [];
    for await (const event of stream) {
      if (event.event === "frame") frames.push(event);
      if (frames.length === 3 && written) void stream.end();
      if (frames.length === 3 && !written) void writing.then(() => stream.end());
    }
    assert.deepEqual(frames.map(bytesOf), ["abcdefgh", "ijklmnop", "qrst"]);
    await writing;
    await assert.rejects(stream.write(Buffer.alloc(1)), withCode("closed"));
  }));

test("leaving the loop closes the stream", () =>
  withWorker(double("stream"), async (worker) => {
    const told = new Told(worker);
    for await (const event of worker.openStream({ type: "file", path: "a.mp4" }, [0])) {
      assert.equal(event.event, "opened");
      break;
    }
    assert.deepEqual(await told.count(2), ["open 1 file", "close 1"]);
  }));

test("nothing is written into what the worker reads by itself", () =>
  withWorker(double("stream"), async (worker) => {
    const stream = worker.openStream({ type: "camera", index: 0 }, [0]);
    await assert.rejects(stream.write(Buffer.alloc(1)), withCode("bad_request"));
    await stream.close();
  }));

test("a stream ends with its worker, and its data goes to no other", () =>
  withWorker(double("stream"), async (worker) => {
    const stream = worker.openStream({ type: "push" }, [0]);
    await readUntil(stream, "opened");
    const pid = worker.pid ?? 0;
    process.kill(pid, "SIGKILL");
    await assert.rejects(stream.next(), withCode("worker_died"));
    await assert.rejects(stream.write(Buffer.alloc(4)), withCode("worker_died"));
    assert.equal(isAlive(pid), false);
    await worker.ping();
  }));

/** What the double says that it got. */
function bytesOf(event: StreamEvent): unknown {
  return "bytes" in event ? event.bytes : undefined;
}

async function readUntil(stream: AsyncIterator<StreamEvent>, wanted: string): Promise<StreamEvent> {
  for (;;) {
    const { value, done } = await stream.next();
    if (done === true) throw new WorkerError("internal", `the stream ended before "${wanted}"`);
    if (value.event === wanted) return value;
  }
}
