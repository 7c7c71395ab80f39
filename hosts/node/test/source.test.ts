import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type {
  Image,
  InferOptions,
  InferResult,
  Inferrer,
  RegionHost,
  SharedSlot,
  SlotLoan,
} from "../src/api.js";
import { WorkerError } from "../src/api.js";
import { Source } from "../src/source.js";
import { Worker } from "../src/worker.js";
import { fakes, numbered, readId, withCode } from "./support.js";

interface Call {
  readonly model: number;
  readonly image: Image;
  readonly options: InferOptions;
  answer(id: number): void;
  fail(error: Error): void;
}

/** A double of a worker that answers when it is told to. */
class TellingWorker implements Pick<Inferrer, "infer"> {
  readonly calls: Call[] = [];

  infer(model: number, image: Image, options: InferOptions = {}): Promise<InferResult> {
    return new Promise((resolve, reject) => {
      const answer = (id: number): void =>
        resolve({ kind: "detections", frameSize: `${id}x1` } as InferResult);
      this.calls.push({ model, image, options, answer, fail: reject });
    });
  }

  /** The call of this number, as soon as it has come. */
  async call(number: number): Promise<Call> {
    for (;;) {
      const call = this.calls[number];
      if (call !== undefined) return call;
      await new Promise(setImmediate);
    }
  }
}

/** A double of a slot that tells whose it is. */
class CountedSlot implements SharedSlot {
  readonly bytes = 4096;
  readonly host = {} as RegionHost;
  state: "leased" | "lent" | "free" = "leased";

  handOver(): SlotLoan {
    if (this.state !== "leased") throw new WorkerError("stale_slot", "stale");
    this.state = "lent";
    const free = (): void => {
      this.state = "free";
    };
    return { regionId: 1, offset: 0, free };
  }

  release(): void {
    throw new WorkerError("stale_slot", "stale");
  }
}

const frame = (number: number): Image => ({ jpeg: Buffer.of(number) });
const sharedFrame = (shared: SharedSlot): Image => ({ shared, width: 1, height: 1, format: "rgb" });

describe("one camera", () => {
  test("has one picture in flight and one waiting: the newest", async () => {
    const worker = new TellingWorker();
    const camera = new Source(worker, "door", 3, { confidence: 0.5 });
    const pushes = [1, 2, 3, 4].map((number) => camera.push(frame(number)));
    await assert.rejects(Promise.resolve(pushes[1]), withCode("superseded"));
    await assert.rejects(Promise.resolve(pushes[2]), withCode("superseded"));
    const first = await worker.call(0);
    assert.equal(worker.calls.length, 1);
    assert.deepEqual([first.model, first.options.source, first.options.confidence], [3, "door", 0.5]);
    first.answer(1);
    assert.equal((await pushes[0])?.frameSize, "1x1");
    const last = await worker.call(1);
    assert.deepEqual(last.image, frame(4));
    last.answer(4);
    assert.equal((await pushes[3])?.frameSize, "4x1");
    assert.equal(worker.calls.length, 2);
    assert.equal(camera.busy, false);
  });

  test("goes on after an error", async () => {
    const worker = new TellingWorker();
    const camera = new Source(worker, "door", 0);
    const [broken, next] = [camera.push(frame(1)), camera.push(frame(2))];
    (await worker.call(0)).fail(new WorkerError("decode_failed", "broken"));
    await assert.rejects(broken, withCode("decode_failed"));
    (await worker.call(1)).answer(2);
    assert.equal((await next).frameSize, "2x1");
  });

  test("a waiting picture can be given up, and its wait counts", async () => {
    const worker = new TellingWorker();
    const camera = new Source(worker, "door", 0);
    const inFlight = camera.push(frame(1));
    await assert.rejects(camera.push(frame(2), { timeoutMs: 20 }), withCode("timed_out"));
    const left = new AbortController();
    const given = camera.push(frame(3), { signal: left.signal });
    left.abort();
    await assert.rejects(given, withCode("cancelled"));
    await assert.rejects(camera.push(frame(4), { signal: AbortSignal.abort() }), withCode("cancelled"));
    const patient = camera.push(frame(5), { timeoutMs: 60_000 });
    await new Promise((resolve) => setTimeout(resolve, 5));
    (await worker.call(0)).answer(1);
    await inFlight;
    const call = await worker.call(1);
    assert.ok((call.options.timeoutMs ?? 0) < 60_000 && (call.options.timeoutMs ?? 0) > 50_000);
    call.answer(5);
    await patient;
  });

  test("a slot belongs to the source from push on, and is freed when its picture is dropped", async () => {
    const worker = new TellingWorker();
    const camera = new Source(worker, "door", 0);
    const slots = [new CountedSlot(), new CountedSlot(), new CountedSlot()] as const;
    const [taken, dropped, refused] = slots.map((slot) => camera.push(sharedFrame(slot)));
    await assert.rejects(Promise.resolve(dropped), withCode("superseded"));
    assert.deepEqual(
      slots.map(({ state }) => state),
      ["lent", "free", "lent"],
    );
    await assert.rejects(camera.push(sharedFrame(slots[0])), withCode("stale_slot"));
    const first = await worker.call(0);
    const loan = "shared" in first.image ? first.image.shared.handOver() : undefined; // as a worker does
    first.answer(1);
    await taken;
    assert.equal(slots[0].state, "lent"); // the worker frees it
    loan?.free();
    assert.equal(slots[0].state, "free");
    (await worker.call(1)).fail(new WorkerError("closed", "closed")); // before the slot was taken over
    await assert.rejects(Promise.resolve(refused), withCode("closed"));
    assert.equal(slots[2].state, "free");
  });
});

test("cameras of a worker: the newest picture of each is answered, and each answer is of its picture", async () => {
  const worker = await Worker.spawn(fakes("echo?size=64&ms=5"));
  try {
    const outcomes = await Promise.all(
      ["north", "south", "east"].map(async (name, number) => {
        const camera = worker.source(name, 0);
        const pushes = Array.from({ length: 40 }, (_, k) => ({
          id: number * 1000 + k,
          picture: numbered(number * 1000 + k),
        }));
        const settled = await Promise.allSettled(pushes.map(({ picture }) => camera.push(picture)));
        return settled.map((outcome, k) => ({ outcome, id: pushes[k]?.id }));
      }),
    );
    for (const camera of outcomes) {
      const answered = camera.filter(({ outcome }) => outcome.status === "fulfilled");
      assert.deepEqual([answered[0], answered.at(-1)], [camera[0], camera.at(-1)]);
      for (const { outcome, id } of camera) {
        if (outcome.status === "fulfilled") assert.equal(readId(outcome.value), id);
        else assert.equal(outcome.reason.code, "superseded");
      }
    }
  } finally {
    await worker.close();
  }
});
