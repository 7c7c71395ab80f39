// One worker's pipes: which call is open under which id, what may go out, and whose answer this is.
import type { Readable, Writable } from "node:stream";
import { errorOf, isFinal, parseAnswer } from "../protocol/answer.js";
import { WorkerError } from "../protocol/errors.js";
import { commandMessage } from "../protocol/message.js";
import { ResponseDecoder, type ResponsePacket } from "../protocol/responseDecoder.js";
import { Call } from "./call.js";
import { Line } from "./line.js";

/** What may be in flight at once. */
export interface Budget {
  readonly requests: number;
  readonly payloadBytes: number;
}

/** What a connection tells the generation that it belongs to. */
export interface ConnectionListener {
  /** Bytes have come. */
  onBytes(): void;
  /** The pipe has taken a packet wholly. */
  onProgress(): void;
  /** The worker cannot be understood any more. */
  onBroken(error: WorkerError): void;
  /** Something was answered, or has gone out. */
  onChange(): void;
}

/** The id of the handshake. */
const HANDSHAKE_ID = 0;
const MOST_ID = 0xffff_ffff;
/** Packets in the stream: one on its way into the pipe, and one behind it. */
const MOST_PACKETS = 2;
/** Commands that are not answered yet; the worker refuses more than 256. */
const MOST_COMMANDS = 128;

const IGNORED = { done(): void {}, fail(): void {} };

/** One worker's pipes. */
export class Connection {
  /** What is to go out besides the library's own commands; a generation that serves has the callers' line. */
  feed: Line | undefined;
  /** What may be in flight; known when the worker is ready. */
  budget: Budget = { requests: 1, payloadBytes: 0 };
  readonly #own = new Line();
  readonly #stdin: Writable;
  readonly #listener: ConnectionListener;
  readonly #decoder: ResponseDecoder;
  readonly #open = new Map<number, Call>();
  #lastId = HANDSHAKE_ID;
  #packets = 0;
  #requests = 0;
  #payloadBytes = 0;
  #commands = 0;
  #heavy = 0;
  #closed = false;
  #gone: WorkerError | undefined;
  #pumping = false;
  /** Whether the last to go out, where there was a choice, was data of a stream. */
  #streamsLast = false;

