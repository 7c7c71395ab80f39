// What bounds streams of pictures, and what becomes of them when processes come and go.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { type SpawnOptions, WorkerError } from "../src/api.js";
import { packetFrame } from "../src/packetFrame.js";
import { WorkerPool } from "../src/pool.js";
import { Worker } from "../src/worker.js";
import { Clips, FRAMES } from "./clips.js";
import { withWorker } from "./double.js";
import {
  collect,
  end,
  framesOf,
  numbersOf,
  PACKETS,
  PUSH,
  rgb,
  serving,
  until,
  upload,
  upTo,
} from "./streamSupport.js";
import { fakes, REPOSITORY, readId, shoot, withCode } from "./support.js";

const SCENE = `${REPOSITORY}models/scenes/scene-2-640x480.jpg`;

let clips: Clips;
before(async () => {
  clips = await Clips.make("matroska", "webm", "noise");
});
after(() => clips.remove());

/** A worker with a fake model that is told its limits. */
function limited(limits: Record<string, number>): SpawnOptions {
  const { config, ...rest } = fakes("echo?size=64");
  return { ...rest, config: { ...config, limits } };
}

describe("limits", () => {
  let worker: Worker;
  const credit = 64 * 1024;

  before(async () => {
    worker = await Worker.spawn(limited({ maxStreams: 1, streamCreditBytes: credit }));
  });
  after(() => worker.close());

  test("a reader that is slow holds the upload back, and nothing is lost", async () => {
    const bytes = await readFile(clips.path("noise"));
    const stream = worker.openStream(PUSH, [0]);
    let written = 0;
    const writing = (async () => {
      for (; written < bytes.byteLength; written += 1000)
        await stream.write(bytes.subarray(written, written + 1000));
      await stream.end();
    })();
    while (written < credit - 1000) await worker.ping(); // what has been granted at once
    for (let round = 0; round < 5; round++) {
      await worker.warmup(0);
      assert.ok(written <= credit, `${written} bytes were sent, and not one event was taken`);
    }
    const events = await collect(stream);
    await writing;
    assert.deepEqual(numbersOf(events), upTo(FRAMES));
  });

  test("a signal ends the stream in the worker, too", async () => {
    const abort = new AbortController();
    const stream = worker.openStream(PUSH, [0], { signal: abort.signal });
    await until(stream, "opened");
    await assert.rejects(collect(worker.openStream(PUSH, [0])), withCode("overloaded")); // maxStreams
    abort.abort();
    await assert.rejects(stream.next(), withCode("cancelled"));
    await assert.rejects(stream.write(Buffer.alloc(9)), withCode("cancelled"));
    const next = worker.openStream(PUSH, [0], { timeoutMs: 50 });
    await assert.rejects(collect(next), withCode("timed_out"));
    const last = worker.openStream(PUSH, [0]);
    await until(last, "opened");
    await last.close();
  });

  test("pixels wait for credit piece by piece; what cannot be cut and is too large is refused", async () => {
    const stream = worker.openStream(PACKETS, [0]);
    const jpeg = await readFile(SCENE);
    const padded = Buffer.concat([jpeg, Buffer.alloc(credit)]);
    const header = { timestampMs: 1, width: 0, height: 0, format: "jpeg" } as const;
    await assert.rejects(stream.write(packetFrame(header, padded)), (error) => {
      assert.ok(error instanceof WorkerError && error.code === "too_large");
      assert.match(error.message, /streamCreditBytes/);
      return true;
    });
    const short = { ...rgb(1, 64, 64), data: new Uint8Array(9) };
    await assert.rejects(stream.write(short), withCode("bad_request"));
    await assert.rejects(stream.write(new Uint8Array(16)), withCode("bad_request"));
    const largest = Buffer.concat([jpeg, Buffer.alloc((credit / 16) * 15 - 17 - jpeg.byteLength)]);
    const write = async (): Promise<void> => {
      for (const id of [1, 2, 3]) await stream.write(rgb(id, 640, 480)); // 14 times the credit each
      await stream.write(rgb(4, 32, 32)); // too little for credit to come back at once
      await stream.write(packetFrame(header, largest));
      await stream.end();
    };
    const [events] = await Promise.all([collect(stream), write()]);
    const frames = framesOf(events);
    assert.deepEqual(
      frames.slice(0, 3).map(({ results: [result] }) => readId(result ?? {})),
      [1, 2, 3],
    );
    assert.deepEqual(
      frames.map(({ width }) => width),
      [640, 640, 640, 32, 640],
    );
  });
});

