// When the next attempt may be made.
import type { RestartOptions } from "../options.js";

const JITTER = 0.2;

/** Counts attempts in a row and says how long to wait before each. */
export class Backoff {
  readonly #initialMs: number;
  readonly #factor: number;
  readonly #maxMs: number;
  readonly #healthyMs: number;
  readonly #maxRestarts: number;
  readonly #random: () => number;
  #attempts = 0;

  /**
   * @param options - what is missing there has its default
   * @param random - gives numbers from 0 to below 1
   */
  constructor(options: RestartOptions = {}, random: () => number = Math.random) {
    this.#initialMs = options.initialMs ?? 200;
    this.#factor = options.factor ?? 2;
    this.#maxMs = options.maxMs ?? 30_000;
    this.#healthyMs = options.healthyMs ?? 30_000;
    this.#maxRestarts = options.maxRestarts ?? 10;
    this.#random = random;
  }

  /** How many attempts have been made in a row. */
  get attempts(): number {
    return this.#attempts;
  }

  /** A worker served for so long. */
  served(milliseconds: number): void {
    if (milliseconds >= this.#healthyMs) this.#attempts = 0;
  }

  /** Milliseconds to wait before the next attempt, which this counts; undefined: there is none any more. */
  next(): number | undefined {
    if (this.#attempts >= this.#maxRestarts) return undefined;
    this.#attempts += 1;
    if (this.#attempts === 1) return 0;
    const wait = Math.min(this.#maxMs, this.#initialMs * this.#factor ** (this.#attempts - 2));
    return wait * (1 + JITTER * (2 * this.#random() - 1));
  }
}
