// Answers in several parts as an async iterable.
import type { Waiter } from "./connection/call.js";
import { type JsonObject, WorkerError } from "./protocol/errors.js";

/** What may wait for a reader that does not come: then the call is given up. */
const MOST_BYTES = 64 * 1024 * 1024;

interface Part {
  readonly answer: JsonObject;
  readonly bytes: number;
}

interface Reader {
  resolve(result: IteratorResult<JsonObject>): void;
  reject(error: WorkerError): void;
}

/** Parts in their order, kept until somebody takes them. */
export class Parts implements AsyncIterableIterator<JsonObject>, Waiter {
  readonly #leave: (error: WorkerError) => void;
  #parts: Part[] = [];
  #bytes = 0;
  #readers: Reader[] = [];
  #ended = false;
  #error: WorkerError | undefined;

  /**
   * @param leave - nobody reads on: the worker is to stop
   */
  constructor(leave: (error: WorkerError) => void) {
    this.#leave = leave;
  }

  /** Whether the final part has come, or never will. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Whether parts wait for a reader. */
  get behind(): boolean {
    return this.#parts.length > 0;
  }

  /** A part has come. */
  part(answer: JsonObject, bytes: number): void {
    if (this.#ended) return;
    const reader = this.#readers.shift();
    if (reader !== undefined) {
      reader.resolve({ value: answer, done: false });
      return;
    }
    this.#parts.push({ answer, bytes });
    this.#bytes += bytes;
    if (this.#bytes <= MOST_BYTES) return;
    const error = new WorkerError("overloaded", `nobody took ${this.#bytes} bytes of this answer`);
    this.fail(error);
    this.#leave(error);
  }

  /** The final part has come. */
  done(answer: JsonObject): void {
    this.part(answer, 0);
    this.#end();
  }

  /** There will be no final part. What has come is still read before this is thrown. */
  fail(error: WorkerError): void {
    if (this.#ended) return;
    this.#error = error;
    this.#end();
  }

  /** The next part. */
  next(): Promise<IteratorResult<JsonObject>> {
    const part = this.#parts.shift();
    if (part !== undefined) {
      this.#bytes -= part.bytes;
      return Promise.resolve({ value: part.answer, done: false });
    }
    if (this.#ended) return this.#last();
    return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }));
  }

  /** Read no more. */
  return(): Promise<IteratorResult<JsonObject>> {
    this.#parts = [];
    this.#bytes = 0;
    const left = !this.#ended;
    this.#error = undefined;
    this.#end();
    if (left) this.#leave(new WorkerError("cancelled", "nobody reads on"));
    return Promise.resolve({ value: undefined, done: true });
  }

  /** The iterable is its own iterator. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  /** The error is thrown once; after it there is nothing. */
  #last(): Promise<IteratorResult<JsonObject>> {
    const error = this.#error;
    this.#error = undefined;
    return error === undefined ? Promise.resolve({ value: undefined, done: true }) : Promise.reject(error);
  }

  #end(): void {
    this.#ended = true;
    for (const reader of this.#readers.splice(0)) void this.#last().then(reader.resolve, reader.reject);
  }
}