describe("processes come and go", () => {
  test("the death of the worker ends a stream, which is never sent again", () =>
    withWorker({ ...fakes("echo?size=64"), restart: { initialMs: 1 } }, async (worker) => {
      const bytes = await readFile(clips.path("noise"));
      const stream = worker.openStream(PUSH, [0]);
      await Promise.all([stream.write(bytes.subarray(0, bytes.byteLength / 2)), until(stream, "started")]);
      shoot(worker);
      await assert.rejects(collect(stream), withCode("worker_died"));
      await assert.rejects(stream.write(bytes), withCode("worker_died"));
      await stream.close();
      const next = worker.openStream(PUSH, [0]);
      const [events] = await Promise.all([collect(next), upload(next, bytes)]);
      assert.equal(framesOf(events).length, FRAMES);
    }));

  test("an upload goes on in its process while the worker is recycled", () =>
    withWorker(fakes("echo?size=64"), async (worker) => {
      const bytes = await readFile(clips.path("noise"));
      const half = bytes.byteLength / 2;
      const stream = worker.openStream(PUSH, [0]);
      await Promise.all([stream.write(bytes.subarray(0, half)), until(stream, "frame")]);
      const { pid } = worker;
      const recycled = worker.recycle();
      await once(worker, "ready");
      assert.notEqual(worker.pid, pid);
      const other = worker.openStream({ type: "file", path: clips.path("webm") }, [0]);
      assert.equal(framesOf(await collect(other)).length, FRAMES);
      const [events] = await Promise.all([collect(stream), upload(stream, bytes.subarray(half))]);
      assert.deepEqual(end(events), { frames: FRAMES, dropped: 0, reason: "eof" });
      await recycled;
    }));

  test("a live stream is ended by a recycle, and by the end of the worker, as drained", () =>
    withWorker(fakes("echo?size=64"), async (worker) => {
      const bytes = await readFile(clips.path("noise"));
      const half = bytes.subarray(0, bytes.byteLength / 2); // and no more: it stays open
      await serving(
        (_, response) => void response.write(half),
        async (url) => {
          for (const stop of [() => worker.recycle(), () => worker.close()]) {
            const stream = worker.openStream({ type: "url", url }, [0]);
            await until(stream, "frame");
            const [events] = await Promise.all([collect(stream), stop()]);
            assert.equal(end(events).reason, "drained");
          }
        },
      );
      await assert.rejects(collect(worker.openStream(PUSH)), withCode("closed"));
    }));

  test("a pool deals its streams out, and each stays with its worker", async () => {
    const pool = await WorkerPool.spawn({ ...limited({ maxStreams: 2 }), size: 2 });
    try {
      const bytes = await readFile(clips.path("matroska"));
      const streams = Array.from({ length: 4 }, () => pool.openStream(PUSH));
      for (const stream of streams) await until(stream, "opened"); // two in each, or one would be refused
      const uploads = streams.map(async (stream) => {
        const [events] = await Promise.all([collect(stream), upload(stream, bytes, 500)]);
        return framesOf(events).length;
      });
      assert.deepEqual(await Promise.all(uploads), [FRAMES, FRAMES, FRAMES, FRAMES]);
    } finally {
      await pool.close();
    }
  });
});
