// Streams of pictures, as a caller sees them.
import type { CallOptions } from "./options.js";
import type { PacketFrame } from "./packetFrame.js";
import type { StreamEvent } from "./protocol/streamEvents.js";
import type { StreamWireOptions } from "./protocol/streamOptions.js";
import type { WireOptions } from "./protocol/wireOptions.js";

/** The host writes a container file as it grows: MP4, MKV, WebM, MPEG-TS. */
export interface PushSource {
  /** Which source this is. */
  readonly type: "push";
}

/** The host writes frames, one a `write`: see `packetFrame`. */
export interface PacketsSource {
  /** Which source this is. */
  readonly type: "packets";
}

/** A video file that the worker can read. */
export interface FileSource {
  /** Which source this is. */
  readonly type: "file";
  /** On the worker's machine. */
  readonly path: string;
  /** The first frame; default 0. */
  readonly startFrame?: number | undefined;
  /** The first frame that is left out; default: all to the end. */
  readonly endFrame?: number | null | undefined;
}

/** A place in the network: rtsp, rtsps (over TCP), http or https. */
export interface UrlSource {
  /** Which source this is. */
  readonly type: "url";
  /** Where it is. */
  readonly url: string;
  /** Whether it is tried again when it breaks off; default: true for RTSP, false for HTTP. */
  readonly reconnect?: boolean | undefined;
  /** How many milliseconds it may say nothing; default 10,000. */
  readonly timeoutMs?: number | undefined;
}

/** A camera of the worker's machine. */
export interface CameraSource {
  /** Which source this is. */
  readonly type: "camera";
  /** Its number; default 0. */
  readonly index?: number | undefined;
  /** What it is asked for, in pixels; default 640. */
  readonly width?: number | undefined;
  /** What it is asked for, in pixels; default 480. */
  readonly height?: number | undefined;
  /** What it is asked for; default 30. */
  readonly fps?: number | undefined;
}

/** The screen of the worker's machine. */
export interface ScreenSource {
  /** Which source this is. */
  readonly type: "screen";
  /** x, y, width, height in pixels of the virtual screen; default: all of it. */
  readonly region?: readonly [number, number, number, number] | null | undefined;
  /** How often it is looked at; default 30. */
  readonly fps?: number | undefined;
}

/** Where a stream's pictures come from; `type` says which. */
export type StreamSource = PushSource | PacketsSource | FileSource | UrlSource | CameraSource | ScreenSource;

/**
 * Options of `openStream`: which frames are looked at, how each is inferred, and how long the stream may live
 * (`signal` and `timeoutMs` hold for all of it: the worker is told to stop).
 */
export interface StreamOptions extends StreamWireOptions, WireOptions, CallOptions {}

/**
 * An open stream: its events are iterated until the final one; leaving the loop ends the stream. An error that ends
 * it is thrown after the events that came before it; its `answer` tells `frames` and `dropped`.
 */
export interface InferStream extends AsyncIterableIterator<StreamEvent> {
  /** Resolves when the stream is over, in whatever way. Never rejects. */
  readonly ended: Promise<void>;
  /**
   * Send bytes of a "push" stream, or one whole frame of a "packets" stream, as soon as the worker has granted
   * credit for them. They must not change until this resolves. Events that nobody takes hold credit back: write and
   * read at the same time.
   *
   * @throws {@link WorkerError} why the stream has ended; `bad_request`: this stream takes no such data; `too_large`:
   * the frame cannot be sent in parts, and is larger than the credit allows. A frame that is refused is not sent, and
   * the stream goes on.
   */
  write(data: Uint8Array | PacketFrame): Promise<void>;
  /**
   * Say that nothing more will be written. The events go on until the final one.
   *
   * @throws {@link WorkerError} why the stream has ended.
   */
  end(): Promise<void>;
  /** End the stream; what is left of its events is dropped. Resolves when it is over. */
  close(): Promise<void>;
}
