// The golden packets of the project: what this library writes and reads is what all others do.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { errorOf, parseAnswer } from "../src/protocol/answer.js";
import {
  cacheFrameMessage,
  commandMessage,
  inferBatchMessage,
  inferCachedMessage,
  inferJpegMessage,
  inferRawMessage,
  inferSharedMessage,
  type Message,
  streamDataMessage,
  streamEndMessage,
  taskMessage,
  type WirePicture,
} from "../src/protocol/message.js";
import { PIXEL_FORMATS, type PixelFormat, pixelFormatCode } from "../src/protocol/pixelFormat.js";
import { ResponseDecoder } from "../src/protocol/responseDecoder.js";
import type { WireOptions } from "../src/protocol/wireOptions.js";
import { REPOSITORY } from "./support.js";

interface PictureRow {
  readonly width: number;
  readonly height: number;
  readonly format: number;
  readonly data: string;
  readonly size: number;
}
interface MessageRow {
  readonly type: string;
  readonly request_id: number;
  readonly body: string;
  readonly model: number;
  readonly data: string;
  readonly picture: PictureRow;
  readonly pictures: readonly PictureRow[];
  readonly frame_id: number;
  readonly region_id: number;
  /** A string where JavaScript's numbers do not reach. */
  readonly offset: number | string;
  readonly params: string;
  readonly attachments: readonly string[];
  readonly stream_id: number;
  readonly options?: WireOptions;
  readonly payload_bytes?: number;
}
interface RequestRow {
  readonly name: string;
  readonly hex: string;
  readonly encodes?: boolean;
  readonly message: MessageRow;
}
interface ResponseRow {
  readonly name: string;
  readonly hex: string;
  readonly request_id: number;
  readonly body: string;
}
interface RejectedRow {
  readonly name: string;
  readonly rejected: { readonly request_id: number; readonly code: string; readonly error: string };
}

function rows<Row>(file: string): Row[] {
  const text = readFileSync(`${REPOSITORY}tests/vectors/${file}.json`, "utf8");
  return JSON.parse(text.replace(/("offset": ?)(\d{16,})/g, '$1"$2"')) as Row[];
}

const bytes = (hex: string): Buffer => Buffer.from(hex, "hex");

function formatOf(code: number): PixelFormat {
  const format = PIXEL_FORMATS.find((name) => pixelFormatCode(name) === code);
  assert.ok(format !== undefined, `a pixel format ${code}`);
  return format;
}

function picture({ width, height, format, data }: PictureRow): WirePicture {
  return { width, height, format: formatOf(format), data: bytes(data) };
}

const ENCODERS: Record<string, (row: MessageRow, options: WireOptions) => Message> = {
  COMMAND: ({ body }) => commandMessage(JSON.parse(body)),
  INFER_JPEG: ({ model, data }, options) => inferJpegMessage(model, bytes(data), options),
  INFER_RAW: (row, options) => inferRawMessage(row.model, picture(row.picture), options),
  INFER_BATCH: ({ model, pictures }, options) => inferBatchMessage(model, pictures.map(picture), options),
  CACHE_FRAME: (row, options) => cacheFrameMessage(row.frame_id, picture(row.picture), options),
  INFER_CACHED: ({ model, frame_id }, options) => inferCachedMessage(model, frame_id, options),
  INFER_SHARED: ({ model, region_id, offset, picture: { width, height, format, size } }, options) =>
    inferSharedMessage(
      model,
      { regionId: region_id, offset: BigInt(offset), width, height, format: formatOf(format), size },
      options,
    ),
  TASK: ({ model, params, attachments }, options) =>
    taskMessage(model, JSON.parse(params), attachments.map(bytes), options),
  STREAM_DATA: ({ stream_id, data }) => streamDataMessage(stream_id, [bytes(data)]),
  STREAM_END: ({ stream_id }) => streamEndMessage(stream_id),
};

