// Calls that wait for room: commands before data, each in the order of the calls.
import type { WorkerError } from "../protocol/errors.js";
import type { Call } from "./call.js";

/** A linked list, because any of its calls may be given up at any time. */
class Queue {
  first: Call | undefined;
  #last: Call | undefined;

  /** Put a call in its place by the order of the calls; nearly always that is the end. */
  add(call: Call): void {
    let before = this.#last;
    while (before !== undefined && before.sequence > call.sequence) before = before.previous;
    const after = before === undefined ? this.first : before.next;
    call.previous = before;
    call.next = after;
    if (before === undefined) this.first = call;
    else before.next = call;
    if (after === undefined) this.#last = call;
    else after.previous = call;
  }

  remove(call: Call): void {
    if (call.previous === undefined) this.first = call.next;
    else call.previous.next = call.next;
    if (call.next === undefined) this.#last = call.previous;
    else call.next.previous = call.previous;
    call.next = undefined;
    call.previous = undefined;
  }
}

/** Calls that wait for room. */
export class Line {
  readonly #commands = new Queue();
  readonly #others = new Queue();
  #data = 0;
  #payloadBytes = 0;

  /** The command that is next. */
  get nextCommand(): Call | undefined {
    return this.#commands.first;
  }

  /** What is next of all else. */
  get nextOther(): Call | undefined {
    return this.#others.first;
  }

  /** Whether nothing waits. */
  get empty(): boolean {
    return this.#commands.first === undefined && this.#others.first === undefined;
  }

  /** How many data requests wait. */
  get requests(): number {
    return this.#data;
  }

  /** How many payload bytes they have. */
  get payloadBytes(): number {
    return this.#payloadBytes;
  }

  /** Add a call in its place: one that is sent again goes before the calls that were made after it. */
  add(call: Call): void {
    call.line = this;
    this.#queueOf(call).add(call);
    this.#count(call, 1);
  }

  /** Take a call out: it goes out, or is given up. */
  remove(call: Call): void {
    call.line = undefined;
    this.#queueOf(call).remove(call);
    this.#count(call, -1);
  }

  /** Take all out and tell their callers. */
  failAll(error: WorkerError): void {
    for (const call of [...this.#all()]) {
      this.remove(call);
      call.fail(error);
    }
  }

  *#all(): Generator<Call> {
    for (let call = this.#commands.first; call !== undefined; call = call.next) yield call;
    for (let call = this.#others.first; call !== undefined; call = call.next) yield call;
  }

  #queueOf(call: Call): Queue {
    return call.lane === "command" || call.lane === "stream" ? this.#commands : this.#others;
  }

  #count(call: Call, sign: 1 | -1): void {
    if (call.lane !== "data") return;
    this.#data += sign;
    this.#payloadBytes += sign * call.message.payloadBytes;
  }
}
