// Events of a start come before anybody can listen: they are kept until the first worker has been handed out.
import type { WorkerEvents } from "./events.js";

/** Of a start's log lines the last so many are kept. */
const MOST_KEPT = 1000;

type Name = keyof WorkerEvents;

/** Emits events in their order; those of the start when the start is over. */
export class EarlyEvents {
  readonly #emit: (name: Name, args: readonly unknown[]) => void;
  #kept: [Name, readonly unknown[]][] | undefined = [];

  constructor(emit: (name: Name, args: readonly unknown[]) => void) {
    this.#emit = emit;
  }

  /** Emit an event, now or later. */
  emit(name: Name, args: readonly unknown[]): void {
    if (this.#kept === undefined) {
      this.#now(name, args);
      return;
    }
    this.#kept.push([name, args]);
    if (this.#kept.length > MOST_KEPT) this.#kept.shift();
  }

  /** The start is over: whoever waits for it may add listeners before the kept ones are emitted. */
  open(): void {
    setImmediate(() => {
      const kept = this.#kept ?? [];
      this.#kept = undefined;
      for (const [name, args] of kept) this.#now(name, args);
    });
  }

  /** What a listener throws is its own fault, and not to disturb what the event is about. */
  #now(name: Name, args: readonly unknown[]): void {
    try {
      this.#emit(name, args);
    } catch (error) {
      process.nextTick(() => {
        throw error;
      });
    }
  }
}
