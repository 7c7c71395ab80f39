// Writing into streams and reading from them, and where videos come from over HTTP.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import type { FrameEvent, InferStream, PacketFrame, StreamEvent } from "../src/api.js";
import { packetFrame } from "../src/packetFrame.js";
import { drawId } from "./support.js";

/** A container that grows. */
export const PUSH = { type: "push" } as const;
/** Frames one by one. */
export const PACKETS = { type: "packets" } as const;
const CHUNK = 64 * 1024;

/** Write all of it in chunks, and end. */
export async function upload(stream: InferStream, bytes: Uint8Array, chunk = CHUNK): Promise<void> {
  for (let done = 0; done < bytes.byteLength; done += chunk)
    await stream.write(bytes.subarray(done, done + chunk));
  await stream.end();
}

/** All events to the last. */
export async function collect(stream: AsyncIterable<StreamEvent>): Promise<StreamEvent[]> {
  const events: StreamEvent[] = [];
  for await (const event of stream) events.push(event);
  return events;
}

/** The frames among them. */
export function framesOf(events: readonly StreamEvent[]): FrameEvent[] {
  return events.filter((event) => event.event === "frame");
}

/** The next event of a kind; those before it are passed over. */
export async function until<Name extends StreamEvent["event"]>(
  stream: InferStream,
  name: Name,
): Promise<Extract<StreamEvent, { event: Name }>> {
  for (;;) {
    const { value, done } = await stream.next();
    if (done === true) throw new Error(`the stream ended before "${name}"`);
    if (value.event === name) return value as Extract<StreamEvent, { event: Name }>;
  }
}

/** Their numbers. */
export function numbersOf(events: readonly StreamEvent[]): number[] {
  return framesOf(events).map(({ frameNumber }) => frameNumber);
}

/** 0, and every `step`th number below `count`. */
export function upTo(count: number, step = 1): number[] {
  return Array.from({ length: Math.ceil(count / step) }, (_, index) => index * step);
}

/** What the last event tells. */
export function end(events: readonly StreamEvent[]): { frames: number; dropped: number; reason: string } {
  const last = events.at(-1);
  assert.ok(last?.event === "end", JSON.stringify(last));
  return { frames: last.frames, dropped: last.dropped, reason: last.reason };
}

/** A frame with a number that `fake:echo` reads back. */
export function rgb(pictureId: number, width: number, height: number): PacketFrame {
  const header = { timestampMs: 40 * pictureId, width, height, format: "rgb" } as const;
  return packetFrame(header, drawId(pictureId, width, height));
}

/** Run with an HTTP server on loopback. */
export async function serving(listener: RequestListener, run: (url: string) => Promise<void>): Promise<void> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    await run(`http://127.0.0.1:${(server.address() as AddressInfo).port}/clip.mkv`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}
