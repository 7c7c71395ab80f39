// Bytes from the worker into answers. Answers are views into the chunks that they came in; only one that is
// spread over several chunks is put together, once, when its last byte is there.
import { WorkerError } from "./errors.js";

/** An answer whose JSON is not parsed yet. */
export interface ResponsePacket {
  /** Of the request. */
  readonly id: number;
  /** The JSON text in UTF-8: a view, good until the caller lets go of it. */
  readonly body: Buffer;
}

const LENGTH_BYTES = 4;
const HEAD_BYTES = 8;
/** The length counts the id. */
const LEAST_LENGTH = 4;

/** The longest answer that is taken: far above any, far below what would hurt a host. */
export const MAX_RESPONSE_BYTES = 256 * 1024 * 1024;

/** Takes bytes as they come, split anywhere: `feed` stores, `next` parses. */
export class ResponseDecoder {
  readonly #maxBytes: number;
  #chunks: Buffer[] = [];
  /** Where in the first chunk the next packet begins. */
  #start = 0;
  /** Bytes from there on. */
  #held = 0;

  constructor(maxBytes: number = MAX_RESPONSE_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes of an answer that has not come whole are held. */
  get midPacket(): boolean {
    return this.#held > 0;
  }

  /** Add bytes. They are kept as they are and must not change. */
  feed(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#held += chunk.length;
  }

  /**
   * The next answer that has come whole; undefined: more bytes are needed.
   *
   * @throws {@link WorkerError} `protocol_violation`: a length that no answer can have.
   */
  next(): ResponsePacket | undefined {
    if (this.#held < LENGTH_BYTES) return undefined;
    const length = this.#peekU32(0);
    if (length < LEAST_LENGTH || length > this.#maxBytes) {
      throw new WorkerError("protocol_violation", `the worker wrote an answer of length ${length}`);
    }
    if (this.#held < LENGTH_BYTES + length) return undefined;
    const id = this.#peekU32(LENGTH_BYTES);
    this.#take(HEAD_BYTES);
    return { id, body: this.#take(length - LEAST_LENGTH) };
  }

  #peekU32(offset: number): number {
    const [first] = this.#chunks;
    const begin = this.#start + offset;
    if (first !== undefined && begin + 4 <= first.length) return first.readUInt32LE(begin);
    return this.#gather(HEAD_BYTES).readUInt32LE(offset);
  }

  /** The next bytes as one buffer, those that are there. */
  #gather(bytes: number): Buffer {
    const parts: Buffer[] = [];
    let start = this.#start;
    let wanted = bytes;
    for (const chunk of this.#chunks) {
      if (wanted <= 0) break;
      const part = chunk.subarray(start, start + wanted);
      parts.push(part);
      wanted -= part.length;
      start = 0;
    }
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
  }

  #take(bytes: number): Buffer {
    const taken = this.#gather(bytes);
    this.#held -= bytes;
    let position = this.#start + bytes;
    let used = 0;
    for (const chunk of this.#chunks) {
      if (position < chunk.length) break;
      position -= chunk.length;
      used += 1;
    }
    if (used > 0) this.#chunks = this.#chunks.slice(used);
    this.#start = position;
    return taken;
  }
}
