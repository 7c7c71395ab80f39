// A request on its way: it waits for room, is sent, is answered. It may be given up at any time.
import { type JsonObject, WorkerError } from "../protocol/errors.js";
import type { Message } from "../protocol/message.js";
import { onAbort } from "./aborts.js";

/**
 * How a call waits and what it counts.
 *
 * - `command`: passes by waiting data requests
 * - `ordered`: a command that keeps its place among them, because it takes away what they may need
 * - `data`: counts in the budgets
 * - `stream`: a command that is answered until its stream ends; it counts nowhere, and can be cancelled
 * - `unanswered`: data that nobody answers; it is over when the pipe has taken it
 */
export type Lane = "command" | "ordered" | "data" | "stream" | "unanswered";

/** Who waits for a call. Exactly one of `done` and `fail` is called, once. */
export interface Waiter {
  /** An answer that is not the final one, and how many bytes it had. */
  part?(answer: JsonObject, bytes: number): void;
  /** The final answer, which is no error. */
  done(answer: JsonObject): void;
  /** There is no such answer. */
  fail(error: WorkerError): void;
}

/** What else a call may have. */
export interface CallSettings {
  /** Grows with each call; those of the library's own need none, as they are never sent again. */
  readonly sequence?: number | undefined;
  /** How often it may be sent again when its worker dies. */
  readonly retries?: number | undefined;
  /** Its worker uses CPU for long without a word: a load, a warm-up. */
  readonly heavy?: boolean | undefined;
  /** It may go on for ever: the end of its worker ends it, and does not wait for it. */
  readonly endless?: boolean | undefined;
  /** Called once, when the worker cannot read any more what the call points to. */
  readonly free?: (() => void) | undefined;
  /**
   * Called once, when all is said, also where the caller has given up long before: the answer, its error, or
   * neither.
   */
  readonly over?: ((answer: JsonObject | undefined, error: WorkerError | undefined) => void) | undefined;
}

/** `settled` is a call whose caller has been told, and whose id is still booked. */
type CallState = "waiting" | "sent" | "settled" | "over";

/** What a call waits in. */
export interface Waiting {
  remove(call: Call): void;
}

/** Node's timers know no longer time; so long is for ever. */
const MOST_TIMER_MS = 2 ** 31 - 1;

/** A request on its way. */
export class Call {
  /** Grows with each call: the order in which they were made. */
  readonly sequence: number;
  readonly message: Message;
  readonly lane: Lane;
  readonly heavy: boolean;
  readonly endless: boolean;
  /** Under which it was sent last. */
  id = 0;
  /** Where it waits, if anywhere. */
  line: Waiting | undefined;
  /** Links of the queue that it waits in. */
  next: Call | undefined;
  /** Links of the queue that it waits in. */
  previous: Call | undefined;
  #state: CallState = "waiting";
  #retries: number;
  #parts = 0;
  readonly #waiter: Waiter;
  #free: (() => void) | undefined;
  #over: CallSettings["over"];
  #disarm: (() => void) | undefined;

  constructor(message: Message, lane: Lane, waiter: Waiter, settings: CallSettings = {}) {
    this.message = message;
    this.lane = lane;
    this.sequence = settings.sequence ?? 0;
    this.heavy = settings.heavy ?? false;
    this.endless = settings.endless ?? false;
    this.#waiter = waiter;
    this.#retries = settings.retries ?? 0;
    this.#free = settings.free;
    this.#over = settings.over;
  }

  /** Whether it is in a line. */
  get waiting(): boolean {
    return this.#state === "waiting";
  }

  /** Whether its id is booked. */
  get booked(): boolean {
    return this.#state === "sent" || this.#state === "settled";
  }

  /** Whether its caller waits no more. */
  get settled(): boolean {
    return this.#state === "settled" || this.#state === "over";
  }

  /** Give up when a signal aborts or the time is over; `giveUp` is told the error. */
  arm(
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    giveUp: (error: WorkerError) => void,
  ): void {
    if (signal === undefined && timeoutMs === undefined) return;
    const abort = (): void => giveUp(cancelledBy(signal));
    const timer =
      timeoutMs === undefined || timeoutMs > MOST_TIMER_MS
        ? undefined
        : setTimeout(
            () => giveUp(new WorkerError("timed_out", `no answer within ${timeoutMs} ms`)),
            timeoutMs,
          );
    const deafen = signal === undefined ? undefined : onAbort(signal, abort);
    this.#disarm = (): void => {
      clearTimeout(timer);
      deafen?.();
    };
  }

  /** It goes out under an id. */
  markSent(id: number): void {
    this.id = id;
    this.#state = "sent";
  }

  /** Back into a line: its worker died. Whether that may be. */
  takeRetry(): boolean {
    if (this.#state !== "sent" || this.#retries < 1 || this.#parts > 0) return false;
    this.#retries -= 1;
    this.#state = "waiting";
    return true;
  }

  /** Hand an answer on that is not the final one. */
  part(answer: JsonObject, bytes: number): void {
    this.#parts += 1;
    if (this.#state === "sent") this.#waiter.part?.(answer, bytes);
  }

  /** The final answer has come. */
  finish(answer: JsonObject, error: WorkerError | undefined): void {
    const told = this.settled;
    this.#end(answer, error);
    if (told) return;
    if (error === undefined) this.#waiter.done(answer);
    else this.#waiter.fail(error);
  }

  /** Tell the caller at once that there will be no answer; a booked id stays so. */
  fail(error: WorkerError): void {
    if (this.settled) return;
    if (this.#state === "sent") {
      this.#state = "settled";
      this.#letGo();
    } else {
      this.#end(undefined, undefined);
    }
    this.#waiter.fail(error);
  }

  /** Its worker is gone, but may still read what the call points to: `release` follows. */
  lose(error: WorkerError): void {
    if (this.#state === "over") return;
    const free = this.#free;
    this.#free = undefined;
    const told = this.settled;
    this.#end(undefined, undefined);
    this.#free = free;
    if (!told) this.#waiter.fail(error);
  }

  /** Nobody reads any more what it points to. */
  release(): void {
    const free = this.#free;
    this.#free = undefined;
    free?.();
  }

  #end(answer: JsonObject | undefined, error: WorkerError | undefined): void {
    this.#state = "over";
    this.#letGo();
    this.release();
    const over = this.#over;
    this.#over = undefined;
    over?.(error === undefined ? answer : undefined, error);
  }

  #letGo(): void {
    this.#disarm?.();
    this.#disarm = undefined;
  }
}

/** What a caller is told whose signal aborted. */
export function cancelledBy(signal: AbortSignal | undefined): WorkerError {
  return new WorkerError("cancelled", "the call was cancelled", { cause: signal?.reason });
}