/** A packet with its JSON parsed, since others may write 50.0 where this library writes 50. */
function takeApart(packet: Buffer): unknown {
  const type = packet[8] ?? 0;
  const payload = packet.subarray(9);
  const head = { length: packet.readUInt32LE(0) - packet.length, id: packet.readUInt32LE(4), type };
  if (type === 0) return { ...head, body: JSON.parse(payload.toString()) };
  if ((type & 0x80) === 0) return { ...head, rest: payload.toString("hex") };
  const end = 2 + payload.readUInt16LE(0);
  return {
    ...head,
    options: JSON.parse(payload.subarray(2, end).toString()),
    rest: payload.subarray(end).toString("hex"),
  };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

for (const file of ["requests", "reserved"]) {
  test(`every packet of ${file}.json is written so`, () => {
    let compared = 0;
    for (const { name, hex, encodes, message } of rows<RequestRow>(file)) {
      if (encodes === false || (message.type === "COMMAND" && !isJson(message.body))) continue;
      const encode = ENCODERS[message.type];
      assert.ok(encode !== undefined, `an encoder of ${message.type}`);
      const made = encode(message, message.options ?? {});
      const packet = Buffer.concat(made.parts(message.request_id));
      assert.deepEqual(takeApart(packet), takeApart(bytes(hex)), name);
      if (message.payload_bytes !== undefined && packet.length * 2 === hex.length) {
        assert.equal(made.payloadBytes, message.payload_bytes, name);
      }
      compared += 1;
    }
    assert.ok(compared >= 3, `${compared} rows were compared`);
  });
}

test("a message goes out again under another id, with the caller's own pixels in it", () => {
  const pixels = Buffer.from("0b30557a9fc4", "hex");
  const message = inferRawMessage(1, { width: 2, height: 1, format: "rgb", data: pixels }, {});
  const first = message.parts(30);
  assert.equal(first.at(-1), pixels);
  assert.equal(Buffer.concat(first).readUInt32LE(4), 30);
  assert.equal(Buffer.concat(message.parts(31)).readUInt32LE(4), 31);
  assert.equal(Buffer.concat(first).readUInt32LE(4), 30); // it may still be on its way
});

const RESPONSES = rows<ResponseRow>("responses");

test("every packet of responses.json is read so", () => {
  const decoder = new ResponseDecoder();
  for (const { name, hex, request_id, body } of RESPONSES) {
    decoder.feed(bytes(hex));
    const packet = decoder.next();
    assert.equal(packet?.id, request_id, name);
    assert.equal(packet.body.toString(), body, name);
    assert.deepEqual(parseAnswer(packet.body), JSON.parse(body), name);
    assert.equal(decoder.next(), undefined);
    assert.equal(decoder.midPacket, false);
  }
});

test("the responses are the same wherever their bytes are split", () => {
  const stream = Buffer.concat(RESPONSES.map(({ hex }) => bytes(hex)));
  const wanted = RESPONSES.map(({ request_id, body }) => [request_id, body]);
  for (let split = 0; split <= stream.length; split++) {
    assert.deepEqual(
      readAll([stream.subarray(0, split), stream.subarray(split)]),
      wanted,
      `split at ${split}`,
    );
  }
  const single = Array.from(stream, (_, index) => stream.subarray(index, index + 1));
  assert.deepEqual(readAll(single), wanted, "byte by byte");
  assert.deepEqual(readAll([stream]), wanted, "at once");
});

function readAll(chunks: readonly Buffer[]): [number, string][] {
  const decoder = new ResponseDecoder();
  const read: [number, string][] = [];
  for (const chunk of chunks) {
    decoder.feed(chunk);
    for (let packet = decoder.next(); packet !== undefined; packet = decoder.next()) {
      read.push([packet.id, packet.body.toString()]);
    }
  }
  return read;
}

test("every error of rejected.json is an error with its code and its text", () => {
  for (const { name, rejected } of rows<RejectedRow>("rejected")) {
    const { code, error } = rejected;
    const found = errorOf(parseAnswer(Buffer.from(JSON.stringify({ error, code }))));
    assert.equal(found?.code, code, name);
    assert.equal(found.message, error, name);
    assert.deepEqual(found.answer, { error, code }, name);
  }
});
