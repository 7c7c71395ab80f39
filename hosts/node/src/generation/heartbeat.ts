// Tells a worker that is busy from one that is stuck, by its signs of life. Sans clock: it is told how much
// time has passed.

/** What to do now. */
export type Verdict = "fine" | "ping" | "stalled";

/** How patient it is, in milliseconds. */
export interface Patience {
  readonly startStallMs: number;
  readonly heartbeatMs: number;
  readonly unresponsiveMs: number;
}

const LEAST_TICK_MS = 20;
const MOST_TICK_MS = 1000;
const TICKS_A_WAIT = 5;

/** The signs of life of one generation. */
export class Heartbeat {
  /** How often `tick` is to be called. */
  readonly tickMs: number;
  readonly #patience: Patience;
  #starting = true;
  #pinged = false;
  /** Milliseconds without a byte from the worker. */
  #silent = 0;
  /** Milliseconds without any sign of life. */
  #lifeless = 0;

  constructor(patience: Patience) {
    this.#patience = patience;
    const shortest = Math.min(patience.startStallMs, patience.heartbeatMs, patience.unresponsiveMs);
    this.tickMs = Math.max(LEAST_TICK_MS, Math.min(MOST_TICK_MS, shortest / TICKS_A_WAIT));
  }

  /** The worker has shaken hands. */
  ready(): void {
    this.#starting = false;
    this.bytes();
  }

  /** Bytes have come from the worker. */
  bytes(): void {
    this.#silent = 0;
    this.#lifeless = 0;
    this.#pinged = false;
  }

  /** It has shown that it lives otherwise: it has taken a packet, or used CPU where that counts. */
  alive(): void {
    this.#lifeless = 0;
  }

  /**
   * Time has passed. A turn that comes late counts as two at most: then it was this process that stood still,
   * and what the worker has written meanwhile is not read yet.
   */
  tick(elapsedMs: number): Verdict {
    const passed = Math.min(elapsedMs, 2 * this.tickMs);
    this.#silent += passed;
    this.#lifeless += passed;
    const { startStallMs, heartbeatMs, unresponsiveMs } = this.#patience;
    // A ping would be answered behind the handshake: a start shows by its stderr and its CPU time alone that
    // it lives.
    if (this.#starting) return this.#lifeless >= startStallMs ? "stalled" : "fine";
    if (this.#pinged) return this.#lifeless >= unresponsiveMs ? "stalled" : "fine";
    if (this.#silent < heartbeatMs) return "fine";
    this.#pinged = true;
    this.#lifeless = 0;
    return "ping";
  }
}
