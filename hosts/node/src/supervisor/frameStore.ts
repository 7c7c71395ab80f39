// The cached frames that the next worker is given.
import type { Message } from "../protocol/message.js";

interface KeptFrame {
  readonly message: Message;
  /** Of the call that cached it: an older one that is answered later does not count. */
  readonly sequence: number;
}

/** Frames by id, those used least recently first; holds the caller's own pixels. */
export class FrameStore {
  /** The most bytes that are kept. */
  budget = 0;
  readonly #frames = new Map<number, KeptFrame>();
  #bytes = 0;
  #sequence = 0;

  /** How many there are. */
  get size(): number {
    return this.#frames.size;
  }

  /** How many bytes they have. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The place of a call among those that change what is cached. */
  nextSequence(): number {
    this.#sequence += 1;
    return this.#sequence;
  }

  /** The worker has cached a frame. */
  keep(frameId: number, message: Message, sequence: number): void {
    const kept = this.#frames.get(frameId);
    if (kept !== undefined && kept.sequence > sequence) return;
    this.#drop(frameId);
    if (message.payloadBytes > this.budget) return;
    this.#frames.set(frameId, { message, sequence });
    this.#bytes += message.payloadBytes;
    for (const oldest of this.#frames.keys()) {
      if (this.#bytes <= this.budget) break;
      this.#drop(oldest);
    }
  }

  /** A call has left the id empty. */
  forget(frameId: number, sequence: number): void {
    const kept = this.#frames.get(frameId);
    if (kept !== undefined && kept.sequence < sequence) this.#drop(frameId);
  }

  /** A request has used a frame. */
  touch(frameId: number): void {
    const kept = this.#frames.get(frameId);
    if (kept === undefined) return;
    this.#frames.delete(frameId);
    this.#frames.set(frameId, kept);
  }

  /** What to send to the next worker, in the order of last use. */
  messages(): Message[] {
    return [...this.#frames.values()].map(({ message }) => message);
  }

  #drop(frameId: number): void {
    const kept = this.#frames.get(frameId);
    if (kept === undefined) return;
    this.#frames.delete(frameId);
    this.#bytes -= kept.message.payloadBytes;
  }
}
