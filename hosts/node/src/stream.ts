// Streams of pictures, as a caller sees them.
import type { JsonObject } from "./protocol/errors.js";
import type { StreamEvent } from "./protocol/results.js";

/** Where a stream's pictures come from; `type` says which other keys it takes. */
export interface StreamSource extends JsonObject {
  /**
   * - `push`: the host writes a growing container file: MP4, MKV, WebM, TS
   * - `packets`: the host writes frames, one a `write`, each with the 17 bytes of its header
   * - all others: the worker reads by itself
   */
  readonly type: "push" | "packets" | "file" | "url" | "camera" | "screen";
}

/** An open stream: its events are iterated until the final one; leaving the loop ends the stream. */
export interface InferStream extends AsyncIterableIterator<StreamEvent> {
  /**
   * Send bytes of a "push" stream, or one frame of a "packets" stream, as soon as the worker has granted
   * credit for them. Events that nobody takes hold credit back.
   *
   * @throws {@link WorkerError} the stream has ended, with why.
   */
  write(data: Uint8Array): Promise<void>;
  /** Say that nothing more will be written. The events go on until the final one. */
  end(): Promise<void>;
  /** End the stream; what is left of its events is dropped. */
  close(): Promise<void>;
}
