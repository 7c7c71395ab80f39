// Requests as bytes: a small prefix that the library makes, and the caller's own buffers behind it, which are
// never copied.
import { type JsonObject, WorkerError } from "./errors.js";
import { type PixelFormat, pixelFormatCode } from "./pixelFormat.js";
import { encodeOptions, type WireOptions } from "./wireOptions.js";

/** The type byte of each request. */
export const MessageType = {
  command: 0x00,
  inferJpeg: 0x01,
  inferRaw: 0x02,
  inferBatch: 0x03,
  cacheFrame: 0x04,
  inferCached: 0x05,
  inferShared: 0x06,
  task: 0x07,
  streamData: 0x08,
  streamEnd: 0x09,
} as const;

/** A picture as it stands in a packet. */
export interface WirePicture {
  readonly width: number;
  readonly height: number;
  readonly format: PixelFormat;
  readonly data: Uint8Array;
}

/** A picture that lies in a region. */
export interface RegionPicture {
  readonly regionId: number;
  /** In bytes. */
  readonly offset: number | bigint;
  readonly width: number;
  readonly height: number;
  readonly format: PixelFormat;
  readonly size: number;
}

const OPTIONS_FLAG = 0x80;
const HEADER_BYTES = 9;
const ID_OFFSET = 4;
/** What the length counts beside the payload: id and type. */
const LENGTH_OVER_PAYLOAD = 5;
const MOST_U32 = 0xffff_ffff;
const MOST_PICTURES = 255;
const MOST_INDEX = 255;

/** A request that wants nothing but its id. */
export class Message {
  /** Length of the payload, options included: what counts in the worker's budget of bytes. */
  readonly payloadBytes: number;
  readonly #prefix: Buffer;
  readonly #tail: readonly Uint8Array[];
  #sent = false;

  constructor(type: number, options: Buffer | undefined, head: Buffer, tail: readonly Uint8Array[]) {
    const optionsBytes = options === undefined ? 0 : 2 + options.length;
    let payloadBytes = optionsBytes + head.length;
    for (const part of tail) payloadBytes += part.byteLength;
    if (payloadBytes > MOST_U32 - LENGTH_OVER_PAYLOAD) {
      throw new WorkerError("too_large", `a request of ${payloadBytes} bytes: no packet is that long`);
    }
    const prefix = Buffer.allocUnsafe(HEADER_BYTES + optionsBytes + head.length);
    prefix.writeUInt32LE(LENGTH_OVER_PAYLOAD + payloadBytes, 0);
    prefix[8] = options === undefined ? type : type | OPTIONS_FLAG;
    if (options !== undefined) {
      prefix.writeUInt16LE(options.length, HEADER_BYTES);
      options.copy(prefix, HEADER_BYTES + 2);
    }
    head.copy(prefix, HEADER_BYTES + optionsBytes);
    this.payloadBytes = payloadBytes;
    this.#prefix = prefix;
    this.#tail = tail;
  }

