// Streams of pictures with the real worker.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { type StreamEvent, type StreamOptions, WorkerError } from "../src/api.js";
import { packetFrame } from "../src/packetFrame.js";
import { Worker } from "../src/worker.js";
import { Clips, FPS, FRAMES, sharedVideo } from "./clips.js";
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
import { drawId, MODEL, PYTHON, REPOSITORY, readId, withCode } from "./support.js";

const SCENE = `${REPOSITORY}models/scenes/scene-2-640x480.jpg`;
const CHUNK = 64 * 1024;

let clips: Clips;
before(async () => {
  clips = await Clips.make("faststart", "index_at_end", "matroska", "webm", "transport");
});
after(() => clips.remove());

describe("one worker", () => {
  let worker: Worker;

  before(async () => {
    const config = { models: [{ path: MODEL }, { path: "fake:echo?size=64" }] };
    worker = await Worker.spawn({ command: [PYTHON, "-m", "worker"], cwd: REPOSITORY, config });
  });
  after(() => worker.close());

  /** Upload a clip and read what it gives, at the same time. */
  async function push(bytes: Uint8Array, options: StreamOptions = {}): Promise<StreamEvent[]> {
    const stream = worker.openStream(PUSH, [1], options);
    const [events] = await Promise.all([collect(stream), upload(stream, bytes, 1000)]);
    return events;
  }

  for (const name of ["faststart", "matroska", "webm", "transport"] as const) {
    test(`every frame of a ${name} clip is answered while it is uploaded`, async () => {
      const events = await push(await readFile(clips.path(name)));
      assert.deepEqual(
        events.slice(0, 2).map(({ event }) => event),
        ["opened", "started"],
      );
      assert.deepEqual(numbersOf(events), upTo(FRAMES));
      const frames = framesOf(events);
      const first = frames[0]?.timestampMs ?? 0; // of "transport" not 0
      for (const { timestampMs, frameNumber, width, height, results } of frames) {
        assert.ok(Math.abs(timestampMs - first - (frameNumber * 1000) / FPS) < 1.01, `${timestampMs}`);
        assert.deepEqual([width, height, results.length], [64, 48, 1]);
        assert.ok(results[0] !== undefined && "kind" in results[0] && results[0].kind === "detections");
      }
      assert.deepEqual(end(events), { frames: FRAMES, dropped: 0, reason: "eof" });
    });
  }

  test("an index at the end is told early, and the frames come all the same", async () => {
    const events = await push(await readFile(clips.path("index_at_end")));
    assert.deepEqual(
      events.slice(0, 3).map(({ event }) => event),
      ["opened", "needsTail", "started"],
    );
    assert.equal(framesOf(events).length, FRAMES);
  });

  const car = sharedVideo("car_detection_faststart_aac.mp4");
  test("the first frame is answered before three tenths are uploaded", { skip: car.skip }, async () => {
    const bytes = await readFile(car.path);
    const stream = worker.openStream(PUSH, [1]);
    let written = 0;
    for (; written < bytes.byteLength * 0.3; written += CHUNK)
      await Promise.all([
        stream.write(bytes.subarray(written, written + CHUNK)),
        written === 0 && until(stream, "opened"),
      ]);
    assert.equal((await until(stream, "frame")).frameNumber, 0);
    const [rest] = await Promise.all([collect(stream), upload(stream, bytes.subarray(written))]);
    assert.deepEqual(end(rest), { frames: 377, dropped: 0, reason: "eof" });
  });

  const people = sharedVideo("people_1080p_moov_at_end.mp4");
  test("a file is read by the worker, as many frames as are wanted", { skip: people.skip }, async () => {
    const source = { type: "file", path: people.path, startFrame: 10, endFrame: 50 } as const;
    const events = await collect(worker.openStream(source, [0], { everyNth: 10, classes: [0] }));
    const started = events.find((event) => event.event === "started");
    assert.deepEqual([started?.width, started?.height, started?.codec], [1920, 1080, "h264"]);
    assert.equal(framesOf(events).length, 4);
  });

  test("of a file every third frame, by two models at once", async () => {
    const source = { type: "file", path: clips.path("faststart") } as const;
    const events = await collect(worker.openStream(source, [0, 1], { everyNth: 3, drop: "none" }));
    assert.deepEqual(numbersOf(events), upTo(FRAMES, 3));
    for (const { results } of framesOf(events)) assert.equal(results.length, 2);
  });

  test("raw pixels of 1080p go in several pieces, and each frame has its own answer", async () => {
    const stream = worker.openStream(PACKETS, [1]);
    const write = async (): Promise<void> => {
      for (const id of [5, 900, 31_000]) await stream.write(rgb(id, 1920, 1080));
      const { header, data } = rgb(77, 640, 480);
      await stream.write(Buffer.concat([header, data]));
      await stream.end();
    };
    const [events] = await Promise.all([collect(stream), write()]);
    const frames = framesOf(events);
    assert.deepEqual(
      frames.map(({ results: [result] }) => readId(result ?? {})),
      [5, 900, 31_000, 77],
    );
    assert.deepEqual(
      frames.map(({ timestampMs }) => timestampMs),
      [200, 36_000, 1_240_000, 3080],
    );
    assert.deepEqual(
      frames.map(({ width }) => width),
      [1920, 1920, 1920, 640],
    );
  });

  test("requests have their turn while streams write as much as they can", async () => {
    const streams = Array.from({ length: 4 }, () => worker.openStream(PACKETS, [1]));
    const reading = streams.map(collect);
    let stopped = false;
    const writing = streams.map(async (stream) => {
      const frame = rgb(3, 1280, 720);
      while (!stopped) await stream.write(frame);
      await stream.end();
    });
    await Promise.all(streams.map((stream) => stream.write(rgb(3, 1280, 720))));
    for (let id = 0; id < 20; id++) {
      const image = { raw: drawId(id, 64, 64), width: 64, height: 64, format: "rgb" } as const;
      assert.equal(readId(await worker.infer(1, image, { timeoutMs: 5000 })), id);
    }
    stopped = true;
    await Promise.all(writing);
    for (const events of await Promise.all(reading)) assert.ok(end(events).frames > 0);
  });

  test("a JPEG is answered as by infer", async () => {
    const jpeg = await readFile(SCENE);
    const stream = worker.openStream(PACKETS);
    await stream.write(packetFrame({ timestampMs: 0.4, width: 640, height: 480, format: "jpeg" }, jpeg));
    await stream.end();
    const [frame] = framesOf(await collect(stream));
    const wanted = await worker.infer(0, { jpeg });
    const [found] = frame?.results ?? [];
    assert.ok(found !== undefined && !(found instanceof WorkerError));
    assert.ok(found.kind === "detections" && wanted.kind === "detections");
    assert.ok(found.detections.length > 0);
    assert.deepEqual(found.detections, wanted.detections);
  });

  test("eight uploads at once each get all of their frames in order", async () => {
    const bytes = await readFile(clips.path("faststart"));
    const all = await Promise.all(Array.from({ length: 8 }, () => push(bytes)));
    for (const events of all) assert.deepEqual(numbersOf(events), upTo(FRAMES));
  });

  test("a frame that a model cannot answer has an error in that place, and the stream goes on", async () => {
    const events = await push(await readFile(clips.path("matroska")), { deadlineMs: 0.001 });
    assert.equal(framesOf(events).length, FRAMES);
    for (const {
      results: [result],
    } of framesOf(events))
      assert.ok(result instanceof WorkerError && result.code === "deadline_exceeded");
  });

  test("a stream is closed in its midst: nothing more is written, and the worker goes on", async () => {
    const bytes = await readFile(clips.path("matroska"));
    const stream = worker.openStream(PUSH, [1]);
    const most = bytes.subarray(0, bytes.byteLength - 500);
    await Promise.all([stream.write(most), until(stream, "started")]);
    await stream.close();
    await stream.ended;
    await assert.rejects(stream.write(bytes), withCode("closed"));
    await assert.rejects(stream.end(), withCode("closed"));
    assert.equal((await stream.next()).done, true);
    await stream.close();
    assert.equal(framesOf(await push(bytes)).length, FRAMES);
  });

  test("leaving the loop ends the stream", async () => {
    const stream = worker.openStream({ type: "file", path: clips.path("faststart") }, [1]);
    for await (const event of stream) if (event.event === "frame") break;
    await stream.ended;
    assert.equal((await stream.next()).done, true);
  });

  test("a damaged upload gives the frames that it holds, and then the error", async () => {
    const bytes = await readFile(clips.path("faststart"));
    const stream = worker.openStream(PUSH, [1]);
    const writing = upload(stream, bytes.subarray(0, bytes.byteLength - 200), 500);
    const events: StreamEvent[] = [];
    await assert.rejects(
      async () => {
        for await (const event of stream) events.push(event);
      },
      (error) => {
        assert.ok(error instanceof WorkerError && error.code === "decode_failed", String(error));
        assert.equal(error.answer?.frames, framesOf(events).length);
        return true;
      },
    );
    assert.ok(framesOf(events).length >= FRAMES / 2 && framesOf(events).length < FRAMES);
    await writing;
    await assert.rejects(stream.write(bytes), withCode("decode_failed"));
  });

  test("what cannot be opened is thrown by the loop, with the worker's reason", async () => {
    const file = { type: "file", path: clips.path("faststart") } as const;
    const option = { everyNht: 2 } as StreamOptions;
    await assert.rejects(collect(worker.openStream(file, [9])), withCode("model_not_loaded"));
    await assert.rejects(collect(worker.openStream(file, [0], option)), /everyNth/);
    await assert.rejects(collect(worker.openStream(file, [0], { maxFps: -1 })), withCode("bad_request"));
    const missing = { type: "file", path: "/nowhere.mp4" } as const;
    await assert.rejects(collect(worker.openStream(missing)), withCode("provider_failed"));
    const camera = { type: "camera", index: 255 } as const;
    await assert.rejects(collect(worker.openStream(camera)), withCode("provider_failed"));
    const nobody = { type: "url", url: "http://127.0.0.1:9/a.mp4", reconnect: false } as const;
    await assert.rejects(collect(worker.openStream(nobody)), (error) => {
      assert.ok(error instanceof WorkerError && error.code === "provider_failed");
      assert.equal(error.answer?.reason, "unreachable");
      return true;
    });
  });

  test("a stream of a model that is being loaded waits for it", async () => {
    const loaded = worker.load(4, { path: "fake:echo?size=64&load_ms=100" });
    const source = { type: "file", path: clips.path("webm") } as const;
    assert.equal(framesOf(await collect(worker.openStream(source, [4]))).length, FRAMES);
    await loaded;
    await worker.unload(4);
  });

  test("a video comes over HTTP", async () => {
    const bytes = await readFile(clips.path("matroska"));
    await serving(
      (_, response) => response.end(bytes),
      async (url) => {
        const events = await collect(worker.openStream({ type: "url", url }, [1]));
        assert.deepEqual(end(events), { frames: FRAMES, dropped: 0, reason: "eof" });
      },
    );
  });
});

test("a frame has the header of the protocol", () => {
  const data = Buffer.from("abc");
  const header = { timestampMs: 0x1_0203_0405, width: 1920, height: 1080, format: "vp8" } as const;
  const frame = packetFrame(header, data);
  assert.equal(Buffer.from(frame.header).toString("hex"), "0504030201000000800700003804000003");
  assert.equal(frame.data, data);
  const codes = (["rgb", "bgr", "h264", "vp8", "jpeg"] as const).map(
    (format) => packetFrame({ ...header, format }, data).header[16],
  );
  assert.deepEqual(codes, [0, 1, 2, 3, 4]);
  for (const wrong of [{ timestampMs: -1 }, { timestampMs: Number.NaN }, { width: 1.5 }, { format: "png" }])
    assert.throws(() => packetFrame({ ...header, ...wrong } as typeof header, data), withCode("bad_request"));
});
