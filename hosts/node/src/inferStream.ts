// An open stream of pictures: events one way, data the other, as far as the worker has granted credit.
import type { Waiter } from "./connection/call.js";
import { type Cuttable, cuttableFrame, type PacketFrame, Remainder } from "./packetFrame.js";
import { Parts } from "./parts.js";
import { type JsonObject, WorkerError } from "./protocol/errors.js";
import { type StreamEvent, streamEventOf } from "./protocol/streamEvents.js";
import type { InferStream, StreamSource } from "./stream.js";

/** How a stream speaks to its worker. */
export interface StreamLink {
  /** The longest packet that the worker takes, as data. */
  readonly mostBytes: number;
  /** Send a piece of data; resolves when the pipe has taken it. */
  data(parts: readonly Uint8Array[]): Promise<void>;
  /** Say that there is no more data. */
  end(): Promise<void>;
  /** Ask the worker to stop. */
  close(): void;
}

/** More of one stream does not go at once: what others send would wait behind it in the pipe. */
const MOST_AT_ONCE = 1 << 20;
/** The worker gives credit back in parts of this share, and the last one late: what cannot be cut does without. */
const WITHHELD = 1 / 16;

/** How data are cut that are written into a source; the others take none. */
const CUTS: Readonly<Partial<Record<StreamSource["type"], (data: Uint8Array | PacketFrame) => Cuttable>>> = {
  push(data) {
    if (!(data instanceof Uint8Array)) throw new WorkerError("bad_request", 'a "push" stream takes bytes');
    return { parts: [data], least: Math.min(1, data.byteLength) };
  },
  packets: cuttableFrame,
};

/** The caller's end of a stream. */
export class OpenStream implements InferStream, Waiter {
  readonly ended: Promise<void>;
  readonly #parts: Parts;
  readonly #link: StreamLink;
  readonly #cut: ((data: Uint8Array | PacketFrame) => Cuttable) | undefined;
  #credit = 0;
  /** All that may be under way at once; known when the stream is open. */
  #window = 0;
  #open = false;
  /** Credit that came behind events which nobody has taken yet. */
  #heldCredit = 0;
  #onCredit: (() => void) | undefined;
  #failure: WorkerError | undefined;
  #writing: Promise<void> = Promise.resolve();
  #finished: () => void = () => {};

  constructor(type: StreamSource["type"], link: StreamLink) {
    this.#link = link;
    this.#cut = CUTS[type];
    this.#parts = new Parts((error) => {
      this.#refuse(error);
      link.close();
    });
    this.ended = new Promise((resolve) => {
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
      this.#open = true;
      this.#window = numberOf(answer.credit);
      this.#heldCredit += this.#window;
      this.#grant();
    }
    this.#parts.part(streamEventOf(answer), bytes);
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
  write(data: Uint8Array | PacketFrame): Promise<void> {
    return this.#inTurn(() => this.#write(data));
  }

  /** {@inheritDoc InferStream.end} */
  end(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#until(() => this.#open);
      await this.#send(() => this.#link.end());
    });
  }

  /** {@inheritDoc InferStream.close} */
  async close(): Promise<void> {
    await this.return();
    await this.ended;
  }

  /** The next event. */
  async next(): Promise<IteratorResult<StreamEvent>> {
    const result = this.#parts.next();
    if (!this.#parts.behind) this.#grant();
    return (await result) as unknown as IteratorResult<StreamEvent>;
  }

  /** Leave the loop: the stream ends. */
  async return(): Promise<IteratorResult<StreamEvent>> {
    this.#refuse(new WorkerError("closed", "the stream was closed"));
    await this.#parts.return();
    return { value: undefined, done: true };
  }

  /** The stream is its own iterator. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  /** After what is being written. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#writing.then(work);
    this.#writing = done.catch(() => {});
    return done;
  }

  async #write(data: Uint8Array | PacketFrame): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#cut === undefined)
      throw new WorkerError("bad_request", "the worker reads this stream by itself: nothing is written");
    const { parts, least } = this.#cut(data);
    const left = new Remainder(parts);
    if (left.bytes === 0) return;
    await this.#until(() => this.#open);
    this.#checkFits(least);
    const most = Math.max(least, Math.min(MOST_AT_ONCE, this.#link.mostBytes));
    for (let needed = least; left.bytes > 0; needed = 1) {
      await this.#until(() => this.#credit >= needed);
      const size = Math.min(this.#credit, most, left.bytes);
      this.#credit -= size;
      await this.#send(() => this.#link.data(left.take(size)));
    }
  }

  /** What cannot be cut must not wait for credit that never comes. */
  #checkFits(least: number): void {
    const most = Math.min(this.#window - Math.floor(this.#window * WITHHELD), this.#link.mostBytes);
    if (least <= most) return;
    throw new WorkerError(
      "too_large",
      `a frame of ${least} bytes cannot be sent in parts, and at most ${most} bytes may go at once:` +
        " raise limits.streamCreditBytes (and limits.maxPacketBytes) of the worker, or send smaller frames",
    );
  }

  /** Where the stream has ended, that is why nothing is sent, and not what became of the pipe. */
  async #send(send: () => Promise<void>): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      await send();
    } catch (error) {
      throw this.#failure ?? error;
    }
  }

  async #until(holds: () => boolean): Promise<void> {
    while (this.#failure === undefined && !holds()) {
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

  /** Nothing more is written. */
  #refuse(error: WorkerError): void {
    this.#failure ??= error;
    this.#onCredit?.();
  }

  #stop(error: WorkerError): void {
    this.#refuse(error);
    this.#finished();
  }
}

function numberOf(value: unknown): number {
  return typeof value === "number" && value > 0 ? value : 0;
}