  /** The packet under an id, in pieces. */
  parts(id: number): readonly Uint8Array[] {
    // Sent again, to another worker, while the first prefix may not be written yet: it must not change.
    const prefix = this.#sent ? Buffer.from(this.#prefix) : this.#prefix;
    this.#sent = true;
    prefix.writeUInt32LE(id, ID_OFFSET);
    return [prefix, ...this.#tail];
  }
}

/** COMMAND: a JSON object. */
export function commandMessage(command: JsonObject): Message {
  return new Message(MessageType.command, undefined, encodeJson(command), []);
}

/** INFER_JPEG. */
export function inferJpegMessage(model: number, data: Uint8Array, options: WireOptions): Message {
  return new Message(MessageType.inferJpeg, encodeOptions(options), modelHead(model), nonEmpty(data));
}

/** INFER_RAW. */
export function inferRawMessage(model: number, picture: WirePicture, options: WireOptions): Message {
  const head = Buffer.concat([modelHead(model), pictureHead(picture)]);
  return new Message(MessageType.inferRaw, encodeOptions(options), head, nonEmpty(picture.data));
}

/** INFER_BATCH of up to 255 pictures. */
export function inferBatchMessage(
  model: number,
  pictures: readonly WirePicture[],
  options: WireOptions,
): Message {
  checkRange("the number of pictures", pictures.length, MOST_PICTURES);
  const head = Buffer.concat([modelHead(model), Buffer.of(pictures.length)]);
  const tail: Uint8Array[] = [];
  for (const picture of pictures) {
    const size = u32("the size of a picture", picture.data.byteLength);
    tail.push(Buffer.concat([pictureHead(picture), size]), ...nonEmpty(picture.data));
  }
  return new Message(MessageType.inferBatch, encodeOptions(options), head, tail);
}

/** CACHE_FRAME. */
export function cacheFrameMessage(frameId: number, picture: WirePicture, options: WireOptions): Message {
  const head = Buffer.concat([u32("frameId", frameId), pictureHead(picture)]);
  return new Message(MessageType.cacheFrame, encodeOptions(options), head, nonEmpty(picture.data));
}

/** INFER_CACHED. */
export function inferCachedMessage(model: number, frameId: number, options: WireOptions): Message {
  const head = Buffer.concat([modelHead(model), u32("frameId", frameId)]);
  return new Message(MessageType.inferCached, encodeOptions(options), head, []);
}

/** INFER_SHARED. */
export function inferSharedMessage(model: number, picture: RegionPicture, options: WireOptions): Message {
  if (typeof picture.offset === "number") checkRange("offset", picture.offset, Number.MAX_SAFE_INTEGER);
  const offset = Buffer.allocUnsafe(8);
  offset.writeBigUInt64LE(BigInt(picture.offset));
  const head = Buffer.concat([
    modelHead(model),
    u32("regionId", picture.regionId),
    offset,
    pictureHead(picture),
    u32("size", picture.size),
  ]);
  return new Message(MessageType.inferShared, encodeOptions(options), head, []);
}

/** TASK. */
export function taskMessage(
  model: number,
  params: JsonObject,
  attachments: readonly Uint8Array[],
  options: WireOptions,
): Message {
  const text = encodeJson(params);
  const head = Buffer.concat([modelHead(model), u32("the length of params", text.length), text]);
  const tail: Uint8Array[] = [];
  for (const attachment of attachments) {
    tail.push(u32("the size of an attachment", attachment.byteLength), ...nonEmpty(attachment));
  }
  return new Message(MessageType.task, encodeOptions(options), head, tail);
}

/** STREAM_DATA: the parts are one piece of data. */
export function streamDataMessage(streamId: number, parts: readonly Uint8Array[]): Message {
  return new Message(MessageType.streamData, undefined, u32("streamId", streamId), parts.flatMap(nonEmpty));
}

/** STREAM_END. */
export function streamEndMessage(streamId: number): Message {
  return new Message(MessageType.streamEnd, undefined, u32("streamId", streamId), []);
}

/**
 * Check a slot's index.
 *
 * @throws {@link WorkerError} `bad_request`
 */
function checkIndex(index: number): void {
  checkRange("the index of a model", index, MOST_INDEX);
}

/**
 * Check a number that takes four bytes.
 *
 * @throws {@link WorkerError} `bad_request`
 */
function checkU32(name: string, value: number): void {
  checkRange(name, value, MOST_U32);
}

function encodeJson(value: JsonObject): Buffer {
  try {
    return Buffer.from(JSON.stringify(value), "utf8");
  } catch (error) {
    throw new WorkerError("bad_request", `this cannot be written as JSON: ${String(error)}`, {
      cause: error,
    });
  }
}

function modelHead(model: number): Buffer {
  checkIndex(model);
  return Buffer.of(model);
}

function pictureHead({ width, height, format }: Pick<WirePicture, "width" | "height" | "format">): Buffer {
  const code = pixelFormatCode(format);
  if (code === undefined) throw new WorkerError("bad_request", `no pixel format is called ${String(format)}`);
  checkU32("width", width);
  checkU32("height", height);
  const head = Buffer.allocUnsafe(9);
  head.writeUInt32LE(width, 0);
  head.writeUInt32LE(height, 4);
  head[8] = code;
  return head;
}

function u32(name: string, value: number): Buffer {
  checkU32(name, value);
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32LE(value, 0);
  return bytes;
}

function checkRange(name: string, value: number, most: number): void {
  if (!Number.isInteger(value) || value < 0 || value > most) {
    throw new WorkerError(
      "bad_request",
      `${name} must be a whole number from 0 to ${most}, got ${String(value)}`,
    );
  }
}

/** As the rest of a packet; also refuses what is no bytes. */
function nonEmpty(data: Uint8Array): Uint8Array[] {
  if (!(data instanceof Uint8Array)) {
    throw new WorkerError("bad_request", `pixels must be a Uint8Array, got ${typeof data}`);
  }
  return data.byteLength === 0 ? [] : [data];
}
