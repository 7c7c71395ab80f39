// Frames of a "packets" stream: the 17 bytes before each, and how they are cut into what is sent at once.
import { WorkerError } from "./protocol/errors.js";

/** What the bytes of a frame are: packed pixels, or one picture of a coded stream (H.264: Annex B). */
export type PacketFormat = "rgb" | "bgr" | "h264" | "vp8" | "jpeg";

/** What is said of a frame before its data. */
export interface PacketHeader {
  /** When it was taken, in milliseconds from any beginning; fractions are rounded. */
  readonly timestampMs: number;
  /** In pixels; may be 0 where the data tell it themselves: h264, vp8, jpeg. */
  readonly width: number;
  /** In pixels; may be 0 where the data tell it themselves: h264, vp8, jpeg. */
  readonly height: number;
  /** What the data are. */
  readonly format: PacketFormat;
}

/** A frame with its header; {@link packetFrame} makes it. */
export interface PacketFrame {
  /** 17 bytes. */
  readonly header: Uint8Array;
  /** The caller's own bytes. */
  readonly data: Uint8Array;
}

/** Another enumeration than that of the pixel formats. */
const FORMATS: readonly PacketFormat[] = ["rgb", "bgr", "h264", "vp8", "jpeg"];
const RAW_FORMATS = 2;
const HEADER_BYTES = 17;
const [WIDTH_OFFSET, HEIGHT_OFFSET, FORMAT_OFFSET] = [8, 12, 16];
const RAW_BYTES_PER_PIXEL = 3;
const MOST_U32 = 0xffff_ffff;

/**
 * A frame for `write` of a "packets" stream. The data are not copied.
 *
 * @throws {@link WorkerError} `bad_request`: a number or the format cannot be written.
 *
 * @example
 * ```ts
 * await stream.write(packetFrame({ timestampMs: 40, width: 1920, height: 1080, format: "rgb" }, pixels));
 * ```
 */
export function packetFrame(
  { timestampMs, width, height, format }: PacketHeader,
  data: Uint8Array,
): PacketFrame {
  const code = FORMATS.indexOf(format);
  if (code < 0)
    throw bad(`the format of a frame is one of ${FORMATS.join(", ")}, not ${JSON.stringify(format)}`);
  const time = Math.round(timestampMs);
  if (!Number.isSafeInteger(time) || time < 0)
    throw bad(`timestampMs must be a number from 0, got ${timestampMs}`);
  for (const [name, side] of Object.entries({ width, height })) {
    if (!Number.isInteger(side) || side < 0 || side > MOST_U32)
      throw bad(`${name} must be a whole number from 0 to ${MOST_U32}, got ${side}`);
  }
  const header = new Uint8Array(HEADER_BYTES);
  const view = new DataView(header.buffer);
  view.setBigUint64(0, BigInt(time), true);
  view.setUint32(WIDTH_OFFSET, width, true);
  view.setUint32(HEIGHT_OFFSET, height, true);
  view.setUint8(FORMAT_OFFSET, code);
  return { header, data };
}

/** What is to be written, and how little of it may go at once: 1 where it may be cut anywhere. */
export interface Cuttable {
  readonly parts: readonly Uint8Array[];
  readonly least: number;
}

/**
 * A frame as it is cut: that of "rgb" and "bgr" behind its header, as the worker takes what follows without a header
 * for its continuation; all others nowhere.
 *
 * @throws {@link WorkerError} `bad_request`: it has no header, or not all its pixels.
 */
export function cuttableFrame(frame: Uint8Array | PacketFrame): Cuttable {
  const parts = frame instanceof Uint8Array ? [frame] : [frame.header, frame.data];
  const [head] = parts;
  const bytes = parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
  if (head === undefined || head.byteLength < HEADER_BYTES) {
    throw bad(`a frame begins with a header of ${HEADER_BYTES} bytes: make it with packetFrame()`);
  }
  const view = new DataView(head.buffer, head.byteOffset, HEADER_BYTES);
  if (view.getUint8(FORMAT_OFFSET) >= RAW_FORMATS) return { parts, least: bytes };
  const [width, height] = [view.getUint32(WIDTH_OFFSET, true), view.getUint32(HEIGHT_OFFSET, true)];
  const pixels = width * height * RAW_BYTES_PER_PIXEL;
  if (bytes !== HEADER_BYTES + pixels) {
    throw bad(`a frame of ${width}x${height} pixels takes ${pixels} bytes, got ${bytes - HEADER_BYTES}`);
  }
  return { parts, least: HEADER_BYTES };
}

/** What is left of several pieces of memory; nothing is copied. */
export class Remainder {
  /** How many bytes are left. */
  bytes: number;
  #parts: readonly Uint8Array[];

  constructor(parts: readonly Uint8Array[]) {
    this.#parts = parts;
    this.bytes = parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  /** Take so many bytes from the front. */
  take(size: number): readonly Uint8Array[] {
    const taken: Uint8Array[] = [];
    const left: Uint8Array[] = [];
    let missing = size;
    for (const part of this.#parts) {
      const now = Math.min(missing, part.byteLength);
      if (now > 0) taken.push(part.subarray(0, now));
      if (now < part.byteLength) left.push(part.subarray(now));
      missing -= now;
    }
    this.#parts = left;
    this.bytes -= size - missing;
    return taken;
  }
}

function bad(text: string): WorkerError {
  return new WorkerError("bad_request", text);
}
