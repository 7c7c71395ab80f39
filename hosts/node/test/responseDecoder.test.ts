// What a worker may write: anything. The decoder reads it or says `protocol_violation`.
import assert from "node:assert/strict";
import { test } from "node:test";
import { errorOf, isFinal, parseAnswer, resultOf, resultsOf } from "../src/protocol/answer.js";
import { WorkerError } from "../src/protocol/errors.js";
import { ResponseDecoder } from "../src/protocol/responseDecoder.js";
import { withCode } from "./support.js";

function packet(id: number, body: string | Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(4 + Buffer.byteLength(body), 0);
  head.writeUInt32LE(id, 4);
  return Buffer.concat([head, Buffer.from(body)]);
}

/** Numbers that look random and are the same every time. */
function* randoms(seed: number): Generator<number, never> {
  let state = seed;
  for (;;) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield state / 2 ** 32;
  }
}

test("an answer that came in one chunk is a view into it", () => {
  const chunk = Buffer.concat([packet(1, "{}"), packet(2, '{"a":1}')]);
  const decoder = new ResponseDecoder();
  decoder.feed(chunk);
  const [first, second] = [decoder.next(), decoder.next()];
  assert.equal(first?.body.buffer, chunk.buffer);
  assert.equal(second?.body.buffer, chunk.buffer);
});

test("a long answer in many chunks is read whole, in little time", () => {
  const body = Buffer.alloc(32 * 1024 * 1024, "x");
  const stream = packet(9, body);
  const decoder = new ResponseDecoder();
  const begun = performance.now();
  for (let offset = 0; offset < stream.length - 1; offset += 65_536) {
    decoder.feed(stream.subarray(offset, Math.min(offset + 65_536, stream.length - 1)));
    assert.equal(decoder.next(), undefined);
  }
  decoder.feed(stream.subarray(stream.length - 1));
  assert.ok(decoder.next()?.body.equals(body));
  assert.ok(performance.now() - begun < 1000);
});

for (const length of [0, 1, 2, 3]) {
  test(`a length of ${length} is no answer's`, () => {
    const decoder = new ResponseDecoder();
    decoder.feed(Buffer.from([length, 0, 0, 0]));
    assert.throws(() => decoder.next(), withCode("protocol_violation"));
  });
}

test("a length beyond the cap is refused by its four bytes", () => {
  const head = Buffer.alloc(4);
  const decoder = new ResponseDecoder(100);
  head.writeUInt32LE(100);
  decoder.feed(head);
  assert.equal(decoder.next(), undefined);
  const other = new ResponseDecoder(100);
  head.writeUInt32LE(101);
  other.feed(head);
  assert.throws(() => other.next(), withCode("protocol_violation"));
});

test("garbage is read or refused, and never anything else happens", () => {
  const random = randoms(7);
  for (let round = 0; round < 2000; round++) {
    const decoder = new ResponseDecoder(4096);
    const size = Math.floor(random.next().value * 200);
    const garbage = Buffer.from(Array.from({ length: size }, () => Math.floor(random.next().value * 256)));
    if (round % 2 === 0 && size > 4) garbage.writeUInt32LE(Math.floor(random.next().value * 64), 0);
    try {
      decoder.feed(garbage);
      for (let next = decoder.next(); next !== undefined; next = decoder.next()) parseAnswer(next.body);
    } catch (error) {
      assert.ok(error instanceof WorkerError && error.code === "protocol_violation", String(error));
    }
  }
});

for (const [what, body] of [
  ["no JSON", Buffer.from("{")],
  ["no object", Buffer.from("[1]")],
  ["null", Buffer.from("null")],
  ["nothing", Buffer.alloc(0)],
  ["no UTF-8", Buffer.from([0x22, 0xff, 0x22])],
] as const) {
  test(`an answer that is ${what} is a violation`, () => {
    assert.throws(() => parseAnswer(body), withCode("protocol_violation"));
  });
}

test("an answer is final without an event, or with its word for it", () => {
  assert.equal(isFinal({ kind: "detections" }), true);
  assert.equal(isFinal({ event: "token" }), false);
  assert.equal(isFinal({ event: "done", final: true }), true);
  assert.equal(isFinal({ error: "text", code: "overloaded", final: true }), true);
});

test("an error without a code is the worker's fault, one with a code of later versions keeps it", () => {
  assert.equal(errorOf({ error: "text" })?.code, "internal");
  assert.equal(errorOf({ error: "text", code: "of_tomorrow" })?.code, "of_tomorrow");
  assert.equal(errorOf({ kind: "raw" }), undefined);
});

test("a result says its kind", () => {
  assert.throws(() => resultOf({}), withCode("protocol_violation"));
  assert.equal(resultOf({ kind: "of tomorrow" }).kind, "of tomorrow");
});

test("a batch has a result or an error for each of its items", () => {
  const results = [
    { kind: "detections", detections: [] },
    { error: "text", code: "inference_failed" },
  ];
  const [first, second] = resultsOf({ results }, 2);
  assert.ok(!(first instanceof WorkerError) && first?.kind === "detections");
  assert.ok(second instanceof WorkerError && second.code === "inference_failed");
  assert.throws(() => resultsOf({ results }, 3), withCode("protocol_violation"));
  assert.throws(() => resultsOf({ results: "none" }, 0), withCode("protocol_violation"));
  assert.throws(() => resultsOf({ results: [1] }, 1), withCode("protocol_violation"));
  assert.deepEqual(resultsOf({ results: [] }, 0), []);
});