  constructor(stdin: Writable, stdout: Readable, listener: ConnectionListener, maxResponseBytes?: number) {
    this.#stdin = stdin;
    this.#listener = listener;
    this.#decoder = new ResponseDecoder(maxResponseBytes);
    stdin.on("error", () => {}); // the worker reads no more: its end follows, and says why
    stdout.on("error", () => {});
    stdout.on("data", (chunk: Buffer) => this.#receive(chunk));
  }

  /** How many calls are open. */
  get open(): number {
    return this.#open.size;
  }

  /** Whether a call is open that comes to its end by itself. */
  get busy(): boolean {
    return [...this.#open.values()].some(({ endless }) => !endless);
  }

  /** Data requests in flight. */
  get requests(): number {
    return this.#requests;
  }

  /** Payload bytes in flight. */
  get payloadBytes(): number {
    return this.#payloadBytes;
  }

  /** Whether the worker may use CPU for long without a word. */
  get heavy(): boolean {
    return this.#heavy > 0;
  }

  /** Whether everything that was handed over is in the pipe. */
  get flushed(): boolean {
    return this.#packets === 0 && this.#own.empty;
  }

  /** Send the configuration. */
  shakeHands(call: Call): void {
    this.#send(call, HANDSHAKE_ID);
  }

  /** Send a call of the library's own as soon as there is room. */
  submit(call: Call): void {
    if (this.#gone !== undefined) {
      call.fail(this.#gone);
      return;
    }
    this.#own.add(call);
    this.pump();
  }

  /** Whether a data request would go out at once. */
  hasRoom(payloadBytes: number): boolean {
    if (this.#closed || this.#packets >= MOST_PACKETS || !this.#own.empty) return false;
    return this.#fits(payloadBytes);
  }

  /** Send what there is room for. */
  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    for (let next = this.#take(); next !== undefined; next = this.#take()) this.#send(next, this.#freeId());
    this.#pumping = false;
  }

  /** Whether a call is open here. */
  holds(call: Call): boolean {
    return this.#open.get(call.id) === call;
  }

  /** Give a call up that is open here: its caller is told at once, the worker is asked to let it go. */
  abandon(call: Call, error: WorkerError): void {
    call.fail(error);
    if (call.lane !== "data" && call.lane !== "stream") return;
    this.submit(new Call(commandMessage({ cmd: "cancel", requestId: call.id }), "command", IGNORED));
  }

  /** Send nothing more; answers are still taken. */
  stop(): void {
    this.#closed = true;
  }

  /** Send what is in the stream and nothing more: the worker answers what it has and ends. */
  endWriting(): void {
    this.stop();
    this.#stdin.end();
  }

  /** Send nothing more, and no answer will come: gives back what was open. */
  close(): Call[] {
    this.stop();
    const open = [...this.#open.values()];
    this.#open.clear();
    this.#requests = 0;
    this.#payloadBytes = 0;
    this.#commands = 0;
    this.#heavy = 0;
    return open;
  }

  /** Reject the library's own calls that have not gone out, and all later ones. */
  failOwn(error: WorkerError): void {
    this.#gone = error;
    this.#own.failAll(error);
  }

  #fits(payloadBytes: number): boolean {
    if (this.#requests === 0) return true;
    return (
      this.#requests < this.budget.requests && this.#payloadBytes + payloadBytes <= this.budget.payloadBytes
    );
  }

  #take(): Call | undefined {
    if (this.#closed || this.#packets >= MOST_PACKETS) return undefined;
    for (const line of [this.#own, this.feed]) {
      const call = this.#commands < MOST_COMMANDS ? line?.nextCommand : undefined;
      if (call !== undefined) return taken(line, call);
    }
    return this.#takeOther();
  }

  /** Data of streams and the callers' requests take turns; all else of the library's own goes first. */
  #takeOther(): Call | undefined {
    const own = this.#own.nextOther;
    const next = this.feed?.nextOther;
    const other = next?.lane === "data" && !this.#fits(next.message.payloadBytes) ? undefined : next;
    if (own === undefined || (own.lane === "unanswered" && other !== undefined && this.#streamsLast)) {
      this.#streamsLast = false;
      return other && taken(this.feed, other);
    }
    if (own.lane === "data" && !this.#fits(own.message.payloadBytes)) return undefined;
    this.#streamsLast = own.lane === "unanswered";
    return taken(this.#own, own);
  }

  #freeId(): number {
    do {
      this.#lastId = this.#lastId === MOST_ID ? HANDSHAKE_ID + 1 : this.#lastId + 1;
    } while (this.#open.has(this.#lastId));
    return this.#lastId;
  }

  #send(call: Call, id: number): void {
    call.markSent(id);
    if (call.lane !== "unanswered") {
      this.#open.set(id, call);
      this.#count(call, 1);
    }
    this.#packets += 1;
    const parts = call.message.parts(id);
    const last = parts.length - 1;
    this.#stdin.cork();
    for (const [index, part] of parts.entries()) {
      if (index < last) this.#stdin.write(part);
      else this.#stdin.write(part, (error) => this.#written(call, error));
    }
    this.#stdin.uncork();
  }

  #written(call: Call, error: Error | null | undefined): void {
    this.#packets -= 1;
    if (error !== null && error !== undefined) {
      this.#closed = true; // nobody reads any more; what is open stays so until the end is known
      if (call.lane === "unanswered")
        call.fail(new WorkerError("worker_died", "the worker reads no more", { cause: error }));
      return;
    }
    if (call.lane === "unanswered") call.finish({}, undefined);
    this.#listener.onProgress();
    this.pump();
    this.#listener.onChange();
  }

  #receive(chunk: Buffer): void {
    this.#listener.onBytes();
    this.#decoder.feed(chunk);
    try {
      for (let packet = this.#decoder.next(); packet !== undefined; packet = this.#decoder.next()) {
        this.#accept(packet);
      }
    } catch (error) {
      if (!(error instanceof WorkerError)) throw error;
      this.#listener.onBroken(error);
      return;
    }
    this.pump();
    this.#listener.onChange();
  }

  #accept({ id, body }: ResponsePacket): void {
    const call = this.#open.get(id);
    if (call === undefined) {
      if (id === HANDSHAKE_ID) throw lostFraming(body);
      return; // as an error to data of a stream that has ended
    }
    const answer = parseAnswer(body);
    if (!isFinal(answer)) {
      call.part(answer, body.length);
      return;
    }
    this.#open.delete(id);
    this.#count(call, -1);
    call.finish(answer, errorOf(answer));
  }

  #count(call: Call, sign: 1 | -1): void {
    if (call.heavy) this.#heavy += sign;
    if (call.lane === "data") {
      this.#requests += sign;
      this.#payloadBytes += sign * call.message.payloadBytes;
    } else if (call.lane !== "stream") {
      this.#commands += sign;
    }
  }
}

function taken(line: Line | undefined, call: Call): Call {
  line?.remove(call);
  return call;
}

/** Under the handshake's id the worker says that it does not know where the next packet begins. */
function lostFraming(body: Buffer): WorkerError {
  const answer = parseAnswer(body);
  const text = errorOf(answer)?.message ?? "an answer that nobody waits for";
  return new WorkerError("protocol_violation", `the worker has lost the packets: ${text}`, { answer });
}
