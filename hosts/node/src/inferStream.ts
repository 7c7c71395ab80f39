// An open stream of pictures: events one way, data the other, as far as the worker has granted credit.
import type { Waiter } from "./connection/call.js";
import { Parts } from "./parts.js";
import { type JsonObject, WorkerError } from "./protocol/errors.js";
import type { StreamEvent } from "./protocol/results.js";
import type { InferStream, StreamSource } from "./stream.js";

/** How a stream speaks to its worker. */
export interface StreamLink {
  /** Send a piece of data; resolves when the pipe has taken it. */
  data(bytes: Uint8Array): Promise<void>;
  /** Say that there is no more data. */
  end(): Promise<void>;
  /** Ask the worker to stop. */
  close(): void;
}

/** Where data goes piece by piece, as the credit allows; elsewhere a piece is a frame and goes whole. */
const DIVISIBLE: Readonly<Record<StreamSource["type"], boolean | undefined>> = {
  push: true,
  packets: false,
  file: undefined,
  url: undefined,
  camera: undefined,
  screen: undefined,
};

/** The caller's end of a stream. */
export class OpenStream implements InferStream, Waiter {
  readonly #parts: Parts;
  readonly #link: StreamLink;
  readonly #divisible: boolean | undefined;
  #credit = 0;
  /** Credit that came behind events which nobody has taken yet. */
  #heldCredit = 0;
  #onCredit: (() => void) | undefined;
  #failure: WorkerError | undefined;
  #writing: Promise<void> = Promise.resolve();
  #finished: () => void = () => {};
  readonly #over: Promise<void>;

  constructor(type: StreamSource["type"], link: StreamLink) {
    this.#link = link;
    this.#divisible = DIVISIBLE[type];
    this.#parts = new Parts(() => link.close());
    this.#over = new Promise((resolve) => {
      this.#finished = resolve;
    });
  }

  /** An event has come. */
  part(answer: JsonObject, bytes: number): void {
    if (answer.event === "credit") {
      this.#heldCredit += numberOf(answer.bytes);
      if (!this.#parts.behind) this.#grant();
      return;
    }
    if (answer.event === "opened") {
      this.#heldCredit += numberOf(answer.credit);
      this.#grant();
    }
    this.#parts.part(answer, bytes);
  }

  /** The final event has come. */
  done(answer: JsonObject): void {
    this.#parts.done(answer);
    this.#stop(new WorkerError("closed", "the stream has ended"));
  }

  /** The stream ended by an error. */
  fail(error: WorkerError): void {
    this.#parts.fail(error);
    this.#stop(error);
  }

  /** {@inheritDoc InferStream.write} */
  write(data: Uint8Array): Promise<void> {
    const written = this.#writing.then(() => this.#write(data));
    this.#writing = written.catch(() => {});
    return written;
  }

  /** {@inheritDoc InferStream.end} */
  end(): Promise<void> {
    const ended = this.#writing.then(() => {
      if (this.#failure !== undefined) throw this.#failure;
      return this.#link.end();
    });
    this.#writing = ended.catch(() => {});
    return ended;
  }

  /** {@inheritDoc InferStream.close} */
  async close(): Promise<void> {
    await this.return();
    await this.#over;
  }

  /** The next event. */
  async next(): Promise<IteratorResult<StreamEvent>> {
    const result = this.#parts.next();
    if (!this.#parts.behind) this.#grant();
    return (await result) as IteratorResult<StreamEvent>;
  }

  /** Leave the loop: the stream ends. */
  async return(): Promise<IteratorResult<StreamEvent>> {
    await this.#parts.return();
    return { value: undefined, done: true };
  }

  /** The stream is its own iterator. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  async #write(data: Uint8Array): Promise<void> {
    if (this.#divisible === undefined)
      throw new WorkerError("bad_request", "the worker reads this stream by itself");
    const least = this.#divisible ? Math.min(1, data.byteLength) : data.byteLength;
    let written = 0;
    do {
      await this.#until(least);
      const size = Math.min(this.#credit, data.byteLength - written);
      this.#credit -= size;
      await this.#link.data(data.subarray(written, written + size));
      written += size;
    } while (written < data.byteLength);
  }

  async #until(credit: number): Promise<void> {
    while (this.#failure === undefined && this.#credit < credit) {
      await new Promise<void>((resolve) => {
        this.#onCredit = resolve;
      });
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  #grant(): void {
    this.#credit += this.#heldCredit;
    this.#heldCredit = 0;
    this.#onCredit?.();
  }

  #stop(error: WorkerError): void {
    this.#failure = error;
    this.#onCredit?.();
    this.#finished();
  }
}

function numberOf(value: unknown): number {
  return typeof value === "number" && value > 0 ? value : 0;
}
